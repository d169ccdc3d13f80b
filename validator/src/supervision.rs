//! systemd hears when the validator is ready, what it does, and that it lives.
//!
//! The watchdog is fed by work, not by a timer: each time the tap loop and the thread of the tap
//! log have to answer. When one of them hangs, systemd ends the process and starts it again, which
//! recovers as after a power cut. Without systemd nothing of this is said.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::{daemon::Daemon, tap_loop::Service};

/// Says that it is ready, follows its service, and feeds the watchdog. Never returns.
pub(crate) async fn supervise(daemon: &Daemon) {
    say(&[NotifyState::Ready]);
    let mut service = daemon.service();
    let watchdog = sd_notify::watchdog_enabled();
    // Three times in the time that systemd waits: one late answer is no hang.
    let mut beat = interval(watchdog.unwrap_or(Duration::from_secs(3600)) / 3);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    service.mark_changed();
    loop {
        tokio::select! {
            Ok(()) = service.changed() => {
                let status = match &*service.borrow_and_update() {
                    Service::In => "in service".to_string(),
                    Service::Out(why) => format!("out of service: {why}"),
                };
                say(&[NotifyState::Status(&status)]);
            }
            _ = beat.tick() => {
                let Some(watchdog) = watchdog else { continue };
                if timeout(watchdog / 3, daemon.pulse()).await.is_ok() {
                    say(&[NotifyState::Watchdog]);
                } else {
                    tracing::error!("the tap loop or the tap log does not answer");
                }
            }
        }
    }
}

/// Says that it stops.
pub(crate) fn stopping() {
    say(&[NotifyState::Stopping]);
}

fn say(state: &[NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(state) {
        tracing::warn!(error = %e, "systemd cannot be told");
    }
}
