//! Software of validators through the real parts: signed offline, given to a canary, then to all,
//! given up where it does not confirm itself, refused where the agency did not sign it (ADR-0028).
//!
//! A release here is a script that becomes the validator under test: another program with another
//! version, fetched, checked, tried out, switched to and confirmed like any.

use std::{fs, path::PathBuf, time::Duration};

use serde_json::Value;
use tokio::{task::block_in_place, time::sleep};
use wire::{ReleaseStage, ReleaseState};

use crate::{
    broker::now,
    processes::{DEPOT, PATIENCE, POSTS, VALIDATOR, Yard, said},
};

const WHO: [&str; 4] = ["--by", "ana", "--reason", "Tuesday's release"];

struct Fleet {
    yard: Yard,
}

impl Fleet {
    /// Two validators that systemd starts, and whose software the holder of a key signs.
    fn open() -> Self {
        let mut fleet = Self { yard: Yard::install(&POSTS[..2], 2) };
        let public = fleet.keygen("agency.key");
        fleet.keygen("thief.key");
        for gate in &mut fleet.yard.gates {
            let config = gate.state().with_extension("toml");
            let text = fs::read_to_string(&config).unwrap();
            fs::write(&config, format!("{text}[release]\nkey = \"{}\"\n", public.trim())).unwrap();
            gate.process.begin_with("start");
        }
        fleet.yard.start();
        fleet
    }

    fn path(&self, name: &str) -> PathBuf {
        self.yard.folder().join(name)
    }

    fn keygen(&self, name: &str) -> String {
        let path = self.path(name);
        let command = ["release", "keygen", path.to_str().unwrap()];
        said(&std::process::Command::new(DEPOT).args(command).output().unwrap())
    }

    fn release(&self, command: &str, more: &[&str]) -> String {
        said(&self.yard.depot_server(&["release", command], more))
    }

    /// Signs a script as a release and puts it into the books.
    fn add(&self, version: &str, script: &str, key: &str) {
        let [program, signed] = ["program", "signed"].map(|n| self.path(&format!("{version}.{n}")));
        fs::write(&program, script).unwrap();
        let (program, signed) = (program.to_str().unwrap(), signed.to_str().unwrap());
        let key = self.path(key);
        let target = validator::releases::target();
        let rest = ["--version", version, "--target", &target, "--program", program];
        let command = ["release", "sign", "--out", signed, "--key", key.to_str().unwrap()];
        let command = [&command[..], &rest].concat();
        said(&std::process::Command::new(DEPOT).args(command).output().unwrap());
        self.release("add", &[signed, "--by", "ana"]);
    }

    /// Starts what has ended, as systemd does.
    fn tend(&mut self) {
        for gate in &mut self.yard.gates {
            if gate.process.has_ended() {
                gate.process.start();
            }
        }
    }

    fn plan(&self, number: u64) -> Value {
        let plans: Value = serde_json::from_str(&self.release("status", &["--json"])).unwrap();
        let plans = plans.as_array().unwrap().clone();
        plans.into_iter().find(|plan| plan["plan"] == number).unwrap()
    }

    /// Waits until a plan has come so far.
    async fn until(&mut self, number: u64, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let deadline = now() + 4 * PATIENCE;
        loop {
            self.tend();
            let plan = block_in_place(|| self.plan(number));
            if is(&plan) {
                return plan;
            }
            if now() >= deadline {
                let logs: Vec<_> =
                    self.yard.gates.iter().map(|gate| gate.process.logged()).collect();
                panic!("{what}: {plan}\n{}", logs.concat());
            }
            sleep(Duration::from_millis(300)).await;
        }
    }

    /// What the depot last heard of a validator's software.
    fn heard(&self, id: u32) -> Option<ReleaseState> {
        let books = rusqlite::Connection::open(self.yard.database()).unwrap();
        let sql = "SELECT state FROM validators WHERE id = ?1";
        let payload: Option<Vec<u8>> = books.query_row(sql, [id], |row| row.get(0)).unwrap();
        let payload = payload?;
        let envelope = wire::Envelope::decode(wire::Message::State, &payload).unwrap();
        wire::ValidatorState::decode(envelope.body).unwrap().steered.release
    }

