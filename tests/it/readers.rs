//! The same debit through every transport: our PN532 driver, libnfc (with `--features libnfc`),
//! both against the emulated chip on a pseudo-terminal, and cards in memory.

pub(crate) mod bench;
mod hot_plug;
mod odd_cards;

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use card::{CardFailure, Settlement, VirtualCard};
use model::CardId;
use reader::{CardTransport, ExchangeError, Presence, Reader, ReaderConfig, ReaderError, frame};
use tapline_tests::pn532::{Emulator, Fault};
use tokio::time::timeout;

use self::bench::{
    A_WHILE, Bench, Classic, EXCHANGES, Echo, Hand, PATIENCE, UID, debit, issued, newest,
};

#[tokio::test]
async fn the_same_debit_says_the_same_through_every_transport() {
    let mut outcomes = Vec::new();
    for mut bench in Bench::all().await {
        let card = issued(UID);
        bench.place(Arc::clone(&card));
        let debit = bench.debit().await;
        assert_eq!(debit.said.len(), EXCHANGES as usize, "{}", bench.name);
        let Settlement::Committed { ctr, .. } = debit.settlement else {
            panic!("{}: {:?}", bench.name, debit.settlement)
        };
        assert_eq!(newest(&card), (ctr, 1_750), "{}", bench.name);
        let image = card.lock().unwrap().to_bytes();
        outcomes.push((bench.name, debit, image));
    }
    let (first_name, first, image) = &outcomes[0];
    for (name, debit, other) in &outcomes[1..] {
        assert_eq!(debit, first, "{name} differs from {first_name}");
        assert!(other == image, "{name} leaves another card than {first_name}");
    }
}

