//! TOML text → tariff. A second text can be laid over the first: each of its top-level sections
//! replaces the section of that name, so that an import stays untouched and the rules that GTFS
//! cannot say stand beside it.

mod exchange;
mod gate;
pub(crate) mod rules;
pub(crate) mod terms;

use alloc::{borrow::ToOwned, format, string::String, sync::Arc, vec, vec::Vec};

use model::{Companions, Currency, Money, OperatorId, PlaceIx, RiderClass, RouteIx, TariffVersion};

use crate::{
    Class, Diagnostic, Example, ExamplePurse, ExampleRide, GroupIx, Layer, MODES, Mode, Operator,
    Place, PlaceKind, Product, ProductIx, Route, Severity, Tariff, TariffParts, Terms, Transfer,
    TransferPrice,
    compile::compile,
    diagnostic::nearest,
    document::{Findings, Section, Source},
    rules::ZoneOffsets,
};

/// The version of the tariff file's own format.
pub(crate) const FORMAT: u32 = 1;

const TOP_KEYS: [&str; 39] = [
    "format",
    "version",
    "network",
    "timezone",
    "currency",
    "pass_back_s",
    "groups",
    "operator",
    "class",
    "product",
    "place",
    "route",
    "transfer",
    "gate",
    "matrix",
    "example",
    "day_starts",
    "holidays",
    "dip",
    "clock",
    "time",
    "adjust",
    "cap",
    "interchange",
    "pass",
    "companions",
    "exchange",
    "leg_groups",
    "leg_priority",
    "card_medium",
    "medium",
    "fare",
    "area",
    "route_network",
    "service",
    "timeframe",
    "leg",
    "join",
    "leg_transfer",
];

impl Tariff {
    /// Reads a tariff text. Whatever it holds, the answer is a tariff or the list of findings.
    pub fn parse(text: &str) -> Result<Self, Vec<Diagnostic>> {
        parse(&[Source::new(Layer::Tariff, text)], &|_| None)
    }

    /// The same where a time zone database is at hand: `zone` gives the clock of the time zone
    /// that the tariff names, for a text that brings none itself.
    pub fn parse_in(
        text: &str,
        overlay: Option<&str>,
        zone: &dyn Fn(&str) -> Option<ZoneOffsets>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut sources = vec![Source::new(Layer::Tariff, text)];
        sources.extend(overlay.map(|text| Source::new(Layer::Overlay, text)));
        parse(&sources, zone)
    }

    /// Reads a tariff text with another one over it: each top-level section of `overlay` replaces
    /// the section of that name.
    pub fn parse_with_overlay(text: &str, overlay: &str) -> Result<Self, Vec<Diagnostic>> {
        Self::parse_in(text, Some(overlay), &|_| None)
    }
}

type Zones<'z> = dyn Fn(&str) -> Option<ZoneOffsets> + 'z;

fn parse(sources: &[Source<'_>], zone: &Zones<'_>) -> Result<Tariff, Vec<Diagnostic>> {
    let tables: Vec<_> =
        sources.iter().map(Source::parse).collect::<Result<_, _>>().map_err(|d| vec![d])?;
    let mut found = Findings::default();
    let roots: Vec<_> =
        sources.iter().zip(&tables).map(|(source, table)| source.root(table)).collect();
    for root in &roots {
        root.check_keys(&TOP_KEYS, &mut found);
    }
    let top = Top { roots };
    let parts = read(&top, &mut found, zone).filter(|_| found.list.is_empty());
    let Some(parts) = parts else { return Err(sorted(found.list)) };
    compile(parts).map_err(|flaws| {
        let diagnostic = |flaw: crate::compile::Flaw| {
            let at = found.line_of(flaw.section, flaw.index, flaw.key);
            Diagnostic {
                severity: Severity::Error,
                layer: at.map_or(Layer::Tariff, |(layer, _)| layer),
                line: at.map(|(_, line)| line),
                key: flaw.path(),
                message: flaw.message,
                advice: flaw.advice,
            }
        };
        sorted(flaws.into_iter().map(diagnostic).collect())
    })
}

fn sorted(mut list: Vec<Diagnostic>) -> Vec<Diagnostic> {
    list.sort_by_key(|d| (d.layer, d.line));
    list
}

/// The layers, base first; a key is read from the topmost layer that has it.
struct Top<'a> {
    roots: Vec<Section<'a>>,
}

impl<'a> Top<'a> {
    fn with(&self, key: &str) -> &Section<'a> {
        let base = self.roots.first().expect("a tariff has a base layer");
        self.roots.iter().rev().find(|root| root.has(key)).unwrap_or(base)
    }
}

