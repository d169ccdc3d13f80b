//! A tariff, signed and kept in the books, for the day from which it holds.
//!
//! Invariants: nothing is published whose golden examples fail or whose check has an error that
//! nobody accepted by name; versions only rise. Going back is publishing an older text under a
//! new version.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};
use clap::Args;
use ed25519_dalek::Signer as _;
use fare::Tariff;
use sha2::{Digest, Sha256};

use super::{line::parse_date, source::FareSource};
use crate::{
    cli::{ConfigPath, say, warn},
    clock::Clock,
    config::{Config, Keys, to_hex},
    store::Store,
};

/// What is signed begins with it, so that no signature for anything else can be shown here.
const DOMAIN: &[u8] = b"tapline/1/tariff\0";

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
        if let Some((newest, _)) = store.tariffs()?.last()
            && *newest >= version
        {
            let next = newest.0.saturating_add(1);
            bail!("version {version} is not above {newest} of the books: publish it as {next}");
        }
        let hash: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        let days = valid_from.0.to_le_bytes();
        let signed = [DOMAIN, &version.0.to_le_bytes(), &days, &hash].concat();
        let signature = keys.signing.sign(&signed).to_bytes();
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
        store.keep_tariff(version, &text, Clock::system().now())?;
        if self.output.is_none() {
            say(&artefact);
        }
        warn(&format!(
            "{}, version {version}, holds from {valid_from}: give it to the validators before; a \
             server that is running knows it after its next start",
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
