//! Keys in a real token: `SoftHSM`, with a configuration and a token of its own per test.
//!
//! A module reads `SOFTHSM2_CONF` from the environment of its process, so each scene is played by
//! this test binary once more, as a child with that variable.

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use card::{
    CardKeys, CardOutput, DebitTransaction, Key, KeyError, KeyRole, KeySet, KeyVersion, Opening,
    VirtualCard,
};
use model::CardId;

use crate::{Custody, CustodyError, Source, TokenKeys, TokenSource, check_value, write_private};

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const SCENE: &str = "TAPLINE_CUSTODY_SCENE";
const CARD: CardId = CardId([4, 1, 2, 3, 4, 5, 6]);
const V1: KeyVersion = KeyVersion(1);
const V2: KeyVersion = KeyVersion(2);

/// The folder of the scene that this process plays; the parent starts it, and gets `None`.
fn scene(name: &str) -> Option<PathBuf> {
    if let Some(folder) = env::var_os(SCENE) {
        return Some(folder.into());
    }
    assert!(
        Path::new(MODULE).exists(),
        "{MODULE} is missing: apt-get install softhsm2, or run tests/run, which does"
    );
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    fs::create_dir(&tokens).unwrap();
    let conf = folder.path().join("softhsm2.conf");
    let text = format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display());
    fs::write(&conf, text).unwrap();
    write_private(&folder.path().join("pin"), b"4711\n").unwrap();
    init_token(&conf);
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", &format!("tests::{name}"), "--nocapture"])
        .env("SOFTHSM2_CONF", &conf)
        .env(SCENE, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "the scene {name} was played: {said}");
    tell(&said);
    None
}