/// Names that entries refer to, with what they are called in messages.
struct Names {
    what: &'static str,
    ids: alloc::collections::BTreeMap<String, u16>,
}

impl Names {
    fn of<'i>(what: &'static str, ids: impl Iterator<Item = &'i str>) -> Self {
        let entry = |(i, id): (usize, &str)| (id.to_owned(), u16::try_from(i).unwrap_or(u16::MAX));
        Self { what, ids: ids.enumerate().map(entry).collect() }
    }

    /// The ids that a section declares, also of entries with faults: one fault, one finding.
    fn declared(top: &Top<'_>, what: &'static str) -> Self {
        let sections = top.with(what).list(&mut Findings::default(), what);
        Self::of(what, sections.iter().map(|section| section.peek_text("id").unwrap_or("")))
    }

    /// The first so many names, in the order in which they were declared.
    fn in_order(&self, first: usize) -> Vec<Arc<str>> {
        let mut names = vec![Arc::from(""); first];
        for (name, ix) in &self.ids {
            if let Some(place) = names.get_mut(usize::from(*ix)) {
                *place = Arc::from(name.as_str());
            }
        }
        names
    }

    fn find(&self, found: &mut Findings, at: &Section<'_>, key: &str, id: &str) -> Option<u16> {
        let ix = self.ids.get(id).copied();
        if ix.is_none() {
            let advice = nearest(id, self.ids.keys().map(String::as_str)).map_or_else(
                || format!("declare the {} or use one that is declared", self.what),
                |meant| format!("did you mean {meant:?}?"),
            );
            at.note(found, key, format!("there is no {} {id:?}", self.what), advice);
        }
        ix
    }
}

fn read(top: &Top<'_>, found: &mut Findings, zone: &Zones<'_>) -> Option<TariffParts> {
    let format = top.with("format").uint(found, "format", u32::MAX);
    if let Some(other) = format.filter(|format| *format != FORMAT) {
        let message = format!("format {other} is not known here");
        top.with("format").note(found, "format", message, format!("use format {FORMAT}"));
        return None;
    }
    let currency = currency(top.with("currency"), found)?;
    let version = top.with("version").uint(found, "version", u32::from(u16::MAX));
    let groups = top.with("groups").opt_texts(found, "groups").unwrap_or_default();
    let groups: Vec<String> = groups.into_iter().map(ToOwned::to_owned).collect();
    let group_names = Names::of("group", groups.iter().map(String::as_str));
    let [operator_names, product_names, place_names, route_names, time_names] =
        ["operator", "product", "place", "route", "time"].map(|what| Names::declared(top, what));
    let operators = list(top, found, "operator", &["id", "name"], |at, found| {
        let (id, name) = id_and_name(at, found)?;
        Some(Operator { id, name })
    });
    let classes = classes(top, found);
    let class_names = Names::of("class", classes.iter().map(|class| class.id.as_str()));
    let keys = ["id", "name", "price", "prices"];
    let products =
        list(top, found, "product", &keys, |at, found| product(at, found, &class_names, currency));
    let places = list(top, found, "place", &["id", "name", "lat", "lon", "kind"], place);
    let names = (&group_names, &operator_names, &product_names);
    let keys = ["id", "name", "mode", "operator", "group", "product"];
    let routes = list(top, found, "route", &keys, |at, found| route(at, found, names));
    let keys = ["id", "from", "to", "limit_s", "legs_max", "price"];
    let transfers = list(top, found, "transfer", &keys, |at, found| {
        transfer(at, found, &group_names, currency)
    });
    let gate = gate::gate(top, found, currency, (&group_names, &product_names, &place_names));
    let keys = ["from", "to", "route", "after", "after_s", "companions", "price", "purse"];
    let examples = list(top, found, "example", &keys, |at, found| {
        example(at, found, (&route_names, &place_names, &class_names), currency)
    });
    let text = |found: &mut Findings, key| top.with(key).text(found, key).map(ToOwned::to_owned);
    let (network, timezone) = (text(found, "network"), text(found, "timezone"));
    let pass_back_s = top.with("pass_back_s").opt_uint(found, "pass_back_s", 86_400);
    let mut parts = TariffParts {
        version: TariffVersion(u16::try_from(version?).ok()?),
        network: network?,
        timezone: timezone?,
        currency,
        pass_back_s: pass_back_s.unwrap_or_default(),
        groups,
        operators,
        classes,
        products,
        places,
        routes,
        gate,
        transfers,
        examples,
        terms: Terms::default(),
        rules: None,
    };
    let known = terms::Known {
        groups: &group_names,
        routes: &route_names,
        places: &place_names,
        classes: &class_names,
        times: &time_names,
        currency,
    };
    let zone = zone(&parts.timezone);
    parts.terms = terms::terms(top, found, &known, zone);
    parts.terms.exchanges = exchange::exchanges(top, found);
    parts.rules = rules::rules(top, found, &known, &parts);
    Some(parts)
}

