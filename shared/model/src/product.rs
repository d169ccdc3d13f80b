//! What a rider holds on the card besides stored value: period passes and rides bought together
//! (ADR-0009).
//!
//! Two files hold it. The products file says what was sold and is written by the load key only;
//! the rides file is a value file that counts the rides left, which the debit key may only take
//! away from. So no validator can make a product, a day or a ride.
//!
//! Products file, two slots of 16 bytes, integers LSB first; an empty slot is all zeros:
//!
//! | bytes | field |
//! |---|---|
//! | 0..2 | product id, as the seller knows it |
//! | 2 | kind: 0 empty, 1 period pass, 2 rides |
//! | 3 | zero |
//! | 4..6 | scope: FFFF everything, else the tag of a fare group's name |
//! | 6..8 | serial: which sale to this card |
//! | 8..12 | valid from, seconds since 1970, 0 = no bound |
//! | 12..16 | valid until, seconds since 1970, inclusive, 0 = no bound |
//!
//! Whatever a card holds is parsed, never asserted: a slot of a kind that a later release adds is
//! kept byte for byte, proven with the rest, and pays for nothing here.

use core::fmt;

use crate::Timestamp;

/// One of the two places for a product on a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProductSlot {
    /// Bytes 0..16.
    First,
    /// Bytes 16..32.
    Second,
}

/// Where a product is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProductScope(u16);

/// What kind of product it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProductKind {
    /// Any number of rides while it is valid.
    Pass,
    /// Each ride takes one of the rides left.
    Rides,
}

/// One product as it was sold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CardProduct {
    /// Which product, as the seller knows it.
    pub id: u16,
    /// What kind.
    pub kind: ProductKind,
    /// Where it is valid.
    pub scope: ProductScope,
    /// Which sale to this card.
    pub serial: u16,
    /// First second of its validity, since 1970; 0 = no bound.
    pub from_s: u32,
    /// Last second of its validity, since 1970; 0 = no bound.
    pub until_s: u32,
}

/// When a product is valid, seen from one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProductValidity {
    /// Its first second is still to come, so many seconds from here.
    NotYet(u64),
    /// Here and now.
    Valid,
    /// Its last second has gone by, so many seconds ago.
    Over(u64),
}

/// Why 16 bytes are no product that is known here, or products have no bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProductError {
    /// A kind that a later release added, or none at all.
    #[error("product kind {0} is not known here")]
    UnknownKind(u8),
    /// A byte that this layout leaves zero is not.
    #[error("product has contents where none belong")]
    Unassigned,
    /// Its validity ends before it begins.
    #[error("product ends before it begins")]
    EndsBeforeItBegins,
    /// The rides file counts the rides of one product.
    #[error("a card holds one product with rides at most")]
    TwoRides,
    /// Rides are to be written and no product has any.
    #[error("rides are sold, but no product on the card has rides")]
    RidesWithoutProduct,
    /// More than the rides file takes.
    #[error("a card holds at most {max} rides: sell fewer", max = ProductLoad::RIDES_MAX)]
    TooManyRides,
}

/// The products file as it stands on the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CardProducts([u8; Self::LEN]);

/// What a transaction found of products on the card: part of what the card's proof covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProductsFound {
    /// The products file.
    pub file: CardProducts,
    /// The rides left, read when a product of the file has rides.
    pub rides: Option<u32>,
}

/// What the load key puts on a card: the whole products file, and rides on top of those left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProductLoad {
    file: CardProducts,
    rides: u32,
}

/// One product that was sold and is to be put on a card beside what is there (ADR-0024).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProductSale {
    /// What is sold. Its serial is the load number of the order that brings it.
    pub product: CardProduct,
    /// Rides that come with it; 0 of a pass.
    pub rides: u16,
}

/// Why a product cannot be put on a card as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SaleMisfit {
    /// Both slots hold something that is still good for rides, or that only a later release knows.
    #[error("the card has no room for the product: what it carries is still in use")]
    NoRoom,
    /// It carries rides of another product, and the card counts rides of one only.
    #[error("the card carries rides of another product: they are to be used first")]
    OtherRides,
    /// It would be no product.
    #[error(transparent)]
    Product(#[from] ProductError),
}

