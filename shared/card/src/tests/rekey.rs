//! Cards that get the current versions of their keys, torn away at every byte of it.

use alloc::{vec, vec::Vec};

use super::versions::{card_of, office};
use super::{UID, newest};
use crate::apdu::cmd;
use crate::{
    CardFailure, CardKeys, CardStep, DebitTransaction, ExchangeError, KeyRole, KeySet, KeyVersion,
    RekeyOutput, RekeyTransaction, VirtualCard, layout,
};

const V1: KeyVersion = KeyVersion(1);
const V2: KeyVersion = KeyVersion(2);
const WHOLE: usize = 13;

type Heard = Result<Vec<u8>, ExchangeError>;

fn rekey(
    keys: &KeySet,
    card: &mut VirtualCard,
    link: &mut dyn FnMut(usize, &[u8], &mut VirtualCard) -> Heard,
) -> (RekeyOutput, usize) {
    card.power_off();
    let mut machine = RekeyTransaction::new(UID, keys, [[0x31; 16], [0x32; 16]]).unwrap();
    let mut count = 0;
    loop {
        match machine.poll().expect("the machine wants something") {
            RekeyOutput::Transmit(apdu) => {
                let heard = link(count, &apdu, card);
                count += 1;
                machine.handle_response(heard.as_deref().map_err(Clone::clone));
            }
            RekeyOutput::NeedKey { role, version } => {
                // An answer that nobody asked for changes nothing.
                machine.handle_response(Ok(&[0x91, 0x00]));
                assert_eq!(machine.poll(), None);
                machine.handle_key(keys.card_key(role, version, &UID).ok(), [0x33; 16]);
            }
            end @ (RekeyOutput::Done(_) | RekeyOutput::Stopped(_)) => {
                card.power_off();
                return (end, count);
            }
        }
    }
}

fn whole(keys: &KeySet, card: &mut VirtualCard) -> (RekeyOutput, usize) {
    rekey(keys, card, &mut |_, apdu, card| Ok(card.handle_apdu(apdu)))
}

/// The versions that the card names, in the clear: issuer, debit, load.
fn versions(card: &mut VirtualCard) -> [u8; 3] {
    card.power_off();
    card.handle_apdu(&crate::apdu::wrap(cmd::SELECT_APPLICATION, &layout::AID));
    [layout::KEY_ISSUER, layout::KEY_DEBIT, layout::KEY_LOAD]
        .map(|key_no| card.handle_apdu(&crate::apdu::wrap(cmd::GET_KEY_VERSION, &[key_no]))[0])
}

/// Whether a validator with both versions can read the card: it always must.
fn is_usable(card: &mut VirtualCard) -> bool {
    card.power_off();
    let bus = office(V2).for_validator();
    let mut machine = DebitTransaction::new(UID, bus.debit_key(&UID).unwrap(), [7; 16]);
    let found = super::run_with(&bus, &mut machine, &mut |apdu| Ok(card.handle_apdu(apdu)));
    card.power_off();
    matches!(found, crate::CardOutput::Found(_))
}

#[test]
fn a_card_gets_the_current_versions_and_then_costs_a_validator_seven_exchanges_again() {
    let keys = office(V2);
    let mut card = card_of(V1);
    let before = newest(&mut card);
    let changed = vec![(KeyRole::Debit, V1), (KeyRole::Load, V1), (KeyRole::Issuer, V1)];
    assert_eq!(whole(&keys, &mut card), (RekeyOutput::Done(changed), WHOLE));
    assert_eq!(versions(&mut card), [2, 2, 2]);
    assert_eq!(whole(&keys, &mut card), (RekeyOutput::Done(vec![]), 5));
    let only_new = {
        let mut keys = keys.for_validator();
        keys.remove(KeyRole::Debit, V1).unwrap();
        keys
    };
    let mut machine = DebitTransaction::new(UID, only_new.debit_key(&UID).unwrap(), [7; 16]);
    let found = super::run_with(&only_new, &mut machine, &mut |apdu| Ok(card.handle_apdu(apdu)));
    let crate::CardOutput::Found(found) = found else { panic!("{found:?}") };
    assert_eq!(found.record, before, "nothing but the keys has changed");
    assert_eq!(card.contents().unwrap().ctr.0, 1, "and the proofs go on as before");
}

