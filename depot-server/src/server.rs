//! Puts the parts together: opens the books, serves the pages, drives the intake, stops in order.

use std::{fs, future::Future, net::SocketAddr, path::PathBuf, sync::Arc, thread, time::Duration};

use blocking::Standing;
use clearing::Rules;
use custody::SharedKeys;
use fare::{Tariff, TariffSet, TariffSetError};
use fleet_sync::{DepotName, SigningKey};
use link::{Incoming, LinkSettings, Publisher};
use model::TariffVersion;
use tokio::sync::{mpsc, watch};

use crate::{
    app::{App, AppState},
    auth::{LoginError, invite},
    channels::webhook::Secrets,
    clock::Clock,
    config::{Config, KeyError, Keys, ListPayloads, Settlement, open_card_keys},
    events::Events,
    hotlist::HotlistRules,
    http::{payments::Hooks, views::Books},
    intake::{
        Checker, Pipeline, Workplace,
        run::{Surroundings, presence_topic, told_to},
    },
    list_keys::Beginning,
    lists::{ListDesk, OrderDesk},
    metrics::Metrics,
    orders::OrderRules,
    rules::LiveRules,
    store::{IssuersError, ReadModel, Store, StoreError},
};

/// How long requests may take to end once the server stops.
const GOODBYE: Duration = Duration::from_secs(2);
/// How often the gauges that are counted from the books are counted.
const GAUGES_EVERY: Duration = Duration::from_secs(10);

/// How often the server looks whether a service day is to be closed.
const CLOSE_EVERY: Duration = Duration::from_secs(60);

