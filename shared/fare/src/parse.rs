//! TOML text → tariff. A second text can be laid over the first: each of its top-level sections
//! replaces the section of that name, so that an import stays untouched and the rules that GTFS
//! cannot say stand beside it.

use alloc::{borrow::ToOwned, format, string::String, vec, vec::Vec};

use model::{Currency, OperatorId, PlaceIx, RouteIx, TariffVersion};

use crate::{
    Class, Diagnostic, Example, ExampleRide, Gate, GroupIx, Layer, MODES, Mode, Operator, Place,
    PlaceKind, Product, ProductIx, Route, SameStation, Severity, Tariff, TariffParts, Transfer,
    TransferPrice, UnknownFare,
    compile::compile,
    diagnostic::nearest,
    document::{Findings, Section, Source},
};

/// The version of the tariff file's own format.
pub(crate) const FORMAT: u32 = 1;

const TOP_KEYS: [&str; 16] = [
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
];

impl Tariff {
    /// Reads a tariff text. Whatever it holds, the answer is a tariff or the list of findings.
    pub fn parse(text: &str) -> Result<Self, Vec<Diagnostic>> {
        parse(&[Source::new(Layer::Tariff, text)])
    }

    /// Reads a tariff text with another one over it: each top-level section of `overlay` replaces
    /// the section of that name.
    pub fn parse_with_overlay(text: &str, overlay: &str) -> Result<Self, Vec<Diagnostic>> {
        parse(&[Source::new(Layer::Tariff, text), Source::new(Layer::Overlay, overlay)])
    }
}

