//! A load order on its way to a card: sealed, so that it brings its right along (ADR-0015).
//!
//! No validator holds a load key (ADR-0001), yet any of them is to put a paid top-up on its card.
//! So the order carries the load key of that one card, wrapped with AES key wrap (RFC 3394) under
//! a key that is a CMAC with the card's debit key over everything that the order says. Who can tap
//! the card can open it; who cannot, learns nothing; and an order that is changed in any bit does
//! not open. A stolen validator holds the load keys of cards with open orders and of no others, and
//! what it puts on them without an order the Transaction MAC and the card's chain show.
//!
//! | bytes | field, integers LSB first |
//! |---|---|
//! | 0 | format: 1; 2: the amount is in another currency (ADR-0019); 3: a product (ADR-0024) |
//! | 1..9 | order; in format 2 it is 1..7, and 7..9 is the ISO 4217 number of the currency |
//! | 9..11 | `load_seq` |
//! | 11..14 | amount, minor units |
//! | 14..18 | not after, seconds since 1970 |
//! | 18 | version of the debit key that it is sealed with |
//! | 19 | version of the load key inside |
//! | 20..38 | format 3 only: the product as its slot holds it (16), its rides (2) |
//! | the last 24 | the load key, wrapped |

use alloc::{collections::BTreeMap, vec::Vec};

use aes_kw::{KeyInit, KwAes128};
use model::{CardId, CardRecord, Currency, LoadOrder, LoadSeq, OrderId, ProductError, ProductSale};
use zeroize::Zeroize;

use crate::{
    crypto::cmac,
    keys::{Key, KeyVersion, VersionedKey},
};

/// Of the list, and of an order in the tariff's currency.
const FORMAT: u8 = 1;
/// Of an order that says its currency. A reader that does not know it refuses the list, which is
/// right: to it the amount would be one in the tariff's currency.
const FORMAT_PURSE: u8 = 2;
/// Of an order for a product: its amount is 0.
const FORMAT_PRODUCT: u8 = 3;
/// Numbers of orders that leave room for a currency.
const ID_MAX: u64 = (1 << 48) - 1;
/// What the wrapping key's CMAC begins with, so that it is a key for nothing else.
const LABEL: &[u8] = b"tapline/order/1";
const CLEAR: usize = 20;
const WRAPPED: usize = 24;

/// See the module's documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedOrder {
    /// What it says in the clear.
    pub order: LoadOrder,
    /// The version of the card's debit key that opens it.
    pub opened_by: KeyVersion,
    /// The version of the card's load key inside.
    pub brings: KeyVersion,
    wrapped: [u8; WRAPPED],
}

/// Why an order cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Not the bytes of an order.
    #[error(
        "a load order has {value} bytes, or {product} when it is over a product, not {0}",
        value = SealedOrder::LEN,
        product = SealedOrder::LEN + ProductSale::LEN
    )]
    Length(usize),
    /// Written by a later release.
    #[error("load order format {0} is not known here: update this software")]
    Format(u8),
    /// A product that no card can hold.
    #[error("the product of a load order is none")]
    Product(#[from] ProductError),
    /// An amount that no record can hold, or none.
    #[error("a load order is over 1 to {max} minor units, not {0}", max = CardRecord::AMOUNT_MAX)]
    Amount(u32),
    /// A currency that ISO 4217 does not know.
    #[error("a load order is in no currency that is known here, but in number {0} of ISO 4217")]
    Currency(u16),
    /// No room for the currency.
    #[error("order {0} is in another currency than the tariff's: its number must be below 2^48")]
    Id(OrderId),
    /// Changed, for another card, or sealed with another debit key.
    #[error("the load order does not open with this card's debit key")]
    NotAuthentic,
}

impl SealedOrder {
    /// Bytes of an order over value.
    pub const LEN: usize = CLEAR + WRAPPED;

