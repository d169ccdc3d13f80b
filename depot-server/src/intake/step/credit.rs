//! Credit accounts in a booking: what was done with them, and what desks do to their cards
//! (ADR-0022).

use clearing::{
    CreditAccount, CreditId, CreditKind, DeskDeed, DeskEntry, Dunning, MovedCredit, Taken,
    met_load, returned_to_account, unmet_load, worth,
};
use model::{CardId, CardRecord, ChannelId, Currency, ServiceDate, Timestamp};

use super::{Desk, StepError};
use crate::intake::{
    credit_event::CreditEvent,
    stored::{OrderEvent, Stored},
};

/// What of the value of an account's cards is spent and not debt yet.
pub fn uncharged<S: Stored>(
    stored: &S,
    tariffs: Currency,
    account: &CreditAccount,
) -> Result<i64, S::Error> {
    let currency = account.currency(tariffs);
    let stands = |of: clearing::Account| Ok(stored.balance(&of.id(currency))?.posted());
    let mut cards = 0;
    for card in stored.credit_cards(account.id)? {
        let state = stored.card(card)?.unwrap_or_default();
        cards += worth(card, &state, stands)?;
    }
    let under_way = stored.credit_under_way(account.id)?;
    let line = stands(clearing::Account::CreditLine(account.id))?;
    Ok(CreditAccount::uncharged(line, cards, under_way))
}

