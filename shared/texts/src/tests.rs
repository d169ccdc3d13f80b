//! Every message, in every language: there, with just its facts, and used.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use expect_test::expect_file;
use fare::{
    CapPeriod, CapProgress, DatedRate, Exchange, Exchanged, ProductStep, ROUNDINGS, Rate, Step,
    StepKind,
};
use fluent_syntax::ast::{Entry, Expression, InlineExpression, Pattern, PatternElement};
use model::{Currency, Money, Note, ProductSlot, Refusal, ServiceDate};
use proptest::prelude::*;

use crate::{
    DueText, Language, Phrase, RiderWord, amount_text, bundle, cap_text, date_text, due_text,
    exchange_text, note_text, parts, past_cap_text, phrase_text, refusal_text, rider_word,
    step_label, step_text,
};

fn won(minor: i64) -> Money {
    Money::new(minor, Currency::parse("KRW").unwrap())
}

/// The kinds that a rule of a tariff makes. `seen` does not compile when a kind is added: give the
/// new one a sample here, and a message in every language.
fn kinds(amount: fn(i64) -> Money) -> Vec<StepKind> {
    let (from, to, name) = ("서울역", "시청", "일반 1회권");
    let (after_s, limit_s) = (1_510, 1_800);
    let mut kinds = vec![
        StepKind::MissingTapOut { from: from.into() },
        StepKind::JourneyOpened { from: from.into(), maximum: amount(3_650) },
        StepKind::Flat { route: "402".into(), product: name.into() },
        StepKind::OriginDestination { from: from.into(), to: to.into() },
        StepKind::SameStation { place: from.into(), after_s: 95 },
        StepKind::OverTime { from: from.into(), after_s: 18_060, limit_s: 18_000 },
        StepKind::UnknownFare { from: from.into(), to: to.into() },
        StepKind::Transfer { after_s, limit_s },
        StepKind::TransferTooLate { after_s: 1_801, limit_s },
        StepKind::TransferRidesUsed { legs_max: 1 },
        StepKind::TransferRidesUsed { legs_max: 5 },
        StepKind::Adjusted { name: "조조할인".into() },
        StepKind::Companions { class: "어린이".into(), riders: 2, each: amount(550) },
        StepKind::Capped { name: "K-패스 월 정액".into(), limit: amount(62_000) },
        StepKind::Interchange { from: from.into() },
        StepKind::PaidBefore,
        StepKind::Leg { from: from.into(), to: to.into(), product: name.into() },
        StepKind::LegTransfer,
        StepKind::NoRefund,
        StepKind::NoFareKnown { from: from.into(), to: to.into() },
    ];
    kinds.extend(products().into_iter().map(StepKind::Product));
    kinds
}

fn products() -> Vec<ProductStep> {
    let product = 7;
    let mut products = vec![
        ProductStep::PassPays(product),
        ProductStep::RidePays { product, left: 1 },
        ProductStep::Covers(product),
        ProductStep::NotYetValid { product, in_s: 2 * 3_600 },
        ProductStep::NotHere(product),
        ProductStep::UsedUp(product),
        ProductStep::Unknown(ProductSlot::ALL[0]),
    ];
    let spans = [1, 59, 60, 7_199, 86_399, 86_400, 30 * 86_400];
    products.extend(spans.map(|ago_s| ProductStep::Ended { product, ago_s }));
    products
}

