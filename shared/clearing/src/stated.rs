//! What channels state of the payments that they took, against the load orders, both ways (REC-16,
//! ADR-0021).
//!
//! Invariants: a line counts once, however often it is stated; what stands on the accounts of a
//! payment, and whether it needs a person, are functions of its lines and of where its order
//! stands, so the order of their coming does not matter; every unit that a channel handed in is
//! either met by an order or stands on `channel-unmatched`.
//!
//! A *payment* is all that goes under one reference of one channel: at most one order, and lines.

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};

use ledger::Transfer;
use model::{CardId, ChannelId, Currency, Money, OrderId, Timestamp};

use crate::{
    Account, BookedOrder, Exception, ExceptionChange, ExceptionId, ExceptionKind, OrderPhase,
    account::CauseCode,
    exception::difference,
    postings::{Event, Postings},
};

/// One line of a channel's statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatedLine {
    /// Handed in; below zero: taken back.
    pub amount: Money,
    /// For which card, when the channel says so.
    pub card: Option<CardId>,
    /// When, when the channel says so.
    pub paid_at: Option<Timestamp>,
    /// How many lines like this one stand before it in its statement.
    pub copy: u32,
    /// In which statement it came first.
    pub statement: u32,
    /// Where in it.
    pub row: u32,
}

impl StatedLine {
    /// Whether both are the same word of the channel: statements may overlap.
    pub fn is_same(&self, other: &Self) -> bool {
        let said = |line: &Self| (line.amount, line.card, line.paid_at, line.copy);
        said(self) == said(other)
    }
}

/// What is known of one payment beside its order's state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stated {
    /// Its order, once there is one.
    pub order: Option<OrderId>,
    /// What was stated, in the order of coming.
    pub lines: Vec<StatedLine>,
    /// The channel's delay was over before any line came.
    pub overdue: bool,
    /// The channel says that it took the money back: the order is to be given back.
    pub refund: bool,
    /// How often its postings changed: part of the transfers' ids.
    pub revision: u32,
}

/// How a payment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Its line may still come.
    Awaited,
    /// Order and statement agree.
    Matched,
    /// Nothing is due to anybody: given back and not handed in, or handed in and taken back.
    Even,
    /// Money was handed in and there is no order (the Octopus case).
    NoOrder(Money),
    /// There is an order, and no money came within the channel's delay.
    NoLine(Money),
    /// The channel took the money of an order back.
    TakenBack(Money),
    /// Another amount than the order's.
    OtherAmount {
        /// Handed in.
        stated: Money,
        /// Ordered.
        ordered: Money,
    },
    /// Several lines hand in more than was ordered.
    Twice {
        /// Handed in.
        stated: Money,
        /// Ordered.
        ordered: Money,
    },
    /// The order was given back, and its money handed in.
    GivenBack(Money),
    /// The line names another card than the order.
    OtherCard(Money),
    /// Money in another currency than the order's.
    OtherCurrency(Money),
}

impl Verdict {
    /// The work item that it is, and what is at stake.
    pub fn item(self) -> Option<(ExceptionKind, Money)> {
        let differs = |stated: Money, ordered: Money| {
            let by = stated.minor().saturating_sub(ordered.minor());
            (ExceptionKind::PaymentDiffers, Money::new(by.saturating_abs(), ordered.currency()))
        };
        let of = |kind, amount: Money| {
            Some((kind, Money::new(amount.minor().saturating_abs(), amount.currency())))
        };
        match self {
            Self::Awaited | Self::Matched | Self::Even => None,
            Self::NoOrder(amount) => of(ExceptionKind::PaymentWithoutOrder, amount),
            Self::NoLine(amount) | Self::TakenBack(amount) => {
                of(ExceptionKind::OrderWithoutPayment, amount)
            }
            Self::OtherAmount { stated, ordered } | Self::Twice { stated, ordered } => {
                Some(differs(stated, ordered))
            }
            Self::GivenBack(amount) | Self::OtherCard(amount) | Self::OtherCurrency(amount) => {
                of(ExceptionKind::PaymentDiffers, amount)
            }
        }
    }

