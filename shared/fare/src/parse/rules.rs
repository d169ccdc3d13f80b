//! The sections of leg and transfer rules, as an import of Fares v2 writes them.

use alloc::{format, sync::Arc, vec, vec::Vec};

use model::{Currency, ServiceDate};

use crate::{
    Class, Place, Route, TariffParts, TariffRules,
    document::{Findings, Section},
    rules::{
        AreaIx, DurationSpan, JoinRule, LegRule, NetworkIx, RuleMedium, RuleProduct, RuleRider,
        RuleRoute, RuleSet, RuleStop, Service, StopIx, TimeRow, Timeframe, TransferKind,
        TransferRule, Variant, ZoneOffsets,
    },
};

use super::{
    Names, Top, list,
    terms::{self, DAY_WORDS},
};

/// Words of the spans and kinds of transfer rules, in the order of GTFS.
pub(crate) const SPANS: [(DurationSpan, &str); 4] = [
    (DurationSpan::DepartureToArrival, "departure-arrival"),
    (DurationSpan::DepartureToDeparture, "departure-departure"),
    (DurationSpan::ArrivalToDeparture, "arrival-departure"),
    (DurationSpan::ArrivalToArrival, "arrival-arrival"),
];
pub(crate) const KINDS: [(TransferKind, &str); 3] = [
    (TransferKind::InsteadOfNext, "instead-of-next"),
    (TransferKind::BesidesNext, "besides-next"),
    (TransferKind::InsteadOfBoth, "instead-of-both"),
];

/// The names that rules refer to.
struct Known<'n> {
    names: &'n terms::Known<'n>,
    media: Names,
    areas: Names,
    networks: Names,
    services: Names,
    frames: Names,
    fares: Names,
}

/// `None` when the tariff has no leg rules.
pub(super) fn rules(
    top: &Top<'_>,
    found: &mut Findings,
    names: &terms::Known<'_>,
    parts: &TariffParts,
) -> Option<TariffRules> {
    if !top.with("leg").has("leg") {
        return None;
    }
    let declared = |what| Names::declared(top, what);
    let known = Known {
        names,
        media: declared("medium"),
        areas: declared("area"),
        networks: declared("route_network"),
        services: declared("service"),
        frames: declared("timeframe"),
        fares: declared("fare"),
    };
    let media = list(top, found, "medium", &["id", "name"], |at, found| {
        let (id, name) = super::id_and_name(at, found)?;
        Some(RuleMedium { id: id.as_str().into(), name: name.as_str().into() })
    });
    let products = list(top, found, "fare", &["id", "name", "prices"], |at, found| {
        fare(at, found, &known, parts.currency)
    });
    let areas = members(top, found, "area", "places", names.places);
    let networks = members(top, found, "route_network", "routes", names.routes);
    let keys = ["id", "days", "first", "last", "added", "removed"];
    let services = list(top, found, "service", &keys, service);
    let timeframes =
        list(top, found, "timeframe", &["id", "rows"], |at, found| timeframe(at, found, &known));
    let leg_rules = list(top, found, "leg", &LEG_KEYS, |at, found| leg(at, found, &known));
    let join_rules =
        list(top, found, "join", &["from", "to", "at"], |at, found| join(at, found, &known));
    let transfer_rules =
        list(top, found, "leg_transfer", &TRANSFER_KEYS, |at, found| transfer(at, found, &known));
    let has_priority = top.with("leg_priority").flag(found, "leg_priority", false)?;
    let medium = named(top.with("card_medium"), found, "card_medium", &known.media)?;
    let leg_groups = names.groups.in_order(leg_group_count(&leg_rules, &transfer_rules, top));
    let set = RuleSet {
        currency: parts.currency,
        zones: vec![parts.terms.calendar.clock.clone().unwrap_or_else(|| ZoneOffsets::fixed(0))],
        riders: riders(&parts.classes),
        media,
        products,
        networks: networks.iter().map(|(id, _)| Arc::clone(id)).collect(),
        areas: areas.iter().map(|(id, _)| Arc::clone(id)).collect(),
        stops: stops(&parts.places, &areas),
        routes: routes(&parts.routes, &networks),
        timeframes,
        services,
        leg_groups,
        has_priority,
        leg_rules,
        join_rules,
        transfer_rules,
    };
    Some(TariffRules { set: Arc::new(set), medium })
}

/// An id, and the places or routes that belong to it.
type Members = (Arc<str>, Vec<u16>);