/// The variant's place in the enumeration; exhaustive on purpose.
fn seen(kind: &StepKind) -> usize {
    match kind {
        StepKind::MissingTapOut { .. } => 0,
        StepKind::JourneyOpened { .. } => 1,
        StepKind::Flat { .. } => 2,
        StepKind::OriginDestination { .. } => 3,
        StepKind::SameStation { .. } => 4,
        StepKind::OverTime { .. } => 5,
        StepKind::UnknownFare { .. } => 6,
        StepKind::Transfer { .. } => 7,
        StepKind::TransferTooLate { .. } => 8,
        StepKind::TransferRidesUsed { .. } => 9,
        StepKind::Adjusted { .. } => 10,
        StepKind::Capped { .. } => 11,
        StepKind::Interchange { .. } => 12,
        StepKind::PaidBefore => 13,
        StepKind::Leg { .. } => 14,
        StepKind::LegTransfer => 15,
        StepKind::NoFareKnown { .. } => 16,
        StepKind::Product(ProductStep::PassPays(_)) => 17,
        StepKind::Product(ProductStep::RidePays { .. }) => 18,
        StepKind::Product(ProductStep::Covers(_)) => 19,
        StepKind::Product(ProductStep::Ended { .. }) => 20,
        StepKind::Product(ProductStep::NotYetValid { .. }) => 21,
        StepKind::Product(ProductStep::NotHere(_)) => 22,
        StepKind::Product(ProductStep::UsedUp(_)) => 23,
        StepKind::Product(ProductStep::Unknown(_)) => 24,
        StepKind::NoRefund => 25,
        StepKind::Companions { .. } => 26,
    }
}

fn samples() -> Vec<Step> {
    let kinds = kinds(won);
    let found: BTreeSet<_> = kinds.iter().map(seen).collect();
    assert_eq!(found, (0..27).collect(), "every kind has a sample");
    let step = |kind| Step { kind, rule: "rule".into(), amount: won(0) };
    kinds.into_iter().map(step).collect()
}

/// What a file holds: each message and attribute with the facts that it names.
fn messages(language: Language) -> BTreeMap<String, BTreeSet<String>> {
    let file = fluent_syntax::parser::parse(bundle::source(language)).expect("the file parses");
    let mut found = BTreeMap::new();
    for entry in file.body {
        let Entry::Message(message) = entry else { continue };
        let id = message.id.name.to_owned();
        let parts = message
            .attributes
            .iter()
            .map(|a| (format!("{id}.{}", a.id.name), &a.value))
            .chain(message.value.iter().map(|value| (id.clone(), value)));
        for (key, pattern) in parts {
            let mut facts = BTreeSet::new();
            pattern_facts(pattern, &mut facts);
            assert!(found.insert(key.clone(), facts).is_none(), "{key} stands twice");
        }
    }
    found
}

fn pattern_facts(pattern: &Pattern<&str>, facts: &mut BTreeSet<String>) {
    for element in &pattern.elements {
        match element {
            PatternElement::TextElement { .. } => {}
            PatternElement::Placeable { expression } => expression_facts(expression, facts),
        }
    }
}

fn expression_facts(expression: &Expression<&str>, facts: &mut BTreeSet<String>) {
    match expression {
        Expression::Inline(inline) => inline_facts(inline, facts),
        Expression::Select { selector, variants } => {
            inline_facts(selector, facts);
            for variant in variants {
                pattern_facts(&variant.value, facts);
            }
        }
    }
}

fn inline_facts(inline: &InlineExpression<&str>, facts: &mut BTreeSet<String>) {
    match inline {
        InlineExpression::VariableReference { id } => {
            facts.insert(id.name.to_owned());
        }
        InlineExpression::FunctionReference { arguments, .. } => {
            for inline in &arguments.positional {
                inline_facts(inline, facts);
            }
        }
        InlineExpression::Placeable { expression } => expression_facts(expression, facts),
        InlineExpression::StringLiteral { .. } | InlineExpression::NumberLiteral { .. } => {}
        InlineExpression::MessageReference { .. } | InlineExpression::TermReference { .. } => {
            unreachable!("no message builds on another: {inline:?}")
        }
    }
}

