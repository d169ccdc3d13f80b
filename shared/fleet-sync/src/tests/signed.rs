//! Signatures, golden messages and sizes on the wire.

use alloc::{string::String, vec::Vec};
use core::{fmt::Write, slice};

use expect_test::expect_file;
use wire::{Ack, HostState, Manifest, MessageVersion, ValidatorState, WireError};

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
    let version = [&[0x83, 4], &payload[2..]].concat();
    let error = SignatureError::Wire(WireError::UnknownVersion(4));
    assert_eq!(refused(&version, validator(), &device), error);
    // A state with the same key and the same bytes as its body is no batch.
    let envelope = wire::Envelope::decode(wire::Message::Taps, &payload).unwrap();
    let input = wire::Envelope::signing_input(wire::Message::State, None, envelope.body);
    let signature = ed25519_dalek::Signer::sign(&device, &input).to_bytes();
    let replayed = wire::Envelope { signature, ..envelope }.encode();
    assert_eq!(refused(&replayed, validator(), &device), SignatureError::NotAuthentic);
}

/// What was written before is written and read in the later versions too.
macro_rules! later {
    ($version:literal, $name:literal) => {
        concat!("../../../../tests/vectors/wire/", $version, "/", $name, ".hex")
    };
}

/// How messages of the golden bytes are sealed: no other message ever is.
const NOT_RANDOM: [u8; 32] = [3; 32];

#[test]
fn golden_messages_of_versions_2_and_3_are_written_and_believed_for_ever() {
    let (device, depot) = keys();
    let v = ValidatorId::new(42).unwrap();
    let (to_depot, to_device) = (depot.verifying_key(), device.verifying_key());
    let own = [depot.clone()];
    let batch = Batch::decode(&from_hex(include_str!(vector!("batch.body")))).unwrap();
    let second = write_batch(&batch, &device, Codec::V2(&to_depot)).unwrap();
    expect_file![later!("v2", "batch")].assert_eq(&hex(&second));
    let third = write_batch(&batch, &device, Codec::V3(&to_depot, NOT_RANDOM)).unwrap();
    expect_file![later!("v3", "batch")].assert_eq(&hex(&third));
    for (payload, version) in [(&second, MessageVersion::V2), (&third, MessageVersion::V3)] {
        let letter = read_batch(payload, v, &[to_device], Receiver::Keys(&own)).unwrap();
        assert_eq!((letter.says, letter.version), (batch.clone(), version));
        let kept = letter.opened.as_ref().unwrap_or(payload);
        assert_eq!(*kept, second, "what is kept of a sealed message is what was signed");
        assert_eq!(letter.from, to_device);
    }

    let ack = Ack::decode(&from_hex(include_str!(vector!("ack.body")))).unwrap();
    let payload = write_ack(&ack, &depot, Codec::V2(&to_device)).unwrap();
    expect_file![later!("v2", "ack")].assert_eq(&hex(&payload));
    let letter =
        read_ack(&payload, v, &[to_depot], Receiver::Keys(slice::from_ref(&device))).unwrap();
    assert_eq!(letter.says, ack);

    let state =
        ValidatorState::decode(&from_hex(include_str!(later!("v2", "state.body")))).unwrap();
    let payload = write_state(&state, &device, Codec::V2(&to_depot)).unwrap().unwrap();
    expect_file![later!("v2", "state")].assert_eq(&hex(&payload));
    let letter = read_state(&payload, v, &[to_device], Receiver::Keys(&own)).unwrap();
    assert_eq!(letter.says, state);

    let host = HostState::decode(&from_hex(include_str!(later!("v2", "host.body")))).unwrap();
    let payload = sign_host(&host, &depot);
    expect_file![later!("v2", "host")].assert_eq(&hex(&payload));
    assert_eq!(verify_host(&payload, &to_depot), Ok(host));
}

