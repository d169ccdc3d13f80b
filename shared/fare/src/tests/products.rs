//! Products on the card: who pays, in which order, and what the rider is told.
#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes its snapshots so")]

use alloc::{collections::BTreeMap, format, string::String, vec};

use expect_test::{Expect, expect};
use model::{CardProduct, CardProducts, ProductKind, ProductLoad, ProductScope, ProductsFound};
use proptest::prelude::*;

use super::{CITY, city, ride_with};
use crate::{Tariff, TariffSet};

/// 0:00:00 of the scripts.
const MIDNIGHT: u32 = 1_800_000_000;
const DAY: u32 = 86_400;

fn pass(scope: ProductScope) -> CardProduct {
    let (from_s, until_s) = (MIDNIGHT, MIDNIGHT + DAY - 1);
    CardProduct { id: 31, kind: ProductKind::Pass, scope, serial: 1, from_s, until_s }
}

fn carnet(scope: ProductScope) -> CardProduct {
    CardProduct { id: 20, kind: ProductKind::Rides, scope, serial: 2, from_s: 0, until_s: 0 }
}

fn held(slots: [Option<CardProduct>; 2], rides: Option<u32>) -> ProductsFound {
    ProductsFound { file: CardProducts::new(slots).unwrap(), rides }
}

fn bus() -> ProductScope {
    city().scope_of("bus").unwrap()
}

fn check(held: ProductsFound, script: &str, expected: &Expect) {
    expected.assert_eq(&ride_with(&TariffSet::new(city()), Some(held), script));
}

pub(super) fn any_held() -> impl Strategy<Value = Option<ProductsFound>> {
    let scope = prop::sample::select(vec![
        ProductScope::EVERYTHING,
        ProductScope::of_group("bus"),
        ProductScope::of_group("metro"),
        ProductScope::of_group("nowhere"),
    ]);
    let bound = || prop_oneof![Just(0), MIDNIGHT - 9000..MIDNIGHT + 200_000];
    let product = (0_u8..4, scope, bound(), bound()).prop_map(|(kind, scope, a, b)| {
        let kind = match kind {
            0 => return None,
            1 => ProductKind::Rides,
            _ => ProductKind::Pass,
        };
        let (from_s, until_s) = if b == 0 { (a, 0) } else { (a.min(b), a.max(b)) };
        Some(CardProduct { id: 7, kind, scope, serial: 1, from_s, until_s })
    });
    prop::option::of((product.clone(), product, 0_u32..5)).prop_map(|found| {
        let (first, second, rides) = found?;
        let file = CardProducts::new([first, second]).ok()?;
        let rides = file.with_rides().map(|_| rides);
        assert!(ProductLoad::new(file, rides.unwrap_or(0)).is_ok());
        Some(ProductsFound { file, rides })
    })
}

