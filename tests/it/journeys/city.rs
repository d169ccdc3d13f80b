//! Random cities. What a check needs to know of one is kept as plain numbers beside the text that
//! the tariff is read from, so that no check asks the code under test.

use std::fmt::Write as _;

use fare::{Tariff, TariffSet};
use tapline_tests::sim::dice::Dice;

use super::purse::Rates;

/// Fare groups, by their index in the tariff.
pub(crate) const BUS: u8 = 0;
pub(crate) const METRO: u8 = 1;
pub(crate) const FERRY: u8 = 2;
/// Rider categories.
pub(crate) const CLASSES: [&str; 3] = ["adult", "child", "senior"];
/// Stations, then stops; places 0 to 2 have gates.
const PLACES: [&str; 5] = ["A", "B", "C", "s1", "s2"];
/// The service day begins at this hour, local time.
pub(crate) const DAY_STARTS: i8 = 4;

/// Berlin's clock around the nights of 2026-10-25 and 2027-03-28: seconds east of UTC.
const CLOCK: &str = "[clock]\nfirst_s = 7200\nchanges = [[1792890000, 3600], [1806195600, 7200]]\n";

/// A tariff, or two of which the second comes into force during a journey.
pub(crate) struct City {
    pub(crate) texts: Vec<String>,
    pub(crate) set: TariffSet,
    pub(crate) sketches: Vec<Sketch>,
}

/// What a version charges, as numbers.
#[derive(Default)]
pub(crate) struct Sketch {
    /// Bus and ferry, by category.
    pub(crate) flat: [[i64; 3]; 2],
    /// From station to station, by category; `None` has no fare.
    pub(crate) gate: [[Option<[i64; 3]>; 3]; 3],
    pub(crate) maximum: Option<i64>,
    /// Stays at one station: up to so many seconds, and whether their price counts to caps.
    pub(crate) stays: Vec<(u64, bool)>,
    /// Adjustments whose surcharge does not count towards caps.
    pub(crate) uncounted: Vec<String>,
    pub(crate) caps: Vec<Cap>,
    /// Whether discounts or surcharges change a fare.
    pub(crate) adjusts: bool,
    /// Whether a charge may take a card below zero.
    pub(crate) dips: bool,
    /// Purses in other currencies.
    pub(crate) exchanges: Vec<Rates>,
}

/// A cap.
pub(crate) struct Cap {
    pub(crate) period: Period,
    pub(crate) classes: Vec<u8>,
    pub(crate) levels: Vec<Level>,
}

/// How long it counts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Period {
    Day,
    /// From this weekday, 0 = Monday.
    Week(i64),
    Month,
    Rolling(i64),
}

/// How wide.
pub(crate) struct Level {
    pub(crate) groups: Vec<u8>,
    pub(crate) places: Vec<u16>,
    pub(crate) price: i64,
}

impl City {
    pub(crate) fn new(dice: &mut Dice) -> Self {
        let versions = if dice.chance(300) { 2 } else { 1 };
        let written: Vec<(String, Sketch)> =
            (1..=versions).map(|version| Sketch::draw(version, dice)).collect();
        let (texts, sketches): (Vec<String>, Vec<Sketch>) = written.into_iter().unzip();
        let read = |text: &String| {
            Tariff::parse(text).unwrap_or_else(|found| panic!("{found:#?}\n{text}"))
        };
        let mut tariffs = texts.iter().map(read);
        let mut set = TariffSet::new(tariffs.next().unwrap());
        tariffs.for_each(|tariff| set.insert(tariff).unwrap());
        Self { texts, set, sketches }
    }
}

/// Two decimals.
fn decimal(minor: i64) -> String {
    format!("{}{}.{:02}", if minor < 0 { "-" } else { "" }, minor.abs() / 100, minor.abs() % 100)
}

fn cents(dice: &mut Dice, low: u64, high: u64) -> i64 {
    i64::try_from(dice.between(low, high)).unwrap()
}

