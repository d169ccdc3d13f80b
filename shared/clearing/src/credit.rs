//! Credit accounts: cards that ride first and are paid for afterwards (ADR-0022).
//!
//! A card of an account carries an *allowance*: stored value like any other, that load orders put
//! on it on the account's credit. Nothing on the card or in a validator knows of accounts.
//!
//! Invariants: what an account can cost, its [exposure](CreditAccount::exposure), grows only by a
//! refill, and no refill takes it above the limit, so no tap of any validator, however late, can;
//! what was put on the cards is on them, on its way, or spent, and every spent unit becomes debt
//! once; how an account stands is a function of what it spent, its bills and what was paid, never
//! of the order in which these came; no account is stopped, and none of its cards proposed for
//! the hotlist, that was not warned before (USR-4).

mod terms;
mod worth;

use alloc::{format, string::String, vec::Vec};
use core::fmt;

use ledger::Transfer;
use model::{CardId, CardRecord, ChannelId, Currency, Money, ServiceDate, Timestamp};

use crate::{
    Account, Exception, ExceptionChange, ExceptionId, ExceptionKind,
    account::CauseCode,
    exception::difference,
    postings::{Event, Postings},
};

pub use terms::{CreditKind, CreditTerms, Dunning, TermsError};
pub use worth::{met_load, returned_to_account, unmet_load, worth};

/// A credit account's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CreditId(pub u32);

impl fmt::Display for CreditId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A bill: what was spent and on no bill before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bill {
    /// Which of its account's, from 1.
    pub number: u32,
    /// What it asks for, minor units above zero.
    pub amount: i64,
    /// What the account had spent in all when it was made.
    pub spent: i64,
    /// When it was made.
    pub billed_on: ServiceDate,
    /// The last day on which it can be paid in time.
    pub due_on: ServiceDate,
    /// When its channel said that it cannot be collected.
    pub failed_on: Option<ServiceDate>,
}

/// What is past due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PastDue {
    /// Minor units, above zero.
    pub amount: i64,
    /// Since when.
    pub since: ServiceDate,
}

/// A credit account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreditAccount {
    /// Which.
    pub id: CreditId,
    /// How it is paid.
    pub kind: CreditKind,
    /// The currency of its cards' purses, when it is not the tariff's.
    pub purse: Option<Currency>,
    /// Who collects, or takes payments.
    pub channel: ChannelId,
    /// What was agreed.
    pub terms: CreditTerms,
    /// When it was opened.
    pub opened_on: ServiceDate,
    /// What its cards spent and became debt, in all.
    pub spent: i64,
    /// What was paid, in all.
    pub paid: i64,
    /// How often something spent became debt.
    pub charges: u32,
    /// The last day on which something did.
    pub charged_on: ServiceDate,
    /// The last day on which a period ended.
    pub billed_on: ServiceDate,
    /// Its bills, oldest first.
    pub bills: Vec<Bill>,
    /// How far a debt has come.
    pub dunning: Dunning,
    /// When the holder was warned of what is past due.
    pub warned_on: Option<ServiceDate>,
}

/// What changes; the shell writes both in one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedCredit {
    /// The account from here on.
    pub account: CreditAccount,
    /// To apply to the ledger in this order. None may be refused.
    pub transfers: Vec<Transfer>,
}

/// What the books know of a card that may be refilled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefillSeen {
    /// What stands on the account's credit line.
    pub line: i64,
    /// On the card's newest known record.
    pub balance: i64,
    /// An order of the card is on its way.
    pub is_awaited: bool,
}

impl CreditAccount {
    /// A new account.
    pub const fn opened(
        (id, kind): (CreditId, CreditKind),
        (channel, purse): (ChannelId, Option<Currency>),
        terms: CreditTerms,
        on: ServiceDate,
    ) -> Self {
        Self {
            id,
            kind,
            purse,
            channel,
            terms,
            opened_on: on,
            spent: 0,
            paid: 0,
            charges: 0,
            charged_on: on,
            billed_on: on,
            bills: Vec::new(),
            dunning: Dunning::Good,
            warned_on: None,
        }
    }

    /// The currency of its amounts, where the tariff's is `tariff`.
    pub fn currency(&self, tariff: Currency) -> Currency {
        self.purse.unwrap_or(tariff)
    }

    /// What was spent and is not paid.
    pub const fn debt(&self) -> i64 {
        if self.spent > self.paid { self.spent - self.paid } else { 0 }
    }