/// Why the server cannot start. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The depot's name cannot be a topic level.
    #[error("depot: {0}")]
    Depot(#[from] fleet_sync::DepotNameError),
    /// A key file.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The books.
    #[error("the books cannot be used")]
    Store(#[from] StoreError),
    /// The issuers.
    #[error(transparent)]
    Issuers(#[from] IssuersError),
    /// A tariff file cannot be read.
    #[error("cannot read the tariff {path}: see `tariffs` in the configuration")]
    TariffFile {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A tariff that is not one.
    #[error("tariff {name} cannot be used:\n{findings}")]
    Tariff {
        /// Which file, or which version in the books.
        name: String,
        /// Every finding, one per line.
        findings: String,
    },
    /// Two tariffs that do not go together.
    #[error("tariff {name} does not go with the others")]
    TariffSet {
        /// Which file, or which version in the books.
        name: String,
        /// Why.
        source: TariffSetError,
    },
    /// No tariff at all.
    #[error("no tariff: name at least one file under `tariffs` in the configuration")]
    NoTariff,
}

/// Why the server stopped other than in order.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: see `http.listen` in the configuration")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The pages stopped.
    #[error("the pages stopped")]
    Http(#[source] std::io::Error),
    /// The books failed.
    #[error("the books failed")]
    Store(#[from] StoreError),
}

/// A depot whose books are open and that does not serve yet.
pub struct Depot {
    app: AppState,
    place: Workplace,
    checker: Checker,
    signing: SigningKey,
    /// Its public keys: the one it signs with, and the one before.
    known_as: Vec<fleet_sync::VerifyingKey>,
    /// Take what providers tell.
    hooks: Hooks,
    /// Seal load orders; `None` where validators are given none.
    order_keys: Option<SharedKeys>,
}

impl Depot {
    /// Reads keys and tariffs and opens the books.
    pub fn open(config: Config, clock: Clock) -> Result<Self, OpenError> {
        let keys = Keys::load(&config.keys)?;
        let order_keys = config.orders.enabled.then(|| open_card_keys(&config.keys)).transpose()?;
        let store = Arc::new(Store::open(&config.database)?);
        store.note_issuers(&config.issuers)?;
        let rules = LiveRules::from(load_rules(&config, &store, &clock)?);
        store.note_due_tariffs(rules.tariffs().iter().map(Tariff::version))?;
        if config.keys.tickets.exists() {
            let key = crate::ticketing::load_key(&config.keys.tickets)?;
            store.add_ticket_key(&key.verifying_key(), clock.now())?;
        }
        let depot: DepotName = config.depot.parse()?;
        let receiving = keys.receiving();
        let known_as = receiving.iter().map(SigningKey::verifying_key).collect();
        let checker = Checker::new(depot.clone(), keys.tmac).receiving(receiving);
        let (events, metrics) = (Events::default(), Metrics::default());
        let books: Arc<dyn Books> = Arc::new(
            ReadModel::new(Arc::clone(&store), rules.clone(), clock.clone())
                .with_float(config.float.clone()),
        );
        let place = Workplace {
            depot,
            store: Arc::clone(&store),
            rules,
            events: events.clone(),
            metrics: metrics.clone(),
            clock: clock.clone(),
        };
        let hooks = open_hooks(&config, &place)?;
        let app = AppState::new(App { config, books, store, events, metrics, clock });
        Ok(Self { app, place, checker, signing: keys.signing, known_as, hooks, order_keys })
    }

    /// What every part shares.
    pub const fn app(&self) -> &AppState {
        &self.app
    }

    /// What the intake works with: to enrol validators and to register cards.
    pub const fn workplace(&self) -> &Workplace {
        &self.place
    }

    /// Verifies what comes in, and what is in the journal.
    pub const fn checker(&self) -> &Checker {
        &self.checker
    }

    /// Signs what this depot says: acknowledgements and closed days.
    pub const fn signing(&self) -> &SigningKey {
        &self.signing
    }

    /// The key by which validators know this depot's word.
    pub fn public_key(&self) -> fleet_sync::VerifyingKey {
        self.signing.verifying_key()
    }

    /// A link that logs `user` in, once.
    pub fn login_link(&self, user: &str) -> Result<String, LoginError> {
        let secret = invite(&self.app.store, user, self.app.clock.now())?;
        Ok(format!("{}/login?token={}", self.app.config.public_url(), secret.reveal()))
    }

    /// Serves until `shutdown` resolves; then finishes what it has begun and returns.
    pub async fn serve(
        self,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServeError> {
        let address = self.app.config.http.listen;
        let listener = tokio::net::TcpListener::bind(address)
            .await
            .map_err(|source| ServeError::Listen { address, source })?;
        tracing::info!(%address, depot = %self.place.depot, "pages, API and metrics");
        let (stop, stopped) = watch::channel(false);
        let (sending, link) = watch::channel(None);
        let (files, inbox) = mpsc::channel(1);
        let around = self.surroundings(sending, inbox)?;
        let (folder, depot) =
            (crate::inbox::folder(&self.app.config.database), around.depot.clone());
        let files = tokio::spawn(crate::inbox::run(folder, depot, files, stopped.clone()));
        let lists = tokio::spawn(crate::lists::run(self.list_desk(), link, stopped.clone()));
        let threads = verify_threads(self.app.config.intake.verify_threads);
        let signing = self.signing.clone();
        let pipeline = Pipeline::new(self.place.clone(), self.checker, signing, threads);
        let intake = tokio::spawn(crate::intake::run::run(pipeline, around, stopped.clone()));
        let gauges = tokio::spawn(count_gauges(self.app.clone(), stopped.clone()));
        let upkeep = tokio::spawn(crate::upkeep::run(self.app.clone(), stopped.clone()));
        let closing = tokio::spawn(close_days(
            self.place.clone(),
            self.signing.clone(),
            Ticks {
                close_after_hours: self.app.config.days.close_after_hours,
                settlement: self.app.config.settlement.clone(),
                in_doubt_expires_days: self.app.config.reconcile.in_doubt_expires_days,
                claim_days: self.app.config.visitor.claim_days,
            },
            stopped.clone(),
        ));
        let channels = tokio::spawn(crate::channels::run(
            self.place.clone(),
            self.app.config.channels.clone(),
            stopped.clone(),
        ));
        tokio::spawn(async move {
            shutdown.await;
            // Nobody listens only when everything has stopped already.
            let _ = stop.send(true);
        });
        let (mut until, mut bound) = (stopped.clone(), stopped);
        let pages = crate::pages::router(&self.app, &self.place.rules);
        let pages = pages.merge(crate::http::payments::router(self.hooks));
        let pages = axum::serve(listener, pages).with_graceful_shutdown(async move {
            told_to(&mut until).await;
        });
        let served = tokio::select! {
            done = pages => done.map_err(ServeError::Http),
            // Live screens never end by themselves.
            () = async {
                told_to(&mut bound).await;
                tokio::time::sleep(GOODBYE).await;
            } => Ok(()),
        };
        for task in [files, intake, lists, gauges, upkeep, closing, channels] {
            if task.await.is_err() {
                tracing::error!("a part of the server stopped by a fault of its own");
            }
        }
        served
    }

    fn list_desk(&self) -> ListDesk {
        let Workplace { depot, store, rules, metrics, clock, .. } = &self.place;
        ListDesk {
            orders: self.order_keys.clone().map(|keys| OrderDesk {
                place: self.place.clone(),
                keys,
                rules: OrderRules::from(&self.app.config.orders),
            }),
            hotlist: HotlistRules::from(&self.app.config.hotlist),
            failures: self.app.config.releases.bound(),
            judged: std::sync::atomic::AtomicU64::default(),
            depot: depot.clone(),
            store: Arc::clone(store),
            rules: rules.clone(),
            signing: self.signing.clone(),
            known_as: self.known_as.clone(),
            metrics: metrics.clone(),
            clock: clock.clone(),
            sealing: (self.app.config.mqtt.lists == ListPayloads::Sealed).then(Beginning::default),
        }
    }

    fn surroundings(
        &self,
        sending: watch::Sender<Option<Publisher>>,
        inbox: mpsc::Receiver<Incoming>,
    ) -> Result<Surroundings, StoreError> {
        let config = &self.app.config;
        let depot = self.place.depot.clone();
        Ok(Surroundings {
            link: LinkSettings {
                client: config.client_id(),
                subscriptions: depot.uplink_filters().to_vec(),
                will_topic: presence_topic(&depot),
                first_connection: self.place.store.reserve_connections()?,
                ..config.mqtt.link()
            },
            depot,
            signing: self.signing.clone(),
            group_max: config.intake.group_max as usize,
            metrics: self.place.metrics.clone(),
            clock: self.place.clock.clone(),
            sending,
            inbox,
        })
    }
}

/// The secrets of channels that tell by themselves.
fn open_hooks(config: &Config, place: &Workplace) -> Result<Hooks, OpenError> {
    let mut channels = Vec::new();
    for channel in &config.channels {
        let Some(path) = &channel.secret_file else { continue };
        let file = custody::read_private(path).map_err(KeyError::from)?;
        let short = || custody::FileError::Contents {
            path: path.clone(),
            expected: format!("secrets, one a line, each of {} bytes or more", Secrets::BYTES_MIN),
        };
        let secrets = Secrets::parse(&file).ok_or_else(short).map_err(KeyError::from)?;
        channels.push((channel.clone(), secrets));
    }
    Ok(Hooks::new(place.clone(), OrderRules::from(&config.orders), channels))
}

/// Opens and serves.
pub async fn run(
    config: Config,
    clock: Clock,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RunError> {
    Ok(Depot::open(config, clock)?.serve(shutdown).await?)
}

/// Why a run ended other than in order.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It did not start.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It stopped.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// The tariffs of the files and of the books, together. New ones are kept in the books, because
/// old taps are explained and verified by them for ever.
pub fn load_rules(config: &Config, store: &Store, clock: &Clock) -> Result<Rules, OpenError> {
    let mut set: Option<TariffSet> = None;
    let mut add = |name: String, text: &str| -> Result<TariffVersion, OpenError> {
        let tariff = Tariff::parse(text).map_err(|found| OpenError::Tariff {
            name: name.clone(),
            findings: found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        })?;
        let version = tariff.version();
        match &mut set {
            None => set = Some(TariffSet::new(tariff)),
            Some(set) => {
                set.insert(tariff).map_err(|source| OpenError::TariffSet { name, source })?;
            }
        }
        Ok(version)
    };
    for (version, text) in store.tariffs()? {
        add(format!("version {version} of the books"), &text)?;
    }
    for path in &config.tariffs {
        let text = fs::read_to_string(path)
            .map_err(|source| OpenError::TariffFile { path: path.clone(), source })?;
        let version = add(path.display().to_string(), &text)?;
        store.keep_tariff(version, &text, clock.now())?;
    }
    let mut rules = set.map(Rules::new).ok_or(OpenError::NoTariff)?;
    for (version, since) in store.tariffs_since()? {
        let Some(tariff) = rules.tariffs().get(version) else { continue };
        let own = tariff.terms().calendar.clock.clone();
        if let Some(zone) = own.or_else(|| gtfs::zone_offsets(tariff.timezone())) {
            rules.set_clock(version, since, &zone);
        } else {
            let zone = tariff.timezone();
            tracing::warn!(zone, "this time zone is not known: service days begin by UTC");
        }
    }
    Ok(rules)
}

fn verify_threads(wanted: u16) -> usize {
    match wanted {
        0 => thread::available_parallelism().map_or(1, usize::from),
        wanted => usize::from(wanted),
    }
}

/// What time brings to the books.
#[derive(Clone)]
struct Ticks {
    close_after_hours: u32,
    settlement: Settlement,
    in_doubt_expires_days: u32,
    claim_days: u32,
}

/// Ends holds that are over, then closes and settles every day that is due.
fn tick(
    place: &Workplace,
    signing: &SigningKey,
    ticks: &Ticks,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    crate::doubts::expire_due(place, ticks.in_doubt_expires_days)?;
    let delay = Duration::from_secs(u64::from(ticks.close_after_hours) * 3600);
    while ticks.close_after_hours > 0
        && let Some(day) = crate::days::close_due(place, signing, delay)?
    {
        let text = ticks.settlement.rules.as_ref().map(fs::read_to_string).transpose()?;
        crate::settle::settle(place, text.as_deref(), day)?;
        // Once a day: it looks at every card.
        crate::claims::end_claims(place, ticks.claim_days)?;
    }
    let today = place.rules.service_day(place.clock.now(), place.clock.now());
    let oldest = crate::settle::owed(place)?.iter().filter_map(|owed| owed.oldest).min();
    let days = oldest.map_or(0, |day| today.0.saturating_sub(day.0));
    place.metrics.payable_oldest.set(days.into());
    Ok(())
}

/// Closes service days once they have been over for long enough, and what else time brings.
async fn close_days(
    place: Workplace,
    signing: SigningKey,
    ticks: Ticks,
    mut stop: watch::Receiver<bool>,
) {
    let mut every = tokio::time::interval(CLOSE_EVERY);
    loop {
        tokio::select! {
            () = told_to(&mut stop) => return,
            _ = every.tick() => {}
        }
        let (place, signing, ticks) = (place.clone(), signing.clone(), ticks.clone());
        let done = tokio::task::spawn_blocking(move || tick(&place, &signing, &ticks));
        if let Ok(Err(error)) = done.await {
            let error = crate::intake::run::chain(error.as_ref());
            tracing::error!(error, "a day is not closed, or not settled");
        }
    }
}

/// Gauges that are counted from the books, every now and then.
async fn count_gauges(app: AppState, mut stop: watch::Receiver<bool>) {
    let mut every = tokio::time::interval(GAUGES_EVERY);
    loop {
        tokio::select! {
            () = told_to(&mut stop) => return,
            _ = every.tick() => {}
        }
        let counted = app.clone();
        let done = app
            .ask(move |books| {
                for tally in books.exception_tally()? {
                    let open = i64::try_from(tally.open).unwrap_or(i64::MAX);
                    let word = tally.kind.word();
                    counted.metrics.exceptions_open.with_label_values(&[word]).set(open);
                }
                let sum = books.trial_balance()?.iter().map(|row| row.balance.minor()).sum();
                counted.metrics.imbalance.set(sum);
                Ok(())
            })
            .await;
        if let Err(error) = done {
            tracing::warn!(error = %crate::intake::run::chain(&error), "gauges are not counted");
        }
        if let Ok(behind) = app.store.count_lists_behind() {
            app.metrics.lists_behind.set(behind);
        }
        if let Ok(survey) = app.store.seal_survey() {
            app.metrics.sealing(survey.cannot.len(), survey.lacking.len());
        }
        if let Err(error) = count_hotlist(&app) {
            tracing::warn!(error = %crate::intake::run::chain(&error), "gauges are not counted");
        }
        if let Ok(links) = app.store.count_links() {
            for (word, count) in ["never-seen", "down", "up"].into_iter().zip(links) {
                app.metrics.fleet.with_label_values(&[word]).set(count);
            }
        }
    }
}

fn count_hotlist(app: &AppState) -> Result<(), StoreError> {
    let metrics = &app.metrics;
    let groups = app.store.hotlist_groups()?;
    for standing in Standing::ALL.into_iter().filter(|standing| standing.is_open()) {
        let cases = groups.iter().filter(|group| group.standing == standing);
        let cases = cases.map(|group| group.cases).sum::<u64>();
        let gauge = metrics.hotlist_cases.with_label_values(&[standing.word()]);
        gauge.set(i64::try_from(cases).unwrap_or(i64::MAX));
    }
    metrics.hotlist_breaker.set(app.store.hotlist_breaker()?.is_some().into());
    let lag = app.store.hotlist_lag(app.clock.now())?;
    for (of, seconds) in ["connected", "enrolled"].into_iter().zip(lag) {
        let gauge = metrics.hotlist_lag.with_label_values(&[of]);
        gauge.set(i64::try_from(seconds).unwrap_or(i64::MAX));
    }
    Ok(())
}