/// Every message that code asks for, with the facts that it gives.
fn asked() -> BTreeMap<String, BTreeSet<String>> {
    let mut asked = BTreeMap::new();
    for step in samples() {
        let facts = step.params().iter().map(|(name, _)| (*name).to_owned()).collect();
        asked.insert(format!("{}.label", step.key()), BTreeSet::new());
        asked.insert(step.key().to_owned(), facts);
    }
    let plain = |key: String| (key, BTreeSet::new());
    asked.extend(Refusal::ALL.map(|refusal| plain(format!("refusal-{}", refusal.word()))));
    asked.extend(Note::ALL.map(|note| plain(format!("note-{}", note.word()))));
    asked.extend(RiderWord::ALL.map(|word| plain(word.key().to_owned())));
    for (key, facts) in [
        ("screen-accepted", &["charge"][..]),
        ("screen-accepted-riders", &["charge", "riders"]),
        ("screen-companions", &[]),
        ("screen-no-companions", &[]),
        ("screen-missing", &["amount"]),
        ("screen-code", &["code"]),
        ("screen-balance", &["balance"]),
        ("screen-loaded", &["amount"]),
        ("screen-pass-loaded", &["product"]),
        ("screen-rides-loaded", &["product", "rides"]),
        ("screen-out-of-service", &["reason"]),
        ("screen-in-service", &[]),
        ("due-priced", &["charged", "fare"]),
        ("due-repaired", &["from", "to", "ended", "of", "days"]),
        ("due-not-passed", &[]),
        ("due-open", &["amount"]),
        ("due-held", &["amount"]),
        ("due-paid", &["amount"]),
        ("due-forgiven", &["amount"]),
        ("exchange", &["charge", "rate", "one", "date", "rounding", "debit"]),
        ("exchange.unit", &["charge", "rate", "one", "date", "rounding", "unit", "debit"]),
        ("date", &["year", "month", "day"]),
        ("duration-seconds", &["seconds"]),
        ("duration-minutes", &["minutes"]),
        ("duration-minutes-seconds", &["minutes", "seconds"]),
    ] {
        asked.insert(key.to_owned(), facts.iter().map(|fact| (*fact).to_owned()).collect());
    }
    for (period, more) in
        [("day", None), ("week", None), ("month", None), ("rolling", Some("days"))]
    {
        let facts = ["name", "counted", "limit"].into_iter().chain(more);
        let facts: BTreeSet<String> = facts.map(str::to_owned).collect();
        asked.insert(format!("cap-{period}.past"), facts.clone());
        asked.insert(format!("cap-{period}"), facts);
    }
    for unit in ["seconds", "minutes", "hours", "days"] {
        // Korean names the number outside of any plural form, English inside each.
        asked.insert(format!("span-{unit}"), BTreeSet::from(["count".to_owned()]));
    }
    asked
}

#[test]
fn every_message_is_there_in_every_language_with_just_its_facts_and_none_is_unused() {
    for language in Language::ALL {
        assert_eq!(messages(language), asked(), "{language}");
    }
}

/// Everything that a rider can read in a language.
fn all_texts(language: Language) -> String {
    let mut all = String::new();
    for step in samples() {
        let (label, text) = (step_label(language, &step), step_text(language, &step));
        writeln!(all, "{label} | {text}").unwrap();
    }
    for refusal in Refusal::ALL {
        writeln!(all, "{:02} {}", refusal.assist_code(), refusal_text(language, refusal)).unwrap();
    }
    for note in Note::ALL {
        writeln!(all, "{}", note_text(language, note)).unwrap();
    }
    for word in RiderWord::ALL {
        writeln!(all, "{}", rider_word(language, word)).unwrap();
    }
    for phrase in [
        Phrase::Accepted(won(1_400)),
        Phrase::AcceptedRiders(won(2_500), 3),
        Phrase::Companions,
        Phrase::NoCompanions,
        Phrase::Missing(won(700)),
        Phrase::Balance(won(12_350)),
        Phrase::Code(7),
        Phrase::Loaded(won(10_000)),
        Phrase::OutOfService("the tap store is full"),
        Phrase::InService,
    ] {
        writeln!(all, "{}", phrase_text(language, &phrase)).unwrap();
    }
    let periods = [CapPeriod::Day, CapPeriod::Week(0), CapPeriod::Month];
    for period in periods.into_iter().chain([1, 30].map(CapPeriod::Rolling)) {
        let name = "K-패스".into();
        let cap = CapProgress { name, period, counted: won(3_400), limit: won(6_000) };
        let (now, past) = (cap_text(language, &cap), past_cap_text(language, &cap));
        writeln!(all, "{now} | {past}").unwrap();
    }
    let amount = won(1_850);
    let (from, to) = ("서울역", "시청");
    for due in [
        DueText::Priced { charged: won(4_250), fare: won(2_400) },
        DueText::Repaired { from, to, ended: 3, of: 4, days: 30 },
        DueText::NotPassed,
        DueText::Open(amount),
        DueText::Held(amount),
        DueText::Paid(amount),
        DueText::Forgiven(amount),
    ] {
        writeln!(all, "{}", due_text(language, &due)).unwrap();
    }
    for exchanged in exchanges() {
        writeln!(all, "{}", exchange_text(language, &exchanged)).unwrap();
    }
    all
}

