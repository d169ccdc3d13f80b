//! The `fares` commands over purses in other currencies (ADR-0019).

use std::fs;

use serde_json::{Value, json};

use crate::{
    fare_commands::assert_taps,
    fare_feeds::{json_lines, run},
    processes::CITY,
};

/// Appended to the city of the processes.
const EXCHANGE: &str = r#"
[[exchange]]
currency = "CHF"
rates = [{ from = 2026-01-01, rate = "0.9432" }, { from = 2026-11-27, rate = "0.96" }]
rounding = "down"
unit = "0.05"
"#;

#[test]
fn a_purse_in_another_currency_is_charged_in_its_own_and_told_by_which_rate() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("city.toml");
    fs::write(&path, format!("{CITY}{EXCHANGE}")).unwrap();
    let bus = |at: &str| json!({"kind": "board", "place": "s1", "route": "7", "at": at});
    let gate = |kind: &str, place: &str, at: &str| json!({"kind": kind, "place": place, "at": at});
    let legs = |card: Value| {
        let legs = json!([
            {"route": "7", "from": "s1", "to": "s1", "dep": "07:05:00", "arr": "07:15:00"},
            {"route": "M", "from": "A", "to": "B", "dep": "09:00:00", "arr": "09:20:00"},
        ]);
        json!({"date": "20261126", "card": card, "legs": legs})
    };
    let francs = json!({"currency": "CHF", "balance": "5.00"});
    let lines = [
        json!({"card": francs, "taps": [
            bus("2026-11-26T07:05:00"),
            gate("in", "A", "2026-11-26T23:50:00"),
            // The next day has another rate; the journey keeps its own.
            gate("out", "B", "2026-11-27T00:10:00"),
            bus("2026-11-27T07:05:00"),
            {"kind": "top_up", "amount": "1.00"},
            bus("2026-11-27T07:06:00"),
        ]}),
        json!({"card": {"currency": "KWD"}, "taps": [bus("2026-11-26T07:05:00")]}),
        json!({"card": {"currency": "CHR"}, "taps": [bus("2026-11-26T07:05:00")]}),
        legs(francs.clone()),
        legs(json!({"currency": "KWD"})),
        legs(json!({"currency": "EUR"})),
    ];
    let output = run(&["price", "--tariff", path.to_str().unwrap()], &json_lines(&lines));
    let answers = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Value> =
        answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [taps, fils, typo, journey, no_rate, own] = answers.as_slice() else {
        panic!("{answers:?}")
    };
    // 1.50 and 3.00 EUR are 1.4148 and 2.8296 CHF, and 1.44 at the next day's rate.
    assert_taps(
        &taps["taps"],
        &[
            ("1.50", "3.60", None),
            ("0.00", "3.60", None),
            ("3.00", "0.80", None),
            ("0.00", "0.80", Some(("insufficient-value", 24))),
            ("0.00", "1.80", None),
            ("1.50", "0.40", None),
        ],
    );
    let debits: Vec<&str> =
        taps["taps"].as_array().unwrap().iter().filter_map(|tap| tap["debit"].as_str()).collect();
    assert_eq!(debits, ["1.40", "0.00", "2.80", "1.40"]);
    assert_eq!((&taps["currency"], &taps["purse"]), (&json!("EUR"), &json!("CHF")));
    let message = taps["taps"][3]["message"].as_str().unwrap();
    assert_eq!(message, "needs 1.40 CHF, the card has 0.80 CHF: 0.60 CHF are missing");
    assert_eq!(
        taps["taps"][2]["exchange"],
        json!({"rate": "0.9432", "since": "2026-01-01", "rounding": "down", "unit": "0.05",
            "text": "3.00 EUR at 0.9432 CHF for 1 EUR (rate of 1 January 2026), rounded down to \
                     whole 0.05 CHF: 2.80 CHF"})
    );
    assert_taps(&fils["taps"], &[("0.00", "0.000", Some(("currency-not-taken", 48)))]);
    assert_eq!(fils["taps"][0]["message"], "KWD is not taken here on this day");
    let why = typo["error"].as_str().unwrap();
    assert!(why.starts_with("card.currency: unknown currency \"CHR\""), "{why}");
    assert_eq!((&journey["total"], &journey["purse"]["total"]), (&json!("4.50"), &json!("4.20")));
    assert_eq!(journey["purse"]["currency"], "CHF");
    assert_eq!(journey["purse"]["exchange"].as_array().unwrap().len(), 2, "a tap-in is free");
    assert_eq!(no_rate["error"], "card.currency: KWD is not taken here on this day");
    assert_eq!((&own["total"], own.get("purse")), (&json!("4.50"), None));
}

#[test]
fn a_journey_is_explained_and_fares_are_compared_in_the_currency_of_the_purse() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let from = write("from.toml", &format!("{CITY}{EXCHANGE}"));
    let leg = "7,s1,s1,07:05:00,07:15:00";
    let explain = |purse: &str| {
        let flags = ["--date", "20261126", "--purse", purse, "--leg", leg];
        run(&[&["explain", "--tariff", &from][..], &flags[..]].concat(), "")
    };
    let said = String::from_utf8(explain("CHF").stdout).unwrap();
    let lines: Vec<&str> = said.lines().map(str::trim).collect();
    let [.., total, why, debit] = lines.as_slice() else { panic!("{said}") };
    assert_eq!((*total, *debit), ("1.50  EUR", "1.40  CHF"));
    assert!(why.starts_with("1.50 EUR at 0.9432 CHF for 1 EUR"), "{said}");
    let said = String::from_utf8(explain("KWD").stderr).unwrap();
    assert!(said.contains("KWD is not taken here on this day"), "{said}");

    let to = write("to.toml", &format!("{CITY}{}", EXCHANGE.replace("0.9432", "0.5")));
    let bus = json!([{"kind": "board", "place": "s1", "route": "7", "at": "2026-11-26T07:05:00"}]);
    let line =
        |currency: &str| json!({"card": {"currency": currency, "balance": "9.00"}, "taps": bus});
    let lines = json_lines(&[line("EUR"), line("CHF"), line("CHF")]);
    let output = run(&["diff", "--json", "--from", &from, "--to", &to], &lines);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let sums = |of: &Value| {
        let text = |key: &str| of[key].as_str().unwrap().to_owned();
        (text("currency"), text("from_total"), text("to_total"), of["compared"].clone())
    };
    let euro = ("EUR".to_owned(), "1.50".to_owned(), "1.50".to_owned(), json!(1));
    let franc = ("CHF".to_owned(), "2.80".to_owned(), "1.50".to_owned(), json!(2));
    assert_eq!((sums(&report), sums(&report["purses"][0])), (euro, franc));
}
