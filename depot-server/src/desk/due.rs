//! What a card's holder gets for a card that is retired or lost (REC-9).

use clearing::Account;
use model::{CardId, Currency, Money, RecordKind, Timestamp};

use super::{
    DeskError, Station,
    gate::{may_pay, owes},
};

impl Station {
    /// Reports a card as lost; answers from when on its value may be given out.
    fn report_lost(&self, card: CardId) -> Result<Timestamp, DeskError> {
        if self.store.card_state(card)?.is_none() {
            return Err(DeskError::Unknown(card));
        }
        let since = self.store.report_lost(card, self.clock.now())?;
        let hold_ms = u64::try_from(self.hold.as_millis()).unwrap_or(u64::MAX);
        Ok(Timestamp(since.0.saturating_add(hold_ms)))
    }

    /// Checks that what is due for a card may be given out now, before another one is issued.
    pub fn check_due(&self, old: CardId, lost: bool) -> Result<Money, DeskError> {
        let (state, _) = self.store.card_state(old)?.ok_or(DeskError::Unknown(old))?;
        let retired = state.newest().is_some_and(|n| n.record.kind == RecordKind::Retire);
        if !retired {
            if !lost {
                return Err(DeskError::InUse(old));
            }
            let until = self.report_lost(old)?;
            if self.clock.now() < until {
                return Err(DeskError::OnHold { card: old, until });
            }
        }
        may_pay(&self.store, self.rules.currency(), old, &state)?;
        let due = self.due_in_place_of(old, state.purse())?;
        Ok(self.money_in(state.purse(), due.into()))
    }

    /// The currency of a card's purse by the books; `None` when it is the tariff's.
    pub fn purse_of(&self, card: CardId) -> Result<Option<Currency>, DeskError> {
        Ok(self.store.card_state(card)?.and_then(|(state, _)| state.purse()))
    }

    /// What the books owe the holder of a card, on the card and beside it, and what a card in this
    /// purse's currency can therefore be given.
    pub(super) fn due_in_place_of(
        &self,
        old: CardId,
        purse: Option<Currency>,
    ) -> Result<u32, DeskError> {
        let (said, known) = (self.currency(purse), self.currency(self.purse_of(old)?));
        if said != known {
            return Err(DeskError::OtherCurrency { card: old, purse: known, wanted: said });
        }
        let currency = known;
        let on = |account: Account| -> Result<i64, DeskError> {
            Ok(self.store.account(&account.id(currency))?.posted())
        };
        let owes = owes(&self.store, currency, old)?;
        let due = on(Account::Card(old))? + on(Account::Replaced(old))? - owes;
        u32::try_from(due).ok().filter(|due| *due > 0).ok_or(DeskError::NothingDue(old))
    }
}
