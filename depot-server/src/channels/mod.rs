//! Channels: who takes money for load orders, and what they hand in (REC-16, ADR-0021).
//!
//! Invariants: a statement is taken whole, in one commit, or not at all; the same file again, and a
//! line that another file stated before, change nothing; whatever a statement leaves open is a work
//! item from that commit on.

pub mod auto;
mod bills;
pub mod bulk;
pub mod statement;
pub mod webhook;

use std::{collections::BTreeSet, time::Duration};

use clearing::{Account, BookedOrder, ExceptionChange, Stated, StatedLine, Verdict};
use model::{ChannelId, Currency, Money, Timestamp};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::{
    config::{Channel, to_hex},
    intake::{
        IntakeError, Workplace,
        run::{chain, told_to},
        step::book_orders,
        stored::{OrderEvent, Stored},
    },
    store::{Group, StatementRow, StoreError},
};
use bills::BillLine;
use statement::{FileLine, StatementError};

/// Payments that become overdue in one commit.
const OVERDUE_AT_ONCE: u32 = 1000;

/// Why a channel's word is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The file.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// The books failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The booking failed.
    #[error(transparent)]
    Intake(#[from] IntakeError),
}

/// One line of a statement and how its payment stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchedLine {
    /// The line.
    pub line: FileLine,
    /// How the payment stands with it.
    pub verdict: Verdict,
}

/// What became of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched {
    /// Its number in the books, and what of it was known.
    pub statement: StatementRow,
    /// The same file was handed in before.
    pub again: bool,
    /// Its lines.
    pub lines: Vec<MatchedLine>,
}

impl Matched {
    /// Lines whose payments need a person.
    pub fn open(&self) -> impl Iterator<Item = &MatchedLine> {
        self.lines.iter().filter(|line| line.verdict.item().is_some())
    }
}

/// Takes a statement: matches every line against the orders, and says how each stands.
pub fn hand_in(
    place: &Workplace,
    channel: &Channel,
    bytes: &[u8],
) -> Result<Matched, ChannelError> {
    let id = ChannelId(channel.number);
    let lines = statement::read(bytes, &channel.statement, currency(place, channel))?;
    let sha256 = to_hex(&Sha256::digest(bytes));
    let group = place.store.begin()?;
    let (row, again) = match group.statement_of(id, &sha256)? {
        Some(row) => (row, true),
        None => (take(place, group, (id, sha256), &lines)?, false),
    };
    let lines = lines.into_iter().map(|line| {
        if bills::account_of(place, &line.reference, line.amount)?.is_some() {
            return Ok(MatchedLine { line, verdict: Verdict::Matched });
        }
        let (stated, order) = payment(place, id, &line.reference)?;
        let verdict = stated.verdict(order.as_ref(), place.rules.currency());
        Ok(MatchedLine { line, verdict })
    });
    let lines = lines.collect::<Result<_, StoreError>>()?;
    Ok(Matched { statement: row, again, lines })
}

/// The currency of a channel's amounts that name none.
fn currency(place: &Workplace, channel: &Channel) -> Currency {
    Currency::parse(&channel.statement.currency).unwrap_or(place.rules.currency())
}

fn take(
    place: &Workplace,
    group: Group<'_>,
    (channel, sha256): (ChannelId, String),
    lines: &[FileLine],
) -> Result<StatementRow, ChannelError> {
    let statement = group.next_statement()?;
    let (mut events, mut of_bills) = (Vec::new(), BTreeSet::new());
    for line in lines {
        match bills::line(&group, place, channel, line, &mut of_bills)? {
            BillLine::Other => {}
            BillLine::Known => continue,
            BillLine::New(did) => {
                events.push(OrderEvent::Credit { did });
                continue;
            }
        }
        let FileLine { row, reference, amount, card, paid_at, copy, .. } = line.clone();
        let new = StatedLine { amount, card, paid_at, copy, statement, row };
        let known = group.stated(channel, &reference)?.unwrap_or_default();
        if known.lines.iter().any(|line| line.is_same(&new)) {
            continue;
        }
        events.push(OrderEvent::Stated {
            channel: channel.0,
            reference,
            amount: amount.minor(),
            currency: amount.currency().numeric(),
            card: card.map(|card| card.0),
            paid_at: paid_at.map(|at| at.0),
            copy,
            statement,
            row,
        });
    }
    let count = |many: usize| u32::try_from(many).unwrap_or(u32::MAX);
    let known = count(lines.len() - events.len());
    let head = OrderEvent::Statement {
        statement,
        channel: channel.0,
        sha256,
        lines: count(lines.len()),
        known,
    };
    events.insert(0, head);
    let at = book_under(place, group, &events)?;
    Ok(StatementRow { id: statement, lines: count(lines.len()), known, at })
}

/// Books events.
fn tell(place: &Workplace, events: &[OrderEvent]) -> Result<(), ChannelError> {
    book_under(place, place.store.begin()?, events).map(|_| ())
}

/// Books events under a lock that is held, and counts what opens; answers when.
pub(crate) fn book_under(
    place: &Workplace,
    group: Group<'_>,
    events: &[OrderEvent],
) -> Result<Timestamp, ChannelError> {
    let now = place.clock.now();
    let booking = book_orders(&group, &place.rules, events, now).map_err(IntakeError::from)?;
    group.commit(&booking)?;
    for change in &booking.exceptions {
        if let ExceptionChange::Opened(exception) = change {
            let word = exception.kind.word();
            place.metrics.exceptions_opened.with_label_values(&[word]).inc();
        }
    }
    if !booking.exceptions.is_empty() {
        place.events.send(crate::http::views::Live::Exceptions);
    }
    Ok(now)
}

