//! One group of messages inside one transaction: what it may read. `write.rs` writes it.
//!
//! The rows of the cards that the group touches are read once and kept until the commit, because
//! the step asks for a card's state and for its account, and the write needs its newest tap.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap, hash_map::Entry},
    sync::MutexGuard,
};

use clearing::{
    Account, AutoTopUp, BookedOrder, CardHistory, CardState, ClockGap, CreditAccount, CreditId,
    DayBooked, DeskEntry, DueOrder, Known, KnownRecord, ListTold, Stated, TapRef, TicketState,
};
use fleet_sync::EpochMark;
use ledger::{AccountId, Balance, PendingState, Recorded, Transfer, TransferId};
use model::{
    CardId, ChannelId, Ctr, Currency, Epoch, OrderId, Registers, ServiceDate, TapRecord, TapSeq,
    Ticket, Timestamp, ValidatorId,
};
use rusqlite::{Connection, OptionalExtension, params};
use wire::{Batch, ChainHash, Envelope, Message, ValidatorState};

use super::{
    Store, StoreError,
    codes::{balance_at, epoch, purse_of, seq, sql_card, sql_seq, validator},
    days::Begun,
    due,
    sums::account_balance,
    walk::{known_record, walk},
};
use crate::intake::stored::Stored;

/// An open transaction on the books. Rolled back unless committed.
pub struct Group<'a> {
    pub(super) writer: MutexGuard<'a, Connection>,
    pub(super) cards: RefCell<HashMap<CardId, CardRow>>,
    /// Operations of desks whose outcome is open, once somebody asked.
    pub(super) open_ops: RefCell<Option<Vec<DeskEntry>>>,
    /// The oldest open day, as it stands while the writer is ours.
    pub(super) open_day: Option<ServiceDate>,
    /// Days that the rows written so far begin.
    pub(super) begun: RefCell<Begun>,
    pub(super) done: bool,
}

/// A row of `cards`.
#[derive(Debug, Clone, Default)]
pub(super) struct CardRow {
    pub(super) known: bool,
    pub(super) state: CardState,
    /// The ledger that the card's account is in, once something was booked on it.
    pub(super) ledger: Option<Currency>,
    pub(super) balance: Balance,
    pub(super) last_tap: Option<i64>,
    pub(super) taps: i64,
}

impl CardRow {
    /// What stands on the card's account in this ledger: in another than its own, nothing.
    pub(super) fn balance_in(&self, ledger: Currency) -> Balance {
        if self.ledger == Some(ledger) { self.balance } else { Balance::default() }
    }
}

impl Store {
    /// Begins a group. Nobody else can write until it is committed or dropped.
    pub fn begin(&self) -> Result<Group<'_>, StoreError> {
        let writer = self.writer();
        writer.execute_batch("BEGIN IMMEDIATE").map_err(StoreError::write("a group"))?;
        let mut group = Group {
            writer,
            cards: RefCell::default(),
            open_ops: RefCell::default(),
            open_day: None,
            begun: RefCell::default(),
            done: false,
        };
        group.open_day = super::days::open_day(&group.writer)?;
        Ok(group)
    }
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        // A transaction that the database has ended by itself needs no end.
        if !self.done && !self.writer.is_autocommit() {
            let _ = self.writer.execute_batch("ROLLBACK");
        }
    }
}

impl Group<'_> {
    /// The newest row of a journal, with the value of its hash chain; zeros when it is empty.
    pub(super) fn end_of(&self, journal: &'static str) -> Result<(i64, [u8; 32]), StoreError> {
        self.writer
            .prepare_cached(&format!("SELECT id, hash FROM {journal} ORDER BY id DESC LIMIT 1"))
            .and_then(|mut statement| {
                statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()
            })
            .map(Option::unwrap_or_default)
            .map_err(StoreError::read("the end of a journal"))
    }

    pub(super) fn card_row(&self, card: CardId) -> Result<CardRow, StoreError> {
        if let Some(row) = self.cards.borrow().get(&card) {
            return Ok(row.clone());
        }
        let row = read_card_row(&self.writer, card)?.unwrap_or_default();
        self.cards.borrow_mut().insert(card, row.clone());
        Ok(row)
    }
}

