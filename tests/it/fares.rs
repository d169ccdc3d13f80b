//! Whole feeds: every station pair costs what the feed's own tables say, read independently of
//! the importer; the invented city is sound.
//!
//! The real feed of Hyderabad lies outside the repository (`../shared/data/gtfs`, or the folder
//! that `TAPLINE_FEEDS` names). Where it is absent the same test runs on a feed of the same
//! shape made here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use fare::{FareTap, Journey, Tariff, TariffSet, price};
use gtfs::{Feed, Import, ImportOptions, import};
use model::{
    Companions, Money, PlaceIx, RiderClass, TapRole, TariffVersion, Timestamp, ValidatorId,
};

/// What one station pair costs by real taps; `None` when a tap is refused.
fn ride(set: &TariffSet, from: PlaceIx, to: PlaceIx) -> Option<Money> {
    let tap = |minutes: u64, role, place| FareTap {
        at: Timestamp::from_secs(1_800_000_000 + minutes * 60),
        role,
        place,
        route: None,
        class: RiderClass(0),
        companions: Companions::NONE,
        purse: None,
        validator: ValidatorId::DEPOT,
        tariff: set.newest().version(),
    };
    let entry = price(set, &Journey::default(), &tap(0, TapRole::Entry, from)).ok()?;
    assert_eq!(entry.charge.minor(), 0);
    let exit = price(set, &entry.journey_after, &tap(20, TapRole::Exit, to)).ok()?;
    assert!(exit.charge.minor() <= entry.min_balance.minor(), "entry asks for enough");
    Some(exit.charge)
}

/// Texts of a feed of Hyderabad's shape: two lines of 29 and 27 stations and an interchange
/// with two zones, one of which no rule names; one station whose zone no rule names.
pub(crate) fn made_feed() -> BTreeMap<String, String> {
    let mut stops =
        "stop_id,stop_name,stop_lat,stop_lon,zone_id,location_type,parent_station\n".to_owned();
    let mut zones = Vec::new();
    let mut lines: [Vec<String>; 2] = [Vec::new(), Vec::new()];
    for i in 0..57 {
        let line = usize::from(i > 29);
        writeln!(stops, "S{i},Station {i},17.{i:02},78.4,ignored,1,").expect("a string takes all");
        let own: &[(&str, usize)] = if i == 15 { &[("r", 0), ("g", 1)] } else { &[("", line)] };
        for (mark, line) in own {
            writeln!(stops, "P{i}{mark},Station {i},17.{i:02},78.4,Z{i}{mark},0,S{i}")
                .expect("a string takes all");
            lines[*line].push(format!("P{i}{mark}"));
            if !(i == 40 || (i, *mark) == (15, "g")) {
                zones.push((i, format!("Z{i}{mark}")));
            }
        }
    }
    let mut trips = "trip_id,route_id,service_id\n".to_owned();
    let mut times = "trip_id,stop_sequence,stop_id,departure_time\n".to_owned();
    for (line, stations) in lines.iter().enumerate() {
        writeln!(trips, "T{line},L{line},wk").expect("a string takes all");
        for (i, stop) in stations.iter().enumerate() {
            writeln!(times, "T{line},{i},{stop},06:{i:02}:00").expect("a string takes all");
        }
    }
    let prices = [12, 18, 30, 40, 50, 55, 60, 66, 70, 75];
    let mut attributes =
        "fare_id,price,currency_type,payment_method,transfers,agency_id\n".to_owned();
    for price in prices {
        writeln!(attributes, "F_{price},{price},INR,1,,X").expect("a string takes all");
    }
    let mut rules = "origin_id,destination_id,fare_id\n".to_owned();
    for (i, from) in &zones {
        for (j, to) in &zones {
            let price = prices[(i * 31 + j * 17) % prices.len()];
            writeln!(rules, "{from},{to},F_{price}").expect("a string takes all");
        }
    }
    let agency = "agency_id,agency_name,agency_timezone\nX,Made,Asia/Kolkata\n";
    let routes = "route_id,agency_id,route_short_name,route_type\nL0,X,0,1\nL1,X,1,1\n";
    [
        ("agency.txt", agency),
        ("stops.txt", &stops),
        ("routes.txt", routes),
        ("trips.txt", &trips),
        ("stop_times.txt", &times),
        ("fare_attributes.txt", &attributes),
        ("fare_rules.txt", &rules),
    ]
    .map(|(name, text)| (name.to_owned(), text.to_owned()))
    .into()
}

