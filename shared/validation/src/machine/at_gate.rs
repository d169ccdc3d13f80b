//! What becomes of riders whom the gate behind this validator was opened for (ADR-0027).

use alloc::{collections::VecDeque, vec::Vec};
use core::mem;

use model::{CardId, GateWord, TapDraft, TapEvent, TapSeq, Timestamp};

use super::TapMachine;
use crate::{Doubt, Output};

/// Riders between a reader and its gate; more cannot stand there.
const LET_IN_MAX: usize = 16;

/// Riders that were let in and of whom the gate has told nothing yet, oldest first.
#[derive(Debug, Default)]
pub(crate) struct AtGate {
    let_in: VecDeque<(CardId, Doubt)>,
    /// The entry of the passage that was shown last.
    shown: Option<TapSeq>,
    /// Said during a tap, whose own entry comes first.
    untold: Vec<(TapDraft, TapEvent)>,
}

impl AtGate {
    /// Another presentation begins.
    pub(super) const fn begin(&mut self) {
        self.shown = None;
    }

    pub(super) fn let_in(&mut self, card: CardId, doubt: Doubt) {
        self.shown = Some(doubt.seq);
        self.let_in.push_back((card, doubt));
        if self.let_in.len() > LET_IN_MAX {
            self.let_in.pop_front();
        }
    }
}

impl TapMachine {
    /// The entry of the card tap whose passage was shown last; the gate's words about it name it.
    pub const fn let_in(&self) -> Option<TapSeq> {
        self.at_gate.shown
    }

    /// The gate said something: of the rider of entry `of`, or of nobody. It is recorded; a card
    /// whose rider did not pass passes again, where the tariff says so.
    pub fn handle_gate(&mut self, now: Timestamp, said: GateWord, of: Option<TapSeq>) {
        let of_whom = |(_, doubt): &(CardId, Doubt)| Some(doubt.seq) == of;
        let place = self.at_gate.let_in.iter().position(of_whom);
        let rider = place.and_then(|at| self.at_gate.let_in.remove(at));
        let draft = self.context.draft(rider.map(|(card, _)| card), now);
        self.at_gate.untold.push((draft, TapEvent::Gate { said, of }));
        if let (GateWord::TimedOut, Some((card, doubt))) = (said, rider)
            && let Some(again) = doubt.turned_back(&self.context.tariffs)
        {
            self.doubts.insert(card, again);
        }
        if self.is_idle() {
            self.tell_what_the_gate_said();
        }
    }

    /// Behind the entries of the tap, whose number is taken from its intent on.
    pub(super) fn tell_what_the_gate_said(&mut self) {
        for (draft, event) in mem::take(&mut self.at_gate.untold) {
            self.outbox.push_back(Output::LogResolution { draft, event });
        }
    }
}
