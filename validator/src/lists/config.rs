//! What the depot sets here: a list of settings over the validator's own file (ADR-0033).

use std::{path::Path, sync::Arc};

use model::ValidatorId;
use steering::{OwnSettings, own_settings, settings_of};
use wire::{ListKind, SettingsList};

use super::disk;
use crate::config::Config;

/// The configuration that holds, by a list of settings of one version.
#[derive(Debug, Clone)]
pub(crate) struct ConfigList {
    /// Of the list; 0 before the first.
    pub(crate) version: u64,
    /// Of the settings that choose this validator, if some do.
    pub(crate) number: Option<u64>,
    pub(crate) config: Arc<Config>,
}

impl ConfigList {
    /// Before the depot set anything.
    pub(crate) const fn none(own: Arc<Config>) -> Self {
        Self { version: 0, number: None, config: own }
    }

    /// What a list makes of this validator's own configuration, or why nothing.
    pub(crate) fn read(own: &Arc<Config>, version: u64, content: &[u8]) -> Result<Self, String> {
        match chosen(own.validator.id, content)? {
            None => Ok(Self { version, ..Self::none(Arc::clone(own)) }),
            Some(set) => {
                let config = own.set(&set).map_err(|e| crate::chain(&e))?.into();
                Ok(Self { version, number: Some(set.number), config })
            }
        }
    }

    /// By the newest list on the disk. One that cannot be gone by is said and left alone: the
    /// validator starts by its own file rather than not at all.
    pub(crate) fn kept(own: Config) -> (Arc<Config>, Self) {
        let own = Arc::new(own);
        let kept = match disk::newest(&own.state.folder, ListKind::CONFIG) {
            Ok(None) => None,
            Ok(Some((version, content))) => Some(Self::read(&own, version, &content)),
            Err(error) => Some(Err(crate::chain(&error))),
        };
        let kept = kept.transpose().unwrap_or_else(|problem| {
            tracing::error!(problem, "the kept settings cannot be used: the own file holds");
            None
        });
        let kept = kept.unwrap_or_else(|| Self::none(Arc::clone(&own)));
        (own, kept)
    }
}

/// What the newest list of settings on the disk sets here, for whoever asks beside the daemon.
pub(crate) fn kept_settings(
    state: &Path,
    validator: ValidatorId,
) -> Result<Option<OwnSettings>, String> {
    let newest = disk::newest(state, ListKind::CONFIG).map_err(|e| crate::chain(&e))?;
    newest.map_or(Ok(None), |(_, content)| chosen(validator, &content))
}

fn chosen(validator: ValidatorId, content: &[u8]) -> Result<Option<OwnSettings>, String> {
    let list = SettingsList::decode(content).map_err(|e| crate::chain(&e))?;
    let chosen = settings_of(&list, validator);
    chosen.map(|version| own_settings(version, validator)).transpose().map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use wire::{HeldList, SettingValue, SettingsFor, SettingsLayer, SettingsVersion};

    use super::*;

    /// A version that sets this for all, given to a share of all.
    fn content(number: u64, percent: u8, values: &[(&str, u64)]) -> Vec<u8> {
        let values = values.iter().map(|(key, number)| {
            let value = SettingValue::Number(*number);
            ((*key).to_owned(), value)
        });
        let layers = vec![SettingsLayer { whom: SettingsFor::All, values: values.collect() }];
        let version = SettingsVersion { number, canaries: [].into(), percent, layers };
        SettingsList(vec![version]).encode().unwrap()
    }

    fn own(folder: &Path) -> Config {
        let sample = include_str!("../../../deploy/validator.toml");
        let mut config = Config::parse(Path::new("validator.toml"), sample).unwrap();
        config.state.folder = folder.to_path_buf();
        config
    }

    #[test]
    fn settings_that_a_validator_cannot_go_by_change_nothing_and_the_older_ones_stay() {
        let state = tempfile::tempdir().unwrap();
        let (disk, _) = disk::ListDisk::open(state.path()).unwrap();
        let keep = |version, content: &[u8]| {
            disk.keep_list(HeldList { kind: ListKind::CONFIG, version }, content).unwrap();
        };
        let kept = || ConfigList::kept(own(state.path())).1;
        assert_eq!((kept().version, kept().number), (0, None));
        keep(7, &content(1, 100, &[("rider.sound.volume", 40)]));
        let first = kept();
        assert_eq!((first.version, first.number), (7, Some(1)));
        assert_eq!(first.config.rider.sound.volume, 40);

        let own = Arc::new(own(state.path()));
        let refused = |values: &[(&str, u64)]| {
            ConfigList::read(&own, 8, &content(2, 100, values)).unwrap_err()
        };
        let volume = ("rider.sound.volume", 50);
        let said = refused(&[volume, ("state.cache_mib", 9)]);
        assert!(said.starts_with("state.cache_mib is no setting"), "{said}");
        let said = refused(&[volume, ("state.keep_days", 0)]);
        assert!(said.contains("from 1 to 365"), "{said}");
        // What was refused is not on the disk: the next start goes by what is.
        assert_eq!(kept().config.rider.sound.volume, 40);
        let shown = kept_settings(state.path(), own.validator.id).unwrap().unwrap();
        assert_eq!((shown.number, shown.values.len()), (1, 1));

        // A share that this validator is not in leaves it to its own file.
        let none = ConfigList::read(&own, 9, &content(3, 0, &[volume])).unwrap();
        assert_eq!((none.number, none.config.rider.sound.volume), (None, 100));
        // One that only a newer program could read: it starts by its own file.
        keep(10, &content(4, 100, &[("of.a.newer.program", 1)]));
        assert_eq!((kept().version, kept().config.rider.sound.volume), (0, 100));
    }
}
