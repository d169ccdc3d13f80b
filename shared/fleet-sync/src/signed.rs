//! Signed messages: a body never leaves without a signature and is never read before its check.
//!
//! A validator signs batches and states with its own key, the depot signs acks and its presence
//! with the depot's (SEC-10). What is signed names the kind of message, so that none can pass as
//! another.

use alloc::vec::Vec;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use model::ValidatorId;
use wire::{Ack, Batch, Envelope, HostState, Message, ValidatorState, WireError};

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