/// A list of some of these, most often of none, which means all.
fn some<'a>(dice: &mut Dice, per_mille: u32, all: &[&'a str]) -> Vec<&'a str> {
    if !dice.chance(per_mille) {
        return vec![];
    }
    let chosen: Vec<&str> = all.iter().copied().filter(|_| dice.chance(500)).collect();
    if chosen.is_empty() { vec![all[dice.index(all.len())]] } else { chosen }
}

pub(crate) fn one<'a>(dice: &mut Dice, all: &[&'a str]) -> &'a str {
    all[dice.index(all.len())]
}

fn indexes<T: TryFrom<usize>>(chosen: &[&str], all: &[&str]) -> Vec<T> {
    let index = |id: &&str| all.iter().position(|known| known == id);
    chosen.iter().filter_map(index).filter_map(|ix| T::try_from(ix).ok()).collect()
}

const GROUPS: [&str; 3] = ["bus", "metro", "ferry"];

impl Sketch {
    fn draw(version: u32, dice: &mut Dice) -> (String, Self) {
        let mut sketch = Self::default();
        let mut text = format!(
            "format = 1\nversion = {version}\nnetwork = \"Random\"\ntimezone = \"Europe/Berlin\"\n\
             currency = \"EUR\"\npass_back_s = {}\nday_starts = \"{DAY_STARTS:02}:00\"\n\
             holidays = [\"2026-12-25\", \"2027-03-26\", \"2027-03-29\"]\n\
             groups = [\"bus\", \"metro\", \"ferry\"]\n\
             operator = [{{ id = \"op\", name = \"Operator\" }}]\n",
            [0, 60][dice.index(2)]
        );
        if dice.chance(300) {
            sketch.dips = true;
            writeln!(text, "dip = \"{}\"", decimal(cents(dice, 0, 300))).unwrap();
        }
        for class in CLASSES {
            writeln!(text, "[[class]]\nid = \"{class}\"").unwrap();
        }
        for (id, kind) in PLACES.iter().zip(["station", "station", "station", "stop", "stop"]) {
            writeln!(
                text,
                "[[place]]\nid = \"{id}\"\nname = \"{id}\"\nlat = 1\nlon = 2\nkind = \"{kind}\""
            )
            .unwrap();
        }
        sketch.fares(&mut text, dice);
        times(&mut text, dice);
        transfers(&mut text, dice);
        sketch.adjustments(&mut text, dice);
        let interchange = dice.chance(500);
        if interchange {
            let [from, to] = [(); 2].map(|()| some(dice, 1000, &PLACES[..3]));
            let within = [600, 3600][dice.index(2)];
            writeln!(
                text,
                "[[interchange]]\nid = \"walk\"\nfrom = {from:?}\nto = {to:?}\n\
                 within_s = {within}"
            )
            .unwrap();
        }
        let caps = dice.below(if interchange { 4 } else { 5 });
        (0..caps).for_each(|n| sketch.cap(&mut text, n, dice));
        if dice.chance(500) {
            let routes = if dice.chance(500) { "routes = [\"7\"]\n" } else { "" };
            let time = if dice.chance(500) { "time = \"peak\"\n" } else { "" };
            writeln!(text, "[[pass]]\nnumber = 12\nname = \"School\"\n{routes}{time}").unwrap();
        }
        if dice.chance(700) {
            let classes = some(dice, 300, &CLASSES);
            let most = dice.between(1, 15);
            writeln!(text, "[companions]\nriders_max = {most}\nclasses = {classes:?}").unwrap();
        }
        sketch.exchanges = Rates::draw(&mut text, dice);
        text.push_str(CLOCK);
        sketch.adjusts = text.contains("[[adjust]]");
        (text, sketch)
    }

