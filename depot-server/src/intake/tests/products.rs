//! Products by load order over a real database: paid once, on the card once, and nothing on a card
//! that nobody sold (ADR-0024).

mod shared;

use card::sale_record;
use clearing::{Account, OrderPhase};
use model::{
    CardProduct, CardProducts, CardRecord, CardTransaction, ChannelId, ClockQuality, Companions,
    Ctr, Epoch, Money, OrderId, PlaceIx, ProductKind, ProductLoad, ProductScope, ProductUse,
    ProductsFound, RecordKind, RouteIx, TapRecord, TapRole, TariffVersion,
};

use super::{
    orders::{RULES, on_the_list, order, payment},
    *,
};
use crate::{
    channels::bulk,
    config::{Channel, Product},
    orders::{OrderError, Payment, pay, tick},
    products::{Offered, ProductRefused, offered},
};

const CARD: u32 = 0;

fn shop() -> [Product; 3] {
    let product = |number, price: &str, rides, days| Product {
        number,
        name: String::new(),
        price: price.to_owned(),
        group: None,
        rides,
        days,
    };
    [
        product(20, "12.50", Some(10), None),
        product(31, "49.00", None, Some(30)),
        product(40, "0.00", Some(4), Some(7)),
    ]
}

fn on_sale(rig: &Rig, number: u16) -> Result<Offered, ProductRefused> {
    let now = rig.place.clock.now();
    offered(&shop(), number, &rig.place.rules, (now, now))
}

fn bought(rig: &Rig, number: u16, reference: &str) -> Payment {
    let Offered { sale, price } = on_sale(rig, number).unwrap();
    let amount = u32::try_from(price.minor()).unwrap();
    Payment { product: Some(sale), ..payment(CARD, amount, reference) }
}

fn out(rig: &Rig, number: u16, reference: &str) -> OrderId {
    let id = pay(&rig.place, &bought(rig, number, reference)).unwrap().id;
    tick(&rig.place, RULES).unwrap();
    assert!(matches!(order(rig, id).phase, OrderPhase::Out(_)));
    id
}

fn stands(rig: &Rig, account: Account) -> i64 {
    rig.place.store.account(&account.id(rig.place.rules.currency())).unwrap().posted()
}

/// A transaction of the card at a bus, and what is on the card after it.
fn transact(
    rig: &mut Rig,
    of: (CardRecord, Option<ProductsFound>, Option<ProductLoad>),
    reported: bool,
) -> Option<ProductsFound> {
    transact_on(rig, RouteIx(0), of, reported)
}

fn transact_on(
    rig: &mut Rig,
    route: RouteIx,
    (after, found, loaded): (CardRecord, Option<ProductsFound>, Option<ProductLoad>),
    reported: bool,
) -> Option<ProductsFound> {
    let (counters, purse, companions) = (None, None, Companions::NONE);
    let before = *rig.cards.newest(CARD);
    let transaction =
        CardTransaction { before, after, products: found, loaded, counters, companions, purse };
    let proof = rig.cards.commit(CARD, &transaction);
    if reported {
        // Of a load the validator says which order it carried out.
        let order = after.kind.is_load().then_some(OrderId(1));
        rig.buses[0].log_entry(TapRecord {
            validator: after.validator,
            epoch: Epoch(1),
            seq: TapSeq(0),
            card: Some(Cards::id(CARD)),
            tapped_at: after.at(),
            clock: ClockQuality::Ntp,
            role: TapRole::Board,
            place: PlaceIx(0),
            route: order.is_none().then_some(route),
            tariff: TariffVersion(1),
            order,
            place_age_s: None,
            hotlist_version: None,
            duration_ms: 180,
            event: TapEvent::Committed { transaction, proof },
        });
    }
    let (file, left) = match (loaded, found) {
        (Some(load), found) => {
            (load.file(), found.and_then(|found| found.rides).unwrap_or(0) + load.rides())
        }
        (None, Some(found)) => (found.file, found.rides.unwrap_or(0)),
        (None, None) => return None,
    };
    let used = after.products.map_or(0, |used| u32::from(used.rides));
    let rides = file.with_rides().map(|_| left - used);
    Some(ProductsFound { file, rides })
}

/// A bus carries the card's order out.
fn carry_out(rig: &mut Rig, found: Option<ProductsFound>, at_s: u32) -> Option<ProductsFound> {
    let sealed = on_the_list(rig, CARD).expect("an order is out");
    let (newest, validator) = (*rig.cards.newest(CARD), rig.buses[0].id);
    let at = Timestamp::from_secs(u64::from(NOON + at_s));
    let load = sealed.order.product.unwrap().onto(found.as_ref(), at).unwrap();
    let after = CardRecord { validator, ..sale_record(&newest, NOON + at_s).unwrap() };
    transact(rig, (after, found, Some(load)), true)
}

