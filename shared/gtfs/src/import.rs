//! A feed → tariff and network.

use std::collections::BTreeSet;

use fare::{
    Class, Gate, GroupIx, Operator, Place, Product, ProductIx, Route, Tariff, TariffParts, Terms,
    Transfer, TransferPrice, UnknownFare,
};
use model::{Currency, OperatorId, RouteIx, TariffVersion};

use crate::{
    Diagnostic, Feed, Network, NetworkRoute, Pattern, Severity,
    csv_table::has_rows,
    dates::zone_offsets,
    diagnostic::{At, Findings},
    fares::read_feed_fares,
    fares_v1::{ATTRIBUTES, FareV1, RULES, Reach, read_fares},
    import_rules,
    network::{Tables, read_tables},
    timetable::read_patterns,
    v2,
    zones::{is_zoned, matrix},
};

/// What the feed does not say.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// Version of the tariff that is made.
    pub version: TariffVersion,
    /// A tariff text laid over the import: each of its sections replaces the imported one.
    pub overlay: Option<String>,
    /// (zone without fare rules, zone whose fares it takes).
    pub zone_aliases: Vec<(String, String)>,
    /// Time limit of free transfers for fares that allow them without `transfer_duration`.
    pub transfer_limit_s: Option<u32>,
    /// The fare medium of Fares v2 that the card is; `None` = any.
    pub card_medium: Option<String>,
    /// Codes of findings that are understood and do not stand in the way.
    pub accept: Vec<String>,
}

/// What became of a feed.
#[derive(Debug, Clone)]
pub struct Import {
    /// The network, when agency, stops and routes could be read.
    pub network: Option<Network>,
    /// The tariff, when nothing was found wrong.
    pub tariff: Option<Tariff>,
    /// Everything found.
    pub diagnostics: Vec<Diagnostic>,
}

impl Import {
    /// Whether anything found is an error; then there is no tariff.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|d| d.severity == Severity::Error)
    }
}

/// Imports a feed.
pub fn import(feed: &Feed, options: &ImportOptions) -> Import {
    let mut found = Findings::default();
    found.accept(&options.accept);
    let tables = read_tables(feed, &mut found);
    let rules = has_rows(feed, v2::PRODUCTS) && has_rows(feed, v2::LEGS);
    let patterns = if rules && !feed.has("trips.txt") {
        vec![Vec::new(); tables.routes.len()] // its fares need no timetable
    } else {
        read_patterns(feed, &tables, &mut found)
    };
    let parts = if rules {
        rule_parts(feed, &tables, options, &mut found)
    } else {
        let fares = read_fares(feed, &tables, &mut found);
        fares.and_then(|(currency, fares)| {
            (!found.has_errors())
                .then(|| parts(&tables, &patterns, currency, &fares, options, &mut found))
        })
    };
    let mut tariff = None;
    if let Some(parts) = parts.filter(|_| !found.has_errors()) {
        match compile(parts, options) {
            Ok(compiled) => tariff = Some(compiled),
            Err(list) => list.iter().for_each(|d| note(d, &mut found)),
        }
    }
    let readable = !(tables.agencies.is_empty() || tables.places.is_empty());
    let network = readable.then(|| network(tables, patterns));
    Import { network, tariff, diagnostics: found.into_list() }
}

fn rule_parts(
    feed: &Feed,
    tables: &Tables,
    options: &ImportOptions,
    found: &mut Findings,
) -> Option<TariffParts> {
    let read = read_feed_fares(feed);
    found.add(read.diagnostics.clone());
    if found.has_errors() {
        return None;
    }
    let parts = import_rules::parts(tables, &read, options, found)?;
    let rules = parts.rules.as_ref()?;
    import_rules::note_tap_outs(tables, &rules.set, found);
    Some(parts)
}

