//! Taps of one card over Boston's fares, by hand, through the program: feeds as a folder and as a
//! zip with byte-order marks and CRLF, the made one always and the real one where it is at hand.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use zip::write::SimpleFileOptions;

use super::{boston, feeds_folder, price, write_feed};

/// Kind, place, route ("" = none), time of 10 October 2024, and what it costs; `Err` = refused.
type Tap =
    (&'static str, &'static str, &'static str, &'static str, Result<&'static str, &'static str>);

/// What the card is, and its taps. Prices are derived as in `boston`.
const CARDS: &[(&str, &[Tap])] = &[
    // "quick", 2.40, is on the ticket only. Subway to bus with it is free for 7,200 s from
    // departure to departure, inclusive; no rule leads from bus to bus.
    (
        "ticket",
        &[
            ("board", "park", "subway", "08:05:00", Ok("2.40")),
            ("board", "bus-a", "bus", "10:05:00", Ok("0.00")),
            ("board", "bus-b", "bus", "10:20:00", Ok("2.40")),
        ],
    ),
    (
        "ticket",
        &[
            ("board", "park", "subway", "08:05:00", Ok("2.40")),
            ("board", "bus-a", "bus", "10:05:01", Ok("2.40")),
        ],
    ),
    // No rule leads from a bus to the subway.
    (
        "ticket",
        &[
            ("board", "bus-a", "bus", "07:20:00", Ok("2.40")),
            ("board", "park", "subway", "07:40:00", Ok("2.40")),
        ],
    ),
    // From an airport terminal the Silver Line is free, the Red Line behind it at South Station by
    // a transfer_only row, and the next subway ride by another.
    (
        "cash",
        &[
            ("board", "terminal", "silver", "07:30:00", Ok("0.00")),
            ("board", "south-red", "subway", "07:50:00", Ok("0.00")),
            ("board", "park", "subway", "08:05:00", Ok("0.00")),
        ],
    ),
    // In cash the rows of the subway are transfer_only and never a first leg.
    (
        "cash",
        &[
            ("board", "park", "subway", "08:05:00", Err("not-valid-here")),
            ("board", "bus-a", "bus", "08:20:00", Ok("1.70")),
            ("board", "bus-b", "bus", "08:40:00", Ok("1.70")),
        ],
    ),
    // Commuter rail costs by both ends, so it is tapped in and out: zone 2 to 1A 7.00, zone 2 to 4
    // interzone 3 at 3.50. At a boarding the end is not known.
    (
        "app",
        &[
            ("board", "zone-2", "rail", "07:00:00", Err("not-valid-here")),
            ("in", "zone-2", "rail", "07:00:00", Ok("0.00")),
            ("out", "zone-1a", "rail", "07:30:00", Ok("7.00")),
            ("out", "zone-1a", "rail", "07:31:00", Err("no-entry")),
            ("in", "zone-2", "rail", "08:00:00", Ok("0.00")),
            ("out", "zone-4", "rail", "08:30:00", Ok("3.50")),
        ],
    ),
    // Express between downtown and outside 4.25 in cash, outside to outside a local ride.
    (
        "cash",
        &[
            ("in", "downtown", "express", "09:00:00", Ok("0.00")),
            ("out", "outside-1", "express", "09:40:00", Ok("4.25")),
            ("in", "outside-1", "express", "10:00:00", Ok("0.00")),
            ("out", "outside-2", "express", "10:10:00", Ok("1.70")),
        ],
    ),
];

/// The made feed as a zip, as a spreadsheet would write its files.
fn zipped(at: &Path, texts: &BTreeMap<String, String>) -> PathBuf {
    let path = at.join("feed.zip");
    let mut archive = zip::ZipWriter::new(File::create(&path).unwrap());
    for (name, text) in texts {
        archive.start_file(name, SimpleFileOptions::default()).unwrap();
        let text = format!("\u{feff}{}", text.replace('\n', "\r\n"));
        archive.write_all(text.as_bytes()).unwrap();
    }
    archive.finish().unwrap();
    path
}