pub(crate) fn feeds_folder() -> PathBuf {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/gtfs");
    std::env::var_os("TAPLINE_FEEDS").map_or(beside, PathBuf::from)
}

/// The feed, its texts, and the alias for the station whose zone stands in no rule.
pub(crate) fn hyderabad() -> (Feed, BTreeMap<String, String>, (String, String)) {
    let folder = feeds_folder().join("hmrl-hyderabad");
    if folder.is_dir() {
        let text = |name: &str| {
            (name.to_owned(), fs::read_to_string(folder.join(name)).expect("the feed is complete"))
        };
        let texts = ["stops.txt", "fare_attributes.txt", "fare_rules.txt"].map(text);
        return (
            Feed::open(&folder).expect("the feed is there"),
            texts.into(),
            ("JBS".into(), "PRG".into()),
        );
    }
    let texts = made_feed();
    let feed = Feed::from_files(texts.iter().map(|(name, text)| (name.as_str(), text.as_bytes())));
    (feed, texts, ("Z40".into(), "Z41".into()))
}

/// Rows of a text table by column name, without the importer's reader.
fn rows(text: &str) -> Vec<BTreeMap<&str, &str>> {
    let mut lines = text.trim_start_matches('\u{feff}').lines();
    let header: Vec<&str> = lines.next().expect("a table has a header").split(',').collect();
    lines.map(|line| header.iter().copied().zip(fields(line)).collect()).collect()
}

/// Splits at the commas outside quotes.
fn fields(line: &str) -> Vec<&str> {
    let mut quoted = false;
    let comma = |c: char| {
        quoted ^= c == '"';
        c == ',' && !quoted
    };
    line.split(comma).collect()
}

/// `12`, `2.5` or `2.5000` in hundredths.
fn hundredths(text: &str) -> i64 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{fraction:0<2.2}").parse().expect("a price is a decimal number")
}

/// Station → zones of its platforms, and zone pair → price, straight from the texts.
pub(crate) type Tables = (BTreeMap<String, BTreeSet<String>>, BTreeMap<(String, String), i64>);

pub(crate) fn independent_reading(texts: &BTreeMap<String, String>) -> Tables {
    let mut stations: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in rows(&texts["stops.txt"]) {
        if row.get("location_type").is_none_or(|kind| ["", "0"].contains(kind)) {
            let station = row.get("parent_station").filter(|id| !id.is_empty());
            let zones = stations.entry(station.unwrap_or(&row["stop_id"]).to_string()).or_default();
            zones.insert(row["zone_id"].to_owned());
        }
    }
    let attributes = rows(&texts["fare_attributes.txt"]);
    let prices: BTreeMap<&str, i64> =
        attributes.iter().map(|row| (row["fare_id"], hundredths(row["price"]))).collect();
    let rules = rows(&texts["fare_rules.txt"]);
    let pair = |row: &BTreeMap<&str, &str>| {
        let zones = (row["origin_id"].to_owned(), row["destination_id"].to_owned());
        (zones, prices[row["fare_id"]])
    };
    (stations, rules.iter().map(pair).collect())
}

/// Rides every pair by real taps under the native text of the import, and compares. Returns how
/// many pairs have a fare and how many have none.
fn compare(tariff: &Tariff, (stations, prices): &Tables) -> (usize, usize) {
    let set = TariffSet::new(Tariff::parse(&tariff.to_toml()).expect("it reads back"));
    assert_eq!(set.newest(), tariff, "the native text holds all of it");
    let (mut known, mut unknown) = (0, 0);
    for (from, from_zones) in stations {
        for (to, to_zones) in stations {
            let of = |a: &String, b: &String| prices.get(&(a.clone(), b.clone())).copied();
            let answers: BTreeSet<i64> = from_zones
                .iter()
                .flat_map(|a| to_zones.iter().filter_map(move |b| of(a, b)))
                .collect();
            assert!(answers.len() <= 1, "{from} to {to}: {answers:?}");
            let place = |id: &str| tariff.place_ix(id).expect("every station is a place");
            let charged = ride(&set, place(from), place(to)).map(Money::minor);
            assert_eq!(charged, answers.first().copied(), "{from} to {to}");
            if charged.is_some() { known += 1 } else { unknown += 1 }
        }
    }
    (known, unknown)
}

