//! What the step finds about validators and their batches, as work items and as what is set aside.

use clearing::{Evidence, ExceptionChange, ExceptionKind, TapRef, ValidatorFinding};
use fleet_sync::Incident;
use model::{CardId, CardTransaction, Money, TapEvent, TapRecord};

use super::{Desk, StepError};
use crate::intake::{
    Reason,
    check::CheckedBatch,
    stored::{SetAside, Stored},
};

impl<S: Stored> Desk<'_, S> {
    pub(super) fn not_cleared(&mut self, tap: &TapRecord, kind: ExceptionKind, finding: &str) {
        self.open_of_tap(tap, kind, finding, tap.settled().map(|(transaction, _)| transaction));
    }

    /// An item of one entry, with the card's records before and after it as evidence.
    fn open_of_tap(
        &mut self,
        tap: &TapRecord,
        kind: ExceptionKind,
        finding: &str,
        transaction: Option<&CardTransaction>,
    ) {
        let amount = match &tap.event {
            TapEvent::Committed { transaction, .. }
            | TapEvent::InDoubt { transaction }
            | TapEvent::Confirmed { transaction, .. } => {
                // What is claimed, in the currency that is claimed.
                let currency = transaction.purse.unwrap_or(self.rules.currency());
                Some(Money::new(transaction.after.delta().saturating_abs(), currency))
            }
            TapEvent::Ticket { token } => token.ticket().ok().map(|ticket| ticket.price),
            TapEvent::Refused { .. } | TapEvent::Voided { .. } | TapEvent::Gate { .. } => None,
        };
        let entry = Some(TapRef::of(tap));
        let mut evidence = Vec::new();
        if let Some(transaction) = transaction {
            let pair =
                [("record found", transaction.before), ("record written", transaction.after)];
            evidence.extend(pair.map(|(title, record)| Evidence {
                title,
                tap: entry,
                record: Some(record),
            }));
        }
        self.open(ValidatorFinding {
            kind,
            validator: tap.validator,
            key: TapRef::of(tap).to_bytes().to_vec(),
            card: tap.card,
            amount,
            finding: format!("entry {} of epoch {}: {finding}", tap.seq, tap.epoch),
            evidence,
        });
    }

    /// Each entry says by which hotlist it was decided, so this is a function of the entry and that
    /// list: whatever arrives before or after it makes no difference (REC-1).
    pub(super) fn charged_though_blocked(
        &mut self,
        card: CardId,
        tap: &TapRecord,
    ) -> Result<(), StepError<S::Error>> {
        // What confirms an older transaction was not decided anew.
        let (TapEvent::Committed { .. } | TapEvent::InDoubt { .. }) = &tap.event else {
            return Ok(());
        };
        let Some(version) = tap.hotlist_version else { return Ok(()) };
        let blocked = self.stored.blocked(card, version, self.booking.at);
        if blocked.map_err(StepError::Stored)? {
            let finding = format!("it went by hotlist {version}, which refuses this card");
            let kind = ExceptionKind::ChargedThoughBlocked;
            self.open_of_tap(tap, kind, &finding, clearing::transaction(tap));
        }
        Ok(())
    }

    pub(super) fn incident(&mut self, checked: CheckedBatch, incident: Incident) {
        self.tally.incidents += 1;
        let detail = incident.to_string();
        let head = &checked.batch.head;
        self.open(ValidatorFinding {
            kind: ExceptionKind::ChainBroken,
            validator: head.validator,
            key: checked.batch.last_hash.0.to_vec(),
            card: None,
            amount: None,
            finding: detail.clone(),
            evidence: Vec::new(),
        });
        let reason = match incident {
            Incident::OtherBytes { .. } => Reason::Conflicting,
            Incident::OtherHistory { .. } | Incident::OwnHash { .. } => Reason::ChainBroken,
            Incident::OtherValidator(_) => Reason::WrongValidator,
            Incident::TooManyLives(_) => Reason::Oversize,
        };
        self.set_aside(checked, reason, detail);
    }

    pub(super) fn set_aside(&mut self, checked: CheckedBatch, reason: Reason, detail: String) {
        let CheckedBatch { topic, payload, .. } = checked;
        self.booking.quarantine.push(SetAside { topic, payload, reason, detail });
    }

    pub(super) fn open(&mut self, finding: ValidatorFinding) {
        let opened = finding.opened(self.booking.at);
        self.booking.exceptions.push(ExceptionChange::Opened(opened));
    }
}
