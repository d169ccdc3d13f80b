//! A tariff, signed and kept in the books, for the day from which it holds.
//!
//! Invariants: nothing is published whose golden examples fail or whose check has an error that
//! nobody accepted by name; versions only rise. Going back is publishing an older text under a
//! new version.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};
use clap::Args;
use fare::{Tariff, TariffSet};
use fleet_sync::sign_tariff;
use sha2::{Digest, Sha256};

use wire::{PublishedTariff, limits};

use super::{line::parse_date, source::FareSource};
use crate::{
    cli::{ConfigPath, say, warn},
    clock::Clock,
    config::{Config, Keys, to_hex},
    lists::begins,
    store::{Published, Store},
};

#[derive(Debug, Args)]
pub(in crate::cli) struct Publication {
    #[command(flatten)]
    config: ConfigPath,
    #[command(flatten)]
    source: FareSource,
    /// The service date from which it holds, such as 20261126.
    #[arg(long)]
    valid_from: String,
    /// Where the signed tariff is written; stdout without it.
    #[arg(short, long)]
    output: Option<PathBuf>,
}

impl Publication {
    pub(super) fn publish(&self) -> anyhow::Result<ExitCode> {
        let valid_from = parse_date(&self.valid_from).map_err(anyhow::Error::msg)?;
        let tariff = self.sound_tariff()?;
        let text = tariff.to_toml();
        // What is signed must say all of it, and its examples must hold in what is read back.
        if Tariff::parse(&text).ok().as_ref() != Some(&tariff) {
            bail!("the tariff does not read back as it is: publish it from its own text");
        }
        let config = Config::load(&self.config.config)?;
        let keys = Keys::load(&config.keys)?;
        let store = Store::open_existing(&config.database)?;
        let version = tariff.version();
        goes_with(&store, &tariff)?;
        let now = Clock::system().now();
        let starts_at = begins(&tariff, valid_from).map_err(anyhow::Error::msg)?;
        let hash: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        let signature = sign_tariff(version, valid_from, &text, &keys.signing);
        let list =
            PublishedTariff { version, valid_from, starts_at, signature, text: text.clone() };
        let content = list.encode();
        if content.len() > limits::CONTENT {
            bail!("not published: {} bytes, validators take {}", content.len(), limits::CONTENT);
        }
        let artefact = serde_json::json!({
            "format": 1,
            "version": version.0,
            "valid_from": valid_from.to_string(),
            "sha256": to_hex(&hash),
            "signature": to_hex(&signature),
            "tariff": text,
        });
        let artefact = serde_json::to_string_pretty(&artefact)?;
        if let Some(path) = &self.output {
            fs::write(path, format!("{artefact}\n"))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        if !store.publish_tariff(&Published { version, starts_at, content }, &text, now)? {
            bail!("version {version} was published by somebody else meanwhile");
        }
        if self.output.is_none() {
            say(&artefact);
        }
        warn(&format!(
            "{}, version {version}, holds from {valid_from}: a server that is running knows it \
             within a second and gives it to the validators",
            tariff.network()
        ));
        Ok(ExitCode::SUCCESS)
    }

    /// The tariff, when nothing that was found speaks against it.
    fn sound_tariff(&self) -> anyhow::Result<Tariff> {
        let read = self.source.read_tariff()?;
        // What --accept names is a warning here.
        let errors: Vec<_> = read.findings.iter().filter(|finding| finding.is_error()).collect();
        for finding in &errors {
            warn(&finding.to_string());
        }
        if !errors.is_empty() {
            bail!("not published: correct {} errors, or accept them by --accept", errors.len());
        }
        read.tariff.context("not published: no tariff can be made, see `fares compile`")
    }
}

/// Its version is above all others, and it joins them: the running server does the same a second
/// later.
fn goes_with(store: &Store, tariff: &Tariff) -> anyhow::Result<()> {
    let (version, known) = (tariff.version(), store.tariffs()?);
    if let Some((newest, _)) = known.last()
        && *newest >= version
    {
        let next = newest.0.saturating_add(1);
        bail!("version {version} is not above {newest} of the books: publish it as {next}");
    }
    if let Some((newest, text)) = known.last() {
        let newest = Tariff::parse(text)
            .map_err(|_| anyhow::anyhow!("version {newest} of the books does not read"))?;
        TariffSet::new(newest).insert(tariff.clone()).context("not published")?;
    }
    Ok(())
}