    /// What was paid and is not spent.
    pub const fn prepaid(&self) -> i64 {
        if self.paid > self.spent { self.paid - self.spent } else { 0 }
    }

    /// The most that the account can come to owe without another refill: what is on its cards and
    /// on its way, and what is owed. `line` is what stands on its credit line.
    pub const fn exposure(&self, line: i64) -> i64 {
        self.spent - self.paid - line
    }

    /// What of the cards' value is spent and not debt yet. `line` is what stands on the credit
    /// line, `worth` what its cards are [worth], `under_way` what of it is on its way.
    /// Below zero when value came back: a fare was corrected, or somebody else loaded a card.
    pub const fn uncharged(line: i64, worth: i64, under_way: i64) -> i64 {
        -line - worth - under_way
    }

    /// So much more was spent: it becomes debt.
    #[must_use]
    pub fn charged(
        &self,
        amount: i64,
        on: ServiceDate,
        now: Timestamp,
        tariff: Currency,
    ) -> MovedCredit {
        let account = Self {
            spent: self.spent.saturating_add(amount),
            charges: self.charges.saturating_add(1),
            charged_on: on,
            ..self.clone()
        };
        let parts: [&[u8]; 2] = [&self.id.0.to_be_bytes(), &account.charges.to_be_bytes()];
        let event = Event::new(CauseCode::AccountCharge, &parts, now);
        let transfers = self.moved(&account, Account::CreditLine(self.id), event, now, tariff);
        MovedCredit { account, transfers }
    }

    /// So much was paid through a channel under a reference; below zero: taken back.
    #[must_use]
    pub fn paid(
        &self,
        amount: i64,
        (channel, reference): (ChannelId, &str),
        (paid_at, now): (Timestamp, Timestamp),
        tariff: Currency,
    ) -> MovedCredit {
        let account = Self { paid: self.paid.saturating_add(amount), ..self.clone() };
        let parts: [&[u8]; 2] = [&channel.0.to_be_bytes(), reference.as_bytes()];
        let event = Event::new(CauseCode::AccountPayment, &parts, paid_at);
        let transfers = self.moved(&account, Account::AccountBank(channel), event, now, tariff);
        MovedCredit { account, transfers }
    }

    /// From what was owed before to what is owed after, against one account.
    fn moved(
        &self,
        after: &Self,
        against: Account,
        mut event: Event,
        now: Timestamp,
        tariff: Currency,
    ) -> Vec<Transfer> {
        let mut postings = Postings::new(CardId([0; 7]), self.currency(tariff), now);
        let (debt, prepaid) = (after.debt() - self.debt(), after.prepaid() - self.prepaid());
        postings.shift(&mut event, Account::AccountDebt(self.id), against, -debt);
        postings.shift(&mut event, Account::AccountPrepaid(self.id), against, prepaid);
        postings.transfers
    }

    /// The bill that is due to be made: what was spent, is on no bill and not paid. `None` when
    /// nothing is.
    pub fn next_bill(&self, on: ServiceDate) -> Option<Bill> {
        let billed = self.bills.iter().map(|bill| bill.spent).fold(self.paid, i64::max);
        let amount = self.spent.saturating_sub(billed);
        let number = self.bills.last().map_or(1, |last| last.number.saturating_add(1));
        let due_on = ServiceDate(on.0.saturating_add(self.terms.due_days.into()));
        let spent = self.spent;
        (amount > 0).then_some(Bill {
            number,
            amount,
            spent,
            billed_on: on,
            due_on,
            failed_on: None,
        })
    }

    /// Whether a period has ended by `today`.
    pub fn is_bill_due(&self, today: ServiceDate) -> bool {
        today.0 >= self.billed_on.0.saturating_add(self.terms.period_days.into())
    }

    /// A period ended, with a bill or without.
    #[must_use]
    pub fn billed(&self, bill: Option<Bill>, on: ServiceDate) -> Self {
        let mut account = Self { billed_on: on, ..self.clone() };
        account.bills.extend(bill);
        account
    }

    /// What of each bill is not paid: payments pay the oldest first, whichever they name, and what
    /// was corrected since is not open.
    pub fn open_bills(&self) -> Vec<(Bill, i64)> {
        let mut met = self.paid;
        let mut unpaid = Vec::new();
        for bill in &self.bills {
            let open = bill.spent.min(self.spent).saturating_sub(met);
            if open > 0 {
                met += open;
                unpaid.push((*bill, open));
            }
        }
        unpaid
    }

