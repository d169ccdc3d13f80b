//! What the rider is shown and the gate is told.

use alloc::vec::Vec;

use fare::{CapProgress, Exchanged, ProductStep, Quote, Step, StepKind};
use model::{Ctr, Currency, Money, Note, ProductSale, Refusal, RiderClass};

use crate::{ValidatorContext, decide::Decision};

/// The answer to one presentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// Whether the rider may pass.
    pub verdict: Verdict,
    /// What this tap took off the card, in the currency of its purse.
    pub charge: Money,
    /// Stored value after it, when the card was read.
    pub balance: Option<Money>,
    /// Why it cost that; amounts in the tariff's currency.
    pub steps: Vec<Step>,
    /// How their sum became the charge, when the purse is in another currency.
    pub exchanged: Option<Exchanged>,
    /// How far the card has come towards each cap that counts.
    pub caps: Vec<CapProgress>,
    /// What else the rider should know.
    pub notes: Vec<Note>,
    /// What a load order put on the card before this tap, whatever became of the tap (USR-2).
    pub loaded: Option<Loaded>,
    /// How much more stored value this tap needs, when that is why it is refused.
    pub missing: Option<Money>,
    /// The rider category on the card of a granted tap, for a sound that tells staff of a
    /// concession; the tariff's first category is the default.
    pub class: Option<RiderClass>,
}

/// What a load order put on the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loaded {
    /// So much value.
    Value(Money),
    /// A product (ADR-0024).
    Product(ProductSale),
}

/// Why a tap cost what it did, and what that means for caps. Empty when it cannot be said.
#[derive(Debug, Default)]
pub(crate) struct Explained {
    steps: Vec<Step>,
    exchanged: Option<Exchanged>,
    caps: Vec<CapProgress>,
    /// A balance below this is pointed out, in the purse's currency.
    low_balance: Option<i64>,
    class: Option<RiderClass>,
}

impl Explained {
    pub(crate) fn of(context: &ValidatorContext, quote: Quote, class: RiderClass) -> Self {
        let caps = quote.cap_progress(&context.tariffs, class);
        let low_balance = low_balance(context, &quote);
        Self {
            steps: quote.steps,
            exchanged: quote.exchanged,
            caps,
            low_balance,
            class: Some(class),
        }
    }

    /// Of a tap that cannot be priced here any more.
    pub(crate) fn nothing(context: &ValidatorContext, purse: Currency) -> Self {
        let own = purse == context.currency();
        Self { low_balance: own.then_some(context.rules.low_balance), ..Self::default() }
    }
}

/// The operator's threshold is an amount in the tariff's currency: for a purse in another it is
/// that amount by the rate of the ride.
fn low_balance(context: &ValidatorContext, quote: &Quote) -> Option<i64> {
    let low = context.rules.low_balance;
    let Some(exchanged) = &quote.exchanged else { return Some(low) };
    let tariff = context.tariffs.get(quote.priced_under)?;
    let low = Money::new(low, tariff.currency());
    let exchange = tariff.exchange(exchanged.debit.currency())?;
    exchange.convert(exchanged.rate, low).map(Money::minor)
}

/// Whether the rider may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Granted,
    /// Not yet: holding the card again will decide.
    TryAgain(Refusal),
    /// No.
    Refused(Refusal),
    /// Nobody is served here until it is repaired.
    OutOfService,
}

/// How it is shown (reference, operators and riders §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PassageClass {
    /// Accepted.
    A,
    /// Accepted, with a note.
    B,
    /// Try again.
    C,
    /// Refused.
    D,
    /// Out of service.
    E,
}

impl PassageClass {
    /// The letter used in logs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
            Self::D => "D",
            Self::E => "E",
        }
    }
}

impl Passage {
    /// Granted, with the notes that the steps and the balance call for.
    pub(crate) fn granted(
        charge: Money,
        balance: Money,
        Explained { steps, exchanged, caps, low_balance, class }: Explained,
        finished: bool,
    ) -> Self {
        let has = |wanted: fn(&StepKind) -> bool| steps.iter().any(|step| wanted(&step.kind));
        let missing = has(|kind| matches!(kind, StepKind::MissingTapOut { .. }));
        let transfer = has(|kind| matches!(kind, StepKind::Transfer { .. }));
        let product = |wanted: &dyn Fn(&ProductStep) -> bool| {
            let of = |kind: &StepKind| matches!(kind, StepKind::Product(step) if wanted(step));
            steps.iter().any(|step| of(&step.kind))
        };
        let notes = [
            (finished, Note::EarlierTapFinished),
            (missing, Note::MissingTapOut),
            (transfer, Note::Transfer),
            (product(&|s| matches!(s, ProductStep::Ended { .. })), Note::ProductEnded),
            (product(&|s| matches!(s, ProductStep::NotYetValid { .. })), Note::ProductNotYetValid),
            (product(&|s| matches!(s, ProductStep::NotHere(_))), Note::ProductNotHere),
            (product(&|s| matches!(s, ProductStep::UsedUp(_))), Note::RidesUsedUp),
            (product(&|s| matches!(s, ProductStep::RidePays { left: 0, .. })), Note::LastRide),
            (product(&|s| matches!(s, ProductStep::Unknown(_))), Note::ProductUnknown),
            (low_balance.is_some_and(|low| balance.minor() < low), Note::LowBalance),
        ];
        Self {
            verdict: Verdict::Granted,
            charge,
            balance: Some(balance),
            notes: notes.into_iter().filter(|(holds, _)| *holds).map(|(_, note)| note).collect(),
            steps,
            exchanged,
            caps,
            loaded: None,
            missing: None,
            class,
        }
    }