pub(super) fn read_card_row(
    connection: &Connection,
    card: CardId,
) -> Result<Option<CardRow>, StoreError> {
    let failed = || StoreError::read("a card");
    let row: Option<(Vec<u8>, Option<u16>, CardRow)> = connection
        .prepare_cached(
            "SELECT state, debits_posted, credits_posted, debits_pending, credits_pending,
                    last_tap, taps, currency
             FROM cards WHERE card = ?1",
        )
        .and_then(|mut statement| {
            let read = |row: &rusqlite::Row<'_>| {
                let kept = CardRow {
                    known: true,
                    state: CardState::default(),
                    ledger: None,
                    balance: balance_at(row, 1)?,
                    last_tap: row.get(5)?,
                    taps: row.get(6)?,
                };
                Ok((row.get(0)?, row.get(7)?, kept))
            };
            statement.query_row([sql_card(card)], read).optional()
        })
        .map_err(failed())?;
    let Some((bytes, ledger, mut row)) = row else { return Ok(None) };
    row.ledger = purse_of(ledger)?;
    row.state = CardState::from_bytes(&bytes)
        .map_err(|error| StoreError::damaged(format!("state of card {card}: {error}")))?;
    Ok(Some(row))
}

impl Known for Group<'_> {
    type Error = StoreError;

    fn record(&self, card: CardId, ctr: Ctr) -> Result<Option<KnownRecord>, StoreError> {
        known_record(&self.writer, card, ctr)
    }

    fn cleared(&self, tap: TapRef) -> Result<bool, StoreError> {
        self.writer
            .prepare_cached(
                "SELECT cleared FROM taps WHERE validator = ?1 AND epoch = ?2 AND seq = ?3",
            )
            .and_then(|mut statement| {
                let key = params![tap.validator.number(), tap.epoch.0, sql_seq(tap.seq)];
                statement.query_row(key, |row| row.get(0)).optional()
            })
            .map(|cleared| cleared.unwrap_or(false))
            .map_err(StoreError::read("a tap"))
    }

    fn transactions(&self, card: CardId, ctr: Ctr) -> Result<Vec<TapRecord>, StoreError> {
        let mut found = Vec::new();
        walk(&self.writer, card, |link| {
            // Committed, in doubt, confirmed: the others have no transaction of their own.
            if link.cleared && matches!(link.outcome, 0 | 1 | 3) && link.ctr == Some(ctr.0) {
                found.push(journal_record(&self.writer, link.id)?);
            }
            Ok(true)
        })?;
        Ok(found)
    }
}

