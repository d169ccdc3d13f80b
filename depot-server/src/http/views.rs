//! What the pages ask of the books: one question per method, one struct per answer.
//!
//! This is the only seam between the dashboard and a store. Plain values in, plain values out:
//! no SQL, no HTML, no names (the pages look names up in the tariff). Both stores (SQLite now,
//! a server database later) answer the same questions, and the tests put them to a fixture.
//!
//! Invariant: a figure and the list behind it come from the same question with the same filter,
//! so that they cannot differ.

use std::{collections::BTreeMap, fmt, str::FromStr};

use model::{
    CardId, CardRecord, ClockQuality, Ctr, Epoch, Money, PlaceIx, Refusal, RiderClass, RouteIx,
    TapRole, TapSeq, TariffVersion, Timestamp, ValidUntil, ValidatorId,
};

/// The books could not answer.
#[derive(Debug, thiserror::Error)]
#[error("the books could not answer: {question}")]
pub struct BooksError {
    /// Which question failed.
    pub question: &'static str,
    /// What the store said.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// The answers of a store. Calls block; the pages make them off the async threads.
pub trait Books: Send + Sync + 'static {
    /// Every validator ever registered or heard of, in the order of its id.
    fn fleet(&self) -> Result<Vec<FleetRow>, BooksError>;
    /// These validators, as far as they are known, in any order.
    fn fleet_some(&self, ids: &[ValidatorId]) -> Result<Vec<FleetRow>, BooksError>;
    /// One validator with what only its own page shows.
    fn validator(&self, id: ValidatorId) -> Result<Option<ValidatorFacts>, BooksError>;
    /// Log entries, newest first by `no`.
    fn taps(&self, filter: &TapFilter, page: Page) -> Result<Vec<TapRow>, BooksError>;
    /// What `taps` with the same filter would add up to.
    fn tap_sums(&self, filter: &TapFilter) -> Result<TapSums, BooksError>;
    /// The handle under which a card is shown, when the card is known.
    fn find_card(&self, number: CardId) -> Result<Option<CardHandle>, BooksError>;
    /// One card: balances, standing, open gaps.
    fn card(&self, handle: CardHandle) -> Result<Option<CardFacts>, BooksError>;
    /// The card's transactions, highest counter first, each with its explained charge.
    fn card_history(&self, handle: CardHandle, page: Page) -> Result<Vec<CardEntry>, BooksError>;
    /// Writes down who looked at which card, before anything about it is shown (PRV-2).
    fn record_access(&self, access: &CardAccess) -> Result<(), BooksError>;
    /// Work items, newest first.
    fn exceptions(
        &self,
        filter: &ExceptionFilter,
        page: Page,
    ) -> Result<Vec<ExceptionRow>, BooksError>;
    /// One row per kind, kinds without items included: opened = resolved + open (REC-14).
    fn exception_tally(&self) -> Result<Vec<KindTally>, BooksError>;
    /// One work item with its evidence.
    fn exception(&self, id: u64) -> Result<Option<ExceptionFacts>, BooksError>;
    /// Every ledger account; per currency they sum to zero (I8).
    fn trial_balance(&self) -> Result<Vec<AccountRow>, BooksError>;
    /// Committed and refused entries received in each of `minutes` minutes from `from` on.
    fn taps_by_minute(&self, from: Timestamp, minutes: u32) -> Result<Vec<Minute>, BooksError>;
}

/// What arrived in one minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Minute {
    /// Entries that moved money or are in doubt.
    pub accepted: u64,
    /// Refused entries.
    pub refused: u64,
}

/// Which part of a long list: rows below `before` (the `no`, id or counter of the last row shown).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Only rows with a smaller number than this.
    pub before: Option<u64>,
    /// At most this many rows.
    pub limit: u32,
}

impl Page {
    /// The newest `limit` rows.
    pub const fn first(limit: u32) -> Self {
        Self { before: None, limit }
    }
}

/// Is the wire to the validator alive? Says nothing about whether its taps are here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkState {
    /// Connected, and heard from in time.
    Connected,
    /// Connected by the broker's word, but silent longer than its heartbeat allows.
    Late,
    /// Its will arrived, or nothing was heard for too long.
    Lost,
    /// Registered, never heard from.
    NeverSeen,
}

/// Are its taps here? Says nothing about whether the wire is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DrainState {
    /// Everything it said it recorded is booked.
    Empty,
    /// Behind, and getting nearer.
    Draining,
    /// Behind, and not getting nearer.
    Stuck,
    /// It has not said how much it recorded.
    Unknown,
}

