//! A closed day: what was booked into it, what then stood on every account, and the document that
//! fixes both. The document is text, so that anybody can read what was signed.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt::Write as _;

use ledger::{AccountId, Balance, Kind, Transfer};
use model::{Currency, Money, ServiceDate, Timestamp};
use sha2::{Digest, Sha256};

use crate::hex::{hex, unhex};

const FIRST_LINE: &str = "tapline day 1";

/// What a document says besides the day's contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayHead {
    /// Whose books.
    pub depot: String,
    /// Which day.
    pub day: ServiceDate,
    /// The root of the day closed before; zeros for the first.
    pub previous: [u8; 32],
    /// The newest row of the journal before the closing, with the chain's value.
    pub journal: (u64, [u8; 32]),
    /// When it was closed, by the depot's clock.
    pub closed_at: Timestamp,
    /// The public key that signs it.
    pub signer: [u8; 32],
}

/// What moved in one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Total {
    /// Which.
    pub currency: Currency,
    /// Debited for good on all accounts; as much was credited.
    pub moved: i64,
}

/// A closed day in one page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayDocument {
    /// Who closed it, when, after what.
    pub head: DayHead,
    /// Transfers booked into the day, and how many of them happened on an earlier day.
    pub transfers: (u64, u64),
    /// SHA-256 over the transfers, see [`DayLedger`].
    pub transfers_hash: [u8; 32],
    /// Accounts on which something stood at the end of the day.
    pub accounts: u64,
    /// SHA-256 over them, see [`AccountsHash`].
    pub accounts_hash: [u8; 32],
    /// Taps of the day: the leaves of its tree.
    pub taps: u64,
    /// The root of that tree.
    pub taps_root: [u8; 32],
    /// What moved, by currency.
    pub totals: Vec<Total>,
}

/// Why a text is no document of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// It begins with something else.
    #[error("this is no closed day: it does not begin with {FIRST_LINE:?}")]
    NoDocument,
    /// A line is missing, in another place, or malformed.
    #[error("the line {0:?} is missing, misplaced or malformed")]
    Line(&'static str),
}

impl DayDocument {
    /// The text that is hashed and signed.
    pub fn to_text(&self) -> String {
        let h = &self.head;
        let mut text = format!("{FIRST_LINE}\ndepot: {}\nday: {}\n", h.depot, h.day);
        let _ = writeln!(text, "closed-at: {}", h.closed_at.0);
        let _ = writeln!(text, "previous: {}", hex(&h.previous));
        let _ = writeln!(text, "journal: {} {}", h.journal.0, hex(&h.journal.1));
        let (count, late) = self.transfers;
        let _ = writeln!(text, "transfers: {count} {late} {}", hex(&self.transfers_hash));
        let _ = writeln!(text, "accounts: {} {}", self.accounts, hex(&self.accounts_hash));
        let _ = writeln!(text, "taps: {} {}", self.taps, hex(&self.taps_root));
        for total in &self.totals {
            let moved = Money::new(total.moved, total.currency).decimal();
            let _ = writeln!(text, "moved: {moved} {}", total.currency.letters());
        }
        let _ = writeln!(text, "signed-by: {}", hex(&h.signer));
        text
    }

    /// SHA-256 of the text: the day's root.
    pub fn root(&self) -> [u8; 32] {
        Sha256::digest(self.to_text().as_bytes()).into()
    }