#[tokio::test]
async fn an_empty_field_keeps_waiting_and_each_kind_of_medium_is_told_apart() {
    for mut bench in Bench::all().await {
        let name = bench.name;
        assert!(timeout(A_WHILE, bench.reader.wait_card()).await.is_err(), "{name}: a ghost");
        bench.place(Classic);
        assert_eq!(bench.presence().await.unwrap(), Presence::Foreign, "{name}");
        let spoken = bench.reader.exchange(&[0x90, 0x60, 0, 0, 0]).await;
        assert_eq!(spoken, Err(ExchangeError::Absent), "{name}");
        bench.reader.release().await;

        bench.place(issued(UID));
        assert_eq!(bench.presence().await.unwrap(), Presence::Several, "{name}");
        let spoken = bench.reader.exchange(&[0x90, 0x60, 0, 0, 0]).await;
        assert_eq!(spoken, Err(ExchangeError::Absent), "{name}");
        bench.reader.release().await;

        bench.clear();
        bench.place(VirtualCard::blank(UID, [1; 16]));
        let refused = bench.debit().await.settlement;
        assert!(
            matches!(refused, Settlement::Refused(CardFailure::NoApplication(_))),
            "{name}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn two_cards_of_ours_are_several_and_either_alone_is_one() {
    for mut bench in Bench::all().await {
        let other = CardId([4, 9, 8, 7, 6, 5, 4]);
        bench.place(issued(UID));
        bench.place(issued(other));
        assert_eq!(bench.presence().await.unwrap(), Presence::Several, "{}", bench.name);
        bench.reader.release().await;
        assert_eq!(bench.presence().await.unwrap(), Presence::Several, "{}", bench.name);
        bench.clear();
        bench.place(issued(other));
        let gone = timeout(PATIENCE, bench.reader.wait_gone()).await.expect("they are gone");
        gone.unwrap();
        assert_eq!(bench.presence().await.unwrap(), Presence::Card(other), "{}", bench.name);
    }
}

#[tokio::test]
async fn a_card_pulled_away_is_refused_before_the_commit_and_in_doubt_at_it() {
    let mut by_transport = Vec::new();
    for mut bench in Bench::all().await {
        let mut settlements = Vec::new();
        for (after, heard) in (0..EXCHANGES).flat_map(|n| [(n, false), (n, true)]) {
            let at = format!("{} after {after}, heard: {heard}", bench.name);
            let card = issued(UID);
            bench.place(Arc::clone(&card));
            bench.pull(after, heard);
            let settlement = bench.debit().await.settlement;
            let committing = after == EXCHANGES - 1;
            let expected = if committing {
                settlement == Settlement::InDoubt
            } else {
                let absent = ExchangeError::Absent;
                matches!(&settlement, Settlement::Refused(CardFailure::Link { error, .. })
                    if *error == absent)
            };
            assert!(expected, "{at}: {settlement:?}");
            // The card itself knows: presented again, its newest record decides.
            let charged = committing && heard;
            let (ctr, balance) = newest(&card);
            assert_eq!(balance, if charged { 1_750 } else { 2_000 }, "{at}");
            bench.place(Arc::clone(&card));
            let again = bench.debit().await;
            assert_eq!(again.found.unwrap().ctr, ctr, "{at}");
            assert!(matches!(again.settlement, Settlement::Committed { .. }), "{at}: {again:?}");
            settlements.push(settlement);
            bench.clear();
        }
        by_transport.push((bench.name, settlements));
    }
    for (name, settlements) in &by_transport[1..] {
        assert_eq!(settlements, &by_transport[0].1, "{name}");
    }
}

#[tokio::test]
async fn a_card_left_lying_is_gone_only_once_it_is() {
    for mut bench in Bench::all().await {
        bench.place(issued(UID));
        bench.debit().await;
        assert!(timeout(A_WHILE, bench.reader.wait_gone()).await.is_err(), "{}", bench.name);
        bench.clear();
        let gone = timeout(PATIENCE, bench.reader.wait_gone()).await.expect("it is gone");
        gone.unwrap();
        bench.place(issued(UID));
        bench.debit().await;
    }
}

#[tokio::test]
async fn split_and_late_answers_change_nothing() {
    for fault in [Fault::Split, Fault::Slow(Duration::from_millis(30))] {
        for mut bench in Bench::wired().await {
            bench.place(issued(UID));
            bench.emulator().fault(fault);
            let settlement = bench.debit().await.settlement;
            let committed = matches!(settlement, Settlement::Committed { .. });
            assert!(committed, "{} {fault:?}: {settlement:?}", bench.name);
        }
    }
}

/// libnfc takes no part: a stray byte makes it give the reader up.
#[tokio::test]
async fn noise_and_a_garbled_answer_change_nothing_for_our_driver() {
    let garbled = (0..EXCHANGES).map(Fault::Garble);
    for fault in garbled.chain([Fault::Noise]) {
        let mut bench = Bench::native().await;
        let card = issued(UID);
        bench.place(Arc::clone(&card));
        bench.emulator().fault(fault);
        let settlement = bench.debit().await.settlement;
        assert!(matches!(settlement, Settlement::Committed { .. }), "{fault:?}: {settlement:?}");
        assert_eq!(newest(&card).1, 1_750, "{fault:?}: a repeated answer is no repeated debit");
    }
}

#[tokio::test]
async fn a_reader_unplugged_in_mid_debit_is_used_again_once_it_is_back() {
    for after in 0..EXCHANGES {
        for mut bench in Bench::wired().await {
            let at = format!("{} after {after}", bench.name);
            let card = issued(UID);
            bench.place(Arc::clone(&card));
            bench.emulator().fault(Fault::Unplug(after));
            let debit = bench.debit().await;
            let expected = if after == EXCHANGES - 1 {
                debit.settlement == Settlement::InDoubt
            } else {
                matches!(
                    &debit.settlement,
                    Settlement::Refused(CardFailure::Link { error: ExchangeError::Device(_), .. })
                )
            };
            assert!(expected, "{at}: {:?}", debit.settlement);
            let lost = bench.presence().await.unwrap_err();
            assert!(lost.to_string().contains("reader"), "{at}: {lost}");
            let missing = bench.presence().await.unwrap_err().to_string();
            assert!(
                missing.contains("no such device") || missing.contains("plugged in"),
                "{at}: {missing}"
            );
            bench.emulator().plug().unwrap();
            while bench.presence().await.is_err() {}
            bench.reader.release().await;
            let again = bench.debit().await;
            assert!(matches!(again.settlement, Settlement::Committed { .. }), "{at}: {again:?}");
            let charged = if after == EXCHANGES - 1 { 2 } else { 1 };
            assert_eq!(newest(&card).1, 2_000 - 250 * charged, "{at}");
        }
    }
}

#[tokio::test]
async fn a_chip_that_falls_silent_leaves_the_commit_in_doubt_and_is_started_anew() {
    let mut bench = Bench::native().await;
    let card = issued(UID);
    bench.place(Arc::clone(&card));
    bench.emulator().fault(Fault::Mute(EXCHANGES - 1));
    let debit = bench.debit().await;
    assert_eq!(debit.said.last().unwrap().1, Err(ExchangeError::Timeout));
    assert_eq!(debit.settlement, Settlement::InDoubt);
    let silent = bench.presence().await.unwrap_err();
    assert!(matches!(silent, ReaderError::Silent { .. }), "{silent}");
    let again = bench.debit().await;
    assert_eq!(again.found.unwrap().balance, 1_750, "the silent chip had passed the commit on");
    assert!(matches!(again.settlement, Settlement::Committed { .. }), "{again:?}");
}

#[tokio::test]
async fn a_command_the_chip_never_heard_changes_nothing() {
    let mut bench = Bench::native().await;
    let card = issued(UID);
    bench.place(Arc::clone(&card));
    bench.emulator().fault(Fault::Deaf(EXCHANGES - 1));
    assert_eq!(bench.debit().await.settlement, Settlement::InDoubt);
    assert_eq!(newest(&card).1, 2_000);
    let again = bench.debit().await;
    assert!(matches!(again.settlement, Settlement::Committed { .. }), "{again:?}");
}

#[tokio::test]
async fn a_dropped_exchange_leaves_no_answer_behind_for_the_next() {
    for mut bench in Bench::all().await {
        bench.place(issued(UID));
        assert_eq!(bench.presence().await.unwrap(), Presence::Card(UID));
        if let Hand::Chip(emulator, _) = &bench.hand {
            emulator.fault(Fault::Slow(Duration::from_millis(20)));
        }
        let version = [0x90, 0x60, 0, 0, 0];
        for _ in 0..3 {
            let dropped = timeout(Duration::from_millis(8), bench.reader.exchange(&version)).await;
            assert!(dropped.is_err() || bench.name == "virtual", "{}", bench.name);
        }
        bench.reader.release().await;
        let debit = bench.debit().await;
        let committed = matches!(debit.settlement, Settlement::Committed { .. });
        assert!(committed, "{}: {debit:?}", bench.name);
    }
}

#[tokio::test]
async fn what_is_longer_than_a_frame_goes_in_pieces_both_ways() {
    for mut bench in [Bench::native().await, Bench::memory()] {
        bench.place(Echo);
        assert_eq!(bench.presence().await.unwrap(), Presence::Card(UID));
        for len in [1, 261, 262, 263, 524, 1_000] {
            let apdu: Vec<u8> = (0..len).map(|n: usize| n.to_le_bytes()[0]).collect();
            let answer = timeout(PATIENCE, bench.reader.exchange(&apdu)).await.unwrap();
            assert_eq!(answer, Ok(apdu), "{} {len}", bench.name);
        }
    }
}

#[tokio::test]
async fn a_faster_line_is_negotiated_and_found_again_after_a_crash() {
    let mut bench = Bench::native().await;
    bench.place(issued(UID));
    let path = bench.emulator().path().to_path_buf();
    let fast = ReaderConfig { baud: Some(921_600), ..ReaderConfig::pn532(&path) };
    let Bench { hand, reader, .. } = bench;
    drop(reader);
    let mut bench = Bench { name: "fast", reader: Reader::open(&fast).await.unwrap(), hand };
    assert_eq!(bench.emulator().chip().baud(), 921_600);
    assert!(bench.reader.describe().contains("921600 baud"), "{}", bench.reader.describe());
    let debit = bench.debit().await;
    assert!(matches!(debit.settlement, Settlement::Committed { .. }), "{debit:?}");

    // Dropped without goodbye, the chip stays at its speed; the next start finds it there.
    let Bench { hand, reader, .. } = bench;
    drop(reader);
    let plain = ReaderConfig::pn532(&path);
    let mut bench = Bench { name: "plain", reader: Reader::open(&plain).await.unwrap(), hand };
    assert_eq!(bench.emulator().chip().baud(), 115_200);
    bench.debit().await;

    let Bench { hand: Hand::Chip(emulator, _dir), reader, .. } = bench else {
        panic!("this bench has a chip")
    };
    drop(reader);
    Reader::open(&fast).await.unwrap().close().await;
    assert_eq!(emulator.chip().baud(), 115_200, "closed, it is as after reset");
}

#[tokio::test]
async fn the_air_is_made_faster_and_a_card_that_does_not_follow_is_served_at_106() {
    for (kbps, fault, air) in [(424, None, 424), (212, None, 212), (424, Some(Fault::Air), 106)] {
        let bench = Bench::native().await;
        let Bench { hand: Hand::Chip(emulator, dir), reader, .. } = bench else {
            panic!("this bench has a chip")
        };
        drop(reader);
        let config = ReaderConfig { rf_kbps: Some(kbps), ..ReaderConfig::pn532(emulator.path()) };
        let reader = Reader::open(&config).await.unwrap();
        let mut bench = Bench { name: "fast air", reader, hand: Hand::Chip(emulator, dir) };
        if let Some(fault) = fault {
            bench.emulator().fault(fault);
        }
        let card = issued(UID);
        bench.place(Arc::clone(&card));
        for balance in [1_750, 1_500] {
            assert_eq!(bench.presence().await.unwrap(), Presence::Card(UID));
            assert_eq!(bench.emulator().chip().air(), air, "{kbps} {fault:?}");
            let debit = debit(&mut bench.reader, UID).await;
            assert!(matches!(debit.settlement, Settlement::Committed { .. }), "{debit:?}");
            assert_eq!(newest(&card).1, balance, "{kbps} {fault:?}");
            bench.reader.release().await;
            assert_eq!(bench.emulator().chip().air(), 106, "the field was off");
        }
        // Two media are told apart before anything is made faster.
        bench.place(Classic);
        assert_eq!(bench.presence().await.unwrap(), Presence::Several);
    }
}

#[tokio::test]
async fn a_reader_that_cannot_be_opened_says_why_and_what_to_do() {
    let mut bench = Bench::native().await;
    let path = bench.emulator().path().to_path_buf();
    let open = async |path: &std::path::Path| {
        Reader::open(&ReaderConfig::pn532(path)).await.err().expect("it does not open").to_string()
    };
    let held = open(&path).await;
    assert!(held.contains("another program uses it"), "{held}");
    let missing = open(&path.with_extension("missing")).await;
    assert!(missing.contains("there is no such device; plug the reader in"), "{missing}");
    let file = path.with_extension("file");
    std::fs::write(&file, "").unwrap();
    let plain = open(&file).await;
    assert!(plain.contains("not a usable serial device"), "{plain}");
    let (master, slave) = tokio_serial::SerialStream::pair().unwrap();
    let silent = tokio_serial::SerialPort::name(&slave).unwrap();
    drop(slave);
    let silent = open(std::path::Path::new(&silent)).await;
    assert!(silent.contains("check power, that the board's switches select HSU"), "{silent}");
    drop(master);
}

/// The emulator's own program.
fn emulator_program() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_pn532"));
    program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    program
}

#[tokio::test]
async fn the_emulator_program_keeps_its_card_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let (link, file) = (dir.path().join("reader"), dir.path().join("card"));
    let mut program = emulator_program()
        .arg("--link")
        .arg(&link)
        .arg("--card")
        .arg(&file)
        .args(["--issue", &UID.to_hex(), "--root", &"07".repeat(16)])
        .spawn()
        .unwrap();
    let mut ready = String::new();
    let mut printed = BufReader::new(program.stdout.take().unwrap());
    printed.read_line(&mut ready).unwrap();
    assert!(ready.starts_with("PN532 at "), "{ready}");
    let mut reader = Reader::open(&ReaderConfig::pn532(&link)).await.unwrap();
    let found = timeout(PATIENCE, reader.wait_card()).await.unwrap().unwrap();
    assert_eq!(found, Presence::Card(UID));
    let debit = debit(&mut reader, UID).await;
    assert!(matches!(debit.settlement, Settlement::Committed { .. }), "{debit:?}");
    program.kill().unwrap();
    program.wait().unwrap();
    let card = VirtualCard::from_bytes(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(card.contents().unwrap().balance, 1_750);
}

#[test]
fn the_emulator_program_explains_itself_and_what_was_wrong() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("thesis"), "not a card").unwrap();
    let said = |args: &[&str]| {
        let output = emulator_program().current_dir(dir.path()).args(args).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    };
    let (good, help) = said(&["--help"]);
    assert!(good);
    for explained in ["pull:N", "pull-heard:N", "mute:N", "unplug:N", "garble:N", "deaf:N", "air"] {
        assert!(help.contains(&format!("\n  {explained} ")), "{help}");
    }
    let wrong: [(&[&str], &str); 7] = [
        (&["--link", "thesis"], "something is there; remove it or choose another path"),
        (&["--link", "away/reader"], "the folder is not there"),
        (&["--link", "reader", "--card", "thesis"], "thesis is no card that this program wrote"),
        (&["--link", "reader", "--card", "new"], "make one with --blank UID or --issue UID"),
        (
            &["--link", "reader", "--card", "thesis", "--blank", "04a1b2c3d4e5f6"],
            "thesis is there already",
        ),
        (&["--link", "reader", "--fault", "melt"], "write pull:N, pull-heard:N"),
        (&["--link", "reader", "--random-uid"], "--random-uid is for --blank or --issue"),
    ];
    for (args, reason) in wrong {
        let (good, text) = said(args);
        assert!(!good && text.contains(reason), "{args:?}: {text}");
    }
}

