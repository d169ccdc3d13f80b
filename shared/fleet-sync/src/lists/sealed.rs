//! Sealing a list for the fleet: whoever listens at the broker reads no card in it (ADR-0032).
//!
//! One content has exactly one sealed form under one key: the nonce is a MAC of what is sealed. So
//! blocks, roots and deltas stay what they are, over sealed bytes; a validator that has a content
//! can say what its sealed form is, and takes up a new key without fetching anything again. Nothing
//! of a list that could be tried out, such as a hash of its plain bytes, leaves this file.

use alloc::vec::Vec;

use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce, Tag, aead::AeadInOut};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use wire::{HeldList, ListKey};

const DOMAIN: &[u8; 15] = b"tapline/list/1\0";
const NONCE: usize = 12;
const TAG: usize = 16;
/// By which a sealed content is longer.
const LONGER: usize = NONCE + TAG;
/// Domain, kind, version, and the version that a delta changes.
const ABOUT: usize = DOMAIN.len() + 1 + 8 + 8;

/// Seals a list, or the delta that leads to it from version `from`.
pub fn seal_list(key: &ListKey, list: HeldList, from: Option<u64>, plain: &[u8]) -> Vec<u8> {
    let about = about(list, from);
    let nonce = nonce(key, &about, plain);
    let mut sealed = Vec::with_capacity(plain.len() + LONGER);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(plain);
    let (_, body) = sealed.split_at_mut(NONCE);
    let tag = cipher(key)
        .encrypt_inout_detached(&Nonce::from(nonce), &about, body.into())
        .expect("a list is shorter than the cipher's 256 GiB");
    sealed.extend_from_slice(&tag);
    sealed
}

/// What [`seal_list`] sealed, as that; `None` for anything else.
pub fn open_list(
    key: &ListKey,
    list: HeldList,
    from: Option<u64>,
    mut sealed: Vec<u8>,
) -> Option<Vec<u8>> {
    let about = about(list, from);
    let end = sealed.len().checked_sub(TAG).filter(|end| *end >= NONCE)?;
    let tag = <[u8; TAG]>::try_from(&sealed[end..]).ok()?;
    sealed.truncate(end);
    let (head, body) = sealed.split_at_mut(NONCE);
    let found = <[u8; NONCE]>::try_from(&*head).ok()?;
    cipher(key)
        .decrypt_inout_detached(&Nonce::from(found), &about, body.into(), &Tag::from(tag))
        .ok()?;
    sealed.drain(..NONCE);
    // Another nonce would be another sealed form of the same content.
    (nonce(key, &about, &sealed) == found).then_some(sealed)
}

fn about(list: HeldList, from: Option<u64>) -> [u8; ABOUT] {
    let mut about = [0; ABOUT];
    let (domain, rest) = about.split_at_mut(DOMAIN.len());
    domain.copy_from_slice(DOMAIN);
    rest[0] = list.kind.0;
    rest[1..9].copy_from_slice(&list.version.to_be_bytes());
    rest[9..].copy_from_slice(&from.unwrap_or(0).to_be_bytes());
    about
}

fn nonce(key: &ListKey, about: &[u8], plain: &[u8]) -> [u8; NONCE] {
    let mac = mac(&mac(&key.secret, &[DOMAIN, b"nonce"]), &[about, plain]);
    core::array::from_fn(|i| mac[i])
}

fn cipher(key: &ListKey) -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new(&mac(&key.secret, &[DOMAIN, b"seal"]).into())
}

fn mac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("any key will do");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}
