//! No gate at all: whoever may pass walks through.

use std::{collections::VecDeque, time::Duration};

use tokio::time::{Instant, sleep_until};

use crate::{GateError, Signal, Way};

/// A rider's two steps.
const WALK: Duration = Duration::from_millis(700);

pub(crate) struct SimulatedGate {
    way: Way,
    walking: Option<Instant>,
    pub(super) signals: VecDeque<Signal>,
}

impl SimulatedGate {
    pub(super) const fn new(way: Way) -> Self {
        Self { way, walking: None, signals: VecDeque::new() }
    }

    #[expect(clippy::unused_async, reason = "other gates wait here")]
    pub(super) async fn ready(&mut self) -> Result<(), GateError> {
        Ok(())
    }

    #[expect(clippy::unused_async, reason = "other gates wait here")]
    pub(super) async fn open(&mut self, _way: Way) -> Result<(), GateError> {
        self.walking = Some(Instant::now() + WALK);
        Ok(())
    }

    #[expect(clippy::unused_async, reason = "other gates wait here")]
    pub(super) async fn shut(&mut self) -> Result<(), GateError> {
        self.walking = None;
        Ok(())
    }

    pub(super) async fn wait(&mut self) -> Result<(), GateError> {
        let Some(at) = self.walking else { return std::future::pending().await };
        sleep_until(at).await;
        self.walking = None;
        self.signals.push_back(Signal::Completed(self.way));
        Ok(())
    }
}