fn parse(sources: &[Source<'_>]) -> Result<Tariff, Vec<Diagnostic>> {
    let tables: Vec<_> =
        sources.iter().map(Source::parse).collect::<Result<_, _>>().map_err(|d| vec![d])?;
    let mut found = Findings::default();
    let roots: Vec<_> =
        sources.iter().zip(&tables).map(|(source, table)| source.root(table)).collect();
    for root in &roots {
        root.check_keys(&TOP_KEYS, &mut found);
    }
    let top = Top { roots };
    let parts = read(&top, &mut found).filter(|_| found.list.is_empty());
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

fn read(top: &Top<'_>, found: &mut Findings) -> Option<TariffParts> {
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
    let [operator_names, product_names, place_names, route_names] =
        ["operator", "product", "place", "route"].map(|what| Names::declared(top, what));
    let operators = list(top, found, "operator", &["id", "name"], |at, found| {
        let (id, name) = id_and_name(at, found)?;
        Some(Operator { id, name })
    });
    let mut classes = list(top, found, "class", &["id", "name"], |at, found| {
        let (id, name) = id_and_name(at, found)?;
        Some(Class { id, name })
    });
    if classes.is_empty() {
        classes.push(Class { id: "adult".into(), name: "Adult".into() });
    }
    let products = list(top, found, "product", &["id", "name", "price"], |at, found| {
        let id = at.text(found, "id");
        let price = at.money(found, "price", currency);
        let name = at.opt_text(found, "name").or(id);
        Some(Product { id: id?.into(), name: name?.into(), price: price? })
    });
    let places = list(top, found, "place", &["id", "name", "lat", "lon", "kind"], place);
    let names = (&group_names, &operator_names, &product_names);
    let keys = ["id", "name", "mode", "operator", "group", "product"];
    let routes = list(top, found, "route", &keys, |at, found| route(at, found, names));
    let keys = ["id", "from", "to", "limit_s", "legs_max", "price"];
    let transfers = list(top, found, "transfer", &keys, |at, found| {
        transfer(at, found, &group_names, currency)
    });
    let gate = gate(top, found, currency, (&group_names, &product_names, &place_names));
    let keys = ["from", "to", "route", "after", "after_s", "price"];
    let examples = list(top, found, "example", &keys, |at, found| {
        example(at, found, &route_names, &place_names, currency)
    });
    let text = |found: &mut Findings, key| top.with(key).text(found, key).map(ToOwned::to_owned);
    let (network, timezone) = (text(found, "network"), text(found, "timezone"));
    Some(TariffParts {
        version: TariffVersion(u16::try_from(version?).ok()?),
        network: network?,
        timezone: timezone?,
        currency,
        pass_back_s: top
            .with("pass_back_s")
            .opt_uint(found, "pass_back_s", 86_400)
            .unwrap_or_default(),
        groups,
        operators,
        classes,
        products,
        places,
        routes,
        gate,
        transfers,
        examples,
    })
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

/// `None` when there are no gates, or when something about them was noted.
fn gate(
    top: &Top<'_>,
    found: &mut Findings,
    currency: Currency,
    (groups, products, places): (&Names, &Names, &Names),
) -> Option<Gate> {
    let rules = top.with("gate").sub(found, "gate", "gate");
    let matrix = top.with("matrix").sub(found, "matrix", "matrix");
    let (rules, matrix) = match (rules, matrix) {
        (Some(rules), Some(matrix)) => (rules, matrix),
        (None, None) => return None,
        (rules, _) => {
            let (there, missing) =
                if rules.is_some() { ("gate", "matrix") } else { ("matrix", "gate") };
            let message = format!("[{there}] stands without [{missing}]");
            top.with(there).note(found, there, message, format!("add [{missing}]"));
            return None;
        }
    };
    let keys =
        ["group", "journey_limit_s", "maximum_fare", "minimum_balance", "unknown", "same_station"];
    rules.check_keys(&keys, found);
    let group = group(&rules, found, groups);
    let unknown = match rules.opt_text(found, "unknown") {
        None | Some("refuse") => UnknownFare::Refuse,
        Some("maximum_fare") => UnknownFare::MaximumFare,
        Some(other) => {
            let message = format!("unknown answer {other:?}");
            rules.note(found, "unknown", message, "use refuse or maximum_fare");
            return None;
        }
    };
    let same_station = match rules.sub(found, "same_station", "gate.same_station") {
        None => None,
        Some(same) => {
            same.check_keys(&["within_s", "price"], found);
            let within_s = same.uint(found, "within_s", 86_400);
            let price = same.money(found, "price", currency);
            Some(SameStation { within_s: within_s?, price: price? })
        }
    };
    let (places, cells) = matrix_cells(&matrix, found, products, places)?;
    Some(Gate {
        group: group?,
        journey_limit_s: rules.opt_uint(found, "journey_limit_s", 604_800),
        maximum_fare: rules.opt_money(found, "maximum_fare", currency),
        minimum_balance: rules.opt_money(found, "minimum_balance", currency),
        unknown,
        same_station,
        places,
        cells,
    })
}

type Cells = (Vec<PlaceIx>, Vec<Option<ProductIx>>);

fn matrix_cells(
    matrix: &Section<'_>,
    found: &mut Findings,
    products: &Names,
    places: &Names,
) -> Option<Cells> {
    matrix.check_keys(&["to", "from"], found);
    let to = matrix.texts(found, "to")?;
    let Some(rows) = matrix.sub(found, "from", "matrix.from") else {
        if !matrix.has("from") {
            matrix.note(found, "from", "missing", "add [matrix.from] with a row for each place");
        }
        return None;
    };
    rows.check_keys(&to, found);
    let find = |id: &&str| places.find(found, matrix, "to", id).map(PlaceIx);
    let columns = to.iter().map(find).collect::<Option<Vec<_>>>()?;
    let mut cells = Vec::with_capacity(to.len().saturating_mul(to.len()));
    for id in &to {
        let row = rows.texts(found, id)?;
        if row.len() != to.len() {
            let message = format!("{} fares for {} places", row.len(), to.len());
            rows.note(found, id, message, "write one product, or \"-\", for each place in `to`");
            return None;
        }
        for cell in row {
            let known = cell != "-";
            let product = if known { products.find(found, &rows, id, cell) } else { None };
            cells.push(product.map(ProductIx));
        }
    }
    Some((columns, cells))
}

fn example(
    at: &Section<'_>,
    found: &mut Findings,
    routes: &Names,
    places: &Names,
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
    Some(Example { ride, after, price: price? })
}
