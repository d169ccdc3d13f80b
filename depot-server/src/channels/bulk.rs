//! Files of employers and of those who grant allowances: many load orders in one commit.
//!
//! Each line is judged by itself: the good ones are ordered, the others are told with their reason.
//! The same file again, or the file with its bad lines corrected, orders nothing twice, because a
//! line is known by its reference.

use std::{collections::BTreeMap, fmt};

use model::{CardId, CardRecord, ChannelId, Money, OrderId, ProductSale};
use sha2::{Digest, Sha256};

use super::{ChannelError, book_under, currency, statement};
use crate::{
    config::{Channel, Product, to_hex},
    intake::{
        Workplace,
        stored::{BoughtProduct, OrderEvent},
    },
    orders::{OrderError, usable},
    products::{Offered, offered},
    store::{Store, StoreError},
};

/// Characters of a batch's name.
const BATCH_MAX: usize = 40;

/// A name for the orders of one file, such as `wages-2026-11`. References need to differ within it
/// only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchName(String);

impl std::str::FromStr for BatchName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        if text.is_empty() || text.len() > BATCH_MAX || !text.chars().all(fits) {
            return Err(format!("use 1 to {BATCH_MAX} letters, digits, '.', '-' and '_'"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for BatchName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What became of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    /// It can be ordered (dry runs only).
    Good,
    /// It is this order, now or from before.
    Ordered(OrderId),
    /// Why not: a stable word, and a sentence.
    Refused(&'static str, String),
}

/// A line with what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgedLine {
    /// Where in the file.
    pub row: u32,
    /// As the books know it; empty when the line does not read.
    pub reference: String,
    /// For which card.
    pub card: Option<CardId>,
    /// How much.
    pub amount: Option<Money>,
    /// What is bought, when it is no value.
    pub product: Option<ProductSale>,
    /// What became of it.
    pub judged: Judged,
}

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkReport {
    /// Every line.
    pub lines: Vec<JudgedLine>,
    /// Ordered by this run.
    pub new: Vec<OrderId>,
    /// Their sum; of a dry run, of what would be ordered.
    pub new_amount: i64,
}

impl BulkReport {
    /// Lines that are no orders.
    pub fn refused(&self) -> usize {
        self.lines.iter().filter(|line| matches!(line.judged, Judged::Refused(..))).count()
    }
}

/// Orders the good lines of a file in one commit, or says only what would come of them.
pub fn order(
    place: &Workplace,
    (channel, products): (&Channel, &[Product]),
    batch: Option<&BatchName>,
    bytes: &[u8],
    dry_run: bool,
) -> Result<BulkReport, ChannelError> {
    let currency = currency(place, channel);
    let read = statement::read_lines(bytes, &channel.statement, currency)?;
    let mut judge =
        Judge { place, channel: ChannelId(channel.number), products, batch, seen: BTreeMap::new() };
    let mut lines = Vec::with_capacity(read.len());
    for line in read {
        lines.push(judge.line(line)?);
    }
    let good = lines.iter().filter(|line| line.judged == Judged::Good);
    let new_amount = good.filter_map(|line| line.amount).map(Money::minor).sum();
    let mut report = BulkReport { lines, new: Vec::new(), new_amount };
    if dry_run {
        return Ok(report);
    }
    let good = report.lines.iter_mut().filter(|line| line.judged == Judged::Good);
    let mut good: Vec<_> = good.collect();
    if good.is_empty() {
        return Ok(report);
    }
    let group = place.store.begin()?;
    let OrderId(first) = group.next_order()?;
    let (now, tariffs) = (place.clock.now(), place.rules.currency());
    let mut events = vec![OrderEvent::Batch {
        channel: channel.number,
        batch: batch.map(ToString::to_string).unwrap_or_default(),
        sha256: to_hex(&Sha256::digest(bytes)),
        first,
        orders: u32::try_from(good.len()).unwrap_or(u32::MAX),
    }];
    for (order, line) in (first..).zip(&mut good) {
        let (Some(card), Some(amount)) = (line.card, line.amount) else { continue };
        line.judged = Judged::Ordered(OrderId(order));
        report.new.push(OrderId(order));
        events.push(OrderEvent::Paid {
            order,
            card: card.0,
            amount: u32::try_from(amount.minor()).unwrap_or(0),
            channel: channel.number,
            reference: line.reference.clone(),
            paid_at: now.0,
            purse: (amount.currency() != tariffs).then_some(amount.currency().numeric()),
            product: line.product.as_ref().map(BoughtProduct::of),
            account: None,
        });
    }
    book_under(place, group, &events)?;
    Ok(report)
}

struct Judge<'a> {
    place: &'a Workplace,
    channel: ChannelId,
    products: &'a [Product],
    batch: Option<&'a BatchName>,
    /// References of the file, with where they stand.
    seen: BTreeMap<String, u32>,
}

impl Judge<'_> {
    fn line(
        &mut self,
        read: Result<statement::FileLine, statement::LineProblem>,
    ) -> Result<JudgedLine, ChannelError> {
        let line = match read {
            Ok(line) => line,
            Err(statement::LineProblem { row, problem }) => {
                let judged = Judged::Refused("unreadable", problem);
                let reference = String::new();
                let (card, amount, product) = (None, None, None);
                return Ok(JudgedLine { row, reference, card, amount, product, judged });
            }
        };
        let statement::FileLine { row, reference, amount, card, product, .. } = line;
        let reference =
            self.batch.map_or(reference.clone(), |batch| format!("{batch}/{reference}"));
        let bought = product.map(|number| self.buy(number, amount)).transpose();
        let (product, judged) = match bought {
            Ok(product) => (product, self.judge(row, &reference, (amount, product), card)?),
            Err(problem) => (None, Judged::Refused("product", problem)),
        };
        self.seen.entry(reference.clone()).or_insert(row);
        Ok(JudgedLine { row, reference, card, amount: Some(amount), product, judged })
    }

