//! What the open log allows, row by row.

use alloc::vec;

use super::*;

#[test]
fn a_tap_is_an_intent_and_then_an_outcome_under_one_number() {
    let (mut disk, mut log) = Disk::with_taps(2);
    let (seq, ops) = log.intent(draft(5), transaction(5)).unwrap();
    assert_eq!((seq, log.head()), (TapSeq(3), TapSeq(2)));
    disk.apply(&ops);
    assert_eq!(disk.tree(Tree::Intents).len(), 1);
    disk.apply(&log.outcome(seq, 180, committed(5)).unwrap());
    assert_eq!(disk.tree(Tree::Intents).len(), 0);
    assert_eq!(log.head(), TapSeq(3));
    assert_eq!((log.registers().count, log.registers().debit_sum), (3, 825));
    let (seq, ops) = log.record(draft(6), 90, refused()).unwrap();
    disk.apply(&ops);
    assert_eq!(seq, TapSeq(4));
    assert_eq!((log.registers().count, log.registers().debit_sum), (4, 825));
    assert_eq!(disk.tree(Tree::Entries).len(), 4);
}

#[test]
fn a_hotlist_is_named_once_until_it_changes_and_again_by_whoever_cannot_know() {
    let by = |hotlist_version| TapDraft { hotlist_version, ..draft(1) };
    let mut disk = Disk::new();
    let (mut log, _) = disk.recover(1000);
    let named = |disk: &Disk, log: &TapLog| {
        let rows = disk.entries(log.epoch(), TapSeq(1));
        let entries = rows.iter().map(|row| StoredEntry::read(row).unwrap().bytes.to_vec());
        let read = entries.zip(1..).map(|(bytes, seq)| {
            wire::decode_entry(&bytes, (validator(), log.epoch(), TapSeq(seq))).unwrap()
        });
        read.map(|record| record.hotlist_version).collect::<Vec<_>>()
    };
    let refuse = |disk: &mut Disk, log: &mut TapLog, version| {
        disk.apply(&log.record(by(version), 90, refused()).unwrap().1);
    };
    refuse(&mut disk, &mut log, None);
    refuse(&mut disk, &mut log, Some(7));
    // Intent and outcome of one tap say the same.
    let (seq, ops) = log.intent(by(Some(7)), transaction(2)).unwrap();
    disk.apply(&ops);
    disk.apply(&log.outcome(seq, 180, committed(2)).unwrap());
    let (seq, ops) = log.intent(by(Some(8)), transaction(3)).unwrap();
    disk.apply(&ops);
    disk.apply(&log.outcome(seq, 180, committed(3)).unwrap());
    refuse(&mut disk, &mut log, Some(8));
    assert_eq!(named(&disk, &log), [None, Some(7), None, Some(8), None]);
    let (mut log, _) = disk.recover(1001);
    refuse(&mut disk, &mut log, Some(8));
    refuse(&mut disk, &mut log, Some(8));
    assert_eq!(named(&disk, &log)[5..], [Some(8), None], "after a restart");
    let (guard, ops) = log.begin_epoch(Epoch(5_000)).unwrap();
    disk.write_guard(&guard);
    disk.apply(&ops);
    refuse(&mut disk, &mut log, Some(8));
    assert_eq!(named(&disk, &log), [Some(8)], "a life stands for itself");
}

#[test]
fn what_would_break_the_log_is_refused_and_changes_nothing() {
    let (_, mut log) = Disk::with_taps(0);
    assert_eq!(log.outcome(TapSeq(1), 0, committed(1)), Err(LogError::NoIntent(TapSeq(1))));
    assert_eq!(log.record(draft(1), 0, committed(1)), Err(LogError::NeedsIntent));
    let of = TapSeq(1);
    let voided = TapEvent::Voided { of, seen: card_record(6, 0) };
    assert_eq!(log.record(draft(1), 0, voided), Err(LogError::NotInDoubt(of)));
    let (seq, _) = log.intent(draft(1), transaction(1)).unwrap();
    let open = LogError::IntentOpen(seq);
    assert_eq!(log.intent(draft(2), transaction(2)), Err(open.clone()));
    assert_eq!(log.record(draft(2), 0, refused()), Err(open.clone()));
    assert_eq!(log.begin_epoch(Epoch(5)), Err(open));
    assert_eq!(log.outcome(TapSeq(2), 0, committed(1)), Err(LogError::NoIntent(TapSeq(2))));
    assert_eq!(log.outcome(seq, 0, committed(2)), Err(LogError::OtherTransaction(seq)));
    assert_eq!(log.outcome(seq, 0, voided), Err(LogError::OtherTransaction(seq)));
    assert_eq!(log.head(), TapSeq(0));
    log.outcome(seq, 0, committed(1)).unwrap();
    assert_eq!(log.outcome(seq, 0, committed(1)), Err(LogError::NoIntent(seq)));
    let [acked, head] = [TapSeq(2), TapSeq(1)];
    let ahead = LogError::AckAheadOfHead { acked, head };
    assert_eq!(log.handle_acked(Epoch(1000), acked, Timestamp(0)), Err(ahead));
    let unknown = LogError::UnknownEpoch(Epoch(1));
    assert_eq!(log.handle_acked(Epoch(1), TapSeq(0), Timestamp(0)), Err(unknown));
}

