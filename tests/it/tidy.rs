//! House rules as tests: layout, layering, sizes and the documents that must keep up.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Who may depend on whom inside the workspace; everything else is a mistake (ARCHITECTURE.md).
const LAYERS: &[(&str, &[&str])] = &[
    ("tapline-model", &[]),
    ("tapline-wire", &["tapline-model"]),
    ("tapline-card", &["tapline-model"]),
    ("tapline-fare", &["tapline-model"]),
    ("tapline-gtfs", &["tapline-model", "tapline-fare"]),
    ("tapline-texts", &["tapline-model", "tapline-fare"]),
    ("tapline-ticket", &["tapline-model"]),
    ("tapline-lists", &["tapline-model"]),
    ("tapline-blocking", &["tapline-model", "tapline-lists"]),
    ("tapline-steering", &["tapline-model", "tapline-wire"]),
    (
        "tapline-validation",
        &["tapline-model", "tapline-card", "tapline-fare", "tapline-ticket", "tapline-lists"],
    ),
    ("tapline-tap-log", &["tapline-model", "tapline-wire"]),
    ("tapline-fleet-sync", &["tapline-model", "tapline-wire"]),
    ("tapline-ledger", &["tapline-model"]),
    ("tapline-clearing", &["tapline-model", "tapline-fare", "tapline-ledger"]),
    (
        "tapline-settlement",
        &["tapline-model", "tapline-fare", "tapline-ledger", "tapline-clearing"],
    ),
    ("tapline-work", &["tapline-model"]),
    ("tapline-reader", &["tapline-model", "tapline-card"]),
    ("tapline-custody", &["tapline-model", "tapline-card"]),
    ("tapline-rider", &["tapline-model", "tapline-fare", "tapline-texts", "tapline-validation"]),
    ("tapline-line", &[]),
    ("tapline-link", &[]),
    ("tapline-gate", &["tapline-line"]),
    ("tapline-gnss", &["tapline-model", "tapline-line"]),
    (
        "validator",
        &[
            "tapline-reader",
            "tapline-custody",
            "tapline-link",
            "tapline-gate",
            "tapline-gnss",
            "tapline-rider",
            "tapline-model",
            "tapline-wire",
            "tapline-card",
            "tapline-fare",
            "tapline-texts",
            "tapline-validation",
            "tapline-tap-log",
            "tapline-fleet-sync",
            "tapline-steering",
            "tapline-ticket",
            "tapline-lists",
        ],
    ),
    (
        "depot-server",
        &[
            "tapline-custody",
            "tapline-reader",
            "tapline-link",
            "tapline-model",
            "tapline-wire",
            "tapline-card",
            "tapline-fare",
            "tapline-texts",
            "tapline-gtfs",
            "tapline-fleet-sync",
            "tapline-steering",
            "tapline-ledger",
            "tapline-clearing",
            "tapline-settlement",
            "tapline-ticket",
            "tapline-lists",
            "tapline-blocking",
            "tapline-work",
        ],
    ),
];

/// Outside crates that only one place may name: (crate, where its name may stand in code).
const SINGLE_PLACES: &[(&str, &[&str])] = &[
    ("serde_cbor", &["shared/wire/"]),
    ("fluent_bundle", &["shared/texts/"]),
    ("sled", &["validator/src/store.rs", "validator/src/store/", "tests/"]),
    ("rumqttc", &["validator/link/src/", "tests/"]),
    ("rusqlite", &["depot-server/src/store/", "tests/"]),
    ("cryptoki", &["validator/custody/src/token.rs", "tests/"]),
    ("linux_embedded_hal", &["validator/rider/src/oled.rs", "validator/rider/src/tft.rs"]),
    ("embedded_graphics", &["validator/rider/src/"]),
    ("ab_glyph", &["validator/rider/src/font.rs"]),
    ("nfc1", &["validator/reader/src/nfc/driver.rs"]),
    ("tokio_serial", &["validator/reader/src/", "validator/line/src/", "tests/"]),
    ("tokio_modbus", &["validator/gate/src/"]),
    ("gpiocdev", &["validator/gate/src/driver/pins.rs", "validator/rider/src/gpio.rs"]),
    ("nmea", &["validator/gnss/src/sentences.rs"]),
    (
        "axum",
        &[
            "depot-server/src/http/",
            "depot-server/src/pages.rs",
            "depot-server/src/server.rs",
            "depot-server/examples/",
            "tests/",
        ],
    ),
];

const LINES_MAX: usize = 500;
const COLUMNS_MAX: usize = 100;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ stands in the root").to_owned()
}