fn members(
    top: &Top<'_>,
    found: &mut Findings,
    section: &'static str,
    key: &'static str,
    names: &Names,
) -> Vec<Members> {
    list(top, found, section, &["id", key], |at, found| {
        let id = at.text(found, "id");
        let members = indexes(at, found, key, names);
        Some((Arc::from(id?), members?))
    })
}

fn timeframe(at: &Section<'_>, found: &mut Findings, known: &Known<'_>) -> Option<Timeframe> {
    let id = at.text(found, "id");
    let mut rows = Vec::new();
    for row in at.list(found, "rows") {
        row.check_keys(&["from_s", "to_s", "service"], found);
        let (start_s, end_s) = (row.uint(found, "from_s", 86_400), row.uint(found, "to_s", 86_400));
        let service = named(&row, found, "service", &known.services)?;
        rows.push(TimeRow { start_s: start_s?, end_s: end_s?, service });
    }
    Some(Timeframe { id: id?.into(), rows })
}

const LEG_KEYS: [&str; 11] = [
    "group",
    "network",
    "from",
    "to",
    "from_time",
    "to_time",
    "fare",
    "priority",
    "transfer_only",
    "dead",
    "row",
];

fn leg(at: &Section<'_>, found: &mut Findings, known: &Known<'_>) -> Option<LegRule> {
    at.text(found, "fare")?;
    Some(LegRule {
        group: named(at, found, "group", known.names.groups)?,
        network: named(at, found, "network", &known.networks)?.map(NetworkIx),
        from: named(at, found, "from", &known.areas)?.map(AreaIx),
        to: named(at, found, "to", &known.areas)?.map(AreaIx),
        from_time: named(at, found, "from_time", &known.frames)?,
        to_time: named(at, found, "to_time", &known.frames)?,
        product: named(at, found, "fare", &known.fares)??,
        priority: at.opt_uint(found, "priority", u32::MAX).unwrap_or(0),
        transfer_only: at.flag(found, "transfer_only", false)?,
        dead: at.flag(found, "dead", false)?,
        row: at.opt_uint(found, "row", u32::MAX).unwrap_or(0),
    })
}

fn join(at: &Section<'_>, found: &mut Findings, known: &Known<'_>) -> Option<JoinRule> {
    let places = indexes(at, found, "at", known.names.places)?;
    let stops = match places[..] {
        [from, to] => Some((StopIx(from.into()), StopIx(to.into()))),
        [] => None,
        _ => {
            at.note(found, "at", "is no pair", "write the two places, or leave it out");
            return None;
        }
    };
    Some(JoinRule {
        from: named(at, found, "from", &known.networks)?.map(NetworkIx),
        to: named(at, found, "to", &known.networks)?.map(NetworkIx),
        stops,
    })
}

/// The first groups are leg groups; how many is written, as an unused one is in no rule.
fn leg_group_count(legs: &[LegRule], transfers: &[TransferRule], top: &Top<'_>) -> usize {
    let said = top.with("leg_groups").opt_uint(&mut Findings::default(), "leg_groups", 255);
    let used = legs.iter().filter_map(|rule| rule.group);
    let used = used.chain(transfers.iter().flat_map(|rule| [rule.from, rule.to]).flatten());
    let used = used.map(|group| usize::from(group) + 1).max().unwrap_or(0);
    used.max(said.map_or(0, |said| said as usize))
}

/// The categories of a tariff as riders; the first is the default one.
pub(crate) fn riders(classes: &[Class]) -> Vec<RuleRider> {
    let rider = |(i, class): (usize, &Class)| RuleRider {
        id: class.id.as_str().into(),
        name: class.name.as_str().into(),
        is_default: i == 0,
    };
    classes.iter().enumerate().map(rider).collect()
}

fn stops(places: &[Place], areas: &[Members]) -> Vec<RuleStop> {
    let stop = |(i, place): (u32, &Place)| {
        let of = |(area, (_, places)): (u16, &Members)| {
            places.iter().any(|ix| u32::from(*ix) == i).then_some(AreaIx(area))
        };
        RuleStop {
            id: Arc::clone(&place.id),
            name: Arc::clone(&place.name),
            station: StopIx(i),
            areas: (0..).zip(areas).filter_map(of).collect(),
            zone: 0,
        }
    };
    (0..).zip(places).map(stop).collect()
}

