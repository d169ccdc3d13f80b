//! What the pages ask of the books: one question per method, one struct per answer.
//!
//! This is the only seam between the dashboard and a store. Plain values in, plain values out:
//! no SQL, no HTML, no names (the pages look names up in the tariff). Both stores (SQLite now,
//! a server database later) answer the same questions, and the tests put them to a fixture.
//!
//! Invariant: a figure and the list behind it come from the same question with the same filter,
//! so that they cannot differ.

mod card;
mod exception;
mod hotlist;
mod money;
mod rollouts;

use std::collections::BTreeMap;

use clearing::ClockGap;
use model::{
    CardId, ClockQuality, Epoch, GateWord, Money, PlaceIx, Refusal, RouteIx, TapRole, TapSeq,
    TariffVersion, Timestamp, ValidatorId,
};
use work::TooFew;

pub use card::{
    AdjustedTap, Adjustment, CardAccess, CardEntry, CardFacts, CardHandle, CardRef, CardStanding,
    Gap, NotAHandle,
};
pub use exception::{
    Closed, Evidence, ExceptionFacts, ExceptionFilter, ExceptionKind, ExceptionRow, KindTally,
    Owner,
};
pub use hotlist::{HotlistCase, HotlistFacts, HotlistGroup};
pub use money::{DayFacts, FactRow, MoneyFacts, OwedFact};
pub use rollouts::{
    Bad, BehindFacts, PlanFact, PlanFacts, RolloutFacts, SettingsFact, SettingsFacts,
    SteeringEvent, VersionCount,
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
    /// What all validators together do, beside what is usual.
    fn fleet_work(&self) -> Result<FleetWork, BooksError>;
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
    /// What the card is owed beside what is on it, by service day, the newest first.
    fn adjustments(&self, handle: CardHandle) -> Result<Vec<Adjustment>, BooksError>;
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
    /// The hotlist: the breaker, what waits, at most `limit` cases of each list.
    fn hotlist(&self, limit: u32) -> Result<HotlistFacts, BooksError>;
    /// What is on its way to validators, with at most `limit` that are behind.
    fn rollouts(&self, limit: usize) -> Result<RolloutFacts, BooksError>;
    /// Every ledger account; per currency they sum to zero (I8).
    fn trial_balance(&self) -> Result<Vec<AccountRow>, BooksError>;
    /// What is held for riders, and the newest `days` closed days.
    fn money(&self, days: u32) -> Result<MoneyFacts, BooksError>;
    /// Committed and refused entries received in each of `minutes` minutes from `from` on.
    fn taps_by_minute(&self, from: Timestamp, minutes: u32) -> Result<Vec<Minute>, BooksError>;
}

/// What arrived in one minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Minute {
    /// Entries that let a rider pass, or are in doubt.
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
    /// Says that it takes taps, and sees far fewer than it should (ADR-0030).
    TooFew,
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
    /// How many taps it should have seen, when `service` says that they are too few.
    pub too_few: Option<TooFew>,
    /// Its newest booked tap, by its clock.
    pub last_tap: Option<Timestamp>,
    /// When anything of it last arrived here.
    pub last_heard: Option<Timestamp>,
    /// 95th percentile of its recent tap times.
    pub tap_p95_ms: Option<u32>,
    /// The tariff it prices with.
    pub tariff: Option<TariffVersion>,
    /// A list that was published is not there, or something is wrong with its lists.
    pub lists_behind: bool,
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
    /// What it says of its lists; `None` from one that knows of none.
    pub lists: Option<ListFacts>,
    /// When its last state message arrived: all that it says of itself is of then.
    pub said_at: Option<Timestamp>,
    /// What it says of its device; `None` from one that says nothing.
    pub device: Option<wire::Health>,
    /// Which versions of messages it speaks; `None` from one that knows only the first.
    pub speech: Option<wire::Speech>,
    /// What it makes of what the depot wants it to be.
    pub steered: wire::Steered,
    /// What it did.
    pub work: WorkFacts,
    /// Its log lives, newest first.
    pub epochs: Vec<EpochFacts>,
    /// Taps by which its clock and another disagree, newest first.
    pub clock_gaps: Vec<ClockGap>,
}

/// What one validator did, in whole hours, as far as its taps are here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkFacts {
    /// Taps that are usual in the last 24 of them; `None` when too little is known.
    pub usual: Option<u64>,
    /// Taps in the last 24 of them.
    pub seen: u64,
    /// Hours of the last week in which many taps are usual.
    pub expected_hours: u64,
    /// In so many of them there were any.
    pub worked_hours: u64,
}

/// What all validators together did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FleetWork {
    /// All who are connected see far fewer taps than usual.
    pub too_few: Option<TooFew>,
    /// Hours of single validators in the last day in which many taps are usual.
    pub expected_hours: u64,
    /// In so many of them there were any.
    pub worked_hours: u64,
}

/// The lists of one validator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListFacts {
    /// When the manifest was signed that it goes by; `None` before its first.
    pub issued: Option<Timestamp>,
    /// Kind and version of each list that it holds.
    pub held: Vec<(String, u64)>,
    /// Kind and version of each list that it should hold and does not.
    pub missing: Vec<(String, u64)>,
    /// The next tariff that it holds, and when that begins to hold.
    pub next: Option<(TariffVersion, Timestamp)>,
    /// What is wrong, in the validator's words; empty when nothing is.
    pub trouble: String,
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
    /// A ticket, paid for before, let its holder pass.
    Ticket,
    /// What a gate told.
    Gate,
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
    /// What the gate told, when that is it.
    pub gate: Option<GateWord>,
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
    /// What gates told; their sum is `outcomes[Gate]`.
    pub gate: BTreeMap<GateWord, u64>,
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
