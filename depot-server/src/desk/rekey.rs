//! Giving the card at the desk the current versions of its keys (ADR-0007).
//!
//! Unlike all else at a desk this keeps no intent: it moves no value, and each key tells its own
//! version, so that whoever sees the card next knows what is left to be done and does it. What is
//! open on the card is settled before, as everywhere.

use card::{CardFailure, KeyRole, KeyVersion, RekeyOutput, RekeyTransaction};
use model::CardId;

use super::{
    DeskError, Hand, Station,
    hand::random,
    station::{AGAIN, HOLD},
};

/// A key that was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyChange {
    /// Which.
    pub role: KeyRole,
    /// Its version before.
    pub from: KeyVersion,
    /// Its version now.
    pub to: KeyVersion,
}

/// A card none of whose keys is older than the current versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rekeyed {
    /// Which.
    pub card: CardId,
    /// What this command changed, in this order; nothing when the card was current.
    pub changed: Vec<KeyChange>,
    /// The current versions of the keys that a card's readers use.
    pub current: [(KeyRole, KeyVersion); 3],
}

impl Station {
    /// Gives the card on the reader the current versions of its keys.
    pub async fn rekey(&self, hand: &mut Hand) -> Result<Rekeyed, DeskError> {
        let card = hand.card(HOLD, None).await?;
        self.settle_first(hand, card, |_| false).await?;
        let mut sent = Vec::new();
        if let Some(failure) = self.rekey_once(hand, card, &mut sent).await? {
            let torn = matches!(failure, CardFailure::Link { .. }) && !sent.is_empty();
            let there = torn && hand.card(AGAIN, Some(card)).await.is_ok();
            let left =
                if there { self.rekey_once(hand, card, &mut sent).await? } else { Some(failure) };
            match left {
                None => {}
                Some(failure) if sent.is_empty() => return Err(DeskError::Card(failure)),
                Some(failure) => return Err(DeskError::HalfRekeyed { card, failure }),
            }
        }
        let versions = |role| self.keys.current(role).map(|version| (role, version));
        let current =
            [versions(KeyRole::Issuer)?, versions(KeyRole::Debit)?, versions(KeyRole::Load)?];
        let to = |role| current.iter().find(|(other, _)| *other == role).map(|(_, to)| *to);
        let change = |(role, from)| to(role).map(|to| KeyChange { role, from, to });
        Ok(Rekeyed { card, changed: sent.into_iter().filter_map(change).collect(), current })
    }

    /// Once through; answers why it stopped. `sent` gains the keys whose change was sent, which are
    /// those that have changed once it did not stop.
    async fn rekey_once(
        &self,
        hand: &mut Hand,
        card: CardId,
        sent: &mut Vec<(KeyRole, KeyVersion)>,
    ) -> Result<Option<CardFailure>, DeskError> {
        let mut machine = RekeyTransaction::new(card, &*self.keys, [random()?, random()?])?;
        let output = hand.rekey(&mut machine, &*self.keys).await?;
        for change in machine.sent() {
            if sent.iter().all(|(role, _)| *role != change.0) {
                sent.push(*change);
            }
        }
        match output {
            RekeyOutput::Done(_) => Ok(None),
            RekeyOutput::Stopped(failure) => Ok(Some(failure)),
            RekeyOutput::Transmit(_) | RekeyOutput::NeedKey { .. } => {
                Ok(Some(CardFailure::Malformed(card::CardStep::Personalise)))
            }
        }
    }
}