/// What one transaction used of the products on its card. It stands in the card's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ProductUse {
    /// The pass that paid, if one did.
    pub pass: Option<ProductSlot>,
    /// Rides taken, at most [`ProductUse::RIDES_MAX`].
    pub rides: u8,
}

impl ProductSlot {
    /// Both, in order.
    pub const ALL: [Self; 2] = [Self::First, Self::Second];

    /// 1 or 2, as people count.
    pub const fn number(self) -> u8 {
        match self {
            Self::First => 1,
            Self::Second => 2,
        }
    }
}

impl ProductScope {
    /// Valid for every ride.
    pub const EVERYTHING: Self = Self(u16::MAX);

    /// Valid for the rides of one fare group. The tag is made of the group's name, because group
    /// numbers change from tariff to tariff and a pass outlives them: FNV-1a of 32 bits, its
    /// halves folded. A tariff in which two groups have one tag is not accepted.
    pub fn of_group(name: &str) -> Self {
        let hash = name
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let [a, b, c, d] = hash.to_le_bytes();
        let tag = u16::from_le_bytes([a ^ c, b ^ d]);
        Self(if tag == u16::MAX { u16::MAX - 1 } else { tag })
    }

    /// The number on the card.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// From the number on the card.
    pub const fn from_number(number: u16) -> Self {
        Self(number)
    }

    /// Whether a ride of the group with this name lies in it.
    pub fn covers(self, group: &str) -> bool {
        self == Self::EVERYTHING || self == Self::of_group(group)
    }
}

impl ProductKind {
    /// The word in exports, the API and on the command line.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Rides => "rides",
        }
    }
}

impl CardProduct {
    /// Bytes of one slot.
    pub const LEN: usize = 16;

    /// Whether it is valid at `at`.
    pub fn validity(&self, at: Timestamp) -> ProductValidity {
        let at = at.secs();
        if at < u64::from(self.from_s) {
            return ProductValidity::NotYet(u64::from(self.from_s) - at);
        }
        match u64::from(self.until_s) {
            0 => ProductValidity::Valid,
            until if at > until => ProductValidity::Over(at - until),
            _ => ProductValidity::Valid,
        }
    }

    fn to_bytes(self) -> Result<[u8; Self::LEN], ProductError> {
        self.checked()?;
        let mut b = [0; Self::LEN];
        b[..2].copy_from_slice(&self.id.to_le_bytes());
        b[2] = match self.kind {
            ProductKind::Pass => 1,
            ProductKind::Rides => 2,
        };
        b[4..6].copy_from_slice(&self.scope.0.to_le_bytes());
        b[6..8].copy_from_slice(&self.serial.to_le_bytes());
        b[8..12].copy_from_slice(&self.from_s.to_le_bytes());
        b[12..16].copy_from_slice(&self.until_s.to_le_bytes());
        Ok(b)
    }

    fn from_bytes(b: &[u8; Self::LEN]) -> Result<Option<Self>, ProductError> {
        if *b == [0; Self::LEN] {
            return Ok(None);
        }
        let kind = match b[2] {
            1 => ProductKind::Pass,
            2 => ProductKind::Rides,
            other => return Err(ProductError::UnknownKind(other)),
        };
        if b[3] != 0 {
            return Err(ProductError::Unassigned);
        }
        let u16 = |i: usize| u16::from_le_bytes([b[i], b[i + 1]]);
        let u32 = |i: usize| u32::from_le_bytes([b[i], b[i + 1], b[i + 2], b[i + 3]]);
        let product = Self {
            id: u16(0),
            kind,
            scope: ProductScope(u16(4)),
            serial: u16(6),
            from_s: u32(8),
            until_s: u32(12),
        };
        product.checked()?;
        Ok(Some(product))
    }

