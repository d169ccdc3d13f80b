//! The validator's end: what to send next, and what the depot holds.
//!
//! Invariants: every entry above the acked mark is offered again until it is acked; the acked mark
//! is only what the depot said; at most `window` batches are unacked; nothing is sent again before
//! its time but on a gap the depot names or a session the broker lost.
//!
//! Each life of the log has its own lane, so that the rest of an old life never waits for the
//! present one, nor the other way round. When idle, a tap goes out at once, alone; when behind,
//! batches double with every ack. After a timeout one batch at a time goes out, until an ack comes.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use model::{Epoch, TapSeq, Timestamp};
use wire::Ack;

/// How the uplink behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UplinkConfig {
    /// Unacked batches at most.
    pub window: u8,
    /// Entries of a batch when an outage ends; doubles with every ack.
    pub batch_first: u16,
    /// Entries of a batch at most.
    pub batch_max: u16,
    /// How long an ack may take; doubles with every timeout.
    pub ack_timeout: Duration,
    /// How long it may take at most.
    pub ack_timeout_max: Duration,
}

impl Default for UplinkConfig {
    fn default() -> Self {
        Self {
            window: 4,
            batch_first: 50,
            batch_max: 500,
            ack_timeout: Duration::from_secs(5),
            ack_timeout_max: Duration::from_secs(60),
        }
    }
}

/// What the log holds of one life, at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lane {
    /// Which life.
    pub epoch: Epoch,
    /// Entries up to here are gone.
    pub pruned_through: TapSeq,
    /// Entries up to here are committed at the depot.
    pub acked: TapSeq,
    /// When the depot said so, by its clock; it tells a late ack from a depot that lost its books.
    pub acked_at: Timestamp,
    /// The last entry.
    pub head: TapSeq,
}

/// What the shell must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Read entries from `from`, at most `limit`; sign and publish them as one batch; then call
    /// [`Uplink::handle_sent`].
    SendBatch {
        /// Which life.
        epoch: Epoch,
        /// The first entry.
        from: TapSeq,
        /// Entries at most.
        limit: u16,
    },
    /// The depot holds everything through here: tell the log, which may prune.
    Acked {
        /// Which life.
        epoch: Epoch,
        /// The depot's mark. Lower than before when the depot lost its books.
        through: TapSeq,
        /// The depot's clock when it said so.
        depot_time: Timestamp,
    },
}

/// Whether the broker is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Connected; `session_present` is what the broker said.
    Up {
        /// Whether the broker kept the session, and with it what was in flight.
        session_present: bool,
    },
    /// Not connected.
    Down,
}

/// What the depot says cannot be. The uplink stays usable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The depot has entries that this log has not: the log was rolled back, its numbers are used.
    /// Begin a new life.
    #[error("depot has committed epoch {epoch} through {acked}, the log ends at {head}")]
    AckAheadOfHead {
        /// Which life.
        epoch: Epoch,
        /// What the depot says.
        acked: TapSeq,
        /// Where the log ends.
        head: TapSeq,
    },
    /// The depot asks again for entries that were acked and are pruned.
    #[error("depot lost epoch {epoch} after {acked}; entries through {pruned_through} are gone")]
    AlreadyPruned {
        /// Which life.
        epoch: Epoch,
        /// What the depot still has.
        acked: TapSeq,
        /// What is gone here.
        pruned_through: TapSeq,
    },
}

#[derive(Debug, Clone)]
struct LaneState {
    span: Lane,
    /// The last entry handed out; at least `acked` and `pruned_through`.
    sent: TapSeq,
    /// The last entry of each unacked batch, oldest first.
    in_flight: VecDeque<TapSeq>,
    batch_limit: u16,
    /// How long the next ack may take.
    patience: Duration,
    /// When the oldest unacked batch is given up.
    deadline: Option<Timestamp>,
    /// No ack since the last timeout: one batch at a time.
    probing: bool,
    /// The acked mark for which a gap was last answered; a timeout re-arms.
    gap_answered: Option<TapSeq>,
    /// An entry could not be read back; nothing can be sent past it.
    blocked: bool,
}

