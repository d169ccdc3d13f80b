//! Programs that are not ours against the emulated reader and the virtual card: Debian's libnfc
//! and libfreefare tools, which were written against real chips and real cards.
//!
//! What each prints is compared whole, and what it did to the card is looked up on the card. A
//! program that hangs is stopped, and the failure says what it had printed by then.

use std::{
    path::PathBuf,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use card::{Key, KeySet, Opening, Settlement, VirtualCard, apdu};
use expect_test::expect_file;
use reader::{Activation, CardTransport, Picc, Presence, Reader, ReaderConfig};
use tapline_tests::pn532::Emulator;
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
    time::{sleep, timeout},
};

use crate::readers::bench::{SharedCard, UID, debit, issued, newest};

/// Longer than any of them takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at what a program has printed.
const GLANCE: Duration = Duration::from_millis(20);

/// A reader on a line with a card in its field.
struct Desk {
    emulator: Emulator,
    card: SharedCard,
    /// The commands that went to the card, by their codes.
    codes: Arc<Mutex<Vec<u8>>>,
    dir: TempDir,
}

/// A card that is listened to.
struct Heard(SharedCard, Arc<Mutex<Vec<u8>>>);

impl Picc for Heard {
    fn activation(&self) -> Activation {
        self.0.activation()
    }

    fn transceive(&mut self, apdu: &[u8]) -> Option<Vec<u8>> {
        self.1.lock().unwrap().push(apdu[1]);
        self.0.transceive(apdu)
    }

    fn field_off(&mut self) {
        self.0.field_off();
    }

    fn deselected(&mut self) {
        self.0.deselected();
    }
}

/// What a program has printed so far.
type Printed = Arc<Mutex<Vec<u8>>>;

struct Running {
    name: String,
    child: tokio::process::Child,
    out: Printed,
    err: Printed,
}

