//! What was paid for products, shared between the operators whose rides they paid (ADR-0025).
//!
//! A product is shared once, with a closed day on which it is over: its rides are used up, or its
//! end is so long ago that its taps have arrived. What was shared is a row of the journal of
//! decisions; its lines are made again from taps that never change, and compared with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use clearing::{BookedOrder, ProductShare, TapRef};
use model::{CardId, Money, OperatorId, OrderId, ServiceDate, Timestamp};
use settlement::{ProductRides, ProductRules, ShareRules, by_sale, product_rides};

use super::{SettleError, ShareBook, operator_name};
use crate::{
    days::closed_again,
    export::quoted,
    intake::{IntakeError, Workplace, office::OfficeEvent, step::book_office},
    store::{ClosedDay, StoreError, issuer_word},
};

/// A part of a product's price, with the tap that it opens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProductLine {
    /// Whose.
    pub operator: OperatorId,
    /// Which ride.
    pub tap: TapRef,
    /// On which service day.
    pub happened: ServiceDate,
    /// Minor units.
    pub amount: i64,
}

/// One product on one card, shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedProduct {
    /// Who gets what.
    pub share: ProductShare,
    /// What each ride is worth; what nobody used is in none.
    pub lines: Vec<ProductLine>,
}

/// What was shared before: with which day, and how.
type Before = BTreeMap<OrderId, (ServiceDate, ProductShare)>;

/// Shares what is over with a settled day; what was shared with it is said again.
pub fn share_products(
    place: &Workplace,
    day: ServiceDate,
) -> Result<Vec<SharedProduct>, SettleError> {
    let closed = closed_again(place, day)?;
    // Looking and booking in one group: nobody else shares between.
    let group = place.store.begin()?;
    let (text, _) = place.store.settlement(day)?.ok_or(SettleError::NotSettled(day))?;
    let book = match text.as_str() {
        "" => ShareBook::plain(),
        text => ShareBook::parse(text, &place.rules)?,
    };
    let rules = book.on(day).ok_or(SettleError::NoRules(day))?;
    let products = rules.products.as_ref().ok_or(SettleError::NoProducts(day))?;
    let mut before = Before::new();
    for row in place.store.office_journal()? {
        before.extend(row.event.product().map(|(day, share)| (share.order, (day, share))));
    }
    let sold = place.store.sold_products()?;
    let open = |order: &BookedOrder| before.get(&order.id).is_none_or(|(of, _)| *of == day);
    let cards: BTreeSet<_> = sold.iter().filter(|of| open(of)).map(|order| order.card).collect();
    let (mut shared, mut events) = (Vec::new(), Vec::new());
    for card in cards {
        let of_card: Vec<_> = sold.iter().filter(|order| order.card == card).collect();
        for (order, rides) in used(place, card, &of_card, &closed)? {
            let known = before.get(&order.id).map(|(_, share)| share);
            if !open(order)
                || (known.is_none() && !is_over(place, order, &rides, products, &closed))
            {
                continue;
            }
            let made = share(place, order, &rides, (rules, products), known)?;
            if known.is_some_and(|known| *known != made.share) {
                let operator = format!("product {} of order {}", made.share.product, order.id);
                return Err(SettleError::Changed { day, operator });
            }
            if known.is_none() {
                events.push(OfficeEvent::shared(day, &made.share));
            }
            shared.push(made);
        }
    }
    shared.sort_by_key(|shared| shared.share.order);
    if !events.is_empty() {
        let booking = book_office(&group, &place.rules, &events, place.clock.now());
        group.commit(&booking.map_err(IntakeError::from)?)?;
    }
    Ok(shared)
}

/// The rides that each of a card's products paid.
fn used<'a>(
    place: &Workplace,
    card: CardId,
    orders: &[&'a BookedOrder],
    closed: &ClosedDay,
) -> Result<Vec<(&'a BookedOrder, ProductRides)>, StoreError> {
    let rides = place.store.card_rides((card, None), closed)?;
    let rides = product_rides(rides, &place.rules);
    let sales: Vec<_> = orders.iter().filter_map(|order| order.product).collect();
    Ok(orders.iter().copied().zip(by_sale(&sales, &rides)).collect())
}

