//! Blocking cards: who proposes, who decides, what goes into force and when (docs/hotlist.md).
//!
//! Invariants: a proposal blocks nobody, whoever makes it; what was approved goes into force with
//! the next list and never above the breaker's bound without a second person (REC-8); the list is
//! made in the very transaction that says which cases it puts into force.

pub mod event;
mod verify;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use blocking::{Case, CaseId, Cause, Limits, Pass, Refused, Standing, Trip, grade_of, pass};
use lists::{Grade, Hotlist};
use model::{CardId, Timestamp, ValidatorId};
use sha2::{Digest, Sha256};

pub use event::HotlistEvent;
use event::{grade_word, ranges};
pub use verify::verify;

use crate::{
    config::to_hex,
    store::{CaseFilter, HotlistBook, ListMade, OpenBreaker, Store, StoreError},
};

/// A card of which a tap arrived within this time is active.
const ACTIVE_FOR: Duration = Duration::from_secs(90 * 86_400);
/// Cards that one row of the journal proposes at most.
const ROW_CARDS: usize = 1000;
/// A new list is made at most once in the time that its bytes take at this rate: every validator
/// may ask for it, and the broker holds all of it.
const LIST_BYTES_PER_S: u64 = 100_000;

/// What an operator sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HotlistRules {
    /// The breaker.
    pub limits: Limits,
    /// The rules that propose by themselves.
    pub on: BTreeSet<Cause>,
    /// Proposals of rules end after this long; `None` = never.
    pub expires_after: Option<Duration>,
}

impl From<&crate::config::Hotlist> for HotlistRules {
    fn from(set: &crate::config::Hotlist) -> Self {
        let days = |days: u32| Duration::from_secs(u64::from(days) * 86_400);
        Self {
            limits: Limits {
                window: Duration::from_secs(u64::from(set.window_hours) * 3600),
                additions_max: set.additions_max,
                share_permille: set.share_max_permille,
            },
            on: set.rules.iter().filter_map(|word| Cause::from_word(word)).collect(),
            expires_after: (set.expires_days > 0).then(|| days(set.expires_days)),
        }
    }
}

/// Cards that may have to be refused, for one cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Which.
    pub cards: Vec<CardId>,
    /// Why.
    pub cause: Cause,
    /// For the time being or for good; the cause's own when absent.
    pub grade: Option<Grade>,
    /// Whose records say so.
    pub validator: Option<ValidatorId>,
    /// A rule or a person.
    pub proposer: String,
    /// In words.
    pub reason: String,
    /// Numbers of exceptions.
    pub evidence: Vec<u64>,
    /// The first moment at which it counts no more.
    pub expires: Option<Timestamp>,
}

/// What became of a proposal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proposed {
    /// The new cases.
    pub cases: Vec<CaseId>,
    /// Cards of which a case of this cause is open already.
    pub known: u64,
}

/// What a person decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Refuse them.
    Approve,
    /// As a second person, while the breaker is open.
    Confirm,
    /// Do not refuse them.
    Reject(String),
    /// Serve them again.
    Unblock(String),
}

