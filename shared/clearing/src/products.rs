//! What cards carry besides value, held against what was sold (ADR-0024).
//!
//! A product reaches a card by the load key alone, and a validator holds that key of a card only
//! while it carries an order for it out. So each product that a card proves to carry was bought by
//! an order of that card, with no more rides than its orders brought; anything else was made by
//! whoever misused a key.

use alloc::{format, string::String};

use model::{CardId, CardProduct, CardRecord, ProductKind, ProductSlot, ProductsFound, Timestamp};

use crate::{BookedOrder, Evidence, Exception, ExceptionId, ExceptionKind, OrderPhase, TapRef};

/// What a card proves to carry and nobody sold it, as a work item. Not to be asked of a card that
/// was issued with products: those no order names.
pub fn unsold(
    card: CardId,
    tap: TapRef,
    held: &ProductsFound,
    orders: &[BookedOrder],
    now: Timestamp,
) -> Option<Exception> {
    let slots = ProductSlot::ALL.into_iter();
    let products = slots.filter_map(|slot| held.file.slot(slot).ok().flatten());
    let findings = products.filter_map(|product| finding(&product, held.rides, orders));
    findings.map(|(key, finding)| item(card, Some(tap), None, &key, finding, now)).next()
}

/// A load of no value that no order of its card explains, as a work item.
pub fn unexplained_sale(card: CardId, record: &CardRecord, now: Timestamp) -> Exception {
    let finding =
        format!("load {} of the card brought no value and no order names it", record.load_seq);
    item(card, None, Some(*record), &record.ctr.0.to_be_bytes(), finding, now)
}

fn finding(
    product: &CardProduct,
    rides: Option<u32>,
    orders: &[BookedOrder],
) -> Option<([u8; 11], String)> {
    let CardProduct { id, kind, scope, until_s, .. } = *product;
    let mut key = [0; 11];
    key[..2].copy_from_slice(&id.to_be_bytes());
    key[2..4].copy_from_slice(&scope.number().to_be_bytes());
    key[4..8].copy_from_slice(&until_s.to_be_bytes());
    key[8] = u8::from(kind == ProductKind::Rides);
    let bought = orders.iter().filter(|order| order.phase != OrderPhase::Waiting);
    let sales = bought.filter_map(|order| order.product);
    let same = |sold: &CardProduct| CardProduct { serial: product.serial, ..*sold } == *product;
    let known = sales.clone().any(|sale| same(&sale.product));
    if !known {
        return Some((key, format!("it carries product {id}, which no order put on it")));
    }
    let of_it = |sold: &CardProduct| (sold.id, sold.kind, sold.scope) == (id, kind, scope);
    let sold: u32 =
        sales.filter(|sale| of_it(&sale.product)).map(|sale| u32::from(sale.rides)).sum();
    let held = rides.filter(|_| kind == ProductKind::Rides).unwrap_or(0);
    key[9] = 1;
    (held > sold).then(|| {
        (key, format!("it carries {held} rides of product {id}, and its orders brought {sold}"))
    })
}

fn item(
    card: CardId,
    tap: Option<TapRef>,
    record: Option<CardRecord>,
    key: &[u8],
    finding: String,
    now: Timestamp,
) -> Exception {
    let kind = ExceptionKind::ProductWithoutOrder;
    Exception {
        id: ExceptionId::new(kind, &card.0, key),
        kind,
        card: Some(card),
        validator: tap.map(|tap| tap.validator),
        amount: None,
        opened_at: now,
        finding,
        evidence: alloc::vec![Evidence { title: "where it was found", tap, record }],
    }
}
