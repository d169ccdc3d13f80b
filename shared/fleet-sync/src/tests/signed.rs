//! Signatures, golden messages and sizes on the wire.

use alloc::{string::String, vec::Vec};
use core::fmt::Write;

use expect_test::expect_file;
use wire::{Ack, HostState, Manifest, ValidatorState, WireError};

use super::*;
use crate::*;

fn keys() -> (SigningKey, SigningKey) {
    (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]))
}

fn from_hex(text: &str) -> Vec<u8> {
    let digit = |b: u8| u8::try_from(char::from(b).to_digit(16).unwrap()).unwrap();
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).map(digit).collect();
    digits.chunks(2).map(|d| d[0] << 4 | d[1]).collect()
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(32) {
        for b in line {
            write!(text, "{b:02x}").unwrap();
        }
        text.push('\n');
    }
    text
}

macro_rules! vector {
    ($name:literal) => {
        concat!("../../../../tests/vectors/wire/v1/", $name, ".hex")
    };
}

#[test]
fn golden_messages_are_signed_and_believed_for_ever() {
    let (device, depot) = keys();
    let v = ValidatorId::new(42).unwrap();
    let batch = Batch::decode(&from_hex(include_str!(vector!("batch.body")))).unwrap();
    let payload = sign_batch(&batch, &device);
    expect_file![vector!("batch")].assert_eq(&hex(&payload));
    assert_eq!(verify_batch(&payload, v, &device.verifying_key()), Ok(batch));

    let ack = Ack::decode(&from_hex(include_str!(vector!("ack.body")))).unwrap();
    let payload = sign_ack(&ack, &depot);
    expect_file![vector!("ack")].assert_eq(&hex(&payload));
    assert_eq!(verify_ack(&payload, v, &depot.verifying_key()), Ok(ack));

    let state = ValidatorState::decode(&from_hex(include_str!(vector!("state.body")))).unwrap();
    let payload = sign_state(&state, &device).unwrap();
    expect_file![vector!("state")].assert_eq(&hex(&payload));
    assert_eq!(verify_state(&payload, v, &device.verifying_key()), Ok(state));

    let host = HostState::decode(&from_hex(include_str!(vector!("host.body")))).unwrap();
    let payload = sign_host(&host, &depot);
    expect_file![vector!("host")].assert_eq(&hex(&payload));
    assert_eq!(verify_host(&payload, &depot.verifying_key()), Ok(host));

    let manifest = Manifest::decode(&from_hex(include_str!(vector!("manifest.body")))).unwrap();
    let payload = sign_manifest(&manifest, &depot).unwrap();
    expect_file![vector!("manifest")].assert_eq(&hex(&payload));
    assert_eq!(verify_manifest(&payload, &depot.verifying_key()), Ok(manifest));
    let other = verify_host(&payload, &depot.verifying_key());
    assert_eq!(other, Err(SignatureError::NotAuthentic), "one kind of message is no other");
}

#[test]
fn no_changed_byte_is_believed() {
    let (device, _) = keys();
    let key = device.verifying_key();
    let payload = sign_batch(&ModelLog::with(7, 2).batch(1, 2), &device);
    assert!(verify_batch(&payload, validator(), &key).is_ok());
    for at in 0..payload.len() {
        let mut forged = payload.clone();
        forged[at] ^= 1;
        assert!(verify_batch(&forged, validator(), &key).is_err(), "byte {at}");
    }
}

#[test]
fn another_key_another_topic_and_another_kind_are_refused() {
    let (device, depot) = keys();
    let batch = ModelLog::with(7, 2).batch(1, 2);
    let payload = sign_batch(&batch, &device);
    let other = ValidatorId::new(8).unwrap();
    let refused = |payload: &[u8], validator, key: &SigningKey| {
        verify_batch(payload, validator, &key.verifying_key()).unwrap_err()
    };
    assert_eq!(refused(&payload, validator(), &depot), SignatureError::NotAuthentic);
    let error = SignatureError::OtherValidator { inside: validator(), topic: other };
    assert_eq!(refused(&payload, other, &device), error);
    let version = [&[0x83, 2], &payload[2..]].concat();
    let error = SignatureError::Wire(WireError::UnknownVersion(2));
    assert_eq!(refused(&version, validator(), &device), error);
    // A state with the same key and the same bytes as its body is no batch.
    let envelope = wire::Envelope::decode(wire::Message::Taps, &payload).unwrap();
    let input = wire::Message::State.signing_input(envelope.body);
    let signature = ed25519_dalek::Signer::sign(&device, &input).to_bytes();
    let replayed = wire::Envelope { signature, ..envelope }.encode();
    assert_eq!(refused(&replayed, validator(), &device), SignatureError::NotAuthentic);
}

/// Bytes of the packet that publishes it over MQTT 5 at least once, without properties.
fn on_the_wire(payload: &[u8]) -> usize {
    let topic = Topic::Taps(validator()).name(&"central".parse().unwrap());
    let body = 2 + topic.len() + 2 + 1 + payload.len();
    let remaining_length = if body < 128 {
        1
    } else if body < 16_384 {
        2
    } else {
        3
    };
    1 + remaining_length + body
}

#[test]
fn a_tap_costs_at_most_120_bytes_in_a_batch_and_400_alone() {
    let (device, _) = keys();
    let log = ModelLog::with(1_795_000_000, 100_050);
    let bytes = |count| on_the_wire(&sign_batch(&log.batch(100_001, count), &device));
    let (of_50, alone) = (bytes(50), bytes(1));
    assert!(of_50 <= 120 * 50, "{of_50} bytes for 50 taps");
    assert!(alone <= 400, "{alone} bytes for one tap");
    expect_test::expect!["50 taps: 5721 bytes, one tap: 328 bytes"]
        .assert_eq(&alloc::format!("50 taps: {of_50} bytes, one tap: {alone} bytes"));
}
