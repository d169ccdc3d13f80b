//! The `fares` commands as their users meet them: lines in, lines out, findings, exit codes.

use std::{fs, process::Command};

use depot_server::{config::parse_hex, store::Store};
use serde_json::{Value, json};
use sha2::Digest as _;

use crate::{
    fare_feeds::{boston, json_lines, price, run, write_feed},
    processes::{CITY, DEPOT},
};

const LEG: &str = r#"{"route":"subway","from":"park","to":"square",
    "dep":"08:05:00","arr":"08:17:00"}"#;

fn line(fields: &str, legs: &str) -> String {
    let legs = legs.replace("LEG", LEG).replace('\n', "");
    format!("{{\"id\":1,{fields},\"legs\":[{legs}]}}")
}

#[test]
fn a_wrong_line_is_answered_in_its_place_with_what_to_do_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let feed = write_feed(folder.path(), &boston::made_feed());
    // A line as it is typed; the total of its answer, or what its error says.
    let rows: Vec<(String, Result<&str, &str>)> = vec![
        ("{".into(), Err("not a JSON object")),
        ("[1]".into(), Err("not a JSON object")),
        (r#"{"id":1}"#.into(), Err("give legs, the rides of a journey, or taps")),
        (line(r#""date":"20241010""#, "LEG"), Ok("2.40")),
        (line(r#""date":"20241010""#, ""), Err("legs is empty")),
        (line(r#""rider":null"#, "LEG"), Err("date is missing")),
        (line(r#""date":"2024-13-01""#, "LEG"), Err("write a date such as 20261126")),
        (line(r#""date":20241010"#, "LEG"), Err("date: 20241010 must be text in quotes")),
        (
            line(r#""date":"20241010","rider":"senior""#, "LEG"),
            Err("\"senior\": the feed has no rider category; write null"),
        ),
        (
            line(r#""date":"20241010","medium":"Cash""#, "LEG"),
            Err("\"Cash\" is no fare medium of the feed: it has app, cash, credit_debit, ticket"),
        ),
        (
            line(r#""date":"20241010""#, &LEG.replace("park", "pork")),
            Err("legs[0]: from: \"pork\" is no stop or station of the feed"),
        ),
        (
            line(r#""date":"20241010""#, &format!("LEG,{}", LEG.replace("subway", "tube"))),
            Err("legs[1]: route: \"tube\" is no route of the feed"),
        ),
        (
            line(r#""date":"20241010""#, &LEG.replace("08:17:00", "08:04:59")),
            Err("legs[0]: arr lies before dep: times past midnight count on, as 25:05:00"),
        ),
        (
            line(r#""date":"20241010""#, &LEG.replace("08:17:00", "8.17")),
            Err("legs[0]: arr \"8.17\": write a time such as 07:05:00"),
        ),
        (
            line(r#""date":"20241010""#, &format!("LEG,{}", LEG.replace("08:", "07:"))),
            Err("legs[1] departs before the leg ahead of it"),
        ),
        (line(r#""date":"20241010","note":{"a":[1]}"#, "LEG"), Ok("2.40")),
    ];
    let input = rows.iter().map(|(line, _)| line.as_str()).collect::<Vec<_>>().join("\n");
    let output = run(&["price", "--gtfs", feed.to_str().unwrap()], &input);
    assert_eq!(output.status.code(), Some(1), "a wrong line shows in the exit code");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("14 of 16 lines could not be priced"), "{said}");
    let answers = String::from_utf8(output.stdout).unwrap();
    assert_eq!(answers.lines().count(), rows.len());
    for ((line, expected), answer) in rows.iter().zip(answers.lines()) {
        let answer: Value = serde_json::from_str(answer).unwrap();
        match expected {
            Ok(total) => assert_eq!(answer["total"], *total, "{line}"),
            Err(text) => {
                let error = answer["error"].as_str().unwrap();
                assert!(error.contains(text), "{line}: {error}");
            }
        }
    }
}

#[test]
fn a_misspelt_key_is_said_once_and_refused_when_asked_and_notes_ride_along() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("city.toml");
    fs::write(&path, CITY).unwrap();
    let tap = json!({"kind": "board", "place": "s1", "route": "7", "at": "2026-11-26T07:05:00"});
    let noted = json!({"id": 1, "card": {"balance": "5.00"}, "taps": [tap],
                       "expected": "1.50", "comment": "by hand", "_rider": "none"});
    let misspelt = [
        json!({"id": 2, "ryder": "child", "card": {"balance": "5.00"}, "taps": [tap]}),
        json!({"id": 3, "card": {"balence": "5.00", "balance": "5.00"}, "taps": [tap]}),
        json!({"id": 4, "card": {"balance": "5.00", "products": [
            {"kind": "pass", "untill": "2026-11-01T00:00:00"}]}, "taps": [tap]}),
    ];
    let input = json_lines(&[&[noted.clone(), noted][..], &misspelt].concat());
    let price = |more: &[&str]| {
        let tariff = ["price", "--tariff", path.to_str().unwrap()];
        let output = run(&[&tariff[..], more].concat(), &input);
        let answers = String::from_utf8(output.stdout).unwrap();
        let answers: Vec<Value> =
            answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        (answers, String::from_utf8(output.stderr).unwrap())
    };
    let (answers, said) = price(&[]);
    assert!(answers.iter().all(|answer| answer.get("error").is_none()), "{answers:?}");
    for line in [
        "key \"expected\" of a line is not read\n",
        "key \"comment\" of a line is not read\n",
        "key \"ryder\" of a line is not read: did you mean \"rider\"?\n",
        "key \"balence\" of the card is not read\n",
        "key \"untill\" of a product is not read: did you mean \"until\"?\n",
    ] {
        assert_eq!(said.matches(line).count(), 1, "{line}: {said}");
    }
    assert!(!said.contains("_rider"), "{said}");
    let (answers, _) = price(&["--strict"]);
    let errors: Vec<_> = answers.iter().map(|answer| answer["error"].as_str()).collect();
    assert_eq!(
        errors,
        [
            None,
            None,
            Some("key \"ryder\" of a line is not read: write \"rider\""),
            None,
            Some("card.products[0]: key \"untill\" of a product is not read: write \"until\""),
        ]
    );
}

#[test]
fn findings_of_a_feed_are_a_json_array_with_file_row_and_field() {
    let folder = tempfile::tempdir().unwrap();
    let feed = write_feed(folder.path(), &boston::made_feed());
    let gtfs = ["--gtfs", feed.to_str().unwrap()];
    let output = run(&[&["check", "--json"], &gtfs[..]].concat(), "");
    assert_eq!(output.status.code(), Some(1), "the feed has an error");
    let found: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let error = found.iter().find(|finding| finding["severity"] == "error").unwrap();
    assert_eq!(error["code"], "foreign_key_violation");
    assert_eq!(error["file"], "fare_leg_rules.txt");
    // The header is line 1, and the row that names the missing group is the last.
    let row = boston::made_feed()["fare_leg_rules.txt"].lines().count();
    assert_eq!((&error["row"], &error["field"]), (&json!(row), &json!("from_timeframe_group_id")));
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("nowhere_defined"), "{message}");
    assert_eq!(error.as_object().unwrap().len(), 6, "{error}");
    // For people the same, counted; and --strict prices nothing of it.
    let output = run(&[&["check"], &gtfs[..]].concat(), "");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.stdout.is_empty() && said.contains("1 error,"), "{said}");
    let (answers, output) = price(&feed, &["--strict"], &[json!({"id": 1})]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((answers.len(), output.status.code()), (0, Some(1)), "{said}");
    assert!(said.contains("that put its prices in doubt: see `fares check`"), "{said}");
}

#[test]
fn findings_of_a_tariff_have_the_same_form_and_a_sound_one_has_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("city.toml");
    let check = |text: &str| {
        fs::write(&path, text).unwrap();
        let output = run(&["check", "--json", "--tariff", path.to_str().unwrap()], "");
        (serde_json::from_slice::<Vec<Value>>(&output.stdout).unwrap(), output.status.code())
    };
    assert_eq!(check(CITY), (Vec::new(), Some(0)));
    let (found, code) = check(&CITY.replace("price = \"1.50\"", "price = \"1.5O\""));
    let row = 1 + CITY.lines().position(|line| line.contains("1.50")).unwrap();
    assert_eq!((found.len(), code), (1, Some(1)));
    assert_eq!(found[0]["severity"], "error");
    assert_eq!((&found[0]["file"], &found[0]["row"]), (&json!("city.toml"), &json!(row)));
    assert_eq!(found[0]["field"], "product[1].price");
    assert!(found[0]["message"].as_str().unwrap().contains("write an amount"), "{found:?}");
}

/// What one tap must be answered: its charge, the balance after it, and how it is refused.
pub(crate) type Tapped<'a> = (&'a str, &'a str, Option<(&'a str, u8)>);

pub(crate) fn assert_taps(taps: &Value, expected: &[Tapped<'_>]) {
    let taps = taps.as_array().unwrap();
    assert_eq!(taps.len(), expected.len());
    for (i, (tap, (charge, balance, refused))) in taps.iter().zip(expected).enumerate() {
        assert_eq!((&tap["charge"], &tap["balance"]), (&json!(charge), &json!(balance)), "{i}");
        match refused {
            None => assert_eq!(tap.get("refused"), None, "{i}: {tap}"),
            Some((word, code)) => {
                assert_eq!((&tap["refused"], &tap["code"]), (&json!(word), &json!(code)), "{i}");
            }
        }
    }
}

#[test]
fn the_taps_of_a_card_are_charged_one_by_one_and_a_refused_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("city.toml");
    fs::write(&path, CITY).unwrap();
    let tap = |kind: &str, place: &str, at: &str| json!({"kind": kind, "place": place, "at": at});
    let bus = |at: &str| json!({"kind": "board", "place": "s1", "route": "7", "at": at});
    let lines = [
        json!({"id": "value", "card": {"balance": "2.00"}, "taps": [
            bus("2026-11-26T07:05:00"),
            // A journey may cost 3.00; 0.50 is left.
            tap("in", "A", "2026-11-26T07:20:00"),
            {"kind": "top_up", "amount": "10.00"},
            tap("in", "A", "2026-11-26T07:21:00"),
            // Berlin is one hour ahead of UTC: 07:40, within the transfer's hour.
            tap("out", "B", "2026-11-26T06:40:00Z"),
            tap("out", "B", "2026-11-26T07:41:00"),
            // Two rides of the transfer are used.
            bus("2026-11-26T08:00:00"),
        ]}),
        json!({"id": "rides", "card": {"products": [
            {"id": 9, "kind": "rides", "scope": "bus", "rides": 1},
        ]}, "taps": [bus("2026-11-26T07:05:00"), bus("2026-11-26T09:05:00")]}),
        json!({"id": "legs", "date": "20261126", "legs": [
            {"route": "7", "from": "s1", "to": "s1", "dep": "07:05:00", "arr": "07:15:00"},
            {"route": "M", "from": "A", "to": "B", "dep": "09:00:00", "arr": "09:20:00"},
        ]}),
        json!({"id": "wrong", "taps": [{"kind": "jump"}]}),
    ];
    let input = json_lines(&lines);
    let output = run(&["price", "--tariff", path.to_str().unwrap()], &input);
    assert_eq!(output.status.code(), Some(1), "one line is wrong");
    let answers = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Value> =
        answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [value, rides, legs, wrong] = answers.as_slice() else { panic!("{answers:?}") };
    assert_taps(
        &value["taps"],
        &[
            ("1.50", "0.50", None),
            ("0.00", "0.50", Some(("insufficient-value", 24))),
            ("0.00", "10.50", None),
            ("0.00", "10.50", None),
            ("0.00", "10.50", None),
            ("0.00", "10.50", Some(("no-entry", 22))),
            ("1.50", "9.00", None),
        ],
    );
    let message = value["taps"][1]["message"].as_str().unwrap();
    assert_eq!(message, "needs 3.00 EUR, the card has 0.50 EUR: 2.50 EUR are missing");
    assert_eq!((&value["balance"], &value["currency"]), (&json!("9.00"), &json!("EUR")));
    let (paid, gone) = (("0.00", "0.00", None), Some(("insufficient-value", 24)));
    assert_taps(&rides["taps"], &[paid, ("0.00", "0.00", gone)]);
    assert_eq!(rides["taps"][0]["steps"][1]["key"], "ride-pays");
    // Two hours lie between the rides of the journey: no transfer, 1.50 + 3.00.
    assert_eq!((&legs["total"], &legs["products"]), (&json!("4.50"), &json!(["bus", "far"])));
    assert_eq!(wrong["error"], "taps[0]: kind \"jump\": write in, out, board or top_up");
}

#[test]
fn a_boarding_with_companions_is_charged_for_all_or_for_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("city.toml");
    fs::write(&path, format!("companions = {{ riders_max = 2 }}\n{CITY}")).unwrap();
    let bus = |with: Value, at: &str| {
        let route = "7";
        json!({"kind": "board", "place": "s1", "route": route, "companions": with, "at": at})
    };
    let gate = |with: Value| {
        let at = "2026-11-26T09:00:00";
        json!({"kind": "in", "place": "A", "companions": with, "at": at})
    };
    let of = |taps: Value| json!({"card": {"balance": "5.00"}, "taps": taps});
    let lines = [
        of(json!([
            bus(json!({"adult": 2}), "2026-11-26T07:05:00"),
            bus(json!({"adult": 1}), "2026-11-26T09:05:00"),
            bus(json!({"adult": 3}), "2026-11-26T09:05:00"),
            gate(json!({"adult": 1})),
        ])),
        of(json!([bus(json!({"cat": 1}), "2026-11-26T07:05:00")])),
        of(json!([bus(json!({"adult": "two"}), "2026-11-26T07:05:00")])),
        of(json!([bus(json!({"adult": 16}), "2026-11-26T07:05:00")])),
    ];
    let output = run(&["price", "--tariff", path.to_str().unwrap()], &json_lines(&lines));
    let answers = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Value> =
        answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let not_here = Some(("not-valid-here", 18));
    assert_taps(
        &answers[0]["taps"],
        &[
            ("4.50", "0.50", None),
            ("0.00", "0.50", Some(("insufficient-value", 24))),
            ("0.00", "0.50", not_here),
            ("0.00", "0.50", not_here),
        ],
    );
    let step = &answers[0]["taps"][0]["steps"][1];
    assert_eq!((&step["key"], &step["amount"]), (&json!("companions"), &json!("3.00")));
    let message = answers[0]["taps"][1]["message"].as_str().unwrap();
    assert!(message.ends_with("2.50 EUR are missing"), "{message}");
    for (answer, wrong) in [
        (&answers[1], "taps[0]: companions: \"cat\": the tariff has adult"),
        (&answers[2], "taps[0]: companions.adult: \"two\" must be a whole number"),
        (&answers[3], "taps[0]: companions: more than 15 companions"),
    ] {
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(error.starts_with(wrong), "{answer}");
    }
}

#[test]
fn one_journey_is_explained_step_by_step_with_what_it_would_cost_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let feed = write_feed(folder.path(), &boston::made_feed());
    let legs = ["--leg", "subway,park,square,08:05:00,08:17:00", "--leg"];
    let bus = "bus,bus-a,bus-b,08:20:00,08:30:00";
    let gtfs = ["explain", "--gtfs", feed.to_str().unwrap(), "--date", "20241010"];
    let output = run(&[&gtfs[..], &["--medium", "ticket"], &legs, &[bus]].concat(), "");
    let said = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = said.lines().map(str::trim).collect();
    assert_eq!(
        lines[..2],
        ["2.40  park to square: quick  (quick)", "2.40  bus-a to bus-b: quick  (quick)"]
    );
    assert!(lines[2].starts_with("-2.40  Transfer  (fare_transfer_rules.txt:"), "{said}");
    assert_eq!(lines[3..5], ["2.40  USD", "otherwise:"]);
    // In cash the subway has no first leg, and the bus costs 1.70.
    assert!(said.contains("1.70  medium cash, no fare is known for leg 0 (from 0)"), "{said}");
    let output = run(&[&gtfs[..], &["--leg", "subway,park"]].concat(), "");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("write ROUTE,FROM,TO,DEPARTURE,ARRIVAL"), "{said}");
}

#[test]
fn a_tariff_is_published_signed_under_a_rising_version_and_not_while_an_example_fails() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let (config, tariff) = (at.join("depot.toml"), at.join("city.toml"));
    fs::create_dir(at.join("keys")).unwrap();
    let text = "depot = \"north\"\ndatabase = \"depot.db\"\n";
    fs::write(&config, text).unwrap();
    let config = config.to_str().unwrap();
    let init = Command::new(DEPOT).args(["init", "--config", config]).output().unwrap();
    assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));
    let public: [u8; 32] = parse_hex(String::from_utf8(init.stdout).unwrap().trim()).unwrap();
    let public = ed25519_dalek::VerifyingKey::from_bytes(&public).unwrap();
    drop(Store::open(&at.join("depot.db")).unwrap());
    let publish = |text: &str| {
        fs::write(&tariff, text).unwrap();
        let arguments = ["publish", "--config", config, "--valid-from", "2027-01-01", "--tariff"];
        let output = run(&[&arguments[..], &[tariff.to_str().unwrap()]].concat(), "");
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.success(), output.stdout, said)
    };
    let (done, artefact, said) = publish(CITY);
    assert!(done, "{said}");
    let artefact: Value = serde_json::from_slice(&artefact).unwrap();
    assert_eq!((&artefact["version"], &artefact["valid_from"]), (&json!(1), &json!("2027-01-01")));
    // domain, version, days since 1970, hash of the text: all of it is signed.
    let hash = sha2::Sha256::digest(artefact["tariff"].as_str().unwrap());
    let days = 20_819_u32.to_le_bytes();
    let signed = [b"tapline/1/tariff\0", &1_u16.to_le_bytes()[..], &days, &hash].concat();
    let signature: [u8; 64] = parse_hex(artefact["signature"].as_str().unwrap()).unwrap();
    public.verify_strict(&signed, &signature.into()).unwrap();
    // The same version again, also with other contents, and a failing example under the next one.
    let (done, _, said) = publish(CITY);
    assert!(
        !done && said.contains("version 1 is not above 1 of the books: publish it as 2"),
        "{said}"
    );
    let next = CITY.replace("version = 1", "version = 2");
    let example = "\n[[example]]\nfrom = \"A\"\nto = \"B\"\nprice = \"9.99\"\n";
    let (done, _, said) = publish(&format!("{next}{example}"));
    assert!(!done && said.contains("not published"), "{said}");
    assert!(publish(&next).0, "a higher version is published");
    let versions = Store::open(&at.join("depot.db")).unwrap().tariffs().unwrap();
    assert_eq!(versions.iter().map(|(version, _)| version.0).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn steps_are_explained_in_the_language_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let feed = write_feed(folder.path(), &boston::made_feed());
    let lines = line(r#""date":"20241010""#, "LEG");
    let text = |tag: &str| {
        let arguments = ["price", "--language", tag, "--gtfs", feed.to_str().unwrap()];
        let output = run(&arguments, &lines);
        assert!(output.status.success(), "{output:?}");
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        answer["steps"][0]["text"].as_str().unwrap().to_owned()
    };
    let (english, korean) = (text("en"), text("ko"));
    assert!(english.contains(" to "), "{english}");
    assert!(korean != english && !korean.contains(" to "), "{korean}");
}
