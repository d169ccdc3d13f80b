//! The versions of messages, and which of them an end speaks.

use alloc::vec::Vec;
use core::fmt;

/// A version of the envelope. All are read for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MessageVersion {
    /// Signed.
    V1,
    /// Signed, with the names of both keys.
    V2,
    /// As version 2, and sealed for its receiver.
    V3,
}

/// The versions that an end reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions(u8);

impl MessageVersion {
    /// All, ascending.
    pub const ALL: [Self; 3] = [Self::V1, Self::V2, Self::V3];

    /// As messages say it.
    pub const fn number(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }

    /// `None` when this software does not know it.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::V1),
            2 => Some(Self::V2),
            3 => Some(Self::V3),
            _ => None,
        }
    }
}

impl fmt::Display for MessageVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number())
    }
}

impl Versions {
    /// What software reads that is older than the others.
    pub const FIRST: Self = Self(1 << 1);
    /// What this software reads.
    pub const ALL: Self = Self(1 << 1 | 1 << 2 | 1 << 3);

    /// Whether `version` is read.
    pub const fn has(self, version: MessageVersion) -> bool {
        self.0 & 1 << version.number() != 0
    }

    /// Those known here, ascending.
    pub(crate) fn numbers(self) -> Vec<u8> {
        let known = MessageVersion::ALL.into_iter().filter(|version| self.has(*version));
        known.map(MessageVersion::number).collect()
    }

    /// From what a message says; those not known here are passed over. Nothing said is the first.
    pub(crate) fn read(numbers: &[u8]) -> Self {
        let known = numbers.iter().filter_map(|number| MessageVersion::from_number(*number));
        Self(known.fold(Self::FIRST.0, |bits, version| bits | 1 << version.number()))
    }

    pub(crate) fn is_first(self) -> bool {
        self == Self::FIRST
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, number) in self.numbers().into_iter().enumerate() {
            write!(f, "{}{number}", if n == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}
