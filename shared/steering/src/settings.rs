//! Which settings a depot may give to validators, what each may be, and which of them a validator
//! goes by (ADR-0033).
//!
//! Invariants: nothing in here can cut a validator off from its depot or hand it other keys; the
//! depot checks before it signs, a validator checks again; what is said to one validator outranks
//! what is said to its group, and that what is said to all.

use alloc::{
    borrow::ToOwned,
    collections::BTreeMap,
    format,
    string::{String, ToString},
};
use core::fmt;

use model::ValidatorId;
use wire::{SettingValue, SettingsFor, SettingsList, SettingsVersion};

use crate::rollout::place;

/// What a setting may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// `true` or `false`.
    Flag,
    /// A whole number, both ends included.
    Number(u64, u64),
    /// One of these.
    Word(&'static [&'static str]),
}

/// When a validator goes by a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applies {
    /// Between two taps, without a restart.
    AtOnce,
    /// When its program starts anew.
    AtNextStart,
}

/// A setting that a depot may give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its key in a validator's configuration, with its tables.
    pub key: &'static str,
    /// What it may be.
    pub takes: Takes,
    /// When a validator goes by it.
    pub applies: Applies,
    /// The table without which a validator has no use for it, as it has no such device.
    pub table: Option<&'static str>,
}

const fn at_once(key: &'static str, takes: Takes) -> Setting {
    Setting { key, takes, applies: Applies::AtOnce, table: None }
}

const fn at_start(key: &'static str, takes: Takes) -> Setting {
    Setting { key, takes, applies: Applies::AtNextStart, table: None }
}

const fn of_device(table: &'static str, key: &'static str, takes: Takes) -> Setting {
    Setting { key, takes, applies: Applies::AtNextStart, table: Some(table) }
}

/// Every setting, by key. Narrower than a validator's own file may be: from afar a protection is
/// tuned, and not taken away.
pub const SETTINGS: [Setting; 18] = [
    of_device("gate", "gate.other_way_free", Takes::Flag),
    of_device("gate", "gate.required", Takes::Flag),
    of_device("gate", "gate.timeout_s", Takes::Number(2, 60)),
    of_device("gnss", "gnss.leave_m", Takes::Number(5, 500)),
    of_device("gnss", "gnss.near_m", Takes::Number(10, 500)),
    // A day at least: less would take a fleet out of service with one night without a link.
    at_once("lists.max_age_h", Takes::Number(24, 8_784)),
    at_once("rider.private", Takes::Flag),
    at_once("rider.sound.night_from_h", Takes::Number(0, 23)),
    at_once("rider.sound.night_until_h", Takes::Number(0, 23)),
    at_once("rider.sound.night_volume", Takes::Number(0, 100)),
    at_once("rider.sound.volume", Takes::Number(0, 100)),
    at_once("rules.low_balance", Takes::Number(0, 1_000_000_000)),
    at_once("rules.relay_slack_ms", Takes::Number(20, 2_000)),
    at_once("rules.retry_window_s", Takes::Number(0, 3_600)),
    at_start("state.keep_days", Takes::Number(1, 365)),
    // More than a small device has free would take it out of service.
    at_start("state.reserve_mib", Takes::Number(4, 256)),
    at_start("tickets.repeat_ms", Takes::Number(500, 30_000)),
    at_once("validator.language", Takes::Word(&["en", "ko"])),
];

impl fmt::Display for Takes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("true or false"),
            Self::Number(min, max) => write!(f, "a whole number from {min} to {max}"),
            Self::Word(words) => {
                let words: alloc::vec::Vec<_> = words.iter().map(|w| format!("{w:?}")).collect();
                f.write_str(&words.join(" or "))
            }
        }
    }
}

impl Takes {
    fn allows(self, value: &SettingValue) -> bool {
        match (self, value) {
            (Self::Flag, SettingValue::Flag(_)) => true,
            (Self::Number(min, max), SettingValue::Number(number)) => (min..=max).contains(number),
            (Self::Word(words), SettingValue::Word(word)) => words.contains(&word.as_str()),
            (
                Self::Flag | Self::Number(..) | Self::Word(_),
                SettingValue::Flag(_) | SettingValue::Number(_) | SettingValue::Word(_),
            ) => false,
        }
    }
}