impl Stored for Group<'_> {
    fn open_day(&self) -> Option<ServiceDate> {
        self.open_day
    }

    fn marks(&self, validator: ValidatorId) -> Result<Vec<EpochMark>, StoreError> {
        marks(&self.writer, validator)
    }

    fn state(&self, validator: ValidatorId) -> Result<Option<ValidatorState>, StoreError> {
        let payload: Option<Option<Vec<u8>>> = self
            .writer
            .prepare_cached("SELECT state FROM validators WHERE id = ?1")
            .and_then(|mut s| s.query_row([validator.number()], |row| row.get(0)).optional())
            .map_err(StoreError::read("a validator's state"))?;
        // A state that this version cannot read says nothing.
        Ok(payload.flatten().as_deref().and_then(read_state))
    }

    fn chain_hash(
        &self,
        validator: ValidatorId,
        epoch: Epoch,
        seq: TapSeq,
    ) -> Result<Option<ChainHash>, StoreError> {
        let row: Option<(i64, Vec<u8>, Vec<u8>)> = self
            .writer
            .prepare_cached(
                "SELECT last, last_hash, payload FROM batches
                 WHERE validator = ?1 AND epoch = ?2 AND last >= ?3 ORDER BY last LIMIT 1",
            )
            .and_then(|mut statement| {
                let key = params![validator.number(), epoch.0, sql_seq(seq)];
                let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
                statement.query_row(key, read).optional()
            })
            .map_err(StoreError::read("the journal"))?;
        let Some((last, last_hash, payload)) = row else { return Ok(None) };
        if last == sql_seq(seq) {
            return Ok(last_hash.first_chunk().map(|hash| ChainHash(*hash)));
        }
        Ok(journal_batch(&payload)?.hash_through(seq))
    }

    fn card(&self, card: CardId) -> Result<Option<CardState>, StoreError> {
        let row = self.card_row(card)?;
        Ok(row.known.then_some(row.state))
    }

    fn ticket(&self, signed: &[u8; Ticket::LEN]) -> Result<Option<TicketState>, StoreError> {
        self.ticket_state(signed)
    }

    fn balance(&self, account: &AccountId) -> Result<Balance, StoreError> {
        match Account::parse(account) {
            Some(Account::Card(card)) => Ok(self.card_row(card)?.balance_in(account.currency())),
            Some(_) | None => account_balance(&self.writer, account),
        }
    }

    fn open_ops(&self, card: CardId) -> Result<Vec<DeskEntry>, StoreError> {
        self.open_entries(card)
    }

    fn history(&self, card: CardId) -> Result<CardHistory, StoreError> {
        due::history(&self.writer, card)
    }

    fn due_days(&self, card: CardId) -> Result<BTreeMap<ServiceDate, DayBooked>, StoreError> {
        due::due_days(&self.writer, card)
    }

    fn granted(&self, card: CardId) -> Result<BTreeMap<ServiceDate, i64>, StoreError> {
        self.grants_of(card)
    }

    fn order(&self, id: OrderId) -> Result<Option<BookedOrder>, StoreError> {
        self.order_by_id(id)
    }

    fn orders_of(&self, card: CardId) -> Result<Vec<BookedOrder>, StoreError> {
        self.card_orders(card)
    }

    fn orders_told(&self, validator: ValidatorId) -> Result<ListTold, StoreError> {
        self.told_by(validator)
    }

    fn stated(&self, channel: ChannelId, reference: &str) -> Result<Option<Stated>, StoreError> {
        self.stated_by(channel, reference)
    }

    fn reference_of(&self, id: OrderId) -> Result<Option<String>, StoreError> {
        self.order_reference(id)
    }

    fn auto(&self, card: CardId) -> Result<Option<AutoTopUp>, StoreError> {
        self.auto_of(card)
    }

    fn credit(&self, id: CreditId) -> Result<Option<CreditAccount>, StoreError> {
        self.credit_by_id(id)
    }

    fn credit_of(&self, card: CardId) -> Result<Option<CreditId>, StoreError> {
        self.credit_of_card(card)
    }

    fn credit_cards(&self, id: CreditId) -> Result<Vec<CardId>, StoreError> {
        self.cards_of_credit(id)
    }

    fn credit_under_way(&self, id: CreditId) -> Result<i64, StoreError> {
        self.under_way_of(id)
    }

    fn credit_payment(
        &self,
        channel: ChannelId,
        reference: &str,
    ) -> Result<Option<(CreditId, i64)>, StoreError> {
        self.payment_of_credit(channel, reference)
    }

    fn blocked(&self, card: CardId, version: u64, by: Timestamp) -> Result<bool, StoreError> {
        self.is_blocked(card, version, by)
    }

    fn clock_gaps(&self, day: ServiceDate) -> Result<Vec<ClockGap>, StoreError> {
        self.clock_gaps_on(day)
    }

    fn due_held(&self, order: DueOrder) -> Result<Vec<(ServiceDate, i64)>, StoreError> {
        due::due_held(&self.writer, order)
    }

    fn pending(&self, id: &TransferId) -> Result<Option<Recorded>, StoreError> {
        let row: Option<(Vec<u8>, i64)> = self
            .writer
            .prepare_cached("SELECT body, pending FROM transfers WHERE pending_id = ?1")
            .and_then(|mut statement| {
                statement.query_row([id.0], |row| Ok((row.get(0)?, row.get(1)?))).optional()
            })
            .map_err(StoreError::read("a pending transfer"))?;
        row.map(|(body, state)| {
            let transfer = read_transfer(&body)?;
            let pending = Some(match state {
                0 => PendingState::Held,
                1 => PendingState::Posted,
                _ => PendingState::Voided,
            });
            Ok(Recorded { transfer, pending })
        })
        .transpose()
    }
}