/// All files that git would keep, relative to the root.
fn tracked() -> Vec<String> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git lists the files of the tree");
    let mut files: Vec<String> = String::from_utf8(output.stdout)
        .expect("file names are UTF-8")
        .lines()
        .map(str::to_owned)
        .filter(|f| root().join(f).exists())
        .collect();
    files.sort();
    assert!(files.len() > 50, "the tree has files");
    files
}

fn sources() -> Vec<(String, String)> {
    tracked()
        .into_iter()
        .filter(|f| Path::new(f).extension().is_some_and(|extension| extension == "rs"))
        .map(|f| {
            let text = fs::read_to_string(root().join(&f)).expect("sources are UTF-8");
            (f, text)
        })
        .collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect(path)
}

/// The file's lines up to its test module.
fn code_lines(text: &str) -> usize {
    text.lines().take_while(|l| !l.starts_with("#[cfg(test)]")).count()
}

fn report(offences: &[String]) {
    assert!(offences.is_empty(), "{} offences:\n{}", offences.len(), offences.join("\n"));
}

#[test]
fn every_source_says_what_it_is_and_stays_small() {
    let mut offences = Vec::new();
    for (file, text) in sources() {
        if !text.starts_with("//!") {
            offences.push(format!("{file}: does not begin with //! (what is this file for?)"));
        }
        let lines = code_lines(&text);
        let only_tests = file.contains("/tests");
        if lines > LINES_MAX && !only_tests {
            offences.push(format!("{file}: {lines} lines before its tests, {LINES_MAX} allowed"));
        }
        for (n, line) in text.lines().enumerate() {
            if line.chars().count() > COLUMNS_MAX {
                offences.push(format!("{file}:{}: longer than {COLUMNS_MAX} columns", n + 1));
            }
            for marker in ["FIX\u{4d}E", "TOD\u{4f}", "XX\u{58}", "#[ignor\u{65}"] {
                if line.contains(marker) {
                    offences.push(format!("{file}:{}: {marker}", n + 1));
                }
            }
        }
    }
    report(&offences);
}

#[test]
fn cores_are_no_std() {
    let mut cores = 0;
    for (file, text) in sources() {
        let is_core_root = file.starts_with("shared/") && file.ends_with("/src/lib.rs");
        // Feeds are zip files; the texts' library needs `std` (ARCHITECTURE.md).
        let with_std = ["shared/gtfs/src/lib.rs", "shared/texts/src/lib.rs"];
        if is_core_root && !with_std.contains(&file.as_str()) {
            assert!(text.contains("\n#![no_std]\n"), "{file}: a core decides and touches no world");
            cores += 1;
        }
    }
    assert_eq!(cores, 15);
}

#[test]
fn outside_crates_are_named_in_one_place() {
    let mut offences = Vec::new();
    for (file, text) in sources() {
        for (name, places) in SINGLE_PLACES {
            let names = text.lines().any(|line| {
                let code = line.trim_start();
                !code.starts_with("//")
                    && (code.contains(&format!("{name}::"))
                        || code.contains(&format!("use {name}")))
            });
            if names && !places.iter().any(|p| file.starts_with(p)) {
                offences.push(format!("{file}: names {name}, which only {places:?} may"));
            }
        }
    }
    report(&offences);
}

#[test]
fn the_arrows_between_crates_are_those_of_the_architecture() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo metadata runs");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("is JSON");
    let packages = metadata["packages"].as_array().expect("has packages");
    let ours: BTreeSet<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    let allowed: BTreeMap<&str, &[&str]> = LAYERS.iter().copied().collect();
    let mut checked = 0;
    for package in packages {
        let name = package["name"].as_str().expect("packages have names");
        let Some(allowed) = allowed.get(name) else {
            assert_eq!(name, "tapline-tests", "a crate that LAYERS does not know");
            continue;
        };
        for dependency in package["dependencies"].as_array().expect("has dependencies") {
            let on = dependency["name"].as_str().expect("dependencies have names");
            let production = dependency["kind"].is_null();
            if production && ours.contains(on) {
                assert!(allowed.contains(&on), "{name} must not depend on {on}");
            }
        }
        checked += 1;
    }
    assert_eq!(checked, LAYERS.len());
}

#[test]
fn every_decision_record_is_cited_by_code_and_every_citation_exists() {
    let records: BTreeSet<String> = tracked()
        .iter()
        .filter_map(|f| f.strip_prefix("docs/adr/")?.get(..4).map(str::to_owned))
        .collect();
    assert!(!records.is_empty());
    let mut cited = BTreeSet::new();
    for (file, text) in sources() {
        for (at, _) in text.match_indices("ADR-") {
            let number: String = text[at + 4..].chars().take(4).collect();
            if number.chars().all(|c| c.is_ascii_digit()) && number.len() == 4 {
                assert!(records.contains(&number), "{file} cites ADR-{number}, which is not there");
                cited.insert(number);
            }
        }
    }
    assert_eq!(records, cited, "decision records and their citations");
}

