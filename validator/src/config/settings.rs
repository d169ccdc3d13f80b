//! What a depot sets over this validator's own file (ADR-0033).
//!
//! The depot outranks the file for the settings that it may give, and for no other key. What comes
//! out is checked as a whole, like a file: values that contradict the rest are not gone by.

use std::path::Path;

use serde::Deserialize;
use steering::{Applies, OwnSettings, SETTINGS, SaidTo, Setting, setting};
use toml::Value;
use wire::SettingValue;

use super::{Config, ConfigError, annotate::Origins};

impl Config {
    /// The same with what the depot sets. Settings of devices that are not here change nothing.
    pub(crate) fn set(&self, own: &OwnSettings) -> Result<Self, ConfigError> {
        let name = format!("settings {}", own.number);
        let path = Path::new(&name);
        let mut table = self.table();
        for (key, (value, _)) in &own.values {
            if self.has_use_for(key) {
                put(&mut table, key, value);
            }
        }
        let config = Self::deserialize(table).map_err(|e| ConfigError::Parse {
            path: path.to_path_buf(),
            message: e.to_string().trim_end().to_string(),
            suggestion: String::new(),
        })?;
        config.check_all(path)?;
        Ok(config)
    }

    /// The settings that are other here than in `wanted`, and are gone by from the next start on.
    pub(crate) fn waits_for(&self, wanted: &Self) -> Vec<&'static str> {
        let (is, wanted) = (self.table(), wanted.table());
        let at_start = SETTINGS.iter().filter(|setting| setting.applies == Applies::AtNextStart);
        let other = at_start.filter(|Setting { key, .. }| find(&is, key) != find(&wanted, key));
        other.map(|setting| setting.key).collect()
    }

    /// Adds who set what to where the file's values come from.
    pub(super) fn set_origins(&self, own: &OwnSettings, origins: &mut Origins) {
        for (key, (_, said)) in own.values.iter().filter(|(key, _)| self.has_use_for(key)) {
            let whom = match said {
                SaidTo::All => "",
                SaidTo::Group(name) => &format!(", group {name}"),
                SaidTo::One => ", this validator",
            };
            origins.insert((*key).to_owned(), format!("settings {}{whom}", own.number));
        }
    }

    fn has_use_for(&self, key: &str) -> bool {
        match setting(key).and_then(|setting| setting.table) {
            Some("gate") => self.gate.is_some(),
            Some("gnss") => self.gnss.is_some(),
            Some(_) | None => true,
        }
    }
}

fn put(table: &mut toml::Table, key: &str, value: &SettingValue) {
    let value = match value {
        SettingValue::Flag(flag) => Value::Boolean(*flag),
        // Every number that a setting may be fits.
        SettingValue::Number(number) => Value::Integer(i64::try_from(*number).unwrap_or(i64::MAX)),
        SettingValue::Word(word) => Value::String(word.clone()),
    };
    let Some((tables, last)) = key.rsplit_once('.') else { return };
    let mut within = table;
    for name in tables.split('.') {
        let inner = within.entry(name).or_insert_with(|| Value::Table(toml::Table::new()));
        let Value::Table(inner) = inner else { return };
        within = inner;
    }
    within.insert(last.to_owned(), value);
}

fn find<'a>(table: &'a toml::Table, key: &str) -> Option<&'a Value> {
    let (first, rest) = key.split_once('.')?;
    rest.split('.').try_fold(table.get(first)?, |value, name| value.get(name))
}

#[cfg(test)]
mod tests {
    use steering::{SettingsProblem, check_setting};

    use super::*;
    use crate::config::tests::GOOD;

    fn config(text: &str) -> Config {
        Config::parse(Path::new("validator.toml"), text).unwrap()
    }

    fn own(values: &[(&'static str, SettingValue)]) -> OwnSettings {
        let values = values.iter().map(|(key, value)| (*key, (value.clone(), SaidTo::All)));
        OwnSettings { number: 5, values: values.collect() }
    }

    /// Both ends of what a setting may be.
    fn ends(setting: &Setting) -> Vec<SettingValue> {
        match setting.takes {
            steering::Takes::Flag => vec![SettingValue::Flag(false), SettingValue::Flag(true)],
            steering::Takes::Number(min, max) => {
                vec![SettingValue::Number(min), SettingValue::Number(max)]
            }
            steering::Takes::Word(words) => {
                words.iter().map(|word| SettingValue::Word((*word).to_owned())).collect()
            }
        }
    }

    #[test]
    fn every_setting_is_a_key_of_the_configuration_and_both_its_ends_are_taken() {
        let devices = "\n[gate]\nkind = \"simulated\"\n[gnss]\nport = \"/dev/ttyACM1\"\n";
        let config = config(&format!("{GOOD}{devices}"));
        for setting in &SETTINGS {
            for value in ends(setting) {
                let set = config.set(&own(&[(setting.key, value.clone())])).unwrap();
                let is = find(&set.table(), setting.key).map(ToString::to_string);
                assert_eq!(is, Some(value.to_string()), "{}", setting.key);
            }
        }
    }

    #[test]
    fn a_depots_settings_outrank_the_file_and_those_of_devices_that_are_not_here_change_nothing() {
        let plain = config(GOOD);
        let numbers = own(&[
            ("gate.timeout_s", SettingValue::Number(20)),
            ("rider.sound.volume", SettingValue::Number(30)),
            ("state.keep_days", SettingValue::Number(30)),
        ]);
        let set = plain.set(&numbers).unwrap();
        assert!(set.gate.is_none());
        assert_eq!((set.rider.sound.volume, set.state.keep_days), (30, 30));
        assert_eq!(plain.waits_for(&set), ["state.keep_days"], "the volume waits for no start");
        assert_eq!(
            plain.set(&own(&[])).unwrap().annotated(GOOD, None),
            plain.annotated(GOOD, None)
        );
        let merged = set.annotated(GOOD, Some(&numbers));
        assert!(merged.contains("volume = 30  # settings 5\n"), "{merged}");
        assert!(merged.contains("host = \"127.0.0.1\"  # line 24\n"), "{merged}");
        assert!(!merged.contains("timeout_s"), "{merged}");
    }

    #[test]
    fn settings_that_contradict_the_file_are_refused_whole() {
        let key = "11".repeat(32);
        let scanner =
            format!("{GOOD}\n[tickets]\nkeys = [\"{key}\"]\n[scanner]\nport = \"/dev/ttyACM0\"\n");
        let days = own(&[("state.keep_days", SettingValue::Number(1))]);
        let refused = config(&scanner).set(&days).unwrap_err().to_string();
        assert!(refused.starts_with("settings 5: state.keep_days must be at least"), "{refused}");
        let unknown = check_setting("state.folder", &SettingValue::Word("/".into()));
        assert!(matches!(unknown, Err(SettingsProblem::Unknown(_))));
    }
}
