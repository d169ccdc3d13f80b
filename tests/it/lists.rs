//! Lists through the real parts: `fares publish` beside a running depot-server, Mosquitto with the
//! shipped rules, validators as processes. Whatever is killed, whenever, the tariff arrives and
//! holds from its service day on, without a restart of anything.

use std::{fs, path::Path, process::Command, time::Duration};

use fleet_sync::Topic;
use jiff::{ToSpan, tz::TimeZone};
use serde_json::Value;
use tokio::{task::block_in_place, time::sleep};

use crate::{
    broker::{Make, now},
    listener::{retain, retained},
    processes::{CITY, Gate, NAME, PATIENCE, POSTS, VALIDATOR, Yard, said},
};

/// Long enough to look at a validator that has the tariff and does not go by it.
const NOTICE: i64 = 30;

/// One bus; its cards can count towards caps, which the first tariff has none of.
fn yard(make: Make, cards: u8) -> Yard {
    let city = format!("{CITY}# The next tariff has a [[cap]].\n");
    Yard::open_on(make, &city, &POSTS[..1], cards)
}

/// The city with another price and stop for the bus and no transfers, capped at 2.20 a day; holds
/// from a service day on that begins at the moment wanted. `ballast` makes the text longer.
fn tariff(version: u16, price: &str, starts: &jiff::Zoned, ballast: usize) -> (String, String) {
    let begin = CITY.find("[[transfer]]").unwrap();
    let end = CITY.find("[gate]").unwrap();
    let city = format!("{}{}", &CITY[..begin], &CITY[end..])
        .replace("version = 1", &format!("version = {version}"))
        .replace("Europe/Berlin", "UTC")
        .replace("price = \"1.50\"", &format!("price = \"{price}\""))
        .replace("\"Stop 1\"", "\"Mill Lane\"")
        .replace(
            "place = [",
            &format!("place = [\n{}", (0..ballast).map(stop).collect::<String>()),
        );
    let (day, time) = (starts.strftime("%Y%m%d"), starts.strftime("%H:%M:%S"));
    let text = format!(
        r#"day_starts = "{time}"
{city}
[clock]
first_s = 0
changes = []
[[cap]]
number = 1
id = "day"
name = "Day cap"
period = "day"
levels = [{{ price = "2.20" }}]
"#
    );
    (text, day.to_string())
}

fn stop(n: usize) -> String {
    format!("  {{ id = \"x{n}\", name = \"Stop {n:x}\", lat = 0, lon = 0, kind = \"stop\" }},\n")
}

fn in_seconds(seconds: i64) -> jiff::Zoned {
    // Whole seconds, as a tariff writes them, and none too early.
    let now = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() + 1).unwrap();
    now.checked_add(seconds.seconds()).unwrap().to_zoned(TimeZone::UTC)
}

fn publish(yard: &Yard, version: u16, price: &str, starts: &jiff::Zoned, ballast: usize) {
    let (text, day) = tariff(version, price, starts, ballast);
    let file = yard.folder().join(format!("city-{version}.toml"));
    fs::write(&file, text).unwrap();
    let output = yard.folder().join(format!("city-{version}.signed"));
    let (file, output) = (file.to_str().unwrap(), output.to_str().unwrap());
    let more = ["--tariff", file, "--valid-from", &day, "--output", output];
    said(&yard.depot_server(&["fares", "publish"], &more));
}

