//! Boston's fares by hand: each journey's price is derived from rows of the feed, beside it.
//!
//! Places and routes have plain names here. On the real feed they stand for its ids; where the
//! feed is absent, and always besides, a made feed of the same shape has the plain names as ids:
//! transfer-only rows, a timeframe group that does not exist, products by medium, limits from
//! departure to departure, and no `rule_priority`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{feeds_folder, price, write_feed};

/// Plain name → id in the feed of Boston.
const NAMES: &[(&str, &str)] = &[
    ("subway", "Red"),
    ("blue", "Blue"),
    ("silver", "741"),
    ("bus", "1"),
    ("express", "354"),
    ("rail", "CR-Fitchburg"),
    ("park", "70075"),
    ("square", "70067"),
    ("airport", "70047"),
    ("state", "70041"),
    ("terminal", "17091"),
    ("south-silver", "74617"),
    ("south-red", "70079"),
    ("bus-a", "110"),
    ("bus-b", "75"),
    ("downtown", "4510"),
    ("outside-1", "1684"),
    ("outside-2", "1686"),
    ("zone-1a", "BNT-0000"),
    ("zone-2", "FR-0098"),
    ("zone-4", "FR-0167"),
    ("ticket", "charlieticket"),
    ("app", "mticket"),
];

/// The id in the feed of Boston.
pub(super) fn real_name(plain: &str) -> String {
    let known = NAMES.iter().find(|(name, _)| *name == plain);
    known.map_or(plain, |(_, id)| id).to_owned()
}

/// The made feed. Its rows follow the shape of Boston's, not its numbers of rows.
pub(crate) fn made_feed() -> BTreeMap<String, String> {
    let stops = [
        ("park", ""),
        ("square", ""),
        ("airport", "a-airport"),
        ("state", "a-blue"),
        ("terminal", "a-terminal"),
        ("south-silver", "a-south-silver"),
        ("south-red", "a-south-red"),
        ("bus-a", ""),
        ("bus-b", ""),
        ("downtown", "a-downtown"),
        ("outside-1", "a-outside"),
        ("outside-2", "a-outside"),
        ("zone-1a", "a-1a"),
        ("zone-2", "a-2"),
        ("zone-4", "a-4"),
    ];
    let lines = |header: &str, rows: Vec<String>| format!("{header}\n{}\n", rows.join("\n"));
    let stop_rows = stops.iter().map(|(id, _)| format!("{id},{id},42.3,-71.1")).collect();
    let area_rows = stops.iter().filter(|(_, area)| !area.is_empty());
    let areas: std::collections::BTreeSet<&str> =
        area_rows.clone().map(|(_, area)| *area).collect();
    [
        ("agency.txt", "agency_id,agency_name,agency_timezone\n1,Made,America/New_York\n".into()),
        ("stops.txt", lines("stop_id,stop_name,stop_lat,stop_lon", stop_rows)),
        ("areas.txt", lines("area_id", areas.iter().map(ToString::to_string).collect())),
        (
            "stop_areas.txt",
            lines("stop_id,area_id", area_rows.map(|(id, area)| format!("{id},{area}")).collect()),
        ),
        ("routes.txt", MADE_ROUTES.into()),
        ("calendar.txt", MADE_CALENDAR.into()),
        (
            "timeframes.txt",
            "timeframe_group_id,start_time,end_time,service_id\nregular,,,always\n".into(),
        ),
        (
            "fare_media.txt",
            "fare_media_id,fare_media_type\ncash,0\ncredit_debit,0\nticket,1\napp,4\n".into(),
        ),
        ("fare_products.txt", MADE_PRODUCTS.into()),
        ("fare_leg_rules.txt", MADE_LEGS.into()),
        ("fare_transfer_rules.txt", MADE_TRANSFERS.into()),
    ]
    .map(|(name, text): (&str, String)| (name.to_owned(), text))
    .into()
}

const MADE_ROUTES: &str = "route_id,agency_id,route_short_name,route_type,network_id
subway,1,S,1,rapid
blue,1,B,1,rapid
silver,1,SL,3,sl
bus,1,1,3,bus
express,1,X,3,express
rail,1,R,2,rail
";