fn init_token(conf: &Path) {
    let output = Command::new("softhsm2-util")
        .args(["--init-token", "--free", "--label", "tapline", "--so-pin", "0815", "--pin", "4711"])
        .env("SOFTHSM2_CONF", conf)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Shown with `--nocapture`.
fn tell(text: &str) {
    writeln!(std::io::stdout(), "{text}").unwrap();
}

fn token(folder: &Path) -> TokenSource {
    TokenSource {
        module: MODULE.into(),
        token: "tapline".into(),
        pin: folder.join("pin"),
        current: std::collections::BTreeMap::new(),
    }
}

/// Issuer, debit and load in version 1, debit in version 2 as well.
fn masters() -> KeySet {
    let root =
        KeySet::from_root(&Key([7; 16])).only(&[KeyRole::Issuer, KeyRole::Debit, KeyRole::Load]);
    root.with(KeyRole::Debit, V2, Key([9; 16]))
}

fn import_all(token: &TokenSource) {
    let masters = masters();
    for role in KeyRole::ALL {
        for version in masters.versions(role) {
            let key = masters.master(role, version).unwrap();
            let check = TokenKeys::import(token, role, version, key).unwrap();
            assert_eq!(check, check_value(key));
        }
    }
}

#[test]
fn a_token_derives_the_same_card_keys_as_the_software() {
    let name = "a_token_derives_the_same_card_keys_as_the_software";
    let Some(folder) = scene(name) else { return };
    let token = token(&folder);
    import_all(&token);
    let (software, custody) = (masters(), Custody::open(&Source::Token(token.clone())).unwrap());
    let hardware = custody.keys();
    for role in KeyRole::ALL {
        assert_eq!(hardware.versions(role), software.versions(role));
        assert_eq!(hardware.current(role), software.current(role));
        for version in software.versions(role) {
            for n in 0..20 {
                let uid = CardId([4, n, 2, 3, 4, 5, 6]);
                let [a, b] = [hardware, &software].map(|k| k.card_key(role, version, &uid));
                assert_eq!(a.unwrap(), b.unwrap());
            }
        }
    }
    let held = custody.list().unwrap();
    assert_eq!(held.len(), 4);
    assert!(
        held.iter().all(|key| {
            key.check == check_value(software.master(key.role, key.version).unwrap())
        })
    );
    assert_eq!(hardware.tmac_key(&CARD), Err(KeyError::NotHeld(KeyRole::Tmac)));
    let old = TokenSource { current: [(KeyRole::Debit, V1)].into(), ..token };
    assert_eq!(TokenKeys::open(&old).unwrap().current(KeyRole::Debit), Ok(V1));
}

#[test]
fn a_card_is_debited_with_a_key_from_a_token_also_when_it_holds_the_older_version() {
    let name = "a_card_is_debited_with_a_key_from_a_token_also_when_it_holds_the_older_version";
    let Some(folder) = scene(name) else { return };
    let token = token(&folder);
    import_all(&token);
    let keys = TokenKeys::open(&token).unwrap();
    let office = KeySet::from_root(&Key([7; 16]));
    let opening = Opening { balance: 1000, ..Opening::default() };
    let (mut card, _) = VirtualCard::issue(CARD, [1; 16], &office, &opening).unwrap();
    let mut tap = DebitTransaction::new(CARD, keys.debit_key(&CARD).unwrap(), [5; 16]);
    let mut asked = None;
    let found = loop {
        match tap.poll().unwrap() {
            CardOutput::Transmit(apdu) => tap.handle_response(Ok(&card.handle_apdu(&apdu))),
            CardOutput::NeedKey { role, version } => {
                asked = Some(version);
                tap.handle_key(keys.card_key(role, version, &CARD).ok(), [6; 16]);
            }
            CardOutput::Found(found) => break found,
            other @ (CardOutput::ReadyToCommit | CardOutput::Settled(_)) => panic!("{other:?}"),
        }
    };
    assert_eq!((asked, found.record.balance), (Some(V1), 1000));
}

#[test]
fn what_a_token_lacks_or_refuses_is_named_with_module_token_and_what_to_do() {
    let name = "what_a_token_lacks_or_refuses_is_named_with_module_token_and_what_to_do";
    let Some(folder) = scene(name) else { return };
    let token = token(&folder);
    let refused = |source: &TokenSource| match TokenKeys::open(source) {
        Err(CustodyError::Keys(KeyError::Module(message))) => message,
        other => panic!("{other:?}"),
    };
    let empty = refused(&token);
    assert!(empty.contains("holds no AES key named tapline-<issuer|debit|load>-v<NN>"), "{empty}");
    let other = refused(&TokenSource { token: "metro".into(), ..token.clone() });
    assert!(other.contains("metro is not there") && other.contains("sees tapline"), "{other}");
    let module = refused(&TokenSource { module: "/nowhere/x.so".into(), ..token.clone() });
    assert!(module.contains("/nowhere/x.so cannot be loaded"), "{module}");
    write_private(&folder.join("wrong"), b"0000\n").unwrap();
    let pin = refused(&TokenSource { pin: folder.join("wrong"), ..token.clone() });
    assert!(pin.contains("refused the PIN in") && pin.contains(MODULE), "{pin}");
    TokenKeys::import(&token, KeyRole::Debit, V1, &Key([1; 16])).unwrap();
    let again = TokenKeys::import(&token, KeyRole::Debit, V1, &Key([2; 16])).unwrap_err();
    assert!(again.to_string().contains("holds the key tapline-debit-v01 already"), "{again}");
    // A validator may have a token with a debit key, and none with more (SEC-7).
    let source = Source::Token(token.clone());
    assert!(Custody::open_for_validator(&source).is_ok());
    TokenKeys::import(&token, KeyRole::Load, V1, &Key([3; 16])).unwrap();
    let much = Custody::open_for_validator(&source);
    assert!(matches!(much, Err(CustodyError::TooMuch { role: KeyRole::Load, .. })));
}

#[test]
fn a_token_that_is_taken_away_in_service_is_named_and_found_again_when_it_is_back() {
    let name = "a_token_that_is_taken_away_in_service_is_named_and_found_again_when_it_is_back";
    let Some(folder) = scene(name) else { return };
    let token = token(&folder);
    import_all(&token);
    let keys = TokenKeys::open(&token).unwrap();
    let key = keys.debit_key(&CARD).unwrap();
    let (tokens, away) = (folder.join("tokens"), folder.join("away"));
    fs::rename(&tokens, &away).unwrap();
    fs::create_dir(&tokens).unwrap();
    // The module still has open what was there; a session that is reset has to look again.
    keys.reset();
    for _ in 0..3 {
        let Err(KeyError::Module(message)) = keys.debit_key(&CARD) else { panic!("it is gone") };
        assert!(message.contains("the token tapline is not there"), "{message}");
        assert!(message.contains("insert it"), "{message}");
    }
    fs::remove_dir(&tokens).unwrap();
    fs::rename(&away, &tokens).unwrap();
    assert_eq!(keys.debit_key(&CARD).unwrap(), key);
}

#[test]
fn another_token_of_that_name_is_told_by_its_keys_and_the_right_one_is_found_after_it() {
    let name = "another_token_of_that_name_is_told_by_its_keys_and_the_right_one_is_found_after_it";
    let Some(folder) = scene(name) else { return };
    let token = token(&folder);
    import_all(&token);
    let keys = TokenKeys::open(&token).unwrap();
    let key = keys.debit_key(&CARD).unwrap();
    let (tokens, away) = (folder.join("tokens"), folder.join("away"));
    keys.reset();
    fs::rename(&tokens, &away).unwrap();
    fs::create_dir(&tokens).unwrap();
    init_token(&folder.join("softhsm2.conf"));
    TokenKeys::import(&token, KeyRole::Load, V1, &Key([3; 16])).unwrap();
    let Err(KeyError::Module(gone)) = keys.debit_key(&CARD) else { panic!("another token") };
    assert!(gone.contains("the key tapline-debit-v02 is gone"), "{gone}");
    for _ in 0..2 {
        assert_eq!(keys.debit_key(&CARD), Err(KeyError::NotHeld(KeyRole::Debit)));
    }
    fs::remove_dir_all(&tokens).unwrap();
    fs::rename(&away, &tokens).unwrap();
    assert_eq!(keys.debit_key(&CARD).unwrap(), key);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a measurement, and no decision hangs on it")]
fn deriving_in_a_token_is_measured() {
    let Some(folder) = scene("deriving_in_a_token_is_measured") else { return };
    let token = token(&folder);
    import_all(&token);
    let (hardware, software) = (TokenKeys::open(&token).unwrap(), masters());
    let time = |keys: &dyn CardKeys| {
        let began = Instant::now();
        for n in 0..2000_u16 {
            let [a, b] = n.to_be_bytes();
            keys.debit_key(&CardId([4, a, b, 3, 4, 5, 6])).unwrap();
        }
        began.elapsed() / 2000
    };
    let (inside, here) = (time(&hardware), time(&software));
    tell(&format!("one card key: {inside:?} in SoftHSM, {here:?} in software"));
    // A tap has 300 ms: a token that needed a tenth of it would be the wrong one.
    assert!(inside.as_millis() < 30, "{inside:?}");
}