#[test]
fn every_station_pair_costs_exactly_what_the_feeds_tables_say() {
    let (feed, texts, alias) = hyderabad();
    let mut tables = independent_reading(&texts);
    assert_eq!(tables.0.len(), 57);
    for aliased in [false, true] {
        let zone_aliases = if aliased { vec![alias.clone()] } else { Vec::new() };
        let options =
            ImportOptions { version: TariffVersion(1), zone_aliases, ..ImportOptions::default() };
        let Import { tariff, diagnostics, .. } = import(&feed, &options);
        let tariff = tariff.unwrap_or_else(|| panic!("{diagnostics:#?}"));
        for zones in tables.0.values_mut().filter(|_| aliased) {
            if zones.remove(&alias.0) {
                zones.insert(alias.1.clone());
            }
        }
        // Without the alias, one station has no fare from or to anywhere.
        let expected = if aliased { (3249, 0) } else { (3136, 113) };
        assert_eq!(compare(&tariff, &tables), expected);
        let expected = if aliased { "zone_alias" } else { "zone_without_fare" };
        assert!(diagnostics.iter().any(|d| d.code == expected), "{diagnostics:#?}");
    }
}

/// Other real feeds with fares between zones, where they are at hand; a made one always.
#[test]
fn zone_fares_of_other_feeds_are_exact_too() {
    let more = feeds_folder().join("../gtfs-more");
    let mut ridden = Vec::new();
    for name in ["bart-2018", "caltrain-2009"] {
        if !more.join(name).is_dir() {
            continue;
        }
        let text =
            |file: &str| (file.to_owned(), fs::read_to_string(more.join(name).join(file)).unwrap());
        let texts = ["stops.txt", "fare_attributes.txt", "fare_rules.txt"].map(text).into();
        ridden.push((name, Feed::open(&more.join(name)).unwrap(), independent_reading(&texts)));
    }
    let texts = made_feed();
    let feed = Feed::from_files(texts.iter().map(|(name, text)| (name.as_str(), text.as_bytes())));
    ridden.push(("made", feed, independent_reading(&texts)));
    for (name, feed, tables) in ridden {
        let options = ImportOptions { version: TariffVersion(1), ..ImportOptions::default() };
        let Import { tariff, diagnostics, .. } = import(&feed, &options);
        let tariff = tariff.unwrap_or_else(|| panic!("{name}: {diagnostics:#?}"));
        assert!(compare(&tariff, &tables).0 > 100, "{name}");
    }
}

#[test]
fn the_invented_city_is_sound_and_every_ride_in_it_has_a_price() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/city");
    let overlay = fs::read_to_string(folder.join("tariff.toml")).unwrap();
    let options = ImportOptions {
        version: TariffVersion(1),
        overlay: Some(overlay),
        ..ImportOptions::default()
    };
    let Import { tariff, network, diagnostics } =
        import(&Feed::open(&folder).expect("the feed is there"), &options);
    assert_eq!(diagnostics, []);
    let (tariff, network) = (tariff.unwrap(), network.unwrap());
    let set = TariffSet::new(tariff);
    let tariff = set.newest();
    assert_eq!((tariff.places().len(), tariff.routes().len()), (74, 8));
    let gates = &tariff.gate().unwrap().places;
    assert_eq!(gates.len(), 14);
    for from in gates {
        for to in gates {
            let won = ride(&set, *from, *to).unwrap().minor();
            assert!([1400, 1500, 1700, 1900].contains(&won), "{from} to {to}: {won}");
        }
    }
    for route in &network.routes {
        assert_eq!(route.patterns.len(), 2, "{} runs both ways", route.id);
        let flat = tariff.flat_product(route.ix).map(|product| product.price.minor());
        let expected = match route.id.as_str() {
            "L1" | "L2" => None,
            "X1" => Some(2400),
            _ => Some(1200),
        };
        assert_eq!(flat, expected, "{}", route.id);
        assert!(route.patterns.iter().all(|pattern| pattern.headway_s > 0 && pattern.trips > 20));
    }
}
