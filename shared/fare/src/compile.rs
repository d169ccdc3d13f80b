//! From tables to a tariff: every check that does not need the text, then the look-up tables.

mod exchange;
mod rules;
mod terms;

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec,
    vec::Vec,
};

use model::{
    Companions, Money, PlaceIx, ProductScope, Refusal, RiderClass, RouteIx, TapRole, Timestamp,
    ValidatorId,
};

use crate::{
    Diagnostic, Example, ExampleRide, FareRefusal, FareTap, Gate, GroupIx, Journey, Layer,
    ProductIx, Quote, Severity, Tariff, TariffParts, TariffSet, TransferPrice, price,
};

/// A penalty and a fare in one tap must fit the card's 24-bit amount.
const PRICE_MAX: i64 = (1 << 23) - 1;
/// The age of a run saturates at `u16::MAX` on the card; no limit may reach it.
const TRANSFER_LIMIT_MAX_S: u32 = 65_534;
/// Gates × gates stays a table of megabytes.
const GATE_PLACES_MAX: usize = 2048;

/// A finding about tables: the section, the entry in it, the key.
pub(crate) struct Flaw {
    pub(crate) section: &'static str,
    pub(crate) index: usize,
    pub(crate) key: &'static str,
    pub(crate) message: String,
    pub(crate) advice: String,
}

impl Tariff {
    /// Checks and compiles tables that were not read from a tariff text (an import).
    pub fn compile(parts: TariffParts) -> Result<Self, Vec<Diagnostic>> {
        compile(parts).map_err(|flaws| {
            let diagnostic = |flaw: Flaw| Diagnostic {
                severity: Severity::Error,
                layer: Layer::Tariff,
                line: None,
                key: flaw.path(),
                message: flaw.message,
                advice: flaw.advice,
            };
            flaws.into_iter().map(diagnostic).collect()
        })
    }
}

impl Flaw {
    pub(crate) fn path(&self) -> String {
        match (self.section, self.key) {
            ("", key) => key.into(),
            (section @ ("companions" | "gate" | "matrix"), "") => section.into(),
            (section @ ("companions" | "gate" | "matrix"), key) => format!("{section}.{key}"),
            (section, key) => format!("{section}[{}].{key}", self.index + 1),
        }
    }
}

pub(crate) use rules::CompiledRules;

pub(crate) fn compile(parts: TariffParts) -> Result<Tariff, Vec<Flaw>> {
    let mut flaws = Vec::new();
    check_sizes(&parts, &mut flaws);
    check_references(&parts, &mut flaws);
    if !flaws.is_empty() {
        return Err(flaws); // what follows looks things up by index
    }
    check_unique(&parts, &mut flaws);
    check_amounts(&parts, &mut flaws);
    check_fares_exist(&parts, &mut flaws);
    terms::check_terms(&parts, &mut flaws);
    exchange::check_exchanges(&parts, &mut flaws);
    let transfer_of = transfer_table(&parts, &mut flaws);
    let maximum = maximum_table(&parts, &mut flaws);
    let table = rules::compile_rules(&parts, &mut flaws);
    if !flaws.is_empty() {
        return Err(flaws);
    }
    let tariff = assemble(parts, transfer_of, maximum, table);
    check_examples(tariff)
}

fn assemble(
    parts: TariffParts,
    transfer_of: Vec<Option<u16>>,
    maximum: Vec<Option<Money>>,
    table: Option<CompiledRules>,
) -> Tariff {
    let mut gate_row = vec![None; parts.places.len()];
    for (row, place) in parts.gate.iter().flat_map(|gate| &gate.places).enumerate() {
        gate_row[usize::from(place.0)] = u16::try_from(row).ok();
    }
    let index = |i: usize| u16::try_from(i).expect("sizes were checked");
    let mut places_by_id: Vec<_> = (0..parts.places.len()).map(|i| PlaceIx(index(i))).collect();
    places_by_id
        .sort_by(|a, b| parts.places[usize::from(a.0)].id.cmp(&parts.places[usize::from(b.0)].id));
    let mut routes_by_id: Vec<_> = (0..parts.routes.len()).map(|i| RouteIx(index(i))).collect();
    routes_by_id
        .sort_by(|a, b| parts.routes[usize::from(a.0)].id.cmp(&parts.routes[usize::from(b.0)].id));
    Tariff { parts, gate_row, maximum, transfer_of, places_by_id, routes_by_id, table }
}

