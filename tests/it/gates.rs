//! The validator daemon behind a gate: a turnstile on a pseudo-terminal, cards in memory, a broker
//! in this process, and a depot of a few lines.

use std::time::Duration;

use gate::{GateConfig, GateKind, Trouble, Turnstile, Way};
use model::{GateWord, TapEvent, TapRole, TapSeq};
use tokio::time::{sleep, timeout};
use validation::Verdict;
use validator::{Daemon, Service};

use crate::validator::rig::{Depot, Rig, SharedCard, issued};

const PATIENCE: Duration = Duration::from_secs(30);

const METRO: &str = r#"
format = 1
version = 1
network = "Test"
timezone = "Europe/Berlin"
currency = "EUR"
pass_back_s = 0
groups = ["metro"]
operator = [{ id = "op", name = "Operator" }]
product = [{ id = "near", price = "2.00" }]
place = [
  { id = "A", name = "Alpha", lat = 1.5, lon = 2, kind = "station" },
  { id = "B", name = "Beta", lat = 1.6, lon = 2, kind = "station" },
]
route = [{ id = "M", name = "Metro", mode = "subway", operator = "op", group = "metro" }]
[gate]
group = "metro"
not_passed = "NOT-PASSED"
[matrix]
to = ["A", "B"]
[matrix.from]
A = ["near", "near"]
B = ["near", "near"]
"#;

struct Scene {
    rig: Rig,
    turnstile: Turnstile,
}

impl Scene {
    /// A gate into Alpha whose riders have two seconds.
    fn new(not_passed: &str) -> Self {
        let mut rig = Rig::new();
        rig.tariff = METRO.replace("NOT-PASSED", not_passed);
        rig.config.validator.role = TapRole::Entry;
        rig.config.validator.place = "A".into();
        rig.config.validator.route = None;
        let port = rig.path("gate");
        let turnstile = Turnstile::plug(&port).unwrap();
        let gate =
            GateConfig { port: Some(port), timeout_s: 2, ..GateConfig::of(GateKind::Frames) };
        rig.config.gate = Some(gate);
        Self { rig, turnstile }
    }

    async fn start(&mut self) -> Daemon {
        let daemon = self.rig.start().await.unwrap();
        until(|| daemon.metrics().in_service.get() == 1).await;
        daemon
    }

    /// Taps, and walks through the gate.
    async fn walk_in(&mut self, card: &SharedCard) {
        let passage = self.rig.tap(card).await;
        assert!(passage.is_granted(), "{passage:?}");
        until(|| self.turnstile.is_open().is_some()).await;
        assert!(self.turnstile.walk(Way::A));
    }
}

async fn until(holds: impl Fn() -> bool) {
    let holds = async {
        while !holds() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, holds).await.expect("it comes to hold");
}

fn head(daemon: &Daemon) -> u64 {
    daemon.log().borrow().live().head.0
}

fn said(depot: &Depot) -> Vec<(GateWord, Option<TapSeq>)> {
    let words = depot.taps.iter().filter_map(|tap| {
        let TapEvent::Gate { said, of } = tap.event else { return None };
        Some((said, of))
    });
    words.collect()
}

