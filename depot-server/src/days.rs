//! Closing service days: when a day may be closed, its document, and the document again.
//!
//! A closed day is a signed text that fixes what was booked into it (ADR-0018). The closing is one
//! commit under the writer's lock, so nothing can be booked into a day while it is being closed,
//! and the document is a row of the hash-chained journal.

use std::collections::BTreeMap;

use clearing::{Account, Rules};
use ed25519_dalek::{Signature, Signer as _, VerifyingKey};
use fleet_sync::{DepotName, SigningKey};
use ledger::{AccountCode, AccountId, Balance, Transfer};
use model::{ServiceDate, Timestamp};
use settlement::{
    AccountDay, AccountsHash, DayDocument, DayHead, DayLedger, DocumentError, MerkleTree, Salt,
    TapFacts,
};

use crate::{
    config::{parse_hex, to_hex},
    intake::Workplace,
    store::{ClosedDay, DayAccount, Group, StoreError},
};

const SIGNATURE: &str = "signature: ";

/// Why a day is not closed.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// Taps of it are still being made.
    #[error("{day} is not over before {ends}: a day is closed once it has ended")]
    NotOver {
        /// Which day.
        day: ServiceDate,
        /// When it ends, UTC.
        ends: jiff::Timestamp,
    },
    /// Nothing was ever booked, or all that was is closed.
    #[error("{0} has no bookings that could be closed: the books begin later")]
    Nothing(ServiceDate),
    /// A document was asked for that does not exist.
    #[error("{0} is not closed")]
    Open(ServiceDate),
    /// The closed day made again is another one.
    #[error(
        "{day} was closed as another day than its bookings make now, first in {line:?}: run \
             `depot-server verify --from-journal`"
    )]
    Changed {
        /// Which day.
        day: ServiceDate,
        /// The first line that differs.
        line: String,
    },
    /// The books.
    #[error("the books could not close a day")]
    Store(#[from] StoreError),
}

/// A document with its signature, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedDay {
    /// What it says.
    pub document: DayDocument,
    signature: [u8; 64],
}

/// Why a text is no signed day.
#[derive(Debug, thiserror::Error)]
pub enum SignedDayError {
    /// What is signed is no document.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The last line.
    #[error("the last line is no signature")]
    NoSignature,
    /// Signed by somebody else, or changed since.
    #[error("the signature does not hold")]
    Forged,
}

impl SignedDay {
    /// Reads a signed document and checks its signature against the key that it names.
    pub fn parse(text: &str) -> Result<Self, SignedDayError> {
        let at = text.rfind(SIGNATURE).ok_or(SignedDayError::NoSignature)?;
        let (document, signature) = text.split_at(at);
        let digits = signature[SIGNATURE.len()..].strip_suffix('\n');
        let signature = digits.and_then(parse_hex).ok_or(SignedDayError::NoSignature)?;
        let signed = Self { document: DayDocument::parse(document)?, signature };
        let key = VerifyingKey::from_bytes(&signed.document.head.signer);
        let holds = key.is_ok_and(|key| {
            key.verify_strict(document.as_bytes(), &Signature::from_bytes(&signed.signature))
                .is_ok()
        });
        if holds { Ok(signed) } else { Err(SignedDayError::Forged) }
    }

    /// The whole text.
    pub fn to_text(&self) -> String {
        format!("{}{SIGNATURE}{}\n", self.document.to_text(), to_hex(&self.signature))
    }

    fn sign(document: DayDocument, key: &SigningKey) -> Self {
        let signature = key.sign(document.to_text().as_bytes()).to_bytes();
        Self { document, signature }
    }
}

/// What a day is made of, besides its head.
pub(crate) struct Contents<'a> {
    pub(crate) ledger: DayLedger,
    /// Every account with what stands on it now.
    pub(crate) balances: &'a BTreeMap<AccountId, Balance>,
    /// The taps that count, in order of their numbers.
    pub(crate) taps: Vec<TapFacts>,
}

impl Contents<'_> {
    /// The document, and the rows that are kept of its accounts.
    pub(crate) fn compose(self, head: DayHead, salt: &Salt) -> (DayDocument, Vec<DayAccount>) {
        let mut accounts = AccountsHash::default();
        for (account, now) in self.balances {
            accounts.take(account, &self.ledger.closing(account, *now));
        }
        let now = |account: &AccountId| self.balances.get(account).copied().unwrap_or_default();
        let rows = rows(self.ledger.moved(now));
        let tree = tree(&self.taps, &head.depot, head.day, salt);
        let taps = (self.taps.len() as u64, tree.root());
        (self.ledger.document(head, accounts.finish(), taps), rows)
    }
}

/// The tree of a day's taps.
pub(crate) fn tree(taps: &[TapFacts], depot: &str, day: ServiceDate, salt: &Salt) -> MerkleTree {
    MerkleTree::new(taps.iter().map(|tap| tap.leaf(depot, day, salt)).collect())
}

/// One row an account, and one for all cards of a currency.
fn rows(moved: impl Iterator<Item = AccountDay>) -> Vec<DayAccount> {
    let mut rows: BTreeMap<AccountId, DayAccount> = BTreeMap::new();
    for line in moved {
        let account = match Account::parse(&line.account) {
            Some(Account::Card(_)) => AccountId::new(AccountCode(1), line.account.currency(), &[]),
            Some(_) | None => line.account,
        };
        let zero = AccountDay { account, opening: Balance::default(), closing: Balance::default() };
        let row = rows.entry(account).or_insert(DayAccount { account, accounts: 0, sums: zero });
        row.accounts += 1;
        row.sums.opening = plus(row.sums.opening, line.opening);
        row.sums.closing = plus(row.sums.closing, line.closing);
    }
    rows.into_values().map(without_opening_holds).collect()
}

