//! Taps that a product pays: booked for nothing, priced again from what the card proves.

use model::{
    CardProduct, CardProducts, CardRecord, CardTransaction, Companions, ProductKind, ProductScope,
    ProductSlot, ProductUse, ProductsFound, RouteIx,
};

use super::{Depot, History, Ride, committed, entry_of, in_doubt, rules};
use crate::{CardState, Cleared, ExceptionChange, ExceptionKind, Outcome, Priced, Rules};

const BUS: Option<RouteIx> = Some(RouteIx(0));

fn product(kind: ProductKind) -> CardProduct {
    let scope = ProductScope::EVERYTHING;
    CardProduct { id: 31, kind, scope, serial: 1, from_s: 0, until_s: 0 }
}

fn found(slots: [Option<CardProduct>; 2], rides: Option<u32>) -> ProductsFound {
    ProductsFound { file: CardProducts::new(slots).unwrap(), rides }
}

fn with_pass() -> ProductsFound {
    found([Some(product(ProductKind::Pass)), None], None)
}

fn with_rides(rides: u32) -> ProductsFound {
    found([None, Some(product(ProductKind::Rides))], Some(rides))
}

/// The first tap of a card that was issued with 20.00 and these products, as an honest validator
/// makes it.
fn honest(rules: &Rules, products: ProductsFound) -> CardTransaction {
    let mut history = History::issued(2000);
    history.ride(rules, Ride::Board(RouteIx(0)));
    let CardTransaction { before, after, .. } = history.transaction(2);
    let carries = Some(ProductUse::default());
    let before = CardRecord { products: carries, ..before };
    let blank = CardRecord { products: carries, amount: 0, ..after };
    let tap = CardTransaction {
        before,
        after: blank,
        products: Some(products),
        loaded: None,
        counters: None,
        companions: Companions::NONE,
        purse: None,
    };
    let Priced::Quote(quote) = rules.price(&tap, BUS) else { panic!("the bus has a fare") };
    let amount = u32::try_from(quote.charge.minor()).unwrap();
    let after = CardRecord {
        amount,
        balance: before.balance - i32::try_from(amount).unwrap(),
        run: quote.run_after,
        products: Some(quote.used),
        ..blank
    };
    CardTransaction { after, ..tap }
}

fn cleared(rules: &Rules, depot: &mut Depot, tap: CardTransaction) -> Cleared {
    depot.issue(rules, &tap.before);
    depot.clear(rules, &entry_of(&tap, BUS, 1, committed(tap)))
}

/// What the work item of this tap says; `None` when there is none.
fn mismatch(tap: CardTransaction) -> Option<alloc::string::String> {
    let done = cleared(&rules(), &mut Depot::default(), tap);
    let mut found = done.exceptions.into_iter().map(|change| match change {
        ExceptionChange::Opened(item) => {
            assert_eq!(item.kind, ExceptionKind::FareMismatch);
            item.finding
        }
        other @ (ExceptionChange::Changed(_) | ExceptionChange::Resolved { .. }) => {
            panic!("{other:?}")
        }
    });
    let first = found.next();
    assert_eq!(found.next(), None);
    first
}

#[test]
fn a_ride_paid_by_a_product_is_booked_moves_no_value_and_is_explained() {
    let rules = rules();
    for (products, used) in [
        (with_pass(), ProductUse { pass: Some(ProductSlot::First), rides: 0 }),
        (with_rides(3), ProductUse { pass: None, rides: 1 }),
    ] {
        let tap = honest(&rules, products);
        assert_eq!((tap.after.amount, tap.after.products), (0, Some(used)));
        let done = cleared(&rules, &mut Depot::default(), tap);
        assert_eq!((done.outcome, done.transfers.len()), (Outcome::Booked, 0));
        assert!(done.exceptions.is_empty(), "{:?}", done.exceptions);
        let Some(Priced::Quote(quote)) = done.priced else { panic!("priced") };
        assert_eq!((quote.charge.minor(), quote.steps.len(), quote.used), (0, 2, used));
    }
}

