//! Releases with a key of the test's own: what is taken, what is refused, and when one is left.

use std::io::Read as _;

use fleet_sync::{SigningKey, sign_image};
use wire::{ImageLabel, PlannedImage};

use super::*;

const LIST: HeldList = HeldList { kind: ListKind::IMAGE, version: 9 };
/// A program that answers when it is asked for its version.
const PROGRAM: &[u8] = b"#!/bin/sh\nexit 0\n";

struct Rig {
    state: tempfile::TempDir,
    releases: Releases,
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

impl Rig {
    fn open() -> Self {
        let state = tempfile::tempdir().unwrap();
        let releases = opened(state.path());
        Self { state, releases }
    }

    /// The next program, as `validator start` begins it.
    fn restart(&mut self) -> Start {
        let start = start(self.state.path()).unwrap();
        self.releases = opened(self.state.path());
        start
    }

    fn stage(&self) -> ReleaseStage {
        self.releases.state("").stage
    }
}

fn opened(state: &Path) -> Releases {
    let validator = ValidatorId::new(42).unwrap();
    Releases::open(state, key().verifying_key(), validator).unwrap()
}

fn plan(version: &str) -> ReleasePlan {
    ReleasePlan {
        number: 4,
        version: version.to_owned(),
        images: vec![PlannedImage { target: target(), list: LIST.version }],
        canaries: BTreeSet::new(),
        percent: 100,
        halted: false,
        downgrade: false,
        confirm_s: 60,
    }
}

fn packed(program: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    let level = flate2::Compression::best();
    flate2::read::GzEncoder::new(program, level).read_to_end(&mut packed).unwrap();
    packed
}

fn label(version: &str) -> ImageLabel {
    ImageLabel {
        version: version.to_owned(),
        target: target(),
        length: u32::try_from(PROGRAM.len()).unwrap(),
        hash: Sha256::digest(PROGRAM).into(),
    }
}

fn image(version: &str) -> Vec<u8> {
    sign_image(&label(version), packed(PROGRAM), &key()).unwrap()
}

fn look() -> Look {
    let running = Duration::from_secs(1);
    Look { quiet: true, serves: true, tested: true, heard: true, running }
}

#[test]
fn a_release_is_fetched_checked_begun_in_a_quiet_moment_and_confirmed() {
    let mut rig = Rig::open();
    assert_eq!(rig.stage(), ReleaseStage::Idle);
    let plans = ReleasePlans(vec![plan("1.1.0")]);
    assert_eq!(rig.releases.take_plans(plans.clone()), BTreeSet::from([LIST]));
    assert!(!rig.releases.look(look()), "nothing is here yet");
    rig.releases.take_image(LIST, &image("1.1.0")).unwrap();
    assert_eq!(rig.stage(), ReleaseStage::Ready);
    assert!(rig.releases.wanted().is_empty());
    assert!(!rig.releases.look(Look { quiet: false, ..look() }), "somebody taps");
    assert!(rig.releases.look(look()), "this program ends");

    let Start::Release { version, program } = rig.restart() else { panic!("the package's") };
    assert_eq!((&*version, fs_read(&program)), ("1.1.0", PROGRAM.to_vec()));
    rig.releases.take_plans(plans);
    assert_eq!(rig.stage(), ReleaseStage::Trying);
    let lacks = [
        Look { serves: false, ..look() },
        Look { tested: false, ..look() },
        Look { heard: false, ..look() },
    ];
    for lack in lacks {
        assert!(!rig.releases.look(lack));
        assert_eq!(rig.stage(), ReleaseStage::Trying, "{lack:?}");
    }
    assert!(!rig.releases.look(look()));
    assert_eq!(rig.stage(), ReleaseStage::Applied);
    assert!(matches!(rig.restart(), Start::Release { .. }));
}

fn fs_read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[test]
fn a_release_that_lacks_something_too_long_gives_way_to_what_ran_before() {
    let mut rig = Rig::open();
    let plans = ReleasePlans(vec![plan("1.1.0")]);
    rig.releases.take_plans(plans.clone());
    rig.releases.take_image(LIST, &image("1.1.0")).unwrap();
    assert!(rig.releases.look(look()));
    rig.restart();
    rig.releases.take_plans(plans.clone());
    let long = Look { heard: false, running: Duration::from_secs(61), ..look() };
    assert!(rig.releases.look(long), "this program ends");
    assert_eq!(rig.restart(), Start::Package);
    rig.releases.take_plans(plans);
    let said = rig.releases.state("");
    assert_eq!(
        (said.stage, &*said.why),
        (ReleaseStage::Failed, "within 60 s the depot was not heard")
    );
    assert!(rig.releases.wanted().is_empty() && !rig.releases.look(look()), "not again");
}

#[test]
fn one_that_is_never_confirmed_is_left_after_three_starts_by_the_program_that_starts_it() {
    let mut rig = Rig::open();
    rig.releases.take_plans(ReleasePlans(vec![plan("1.1.0")]));
    rig.releases.take_image(LIST, &image("1.1.0")).unwrap();
    assert!(rig.releases.look(look()));
    for _ in 0..3 {
        assert!(matches!(rig.restart(), Start::Release { .. }));
    }
    assert_eq!(rig.restart(), Start::Package);
}

#[test]
fn a_halted_plan_is_neither_fetched_nor_switched_to() {
    let rig = Rig::open();
    rig.releases.take_plans(ReleasePlans(vec![plan("1.1.0")]));
    rig.releases.take_image(LIST, &image("1.1.0")).unwrap();
    let halted = ReleasePlans(vec![ReleasePlan { halted: true, ..plan("1.1.0") }]);
    assert!(rig.releases.take_plans(halted.clone()).is_empty());
    assert!(!rig.releases.look(look()), "though it is here");
    let other = Rig::open();
    assert!(other.releases.take_plans(halted).is_empty());
    assert_eq!(other.stage(), ReleaseStage::Pending);
}

#[test]
fn what_the_agency_did_not_sign_so_is_refused_with_why_and_leaves_nothing() {
    let thief = SigningKey::from_bytes(&[8; 32]);
    let signed =
        |label: &ImageLabel, program: &[u8]| sign_image(label, packed(program), &key()).unwrap();
    let label = label("1.1.0");
    let with = |change: fn(&mut ImageLabel)| {
        let mut other = label.clone();
        change(&mut other);
        signed(&other, PROGRAM)
    };
    let bad = b"#!/bin/sh\nexit 3\n";
    let dead = ImageLabel { hash: Sha256::digest(bad).into(), ..label.clone() };
    for (content, words) in [
        (sign_image(&label, packed(PROGRAM), &thief).unwrap(), "release key"),
        (vec![1, 2, 3], "malformed"),
        (with(|label| label.version = "1.2.0".to_owned()), "it is release 1.2.0"),
        (with(|label| label.target = "toaster".to_owned()), "it is for toaster"),
        (with(|label| label.length += 1), "another length"),
        (with(|label| label.hash = [1; 32]), "not the one that was signed"),
        (signed(&label, b"#!/bin/sh\nexit 1\n"), "not the one that was signed"),
        (signed(&label, &[PROGRAM, b"more"].concat()), "another length"),
        (signed(&dead, bad), "does not run here"),
    ] {
        let rig = Rig::open();
        rig.releases.take_plans(ReleasePlans(vec![plan("1.1.0")]));
        let refused = rig.releases.take_image(LIST, &content).unwrap_err();
        assert!(refused.contains(words), "{refused}");
        assert_eq!(rig.stage(), ReleaseStage::Refused);
        assert!(!rig.releases.look(look()) && rig.releases.wanted().is_empty());
        assert!(!rig.state.path().join("releases/1.1.0").exists(), "{words}");
    }
}