#[test]
fn no_changed_byte_of_a_later_version_is_believed() {
    let (device, depot) = keys();
    let (to, from, own) = (depot.verifying_key(), [device.verifying_key()], [depot]);
    let batch = ModelLog::with(7, 2).batch(1, 2);
    for codec in [Codec::V2(&to), Codec::V3(&to, NOT_RANDOM)] {
        let payload = write_batch(&batch, &device, codec).unwrap();
        let read = |payload: &[u8]| read_batch(payload, validator(), &from, Receiver::Keys(&own));
        assert!(read(&payload).is_ok());
        for at in 0..payload.len() {
            let mut forged = payload.clone();
            forged[at] ^= 1;
            assert!(read(&forged).is_err(), "byte {at}");
        }
    }
}

#[test]
fn a_message_reads_for_its_receiver_only_and_cannot_be_passed_on() {
    let (device, depot) = keys();
    let (to, from) = (depot.verifying_key(), device.verifying_key());
    let other = SigningKey::from_bytes(&[9; 32]);
    let batch = ModelLog::with(7, 2).batch(1, 2);
    let read = |payload: &[u8], own: &SigningKey| {
        let own = [own.clone()];
        read_batch(payload, validator(), &[from], Receiver::Keys(&own))
    };
    for codec in [Codec::V2(&to), Codec::V3(&to, NOT_RANDOM)] {
        let payload = write_batch(&batch, &device, codec).unwrap();
        assert_eq!(read(&payload, &other), Err(SignatureError::NotForUs(key_id(&to))));
    }
    // The receiver itself seals what it opened for another depot: the signature says for whom.
    let second = write_batch(&batch, &device, Codec::V2(&to)).unwrap();
    let envelope = wire::Envelope::decode(wire::Message::Taps, &second).unwrap();
    let sealed_for = |message, name: &VerifyingKey| {
        let inside = envelope.inside();
        let sealed = sealing::seal(message, &inside, &other.verifying_key(), [5; 32]);
        wire::Sealed { to: key_id(name), sealed: &sealed.unwrap() }.encode()
    };
    let passed_on = sealed_for(wire::Message::Taps, &other.verifying_key());
    assert_eq!(read(&passed_on, &other), Err(SignatureError::NotAuthentic));
    let renamed = sealed_for(wire::Message::Taps, &to);
    assert_eq!(read(&renamed, &depot), Err(SignatureError::NotOpened));
    let as_a_state = sealed_for(wire::Message::State, &other.verifying_key());
    assert_eq!(read(&as_a_state, &other), Err(SignatureError::NotOpened));
    // A journal is read without any key that opens: what was kept is no longer sealed.
    let kept = read(&write_batch(&batch, &device, Codec::V3(&to, [6; 32])).unwrap(), &depot);
    assert_eq!(verify_batch(&kept.unwrap().opened.unwrap(), validator(), &from), Ok(batch));
    let sealed = write_batch(&ModelLog::with(7, 1).batch(1, 1), &device, Codec::V3(&to, [7; 32]));
    let error = verify_batch(&sealed.unwrap(), validator(), &from);
    assert_eq!(error, Err(SignatureError::Wire(WireError::Sealed)));
}

#[test]
fn a_sender_is_believed_with_any_key_that_is_known_and_asked_for_no_other() {
    let (device, depot) = keys();
    let successor = SigningKey::from_bytes(&[11; 32]);
    let (to, own) = (depot.verifying_key(), [depot]);
    let known = [device.verifying_key(), successor.verifying_key()];
    let batch = ModelLog::with(7, 2).batch(1, 2);
    for key in [&device, &successor] {
        for codec in [Codec::V1, Codec::V2(&to), Codec::V3(&to, [8; 32])] {
            let payload = write_batch(&batch, key, codec).unwrap();
            let letter = read_batch(&payload, validator(), &known, Receiver::Keys(&own)).unwrap();
            assert_eq!(letter.from, key.verifying_key());
        }
    }
    let payload = write_batch(&batch, &successor, Codec::V2(&to)).unwrap();
    let error = read_batch(&payload, validator(), &known[..1], Receiver::Keys(&own));
    assert_eq!(error, Err(SignatureError::UnknownKey(key_id(&known[1]))));
}

