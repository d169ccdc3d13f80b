//! The simulator's city: three stations, two bus stops, every rule of the tariff that moves money.

use fare::{Tariff, TariffSet};
use model::{ClockQuality, RouteIx, TapRole, ValidatorId};
use validation::{Hotlist, Rules, ValidatorContext};

/// What a day on buses alone may cost, what any day may, and what a week may.
pub const CAPS: [i64; 3] = [400, 600, 900];
/// Whoever leaves where the journey began within this time pays a fee that no cap counts.
pub const STAY_S: u64 = 300;
/// A journey through gates may last so long.
pub const JOURNEY_LIMIT_S: u64 = 7200;
/// The service day begins so many seconds after midnight UTC, in Berlin's winter.
pub const DAY_STARTS_S: u64 = 3 * 3600;

/// The maximum fare from a station, by its index.
pub const MAXIMUM: [i64; 3] = [300, 200, 300];

/// Flat buses, gates with a matrix, one free transfer, a journey limit; categories of riders with
/// discounts, caps on a day and a week, a fee for a short stay. An adult pays the plain fares.
const TARIFF: &str = r#"
format = 1
version = 1
network = "Simulated city"
timezone = "Europe/Berlin"
currency = "EUR"
pass_back_s = 0
day_starts = "04:00"
class = [{ id = "adult" }, { id = "child" }, { id = "senior" }]
time = [{ id = "off-peak", from = "09:00", to = "16:00" }]
groups = ["bus", "metro"]
operator = [{ id = "bus", name = "Bus" }, { id = "metro", name = "Metro" }]
product = [
  { id = "bus", name = "Bus single", price = "1.50" },
  { id = "near", name = "Near", price = "2.00" },
  { id = "far", name = "Far", price = "3.00" },
]
place = [
  { id = "A", name = "Alpha", lat = 1.5, lon = 2, kind = "station" },
  { id = "B", name = "Beta", lat = 1.6, lon = 2, kind = "station" },
  { id = "C", name = "Gamma", lat = 1.7, lon = 2, kind = "station" },
  { id = "s1", name = "Stop 1", lat = 0, lon = 0, kind = "stop" },
  { id = "s2", name = "Stop 2", lat = 0, lon = 0, kind = "stop" },
]
route = [
  { id = "7", name = "Bus 7", mode = "bus", operator = "bus", group = "bus", product = "bus" },
  { id = "M", name = "Metro", mode = "subway", operator = "metro", group = "metro" },
]

[[transfer]]
id = "change"
from = ["bus", "metro"]
to = ["bus", "metro"]
limit_s = 3600
legs_max = 3
price = "free"

[[adjust]]
id = "child"
classes = ["child"]
percent = -45
rounding = "half-up"
unit = "0.05"

[[adjust]]
id = "senior-off-peak"
classes = ["senior"]
time = "off-peak"
percent = -33
rounding = "down"
unit = "0.10"

[companions]
riders_max = 3

[[cap]]
number = 1
id = "day"
period = "day"
levels = [{ groups = ["bus"], price = "4.00" }, { price = "6.00" }]

[[cap]]
number = 2
id = "week"
period = "week"
levels = [{ price = "9.00" }]

[gate]
group = "metro"
journey_limit_s = 7200
same_station = [{ within_s = 300, price = "2.00", counts_to_caps = false }]

[matrix]
to = ["A", "B", "C"]
[matrix.from]
A = ["near", "near", "far"]
B = ["near", "near", "near"]
C = ["far", "near", "near"]

[clock]
first_s = 7200
changes = [[1792890000, 3600], [1806195600, 7200]]
"#;

/// What the validator at this index is: a bus, a gate inwards or a gate outwards.
pub const fn role(index: u32) -> TapRole {
    match index % 4 {
        0 | 2 => TapRole::Board,
        1 => TapRole::Entry,
        _ => TapRole::Exit,
    }
}

/// The city's only tariff.
pub fn tariffs() -> TariffSet {
    TariffSet::new(Tariff::parse(TARIFF).expect("the city's tariff has no faults"))
}

/// What the validator at this index knows.
pub fn context(index: u32, tariffs: &TariffSet) -> ValidatorContext {
    let tariff = tariffs.newest();
    let role = role(index);
    let on_bus = role == TapRole::Board;
    let places = if on_bus { ["s1", "s2", "s1"] } else { ["A", "B", "C"] };
    let place = places[usize::try_from(index / 4 % 3).expect("small")];
    ValidatorContext {
        id: id(index),
        role,
        place: tariff.place_ix(place).expect("the city has this place"),
        route: on_bus.then_some(RouteIx(0)),
        tariff: tariff.version(),
        tariffs: tariffs.clone(),
        hotlist: Hotlist::default(),
        place_age_s: None,
        hotlist_version: None,
        clock: ClockQuality::Ntp,
        rules: Rules::default(),
    }
}

/// The validator's id.
pub const fn id(index: u32) -> ValidatorId {
    ValidatorId::new(index + 1).expect("fewer than 2^24 validators")
}
