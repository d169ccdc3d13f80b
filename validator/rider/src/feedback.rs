//! What a passage looks and sounds like: the five classes of feedback, decided once for every
//! display, lamp and sounder (ADR-0026; reference, operators and riders §4.2).
//!
//! Invariants: classes differ in shape, in colour and in rhythm, so that no one of them is needed
//! to tell them apart; no lamp blinks faster than three times a second; every tone lies between
//! 0.5 and 3 kHz; nothing here knows a card's number.

use std::time::Duration;

use fare::{CapProgress, Step};
use model::{Money, Note, ProductKind, Refusal, TapRole};
use texts::{
    Language, Phrase, RiderWord, amount_text, cap_text, exchange_text, note_text, parts,
    phrase_text, refusal_text, rider_word, step_label, step_text,
};
use validation::{Loaded, Passage, PassageClass};

use crate::{
    lamps::{self, Lamps},
    sound::{self, Sound, Tone},
    timeline::Timeline,
};

/// How riders are answered here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manner {
    /// Their language.
    pub language: Language,
    /// What a tap does here.
    pub role: TapRole,
    /// Nothing that bystanders may not know: no balance and no rider category on the screen, and
    /// one sound for all.
    pub private: bool,
}

/// What is drawn largest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// ✓
    Tick,
    /// ↻
    Again,
    /// ✗
    Cross,
    /// ⃠
    Closed,
}

/// The answer to one presentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feedback {
    /// Its class.
    pub class: PassageClass,
    /// What it is, in a few words.
    pub headline: String,
    /// What to do.
    pub action: Option<String>,
    /// Two digits for staff, with the word before them.
    pub code: Option<(String, String)>,
    /// Amounts, the most important first.
    pub figures: Vec<Figure>,
    /// On the amber band of class B.
    pub note: Option<String>,
    /// How far the caps have come.
    pub caps: Vec<CapBar>,
    /// Why it cost that.
    pub lines: Vec<String>,
    /// The next tap ends it before.
    pub hold: Duration,
    /// From the moment of the answer.
    pub lamps: Timeline<Lamps>,
    /// From the moment of the answer.
    pub sound: Timeline<Option<Tone>>,
}

/// A word and an amount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figure {
    /// Of what; empty when the value says it.
    pub label: String,
    /// How much.
    pub value: String,
}

/// One fare cap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapBar {
    /// In words.
    pub text: String,
    /// Of its length, in thousandths.
    pub filled: u32,
}

/// Who rides on the next card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Over the list.
    pub headline: String,
    /// A line for each category, with its amount.
    pub figures: Vec<Figure>,
    /// What they cost together.
    pub total: Option<Figure>,
}

impl Feedback {
    /// Of a passage.
    pub fn of(passage: &Passage, manner: &Manner) -> Self {
        let class = class_of(passage, manner);
        let language = manner.language;
        let refusal = passage.refusal();
        let (headline, action) = match refusal {
            Some(reason) => split(&refusal_text(language, reason)),
            None => (accepted(manner), None),
        };
        let sound = sound::of(sound_of(passage, class));
        // They name the rider category.
        let hides_why = manner.private && passage.is_concession();
        let code = |code: u8| (rider_word(language, RiderWord::Code), format!("{code:02}"));
        Self {
            class,
            headline,
            action,
            code: passage.assist_code().map(code),
            figures: figures(passage, manner),
            note: note(passage, language).filter(|_| class == PassageClass::B),
            caps: passage.caps.iter().map(|cap| bar(language, cap)).collect(),
            lines: if hides_why { Vec::new() } else { lines(passage, language) },
            hold: hold(class),
            lamps: lamps::of(class),
            sound,
        }
    }

    /// Of a validator that takes no taps.
    pub fn closed(language: Language) -> Self {
        let (headline, action) = split(&refusal_text(language, Refusal::OutOfService));
        Self {
            class: PassageClass::E,
            headline,
            action,
            code: None,
            figures: Vec::new(),
            note: None,
            caps: Vec::new(),
            lines: Vec::new(),
            hold: hold(PassageClass::E),
            lamps: lamps::of(PassageClass::E),
            sound: sound::of(Sound::Silence),
        }
    }

    /// What is drawn largest.
    pub const fn shape(&self) -> Shape {
        match self.class {
            PassageClass::A | PassageClass::B => Shape::Tick,
            PassageClass::C => Shape::Again,
            PassageClass::D => Shape::Cross,
            PassageClass::E => Shape::Closed,
        }
    }
}

impl Choice {
    /// Of companions that were chosen; `None` when nobody is.
    pub fn of(steps: &[Step], language: Language) -> Option<Self> {
        let first = steps.first()?;
        let figure = |step: &Step| Figure {
            label: step_text(language, step),
            value: amount_text(language, step.amount),
        };
        let sum = steps.iter().map(|step| step.amount.minor()).sum();
        let sum = Money::new(sum, first.amount.currency());
        let total = Figure {
            label: rider_word(language, RiderWord::Total),
            value: amount_text(language, sum),
        };
        Some(Self {
            headline: rider_word(language, RiderWord::Companions),
            figures: steps.iter().map(figure).collect(),
            total: (steps.len() > 1).then_some(total),
        })
    }
}

