//! Watches for the moment of a switch, and whether a release on trial does its work.

use std::{sync::Arc, time::Duration};

use model::Timestamp;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use wire::{DesiredWord, Health, ReleaseState};

use super::{Look, Releases};
use crate::{clock::Clock, lists::ListsStatus, metrics::Metrics, tap_loop::Service};

/// How often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A rider who tapped this recently may still stand there, or walk through a gate.
const QUIET: Duration = Duration::from_secs(10);

/// What is watched.
pub(crate) struct Watcher {
    pub(crate) releases: Arc<Releases>,
    /// The release that this program was started as.
    pub(crate) running: String,
    pub(crate) health: watch::Receiver<Option<Health>>,
    pub(crate) service: watch::Receiver<Service>,
    pub(crate) lists: watch::Receiver<ListsStatus>,
    pub(crate) metrics: Metrics,
    pub(crate) clock: Clock,
    pub(crate) told: Watched,
}

/// Where it is told.
pub(crate) struct Watched {
    /// For the depot.
    pub(crate) state: watch::Sender<Option<ReleaseState>>,
    /// Whether this program is to end itself.
    pub(crate) leave: watch::Sender<bool>,
}

impl Watcher {
    /// Watches until this program is to end.
    pub(crate) async fn run(self) {
        let began = self.clock.elapsed();
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let look = self.look(began);
            let releases = Arc::clone(&self.releases);
            // It writes to the disk.
            let leave = tokio::task::spawn_blocking(move || releases.look(look)).await;
            let state = self.releases.state(&self.running);
            self.told.state.send_if_modified(|known| {
                let changed = known.as_ref() != Some(&state);
                *known = Some(state);
                changed
            });
            match leave {
                Ok(false) => {}
                Ok(true) => {
                    // Whoever runs this program may be stopping it already.
                    let _ = self.told.leave.send(true);
                    return;
                }
                // It panicked and has said so, or the runtime is going down.
                Err(_) => return,
            }
        }
    }

    fn look(&self, began: Duration) -> Look {
        let now = self.clock.now();
        let lists = self.lists.borrow();
        let ordered_out =
            lists.desired.is_some_and(|desired| desired.word == DesiredWord::OutOfService);
        let tested = |health: &Health| health.self_tested.is_some_and(|at| at >= health.started);
        let since = |last: Timestamp| now.since(last) >= QUIET || last > now;
        Look {
            quiet: self.metrics.last_read().is_none_or(since),
            serves: ordered_out || matches!(*self.service.borrow(), Service::In),
            tested: self.health.borrow().as_ref().is_some_and(tested),
            heard: lists.heard,
            running: self.clock.elapsed().saturating_sub(began),
        }
    }
}