fn compile(parts: TariffParts, options: &ImportOptions) -> Result<Tariff, Vec<fare::Diagnostic>> {
    let base = Tariff::compile(parts)?;
    match &options.overlay {
        None => Ok(base),
        Some(overlay) => Tariff::parse_in(&base.to_toml(), Some(overlay), &zone_offsets),
    }
}

fn note(finding: &fare::Diagnostic, found: &mut Findings) {
    let file = match finding.layer {
        fare::Layer::Overlay => "tariff.toml",
        fare::Layer::Tariff => ATTRIBUTES,
    };
    let row = finding.line.filter(|_| finding.layer == fare::Layer::Overlay).map(u64::from);
    let at = At { file, row, field: Some(&finding.key) };
    found.error("tariff", at, format!("{}; {}", finding.message, finding.advice));
}

fn network(tables: Tables, patterns: Vec<Vec<Pattern>>) -> Network {
    let routes = tables.routes.into_iter().zip(patterns).enumerate();
    let route = |(i, (route, patterns)): (usize, (crate::network::FeedRoute, _))| NetworkRoute {
        ix: RouteIx(u16::try_from(i).unwrap_or(u16::MAX)),
        id: route.id,
        name: route.name,
        long_name: route.long_name,
        mode: route.mode,
        color: route.color,
        patterns,
    };
    Network {
        name: tables.agencies[0].name.clone(),
        timezone: tables.agencies[0].timezone.clone(),
        routes: routes.map(route).collect(),
        stop_ids: tables.places.into_iter().map(|place| place.stop_ids).collect(),
    }
}

fn parts(
    tables: &Tables,
    patterns: &[Vec<Pattern>],
    currency: Currency,
    fares: &[FareV1],
    options: &ImportOptions,
    found: &mut Findings,
) -> TariffParts {
    let served: Vec<BTreeSet<u16>> = patterns
        .iter()
        .map(|list| list.iter().flat_map(|p| &p.places).map(|place| place.0).collect())
        .collect();
    let flat = flat_fares(tables, fares, found);
    let gated_routes: Vec<usize> = (0..tables.routes.len())
        .filter(|route| {
            let zoned = |ix: &u16| is_zoned(&tables.places[usize::from(*ix)], fares);
            served[*route].iter().any(zoned) && sold_by_zone(*route, tables, &flat, fares, found)
        })
        .collect();
    check_zone_fares(tables, fares, &gated_routes, found);
    for (i, route) in tables.routes.iter().enumerate() {
        if flat[i].is_none() && !gated_routes.contains(&i) {
            let at = At::field("routes.txt", route.row, "route_id");
            let message = format!("no fare covers route {:?}: boardings are refused", route.id);
            found.warning("route_without_fare", at, message);
        }
    }
    let mut gated: BTreeSet<u16> = gated_routes.iter().flat_map(|r| served[*r].clone()).collect();
    gated.retain(|ix| !tables.places[usize::from(*ix)].zones.is_empty());
    let gated: Vec<u16> = gated.into_iter().collect();
    let (groups, group_of_fare) = groups(fares);
    let gate = (!gated.is_empty()).then(|| {
        let matrix = matrix(tables, fares, &gated, options, found);
        Gate {
            group: GroupIx(0),
            journey_limit_s: None,
            maximum_fare: None,
            minimum_balance: None,
            unknown: UnknownFare::Refuse,
            not_passed: fare::NotPassed::Charge,
            same_station: Vec::new(),
            places: matrix.places,
            cells: matrix.cells,
        }
    });
    let route = |(i, route): (usize, &crate::network::FeedRoute)| Route {
        id: route.id.as_str().into(),
        name: route.name.as_str().into(),
        mode: route.mode,
        operator: OperatorId(route.agency),
        group: flat[i].map_or(GroupIx(0), |fare| group_of_fare[fare]),
        product: flat[i].and_then(|fare| u16::try_from(fare).ok()).map(ProductIx),
    };
    TariffParts {
        version: options.version,
        network: tables.agencies[0].name.clone(),
        timezone: tables.agencies[0].timezone.clone(),
        currency,
        pass_back_s: 0,
        operators: operators(tables),
        classes: vec![Class { id: "adult".into(), name: "Adult".into() }],
        products: fares.iter().map(product).collect(),
        places: tables.places.iter().map(place).collect(),
        routes: tables.routes.iter().enumerate().map(route).collect(),
        gate,
        transfers: transfers(fares, &flat, &group_of_fare, options, found),
        groups,
        examples: Vec::new(),
        terms: Terms::default(),
        rules: None,
    }
}

