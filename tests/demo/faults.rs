//! What goes wrong with `--faults`: cut links, a broker that is gone for a while, validators that
//! lose power, and one that loses its log with taps in it that nobody else has.

use std::time::Duration;

use tokio::{sync::mpsc, time::sleep};

use super::{
    broker::Wire,
    post::{Job, id},
};
use crate::sim::dice::Dice;

/// Between two faults.
const PAUSE: Duration = Duration::from_secs(3);
/// How long the log that will be lost gathers taps.
const GATHER: Duration = Duration::from_secs(6);

/// Lets things go wrong until its task is ended.
pub async fn run<T>(wire: Wire, posts: Vec<mpsc::WeakUnboundedSender<Job<T>>>, mut dice: Dice) {
    sleep(PAUSE).await;
    lose_a_log(&wire, &posts, &mut dice).await;
    loop {
        sleep(PAUSE).await;
        let post = dice.index(posts.len());
        let name = id(post).to_string();
        match dice.below(5) {
            0 => {
                tracing::info!("fault: the broker is gone for two seconds");
                wire.cut_all(true);
                sleep(Duration::from_secs(2)).await;
                wire.cut_all(false);
            }
            1 | 2 => {
                tracing::info!(validator = name, "fault: link cut for four seconds");
                wire.cut(&name, true);
                sleep(Duration::from_secs(4)).await;
                wire.cut(&name, false);
            }
            _ => {
                tracing::info!(validator = name, "fault: power cut");
                crash(&posts, post, false);
            }
        }
    }
}

async fn lose_a_log<T>(
    wire: &Wire,
    posts: &[mpsc::WeakUnboundedSender<Job<T>>],
    dice: &mut Dice,
) {
    let post = dice.index(posts.len());
    let name = id(post).to_string();
    tracing::info!(validator = name, "fault: a log is lost with taps that the depot does not have");
    wire.cut(&name, true);
    sleep(GATHER).await;
    crash(posts, post, true);
    sleep(Duration::from_secs(1)).await;
    wire.cut(&name, false);
}

fn crash<T>(posts: &[mpsc::WeakUnboundedSender<Job<T>>], post: usize, wipe: bool) {
    if let Some(post) = posts.get(post).and_then(mpsc::WeakUnboundedSender::upgrade) {
        // A post that has ended has no power to lose.
        let _ = post.send(Job::Crash { wipe, dark: Duration::from_secs(1) });
    }
}
