//! Signed messages: a body never leaves without a signature and is never read before its check.
//!
//! A validator signs batches and states with its own key, the depot signs acks and its presence
//! with the depot's (SEC-10). What is signed names the kind of message, so that none can pass as
//! another.

use alloc::vec::Vec;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use model::{ServiceDate, TariffVersion, ValidatorId};
use sha2::{Digest, Sha256};
use wire::{
    Ack, Batch, Envelope, HostState, Manifest, Message, PublishedTariff, ValidatorState, WireError,
};

/// What is signed of a tariff begins with it, so that no other signature can be shown for one.
const TARIFF_DOMAIN: &[u8] = b"tapline/1/tariff\0";

/// Why a received message is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// It does not read.
    #[error("message cannot be read")]
    Wire(#[from] WireError),
    /// The signature is not by this key over these bytes.
    #[error("signature does not hold")]
    NotAuthentic,
    /// It is signed well, but speaks for another validator than its topic.
    #[error("message is about validator {inside}, its topic about {topic}")]
    OtherValidator {
        /// Who is named inside.
        inside: ValidatorId,
        /// Who is named by the topic.
        topic: ValidatorId,
    },
}

/// The payload of `up/taps`.
pub fn sign_batch(batch: &Batch, key: &SigningKey) -> Vec<u8> {
    seal(Message::Taps, &batch.encode(), key)
}

/// Reads `up/taps` of `validator`, whose key this is.
pub fn verify_batch(
    payload: &[u8],
    validator: ValidatorId,
    key: &VerifyingKey,
) -> Result<Batch, SignatureError> {
    let batch = Batch::decode(open(Message::Taps, payload, key)?)?;
    same(batch.head.validator, validator)?;
    Ok(batch)
}

/// The payload of `up/state`, and of the will.
pub fn sign_state(state: &ValidatorState, key: &SigningKey) -> Result<Vec<u8>, WireError> {
    Ok(seal(Message::State, &state.encode()?, key))
}

/// Reads `up/state` of `validator`, whose key this is.
pub fn verify_state(
    payload: &[u8],
    validator: ValidatorId,
    key: &VerifyingKey,
) -> Result<ValidatorState, SignatureError> {
    let state = ValidatorState::decode(open(Message::State, payload, key)?)?;
    same(state.validator, validator)?;
    Ok(state)
}

/// The payload of `down/ack`.
pub fn sign_ack(ack: &Ack, key: &SigningKey) -> Vec<u8> {
    seal(Message::Ack, &ack.encode(), key)
}

/// Reads `down/ack` to `validator`, from the depot whose key this is.
pub fn verify_ack(
    payload: &[u8],
    validator: ValidatorId,
    key: &VerifyingKey,
) -> Result<Ack, SignatureError> {
    let ack = Ack::decode(open(Message::Ack, payload, key)?)?;
    same(ack.validator, validator)?;
    Ok(ack)
}

/// The payload of `all/host`, and of the depot's will.
pub fn sign_host(state: &HostState, key: &SigningKey) -> Vec<u8> {
    seal(Message::Host, &state.encode(), key)
}

/// Reads `all/host` from the depot whose key this is.
pub fn verify_host(payload: &[u8], key: &VerifyingKey) -> Result<HostState, SignatureError> {
    Ok(HostState::decode(open(Message::Host, payload, key)?)?)
}

/// The payload of `all/manifest`.
pub fn sign_manifest(manifest: &Manifest, key: &SigningKey) -> Result<Vec<u8>, WireError> {
    Ok(seal(Message::Manifest, &manifest.encode()?, key))
}

/// Reads `all/manifest` from the depot whose key this is.
pub fn verify_manifest(payload: &[u8], key: &VerifyingKey) -> Result<Manifest, SignatureError> {
    Ok(Manifest::decode(open(Message::Manifest, payload, key)?)?)
}

/// The depot's signature of a tariff: version, service date and text (`docs/fares.md`).
pub fn sign_tariff(
    version: TariffVersion,
    valid_from: ServiceDate,
    text: &str,
    key: &SigningKey,
) -> [u8; 64] {
    key.sign(&tariff_input(version, valid_from, text)).to_bytes()
}

/// Reads the content of a tariff list, and checks that the depot signed this very text for this
/// day: a list that went around the manifest is no tariff.
pub fn open_tariff(content: &[u8], key: &VerifyingKey) -> Result<PublishedTariff, SignatureError> {
    let tariff = PublishedTariff::decode(content)?;
    let PublishedTariff { version, valid_from, signature, text, .. } = &tariff;
    let input = tariff_input(*version, *valid_from, text);
    key.verify_strict(&input, &Signature::from_bytes(signature))
        .map_err(|_| SignatureError::NotAuthentic)?;
    Ok(tariff)
}

fn tariff_input(version: TariffVersion, valid_from: ServiceDate, text: &str) -> Vec<u8> {
    let (version, days) = (version.0.to_le_bytes(), valid_from.0.to_le_bytes());
    let hash: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    [TARIFF_DOMAIN, &version, &days, &hash].concat()
}

fn seal(message: Message, body: &[u8], key: &SigningKey) -> Vec<u8> {
    let signature = key.sign(&message.signing_input(body)).to_bytes();
    Envelope { body, signature }.encode()
}

fn open<'a>(
    message: Message,
    payload: &'a [u8],
    key: &VerifyingKey,
) -> Result<&'a [u8], SignatureError> {
    let Envelope { body, signature } = Envelope::decode(message, payload)?;
    key.verify_strict(&message.signing_input(body), &Signature::from_bytes(&signature))
        .map_err(|_| SignatureError::NotAuthentic)?;
    Ok(body)
}

fn same(inside: ValidatorId, topic: ValidatorId) -> Result<(), SignatureError> {
    if inside == topic { Ok(()) } else { Err(SignatureError::OtherValidator { inside, topic }) }
}