    /// Reads a text. It reads only what [`Self::to_text`] writes, to the byte.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        let mut lines = text.lines().peekable();
        if lines.next() != Some(FIRST_LINE) {
            return Err(DocumentError::NoDocument);
        }
        let mut line = |key: &'static str| {
            let value = lines.next().and_then(|line| line.strip_prefix(key)?.strip_prefix(": "));
            value.ok_or(DocumentError::Line(key))
        };
        let depot = line("depot")?.to_string();
        let day = ServiceDate::parse(line("day")?).ok_or(DocumentError::Line("day"))?;
        let closed_at = Timestamp(number("closed-at", line("closed-at")?)?);
        let previous = hash("previous", line("previous")?)?;
        let journal = counted("journal", line("journal")?)?;
        let (count, rest) =
            line("transfers")?.split_once(' ').ok_or(DocumentError::Line("transfers"))?;
        let (late, transfers_hash) = counted("transfers", rest)?;
        let transfers = (number("transfers", count)?, late);
        let (accounts, accounts_hash) = counted("accounts", line("accounts")?)?;
        let (taps, taps_root) = counted("taps", line("taps")?)?;
        let mut totals = Vec::new();
        while let Some(moved) = lines.next_if(|line| line.starts_with("moved: ")) {
            totals.push(total(&moved["moved: ".len()..]).ok_or(DocumentError::Line("moved"))?);
        }
        let signer = lines.next().and_then(|line| unhex(line.strip_prefix("signed-by: ")?));
        let signer = signer.ok_or(DocumentError::Line("signed-by"))?;
        let head = DayHead { depot, day, previous, journal, closed_at, signer };
        let document = Self {
            head,
            transfers,
            transfers_hash,
            accounts,
            accounts_hash,
            taps,
            taps_root,
            totals,
        };
        if document.to_text() == text { Ok(document) } else { Err(DocumentError::Line("the end")) }
    }
}

fn number(key: &'static str, text: &str) -> Result<u64, DocumentError> {
    text.parse().map_err(|_| DocumentError::Line(key))
}

fn hash(key: &'static str, text: &str) -> Result<[u8; 32], DocumentError> {
    unhex(text).ok_or(DocumentError::Line(key))
}

fn counted(key: &'static str, text: &str) -> Result<(u64, [u8; 32]), DocumentError> {
    let (count, digits) = text.split_once(' ').ok_or(DocumentError::Line(key))?;
    Ok((number(key, count)?, hash(key, digits)?))
}

fn total(text: &str) -> Option<Total> {
    let (amount, letters) = text.split_once(' ')?;
    let currency = Currency::parse(letters).ok()?;
    Some(Total { currency, moved: Money::parse(amount, currency).ok()?.minor() })
}

/// What transfers change on one account, as a balance of differences.
type Moved = [i64; 4];

/// What was booked into one day, collected transfer by transfer in any order.
///
/// The hash over the transfers is SHA-256 of `tapline-transfers-1`, their number (8 bytes, MSB
/// first) and the SHA-256 of each one's journal form, in the order of the transfers' ids.
#[derive(Debug, Clone)]
pub struct DayLedger {
    day: ServiceDate,
    transfers: Vec<([u8; 32], [u8; 32])>,
    late: u64,
    of_day: BTreeMap<AccountId, Moved>,
    later: BTreeMap<AccountId, Moved>,
    totals: BTreeMap<Currency, i64>,
}

/// One account in a closed day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountDay {
    /// Which.
    pub account: AccountId,
    /// What stood on it when the day before was closed.
    pub opening: Balance,
    /// What stood on it when this day was closed.
    pub closing: Balance,
}

impl DayLedger {
    /// Nothing booked yet.
    pub fn new(day: ServiceDate) -> Self {
        let (of_day, later, totals) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { day, transfers: Vec::new(), late: 0, of_day, later, totals }
    }

    /// A transfer that was booked into `booked`, of an event on the service day `event`. One of an
    /// earlier day changes nothing: it was closed with that day.
    pub fn take(&mut self, transfer: &Transfer, booked: ServiceDate, event: ServiceDate) {
        if booked < self.day {
            return;
        }
        let accounts = if booked == self.day { &mut self.of_day } else { &mut self.later };
        for (side, account) in [(0, transfer.debit), (1, transfer.credit)] {
            let moved = accounts.entry(account).or_default();
            let (posted, pending) = match transfer.kind {
                Kind::Direct => (transfer.amount, 0),
                Kind::Pending => (0, transfer.amount),
                Kind::Post(_) => (transfer.amount, -transfer.amount),
                Kind::Void(_) => (0, -transfer.amount),
            };
            moved[side] += posted;
            moved[side + 2] += pending;
        }
        if booked == self.day {
            self.late += u64::from(event < self.day);
            let leaf = Sha256::digest(transfer.to_bytes()).into();
            self.transfers.push((transfer.id.0, leaf));
            if matches!(transfer.kind, Kind::Direct | Kind::Post(_)) {
                *self.totals.entry(transfer.currency).or_default() += transfer.amount;
            }
        }
    }