    /// Seals the card's load key into its order.
    pub fn seal(
        order: LoadOrder,
        card: CardId,
        debit: &VersionedKey,
        load: &VersionedKey,
    ) -> Result<Self, SealError> {
        let moves_value = (1..=CardRecord::AMOUNT_MAX).contains(&order.amount);
        if moves_value == order.product.is_some() || order.amount > CardRecord::AMOUNT_MAX {
            return Err(SealError::Amount(order.amount));
        }
        if let Some(sale) = order.product {
            sale.to_bytes()?;
        }
        if order.purse.is_some() && order.id.0 > ID_MAX {
            return Err(SealError::Id(order.id));
        }
        let mut sealed =
            Self { order, opened_by: debit.version, brings: load.version, wrapped: [0; WRAPPED] };
        let kek = sealed.wrapping_key(card, &debit.key);
        kek.wrap_key(&load.key.0, &mut sealed.wrapped).expect("16 bytes wrap into 24");
        Ok(sealed)
    }

    /// The card's load key, when nothing of the order was changed.
    pub fn open(&self, card: CardId, debit: &Key) -> Result<VersionedKey, SealError> {
        let mut key = Key([0; 16]);
        let opened = self.wrapping_key(card, debit).unwrap_key(&self.wrapped, &mut key.0);
        opened.map_err(|_| SealError::NotAuthentic)?;
        Ok(VersionedKey { version: self.brings, key })
    }

    /// As it travels.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.clear();
        bytes.extend(self.wrapped);
        bytes
    }

    /// Reads an order. Whether it is authentic, [`Self::open`] tells.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SealError> {
        match bytes.first() {
            Some(&format) if len_of(format).is_none() => return Err(SealError::Format(format)),
            Some(&format) if len_of(format) != Some(bytes.len()) => {
                return Err(SealError::Length(bytes.len()));
            }
            Some(_) => {}
            None => return Err(SealError::Length(0)),
        }
        let short = || SealError::Length(bytes.len());
        let (b, rest) = bytes.split_first_chunk::<CLEAR>().ok_or_else(short)?;
        let (rest, wrapped) = rest.split_last_chunk::<WRAPPED>().ok_or_else(short)?;
        let amount = u32::from_le_bytes([b[11], b[12], b[13], 0]);
        let product = match rest.first_chunk::<{ ProductSale::LEN }>() {
            Some(sale) => Some(ProductSale::from_bytes(sale)?),
            None => None,
        };
        if (amount == 0) != product.is_some() {
            return Err(SealError::Amount(amount));
        }
        let mut id = u64::from_le_bytes([b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8]]);
        let mut purse = None;
        if b[0] == FORMAT_PURSE {
            id &= ID_MAX;
            let number = u16::from_le_bytes([b[7], b[8]]);
            let known = Currency::from_numeric(number);
            purse = Some(known.map_err(|_| SealError::Currency(number))?);
        }
        Ok(Self {
            order: LoadOrder {
                id: OrderId(id),
                load_seq: LoadSeq(u16::from_le_bytes([b[9], b[10]])),
                amount,
                product,
                purse,
                not_after_s: u32::from_le_bytes([b[14], b[15], b[16], b[17]]),
            },
            opened_by: KeyVersion(b[18]),
            brings: KeyVersion(b[19]),
            wrapped: *wrapped,
        })
    }

    fn clear(&self) -> Vec<u8> {
        let LoadOrder { id, load_seq, amount, product, purse, not_after_s } = self.order;
        let mut b = [0; CLEAR];
        b[0] = FORMAT;
        b[1..9].copy_from_slice(&id.0.to_le_bytes());
        if let Some(purse) = purse {
            b[0] = FORMAT_PURSE;
            b[7..9].copy_from_slice(&purse.numeric().to_le_bytes());
        }
        b[9..11].copy_from_slice(&load_seq.0.to_le_bytes());
        b[11..14].copy_from_slice(&amount.to_le_bytes()[..3]);
        b[14..18].copy_from_slice(&not_after_s.to_le_bytes());
        b[18] = self.opened_by.0;
        b[19] = self.brings.0;
        let sale = product.and_then(|sale| sale.to_bytes().ok());
        if sale.is_some() {
            b[0] = FORMAT_PRODUCT;
        }
        b.into_iter().chain(sale.into_iter().flatten()).collect()
    }

    fn wrapping_key(&self, card: CardId, debit: &Key) -> KwAes128 {
        let mut key = cmac(debit, &[LABEL, &card.0, &self.clear()]);
        let kek = KwAes128::new(&key.into());
        key.zeroize();
        kek
    }
}

