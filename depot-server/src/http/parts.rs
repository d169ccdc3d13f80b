//! The small parts that every page is made of: a time, an age, an amount, a state, a link.
//!
//! Each writes its own HTML and escapes whatever it did not make itself, so templates can print it
//! as it stands. Nothing here carries a style or a script.

use std::{
    fmt::{self, Display, Formatter},
    time::Duration,
};

use askama::filters::HtmlSafe;
use jiff::{Zoned, tz::TimeZone};
use model::{Money, Timestamp, ValidatorId};

use super::{
    views::CardRef,
    words::{Shown, Sign, Tone},
};

/// Text with the five characters escaped that mean something in HTML.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => write!(f, "{other}")?,
            }
        }
        Ok(())
    }
}

/// Shows times: in the agency's zone, seen from one instant.
#[derive(Debug, Clone)]
pub(super) struct Times {
    zone: TimeZone,
    now: Timestamp,
}

impl Times {
    /// In `zone`, seen at `now`.
    pub(super) const fn new(zone: TimeZone, now: Timestamp) -> Self {
        Self { zone, now }
    }

    /// The instant from which ages are counted.
    pub(super) const fn now(&self) -> Timestamp {
        self.now
    }

    /// The zone's IANA name.
    pub(super) fn zone_name(&self) -> String {
        self.zone.iana_name().unwrap_or("UTC").to_owned()
    }

    fn zoned(&self, at: Timestamp) -> Zoned {
        let ms = i64::try_from(at.0).unwrap_or(i64::MAX);
        jiff::Timestamp::from_millisecond(ms)
            .unwrap_or(jiff::Timestamp::MAX)
            .to_zoned(self.zone.clone())
    }

    /// A moment: the time of day, with the date when it is not today's.
    pub(super) fn at(&self, at: Timestamp) -> When {
        let (then, now) = (self.zoned(at), self.zoned(self.now));
        let format = if then.date() == now.date() {
            "%H:%M:%S"
        } else if then.year() == now.year() {
            "%-d %b %H:%M"
        } else {
            "%-d %b %Y %H:%M"
        };
        When {
            text: then.strftime(format).to_string(),
            iso: then.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
            ms: at.0,
        }
    }

    /// How long ago something was.
    pub(super) fn age(&self, at: Timestamp) -> Age {
        Age { when: self.at(at), text: span(self.now.since(at)) }
    }

    /// The last moment before `now` at which the clock on the wall showed `hour`:00.
    pub(super) fn day_start(&self, hour: i8) -> Timestamp {
        let now = self.zoned(self.now);
        let date = if now.hour() < hour { now.date().yesterday() } else { Ok(now.date()) };
        let start = date
            .and_then(|date| date.at(hour, 0, 0, 0).to_zoned(self.zone.clone()))
            .map_or(0, |start| start.timestamp().as_millisecond());
        Timestamp(u64::try_from(start).unwrap_or(0))
    }
}

/// A span in one unit, as short as it can be said.
pub(super) fn span(d: Duration) -> String {
    let s = d.as_secs();
    match s {
        0..=99 => format!("{s} s"),
        100..=5_999 => format!("{} min", s / 60),
        6_000..=172_799 => format!("{} h", s / 3600),
        _ => format!("{} d", s / 86_400),
    }
}

/// A moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct When {
    /// In the agency's zone.
    pub(super) text: String,
    /// ISO 8601 with offset.
    pub(super) iso: String,
    /// Milliseconds since 1970.
    pub(super) ms: u64,
}

impl Display for When {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, r#"<time datetime="{0}" title="{0}">{1}</time>"#, self.iso, self.text)
    }
}

/// How long ago; the page's script keeps it counting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Age {
    when: When,
    /// As of the page's own time.
    pub(super) text: String,
}

impl Display for Age {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            r#"<time class="age" data-at="{}" datetime="{1}" title="{1}">{2}</time>"#,
            self.when.ms, self.when.iso, self.text
        )
    }
}

/// An amount with its currency, exactly as many decimals as the currency has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cash(pub(super) Money);

impl Cash {
    /// As plain text: a true minus sign, digits in groups of three, the currency's letters.
    pub(super) fn text(self) -> String {
        let decimal = self.0.decimal();
        let (sign, digits) = match decimal.strip_prefix('-') {
            Some(rest) => ("\u{2212}", rest),
            None => ("", decimal.as_str()),
        };
        let (whole, fraction) = match digits.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (digits, None),
        };
        let mut out = String::from(sign);
        for (i, digit) in whole.chars().enumerate() {
            if i > 0 && (whole.len() - i).is_multiple_of(3) {
                out.push('\u{202f}');
            }
            out.push(digit);
        }
        if let Some(fraction) = fraction {
            out.push('.');
            out.push_str(fraction);
        }
        out.push('\u{a0}');
        out.push_str(self.0.currency().letters());
        out
    }
}

