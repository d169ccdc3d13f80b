//! Why work items of a kind close when nothing better is known.

use super::ExceptionKind;

/// Why an item of this kind closed.
pub(crate) const fn default_reason(kind: ExceptionKind) -> &'static str {
    match kind {
        ExceptionKind::ChargedWithoutPassage => "with the card's next tap nothing was paid twice",
        ExceptionKind::ClockWrong => "another clock explains it",
        ExceptionKind::CardGap => "the missing records are known",
        ExceptionKind::BalanceMismatch | ExceptionKind::CountersMismatch => "explained by the fork",
        ExceptionKind::UnknownCard => "the issue is known",
        ExceptionKind::FareMismatch => "the tap's own entry explains the charge",
        ExceptionKind::UnexplainedLoad => "the desk that loaded it is known",
        ExceptionKind::InDoubt => "decided by a later record of the card",
        ExceptionKind::PaymentWithoutOrder
        | ExceptionKind::OrderWithoutPayment
        | ExceptionKind::PaymentDiffers => "order and statements agree",
        ExceptionKind::Fork
        | ExceptionKind::ProofInvalid
        | ExceptionKind::ProductWithoutOrder
        | ExceptionKind::Contradiction
        | ExceptionKind::RegisterMismatch
        | ExceptionKind::ChainBroken
        | ExceptionKind::ChargedThoughBlocked
        | ExceptionKind::TicketUsedTwice
        | ExceptionKind::TicketNotIssued
        | ExceptionKind::SequenceGap
        | ExceptionKind::OrderOverdue
        | ExceptionKind::TopUpStopped
        | ExceptionKind::AccountPastDue
        | ExceptionKind::Quarantined => "explained by later records",
    }
}
