//! `fare_transfer_rules.txt`.

use std::collections::BTreeMap;

use fare::rules::{DurationSpan, TransferKind, TransferRule};

use super::TRANSFERS;
use crate::{
    Feed,
    csv_table::{Column, Row, read_optional},
    diagnostic::Findings,
    ids::Ids,
};

const COLUMNS: [Column; 10] = [
    ("fare_transfer_type", true),
    ("from_leg_group_id", false),
    ("to_leg_group_id", false),
    ("transfer_count", false),
    ("duration_limit", false),
    ("duration_limit_type", false),
    ("fare_product_id", false),
    ("filter_fare_product_id", false),
    ("fare_media_behavior", false),
    ("fare_product_behavior", false),
];

/// A fault that leaves the rule without a meaning: it never matches.
struct Meaningless;

pub(super) fn read_transfers(
    feed: &Feed,
    products: &Ids,
    groups: &Ids,
    found: &mut Findings,
) -> Vec<TransferRule> {
    let mut rules = Vec::new();
    let mut seen: BTreeMap<[String; 6], u64> = BTreeMap::new();
    read_optional(feed, TRANSFERS, &COLUMNS, found, |row, found| {
        rules.push(rule(row, products, groups, found));
        let [_, from, to, count, limit, _, product, holding, ..] = row.fields::<10>();
        let key = [from, to, count, limit, product, holding].map(str::to_owned);
        let first = *seen.entry(key).or_insert(row.line);
        if first != row.line {
            let message = format!("the rule stands in row {first} already");
            found.error("duplicate_key", row.of("from_leg_group_id"), message);
        }
    });
    rules
}

fn rule(row: &Row<'_>, products: &Ids, groups: &Ids, found: &mut Findings) -> TransferRule {
    let [kind_text, from, to, _, _, _, product, holding, media, same_product] = row.fields();
    let mut dead = false;
    let mut refer = |ids: &Ids, id: &str, field, what, found: &mut Findings| {
        ids.refer(id, row.of(field), what, &mut dead, found)
    };
    let from = refer(groups, from, "from_leg_group_id", "leg group", found);
    let to = refer(groups, to, "to_leg_group_id", "leg group", found);
    let product = refer(products, product, "fare_product_id", "fare product", found);
    let holding = refer(products, holding, "filter_fare_product_id", "fare product", found);
    let kind = kind(row, kind_text, found);
    let count = count(row, found);
    let limit = limit(row, found);
    for (field, text, meant) in
        [("fare_media_behavior", media, "0"), ("fare_product_behavior", same_product, "1")]
    {
        if !["", meant].contains(&text) {
            let message = format!(
                "{text:?} is none of the specification and is not followed: a card pays all of \
                 a journey with one medium"
            );
            found.warning("column_changes_price", row.of(field), message);
        }
    }
    TransferRule {
        from,
        to,
        dead: dead || kind.is_err() || count.is_err() || limit.is_err(),
        count: count.unwrap_or(None),
        limit: limit.unwrap_or(None),
        kind: kind.unwrap_or(TransferKind::BesidesNext),
        product,
        holding,
        row: u32::try_from(row.line).unwrap_or(u32::MAX),
    }
}

fn kind(row: &Row<'_>, text: &str, found: &mut Findings) -> Result<TransferKind, Meaningless> {
    let at = row.of("fare_transfer_type");
    match text {
        "0" => Ok(TransferKind::InsteadOfNext),
        "1" => Ok(TransferKind::BesidesNext),
        "2" => Ok(TransferKind::InsteadOfBoth),
        "" => {
            let message = "is empty: use 0, 1 or 2; the rule never matches";
            found.error("missing_required_field", at, message);
            Err(Meaningless)
        }
        other => {
            let message = format!("{other:?}: use 0, 1 or 2; the rule never matches");
            found.error("unexpected_enum_value", at, message);
            Err(Meaningless)
        }
    }
}

/// How many transfers in a row; only between legs of one group.
fn count(row: &Row<'_>, found: &mut Findings) -> Result<Option<u32>, Meaningless> {
    let [_, from, to, text] = row.fields();
    let at = row.of("transfer_count");
    let same = !from.is_empty() && from == to;
    // Two empty fields are equal too, but may stand for two groups: a count is then followed.
    if from != to && !text.is_empty() {
        let message = "counts transfers within one leg group: leave it empty between two; it is \
                       not followed";
        found.error("fare_transfer_rule_with_forbidden_transfer_count", at, message);
        return Ok(None);
    }
    match (text, text.parse::<i64>()) {
        ("", _) if same => {
            let message = "is required between legs of one group: use -1 for no limit, as which \
                           it is read";
            found.error("fare_transfer_rule_without_transfer_count", at, message);
            Ok(None)
        }
        ("", _) | (_, Ok(-1)) => Ok(None),
        (_, Ok(count @ 1..)) => Ok(Some(u32::try_from(count).unwrap_or(u32::MAX))),
        _ => {
            let message =
                format!("{text:?}: use -1 for no limit, or 1 and more; the rule never matches");
            found.error("fare_transfer_rule_invalid_transfer_count", at, message);
            Err(Meaningless)
        }
    }
}

type Limit = Option<(u32, DurationSpan)>;

fn limit(row: &Row<'_>, found: &mut Findings) -> Result<Limit, Meaningless> {
    let (text, kind) = (row.text(4), row.text(5));
    let span = match kind {
        "" => None,
        "0" => Some(DurationSpan::DepartureToArrival),
        "1" => Some(DurationSpan::DepartureToDeparture),
        "2" => Some(DurationSpan::ArrivalToDeparture),
        "3" => Some(DurationSpan::ArrivalToArrival),
        other => {
            let message = format!("{other:?}: use 0 to 3; the rule never matches");
            found.error("unexpected_enum_value", row.of("duration_limit_type"), message);
            return Err(Meaningless);
        }
    };
    if text.is_empty() {
        if span.is_some() {
            let message = "is the type of no limit: give duration_limit, or leave this empty";
            let code = "fare_transfer_rule_duration_limit_type_without_duration_limit";
            found.error(code, row.of("duration_limit_type"), message);
        }
        return Ok(None);
    }
    let Some(seconds) = text.parse::<u32>().ok().filter(|seconds| *seconds > 0) else {
        let message = format!("{text:?} is no number of seconds above 0; the rule never matches");
        found.error("number_out_of_range", row.of("duration_limit"), message);
        return Err(Meaningless);
    };
    let Some(span) = span else {
        let message = "has no duration_limit_type: say between which taps it is measured; the \
                       rule never matches";
        let code = "fare_transfer_rule_duration_limit_without_type";
        found.error(code, row.of("duration_limit"), message);
        return Err(Meaningless);
    };
    Ok(Some((seconds, span)))
}
