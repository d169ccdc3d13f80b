//! The driver's console: the real socket, the real command line, and cards that pay for a group.

use std::{os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

use model::{Companions, RiderClass};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    process::Command,
    task::block_in_place,
    time::timeout,
};
use validation::Verdict;

use super::rig::{Depot, Rig, charge, issued};
use crate::{processes::VALIDATOR, terminal::Screen};

const PATIENCE: Duration = Duration::from_secs(30);

fn with_console() -> (Rig, PathBuf) {
    let mut rig = Rig::new();
    let socket = rig.state().with_file_name("console.sock");
    rig.config.console.socket = Some(socket.clone());
    (rig, socket)
}

/// One line in, one line out.
async fn line(socket: &PathBuf, text: &str) -> Value {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    stream.write_all(format!("{text}\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    let mut read = BufReader::new(stream);
    timeout(PATIENCE, read.read_line(&mut answer)).await.unwrap().unwrap();
    serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{answer:?}: {e}"))
}

/// Exit code, standard output and standard error of `validator companions`.
async fn command(socket: &PathBuf, arguments: &[&str]) -> (Option<i32>, String, String) {
    let ran = Command::new(VALIDATOR)
        .args(["companions", "--socket"])
        .arg(socket)
        .args(arguments)
        .output();
    let out = timeout(PATIENCE, ran).await.unwrap().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap().trim().to_owned();
    (out.status.code(), text(&out.stdout), text(&out.stderr))
}

#[tokio::test]
async fn companions_chosen_at_the_console_ride_on_the_next_card_and_reach_the_depot() {
    let (mut rig, socket) = with_console();
    let mut depot = Depot::start(&mut rig).await;
    let daemon = rig.start().await.unwrap();
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660, "nobody but the validator and its group");

    let (code, told, _) = command(&socket, &["child=2", "adult=1"]).await;
    let mut told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(code, Some(0));
    let left = told["seconds_left"].take().as_u64().unwrap();
    assert!((50..=60).contains(&left), "{left}");
    assert_eq!(
        told,
        json!({"companions": {"adult": 1, "child": 2}, "amount": "3.10", "currency": "EUR",
               "steps": ["1 × Adult, 1.50 EUR each", "2 × Child, 0.80 EUR each"],
               "seconds_left": null})
    );
    let (card, other) = (issued(1, 900), issued(2, 900));
    let passage = rig.tap(&card).await;
    assert_eq!((passage.verdict, charge(&passage), passage.riders()), (Verdict::Granted, 460, 4));
    assert_eq!(charge(&rig.tap(&other).await), 150, "the next rider pays alone");
    assert_eq!(line(&socket, "{}").await["companions"], json!({}));

    depot.until(2).await;
    let riders = |n: usize| {
        let (transaction, _) = depot.taps[n].settled().unwrap();
        transaction.companions
    };
    let chosen = Companions::new([(RiderClass(0), 1), (RiderClass(1), 2)]).unwrap();
    assert_eq!((riders(0), riders(1)), (chosen, Companions::NONE));
    daemon.stop().await;
}

#[tokio::test]
async fn a_choice_is_taken_back_and_what_is_wrong_is_answered_by_name() {
    let (mut rig, socket) = with_console();
    let daemon = rig.start().await.unwrap();
    for (text, wrong) in [
        (r#"{"companions":{"cat":1}}"#, "\"cat\" is no rider category of companions: the tariff"),
        (r#"{"companions":{"child":5}}"#, "at most 4 companions"),
        (r#"{"companions":{"child":-1}}"#, "write a line such as"),
        (r#"{"companion":{"child":1}}"#, "unknown field `companion`"),
        ("child=2", "write a line such as"),
    ] {
        let answer = line(&socket, text).await;
        assert!(answer["error"].as_str().unwrap().contains(wrong), "{text}: {answer}");
    }
    let flood = line(&socket, &"x".repeat(5000)).await;
    assert_eq!(flood["error"], "a line has at most 1024 bytes");
    for (arguments, wrong) in [
        (&["child"][..], "\"child\": write a category such as child=2"),
        (&["child=1", "child=2"], "child stands twice"),
        (&["dog=1"], "the tariff takes adult, child"),
    ] {
        let (code, _, told) = command(&socket, arguments).await;
        assert!(code == Some(1) && told.contains(wrong), "{arguments:?}: {told}");
    }
    assert_eq!(command(&socket, &["child=2"]).await.0, Some(0));
    let (code, told, _) = command(&socket, &["--clear"]).await;
    assert!(code == Some(0) && told.contains("\"companions\":{}"), "{told}");
    let card = issued(1, 900);
    assert_eq!(charge(&rig.tap(&card).await), 150);
    // A console that hangs on the line hinders nobody.
    let hanging = UnixStream::connect(&socket).await.unwrap();
    assert_eq!(line(&socket, r#"{"companions":{"child":1}}"#).await["amount"], "0.80");
    assert_eq!(charge(&rig.tap(&issued(2, 900)).await), 230);
    drop(hanging);
    daemon.stop().await;
    let (code, _, told) = command(&socket, &[]).await;
    assert!(code == Some(1) && told.contains("no validator answers at"), "{told}");
}

#[tokio::test]
async fn prv_6_the_attendant_sees_results_and_counts_passengers_and_learns_no_card_or_balance() {
    let (mut rig, socket) = with_console();
    let daemon = rig.start().await.unwrap();
    let view = line(&socket, r#"{"attendant":"show"}"#).await;
    let here = json!({"in_service": true, "place": "Stop 1", "route": "Bus 7", "passengers": 0});
    assert_eq!(view, here);
    line(&socket, r#"{"companions":{"child":2}}"#).await;
    rig.tap(&issued(1, 900)).await;
    let mut view = line(&socket, r#"{"attendant":"show"}"#).await;
    assert!(view["last"]["seconds_ago"].take().as_u64().unwrap() < 30);
    let last =
        json!({"class": "A", "text": "Boarded · Fare 3.10 EUR · Riders 3", "seconds_ago": null});
    assert_eq!([&view["last"], &view["passengers"]], [&last, &json!(3)]);
    rig.tap(&issued(2, 70)).await;
    let ran =
        Command::new(VALIDATOR).args(["attendant", "--once", "--socket"]).arg(&socket).output();
    let out = timeout(PATIENCE, ran).await.unwrap().unwrap();
    let view: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(view["passengers"], 3, "who is refused is no passenger");
    assert_eq!([&view["last"]["class"], &view["last"]["code"]], ["D", "24"]);
    let text = view["last"]["text"].as_str().unwrap();
    assert_eq!(text, "Not enough credit · Top up", "no balance, and not what is missing");
    assert!(!view.to_string().contains("04010203"), "no card number: {view}");
    let view = line(&socket, r#"{"attendant":"reset"}"#).await;
    assert_eq!(view["passengers"], 0);
    let both = line(&socket, r#"{"attendant":"show","companions":{}}"#).await;
    assert!(both["error"].as_str().unwrap().contains("not for both"), "{both}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_attendants_view_follows_taps_live_by_keys_and_over_a_restart() {
    let (mut rig, socket) = with_console();
    rig.tariff = super::rig::TARIFF.replace("Stop 1", "Mill \\u001b[31mLane");
    let daemon = rig.start().await.unwrap();
    let arguments = ["attendant", "--socket", socket.to_str().unwrap()];
    let mut screen = block_in_place(|| {
        let mut screen = Screen::start(&arguments);
        screen.shows(&["In service", "Bus 7 · Mill [31mLane", "Passengers 0", "No tap yet"]);
        screen
    });
    screen.seen.clear();
    assert!(rig.tap(&issued(1, 900)).await.is_granted());
    block_in_place(|| screen.shows(&["Passengers 1", "A Boarded · Fare 1.50 EUR"]));
    screen.seen.clear();
    rig.tap(&issued(2, 70)).await;
    block_in_place(|| {
        screen.shows(&["D 24 Not enough credit · Top up"]);
        screen.press('r');
        screen.shows(&["Passengers 0"]);
    });
    screen.seen.clear();
    daemon.stop().await;
    block_in_place(|| screen.shows(&["no validator answers at", "is it running?"]));
    screen.seen.clear();
    let daemon = rig.start().await.unwrap();
    block_in_place(|| {
        screen.shows(&["In service", "No tap yet"]);
        screen.quit();
    });
    daemon.stop().await;
}

#[tokio::test]
async fn a_group_torn_at_the_commit_and_killed_is_finished_as_a_group_and_charged_once() {
    let (mut rig, socket) = with_console();
    let daemon = rig.start().await.unwrap();
    let card = issued(1, 900);
    line(&socket, r#"{"companions":{"child":2}}"#).await;
    rig.field.cut(reader::Cut { after: super::COMMIT, heard: true });
    assert_eq!(rig.tap(&card).await.class(), validation::PassageClass::C);
    daemon.kill().await;
    // The socket that the killed one left is taken over.
    let daemon = rig.start().await.unwrap();
    assert_eq!(line(&socket, "{}").await["companions"], json!({}), "a choice is not kept");
    let passage = rig.tap(&card).await;
    assert_eq!((passage.verdict, charge(&passage), passage.riders()), (Verdict::Granted, 310, 3));
    assert_eq!(card.lock().unwrap().contents().unwrap().balance, 590);
    daemon.stop().await;
}

#[tokio::test]
async fn a_file_in_the_place_of_the_socket_is_left_alone_and_named() {
    let (mut rig, socket) = with_console();
    std::fs::write(&socket, "precious").unwrap();
    let refused = rig.start().await.map(|_| ()).unwrap_err();
    let text = validator::chain(&refused);
    assert!(text.contains("console.sock is no socket"), "{text}");
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "precious");
}
