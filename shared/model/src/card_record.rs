//! The card's newest log record: at once its log, its state and its evidence (ADR-0002).
//!
//! Every committed transaction appends one record of 32 bytes, in the same card transaction as
//! the debit. So the newest record tells the counter, the balance and the journey, and a lost
//! answer to a commit is decided by reading it again.
//!
//! Layouts 1 to 6, integers LSB first. Layout 2 is layout 1 on a card that has the counters file
//! (ADR-0013), layout 3 is layout 2 on a card whose purse is in another currency (ADR-0019).
//! Layouts 4 to 6 are 1 to 3 on a card that ends with a day (ADR-0031): the upper five bits of the
//! amount are that day of the month.
//!
//! | bytes | field |
//! |---|---|
//! | 0 | layout in the high nibble, bit 3: the card carries products, kind in bits 0..3 |
//! | 1..4 | ctr: the TMC that the commit of this record returned; on a card that carries products \
//! the upper four bits say what was used of them instead: rides taken, then the pass's slot |
//! | 4..8 | balance after, signed, minor units |
//! | 8..11 | amount of this transaction, minor units; in layouts 4 to 6 its lower 19 bits, and \
//! above them the day of the month with which the card ends |
//! | 11..15 | time, seconds since 1970 |
//! | 15..18 | validator |
//! | 18..20 | place, FFFF = none |
//! | 20..22 | `load_seq` |
//! | 22..24 | tariff version |
//! | 24 | valid until: months since January 2025, FF = no end |
//! | 25 | rider class in the high nibble, legs of the transfer run in the low nibble (0 = no run) |
//! | 26..29 | paid so far in the run, minor units |
//! | 29..31 | age of the run's first boarding at `time`, seconds |
//! | 31 | group that the run is in |

use crate::{
    Ctr, LoadSeq, PlaceIx, ProductUse, RiderClass, TariffVersion, Timestamp, ValidUntil,
    ValidatorId,
};

/// What a card transaction was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordKind {
    /// Personalised: the opening record, with the opening balance.
    Issue,
    /// One tap pays the ride (bus).
    Board,
    /// Tapped in at a gate; a journey is open.
    Entry,
    /// Tapped out; the journey is paid.
    Exit,
    /// Topped up.
    Load,
    /// Taken out of use: the value that was left was taken off. No tap follows.
    Retire,
    /// Topped up while a journey is open: place, time, validator, tariff and run are the entry's,
    /// so that the journey goes on.
    LoadInJourney,
}

impl RecordKind {
    /// Whether value was added to a card in use.
    pub const fn is_load(self) -> bool {
        matches!(self, Self::Load | Self::LoadInJourney)
    }

    /// Whether a card that ends with it is on a journey that was tapped in.
    pub const fn is_in_journey(self) -> bool {
        matches!(self, Self::Entry | Self::LoadInJourney)
    }
}

/// The run of rides that one transfer right ties together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransferRun {
    /// Rides so far, 1..=15.
    pub legs: u8,
    /// Paid so far in the run, minor units, below 2^24.
    pub paid: u32,
    /// Seconds from the run's first boarding to this record's time.
    pub age_s: u16,
    /// The tariff's group of the last leg.
    pub group: u8,
}

/// One record of the card's log; the newest is the card's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CardRecord {
    /// What happened.
    pub kind: RecordKind,
    /// The transaction counter after this commit (TMC): 24 bits, on a card that carries products
    /// 20 bits.
    pub ctr: Ctr,
    /// Stored value after this transaction, minor units.
    pub balance: i32,
    /// Amount debited (Board, Entry, Exit, Retire), loaded (Load, `LoadInJourney`) or opened with
    /// (Issue); at most [`CardRecord::amount_max`].
    pub amount: u32,
    /// When, seconds since 1970, by the validator's clock.
    pub at_s: u32,
    /// Who wrote it.
    pub validator: ValidatorId,
    /// Where.
    pub place: PlaceIx,
    /// Loads so far.
    pub load_seq: LoadSeq,
    /// The tariff that priced it; an open journey ends under it.
    pub tariff: TariffVersion,
    /// End of the card's validity.
    pub valid_until: ValidUntil,
    /// Rider category, 0..=15.
    pub class: RiderClass,
    /// Transfer right, when one is running.
    pub run: Option<TransferRun>,
    /// What this transaction used of the card's products; `None` on a card that carries none,
    /// whose products file nobody needs to read.
    pub products: Option<ProductUse>,
    /// Which files the card has, and which of them say more than this record.
    pub layout: CardLayout,
}