/// The card rides by one of its rides, or by its pass.
fn ride(rig: &mut Rig, found: Option<ProductsFound>, at_s: u32) -> Option<ProductsFound> {
    ride_on(rig, RouteIx(0), found, at_s)
}

fn ride_on(
    rig: &mut Rig,
    route: RouteIx,
    found: Option<ProductsFound>,
    at_s: u32,
) -> Option<ProductsFound> {
    let newest = *rig.cards.newest(CARD);
    let has_rides = found.is_some_and(|found| found.file.with_rides().is_some());
    let used = ProductUse {
        pass: (!has_rides).then_some(model::ProductSlot::First),
        rides: u8::from(has_rides),
    };
    let after = CardRecord {
        kind: RecordKind::Board,
        ctr: Ctr(newest.ctr.0 + 1),
        amount: 0,
        at_s: NOON + at_s,
        validator: rig.buses[0].id,
        place: PlaceIx(0),
        products: Some(used),
        ..newest
    };
    transact_on(rig, route, (after, found, None), true)
}

fn submit(rig: &mut Rig) {
    let batch = rig.buses[0].batch();
    rig.submit(&[batch]);
}

#[test]
fn a_product_is_paid_for_put_on_its_card_and_stands_as_sold() {
    let mut rig = Rig::new();
    let id = out(&rig, 20, "a-1");
    assert_eq!(pay(&rig.place, &bought(&rig, 20, "a-1")).unwrap().id, id, "told again");
    let other = pay(&rig.place, &bought(&rig, 31, "a-1")).unwrap_err();
    assert!(matches!(other, OrderError::OtherContent { .. }), "{other}");
    assert_eq!(stands(&rig, Account::LoadOrders), 1_250);

    let found = carry_out(&mut rig, None, 5);
    let found = ride(&mut rig, found, 60);
    assert_eq!(found.unwrap().rides, Some(9));
    submit(&mut rig);
    assert_eq!(order(&rig, id).phase, OrderPhase::Loaded);
    assert_eq!(stands(&rig, Account::LoadOrders), 0);
    assert_eq!(stands(&rig, Account::ProductSold(20)), 1_250);
    assert_eq!(stands(&rig, Account::LoadChannel(ChannelId(7))), -1_250);
    assert_eq!(stands(&rig, Account::Card(Cards::id(CARD))), i64::from(OPENING));
    assert_eq!(rig.open_kinds(), [""; 0]);
    rig.assert_sound();
}

#[test]
fn a_product_whose_entry_is_lost_is_booked_by_the_cards_next_tap() {
    let mut rig = Rig::new();
    let id = out(&rig, 31, "a-1");
    let sealed = on_the_list(&rig, CARD).unwrap();
    let newest = *rig.cards.newest(CARD);
    let load = sealed.order.product.unwrap().onto(None, Timestamp(0)).unwrap();
    let after =
        CardRecord { validator: rig.buses[1].id, ..sale_record(&newest, NOON + 5).unwrap() };
    let found = transact(&mut rig, (after, None, Some(load)), false);
    ride(&mut rig, found, 60);
    submit(&mut rig);
    assert_eq!(order(&rig, id).phase, OrderPhase::Loaded);
    assert_eq!(stands(&rig, Account::ProductSold(31)), 4_900);
    assert_eq!(rig.open_kinds(), [""; 0]);
    rig.assert_sound();
}

#[test]
fn an_allowance_that_costs_nothing_moves_no_money() {
    let mut rig = Rig::new();
    let id = out(&rig, 40, "a-1");
    let found = carry_out(&mut rig, None, 5);
    ride(&mut rig, found, 60);
    submit(&mut rig);
    assert_eq!(order(&rig, id).phase, OrderPhase::Loaded);
    assert_eq!((stands(&rig, Account::LoadOrders), stands(&rig, Account::ProductSold(40))), (0, 0));
    assert_eq!(rig.open_kinds(), [""; 0]);
    rig.assert_sound();
}