/// Does it take taps?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceState {
    /// Takes taps.
    InService,
    /// Takes taps, with something wrong.
    Degraded,
    /// Takes none.
    Out,
    /// It has not said.
    Unknown,
}

/// One validator. Link, drain and service are three facts, never one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetRow {
    /// Who.
    pub id: ValidatorId,
    /// What it is for, once known.
    pub role: Option<TapRole>,
    /// Where it stands or last tapped.
    pub place: Option<PlaceIx>,
    /// The route it serves.
    pub route: Option<RouteIx>,
    /// Is the wire alive?
    pub link: LinkState,
    /// Since when `link` is so.
    pub link_since: Timestamp,
    /// Are its taps here?
    pub drain: DrainState,
    /// Entries that it recorded and the books do not have.
    pub unsent: u64,
    /// When the oldest of those was tapped, as far as known.
    pub oldest_unsent: Option<Timestamp>,
    /// Does it take taps?
    pub service: ServiceState,
    /// Why not, in the validator's words; empty when in service.
    pub service_reason: String,
    /// Its newest booked tap, by its clock.
    pub last_tap: Option<Timestamp>,
    /// When anything of it last arrived here.
    pub last_heard: Option<Timestamp>,
    /// 95th percentile of its recent tap times.
    pub tap_p95_ms: Option<u32>,
    /// The tariff it prices with.
    pub tariff: Option<TariffVersion>,
    /// Its clock minus ours.
    pub clock_offset_ms: Option<i64>,
    /// Its software.
    pub software: String,
}

/// One validator on its own page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatorFacts {
    /// The same facts as in the fleet's list.
    pub row: FleetRow,
    /// Where its clock gets the time from.
    pub clock: ClockQuality,
    /// Its log lives, newest first.
    pub epochs: Vec<EpochFacts>,
}

/// One life of a validator's log, as far as it is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochFacts {
    /// Which life.
    pub epoch: Epoch,
    /// Every entry up to here is booked.
    pub acked_through: TapSeq,
    /// The highest entry that is booked; above `acked_through` when some are missing between.
    pub booked_through: TapSeq,
    /// The highest entry it said it recorded.
    pub recorded_through: TapSeq,
    /// First and last of each run of entries that are missing below the highest booked one.
    pub missing: Vec<(TapSeq, TapSeq)>,
    /// Entries that arrived again with the same bytes.
    pub duplicates: u64,
}

/// What became of a tap, as a word to filter by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The card committed.
    Committed,
    /// The card left before it answered; not yet decided.
    InDoubt,
    /// The rider was refused.
    Refused,
    /// An in-doubt tap turned out to have happened.
    Confirmed,
    /// An in-doubt tap turned out not to have happened.
    Voided,
}

/// One log entry of one validator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapRow {
    /// The books' own number, in the order of booking.
    pub no: u64,
    /// Who recorded it.
    pub validator: ValidatorId,
    /// In which life of its log.
    pub epoch: Epoch,
    /// As which entry.
    pub seq: TapSeq,
    /// By the validator's clock.
    pub tapped_at: Timestamp,
    /// How far that clock can be believed.
    pub clock: ClockQuality,
    /// By the depot's clock.
    pub received_at: Timestamp,
    /// The card, when one was identified.
    pub card: Option<CardRef>,
    /// What the validator was doing.
    pub role: TapRole,
    /// Where.
    pub place: PlaceIx,
    /// On which route.
    pub route: Option<RouteIx>,
    /// What became of it.
    pub outcome: Outcome,
    /// Why it was refused.
    pub reason: Option<Refusal>,
    /// What the rider paid by it; zero when refused.
    pub charged: Money,
    /// Left on the card after it, when known.
    pub balance: Option<Money>,
    /// From card detected to feedback shown.
    pub duration_ms: u16,
    /// The tariff that priced it.
    pub tariff: TariffVersion,
}

/// Which log entries. Empty means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TapFilter {
    /// Only of this validator.
    pub validator: Option<ValidatorId>,
    /// Only on this route.
    pub route: Option<RouteIx>,
    /// Only with this outcome.
    pub outcome: Option<Outcome>,
    /// Only refused for this reason.
    pub reason: Option<Refusal>,
    /// Only received at or after this; the pages ask from whole minutes on, so that counts kept by
    /// the minute can answer.
    pub received_from: Option<Timestamp>,
    /// Only received before this.
    pub received_before: Option<Timestamp>,
}

