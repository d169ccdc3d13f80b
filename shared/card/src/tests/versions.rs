//! Cards with keys of version 1 and 2 in the field, readers that hold the one, the other or both.

use alloc::vec::Vec;

use super::{UID, charge, run_with};
use crate::apdu::cmd;
use crate::{
    CardFailure, CardKeys, CardOutput, DebitTransaction, ExchangeError, Key, KeyRole, KeySet,
    KeyVersion, Opening, Settlement, VirtualCard,
};

const V1: KeyVersion = KeyVersion(1);
const V2: KeyVersion = KeyVersion(2);
const FARE: u32 = 275;
/// Exchanges of a debit, and of one with a card whose key is not of the current version.
const PLAIN: usize = 7;
const FALLBACK: usize = 10;

/// Everything, both versions; new cards get `current`.
pub(super) fn office(current: KeyVersion) -> KeySet {
    let older = super::keys();
    let newer = KeySet::from_root(&Key([0x6B; 16]));
    [KeyRole::Issuer, KeyRole::Debit, KeyRole::Load].into_iter().fold(older, |mut set, role| {
        set = set.with(role, V2, newer.master(role, V1).unwrap().clone());
        set.set_current(role, current).unwrap();
        set
    })
}

/// What a validator holds: these versions, the first one current.
fn reader(versions: &[KeyVersion]) -> KeySet {
    let mut keys = office(versions[0]).for_validator();
    for version in [V1, V2].into_iter().filter(|v| !versions.contains(v)) {
        keys.remove(KeyRole::Debit, version).unwrap();
    }
    keys
}

pub(super) fn card_of(version: KeyVersion) -> VirtualCard {
    let opening = Opening { balance: 1000, at_s: 1_795_000_000, ..Opening::default() };
    VirtualCard::issue(UID, [1; 16], &office(version), &opening).unwrap().0
}

type Heard = Result<Vec<u8>, ExchangeError>;

/// A whole debit; how it settled, and after how many exchanges.
fn tap(
    keys: &KeySet,
    card: &mut VirtualCard,
    link: &mut dyn FnMut(usize, &[u8], &mut VirtualCard) -> Heard,
) -> (Settlement, usize) {
    card.power_off();
    let mut machine = DebitTransaction::new(UID, keys.debit_key(&UID).unwrap(), [0x11; 16]);
    let mut count = 0;
    loop {
        let output = run_with(keys, &mut machine, &mut |apdu| {
            count += 1;
            link(count - 1, apdu, card)
        });
        match output {
            CardOutput::Found(before) => machine.write(&charge(&before.record, FARE)).unwrap(),
            CardOutput::ReadyToCommit => machine.commit(),
            CardOutput::Settled(settlement) => {
                card.power_off();
                return (settlement, count);
            }
            CardOutput::Transmit(_) | CardOutput::NeedKey { .. } => unreachable!("served"),
        }
    }
}

#[test]
fn a_card_of_the_current_key_version_costs_seven_exchanges_and_any_other_held_one_ten() {
    for (held, version, expected) in [
        (&[V1][..], V1, Ok(PLAIN)),
        (&[V1], V2, Err(V2)),
        (&[V2], V1, Err(V1)),
        (&[V2], V2, Ok(PLAIN)),
        (&[V2, V1], V2, Ok(PLAIN)),
        (&[V2, V1], V1, Ok(FALLBACK)),
        (&[V1, V2], V1, Ok(PLAIN)),
        (&[V1, V2], V2, Ok(FALLBACK)),
    ] {
        let mut card = card_of(version);
        let (settlement, count) =
            tap(&reader(held), &mut card, &mut |_, apdu, card| Ok(card.handle_apdu(apdu)));
        let balance = card.contents().unwrap().balance;
        match expected {
            Ok(exchanges) => {
                assert!(matches!(settlement, Settlement::Committed { .. }), "{settlement:?}");
                assert_eq!((count, balance), (exchanges, 725), "{held:?} meets {version}");
            }
            Err(missing) => {
                let failure = CardFailure::KeyVersionNotHeld(missing);
                assert_eq!(settlement, Settlement::Refused(failure), "{held:?}");
                assert_eq!((count, balance), (4, 1000));
            }
        }
    }
}

#[test]
fn no_exchange_of_the_fallback_is_longer_than_a_radio_block() {
    let mut card = card_of(V1);
    tap(&reader(&[V2, V1]), &mut card, &mut |_, apdu, card| {
        let answer = card.handle_apdu(apdu);
        assert!(apdu.len() <= 61 && answer.len() <= 61);
        Ok(answer)
    });
}

