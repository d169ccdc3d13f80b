//! The debit machine: every failure has its name, and money moves only by `commit`.

use alloc::{vec, vec::Vec};

use std::panic::{AssertUnwindSafe, catch_unwind};

use model::{
    CardProof, CardTransaction, Companions, Ctr, PlaceIx, RecordError, RecordKind, Refusal,
    TransferRun,
};

use super::{UID, charge, debit, hex, issued_card, issued_with, keys, newest, run, start};
use crate::apdu::StatusWord;
use crate::{
    CardFailure, CardFound, CardKeys, CardOutput, CardStep, DebitTransaction, ExchangeError, Key,
    KeyVersion, Opening, Settlement, Tmi, VersionedKey, VirtualCard, WriteError, issue_proof_holds,
    proof_holds, transaction_proof,
};

/// What a reader may get instead of the card's answer.
type Answer = Result<Vec<u8>, ExchangeError>;

/// A debit of 2.75 in which exchange number `at` (from 0) is answered by `answer` instead.
fn disturbed(at: usize, answer: &dyn Fn(Vec<u8>) -> Answer) -> (Settlement, VirtualCard) {
    let mut card = issued_card();
    let mut machine = start(&card);
    let mut count = 0;
    let settlement = debit(&mut machine, 275, &mut |apdu| {
        let response = card.handle_apdu(apdu);
        count += 1;
        if count - 1 == at { answer(response) } else { Ok(response) }
    });
    card.power_off();
    (settlement, card)
}

const STEPS: [CardStep; 7] = [
    CardStep::Select,
    CardStep::Authenticate,
    CardStep::Authenticate,
    CardStep::Read,
    CardStep::Value,
    CardStep::Write,
    CardStep::Commit,
];

#[test]
fn no_answer_before_the_commit_is_a_refusal_that_names_step_and_reason() {
    for (at, step) in STEPS[..6].iter().copied().enumerate() {
        for error in [
            ExchangeError::Absent,
            ExchangeError::Rf,
            ExchangeError::Timeout,
            ExchangeError::Device("unplugged".into()),
        ] {
            let (settlement, mut card) = disturbed(at, &|_| Err(error.clone()));
            let failure = CardFailure::Link { step, error: error.clone() };
            assert_eq!(failure.refusal(), Refusal::Unreadable);
            assert_eq!(settlement, Settlement::Refused(failure));
            assert_eq!(newest(&mut card).balance, 1000);
        }
    }
}

#[test]
fn no_answer_to_the_commit_is_in_doubt_and_nothing_else_is() {
    for error in [ExchangeError::Absent, ExchangeError::Rf, ExchangeError::Timeout] {
        assert_eq!(disturbed(6, &|_| Err(error.clone())).0, Settlement::InDoubt);
    }
}

#[test]
fn answers_of_wrong_length_are_malformed_before_the_commit_and_in_doubt_after() {
    for (at, step) in STEPS.iter().copied().enumerate() {
        for short in [vec![], vec![0x91]] {
            let (settlement, _) = disturbed(at, &|_| Ok(short.clone()));
            match at {
                6 => assert_eq!(settlement, Settlement::InDoubt),
                _ => assert_eq!(settlement, Settlement::Refused(CardFailure::Malformed(step))),
            }
        }
        let (settlement, _) = disturbed(at, &|mut r| {
            r.splice(0..0, [0; 300]);
            Ok(r)
        });
        let failed = match at {
            0..3 => Settlement::Refused(CardFailure::Malformed(step)),
            6 => Settlement::InDoubt,
            _ => Settlement::Refused(CardFailure::AnswerNotAuthentic(step)),
        };
        assert_eq!(settlement, failed, "oversized answer at {step:?}");
    }
}

#[test]
fn an_answer_with_a_wrong_mac_is_never_used() {
    for (at, step) in STEPS.iter().copied().enumerate().skip(2) {
        let (settlement, _) = disturbed(at, &|mut r| {
            r[0] ^= 1;
            Ok(r)
        });
        let failed = match at {
            2 => Settlement::Refused(CardFailure::NotAuthentic),
            6 => Settlement::InDoubt,
            _ => Settlement::Refused(CardFailure::AnswerNotAuthentic(step)),
        };
        assert_eq!(settlement, failed, "flipped bit at {step:?}");
    }
}