/// A stolen validator was given the card's load key with an order, and writes what it likes.
#[test]
fn sec_7_what_a_stolen_validator_puts_on_a_card_beyond_its_order_is_found() {
    let with_end = |until_s| CardProduct {
        id: 31,
        kind: ProductKind::Pass,
        scope: ProductScope::EVERYTHING,
        serial: 1,
        from_s: 0,
        until_s,
    };
    let forged = CardProducts::new([Some(with_end(u32::MAX)), None]).unwrap();
    let forged = ProductLoad::new(forged, 0).unwrap();
    // In the order's place, told or not; and once more behind it.
    for (told, behind) in [(true, false), (false, false), (true, true), (false, true)] {
        let mut rig = Rig::new();
        out(&rig, 20, "a-1");
        let mut found = behind.then(|| carry_out(&mut rig, None, 5)).flatten();
        let newest = *rig.cards.newest(CARD);
        let validator = rig.buses[0].id;
        let after = CardRecord { validator, ..sale_record(&newest, NOON + 30).unwrap() };
        found = transact(&mut rig, (after, found, Some(forged)), told);
        ride(&mut rig, found, 60);
        submit(&mut rig);
        let kinds = rig.open_kinds();
        let unsold = kinds.iter().filter(|kind| **kind == "product-without-order").count();
        assert!(unsold >= 1, "told {told}, behind {behind}: {kinds:?}");
        rig.assert_sound();
    }
    // The right product, with more rides than were paid for.
    let mut rig = Rig::new();
    out(&rig, 20, "a-1");
    let sealed = on_the_list(&rig, CARD).unwrap();
    let load = sealed.order.product.unwrap().onto(None, Timestamp(0)).unwrap();
    let more = ProductLoad::new(load.file(), 11).unwrap();
    let newest = *rig.cards.newest(CARD);
    let after =
        CardRecord { validator: rig.buses[0].id, ..sale_record(&newest, NOON + 5).unwrap() };
    let found = transact(&mut rig, (after, None, Some(more)), false);
    ride(&mut rig, found, 60);
    submit(&mut rig);
    assert!(rig.open_kinds().contains(&"product-without-order"), "{:?}", rig.open_kinds());
    rig.assert_sound();
}

#[test]
fn what_can_be_bought_is_in_the_configuration_and_its_end_is_a_service_days() {
    let rig = Rig::new();
    let refused = |products: &[Product], number| {
        let now = rig.place.clock.now();
        offered(products, number, &rig.place.rules, (now, now)).unwrap_err().to_string()
    };
    assert_eq!(refused(&shop(), 9), "there is no product 9: the configuration has 20, 31, 40");
    assert_eq!(refused(&[], 9), "there is no product 9: the configuration has no [[product]]");
    let [mut product, ..] = shop();
    product.group = Some("ferries".into());
    assert!(
        refused(&[product.clone()], 20).contains("\"ferries\", which the tariff does not have")
    );
    product.group = None;
    product.price = "12.505".into();
    assert!(refused(&[product], 20).contains("\"12.505\" of product 20 is no amount in EUR"));
    let pass = on_sale(&rig, 31).unwrap();
    let (from, until) = (pass.sale.product.from_s, pass.sale.product.until_s);
    assert_eq!(u64::from(until - from) + 1, 30 * 86_400, "no clock is changed in these days");
    let now = rig.place.clock.now();
    assert_eq!(rig.place.rules.service_day(Timestamp::from_secs(from.into()), now), {
        rig.place.rules.service_day(now, now)
    });
    assert_eq!(pass.price, Money::new(4_900, rig.place.rules.currency()));
    let foreign = pay(&rig.place, &Payment { amount: 0, product: None, ..bought(&rig, 40, "x") });
    assert!(matches!(foreign, Err(OrderError::Amount)), "value is never free");
}

#[test]
fn a_file_of_allowances_orders_its_good_lines_and_names_the_others() {
    let rig = Rig::new();
    let [first, second, third] = [0, 1, 2].map(|n| Cards::id(n).to_hex());
    let file = format!(
        "card,amount,reference,product\n{first},12.50,a,20\n{second},0.00,b,40\n\
         {third},13.00,c,20\n{third},12.50,d,21\n{third},5.00,e,\n{third},0.00,f,\n"
    );
    let channel = Channel::unnamed(12);
    let read = || {
        let report =
            bulk::order(&rig.place, (&channel, &shop()), None, file.as_bytes(), false).unwrap();
        let said = report.lines.iter().map(|line| match &line.judged {
            bulk::Judged::Ordered(id) => format!("order {}", id.0),
            bulk::Judged::Refused(word, why) => format!("{word}: {why}"),
            bulk::Judged::Good => "good".to_owned(),
        });
        said.collect::<Vec<_>>()
    };
    let first = read();
    assert_eq!(
        first,
        [
            "order 1",
            "order 2",
            "product: product 20 costs 12.50 EUR, not 13.00 EUR",
            "product: there is no product 21: the configuration has 20, 31, 40",
            "order 3",
            "unreadable: the amount is \"0.00\": nothing",
        ]
    );
    assert_eq!(read(), first, "the same file orders nothing twice");
    let rides = [1, 2, 3].map(|id| order(&rig, OrderId(id)).product.map(|sale| sale.rides));
    assert_eq!(rides, [Some(10), Some(4), None]);
    rig.assert_sound();
}
