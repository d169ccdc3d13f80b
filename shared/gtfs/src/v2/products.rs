//! `fare_products.txt`, `fare_media.txt` and `rider_categories.txt`.

use std::collections::BTreeMap;

use fare::rules::{RuleMedium, RuleProduct, RuleRider, Variant};
use model::Currency;

use super::{MEDIA, PRODUCTS, RIDERS, name};
use crate::{
    Feed,
    amount::{amount, currency},
    csv_table::{Column, Row, header, read, read_optional},
    diagnostic::{At, Findings},
    ids::Ids,
};

/// What can be bought, by whom, on what.
pub(super) struct Products {
    pub(super) currency: Currency,
    pub(super) riders: Vec<RuleRider>,
    pub(super) media: Vec<RuleMedium>,
    pub(super) list: Vec<RuleProduct>,
    pub(super) ids: Ids,
    /// Per product, its first row.
    pub(super) rows: Vec<u64>,
}

/// `None` when the products cannot be read, or none has a currency.
pub(super) fn read_products(feed: &Feed, found: &mut Findings) -> Option<Products> {
    const COLUMNS: [Column; 6] = [
        ("fare_product_id", true),
        ("amount", true),
        ("currency", true),
        ("fare_product_name", false),
        ("rider_category_id", false),
        ("fare_media_id", false),
    ];
    let (riders, rider_ids) = read_riders(feed, found);
    let (media, medium_ids) = read_media(feed, found);
    let mut table = Table { rider_ids, medium_ids, ..Table::default() };
    let complete = read(feed, PRODUCTS, &COLUMNS, found, |row, found| table.take(row, found));
    if !complete {
        return None;
    }
    let Some(currency) = table.currency else {
        let message = "no product has a known currency: nothing can be priced";
        found.error("no_currency", At::file(PRODUCTS), message);
        return None;
    };
    check_defaults(&table.products, &table.rows, &riders, found);
    let Table { products, ids, rows, .. } = table;
    Some(Products { currency, riders, media, list: products, ids, rows })
}

#[derive(Default)]
struct Table {
    rider_ids: Ids,
    medium_ids: Ids,
    currency: Option<Currency>,
    products: Vec<RuleProduct>,
    ids: Ids,
    rows: Vec<u64>,
    /// (product, rider, medium) → where it stands.
    seen: BTreeMap<(u16, String, String), u64>,
}

impl Table {
    fn take(&mut self, row: &Row<'_>, found: &mut Findings) {
        let [id, amount_text, currency_text, label, rider, medium] = row.fields();
        if id.is_empty() {
            let message = "is empty: give the product an id";
            return found.error("missing_required_field", row.of("fare_product_id"), message);
        }
        let Some(product) = self.ids.add(id, row.of("fare_product_id"), found) else { return };
        if usize::from(product) == self.products.len() {
            let product =
                RuleProduct { id: id.into(), name: name(label, id), variants: Vec::new() };
            self.products.push(product);
            self.rows.push(row.line);
        }
        let key = (product, rider.to_owned(), medium.to_owned());
        if let Some(first) = self.seen.get(&key) {
            let message = format!(
                "product {id:?} for this rider and medium stands in row {first} already: \
                 that one is used"
            );
            return found.error("duplicate_key", row.of("fare_product_id"), message);
        }
        self.seen.insert(key, row.line);
        let mut dead = false;
        let at = row.of("rider_category_id");
        let rider = self.rider_ids.refer(rider, at, "rider category", &mut dead, found);
        let at = row.of("fare_media_id");
        let medium = self.medium_ids.refer(medium, at, "fare medium", &mut dead, found);
        let own = currency(row, "currency", currency_text, &mut self.currency, found);
        let Some(own) = own else { return };
        let Some(amount) = amount(amount_text, own, row.of("amount"), found) else { return };
        if !dead {
            let variants = &mut self.products[usize::from(product)].variants;
            variants.push(Variant { rider, medium, amount });
        }
    }
}

