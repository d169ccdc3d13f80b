//! Changes on their way to the screens: gathered, thinned to five a second, numbered, sent.
//!
//! Lossy on purpose and honest about it: whoever missed something is told `resync` and reads the
//! books again. A screen never shows what a crash could undo, because events are sent only after
//! the commit that they tell of.

use std::{
    collections::{BTreeSet, VecDeque},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    extract::{Query, State},
    http::{HeaderMap, HeaderName, HeaderValue},
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
};
use futures_util::stream;
use model::ValidatorId;
use serde_json::json;
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::{Interval, MissedTickBehavior, interval},
};

use super::{
    Problem, Shared, Site, fleet,
    query::Params,
    session, taps,
    views::{Books, BooksError, FleetRow, Live, TapFilter, TapRow},
};

/// How often changes are sent on.
const FLUSH_EVERY: Duration = Duration::from_millis(200);
/// How long a page may hear nothing before it says so.
pub(super) const QUIET_MS: u64 = 5_000;
/// Rows of one patch; beyond it only their number is told.
const TAPS_MAX: usize = 64;
/// Patches kept for pages that come back after a short break: about a minute.
const KEPT: usize = 300;
/// Patches waiting for one slow page.
const WAITING: usize = 64;
/// How often a running stream checks that its session is not over.
const SESSION_EVERY: u32 = 30;

/// What changed within one flush.
#[derive(Debug, Clone, Default)]
pub(super) struct Patch {
    seq: u64,
    taps: Vec<TapRow>,
    taps_not_named: u64,
    validators: Vec<FleetRow>,
    open_exceptions: Option<u64>,
    resync: bool,
}

#[derive(Debug, Default)]
struct Gathered {
    taps: VecDeque<TapRow>,
    taps_not_named: u64,
    validators: BTreeSet<ValidatorId>,
    exceptions: bool,
    missed: bool,
}

#[derive(Debug, Default)]
struct Inner {
    seq: u64,
    gathered: Gathered,
    kept: VecDeque<Arc<Patch>>,
}

/// Where changes come together.
#[derive(Debug, Clone)]
pub struct Hub {
    inner: Arc<Mutex<Inner>>,
    patches: broadcast::Sender<Arc<Patch>>,
}

impl Default for Hub {
    fn default() -> Self {
        Self { inner: Arc::default(), patches: broadcast::channel(WAITING).0 }
    }
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while it holds the lock; if it did, the screens may still go on.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the newest patch.
    pub fn seq(&self) -> u64 {
        self.lock().seq
    }

    /// How many streams are open.
    pub fn listeners(&self) -> usize {
        self.patches.receiver_count()
    }

    /// Takes note of a change.
    pub fn note(&self, live: Live) {
        let mut inner = self.lock();
        let gathered = &mut inner.gathered;
        match live {
            Live::Tap(row) => {
                gathered.validators.insert(row.validator);
                gathered.taps.push_back(row);
                if gathered.taps.len() > TAPS_MAX {
                    gathered.taps.pop_front();
                    gathered.taps_not_named += 1;
                }
            }
            Live::Validator(id) => {
                gathered.validators.insert(id);
            }
            Live::Exceptions => gathered.exceptions = true,
        }
    }

    /// Takes note that changes were missed: every page must read the books again.
    pub fn note_missed(&self) {
        self.lock().gathered.missed = true;
    }

    /// Sends on what was gathered. Asks the books, so it belongs off the async threads.
    pub fn flush(&self, books: &dyn Books) -> Result<(), BooksError> {
        let gathered = std::mem::take(&mut self.lock().gathered);
        let nothing = gathered.taps.is_empty()
            && gathered.validators.is_empty()
            && !gathered.exceptions
            && !gathered.missed;
        if nothing {
            return Ok(());
        }
        let heard = self.listeners() > 0;
        let (mut validators, mut open_exceptions) = (Vec::new(), None);
        if heard {
            let ids: Vec<_> = gathered.validators.iter().copied().collect();
            validators = books.fleet_some(&ids)?;
            if gathered.exceptions {
                let tally = books.exception_tally()?;
                open_exceptions = Some(tally.iter().map(|kind| kind.open).sum());
            }
        }
        let mut inner = self.lock();
        inner.seq += 1;
        let patch = Arc::new(Patch {
            seq: inner.seq,
            taps: gathered.taps.into(),
            taps_not_named: gathered.taps_not_named,
            validators,
            open_exceptions,
            // A patch that nobody heard was not looked up; who comes back to it reads anew.
            resync: gathered.missed || !heard,
        });
        inner.kept.push_back(Arc::clone(&patch));
        if inner.kept.len() > KEPT {
            inner.kept.pop_front();
        }
        // An error means that nobody listens, which is fine.
        let _ = self.patches.send(patch);
        Ok(())
    }

    /// Patches after `seq`, and those to come; `None` when some of them are no longer kept.
    pub(super) fn listen(
        &self,
        seq: u64,
    ) -> (Option<Vec<Arc<Patch>>>, broadcast::Receiver<Arc<Patch>>) {
        let inner = self.lock();
        let receiver = self.patches.subscribe();
        let missed: Vec<_> = inner.kept.iter().filter(|p| p.seq > seq).cloned().collect();
        let whole = seq <= inner.seq && inner.seq - seq == missed.len() as u64;
        (whole.then_some(missed), receiver)
    }
}

