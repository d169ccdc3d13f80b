//! Both fare models, read from small feeds.

use std::{collections::BTreeMap, fmt::Write as _, io::Write as _};

use fare::rules::{
    AreaIx, DurationSpan, LegRule, NetworkIx, RuleSet, StopIx, TicketRow, TicketSet, TransferKind,
    TransferRule,
};
use model::RouteIx;
use proptest::prelude::*;

use super::FILES;
use crate::{FaresRead, Feed, FeedFares, read_feed_fares};

/// A feed of Fares v2 that uses every file of it.
pub(super) const V2_FILES: [(&str, &str); 17] = [
    ("agency.txt", "agency_id,agency_name,agency_timezone\nX,Test,America/New_York\n"),
    (
        "stops.txt",
        "stop_id,stop_name,location_type,parent_station,stop_timezone\n\
         A,Alpha,1,,\nA1,Alpha 1,0,A,\nA2,Alpha 2,,A,\nAx,Door,2,A,\n\
         B,Beta,1,,America/Chicago\nB1,Beta 1,0,B,\nB2,Beta 2,0,B,America/Denver\n\
         s1,Street,0,,\n",
    ),
    ("routes.txt", "route_id,agency_id,route_short_name,route_type\nM,X,M1,1\n7,X,7,3\n"),
    ("networks.txt", "network_id,network_name\nrail,Rail\nbus,Bus\n"),
    ("route_networks.txt", "network_id,route_id\nrail,M\nbus,7\n"),
    ("areas.txt", "area_id,area_name\nin,Inner\nout,Outer\n"),
    ("stop_areas.txt", "area_id,stop_id\nin,A\nout,A2\nout,B1\nin,B2\n"),
    (
        "calendar.txt",
        "service_id,monday,tuesday,wednesday,thursday,friday,saturday,sunday,start_date,end_date\n\
         wk,1,1,1,1,1,0,0,20260101,20261231\n",
    ),
    ("calendar_dates.txt", "service_id,date,exception_type\nwk,20260704,1\nwk,20260703,2\n"),
    (
        "timeframes.txt",
        "timeframe_group_id,start_time,end_time,service_id\npeak,06:00:00,09:00:00,wk\n\
         any,,,wk\n",
    ),
    (
        "rider_categories.txt",
        "rider_category_id,rider_category_name,is_default_fare_category\nadult,Adult,1\n\
         youth,Youth,0\n",
    ),
    ("fare_media.txt", "fare_media_id,fare_media_name,fare_media_type\ncard,Card,2\n"),
    (
        "fare_products.txt",
        "fare_product_id,fare_product_name,rider_category_id,fare_media_id,amount,currency\n\
         ride,Ride,adult,card,2.50,USD\nride,Ride,youth,card,1.25,USD\nride,Ride,,,3.00,USD\n\
         change,Change,,,-0.50,USD\n",
    ),
    (
        "fare_leg_rules.txt",
        "leg_group_id,network_id,from_area_id,to_area_id,from_timeframe_group_id,\
         to_timeframe_group_id,fare_product_id,rule_priority,transfer_only\n\
         rail,rail,in,out,peak,any,ride,2,\nbus,bus,,,,,ride,,1\nrail,rail,,,,,ride,1,\n",
    ),
    (
        "fare_leg_join_rules.txt",
        "from_network_id,to_network_id,from_stop_id,to_stop_id\nrail,rail,,\nrail,bus,A,s1\n",
    ),
    (
        "fare_transfer_rules.txt",
        "from_leg_group_id,to_leg_group_id,transfer_count,duration_limit,duration_limit_type,\
         fare_transfer_type,fare_product_id,filter_fare_product_id\n\
         rail,bus,,3600,2,1,change,ride\nbus,bus,-1,,,0,,\nrail,rail,2,60,0,2,ride,\n",
    ),
    ("trips.txt", "trip_id,route_id,service_id\n"),
];