/// What a card is besides its newest record, which says so in its first nibble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum CardLayout {
    /// 1: a purse in the tariff's currency, no counters file.
    #[default]
    Plain,
    /// 2: the same with the counters file (ADR-0013).
    Counters,
    /// 3: with the counters file, and the purse's currency is what the profile says (ADR-0019).
    OtherCurrency,
}

impl CardLayout {
    /// Whether the card has the counters file.
    pub const fn has_counters(self) -> bool {
        matches!(self, Self::Counters | Self::OtherCurrency)
    }

    /// Whether only the card's profile says what currency its purse is in.
    pub const fn profile_names_currency(self) -> bool {
        matches!(self, Self::OtherCurrency)
    }

    /// The first nibble of a record, of a card that ends with a day or not.
    const fn nibble(self, until_day: bool) -> u8 {
        let files = match self {
            Self::Plain => 1,
            Self::Counters => 2,
            Self::OtherCurrency => 3,
        };
        if until_day { files + DAY_LAYOUTS } else { files }
    }

    /// With whether the card ends with a day.
    const fn from_nibble(nibble: u8) -> Option<(Self, bool)> {
        Some(match nibble {
            1 => (Self::Plain, false),
            2 => (Self::Counters, false),
            3 => (Self::OtherCurrency, false),
            4 => (Self::Plain, true),
            5 => (Self::Counters, true),
            6 => (Self::OtherCurrency, true),
            _ => return None,
        })
    }
}

/// Why 32 bytes are no record, or a record has no bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Written by a newer layout.
    #[error("card record layout {0} is not known here")]
    UnknownLayout(u8),
    /// The kind nibble is unassigned.
    #[error("card record kind {0} is not known here")]
    UnknownKind(u8),
    /// A transfer run with no legs but with other contents.
    #[error("card record has a transfer run without legs")]
    RunWithoutLegs,
    /// The nibble that says what was used of the card's products is unassigned.
    #[error("card record names no product slot")]
    UnknownProductSlot,
    /// The day of the month with which the card ends is none of that month.
    #[error("card record ends with a day that its month does not have")]
    NoSuchDay,
    /// A value is too big for its place on the card.
    #[error("{0} does not fit into the card record")]
    TooBig(&'static str),
}

const U24_MAX: u32 = (1 << 24) - 1;
const U20_MAX: u32 = (1 << 20) - 1;
/// Of an amount that shares its bytes with a day of the month.
const U19_MAX: u32 = (1 << 19) - 1;
/// From a layout to that of the same files on a card that ends with a day.
const DAY_LAYOUTS: u8 = 3;
/// Bit of byte 0 that says that the card carries products.
const PRODUCTS: u8 = 0x08;

impl CardRecord {
    /// Bytes of a record on the card and on the wire.
    pub const LEN: usize = 32;
    /// The largest amount and the largest `paid` a record of any card can hold, minor units.
    pub const AMOUNT_MAX: u32 = U24_MAX;

    /// The largest amount that a record of this card can hold, minor units.
    pub const fn amount_max(&self) -> u32 {
        match self.valid_until {
            ValidUntil::Month(_) | ValidUntil::Always => Self::AMOUNT_MAX,
            ValidUntil::Day { .. } => U19_MAX,
        }
    }

    /// The largest counter that a record of this card can hold.
    pub const fn ctr_max(&self) -> u32 {
        match self.products {
            None => U24_MAX,
            Some(_) => U20_MAX,
        }
    }

    /// When it was written.
    pub const fn at(&self) -> Timestamp {
        Timestamp::from_secs(self.at_s as u64)
    }

