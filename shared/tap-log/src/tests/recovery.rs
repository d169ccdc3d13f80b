//! What recovery decides for each way in which store and guard can disagree.

use alloc::{string::String, vec};

use super::*;

fn recover(disk: &Disk, guard: Option<GuardState>) -> (TapLog, RecoveryReport) {
    TapLog::recover(validator(), guard, Epoch(5000), disk.scan()).unwrap()
}

fn guard(disk: &Disk) -> GuardState {
    GuardState::read(&disk.guard).unwrap()
}

#[test]
fn each_contradiction_begins_a_new_life_and_keeps_the_old_one() {
    let (disk, _) = Disk::with_taps(10);
    let good = guard(&disk);
    let lost = |floor, head| Decision::EntriesLost { floor: TapSeq(floor), head: TapSeq(head) };
    let upper = |leased_upper| TapSeq(leased_upper);
    let rows: [(&str, Option<GuardState>, Decision); 6] = [
        ("all is well", Some(good), Decision::Continue),
        ("no guard", None, Decision::GuardMissing),
        ("floor above", Some(GuardState { floor: TapSeq(11), ..good }), lost(11, 10)),
        ("lease below", Some(GuardState { leased_upper: upper(9), ..good }), Decision::GuardBehind),
        ("older life", Some(GuardState { epoch: Epoch(999), ..good }), Decision::GuardBehind),
        ("newer life", Some(GuardState { epoch: Epoch(1001), ..good }), lost(0, 0)),
    ];
    for (what, guard, decision) in rows {
        let (log, report) = recover(&disk, guard);
        assert_eq!(report.decision, decision, "{what}");
        let continued = decision == Decision::Continue;
        let (epoch, head, lives) = if continued { (1000, 10, 1) } else { (5000, 0, 2) };
        assert_eq!(log.epoch(), Epoch(epoch), "{what}");
        assert_eq!((log.head(), log.lives().count()), (TapSeq(head), lives), "{what}");
        assert_eq!(log.unacked(), 10, "{what}: nothing is forgotten");
        assert!(report.guard.generation > guard.map_or(0, |g| g.generation), "{what}");
        assert_eq!(report.guard.epoch, log.epoch(), "{what}");
    }
}

#[test]
fn the_first_start_and_a_lost_store_are_told_apart() {
    let mut disk = Disk::new();
    let (log, report) = disk.recover(1000);
    assert_eq!((report.decision, log.epoch()), (Decision::FirstStart, Epoch(1000)));
    // Nothing was recorded: the same life goes on.
    assert_eq!(disk.recover(2000).1.decision, Decision::Continue);
    // The store vanishes; the guard does not.
    disk.rows.clear();
    let (log, report) = disk.recover(3);
    let lost = Decision::EntriesLost { floor: TapSeq(0), head: TapSeq(0) };
    assert_eq!((report.decision, log.epoch()), (lost, Epoch(1001)));
}

#[test]
fn a_store_put_back_from_a_copy_is_noticed_once_the_guard_has_moved() {
    let (mut disk, _) = Disk::with_taps(10);
    let old_store = disk.rows.clone();
    let (mut log, _) = disk.recover(2000);
    for at_s in 0..950 {
        disk.tap(&mut log, at_s);
    }
    disk.rows = old_store;
    let (log, report) = disk.recover(2000);
    // The lease was renewed when fewer than 100 numbers were left.
    let (floor, head) = (TapSeq(911), TapSeq(10));
    assert_eq!(report.decision, Decision::EntriesLost { floor, head });
    assert_eq!(log.epoch(), Epoch(2000));
}

#[test]
fn an_intent_without_outcome_becomes_an_in_doubt_entry_in_its_place() {
    let (mut disk, mut log) = Disk::with_taps(4);
    let (seq, ops) = log.intent(draft(9), transaction(9)).unwrap();
    disk.apply(&ops);
    let (log, report) = disk.recover(2000);
    assert_eq!(report.became_in_doubt, [seq]);
    assert_eq!((log.head(), log.in_doubt().len()), (seq, 1));
    assert_eq!(log.in_doubt()[0].transaction, transaction(9));
    assert_eq!(disk.tree(Tree::Intents), []);
    let row = &disk.entries(Epoch(1000), seq)[0];
    let entry = StoredEntry::read(row).unwrap();
    let record = wire::decode_entry(entry.bytes, (validator(), Epoch(1000), seq)).unwrap();
    assert_eq!(record.event, TapEvent::InDoubt { transaction: transaction(9) });
    assert_eq!(disk.recover(2000).1.became_in_doubt, []);
}