impl TapFilter {
    /// Whether a list with this filter holds `row`.
    pub fn holds(&self, row: &TapRow) -> bool {
        fn same<T: PartialEq>(wanted: Option<&T>, found: Option<&T>) -> bool {
            wanted.is_none() || wanted == found
        }
        same(self.validator.as_ref(), Some(&row.validator))
            && same(self.route.as_ref(), row.route.as_ref())
            && same(self.outcome.as_ref(), Some(&row.outcome))
            && same(self.reason.as_ref(), row.reason.as_ref())
            && self.received_from.is_none_or(|from| row.received_at >= from)
            && self.received_before.is_none_or(|before| row.received_at < before)
    }
}

/// What a filter's log entries add up to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TapSums {
    /// Entries by outcome; their sum is the length of the list.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Refused entries by reason; their sum is `outcomes[Refused]`.
    pub reasons: BTreeMap<Refusal, u64>,
    /// Paid by these entries, one sum per currency.
    pub charged: Vec<Money>,
    /// 95th percentile of their duration.
    pub duration_p95_ms: Option<u32>,
}

impl TapSums {
    /// How many entries.
    pub fn total(&self) -> u64 {
        self.outcomes.values().sum()
    }

    /// How many with this outcome.
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(&outcome).copied().unwrap_or(0)
    }
}

/// The name of a card in URLs: opaque, of no use outside this depot, stable for one card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CardHandle(pub u64);

impl fmt::Display for CardHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The text is not a card handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a card handle: look the card up by its number")]
pub struct NotAHandle;

impl FromStr for CardHandle {
    type Err = NotAHandle;
    fn from_str(text: &str) -> Result<Self, NotAHandle> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 16 || !text.bytes().all(hex) {
            return Err(NotAHandle);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| NotAHandle)
    }
}

/// A card as lists show it: how to get to it, and its masked number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardRef {
    /// For the URL.
    pub handle: CardHandle,
    /// `CardId`'s `Display`: the last two bytes only.
    pub masked: String,
}

/// May the card be used?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CardStanding {
    /// Nothing against it.
    Good,
    /// Two histories of it exist: a copy or a rollback (I2).
    Forked,
    /// Refused everywhere.
    Hotlisted,
    /// Its validity has ended.
    Expired,
}

/// One card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardFacts {
    /// How lists show it.
    pub card: CardRef,
    /// May it be used?
    pub standing: CardStanding,
    /// Rider category.
    pub class: RiderClass,
    /// End of validity.
    pub valid_until: ValidUntil,
    /// Counter of the newest record known.
    pub ctr: Ctr,
    /// When that record was written, by the validator's clock.
    pub seen_at: Timestamp,
    /// Balance that the newest record on the card shows.
    pub on_card: Money,
    /// Balance of the card's ledger account.
    pub in_ledger: Money,
    /// Net amount of lost records, held until they arrive (I4). Positive: paid somewhere unknown.
    pub suspense: Money,
    /// Amount of taps that are still in doubt.
    pub in_doubt: Money,
    /// Transactions booked.
    pub entries: u64,
    /// Its open and closed work items, newest first.
    pub exceptions: Vec<ExceptionRow>,
}

/// One transaction of a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardEntry {
    /// The log entry.
    pub tap: TapRow,
    /// What was read from the card.
    pub before: Option<CardRecord>,
    /// What was written to it, for certain or in doubt.
    pub after: Option<CardRecord>,
    /// Why that amount: the steps sum to `tap.charged`. Empty when nothing was priced.
    pub steps: Vec<ChargeStep>,
    /// Records missing between this one and the one before it.
    pub gap: Option<Gap>,
}

/// One step of an explained charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChargeStep {
    /// What was applied, in words: "Base fare", "Transfer within 60 min".
    pub label: String,
    /// What it was worked out from: "Harbour to Museum", "42 min after the first ride".
    pub detail: String,
    /// The tariff's id of the rule.
    pub rule: String,
    /// What it added (or, negative, took off).
    pub amount: Money,
}

/// Lost records of a card, whose net amount is exactly known (I4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// First missing counter.
    pub from: Ctr,
    /// Last missing counter.
    pub through: Ctr,
    /// What they paid together.
    pub net: Money,
}

/// Who looked at a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardAccess {
    /// The session's operator.
    pub who: String,
    /// Which card.
    pub card: CardHandle,
    /// When.
    pub at: Timestamp,
    /// By what: "looked up by number", "opened from a list".
    pub how: &'static str,
}