/// Bytes of an order by its format; `None` of a later release's.
const fn len_of(format: u8) -> Option<usize> {
    match format {
        FORMAT | FORMAT_PURSE => Some(SealedOrder::LEN),
        FORMAT_PRODUCT => Some(SealedOrder::LEN + ProductSale::LEN),
        _ => None,
    }
}

/// The list of orders that validators are given: the format, 1, then of each order its card's 7
/// bytes and its own, in order of the cards.
pub fn write_orders(orders: &[(CardId, SealedOrder)]) -> Vec<u8> {
    let mut sorted: Vec<_> = orders.iter().collect();
    sorted.sort_unstable_by_key(|(card, _)| *card);
    let rows = sorted.iter().flat_map(|(card, order)| [&card.0[..], &order.to_bytes()].concat());
    [FORMAT].into_iter().chain(rows).collect()
}

/// Reads such a list.
pub fn read_orders(bytes: &[u8]) -> Result<BTreeMap<CardId, SealedOrder>, SealError> {
    let mut rows = match bytes.split_first() {
        Some((&FORMAT, rows)) => rows,
        Some((&format, _)) => return Err(SealError::Format(format)),
        None => return Err(SealError::Length(0)),
    };
    let mut orders = BTreeMap::new();
    while !rows.is_empty() {
        let (card, row) = rows.split_first_chunk::<7>().ok_or(SealError::Length(rows.len()))?;
        let format = *row.first().ok_or(SealError::Length(0))?;
        let len = len_of(format).ok_or(SealError::Format(format))?;
        let (order, rest) = row.split_at_checked(len).ok_or(SealError::Length(row.len()))?;
        orders.insert(CardId(*card), SealedOrder::from_bytes(order)?);
        rows = rest;
    }
    Ok(orders)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CardKeys, KeyRole, KeySet};
    use model::{CardProduct, ProductKind, ProductScope};

    const CARD: CardId = CardId([4, 1, 2, 3, 4, 5, 6]);

    fn keys() -> KeySet {
        KeySet::from_root(&Key([7; 16]))
    }

    fn order() -> LoadOrder {
        LoadOrder {
            id: OrderId(0x0102_0304_0506_0708),
            load_seq: LoadSeq(3),
            amount: 2_000,
            product: None,
            purse: None,
            not_after_s: 1_800_000_000,
        }
    }

    fn in_francs() -> LoadOrder {
        let purse = Some(Currency::parse("CHF").unwrap());
        LoadOrder { id: OrderId(0x0304_0506_0708), purse, ..order() }
    }

    fn of_rides() -> LoadOrder {
        let product = CardProduct {
            id: 20,
            kind: ProductKind::Rides,
            scope: ProductScope::of_group("bus"),
            serial: 3,
            from_s: 1_795_000_000,
            until_s: 1_797_591_999,
        };
        LoadOrder { amount: 0, product: ProductSale::new(product, 10).ok(), ..order() }
    }

    fn seal(order: LoadOrder) -> SealedOrder {
        let load = keys().current_key(KeyRole::Load, &CARD).unwrap();
        SealedOrder::seal(order, CARD, &keys().debit_key(&CARD).unwrap(), &load).unwrap()
    }

    fn sealed() -> SealedOrder {
        seal(order())
    }

    #[test]
    fn golden_bytes_of_a_sealed_order_never_change() {
        let check = |order: LoadOrder, file: expect_test::ExpectFile| {
            let hex = alloc::format!("{:02x?}", seal(order).to_bytes());
            let hex = alloc::format!("{}\n", hex.trim_matches(['[', ']']).replace(", ", ""));
            file.assert_eq(&hex);
            assert_eq!(SealedOrder::from_bytes(&seal(order).to_bytes()), Ok(seal(order)));
        };
        let vector = expect_test::expect_file!["../../../tests/vectors/card/load-order.hex"];
        check(order(), vector);
        let vector = expect_test::expect_file!["../../../tests/vectors/card/load-order-purse.hex"];
        check(in_francs(), vector);
        let vector =
            expect_test::expect_file!["../../../tests/vectors/card/load-order-product.hex"];
        check(of_rides(), vector);
    }

    #[test]
    fn sec_7_who_can_tap_the_card_opens_its_order_and_nobody_else() {
        let debit = keys().debit_key(&CARD).unwrap().key;
        let load = keys().current_key(KeyRole::Load, &CARD);
        assert_eq!(sealed().open(CARD, &debit), Ok(load.unwrap()));
        let other = CardId([4, 1, 2, 3, 4, 5, 7]);
        let others_key = keys().debit_key(&other).unwrap().key;
        for (card, key) in [(other, debit), (CARD, others_key.clone()), (other, others_key)] {
            assert_eq!(sealed().open(card, &key), Err(SealError::NotAuthentic));
        }
    }

    #[test]
    fn an_order_that_is_changed_in_any_bit_does_not_open() {
        let debit = keys().debit_key(&CARD).unwrap().key;
        for bytes in [sealed().to_bytes(), seal(in_francs()).to_bytes()] {
            for bit in 0..SealedOrder::LEN * 8 {
                let mut changed = bytes.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                let read = SealedOrder::from_bytes(&changed);
                let opened = read.and_then(|o| o.open(CARD, &debit).map(|_| ()));
                let number = u16::from_le_bytes([changed[7], changed[8]]);
                let named = Currency::from_numeric(number).is_ok();
                let expected = match (bit / 8, bytes[0]) {
                    (0, _) if changed[0] == FORMAT_PRODUCT => SealError::Length(bytes.len()),
                    (0, _) if len_of(changed[0]).is_none() => SealError::Format(changed[0]),
                    (7 | 8, FORMAT_PURSE) if !named => SealError::Currency(number),
                    _ => SealError::NotAuthentic,
                };
                assert_eq!(opened, Err(expected), "bit {bit}");
            }
        }
    }

    #[test]
    fn a_list_of_orders_reads_back_as_written_and_one_that_is_cut_does_not() {
        let other = CardId([4, 0, 0, 0, 0, 0, 1]);
        let third = CardId([4, 0, 0, 0, 0, 0, 2]);
        let orders = [(CARD, sealed()), (third, seal(of_rides())), (other, seal(in_francs()))];
        let bytes = write_orders(&orders);
        assert_eq!(read_orders(&bytes).unwrap(), BTreeMap::from(orders));
        assert_eq!(read_orders(&write_orders(&[])), Ok(BTreeMap::new()));
        assert_eq!(read_orders(&[3]), Err(SealError::Format(3)));
        for cut in 0..bytes.len() {
            let found = read_orders(&bytes[..cut]);
            assert!([1, 52, 121].contains(&cut) || found.is_err(), "{cut}: {found:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_order_are_refused_by_what_is_wrong() {
        let mut nothing = sealed().to_bytes();
        nothing[11..14].fill(0);
        assert_eq!(SealedOrder::from_bytes(&nothing), Err(SealError::Amount(0)));
        assert_eq!(SealedOrder::from_bytes(&[]), Err(SealError::Length(0)));
        assert_eq!(SealedOrder::from_bytes(&nothing[..43]), Err(SealError::Length(43)));
        let mut of_nothing = seal(of_rides()).to_bytes();
        of_nothing[22] = 0;
        let none = Err(SealError::Product(ProductError::UnknownKind(0)));
        assert_eq!(SealedOrder::from_bytes(&of_nothing), none);
        let mut both = seal(of_rides()).to_bytes();
        both[11] = 1;
        assert_eq!(SealedOrder::from_bytes(&both), Err(SealError::Amount(1)));
        let order = LoadOrder { amount: 1 << 24, ..sealed().order };
        let debit = keys().debit_key(&CARD).unwrap();
        let refused = SealedOrder::seal(order, CARD, &debit, &debit);
        assert_eq!(refused, Err(SealError::Amount(1 << 24)));
        let order = LoadOrder { id: OrderId(1 << 48), ..in_francs() };
        let refused = SealedOrder::seal(order, CARD, &debit, &debit);
        assert_eq!(refused, Err(SealError::Id(OrderId(1 << 48))));
    }
}