    /// How this transaction moved the stored value: debits negative, loads and issue positive.
    pub fn delta(&self) -> i64 {
        match self.kind {
            RecordKind::Issue | RecordKind::Load | RecordKind::LoadInJourney => {
                i64::from(self.amount)
            }
            RecordKind::Board | RecordKind::Entry | RecordKind::Exit | RecordKind::Retire => {
                -i64::from(self.amount)
            }
        }
    }

    /// Stored value before this transaction, minor units.
    pub fn balance_before(&self) -> i64 {
        i64::from(self.balance) - self.delta()
    }

    /// The 32 bytes of its layout.
    pub fn to_bytes(&self) -> Result<[u8; Self::LEN], RecordError> {
        let kind = match self.kind {
            RecordKind::Issue => 0,
            RecordKind::Board => 1,
            RecordKind::Entry => 2,
            RecordKind::Exit => 3,
            RecordKind::Load => 4,
            RecordKind::Retire => 5,
            RecordKind::LoadInJourney => 6,
        };
        if self.class.0 > 15 {
            return Err(RecordError::TooBig("rider class"));
        }
        let run = self.run.unwrap_or(TransferRun { legs: 0, paid: 0, age_s: 0, group: 0 });
        if run.legs > 15 {
            return Err(RecordError::TooBig("legs of the transfer run"));
        }
        if self.run.is_some() && run.legs == 0 {
            return Err(RecordError::RunWithoutLegs);
        }
        let (months, day) = self.valid_until.to_parts().ok_or(RecordError::NoSuchDay)?;
        let mut b = [0; Self::LEN];
        b[0] = self.layout.nibble(day.is_some()) << 4 | kind;
        b[1..4].copy_from_slice(&u24(self.ctr.0, "ctr")?);
        if let Some(used) = self.products {
            let nibble = used.to_nibble().ok_or(RecordError::TooBig("rides taken"))?;
            if self.ctr.0 > self.ctr_max() {
                return Err(RecordError::TooBig("ctr"));
            }
            b[0] |= PRODUCTS;
            b[3] |= nibble << 4;
        }
        b[4..8].copy_from_slice(&self.balance.to_le_bytes());
        if self.amount > self.amount_max() {
            return Err(RecordError::TooBig("amount"));
        }
        b[8..11].copy_from_slice(&u24(self.amount, "amount")?);
        b[10] |= day.unwrap_or(0) << 3;
        b[11..15].copy_from_slice(&self.at_s.to_le_bytes());
        b[15..18].copy_from_slice(&u24(self.validator.number(), "validator")?);
        b[18..20].copy_from_slice(&self.place.0.to_le_bytes());
        b[20..22].copy_from_slice(&self.load_seq.0.to_le_bytes());
        b[22..24].copy_from_slice(&self.tariff.0.to_le_bytes());
        b[24] = months;
        b[25] = self.class.0 << 4 | run.legs;
        b[26..29].copy_from_slice(&u24(run.paid, "paid in the run")?);
        b[29..31].copy_from_slice(&run.age_s.to_le_bytes());
        b[31] = run.group;
        Ok(b)
    }

