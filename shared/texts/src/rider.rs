//! The words of the rider's display and of the attendant's view (ADR-0026).

use crate::{Language, bundle};

/// A word or a short line without facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RiderWord {
    /// A boarding was accepted.
    Boarded,
    /// An entry was accepted.
    TappedIn,
    /// An exit was accepted.
    TappedOut,
    /// What the tap took.
    Fare,
    /// It took nothing.
    NoCharge,
    /// What is on the card.
    Balance,
    /// What would have to be on it besides.
    Missing,
    /// How many ride on the card.
    Riders,
    /// Two digits for staff.
    Code,
    /// What companions cost together.
    Total,
    /// What an ordered top-up brought.
    Loaded,
    /// One tap pays the ride.
    Board,
    /// Taps in.
    Entry,
    /// Taps out.
    Exit,
    /// What to do.
    HoldCard,
    /// Over the list of companions.
    Companions,
    /// A product of the card paid.
    Pass,
    /// A reduced fare was taken.
    Concession,
    /// Taps are taken.
    AttendantInService,
    /// How many were let through.
    AttendantPassengers,
    /// Over the last result.
    AttendantLast,
    /// There is none.
    AttendantNone,
    /// Which keys do what.
    AttendantKeys,
}

impl RiderWord {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::Boarded,
        Self::TappedIn,
        Self::TappedOut,
        Self::Fare,
        Self::NoCharge,
        Self::Balance,
        Self::Missing,
        Self::Riders,
        Self::Code,
        Self::Total,
        Self::Loaded,
        Self::Board,
        Self::Entry,
        Self::Exit,
        Self::HoldCard,
        Self::Companions,
        Self::Pass,
        Self::Concession,
        Self::AttendantInService,
        Self::AttendantPassengers,
        Self::AttendantLast,
        Self::AttendantNone,
        Self::AttendantKeys,
    ];

    /// The message in the files of texts.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::Boarded => "rider-boarded",
            Self::TappedIn => "rider-tapped-in",
            Self::TappedOut => "rider-tapped-out",
            Self::Fare => "rider-fare",
            Self::NoCharge => "rider-no-charge",
            Self::Balance => "rider-balance",
            Self::Missing => "rider-missing",
            Self::Riders => "rider-riders",
            Self::Code => "rider-code",
            Self::Total => "rider-total",
            Self::Loaded => "rider-loaded",
            Self::Board => "rider-board",
            Self::Entry => "rider-entry",
            Self::Exit => "rider-exit",
            Self::HoldCard => "rider-hold-card",
            Self::Companions => "rider-companions",
            Self::Pass => "rider-pass",
            Self::Concession => "rider-concession",
            Self::AttendantInService => "attendant-in-service",
            Self::AttendantPassengers => "attendant-passengers",
            Self::AttendantLast => "attendant-last",
            Self::AttendantNone => "attendant-none",
            Self::AttendantKeys => "attendant-keys",
        }
    }
}

/// A word of the display.
pub fn rider_word(language: Language, word: RiderWord) -> String {
    bundle::text(language, word.key(), None, None)
}

/// What is wrong, and what to do about it, of a text that says both with a colon between.
pub fn parts(text: &str) -> (&str, Option<&str>) {
    text.split_once(": ").map_or((text, None), |(what, todo)| (what, Some(todo)))
}
