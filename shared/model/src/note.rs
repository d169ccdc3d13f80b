//! What a rider should know after an accepted tap.

/// What else the rider should know, in the order of showing. In words: `tapline-texts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Note {
    /// The tap before was finished; nothing was charged a second time.
    EarlierTapFinished,
    /// A journey before this one had no tap-out and was charged.
    MissingTapOut,
    /// A transfer made this ride cheaper.
    Transfer,
    /// A product on the card is no longer valid.
    ProductEnded,
    /// A product on the card is not valid yet.
    ProductNotYetValid,
    /// A product on the card is not valid for this ride.
    ProductNotHere,
    /// A product on the card has no ride left.
    RidesUsedUp,
    /// This was the last ride of a product.
    LastRide,
    /// A product on the card was written by a later release.
    ProductUnknown,
    /// Little is left on the card.
    LowBalance,
}

impl Note {
    /// All of them, in the order of showing.
    pub const ALL: [Self; 10] = [
        Self::EarlierTapFinished,
        Self::MissingTapOut,
        Self::Transfer,
        Self::ProductEnded,
        Self::ProductNotYetValid,
        Self::ProductNotHere,
        Self::RidesUsedUp,
        Self::LastRide,
        Self::ProductUnknown,
        Self::LowBalance,
    ];

    /// The word by which its text is found; stable, because translations hang on it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::EarlierTapFinished => "earlier-tap-finished",
            Self::MissingTapOut => "missing-tap-out",
            Self::Transfer => "transfer",
            Self::ProductEnded => "product-ended",
            Self::ProductNotYetValid => "product-not-yet-valid",
            Self::ProductNotHere => "product-not-here",
            Self::RidesUsedUp => "rides-used-up",
            Self::LastRide => "last-ride",
            Self::ProductUnknown => "product-unknown",
            Self::LowBalance => "low-balance",
        }
    }
}
