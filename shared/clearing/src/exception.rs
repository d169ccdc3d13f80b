//! Work items: what does not add up, as a function of the card's state.
//!
//! The items of a card's chain are derived from its state before and after each step, so none can
//! be forgotten or closed twice. Fare mismatches belong to records, a validator's to the intake.

mod reason;

use alloc::{format, string::String, vec::Vec};
use core::fmt;

use model::{CardId, CardRecord, Ctr, Currency, Money, Timestamp, ValidatorId};
use sha2::{Digest, Sha256};

pub(crate) use reason::default_reason;

use crate::{CardState, TapRef, Unserved, unserved};

/// Kinds of work items, gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExceptionKind {
    /// Same card and counter, different bytes: a clone or a rollback (I2).
    Fork,
    /// The card's proof does not hold (SEC-8). Found by the intake.
    ProofInvalid,
    /// Balance after one record differs from balance before the next (I3).
    BalanceMismatch,
    /// The counters found differ from those that the card's last reader of them left.
    CountersMismatch,
    /// A card carries a pass or rides that no order put on it (ADR-0024). Found by the intake.
    ProductWithoutOrder,
    /// A load that neither a desk nor an order accounts for (I7). Found by the intake.
    UnexplainedLoad,
    /// A transaction names a newer record as the one before it, or another purse than the card's.
    Contradiction,
    /// Registers differ from the sum of the records (I6). Found by the intake.
    RegisterMismatch,
    /// The hash chain is broken, or one number has two contents (I5). Found by the intake.
    ChainBroken,
    /// A validator charged a card that the hotlist it went by refuses. Found by the intake.
    ChargedThoughBlocked,
    /// A ticket was used for more rides than it paid for: it was copied, or a memory was lost.
    TicketUsedTwice,
    /// A ticket that our key signed was used, and nobody sold it.
    TicketNotIssued,
    /// The card was never issued on our books, or brought value that no issue explains.
    UnknownCard,
    /// The depot prices the tap differently, or cannot price it.
    FareMismatch,
    /// A channel handed money in and nobody ordered it for a card (REC-16).
    PaymentWithoutOrder,
    /// A load order stands and its channel has not handed the money in (REC-16).
    OrderWithoutPayment,
    /// What a channel states of a payment is not what was ordered (REC-16).
    PaymentDiffers,
    /// A load order was paid long ago and is not on its card.
    OrderOverdue,
    /// A card is no longer topped up by itself, because its payment failed or was given back.
    TopUpStopped,
    /// A credit account did not pay what was due (ADR-0022).
    AccountPastDue,
    /// A tap in doubt was charged and nobody was let through with it: the rider is to be repaid.
    ChargedWithoutPassage,
    /// Taps of a card come in another order by their times than by its counter (REC-17).
    ClockWrong,
    /// Records of a card are missing (I4).
    CardGap,
    /// Entries of a validator are missing (I5). Found by the intake.
    SequenceGap,
    /// Nobody knows yet whether the card committed.
    InDoubt,
    /// A batch could not be read or verified; it is kept as received. Found by the intake.
    Quarantined,
}

