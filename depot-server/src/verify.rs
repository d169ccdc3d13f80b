//! Books the whole journal again, from nothing, by the same cores, and compares with what is
//! stored. Says the first difference; finds a flipped byte as well as an altered amount.
//!
//! It reads in the order of booking and keeps the books in memory, so it needs memory for the
//! cards and entries, not for the payloads. It writes nothing.

mod closings;
mod credit;
mod due;
mod later;
mod office;
mod orders;
mod roots;

use std::collections::{BTreeMap, VecDeque};

use clearing::{DeskEntry, Rules};
use fleet_sync::VerifyingKey;
use ledger::{AccountId, Balance, Books as _, Recorded, Touched, trial_balance};
use model::{ServiceDate, Timestamp, ValidatorId};
use sha2::{Digest, Sha256};

use closings::Closings;
pub use roots::roots;

use crate::{
    hotlist::HotlistError,
    intake::{
        Checked, Checker, Message,
        check::PublicKeys,
        memory::MemoryBooks,
        step::{Seats, book_desk, register, sell, step},
        stored::{BookedDesk, Sale},
    },
    steering::SteeringError,
    store::{JournalRow, Registered, Store, StoreError},
};

/// Opening records booked in one step.
const ISSUES_AT_ONCE: usize = 1000;

/// What was compared, and what differs first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Rows of the journal.
    pub batches: u64,
    /// Entries.
    pub taps: u64,
    /// Cards.
    pub cards: u64,
    /// Transfers.
    pub transfers: u64,
    /// Closed days.
    pub days: u64,
    /// Cards whose due waits to be worked out from their newest entries: the next run of the server
    /// does it.
    pub due_waiting: u64,
    /// The first difference, in words; `None` when the books are what the journal says.
    pub first_difference: Option<String>,
}

/// A difference, or a store that does not answer.
enum Stop {
    Differs(String),
    Store(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Damaged { what } => Self::Differs(what),
            StoreError::Open { .. }
            | StoreError::Newer { .. }
            | StoreError::Migrate { .. }
            | StoreError::Read { .. }
            | StoreError::Write { .. } => Self::Store(error),
        }
    }
}

impl From<HotlistError> for Stop {
    fn from(error: HotlistError) -> Self {
        match error {
            HotlistError::Store(error) => error.into(),
            HotlistError::Empty(_)
            | HotlistError::Expired
            | HotlistError::Nothing(_)
            | HotlistError::BreakerClosed
            | HotlistError::Refused(_) => Self::Differs(format!("the hotlist's journal: {error}")),
        }
    }
}

impl From<SteeringError> for Stop {
    fn from(error: SteeringError) -> Self {
        match error {
            SteeringError::Store(error) => error.into(),
            error @ (SteeringError::Empty(_)
            | SteeringError::Long(_)
            | SteeringError::Over
            | SteeringError::TooLong
            | SteeringError::Nothing(_)
            | SteeringError::Unknown(_)
            | SteeringError::Unreadable(_)
            | SteeringError::Known(_)
            | SteeringError::NoImage(_)
            | SteeringError::Percent(_)
            | SteeringError::Plan(..)
            | SteeringError::NoGroup(_)
            | SteeringError::NoSettings(_)
            | SteeringError::ManySettings
            | SteeringError::Settings(_)
            | SteeringError::Wire(_)) => Self::Differs(format!("the journal of steering: {error}")),
        }
    }
}

/// Compares the books with the journal.
pub fn verify(store: &Store, checker: &Checker, rules: &Rules) -> Result<Report, StoreError> {
    reported(|report| compare(store, checker, rules, report))
}

/// What a comparison came to; a difference ends it and is no error.
fn reported(compare: impl FnOnce(&mut Report) -> Result<(), Stop>) -> Result<Report, StoreError> {
    let mut report = Report::default();
    match compare(&mut report) {
        Ok(()) => {}
        Err(Stop::Differs(difference)) => report.first_difference = Some(difference),
        Err(Stop::Store(error)) => return Err(error),
    }
    Ok(report)
}

