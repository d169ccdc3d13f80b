//! What cards are owed: the due journal booked again, and held against all of their taps.

use std::collections::{BTreeMap, VecDeque};

use clearing::{DeskDeed, DeskEntry, DueChange, DueOrder, DueRow, RepairRule, Rules, may_owe};
use ledger::Touched;
use model::{CardId, ServiceDate, Timestamp};

use super::Stop;
use crate::{
    intake::{
        memory::MemoryBooks,
        stored::{Booking, Stored as _},
    },
    store::Store,
};

/// The rows of the due journal that are not booked again yet, each at its place between the rows of
/// the journal: its transfers go into the service day that was open then.
pub(super) struct Dues {
    booked: u64,
    rest: VecDeque<(i64, Timestamp, DueRow)>,
    paid: BTreeMap<DueOrder, i64>,
}

impl Dues {
    pub(super) fn open(store: &Store) -> Result<Self, Stop> {
        Ok(Self { booked: 0, rest: store.due_journal()?.into(), paid: BTreeMap::new() })
    }

    /// Books what was booked before the row after `batch`.
    pub(super) fn book_through(
        &mut self,
        batch: i64,
        rules: &Rules,
        books: &mut MemoryBooks,
    ) -> Result<(), Stop> {
        while self.rest.front().is_some_and(|(after, ..)| *after <= batch)
            && let Some((_, at, row)) = self.rest.pop_front()
        {
            self.book(row, at, rules, books)?;
        }
        Ok(())
    }

    /// Books so many of them, counted from the first.
    pub(super) fn book_first(
        &mut self,
        rows: u64,
        rules: &Rules,
        books: &mut MemoryBooks,
    ) -> Result<(), Stop> {
        while self.booked < rows
            && let Some((_, at, row)) = self.rest.pop_front()
        {
            self.book(row, at, rules, books)?;
        }
        Ok(())
    }

    fn book(
        &mut self,
        row: DueRow,
        at: Timestamp,
        rules: &Rules,
        books: &mut MemoryBooks,
    ) -> Result<(), Stop> {
        self.booked += 1;
        let days = books.due.get(&row.card);
        let before = days.and_then(|days| days.get(&row.day)).copied().unwrap_or_default();
        match row.change {
            DueChange::Owed { revision, .. } if revision != before.revision + 1 => {
                let what = format!("revision {revision} follows {}", before.revision);
                return Err(differs(row.card, row.day, &what));
            }
            DueChange::Owed { .. } => {}
            DueChange::Paid { amount, by } => *self.paid.entry(by).or_default() += amount,
        }
        let mut touched = Touched::default();
        let tariffs = rules.currency();
        let currency = books.cards.get(&row.card).map_or(tariffs, |card| card.currency(tariffs));
        for transfer in row.transfers(before, currency, at) {
            for account in [transfer.debit, transfer.credit] {
                if !touched.has_balance(&account) {
                    let Ok(balance) = books.balance(&account);
                    touched.preload_balance(account, balance);
                }
            }
            if let Err(refusal) = ledger::apply(&mut touched, &transfer) {
                return Err(differs(row.card, row.day, &refusal.to_string()));
            }
        }
        let (ledger, period) = (touched.take_changes(), rules.period(books.open_day, at));
        books.apply(Booking { at, period, ledger, due: vec![row], ..Booking::default() });
        Ok(())
    }

    /// Every load of a desk gave exactly what the due journal says that it paid.
    pub(super) fn payments(&self, desk: &[DeskEntry]) -> Result<(), Stop> {
        for entry in desk {
            let adjusted = match entry.deed {
                DeskDeed::Loaded { adjusted, .. } => i64::from(adjusted),
                DeskDeed::Issued { .. } | DeskDeed::Retired { .. } => 0,
            };
            let said = self.paid.get(&DueOrder::Desk(entry.op)).copied().unwrap_or(0);
            if said != adjusted {
                return Err(Stop::Differs(format!(
                    "operation {} gave card {} {adjusted} of what it was owed, the due journal \
                     says {said} (minor units)",
                    entry.op, entry.card
                )));
            }
        }
        Ok(())
    }
}

/// The newest amount of every card and day is what all of its taps make; of cards that are queued
/// nothing is said yet. Answers how many these are.
pub(super) fn compare(store: &Store, rules: &Rules, books: &MemoryBooks) -> Result<u64, Stop> {
    if !may_owe(rules.tariffs()) && books.grants.is_empty() {
        return Ok(0);
    }
    let mut queued = store.due_queue(usize::MAX)?;
    queued.sort_unstable();
    for card in books.cards.keys().filter(|card| queued.binary_search(card).is_err()) {
        let Ok(history) = books.history(*card);
        let due = history.due(rules.tariffs(), &RepairRule::default());
        let booked = books.due.get(card);
        let said = |day| booked.and_then(|days| days.get(day)).map_or(0, |booked| booked.owed);
        let granted = books.grants.get(card);
        let days = due.days.keys().chain(booked.into_iter().flat_map(BTreeMap::keys));
        let days = days.chain(granted.into_iter().flat_map(BTreeMap::keys));
        for day in days {
            let granted = granted.and_then(|days| days.get(day)).copied().unwrap_or(0);
            let amount = due.days.get(day).map_or(0, clearing::DayDue::amount) + granted;
            if said(day) != amount {
                let what = format!("all taps make {amount}, it says {}", said(day));
                return Err(differs(*card, *day, &what));
            }
        }
    }
    Ok(queued.len() as u64)
}

fn differs(card: CardId, day: ServiceDate, what: &str) -> Stop {
    Stop::Differs(format!("the due journal of card {card}, service day {day}: {what}"))
}
