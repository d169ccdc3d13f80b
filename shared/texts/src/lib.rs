//! What riders read, in their language: explained charges, refusals, notes, the validator's screen.
//!
//! The words stand in `en.ftl` and `ko.ftl`, compiled in; code names a message and gives its facts.
//! Validator and dashboard share them, so a charge reads the same on the pole and at the desk. A
//! core of texts, not of decisions: it uses `std` because `fluent-bundle` does, and still reads no
//! clock, no file and no socket.

mod amount;
mod bundle;
mod language;
mod rider;

#[cfg(test)]
mod tests;

use fare::{CapPeriod, CapProgress, Exchanged, Param, Step};
use fluent_bundle::{FluentArgs, FluentValue};
use model::{Money, Note, Refusal, ServiceDate};

pub use amount::amount_text;
pub use language::{Language, UnknownLanguage};
pub use rider::{RiderWord, parts, rider_word};

/// One line that explains a step.
pub fn step_text(language: Language, step: &Step) -> String {
    bundle::text(language, step.key(), None, Some(&arguments(language, step)))
}

/// What kind of step it is, in a word or two, for a table.
pub fn step_label(language: Language, step: &Step) -> String {
    bundle::text(language, step.key(), Some("label"), None)
}

/// How far a card has come towards a cap, as its rider reads it at once (USR-1).
pub fn cap_text(language: Language, progress: &CapProgress) -> String {
    cap(language, progress, None)
}

/// The same in a history, where the day may have gone.
pub fn past_cap_text(language: Language, progress: &CapProgress) -> String {
    cap(language, progress, Some("past"))
}

fn cap(language: Language, progress: &CapProgress, form: Option<&str>) -> String {
    let CapProgress { name, period, counted, limit } = progress;
    let mut facts = FluentArgs::new();
    facts.set("name", name.to_string());
    facts.set("counted", amount_text(language, *counted));
    facts.set("limit", amount_text(language, *limit));
    let key = match period {
        CapPeriod::Day => "cap-day",
        CapPeriod::Week(_) => "cap-week",
        CapPeriod::Month => "cap-month",
        CapPeriod::Rolling(days) => {
            facts.set("days", *days);
            "cap-rolling"
        }
    };
    bundle::text(language, key, form, Some(&facts))
}

/// One sentence for the rider: what is wrong and what to do (USR-9).
pub fn refusal_text(language: Language, refusal: Refusal) -> String {
    bundle::text(language, &format!("refusal-{}", refusal.word()), None, None)
}

/// One sentence for the rider after an accepted tap.
pub fn note_text(language: Language, note: Note) -> String {
    bundle::text(language, &format!("note-{}", note.word()), None, None)
}

/// How a charge became what was taken off a purse in another currency.
pub fn exchange_text(language: Language, exchanged: &Exchanged) -> String {
    let Exchanged { charge, debit, rate, since, rounding, unit } = exchanged;
    let mut facts = FluentArgs::new();
    facts.set("charge", amount_text(language, *charge));
    facts.set("debit", amount_text(language, *debit));
    facts.set("rate", format!("{rate} {}", debit.currency()));
    facts.set("one", format!("1 {}", charge.currency()));
    facts.set("date", date_text(language, *since));
    facts.set("rounding", rounding.word());
    // The smallest amount that the currency has needs no words.
    let form = (unit.minor() != 1).then_some("unit");
    if form.is_some() {
        facts.set("unit", amount_text(language, *unit));
    }
    bundle::text(language, "exchange", form, Some(&facts))
}

/// A date in full.
pub fn date_text(language: Language, date: ServiceDate) -> String {
    let (year, month, day) = date.civil();
    let mut facts = FluentArgs::new();
    for (name, number) in [("year", year), ("month", month), ("day", day)] {
        facts.set(name, number);
    }
    bundle::text(language, "date", None, Some(&facts))
}

/// A phrase of the validator's screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phrase<'a> {
    /// The tap is accepted, at this charge.
    Accepted(Money),
    /// The same for several riders on one card.
    AcceptedRiders(Money, u32),
    /// The next card pays for others too.
    Companions,
    /// The next card pays for its holder alone.
    NoCompanions,
    /// So much more stored value would do.
    Missing(Money),
    /// The two digits that a rider can read to staff.
    Code(u8),
    /// What is on the card now.
    Balance(Money),
    /// A top-up that was ordered was put on the card.
    Loaded(Money),
    /// A pass that was ordered was put on the card: this product.
    PassLoaded(u16),
    /// Rides that were ordered were put on the card: of this product, so many.
    RidesLoaded(u16, u16),
    /// No taps are taken; the reason is for staff and stays in English.
    OutOfService(&'a str),
    /// Taps are taken again.
    InService,
}

