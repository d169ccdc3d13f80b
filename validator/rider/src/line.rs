//! What a validator tells whoever shows answers, and the plainest of them: a line on a stream.

use std::{
    io::Write,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError, channel, sync_channel},
    },
    time::Duration,
};

use fare::Step;
use model::ProductKind;
use texts::{
    Language, Phrase, amount_text, cap_text, exchange_text, note_text, phrase_text, refusal_text,
    step_text,
};
use validation::{Loaded, Passage};

use crate::{panel::DriverHealth, sound::Volume, stage::Here};

/// Whatever shows the rider the answer. It must not wait: the next card may be there.
pub trait RiderScreen: Send {
    /// The answer to one presentation. Called only after everything about it is durable.
    fn show(&mut self, passage: &Passage);

    /// How long the answer shown last took.
    fn timing(&mut self, _timing: TapTiming) {}

    /// Who will ride on the next card and what that costs; nobody besides the holder when empty.
    fn companions(&mut self, _steps: &[Step]) {}

    /// Where the next tap will be made. Told at the start and after every change.
    fn here(&mut self, _here: &Here) {}

    /// The validator takes no taps, and why. Staff reads this, not riders.
    fn out_of_service(&mut self, reason: &str);

    /// The validator takes taps again.
    fn in_service(&mut self) {}

    /// From the next answer on.
    fn adjust(&mut self, _adjusted: &Adjusted) {}

    /// How the devices behind it fare.
    fn drivers(&self) -> Vec<Arc<DriverHealth>> {
        Vec::new()
    }
}

/// What may change while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adjusted {
    /// The riders' language.
    pub language: Language,
    /// See [`Manner::private`](crate::Manner::private).
    pub private: bool,
    /// How loud at which hour.
    pub volume: Volume,
}

/// How long a tap took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TapTiming {
    /// Card detected to answer shown.
    pub total: Duration,
    /// The validator's own part: everything but the card and the radio link.
    pub own: Duration,
}

/// One line per answer on a stream, such as the console of a machine without a display.
#[derive(Debug)]
pub struct LineScreen<W> {
    /// The stream.
    pub out: W,
    /// The riders' language.
    pub language: Language,
}

impl<W: Write + Send> RiderScreen for LineScreen<W> {
    fn show(&mut self, passage: &Passage) {
        // A console that is gone must not stop the validator.
        let _ = writeln!(self.out, "{}", line(self.language, passage));
    }

    fn companions(&mut self, steps: &[Step]) {
        let _ = writeln!(self.out, "{}", chosen_line(self.language, steps));
    }

    fn out_of_service(&mut self, reason: &str) {
        let _ = writeln!(self.out, "{}", closed_line(self.language, reason));
    }

    fn in_service(&mut self) {
        let _ = writeln!(self.out, "{}", open_line(self.language));
    }

    fn adjust(&mut self, adjusted: &Adjusted) {
        self.language = adjusted.language;
    }
}

/// Lines that wait to be written. More than that, and whoever reads them is gone.
const LINES_MAX: usize = 256;
/// How long the end waits for the last of them.
const END_MAX: Duration = Duration::from_millis(300);

/// The same on a thread of its own: a console that hangs loses lines, and no tap waits for it.
#[derive(Debug)]
pub struct DetachedLines {
    lines: Option<SyncSender<String>>,
    /// Closed by the thread's end.
    ended: Receiver<()>,
    language: Language,
    /// Lines lost since one was written.
    lost: u64,
}

impl DetachedLines {
    /// Starts the thread. It ends with this value, which waits a moment for the last lines.
    pub fn start(
        mut out: impl Write + Send + 'static,
        language: Language,
    ) -> std::io::Result<Self> {
        let (lines, wanted) = sync_channel::<String>(LINES_MAX);
        let (ending, ended) = channel();
        std::thread::Builder::new().name("lines".into()).spawn(move || {
            for line in wanted {
                // A console that is gone must not stop the validator.
                let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
            }
            drop(ending);
        })?;
        Ok(Self { lines: Some(lines), ended, language, lost: 0 })
    }

    fn send(&mut self, mut line: String) {
        line.push('\n');
        let Some(lines) = &self.lines else { return };
        match lines.try_send(line) {
            Ok(()) if self.lost > 0 => {
                tracing::warn!(lost = self.lost, "the console was slow and lost lines");
                self.lost = 0;
            }
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.lost += 1,
        }
    }
}

impl Drop for DetachedLines {
    fn drop(&mut self) {
        self.lines = None;
        // Only the end of the thread answers.
        let _ = self.ended.recv_timeout(END_MAX);
    }
}

impl RiderScreen for DetachedLines {
    fn show(&mut self, passage: &Passage) {
        self.send(line(self.language, passage));
    }

    fn companions(&mut self, steps: &[Step]) {
        self.send(chosen_line(self.language, steps));
    }

    fn out_of_service(&mut self, reason: &str) {
        self.send(closed_line(self.language, reason));
    }

    fn in_service(&mut self) {
        self.send(open_line(self.language));
    }