    const fn checked(&self) -> Result<(), ProductError> {
        if self.until_s != 0 && self.until_s < self.from_s {
            return Err(ProductError::EndsBeforeItBegins);
        }
        Ok(())
    }
}

impl CardProducts {
    /// Bytes of the file.
    pub const LEN: usize = 2 * CardProduct::LEN;
    /// Nothing was sold.
    pub const EMPTY: Self = Self([0; Self::LEN]);

    /// The file with these products in its slots.
    pub fn new(slots: [Option<CardProduct>; 2]) -> Result<Self, ProductError> {
        let rides = |slot: &&CardProduct| slot.kind == ProductKind::Rides;
        if slots.iter().flatten().filter(rides).count() > 1 {
            return Err(ProductError::TwoRides);
        }
        let mut bytes = [0; Self::LEN];
        for (slot, place) in slots.iter().zip(bytes.chunks_exact_mut(CardProduct::LEN)) {
            if let Some(product) = slot {
                place.copy_from_slice(&product.to_bytes()?);
            }
        }
        Ok(Self(bytes))
    }

    /// The file as a card holds it.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// The file's bytes, verbatim.
    pub const fn to_bytes(self) -> [u8; Self::LEN] {
        self.0
    }

    /// What a slot holds.
    pub fn slot(&self, slot: ProductSlot) -> Result<Option<CardProduct>, ProductError> {
        let (slots, _) = self.0.as_chunks::<{ CardProduct::LEN }>();
        CardProduct::from_bytes(match slot {
            ProductSlot::First => &slots[0],
            ProductSlot::Second => &slots[1],
        })
    }

    /// The product whose rides the rides file counts: the first with rides.
    pub fn with_rides(&self) -> Option<CardProduct> {
        let readable = |slot| self.slot(slot).ok().flatten();
        ProductSlot::ALL
            .into_iter()
            .filter_map(readable)
            .find(|product| product.kind == ProductKind::Rides)
    }
}

impl ProductLoad {
    /// More rides than any product has; a bound for the card.
    pub const RIDES_MAX: u32 = 9999;

    /// The file to write, and the rides to add.
    pub fn new(file: CardProducts, rides: u32) -> Result<Self, ProductError> {
        if rides > 0 && file.with_rides().is_none() {
            return Err(ProductError::RidesWithoutProduct);
        }
        if rides > Self::RIDES_MAX {
            return Err(ProductError::TooManyRides);
        }
        Ok(Self { file, rides })
    }

    /// The products file.
    pub const fn file(&self) -> CardProducts {
        self.file
    }

    /// The rides to add.
    pub const fn rides(&self) -> u32 {
        self.rides
    }
}

impl ProductSale {
    /// Bytes of [`Self::to_bytes`].
    pub const LEN: usize = CardProduct::LEN + 2;

    /// A sale whose rides and kind belong together.
    pub fn new(product: CardProduct, rides: u16) -> Result<Self, ProductError> {
        product.checked()?;
        match product.kind {
            ProductKind::Pass if rides > 0 => Err(ProductError::RidesWithoutProduct),
            ProductKind::Rides if u32::from(rides) > ProductLoad::RIDES_MAX => {
                Err(ProductError::TooManyRides)
            }
            ProductKind::Pass | ProductKind::Rides => Ok(Self { product, rides }),
        }
    }

    /// The product as it stands in its slot, then its rides, LSB first.
    pub fn to_bytes(self) -> Result<[u8; Self::LEN], ProductError> {
        let mut bytes = [0; Self::LEN];
        bytes[..CardProduct::LEN].copy_from_slice(&self.product.to_bytes()?);
        bytes[CardProduct::LEN..].copy_from_slice(&self.rides.to_le_bytes());
        Ok(bytes)
    }