impl Desk {
    fn with(card: SharedCard) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let emulator = Emulator::start(&dir.path().join("reader")).unwrap();
        let codes = Arc::default();
        emulator.place(Heard(Arc::clone(&card), Arc::clone(&codes)));
        Self { emulator, card, codes, dir }
    }

    fn blank() -> Self {
        Self::with(Arc::new(Mutex::new(VirtualCard::blank(UID, [3; 16]))))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn start(&self, command: &[&str]) -> Running {
        let mut child = Command::new(command[0])
            .args(&command[1..])
            .current_dir(self.dir.path())
            .env("LIBNFC_DEFAULT_DEVICE", format!("pn532_uart:{}", self.emulator.path().display()))
            .env("LIBNFC_AUTO_SCAN", "false")
            .env("LIBNFC_LOG_LEVEL", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; tests/run installs it", command[0]));
        let out = collect(child.stdout.take().unwrap());
        let err = collect(child.stderr.take().unwrap());
        Running { name: command.join(" "), child, out, err }
    }

    /// Runs a program to its end, which must be a good one; what it printed.
    async fn run(&self, command: &[&str]) -> String {
        let mut running = self.start(command);
        let (code, printed) = running.end().await;
        assert_eq!(code, Some(0), "{}", running.so_far());
        printed
    }

    /// Runs a program to a bad end.
    async fn fail(&self, command: &[&str], reason: &str) {
        let mut running = self.start(command);
        let (code, _) = running.end().await;
        assert_eq!(code, Some(1), "{}", running.so_far());
        assert!(running.so_far().contains(reason), "{}", running.so_far());
    }

    /// What the card answers to a command that is sent behind the programs' back.
    fn ask(&self, cmd: u8, data: &[u8]) -> Vec<u8> {
        let mut card = self.card.lock().unwrap();
        let answer = card.handle_apdu(&apdu::wrap(cmd, data));
        assert_eq!(answer[answer.len() - 2..], [0x91, 0], "{cmd:02x}: {answer:02x?}");
        answer[..answer.len() - 2].to_vec()
    }

    /// The numbers of the applications on the card.
    fn applications(&self) -> Vec<u8> {
        self.card.lock().unwrap().power_off();
        self.ask(apdu::cmd::GET_APPLICATION_IDS, &[])
    }
}

impl Running {
    /// Waits for the end; the exit code and what went to standard output.
    async fn end(&mut self) -> (Option<i32>, String) {
        let Ok(ended) = timeout(PATIENCE, self.child.wait()).await else {
            panic!("{} hangs\n{}", self.name, self.so_far());
        };
        // Both pipes are closed with the program; their last bytes are read by now or very soon.
        while Arc::strong_count(&self.out) + Arc::strong_count(&self.err) > 2 {
            sleep(GLANCE).await;
        }
        (ended.unwrap().code(), text(&self.out))
    }

    /// Waits until the program has printed this.
    async fn says(&self, words: &str) {
        let said = async {
            while !text(&self.out).contains(words) {
                sleep(GLANCE).await;
            }
        };
        let said = timeout(PATIENCE, said).await;
        assert!(said.is_ok(), "{} does not say {words:?}\n{}", self.name, self.so_far());
    }

    fn so_far(&self) -> String {
        format!("{}\n{}\nstandard error:\n{}", self.name, text(&self.out), text(&self.err))
    }
}

fn collect(mut from: impl AsyncRead + Unpin + Send + 'static) -> Printed {
    let printed = Printed::default();
    let into = Arc::clone(&printed);
    tokio::spawn(async move {
        let mut bytes = [0; 4096];
        while let Ok(read @ 1..) = from.read(&mut bytes).await {
            into.lock().unwrap().extend_from_slice(&bytes[..read]);
        }
    });
    printed
}

/// Without the blanks at the ends of lines, which differ between versions.
fn text(printed: &Printed) -> String {
    let text = String::from_utf8_lossy(&printed.lock().unwrap()).into_owned();
    let lines: Vec<&str> = text.trim_end().lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

const FOUND: &str = "Found Mifare DESFire with UID 04a1b2c3d4e5f6.\n";
const FOUND_V3: &str = "Found Mifare DESFire with UID 04a1b2c3d4e5f6 and software v3.0\n";

#[tokio::test]
async fn nfc_list_finds_the_card_and_reads_its_answer_to_select() {
    let desk = Desk::blank();
    expect_file!["foreign_programs/nfc-list.txt"].assert_eq(&desk.run(&["nfc-list"]).await);
    let all = desk.run(&["nfc-list", "-v"]).await;
    expect_file!["foreign_programs/nfc-list-v.txt"].assert_eq(&all);
}

#[tokio::test]
async fn nfc_poll_sees_the_card_come_and_go() {
    let desk = Desk::blank();
    let mut polling = desk.start(&["nfc-poll"]);
    polling.says("Waiting for card removing").await;
    desk.emulator.chip().clear();
    let (code, printed) = polling.end().await;
    assert_eq!(code, Some(0), "{}", polling.so_far());
    expect_file!["foreign_programs/nfc-poll.txt"].assert_eq(&printed);
}

#[tokio::test]
async fn desfire_info_takes_the_virtual_card_for_an_ev3() {
    let desk = Desk::blank();
    let info = desk.run(&["mifare-desfire-info"]).await;
    expect_file!["foreign_programs/mifare-desfire-info.txt"].assert_eq(&info);
}

/// It logs in with the factory key, makes an application and an enciphered file, writes and reads
/// it, and formats the card.
#[tokio::test]
async fn desfire_access_works_a_factory_card_through_from_login_to_format() {
    let desk = Desk::blank();
    assert_eq!(
        desk.run(&["mifare-desfire-access"]).await,
        "\n",
        "it says nothing when all is well"
    );
    // Login, application and its login, file, settings, write, settings, read; then the card's
    // level, login, format.
    let codes = desk.codes.lock().unwrap().clone();
    let expected =
        [0x0A, 0xAF, 0xCA, 0x5A, 0x0A, 0xAF, 0xCD, 0xF5, 0x3D, 0xF5, 0xBD, 0x5A, 0x0A, 0xAF, 0xFC];
    assert_eq!(codes, expected, "{codes:02x?}");
    assert!(desk.applications().is_empty());
}

#[tokio::test]
async fn an_ndef_message_is_written_and_read_back_to_the_byte() {
    let desk = Desk::blank();
    assert_eq!(desk.run(&["mifare-desfire-create-ndef", "-y"]).await, FOUND_V3);
    assert_eq!(desk.applications(), [1, 0, 0]);
    desk.ask(apdu::cmd::SELECT_APPLICATION, &[1, 0, 0]);
    // The capability container, and the settings of the file for the message.
    let container = desk.ask(apdu::cmd::READ_DATA, &apdu::span(1, 0, 0));
    assert_eq!(container, [0, 15, 0x20, 0, 0x3B, 0, 0x34, 4, 6, 0xE1, 4, 0x1E, 0, 0, 0]);
    let settings = desk.ask(apdu::cmd::GET_FILE_SETTINGS, &[2]);
    assert_eq!(settings, [0, 0, 0xE0, 0xEE, 0, 0x1E, 0]);
    assert_eq!(desk.ask(apdu::cmd::GET_ISO_FILE_IDS, &[]), [0x03, 0xE1, 0x04, 0xE1]);

    // A text record of 297 letters: longer than a frame, an answer and one byte of length.
    let record = [0xC1, 1, 0, 0, 1, 44, b'T', 2, b'e', b'n'];
    let message: Vec<u8> = record.into_iter().chain((b'a'..=b'z').cycle().take(297)).collect();
    std::fs::write(desk.file("message"), &message).unwrap();
    let written = desk.run(&["mifare-desfire-write-ndef", "-y", "-i", "message"]).await;
    let max = "Max NDEF size: 7680 bytes\n";
    assert_eq!(written, format!("NDEF file is 309 bytes long.\n{FOUND}{max}"));
    let read = desk.run(&["mifare-desfire-read-ndef", "-y", "-o", "back"]).await;
    assert_eq!(read, format!("{FOUND}{max}NDEF size: 307 bytes\n"));
    assert_eq!(std::fs::read(desk.file("back")).unwrap(), message);
    // As a telephone reads it: by ISO commands and names.
    let mut card = desk.card.lock().unwrap();
    card.power_off();
    let mut iso = |apdu: &[u8]| card.handle_apdu(apdu);
    let name = [0x00, 0xA4, 4, 0, 7, 0xD2, 0x76, 0, 0, 0x85, 1, 1, 0];
    assert_eq!(iso(&name), [0x90, 0]);
    assert_eq!(iso(&[0x00, 0xA4, 0, 0x0C, 2, 0xE1, 0x04]), [0x90, 0]);
    assert_eq!(iso(&[0x00, 0xB0, 0, 0, 2]), [1, 51, 0x90, 0]);
    assert_eq!(iso(&[0x00, 0xB0, 0, 2, 200])[..200], message[..200]);
}

#[tokio::test]
async fn desfire_format_leaves_no_application_and_no_other_key_may() {
    let desk = Desk::blank();
    assert_eq!(desk.run(&["mifare-desfire-create-ndef", "-y"]).await, FOUND_V3);
    let wrong = ["mifare-desfire-format", "-y", "-K", "1122334455667788"];
    desk.fail(&wrong, "Can't authenticate on Mifare DESFire target").await;
    assert_eq!(desk.applications(), [1, 0, 0]);
    assert_eq!(desk.run(&["mifare-desfire-format", "-y"]).await, FOUND);
    assert!(desk.applications().is_empty());
}

#[tokio::test]
async fn an_issued_card_is_read_by_others_and_debited_by_us_as_before() {
    let desk = Desk::with(issued(UID));
    expect_file!["foreign_programs/nfc-list.txt"].assert_eq(&desk.run(&["nfc-list"]).await);
    // The fare application shows as the memory that it takes, whatever its layout needs.
    let free = desk.ask(apdu::cmd::FREE_MEM, &[]);
    let free = u32::from_le_bytes([free[0], free[1], free[2], 0]);
    assert!(free < 7680, "{free}");
    let info = desk.run(&["mifare-desfire-info"]).await;
    let as_blank = info.replace(&format!("Free memory: {free} bytes"), "Free memory: 8192 bytes");
    expect_file!["foreign_programs/mifare-desfire-info.txt"].assert_eq(&as_blank);
    assert_eq!(desk.applications(), [0x01, 0xF5, 0x54], "the fare application");
    // There is no room for a telephone's message beside the fares, and nothing else changes.
    desk.fail(&["mifare-desfire-create-ndef", "-y"], "CreateStdDataFileIso failed").await;
    desk.ask(apdu::cmd::SELECT_APPLICATION, &[0x01, 0xF5, 0x54]);
    assert_eq!(desk.ask(apdu::cmd::GET_KEY_SETTINGS, &[]), [0x0B, 0x83], "three AES keys");
    let mut reader = Reader::open(&ReaderConfig::pn532(desk.emulator.path())).await.unwrap();
    let found = timeout(PATIENCE, reader.wait_card()).await.unwrap().unwrap();
    assert_eq!(found, Presence::Card(UID));
    let debit = debit(&mut reader, UID).await;
    let Settlement::Committed { ctr, .. } = debit.settlement else {
        panic!("{:?}", debit.settlement)
    };
    assert_eq!(newest(&desk.card), (ctr, 1_750));
}

/// Whoever holds the card can destroy its use, and gain nothing (`docs/card-layout.md`).
#[tokio::test]
async fn a_card_that_keeps_its_factory_master_key_can_be_formatted_by_who_holds_it() {
    let desk = Desk::with(issued(UID));
    assert_eq!(desk.run(&["mifare-desfire-format", "-y"]).await, FOUND);
    assert!(desk.applications().is_empty());
    let mut card = desk.card.lock().unwrap();
    assert_eq!(card.contents(), None);
    let keys = KeySet::from_root(&Key([9; 16]));
    card.personalise(&keys, &Opening::default()).expect("it is as new");
}

#[tokio::test]
async fn others_configure_answer_to_select_default_key_and_random_uid() {
    let desk = Desk::blank();
    for setting in ["ats", "default-key", "random-uid"] {
        let program = format!("mifare-desfire-ev1-configure-{setting}");
        assert_eq!(desk.run(&[&program, "-y"]).await, FOUND);
    }
    let listed = desk.run(&["nfc-list"]).await;
    assert!(listed.contains("UID (NFCID3): 08  "), "{listed}");
    assert!(!listed.contains("04  a1"), "{listed}");
    let info = desk.run(&["mifare-desfire-info"]).await;
    assert!(info.contains("UID:                      0x00000000000000"), "{info}");
    assert!(info.contains("Use random UID: yes"), "{info}");
    assert_eq!(desk.card.lock().unwrap().uid(), UID, "the card itself has not changed");
}
