//! Credit accounts: how each stands, whose cards are, and what was spent (ADR-0022). The journal's
//! part for them is the order journal's.

use clearing::{Bill, CreditAccount, CreditId, CreditKind, CreditTerms, Dunning, RefillSeen};
use model::{CardId, ChannelId, ServiceDate, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    Store, StoreError,
    codes::{card_of, purse_of, sql_card, sql_purse, time},
    group::Group,
};
use crate::intake::{
    credit_event::CreditEvent,
    stored::{Booking, OrderEvent},
};

const ACCOUNT: &str = "id, kind, channel, purse, credit_limit, allowance, below, period_days,
    due_days, stop_days, grey_days, black_days, opened_on, spent, paid, charges, charged_on,
    billed_on, dunning, warned_on";

/// A payment of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreditPayment {
    /// Who took it.
    pub channel: ChannelId,
    /// The channel's own number of it.
    pub reference: String,
    /// Minor units; below zero: taken back.
    pub amount: i64,
    /// When, by the channel's clock.
    pub paid_at: Timestamp,
}

impl Store {
    /// Every credit account, by number.
    pub fn credits(&self) -> Result<Vec<CreditAccount>, StoreError> {
        credits(&*self.reader()?, "WHERE id > ?1 ORDER BY id", 0)
    }

    /// A credit account.
    pub fn credit(&self, id: CreditId) -> Result<Option<CreditAccount>, StoreError> {
        credit(&*self.reader()?, id)
    }

    /// Whose a card is.
    pub fn credit_of(&self, card: CardId) -> Result<Option<CreditId>, StoreError> {
        credit_of(&*self.reader()?, card)
    }

    /// A credit account's cards.
    pub fn credit_cards(&self, id: CreditId) -> Result<Vec<CardId>, StoreError> {
        credit_cards(&*self.reader()?, id)
    }

    /// The customers' file's word for the holder.
    pub fn credit_holder(&self, id: CreditId) -> Result<String, StoreError> {
        self.reader()?
            .prepare_cached("SELECT holder FROM credit_accounts WHERE id = ?1")
            .and_then(|mut statement| statement.query_row([id.0], |row| row.get(0)))
            .map_err(StoreError::read("the holder of a credit account"))
    }

    /// How many cards belong to credit accounts.
    pub(crate) fn count_credit_cards(&self) -> Result<u64, StoreError> {
        self.reader()?
            .query_row("SELECT count(*) FROM credit_cards WHERE until IS NULL", [], |row| {
                row.get(0).map(super::codes::unsigned)
            })
            .map_err(StoreError::read("cards of credit accounts"))
    }

    /// Payments of a credit account, in the order of their times.
    pub fn credit_payments(&self, id: CreditId) -> Result<Vec<CreditPayment>, StoreError> {
        let failed = || StoreError::read("payments of a credit account");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached(
                "SELECT channel, reference, amount, paid_at FROM credit_payments
                 WHERE account = ?1 ORDER BY paid_at, channel, reference",
            )
            .map_err(failed())?;
        let rows = statement
            .query_map([id.0], |row| {
                Ok(CreditPayment {
                    channel: ChannelId(row.get(0)?),
                    reference: row.get(1)?,
                    amount: row.get(2)?,
                    paid_at: time(row.get(3)?),
                })
            })
            .map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }

    /// Accounts that were not looked at on this day, or since something was done with them.
    pub(crate) fn credits_to_look(&self, day: ServiceDate) -> Result<Vec<CreditId>, StoreError> {
        let failed = || StoreError::read("credit accounts to look at");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached("SELECT id FROM credit_accounts WHERE looked_on < ?1 ORDER BY id")
            .map_err(failed())?;
        let rows = statement.query_map([day.0], |row| row.get(0).map(CreditId)).map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }

    /// Nothing is left to do for an account on this day. Left to be found again when something was
    /// done with it meanwhile.
    pub(crate) fn credit_looked(
        &self,
        account: &CreditAccount,
        day: ServiceDate,
    ) -> Result<(), StoreError> {
        self.writer()
            .prepare_cached(
                "UPDATE credit_accounts SET looked_on = ?2
                 WHERE id = ?1 AND charges = ?3 AND paid = ?4 AND dunning = ?5 AND billed_on = ?6",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    account.id.0,
                    day.0,
                    account.charges,
                    account.paid,
                    account.dunning.word(),
                    account.billed_on.0
                ])
            })
            .map(|_| ())
            .map_err(StoreError::write("a credit account"))
    }

    /// Cards of accounts that are refilled below a threshold which their balance is under, with
    /// what the books know of each but for the credit line.
    pub(crate) fn credit_below(&self) -> Result<Vec<(CreditId, CardId, RefillSeen)>, StoreError> {
        let failed = || StoreError::read("cards to be refilled");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached(
                "SELECT m.account, m.card, c.credits_posted - c.debits_posted
                 FROM credit_cards m JOIN credit_accounts a ON a.id = m.account
                 JOIN cards c ON c.card = m.card
                 WHERE m.until IS NULL AND a.dunning IN ('good', 'warned')
                   AND c.credits_posted - c.debits_posted < a.below
                   AND NOT EXISTS (SELECT 1 FROM orders o WHERE o.card = m.card AND phase < 4)
                 ORDER BY m.account, m.card",
            )
            .map_err(failed())?;
        let rows = statement
            .query_map([], |row| {
                let seen = RefillSeen { line: 0, balance: row.get(2)?, is_awaited: false };
                Ok((CreditId(row.get(0)?), card_of(row.get(1)?), seen))
            })
            .map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }
}