    /// Reads them back. An empty slot is no sale.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Result<Self, ProductError> {
        let (slot, rides) = bytes.split_first_chunk().unwrap_or((&[0; CardProduct::LEN], &[]));
        let product = CardProduct::from_bytes(slot)?.ok_or(ProductError::UnknownKind(0))?;
        let rides = rides.iter().rev().fold(0, |rides, byte| rides << 8 | u16::from(*byte));
        Self::new(product, rides)
    }

    /// What a reader writes to put it on a card on which `found` is, at `at`. The sale takes the
    /// slot of the same product in the same scope, which it renews: rides that are left stay, and
    /// the validity of the newer sale holds for them, too. Else an empty slot; else one whose
    /// product is over or has no rides left. What is still good for rides is never written over.
    pub fn onto(
        &self,
        found: Option<&ProductsFound>,
        at: Timestamp,
    ) -> Result<ProductLoad, SaleMisfit> {
        let (file, rides_left) =
            found.map_or((CardProducts::EMPTY, 0), |found| (found.file, found.rides.unwrap_or(0)));
        let sold = &self.product;
        let slots = ProductSlot::ALL.map(|slot| file.slot(slot));
        let held = |fits: &dyn Fn(&CardProduct) -> bool| {
            slots.iter().position(|slot| matches!(slot, Ok(Some(held)) if fits(held)))
        };
        let same = |held: &CardProduct| {
            (held.id, held.kind, held.scope) == (sold.id, sold.kind, sold.scope)
        };
        // The rides file counts the rides of one product: there is never a second one beside it.
        let of_rides =
            |held: &CardProduct| sold.kind == ProductKind::Rides && held.kind == ProductKind::Rides;
        let used_up = |held: &CardProduct| match held.kind {
            ProductKind::Pass => matches!(held.validity(at), ProductValidity::Over(_)),
            ProductKind::Rides => rides_left == 0,
        };
        if rides_left > 0 && held(&|held| of_rides(held) && !same(held)).is_some() {
            return Err(SaleMisfit::OtherRides);
        }
        let empty = || slots.iter().position(|slot| *slot == Ok(None));
        let place = held(&same).or_else(|| held(&of_rides)).or_else(empty);
        let place = place.or_else(|| held(&used_up)).ok_or(SaleMisfit::NoRoom)?;
        let mut bytes = file.to_bytes();
        let slot = bytes.chunks_exact_mut(CardProduct::LEN).nth(place);
        slot.ok_or(SaleMisfit::NoRoom)?.copy_from_slice(&sold.to_bytes()?);
        Ok(ProductLoad::new(CardProducts(bytes), self.rides.into())?)
    }
}

impl fmt::Display for ProductUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.pass, self.rides) {
            (None, 0) => f.write_str("no product used"),
            (None, rides) => write!(f, "{rides} of its rides used"),
            (Some(slot), 0) => write!(f, "pass {} used", slot.number()),
            (Some(slot), rides) => {
                write!(f, "pass {} and {rides} of its rides used", slot.number())
            }
        }
    }
}

impl ProductUse {
    /// More than two are never taken: a missing tap-out and this ride.
    pub const RIDES_MAX: u8 = 3;

    /// Whether anything was used.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }

    /// The nibble in the record: pass slot in bits 0..2 (0 none), rides in bits 2..4.
    pub(crate) const fn to_nibble(self) -> Option<u8> {
        if self.rides > Self::RIDES_MAX {
            return None;
        }
        let pass = match self.pass {
            None => 0,
            Some(slot) => slot.number(),
        };
        Some(self.rides << 2 | pass)
    }

