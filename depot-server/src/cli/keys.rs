//! `depot-server keys`: making, listing, replacing and handing out the cards' master keys.
//!
//! No command prints a master key. Parts of keys are printed by `component` only, for the
//! ceremony of `docs/keys.md`, and are read from stdin, never from arguments.

use std::{
    io::{BufRead, IsTerminal, stdin},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use card::{CardKeys, Key, KeyRole, KeySet, KeyVersion};
use clap::{Args, Subcommand};
use custody::{
    CheckValue, Custody, Source, StoreSource, TokenKeys, check_value, combine, load, random_key,
    replace, save_new, to_hex, unlock, write_private,
};
use fleet_sync::{SigningKey, key_id};
use wire::Versions;
use zeroize::Zeroizing;

use super::{ConfigPath, say, warn};
use crate::config::{Config, Keys};

/// The cards' master keys: see docs/keys.md.
#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Make the keystore of `keys.card` with four random master keys, and its unlock secret.
    Init {
        #[command(flatten)]
        config: ConfigPath,
        /// Leave it empty: the keys come from a ceremony, by `import`.
        #[arg(long)]
        empty: bool,
    },
    /// Show which keys are where, with versions and check values; never a key.
    List(ConfigPath),
    /// Print one random part of a key and its check value, for one custodian.
    Component,
    /// Put a key together from the parts that stdin gives, one a line, and add it.
    Import {
        #[command(flatten)]
        which: Which,
        /// How many parts there are; 1 is a whole key.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
        parts: u8,
        /// The check value that the key must have, six hexadecimal digits.
        #[arg(long)]
        expect: Option<String>,
    },
    /// Add the next version, random. Nothing uses it before `use`.
    Rotate {
        #[command(flatten)]
        config: ConfigPath,
        /// issuer, debit, load or tmac.
        #[arg(value_parser = role)]
        role: KeyRole,
    },
    /// Make a version the current one: new cards get it, readers try it first.
    Use(Which),
    /// Forget a version. Cards that have no other can then be opened by nobody.
    Remove(Which),
    /// Write a validator's keystore: debit keys only, sealed with the validator's own secret.
    ExportValidator {
        #[command(flatten)]
        config: ConfigPath,
        /// Where to; an existing file is not overwritten.
        #[arg(long)]
        output: PathBuf,
        /// The validator's unlock secret: made when missing.
        #[arg(long)]
        unlock: PathBuf,
        /// Leave this debit version out; may be given again.
        #[arg(long, value_name = "VERSION")]
        without: Vec<u8>,
    },
}

#[derive(Debug, Args)]
pub(super) struct Which {
    #[command(flatten)]
    config: ConfigPath,
    /// issuer, debit, load or tmac.
    #[arg(value_parser = role)]
    role: KeyRole,
    /// Its version, 1 to 255.
    #[arg(value_parser = clap::value_parser!(u8).range(1..))]
    version: u8,
}

fn role(word: &str) -> Result<KeyRole, String> {
    KeyRole::parse(word).ok_or_else(|| "use issuer, debit, load or tmac".into())
}

