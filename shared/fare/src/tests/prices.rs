//! Every rule of pricing, one table each.
#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes its snapshots so")]

use expect_test::expect;
use model::{
    Companions, Money, PlaceIx, RecordKind, RiderClass, TapRole, TariffVersion, Timestamp,
    ValidatorId,
};

use super::{CITY, check, city, ride};
use crate::{FareTap, Journey, Param, Tariff, TariffSet, TariffSetError, price};

#[test]
fn a_gate_journey_is_paid_at_its_tap_out() {
    check(
        "8:00:00 entry A\n 8:20:00 exit C",
        &expect![[r#"
        8:00:00 entry A => 0.00 EUR (needs 3.00 EUR)
              0.00 gate: Tapped in at Alpha: paid at tap-out, at most 3.00 EUR
        8:20:00 exit C => 3.00 EUR (needs 3.00 EUR)
              3.00 far: Alpha to Gamma
            run TransferRun { legs: 1, paid: 300, age_s: 1200, group: 1 }
    "#]],
    );
}

#[test]
fn a_transfer_in_time_is_free_and_one_second_late_is_not() {
    check(
        "8:00:00 board s1 7
         9:00:00 board s2 7
         9:00:01 board s1 7 @3",
        &expect![[r#"
            8:00:00 board s1 7 => 1.50 EUR (needs 1.50 EUR)
                  1.50 bus: Bus 7: Bus single
                run TransferRun { legs: 1, paid: 150, age_s: 0, group: 0 }
            9:00:00 board s2 7 => 0.00 EUR (needs 0.00 EUR)
                  1.50 bus: Bus 7: Bus single
                 -1.50 change: Transfer after 60 min of 60 min
                run TransferRun { legs: 2, paid: 150, age_s: 3600, group: 0 }
            9:00:01 board s1 7 @3 => 1.50 EUR (needs 1.50 EUR)
                  1.50 bus: Bus 7: Bus single
                  0.00 change: No transfer: 60 min 1 s after, 60 min allowed
                run TransferRun { legs: 1, paid: 150, age_s: 0, group: 0 }
        "#]],
    );
}

#[test]
fn a_run_ends_after_its_last_ride() {
    check(
        "8:00:00 board s1 7
         8:10:00 board s1 7
         8:20:00 board s1 7
         8:30:00 board s1 7",
        &expect![[r#"
            8:00:00 board s1 7 => 1.50 EUR (needs 1.50 EUR)
                  1.50 bus: Bus 7: Bus single
                run TransferRun { legs: 1, paid: 150, age_s: 0, group: 0 }
            8:10:00 board s1 7 => 0.00 EUR (needs 0.00 EUR)
                  1.50 bus: Bus 7: Bus single
                 -1.50 change: Transfer after 10 min of 60 min
                run TransferRun { legs: 2, paid: 150, age_s: 600, group: 0 }
            8:20:00 board s1 7 => 0.00 EUR (needs 0.00 EUR)
                  1.50 bus: Bus 7: Bus single
                 -1.50 change: Transfer after 20 min of 60 min
                run TransferRun { legs: 3, paid: 150, age_s: 1200, group: 0 }
            8:30:00 board s1 7 => 1.50 EUR (needs 1.50 EUR)
                  1.50 bus: Bus 7: Bus single
                  0.00 change: No transfer: all 3 rides are used
                run TransferRun { legs: 1, paid: 150, age_s: 0, group: 0 }
        "#]],
    );
}

#[test]
fn the_transfer_clock_is_read_at_the_tap_in() {
    check(
        "8:00:00 board s1 7
         8:59:00 entry A
         9:30:00 exit C
         9:40:00 board s1 7",
        &expect![[r#"
            8:00:00 board s1 7 => 1.50 EUR (needs 1.50 EUR)
                  1.50 bus: Bus 7: Bus single
                run TransferRun { legs: 1, paid: 150, age_s: 0, group: 0 }
            8:59:00 entry A => 0.00 EUR (needs 3.00 EUR)
                  0.00 gate: Tapped in at Alpha: paid at tap-out, at most 3.00 EUR
                run TransferRun { legs: 1, paid: 150, age_s: 3540, group: 0 }
            9:30:00 exit C => 0.00 EUR (needs 0.00 EUR)
                  3.00 far: Alpha to Gamma
                 -3.00 change: Transfer after 59 min of 60 min
                run TransferRun { legs: 2, paid: 150, age_s: 5400, group: 1 }
            9:40:00 board s1 7 => 1.50 EUR (needs 1.50 EUR)
                  1.50 bus: Bus 7: Bus single
                  0.00 change: No transfer: 100 min after, 60 min allowed
                run TransferRun { legs: 1, paid: 150, age_s: 0, group: 0 }
        "#]],
    );
}

#[test]
fn a_change_to_a_dearer_ride_pays_the_difference_and_one_back_a_fixed_price() {
    check(
        "8:00:00 entry A
         8:10:00 exit B
         8:20:00 board s1 F
         8:20:30 board s1 7 @3",
        &expect![[r#"
            8:00:00 entry A => 0.00 EUR (needs 3.00 EUR)
                  0.00 gate: Tapped in at Alpha: paid at tap-out, at most 3.00 EUR
            8:10:00 exit B => 2.00 EUR (needs 2.00 EUR)
                  2.00 near: Alpha to Beta
                run TransferRun { legs: 1, paid: 200, age_s: 600, group: 1 }
            8:20:00 board s1 F => 2.00 EUR (needs 2.00 EUR)
                  4.00 ferry: Ferry: Ferry single
                 -2.00 to-ferry: Transfer after 20 min of 60 min
                run TransferRun { legs: 2, paid: 400, age_s: 1200, group: 2 }
            8:20:30 board s1 7 @3 => 0.50 EUR (needs 0.50 EUR)
                  1.50 bus: Bus 7: Bus single
                 -1.00 from-ferry: Transfer after 20 min 30 s of 30 min
                run TransferRun { legs: 3, paid: 450, age_s: 1230, group: 0 }
        "#]],
    );
}

#[test]
fn a_missing_tap_out_costs_the_maximum_fare_and_ends_the_run() {
    check(
        "8:00:00 board s1 7
         8:10:00 entry A
         8:40:00 board s2 7
         9:00:00 entry B
         9:10:00 entry C",
        &expect![[r#"
            8:00:00 board s1 7 => 1.50 EUR (needs 1.50 EUR)
                  1.50 bus: Bus 7: Bus single
                run TransferRun { legs: 1, paid: 150, age_s: 0, group: 0 }
            8:10:00 entry A => 0.00 EUR (needs 3.00 EUR)
                  0.00 gate: Tapped in at Alpha: paid at tap-out, at most 3.00 EUR
                run TransferRun { legs: 1, paid: 150, age_s: 600, group: 0 }
            8:40:00 board s2 7 => 4.50 EUR (needs 4.50 EUR)
                  3.00 gate.maximum_fare: No tap-out after the tap-in at Alpha: maximum fare
                  1.50 bus: Bus 7: Bus single
                run TransferRun { legs: 1, paid: 150, age_s: 0, group: 0 }
            9:00:00 entry B => 0.00 EUR (needs 2.00 EUR)
                  0.00 gate: Tapped in at Beta: paid at tap-out, at most 2.00 EUR
                run TransferRun { legs: 1, paid: 150, age_s: 1200, group: 0 }
            9:10:00 entry C => 2.00 EUR (needs 5.00 EUR)
                  2.00 gate.maximum_fare: No tap-out after the tap-in at Beta: maximum fare
                  0.00 gate: Tapped in at Gamma: paid at tap-out, at most 3.00 EUR
        "#]],
    );
}

#[test]
fn too_long_inside_costs_the_maximum_fare_once() {
    check(
        "8:00:00 entry A\n 10:00:01 exit B\n 10:05:00 entry A\n 12:05:00 exit B",
        &expect![[r#"
            8:00:00 entry A => 0.00 EUR (needs 3.00 EUR)
                  0.00 gate: Tapped in at Alpha: paid at tap-out, at most 3.00 EUR
            10:00:01 exit B => 3.00 EUR (needs 3.00 EUR)
                  3.00 gate.journey_limit_s: 120 min 1 s since the tap-in at Alpha, 120 min
                      allowed: maximum fare
            10:05:00 entry A => 0.00 EUR (needs 3.00 EUR)
                  0.00 gate: Tapped in at Alpha: paid at tap-out, at most 3.00 EUR
            12:05:00 exit B => 2.00 EUR (needs 2.00 EUR)
                  2.00 near: Alpha to Beta
                run TransferRun { legs: 1, paid: 200, age_s: 7200, group: 1 }
        "#]],
    );
}

#[test]
fn out_again_at_the_same_station_is_free_for_a_while_and_keeps_the_run() {
    check(
        "8:00:00 board s1 7
         8:10:00 entry A
         8:15:00 exit A
         8:20:00 entry A
         8:25:01 exit A",
        &expect![[r#"
            8:00:00 board s1 7 => 1.50 EUR (needs 1.50 EUR)
                  1.50 bus: Bus 7: Bus single
                run TransferRun { legs: 1, paid: 150, age_s: 0, group: 0 }
            8:10:00 entry A => 0.00 EUR (needs 3.00 EUR)
                  0.00 gate: Tapped in at Alpha: paid at tap-out, at most 3.00 EUR
                run TransferRun { legs: 1, paid: 150, age_s: 600, group: 0 }
            8:15:00 exit A => 0.00 EUR (needs 0.00 EUR)
                  0.00 gate.same_station: Out again at Alpha after 5 min
                run TransferRun { legs: 1, paid: 150, age_s: 900, group: 0 }
            8:20:00 entry A => 0.00 EUR (needs 3.00 EUR)
                  0.00 gate: Tapped in at Alpha: paid at tap-out, at most 3.00 EUR
                run TransferRun { legs: 1, paid: 150, age_s: 1200, group: 0 }
            8:25:01 exit A => 0.00 EUR (needs 0.00 EUR)
                  2.00 near: Alpha to Alpha
                 -2.00 change: Transfer after 20 min of 60 min
                run TransferRun { legs: 2, paid: 150, age_s: 1501, group: 1 }
        "#]],
    );
}

#[test]
fn what_has_no_price_is_refused_by_name() {
    check(
        "8:00:00 exit A
         8:00:00 board s1
         8:00:00 board s1 M
         8:00:00 entry s1
         8:00:00 entry nowhere
         8:00:00 entry B
         8:00:30 entry B
         8:01:00 entry A
         8:10:00 exit C
         8:20:00 entry B
         8:30:00 exit C
         8:31:00 exit s1",
        &expect![[r#"
            8:00:00 exit A => no-entry: no journey is open
            8:00:00 board s1 => not-valid-here: no flat fare is known for this route
            8:00:00 board s1 M => not-valid-here: no flat fare is known for this route
            8:00:00 entry s1 => not-valid-here: no fare is known from place 3
            8:00:00 entry nowhere => not-valid-here: no fare is known from place 999
            8:00:00 entry B => 0.00 EUR (needs 2.00 EUR)
                  0.00 gate: Tapped in at Beta: paid at tap-out, at most 2.00 EUR
            8:00:30 entry B => double-entry: the card was taken here a moment ago
            8:01:00 entry A => 2.00 EUR (needs 5.00 EUR)
                  2.00 gate.maximum_fare: No tap-out after the tap-in at Beta: maximum fare
                  0.00 gate: Tapped in at Alpha: paid at tap-out, at most 3.00 EUR
            8:10:00 exit C => 3.00 EUR (needs 3.00 EUR)
                  3.00 far: Alpha to Gamma
                run TransferRun { legs: 1, paid: 300, age_s: 540, group: 1 }
            8:20:00 entry B => 0.00 EUR (needs 2.00 EUR)
                  0.00 gate: Tapped in at Beta: paid at tap-out, at most 2.00 EUR
                run TransferRun { legs: 1, paid: 300, age_s: 1140, group: 1 }
            8:30:00 exit C => not-valid-here: no fare is known from place 1 to place 2
            8:31:00 exit s1 => not-valid-here: no fare is known from place 1 to place 3
        "#]],
    );
}

#[test]
fn pass_back_is_by_station_at_gates_and_by_validator_on_vehicles() {
    check(
        "8:00:00 board s1 7 @1
         8:00:30 board s1 7 @2
         8:00:40 board s1 7 @2
         8:02:00 board s1 7 @2
         7:00:00 board s1 7 @2",
        &expect![[r#"
            8:00:00 board s1 7 @1 => 1.50 EUR (needs 1.50 EUR)
                  1.50 bus: Bus 7: Bus single
                run TransferRun { legs: 1, paid: 150, age_s: 0, group: 0 }
            8:00:30 board s1 7 @2 => 0.00 EUR (needs 0.00 EUR)
                  1.50 bus: Bus 7: Bus single
                 -1.50 change: Transfer after 30 s of 60 min
                run TransferRun { legs: 2, paid: 150, age_s: 30, group: 0 }
            8:00:40 board s1 7 @2 => double-entry: the card was taken here a moment ago
            8:02:00 board s1 7 @2 => 0.00 EUR (needs 0.00 EUR)
                  1.50 bus: Bus 7: Bus single
                 -1.50 change: Transfer after 2 min of 60 min
                run TransferRun { legs: 3, paid: 150, age_s: 120, group: 0 }
            7:00:00 board s1 7 @2 => 1.50 EUR (needs 1.50 EUR)
                  1.50 bus: Bus 7: Bus single
                  0.00 change: No transfer: all 3 rides are used
                run TransferRun { legs: 1, paid: 150, age_s: 0, group: 0 }
        "#]],
    );
}

#[test]
fn a_journey_ends_under_the_table_of_its_tap_in() {
    let mut set = TariffSet::new(city());
    // Version 2 is dearer, and its tables are in another order.
    let newer = CITY
        .replace("version = 1", "version = 2")
        .replace(r#"["bus", "metro", "ferry"]"#, r#"["ferry", "bus", "metro"]"#)
        .replace(r#"price = "3.00""#, r#"price = "5.00""#)
        .replace(
            "  { id = \"C\",",
            "  { id = \"0\", lat = 0, lon = 0, kind = \"stop\" },\n  { id = \"C\",",
        );
    set.insert(Tariff::parse(&newer).unwrap()).unwrap();
    let script = "8:00:00 entry A
         8:20:00 exit C v2
         8:30:00 board s1 7 v2
         9:30:00 entry A
         9:40:00 entry C v2
         9:50:00 exit A v2";
    expect![[r#"
        8:00:00 entry A => 0.00 EUR (needs 3.00 EUR)
              0.00 gate: Tapped in at Alpha: paid at tap-out, at most 3.00 EUR
        8:20:00 exit C v2 => 3.00 EUR (needs 3.00 EUR)
              3.00 far: Alpha to Gamma
            run TransferRun { legs: 1, paid: 300, age_s: 1200, group: 2 }
        8:30:00 board s1 7 v2 => 0.00 EUR (needs 0.00 EUR)
              1.50 bus: Bus 7: Bus single
             -1.50 change: Transfer after 30 min of 60 min
            run TransferRun { legs: 2, paid: 300, age_s: 1800, group: 1 }
        9:30:00 entry A => 0.00 EUR (needs 3.00 EUR)
              0.00 gate: Tapped in at Alpha: paid at tap-out, at most 3.00 EUR
              0.00 change: No transfer: 90 min after, 60 min allowed
        9:40:00 entry C v2 => 3.00 EUR (needs 8.00 EUR)
              3.00 gate.maximum_fare: No tap-out after the tap-in at Alpha: maximum fare
              0.00 gate: Tapped in at Gamma: paid at tap-out, at most 5.00 EUR
        9:50:00 exit A v2 => 5.00 EUR (needs 5.00 EUR)
              5.00 far: Gamma to Alpha
            run TransferRun { legs: 1, paid: 500, age_s: 600, group: 2 }
    "#]]
    .assert_eq(&ride(&set, script));
}

#[test]
fn one_version_has_one_content_and_one_currency() {
    let mut set = TariffSet::new(city());
    assert_eq!(set.insert(city()), Ok(()));
    let other = Tariff::parse(&CITY.replace("Gamma", "Delta")).unwrap();
    assert_eq!(set.insert(other), Err(TariffSetError::VersionTaken(TariffVersion(1))));
    let dollars = CITY.replace("EUR", "USD").replace("version = 1", "version = 2");
    let dollars = Tariff::parse(&dollars).unwrap();
    assert!(matches!(set.insert(dollars), Err(TariffSetError::OtherCurrency { .. })));
    assert_eq!(set.iter().count(), 1);
}

#[test]
fn an_unknown_pair_can_cost_the_maximum_fare_instead() {
    let text = CITY.replace("[gate]", "[gate]\nunknown = \"maximum_fare\"");
    let set = TariffSet::new(Tariff::parse(&text).unwrap());
    expect![[r#"
        8:00:00 entry B => 0.00 EUR (needs 2.00 EUR)
              0.00 gate: Tapped in at Beta: paid at tap-out, at most 2.00 EUR
        8:30:00 exit C => 2.00 EUR (needs 2.00 EUR)
              2.00 gate.unknown: No fare is known from Beta to Gamma: maximum fare
    "#]]
    .assert_eq(&ride(&set, "8:00:00 entry B\n 8:30:00 exit C"));
}

#[test]
fn a_step_is_a_key_with_parameters_so_that_texts_can_be_translated() {
    let set = TariffSet::new(city());
    let tap = FareTap {
        at: Timestamp::from_secs(1_800_000_000),
        role: TapRole::Entry,
        place: PlaceIx(0),
        route: None,
        class: RiderClass(0),
        companions: Companions::NONE,
        purse: None,
        validator: ValidatorId::DEPOT,
        tariff: TariffVersion(1),
    };
    let quote = price(&set, &Journey::default(), &tap).unwrap();
    assert_eq!(quote.steps[0].key(), "journey-opened");
    let maximum = Money::new(300, set.newest().currency());
    assert_eq!(
        quote.steps[0].params(),
        [("from", Param::Text("Alpha".into())), ("maximum", Param::Amount(maximum))]
    );
    assert_eq!(quote.journey_after.open().unwrap().kind, RecordKind::Entry);
}