fn classes(top: &Top<'_>, found: &mut Findings) -> Vec<Class> {
    let mut classes = list(top, found, "class", &["id", "name"], |at, found| {
        let (id, name) = id_and_name(at, found)?;
        Some(Class { id, name })
    });
    if classes.is_empty() {
        classes.push(Class { id: "adult".into(), name: "Adult".into() });
    }
    classes
}

fn product(
    at: &Section<'_>,
    found: &mut Findings,
    classes: &Names,
    currency: Currency,
) -> Option<Product> {
    let id = at.text(found, "id");
    let price = at.money(found, "price", currency);
    let name = at.opt_text(found, "name").or(id);
    let prices = prices(at, found, classes, currency);
    Some(Product { id: id?.into(), name: name?.into(), price: price?, prices: prices? })
}

/// What rider categories pay instead, by their ids.
fn prices(
    at: &Section<'_>,
    found: &mut Findings,
    classes: &Names,
    currency: Currency,
) -> Option<Vec<(RiderClass, Money)>> {
    let Some(own) = at.sub(found, "prices", "prices") else { return Some(Vec::new()) };
    let mut prices = Vec::new();
    for id in own.keys() {
        let class = classes.find(found, &own, id, id).and_then(|ix| u8::try_from(ix).ok());
        prices.push((RiderClass(class?), own.money(found, id, currency)?));
    }
    prices.sort_unstable_by_key(|(class, _)| *class);
    Some(prices)
}

