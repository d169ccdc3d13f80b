//! What a purse in another currency pays: rates drawn at random and written into the tariff, and
//! the amount worked out from them in plain numbers, with the day from another library's calendar.

use std::fmt::Write as _;

use fare::Quote;
use jiff::civil::Date;
use model::Currency;
use tapline_tests::sim::dice::Dice;

use super::{
    bounds::service_day,
    city::{City, one},
};

/// Purses that a city may take: letters, decimals, rate in ten-thousandths, units to round to.
const PURSES: [(&str, u32, u64, [i64; 2]); 3] =
    [("CHF", 2, 9_432, [1, 5]), ("JPY", 0, 1_632_500, [1, 10]), ("KWD", 3, 3_335, [1, 5])];
/// Days on which rates change, around the nights in which riders ride.
const DAYS: [&str; 6] =
    ["2026-10-24", "2026-10-25", "2026-11-23", "2026-11-24", "2027-03-28", "2027-03-29"];

/// How one currency is charged.
pub(crate) struct Rates {
    letters: &'static str,
    decimals: u32,
    /// First day, and the rate in ten-thousandths.
    dated: Vec<(i64, i128)>,
    rounding: &'static str,
    unit: i128,
}

impl Rates {
    /// The `[[exchange]]` tables of a city.
    pub(crate) fn draw(text: &mut String, dice: &mut Dice) -> Vec<Self> {
        let taken: Vec<_> = PURSES.into_iter().filter(|_| dice.chance(700)).collect();
        taken.into_iter().map(|purse| Self::draw_one(purse, text, dice)).collect()
    }

    fn draw_one(
        (letters, decimals, rate, units): (&'static str, u32, u64, [i64; 2]),
        text: &mut String,
        dice: &mut Dice,
    ) -> Self {
        let rounding = one(dice, &["up", "down", "half-up", "half-even"]);
        let unit = units[dice.index(2)];
        let minor = i128::from(unit);
        let shown = match decimals {
            0 => format!("{unit}"),
            _ => format!("0.{unit:0width$}", width = decimals as usize),
        };
        let first = if dice.chance(800) { Some("2026-01-01") } else { None };
        let days = first.into_iter().chain(DAYS.into_iter().filter(|_| dice.chance(400)));
        let days: Vec<&str> = days.collect();
        let days = if days.is_empty() { vec![DAYS[2]] } else { days };
        let mut dated = Vec::new();
        writeln!(
            text,
            "[[exchange]]\ncurrency = \"{letters}\"\nrounding = \"{rounding}\"\nunit = \"{shown}\""
        )
        .unwrap();
        for day in days {
            let rate = dice.between(rate - rate / 10, rate + rate / 10);
            writeln!(
                text,
                "[[exchange.rates]]\nfrom = {day}\nrate = \"{}.{:04}\"",
                rate / 10_000,
                rate % 10_000
            )
            .unwrap();
            let since = day.parse::<Date>().unwrap().since(jiff::civil::date(1970, 1, 1));
            dated.push((since.unwrap().get_days().into(), rate.into()));
        }
        Self { letters, decimals, dated, rounding, unit: minor }
    }

    /// What so many cents are on a day; `None` before the first rate.
    fn of(&self, cents: i64, day: i64) -> Option<i128> {
        let (_, rate) = self.dated.iter().rev().find(|(from, _)| *from <= day)?;
        let over = i128::from(cents) * rate * 10_i128.pow(self.decimals);
        let under = 10_000 * 100 * self.unit;
        let (whole, rest) = (over / under, over % under);
        let more = match self.rounding {
            "up" => rest > 0,
            "down" => false,
            "half-up" => 2 * rest >= under,
            _ => 2 * rest > under || 2 * rest == under && whole % 2 == 1,
        };
        Some((whole + i128::from(more)) * self.unit)
    }
}

/// The currency of a rider's purse, most often the tariff's.
pub(crate) fn purse(dice: &mut Dice) -> Option<Currency> {
    let (letters, ..) = PURSES[dice.index(3)];
    dice.chance(300).then(|| Currency::parse(letters).unwrap())
}

/// Whether a quote takes off the purse what the city's numbers say, and asks the card to hold it.
pub(crate) fn pays_by_the_rate(
    city: &City,
    purse: Option<Currency>,
    quote: &Quote,
) -> Result<(), String> {
    let Some(purse) = purse else {
        let own = (quote.debit, quote.exchanged) == (quote.charge, None);
        return if own { Ok(()) } else { Err("the tariff's currency is converted".to_owned()) };
    };
    let sketch = &city.sketches[usize::from(quote.priced_under.0) - 1];
    let rates = sketch.exchanges.iter().find(|rates| rates.letters == purse.letters());
    let (day, _) = service_day(quote.began);
    let wanted = rates.and_then(|rates| rates.of(quote.charge.minor(), day));
    let debit = (quote.debit.currency() == purse).then(|| i128::from(quote.debit.minor()));
    if debit.is_none() || debit != wanted {
        return Err(format!("{purse} on day {day}: {wanted:?} is right"));
    }
    // The dip is that of the tap's own version, the rate that of the ride's.
    let dips = city.sketches.iter().any(|sketch| sketch.dips);
    let covered = quote.min_balance.minor() >= quote.debit.minor();
    if quote.min_balance.currency() != purse || !covered && !dips {
        return Err("the card need not hold what is taken".to_owned());
    }
    Ok(())
}