fn read_riders(feed: &Feed, found: &mut Findings) -> (Vec<RuleRider>, Ids) {
    const COLUMNS: [Column; 3] = [
        ("rider_category_id", true),
        ("rider_category_name", false),
        ("is_default_fare_category", false),
    ];
    let (mut riders, mut ids) = (Vec::new(), Ids::default());
    read_optional(feed, RIDERS, &COLUMNS, found, |row, found| {
        let [id, label, default] = row.fields();
        if ids.define(id, row.of("rider_category_id"), found).is_none() {
            return;
        }
        let is_default = match default {
            "" | "0" => false,
            "1" => true,
            other => {
                let message = format!("{other:?}: use 1 for the default category, else 0");
                let at = row.of("is_default_fare_category");
                found.error("unexpected_enum_value", at, message);
                false
            }
        };
        riders.push(RuleRider { id: id.into(), name: name(label, id), is_default });
    });
    let columns = header(feed, RIDERS);
    for (column, _) in COLUMNS.iter().skip(1) {
        if feed.has(RIDERS) && !columns.iter().any(|name| name == column) {
            let message = "the specification asks for this column: no category counts as default \
                           and ids stand for names without it";
            found.warning("missing_recommended_column", At::field(RIDERS, 1, column), message);
        }
    }
    (riders, ids)
}

fn read_media(feed: &Feed, found: &mut Findings) -> (Vec<RuleMedium>, Ids) {
    const COLUMNS: [Column; 3] =
        [("fare_media_id", true), ("fare_media_name", false), ("fare_media_type", false)];
    let (mut media, mut ids): (Vec<RuleMedium>, _) = (Vec::new(), Ids::default());
    let mut kinds: BTreeMap<(String, String), String> = BTreeMap::new();
    read_optional(feed, MEDIA, &COLUMNS, found, |row, found| {
        let [id, label, kind] = row.fields();
        if ids.define(id, row.of("fare_media_id"), found).is_none() {
            return;
        }
        media.push(RuleMedium { id: id.into(), name: name(label, id) });
        let at = row.of("fare_media_type");
        match kind {
            "0" | "1" | "2" | "3" | "4" => {}
            "" => found.error("missing_required_field", at, "is empty: use 0 to 4"),
            other => {
                let message = format!("{other:?} is no type of medium: use 0 to 4");
                found.error("unexpected_enum_value", at, message);
            }
        }
        let first = kinds.entry((label.to_owned(), kind.to_owned())).or_insert_with(|| id.into());
        if first != id {
            let message =
                format!("{id:?} has the name and type of {first:?}: are both one medium?");
            found.warning("duplicate_fare_media", row.of("fare_media_id"), message);
        }
        if label.is_empty() && ["2", "4"].contains(&kind) {
            let message = "cards and apps should have the name that riders know";
            found.warning("missing_recommended_field", row.of("fare_media_name"), message);
        }
    });
    (media, ids)
}

/// Among several categories of one product, exactly one is the default.
fn check_defaults(
    products: &[RuleProduct],
    rows: &[u64],
    riders: &[RuleRider],
    found: &mut Findings,
) {
    for (product, row) in products.iter().zip(rows) {
        let mut own: Vec<u16> = product.variants.iter().filter_map(|v| v.rider).collect();
        own.sort_unstable();
        own.dedup();
        let default = |rider: &&u16| riders[usize::from(**rider)].is_default;
        let defaults = own.iter().filter(default).count();
        let any = product.variants.iter().any(|variant| variant.rider.is_none());
        let at = At::field(PRODUCTS, *row, "rider_category_id");
        let id = &product.id;
        if defaults > 1 {
            let message = format!("product {id:?} is for {defaults} default categories: keep one");
            found.error("fare_product_with_multiple_default_rider_categories", at, message);
        } else if own.len() > 1 && defaults == 0 && !any {
            let message = format!(
                "product {id:?} is for {} categories, none of which is the default: set \
                 is_default_fare_category = 1 for one, or add a row without category",
                own.len()
            );
            found.error("fare_product_without_default_rider_category", at, message);
        }
    }
}