const MADE_CALENDAR: &str = "service_id,monday,tuesday,wednesday,thursday,friday,saturday,sunday,\
start_date,end_date
always,1,1,1,1,1,1,1,20240920,20241214
";

const MADE_PRODUCTS: &str = "fare_product_id,fare_media_id,amount,currency
quick,ticket,2.40,USD
rapid-cash,cash,2.40,USD
local,cash,1.70,USD
express,cash,4.25,USD
free,,0.00,USD
to-2,cash,7.00,USD
to-2,app,7.00,USD
inter-3,cash,3.50,USD
inter-3,app,3.50,USD
";

const MADE_LEGS: &str = "leg_group_id,network_id,from_area_id,to_area_id,fare_product_id,\
from_timeframe_group_id,to_timeframe_group_id,transfer_only
airport-q,rapid,a-airport,,quick,regular,,
rapid-q,rapid,a-blue,,quick,regular,,
rapid-q,rapid,,,quick,regular,,
rapid-free,rapid,,,free,,,1
rapid-cash,rapid,,,rapid-cash,,,1
south-free,rapid,a-south-red,,free,,,1
south-cash,rapid,a-south-red,,rapid-cash,,,1
south-q,rapid,a-south-red,,quick,,,
sl-free,sl,a-terminal,,free,,,
sl-q,sl,a-south-silver,,quick,,,
bus-cash,bus,,,local,,,
bus-q,bus,,,quick,,,
express-cash,express,a-downtown,a-outside,express,,,
express-cash,express,a-outside,a-downtown,express,,,
bus-cash,express,a-outside,a-outside,local,,,
bus-q,express,a-outside,a-outside,quick,,,
rail-cash,rail,a-1a,a-2,to-2,,,
rail-cash,rail,a-2,a-1a,to-2,,,
rail-cash,rail,a-2,a-4,inter-3,,,
rail-free,rail,a-2,a-4,free,nowhere_defined,,
";

const MADE_TRANSFERS: &str = "from_leg_group_id,to_leg_group_id,transfer_count,duration_limit,\
duration_limit_type,fare_transfer_type,fare_product_id,filter_fare_product_id
airport-q,bus-q,,7200,1,0,,quick
airport-q,rapid-q,,,,0,,quick
rapid-q,airport-q,,7200,1,0,,quick
rapid-q,bus-q,,7200,1,0,,quick
rapid-q,rapid-q,-1,,,0,,quick
south-q,bus-q,,7200,1,0,,quick
south-q,rapid-q,,,,0,,quick
sl-free,south-free,,,,0,,free
south-free,rapid-free,,,,0,,free
rapid-free,rapid-free,-1,,,0,,free
";

