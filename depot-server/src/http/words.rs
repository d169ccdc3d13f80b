//! The words and shapes of every state: one place for text, icon and tone.
//!
//! A state is always shown as shape + word + tone, so that nothing rests on colour alone. Normal is
//! [`Tone::Calm`] and has no colour. When a second language comes, this file and the templates are
//! what is translated.

use model::{ClockQuality, GateWord, Refusal, TapRole};

use super::views::{CardStanding, DrainState, ExceptionKind, LinkState, Outcome, ServiceState};

/// How much attention something asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tone {
    /// Someone should act now.
    Bad,
    /// Someone should look today.
    Warn,
    /// Worth knowing.
    Info,
    /// Normal: no colour.
    Calm,
}

impl Tone {
    /// The class in the style sheet.
    pub const fn class(self) -> &'static str {
        match self {
            Self::Bad => "bad",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Calm => "calm",
        }
    }

    /// The word read out and shown beside the shape.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Bad => "Act now",
            Self::Warn => "Look today",
            Self::Info => "Note",
            Self::Calm => "Fine",
        }
    }

    /// The shape.
    pub const fn icon(self) -> &'static str {
        match self {
            Self::Bad => "octagon",
            Self::Warn => "triangle",
            Self::Info => "info",
            Self::Calm => "check",
        }
    }
}

/// One state as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sign {
    /// The word in URLs.
    pub word: &'static str,
    /// The word on screen.
    pub label: &'static str,
    /// The shape.
    pub icon: &'static str,
    /// The tone.
    pub tone: Tone,
}

const fn sign(word: &'static str, label: &'static str, icon: &'static str, tone: Tone) -> Sign {
    Sign { word, label, icon, tone }
}

/// A closed set of states that can be shown and filtered by.
pub trait Shown: Copy + PartialEq + 'static {
    /// All of them, in the order in which they are listed.
    const ALL: &'static [Self];

    /// Word, label, shape and tone.
    fn sign(self) -> Sign;

    /// From the word in a URL.
    fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|state| state.sign().word == word)
    }
}

impl Shown for LinkState {
    const ALL: &'static [Self] = &[Self::Lost, Self::Late, Self::NeverSeen, Self::Connected];

    fn sign(self) -> Sign {
        match self {
            Self::Connected => sign("connected", "Connected", "check", Tone::Calm),
            Self::Late => sign("late", "Late", "clock", Tone::Warn),
            Self::Lost => sign("lost", "Lost", "cross", Tone::Warn),
            Self::NeverSeen => sign("never-seen", "Never seen", "dashed", Tone::Info),
        }
    }
}

impl Shown for DrainState {
    const ALL: &'static [Self] = &[Self::Stuck, Self::Draining, Self::Unknown, Self::Empty];

    fn sign(self) -> Sign {
        match self {
            Self::Empty => sign("empty", "Empty", "check", Tone::Calm),
            Self::Draining => sign("draining", "Draining", "down", Tone::Calm),
            Self::Stuck => sign("stuck", "Stuck", "octagon", Tone::Bad),
            Self::Unknown => sign("unknown", "Unknown", "dashed", Tone::Calm),
        }
    }
}

impl Shown for ServiceState {
    const ALL: &'static [Self] =
        &[Self::Out, Self::TooFew, Self::Degraded, Self::Unknown, Self::InService];

    fn sign(self) -> Sign {
        match self {
            Self::InService => sign("in-service", "In service", "check", Tone::Calm),
            Self::Degraded => sign("degraded", "Degraded", "triangle", Tone::Warn),
            Self::TooFew => sign("too-few", "Too few taps", "octagon", Tone::Bad),
            Self::Out => sign("out", "Out", "bar", Tone::Bad),
            Self::Unknown => sign("unknown", "Unknown", "dashed", Tone::Calm),
        }
    }
}

impl Shown for Outcome {
    const ALL: &'static [Self] = &[
        Self::Committed,
        Self::Ticket,
        Self::Refused,
        Self::InDoubt,
        Self::Confirmed,
        Self::Voided,
        Self::Gate,
    ];

    fn sign(self) -> Sign {
        match self {
            Self::Committed => sign("committed", "Committed", "check", Tone::Calm),
            Self::InDoubt => sign("in-doubt", "In doubt", "question", Tone::Warn),
            Self::Refused => sign("refused", "Refused", "bar", Tone::Calm),
            Self::Confirmed => sign("confirmed", "Confirmed", "double", Tone::Calm),
            Self::Voided => sign("voided", "Voided", "slash", Tone::Calm),
            Self::Ticket => sign("ticket", "Ticket", "check", Tone::Calm),
            Self::Gate => sign("gate", "Gate", "info", Tone::Calm),
        }
    }
}