    fn adjust(&mut self, adjusted: &Adjusted) {
        self.language = adjusted.language;
    }
}

/// One screen after the other.
impl RiderScreen for Vec<Box<dyn RiderScreen>> {
    fn show(&mut self, passage: &Passage) {
        for screen in self {
            screen.show(passage);
        }
    }

    fn timing(&mut self, timing: TapTiming) {
        for screen in self {
            screen.timing(timing);
        }
    }

    fn companions(&mut self, steps: &[Step]) {
        for screen in self {
            screen.companions(steps);
        }
    }

    fn here(&mut self, here: &Here) {
        for screen in self {
            screen.here(here);
        }
    }

    fn out_of_service(&mut self, reason: &str) {
        for screen in self {
            screen.out_of_service(reason);
        }
    }

    fn in_service(&mut self) {
        for screen in self {
            screen.in_service();
        }
    }

    fn adjust(&mut self, adjusted: &Adjusted) {
        for screen in self {
            screen.adjust(adjusted);
        }
    }

    fn drivers(&self) -> Vec<Arc<DriverHealth>> {
        self.iter().flat_map(|screen| screen.drivers()).collect()
    }
}

fn closed_line(language: Language, reason: &str) -> String {
    format!("E {}", phrase_text(language, &Phrase::OutOfService(reason)))
}

fn open_line(language: Language) -> String {
    format!("- {}", phrase_text(language, &Phrase::InService))
}

/// Class, amount, balance, then why, by which rate, how far the caps have come, and what to do;
/// never a card number.
pub fn line(language: Language, passage: &Passage) -> String {
    use std::fmt::Write;
    let phrase = |phrase| phrase_text(language, &phrase);
    let mut line = passage.class().word().to_string();
    if passage.is_granted() {
        let accepted = match passage.riders() {
            1 => Phrase::Accepted(passage.charge),
            riders => Phrase::AcceptedRiders(passage.charge, riders),
        };
        let _ = write!(line, " {}", phrase(accepted));
    }
    if let Some(code) = passage.assist_code() {
        let _ = write!(line, " {}", phrase(Phrase::Code(code)));
    }
    if let Some(loaded) = passage.loaded {
        let loaded = match loaded {
            Loaded::Value(amount) => Phrase::Loaded(amount),
            Loaded::Product(sale) => match sale.product.kind {
                ProductKind::Pass => Phrase::PassLoaded(sale.product.id),
                ProductKind::Rides => Phrase::RidesLoaded(sale.product.id, sale.rides),
            },
        };
        let _ = write!(line, ", {}", phrase(loaded));
    }
    if let Some(balance) = passage.balance {
        let _ = write!(line, ", {}", phrase(Phrase::Balance(balance)));
    }
    if let Some(missing) = passage.missing {
        let _ = write!(line, ", {}", phrase(Phrase::Missing(missing)));
    }
    write_steps(&mut line, language, &passage.steps);
    if let Some(exchanged) = &passage.exchanged {
        let _ = write!(line, "; {}", exchange_text(language, exchanged));
    }
    for cap in &passage.caps {
        let _ = write!(line, "; {}", cap_text(language, cap));
    }
    if let Some(advice) = advice(language, passage) {
        let _ = write!(line, "; {advice}");
    }
    line
}

/// Who rides on the next card, and for how much.
pub fn chosen_line(language: Language, steps: &[Step]) -> String {
    let phrase = if steps.is_empty() { Phrase::NoCompanions } else { Phrase::Companions };
    let mut line = format!("+ {}", phrase_text(language, &phrase));
    write_steps(&mut line, language, steps);
    line
}

fn write_steps(line: &mut String, language: Language, steps: &[Step]) {
    use std::fmt::Write;
    for step in steps {
        let (text, amount) = (step_text(language, step), amount_text(language, step.amount));
        let _ = write!(line, "; {text} {amount}");
    }
}

