//! What the validation core is told: from the configuration, its files, and the tariff in force.

use std::{fs, path::PathBuf};

use fare::{Tariff, TariffSet};
use model::{ClockQuality, TariffVersion};
use reader::ReaderKind;
use validation::{Hotlist, RelayGuard, Rules, ValidatorContext};

use super::StartError;
use crate::config::Config;

/// The tariff files of a configuration, as one set.
pub fn load_tariffs(files: &[PathBuf]) -> Result<TariffSet, StartError> {
    let mut set: Option<TariffSet> = None;
    for path in files {
        let problem = |problems: String| StartError::Tariff { path: path.clone(), problems };
        let text = fs::read_to_string(path)
            .map_err(|source| StartError::TariffFile { path: path.clone(), source })?;
        let tariff = Tariff::parse(&text).map_err(|found| {
            problem(found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        })?;
        match &mut set {
            None => set = Some(TariffSet::new(tariff)),
            Some(set) => set.insert(tariff).map_err(|e| problem(e.to_string()))?,
        }
    }
    set.ok_or_else(|| StartError::Tariff {
        path: PathBuf::new(),
        problems: "no tariff file is named".into(),
    })
}

/// What the validation core knows, from configuration and tariff. Cards to refuse come with the
/// lists.
pub fn context(
    config: &Config,
    (tariffs, version): (&TariffSet, TariffVersion),
    clock: ClockQuality,
) -> Result<ValidatorContext, StartError> {
    let tariff = tariffs.get(version).expect("who names a version has it in the set");
    let version = || tariff.version().to_string();
    let some = |known: Vec<&str>| match known.len() {
        0..=8 => known.join(", "),
        more => format!("{} and {} more", known[..8].join(", "), more - 8),
    };
    let unknown = |key, name: &str, known| StartError::Unknown {
        key,
        name: name.to_string(),
        version: version(),
        known: some(known),
    };
    let routes = || tariff.routes().iter().map(|route| &*route.id).collect();
    let name = &config.validator.place;
    let place = tariff.place_ix(name).ok_or_else(|| {
        unknown("validator.place", name, tariff.places().iter().map(|p| &*p.id).collect())
    })?;
    let role = config.validator.role;
    let route = match &config.validator.route {
        None if tariff.prices_by_route(role, place) => {
            let (place, known) = (name.clone(), some(routes()));
            return Err(StartError::RouteMissing { role, place, version: version(), known });
        }
        None => None,
        Some(name) => {
            let route = tariff.route_ix(name);
            Some(route.ok_or_else(|| unknown("validator.route", name, routes()))?)
        }
    };
    for name in config.gnss.iter().flat_map(|gnss| &gnss.stops) {
        if tariff.place_ix(name).is_none() {
            let known = tariff.places().iter().map(|p| &*p.id).collect();
            return Err(unknown("gnss.stops", name, known));
        }
    }
    Ok(ValidatorContext {
        id: config.validator.id,
        role,
        place,
        route,
        tariff: tariff.version(),
        tariffs: tariffs.clone(),
        hotlist: Hotlist::default(),
        hotlist_version: None,
        place_age_s: None,
        clock,
        rules: rules(config),
    })
}

/// The rules that a configuration sets.
pub(crate) fn rules(config: &Config) -> Rules {
    Rules {
        retry_window: config.rules.retry_window(),
        low_balance: i64::from(config.rules.low_balance),
        relay: relay_guard(config),
    }
}

/// None for cards in memory: they are not far away, and this machine may be busy with thousands.
fn relay_guard(config: &Config) -> Option<RelayGuard> {
    let slack = config.rules.relay_slack().filter(|_| config.reader.kind != ReaderKind::Virtual)?;
    Some(RelayGuard::at_baud(config.reader.line_speed(), slack))
}
