//! The one writer of the tap log: a thread that owns log, store and sequence guard.
//!
//! Requests that wait together are written together and synced once (group commit). An answer is
//! given only after the sync. After a write that failed nothing more is promised: every later
//! request is answered with the reason, and only a new start, through recovery, goes on.

mod kept;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::Duration,
};

use model::{CardTransaction, Epoch, TapDraft, TapEvent, TapSeq, Timestamp, ValidatorId};
use tap_log::{InDoubtTap, LifeSpan, LogError, RecoveryReport, Scan, StoreOp, TapLog, Tree};
use tokio::sync::{oneshot, watch};
use wire::Batch;

use crate::{
    clock::Clock,
    guard::GuardFile,
    metrics::Metrics,
    room,
    salvage::{self, Salvage},
    store::{OpenReport, Store, StoreError, StoreOptions},
};

/// Requests written together at most.
const GROUP_MAX: usize = 64;
/// Rows looked at by one pruning step.
const PRUNE_ROWS: usize = 512;
/// Rows that a batch is built from at most; wire bounds its bytes and its count as well.
const BATCH_ROWS: usize = 1000;
/// How often room is looked for when nobody asks for anything.
const ROOM_AGAIN: Duration = Duration::from_secs(5);
const CONNECTION: &str = "connection";
const PROBE: &str = "probe";
/// Connections of one start; the counter of the next start begins above all of them.
const CONNECTIONS_PER_START: u64 = 1 << 20;

/// Why a request was not done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KeeperError {
    /// The store took no write; the validator must leave service.
    #[error("the tap log cannot be written: {0}")]
    Broken(String),
    /// The log's rules refuse it. Nothing has changed.
    #[error("the tap log refuses")]
    Refused(#[from] LogError),
}

