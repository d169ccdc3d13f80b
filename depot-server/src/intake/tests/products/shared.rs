//! What was paid for products, shared between the operators whose rides they paid (ADR-0025).

use clearing::Rules;
use fare::{Tariff, TariffSet};
use model::{OperatorId, ServiceDate};

use super::*;
use crate::{
    days::close_through,
    settle::{SettleError, owed, product_lines_csv, products_csv, settle, share_products},
};

const CITY: &str = r#"
format = 1
version = 1
network = "Products"
timezone = "Etc/UTC"
currency = "EUR"
groups = ["bus", "ferry"]
operator = [
  { id = "bus", name = "Buses" }, { id = "ferry", name = "Ferries" },
  { id = "port", name = "Port authority" },
]
product = [{ id = "single", price = "1.50" }, { id = "sea", price = "4.00" }]
place = [{ id = "a", name = "Stop A", lat = 0, lon = 0, kind = "stop" }]
route = [
  { id = "7", name = "Bus 7", mode = "bus", operator = "bus", group = "bus", product = "single" },
  { id = "F", name = "F", mode = "ferry", operator = "ferry", group = "ferry", product = "sea" },
]
"#;

const BY_BOARDING: &str = r#"
[[rules]]
valid_from = "2026-01-01"
transfer = "own"
fee_per_mille = 10
leg = [{ operator = "ferry", shares = { ferry = 900, port = 100 } }]
products = { by = "boarding" }
"#;

const BUS: RouteIx = RouteIx(0);
const FERRY: RouteIx = RouteIx(1);
const TODAY: ServiceDate = ServiceDate(NOON / 86_400);

fn city() -> Rig {
    let tariff = Tariff::parse(CITY).unwrap_or_else(|found| panic!("{found:#?}"));
    let rules = Rules::new(TariffSet::new(tariff));
    let cards = Cards::in_city(rules.clone(), 3, NOON - 1000);
    Rig::of(rules, cards, |_| false)
}

/// Closes every day through this one and settles it.
fn close(rig: &Rig, day: ServiceDate, rules: &str) {
    rig.place.clock.set(Timestamp::from_secs(u64::from(day.0 + 1) * 86_400 + 3600));
    close_through(&rig.place, &signing(), day).unwrap();
    settle(&rig.place, Some(rules), day).unwrap();
}

fn payable(rig: &Rig) -> [i64; 3] {
    [0, 1, 2].map(|of| stands(rig, Account::OperatorPayable(None, Some(OperatorId(of)))))
}