#[test]
fn statuses_out_of_turn_and_from_foreign_cards_have_their_names() {
    let status = |word: u16| move |_| Ok(word.to_be_bytes().to_vec());
    let refused = |at: usize, word: u16| match disturbed(at, &status(word)).0 {
        Settlement::Refused(failure) => failure,
        other @ (Settlement::Committed { .. }
        | Settlement::InDoubt
        | Settlement::ProofRead { .. }
        | Settlement::Released) => panic!("{other:?}"),
    };
    for word in [0x91A0, 0x6A82, 0x6D00] {
        let failure = refused(0, word);
        assert_eq!(failure, CardFailure::NoApplication(StatusWord(word)));
        assert_eq!(failure.refusal(), Refusal::ForeignCard);
    }
    assert_eq!(
        refused(1, 0x9140),
        CardFailure::Refused { step: CardStep::Authenticate, status: StatusWord::NO_SUCH_KEY }
    );
    assert_eq!(refused(1, 0x9100), CardFailure::Malformed(CardStep::Authenticate));
    assert_eq!(refused(2, 0x91AE), CardFailure::NotAuthentic);
    assert_eq!(refused(3, 0x91BE), CardFailure::NoRecord);
    assert_eq!(refused(4, 0x91BE), CardFailure::ValueLimit);
    assert_eq!(refused(5, 0x91AF), CardFailure::Malformed(CardStep::Write));
}

#[test]
fn an_error_in_the_place_of_the_commits_answer_is_in_doubt_because_nothing_proves_it() {
    for (word, committed) in
        [0x911E, 0x91EE, 0x91CA, 0x91AF, 0x6F00].into_iter().flat_map(|w| [(w, false), (w, true)])
    {
        let mut card = issued_card();
        let mut machine = start(&card);
        let mut count = 0;
        let settlement = debit(&mut machine, 275, &mut |apdu| {
            count += 1;
            let answer = if count < 7 || committed { card.handle_apdu(apdu) } else { Vec::new() };
            Ok(if count == 7 { u16::to_be_bytes(word).to_vec() } else { answer })
        });
        assert_eq!(settlement, Settlement::InDoubt, "{word:04x}, committed: {committed}");
    }
}

#[test]
fn a_piece_of_an_answer_is_no_refusal_of_the_card() {
    let mut card = issued_card();
    let mut lengths = Vec::new();
    debit(&mut start(&card.clone()), 275, &mut |apdu| {
        let answer = card.handle_apdu(apdu);
        lengths.push(answer.len());
        Ok(answer)
    });
    for (at, length) in lengths.into_iter().enumerate().take(6) {
        for bytes in 0..length {
            let mut card = issued_card();
            let mut machine = start(&card);
            let mut count = 0;
            let settlement = debit(&mut machine, 275, &mut |apdu| {
                let mut answer = card.handle_apdu(apdu);
                if count == at {
                    answer.truncate(bytes);
                }
                count += 1;
                Ok(answer)
            });
            let Settlement::Refused(failure) = settlement else { panic!("{at} {bytes}") };
            assert_eq!(failure.refusal(), Refusal::Unreadable, "{at} {bytes}: {failure}");
        }
    }
}

#[test]
fn a_commit_answer_cut_off_where_its_bytes_look_like_a_refusal_is_in_doubt() {
    let (settlement, card) = disturbed(6, &|mut answer| {
        answer.truncate(12);
        Ok([answer, hex("911E")].concat())
    });
    assert_eq!(settlement, Settlement::InDoubt);
    assert_eq!(card.contents().unwrap().balance, 725, "it was charged");
    let (settlement, _) = disturbed(3, &|_| Ok(hex("00 91BE")));
    assert_eq!(settlement, Settlement::Refused(CardFailure::Malformed(CardStep::Read)));
}

#[test]
fn a_card_with_another_issuers_keys_is_not_authentic() {
    let mut card = issued_card();
    let other = VersionedKey { version: KeyVersion::FIRST, key: Key([9; 16]) };
    let mut machine = DebitTransaction::new(UID, other, [1; 16]);
    let output = run(&mut machine, &mut |apdu| Ok(card.handle_apdu(apdu)));
    let failure = CardFailure::NotAuthentic;
    assert_eq!(failure.refusal(), Refusal::ForeignCard);
    assert_eq!(output, CardOutput::Settled(Settlement::Refused(failure)));
}

