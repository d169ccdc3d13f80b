//! Wrong input of each kind gets an error that names what is wrong and what to do; nothing is
//! lost, nothing crashes, and the next good tap is served.

#![expect(clippy::unwrap_used, reason = "a scene that cannot be set is a failed test")]

use std::{fs, io::Write, path::Path, process::Command, sync::Arc, time::Duration};

use card::VirtualCard;
use depot_server::workload::Bus;
use ed25519_dalek::SigningKey;
use fleet_sync::{Topic, sign_batch};
use model::{CardId, Refusal, TapEvent};
use rumqttc::v5::{
    AsyncClient, EventLoop,
    mqttbytes::{
        QoS,
        v5::{Packet, PubAckReason},
    },
};
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use tokio::task::block_in_place;

use crate::{
    broker::{connect, now, until},
    fare_feeds::{boston, write_feed},
    processes::{CITY, DEPOT, NAME, PATIENCE, POSTS, VALIDATOR, Yard, get, said},
    readers::bench::Classic,
};

/// A validator of the fleet that is not a program but this test.
const GUEST: &str = "v000009";
const GUEST_NUMBER: u32 = 9;

/// A command on a wrong file: what it must say, and its exit code.
struct Row<'a> {
    program: &'a str,
    arguments: &'a [&'a str],
    file: (&'a str, String),
    code: i32,
    says: &'a [&'a str],
}

fn check(row: &Row<'_>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(row.file.0);
    fs::write(&path, &row.file.1).unwrap();
    run(row.program, row.arguments, &path, row.code, row.says);
}

fn run(program: &str, arguments: &[&str], file: &Path, code: i32, says: &[&str]) {
    let output = Command::new(program).args(arguments).arg(file).output().unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {complaint}");
    for text in says {
        assert!(complaint.contains(text), "{arguments:?} does not say {text:?}: {complaint}");
    }
    assert!(!complaint.contains("panicked"), "{complaint}");
}

#[test]
fn a_tariff_with_a_bad_line_is_refused_by_line_key_and_advice() {
    let bad = CITY.replace("price = \"1.50\"", "price = \"1.5O\"");
    let line = 1 + CITY.lines().position(|line| line.contains("1.50")).unwrap();
    let line = format!("line {line}, product[1].price");
    let unknown = CITY.replace("network =", "netwrok =");
    for (text, says) in [
        (bad, [line.as_str(), "\"1.5O\" is not an amount", "write an amount such as \"2.40\""]),
        (unknown, ["line 4, netwrok", "unknown key", "did you mean \"network\"?"]),
    ] {
        check(&Row {
            program: DEPOT,
            arguments: &["fares", "check", "--tariff"],
            file: ("city.toml", text),
            code: 1,
            says: &says,
        });
    }
}

#[test]
fn an_unknown_key_in_a_configuration_is_named_with_the_one_that_was_meant() {
    let arguments = ["check-config", "--config"];
    let sample = include_str!("../../deploy/validator.toml");
    check(&Row {
        program: VALIDATOR,
        arguments: &arguments,
        file: ("validator.toml", sample.replace("keep_days", "keep_dasy")),
        code: 78,
        says: &["validator.toml", "unknown field `keep_dasy`", "did you mean `keep_days`?"],
    });
    check(&Row {
        program: DEPOT,
        arguments: &arguments,
        file: ("depot.toml", "depot = \"north\"\n[mqtt]\nhots = \"broker\"\n".into()),
        code: 78,
        says: &["depot.toml", "line 3", "unknown field `hots`", "did you mean `host`?"],
    });
}

/// The shipped sample with its files in `folder` and, as on a first trial, a plain card key.
fn trial_configuration(folder: &str) -> String {
    let store = r#"card = { store = "/etc/tapline/card.keys", unlock = "card-unlock" }"#;
    let plain = r#"card = "/etc/tapline/card.key""#;
    let sample = include_str!("../../deploy/validator.toml");
    assert!(sample.contains(store), "the sample shows a keystore");
    sample.replace(store, plain).replace("/etc/tapline", folder)
}

#[test]
fn programs_that_cannot_start_say_which_file_to_correct() {
    for (program, command, advice) in
        [(VALIDATOR, "run", "check the path"), (DEPOT, "serve", "give its path with --config")]
    {
        let missing = Path::new("/nonexistent/tapline.toml");
        run(program, &[command, "--config"], missing, 78, &["/nonexistent/tapline.toml", advice]);
    }
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display();
    let key = folder.path().join("signing.key");
    said(&Command::new(VALIDATOR).args(["keygen", "--signing"]).arg(&key).output().unwrap());
    let card = folder.path().join("card.key");
    fs::write(&card, "debit = \"00\"\n").unwrap();
    let config = folder.path().join("validator.toml");
    fs::write(&config, trial_configuration(&at.to_string())).unwrap();
    let says = ["card.key may be read by others", "chmod 600"];
    run(VALIDATOR, &["run", "--config"], &config, 78, &says);
}

