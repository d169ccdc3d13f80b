//! What the pages ask, answered from SQLite.
//!
//! Invariant: a figure and the list behind it use one condition (`taps::condition`), so that they
//! cannot differ. Nothing here writes, but for sessions and the record of who looked at a card.

mod cards;
mod due;
mod exceptions;
mod fleet;
mod hotlist;
mod money;
mod rollouts;
mod taps;
mod work;

use std::sync::{Arc, Mutex};

use model::{CardId, Currency, Money, Timestamp, ValidatorId};
use rusqlite::params;

use super::{
    Store, StoreError,
    codes::{sql_card, sql_time},
};
use crate::{
    clock::Clock,
    config::Float,
    http::views::{
        AccountRow, Adjustment, Books, BooksError, CardAccess, CardEntry, CardFacts, CardHandle,
        ExceptionFacts, ExceptionFilter, ExceptionRow, FleetRow, FleetWork, HotlistFacts,
        KindTally, Minute, MoneyFacts, Page, RolloutFacts, TapFilter, TapRow, TapSums,
        ValidatorFacts,
    },
    rules::LiveRules,
};

/// The books as the pages see them.
#[derive(Debug, Clone)]
pub struct ReadModel {
    store: Arc<Store>,
    rules: LiveRules,
    clock: Clock,
    float: Float,
    kept_float: Arc<Mutex<Option<money::KeptFloat>>>,
    kept_work: Arc<Mutex<work::KeptWork>>,
}

impl ReadModel {
    /// Reads `store`, explains with `rules`.
    pub fn new(store: Arc<Store>, rules: LiveRules, clock: Clock) -> Self {
        let (kept_float, kept_work) = (Arc::default(), Arc::default());
        Self { store, rules, clock, float: Float::default(), kept_float, kept_work }
    }

    /// The same, with another policy of what is dormant.
    #[must_use]
    pub fn with_float(self, float: Float) -> Self {
        Self { float, ..self }
    }

    fn money(&self, minor: i64) -> Money {
        Money::new(minor, self.currency())
    }

    fn currency(&self) -> Currency {
        self.rules.currency()
    }

    /// A known card behind a handle.
    fn card_of(&self, handle: CardHandle) -> Result<Option<CardId>, StoreError> {
        let Some(card) = self.store.handles.card(handle) else { return Ok(None) };
        Ok(self.store.knows_card(card)?.then_some(card))
    }
}

fn asked<T>(question: &'static str, answer: Result<T, StoreError>) -> Result<T, BooksError> {
    answer.map_err(|source| BooksError { question, source: Box::new(source) })
}

impl Books for ReadModel {
    fn fleet(&self) -> Result<Vec<FleetRow>, BooksError> {
        asked("the fleet", self.list_fleet())
    }

    fn fleet_some(&self, ids: &[ValidatorId]) -> Result<Vec<FleetRow>, BooksError> {
        let rows = ids.iter().filter_map(|id| self.find_fleet_row(*id).transpose());
        asked("some validators", rows.collect())
    }

    fn fleet_work(&self) -> Result<FleetWork, BooksError> {
        asked("the work of the fleet", self.sum_fleet_work())
    }

    fn validator(&self, id: ValidatorId) -> Result<Option<ValidatorFacts>, BooksError> {
        asked("a validator", self.find_validator(id))
    }

    fn taps(&self, filter: &TapFilter, page: Page) -> Result<Vec<TapRow>, BooksError> {
        asked("taps", self.list_taps(filter, page))
    }

    fn tap_sums(&self, filter: &TapFilter) -> Result<TapSums, BooksError> {
        asked("sums of taps", self.sum_taps(filter))
    }

    fn find_card(&self, number: CardId) -> Result<Option<CardHandle>, BooksError> {
        let known = asked("a card", self.store.knows_card(number))?;
        Ok(known.then(|| self.store.handles.handle(number)))
    }

    fn card(&self, handle: CardHandle) -> Result<Option<CardFacts>, BooksError> {
        asked("a card", self.find_card_facts(handle))
    }

    fn card_history(&self, handle: CardHandle, page: Page) -> Result<Vec<CardEntry>, BooksError> {
        asked("the history of a card", self.list_card_entries(handle, page))
    }

    fn adjustments(&self, handle: CardHandle) -> Result<Vec<Adjustment>, BooksError> {
        asked("what a card is owed", self.list_adjustments(handle))
    }

    fn record_access(&self, access: &CardAccess) -> Result<(), BooksError> {
        asked("the record of a look-up", self.store.record_access(access))
    }

    fn exceptions(
        &self,
        filter: &ExceptionFilter,
        page: Page,
    ) -> Result<Vec<ExceptionRow>, BooksError> {
        asked("exceptions", self.list_exceptions(filter, page))
    }

    fn exception_tally(&self) -> Result<Vec<KindTally>, BooksError> {
        asked("exceptions by kind", self.tally_exceptions())
    }

    fn exception(&self, id: u64) -> Result<Option<ExceptionFacts>, BooksError> {
        asked("an exception", self.find_exception(id))
    }

    fn hotlist(&self, limit: u32) -> Result<HotlistFacts, BooksError> {
        asked("the hotlist", self.show_hotlist(limit))
    }

    fn rollouts(&self, limit: usize) -> Result<RolloutFacts, BooksError> {
        asked("the roll-outs", self.show_rollouts(limit))
    }

    fn trial_balance(&self) -> Result<Vec<AccountRow>, BooksError> {
        asked("the trial balance", self.list_accounts())
    }

    fn money(&self, days: u32) -> Result<MoneyFacts, BooksError> {
        asked("money", self.money_facts(days))
    }

    fn taps_by_minute(&self, from: Timestamp, minutes: u32) -> Result<Vec<Minute>, BooksError> {
        asked("taps by minute", self.count_minutes(from, minutes))
    }
}

impl Store {
    fn knows_card(&self, card: CardId) -> Result<bool, StoreError> {
        self.reader()?
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM cards WHERE card = ?1)")
            .and_then(|mut statement| statement.query_row([sql_card(card)], |row| row.get(0)))
            .map_err(StoreError::read("a card"))
    }

    fn record_access(&self, access: &CardAccess) -> Result<(), StoreError> {
        let card = self.handles.card(access.card).map(sql_card);
        self.writer()
            .execute(
                "INSERT INTO card_accesses (who, card, at, how) VALUES (?1, ?2, ?3, ?4)",
                params![access.who, card, sql_time(access.at), access.how],
            )
            .map(|_| ())
            .map_err(StoreError::write("the record of a look-up"))
    }
}