/// The feed with texts replaced once: (file, from, to). An empty `from` stands for the whole file,
/// and an empty `to` then removes it.
pub(super) fn read_v2(changes: &[(&str, &str, &str)]) -> FaresRead {
    read_changed(&V2_FILES, changes)
}

pub(super) fn read_changed(files: &[(&str, &str)], changes: &[(&str, &str, &str)]) -> FaresRead {
    let mut files: BTreeMap<&str, String> =
        files.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
    for (file, from, to) in changes {
        if from.is_empty() && to.is_empty() {
            files.remove(file).unwrap();
        } else if from.is_empty() {
            files.insert(file, (*to).to_owned());
        } else {
            let text = files.get_mut(file).unwrap();
            assert!(text.contains(from), "{file} has no {from:?}");
            *text = text.replacen(from, to, 1);
        }
    }
    read_files(files.iter().map(|(name, text)| (*name, text.as_str())))
}

pub(super) fn read_files<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> FaresRead {
    let files = files.into_iter().map(|(name, text)| (name, text.as_bytes()));
    read_feed_fares(&Feed::from_files(files))
}

pub(super) fn rules(read: FaresRead) -> RuleSet {
    match read.fares {
        Some(FeedFares::Rules(rules)) => rules,
        other => panic!("{other:?} {:#?}", read.diagnostics),
    }
}

pub(super) fn tickets(read: FaresRead) -> TicketSet {
    match read.fares {
        Some(FeedFares::Tickets(tickets)) => tickets,
        other => panic!("{other:?} {:#?}", read.diagnostics),
    }
}

#[test]
fn every_file_of_fares_v2_becomes_rules() {
    let read = read_v2(&[]);
    assert_eq!(read.diagnostics, []);
    assert_eq!(read.stop_of["B1"], StopIx(4));
    assert_eq!(read.stop_of.len(), 7, "an entrance is no place to tap");
    assert_eq!((read.route_of["7"], read.rider_of["youth"]), (RouteIx(1), 1));
    assert_eq!(read.medium_of["card"], 0);
    let set = rules(read);
    let in_out = (Some(AreaIx(0)), Some(AreaIx(1)));
    let rail = LegRule {
        group: Some(0),
        network: Some(NetworkIx(0)),
        from: in_out.0,
        to: in_out.1,
        from_time: Some(0),
        to_time: Some(1),
        product: 0,
        priority: 2,
        transfer_only: false,
        dead: false,
        row: 2,
    };
    let bus = LegRule {
        group: Some(1),
        network: Some(NetworkIx(1)),
        from: None,
        to: None,
        from_time: None,
        to_time: None,
        priority: 0,
        transfer_only: true,
        row: 3,
        ..rail
    };
    assert_eq!(set.leg_rules[..2], [rail, bus]);
    assert!(set.has_priority);
    let join = set.join_rules.iter().map(|rule| rule.stops).collect::<Vec<_>>();
    assert_eq!(join, [None, Some((StopIx(0), StopIx(6)))]);
    let prices: Vec<_> = set.products.iter().flat_map(|p| &p.variants).collect();
    let prices = prices.iter().map(|v| (v.rider, v.medium, v.amount.minor())).collect::<Vec<_>>();
    assert_eq!(
        prices,
        [(Some(0), Some(0), 250), (Some(1), Some(0), 125), (None, None, 300), (None, None, -50)]
    );
}

#[test]
fn transfer_rules_keep_their_counts_limits_types_and_filter() {
    let set = rules(read_v2(&[]));
    let change = TransferRule {
        from: Some(0),
        to: Some(1),
        count: None,
        limit: Some((3600, DurationSpan::ArrivalToDeparture)),
        kind: TransferKind::BesidesNext,
        product: Some(1),
        holding: Some(0),
        dead: false,
        row: 2,
    };
    let free = TransferRule {
        from: Some(1),
        limit: None,
        kind: TransferKind::InsteadOfNext,
        product: None,
        holding: None,
        row: 3,
        ..change
    };
    let both = TransferRule {
        from: Some(0),
        to: Some(0),
        count: Some(2),
        limit: Some((60, DurationSpan::DepartureToArrival)),
        kind: TransferKind::InsteadOfBoth,
        product: Some(0),
        holding: None,
        row: 4,
        ..change
    };
    assert_eq!(set.transfer_rules, [change, free, both]);
}

