//! Sealing for one receiver: HPKE (RFC 9180) for the X25519 form of the receiver's signing key.
//!
//! Base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305; one message a context.
//! Who wrote the message is said by the signature inside, not by the sealing (ADR-0029).

use alloc::vec::Vec;
use core::convert::Infallible;

use ed25519_dalek::{SigningKey, VerifyingKey};
use hpke::{
    Deserializable, Kem, OpModeR, OpModeS, Serializable,
    aead::ChaCha20Poly1305,
    kdf::HkdfSha256,
    kem::X25519HkdfSha256,
    rand_core::{TryCryptoRng, TryRng, utils},
    single_shot_open, single_shot_seal_with_rng,
};
use sha2::{Digest, Sha256};
use wire::{KeyId, Message};

type PublicKey = <X25519HkdfSha256 as Kem>::PublicKey;
type PrivateKey = <X25519HkdfSha256 as Kem>::PrivateKey;
type Encapped = <X25519HkdfSha256 as Kem>::EncappedKey;

/// Bytes before what is encrypted: the sender's key for this one message.
const ENCAPPED: usize = 32;

/// The name of a key in messages.
pub fn key_id(key: &VerifyingKey) -> KeyId {
    let hash: [u8; 32] = Sha256::digest(key.as_bytes()).into();
    let mut id = KeyId([0; 8]);
    id.0.copy_from_slice(&hash[..8]);
    id
}

/// What only `to` opens again. `random` is used for this message and never again.
pub(crate) fn seal(
    message: Message,
    inside: &[u8],
    to: &VerifyingKey,
    random: [u8; 32],
) -> Option<Vec<u8>> {
    let to = PublicKey::from_bytes(to.to_montgomery().as_bytes()).ok()?;
    let (encapped, sealed) = single_shot_seal_with_rng::<
        ChaCha20Poly1305,
        HkdfSha256,
        X25519HkdfSha256,
    >(
        &OpModeS::Base, &to, &info(message), inside, &[], &mut Once(random)
    )
    .ok()?;
    Some([&encapped.to_bytes()[..], &sealed].concat())
}

/// What was sealed for `own`; `None` when it was not, or not as this kind of message.
pub(crate) fn open(message: Message, sealed: &[u8], own: &SigningKey) -> Option<Vec<u8>> {
    let (encapped, sealed) = sealed.split_at_checked(ENCAPPED)?;
    let encapped = Encapped::from_bytes(encapped).ok()?;
    let own = PrivateKey::from_bytes(&own.to_scalar_bytes()).ok()?;
    single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &own,
        &encapped,
        &info(message),
        sealed,
        &[],
    )
    .ok()
}

fn info(message: Message) -> Vec<u8> {
    [b"tapline/3/", message.word().as_bytes(), &[0]].concat()
}

/// Randomness that the shell drew: nothing here asks the system for any.
struct Once([u8; 32]);

impl TryRng for Once {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        utils::next_word_via_fill(self)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        utils::next_word_via_fill(self)
    }

    /// HPKE asks once, for the 32 bytes of which it derives this message's key.
    fn try_fill_bytes(&mut self, filled: &mut [u8]) -> Result<(), Infallible> {
        for (to, from) in filled.iter_mut().zip(self.0) {
            *to = from;
        }
        self.0 = Sha256::digest(self.0).into();
        Ok(())
    }
}

impl TryCryptoRng for Once {}
