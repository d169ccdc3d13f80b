//! The desk: cards issued, loaded, torn, retired and replaced through every transport, then ridden
//! with at a real validator; the books hold what the cards hold, to the unit.

#![expect(clippy::unwrap_used, reason = "a desk that cannot be set up is a failed test")]

mod rekey;
mod torn;
mod wrong;

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use card::{Key, KeyRole, KeySet, KeyVersion, VirtualCard};
use depot_server::{
    clock::Clock,
    config::{Config, open_card_keys},
    desk::{Hand, Station, WantedIssue},
    server::load_rules,
    store::Store,
};
use model::{CardId, RiderClass, StationId, ValidUntil};
use reader::{Activation, FileCard, Picc, Reader};
use rusqlite::Connection;
use tapline_tests::pn532::Emulator;

use crate::processes::{DATABASE, DEPOT, PATIENCE, POSTS, SharedCard, Yard, said};

/// The master keys of every depot here, as in `processes`.
pub(crate) fn keys() -> KeySet {
    KeySet::from_root(&Key([7; 16]))
}

/// Writes the desk's key file and names it in the configuration.
pub(crate) fn equip(at: &Path) {
    let keys = keys();
    let line = |role: KeyRole| {
        let master = keys.master(role, KeyVersion::FIRST).unwrap();
        format!("{} = \"{}\"\n", role.word(), depot_server::config::to_hex(&master.0))
    };
    let path = at.join("keys/cards.toml");
    fs::write(&path, [KeyRole::Issuer, KeyRole::Debit, KeyRole::Load].map(line).concat()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let config = at.join("depot.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}[keys]\ncard = \"keys/cards.toml\"\n")).unwrap();
}

/// `depot-server card …` in this folder.
pub(crate) fn card_command(at: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(DEPOT);
    let (verbs, rest) = arguments.split_at(if arguments[0] == "quota" { 2 } else { 1 });
    command.arg("card").args(verbs).arg("--config").arg(at.join("depot.toml")).args(rest);
    command
}

/// With the desk's folder in PATH, where the program that drives libnfc lies.
pub(crate) fn card(at: &Path, arguments: &[&str]) -> Output {
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", at.display());
    card_command(at, arguments).env("PATH", path).output().unwrap()
}

/// Grants station 1 so much.
pub(crate) fn grant(at: &Path, amount: &str) {
    let who = ["--by", "ana", "--agreed-by", "ben", "--reason", "float"];
    said(&card(at, &[&["quota", "grant", "--amount", amount][..], &who].concat()));
}

/// What stands on all accounts of a kind together: credits less debits.
pub(crate) fn on(at: &Path, code: u16) -> i64 {
    // A yard's books, or those of a depot that has nothing but a desk.
    let books = [DATABASE, "depot.sqlite"].map(|name| at.join(name));
    let books = books.iter().find(|file| file.exists()).expect("there are books");
    let books = Connection::open(books).unwrap();
    let sql = "SELECT coalesce(sum(credits_posted - debits_posted), 0) FROM account_groups
               WHERE code = ?1";
    books.query_row(sql, [code], |row| row.get(0)).unwrap()
}

const CARDS: u16 = 1;
const REVENUE: u16 = 2;
const ISSUER_CASH: u16 = 6;
const LOAD_CLEARING: u16 = 7;
const REFUNDS: u16 = 8;
const DESK_CASH: u16 = 9;
const REPLACED: u16 = 10;

fn verified(at: &Path) {
    let verify = Command::new(DEPOT)
        .args(["verify", "--from-journal", "--config"])
        .arg(at.join("depot.toml"))
        .output();
    assert_eq!(said(&verify.unwrap()).trim(), "the books are what the journal says");
}

fn blank(n: u8) -> SharedCard {
    let uid = CardId([4, 0x61, 0x62, 0x63, 0x64, 0x65, n]);
    Arc::new(Mutex::new(VirtualCard::blank(uid, [n; 16])))
}

fn balance(card: &SharedCard) -> i64 {
    i64::from(card.lock().unwrap().contents().unwrap().balance)
}

/// The desk as a library, over any reader, at any time.
pub(crate) fn station(at: &Path, clock: Clock) -> Station {
    let config = Config::load(&at.join("depot.toml")).unwrap();
    let store = Arc::new(Store::open(&config.database).unwrap());
    let rules = Arc::new(load_rules(&config, &store, &clock).unwrap());
    Station {
        id: StationId(1),
        store,
        rules,
        keys: open_card_keys(&config.keys).unwrap(),
        clock,
        issuer: 1,
        issuer_id: None,
        balance_max: None,
        hold: Duration::from_secs(72 * 3600),
    }
}

pub(crate) fn adult(balance: u32) -> WantedIssue {
    WantedIssue {
        balance,
        class: RiderClass(0),
        valid_until: ValidUntil::Always,
        negative_limit: 0,
        deposit: 0,
        counters: true,
        purse: None,
    }
}