    /// The channel could not collect this bill: what of it is not paid is past due.
    #[must_use]
    pub fn failed(&self, number: u32, on: ServiceDate) -> Option<Self> {
        let mut account = self.clone();
        let bill = account.bills.iter_mut().find(|bill| bill.number == number)?;
        bill.failed_on.get_or_insert(on);
        Some(account)
    }

    /// What is past due on `today`.
    pub fn past_due(&self, today: ServiceDate) -> Option<PastDue> {
        let since = |bill: &Bill| {
            let over = ServiceDate(bill.due_on.0.saturating_add(1));
            let over = (over <= today).then_some(over);
            [over, bill.failed_on].into_iter().flatten().min()
        };
        let open = self.open_bills();
        let overdue = open.iter().filter_map(|(bill, open)| Some((since(bill)?, *open)));
        let since = overdue.clone().map(|(since, _)| since).min()?;
        Some(PastDue { amount: overdue.map(|(_, open)| open).sum(), since })
    }

    /// How far the debt has come by `today`. Days count from the warning, so a depot that was off
    /// for a month stops nobody unwarned; and a clock that was set back lets nobody off.
    pub fn dunning_on(&self, today: ServiceDate) -> Dunning {
        if self.past_due(today).is_none() {
            return Dunning::Good;
        }
        let Some(warned_on) = self.warned_on else { return Dunning::Warned };
        let days = today.0.saturating_sub(warned_on.0);
        let CreditTerms { stop_days, grey_days, black_days, .. } = self.terms;
        let steps = [
            (black_days, Dunning::Black),
            (grey_days, Dunning::Grey),
            (stop_days, Dunning::Stopped),
        ];
        let reached = steps.into_iter().find(|(after, _)| days >= u32::from(*after));
        reached.map_or(Dunning::Warned, |(_, level)| level).max(self.dunning)
    }

    /// The debt has come so far.
    #[must_use]
    pub fn dunned(&self, level: Dunning, on: ServiceDate) -> Self {
        let warned_on = match level {
            Dunning::Good => None,
            Dunning::Warned | Dunning::Stopped | Dunning::Grey | Dunning::Black => {
                Some(self.warned_on.unwrap_or(on))
            }
        };
        Self { dunning: level, warned_on, ..self.clone() }
    }

    /// How much is ordered for a card now; `None` when nothing is.
    pub fn refill(&self, seen: RefillSeen) -> Option<u32> {
        let refills = self.dunning < Dunning::Stopped;
        if !refills || seen.is_awaited || seen.balance >= i64::from(self.terms.below) {
            return None;
        }
        let wanted = i64::from(self.terms.allowance) - seen.balance;
        let room = i64::from(self.terms.limit) - self.exposure(seen.line);
        let amount = wanted.min(room).min(i64::from(CardRecord::AMOUNT_MAX));
        u32::try_from(amount).ok().filter(|amount| *amount > 0)
    }

    /// The work item of a debt that is past due.
    fn item(&self, currency: Currency, now: Timestamp) -> Option<Exception> {
        let what = match self.dunning {
            Dunning::Good => return None,
            Dunning::Warned => "tell the holder; the cards go on",
            Dunning::Stopped => "its cards are refilled no more; what is on them can be ridden",
            Dunning::Grey => "its cards are proposed for the hotlist for the time being",
            Dunning::Black => "its cards are proposed for the hotlist for good",
        };
        let past_due = self.open_bills().iter().map(|(_, open)| open).sum();
        let amount = Money::new(past_due, self.currency(currency));
        let kind = ExceptionKind::AccountPastDue;
        let id = self.id;
        Some(Exception {
            id: ExceptionId::new(kind, &id.0.to_be_bytes(), &[]),
            kind,
            card: None,
            validator: None,
            amount: Some(amount),
            opened_at: now,
            finding: sentence(id, amount, what),
            evidence: Vec::new(),
        })
    }

    /// What opens, changes and resolves when this takes the place of `before`.
    pub fn items_since(
        &self,
        before: &Self,
        currency: Currency,
        now: Timestamp,
    ) -> Vec<ExceptionChange> {
        let of = |account: &Self| account.item(currency, now).into_iter().collect::<Vec<_>>();
        difference(&of(before), of(self), now, |_| "the debt is paid")
    }
}

fn sentence(id: CreditId, amount: Money, what: &str) -> String {
    format!("account {id} has not paid in time, {amount} are billed and open: {what}")
}
