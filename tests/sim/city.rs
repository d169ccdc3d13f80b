//! The simulator's city: three stations, two bus stops, every rule of the tariff that moves money.

use fare::{Tariff, TariffSet};
use model::{ClockQuality, RouteIx, TapRole, ValidatorId};
use validation::{Hotlist, Rules, ValidatorContext};

/// Flat buses, gates with a matrix, one free transfer, a journey limit.
const TARIFF: &str = r#"
format = 1
version = 1
network = "Simulated city"
timezone = "Europe/Berlin"
currency = "EUR"
pass_back_s = 0
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

[gate]
group = "metro"
journey_limit_s = 7200

[matrix]
to = ["A", "B", "C"]
[matrix.from]
A = ["near", "near", "far"]
B = ["near", "near", "near"]
C = ["far", "near", "near"]
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
        clock: ClockQuality::Ntp,
        rules: Rules::default(),
    }
}

/// The validator's id.
pub const fn id(index: u32) -> ValidatorId {
    ValidatorId::new(index + 1).expect("fewer than 2^24 validators")
}
