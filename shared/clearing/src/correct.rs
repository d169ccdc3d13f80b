//! What people decide about money that nothing else decides (ADR-0023).
//!
//! Invariants: a correction is a further transfer with a cause of its own, never a change; what a
//! card proves later outweighs what a person said of it.

use alloc::vec::Vec;

use ledger::Transfer;
use model::{CardId, Ctr, Currency, IssuerId, OperatorId, ServiceDate, Timestamp};

use crate::{
    CardState, ClearError, Cleared, Known, KnownRecord, Outcome, Rules,
    account::{Account, CauseCode},
    chain::Step,
    exception::{ExceptionId, ExceptionKind},
    postings::{Event, Postings},
    state::Position,
};

/// What a person gives up, or takes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteOff {
    /// The decision's number.
    pub number: u64,
    /// Where the amount stands.
    pub account: Account,
    /// The currency of the account.
    pub currency: Currency,
    /// What is taken off the account, minor units; below zero: put onto it.
    pub amount: i64,
    /// Under which number it is given up.
    pub to: u16,
}

impl WriteOff {
    /// From the account to what was written off.
    pub fn transfers(&self, at: Timestamp) -> Vec<Transfer> {
        let parts: [&[u8]; 1] = [&self.number.to_be_bytes()];
        let mut event = Event::new(CauseCode::Correction, &parts, at);
        let mut postings = Postings::new(CardId([0; 7]), self.currency, at);
        postings.shift(&mut event, Account::WrittenOff(self.to), self.account, self.amount);
        postings.transfers
    }
}

/// The value of a card that ended and was not claimed in time becomes its issuer's on this day.
pub fn unclaimed(
    (card, issuer): (CardId, Option<IssuerId>),
    day: ServiceDate,
    (amount, currency): (i64, Currency),
    at: Timestamp,
) -> Vec<Transfer> {
    let parts: [&[u8]; 2] = [&card.0, &day.0.to_be_bytes()];
    let mut event = Event::new(CauseCode::Breakage, &parts, at);
    let mut postings = Postings::new(card, currency, at);
    postings.shift(&mut event, Account::Unclaimed(issuer), Account::Replaced(card), amount);
    postings.transfers
}

impl CardState {
    /// The account on which the amount of an open item of this card waits; `None` for items
    /// without one.
    pub fn suspense_of(&self, card: CardId, item: ExceptionId) -> Option<Account> {
        let is = |kind, key: &[u8]| ExceptionId::new(kind, &card.0, key) == item;
        let gaps = self
            .gaps()
            .iter()
            .map(|gap| (ExceptionKind::CardGap, gap.first, Account::GapSuspense(card, gap.first)));
        let differences = self.differences().iter().map(|difference| {
            let ctr = difference.ctr;
            (ExceptionKind::BalanceMismatch, ctr, Account::Difference(card, ctr))
        });
        for (kind, ctr, account) in gaps.chain(differences) {
            if is(kind, &ctr.0.to_be_bytes()) {
                return Some(account);
            }
        }
        is(ExceptionKind::UnknownCard, &[]).then_some(Account::UnknownOrigin(card))
    }
}

/// A person says whose revenue a record is that nobody could tell. Should the tap's own entry come,
/// it moves the revenue to whom it names. `None` when the record is not known, or is somebody's.
pub fn attribute_record<K: Known>(
    state: &CardState,
    (card, ctr): (CardId, Ctr),
    operator: OperatorId,
    now: Timestamp,
    rules: &Rules,
    known: &K,
) -> Result<Option<Cleared>, ClearError<K::Error>> {
    use model::RecordKind::{Board, Entry, Exit};
    if state.chain.is_none() || state.position(ctr) != Position::Known {
        return Ok(None);
    }
    let mut step = Step::new(card, state, now, rules, known);
    let (kept, others) = step.contents(ctr)?;
    let is_ride = matches!(kept.record.kind, Board | Entry | Exit);
    if !is_ride || kept.operator.is_some() {
        return Ok(None);
    }
    let new = KnownRecord { operator: Some(operator), ..kept };
    step.attribute(&kept, &new);
    step.settle_in(new, others);
    Ok(Some(step.finish(state, Outcome::Attributed, None)))
}
