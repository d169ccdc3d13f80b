//! A card whose newest record proves a tap of this validator that was in doubt: its proof is read
//! back, and the rider gets the passage that was paid for.

use alloc::boxed::Box;

use card::{CardOutput, Settlement};
use model::{CardProof, CardTransaction, Ctr, Refusal, Served, TapDraft, TapEvent};

use super::{State, TapMachine};
use crate::{
    Doubt, Output, Passage,
    state::{Seen, Tap},
    work::Work,
};

impl TapMachine {
    pub(super) fn prove(&mut self, tap: Tap, mut card: Box<Work>, doubt: Box<Doubt>) -> State {
        match card.poll() {
            Some(CardOutput::Transmit(apdu)) => {
                self.outbox.push_back(Output::Transmit(apdu));
                State::Proving { tap, card, doubt }
            }
            Some(CardOutput::Settled(Settlement::ProofRead { ctr, proof })) => {
                self.proved(tap, &doubt, ctr, proof)
            }
            // Not believed, or gone again: the tap stays in doubt.
            Some(CardOutput::Settled(Settlement::Refused(failure)))
                if failure.refusal() == Refusal::TooSlow =>
            {
                let seen = Some(Seen::after(&doubt.transaction));
                self.refuse(tap.draft, None, Refusal::TooSlow, seen)
            }
            Some(
                CardOutput::NeedKey { .. }
                | CardOutput::Found(_)
                | CardOutput::ReadyToCommit
                | CardOutput::Settled(_),
            )
            | None => {
                let seen = Some(Seen::after(&doubt.transaction));
                self.refuse(tap.draft, None, Refusal::Unreadable, seen)
            }
        }
    }

    fn proved(&mut self, tap: Tap, doubt: &Doubt, ctr: Ctr, proof: CardProof) -> State {
        let after = doubt.transaction.after;
        self.doubts.forget(tap.card);
        if ctr != after.ctr {
            // Counter and record of the card contradict each other.
            let seen = Some(Seen::after(&doubt.transaction));
            return self.refuse(tap.draft, None, Refusal::CardDataInvalid, seen);
        }
        let draft = TapDraft { order: doubt.order, ..tap.draft };
        let over = doubt.is_over(&draft, self.context.rules.retry_window);
        let served = if over { Served::No } else { Served::Yes };
        let Doubt { seq: of, transaction, .. } = *doubt;
        let event = TapEvent::Confirmed { of, transaction, proof, served };
        if over {
            self.outbox.push_back(Output::LogResolution { draft, event });
            self.outbox.push_back(Output::PresentAgain);
            return State::Idle;
        }
        self.outbox.push_back(Output::LogOutcome { seq: None, draft, event });
        self.at_gate.let_in(tap.card, Doubt { settled: true, ..*doubt });
        State::Closing(Box::new(self.finished(doubt)))
    }

    /// The passage of an earlier tap whose rider did not get it.
    pub(super) fn finished(&self, doubt: &Doubt) -> Passage {
        let CardTransaction { after, purse, .. } = doubt.transaction;
        Passage::granted(
            self.money_in(purse, i64::from(after.amount)),
            self.money_in(purse, i64::from(after.balance)),
            doubt.explained(&self.context),
            true,
        )
    }
}
