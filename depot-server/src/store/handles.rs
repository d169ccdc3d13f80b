//! Card handles: what stands for a card in URLs.
//!
//! A handle is the card's number under a secret permutation (four Feistel rounds with SHA-256), so
//! it needs no table, is stable, and says nothing outside this depot (PRV-6).

use model::CardId;
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

use super::{
    StoreError,
    codes::{card_of, sql_card},
};
use crate::http::views::{CardHandle, CardRef};

/// The secret permutation of one depot's books.
#[derive(Debug, Clone)]
pub(super) struct Handles([u8; 32]);

impl Handles {
    /// Reads the secret of these books, or makes it.
    pub(super) fn open(connection: &Connection) -> Result<Self, StoreError> {
        let mut fresh = [0_u8; 32];
        getrandom::fill(&mut fresh).map_err(|error| StoreError::Write {
            what: "the key of card handles",
            source: error.to_string().into(),
        })?;
        connection
            .execute(
                "INSERT INTO singles (name, value) VALUES ('card-handle-key', ?1)
                 ON CONFLICT (name) DO NOTHING",
                params![fresh],
            )
            .map_err(StoreError::write("the key of card handles"))?;
        let sql = "SELECT value FROM singles WHERE name = 'card-handle-key'";
        let key: Option<[u8; 32]> = connection
            .query_row(sql, [], |row| row.get(0))
            .optional()
            .map_err(StoreError::read("the key of card handles"))?;
        key.map(Self).ok_or_else(|| StoreError::damaged("the key of card handles is gone"))
    }

    pub(super) fn handle(&self, card: CardId) -> CardHandle {
        let number = u64::try_from(sql_card(card)).expect("56 bits");
        let [mut left, mut right] = halves(number);
        for round in 0..4 {
            (left, right) = (right, left ^ self.round(round, right));
        }
        CardHandle(u64::from(left) << 32 | u64::from(right))
    }

    /// The card behind a handle; `None` when it is none of ours.
    pub(super) fn card(&self, handle: CardHandle) -> Option<CardId> {
        let [mut left, mut right] = halves(handle.0);
        for round in (0..4).rev() {
            (left, right) = (right ^ self.round(round, left), left);
        }
        let number = i64::try_from(u64::from(left) << 32 | u64::from(right)).ok()?;
        let card = card_of(number);
        (sql_card(card) == number).then_some(card)
    }

    pub(super) fn card_ref(&self, card: CardId) -> CardRef {
        CardRef { handle: self.handle(card), masked: card.to_string() }
    }

    /// A name for what may hold a card number: the same in these books, and meaningless elsewhere.
    pub(super) fn name(&self, bytes: &[u8]) -> String {
        let digest: [u8; 32] = Sha256::new()
            .chain_update(b"tapline-account-name")
            .chain_update(self.0)
            .chain_update(bytes)
            .finalize()
            .into();
        let first = digest.first_chunk().expect("32 bytes hold 8");
        format!("{:016X}", u64::from_be_bytes(*first))
    }

    fn round(&self, round: u8, half: u32) -> u32 {
        let digest = Sha256::new()
            .chain_update(self.0)
            .chain_update([round])
            .chain_update(half.to_be_bytes());
        let digest: [u8; 32] = digest.finalize().into();
        u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
    }
}

fn halves(number: u64) -> [u32; 2] {
    let b = number.to_be_bytes();
    [u32::from_be_bytes([b[0], b[1], b[2], b[3]]), u32::from_be_bytes([b[4], b[5], b[6], b[7]])]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_lead_back_to_their_card_and_only_with_the_key() {
        let (ours, theirs) = (Handles([1; 32]), Handles([2; 32]));
        for card in [CardId([0; 7]), CardId([4, 0xa1, 2, 3, 4, 5, 6]), CardId([0xff; 7])] {
            let handle = ours.handle(card);
            assert_eq!(ours.card(handle), Some(card));
            assert_ne!(theirs.card(handle), Some(card));
            assert!(!handle.to_string().contains(&card.to_hex()[2..]));
        }
        assert_ne!(ours.handle(CardId([4; 7])), theirs.handle(CardId([4; 7])));
    }
}
