//! The whole gate over pseudo-terminals.

mod modbus;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::timeout,
};

use crate::{
    Authorize, Gate, GateConfig, GateEvent, GateKind, Token, Told, Trouble, Turnstile, Way,
};

/// Far longer than anything here takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(20);

/// A gate and what it told.
pub(crate) struct Rig {
    ask: UnboundedSender<Authorize>,
    told: UnboundedReceiver<Told>,
}

impl Rig {
    pub(crate) fn start(config: &GateConfig) -> Self {
        let (ask, asked) = unbounded_channel();
        let (tell, told) = unbounded_channel();
        tokio::spawn(Gate::new(config).run(asked, move |told| tell.send(told).is_ok()));
        Self { ask, told }
    }

    pub(crate) fn authorize(&self, token: u64, millis: u64) {
        let right = Authorize { token: Token(token), timeout: Duration::from_millis(millis) };
        self.ask.send(right).unwrap();
    }

    pub(crate) async fn told(&mut self) -> Told {
        timeout(PATIENCE, self.told.recv()).await.expect("the gate tells in time").unwrap()
    }

    pub(crate) async fn ready(&mut self) {
        let told = self.told().await;
        assert!(matches!(told, Told::Ready), "{told:?}");
    }

    pub(crate) async fn event(&mut self) -> GateEvent {
        match self.told().await {
            Told::Event(event) => event,
            other @ (Told::Ready | Told::Lost(_)) => panic!("{other:?}"),
        }
    }

    async fn lost(&mut self) -> String {
        match self.told().await {
            Told::Lost(error) => error.to_string(),
            other @ (Told::Ready | Told::Event(_)) => panic!("{other:?}"),
        }
    }
}

fn frames(port: &Path) -> GateConfig {
    GateConfig { port: Some(port.to_path_buf()), ..GateConfig::of(GateKind::Frames) }
}

struct Scene {
    _folder: tempfile::TempDir,
    port: PathBuf,
    turnstile: Turnstile,
    rig: Rig,
}

async fn scene() -> Scene {
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("gate");
    let turnstile = Turnstile::plug(&port).unwrap();
    let mut rig = Rig::start(&frames(&port));
    rig.ready().await;
    Scene { _folder: folder, port, turnstile, rig }
}

async fn until_open(turnstile: &Turnstile) {
    let open = async {
        while turnstile.is_open().is_none() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, open).await.expect("the gate opens");
}

#[tokio::test]
async fn a_rider_passes_and_another_does_not() {
    let mut scene = scene().await;
    scene.rig.authorize(1, 5_000);
    until_open(&scene.turnstile).await;
    assert!(!scene.turnstile.walk(Way::B), "the other way stays shut");
    assert!(scene.turnstile.walk(Way::A));
    assert_eq!(scene.rig.event().await, GateEvent::Passed(Token(1)));
    scene.rig.authorize(2, 100);
    assert_eq!(scene.rig.event().await, GateEvent::TimedOut(Token(2)));
    assert_eq!(scene.turnstile.is_open(), None, "timed out is said of a gate that is shut");
    assert!(!scene.turnstile.walk(Way::A));
    scene.turnstile.push_through(Way::A);
    let event = scene.rig.event().await;
    assert!(matches!(event, GateEvent::Tailgate | GateEvent::Forced), "{event:?}");
    assert_eq!(scene.turnstile.times_opened(), 2);
}

#[tokio::test]
async fn noise_splits_and_lost_answers_change_nothing_of_what_is_told() {
    let mut scene = scene().await;
    for (token, trouble) in [
        Trouble { noise: true, ..Trouble::default() },
        Trouble { split: true, ..Trouble::default() },
        Trouble { lose: 2, ..Trouble::default() },
        Trouble { noise: true, split: true, lose: 1, ..Trouble::default() },
    ]
    .into_iter()
    .enumerate()
    {
        let token = token as u64;
        scene.turnstile.trouble(trouble);
        scene.rig.authorize(token, 5_000);
        until_open(&scene.turnstile).await;
        // What loses bytes lost the answer; the passage itself is told whole.
        tokio::time::sleep(Duration::from_secs(1)).await;
        scene.turnstile.trouble(Trouble { lose: 0, ..trouble });
        assert!(scene.turnstile.walk(Way::A));
        assert_eq!(scene.rig.event().await, GateEvent::Passed(Token(token)), "{trouble:?}");
    }
    scene.turnstile.trouble(Trouble { noise: true, split: true, ..Trouble::default() });
    scene.rig.authorize(9, 100);
    assert_eq!(scene.rig.event().await, GateEvent::TimedOut(Token(9)));
}

#[tokio::test]
async fn a_passage_whose_frame_is_lost_is_not_told_as_one() {
    let mut scene = scene().await;
    scene.rig.authorize(1, 800);
    until_open(&scene.turnstile).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    scene.turnstile.trouble(Trouble { lose: 1, ..Trouble::default() });
    assert!(scene.turnstile.walk(Way::A));
    assert_eq!(scene.rig.event().await, GateEvent::TimedOut(Token(1)));
}

#[tokio::test]
async fn an_unplugged_gate_is_lost_once_and_serves_again_when_it_is_back() {
    let mut scene = scene().await;
    scene.rig.authorize(1, 60_000);
    scene.rig.authorize(2, 60_000);
    until_open(&scene.turnstile).await;
    scene.turnstile.unplug().await;
    assert_eq!(scene.rig.event().await, GateEvent::Unseen(Token(1)), "nobody knows");
    assert_eq!(scene.rig.event().await, GateEvent::TimedOut(Token(2)), "never opened for");
    let error = scene.rig.lost().await;
    assert!(error.contains(&scene.port.display().to_string()), "{error}");
    scene.rig.authorize(3, 60_000);
    assert_eq!(scene.rig.event().await, GateEvent::Unseen(Token(3)));
    scene.turnstile.plug_again().unwrap();
    scene.rig.ready().await;
    assert_eq!(scene.turnstile.is_open(), None, "it is shut before it serves again");
    scene.rig.authorize(4, 5_000);
    until_open(&scene.turnstile).await;
    assert!(scene.turnstile.walk(Way::A));
    assert_eq!(scene.rig.event().await, GateEvent::Passed(Token(4)));
}

#[tokio::test]
async fn a_gate_that_does_not_answer_is_out_of_order_and_named() {
    let mut scene = scene().await;
    scene.turnstile.trouble(Trouble { deaf: true, ..Trouble::default() });
    scene.rig.authorize(1, 5_000);
    assert_eq!(scene.rig.event().await, GateEvent::Unseen(Token(1)));
    let error = scene.rig.lost().await;
    assert!(error.contains("does not answer"), "{error}");
    scene.turnstile.trouble(Trouble::default());
    scene.rig.ready().await;
}