fn compare(
    store: &Store,
    checker: &Checker,
    rules: &Rules,
    report: &mut Report,
) -> Result<(), Stop> {
    let mut keys = PublicKeys::new();
    for validator in store.validators()? {
        keys.insert(validator, store.public_keys(validator)?);
    }
    let mut books = MemoryBooks::default();
    books.open_day = store.first_day()?;
    books.days_since = store.days_since()?;
    (books.hotlists, books.blocked) = store.hotlist_history()?;
    let mut closings = Closings::open(store)?;
    let mut dues = due::Dues::open(store)?;
    let desk = store.desk_journal()?;
    let at_desks: Vec<_> = desk.iter().map(|(.., entry)| *entry).collect();
    let mut by_hand = ByHand {
        issues: store.issues()?.into(),
        desk: desk.into(),
        desks_booked: 0,
        orders: orders::Orders::open(store)?,
        office: office::Office::open(store)?,
    };
    by_hand.book_through(0, rules, &mut books, &mut dues)?;
    dues.book_through(0, rules, &mut books)?;
    let mut seats = Seats::default();
    let mut hash = [0_u8; 32];
    let mut after = 0;
    let mut checker = checker.clone().rereading();
    let mut sales = Sales { rest: store.ticket_sales()?.into(), rules };
    while let Some(row) = store.journal_after(after)? {
        sales.book(after, &mut books);
        after = row.id;
        hash = chained(hash, &row)?;
        if row.validator == ValidatorId::DEPOT {
            closings.book(store, &checker, rules, &mut books, &row)?;
        } else {
            checker.set_ticket_keys(store.ticket_keys(row.received_at)?);
            replay(store, &checker, rules, &keys, &mut seats, &mut books, &row)?;
        }
        closings.passed(&row);
        by_hand.book_through(after, rules, &mut books, &mut dues)?;
        dues.book_through(after, rules, &mut books)?;
        report.batches += 1;
    }
    crate::hotlist::verify(store)?;
    crate::steering::verify(store)?;
    by_hand.book_through(i64::MAX, rules, &mut books, &mut dues)?;
    sales.book(i64::MAX, &mut books);
    report.days = closings.days;
    dues.book_through(i64::MAX, rules, &mut books)?;
    dues.payments(&at_desks)?;
    report.taps = books.taps.len() as u64;
    report.cards = books.cards.len() as u64;
    report.transfers = books.transfers.len() as u64;
    count(store, "taps", report.taps)?;
    count(store, "cards", report.cards)?;
    count(store, "transfers", report.transfers)?;
    marks(store, &books)?;
    cards(store, &books)?;
    tickets(store, &books)?;
    accounts(store, &books)?;
    transfers(store, &books)?;
    exceptions(store, &books)?;
    orders::compare(store, &books)?;
    credit::compare(store, &books)?;
    if let Some((day, validator)) = store.other_work()? {
        let what = format!(
            "the hours of validator {validator} on day {day} since 1970 are not what its taps make"
        );
        return Err(Stop::Differs(what));
    }
    report.due_waiting = due::compare(store, rules, &books)?;
    Ok(())
}

/// Sold tickets that are not booked again yet, in their order.
struct Sales<'a> {
    rest: VecDeque<(i64, Sale)>,
    rules: &'a Rules,
}

impl Sales<'_> {
    /// Books those that came before the journal row after `row`.
    fn book(&mut self, row: i64, books: &mut MemoryBooks) {
        while self.rest.front().is_some_and(|(after, _)| *after <= row)
            && let Some((_, sale)) = self.rest.pop_front()
        {
            let Ok(booking) = sell(books, self.rules, &[sale], sale.sold_at);
            books.apply(booking);
        }
    }
}

/// What was done by hand, at its place between the rows of the journal.
struct ByHand {
    issues: VecDeque<Registered>,
    desk: VecDeque<(i64, Timestamp, DeskEntry)>,
    desks_booked: i64,
    orders: orders::Orders,
    office: office::Office,
}