fn line(id: usize, medium: &str, taps: &[Tap], name: &dyn Fn(&str) -> String) -> Value {
    let tap = |(kind, place, route, at, _): &Tap| {
        json!({"kind": kind, "place": name(place), "route": name(route),
               "at": format!("2024-10-10T{at}")})
    };
    let taps: Vec<Value> = taps.iter().map(tap).collect();
    json!({"id": id, "rider": null, "medium": name(medium), "card": {"balance": "50.00"},
           "taps": taps})
}

fn cents(text: &str) -> i64 {
    text.replace('.', "").parse().unwrap()
}

fn assert_charged(feed: &Path, taps: &[Tap], answer: &Value) {
    let answers =
        answer["taps"].as_array().unwrap_or_else(|| panic!("{}: {answer}", feed.display()));
    let mut balance = 50_00;
    assert_eq!(answers.len(), taps.len());
    for (tap, answer) in taps.iter().zip(answers) {
        let charge = cents(answer["charge"].as_str().unwrap());
        let why = format!("{}: {tap:?}: {answer}", feed.display());
        match tap.4 {
            Ok(expected) => {
                assert_eq!((charge, answer.get("refused")), (cents(expected), None), "{why}");
                let steps = answer["steps"].as_array().unwrap().iter();
                let sum: i64 = steps.map(|s| cents(s["amount"].as_str().unwrap())).sum();
                assert_eq!(sum, charge, "the steps sum to the charge: {why}");
            }
            Err(word) => {
                assert_eq!((charge, &answer["refused"]), (0, &json!(word)), "{why}");
            }
        }
        balance -= charge;
        assert_eq!(cents(answer["balance"].as_str().unwrap()), balance, "{why}");
    }
}

#[test]
fn taps_over_a_feed_of_fares_v2_cost_what_is_derived_by_hand() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let texts = boston::made_feed();
    let plain_name = |plain: &str| plain.to_owned();
    let mut feeds = vec![
        (write_feed(folders[0].path(), &texts), &plain_name as &dyn Fn(&str) -> String),
        (zipped(folders[1].path(), &texts), &plain_name),
    ];
    let real = feeds_folder().join("mbta-boston");
    if real.is_dir() {
        feeds.push((real, &boston::real_name));
    }
    for (feed, name) in feeds {
        let lines: Vec<Value> =
            (0..).zip(CARDS).map(|(id, (medium, taps))| line(id, medium, taps, name)).collect();
        let (answers, output) = price(&feed, &[], &lines);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        assert_eq!(answers.len(), CARDS.len());
        for ((_, taps), answer) in CARDS.iter().zip(&answers) {
            assert_charged(&feed, taps, answer);
        }
    }
}

#[test]
fn a_cap_laid_over_a_feed_of_fares_v2_holds_for_its_taps() {
    let folder = tempfile::tempdir().unwrap();
    let feed = write_feed(folder.path(), &boston::made_feed());
    let overlay = folder.path().join("caps.toml");
    let cap =
        "[[cap]]\nnumber = 1\nid = \"day\"\nperiod = \"day\"\nlevels = [{ price = \"6.00\" }]\n";
    fs::write(&overlay, cap).unwrap();
    // Four local buses at 1.70 are 6.80; the fourth pays what is left of 6.00.
    let bus = |at, cost| ("board", "bus-a", "bus", at, Ok(cost));
    let taps = [
        bus("07:00:00", "1.70"),
        bus("09:00:00", "1.70"),
        bus("11:00:00", "1.70"),
        bus("13:00:00", "0.90"),
        bus("15:00:00", "0.00"),
    ];
    let lines = [line(0, "cash", &taps, &|plain| plain.to_owned())];
    let more = ["--overlay", overlay.to_str().unwrap()];
    let (answers, output) = price(&feed, &more, &lines);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_charged(&feed, &taps, &answers[0]);
}
