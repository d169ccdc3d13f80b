//! A DESFire EV3 card in memory.

use alloc::vec::Vec;
use model::CardId;

use crate::{CardFailure, CardKeys, IssueError, Issued, Opening};

/// Why bytes are no card image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are no card image")]
pub struct ImageError;

/// A card.
#[derive(Debug, Clone)]
pub struct VirtualCard {
    uid: CardId,
}

impl VirtualCard {
    /// A blank card from the factory.
    pub fn blank(uid: CardId, _seed: [u8; 16]) -> Self {
        Self { uid }
    }
    /// An issued card.
    pub fn issue(
        uid: CardId,
        seed: [u8; 16],
        _keys: &dyn CardKeys,
        _opening: &Opening,
    ) -> Result<(Self, Issued), IssueError> {
        let _ = Self::blank(uid, seed);
        Err(IssueError::Card(CardFailure::NoRecord))
    }
    /// Its number.
    pub const fn uid(&self) -> CardId {
        self.uid
    }
    /// Its answer to select.
    pub const fn ats(&self) -> [u8; 6] {
        [0x06, 0x75, 0x77, 0x81, 0x02, 0x80]
    }
    /// Answers one command.
    pub fn handle_apdu(&mut self, _apdu: &[u8]) -> Vec<u8> {
        alloc::vec![0x91, 0x1C]
    }
    /// The field is gone.
    pub fn power_off(&mut self) {}
    /// Everything on the card.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.uid.0.to_vec()
    }
    /// Restores a card.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ImageError> {
        Ok(Self { uid: CardId(bytes.try_into().map_err(|_| ImageError)?) })
    }
}