/// Why something cannot be done with the hotlist.
#[derive(Debug, thiserror::Error)]
pub enum HotlistError {
    /// Nobody says so.
    #[error("{0} is empty: say it in words, for whoever is asked by the card's holder")]
    Empty(&'static str),
    /// Over before it begins.
    #[error("the block would end before it begins")]
    Expired,
    /// No such case.
    #[error("no case can be {0}: see `depot-server hotlist list`")]
    Nothing(&'static str),
    /// Not needed.
    #[error("the breaker is closed: nothing waits for a second person")]
    BreakerClosed,
    /// A case does not move so.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The books.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Proposes cards. Those of which the same is said already are left out.
pub fn propose(
    store: &Store,
    proposal: &Proposal,
    now: Timestamp,
) -> Result<Proposed, HotlistError> {
    let book = store.begin_hotlist(now)?;
    let proposed = propose_in(&book, proposal)?;
    book.commit()?;
    Ok(proposed)
}

fn propose_in(book: &HotlistBook<'_>, proposal: &Proposal) -> Result<Proposed, HotlistError> {
    for (what, text) in [("the reason", &proposal.reason), ("the name", &proposal.proposer)] {
        if text.trim().is_empty() {
            return Err(HotlistError::Empty(what));
        }
    }
    if proposal.expires.is_some_and(|at| at <= book.at()) {
        return Err(HotlistError::Expired);
    }
    let mut fresh = BTreeSet::new();
    for card in proposal.cards.iter().copied().collect::<BTreeSet<_>>() {
        if !book.is_open(card, proposal.cause)? {
            fresh.insert(card);
        }
    }
    let asked = proposal.cards.iter().collect::<BTreeSet<_>>().len();
    let known = (asked - fresh.len()) as u64;
    let fresh: Vec<String> = fresh.into_iter().map(CardId::to_hex).collect();
    let mut cases = Vec::new();
    for cards in fresh.chunks(ROW_CARDS) {
        let first = book.next_case()?;
        book.book(&HotlistEvent::Proposed {
            first,
            cards: cards.to_vec(),
            grade: grade_word(proposal.grade.unwrap_or(proposal.cause.grade())).to_owned(),
            cause: proposal.cause.word().to_owned(),
            validator: proposal.validator.map(ValidatorId::number),
            proposer: proposal.proposer.trim().to_owned(),
            reason: proposal.reason.trim().to_owned(),
            evidence: proposal.evidence.clone(),
            expires: proposal.expires.map(|at| at.0),
        })?;
        cases.extend((first..).map(CaseId).take(cards.len()));
    }
    Ok(Proposed { cases, known })
}

/// A person decides about the cases that `of` describes; answers how many. Cases that are named by
/// number must all be there to be decided.
pub fn decide(
    store: &Store,
    of: &CaseFilter,
    by: &str,
    decision: &Decision,
    now: Timestamp,
) -> Result<u64, HotlistError> {
    let (wanted, from): (_, &[Standing]) = match decision {
        Decision::Approve => ("approved", &[Standing::Proposed]),
        Decision::Confirm => ("confirmed", &[Standing::Approved]),
        Decision::Reject(_) => {
            ("rejected", &[Standing::Proposed, Standing::Approved, Standing::Confirmed])
        }
        Decision::Unblock(_) => ("unblocked", &[Standing::InForce]),
    };
    let by = by.trim().to_owned();
    if by.is_empty() {
        return Err(HotlistError::Empty("the name"));
    }
    let book = store.begin_hotlist(now)?;
    if *decision == Decision::Confirm && book.breaker()?.is_none() {
        return Err(HotlistError::BreakerClosed);
    }
    let standings = if of.ids.is_empty() { from.to_vec() } else { Vec::new() };
    let found = book.cases(&CaseFilter { standings, ..of.clone() })?;
    if found.is_empty() {
        return Err(HotlistError::Nothing(wanted));
    }
    let cases = ranges(found.iter().map(|case| case.id));
    let why = |text: &String| match text.trim() {
        "" => Err(HotlistError::Empty("the reason")),
        text => Ok(text.to_owned()),
    };
    book.book(&match decision {
        Decision::Approve => HotlistEvent::Approved { cases, by },
        Decision::Confirm => HotlistEvent::Confirmed { cases, by },
        Decision::Reject(text) => HotlistEvent::Rejected { cases, by, why: why(text)? },
        Decision::Unblock(text) => HotlistEvent::Unblocked { cases, by, why: why(text)? },
    })?;
    book.commit()?;
    Ok(found.len() as u64)
}

/// What happens by itself as time goes on: rules propose and take back, blocks end, what was
/// approved goes into force with a new list, or the breaker opens.
pub fn tick(store: &Store, rules: &HotlistRules, now: Timestamp) -> Result<(), HotlistError> {
    let found = store.hotlist_findings(rules, now)?;
    if found.is_nothing() && !store.hotlist_has_work(now)? {
        return Ok(());
    }
    let book = store.begin_hotlist(now)?;
    for proposal in &found.proposals {
        let proposed = propose_in(&book, proposal)?;
        if !proposed.cases.is_empty() {
            tracing::warn!(cause = proposal.cause.word(), "a card is proposed for the hotlist");
        }
    }
    for (name, value) in &found.cursors {
        book.remember(name, *value)?;
    }
    let still = book.still_proposed(&found.explained)?;
    if !still.is_empty() {
        let why = "what was found is explained".to_owned();
        let (cases, by) = (ranges(still), "rule".to_owned());
        book.book(&HotlistEvent::Withdrawn { cases, by, why })?;
    }
    lift(&book, &found.paid)?;
    let over = book.over()?;
    if !over.is_empty() {
        book.book(&HotlistEvent::Expired { cases: ranges(over) })?;
    }
    let passed = let_pass(&book, rules)?;
    make_list(&book, &passed)?;
    book.commit()?;
    Ok(())
}

/// Ends what accounts' debts had, wherever it stands: they have paid, and a rider who paid is not
/// refused because nobody told the list (USR-4).
fn lift(book: &HotlistBook<'_>, paid: &[CaseId]) -> Result<(), HotlistError> {
    if paid.is_empty() {
        return Ok(());
    }
    let ids = paid.iter().map(|case| case.0).collect();
    let cases = book.cases(&CaseFilter { ids, ..CaseFilter::default() })?;
    let of = |from: &[Standing]| {
        ranges(cases.iter().filter(|case| from.contains(&case.standing)).map(|case| case.id))
    };
    let words = || ("rule".to_owned(), "the account has paid".to_owned());
    let proposed = of(&[Standing::Proposed]);
    if !proposed.is_empty() {
        let (by, why) = words();
        book.book(&HotlistEvent::Withdrawn { cases: proposed, by, why })?;
    }
    let decided = of(&[Standing::Approved, Standing::Confirmed]);
    if !decided.is_empty() {
        let (by, why) = words();
        book.book(&HotlistEvent::Rejected { cases: decided, by, why })?;
    }
    let in_force = of(&[Standing::InForce]);
    if !in_force.is_empty() {
        let (by, why) = words();
        book.book(&HotlistEvent::Unblocked { cases: in_force, by, why })?;
    }
    Ok(())
}

/// What of the approved cases may go into force.
fn let_pass(book: &HotlistBook<'_>, rules: &HotlistRules) -> Result<Vec<Case>, HotlistError> {
    let standings = vec![Standing::Approved, Standing::Confirmed];
    let mut waiting = book.cases(&CaseFilter { standings, ..CaseFilter::default() })?;
    let open = book.breaker()?;
    if waiting.is_empty() && open.is_none() {
        return Ok(waiting);
    }
    let now = book.at();
    let ago = |time: Duration| {
        Timestamp(now.0.saturating_sub(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
    };
    let recent = book.additions_since(ago(rules.limits.window))?;
    let bound = rules.limits.bound(book.active_cards(ago(ACTIVE_FOR))?);
    let ids = match pass(&waiting, recent, bound, open.is_some()) {
        Pass::These(ids) => ids,
        Pass::Closes(ids) => {
            if open.is_some() {
                book.book(&HotlistEvent::Closed {})?;
                tracing::warn!("the breaker of the hotlist is closed");
            }
            ids
        }
        Pass::Tripped(trip, ids) => {
            let (waiting, recent, bound) = (trip.waiting, trip.recent, trip.bound.0);
            book.book(&HotlistEvent::Tripped { waiting, recent, bound })?;
            tracing::error!(
                waiting,
                recent,
                bound,
                "the breaker of the hotlist opened: a second person has to confirm or reject"
            );
            ids
        }
    };
    let ids: BTreeSet<CaseId> = ids.into_iter().collect();
    waiting.retain(|case| ids.contains(&case.id));
    Ok(waiting)
}

/// Why the breaker is open, and what to do.
pub fn why_open(open: &OpenBreaker) -> String {
    let Trip { waiting, recent, bound } = open.trip;
    format!(
        "{waiting} approved cards waited, {recent} went into force within the window before them, \
         the bound is {}; look at them, then a second person confirms or anybody rejects",
        bound.0
    )
}

/// Makes a list when one would be another than the newest, and not too soon after it.
fn make_list(book: &HotlistBook<'_>, passed: &[Case]) -> Result<(), HotlistError> {
    let leaving = book.leaving()?;
    if passed.is_empty() && leaving.is_empty() {
        return Ok(());
    }
    let made = book.newest_made()?;
    if made.is_some_and(|made| book.at() < next_after(&made)) {
        return Ok(());
    }
    let list = book.newest(made)?;
    let mut changes: BTreeMap<CardId, Option<Grade>> = BTreeMap::new();
    for card in leaving.into_iter().chain(passed.iter().map(|case| case.card)) {
        let standings = vec![Standing::InForce];
        let of = CaseFilter { card: Some(card), standings, ..CaseFilter::default() };
        changes.insert(card, grade_of(&book.cases(&of)?));
    }
    for case in passed {
        let grade = changes.entry(case.card).or_default();
        *grade = (*grade).max(Some(case.grade));
    }
    let list = list.with(&changes);
    // Above what books restored from a backup have forgotten.
    let version = book.at().secs().max(made.map_or(0, |made| made.version + 1));
    let cases = ranges(passed.iter().map(|case| case.id));
    let hash = hash_of(&list);
    book.book(&HotlistEvent::Listed { version, cases, cards: list.len() as u64, hash })?;
    book.keep(version, &list)?;
    tracing::info!(version, cards = list.len(), "a new hotlist");
    Ok(())
}

/// When a list may follow this one.
fn next_after(made: &ListMade) -> Timestamp {
    // Some four bytes a card.
    let pause_ms = made.cards.saturating_mul(4 * 1000) / LIST_BYTES_PER_S;
    Timestamp(made.made_at.0.saturating_add(pause_ms))
}

fn hash_of(list: &Hotlist) -> String {
    to_hex(&Sha256::digest(list.content()))
}

#[cfg(test)]
mod tests;