#[tokio::test]
async fn a_card_with_a_random_uid_is_another_one_each_time_the_field_comes_on() {
    let dir = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(&dir.path().join("reader")).unwrap();
    let mut card = VirtualCard::blank(UID, [2; 16]);
    card.randomize_uid();
    emulator.place(card);
    // InListPassiveTarget, then InDeselect and the same number again, then the field off and on.
    let host = |pd: &[u8]| {
        let frame = frame::encode(frame::Direction::ToChip, pd);
        let reaction = emulator.chip().handle(&frame, reader::RESET_BAUD);
        let answer = reaction.frames.last().expect("an answer").clone();
        answer[7..answer.len() - 2].to_vec()
    };
    emulator.chip().handle(&[0x55, 0x55], reader::RESET_BAUD);
    let seen = host(&[0x4a, 1, 0]);
    assert_eq!(seen[..6], [1, 1, 0x03, 0x44, 0x20, 4], "one target, four bytes of UID: {seen:?}");
    let uid = seen[6..10].to_vec();
    assert_eq!(uid[0], 0x08, "which says that it is random");
    host(&[0x44, 0]);
    let again = host(&[&[0x4a, 1, 0][..], &uid].concat());
    assert_eq!(again[6..10], uid[..], "asleep it keeps its number");
    host(&[0x32, 1, 0]);
    assert_ne!(host(&[0x4a, 1, 0])[6..10], uid[..]);
}
