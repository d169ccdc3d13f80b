//! What validators are to be, through the real parts: commands beside a running depot-server,
//! Mosquitto with the shipped rules, validators as processes (ADR-0028).

use std::{fs, process::Command, time::Duration};

use serde_json::Value;
use tokio::{task::block_in_place, time::sleep};

use crate::{
    broker::now,
    processes::{Gate, PATIENCE, POSTS, VALIDATOR, Yard, said},
};

/// A validator's word on whether it takes taps.
fn health(gate: &Gate) -> String {
    gate.page("/health").unwrap_or_default()
}

/// Waits until a validator's page says this.
async fn says(gate: &mut Gate, words: &str) {
    let deadline = now() + PATIENCE;
    loop {
        gate.process.assert_running();
        let page = health(gate);
        if page.contains(words) {
            return;
        }
        assert!(now() < deadline, "{words:?} is not said: {page}\n{}", gate.process.logged());
        sleep(Duration::from_millis(100)).await;
    }
}

fn desired(yard: &Yard, command: &str, more: &[&str]) -> String {
    said(&yard.depot_server(&["desired", command], more))
}

/// The newest state of a validator in the books, as the depot keeps it.
fn kept_state(yard: &Yard, id: u32) -> Option<wire::ValidatorState> {
    let books = rusqlite::Connection::open(yard.database()).unwrap();
    let sql = "SELECT state FROM validators WHERE id = ?1";
    let payload: Option<Vec<u8>> = books.query_row(sql, [id], |row| row.get(0)).unwrap();
    let payload = payload?;
    let envelope = wire::Envelope::decode(wire::Message::State, &payload).unwrap();
    Some(wire::ValidatorState::decode(envelope.body).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_validator_that_is_ordered_out_says_why_survives_a_restart_and_comes_back_by_itself() {
    let mut yard = block_in_place(|| Yard::open(&POSTS[..2], 3, &[]));
    let (cards, mut bus) = (yard.cards.clone(), yard.gates[0].take_reader());
    assert!(bus.tap(cards[0].clone()).await.contains("accepted"));

    let who = ["--by", "ana", "--reason", "Being repaired"];
    desired(&yard, "out", &[&["v000001", "--for", "45s"], &who[..]].concat());
    says(&mut yard.gates[0], "Being repaired").await;
    let answer = bus.tap(cards[1].clone()).await;
    assert!(!answer.contains("accepted"), "{answer}");
    assert!(!health(&yard.gates[1]).contains("Being repaired"), "the other one serves on");
    let listed: Value = serde_json::from_str(&desired(&yard, "list", &["--json"])).unwrap();
    assert_eq!(listed[0]["validator"], "v000001");
    let deadline = now() + PATIENCE;
    loop {
        let state = kept_state(&yard, 1);
        let obeys = |state: &wire::ValidatorState| {
            let word = state.steered.desired.map(|desired| desired.word);
            word == Some(wire::DesiredWord::OutOfService) && state.reason == "Being repaired"
        };
        if state.as_ref().is_some_and(obeys) {
            break;
        }
        assert!(now() < deadline, "the depot hears that it obeys: {state:?}");
        sleep(Duration::from_millis(100)).await;
    }

    // Neither a restart nor a cut line ends it, and neither keeps it from ending.
    block_in_place(|| yard.depot.kill());
    block_in_place(|| yard.gates[0].process.kill());
    block_in_place(|| yard.gates[0].process.start());
    says(&mut yard.gates[0], "Being repaired").await;
    let deadline = now() + 2 * PATIENCE;
    while health(&yard.gates[0]).contains("Being repaired") {
        assert!(now() < deadline, "it comes back at the end");
        sleep(Duration::from_millis(100)).await;
    }
    assert!(bus.tap(cards[1].clone()).await.contains("accepted"));
    block_in_place(|| yard.depot.start());

    // All are taken out but one; then nothing is wanted any more.
    desired(&yard, "out", &[&["--all", "--for", "1h"], &who[..]].concat());
    desired(&yard, "in", &[&["v000001", "--for", "1h"], &who[..]].concat());
    says(&mut yard.gates[1], "Being repaired").await;
    assert!(bus.tap(cards[2].clone()).await.contains("accepted"));
    desired(&yard, "lift", &[&["--all"], &who[..]].concat());
    let deadline = now() + PATIENCE;
    while health(&yard.gates[1]).contains("Being repaired") {
        assert!(now() < deadline, "it comes back when nothing is wanted");
        sleep(Duration::from_millis(100)).await;
    }
    yard.drained().await;
    block_in_place(|| yard.close());
}

/// Waits until the depot has heard that a validator goes by these settings.
async fn goes_by(yard: &Yard, id: u32, number: u64) {
    let deadline = now() + PATIENCE;
    loop {
        let state = kept_state(yard, id);
        if state.as_ref().and_then(|state| state.steered.settings) == Some(number) {
            return;
        }
        assert!(now() < deadline, "v{id:06} goes by settings {number}: {state:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

const SUMMER: &str = "[all]
rules.low_balance = 100000000
[group.harbour]
validators = [\"v000002\"]
set.validator.language = \"ko\"
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_count_between_taps_or_at_the_next_start_and_are_taken_back_by_the_text_before() {
    let mut yard = block_in_place(|| Yard::open(&POSTS[..2], 3, &[]));
    let (cards, mut bus) = (yard.cards.clone(), yard.gates[0].take_reader());
    let settings = |command: &str, more: &[&str]| {
        block_in_place(|| yard.depot_server(&["settings", command], more))
    };
    let text = |name: &str, text: &str| {
        let path = yard.folder().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let publish =
        |path: &str| said(&settings("publish", &[path, "--by", "ana", "--reason", "summer"]));
    assert!(!bus.tap(cards[0].clone()).await.contains("Your balance is low"));

    let bad = text("bad.toml", &SUMMER.replace("\"ko\"", "\"fr\""));
    let refused = settings("publish", &[&bad, "--by", "ana", "--reason", "summer"]);
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && words.contains("line 5: validator.language"), "{words}");

    assert!(publish(&text("summer.toml", SUMMER)).starts_with("settings 1: 100 %"));
    goes_by(&yard, 1, 1).await;
    goes_by(&yard, 2, 1).await;
    // The program that took the first tap goes by them, without a restart.
    let answer = bus.tap(cards[1].clone()).await;
    assert!(answer.contains("Your balance is low"), "{answer}");
    let config = yard.folder().join("v000002.toml");
    let mut command = Command::new(VALIDATOR);
    let shown = said(&command.args(["check-config", "--config"]).arg(config).output().unwrap());
    assert!(shown.contains("language = \"ko\"  # settings 1, group harbour\n"), "{shown}");
    assert!(shown.contains("low_balance = 100000000  # settings 1\n"), "{shown}");

    // What counts from the next start on waits for it, and the depot says so.
    let waits = format!("{SUMMER}[validator.v000001]\nstate.keep_days = 30\n");
    assert!(publish(&text("waits.toml", &waits)).starts_with("settings 2"));
    goes_by(&yard, 2, 2).await;
    let deadline = now() + PATIENCE;
    loop {
        let behind = said(&settings("behind", &[]));
        if behind.contains("v000001 1 of 2: it has them, and goes by some of them from its next") {
            break;
        }
        assert!(now() < deadline, "{behind}");
        sleep(Duration::from_millis(100)).await;
    }
    let before = said(&settings("show", &["1"]));
    let before = text("before.toml", &before);
    assert_eq!(said(&settings("diff", &["1", "2"])).trim(), "+ v000001: state.keep_days = 30");
    // Nothing waits any more once the text before is back.
    assert!(publish(&before).starts_with("settings 3"));
    goes_by(&yard, 1, 3).await;
    assert!(publish(&text("waits.toml", &waits)).starts_with("settings 4"));
    goes_by(&yard, 2, 4).await;
    block_in_place(|| yard.gates[0].process.kill());
    block_in_place(|| yard.gates[0].process.start());
    goes_by(&yard, 1, 4).await;
    yard.drained().await;
    block_in_place(|| yard.close());
}