/// A phrase of the validator's screen, in words.
pub fn phrase_text(language: Language, phrase: &Phrase<'_>) -> String {
    let mut facts = FluentArgs::new();
    let key = match phrase {
        Phrase::Accepted(charge) => {
            facts.set("charge", amount_text(language, *charge));
            "screen-accepted"
        }
        Phrase::AcceptedRiders(charge, riders) => {
            facts.set("charge", amount_text(language, *charge));
            facts.set("riders", *riders);
            "screen-accepted-riders"
        }
        Phrase::Companions => "screen-companions",
        Phrase::NoCompanions => "screen-no-companions",
        Phrase::Missing(amount) => {
            facts.set("amount", amount_text(language, *amount));
            "screen-missing"
        }
        Phrase::Code(code) => {
            facts.set("code", format!("{code:02}"));
            "screen-code"
        }
        Phrase::Balance(balance) => {
            facts.set("balance", amount_text(language, *balance));
            "screen-balance"
        }
        Phrase::Loaded(amount) => {
            facts.set("amount", amount_text(language, *amount));
            "screen-loaded"
        }
        Phrase::PassLoaded(product) => {
            facts.set("product", *product);
            "screen-pass-loaded"
        }
        Phrase::RidesLoaded(product, rides) => {
            facts.set("product", *product);
            facts.set("rides", *rides);
            "screen-rides-loaded"
        }
        Phrase::OutOfService(reason) => {
            facts.set("reason", *reason);
            "screen-out-of-service"
        }
        Phrase::InService => "screen-in-service",
    };
    bundle::text(language, key, None, Some(&facts))
}

/// A sentence about what a card is owed for fares that were charged too high.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DueText<'a> {
    /// What was charged, and what is right.
    Priced {
        /// By the card's taps.
        charged: Money,
        /// By everything known.
        fare: Money,
    },
    /// A missed tap-out was taken to have been where the rider's journeys end.
    Repaired {
        /// Where the journey began.
        from: &'a str,
        /// Where it is taken to have ended.
        to: &'a str,
        /// So many of the rider's journeys from there ended so.
        ended: u32,
        /// Of so many.
        of: u32,
        /// In so many days.
        days: u32,
    },
    /// A gate let nobody pass, and the tariff gives back.
    NotPassed,
    /// Owed and not on the card.
    Open(Money),
    /// Set apart for a load whose outcome is not known.
    Held(Money),
    /// On the card.
    Paid(Money),
    /// On the card beyond what is owed by now.
    Forgiven(Money),
}

/// What a card is owed, in words.
pub fn due_text(language: Language, due: &DueText<'_>) -> String {
    let mut facts = FluentArgs::new();
    let amount = |amount: Money| amount_text(language, amount);
    let (key, of) = match due {
        DueText::Priced { charged, fare } => {
            facts.set("charged", amount(*charged));
            facts.set("fare", amount(*fare));
            ("due-priced", None)
        }
        DueText::Repaired { from, to, ended, of, days } => {
            facts.set("from", *from);
            facts.set("to", *to);
            facts.set("ended", *ended);
            facts.set("of", *of);
            facts.set("days", *days);
            ("due-repaired", None)
        }
        DueText::NotPassed => ("due-not-passed", None),
        DueText::Open(amount) => ("due-open", Some(amount)),
        DueText::Held(amount) => ("due-held", Some(amount)),
        DueText::Paid(amount) => ("due-paid", Some(amount)),
        DueText::Forgiven(amount) => ("due-forgiven", Some(amount)),
    };
    if let Some(of) = of {
        facts.set("amount", amount(*of));
    }
    bundle::text(language, key, None, Some(&facts))
}

/// A step's facts as Fluent takes them: numbers stay numbers, so that a language can choose a
/// plural form; amounts are words already, because their style belongs to the currency.
fn arguments(language: Language, step: &Step) -> FluentArgs<'static> {
    let facts = step.params().into_iter().map(|(name, value)| {
        let value: FluentValue<'static> = match value {
            Param::Text(text) => text.to_string().into(),
            Param::Amount(amount) => amount_text(language, amount).into(),
            Param::Seconds(n) | Param::Count(n) => n.into(),
        };
        (name, value)
    });
    facts.collect()
}