#[test]
fn every_guarantee_names_a_test_that_exists() {
    let guarantees = read("docs/GUARANTEES.md");
    let all: String = sources().into_iter().map(|(_, text)| text).collect();
    let mut named = 0;
    for row in guarantees.lines().filter(|l| l.starts_with('|')) {
        let Some(proof) = row.trim_end_matches('|').rsplit('|').next() else { continue };
        for test in proof.split('`').skip(1).step_by(2) {
            let name = test.rsplit("::").next().unwrap_or(test);
            assert!(
                all.contains(&format!("fn {name}(")),
                "GUARANTEES.md names {test}: no such test"
            );
            named += 1;
        }
    }
    assert!(named > 15, "only {named} tests are named");
}

/// The requirements of reconciliation and of the ledger, which name tests for ever.
const REQUIREMENTS: [(&str, u32); 3] = [("REC-", 17), ("I", 9), ("LED-", 9)];

#[test]
fn every_requirement_of_reconciliation_and_ledger_is_named_by_a_test_or_a_guarantee() {
    let mut tests = BTreeSet::new();
    for (_, text) in sources() {
        let found = text.split("fn ").skip(1).filter_map(|rest| rest.split('(').next());
        for name in found {
            let parts: Vec<&str> = name.split('_').collect();
            let numbered = parts.windows(2).map(|pair| format!("{}-{}", pair[0], pair[1]));
            let named = parts.iter().map(|part| (*part).to_owned()).chain(numbered);
            tests.extend(named.map(|id| id.to_uppercase()));
        }
    }
    let guarantees = read("docs/GUARANTEES.md");
    let rows = guarantees.lines().filter(|line| line.starts_with('|'));
    let words = rows.flat_map(|row| row.split(|c: char| !c.is_alphanumeric() && c != '-'));
    let rows: BTreeSet<&str> = words.collect();
    let ids = REQUIREMENTS
        .iter()
        .flat_map(|(kind, last)| (1..=*last).map(move |number| format!("{kind}{number}")));
    let missing: Vec<_> =
        ids.filter(|id| !tests.contains(id) && !rows.contains(id.as_str())).collect();
    assert!(missing.is_empty(), "neither a test nor a row of GUARANTEES.md names {missing:?}");
}

#[test]
fn root_documents_exist_and_show_the_two_commands() {
    for file in [
        "README.md",
        "LICENSE",
        "docs/ARCHITECTURE.md",
        "docs/GLOSSARY.md",
        "docs/GUARANTEES.md",
        "docs/CHANGELOG.md",
        "deny.toml",
        "clippy.toml",
    ] {
        assert!(root().join(file).exists(), "{file} is missing");
    }
    let readme = read("README.md");
    for command in ["cargo demo", "tests/run"] {
        assert!(readme.contains(command), "README.md does not show {command}");
    }
    assert!(
        read("docs/ARCHITECTURE.md").lines().count() <= 300,
        "ARCHITECTURE.md: at most 300 lines"
    );
}

#[test]
fn the_top_level_holds_what_the_readme_says() {
    let known = [
        "Cargo.toml",
        "Cargo.lock",
        "validator",
        "depot-server",
        "shared",
        "deploy",
        "tests",
        "docs",
        "README.md",
        "LICENSE",
        ".ci",
        ".cargo",
        ".gitattributes",
        ".gitignore",
        "clippy.toml",
        "deny.toml",
        "rustfmt.toml",
    ];
    for file in tracked() {
        let top = file.split('/').next().expect("a path has a first part");
        assert!(known.contains(&top), "{top} does not belong to the top level");
    }
}

#[test]
fn the_one_clippy_configuration_is_the_roots() {
    let nearer: Vec<String> = tracked()
        .into_iter()
        .filter(|f| f.ends_with("clippy.toml") && f != "clippy.toml")
        .collect();
    assert!(nearer.is_empty(), "a nearer clippy.toml replaces the root's: {nearer:?}");
}

#[test]
fn no_feed_of_other_people_is_in_the_tree() {
    for file in tracked() {
        let lower = file.to_lowercase();
        let ours = lower.starts_with("tests/demo/city/");
        assert!(ours || !lower.ends_with("stop_times.txt"), "{file}: whose feed is this?");
    }
}