impl Display for Cash {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let text = self.text();
        let (number, currency) = text.rsplit_once('\u{a0}').unwrap_or((&text, ""));
        write!(f, r#"<data class="cash" value="{}">{number}"#, self.0.minor())?;
        write!(f, r#" <abbr class="ccy">{currency}</abbr></data>"#)
    }
}

/// A count with its digits in groups of three.
pub(super) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// A shape from the sheet of icons in the page's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Icon(pub(super) &'static str);

impl Display for Icon {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, r##"<svg class="i" aria-hidden="true"><use href="#i-{}"/></svg>"##, self.0)
    }
}

/// A state: shape, word, tone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State(pub(super) Sign);

impl State {
    /// Of anything that has one.
    pub(super) fn of(state: impl Shown) -> Self {
        Self(state.sign())
    }
}

impl Display for State {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Sign { label, icon, tone, .. } = self.0;
        write!(f, r#"<span class="st {}">{}<span>{label}</span></span>"#, tone.class(), Icon(icon))
    }
}

/// How urgent: shape, word, tone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Urgency(pub(super) Tone);

impl Display for Urgency {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (class, icon, word) = (self.0.class(), Icon(self.0.icon()), self.0.word());
        write!(f, r#"<span class="st {class}">{icon}<span>{word}</span></span>"#)
    }
}

/// A link to a validator's page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ValidatorLink(pub(super) ValidatorId);

impl Display for ValidatorLink {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, r#"<a class="id" href="/fleet/{0}">{0}</a>"#, self.0)
    }
}

/// A link to a card's page, by its handle, with its masked number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CardLink(pub(super) CardRef);

impl Display for CardLink {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            r#"<a class="id" href="/cards/{}">{}</a>"#,
            self.0.handle,
            Escaped(&self.0.masked)
        )
    }
}

impl HtmlSafe for When {}
impl HtmlSafe for Age {}
impl HtmlSafe for Cash {}
impl HtmlSafe for Icon {}
impl HtmlSafe for State {}
impl HtmlSafe for Urgency {}
impl HtmlSafe for ValidatorLink {}
impl HtmlSafe for CardLink {}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Currency;

    #[test]
    fn amounts_keep_every_unit_and_carry_their_sign_as_a_character() {
        for (minor, currency, text) in [
            (240, "EUR", "2.40\u{a0}EUR"),
            (-50, "USD", "\u{2212}0.50\u{a0}USD"),
            (1_234_567, "KRW", "1\u{202f}234\u{202f}567\u{a0}KRW"),
            (125, "KWD", "0.125\u{a0}KWD"),
            (-123_456_789, "EUR", "\u{2212}1\u{202f}234\u{202f}567.89\u{a0}EUR"),
            (0, "EUR", "0.00\u{a0}EUR"),
        ] {
            let money = Money::new(minor, Currency::parse(currency).unwrap());
            assert_eq!(Cash(money).text(), text);
        }
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(count(12), "12");
    }

    #[test]
    fn times_are_shown_in_the_agencys_zone_with_the_date_when_it_is_another_day() {
        let zone = TimeZone::get("Asia/Seoul").unwrap();
        // 2026-11-22T09:00:00+09:00.
        let now = Timestamp::from_secs(1_795_305_600);
        let times = Times::new(zone, now);
        assert_eq!(times.at(now).text, "09:00:00");
        assert_eq!(times.at(now).iso, "2026-11-22T09:00:00+09:00");
        assert_eq!(times.at(Timestamp::from_secs(1_795_305_600 - 10 * 3600)).text, "21 Nov 23:00");
        assert_eq!(times.at(Timestamp::from_secs(0)).text, "1 Jan 1970 09:00");
        assert_eq!(times.zone_name(), "Asia/Seoul");
    }

    #[test]
    fn the_service_day_starts_at_its_hour_even_after_midnight() {
        let zone = TimeZone::get("Asia/Seoul").unwrap();
        let nine = 1_795_305_600;
        for (hours_later, start) in
            [(0, nine - 6 * 3600), (17, nine - 6 * 3600), (18, nine + 18 * 3600)]
        {
            let now = Timestamp::from_secs(nine + hours_later * 3600);
            let times = Times::new(zone.clone(), now);
            assert_eq!(times.day_start(3), Timestamp::from_secs(start), "{hours_later} h later");
        }
    }

    #[test]
    fn spans_are_said_in_one_unit() {
        for (secs, text) in [
            (0, "0 s"),
            (99, "99 s"),
            (100, "1 min"),
            (5_999, "99 min"),
            (6_000, "1 h"),
            (172_799, "47 h"),
            (172_800, "2 d"),
        ] {
            assert_eq!(span(Duration::from_secs(secs)), text);
        }
    }

    #[test]
    fn what_a_device_says_cannot_become_markup() {
        let card =
            CardRef { handle: super::super::views::CardHandle(7), masked: "<b>\"&'".to_owned() };
        assert_eq!(
            CardLink(card).to_string(),
            r#"<a class="id" href="/cards/0000000000000007">&lt;b&gt;&quot;&amp;&#39;</a>"#
        );
    }
}
