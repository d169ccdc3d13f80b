//! Signed messages: a body never leaves without a signature and is never read before its check.
//!
//! A validator signs batches and states with its own key, the depot signs acks and its presence
//! with the depot's (SEC-10). What is signed names the kind of message, so that none can pass as
//! another. Messages to one receiver are written in any of three versions ([`Codec`]); messages to
//! all stay in the first, which everybody reads (ADR-0029).

use alloc::vec::Vec;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use model::{ServiceDate, TariffVersion, ValidatorId};
use sha2::{Digest, Sha256};
use wire::{
    Ack, Address, Batch, Envelope, HostState, KeyId, ListKeys, Manifest, Message, MessageVersion,
    PublishedTariff, Sealed, ValidatorState, WireError,
};

use crate::sealing::{self, key_id};

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
    /// It names a key of its signer that is not known here.
    #[error("message is signed with key {0}, which is not known here")]
    UnknownKey(KeyId),
    /// It is for another receiver, or for a key that was given up.
    #[error("message is for key {0}, which is none of ours")]
    NotForUs(KeyId),
    /// It is sealed for our key and does not open: damaged, or sealed as another kind of message.
    #[error("message does not open")]
    NotOpened,
    /// It is readable, and its kind has to be sealed.
    #[error("message is not sealed, as its kind has to be")]
    NotSealed,
    /// It is signed well, but speaks for another validator than its topic.
    #[error("message is about validator {inside}, its topic about {topic}")]
    OtherValidator {
        /// Who is named inside.
        inside: ValidatorId,
        /// Who is named by the topic.
        topic: ValidatorId,
    },
}

/// How a message to one receiver is written.
#[derive(Clone, Copy)]
pub enum Codec<'a> {
    /// Version 1.
    V1,
    /// Version 2, for this receiver.
    V2(&'a VerifyingKey),
    /// Version 3, for this receiver; the bytes are random and used for this message only.
    V3(&'a VerifyingKey, [u8; 32]),
}

/// For whom messages are read.
#[derive(Clone, Copy)]
pub enum Receiver<'a> {
    /// For whoever has these keys.
    Keys(&'a [SigningKey]),
    /// For somebody who was the receiver once: a journal is read again. Nothing opens.
    Anyone,
}

/// A believed message to one receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter<T> {
    /// What it says.
    pub says: T,
    /// The version that it came in.
    pub version: MessageVersion,
    /// The key that signed it.
    pub from: VerifyingKey,
    /// What to keep in place of a message that was sealed: the message of version 2 in it,
    /// whose signature anybody can check without the key that opened it. `None`: as received.
    pub opened: Option<Vec<u8>>,
}

/// The payload of `up/taps`.
pub fn sign_batch(batch: &Batch, key: &SigningKey) -> Vec<u8> {
    sign(Message::Taps, &batch.encode(), key)
}

/// The payload of `up/taps` in any version; `None` when the receiver's key is none to seal for.
pub fn write_batch(batch: &Batch, key: &SigningKey, codec: Codec<'_>) -> Option<Vec<u8>> {
    write(Message::Taps, &batch.encode(), key, codec)
}

/// Reads `up/taps` of `validator`, whose key this is, in version 1 or 2.
pub fn verify_batch(
    payload: &[u8],
    validator: ValidatorId,
    key: &VerifyingKey,
) -> Result<Batch, SignatureError> {
    read_batch(payload, validator, &[*key], Receiver::Anyone).map(|letter| letter.says)
}

/// Reads `up/taps` of `validator`, who has these keys.
pub fn read_batch(
    payload: &[u8],
    validator: ValidatorId,
    keys: &[VerifyingKey],
    receiver: Receiver<'_>,
) -> Result<Letter<Batch>, SignatureError> {
    let letter = read(Message::Taps, payload, keys, receiver, Batch::decode)?;
    same(letter.says.head.validator, validator)?;
    Ok(letter)
}

/// The payload of `up/state`, and of the will.
pub fn sign_state(state: &ValidatorState, key: &SigningKey) -> Result<Vec<u8>, WireError> {
    Ok(sign(Message::State, &state.encode()?, key))
}

/// The payload of `up/state` in any version.
pub fn write_state(
    state: &ValidatorState,
    key: &SigningKey,
    codec: Codec<'_>,
) -> Result<Option<Vec<u8>>, WireError> {
    Ok(write(Message::State, &state.encode()?, key, codec))
}

