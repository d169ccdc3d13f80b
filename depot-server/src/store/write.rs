//! Writes one booking and makes it durable: all of it, or nothing.

use std::collections::BTreeMap;

use clearing::{Account, ExceptionChange, Issue};
use ledger::{AccountId, Balance, PendingState};
use model::{CardId, ServiceDate, TapEvent, ValidatorId};
use rusqlite::{OptionalExtension, params};
use sha2::{Digest, Sha256};

use super::{
    StoreError,
    codes::{clock_code, outcome_code, role_code, sql_card, sql_purse, sql_seq, sql_time},
    days::day_of,
    evidence,
    group::Group,
    shown::{Shown, shown},
    sums::{Groups, find_account},
};
use crate::{
    http::views::Outcome,
    intake::stored::{BookedBatch, BookedTap, Booking},
};

/// Durations kept per validator.
const DURATIONS_MAX: usize = 64;

impl Group<'_> {
    /// Writes everything and waits for the disk. Returns the number of the first new tap.
    pub fn commit(mut self, booking: &Booking) -> Result<i64, StoreError> {
        let first_tap = self.batches(booking)?;
        self.issues(booking)?;
        self.desk(booking)?;
        self.tickets(booking)?;
        self.cards(booking)?;
        self.records(booking)?;
        self.ledger(booking)?;
        self.exceptions(booking)?;
        self.clocks(booking)?;
        self.progress(booking)?;
        self.states(booking)?;
        self.quarantine(booking)?;
        self.due(booking)?;
        self.orders(booking)?;
        self.office(booking)?;
        self.credits(booking)?;
        self.told(booking)?;
        self.periods()?;
        self.writer.execute_batch("COMMIT").map_err(StoreError::write("a group"))?;
        self.done = true;
        Ok(first_tap)
    }

    fn batches(&self, booking: &Booking) -> Result<i64, StoreError> {
        let failed = || StoreError::write("the journal");
        let (_, mut hash) = self.end_of("batches")?;
        let first: i64 = self
            .writer
            .prepare_cached("SELECT coalesce(max(id), 0) + 1 FROM taps")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .map_err(failed())?;
        let mut insert = self
            .writer
            .prepare_cached(
                "INSERT INTO batches
                 (validator, epoch, first, last, last_hash, received_at, hash, payload)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )
            .map_err(failed())?;
        let at = sql_time(booking.at);
        let mut next = first;
        let mut minute = (0_i64, 0_i64);
        for batch in &booking.batches {
            hash = Sha256::new().chain_update(hash).chain_update(&batch.payload).finalize().into();
            let id = insert
                .insert(params![
                    batch.validator.number(),
                    batch.epoch.0,
                    sql_seq(batch.first),
                    sql_seq(batch.last),
                    batch.last_hash.0,
                    at,
                    hash,
                    batch.payload,
                ])
                .map_err(failed())?;
            for tap in &batch.taps {
                let day = day_of(booking, tap.record.tapped_at);
                let outcome = self.tap(next, id, at, tap, day)?;
                match outcome {
                    Outcome::Committed | Outcome::InDoubt | Outcome::Ticket => minute.0 += 1,
                    Outcome::Refused => minute.1 += 1,
                    Outcome::Confirmed | Outcome::Voided | Outcome::Gate => {}
                }
                next += 1;
            }
        }
        if minute != (0, 0) {
            self.writer
                .prepare_cached(
                    "INSERT INTO minutes (minute, accepted, refused) VALUES (?1, ?2, ?3)
                     ON CONFLICT (minute) DO UPDATE SET
                     accepted = accepted + excluded.accepted, refused = refused + excluded.refused",
                )
                .and_then(|mut s| s.execute(params![at / 60_000, minute.0, minute.1]))
                .map_err(failed())?;
        }
        self.last_taps(&booking.batches, first)?;
        self.work(booking)?;
        Ok(first)
    }

    fn tap(
        &self,
        id: i64,
        batch: i64,
        at: i64,
        tap: &BookedTap,
        day: ServiceDate,
    ) -> Result<Outcome, StoreError> {
        let record = &tap.record;
        self.begun.borrow_mut().tap(day, id);
        let prev = match record.card {
            None => None,
            Some(card) => {
                // Reads the row if the step did not.
                self.card_row(card)?;
                let mut cards = self.cards.borrow_mut();
                let row = cards.entry(card).or_default();
                row.taps += 1;
                row.last_tap.replace(id)
            }
        };
        let Shown { outcome, detail, amount, balance, ctr, purse } = shown(tap);
        let operator = tap.operator.map(|known| known.0.map_or(u16::MAX, |operator| operator.0));
        self.writer
            .prepare_cached(
                "INSERT INTO taps (id, batch, validator, epoch, seq, card, prev, tapped_at, clock,
                 received_at, role, place, route, tariff, outcome, detail, cleared, amount,
                 balance, ctr, operator, duration_ms, day, purse)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16,
                 ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24)",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    id,
                    batch,
                    record.validator.number(),
                    record.epoch.0,
                    sql_seq(record.seq),
                    record.card.map(sql_card),
                    prev,
                    sql_time(record.tapped_at),
                    clock_code(record.clock),
                    at,
                    role_code(record.role),
                    record.place.0,
                    record.route.map(|route| route.0),
                    record.tariff.0,
                    outcome_code(outcome),
                    detail,
                    tap.cleared,
                    amount,
                    balance,
                    ctr,
                    operator,
                    record.duration_ms,
                    day.0,
                    sql_purse(purse),
                ])
            })
            .map_err(StoreError::write("a tap"))?;
        Ok(outcome)
    }

    /// Each validator's newest tap and the durations of its last ones.
    fn last_taps(&self, batches: &[BookedBatch], first: i64) -> Result<(), StoreError> {
        let mut newest = BTreeMap::<ValidatorId, (i64, Vec<u8>)>::new();
        let taps = batches.iter().flat_map(|batch| &batch.taps);
        for (id, tap) in (first..).zip(taps) {
            let (last, durations) = newest.entry(tap.record.validator).or_default();
            *last = id;
            // What a gate tells takes no time.
            if !matches!(tap.record.event, TapEvent::Gate { .. }) {
                durations.extend(tap.record.duration_ms.to_le_bytes());
            }
        }
        let failed = || StoreError::write("the newest tap of a validator");
        for (validator, (last, fresh)) in newest {
            let kept: Option<Option<Vec<u8>>> = self
                .writer
                .prepare_cached("SELECT durations FROM validators WHERE id = ?1")
                .and_then(|mut s| s.query_row([validator.number()], |row| row.get(0)).optional())
                .map_err(failed())?;
            let mut durations = kept.flatten().unwrap_or_default();
            durations.extend(fresh);
            let surplus = durations.len().saturating_sub(2 * DURATIONS_MAX);
            durations.drain(..surplus);
            self.writer
                .prepare_cached("UPDATE validators SET last_tap = ?2, durations = ?3 WHERE id = ?1")
                .and_then(|mut s| s.execute(params![validator.number(), last, durations]))
                .map_err(failed())?;
        }
        Ok(())
    }

    fn issues(&self, booking: &Booking) -> Result<(), StoreError> {
        for Issue { card, record, purse, issuer } in &booking.issues {
            let bytes = record
                .to_bytes()
                .map_err(|error| StoreError::damaged(format!("issue of {card}: {error}")))?;
            self.writer
                .prepare_cached(
                    "INSERT INTO issues (card, record, registered_at, purse, issuer, after_batch)
                     SELECT ?1, ?2, ?3, ?4, ?5, coalesce(max(id), 0) FROM batches WHERE true
                     ON CONFLICT DO NOTHING",
                )
                .and_then(|mut statement| {
                    let (card, at) = (sql_card(*card), sql_time(booking.at));
                    let issuer = issuer.map(|issuer| issuer.0);
                    statement.execute(params![card, bytes, at, sql_purse(*purse), issuer])
                })
                .map_err(StoreError::write("the issue of a card"))?;
        }
        Ok(())
    }

    /// States, accounts and newest taps of the touched cards: one row each.
    fn cards(&self, booking: &Booking) -> Result<(), StoreError> {
        let failed = || StoreError::write("a card");
        let mut rows = std::mem::take(&mut *self.cards.borrow_mut());
        for (card, state) in &booking.cards {
            rows.entry(*card).or_default().state = state.clone();
        }
        let mut groups = Groups::default();
        let mut of_cards = Vec::new();
        for (account, balance) in &booking.ledger.balances {
            if let Some(Account::Card(card)) = Account::parse(account) {
                let row = rows.entry(card).or_default();
                let known = row.ledger == Some(account.currency());
                groups.moved(account, known.then_some(row.balance), *balance);
                of_cards.push((card, account.currency(), *balance));
            } else {
                groups.moved(account, find_account(&self.writer, account)?, *balance);
                self.account(account, balance)?;
            }
        }
        groups.write(self)?;
        for (card, ledger, balance) in of_cards {
            let row = rows.entry(card).or_default();
            if row.state.purse().is_none_or(|purse| purse == ledger) {
                (row.ledger, row.balance) = (Some(ledger), balance);
            } else if balance != Balance::default() {
                // What was held before the card proved its purse is given back in the same step.
                let what = format!("card {card} stands in a second ledger, in {ledger}");
                return Err(StoreError::damaged(what));
            }
        }
        let mut upsert = self
            .writer
            .prepare_cached(
                "INSERT INTO cards (card, state, debits_posted, credits_posted, debits_pending,
                 credits_pending, last_tap, taps, currency)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                 ON CONFLICT (card) DO UPDATE SET state = excluded.state,
                 debits_posted = excluded.debits_posted, credits_posted = excluded.credits_posted,
                 debits_pending = excluded.debits_pending,
                 credits_pending = excluded.credits_pending,
                 last_tap = excluded.last_tap, taps = excluded.taps,
                 currency = excluded.currency",
            )
            .map_err(failed())?;
        // In order of the key, so that neighbouring rows share a page while it is at hand.
        let rows: BTreeMap<CardId, _> = rows.into_iter().collect();
        for (card, row) in &rows {
            let state = row
                .state
                .to_bytes()
                .map_err(|error| StoreError::damaged(format!("state of {card}: {error}")))?;
            let b = &row.balance;
            upsert
                .execute(params![
                    sql_card(*card),
                    state,
                    b.debits_posted,
                    b.credits_posted,
                    b.debits_pending,
                    b.credits_pending,
                    row.last_tap,
                    row.taps,
                    sql_purse(row.ledger),
                ])
                .map_err(failed())?;
        }
        Ok(())
    }

    fn account(&self, account: &AccountId, balance: &Balance) -> Result<(), StoreError> {
        self.writer
            .prepare_cached(
                "INSERT INTO accounts
                 (id, debits_posted, credits_posted, debits_pending, credits_pending)
                 VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (id) DO UPDATE SET debits_posted = excluded.debits_posted,
                 credits_posted = excluded.credits_posted,
                 debits_pending = excluded.debits_pending,
                 credits_pending = excluded.credits_pending",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    account.to_bytes(),
                    balance.debits_posted,
                    balance.credits_posted,
                    balance.debits_pending,
                    balance.credits_pending,
                ])
            })
            .map(|_| ())
            .map_err(StoreError::write("an account"))
    }

    fn records(&self, booking: &Booking) -> Result<(), StoreError> {
        for (card, known) in &booking.records {
            let body = known
                .to_bytes()
                .map_err(|error| StoreError::damaged(format!("a record of {card}: {error}")))?;
            self.writer
                .prepare_cached(
                    "INSERT INTO records (card, ctr, body) VALUES (?1, ?2, ?3)
                     ON CONFLICT (card, ctr) DO UPDATE SET body = excluded.body",
                )
                .and_then(|mut s| s.execute(params![sql_card(*card), known.record.ctr.0, body]))
                .map_err(StoreError::write("a card record"))?;
        }
        Ok(())
    }

    fn ledger(&self, booking: &Booking) -> Result<(), StoreError> {
        let failed = || StoreError::write("a transfer");
        let code = |state| match state {
            PendingState::Held => 0_i64,
            PendingState::Posted => 1,
            PendingState::Voided => 2,
        };
        let mut insert = self
            .writer
            .prepare_cached(
                "INSERT INTO transfers (body, pending_id, pending, day) VALUES (?1, ?2, ?3, ?4)",
            )
            .map_err(failed())?;
        for recorded in &booking.ledger.inserted {
            let body = recorded.transfer.to_bytes();
            let pending_id = recorded.pending.map(|_| recorded.transfer.id.0);
            let day = day_of(booking, recorded.transfer.event_at);
            let id = insert
                .insert(params![body.as_slice(), pending_id, recorded.pending.map(code), day.0])
                .map_err(failed())?;
            self.begun.borrow_mut().transfer(day, id);
        }
        for (id, state) in &booking.ledger.settled {
            self.writer
                .prepare_cached("UPDATE transfers SET pending = ?2 WHERE pending_id = ?1")
                .and_then(|mut s| s.execute(params![id.0, code(*state)]))
                .map_err(failed())?;
        }
        Ok(())
    }

    fn exceptions(&self, booking: &Booking) -> Result<(), StoreError> {
        let failed = || StoreError::write("an exception");
        for change in &booking.exceptions {
            let (exception, opens) = match change {
                ExceptionChange::Opened(exception) => (exception, true),
                ExceptionChange::Changed(exception) => (exception, false),
                ExceptionChange::Resolved { id, at, reason, .. } => {
                    self.writer
                        .prepare_cached(
                            "UPDATE exceptions SET closed_at = ?2, close_reason = ?3
                             WHERE ref = ?1 AND closed_at IS NULL",
                        )
                        .and_then(|mut s| s.execute(params![id.0, sql_time(*at), reason]))
                        .map_err(failed())?;
                    continue;
                }
            };
            // The same finding again is the same row; one that was closed is open again.
            let sql = "INSERT INTO exceptions (ref, kind, card, validator, amount, currency,
                 opened_at, finding, evidence) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                 ON CONFLICT (ref) DO UPDATE SET amount = excluded.amount,
                 finding = excluded.finding, evidence = excluded.evidence,
                 closed_at = CASE WHEN ?10 THEN NULL ELSE closed_at END,
                 close_reason = CASE WHEN ?10 THEN NULL ELSE close_reason END";
            self.writer
                .prepare_cached(sql)
                .and_then(|mut statement| {
                    statement.execute(params![
                        exception.id.0,
                        exception.kind.word(),
                        exception.card.map(sql_card),
                        exception.validator.map(ValidatorId::number),
                        exception.amount.map(model::Money::minor),
                        exception.amount.map(|amount| amount.currency().numeric()),
                        sql_time(exception.opened_at),
                        exception.finding,
                        evidence::to_json(&exception.evidence),
                        opens,
                    ])
                })
                .map_err(failed())?;
        }
        Ok(())
    }

    fn progress(&self, booking: &Booking) -> Result<(), StoreError> {
        let failed = || StoreError::write("how far a validator is booked");
        let at = sql_time(booking.at);
        for ((validator, epoch), progress) in &booking.progress {
            let mark = &progress.mark;
            self.writer
                .prepare_cached(
                    "INSERT INTO epochs (validator, epoch, through, hash, count, debit_sum,
                     load_sum, duplicates, hotlist)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                     ON CONFLICT (validator, epoch) DO UPDATE SET through = excluded.through,
                     hash = excluded.hash, count = excluded.count,
                     debit_sum = excluded.debit_sum, load_sum = excluded.load_sum,
                     duplicates = duplicates + excluded.duplicates,
                     hotlist = excluded.hotlist",
                )
                .and_then(|mut statement| {
                    statement.execute(params![
                        validator.number(),
                        epoch.0,
                        sql_seq(mark.through),
                        mark.hash.0,
                        i64::try_from(mark.registers.count).unwrap_or(i64::MAX),
                        mark.registers.debit_sum,
                        mark.registers.load_sum,
                        i64::try_from(progress.duplicates).unwrap_or(i64::MAX),
                        mark.hotlist.map(|version| i64::try_from(version).unwrap_or(i64::MAX)),
                    ])
                })
                .map_err(failed())?;
            self.writer
                .prepare_cached("UPDATE validators SET heard_at = ?2 WHERE id = ?1")
                .and_then(|mut s| s.execute(params![validator.number(), at]))
                .map_err(failed())?;
        }
        Ok(())
    }

    fn states(&self, booking: &Booking) -> Result<(), StoreError> {
        let at = sql_time(booking.at);
        for (validator, report) in &booking.states {
            let link = if report.linked { 2 } else { 1 };
            // A retained message that comes again says nothing new.
            self.writer
                .prepare_cached(
                    "UPDATE validators SET state = ?2, state_at = ?3, heard_at = ?3,
                     link_at = CASE WHEN link = ?4 THEN link_at ELSE ?3 END, link = ?4
                     WHERE id = ?1 AND state IS NOT ?2",
                )
                .and_then(|mut statement| {
                    statement.execute(params![validator.number(), report.payload, at, link])
                })
                .map_err(StoreError::write("a validator's state"))?;
        }
        Ok(())
    }

    fn quarantine(&self, booking: &Booking) -> Result<(), StoreError> {
        for message in &booking.quarantine {
            let hash: [u8; 32] = Sha256::new()
                .chain_update(message.topic.as_bytes())
                .chain_update([0])
                .chain_update(&message.payload)
                .finalize()
                .into();
            self.writer
                .prepare_cached(
                    "INSERT INTO quarantine (received_at, topic, reason, detail, payload, hash)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (hash) DO NOTHING",
                )
                .and_then(|mut statement| {
                    statement.execute(params![
                        sql_time(booking.at),
                        message.topic,
                        message.reason.word(),
                        message.detail,
                        message.payload,
                        hash,
                    ])
                })
                .map_err(StoreError::write("the quarantine"))?;
        }
        Ok(())
    }
}