    /// The word in reports.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Awaited => "awaited",
            Self::Matched => "matched",
            Self::Even => "even",
            Self::NoOrder(_) => "no-order",
            Self::NoLine(_) => "no-line",
            Self::TakenBack(_) => "taken-back",
            Self::OtherAmount { .. } => "other-amount",
            Self::Twice { .. } => "twice",
            Self::GivenBack(_) => "given-back",
            Self::OtherCard(_) => "other-card",
            Self::OtherCurrency(_) => "other-currency",
        }
    }

    /// What is wrong and what to do, in a sentence; empty when nothing is.
    pub fn finding(self) -> String {
        match self {
            Self::Awaited | Self::Matched | Self::Even => String::new(),
            Self::NoOrder(amount) => format!(
                "{amount} were handed in and nobody ordered them: order them for the rider's card \
                 under this reference, or have the channel give them back"
            ),
            Self::NoLine(amount) => format!(
                "an order over {amount} stands, and no statement brought the money within the \
                 channel's delay: ask the channel, or give the order back"
            ),
            Self::TakenBack(amount) => {
                format!("the channel took {amount} back, and the order stands: give it back")
            }
            Self::OtherAmount { stated, ordered } => format!(
                "{stated} were handed in for an order over {ordered}: have the channel correct it"
            ),
            Self::Twice { stated, ordered } => format!(
                "several lines hand in {stated} for one order over {ordered}: the rider paid \
                 twice, have the channel give one back, or order it under a reference of its own"
            ),
            Self::GivenBack(amount) => format!(
                "{amount} were handed in for an order that was given back: pay them back to the \
                 channel, its next statement shows it"
            ),
            Self::OtherCard(amount) => format!(
                "the statement names another card than the order that took its {amount}: ask the \
                 channel which card was meant"
            ),
            Self::OtherCurrency(amount) => {
                format!("{amount} were handed in for an order in another currency")
            }
        }
    }
}

/// What stands on the accounts of a payment, of one currency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Position {
    /// Handed in, less what was taken back.
    banked: i64,
    /// Of that, met by an order.
    matched: i64,
}

impl Stated {
    /// How it stands. `order` is its order as the books have it; `currency` is the tariff's.
    pub fn verdict(&self, order: Option<&BookedOrder>, currency: Currency) -> Verdict {
        let sums = self.sums();
        let Some(order) = order else {
            let left = sums.iter().find(|(_, sum)| **sum != 0);
            return left.map_or(Verdict::Even, |(currency, sum)| {
                Verdict::NoOrder(Money::new(*sum, *currency))
            });
        };
        let currency = order.currency(currency);
        let foreign = sums.iter().find(|(of, sum)| **of != currency && **sum != 0);
        if let Some((of, sum)) = foreign {
            return Verdict::OtherCurrency(Money::new(*sum, *of));
        }
        let stated = sums.get(&currency).copied().unwrap_or_default();
        let due = due(order);
        let (stated, ordered) = (Money::new(stated, currency), Money::new(due, currency));
        if self.refund && due != 0 {
            return Verdict::TakenBack(ordered);
        }
        if stated.minor() != due {
            return self.uneven(stated, ordered);
        }
        let mut named = self.lines.iter().rev().filter(|line| line.amount.minor() > 0);
        let other = named.find_map(|line| line.card).is_some_and(|card| card != order.card);
        match (due, other) {
            (0, _) => Verdict::Even,
            (_, true) => Verdict::OtherCard(ordered),
            (_, false) => Verdict::Matched,
        }
    }

    fn uneven(&self, stated: Money, ordered: Money) -> Verdict {
        let paid = self.lines.iter().filter(|line| line.amount.minor() > 0).count();
        if ordered.minor() == 0 {
            Verdict::GivenBack(stated)
        } else if self.lines.is_empty() {
            if self.overdue { Verdict::NoLine(ordered) } else { Verdict::Awaited }
        } else if stated.minor() == 0 {
            Verdict::TakenBack(ordered)
        } else if stated.minor() > ordered.minor() && paid > 1 {
            Verdict::Twice { stated, ordered }
        } else {
            Verdict::OtherAmount { stated, ordered }
        }
    }

    /// Handed in, by currency.
    pub fn sums(&self) -> BTreeMap<Currency, i64> {
        let mut sums = BTreeMap::new();
        for line in &self.lines {
            let sum: &mut i64 = sums.entry(line.amount.currency()).or_default();
            *sum = sum.saturating_add(line.amount.minor());
        }
        sums
    }

    fn positions(
        &self,
        order: Option<&BookedOrder>,
        currency: Currency,
    ) -> BTreeMap<Currency, Position> {
        let due = order.map_or(0, due);
        let currency = order.map_or(currency, |order| order.currency(currency));
        let sums = self.sums().into_iter();
        let position = |(of, banked): (Currency, i64)| {
            let matched = if of == currency { banked.clamp(0, due) } else { 0 };
            (of, Position { banked, matched })
        };
        sums.map(position).collect()
    }
}