/// 1.20 EUR in francs by every rule, to the cent and to five of them, and once in won.
fn exchanges() -> Vec<Exchanged> {
    let of = |minor, letters| Money::new(minor, Currency::parse(letters).unwrap());
    let mut list = Vec::new();
    for (purse, text, rounding, unit) in [1, 5]
        .into_iter()
        .flat_map(|unit| ROUNDINGS.map(|(r, _)| ("CHF", "0.9432", r, unit)))
        .chain([("KRW", "1650.5", ROUNDINGS[0].0, 10)])
    {
        let (charge, rate) = (of(120, "EUR"), Rate::parse(text).unwrap());
        let since = ServiceDate::parse("2026-01-01").unwrap();
        let dated = vec![DatedRate { from: since, rate }];
        let unit = of(unit, purse);
        let table = Exchange::new(unit.currency(), dated, rounding, unit.minor()).unwrap();
        let debit = table.convert(rate, charge).unwrap();
        list.push(Exchanged { charge, debit, rate, since, rounding, unit });
    }
    list
}

fn check(language: Language, expected: &expect_test::ExpectFile) {
    let texts = all_texts(language);
    for mark in ['{', '}', '\u{2068}', '\u{2069}'] {
        assert!(!texts.contains(mark), "{language}: {mark:?} in a text");
    }
    expected.assert_eq(&texts);
}

/// `Step::text` serves cores and command lines, which have no texts of another language; it must
/// not drift. Only a plural form is beyond it.
#[test]
fn the_english_of_the_fare_engine_is_the_english_of_the_file() {
    let euro = |minor| Money::new(minor, Currency::parse("EUR").unwrap());
    for kind in kinds(euro) {
        let step = Step { kind, rule: "rule".into(), amount: euro(0) };
        let text = step.text().replace("all 1 rides are used", "the one ride is used");
        assert_eq!(step_text(Language::English, &step), text);
    }
    for exchanged in exchanges().iter().filter(|e| e.debit.currency().letters() != "KRW") {
        assert_eq!(exchange_text(Language::English, exchanged), exchanged.text());
    }
    for month in 1..=12 {
        let since = ServiceDate::parse(&format!("2026{month:02}09")).unwrap();
        let date = date_text(Language::English, since);
        let text = Exchanged { since, ..exchanges()[0] }.text();
        assert!(text.contains(&format!("(rate of {date})")), "{date}: {text}");
    }
}

#[test]
fn every_text_in_english_is_the_one_agreed_on() {
    check(Language::English, &expect_file!["tests/en.txt"]);
}

#[test]
fn every_text_in_korean_is_the_one_agreed_on() {
    check(Language::Korean, &expect_file!["tests/ko.txt"]);
}

