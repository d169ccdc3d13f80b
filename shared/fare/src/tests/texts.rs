//! Tariff texts: what is read, what is found wrong, what is written back.
use alloc::{format, string::String, vec::Vec};

use expect_test::expect;
use model::{RiderClass, TariffVersion};

use super::{CITY, city, wrapped};
use crate::{Diagnostic, NotPassed, Tariff};

#[test]
fn an_overlay_replaces_the_sections_it_names() {
    let overlay = "version = 2\n[gate]\ngroup = \"metro\"\nmaximum_fare = 9\nminimum_balance = 1";
    let tariff = Tariff::parse_with_overlay(CITY, overlay).unwrap();
    let from = tariff.place_ix("A").unwrap();
    assert_eq!(tariff.maximum_fare(from, RiderClass(0)).unwrap().minor(), 900);
    assert_eq!(tariff.minimum_balance(from, RiderClass(0)).unwrap().minor(), 100);
    assert_eq!(tariff.version(), TariffVersion(2));
    assert_eq!(tariff.gate().unwrap().same_station, []);
    let broken = Tariff::parse_with_overlay(CITY, "\n[gate]\ngroup = \"metr\"\nmaximum_fare = 2");
    expect![[r#"
        error: overlay line 3, gate.group: there is no group "metr"; did you mean
            "metro"?
    "#]]
    .assert_eq(&findings(broken));
}

fn findings(result: Result<Tariff, Vec<Diagnostic>>) -> String {
    let list = result.unwrap_err();
    wrapped(&list.iter().fold(String::new(), |text, found| text + &format!("{found}\n")))
}

#[test]
fn each_finding_names_the_line_the_key_what_is_wrong_and_what_to_do() {
    let broken = |from: &str, to: &str| {
        assert!(CITY.contains(from), "{from}");
        findings(Tariff::parse(&CITY.replace(from, to)))
    };
    let text = [
        broken("limit_s = 3600\nlegs_max = 3", "limt_s = 3600\nlegs_max = 3"),
        broken("price = \"1.50\"", "price = \"1.505\""),
        broken("price = \"1.50\"", "price = true"),
        broken("price = \"1.50\"", "price = \"-1.50\""),
        broken("currency = \"EUR\"", "currency = \"EURO\""),
        broken("version = 1", "version = 70000"),
        broken("format = 1", "format = 2"),
        broken("group = \"metro\" },", "group = \"metr\" },"),
        broken("mode = \"bus\"", "mode = \"zeppelin\""),
        broken("id = \"F\"", "id = \"7\""),
        broken("lat = 1.5", "lat = 95"),
        broken("[gate]", "[gate"),
        findings(Tariff::parse("")),
        findings(Tariff::parse("operator = 3\nplace = [4]\ncurrency = \"EUR\"")),
    ]
    .join("\n");
    expect![[r#"
        error: line 29, transfer[1].limit_s: missing; add `limit_s = …`
        error: line 33, transfer[1].limt_s: unknown key; did you mean "limit_s"?

        error: line 11, product[1].price: "1.505" has more decimals than EUR allows (2);
            write an amount such as "2.40"

        error: line 11, product[1].price: "a boolean" is not an amount: use digits with
            at most one decimal point, such as 2.40; write an amount such as "2.40"

        error: line 11, product[1].price: -1.50 EUR is out of range; use an amount from
            0 to 83886.07 EUR

        error: line 6, currency: unknown currency "EURO": use an ISO 4217 code such as
            EUR, KRW or KWD; correct the code

        error: line 3, version: 70000 is out of range; write a whole number from 0 to
            65535

        error: line 2, format: format 2 is not known here; use format 1

        error: line 26, route[3].group: there is no group "metr"; did you mean "metro"?

        error: line 24, route[1].mode: unknown mode "zeppelin"; use one of: bus, ferry,
            other, rail, subway, tram

        error: line 25, route[2].id: "7" stands here a second time; give each its own id

        error: line 17, place[1].lat: is no position; write decimal degrees from -90 to
            90

        error: line 51, TOML: unclosed table, expected `]`; correct the line; see
            https://toml.io

        error: line 1, format: missing; add `format = …`
        error: line 1, currency: missing; add `currency = …`

        error: line 1, format: missing; add `format = …`
        error: line 1, version: missing; add `version = …`
        error: line 1, operator: is not a list of tables; write [[operator]] and the
            keys of one entry below
        error: line 1, network: missing; add `network = …`
        error: line 1, timezone: missing; add `timezone = …`
        error: line 2, place: entry 1 is no table; write { id = …, … }
    "#]]
    .assert_eq(&text);
}

#[test]
fn findings_about_rules_that_contradict_each_other_are_as_exact() {
    let broken = |from: &str, to: &str| {
        assert!(CITY.contains(from), "{from}");
        findings(Tariff::parse(&CITY.replace(from, to)))
    };
    let text = [
        broken("A = [\"near\", \"near\", \"far\"]", "A = [\"near\", \"near\"]"),
        broken("A = [\"near\", \"near\", \"far\"]", "A = [\"near\", \"neer\", \"far\"]"),
        broken("B = [\"near\", \"near\", \"-\"]\n", ""),
        broken("[matrix.from]", "[matrix.form]"),
        broken("journey_limit_s = 7200", "maximum_fare = 2.5"),
        broken("to = [\"ferry\"]", "to = [\"ferry\", \"bus\"]"),
        broken("limit_s = 1800", "limit_s = 70000"),
        broken("price = \"0\"\n", "price = \"1\"\n"),
        broken("[[example]]\nfrom = \"A\"", "[[example]]\nroute = \"7\""),
    ]
    .join("\n");
    expect![[r#"
        error: line 59, matrix.from.A: 2 fares for 3 places; write one product, or "-",
            for each place in `to`

        error: line 59, matrix.from.A: there is no product "neer"; did you mean "near"?

        error: line 58, matrix.from.B: missing; add `B = …`

        error: line 56, matrix.from: missing; add [matrix.from] with a row for each
            place
        error: line 58, matrix.form: unknown key; did you mean "from"?

        error: line 53, gate.maximum_fare: 2.50 EUR is below the dearest fare 3.00 EUR:
            not tapping out pays; raise it, or leave the key out for the highest fare
            from each place

        error: line 40, transfer[2].to: "bus" to "bus" is already in "change"; keep each
            pair of groups in one transfer
        error: line 40, transfer[2].to: "metro" to "bus" is already in "change"; keep
            each pair of groups in one transfer

        error: line 48, transfer[3].limit_s: 70000 is out of range; use 1 to 65534
            seconds

        error: line 73, example[2].price: the rules give 0.00 EUR, the example says 1.00
            EUR; correct the rules or the example

        error: line 66, example[1].price: the example rides nothing or twice; write from
            and to, or route
    "#]]
    .assert_eq(&text);
}

#[test]
fn the_canonical_text_parses_back_to_an_equal_tariff() {
    let tariff = city();
    let text = tariff.to_toml();
    let again = Tariff::parse(&text).unwrap_or_else(|found| panic!("{found:#?}\n{text}"));
    assert_eq!(again, tariff);
    assert_eq!(again.to_toml(), text);
    assert_eq!(tariff.places()[2].lon_e6, -2_123_456);
}

#[test]
fn what_a_closed_gate_does_to_the_fare_is_read_written_and_checked() {
    let with = |rule: &str| Tariff::parse(&CITY.replace("[gate]\n", &format!("[gate]\n{rule}\n")));
    for (rule, not_passed) in [
        ("", NotPassed::Charge),
        ("not_passed = \"charge\"", NotPassed::Charge),
        ("not_passed = \"give-back\"", NotPassed::GiveBack),
        ("not_passed = \"let-in-again\"", NotPassed::LetInAgain { within_s: 300 }),
        (
            "not_passed = \"let-in-again\"\nagain_within_s = 90",
            NotPassed::LetInAgain { within_s: 90 },
        ),
    ] {
        let tariff = with(rule).unwrap_or_else(|found| panic!("{rule}: {found:?}"));
        assert_eq!(tariff.gate().unwrap().not_passed, not_passed, "{rule}");
        assert_eq!(Tariff::parse(&tariff.to_toml()).as_ref(), Ok(&tariff), "{rule}");
    }
    let plain = with("").unwrap().to_toml();
    assert!(!plain.contains("not_passed"), "older tariffs keep their text: {plain}");
    for (rule, says) in [
        ("not_passed = \"refund\"", "unknown answer \"refund\"; use charge"),
        ("again_within_s = 60", "means nothing here"),
        ("not_passed = \"give-back\"\nagain_within_s = 60", "means nothing here"),
        ("not_passed = \"let-in-again\"\nagain_within_s = 9999", "again_within_s"),
    ] {
        let text = findings(with(rule));
        assert!(text.contains(says), "{rule}: {text}");
    }
}