#[test]
fn a_card_that_lies_about_its_key_version_is_asked_once_and_not_believed() {
    // The card holds another operator's key; it names each version that the reader holds in turn,
    // one that it does not hold, and nothing at all.
    let foreign = KeySet::from_root(&Key([9; 16]));
    let opening = Opening { balance: 1000, ..Opening::default() };
    let answers: [(&[u8], CardFailure, usize); 5] = [
        (&[2, 0x91, 0x00], CardFailure::NotAuthentic, 4),
        (&[1, 0x91, 0x00], CardFailure::NotAuthentic, 6),
        (&[9, 0x91, 0x00], CardFailure::KeyVersionNotHeld(KeyVersion(9)), 4),
        (&[0x91, 0xAE], CardFailure::NotAuthentic, 4),
        (&[1, 2, 0x91, 0x00], CardFailure::Malformed(crate::CardStep::Authenticate), 4),
    ];
    for (lie, failure, exchanges) in answers {
        let (mut card, _) = VirtualCard::issue(UID, [1; 16], &foreign, &opening).unwrap();
        let mut asked = 0;
        let end = tap(&reader(&[V2, V1]), &mut card, &mut |_, apdu, card| {
            if apdu[1] != cmd::GET_KEY_VERSION {
                return Ok(card.handle_apdu(apdu));
            }
            asked += 1;
            Ok(lie.to_vec())
        });
        assert_eq!(end, (Settlement::Refused(failure), exchanges), "{lie:02x?}");
        assert_eq!(asked, 1);
    }
}

#[test]
fn a_card_of_an_older_key_version_torn_away_at_any_byte_is_charged_once() {
    let keys = reader(&[V2, V1]);
    for at in 0..FALLBACK {
        // How long the answer of this exchange is, and then every cut: before the command, and
        // after so many bytes of the answer.
        let mut length = 0;
        tap(&keys, &mut card_of(V1), &mut |n, apdu, card| {
            let answer = card.handle_apdu(apdu);
            length = if n == at { answer.len() } else { length };
            Ok(answer)
        });
        for cut in core::iter::once(None).chain((0..length).map(Some)) {
            let mut card = card_of(V1);
            let (first, _) = tap(&keys, &mut card, &mut |n, apdu, card| match cut {
                None if n >= at => Err(ExchangeError::Absent),
                Some(bytes) if n == at => Ok(card.handle_apdu(apdu)[..bytes].to_vec()),
                Some(_) if n > at => Err(ExchangeError::Absent),
                _ => Ok(card.handle_apdu(apdu)),
            });
            let commit = at == FALLBACK - 1;
            match first {
                Settlement::InDoubt => assert!(commit, "{at} {cut:?}"),
                Settlement::Refused(_) => assert!(!commit, "{at} {cut:?}"),
                Settlement::Committed { .. }
                | Settlement::ProofRead { .. }
                | Settlement::Released => panic!("{at} {cut:?}: {first:?}"),
            }
            let done = commit && cut.is_some();
            let contents = card.contents().unwrap();
            assert_eq!((contents.balance, contents.ctr.0), if done { (725, 2) } else { (1000, 1) });
            if !done {
                let (again, count) =
                    tap(&keys, &mut card, &mut |_, apdu, card| Ok(card.handle_apdu(apdu)));
                assert!(matches!(again, Settlement::Committed { .. }), "{at} {cut:?}: {again:?}");
                assert_eq!((count, card.contents().unwrap().balance), (FALLBACK, 725));
            }
        }
    }
}

#[test]
fn a_proof_is_verified_under_the_version_that_the_card_was_issued_with() {
    let old = super::keys();
    let both = old.clone().with(KeyRole::Tmac, V2, Key([0x77; 16]));
    let opening = Opening { balance: 1000, ..Opening::default() };
    for (issuer, version) in [(&old, V1), (&both, V2)] {
        let (_, issued) = VirtualCard::issue(UID, [1; 16], issuer, &opening).unwrap();
        let mut tried = 0;
        let holds = |keys: &KeySet, tried: &mut u32| {
            let tried = core::cell::RefCell::new(tried);
            crate::proving_version(keys, &UID, |key| {
                **tried.borrow_mut() += 1;
                crate::issue_proof_holds(key, &UID, &issued.record, None, issued.proof)
            })
        };
        assert_eq!(holds(&both, &mut tried), Ok(Some(version)));
        assert_eq!(tried, u32::from(3 - version.0), "the newest is tried first");
        let strange = KeySet::from_root(&Key([1; 16]));
        assert_eq!(holds(&strange, &mut tried), Ok(None));
        assert_eq!(holds(&KeySet::default(), &mut tried), Ok(None), "no key proves nothing");
    }
}