impl Group<'_> {
    pub(super) fn credit_by_id(&self, id: CreditId) -> Result<Option<CreditAccount>, StoreError> {
        credit(&self.writer, id)
    }

    pub(super) fn credit_of_card(&self, card: CardId) -> Result<Option<CreditId>, StoreError> {
        credit_of(&self.writer, card)
    }

    pub(super) fn cards_of_credit(&self, id: CreditId) -> Result<Vec<CardId>, StoreError> {
        credit_cards(&self.writer, id)
    }

    pub(super) fn under_way_of(&self, id: CreditId) -> Result<i64, StoreError> {
        self.writer
            .prepare_cached(
                "SELECT coalesce(sum(amount), 0) FROM orders WHERE account = ?1 AND phase < 4",
            )
            .and_then(|mut statement| statement.query_row([id.0], |row| row.get(0)))
            .map_err(StoreError::read("load orders of a credit account"))
    }

    pub(super) fn payment_of_credit(
        &self,
        channel: ChannelId,
        reference: &str,
    ) -> Result<Option<(CreditId, i64)>, StoreError> {
        self.writer
            .prepare_cached(
                "SELECT account, amount FROM credit_payments
                 WHERE channel = ?1 AND reference = ?2",
            )
            .and_then(|mut statement| {
                let read = |row: &Row<'_>| Ok((CreditId(row.get(0)?), row.get(1)?));
                statement.query_row(params![channel.0, reference], read).optional()
            })
            .map_err(StoreError::read("a payment of a credit account"))
    }

    /// The number of the next credit account.
    pub(crate) fn next_credit(&self) -> Result<CreditId, StoreError> {
        self.writer
            .query_row("SELECT coalesce(max(id), 0) + 1 FROM credit_accounts", [], |row| {
                row.get(0).map(CreditId)
            })
            .map_err(StoreError::read("the number of the next credit account"))
    }

    /// Rows of the due journal.
    pub(crate) fn due_rows_booked(&self) -> Result<u64, StoreError> {
        self.writer
            .query_row("SELECT count(*) FROM due_journal", [], |row| {
                row.get(0).map(super::codes::unsigned)
            })
            .map_err(StoreError::read("the due journal"))
    }

    /// Credit accounts that were touched, whose cards are, and what was done. Written after the
    /// batches of the same group.
    pub(super) fn credits(&self, booking: &Booking) -> Result<(), StoreError> {
        let failed = || StoreError::write("a credit account");
        for event in &booking.order_events {
            if let OrderEvent::Credit { did } = event {
                self.credit_did(did)?;
            }
        }
        for account in booking.credits.values() {
            self.credit_row(account).map_err(failed())?;
        }
        if booking.members.is_empty() {
            return Ok(());
        }
        let place = self.newest_tap()?;
        for (card, account) in &booking.members {
            self.writer
                .prepare_cached(
                    "UPDATE credit_cards SET until = ?2 WHERE card = ?1 AND until IS NULL",
                )
                .and_then(|mut statement| statement.execute(params![sql_card(*card), place]))
                .map_err(failed())?;
            let Some(account) = account else { continue };
            self.writer
                .prepare_cached(
                    "INSERT INTO credit_cards (card, account, since) VALUES (?1, ?2, ?3)
                     ON CONFLICT (card, since, account) DO UPDATE SET until = NULL",
                )
                .and_then(|mut s| s.execute(params![sql_card(*card), account.0, place]))
                .map_err(failed())?;
        }
        Ok(())
    }

    fn credit_did(&self, did: &CreditEvent) -> Result<(), StoreError> {
        let failed = || StoreError::write("a credit account");
        match did {
            CreditEvent::Opened { account, holder, .. } => {
                self.writer
                    .prepare_cached(
                        "INSERT INTO credit_accounts VALUES (?1, '', ?2, 0, NULL, 0, 0, 0, 0, 0,
                         0, 0, 0, 0, 0, 0, 0, 0, 0, '', NULL, 0)",
                    )
                    .and_then(|mut statement| statement.execute(params![account, holder]))
                    .map_err(failed())?;
            }
            CreditEvent::Charged { account, amount, on, .. } => {
                let place = self.newest_tap()?;
                self.writer
                    .prepare_cached(
                        "INSERT INTO credit_charges (account, number, day, amount, through)
                         SELECT ?1, coalesce(max(number), 0) + 1, ?2, ?3, ?4 FROM credit_charges
                         WHERE account = ?1",
                    )
                    .and_then(|mut s| s.execute(params![account, on, amount, place]))
                    .map_err(failed())?;
            }
            CreditEvent::Paid { account, channel, reference, amount, paid_at } => {
                let paid_at = i64::try_from(*paid_at).unwrap_or(i64::MAX);
                self.writer
                    .prepare_cached(
                        "INSERT INTO credit_payments (channel, reference, account, amount, paid_at)
                         VALUES (?1, ?2, ?3, ?4, ?5)",
                    )
                    .and_then(|mut statement| {
                        statement.execute(params![channel, reference, account, amount, paid_at])
                    })
                    .map_err(failed())?;
            }
            CreditEvent::Agreed { .. }
            | CreditEvent::Linked { .. }
            | CreditEvent::Unlinked { .. }
            | CreditEvent::Billed { .. }
            | CreditEvent::Failed { .. }
            | CreditEvent::Dunned { .. } => {}
        }
        Ok(())
    }

    fn credit_row(&self, of: &CreditAccount) -> rusqlite::Result<()> {
        let terms = &of.terms;
        self.writer
            .prepare_cached(
                "UPDATE credit_accounts SET kind = ?2, channel = ?3, purse = ?4,
                 credit_limit = ?5, allowance = ?6, below = ?7, period_days = ?8, due_days = ?9,
                 stop_days = ?10, grey_days = ?11, black_days = ?12, opened_on = ?13, spent = ?14,
                 paid = ?15, charges = ?16, charged_on = ?17, billed_on = ?18, dunning = ?19,
                 warned_on = ?20, looked_on = 0 WHERE id = ?1",
            )?
            .execute(params![
                of.id.0,
                of.kind.word(),
                of.channel.0,
                sql_purse(of.purse),
                terms.limit,
                terms.allowance,
                terms.below,
                terms.period_days,
                terms.due_days,
                terms.stop_days,
                terms.grey_days,
                terms.black_days,
                of.opened_on.0,
                of.spent,
                of.paid,
                of.charges,
                of.charged_on.0,
                of.billed_on.0,
                of.dunning.word(),
                of.warned_on.map(|day| day.0),
            ])?;
        for bill in &of.bills {
            self.writer
                .prepare_cached(
                    "INSERT INTO credit_bills
                     (account, number, amount, spent, billed_on, due_on, failed_on)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                     ON CONFLICT (account, number) DO UPDATE SET failed_on = excluded.failed_on
                     WHERE failed_on IS NOT excluded.failed_on",
                )?
                .execute(params![
                    of.id.0,
                    bill.number,
                    bill.amount,
                    bill.spent,
                    bill.billed_on.0,
                    bill.due_on.0,
                    bill.failed_on.map(|day| day.0),
                ])?;
        }
        Ok(())
    }

    fn newest_tap(&self) -> Result<i64, StoreError> {
        self.writer
            .prepare_cached("SELECT coalesce(max(id), 0) FROM taps")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .map_err(StoreError::read("the newest tap"))
    }
}