/// The validator's end.
#[derive(Debug, Clone)]
pub struct Uplink {
    config: UplinkConfig,
    /// The present life is the last.
    lanes: Vec<LaneState>,
    linked: bool,
    host_online: bool,
    jitter: Duration,
    outbox: VecDeque<Output>,
}

impl Uplink {
    /// Rebuilt from the log: all kept lives, the present one last. Not linked.
    pub fn resume(config: UplinkConfig, lanes: impl IntoIterator<Item = Lane>) -> Self {
        Self {
            config,
            lanes: lanes.into_iter().map(|lane| LaneState::new(lane, &config)).collect(),
            linked: false,
            host_online: true,
            jitter: Duration::ZERO,
            outbox: VecDeque::new(),
        }
    }

    /// The entry is durable in the log.
    pub fn handle_appended(&mut self, epoch: Epoch, seq: TapSeq) {
        if let Some(lane) = self.lane_mut(epoch) {
            lane.span.head = lane.span.head.max(seq);
        }
    }

    /// The log began a new life, which is empty.
    pub fn handle_new_life(&mut self, epoch: Epoch) {
        let zero = TapSeq(0);
        let acked_at = Timestamp(0);
        let lane = Lane { epoch, pruned_through: zero, acked: zero, acked_at, head: zero };
        self.lanes.push(LaneState::new(lane, &self.config));
    }

    /// The log removed entries.
    pub fn handle_pruned(&mut self, epoch: Epoch, through: TapSeq) {
        if let Some(lane) = self.lane_mut(epoch) {
            lane.span.pruned_through = lane.span.pruned_through.max(through);
        }
    }

    /// The batch asked for is on its way and ends with `through`.
    pub fn handle_sent(&mut self, now: Timestamp, epoch: Epoch, through: TapSeq) {
        let jitter = self.jitter;
        let Some(lane) = self.lane_mut(epoch) else { return };
        // The size limit may have cut it short.
        if let Some(last) = lane.in_flight.back_mut().filter(|last| through < **last) {
            *last = through;
            lane.sent = through;
        }
        if lane.deadline.is_none() && !lane.in_flight.is_empty() {
            lane.deadline = Some(now.plus(lane.patience).plus(jitter));
        }
    }

    /// The batch asked for could not be read back from the log: this life is stuck, and the alarm
    /// is the shell's. Recovery at the next start sorts it out.
    pub fn handle_unreadable(&mut self, epoch: Epoch) {
        if let Some(lane) = self.lane_mut(epoch) {
            lane.rewind();
            lane.blocked = true;
        }
    }

    /// The depot's word, its signature checked.
    pub fn handle_ack(&mut self, now: Timestamp, ack: &Ack) -> Result<(), ProtocolError> {
        let config = self.config;
        let present = self.lanes.last().map(|lane| lane.span.epoch);
        // A life that is gone from here has nothing left to learn.
        let Some(lane) = self.lane_mut(ack.epoch) else { return Ok(()) };
        let Lane { epoch, pruned_through, acked, acked_at, head } = lane.span;
        if ack.acked_through > head {
            let acked = ack.acked_through;
            return Err(ProtocolError::AckAheadOfHead { epoch, acked, head });
        }
        let newer = ack.depot_time > acked_at;
        let depot_time = acked_at.max(ack.depot_time);
        lane.span.acked_at = depot_time;
        let mut result = Ok(());
        if ack.acked_through > acked {
            lane.advance(now, ack.acked_through, &config);
        } else if ack.acked_through < acked && newer {
            // The depot was restored from a backup: it asks again for what it lost. A late ack,
            // which is older, says nothing.
            lane.span.acked = ack.acked_through.max(pruned_through);
            lane.rewind();
            if ack.acked_through < pruned_through {
                let acked = ack.acked_through;
                result = Err(ProtocolError::AlreadyPruned { epoch, acked, pruned_through });
            }
        }
        let through = lane.span.acked;
        let asks = ack.missing.first().is_some_and(|(first, _)| *first == through.next());
        if asks && lane.gap_answered != Some(through) {
            lane.rewind();
            lane.gap_answered = Some(through);
        }
        if through != acked {
            self.outbox.push_back(Output::Acked { epoch, through, depot_time });
            self.lanes.retain(|lane| {
                Some(lane.span.epoch) == present || lane.span.acked < lane.span.head
            });
        }
        result
    }

