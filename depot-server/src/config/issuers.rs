//! `[[issuer]]`: who issues cards that these books hold (ADR-0023).

use model::IssuerId;
use serde::{Deserialize, Serialize};

use super::{Config, ConfigError};

/// An issuer: it owes the holders of its cards what is on them, and operators what its cards rode.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// Its number, 1 to 65535, as profiles of cards name it.
    pub number: u16,
    /// What people call it.
    #[serde(default)]
    pub name: String,
    /// Whether the books began with it: every card of which they say nothing else is its. One is.
    #[serde(default)]
    pub first: bool,
}

impl Config {
    /// Who an issuer is in the books: `None` for the one that they began with.
    pub fn issuer(&self, number: u16) -> Result<Option<IssuerId>, ConfigError> {
        let named = self.issuers.iter().find(|issuer| issuer.number == number);
        match named {
            Some(issuer) => Ok(Some(IssuerId(number)).filter(|_| !issuer.first)),
            None if self.issuers.is_empty() && number == self.desk.issuer => Ok(None),
            None => Err(ConfigError::Value {
                key: "issuer.number",
                problem: format!("{number} is no issuer here: add an [[issuer]] with its number"),
            }),
        }
    }

    /// The number of an issuer of the books.
    pub fn issuer_number(&self, issuer: Option<IssuerId>) -> u16 {
        let first = self.issuers.iter().find(|issuer| issuer.first);
        let first = first.map_or(self.desk.issuer, |issuer| issuer.number);
        issuer.map_or(first, |issuer| issuer.0)
    }
}

/// Whether these issuers can be used.
pub(super) fn check(issuers: &[Issuer], desk: u16) -> Result<(), ConfigError> {
    let value = |key, problem: String| Err(ConfigError::Value { key, problem });
    if issuers.is_empty() {
        return Ok(());
    }
    for (at, Issuer { number, .. }) in issuers.iter().enumerate() {
        if *number == 0 {
            return value("issuer.number", "use 1 to 65535".into());
        }
        if issuers.iter().take(at).any(|other| other.number == *number) {
            return value("issuer.number", format!("{number} stands twice"));
        }
    }
    let first = issuers.iter().filter(|issuer| issuer.first).count();
    if first != 1 {
        let problem = format!(
            "{first} issuers are first: say `first = true` of the one with which \
                               the books began, for good"
        );
        return value("issuer.first", problem);
    }
    if issuers.iter().all(|issuer| issuer.number != desk) {
        return value("desk.issuer", format!("{desk} is none of the [[issuer]]"));
    }
    Ok(())
}
