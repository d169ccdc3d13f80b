//! Settings: the table of them, who outranks whom, and whom a share of a version chooses.

use alloc::{
    borrow::ToOwned,
    collections::BTreeSet,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use proptest::prelude::*;
use wire::{SettingValue::Number, SettingsLayer};

use super::*;

const VOLUME: &str = "rider.sound.volume";

fn v(n: u32) -> ValidatorId {
    ValidatorId::new(n).unwrap()
}

fn group(name: &str, members: &[u32]) -> SettingsFor {
    let members = members.iter().copied().map(v).collect();
    SettingsFor::Group { name: name.to_owned(), members }
}

fn layer(whom: SettingsFor, values: &[(&str, u64)]) -> SettingsLayer {
    let values = values.iter().map(|(key, number)| ((*key).to_owned(), Number(*number)));
    SettingsLayer { whom, values: values.collect() }
}

fn version(layers: Vec<SettingsLayer>) -> SettingsVersion {
    SettingsVersion { number: 5, canaries: BTreeSet::new(), percent: 100, layers }
}

#[test]
fn settings_are_in_the_order_of_their_keys_and_none_of_them_cuts_a_validator_off() {
    assert!(SETTINGS.is_sorted_by(|a, b| a.key < b.key));
    for Setting { key, table, .. } in SETTINGS {
        let first = key.split('.').next().unwrap();
        let tables = ["gate", "gnss", "lists", "rider", "rules", "state", "tickets", "validator"];
        assert!(tables.contains(&first), "{key}");
        assert!(table.is_none_or(|table| table == first), "{key}");
    }
    for key in ["keys.depot", "broker.host", "validator.id", "tickets.keys", "release.key"] {
        assert_eq!(setting(key), None, "{key}");
    }
}

#[test]
fn a_value_is_allowed_within_its_bounds_and_refused_with_what_is_allowed() {
    let word = |word: &str| SettingValue::Word(word.to_owned());
    let refused = |key: &str, value: &SettingValue| {
        check_setting(key, value).err().map(|problem| problem.to_string())
    };
    for (key, value, problem) in [
        (VOLUME, Number(0), None),
        (VOLUME, Number(100), None),
        (VOLUME, Number(101), Some("= 101 must be a whole number from 0 to 100")),
        (VOLUME, word("loud"), Some("= \"loud\" must be a whole number from 0 to 100")),
        ("rider.private", SettingValue::Flag(true), None),
        ("rider.private", Number(1), Some("= 1 must be true or false")),
        ("validator.language", word("ko"), None),
        ("validator.language", word("fr"), Some("= \"fr\" must be \"en\" or \"ko\"")),
        ("lists.max_age_h", Number(0), Some("= 0 must be a whole number from 24 to 8784")),
        ("broker.host", word("x"), Some("is no setting that a depot gives")),
    ] {
        let said = refused(key, &value);
        match problem {
            None => assert_eq!(said, None, "{key}"),
            Some(problem) => assert!(said.unwrap().contains(problem), "{key} {problem}"),
        }
    }
}

#[test]
fn what_is_said_to_one_outranks_its_group_and_that_outranks_all() {
    let settings = version(vec![
        layer(SettingsFor::All, &[("rules.low_balance", 100), (VOLUME, 80)]),
        layer(group("night", &[7, 8]), &[(VOLUME, 30)]),
        layer(SettingsFor::One(v(8)), &[(VOLUME, 10)]),
        layer(SettingsFor::One(v(9)), &[("of.a.newer.program", 1)]),
    ]);
    let volume = |validator| own_settings(&settings, v(validator)).unwrap().values[VOLUME].clone();
    assert_eq!(volume(1), (Number(80), SaidTo::All));
    assert_eq!(volume(7), (Number(30), SaidTo::Group("night".to_owned())));
    assert_eq!(volume(8), (Number(10), SaidTo::One));
    assert_eq!(own_settings(&settings, v(8)).unwrap().values.len(), 2);
    // What one does not know is no matter to the others.
    let unknown = SettingsProblem::Unknown("of.a.newer.program".to_owned());
    assert_eq!(own_settings(&settings, v(9)), Err(unknown));
}

#[test]
fn groups_that_disagree_about_a_validator_are_refused_unless_it_has_a_value_of_its_own() {
    let two = |b: u64, own: &[u32]| {
        let own = own.iter().map(|n| layer(SettingsFor::One(v(*n)), &[(VOLUME, 1)]));
        let groups =
            [layer(group("a", &[7]), &[(VOLUME, 30)]), layer(group("b", &[7]), &[(VOLUME, b)])];
        version(groups.into_iter().chain(own).collect())
    };
    let said = own_settings(&two(31, &[]), v(7)).unwrap_err().to_string();
    let words = "rider.sound.volume of v000007 is set by the groups a and b";
    assert!(said.starts_with(words), "{said}");
    assert!(own_settings(&two(30, &[]), v(7)).is_ok(), "they agree");
    assert_eq!(own_settings(&two(31, &[7]), v(7)).unwrap().values[VOLUME].0, Number(1));
}

#[test]
fn a_validator_goes_by_the_newest_version_that_chooses_it() {
    let staged = |number, percent, canaries: &[u32]| SettingsVersion {
        number,
        percent,
        canaries: canaries.iter().copied().map(v).collect(),
        layers: vec![],
    };
    let list = SettingsList(vec![staged(4, 100, &[]), staged(5, 10, &[42])]);
    let number = |validator| settings_of(&list, v(validator)).map(|version| version.number);
    assert_eq!(number(42), Some(5));
    let chosen = (1..=10_000).filter(|n| number(*n) == Some(5)).count();
    assert!((900..1_100).contains(&chosen), "{chosen}");
    assert!((1..=1_000).all(|n| number(n).is_some()));
    assert_eq!(settings_of(&SettingsList(vec![staged(1, 0, &[])]), v(1)), None);
}

proptest! {
    #[test]
    fn raising_the_percent_of_settings_only_adds_validators(
        number in 1_u32..1 << 24,
        (low, high) in (0_u8..=100, 0_u8..=100),
    ) {
        let (low, high) = (low.min(high), low.max(high));
        let chosen = |percent| {
            settings_choose(&SettingsVersion { percent, ..version(vec![]) }, v(number))
        };
        prop_assert!(!chosen(low) || chosen(high));
    }

    #[test]
    fn any_text_and_number_is_judged_without_a_panic(key in ".{0,30}", number in any::<u64>()) {
        let _ = check_setting(&key, &Number(number));
        let judged = check_setting(VOLUME, &Number(number)).is_ok();
        prop_assert_eq!(judged, number <= 100);
        let _: String = key;
    }
}