    fn buy(&self, number: u16, amount: Money) -> Result<ProductSale, String> {
        let now = self.place.clock.now();
        let offered = offered(self.products, number, &self.place.rules, (now, now));
        let Offered { sale, price } = offered.map_err(|error| error.to_string())?;
        if price == amount {
            Ok(sale)
        } else {
            Err(format!("product {number} costs {price}, not {amount}"))
        }
    }

    fn judge(
        &self,
        row: u32,
        reference: &str,
        (amount, product): (Money, Option<ProductSale>),
        card: Option<CardId>,
    ) -> Result<Judged, ChannelError> {
        let refused = |word, why: String| Ok(Judged::Refused(word, why));
        if let Some(first) = self.seen.get(reference).filter(|first| **first != row) {
            return refused("duplicate", format!("line {first} has this reference, too"));
        }
        let Some(card) = card else {
            return refused("no-card", "the line names no card".into());
        };
        let tariffs = self.place.rules.currency();
        let state = self.place.store.card_state(card)?;
        let of_card = state.map_or(tariffs, |(state, _)| state.currency(tariffs));
        if amount.currency() != of_card {
            return refused("currency", format!("the card holds {of_card}, not {amount}"));
        }
        let minor = u32::try_from(amount.minor()).unwrap_or(0);
        if !(u32::from(product.is_none())..=CardRecord::AMOUNT_MAX).contains(&minor) {
            return refused("amount", OrderError::Amount.to_string());
        }
        if let Some(known) = self.place.store.order_of_payment(self.channel, reference)? {
            let of_known = known.currency(tariffs);
            let same = (known.card, known.amount, of_known) == (card, minor, amount.currency())
                && known.product.map(|sale| sale.product.id) == product.map(|sale| sale.product.id);
            return if same {
                Ok(Judged::Ordered(known.id))
            } else {
                refused("other-content", format!("order {} has this reference", known.id))
            };
        }
        match usable(&self.place.store, card) {
            Ok(_) => Ok(Judged::Good),
            Err(error @ OrderError::UnknownCard(_)) => refused("unknown-card", error.to_string()),
            Err(error @ OrderError::Retired(_)) => refused("retired", error.to_string()),
            Err(error @ (OrderError::Lost(_) | OrderError::Forked(_))) => {
                refused("hotlisted", error.to_string())
            }
            Err(OrderError::Store(error)) => Err(error.into()),
            Err(error) => refused("refused", error.to_string()),
        }
    }
}

/// The orders of a batch, or of one run where the file had no batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchTotal {
    /// Whose.
    pub channel: ChannelId,
    /// Its name; empty when the file had none.
    pub batch: String,
    /// Orders, and their sum.
    pub orders: (u64, i64),
    /// Of those, on their cards.
    pub loaded: (u64, i64),
    /// Of those, given back.
    pub given_back: (u64, i64),
}

/// Every batch with what became of it.
pub fn batches(store: &Store) -> Result<Vec<BatchTotal>, StoreError> {
    store.batch_totals()
}
