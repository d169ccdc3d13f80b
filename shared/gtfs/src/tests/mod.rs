//! Small feeds in memory: what they are imported to, and what is found wrong with them.

mod fare_findings;
mod fares;
mod findings;
mod imports;
mod real;
mod tariff_of_rules;

use std::fmt::Write as _;

use fare::Tariff;
use model::TariffVersion;

use crate::{Feed, Import, ImportOptions, import};

/// Two stations, the second with two zones, one subway; two stops, one bus.
pub(crate) const FILES: [(&str, &str); 7] = [
    ("agency.txt", "agency_id,agency_name,agency_url,agency_timezone\nX,Test,,Europe/Berlin\n"),
    (
        "stops.txt",
        "stop_id,stop_name,stop_lat,stop_lon,zone_id,location_type,parent_station\n\
         A,Alpha,1.0,2.0,ignored,1,\n\
         A1,Alpha,1.0,2.0,za,0,A\n\
         B,Beta,1.1,2.0,,1,\n\
         B1,Beta,1.1,2.0,zb,0,B\n\
         B2,Beta,1.1,2.0,zb2,,B\n\
         Bx,Entrance,1.1,2.0,,2,B\n\
         s1,\"Stop, first\",1.2,-2.0,,,\n\
         s2,Stop 2,1.3,2.0,,,\n",
    ),
    (
        "routes.txt",
        "route_id,agency_id,route_short_name,route_long_name,route_type,route_color\n\
         M,X,M1,Metro,1,FF0000\n7,X,7,,3,red\n",
    ),
    (
        "trips.txt",
        "route_id,service_id,trip_id,direction_id,trip_headsign\n\
         M,wk,m1,0,Beta\nM,wk,m2,0,Beta\nM,we,m3,0,Beta\nM,wk,m4,1,Alpha\n7,wk,b1,0,\n",
    ),
    (
        "stop_times.txt",
        "trip_id,stop_sequence,stop_id,arrival_time,departure_time\n\
         m1,2,B1,,\nm1,1,A1,6:00:00,06:00:30\nm2,1,A1,06:10:00,06:10:00\n\
         m2,2,B1,06:15:00,06:15:00\nm3,1,A1,07:00:00,07:00:00\nm3,2,B1,07:05:00,07:05:00\n\
         m4,1,B2,24:30:00,24:30:00\nm4,2,A1,24:35:00,24:35:00\n\
         b1,1,s1,08:00:00,08:00:00\nb1,2,s2,08:05:00,08:05:00\n",
    ),
    (
        "fare_attributes.txt",
        "fare_id,price,currency_type,payment_method,transfers,transfer_duration\n\
         near,2,EUR,1,,\nfar,3.5,EUR,1,,\nbus,1.50,EUR,0,1,3600\n",
    ),
    (
        "fare_rules.txt",
        "fare_id,route_id,origin_id,destination_id,contains_id\n\
         near,,za,za,\nnear,,zb,zb,\nfar,,za,zb,\nfar,,zb,za,\nbus,7,,,\n",
    ),
];

pub(crate) fn options() -> ImportOptions {
    ImportOptions { version: TariffVersion(1), ..ImportOptions::default() }
}

pub(crate) fn feed() -> Feed {
    Feed::from_files(FILES.map(|(name, text)| (name, text.as_bytes())))
}

/// The feed with one text replaced in one file.
pub(crate) fn with(file: &str, from: &str, to: &str) -> Feed {
    with_all(&[(file, from, to)])
}

/// The feed with texts replaced: (file, from, to).
pub(crate) fn with_all(changes: &[(&str, &str, &str)]) -> Feed {
    let mut files = FILES.map(|(name, text)| (name, text.to_owned()));
    for (file, from, to) in changes {
        let text = &mut files.iter_mut().find(|(name, _)| name == file).unwrap().1;
        assert!(text.contains(from), "{file} has no {from:?}");
        *text = text.replace(from, to);
    }
    Feed::from_files(files.iter().map(|(name, text)| (*name, text.as_bytes())))
}

pub(crate) fn tariff(feed: &Feed, options: &ImportOptions) -> Tariff {
    let Import { tariff, diagnostics, .. } = import(feed, options);
    tariff.unwrap_or_else(|| panic!("{diagnostics:#?}"))
}

pub(crate) fn findings(feed: &Feed, options: &ImportOptions) -> String {
    let import = import(feed, options);
    let mut out = String::new();
    for finding in &import.diagnostics {
        writeln!(out, "{finding}").unwrap();
    }
    writeln!(out, "tariff: {}", if import.tariff.is_some() { "yes" } else { "no" }).unwrap();
    assert_ne!(import.tariff.is_some(), import.has_errors());
    wrapped(&out)
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