pub(super) fn run(command: KeysCommand) -> anyhow::Result<ExitCode> {
    match command {
        KeysCommand::Init { config, empty } => init(&config.config, empty)?,
        KeysCommand::List(config) => list(&config.config)?,
        KeysCommand::Component => component()?,
        KeysCommand::Import { which, parts, expect } => import(&which, parts, expect.as_deref())?,
        KeysCommand::Rotate { config, role } => rotate(&config.config, role)?,
        KeysCommand::Use(which) => {
            change(&which, |keys, role, version| Ok(keys.set_current(role, version)?))?;
        }
        KeysCommand::Remove(which) => change(&which, forget)?,
        KeysCommand::ExportValidator { config, output, unlock, without } => {
            export(&config.config, &output, &unlock, &without)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn init(path: &Path, empty: bool) -> anyhow::Result<()> {
    let store = store_of(&Config::load(path)?, KeyRole::Issuer)?;
    make_secret(&store.unlock)?;
    let mut keys = KeySet::default();
    if !empty {
        for role in KeyRole::ALL {
            keys = keys.with(role, KeyVersion::FIRST, random_key()?);
        }
    }
    save_new(&store.store, &keys, &unlock(&store.unlock)?)?;
    warn(&format!("made {}: back it up, and its unlock secret elsewhere", store.store.display()));
    show(&Source::Store(store))
}

/// A secret that is named by its path and is not there is made.
fn make_secret(path: &Path) -> anyhow::Result<()> {
    if path.components().count() > 1 && !path.exists() {
        let secret = Zeroizing::new([random_key()?.0, random_key()?.0].concat());
        let text = Zeroizing::new(format!("{}\n", *Zeroizing::new(to_hex(&secret))));
        write_private(path, text.as_bytes())?;
        warn(&format!("made the unlock secret {}", path.display()));
    }
    Ok(())
}

fn list(path: &Path) -> anyhow::Result<()> {
    let config = Config::load(path)?;
    list_card_keys(&config)?;
    if !config.keys.signing.exists() {
        // The machine of the ceremony holds cards' keys alone.
        return Ok(());
    }
    let (signing, before) = Keys::signing(&config.keys)?;
    let line = |key: &SigningKey| format!("messages for key {}", key_id(&key.verifying_key()));
    say(&format!("{}", config.keys.signing.display()));
    say(&format!("  {}, in versions {}", line(&signing), Versions::ALL));
    if let Some(before) = before {
        say(&format!("  {}, the one before", line(&before)));
    }
    Ok(())
}

fn list_card_keys(config: &Config) -> anyhow::Result<()> {
    let tmac = config.keys.tmac_source();
    if let Some(card) = config.keys.card.as_ref().filter(|card| **card != tmac) {
        show(card)?;
    }
    match &tmac {
        // A file of 32 digits and nothing else.
        Source::Plain(file) => {
            let keys = Keys::load(&config.keys)?.tmac;
            say(&format!("{tmac} (plain: for trials only)"));
            let master = keys.master(KeyRole::Tmac, KeyVersion::FIRST);
            let master = master.with_context(|| format!("{} holds no key", file.display()))?;
            say(&line(KeyRole::Tmac, KeyVersion::FIRST, check_value(master), true));
            Ok(())
        }
        Source::Store(_) | Source::Token(_) => show(&tmac),
    }
}

fn show(source: &Source) -> anyhow::Result<()> {
    say(&source.to_string());
    for held in Custody::open(source)?.list()? {
        say(&line(held.role, held.version, held.check, held.current));
    }
    Ok(())
}

fn line(role: KeyRole, version: KeyVersion, check: CheckValue, current: bool) -> String {
    let current = if current { "  current" } else { "" };
    format!("  {:<6} version {version:<3}  check value {check}{current}", role.word())
}

fn component() -> anyhow::Result<()> {
    let part = random_key()?;
    say(&Zeroizing::new(to_hex(&part.0)));
    warn(&format!(
        "check value {}: write both down, alone, and clear the screen",
        check_value(&part)
    ));
    Ok(())
}

fn import(which: &Which, parts: u8, expect: Option<&str>) -> anyhow::Result<()> {
    let config = Config::load(&which.config.config)?;
    let (role, version) = (which.role, KeyVersion(which.version));
    let mut lines = stdin().lock().lines();
    let mut read = Vec::new();
    for n in 1..=parts {
        if stdin().is_terminal() {
            warn(&format!("part {n} of {parts}, 32 hexadecimal digits:"));
        }
        let text = lines.next().with_context(|| format!("stdin ended before part {n}"))?;
        let text = Zeroizing::new(text.context("cannot read stdin")?);
        let part = Key::from_hex(text.trim())
            .with_context(|| format!("part {n} is not 32 hexadecimal digits"))?;
        warn(&format!("part {n}: check value {}", check_value(&part)));
        read.push(part);
    }
    let key = combine(&read);
    let check = check_value(&key);
    if let Some(expected) = expect.filter(|text| !text.eq_ignore_ascii_case(&check.to_string())) {
        bail!("the key has check value {check} and not {expected}: nothing was imported");
    }
    match source_of(&config, role)? {
        Source::Token(token) => drop(TokenKeys::import(&token, role, version, &key)?),
        Source::Store(_) | Source::Plain(_) => edit(&config, role, |keys| {
            if keys.master(role, version).is_some() {
                bail!("version {version} of the {} key is there already", role.word());
            }
            let first = keys.versions(role).is_empty();
            let before = keys.current(role);
            *keys = std::mem::take(keys).with(role, version, key.clone());
            if let (false, Ok(before)) = (first, before) {
                keys.set_current(role, before)?;
            }
            Ok(())
        })?,
    }
    say(&format!("{} version {version}: check value {check}", role.word()));
    Ok(())
}

fn rotate(path: &Path, role: KeyRole) -> anyhow::Result<()> {
    let config = Config::load(path)?;
    let mut added = None;
    edit(&config, role, |keys| {
        let newest = keys.versions(role).first().copied();
        let version = match newest {
            None => KeyVersion::FIRST,
            Some(newest) => newest.next().context("version 255 is the last")?,
        };
        let before = keys.current(role).unwrap_or(version);
        let key = random_key()?;
        added = Some((version, check_value(&key)));
        *keys = std::mem::take(keys).with(role, version, key);
        Ok(keys.set_current(role, before)?)
    })?;
    let (version, check) = added.context("a version was added")?;
    say(&format!("{} version {version}: check value {check}", role.word()));
    warn("nothing uses it yet: give it to all validators, then `keys use` (docs/keys.md)");
    Ok(())
}

fn forget(keys: &mut KeySet, role: KeyRole, version: KeyVersion) -> anyhow::Result<()> {
    if keys.current(role) == Ok(version) && keys.versions(role).len() > 1 {
        bail!("version {version} is the current one: `keys use` another one first");
    }
    Ok(keys.remove(role, version)?)
}

fn change(
    which: &Which,
    what: impl FnOnce(&mut KeySet, KeyRole, KeyVersion) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let config = Config::load(&which.config.config)?;
    edit(&config, which.role, |keys| what(keys, which.role, KeyVersion(which.version)))?;
    list(&which.config.config)
}

fn export(path: &Path, output: &Path, unlock_file: &Path, without: &[u8]) -> anyhow::Result<()> {
    let store = store_of(&Config::load(path)?, KeyRole::Debit)?;
    let mut keys = load(&store.store, &unlock(&store.unlock)?)?.for_validator();
    for version in without {
        forget(&mut keys, KeyRole::Debit, KeyVersion(*version))?;
    }
    if keys.versions(KeyRole::Debit).is_empty() {
        bail!("no debit key would be left for the validator");
    }
    make_secret(unlock_file)?;
    save_new(output, &keys, &unlock(unlock_file)?)?;
    let unlock = unlock_file.to_owned();
    show(&Source::Store(StoreSource { store: output.to_owned(), unlock }))
}

/// Reads the keystore of `role`, changes it and replaces it as a whole.
fn edit(
    config: &Config,
    role: KeyRole,
    what: impl FnOnce(&mut KeySet) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let store = store_of(config, role)?;
    let secret = unlock(&store.unlock)?;
    let mut keys = load(&store.store, &secret)?;
    what(&mut keys)?;
    Ok(replace(&store.store, &keys, &secret)?)
}

fn source_of(config: &Config, role: KeyRole) -> anyhow::Result<Source> {
    if role == KeyRole::Tmac {
        return Ok(config.keys.tmac_source());
    }
    config.keys.card.clone().context("keys.card is not set: name a keystore or a token")
}

fn store_of(config: &Config, role: KeyRole) -> anyhow::Result<StoreSource> {
    match source_of(config, role)? {
        Source::Store(store) => Ok(store),
        Source::Plain(path) => bail!(
            "{} is a plain key file, for trials only: name a keystore under [keys]",
            path.display()
        ),
        Source::Token(token) => bail!(
            "the {} keys are in the token {}: use `keys import` and the token's own tools",
            role.word(),
            token.token
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_rotated_used_and_handed_out_and_the_current_one_is_not_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let config = at("depot.toml");
        let text = "depot = \"north\"\n[keys]\ncard = { store = \"c.keys\", unlock = \"./u\" }\n";
        std::fs::write(&config, text).unwrap();
        let which =
            |role, version| Which { config: ConfigPath { config: config.clone() }, role, version };
        init(&config, false).unwrap();
        assert!(init(&config, false).is_err(), "nothing is overwritten");
        rotate(&config, KeyRole::Debit).unwrap();
        let held = || load(&at("c.keys"), &unlock(&at("u")).unwrap()).unwrap();
        assert_eq!(held().current(KeyRole::Debit), Ok(KeyVersion(1)), "nothing uses it yet");
        change(&which(KeyRole::Debit, 2), |keys, role, version| {
            Ok(keys.set_current(role, version)?)
        })
        .unwrap();
        assert_eq!(held().current(KeyRole::Debit), Ok(KeyVersion(2)));
        let refused = change(&which(KeyRole::Debit, 2), forget).unwrap_err().to_string();
        assert!(refused.contains("`keys use` another one first"), "{refused}");
        export(&config, &at("bus.keys"), &at("bus.unlock"), &[1]).unwrap();
        let bus = load(&at("bus.keys"), &unlock(&at("bus.unlock")).unwrap()).unwrap();
        assert_eq!(bus.versions(KeyRole::Debit), [KeyVersion(2)]);
        assert!(bus.versions(KeyRole::Load).is_empty() && bus.versions(KeyRole::Tmac).is_empty());
        let own = unlock(&at("u")).unwrap();
        assert!(load(&at("bus.keys"), &own).is_err(), "under a secret of its own");
    }
}
