//! `depot-server settings …`: what is set at validators, from a text to who goes by it.

use std::{fs, path::PathBuf, process::ExitCode};

use ::steering::{Applies, SETTINGS, SaidTo};
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use model::ValidatorId;
use serde_json::{Value, json};

use super::{ConfigPath, More, Who, desired::moment, say, warn};
use crate::{
    clock::Clock,
    config::Config,
    steering::{
        self, SettingsFact, Steering, SteeringEvent,
        settings::{Publication, Text, difference, publish, why_behind},
    },
    store::Store,
};

#[derive(Debug, Subcommand)]
pub(super) enum Settings {
    /// Print every setting that a depot may give, what it may be, and when validators go by it.
    Keys,
    /// Check a text, and print what it would change. Nothing is published.
    Check {
        #[command(flatten)]
        config: ConfigPath,
        /// The text, TOML.
        file: PathBuf,
    },
    /// Give a text to validators as the next version. To take one back, publish the one before.
    Publish(Publish),
    /// Give a version to more validators.
    Widen(Widen),
    /// Print a text as it was published, or what one validator is to go by.
    Show {
        #[command(flatten)]
        config: ConfigPath,
        /// The version; the newest when absent.
        number: Option<u64>,
        /// What this validator is to go by, and who said each value.
        #[arg(long, conflicts_with = "number")]
        validator: Option<ValidatorId>,
    },
    /// Print what changed from one version to another.
    Diff {
        #[command(flatten)]
        config: ConfigPath,
        /// From this one.
        before: u64,
        /// To this one.
        after: u64,
    },
    /// Print every version, who published it and why, and how many validators go by it.
    History {
        #[command(flatten)]
        config: ConfigPath,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print validators that do not go by what they are to.
    Behind {
        #[command(flatten)]
        config: ConfigPath,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Publish {
    #[command(flatten)]
    config: ConfigPath,
    /// The text, TOML.
    file: PathBuf,
    /// A validator that gets it first; may be given again.
    #[arg(long = "canary")]
    canaries: Vec<ValidatorId>,
    /// How many of the others, in percent; all when neither this nor a canary is given.
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=100))]
    percent: Option<u8>,
    #[command(flatten)]
    who: Who,
}

#[derive(Debug, Args)]
pub(super) struct Widen {
    #[command(flatten)]
    config: ConfigPath,
    /// The version.
    number: u64,
    #[command(flatten)]
    more: More,
    #[command(flatten)]
    who: Who,
}

