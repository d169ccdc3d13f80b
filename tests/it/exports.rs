//! The exported ledger, read by a program that is not ours: hledger must agree on every account.

use std::{collections::BTreeMap, fs, process::Command, sync::Arc};

use clearing::Account;
use depot_server::{
    clock::Clock,
    days::close_through,
    events::Events,
    export::{AccountNames, journal, taps_csv, transfers_csv},
    intake::{Checker, Pipeline, Workplace, register_cards},
    metrics::Metrics,
    settle::{pay, settle},
    store::Store,
    workload::{Bus, Cards, card_keys, rules},
};
use fleet_sync::{DepotName, SigningKey};
use ledger::AccountId;
use model::{CardId, IssuerId, Money, ServiceDate, Timestamp};
use rusqlite::Connection;

const NOON: u32 = 1_800_014_400;
const FRIDAY: ServiceDate = ServiceDate(NOON / 86_400);

/// A day with a card whose records are partly lost, one in doubt, and a late batch.
fn books(folder: &std::path::Path) -> Workplace {
    let depot: DepotName = "north".parse().unwrap();
    let place = Workplace {
        depot: depot.clone(),
        store: Arc::new(Store::open(&folder.join("depot.sqlite")).unwrap()),
        rules: rules().into(),
        events: Events::default(),
        metrics: Metrics::default(),
        clock: Clock::manual(Timestamp::from_secs(u64::from(NOON))),
    };
    let mut cards = Cards::new(20, NOON - 1000);
    // Another issuer's cards ride here, too.
    cards.set_issuer(5, IssuerId(7));
    register_cards(&place, &cards.issues()).unwrap();
    let mut buses: Vec<_> = (1..=3).map(|number| Bus::new(number, &depot)).collect();
    for bus in &buses {
        place.store.enrol(bus.id, &bus.signing.verifying_key(), "", false, Timestamp(0)).unwrap();
    }
    let checker = Checker::new(depot, card_keys());
    let signing = SigningKey::from_bytes(&[9; 32]);
    let mut pipeline = Pipeline::new(place.clone(), checker, signing.clone(), 1);
    for ride in 0..60 {
        buses[0].board(&mut cards, ride % 20, NOON + 60 * ride);
    }
    // Never delivered in time: the card's next tap brings one of the two records along.
    buses[1].board(&mut cards, 7, NOON + 4000);
    buses[1].board(&mut cards, 7, NOON + 5000);
    buses[2].board(&mut cards, 7, NOON + 6000);
    let transaction = cards.boarding(3, NOON + 7000, buses[2].id);
    let doubt = model::TapEvent::InDoubt { transaction };
    buses[2].log(Some(Cards::id(3)), NOON + 7000, doubt);
    for bus in [0, 2] {
        let batch = buses[bus].batch();
        pipeline.submit(vec![batch]).unwrap();
    }
    place.clock.set(Timestamp::from_secs(u64::from(NOON) + 2 * 86_400));
    close_through(&place, &signing, FRIDAY).unwrap();
    let batch = buses[1].batch();
    pipeline.submit(vec![batch]).unwrap();
    settle(&place, None, FRIDAY).unwrap();
    let operator = place.rules.tariffs().newest().operators()[0].id.clone();
    let some = Money::new(300, place.rules.currency());
    pay(&place, Some(IssuerId(7)), (&operator, some), ("B-1", "ana")).unwrap();
    place
}

