//! A tap that ends without passage.

use alloc::boxed::Box;

use model::{Currency, Money, Refusal, TapDraft, TapEvent, TapSeq};

use super::{State, TapMachine};
use crate::{Output, Passage, decide::Denied, state::Seen};

impl TapMachine {
    pub(super) fn refuse(
        &mut self,
        draft: TapDraft,
        seq: Option<TapSeq>,
        reason: Refusal,
        seen: Option<Seen>,
    ) -> State {
        self.deny(draft, seq, reason.into(), seen)
    }

    pub(super) fn deny(
        &mut self,
        draft: TapDraft,
        seq: Option<TapSeq>,
        Denied { reason, missing }: Denied,
        seen: Option<Seen>,
    ) -> State {
        let event = TapEvent::Refused { reason, seen: seen.map(|seen| seen.record) };
        self.outbox.push_back(Output::LogOutcome { seq, draft, event });
        let zero = self.money_in(seen.and_then(|seen| seen.purse), 0);
        let balance = |seen: Seen| self.money_in(seen.purse, i64::from(seen.record.balance));
        let passage = Passage::refused(reason, zero, seen.map(balance));
        State::Closing(Box::new(Passage { missing, ..passage }))
    }

    pub(super) fn money(&self, minor: i64) -> Money {
        self.money_in(None, minor)
    }

    pub(super) fn money_in(&self, purse: Option<Currency>, minor: i64) -> Money {
        Money::new(minor, self.context.purse(purse))
    }
}