pub(super) fn marks(
    connection: &Connection,
    validator: ValidatorId,
) -> Result<Vec<EpochMark>, StoreError> {
    let failed = || StoreError::read("how far a validator is booked");
    let mut statement = connection
        .prepare_cached(
            "SELECT epoch, through, hash, count, debit_sum, load_sum, hotlist FROM epochs
             WHERE validator = ?1",
        )
        .map_err(failed())?;
    let rows = statement
        .query_map([validator.number()], |row| {
            let registers = Registers {
                count: super::codes::unsigned(row.get(3)?),
                debit_sum: row.get(4)?,
                load_sum: row.get(5)?,
            };
            let hash = ChainHash(row.get(2)?);
            Ok(EpochMark {
                epoch: epoch(row.get(0)?),
                through: seq(row.get(1)?),
                hash,
                registers,
                hotlist: row.get::<_, Option<i64>>(6)?.map(super::codes::unsigned),
            })
        })
        .map_err(failed())?;
    rows.collect::<Result<_, _>>().map_err(failed())
}

pub(super) fn read_transfer(body: &[u8]) -> Result<Transfer, StoreError> {
    body.first_chunk()
        .filter(|_| body.len() == Transfer::LEN)
        .and_then(|body| Transfer::from_bytes(body).ok())
        .ok_or_else(|| StoreError::damaged("a transfer that cannot be read"))
}

pub(super) fn read_state(payload: &[u8]) -> Option<ValidatorState> {
    let envelope = Envelope::decode(Message::State, payload).ok()?;
    ValidatorState::decode(envelope.body).ok()
}

/// A journal payload; its signature was checked before it was booked, and `verify` checks again.
pub(super) fn journal_batch(payload: &[u8]) -> Result<Batch, StoreError> {
    Envelope::decode(Message::Taps, payload)
        .and_then(|envelope| Batch::decode(envelope.body))
        .map_err(|error| StoreError::damaged(format!("a journal row cannot be read: {error}")))
}

/// A tap, read again from the journal.
pub(super) fn journal_record(connection: &Connection, tap: i64) -> Result<TapRecord, StoreError> {
    journal_records(connection, &[tap])?
        .remove(&tap)
        .ok_or_else(|| StoreError::damaged(format!("tap {tap} is not in the journal")))
}

/// Taps, read again from the journal; each journal row is decoded once.
pub(super) fn journal_records(
    connection: &Connection,
    taps: &[i64],
) -> Result<BTreeMap<i64, TapRecord>, StoreError> {
    let failed = || StoreError::read("the journal");
    let mut batches: HashMap<i64, Batch> = HashMap::new();
    let mut records = BTreeMap::new();
    for tap in taps {
        let (batch, validator_no, epoch_no, seq_no): (i64, u32, u32, i64) = connection
            .prepare_cached("SELECT batch, validator, epoch, seq FROM taps WHERE id = ?1")
            .and_then(|mut statement| {
                statement.query_row([tap], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                })
            })
            .map_err(failed())?;
        let found = match batches.entry(batch) {
            Entry::Occupied(found) => found.into_mut(),
            Entry::Vacant(empty) => {
                let payload: Vec<u8> = connection
                    .prepare_cached("SELECT payload FROM batches WHERE id = ?1")
                    .and_then(|mut statement| statement.query_row([batch], |row| row.get(0)))
                    .map_err(failed())?;
                empty.insert(journal_batch(&payload)?)
            }
        };
        let number = (validator(validator_no)?, epoch(epoch_no), seq(seq_no));
        let ix = number.2.0.checked_sub(found.head.first.0).and_then(|ix| usize::try_from(ix).ok());
        let bytes = ix.and_then(|ix| found.entries.get(ix));
        let record = bytes.and_then(|bytes| wire::decode_entry(bytes, number).ok());
        let record = record
            .ok_or_else(|| StoreError::damaged(format!("tap {tap} is not in its journal row")))?;
        records.insert(*tap, record);
    }
    Ok(records)
}
