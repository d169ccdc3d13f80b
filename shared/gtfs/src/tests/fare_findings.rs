//! Every finding about fares, one small fault at a time.
#![expect(clippy::too_many_lines, reason = "the faults and their snapshots are one table")]

use std::{collections::BTreeSet, fmt::Write as _};

use expect_test::expect;

use super::{
    FILES,
    fares::{V2_FILES, read_changed},
    wrapped,
};

/// (file, from, to), as `read_changed` takes it.
type Change<'a> = (&'a str, &'a str, &'a str);

/// What is found after each change, without what was found before it.
fn faults(files: &[(&str, &str)], changes: &[&[Change<'_>]]) -> String {
    let before: BTreeSet<String> =
        read_changed(files, &[]).diagnostics.iter().map(ToString::to_string).collect();
    let mut out = String::new();
    for change in changes {
        let read = read_changed(files, change);
        let told: Vec<String> = read.diagnostics.iter().map(ToString::to_string).collect();
        let fresh: Vec<&String> = told.iter().filter(|text| !before.contains(*text)).collect();
        assert!(!fresh.is_empty(), "{change:?} is not noticed");
        for text in fresh {
            writeln!(out, "{text}").unwrap();
        }
        if read.fares.is_none() {
            writeln!(out, "no fares").unwrap();
        }
        writeln!(out).unwrap();
    }
    wrapped(&out)
}

#[test]
fn what_products_media_and_categories_say_wrongly_is_named() {
    const P: &str = "fare_products.txt";
    let out = faults(
        &V2_FILES,
        &[
            &[(P, "adult,card,2.50", "adult,card,2.5")],
            &[(P, "adult,card,2.50", "adult,card,2")],
            &[(P, "adult,card,2.50", "adult,card,2.505")],
            &[(P, "adult,card,2.50", "adult,card,free")],
            &[(P, "2.50,USD", "2.50,US$")],
            &[(P, "1.25,USD", "1.25,EUR")],
            &[(P, "youth,card", "student,card")],
            &[(P, "youth,card", "youth,app")],
            &[(P, "youth,card", "adult,card")],
            &[(P, "ride,Ride,youth", ",Ride,youth")],
            &[("rider_categories.txt", "Youth,0", "Youth,1")],
            &[
                ("rider_categories.txt", "Adult,1", "Adult,0"),
                (P, "ride,Ride,,,3.00,USD", "once,Once,,,3.00,USD"),
            ],
            &[("rider_categories.txt", "Youth,0", "Youth,yes")],
            &[("rider_categories.txt", "youth,Youth", "adult,Youth")],
            &[("rider_categories.txt", ",is_default_fare_category", ",is_default")],
            &[("fare_media.txt", "card,Card,2", "card,Card,5")],
            &[("fare_media.txt", "card,Card,2", "card,Card,")],
            &[("fare_media.txt", "card,Card,2", "card,,2")],
            &[("fare_media.txt", "card,Card,2", "card,Card,2\nother,Card,2")],
            &[("fare_media.txt", "card,Card,2", "card,Card,2\ncard,Second,3")],
        ],
    );
    expect![[r#"
        warning[invalid_currency_amount]: fare_products.txt:2 amount: "2.5" is read as
            2.50 USD: write it as 2.50

        warning[invalid_currency_amount]: fare_products.txt:2 amount: "2" is read as
            2.00 USD: write it as 2.00

        error[invalid_currency_amount]: fare_products.txt:2 amount: "2.505" has more
            decimals than USD allows (2)

        error[invalid_currency_amount]: fare_products.txt:2 amount: "free" is not an
            amount: use digits with at most one decimal point, such as 2.40

        error[invalid_currency]: fare_products.txt:2 currency: unknown currency "US$":
            use an ISO 4217 code such as EUR, KRW or KWD

        error[several_currencies]: fare_products.txt:3 currency: EUR beside USD: the
            fares of a feed are in one currency

        error[foreign_key_violation]: fare_products.txt:3 rider_category_id: there is no
            rider category "student"

        error[foreign_key_violation]: fare_products.txt:3 fare_media_id: there is no
            fare medium "app"

        error[duplicate_key]: fare_products.txt:3 fare_product_id: product "ride" for
            this rider and medium stands in row 2 already: that one is used

        error[missing_required_field]: fare_products.txt:3 fare_product_id: is empty:
            give the product an id

        error[fare_product_with_multiple_default_rider_categories]: fare_products.txt:2
            rider_category_id: product "ride" is for 2 default categories: keep one

        error[fare_product_without_default_rider_category]: fare_products.txt:2
            rider_category_id: product "ride" is for 2 categories, none of which is the
            default: set is_default_fare_category = 1 for one, or add a row without
            category
        warning[unused_product]: fare_products.txt:4 fare_product_id: no rule uses
            product "once": nobody is charged it

        error[unexpected_enum_value]: rider_categories.txt:3 is_default_fare_category:
            "yes": use 1 for the default category, else 0

        error[duplicate_key]: rider_categories.txt:3 rider_category_id: "adult" stands
            twice
        error[foreign_key_violation]: fare_products.txt:3 rider_category_id: there is no
            rider category "youth"

        warning[unknown_column]: rider_categories.txt:1 is_default: is none of the
            specification: it is ignored
        warning[missing_recommended_column]: rider_categories.txt:1
            is_default_fare_category: the specification asks for this column: no
            category counts as default and ids stand for names without it

        error[unexpected_enum_value]: fare_media.txt:2 fare_media_type: "5" is no type
            of medium: use 0 to 4

        error[missing_required_field]: fare_media.txt:2 fare_media_type: is empty: use 0
            to 4

        warning[missing_recommended_field]: fare_media.txt:2 fare_media_name: cards and
            apps should have the name that riders know

        warning[duplicate_fare_media]: fare_media.txt:3 fare_media_id: "other" has the
            name and type of "card": are both one medium?

        error[duplicate_key]: fare_media.txt:3 fare_media_id: "card" stands twice

    "#]]
    .assert_eq(&out);
}

#[test]
fn what_networks_and_areas_say_wrongly_is_named() {
    let out = faults(
        &V2_FILES,
        &[
            &[(
                "routes.txt",
                "route_type\nM,X,M1,1\n7,X,7,3",
                "route_type,network_id\nM,X,M1,1,rail\n7,X,7,3,",
            )],
            &[
                ("routes.txt", "route_type\nM,X,M1,1", "route_type,network_id\nM,X,M1,1,rail"),
                ("route_networks.txt", "", ""),
            ],
            &[("route_networks.txt", "bus,7", "rail,7")],
            &[("route_networks.txt", "bus,7", "bus,7\nrail,7")],
            &[("route_networks.txt", "bus,7", "tram,7")],
            &[("route_networks.txt", "bus,7", "bus,8")],
            &[("networks.txt", "bus,Bus\n", "bus,Bus\nbus,Again\n")],
            &[("networks.txt", "", "")],
            &[("areas.txt", "", "")],
            &[("areas.txt", "out,Outer", "out,Outer\nnowhere,Nowhere\n,Empty\nin,In")],
            &[("stop_areas.txt", "in,A\n", "centre,A\n")],
            &[("stop_areas.txt", "in,A\n", "in,A\nin,Q\n")],
            &[("stop_areas.txt", "in,A\n", "in,A\nin,Ax\n")],
            &[("stop_areas.txt", "in,A\n", "in,A\nin,A\n")],
        ],
    );
    expect![[r#"
        error[route_networks_specified_in_more_than_one_file]: routes.txt:2 network_id:
            networks of routes stand here and in route_networks.txt: keep one of them;
            that file is used

        error[route_networks_specified_in_more_than_one_file]: routes.txt:2 network_id:
            networks of routes stand here and in networks.txt: keep one of them; both
            are used
        warning[network_without_routes]: networks.txt:3 network_id: no route is in
            network "bus"
        warning[unreachable_rule]: fare_leg_rules.txt:3 network_id: no journey can meet
            this rule: no route is in a network that it is for

        warning[network_without_routes]: networks.txt:3 network_id: no route is in
            network "bus"
        warning[unreachable_rule]: fare_leg_rules.txt:3 network_id: no journey can meet
            this rule: no route is in a network that it is for

        error[duplicate_key]: route_networks.txt:4 route_id: route "7" is in network
            "bus" already, and a route is in one network

        error[foreign_key_violation]: route_networks.txt:3 network_id: there is no
            network "tram"
        warning[network_without_routes]: networks.txt:3 network_id: no route is in
            network "bus"
        warning[unreachable_rule]: fare_leg_rules.txt:3 network_id: no journey can meet
            this rule: no route is in a network that it is for

        error[foreign_key_violation]: route_networks.txt:3 route_id: there is no route
            "8"
        warning[network_without_routes]: networks.txt:3 network_id: no route is in
            network "bus"
        warning[unreachable_rule]: fare_leg_rules.txt:3 network_id: no journey can meet
            this rule: no route is in a network that it is for

        error[duplicate_key]: networks.txt:4 network_id: "bus" stands twice

        error[missing_required_file]: route_networks.txt: networks.txt is missing:
            networks are those named here

        error[missing_required_file]: stop_areas.txt: areas.txt is missing: areas are
            those named here

        error[missing_required_field]: areas.txt:5 area_id: is empty: give it an id
        error[duplicate_key]: areas.txt:6 area_id: "in" stands twice
        warning[area_without_stops]: areas.txt:4 area_id: no stop is in area "nowhere"

        error[foreign_key_violation]: stop_areas.txt:2 area_id: there is no area
            "centre"

        error[foreign_key_violation]: stop_areas.txt:3 stop_id: there is no stop "Q"

        error[stop_is_no_place]: stop_areas.txt:3 stop_id: "Ax" is neither a stop nor a
            station: fares are between those

        warning[duplicate_key]: stop_areas.txt:3 stop_id: the row stands twice

    "#]]
    .assert_eq(&out);
}

#[test]
fn what_timeframes_and_calendars_say_wrongly_is_named() {
    const T: &str = "timeframes.txt";
    let out = faults(
        &V2_FILES,
        &[
            &[(
                T,
                "peak,06:00:00,09:00:00,wk\n",
                "peak,06:00:00,09:00:00,wk\npeak,08:00:00,10:00:00,wk\n",
            )],
            &[(T, "06:00:00,09:00:00", "06:00:00,")],
            &[(T, "06:00:00,09:00:00", ",09:00:00")],
            &[(T, "06:00:00,09:00:00", "22:00:00,26:00:00")],
            &[(T, "06:00:00,09:00:00", "22:00:00,02:00:00")],
            &[(T, "06:00:00,09:00:00", "6 am,09:00:00")],
            &[(T, "09:00:00,wk", "09:00:00,sa")],
            &[(T, "peak,", ",")],
            &[("calendar.txt", "20261231", "20251231"), ("calendar_dates.txt", "", "")],
            &[("calendar.txt", "20261231", "20261331")],
            &[("calendar.txt", "wk,1,1", "wk,1,yes")],
            &[("calendar_dates.txt", "20260703,2", "20260704,2")],
            &[("calendar_dates.txt", "20260703,2", "20260703,3")],
            &[("stops.txt", "America/Denver", "America/Devner")],
            // The rail's rules are all bound to a timeframe, with a minute that none holds.
            &[
                ("fare_leg_rules.txt", "rail,rail,,,,,ride,1,", "rail,rail,,,any,,ride,1,"),
                (T, "any,,,wk", "any,00:00:00,08:59:00,wk\nany,09:00:00,24:00:00,wk"),
                (T, "peak,06:00:00,09:00:00", "peak,06:00:00,08:59:00"),
                ("calendar.txt", "wk,1,1,1,1,1,0,0", "wk,1,1,1,1,1,1,1"),
                ("calendar_dates.txt", "", ""),
            ],
        ],
    );
    expect![[r#"
        error[timeframe_overlap]: timeframes.txt:3 start_time: timeframe "peak" holds
            here and in row 2 at the same time of service "wk"

        error[timeframe_only_start_or_end_time_specified]: timeframes.txt:2 end_time:
            give both times or neither; it is read as the end of the day

        error[timeframe_only_start_or_end_time_specified]: timeframes.txt:2 start_time:
            give both times or neither; it is read as the start of the day

        error[timeframe_start_or_end_time_greater_than_twenty_four_hours]:
            timeframes.txt:2 end_time: is after 24:00:00: a timeframe ends with its day;
            write the rest as a row of the next one

        error[start_and_end_range_out_of_order]: timeframes.txt:2 end_time: 22:00:00 to
            02:00:00 is no time at all: the end is exclusive, and a time over midnight
            needs two rows
        warning[unreachable_rule]: fare_leg_rules.txt:2 from_timeframe_group_id: no
            journey can meet this rule: its timeframe never holds

        error[invalid_time]: timeframes.txt:2 start_time: "6 am" is no time: write
            HH:MM:SS
        warning[unreachable_rule]: fare_leg_rules.txt:2 from_timeframe_group_id: no
            journey can meet this rule: its timeframe never holds

        error[foreign_key_violation]: timeframes.txt:2 service_id: there is no service
            "sa": the row never holds
        warning[unreachable_rule]: fare_leg_rules.txt:2 from_timeframe_group_id: no
            journey can meet this rule: its timeframe never holds

        error[missing_required_field]: timeframes.txt:2 timeframe_group_id: is empty:
            give the timeframe an id
        error[foreign_key_violation]: fare_leg_rules.txt:2 from_timeframe_group_id:
            there is no timeframe group "peak"

        error[start_and_end_range_out_of_order]: calendar.txt:2 end_date: ends before it
            starts: the weekdays never hold
        warning[unreachable_rule]: fare_leg_rules.txt:2 from_timeframe_group_id: no
            journey can meet this rule: its timeframe never holds

        error[invalid_date]: calendar.txt:2 end_date: "20261331" is no date: write
            YYYYMMDD

        error[unexpected_enum_value]: calendar.txt:2 tuesday: "yes": use 1 when it runs
            on this weekday, else 0

        error[duplicate_key]: calendar_dates.txt:3 date: service "wk" has this date
            twice

        error[unexpected_enum_value]: calendar_dates.txt:3 exception_type: "3": use 1
            for added or 2 for removed

        error[invalid_timezone]: stops.txt:8 stop_timezone: "America/Devner" is no time
            zone: the agency's is used

        warning[times_not_covered]: fare_leg_rules.txt:2 from_timeframe_group_id: no
            timeframe of network "rail" holds from 08:59:00 to 09:00:00 on 365 dates,
            first on 2026-01-01 (Monday, Tuesday, Wednesday, Thursday, Friday, Saturday,
            Sunday): a leg then has no fare. The end of a timeframe is exclusive

    "#]]
    .assert_eq(&out);
}

#[test]
fn what_leg_rules_and_join_rules_say_wrongly_is_named() {
    const L: &str = "fare_leg_rules.txt";
    const J: &str = "fare_leg_join_rules.txt";
    let out = faults(
        &V2_FILES,
        &[
            &[(L, "rail,rail,in,out", "rail,metro,in,out")],
            &[(L, "rail,rail,in,out", "rail,rail,inn,out")],
            &[(L, "rail,rail,in,out", "rail,rail,in,outer")],
            &[(L, "peak,any,ride", "night,any,ride")],
            &[(L, "peak,any,ride", "peak,late,ride")],
            &[(L, "peak,any,ride", "peak,any,rdie")],
            &[(L, "peak,any,ride", "peak,any,")],
            &[(L, "ride,2,", "ride,-2,")],
            &[(L, "ride,,1", "ride,,yes")],
            &[(L, "rail,rail,,,,,ride,1,", "rail,rail,,,,,ride,1,\nrail,rail,,,,,ride,0,")],
            &[(L, "rail,rail,,,,,ride,1,", "rail,rail,,,,,ride,1,\ntram,rail,,,,,ride,1,")],
            // Another rule holds wherever the first does, and outranks it.
            &[(L, "rail,rail,,,,,ride,1,", "rail,rail,,,,,ride,3,")],
            &[
                ("areas.txt", "out,Outer", "out,Outer\nfar,Far"),
                (L, "rail,rail,in,out", "rail,rail,in,far"),
            ],
            &[(J, "rail,bus,A,s1", "rail,bus,A,")],
            &[(J, "rail,bus,A,s1", "rail,bus,A,s9")],
            &[(J, "rail,bus,A,s1", "rail,bus,Ax,s1")],
            &[(J, "rail,bus,A,s1", "rail,metro,A,s1")],
            &[(J, "rail,bus,A,s1", "rail,,A,s1")],
            &[(J, "rail,rail,,\n", "rail,rail,,\nrail,rail,,\n")],
        ],
    );
    expect![[r#"
        error[foreign_key_violation]: fare_leg_rules.txt:2 network_id: there is no
            network "metro"

        error[foreign_key_violation]: fare_leg_rules.txt:2 from_area_id: there is no
            area "inn"

        error[foreign_key_violation]: fare_leg_rules.txt:2 to_area_id: there is no area
            "outer"

        error[foreign_key_violation]: fare_leg_rules.txt:2 from_timeframe_group_id:
            there is no timeframe group "night"

        error[foreign_key_violation]: fare_leg_rules.txt:2 to_timeframe_group_id: there
            is no timeframe group "late"

        error[foreign_key_violation]: fare_leg_rules.txt:2 fare_product_id: there is no
            fare product "rdie"

        error[missing_required_field]: fare_leg_rules.txt:2 fare_product_id: is empty:
            name the product that pays this leg

        error[number_out_of_range]: fare_leg_rules.txt:2 rule_priority: is no priority:
            use a whole number from 0; the rule never matches

        error[unexpected_enum_value]: fare_leg_rules.txt:3 transfer_only: "yes": use 0
            or 1; the rule never matches

        error[duplicate_key]: fare_leg_rules.txt:5 fare_product_id: the rule stands in
            row 4 already
        warning[unreachable_rule]: fare_leg_rules.txt:5 rule_priority: no journey can
            meet this rule: row 4 holds wherever it does, with a higher priority

        error[fare_leg_rule_in_two_leg_groups]: fare_leg_rules.txt:5 leg_group_id: the
            rule stands in row 4 already, there in leg group "rail": a rule is in one
            group

        warning[unreachable_rule]: fare_leg_rules.txt:2 rule_priority: no journey can
            meet this rule: row 4 holds wherever it does, with a higher priority

        warning[area_without_stops]: areas.txt:4 area_id: no stop is in area "far"
        warning[unreachable_rule]: fare_leg_rules.txt:2 to_area_id: no journey can meet
            this rule: no stop is in an area that it ends in

        error[missing_required_field]: fare_leg_join_rules.txt:3 to_stop_id: name both
            stops or neither: the rule joins nothing

        error[foreign_key_violation]: fare_leg_join_rules.txt:3 to_stop_id: there is no
            stop "s9"

        error[stop_is_no_place]: fare_leg_join_rules.txt:3 from_stop_id: "Ax" is neither
            a stop nor a station: fares are between those

        error[foreign_key_violation]: fare_leg_join_rules.txt:3 to_network_id: there is
            no network "metro"

        error[missing_required_field]: fare_leg_join_rules.txt:3 to_network_id: is empty
            and read as any network: name the network

        error[duplicate_key]: fare_leg_join_rules.txt:3 from_network_id: the rule stands
            in row 2 already

    "#]]
    .assert_eq(&out);
}

#[test]
fn what_transfer_rules_say_wrongly_is_named() {
    const X: &str = "fare_transfer_rules.txt";
    let out = faults(
        &V2_FILES,
        &[
            &[(X, "bus,bus,-1", "bus,bus,0")],
            &[(X, "bus,bus,-1", "bus,bus,-2")],
            &[(X, "bus,bus,-1", "bus,bus,")],
            &[(X, "bus,bus,-1", "bus,bus,twice")],
            &[(X, "rail,bus,,", "rail,bus,1,")],
            &[(X, "3600,2,1", "3600,,1")],
            &[(X, "3600,2,1", ",2,1")],
            &[(X, "3600,2,1", "0,2,1")],
            &[(X, "3600,2,1", "3600,4,1")],
            &[(X, "3600,2,1", "3600,2,3")],
            &[(X, "3600,2,1", "3600,2,")],
            &[(X, "1,change,ride", "1,chnage,ride")],
            &[(X, "1,change,ride", "1,change,rdie")],
            &[(X, "rail,bus,,", "tram,bus,,")],
            &[(X, "rail,bus,,", "rail,boat,,")],
            &[(X, "1,change,ride", "1,,ride")],
            &[(X, "bus,bus,-1,,,0,,\n", "bus,bus,-1,,,0,,\nbus,bus,-1,,,1,,\n")],
            &[(
                X,
                "filter_fare_product_id\nrail,bus,,3600,2,1,change,ride",
                "filter_fare_product_id,fare_media_behavior,fare_product_behavior\n\
                 rail,bus,,3600,2,1,change,ride,1,0",
            )],
            &[(X, "fare_transfer_type", "transfer_type")],
        ],
    );
    expect![[r#"
        error[fare_transfer_rule_invalid_transfer_count]: fare_transfer_rules.txt:3
            transfer_count: "0": use -1 for no limit, or 1 and more; the rule never
            matches

        error[fare_transfer_rule_invalid_transfer_count]: fare_transfer_rules.txt:3
            transfer_count: "-2": use -1 for no limit, or 1 and more; the rule never
            matches

        error[fare_transfer_rule_without_transfer_count]: fare_transfer_rules.txt:3
            transfer_count: is required between legs of one group: use -1 for no limit,
            as which it is read

        error[fare_transfer_rule_invalid_transfer_count]: fare_transfer_rules.txt:3
            transfer_count: "twice": use -1 for no limit, or 1 and more; the rule never
            matches

        error[fare_transfer_rule_with_forbidden_transfer_count]:
            fare_transfer_rules.txt:2 transfer_count: counts transfers within one leg
            group: leave it empty between two; it is not followed

        error[fare_transfer_rule_duration_limit_without_type]: fare_transfer_rules.txt:2
            duration_limit: has no duration_limit_type: say between which taps it is
            measured; the rule never matches

        error[fare_transfer_rule_duration_limit_type_without_duration_limit]:
            fare_transfer_rules.txt:2 duration_limit_type: is the type of no limit: give
            duration_limit, or leave this empty

        error[number_out_of_range]: fare_transfer_rules.txt:2 duration_limit: "0" is no
            number of seconds above 0; the rule never matches

        error[unexpected_enum_value]: fare_transfer_rules.txt:2 duration_limit_type:
            "4": use 0 to 3; the rule never matches

        error[unexpected_enum_value]: fare_transfer_rules.txt:2 fare_transfer_type: "3":
            use 0, 1 or 2; the rule never matches

        error[missing_required_field]: fare_transfer_rules.txt:2 fare_transfer_type: is
            empty: use 0, 1 or 2; the rule never matches

        error[foreign_key_violation]: fare_transfer_rules.txt:2 fare_product_id: there
            is no fare product "chnage"
        warning[unused_product]: fare_products.txt:5 fare_product_id: no rule uses
            product "change": nobody is charged it

        error[foreign_key_violation]: fare_transfer_rules.txt:2 filter_fare_product_id:
            there is no fare product "rdie"

        error[foreign_key_violation]: fare_transfer_rules.txt:2 from_leg_group_id: there
            is no leg group "tram"

        error[foreign_key_violation]: fare_transfer_rules.txt:2 to_leg_group_id: there
            is no leg group "boat"

        warning[unused_product]: fare_products.txt:5 fare_product_id: no rule uses
            product "change": nobody is charged it

        error[duplicate_key]: fare_transfer_rules.txt:4 from_leg_group_id: the rule
            stands in row 3 already

        warning[column_changes_price]: fare_transfer_rules.txt:2 fare_media_behavior:
            "1" is none of the specification and is not followed: a card pays all of a
            journey with one medium
        warning[column_changes_price]: fare_transfer_rules.txt:2 fare_product_behavior:
            "0" is none of the specification and is not followed: a card pays all of a
            journey with one medium

        warning[unknown_column]: fare_transfer_rules.txt:1 transfer_type: is none of the
            specification: it is ignored
        error[missing_required_column]: fare_transfer_rules.txt:1 fare_transfer_type:
            the column fare_transfer_type is missing
        warning[unused_product]: fare_products.txt:5 fare_product_id: no rule uses
            product "change": nobody is charged it

    "#]]
    .assert_eq(&out);
}

#[test]
fn what_stands_beside_the_specification_is_named() {
    let out = faults(
        &V2_FILES,
        &[
            &[("fare_capping.txt", "", "fare_cap_id\n")],
            &[("area_sets.txt", "", "area_set_id\n")],
            &[("areas.txt", "area_id,area_name\nin,Inner", "area_id,color\nin,red")],
            &[(
                "areas.txt",
                "area_id,area_name\nin,Inner\nout,Outer",
                "area_id,min_distance\nin,\nout,",
            )],
            &[("areas.txt", "area_id,area_name\nin,Inner", "area_id,min_distance\nin,5")],
            &[("areas.txt", "area_id,area_name", "area_id,area_id")],
            &[("areas.txt", "in,Inner", "in,Inner,Ring")],
            &[("fare_attributes.txt", "", "fare_id,price,currency_type,transfers\n")],
            &[
                ("fare_leg_rules.txt", "", ""),
                ("fare_attributes.txt", "", "fare_id,price,currency_type,transfers\na,1.00,USD,\n"),
            ],
            &[("fare_leg_rules.txt", "", "")],
            &[("fare_products.txt", "amount", "price")],
            &[("agency.txt", "New_York", "New York")],
            &[("agency.txt", "", "")],
            &[("agency.txt", "agency_timezone\n", "agency_timezone\nY,Other,America/Denver\n")],
            &[("stops.txt", "A1,Alpha 1,0,A,", "A1,Alpha 1,0,Q,")],
            &[("stops.txt", "A1,Alpha 1,0,A,", "A1,Alpha 1,0,B1,")],
            &[("stops.txt", "A1,Alpha 1,0,A,", "A1,Alpha 1,9,A,")],
            &[("stops.txt", "s1,Street", "A1,Street")],
            &[("routes.txt", "7,X,7,3", "M,X,7,3")],
            &[("routes.txt", "7,X,7,3", "7,Z,7,3")],
        ],
    );
    expect![[r#"
        warning[file_changes_price]: fare_capping.txt: is none of the specification (a
            draft or an extension) and is not read: prices here may be wrong

        warning[file_changes_price]: area_sets.txt: is none of the specification (a
            draft or an extension) and is not read: prices here may be wrong

        warning[unknown_column]: areas.txt:1 color: is none of the specification: it is
            ignored

        warning[unknown_column]: areas.txt:1 min_distance: is none of the specification
            and empty: it is ignored

        warning[column_changes_price]: areas.txt:1 min_distance: is none of the
            specification, and changes the price by its name: it is not followed, so
            prices here may be wrong

        error[duplicated_column]: areas.txt:1 area_id: the column stands twice: the
            first is read

        warning[invalid_row_length]: areas.txt:2: has more fields than the header: put
            fields with commas in quotes

        warning[two_fare_models]: fare_attributes.txt: stands beside Fares v2, which
            takes precedence: it is not read

        warning[two_fare_models]: fare_products.txt: Fares v2 needs rows in
            fare_products.txt and fare_leg_rules.txt: Fares v1 is used
        warning[unexpected_enum_value]: fare_attributes.txt:2 payment_method: "": use 0
            for on board or 1 for before boarding

        error[missing_required_file]: fare_leg_rules.txt: fare_leg_rules.txt is missing
            from the feed
        no fares

        warning[unknown_column]: fare_products.txt:1 price: is none of the
            specification: it is ignored
        error[missing_required_column]: fare_products.txt:1 amount: the column amount is
            missing
        no fares

        error[invalid_timezone]: agency.txt:2 agency_timezone: "America/New York" is no
            time zone: write one such as Europe/Berlin
        no fares

        error[missing_required_file]: agency.txt: agency.txt is missing from the feed
        no fares

        error[inconsistent_agency_timezone]: agency.txt:3 agency_timezone:
            "America/New_York" and "America/Denver": all agencies of a feed share one
            time zone; America/Denver is used

        error[foreign_key_violation]: stops.txt:3 parent_station: there is no station
            "Q"

        error[wrong_parent_location_type]: stops.txt:3 parent_station: "B1" is not a
            station: its location_type is not 1

        error[unexpected_enum_value]: stops.txt:3 location_type: location_type "9" is
            unknown: use 0 to 4; read as 0

        error[duplicate_key]: stops.txt:9 stop_id: stop "A1" stands twice
        error[foreign_key_violation]: fare_leg_join_rules.txt:3 to_stop_id: there is no
            stop "s1"

        error[duplicate_key]: routes.txt:3 route_id: route "M" stands twice
        error[foreign_key_violation]: route_networks.txt:3 route_id: there is no route
            "7"
        warning[network_without_routes]: networks.txt:3 network_id: no route is in
            network "bus"
        warning[unreachable_rule]: fare_leg_rules.txt:3 network_id: no journey can meet
            this rule: no route is in a network that it is for

        error[foreign_key_violation]: routes.txt:3 agency_id: there is no agency "Z"

    "#]]
    .assert_eq(&out);
}

#[test]
fn what_fares_v1_says_wrongly_is_named() {
    const A: &str = "fare_attributes.txt";
    const R: &str = "fare_rules.txt";
    let out = faults(
        &FILES,
        &[
            &[(A, "bus,1.50", "bus,1.5")],
            &[(A, "bus,1.50", "bus,1.5000")],
            &[(A, "bus,1.50", "bus,.5")],
            &[(A, "bus,1.50", "bus,1.505")],
            &[(A, "bus,1.50", "bus,-1.50")],
            &[(A, "1.50,EUR", "1.50,EURO")],
            &[(A, "1.50,EUR", "1.50,USD")],
            &[(A, "EUR,0,1,3600", "EUR,0,3,3600")],
            &[(A, "EUR,0,1,3600", "EUR,0,one,3600")],
            &[(A, "EUR,0,1,3600", "EUR,,1,3600")],
            &[(A, "EUR,0,1,3600", "EUR,0,1,1h")],
            &[(A, "bus,1.50", "near,1.50")],
            &[(R, "bus,7,,,\n", "")],
            &[(R, "bus,7,,,\n", ""), (A, "bus,1.50", "bus,0.00")],
            &[(R, "bus,7,,,", "bus,8,,,")],
            &[(R, "bus,7,,,", "bus,7,,,zq")],
            &[(R, "near,,za,za", "near,,zq,za")],
            &[(R, "near,,za,za", "nera,,za,za")],
            &[("agency.txt", "Europe/Berlin\n", "Europe/Berlin\nY,Two,,Europe/Berlin\n")],
            &[(A, "transfers,transfer_duration", "transfers,youth_price")],
            &[(A, "price", "prize")],
            &[("fare_periods.txt", "", "fare_period_id\n")],
        ],
    );
    expect![[r#"
        warning[invalid_currency_amount]: fare_attributes.txt:4 price: "1.5" is read as
            1.50 EUR: write it as 1.50

        warning[invalid_currency_amount]: fare_attributes.txt:4 price: "1.5000" is read
            as 1.50 EUR: write it as 1.50

        warning[invalid_currency_amount]: fare_attributes.txt:4 price: "0.5" is read as
            0.50 EUR: write it as 0.50

        error[invalid_currency_amount]: fare_attributes.txt:4 price: "1.505" has more
            decimals than EUR allows (2)

        error[number_out_of_range]: fare_attributes.txt:4 price: is below 0: a price of
            Fares v1 never is; the fare is left out

        error[invalid_currency]: fare_attributes.txt:4 currency_type: unknown currency
            "EURO": use an ISO 4217 code such as EUR, KRW or KWD

        error[several_currencies]: fare_attributes.txt:4 currency_type: USD beside EUR:
            the fares of a feed are in one currency

        warning[unexpected_enum_value]: fare_attributes.txt:4 transfers: 3 is read as 3
            transfers: the format knows 0 to 2

        error[unexpected_enum_value]: fare_attributes.txt:4 transfers: "one": use 0, 1,
            2 or leave it empty for unlimited; the fare is left out

        warning[unexpected_enum_value]: fare_attributes.txt:4 payment_method: "": use 0
            for on board or 1 for before boarding

        error[invalid_integer]: fare_attributes.txt:4 transfer_duration: "1h" is no
            number of seconds: the fare is left out

        error[duplicate_key]: fare_attributes.txt:4 fare_id: "near" stands twice
        error[foreign_key_violation]: fare_rules.txt:6 fare_id: there is no fare "bus"

        warning[fare_everywhere]: fare_attributes.txt:4 fare_id: fare "bus" has no rule
            and so holds everywhere

        warning[free_everywhere]: fare_attributes.txt:4 fare_id: fare "bus" costs
            nothing and has no rule: all is free

        error[foreign_key_violation]: fare_rules.txt:6 route_id: there is no route "8":
            the row holds nowhere
        warning[unreachable_fare]: fare_attributes.txt:4 fare_id: none of the rules of
            fare "bus" can hold: nobody pays it

        error[foreign_key_violation]: fare_rules.txt:6 contains_id: there is no zone of
            stops "zq"
        warning[unreachable_fare]: fare_attributes.txt:4 fare_id: none of the rules of
            fare "bus" can hold: nobody pays it

        error[foreign_key_violation]: fare_rules.txt:2 origin_id: there is no zone of
            stops "zq"

        error[foreign_key_violation]: fare_rules.txt:2 fare_id: there is no fare "nera"

        error[missing_required_field]: fare_attributes.txt:2 agency_id: is required in a
            feed of several agencies: the fare is read as one of all of them
        error[missing_required_field]: fare_attributes.txt:3 agency_id: is required in a
            feed of several agencies: the fare is read as one of all of them
        error[missing_required_field]: fare_attributes.txt:4 agency_id: is required in a
            feed of several agencies: the fare is read as one of all of them

        warning[column_changes_price]: fare_attributes.txt:1 youth_price: is none of the
            specification, and changes the price by its name: it is not followed, so
            prices here may be wrong

        warning[unknown_column]: fare_attributes.txt:1 prize: is none of the
            specification: it is ignored
        error[missing_required_column]: fare_attributes.txt:1 price: the column price is
            missing
        no fares

        warning[file_changes_price]: fare_periods.txt: is none of the specification (a
            draft or an extension) and is not read: prices here may be wrong

    "#]]
    .assert_eq(&out);
}