impl Shown for GateWord {
    const ALL: &'static [Self] = &Self::ALL;

    fn sign(self) -> Sign {
        let (label, tone) = match self {
            Self::Passed => ("Passed", Tone::Calm),
            Self::TimedOut => ("Did not pass", Tone::Warn),
            Self::Unseen => ("Passage unseen", Tone::Warn),
            Self::Tailgate => ("Followed a rider", Tone::Warn),
            Self::Forced => ("Passed without right", Tone::Warn),
            Self::Blocked => ("Gate blocked", Tone::Warn),
            Self::Fault => ("Gate fault", Tone::Bad),
            Self::Emergency => ("Emergency", Tone::Bad),
            Self::EmergencyOver => ("Emergency over", Tone::Calm),
        };
        let icon = if tone == Tone::Calm { "check" } else { "triangle" };
        sign(self.word(), label, icon, tone)
    }
}

impl Shown for CardStanding {
    const ALL: &'static [Self] = &[Self::Forked, Self::Hotlisted, Self::Expired, Self::Good];

    fn sign(self) -> Sign {
        match self {
            Self::Good => sign("good", "Good", "check", Tone::Calm),
            Self::Forked => sign("forked", "Two histories", "octagon", Tone::Bad),
            Self::Hotlisted => sign("hotlisted", "Hotlisted", "bar", Tone::Warn),
            Self::Expired => sign("expired", "Expired", "clock", Tone::Info),
        }
    }
}

impl Shown for ExceptionKind {
    const ALL: &'static [Self] = &Self::ALL;

    fn sign(self) -> Sign {
        let (label, icon, tone) = match self {
            Self::Fork => ("Card with two histories", "octagon", Tone::Bad),
            Self::ProofInvalid => ("Card proof does not hold", "octagon", Tone::Bad),
            Self::BalanceMismatch => ("Balances do not join", "octagon", Tone::Bad),
            Self::CountersMismatch => ("Fare counters do not join", "octagon", Tone::Bad),
            Self::ProductWithoutOrder => ("Product nobody sold", "octagon", Tone::Bad),
            Self::UnexplainedLoad => ("Load without a payment", "octagon", Tone::Bad),
            Self::Contradiction => ("Records contradict", "octagon", Tone::Bad),
            Self::RegisterMismatch => ("Registers do not match", "octagon", Tone::Bad),
            Self::ChainBroken => ("Log chain broken", "octagon", Tone::Bad),
            Self::ChargedThoughBlocked => ("Blocked card was charged", "octagon", Tone::Bad),
            Self::TicketUsedTwice => ("Ticket used twice", "octagon", Tone::Bad),
            Self::TicketNotIssued => ("Ticket not sold here", "octagon", Tone::Bad),
            Self::UnknownCard => ("Card not issued here", "triangle", Tone::Warn),
            Self::FareMismatch => ("Fare differs from tariff", "triangle", Tone::Warn),
            Self::PaymentWithoutOrder => ("Paid, not ordered", "triangle", Tone::Bad),
            Self::OrderWithoutPayment => ("Ordered, not paid", "triangle", Tone::Warn),
            Self::PaymentDiffers => ("Payment differs", "triangle", Tone::Warn),
            Self::AccountPastDue => ("Account past due", "triangle", Tone::Warn),
            Self::OrderOverdue => ("Top-up not collected", "triangle", Tone::Warn),
            Self::TopUpStopped => ("Auto top-up stopped", "triangle", Tone::Warn),
            Self::ChargedWithoutPassage => ("Charged, not let through", "triangle", Tone::Warn),
            Self::ClockWrong => ("Clocks disagree", "clock", Tone::Warn),
            Self::CardGap => ("Card records missing", "triangle", Tone::Warn),
            Self::SequenceGap => ("Validator entries missing", "triangle", Tone::Warn),
            Self::InDoubt => ("Tap in doubt", "question", Tone::Info),
            Self::Quarantined => ("Payload set aside", "triangle", Tone::Warn),
        };
        sign(self.word(), label, icon, tone)
    }
}

impl Shown for Refusal {
    const ALL: &'static [Self] = &Self::ALL;

    fn sign(self) -> Sign {
        let (label, tone) = match self {
            Self::SeveralCards => ("Several cards", Tone::Calm),
            Self::Unreadable => ("Unreadable", Tone::Calm),
            Self::TooSlow => ("Answered too late", Tone::Warn),
            Self::ForeignCard => ("Foreign card", Tone::Calm),
            Self::Hotlisted => ("Hotlisted", Tone::Warn),
            Self::CardExpired => ("Card expired", Tone::Calm),
            Self::CardDataInvalid => ("Card data invalid", Tone::Warn),
            Self::NotValidHere => ("Not valid here", Tone::Calm),
            Self::TicketNotValid => ("Ticket not valid", Tone::Calm),
            Self::DoubleEntry => ("Double entry", Tone::Calm),
            Self::TicketUsed => ("Ticket used before", Tone::Calm),
            Self::NoEntry => ("No entry", Tone::Calm),
            Self::CurrencyNotTaken => ("Currency not taken", Tone::Calm),
            Self::InsufficientValue => ("Insufficient value", Tone::Calm),
            Self::OutOfService => ("Out of service", Tone::Warn),
        };
        sign(self.word(), label, "bar", tone)
    }
}

