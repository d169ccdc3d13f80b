//! libnfc in its own process: what kills it, hangs it or is not it costs an exchange, and nothing
//! else. The C library, the program and the chip's line are real; only the chip is emulated.

use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use card::{CardFailure, Settlement};
use reader::{Activation, CardTransport, ExchangeError, Picc, Reader, ReaderConfig, ReaderKind};
use rustix::process::{Pid, Signal, kill_process};
use tapline_tests::pn532::{Emulator, Fault};
use tokio::time::{sleep, timeout};
use validation::{PassageClass, Verdict};

use crate::{
    processes::VALIDATOR,
    readers::bench::{Bench, EXCHANGES, PATIENCE, SharedCard, UID, issued, newest},
    validator::rig::{self, Rig},
};

const HELPER: &str = env!("CARGO_BIN_EXE_nfc-helper-under-test");

async fn bench() -> Bench {
    Bench::chip(ReaderKind::Libnfc, Some(HELPER.into())).await
}

fn helper_id(bench: &Bench) -> u32 {
    let Reader::Libnfc(reader) = &bench.reader else { panic!("{} is not libnfc", bench.name) };
    reader.helper_id().expect("the helper runs")
}

/// Neither running nor left behind as a zombie.
fn is_gone(id: u32) -> bool {
    !Path::new(&format!("/proc/{id}")).exists()
}

async fn until_gone(id: u32) {
    let gone = async {
        while !is_gone(id) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, gone).await.unwrap_or_else(|_| panic!("process {id} is still there"));
}

/// A card at whose nth command something happens to the helper.
struct Strikes {
    card: SharedCard,
    countdown: u32,
    helper: u32,
    signal: Signal,
    /// Whether the card still hears that command.
    heard: bool,
}

impl Picc for Strikes {
    fn activation(&self) -> Activation {
        self.card.activation()
    }

    fn transceive(&mut self, apdu: &[u8]) -> Option<Vec<u8>> {
        let strikes = self.countdown == 0;
        self.countdown = self.countdown.wrapping_sub(1);
        if strikes {
            let helper = Pid::from_raw(i32::try_from(self.helper).unwrap()).unwrap();
            kill_process(helper, self.signal).unwrap();
            if !self.heard {
                return None;
            }
        }
        self.card.transceive(apdu)
    }

    fn field_off(&mut self) {
        self.card.field_off();
    }
}

/// A failure before the commit refuses, at the commit it leaves the tap in doubt; both say why.
fn assert_settled(at: &str, settlement: &Settlement, after: u32, why: &str) {
    if after == EXCHANGES - 1 {
        assert_eq!(*settlement, Settlement::InDoubt, "{at}");
        return;
    }
    let Settlement::Refused(CardFailure::Link { error: ExchangeError::Device(said), .. }) =
        settlement
    else {
        panic!("{at}: {settlement:?}")
    };
    assert!(said.contains(why), "{at}: {said}");
}

/// The reader says once that it was lost, and then serves the card.
async fn assert_serves_again(at: &str, bench: &mut Bench, card: &SharedCard, why: &str) {
    let lost = bench.presence().await.unwrap_err().to_string();
    assert!(lost.contains(why), "{at}: {lost}");
    let before = newest(card).1;
    let again = bench.debit().await;
    assert!(matches!(again.settlement, Settlement::Committed { .. }), "{at}: {again:?}");
    assert_eq!(newest(card).1, before - 250, "{at}");
}

#[tokio::test]
async fn a_status_byte_that_makes_libnfc_abort_costs_one_exchange_and_the_next_card_is_served() {
    for after in 0..EXCHANGES {
        let at = format!("abort at exchange {after}");
        let mut bench = bench().await;
        let helper = helper_id(&bench);
        let card = issued(UID);
        bench.place(Arc::clone(&card));
        bench.emulator().fault(Fault::Status(after));
        let debit = bench.debit().await;
        assert_settled(&at, &debit.settlement, after, "signal 6: the C library called abort()");
        assert!(is_gone(helper), "{at}: ended and reaped");
        let charged = if after == EXCHANGES - 1 { 250 } else { 0 };
        assert_eq!(newest(&card).1, 2_000 - charged, "{at}");
        assert_serves_again(&at, &mut bench, &card, "signal 6").await;
        assert_ne!(helper_id(&bench), helper, "{at}");
    }
}

#[tokio::test]
async fn a_helper_killed_at_any_exchange_costs_that_exchange_and_nothing_else() {
    for (after, heard) in (0..EXCHANGES).flat_map(|n| [(n, false), (n, true)]) {
        let at = format!("killed at exchange {after}, heard: {heard}");
        let mut bench = bench().await;
        let helper = helper_id(&bench);
        let card = issued(UID);
        let signal = Signal::KILL;
        bench.place(Strikes { card: Arc::clone(&card), countdown: after, helper, signal, heard });
        let debit = bench.debit().await;
        assert_settled(&at, &debit.settlement, after, "ended by signal 9");
        assert!(is_gone(helper), "{at}: ended and reaped");
        let charged = if heard && after == EXCHANGES - 1 { 250 } else { 0 };
        assert_eq!(newest(&card).1, 2_000 - charged, "{at}");
        assert_serves_again(&at, &mut bench, &card, "signal 9").await;
    }
}