fn flaw(
    flaws: &mut Vec<Flaw>,
    (section, index, key): (&'static str, usize, &'static str),
    message: impl Into<String>,
    advice: impl Into<String>,
) {
    let (message, advice) = (message.into(), advice.into());
    flaws.push(Flaw { section, index, key, message, advice });
}

fn check_sizes(parts: &TariffParts, flaws: &mut Vec<Flaw>) {
    let sizes = [
        ("place", parts.places.len(), 65_534),
        ("route", parts.routes.len(), 65_534),
        ("product", parts.products.len(), 65_534),
        ("operator", parts.operators.len(), 65_534),
        ("transfer", parts.transfers.len(), 65_534),
        ("class", parts.classes.len(), 16),
        ("groups", parts.groups.len(), 255),
        ("matrix", parts.gate.as_ref().map_or(0, |gate| gate.places.len()), GATE_PLACES_MAX),
    ];
    for (section, len, most) in sizes {
        if len > most {
            let message = format!("{len} entries");
            flaw(flaws, (section, most, "id"), message, format!("at most {most} fit"));
        }
    }
    if parts.classes.is_empty() {
        flaw(flaws, ("", 0, "class"), "no rider category", "declare at least one");
    }
}

/// Indexes that lead nowhere. A tariff text cannot write them; an import could.
fn check_references(parts: &TariffParts, flaws: &mut Vec<Flaw>) {
    let place = |ix: PlaceIx| usize::from(ix.0) < parts.places.len();
    let route = |ix: RouteIx| usize::from(ix.0) < parts.routes.len();
    let group = |ix: GroupIx| usize::from(ix.0) < parts.groups.len();
    let product = |ix: ProductIx| usize::from(ix.0) < parts.products.len();
    let mut check = |at, holds: bool| {
        if !holds {
            flaw(flaws, at, "an index leads nowhere", "this is a fault of the importer: report it");
        }
    };
    for (i, r) in parts.routes.iter().enumerate() {
        let operator = usize::from(r.operator.0) < parts.operators.len();
        let known = group(r.group) && r.product.is_none_or(product) && operator;
        check(("route", i, "id"), known);
    }
    for (i, t) in parts.transfers.iter().enumerate() {
        check(("transfer", i, "id"), t.from.iter().chain(&t.to).all(|ix| group(*ix)));
    }
    if let Some(gate) = &parts.gate {
        check(("gate", 0, "group"), group(gate.group));
        check(("matrix", 0, "to"), gate.places.iter().all(|ix| place(*ix)));
        check(("matrix", 0, "from"), gate.cells.iter().flatten().all(|ix| product(*ix)));
    }
    for (i, example) in parts.examples.iter().enumerate() {
        let ride = match example.ride {
            ExampleRide::Flat(ix) => route(ix),
            ExampleRide::Gate { from, to } => place(from) && place(to),
        };
        check(("example", i, "price"), ride && example.after.is_none_or(|(ix, _)| route(ix)));
    }
}

