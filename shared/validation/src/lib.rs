//! One tap, from the presentation of a card to the passage of its rider.
//!
//! Invariants:
//! - a commit is sent only after the intent is durable and the card holds what is to be committed;
//! - a passage is granted only after its outcome is durable;
//! - a tap whose commit got no answer is decided by the card's newest record at its next
//!   presentation here, and is never charged twice;
//! - a ticket is taken once: it is remembered until it ends by itself, in bounded memory, and one
//!   that could not be remembered is not taken (ADR-0010);
//! - a load order is put on its card at most once, before the tap and as an entry of its own, and
//!   never by a clock that nobody set (REC-5, ADR-0015);
//! - companions are of one tap of one card: they are chosen before it, belong to its intent, and
//!   are gone with its answer or after a while (ADR-0017);
//! - of several reasons to refuse, the first in the order of `model::Refusal` is reported.
//!
//! Nothing here does I/O, asks a clock or makes randomness. Numbers are given by the tap log,
//! prices by `fare`, bytes for the card by `card`.
#![no_std]
extern crate alloc;

mod companions;
mod context;
mod decide;
mod doubt;
mod machine;
mod orders;
mod output;
mod passage;
mod relay;
mod state;
#[cfg(test)]
mod tests;
mod tickets;
mod work;

pub use companions::{ArmError, Armed};
pub use context::{ContextError, Rules, ValidatorContext};
pub use decide::{Decision, Denied, decide};
pub use doubt::Doubt;
pub use lists::{Grade, Hotlist};
pub use machine::TapMachine;
pub use model::Note;
pub use output::{OpenedOrder, Output, Presented};
pub use passage::{Loaded, Passage, PassageClass, Verdict};
pub use relay::{LateAnswer, RelayGuard};
pub use tickets::Tickets;