    /// Reads 32 bytes. Whatever a card holds is parsed, never asserted.
    pub fn from_bytes(b: &[u8; Self::LEN]) -> Result<Self, RecordError> {
        let nibble = b[0] >> 4;
        let (layout, until_day) =
            CardLayout::from_nibble(nibble).ok_or(RecordError::UnknownLayout(nibble))?;
        let kind = match b[0] & 0x07 {
            0 => RecordKind::Issue,
            1 => RecordKind::Board,
            2 => RecordKind::Entry,
            3 => RecordKind::Exit,
            4 => RecordKind::Load,
            5 => RecordKind::Retire,
            6 => RecordKind::LoadInJourney,
            other => return Err(RecordError::UnknownKind(other)),
        };
        let u24 = |i: usize| u32::from_le_bytes([b[i], b[i + 1], b[i + 2], 0]);
        let u16 = |i: usize| u16::from_le_bytes([b[i], b[i + 1]]);
        let u32 = |i: usize| u32::from_le_bytes([b[i], b[i + 1], b[i + 2], b[i + 3]]);
        let run = match b[25] & 0x0f {
            0 if b[26..32] != [0; 6] => return Err(RecordError::RunWithoutLegs),
            0 => None,
            legs => Some(TransferRun { legs, paid: u24(26), age_s: u16(29), group: b[31] }),
        };
        let (ctr, products) = if b[0] & PRODUCTS == 0 {
            (u24(1), None)
        } else {
            let used = ProductUse::from_nibble(b[3] >> 4);
            (u24(1) & U20_MAX, Some(used.ok_or(RecordError::UnknownProductSlot)?))
        };
        let (amount, day) =
            if until_day { (u24(8) & U19_MAX, Some(b[10] >> 3)) } else { (u24(8), None) };
        let valid_until = ValidUntil::from_parts(b[24], day).ok_or(RecordError::NoSuchDay)?;
        Ok(Self {
            kind,
            ctr: Ctr(ctr),
            balance: i32::from_le_bytes([b[4], b[5], b[6], b[7]]),
            amount,
            at_s: u32(11),
            validator: ValidatorId::new(u24(15)).expect("three bytes fit into 24 bits"),
            place: PlaceIx(u16(18)),
            load_seq: LoadSeq(u16(20)),
            tariff: TariffVersion(u16(22)),
            valid_until,
            class: RiderClass(b[25] >> 4),
            run,
            products,
            layout,
        })
    }
}