fn check_unique(parts: &TariffParts, flaws: &mut Vec<Flaw>) {
    let lists: [(&'static str, Vec<&str>); 7] = [
        ("operator", parts.operators.iter().map(|o| o.id.as_str()).collect()),
        ("class", parts.classes.iter().map(|c| c.id.as_str()).collect()),
        ("product", parts.products.iter().map(|p| &*p.id).collect()),
        ("place", parts.places.iter().map(|p| &*p.id).collect()),
        ("route", parts.routes.iter().map(|r| &*r.id).collect()),
        ("transfer", parts.transfers.iter().map(|t| &*t.id).collect()),
        ("groups", parts.groups.iter().map(String::as_str).collect()),
    ];
    for (section, ids) in lists {
        let mut seen = BTreeSet::new();
        for (index, id) in ids.iter().enumerate() {
            if id.is_empty() || *id == "-" {
                flaw(flaws, (section, index, "id"), format!("{id:?} is no id"), "write a name");
            } else if !seen.insert(*id) {
                let message = format!("{id:?} stands here a second time");
                flaw(flaws, (section, index, "id"), message, "give each its own id");
            }
        }
    }
    let mut tags = BTreeMap::new();
    for (index, name) in parts.groups.iter().enumerate() {
        if let Some(other) = tags.insert(ProductScope::of_group(name), name)
            && other != name
        {
            let message = format!("groups {other:?} and {name:?} have one tag on cards");
            flaw(flaws, ("groups", index, "id"), message, "give one of them another name");
        }
    }
    let mut seen = BTreeSet::new();
    for place in parts.gate.iter().flat_map(|gate| &gate.places) {
        if !seen.insert(place) {
            let id = &parts.places[usize::from(place.0)].id;
            let message = format!("place {id:?} stands twice");
            flaw(flaws, ("matrix", 0, "to"), message, "list each place once");
        }
    }
}

fn check_amounts(parts: &TariffParts, flaws: &mut Vec<Flaw>) {
    let mut check = |at, amount: Option<Money>| {
        if let Some(amount) = amount
            && !(0..=PRICE_MAX).contains(&amount.minor())
        {
            let most = Money::new(PRICE_MAX, parts.currency);
            let message = format!("{amount} is out of range");
            flaw(flaws, at, message, format!("use an amount from 0 to {most}"));
        }
    };
    for (i, product) in parts.products.iter().enumerate() {
        check(("product", i, "price"), Some(product.price));
        for (_, price) in &product.prices {
            check(("product", i, "prices"), Some(*price));
        }
    }
    for (i, transfer) in parts.transfers.iter().enumerate() {
        if let TransferPrice::Fixed(price) = transfer.price {
            check(("transfer", i, "price"), Some(price));
        }
    }
    if let Some(gate) = &parts.gate {
        check(("gate", 0, "maximum_fare"), gate.maximum_fare);
        check(("gate", 0, "minimum_balance"), gate.minimum_balance);
        for band in &gate.same_station {
            check(("gate", 0, "same_station"), band.price);
        }
    }
}

fn check_fares_exist(parts: &TariffParts, flaws: &mut Vec<Flaw>) {
    let gated = parts.gate.as_ref().is_some_and(|gate| gate.cells.iter().any(Option::is_some));
    let flat = parts.routes.iter().any(|route| route.product.is_some());
    if !gated && !flat && parts.rules.is_none() {
        let advice = "give a route a product, or add [gate] and [matrix]";
        flaw(flaws, ("", 0, "route"), "the tariff holds no fare at all", advice);
    }
}

fn transfer_table(parts: &TariffParts, flaws: &mut Vec<Flaw>) -> Vec<Option<u16>> {
    let groups = parts.groups.len();
    let mut table: Vec<Option<u16>> = vec![None; groups * groups];
    for (i, transfer) in parts.transfers.iter().enumerate() {
        if !(1..=TRANSFER_LIMIT_MAX_S).contains(&transfer.limit_s) {
            let advice = format!("use 1 to {TRANSFER_LIMIT_MAX_S} seconds");
            let message = format!("{} is out of range", transfer.limit_s);
            flaw(flaws, ("transfer", i, "limit_s"), message, advice);
        }
        if transfer.legs_max.is_some_and(|legs| !(2..=15).contains(&legs)) {
            let advice = "use 2 to 15 rides, or leave the key out for no limit";
            flaw(flaws, ("transfer", i, "legs_max"), "out of range", advice);
        }
        for (from, to) in
            transfer.from.iter().flat_map(|from| transfer.to.iter().map(move |to| (from, to)))
        {
            let cell = &mut table[usize::from(from.0) * groups + usize::from(to.0)];
            if let Some(earlier) = *cell {
                let name = |group: &GroupIx| &parts.groups[usize::from(group.0)];
                let message = format!(
                    "{:?} to {:?} is already in {:?}",
                    name(from),
                    name(to),
                    parts.transfers[usize::from(earlier)].id
                );
                let advice = "keep each pair of groups in one transfer";
                flaw(flaws, ("transfer", i, "to"), message, advice);
            }
            *cell = u16::try_from(i).ok();
        }
    }
    table
}

/// Row by row, and in each row class by class.
fn maximum_table(parts: &TariffParts, flaws: &mut Vec<Flaw>) -> Vec<Option<Money>> {
    let Some(gate) = &parts.gate else { return Vec::new() };
    let width = gate.places.len();
    if width * width != gate.cells.len() {
        let message = format!("{} fares for {width} places", gate.cells.len());
        flaw(flaws, ("matrix", 0, "from"), message, "give each place a row as long as `to`");
        return Vec::new();
    }
    let classes = || (0..=u8::MAX).map(RiderClass).take(parts.classes.len());
    let highest = |row: &[Option<ProductIx>], class| {
        let price = |ix: &ProductIx| parts.products[usize::from(ix.0)].price_for(class);
        row.iter().flatten().map(price).max_by_key(|price| price.minor())
    };
    let rows = gate.cells.chunks_exact(width.max(1));
    let rows: Vec<_> =
        rows.flat_map(|row| classes().map(move |class| highest(row, class))).collect();
    let same = gate.same_station.iter().filter_map(|band| band.price);
    let same = same.max_by_key(|price| price.minor());
    let lowest = rows.iter().flatten().map(|fare| fare.minor()).min();
    let Some(set) = gate.maximum_fare else {
        if let (Some(same), Some(lowest)) = (same, lowest)
            && same.minor() > lowest
        {
            let message = format!("{same} is above the maximum fare from some station");
            flaw(flaws, ("gate", 0, "same_station"), message, "lower it, or set maximum_fare");
        }
        return rows;
    };
    let dearest = rows.iter().flatten().chain(&same).max_by_key(|fare| fare.minor());
    if let Some(dearest) = dearest.filter(|dearest| dearest.minor() > set.minor()) {
        let message = format!("{set} is below the dearest fare {dearest}: not tapping out pays");
        let advice = "raise it, or leave the key out for the highest fare from each place";
        flaw(flaws, ("gate", 0, "maximum_fare"), message, advice);
    }
    rows.into_iter().map(|highest| highest.map(|_| set)).collect()
}

/// A tariff whose own examples do not hold is not accepted.
fn check_examples(tariff: Tariff) -> Result<Tariff, Vec<Flaw>> {
    let set = TariffSet::new(tariff);
    let mut flaws = Vec::new();
    for (i, example) in set.newest().parts.examples.iter().enumerate() {
        let advice = "correct the rules or the example";
        let mut said = |key, message| flaw(&mut flaws, ("example", i, key), message, advice);
        let quote = match example_quote(&set, i) {
            Ok(quote) => quote,
            Err(why) => {
                let purse = why.refusal() == Refusal::CurrencyNotTaken;
                let key = if purse { "purse" } else { "price" };
                said(key, format!("the rules give no price: {why}"));
                continue;
            }
        };
        let differ = |is, says| format!("the rules give {is}, the example says {says}");
        if quote.charge != example.price {
            said("price", differ(quote.charge, example.price));
        }
        if let Some(purse) = example.purse.filter(|purse| purse.debit != quote.debit) {
            said("purse", differ(quote.debit, purse.debit));
        }
    }
    if flaws.is_empty() { Ok(set.newest().clone()) } else { Err(flaws) }
}

/// The first tap of an example: at some time, or twelve hours into the service day that its purse
/// names.
fn began(tariff: &Tariff, example: &Example) -> Timestamp {
    let calendar = &tariff.terms().calendar;
    let noon_s = calendar.day_starts_s + 43_200;
    match (example.purse, &calendar.clock) {
        (Some(purse), Some(clock)) => clock.moment(purse.on, noon_s),
        (Some(_), None) | (None, _) => Timestamp::from_secs(1_000_000_000),
    }
}

/// Prices example `i` through the real taps.
fn example_quote(set: &TariffSet, i: usize) -> Result<Quote, FareRefusal> {
    let tariff = set.newest();
    let example = &tariff.parts.examples[i];
    let began = began(tariff, example);
    let tap = |after_s: u64, role, place, route| FareTap {
        at: Timestamp::from_secs(began.secs() + after_s),
        role,
        place,
        route,
        class: RiderClass(0),
        companions: Companions::NONE,
        purse: example.purse.map(|purse| purse.debit.currency()),
        validator: ValidatorId::DEPOT,
        tariff: tariff.version(),
    };
    let mut journey = Journey::default();
    let mut start_s = 0;
    if let Some((route, after_s)) = example.after {
        let first = tap(0, TapRole::Board, PlaceIx(0), Some(route));
        journey = price(set, &journey, &first)?.journey_after;
        start_s = u64::from(after_s);
    }
    match example.ride {
        ExampleRide::Flat(route) => {
            // Another vehicle, so that a pass-back window does not stand in the way.
            let validator = ValidatorId::new(1).expect("one fits");
            let second = tap(start_s, TapRole::Board, PlaceIx(0), Some(route));
            let second = FareTap { validator, companions: example.companions, ..second };
            price(set, &journey, &second)
        }
        ExampleRide::Gate { from, to } => {
            let entry = tap(start_s, TapRole::Entry, from, None);
            journey = price(set, &journey, &entry)?.journey_after;
            let same = tariff.gate().and_then(|gate: &Gate| gate.same_station.last());
            let inside_s = same.map_or(60, |same| u64::from(same.within_s) + 1);
            let exit = tap(start_s + inside_s, TapRole::Exit, to, None);
            price(set, &journey, &exit)
        }
    }
}