/// A hand at a virtual reader with this card on it.
pub(crate) fn hand(medium: impl Picc + 'static) -> Hand {
    let (reader, field) = Reader::virtual_cards();
    field.place(medium);
    Hand::over(reader, Duration::from_secs(5), |_| {})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_issued_and_loaded_through_every_reader_rides_and_the_books_hold_what_it_holds() {
    let mut yard = Yard::open(&POSTS[..1], 0, &[]);
    let at = yard.folder().to_owned();
    equip(&at);
    grant(&at, "500.00");
    let desk = Emulator::start(&at.join("desk.tty")).unwrap();
    let line = at.join("desk.tty");
    let file = at.join("file.card");
    said(&blank_file(&file));
    let mut readers = vec![
        (format!("pn532:{}", line.display()), Some(blank(1))),
        (format!("pn532:{}:460800", line.display()), Some(blank(2))),
        (format!("virtual:{}", file.display()), None),
    ];
    if let Some(helper) = option_env!("CARGO_BIN_EXE_nfc-helper-under-test") {
        symlink(helper, at.join("tapline-nfc")).unwrap();
        readers.push((format!("libnfc:pn532_uart:{}", line.display()), Some(blank(3))));
    }
    let mut bus = yard.gates[0].take_reader();
    let mut held = 0;
    let count = i64::try_from(readers.len()).unwrap();
    for (name, medium) in readers {
        if let Some(medium) = &medium {
            desk.place(Arc::clone(medium));
        }
        let issued = said(&card(&at, &["issue", "--reader", &name, "--balance", "10.00"]));
        assert!(issued.contains("is issued with 10.00 EUR"), "{name}: {issued}");
        let loaded = said(&card(&at, &["load", "--reader", &name, "--amount", "20.00"]));
        assert!(loaded.contains("which holds 30.00 EUR now"), "{name}: {loaded}");
        desk.chip().clear();
        let answer = match &medium {
            Some(medium) => bus.tap(Arc::clone(medium)).await,
            None => bus.tap(FileCard::open(&file).unwrap()).await,
        };
        assert!(answer.contains("28.50"), "{name}: {answer}");
        held += 2_850;
        if let Some(medium) = &medium {
            assert_eq!(balance(medium), 2_850, "{name}");
        }
    }
    yard.drained().await;
    assert_eq!((on(&at, CARDS), on(&at, REVENUE)), (held, count * 150));
    assert_eq!(on(&at, DESK_CASH), -count * 3_000, "what the desk took");
    assert_eq!((on(&at, ISSUER_CASH), on(&at, LOAD_CLEARING)), (0, 0), "met by the desk's cash");
    let quota = said(&card(&at, &["quota", "show"]));
    let used = format!("{}.00 EUR used, 0.00 EUR in doubt", count * 30);
    assert!(quota.contains(&used), "{quota}");
    let seen = said(&card(&at, &["inspect", "--reader", &format!("virtual:{}", file.display())]));
    assert!(seen.contains("28.50 EUR") && seen.contains("board"), "{seen}");
    verified(&at);
}

/// `card blank` takes no configuration.
pub(crate) fn blank_file(file: &Path) -> Output {
    Command::new(DEPOT).args(["card", "blank"]).arg(file).output().unwrap()
}

/// A card that does what it is told to do at the commit, but answers only when it may.
struct Stalling {
    card: SharedCard,
    reached: mpsc::Sender<()>,
    go_on: mpsc::Receiver<()>,
}

impl Picc for Stalling {
    fn activation(&self) -> Activation {
        self.card.activation()
    }

    fn transceive(&mut self, apdu: &[u8]) -> Option<Vec<u8>> {
        let answer = self.card.transceive(apdu);
        if apdu[1] != card::apdu::cmd::COMMIT_TRANSACTION {
            return answer;
        }
        let _ = self.reached.send(());
        let _ = self.go_on.recv_timeout(PATIENCE);
        None
    }

    fn field_off(&mut self) {
        self.card.field_off();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_desk_killed_between_intent_and_outcome_finishes_on_the_next_run_and_never_twice() {
    let mut yard = Yard::open(&POSTS[..1], 0, &[]);
    let at = yard.folder().to_owned();
    equip(&at);
    grant(&at, "100.00");
    let desk = Emulator::start(&at.join("desk.tty")).unwrap();
    let name = format!("pn532:{}", at.join("desk.tty").display());
    let medium = blank(9);
    let killed_at_commit = |arguments: &[&str]| {
        let ((reached, arrived), (go, go_on)) = (mpsc::channel(), mpsc::channel());
        desk.chip().clear();
        desk.place(Stalling { card: Arc::clone(&medium), reached, go_on });
        let mut child = card_command(&at, arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        arrived.recv_timeout(PATIENCE).expect("the command comes to its commit");
        child.kill().unwrap();
        child.wait().unwrap();
        go.send(()).unwrap();
        desk.chip().clear();
        desk.place(Arc::clone(&medium));
    };
    let issue = ["issue", "--reader", &name, "--balance", "10.00"];
    killed_at_commit(&issue);
    let doubt = said(&card(&at, &["in-doubt"]));
    assert!(doubt.contains("issue of 10.00 EUR"), "{doubt}");
    assert_eq!(on(&at, CARDS), 0, "not booked yet");
    let again = card(&at, &issue);
    assert!(said(&again).contains("is issued with 10.00 EUR"));
    assert!(String::from_utf8_lossy(&again.stderr).contains("begun by an earlier command"));

    let load = ["load", "--reader", &name, "--amount", "20.00"];
    killed_at_commit(&load);
    let quota = said(&card(&at, &["quota", "show"]));
    assert!(quota.contains("20.00 EUR in doubt"), "{quota}");
    assert!(said(&card(&at, &load)).contains("which holds 30.00 EUR now"));
    assert_eq!((balance(&medium), on(&at, CARDS), on(&at, DESK_CASH)), (3_000, 3_000, -3_000));

    // This time nobody comes back to the desk: the rider rides, and that decides it.
    killed_at_commit(&load);
    desk.chip().clear();
    let mut bus = yard.gates[0].take_reader();
    assert!(bus.tap(Arc::clone(&medium)).await.contains("48.50"));
    yard.drained().await;
    assert_eq!(said(&card(&at, &["in-doubt"])), "", "the intake has decided it");
    assert_eq!((balance(&medium), on(&at, CARDS), on(&at, DESK_CASH)), (4_850, 4_850, -5_000));
    verified(&at);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retired_cards_value_moves_to_another_one_and_a_lost_card_that_rides_on_is_a_known_loss()
{
    let mut yard = Yard::open(&POSTS[..1], 0, &[]);
    let at = yard.folder().to_owned();
    equip(&at);
    grant(&at, "100.00");
    let mut bus = yard.gates[0].take_reader();
    let later = Clock::manual(model::Timestamp(now_ms() + 80 * 3_600_000));

    // Present: 10.00, a ride, retired for another card.
    let (first, second) = (blank(1), blank(2));
    let desk = station(&at, Clock::system());
    desk.issue(&mut hand(Arc::clone(&first)), &adult(1_000), None).await.unwrap();
    assert!(bus.tap(Arc::clone(&first)).await.contains("8.50"));
    yard.drained().await;
    let value = clearing::Taken::ForAnotherCard;
    desk.retire(&mut hand(Arc::clone(&first)), value, false).await.unwrap();
    let refused = bus.tap(Arc::clone(&first)).await;
    assert!(!refused.contains("Go"), "a retired card does not ride: {refused}");
    let uid = first.lock().unwrap().uid();
    assert_eq!(desk.check_due(uid, false).unwrap().minor(), 850);
    desk.issue(&mut hand(Arc::clone(&second)), &adult(0), Some(uid)).await.unwrap();
    assert_eq!(balance(&second), 850);
    assert_eq!((on(&at, REPLACED), on(&at, REFUNDS), on(&at, CARDS)), (0, 0, 850));
    assert!(desk.check_due(uid, false).is_err(), "given out once");

    // Lost: the depot is down while the finder rides; the holder gets 8.50 on a third card.
    let third = blank(3);
    yard.depot.kill();
    assert!(bus.tap(Arc::clone(&second)).await.contains("7.00"));
    let uid = second.lock().unwrap().uid();
    let early = desk.check_due(uid, true).unwrap_err().to_string();
    assert!(early.contains("is reported as lost; its value can be given out from"), "{early}");
    let then = station(&at, later);
    assert_eq!(then.check_due(uid, true).unwrap().minor(), 850);
    then.issue(&mut hand(Arc::clone(&third)), &adult(0), Some(uid)).await.unwrap();
    assert_eq!((on(&at, CARDS), on(&at, REPLACED)), (1_700, -850));
    let load = desk.load(&mut hand(Arc::clone(&second)), 100).await.unwrap_err().to_string();
    assert!(load.contains("another card was issued in place of"), "{load}");
    yard.depot.start();
    yard.drained().await;
    assert_eq!((on(&at, CARDS), on(&at, REPLACED)), (1_550, -850), "1.50 was ridden on it");

    // Found: what is left goes back to the issuer, and the loss is what was ridden.
    let value = clearing::Taken::PaidOut;
    let done = desk.retire(&mut hand(Arc::clone(&second)), value, false).await.unwrap();
    assert_eq!(done.amount.minor(), 700, "not paid out: it was given out before");
    assert_eq!((on(&at, CARDS), on(&at, REPLACED)), (850, -150));
    assert_eq!(on(&at, DESK_CASH), -1_000, "cash came in once");
    verified(&at);
}

fn now_ms() -> u64 {
    Clock::system().now().0
}