#[tokio::test]
async fn a_helper_that_hangs_is_killed_and_started_anew() {
    for after in [2, EXCHANGES - 1] {
        let at = format!("hung at exchange {after}");
        let mut bench = bench().await;
        let helper = helper_id(&bench);
        let card = issued(UID);
        let (countdown, signal, heard) = (after, Signal::STOP, true);
        bench.place(Strikes { card: Arc::clone(&card), countdown, helper, signal, heard });
        let debit = bench.debit().await;
        assert_settled(&at, &debit.settlement, after, "hung in libnfc");
        assert!(is_gone(helper), "{at}: killed and reaped");
        assert_serves_again(&at, &mut bench, &card, "hung in libnfc").await;
    }
}

#[tokio::test]
async fn a_chip_that_falls_silent_behind_libnfc_leaves_the_commit_in_doubt_and_is_woken_again() {
    let mut bench = bench().await;
    let card = issued(UID);
    bench.place(Arc::clone(&card));
    bench.emulator().fault(Fault::Mute(EXCHANGES - 1));
    assert_eq!(bench.debit().await.settlement, Settlement::InDoubt);
    while bench.presence().await.is_err() {}
    bench.reader.release().await;
    let again = bench.debit().await;
    assert_eq!(again.found.unwrap().balance, 1_750, "the silent chip had passed the commit on");
    assert!(matches!(again.settlement, Settlement::Committed { .. }), "{again:?}");
}

#[tokio::test]
async fn a_reader_dropped_in_mid_exchange_leaves_no_process_behind() {
    let mut bench = bench().await;
    bench.place(issued(UID));
    bench.presence().await.unwrap();
    bench.emulator().fault(Fault::Slow(Duration::from_millis(300)));
    let helper = helper_id(&bench);
    let exchange = bench.reader.exchange(&[0x90, 0x60, 0, 0, 0]);
    assert!(timeout(Duration::from_millis(50), exchange).await.is_err(), "it takes 300 ms");
    drop(bench.reader);
    until_gone(helper).await;
}

fn script(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

async fn refusal(helper: PathBuf) -> String {
    let config = ReaderConfig {
        kind: ReaderKind::Libnfc,
        helper: Some(helper),
        ..ReaderConfig::pn532("/nonexistent/reader")
    };
    let opened = timeout(PATIENCE, Reader::open(&config)).await.expect("an answer in time");
    let error = opened.err().expect("it does not open");
    let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    format!("{error} {source}")
}

#[tokio::test]
async fn a_program_that_is_not_the_helper_is_told_from_it_and_ended() {
    let folder = tempfile::tempdir().unwrap();
    // The last one answers well, and then with the hello again: no answer to anything.
    let hello = r"\016\000\000\000\000\000\200TNFC\0011.80";
    for (name, text, how) in [
        ("rubbish", "while :; do echo rubbish; done", "it says something else"),
        ("ends", "exit 3", "it ended with exit code 3"),
        ("silent", "exec sleep 60", "it says nothing"),
        ("older", r"printf '\013\000\000\000\000\000\200TNFC\000x'; exec cat", "something else"),
        ("parrot", &format!("printf '{hello}{hello}'; exec cat"), "something else"),
    ] {
        let said = refusal(script(folder.path(), name, text)).await;
        assert!(
            said.contains("does not speak as the tapline-nfc of this version"),
            "{name} {said}"
        );
        assert!(said.contains(how), "{name}: {said}");
    }
    // None of them may stay. A process that ends meanwhile has no command line to read.
    for process in fs::read_dir("/proc").unwrap() {
        let name = fs::read(process.unwrap().path().join("cmdline")).unwrap_or_default();
        let name = String::from_utf8_lossy(&name).into_owned();
        assert!(!name.contains(folder.path().to_str().unwrap()), "{name} is still there");
    }
}

#[tokio::test]
async fn the_validator_finds_the_helper_in_the_path_or_beside_itself() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(&folder.path().join("reader")).unwrap();
    let config = folder.path().join("validator.toml");
    let text = include_str!("../../deploy/validator.toml")
        .replace("kind = \"pn532\"", "kind = \"libnfc\"")
        .replace("port = \"/dev/ttyAMA0\"", &format!("port = {:?}", emulator.path()))
        .replace("host = \"broker.example\"", "host = \"127.0.0.1\"");
    fs::write(&config, text).unwrap();
    // A validator that nothing lies beside, and a path that leads nowhere else.
    let (home, path) = (folder.path().join("home"), folder.path().join("path"));
    fs::create_dir(&home).unwrap();
    fs::create_dir(&path).unwrap();
    let validator = home.join("validator");
    fs::hard_link(VALIDATOR, &validator)
        .or_else(|_| fs::copy(VALIDATOR, &validator).map(drop))
        .unwrap();
    let doctor = async || {
        let mut doctor = tokio::process::Command::new(&validator);
        doctor.args(["doctor", "--config"]).arg(&config).env("PATH", &path);
        let output = timeout(PATIENCE, doctor.output()).await.unwrap().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        said.lines().find(|line| line.contains(" reader ")).expect(&said).to_string()
    };
    let missing = doctor().await;
    assert!(missing.starts_with("BAD ") && missing.contains("no program tapline-nfc"), "{missing}");
    for place in [path.join("tapline-nfc"), home.join("tapline-nfc")] {
        std::os::unix::fs::symlink(HELPER, &place).unwrap();
        let found = doctor().await;
        assert!(found.starts_with("ok ") && found.contains("by libnfc 1."), "{found}");
        fs::remove_file(place).unwrap();
    }
}

