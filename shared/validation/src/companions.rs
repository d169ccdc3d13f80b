//! Riders chosen for the next card: for one tap of one card, and for a while.
//!
//! Nobody else's card may pay for them. So they are gone when that tap is answered, granted or
//! refused; a card that could not be read keeps them for its next try, and another card that comes
//! between rides alone; and after [`Arming::WINDOW`] they are gone in any case, also when the clock
//! was set back meanwhile.

use alloc::vec::Vec;
use core::time::Duration;

use fare::{FareRefusal, Step};
use model::{CardId, Companions, Timestamp};

use crate::Verdict;

/// Chosen companions, as they are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Armed {
    /// Who.
    pub companions: Companions,
    /// What they will cost.
    pub steps: Vec<Step>,
    /// Until then.
    pub until: Timestamp,
}

/// Why companions cannot be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ArmError {
    /// Whoever holds the card there has not chosen them.
    #[error("a tap is under way: choose again after it")]
    Busy,
    /// No taps are taken.
    #[error("the validator is out of service")]
    OutOfService,
    /// The tariff says no.
    #[error(transparent)]
    Fare(#[from] FareRefusal),
}

/// What is armed, if anything is.
#[derive(Debug, Default)]
pub(crate) struct Arming(Option<Chosen>);

#[derive(Debug)]
struct Chosen {
    armed: Armed,
    since: Timestamp,
    /// The card that was tried with them.
    card: Option<CardId>,
    /// The tap under way takes them.
    taken: bool,
}

impl Arming {
    /// From the choice to the tap.
    pub(crate) const WINDOW: Duration = Duration::from_secs(60);

    pub(crate) fn arm(&mut self, now: Timestamp, companions: Companions, steps: Vec<Step>) {
        let armed = Armed { companions, steps, until: now.plus(Self::WINDOW) };
        self.0 = Some(Chosen { armed, since: now, card: None, taken: false });
    }

    /// Takes them back; says whether there were any.
    pub(crate) fn disarm(&mut self) -> bool {
        self.0.take().is_some()
    }

    pub(crate) fn armed(&self) -> Option<&Armed> {
        self.0.as_ref().map(|chosen| &chosen.armed)
    }

    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        let over = |chosen: &Chosen| now < chosen.since || now > chosen.armed.until;
        self.0.as_ref().is_some_and(|chosen| !chosen.taken && over(chosen))
    }

    /// The tap of this card begins: they are its companions, unless they are another's.
    pub(crate) fn take_for(&mut self, card: CardId) -> Companions {
        let mine = |chosen: &&mut Chosen| chosen.card.is_none_or(|of| of == card);
        let Some(chosen) = self.0.as_mut().filter(mine) else { return Companions::NONE };
        chosen.card = Some(card);
        chosen.taken = true;
        chosen.armed.companions
    }

    /// No tap takes them any more.
    pub(crate) const fn release(&mut self) {
        if let Some(chosen) = &mut self.0 {
            chosen.taken = false;
        }
    }

    /// The tap under way was answered.
    pub(crate) fn answered(&mut self, verdict: Verdict) {
        let taken = self.0.as_ref().is_some_and(|chosen| chosen.taken);
        match verdict {
            Verdict::Granted | Verdict::Refused(_) if taken => self.0 = None,
            Verdict::Granted
            | Verdict::Refused(_)
            | Verdict::TryAgain(_)
            | Verdict::OutOfService => self.release(),
        }
    }
}