#[test]
fn a_platforms_own_areas_replace_its_stations_and_a_station_without_has_its_platforms() {
    let set = rules(read_v2(&[]));
    let mut out = String::new();
    for stop in &set.stops {
        let areas: Vec<&str> = stop.areas.iter().map(|a| &*set.areas[usize::from(a.0)]).collect();
        let station = &set.stops[stop.station.0 as usize].id;
        let offset = set.zones[usize::from(stop.zone)].first_s / 3600;
        write!(out, "{} {station} {areas:?} {offset}; ", stop.id).unwrap();
    }
    let expected = "A A [\"in\"] -5; A1 A [\"in\"] -5; A2 A [\"out\"] -5; \
                    B B [\"in\", \"out\"] -6; B1 B [\"out\"] -6; B2 B [\"in\"] -7; s1 s1 [] -5; ";
    assert_eq!(out, expected);
}

#[test]
fn an_empty_priority_column_is_a_priority_column() {
    let with = [("fare_leg_rules.txt", "ride,2,", "ride,,")];
    assert!(rules(read_v2(&with)).has_priority);
    let without = [("fare_leg_rules.txt", "rule_priority", "rule_prio")];
    assert!(!rules(read_v2(&without)).has_priority);
}

#[test]
fn rows_of_one_fare_are_merged_by_route_origin_and_destination() {
    let files = FILES.map(|(name, text)| match name {
        "fare_rules.txt" => (
            name,
            "fare_id,route_id,origin_id,destination_id,contains_id\nnear,M,za,,zb\n\
             near,M,za,,zb2\nnear,,zb,,\nfar,Q,,,\nfar,,zq,,\nbus,7,,,za\nbus,7,,,zq\n",
        ),
        _ => (name, text),
    });
    let set = tickets(read_files(files));
    let rows: Vec<_> = set.tickets.iter().map(|ticket| ticket.rows.as_deref()).collect();
    let row = |route: Option<u16>, origin, contains: &[u16]| TicketRow {
        route: route.map(RouteIx),
        origin: Some(origin),
        destination: None,
        contains: contains.to_vec(),
    };
    let near = [row(None, 1, &[]), row(Some(0), 0, &[1, 2])];
    // Rows that hold nowhere do not turn their fare into one that holds everywhere.
    assert_eq!(rows, [Some(&near[..]), Some(&[]), Some(&[])]);
    let zones: Vec<_> = set.stops.iter().map(|stop| stop.zones.as_slice()).collect();
    assert_eq!(zones, [&[0_u16][..], &[0], &[1, 2], &[1], &[2], &[], &[]]);
    let orders: Vec<_> = set.routes.iter().map(|route| route.patterns.len()).collect();
    assert_eq!(orders, [2, 1]);
    assert_eq!(set.routes[0].patterns[0], [StopIx(1), StopIx(3)]);
}

#[test]
fn fares_need_no_timetable() {
    let files =
        FILES.into_iter().filter(|(name, _)| !["trips.txt", "stop_times.txt"].contains(name));
    let read = read_files(files);
    assert!(!read.has_errors(), "{:#?}", read.diagnostics);
    assert!(tickets(read).routes.iter().all(|route| route.patterns.is_empty()));
}

#[test]
fn rows_are_counted_as_an_editor_does_whatever_the_line_ends() {
    let text = "fare_id,price,currency_type,payment_method,transfers\n\nnear,x,EUR,0,\n\
                \"f\nar\",y,EUR,0,\n\n\nbus,z,EUR,0,";
    for end in ["\n", "\r\n", "\r"] {
        let text = text.replace('\n', end);
        let files = FILES.map(|(name, other)| match name {
            "fare_attributes.txt" => (name, text.as_str()),
            _ => (name, other),
        });
        let read = read_files(files);
        let priced = read.diagnostics.iter().filter(|d| d.field.as_deref() == Some("price"));
        let rows: Vec<_> = priced.filter_map(|d| d.row).collect();
        assert_eq!(rows, [3, 4, 8], "{end:?}");
    }
}