#[tokio::test]
async fn a_helper_that_is_missing_or_cannot_be_started_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let missing = refusal(folder.path().join("tapline-nfc")).await;
    assert!(missing.contains("build it with cargo build --release -p tapline-reader"), "{missing}");
    assert!(missing.contains("--features libnfc"), "{missing}");
    assert!(missing.contains("looked for /tmp"), "{missing}");
    let plain = folder.path().join("plain");
    fs::write(&plain, "").unwrap();
    let plain = refusal(plain).await;
    assert!(plain.contains("check [reader] helper and the file's permissions"), "{plain}");
    assert!(plain.contains("denied"), "{plain}");
    let no_reader = refusal(HELPER.into()).await;
    assert!(no_reader.contains("libnfc cannot open pn532_uart:/nonexistent/reader"), "{no_reader}");
}

#[test]
fn the_helper_ends_with_its_starter_and_at_words_it_does_not_know() {
    let start =
        || Command::new(HELPER).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut helper = start();
    drop(helper.stdin.take());
    assert!(helper.wait().unwrap().success(), "the starter is gone");

    let mut helper = start();
    helper.stdin.take().unwrap().write_all(b"rubbish, and more of it").unwrap();
    let ended = helper.wait().unwrap();
    let mut said = Vec::new();
    helper.stdout.take().unwrap().read_to_end(&mut said).unwrap();
    assert_eq!(&said[7..11], b"TNFC", "it said hello and nothing else: {said:?}");
    assert_eq!(ended.code(), Some(65));

    let by_hand = Command::new(HELPER).arg("--help").output().unwrap();
    assert_eq!(by_hand.status.code(), Some(64));
    let version = Command::new(HELPER).arg("--version").output().unwrap();
    assert!(String::from_utf8(version.stdout).unwrap().starts_with("tapline-nfc 0.1.0, libnfc 1."));
}

/// The whole daemon over libnfc, and the emulated chip that its rider holds a card to.
async fn daemon() -> (Rig, Emulator, validator::Daemon, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(&folder.path().join("reader")).unwrap();
    let mut rig = Rig::new();
    rig.config.rules.relay_slack_ms = 2_000;
    rig.config.reader = ReaderConfig {
        kind: ReaderKind::Libnfc,
        helper: Some(HELPER.into()),
        ..ReaderConfig::pn532(emulator.path())
    };
    let reader = Reader::open_or_wait(&rig.config.reader).await.unwrap();
    let daemon = rig.start_with(reader).await.unwrap();
    (rig, emulator, daemon, folder)
}

#[tokio::test]
async fn a_helper_that_aborts_in_mid_tap_loses_no_tap_of_the_running_validator() {
    for after in [3, EXCHANGES - 1] {
        let at = format!("abort at exchange {after}");
        let (mut rig, emulator, daemon, _folder) = daemon().await;
        let card = rig::issued(1, 900);
        emulator.fault(Fault::Status(after));
        emulator.place(Arc::clone(&card));
        let first = rig.told().await;
        assert!(matches!(first.verdict, Verdict::TryAgain(_)), "{at}: {first:?}");
        // The card lies there still: it is served as soon as the helper is back.
        let second = rig.told().await;
        // After the commit it is the first tap that is finished, with a note that says so.
        let class = if after == 3 { PassageClass::A } else { PassageClass::B };
        assert_eq!((second.class(), rig::charge(&second)), (class, 150), "{at}");
        emulator.chip().clear();
        let contents = card.lock().unwrap().contents().unwrap();
        assert_eq!(contents.balance, 750, "{at}: charged once");
        assert_eq!(daemon.log().borrow().in_doubt, 0, "{at}");
        assert!(daemon.metrics().reader_errors.get() >= 1, "{at}");

        let other = rig::issued(2, 900);
        emulator.place(Arc::clone(&other));
        assert!(rig.told().await.is_granted(), "{at}");
        assert_eq!(daemon.metrics().in_service.get(), 1, "{at}");
        daemon.stop().await;
    }
}