/// Why the log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The guard's file.
    #[error("cannot use the sequence guard in the state folder: check its permissions and disk")]
    Guard(#[source] std::io::Error),
    /// What the store holds must not be used.
    #[error(transparent)]
    Recovery(#[from] tap_log::RecoveryError),
    /// The thread did not start.
    #[error("cannot start the thread of the tap log")]
    Thread(#[source] std::io::Error),
}

/// Takes the answer to a request; when it is dropped unanswered, the asker hears that too.
pub struct Reply<T>(Option<Answer<T>>);

type Answer<T> = Box<dyn FnOnce(Result<T, KeeperError>) + Send>;

impl<T> Reply<T> {
    /// Calls `answer` on the keeper's thread.
    pub fn new(answer: impl FnOnce(Result<T, KeeperError>) + Send + 'static) -> Self {
        Self(Some(Box::new(answer)))
    }

    fn send(mut self, result: Result<T, KeeperError>) {
        if let Some(answer) = self.0.take() {
            answer(result);
        }
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        if let Some(answer) = self.0.take() {
            answer(Err(KeeperError::Broken("its thread has ended".into())));
        }
    }
}

/// What the keeper can be asked. Requests are done in the order of asking.
pub enum Request {
    /// A card is about to be told to commit.
    Intent {
        /// When, where, which card.
        draft: TapDraft,
        /// What is to be written.
        transaction: CardTransaction,
        /// Its number, once durable.
        reply: Reply<TapSeq>,
    },
    /// What became of an intent.
    Outcome {
        /// The intent's number.
        seq: TapSeq,
        /// Card detected to now.
        duration_ms: u16,
        /// What became of it.
        event: TapEvent,
        /// Once durable.
        reply: Reply<TapSeq>,
    },
    /// A refusal, or the decision of a tap in doubt.
    Record {
        /// When, where, which card.
        draft: TapDraft,
        /// Card detected to now.
        duration_ms: u16,
        /// What it was.
        event: TapEvent,
        /// Its number, once durable.
        reply: Reply<TapSeq>,
    },
    /// The depot committed everything through this number.
    Acked {
        /// In which life.
        epoch: Epoch,
        /// Through which number.
        through: TapSeq,
        /// By the depot's clock: an older word never undoes a newer one.
        depot_time: Timestamp,
    },
    /// Entries to send.
    Batch {
        /// Of which life.
        epoch: Epoch,
        /// The first.
        from: TapSeq,
        /// How many at most.
        limit: u16,
        /// The batch.
        reply: Reply<Batch>,
    },
    /// A durable write that says nothing, to see that the device takes one.
    Probe(Reply<TapSeq>),
    /// To be answered.
    Pulse(oneshot::Sender<()>),
    /// Forget what the depot has and is older than this.
    Prune {
        /// Entries from here on are kept.
        keep_since: Timestamp,
    },
}

/// What others may know about the log at any time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogStatus {
    /// The lives that are kept, oldest first; the last is the present one.
    pub lives: Vec<LifeSpan>,
    /// Taps whose commit is still unknown.
    pub in_doubt: usize,
    /// Why nothing is written any more.
    pub broken: Option<String>,
    /// Why there is too little room for more taps. What is under way is still written.
    pub cramped: Option<String>,
}

impl LogStatus {
    /// The present life.
    pub fn live(&self) -> LifeSpan {
        *self.lives.last().expect("a log always has its present life")
    }

    /// Entries of earlier lives that the depot has not acknowledged.
    pub fn undrained_before(&self) -> u64 {
        let past = &self.lives[..self.lives.len() - 1];
        past.iter().map(|life| life.head.0 - life.acked.0).sum()
    }
}

/// A log that was opened and recovered.
pub struct Opened {
    /// Asks the keeper.
    pub keeper: LogKeeper,
    /// What recovery found.
    pub recovery: RecoveryReport,
    /// What opening the store had to do.
    pub store: OpenReport,
    /// What was taken in from stores that were put aside.
    pub salvage: Salvage,
    /// Taps to be decided when their cards are seen again.
    pub in_doubt: Vec<InDoubtTap>,
    /// The counter of the first connection of this start.
    pub first_connection: u64,
}

/// The asking end. Cheap to clone; the keeper ends, and closes the store, when the last is gone.
#[derive(Clone)]
pub struct LogKeeper {
    requests: Sender<Request>,
    status: watch::Receiver<LogStatus>,
}

impl LogKeeper {
    /// Opens and recovers the log in `state`, and starts its keeper. Blocks.
    pub fn open(
        state: &Path,
        options: StoreOptions,
        validator: ValidatorId,
        clock: Clock,
        metrics: Metrics,
    ) -> Result<Opened, OpenError> {
        let (store, store_report) = Store::open(state, options)?;
        let (guard_file, guard) = GuardFile::open(state).map_err(OpenError::Guard)?;
        let fresh = Epoch(u32::try_from(clock.now().secs()).unwrap_or(u32::MAX));
        let mut unread = None;
        let scan = Scan {
            meta: store.scan(Tree::Meta, &[], usize::MAX)?,
            intents: store.scan(Tree::Intents, &[], usize::MAX)?,
            entries: store.rows(Tree::Entries, &mut unread),
        };
        let recovered = TapLog::recover(validator, guard, fresh, scan);
        if let Some(error) = unread {
            return Err(error.into());
        }
        let (mut log, mut recovery) = recovered?;
        guard_file.write(&recovery.guard).map_err(OpenError::Guard)?;
        store.apply(&recovery.ops)?;
        let first_connection = store.own_number(CONNECTION)? + CONNECTIONS_PER_START;
        store.set_own_number(CONNECTION, first_connection)?;
        store.sync()?;
        let salvage = salvage::take_in(state, &mut log, &store)?;
        recovery.tickets.extend(&salvage.tickets);
        let in_doubt = log.in_doubt().to_vec();
        let reserve_bytes = options.reserve_bytes;
        let (tell, status) = watch::channel(status_of(&log, None, None));
        let (requests, asked) = channel();
        let worker =
            Worker { log, store, guard_file, clock, metrics, tell, broken: None, reserve_bytes };
        worker.publish();
        thread::Builder::new()
            .name("tap-log".into())
            .spawn(move || worker.run(&asked))
            .map_err(OpenError::Thread)?;
        let keeper = Self { requests, status };
        let store = store_report;
        Ok(Opened { keeper, recovery, store, salvage, in_doubt, first_connection })
    }

    /// Asks. Never waits; the answer comes through the request's reply.
    pub fn ask(&self, request: Request) {
        // A keeper that ended drops the request, and the request's reply says so.
        let _ = self.requests.send(request);
    }

    /// A batch of entries.
    pub async fn batch(
        &self,
        epoch: Epoch,
        from: TapSeq,
        limit: u16,
    ) -> Result<Batch, KeeperError> {
        let (tell, told) = oneshot::channel();
        let reply = Reply::new(move |result| {
            let _ = tell.send(result);
        });
        self.ask(Request::Batch { epoch, from, limit, reply });
        told.await.unwrap_or_else(|_| Err(KeeperError::Broken("its thread has ended".into())))
    }

    /// Follows the log.
    pub fn status(&self) -> watch::Receiver<LogStatus> {
        self.status.clone()
    }
}

fn status_of(log: &TapLog, broken: Option<String>, cramped: Option<String>) -> LogStatus {
    LogStatus { lives: log.lives().collect(), in_doubt: log.in_doubt().len(), broken, cramped }
}

struct Worker {
    log: TapLog,
    store: Store,
    guard_file: GuardFile,
    clock: Clock,
    metrics: Metrics,
    tell: watch::Sender<LogStatus>,
    broken: Option<String>,
    /// See [`StoreOptions`].
    reserve_bytes: u64,
}

/// Answers to be given after the sync.
#[derive(Default)]
struct Group {
    ops: Vec<StoreOp>,
    needs_sync: bool,
    answers: Vec<(Reply<TapSeq>, TapSeq)>,
    batches: Vec<(Epoch, TapSeq, u16, Reply<Batch>)>,
}

impl Worker {
    fn run(mut self, asked: &Receiver<Request>) {
        loop {
            let first = match asked.recv_timeout(ROOM_AGAIN) {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => {
                    self.publish();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let group: Vec<Request> =
                std::iter::once(first).chain(asked.try_iter().take(GROUP_MAX - 1)).collect();
            // sled may panic on a device that fails under it.
            let done = catch_unwind(AssertUnwindSafe(|| self.serve(group)));
            if done.is_err() {
                self.break_down("the store panicked".into());
                self.publish();
            }
        }
    }

    /// Before any answer, so that whoever was answered finds the log as it was told.
    fn publish(&self) {
        let cramped = room::too_little(self.store.folder(), self.reserve_bytes);
        let status = status_of(&self.log, self.broken.clone(), cramped);
        let live = status.live();
        self.metrics.log_head.set(gauge(live.head.0));
        self.metrics.log_acked.set(gauge(live.acked.0));
        self.metrics.in_doubt.set(gauge(status.in_doubt as u64));
        self.tell.send_if_modified(|known| {
            let changed = *known != status;
            *known = status;
            changed
        });
    }

    fn serve(&mut self, requests: Vec<Request>) {
        if self.broken.is_none()
            && let Some(guard) = self.log.lease_due()
        {
            match self.guard_file.write(&guard) {
                Ok(()) => self.log.handle_leased(guard),
                Err(e) => self.break_down(format!("sequence guard: {e}")),
            }
        }
        let mut group = Group::default();
        for request in requests {
            match &self.broken {
                Some(reason) => refuse(request, reason),
                None => self.take(request, &mut group),
            }
        }
        let before = self.clock.elapsed();
        let written = if group.ops.is_empty() && !group.needs_sync {
            Ok(())
        } else {
            self.store
                .apply(&group.ops)
                .and_then(|()| if group.needs_sync { self.store.sync() } else { Ok(()) })
        };
        if let Err(e) = written {
            let source = std::error::Error::source(&e).map_or(String::new(), |s| format!(": {s}"));
            self.break_down(format!("{e}{source}"));
        } else if group.needs_sync {
            let took = self.clock.elapsed().saturating_sub(before);
            self.metrics.log_write_seconds.observe(took.as_secs_f64());
        }
        self.publish();
        for (reply, seq) in group.answers {
            reply.send(self.broken.clone().map_or(Ok(seq), |why| Err(KeeperError::Broken(why))));
        }
        for (epoch, from, limit, reply) in group.batches {
            let batch = self.batch(epoch, from, limit);
            reply.send(batch);
        }
    }

    /// Turns a request into operations; what the log refuses is answered at once.
    fn take(&mut self, request: Request, group: &mut Group) {
        let (reply, done) = match request {
            Request::Intent { draft, transaction, reply } => {
                (reply, self.log.intent(draft, transaction))
            }
            Request::Outcome { seq, duration_ms, event, reply } => {
                (reply, self.log.outcome(seq, duration_ms, event).map(|ops| (seq, ops)))
            }
            Request::Record { draft, duration_ms, event, reply } => {
                (reply, self.log.record(draft, duration_ms, event))
            }
            Request::Acked { epoch, through, depot_time } => {
                return self.acked(epoch, (through, depot_time), group);
            }
            Request::Batch { epoch, from, limit, reply } => {
                return group.batches.push((epoch, from, limit, reply));
            }
            Request::Probe(reply) => {
                let head = self.log.head();
                let written = self.store.set_own_number(PROBE, head.0);
                match written {
                    Ok(()) => {
                        group.needs_sync = true;
                        group.answers.push((reply, head));
                    }
                    Err(e) => self.break_down(e.to_string()),
                }
                return;
            }
            // Whoever asked may have given up.
            Request::Pulse(answer) => {
                let _ = answer.send(());
                return;
            }
            Request::Prune { keep_since } => return self.prune(keep_since, group),
        };
        match done {
            Ok((seq, ops)) => {
                group.ops.extend(ops);
                group.needs_sync = true;
                group.answers.push((reply, seq));
            }
            Err(e) => reply.send(Err(e.into())),
        }
    }

    /// Losing an acknowledgement costs a resend, so it is not synced.
    fn acked(
        &mut self,
        epoch: Epoch,
        (through, depot_time): (TapSeq, Timestamp),
        group: &mut Group,
    ) {
        match self.log.handle_acked(epoch, through, depot_time) {
            Ok(ops) => group.ops.extend(ops),
            // Of an earlier life nothing new can be lost, and no life must begin twice for it.
            Err(LogError::AckAheadOfHead { acked, head }) if epoch == self.log.epoch() => {
                tracing::error!(
                    %acked, %head,
                    "the depot has entries that this log has lost: a new epoch begins"
                );
                self.begin_epoch(group);
            }
            Err(e) => tracing::warn!(%epoch, %through, error = %e, "acknowledgement ignored"),
        }
    }

    fn begin_epoch(&mut self, group: &mut Group) {
        let fresh = Epoch(u32::try_from(self.clock.now().secs()).unwrap_or(u32::MAX));
        match self.log.begin_epoch(fresh) {
            Ok((guard, ops)) => {
                group.ops.extend(ops);
                group.needs_sync = true;
                if let Err(e) = self.guard_file.write(&guard) {
                    self.break_down(format!("sequence guard: {e}"));
                }
            }
            // A tap is under way; the next acknowledgement says it again.
            Err(e) => tracing::warn!(error = %e, "the new epoch waits for the tap under way"),
        }
    }

    fn break_down(&mut self, reason: String) {
        tracing::error!(%reason, "the tap log takes no more writes: the validator leaves service");
        self.broken.get_or_insert(reason);
    }
}

fn refuse(request: Request, reason: &str) {
    let broken = || KeeperError::Broken(reason.to_string());
    match request {
        Request::Intent { reply, .. }
        | Request::Outcome { reply, .. }
        | Request::Record { reply, .. }
        | Request::Probe(reply) => reply.send(Err(broken())),
        Request::Batch { reply, .. } => reply.send(Err(broken())),
        // Nothing but a restart heals it, and whoever hears no answer sees to that.
        Request::Pulse(_) | Request::Acked { .. } | Request::Prune { .. } => {}
    }
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
