//! Verdicts of the depot's end.

use alloc::vec;

use super::*;
use crate::*;

fn accepted(verdict: Verdict) -> Accepted {
    if let Verdict::Accepted(accepted) = verdict {
        return accepted;
    }
    panic!("not accepted: {verdict:?}")
}

fn intake() -> Intake {
    Intake::resume(validator(), [])
}

fn with_first(log: &ModelLog, count: u16) -> Intake {
    let mut intake = intake();
    accepted(intake.handle_batch(&log.batch(1, count), None));
    intake.handle_committed();
    intake
}

#[test]
fn new_entries_are_accepted_once_and_acked_after_the_commit_only() {
    let log = ModelLog::with(7, 10);
    let mut intake = intake();
    let first = accepted(intake.handle_batch(&log.batch(1, 4), None));
    assert!(first.life_began);
    assert_eq!((first.known, first.entries.len()), (0, 4));
    assert_eq!(first.registers, RegistersCheck::Agree);
    assert_eq!(first.mark.hash, log.hash(TapSeq(4)));
    assert_eq!(first.entries[3].record, Ok(committed(Epoch(7), 4, 0)));
    assert_eq!(first.entries[3].hash, log.hash(TapSeq(4)));
    // A second batch of the same transaction builds on the first.
    let second = accepted(intake.handle_batch(&log.batch(5, 3), None));
    assert!(!second.life_began);
    assert_eq!(intake.ack(Epoch(7), Timestamp(1)).acked_through, TapSeq(0));
    intake.handle_committed();
    assert_eq!(intake.ack(Epoch(7), Timestamp(2)).acked_through, TapSeq(7));
    assert_eq!(intake.committed(Epoch(7)), Some(second.mark));
    assert_eq!(intake.handle_batch(&log.batch(5, 3), None), Verdict::Known { count: 3 });
}

#[test]
fn an_entry_that_names_no_hotlist_went_by_that_of_the_entry_before_it() {
    let mut log = ModelLog::with(7, 1);
    for named in [Some(3), None, None, Some(9), None] {
        log.append_by(0, named);
    }
    // However the entries are cut into batches, and whatever of them comes twice.
    for cuts in [&[(1, 6)][..], &[(1, 3), (4, 3)], &[(1, 2), (1, 5), (3, 4)]] {
        let (mut intake, mut went_by) = (intake(), Vec::new());
        for (first, count) in cuts {
            let taken = accepted(intake.handle_batch(&log.batch(*first, *count), None));
            let records = taken.entries.iter().map(|entry| entry.record.as_ref().unwrap());
            went_by.extend(records.map(|record| record.hotlist_version));
            intake.handle_committed();
            intake = Intake::resume(validator(), intake.committed(Epoch(7)));
        }
        assert_eq!(went_by, [None, Some(3), Some(3), Some(3), Some(9), Some(9)], "{cuts:?}");
    }
}

#[test]
fn a_rolled_back_commit_takes_the_entries_again() {
    let log = ModelLog::with(7, 10);
    let mut intake = with_first(&log, 2);
    accepted(intake.handle_batch(&log.batch(3, 3), None));
    intake.handle_rolled_back();
    let again = accepted(intake.handle_batch(&log.batch(3, 3), None));
    assert_eq!(again.mark.through, TapSeq(5));
}

#[test]
fn a_batch_with_a_known_beginning_gives_its_new_part() {
    let log = ModelLog::with(7, 10);
    let mut intake = with_first(&log, 5);
    let part = accepted(intake.handle_batch(&log.batch(3, 8), None));
    assert_eq!((part.known, part.entries[0].seq), (3, TapSeq(6)));
    assert_eq!(part.mark.through, TapSeq(10));
    assert_eq!(part.registers, RegistersCheck::Agree);
}

#[test]
fn a_gap_is_named_once_for_each_batch_that_shows_it() {
    let log = ModelLog::with(7, 10);
    let mut intake = with_first(&log, 2);
    let gap = Verdict::Gap { from: TapSeq(3), through: TapSeq(4) };
    assert_eq!(intake.handle_batch(&log.batch(5, 2), None), gap);
    let ack = intake.ack(Epoch(7), Timestamp(1));
    assert_eq!((ack.acked_through, ack.missing), (TapSeq(2), vec![(TapSeq(3), TapSeq(4))]));
    assert_eq!(intake.ack(Epoch(7), Timestamp(2)).missing, vec![]);
}

#[test]
fn old_batches_are_compared_with_the_stored_chain() {
    let log = ModelLog::with(7, 10);
    let mut intake = with_first(&log, 8);
    let old = log.batch(2, 3);
    let needs = Verdict::NeedsStoredHash { epoch: Epoch(7), seq: TapSeq(4) };
    assert_eq!(intake.handle_batch(&old, None), needs);
    let stored = Some(log.hash(TapSeq(4)));
    assert_eq!(intake.handle_batch(&old, stored), Verdict::Known { count: 3 });
}