impl Shown for TapRole {
    const ALL: &'static [Self] = &[Self::Board, Self::Entry, Self::Exit];

    fn sign(self) -> Sign {
        match self {
            Self::Board => sign("board", "Board", "dot", Tone::Calm),
            Self::Entry => sign("entry", "Entry", "in", Tone::Calm),
            Self::Exit => sign("exit", "Exit", "out", Tone::Calm),
        }
    }
}

const PRODUCT_WITHOUT_ORDER: &str = "\
    The card proves that it carries a pass or rides that no order of it paid for. Only a load \
    key makes one, and a validator holds that of a card while it carries an order out: look at \
    the validators that loaded this card, and propose the card for the hotlist.";
const UNEXPLAINED_LOAD: &str = "\
    The card shows a load, and no desk and no order of these books made it. Find out who took the \
    money; if nobody did, a load key is in wrong hands. Propose the card.";
const UNKNOWN_CARD: &str = "\
    No issue of this card is in the books, or it holds value that no issue explains. Register the \
    card, or find out who issued it.";
const CHARGED_THOUGH_BLOCKED: &str = "\
    The validator says by its own entry which hotlist it went by, and that list refuses this card. \
    Its list is damaged or its program altered: inspect it, and what else it let through. The \
    charge stands, because the card proves it.";
const CLOCK_WRONG: &str = "\
    A card's counter says which of two taps came first, and their times say the other. No money is \
    wrong: taps go by counters. The validator named is the one that more others contradict; one \
    against one, either may be wrong. Look at its clock and where it gets its time from, then \
    close the item: another wrong day opens another.";
const TICKET_USED_TWICE: &str = "\
    The same ticket gave a ride at several validators, which cannot ask each other. The first \
    ride is paid. A copy was passed on, or a validator lost its log: look where and when the \
    uses were.";
const TICKET_NOT_ISSUED: &str = "\
    The ticket's signature holds and no sale of it is in the books. If the books are whole, \
    the ticket key was stolen: make a new one and take the old one from the validators.";

/// What an exception of this kind means and what to do, for the page of one.
pub const fn advice(kind: ExceptionKind) -> &'static str {
    match kind {
        ExceptionKind::Fork => {
            "The same counter of this card was used twice with different contents: the card was \
             copied or rolled back. Keep both records; propose the card for the hotlist."
        }
        ExceptionKind::ProofInvalid => {
            "The card's own proof does not match the record. No validator can compute that proof, \
             so the record was altered or invented after the card. Inspect the validator."
        }
        ExceptionKind::BalanceMismatch => {
            "The balance after one record is not the balance before the next. The card computes \
             balances itself, so suspect the record, not the arithmetic."
        }
        ExceptionKind::CountersMismatch => {
            "The card was copied, or a transaction of it hidden. Propose it for the hotlist."
        }
        ExceptionKind::UnexplainedLoad => UNEXPLAINED_LOAD,
        ExceptionKind::Contradiction => {
            "An entry contradicts the card's record that it brings: another validator wrote it, \
             another entry brought it before, or it says that it found a newer one on the card. \
             No honest validator does that: inspect it, and the card."
        }
        ExceptionKind::RegisterMismatch => {
            "The validator's registers count more or less than its entries add up to. Entries were \
             lost or removed on the device."
        }
        ExceptionKind::ChainBroken => {
            "An entry does not continue the hash chain of the entry before it. The log was edited \
             or mixed with another. Inspect the validator and its store."
        }
        ExceptionKind::ProductWithoutOrder => PRODUCT_WITHOUT_ORDER,
        ExceptionKind::ChargedThoughBlocked => CHARGED_THOUGH_BLOCKED,
        ExceptionKind::TicketUsedTwice => TICKET_USED_TWICE,
        ExceptionKind::TicketNotIssued => TICKET_NOT_ISSUED,
        ExceptionKind::UnknownCard => UNKNOWN_CARD,
        ExceptionKind::FareMismatch => {
            "The depot prices this tap differently from the validator under the same tariff. The \
             rider paid what the validator said; correct the difference if it harmed the rider."
        }
        ExceptionKind::PaymentWithoutOrder
        | ExceptionKind::OrderWithoutPayment
        | ExceptionKind::PaymentDiffers
        | ExceptionKind::OrderOverdue
        | ExceptionKind::TopUpStopped
        | ExceptionKind::AccountPastDue => channel_advice(kind),
        ExceptionKind::ChargedWithoutPassage => {
            "The card was charged as it left the reader, the rider was told to hold it again, and \
             this reader let nobody through with it. The amount, or the rides, are what was paid \
             too much: repay them, unless the rider rode all the same. The item closes by itself \
             if the reader's own entry, still on its way, says that it let the rider through."
        }
        ExceptionKind::ClockWrong => CLOCK_WRONG,
        ExceptionKind::CardGap => {
            "Records of this card are missing. What they paid together is exactly known and held \
             in suspense until they arrive."
        }
        ExceptionKind::SequenceGap => {
            "Entries of this validator are missing. It is asked for them again by itself; if the \
             device died, the cards' next taps bring the evidence."
        }
        ExceptionKind::InDoubt => {
            "The card left before it answered. Its next tap anywhere decides; nothing needs to be \
             done unless it grows old."
        }
        ExceptionKind::Quarantined => {
            "A payload could not be read or verified. It is kept as received and nothing of it was \
             booked. Check the sender's software and certificate."
        }
    }
}