/// Fares v1 has no names: the id is made readable.
fn product(fare: &FareV1) -> Product {
    let words = fare.id.replace(['_', '-'], " ");
    let mut letters = words.chars();
    let name: String =
        letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
    Product {
        id: fare.id.as_str().into(),
        name: name.as_str().into(),
        price: fare.price,
        prices: Vec::new(),
    }
}

pub(crate) fn operators(tables: &Tables) -> Vec<Operator> {
    let operator = |agency: &crate::network::Agency| Operator {
        id: agency.id.clone(),
        name: agency.name.clone(),
    };
    tables.agencies.iter().map(operator).collect()
}

pub(crate) fn place(place: &crate::network::FeedPlace) -> Place {
    Place {
        id: place.id.as_str().into(),
        name: place.name.as_str().into(),
        lat_e6: place.lat_e6,
        lon_e6: place.lon_e6,
        kind: place.kind,
    }
}

/// Group 0 is the gates; each fare by boarding is a group of its own, because a transfer of
/// Fares v1 holds between rides on the same fare.
fn groups(fares: &[FareV1]) -> (Vec<String>, Vec<GroupIx>) {
    let taken = fares.iter().any(|fare| fare.id == "gate");
    let mut names = vec![if taken { "gate-zones" } else { "gate" }.to_owned()];
    let mut of_fare = Vec::new();
    for fare in fares {
        if matches!(fare.reach, Reach::Zones(_)) {
            of_fare.push(GroupIx(0));
        } else {
            of_fare.push(GroupIx(u8::try_from(names.len()).unwrap_or(u8::MAX)));
            names.push(fare.id.clone());
        }
    }
    (names, of_fare)
}

/// Per route, the fare of one boarding: the cheapest, when the choice cannot change a later ride.
fn flat_fares(tables: &Tables, fares: &[FareV1], found: &mut Findings) -> Vec<Option<usize>> {
    let candidates = |(i, route): (usize, &crate::network::FeedRoute)| {
        let ix = u16::try_from(i).unwrap_or(u16::MAX);
        let covers = |fare: &&usize| {
            let fare = &fares[**fare];
            let reaches = match &fare.reach {
                Reach::Everywhere => true,
                Reach::Routes(routes) => routes.contains(&ix),
                Reach::Zones(_) => false,
            };
            reaches && fare.agency.is_none_or(|agency| agency == route.agency)
        };
        let all: Vec<usize> = (0..fares.len()).collect();
        let all: Vec<usize> = all.iter().filter(covers).copied().collect();
        let cheapest = all.iter().copied().min_by_key(|fare| fares[*fare].price.minor())?;
        if let Some(other) = all.iter().find(|fare| **fare != cheapest) {
            let at = At::field("routes.txt", route.row, "route_id");
            let several = format!(
                "route {:?} is on fares {:?} and {:?}",
                route.id, fares[cheapest].id, fares[*other].id
            );
            if all.iter().all(|fare| fares[*fare].transfers == Some(0)) {
                found.warning("several_fares", at, format!("{several}: the cheapest is charged"));
            } else {
                let message = format!(
                    "{several} with transfers: which is cheaper depends on the next ride, which \
                     no validator knows; put each route on one fare"
                );
                found.error("several_fares", at, message);
            }
        }
        Some(cheapest)
    };
    tables.routes.iter().enumerate().map(candidates).collect()
}