#[tokio::test]
async fn a_rider_who_passed_and_one_who_turned_back_are_told_apart_in_the_log() {
    let mut scene = Scene::new("let-in-again");
    let mut depot = Depot::start(&mut scene.rig).await;
    let daemon = scene.start().await;
    let (first, second) = (issued(1, 900), issued(2, 900));
    scene.walk_in(&first).await;
    until(|| head(&daemon) == 2).await;
    // Somebody follows.
    scene.turnstile.push_through(Way::A);
    until(|| head(&daemon) == 3).await;
    // The second turns back, and comes again; nothing is taken for that.
    assert!(scene.rig.tap(&second).await.is_granted());
    until(|| head(&daemon) == 5).await;
    assert_eq!(scene.turnstile.is_open(), None);
    let before = second.lock().unwrap().contents().unwrap();
    scene.walk_in(&second).await;
    until(|| head(&daemon) == 6).await;
    let after = second.lock().unwrap().contents().unwrap();
    assert_eq!((after.balance, after.ctr), (before.balance, before.ctr), "the card says one tap");
    depot.until(6).await;
    let (one, two) = (Some(TapSeq(1)), Some(TapSeq(4)));
    assert_eq!(
        said(&depot),
        [
            (GateWord::Passed, one),
            (GateWord::Tailgate, None),
            (GateWord::TimedOut, two),
            (GateWord::Passed, two),
        ]
    );
    assert_eq!(depot.taps[3].card, depot.taps[4].card, "the gate's word names the card");
    let metrics = daemon.metrics();
    let count = |said: &str| metrics.gate_words.with_label_values(&[said]).get();
    assert_eq!((count("passed"), count("timed-out"), count("tailgate")), (2, 1, 1));
    assert_eq!(metrics.gate_up.get(), 1);
    daemon.stop().await;
}

#[tokio::test]
async fn a_gate_that_is_unplugged_takes_the_validator_out_of_service_until_it_is_back() {
    let mut scene = Scene::new("charge");
    let daemon = scene.start().await;
    let card = issued(1, 900);
    assert!(scene.rig.tap(&card).await.is_granted());
    until(|| scene.turnstile.is_open().is_some()).await;
    scene.turnstile.unplug().await;
    until(|| matches!(&*daemon.service().borrow(), Service::Out(why) if why.contains("gate")))
        .await;
    until(|| head(&daemon) == 2).await;
    assert_eq!(daemon.metrics().gate_words.with_label_values(&["unseen"]).get(), 1);
    assert_eq!(daemon.metrics().gate_up.get(), 0);
    let refused = scene.rig.tap(&issued(2, 900)).await;
    assert_eq!(refused.verdict, Verdict::OutOfService);
    scene.turnstile.plug_again().unwrap();
    until(|| matches!(*daemon.service().borrow(), Service::In)).await;
    scene.walk_in(&issued(3, 900)).await;
    until(|| head(&daemon) == 4).await;
    daemon.stop().await;
}

#[tokio::test]
async fn a_gate_that_is_not_required_may_be_away_and_nothing_is_claimed_of_its_riders() {
    let mut scene = Scene::new("give-back");
    scene.rig.config.gate.as_mut().unwrap().required = false;
    scene.turnstile.trouble(Trouble { deaf: true, ..Trouble::default() });
    let daemon = scene.start().await;
    assert!(scene.rig.tap(&issued(1, 900)).await.is_granted());
    until(|| head(&daemon) == 2).await;
    assert_eq!(daemon.metrics().gate_words.with_label_values(&["unseen"]).get(), 1);
    daemon.stop().await;
}

#[tokio::test]
async fn noise_and_split_frames_on_the_line_change_nothing_for_riders() {
    let mut scene = Scene::new("charge");
    scene.turnstile.trouble(Trouble { noise: true, split: true, ..Trouble::default() });
    let daemon = scene.start().await;
    for n in 1..=3 {
        scene.walk_in(&issued(n, 900)).await;
        until(|| head(&daemon) == 2 * u64::from(n)).await;
    }
    assert_eq!(daemon.metrics().gate_words.with_label_values(&["passed"]).get(), 3);
    daemon.stop().await;
}

#[tokio::test]
async fn who_turned_back_is_let_in_again_after_a_restart_too() {
    let mut scene = Scene::new("let-in-again");
    let daemon = scene.start().await;
    let card = issued(1, 900);
    assert!(scene.rig.tap(&card).await.is_granted());
    until(|| head(&daemon) == 2).await;
    daemon.kill().await;
    let daemon = scene.start().await;
    assert!(daemon.recovery().turned_back);
    scene.walk_in(&card).await;
    until(|| head(&daemon) == 3).await;
    daemon.kill().await;
    // Who has passed is not.
    let daemon = scene.start().await;
    assert!(daemon.recovery().unshown.is_none());
    daemon.stop().await;
}
