//! `fare_leg_rules.txt` and `fare_leg_join_rules.txt`.

use std::collections::BTreeMap;

use fare::rules::{AreaIx, JoinRule, LegRule, NetworkIx};

use super::{JOINS, LEGS};
use crate::{
    Feed,
    base::Base,
    csv_table::{Column, Row, header, read, read_optional},
    diagnostic::Findings,
    ids::Ids,
};

/// What leg rules refer to.
pub(super) struct Names<'a> {
    pub(super) products: &'a Ids,
    pub(super) networks: &'a Ids,
    pub(super) areas: &'a Ids,
    pub(super) timeframes: &'a Ids,
}

/// The leg rules, and the groups that they name.
pub(super) struct Legs {
    pub(super) groups: Ids,
    pub(super) has_priority: bool,
    pub(super) rules: Vec<LegRule>,
}

const COLUMNS: [Column; 9] = [
    ("fare_product_id", true),
    ("leg_group_id", false),
    ("network_id", false),
    ("from_area_id", false),
    ("to_area_id", false),
    ("from_timeframe_group_id", false),
    ("to_timeframe_group_id", false),
    ("rule_priority", false),
    ("transfer_only", false),
];

/// `None` when the file is missing or cannot be read.
pub(super) fn read_legs(feed: &Feed, names: &Names<'_>, found: &mut Findings) -> Option<Legs> {
    let mut groups = Ids::default();
    let mut rules = Vec::new();
    // All fields but the group → row and group of the first.
    let mut seen: BTreeMap<[String; 7], (u64, String)> = BTreeMap::new();
    let complete = read(feed, LEGS, &COLUMNS, found, |row, found| {
        rules.push(rule(row, names, &mut groups, found));
        let [product, group, network, from, to, from_time, to_time, _, only] = row.fields();
        let key = [product, network, from, to, from_time, to_time, only].map(str::to_owned);
        let Some((first, other)) = seen.get(&key) else {
            seen.insert(key, (row.line, group.to_owned()));
            return;
        };
        if other == group {
            let message = format!("the rule stands in row {first} already");
            found.error("duplicate_key", row.of("fare_product_id"), message);
        } else {
            let message = format!(
                "the rule stands in row {first} already, there in leg group {other:?}: a rule \
                 is in one group"
            );
            found.error("fare_leg_rule_in_two_leg_groups", row.of("leg_group_id"), message);
        }
    });
    let has_priority = header(feed, LEGS).iter().any(|name| name == "rule_priority");
    complete.then_some(Legs { groups, has_priority, rules })
}

fn rule(row: &Row<'_>, names: &Names<'_>, groups: &mut Ids, found: &mut Findings) -> LegRule {
    let [product, group, network, from, to, from_time, to_time, priority, only] = row.fields();
    let mut dead = false;
    let mut refer = |ids: &Ids, id: &str, field, kind, found: &mut Findings| {
        ids.refer(id, row.of(field), kind, &mut dead, found)
    };
    let named_product = refer(names.products, product, "fare_product_id", "fare product", found);
    let network = refer(names.networks, network, "network_id", "network", found);
    let from = refer(names.areas, from, "from_area_id", "area", found);
    let to = refer(names.areas, to, "to_area_id", "area", found);
    let field = "from_timeframe_group_id";
    let from_time = refer(names.timeframes, from_time, field, "timeframe group", found);
    let field = "to_timeframe_group_id";
    let to_time = refer(names.timeframes, to_time, field, "timeframe group", found);
    if product.is_empty() {
        dead = true;
        let message = "is empty: name the product that pays this leg";
        found.error("missing_required_field", row.of("fare_product_id"), message);
    }
    let priority = if priority.is_empty() { Some(0) } else { priority.parse().ok() };
    if priority.is_none() {
        let message = "is no priority: use a whole number from 0; the rule never matches";
        found.error("number_out_of_range", row.of("rule_priority"), message);
    }
    let transfer_only = match only {
        "" | "0" => Some(false),
        "1" => Some(true),
        other => {
            let message = format!("{other:?}: use 0 or 1; the rule never matches");
            found.error("unexpected_enum_value", row.of("transfer_only"), message);
            None
        }
    };
    let in_group = !group.is_empty();
    LegRule {
        group: in_group.then(|| groups.add(group, row.of("leg_group_id"), found)).flatten(),
        network: network.map(NetworkIx),
        from: from.map(AreaIx),
        to: to.map(AreaIx),
        from_time,
        to_time,
        product: named_product.unwrap_or(0),
        dead: dead || priority.is_none() || transfer_only.is_none(),
        priority: priority.unwrap_or(0),
        transfer_only: transfer_only.unwrap_or(false),
        row: u32::try_from(row.line).unwrap_or(u32::MAX),
    }
}

/// The join rules; one that refers to nothing joins nothing and is left out.
pub(super) fn read_joins(
    feed: &Feed,
    base: &Base,
    networks: &Ids,
    found: &mut Findings,
) -> Vec<JoinRule> {
    const COLUMNS: [Column; 4] = [
        ("from_network_id", true),
        ("to_network_id", true),
        ("from_stop_id", false),
        ("to_stop_id", false),
    ];
    let mut joins = Vec::new();
    let mut seen: BTreeMap<[String; 4], u64> = BTreeMap::new();
    read_optional(feed, JOINS, &COLUMNS, found, |row, found| {
        let key = row.fields::<4>().map(str::to_owned);
        if let Some(first) = seen.get(&key) {
            let message = format!("the rule stands in row {first} already");
            return found.error("duplicate_key", row.of("from_network_id"), message);
        }
        seen.insert(key, row.line);
        joins.extend(join(row, base, networks, found));
    });
    joins
}

fn join(row: &Row<'_>, base: &Base, networks: &Ids, found: &mut Findings) -> Option<JoinRule> {
    let [from, to, from_stop, to_stop] = row.fields();
    let mut dead = false;
    let mut network = |id: &str, field, found: &mut Findings| {
        if id.is_empty() {
            let message = "is empty and read as any network: name the network";
            found.error("missing_required_field", row.of(field), message);
        }
        networks.refer(id, row.of(field), "network", &mut dead, found).map(NetworkIx)
    };
    let from = network(from, "from_network_id", found);
    let to = network(to, "to_network_id", found);
    if from_stop.is_empty() != to_stop.is_empty() {
        let field = if from_stop.is_empty() { "from_stop_id" } else { "to_stop_id" };
        let message = "name both stops or neither: the rule joins nothing";
        found.error("missing_required_field", row.of(field), message);
        return None;
    }
    let mut stops = None;
    if !from_stop.is_empty() {
        let from_stop = base.refer_stop(from_stop, row.of("from_stop_id"), found);
        let to_stop = base.refer_stop(to_stop, row.of("to_stop_id"), found);
        stops = Some(from_stop.zip(to_stop)?);
    }
    (!dead).then_some(JoinRule { from, to, stops })
}