/// What was held before a day is not kept: it is what was held after the day before.
const fn without_opening_holds(mut row: DayAccount) -> DayAccount {
    row.sums.opening.debits_pending = 0;
    row.sums.opening.credits_pending = 0;
    row
}

const fn plus(a: Balance, b: Balance) -> Balance {
    Balance {
        debits_posted: a.debits_posted.saturating_add(b.debits_posted),
        credits_posted: a.credits_posted.saturating_add(b.credits_posted),
        debits_pending: a.debits_pending.saturating_add(b.debits_pending),
        credits_pending: a.credits_pending.saturating_add(b.credits_pending),
    }
}

/// Closes every open day through `day`, the oldest first.
pub fn close_through(
    place: &Workplace,
    signing: &SigningKey,
    day: ServiceDate,
) -> Result<Vec<ServiceDate>, CloseError> {
    let mut closed = Vec::new();
    while let Some(next) = place.store.open_day()?.filter(|next| *next <= day) {
        close(place, signing, next)?;
        closed.push(next);
    }
    if closed.is_empty() && place.store.closed_day(day)?.is_none() {
        return Err(CloseError::Nothing(day));
    }
    Ok(closed)
}

/// Closes the oldest open day if it ended `delay` ago; says which, or that none did.
pub fn close_due(
    place: &Workplace,
    signing: &SigningKey,
    delay: std::time::Duration,
) -> Result<Option<ServiceDate>, CloseError> {
    let now = place.clock.now();
    let next = place.store.open_day()?;
    let due = next.filter(|day| place.rules.end_of(*day, now).plus(delay) <= now);
    due.map(|day| close(place, signing, day).map(|()| day)).transpose()
}

fn close(place: &Workplace, signing: &SigningKey, day: ServiceDate) -> Result<(), CloseError> {
    let now = place.clock.now();
    let ends = place.rules.end_of(day, now);
    if ends > now {
        let ends =
            i64::try_from(ends.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        return Err(CloseError::NotOver { day, ends: ends.unwrap_or(jiff::Timestamp::MAX) });
    }
    let salt = place.store.receipt_salt()?;
    let group = place.store.begin()?;
    if group.oldest_open_day() != Some(day) {
        // Somebody else closed it meanwhile.
        return Ok(());
    }
    let head = DayHead {
        depot: place.depot.to_string(),
        day,
        previous: group.newest_root()?,
        journal: group.journal_head()?,
        closed_at: now,
        signer: signing.verifying_key().to_bytes(),
    };
    let (document, rows) = compose(&group, &place.rules, head, &salt)?;
    let root = document.root();
    let signed = SignedDay::sign(document, signing).to_text();
    group.close_day(day, root, &signed, &rows, now)?;
    tracing::info!(%day, root = to_hex(&root), "a day is closed");
    Ok(())
}

fn compose(
    group: &Group<'_>,
    rules: &Rules,
    head: DayHead,
    salt: &Salt,
) -> Result<(DayDocument, Vec<DayAccount>), StoreError> {
    let day = head.day;
    let mut ledger = DayLedger::new(day);
    group.transfers_from(day, |_, booked, transfer| {
        take(&mut ledger, rules, booked, &transfer);
        Ok(())
    })?;
    let balances = group.balances()?;
    let taps = group.taps_of(day, rules.currency())?;
    Ok(Contents { ledger, balances: &balances, taps }.compose(head, salt))
}

/// Hands one transfer to a day.
pub(crate) fn take(ledger: &mut DayLedger, rules: &Rules, booked: ServiceDate, of: &Transfer) {
    ledger.take(of, booked, rules.service_day(of.event_at, of.booked_at));
}

/// A closed day's document, after it was made again from the day's bookings and found the same.
pub fn closed_again(place: &Workplace, day: ServiceDate) -> Result<ClosedDay, CloseError> {
    let kept = place.store.closed_day(day)?.ok_or(CloseError::Open(day))?;
    let changed = |line: &str| CloseError::Changed { day, line: line.to_owned() };
    let signed = SignedDay::parse(&kept.document).map_err(|error| changed(&error.to_string()))?;
    let salt = place.store.receipt_salt()?;
    let group = place.store.begin()?;
    let head = signed.document.head.clone();
    let (document, _) = compose(&group, &place.rules, head, &salt)?;
    drop(group);
    match first_difference(&signed.document, &document) {
        None => Ok(kept),
        Some(line) => Err(changed(&line)),
    }
}

/// The first line of `kept` that `made` says otherwise.
pub(crate) fn first_difference(kept: &DayDocument, made: &DayDocument) -> Option<String> {
    let (kept, made) = (kept.to_text(), made.to_text());
    if kept == made {
        return None;
    }
    let differs = kept.lines().zip(made.lines()).find(|(kept, made)| kept != made);
    Some(differs.map_or("its length", |(kept, _)| kept).to_owned())
}

/// What the journal says of a closing: checked as far as one row can be.
pub(crate) fn check_head(
    signed: &SignedDay,
    depot: &DepotName,
    previous: [u8; 32],
    journal: (u64, [u8; 32]),
    closed_at: Timestamp,
) -> Result<(), String> {
    let head = &signed.document.head;
    let DayHead { day, .. } = head;
    let expected =
        DayHead { depot: depot.to_string(), previous, journal, closed_at, ..head.clone() };
    if *head == expected {
        return Ok(());
    }
    let made = DayDocument { head: expected, ..signed.document.clone() };
    let line = first_difference(&signed.document, &made).unwrap_or_default();
    Err(format!("{day} was closed after another history than this journal's, first in {line:?}"))
}

#[cfg(test)]
pub(crate) mod tests;
