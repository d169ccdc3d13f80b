//! Charging a purse in another currency (ADR-0019): dated rates, one exact conversion, one
//! rounding.
//!
//! Invariants: integers only, exact until the one rounding; nothing stays nothing; a higher charge
//! never takes less off the card. Nothing is carried from one tap to the next.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

use model::{CardRecord, Currency, Money, ServiceDate, Timestamp};

use crate::{FareRefusal, Rounding, Tariff};

/// How many units of the purse's currency one unit of the tariff's is: a decimal above zero,
/// exactly as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The rate times `10^places`; below `10^DIGITS_MAX`.
    digits: u64,
    /// The fewest that hold it, so that equal rates are equal here.
    places: u8,
}

/// A rate and the service day from which it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatedRate {
    /// First day.
    pub from: ServiceDate,
    /// The rate until the next one's day.
    pub rate: Rate,
}

/// How a purse in one other currency is charged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    currency: Currency,
    /// Ascending by their days; never empty.
    rates: Vec<DatedRate>,
    rounding: Rounding,
    /// In minor units of `currency`, at least 1.
    unit: i64,
}

/// What a charge is in the currency of a purse, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchanged {
    /// In the tariff's currency.
    pub charge: Money,
    /// In the purse's.
    pub debit: Money,
    /// Purse units for one unit of the tariff's currency.
    pub rate: Rate,
    /// The day from which this rate holds.
    pub since: ServiceDate,
    /// Which way the remainder went.
    pub rounding: Rounding,
    /// To whole multiples of this.
    pub unit: Money,
}

/// A golden example's purse in another currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExamplePurse {
    /// The service day on which the ride begins.
    pub on: ServiceDate,
    /// What must be taken off the card, in the currency of the purse.
    pub debit: Money,
}

/// Why a text is no rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// Not a decimal number.
    #[error("{0:?} is not a rate: use digits with at most one decimal point, such as 0.9432")]
    NotADecimal(String),
    /// Nothing would be taken for everything.
    #[error("a rate is above zero")]
    Zero,
    /// Longer than any bank gives it, and than the arithmetic has room for.
    #[error("a rate has at most {digits} digits, {places} of them after the point",
        digits = Rate::DIGITS_MAX, places = Rate::PLACES_MAX)]
    TooLong,
}

/// Why a table of rates cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// No rate at all.
    #[error("no rate")]
    NoRates,
    /// A day that is not after the one before it.
    #[error("{0} does not come after the rate before it")]
    NotAscending(ServiceDate),
    /// Amounts cannot be rounded to multiples of nothing.
    #[error("the unit is not above zero")]
    NoUnit,
}

impl Rate {
    /// Significant digits at most. Keeps every product of an amount and a rate inside 128 bits.
    pub const DIGITS_MAX: usize = 18;
    /// Digits after the decimal point at most.
    pub const PLACES_MAX: usize = 12;

    /// From decimal text, exactly.
    pub fn parse(text: &str) -> Result<Self, RateError> {
        let not_a_decimal = || RateError::NotADecimal(text.chars().take(40).collect());
        let (whole, fraction) = match text.split_once('.') {
            Some((_, "")) => return Err(not_a_decimal()),
            Some(parts) => parts,
            None => (text, ""),
        };
        let ascii = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !ascii(whole) || !ascii(fraction) {
            return Err(not_a_decimal());
        }
        let fraction = fraction.trim_end_matches('0');
        let significant: Vec<u8> =
            whole.bytes().chain(fraction.bytes()).skip_while(|digit| *digit == b'0').collect();
        if significant.is_empty() {
            return Err(RateError::Zero);
        }
        if significant.len() > Self::DIGITS_MAX || fraction.len() > Self::PLACES_MAX {
            return Err(RateError::TooLong);
        }
        let digits = significant.iter().fold(0, |n: u64, digit| n * 10 + u64::from(digit - b'0'));
        Ok(Self { digits, places: u8::try_from(fraction.len()).map_err(|_| RateError::TooLong)? })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = usize::from(self.places);
        let scale = 10_u64.pow(self.places.into());
        match places {
            0 => write!(f, "{}", self.digits),
            _ => write!(f, "{}.{:0places$}", self.digits / scale, self.digits % scale),
        }
    }
}

impl Exchange {
    /// `unit` is the smallest amount that is charged, in minor units of `currency`.
    pub fn new(
        currency: Currency,
        rates: Vec<DatedRate>,
        rounding: Rounding,
        unit: i64,
    ) -> Result<Self, ExchangeError> {
        if rates.is_empty() {
            return Err(ExchangeError::NoRates);
        }
        if let Some(pair) = rates.windows(2).find(|pair| pair[0].from >= pair[1].from) {
            return Err(ExchangeError::NotAscending(pair[1].from));
        }
        if unit < 1 {
            return Err(ExchangeError::NoUnit);
        }
        Ok(Self { currency, rates, rounding, unit })
    }

