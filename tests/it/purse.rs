//! A purse in another currency through the real parts: cards issued in francs at the depot's desk,
//! a validator as a process, Broker, the books (ADR-0019).

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
};

use card::VirtualCard;
use rusqlite::Connection;
use tokio::task::block_in_place;

use crate::processes::{CITY, DATABASE, DEPOT, POSTS, SharedCard, Yard, said};

const RATES: &str = r#"
[[exchange]]
currency = "CHF"
rates = [{ from = 2020-01-01, rate = "0.9432" }]
rounding = "half-up"

[[exchange]]
currency = "JPY"
rates = [{ from = 2020-01-01, rate = "163.25" }]
rounding = "down"

[[exchange]]
currency = "SEK"
rates = [{ from = 2090-01-01, rate = "11" }]
rounding = "down"
"#;

/// The city with rates, as validators take it.
fn city() -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("city.toml");
    fs::write(&file, format!("{CITY}{RATES}")).unwrap();
    said(&Command::new(DEPOT).args(["fares", "compile", "--tariff"]).arg(file).output().unwrap())
}

/// A bus and a desk.
fn yard() -> Yard {
    let mut yard = Yard::open_under(&city(), &POSTS[..1], 1, &[]);
    yard.open_desk("");
    yard
}

/// A card in a file at the desk.
struct Filed(PathBuf);

impl Filed {
    fn blank(yard: &Yard, name: &str) -> Self {
        let file = yard.folder().join(name);
        said(&Command::new(DEPOT).args(["card", "blank"]).arg(&file).output().unwrap());
        Self(file)
    }

    fn desk(&self, yard: &Yard, command: &str, more: &[&str]) -> std::process::Output {
        let reader = format!("virtual:{}", self.0.display());
        let more = [&["--reader", &reader], more].concat();
        yard.depot_server(&["card", command], &more)
    }

    fn done(&self, yard: &Yard, command: &str, more: &[&str]) -> String {
        said(&self.desk(yard, command, more))
    }

    fn refused(&self, yard: &Yard, command: &str, more: &[&str], words: &str) {
        let before = fs::read(&self.0).unwrap();
        let output = self.desk(yard, command, more);
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && complaint.contains(words), "{more:?}: {complaint}");
        let card = |bytes: &[u8]| VirtualCard::from_bytes(bytes).unwrap().contents();
        assert_eq!(card(&before), card(&fs::read(&self.0).unwrap()), "{more:?}");
    }

    /// Out of the file, to be held to another reader; `put` brings it back.
    fn take(&self) -> SharedCard {
        Arc::new(Mutex::new(VirtualCard::from_bytes(&fs::read(&self.0).unwrap()).unwrap()))
    }

    fn put(&self, card: &SharedCard) {
        fs::write(&self.0, card.lock().unwrap().to_bytes()).unwrap();
    }

    fn balance(&self) -> i32 {
        self.take().lock().unwrap().contents().unwrap().balance
    }

    fn number(&self) -> String {
        self.take().lock().unwrap().uid().to_hex()
    }
}

fn grant(yard: &Yard, amount: &str, currency: &str) {
    let who = ["--by", "ana", "--agreed-by", "ben", "--reason", "cash of Monday"];
    let more = [&["--amount", amount, "--currency", currency][..], &who].concat();
    let told = said(&yard.depot_server(&["card", "quota", "grant"], &more));
    assert!(told.contains(&format!("{amount} {currency}")), "{told}");
}

