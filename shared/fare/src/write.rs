//! Tariff → its one canonical text. Parsing the text gives an equal tariff; equal tariffs give
//! the same bytes, so that texts can be compared, signed and read as a diff.

mod rules;
mod terms;

use alloc::{format, string::String, vec::Vec};
use core::fmt::{self, Write as _};

use model::Money;

use crate::{
    ExamplePurse, ExampleRide, GroupIx, NotPassed, PlaceKind, ProductIx, Tariff, TransferPrice,
    UnknownFare, parse::FORMAT,
};

impl Tariff {
    /// The canonical text.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        write_all(self, &mut out).expect("writing to a string cannot fail");
        out
    }
}

fn write_all(tariff: &Tariff, out: &mut String) -> fmt::Result {
    let parts = &tariff.parts;
    writeln!(out, "# Tapline tariff: every rule that prices a tap.")?;
    writeln!(out, "format = {FORMAT}")?;
    writeln!(out, "version = {}", parts.version)?;
    writeln!(out, "network = {}", Text(&parts.network))?;
    writeln!(out, "timezone = {}", Text(&parts.timezone))?;
    writeln!(out, "currency = {}", Text(parts.currency.letters()))?;
    writeln!(out, "pass_back_s = {}", parts.pass_back_s)?;
    writeln!(out, "groups = {}", list(parts.groups.iter().map(String::as_str)))?;
    terms::write_head(&parts.terms, out)?;
    rules::write_head(tariff, out)?;
    for operator in &parts.operators {
        let (id, name) = (Text(&operator.id), Text(&operator.name));
        writeln!(out, "\n[[operator]]\nid = {id}\nname = {name}")?;
    }
    for class in &parts.classes {
        let (id, name) = (Text(&class.id), Text(&class.name));
        writeln!(out, "\n[[class]]\nid = {id}\nname = {name}")?;
    }
    for product in &parts.products {
        let (id, name) = (Text(&product.id), Text(&product.name));
        let price = Amount(product.price);
        writeln!(out, "\n[[product]]\nid = {id}\nname = {name}\nprice = {price}")?;
        let own = product.prices.iter().map(|(class, price)| {
            let id = parts.classes.get(usize::from(class.0)).map_or("", |class| &class.id);
            format!("{} = {}", Text(id), Amount(*price))
        });
        let own: Vec<String> = own.collect();
        if !own.is_empty() {
            writeln!(out, "prices = {{ {} }}", own.join(", "))?;
        }
    }
    write_places(tariff, out)?;
    write_routes(tariff, out)?;
    write_transfers(tariff, out)?;
    write_gate(tariff, out)?;
    terms::write_terms(tariff, out)?;
    rules::write_rules(tariff, out)?;
    write_examples(tariff, out)
}

fn write_places(tariff: &Tariff, out: &mut String) -> fmt::Result {
    for place in &tariff.parts.places {
        let kind = match place.kind {
            PlaceKind::Station => "station",
            PlaceKind::Stop => "stop",
        };
        writeln!(out, "\n[[place]]\nid = {}\nname = {}", Text(&place.id), Text(&place.name))?;
        let (lat, lon) = (Degrees(place.lat_e6), Degrees(place.lon_e6));
        writeln!(out, "lat = {lat}\nlon = {lon}\nkind = {}", Text(kind))?;
    }
    Ok(())
}

fn write_routes(tariff: &Tariff, out: &mut String) -> fmt::Result {
    for route in &tariff.parts.routes {
        let operator = &tariff.parts.operators[usize::from(route.operator.0)];
        writeln!(out, "\n[[route]]\nid = {}\nname = {}", Text(&route.id), Text(&route.name))?;
        writeln!(out, "mode = {}\noperator = {}", Text(route.mode.word()), Text(&operator.id))?;
        writeln!(out, "group = {}", Text(group(tariff, route.group)))?;
        if let Some(ix) = route.product {
            writeln!(out, "product = {}", Text(&tariff.product(ix).id))?;
        }
    }
    Ok(())
}

fn write_transfers(tariff: &Tariff, out: &mut String) -> fmt::Result {
    for transfer in &tariff.parts.transfers {
        let names = |side: &[GroupIx]| list(side.iter().map(|ix| group(tariff, *ix)));
        writeln!(out, "\n[[transfer]]\nid = {}", Text(&transfer.id))?;
        writeln!(out, "from = {}\nto = {}", names(&transfer.from), names(&transfer.to))?;
        writeln!(out, "limit_s = {}", transfer.limit_s)?;
        if let Some(legs_max) = transfer.legs_max {
            writeln!(out, "legs_max = {legs_max}")?;
        }
        match transfer.price {
            TransferPrice::Free => writeln!(out, "price = \"free\"")?,
            TransferPrice::Difference => writeln!(out, "price = \"difference\"")?,
            TransferPrice::Fixed(price) => writeln!(out, "price = {}", Amount(price))?,
        }
    }
    Ok(())
}

