//! Money between issuers and operators, and corrections, by the real program on real books.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command, sync::Arc};

use card::{KeyRole, KeyVersion};
use depot_server::{
    clock::Clock,
    config::to_hex,
    days::close_through,
    events::Events,
    intake::{Checker, Pipeline, Workplace, register_cards},
    metrics::Metrics,
    store::Store,
    workload::{Bus, CITY, Cards, card_keys, rules},
};
use fleet_sync::{DepotName, SigningKey};
use model::{IssuerId, Served, ServiceDate, TapEvent, Timestamp};
use rusqlite::Connection;

use crate::processes::{DEPOT, said};

const NOON: u32 = 1_800_014_400;
const FRIDAY: ServiceDate = ServiceDate(NOON / 86_400);

const CONFIG: &str = r#"
depot = "north"
database = "depot.sqlite"
tariffs = ["city.toml"]

[keys]
tmac = "keys/tmac.hex"

[reconcile]
second_person_above = "1.40"

[[issuer]]
number = 1
name = "City"
first = true

[[issuer]]
number = 7
name = "Harbour"
"#;

/// A closed Friday: cards of two issuers, a charge without passage, a lost record, a tap in doubt.
fn books(at: &Path) {
    fs::create_dir(at.join("keys")).unwrap();
    fs::write(at.join("city.toml"), CITY).unwrap();
    fs::write(at.join("depot.toml"), CONFIG).unwrap();
    let tmac = card_keys().master(KeyRole::Tmac, KeyVersion::FIRST).unwrap().0;
    fs::write(at.join("keys/tmac.hex"), format!("{}\n", to_hex(&tmac))).unwrap();
    fs::set_permissions(at.join("keys/tmac.hex"), fs::Permissions::from_mode(0o600)).unwrap();
    said(&run(at, &["init"], &[]));

    let depot: DepotName = "north".parse().unwrap();
    let place = Workplace {
        depot: depot.clone(),
        store: Arc::new(Store::open(&at.join("depot.sqlite")).unwrap()),
        rules: rules().into(),
        events: Events::default(),
        metrics: Metrics::default(),
        clock: Clock::manual(Timestamp::from_secs(u64::from(NOON))),
    };
    let mut cards = Cards::new(5, NOON - 1000);
    cards.set_issuer(3, IssuerId(7));
    register_cards(&place, &cards.issues()).unwrap();
    let mut buses: Vec<_> = (1..=2).map(|number| Bus::new(number, &depot)).collect();
    for bus in &buses {
        place.store.enrol(bus.id, &bus.signing.verifying_key(), "", false, Timestamp(0)).unwrap();
    }
    let signing = SigningKey::from_bytes(&[9; 32]);
    let checker = Checker::new(depot, card_keys());
    let mut pipeline = Pipeline::new(place.clone(), checker, signing.clone(), 1);
    let bus = buses[0].id;
    buses[0].board(&mut cards, 0, NOON);
    buses[0].board(&mut cards, 3, NOON + 60);
    let charged = cards.boarding(1, NOON + 120, bus);
    let event = TapEvent::InDoubt { transaction: charged };
    let of = buses[0].log(Some(Cards::id(1)), NOON + 120, event);
    let (proof, served) = (cards.commit(1, &charged), Served::No);
    let event = TapEvent::Confirmed { of, transaction: charged, proof, served };
    buses[0].log(Some(Cards::id(1)), NOON + 300, event);
    let doubt = TapEvent::InDoubt { transaction: cards.boarding(4, NOON + 400, bus) };
    buses[0].log(Some(Cards::id(4)), NOON + 400, doubt);
    // Two rides on a bus that is lost with its log: the next tap brings one of them.
    buses[1].board(&mut cards, 2, NOON + 500);
    buses[1].board(&mut cards, 2, NOON + 9_000);
    buses[0].board(&mut cards, 2, NOON + 18_000);
    let batch = buses[0].batch();
    pipeline.submit(vec![batch]).unwrap();
    place.clock.set(Timestamp::from_secs(u64::from(NOON) + 2 * 86_400));
    close_through(&place, &signing, FRIDAY).unwrap();
}

fn run(at: &Path, command: &[&str], more: &[&str]) -> std::process::Output {
    let mut program = Command::new(DEPOT);
    program.args(command).arg("--config").arg(at.join("depot.toml")).args(more).output().unwrap()
}

fn refused(at: &Path, command: &[&str], more: &[&str], why: &str) {
    let output = run(at, command, more);
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && complaint.contains(why), "{complaint}");
}

/// The number of the only open item of a kind.
fn item(at: &Path, kind: &str) -> String {
    let books = Connection::open(at.join("depot.sqlite")).unwrap();
    let sql = "SELECT id FROM exceptions WHERE kind = ?1 AND closed_at IS NULL";
    let id: i64 = books.query_row(sql, [kind], |row| row.get(0)).unwrap();
    id.to_string()
}

