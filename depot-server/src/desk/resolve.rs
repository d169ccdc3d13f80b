//! Deciding what became of an operation whose outcome nobody wrote down: by the card (ADR-0008).

use card::{
    CardFailure, CardOutput, CardStep, DebitTransaction, Settlement, issue_proof_holds,
    proof_holds, proving_version,
};
use clearing::{DeskDeed, DeskEntry};
use model::{CardId, CardProof, CardTransaction, Companions, ProductsFound};

use super::{DeskError, Done, Hand, Station, hand::random, station::word};
use crate::{
    intake::{
        IntakeError, settle_due_of,
        step::book_desk,
        stored::{BookedDesk, Stored},
    },
    store::CardOp,
};

/// What the card says of an operation.
enum Verdict {
    Happened(Option<CardProof>),
    DidNot(&'static str),
    /// The card says nothing about it.
    Open,
}

/// Whether the card said that it is no issued card of ours. A piece of an answer says nothing, not
/// even one that looks like a status: the card may have been torn away once more.
const fn is_not_issued(failure: &CardFailure) -> bool {
    match failure {
        CardFailure::NoApplication(_)
        | CardFailure::NotAuthentic
        | CardFailure::KeyVersionNotHeld(_)
        | CardFailure::NoRecord
        | CardFailure::Refused { step: CardStep::Read, .. } => true,
        CardFailure::Link { .. }
        | CardFailure::Malformed(_)
        | CardFailure::AnswerNotAuthentic(_)
        | CardFailure::Refused { .. }
        | CardFailure::ValueLimit
        | CardFailure::ValueCeiling
        | CardFailure::Record(_)
        | CardFailure::Purse(_)
        | CardFailure::Counters(_)
        | CardFailure::AlreadyIssued
        | CardFailure::ForeignApplication(_)
        | CardFailure::CardLevelLocked
        | CardFailure::CardFull => false,
    }
}

impl Station {
    /// Settles what is open on the card, and tells what nobody was told yet: a validator may have
    /// been first to see what became of a load, and then only the books know. `Some` when that was
    /// the very thing that is asked for.
    pub(super) async fn settle_first(
        &self,
        hand: &mut Hand,
        card: CardId,
        same: impl Fn(&DeskEntry) -> bool,
    ) -> Result<Option<Done>, DeskError> {
        self.resolve(hand, card).await?;
        let Some(CardOp { entry, .. }) = self.store.untold_ops(card)?.into_iter().next() else {
            return Ok(None);
        };
        let done = self.tell(&entry, true)?;
        if same(&entry) {
            return Ok(Some(done));
        }
        Err(DeskError::Settled(format!(
            "operation {} on card {card} ({}) was begun before and has happened",
            entry.op,
            word(&entry.deed)
        )))
    }

    /// What a clerk is told of an operation that happened: by one command, so that the next one
    /// for the same amount loads again.
    pub(super) fn tell(&self, entry: &DeskEntry, begun_before: bool) -> Result<Done, DeskError> {
        self.store.tell_op(entry.op, self.clock.now())?;
        Ok(self.done(entry, begun_before))
    }

    /// Decides every open operation of the card on the reader; answers those, and whether they
    /// happened.
    pub(super) async fn resolve(
        &self,
        hand: &mut Hand,
        card: CardId,
    ) -> Result<Vec<(DeskEntry, bool)>, DeskError> {
        let open = self.store.open_ops(card)?;
        let mut decided = Vec::new();
        for op in open {
            match self.verdict(hand, &op.entry).await? {
                Verdict::Happened(proof) => {
                    self.book(&op.entry, "the card shows its record", proof)?;
                    decided.push((op.entry, true));
                }
                Verdict::DidNot(how) => {
                    self.store.void_op(op.entry.op, how, self.clock.now())?;
                    decided.push((op.entry, false));
                }
                Verdict::Open => {
                    return Err(DeskError::InDoubt { op: op.entry.op, card });
                }
            }
        }
        Ok(decided)
    }