    /// Of the purse.
    pub const fn currency(&self) -> Currency {
        self.currency
    }

    /// All rates, by their days.
    pub fn rates(&self) -> &[DatedRate] {
        &self.rates
    }

    /// Which way a remainder goes.
    pub const fn rounding(&self) -> Rounding {
        self.rounding
    }

    /// The smallest amount that is charged.
    pub const fn unit(&self) -> Money {
        Money::new(self.unit, self.currency)
    }

    /// The rate of a service day; `None` before the first.
    pub fn rate_on(&self, day: ServiceDate) -> Option<DatedRate> {
        let begun = self.rates.partition_point(|rate| rate.from <= day);
        begun.checked_sub(1).map(|newest| self.rates[newest])
    }

    /// An amount in the purse's currency: exact, then rounded once. `None` when it leaves 64 bits.
    pub fn convert(&self, rate: Rate, amount: Money) -> Option<Money> {
        // At most 2^63 × 10^18, which is below 2^123.
        let exact = i128::from(amount.minor()) * i128::from(rate.digits);
        let shift = i32::from(self.currency.exponent())
            - i32::from(amount.currency().exponent())
            - i32::from(rate.places);
        let power = 10_i128.pow(shift.unsigned_abs());
        let (exact, parts) =
            if shift < 0 { (exact, power) } else { (exact.checked_mul(power)?, 1) };
        // At most 10^(12 + 4) × 2^63.
        let units = self.rounding.divide(exact, parts * i128::from(self.unit));
        let minor = units.checked_mul(self.unit.into())?;
        i64::try_from(minor).ok().map(|minor| Money::new(minor, self.currency))
    }
}

impl Tariff {
    /// How a purse in this currency is charged, when the tariff takes it and it is not its own.
    pub fn exchange(&self, purse: Currency) -> Option<&Exchange> {
        self.parts.terms.exchanges.iter().find(|exchange| exchange.currency() == purse)
    }
}

impl Exchanged {
    /// The same in English, in one line.
    pub fn text(&self) -> String {
        let Self { charge, debit, rate, since, rounding, unit } = self;
        let (year, month, day) = since.civil();
        let month = MONTHS[usize::try_from(month).unwrap_or(1).clamp(1, 12) - 1];
        let to = if unit.minor() == 1 { String::new() } else { format!(" {unit}") };
        let rounded = match (rounding, to.as_str()) {
            (Rounding::Down, "") => "rounded down".to_string(),
            (Rounding::Up, "") => "rounded up".to_string(),
            (Rounding::HalfUp, "") => "rounded to the nearest, a half up".to_string(),
            (Rounding::HalfEven, "") => "rounded to the nearest, a half to even".to_string(),
            (Rounding::Down, to) => format!("rounded down to whole{to}"),
            (Rounding::Up, to) => format!("rounded up to whole{to}"),
            (Rounding::HalfUp, to) => format!("rounded to the nearest{to}, a half up"),
            (Rounding::HalfEven, to) => format!("rounded to the nearest{to}, a half to even"),
        };
        let (purse, tariff) = (debit.currency(), charge.currency());
        format!(
            "{charge} at {rate} {purse} for 1 {tariff} (rate of {day} {month} {year}), \
             {rounded}: {debit}"
        )
    }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// What a purse pays, in its own currency.
pub(crate) struct Paid {
    pub(crate) debit: Money,
    pub(crate) min_balance: Money,
    pub(crate) exchanged: Option<Exchanged>,
}

/// From what a tap charges and needs in the tariff's currency, by the rate of the service day on
/// which the ride began: a journey over midnight has one rate, and both its ends know it.
pub(crate) fn pay(
    tariff: &Tariff,
    began: Timestamp,
    purse: Option<Currency>,
    (charge, needs): (Money, Money),
) -> Result<Paid, FareRefusal> {
    let Some(purse) = purse.filter(|purse| *purse != tariff.currency()) else {
        return Ok(Paid { debit: charge, min_balance: needs, exchanged: None });
    };
    let refused = FareRefusal::NoRate(purse);
    let exchange = tariff.exchange(purse).ok_or(refused)?;
    let day = tariff.terms().calendar.service_day(began);
    let DatedRate { from: since, rate } = exchange.rate_on(day).ok_or(refused)?;
    let fits = |debit: &Money| debit.minor() <= CardRecord::AMOUNT_MAX.into();
    let too_much = FareRefusal::TooMuch(purse);
    let debit = exchange.convert(rate, charge).filter(fits).ok_or(too_much)?;
    let min_balance = exchange.convert(rate, needs).ok_or(too_much)?;
    let (rounding, unit) = (exchange.rounding(), exchange.unit());
    let exchanged = Exchanged { charge, debit, rate, since, rounding, unit };
    Ok(Paid { debit, min_balance, exchanged: Some(exchanged) })
}
