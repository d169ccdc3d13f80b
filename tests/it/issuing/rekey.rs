//! A card of key version 1 gets version 2 at the desk: through a PN532, torn at every exchange,
//! when nothing is to be done, and with keys that do not fit.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
};

use card::{
    CardKeys, CardOutput, DebitTransaction, Key, KeyRole, KeySet, KeyVersion, VirtualCard, apdu,
    layout,
};
use custody::{save_new, write_private};
use depot_server::{clock::Clock, desk::DeskError};
use model::CardId;
use reader::{Activation, Picc};
use serde_json::{Value, json};
use tapline_tests::pn532::Emulator;
use tempfile::TempDir;

use super::{
    CARDS, adult, blank, card, grant, hand, keys, on, station,
    torn::{Cut, Cutting, depot},
    verified,
};
use crate::processes::{DEPOT, SharedCard, said};

const V1: KeyVersion = KeyVersion(1);
const SECRET: &[u8] = b"a secret of sixteen";

/// Names this keystore in the configuration, in place of the plain key file.
fn keystore(at: &Path, name: &str, keys: &KeySet) {
    let unlock = at.join("keys/unlock");
    if !unlock.exists() {
        write_private(&unlock, SECRET).unwrap();
    }
    save_new(&at.join("keys").join(name), keys, SECRET).unwrap();
    let config = at.join("depot.toml");
    let text = fs::read_to_string(&config).unwrap();
    let before = text.split("[keys]").next().unwrap();
    let named = format!("card = {{ store = \"keys/{name}\", unlock = \"keys/unlock\" }}");
    // The intake's own keystore stays as it is: those keys are never changed.
    fs::write(&config, format!("{before}[keys]\ntmac = \"keys/tmac-master.hex\"\n{named}\n"))
        .unwrap();
}

/// A depot whose Transaction MAC key is the one that the cards here are issued with.
fn office() -> TempDir {
    let folder = depot();
    let tmac = keys().master(KeyRole::Tmac, V1).unwrap().0;
    fs::write(folder.path().join("keys/tmac-master.hex"), depot_server::config::to_hex(&tmac))
        .unwrap();
    keystore(folder.path(), "v1.keys", &keys());
    folder
}

/// Version 2 of all three keys beside version 1.
fn rolled() -> KeySet {
    [(KeyRole::Issuer, 0x21), (KeyRole::Debit, 0x22), (KeyRole::Load, 0x23)]
        .into_iter()
        .fold(keys(), |set, (role, byte)| set.with(role, KeyVersion(2), Key([byte; 16])))
}

fn depot_keys(at: &Path, arguments: &[&str]) -> String {
    let mut command = std::process::Command::new(DEPOT);
    command.args(["keys", arguments[0], "--config"]).arg(at.join("depot.toml"));
    said(&command.args(&arguments[1..]).output().unwrap())
}

/// The versions that the card names: issuer, debit, load.
fn versions(medium: &SharedCard) -> [u8; 3] {
    let mut card = medium.lock().unwrap();
    card.power_off();
    card.handle_apdu(&apdu::wrap(apdu::cmd::SELECT_APPLICATION, &layout::AID));
    let versions = [layout::KEY_ISSUER, layout::KEY_DEBIT, layout::KEY_LOAD]
        .map(|n| card.handle_apdu(&apdu::wrap(apdu::cmd::GET_KEY_VERSION, &[n]))[0]);
    card.power_off();
    versions
}

/// Whether a validator with these keys can read the card.
fn opens(bus: &KeySet, medium: &SharedCard) -> bool {
    let mut card = medium.lock().unwrap();
    card.power_off();
    let uid = card.uid();
    let mut machine = DebitTransaction::new(uid, bus.debit_key(&uid).unwrap(), [7; 16]);
    let found = loop {
        match machine.poll().unwrap() {
            CardOutput::Transmit(apdu) => machine.handle_response(Ok(&card.handle_apdu(&apdu))),
            CardOutput::NeedKey { role, version } => {
                machine.handle_key(bus.card_key(role, version, &uid).ok(), [8; 16]);
            }
            CardOutput::Found(_) => break true,
            CardOutput::Settled(_) | CardOutput::ReadyToCommit => break false,
        }
    };
    card.power_off();
    found
}

