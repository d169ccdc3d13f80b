//! Settlement end to end: taps of three operators, closed, shared, stated, and stated again.

use std::{collections::BTreeMap, sync::Arc};

use clearing::Rules;
use fare::{Tariff, TariffSet, rules::ZoneOffsets};
use fleet_sync::{DepotName, SigningKey};
use model::{Currency, IssuerId, RouteIx, ServiceDate, Timestamp};
use settlement::Why;

use super::*;
use crate::{
    clock::Clock,
    days::close_through,
    events::Events,
    intake::{Checker, Pipeline, register_cards},
    metrics::Metrics,
    store::Store,
    workload::{Bus, Cards, card_keys},
};

const NOON: u32 = 1_800_014_400;
const DAY_S: u32 = 86_400;
const FRIDAY: ServiceDate = ServiceDate(NOON / DAY_S);
const SATURDAY: ServiceDate = ServiceDate(NOON / DAY_S + 1);

/// Buses for 1.50, a ferry for 4.00 run by another operator; changes within the hour are free.
const CITY: &str = r#"
format = 1
version = 1
network = "Settlement"
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

[[transfer]]
id = "change"
from = ["bus", "ferry"]
to = ["bus", "ferry"]
limit_s = 3600
legs_max = 3
price = "free"
"#;

const EXCHANGE: &str = r#"
[[exchange]]
currency = "CHF"
rates = [{ from = 2020-01-01, rate = "0.9432" }]
rounding = "half-up"
"#;

const BY_FARE: &str = r#"
[[rules]]
valid_from = "2026-01-01"
transfer = "fare"
fee_per_mille = 10
leg = [{ operator = "ferry", shares = { ferry = 900, port = 100 } }]
"#;

const BUS: RouteIx = RouteIx(0);
const FERRY: RouteIx = RouteIx(1);

struct Rig {
    _folder: tempfile::TempDir,
    place: Workplace,
    pipeline: Pipeline,
    cards: Cards,
    buses: Vec<Bus>,
}

impl Rig {
    fn new() -> Self {
        let tariff = Tariff::parse(CITY).unwrap_or_else(|found| panic!("{found:#?}"));
        let rules = Rules::new(TariffSet::new(tariff));
        Self::of(rules.clone(), Cards::in_city(rules, 4, NOON - 1000))
    }

    /// The last card is in francs.
    fn with_francs() -> Self {
        let utc = |_: &str| Some(ZoneOffsets::fixed(0));
        let text = format!("{CITY}{EXCHANGE}");
        let tariff = Tariff::parse_in(&text, None, &utc);
        let tariff = tariff.unwrap_or_else(|found| panic!("{found:#?}"));
        let rules = Rules::new(TariffSet::new(tariff));
        let mut cards = Cards::in_city(rules.clone(), 4, NOON - 1000);
        cards.set_purse(3, Currency::parse("CHF").unwrap());
        Self::of(rules, cards)
    }

    /// Cards 2 and 3 are of issuer 7.
    fn with_issuers() -> Self {
        let tariff = Tariff::parse(CITY).unwrap_or_else(|found| panic!("{found:#?}"));
        let rules = Rules::new(TariffSet::new(tariff));
        let mut cards = Cards::in_city(rules.clone(), 4, NOON - 1000);
        cards.set_issuer(2, IssuerId(7));
        cards.set_issuer(3, IssuerId(7));
        Self::of(rules, cards)
    }

    fn of(rules: Rules, cards: Cards) -> Self {
        let (folder, store) = Store::for_test();
        let depot: DepotName = "north".parse().unwrap();
        let place = Workplace {
            depot: depot.clone(),
            store: Arc::new(store),
            rules: rules.into(),
            events: Events::default(),
            metrics: Metrics::default(),
            clock: Clock::manual(Timestamp::from_secs(u64::from(NOON))),
        };
        register_cards(&place, &cards.issues()).unwrap();
        let buses: Vec<_> = (1..=2).map(|number| Bus::new(number, &depot)).collect();
        for bus in &buses {
            let key = bus.signing.verifying_key();
            place.store.enrol(bus.id, &key, "bus", false, Timestamp(0)).unwrap();
        }
        let checker = Checker::new(depot, card_keys());
        let pipeline = Pipeline::new(place.clone(), checker, key(), 1);
        Self { _folder: folder, place, pipeline, cards, buses }
    }

