//! `[[channel]]`: who takes money for load orders, and how their statements read.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// A channel: an agent, kiosks, a bank, a payment provider, an employer. See `docs/orders.md`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// Its number, 1 to 65535, as orders name it.
    pub number: u16,
    /// What people call it.
    #[serde(default)]
    pub name: String,
    /// Hours after a payment by which a statement must have it, 1 to 2400; later it becomes a work
    /// item. Not looked at when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement_within_hours: Option<u32>,
    /// The secrets with which this provider signs what it tells, one a line (the one in use first),
    /// each of 16 bytes or more; it may tell nothing without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// How old a signature may be, and how far ahead, seconds (30 to 3600).
    #[serde(default = "tolerance")]
    pub signature_tolerance_s: u32,
    /// How its statements read.
    #[serde(default)]
    pub statement: StatementFormat,
}

const fn tolerance() -> u32 {
    300
}

/// How statements of a channel read: CSV with a line of column names.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct StatementFormat {
    /// Between the columns: one character, or `tab`.
    pub delimiter: String,
    /// Whether amounts are written as `1.234,50`.
    pub decimal_comma: bool,
    /// Zone of times without one, such as `Europe/Vienna`.
    pub zone: String,
    /// The currency of amounts without one, ISO 4217 letters; the tariff's when empty.
    pub currency: String,
    /// Column of the channel's own number of the payment.
    pub reference: String,
    /// Column of the amount; below zero: taken back.
    pub amount: String,
    /// Column of the card's number; looked for as `card` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
    /// Column of the time of the payment; looked for as `paid_at` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paid_at: Option<String>,
    /// Column of the currency; looked for as `currency` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency_column: Option<String>,
}

impl Default for StatementFormat {
    fn default() -> Self {
        Self {
            delimiter: ",".into(),
            decimal_comma: false,
            zone: "UTC".into(),
            currency: String::new(),
            reference: "reference".into(),
            amount: "amount".into(),
            card: None,
            paid_at: None,
            currency_column: None,
        }
    }
}

impl StatementFormat {
    /// The delimiter as one byte.
    pub fn delimiter_byte(&self) -> Option<u8> {
        match self.delimiter.as_bytes() {
            [byte] => Some(*byte),
            b"tab" => Some(b'\t'),
            _ => None,
        }
    }
}

impl Channel {
    /// A channel of which the configuration says nothing: statements in the default format.
    pub fn unnamed(number: u16) -> Self {
        Self {
            number,
            name: String::new(),
            statement_within_hours: None,
            secret_file: None,
            signature_tolerance_s: tolerance(),
            statement: StatementFormat::default(),
        }
    }
}

/// Whether these channels can be used.
pub(super) fn check(channels: &[Channel]) -> Result<(), ConfigError> {
    let value = |key, problem: String| Err(ConfigError::Value { key, problem });
    for (at, channel) in channels.iter().enumerate() {
        let number = channel.number;
        if number == 0 {
            return value("channel.number", "use 1 to 65535: 0 is the depot's own".into());
        }
        if channels.iter().take(at).any(|other| other.number == number) {
            return value("channel.number", format!("{number} stands twice"));
        }
        if channel.statement_within_hours.is_some_and(|hours| !(1..=2400).contains(&hours)) {
            return value("channel.statement_within_hours", "use 1 to 2400 hours".into());
        }
        if !(30..=3600).contains(&channel.signature_tolerance_s) {
            return value("channel.signature_tolerance_s", "use 30 to 3600 seconds".into());
        }
        let format = &channel.statement;
        if format.delimiter_byte().is_none() {
            let given = &format.delimiter;
            let problem = format!("{given:?}: use one character such as \";\", or \"tab\"");
            return value("channel.statement.delimiter", problem);
        }
        if jiff::tz::TimeZone::get(&format.zone).is_err() {
            let problem = format!("{:?} is no IANA zone such as Europe/Vienna", format.zone);
            return value("channel.statement.zone", problem);
        }
        let letters = &format.currency;
        if !letters.is_empty() && model::Currency::parse(letters).is_err() {
            return value(
                "channel.statement.currency",
                format!("{letters:?}: use ISO 4217 letters"),
            );
        }
    }
    Ok(())
}
