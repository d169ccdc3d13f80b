//! What each command does.

use std::{
    net::{TcpListener, TcpStream, ToSocketAddrs},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use crate::{
    clock::Clock,
    config::{Config, Keys, parse_hex, settings, to_hex},
    events::Events,
    intake::{Workplace, register_cards},
    metrics::Metrics,
    server::{self, Depot, load_rules},
    store::{Enrolment, Store},
};
use anyhow::{Context, anyhow, bail};
use clearing::Issue;
use fleet_sync::VerifyingKey;
use model::{CardId, CardRecord, Currency, Money, ValidatorId};
use tokio::signal::unix::{SignalKind, signal};

use super::{say, warn};

type Done = anyhow::Result<ExitCode>;

pub(super) fn serve(path: &Path) -> Done {
    let config = Config::load(path)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime
        .block_on(async {
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut terminate = signal(SignalKind::terminate())?;
            let (tell, told) = tokio::sync::oneshot::channel::<()>();
            let serving = server::run(config, Clock::system(), async {
                // A dropped sender means stop, too.
                let _ = told.await;
            });
            tokio::pin!(serving);
            tokio::select! {
                done = &mut serving => return Ok(done?),
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            tracing::info!("stopping; once more stops at once");
            drop(tell);
            tokio::select! {
                done = &mut serving => Ok(done?),
                // Stopping at once is safe: starting again is the recovery.
                _ = interrupt.recv() => Ok(()),
            }
        })
        .map(|()| ExitCode::SUCCESS)
}

pub(super) fn init(path: &Path) -> Done {
    let config = Config::load(path)?;
    for made in Keys::create_missing(&config.keys)? {
        warn(&format!("made {}", made.display()));
    }
    let keys = Keys::load(&config.keys)?;
    say(&to_hex(keys.signing.verifying_key().as_bytes()));
    warn("this is the depot's public key: give it to every validator");
    Ok(ExitCode::SUCCESS)
}

pub(super) fn check_config(path: &Path) -> Done {
    for setting in settings(path)? {
        say(&format!("{} = {}  # {}", setting.key, setting.value, setting.origin));
    }
    Ok(ExitCode::SUCCESS)
}

/// One line per thing looked at; fails when one is not in order.
pub(super) fn doctor(path: &Path) -> Done {
    let config = Config::load(path)?;
    let mut sick = 0;
    let mut look = |what: &str, found: anyhow::Result<String>| match found {
        Ok(fine) => say(&format!("ok    {what}: {fine}")),
        Err(error) => {
            sick += 1;
            say(&format!("FAIL  {what}: {error:#}"));
        }
    };
    look("configuration", Ok(path.display().to_string()));
    look("keys", Keys::load(&config.keys).map(|_| "readable".to_owned()).map_err(Into::into));
    let store = Store::open_existing(&config.database).map_err(|error| {
        anyhow::Error::from(error).context("`serve` makes the books at its first start")
    });
    match store {
        Err(error) => look("books", Err(error)),
        Ok(store) => {
            let fleet = store.validators().map_err(anyhow::Error::from);
            look("books", Ok(config.database.display().to_string()));
            look("fleet", fleet.map(|fleet| format!("{} validators are enrolled", fleet.len())));
            let rules = load_rules(&config, &store, &Clock::system());
            let newest = rules.map(|rules| {
                let tariff = rules.tariffs().newest();
                format!("{}, version {}", tariff.network(), tariff.version())
            });
            look("tariffs", newest.map_err(Into::into));
        }
    }
    look("address", listen(&config));
    look("broker", broker(&config));
    Ok(if sick == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn listen(config: &Config) -> anyhow::Result<String> {
    let address = config.http.listen;
    TcpListener::bind(address)
        .with_context(|| format!("{address}: is the server running already?"))?;
    Ok(format!("{address} is free"))
}

fn broker(config: &Config) -> anyhow::Result<String> {
    let name = format!("{}:{}", config.mqtt.host, config.mqtt.port);
    let addresses = name.to_socket_addrs().with_context(|| format!("{name} has no address"))?;
    let mut last = anyhow!("{name} has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, Duration::from_secs(3)) {
            Ok(_) => return Ok(format!("{name} answers")),
            Err(error) => last = anyhow::Error::from(error).context(format!("{address}")),
        }
    }
    Err(last.context("start the broker, or correct mqtt.host and mqtt.port"))
}

pub(super) fn verify(path: &Path, from_journal: bool, db: Option<PathBuf>) -> Done {
    let mut config = Config::load(path)?;
    if let Some(db) = db {
        config.database = db;
    }
    // Opening makes missing books; here that would hide a wrong path.
    drop(Store::open_existing(&config.database)?);
    let depot = Depot::open(config, Clock::system())?;
    let place = depot.workplace();
    let (store, rules) = (&place.store, &place.rules);
    let mut report = crate::verify::roots(store, depot.checker(), rules)?;
    warn(&format!(
        "{} journal rows, {} closed days, {} transfers added up again",
        report.batches, report.days, report.transfers
    ));
    if from_journal && report.first_difference.is_none() {
        report = crate::verify::verify(store, depot.checker(), rules)?;
        warn(&format!(
            "{} journal rows, {} taps, {} cards, {} transfers, {} closed days booked again",
            report.batches, report.taps, report.cards, report.transfers, report.days
        ));
    }
    match report.first_difference {
        None if !from_journal => {
            say("chain, roots, signatures and balances hold");
            Ok(ExitCode::SUCCESS)
        }
        None => {
            say("the books are what the journal says");
            Ok(ExitCode::SUCCESS)
        }
        Some(difference) => {
            say(&format!("first difference: {difference}"));
            warn("keep a copy of the database before anything else is done with it");
            Ok(ExitCode::FAILURE)
        }
    }
}

pub(super) fn enrol(
    path: &Path,
    id: ValidatorId,
    public_key: &str,
    name: &str,
    replace: bool,
) -> Done {
    let config = Config::load(path)?;
    let key = parse_hex(public_key)
        .and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok())
        .context("the public key must be 64 hexadecimal digits, as `validator keygen` prints")?;
    if id == ValidatorId::DEPOT {
        bail!("{id} stands for the depot itself: give the validator another number");
    }
    let store = Store::open(&config.database)?;
    match store.enrol(id, &key, name, replace, Clock::system().now())? {
        Enrolment::Added => say(&format!("{id} is enrolled")),
        Enrolment::Unchanged => say(&format!("{id} was enrolled with this key before")),
        Enrolment::Replaced => {
            say(&format!("the key of {id} is replaced"));
            warn("a server that is running keeps the old key until it is started again");
        }
        Enrolment::OtherKey => {
            bail!("{id} is enrolled with another key; to replace it, add --replace")
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn add_user(path: &Path, name: &str) -> Done {
    let config = Config::load(path)?;
    let store = Store::open(&config.database)?;
    let secret = crate::auth::invite(&store, name, Clock::system().now())?;
    say(&format!("{}/login?token={}", config.public_url(), secret.reveal()));
    warn("this link works once, within 15 minutes");
    Ok(ExitCode::SUCCESS)
}

pub(super) fn register(
    path: &Path,
    card: CardId,
    record: &str,
    (purse, issuer): (Option<&str>, Option<u16>),
) -> Done {
    let config = Config::load(path)?;
    let record = parse_hex::<{ CardRecord::LEN }>(record)
        .context("the opening record must be 64 hexadecimal digits")?;
    let record = CardRecord::from_bytes(&record).context("this is no card record")?;
    let place = workplace(&config)?;
    let purse = purse.map(Currency::parse).transpose()?;
    if record.layout.profile_names_currency() != purse.is_some() {
        bail!(
            "say --purse for a card whose record begins with 3, and for no other: it is what the \
             card's profile names"
        );
    }
    place.store.note_issuers(&config.issuers)?;
    let issuer = issuer.map_or(Ok(None), |number| config.issuer(number))?;
    register_cards(&place, &[Issue { card, record, purse, issuer }])?;
    let state = place.store.card_state(card)?.map(|(state, _)| state);
    if !state.is_some_and(|state| state.is_registered() && state.purse() == purse) {
        bail!("card {card} is not registered: by its taps its purse is in another currency");
    }
    let known = place.store.card_state(card)?.and_then(|(state, _)| state.issuer());
    if known != issuer {
        let issuers = place.store.issuers()?;
        bail!("card {card} is of {}, and not of {}", issuers.name(known), issuers.name(issuer));
    }
    let balance = Money::new(record.balance.into(), purse.unwrap_or(place.rules.currency()));
    say(&format!("card {card} is registered with a balance of {balance}"));
    Ok(ExitCode::SUCCESS)
}

/// The books beside a server that may be running.
pub(super) fn workplace(config: &Config) -> anyhow::Result<Workplace> {
    let clock = Clock::system();
    let store = Store::open(&config.database)?;
    let rules = load_rules(config, &store, &clock)?;
    Ok(Workplace {
        depot: config.depot.parse()?,
        store: store.into(),
        rules: rules.into(),
        events: Events::default(),
        metrics: Metrics::default(),
        clock,
    })
}

pub(super) fn version(json: bool) -> ExitCode {
    let version = env!("CARGO_PKG_VERSION");
    if json {
        say(&serde_json::json!({ "name": "depot-server", "version": version }).to_string());
    } else {
        say(&format!("depot-server {version}"));
    }
    ExitCode::SUCCESS
}
