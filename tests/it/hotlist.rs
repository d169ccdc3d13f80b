//! Blocking cards through the real parts: decisions by the depot's program, Mosquitto with the
//! shipped rules, a validator as a process, cards at its reader. Whatever is killed, whenever, the
//! list arrives, holds, and does not go back.

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use fleet_sync::Topic;
use tokio::{task::block_in_place, time::sleep};

use crate::{
    broker::{Make, now},
    listener::{retain, retained},
    processes::{CITY, NAME, PATIENCE, POSTS, Yard, get, said},
};

/// The first card of every yard.
const CARD: &str = "04515253545501";

fn yard(make: Make, cards: u8) -> Yard {
    Yard::open_on(make, CITY, &POSTS[..1], cards)
}

fn hotlist(yard: &Yard, command: &str, more: &[&str]) -> String {
    said(&yard.depot_server(&["hotlist", command], more))
}

fn error(yard: &Yard, command: &str, more: &[&str]) -> String {
    let output = yard.depot_server(&["hotlist", command], more);
    assert!(!output.status.success(), "{command} {more:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Proposes a card and approves it.
fn block(yard: &Yard, card: &str) {
    let case = hotlist(yard, "propose", &[card, "--by", "ana", "--reason", "reported lost"]);
    let case = case.trim().strip_prefix("case ").unwrap().to_owned();
    hotlist(yard, "approve", &[&case, "--by", "ben"]);
}

/// A number on the validator's metrics page.
fn metric(yard: &Yard, name: &str) -> Option<i64> {
    let page = yard.gates[0].page("/metrics")?;
    page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

fn version(yard: &Yard) -> i64 {
    metric(yard, "tapline_list_version{kind=\"hotlist\"} ").unwrap_or(0)
}

/// Waits until the bus works by a list of so many cards that is newer than `than`; answers its
/// version.
async fn works_by(yard: &mut Yard, cards: i64, than: i64) -> i64 {
    let deadline = now() + PATIENCE;
    loop {
        yard.gates[0].process.assert_running();
        let held = version(yard);
        if held > than && metric(yard, "tapline_hotlist_cards ") == Some(cards) {
            return held;
        }
        let logged = yard.gates[0].process.logged();
        assert!(now() < deadline, "no list of {cards} cards: {logged}");
        sleep(Duration::from_millis(50)).await;
    }
}

fn is_refused(answer: &str) -> bool {
    !answer.contains("accepted") && answer.contains("code 63")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rec_7_a_card_is_refused_from_its_approval_on_until_it_is_unblocked() {
    approve_and_unblock(Make::Mosquitto).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rec_7_over_mqtt_3_1_1_a_card_is_refused_until_it_is_unblocked() {
    approve_and_unblock(Make::Nats).await;
}

async fn approve_and_unblock(make: Make) {
    let mut yard = block_in_place(|| yard(make, 2));
    let (cards, mut bus) = (yard.cards.clone(), yard.gates[0].take_reader());
    let more = ["--by", "ana", "--reason", "reported lost", "--cause", "lost"];
    let proposed = hotlist(&yard, "propose", &[&[CARD][..], &more].concat());
    assert_eq!(proposed, "case 1\n");
    sleep(Duration::from_secs(3)).await;
    assert_eq!(version(&yard), 0, "a proposal makes no list");

    hotlist(&yard, "approve", &["1", "--by", "ben"]);
    let first = works_by(&mut yard, 1, 0).await;
    let answer = bus.tap(cards[0].clone()).await;
    assert!(is_refused(&answer), "{answer}");
    let answer = bus.tap(cards[1].clone()).await;
    assert!(answer.contains("accepted"), "{answer}");
    let exported = hotlist(&yard, "export", &[]);
    assert_eq!(exported, format!("{CARD} # black lost: reported lost\n"));
    let told = hotlist(&yard, "list", &["--json"]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["cases"][0]["standing"], "in-force");
    assert_eq!(told["cases"][0]["approved"]["by"], "ben");
    assert_eq!(told["breaker"], serde_json::Value::Null);

    // Depot and broker forget everything they can: the list is on the validator's own disk.
    block_in_place(|| {
        yard.depot.kill();
        yard.gates[0].process.kill();
        yard.broker.lose_everything_and_restart();
        yard.gates[0].process.start();
    });
    works_by(&mut yard, 1, first - 1).await;
    let answer = bus.tap(cards[0].clone()).await;
    assert!(is_refused(&answer), "without a depot: {answer}");
    block_in_place(|| yard.depot.start());

    hotlist(&yard, "unblock", &["--card", CARD, "--by", "eve", "--reason", "found again"]);
    works_by(&mut yard, 0, first).await;
    let answer = bus.tap(cards[0].clone()).await;
    assert!(answer.contains("accepted"), "{answer}");
    assert_eq!(metric(&yard, "tapline_list_troubles_total "), Some(0));
    yard.drained().await;
    block_in_place(|| assert!(yard.depot.stop().success()));
    let verdict = said(&yard.depot_server(&["verify", "--from-journal"], &[]));
    assert!(verdict.contains("the books are what the journal says"), "{verdict}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hotlist_arrives_whole_or_by_a_delta_though_everybody_is_killed_on_the_way() {
    whole_and_by_a_delta(Make::Mosquitto).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hotlist_arrives_over_mqtt_3_1_1_though_everybody_is_killed_on_the_way() {
    whole_and_by_a_delta(Make::Nats).await;
}

async fn whole_and_by_a_delta(make: Make) {
    const MANY: u32 = 120_000;
    let mut yard = block_in_place(|| yard(make, 1));
    let (card, mut bus) = (yard.cards[0].clone(), yard.gates[0].take_reader());
    let blocks = yard.gates[0].state().join("lists/blocks");
    let file = yard.folder().join("old-system.txt");
    let mut text = format!("# From the old system\n{CARD} # the first\n");
    for n in 1..MANY {
        let spread = u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
        writeln!(text, "04{spread:012x}").unwrap();
    }
    fs::write(&file, text).unwrap();
    let why = ["--by", "ana", "--reason", "the old system's list"];
    hotlist(&yard, "import", &[&[file.to_str().unwrap()][..], &why].concat());
    hotlist(&yard, "approve", &["--cause", "import", "--by", "ana"]);
    let deadline = now() + PATIENCE;
    while !get(yard.pages, "/metrics").unwrap().contains("\ntapline_hotlist_breaker_open 1\n") {
        assert!(now() < deadline, "the breaker opens: {}", yard.depot.logged());
        sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(version(&yard), 0, "and nobody is blocked");
    let alone = error(&yard, "confirm", &["--cause", "import", "--by", "ana"]);
    assert!(alone.contains("a second person has to confirm"), "{alone}");
    hotlist(&yard, "confirm", &["--cause", "import", "--by", "ben"]);

    // As soon as a block is there, of some sixty.
    let deadline = now() + PATIENCE;
    while files(&blocks) == 0 && version(&yard) == 0 {
        assert!(now() < deadline, "{}", yard.depot.logged());
        sleep(Duration::from_millis(1)).await;
    }
    block_in_place(|| {
        yard.gates[0].process.kill();
        yard.broker.lose_everything_and_restart();
        yard.gates[0].process.start();
    });
    sleep(Duration::from_millis(300)).await;
    block_in_place(|| yard.depot.kill());
    block_in_place(|| yard.depot.start());
    let whole = works_by(&mut yard, MANY.into(), 0).await;
    assert!(is_refused(&bus.tap(card.clone()).await));
    assert_eq!(files(&blocks), 0, "blocks are forgotten once the list is whole");

    // Two versions are made while the bus is away: one delta leads over both of them.
    block_in_place(|| yard.gates[0].process.kill());
    for other in ["04515253545502", "04515253545503"] {
        block(&yard, other);
        // A list of this length is not made twice within five seconds.
        sleep(Duration::from_secs(7)).await;
    }
    block_in_place(|| yard.gates[0].process.start());
    let changed = works_by(&mut yard, i64::from(MANY) + 2, whole).await;
    let logged = yard.gates[0].process.logged();
    let told = logged.lines().find(|line| line.contains("a list is changed by a delta")).unwrap();
    assert!(told.contains(&whole.to_string()) && told.contains(&changed.to_string()), "{told}");
    assert_eq!(metric(&yard, "tapline_list_troubles_total "), Some(0));
    let answer = bus.tap(card).await;
    assert!(is_refused(&answer), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_manifest_that_is_played_back_serves_no_blocked_card() {
    play_back(Make::Mosquitto).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_manifest_that_is_played_back_over_mqtt_3_1_1_serves_no_blocked_card() {
    play_back(Make::Nats).await;
}

async fn play_back(make: Make) {
    let mut yard = block_in_place(|| yard(make, 1));
    let (card, mut bus) = (yard.cards[0].clone(), yard.gates[0].take_reader());
    block(&yard, "04aaaaaaaaaaaa");
    let first = works_by(&mut yard, 1, 0).await;
    let topic = Topic::Manifest.name(&NAME.parse().unwrap());
    // Whoever has the depot's certificate has the broker, and not the depot's signing key.
    let old = block_in_place(|| retained(&yard.broker, &topic));
    block(&yard, CARD);
    let second = works_by(&mut yard, 2, first).await;

    block_in_place(|| retain(&yard.broker, &topic, &old));
    let deadline = now() + PATIENCE;
    while metric(&yard, "tapline_list_troubles_total ") != Some(1) {
        assert!(now() < deadline, "the old manifest is noticed");
        sleep(Duration::from_millis(100)).await;
    }
    block_in_place(|| yard.gates[0].process.kill());
    block_in_place(|| yard.gates[0].process.start());
    assert_eq!(works_by(&mut yard, 2, first).await, second);
    let answer = bus.tap(card).await;
    assert!(is_refused(&answer), "also after a restart: {answer}");
}

fn files(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}
