//! What a feed becomes.
#![expect(
    clippy::needless_raw_string_hashes,
    clippy::too_many_lines,
    reason = "expect-test writes its snapshots so"
)]

use std::io::Write as _;

use expect_test::expect;
use fare::Tariff;
use model::PlaceIx;
use proptest::prelude::*;

use super::{FILES, feed, options, tariff, with, with_all};
use crate::{Feed, ImportOptions, import};

#[test]
fn a_feed_becomes_a_tariff_text_that_reads_back_equal() {
    let tariff = tariff(&feed(), &options());
    expect![[r##"
        # Tapline tariff: every rule that prices a tap.
        format = 1
        version = 1
        network = "Test"
        timezone = "Europe/Berlin"
        currency = "EUR"
        pass_back_s = 0
        groups = ["gate", "bus"]

        [[operator]]
        id = "X"
        name = "Test"

        [[class]]
        id = "adult"
        name = "Adult"

        [[product]]
        id = "near"
        name = "Near"
        price = "2.00"

        [[product]]
        id = "far"
        name = "Far"
        price = "3.50"

        [[product]]
        id = "bus"
        name = "Bus"
        price = "1.50"

        [[place]]
        id = "A"
        name = "Alpha"
        lat = 1.000000
        lon = 2.000000
        kind = "station"

        [[place]]
        id = "B"
        name = "Beta"
        lat = 1.100000
        lon = 2.000000
        kind = "station"

        [[place]]
        id = "s1"
        name = "Stop, first"
        lat = 1.200000
        lon = -2.000000
        kind = "stop"

        [[place]]
        id = "s2"
        name = "Stop 2"
        lat = 1.300000
        lon = 2.000000
        kind = "stop"

        [[route]]
        id = "M"
        name = "M1"
        mode = "subway"
        operator = "X"
        group = "gate"

        [[route]]
        id = "7"
        name = "7"
        mode = "bus"
        operator = "X"
        group = "bus"
        product = "bus"

        [[transfer]]
        id = "bus-transfer"
        from = ["bus"]
        to = ["bus"]
        limit_s = 3600
        legs_max = 2
        price = "free"

        [gate]
        group = "gate"
        unknown = "refuse"

        # Rows are tap-in, columns tap-out; "-" is unknown, which is not free.
        [matrix]
        to = ["A", "B"]

        [matrix.from]
        "A" = ["near", "far"]
        "B" = ["far", "near"]
    "##]]
    .assert_eq(&tariff.to_toml());
    assert_eq!(Tariff::parse(&tariff.to_toml()).unwrap(), tariff);
}

#[test]
fn trips_are_summarised_by_their_order_of_places() {
    let network = import(&feed(), &options()).network.unwrap();
    expect![[r#"
        Network {
            name: "Test",
            timezone: "Europe/Berlin",
            routes: [
                NetworkRoute {
                    ix: RouteIx(
                        0,
                    ),
                    id: "M",
                    name: "M1",
                    long_name: "Metro",
                    mode: Subway,
                    color: Some(
                        "FF0000",
                    ),
                    patterns: [
                        Pattern {
                            direction: 0,
                            headsign: "Beta",
                            places: [
                                PlaceIx(
                                    0,
                                ),
                                PlaceIx(
                                    1,
                                ),
                            ],
                            offsets_s: [
                                0,
                                0,
                            ],
                            trips: 2,
                            first_s: 21630,
                            last_s: 22200,
                            headway_s: 570,
                        },
                        Pattern {
                            direction: 1,
                            headsign: "Alpha",
                            places: [
                                PlaceIx(
                                    1,
                                ),
                                PlaceIx(
                                    0,
                                ),
                            ],
                            offsets_s: [
                                0,
                                300,
                            ],
                            trips: 1,
                            first_s: 88200,
                            last_s: 88200,
                            headway_s: 0,
                        },
                    ],
                },
                NetworkRoute {
                    ix: RouteIx(
                        1,
                    ),
                    id: "7",
                    name: "7",
                    long_name: "",
                    mode: Bus,
                    color: None,
                    patterns: [
                        Pattern {
                            direction: 0,
                            headsign: "",
                            places: [
                                PlaceIx(
                                    2,
                                ),
                                PlaceIx(
                                    3,
                                ),
                            ],
                            offsets_s: [
                                0,
                                300,
                            ],
                            trips: 1,
                            first_s: 28800,
                            last_s: 28800,
                            headway_s: 0,
                        },
                    ],
                },
            ],
            stop_ids: [
                [
                    "A",
                    "A1",
                ],
                [
                    "B",
                    "B1",
                    "B2",
                ],
                [
                    "s1",
                ],
                [
                    "s2",
                ],
            ],
        }
    "#]]
    .assert_debug_eq(&network);
}

#[test]
fn frequencies_stand_for_trips() {
    let frequencies = "trip_id,start_time,end_time,headway_secs\nb1,6:00:00,07:00:00,600\n";
    let files = FILES.into_iter().chain([("frequencies.txt", frequencies)]);
    let feed = Feed::from_files(files.map(|(name, text)| (name, text.as_bytes())));
    let network = import(&feed, &options()).network.unwrap();
    let bus = &network.routes[1].patterns[0];
    assert_eq!((bus.trips, bus.first_s, bus.last_s, bus.headway_s), (6, 21_600, 24_600, 600));
}

#[test]
fn odd_csv_is_read_as_it_is_meant() {
    let odd = "\u{feff}fare_id , price,\"currency_type\",transfers,transfer_duration\r\n\
               near, 2 ,EUR,,\r\n\r\n\"far\",\"3.50\",EUR,\"\",\r\nbus,1.5,EUR,1,3600";
    let files =
        FILES.map(|(name, text)| (name, if name == "fare_attributes.txt" { odd } else { text }));
    let odd = Feed::from_files(files.map(|(name, text)| (name, text.as_bytes())));
    assert_eq!(tariff(&odd, &options()), tariff(&feed(), &options()));
}

#[test]
fn a_zip_and_a_folder_give_the_same_as_files_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, text) in FILES {
        std::fs::write(folder.path().join(name), text).unwrap();
        zip.start_file(format!("feed/{name}"), zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    let bytes = zip.finish().unwrap().into_inner();
    let path = folder.path().join("feed.zip");
    std::fs::write(&path, &bytes).unwrap();
    let expected = tariff(&feed(), &options());
    assert_eq!(tariff(&Feed::open(folder.path()).unwrap(), &options()), expected);
    assert_eq!(tariff(&Feed::open(&path).unwrap(), &options()), expected);
    assert_eq!(tariff(&Feed::from_zip(&bytes).unwrap(), &options()), expected);
    assert!(Feed::from_zip(b"PK no zip").is_err());
    assert!(Feed::open(&folder.path().join("nowhere")).is_err());
}

#[test]
fn a_zone_without_rules_borrows_by_a_stated_alias() {
    let feed = with(
        "fare_rules.txt",
        "near,,za,za,\nnear,,zb,zb,\nfar,,za,zb,\nfar,,zb,za,",
        "near,,zb,zb,\nfar,,zb,zb,",
    );
    let unknown = tariff(&feed, &options());
    let (a, b) = (PlaceIx(0), PlaceIx(1));
    assert_eq!(unknown.gate_product(a, b), None);
    assert_eq!(unknown.maximum_fare(a, model::RiderClass(0)), None);
    let zone_aliases = vec![("za".to_owned(), "zb".to_owned())];
    let aliased = tariff(&feed, &ImportOptions { zone_aliases, ..options() });
    assert_eq!(&*aliased.gate_product(a, b).unwrap().id, "near");
}

#[test]
fn an_empty_zone_is_any_zone_and_the_cheapest_fare_wins() {
    let feed = with_all(&[
        ("fare_rules.txt", "far,,za,zb,", "near,,,zb,\nfar,,za,zb,"),
        ("stops.txt", "zb2", "zb"),
    ]);
    let tariff = tariff(&feed, &options());
    assert_eq!(&*tariff.gate_product(PlaceIx(0), PlaceIx(1)).unwrap().id, "near");
    assert_eq!(&*tariff.gate_product(PlaceIx(1), PlaceIx(0)).unwrap().id, "far");
}

proptest! {
    #[test]
    fn damaged_files_are_imported_or_refused(
        file in 0..FILES.len(),
        at in 0_usize..600,
        cut in 0_usize..40,
        insert in "[ -~\\n]{0,8}",
    ) {
        let mut bytes = FILES[file].1.as_bytes().to_vec();
        let at = at % bytes.len();
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, insert.bytes());
        let feed = Feed::from_files(FILES.iter().enumerate().map(|(i, (name, text))| {
            (*name, if i == file { bytes.as_slice() } else { text.as_bytes() })
        }));
        let import = import(&feed, &options());
        prop_assert_ne!(import.tariff.is_some(), import.has_errors());
        if let Some(tariff) = import.tariff {
            prop_assert_eq!(Tariff::parse(&tariff.to_toml()).unwrap(), tariff);
        }
    }

    #[test]
    fn any_bytes_are_a_feed_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Feed::from_zip(&bytes);
        let feed = Feed::from_files([("agency.txt", bytes.as_slice()), ("stops.txt", &bytes)]);
        prop_assert!(import(&feed, &options()).has_errors());
    }
}
