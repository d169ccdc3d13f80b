//! `depot-server list-keys …`: the keys that seal lists for the fleet.

use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand};
use model::ValidatorId;
use serde_json::json;

use super::{ConfigPath, desired::moment, say, warn};
use crate::{
    clock::Clock,
    config::{Config, ListPayloads},
    list_keys,
    steering::SteeringError,
    store::{KeptListKey, Store, Withheld},
};

#[derive(Debug, Subcommand)]
pub(super) enum ListKeys {
    /// Print which keys there are and who lacks them; never a key.
    Show {
        #[command(flatten)]
        config: ConfigPath,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make a new key, seal all lists anew with it, and give it to everybody but lost devices.
    Rotate {
        #[command(flatten)]
        who: Who,
        /// A validator whose device is lost: it gets no list key any more; may be given again.
        #[arg(long, value_name = "VALIDATOR")]
        lost: Vec<ValidatorId>,
    },
    /// Give a validator keys again: its device was found.
    Give {
        #[command(flatten)]
        who: Who,
        /// Its id, such as v000042.
        validator: ValidatorId,
    },
}

#[derive(Debug, Args)]
pub(super) struct Who {
    #[command(flatten)]
    config: ConfigPath,
    /// Who says so.
    #[arg(long)]
    by: String,
    /// Why.
    #[arg(long)]
    reason: String,
}

pub(super) fn run(command: ListKeys) -> anyhow::Result<ExitCode> {
    match command {
        ListKeys::Show { config, json } => show(&config, json)?,
        ListKeys::Rotate { who, lost } => {
            let (store, by, why) = who.said()?;
            let known = store.validators()?;
            if let Some(id) = lost.iter().find(|id| !known.contains(id)) {
                return Err(SteeringError::Unknown(*id).into());
            }
            let number = list_keys::rotate(&store, &lost, (&by, &why), Clock::system().now())?;
            say(&format!("list key {number}"));
            warn("the running server seals with it within a second; who is away gets it later");
        }
        ListKeys::Give { who, validator } => {
            let (store, by, why) = who.said()?;
            if !store.give_list_keys_again(validator)? {
                bail!("no list keys are withheld from {validator}: see `list-keys show`");
            }
            tracing::info!(%validator, by, why, "list keys are given again");
            warn("it gets the list key within a second");
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Who {
    /// The books, who says so and why.
    fn said(&self) -> anyhow::Result<(Store, String, String)> {
        let (by, why) = (self.by.trim(), self.reason.trim());
        if by.is_empty() || why.is_empty() {
            bail!("--by and --reason are empty: say who and why, for whoever looks later");
        }
        let store = Store::open_existing(&Config::load(&self.config.config)?.database)?;
        Ok((store, by.to_owned(), why.to_owned()))
    }
}

fn show(path: &ConfigPath, json: bool) -> anyhow::Result<()> {
    let config = Config::load(&path.config)?;
    let store = Store::open_existing(&config.database)?;
    let (keys, withheld) = (store.list_keys()?, store.list_keys_withheld()?);
    let survey = store.seal_survey()?;
    let is_sealed = config.mqtt.lists == ListPayloads::Sealed && !keys.is_empty();
    let ids = |ids: &[ValidatorId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    if json {
        let key = |kept: &KeptListKey| {
            json!({
                "number": kept.key.number,
                "made_ms": kept.made_at.0,
                "by": kept.by,
                "why": kept.why,
            })
        };
        let lost = |row: &Withheld| {
            json!({
                "validator": row.validator.to_string(),
                "since_ms": row.since.0,
                "by": row.by,
                "why": row.why,
            })
        };
        say(&json!({
            "sealed": is_sealed,
            "keys": keys.iter().map(key).collect::<Vec<_>>(),
            "withheld": withheld.iter().map(lost).collect::<Vec<_>>(),
            "heard": survey.heard,
            "cannot_read": ids(&survey.cannot),
            "lack_newest": ids(&survey.lacking),
        })
        .to_string());
        return Ok(());
    }
    say(if is_sealed { "lists that name cards are sealed" } else { "lists are not sealed" });
    for kept in &keys {
        let (number, made) = (kept.key.number, moment(kept.made_at));
        say(&format!("key {number} made {made} by {}: {}", kept.by, kept.why));
    }
    for row in &withheld {
        let since = moment(row.since);
        say(&format!("withheld from {} since {since} by {}: {}", row.validator, row.by, row.why));
    }
    for (what, of) in
        [("cannot read them", &survey.cannot), ("lack the newest key", &survey.lacking)]
    {
        say(&format!("{} of {} validators {what} {}", of.len(), survey.heard, ids(of).join(" ")));
    }
    if let Some(why) = list_keys::held_up(&survey).filter(|_| keys.is_empty()) {
        warn(&why);
    }
    Ok(())
}
