//! Zone fares → the table of gate places.
//!
//! Stated rules: a station with its platforms is one place. A zone that no fare rule names
//! borrows from the other zones of the same station, with a warning; across stations only by an
//! alias that the caller states. The zones of one station must agree on every price, because a
//! gate does not know the platform. Several fares for one pair: the cheapest.

use std::collections::{BTreeMap, BTreeSet};

use fare::ProductIx;
use model::PlaceIx;

use crate::{
    ImportOptions,
    diagnostic::{At, Findings},
    fares_v1::{FareV1, RULES, Reach},
    network::{FeedPlace, Tables},
};

/// The gate places, and their fares row by row.
pub(crate) struct Matrix {
    pub(crate) places: Vec<PlaceIx>,
    pub(crate) cells: Vec<Option<ProductIx>>,
}

/// The cheapest fare by zone pair; an empty zone is any zone.
struct ZoneFares<'f> {
    fares: &'f [FareV1],
    pairs: BTreeMap<(&'f str, &'f str), usize>,
    named: BTreeSet<&'f str>,
}

impl<'f> ZoneFares<'f> {
    fn new(fares: &'f [FareV1]) -> Self {
        let mut pairs: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        let mut named = BTreeSet::new();
        for (i, fare) in fares.iter().enumerate() {
            let Reach::Zones(zones) = &fare.reach else { continue };
            for (origin, destination, _) in zones {
                let cheapest = pairs.entry((origin, destination)).or_insert(i);
                if fare.price.minor() < fares[*cheapest].price.minor() {
                    *cheapest = i;
                }
                named.extend([origin.as_str(), destination.as_str()]);
            }
        }
        Self { fares, pairs, named }
    }

    fn fare(&self, origin: &str, destination: &str) -> Option<usize> {
        let ways = [(origin, destination), (origin, ""), ("", destination), ("", "")];
        let found = ways.iter().filter_map(|way| self.pairs.get(way).copied());
        found.min_by_key(|i| self.fares[*i].price.minor())
    }

    /// Whether any rule can price this zone.
    fn names(&self, zone: &str) -> bool {
        self.named.contains("") || self.named.contains(zone)
    }
}

/// Whether a place is priced by zones at all.
pub(crate) fn is_zoned(place: &FeedPlace, fares: &[FareV1]) -> bool {
    let zones = fares.iter().filter_map(|fare| match &fare.reach {
        Reach::Zones(zones) => Some(zones),
        Reach::Everywhere | Reach::Routes(_) => None,
    });
    zones.flatten().any(|(origin, destination, _)| {
        [origin, destination].iter().any(|zone| zone.is_empty() || place.zones.contains(*zone))
    })
}

/// The table between `gated` places.
pub(crate) fn matrix(
    tables: &Tables,
    fares: &[FareV1],
    gated: &[u16],
    options: &ImportOptions,
    found: &mut Findings,
) -> Matrix {
    let zone_fares = ZoneFares::new(fares);
    check_aliases(tables, &zone_fares, options, found);
    let zones: Vec<Vec<&str>> = gated
        .iter()
        .map(|ix| live_zones(&tables.places[usize::from(*ix)], &zone_fares, options, found))
        .collect();
    let mut cells = Vec::with_capacity(gated.len() * gated.len());
    for (from, from_zones) in gated.iter().zip(&zones) {
        for (to, to_zones) in gated.iter().zip(&zones) {
            let ways = from_zones.iter().flat_map(|from| to_zones.iter().map(move |to| (from, to)));
            let mut answers: Vec<_> = ways.map(|(from, to)| zone_fares.fare(from, to)).collect();
            answers.sort_unstable();
            answers.dedup();
            let prices: BTreeSet<_> =
                answers.iter().map(|i| i.map(|i| fares[i].price.minor())).collect();
            if prices.len() > 1 {
                let place = &tables.places[usize::from(*from)];
                let message = format!(
                    "the zones of {:?} and {:?} disagree on their fare: a gate does not know the \
                     platform, so give all zones of a station the same fares",
                    place.name,
                    tables.places[usize::from(*to)].name
                );
                found.error(
                    "zones_disagree",
                    At::field("stops.txt", place.row, "zone_id"),
                    message,
                );
            }
            let product = answers.first().copied().flatten();
            cells.push(product.and_then(|i| u16::try_from(i).ok()).map(ProductIx));
        }
    }
    Matrix { places: gated.iter().copied().map(PlaceIx).collect(), cells }
}

/// The zones that price a place, after aliases; zones that no rule names are noted.
fn live_zones<'t>(
    place: &'t FeedPlace,
    fares: &ZoneFares<'_>,
    options: &'t ImportOptions,
    found: &mut Findings,
) -> Vec<&'t str> {
    let alias = |zone: &'t String| {
        let target = options.zone_aliases.iter().find(|(from, _)| from == zone);
        target.map_or(zone.as_str(), |(_, to)| to.as_str())
    };
    let zones: BTreeSet<&str> = place.zones.iter().map(alias).collect();
    let (live, dead): (Vec<&str>, Vec<&str>) =
        zones.into_iter().partition(|zone| fares.names(zone));
    for zone in dead {
        let at = At::field("stops.txt", place.row, "zone_id");
        let message = match live.as_slice() {
            [] => format!(
                "zone {zone:?} of {:?} is in no fare rule: its fares are unknown, taps there are \
                 refused; name a zone to borrow from (alias {zone}=…) or add rules",
                place.name
            ),
            others => format!(
                "zone {zone:?} of {:?} is in no fare rule: the station is priced by its {}",
                place.name,
                others.join(", ")
            ),
        };
        found.warning("zone_without_fare", at, message);
    }
    live
}

fn check_aliases(
    tables: &Tables,
    fares: &ZoneFares<'_>,
    options: &ImportOptions,
    found: &mut Findings,
) {
    for (from, to) in &options.zone_aliases {
        let known = tables.places.iter().any(|place| place.zones.contains(from));
        let message = if !known {
            format!("alias {from}={to}: no stop is in zone {from:?}")
        } else if fares.names(from) {
            format!("alias {from}={to}: zone {from:?} has fare rules of its own")
        } else if fares.names(to) {
            let message = format!("zone {from:?} is priced as zone {to:?}, as the alias says");
            found.warning("zone_alias", At::file(RULES), message);
            continue;
        } else {
            format!("alias {from}={to}: zone {to:?} is in no fare rule")
        };
        found.error("zone_alias", At::file(RULES), message);
    }
}
