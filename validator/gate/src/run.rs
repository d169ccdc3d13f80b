//! The gate's loop: what the validator asks, what the gate says, and the time that rights have.

use std::{collections::VecDeque, time::Duration};

use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{Instant, sleep_until},
};

use crate::{
    Authorize, GateConfig, GateError, GateEvent, driver::Driver, passages::Output,
    passages::Passages,
};

/// A gate with nothing to do is spoken to this often: a cut wire says nothing by itself.
const STILL_THERE: Duration = Duration::from_secs(10);
/// After the gate gave an error that no line explains.
const AGAIN: Duration = Duration::from_secs(1);

/// What the gate tells.
#[derive(Debug)]
pub enum Told {
    /// It answers.
    Ready,
    /// What happened.
    Event(GateEvent),
    /// It does not answer, and why; told once for each time that it was lost.
    Lost(GateError),
}

/// A gate that comes and goes.
pub struct Gate {
    driver: Driver,
    passages: Passages,
    started: Instant,
    /// What is to be told.
    told: VecDeque<Told>,
}

impl Gate {
    /// Not opened yet.
    pub fn new(config: &GateConfig) -> Self {
        Self {
            driver: Driver::new(config),
            passages: Passages::new(config.way, config.other_way_free),
            started: Instant::now(),
            told: VecDeque::new(),
        }
    }

    /// Looks whether the gate is there, answers, and is shut.
    pub async fn probe(config: &GateConfig) -> Result<(), GateError> {
        Driver::new(config).ready().await
    }

    /// Runs until nobody asks any more. `tell` says whether anybody listens.
    pub async fn run(
        mut self,
        mut asked: UnboundedReceiver<Authorize>,
        mut tell: impl FnMut(Told) -> bool,
    ) {
        let mut said: Option<String> = None;
        loop {
            let ready = loop {
                tokio::select! {
                    ready = self.driver.ready() => break ready,
                    right = asked.recv() => match right {
                        // Whether anybody passes a gate that says nothing, nobody sees.
                        Some(right) => {
                            let unseen = GateEvent::Unseen(right.token);
                            if !tell(Told::Event(unseen)) {
                                return;
                            }
                        }
                        None => return,
                    },
                }
            };
            let ended = match ready {
                Ok(()) => {
                    said = None;
                    if !tell(Told::Ready) {
                        return;
                    }
                    match self.serve(&mut asked, &mut tell).await {
                        Ok(()) => return,
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            self.passages.handle_lost();
            self.driver.lose();
            while let Some(output) = self.passages.poll() {
                if let Output::Tell(event) = output {
                    self.told.push_back(Told::Event(event));
                }
            }
            let text = ended.to_string();
            let pause = matches!(ended, GateError::Refused { .. });
            // It is tried again every few seconds, perhaps for days.
            if said.as_ref() != Some(&text) {
                said = Some(text);
                self.told.push_back(Told::Lost(ended));
            }
            if self.told.drain(..).any(|told| !tell(told)) {
                return;
            }
            if pause {
                sleep_until(Instant::now() + AGAIN).await;
            }
        }
    }

    /// Until the gate fails, or nobody asks any more.
    async fn serve(
        &mut self,
        asked: &mut UnboundedReceiver<Authorize>,
        tell: &mut impl FnMut(Told) -> bool,
    ) -> Result<(), GateError> {
        let mut spoke = Instant::now();
        loop {
            while let Some(signal) = self.driver.signal() {
                self.passages.handle_signal(self.now(), signal);
            }
            self.passages.handle_timeout(self.now());
            if let Some(output) = self.passages.poll() {
                match output {
                    Output::Open(way) => {
                        self.driver.open(way).await?;
                        spoke = Instant::now();
                        self.passages.handle_opened(self.now());
                    }
                    Output::Shut => {
                        self.shut().await?;
                        spoke = Instant::now();
                    }
                    Output::Tell(event) => {
                        if !tell(Told::Event(event)) {
                            return Ok(());
                        }
                    }
                }
                continue;
            }
            let still_there = spoke + STILL_THERE;
            let wake = self.passages.wake_at().map_or(still_there, |at| self.started + at);
            tokio::select! {
                right = asked.recv() => match right {
                    Some(right) => self.passages.handle_authorize(right),
                    None => {
                        // Nobody passes a gate without its validator.
                        return self.driver.shut().await;
                    }
                },
                waited = self.driver.wait() => {
                    waited?;
                    self.driver.look().await?;
                }
                () = sleep_until(wake) => {
                    if Instant::now() >= still_there {
                        spoke = Instant::now();
                        // Never while somebody may pass: in an emergency it stays as it is.
                        if self.passages.is_idle() {
                            self.shut().await?;
                        }
                    }
                }
            }
        }
    }

    /// Whoever passed before it was shut is heard first.
    async fn shut(&mut self) -> Result<(), GateError> {
        self.driver.shut().await?;
        while let Some(signal) = self.driver.signal() {
            self.passages.handle_signal(self.now(), signal);
        }
        self.passages.handle_shut();
        Ok(())
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}