/// Orders whose channel's delay is over without a statement that has them become work items.
/// Answers how many.
pub fn note_overdue(place: &Workplace, channels: &[Channel]) -> Result<u64, ChannelError> {
    let now = place.clock.now();
    let mut noted = 0;
    for channel in channels {
        let Some(hours) = channel.statement_within_hours else { continue };
        let delay_ms = u64::from(hours) * 3_600_000;
        let before = Timestamp(now.0.saturating_sub(delay_ms));
        let id = ChannelId(channel.number);
        loop {
            if place.store.unstated_payments(id, before, 1)?.is_empty() {
                break;
            }
            let group = place.store.begin()?;
            // Asked again: a statement may have come between the question and the lock.
            let over = place.store.unstated_payments(id, before, OVERDUE_AT_ONCE)?;
            let event = |reference| OrderEvent::Unstated { channel: channel.number, reference };
            let events: Vec<_> = over.into_iter().map(event).collect();
            noted += events.len() as u64;
            book_under(place, group, &events)?;
        }
    }
    Ok(noted)
}

/// How often the running server looks whether a channel's delay is over or a card is to be topped
/// up.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What goes on by itself while the server runs.
pub async fn run(place: Workplace, channels: Vec<Channel>, mut stop: watch::Receiver<bool>) {
    let mut every = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            () = told_to(&mut stop) => return,
            _ = every.tick() => {}
        }
        let (place, channels) = (place.clone(), channels.clone());
        let accounts = place.clone();
        let done = tokio::task::spawn_blocking(move || {
            auto::tick(&place)?;
            note_overdue(&place, &channels)
        });
        if let Ok(Err(error)) = done.await {
            tracing::error!(error = %chain(&error), "payments of channels are not looked at");
        }
        let done = tokio::task::spawn_blocking(move || crate::credit::tick(&accounts));
        if let Ok(Err(error)) = done.await {
            tracing::error!(error = %chain(&error), "credit accounts are not looked at");
        }
    }
}

/// What is known of a payment, with its order.
pub fn payment(
    place: &Workplace,
    channel: ChannelId,
    reference: &str,
) -> Result<(Stated, Option<BookedOrder>), StoreError> {
    let stated = place.store.stated(channel, reference)?.unwrap_or_default();
    let order = stated.order.map(|id| place.store.order(id)).transpose()?.flatten();
    Ok((stated, order))
}

/// A payment that needs a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenPayment {
    /// The channel's own number of it.
    pub reference: String,
    /// Why.
    pub verdict: Verdict,
    /// When it was paid, as far as anybody said.
    pub paid_at: Option<Timestamp>,
}

/// A channel's account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelState {
    /// Which.
    pub channel: ChannelId,
    /// Payments that became orders.
    pub orders: u64,
    /// Orders of which no statement says anything yet.
    pub awaited: u64,
    /// When the oldest of those was paid.
    pub oldest: Option<Timestamp>,
    /// Handed in, by the statements.
    pub handed_in: Money,
    /// Of that, met by orders.
    pub matched: Money,
    /// Still to be handed in; below zero: handed in too much.
    pub to_hand_in: Money,
    /// Handed in and met by no order.
    pub unmatched: Money,
}

/// Every channel that took or handed in anything.
pub fn states(place: &Workplace) -> Result<Vec<ChannelState>, StoreError> {
    let currency = place.rules.currency();
    let stands = |account: Account| -> Result<i64, StoreError> {
        Ok(place.store.account(&account.id(currency))?.posted())
    };
    let tallies = place.store.channel_tallies()?.into_iter();
    let states = tallies.map(|tally| {
        let channel = tally.channel;
        let bank = stands(Account::ChannelBank(channel))?;
        let unmatched = stands(Account::ChannelUnmatched(channel))?;
        let owed = stands(Account::LoadChannel(channel))?;
        Ok(ChannelState {
            channel,
            orders: tally.orders,
            awaited: tally.awaited,
            oldest: tally.oldest,
            handed_in: Money::new(-bank, currency),
            matched: Money::new(-bank - unmatched, currency),
            to_hand_in: Money::new(-owed, currency),
            unmatched: Money::new(unmatched, currency),
        })
    });
    states.collect()
}

/// Every payment of a channel that needs a person, in the order of references.
pub fn open_payments(
    place: &Workplace,
    channel: ChannelId,
) -> Result<Vec<OpenPayment>, StoreError> {
    let mut open = Vec::new();
    place.store.each_payment(Some(channel), |(_, reference, stated)| {
        let order = stated.order.map(|id| place.store.order(id)).transpose()?.flatten();
        let verdict = stated.verdict(order.as_ref(), place.rules.currency());
        if verdict.item().is_some() {
            let stated_at = stated.lines.iter().filter_map(|line| line.paid_at).max();
            let paid_at = stated_at.or(order.map(|order| order.paid_at));
            open.push(OpenPayment { reference, verdict, paid_at });
        }
        Ok(())
    })?;
    Ok(open)
}
