//! Identities and counters. Each is its own type, so that none can be taken for another.

use alloc::string::{String, ToString};
use core::{fmt, str::FromStr};

/// Why an identity was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Validators are written `v` and six digits.
    #[error("{0:?} is not a validator id: write v and up to eight digits, such as v000042")]
    Validator(String),
    /// Cards are written as 14 hexadecimal digits.
    #[error("{0:?} is not a card id: write the 7 bytes of its UID as 14 hexadecimal digits")]
    Card(String),
}

/// A card, by the 7 bytes of its UID in transmission order. Never in topics, logs or metrics
/// (PRV-6): its `Debug` and `Display` show the last two bytes only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CardId(pub [u8; 7]);

impl CardId {
    /// All 14 hexadecimal digits, for stores and for screens whose access is audited.
    pub fn to_hex(self) -> String {
        use core::fmt::Write;
        self.0.iter().fold(String::with_capacity(14), |mut s, b| {
            let _ = write!(s, "{b:02x}");
            s
        })
    }
}

impl FromStr for CardId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let bad = || IdError::Card(text.to_string());
        if text.len() != 14 || !text.is_ascii() {
            return Err(bad());
        }
        let mut uid = [0; 7];
        for (i, byte) in uid.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| bad())?;
        }
        Ok(Self(uid))
    }
}

impl fmt::Display for CardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "…{:02x}{:02x}", self.0[5], self.0[6])
    }
}

impl fmt::Debug for CardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CardId({self})")
    }
}

/// A validator, by its number (24 bits, because the card's record holds three bytes of it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValidatorId(u32);

impl ValidatorId {
    /// The issuing station and the depot itself, where no validator acted.
    pub const DEPOT: Self = Self(0);

    /// From its number; `None` above 24 bits.
    pub const fn new(number: u32) -> Option<Self> {
        if number < 1 << 24 { Some(Self(number)) } else { None }
    }

    /// Its number.
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for ValidatorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{:06}", self.0)
    }
}

impl FromStr for ValidatorId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        text.strip_prefix('v')
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok())
            .and_then(Self::new)
            .ok_or_else(|| IdError::Validator(text.to_string()))
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number!(
    /// The card's transaction counter (TMC). It moves by one with every committed transaction.
    Ctr(u32)
);
number!(
    /// A validator's number for a tap: contiguous within an epoch, from 1.
    TapSeq(u64)
);
number!(
    /// One life of a validator's tap log. A new one begins when the log was lost, so that a number
    /// once seen outside is never used again.
    Epoch(u32)
);
number!(
    /// The card's load counter: how many top-ups were written to it.
    LoadSeq(u16)
);
number!(
    /// A version of the tariff; higher is newer.
    TariffVersion(u16)
);
number!(
    /// A stop or station, by its index in the tariff's table of places.
    PlaceIx(u16)
);
number!(
    /// A route, by its index in the tariff's table of routes.
    RouteIx(u16)
);
number!(
    /// A rider category, by its index in the tariff's table; 0 is the default (adult). At most 15.
    RiderClass(u8)
);
number!(
    /// An issuing and loading desk, by its number in the depot's configuration.
    StationId(u16)
);
number!(
    /// Who takes money for load orders: an agent, a kiosk, a payment provider, an employer's file;
    /// by its number in the depot's configuration.
    ChannelId(u16)
);
number!(
    /// Who issued a card and owes its holder what is on it, by its number in the depot's
    /// configuration. The books name none where it is the one that they began with.
    IssuerId(u16)
);
number!(
    /// A service operator, by its index in the tariff's table.
    OperatorId(u16)
);

impl TapSeq {
    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl ChannelId {
    /// Nobody took money: the order puts on the card what its holder is owed (ADR-0014).
    pub const ADJUSTMENT: Self = Self(0);
}

impl PlaceIx {
    /// "No place known", as the card's record writes it.
    pub const NONE: Self = Self(u16::MAX);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_as_written_and_refuse_the_rest() {
        let v = ValidatorId::new(42).unwrap();
        assert_eq!(v.to_string().parse(), Ok(v));
        for bad in ["", "42", "v", "v-1", "v16777216", "v1x"] {
            assert!(bad.parse::<ValidatorId>().is_err(), "{bad}");
        }
        let c = CardId([4, 0xa1, 0xb2, 0xc3, 0xd4, 0xe5, 0xf6]);
        assert_eq!(c.to_hex().parse(), Ok(c));
        assert!("04a1".parse::<CardId>().is_err());
    }

    #[test]
    fn a_card_number_does_not_leak_through_formatting() {
        let c = CardId([4, 0xa1, 0xb2, 0xc3, 0xd4, 0xe5, 0xf6]);
        assert_eq!(alloc::format!("{c} {c:?}"), "…e5f6 CardId(…e5f6)");
    }
}