#[test]
fn an_intent_survives_the_loss_of_the_guard_under_a_new_number() {
    let (mut disk, mut log) = Disk::with_taps(4);
    disk.apply(&log.intent(draft(9), transaction(9)).unwrap().1);
    disk.guard.fill(0);
    let (log, report) = disk.recover(2000);
    assert_eq!(report.decision, Decision::GuardMissing);
    assert_eq!(report.became_in_doubt, [TapSeq(1)]);
    assert_eq!((log.epoch(), log.head()), (Epoch(2000), TapSeq(1)));
    assert_eq!(log.in_doubt()[0].transaction, transaction(9));
    assert_eq!(disk.recover(3000).0.in_doubt(), log.in_doubt());
}

#[test]
fn an_intent_beyond_the_head_shows_that_entries_are_lost() {
    let (mut disk, mut log) = Disk::with_taps(4);
    disk.apply(&log.intent(draft(9), transaction(9)).unwrap().1);
    disk.rows.remove(&(Tree::Entries, entry_key(Epoch(1000), TapSeq(4)))).unwrap();
    let (log, report) = disk.recover(2000);
    assert_eq!(report.decision, Decision::EntriesLost { floor: TapSeq(0), head: TapSeq(3) });
    assert_eq!(log.in_doubt().len(), 1);
}

#[test]
fn damage_in_the_middle_is_reported_and_nothing_is_deleted() {
    let (disk, _) = Disk::with_taps(10);
    let key = entry_key(Epoch(1000), TapSeq(6));
    for at in [0, 1, 40, 60, 100] {
        let mut damaged = disk.clone();
        damaged.rows.get_mut(&(Tree::Entries, key.clone())).unwrap()[at] ^= 4;
        let before = damaged.tree(Tree::Entries);
        let (log, report) = damaged.recover(2000);
        assert_eq!(report.decision, Decision::Damaged { at: TapSeq(6) }, "byte {at}");
        assert_eq!(report.damaged, [(Tree::Entries, key.clone())]);
        assert_eq!(report.stranded, 4);
        let old = log.lives().next().unwrap();
        assert_eq!((old.epoch, old.head), (Epoch(1000), TapSeq(5)));
        assert_eq!(damaged.tree(Tree::Entries), before);
    }
    let mut missing = disk.clone();
    missing.rows.remove(&(Tree::Entries, key)).unwrap();
    let report = missing.recover(2000).1;
    assert_eq!((report.decision, report.stranded), (Decision::Damaged { at: TapSeq(6) }, 4));
}

#[test]
fn a_good_row_in_the_wrong_place_is_damage() {
    let (mut disk, _) = Disk::with_taps(4);
    let key = |seq| (Tree::Entries, entry_key(Epoch(1000), TapSeq(seq)));
    let other = disk.rows[&key(2)].clone();
    disk.rows.insert(key(3), other);
    assert_eq!(disk.recover(2000).1.decision, Decision::Damaged { at: TapSeq(3) });
}

#[test]
fn a_damaged_intent_is_set_aside_verbatim() {
    let (mut disk, mut log) = Disk::with_taps(1);
    disk.apply(&log.intent(draft(9), transaction(9)).unwrap().1);
    let key = (Tree::Intents, entry_key(Epoch(1000), TapSeq(2)));
    disk.rows.get_mut(&key).unwrap()[20] ^= 1;
    let value = disk.rows[&key].clone();
    let (_, report) = disk.recover(2000);
    assert_eq!(report.damaged, [(Tree::Intents, key.1)]);
    assert!(disk.tree(Tree::Meta).iter().any(|row| row.value == value));
    assert_eq!(disk.recover(2000).1.damaged, []);
}

#[test]
fn a_store_of_another_validator_or_of_newer_software_is_not_used() {
    let (disk, _) = Disk::with_taps(1);
    let stranger = ValidatorId::new(43).unwrap();
    let error = TapLog::recover(stranger, None, Epoch(1), disk.scan()).err();
    let (found, expected) = (validator(), stranger);
    assert_eq!(error, Some(RecoveryError::ForeignLog { found, expected }));
    let mut newer = disk.scan();
    let row = &mut newer.entries[0];
    row.value[0] = 2;
    let body = row.value.len() - 4;
    let crc = crc::crc32c(&[&row.key, &row.value[..body]]).to_be_bytes();
    row.value[body..].copy_from_slice(&crc);
    let error = TapLog::recover(validator(), None, Epoch(1), newer).err();
    assert_eq!(error, Some(RecoveryError::NewerFormat(2)));
}

