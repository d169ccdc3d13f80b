//! What is found in feeds of real cities, each kind of finding explained in `docs/fares.md`.
//!
//! The feeds are other people's and not kept here. Where one is not at hand, a made feed with its
//! faults stands for it, so that each kind of finding is looked for in any case.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::{
    FILES,
    fares::{V2_FILES, read_changed},
};
use crate::{FaresRead, Feed, FeedFares, Severity, read_feed_fares};

/// A feed, its findings with their number (severity, code, file, field, count), and how a sound
/// made feed is changed to have the same.
struct Real {
    feed: &'static str,
    findings: &'static str,
    made: (&'static [(&'static str, &'static str)], &'static [Change]),
}

/// (file, from, to), as `read_changed` takes it.
type Change = (&'static str, &'static str, &'static str);

const ATTRIBUTES: &str = "fare_attributes.txt";
const RULES: &str = "fare_rules.txt";
const PRODUCTS: &str = "fare_products.txt";
const LEGS: &str = "fare_leg_rules.txt";
const MEDIA: &str = "fare_media.txt";
const RIDERS: &str = "rider_categories.txt";

/// Fares v1 with all decimals.
const EXACT: Change =
    (ATTRIBUTES, "near,2,EUR,1,,\nfar,3.5,EUR,1,,", "near,2.00,EUR,1,,\nfar,3.50,EUR,1,,");
const UNUSED: Change = (PRODUCTS, "change,Change", "spare,Spare,,,1.00,USD\nchange,Change");
const AGES: [Change; 2] = [
    (RIDERS, "is_default_fare_category", "is_default_fare_category,min_age,max_age"),
    (RIDERS, "Adult,1", "Adult,1,18,64"),
];
const MEDIUM_RIDER: [Change; 2] = [
    (MEDIA, "fare_media_type", "fare_media_type,rider_category_id"),
    (MEDIA, "Card,2", "Card,2,adult"),
];

const REAL: [Real; 12] = [
    Real {
        feed: "hmrl-hyderabad",
        findings: "warning invalid_currency_amount fare_attributes.txt price 10",
        made: (&FILES, &[]),
    },
    Real {
        feed: "mbta-boston",
        findings: "error foreign_key_violation fare_leg_rules.txt from_timeframe_group_id 185\n\
                   warning unused_product fare_products.txt fare_product_id 1",
        made: (&V2_FILES, &[(LEGS, "peak,any", "free,any"), UNUSED]),
    },
    Real { feed: "bart-2018", findings: "", made: (&FILES, &[EXACT]) },
    Real {
        feed: "caltrain-2009",
        findings: "warning invalid_currency_amount fare_attributes.txt price 6",
        made: (&FILES, &[(ATTRIBUTES, "1.50", "1.5000")]),
    },
    Real {
        feed: "ctran-fares-v2",
        findings: "warning times_not_covered fare_leg_rules.txt from_timeframe_group_id 12\n\
                   warning unused_product fare_products.txt fare_product_id 2",
        made: (
            &V2_FILES,
            &[
                (LEGS, "rail,rail,,,,,ride", "rail,rail,,,any,,ride"),
                (LEGS, "peak,any", "peak,"),
                ("timeframes.txt", "any,,,wk", "any,09:00:00,23:59:00,wk"),
                UNUSED,
            ],
        ),
    },
    Real { feed: "google-sample-v1", findings: "", made: (&FILES, &[EXACT]) },
    Real {
        feed: "kcm-2016",
        findings: "error foreign_key_violation fare_rules.txt destination_id 470\n\
                   error foreign_key_violation fare_rules.txt origin_id 470\n\
                   error missing_required_field fare_attributes.txt agency_id 19\n\
                   warning column_changes_price fare_attributes.txt fare_period_id 1\n\
                   warning column_changes_price fare_attributes.txt senior_price 1\n\
                   warning column_changes_price fare_attributes.txt youth_price 1\n\
                   warning invalid_currency_amount fare_attributes.txt price 8\n\
                   warning unreachable_fare fare_attributes.txt fare_id 4",
        made: (
            &FILES,
            &[
                ("agency.txt", "Berlin\n", "Berlin\nY,Two,,Europe/Berlin\n"),
                (ATTRIBUTES, "duration\n", "duration,fare_period_id,senior_price,youth_price\n"),
                (ATTRIBUTES, "near,2,EUR,1,,", "near,2,EUR,1,,,1,1.00,1.00"),
                (RULES, "near,,za,za,\nnear,,zb,zb,", "near,,z3,,\nnear,,,z4,"),
            ],
        ),
    },
    Real { feed: "mdot-metro-fares-v2", findings: MDOT, made: (&V2_FILES, MDOT_MADE) },
    Real {
        feed: "otp-farecomponent",
        findings: "warning invalid_currency_amount fare_attributes.txt price 5",
        made: (&FILES, &[]),
    },
    Real {
        feed: "sandy-fares-v2",
        findings: "warning column_changes_price fare_media.txt rider_category_id 1\n\
                   warning unknown_column rider_categories.txt max_age 1\n\
                   warning unknown_column rider_categories.txt min_age 1\n\
                   warning unreachable_rule fare_leg_rules.txt rule_priority 2",
        made: (
            &V2_FILES,
            &[AGES[0], AGES[1], MEDIUM_RIDER[0], MEDIUM_RIDER[1], (LEGS, "ride,1,", "ride,3,")],
        ),
    },
    Real {
        feed: "trimet-2routes",
        findings: "warning invalid_currency_amount fare_attributes.txt price 4",
        made: (&FILES, &[]),
    },
    Real { feed: "turlock-fares-v2", findings: TURLOCK, made: (&V2_FILES, TURLOCK_MADE) },
];

const MDOT: &str = "error missing_required_column fare_transfer_rules.txt fare_transfer_type 1\n\
    warning column_changes_price fare_media.txt rider_category_id 1\n\
    warning column_changes_price fare_products.txt duration_amount 1\n\
    warning column_changes_price fare_products.txt duration_start 1\n\
    warning column_changes_price fare_products.txt duration_type 1\n\
    warning column_changes_price fare_products.txt duration_unit 1\n\
    warning column_changes_price fare_products.txt offset_amount 1\n\
    warning column_changes_price fare_products.txt offset_unit 1\n\
    warning column_changes_price fare_transfer_rules.txt is_symmetrical 1\n\
    warning unknown_column fare_leg_rules.txt contains_area_id 1\n\
    warning unknown_column fare_leg_rules.txt distance_type 1\n\
    warning unknown_column fare_leg_rules.txt eligible_cap_id 1\n\
    warning unknown_column fare_leg_rules.txt fare_leg_name 1\n\
    warning unknown_column fare_leg_rules.txt from_timeframe_id 1\n\
    warning unknown_column fare_leg_rules.txt is_symmetrical 1\n\
    warning unknown_column fare_leg_rules.txt max_distance 1\n\
    warning unknown_column fare_leg_rules.txt min_distance 1\n\
    warning unknown_column fare_leg_rules.txt to_timeframe_id 1\n\
    warning unknown_column fare_products.txt bundle_amount 1\n\
    warning unknown_column fare_products.txt cap_required 1\n\
    warning unknown_column fare_products.txt eligible_cap_id 1\n\
    warning unknown_column fare_products.txt max_amount 1\n\
    warning unknown_column fare_products.txt min_amount 1\n\
    warning unknown_column fare_products.txt service_id 1\n\
    warning unknown_column fare_products.txt timeframe_id 1\n\
    warning unknown_column fare_products.txt timeframe_type 1\n\
    warning unknown_column rider_categories.txt max_age 1\n\
    warning unknown_column rider_categories.txt min_age 1";

const MDOT_MADE: &[Change] = &[
    AGES[0],
    AGES[1],
    MEDIUM_RIDER[0],
    MEDIUM_RIDER[1],
    ("fare_transfer_rules.txt", "", "from_leg_group_id,is_symmetrical\nrail,1\n"),
    (
        LEGS,
        "transfer_only",
        "transfer_only,contains_area_id,distance_type,eligible_cap_id,fare_leg_name,\
         from_timeframe_id,is_symmetrical,max_distance,min_distance,to_timeframe_id",
    ),
    (
        PRODUCTS,
        "",
        "fare_product_id,amount,currency,duration_amount,duration_start,duration_type,\
         duration_unit,offset_amount,offset_unit,bundle_amount,cap_required,eligible_cap_id,\
         max_amount,min_amount,service_id,timeframe_id,timeframe_type\n\
         ride,1.00,USD,1,0,1,3,3,2\n",
    ),
];

const TURLOCK: &str = "warning column_changes_price fare_leg_rules.txt rider_category_id 1\n\
    warning column_changes_price fare_products.txt duration_amount 1\n\
    warning column_changes_price fare_products.txt duration_type 1\n\
    warning column_changes_price fare_products.txt duration_unit 1\n\
    warning file_changes_price fare_rider_categories.txt  1\n\
    warning invalid_currency_amount fare_products.txt amount 12\n\
    warning missing_recommended_column rider_categories.txt is_default_fare_category 1\n\
    warning two_fare_models fare_attributes.txt  1\n\
    warning unknown_column rider_categories.txt max_age 1\n\
    warning unknown_column rider_categories.txt min_age 1";

const TURLOCK_MADE: &[Change] = &[
    ("fare_transfer_rules.txt", "", ""),
    ("fare_rider_categories.txt", "", "fare_id\n"),
    (ATTRIBUTES, "", "fare_id\n"),
    (RIDERS, "", "rider_category_id,rider_category_name,min_age,max_age\nyouth,Youth,7,17\n"),
    (LEGS, "transfer_only\n", "transfer_only,rider_category_id\n"),
    (LEGS, "bus,bus,,,,,ride,,1", "bus,bus,,,,,ride,,1,youth"),
    (
        PRODUCTS,
        "",
        "fare_product_id,amount,currency,duration_amount,duration_type,duration_unit\n\
         ride,2,USD,1,2,3\n",
    ),
];

/// The folders that hold the feeds, beside the project or where `TAPLINE_FEEDS` says.
pub(super) fn find(feed: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/gtfs");
    let folder = std::env::var_os("TAPLINE_FEEDS").map_or(beside, PathBuf::from);
    [folder.join(feed), folder.join("../gtfs-more").join(feed)].into_iter().find(|f| f.is_dir())
}

/// Findings by kind, with how many there are of each.
fn kinds(read: &FaresRead) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for found in &read.diagnostics {
        let severity = match found.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        let field = found.field.as_deref().unwrap_or_default();
        let kind = format!("{severity} {} {} {field}", found.code, found.file);
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

#[test]
fn each_finding_in_a_real_feed_is_expected_and_made_feeds_have_the_same_kinds() {
    for Real { feed, findings, made: (files, changes) } in REAL {
        let expected: BTreeMap<String, usize> = findings
            .lines()
            .map(|line| line.rsplit_once(' ').unwrap())
            .map(|(kind, count)| (kind.to_owned(), count.parse().unwrap()))
            .collect();
        let made = read_changed(files, changes);
        assert!(made.fares.is_some(), "made {feed}");
        let of_made: BTreeSet<String> = kinds(&made).into_keys().collect();
        assert_eq!(of_made, expected.keys().cloned().collect(), "made {feed}");
        if let Some(folder) = find(feed) {
            let read = read_feed_fares(&Feed::open(&folder).unwrap());
            assert!(read.fares.is_some(), "{feed}");
            assert_eq!(kinds(&read), expected, "{feed}");
        }
    }
}

#[test]
fn every_finding_in_a_real_feed_is_explained_in_the_documents() {
    let text = include_str!("../../../../docs/fares.md");
    let section = text.split("\n## Real feeds\n").nth(1).expect("the section is there");
    for Real { feed, findings, .. } in REAL {
        let mark = format!("| `{feed}` |");
        let rows: Vec<&str> = section.lines().filter(|line| line.starts_with(&mark)).collect();
        assert!(!rows.is_empty(), "{feed} is not in docs/fares.md");
        for code in findings.lines().filter_map(|line| line.split(' ').nth(1)) {
            let code = format!("`{code}`");
            assert!(rows.iter().any(|row| row.contains(&code)), "{feed} {code}");
        }
    }
}

/// The shape of what is read from the feeds that are at hand, counted from their texts.
#[test]
fn real_feeds_are_read_whole() {
    for Real { feed, .. } in REAL {
        let Some(folder) = find(feed) else { continue };
        let lines = |file: &str| {
            let text = std::fs::read_to_string(folder.join(file)).unwrap_or_default();
            text.lines().filter(|line| !line.trim().is_empty()).count().saturating_sub(1)
        };
        let read = read_feed_fares(&Feed::open(&folder).unwrap());
        match read.fares.unwrap() {
            FeedFares::Rules(set) => {
                assert_eq!(set.leg_rules.len(), lines(LEGS), "{feed}");
                let variants: usize = set.products.iter().map(|p| p.variants.len()).sum();
                assert_eq!(variants, lines(PRODUCTS), "{feed}");
                assert_eq!(set.routes.len(), lines("routes.txt"), "{feed}");
            }
            FeedFares::Tickets(set) => {
                assert_eq!(set.tickets.len(), lines(ATTRIBUTES), "{feed}");
                assert_eq!(set.routes.len(), lines("routes.txt"), "{feed}");
            }
        }
    }
}