    /// A deadline has passed. `jitter` (drawn by the shell, below the ack timeout) is added to the
    /// deadlines from here on, so that a fleet does not retry in step.
    pub fn handle_timeout(&mut self, now: Timestamp, jitter: Duration) {
        self.jitter = jitter;
        let (first, max) = (self.config.batch_first, self.config.ack_timeout_max);
        for lane in &mut self.lanes {
            if lane.deadline.is_some_and(|deadline| deadline <= now) {
                lane.patience = lane.patience.saturating_mul(2).min(max);
                lane.batch_limit = first;
                lane.probing = true;
                lane.gap_answered = None;
                lane.rewind();
            }
        }
    }

    /// The link to the broker came or went.
    pub fn handle_link(&mut self, now: Timestamp, link: Link) {
        self.linked = matches!(link, Link::Up { .. });
        for lane in &mut self.lanes {
            lane.deadline = None;
            match link {
                // What the broker forgot, it will not deliver.
                Link::Up { session_present: false } => lane.rewind(),
                Link::Up { session_present: true } if !lane.in_flight.is_empty() => {
                    lane.deadline = Some(now.plus(lane.patience));
                }
                Link::Up { .. } | Link::Down => {}
            }
        }
    }

    /// The depot's own presence changed. While it is away one batch at a time probes, at the
    /// longest interval: a stale word must never silence a validator for good.
    pub fn handle_host(&mut self, online: bool) {
        self.host_online = online;
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        if let Some(output) = self.outbox.pop_front() {
            return Some(output);
        }
        if !self.linked {
            return None;
        }
        let (config, host_online) = (self.config, self.host_online);
        self.lanes.iter_mut().rev().find_map(|lane| lane.next_batch(&config, host_online))
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn wake_at(&self) -> Option<Timestamp> {
        self.lanes.iter().filter_map(|lane| lane.deadline).min()
    }

    /// Entries that the depot has not acked.
    pub fn backlog(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.span.head.0 - lane.span.acked.0).sum()
    }

    /// The mark of the present life.
    pub fn acked(&self) -> TapSeq {
        self.lanes.last().map_or(TapSeq(0), |lane| lane.span.acked)
    }

    fn lane_mut(&mut self, epoch: Epoch) -> Option<&mut LaneState> {
        self.lanes.iter_mut().find(|lane| lane.span.epoch == epoch)
    }
}

impl LaneState {
    fn new(mut span: Lane, config: &UplinkConfig) -> Self {
        span.acked = span.acked.max(span.pruned_through);
        Self {
            span,
            sent: span.acked,
            in_flight: VecDeque::new(),
            batch_limit: config.batch_first,
            patience: config.ack_timeout,
            deadline: None,
            probing: false,
            gap_answered: None,
            blocked: false,
        }
    }

    fn next_batch(&mut self, config: &UplinkConfig, host_online: bool) -> Option<Output> {
        let window = if self.probing || !host_online { 1 } else { usize::from(config.window) };
        let backlog = self.span.head.0.saturating_sub(self.sent.0);
        if self.blocked || backlog == 0 || self.in_flight.len() >= window {
            return None;
        }
        if !host_online {
            self.patience = config.ack_timeout_max;
        }
        let most = self.batch_limit.clamp(1, config.batch_max);
        let limit = u16::try_from(backlog).unwrap_or(most).min(most);
        let from = self.sent.next();
        self.sent = TapSeq(self.sent.0 + u64::from(limit));
        self.in_flight.push_back(self.sent);
        Some(Output::SendBatch { epoch: self.span.epoch, from, limit })
    }

    fn advance(&mut self, now: Timestamp, through: TapSeq, config: &UplinkConfig) {
        self.span.acked = through;
        self.sent = self.sent.max(through);
        while self.in_flight.front().is_some_and(|last| *last <= through) {
            self.in_flight.pop_front();
        }
        self.patience = config.ack_timeout;
        self.probing = false;
        self.batch_limit = self.batch_limit.saturating_mul(2).min(config.batch_max);
        self.deadline = (!self.in_flight.is_empty()).then(|| now.plus(self.patience));
    }

    fn rewind(&mut self) {
        self.sent = self.span.acked;
        self.in_flight.clear();
        self.deadline = None;
    }
}
