//! Decisions about validators: in the journal, in the lists, and booked again.

use super::*;

fn at(secs: u64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn out(validators: &[u32], until: u64) -> SteeringEvent {
    SteeringEvent::Desired {
        validators: validators.to_vec(),
        word: DesiredWord::OutOfService.word().to_owned(),
        reason: "Works until noon".to_owned(),
        until: at(until).0,
        by: "ana".to_owned(),
    }
}

fn lift(validators: &[u32]) -> SteeringEvent {
    let (why, by) = ("they are done".to_owned(), "ben".to_owned());
    SteeringEvent::Lifted { validators: validators.to_vec(), why, by }
}

fn v(n: u32) -> ValidatorId {
    ValidatorId::new(n).unwrap()
}

#[test]
fn what_is_wanted_is_in_a_list_until_it_ends_or_is_lifted_and_verify_books_it_again() {
    let (_folder, store) = Store::for_test();
    assert_eq!(verify(&store).unwrap(), 0);
    decide(&store, &out(&[], 5_000), at(1_000)).unwrap();
    let steering = decide(&store, &out(&[7, 9], 2_000), at(1_000)).unwrap();
    assert_eq!(steering.lists[&ListKind::DESIRED].version, 1_001, "rises within a second too");
    assert_eq!(steering.desired.each.len(), 2);
    // What has ended leaves the list with the next decision.
    let steering = decide(&store, &out(&[8], 9_000), at(3_000)).unwrap();
    assert_eq!(steering.desired.each.keys().copied().collect::<Vec<_>>(), [v(8)]);
    assert_eq!(steering.said_by.len(), 2);
    let steering = decide(&store, &lift(&[]), at(3_001)).unwrap();
    assert_eq!(steering.desired.all, None);
    let list = store.steering_lists().unwrap().remove(&ListKind::DESIRED).unwrap();
    assert_eq!(DesiredStates::decode(&list.content).unwrap(), steering.desired);
    assert_eq!(verify(&store).unwrap(), 1);
    assert_eq!(current(&store).unwrap(), steering);
    let newest = store.newest_lists().unwrap();
    assert_eq!(newest, [wire::HeldList { kind: ListKind::DESIRED, version: 3_001 }]);
}

#[test]
fn what_cannot_be_wanted_says_why_and_leaves_no_trace() {
    let (_folder, store) = Store::for_test();
    let refused = |event: &SteeringEvent| decide(&store, event, at(1_000)).unwrap_err();
    let SteeringEvent::Desired { validators, word, until, .. } = out(&[7], 2_000) else { return };
    let with = |reason: &str, by: &str| SteeringEvent::Desired {
        validators: validators.clone(),
        word: word.clone(),
        reason: reason.to_owned(),
        until,
        by: by.to_owned(),
    };
    for (event, words) in [
        (out(&[7], 1_000), "end before it begins"),
        (out(&[7], 1_000 + 93 * 86_400), "more than 92 days"),
        (with(" ", "ana"), "the reason is empty"),
        (with("works", ""), "the name is empty"),
        (with(&"x".repeat(161), "ana"), "161 bytes"),
        (lift(&[7]), "nothing is wanted of v000007"),
        (lift(&[]), "nothing is wanted of all validators"),
    ] {
        let said = refused(&event).to_string();
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(store.steering_rows().unwrap(), 0);
    assert!(store.steering_lists().unwrap().is_empty());
}