#[test]
fn nothing_of_a_sealed_batch_can_be_read_and_two_of_the_same_differ() {
    let (device, depot) = keys();
    let to = depot.verifying_key();
    let batch = ModelLog::with(7, 50).batch(1, 50);
    let seal = |random| write_batch(&batch, &device, Codec::V3(&to, random)).unwrap();
    let (sealed, signed) = (seal([1; 32]), write_batch(&batch, &device, Codec::V2(&to)).unwrap());
    let shows = |payload: &[u8], what: &[u8]| payload.windows(what.len()).any(|w| w == what);
    // The card, and the first bytes of each record that it holds.
    for entry in &batch.entries {
        let card = entry.windows(9).find(|w| w[..2] == [1, 0x47]).map(|w| &w[2..]).unwrap();
        assert!(shows(&signed, card), "the search finds what is there");
        assert!(!shows(&sealed, card));
        assert!(!shows(&sealed, &entry[..16]));
    }
    assert_ne!(sealed, seal([2; 32]));
    assert!(!shows(&seal([2; 32]), &sealed[20..52]), "another key for every message");
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

/// Taps 100,002 to 100,051; a new hotlist comes in the middle of them.
fn busy_log() -> ModelLog {
    let mut log = ModelLog::with(1_795_000_000, 100_001);
    for n in 0..50 {
        log.append_by(0, (n == 25).then_some(1_795_000_000));
    }
    log
}

#[test]
fn a_tap_costs_at_most_120_bytes_in_a_batch_and_400_alone() {
    let (device, _) = keys();
    let log = busy_log();
    let bytes = |count| on_the_wire(&sign_batch(&log.batch(100_002, count), &device));
    let (of_50, alone) = (bytes(50), bytes(1));
    assert!(of_50 <= 120 * 50, "{of_50} bytes for 50 taps");
    assert!(alone <= 400, "{alone} bytes for one tap");
    expect_test::expect!["50 taps: 5728 bytes, one tap: 328 bytes"]
        .assert_eq(&alloc::format!("50 taps: {of_50} bytes, one tap: {alone} bytes"));
}

#[test]
fn a_tap_costs_at_most_120_bytes_in_a_batch_and_400_alone_also_sealed() {
    let (device, depot) = keys();
    let to = depot.verifying_key();
    let log = busy_log();
    for (codec, expected) in [
        (Codec::V2(&to), expect_test::expect!["50 taps: 5746 bytes, one tap: 346 bytes"]),
        (
            Codec::V3(&to, NOT_RANDOM),
            expect_test::expect!["50 taps: 5797 bytes, one tap: 397 bytes"],
        ),
    ] {
        let bytes =
            |count| on_the_wire(&write_batch(&log.batch(100_002, count), &device, codec).unwrap());
        let (of_50, alone) = (bytes(50), bytes(1));
        assert!(of_50 <= 120 * 50, "{of_50} bytes for 50 taps");
        assert!(alone <= 400, "{alone} bytes for one tap");
        expected.assert_eq(&alloc::format!("50 taps: {of_50} bytes, one tap: {alone} bytes"));
    }
}

#[test]
fn the_largest_batch_also_fits_when_it_is_sealed() {
    let (device, depot) = keys();
    let log = ModelLog::with(u32::MAX, 1000);
    let batch = log.batch(1, 1000);
    let to = depot.verifying_key();
    let payload = write_batch(&batch, &device, Codec::V3(&to, NOT_RANDOM)).unwrap();
    assert!(batch.entries.len() < 1000, "the size is what ends it");
    assert!(payload.len() <= wire::limits::BATCH, "{}", payload.len());
    let own = [depot];
    let letter =
        read_batch(&payload, validator(), &[device.verifying_key()], Receiver::Keys(&own)).unwrap();
    assert_eq!(letter.says, batch);
}
