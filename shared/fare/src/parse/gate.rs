//! The sections of gates: their rules, and the table of station pairs.

use alloc::{format, vec::Vec};

use model::{Currency, PlaceIx};

use crate::{
    Gate, NotPassed, ProductIx, SameStation, UnknownFare,
    document::{Findings, Section},
};

use super::{Names, Top, group};

/// `None` when there are no gates, or when something about them was noted.
pub(super) fn gate(
    top: &Top<'_>,
    found: &mut Findings,
    currency: Currency,
    (groups, products, places): (&Names, &Names, &Names),
) -> Option<Gate> {
    let rules = top.with("gate").sub(found, "gate", "gate");
    let matrix = top.with("matrix").sub(found, "matrix", "matrix");
    let (rules, matrix) = match (rules, matrix) {
        (Some(rules), Some(matrix)) => (rules, Some(matrix)),
        (None, None) => return None,
        // Leg rules price what is between the taps.
        (Some(rules), None) if top.with("leg").has("leg") => (rules, None),
        (rules, _) => {
            let (there, missing) =
                if rules.is_some() { ("gate", "matrix") } else { ("matrix", "gate") };
            let message = format!("[{there}] stands without [{missing}]");
            top.with(there).note(found, there, message, format!("add [{missing}]"));
            return None;
        }
    };
    let keys = [
        "group",
        "journey_limit_s",
        "maximum_fare",
        "minimum_balance",
        "unknown",
        "not_passed",
        "again_within_s",
        "same_station",
    ];
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
    let not_passed = not_passed(&rules, found)?;
    let same_station = same_station(&rules, found, currency)?;
    let (places, cells) = match matrix {
        Some(matrix) => matrix_cells(&matrix, found, products, places)?,
        None => Cells::default(),
    };
    Some(Gate {
        group: group?,
        journey_limit_s: rules.opt_uint(found, "journey_limit_s", 604_800),
        maximum_fare: rules.opt_money(found, "maximum_fare", currency),
        minimum_balance: rules.opt_money(found, "minimum_balance", currency),
        unknown,
        not_passed,
        same_station,
        places,
        cells,
    })
}

/// How long a rider may come back, unless said.
const AGAIN_WITHIN_S: u32 = 300;

fn not_passed(rules: &Section<'_>, found: &mut Findings) -> Option<NotPassed> {
    let within_s = rules.opt_uint(found, "again_within_s", 3_600);
    let word = rules.opt_text(found, "not_passed");
    if within_s.is_some() && word != Some("let-in-again") {
        let advice = "write not_passed = \"let-in-again\", or leave it out";
        rules.note(found, "again_within_s", "means nothing here", advice);
        return None;
    }
    match word {
        None | Some("charge") => Some(NotPassed::Charge),
        Some("let-in-again") => {
            Some(NotPassed::LetInAgain { within_s: within_s.unwrap_or(AGAIN_WITHIN_S) })
        }
        Some("give-back") => Some(NotPassed::GiveBack),
        Some(other) => {
            let message = format!("unknown answer {other:?}");
            rules.note(found, "not_passed", message, "use charge, let-in-again or give-back");
            None
        }
    }
}

/// One band, or a list of them.
fn same_station(
    rules: &Section<'_>,
    found: &mut Findings,
    currency: Currency,
) -> Option<Vec<SameStation>> {
    let bands = if rules.is_list("same_station") {
        rules.list(found, "same_station")
    } else {
        rules.sub(found, "same_station", "gate.same_station").into_iter().collect()
    };
    let band = |at: Section<'_>| {
        at.check_keys(&["within_s", "price", "counts_to_caps"], found);
        let within_s = at.uint(found, "within_s", 86_400);
        let price = match at.peek_text("price") {
            Some("maximum") => Some(None),
            Some(_) | None => at.money(found, "price", currency).map(Some),
        };
        let counts_to_caps = at.flag(found, "counts_to_caps", true);
        Some(SameStation { within_s: within_s?, price: price?, counts_to_caps: counts_to_caps? })
    };
    let mut bands = bands.into_iter().map(band).collect::<Option<Vec<_>>>()?;
    bands.sort_by_key(|band| band.within_s);
    Some(bands)
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