#[test]
fn a_card_is_never_given_an_older_version() {
    let mut card = card_of(V2);
    let (end, _) = whole(&office(V1), &mut card);
    assert_eq!(end, RekeyOutput::Done(vec![]));
    assert_eq!(versions(&mut card), [2, 2, 2]);
}

#[test]
fn rekeying_torn_at_any_byte_leaves_a_usable_card_and_goes_on_at_the_next_presentation() {
    let keys = office(V2);
    let mut lengths = vec![];
    rekey(&keys, &mut card_of(V1), &mut |_, apdu, card| {
        let answer = card.handle_apdu(apdu);
        lengths.push(answer.len());
        Ok(answer)
    });
    assert_eq!(lengths.len(), WHOLE);
    let mut states = alloc::collections::BTreeSet::new();
    for (at, length) in lengths.into_iter().enumerate() {
        for cut in core::iter::once(None).chain((0..length).map(Some)) {
            let mut card = card_of(V1);
            let (end, _) = rekey(&keys, &mut card, &mut |n, apdu, card| match cut {
                None if n >= at => Err(ExchangeError::Absent),
                Some(bytes) if n == at => Ok(card.handle_apdu(apdu)[..bytes].to_vec()),
                Some(_) if n > at => Err(ExchangeError::Absent),
                _ => Ok(card.handle_apdu(apdu)),
            });
            assert!(matches!(end, RekeyOutput::Stopped(_)), "{at} {cut:?}: {end:?}");
            states.insert(versions(&mut card));
            assert!(is_usable(&mut card), "{at} {cut:?}");
            let (end, _) = whole(&keys, &mut card);
            assert!(matches!(end, RekeyOutput::Done(_)), "{at} {cut:?}: {end:?}");
            assert_eq!(versions(&mut card), [2, 2, 2], "{at} {cut:?}");
        }
    }
    // Issuer, debit, load: the debit key first, the issuer key last.
    assert_eq!(
        states.into_iter().collect::<Vec<_>>(),
        [[1, 1, 1], [1, 2, 1], [1, 2, 2], [2, 2, 2]]
    );
}

#[test]
fn versions_that_are_not_held_and_answers_that_were_touched_stop_it_with_nothing_changed() {
    let mut newer_only = office(V2);
    newer_only.remove(KeyRole::Debit, V1).unwrap();
    let mut card = card_of(V1);
    let (end, _) = whole(&newer_only, &mut card);
    assert_eq!(end, RekeyOutput::Stopped(CardFailure::KeyVersionNotHeld(V1)));
    assert_eq!(versions(&mut card), [1, 1, 1]);

    // Within the session nobody can make an old card look new.
    let mut card = card_of(V1);
    let (end, _) = rekey(&office(V2), &mut card, &mut |n, apdu, card| {
        let mut answer = card.handle_apdu(apdu);
        if n == 6 {
            answer[0] = 2;
        }
        Ok(answer)
    });
    assert_eq!(end, RekeyOutput::Stopped(CardFailure::AnswerNotAuthentic(CardStep::Personalise)));
    assert_eq!(versions(&mut card), [1, 1, 1]);

    // The answer to the last change is in the clear: it is not believed without a proof.
    let mut card = card_of(V1);
    let (end, _) = rekey(&office(V2), &mut card, &mut |n, apdu, card| {
        if n == WHOLE - 3 { Ok(vec![0x91, 0x00]) } else { Ok(card.handle_apdu(apdu)) }
    });
    assert_eq!(end, RekeyOutput::Stopped(CardFailure::NotAuthentic));
    assert_eq!(versions(&mut card), [1, 2, 2]);
}