/// What the books say that stands on the card, and in which ledger.
fn shadow(at: &Path, card: &str) -> (i64, i64) {
    let books = Connection::open(at.join(DATABASE)).unwrap();
    let number = i64::from_str_radix(card, 16).unwrap();
    books
        .query_row(
            "SELECT credits_posted - debits_posted, currency FROM cards WHERE card = ?1",
            [number],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_in_francs_is_issued_ridden_with_loaded_and_retired_in_francs() {
    let mut yard = block_in_place(yard);
    let filed = Filed::blank(&yard, "francs.card");
    let issue = ["--balance", "20.00", "--deposit", "5.00", "--currency", "CHF"];
    filed.refused(&yard, "issue", &issue, "20.00 CHF was asked for, 0.00 CHF is left");
    grant(&yard, "100.00", "CHF");
    let told = filed.done(&yard, "issue", &issue);
    assert!(told.contains("is issued with 20.00 CHF"), "{told}");

    let mut bus = yard.gates[0].take_reader();
    let card = filed.take();
    let answer = bus.tap(card.clone()).await;
    // 1.50 EUR x 0.9432 = 1.4148 CHF
    assert!(answer.contains("accepted, charge 1.41 CHF, balance 18.59 CHF"), "{answer}");
    assert!(answer.contains("1.50 EUR at 0.9432 CHF for 1 EUR"), "{answer}");
    // Beside it one in the tariff's own, at the same reader.
    let answer = bus.tap(yard.cards[0].clone()).await;
    assert!(answer.contains("accepted, charge 1.50 EUR"), "{answer}");
    filed.put(&card);
    yard.drained().await;
    let number = filed.number();
    let francs = 756;
    block_in_place(|| {
        assert_eq!(shadow(yard.folder(), &number), (1_859, francs), "shadow and card agree");
        assert_eq!(filed.balance(), 1_859);

        let euros = ["--amount", "20.00", "--currency", "EUR"];
        filed.refused(&yard, "load", &euros, "is in CHF: EUR cannot be put on it");
        filed.refused(&yard, "load", &["--amount", "20.005"], "20.005");
        let told = filed.done(&yard, "load", &["--amount", "10.00"]);
        assert!(told.contains("10.00 CHF loaded"), "{told}");
        assert!(told.contains("which holds 28.59 CHF now"), "{told}");
        let seen = filed.done(&yard, "inspect", &[]);
        assert!(seen.contains("28.59 CHF") && seen.contains("currency        CHF"), "{seen}");
        let quota = said(&yard.depot_server(&["card", "quota", "show"], &["--currency", "CHF"]));
        assert!(quota.contains("100.00 CHF granted, 30.00 CHF used"), "{quota}");
        let quota = said(&yard.depot_server(&["card", "quota", "show"], &[]));
        assert!(quota.contains("0.00 EUR granted, 0.00 EUR used"), "{quota}");

        let told = filed.done(&yard, "retire", &["--value", "another-card"]);
        assert!(told.contains("28.59 CHF goes onto the card"), "{told}");
        let other = Filed::blank(&yard, "other.card");
        let reader = format!("virtual:{}", other.0.display());
        let replace = ["--reader", &reader, &number];
        let told = said(&yard.depot_server(&["card", "replace"], &replace));
        assert!(told.contains("with 28.59 CHF"), "{told}");
        assert_eq!(shadow(yard.folder(), &other.number()), (2_859, francs));
        assert_eq!(shadow(yard.folder(), &number), (0, francs));
    });
    closed(&mut yard);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_currency_that_nobody_takes_is_not_issued_and_yen_have_no_decimals() {
    let mut yard = block_in_place(yard);
    block_in_place(|| {
        let filed = Filed::blank(&yard, "none.card");
        let in_currency = |letters| ["--currency", letters];
        filed.refused(&yard, "issue", &in_currency("GBP"), "has no rate for GBP today");
        filed.refused(&yard, "issue", &in_currency("SEK"), "has no rate for SEK today");
        filed.refused(&yard, "issue", &in_currency("QQQ"), "QQQ");
        let without = ["--currency", "JPY", "--no-counters"];
        filed.refused(&yard, "issue", &without, "always has counters");
        let decimals = ["--currency", "JPY", "--balance", "20.00"];
        filed.refused(&yard, "issue", &decimals, "is no amount in JPY: write such as 20");
        grant(&yard, "5000", "JPY");
        let told = filed.done(&yard, "issue", &["--currency", "JPY", "--balance", "2000"]);
        assert!(told.contains("is issued with 2000 JPY"), "{told}");
        filed.refused(&yard, "load", &["--amount", "20.00"], "is no amount in JPY");
    });
    let filed = Filed(yard.folder().join("none.card"));
    let card = filed.take();
    let answer = yard.gates[0].take_reader().tap(card.clone()).await;
    // 1.50 EUR x 163.25 = 244.875 JPY, rounded down.
    assert!(answer.contains("accepted, charge 244 JPY, balance 1,756 JPY"), "{answer}");
    filed.put(&card);
    yard.drained().await;
    assert_eq!(shadow(yard.folder(), &filed.number()), (1_756, 392));
    closed(&mut yard);
}

/// Everything stops in order, and the books are what the journal says, with nothing to look at.
fn closed(yard: &mut Yard) {
    block_in_place(|| yard.close());
    assert_eq!(yard.items(), 0);
}
