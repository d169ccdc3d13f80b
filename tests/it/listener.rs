//! What somebody learns who listens at the broker (PRV-6, SEC-10): a real broker, depot and
//! validator, and `mosquitto_sub` with the depot's own rights, which hears everything.

use std::{
    fs,
    path::Path,
    process::{Child, Command},
    time::Duration,
};

use ::lists::Hotlist;
use depot_server::config::to_hex;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::{task::block_in_place, time::sleep};

use crate::{
    broker::{Broker, Make, now},
    processes::{PATIENCE, POSTS, Reader, SharedCard, Yard, said},
};

/// A program that writes down every message: its topic, and its bytes as hexadecimal digits.
struct Listener {
    child: Child,
    written: NamedTempFile,
}

impl Listener {
    /// Also hears what the broker has retained. NATS lets nobody ask for the level `tapline` alone.
    fn start(broker: &Broker) -> Self {
        let written = NamedTempFile::new().unwrap();
        let child = client("mosquitto_sub", broker)
            .args(["-i", "listener", "-q", "1", "-F", "%t %x", "-t", "tapline/+/#"])
            .args(if broker.make() == Make::Mosquitto { &["-t", "#"][..] } else { &[] })
            .stdout(written.reopen().unwrap())
            .spawn();
        let child = child.expect("mosquitto-clients is installed: tests/run installs it");
        Self { child, written }
    }