    fn fares(&mut self, text: &mut String, dice: &mut Dice) {
        self.flat = [product(text, "bus", dice), product(text, "ferry", dice)];
        let gates = ["g0", "g1", "g2", "g3"].map(|id| product(text, id, dice));
        for (id, mode, group) in [("7", "bus", "bus"), ("8", "bus", "bus"), ("F", "ferry", "ferry")]
        {
            writeln!(
                text,
                "[[route]]\nid = \"{id}\"\nname = \"{id}\"\nmode = \"{mode}\"\n\
                 operator = \"op\"\ngroup = \"{group}\"\nproduct = \"{group}\""
            )
            .unwrap();
        }
        text.push_str(
            "[[route]]\nid = \"M\"\nname = \"M\"\nmode = \"subway\"\noperator = \"op\"\n\
             group = \"metro\"\n",
        );
        self.gates(text, gates, dice);
    }

    fn gates(&mut self, text: &mut String, gates: [[i64; 3]; 4], dice: &mut Dice) {
        let mut rows = String::new();
        for (from, id) in PLACES.iter().enumerate().take(3) {
            let cell = |to: usize| {
                if from != to && dice.chance(100) {
                    return "\"-\"".to_owned();
                }
                let n = dice.index(4);
                self.gate[from][to] = Some(gates[n]);
                format!("\"g{n}\"")
            };
            let cells: Vec<String> = (0..3).map(cell).collect();
            writeln!(rows, "{id} = [{}]", cells.join(", ")).unwrap();
        }
        text.push_str("[gate]\ngroup = \"metro\"\n");
        writeln!(text, "journey_limit_s = {}", [7200, 14_400][dice.index(2)]).unwrap();
        if dice.chance(500) {
            // Below the dearest fare, not tapping out would pay.
            let dearest = gates.iter().flatten().max().unwrap();
            let maximum = dearest + cents(dice, 0, 300);
            self.maximum = Some(maximum);
            writeln!(text, "maximum_fare = \"{}\"", decimal(maximum)).unwrap();
        }
        if dice.chance(500) {
            text.push_str("unknown = \"maximum_fare\"\n");
        }
        // No stay at one station costs more than the maximum fare from there.
        let of_row = |row: &[Option<[i64; 3]>; 3]| {
            let dearest = |class: usize| row.iter().flatten().map(|p| p[class]).max().unwrap_or(0);
            (0..3).map(dearest).min().unwrap_or(0)
        };
        let least = self.gate.iter().map(of_row).min().unwrap_or(0);
        let stay = self.maximum.unwrap_or(least).min(300).unsigned_abs();
        let bands: Vec<String> = (0..dice.below(3))
            .map(|n| {
                let price =
                    if dice.chance(300) { "maximum".into() } else { decimal(cents(dice, 0, stay)) };
                let counts = dice.chance(500);
                let within = [300, 1800][usize::try_from(n).unwrap()];
                self.stays.push((within, counts));
                format!("{{ within_s = {within}, price = \"{price}\", counts_to_caps = {counts} }}")
            })
            .collect();
        if !bands.is_empty() {
            writeln!(text, "same_station = [{}]", bands.join(", ")).unwrap();
        }
        write!(text, "[matrix]\nto = [\"A\", \"B\", \"C\"]\n[matrix.from]\n{rows}").unwrap();
    }

    fn cap(&mut self, text: &mut String, n: u64, dice: &mut Dice) {
        const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        let (words, period) = match dice.below(4) {
            0 => ("period = \"day\"".to_owned(), Period::Day),
            1 => {
                let first = dice.index(7);
                let words = format!("period = \"week\"\nweek_starts = \"{}\"", DAYS[first]);
                (words, Period::Week(i64::try_from(first).unwrap()))
            }
            2 => ("period = \"month\"".to_owned(), Period::Month),
            _ => {
                let days = cents(dice, 1, 5);
                (format!("period = \"rolling\"\ndays = {days}"), Period::Rolling(days))
            }
        };
        let classes = some(dice, 300, &CLASSES);
        let (mut price, mut levels, mut lines) = (cents(dice, 0, 500), vec![], vec![]);
        for _ in 0..dice.between(1, 3) {
            let groups = some(dice, 500, &GROUPS);
            let places = some(dice, 300, &PLACES);
            lines.push(format!(
                "{{ groups = {groups:?}, places = {places:?}, price = \"{}\" }}",
                decimal(price)
            ));
            let (groups, places) = (indexes(&groups, &GROUPS), indexes(&places, &PLACES));
            levels.push(Level { groups, places, price });
            price += cents(dice, 0, 500);
        }
        writeln!(
            text,
            "[[cap]]\nnumber = {}\nid = \"cap{n}\"\n{words}\nclasses = {classes:?}\nlevels = [{}]",
            n + 1,
            lines.join(", ")
        )
        .unwrap();
        self.caps.push(Cap { period, classes: indexes(&classes, &CLASSES), levels });
    }
}