    fn ride(&mut self, bus: usize, route: RouteIx, card: u32, after_noon_s: u32) {
        self.buses[bus].board_on(&mut self.cards, route, card, NOON + after_noon_s);
    }

    fn deliver(&mut self, bus: usize) {
        let batch = self.buses[bus].batch();
        self.pipeline.submit(vec![batch]).unwrap();
    }

    fn close(&self, day: ServiceDate) {
        let after = u64::from(day.0 + 2) * u64::from(DAY_S);
        self.place.clock.set(Timestamp::from_secs(after));
        close_through(&self.place, &key(), day).unwrap();
    }

    fn settle(&self, day: ServiceDate) -> Settled {
        settle(&self.place, Some(BY_FARE), day).unwrap()
    }
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

/// Card 0: bus and ferry in one run, card 1: a bus, card 2: the ferry with a bus that arrives late.
fn friday() -> Rig {
    let mut rig = Rig::new();
    rig.ride(0, BUS, 0, 0);
    rig.ride(0, FERRY, 0, 600);
    rig.ride(0, BUS, 1, 700);
    rig.ride(0, FERRY, 2, 800);
    rig.ride(1, BUS, 2, 2400);
    rig.deliver(0);
    rig.close(FRIDAY);
    rig
}

#[test]
fn rec_13_a_day_in_two_currencies_nets_to_zero_in_each_and_its_receipts_verify() {
    let mut rig = Rig::with_francs();
    rig.ride(0, BUS, 0, 0);
    rig.ride(0, FERRY, 0, 600);
    // 1.50 are 1.41 francs; the ferry alone is 4.00 or 3.77, and free after the bus.
    rig.ride(0, BUS, 3, 700);
    rig.ride(0, FERRY, 3, 1300);
    rig.deliver(0);
    rig.close(FRIDAY);
    let settled = rig.settle(FRIDAY);
    let csv = statement_csv(&rig.place, &settled.statements);
    // 1.41 is shared 141 to 377: 0.38 and 1.03, of which the port has 0.10.
    assert_eq!(
        csv,
        "day,operator,currency,rides,gross,shared,share,fee,payable,late,late amount,disputed,\
         disputed amount,issuer\n\
         2027-01-15,bus,EUR,1,1.50,-1.09,0.41,0.00,0.41,0,0.00,0,0.00,first\n\
         2027-01-15,ferry,EUR,1,0.00,0.98,0.98,0.00,0.98,0,0.00,0,0.00,first\n\
         2027-01-15,port,EUR,0,0.00,0.11,0.11,0.00,0.11,0,0.00,0,0.00,first\n\
         2027-01-15,total,EUR,2,1.50,0.00,1.50,0.00,1.50,0,0.00,0,0.00,first\n\
         2027-01-15,bus,CHF,1,1.41,-1.03,0.38,0.00,0.38,0,0.00,0,0.00,first\n\
         2027-01-15,ferry,CHF,1,0.00,0.93,0.93,0.00,0.93,0,0.00,0,0.00,first\n\
         2027-01-15,port,CHF,0,0.00,0.10,0.10,0.00,0.10,0,0.00,0,0.00,first\n\
         2027-01-15,total,CHF,2,1.41,0.00,1.41,0.00,1.41,0,0.00,0,0.00,first\n"
    );
    for statement in &settled.statements {
        let (gross, payable, fees) = statement.totals();
        assert_eq!(gross, payable + fees, "{}", statement.currency);
    }
    assert_eq!(statement_csv(&rig.place, &rig.settle(FRIDAY).statements), csv, "to the byte");
    let day = rig.place.store.closed_day(FRIDAY).unwrap().unwrap().document;
    let moved: Vec<_> = day.lines().filter(|line| line.starts_with("moved: ")).collect();
    let opening = i64::from(crate::workload::OPENING);
    let francs = model::Money::new(opening + 141, Currency::parse("CHF").unwrap());
    assert_eq!(moved[0], format!("moved: {francs}"), "{moved:?}");
    assert_eq!(moved.len(), 2, "one line a currency");

    let tap = clearing::TapRef {
        validator: rig.buses[0].id,
        epoch: model::Epoch(1),
        seq: model::TapSeq(3),
    };
    let receipt = crate::receipts::receipt(&rig.place, &key(), tap).unwrap();
    assert!(receipt.contains("\npaid: 1.41 CHF\n"), "{receipt}");
    let signer = key().verifying_key().to_bytes();
    crate::receipts::prove(&receipt, &day, &signer).unwrap();
}

#[test]
fn a_fee_for_each_ride_is_said_in_every_currency_that_was_ridden_in() {
    let mut rig = Rig::with_francs();
    rig.ride(0, BUS, 3, 0);
    rig.deliver(0);
    rig.close(FRIDAY);
    let rules = |more: &str| {
        format!(
            "[[rules]]\nvalid_from = \"2026-01-01\"\ntransfer = \"own\"\n\
             fee_per_ride = \"0.10\"\n{more}"
        )
    };
    let refused = settle(&rig.place, Some(&rules("")), FRIDAY).unwrap_err();
    assert!(matches!(refused, SettleError::NoFee(_)), "{refused}");
    let named = rules("fees_in = { CHF = \"0.05\" }");
    let settled = settle(&rig.place, Some(&named), FRIDAY).unwrap();
    let fees = settled.statements.iter().map(|s| (s.currency.letters(), s.totals().2));
    assert_eq!(fees.collect::<Vec<_>>(), [("EUR", 0), ("CHF", 5)]);
}

#[test]
fn rec_13_a_day_is_settled_by_the_rules_and_nets_to_zero() {
    let rig = friday();
    let settled = rig.settle(FRIDAY);
    // Bus and ferry: 1.50 is shared 150 to 400, so 0.41 and 1.09; of that the port has 0.11.
    // The ferry alone: 4.00, of that the port has 0.40. Fees are one percent.
    assert_eq!(
        statement_csv(&rig.place, &settled.statements),
        "day,operator,currency,rides,gross,shared,share,fee,payable,late,late amount,disputed,\
         disputed amount,issuer\n\
         2027-01-15,bus,EUR,2,3.00,-1.09,1.91,0.01,1.90,0,0.00,0,0.00,first\n\
         2027-01-15,ferry,EUR,2,4.00,0.58,4.58,0.04,4.54,0,0.00,0,0.00,first\n\
         2027-01-15,port,EUR,0,0.00,0.51,0.51,0.00,0.51,0,0.00,0,0.00,first\n\
         2027-01-15,total,EUR,4,7.00,0.00,7.00,0.05,6.95,0,0.00,0,0.00,first\n"
    );
    let (gross, payable, fees) = settled.statements[0].totals();
    assert_eq!(gross, payable + fees, "I9");
}

#[test]
fn rec_13_each_issuer_owes_each_operator_for_its_own_cards_and_each_statement_nets_to_zero() {
    let mut rig = Rig::with_issuers();
    // The same runs with a card of each: shared within the issuer of the card only.
    for card in [0, 2] {
        rig.ride(0, BUS, card, 0);
        rig.ride(0, FERRY, card, 600);
    }
    rig.ride(0, FERRY, 3, 700);
    rig.deliver(0);
    rig.close(FRIDAY);
    let settled = rig.settle(FRIDAY);
    let csv = statement_csv(&rig.place, &settled.statements);
    assert_eq!(
        csv,
        "day,operator,currency,rides,gross,shared,share,fee,payable,late,late amount,disputed,\
         disputed amount,issuer\n\
         2027-01-15,bus,EUR,1,1.50,-1.09,0.41,0.00,0.41,0,0.00,0,0.00,first\n\
         2027-01-15,ferry,EUR,1,0.00,0.98,0.98,0.00,0.98,0,0.00,0,0.00,first\n\
         2027-01-15,port,EUR,0,0.00,0.11,0.11,0.00,0.11,0,0.00,0,0.00,first\n\
         2027-01-15,total,EUR,2,1.50,0.00,1.50,0.00,1.50,0,0.00,0,0.00,first\n\
         2027-01-15,bus,EUR,1,1.50,-1.09,0.41,0.00,0.41,0,0.00,0,0.00,7\n\
         2027-01-15,ferry,EUR,2,4.00,0.58,4.58,0.04,4.54,0,0.00,0,0.00,7\n\
         2027-01-15,port,EUR,0,0.00,0.51,0.51,0.00,0.51,0,0.00,0,0.00,7\n\
         2027-01-15,total,EUR,3,5.50,0.00,5.50,0.04,5.46,0,0.00,0,0.00,7\n"
    );
    for statement in &settled.statements {
        let (gross, payable, fees) = statement.totals();
        assert_eq!(gross, payable + fees, "I9 for issuer {:?}", statement.issuer);
        assert!(statement.lines.iter().all(|line| line.tap.is_some()));
    }
    let lines = lines_csv(&rig.place, &settled.statements, Some("port"));
    assert!(lines.contains("port,shared,v000001,1,5,2027-01-15,EUR,0.40,7\n"), "{lines}");
    assert_eq!(statement_csv(&rig.place, &rig.settle(FRIDAY).statements), csv, "to the byte");
}

#[test]
fn rec_13_an_issuer_that_is_known_late_leaves_the_settled_day_and_moves_the_debt_in_a_later_one() {
    let mut rig = Rig::with_issuers();
    let late = Cards::id(9);
    let mut record = rig.cards.issues()[0].record;
    // Another depot of the scheme issued it: here its taps come first.
    let mut stranger = Cards::in_city(Rules::clone(&rig.place.rules), 10, NOON - 1000);
    rig.buses[0].board_on(&mut stranger, BUS, 9, NOON);
    rig.deliver(0);
    rig.close(FRIDAY);
    let friday = statement_csv(&rig.place, &rig.settle(FRIDAY).statements);
    assert!(
        friday.contains(",bus,EUR,1,1.50,0.00,1.50,0.01,1.49,0,0.00,0,0.00,first\n"),
        "{friday}"
    );
    record.at_s = NOON - 1000;
    let issue = clearing::Issue { card: late, record, purse: None, issuer: Some(IssuerId(7)) };
    register_cards(&rig.place, &[issue]).unwrap();
    rig.close(SATURDAY);
    let saturday = rig.settle(SATURDAY).statements;
    let bus = |at: usize| saturday[at].rows[&Some(OperatorId(0))].gross;
    assert_eq!((saturday[0].issuer, bus(0)), (None, -150));
    assert_eq!((saturday[1].issuer, bus(1)), (Some(IssuerId(7)), 150));
    assert!(saturday.iter().flat_map(|s| &s.lines).all(|line| line.why == Why::Correction));
    assert_eq!(statement_csv(&rig.place, &rig.settle(FRIDAY).statements), friday, "to the byte");
    let float = crate::float::float(&rig.place, &crate::config::Float::default()).unwrap();
    let held: Vec<_> = float.iter().map(|of| (of.issuer, of.total())).collect();
    let opening = i64::from(crate::workload::OPENING);
    assert_eq!(held, [(None, 2 * opening), (Some(IssuerId(7)), 3 * opening - 150)], "REC-15");
}

impl Rig {
    fn stands(&self, account: clearing::Account) -> i64 {
        let currency = self.place.rules.currency();
        self.place.store.account(&account.id(currency)).unwrap().posted()
    }