#[test]
fn a_validator_that_uses_products_otherwise_than_the_tariff_says_is_found_out() {
    let rules = rules();
    let pass = honest(&rules, with_pass());
    let ride = honest(&rules, with_rides(1));
    let none = honest(&rules, with_rides(0));
    for tap in [pass, ride, none] {
        assert_eq!(mismatch(tap), None);
    }
    let using = |tap: CardTransaction, used, amount: u32| {
        let balance = tap.before.balance - i32::try_from(amount).unwrap();
        let after = CardRecord { products: Some(used), amount, balance, ..tap.after };
        CardTransaction { after, ..tap }
    };
    let nothing = ProductUse::default();
    let one = ProductUse { pass: None, rides: 1 };
    let (both, gone) = (ProductUse { rides: 1, ..pass.after.products.unwrap() }, None);
    for (tap, finding) in [
        // Value taken although a product pays, and the reverse.
        (using(pass, nothing, 150), "charged 1.50 EUR; tariff 1 says: 0.00 EUR"),
        (using(none, one, 0), "charged 0.00 EUR; tariff 1 says: 1.50 EUR"),
        // The right amount for the wrong reason.
        (using(pass, nothing, 0), "pass 1 used, not: no product used"),
        (using(pass, both, 0), "pass 1 used, not: pass 1 and 1 of its rides used"),
        (using(ride, nothing, 0), "1 of its rides used, not: no product used"),
        // Products that were not looked at, and a card that is made to forget them.
        (CardTransaction { products: gone, ..using(pass, nothing, 150) }, "they were not read"),
        (
            CardTransaction { after: CardRecord { products: None, ..pass.after }, ..pass },
            "pass 1 used, not: carries no products",
        ),
    ] {
        let told = mismatch(tap).unwrap_or_default();
        assert!(told.contains(finding), "{told:?} does not say {finding:?}");
    }
}

#[test]
fn a_ride_in_doubt_is_priced_by_the_products_that_it_found_when_it_is_decided() {
    let rules = rules();
    for products in [with_pass(), with_rides(3)] {
        let mut depot = Depot::default();
        let tap = honest(&rules, products);
        depot.issue(&rules, &tap.before);
        let held = depot.clear(&rules, &entry_of(&tap, BUS, 1, in_doubt(tap)));
        assert_eq!((held.outcome, held.transfers.len()), (Outcome::Held, 0));
        let bytes = held.state.to_bytes().unwrap();
        assert_eq!(CardState::from_bytes(&bytes), Ok(held.state), "kept with its products");
        for cut in 0..bytes.len() {
            assert!(CardState::from_bytes(&bytes[..cut]).is_err(), "{cut}");
        }
        // The card's next tap shows the record.
        let carries = Some(ProductUse::default());
        let next = CardRecord {
            ctr: model::Ctr(3),
            amount: 150,
            balance: tap.after.balance - 150,
            products: carries,
            at_s: tap.after.at_s + 60,
            ..tap.after
        };
        let later = CardTransaction {
            before: tap.after,
            after: next,
            products: Some(products),
            loaded: None,
            counters: None,
            companions: Companions::NONE,
            purse: None,
        };
        let done = depot.clear(&rules, &entry_of(&later, BUS, 2, committed(later)));
        assert_eq!(done.outcome, Outcome::Booked);
        let about_the_doubt = |change: &&ExceptionChange| match change {
            ExceptionChange::Opened(item) => {
                item.kind == ExceptionKind::FareMismatch && item.finding.starts_with("record 2 ")
            }
            ExceptionChange::Changed(_) | ExceptionChange::Resolved { .. } => false,
        };
        assert_eq!(done.exceptions.iter().find(about_the_doubt), None);
        assert!(depot.open.values().all(|item| item.kind != ExceptionKind::InDoubt));
    }
}
