//! Versions 2 and 3 of the envelope, and what the two ends say that they speak.

use alloc::string::ToString;

use expect_test::expect_file;
use proptest::{collection::vec as vec_of, prelude::*};

use super::{hex, host, state};
use crate::*;

fn address() -> Address {
    Address { to: KeyId([2; 8]), from: KeyId([1; 8]) }
}

#[test]
fn what_both_ends_speak_is_written_and_read_for_ever() {
    let host = HostState { versions: Versions::ALL, ..host() };
    expect_file!["../../../../tests/vectors/wire/v2/host.body.hex"].assert_eq(&hex(&host.encode()));
    assert_eq!(HostState::decode(&host.encode()), Ok(host));
    for (writes, file) in [
        (
            Some(MessageVersion::V3),
            expect_file!["../../../../tests/vectors/wire/v2/state.body.hex"],
        ),
        (None, expect_file!["../../../../tests/vectors/wire/v2/state-mute.body.hex"]),
    ] {
        let speech = Some(Speech { reads: Versions::ALL, writes });
        let state = ValidatorState { speech, ..state(StateWord::Ready) };
        let body = state.encode().unwrap();
        file.assert_eq(&hex(&body));
        assert_eq!(ValidatorState::decode(&body), Ok(state));
    }
}

#[test]
fn an_end_that_says_nothing_speaks_the_first_version_and_what_is_not_known_is_passed_over() {
    let silent = HostState::decode(&host().encode()).unwrap();
    assert!(silent.versions.has(MessageVersion::V1));
    assert!(!silent.versions.has(MessageVersion::V2) && !silent.versions.has(MessageVersion::V3));
    assert_eq!(Versions::read(&[2, 9, 200]).numbers(), [1, 2]);
    assert_eq!(Versions::ALL.to_string(), "1, 2, 3");
}

#[test]
fn what_is_sealed_of_a_message_makes_it_again() {
    let envelope = Envelope { address: Some(address()), body: b"body", signature: [7; 64] };
    let payload = envelope.encode();
    assert_eq!(Envelope::decode(Message::Taps, &payload), Ok(envelope));
    let inside = envelope.inside();
    let sealed = Sealed { to: address().to, sealed: &inside };
    assert_eq!(sealed.opened(&inside), payload);
    let outer = sealed.encode();
    assert_eq!(Sealed::decode(Message::Taps, &outer), Ok(sealed));
    assert_eq!(Envelope::decode(Message::Taps, &outer), Err(WireError::Sealed));
    assert!(matches!(Sealed::decode(Message::Taps, &payload), Err(WireError::Malformed { .. })));
}

#[test]
fn an_envelope_has_the_shape_of_its_version_and_names_keys_by_eight_bytes() {
    let envelope = Envelope { address: Some(address()), body: b"body", signature: [7; 64] };
    let refused = |payload: &[u8]| {
        let error = Envelope::decode(Message::Taps, payload);
        assert!(matches!(error, Err(WireError::Malformed { .. })), "{payload:02x?} {error:?}");
    };
    let payload = envelope.encode();
    for (number, items) in [(1, 0x85), (2, 0x83), (3, 0x85), (2, 0x84)] {
        refused(&[&[items, number], &payload[2..]].concat());
    }
    // 18 02 says 2 in a longer way than allowed.
    refused(&[&[0x85, 0x18, 0x02], &payload[2..]].concat());
    refused(&[&payload[..2], &[0x47], &payload[4..]].concat());
    let short = Sealed { to: address().to, sealed: b"x" }.encode();
    let short = [&short[..2], &[0x47], &short[4..]].concat();
    assert!(matches!(Sealed::decode(Message::Taps, &short), Err(WireError::Malformed { .. })));
}

proptest! {
    #[test]
    fn a_version_2_message_reads_back_as_written(
        keys in any::<([u8; 8], [u8; 8])>(),
        body in vec_of(any::<u8>(), 0..200),
        signature in vec_of(any::<u8>(), 64),
    ) {
        let address = Some(Address { to: KeyId(keys.0), from: KeyId(keys.1) });
        let signature = signature.try_into().unwrap();
        let envelope = Envelope { address, body: &body, signature };
        let payload = envelope.encode();
        prop_assert_eq!(Envelope::decode(Message::State, &payload), Ok(envelope));
        let inside = envelope.inside();
        let sealed = Sealed { to: KeyId(keys.0), sealed: &inside };
        prop_assert_eq!(sealed.opened(&inside), payload);
    }

    #[test]
    fn no_bytes_behind_a_version_make_a_decoder_panic(
        version in 0..6_u8,
        items in 0x80..0x88_u8,
        bytes in vec_of(any::<u8>(), 0..120),
    ) {
        let payload = [&[items, version], &bytes[..]].concat();
        super::decode_all(&payload);
    }
}