#[test]
fn no_number_is_given_out_that_is_not_leased() {
    let (mut disk, mut log) = Disk::with_taps(0);
    for at_s in 0..1000 {
        let (_, ops) = log.record(draft(at_s), 0, refused()).unwrap();
        disk.apply(&ops);
        assert_eq!(log.lease_due().is_some(), at_s + 1 > 900, "after {at_s}");
    }
    assert_eq!(log.record(draft(1), 0, refused()), Err(LogError::LeaseExhausted));
    assert_eq!(log.intent(draft(1), transaction(1)), Err(LogError::LeaseExhausted));
    let guard = log.lease_due().unwrap();
    assert_eq!((guard.floor, guard.leased_upper), (TapSeq(1000), TapSeq(2000)));
    log.handle_leased(guard);
    assert_eq!(log.record(draft(1), 0, refused()).unwrap().0, TapSeq(1001));
}

#[test]
fn an_in_doubt_tap_stays_listed_until_it_is_decided_once() {
    let (mut disk, mut log) = Disk::with_taps(1);
    let mut in_doubt = |log: &mut TapLog, at_s| {
        let (seq, ops) = log.intent(draft(at_s), transaction(at_s)).unwrap();
        disk.apply(&ops);
        let event = TapEvent::InDoubt { transaction: transaction(at_s) };
        disk.apply(&log.outcome(seq, 0, event).unwrap());
        seq
    };
    let (a, b) = (in_doubt(&mut log, 10), in_doubt(&mut log, 11));
    assert_eq!(log.in_doubt().iter().map(|tap| tap.seq).collect::<Vec<_>>(), [a, b]);
    assert_eq!(log.registers().debit_sum, 275);
    let proof = CardProof([7; 8]);
    let served = Served::Yes;
    let confirmed = TapEvent::Confirmed { of: a, transaction: transaction(10), proof, served };
    disk.apply(&log.record(draft(12), 0, confirmed).unwrap().1);
    assert_eq!(log.registers().debit_sum, 550);
    assert_eq!(log.record(draft(13), 0, confirmed), Err(LogError::NotInDoubt(a)));
    let (recovered, _) = disk.recover(2000);
    assert_eq!(recovered.in_doubt(), log.in_doubt());
    let voided = TapEvent::Voided { of: b, seen: card_record(6, 0) };
    disk.apply(&log.record(draft(14), 0, voided).unwrap().1);
    assert_eq!(disk.recover(2000).0.in_doubt(), []);
}

#[test]
fn a_batch_carries_the_stored_bytes_and_the_chain_around_them() {
    let (disk, log) = Disk::with_taps(10);
    let rows = disk.entries(Epoch(1000), TapSeq(4));
    let stored = StoredEntry::read(&rows[0]).unwrap();
    let batch = log.batch(Epoch(1000), 3, rows.clone()).unwrap();
    assert_eq!((batch.head.first, batch.last()), (TapSeq(4), TapSeq(6)));
    assert_eq!(batch.head.prev_hash, stored.prev);
    assert_eq!(batch.entries[0], stored.bytes);
    assert_eq!(batch.registers.count, 6);
    let chain = batch.entries.iter().fold(batch.head.prev_hash, |h, entry| h.then(entry));
    assert_eq!(batch.last_hash, chain);
    let to_the_end = log.batch(Epoch(1000), 500, rows.clone()).unwrap();
    assert_eq!(to_the_end.last_hash, log.head_hash());
    assert_eq!(log.batch(Epoch(999), 3, rows), Err(LogError::RowsOutOfPlace));
    assert_eq!(log.batch(Epoch(1000), 3, vec![]), Err(LogError::RowsOutOfPlace));
}

#[test]
fn a_batch_stops_before_a_damaged_or_missing_row() {
    let (disk, log) = Disk::with_taps(6);
    let rows = disk.entries(Epoch(1000), TapSeq(1));
    let mut damaged = rows.clone();
    damaged[2].value[40] ^= 1;
    let batch = log.batch(Epoch(1000), 10, damaged.clone()).unwrap();
    assert_eq!(batch.last(), TapSeq(2));
    let error = LogError::Row { seq: TapSeq(3), source: RowError::Damaged };
    assert_eq!(log.batch(Epoch(1000), 10, damaged.split_off(2)), Err(error));
    let mut missing = rows;
    missing.remove(3);
    assert_eq!(log.batch(Epoch(1000), 10, missing).unwrap().last(), TapSeq(3));
}

