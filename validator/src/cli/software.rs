//! `validator start` and `validator release`: which program is this device's validator.
//!
//! `start` is done by the program of the device's package, which no roll-out changes. It reads of
//! the configuration nothing but where the state is: what a newer release understands, an older
//! program need not.

use std::{
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::Context;
use serde_json::json;

use super::{log, say, serve};
use crate::{
    releases::{self, Start, VARIABLE},
    store::Durability,
};

/// Becomes the release that is in force, or serves as it is.
pub(super) fn start(path: &Path, durability: Durability) -> anyhow::Result<ExitCode> {
    log();
    let state = state_folder(path)?;
    std::fs::create_dir_all(&state).with_context(|| format!("cannot make {}", state.display()))?;
    for _ in 0..2 {
        let Start::Release { version, program } = releases::start(&state)? else { break };
        tracing::info!(version, "becoming a release");
        // Returns only when it could not.
        let error = Command::new(&program)
            .args(["run", "--config"])
            .arg(path)
            .env(VARIABLE, &version)
            .exec();
        tracing::error!(version, %error, "a release cannot be run");
        releases::give_up(&state, &format!("it cannot be run: {error}"))?;
    }
    // This program, under its own name and not that of a release: it is begun anew so that it
    // knows that `start` began it.
    if std::env::var_os(VARIABLE).is_some_and(|version| version.is_empty()) {
        return serve(path, durability);
    }
    let own = std::env::current_exe().context("this program does not know where it is")?;
    let error = Command::new(own).args(["start", "--config"]).arg(path).env(VARIABLE, "").exec();
    Err(error).context("this program cannot be begun anew")
}

/// What is known of releases here.
pub(super) fn show(path: &Path) -> anyhow::Result<ExitCode> {
    let standing = releases::standing(&state_folder(path)?)?;
    let outcomes = standing.outcomes.iter().map(|outcome| {
        json!({
            "plan": outcome.plan,
            "version": outcome.version,
            "stage": outcome.stage.word(),
            "why": outcome.why,
        })
    });
    let text = json!({
        "target": releases::target(),
        "running": standing.running,
        "on_trial": standing.trial.is_some(),
        "package": env!("CARGO_PKG_VERSION"),
        "plans": outcomes.collect::<Vec<_>>(),
    });
    say(&serde_json::to_string_pretty(&text)?)
}

/// `[state] folder` of a configuration file.
fn state_folder(path: &Path) -> anyhow::Result<PathBuf> {
    let name = path.display();
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration file {name}"))?;
    let table: toml::Table = text.parse().with_context(|| name.to_string())?;
    let folder = table.get("state").and_then(|state| state.get("folder"));
    let folder = folder.and_then(toml::Value::as_str);
    folder.map(PathBuf::from).with_context(|| format!("{name}: state.folder is missing"))
}