fn routes(routes: &[Route], networks: &[Members]) -> Vec<RuleRoute> {
    let route = |(i, route): (u16, &Route)| {
        let of = |(_, (_, routes)): &(u16, &Members)| routes.contains(&i);
        RuleRoute {
            id: Arc::clone(&route.id),
            name: Arc::clone(&route.name),
            network: (0..).zip(networks).find(of).map(|(network, _)| NetworkIx(network)),
        }
    };
    (0..).zip(routes).map(route).collect()
}

fn fare(
    at: &Section<'_>,
    found: &mut Findings,
    known: &Known<'_>,
    currency: Currency,
) -> Option<RuleProduct> {
    let id = at.text(found, "id");
    let name = at.opt_text(found, "name").or(id);
    let mut variants = Vec::new();
    for row in at.list(found, "prices") {
        row.check_keys(&["class", "medium", "price"], found);
        variants.push(Variant {
            rider: named(&row, found, "class", known.names.classes)?,
            medium: named(&row, found, "medium", &known.media)?,
            amount: row.money(found, "price", currency)?,
        });
    }
    Some(RuleProduct { id: id?.into(), name: name?.into(), variants })
}

fn service(at: &Section<'_>, found: &mut Findings) -> Option<Service> {
    at.text(found, "id")?;
    let words = at.opt_texts(found, "days").unwrap_or_default();
    let mut weekdays = [false; 7];
    for word in words {
        let Some(ix) = DAY_WORDS[..7].iter().position(|known| *known == word) else {
            let message = format!("unknown day {word:?}");
            at.note(found, "days", message, format!("use {}", DAY_WORDS[..7].join(", ")));
            return None;
        };
        weekdays[ix] = true;
    }
    let mut edge = |key: &str| match at.opt_text(found, key) {
        None => Some(None),
        Some(text) => terms::date(at, found, key, text).map(Some),
    };
    let period = edge("first")?.zip(edge("last")?);
    let mut dates = |key: &str| -> Option<_> {
        let texts = at.opt_texts(found, key).unwrap_or_default();
        let date = |text: &str| terms::date(at, found, key, text);
        texts.into_iter().map(date).collect::<Option<alloc::collections::BTreeSet<ServiceDate>>>()
    };
    Some(Service { weekdays, period, added: dates("added")?, removed: dates("removed")? })
}

const TRANSFER_KEYS: [&str; 10] =
    ["from", "to", "count", "limit_s", "span", "kind", "fare", "holding", "dead", "row"];

fn transfer(at: &Section<'_>, found: &mut Findings, known: &Known<'_>) -> Option<TransferRule> {
    let limit_s = at.opt_uint(found, "limit_s", 65_534);
    let span = word(at, found, "span", "departure-departure", &SPANS)?;
    Some(TransferRule {
        from: named(at, found, "from", known.names.groups)?,
        to: named(at, found, "to", known.names.groups)?,
        count: at.opt_uint(found, "count", 1000),
        limit: limit_s.map(|limit_s| (limit_s, span)),
        kind: word(at, found, "kind", "instead-of-next", &KINDS)?,
        product: named(at, found, "fare", &known.fares)?,
        holding: named(at, found, "holding", &known.fares)?,
        dead: at.flag(found, "dead", false)?,
        row: at.opt_uint(found, "row", u32::MAX).unwrap_or(0),
    })
}

fn word<T: Copy>(
    at: &Section<'_>,
    found: &mut Findings,
    key: &str,
    missing: &str,
    known: &[(T, &str)],
) -> Option<T> {
    let word = at.opt_text(found, key).unwrap_or(missing);
    let meant = known.iter().find(|(_, known)| *known == word).map(|(meant, _)| *meant);
    if meant.is_none() {
        let words: Vec<&str> = known.iter().map(|(_, word)| *word).collect();
        at.note(found, key, format!("unknown word {word:?}"), format!("use {}", words.join(", ")));
    }
    meant
}

/// What a key names: `Some(None)` when it is not written, `None` when there is no such thing.
#[expect(clippy::option_option, reason = "absent and wrong are two answers")]
fn named(at: &Section<'_>, found: &mut Findings, key: &str, names: &Names) -> Option<Option<u16>> {
    match at.opt_text(found, key) {
        None => Some(None),
        Some(id) => names.find(found, at, key, id).map(Some),
    }
}

fn indexes(at: &Section<'_>, found: &mut Findings, key: &str, names: &Names) -> Option<Vec<u16>> {
    let ids = at.opt_texts(found, key).unwrap_or_default();
    ids.iter().map(|id| names.find(found, at, key, id)).collect()
}