    pub(crate) const fn from_nibble(nibble: u8) -> Option<Self> {
        let pass = match nibble & 0x03 {
            0 => None,
            1 => Some(ProductSlot::First),
            2 => Some(ProductSlot::Second),
            _ => return None,
        };
        Some(Self { pass, rides: nibble >> 2 & 0x03 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pass() -> CardProduct {
        CardProduct {
            id: 301,
            kind: ProductKind::Pass,
            scope: ProductScope::of_group("bus"),
            serial: 7,
            from_s: 1_795_000_000,
            until_s: 1_797_591_999,
        }
    }

    fn rides() -> CardProduct {
        let (id, kind, scope) = (20, ProductKind::Rides, ProductScope::EVERYTHING);
        CardProduct { id, kind, scope, serial: 8, from_s: 0, until_s: 0 }
    }

    #[test]
    fn golden_bytes_of_the_products_file_never_change() {
        let file = CardProducts::new([Some(pass()), Some(rides())]).unwrap();
        let hex = alloc::format!("{:02x?}", file.to_bytes()).replace(", ", "");
        expect_test::expect![[
            "[2d0101002c320700c086fd6abf13256b14000200ffff08000000000000000000]"
        ]]
        .assert_eq(&hex);
        assert_eq!(file.slot(ProductSlot::First), Ok(Some(pass())));
        assert_eq!(file.slot(ProductSlot::Second), Ok(Some(rides())));
        assert_eq!(file.with_rides(), Some(rides()));
    }

    #[test]
    fn a_slot_that_is_not_known_here_is_refused_by_name_and_kept() {
        let mut bytes = CardProducts::new([Some(pass()), Some(rides())]).unwrap().to_bytes();
        bytes[2] = 9;
        bytes[16 + 3] = 1;
        let file = CardProducts::from_bytes(bytes);
        assert_eq!(file.slot(ProductSlot::First), Err(ProductError::UnknownKind(9)));
        assert_eq!(file.slot(ProductSlot::Second), Err(ProductError::Unassigned));
        assert_eq!((file.with_rides(), file.to_bytes()), (None, bytes));
        let late = CardProduct { until_s: 1, ..pass() };
        let ends_early = Err(ProductError::EndsBeforeItBegins);
        assert_eq!(CardProducts::new([Some(late), None]), ends_early);
        assert_eq!(CardProducts::new([Some(rides()); 2]), Err(ProductError::TwoRides));
    }

    #[test]
    fn rides_are_sold_with_a_product_that_has_them() {
        let with = |product| CardProducts::new([Some(product), None]).unwrap();
        assert_eq!(ProductLoad::new(with(rides()), 10).unwrap().rides(), 10);
        let without = Err(ProductError::RidesWithoutProduct);
        assert_eq!(ProductLoad::new(with(pass()), 10), without);
        assert_eq!(ProductLoad::new(with(rides()), 10_000), Err(ProductError::TooManyRides));
        assert_eq!(ProductLoad::new(CardProducts::EMPTY, 0).unwrap().file(), CardProducts::EMPTY);
    }

    fn sale(product: CardProduct, rides: u16) -> ProductSale {
        ProductSale::new(product, rides).unwrap()
    }

    #[test]
    fn a_sale_reads_back_as_written_and_is_refused_by_what_is_wrong() {
        for sold in [sale(pass(), 0), sale(rides(), 10), sale(rides(), 0)] {
            assert_eq!(ProductSale::from_bytes(&sold.to_bytes().unwrap()), Ok(sold));
        }
        let nothing = ProductSale::from_bytes(&[0; ProductSale::LEN]);
        assert_eq!(nothing, Err(ProductError::UnknownKind(0)));
        let of_a_pass = ProductSale::new(pass(), 1);
        assert_eq!(of_a_pass, Err(ProductError::RidesWithoutProduct));
        assert_eq!(ProductSale::new(rides(), 10_000), Err(ProductError::TooManyRides));
    }

    #[test]
    fn a_sale_renews_its_product_and_else_takes_what_is_free() {
        let (bus, other) = (pass(), CardProduct { id: 302, ..pass() });
        let (ten, twenty) = (rides(), CardProduct { id: 21, ..rides() });
        let newer = |held: CardProduct| CardProduct { serial: 99, ..held };
        let file = |slots| CardProducts::new(slots).unwrap();
        let in_time = u64::from(bus.until_s);
        let no_room = Err(SaleMisfit::NoRoom);
        let table = [
            ("renews", [Some(bus), None], 0, newer(bus), in_time, Ok([Some(newer(bus)), None])),
            ("rides", [None, Some(ten)], 7, newer(ten), 0, Ok([None, Some(newer(ten))])),
            ("free", [Some(bus), None], 0, other, in_time, Ok([Some(bus), Some(other)])),
            ("over", [Some(bus), Some(ten)], 7, other, in_time + 1, Ok([Some(other), Some(ten)])),
            ("used up", [Some(bus), Some(ten)], 0, other, in_time, Ok([Some(bus), Some(other)])),
            ("other rides", [None, Some(ten)], 0, twenty, 0, Ok([None, Some(twenty)])),
            ("rides left", [None, Some(ten)], 1, twenty, 0, Err(SaleMisfit::OtherRides)),
            ("full", [Some(bus), Some(ten)], 7, other, in_time, no_room),
            ("not begun", [Some(bus), Some(ten)], 7, other, 0, no_room),
        ];
        for (name, held, left, sold, at, expected) in table {
            let has_rides = held.iter().flatten().any(|held| held.kind == ProductKind::Rides);
            let found = ProductsFound { file: file(held), rides: has_rides.then_some(left) };
            let given = u16::from(sold.kind == ProductKind::Rides) * 10;
            let load = sale(sold, given).onto(Some(&found), Timestamp::from_secs(at));
            let expected = expected.map(|slots| (file(slots), u32::from(given)));
            assert_eq!(load.map(|load| (load.file(), load.rides())), expected, "{name}");
        }
        let first = sale(bus, 0).onto(None, Timestamp(0)).unwrap();
        assert_eq!(first.file(), file([Some(bus), None]));
    }

    #[test]
    fn a_slot_that_only_a_later_release_knows_is_never_written_over() {
        let mut bytes = CardProducts::new([Some(pass()), Some(rides())]).unwrap().to_bytes();
        (bytes[2], bytes[18]) = (9, 9);
        let found = ProductsFound { file: CardProducts::from_bytes(bytes), rides: None };
        let refused = sale(pass(), 0).onto(Some(&found), Timestamp(u64::MAX));
        assert_eq!(refused, Err(SaleMisfit::NoRoom));
    }

    #[test]
    fn a_product_is_valid_from_its_first_to_its_last_second() {
        let at = |secs: u32| pass().validity(Timestamp::from_secs(u64::from(secs)));
        assert_eq!(at(pass().from_s - 1), ProductValidity::NotYet(1));
        assert_eq!(at(pass().from_s), ProductValidity::Valid);
        assert_eq!(at(pass().until_s), ProductValidity::Valid);
        assert_eq!(at(pass().until_s + 60), ProductValidity::Over(60));
        let endless = rides().validity(Timestamp(u64::MAX));
        assert_eq!(endless, ProductValidity::Valid);
    }

    #[test]
    fn a_scope_covers_its_own_group_and_no_other() {
        let bus = ProductScope::of_group("bus");
        assert!(bus.covers("bus") && !bus.covers("subway") && !bus.covers(""));
        assert!(ProductScope::EVERYTHING.covers("bus"));
        assert_eq!(ProductScope::from_number(bus.number()), bus);
    }

    proptest! {
        #[test]
        fn any_products_file_is_read_or_refused_and_what_is_read_is_written_back(
            head in prop::array::uniform2(0_u8..4),
            bytes in prop::array::uniform32(any::<u8>()),
        ) {
            let mut bytes = bytes;
            (bytes[2], bytes[18]) = (head[0], head[1]);
            (bytes[3], bytes[19]) = (0, 0);
            let file = CardProducts::from_bytes(bytes);
            prop_assert_eq!(file.to_bytes(), bytes);
            let slots = ProductSlot::ALL.map(|slot| file.slot(slot));
            if let [Ok(first), Ok(second)] = slots {
                match CardProducts::new([first, second]) {
                    Ok(again) => prop_assert_eq!(again, file),
                    Err(error) => prop_assert_eq!(error, ProductError::TwoRides),
                }
            }
        }

        #[test]
        fn no_group_is_taken_for_everything(name in ".*") {
            prop_assert_ne!(ProductScope::of_group(&name), ProductScope::EVERYTHING);
        }
    }
}
