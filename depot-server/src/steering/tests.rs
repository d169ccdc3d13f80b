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

fn planned(number: u64, version: &str, percent: u8) -> SteeringEvent {
    SteeringEvent::Planned {
        number,
        version: version.to_owned(),
        canaries: vec![7],
        percent,
        downgrade: false,
        confirm_s: 600,
        reason: "monthly".to_owned(),
        by: "ana".to_owned(),
    }
}

fn add(store: &Store, version: &str, target: &str) -> Result<u64, SteeringError> {
    let (length, hash) = (3, [7; 32]);
    let label =
        wire::ImageLabel { version: version.to_owned(), target: target.to_owned(), length, hash };
    releases::add_image(store, &label, b"signed", "ana", at(1_000))
}

fn decision(plan: u64, which: &str) -> SteeringEvent {
    let (by, reason) = ("ben".to_owned(), "seen".to_owned());
    match which {
        "halt" => SteeringEvent::Halted { plan, reason, by },
        "resume" => SteeringEvent::Resumed { plan, failures: 2, reason, by },
        "end" => SteeringEvent::Ended { plan, reason, by },
        percent => {
            let percent = percent.parse().unwrap();
            SteeringEvent::Widened { plan, canaries: vec![9], percent, reason, by }
        }
    }
}

#[test]
fn a_release_is_added_once_planned_widened_halted_resumed_and_ended_by_named_people() {
    let (_folder, store) = Store::for_test();
    let decide = |event: &SteeringEvent| decide(&store, event, at(2_000));
    let refused = |event: &SteeringEvent| decide(event).unwrap_err().to_string();
    assert!(refused(&planned(1, "1.1.0", 5)).contains("no release 1.1.0"));
    let [pi, pc] = ["pi", "pc"].map(|target| add(&store, "1.1.0", target).unwrap());
    assert_eq!((pi, pc), (1_000, 1_001));
    let twice = add(&store, "1.1.0", "pi").unwrap_err().to_string();
    assert!(twice.contains("1.1.0 for pi already"), "{twice}");

    decide(&planned(1, "1.1.0", 5)).unwrap();
    assert!(refused(&planned(2, "1.1.0", 5)).contains("plan 1 is of the same release"));
    assert!(refused(&decision(1, "4")).contains("only rises, from 5"));
    assert!(refused(&decision(1, "resume")).contains("is not halted"));
    assert!(refused(&decision(3, "halt")).contains("plan 3 is not known"));
    let steering = decide(&decision(1, "50")).unwrap();
    let plan = &steering.plans[&1].plan;
    assert_eq!((plan.percent, plan.canaries.len(), plan.images.len()), (50, 2, 2));
    let steering = decide(&decision(1, "halt")).unwrap();
    assert!(steering.plans[&1].plan.halted);
    assert!(refused(&decision(1, "halt")).contains("is halted already"));
    let steering = decide(&decision(1, "resume")).unwrap();
    assert_eq!((steering.plans[&1].plan.halted, steering.plans[&1].accepted), (false, 2));
    assert_eq!(steering.images_out().len(), 2);
    let steering = decide(&decision(1, "end")).unwrap();
    assert!(refused(&decision(1, "100")).contains("plan 1 is over"));
    assert_eq!(steering.images_out(), [pc].into(), "the kind never leaves the manifest");
    let given = &store.steering_lists().unwrap()[&ListKind::PLAN];
    assert_eq!(wire::ReleasePlans::decode(&given.content).unwrap().0, []);
    assert_eq!(verify(&store).unwrap(), 1);
}

#[test]
fn a_rollout_that_goes_wrong_is_halted_by_the_rule_with_the_first_reason() {
    use steering::FailureBound;
    use wire::{ReleaseStage, ReleaseState};

    let (_folder, store) = Store::for_test();
    add(&store, "1.1.0", "pi").unwrap();
    let steering = decide(&store, &planned(1, "1.1.0", 100), at(2_000)).unwrap();
    let state = |stage, why: &str| ReleaseState {
        running: String::new(),
        plan: 1,
        stage,
        why: why.to_owned(),
    };
    let states: ReleaseStates = vec![
        (v(1), Some(state(ReleaseStage::Applied, ""))),
        (v(2), Some(state(ReleaseStage::Failed, "no link"))),
        (v(3), Some(ReleaseState { plan: 9, ..state(ReleaseStage::Failed, "of another plan") })),
        (v(4), None),
        (v(5), Some(state(ReleaseStage::Trying, ""))),
    ];
    let (tally, bad) = steering.tally(&steering.plans[&1].plan, &states);
    assert_eq!((tally.pending, tally.applied, tally.failed, tally.refused), (3, 1, 1, 0));
    assert_eq!((bad.len(), &*bad[0].why), (1, "no link"));
    let bound = FailureBound { count: 0, share_permille: 10 };
    assert!(tally.must_halt(0, bound) && !tally.must_halt(1, bound));
    // Nobody has said anything in these books.
    assert!(releases::tick(&store, bound, at(2_001)).unwrap().is_empty());
}