/// Keys and this tariff in a folder, and the trial's configuration.
fn trial(at: &Path, tariff: &str) -> std::path::PathBuf {
    let keygen = ["keygen", "--signing", "signing.key", "--trial-card-key", "card.key"];
    let output = Command::new(VALIDATOR).args(keygen).current_dir(at).output().unwrap();
    fs::write(at.join("depot.pub"), said(&output)).unwrap();
    fs::write(at.join("tariff.toml"), tariff).unwrap();
    let config = at.join("validator.toml");
    fs::write(&config, trial_configuration(at.to_str().unwrap())).unwrap();
    config
}

#[test]
fn a_validator_that_prices_by_the_route_and_has_none_says_so_and_names_some() {
    let feed = tempfile::tempdir().unwrap();
    write_feed(feed.path(), &boston::made_feed());
    let compile = ["fares", "compile", "--accept", "foreign_key_violation", "--gtfs"];
    let compiled = Command::new(DEPOT).args(compile).arg(feed.path()).output().unwrap();
    let rules = said(&compiled);
    for (tariff, role, place) in [(rules.as_str(), "exit", "zone-1a"), (CITY, "board", "s1")] {
        let folder = tempfile::tempdir().unwrap();
        let config = trial(folder.path(), tariff);
        let text = fs::read_to_string(&config).unwrap();
        let text = text.replace("role = \"entry\"", &format!("role = \"{role}\""));
        fs::write(&config, text.replace("\"S101\"", &format!("\"{place}\""))).unwrap();
        let what = format!("role \"{role}\" at \"{place}\" prices by the route");
        let known = if role == "exit" { "set it to one of subway, blue" } else { "one of 7, M" };
        let says = ["validator.route is missing", &what, known];
        run(VALIDATOR, &["run", "--config"], &config, 78, &says);
    }
}

#[test]
fn a_validator_with_a_wrong_tariff_does_not_start_and_says_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let config = trial(folder.path(), &CITY.replace("1.50", "1.5O"));
    let says = ["tariff.toml cannot be used", "line 10, product[1].price"];
    run(VALIDATOR, &["run", "--config"], &config, 78, &says);
}