#[test]
fn what_issuers_owe_is_settled_posted_paid_and_verified_by_the_real_program() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    books(at);
    let day = FRIDAY.to_string();
    let statement = said(&run(at, &["settle"], &["--day", &day]));
    let operator = rules().tariffs().newest().operators()[0].id.clone();
    let sevens = format!("{day},{operator},EUR,1,1.50,0.00,1.50,0.00,1.50,0,0.00,0,0.00,7\n");
    assert!(statement.contains(&sevens) && statement.contains(",first\n"), "{statement}");
    assert_eq!(said(&run(at, &["settle"], &["--day", &day])), statement, "to the byte");
    let owed = said(&run(at, &["settle", "owed"], &[]));
    assert!(owed.contains(&format!("\n7,{operator},EUR,1.50,")), "{owed}");
    let operator = operator.as_str();
    let pay = |amount| {
        let what = ["--operator", operator, "--amount", amount, "--by", "ana", "--issuer", "7"];
        move |reference| [what.as_slice(), &["--reference", reference]].concat()
    };
    for _ in 0..2 {
        let done = said(&run(at, &["settle", "pay"], &pay("1.00")("B-1")));
        assert!(done.contains("0.50 EUR are owed to it"), "{done}");
    }
    refused(at, &["settle", "pay"], &pay("1.00")("B-2"), "0.50 EUR are owed");
    let float = said(&run(at, &["float"], &[]));
    assert!(float.lines().any(|line| line.ends_with(",7")), "{float}");
    let verdict = said(&run(at, &["verify", "--from-journal"], &[]));
    assert!(verdict.contains("the books are what the journal says"), "{verdict}");
}

#[test]
fn ops_2_corrections_by_the_real_program_are_refused_by_name_kept_and_verified() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    books(at);
    let who = ["--by", "ana", "--reason", "receipt 4711"];
    let two = [&who[..], &["--agreed-by", "ben"]].concat();
    let charged = item(at, "charged-without-passage");
    let repay =
        |amount: &'static str, who: &[&'static str]| [&["--amount", amount][..], who].concat();
    refused(at, &["correct", "repay", &charged], &repay("1.50", &who), "need a second person");
    refused(at, &["correct", "repay", &charged], &repay("1.40", &two), "is about 1.50 EUR");
    let done = said(&run(at, &["correct", "repay", &charged], &repay("1.50", &two)));
    assert!(done.contains("1.50 EUR are owed to card"), "{done}");
    refused(at, &["correct", "repay", &charged], &repay("1.50", &two), "is closed: repaid by ana");

    let gap = item(at, "card-gap");
    said(&run(at, &["correct", "assign", &gap], &[&["--to", "carla"][..], &who].concat()));
    let off = [&["--amount", "1.50", "--to", "3"][..], &two].concat();
    said(&run(at, &["correct", "write-off", &gap], &off));
    refused(at, &["correct", "close", &gap], &who, "is closed: written off under 3 by ana");

    let held = said(&run(at, &["in-doubt"], &[]));
    assert!(held.lines().count() == 2 && held.contains(",v000001,1,"), "{held}");
    refused(at, &["in-doubt"], &["--expire-after", "3"], "7..=3650");
    let books = Connection::open(at.join("depot.sqlite")).unwrap();
    let stands = |code: u16| -> i64 {
        let sql = "SELECT sum(credits_posted - debits_posted) FROM account_groups WHERE code = ?1";
        books.query_row(sql, [code], |row| row.get(0)).unwrap()
    };
    assert_eq!((stands(14), stands(24)), (150, 150), "owed to the rider, written off");
    let verdict = said(&run(at, &["verify", "--from-journal"], &[]));
    assert!(verdict.contains("the books are what the journal says"), "{verdict}");
}

#[test]
fn a_visitors_card_of_another_issuer_is_issued_by_the_real_program_and_owed_by_its_issuer() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    books(at);
    let keys = card_keys();
    let line = |role: KeyRole| {
        let master = keys.master(role, KeyVersion::FIRST).unwrap();
        format!("{} = \"{}\"\n", role.word(), to_hex(&master.0))
    };
    let file = at.join("keys/cards.toml");
    fs::write(&file, [KeyRole::Issuer, KeyRole::Debit, KeyRole::Load].map(line).concat()).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let config = CONFIG.replace("[keys]", "[keys]\ncard = \"keys/cards.toml\"");
    let config = format!("{config}\n[visitor]\ndays = 1\ndeposit = \"2.00\"\nclaim_days = 30\n");
    fs::write(at.join("depot.toml"), config).unwrap();
    let two = ["--amount", "50.00", "--by", "ana", "--agreed-by", "ben", "--reason", "float"];
    said(&run(at, &["card", "quota", "grant"], &two));
    let blank = at.join("card");
    said(&Command::new(DEPOT).args(["card", "blank"]).arg(&blank).output().unwrap());
    let reader = format!("virtual:{}", blank.display());
    let issue = ["--reader", &reader, "--balance", "10.00", "--visitor", "--issuer"];
    refused(at, &["card", "issue"], &[&issue[..], &["8"]].concat(), "8 is no issuer here");
    let output = run(at, &["card", "issue"], &[&issue[..], &["7"]].concat());
    let until = String::from_utf8_lossy(&output.stderr).into_owned();
    said(&output);
    let last = until.split("valid to the end of ").nth(1).unwrap();
    let last = last.split_whitespace().next().unwrap();
    assert_eq!(last.len(), "2026-12-24".len(), "a day: {until}");
    let seen = said(&run(at, &["card", "inspect"], &["--reader", &reader]));
    assert!(seen.contains("issuer          7"), "{seen}");
    assert!(seen.contains(&format!("valid until     {last}")), "{seen}");
    let float = said(&run(at, &["float"], &["--end-claims"]));
    let cards = float.lines().find(|line| line.ends_with(",7")).unwrap();
    assert!(cards.contains(",2,EUR,"), "its last day is to come: {float}");
    let verdict = said(&run(at, &["verify", "--from-journal"], &[]));
    assert!(verdict.contains("the books are what the journal says"), "{verdict}");
}