/// Carries changes from the server's events to the pages for as long as the server runs.
pub async fn pump(site: Arc<Site>) {
    let mut events = site.app.events.listen();
    let mut flush = interval(FLUSH_EVERY);
    flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Ok(live) => site.hub.note(live),
                Err(RecvError::Lagged(_)) => site.hub.note_missed(),
                Err(RecvError::Closed) => return,
            },
            _ = flush.tick() => {
                let hub = site.hub.clone();
                // The cause of a failure is logged by the question; the pages read anew.
                if site.ask(move |books| hub.flush(books)).await.is_err() {
                    site.hub.note_missed();
                }
            }
        }
    }
}

/// What one page wants to hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Watch {
    Everything,
    Fleet,
    Taps(TapFilter),
    Frame,
}

struct Stream {
    site: Shared,
    secret: String,
    watch: Watch,
    receiver: broadcast::Receiver<Arc<Patch>>,
    ticker: Interval,
    ticks: u32,
    queue: VecDeque<Event>,
    over: bool,
}

/// `GET /events`: `watch` says what for, `seq` what the page already shows.
pub(super) async fn events(
    State(site): State<Shared>,
    Query(params): Query<Params>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let watch = match params.text("watch") {
        Some("everything") => Watch::Everything,
        Some("fleet") => Watch::Fleet,
        Some("taps") => Watch::Taps(taps::filter(&params, &site.times(), site.day_starts)?.0),
        _ => Watch::Frame,
    };
    let resumed = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let seq = match resumed {
        Some(seq) => seq,
        None => params.parsed("seq")?.unwrap_or(0),
    };
    let secret = session::cookie(&site, &headers).unwrap_or_default();
    let (missed, receiver) = site.hub.listen(seq);
    let mut ticker = interval(Duration::from_secs(1));
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let queue = VecDeque::new();
    let mut stream = Stream { site, secret, watch, receiver, ticker, ticks: 0, queue, over: false };
    stream.site.app.metrics.sse_clients.inc();
    match missed {
        Some(patches) => patches.iter().for_each(|patch| stream.show(patch)),
        None => stream.resync(),
    }
    let sse = Sse::new(stream::unfold(stream, |mut stream| async {
        let event = stream.next().await?;
        Some((Ok::<_, Infallible>(event), stream))
    }));
    let mut response = sse.into_response();
    response
        .headers_mut()
        .insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.site.app.metrics.sse_clients.dec();
    }
}

impl Stream {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Some(event);
            }
            if self.over {
                return None;
            }
            tokio::select! {
                patch = self.receiver.recv() => match patch {
                    Ok(patch) => self.show(&patch),
                    Err(RecvError::Lagged(_)) => self.resync(),
                    Err(RecvError::Closed) => self.over = true,
                },
                _ = self.ticker.tick() => self.tick().await,
            }
        }
    }

    /// Once a second: the depot's time, and proof that the stream lives.
    async fn tick(&mut self) {
        self.ticks = self.ticks.wrapping_add(1);
        let data = json!({ "now": self.site.now().0 });
        self.queue.push_back(Event::default().event("tick").data(data.to_string()));
        if self.ticks.is_multiple_of(SESSION_EVERY)
            && !matches!(session::still_valid(&self.site, self.secret.clone()).await, Ok(Some(_)))
        {
            self.queue.push_back(Event::default().event("over").data("{}"));
            self.over = true;
        }
    }

    fn resync(&mut self) {
        let id = self.site.hub.seq().to_string();
        self.queue.push_back(Event::default().id(id).event("resync").data("{}"));
    }

    fn show(&mut self, patch: &Patch) {
        if patch.resync {
            self.resync();
            return;
        }
        let id = patch.seq.to_string();
        let site: &Site = &self.site;
        let event = match &self.watch {
            Watch::Everything => Some(("changed", json!({}))),
            Watch::Fleet if patch.validators.is_empty() => None,
            Watch::Fleet => {
                let times = site.times();
                let row = |row| fleet::json_row(row, &site.names, &times);
                let rows: Vec<_> = patch.validators.iter().map(row).collect();
                Some(("fleet", json!({ "rows": rows })))
            }
            Watch::Taps(filter) => {
                let times = site.times();
                let rows: Vec<_> = patch
                    .taps
                    .iter()
                    .filter(|row| filter.holds(row))
                    .map(|row| taps::Line::new(row, site, &times).json())
                    .collect();
                let quiet = rows.is_empty() && patch.taps_not_named == 0;
                (!quiet)
                    .then(|| ("taps", json!({ "rows": rows, "not_named": patch.taps_not_named })))
            }
            Watch::Frame => None,
        };
        if let Some((name, data)) = event {
            self.queue.push_back(Event::default().id(&id).event(name).data(data.to_string()));
        }
        if let Some(open) = patch.open_exceptions {
            let data = json!({ "open": open }).to_string();
            self.queue.push_back(Event::default().id(&id).event("exceptions").data(data));
        }
    }
}
