//! `depot-server desired …`: which validators are to take taps.

use std::{process::ExitCode, time::Duration};

use clap::{Args, Subcommand};
use model::{Timestamp, ValidatorId};
use serde_json::{Value, json};
use wire::{Desired as State, DesiredWord};

use super::{ConfigPath, say, warn};
use crate::{
    clock::Clock,
    config::Config,
    steering::{self, Steering, SteeringError, SteeringEvent, span},
    store::Store,
};

#[derive(Debug, Subcommand)]
pub(super) enum Desired {
    /// Take validators out of service, for a time.
    Out(Want),
    /// Keep validators in service although all are taken out.
    In(Want),
    /// Want nothing of validators any more, before it ends by itself.
    Lift(Lift),
    /// Print what is wanted of which validators, and until when.
    List {
        #[command(flatten)]
        config: ConfigPath,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Which validators.
#[derive(Debug, Args)]
struct Whom {
    #[command(flatten)]
    config: ConfigPath,
    /// Their ids, such as v000042.
    #[arg(required_unless_present = "all")]
    validators: Vec<ValidatorId>,
    /// Every validator; what is said to single ones outranks it.
    #[arg(long, conflicts_with = "validators")]
    all: bool,
    /// Who says so.
    #[arg(long)]
    by: String,
    /// Why, for riders and whoever is asked.
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Args)]
pub(super) struct Want {
    #[command(flatten)]
    whom: Whom,
    /// For how long, such as 90m, 2h or 1d; it ends by itself, also without a link.
    #[arg(long = "for", value_parser = span, value_name = "TIME")]
    lasting: Duration,
}

#[derive(Debug, Args)]
pub(super) struct Lift {
    #[command(flatten)]
    whom: Whom,
}

pub(super) fn run(command: Desired) -> anyhow::Result<ExitCode> {
    match command {
        Desired::Out(want) => tell(&want, DesiredWord::OutOfService)?,
        Desired::In(want) => tell(&want, DesiredWord::InService)?,
        Desired::Lift(Lift { whom }) => {
            let (validators, now) = (whom.numbers(), Clock::system().now());
            let why = whom.reason.trim().to_owned();
            let by = whom.by.trim().to_owned();
            let event = SteeringEvent::Lifted { validators, why, by };
            steering::decide(&whom.books()?, &event, now)?;
            warn("nothing is wanted of them any more: they hear it with the next list");
        }
        Desired::List { config, json } => {
            let steering = steering::current(&books(&config)?)?;
            print(&steering, Clock::system().now(), json);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn books(path: &ConfigPath) -> anyhow::Result<Store> {
    Ok(Store::open_existing(&Config::load(&path.config)?.database)?)
}

impl Whom {
    fn numbers(&self) -> Vec<u32> {
        self.validators.iter().map(|id| id.number()).collect()
    }

    /// The books, in which every one of them is enrolled.
    fn books(&self) -> anyhow::Result<Store> {
        let store = books(&self.config)?;
        let known = store.validators()?;
        match self.validators.iter().find(|id| !known.contains(id)) {
            Some(id) => Err(SteeringError::Unknown(*id).into()),
            None => Ok(store),
        }
    }
}

fn tell(want: &Want, word: DesiredWord) -> anyhow::Result<()> {
    let (whom, now) = (&want.whom, Clock::system().now());
    let until = now.plus(want.lasting);
    let event = SteeringEvent::Desired {
        validators: whom.numbers(),
        word: word.word().to_owned(),
        reason: whom.reason.trim().to_owned(),
        until: until.0,
        by: whom.by.trim().to_owned(),
    };
    steering::decide(&whom.books()?, &event, now)?;
    let who = match whom.validators.len() {
        0 => "all validators".to_owned(),
        1 => "1 validator".to_owned(),
        many => format!("{many} validators"),
    };
    warn(&format!("{who} {} until {}", word.word(), moment(until)));
    Ok(())
}

fn print(steering: &Steering, now: Timestamp, json: bool) {
    let all = steering.desired.all.iter().map(|state| (None, state));
    let each = steering.desired.each.iter().map(|(id, state)| (Some(*id), state));
    let held: Vec<_> = all.chain(each).filter(|(_, state)| state.until > now).collect();
    let by = |who| steering.said_by.get(&who).map_or("", String::as_str);
    if json {
        let rows = held.iter().map(|(who, state)| as_json(*who, state, by(*who)));
        say(&rows.collect::<Value>().to_string());
        return;
    }
    for (who, State { word, reason, until }) in held {
        let (name, word) = (who.map_or("all".to_owned(), |id| id.to_string()), word.word());
        say(&format!("{name:<8} {word:<14} until {}: {reason} ({})", moment(*until), by(who)));
    }
}

fn as_json(who: Option<ValidatorId>, state: &State, by: &str) -> Value {
    json!({
        "validator": who.map(|id| id.to_string()),
        "state": state.word.word(),
        "reason": state.reason,
        "until_ms": state.until.0,
        "by": by,
    })
}

pub(super) fn moment(at: Timestamp) -> String {
    let ms = i64::try_from(at.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    ms.map_or_else(|| at.0.to_string(), |at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}