/// A product and its price for each category.
fn product(text: &mut String, id: &str, dice: &mut Dice) -> [i64; 3] {
    let price = cents(dice, 0, 600);
    let (mut prices, mut own) = ([price; 3], vec![]);
    for (class, of_class) in CLASSES.iter().zip(&mut prices) {
        if dice.chance(250) {
            *of_class = cents(dice, 0, 600);
            own.push(format!("{class} = \"{}\"", decimal(*of_class)));
        }
    }
    writeln!(text, "[[product]]\nid = \"{id}\"\nprice = \"{}\"", decimal(price)).unwrap();
    if !own.is_empty() {
        writeln!(text, "prices = {{ {} }}", own.join(", ")).unwrap();
    }
    prices
}

fn times(text: &mut String, dice: &mut Dice) {
    let from = dice.between(0, 20);
    let to = dice.between(from + 1, 24);
    let dates = if dice.chance(300) { "first = \"2026-10-25\"\n" } else { "" };
    writeln!(
        text,
        "[[time]]\nid = \"peak\"\ndays = [\"mon\", \"tue\", \"wed\", \"thu\", \"fri\"]\n\
         from = \"{from:02}:00\"\nto = \"{to:02}:00\"\n\
         [[time]]\nid = \"free\"\ndays = [\"sat\", \"sun\", \"holiday\"]\n{dates}"
    )
    .unwrap();
}

fn transfers(text: &mut String, dice: &mut Dice) {
    for n in 0..dice.below(3) {
        let price = ["free", "difference", "0.50"][dice.index(3)];
        let legs = if dice.chance(500) { "legs_max = 3\n" } else { "" };
        // Two rules may not hold for the same change.
        let (from, to) = if n == 0 { ("bus", "metro") } else { ("metro", "bus") };
        writeln!(
            text,
            "[[transfer]]\nid = \"change{n}\"\nfrom = [\"{from}\", \"ferry\"]\nto = [\"{to}\"]\n\
             limit_s = {}\nprice = \"{price}\"\n{legs}",
            [1800, 7200][dice.index(2)]
        )
        .unwrap();
    }
}

impl Sketch {
    fn adjustments(&mut self, text: &mut String, dice: &mut Dice) {
        for n in 0..dice.below(5) {
            let classes = some(dice, 400, &CLASSES);
            let groups = some(dice, 300, &GROUPS);
            let routes = some(dice, 150, &["7", "8", "F"]);
            let places = some(dice, 200, &PLACES);
            let time = ["", "", "time = \"peak\"\n", "time = \"free\"\n"][dice.index(4)];
            let change = if dice.chance(600) {
                let percent = cents(dice, 0, 150) - 100;
                let rounding = one(dice, &["up", "down", "half-up", "half-even"]);
                let unit = one(dice, &["0.01", "0.05", "0.10", "0.50"]);
                format!("percent = {percent}\nrounding = \"{rounding}\"\nunit = \"{unit}\"")
            } else {
                format!("amount = \"{}\"", decimal(cents(dice, 0, 300) - 150))
            };
            let counts = dice.chance(500);
            if !counts {
                self.uncounted.push(format!("adjust{n}"));
            }
            writeln!(
                text,
                "[[adjust]]\nid = \"adjust{n}\"\nclasses = {classes:?}\ngroups = {groups:?}\n\
                 routes = {routes:?}\nplaces = {places:?}\n{time}{change}\n\
                 counts_to_caps = {counts}"
            )
            .unwrap();
        }
    }
}