    async fn hears(&mut self, id: u32, what: &str, is: impl Fn(&ReleaseState) -> bool) {
        let deadline = now() + 2 * PATIENCE;
        loop {
            self.tend();
            let heard = self.heard(id);
            if heard.as_ref().is_some_and(&is) {
                return;
            }
            assert!(now() < deadline, "{what}: {heard:?}");
            sleep(Duration::from_millis(200)).await;
        }
    }
}

/// A release that does what the validator under test does.
fn good() -> String {
    format!("#!/bin/sh\nexec '{VALIDATOR}' \"$@\"\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_goes_to_a_canary_then_to_all_and_one_that_is_bad_or_forged_halts_by_itself() {
    let mut fleet = block_in_place(Fleet::open);
    let (cards, mut bus) = (fleet.yard.cards.clone(), fleet.yard.gates[0].take_reader());

    // A canary first; the other one is not chosen and fetches nothing.
    fleet.add("1.1.0", &good(), "agency.key");
    fleet.release("plan", &[&["1.1.0", "--canary", "v000001"], &WHO[..]].concat());
    fleet.until(1, "the canary confirms itself", |plan| plan["applied"] == 1).await;
    fleet.hears(1, "runs it", |said| said.running == "1.1.0").await;
    fleet.hears(2, "is not chosen", |said| said.stage == ReleaseStage::Idle).await;
    let there = |fleet: &Fleet, n: usize, version: &str| {
        fleet.yard.gates[n].state().join("releases").join(version).exists()
    };
    assert!(there(&fleet, 0, "1.1.0") && !there(&fleet, 1, "1.1.0"));
    assert!(bus.tap(cards[0].clone()).await.contains("accepted"), "the release takes taps");

    // Then all. A restart changes nothing of what runs.
    fleet.release("widen", &[&["1", "--percent", "100"], &WHO[..]].concat());
    fleet.until(1, "all have it", |plan| plan["applied"] == 2).await;
    block_in_place(|| {
        fleet.yard.gates[1].process.kill();
        fleet.yard.gates[1].process.start();
    });
    fleet.hears(2, "still runs it", |said| said.running == "1.1.0").await;

    // One that ends at once is given up after three starts, and the roll-out halts by itself.
    let bad = "#!/bin/sh\n[ \"$1\" = version ] && exit 0\nexit 1\n";
    fleet.add("1.2.0", bad, "agency.key");
    fleet.release("plan", &[&["1.2.0", "--canary", "v000001"], &WHO[..]].concat());
    let plan = fleet.until(2, "the depot halts it", |plan| plan["phase"] == "halted").await;
    assert_eq!((&plan["failed"], &plan["halted"]["by"]), (&1.into(), &"rule".into()), "{plan}");
    assert!(plan["bad"][0]["why"].as_str().unwrap().contains("3 times"), "{plan}");
    fleet
        .hears(1, "runs what ran before", |said| {
            said.running == "1.1.0" && said.stage == ReleaseStage::Failed
        })
        .await;
    assert!(bus.tap(cards[1].clone()).await.contains("accepted"), "and takes taps");
    // While it is halted, whoever is chosen waits.
    fleet.release("widen", &[&["2", "--percent", "100"], &WHO[..]].concat());
    fleet
        .hears(2, "waits", |said| {
            (said.plan, said.stage) == (2, ReleaseStage::Pending) && said.running == "1.1.0"
        })
        .await;
    assert!(!there(&fleet, 1, "1.2.0"), "nothing is fetched for it");
    fleet.release("end", &[&["2"], &WHO[..]].concat());

    // Whoever holds the depot cannot give out what the agency did not sign.
    fleet.add("1.3.0", &good(), "thief.key");
    fleet.release("plan", &[&["1.3.0", "--percent", "100"], &WHO[..]].concat());
    let plan = fleet.until(3, "both refuse it", |plan| plan["refused"] == 2).await;
    assert!(plan["bad"][0]["why"].as_str().unwrap().contains("release key"), "{plan}");
    fleet.until(3, "the depot halts it", |plan| plan["phase"] == "halted").await;
    assert!(!there(&fleet, 0, "1.3.0") && !there(&fleet, 1, "1.3.0"));

    fleet.yard.drained().await;
    block_in_place(|| fleet.yard.close());
}