/// Reads `up/state` of `validator`, whose key this is.
pub fn verify_state(
    payload: &[u8],
    validator: ValidatorId,
    key: &VerifyingKey,
) -> Result<ValidatorState, SignatureError> {
    read_state(payload, validator, &[*key], Receiver::Anyone).map(|letter| letter.says)
}

/// Reads `up/state` of `validator`, who has these keys.
pub fn read_state(
    payload: &[u8],
    validator: ValidatorId,
    keys: &[VerifyingKey],
    receiver: Receiver<'_>,
) -> Result<Letter<ValidatorState>, SignatureError> {
    let letter = read(Message::State, payload, keys, receiver, ValidatorState::decode)?;
    same(letter.says.validator, validator)?;
    Ok(letter)
}

/// The payload of `down/ack`.
pub fn sign_ack(ack: &Ack, key: &SigningKey) -> Vec<u8> {
    sign(Message::Ack, &ack.encode(), key)
}

/// The payload of `down/ack` in any version; `None` when the receiver's key is none to seal for.
pub fn write_ack(ack: &Ack, key: &SigningKey, codec: Codec<'_>) -> Option<Vec<u8>> {
    write(Message::Ack, &ack.encode(), key, codec)
}

/// Reads `down/ack` to `validator`, from the depot whose key this is.
pub fn verify_ack(
    payload: &[u8],
    validator: ValidatorId,
    key: &VerifyingKey,
) -> Result<Ack, SignatureError> {
    read_ack(payload, validator, &[*key], Receiver::Anyone).map(|letter| letter.says)
}

/// Reads `down/ack` to `validator`, from the depot that has these keys.
pub fn read_ack(
    payload: &[u8],
    validator: ValidatorId,
    keys: &[VerifyingKey],
    receiver: Receiver<'_>,
) -> Result<Letter<Ack>, SignatureError> {
    let letter = read(Message::Ack, payload, keys, receiver, Ack::decode)?;
    same(letter.says.validator, validator)?;
    Ok(letter)
}

/// The payload of `down/keys`, sealed for `to`: there is no other way to write it. `None` when that
/// is no key to seal for, or these are no keys.
pub fn write_keys(
    keys: &ListKeys,
    key: &SigningKey,
    to: &VerifyingKey,
    random: [u8; 32],
) -> Option<Vec<u8>> {
    write(Message::Keys, &keys.encode().ok()?, key, Codec::V3(to, random))
}

/// Reads `down/keys` to `validator`, who has the key `own`, from the depot that has these `keys`.
pub fn read_keys(
    payload: &[u8],
    validator: ValidatorId,
    keys: &[VerifyingKey],
    own: &SigningKey,
) -> Result<ListKeys, SignatureError> {
    let receiver = Receiver::Keys(core::slice::from_ref(own));
    let letter = read(Message::Keys, payload, keys, receiver, ListKeys::decode)?;
    same(letter.says.validator, validator)?;
    if letter.version == MessageVersion::V3 {
        Ok(letter.says)
    } else {
        Err(SignatureError::NotSealed)
    }
}

/// The payload of `all/host`, and of the depot's will.
pub fn sign_host(state: &HostState, key: &SigningKey) -> Vec<u8> {
    sign(Message::Host, &state.encode(), key)
}

/// Reads `all/host` from the depot whose key this is.
pub fn verify_host(payload: &[u8], key: &VerifyingKey) -> Result<HostState, SignatureError> {
    Ok(HostState::decode(open(Message::Host, payload, key)?)?)
}

/// The payload of `all/manifest`.
pub fn sign_manifest(manifest: &Manifest, key: &SigningKey) -> Result<Vec<u8>, WireError> {
    Ok(sign(Message::Manifest, &manifest.encode()?, key))
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

fn sign(message: Message, body: &[u8], key: &SigningKey) -> Vec<u8> {
    signed(message, None, body, key).encode()
}

fn signed<'a>(
    message: Message,
    address: Option<Address>,
    body: &'a [u8],
    key: &SigningKey,
) -> Envelope<'a> {
    let signature = key.sign(&Envelope::signing_input(message, address, body)).to_bytes();
    Envelope { address, body, signature }
}