pub(super) fn run(command: Settings) -> anyhow::Result<ExitCode> {
    match command {
        Settings::Keys => keys(),
        Settings::Check { config, file } => return check(&config, &file),
        Settings::Publish(command) => publish_text(&command)?,
        Settings::Widen(command) => widen(&command)?,
        Settings::Show { config, number, validator } => show(&config, number, validator)?,
        Settings::Diff { config, before, after } => {
            let steering = steering::current(&books(&config)?)?;
            let (before, after) = (fact(&steering, before)?, fact(&steering, after)?);
            for line in difference(Some(before), after) {
                say(&line);
            }
        }
        Settings::History { config, json } => history(&config, json)?,
        Settings::Behind { config, json } => behind(&config, json)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn books(path: &ConfigPath) -> anyhow::Result<Store> {
    Ok(Store::open_existing(&Config::load(&path.config)?.database)?)
}

fn fact(steering: &Steering, number: u64) -> anyhow::Result<&SettingsFact> {
    let fact = steering.settings.get(&number);
    fact.with_context(|| format!("there are no settings {number}: see `settings history`"))
}

fn keys() {
    for setting in &SETTINGS {
        let when = match setting.applies {
            Applies::AtOnce => "at once",
            Applies::AtNextStart => "at the next start",
        };
        say(&format!("{:<26} {:<35} {when}", setting.key, setting.takes.to_string()));
    }
}

fn read(file: &PathBuf) -> anyhow::Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn check(config: &ConfigPath, file: &PathBuf) -> anyhow::Result<ExitCode> {
    let (store, text) = (books(config)?, read(file)?);
    let problems = match Text::read(&text) {
        Ok(read) => read.check(&store.validators()?),
        Err(problem) => vec![problem],
    };
    for problem in &problems {
        warn(&format!("{}: {problem}", file.display()));
    }
    if !problems.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    let steering = steering::current(&store)?;
    let version = wire::SettingsVersion {
        number: steering.next_settings(),
        canaries: [].into(),
        percent: 100,
        layers: Text::read(&text)?.layers,
    };
    let now = Clock::system().now();
    let (by, reason) = (String::new(), String::new());
    let after = SettingsFact { version, text, by, at: now, reason };
    let lines = difference(steering.settings.values().next_back(), &after);
    for line in &lines {
        say(line);
    }
    warn(&format!("well formed; {} changes", lines.len()));
    Ok(ExitCode::SUCCESS)
}

fn publish_text(command: &Publish) -> anyhow::Result<()> {
    let everybody = if command.canaries.is_empty() { 100 } else { 0 };
    let percent = command.percent.unwrap_or(everybody);
    if command.canaries.is_empty() && percent == 0 {
        bail!("nobody would get it: name a --canary or a --percent");
    }
    let publication = Publication {
        text: read(&command.file)?,
        canaries: command.canaries.clone(),
        percent,
        reason: command.who.reason.clone(),
        by: command.who.by.clone(),
    };
    let store = books(&command.config)?;
    let number = publish(&store, &publication, Clock::system().now())
        .with_context(|| command.file.display().to_string())?;
    say(&format!("settings {number}: {percent} %, {} canaries", publication.canaries.len()));
    Ok(())
}

fn widen(command: &Widen) -> anyhow::Result<()> {
    let store = books(&command.config)?;
    let steering = steering::current(&store)?;
    let percent = fact(&steering, command.number)?.version.percent;
    let event = SteeringEvent::SettingsWidened {
        number: command.number,
        canaries: command.more.numbers(),
        percent: command.more.percent.unwrap_or(percent),
        reason: command.who.reason.trim().to_owned(),
        by: command.who.by.trim().to_owned(),
    };
    let steering = steering::decide(&store, &event, Clock::system().now())?;
    let version = &steering.settings[&command.number].version;
    let (number, canaries) = (version.number, version.canaries.len());
    say(&format!("settings {number}: {} %, {canaries} canaries", version.percent));
    Ok(())
}

fn show(
    config: &ConfigPath,
    number: Option<u64>,
    validator: Option<ValidatorId>,
) -> anyhow::Result<()> {
    let steering = steering::current(&books(config)?)?;
    if let Some(validator) = validator {
        let own = steering.settings_for(validator);
        let own = own.with_context(|| format!("no settings are for {validator}"))?;
        say(&format!("# settings {}", own.number));
        for (key, (value, said)) in &own.values {
            let whom = match said {
                SaidTo::All => "all".to_owned(),
                SaidTo::Group(name) => format!("group {name}"),
                SaidTo::One => validator.to_string(),
            };
            say(&format!("{key} = {value}  # {whom}"));
        }
        return Ok(());
    }
    let newest = steering.settings.keys().next_back().copied();
    let number = number.or(newest).context("nothing is published yet")?;
    say(fact(&steering, number)?.text.trim_end());
    Ok(())
}

fn history(config: &ConfigPath, json: bool) -> anyhow::Result<()> {
    let store = books(config)?;
    let steering = steering::current(&store)?;
    let given: Vec<u64> = steering.settings_given().iter().map(|given| given.number).collect();
    let states = store.validator_states()?;
    let went_by = |number: u64| {
        let by = |state: &&wire::ValidatorState| state.steered.settings == Some(number);
        states.iter().filter_map(|(_, state)| state.as_ref()).filter(by).count()
    };
    let rows = steering.settings.values().rev().map(|fact| {
        let SettingsFact { version, by, at, reason, .. } = fact;
        let number = version.number;
        json!({
            "number": number,
            "given": given.contains(&number),
            "percent": version.percent,
            "canaries": version.canaries.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "by": by,
            "at_ms": at.0,
            "reason": reason,
            "validators": went_by(number),
        })
    });
    if json {
        say(&rows.collect::<Value>().to_string());
        return Ok(());
    }
    for fact in steering.settings.values().rev() {
        let SettingsFact { version, by, at, reason, .. } = fact;
        let (number, percent) = (version.number, version.percent);
        let over = if given.contains(&number) { "" } else { ", over" };
        say(&format!(
            "settings {number} {} {percent} %, {} canaries{over}: {} validators; {reason} ({by})",
            moment(*at),
            version.canaries.len(),
            went_by(number),
        ));
    }
    Ok(())
}

/// Who does not go by what it is to, and why, as far as the depot knows.
fn behind(config: &ConfigPath, json: bool) -> anyhow::Result<()> {
    let store = books(config)?;
    let steering = steering::current(&store)?;
    let newest = steering.lists.get(&wire::ListKind::CONFIG).map(|list| list.version);
    let mut rows = Vec::new();
    for (id, state) in store.validator_states()? {
        let wanted = steering.settings_wanted(id);
        let settings = state.as_ref().and_then(|state| state.steered.settings);
        if wanted == settings {
            continue;
        }
        let why = why_behind(state.as_ref(), newest);
        rows.push(json!({
            "validator": id.to_string(),
            "goes_by": settings,
            "is_to": wanted,
            "why": why,
        }));
    }
    if json {
        say(&Value::from(rows).to_string());
        return Ok(());
    }
    for row in &rows {
        let number =
            |name: &str| row[name].as_u64().map_or("none".to_owned(), |number| number.to_string());
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let (goes_by, is_to) = (number("goes_by"), number("is_to"));
        say(&format!("{} {goes_by} of {is_to}: {}", text("validator"), text("why")));
    }
    Ok(())
}