fn refused(at: &Path, arguments: &[&str], code: i32, words: &str) {
    let output = card(at, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert!(said.contains(words), "{arguments:?}: {said}\nwants {words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_is_rekeyed_at_the_desk_once_and_then_needs_no_old_key_any_more() {
    let folder = office();
    let at = folder.path();
    grant(at, "100.00");
    let desk = Emulator::start(&at.join("desk.tty")).unwrap();
    let name = format!("pn532:{}", at.join("desk.tty").display());
    let rekey = ["rekey", "--reader", &name, "--wait", "5"];
    let medium = blank(1);
    desk.place(Arc::clone(&medium));
    said(&card(at, &["issue", "--reader", &name, "--balance", "10.00"]));
    assert_eq!(versions(&medium), [1, 1, 1]);
    let current = said(&card(at, &rekey));
    let words = "is current: none of its keys is older than issuer 1, debit 1, load 1; nothing was";
    assert!(current.contains(words), "{current}");

    depot_keys(at, &["rotate", "debit"]);
    let current = said(&card(at, &rekey));
    assert!(current.contains("debit 1"), "nothing uses it yet: {current}");
    depot_keys(at, &["use", "debit", "2"]);
    let changed = said(&card(at, &rekey));
    assert!(changed.contains("has new keys: debit from version 1 to 2\n"), "{changed}");
    assert_eq!(versions(&medium), [1, 2, 1]);

    for role in ["issuer", "load"] {
        depot_keys(at, &["rotate", role]);
        depot_keys(at, &["use", role, "2"]);
    }
    let whole = [&rekey[..], &["--json", "--number"]].concat();
    let changed: Value = serde_json::from_str(&said(&card(at, &whole))).unwrap();
    let uid = medium.lock().unwrap().uid().to_hex();
    let current = json!({ "issuer": 2, "debit": 2, "load": 2 });
    let list =
        json!([{ "key": "load", "from": 1, "to": 2 }, { "key": "issuer", "from": 1, "to": 2 }]);
    assert_eq!(changed, json!({ "card": uid, "changed": list, "current": current }));
    let again: Value = serde_json::from_str(&said(&card(at, &whole))).unwrap();
    assert_eq!(again, json!({ "card": uid, "changed": [], "current": current }));

    // Step 6 of the roll: the old keys go, and the card is loaded and read as before.
    for role in ["debit", "issuer", "load"] {
        depot_keys(at, &["remove", role, "1"]);
    }
    let loaded = said(&card(at, &["load", "--reader", &name, "--amount", "5.00"]));
    assert!(loaded.contains("which holds 15.00 EUR now"), "{loaded}");
    let seen = said(&card(at, &["inspect", "--reader", &name]));
    assert!(seen.contains("key versions    [2, 2, 2]") && seen.contains("15.00 EUR"), "{seen}");
    assert_eq!(on(at, CARDS), 1_500);
    verified(at);
}

/// Once it was pulled away, another card lies there.
struct Swapped(Cutting);

impl Picc for Swapped {
    fn activation(&self) -> Activation {
        match self.0.cut {
            Some(_) => self.0.activation(),
            None => Activation::desfire(CardId([4, 0x99, 1, 2, 3, 4, 5])),
        }
    }

    fn transceive(&mut self, apdu: &[u8]) -> Option<Vec<u8>> {
        self.0.transceive(apdu)
    }

    fn field_off(&mut self) {
        self.0.field_off();
    }
}

const WHOLE: u32 = 13;
/// The first change; before it nothing but questions.
const CHANGING: u32 = 7;

#[tokio::test]
async fn a_card_torn_at_any_exchange_of_its_rekeying_rides_on_and_gets_the_rest_the_next_time() {
    let folder = office();
    let at = folder.path();
    grant(at, "1000.00");
    let old = station(at, Clock::system());
    keystore(at, "v2.keys", &rolled());
    let new = station(at, Clock::system());
    let bus = rolled().for_validator();
    let cuts = (0..WHOLE).flat_map(|at| [false, true].map(|heard| Cut { at, heard }));
    let (mut resumed, mut half) = (0, 0);
    for (n, cut) in (1..).zip(cuts) {
        for swapped in [false, true] {
            let uid = CardId([4, 0x81, 0x82, 0x83, 0x84, u8::from(swapped), n]);
            let medium = Arc::new(Mutex::new(VirtualCard::blank(uid, [n; 16])));
            old.issue(&mut hand(Arc::clone(&medium)), &adult(1_000), None).await.unwrap();
            assert_eq!(versions(&medium), [1, 1, 1]);
            let cutting = Cutting { card: Arc::clone(&medium), cut: Some(cut), exchanges: 0 };
            let first = if swapped {
                new.rekey(&mut hand(Swapped(cutting))).await
            } else {
                new.rekey(&mut hand(cutting)).await
            };
            let case = format!("{cut:?}, swapped {swapped}");
            assert!(opens(&bus, &medium), "{case}: a validator with both versions takes it");
            match first {
                Ok(done) => {
                    let roles = done.changed.iter().map(|change| change.role);
                    assert!(roles.eq([KeyRole::Debit, KeyRole::Load, KeyRole::Issuer]), "{case}");
                    assert!(!swapped && cut.at >= CHANGING, "{case}");
                    resumed += 1;
                }
                Err(DeskError::Card(_)) => assert!(cut.at < CHANGING, "{case}"),
                Err(error) => {
                    assert!(swapped && cut.at >= CHANGING && error.try_again(), "{case}: {error}");
                    half += 1;
                }
            }
            new.rekey(&mut hand(Arc::clone(&medium))).await.unwrap();
            assert_eq!(versions(&medium), [2, 2, 2], "{case}");
            let again = new.rekey(&mut hand(Arc::clone(&medium))).await.unwrap();
            assert_eq!(again.changed, [], "{case}");
            let contents = medium.lock().unwrap().contents().unwrap();
            assert_eq!((contents.balance, contents.records.len()), (1_000, 1), "{case}");
        }
    }
    assert_eq!((resumed, half), (12, 12), "all six exchanges from the first change on");
    verified(at);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_pulled_off_the_reader_half_rekeyed_is_finished_by_the_next_command() {
    let folder = office();
    let at = folder.path();
    grant(at, "10.00");
    let desk = Emulator::start(&at.join("desk.tty")).unwrap();
    let name = format!("pn532:{}", at.join("desk.tty").display());
    let rekey = ["rekey", "--reader", &name, "--wait", "1"];
    let medium = blank(1);
    desk.place(Arc::clone(&medium));
    said(&card(at, &["issue", "--reader", &name]));
    keystore(at, "v2.keys", &rolled());
    desk.chip().clear();
    let cut = Some(Cut { at: CHANGING + 2, heard: true });
    desk.place(Swapped(Cutting { card: Arc::clone(&medium), cut, exchanges: 0 }));
    refused(at, &rekey, 75, "each key in its old or its new version; hold it to the reader again");
    assert_eq!(versions(&medium), [1, 2, 2], "the second change was heard, its answer was lost");
    desk.chip().clear();
    desk.place(Arc::clone(&medium));
    let rest = said(&card(at, &rekey));
    assert!(rest.contains("has new keys: issuer from version 1 to 2\n"), "{rest}");
    assert_eq!(versions(&medium), [2, 2, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_do_not_fit_are_named_and_change_nothing_on_the_card() {
    let folder = office();
    let at = folder.path();
    grant(at, "10.00");
    let desk = Emulator::start(&at.join("desk.tty")).unwrap();
    let name = format!("pn532:{}", at.join("desk.tty").display());
    let rekey = ["rekey", "--reader", &name, "--wait", "1"];
    refused(at, &rekey, 1, "no card within 1 seconds");
    let medium = blank(1);
    desk.place(Arc::clone(&medium));
    refused(at, &rekey, 1, "it is blank or of another system");
    said(&card(at, &["issue", "--reader", &name]));

    let mut forgotten = rolled();
    forgotten.remove(KeyRole::Issuer, V1).unwrap();
    keystore(at, "forgotten.keys", &forgotten);
    refused(at, &rekey, 1, "the card's key has version 1, which is not held here");
    assert_eq!(versions(&medium), [1, 1, 1]);

    // The same numbers, but other keys.
    let others = KeySet::from_root(&Key([9; 16]));
    keystore(at, "others.keys", &others.with(KeyRole::Issuer, KeyVersion(2), Key([0x21; 16])));
    refused(at, &rekey, 1, "the card could not prove its key");
    assert_eq!(versions(&medium), [1, 1, 1]);

    // The load key's old version is gone: what can be changed is, and the card goes on working.
    let mut partly = rolled();
    partly.remove(KeyRole::Load, V1).unwrap();
    keystore(at, "partly.keys", &partly);
    refused(at, &rekey, 1, "not all keys of card");
    assert_eq!(versions(&medium), [1, 2, 1]);
    assert!(opens(&rolled().for_validator(), &medium));

    // A keystore that is behind the card takes nothing back.
    keystore(at, "v2.keys", &rolled());
    said(&card(at, &rekey));
    let mut behind = rolled();
    for role in [KeyRole::Issuer, KeyRole::Debit, KeyRole::Load] {
        behind.set_current(role, V1).unwrap();
    }
    keystore(at, "behind.keys", &behind);
    let current = said(&card(at, &rekey));
    assert!(current.contains("none of its keys is older than issuer 1"), "{current}");
    assert_eq!(versions(&medium), [2, 2, 2]);
    fs::remove_file(at.join("keys/behind.keys")).unwrap();
    refused(at, &rekey, 78, "behind.keys");
}