/// Whether a route through zones is paid at gates. A route with a flat fare as well is not, if
/// the flat fare is never the dearer one; otherwise the cheaper depends on the exit.
fn sold_by_zone(
    route: usize,
    tables: &Tables,
    flat: &[Option<usize>],
    fares: &[FareV1],
    found: &mut Findings,
) -> bool {
    let Some(fare) = flat[route].map(|i| &fares[i]) else { return true };
    let zoned = fares.iter().filter(|fare| matches!(fare.reach, Reach::Zones(_)));
    if zoned.map(|fare| fare.price.minor()).min().is_some_and(|zone| zone < fare.price.minor()) {
        let at = At::field("routes.txt", tables.routes[route].row, "route_id");
        let message = format!(
            "route {:?} has the flat fare {:?} and stops in zones with cheaper fares: take its \
             stops out of the zones, or the route out of the fare",
            tables.routes[route].id, fare.id
        );
        found.error("flat_and_zone_fare", at, message);
    }
    false
}

/// What zone fares of v1 can say and gates cannot do.
fn check_zone_fares(
    tables: &Tables,
    fares: &[FareV1],
    gated_routes: &[usize],
    found: &mut Findings,
) {
    for fare in fares {
        let Reach::Zones(rows) = &fare.reach else { continue };
        // With n routes behind the gates, no pair of places needs more than n - 1 changes.
        let changes_max = gated_routes.len().saturating_sub(1);
        if fare.transfers.is_some_and(|transfers| usize::from(transfers) < changes_max) {
            let at = At::field(ATTRIBUTES, fare.row, "transfers");
            let message = "gates do not see changes behind them: leave transfers empty for fares \
                           between zones";
            found.error("zone_fare_transfers", at, message);
        }
        if fare.duration_s.is_some() {
            let at = At::field(ATTRIBUTES, fare.row, "transfer_duration");
            let message = "one fare for tapping out and in again is not held by gates: leave \
                           transfer_duration empty and write a transfer in tariff.toml";
            found.error("zone_fare_transfers", at, message);
        }
        let foreign = |route: &&usize| {
            fare.agency.is_some_and(|agency| agency != tables.routes[**route].agency)
        };
        if let Some(route) = gated_routes.iter().find(foreign) {
            let row = rows.first().map_or(0, |(.., row)| *row);
            let message = format!(
                "fare {:?} is of another agency than route {:?}: gates do not know the route",
                fare.id, tables.routes[*route].id
            );
            found.error("zone_fare_agency", At::field(RULES, row, "fare_id"), message);
        }
    }
}

fn transfers(
    fares: &[FareV1],
    flat: &[Option<usize>],
    group_of_fare: &[GroupIx],
    options: &ImportOptions,
    found: &mut Findings,
) -> Vec<Transfer> {
    let mut transfers = Vec::new();
    for (i, fare) in fares.iter().enumerate() {
        if !flat.contains(&Some(i)) || fare.transfers == Some(0) {
            continue;
        }
        let Some(limit_s) = fare.duration_s.or(options.transfer_limit_s) else {
            let at = At::field(ATTRIBUTES, fare.row, "transfer_duration");
            let message = format!(
                "fare {:?} allows transfers without a time limit: for a card that is for ever; \
                 set transfer_duration, or 0 transfers",
                fare.id
            );
            found.error("transfer_without_limit", at, message);
            continue;
        };
        if fare.duration_s.is_none() {
            let at = At::field(ATTRIBUTES, fare.row, "transfer_duration");
            let message = format!("is empty: transfers are limited to {limit_s} s by option");
            found.warning("transfer_without_limit", at, message);
        }
        transfers.push(Transfer {
            id: format!("{}-transfer", fare.id).as_str().into(),
            from: vec![group_of_fare[i]],
            to: vec![group_of_fare[i]],
            limit_s,
            legs_max: fare.transfers.map(|transfers| transfers + 1),
            price: TransferPrice::Free,
        });
    }
    transfers
}
