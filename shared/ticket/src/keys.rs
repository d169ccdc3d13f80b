//! Who may issue tickets, and what is believed.

use alloc::vec::Vec;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use model::{Ticket, TicketError, TicketKeyId, TicketToken};
use sha2::{Digest, Sha256};

/// What the signature covers begins so, so that no other signed message passes as a ticket.
const DOMAIN: &[u8; 17] = b"tapline/1/ticket\0";

/// Why a ticket is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Disbelief {
    /// Signed by nobody known here.
    #[error("the ticket is signed with key {0}, which is not known here")]
    UnknownKey(TicketKeyId),
    /// Forged, altered, or read wrongly.
    #[error("the ticket's signature does not hold")]
    NotAuthentic,
    /// Signed by us, and not understood.
    #[error("the ticket cannot be read")]
    Ticket(#[from] TicketError),
}

/// Public keys whose tickets are believed: the one in use and, while tickets of earlier ones are
/// out, those too.
#[derive(Debug, Clone, Default)]
pub struct TicketKeys(Vec<(TicketKeyId, VerifyingKey)>);

impl TicketKeys {
    /// From keys in any order.
    pub fn new(keys: impl IntoIterator<Item = VerifyingKey>) -> Self {
        // A weak key would make one signature hold for several tickets.
        let strong = keys.into_iter().filter(|key| !key.is_weak());
        Self(strong.map(|key| (key_id(&key), key)).collect())
    }

    /// How many.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no ticket is believed at all.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the ticket grants, once its signature holds with the key that it names.
    pub fn believe(&self, token: &TicketToken) -> Result<Ticket, Disbelief> {
        let named = token.id().key;
        let mut error = Disbelief::UnknownKey(named);
        let signature = Signature::from_bytes(token.signature());
        let input = signing_input(token.signed());
        // Two keys may share an id of four bytes.
        for (_, key) in self.0.iter().filter(|(id, _)| *id == named) {
            if key.verify_strict(&input, &signature).is_ok() {
                return Ok(token.ticket()?);
            }
            error = Disbelief::NotAuthentic;
        }
        Err(error)
    }
}

/// What a ticket calls a key.
pub fn key_id(key: &VerifyingKey) -> TicketKeyId {
    let digest: [u8; 32] = Sha256::digest(key.as_bytes()).into();
    TicketKeyId(*digest.first_chunk().expect("32 bytes hold 4"))
}

/// Signs a ticket. Its id must name this key.
///
/// # Panics
/// When it names another: whoever fills in the ticket has the key at hand.
pub fn issue(ticket: &Ticket, key: &SigningKey) -> Result<TicketToken, TicketError> {
    assert_eq!(ticket.id.key, key_id(&key.verifying_key()), "a ticket names its own key");
    let bytes = ticket.to_bytes()?;
    Ok(TicketToken::new(&bytes, &key.sign(&signing_input(&bytes)).to_bytes()))
}

fn signing_input(ticket: &[u8; Ticket::LEN]) -> [u8; DOMAIN.len() + Ticket::LEN] {
    let mut input = [0; DOMAIN.len() + Ticket::LEN];
    input[..DOMAIN.len()].copy_from_slice(DOMAIN);
    input[DOMAIN.len()..].copy_from_slice(ticket);
    input
}
