//! `validator simulate`, in a real pseudo-terminal: what a newcomer sees who presses keys.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

use expect_test::expect_file;
use gtfs::{Feed, Import, ImportOptions, import};
use model::TariffVersion;
use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};

use crate::processes::{PATIENCE, VALIDATOR};

/// The ground of an accepted tap, as the terminal is told it.
const GREEN: &str = "48;2;0;92;41";
const RED: &str = "48;2;170;0;26";

/// A simulator in a terminal of its own.
struct Simulator {
    child: Child,
    keys: File,
    /// The terminal's other end, so that its settings can be looked at.
    terminal: OwnedFd,
    output: Receiver<Vec<u8>>,
    seen: String,
}

impl Simulator {
    fn start(arguments: &[&str]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let terminal = rustix::fs::open(name.as_c_str(), flags, Mode::empty()).unwrap();
        let size = Winsize { ws_row: 50, ws_col: 160, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&terminal, size).unwrap();
        let end = || Stdio::from(terminal.try_clone().unwrap());
        let child = Command::new(VALIDATOR)
            .arg("simulate")
            .args(arguments)
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let keys = File::from(master);
        let (tell, output) = channel();
        let mut from = keys.try_clone().unwrap();
        thread::spawn(move || {
            let mut bytes = vec![0; 65_536];
            // It ends with the terminal.
            while let Ok(read @ 1..) = from.read(&mut bytes) {
                if tell.send(bytes[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, keys, terminal, output, seen: String::new() }
    }

    fn press(&mut self, key: char) {
        self.seen.clear();
        self.keys.write_all(key.to_string().as_bytes()).unwrap();
    }

    /// Waits until all of these have been drawn since the last key.
    fn shows(&mut self, wanted: &[&str]) {
        while !self.has(wanted) {
            let Ok(bytes) = self.output.recv_timeout(PATIENCE) else {
                panic!("{wanted:?} not seen in\n{}", self.seen);
            };
            self.seen += &String::from_utf8_lossy(&bytes);
        }
    }

    /// As the terminal is told, or as a reader reads: lines may break anywhere.
    fn has(&self, wanted: &[&str]) -> bool {
        let text = read(&self.seen);
        wanted.iter().all(|wanted| self.seen.contains(wanted) || text.contains(wanted))
    }

    fn quit(mut self) {
        self.press('q');
        // The screen that was there before comes back, with a cursor.
        self.shows(&["\x1b[?25h", "\x1b[?1049l"]);
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
        let modes = tcgetattr(&self.terminal).unwrap().local_modes;
        assert!(modes.contains(LocalModes::ICANON | LocalModes::ECHO), "cooked again: {modes:?}");
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        // Only where a test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Without the sequences that move and colour, without the picture, and with single spaces.
fn read(seen: &str) -> String {
    let mut text = String::new();
    for (i, part) in seen.split('\x1b').enumerate() {
        let is_letter = |c: char| c.is_ascii_alphabetic();
        let rest = if i == 0 { part } else { part.split_once(is_letter).map_or("", |(_, t)| t) };
        text.push(' ');
        text.extend(rest.chars().filter(|c| *c != '▀'));
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_newcomer_taps_cards_by_key_and_sees_what_riders_see() {
    let mut simulator = Simulator::start(&["--language", "en", "--speed", "1"]);
    simulator.shows(&["Hold a card to the reader", "₩20,000", "on the hotlist"]);
    let raw = tcgetattr(&simulator.terminal).unwrap().local_modes;
    assert!(!raw.contains(LocalModes::ICANON), "keys come one by one");
    simulator.press('1');
    // Discounts hang on the hour, so the new balance is whatever the log says.
    simulator.shows(&[GREEN, "A accepted, charge ₩", "11: Bus ₩1,200", "2200 Hz"]);
    let text = read(&simulator.seen);
    let (_, after) = text.split_once("balance ").unwrap();
    let balance = after.split(';').next().unwrap().to_owned();
    assert!(balance.starts_with("₩1"), "less than ₩20,000: {balance}");
    simulator.shows(&[&format!("1 adult {balance} credit")]);
    simulator.press('5');
    simulator.shows(&[RED, "D code 63", "This card is blocked: see staff", "700 Hz 400 ms"]);
    simulator.press('s');
    simulator.shows(&["display (800x480)"]);
    simulator.press('l');
    simulator.shows(&["language (ko)"]);
    simulator.press('8');
    simulator.shows(&["C 코드 41", "한 장만 대 주세요"]);
    simulator.quit();
}

#[test]
fn in_the_simulator_a_card_pulled_away_is_not_charged_twice() {
    let mut simulator = Simulator::start(&["--speed", "1", "--display", "128x64"]);
    simulator.shows(&["pulled away"]);
    simulator.press('7');
    simulator.shows(&["C code 07", "Hold it until it beeps"]);
    simulator.press('7');
    simulator.shows(&["B accepted", "Your tap before is finished, not charged again"]);
    simulator.quit();
}

#[test]
fn a_simulator_without_a_terminal_says_what_it_needs() {
    let said = Command::new(VALIDATOR).arg("simulate").stdin(Stdio::null()).output().unwrap();
    assert_eq!(said.status.code(), Some(1));
    let text = String::from_utf8(said.stderr).unwrap();
    assert!(text.contains("run it in a terminal, without a pipe"), "{text}");
    assert!(said.stdout.is_empty(), "nothing is drawn");
}

#[test]
fn the_simulators_tariff_is_that_of_the_invented_city() {
    let city = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/city");
    let overlay = std::fs::read_to_string(city.join("tariff.toml")).unwrap();
    let options = ImportOptions {
        version: TariffVersion(1),
        overlay: Some(overlay),
        transfer_limit_s: Some(3_600),
        ..ImportOptions::default()
    };
    let Import { tariff, .. } = import(&Feed::open(&city).unwrap(), &options);
    expect_file!["../../validator/src/simulate/city.toml"].assert_eq(&tariff.unwrap().to_toml());
}