/// The same for what channels hand in.
const fn channel_advice(kind: ExceptionKind) -> &'static str {
    if matches!(kind, ExceptionKind::PaymentWithoutOrder) {
        "A channel handed in money for a top-up that no order knows: a rider paid and got nothing. \
         Order it for the rider's card under the channel's reference (depot-server order pay), or \
         have the channel give the money back. The item closes by itself when the order or the \
         channel's counter-entry arrives."
    } else if matches!(kind, ExceptionKind::OrderWithoutPayment) {
        "A top-up was ordered, and the channel's statements did not bring the money within its \
         stated delay, or took it back. Ask the channel; if nobody paid, give the order back \
         (depot-server order give-back). The item closes by itself when the line arrives."
    } else if matches!(kind, ExceptionKind::PaymentDiffers) {
        "The channel's statements say something else of this payment than its order: another \
         amount, currency or card, two payments under one reference, or money for an order that \
         was given back. The finding says which. Have the channel correct it; its next statement \
         closes the item."
    } else if matches!(kind, ExceptionKind::AccountPastDue) {
        "Tell the holder what is open and how to pay it: depot-server account show says every bill \
         with its taps. The item says how far it has come. It closes by itself, and the account's \
         cards are served again, once the amount is paid (depot-server account paid)."
    } else if matches!(kind, ExceptionKind::OrderOverdue) {
        "A top-up was paid long ago and its card has tapped nowhere since, or cannot take it. Tell \
         the holder where to tap; if the card is gone, replace it, or give the order back through \
         its channel (depot-server order give-back). The item closes by itself with either."
    } else {
        "The holder relies on a top-up that no longer comes: tell them before the card is refused. \
         Set the instruction again once the means of payment is good (depot-server order auto \
         set), or end it (order auto stop); either closes the item."
    }
}

/// Where a clock gets its time from.
pub const fn clock_label(clock: ClockQuality) -> &'static str {
    match clock {
        ClockQuality::Unknown => "unknown",
        ClockQuality::Saved => "saved before power-off",
        ClockQuality::Rtc => "battery clock",
        ClockQuality::Ntp => "network time",
        ClockQuality::Gnss => "satellite time",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<S: Shown + std::fmt::Debug>() {
        for (i, state) in S::ALL.iter().enumerate() {
            let sign = state.sign();
            assert_eq!(S::from_word(sign.word), Some(*state), "{state:?} reads back");
            assert!(!sign.label.is_empty() && !sign.icon.is_empty());
            for other in &S::ALL[..i] {
                assert_ne!(other.sign().label, sign.label);
            }
        }
        assert_eq!(S::from_word("no such word"), None);
    }

    #[test]
    fn every_state_has_a_word_of_its_own_that_reads_back() {
        check::<LinkState>();
        check::<DrainState>();
        check::<ServiceState>();
        check::<Outcome>();
        check::<CardStanding>();
        check::<ExceptionKind>();
        check::<Refusal>();
        check::<GateWord>();
        check::<TapRole>();
    }

    #[test]
    fn normal_states_have_no_colour() {
        for sign in [
            LinkState::Connected.sign(),
            DrainState::Empty.sign(),
            DrainState::Draining.sign(),
            ServiceState::InService.sign(),
            Outcome::Committed.sign(),
            Outcome::Refused.sign(),
            CardStanding::Good.sign(),
        ] {
            assert_eq!(sign.tone, Tone::Calm, "{}", sign.label);
        }
    }
}