    async fn verdict(&self, hand: &mut Hand, entry: &DeskEntry) -> Result<Verdict, DeskError> {
        let card = entry.card;
        let written = entry.written();
        let mut machine = DebitTransaction::new(card, self.keys.debit_key(&card)?, random()?);
        let output = hand.run(&mut machine, &*self.keys).await?;
        let CardOutput::Found(found) = output else {
            return match (output, &entry.deed) {
                (CardOutput::Settled(Settlement::Refused(failure)), DeskDeed::Issued { .. })
                    if is_not_issued(&failure) =>
                {
                    Ok(Verdict::DidNot("the card is not issued"))
                }
                (CardOutput::Settled(Settlement::Refused(failure)), _) => {
                    Err(DeskError::Card(failure))
                }
                _ => Ok(Verdict::Open),
            };
        };
        if found.record == *written {
            machine.read_proof();
            let output = hand.run(&mut machine, &*self.keys).await?;
            let CardOutput::Settled(Settlement::ProofRead { ctr, proof }) = output else {
                return Err(DeskError::InDoubt { op: entry.op, card });
            };
            if ctr != written.ctr {
                return Err(DeskError::Proof(entry.op));
            }
            self.check_proof(entry, found.products, proof)?;
            return Ok(Verdict::Happened(Some(proof)));
        }
        if found.record.ctr < written.ctr {
            return Ok(Verdict::DidNot("the card was seen without its record"));
        }
        if found.record.ctr == written.ctr {
            return Ok(Verdict::DidNot("another record of the card has its counter"));
        }
        machine.release();
        // Newer taps stand above it; the log still shows twelve.
        let report = hand.inspect(card, &*self.keys).await?;
        let contents = report.application.and_then(|app| app.contents);
        let logged = contents.and_then(Result::ok).and_then(|c| c.record(written.ctr).copied());
        Ok(match logged {
            Some(record) if record == *written => Verdict::Happened(None),
            Some(_) => Verdict::DidNot("another record of the card has its counter"),
            None => Verdict::Open,
        })
    }

    /// Whether the card itself made this.
    pub(super) fn check_proof(
        &self,
        entry: &DeskEntry,
        products: Option<ProductsFound>,
        proof: CardProof,
    ) -> Result<(), DeskError> {
        let version = proving_version(&*self.keys, &entry.card, |key| match &entry.deed {
            DeskDeed::Issued { record, .. } => {
                issue_proof_holds(key, &entry.card, record, None, proof)
            }
            DeskDeed::Loaded { before, after, .. } | DeskDeed::Retired { before, after, .. } => {
                let transaction = CardTransaction {
                    before: *before,
                    after: *after,
                    products,
                    loaded: None,
                    counters: None,
                    companions: Companions::NONE,
                    purse: entry.purse,
                };
                proof_holds(key, &entry.card, &transaction, proof)
            }
        })?;
        version.map(|_| ()).ok_or(DeskError::Proof(entry.op))
    }

    /// Books what happened, once: the intake may have been first.
    pub(super) fn book(
        &self,
        entry: &DeskEntry,
        how: &'static str,
        proof: Option<CardProof>,
    ) -> Result<(), DeskError> {
        let group = self.store.begin()?;
        let open = group.open_ops(entry.card)?;
        if !open.iter().any(|other| other.op == entry.op) {
            return Ok(());
        }
        let booked = BookedDesk { entry: *entry, how, proof };
        let booking = book_desk(&group, &self.rules, &[booked], self.clock.now())
            .map_err(IntakeError::from)?;
        group.commit(&booking)?;
        // What the card's own records tell may change what it is owed. The card stays queued, and
        // the intake does it, should this fail.
        if let Err(error) = settle_due_of(&self.store, &self.rules, &self.clock) {
            tracing::warn!(%error, "what the card is owed is worked out later");
        }
        Ok(())
    }
}