#[test]
fn rec_12_rides_that_are_used_up_are_shared_by_who_gave_them_and_once() {
    let mut rig = city();
    out(&rig, 20, "a-1");
    let mut found = carry_out(&mut rig, None, 5);
    for n in 0..9 {
        let route = if n % 3 == 0 { FERRY } else { BUS };
        found = ride_on(&mut rig, route, found, 60 + 60 * n);
    }
    submit(&mut rig);
    assert_eq!(stands(&rig, Account::ProductSold(20)), 1_250);
    let day = TODAY;
    rig.place.clock.set(Timestamp::from_secs(u64::from(day.0 + 1) * 86_400 + 3600));
    close_through(&rig.place, &signing(), day).unwrap();
    let unsettled = share_products(&rig.place, day).unwrap_err();
    assert!(matches!(unsettled, SettleError::NotSettled(_)), "{unsettled}");
    close(&rig, day, BY_BOARDING);
    assert_eq!(share_products(&rig.place, day).unwrap(), [], "one ride is left");

    ride_on(&mut rig, FERRY, found, 86_400);
    submit(&mut rig);
    let next = ServiceDate(day.0 + 1);
    close(&rig, next, BY_BOARDING);
    let shared = share_products(&rig.place, next).unwrap();
    // Six bus rides and four of the ferry, of which the port has a tenth; 1 % is kept of each sum.
    let csv = "day,order,product,operator,currency,amount,fee,payable,issuer\n\
               2027-01-16,1,20,bus,EUR,7.50,0.07,7.43,first\n\
               2027-01-16,1,20,ferry,EUR,4.50,0.04,4.46,first\n\
               2027-01-16,1,20,port,EUR,0.50,0.00,0.50,first\n";
    // Each ferry ride is shared by itself: 1.25 is 1.13 and 0.12.
    let csv =
        csv.replace("4.50,0.04,4.46", "4.52,0.04,4.48").replace("0.50,0.00,0.50", "0.48,0.00,0.48");
    assert_eq!(products_csv(&rig.place, next, &shared), csv);
    let [one] = &shared[..] else { panic!("one product: {shared:?}") };
    let lines: i64 = one.lines.iter().map(|line| line.amount).sum();
    assert_eq!((one.lines.len(), lines), (14, 1_250), "every unit opens to a tap");
    assert_eq!(stands(&rig, Account::ProductSold(20)), 0);
    assert_eq!((payable(&rig), stands(&rig, Account::ClearingFee(None))), ([743, 448, 48], 11));

    let transfers = rig.place.store.count("transfers").unwrap();
    let lines = product_lines_csv(&rig.place, next, &shared);
    let again = share_products(&rig.place, next).unwrap();
    assert_eq!(products_csv(&rig.place, next, &again), csv, "to the byte");
    assert_eq!(product_lines_csv(&rig.place, next, &again), lines);
    assert_eq!(share_products(&rig.place, day).unwrap(), [], "of the day before nothing");
    assert_eq!(rig.place.store.count("transfers").unwrap(), transfers, "once");
    let owed = owed(&rig.place).unwrap();
    assert_eq!(owed.iter().map(|row| row.amount.minor()).sum::<i64>(), 1_239);
    rig.assert_sound();
}

#[test]
fn rec_12_a_pass_is_shared_by_its_rides_once_it_has_ended_and_late_taps_had_their_time() {
    let mut rig = city();
    out(&rig, 31, "a-1");
    let mut found = carry_out(&mut rig, None, 5);
    for route in [BUS, FERRY, FERRY] {
        found = ride_on(&mut rig, route, found, 60);
    }
    submit(&mut rig);
    let last = TODAY.0 + 29;
    close(&rig, ServiceDate(last + 6), BY_BOARDING);
    assert_eq!(share_products(&rig.place, ServiceDate(last + 6)).unwrap(), []);
    let day = ServiceDate(last + 7);
    close(&rig, day, BY_BOARDING);
    let shared = share_products(&rig.place, day).unwrap();
    assert_eq!(shared[0].share.shares.iter().map(|(_, sum, _)| sum).sum::<i64>(), 4_900);
    assert_eq!(shared[0].share.shares[0].1, 1_634, "a third of 49.00, and the remainder");
    assert_eq!(stands(&rig, Account::ProductSold(31)), 0);
    rig.assert_sound();
}

#[test]
fn rec_12_what_nobody_used_goes_where_the_rules_say() {
    for (rules, unused, bus) in [
        (BY_BOARDING.to_owned(), 4_900, 0),
        (BY_BOARDING.replace("\"boarding\"", "\"boarding\", unused = \"bus\""), 0, 4_851),
    ] {
        let mut rig = city();
        out(&rig, 31, "a-1");
        carry_out(&mut rig, None, 5);
        submit(&mut rig);
        let day = ServiceDate(TODAY.0 + 29 + 7);
        close(&rig, day, &rules);
        let shared = share_products(&rig.place, day).unwrap();
        assert_eq!(shared[0].lines, []);
        assert_eq!(stands(&rig, Account::ProductUnused(None)), unused);
        assert_eq!((payable(&rig)[0], stands(&rig, Account::ProductSold(31))), (bus, 0));
        rig.assert_sound();
    }
    let rig = city();
    let day = TODAY;
    close(&rig, day, "");
    let none = share_products(&rig.place, day).unwrap_err();
    assert!(none.to_string().contains("do not say how products are shared"), "{none}");
}