/// Route, from, to, departure, arrival.
type Leg = (&'static str, &'static str, &'static str, &'static str, &'static str);

const SUBWAY: Leg = ("subway", "park", "square", "08:05:00", "08:17:00");
const BUS: Leg = ("bus", "bus-a", "bus-b", "08:20:00", "08:30:00");
const FROM_AIRPORT: Leg = ("blue", "airport", "state", "08:00:00", "08:10:00");
const FROM_TERMINAL: Leg = ("silver", "terminal", "south-silver", "07:30:00", "07:45:00");
const FROM_SOUTH: Leg = ("subway", "south-red", "park", "07:50:00", "07:58:00");
const EXPRESS: Leg = ("express", "downtown", "outside-1", "09:00:00", "09:40:00");
const RAIL: Leg = ("rail", "zone-2", "zone-1a", "07:00:00", "07:30:00");

/// Medium ("" = any), date, legs, the price and the legs without one.
type Row = (&'static str, &'static str, &'static [Leg], &'static str, &'static [usize]);

/// Any weekday within the feed's calendar.
const DAY: &str = "20241010";

/// Each price with its derivation. "quick" is the Subway Quick Ticket, the product that only the
/// paper ticket carries, at 2.40.
const JOURNEYS: &[Row] = &[
    // rapid_transit from no named area: quick 2.40 holds in the regular timeframe; the rows for
    // free and cash there are transfer_only and never a first leg.
    ("", DAY, &[SUBWAY], "2.40", &[]),
    ("ticket", DAY, &[SUBWAY], "2.40", &[]),
    ("cash", DAY, &[SUBWAY], "0.00", &[0]),
    // local_bus: 1.70 in cash, quick 2.40 with the ticket; any takes the cheaper.
    ("", DAY, &[BUS], "1.70", &[]),
    ("cash", DAY, &[BUS], "1.70", &[]),
    ("ticket", DAY, &[BUS], "2.40", &[]),
    // rapid → local bus with quick: type 0 and no product, so the bus adds nothing.
    ("ticket", DAY, &[SUBWAY, BUS], "2.40", &[]),
    // Paying the bus in cash would add 1.70; any takes the transfer.
    ("", DAY, &[SUBWAY, BUS], "2.40", &[]),
    // 7,200 s from departure to departure, inclusive: 08:05:00 to 10:05:00 holds …
    ("ticket", DAY, &[SUBWAY, ("bus", "bus-a", "bus-b", "10:05:00", "10:30:00")], "2.40", &[]),
    // … and one second more is a second ticket.
    ("ticket", DAY, &[SUBWAY, ("bus", "bus-a", "bus-b", "10:05:01", "10:30:00")], "4.80", &[]),
    // Any: the late bus is then cheaper in cash, 2.40 + 1.70.
    ("", DAY, &[SUBWAY, ("bus", "bus-a", "bus-b", "10:05:01", "10:30:00")], "4.10", &[]),
    // No rule leads from a bus to the subway, nor from bus to bus: two tickets.
    ("ticket", DAY, &[("bus", "bus-a", "bus-b", "07:20:00", "07:30:00"), SUBWAY], "4.80", &[]),
    ("ticket", DAY, &[("bus", "bus-a", "bus-b", "07:20:00", "07:30:00"), BUS], "4.80", &[]),
    // subway, bus, bus: the transfer pays the first bus only.
    ("ticket", DAY, &[SUBWAY, BUS, ("bus", "bus-b", "bus-a", "08:40:00", "08:50:00")], "4.80", &[]),
    // rapid → rapid has transfer_count -1 and no limit in time: ten hours later it is free still.
    ("ticket", DAY, &[SUBWAY, ("subway", "square", "park", "18:30:00", "18:42:00")], "2.40", &[]),
    // The airport's quirk: its leg group leads to rapid transit without a limit …
    (
        "ticket",
        DAY,
        &[FROM_AIRPORT, ("subway", "park", "square", "12:00:00", "12:10:00")],
        "2.40",
        &[],
    ),
    // … is reached from it within 7,200 s only: 06:00:00 to 08:00:00, and not from 05:59:59 …
    (
        "ticket",
        DAY,
        &[("subway", "square", "park", "06:00:00", "06:12:00"), FROM_AIRPORT],
        "2.40",
        &[],
    ),
    (
        "ticket",
        DAY,
        &[("subway", "square", "park", "05:59:59", "06:12:00"), FROM_AIRPORT],
        "4.80",
        &[],
    ),
    // … and has no rule to itself: twice from the airport is twice the fare.
    (
        "ticket",
        DAY,
        &[FROM_AIRPORT, ("blue", "airport", "state", "08:30:00", "08:40:00")],
        "4.80",
        &[],
    ),
    // From an airport terminal the Silver Line is free (no medium stated), and so is the Red Line
    // behind it at South Station by a transfer_only row, and the next subway ride by another.
    ("", DAY, &[FROM_TERMINAL], "0.00", &[]),
    ("", DAY, &[FROM_TERMINAL, FROM_SOUTH], "0.00", &[]),
    ("cash", DAY, &[FROM_TERMINAL, FROM_SOUTH, SUBWAY], "0.00", &[]),
    // transfer_only rows are never first: from South Station quick is the one way, in cash none.
    ("", DAY, &[FROM_SOUTH], "2.40", &[]),
    ("cash", DAY, &[FROM_SOUTH], "0.00", &[0]),
    // Express between downtown and outside: 4.25 in cash, no row with the ticket's product.
    ("cash", DAY, &[EXPRESS], "4.25", &[]),
    ("ticket", DAY, &[EXPRESS], "0.00", &[0]),
    // Outside to outside on the express is a local ride.
    ("cash", DAY, &[("express", "outside-1", "outside-2", "09:00:00", "09:10:00")], "1.70", &[]),
    ("ticket", DAY, &[("express", "outside-1", "outside-2", "09:00:00", "09:10:00")], "2.40", &[]),
    // Commuter rail: zone 2 to 1A is 7.00; between 2 and 4 interzone 3 is 3.50: the row that makes
    // it free names a timeframe group that does not exist, and so never holds.
    ("app", DAY, &[RAIL], "7.00", &[]),
    ("cash", DAY, &[("rail", "zone-2", "zone-4", "08:00:00", "08:30:00")], "3.50", &[]),
    ("ticket", DAY, &[RAIL], "0.00", &[0]),
    // No rule leads from rail to the subway: 7.00 + 2.40, of which the app has the first.
    ("", DAY, &[RAIL, SUBWAY], "9.40", &[]),
    ("app", DAY, &[RAIL, SUBWAY], "7.00", &[1]),
    // The regular timeframe's service ends with 14 December; the day is the calendar's at the
    // moment of departure, so 24:00:00 of that service day lies behind it.
    ("", "20241214", &[("subway", "park", "square", "23:59:59", "24:12:00")], "2.40", &[]),
    ("", "20241214", &[("subway", "park", "square", "24:00:00", "24:12:00")], "0.00", &[0]),
    // South Station's row has no timeframe and outlives it.
    ("", "2024-12-15", &[FROM_SOUTH], "2.40", &[]),
];

fn line(id: usize, row: &Row, name: impl Fn(&str) -> String) -> Value {
    let leg = |(route, from, to, dep, arr): &Leg| {
        let [route, from, to] = [route, from, to].map(|plain| name(plain));
        json!({"route": route, "from": from, "to": to, "dep": dep, "arr": arr})
    };
    let legs: Vec<Value> = row.2.iter().map(leg).collect();
    let medium = if row.0.is_empty() { Value::Null } else { json!(name(row.0)) };
    json!({"id": id, "date": row.1, "rider": null, "medium": medium, "legs": legs})
}

#[test]
fn journeys_of_boston_derived_by_hand_from_its_rows_cost_that() {
    let folder = tempfile::tempdir().unwrap();
    let made = write_feed(folder.path(), &made_feed());
    let real = feeds_folder().join("mbta-boston");
    let plain_name = |plain: &str| plain.to_owned();
    let mut feeds = vec![(made, &plain_name as &dyn Fn(&str) -> String)];
    if real.is_dir() {
        feeds.push((real, &real_name));
    }
    for (feed, name) in feeds {
        let lines: Vec<Value> =
            JOURNEYS.iter().enumerate().map(|(i, row)| line(i, row, name)).collect();
        let (answers, output) = price(&feed, &[], &lines);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        assert!(said.contains("there is no timeframe group"), "the feed's fault is named: {said}");
        assert_eq!(answers.len(), JOURNEYS.len());
        for (row, answer) in JOURNEYS.iter().zip(&answers) {
            let found = (answer["total"].as_str().unwrap(), &answer["unknown_legs"]);
            assert_eq!(found, (row.3, &json!(row.4)), "{row:?}: {answer}");
            let steps = answer["steps"].as_array().unwrap().iter();
            let sum: i64 = steps.map(|step| cents(step["amount"].as_str().unwrap())).sum();
            assert_eq!(sum, cents(row.3), "the steps sum to the total: {answer}");
        }
    }
}

fn cents(text: &str) -> i64 {
    let digits: String = text.chars().filter(|c| *c != '.').collect();
    assert_eq!(text.split('.').nth(1).map(str::len), Some(2), "{text} has two decimals");
    digits.parse().unwrap()
}
