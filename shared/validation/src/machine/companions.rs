//! Choosing who rides on the next card (ADR-0017).

use fare::companions;
use model::{CardId, Companions, Timestamp};

use super::TapMachine;
use crate::{ArmError, Armed, Output, ValidatorContext, decide::chosen_at};

impl TapMachine {
    /// The next card pays for these riders too. Choosing again replaces the choice; choosing
    /// nobody takes it back.
    pub fn arm(&mut self, now: Timestamp, riders: Companions) -> Result<(), ArmError> {
        if !self.is_idle() {
            return Err(ArmError::Busy);
        }
        if riders.is_empty() {
            self.disarm();
            return Ok(());
        }
        if !self.in_service {
            return Err(ArmError::OutOfService);
        }
        let steps = companions(&self.context.tariffs, &chosen_at(&self.context, riders, now))?;
        self.arming.arm(now, riders, steps.clone());
        self.outbox.push_back(Output::Companions(steps));
        Ok(())
    }

    /// Who was chosen for the next card.
    pub fn armed(&self) -> Option<&Armed> {
        self.arming.armed()
    }

    /// Takes the choice back once it is over. To be called at `armed().until`, or later.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        if self.arming.is_over(now) {
            self.disarm();
        }
    }

    fn disarm(&mut self) {
        if self.arming.disarm() {
            self.outbox.push_back(Output::Companions(alloc::vec::Vec::new()));
        }
    }

    /// Numbers of categories are those of a tariff, and prices those of a place.
    pub(super) fn disarm_for(&mut self, next: &ValidatorContext) {
        let of = |context: &ValidatorContext| {
            (context.tariff, context.place, context.route, context.role)
        };
        if of(next) != of(&self.context) {
            self.disarm();
        }
    }

    /// The companions of a card that is presented.
    pub(super) fn companions_of(&mut self, card: CardId, now: Timestamp) -> Companions {
        self.handle_timeout(now);
        self.arming.take_for(card)
    }
}