impl ExceptionKind {
    /// All kinds, gravest first.
    pub const ALL: [Self; 26] = [
        Self::Fork,
        Self::ProofInvalid,
        Self::BalanceMismatch,
        Self::CountersMismatch,
        Self::ProductWithoutOrder,
        Self::UnexplainedLoad,
        Self::Contradiction,
        Self::RegisterMismatch,
        Self::ChainBroken,
        Self::ChargedThoughBlocked,
        Self::TicketUsedTwice,
        Self::TicketNotIssued,
        Self::UnknownCard,
        Self::FareMismatch,
        Self::PaymentWithoutOrder,
        Self::OrderWithoutPayment,
        Self::PaymentDiffers,
        Self::OrderOverdue,
        Self::TopUpStopped,
        Self::AccountPastDue,
        Self::ChargedWithoutPassage,
        Self::ClockWrong,
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
            Self::CountersMismatch => "counters-mismatch",
            Self::ProductWithoutOrder => "product-without-order",
            Self::UnexplainedLoad => "unexplained-load",
            Self::Contradiction => "contradiction",
            Self::RegisterMismatch => "register-mismatch",
            Self::ChainBroken => "chain-broken",
            Self::ChargedThoughBlocked => "charged-though-blocked",
            Self::TicketUsedTwice => "ticket-used-twice",
            Self::TicketNotIssued => "ticket-not-issued",
            Self::UnknownCard => "unknown-card",
            Self::FareMismatch => "fare-mismatch",
            Self::PaymentWithoutOrder => "payment-without-order",
            Self::OrderWithoutPayment => "order-without-payment",
            Self::PaymentDiffers => "payment-differs",
            Self::OrderOverdue => "order-overdue",
            Self::TopUpStopped => "top-up-stopped",
            Self::AccountPastDue => "account-past-due",
            Self::ChargedWithoutPassage => "charged-without-passage",
            Self::ClockWrong => "clock-wrong",
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

/// A work item's identity: the same finding has the same id, however often it is found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExceptionId(pub [u8; 16]);

impl ExceptionId {
    pub(crate) fn new(kind: ExceptionKind, subject: &[u8], key: &[u8]) -> Self {
        let mut hash = Sha256::new();
        for part in [b"tapline-exception".as_slice(), kind.word().as_bytes(), subject, key] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let digest: [u8; 32] = hash.finalize().into();
        Self(*digest.first_chunk().expect("32 bytes hold 16"))
    }
}

/// The work item of a tap in doubt.
pub fn in_doubt_item(card: CardId, tap: TapRef) -> ExceptionId {
    ExceptionId::new(ExceptionKind::InDoubt, &card.0, &tap.to_bytes())
}

impl fmt::Display for ExceptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for ExceptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExceptionId({self})")
    }
}

/// One thing to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// What it is.
    pub title: &'static str,
    /// The log entry it comes from, when it is one entry.
    pub tap: Option<TapRef>,
    /// The card's record.
    pub record: Option<CardRecord>,
}

/// A work item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// Stable.
    pub id: ExceptionId,
    /// What kind.
    pub kind: ExceptionKind,
    /// Whose card.
    pub card: Option<CardId>,
    /// Which validator, when it is about one.
    pub validator: Option<ValidatorId>,
    /// Money at stake, absolute; `None` when none can be stated.
    pub amount: Option<Money>,
    /// Since when, by the depot's clock.
    pub opened_at: Timestamp,
    /// One sentence with the numbers.
    pub finding: String,
    /// What contradicts what, in the order of cause.
    pub evidence: Vec<Evidence>,
}

/// What happens to a work item. Opened = resolved + open, always.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExceptionChange {
    /// New.
    Opened(Exception),
    /// Still open, with another amount, finding or evidence. Its `opened_at` stays the stored one.
    Changed(Exception),
    /// Closed, by itself.
    Resolved {
        /// Which.
        id: ExceptionId,
        /// Its kind.
        kind: ExceptionKind,
        /// When, by the depot's clock.
        at: Timestamp,
        /// By what.
        reason: &'static str,
    },
}

impl ExceptionChange {
    /// Which item.
    pub const fn id(&self) -> ExceptionId {
        match self {
            Self::Opened(exception) | Self::Changed(exception) => exception.id,
            Self::Resolved { id, .. } => *id,
        }
    }
}

/// What the intake found about a validator (I5, I6, SEC-8), to become a work item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatorFinding {
    /// What kind.
    pub kind: ExceptionKind,
    /// Which validator.
    pub validator: ValidatorId,
    /// What tells this finding from others of its kind: epoch and first missing number, batch
    /// digest.
    pub key: Vec<u8>,
    /// Whose card, when one is concerned.
    pub card: Option<CardId>,
    /// Money at stake, absolute.
    pub amount: Option<Money>,
    /// One sentence with the numbers.
    pub finding: String,
    /// What to look at.
    pub evidence: Vec<Evidence>,
}

impl ValidatorFinding {
    /// The id of the work item, to resolve it later.
    pub fn id(&self) -> ExceptionId {
        ExceptionId::new(self.kind, &self.validator.number().to_be_bytes(), &self.key)
    }

    /// The work item.
    pub fn opened(self, now: Timestamp) -> Exception {
        Exception {
            id: self.id(),
            kind: self.kind,
            card: self.card,
            validator: Some(self.validator),
            amount: self.amount,
            opened_at: now,
            finding: self.finding,
            evidence: self.evidence,
        }
    }
}

