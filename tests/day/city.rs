//! The city that the day is lived in: buses, a ferry and gates, each of an operator of its own,
//! with changes, a day cap and a service day that begins at four in the morning.

use fare::{Tariff, TariffSet};
use model::{ClockQuality, PlaceIx, RouteIx, ServiceDate, TapRole, ValidatorId};
use validation::{Hotlist, Rules, ValidatorContext};

/// The service day: Thursday, 12 November 2026.
pub const DAY: ServiceDate = ServiceDate(20_769);
/// When it begins, seconds since 1970: four in the morning by the city's clock, in winter.
pub const BEGINS: u32 = 20_769 * 86_400 + 3 * 3600;
/// How long a day is.
pub const DAY_S: u32 = 86_400;
/// Stations with gates.
pub const STATIONS: u16 = 3;
/// Operators, by their numbers in the tariff: buses, ferry, metro; the port has no rides.
pub const OPERATORS: [&str; 3] = ["bus", "ferry", "metro"];

const BUS: &str = "\"1.50\"";
const TARIFF: &str = r#"
format = 1
version = 1
network = "A day in the city"
timezone = "Europe/Berlin"
currency = "EUR"
pass_back_s = 60
day_starts = "04:00"
groups = ["bus", "ferry", "metro"]
operator = [
  { id = "bus", name = "Buses" }, { id = "ferry", name = "Ferry" },
  { id = "metro", name = "Metro" }, { id = "port", name = "Port" },
]
product = [
  { id = "bus", name = "Bus single", price = "1.50" },
  { id = "sea", name = "Ferry single", price = "4.00" },
  { id = "near", name = "Near", price = "2.00" },
  { id = "far", name = "Far", price = "3.00" },
]
place = [
  { id = "A", name = "Alpha", lat = 1.5, lon = 2, kind = "station" },
  { id = "B", name = "Beta", lat = 1.6, lon = 2, kind = "station" },
  { id = "C", name = "Gamma", lat = 1.7, lon = 2, kind = "station" },
  { id = "s", name = "Stop", lat = 0, lon = 0, kind = "stop" },
  { id = "q", name = "Quay", lat = 0, lon = 0.1, kind = "stop" },
]
route = [
  { id = "7", name = "Bus 7", mode = "bus", operator = "bus", group = "bus", product = "bus" },
  { id = "F", name = "Ferry", mode = "ferry", operator = "ferry", group = "ferry",
    product = "sea" },
  { id = "M", name = "Metro", mode = "subway", operator = "metro", group = "metro" },
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

[[cap]]
number = 1
id = "day"
period = "day"
levels = [{ price = "7.00" }]

[gate]
group = "metro"
journey_limit_s = 7200
same_station = { within_s = 300, price = "0.00" }

[matrix]
to = ["A", "B", "C"]
[matrix.from]
A = ["near", "near", "far"]
B = ["near", "near", "near"]
C = ["far", "near", "near"]

[clock]
first_s = 3600
changes = []
"#;

/// How the operators share what transfers earned, and what the clearing house keeps.
pub const SHARES: &str = r#"
[[rules]]
valid_from = "2026-01-01"
transfer = "fare"
fee_per_mille = 15
fee_per_ride = "0.01"
leg = [{ operator = "ferry", shares = { ferry = 900, port = 100 } }]
"#;

/// What validators are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// On a bus.
    Bus,
    /// On the ferry.
    Ferry,
    /// At a station, inwards.
    In(u16),
    /// At a station, outwards.
    Out(u16),
}

/// The tariff in force.
pub fn tariffs() -> TariffSet {
    TariffSet::new(Tariff::parse(TARIFF).expect("the city's tariff has no faults"))
}

/// What a validator goes by that was given another table under the same version.
pub fn wrong_tariffs() -> TariffSet {
    let text = TARIFF.replacen(BUS, "\"1.80\"", 1).replacen("\"4.00\"", "\"3.70\"", 1);
    TariffSet::new(Tariff::parse(&text).expect("another price is no fault"))
}

/// What a validator of this kind knows.
pub fn context(id: ValidatorId, kind: Kind, tariffs: &TariffSet) -> ValidatorContext {
    let (role, place, route) = match kind {
        Kind::Bus => (TapRole::Board, PlaceIx(3), Some(RouteIx(0))),
        Kind::Ferry => (TapRole::Board, PlaceIx(4), Some(RouteIx(1))),
        Kind::In(station) => (TapRole::Entry, PlaceIx(station), None),
        Kind::Out(station) => (TapRole::Exit, PlaceIx(station), None),
    };
    ValidatorContext {
        id,
        role,
        place,
        route,
        tariff: tariffs.newest().version(),
        tariffs: tariffs.clone(),
        hotlist: Hotlist::default(),
        place_age_s: None,
        hotlist_version: None,
        clock: ClockQuality::Ntp,
        rules: Rules::default(),
    }
}
