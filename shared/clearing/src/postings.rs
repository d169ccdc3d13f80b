//! Transfers of one clearing step: directions, ids, and what they do to the unknown origin.

use alloc::vec::Vec;

use ledger::{Cause, Kind, Transfer, TransferId};
use model::{CardId, CardRecord, Ctr, Currency, IssuerId, Timestamp};

use crate::{
    account::{Account, CauseCode},
    known::{KnownRecord, Source},
    state::{Doubt, Link},
};

/// Collects the transfers of one step, for one card.
#[derive(Debug)]
pub(crate) struct Postings {
    card: CardId,
    /// Of the card's ledger.
    pub(crate) currency: Currency,
    /// Of the ledger of cards whose profile names none.
    tariff: Currency,
    /// Of the card.
    pub(crate) issuer: Option<IssuerId>,
    booked_at: Timestamp,
    pub(crate) transfers: Vec<Transfer>,
    /// Credited from the card's unknown origin, net.
    pub(crate) origin: i64,
}

/// The transfers of one cause: their ids count up.
#[derive(Debug)]
pub(crate) struct Event {
    cause: Cause,
    leg: u8,
    at: Timestamp,
}

impl Event {
    pub(crate) fn new(code: CauseCode, parts: &[&[u8]], at: Timestamp) -> Self {
        Self { cause: Cause::new(code.number(), parts), leg: 0, at }
    }
}

impl Postings {
    pub(crate) fn new(card: CardId, currency: Currency, booked_at: Timestamp) -> Self {
        let (tariff, transfers) = (currency, Vec::new());
        Self { card, currency, tariff, issuer: None, booked_at, transfers, origin: 0 }
    }

    /// For a card whose ledger is in this currency.
    pub(crate) fn within(self, currency: Currency) -> Self {
        Self { currency, ..self }
    }

    /// Moves `amount` from one account to another: credits `to`. A negative amount moves the other
    /// way, zero moves nothing.
    pub(crate) fn shift(&mut self, event: &mut Event, to: Account, from: Account, amount: i64) {
        let currency = self.currency;
        self.push(event, (to, from), (amount, currency), Kind::Direct);
    }

    fn push(
        &mut self,
        event: &mut Event,
        (to, from): (Account, Account),
        (amount, currency): (i64, Currency),
        kind: Kind,
    ) {
        let (credit, debit) = if amount < 0 { (from, to) } else { (to, from) };
        let amount = amount.abs();
        if amount == 0 || credit == debit {
            return;
        }
        if matches!(kind, Kind::Direct | Kind::Post(_)) {
            let origin = Account::UnknownOrigin(self.card);
            self.origin += if debit == origin { amount } else { 0 };
            self.origin -= if credit == origin { amount } else { 0 };
        }
        self.transfers.push(Transfer {
            id: event.cause.transfer_id(event.leg),
            debit: debit.id(currency),
            credit: credit.id(currency),
            amount,
            currency,
            kind,
            event_at: event.at,
            booked_at: self.booked_at,
            cause: event.cause,
        });
        event.leg += 1;
    }

    /// The account at the other end of a record's amount.
    pub(crate) const fn counter_account(&self, known: &KnownRecord) -> Account {
        self.pooled_account(known).of(self.issuer)
    }

    /// The same, whoever issued the card.
    pub(crate) const fn pooled_account(&self, known: &KnownRecord) -> Account {
        use model::RecordKind::{Board, Entry, Exit, Issue, Load, LoadInJourney, Retire};
        match known.record.kind {
            Issue if matches!(known.source, Source::Issued) => Account::IssuerCash,
            Issue => Account::UnknownOrigin(self.card),
            Load | LoadInJourney => Account::LoadClearing,
            Retire => Account::RefundClearing,
            Board | Entry | Exit => Account::FareRevenue(known.operator),
        }
    }

    /// The account that holds what lies between two neighbours of the chain.
    pub(crate) const fn link_account(&self, link: &Link) -> Account {
        match link {
            Link::Origin { .. } => Account::UnknownOrigin(self.card),
            Link::Gap(gap) => Account::GapSuspense(self.card, gap.first),
            Link::Adjacent { ctr, .. } => Account::Difference(self.card, *ctr),
        }
    }

    /// Holds the amount of an in-doubt tap.
    pub(crate) fn hold(&mut self, doubt: &Doubt) {
        let mut event = hold_event(doubt);
        let (accounts, amount) = (self.doubt_accounts(doubt), self.doubt_amount(doubt));
        self.push(&mut event, accounts, amount, Kind::Pending);
    }

    /// Drops what an in-doubt tap held.
    pub(crate) fn void(&mut self, doubt: &Doubt) {
        self.drop_hold(CauseCode::Void, doubt);
    }

    /// The same, because nobody waits for it any more.
    pub(crate) fn expire(&mut self, doubt: &Doubt) {
        self.drop_hold(CauseCode::Expiry, doubt);
    }

    fn drop_hold(&mut self, why: CauseCode, doubt: &Doubt) {
        let mut event = Event::new(why, &[&doubt.tap.to_bytes()], doubt.tapped_at);
        let (accounts, amount) = (self.doubt_accounts(doubt), self.doubt_amount(doubt));
        self.push(&mut event, accounts, amount, Kind::Void(hold_id(doubt)));
    }

    /// Makes final what an in-doubt tap held, as the booking of its record.
    pub(crate) fn post(&mut self, event: &mut Event, doubt: &Doubt) {
        let (accounts, amount) = (self.doubt_accounts(doubt), self.doubt_amount(doubt));
        self.push(event, accounts, amount, Kind::Post(hold_id(doubt)));
    }

    /// In the ledger that it is held in, which need not turn out to be the card's.
    fn doubt_amount(&self, doubt: &Doubt) -> (i64, Currency) {
        (doubt.after.delta(), doubt.purse.unwrap_or(self.tariff))
    }

    /// The accounts that an in-doubt tap moves value (to, from), were it to happen now. Who issued
    /// the card may become known later, so what is held is held whoever did: of a card of another
    /// issuer the hold is never posted, but voided and booked.
    pub(crate) const fn doubt_accounts(&self, doubt: &Doubt) -> (Account, Account) {
        let as_known = KnownRecord {
            record: doubt.after,
            source: Source::Tap,
            operator: doubt.operator,
            mispriced: false,
            counters: None,
        };
        (Account::Card(self.card), self.pooled_account(&as_known))
    }
}

/// The booking of one record of one card: by the counter alone, so that another content under the
/// same counter meets the ledger's alarm.
pub(crate) fn record_event(card: CardId, record: &CardRecord) -> Event {
    Event { cause: record_cause(card, record.ctr), leg: 0, at: record.at() }
}

fn record_cause(card: CardId, ctr: Ctr) -> Cause {
    Cause::new(CauseCode::Record.number(), &[&card.0, &ctr.0.to_be_bytes()])
}

/// What the causes of a record's transfers refer to: card and counter, which it does not tell.
pub fn record_digest(card: CardId, ctr: Ctr) -> [u8; 32] {
    record_cause(card, ctr).reference
}

fn hold_event(doubt: &Doubt) -> Event {
    Event::new(CauseCode::Hold, &[&doubt.tap.to_bytes()], doubt.tapped_at)
}

fn hold_id(doubt: &Doubt) -> TransferId {
    hold_event(doubt).cause.transfer_id(0)
}
