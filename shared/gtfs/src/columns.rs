//! What fare files say beside the specification. A column that changes a price and is not
//! followed is said loudly; any other is only named.

use std::collections::BTreeSet;

use crate::{
    Feed,
    csv_table::{filled_columns, header},
    diagnostic::{At, Findings},
};

/// The columns that are read, by file; those of the MBTA included.
const V2: &[(&str, &[&str])] = &[
    ("areas.txt", &["area_id", "area_name"]),
    (
        "fare_leg_join_rules.txt",
        &["from_network_id", "to_network_id", "from_stop_id", "to_stop_id"],
    ),
    (
        "fare_leg_rules.txt",
        &[
            "leg_group_id",
            "network_id",
            "from_area_id",
            "to_area_id",
            "from_timeframe_group_id",
            "to_timeframe_group_id",
            "fare_product_id",
            "rule_priority",
            "transfer_only",
        ],
    ),
    ("fare_media.txt", &["fare_media_id", "fare_media_name", "fare_media_type"]),
    (
        "fare_products.txt",
        &[
            "fare_product_id",
            "fare_product_name",
            "rider_category_id",
            "fare_media_id",
            "amount",
            "currency",
        ],
    ),
    (
        "fare_transfer_rules.txt",
        &[
            "from_leg_group_id",
            "to_leg_group_id",
            "transfer_count",
            "duration_limit",
            "duration_limit_type",
            "fare_transfer_type",
            "fare_product_id",
            "filter_fare_product_id",
            "fare_media_behavior",
            "fare_product_behavior",
        ],
    ),
    ("networks.txt", &["network_id", "network_name"]),
    (
        "rider_categories.txt",
        &[
            "rider_category_id",
            "rider_category_name",
            "is_default_fare_category",
            "eligibility_url",
        ],
    ),
    ("route_networks.txt", &["network_id", "route_id"]),
    ("stop_areas.txt", &["area_id", "stop_id"]),
    ("timeframes.txt", &["timeframe_group_id", "start_time", "end_time", "service_id"]),
];

const V1: &[(&str, &[&str])] = &[
    (
        "fare_attributes.txt",
        &[
            "fare_id",
            "price",
            "currency_type",
            "payment_method",
            "transfers",
            "agency_id",
            "transfer_duration",
        ],
    ),
    ("fare_rules.txt", &["fare_id", "route_id", "origin_id", "destination_id", "contains_id"]),
];

/// Columns of drafts, proposals and single operators that change what is paid.
const PRICING: &[&str] = &[
    "bundle_amount",
    "cap_required",
    "contains_area_id",
    "duration_amount",
    "duration_limit",
    "duration_limit_type",
    "duration_start",
    "duration_type",
    "duration_unit",
    "fare_media_id",
    "fare_period_id",
    "fare_product_id",
    "from_timeframe_id",
    "greater_area_id",
    "is_symmetrical",
    "journey_duration",
    "nonconsecutive_transfers_allowed",
    "offset_amount",
    "offset_unit",
    "rider_category_id",
    "service_id",
    "spanning_limit",
    "timeframe_id",
    "timeframe_type",
    "to_timeframe_id",
    "transfer_id",
    "transfer_sequence",
    "transfer_time",
];

/// Parts of names that are about the price in whatever draft they stand.
const PRICING_PARTS: &[&str] =
    &["amount", "area_set", "cap_id", "discount", "distance", "filter_", "_price", "surcharge"];

/// Files that carry prices but are none of the specification, besides those named `fare…`.
const PRICING_FILES: &[&str] =
    &["area_set_elements.txt", "area_sets.txt", "areas_sets.txt", "rider_trips.txt"];

/// Names what stands beside the specification in the files of one fare model.
pub(crate) fn check_columns(feed: &Feed, rules: bool, found: &mut Findings) {
    for (file, known) in if rules { V2 } else { V1 } {
        let unknown: Vec<String> = header(feed, file)
            .into_iter()
            .filter(|name| !name.is_empty() && !known.contains(&name.as_str()))
            .collect();
        let filled = if unknown.is_empty() { BTreeSet::new() } else { filled_columns(feed, file) };
        for column in unknown {
            let at = At::field(file, 1, &column);
            if prices(&column) && filled.contains(&column) {
                let message = "is none of the specification, and changes the price by its name: \
                               it is not followed, so prices here may be wrong";
                found.warning("column_changes_price", at, message);
            } else {
                let empty = if filled.contains(&column) { "" } else { " and empty" };
                let message = format!("is none of the specification{empty}: it is ignored");
                found.warning("unknown_column", at, message);
            }
        }
    }
    for name in feed.names() {
        let known = V2.iter().chain(V1).any(|(file, _)| *file == name);
        let fares = name.starts_with("fare");
        if !known && (fares || PRICING_FILES.contains(&name)) {
            let message = "is none of the specification (a draft or an extension) and is not \
                           read: prices here may be wrong";
            found.warning("file_changes_price", At::file(name), message);
        }
    }
}

fn prices(column: &str) -> bool {
    PRICING.contains(&column) || PRICING_PARTS.iter().any(|part| column.contains(part))
}
