//! The whole way of cases through the books, without a broker.

use blocking::Bound;
use model::Timestamp;

use super::*;

const NOW: Timestamp = Timestamp(1_795_000_000_000);

fn rules() -> HotlistRules {
    HotlistRules {
        limits: Limits {
            window: Duration::from_secs(86_400),
            additions_max: 500,
            share_permille: 2,
        },
        on: BTreeSet::from([Cause::Fork, Cause::Value, Cause::Lost, Cause::Replaced, Cause::Debt]),
        expires_after: None,
    }
}

fn card(n: u64) -> CardId {
    let [.., a, b, c] = n.to_be_bytes();
    CardId([4, 0, 0, 7, a, b, c])
}

fn cards(range: std::ops::Range<u64>) -> Vec<CardId> {
    range.map(card).collect()
}

fn say(cards: Vec<CardId>, cause: Cause) -> Proposal {
    Proposal {
        cards,
        cause,
        grade: None,
        validator: None,
        proposer: "ana".to_owned(),
        reason: "reported".to_owned(),
        evidence: vec![],
        expires: None,
    }
}

fn of(cause: Cause) -> CaseFilter {
    CaseFilter { cause: Some(cause), ..CaseFilter::default() }
}

fn after(seconds: u64) -> Timestamp {
    Timestamp(NOW.0 + 1000 * seconds)
}

/// The newest list.
fn given(store: &Store) -> (u64, Hotlist) {
    let newest = store.kept_hotlists().unwrap().into_iter().next();
    newest.map_or_else(Default::default, |(v, content)| (v, Hotlist::parse(content).unwrap()))
}

#[test]
fn rec_7_a_card_is_refused_once_somebody_approved_and_served_again_once_somebody_unblocked() {
    let (_folder, store) = Store::for_test();
    let proposed = propose(&store, &say(cards(0..3), Cause::Lost), NOW).unwrap();
    assert_eq!(proposed, Proposed { cases: [1, 2, 3].map(CaseId).to_vec(), known: 0 });
    assert_eq!(propose(&store, &say(cards(1..4), Cause::Lost), NOW).unwrap().known, 2);
    tick(&store, &rules(), after(1)).unwrap();
    assert_eq!(given(&store), (0, Hotlist::default()), "proposals block nobody");

    let two = CaseFilter { ids: vec![1, 2], ..CaseFilter::default() };
    assert_eq!(decide(&store, &two, "ben", &Decision::Approve, after(2)).unwrap(), 2);
    tick(&store, &rules(), after(3)).unwrap();
    let (first, list) = given(&store);
    assert!(list.contains(card(0)) && list.contains(card(1)) && list.len() == 2);
    tick(&store, &rules(), after(9)).unwrap();
    assert_eq!(given(&store).0, first, "a list is made when it is another");

    // The same card for another cause: ending one cause does not serve it.
    propose(&store, &say(cards(0..1), Cause::Debt), after(10)).unwrap();
    decide(&store, &of(Cause::Debt), "ben", &Decision::Approve, after(10)).unwrap();
    tick(&store, &rules(), after(11)).unwrap();
    let of_lost = CaseFilter { card: Some(card(0)), ..of(Cause::Lost) };
    decide(&store, &of_lost, "eve", &Decision::Unblock("found".to_owned()), after(12)).unwrap();
    tick(&store, &rules(), after(13)).unwrap();
    assert_eq!(given(&store).1.find(card(0)), Some(Grade::Grey));
    let debt = of(Cause::Debt);
    decide(&store, &debt, "eve", &Decision::Unblock("paid".to_owned()), after(14)).unwrap();
    tick(&store, &rules(), after(15)).unwrap();
    let (newest, list) = given(&store);
    assert!(!list.contains(card(0)) && list.contains(card(1)) && newest > first);
    assert_eq!(verify(&store).unwrap(), 5);
}

#[test]
fn rec_8_a_quarter_of_a_million_declines_block_nobody_and_go_in_one_stroke() {
    const DECLINES: u64 = 250_000;
    let (_folder, store) = Store::for_test();
    let validator = ValidatorId::new(42);
    let flood =
        Proposal { validator, proposer: "fork".to_owned(), ..say(cards(0..DECLINES), Cause::Fork) };
    assert_eq!(propose(&store, &flood, NOW).unwrap().cases.len() as u64, DECLINES);
    tick(&store, &rules(), after(1)).unwrap();
    assert_eq!(given(&store), (0, Hotlist::default()));
    let groups = store.hotlist_groups().unwrap();
    assert_eq!(groups.len(), 1, "one cause of one validator is one group: {groups:?}");
    assert_eq!((groups[0].cases, groups[0].validator), (DECLINES, validator));

    // Somebody approves the whole group.
    let group = CaseFilter { validator, ..of(Cause::Fork) };
    assert_eq!(decide(&store, &group, "ana", &Decision::Approve, after(2)).unwrap(), DECLINES);
    for second in [3, 4, 5] {
        tick(&store, &rules(), after(second)).unwrap();
        assert_eq!(given(&store), (0, Hotlist::default()));
    }
    let open = store.hotlist_breaker().unwrap().expect("the breaker opens");
    assert_eq!(open.trip.bound, Bound(10), "these books know no active card");
    assert_eq!(open.trip.waiting, DECLINES);
    let same = decide(&store, &group, " Ana", &Decision::Confirm, after(6)).unwrap_err();
    assert!(same.to_string().contains("a second person has to confirm"), "{same}");

    let why = Decision::Reject("the settlement file was processed by half".to_owned());
    assert_eq!(decide(&store, &group, "ben", &why, after(7)).unwrap(), DECLINES);
    tick(&store, &rules(), after(8)).unwrap();
    assert_eq!(given(&store), (0, Hotlist::default()));
    assert_eq!(store.hotlist_breaker().unwrap(), None, "nothing waits any more");
    assert_eq!(verify(&store).unwrap(), DECLINES);
}

