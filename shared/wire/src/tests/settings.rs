//! Settings of validators: golden bytes and bounds.

use alloc::{borrow::ToOwned, vec, vec::Vec};

use expect_test::expect_file;
use model::ValidatorId;
use proptest::{collection::vec as vec_of, prelude::*};

use super::hex;
use crate::{
    SettingValue, SettingsFor, SettingsLayer, SettingsList, SettingsVersion, WireError, limits,
};

fn v(n: u32) -> ValidatorId {
    ValidatorId::new(n).unwrap()
}

fn layer(whom: SettingsFor, values: &[(&str, SettingValue)]) -> SettingsLayer {
    let values = values.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
    SettingsLayer { whom, values: values.collect() }
}

fn group(name: &str) -> SettingsFor {
    SettingsFor::Group { name: name.to_owned(), members: [v(42), v(70_000)].into() }
}

fn version(number: u64) -> SettingsVersion {
    SettingsVersion {
        number,
        canaries: [v(42)].into(),
        percent: 25,
        layers: vec![
            layer(
                SettingsFor::All,
                &[
                    ("rider.private", SettingValue::Flag(true)),
                    ("rider.sound.volume", SettingValue::Number(80)),
                ],
            ),
            layer(group("night"), &[("rider.sound.volume", SettingValue::Number(30))]),
            layer(
                SettingsFor::One(v(7)),
                &[("validator.language", SettingValue::Word("ko".to_owned()))],
            ),
        ],
    }
}

#[test]
fn golden_settings_are_written_and_read_for_ever() {
    let file = expect_file!["../../../../tests/vectors/wire/v1/settings-list.hex"];
    let first = SettingsVersion { percent: 100, canaries: [].into(), ..version(5) };
    let list = SettingsList(vec![first, version(6)]);
    let content = list.encode().unwrap();
    file.assert_eq(&hex(&content));
    assert_eq!(SettingsList::decode(&content), Ok(list));
}

#[test]
fn settings_out_of_order_or_out_of_bounds_are_refused() {
    let refused = |versions: Vec<SettingsVersion>| SettingsList(versions).encode().unwrap_err();
    let with = |layers: Vec<SettingsLayer>| vec![SettingsVersion { layers, ..version(5) }];
    let order = WireError::OutOfRange("order of versions of settings");
    assert_eq!(refused(vec![version(6), version(5)]), order);
    assert_eq!(refused(vec![version(0)]), order);
    let share = SettingsVersion { percent: 101, ..version(5) };
    assert_eq!(refused(vec![share]), WireError::OutOfRange("percent of settings"));
    let layers = WireError::OutOfRange("order of layers of settings");
    assert_eq!(refused(with(vec![layer(group("b"), &[]), layer(group("a"), &[])])), layers);
    assert_eq!(refused(with(vec![layer(group("a"), &[]), layer(SettingsFor::All, &[])])), layers);
    let twice = [("a.b", SettingValue::Number(1)), ("a.b", SettingValue::Number(2))];
    let twice = layer(SettingsFor::All, &twice);
    assert_eq!(refused(with(vec![twice])), WireError::OutOfRange("order of settings"));
    let nameless = layer(group(""), &[]);
    assert_eq!(refused(with(vec![nameless])), WireError::Missing("name of a group"));
    let long = "x".repeat(limits::SETTING + 1);
    let long = layer(SettingsFor::All, &[("a.b", SettingValue::Word(long))]);
    assert!(matches!(refused(with(vec![long])), WireError::TooLarge { .. }));
    let many = (1..=limits::SETTINGS_VERSIONS as u64 + 1).map(version).collect();
    assert!(matches!(refused(many), WireError::TooLarge { .. }));
    // Two ids without a group's name: who would they be?
    let two = [0xa3, 0, 0x60, 1, 0x82, 1, 2, 2, 0x80];
    let content = [&[0xa1, 0, 0x81, 0xa4, 0, 5, 1, 0x80, 2, 0, 3, 0x81][..], &two].concat();
    assert_eq!(SettingsList::decode(&content), Err(WireError::Missing("name of a group")));
    // A value of a kind that is not known here.
    let values = [0xa3, 0, 0x60, 1, 0x81, 0, 2, 0x81, 0x82, 0x61, b'a', 0x80];
    let content = [&[0xa1, 0, 0x81, 0xa4, 0, 5, 1, 0x80, 2, 0, 3, 0x81][..], &values].concat();
    assert!(matches!(SettingsList::decode(&content), Err(WireError::Malformed { .. })));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_of_settings_panic(
        bytes in vec_of(any::<u8>(), 0..100),
        at in any::<prop::sample::Index>(),
        with in any::<u8>(),
    ) {
        let mut content = SettingsList(vec![version(5)]).encode().unwrap();
        let at = at.index(content.len());
        content[at] = with;
        let _ = SettingsList::decode(&content);
        let _ = SettingsList::decode(&bytes);
    }
}