/// Kinds of work items (REC-14), gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExceptionKind {
    /// Same card and counter, different bytes: a clone or a rollback (I2).
    Fork,
    /// The card's proof does not hold (SEC-8).
    ProofInvalid,
    /// Balance after one record differs from balance before the next (I3).
    BalanceMismatch,
    /// Registers differ from the sum of the records (I6).
    RegisterMismatch,
    /// The hash chain is broken, or one number has two contents (I5).
    ChainBroken,
    /// The depot prices the tap differently.
    FareMismatch,
    /// Records of a card are missing (I4).
    CardGap,
    /// Entries of a validator are missing (I5).
    SequenceGap,
    /// Nobody knows yet whether the card committed.
    InDoubt,
    /// A batch could not be read or verified; it is kept as received.
    Quarantined,
}

impl ExceptionKind {
    /// All kinds, gravest first.
    pub const ALL: [Self; 10] = [
        Self::Fork,
        Self::ProofInvalid,
        Self::BalanceMismatch,
        Self::RegisterMismatch,
        Self::ChainBroken,
        Self::FareMismatch,
        Self::CardGap,
        Self::SequenceGap,
        Self::InDoubt,
        Self::Quarantined,
    ];

    /// The word in URLs, metrics and the store.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::ProofInvalid => "proof-invalid",
            Self::BalanceMismatch => "balance-mismatch",
            Self::RegisterMismatch => "register-mismatch",
            Self::ChainBroken => "chain-broken",
            Self::FareMismatch => "fare-mismatch",
            Self::CardGap => "card-gap",
            Self::SequenceGap => "sequence-gap",
            Self::InDoubt => "in-doubt",
            Self::Quarantined => "quarantined",
        }
    }

    /// From its word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// A work item in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExceptionRow {
    /// Its number.
    pub id: u64,
    /// What kind.
    pub kind: ExceptionKind,
    /// Money at stake, as an absolute amount; `None` when none can be stated.
    pub amount: Option<Money>,
    /// Since when.
    pub opened_at: Timestamp,
    /// How it ended; `None` while open.
    pub closed: Option<Closed>,
    /// Whose card.
    pub card: Option<CardRef>,
    /// Which validator.
    pub validator: Option<ValidatorId>,
}

/// How a work item ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// When.
    pub at: Timestamp,
    /// By what: "late records arrived", "decided by the next tap".
    pub reason: String,
}

/// Which work items. Empty means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExceptionFilter {
    /// Only of this kind.
    pub kind: Option<ExceptionKind>,
    /// Only open (`true`) or only closed ones (`false`).
    pub open: Option<bool>,
    /// Only of this validator.
    pub validator: Option<ValidatorId>,
}

/// How many of one kind; opened = resolved + open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindTally {
    /// Which kind.
    pub kind: ExceptionKind,
    /// Ever opened.
    pub opened: u64,
    /// Closed since.
    pub resolved: u64,
    /// Open.
    pub open: u64,
    /// Money at stake in the open ones, one sum per currency.
    pub open_amount: Vec<Money>,
    /// When the oldest open one was opened.
    pub oldest_open: Option<Timestamp>,
}

/// A work item with what is known about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExceptionFacts {
    /// The same facts as in the list.
    pub row: ExceptionRow,
    /// One sentence with the numbers: "ctr 17 to 19 are missing; together they paid 4.80 EUR".
    pub finding: String,
    /// What contradicts what, to be shown side by side; in the order of cause.
    pub evidence: Vec<Evidence>,
}

/// One piece of evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// What it is: "first record", "second record with the same counter".
    pub title: String,
    /// The log entry it comes from.
    pub tap: Option<TapRow>,
    /// The card's record, read or written.
    pub record: Option<CardRecord>,
    /// Anything else, as name and value.
    pub notes: Vec<(String, String)>,
}

/// One ledger account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRow {
    /// Its name in the books.
    pub name: String,
    /// How many accounts this row sums (card balances are one row).
    pub accounts: u64,
    /// Debits minus credits.
    pub balance: Money,
}

/// What changed just now; `app` broadcasts these after the durable commit.
#[derive(Debug, Clone)]
pub enum Live {
    /// An entry was booked.
    Tap(TapRow),
    /// Something about a validator changed.
    Validator(ValidatorId),
    /// A work item was opened or closed.
    Exceptions,
}
