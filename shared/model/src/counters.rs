//! What a card has counted towards fare caps: a file of its own, because a day's, a week's and a
//! month's count have no place left in the record (ADR-0013).
//!
//! Four slots of 8 bytes, integers LSB first; an empty slot is all zeros:
//!
//! | bytes | field |
//! |---|---|
//! | 0 | number of the cap in the tariff, 0 empty |
//! | 1 | scope or zone level reached in the period |
//! | 2..4 | first service day of the period, days since 2020-01-01 |
//! | 4..8 | counted, minor units |
//!
//! Nothing here knows a cap: what a slot means, only the tariff says.

use crate::ServiceDate;

/// 2020-01-01, days since 1970.
const FIRST_DAY: u32 = 18_262;

/// What one cap has counted in its running period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Counter {
    /// Number of the cap in the tariff, 1..=255.
    pub cap: u8,
    /// Scope or zone level reached in the period.
    pub level: u8,
    /// First service day of the period, days since 2020-01-01.
    pub start: u16,
    /// Minor units counted.
    pub counted: u32,
}

/// The counters file: what stands in each of its four slots. The default is a new card's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CardCounters(pub [Option<Counter>; 4]);

/// What one transaction found in the counters file and, where it changed it, wrote. Both are part
/// of what the card's proof covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CounterUse {
    /// The counters found.
    pub found: CardCounters,
    /// The counters written; `None` when they stay as they were found.
    pub written: Option<CardCounters>,
}

/// Why 32 bytes are no counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CounterError {
    /// No cap has the number 0.
    #[error("slot {0} of the card's counters names no cap and is not empty: replace the card")]
    WithoutCap(usize),
}

impl Counter {
    /// Bytes of one slot.
    pub const LEN: usize = 8;

    /// Nothing counted yet in a period that begins on this day. Days beyond what a slot can name
    /// are the nearest that it can.
    pub fn new(cap: u8, level: u8, start: ServiceDate) -> Self {
        let start = u16::try_from(start.0.saturating_sub(FIRST_DAY)).unwrap_or(u16::MAX);
        Self { cap, level, start, counted: 0 }
    }

    /// The first service day of the period.
    pub const fn start(&self) -> ServiceDate {
        ServiceDate(FIRST_DAY + self.start as u32)
    }
}

impl CardCounters {
    /// Slots of the file.
    pub const SLOTS: usize = 4;
    /// Bytes of the file.
    pub const LEN: usize = Self::SLOTS * Counter::LEN;
    /// Nothing counted.
    pub const EMPTY: Self = Self([None; Self::SLOTS]);

    /// The file's bytes.
    ///
    /// # Panics
    /// When a counter names cap 0, which no tariff has.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut b = [0; Self::LEN];
        for (slot, counter) in b.chunks_exact_mut(Counter::LEN).zip(&self.0) {
            let Some(Counter { cap, level, start, counted }) = *counter else { continue };
            assert!(cap != 0, "caps are numbered from 1");
            slot[..2].copy_from_slice(&[cap, level]);
            slot[2..4].copy_from_slice(&start.to_le_bytes());
            slot[4..].copy_from_slice(&counted.to_le_bytes());
        }
        b
    }

    /// Reads the file. Whatever a card holds is parsed, never asserted.
    pub fn from_bytes(b: &[u8; Self::LEN]) -> Result<Self, CounterError> {
        let mut counters = Self::EMPTY;
        for (n, slot) in b.chunks_exact(Counter::LEN).enumerate() {
            counters.0[n] = match (slot[0], slot) {
                (0, [0, 0, 0, 0, 0, 0, 0, 0]) => None,
                (0, _) => return Err(CounterError::WithoutCap(n + 1)),
                (cap, _) => Some(Counter {
                    cap,
                    level: slot[1],
                    start: u16::from_le_bytes([slot[2], slot[3]]),
                    counted: u32::from_le_bytes([slot[4], slot[5], slot[6], slot[7]]),
                }),
            };
        }
        Ok(counters)
    }
}

impl CounterUse {
    /// What the file holds after the transaction: what the next one has to find.
    pub fn left(&self) -> CardCounters {
        self.written.unwrap_or(self.found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden_bytes_of_the_counters_never_change() {
        let day = Counter { cap: 1, level: 2, start: 2519, counted: 1250 };
        let month = Counter { cap: 255, level: 0, start: u16::MAX, counted: u32::MAX };
        let counters = CardCounters([Some(day), None, None, Some(month)]);
        let bytes = counters.to_bytes();
        assert_eq!(CardCounters::from_bytes(&bytes), Ok(counters));
        let hex = alloc::format!("{bytes:02x?}");
        expect_test::expect!["[0102d709e204000000000000000000000000000000000000ff00ffffffffffff]"]
            .assert_eq(&hex.replace(", ", ""));
    }

    #[test]
    fn days_are_counted_from_2020() {
        let start = |start| Counter { cap: 1, level: 0, start, counted: 0 }.start().civil();
        assert_eq!((start(0), start(2519)), ((2020, 1, 1), (2026, 11, 24)));
    }

    #[test]
    fn a_new_card_has_counted_nothing() {
        assert_eq!(CardCounters::default(), CardCounters::EMPTY);
        assert_eq!(CardCounters::EMPTY.to_bytes(), [0; CardCounters::LEN]);
        assert_eq!(CardCounters::from_bytes(&[0; CardCounters::LEN]), Ok(CardCounters::EMPTY));
    }

    #[test]
    fn a_slot_without_a_cap_that_is_not_empty_is_refused_by_its_place() {
        for at in (0..CardCounters::LEN).filter(|at| at % Counter::LEN != 0) {
            let mut bytes = [0; CardCounters::LEN];
            bytes[at] = 1;
            let slot = at / Counter::LEN + 1;
            assert_eq!(CardCounters::from_bytes(&bytes), Err(CounterError::WithoutCap(slot)));
        }
    }

    #[test]
    fn what_is_left_is_what_was_written_or_else_found() {
        let counter = Counter { cap: 1, level: 0, start: 1, counted: 5 };
        let written = CardCounters([Some(counter), None, None, None]);
        let found = CardCounters::EMPTY;
        assert_eq!(CounterUse { found, written: Some(written) }.left(), written);
        assert_eq!(CounterUse { found: written, written: None }.left(), written);
    }

    proptest! {
        #[test]
        fn any_32_bytes_are_read_or_refused_and_what_is_read_is_written_back(
            bytes in proptest::array::uniform32(any::<u8>()),
        ) {
            if let Ok(counters) = CardCounters::from_bytes(&bytes) {
                prop_assert_eq!(counters.to_bytes(), bytes);
            }
        }
    }
}