/// The same table with its columns turned round, every field in quotes, a byte-order mark, CRLF
/// and no last line end.
fn odd(text: &str) -> String {
    let row = |line: &str| {
        let fields: Vec<String> = line.rsplit(',').map(|field| format!("\"{field}\"")).collect();
        fields.join(" ,")
    };
    format!("\u{feff}{}", text.lines().map(row).collect::<Vec<_>>().join("\r\n"))
}

#[test]
fn fares_v2_are_read_from_odd_csv_as_they_are_meant() {
    let files = V2_FILES.map(|(name, text)| (name, odd(text)));
    let read = read_files(files.iter().map(|(name, text)| (*name, text.as_str())));
    assert_eq!(read.diagnostics, []);
    assert_eq!(rules(read), rules(read_v2(&[])));
}

#[test]
fn fares_v2_are_read_from_a_folder_and_a_zip() {
    let folder = tempfile::tempdir().unwrap();
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, text) in V2_FILES {
        std::fs::write(folder.path().join(name), text).unwrap();
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    let expected = rules(read_v2(&[]));
    let bytes = zip.finish().unwrap().into_inner();
    let open = [Feed::open(folder.path()).unwrap(), Feed::from_zip(&bytes).unwrap()];
    for feed in open {
        assert_eq!(rules(read_feed_fares(&feed)), expected);
    }
}

proptest! {
    /// Whatever is broken, the tables that are read refer only to what is in them.
    #[test]
    fn damaged_fares_are_read_or_not_and_never_refer_beyond_their_tables(
        file in 0..V2_FILES.len(),
        at in 0_usize..400,
        cut in 0_usize..40,
        insert in "[ -~\\n]{0,8}",
    ) {
        let mut bytes = V2_FILES[file].1.as_bytes().to_vec();
        let at = at % bytes.len();
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, insert.bytes());
        let files = V2_FILES.iter().enumerate();
        let read = read_feed_fares(&Feed::from_files(files.map(|(i, (name, text))| {
            (*name, if i == file { bytes.as_slice() } else { text.as_bytes() })
        })));
        let Some(FeedFares::Rules(set)) = read.fares else { return Ok(()) };
        let below = |ix: Option<u16>, len: usize| ix.is_none_or(|ix| usize::from(ix) < len);
        for rule in &set.leg_rules {
            prop_assert!(below(Some(rule.product), set.products.len()));
            prop_assert!(below(rule.group, set.leg_groups.len()));
            prop_assert!(below(rule.network.map(|n| n.0), set.networks.len()));
            prop_assert!(below(rule.from.map(|a| a.0), set.areas.len()));
            prop_assert!(below(rule.to.map(|a| a.0), set.areas.len()));
            prop_assert!(below(rule.from_time, set.timeframes.len()));
            prop_assert!(below(rule.to_time, set.timeframes.len()));
        }
        for rule in &set.transfer_rules {
            prop_assert!(below(rule.from, set.leg_groups.len()));
            prop_assert!(below(rule.to, set.leg_groups.len()));
            prop_assert!(below(rule.product, set.products.len()));
            prop_assert!(below(rule.holding, set.products.len()));
        }
        for stop in &set.stops {
            prop_assert!((stop.station.0 as usize) < set.stops.len());
            prop_assert!(below(Some(stop.zone), set.zones.len()));
        }
        for row in set.timeframes.iter().flat_map(|frame| &frame.rows) {
            prop_assert!(below(row.service, set.services.len()) && row.end_s <= 86_400);
        }
        prop_assert_eq!(set.routes.len(), read.route_of.len());
        prop_assert_eq!(set.stops.len(), read.stop_of.len());
    }
}
