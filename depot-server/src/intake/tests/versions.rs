//! Validators that speak versions 1, 2 and 3 of messages, side by side (ADR-0029).

use fleet_sync::{Codec, Receiver, VerifyingKey, key_id, read_ack};
use wire::{Envelope, Message as Kind, MessageVersion};

use super::*;

/// How a validator of this version writes; no message of a test is sealed like another.
fn codec(version: MessageVersion, to: &VerifyingKey, message: u8) -> Codec<'_> {
    match version {
        MessageVersion::V1 => Codec::V1,
        MessageVersion::V2 => Codec::V2(to),
        MessageVersion::V3 => Codec::V3(to, [message; 32]),
    }
}

/// Three cards ride on three buses again and again; bus *n* speaks the version at *n*, which moves
/// on by `step` with every round.
fn drain(versions: [MessageVersion; 3], step: usize) -> Rig {
    let mut rig = Rig::new();
    let to = signing().verifying_key();
    for round in 0..4_u8 {
        let mut messages = Vec::new();
        for bus in 0..3 {
            for card in 0..3 {
                let at = 600 * u32::from(round) + 20 * u32::try_from(bus).unwrap();
                rig.board(bus, card, at + card);
            }
            let version = versions[(bus + usize::from(round) * step) % 3];
            let number = 1 + round * 3 + u8::try_from(bus).unwrap();
            messages.push(rig.buses[bus].batch_as(codec(version, &to, number)));
        }
        // Some come twice, and in one group with the others.
        messages.push(messages[0].clone());
        let output = rig.submit(&messages);
        assert_eq!(output.new_taps, 9);
        for bus in 0..3 {
            let version = versions[(bus + usize::from(round) * step) % 3];
            assert_acked(&rig, &output, bus, version, TapSeq(3 * (u64::from(round) + 1)));
        }
    }
    rig.assert_sound();
    rig
}

/// Who writes version 1 is answered in it, everybody else in version 2, by name.
fn assert_acked(rig: &Rig, output: &Output, bus: usize, version: MessageVersion, through: TapSeq) {
    let Bus { id, signing: own, .. } = &rig.buses[bus];
    let topic = format!("/{id}/down/ack");
    let (_, payload) = output.acks.iter().find(|(name, _)| name.ends_with(&topic)).unwrap();
    let own = [own.clone()];
    let letter =
        read_ack(payload, *id, &[signing().verifying_key()], Receiver::Keys(&own)).unwrap();
    let answered = if version == MessageVersion::V1 { version } else { MessageVersion::V2 };
    assert_eq!((letter.version, letter.says.acked_through), (answered, through));
}

#[test]
fn a_fleet_of_versions_1_2_and_3_drains_into_one_depot_with_equal_books() {
    use MessageVersion::{V1, V2, V3};
    let books = |rig: &Rig| {
        let trial: Vec<_> = rig.books().trial_balance().unwrap();
        let trial = trial.into_iter().map(|row| (row.name, row.accounts, row.balance));
        (rig.sums(), trial.collect::<Vec<_>>(), rig.open_kinds())
    };
    let first = drain([V1, V1, V1], 0);
    for (versions, step) in [([V1, V2, V3], 0), ([V3, V3, V3], 0), ([V1, V2, V3], 1)] {
        let rig = drain(versions, step);
        assert_eq!(books(&rig), books(&first), "{versions:?}, {step}");
    }
    assert_eq!(first.sums().0, 36);
}

#[test]
fn what_is_kept_of_a_sealed_batch_is_the_signed_message_that_was_inside() {
    let mut rig = Rig::new();
    let to = signing().verifying_key();
    rig.board(0, 0, 0);
    let batch = rig.buses[0].assemble();
    let message = rig.buses[0].batch_as(Codec::V3(&to, [1; 32]));
    rig.submit(std::slice::from_ref(&message));
    let row = rig.place.store.journal_after(0).unwrap().unwrap();
    assert_ne!(row.payload, message.payload);
    let envelope = Envelope::decode(Kind::Taps, &row.payload).unwrap();
    assert_eq!(envelope.version(), MessageVersion::V2);
    assert_eq!(envelope.body, batch.encode());
    // No key that opens anything is needed to check the books, nor is today's depot key.
    let checker = Checker::new(depot(), card_keys());
    let report = crate::verify::verify(&rig.place.store, &checker, &rig.place.rules).unwrap();
    assert_eq!(report.first_difference, None);
}

#[test]
fn a_message_that_does_not_open_is_set_aside_as_it_came_and_not_acked() {
    let mut rig = Rig::new();
    let (to, other) = (signing().verifying_key(), SigningKey::from_bytes(&[77; 32]));
    rig.board(0, 0, 0);
    let mut bus = rig.buses[0].clone();
    let good = bus.batch_as(Codec::V3(&to, [1; 32]));
    let mut damaged = good.clone();
    *damaged.payload.last_mut().unwrap() ^= 1;
    let mut bus = rig.buses[0].clone();
    let foreign = bus.batch_as(Codec::V3(&other.verifying_key(), [2; 32]));
    let mut bus = rig.buses[0].clone();
    let for_another = bus.batch_as(Codec::V2(&other.verifying_key()));
    for (message, words) in [
        (&damaged, "does not open".to_owned()),
        (&foreign, format!("for key {}", key_id(&other.verifying_key()))),
        (&for_another, "none of ours".to_owned()),
    ] {
        let output = rig.submit(std::slice::from_ref(message));
        assert_eq!((output.new_taps, output.acks), (0, vec![]));
        let kept = rig.place.store.newest_quarantined();
        assert_eq!((kept.0.as_str(), &kept.2), ("unreadable", &message.payload));
        assert!(kept.1.contains(&words), "{}", kept.1);
    }
    assert_eq!(rig.submit(&[good]).new_taps, 1, "and the validator sends it again");
    rig.assert_sound();
}

#[test]
fn a_depot_opens_with_the_key_that_it_had_before_as_long_as_it_is_told_to() {
    let mut rig = Rig::new();
    let before = SigningKey::from_bytes(&[78; 32]);
    let checker = Checker::new(depot(), card_keys()).receiving(vec![signing(), before.clone()]);
    rig.pipeline = Pipeline::new(rig.place.clone(), checker, signing(), 1);
    rig.board(0, 0, 0);
    let sealed = rig.buses[0].batch_as(Codec::V3(&before.verifying_key(), [1; 32]));
    assert_eq!(rig.submit(&[sealed]).new_taps, 1);
    rig.board(0, 1, 9);
    let addressed = rig.buses[0].batch_as(Codec::V2(&before.verifying_key()));
    assert_eq!(rig.submit(&[addressed]).new_taps, 1);
    rig.assert_sound();
}

#[test]
fn a_replaced_key_is_believed_from_the_next_message_on_without_a_restart() {
    let mut rig = Rig::new();
    rig.board(0, 0, 0);
    let first = rig.buses[0].batch();
    assert_eq!(rig.submit(&[first]).new_taps, 1);
    rig.buses[0].signing = SigningKey::from_bytes(&[79; 32]);
    let (id, key) = (rig.buses[0].id, rig.buses[0].signing.verifying_key());
    rig.board(0, 1, 9);
    let mut early = rig.buses[0].clone();
    assert_eq!(rig.submit(&[early.batch()]).new_taps, 0, "nobody enrolled it");
    rig.place.store.enrol(id, &key, "bus", true, Timestamp(1)).unwrap();
    let second = rig.buses[0].batch();
    assert_eq!(rig.submit(&[second]).new_taps, 1);
    rig.assert_sound();
}