#[test]
fn rec_8_what_a_second_person_confirmed_goes_into_force_and_the_breaker_closes() {
    let (_folder, store) = Store::for_test();
    propose(&store, &say(cards(0..40), Cause::Import), NOW).unwrap();
    let all = of(Cause::Import);
    let early = decide(&store, &all, "ben", &Decision::Confirm, after(1)).unwrap_err();
    assert!(matches!(early, HotlistError::BreakerClosed), "{early}");
    let few = CaseFilter { ids: (1..=8).collect(), ..CaseFilter::default() };
    decide(&store, &few, "ana", &Decision::Approve, after(1)).unwrap();
    tick(&store, &rules(), after(1)).unwrap();
    assert_eq!(given(&store).1.len(), 8, "below the bound one person is enough");
    decide(&store, &all, "ana", &Decision::Approve, after(2)).unwrap();
    tick(&store, &rules(), after(2)).unwrap();
    assert_eq!(given(&store).1.len(), 8);
    assert!(store.hotlist_breaker().unwrap().is_some());
    // Cards are served again while it is open.
    let first = CaseFilter { ids: vec![1], ..CaseFilter::default() };
    decide(&store, &first, "ana", &Decision::Unblock("found".to_owned()), after(3)).unwrap();
    tick(&store, &rules(), after(3)).unwrap();
    assert_eq!(given(&store).1.len(), 7);

    assert_eq!(decide(&store, &all, "ben", &Decision::Confirm, after(4)).unwrap(), 32);
    tick(&store, &rules(), after(5)).unwrap();
    assert_eq!(given(&store).1.len(), 39);
    assert_eq!(store.hotlist_breaker().unwrap(), None);
    verify(&store).unwrap();
}

#[test]
fn a_block_ends_by_itself_when_its_time_is_over() {
    let (_folder, store) = Store::for_test();
    let ends = Proposal { expires: Some(after(60)), ..say(cards(0..1), Cause::Person) };
    propose(&store, &ends, NOW).unwrap();
    let late = propose(&store, &Proposal { expires: Some(NOW), ..ends.clone() }, after(1));
    assert!(matches!(late, Err(HotlistError::Expired)));
    decide(&store, &of(Cause::Person), "ana", &Decision::Approve, after(1)).unwrap();
    tick(&store, &rules(), after(2)).unwrap();
    tick(&store, &rules(), after(59)).unwrap();
    assert_eq!(given(&store).1.len(), 1);
    tick(&store, &rules(), after(60)).unwrap();
    assert_eq!(given(&store).1.len(), 0);
    let case = store.hotlist_cases(&of(Cause::Person), 9).unwrap().remove(0);
    assert_eq!(case.standing, Standing::Expired);
    verify(&store).unwrap();
}

#[test]
fn versions_rise_over_a_restored_backup_and_only_the_newest_keep_their_content() {
    let (_folder, store) = Store::for_test();
    propose(&store, &say(cards(0..10), Cause::Person), NOW).unwrap();
    let mut last = 0;
    for case in 1..=10 {
        let one = CaseFilter { ids: vec![case], ..CaseFilter::default() };
        decide(&store, &one, "ana", &Decision::Approve, NOW).unwrap();
        // Somebody set the depot's clock back in the middle.
        let at = if case < 6 { after(10 * case) } else { after(case) };
        tick(&store, &rules(), after(100)).unwrap();
        tick(&store, &rules(), at).unwrap();
        let version = given(&store).0;
        assert!(version > last && version >= NOW.secs());
        last = version;
    }
    assert_eq!(store.kept_hotlists().unwrap().len(), 8);
    assert!(store.hotlist_after(0).unwrap().is_some());
    assert_eq!(store.hotlist_after(last).unwrap(), None);
    verify(&store).unwrap();
}

#[test]
fn what_does_not_say_who_or_why_or_cannot_be_decided_is_refused() {
    let (_folder, store) = Store::for_test();
    let silent = Proposal { reason: " ".to_owned(), ..say(cards(0..1), Cause::Person) };
    assert!(matches!(propose(&store, &silent, NOW), Err(HotlistError::Empty(_))));
    let all = of(Cause::Person);
    let none = decide(&store, &all, "ana", &Decision::Approve, NOW).unwrap_err();
    assert_eq!(none.to_string(), "no case can be approved: see `depot-server hotlist list`");
    propose(&store, &say(cards(0..1), Cause::Person), NOW).unwrap();
    assert!(decide(&store, &all, "", &Decision::Approve, NOW).is_err());
    assert!(decide(&store, &all, "ana", &Decision::Reject(" ".to_owned()), NOW).is_err());
    let one = CaseFilter { ids: vec![1], ..CaseFilter::default() };
    let early = decide(&store, &one, "ana", &Decision::Unblock("x".to_owned()), NOW).unwrap_err();
    assert_eq!(early.to_string(), "case 1 is proposed: it cannot be unblocked any more");
    verify(&store).unwrap();
}
