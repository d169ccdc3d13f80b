//! Which currency a card's purse is in, and which entries say otherwise (ADR-0019).
//!
//! A record of layout 1 or 2 is in the tariff's currency; of layout 3 it is in the one that the
//! card's profile names, which the transaction read. A card has one ledger for its life: that of
//! its issue, or of the first transaction that it proves. An entry that says something else, or
//! cannot say it, is a work item and books nothing. An entry in doubt proves nothing: it opens no
//! ledger before the card has proven the currency that it speaks of.

use alloc::{format, string::String, vec::Vec};
use core::fmt;

use model::{CardRecord, CardTransaction, Ctr, Currency, TapRecord};

use crate::{
    CardState, ClearError, ExceptionChange, Known, Outcome, TapRef,
    chain::Step,
    exception::{Evidence, Exception, ExceptionKind},
    known::transaction,
    state::Doubt,
};

/// Why the books do not follow an entry into the purse that it speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurseMisfit {
    /// The records are in a currency that only the profile names, and it was not read.
    Unread,
    /// A currency was read although the records are in the tariff's.
    Needless(Currency),
    /// One record is in the tariff's currency and the other is not.
    Changed,
    /// The card is known to have another purse; `None` is the tariff's currency.
    Other {
        /// By the entry.
        said: Option<Currency>,
        /// By the books.
        known: Option<Currency>,
    },
}

impl core::error::Error for PurseMisfit {}

impl fmt::Display for PurseMisfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |purse: &Option<Currency>| match purse {
            Some(currency) => format!("{currency}"),
            None => String::from("the tariff's currency"),
        };
        match self {
            Self::Unread => f.write_str("the profile names the purse's currency, and was not read"),
            Self::Needless(read) => {
                write!(f, "the purse is in the tariff's currency, and {read} was read")
            }
            Self::Changed => f.write_str("the records found and written are not in one currency"),
            Self::Other { said, known } => {
                write!(f, "a purse in {}, and the card's is in {}", name(said), name(known))
            }
        }
    }
}

/// What two records and what was read of the profile say of the purse: `None` for the tariff's
/// currency.
const fn said(
    [before, after]: [&CardRecord; 2],
    read: Option<Currency>,
) -> Result<Option<Currency>, PurseMisfit> {
    let names = (before.layout.profile_names_currency(), after.layout.profile_names_currency());
    match (names, read) {
        ((true, true), Some(_)) | ((false, false), None) => Ok(read),
        ((true, true), None) => Err(PurseMisfit::Unread),
        ((false, false), Some(read)) => Err(PurseMisfit::Needless(read)),
        ((true, false) | (false, true), _) => Err(PurseMisfit::Changed),
    }
}

/// Whether a transaction is one of a card with this purse.
pub(crate) fn is_of(transaction: &CardTransaction, purse: Option<Currency>) -> bool {
    let CardTransaction { before, after, purse: read, .. } = transaction;
    said([before, after], *read) == Ok(purse)
}

impl CardState {
    /// The currency of the card's purse, where the card's profile names it; `None` where it is the
    /// tariff's, and while nothing of the card is known.
    pub const fn purse(&self) -> Option<Currency> {
        self.purse
    }

    /// The currency of the card's books, where the tariff's is `tariff`.
    pub fn currency(&self, tariff: Currency) -> Currency {
        self.purse.unwrap_or(tariff)
    }

    /// Whether the card's currency is known for certain.
    pub(crate) const fn has_ledger(&self) -> bool {
        self.chain.is_some()
    }

    /// What a transaction says of the purse, when that fits what is known of the card.
    pub(crate) fn agreed(
        &self,
        transaction: &CardTransaction,
    ) -> Result<Option<Currency>, PurseMisfit> {
        let CardTransaction { before, after, purse, .. } = transaction;
        self.agreed_of([before, after], *purse)
    }

    /// The same of a card's records, with what was read of its profile.
    pub(crate) fn agreed_of(
        &self,
        records: [&CardRecord; 2],
        read: Option<Currency>,
    ) -> Result<Option<Currency>, PurseMisfit> {
        let said = said(records, read)?;
        if self.has_ledger() && said != self.purse {
            return Err(PurseMisfit::Other { said, known: self.purse });
        }
        Ok(said)
    }
}

impl<K: Known> Step<'_, K> {
    /// The card has proven which purse it has. The first time, this says what entries in doubt are
    /// worth that spoke before.
    pub(crate) fn adopt(&mut self, purse: Option<Currency>) {
        if self.state.has_ledger() {
            return;
        }
        self.state.purse = purse;
        let currency = self.state.currency(self.rules.currency());
        self.items.currency = currency;
        self.postings.currency = currency;
        for doubt in core::mem::take(&mut self.state.doubts) {
            let is_held = self.is_held(&doubt);
            if doubt.purse == purse {
                if !(doubt.voided || is_held) {
                    self.postings.hold(&doubt);
                }
                self.state.doubts.push(doubt);
                continue;
            }
            if is_held {
                self.postings.void(&doubt);
            }
            let id = self.items.id(ExceptionKind::InDoubt, &doubt.tap.to_bytes());
            self.reasons.push((id, "the purse that it speaks of is not the card's"));
            let why = PurseMisfit::Other { said: doubt.purse, known: purse };
            self.open_misfit(doubt.tap, &doubt.transaction(), why);
        }
    }

    /// Whether an in-doubt tap's amount is held. One that speaks of another currency than the
    /// tariff's is not, before the card has proven it: or anybody could open ledgers.
    pub(crate) const fn is_held(&self, doubt: &Doubt) -> bool {
        !doubt.voided && (doubt.purse.is_none() || self.state.has_ledger())
    }

    /// An entry that the books do not follow: it is named, and moves nothing.
    pub(crate) fn misfit(
        &mut self,
        tap: &TapRecord,
        transaction: &CardTransaction,
        why: PurseMisfit,
    ) -> Result<Outcome, ClearError<K::Error>> {
        let entry = TapRef::of(tap);
        if self.known.cleared(entry).map_err(ClearError::Known)? {
            return Ok(Outcome::Replayed);
        }
        self.state.voided.retain(|of| *of != entry);
        self.open_misfit(entry, transaction, why);
        Ok(Outcome::Noted)
    }

    fn open_misfit(&mut self, entry: TapRef, transaction: &CardTransaction, why: PurseMisfit) {
        let CardTransaction { before, after, .. } = transaction;
        let tap = Some(entry);
        let evidence = alloc::vec![
            Evidence { title: "record found", tap, record: Some(*before) },
            Evidence { title: "record written", tap, record: Some(*after) },
        ];
        let finding = format!("record {}: {why}", after.ctr);
        let kind = ExceptionKind::Contradiction;
        let item = self.items.item(kind, &entry.to_bytes(), 0, finding, evidence);
        // In which currency is the question.
        self.changes.push(ExceptionChange::Opened(Exception { amount: None, ..item }));
    }

    /// Entries of a counter of the card, but for those that speak of another purse.
    pub(crate) fn entries(&self, ctr: Ctr) -> Result<Vec<TapRecord>, ClearError<K::Error>> {
        let mut found = self.known.transactions(self.card, ctr).map_err(ClearError::Known)?;
        found.retain(|tap| transaction(tap).is_some_and(|t| self.state.agreed(t).is_ok()));
        Ok(found)
    }
}
