//! Looking at a log finds what recovery would find, and decides nothing.

use super::*;

#[test]
fn a_whole_log_is_said_to_be_whole_and_its_first_fault_is_named() {
    let (mut disk, mut log) = Disk::with_taps(10);
    disk.apply(&log.handle_acked(Epoch(1000), TapSeq(4), Timestamp(5)).unwrap());
    let (_, ops) = log.intent(draft(50), transaction(50)).unwrap();
    disk.apply(&ops);
    let whole = audit(disk.scan()).unwrap();
    assert_eq!(whole.validator, validator());
    let [life] = whole.lives.as_slice() else { panic!("{whole:?}") };
    assert_eq!((life.span.acked, life.span.head), (TapSeq(4), TapSeq(10)));
    assert_eq!((life.hash, life.registers), (log.head_hash(), log.registers()));
    assert_eq!(life.broken_at, None);
    assert_eq!((whole.intents.len(), whole.intents[0].seq), (1, TapSeq(11)));

    let key = (Tree::Entries, entry_key(Epoch(1000), TapSeq(6)));
    disk.rows.get_mut(&key).unwrap()[70] ^= 1;
    let broken = audit(disk.scan()).unwrap();
    assert_eq!(broken.lives[0].broken_at, Some(TapSeq(6)));
    assert_eq!(broken.lives[0].span.head, TapSeq(5));
    assert_eq!((broken.damaged, broken.stranded), (alloc::vec![key], 4));
}

#[test]
fn a_store_that_nobody_used_has_no_owner() {
    assert_eq!(audit(Disk::new().scan()), Err(AuditError::NoOwner));
}