/// Every account by its exported name, debits less credits, straight from the tables.
fn ours(folder: &std::path::Path, place: &Workplace) -> BTreeMap<String, i64> {
    let books = Connection::open(folder.join("depot.sqlite")).unwrap();
    let names = AccountNames::new(&place.store);
    let mut found = BTreeMap::new();
    let mut cards =
        books.prepare("SELECT card, debits_posted - credits_posted FROM cards").unwrap();
    let rows = cards.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?))).unwrap();
    for (number, balance) in rows.map(Result::unwrap) {
        let card = CardId(*number.to_be_bytes().last_chunk().unwrap());
        found.insert(names.name(&Account::Card(card).id(place.rules.currency())), balance);
    }
    let mut others =
        books.prepare("SELECT id, debits_posted - credits_posted FROM accounts").unwrap();
    let rows = others.query_map([], |row| Ok((row.get::<_, [u8; 16]>(0)?, row.get(1)?))).unwrap();
    for (id, balance) in rows.map(Result::unwrap) {
        found.insert(names.name(&AccountId::from_bytes(id).unwrap()), balance);
    }
    found.retain(|_, balance| *balance != 0);
    found
}

#[test]
fn hledger_reads_the_exported_journal_and_agrees_on_every_account() {
    let folder = tempfile::tempdir().unwrap();
    let place = books(folder.path());
    let mut text = String::new();
    let written = journal(&place.store, None, |part| {
        text.push_str(part);
        Ok(())
    });
    assert!(written.unwrap() > 80);
    for card in 0..20 {
        let number = Cards::id(card).to_hex().to_lowercase();
        assert!(!text.to_lowercase().contains(&number), "a card number is in the export");
    }
    let file = folder.path().join("ledger.journal");
    fs::write(&file, &text).unwrap();
    let hledger = |arguments: &[&str]| {
        let output = Command::new("hledger")
            .args(["-f", &file.display().to_string()])
            .args(arguments)
            .env("LC_ALL", "C.UTF-8")
            .output()
            .expect("hledger is installed: see tests/run");
        let (out, err) = (String::from_utf8(output.stdout), String::from_utf8(output.stderr));
        assert!(output.status.success(), "{err:?}");
        out.unwrap()
    };
    hledger(&["check"]);
    let table = hledger(&["balance", "--flat", "--no-total", "--output-format", "csv"]);
    let theirs: BTreeMap<String, i64> = table
        .lines()
        .skip(1)
        .map(|line| {
            let (name, amount) = line.trim_matches('"').split_once("\",\"").unwrap();
            let (amount, currency) = amount.split_once(' ').unwrap();
            assert_eq!(currency, "EUR");
            let amount = Money::parse(amount, place.rules.currency()).unwrap();
            (name.to_owned(), amount.minor())
        })
        .collect();
    assert_eq!(theirs, ours(folder.path(), &place));
    assert!(theirs.len() > 20);
    // A part of the journal balances as well: what was booked through the closed day.
    let mut closed = String::new();
    let some = journal(&place.store, Some(FRIDAY), |part| {
        closed.push_str(part);
        Ok(())
    });
    assert!(some.unwrap() < written_count(&text));
}

fn written_count(journal: &str) -> u64 {
    journal.lines().filter(|line| line.contains(" * \"")).count() as u64
}

#[test]
fn a_closed_day_is_exported_without_cards_and_without_exact_times() {
    let folder = tempfile::tempdir().unwrap();
    let place = books(folder.path());
    let taps = taps_csv(&place, FRIDAY).unwrap();
    assert_eq!(taps.lines().count(), 62, "sixty-one taps under a heading");
    assert!(taps.contains("2027-01-15,v000001,1,1,2027-01-15T12:00:00Z,board,a,7,1,EUR,1.50\n"));
    let exact = taps.lines().skip(1).filter(|line| {
        let at = line.split(',').nth(4).unwrap();
        !["00:00Z", "15:00Z", "30:00Z", "45:00Z"].iter().any(|quarter| at.ends_with(quarter))
    });
    assert_eq!(exact.count(), 0);
    let transfers = transfers_csv(&place, FRIDAY).unwrap();
    for card in 0..20 {
        let number = Cards::id(card).to_hex().to_lowercase();
        assert!(!transfers.to_lowercase().contains(&number) && !taps.contains(&number));
    }
    assert!(taps_csv(&place, ServiceDate(FRIDAY.0 + 1)).is_err(), "still open");
}