/// What a channel has to hand in for this order.
fn due(order: &BookedOrder) -> i64 {
    match order.phase {
        OrderPhase::Waiting
        | OrderPhase::Out(_)
        | OrderPhase::Withdrawn(..)
        | OrderPhase::Loaded => order.amount.into(),
        OrderPhase::Refunded(_) | OrderPhase::Owed => 0,
    }
}

/// A payment that changed: what is written in one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restated {
    /// From here on.
    pub stated: Stated,
    /// To apply to the ledger.
    pub transfers: Vec<Transfer>,
    /// Work items that open, change and resolve.
    pub exceptions: Vec<ExceptionChange>,
}

/// One payment at one moment.
#[derive(Debug, Clone, Copy)]
pub struct ChannelPayment<'a> {
    /// Whose.
    pub channel: ChannelId,
    /// The channel's own number of it.
    pub reference: &'a str,
    /// What is known of it.
    pub stated: &'a Stated,
    /// Its order, when there is one.
    pub order: Option<&'a BookedOrder>,
}

impl ChannelPayment<'_> {
    /// The work item that it keeps open.
    fn item(&self, currency: Currency, now: Timestamp) -> Option<Exception> {
        let verdict = self.stated.verdict(self.order, currency);
        let (kind, amount) = verdict.item()?;
        let line = self.stated.lines.last();
        let seen = line.map_or(String::new(), |line| {
            format!(" (statement {}, line {})", line.statement, line.row)
        });
        let (channel, reference) = (self.channel, self.reference);
        Some(Exception {
            id: ExceptionId::new(kind, &channel.0.to_be_bytes(), reference.as_bytes()),
            kind,
            card: self.order.map(|order| order.card).or(line.and_then(|line| line.card)),
            validator: None,
            amount: Some(amount),
            opened_at: now,
            finding: format!("channel {channel}, {reference:?}{seen}: {}", verdict.finding()),
            evidence: Vec::new(),
        })
    }

    /// From this to `after`, which has the same channel and reference. `currency` is the tariff's.
    pub fn becomes(
        &self,
        after: &ChannelPayment<'_>,
        currency: Currency,
        now: Timestamp,
    ) -> Restated {
        let before = self.stated.positions(self.order, currency);
        let positions = after.stated.positions(after.order, currency);
        let event_at = after.stated.lines.last().and_then(|line| line.paid_at).unwrap_or(now);
        let channel = self.channel;
        let mut transfers = Vec::new();
        for (of, to) in positions {
            let from = before.get(&of).copied().unwrap_or_default();
            transfers.extend(self.moved((from, to), of, (event_at, now), channel));
        }
        let mut stated = after.stated.clone();
        stated.revision = self.stated.revision.saturating_add((!transfers.is_empty()).into());
        let items =
            |payment: &ChannelPayment<'_>| payment.item(currency, now).into_iter().collect();
        let (old, new): (Vec<Exception>, Vec<Exception>) = (items(self), items(after));
        let exceptions = difference(&old, new, now, |_| "order and statements agree");
        Restated { stated, transfers, exceptions }
    }

    fn moved(
        &self,
        (from, to): (Position, Position),
        currency: Currency,
        (event_at, booked_at): (Timestamp, Timestamp),
        channel: ChannelId,
    ) -> Vec<Transfer> {
        let number = channel.0.to_be_bytes();
        let revision = self.stated.revision.to_be_bytes();
        let money = currency.numeric().to_be_bytes();
        let parts: [&[u8]; 4] = [&number, self.reference.as_bytes(), &revision, &money];
        let mut event = Event::new(CauseCode::Statement, &parts, event_at);
        let mut postings = Postings::new(CardId([0; 7]), currency, booked_at);
        let (banked, matched) = (to.banked - from.banked, to.matched - from.matched);
        let met = Account::LoadChannel(channel);
        let unmet = Account::ChannelUnmatched(channel);
        let bank = Account::ChannelBank(channel);
        if banked == 0 {
            postings.shift(&mut event, met, unmet, matched);
        } else {
            postings.shift(&mut event, met, bank, matched);
            postings.shift(&mut event, unmet, bank, banked.saturating_sub(matched));
        }
        postings.transfers
    }
}
