//! Issuers that the configuration named, and whose each card is (ADR-0023).

use std::collections::{BTreeMap, HashMap};

use model::{CardId, IssuerId};
use rusqlite::params;

use super::{ClosedDay, Store, StoreError, codes::card_of};
use crate::config::Issuer;

/// Why the books do not go with the issuers that the configuration names.
#[derive(Debug, thiserror::Error)]
pub enum IssuersError {
    /// What cards of no named issuer are would change.
    #[error(
        "issuer.first: the books began with issuer {before}, and the configuration says {now}: \
         which is first never changes"
    )]
    OtherFirst {
        /// By the books.
        before: u16,
        /// By the configuration.
        now: u16,
    },
    /// The books.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Keeps the issuers that the configuration names.
    pub fn note_issuers(&self, issuers: &[Issuer]) -> Result<(), IssuersError> {
        let failed = || StoreError::write("issuers");
        let Some(first) = issuers.iter().find(|issuer| issuer.first) else { return Ok(()) };
        let before = self.issuers()?.first;
        if let Some((before, _)) = before.filter(|(before, _)| *before != first.number) {
            return Err(IssuersError::OtherFirst { before, now: first.number });
        }
        let writer = self.writer();
        for Issuer { number, name, first } in issuers {
            writer
                .execute(
                    "INSERT INTO issuers (number, name, first) VALUES (?1, ?2, ?3)
                     ON CONFLICT (number) DO UPDATE SET name = excluded.name
                     WHERE name <> excluded.name",
                    params![number, name, first],
                )
                .map_err(failed())?;
        }
        Ok(())
    }

    /// Every issuer that was ever named.
    pub fn issuers(&self) -> Result<Issuers, StoreError> {
        let failed = || StoreError::read("issuers");
        let reader = self.reader()?;
        let mut statement =
            reader.prepare_cached("SELECT number, name, first FROM issuers").map_err(failed())?;
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .map_err(failed())?;
        let mut issuers = Issuers::default();
        for row in rows {
            let (number, name, first): (u16, String, bool) = row.map_err(failed())?;
            if first {
                issuers.first = Some((number, name));
            } else {
                issuers.others.insert(IssuerId(number), name);
            }
        }
        Ok(issuers)
    }

    /// Whose cards are not the first issuer's, as far as that was booked before a day was closed.
    pub(crate) fn issuers_of_cards(
        &self,
        closed: &ClosedDay,
    ) -> Result<HashMap<CardId, IssuerId>, StoreError> {
        let failed = || StoreError::read("whose cards are");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached(
                "SELECT card, issuer FROM issues WHERE issuer IS NOT NULL AND after_batch < ?1
                 UNION ALL
                 SELECT card, issuer FROM desk_journal
                 WHERE issuer IS NOT NULL AND after_batch < ?1",
            )
            .map_err(failed())?;
        let rows = statement
            .query_map([closed.batch], |row| Ok((card_of(row.get(0)?), IssuerId(row.get(1)?))))
            .map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }
}

/// Issuers with their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Issuers {
    /// The one that the books began with, once the configuration named issuers.
    pub first: Option<(u16, String)>,
    /// The others.
    pub others: BTreeMap<IssuerId, String>,
}

impl Issuers {
    /// Its name for people: with its number, and without a name if nobody said one.
    pub fn name(&self, issuer: Option<IssuerId>) -> String {
        let (number, name) = match (issuer, &self.first) {
            (None, None) => return "first issuer".to_owned(),
            (None, Some((number, name))) => (*number, Some(name)),
            (Some(issuer), _) => (issuer.0, self.others.get(&issuer)),
        };
        match name.map(String::as_str) {
            None => format!("issuer {number}, not in the configuration"),
            Some("") => format!("issuer {number}"),
            Some(name) => format!("{name} ({number})"),
        }
    }
}

/// How files name an issuer: words that never change.
pub(crate) fn issuer_word(issuer: Option<IssuerId>) -> String {
    issuer.map_or_else(|| "first".to_owned(), |issuer| issuer.to_string())
}