/// One sentence: what is wrong and what to do, or what else to know; `None` when there is nothing
/// to say.
pub fn advice(language: Language, passage: &Passage) -> Option<String> {
    match passage.refusal() {
        Some(reason) => Some(refusal_text(language, reason)),
        None => passage.notes.first().map(|note| note_text(language, *note)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Sender;

    use fare::{CapPeriod, CapProgress, Exchanged, Rate, Rounding, StepKind};
    use model::{Currency, Money, Note, Refusal, ServiceDate};
    use validation::Verdict;

    use super::*;

    fn passage(verdict: Verdict, notes: Vec<Note>) -> Passage {
        let won = |minor| Money::new(minor, Currency::parse("KRW").unwrap());
        let kind = StepKind::Transfer { after_s: 1_510, limit_s: 1_800 };
        let rule: Arc<str> = "transfer-30".into();
        let steps = match verdict {
            Verdict::Granted => vec![Step { kind, rule, amount: won(-1_250) }],
            Verdict::TryAgain(_) | Verdict::Refused(_) | Verdict::OutOfService => Vec::new(),
        };
        let (charge, balance, caps) = (won(150), Some(won(12_350)), Vec::new());
        let (exchanged, loaded, missing, class) = (None, None, None, None);
        Passage { verdict, charge, balance, steps, exchanged, caps, notes, loaded, missing, class }
    }

    #[test]
    fn a_rider_sees_how_far_the_caps_have_come() {
        let mut shown = passage(Verdict::Granted, Vec::new());
        shown.steps.clear();
        let euro = |minor| Money::new(minor, Currency::parse("EUR").unwrap());
        let cap = |name: &str, period, counted, limit| CapProgress {
            name: name.into(),
            period,
            counted: euro(counted),
            limit: euro(limit),
        };
        shown.caps = vec![
            cap("Day cap", CapPeriod::Day, 340, 600),
            cap("Week cap", CapPeriod::Week(0), 1_840, 2_400),
        ];
        assert_eq!(
            line(Language::English, &shown),
            "A accepted, charge \u{20a9}150, balance \u{20a9}12,350; \
             Day cap: 3.40 EUR of 6.00 EUR today; Week cap: 18.40 EUR of 24.00 EUR this week"
        );
    }

    #[test]
    fn a_purse_in_another_currency_is_answered_in_it_with_the_rate() {
        let of = |minor, letters| Money::new(minor, Currency::parse(letters).unwrap());
        let (charge, debit) = (of(120, "EUR"), of(113, "CHF"));
        let kind = StepKind::Flat { route: "Bus 7".into(), product: "bus".into() };
        let mut shown = passage(Verdict::Granted, Vec::new());
        shown.steps = vec![Step { kind, rule: "bus".into(), amount: charge }];
        shown.exchanged = Some(Exchanged {
            charge,
            debit,
            rate: Rate::parse("0.9432").unwrap(),
            since: ServiceDate::parse("2026-01-01").unwrap(),
            rounding: Rounding::HalfUp,
            unit: of(1, "CHF"),
        });
        (shown.charge, shown.balance) = (debit, Some(of(1_887, "CHF")));
        assert_eq!(
            line(Language::English, &shown),
            "A accepted, charge 1.13 CHF, balance 18.87 CHF; Bus 7: bus 1.20 EUR; \
             1.20 EUR at 0.9432 CHF for 1 EUR (rate of 1 January 2026), \
             rounded to the nearest, a half up: 1.13 CHF"
        );
        let short = Passage {
            balance: Some(of(70, "CHF")),
            missing: Some(of(43, "CHF")),
            ..passage(Verdict::Refused(Refusal::InsufficientValue), Vec::new())
        };
        assert_eq!(
            line(Language::English, &short),
            "D code 24, balance 0.70 CHF, 0.43 CHF missing; Not enough credit: top up"
        );
    }

    /// A stream that says when it is asked to write, and takes nothing until it is told to.
    struct Stuck {
        asked: Sender<usize>,
        release: Receiver<()>,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.asked.send(bytes.len());
            let _ = self.release.recv();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_console_that_hangs_loses_lines_and_no_tap_waits_for_it() {
        let (hold, release) = channel();
        let (asked, writes) = channel();
        let mut screen = DetachedLines::start(Stuck { asked, release }, Language::English).unwrap();
        screen.show(&passage(Verdict::Granted, Vec::new()));
        // The thread holds the first line: from here the queue alone takes lines, at any load.
        writes.recv().unwrap();
        let lost = LINES_MAX;
        for _ in 0..LINES_MAX + lost {
            // Returns: the stream has not taken a byte.
            screen.show(&passage(Verdict::Granted, Vec::new()));
        }
        assert_eq!(screen.lost, u64::try_from(lost).unwrap());
        drop(hold);
        drop(screen);
        assert_eq!(writes.iter().count(), LINES_MAX);
    }

    #[test]
    fn a_rider_is_answered_in_the_language_of_the_configuration() {
        let shown = |language: Language| {
            let mut screen = LineScreen { out: Vec::new(), language };
            screen.in_service();
            screen.show(&passage(Verdict::Granted, vec![Note::LowBalance]));
            screen.show(&passage(Verdict::Refused(Refusal::Hotlisted), Vec::new()));
            screen.out_of_service("the tap store is full");
            String::from_utf8(screen.out).unwrap()
        };
        assert_eq!(
            shown(Language::Korean),
            "- 사용 가능: 카드를 대 주세요\n\
             B 승인, 요금 150원, 잔액 12,350원; 환승: 첫 승차 후 25분 10초, 제한 30분 -1,250원; \
             잔액이 얼마 남지 않았습니다: 곧 충전해 주세요\n\
             D 코드 63, 잔액 12,350원; 사용이 정지된 카드입니다: 직원에게 문의하세요\n\
             E 사용 중지: the tap store is full\n"
        );
        assert_eq!(
            shown(Language::English),
            "- in service: hold your card here\n\
             B accepted, charge \u{20a9}150, balance \u{20a9}12,350; \
             Transfer after 25 min 10 s of 30 min -\u{20a9}1,250; \
             Your balance is low: top up soon\n\
             D code 63, balance \u{20a9}12,350; This card is blocked: see staff\n\
             E out of service: the tap store is full\n"
        );
    }
}