#[test]
fn a_re_imaged_validator_with_old_numbers_is_an_incident_whatever_the_batch() {
    let books = ModelLog::with(7, 8);
    let mut again = ModelLog::new(7);
    for _ in 0..10 {
        again.append(1);
    }
    let incident = |intake: &mut Intake, batch: &Batch, stored| {
        let verdict = intake.handle_batch(batch, stored);
        let Verdict::Incident(incident) = verdict else { panic!("no incident: {verdict:?}") };
        incident
    };
    let mut intake = with_first(&books, 8);
    let epoch = Epoch(7);
    // All below the mark, ending at the mark, over the mark, and behind the mark.
    let stored = Some(books.hash(TapSeq(3)));
    let other =
        |first, last| Incident::OtherBytes { epoch, first: TapSeq(first), last: TapSeq(last) };
    assert_eq!(incident(&mut intake, &again.batch(1, 3), stored), other(1, 3));
    assert_eq!(incident(&mut intake, &again.batch(6, 3), None), other(6, 8));
    assert_eq!(incident(&mut intake, &again.batch(6, 5), None), other(6, 8));
    let history = Incident::OtherHistory { epoch, at: TapSeq(9) };
    assert_eq!(incident(&mut intake, &again.batch(9, 2), None), history);
    assert_eq!(intake.ack(epoch, Timestamp(1)).acked_through, TapSeq(8));
    // One with a new life is taken, and said to have begun.
    assert!(accepted(intake.handle_batch(&ModelLog::with(8, 2).batch(1, 2), None)).life_began);
}

#[test]
fn one_changed_byte_in_the_books_numbers_is_an_incident() {
    let log = ModelLog::with(7, 6);
    let mut intake = with_first(&log, 6);
    let mut edited = log.batch(4, 3);
    let last = edited.entries[1].len() - 1;
    edited.entries[1][last] ^= 1;
    let chain = edited.entries.iter().fold(edited.head.prev_hash, |h, entry| h.then(entry));
    edited.last_hash = chain;
    let verdict = intake.handle_batch(&edited, None);
    assert!(matches!(verdict, Verdict::Incident(Incident::OtherBytes { .. })), "{verdict:?}");
}

#[test]
fn a_batch_that_contradicts_itself_or_is_anothers_is_an_incident() {
    let log = ModelLog::with(7, 6);
    let mut intake = with_first(&log, 2);
    let own_hash =
        |first| Verdict::Incident(Incident::OwnHash { epoch: Epoch(7), first: TapSeq(first) });
    let wrong = Batch { last_hash: ChainHash([0; 32]), ..log.batch(3, 2) };
    assert_eq!(intake.handle_batch(&wrong, None), own_hash(3));
    let wrong = Batch { last_hash: ChainHash([0; 32]), ..log.batch(1, 2) };
    assert_eq!(intake.handle_batch(&wrong, None), own_hash(1));
    let mut stranger = Intake::resume(ValidatorId::new(1).unwrap(), []);
    let verdict = stranger.handle_batch(&log.batch(1, 2), None);
    assert_eq!(verdict, Verdict::Incident(Incident::OtherValidator(validator())));
}

#[test]
fn registers_that_do_not_add_up_are_told_with_the_amounts_and_once() {
    let log = ModelLog::with(7, 6);
    let mut intake = with_first(&log, 2);
    let mut batch = log.batch(3, 2);
    batch.registers.debit_sum += 275;
    batch.registers.count += 1;
    let check = accepted(intake.handle_batch(&batch, None)).registers;
    let computed = log.batch(3, 2).registers;
    assert_eq!(check, RegistersCheck::Differ { claimed: batch.registers, computed });
    let mut next = log.batch(5, 2);
    next.registers.debit_sum += 275;
    next.registers.count += 1;
    let check = accepted(intake.handle_batch(&next, None)).registers;
    assert_eq!(check, RegistersCheck::Agree);
}

#[test]
fn an_entry_that_does_not_read_costs_no_other() {
    let log = ModelLog::with(7, 3);
    let mut batch = log.batch(1, 3);
    batch.entries[1] = vec![9, 9, 9];
    batch.last_hash = batch.entries.iter().fold(batch.head.prev_hash, |h, e| h.then(e));
    batch.registers.debit_sum = i64::MAX;
    let taken = accepted(intake().handle_batch(&batch, None));
    assert_eq!(taken.registers, RegistersCheck::Unreadable);
    assert_eq!(taken.entries[1].record, Err(wire::WireError::UnknownVersion(9)));
    assert_eq!(taken.entries[1].bytes, [9, 9, 9]);
    assert!(taken.entries[2].record.is_ok());
}

#[test]
fn a_validator_that_keeps_beginning_lives_is_stopped() {
    let mut intake = intake();
    for epoch in 0..256 {
        accepted(intake.handle_batch(&ModelLog::with(epoch, 1).batch(1, 1), None));
    }
    let verdict = intake.handle_batch(&ModelLog::with(256, 1).batch(1, 1), None);
    assert_eq!(verdict, Verdict::Incident(Incident::TooManyLives(Epoch(256))));
}
