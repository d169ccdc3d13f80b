//! Tables: one line of input per tap, one line of answer, so that every rule has its row.

mod companions;
mod exchange;
mod prices;
mod products;
mod properties;
mod rules;
mod terms;
mod texts;

use alloc::{string::String, vec::Vec};
use core::fmt::Write as _;

use expect_test::Expect;
use model::{
    Companions, PlaceIx, ProductsFound, RiderClass, TariffVersion, Timestamp, ValidatorId,
};

use crate::{FareTap, Journey, Tariff, TariffSet, price};

/// Three stations and two stops, two flat routes, gates, and every rule once.
pub(crate) const CITY: &str = r#"
format = 1
version = 1
network = "Test"
timezone = "Europe/Berlin"
currency = "EUR"
pass_back_s = 60
groups = ["bus", "metro", "ferry"]
operator = [{ id = "op", name = "Operator" }]
product = [
  { id = "bus", name = "Bus single", price = "1.50" },
  { id = "ferry", name = "Ferry single", price = "4.00" },
  { id = "near", price = "2.00" },
  { id = "far", price = "3.00" },
]
place = [
  { id = "A", name = "Alpha", lat = 1.5, lon = 2, kind = "station" },
  { id = "B", name = "Beta", lat = 1.6, lon = 2, kind = "station" },
  { id = "C", name = "Gamma", lat = 1.7, lon = -2.1234567, kind = "station" },
  { id = "s1", name = "Stop 1", lat = 0, lon = 0, kind = "stop" },
  { id = "s2", name = "Stop 2", lat = 0, lon = 0, kind = "stop" },
]
route = [
  { id = "7", name = "Bus 7", mode = "bus", operator = "op", group = "bus", product = "bus" },
  { id = "F", name = "Ferry", mode = "ferry", operator = "op", group = "ferry", product = "ferry" },
  { id = "M", name = "Metro", mode = "subway", operator = "op", group = "metro" },
]

[[transfer]]
id = "change"
from = ["bus", "metro"]
to = ["bus", "metro"]
limit_s = 3600
legs_max = 3
price = "free"

[[transfer]]
id = "to-ferry"
from = ["bus", "metro"]
to = ["ferry"]
limit_s = 3600
price = "difference"

[[transfer]]
id = "from-ferry"
from = ["ferry"]
to = ["bus"]
limit_s = 1800
price = "0.50"

[gate]
group = "metro"
journey_limit_s = 7200
same_station = { within_s = 300, price = "0.00" }

[matrix]
to = ["A", "B", "C"]
[matrix.from]
A = ["near", "near", "far"]
B = ["near", "near", "-"]
C = ["far", "-", "near"]

[[example]]
from = "A"
to = "C"
price = "3.00"

[[example]]
after = "7"
after_s = 3600
from = "A"
to = "C"
price = "0"
"#;

pub(crate) fn city() -> Tariff {
    Tariff::parse(CITY).unwrap_or_else(|found| panic!("{found:#?}"))
}

/// Rides one card through lines of `H:MM:SS role place [route] [vN] [@validator]`.
pub(crate) fn ride(set: &TariffSet, script: &str) -> String {
    ride_with(set, None, script)
}

/// The same with products on the card.
pub(crate) fn ride_with(set: &TariffSet, held: Option<ProductsFound>, script: &str) -> String {
    let mut journey = Journey::default().holding(held);
    let mut out = String::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let version =
            words.iter().find_map(|w| w.strip_prefix('v')).map_or(1, |v| v.parse().unwrap());
        let validator =
            words.iter().find_map(|w| w.strip_prefix('@')).map_or(9, |v| v.parse().unwrap());
        let tariff = set.get(TariffVersion(version)).unwrap();
        let clock: Vec<u64> = words[0].split(':').map(|n| n.parse().unwrap()).collect();
        let tap = FareTap {
            at: Timestamp::from_secs(1_800_000_000 + clock[0] * 3600 + clock[1] * 60 + clock[2]),
            role: words[1].parse().unwrap(),
            place: tariff.place_ix(words[2]).unwrap_or(PlaceIx(999)),
            route: words.get(3).and_then(|id| tariff.route_ix(id)),
            class: RiderClass(0),
            companions: Companions::NONE,
            purse: None,
            validator: ValidatorId::new(validator).unwrap(),
            tariff: TariffVersion(version),
        };
        match price(set, &journey, &tap) {
            Ok(quote) => {
                writeln!(out, "{line} => {} (needs {})", quote.charge, quote.min_balance).unwrap();
                for step in &quote.steps {
                    writeln!(
                        out,
                        "    {:>6} {}: {}",
                        step.amount.decimal(),
                        step.rule,
                        step.text()
                    )
                    .unwrap();
                }
                if !quote.used.is_none() {
                    writeln!(out, "    used {:?}", quote.used).unwrap();
                }
                if let Some(run) = quote.run_after {
                    writeln!(out, "    run {run:?}").unwrap();
                }
                journey = quote.journey_after;
            }
            Err(why) => writeln!(out, "{line} => {}: {why}", why.refusal().word()).unwrap(),
        }
    }
    wrapped(&out)
}

pub(crate) fn check(script: &str, expected: &Expect) {
    expected.assert_eq(&ride(&TariffSet::new(city()), script));
}

/// Long lines broken at spaces, so that a snapshot fits the page.
pub(super) fn wrapped(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let mut width = 0;
        for (i, word) in line.split(' ').enumerate() {
            if i > 0 && width + word.chars().count() > 80 {
                width = indent + 4;
                write!(out, "\n{:width$}", "").unwrap();
            } else if i > 0 {
                out.push(' ');
            }
            out.push_str(word);
            width += word.chars().count() + 1;
        }
        out.push('\n');
    }
    out
}
