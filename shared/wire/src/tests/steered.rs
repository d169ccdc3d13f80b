//! What the depot wants validators to be, and what they make of it: golden bytes and bounds.

use alloc::{borrow::ToOwned, collections::BTreeMap, vec, vec::Vec};

use expect_test::expect_file;
use model::{Timestamp, ValidatorId};
use proptest::{collection::vec as vec_of, prelude::*};

use super::{hex, state};
use crate::{
    Desired, DesiredState, DesiredStates, DesiredWord, Image, ImageLabel, PlannedImage,
    ReleasePlan, ReleasePlans, ReleaseStage, ReleaseState, StateWord, Steered, ValidatorState,
    WireError, limits,
};

fn v(n: u32) -> ValidatorId {
    ValidatorId::new(n).unwrap()
}

fn desired(word: DesiredWord, reason: &str) -> Desired {
    Desired { word, reason: reason.to_owned(), until: Timestamp(1_795_010_000_000) }
}

fn states() -> DesiredStates {
    DesiredStates {
        all: Some(desired(DesiredWord::OutOfService, "Line closed until 16:00")),
        each: BTreeMap::from([
            (v(42), desired(DesiredWord::OutOfService, "Being repaired")),
            (v(70_000), desired(DesiredWord::InService, "Shuttle")),
        ]),
    }
}

fn steered() -> ValidatorState {
    let steered = Steered {
        desired: Some(DesiredState {
            word: DesiredWord::OutOfService,
            until: Timestamp(1_795_010_000_000),
        }),
        release: Some(ReleaseState {
            running: "1.2.0".to_owned(),
            plan: 7,
            stage: ReleaseStage::Failed,
            why: "no self-test passed within 600 s".to_owned(),
        }),
        settings: Some(1_795_000_100),
    };
    ValidatorState { steered, ..state(StateWord::OutOfService) }
}

#[test]
fn golden_desired_states_are_written_and_read_for_ever() {
    let file = expect_file!["../../../../tests/vectors/wire/v1/desired-list.hex"];
    let content = states().encode().unwrap();
    file.assert_eq(&hex(&content));
    assert_eq!(DesiredStates::decode(&content), Ok(states()));
    let file = expect_file!["../../../../tests/vectors/wire/v1/state-steered.body.hex"];
    let body = steered().encode().unwrap();
    file.assert_eq(&hex(&body));
    assert_eq!(ValidatorState::decode(&body), Ok(steered()));
}

#[test]
fn a_desired_state_without_a_reason_or_with_a_long_one_is_refused() {
    let with = |reason: &str| DesiredStates {
        all: Some(desired(DesiredWord::OutOfService, reason)),
        ..DesiredStates::default()
    };
    assert_eq!(with("").encode(), Err(WireError::Missing("reason of a desired state")));
    let long = "x".repeat(limits::WHY + 1);
    assert!(matches!(with(&long).encode(), Err(WireError::TooLarge { .. })));
    // Two entries of one validator: which of them would hold?
    let twice = [
        &[0xa1, 0, 0x82][..],
        &[0xa4, 0, 5, 1, 1, 2, 0x61, 0x78, 3, 9],
        &[0xa4, 0, 5, 1, 0, 2, 0x61, 0x78, 3, 9],
    ];
    let twice = twice.concat();
    assert_eq!(
        DesiredStates::decode(&twice),
        Err(WireError::OutOfRange("order of desired states"))
    );
    let other = [&[0xa1, 0, 0x81][..], &[0xa4, 0, 5, 1, 9, 2, 0x61, 0x78, 3, 9]].concat();
    let what = "desired state";
    assert_eq!(DesiredStates::decode(&other), Err(WireError::UnknownCode { what, code: 9 }));
    let left_over = [states().encode().unwrap(), vec![0]].concat();
    assert!(matches!(DesiredStates::decode(&left_over), Err(WireError::Malformed { .. })));
    // A field of a later version is skipped.
    let newer = [&[0xa1, 0, 0x81][..], &[0xa5, 0, 5, 1, 1, 2, 0x61, 0x78, 3, 9, 4, 1]].concat();
    assert_eq!(DesiredStates::decode(&newer).unwrap().each.len(), 1);
}