fn write_gate(tariff: &Tariff, out: &mut String) -> fmt::Result {
    let Some(gate) = &tariff.parts.gate else { return Ok(()) };
    writeln!(out, "\n[gate]\ngroup = {}", Text(group(tariff, gate.group)))?;
    if let Some(limit_s) = gate.journey_limit_s {
        writeln!(out, "journey_limit_s = {limit_s}")?;
    }
    if let Some(fare) = gate.maximum_fare {
        writeln!(out, "maximum_fare = {}", Amount(fare))?;
    }
    if let Some(balance) = gate.minimum_balance {
        writeln!(out, "minimum_balance = {}", Amount(balance))?;
    }
    let unknown = match gate.unknown {
        UnknownFare::Refuse => "refuse",
        UnknownFare::MaximumFare => "maximum_fare",
    };
    writeln!(out, "unknown = {}", Text(unknown))?;
    match gate.not_passed {
        // What was never written need not be: old tariffs keep their text.
        NotPassed::Charge => {}
        NotPassed::LetInAgain { within_s } => {
            writeln!(out, "not_passed = \"let-in-again\"\nagain_within_s = {within_s}")?;
        }
        NotPassed::GiveBack => writeln!(out, "not_passed = \"give-back\"")?,
    }
    let bands = gate.same_station.iter().map(|band| {
        let price = band.price.map_or_else(|| "\"maximum\"".into(), |p| format!("{}", Amount(p)));
        let counts = if band.counts_to_caps { "" } else { ", counts_to_caps = false" };
        format!("{{ within_s = {}, price = {price}{counts} }}", band.within_s)
    });
    let bands: Vec<String> = bands.collect();
    match bands.as_slice() {
        [] => {}
        [band] => writeln!(out, "same_station = {band}")?,
        _ => writeln!(out, "same_station = [{}]", bands.join(", "))?,
    }
    if gate.places.is_empty() {
        return Ok(()); // rules price what is between the taps
    }
    let ids = || gate.places.iter().map(|ix| &*tariff.parts.places[usize::from(ix.0)].id);
    writeln!(out, "\n# Rows are tap-in, columns tap-out; \"-\" is unknown, which is not free.")?;
    writeln!(out, "[matrix]\nto = {}", list(ids()))?;
    writeln!(out, "\n[matrix.from]")?;
    let cell = |cell: &Option<ProductIx>| cell.map_or("-", |ix| &*tariff.product(ix).id);
    for (id, row) in ids().zip(gate.cells.chunks(gate.places.len().max(1))) {
        writeln!(out, "{} = {}", Text(id), list(row.iter().map(cell)))?;
    }
    Ok(())
}

fn write_examples(tariff: &Tariff, out: &mut String) -> fmt::Result {
    let parts = &tariff.parts;
    for example in &parts.examples {
        writeln!(out, "\n[[example]]")?;
        let place = |ix: model::PlaceIx| Text(&tariff.parts.places[usize::from(ix.0)].id);
        let route = |ix: model::RouteIx| Text(&tariff.parts.routes[usize::from(ix.0)].id);
        match example.ride {
            ExampleRide::Gate { from, to } => {
                writeln!(out, "from = {}\nto = {}", place(from), place(to))?;
            }
            ExampleRide::Flat(ix) => writeln!(out, "route = {}", route(ix))?,
        }
        let riders = example.companions.iter().map(|(class, count)| {
            let id = &parts.classes[usize::from(class.0)].id;
            format!("{} = {count}", Text(id))
        });
        let riders: Vec<String> = riders.collect();
        if !riders.is_empty() {
            writeln!(out, "companions = {{ {} }}", riders.join(", "))?;
        }
        if let Some((ix, after_s)) = example.after {
            writeln!(out, "after = {}\nafter_s = {after_s}", route(ix))?;
        }
        writeln!(out, "price = {}", Amount(example.price))?;
        if let Some(ExamplePurse { on, debit }) = example.purse {
            let (letters, debit) = (Text(debit.currency().letters()), Amount(debit));
            writeln!(out, "purse = {{ currency = {letters}, on = \"{on}\", debit = {debit} }}")?;
        }
    }
    Ok(())
}

fn group(tariff: &Tariff, ix: GroupIx) -> &str {
    &tariff.parts.groups[usize::from(ix.0)]
}

fn list<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<_> = texts.map(|text| format!("{}", Text(text))).collect();
    format!("[{}]", quoted.join(", "))
}

/// A TOML basic string.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                c if c.is_control() => write!(f, "\\u{:04X}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

struct Amount(Money);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.decimal())
    }
}

struct Degrees(i32);

impl fmt::Display for Degrees {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let micro = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:06}", micro / 1_000_000, micro % 1_000_000)
    }
}
