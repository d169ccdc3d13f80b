//! The two ways into the books: an entry of a validator's log, and our own issue of a card.

use alloc::{format, vec::Vec};

use ledger::Transfer;
use model::{
    CardId, CardRecord, CardTransaction, Ctr, Currency, IssuerId, RecordError, RecordKind,
    TapEvent, TapRecord, Timestamp,
};

use crate::{
    CardState, ExceptionChange, IssuerMisfit, Known, KnownRecord, Priced, PurseMisfit, Rules,
    Source, TapRef,
    chain::{Claim, Learned, Step},
    exception::{CardItems, Evidence, ExceptionKind},
    known::transaction,
    postings::Postings,
    state::{Doubt, Position},
};

/// What clearing one entry changes. The shell writes all of it in one commit, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleared {
    /// The card's state from here on.
    pub state: CardState,
    /// What the entry was to the books.
    pub outcome: Outcome,
    /// Rows to write, by card and counter: new ones, and better knowledge of old ones.
    pub records: Vec<KnownRecord>,
    /// To apply to the ledger in this order. None may be refused.
    pub transfers: Vec<Transfer>,
    /// Work items that open, change and resolve.
    pub exceptions: Vec<ExceptionChange>,
    /// The depot's own price of the tap, with the steps that explain it.
    pub priced: Option<Priced>,
    /// Records that became known only because this entry carries them as evidence.
    pub recovered: u32,
}

/// What an entry was to the books.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The card's newest record.
    Booked,
    /// A late record: its share left the suspense.
    BookedLate,
    /// The record was recovered before; this is its own entry.
    Attributed,
    /// Nothing new (I1).
    Replayed,
    /// Another record holds its counter (I2).
    Forked,
    /// In doubt: its amount is held, once it is known in which ledger.
    Held,
    /// An in-doubt tap that did not happen.
    Void,
    /// Nothing for the books: refused, or of another purse than the card's.
    Noted,
}

impl Outcome {
    /// The word in metrics and logs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Booked => "booked",
            Self::BookedLate => "booked-late",
            Self::Attributed => "attributed",
            Self::Replayed => "replayed",
            Self::Forked => "forked",
            Self::Held => "held",
            Self::Void => "void",
            Self::Noted => "noted",
        }
    }
}

