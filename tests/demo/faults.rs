//! What goes wrong with `--faults`: cut links, a broker that is gone for a while, validators that
//! lose power, and one that loses its log with taps in it that nobody else has.

use std::time::Duration;

use model::TapRole;
use tokio::{sync::mpsc, time::sleep};

use super::{
    broker::Wire,
    day::Purpose,
    lines,
    post::{Job, Tap, id},
    riders::SharedCard,
};
use crate::sim::dice::Dice;

/// Between two faults.
const PAUSE: Duration = Duration::from_secs(3);
/// How long the log that will be lost gathers taps.
const GATHER: Duration = Duration::from_secs(6);

/// The city that things go wrong in.
pub struct Victim {
    /// The wire to the broker.
    pub wire: Wire,
    /// The validators. Weak, so that they end when the day does.
    pub posts: Vec<mpsc::WeakUnboundedSender<Job<Purpose>>>,
    /// What they do.
    pub lines: Vec<lines::Post>,
    /// A card that no rider has.
    pub card: SharedCard,
    /// Longer than the same card is refused at the same place.
    pub pass_back: Duration,
    /// Chooses.
    pub dice: Dice,
}

impl Victim {
    /// Lets things go wrong until its task is ended.
    pub async fn suffer(mut self) {
        sleep(PAUSE).await;
        self.lose_a_log().await;
        loop {
            sleep(PAUSE).await;
            let post = self.dice.index(self.posts.len());
            let name = id(post).to_string();
            match self.dice.below(5) {
                0 => {
                    tracing::info!("fault: the broker is gone for two seconds");
                    self.wire.cut_all(true);
                    sleep(Duration::from_secs(2)).await;
                    self.wire.cut_all(false);
                }
                1 | 2 => {
                    tracing::info!(validator = name, "fault: link cut for four seconds");
                    self.wire.cut(&name, true);
                    sleep(Duration::from_secs(4)).await;
                    self.wire.cut(&name, false);
                }
                _ => {
                    tracing::info!(validator = name, "fault: power cut");
                    self.crash(post, false);
                }
            }
        }
    }

    /// A validator is cut off, takes taps, and loses its log. One card taps there twice and then
    /// elsewhere: of the two lost taps, the second is recovered from the card, the first stays a
    /// gap in suspense.
    async fn lose_a_log(&mut self) {
        let begins = |post: &usize| self.lines[*post].role != TapRole::Exit;
        let able: Vec<usize> = (0..self.posts.len()).filter(begins).collect();
        let post = able[self.dice.index(able.len())];
        let other = able.iter().copied().find(|able| *able != post).unwrap_or(post);
        let name = id(post).to_string();
        tracing::info!(validator = name, "fault: a log is lost with taps nobody else has");
        self.wire.cut(&name, true);
        for _ in 0..2 {
            self.tap(post);
            sleep(self.pass_back).await;
        }
        sleep(GATHER).await;
        self.crash(post, true);
        self.tap(other);
        sleep(Duration::from_secs(1)).await;
        self.wire.cut(&name, false);
    }

    fn tap(&self, post: usize) {
        let card = self.card.clone();
        self.ask(post, Job::Tap(Tap { post, card, cut: None, purpose: Purpose::Shown }));
    }

    fn crash(&self, post: usize, wipe: bool) {
        self.ask(post, Job::Crash { wipe, dark: Duration::from_secs(1) });
    }

    fn ask(&self, post: usize, job: Job<Purpose>) {
        if let Some(post) = self.posts.get(post).and_then(mpsc::WeakUnboundedSender::upgrade) {
            // A post that has ended hears nothing.
            let _ = post.send(job);
        }
    }
}
