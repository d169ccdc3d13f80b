//! What is refused, and what is imported with a word of warning.
#![expect(clippy::too_many_lines, reason = "expect-test writes its snapshots so")]

use expect_test::expect;

use super::{FILES, feed, findings, options, with};
use crate::{Feed, ImportOptions};

#[test]
fn a_sound_feed_is_imported_and_a_zone_of_a_station_borrows_from_its_sibling() {
    expect![[r#"
        warning[zone_without_fare]: stops.txt:4 zone_id: zone "zb2" of "Beta" is in no
            fare rule: the station is priced by its zb
        tariff: yes
    "#]]
    .assert_eq(&findings(&feed(), &options()));
}

#[test]
fn each_missing_file_is_named() {
    let mut out = String::new();
    for (missing, _) in FILES {
        let rest = FILES.into_iter().filter(|(name, _)| *name != missing);
        let feed = Feed::from_files(rest.map(|(name, text)| (name, text.as_bytes())));
        out += &findings(&feed, &options());
    }
    expect![[r#"
        error[missing_required_file]: agency.txt: agency.txt is missing from the feed
        error[foreign_key_violation]: routes.txt:2 agency_id: there is no agency "X"
        error[foreign_key_violation]: routes.txt:3 agency_id: there is no agency "X"
        tariff: no
        error[missing_required_file]: stops.txt: stops.txt is missing from the feed
        error[foreign_key_violation]: stop_times.txt:2 stop_id: there is no stop "B1"
        error[foreign_key_violation]: stop_times.txt:3 stop_id: there is no stop "A1"
        error[foreign_key_violation]: stop_times.txt:4 stop_id: there is no stop "A1"
        error[foreign_key_violation]: stop_times.txt:5 stop_id: there is no stop "B1"
        error[foreign_key_violation]: stop_times.txt:6 stop_id: there is no stop "A1"
        error[foreign_key_violation]: stop_times.txt:7 stop_id: there is no stop "B1"
        error[foreign_key_violation]: stop_times.txt:8 stop_id: there is no stop "B2"
        error[foreign_key_violation]: stop_times.txt:9 stop_id: there is no stop "A1"
        error[foreign_key_violation]: stop_times.txt:10 stop_id: there is no stop "s1"
        error[foreign_key_violation]: stop_times.txt:11 stop_id: there is no stop "s2"
        warning[unused_zone]: fare_rules.txt:2 origin_id: no stop is in zone "za": the
            row prices nothing
        warning[unused_zone]: fare_rules.txt:2 destination_id: no stop is in zone "za":
            the row prices nothing
        warning[unused_zone]: fare_rules.txt:3 origin_id: no stop is in zone "zb": the
            row prices nothing
        warning[unused_zone]: fare_rules.txt:3 destination_id: no stop is in zone "zb":
            the row prices nothing
        warning[unused_zone]: fare_rules.txt:4 origin_id: no stop is in zone "za": the
            row prices nothing
        warning[unused_zone]: fare_rules.txt:4 destination_id: no stop is in zone "zb":
            the row prices nothing
        warning[unused_zone]: fare_rules.txt:5 origin_id: no stop is in zone "zb": the
            row prices nothing
        warning[unused_zone]: fare_rules.txt:5 destination_id: no stop is in zone "za":
            the row prices nothing
        tariff: no
        error[missing_required_file]: routes.txt: routes.txt is missing from the feed
        error[foreign_key_violation]: trips.txt:2 route_id: there is no route "M"
        error[foreign_key_violation]: trips.txt:3 route_id: there is no route "M"
        error[foreign_key_violation]: trips.txt:4 route_id: there is no route "M"
        error[foreign_key_violation]: trips.txt:5 route_id: there is no route "M"
        error[foreign_key_violation]: trips.txt:6 route_id: there is no route "7"
        error[foreign_key_violation]: stop_times.txt:2 trip_id: there is no trip "m1"
        error[foreign_key_violation]: stop_times.txt:3 trip_id: there is no trip "m1"
        error[foreign_key_violation]: stop_times.txt:4 trip_id: there is no trip "m2"
        error[foreign_key_violation]: stop_times.txt:5 trip_id: there is no trip "m2"
        error[foreign_key_violation]: stop_times.txt:6 trip_id: there is no trip "m3"
        error[foreign_key_violation]: stop_times.txt:7 trip_id: there is no trip "m3"
        error[foreign_key_violation]: stop_times.txt:8 trip_id: there is no trip "m4"
        error[foreign_key_violation]: stop_times.txt:9 trip_id: there is no trip "m4"
        error[foreign_key_violation]: stop_times.txt:10 trip_id: there is no trip "b1"
        error[foreign_key_violation]: stop_times.txt:11 trip_id: there is no trip "b1"
        error[foreign_key_violation]: fare_rules.txt:6 route_id: there is no route "7"
        warning[fare_everywhere]: fare_attributes.txt:4 fare_id: fare "bus" has no rule
            and so holds on every route
        tariff: no
        error[missing_required_file]: trips.txt: trips.txt is missing from the feed
        error[foreign_key_violation]: stop_times.txt:2 trip_id: there is no trip "m1"
        error[foreign_key_violation]: stop_times.txt:3 trip_id: there is no trip "m1"
        error[foreign_key_violation]: stop_times.txt:4 trip_id: there is no trip "m2"
        error[foreign_key_violation]: stop_times.txt:5 trip_id: there is no trip "m2"
        error[foreign_key_violation]: stop_times.txt:6 trip_id: there is no trip "m3"
        error[foreign_key_violation]: stop_times.txt:7 trip_id: there is no trip "m3"
        error[foreign_key_violation]: stop_times.txt:8 trip_id: there is no trip "m4"
        error[foreign_key_violation]: stop_times.txt:9 trip_id: there is no trip "m4"
        error[foreign_key_violation]: stop_times.txt:10 trip_id: there is no trip "b1"
        error[foreign_key_violation]: stop_times.txt:11 trip_id: there is no trip "b1"
        tariff: no
        error[missing_required_file]: stop_times.txt: stop_times.txt is missing from the
            feed
        tariff: no
        error[missing_required_file]: fare_attributes.txt: fare_attributes.txt is
            missing from the feed
        error[foreign_key_violation]: fare_rules.txt:2 fare_id: there is no fare "near"
        error[foreign_key_violation]: fare_rules.txt:3 fare_id: there is no fare "near"
        error[foreign_key_violation]: fare_rules.txt:4 fare_id: there is no fare "far"
        error[foreign_key_violation]: fare_rules.txt:5 fare_id: there is no fare "far"
        error[foreign_key_violation]: fare_rules.txt:6 fare_id: there is no fare "bus"
        tariff: no
        error[several_fares]: routes.txt:2 route_id: route "M" is on fares "bus" and
            "near" with transfers: which is cheaper depends on the next ride, which no
            validator knows; put each route on one fare
        error[several_fares]: routes.txt:3 route_id: route "7" is on fares "bus" and
            "near" with transfers: which is cheaper depends on the next ride, which no
            validator knows; put each route on one fare
        tariff: no
    "#]]
    .assert_eq(&out);
}

#[test]
fn what_fares_v1_says_and_gates_cannot_hold_is_refused_by_row_and_field() {
    let out: Vec<String> = [
        ("fare_rules.txt", "far,,za,zb,", "far,,za,zb,zc"),
        ("fare_rules.txt", "far,,za,zb,", "far,M,za,zb,"),
        ("fare_rules.txt", "bus,7,,,", "bus,7,,,\nfar,M,,,"),
        ("fare_rules.txt", "far,,za,zb,", "far,,za,zb,\nnear,,za,zb2,"),
        ("fare_attributes.txt", "near,2,EUR,1,,", "near,2,EUR,1,,7200"),
        ("fare_attributes.txt", "1.50,EUR,0,1,3600", "1.50,EUR,0,1,"),
        ("fare_attributes.txt", "1.50,EUR,0,1,3600", "1.50,EUR,0,1,3600\nall,1.00,EUR,0,0,"),
        ("fare_attributes.txt", "1.50,EUR,0,1,3600", "1.50,EUR,0,1,3600\nall,9.00,EUR,0,0,"),
    ]
    .map(|(file, from, to)| findings(&with(file, from, to), &options()))
    .into();
    expect![[r#"
        error[contains_id]: fare_rules.txt:4 contains_id: fares by zones passed through
            (contains_id) cannot be held exactly by tap-in and tap-out: write the pairs
            as origin_id and destination_id
        tariff: no

        error[route_and_zones]: fare_rules.txt:4 route_id: a route and zones in one row
            cannot be held exactly: gates do not know the route; use one of them
        tariff: no

        error[route_and_zones]: fare_rules.txt:7 route_id: fare "far" has rows with
            routes and rows with zones: split it into two fares
        tariff: no

        error[zones_disagree]: stops.txt:2 zone_id: the zones of "Alpha" and "Beta"
            disagree on their fare: a gate does not know the platform, so give all zones
            of a station the same fares
        error[zones_disagree]: stops.txt:4 zone_id: the zones of "Beta" and "Alpha"
            disagree on their fare: a gate does not know the platform, so give all zones
            of a station the same fares
        error[zones_disagree]: stops.txt:4 zone_id: the zones of "Beta" and "Beta"
            disagree on their fare: a gate does not know the platform, so give all zones
            of a station the same fares
        tariff: no

        error[zone_fare_transfers]: fare_attributes.txt:2 transfer_duration: one fare
            for tapping out and in again is not held by gates: leave transfer_duration
            empty and write a transfer in tariff.toml
        warning[zone_without_fare]: stops.txt:4 zone_id: zone "zb2" of "Beta" is in no
            fare rule: the station is priced by its zb
        tariff: no

        warning[zone_without_fare]: stops.txt:4 zone_id: zone "zb2" of "Beta" is in no
            fare rule: the station is priced by its zb
        error[transfer_without_limit]: fare_attributes.txt:4 transfer_duration: fare
            "bus" allows transfers without a time limit: for a card that is for ever;
            set transfer_duration, or 0 transfers
        tariff: no

        warning[fare_everywhere]: fare_attributes.txt:5 fare_id: fare "all" has no rule
            and so holds on every route
        error[several_fares]: routes.txt:3 route_id: route "7" is on fares "all" and
            "bus" with transfers: which is cheaper depends on the next ride, which no
            validator knows; put each route on one fare
        tariff: no

        warning[fare_everywhere]: fare_attributes.txt:5 fare_id: fare "all" has no rule
            and so holds on every route
        error[several_fares]: routes.txt:3 route_id: route "7" is on fares "bus" and
            "all" with transfers: which is cheaper depends on the next ride, which no
            validator knows; put each route on one fare
        error[flat_and_zone_fare]: routes.txt:2 route_id: route "M" has the flat fare
            "all" and stops in zones with cheaper fares: take its stops out of the
            zones, or the route out of the fare
        tariff: no
    "#]]
    .assert_eq(&out.join("\n"));
}

#[test]
fn faults_in_the_files_are_named_by_row_and_field() {
    let out: Vec<String> = [
        ("fare_attributes.txt", "far,3.5,", "far,3.555,"),
        ("fare_attributes.txt", "far,3.5,EUR", "far,3.5,USD"),
        ("fare_attributes.txt", "far,3.5,EUR", "far,3.5,EURO"),
        ("fare_attributes.txt", "far,3.5,EUR,1,", "far,3.5,EUR,1,5"),
        ("fare_attributes.txt", "transfers,", "transfer,"),
        ("fare_attributes.txt", "transfer_duration", "transfer_duration,youth_price"),
        ("fare_rules.txt", "bus,7", "buss,7"),
        ("fare_rules.txt", "bus,7", "bus,8"),
        ("fare_rules.txt", "far,,za,zb", "far,,za,zx"),
        ("fare_rules.txt", "bus,7,,,\n", ""),
        ("stops.txt", "A1,Alpha,1.0,2.0,za,0,A", "A1,Alpha,1.0,2.0,za,0,Q"),
        ("stops.txt", "B,Beta,1.1", "B,Beta,north"),
        ("stops.txt", "s2,Stop 2", "s1,Stop 2"),
        ("stops.txt", "B2,Beta", "s1,Beta"),
        ("trips.txt", "M,wk,m2", "M,wk,m1"),
        ("routes.txt", ",3,red", ",99,red"),
        ("trips.txt", "7,wk,b1", "8,wk,b1"),
        ("stop_times.txt", "b1,2,s2,08:05:00,08:05:00", "b1,2,s2,8.05,8.05"),
        ("agency.txt", "X,Test,,Europe/Berlin\n", ""),
    ]
    .map(|(file, from, to)| findings(&with(file, from, to), &options()))
    .into();
    expect![[r#"
        error[invalid_price]: fare_attributes.txt:3 price: "3.555" has more decimals
            than EUR allows (2)
        error[foreign_key_violation]: fare_rules.txt:4 fare_id: there is no fare "far"
        error[foreign_key_violation]: fare_rules.txt:5 fare_id: there is no fare "far"
        tariff: no

        error[several_currencies]: fare_attributes.txt:3 currency_type: a second
            currency: one tariff holds one currency
        error[foreign_key_violation]: fare_rules.txt:4 fare_id: there is no fare "far"
        error[foreign_key_violation]: fare_rules.txt:5 fare_id: there is no fare "far"
        tariff: no

        error[unknown_currency]: fare_attributes.txt:3 currency_type: unknown currency
            "EURO": use an ISO 4217 code such as EUR, KRW or KWD
        error[foreign_key_violation]: fare_rules.txt:4 fare_id: there is no fare "far"
        error[foreign_key_violation]: fare_rules.txt:5 fare_id: there is no fare "far"
        tariff: no

        error[invalid_value]: fare_attributes.txt:3 transfers: "5": use 0, 1, 2 or leave
            it empty for unlimited
        error[foreign_key_violation]: fare_rules.txt:4 fare_id: there is no fare "far"
        error[foreign_key_violation]: fare_rules.txt:5 fare_id: there is no fare "far"
        tariff: no

        error[missing_required_column]: fare_attributes.txt:1 transfers: the column
            transfers is missing
        error[foreign_key_violation]: fare_rules.txt:2 fare_id: there is no fare "near"
        error[foreign_key_violation]: fare_rules.txt:3 fare_id: there is no fare "near"
        error[foreign_key_violation]: fare_rules.txt:4 fare_id: there is no fare "far"
        error[foreign_key_violation]: fare_rules.txt:5 fare_id: there is no fare "far"
        error[foreign_key_violation]: fare_rules.txt:6 fare_id: there is no fare "bus"
        warning[unknown_column]: fare_attributes.txt:1 transfer: is not a column of
            Fares v1 and is ignored: check that it changes no price
        tariff: no

        warning[unknown_column]: fare_attributes.txt:1 youth_price: is not a column of
            Fares v1 and is ignored: check that it changes no price
        warning[zone_without_fare]: stops.txt:4 zone_id: zone "zb2" of "Beta" is in no
            fare rule: the station is priced by its zb
        tariff: yes

        error[foreign_key_violation]: fare_rules.txt:6 fare_id: there is no fare "buss"
        warning[fare_everywhere]: fare_attributes.txt:4 fare_id: fare "bus" has no rule
            and so holds on every route
        tariff: no

        error[foreign_key_violation]: fare_rules.txt:6 route_id: there is no route "8"
        warning[fare_everywhere]: fare_attributes.txt:4 fare_id: fare "bus" has no rule
            and so holds on every route
        tariff: no

        warning[unused_zone]: fare_rules.txt:4 destination_id: no stop is in zone "zx":
            the row prices nothing
        warning[zone_without_fare]: stops.txt:4 zone_id: zone "zb2" of "Beta" is in no
            fare rule: the station is priced by its zb
        tariff: yes

        warning[fare_everywhere]: fare_attributes.txt:4 fare_id: fare "bus" has no rule
            and so holds on every route
        tariff: yes

        error[foreign_key_violation]: stops.txt:3 parent_station: there is no station
            "Q"
        error[foreign_key_violation]: stop_times.txt:3 stop_id: there is no stop "A1"
        error[foreign_key_violation]: stop_times.txt:4 stop_id: there is no stop "A1"
        error[foreign_key_violation]: stop_times.txt:6 stop_id: there is no stop "A1"
        error[foreign_key_violation]: stop_times.txt:9 stop_id: there is no stop "A1"
        warning[unused_zone]: fare_rules.txt:2 origin_id: no stop is in zone "za": the
            row prices nothing
        warning[unused_zone]: fare_rules.txt:2 destination_id: no stop is in zone "za":
            the row prices nothing
        warning[unused_zone]: fare_rules.txt:4 origin_id: no stop is in zone "za": the
            row prices nothing
        warning[unused_zone]: fare_rules.txt:5 destination_id: no stop is in zone "za":
            the row prices nothing
        tariff: no

        error[invalid_position]: stops.txt:4 stop_lat: is no position: write decimal
            degrees such as 17.4965452
        error[foreign_key_violation]: stops.txt:5 parent_station: there is no station
            "B"
        error[foreign_key_violation]: stops.txt:6 parent_station: there is no station
            "B"
        error[foreign_key_violation]: stop_times.txt:2 stop_id: there is no stop "B1"
        error[foreign_key_violation]: stop_times.txt:5 stop_id: there is no stop "B1"
        error[foreign_key_violation]: stop_times.txt:7 stop_id: there is no stop "B1"
        error[foreign_key_violation]: stop_times.txt:8 stop_id: there is no stop "B2"
        warning[unused_zone]: fare_rules.txt:3 origin_id: no stop is in zone "zb": the
            row prices nothing
        warning[unused_zone]: fare_rules.txt:3 destination_id: no stop is in zone "zb":
            the row prices nothing
        warning[unused_zone]: fare_rules.txt:4 destination_id: no stop is in zone "zb":
            the row prices nothing
        warning[unused_zone]: fare_rules.txt:5 origin_id: no stop is in zone "zb": the
            row prices nothing
        tariff: no

        error[duplicate_key]: stops.txt:9 stop_id: stop "s1" stands twice
        error[foreign_key_violation]: stop_times.txt:11 stop_id: there is no stop "s2"
        tariff: no

        error[duplicate_key]: stops.txt:6 stop_id: stop "s1" stands twice
        error[foreign_key_violation]: stop_times.txt:8 stop_id: there is no stop "B2"
        tariff: no

        error[duplicate_key]: trips.txt:3 trip_id: trip "m1" stands twice
        error[foreign_key_violation]: stop_times.txt:4 trip_id: there is no trip "m2"
        error[foreign_key_violation]: stop_times.txt:5 trip_id: there is no trip "m2"
        tariff: no

        error[invalid_value]: routes.txt:3 route_type: route_type "99" is unknown: use 0
            to 12
        error[foreign_key_violation]: trips.txt:6 route_id: there is no route "7"
        error[foreign_key_violation]: stop_times.txt:10 trip_id: there is no trip "b1"
        error[foreign_key_violation]: stop_times.txt:11 trip_id: there is no trip "b1"
        error[foreign_key_violation]: fare_rules.txt:6 route_id: there is no route "7"
        warning[fare_everywhere]: fare_attributes.txt:4 fare_id: fare "bus" has no rule
            and so holds on every route
        tariff: no

        error[foreign_key_violation]: trips.txt:6 route_id: there is no route "8"
        error[foreign_key_violation]: stop_times.txt:10 trip_id: there is no trip "b1"
        error[foreign_key_violation]: stop_times.txt:11 trip_id: there is no trip "b1"
        tariff: no

        error[invalid_value]: stop_times.txt:11 departure_time: "8.05" is no time: write
            HH:MM:SS
        tariff: no

        error[no_agency]: agency.txt: a feed needs at least one agency
        error[foreign_key_violation]: routes.txt:2 agency_id: there is no agency "X"
        error[foreign_key_violation]: routes.txt:3 agency_id: there is no agency "X"
        tariff: no
    "#]]
    .assert_eq(&out.join("\n"));
}

#[test]
fn an_alias_and_an_overlay_are_checked_like_the_feed() {
    let alias = |from: &str, to: &str| ImportOptions {
        zone_aliases: vec![(from.into(), to.into())],
        ..options()
    };
    let overlay = ImportOptions { overlay: Some("[gate]\ngruop = 1".into()), ..options() };
    let out =
        [alias("zb2", "za"), alias("zb2", "zq"), alias("za", "zb"), alias("q", "za"), overlay]
            .map(|options| findings(&feed(), &options));
    expect![[r#"
        warning[zone_alias]: fare_rules.txt: zone "zb2" is priced as zone "za", as the
            alias says
        error[zones_disagree]: stops.txt:2 zone_id: the zones of "Alpha" and "Beta"
            disagree on their fare: a gate does not know the platform, so give all zones
            of a station the same fares
        error[zones_disagree]: stops.txt:4 zone_id: the zones of "Beta" and "Alpha"
            disagree on their fare: a gate does not know the platform, so give all zones
            of a station the same fares
        error[zones_disagree]: stops.txt:4 zone_id: the zones of "Beta" and "Beta"
            disagree on their fare: a gate does not know the platform, so give all zones
            of a station the same fares
        tariff: no

        error[zone_alias]: fare_rules.txt: alias zb2=zq: zone "zq" is in no fare rule
        warning[zone_without_fare]: stops.txt:4 zone_id: zone "zq" of "Beta" is in no
            fare rule: the station is priced by its zb
        tariff: no

        error[zone_alias]: fare_rules.txt: alias za=zb: zone "za" has fare rules of its
            own
        warning[zone_without_fare]: stops.txt:4 zone_id: zone "zb2" of "Beta" is in no
            fare rule: the station is priced by its zb
        tariff: no

        error[zone_alias]: fare_rules.txt: alias q=za: no stop is in zone "q"
        warning[zone_without_fare]: stops.txt:4 zone_id: zone "zb2" of "Beta" is in no
            fare rule: the station is priced by its zb
        tariff: no

        warning[zone_without_fare]: stops.txt:4 zone_id: zone "zb2" of "Beta" is in no
            fare rule: the station is priced by its zb
        error[tariff]: tariff.toml:1 gate.group: missing; add `group = …`
        error[tariff]: tariff.toml:2 gate.gruop: unknown key; did you mean "group"?
        tariff: no
    "#]]
    .assert_eq(&out.join("\n"));
}