fn publication(text: &str, percent: u8) -> settings::Publication {
    settings::Publication {
        text: text.to_owned(),
        canaries: vec![],
        percent,
        reason: "summer".to_owned(),
        by: "ana".to_owned(),
    }
}

const LOUD: &str = "[all]\nrider.sound.volume = 80\n";
const QUIET: &str = "[all]\nrider.sound.volume = 30\nrider.private = true\n";

#[test]
fn settings_are_published_in_shares_widened_taken_back_and_booked_again_by_verify() {
    let (_folder, store) = Store::for_test();
    let publish = |text, percent, secs| {
        settings::publish(&store, &publication(text, percent), at(secs)).unwrap()
    };
    assert_eq!(publish(LOUD, 100, 1_000), 1);
    assert_eq!(publish(QUIET, 10, 1_001), 2);
    let steering = current(&store).unwrap();
    let given = |steering: &Steering| -> Vec<u64> {
        steering.settings_given().iter().map(|version| version.number).collect()
    };
    assert_eq!(given(&steering), [1, 2], "who is not chosen goes by the first");
    let of_second = |n: &u32| steering.settings_wanted(v(*n)) == Some(2);
    let chosen = (1..=1_000).filter(of_second).count();
    assert!((60..150).contains(&chosen), "{chosen}");
    let list = store.steering_lists().unwrap().remove(&ListKind::CONFIG).unwrap();
    assert_eq!(wire::SettingsList::decode(&list.content).unwrap().0.len(), 2);

    let widen = |number, percent| SteeringEvent::SettingsWidened {
        number,
        canaries: vec![7],
        percent,
        reason: "seen".to_owned(),
        by: "ben".to_owned(),
    };
    let steering = decide(&store, &widen(2, 50), at(1_002)).unwrap();
    assert_eq!(steering.settings_wanted(v(7)), Some(2));
    let refused = |event| decide(&store, &event, at(1_003)).unwrap_err().to_string();
    assert!(refused(widen(2, 40)).contains("only rises, from 50"));
    assert!(refused(widen(9, 40)).contains("settings 9 are given to nobody"));

    // Taken back: the text before, as a version of its own.
    assert_eq!(publish(LOUD, 100, 1_004), 3);
    let steering = current(&store).unwrap();
    assert_eq!(given(&steering), [3]);
    assert!(refused(widen(2, 100)).contains("settings 2 are given to nobody"));
    let (one, two, three) =
        (&steering.settings[&1], &steering.settings[&2], &steering.settings[&3]);
    assert_eq!(settings::difference(Some(one), three), [""; 0]);
    assert_eq!(
        settings::difference(Some(one), two),
        [
            "+ all: rider.private = true",
            "- all: rider.sound.volume = 80",
            "+ all: rider.sound.volume = 30",
        ]
    );
    assert_eq!(verify(&store).unwrap(), 1);
}

#[test]
fn settings_that_no_validator_could_go_by_are_not_published() {
    let (_folder, store) = Store::for_test();
    let refused = |text: &str| {
        settings::publish(&store, &publication(text, 100), at(1_000)).unwrap_err().to_string()
    };
    let said = refused("[all]\nrider.sound.volume = 101\nkeys.depot = \"x\"\n");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines[0].starts_with("line 2: rider.sound.volume = 101 must be a whole number from 0"));
    assert!(lines[1].starts_with("line 3: keys.depot is no setting"), "{said}");
    assert!(refused("[validator.v000007]\n").contains("line 1: v000007 is not enrolled"));
    assert_eq!(store.steering_rows().unwrap(), 0);
    let share = publication(LOUD, 1);
    for _ in 0..limits::SETTINGS_VERSIONS {
        settings::publish(&store, &share, at(1_000)).unwrap();
    }
    let ninth = settings::publish(&store, &share, at(1_000)).unwrap_err().to_string();
    assert!(ninth.starts_with("8 versions"), "{ninth}");
    settings::publish(&store, &publication(LOUD, 100), at(1_000)).unwrap();
}