impl<S: Stored> Desk<'_, S> {
    /// What was done with an account. What does not fit is passed over: whoever does it looks
    /// first.
    pub(super) fn credit_event(
        &mut self,
        event: &OrderEvent,
        did: &CreditEvent,
    ) -> Result<(), StepError<S::Error>> {
        let id = CreditId(did.account());
        let before = self.credit(id)?;
        let Some(moved) = self.credit_moved(did, id, before.as_ref())? else {
            tracing::warn!(?event, "an account stays as it is");
            return Ok(());
        };
        self.post(None, None, &moved.transfers)?;
        if let Some(before) = &before {
            let (currency, now) = (self.rules.currency(), self.booking.at);
            if before.dunning != moved.account.dunning {
                let items = moved.account.items_since(before, currency, now);
                self.booking.exceptions.extend(items);
            }
        }
        self.booking.credits.insert(id, moved.account);
        self.booking.order_events.push(event.clone());
        Ok(())
    }

    fn credit_moved(
        &mut self,
        did: &CreditEvent,
        id: CreditId,
        before: Option<&CreditAccount>,
    ) -> Result<Option<MovedCredit>, StepError<S::Error>> {
        let (now, tariffs) = (self.booking.at, self.rules.currency());
        let still = |account| Some(MovedCredit { account, transfers: Vec::new() });
        if let CreditEvent::Opened { .. } = did {
            return Ok(opened(did).filter(|_| before.is_none()).and_then(still));
        }
        let Some(account) = before else { return Ok(None) };
        Ok(match did {
            CreditEvent::Opened { .. } => None,
            CreditEvent::Agreed { terms, .. } => {
                still(CreditAccount { terms: (*terms).into(), ..account.clone() })
            }
            CreditEvent::Linked { card, .. } => {
                let card = CardId(*card);
                let fits =
                    self.credit_of(card)?.is_none() && self.card(card)?.purse() == account.purse;
                if fits {
                    self.booking.members.insert(card, Some(id));
                }
                still(account.clone()).filter(|_| fits)
            }
            CreditEvent::Unlinked { card, .. } => {
                let card = CardId(*card);
                let fits = self.credit_of(card)? == Some(id);
                if fits {
                    self.booking.members.insert(card, None);
                }
                still(account.clone()).filter(|_| fits)
            }
            CreditEvent::Charged { amount, on, .. } => {
                let spent = uncharged(self.stored, tariffs, account).map_err(StepError::Stored)?;
                let fits = spent == *amount && spent != 0;
                fits.then(|| account.charged(spent, ServiceDate(*on), now, tariffs))
            }
            CreditEvent::Billed { on, .. } => {
                let on = ServiceDate(*on);
                still(account.billed(account.next_bill(on), on))
            }
            CreditEvent::Paid { channel, reference, amount, paid_at, .. } => {
                let channel = ChannelId(*channel);
                let known = self.stored.credit_payment(channel, reference);
                let known = known.map_err(StepError::Stored)?;
                let times = (Timestamp(*paid_at), now);
                known.is_none().then(|| account.paid(*amount, (channel, reference), times, tariffs))
            }
            CreditEvent::Failed { bill, on, .. } => {
                account.failed(*bill, ServiceDate(*on)).and_then(still)
            }
            CreditEvent::Dunned { level, on, .. } => {
                let level = Dunning::from_word(level);
                level.and_then(|level| still(account.dunned(level, ServiceDate(*on))))
            }
        })
    }

    /// What a desk did to a card of an account: nothing that is left is paid out, and a card in
    /// place of it is the account's.
    pub(super) fn credit_desk(&mut self, entry: &DeskEntry) -> Result<(), StepError<S::Error>> {
        match entry.deed {
            DeskDeed::Issued { in_place_of: Some(old), .. } => {
                if let Some(account) = self.credit_of(old)?
                    && self.credit_of(entry.card)?.is_none()
                {
                    self.booking.members.insert(entry.card, Some(account));
                }
            }
            DeskDeed::Retired { after, value: Taken::Held, .. } => {
                if let Some(account) = self.credit_of(entry.card)? {
                    let state = self.card(entry.card)?;
                    let books = (state.currency(self.rules.currency()), state.issuer());
                    let (of, times) = ((entry.card, after.amount), (after.at(), self.booking.at));
                    let transfers = returned_to_account(account, entry.op, of, books, times);
                    self.post(Some(entry.card), None, &transfers)?;
                }
            }
            DeskDeed::Issued { .. } | DeskDeed::Loaded { .. } | DeskDeed::Retired { .. } => {}
        }
        Ok(())
    }

    /// A load of this card that is nobody's.
    pub(super) fn credit_unmet(
        &mut self,
        card: CardId,
        record: &CardRecord,
    ) -> Result<(), StepError<S::Error>> {
        if self.credit_of(card)?.is_some() {
            let currency = self.card(card)?.currency(self.rules.currency());
            let transfers = unmet_load(card, record, currency, self.booking.at);
            self.post(Some(card), None, &transfers)?;
        }
        Ok(())
    }

    /// A load that was nobody's is a desk's, or another record stands in its place: its holder owes
    /// nothing for it, as far as anything is owed.
    pub(super) fn credit_met(
        &mut self,
        card: CardId,
        record: &CardRecord,
    ) -> Result<(), StepError<S::Error>> {
        if self.credit_of(card)?.is_none() {
            return Ok(());
        }
        let currency = self.card(card)?.currency(self.rules.currency());
        let account = clearing::Account::OrderOwed(card).id(currency);
        let owed = if self.touched.has_balance(&account) {
            ledger::Books::balance(&self.touched, &account)
        } else {
            self.stored.balance(&account).map_err(StepError::Stored)?
        };
        if -owed.posted() >= i64::from(record.amount) {
            let transfers = met_load(card, record, currency, self.booking.at);
            self.post(Some(card), None, &transfers)?;
        }
        Ok(())
    }

    fn credit(&self, id: CreditId) -> Result<Option<CreditAccount>, StepError<S::Error>> {
        if let Some(account) = self.booking.credits.get(&id) {
            return Ok(Some(account.clone()));
        }
        self.stored.credit(id).map_err(StepError::Stored)
    }

    fn credit_of(&self, card: CardId) -> Result<Option<CreditId>, StepError<S::Error>> {
        if let Some(account) = self.booking.members.get(&card) {
            return Ok(*account);
        }
        self.stored.credit_of(card).map_err(StepError::Stored)
    }
}

fn opened(did: &CreditEvent) -> Option<CreditAccount> {
    let CreditEvent::Opened { account, kind, channel, purse, on, terms, .. } = did else {
        return None;
    };
    let purse = purse.map(Currency::from_numeric).transpose().ok()?;
    let kind = CreditKind::from_word(kind)?;
    let (id, channel) = (CreditId(*account), ChannelId(*channel));
    let on = ServiceDate(*on);
    Some(CreditAccount::opened((id, kind), (channel, purse), (*terms).into(), on))
}
