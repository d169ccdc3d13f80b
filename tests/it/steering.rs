//! What validators are to be, through the real parts: commands beside a running depot-server,
//! Mosquitto with the shipped rules, validators as processes (ADR-0028).

use std::time::Duration;

use serde_json::Value;
use tokio::{task::block_in_place, time::sleep};

use crate::{
    broker::now,
    processes::{Gate, PATIENCE, POSTS, Yard, said},
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
