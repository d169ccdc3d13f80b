//! The cards of a run, each with its value, its products and its rider.

use card::{CardKeys, KeySet, Opening, VirtualCard};
use model::{
    CardId, CardLayout, CardProduct, CardProducts, ProductKind, ProductLoad, ProductScope,
    RiderClass, TariffVersion,
};

use super::{Dice, START, SimCard, SimDepot, Truth};

pub(super) fn issue(
    index: u32,
    dice: &mut Dice,
    keys: &KeySet,
    depot: &mut SimDepot,
    truth: &mut Truth,
    rides: u32,
) -> SimCard {
    let [a, b, c, d] = index.to_be_bytes();
    let uid = CardId([4, 0x51, a, b, c, d, 0x80]);
    let opening = Opening {
        balance: u32::try_from(dice.between(2000, 9000)).expect("small"),
        at_s: u32::try_from(START.secs()).expect("before 2106"),
        tariff: TariffVersion(1),
        products: products(index),
        class: RiderClass(u8::try_from(index % 3).expect("three categories")),
        // Every fifth card is of the layout without a counters file.
        layout: if index % 5 == 4 { CardLayout::Plain } else { CardLayout::Counters },
        ..Opening::default()
    };
    let (card, issued) =
        VirtualCard::issue(uid, dice.bytes16(), keys, &opening).expect("a blank card is issued");
    depot.register(&issued, START);
    truth.begin(uid, issued.record, opening.products.map_or(0, |load| load.rides()));
    let key = keys.debit_key(&uid).expect("the simulator holds all keys");
    SimCard { card, key, rides_left: rides, was_blocked: false }
}

/// Half of the cards carry products: a pass that ends in the middle of a run, or some rides that
/// are used up on the way, for the buses or for everything.
fn products(index: u32) -> Option<ProductLoad> {
    let scope = match index % 8 {
        0..=3 => ProductScope::EVERYTHING,
        _ => ProductScope::of_group("bus"),
    };
    let start = u32::try_from(START.secs()).expect("before 2106");
    let pass = CardProduct {
        id: 31,
        kind: ProductKind::Pass,
        scope,
        serial: 1,
        from_s: start,
        until_s: start + 6 * 3600,
    };
    let rides = CardProduct { id: 20, kind: ProductKind::Rides, from_s: 0, until_s: 0, ..pass };
    let (slots, count) = match index % 4 {
        1 => ([Some(pass), None], 0),
        2 => ([None, Some(rides)], 4),
        3 if index % 8 == 3 => ([Some(rides), Some(pass)], 3),
        _ => return None,
    };
    let file = CardProducts::new(slots).expect("one product with rides");
    Some(ProductLoad::new(file, count).expect("a few rides"))
}