#[test]
fn keys_that_are_none_are_reported() {
    let (mut disk, _) = Disk::with_taps(1);
    disk.rows.insert((Tree::Entries, vec![1, 2, 3]), vec![]);
    disk.rows.insert((Tree::Meta, b"base\0\0\x03\xe8".to_vec()), vec![9; 9]);
    let (log, report) = disk.recover(2000);
    assert_eq!(report.damaged.len(), 2);
    assert_eq!(log.unacked(), 1);
    let shown: String = alloc::format!("{:?}", report.decision);
    assert!(shown.starts_with("EntriesLost"), "without its base, a life is not continued: {shown}");
}

/// A ticket is used: one entry, durable before the light.
fn ride(disk: &mut Disk, log: &mut TapLog, number: u8) -> TicketToken {
    let token = TicketToken([number; TicketToken::LEN]);
    let draft = TapDraft { card: None, ..draft(u32::from(number)) };
    let (_, ops) = log.record(draft, 90, TapEvent::Ticket { token }).unwrap();
    disk.apply(&ops);
    token
}

#[test]
fn used_tickets_of_every_life_are_found_again() {
    let (mut disk, mut log) = Disk::with_taps(2);
    let first = ride(&mut disk, &mut log, 1);
    let (log, report) = recover(&disk, Some(guard(&disk)));
    assert_eq!(report.tickets, [first]);
    let newest = report.unshown.expect("its rider may have seen nothing");
    assert_eq!(newest.event, TapEvent::Ticket { token: first });
    assert_eq!(log.registers().debit_sum, 550, "a ticket moves no register but the count");
    assert_eq!(log.registers().count, 3);

    // A new life begins, and the tickets of the old one stay used.
    disk.guard = vec![0; GUARD_FILE_LEN];
    let (mut log, _) = disk.recover(5000);
    let second = ride(&mut disk, &mut log, 2);
    let (_, report) = recover(&disk, Some(guard(&disk)));
    assert_eq!(report.tickets, [first, second]);

    // Behind a damaged entry the chain is broken; a ticket there was used all the same.
    let mut cut = disk.clone();
    cut.rows.remove(&(Tree::Entries, entry_key(Epoch(1000), TapSeq(1))));
    let (_, report) = recover(&cut, Some(guard(&cut)));
    assert_eq!((report.stranded, report.tickets), (2, vec![first, second]));
}

#[test]
fn who_passed_is_not_let_in_again_after_a_power_loss_and_who_did_not_is_told_apart() {
    use model::GateWord;
    let said = |said, of| TapEvent::Gate { said, of: Some(TapSeq(of)) };
    let (disk, log) = Disk::with_taps(2);
    for (words, unshown, turned_back) in [
        (alloc::vec![], true, false),
        (alloc::vec![said(GateWord::Passed, 2)], false, false),
        (alloc::vec![said(GateWord::Passed, 1)], true, false),
        (alloc::vec![said(GateWord::TimedOut, 2)], true, true),
        (alloc::vec![said(GateWord::TimedOut, 1)], true, false),
        (alloc::vec![said(GateWord::Unseen, 2)], true, false),
        (alloc::vec![said(GateWord::TimedOut, 2), said(GateWord::Passed, 2)], false, true),
        (alloc::vec![TapEvent::Gate { said: GateWord::Forced, of: None }], true, false),
    ] {
        let (mut disk, mut log) = (disk.clone(), log.clone());
        for word in &words {
            let (_, ops) = log.record(draft(9), 0, *word).unwrap();
            disk.apply(&ops);
        }
        let (log, report) = recover(&disk, Some(guard(&disk)));
        assert_eq!(report.unshown.is_some(), unshown, "{words:?}");
        assert_eq!(report.turned_back, turned_back, "{words:?}");
        assert_eq!(log.registers().count, 2 + words.len() as u64);
        assert_eq!(log.registers().debit_sum, 550, "no word of a gate moves money");
    }
}