fn write(message: Message, body: &[u8], key: &SigningKey, codec: Codec<'_>) -> Option<Vec<u8>> {
    let from = key_id(&key.verifying_key());
    let addressed = |to: &VerifyingKey| Address { to: key_id(to), from };
    match codec {
        Codec::V1 => Some(sign(message, body, key)),
        Codec::V2(to) => Some(signed(message, Some(addressed(to)), body, key).encode()),
        Codec::V3(to, random) => {
            // Signed first: what is kept of it is then a message that anybody can check.
            let inside = signed(message, Some(addressed(to)), body, key).inside();
            let sealed = sealing::seal(message, &inside, to, random)?;
            Some(Sealed { to: key_id(to), sealed: &sealed }.encode())
        }
    }
}

fn read<T>(
    message: Message,
    payload: &[u8],
    keys: &[VerifyingKey],
    receiver: Receiver<'_>,
    decode: impl Fn(&[u8]) -> Result<T, WireError>,
) -> Result<Letter<T>, SignatureError> {
    let version = MessageVersion::of(message, payload)?;
    let opened = match version {
        MessageVersion::V1 | MessageVersion::V2 => None,
        MessageVersion::V3 => Some(unsealed(message, payload, receiver)?),
    };
    let envelope = Envelope::decode(message, opened.as_deref().unwrap_or(payload))?;
    if let (Some(Address { to, .. }), Receiver::Keys(own)) = (envelope.address, receiver)
        && key_of(to, own).is_none()
    {
        return Err(SignatureError::NotForUs(to));
    }
    let from = believe(message, &envelope, keys)?;
    let says = decode(envelope.body)?;
    Ok(Letter { says, version, from, opened })
}

/// The message of version 2 in a sealed one, for somebody who looks: nothing of it is believed.
pub fn open_message(
    message: Message,
    payload: &[u8],
    own: &[SigningKey],
) -> Result<Vec<u8>, SignatureError> {
    unsealed(message, payload, Receiver::Keys(own))
}

fn unsealed(
    message: Message,
    payload: &[u8],
    receiver: Receiver<'_>,
) -> Result<Vec<u8>, SignatureError> {
    let sealed = Sealed::decode(message, payload)?;
    let Receiver::Keys(own) = receiver else { return Err(WireError::Sealed.into()) };
    let key = key_of(sealed.to, own).ok_or(SignatureError::NotForUs(sealed.to))?;
    let inside = sealing::open(message, sealed.sealed, key).ok_or(SignatureError::NotOpened)?;
    Ok(sealed.opened(&inside))
}

fn key_of(id: KeyId, own: &[SigningKey]) -> Option<&SigningKey> {
    own.iter().find(|key| key_id(&key.verifying_key()) == id)
}

/// The key, of those known, with which the message is signed: the one that it names, or in version
/// 1 any.
fn believe(
    message: Message,
    envelope: &Envelope<'_>,
    keys: &[VerifyingKey],
) -> Result<VerifyingKey, SignatureError> {
    let Envelope { address, body, signature } = envelope;
    let named = |key: &&VerifyingKey| address.is_none_or(|address| key_id(key) == address.from);
    if let Some(Address { from, .. }) = address
        && !keys.iter().any(|key| named(&key))
    {
        return Err(SignatureError::UnknownKey(*from));
    }
    let (input, signature) =
        (Envelope::signing_input(message, *address, body), Signature::from_bytes(signature));
    let holds = |key: &&VerifyingKey| key.verify_strict(&input, &signature).is_ok();
    let signer = keys.iter().filter(named).find(holds);
    signer.copied().ok_or(SignatureError::NotAuthentic)
}

/// The first of these keys with which `check` is content, and what it answers; otherwise why not
/// with the first.
pub fn with_any<T>(
    keys: &[VerifyingKey],
    check: impl Fn(&VerifyingKey) -> Result<T, SignatureError>,
) -> Result<(T, VerifyingKey), SignatureError> {
    let mut first_error = None;
    for key in keys {
        match check(key) {
            Ok(says) => return Ok((says, *key)),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    Err(first_error.unwrap_or(SignatureError::NotAuthentic))
}

fn open<'a>(
    message: Message,
    payload: &'a [u8],
    key: &VerifyingKey,
) -> Result<&'a [u8], SignatureError> {
    let envelope = Envelope::decode(message, payload)?;
    believe(message, &envelope, core::slice::from_ref(key))?;
    Ok(envelope.body)
}

fn same(inside: ValidatorId, topic: ValidatorId) -> Result<(), SignatureError> {
    if inside == topic { Ok(()) } else { Err(SignatureError::OtherValidator { inside, topic }) }
}
