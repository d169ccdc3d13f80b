//! Issuers at the desk: a card's value goes onto a card of the same issuer only (ADR-0023).

use model::{CardId, IssuerId};

use super::{DeskError, Station};

impl Station {
    /// Who issued a card, by the books.
    pub fn issuer_of(&self, card: CardId) -> Result<Option<IssuerId>, DeskError> {
        Ok(self.store.card_state(card)?.and_then(|(state, _)| state.issuer()))
    }

    /// What stands in place of a card is its issuer's: nobody else owes its holder anything.
    pub(super) fn of_same_issuer(&self, old: CardId) -> Result<(), DeskError> {
        let issuer = self.issuer_of(old)?;
        if issuer == self.issuer_id {
            return Ok(());
        }
        let issuers = self.store.issuers()?;
        let (whose, ours) = (issuers.name(issuer), issuers.name(self.issuer_id));
        Err(DeskError::OtherIssuer { card: old, whose, ours })
    }
}
