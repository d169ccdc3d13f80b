//! What comes back from the bytes of a store that no longer opens.

use alloc::vec;

use proptest::prelude::*;

use super::*;

/// The store's file as some engine may lay it out: values between bytes of its own, in the order
/// of `order`, and leftovers of values cut short.
fn file(disk: &Disk, order: u64) -> Vec<u8> {
    let mut values: Vec<&Vec<u8>> = disk.rows.values().collect();
    let len = values.len().max(1);
    values.rotate_left(usize::try_from(order).unwrap_or_default() % len);
    let mut bytes = vec![1, 0, 0];
    for (i, value) in values.iter().enumerate() {
        bytes.extend([0xff, 1, u8::try_from(i % 251).unwrap()]);
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(&value[..value.len() / 2]);
    }
    bytes
}

fn carve(bytes: &[u8], piece: usize) -> Vec<Carved> {
    let mut carver = Carver::new(validator());
    bytes.chunks(piece).for_each(|piece| carver.feed(piece));
    carver.finish()
}

/// A log of a new life, as it begins when the store was put aside.
fn fresh(disk: &Disk) -> (Disk, TapLog) {
    let mut new = Disk::new();
    new.guard.clone_from(&disk.guard);
    let (log, _) = new.recover(9000);
    (new, log)
}

/// All entries of a life that can be sent, as the depot gets them.
fn sent(disk: &Disk, log: &TapLog, epoch: Epoch) -> Vec<(TapSeq, Vec<u8>)> {
    let life = log.lives().find(|life| life.epoch == epoch).unwrap();
    let (mut from, mut sent) = (life.pruned_through.next(), vec![]);
    while from <= life.head {
        let batch = log.batch(epoch, 500, disk.entries(epoch, from)).unwrap();
        for entry in batch.entries {
            sent.push((from, entry));
            from = from.next();
        }
    }
    sent
}

#[test]
fn a_store_that_does_not_open_is_carved_and_sent_as_an_earlier_life() {
    let (mut disk, mut log) = Disk::with_taps(40);
    disk.apply(&log.handle_acked(Epoch(1000), TapSeq(25), Timestamp(1_795_000_000_000)).unwrap());
    let before = sent(&disk, &log, Epoch(1000));
    let carved = carve(&file(&disk, 7), 1000);
    let [life] = carved.as_slice() else { panic!("{carved:?}") };
    assert_eq!((life.epoch, life.acked, life.last), (Epoch(1000), TapSeq(25), TapSeq(40)));
    assert_eq!((life.unreachable, life.has_intent), (0, false));
    let (mut new, mut log) = fresh(&disk);
    let present = log.epoch();
    new.apply(&log.adopt(life).unwrap());
    assert_eq!(log.unacked(), 15);
    assert_eq!(sent(&new, &log, Epoch(1000)), before, "byte for byte");
    assert_eq!(log.adopt(life), None, "once");
    // The next start finds it as any life that was kept.
    let (again, report) = new.recover(9999);
    assert_eq!((report.decision, report.damaged), (Decision::Continue, vec![]));
    assert_eq!((again.epoch(), again.unacked()), (present, 15));
    assert_eq!(sent(&new, &again, Epoch(1000)), before);
}

#[test]
fn a_tap_without_outcome_comes_back_in_doubt_in_its_place() {
    let (mut disk, mut log) = Disk::with_taps(3);
    disk.apply(&log.intent(draft(9), transaction(9)).unwrap().1);
    let carved = carve(&file(&disk, 3), 64);
    assert!(carved[0].has_intent);
    let (mut new, mut log) = fresh(&disk);
    new.apply(&log.adopt(&carved[0]).unwrap());
    let entries = sent(&new, &log, Epoch(1000));
    let (seq, last) = entries.last().unwrap();
    let record = wire::decode_entry(last, (validator(), Epoch(1000), *seq)).unwrap();
    assert_eq!(
        (*seq, record.event),
        (TapSeq(4), TapEvent::InDoubt { transaction: transaction(9) })
    );
}

#[test]
fn used_tickets_come_back() {
    let (mut disk, mut log) = Disk::with_taps(2);
    let token = TicketToken([5; TicketToken::LEN]);
    let nobody = TapDraft { card: None, ..draft(50) };
    disk.apply(&log.record(nobody, 90, TapEvent::Ticket { token }).unwrap().1);
    assert_eq!(carve(&file(&disk, 0), 4096)[0].tickets, [token]);
}

#[test]
fn a_hole_ends_the_run_and_what_lies_behind_it_is_counted() {
    let (disk, _) = Disk::with_taps(20);
    for (hole, acked, kept, unreachable) in
        [(12, 0, 1..=11, 8), (12, 14, 13..=20, 11), (12, 12, 13..=20, 11)]
    {
        let (mut disk, mut log) = (disk.clone(), Disk::with_taps(20).1);
        if acked > 0 {
            let at = Timestamp(1_795_000_000_000);
            disk.apply(&log.handle_acked(Epoch(1000), TapSeq(acked), at).unwrap());
        }
        disk.rows.get_mut(&(Tree::Entries, entry_key(Epoch(1000), TapSeq(hole)))).unwrap()[80] ^= 1;
        let carved = &carve(&file(&disk, 1), 500)[0];
        let ends = (TapSeq(*kept.start()), TapSeq(*kept.end()));
        assert_eq!((carved.first, carved.last), ends, "{acked}");
        assert_eq!(carved.unreachable, unreachable);
    }
}

#[test]
fn two_different_newest_entries_are_nobodys() {
    let (disk, _) = Disk::with_taps(5);
    // The same number, given out again after a write that never became durable.
    let mut other = Disk::with_taps(4);
    other.0.tap(&mut other.1, 77);
    let both = [file(&disk, 0), file(&other.0, 0)].concat();
    assert_eq!(carve(&both, 4096)[0].last, TapSeq(4));
    // Once a third one names it, it is known which of the two was in the log.
    other.0.tap(&mut other.1, 78);
    let both = [file(&disk, 0), file(&other.0, 0)].concat();
    let (mut new, mut log) = fresh(&disk);
    let carved = carve(&both, 4096);
    new.apply(&log.adopt(&carved[0]).unwrap());
    assert_eq!(sent(&new, &log, Epoch(1000)), sent(&other.0, &other.1, Epoch(1000)));
}

#[test]
fn a_log_of_another_validator_is_not_taken_for_this_ones() {
    let (disk, _) = Disk::with_taps(9);
    let mut carver = Carver::new(ValidatorId::new(43).unwrap());
    carver.feed(&file(&disk, 0));
    assert_eq!(carver.finish(), []);
}

proptest! {
    #[test]
    fn whatever_is_cut_or_altered_only_true_entries_come_back(
        taps in 1..30_u32,
        order in any::<u64>(),
        piece in 1..5000_usize,
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..40),
    ) {
        let (disk, log) = Disk::with_taps(taps);
        let truth = sent(&disk, &log, Epoch(1000));
        let mut bytes = file(&disk, order);
        for (at, byte) in &damage {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        for carved in carve(&bytes, piece) {
            let (mut new, mut log) = fresh(&disk);
            let Some(ops) = log.adopt(&carved) else { continue };
            new.apply(&ops);
            for entry in sent(&new, &log, carved.epoch) {
                prop_assert!(truth.contains(&entry), "{:?}", entry.0);
            }
        }
    }
}
