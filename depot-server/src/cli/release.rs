//! `depot-server release …`: software of validators, from the agency's signature to the last bus.

use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use ed25519_dalek::SigningKey;
use fleet_sync::{open_image, sign_image};
use model::ValidatorId;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use wire::{ImageLabel, limits};

use super::{ConfigPath, More, Who, say, warn};
use crate::{
    clock::Clock,
    config::{Config, parse_hex, to_hex},
    steering::{self, PlanFact, ReleaseStates, Steering, SteeringEvent, releases::Bad, span},
    store::Store,
};

#[derive(Debug, Subcommand)]
pub(super) enum Release {
    /// Make the agency's release key: keep it off every server. Its public key is printed.
    Keygen {
        /// Where to write it; a file that exists is never overwritten.
        out: PathBuf,
    },
    /// Sign a program as a release, offline.
    Sign(Sign),
    /// Put a signed release into the books. Nobody gets it before it is planned.
    Add {
        #[command(flatten)]
        config: ConfigPath,
        /// What `release sign` wrote; one for each kind of machine.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Who adds it.
        #[arg(long)]
        by: String,
    },
    /// Give a release to canaries and a share of the others.
    Plan(Plan),
    /// Give a planned release to more validators.
    Widen(Widen),
    /// Stop a roll-out: nobody begins, and who has not switched does not.
    Halt(Decide),
    /// Go on with a roll-out. The failures known now are accepted.
    Resume(Decide),
    /// Give a release to nobody any more. Validators that run it go on with it.
    End(Decide),
    /// Print plans, how far they are, and who did not take them.
    Status {
        #[command(flatten)]
        config: ConfigPath,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Sign {
    /// The release key.
    #[arg(long)]
    key: PathBuf,
    /// The program, stripped.
    #[arg(long)]
    program: PathBuf,
    /// Its version, such as 1.4.0.
    #[arg(long)]
    version: String,
    /// For which machines, as `validator release` prints it, such as aarch64-unknown-linux-gnu.
    #[arg(long)]
    target: String,
    /// Where to write the signed release.
    #[arg(long)]
    out: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Plan {
    #[command(flatten)]
    config: ConfigPath,
    /// The release.
    version: String,
    /// A validator that gets it first; may be given again.
    #[arg(long = "canary")]
    canaries: Vec<ValidatorId>,
    /// How many of the others, in percent.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    percent: u8,
    /// It may replace a newer release.
    #[arg(long)]
    downgrade: bool,
    /// How long a validator may take to confirm it.
    #[arg(long, default_value = "15m", value_parser = span, value_name = "TIME")]
    confirm: Duration,
    #[command(flatten)]
    who: Who,
}

#[derive(Debug, Args)]
pub(super) struct Widen {
    #[command(flatten)]
    config: ConfigPath,
    /// The plan's number.
    plan: u64,
    #[command(flatten)]
    more: More,
    #[command(flatten)]
    who: Who,
}

#[derive(Debug, Args)]
pub(super) struct Decide {
    #[command(flatten)]
    config: ConfigPath,
    /// The plan's number.
    plan: u64,
    #[command(flatten)]
    who: Who,
}

pub(super) fn run(command: Release) -> anyhow::Result<ExitCode> {
    match command {
        Release::Keygen { out } => keygen(&out)?,
        Release::Sign(command) => sign(&command)?,
        Release::Add { config, files, by } => add(&config, &files, &by)?,
        Release::Plan(command) => plan(&command)?,
        Release::Widen(command) => widen(&command)?,
        Release::Halt(Decide { config, plan, who: Who { by, reason } }) => {
            decide(&config, &SteeringEvent::Halted { plan, by, reason })?;
            warn("halted: nobody begins any more, from the next list on");
        }
        Release::Resume(Decide { config, plan, who: Who { by, reason } }) => {
            let (store, now) = (books(&config)?, Clock::system().now());
            let failures = steering::releases::resume(&store, plan, &reason, &by, now)?;
            warn(&format!("goes on; {failures} failures are accepted"));
        }
        Release::End(Decide { config, plan, who: Who { by, reason } }) => {
            decide(&config, &SteeringEvent::Ended { plan, by, reason })?;
            warn("over: validators that run it go on with it");
        }
        Release::Status { config, json } => status(&config, json)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn books(path: &ConfigPath) -> anyhow::Result<Store> {
    Ok(Store::open_existing(&Config::load(&path.config)?.database)?)
}

fn decide(config: &ConfigPath, event: &SteeringEvent) -> anyhow::Result<Steering> {
    Ok(steering::decide(&books(config)?, event, Clock::system().now())?)
}

fn keygen(out: &Path) -> anyhow::Result<()> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).context("the system gives no random numbers")?;
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(out);
    let mut file = file.with_context(|| format!("cannot make {}", out.display()))?;
    file.write_all(format!("{}\n", to_hex(&secret)).as_bytes())?;
    file.sync_all()?;
    say(&to_hex(SigningKey::from_bytes(&secret).verifying_key().as_bytes()));
    Ok(())
}

fn sign(command: &Sign) -> anyhow::Result<()> {
    let Sign { key, program, version, target, out } = command;
    if let Err(error) = semver::Version::parse(version) {
        bail!("--version {version}: {error}; write one such as 1.4.0");
    }
    let text = fs::read_to_string(key).with_context(|| format!("cannot read {}", key.display()))?;
    let secret = parse_hex::<32>(text.trim());
    let secret = secret.with_context(|| format!("{} holds no release key", key.display()))?;
    let program =
        fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    ensure!(
        program.len() <= limits::PROGRAM,
        "the program has {} bytes, more than {}: strip it",
        program.len(),
        limits::PROGRAM
    );
    let label = ImageLabel {
        version: version.clone(),
        target: target.clone(),
        length: u32::try_from(program.len()).context("the program is too long")?,
        hash: Sha256::digest(&program).into(),
    };
    let mut packed = Vec::new();
    let level = flate2::Compression::best();
    flate2::read::GzEncoder::new(&program[..], level).read_to_end(&mut packed)?;
    let content = sign_image(&label, packed, &SigningKey::from_bytes(&secret));
    let content = content.context("the packed program is too large for a list: strip it")?;
    fs::write(out, &content).with_context(|| format!("cannot write {}", out.display()))?;
    say(&format!("release {version} for {target}: {} bytes", content.len()));
    Ok(())
}

fn add(path: &ConfigPath, files: &[PathBuf], by: &str) -> anyhow::Result<()> {
    let config = Config::load(&path.config)?;
    let store = Store::open_existing(&config.database)?;
    for file in files {
        let name = file.display();
        let content = fs::read(file).with_context(|| format!("cannot read {name}"))?;
        let label = if let Some(key) = config.releases.public_key() {
            open_image(&content, &key).with_context(|| name.to_string())?.0
        } else {
            let image = wire::Image::decode(&content).with_context(|| name.to_string())?;
            warn("not checked here, without [releases] key: each validator checks it");
            ImageLabel::decode(&image.label).with_context(|| name.to_string())?
        };
        let now = Clock::system().now();
        let number = steering::releases::add_image(&store, &label, &content, by, now)?;
        say(&format!("image {number}: release {} for {}", label.version, label.target));
    }
    Ok(())
}

fn plan(command: &Plan) -> anyhow::Result<()> {
    if command.canaries.is_empty() && command.percent == 0 {
        bail!("nobody would get it: name a --canary or a --percent");
    }
    let store = books(&command.config)?;
    let number = steering::current(&store)?.next_plan();
    let event = SteeringEvent::Planned {
        number,
        version: command.version.clone(),
        canaries: command.canaries.iter().map(|id| id.number()).collect(),
        percent: command.percent,
        downgrade: command.downgrade,
        confirm_s: u32::try_from(command.confirm.as_secs()).context("--confirm is too long")?,
        by: command.who.by.clone(),
        reason: command.who.reason.clone(),
    };
    steering::decide(&store, &event, Clock::system().now())?;
    say(&format!("plan {number}"));
    Ok(())
}

fn widen(command: &Widen) -> anyhow::Result<()> {
    let store = books(&command.config)?;
    let steering = steering::current(&store)?;
    let fact = steering.plans.get(&command.plan).context("no such plan: see `release status`")?;
    let event = SteeringEvent::Widened {
        plan: command.plan,
        canaries: command.more.numbers(),
        percent: command.more.percent.unwrap_or(fact.plan.percent),
        by: command.who.by.clone(),
        reason: command.who.reason.clone(),
    };
    let steering = steering::decide(&store, &event, Clock::system().now())?;
    let plan = &steering.plans[&command.plan].plan;
    say(&format!("plan {}: {} %, {} canaries", plan.number, plan.percent, plan.canaries.len()));
    Ok(())
}

fn status(config: &ConfigPath, json: bool) -> anyhow::Result<()> {
    let store = books(config)?;
    let (steering, states) = (steering::current(&store)?, store.release_states()?);
    if json {
        let plans = steering.plans.values().map(|fact| as_json(&steering, fact, &states));
        say(&plans.collect::<Value>().to_string());
        return Ok(());
    }
    for fact in steering.plans.values() {
        let PlanFact { plan, by, reason, .. } = fact;
        let (tally, bad) = steering.tally(plan, &states);
        say(&format!(
            "plan {} release {} {}: {} % and {} canaries: {} pending, {} applied, {} failed, \
             {} refused; {reason} ({by})",
            plan.number,
            plan.version,
            phase(fact),
            plan.percent,
            plan.canaries.len(),
            tally.pending,
            tally.applied,
            tally.failed,
            tally.refused,
        ));
        if let Some((by, why, _)) = &fact.halted {
            say(&format!("  halted: {why} ({by})"));
        }
        for Bad { validator, stage, why } in bad {
            say(&format!("  {validator} {}: {why}", stage.word()));
        }
    }
    Ok(())
}

/// Where a plan stands, in a word.
fn phase(fact: &PlanFact) -> &'static str {
    match (fact.ended, &fact.halted) {
        (true, _) => "over",
        (false, Some(_)) => "halted",
        (false, None) => "running",
    }
}

fn as_json(steering: &Steering, fact: &PlanFact, states: &ReleaseStates) -> Value {
    let PlanFact { plan, by, reason, at, .. } = fact;
    let (tally, bad) = steering.tally(plan, states);
    let halted = fact.halted.as_ref();
    let halted = halted.map(|(by, why, at)| json!({ "by": by, "why": why, "at_ms": at.0 }));
    let bad = bad.iter().map(|Bad { validator, stage, why }| {
        json!({ "validator": validator.to_string(), "stage": stage.word(), "why": why })
    });
    json!({
        "plan": plan.number,
        "version": plan.version,
        "phase": phase(fact),
        "percent": plan.percent,
        "canaries": plan.canaries.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "downgrade": plan.downgrade,
        "by": by,
        "reason": reason,
        "at_ms": at.0,
        "pending": tally.pending,
        "applied": tally.applied,
        "failed": tally.failed,
        "refused": tally.refused,
        "halted": halted,
        "bad": bad.collect::<Vec<_>>(),
    })
}