    /// Nothing differs when all is booked again.
    fn verify(&self) {
        let checker = Checker::new("north".parse().unwrap(), card_keys());
        let Workplace { store, rules, .. } = &self.place;
        let report = crate::verify::verify(store, &checker, rules).unwrap();
        assert_eq!(report.first_difference, None);
        let report = crate::verify::roots(store, &checker, rules).unwrap();
        assert_eq!(report.first_difference, None);
    }
}

#[test]
fn rec_13_what_is_settled_is_posted_once_is_paid_and_is_booked_again_by_verify() {
    use clearing::Account;
    let mut rig = Rig::with_issuers();
    for card in [0, 2] {
        rig.ride(0, BUS, card, 0);
        rig.ride(0, FERRY, card, 600);
    }
    rig.ride(0, FERRY, 3, 700);
    rig.deliver(0);
    rig.close(FRIDAY);
    let (bus, ferry) = (Some(OperatorId(0)), Some(OperatorId(1)));
    let seven = Some(IssuerId(7));
    assert_eq!(rig.stands(Account::FareRevenue(bus).of(seven)), 150);
    let before = rig.place.store.count("transfers").unwrap();
    let settled = rig.settle(FRIDAY);
    let posted = rig.place.store.count("transfers").unwrap();
    assert!(posted > before);
    for statement in &settled.statements {
        let (issuer, mut kept) = (statement.issuer, 0);
        for (operator, row) in &statement.rows {
            assert_eq!(rig.stands(Account::FareRevenue(*operator).of(issuer)), 0);
            let payable = rig.stands(Account::OperatorPayable(issuer, *operator));
            assert_eq!(payable, row.payable());
            kept += row.fee;
        }
        assert_eq!(rig.stands(Account::OperatorSharing(issuer)), 0);
        assert_eq!(rig.stands(Account::ClearingFee(issuer)), kept);
    }
    rig.settle(FRIDAY);
    assert_eq!(rig.place.store.count("transfers").unwrap(), posted, "once");
    rig.verify();

    let euros = |minor| model::Money::new(minor, rig.place.rules.currency());
    let pay =
        |amount, reference| pay(&rig.place, seven, ("ferry", euros(amount)), (reference, "ana"));
    assert_eq!(pay(400, "T1").unwrap(), euros(54));
    assert_eq!(pay(400, "T1").unwrap(), euros(54), "told twice, paid once");
    let other = pay(401, "T1").unwrap_err().to_string();
    assert!(other.contains("was used for 4.00 EUR to operator 1"), "{other}");
    let over = pay(55, "T2").unwrap_err().to_string();
    assert!(over.contains("0.54 EUR are owed to ferry"), "{over}");
    assert_eq!(rig.stands(Account::OperatorPayable(None, ferry)), 98, "the other issuer's debt");
    assert_eq!(rig.stands(Account::OperatorBank(seven)), 400);
    assert_eq!(
        owed_csv(&rig.place, &owed(&rig.place).unwrap()),
        "issuer,operator,currency,owed,to 30 days,to 60 days,to 90 days,older,oldest\n\
         first,bus,EUR,0.41,0.41,0.00,0.00,0.00,2027-01-15\n\
         first,ferry,EUR,0.98,0.98,0.00,0.00,0.00,2027-01-15\n\
         first,port,EUR,0.11,0.11,0.00,0.00,0.00,2027-01-15\n\
         7,bus,EUR,0.41,0.41,0.00,0.00,0.00,2027-01-15\n\
         7,ferry,EUR,0.54,0.54,0.00,0.00,0.00,2027-01-15\n\
         7,port,EUR,0.51,0.51,0.00,0.00,0.00,2027-01-15\n"
    );
    // What settling moved is nothing that the next day earned.
    rig.close(SATURDAY);
    let saturday = rig.settle(SATURDAY).statements;
    assert_eq!(saturday.iter().map(|s| s.totals().0).sum::<i64>(), 0);
    rig.verify();
    rig.place.store.alter("UPDATE office_journal SET event = replace(event, '400', '401')");
    let checker = Checker::new("north".parse().unwrap(), card_keys());
    let Workplace { store, rules, .. } = &rig.place;
    let found = crate::verify::verify(store, &checker, rules).unwrap().first_difference.unwrap();
    assert!(found.contains("journal of decisions was altered"), "{found}");
}

#[test]
fn what_is_paid_at_one_moment_by_many_clerks_is_paid_once() {
    let mut rig = Rig::new();
    rig.ride(0, FERRY, 0, 0);
    rig.deliver(0);
    rig.close(FRIDAY);
    rig.settle(FRIDAY);
    let euros = |minor| model::Money::new(minor, rig.place.rules.currency());
    let paid_by_all = |minor: i64, reference: fn(usize) -> String| -> Vec<bool> {
        let (clerks, place) = (std::sync::Barrier::new(8), &rig.place);
        std::thread::scope(|scope| {
            let clerk = |number: usize| {
                clerks.wait();
                pay(place, None, ("ferry", euros(minor)), (&reference(number), "ana")).is_ok()
            };
            let all: Vec<_> = (0..8).map(|number| scope.spawn(move || clerk(number))).collect();
            all.into_iter().map(|clerk| clerk.join().unwrap()).collect()
        })
    };
    let payable = rig.stands(clearing::Account::OperatorPayable(None, Some(OperatorId(1))));
    let one = paid_by_all(10, |_| "T1".to_owned());
    assert!(one.iter().all(|told| *told), "told many times");
    let many = paid_by_all(payable - 10, |number| format!("T2-{number}"));
    assert_eq!(many.iter().filter(|paid| **paid).count(), 1, "no more than is owed");
    let journal = rig.place.store.office_journal().unwrap();
    assert_eq!(journal.iter().filter(|row| row.event.payment().is_some()).count(), 2);
    let owed = owed(&rig.place).unwrap();
    assert!(owed.iter().all(|row| row.operator != Some(OperatorId(1)) || row.amount == euros(0)));
    rig.verify();
}

#[test]
fn a_day_that_was_settled_before_debts_were_posted_is_posted_when_it_is_settled_again() {
    let mut rig = Rig::new();
    rig.ride(0, BUS, 0, 0);
    rig.deliver(0);
    rig.close(FRIDAY);
    // As the version before left it.
    let day = FRIDAY.0;
    rig.place.store.alter(&format!("INSERT INTO settlements VALUES ({day}, '', 1, 0)"));
    rig.place.store.alter(&format!(
        "INSERT INTO settlement_rows VALUES ({day}, 0, 'bus', 1, 150, 0, 0, 0, 0, 0, 0, NULL, NULL)"
    ));
    let bus = Some(OperatorId(0));
    assert_eq!(rig.stands(clearing::Account::FareRevenue(bus)), 150);
    for _ in 0..2 {
        let settled = settle(&rig.place, Some(BY_FARE), FRIDAY).unwrap();
        assert_eq!(settled.statements[0].totals(), (150, 150, 0), "by the rules that were kept");
        assert_eq!(rig.stands(clearing::Account::FareRevenue(bus)), 0);
        assert_eq!(rig.stands(clearing::Account::OperatorPayable(None, bus)), 150);
        rig.verify();
    }
}

#[test]
fn rec_13_every_line_opens_to_a_tap_and_the_lines_are_the_rows() {
    let rig = friday();
    let statement = rig.settle(FRIDAY).statements.remove(0);
    let mut sums = BTreeMap::new();
    for line in &statement.lines {
        assert!(line.tap.is_some(), "{line:?}");
        *sums.entry(line.operator).or_insert(0) += line.amount;
    }
    for (operator, row) in &statement.rows {
        assert_eq!(sums.get(operator), Some(&(row.gross + row.shared)));
    }
    let csv = lines_csv(&rig.place, &[statement], Some("port"));
    assert_eq!(
        csv,
        "day,operator,why,validator,epoch,entry,service day,currency,amount,issuer\n\
         2027-01-15,port,shared,v000001,1,2,2027-01-15,EUR,0.11,first\n\
         2027-01-15,port,shared,v000001,1,4,2027-01-15,EUR,0.40,first\n"
    );
}

#[test]
fn rec_13_late_taps_are_settled_with_the_day_they_were_booked_into_and_said_to_be_late() {
    let mut rig = friday();
    let friday = statement_csv(&rig.place, &rig.settle(FRIDAY).statements);
    rig.deliver(1);
    rig.close(SATURDAY);
    let saturday = rig.settle(SATURDAY);
    let bus = saturday.statements[0].rows[&Some(OperatorId(0))];
    // Free after the ferry, whose run was settled on Friday: it is not shared again.
    assert_eq!((bus.rides, bus.gross, bus.shared), (1, 0, 0));
    assert_eq!(statement_csv(&rig.place, &rig.settle(FRIDAY).statements), friday, "to the byte");
}

#[test]
fn rec_13_a_record_known_only_from_a_later_tap_is_settled_once_and_attributed_later() {
    let mut rig = Rig::new();
    rig.ride(1, FERRY, 3, 0);
    rig.ride(0, FERRY, 3, 7200);
    rig.deliver(0);
    rig.close(FRIDAY);
    let friday = rig.settle(FRIDAY).statements.remove(0);
    let why: Vec<_> = friday.lines.iter().map(|line| (line.why, line.amount)).collect();
    assert!(why.contains(&(Why::Recovered, 400)), "{why:?}");
    assert_eq!(friday.totals().0, 800);
    rig.deliver(1);
    rig.close(SATURDAY);
    let saturday = rig.settle(SATURDAY).statements.remove(0);
    assert_eq!(saturday.totals().0, 0, "nothing is earned twice: {:?}", saturday.lines);
}

#[test]
fn amounts_in_suspense_are_stated_with_the_day_since_which_they_wait() {
    let mut rig = Rig::new();
    rig.ride(1, BUS, 3, 0);
    rig.ride(1, FERRY, 3, 7200);
    rig.ride(0, BUS, 3, 14_400);
    rig.deliver(0);
    rig.close(FRIDAY);
    rig.close(SATURDAY);
    let settled = rig.settle(SATURDAY);
    let [gap] = &settled.suspense[..] else { panic!("{:?}", settled.suspense) };
    assert_eq!((gap.since, gap.amount.minor()), (FRIDAY, 150));
    let csv = suspense_csv(SATURDAY, &settled.suspense);
    assert!(csv.contains(",2027-01-15,1,EUR,1.50\n"), "{csv}");
    assert!(!csv.contains(&Cards::id(3).to_hex()), "no whole card number");
}

#[test]
fn a_settled_day_keeps_its_rules_and_a_changed_row_is_named() {
    let rig = friday();
    let first = statement_csv(&rig.place, &rig.settle(FRIDAY).statements);
    let other = "[[rules]]\nvalid_from = \"2026-01-01\"\ntransfer = \"boarding\"\n";
    let again = settle(&rig.place, Some(other), FRIDAY).unwrap();
    assert_eq!(statement_csv(&rig.place, &again.statements), first);
    rig.place.store.alter("UPDATE settlement_rows SET gross = gross + 1 WHERE operator = 'ferry'");
    let error = settle(&rig.place, None, FRIDAY).unwrap_err().to_string();
    assert!(error.contains("first for ferry"), "{error}");
}

#[test]
fn an_open_day_and_a_day_before_all_rules_are_not_settled() {
    let rig = friday();
    let open = settle(&rig.place, None, SATURDAY).unwrap_err().to_string();
    assert!(open.contains("2027-01-16 is not closed"), "{open}");
    let late = "[[rules]]\nvalid_from = \"2028-01-01\"\ntransfer = \"own\"\n";
    let error = settle(&rig.place, Some(late), FRIDAY).unwrap_err().to_string();
    assert!(error.contains("no share rules are valid on 2027-01-15"), "{error}");
}