/// How long an answer stays when no tap follows.
const fn hold(class: PassageClass) -> Duration {
    Duration::from_millis(match class {
        PassageClass::A => 1_000,
        PassageClass::B => 1_200,
        PassageClass::C => 1_500,
        PassageClass::D | PassageClass::E => 2_500,
    })
}

fn split(text: &str) -> (String, Option<String>) {
    let (what, action) = parts(text);
    (what.to_owned(), action.map(capital))
}

fn accepted(manner: &Manner) -> String {
    rider_word(
        manner.language,
        match manner.role {
            TapRole::Board => RiderWord::Boarded,
            TapRole::Entry => RiderWord::TappedIn,
            TapRole::Exit => RiderWord::TappedOut,
        },
    )
}

fn figures(passage: &Passage, manner: &Manner) -> Vec<Figure> {
    let language = manner.language;
    let word = |word| rider_word(language, word);
    let amount = |label, amount: Money| Figure { label, value: amount_text(language, amount) };
    let mut figures = Vec::new();
    if passage.is_granted() {
        figures.push(match passage.paid_by() {
            Some(step) if passage.charge.minor() == 0 => {
                Figure { label: String::new(), value: step_label(language, step) }
            }
            _ if passage.charge.minor() == 0 => {
                Figure { label: String::new(), value: word(RiderWord::NoCharge) }
            }
            _ => amount(word(RiderWord::Fare), passage.charge),
        });
    }
    if let Some(missing) = passage.missing.filter(|_| !manner.private) {
        figures.push(amount(word(RiderWord::Missing), missing));
    }
    if let Some(balance) = passage.balance.filter(|_| !manner.private) {
        figures.push(amount(word(RiderWord::Balance), balance));
    }
    if passage.is_granted() && passage.riders() > 1 {
        let value = passage.riders().to_string();
        figures.push(Figure { label: word(RiderWord::Riders), value });
    }
    match passage.loaded {
        Some(Loaded::Value(value)) => figures.push(amount(word(RiderWord::Loaded), value)),
        Some(Loaded::Product(sale)) => {
            let phrase = match sale.product.kind {
                ProductKind::Pass => Phrase::PassLoaded(sale.product.id),
                ProductKind::Rides => Phrase::RidesLoaded(sale.product.id, sale.rides),
            };
            let value = capital(&phrase_text(language, &phrase));
            figures.push(Figure { label: String::new(), value });
        }
        None => {}
    }
    figures
}

fn lines(passage: &Passage, language: Language) -> Vec<String> {
    let line = |step: &Step| {
        let (text, amount) = (step_text(language, step), amount_text(language, step.amount));
        format!("{text} {amount}")
    };
    let exchanged = passage.exchanged.as_ref().map(|e| exchange_text(language, e));
    passage.steps.iter().map(line).chain(exchanged).collect()
}

fn bar(language: Language, cap: &CapProgress) -> CapBar {
    let limit = cap.limit.minor().max(1);
    let filled = cap.counted.minor().clamp(0, limit).saturating_mul(1_000) / limit;
    CapBar { text: cap_text(language, cap), filled: u32::try_from(filled).unwrap_or(0) }
}

/// Whoever has a pass or a reduced fare looks and sounds like everybody else where bystanders may
/// not know it.
fn class_of(passage: &Passage, manner: &Manner) -> PassageClass {
    let class = passage.class();
    let is_hidden = manner.private && passage.notes.is_empty();
    if class == PassageClass::B && is_hidden { PassageClass::A } else { class }
}

/// What is said on the band of class B: first what asks the rider to do something.
fn note(passage: &Passage, language: Language) -> Option<String> {
    if let Some(note) = passage.notes.first() {
        return Some(note_text(language, *note));
    }
    let word = if passage.paid_by().is_some() { RiderWord::Pass } else { RiderWord::Concession };
    passage.is_granted().then(|| rider_word(language, word))
}

fn sound_of(passage: &Passage, class: PassageClass) -> Sound {
    let attention = passage.notes.iter().any(|note| is_about_money(*note));
    match class {
        PassageClass::A => Sound::Once,
        PassageClass::B if attention => Sound::Thrice,
        PassageClass::B => Sound::Twice,
        PassageClass::C => Sound::Again,
        PassageClass::D => Sound::Refused,
        PassageClass::E => Sound::Silence,
    }
}

/// What a rider should hear before the money or the product is gone.
const fn is_about_money(note: Note) -> bool {
    match note {
        Note::MissingTapOut
        | Note::ProductEnded
        | Note::ProductNotYetValid
        | Note::ProductNotHere
        | Note::RidesUsedUp
        | Note::LastRide
        | Note::ProductUnknown
        | Note::LowBalance => true,
        Note::EarlierTapFinished | Note::Transfer => false,
    }
}

/// The same with a large first letter, where a language has them.
pub(crate) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
