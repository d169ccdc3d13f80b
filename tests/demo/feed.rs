//! The city's feed: imported for the validators and the depot, and its texts for the fare check.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use fare::Tariff;
use gtfs::{Feed, Import, ImportOptions, Network, Severity, import};
use model::TariffVersion;

use super::{DemoError, Options, fare_terms::FareTerms};

/// Findings shown one by one.
const SHOWN_MAX: usize = 8;

/// What the demo takes from a feed.
pub struct City {
    /// Its lines and places.
    pub network: Network,
    /// Its fares.
    pub tariff: Tariff,
    /// The files that the fare check reads by itself.
    pub texts: BTreeMap<String, String>,
    /// The tariff text over them, as the fare check reads it by itself.
    pub terms: FareTerms,
    /// What the importer found worth saying.
    pub warnings: Vec<String>,
}

/// The city that the project ships.
pub fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/city")
}

/// Reads and imports the feed that the options name.
pub fn load(options: &Options) -> Result<City, DemoError> {
    let path = options.gtfs.clone().unwrap_or_else(shipped);
    let wrong = |problem: String| DemoError::Feed { path: path.clone(), problem };
    let feed = Feed::open(&path).map_err(|e| wrong(validator::chain(&e)))?;
    let terms = overlay(options, &path)?;
    let Import { network, tariff, diagnostics } = import(
        &feed,
        &ImportOptions {
            version: TariffVersion(1),
            overlay: terms.clone(),
            zone_aliases: options.zone_alias.clone(),
            transfer_limit_s: Some(3600),
            ..ImportOptions::default()
        },
    );
    let (Some(network), Some(tariff)) = (network, tariff) else {
        let errors = diagnostics.iter().filter(|d| d.severity == Severity::Error);
        let mut lines = short(errors.map(ToString::to_string));
        lines.push("correct the feed, or name another one with --gtfs".to_owned());
        return Err(wrong(lines.join("\n  ")));
    };
    let texts = read_texts(&path).map_err(|e| wrong(e.to_string()))?;
    let warnings = short(diagnostics.iter().map(ToString::to_string));
    let (zone, exponent) = (tariff.timezone(), tariff.currency().exponent());
    let terms = FareTerms::read(&terms.unwrap_or_default(), zone, exponent);
    Ok(City { network, texts, terms: terms.map_err(DemoError::Terms)?, tariff, warnings })
}

fn overlay(options: &Options, feed: &Path) -> Result<Option<String>, DemoError> {
    let beside = feed.join("tariff.toml");
    let path = match &options.overlay {
        Some(path) => path,
        None if beside.is_file() => &beside,
        None => return Ok(None),
    };
    fs::read_to_string(path).map(Some).map_err(|e| DemoError::Feed {
        path: path.clone(),
        problem: format!("cannot be read: {e}; give a tariff text with --overlay"),
    })
}

fn short(all: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = all.collect();
    let more = lines.len().saturating_sub(SHOWN_MAX);
    lines.truncate(SHOWN_MAX);
    if more > 0 {
        lines.push(format!("and {more} more findings"));
    }
    lines
}

/// The files of the fare check, without the importer's reader.
fn read_texts(path: &Path) -> io::Result<BTreeMap<String, String>> {
    const FILES: [&str; 4] = ["stops.txt", "fare_attributes.txt", "fare_rules.txt", "routes.txt"];
    let mut texts = BTreeMap::new();
    if path.is_dir() {
        for name in FILES {
            match fs::read_to_string(path.join(name)) {
                Ok(text) => drop(texts.insert(name.to_owned(), text)),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        return Ok(texts);
    }
    let mut archive = zip::ZipArchive::new(fs::File::open(path)?).map_err(io::Error::other)?;
    for i in 0..archive.len() {
        let entry = archive.by_index(i).map_err(io::Error::other)?;
        let full = entry.name().map_err(io::Error::other)?.into_owned();
        let name = full.rsplit('/').next().unwrap_or_default();
        if FILES.contains(&name) && !full.starts_with("__MACOSX") {
            texts.insert(name.to_owned(), io::read_to_string(entry)?);
        }
    }
    Ok(texts)
}