/// Makes the work items of one card.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CardItems {
    pub(crate) card: CardId,
    /// Of the card's purse.
    pub(crate) currency: Currency,
    /// Of purses whose profile names none.
    pub(crate) tariff: Currency,
    pub(crate) now: Timestamp,
}

impl CardItems {
    pub(crate) fn id(&self, kind: ExceptionKind, key: &[u8]) -> ExceptionId {
        ExceptionId::new(kind, &self.card.0, key)
    }

    pub(crate) fn item(
        &self,
        kind: ExceptionKind,
        key: &[u8],
        amount: i64,
        finding: String,
        evidence: Vec<Evidence>,
    ) -> Exception {
        Exception {
            id: self.id(kind, key),
            kind,
            card: Some(self.card),
            validator: None,
            amount: Some(self.money(amount.abs())),
            opened_at: self.now,
            finding,
            evidence,
        }
    }

    pub(crate) fn money(&self, minor: i64) -> Money {
        Money::new(minor, self.currency)
    }

    /// Every item that this state keeps open.
    pub(crate) fn open(&self, state: &CardState) -> Vec<Exception> {
        let mut items = Vec::new();
        items.extend(self.unknown_card(state));
        items.extend(self.fork(state));
        // From the first fork on, two histories are mixed: differences say nothing new.
        let forked_from = state.forks().first().map(super::state::Fork::ctr);
        let unexplained = |ctr| forked_from.is_none_or(|forked| ctr < forked);
        for difference in state.differences().iter().filter(|d| unexplained(d.ctr)) {
            let side = if difference.net > 0 { "above" } else { "below" };
            let net = self.money(difference.net.abs());
            let ctr = difference.ctr;
            let finding = format!("record {ctr} begins {net} {side} the end of the one before it");
            let key = difference.ctr.0.to_be_bytes();
            items.push(self.item(
                ExceptionKind::BalanceMismatch,
                &key,
                difference.net,
                finding,
                Vec::new(),
            ));
        }
        for ctr in state.miscounts().iter().filter(|ctr| unexplained(**ctr)) {
            items.push(self.miscount(*ctr));
        }
        for gap in state.gaps() {
            let net = self.money(gap.net().abs());
            let did = if gap.net() > 0 { "added" } else { "took" };
            let (first, last) = (gap.first, gap.last);
            let finding = if gap.missing() == 1 {
                format!("record {first} is missing; it {did} {net}")
            } else {
                format!("records {first} to {last} are missing; together they {did} {net}")
            };
            let key = gap.first.0.to_be_bytes();
            items.push(self.item(ExceptionKind::CardGap, &key, gap.net(), finding, Vec::new()));
        }
        for doubt in state.doubts() {
            // By its own word as long as nothing of the card is proven.
            let currency = doubt.purse.unwrap_or(self.tariff);
            let amount = Money::new(doubt.after.delta().abs(), currency);
            let finding = format!(
                "nobody knows yet whether the card committed record {} over {amount}",
                doubt.after.ctr
            );
            let tap = Some(doubt.tap);
            let evidence = alloc::vec![
                Evidence { title: "record found", tap, record: Some(doubt.before) },
                Evidence { title: "record in doubt", tap, record: Some(doubt.after) },
            ];
            let key = doubt.tap.to_bytes();
            let item = self.item(ExceptionKind::InDoubt, &key, 0, finding, evidence);
            let (validator, amount) = (Some(doubt.tap.validator), Some(amount));
            items.push(Exception { validator, amount, ..item });
        }
        let due = state.unserved.iter().filter(|charge| charge.is_due());
        items.extend(due.map(|charge| self.unserved(charge)));
        items
    }