/// Why an entry could not be cleared. The books are as they were.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClearError<E> {
    /// The store could not answer.
    #[error("the store could not say what is known")]
    Known(E),
    /// The card's state says that a record is known, and the store does not have it.
    #[error("record {ctr} of the card is known but not in the store")]
    RecordMissing {
        /// Its counter.
        ctr: Ctr,
    },
    /// A record that no card could hold.
    #[error("the card record cannot exist")]
    Record(#[source] RecordError),
    /// An entry that moves value names no card.
    #[error("the entry settles a transaction but names no card")]
    NoCard,
    /// Only records of kind Issue open a card's books.
    #[error("the record to open the card's books with is not an issue")]
    NotAnIssue,
    /// What we did ourselves to a card speaks of another purse than it has.
    #[error("the card has one ledger, and this would open another")]
    Purse(#[source] PurseMisfit),
    /// A card has one issuer for its life.
    #[error("the card was issued by somebody else")]
    Issuer(#[source] IssuerMisfit),
}

/// A card that we issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Issue {
    /// Which.
    pub card: CardId,
    /// Its opening record.
    pub record: CardRecord,
    /// The currency that its profile names, when its records ask readers to look there.
    pub purse: Option<Currency>,
    /// Who issued it, where that is another than the issuer that the books began with.
    pub issuer: Option<IssuerId>,
}

/// Clears one verified entry against the state of its card; a card never seen has the default
/// state. Pure: the same state, entry and answers give the same result.
pub fn clear<K: Known>(
    state: &CardState,
    tap: &TapRecord,
    now: Timestamp,
    rules: &Rules,
    known: &K,
) -> Result<Cleared, ClearError<K::Error>> {
    let card = match (tap.card, &tap.event) {
        (Some(card), _) => card,
        (None, TapEvent::Refused { .. } | TapEvent::Gate { .. } | TapEvent::Ticket { .. }) => {
            return Ok(unchanged(state));
        }
        (None, _) => return Err(ClearError::NoCard),
    };
    let mut step = Step::new(card, state, now, rules, known);
    if let Some(transaction) = transaction(tap)
        && let Err(why) = state.agreed(transaction)
    {
        let outcome = step.misfit(tap, transaction, why)?;
        return Ok(step.finish(state, outcome, None));
    }
    let (outcome, priced) = match &tap.event {
        TapEvent::Committed { transaction, .. } => step.settled(tap, transaction, Source::Tap)?,
        TapEvent::Confirmed { transaction, .. } => {
            step.settled(tap, transaction, Source::Confirmation)?
        }
        TapEvent::InDoubt { transaction } => {
            let priced = rules.price(transaction, tap.route);
            (step.in_doubt(tap, transaction)?, Some(priced))
        }
        TapEvent::Voided { of, .. } => {
            (step.voided(tap, TapRef { seq: *of, ..TapRef::of(tap) })?, None)
        }
        // A ticket has books of its own (`ticket.rs`).
        TapEvent::Refused { .. } | TapEvent::Gate { .. } | TapEvent::Ticket { .. } => {
            (Outcome::Noted, None)
        }
    };
    step.weigh(Some(tap))?;
    Ok(step.finish(state, outcome, priced))
}

/// Opens a card's books by our own issue of it.
pub fn register_issue<K: Known>(
    state: &CardState,
    issue: &Issue,
    now: Timestamp,
    rules: &Rules,
    known: &K,
) -> Result<Cleared, ClearError<K::Error>> {
    let Issue { card, record, purse, issuer } = *issue;
    if record.kind != RecordKind::Issue {
        return Err(ClearError::NotAnIssue);
    }
    let purse = state.agreed_of([&record, &record], purse).map_err(ClearError::Purse)?;
    let mut step = Step::new(card, state, now, rules, known);
    step.adopt(purse);
    step.belongs_to(issuer)?;
    let claim = Claim { record, source: Source::Issued, operator: None, priced_from: None };
    let outcome = step.learn(claim)?.into();
    step.state.registered = true;
    step.weigh(None)?;
    Ok(step.finish(state, outcome, None))
}

/// Ends the hold of a tap in doubt that nobody waits for any more. It stays in the card's state, so
/// that a record of the card still proves it (REC-1); only its money is free, and its work item
/// closes. `None` when it is decided, voided or not known.
pub fn expire<K: Known>(
    state: &CardState,
    card: CardId,
    tap: TapRef,
    now: Timestamp,
    rules: &Rules,
    known: &K,
) -> Result<Option<Cleared>, ClearError<K::Error>> {
    let Some(at) = state.doubts.iter().position(|doubt| doubt.tap == tap && !doubt.voided) else {
        return Ok(None);
    };
    let mut step = Step::new(card, state, now, rules, known);
    let doubt = step.state.doubts[at];
    step.state.doubts[at].voided = true;
    if step.is_held(&doubt) {
        step.postings.expire(&doubt);
    }
    let id = step.items.id(ExceptionKind::InDoubt, &tap.to_bytes());
    step.reasons.push((id, "expired: nothing decided it in time"));
    Ok(Some(step.finish(state, Outcome::Void, None)))
}

impl From<Learned> for Outcome {
    fn from(learned: Learned) -> Self {
        match learned {
            Learned::Newest => Self::Booked,
            Learned::Late => Self::BookedLate,
            Learned::Better => Self::Attributed,
            Learned::Replay => Self::Replayed,
            Learned::Forked => Self::Forked,
        }
    }
}

fn unchanged(state: &CardState) -> Cleared {
    Cleared {
        state: state.clone(),
        outcome: Outcome::Noted,
        records: Vec::new(),
        transfers: Vec::new(),
        exceptions: Vec::new(),
        priced: None,
        recovered: 0,
    }
}

impl<'a, K: Known> Step<'a, K> {
    pub(crate) fn new(
        card: CardId,
        state: &CardState,
        now: Timestamp,
        rules: &'a Rules,
        known: &'a K,
    ) -> Self {
        let tariff = rules.currency();
        let currency = state.currency(tariff);
        let mut postings = Postings::new(card, tariff, now).within(currency);
        postings.issuer = state.issuer;
        Self {
            card,
            state: state.clone(),
            former: state.newest().copied(),
            rules,
            known,
            items: CardItems { card, currency, tariff, now },
            postings,
            records: Vec::new(),
            changes: Vec::new(),
            reasons: Vec::new(),
            recovered: 0,
            happened: Vec::new(),
        }
    }

    pub(crate) fn finish(
        mut self,
        before: &CardState,
        outcome: Outcome,
        priced: Option<Priced>,
    ) -> Cleared {
        self.state.origin += self.postings.origin;
        let mut exceptions = self.items.changes(before, &self.state, &self.reasons);
        exceptions.append(&mut self.changes);
        Cleared {
            state: self.state,
            outcome,
            records: self.records,
            transfers: self.postings.transfers,
            exceptions,
            priced,
            recovered: self.recovered,
        }
    }

    /// A transaction that the card proves, with the record it found as evidence of the one before.
    fn settled(
        &mut self,
        tap: &TapRecord,
        transaction: &CardTransaction,
        source: Source,
    ) -> Result<(Outcome, Option<Priced>), ClearError<K::Error>> {
        let CardTransaction { before, after, purse, .. } = transaction;
        self.adopt(*purse);
        if before.ctr < after.ctr {
            self.learn_evidence(before)?;
        }
        let learned = self.learn(Claim {
            record: *after,
            source,
            operator: self.rules.operator(after, tap.route),
            priced_from: Some((*transaction, tap.route)),
        })?;
        if before.ctr >= after.ctr && learned != Learned::Replay {
            self.contradiction(tap, transaction);
        }
        let priced = self.rules.price(transaction, tap.route);
        Ok((learned.into(), Some(priced)))
    }

    fn contradiction(&mut self, tap: &TapRecord, transaction: &CardTransaction) {
        let CardTransaction { before, after, .. } = transaction;
        let finding =
            format!("record {} says that it found record {} on the card", after.ctr, before.ctr);
        let key = TapRef::of(tap).to_bytes();
        let tap = Some(TapRef::of(tap));
        let evidence = alloc::vec![
            Evidence { title: "record found", tap, record: Some(*before) },
            Evidence { title: "record written", tap, record: Some(*after) },
        ];
        let item = self.items.item(ExceptionKind::Contradiction, &key, 0, finding, evidence);
        self.changes.push(ExceptionChange::Opened(item));
    }

    /// A tap that may have happened. Its own word books nothing: only a record of the card does.
    fn in_doubt(
        &mut self,
        tap: &TapRecord,
        transaction: &CardTransaction,
    ) -> Result<Outcome, ClearError<K::Error>> {
        let entry = TapRef::of(tap);
        if self.known.cleared(entry).map_err(ClearError::Known)? {
            return Ok(Outcome::Replayed);
        }
        let Some(doubt) = self.doubt(tap) else { return Ok(Outcome::Noted) };
        transaction.after.to_bytes().map_err(ClearError::Record)?;
        transaction.before.to_bytes().map_err(ClearError::Record)?;
        let voided = self.state.voided.iter().position(|of| *of == entry);
        let voided = voided.map(|at| self.state.voided.remove(at)).is_some();
        if self.state.position(doubt.after.ctr) == Position::Known {
            let (kept, others) = self.contents(doubt.after.ctr)?;
            if others.iter().chain([&kept]).all(|known| known.record != doubt.after) {
                return Ok(Outcome::Void);
            }
            let claim = Claim {
                record: doubt.after,
                source: Source::Tap,
                operator: doubt.operator,
                priced_from: Some((doubt.transaction(), doubt.route)),
            };
            self.learn_found_by(&doubt)?;
            self.charged(&doubt);
            return Ok(self.learn(claim)?.into());
        }
        let doubt = Doubt { voided, ..doubt };
        let at = self.state.doubts.partition_point(|other| other.tap < entry);
        self.state.doubts.insert(at, doubt);
        if self.is_held(&doubt) {
            self.postings.hold(&doubt);
        }
        Ok(if voided { Outcome::Void } else { Outcome::Held })
    }

    /// The validator saw the card again and says that its in-doubt tap did not happen.
    fn voided(&mut self, tap: &TapRecord, of: TapRef) -> Result<Outcome, ClearError<K::Error>> {
        if self.known.cleared(TapRef::of(tap)).map_err(ClearError::Known)? {
            return Ok(Outcome::Replayed);
        }
        let mut doubts = self.state.doubts.iter_mut();
        if let Some(doubt) = doubts.find(|doubt| doubt.tap == of) {
            let known = *doubt;
            doubt.voided = true;
            if !known.voided {
                if self.is_held(&known) {
                    self.postings.void(&known);
                }
                let id = self.items.id(ExceptionKind::InDoubt, &of.to_bytes());
                self.reasons.push((id, "did not happen: the validator saw the card unchanged"));
            }
        } else if !self.known.cleared(of).map_err(ClearError::Known)?
            && let Err(at) = self.state.voided.binary_search(&of)
        {
            self.state.voided.insert(at, of);
        }
        Ok(Outcome::Void)
    }
}