/// The amount in what a rider was told, once let through.
fn charged(answer: &str) -> &str {
    assert!(answer.contains("accepted"), "{answer}");
    answer.split("charge ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or("0.00")
}

/// A number on a validator's metrics page.
fn metric(gate: &Gate, name: &str) -> Option<i64> {
    let page = gate.page("/metrics")?;
    page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// Where the driver is told that the next tap is made, by the program that drivers have.
fn place(yard: &Yard) -> String {
    let socket = yard.folder().join(format!("{}.console", POSTS[0].id));
    let mut command = Command::new(VALIDATOR);
    let shown = command.args(["attendant", "--once", "--socket"]).arg(socket).output();
    let view: Value = serde_json::from_str(&said(&shown.unwrap())).unwrap();
    view["place"].as_str().unwrap().to_owned()
}

/// Waits until a validator holds this version.
async fn holds(yard: &mut Yard, version: i64) {
    let deadline = now() + PATIENCE;
    loop {
        let gate = &mut yard.gates[0];
        gate.process.assert_running();
        if metric(gate, "tapline_list_version{kind=\"tariff\"} ") == Some(version) {
            return;
        }
        assert!(now() < deadline, "tariff {version} does not arrive: {}", gate.process.logged());
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tariff_published_while_all_run_holds_from_its_service_day_on_without_a_restart() {
    publish_while_all_run(Make::Mosquitto).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tariff_published_over_mqtt_3_1_1_holds_from_its_service_day_on_without_a_restart() {
    publish_while_all_run(Make::Nats).await;
}

async fn publish_while_all_run(make: Make) {
    let mut yard = block_in_place(|| yard(make, 2));
    let (cards, mut bus) = (yard.cards.clone(), yard.gates[0].take_reader());
    let answer = bus.tap(cards[0].clone()).await;
    assert_eq!(charged(&answer), "1.50");

    let starts = in_seconds(NOTICE);
    publish(&yard, 2, "1.70", &starts, 0);
    holds(&mut yard, 2).await;
    let answer = bus.tap(cards[1].clone()).await;
    assert_eq!(charged(&answer), "1.50", "not before its day");
    assert_eq!(place(&yard), "Stop 1", "and its stops neither");
    let page = yard.gates[0].page("/metrics").unwrap();
    assert!(page.contains("tapline_list_troubles_total 0"), "{page}");

    let left = starts.timestamp().duration_since(in_seconds(-1).timestamp());
    sleep(Duration::try_from(left).unwrap_or_default() + Duration::from_secs(2)).await;
    assert_eq!(place(&yard), "Mill Lane", "shown before the first tap that it prices");
    // Capped at 2.20: the second ride costs what is left to it, the third nothing.
    for charge in ["1.70", "0.50", "0.00"] {
        let answer = bus.tap(cards[0].clone()).await;
        assert_eq!(charged(&answer), charge);
        // The same card again within the pass-back time would be refused.
        let other = bus.tap(cards[1].clone()).await;
        assert!(other.contains("accepted"), "{other}");
    }
    yard.drained().await;
    block_in_place(|| yard.close());
    let count = |sql: &str| -> i64 {
        let books = rusqlite::Connection::open(yard.database()).unwrap();
        books.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(count("SELECT count(*) FROM taps WHERE tariff = 1"), 2);
    assert_eq!(count("SELECT count(*) FROM taps WHERE tariff = 2"), 6);
    assert_eq!(count("SELECT count(*) FROM exceptions"), 0, "priced alike at both ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_arrive_though_validator_depot_and_broker_are_killed_amid_the_transfer() {
    kill_amid_the_transfer(Make::Mosquitto).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_arrive_over_mqtt_3_1_1_though_all_are_killed_amid_the_transfer() {
    kill_amid_the_transfer(Make::Nats).await;
}

async fn kill_amid_the_transfer(make: Make) {
    let mut yard = block_in_place(|| yard(make, 1));
    let blocks = yard.gates[0].state().join("lists/blocks");
    let (mut amid, mut version) = (0, 1);
    while amid == 0 {
        version += 1;
        assert!(version < 10, "no transfer was ever caught halfway");
        publish(&yard, version, "1.70", &in_seconds(-5), 20_000);
        // As soon as a block is there, of some two hundred.
        let deadline = now() + PATIENCE;
        while count_files(&blocks) == 0 && now() < deadline {
            sleep(Duration::from_millis(1)).await;
        }
        block_in_place(|| yard.gates[0].process.kill());
        amid = count_files(&blocks);
        block_in_place(|| {
            yard.broker.lose_everything_and_restart();
            yard.gates[0].process.start();
        });
        sleep(Duration::from_millis(300)).await;
        block_in_place(|| yard.depot.kill());
        block_in_place(|| yard.depot.start());
    }
    holds(&mut yard, i64::from(version)).await;
    assert_eq!(count_files(&blocks), 0, "blocks are forgotten once the list is whole");
    assert_eq!(metric(&yard.gates[0], "tapline_list_troubles_total "), Some(0));
    let (card, mut bus) = (yard.cards[0].clone(), yard.gates[0].take_reader());
    let answer = bus.tap(card).await;
    assert_eq!(charged(&answer), "1.70");
}

fn count_files(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_plays_back_an_old_manifest_is_not_followed_and_the_depot_hears_of_it() {
    play_back(Make::Mosquitto).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_of_mqtt_3_1_1_that_plays_back_an_old_manifest_is_not_followed() {
    play_back(Make::Nats).await;
}

async fn play_back(make: Make) {
    let mut yard = block_in_place(|| yard(make, 1));
    publish(&yard, 2, "1.70", &in_seconds(-5), 0);
    holds(&mut yard, 2).await;
    let topic = Topic::Manifest.name(&NAME.parse().unwrap());
    // Whoever has the depot's certificate has the broker, and not the depot's signing key.
    let old = block_in_place(|| retained(&yard.broker, &topic));
    publish(&yard, 3, "1.90", &in_seconds(-5), 0);
    holds(&mut yard, 3).await;

    block_in_place(|| retain(&yard.broker, &topic, &old));
    let deadline = now() + PATIENCE;
    while metric(&yard.gates[0], "tapline_list_troubles_total ") != Some(1) {
        assert!(now() < deadline, "the old manifest is noticed");
        sleep(Duration::from_millis(100)).await;
    }
    block_in_place(|| yard.gates[0].process.kill());
    block_in_place(|| yard.gates[0].process.start());
    holds(&mut yard, 3).await;
    let (card, mut bus) = (yard.cards[0].clone(), yard.gates[0].take_reader());
    let answer = bus.tap(card).await;
    assert_eq!(charged(&answer), "1.90", "also after a restart");
}