fn list<T>(
    top: &Top<'_>,
    found: &mut Findings,
    name: &'static str,
    keys: &[&str],
    read: impl Fn(&Section<'_>, &mut Findings) -> Option<T>,
) -> Vec<T> {
    let mut entries = Vec::new();
    for section in top.with(name).list(found, name) {
        section.check_keys(keys, found);
        entries.extend(read(&section, found));
    }
    entries
}

fn currency(at: &Section<'_>, found: &mut Findings) -> Option<Currency> {
    let letters = at.text(found, "currency")?;
    let currency = Currency::parse(letters);
    if let Err(why) = &currency {
        at.note(found, "currency", format!("{why}"), "correct the code");
    }
    currency.ok()
}

fn id_and_name(at: &Section<'_>, found: &mut Findings) -> Option<(String, String)> {
    let id = at.text(found, "id")?;
    Some((id.into(), at.opt_text(found, "name").unwrap_or(id).into()))
}

fn place(at: &Section<'_>, found: &mut Findings) -> Option<Place> {
    let id = at.text(found, "id");
    let name = at.opt_text(found, "name").or(id);
    let (lat_e6, lon_e6) = (at.degrees(found, "lat", 90), at.degrees(found, "lon", 180));
    let kind = at.text(found, "kind").and_then(|word| match word {
        "station" => Some(PlaceKind::Station),
        "stop" => Some(PlaceKind::Stop),
        other => {
            at.note(found, "kind", format!("unknown kind {other:?}"), "use station or stop");
            None
        }
    });
    let (lat_e6, lon_e6) = (lat_e6?, lon_e6?);
    Some(Place { id: id?.into(), name: name?.into(), lat_e6, lon_e6, kind: kind? })
}

fn route(
    at: &Section<'_>,
    found: &mut Findings,
    (groups, operators, products): (&Names, &Names, &Names),
) -> Option<Route> {
    let id = at.text(found, "id");
    let name = at.opt_text(found, "name").or(id);
    let mode = at.text(found, "mode").and_then(|word| mode(at, found, word));
    let operator = at.text(found, "operator");
    let operator = operator.and_then(|id| operators.find(found, at, "operator", id));
    let group = group(at, found, groups);
    let product = match at.opt_text(found, "product") {
        Some(id) => Some(products.find(found, at, "product", id)?),
        None => None,
    };
    Some(Route {
        id: id?.into(),
        name: name?.into(),
        mode: mode?,
        operator: OperatorId(operator?),
        group: group?,
        product: product.map(ProductIx),
    })
}

fn mode(at: &Section<'_>, found: &mut Findings, word: &str) -> Option<Mode> {
    let mode = MODES.iter().find(|(_, w)| *w == word).map(|(mode, _)| *mode);
    if mode.is_none() {
        let words = MODES.map(|(_, word)| word).join(", ");
        at.note(found, "mode", format!("unknown mode {word:?}"), format!("use one of: {words}"));
    }
    mode
}

fn group(at: &Section<'_>, found: &mut Findings, groups: &Names) -> Option<GroupIx> {
    let id = at.text(found, "group")?;
    let ix = groups.find(found, at, "group", id)?;
    u8::try_from(ix).ok().map(GroupIx)
}

fn transfer(
    at: &Section<'_>,
    found: &mut Findings,
    groups: &Names,
    currency: Currency,
) -> Option<Transfer> {
    let id = at.text(found, "id");
    let limit_s = at.uint(found, "limit_s", u32::MAX);
    let legs_max = at.opt_uint(found, "legs_max", 255).and_then(|n| u8::try_from(n).ok());
    let mut side = |key: &str| {
        let names = at.texts(found, key)?;
        let ix = |id: &&str| {
            groups.find(found, at, key, id).and_then(|ix| u8::try_from(ix).ok()).map(GroupIx)
        };
        names.iter().map(ix).collect::<Option<Vec<_>>>()
    };
    let (from, to) = (side("from"), side("to"));
    let price = match at.peek_text("price") {
        Some("free") => Some(TransferPrice::Free),
        Some("difference") => Some(TransferPrice::Difference),
        Some(_) | None => at.money(found, "price", currency).map(TransferPrice::Fixed),
    };
    let (from, to) = (from?, to?);
    Some(Transfer { id: id?.into(), from, to, limit_s: limit_s?, legs_max, price: price? })
}

fn example(
    at: &Section<'_>,
    found: &mut Findings,
    (routes, places, classes): (&Names, &Names, &Names),
    currency: Currency,
) -> Option<Example> {
    let price = at.money(found, "price", currency);
    let mut find = |names: &Names, key: &str| {
        let id = at.opt_text(found, key)?;
        names.find(found, at, key, id)
    };
    let (from, to) = (find(places, "from").map(PlaceIx), find(places, "to").map(PlaceIx));
    let (route, after) = (find(routes, "route").map(RouteIx), find(routes, "after").map(RouteIx));
    let ride = match (from, to, route) {
        (Some(from), Some(to), None) => ExampleRide::Gate { from, to },
        (None, None, Some(route)) => ExampleRide::Flat(route),
        _ => {
            let found_keys = [from.is_some(), to.is_some(), route.is_some()];
            let dangling = ["from", "to", "route"].into_iter().zip(found_keys);
            if dangling.into_iter().all(|(key, resolved)| resolved == at.has(key)) {
                let advice = "write from and to, or route";
                at.note(found, "price", "the example rides nothing or twice", advice);
            }
            return None;
        }
    };
    let after = match after {
        Some(route) => Some((route, at.uint(found, "after_s", u32::MAX)?)),
        None => None,
    };
    let companions = companions(at, found, classes)?;
    if !companions.is_empty() && !matches!(ride, ExampleRide::Flat(_)) {
        let advice = "at gates each rider passes alone: leave companions out";
        at.note(found, "companions", "the example rides through gates", advice);
        return None;
    }
    let purse = example_purse(at, found)?;
    Some(Example { ride, after, companions, price: price?, purse })
}

/// `Some(None)` = the purse is in the tariff's currency; `None` = it was not understood.
#[expect(clippy::option_option, reason = "absent and wrong are two answers")]
fn example_purse(at: &Section<'_>, found: &mut Findings) -> Option<Option<ExamplePurse>> {
    let Some(own) = at.sub(found, "purse", "purse") else {
        return (!at.has("purse")).then_some(None);
    };
    own.check_keys(&["currency", "on", "debit"], found);
    let on = own.date_text(found, "on").and_then(|text| terms::date(&own, found, "on", &text));
    let currency = currency(&own, found)?;
    let debit = own.money(found, "debit", currency);
    Some(Some(ExamplePurse { on: on?, debit: debit? }))
}

/// Who comes along, by the ids of their categories.
fn companions(at: &Section<'_>, found: &mut Findings, classes: &Names) -> Option<Companions> {
    let Some(own) = at.sub(found, "companions", "companions") else {
        return (!at.has("companions")).then_some(Companions::NONE);
    };
    let mut riders = Vec::new();
    for id in own.keys() {
        let class = classes.find(found, &own, id, id).and_then(|ix| u8::try_from(ix).ok());
        let count = own.uint(found, id, Companions::RIDERS_MAX.into());
        riders.push((RiderClass(class?), u8::try_from(count?).ok()?));
    }
    let companions = Companions::new(riders);
    if let Err(why) = companions {
        at.note(found, "companions", format!("{why}"), "name fewer");
    }
    companions.ok()
}