#[test]
fn usr_9_every_refusal_says_in_every_language_what_is_wrong_and_most_what_to_do() {
    for language in Language::ALL {
        let with_action = Refusal::ALL.into_iter().filter(|refusal| {
            let text = refusal_text(language, *refusal);
            let (what, action) = parts(&text);
            assert!(!what.is_empty() && action != Some(""), "{text}");
            action.is_some()
        });
        // To hold a card until it beeps is the action itself, and who is in is in.
        let without = [Refusal::Unreadable, Refusal::DoubleEntry];
        assert_eq!(with_action.count(), Refusal::ALL.len() - without.len(), "{language}");
    }
}

/// A particle chosen by the last sound of a name would be wrong for half of the names.
#[test]
fn no_korean_name_is_followed_by_a_particle_that_depends_on_its_sound() {
    for line in bundle::source(Language::Korean).lines().filter(|line| !line.starts_with('#')) {
        for particle in ["을", "를", "이", "가", "은", "는", "와", "과", "로", "으로"] {
            for follower in [" ", ",", ":", "."] {
                let wrong = format!("}}{particle}{follower}");
                assert!(!line.contains(&wrong), "{wrong:?} in {line:?}");
            }
        }
    }
}

#[test]
fn an_amount_reads_as_its_currency_is_written() {
    for (letters, minor, english, korean) in [
        ("KRW", 1_250, "₩1,250", "1,250원"),
        ("KRW", 0, "₩0", "0원"),
        ("KRW", -62_000, "-₩62,000", "-62,000원"),
        ("USD", 240, "2.40 USD", "2.40 USD"),
        ("USD", -5, "-0.05 USD", "-0.05 USD"),
        ("KWD", 1_234_567, "1,234.567 KWD", "1,234.567 KWD"),
        ("EUR", i64::MIN, "-92,233,720,368,547,758.08 EUR", "-92,233,720,368,547,758.08 EUR"),
    ] {
        let amount = Money::new(minor, Currency::parse(letters).unwrap());
        assert_eq!(amount_text(Language::English, amount), english);
        assert_eq!(amount_text(Language::Korean, amount), korean);
    }
}

#[test]
fn a_reader_gets_the_language_of_highest_weight_and_english_if_none_is_here() {
    for (header, wanted) in [
        ("ko", Language::Korean),
        ("ko-KR,ko;q=0.9,en-US;q=0.8,en;q=0.7", Language::Korean),
        ("en;q=0.5, ko;q=0.8", Language::Korean),
        ("en, ko", Language::English),
        ("ko;q=0, en;q=0.1", Language::English),
        ("fr-CH, fr;q=0.9, ko-Kore-KR;q=0.2", Language::Korean),
        ("de, *;q=0.5", Language::English),
        ("ko;q=2", Language::English),
        ("ko;q=0.12345", Language::English),
        (",;;=,q", Language::English),
        ("", Language::English),
    ] {
        assert_eq!(Language::accepted(header), wanted, "{header:?}");
    }
    let unknown = "fr".parse::<Language>().unwrap_err();
    assert_eq!(unknown.to_string(), "no texts in language \"fr\": use en or ko");
    for language in Language::ALL {
        assert_eq!(language.tag().parse(), Ok(language));
    }
}

proptest! {
    #[test]
    fn no_header_is_too_odd(header in ".{0,80}") {
        Language::accepted(&header);
    }

    /// Names are data: what looks like the language of the files stays what it is.
    #[test]
    fn a_name_stands_in_its_text_as_it_is(name in "[^\\x00]{1,40}", secs: u32) {
        let kind = StepKind::SameStation { place: name.as_str().into(), after_s: secs.into() };
        let step = Step { kind, rule: "rule".into(), amount: won(0) };
        for language in Language::ALL {
            prop_assert!(step_text(language, &step).contains(&name));
        }
    }

    #[test]
    fn an_amount_keeps_its_digits(minor: i64) {
        let amount = Money::new(minor, Currency::parse("KRW").unwrap());
        let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
        for language in Language::ALL {
            prop_assert_eq!(digits(&amount_text(language, amount)), digits(&amount.decimal()));
        }
    }
}
