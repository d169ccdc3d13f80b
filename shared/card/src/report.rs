//! What an inspection finds on a card, and what of it does not fit together.

use alloc::vec::Vec;

use model::{CardCounters, CardProof, CardRecord, CounterError, Ctr, Currency, RecordError};

use crate::failure::CardFailure;
use crate::layout::{self, Profile};

/// What is on a card.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CardReport {
    /// What the chip says of itself: 28 bytes of `GetVersion`.
    pub version: Vec<u8>,
    /// Free memory, bytes.
    pub free: Option<u32>,
    /// Applications, by their numbers as sent; `None` when the card does not list them.
    pub applications: Option<Vec<[u8; 3]>>,
    /// What stands under our number.
    pub application: Option<Application>,
}

/// An application under our number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Application {
    /// Key settings as the card says them.
    pub key_settings: Vec<u8>,
    /// Versions of keys 0, 1 and 2.
    pub key_versions: Vec<u8>,
    /// File numbers.
    pub files: Vec<u8>,
    /// Its contents, or why they cannot be read with our debit key.
    pub contents: Option<Result<Contents, CardFailure>>,
}

/// What our application holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// File 1; `None` when its layout is not known.
    pub profile: Option<Profile>,
    /// The value file: 2, or 7 on a card whose purse is in another currency than the tariff's.
    pub value: i32,
    /// Whether that is file 7.
    pub other_value: bool,
    /// The transaction counter.
    pub ctr: Ctr,
    /// The proof of the last transaction.
    pub proof: CardProof,
    /// File 6; `None` on a card that has none.
    pub counters: Option<Result<CardCounters, CounterError>>,
    /// The log, oldest first.
    pub records: Vec<Result<CardRecord, RecordError>>,
}

/// What on a card does not fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// An issue that did not end.
    #[error("it has no record: its issue was not finished")]
    NoRecord,
    /// A record that is none.
    #[error("record {0} of the log, from the oldest, cannot be read")]
    Unreadable(usize),
    /// Profile of a layout not known here.
    #[error("its profile has a layout that is not known here")]
    Profile,
    /// Value file and newest record.
    #[error("the value file holds {value}, the newest record says {record}")]
    Value {
        /// In the file.
        value: i32,
        /// In the record.
        record: i32,
    },
    /// Transaction counter and newest record.
    #[error("the transaction counter is {counter}, the newest record says {record}")]
    Counter {
        /// The card's own.
        counter: u32,
        /// In the record.
        record: u32,
    },
    /// A counters file that is none.
    #[error("its counters cannot be read")]
    CountersUnreadable,
    /// A counters file beside a newest record of layout 1.
    #[error("it has a counters file, and the newest record says that it has none")]
    CountersUnknown,
    /// A newest record of layout 2 on a card without the file.
    #[error("the newest record says that it has a counters file, and it has none")]
    CountersMissing,
    /// A value file for another currency beside a newest record of layout 1 or 2.
    #[error("its value is in another currency's file, and the newest record does not say so")]
    PurseUnknown,
    /// A newest record of layout 3 on a card whose value is in the file of the tariff's currency.
    #[error("the newest record says that its value is in another currency's file, and it is not")]
    PurseMissing,
    /// A profile without a currency.
    #[error("its profile names no currency that ISO 4217 knows")]
    Currency,
    /// Neighbours whose counters do not follow.
    #[error("record {0} does not follow the one before it")]
    Order(u32),
    /// Neighbours whose balances do not follow.
    #[error("record {0} does not begin with the balance that the one before it ended with")]
    Balance(u32),
}

impl Contents {
    pub(crate) const EMPTY: Self = Self {
        profile: None,
        value: 0,
        other_value: false,
        ctr: Ctr(0),
        proof: CardProof([0; 8]),
        counters: None,
        records: Vec::new(),
    };

    /// The newest record.
    pub fn newest(&self) -> Option<&CardRecord> {
        self.records.last()?.as_ref().ok()
    }

    /// The currency that the profile names, whether a reader goes by it or not.
    pub fn currency(&self) -> Option<Currency> {
        layout::currency(self.profile?.currency)
    }

    /// The currency of the purse: that of the profile on a card whose records say so, and on any
    /// other the tariff's, `tariff`. `None` when the profile is to say it and does not.
    pub fn purse(&self, tariff: Currency) -> Option<Currency> {
        let other = self.newest().is_some_and(|newest| newest.layout.profile_names_currency());
        if other { self.currency() } else { Some(tariff) }
    }

    /// The record with this counter, if the log still has it.
    pub fn record(&self, ctr: Ctr) -> Option<&CardRecord> {
        self.records.iter().flatten().find(|record| record.ctr == ctr)
    }

    /// Everything that does not fit together.
    pub fn contradictions(&self) -> Vec<Contradiction> {
        let mut found = Vec::new();
        if self.profile.is_none() {
            found.push(Contradiction::Profile);
        } else if self.currency().is_none() {
            found.push(Contradiction::Currency);
        }
        if matches!(self.counters, Some(Err(_))) {
            found.push(Contradiction::CountersUnreadable);
        }
        for (n, record) in self.records.iter().enumerate() {
            if record.is_err() {
                found.push(Contradiction::Unreadable(n + 1));
            }
        }
        for pair in self.records.windows(2) {
            let [Ok(before), Ok(after)] = pair else { continue };
            if after.ctr.0 != before.ctr.0.wrapping_add(1) {
                found.push(Contradiction::Order(after.ctr.0));
            } else if after.balance_before() != i64::from(before.balance) {
                found.push(Contradiction::Balance(after.ctr.0));
            }
        }
        match self.newest() {
            None if self.records.is_empty() => found.push(Contradiction::NoRecord),
            None => {}
            Some(newest) => {
                if newest.balance != self.value {
                    let (value, record) = (self.value, newest.balance);
                    found.push(Contradiction::Value { value, record });
                }
                if newest.ctr != self.ctr {
                    let (counter, record) = (self.ctr.0, newest.ctr.0);
                    found.push(Contradiction::Counter { counter, record });
                }
                match (newest.layout.has_counters(), &self.counters) {
                    (true, None) => found.push(Contradiction::CountersMissing),
                    (false, Some(_)) => found.push(Contradiction::CountersUnknown),
                    (true, Some(_)) | (false, None) => {}
                }
                match (newest.layout.profile_names_currency(), self.other_value) {
                    (true, false) => found.push(Contradiction::PurseMissing),
                    (false, true) => found.push(Contradiction::PurseUnknown),
                    (true, true) | (false, false) => {}
                }
            }
        }
        found
    }
}