    fn unserved(&self, charge: &Unserved) -> Exception {
        let Unserved { doubt, next, amount, rides } = charge;
        let (ctr, charged) = (doubt.after.ctr, self.money(i64::from(doubt.after.amount)));
        let due = match (amount, rides) {
            (amount, 0) => format!("{}", self.money(*amount)),
            (0, rides) => format!("{rides} of its rides"),
            (amount, rides) => format!("{} and {rides} of its rides", self.money(*amount)),
        };
        let so_far = format!("record {ctr} took {charged} and let nobody through");
        let finding = match next {
            None => format!("{so_far}; {due} are due back, unless the next tap says otherwise"),
            Some(next) => {
                let cost = self.money(i64::from(next.amount));
                let next = next.ctr;
                format!(
                    "{so_far}; with the next tap, record {next} over {cost}, {due} are due back"
                )
            }
        };
        let (tap, record) = (Some(doubt.tap), Some(doubt.after));
        let mut evidence = alloc::vec![
            Evidence { title: "record found", tap, record: Some(doubt.before) },
            Evidence { title: "record charged without passage", tap, record },
        ];
        evidence.extend(next.map(|next| Evidence {
            title: "record of the next tap",
            tap: None,
            record: Some(next),
        }));
        let kind = ExceptionKind::ChargedWithoutPassage;
        let item = self.item(kind, &unserved::key(doubt), *amount, finding, evidence);
        Exception { validator: Some(doubt.tap.validator), ..item }
    }

    fn miscount(&self, ctr: Ctr) -> Exception {
        let finding = format!(
            "record {ctr} found other counters on the card than the last tap before it that read \
             them had left"
        );
        let kind = ExceptionKind::CountersMismatch;
        let item = self.item(kind, &ctr.0.to_be_bytes(), 0, finding, Vec::new());
        Exception { amount: None, ..item }
    }

    fn unknown_card(&self, state: &CardState) -> Option<Exception> {
        if state.origin == 0 && (state.registered || state.chain.is_none()) {
            return None;
        }
        let brought = self.money(state.origin);
        let finding = if state.registered {
            format!("issued here, but {brought} on the card come from no issue")
        } else {
            format!("never issued here; it brought {brought} along")
        };
        Some(self.item(ExceptionKind::UnknownCard, &[], state.origin, finding, Vec::new()))
    }

    /// One item for all forks of a card: the block proposal is about the card.
    fn fork(&self, state: &CardState) -> Option<Exception> {
        let first = state.forks().first()?;
        let others = || state.forks().iter().flat_map(|fork| &fork.others);
        let unbooked = others().map(|known| known.record.delta()).sum::<i64>();
        let (count, from) = (others().count(), first.ctr());
        let claim = if count == 1 { "record claims a counter" } else { "records claim counters" };
        let amount = self.money(unbooked.abs());
        let finding = format!("{count} {claim} held by others, from {from} on: {amount} unbooked");
        let mut evidence = Vec::new();
        for fork in state.forks() {
            let kept = Some(fork.kept.record);
            evidence.push(Evidence { title: "record kept", tap: None, record: kept });
            for other in &fork.others {
                let record = Some(other.record);
                evidence.push(Evidence { title: "other record", tap: None, record });
            }
        }
        Some(self.item(ExceptionKind::Fork, &[], unbooked, finding, evidence))
    }

    /// What opens, changes and resolves between two states of the card.
    pub(crate) fn changes(
        &self,
        before: &CardState,
        after: &CardState,
        reasons: &[(ExceptionId, &'static str)],
    ) -> Vec<ExceptionChange> {
        difference(&self.open(before), self.open(after), self.now, |item| {
            let given = reasons.iter().find(|(id, _)| *id == item.id);
            given.map_or(default_reason(item.kind), |(_, reason)| reason)
        })
    }
}

/// What opens, changes and resolves between two lists of items that are open.
pub(crate) fn difference(
    old: &[Exception],
    new: Vec<Exception>,
    at: Timestamp,
    reason: impl Fn(&Exception) -> &'static str,
) -> Vec<ExceptionChange> {
    let resolved = old
        .iter()
        .filter(|o| new.iter().all(|n| n.id != o.id))
        .map(|o| ExceptionChange::Resolved { id: o.id, kind: o.kind, at, reason: reason(o) });
    let mut changes: Vec<_> = resolved.collect();
    for item in new {
        match old.iter().find(|o| o.id == item.id) {
            None => changes.push(ExceptionChange::Opened(item)),
            Some(o) if Exception { opened_at: item.opened_at, ..o.clone() } != item => {
                changes.push(ExceptionChange::Changed(item));
            }
            Some(_) => {}
        }
    }
    changes
}