    /// What stood on an account at the end of the day, from what stands on it now.
    pub fn closing(&self, account: &AccountId, now: Balance) -> Balance {
        minus(now, self.later.get(account))
    }

    /// Accounts that moved in the day, in order of the id, from what stands on them now.
    pub fn moved<'a>(
        &'a self,
        now: impl Fn(&AccountId) -> Balance + 'a,
    ) -> impl Iterator<Item = AccountDay> + 'a {
        self.of_day.iter().map(move |(account, moved)| {
            let closing = self.closing(account, now(account));
            AccountDay { account: *account, opening: minus(closing, Some(moved)), closing }
        })
    }

    /// The document, with the accounts' and the taps' part of it.
    pub fn document(
        mut self,
        head: DayHead,
        (accounts, accounts_hash): (u64, [u8; 32]),
        (taps, taps_root): (u64, [u8; 32]),
    ) -> DayDocument {
        self.transfers.sort_unstable();
        let count = self.transfers.len() as u64;
        let mut hash =
            Sha256::new().chain_update(b"tapline-transfers-1").chain_update(count.to_be_bytes());
        self.transfers.iter().for_each(|(_, leaf)| hash.update(leaf));
        let totals = self.totals.into_iter();
        DayDocument {
            head,
            transfers: (count, self.late),
            transfers_hash: hash.finalize().into(),
            accounts,
            accounts_hash,
            taps,
            taps_root,
            totals: totals.map(|(currency, moved)| Total { currency, moved }).collect(),
        }
    }
}

fn minus(balance: Balance, moved: Option<&Moved>) -> Balance {
    let Some([debits, credits, debits_pending, credits_pending]) = moved else { return balance };
    Balance {
        debits_posted: balance.debits_posted - debits,
        credits_posted: balance.credits_posted - credits,
        debits_pending: balance.debits_pending - debits_pending,
        credits_pending: balance.credits_pending - credits_pending,
    }
}

/// A hash over what stands on all accounts: SHA-256 of `tapline-accounts-1` and, in order of the
/// ids, each account's id (16 bytes) and its four sums (debits, credits, held debits, held credits;
/// 8 bytes each, MSB first). Accounts on which nothing ever stood are left out.
#[derive(Debug, Clone)]
pub struct AccountsHash {
    hash: Sha256,
    count: u64,
    last: Option<AccountId>,
}

impl Default for AccountsHash {
    fn default() -> Self {
        let hash = Sha256::new().chain_update(b"tapline-accounts-1");
        Self { hash, count: 0, last: None }
    }
}

impl AccountsHash {
    /// The next account.
    ///
    /// # Panics
    /// When accounts do not come in order: the hash would depend on who asks.
    pub fn take(&mut self, account: &AccountId, balance: &Balance) {
        assert!(self.last.is_none_or(|last| last < *account), "accounts come in order");
        self.last = Some(*account);
        if *balance == Balance::default() {
            return;
        }
        self.count += 1;
        self.hash.update(account.to_bytes());
        let Balance { debits_posted, credits_posted, debits_pending, credits_pending } = balance;
        for sum in [debits_posted, credits_posted, debits_pending, credits_pending] {
            self.hash.update(sum.to_be_bytes());
        }
    }

    /// How many accounts, and their hash.
    pub fn finish(self) -> (u64, [u8; 32]) {
        (self.count, self.hash.finalize().into())
    }
}