/// Whether a product can pay for nothing more that is not in the books.
fn is_over(
    place: &Workplace,
    order: &BookedOrder,
    rides: &ProductRides,
    products: &ProductRules,
    closed: &ClosedDay,
) -> bool {
    let Some(sale) = order.product else { return false };
    let used: u32 = rides.iter().map(|(_, count)| count).sum();
    let used_up = sale.rides > 0 && used >= u32::from(sale.rides);
    let until = sale.product.until_s;
    let ends = Timestamp::from_secs(u64::from(until));
    let last = place.rules.service_day(ends, closed.closed_at);
    used_up || (until > 0 && last.0.saturating_add(products.wait_days) <= closed.day.0)
}

fn share(
    place: &Workplace,
    order: &BookedOrder,
    rides: &ProductRides,
    (rules, products): (&ShareRules, &ProductRules),
    known: Option<&ProductShare>,
) -> Result<SharedProduct, StoreError> {
    let sale = order.product.ok_or_else(|| StoreError::damaged("a product's order without it"))?;
    let (parts, rest) = products.share(order.amount.into(), &sale, rides);
    let mut lines = Vec::new();
    let mut of: BTreeMap<OperatorId, i64> = BTreeMap::new();
    for ((used, _), part) in rides.iter().zip(parts) {
        let at = used.ride.transaction.after.at();
        let happened = place.rules.service_day(at, at);
        for (operator, amount) in rules.of_operators(used.operator, part) {
            let Some(operator) = operator.filter(|_| amount != 0) else { continue };
            lines.push(ProductLine { operator, tap: used.ride.tap, happened, amount });
            *of.entry(operator).or_default() += amount;
        }
    }
    let unused = match products.unused {
        Some(operator) if rest != 0 => {
            *of.entry(operator).or_default() += rest;
            0
        }
        Some(_) | None => rest,
    };
    // Who issued the card may become known later: what was shared stays whose it was.
    let issuer = match known {
        Some(known) => known.issuer,
        None => place.store.card_state(order.card)?.and_then(|(state, _)| state.issuer()),
    };
    // Each ride has paid its own fee with its day.
    let shares = of.into_iter().map(|(operator, sum)| (operator, sum, rules.fee(sum, 0)));
    let share = ProductShare {
        order: order.id,
        product: sale.product.id,
        issuer,
        currency: order.currency(place.rules.currency()),
        shares: shares.collect(),
        unused,
    };
    Ok(SharedProduct { share, lines })
}

/// One row an order and operator, and what nobody used.
pub fn products_csv(place: &Workplace, day: ServiceDate, shared: &[SharedProduct]) -> String {
    let mut text = "day,order,product,operator,currency,amount,fee,payable,issuer\n".to_owned();
    for SharedProduct { share, .. } in shared {
        let ProductShare { order, product, issuer, currency, shares, unused } = share;
        let money = |minor| Money::new(minor, *currency).decimal();
        let mut row = |name: &str, amount: i64, fee: i64| {
            let _ = writeln!(
                text,
                "{day},{order},{product},{},{},{},{},{},{}",
                quoted(name),
                currency.letters(),
                money(amount),
                money(fee),
                money(amount - fee),
                issuer_word(*issuer),
            );
        };
        for (operator, amount, fee) in shares {
            row(&operator_name(place, Some(*operator)), *amount, *fee);
        }
        if *unused != 0 {
            row("unused", *unused, 0);
        }
    }
    text
}

/// Every line: a ride and what it is worth to the operator.
pub fn product_lines_csv(place: &Workplace, day: ServiceDate, shared: &[SharedProduct]) -> String {
    let mut text =
        "day,order,product,operator,validator,epoch,entry,service day,currency,amount\n".to_owned();
    for SharedProduct { share, lines } in shared {
        for ProductLine { operator, tap, happened, amount } in lines {
            let _ = writeln!(
                text,
                "{day},{},{},{},{},{},{},{happened},{},{}",
                share.order,
                share.product,
                quoted(&operator_name(place, Some(*operator))),
                tap.validator,
                tap.epoch,
                tap.seq,
                share.currency.letters(),
                Money::new(*amount, share.currency).decimal(),
            );
        }
    }
    text
}
