//! What a desk does to cards, as postings: issues, loads, retirements and their cash.
//!
//! Two things come together in each: the card's record, which goes through the same chain as any
//! tap's, and the desk's own half, what it took or gave for it. The second is booked once per
//! operation, whenever the first became known. So a load that a validator saw before its desk could
//! say what became of it ends in the same books (REC-1).

use model::{CardId, CardRecord, Currency, IssuerId, RecordKind, StationId, Timestamp};

use crate::{
    CardState, ClearError, Cleared, Known, Outcome, Rules, Source,
    account::{Account, CauseCode},
    chain::{Claim, Step},
    postings::Event,
};

/// One finished operation of a desk. Believed: who hands it in has verified the card's proof, or
/// has the record by the card's own evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeskEntry {
    /// The operation's number, unique within the depot.
    pub op: u64,
    /// Which desk.
    pub station: StationId,
    /// Which card.
    pub card: CardId,
    /// The currency that its profile names, when its records ask readers to look there.
    pub purse: Option<Currency>,
    /// What was done.
    pub deed: DeskDeed,
}

impl DeskEntry {
    /// The record that it wrote.
    pub const fn written(&self) -> &CardRecord {
        match &self.deed {
            DeskDeed::Issued { record, .. } => record,
            DeskDeed::Loaded { after, .. } | DeskDeed::Retired { after, .. } => after,
        }
    }
}

/// What a desk did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeskDeed {
    /// Issued the card.
    Issued {
        /// Its opening record.
        record: CardRecord,
        /// The card whose value the opening value is; without one it was paid in cash.
        in_place_of: Option<CardId>,
        /// Who issues it, where that is another than the issuer that the books began with.
        issuer: Option<IssuerId>,
    },
    /// Loaded it for cash, with what its holder was owed, or with that alone.
    Loaded {
        /// The record found.
        before: CardRecord,
        /// The record written.
        after: CardRecord,
        /// So much of its amount was owed to the holder; the rest is cash (ADR-0014).
        adjusted: u32,
    },
    /// Took it out of use with the value that was left.
    Retired {
        /// The record found.
        before: CardRecord,
        /// The record written.
        after: CardRecord,
        /// Where the value went.
        value: Taken,
    },
}

/// Where the value of a retired card goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// To the holder, in cash.
    PaidOut,
    /// Onto another card, issued in its place.
    ForAnotherCard,
    /// Nowhere yet: it waits for the card's missing records (REC-9).
    Held,
}

/// Clears one operation of a desk against the state of its card.
pub fn clear_desk<K: Known>(
    state: &CardState,
    entry: &DeskEntry,
    now: Timestamp,
    rules: &Rules,
    known: &K,
) -> Result<Cleared, ClearError<K::Error>> {
    let (before, after) = match &entry.deed {
        DeskDeed::Issued { record, .. } if record.kind != RecordKind::Issue => {
            return Err(ClearError::NotAnIssue);
        }
        DeskDeed::Issued { record, .. } => (None, record),
        DeskDeed::Loaded { before, after, .. } | DeskDeed::Retired { before, after, .. } => {
            (Some(before), after)
        }
    };
    let purse = state.agreed_of([before.unwrap_or(after), after], entry.purse);
    let mut step = Step::new(entry.card, state, now, rules, known);
    step.adopt(purse.map_err(ClearError::Purse)?);
    if let DeskDeed::Issued { issuer, .. } = entry.deed {
        step.belongs_to(issuer)?;
        step.state.registered = true;
    }
    if let Some(before) = before {
        step.learn_evidence(before)?;
    }
    let claim = Claim { record: *after, source: Source::Issued, operator: None, priced_from: None };
    let outcome: Outcome = step.learn(claim)?.into();
    let mut event = Event::new(CauseCode::Desk, &[&entry.op.to_be_bytes()], after.at());
    let adjusted = match entry.deed {
        DeskDeed::Loaded { adjusted, .. } => i64::from(adjusted),
        DeskDeed::Issued { .. } | DeskDeed::Retired { .. } => 0,
    };
    if let Some((to, from)) = cash_legs(entry) {
        let (to, from) = (to.of(step.state.issuer), from.of(step.state.issuer));
        step.postings.shift(&mut event, to, from, i64::from(after.amount) - adjusted);
    }
    let due = Account::RiderDue(entry.card);
    step.postings.shift(&mut event, Account::LoadClearing, due, adjusted);
    step.weigh(None)?;
    Ok(step.finish(state, outcome, None))
}

/// The desk's own half: which account is credited from which.
const fn cash_legs(entry: &DeskEntry) -> Option<(Account, Account)> {
    let cash = Account::DeskCash(entry.station);
    match entry.deed {
        DeskDeed::Issued { in_place_of: None, .. } => Some((Account::IssuerCash, cash)),
        DeskDeed::Issued { in_place_of: Some(old), .. } => {
            Some((Account::IssuerCash, Account::Replaced(old)))
        }
        DeskDeed::Loaded { .. } => Some((Account::LoadClearing, cash)),
        DeskDeed::Retired { value: Taken::PaidOut, .. } => Some((cash, Account::RefundClearing)),
        DeskDeed::Retired { value: Taken::ForAnotherCard, .. } => {
            Some((Account::Replaced(entry.card), Account::RefundClearing))
        }
        DeskDeed::Retired { value: Taken::Held, .. } => None,
    }
}

/// Why a value that the books show for a card must not be given out yet (REC-9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Discontinuity {
    /// We never issued it.
    #[error("the card was not issued on these books")]
    NotOurs,
    /// Records are missing.
    #[error("{0} of its transactions are not in the books yet")]
    Missing(u32),
    /// Two records claim one counter: a clone or a rollback.
    #[error("two of its transactions have one counter: it was copied or rolled back")]
    Forked,
    /// Neighbours do not fit together.
    #[error("its balances do not follow from one another")]
    Difference,
    /// Nobody knows yet whether a tap happened.
    #[error("a tap of it is in doubt")]
    InDoubt,
}

impl CardState {
    /// Whether everything from its issue to its newest known record is known and fits (REC-9).
    pub fn continuity(&self) -> Result<(), Discontinuity> {
        if !self.is_registered() {
            return Err(Discontinuity::NotOurs);
        }
        if !self.forks().is_empty() {
            return Err(Discontinuity::Forked);
        }
        if !self.differences().is_empty() {
            return Err(Discontinuity::Difference);
        }
        let missing: u32 = self.gaps().iter().map(crate::Gap::missing).sum();
        let from_issue = self.chain.as_ref().map_or(0, |chain| chain.first.0.saturating_sub(1));
        match missing + from_issue {
            0 if self.doubts().next().is_some() => Err(Discontinuity::InDoubt),
            0 => Ok(()),
            missing => Err(Discontinuity::Missing(missing)),
        }
    }
}
