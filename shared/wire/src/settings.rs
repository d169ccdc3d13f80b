//! The content of a list of kind [`ListKind::CONFIG`](crate::ListKind::CONFIG): what is set at
//! which validators (ADR-0033).
//!
//! Only the form is judged here: which settings there are, and what each may be, `steering` knows.

use alloc::{collections::BTreeSet, string::String, vec::Vec};
use core::fmt;

use model::ValidatorId;
use serde::{Deserialize, Serialize};

use crate::{WireError, cbor, limits};

const WHAT: &str = "settings";

/// What a setting is set to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SettingValue {
    /// Yes or no.
    Flag(bool),
    /// A number; none of them is below zero.
    Number(u64),
    /// One word of several.
    Word(String),
}

/// Whom a layer of settings is for, the more special later.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SettingsFor {
    /// Every validator.
    All,
    /// Those of a group.
    Group {
        /// Its name.
        name: String,
        /// Its validators.
        members: BTreeSet<ValidatorId>,
    },
    /// One.
    One(ValidatorId),
}

/// What is set for some validators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsLayer {
    /// For whom.
    pub whom: SettingsFor,
    /// Ascending by key, each once: `rider.sound.volume` and its value.
    pub values: Vec<(String, SettingValue)>,
}

/// One version of all settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsVersion {
    /// Higher is newer.
    pub number: u64,
    /// Validators that get it first.
    pub canaries: BTreeSet<ValidatorId>,
    /// Of the others, in percent.
    pub percent: u8,
    /// All first, then groups by name, then single validators.
    pub layers: Vec<SettingsLayer>,
}

/// Every version that somebody is to go by, ascending.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SettingsList(pub Vec<SettingsVersion>);

/// The fields, by CBOR index.
#[derive(Serialize, Deserialize)]
struct ListV1 {
    versions: Vec<VersionV1>,
}

/// The fields, by CBOR index.
#[derive(Serialize, Deserialize)]
struct VersionV1 {
    number: u64,
    canaries: Vec<u32>,
    percent: u8,
    layers: Vec<LayerV1>,
}

/// The fields, by CBOR index. Without a group: of validator 0 it is for all, else for that one.
#[derive(Serialize, Deserialize)]
struct LayerV1 {
    group: String,
    validators: Vec<u32>,
    values: Vec<(String, SettingValue)>,
}

impl fmt::Display for SettingValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Word(word) => write!(f, "{word:?}"),
        }
    }
}

impl SettingsFor {
    /// Whether it is for this validator.
    pub fn is_for(&self, validator: ValidatorId) -> bool {
        match self {
            Self::All => true,
            Self::Group { members, .. } => members.contains(&validator),
            Self::One(id) => *id == validator,
        }
    }

    /// Layers of one version stand in this order, each once.
    fn place(&self) -> (u8, &str, u32) {
        match self {
            Self::All => (0, "", 0),
            Self::Group { name, .. } => (1, name, 0),
            Self::One(id) => (2, "", id.number()),
        }
    }
}

impl SettingsList {
    /// The list's content.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        self.check()?;
        let versions = self.0.iter().map(|version| VersionV1 {
            number: version.number,
            canaries: numbers(&version.canaries),
            percent: version.percent,
            layers: version.layers.iter().map(LayerV1::of).collect(),
        });
        let content = cbor::to_vec(&ListV1 { versions: versions.collect() });
        cbor::bounded(WHAT, &content, limits::CONTENT)?;
        Ok(content)
    }

    /// Reads a list's content.
    pub fn decode(content: &[u8]) -> Result<Self, WireError> {
        cbor::bounded(WHAT, content, limits::CONTENT)?;
        let ListV1 { versions } = cbor::from_slice(WHAT, content)?;
        let version = |version: VersionV1| {
            Ok(SettingsVersion {
                number: version.number,
                canaries: ids(version.canaries)?,
                percent: version.percent,
                layers: version.layers.into_iter().map(LayerV1::read).collect::<Result<_, _>>()?,
            })
        };
        let read = Self(versions.into_iter().map(version).collect::<Result<_, WireError>>()?);
        read.check()?;
        Ok(read)
    }

    fn check(&self) -> Result<(), WireError> {
        if self.0.len() > limits::SETTINGS_VERSIONS {
            let limit = limits::SETTINGS_VERSIONS;
            return Err(WireError::TooLarge { what: "number of versions of settings", limit });
        }
        let numbers = || self.0.iter().map(|version| version.number);
        if !numbers().is_sorted_by(|a, b| a < b) || numbers().any(|number| number == 0) {
            return Err(WireError::OutOfRange("order of versions of settings"));
        }
        for version in &self.0 {
            if version.percent > 100 {
                return Err(WireError::OutOfRange("percent of settings"));
            }
            let places = version.layers.iter().map(|layer| layer.whom.place());
            if !places.is_sorted_by(|a, b| a < b) {
                return Err(WireError::OutOfRange("order of layers of settings"));
            }
            version.layers.iter().try_for_each(SettingsLayer::check)?;
        }
        Ok(())
    }
}

impl SettingsLayer {
    fn check(&self) -> Result<(), WireError> {
        let names = self.values.iter().map(|(key, _)| key);
        if !names.clone().is_sorted_by(|a, b| a < b) {
            return Err(WireError::OutOfRange("order of settings"));
        }
        let words = self.values.iter().filter_map(|(_, value)| match value {
            SettingValue::Word(word) => Some(word),
            SettingValue::Flag(_) | SettingValue::Number(_) => None,
        });
        let name = match &self.whom {
            SettingsFor::Group { name, .. } => Some(name),
            SettingsFor::All | SettingsFor::One(_) => None,
        };
        if name.is_some_and(String::is_empty) {
            return Err(WireError::Missing("name of a group"));
        }
        if names.chain(words).chain(name).any(|text| text.len() > limits::SETTING) {
            return Err(WireError::TooLarge { what: "text of a setting", limit: limits::SETTING });
        }
        Ok(())
    }
}

impl LayerV1 {
    fn of(layer: &SettingsLayer) -> Self {
        let (group, validators) = match &layer.whom {
            SettingsFor::All => (String::new(), Vec::from([ValidatorId::DEPOT.number()])),
            SettingsFor::Group { name, members } => (name.clone(), numbers(members)),
            SettingsFor::One(id) => (String::new(), Vec::from([id.number()])),
        };
        Self { group, validators, values: layer.values.clone() }
    }

    fn read(self) -> Result<SettingsLayer, WireError> {
        let Self { group, validators, values } = self;
        let whom = match (group.is_empty(), validators.as_slice()) {
            (false, _) => SettingsFor::Group { name: group, members: ids(validators)? },
            (true, [0]) => SettingsFor::All,
            (true, [number]) => SettingsFor::One(id(*number)?),
            (true, _) => return Err(WireError::Missing("name of a group")),
        };
        Ok(SettingsLayer { whom, values })
    }
}

fn numbers(ids: &BTreeSet<ValidatorId>) -> Vec<u32> {
    ids.iter().map(|id| id.number()).collect()
}

fn ids(numbers: Vec<u32>) -> Result<BTreeSet<ValidatorId>, WireError> {
    if !numbers.is_sorted_by(|a, b| a < b) {
        return Err(WireError::OutOfRange("order of validators"));
    }
    numbers.into_iter().map(id).collect()
}

fn id(number: u32) -> Result<ValidatorId, WireError> {
    let known = ValidatorId::new(number).filter(|id| *id != ValidatorId::DEPOT);
    known.ok_or(WireError::OutOfRange("validator number"))
}
