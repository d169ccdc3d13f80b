//! `validator simulate`, in a real pseudo-terminal: what a newcomer sees who presses keys.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use expect_test::expect_file;
use gtfs::{Feed, Import, ImportOptions, import};
use model::TariffVersion;
use rustix::termios::{LocalModes, tcgetattr};

use crate::{
    processes::{CITY, VALIDATOR},
    terminal::{Screen, read},
};

/// The ground of an accepted tap, as the terminal is told it.
const GREEN: &str = "48;2;0;92;41";
const RED: &str = "48;2;170;0;26";

fn simulator(arguments: &[&str]) -> Screen {
    Screen::start(&[&["simulate"], arguments].concat())
}

#[test]
fn a_newcomer_taps_cards_by_key_and_sees_what_riders_see() {
    let mut simulator = simulator(&["--language", "en", "--speed", "1"]);
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
    let mut simulator = simulator(&["--speed", "1", "--display", "128x64"]);
    simulator.shows(&["pulled away"]);
    simulator.press('7');
    simulator.shows(&["C code 07", "Hold it until it beeps"]);
    simulator.press('7');
    simulator.shows(&["B accepted", "Your tap before is finished, not charged again"]);
    simulator.quit();
}

#[test]
fn a_terminal_of_eighty_columns_shows_keys_picture_and_answer_and_a_smaller_one_its_keys() {
    for size in [(80, 24), (50, 22)] {
        let mut simulator = Screen::start_on(size, &["simulate", "--speed", "1"]);
        simulator.shows(&["1 adult ₩20,000", "l language (en)", "q quit"]);
        assert_eq!(simulator.seen.contains(&"▀".repeat(20)), size.0 == 80, "{size:?}");
        simulator.press('5');
        simulator.shows(&["D code 63", "This card is blocked: see staff", "● red"]);
        simulator.quit();
    }
}

/// The configuration of a gate as it is installed. None of its devices is here.
const GATE: &str = r#"
[validator]
id = "v000042"
role = "entry"
place = "A"
depot = "north"
language = "ko"
[state]
folder = "/nowhere/state"
[tariff]
files = ["CITY"]
[keys]
signing = "/nowhere/signing"
card = "/nowhere/card"
depot = "/nowhere/depot"
[reader]
kind = "pn532"
port = "/nowhere/reader"
[broker]
host = "localhost"
[gate]
kind = "frames"
port = "/nowhere/gate"
[gnss]
port = "/nowhere/gnss"
[scanner]
port = "/nowhere/scanner"
[tickets]
keys = ["d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"]
[console]
socket = "/nowhere/console"
[rider.display]
kind = "framebuffer"
device = "/nowhere/fb0"
"#;

#[test]
fn the_validator_of_a_configuration_is_simulated_and_none_of_its_devices_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let (city, config) = (folder.path().join("city.toml"), folder.path().join("gate.toml"));
    std::fs::write(&city, CITY).unwrap();
    std::fs::write(&config, GATE.replace("CITY", city.to_str().unwrap())).unwrap();
    let config = config.to_str().unwrap();
    let mut simulator = simulator(&["--config", config, "--language", "en", "--speed", "1"]);
    simulator.shows(&["validator v000042, simulated", "20.00 EUR"]);
    simulator.press('1');
    // The gate that is not here would have kept it out of service.
    simulator.shows(&[GREEN, "A accepted, charge 0.00 EUR", "1 adult 20.00 EUR"]);
    simulator.press('l');
    simulator.shows(&["language (ko)"]);
    simulator.press('5');
    simulator.shows(&[RED, "D 코드 63"]);
    simulator.quit();

    let wrong = ["simulate", "--config", "/nowhere/validator.toml"];
    let mut screen = Screen::start(&wrong);
    screen.shows(&["cannot read the configuration file /nowhere/validator.toml"]);
    assert_eq!(screen.ended().code(), Some(78));
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