/// Why settings cannot be gone by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingsProblem {
    /// Not among [`SETTINGS`].
    Unknown(String),
    /// Of another kind, or out of its range.
    Value {
        /// Which.
        key: &'static str,
        /// What it is to be.
        value: String,
        /// What it may be.
        takes: Takes,
    },
    /// Two groups of one validator disagree.
    Disagree {
        /// About which.
        key: String,
        /// Whose.
        validator: ValidatorId,
        /// Both groups.
        groups: [String; 2],
    },
}

impl fmt::Display for SettingsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(key) => {
                write!(f, "{key} is no setting that a depot gives to this version")
            }
            Self::Value { key, value, takes } => write!(f, "{key} = {value} must be {takes}"),
            Self::Disagree { key, validator, groups: [one, other] } => write!(
                f,
                "{key} of {validator} is set by the groups {one} and {other}: set it for the \
                 validator itself, or in one group"
            ),
        }
    }
}

impl core::error::Error for SettingsProblem {}

/// The setting of this name.
pub fn setting(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// Whether a setting may be this.
pub fn check_setting(key: &str, value: &SettingValue) -> Result<&'static Setting, SettingsProblem> {
    let known = setting(key).ok_or_else(|| SettingsProblem::Unknown(key.to_owned()))?;
    if known.takes.allows(value) {
        return Ok(known);
    }
    let (key, takes) = (known.key, known.takes);
    Err(SettingsProblem::Value { key, value: value.to_string(), takes })
}

/// Who said a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SaidTo {
    /// To every validator.
    All,
    /// To a group.
    Group(String),
    /// To the validator itself.
    One,
}

/// The settings of one validator.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnSettings {
    /// Of which version.
    pub number: u64,
    /// What is set, and to whom that was said.
    pub values: BTreeMap<&'static str, (SettingValue, SaidTo)>,
}

/// The version that a validator goes by: the newest that chooses it.
pub fn settings_of(list: &SettingsList, validator: ValidatorId) -> Option<&SettingsVersion> {
    list.0.iter().rev().find(|version| settings_choose(version, validator))
}

/// Whether a version is for this validator. Raising the percent only ever adds validators.
pub fn settings_choose(version: &SettingsVersion, validator: ValidatorId) -> bool {
    let among = || place(&format!("settings {}", version.number), validator);
    version.canaries.contains(&validator) || among() < u64::from(version.percent)
}

/// What one version sets for a validator. Only what is said to it is judged: a setting of a newer
/// program may stand in the list for those that have it.
pub fn own_settings(
    version: &SettingsVersion,
    validator: ValidatorId,
) -> Result<OwnSettings, SettingsProblem> {
    let mut own = OwnSettings { number: version.number, values: BTreeMap::new() };
    // Groups that disagree, until somebody says the same to the validator itself.
    let mut disagree = BTreeMap::new();
    for layer in version.layers.iter().filter(|layer| layer.whom.is_for(validator)) {
        for (key, value) in &layer.values {
            let key = check_setting(key, value)?.key;
            let said = match &layer.whom {
                SettingsFor::All => SaidTo::All,
                SettingsFor::Group { name, .. } => SaidTo::Group(name.clone()),
                SettingsFor::One(_) => SaidTo::One,
            };
            match (own.values.get(key), &said) {
                (Some((known, SaidTo::Group(one))), SaidTo::Group(other)) if known != value => {
                    disagree.insert(key, [one.clone(), other.clone()]);
                }
                (_, SaidTo::One) => drop(disagree.remove(key)),
                (_, SaidTo::All | SaidTo::Group(_)) => {}
            }
            own.values.insert(key, (value.clone(), said));
        }
    }
    match disagree.pop_first() {
        None => Ok(own),
        Some((key, groups)) => {
            Err(SettingsProblem::Disagree { key: key.to_owned(), validator, groups })
        }
    }
}

#[cfg(test)]
mod tests;