impl ByHand {
    /// Books what was booked before the row after `batch`.
    fn book_through(
        &mut self,
        batch: i64,
        rules: &Rules,
        books: &mut MemoryBooks,
        dues: &mut due::Dues,
    ) -> Result<(), Stop> {
        while let Some(first) = self.issues.front().filter(|issue| issue.after_batch <= batch) {
            let at = first.at;
            let many = self.issues.iter().take(ISSUES_AT_ONCE);
            // Of one moment: into which service day an issue goes depends on when it was booked.
            let many =
                many.take_while(|issue| issue.after_batch <= batch && issue.at == at).count();
            let cards: Vec<_> = self.issues.drain(..many).map(|known| known.issue).collect();
            let Ok(booking) = register(books, rules, &cards, at);
            books.apply(booking);
        }
        loop {
            let place = (batch, self.desks_booked);
            if self.orders.book_next(place, rules, books, dues)?
                || self.office.book_next(place, rules, books)
            {
                continue;
            }
            let next = self.desk.front().filter(|(after_batch, ..)| *after_batch <= batch);
            let Some((_, at, entry)) = next.copied() else { return Ok(()) };
            self.desk.pop_front();
            self.desks_booked += 1;
            let booked = BookedDesk { entry, how: "journal", proof: None };
            let Ok(booking) = book_desk(books, rules, &[booked], at);
            books.apply(booking);
        }
    }
}

fn tickets(store: &Store, books: &MemoryBooks) -> Result<(), Stop> {
    count(store, "tickets", books.tickets.len() as u64)?;
    for (signed, state) in &books.tickets {
        if store.ticket_state(signed)?.as_ref() != Some(state) {
            let id = model::Ticket::from_bytes(signed).map(|ticket| ticket.id.to_string());
            let id = id.unwrap_or_else(|error| error.to_string());
            return Err(Stop::Differs(format!("the state of ticket {id} is another one")));
        }
    }
    Ok(())
}

fn chained(before: [u8; 32], row: &JournalRow) -> Result<[u8; 32], Stop> {
    let hash: [u8; 32] =
        Sha256::new().chain_update(before).chain_update(&row.payload).finalize().into();
    if hash == row.hash {
        return Ok(hash);
    }
    Err(Stop::Differs(format!(
        "journal row {} (validator {}, entries {} to {}) is not what was booked, or a row before \
         it is gone",
        row.id, row.validator, row.first, row.last
    )))
}

fn replay(
    store: &Store,
    checker: &Checker,
    rules: &Rules,
    keys: &BTreeMap<ValidatorId, Vec<VerifyingKey>>,
    seats: &mut Seats,
    books: &mut MemoryBooks,
    row: &JournalRow,
) -> Result<(), Stop> {
    let differs = |what: String| {
        Stop::Differs(format!("journal row {} (validator {}): {what}", row.id, row.validator))
    };
    let topic = checker.taps_topic(row.validator);
    let message = Message { topic, payload: row.payload.clone() };
    let believed = match checker.check(keys, message) {
        Checked::Batch(batch) => Checked::Batch(batch),
        Checked::SetAside(aside) => return Err(differs(aside.detail)),
        Checked::State { .. } | Checked::Ours => return Err(differs("no batch".to_owned())),
    };
    let Ok((booking, tally)) = step(seats, books, rules, vec![believed], row.received_at);
    seats.commit();
    if tally.booked != 1 {
        let why = booking.quarantine.first().map_or("", |aside| aside.detail.as_str());
        return Err(differs(format!("it does not follow from the rows before it. {why}")));
    }
    for batch in &booking.batches {
        store.compare_taps(row.id, &batch.taps)?;
    }
    books.apply(booking);
    Ok(())
}

fn count(store: &Store, table: &'static str, expected: u64) -> Result<(), Stop> {
    let found = store.count(table)?;
    if found == expected {
        return Ok(());
    }
    Err(Stop::Differs(format!(
        "the journal makes {expected} rows of {table} (a tap, card or transfer each), the books \
         hold {found}"
    )))
}

