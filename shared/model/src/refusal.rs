//! Why a tap was refused, in the order in which the reasons are tested.

/// A refusal is a normal outcome that the rider sees, not an error. Variants stand in order of
/// precedence: when several hold, the first is reported. Each has a two-digit assist code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// More than one card in the field: none is charged (USR-8).
    SeveralCards,
    /// The card could not be read, left the field, or answered out of time before the write.
    Unreadable,
    /// It answered later than an honest card does: perhaps through a relay (SEC-5). Nothing else it
    /// said counts, so this stands right behind a card that could not be read.
    TooSlow,
    /// Not a card of this issuer, or its authentication failed.
    ForeignCard,
    /// On the hotlist.
    Hotlisted,
    /// The card's validity has ended.
    CardExpired,
    /// The card's contents contradict themselves or its layout is not known here.
    CardDataInvalid,
    /// No fare is known from here, or for this rider, now.
    NotValidHere,
    /// The ticket holds elsewhere, not yet, or no more.
    TicketNotValid,
    /// Tapped in again at the same place within the pass-back window.
    DoubleEntry,
    /// The ticket's ride was taken here before.
    TicketUsed,
    /// Tapped out without a journey to end.
    NoEntry,
    /// The card's purse is in a currency for which the tariff gives no rate on this day.
    CurrencyNotTaken,
    /// The stored value does not cover what this tap needs.
    InsufficientValue,
    /// The validator may not take taps: its lists are too old or its store is unsafe (OPS-6).
    OutOfService,
}

impl Refusal {
    /// All reasons, in order of precedence.
    pub const ALL: [Self; 15] = [
        Self::SeveralCards,
        Self::Unreadable,
        Self::TooSlow,
        Self::ForeignCard,
        Self::Hotlisted,
        Self::CardExpired,
        Self::CardDataInvalid,
        Self::NotValidHere,
        Self::TicketNotValid,
        Self::DoubleEntry,
        Self::TicketUsed,
        Self::NoEntry,
        Self::CurrencyNotTaken,
        Self::InsufficientValue,
        Self::OutOfService,
    ];

    /// Two digits that a rider can read to staff, after the London codes where one exists
    /// (07 unreadable, 11 expired, 18 not valid here, 21 double entry, 24 insufficient value,
    /// 63 hotlisted).
    pub const fn assist_code(self) -> u8 {
        match self {
            Self::SeveralCards => 41,
            Self::Unreadable => 7,
            Self::TooSlow => 45,
            Self::ForeignCard => 10,
            Self::Hotlisted => 63,
            Self::CardExpired => 11,
            Self::CardDataInvalid => 8,
            Self::NotValidHere => 18,
            Self::TicketNotValid => 47,
            Self::DoubleEntry => 21,
            Self::TicketUsed => 46,
            Self::NoEntry => 22,
            Self::CurrencyNotTaken => 48,
            Self::InsufficientValue => 24,
            Self::OutOfService => 90,
        }
    }

    /// From an assist code.
    pub fn from_assist_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.assist_code() == code)
    }

    /// The word used in logs, metrics, the API and tests.
    pub const fn word(self) -> &'static str {
        match self {
            Self::SeveralCards => "several-cards",
            Self::Unreadable => "unreadable",
            Self::TooSlow => "too-slow",
            Self::ForeignCard => "foreign-card",
            Self::Hotlisted => "hotlisted",
            Self::CardExpired => "card-expired",
            Self::CardDataInvalid => "card-data-invalid",
            Self::NotValidHere => "not-valid-here",
            Self::TicketNotValid => "ticket-not-valid",
            Self::DoubleEntry => "double-entry",
            Self::TicketUsed => "ticket-used",
            Self::NoEntry => "no-entry",
            Self::CurrencyNotTaken => "currency-not-taken",
            Self::InsufficientValue => "insufficient-value",
            Self::OutOfService => "out-of-service",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assist_codes_are_two_digits_unique_and_read_back() {
        for (i, r) in Refusal::ALL.into_iter().enumerate() {
            assert!(r.assist_code() < 100);
            assert_eq!(Refusal::from_assist_code(r.assist_code()), Some(r));
            assert!(Refusal::ALL[..i].iter().all(|earlier| *earlier < r), "precedence of {r:?}");
        }
    }
}