fn u24(value: u32, what: &'static str) -> Result<[u8; 3], RecordError> {
    if value > U24_MAX {
        return Err(RecordError::TooBig(what));
    }
    let [a, b, c, _] = value.to_le_bytes();
    Ok([a, b, c])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> CardRecord {
        CardRecord {
            kind: RecordKind::Board,
            ctr: Ctr(7),
            balance: 2075,
            amount: 275,
            at_s: 1_795_000_000,
            validator: ValidatorId::new(42).unwrap(),
            place: PlaceIx(3),
            load_seq: LoadSeq(2),
            tariff: TariffVersion(9),
            valid_until: ValidUntil::Month(60),
            class: RiderClass(1),
            run: Some(TransferRun { legs: 2, paid: 275, age_s: 1800, group: 4 }),
            products: None,
            layout: CardLayout::Plain,
        }
    }

    #[test]
    fn golden_bytes_of_layout_1_never_change() {
        let hex = alloc::format!("{:02x?}", sample().to_bytes().unwrap());
        expect_test::expect!["[110700001b080000130100c086fd6a2a00000300020009003c12130100080704]"]
            .assert_eq(&hex.replace(", ", ""));
    }

    #[test]
    fn golden_bytes_of_layouts_2_and_3_differ_from_layout_1_in_their_first_nibble_only() {
        for layout in [CardLayout::Counters, CardLayout::OtherCurrency] {
            let record = CardRecord { layout, ..sample() };
            let bytes = record.to_bytes().unwrap();
            assert_eq!(CardRecord::from_bytes(&bytes), Ok(record));
            let hex = alloc::format!("{bytes:02x?}").replace(", ", "");
            let digit = layout.nibble(false);
            let others = "10700001b080000130100c086fd6a2a00000300020009003c12130100080704";
            assert_eq!(hex, alloc::format!("[{digit}{others}]"));
        }
    }

    #[test]
    fn a_layout_of_a_later_release_is_refused_by_its_number() {
        let mut bytes = sample().to_bytes().unwrap();
        for layout in [0, 7, 15] {
            bytes[0] = layout << 4 | 1;
            assert_eq!(CardRecord::from_bytes(&bytes), Err(RecordError::UnknownLayout(layout)));
        }
    }

    #[test]
    fn golden_bytes_of_a_ride_paid_by_a_product_never_change() {
        let pass = Some(crate::ProductSlot::Second);
        let used = ProductUse { pass, rides: 1 };
        let record = CardRecord { amount: 0, balance: 2350, products: Some(used), ..sample() };
        let bytes = record.to_bytes().unwrap();
        assert_eq!(CardRecord::from_bytes(&bytes), Ok(record));
        let hex = alloc::format!("{bytes:02x?}");
        expect_test::expect![[
            "[190700602e090000000000c086fd6a2a00000300020009003c12130100080704]"
        ]]
        .assert_eq(&hex.replace(", ", ""));
    }

    #[test]
    fn a_card_without_products_counts_to_24_bits_and_one_with_products_to_20() {
        let plain = CardRecord { ctr: Ctr(U24_MAX), ..sample() };
        assert_eq!(CardRecord::from_bytes(&plain.to_bytes().unwrap()), Ok(plain));
        let used = Some(ProductUse { rides: 3, ..ProductUse::default() });
        let with = CardRecord { ctr: Ctr(U20_MAX), products: used, ..sample() };
        assert_eq!(CardRecord::from_bytes(&with.to_bytes().unwrap()), Ok(with));
        let over = CardRecord { ctr: Ctr(U20_MAX + 1), ..with };
        assert_eq!(over.to_bytes(), Err(RecordError::TooBig("ctr")));
        let used = Some(ProductUse { rides: 4, ..ProductUse::default() });
        let rides = CardRecord { products: used, ..sample() };
        assert_eq!(rides.to_bytes(), Err(RecordError::TooBig("rides taken")));
        let mut bytes = with.to_bytes().unwrap();
        bytes[3] |= 0x30;
        assert_eq!(CardRecord::from_bytes(&bytes), Err(RecordError::UnknownProductSlot));
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let too_big = CardRecord { amount: 1 << 24, ..sample() };
        assert_eq!(too_big.to_bytes(), Err(RecordError::TooBig("amount")));
        let no_legs = TransferRun { legs: 0, paid: 0, age_s: 0, group: 0 };
        let bad = CardRecord { run: Some(no_legs), ..sample() };
        assert_eq!(bad.to_bytes(), Err(RecordError::RunWithoutLegs));
    }

    #[test]
    fn golden_bytes_of_layouts_4_to_6_differ_in_their_first_nibble_and_in_the_days_five_bits() {
        let until = ValidUntil::Day { month: 60, day: 24 };
        for layout in [CardLayout::Plain, CardLayout::Counters, CardLayout::OtherCurrency] {
            let record = CardRecord { layout, valid_until: until, ..sample() };
            let bytes = record.to_bytes().unwrap();
            assert_eq!(CardRecord::from_bytes(&bytes), Ok(record));
            let hex = alloc::format!("{bytes:02x?}").replace(", ", "");
            let digit = layout.nibble(true);
            let others = "10700001b0800001301c0c086fd6a2a00000300020009003c12130100080704";
            assert_eq!(hex, alloc::format!("[{digit}{others}]"));
        }
    }

    #[test]
    fn a_card_that_ends_with_a_day_holds_smaller_amounts_and_real_days_only() {
        let day = ValidUntil::Day { month: 13, day: 28 };
        let most = CardRecord { amount: U19_MAX, valid_until: day, ..sample() };
        assert_eq!(CardRecord::from_bytes(&most.to_bytes().unwrap()), Ok(most));
        assert_eq!((most.amount_max(), sample().amount_max()), (U19_MAX, U24_MAX));
        let over = CardRecord { amount: U19_MAX + 1, ..most };
        assert_eq!(over.to_bytes(), Err(RecordError::TooBig("amount")));
        let no_day = CardRecord { valid_until: ValidUntil::Day { month: 13, day: 29 }, ..most };
        assert_eq!(no_day.to_bytes(), Err(RecordError::NoSuchDay), "29 February 2026");
        let mut bytes = most.to_bytes().unwrap();
        bytes[10] |= 31 << 3;
        assert_eq!(CardRecord::from_bytes(&bytes), Err(RecordError::NoSuchDay));
        bytes[24] = 255;
        assert_eq!(CardRecord::from_bytes(&bytes), Err(RecordError::NoSuchDay));
    }

    proptest! {
        #[test]
        fn any_32_bytes_are_read_or_refused_and_what_is_read_is_written_back(
            bytes in proptest::array::uniform32(any::<u8>()),
            first in 0x10_u8..0x6f,
        ) {
            let mut b = bytes;
            b[0] = first;
            if let Ok(record) = CardRecord::from_bytes(&b) {
                prop_assert_eq!(record.to_bytes().unwrap(), b);
            }
            let _ = CardRecord::from_bytes(&bytes);
        }
    }
}
