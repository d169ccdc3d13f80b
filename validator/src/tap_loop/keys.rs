//! The keys of the card under way, and the load order that they open.

use card::{Key, KeyError, KeyRole, KeyVersion, VersionedKey};
use model::CardId;
use validation::OpenedOrder;

use super::TapLoop;

impl TapLoop {
    /// The load order that waits for a card, opened. One that does not open is no order of it.
    pub(super) fn order_of(&self, card: CardId, key: &VersionedKey) -> Option<OpenedOrder> {
        let sealed = self.orders.by_card.get(&card)?;
        let opened = if sealed.opened_by == key.version {
            sealed.open(card, &key.key)
        } else {
            let older = self.keys.card_key(KeyRole::Debit, sealed.opened_by, &card).ok()?;
            sealed.open(card, &older)
        };
        match opened {
            Ok(key) => Some(OpenedOrder { order: sealed.order, key }),
            Err(error) => {
                tracing::warn!(order = %sealed.order.id, %error, "a load order is not carried out");
                None
            }
        }
    }

    pub(super) fn first_key(&self, card: CardId) -> Result<(VersionedKey, [u8; 16]), KeyError> {
        Ok((self.keys.debit_key(&card)?, random()?))
    }

    /// The card holds another version of the debit key than the current one.
    pub(super) fn provide_key(&mut self, card: CardId, version: KeyVersion) {
        match self.older_key(card, version) {
            Ok((key, rnd_a)) => {
                self.metrics.other_key_versions.with_label_values(&["held"]).inc();
                self.machine.handle_key(Some(key), rnd_a);
            }
            Err(e @ KeyError::Module(_)) => {
                self.lose_keys(&e);
                self.machine.handle_keys_lost();
            }
            Err(e @ (KeyError::NotHeld(_) | KeyError::VersionNotHeld { .. })) => {
                self.metrics.other_key_versions.with_label_values(&["not-held"]).inc();
                tracing::warn!(%version, error = %e, "a card of another key version is refused");
                self.machine.handle_key(None, [0; 16]);
            }
        }
    }

    pub(super) fn older_key(
        &self,
        card: CardId,
        version: KeyVersion,
    ) -> Result<(Key, [u8; 16]), KeyError> {
        Ok((self.keys.card_key(KeyRole::Debit, version, &card)?, random()?))
    }
}

fn random() -> Result<[u8; 16], KeyError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|e| KeyError::Module(format!("the operating system gives no random: {e}")))?;
    Ok(bytes)
}