fn credit(connection: &Connection, id: CreditId) -> Result<Option<CreditAccount>, StoreError> {
    Ok(credits(connection, "WHERE id = ?1", id.0.into())?.pop())
}

fn credits(connection: &Connection, of: &str, key: i64) -> Result<Vec<CreditAccount>, StoreError> {
    let failed = || StoreError::read("credit accounts");
    let sql = format!("SELECT {ACCOUNT} FROM credit_accounts {of}");
    let mut statement = connection.prepare_cached(&sql).map_err(failed())?;
    let rows = statement.query_map([key], account_of).map_err(failed())?;
    let mut accounts: Vec<CreditAccount> =
        rows.map(|row| row.map_err(failed())?).collect::<Result<_, StoreError>>()?;
    for account in &mut accounts {
        account.bills = bills(connection, account.id)?;
    }
    Ok(accounts)
}

fn account_of(row: &Row<'_>) -> rusqlite::Result<Result<CreditAccount, StoreError>> {
    let id = CreditId(row.get(0)?);
    let (kind, dunning): (String, String) = (row.get(1)?, row.get(18)?);
    let words = CreditKind::from_word(&kind).zip(Dunning::from_word(&dunning));
    let (Some((kind, dunning)), Ok(purse)) = (words, purse_of(row.get(3)?)) else {
        return Ok(Err(StoreError::damaged(format!("credit account {id} stands nowhere"))));
    };
    let day = |at: usize| row.get(at).map(ServiceDate);
    Ok(Ok(CreditAccount {
        id,
        kind,
        purse,
        channel: ChannelId(row.get(2)?),
        terms: CreditTerms {
            limit: row.get(4)?,
            allowance: row.get(5)?,
            below: row.get(6)?,
            period_days: row.get(7)?,
            due_days: row.get(8)?,
            stop_days: row.get(9)?,
            grey_days: row.get(10)?,
            black_days: row.get(11)?,
        },
        opened_on: day(12)?,
        spent: row.get(13)?,
        paid: row.get(14)?,
        charges: row.get(15)?,
        charged_on: day(16)?,
        billed_on: day(17)?,
        bills: Vec::new(),
        dunning,
        warned_on: row.get::<_, Option<u32>>(19)?.map(ServiceDate),
    }))
}

fn bills(connection: &Connection, id: CreditId) -> Result<Vec<Bill>, StoreError> {
    let failed = || StoreError::read("bills of a credit account");
    let mut statement = connection
        .prepare_cached(
            "SELECT number, amount, spent, billed_on, due_on, failed_on FROM credit_bills
             WHERE account = ?1 ORDER BY number",
        )
        .map_err(failed())?;
    let rows = statement
        .query_map([id.0], |row| {
            Ok(Bill {
                number: row.get(0)?,
                amount: row.get(1)?,
                spent: row.get(2)?,
                billed_on: ServiceDate(row.get(3)?),
                due_on: ServiceDate(row.get(4)?),
                failed_on: row.get::<_, Option<u32>>(5)?.map(ServiceDate),
            })
        })
        .map_err(failed())?;
    rows.collect::<Result<_, _>>().map_err(failed())
}

fn credit_of(connection: &Connection, card: CardId) -> Result<Option<CreditId>, StoreError> {
    connection
        .prepare_cached("SELECT account FROM credit_cards WHERE card = ?1 AND until IS NULL")
        .and_then(|mut statement| {
            statement.query_row([sql_card(card)], |row| row.get(0).map(CreditId)).optional()
        })
        .map_err(StoreError::read("whose a card is"))
}

fn credit_cards(connection: &Connection, id: CreditId) -> Result<Vec<CardId>, StoreError> {
    let failed = || StoreError::read("cards of a credit account");
    let mut statement = connection
        .prepare_cached(
            "SELECT card FROM credit_cards WHERE account = ?1 AND until IS NULL ORDER BY card",
        )
        .map_err(failed())?;
    let rows = statement.query_map([id.0], |row| row.get(0).map(card_of)).map_err(failed())?;
    rows.collect::<Result<_, _>>().map_err(failed())
}