    /// Granted on a ticket: paid for before, and nothing is charged here.
    pub(crate) fn ticket(zero: Money, finished: bool) -> Self {
        let notes = if finished { alloc::vec![Note::EarlierTapFinished] } else { Vec::new() };
        Self {
            verdict: Verdict::Granted,
            charge: zero,
            balance: None,
            steps: Vec::new(),
            exchanged: None,
            caps: Vec::new(),
            notes,
            loaded: None,
            missing: None,
            class: None,
        }
    }

    /// The card has committed, and its own counter is now `ctr`. A record with another counter is
    /// one that no honest card holds: its rider is sent to staff, the depot has the proof.
    pub(crate) fn committed(context: &ValidatorContext, decision: Decision, ctr: Ctr) -> Self {
        let Decision { quote, after, .. } = decision;
        let currency = quote.debit.currency();
        if ctr != after.ctr {
            return Self::refused(Refusal::CardDataInvalid, Money::zero(currency), None);
        }
        let balance = Money::new(i64::from(after.balance), currency);
        let debit = quote.debit;
        Self::granted(debit, balance, Explained::of(context, quote, after.class), false)
    }

    /// Not granted: nothing was charged, as far as is known.
    pub(crate) fn refused(reason: Refusal, zero: Money, balance: Option<Money>) -> Self {
        let verdict = match reason {
            Refusal::SeveralCards | Refusal::Unreadable | Refusal::TooSlow => {
                Verdict::TryAgain(reason)
            }
            Refusal::OutOfService => Verdict::OutOfService,
            Refusal::ForeignCard
            | Refusal::Hotlisted
            | Refusal::CardExpired
            | Refusal::CardDataInvalid
            | Refusal::NotValidHere
            | Refusal::TicketNotValid
            | Refusal::DoubleEntry
            | Refusal::TicketUsed
            | Refusal::NoEntry
            | Refusal::CurrencyNotTaken
            | Refusal::InsufficientValue => Verdict::Refused(reason),
        };
        Self {
            verdict,
            charge: zero,
            balance,
            steps: Vec::new(),
            exchanged: None,
            caps: Vec::new(),
            notes: Vec::new(),
            loaded: None,
            missing: None,
            class: None,
        }
    }

    /// Whether the gate opens.
    pub fn is_granted(&self) -> bool {
        self.verdict == Verdict::Granted
    }

    /// How many it lets through: the holder, and the companions that the steps name.
    pub fn riders(&self) -> u32 {
        let with = |step: &Step| {
            if let StepKind::Companions { riders, .. } = step.kind { riders.into() } else { 0 }
        };
        1 + self.steps.iter().map(with).sum::<u32>()
    }

    /// Why not, if not.
    pub const fn refusal(&self) -> Option<Refusal> {
        match self.verdict {
            Verdict::Granted => None,
            Verdict::TryAgain(reason) | Verdict::Refused(reason) => Some(reason),
            Verdict::OutOfService => Some(Refusal::OutOfService),
        }
    }

    /// How it is shown.
    pub fn class(&self) -> PassageClass {
        match self.verdict {
            Verdict::Granted if self.is_plain() => PassageClass::A,
            Verdict::Granted => PassageClass::B,
            Verdict::TryAgain(_) => PassageClass::C,
            Verdict::Refused(_) => PassageClass::D,
            Verdict::OutOfService => PassageClass::E,
        }
    }

    /// Whether it is the full fare from the purse, and nothing more is to be said.
    fn is_plain(&self) -> bool {
        self.notes.is_empty() && self.paid_by().is_none() && !self.is_concession()
    }

    /// The step of the product of the card that paid, if one did.
    pub fn paid_by(&self) -> Option<&Step> {
        self.steps.iter().find(|step| {
            matches!(
                step.kind,
                StepKind::Product(
                    ProductStep::PassPays(_)
                        | ProductStep::RidePays { .. }
                        | ProductStep::Covers(_)
                )
            )
        })
    }

    /// Whether its holder rides at a reduced fare: the tariff's first category pays the full one.
    pub fn is_concession(&self) -> bool {
        self.class.is_some_and(|class| class != RiderClass(0))
    }

    /// The two digits that a rider can read to staff.
    pub fn assist_code(&self) -> Option<u8> {
        self.refusal().map(Refusal::assist_code)
    }
}