fn plan(number: u64) -> ReleasePlan {
    let image = |target: &str, list| PlannedImage { target: target.to_owned(), list };
    ReleasePlan {
        number,
        version: "1.2.0".to_owned(),
        images: vec![
            image("aarch64-unknown-linux-gnu", 1_795_000_000),
            image("x86_64-unknown-linux-gnu", 1_795_000_001),
        ],
        canaries: [v(42), v(70_000)].into(),
        percent: 25,
        halted: true,
        downgrade: false,
        confirm_s: 900,
    }
}

fn label() -> ImageLabel {
    ImageLabel {
        version: "1.2.0".to_owned(),
        target: "aarch64-unknown-linux-gnu".to_owned(),
        length: 8_000_000,
        hash: [0x5a; 32],
    }
}

#[test]
fn golden_plans_and_images_are_written_and_read_for_ever() {
    let file = expect_file!["../../../../tests/vectors/wire/v1/plan-list.hex"];
    let plans = ReleasePlans(vec![plan(7), ReleasePlan { halted: false, ..plan(8) }]);
    let content = plans.encode().unwrap();
    file.assert_eq(&hex(&content));
    assert_eq!(ReleasePlans::decode(&content), Ok(plans));
    let file = expect_file!["../../../../tests/vectors/wire/v1/image-label.hex"];
    let bytes = label().encode().unwrap();
    file.assert_eq(&hex(&bytes));
    assert_eq!(ImageLabel::decode(&bytes), Ok(label()));
    let image = Image { label: bytes, signature: [7; 64], packed: vec![1, 2, 3] };
    assert_eq!(Image::decode(&image.encode().unwrap()), Ok(image));
}

#[test]
fn a_plan_out_of_order_or_out_of_bounds_is_refused() {
    let refused = |plans: Vec<ReleasePlan>| ReleasePlans(plans).encode().unwrap_err();
    let order = WireError::OutOfRange("order of plans");
    assert_eq!(refused(vec![plan(8), plan(7)]), order);
    assert_eq!(refused(vec![plan(0)]), order);
    let percent = ReleasePlan { percent: 101, ..plan(7) };
    assert_eq!(refused(vec![percent]), WireError::OutOfRange("percent of a plan"));
    let twice = ReleasePlan { images: [plan(7).images, plan(7).images].concat(), ..plan(7) };
    assert_eq!(refused(vec![twice]), WireError::OutOfRange("order of images"));
    let nameless = ReleasePlan { version: alloc::string::String::new(), ..plan(7) };
    assert_eq!(refused(vec![nameless]), WireError::Missing("version of a release"));
    let many = (1..=limits::PLANS as u64 + 1).map(plan).collect();
    assert!(matches!(refused(many), WireError::TooLarge { what: "number of plans", .. }));
    let large = ImageLabel { length: u32::MAX, ..label() }.encode().unwrap();
    assert!(matches!(ImageLabel::decode(&large), Err(WireError::TooLarge { what: "program", .. })));
}

fn any_states() -> impl Strategy<Value = DesiredStates> {
    let word = prop::sample::select(&DesiredWord::ALL[..]);
    let one = (word, "[a-z ]{1,40}", any::<u64>()).prop_map(|(word, reason, until)| Desired {
        word,
        reason,
        until: Timestamp(until),
    });
    let each = proptest::collection::btree_map((1_u32..1 << 24).prop_map(v), one.clone(), 0..8);
    (proptest::option::of(one), each).prop_map(|(all, each)| DesiredStates { all, each })
}

proptest! {
    #[test]
    fn desired_states_read_back_and_no_bytes_make_their_reader_panic(
        states in any_states(),
        bytes in vec_of(any::<u8>(), 0..100),
        at in any::<prop::sample::Index>(),
        with in any::<u8>(),
    ) {
        let mut content: Vec<u8> = states.encode().unwrap();
        prop_assert_eq!(DesiredStates::decode(&content), Ok(states));
        let at = at.index(content.len());
        content[at] = with;
        let _ = DesiredStates::decode(&content);
        let _ = DesiredStates::decode(&bytes);
        let mut plans = ReleasePlans(vec![plan(7)]).encode().unwrap();
        let place = at % plans.len();
        plans[place] = with;
        let _ = ReleasePlans::decode(&plans);
        let _ = ReleasePlans::decode(&bytes);
        let mut words = label().encode().unwrap();
        let place = at % words.len();
        words[place] = with;
        let _ = ImageLabel::decode(&words);
        let _ = Image::decode(&bytes);
        let mut body = steered().encode().unwrap();
        let at = at % body.len();
        body[at] = with;
        let _ = ValidatorState::decode(&body);
    }
}