#[test]
fn a_blank_card_has_no_application() {
    let mut card = VirtualCard::blank(UID, [0; 16]);
    let output = run(&mut start(&card), &mut |apdu| Ok(card.handle_apdu(apdu)));
    let failure = CardFailure::NoApplication(StatusWord::NO_SUCH_APPLICATION);
    assert_eq!(output, CardOutput::Settled(Settlement::Refused(failure)));
}

#[test]
fn a_debit_beyond_the_stored_value_is_refused_by_the_card_itself() {
    let mut card = issued_with(200);
    let mut machine = start(&card);
    let settlement = debit(&mut machine, 275, &mut |apdu| Ok(card.handle_apdu(apdu)));
    assert_eq!(settlement, Settlement::Refused(CardFailure::ValueLimit));
    assert_eq!(CardFailure::ValueLimit.refusal(), Refusal::InsufficientValue);
    assert_eq!(newest(&mut card).balance, 200);
    assert_eq!(card.contents().unwrap().balance, 200);
}

#[test]
fn the_negative_limit_of_the_card_is_what_the_issuer_set() {
    let opening = Opening { balance: 200, negative_limit: 75, ..Opening::default() };
    let (mut card, _) = VirtualCard::issue(UID, [1; 16], &keys(), &opening).unwrap();
    let settlement = debit(&mut start(&card), 275, &mut |apdu| Ok(card.handle_apdu(apdu)));
    assert!(matches!(settlement, Settlement::Committed { ctr: Ctr(2), .. }));
    assert_eq!(card.contents().unwrap().balance, -75);
}

#[test]
fn only_the_successor_of_the_newest_record_is_written() {
    let mut card = issued_card();
    let mut machine = start(&card);
    let CardOutput::Found(CardFound { record: before, .. }) =
        run(&mut machine, &mut |a| Ok(card.handle_apdu(a)))
    else {
        panic!("found");
    };
    let good = charge(&before, 275);
    let bad_run = TransferRun { legs: 16, paid: 0, age_s: 0, group: 0 };
    for (bad, error) in [
        (model::CardRecord { kind: RecordKind::Load, ..good }, WriteError::NotADebit),
        (model::CardRecord { ctr: before.ctr, ..good }, WriteError::CounterOutOfTurn),
        (model::CardRecord { balance: 1000, ..good }, WriteError::BalanceMismatch),
        (
            model::CardRecord { run: Some(bad_run), ..good },
            WriteError::Record(RecordError::TooBig("legs of the transfer run")),
        ),
    ] {
        assert_eq!(machine.write(&bad), Err(error));
        assert_eq!(machine.poll(), None, "nothing is sent");
    }
    assert_eq!(machine.write(&good), Ok(()));
}

#[test]
fn nothing_is_committed_unless_commit_is_called_and_only_when_ready() {
    let mut card = issued_card();
    let mut machine = start(&card);
    let too_early = |m: &mut DebitTransaction| catch_unwind(AssertUnwindSafe(|| m.commit()));
    assert!(too_early(&mut machine).is_err(), "before the card is found");
    let mut machine = start(&card);
    let CardOutput::Found(CardFound { record: before, .. }) =
        run(&mut machine, &mut |a| Ok(card.handle_apdu(a)))
    else {
        panic!("found");
    };
    machine.write(&charge(&before, 275)).unwrap();
    assert_eq!(run(&mut machine, &mut |a| Ok(card.handle_apdu(a))), CardOutput::ReadyToCommit);
    assert_eq!(machine.poll(), None, "it waits for commit() and sends nothing of its own");
    machine.handle_response(Ok(&[0x91, 0x00]));
    assert_eq!(machine.poll(), None, "an answer nobody asked for changes nothing");
    machine.release();
    assert_eq!(machine.poll(), Some(CardOutput::Settled(Settlement::Released)));
    assert_eq!(newest(&mut card).balance, 1000);
    assert_eq!(card.contents().unwrap().balance, 1000);
    assert!(too_early(&mut machine).is_err(), "after release");
}

/// One committed debit and what the depot would get of it.
fn committed() -> (VirtualCard, CardTransaction, CardProof) {
    let mut card = issued_card();
    let before = newest(&mut card);
    let settlement = debit(&mut start(&card), 275, &mut |apdu| Ok(card.handle_apdu(apdu)));
    let Settlement::Committed { ctr, proof } = settlement else { panic!("{settlement:?}") };
    let transaction = CardTransaction {
        before,
        after: charge(&before, 275),
        products: None,
        loaded: None,
        counters: None,
        companions: Companions::NONE,
        purse: None,
    };
    assert_eq!(ctr, transaction.after.ctr);
    (card, transaction, proof)
}

