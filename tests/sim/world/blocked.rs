//! Cards that are blocked while the fleet runs: lists on their way, and what must hold of them.

use std::time::Duration;

use model::{CardId, Refusal};

use super::{Event, TapEnd, World};

impl World {
    /// Somebody decides about a card, now and then.
    pub(super) fn perhaps_block(&mut self) {
        if self.blocking.chance(self.faults.decision) {
            let cards: Vec<CardId> = self.cards.iter().map(|card| card.card.uid()).collect();
            self.blocking.decide(&cards, self.now);
            self.publish_hotlist();
        }
    }

    /// A list arrives. Whatever is late or comes twice, none goes back.
    pub(super) fn take_hotlist(&mut self, validator: usize, version: u64) -> Result<(), String> {
        let on = &mut self.validators[validator];
        let before = on.hotlist;
        on.handle_hotlist(self.blocking.edition(version))?;
        if on.hotlist < before {
            return Err(format!("{} goes back from hotlist {before} to {version}", on.id));
        }
        Ok(())
    }

    /// A card is refused by just the validators whose list has it, and not charged by them.
    pub(super) fn judge_blocking(
        &mut self,
        card: usize,
        validator: usize,
        end: &TapEnd,
        committed_before: usize,
    ) -> Result<(), String> {
        let (uid, version) = (self.cards[card].card.uid(), self.validators[validator].hotlist);
        let passage = match end {
            TapEnd::Shown(passage) | TapEnd::Dark(Some(passage)) => Some(passage),
            TapEnd::Dark(None) => None,
        };
        let granted = passage.is_some_and(|passage| passage.is_granted());
        let hotlisted = passage.is_some_and(|p| p.refusal() == Some(Refusal::Hotlisted));
        match (self.blocking.refuses(version, uid), hotlisted) {
            (false, true) => return Err(format!("{uid} is not blocked by hotlist {version}")),
            (true, _) if granted => return Err(format!("{uid} passes, hotlist {version} has it")),
            (true, _) if self.truth.count(uid) > committed_before => {
                return Err(format!("{uid} is charged, hotlist {version} has it"));
            }
            (true, true) => {
                self.report.blocked += 1;
                self.cards[card].was_blocked = true;
            }
            (true | false, false) => {}
        }
        if granted && self.cards[card].was_blocked {
            self.report.unblocked += 1;
            self.cards[card].was_blocked = false;
        }
        Ok(())
    }

    /// The newest hotlist goes to everybody who is there, as messages go.
    pub(super) fn publish_hotlist(&mut self) {
        for validator in 0..self.validators.len() {
            if self.validators[validator].linked && !self.blocking.chance(self.faults.drop) {
                self.ask_for_hotlist(validator);
            }
        }
    }

    /// The broker holds the newest hotlist for whoever asks. It comes between two taps, perhaps
    /// late, behind a later one, perhaps twice.
    pub(super) fn ask_for_hotlist(&mut self, validator: usize) {
        let Some(version) = self.blocking.newest() else { return };
        let copies = if self.blocking.chance(self.faults.duplicate) { 2 } else { 1 };
        for _ in 0..copies {
            let late = self.blocking.chance(self.faults.delay);
            let until = if late { 600_000 } else { 2_000 };
            let ms = self.blocking.between(20, until);
            self.at(Duration::from_millis(ms), Event::Hotlist { validator, version });
        }
    }
}