#[test]
fn a_gtfs_zip_without_a_file_is_refused_by_that_files_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("city.zip");
    let mut zip = zip::ZipWriter::new(fs::File::create(&path).unwrap());
    let city = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/city");
    for entry in fs::read_dir(city).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name != "stops.txt" {
            zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
            zip.write_all(&fs::read(entry.path()).unwrap()).unwrap();
        }
    }
    zip.finish().unwrap();
    let arguments = ["fares", "check", "--gtfs"];
    let says = ["stops.txt is missing from the feed", "correct what is called an error above"];
    run(DEPOT, &arguments, &path, 1, &says);
    fs::write(&path, b"PK\x03\x04 and then nothing").unwrap();
    run(DEPOT, &arguments, &path, 1, &["city.zip", "give a GTFS zip or the folder"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_card_is_refused_with_advice_and_the_next_card_is_served() {
    let mut yard = block_in_place(|| Yard::open(&POSTS[..1], 1, &[]));
    let mut reader = yard.gates[0].take_reader();
    let card = Arc::clone(&yard.cards[0]);
    let foreign = "code 10; Not accepted here: see staff";
    let answer = reader.tap(Classic).await;
    assert!(answer.starts_with('D') && answer.contains(foreign), "{answer}");
    tokio::time::sleep(AWAY).await;
    let blank = VirtualCard::blank(CardId([4, 9, 9, 9, 9, 9, 9]), [1; 16]);
    let answer = reader.tap(blank).await;
    assert!(answer.starts_with('D') && answer.contains(foreign), "{answer}");
    tokio::time::sleep(AWAY).await;
    let answer = reader.tap(card).await;
    assert!(answer.starts_with("A accepted") && answer.contains("1.50"), "{answer}");
    yard.drained().await;
    yard.depot.assert_running();
}

/// The reader must notice that the field is empty.
const AWAY: Duration = Duration::from_millis(350);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_cannot_be_believed_are_kept_and_cost_nobody_a_tap() {
    let depot = NAME.parse().unwrap();
    let mut bus = Bus::new(GUEST_NUMBER, &depot);
    let mut yard = block_in_place(|| {
        let yard = Yard::open(&POSTS[..1], 1, &[GUEST]);
        let key = depot_server::config::to_hex(bus.signing.verifying_key().as_bytes());
        said(&yard.depot_server(&["validator", "enrol"], &[GUEST, &key]));
        yard
    });
    let mut guest = Guest::new(&yard);
    let taps = Topic::Taps(bus.id).name(&depot);
    let state = Topic::State(bus.id).name(&depot);
    let elsewhere = format!("tapline/1/{NAME}/99/{GUEST}/up/taps");
    refuse(&mut bus);
    let good = bus.assemble();
    let sealed = bus.seal(&good).payload;
    let mut newer = sealed.clone();
    // The version is the first item of the envelope's array.
    newer[1] = 0x17;
    let stranger = sign_batch(&good, &SigningKey::from_bytes(&[99; 32]));
    let rows: [(&str, Vec<u8>, &str, &str); 6] = [
        (&taps, vec![0xff, 0x13, 0x37, 0, 0xc3], "unreadable", "look at the software"),
        (&taps, sealed[..sealed.len() / 2].to_vec(), "unreadable", "look at the software"),
        (&taps, stranger, "bad-signature", "enrol it with --replace"),
        (&taps, newer, "unknown-version", "update this software"),
        (&state, b"hello".to_vec(), "unreadable", "look at the software"),
        (&elsewhere, sealed.clone(), "unknown-topic", "look at who writes there"),
    ];
    for (topic, payload, reason, advice) in rows {
        guest.publish(topic, payload.clone()).await;
        let (kept_topic, kept_reason, detail) = guest.kept(&payload).await;
        assert_eq!((kept_topic.as_str(), kept_reason.as_str()), (topic, reason), "{detail}");
        assert!(detail.contains(advice), "{reason}: {detail}");
    }
    // The depot serves on: the same validator's good batch, and a tap at a real one.
    guest.publish(&taps, sealed).await;
    guest.booked(1).await;
    let mut reader = yard.gates[0].take_reader();
    let card = Arc::clone(&yard.cards[0]);
    assert!(reader.tap(card).await.contains("accepted"));
    yard.drained().await;
    yard.depot.assert_running();
    let page = get(yard.pages, "/metrics").unwrap();
    assert!(page.contains("quarantined"), "counted for whoever watches: {page}");
    block_in_place(|| {
        assert!(yard.depot.stop().success());
        said(&yard.depot_server(&["verify", "--from-journal"], &[]));
    });
}

/// The bus refuses a foreign card, which is an entry of its log.
fn refuse(bus: &mut Bus) {
    let at_s = u32::try_from(validator::clock::Clock::system().now().secs()).unwrap();
    let event = TapEvent::Refused { reason: Refusal::ForeignCard, seen: None };
    bus.log(None, at_s, event);
}

/// Whoever has the guest's certificate, and a look at the books.
struct Guest {
    client: AsyncClient,
    events: EventLoop,
    books: Connection,
}

impl Guest {
    fn new(yard: &Yard) -> Self {
        let (client, events) = connect(&yard.broker, GUEST, true);
        let path = yard.database();
        let books = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        books.busy_timeout(Duration::from_secs(5)).unwrap();
        Self { client, events, books }
    }

    /// Publishes once somebody listens: the depot subscribes a moment after it has connected.
    async fn publish(&mut self, topic: &str, payload: Vec<u8>) {
        let deadline = now() + PATIENCE;
        loop {
            self.client.publish(topic, QoS::AtLeastOnce, false, payload.clone()).await.unwrap();
            let answer = |packet: &Packet| {
                if let Packet::PubAck(ack) = packet { Some(ack.reason) } else { None }
            };
            let reason = until(&mut self.events, answer).await.unwrap();
            if reason != PubAckReason::NoMatchingSubscribers {
                return;
            }
            assert!(now() < deadline, "the depot subscribes within {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Topic, reason and detail of a message that was set aside.
    async fn kept(&self, payload: &[u8]) -> (String, String, String) {
        let sql = "SELECT topic, reason, detail FROM quarantine WHERE payload = ?1";
        self.wait(|books| {
            let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
            books.query_row(sql, [payload], row).optional().unwrap()
        })
        .await
    }

    /// Waits until so many entries of the guest are booked.
    async fn booked(&self, count: i64) {
        let sql = "SELECT count(*) FROM taps WHERE validator = ?1";
        self.wait(|books| {
            let found: i64 = books.query_row(sql, [GUEST_NUMBER], |row| row.get(0)).unwrap();
            (found == count).then_some(())
        })
        .await;
    }

    async fn wait<T>(&self, mut look: impl FnMut(&Connection) -> Option<T>) -> T {
        let deadline = now() + PATIENCE;
        loop {
            if let Some(found) = look(&self.books) {
                return found;
            }
            assert!(now() < deadline, "it is in the books within {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
