//! What a person at a desk does wrong, and what is said then. Nothing of it costs a card anything.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
};

use card::VirtualCard;
use depot_server::clock::Clock;
use model::CardId;
use tapline_tests::pn532::Emulator;

use super::{adult, blank, card, grant, hand, keys, station, torn::depot};
use crate::{processes::said, readers::bench::Classic};

/// The command fails with this code and says these words.
fn refused(at: &Path, arguments: &[&str], code: i32, words: &str) {
    let output = card(at, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(said.contains(words), "{arguments:?}: {said}\nwants {words}");
}

#[test]
fn wrong_words_are_refused_before_any_card_is_asked_for() {
    let folder = depot();
    let at = folder.path();
    let none = ["--reader", "virtual:none.card"];
    for (arguments, code, words) in [
        (&["load", "--reader", "ttyUSB0", "--amount", "1"][..], 2, "names no reader: write pn532:"),
        (&["load", none[0], none[1], "--amount", "2,50"], 1, "is no amount in EUR: write such as"),
        (&["load", none[0], none[1], "--amount", "0"], 1, "loads nothing"),
        (&["load", none[0], none[1], "--amount", "999999999"], 1, "what one record on a card"),
        (&["issue", none[0], none[1], "--valid-until", "soon"], 1, "write a month (2025-01"),
        (&["issue", none[0], none[1], "--class", "16"], 2, "16 is not in 0..=15"),
        (&["load", none[0], none[1], "--amount", "1"], 1, "`depot-server card blank none.card`"),
        (&["load", "--reader", "pn532:/dev/nothing", "--amount", "1"], 69, "no such device"),
        (&["replace", "04616263646501", none[0], none[1]], 1, "is not in the books"),
        (&["replace", "0461", none[0], none[1]], 2, "14 hexadecimal digits"),
        (
            &[
                "quota",
                "grant",
                "--amount",
                "5",
                "--by",
                "ana",
                "--agreed-by",
                "ANA",
                "--reason",
                "x",
            ],
            1,
            "two people decide about money",
        ),
        (
            &[
                "quota",
                "grant",
                "--amount",
                "5",
                "--by",
                "ana",
                "--agreed-by",
                "b",
                "--reason",
                " ",
            ],
            1,
            "must say something",
        ),
        (
            &["quota", "grant", "--amount", "-5", "--by", "a", "--agreed-by", "b", "--reason", "x"],
            2,
            "unexpected argument",
        ),
    ] {
        refused(at, arguments, code, words);
    }
    fs::remove_file(at.join("keys/cards.toml")).unwrap();
    refused(at, &["load", none[0], none[1], "--amount", "1"], 78, "keys/cards.toml");
    let config = fs::read_to_string(at.join("depot.toml")).unwrap();
    fs::write(at.join("depot.toml"), config.split("[keys]").next().unwrap()).unwrap();
    refused(at, &["load", none[0], none[1], "--amount", "1"], 78, "keys.card");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_cards_are_named_and_stay_as_they_are() {
    let folder = depot();
    let at = folder.path();
    let desk = Emulator::start(&at.join("desk.tty")).unwrap();
    let name = format!("pn532:{}", at.join("desk.tty").display());
    let load = ["load", "--reader", &name, "--amount", "5.00", "--wait", "1"];
    let issue = ["issue", "--reader", &name, "--balance", "5.00", "--wait", "1"];

    refused(at, &load, 1, "no card within 1 seconds: hold it to the reader");
    desk.place(Classic);
    refused(at, &load, 1, "this is no card for value");
    desk.chip().clear();
    desk.place(blank(1));
    desk.place(blank(2));
    refused(at, &load, 1, "two or more cards are on the reader");
    desk.chip().clear();

    let medium = blank(1);
    desk.place(Arc::clone(&medium));
    refused(at, &load, 1, "it is blank or of another system");
    refused(at, &issue, 1, "the quota of station 1 is used up: 5.00 EUR was asked for, 0.00 EUR");
    assert!(medium.lock().unwrap().contents().is_none(), "nothing was begun on the card");
    grant(at, "12.00");
    said(&card(at, &issue));
    refused(at, &issue, 1, "is issued already, with 5.00 EUR by the books");
    said(&card(at, &load));
    refused(at, &load, 1, "5.00 EUR was asked for, 2.00 EUR is left");
    let much = ["load", "--reader", &name, "--amount", "150.00", "--wait", "1"];
    refused(at, &much, 1, "but desk.balance_max allows 150.00 EUR");
    let uid = medium.lock().unwrap().uid();
    refused(at, &["replace", &uid.to_hex(), "--reader", &name], 1, "is still in use");
    refused(at, &["replace", &uid.to_hex(), "--lost", "--reader", &name], 1, "reported as lost");
    desk.chip().clear();

    // Issued by other keys; issued by ours, but elsewhere; and one that was formatted.
    let others = card::KeySet::from_root(&card::Key([9; 16]));
    let foreign = VirtualCard::issue(CardId([4; 7]), [1; 16], &others, &card::Opening::default());
    desk.place(foreign.unwrap().0);
    refused(at, &["issue", "--reader", &name, "--wait", "1"], 1, "its issuer key is not ours");
    desk.chip().clear();
    let elsewhere =
        VirtualCard::issue(CardId([5; 7]), [1; 16], &keys(), &card::Opening::default()).unwrap().0;
    desk.place(elsewhere);
    refused(at, &["issue", "--reader", &name, "--wait", "1"], 1, "but not by these books");
    refused(
        at,
        &["load", "--reader", &name, "--amount", "1", "--wait", "1"],
        1,
        "not in the books",
    );
    desk.chip().clear();
    desk.place(VirtualCard::blank(uid, [3; 16]));
    refused(at, &["issue", "--reader", &name, "--wait", "1"], 1, "its contents are lost");
    let inspected = card(at, &["inspect", "--reader", &name]);
    let found = String::from_utf8_lossy(&inspected.stderr).into_owned();
    assert_eq!(inspected.status.code(), Some(1));
    assert!(found.contains("the books know this card, but it is blank"), "{found}");
}

#[tokio::test]
async fn a_card_that_was_rolled_back_is_not_loaded_and_its_value_is_not_given_out() {
    let folder = depot();
    let at = folder.path();
    grant(at, "100.00");
    let desk = station(at, Clock::system());
    let medium = blank(1);
    desk.issue(&mut hand(Arc::clone(&medium)), &adult(1_000), None).await.unwrap();
    let old = medium.lock().unwrap().clone();
    desk.load(&mut hand(Arc::clone(&medium)), 500).await.unwrap();
    let rolled_back = Arc::new(Mutex::new(old));
    let load = desk.load(&mut hand(Arc::clone(&rolled_back)), 500).await.unwrap_err();
    let paid = clearing::Taken::PaidOut;
    let retire = desk.retire(&mut hand(Arc::clone(&rolled_back)), paid, false).await.unwrap_err();
    for error in [load.to_string(), retire.to_string()] {
        assert!(error.contains("it was copied or rolled back"), "{error}");
    }
    assert_eq!(rolled_back.lock().unwrap().contents().unwrap().balance, 1_000);
}
