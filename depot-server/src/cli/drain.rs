//! `depot-server validator drain`: a tap log that comes as a file.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use model::{Epoch, TapSeq, ValidatorId};

use super::{say, warn};
use crate::{config::Config, inbox, store::Store};

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The first and the last entry of a life, as the file holds them.
type Lives = BTreeMap<(ValidatorId, Epoch), (TapSeq, TapSeq)>;

pub(super) fn run(config: &Path, file: &PathBuf, wait_s: u64) -> anyhow::Result<ExitCode> {
    let config = Config::load(config)?;
    // The server makes the books; a wrong path would wait for nobody.
    let store = Store::open_existing(&config.database)?;
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let batches = inbox::read(&bytes).with_context(|| file.display().to_string())?;
    let mut lives = Lives::new();
    for (batch, _) in &batches {
        let key = (batch.head.validator, batch.head.epoch);
        let ends = lives.entry(key).or_insert((batch.head.first, batch.last()));
        *ends = (ends.0.min(batch.head.first), ends.1.max(batch.last()));
    }
    let Some(((validator, epoch), _)) = lives.first_key_value() else {
        say("the file holds no entries");
        return Ok(ExitCode::SUCCESS);
    };
    let name = format!("{validator}-{epoch}-{}", std::process::id());
    let (taken, refused) = inbox::put(&config.database, &bytes, &name)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let ended = runtime.block_on(async {
        let one_of = async {
            while !(taken.exists() || refused.exists()) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(wait_s), one_of).await
    });
    if ended.is_err() {
        warn("no server took it yet: it is taken as soon as one runs");
        return Ok(ExitCode::FAILURE);
    }
    if refused.exists() {
        let why = fs::read_to_string(refused.with_extension("why")).unwrap_or_default();
        bail!("the server refused the file: {why}");
    }
    say_marks(&store, &lives)
}

/// What the books hold now of every life in the file; fails where that is less than the file has.
fn say_marks(store: &Store, lives: &Lives) -> anyhow::Result<ExitCode> {
    let mut all = true;
    for ((validator, epoch), (first, last)) in lives {
        let marks = store.marks_of(*validator)?;
        let through =
            marks.iter().find(|mark| mark.epoch == *epoch).map_or(TapSeq(0), |m| m.through);
        say(&format!(
            "{validator}, epoch {epoch}: the file has {first} to {last}, the books have all \
             through {through}"
        ));
        all &= through >= *last;
    }
    if !all {
        warn(
            "something is missing: entries before the file's first, or the file was not believed; \
             the page of exceptions says which",
        );
    }
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
