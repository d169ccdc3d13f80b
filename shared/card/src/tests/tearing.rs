//! A card pulled away at every boundary of a debit, then presented again: never charged twice,
//! never a ride for nothing, and every case resolved by the next presentation.

use model::{CardRecord, Companions};

use super::{charge, debit, issued_card, newest, run, start};
use crate::{CardKeys, CardOutput, ExchangeError, Settlement, VirtualCard, proof_holds};

const FARE: u32 = 275;

/// Where the card leaves the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// Before exchange n reaches the card.
    Before(usize),
    /// After the card did exchange n; its answer is lost.
    Answer(usize),
    /// After the card did exchange n; of its answer only so many bytes arrive.
    Byte(usize, usize),
}

/// Runs a tap that is cut; answers how it settled and how long the cut answer was.
fn torn_tap(card: &mut VirtualCard, cut: Cut) -> (Settlement, usize) {
    let mut machine = start(card);
    let (mut n, mut length) = (0, 0);
    let settlement = debit(&mut machine, FARE, &mut |apdu| {
        let this = n;
        n += 1;
        if cut == Cut::Before(this) {
            return Err(ExchangeError::Absent);
        }
        let response = card.handle_apdu(apdu);
        match cut {
            Cut::Answer(at) if at == this => {
                length = response.len();
                Err(ExchangeError::Absent)
            }
            Cut::Byte(at, bytes) if at == this => Ok(response[..bytes].to_vec()),
            Cut::Before(_) | Cut::Answer(_) | Cut::Byte(..) => Ok(response),
        }
    });
    card.power_off();
    (settlement, length)
}

/// What the validator does when the same card comes back, as ADR-0002 decides it.
fn present_again(card: &mut VirtualCard, first: &Settlement, intent: &CardRecord) -> &'static str {
    let in_doubt = *first == Settlement::InDoubt;
    let mut machine = start(card);
    let CardOutput::Found(found) = run(&mut machine, &mut |a| Ok(card.handle_apdu(a))) else {
        panic!("an issued card is found again");
    };
    if in_doubt && found.record == *intent {
        machine.read_proof();
        let output = run(&mut machine, &mut |a| Ok(card.handle_apdu(a)));
        let CardOutput::Settled(Settlement::ProofRead { ctr, proof }) = output else {
            panic!("{output:?}");
        };
        let before = card.contents().unwrap().records[0];
        let transaction = model::CardTransaction {
            before,
            after: *intent,
            products: None,
            loaded: None,
            counters: None,
            companions: Companions::NONE,
            purse: None,
        };
        let tmac = super::keys().tmac_key(&card.uid()).unwrap();
        assert_eq!(ctr, intent.ctr);
        assert!(proof_holds(&tmac, &card.uid(), &transaction, proof));
        return "confirmed";
    }
    machine.write(&charge(&found.record, FARE)).unwrap();
    let settlement = debit_rest(&mut machine, card);
    assert!(matches!(settlement, Settlement::Committed { .. }), "{settlement:?}");
    if in_doubt { "voided" } else { "charged" }
}

fn debit_rest(machine: &mut crate::DebitTransaction, card: &mut VirtualCard) -> Settlement {
    debit(machine, FARE, &mut |a| Ok(card.handle_apdu(a)))
}

fn check(cut: Cut, expected: &str) {
    let mut card = issued_card();
    let before = newest(&mut card);
    let intent = charge(&before, FARE);
    let (first, _) = torn_tap(&mut card, cut);
    let outcome = match first {
        Settlement::Committed { .. } => "committed",
        Settlement::Refused(_) | Settlement::InDoubt => present_again(&mut card, &first, &intent),
        Settlement::ProofRead { .. } | Settlement::Released => panic!("{cut:?}: {first:?}"),
    };
    assert_eq!(outcome, expected, "{cut:?} settled as {first:?}");
    // One ride was granted, so one fare was taken: value file, record and counter agree.
    let contents = card.contents().unwrap();
    assert_eq!(contents.balance, 1000 - 275, "{cut:?}");
    assert_eq!(contents.records.len(), 2, "{cut:?}");
    assert_eq!((contents.records[1].balance, contents.ctr.0), (725, 2), "{cut:?}");
}

#[test]
fn a_card_pulled_away_before_any_exchange_is_charged_once_at_the_next_presentation() {
    for n in 0..6 {
        check(Cut::Before(n), "charged");
    }
    check(Cut::Before(6), "voided");
}

#[test]
fn a_card_pulled_away_after_any_exchange_is_charged_once() {
    for n in 0..6 {
        check(Cut::Answer(n), "charged");
    }
    check(Cut::Answer(6), "confirmed");
}

#[test]
fn a_card_pulled_away_at_any_byte_of_any_answer_is_charged_once() {
    for n in 0..7 {
        let length = torn_tap(&mut issued_card(), Cut::Answer(n)).1;
        assert!(length >= 2);
        for bytes in 0..length {
            check(Cut::Byte(n, bytes), if n == 6 { "confirmed" } else { "charged" });
        }
    }
}

#[test]
fn an_in_doubt_tap_is_decided_at_any_other_validator_by_what_it_reads() {
    for (cut, happened) in [(Cut::Before(6), false), (Cut::Answer(6), true)] {
        let mut card = issued_card();
        let intent = charge(&newest(&mut card), FARE);
        assert_eq!(torn_tap(&mut card, cut).0, Settlement::InDoubt);
        let mut elsewhere = start(&card);
        let CardOutput::Found(seen) = run(&mut elsewhere, &mut |a| Ok(card.handle_apdu(a))) else {
            panic!("found");
        };
        assert_eq!(seen.record == intent, happened);
        assert_eq!(seen.record.ctr == intent.ctr, happened, "the counter alone decides it");
    }
}