#[test]
fn pruning_stops_at_the_ack_and_at_the_retention() {
    let (mut disk, mut log) = Disk::with_taps(10);
    let epoch = Epoch(1000);
    let from_start = disk.entries(epoch, TapSeq(1));
    let later = Timestamp::from_secs(1_000_000);
    assert_eq!(log.prune(epoch, later, from_start.clone()), Ok(vec![]));
    disk.apply(&log.handle_acked(epoch, TapSeq(6), Timestamp(9)).unwrap());
    // Taps 1..=4 were tapped in seconds 0..=3.
    let ops = log.prune(epoch, Timestamp::from_secs(4), from_start).unwrap();
    disk.apply(&ops);
    assert_eq!(disk.entries(epoch, TapSeq(1)).len(), 6);
    let rest = disk.entries(epoch, TapSeq(1));
    disk.apply(&log.prune(epoch, later, rest).unwrap());
    assert_eq!(disk.entries(epoch, TapSeq(1)).len(), 4);
    let gap = disk.entries(epoch, TapSeq(8));
    disk.apply(&log.handle_acked(epoch, TapSeq(10), Timestamp(10)).unwrap());
    assert_eq!(log.prune(epoch, later, gap), Err(LogError::RowsOutOfPlace));
    // What is left is recovered from the base mark, with chain, registers and ack.
    let (recovered, report) = disk.recover(2000);
    assert_eq!(report.decision, Decision::Continue);
    assert_eq!(recovered.head_hash(), log.head_hash());
    assert_eq!(recovered.registers(), log.registers());
    let span = recovered.lives().last().unwrap();
    assert_eq!((span.pruned_through, span.acked, span.head), (TapSeq(6), TapSeq(10), TapSeq(10)));
    assert_eq!(span.acked_at, Timestamp(10));
    // Everything can go, and numbering still goes on.
    let rest = disk.entries(epoch, TapSeq(1));
    disk.apply(&log.prune(epoch, later, rest).unwrap());
    let (mut empty, report) = disk.recover(3000);
    assert_eq!((report.decision, empty.head()), (Decision::Continue, TapSeq(10)));
    assert_eq!(disk.tap(&mut empty, 50), TapSeq(11));
}

#[test]
fn a_restored_depot_moves_the_mark_back_but_never_below_what_is_kept() {
    let (mut disk, mut log) = Disk::with_taps(10);
    let epoch = Epoch(1000);
    disk.apply(&log.handle_acked(epoch, TapSeq(8), Timestamp(1)).unwrap());
    let rows = disk.entries(epoch, TapSeq(1));
    disk.apply(&log.prune(epoch, Timestamp::from_secs(3), rows).unwrap());
    disk.apply(&log.handle_acked(epoch, TapSeq(1), Timestamp(2)).unwrap());
    let span = log.lives().last().unwrap();
    assert_eq!((span.pruned_through, span.acked), (TapSeq(3), TapSeq(3)));
    let later = Timestamp::from_secs(1_000_000);
    let rows = disk.entries(epoch, TapSeq(4));
    assert_eq!(log.prune(epoch, later, rows), Ok(vec![]));
}

#[test]
fn a_new_life_leaves_the_old_one_to_be_drained_and_then_forgotten() {
    let (mut disk, mut log) = Disk::with_taps(3);
    let (guard, ops) = log.begin_epoch(Epoch(7)).unwrap();
    disk.write_guard(&guard);
    disk.apply(&ops);
    assert_eq!(log.epoch(), Epoch(1001), "raised above the epochs known");
    assert_eq!(disk.tap(&mut log, 20), TapSeq(1));
    assert_eq!((log.lives().count(), log.unacked()), (2, 4));
    let (mut log, report) = disk.recover(5);
    assert_eq!(report.decision, Decision::Continue);
    assert_eq!((log.lives().count(), log.unacked()), (2, 4));
    disk.apply(&log.handle_acked(Epoch(1000), TapSeq(3), Timestamp(1)).unwrap());
    let rows = disk.entries(Epoch(1000), TapSeq(1));
    let ops = log.prune(Epoch(1000), Timestamp::from_secs(1_000_000), rows).unwrap();
    disk.apply(&ops);
    assert_eq!((log.lives().count(), log.unacked()), (1, 1));
    assert_eq!(disk.recover(5).0.lives().count(), 1);
    assert!(disk.rows.keys().all(|(_, key)| !key.ends_with(&1000_u32.to_be_bytes())));
}
