//! What a load gives back of fares that were charged too high (ADR-0014).

use card::CardFound;
use clearing::CardState;
use model::CardId;

use super::{DeskError, Station};
use crate::store::OwedDay;

impl Station {
    /// How much of what the card is owed goes onto it now: as much as fits beside the cash. A card
    /// that was copied gets nothing: nobody knows whose rides were charged too much.
    pub(super) fn adjustment(
        &self,
        state: &CardState,
        found: &CardFound,
        cash: u32,
        card: CardId,
    ) -> Result<u32, DeskError> {
        let open: i64 = self.store.owed(card)?.iter().map(OwedDay::open).sum();
        let owed = if state.forks().is_empty() { open } else { 0 };
        let before = &found.record;
        let most = i64::from(before.amount_max().saturating_sub(cash));
        let room = self.balance_max_in(found.purse)?.map_or(most, |max| {
            most.min(max.minor() - i64::from(before.balance) - i64::from(cash))
        });
        let adjusted = u32::try_from(owed.min(room)).unwrap_or(0);
        if cash == 0 && adjusted == 0 {
            return Err(DeskError::NothingOwed { card, owed: self.money_in(found.purse, open) });
        }
        Ok(adjusted)
    }
}