    /// Everything that it heard.
    fn heard(mut self) -> Vec<(String, Vec<u8>)> {
        assert!(self.child.try_wait().unwrap().is_none(), "it listened all the time");
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.child.wait().unwrap();
        let text = fs::read_to_string(self.written.path()).unwrap();
        text.lines().map(message).collect()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn message(line: &str) -> (String, Vec<u8>) {
    let (topic, hex) = line.split_once(' ').expect("a topic and a payload");
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
    (topic.to_owned(), (0..hex.len()).step_by(2).map(digit).collect())
}

/// A program of mosquitto-clients with the depot's certificate.
fn client(program: &str, broker: &Broker) -> Command {
    let file = |name: &str| broker.certificates().join(name);
    let mut command = Command::new(program);
    command.args(["-h", "localhost", "-p", &broker.port.to_string(), "-V", "mqttv311"]);
    command.arg("--cafile").arg(file("ca.crt"));
    command.arg("--cert").arg(file("depot.crt")).arg("--key").arg(file("depot.key"));
    command
}

/// What the broker has retained under a topic.
pub(crate) fn retained(broker: &Broker, topic: &str) -> Vec<u8> {
    let mut command = client("mosquitto_sub", broker);
    command.args(["-i", "reader", "-q", "1", "-C", "1", "-W", "20", "-F", "%t %x", "-t", topic]);
    message(said(&command.output().unwrap()).trim_end()).1
}

/// Makes the broker retain something else there.
pub(crate) fn retain(broker: &Broker, topic: &str, payload: &[u8]) {
    let file = NamedTempFile::new().unwrap();
    fs::write(file.path(), payload).unwrap();
    let mut command = client("mosquitto_pub", broker);
    command.args(["-i", "writer", "-q", "1", "-r", "-t", topic]).arg("-f").arg(file.path());
    said(&command.output().unwrap());
}

/// Every way in which a card's number could stand there.
fn shapes(card: &SharedCard) -> Vec<Vec<u8>> {
    let number = card.lock().unwrap().uid();
    let backwards: [u8; 7] = std::array::from_fn(|i| number.0[6 - i]);
    let mut shapes = Vec::new();
    for bytes in [number.0, backwards] {
        let as_number = bytes.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        shapes.push(bytes.to_vec());
        shapes.push(to_hex(&bytes).into_bytes());
        shapes.push(to_hex(&bytes).to_uppercase().into_bytes());
        shapes.push(as_number.to_string().into_bytes());
    }
    shapes
}

fn shows(bytes: &[u8], shapes: &[Vec<u8>]) -> bool {
    shapes.iter().any(|shape| bytes.windows(shape.len()).any(|window| window == shape))
}

/// Whether these bytes are a hotlist that a card is on: a card's number does not stand in it as it
/// is, and whoever listens decodes it by docs/wire.md.
fn refuses(block: &[u8], cards: &[SharedCard]) -> bool {
    let on = |card: &SharedCard, list: &Hotlist| list.contains(card.lock().unwrap().uid());
    Hotlist::parse(block.to_vec()).is_ok_and(|list| cards.iter().any(|card| on(card, &list)))
}

/// The version of a kind of list that the bus works by.
fn version(yard: &Yard, kind: &str) -> u64 {
    let page = yard.gates[0].page("/metrics").unwrap_or_default();
    let name = format!("tapline_list_version{{kind=\"{kind}\"}} ");
    let held = page.lines().find_map(|line| line.strip_prefix(&name)?.trim().parse().ok());
    held.unwrap_or(0)
}

async fn works_by(yard: &mut Yard, kind: &str) {
    let deadline = now() + PATIENCE;
    while version(yard, kind) == 0 {
        yard.gates[0].process.assert_running();
        assert!(now() < deadline, "no {kind}: {}", yard.gates[0].process.logged());
        sleep(Duration::from_millis(100)).await;
    }
}

/// A ride, a top-up that comes by a load order, and a card that is refused from the hotlist on.
async fn an_hour_of_service(yard: &mut Yard, bus: &mut Reader) {
    let cards = yard.cards.clone();
    let number = |card: &SharedCard| card.lock().unwrap().uid().to_hex();
    let answer = bus.tap(cards[0].clone()).await;
    assert!(answer.contains("accepted"), "{answer}");
    block_in_place(|| {
        let card = number(&cards[1]);
        let what = ["--card", &card, "--amount", "20.00", "--channel", "7", "--reference", "R-1"];
        said(&yard.depot_server(&["order", "pay"], &what));
    });
    works_by(yard, "actions").await;
    let answer = bus.tap(cards[1].clone()).await;
    assert!(answer.contains("topped up 20.00 EUR"), "{answer}");
    block_in_place(|| {
        let card = number(&cards[0]);
        let why = ["--by", "ana", "--reason", "reported lost"];
        let case =
            yard.depot_server(&["hotlist", "propose"], &[&[card.as_str()][..], &why].concat());
        let case = said(&case).trim().strip_prefix("case ").unwrap().to_owned();
        said(&yard.depot_server(&["hotlist", "approve"], &[&case, "--by", "ben"]));
    });
    works_by(yard, "hotlist").await;
    let answer = bus.tap(cards[0].clone()).await;
    assert!(answer.contains("code 63"), "{answer}");
    yard.drained().await;
}

/// The depot makes a new list key: lists are sealed anew, and the bus goes by them.
async fn a_new_list_key(yard: &mut Yard, bus: &mut Reader) {
    let first = standing(yard);
    let number = |keys: &Value| keys["keys"].as_array().unwrap().last().unwrap()["number"].clone();
    assert_eq!((&first["sealed"], &first["cannot_read"]), (&json!(true), &json!([])), "{first}");
    block_in_place(|| {
        said(&yard.depot_server(&["list-keys", "rotate"], &["--by", "ana", "--reason", "a test"]));
    });
    let deadline = now() + PATIENCE;
    loop {
        let keys = standing(yard);
        if number(&keys) != number(&first) && keys["lack_newest"] == json!([]) {
            break;
        }
        assert!(now() < deadline, "{keys}: {}", yard.gates[0].process.logged());
        sleep(Duration::from_millis(100)).await;
    }
    block_in_place(|| yard.gates[0].process.kill());
    block_in_place(|| yard.gates[0].process.start());
    works_by(yard, "hotlist").await;
    let answer = bus.tap(yard.cards[0].clone()).await;
    assert!(answer.contains("code 63"), "also after a restart: {answer}");
    let page = yard.gates[0].page("/metrics").unwrap();
    assert!(page.contains("\ntapline_list_troubles_total 0\n"), "{page}");
    yard.drained().await;
}

/// What the depot says of its list keys.
fn standing(yard: &Yard) -> Value {
    let output = block_in_place(|| yard.depot_server(&["list-keys", "show"], &["--json"]));
    serde_json::from_str(&said(&output)).unwrap()
}

/// Sets a key in the first table of this name of a configuration.
fn set(config: &Path, table: &str, key: &str, value: &str) {
    let text = fs::read_to_string(config).unwrap();
    let head = format!("[{table}]\n");
    assert!(text.contains(&head), "{text}");
    let text = text.replacen(&head, &format!("{head}{key} = \"{value}\"\n"), 1);
    fs::write(config, text).unwrap();
}

/// Topics whose messages show a card's number, each once, and `hotlist` for a list that reads as
/// one; whatever stands in a topic itself fails. `how` is how taps and how lists go out.
async fn listen(make: Make, how: &str) -> Vec<String> {
    let mut yard = block_in_place(|| Yard::install_over(make, &POSTS[..1], 2));
    set(&yard.folder().join(format!("{}.toml", POSTS[0].id)), "broker", "payloads", how);
    set(&yard.folder().join("depot.toml"), "mqtt", "lists", how);
    let listener = Listener::start(&yard.broker);
    yard.start();
    block_in_place(|| yard.open_desk("[orders]\nenabled = true\n"));
    let mut bus = yard.gates[0].take_reader();
    an_hour_of_service(&mut yard, &mut bus).await;
    let page = yard.gates[0].page("/metrics").unwrap();
    let spoken = if how == "sealed" { 3 } else { 2 };
    assert!(page.contains(&format!("\ntapline_message_version {spoken}\n")), "{page}");
    if how == "sealed" {
        a_new_list_key(&mut yard, &mut bus).await;
    }
    block_in_place(|| yard.close());
    assert_eq!(yard.items(), 0);

    let heard = block_in_place(|| listener.heard());
    let shapes: Vec<_> = yard.cards.iter().flat_map(shapes).collect();
    for word in ["/up/taps", "/up/state", "/down/ack", "/all/host", "/all/manifest", "/chunk/"] {
        assert!(heard.iter().any(|(topic, _)| topic.contains(word)), "{word} was heard");
    }
    let mut showing = Vec::new();
    for (topic, payload) in &heard {
        assert!(!shows(topic.as_bytes(), &shapes), "a card's number in topic {topic}");
        let word = match topic.rsplitn(3, '/').collect::<Vec<_>>()[..] {
            [_, "chunk", _] => "all/chunk".to_owned(),
            [last, before, _] => format!("{before}/{last}"),
            _ => topic.clone(),
        };
        if word == "all/chunk" && refuses(payload, &yard.cards) {
            showing.push("hotlist".to_owned());
        }
        if shows(payload, &shapes) {
            showing.push(word);
        }
    }
    showing.sort();
    showing.dedup();
    showing
}

// Without sealing the same hour shows everything: this is what the others would fail with.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prv_6_no_card_number_is_in_a_topic_and_whoever_listens_reads_what_is_not_sealed() {
    let showing = listen(Make::Mosquitto, "signed").await;
    assert_eq!(showing, ["all/chunk", "hotlist", "up/taps"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sec_10_no_card_number_is_on_any_topic_where_taps_and_lists_are_sealed() {
    assert_eq!(listen(Make::Mosquitto, "sealed").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sec_10_the_same_holds_over_a_broker_that_speaks_only_mqtt_3_1_1() {
    assert_eq!(listen(Make::Nats, "sealed").await, [""; 0]);
}