fn marks(store: &Store, books: &MemoryBooks) -> Result<(), Stop> {
    for ((validator, epoch), mark) in &books.marks {
        let stored = store.marks_of(*validator)?;
        if !stored.contains(mark) {
            return Err(Stop::Differs(format!(
                "the mark of validator {validator}, epoch {epoch} should be entry {}",
                mark.through
            )));
        }
    }
    Ok(())
}

fn cards(store: &Store, books: &MemoryBooks) -> Result<(), Stop> {
    for (card, state) in &books.cards {
        let Some((stored, _)) = store.card_state(*card)? else {
            return Err(Stop::Differs(format!("card {card} is not in the books")));
        };
        if stored != *state {
            return Err(Stop::Differs(format!("the state of card {card} is another one")));
        }
    }
    Ok(())
}

fn accounts(store: &Store, books: &MemoryBooks) -> Result<(), Stop> {
    let mut groups: BTreeMap<(u16, u16), (u64, Balance)> = BTreeMap::new();
    for (account, balance) in &books.accounts {
        let stored = store.account(account)?;
        if stored != *balance {
            return Err(Stop::Differs(format!(
                "account {account} should stand at {}, the books say {}",
                balance.posted(),
                stored.posted()
            )));
        }
        let key = (account.code().0, account.currency().numeric());
        let (accounts, sum) = groups.entry(key).or_default();
        *accounts += 1;
        sum.debits_posted += balance.debits_posted;
        sum.credits_posted += balance.credits_posted;
        sum.debits_pending += balance.debits_pending;
        sum.credits_pending += balance.credits_pending;
    }
    let of_cards = books.accounts.keys().filter(|account| account.code().0 == 1).count() as u64;
    let others = books.accounts.len() as u64 - of_cards;
    if store.count("accounts")? != others {
        return Err(Stop::Differs(format!(
            "the journal makes {others} accounts besides the cards'"
        )));
    }
    if store.account_groups()? != groups {
        return Err(Stop::Differs("the sums by kind of account are others".to_owned()));
    }
    trial_balance(books.accounts.iter())
        .map(|_| ())
        .map_err(|error| Stop::Differs(error.to_string()))
}

/// The same transfers with the same content, in whatever order; replayed from the first, they make
/// the accounts.
fn transfers(store: &Store, books: &MemoryBooks) -> Result<(), Stop> {
    let mut expected: BTreeMap<_, (Recorded, ServiceDate)> = BTreeMap::new();
    for (recorded, day) in books.transfers.iter().zip(&books.transfer_days) {
        let pending = books.pending_state(&recorded.transfer.id);
        expected.insert(recorded.transfer.id, (Recorded { pending, ..*recorded }, *day));
    }
    let mut replayed = Touched::default();
    store.each_transfer(|row, day, recorded| {
        let id = recorded.transfer.id;
        let same = expected.remove(&id).is_some_and(|(expected, expected_day)| {
            expected_day == day
                && expected.transfer.same_content(&recorded.transfer)
                && expected.pending == recorded.pending
        });
        if !same {
            return Err(StoreError::damaged(format!("transfer {row} ({id}) is another one")));
        }
        ledger::apply(&mut replayed, &recorded.transfer)
            .map(|_| ())
            .map_err(|refusal| StoreError::damaged(format!("transfer {row} ({id}): {refusal}")))
    })?;
    if let Some(id) = expected.keys().next() {
        return Err(Stop::Differs(format!("transfer {id} is not in the books")));
    }
    let wrong = books.accounts.iter().find(|(id, balance)| replayed.balance(id) != **balance);
    match wrong {
        None => Ok(()),
        Some((account, _)) => {
            let account: &AccountId = account;
            Err(Stop::Differs(format!("the transfers do not make account {account}")))
        }
    }
}

fn exceptions(store: &Store, books: &MemoryBooks) -> Result<(), Stop> {
    for (id, exception) in &books.open {
        if store.is_open(id)? != Some(true) {
            let kind = exception.kind.word();
            return Err(Stop::Differs(format!(
                "the exception {kind} should be open: {}",
                exception.finding
            )));
        }
    }
    Ok(())
}
