//! From nothing to a running city, and back.

use std::{
    fs,
    future::Future,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use card::KeySet;
use ed25519_dalek::SigningKey;
use fare::{Tariff, TariffSet};
use model::TapRole;
use tempfile::TempDir;
use tokio::{
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::{interval, sleep},
};
use validator::clock::Clock;

use super::{
    DemoError, Options,
    audit::Audit,
    broker::{self, Wire},
    city_time::CityTime,
    day::{Cast, Day, Purpose, Tally},
    depot::{self, Office},
    fare_table::FareTable,
    faults::Victim,
    feed::{self, City},
    lines::{self, Lines},
    post::{self, Done, Ended, Fleet, Job, Post},
    report::{Outcome, Up, Voice},
    riders::{self, Issued, Rider},
    showcase::{self, Showcase},
};
use crate::sim::dice::Dice;

/// How long the validators may take to bring everything home.
const DRAIN: Duration = Duration::from_secs(30);
/// The same when links were cut: a link waits up to a minute before it is tried again.
const DRAIN_AFTER_FAULTS: Duration = Duration::from_secs(120);
const PROGRESS: Duration = Duration::from_secs(10);
const MQTT_PORT: u16 = 21_883;

/// Where everything is kept.
enum Folder {
    Kept(PathBuf),
    Scratch(TempDir),
}

impl Folder {
    fn prepare(wanted: Option<&Path>) -> Result<Self, DemoError> {
        let Some(path) = wanted else {
            let scratch = tempfile::Builder::new().prefix("tapline-demo-").tempdir();
            let path = std::env::temp_dir();
            return scratch.map(Self::Scratch).map_err(|source| DemoError::State { path, source });
        };
        let failed = |source| DemoError::State { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(failed)?;
        if fs::read_dir(path).map_err(failed)?.next().is_some() {
            return Err(failed(io::Error::other("it holds something already")));
        }
        Ok(Self::Kept(path.to_owned()))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Scratch(folder) => folder.path(),
        }
    }
}

/// The validators, by post.
struct Posts {
    jobs: Vec<mpsc::UnboundedSender<Job<Purpose>>>,
    answers: mpsc::UnboundedReceiver<Done<Purpose>>,
    tasks: JoinSet<Ended>,
}

/// Everything that runs.
struct Running {
    office: Office,
    serving: JoinHandle<Result<(), depot_server::server::ServeError>>,
    stop_depot: watch::Sender<bool>,
    posts: Posts,
    wire: Option<Wire>,
    clock: Clock,
    time: CityTime,
    cards: Issued,
}

/// Runs the demo until `asked` or the time that the options give. `None` when it was asked to
/// stop before it was done.
pub async fn run(
    options: &Options,
    asked: impl Future<Output = ()>,
) -> Result<Option<Outcome>, DemoError> {
    let mut asked = std::pin::pin!(asked);
    let wall = Clock::system();
    let city = feed::load(options)?;
    let lines = lines::plan(&city.network, &city.tariff, options.validators);
    if lines.rides_s.is_empty() && lines.lines.is_empty() {
        return Err(DemoError::NothingServed(lines.posts.len()));
    }
    let folder = Folder::prepare(options.state.as_deref())?;
    let mut dice = Dice::new(options.seed);
    let started = start(options, &city, &lines, folder.path(), wall, &mut dice);
    let mut running = tokio::select! {
        started = started => started?,
        () = &mut asked => return Ok(None),
    };
    let showcase = Showcase {
        lines: &lines,
        tariff: &city.tariff,
        posts: &running.posts.jobs,
        answers: &mut running.posts.answers,
    };
    let shown = showcase.show(&running.cards.cards, &running.office).await;
    let voice = Voice { json: options.json };
    voice.up(&Up {
        network: city.network.name.clone(),
        validators: lines.posts.len(),
        cards: running.cards.cards.len(),
        speed: options.speed,
        time: running.time.clock(running.clock.now()),
        login: running.office.login()?,
        up_ms: u64::try_from(wall.elapsed().as_millis()).unwrap_or(u64::MAX),
        state: folder.path().display().to_string(),
        warnings: city.warnings.clone(),
        shown,
    });
    live(options, city, lines, running, dice, voice, asked).await
}

async fn start(
    options: &Options,
    city: &City,
    lines: &Lines,
    folder: &Path,
    wall: Clock,
    dice: &mut Dice,
) -> Result<Running, DemoError> {
    let http = depot::choose_port(options.port)?;
    let broker_port = broker::free_port(MQTT_PORT).map_err(DemoError::start)?;
    broker::start(broker_port).await.map_err(DemoError::start)?;
    let mut port = broker_port;
    let mut wire = None;
    if options.faults {
        port = broker::free_port(broker_port + 1).map_err(DemoError::start)?;
        wire = Some(Wire::start(port, broker_port).await.map_err(DemoError::start)?);
    }
    let time = CityTime::new(city.tariff.timezone(), wall.now());
    let clock = Clock::scaled(time.begins, options.speed);
    let depot_clock = depot_server::clock::Clock::scaled(time.begins, options.speed);
    let (depot, office, keys) = depot::open(
        folder,
        &city.tariff.to_toml(),
        (http, port),
        (depot_clock, options.speed),
        dice.bytes16(),
    )?;
    let fleet = Fleet {
        depot: depot::NAME,
        folder: folder.join("validators"),
        tariff_file: folder.join("tariff.toml"),
        tariffs: TariffSet::new(city.tariff.clone()),
        card_keys: keys.for_validator(),
        depot_key: depot.public_key(),
        port,
        clock,
    };
    let signing: Vec<SigningKey> =
        lines.posts.iter().map(|_| SigningKey::from_bytes(&dice.bytes32())).collect();
    for (index, (stands, key)) in lines.posts.iter().zip(&signing).enumerate() {
        let name = post_name(&city.tariff, *stands);
        office.enrol(post::id(index), &key.verifying_key(), &name)?;
    }
    let (stop_depot, mut stopped) = watch::channel(false);
    let serving = tokio::spawn(depot.serve(async move {
        // A sender that is gone means stop as well.
        let _ = stopped.wait_for(|stop| *stop).await;
    }));
    tracing::info!(ms = wall.elapsed().as_millis(), "broker and depot are there");
    let issuing = issue(options, keys, city.tariff.clone(), time.begins, dice);
    let drain = if options.faults { DRAIN_AFTER_FAULTS } else { DRAIN };
    let (cards, posts) = tokio::join!(issuing, start_posts(&fleet, lines, signing, drain));
    let (cards, posts) = (cards?, posts?);
    tracing::info!(ms = wall.elapsed().as_millis(), "validators and cards are there");
    office.register(&cards.records)?;
    office.ready().await.map_err(DemoError::start)?;
    tracing::info!(ms = wall.elapsed().as_millis(), "cards are registered");
    Ok(Running { office, serving, stop_depot, posts, wire, clock, time, cards })
}

fn post_name(tariff: &Tariff, stands: lines::Post) -> String {
    let place = tariff.place(stands.place).map_or("", |place| &*place.name);
    let route = stands.route.and_then(|route| tariff.route(route)).map_or("", |r| &*r.name);
    match stands.role {
        TapRole::Board => format!("Bus on {route}"),
        TapRole::Entry => format!("{place}, in"),
        TapRole::Exit => format!("{place}, out"),
    }
}

async fn issue(
    options: &Options,
    keys: KeySet,
    tariff: Tariff,
    at: model::Timestamp,
    dice: &mut Dice,
) -> Result<Issued, DemoError> {
    let count = options.cards;
    let mut own = Dice::new(u64::from(dice.u32()));
    let issuing = move || riders::issue(count, &keys, &tariff, at, &mut own);
    let issued = tokio::task::spawn_blocking(issuing).await.map_err(DemoError::start)?;
    issued.map_err(DemoError::start)
}

async fn start_posts(
    fleet: &Fleet,
    lines: &Lines,
    signing: Vec<SigningKey>,
    drain: Duration,
) -> Result<Posts, DemoError> {
    let mut starting = JoinSet::new();
    for (index, (stands, key)) in lines.posts.iter().copied().zip(signing).enumerate() {
        let fleet = fleet.clone();
        starting.spawn(async move { (index, Post::start(fleet, index, stands, key).await) });
    }
    let mut started: Vec<Option<Post>> = lines.posts.iter().map(|_| None).collect();
    while let Some(one) = starting.join_next().await {
        let (index, post) = one.map_err(DemoError::start)?;
        started[index] = Some(post.map_err(DemoError::start)?);
    }
    let (done, answers) = mpsc::unbounded_channel();
    let (mut jobs, mut tasks) = (Vec::new(), JoinSet::new());
    for post in started.into_iter().flatten() {
        let (ask, asked) = mpsc::unbounded_channel();
        jobs.push(ask);
        tasks.spawn(post.run(asked, done.clone(), drain));
    }
    Ok(Posts { jobs, answers, tasks })
}

async fn live(
    options: &Options,
    city: City,
    lines: Lines,
    running: Running,
    mut dice: Dice,
    voice: Voice,
    mut asked: std::pin::Pin<&mut impl Future<Output = ()>>,
) -> Result<Option<Outcome>, DemoError> {
    let Running { office, serving, stop_depot, posts, wire, clock, time, cards } = running;
    let Posts { jobs, answers, tasks } = posts;
    let pass_back = Duration::from_secs(u64::from(city.tariff.parts().pass_back_s) + 5);
    let faults = wire.clone().map(|wire| {
        let victim = Victim {
            wire,
            posts: jobs.iter().map(mpsc::UnboundedSender::downgrade).collect(),
            lines: lines.posts.clone(),
            card: cards.cards[showcase::CARDS - 1].clone(),
            pass_back: pass_back / options.speed,
            dice: Dice::new(u64::from(dice.u32())),
        };
        tokio::spawn(victim.suffer())
    });
    let riders: Vec<Rider> = cards
        .cards
        .iter()
        .zip(&cards.records)
        .skip(showcase::CARDS)
        .filter_map(|(card, (_, record))| Rider::new(card.clone(), record.class, &lines, &mut dice))
        .collect();
    let exponent = city.tariff.currency().exponent();
    let table = FareTable::read(&city.texts, exponent, &options.zone_alias);
    let classes = riders.iter().map(|rider| rider.class);
    let audit = Audit::new((table, city.terms), Arc::new(city.tariff), classes);
    let (day, told) = Day::new(Cast {
        clock,
        speed: options.speed,
        midnight: time.midnight,
        lines,
        riders,
        posts: jobs,
        faults: options.faults,
        dice,
        audit,
    });
    let (stop_day, day_stops) = watch::channel(false);
    let day = tokio::spawn(day.live(answers, day_stops));
    let began = clock.elapsed();
    tokio::select! {
        () = watch_over(&office, told.clone(), clock, &time, voice) => {}
        () = end_of(options.seconds) => {}
        () = &mut asked => return Ok(None),
    }
    let live_ms =
        u64::try_from(clock.elapsed().saturating_sub(began).as_millis()).unwrap_or(u64::MAX);
    if let Some(faults) = faults {
        faults.abort();
    }
    if let Some(wire) = wire {
        wire.heal();
    }
    let _ = stop_day.send(true);
    let closing = close(office, serving, stop_depot, tasks, day, told);
    let mut outcome = tokio::select! {
        outcome = closing => outcome?,
        () = &mut asked => return Ok(None),
    };
    outcome.live_ms = live_ms;
    if !options.check_fares {
        outcome.fares = None;
    }
    voice.outcome(&outcome);
    Ok(Some(outcome))
}

async fn end_of(seconds: Option<u32>) {
    match seconds {
        Some(seconds) => sleep(Duration::from_secs(seconds.into())).await,
        None => std::future::pending().await,
    }
}

/// Says every now and then how it goes. Never ends.
async fn watch_over(
    office: &Office,
    told: watch::Receiver<Tally>,
    clock: Clock,
    time: &CityTime,
    voice: Voice,
) {
    let mut every = interval(PROGRESS);
    every.tick().await;
    let mut before = 0;
    loop {
        every.tick().await;
        let tally = *told.borrow();
        let a_second = (tally.taps - before) / PROGRESS.as_secs();
        before = tally.taps;
        let (open, _) = office.exceptions().await;
        voice.progress(&time.clock(clock.now()), tally, a_second, open);
    }
}

/// Brings everything home, stops in order, and verifies the books.
async fn close(
    office: Office,
    serving: JoinHandle<Result<(), depot_server::server::ServeError>>,
    stop_depot: watch::Sender<bool>,
    mut posts: JoinSet<Ended>,
    day: JoinHandle<Audit>,
    told: watch::Receiver<Tally>,
) -> Result<Outcome, DemoError> {
    let audit = day.await.map_err(DemoError::start)?;
    let mut unacked = 0;
    while let Some(ended) = posts.join_next().await {
        unacked += ended.map_err(DemoError::start)?.unacked;
    }
    let _ = stop_depot.send(true);
    serving.await.map_err(DemoError::start)?.map_err(DemoError::start)?;
    let exceptions = office.kinds().await;
    let booked = office.booked();
    let verifying = tokio::task::spawn_blocking(move || office.verify());
    let report = verifying.await.map_err(DemoError::start)??;
    let verified = match report.first_difference {
        None => Ok(report.taps),
        Some(difference) => Err(difference),
    };
    let tally = *told.borrow();
    Ok(Outcome {
        live_ms: 0,
        tally,
        booked,
        unacked,
        exceptions,
        verified: Some(verified),
        fares: Some(audit),
    })
}
