//! One card: its balances and standing, and its history with every charge explained.

use clearing::{CardState, Gap as CardGap, Priced};
use fare::{CapProgress, Exchanged, Step};
use model::{CardId, CardRecord, CardTransaction, Money, TapRecord};
use rusqlite::ToSql;

use super::{
    ReadModel,
    taps::{COLUMNS, LIMIT_MAX},
};
use crate::{
    http::views::{
        CardEntry, CardFacts, CardHandle, CardStanding, ExceptionFilter, Gap, Outcome, Page, TapRow,
    },
    store::{
        StoreError,
        codes::unsigned,
        group::{journal_records, read_card_row},
        shown::written,
        walk::walk,
    },
};

impl ReadModel {
    pub(super) fn find_card_facts(
        &self,
        handle: CardHandle,
    ) -> Result<Option<CardFacts>, StoreError> {
        let Some(card) = self.card_of(handle)? else { return Ok(None) };
        let reader = self.store.reader()?;
        let Some(row) = read_card_row(&reader, card)? else { return Ok(None) };
        let state = &row.state;
        let newest = state.newest().map(|known| known.record);
        let today = self.rules.tariffs().card_day(self.clock.now());
        let standing = if !state.forks().is_empty() {
            CardStanding::Forked
        } else if newest.is_some_and(|record| !record.valid_until.allows(today)) {
            CardStanding::Expired
        } else {
            CardStanding::Good
        };
        let gaps: i64 = state.gaps().iter().map(CardGap::net).sum();
        let doubts: i64 = state.doubts().map(|doubt| -doubt.after.delta()).sum();
        let page = Page::first(LIMIT_MAX);
        let exceptions = self.exceptions_of_card(&ExceptionFilter::default(), Some(card), page)?;
        // A card that was only ever refused has shown no record; its number is all we know.
        let Some(record) = newest.or(self.last_seen(card)?) else { return Ok(None) };
        if newest.is_none() && record.layout.profile_names_currency() {
            // Nobody read the profile: in which currency its balance is, nothing says.
            return Ok(None);
        }
        let money = |minor| Money::new(minor, state.currency(self.currency()));
        let account = self.store.credit_of(card)?.map(|id| self.store.credit(id));
        let account = account.transpose()?.flatten();
        let account = account.map(|of| (of.id.0, money(of.terms.allowance.into())));
        Ok(Some(CardFacts {
            card: self.store.handles.card_ref(card),
            standing,
            class: record.class,
            valid_until: record.valid_until,
            ctr: record.ctr,
            seen_at: record.at(),
            on_card: money(i64::from(record.balance)),
            in_ledger: money(row.balance.posted()),
            suspense: money(-gaps),
            in_doubt: money(doubts),
            account,
            entries: unsigned(row.taps),
            exceptions,
        }))
    }

    /// The newest record that a refused tap saw on the card.
    fn last_seen(&self, card: CardId) -> Result<Option<CardRecord>, StoreError> {
        let reader = self.store.reader()?;
        let mut newest = None;
        walk(&reader, card, |link| {
            newest.get_or_insert(link.id);
            Ok(false)
        })?;
        let Some(id) = newest else { return Ok(None) };
        let records = journal_records(&reader, &[id])?;
        Ok(records.get(&id).and_then(|record| record.evidence().copied()))
    }

    pub(super) fn list_card_entries(
        &self,
        handle: CardHandle,
        page: Page,
    ) -> Result<Vec<CardEntry>, StoreError> {
        let Some(card) = self.card_of(handle)? else { return Ok(Vec::new()) };
        let reader = self.store.reader()?;
        let Some(row) = read_card_row(&reader, card)? else { return Ok(Vec::new()) };
        let mut links = Vec::new();
        walk(&reader, card, |link| {
            links.push((u64::from(link.ctr.unwrap_or(0)), link.id));
            Ok(true)
        })?;
        // Highest counter first; what shares a counter, newest booked first.
        links.sort_unstable_by(|a, b| b.cmp(a));
        let from = links.partition_point(|(ctr, _)| page.before.is_some_and(|b| *ctr >= b));
        let links = &links[from..];
        let mut take = links.len().min(page.limit.min(LIMIT_MAX) as usize);
        // A page ends between two counters, because the next one begins below a counter.
        while take > 0 && take < links.len() && links[take].0 == links[take - 1].0 {
            take += 1;
        }
        let ids: Vec<i64> = links[..take].iter().map(|(_, id)| *id).collect();
        let records = journal_records(&reader, &ids)?;
        let rows = self.rows_of(&ids)?;
        let missing = || StoreError::damaged("a card's chain names a tap that is gone");
        ids.iter()
            .map(|id| {
                let tap = rows.iter().find(|row| row.no == unsigned(*id)).cloned();
                let record = records.get(id).ok_or_else(missing)?;
                Ok(self.entry(tap.ok_or_else(missing)?, record, &row.state))
            })
            .collect()
    }

    /// The rows of these taps, in any order.
    pub(super) fn rows_of(&self, ids: &[i64]) -> Result<Vec<TapRow>, StoreError> {
        let marks = vec!["?"; ids.len()].join(", ");
        let sql = format!("SELECT {COLUMNS} FROM taps WHERE taps.id IN ({marks})");
        let values: Vec<Box<dyn ToSql>> =
            ids.iter().map(|id| Box::new(*id) as Box<dyn ToSql>).collect();
        self.store.tap_rows(&sql, &values, self.currency())
    }

    fn entry(&self, tap: TapRow, record: &TapRecord, state: &CardState) -> CardEntry {
        let before = record.evidence().copied();
        let after = written(record).copied();
        let certain = matches!(tap.outcome, Outcome::Committed | Outcome::Confirmed);
        let (steps, exchanged, caps) = match record.settled() {
            Some((transaction, _)) if certain => self.explain(record, transaction),
            _ => Default::default(),
        };
        let currency = state.currency(self.currency());
        let gap = after.and_then(|after| {
            let gap = state.gaps().iter().find(|gap| gap.last.0 + 1 == after.ctr.0)?;
            let net = Money::new(-gap.net(), currency);
            Some(Gap { from: gap.first, through: gap.last, net })
        });
        let place_age_s = record.place_age_s;
        CardEntry { tap, before, after, place_age_s, steps, exchanged, caps, gap }
    }

    /// The charge and the caps, worked out again by the function that priced it.
    fn explain(
        &self,
        tap: &TapRecord,
        transaction: &CardTransaction,
    ) -> (Vec<Step>, Option<Exchanged>, Vec<CapProgress>) {
        match self.rules.price(transaction, tap.route) {
            Priced::Quote(quote) => {
                let class = transaction.after.class;
                let caps = quote.cap_progress(self.rules.tariffs(), class);
                (quote.steps, quote.exchanged, caps)
            }
            Priced::Refused(_) | Priced::NotAFare => Default::default(),
        }
    }
}