#[test]
fn a_pass_pays_every_ride_in_its_scope_and_leaves_a_transfer_right_as_it_was() {
    check(
        held([Some(pass(bus())), None], None),
        "8:00:00 entry A
         8:20:00 exit C
         8:30:00 board s1 7
         8:40:00 entry A
         8:50:00 exit B",
        &expect![[r#"
            8:00:00 entry A => 0.00 EUR (needs 3.00 EUR)
                  0.00 gate: Tapped in at Alpha: paid at tap-out, at most 3.00 EUR
                  0.00 product 31: Product 31 is not valid for this ride
            8:20:00 exit C => 3.00 EUR (needs 3.00 EUR)
                  3.00 far: Alpha to Gamma
                  0.00 product 31: Product 31 is not valid for this ride
                run TransferRun { legs: 1, paid: 300, age_s: 1200, group: 1 }
            8:30:00 board s1 7 => 0.00 EUR (needs 0.00 EUR)
                  1.50 bus: Bus 7: Bus single
                 -1.50 product 31: Paid by your pass (product 31)
                used ProductUse { pass: Some(First), rides: 0 }
                run TransferRun { legs: 1, paid: 300, age_s: 1800, group: 1 }
            8:40:00 entry A => 0.00 EUR (needs 3.00 EUR)
                  0.00 gate: Tapped in at Alpha: paid at tap-out, at most 3.00 EUR
                  0.00 product 31: Product 31 is not valid for this ride
                run TransferRun { legs: 1, paid: 300, age_s: 2400, group: 1 }
            8:50:00 exit B => 0.00 EUR (needs 0.00 EUR)
                  2.00 near: Alpha to Beta
                 -2.00 change: Transfer after 40 min of 60 min
                run TransferRun { legs: 2, paid: 300, age_s: 3000, group: 1 }
        "#]],
    );
}

#[test]
fn a_ride_pays_what_is_left_of_the_fare_and_a_free_transfer_takes_none() {
    check(
        held([Some(carnet(ProductScope::EVERYTHING)), None], Some(2)),
        "8:00:00 board s1 7
         8:20:00 entry A
         8:40:00 exit C
         8:45:00 board s1 F
         9:50:00 board s1 7",
        &expect![[r#"
            8:00:00 board s1 7 => 0.00 EUR (needs 0.00 EUR)
                  1.50 bus: Bus 7: Bus single
                 -1.50 product 20: Paid by one of your rides (product 20), 1 left
                used ProductUse { pass: None, rides: 1 }
                run TransferRun { legs: 1, paid: 150, age_s: 0, group: 0 }
            8:20:00 entry A => 0.00 EUR (needs 0.00 EUR)
                  0.00 gate: Tapped in at Alpha: paid at tap-out, at most 3.00 EUR
                  0.00 product 20: Product 20 pays this journey
                run TransferRun { legs: 1, paid: 150, age_s: 1200, group: 0 }
            8:40:00 exit C => 0.00 EUR (needs 0.00 EUR)
                  3.00 far: Alpha to Gamma
                 -3.00 change: Transfer after 20 min of 60 min
                run TransferRun { legs: 2, paid: 150, age_s: 2400, group: 1 }
            8:45:00 board s1 F => 0.00 EUR (needs 0.00 EUR)
                  4.00 ferry: Ferry: Ferry single
                 -1.50 to-ferry: Transfer after 45 min of 60 min
                 -2.50 product 20: Paid by one of your rides (product 20), 0 left
                used ProductUse { pass: None, rides: 1 }
                run TransferRun { legs: 3, paid: 400, age_s: 2700, group: 2 }
            9:50:00 board s1 7 => 1.50 EUR (needs 1.50 EUR)
                  1.50 bus: Bus 7: Bus single
                  0.00 from-ferry: No transfer: 110 min after, 30 min allowed
                  0.00 product 20: No ride is left of product 20
                run TransferRun { legs: 1, paid: 150, age_s: 0, group: 0 }
        "#]],
    );
}

#[test]
fn a_pass_is_used_before_rides_and_rides_before_stored_value() {
    check(
        held([Some(carnet(ProductScope::EVERYTHING)), Some(pass(bus()))], Some(1)),
        "8:00:00 board s1 7
         9:00:00 board s1 F
         20:00:00 board s1 F",
        &expect![[r#"
            8:00:00 board s1 7 => 0.00 EUR (needs 0.00 EUR)
                  1.50 bus: Bus 7: Bus single
                 -1.50 product 31: Paid by your pass (product 31)
                used ProductUse { pass: Some(Second), rides: 0 }
            9:00:00 board s1 F => 0.00 EUR (needs 0.00 EUR)
                  4.00 ferry: Ferry: Ferry single
                 -4.00 product 20: Paid by one of your rides (product 20), 0 left
                used ProductUse { pass: None, rides: 1 }
                run TransferRun { legs: 1, paid: 400, age_s: 0, group: 2 }
            20:00:00 board s1 F => 4.00 EUR (needs 4.00 EUR)
                  4.00 ferry: Ferry: Ferry single
                  0.00 product 20: No ride is left of product 20
                  0.00 product 31: Product 31 is not valid for this ride
                run TransferRun { legs: 1, paid: 400, age_s: 0, group: 2 }
        "#]],
    );
}

#[test]
fn a_product_that_does_not_pay_is_named_with_the_reason() {
    let tomorrow = CardProduct {
        id: 32,
        from_s: MIDNIGHT + DAY,
        until_s: MIDNIGHT + 2 * DAY,
        ..pass(ProductScope::EVERYTHING)
    };
    let over = CardProduct { until_s: MIDNIGHT + 3600, ..pass(ProductScope::EVERYTHING) };
    check(
        held([Some(over), Some(tomorrow)], None),
        "8:00:00 board s1 7",
        &expect![[r#"
        8:00:00 board s1 7 => 1.50 EUR (needs 1.50 EUR)
              1.50 bus: Bus 7: Bus single
              0.00 product 31: Product 31 ended 7 hours ago
              0.00 product 32: Product 32 is valid only in 16 hours
            run TransferRun { legs: 1, paid: 150, age_s: 0, group: 0 }
    "#]],
    );
    check(
        held([Some(pass(bus())), Some(carnet(bus()))], Some(0)),
        "8:00:00 board s1 F\n 8:10:00 entry A",
        &expect![[r#"
            8:00:00 board s1 F => 4.00 EUR (needs 4.00 EUR)
                  4.00 ferry: Ferry: Ferry single
                  0.00 product 31: Product 31 is not valid for this ride
                  0.00 product 20: Product 20 is not valid for this ride
                run TransferRun { legs: 1, paid: 400, age_s: 0, group: 2 }
            8:10:00 entry A => 0.00 EUR (needs 3.00 EUR)
                  0.00 gate: Tapped in at Alpha: paid at tap-out, at most 3.00 EUR
                  0.00 product 31: Product 31 is not valid for this ride
                  0.00 product 20: Product 20 is not valid for this ride
        "#]],
    );
    let mut bytes = held([None, Some(carnet(bus()))], None).file.to_bytes();
    bytes[2] = 9;
    let unknown = ProductsFound { file: CardProducts::from_bytes(bytes), rides: Some(0) };
    check(
        unknown,
        "8:00:00 board s1 7",
        &expect![[r#"
        8:00:00 board s1 7 => 1.50 EUR (needs 1.50 EUR)
              1.50 bus: Bus 7: Bus single
              0.00 product slot 1: The product in place 1 is not known here
              0.00 product 20: No ride is left of product 20
            run TransferRun { legs: 1, paid: 150, age_s: 0, group: 0 }
    "#]],
    );
}

#[test]
fn a_missing_tap_out_is_paid_by_what_was_valid_at_its_tap_in() {
    check(
        held([Some(carnet(ProductScope::EVERYTHING)), None], Some(3)),
        "8:00:00 entry A
         9:00:00 board s1 7
         9:30:00 entry B
         23:00:00 entry A @3",
        &expect![[r#"
            8:00:00 entry A => 0.00 EUR (needs 0.00 EUR)
                  0.00 gate: Tapped in at Alpha: paid at tap-out, at most 3.00 EUR
                  0.00 product 20: Product 20 pays this journey
            9:00:00 board s1 7 => 0.00 EUR (needs 0.00 EUR)
                  3.00 gate.maximum_fare: No tap-out after the tap-in at Alpha: maximum fare
                 -3.00 product 20: Paid by one of your rides (product 20), 2 left
                  1.50 bus: Bus 7: Bus single
                 -1.50 product 20: Paid by one of your rides (product 20), 1 left
                used ProductUse { pass: None, rides: 2 }
                run TransferRun { legs: 1, paid: 150, age_s: 0, group: 0 }
            9:30:00 entry B => 0.00 EUR (needs 0.00 EUR)
                  0.00 gate: Tapped in at Beta: paid at tap-out, at most 2.00 EUR
                  0.00 product 20: Product 20 pays this journey
                run TransferRun { legs: 1, paid: 150, age_s: 1800, group: 0 }
            23:00:00 entry A @3 => 0.00 EUR (needs 3.00 EUR)
                  2.00 gate.maximum_fare: No tap-out after the tap-in at Beta: maximum fare
                 -2.00 product 20: Paid by one of your rides (product 20), 0 left
                  0.00 gate: Tapped in at Alpha: paid at tap-out, at most 3.00 EUR
                  0.00 product 20: No ride is left of product 20
                used ProductUse { pass: None, rides: 1 }
        "#]],
    );
    let until_eight =
        CardProduct { until_s: MIDNIGHT + 8 * 3600, ..pass(ProductScope::EVERYTHING) };
    check(
        held([Some(until_eight), None], None),
        "8:00:00 entry A
         8:30:00 exit C
         8:40:00 entry A",
        &expect![[r#"
            8:00:00 entry A => 0.00 EUR (needs 0.00 EUR)
                  0.00 gate: Tapped in at Alpha: paid at tap-out, at most 3.00 EUR
                  0.00 product 31: Product 31 pays this journey
            8:30:00 exit C => 0.00 EUR (needs 0.00 EUR)
                  3.00 far: Alpha to Gamma
                 -3.00 product 31: Paid by your pass (product 31)
                used ProductUse { pass: Some(First), rides: 0 }
            8:40:00 entry A => 0.00 EUR (needs 3.00 EUR)
                  0.00 gate: Tapped in at Alpha: paid at tap-out, at most 3.00 EUR
                  0.00 product 31: Product 31 ended 40 minutes ago
        "#]],
    );
}

#[test]
fn every_way_out_of_a_gate_is_paid_by_a_product() {
    for script in [
        "8:00:00 entry A\n 8:04:00 exit A",
        "8:00:00 entry A\n 8:20:00 exit C",
        "8:00:00 entry A\n 12:00:00 exit C",
    ] {
        for held in [
            held([Some(pass(ProductScope::EVERYTHING)), None], None),
            held([Some(carnet(ProductScope::EVERYTHING)), None], Some(1)),
        ] {
            let told = ride_with(&TariffSet::new(city()), Some(held), script);
            assert_eq!(told.matches("=> 0.00 EUR (needs 0.00 EUR)").count(), 2, "{told}");
        }
    }
}

#[test]
fn two_groups_with_one_tag_are_refused() {
    let (one, other) = colliding();
    let text = CITY.replace("\"metro\"", &format!("{one:?}"));
    let text = text.replace("\"ferry\"]", &format!("{other:?}]"));
    let found = Tariff::parse(&text.replace("group = \"ferry\"", &format!("group = {other:?}")));
    let found = found.unwrap_err();
    assert!(found.iter().any(|f| f.message.contains("have one tag on cards")), "{found:#?}");
}

/// Two names with one tag: of more names than tags, some pair must meet.
fn colliding() -> (String, String) {
    let mut names = BTreeMap::new();
    for n in 0..70_000 {
        let name = format!("group {n}");
        if let Some(other) = names.insert(ProductScope::of_group(&name), name.clone()) {
            return (other, name);
        }
    }
    unreachable!("more names than tags")
}
