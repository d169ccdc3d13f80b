//! Fares of real feeds through the real program, and table against interpreter on their rules.
//!
//! The feeds lie outside the repository, beside it (`../shared/data`, or the folder that
//! `TAPLINE_FEEDS` names). Made feeds of the same shapes are always priced as well, so that
//! nothing here passes for want of a feed.

pub(crate) mod boston;
mod samples;
mod taps;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use gtfs::Feed;
use serde_json::{Value, json};

use crate::{
    fares::{feeds_folder, hyderabad, independent_reading, made_feed},
    processes::DEPOT,
};

/// Runs `fares price` on a feed; the answers in their order, and what was said besides.
pub(crate) fn price(feed: &Path, more: &[&str], lines: &[Value]) -> (Vec<Value>, Output) {
    let output =
        run(&[&["price", "--gtfs", feed.to_str().unwrap()], more].concat(), &json_lines(lines));
    let answers = String::from_utf8(output.stdout.clone()).unwrap();
    let answers = answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (answers, output)
}

/// One value a line.
pub(crate) fn json_lines(values: &[Value]) -> String {
    let mut text = values.iter().map(Value::to_string).collect::<Vec<String>>().join("\n");
    text.push('\n');
    text
}

/// Runs `depot-server fares …` with this on its standard input.
pub(crate) fn run(arguments: &[&str], input: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("input");
    fs::write(&path, input).unwrap();
    let input = File::open(path).unwrap();
    Command::new(DEPOT).arg("fares").args(arguments).stdin(input).output().unwrap()
}

/// Writes a made feed into a folder.
pub(crate) fn write_feed(at: &Path, texts: &BTreeMap<String, String>) -> PathBuf {
    for (name, text) in texts {
        fs::write(at.join(name), text).unwrap();
    }
    at.to_owned()
}

/// Every feed at hand, by name, and the made ones.
fn feeds() -> Vec<(String, Feed, PathBuf, Option<tempfile::TempDir>)> {
    let mut feeds = Vec::new();
    for folder in [feeds_folder(), feeds_folder().join("../gtfs-more")] {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths.into_iter().filter(|path| path.join("routes.txt").is_file()) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            feeds.push((name, Feed::open(&path).unwrap(), path, None));
        }
    }
    for (name, texts) in [("made-zones", made_feed()), ("made-legs", boston::made_feed())] {
        let folder = tempfile::tempdir().unwrap();
        let path = write_feed(folder.path(), &texts);
        feeds.push((name.to_owned(), Feed::open(&path).unwrap(), path, Some(folder)));
    }
    feeds
}

#[test]
fn the_program_prices_every_station_pair_of_hyderabad_as_the_feeds_tables_say() {
    let (_, texts, _) = hyderabad();
    let (stations, prices) = independent_reading(&texts);
    let folder = tempfile::tempdir().unwrap();
    let real = feeds_folder().join("hmrl-hyderabad");
    let feed = if real.is_dir() { real } else { write_feed(folder.path(), &made_feed()) };
    let routes = fs::read_to_string(feed.join("routes.txt")).unwrap();
    let route = routes.lines().nth(1).unwrap().split(',').next().unwrap().to_owned();
    let pairs: Vec<(&String, &String)> =
        stations.keys().flat_map(|from| stations.keys().map(move |to| (from, to))).collect();
    let line = |(from, to): &(&String, &String)| {
        let leg = json!({"route": route, "from": from, "to": to, "dep": "09:00:00",
                         "arr": "09:30:00"});
        json!({"id": [from, to], "date": "20260302", "rider": null, "medium": null, "legs": [leg]})
    };
    let lines: Vec<Value> = pairs.iter().map(line).collect();
    let (answers, output) = price(&feed, &[], &lines);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(answers.len(), 57 * 57);
    let mut known = 0;
    for ((from, to), answer) in pairs.iter().zip(&answers) {
        assert_eq!(answer["id"], json!([from, to]), "answers stand in the order of the questions");
        assert_eq!(answer["currency"], "INR");
        let of = |a: &String, b: &String| prices.get(&(a.clone(), b.clone())).copied();
        let mut expected =
            stations[*from].iter().flat_map(|a| stations[*to].iter().filter_map(move |b| of(a, b)));
        match expected.next() {
            None => {
                assert_eq!(answer["unknown_legs"], json!([0]), "{from} to {to}");
                assert_eq!(answer["total"], "0.00");
            }
            Some(paise) => {
                known += 1;
                let text = format!("{}.{:02}", paise / 100, paise % 100);
                assert_eq!(answer["total"], text.as_str(), "{from} to {to}");
                assert_eq!(answer["unknown_legs"], json!([]));
                assert_eq!(answer["steps"][0]["amount"], text.as_str());
            }
        }
    }
    // One station has a zone that no rule names, as the feed is published.
    assert_eq!(known, 3136);
}

#[test]
fn the_compiled_table_is_the_interpreter_on_every_class_of_every_feed() {
    for (name, feed, _, _) in feeds() {
        let read = gtfs::read_feed_fares(&feed);
        let fares = read.fares.unwrap_or_else(|| panic!("{name}: {:#?}", read.diagnostics));
        let compared = samples::compare_all(&name, fares);
        assert!(compared > 0, "{name}");
    }
}

#[test]
fn sampled_journeys_of_every_feed_cost_by_the_program_what_the_interpreter_says() {
    for (name, feed, path, _folder) in feeds() {
        let fares = gtfs::read_feed_fares(&feed).fares.expect("read before");
        let samples = samples::Samples::new(fares);
        let journeys: Vec<(Value, samples::Journey)> = samples.journeys(400);
        let lines: Vec<Value> = journeys.iter().map(|(line, _)| line.clone()).collect();
        let (answers, output) = price(&path, &[], &lines);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{name}: {said}");
        assert_eq!(answers.len(), lines.len(), "{name}");
        let mut known = 0;
        for ((line, journey), answer) in journeys.iter().zip(&answers) {
            let expected = samples.interpret(journey);
            assert_eq!(answer["id"], line["id"]);
            assert_eq!(answer["total"], expected.total.decimal().as_str(), "{name} {line}");
            assert_eq!(answer["unknown_legs"], json!(expected.unknown), "{name} {line}");
            let products: Vec<String> = expected.products.iter().map(ToString::to_string).collect();
            assert_eq!(answer["products"], json!(products), "{name} {line}");
            known += usize::from(expected.unknown.is_empty());
        }
        assert!(known > 0, "{name}: some of it has a fare");
    }
}