#[test]
fn the_cards_proof_holds_for_what_was_done_and_for_nothing_else() {
    let (_, t, proof) = committed();
    let tmac = keys().tmac_key(&UID).unwrap();
    assert!(proof_holds(&tmac, &UID, &t, proof));
    let cheaper = charge(&t.before, 100);
    let elsewhere = model::CardRecord { place: PlaceIx(4), ..t.after };
    for after in [cheaper, elsewhere] {
        assert!(!proof_holds(&tmac, &UID, &CardTransaction { after, ..t }, proof));
    }
    let before = model::CardRecord { balance: 999, ..t.before };
    assert!(!proof_holds(&tmac, &UID, &CardTransaction { before, ..t }, proof));
    assert!(!proof_holds(&tmac, &UID, &t, CardProof([0; 8])));
    assert!(!proof_holds(&keys().debit_key(&UID).unwrap().key, &UID, &t, proof));
}

#[test]
fn the_proof_is_over_what_was_read_and_written_with_the_codes_really_sent() {
    let (_, t, proof) = committed();
    let mut input = Tmi::new();
    input.step(0xBB, &hex("05 000000 010000"), &t.before.to_bytes().unwrap());
    input.step(0xDC, &hex("02 13010000"), &[]);
    input.step(0x3B, &hex("05 000000 200000"), &t.after.to_bytes().unwrap());
    assert_eq!(input.as_bytes().len(), 7 * 16);
    let tmac = keys().tmac_key(&UID).unwrap();
    assert_eq!(transaction_proof(&tmac, &UID, 2, &input), proof);
}

#[test]
fn a_tap_that_debits_nothing_is_proven_too() {
    let mut card = issued_card();
    let before = newest(&mut card);
    let settlement = debit(&mut start(&card), 0, &mut |apdu| Ok(card.handle_apdu(apdu)));
    let Settlement::Committed { proof, .. } = settlement else { panic!("{settlement:?}") };
    let transaction = CardTransaction {
        before,
        after: charge(&before, 0),
        products: None,
        loaded: None,
        counters: None,
        companions: Companions::NONE,
        purse: None,
    };
    assert!(proof_holds(&keys().tmac_key(&UID).unwrap(), &UID, &transaction, proof));
}

#[test]
fn the_proof_of_the_last_transaction_can_be_read_back() {
    let (mut card, transaction, proof) = committed();
    for _ in 0..2 {
        card.power_off();
        let mut machine = start(&card);
        let found = run(&mut machine, &mut |a| Ok(card.handle_apdu(a)));
        let expected =
            CardFound { record: transaction.after, purse: None, products: None, counters: None };
        assert_eq!(found, CardOutput::Found(expected));
        machine.read_proof();
        let read = Settlement::ProofRead { ctr: transaction.after.ctr, proof };
        let output = run(&mut machine, &mut |a| Ok(card.handle_apdu(a)));
        assert_eq!(output, CardOutput::Settled(read));
    }
}

#[test]
fn the_opening_record_is_proven() {
    let opening = Opening { balance: 1000, ..Opening::default() };
    let (card, issued) = VirtualCard::issue(UID, [1; 16], &keys(), &opening).unwrap();
    let tmac = keys().tmac_key(&UID).unwrap();
    assert!(issue_proof_holds(&tmac, &UID, &issued.record, None, issued.proof));
    let richer = model::CardRecord { balance: 2000, amount: 2000, ..issued.record };
    assert!(!issue_proof_holds(&tmac, &UID, &richer, None, issued.proof));
    let contents = card.contents().unwrap();
    assert_eq!((contents.ctr, contents.balance), (Ctr(1), 1000));
    assert_eq!(contents.records, [issued.record]);
}

#[test]
fn an_empty_card_is_issued_and_proven_too() {
    let (_, issued) = VirtualCard::issue(UID, [1; 16], &keys(), &Opening::default()).unwrap();
    let tmac = keys().tmac_key(&UID).unwrap();
    assert!(issue_proof_holds(&tmac, &UID, &issued.record, None, issued.proof));
}
