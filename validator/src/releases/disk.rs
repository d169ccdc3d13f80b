//! Releases on the disk: `releases/standing` says what runs, `releases/{version}/` is a checked
//! one.
//!
//! Invariants: a release's folder is there whole or not at all, and so is what the standing says;
//! both are durable when the call returns, whenever the power goes. The standing names nothing that
//! is not there.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use steering::{Outcome, Standing, Trial};
use wire::ReleaseStage;

/// A file of the releases that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("releases: cannot {what} {path}")]
pub struct ReleaseDiskError {
    what: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// The folder of the releases.
#[derive(Debug)]
pub(crate) struct ReleaseDisk {
    folder: PathBuf,
    /// Writes that are left before the power goes.
    #[cfg(test)]
    pub(super) left: std::cell::Cell<Option<u32>>,
}

/// The standing as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StandingFile {
    running: Option<String>,
    trial: Option<TrialFile>,
    outcomes: Vec<OutcomeFile>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrialFile {
    plan: u64,
    before: Option<String>,
    starts: u32,
    confirm_s: u32,
    served: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OutcomeFile {
    plan: u64,
    version: String,
    stage: String,
    why: String,
}

impl ReleaseDisk {
    /// Opens or makes `state/releases`.
    pub(crate) fn open(state: &Path) -> Result<Self, ReleaseDiskError> {
        let folder = state.join("releases");
        fs::create_dir_all(&folder).map_err(failed("make", &folder))?;
        let disk = Self {
            folder,
            #[cfg(test)]
            left: std::cell::Cell::new(None),
        };
        sync_folder(state).map_err(failed("sync", state))?;
        Ok(disk)
    }

    /// What runs. A standing that does not read is put aside: then the package's program runs.
    pub(crate) fn standing(&self) -> Result<Standing, ReleaseDiskError> {
        let path = self.folder.join("standing");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Standing::default()),
            Err(e) => return Err(failed("read", &path)(e)),
        };
        let file = serde_json::from_str::<StandingFile>(&text).ok();
        if let Some(standing) = file.and_then(StandingFile::read) {
            return Ok(standing);
        }
        tracing::error!("what runs does not read: the package's program runs");
        let aside = self.folder.join("standing.damaged");
        fs::rename(&path, &aside).map_err(failed("put aside", &path))?;
        Ok(Standing::default())
    }

    /// Replaces what runs.
    pub(crate) fn keep(&self, standing: &Standing) -> Result<(), ReleaseDiskError> {
        let (path, fresh) = (self.folder.join("standing"), self.folder.join("standing.fresh"));
        let text = serde_json::to_string(&StandingFile::of(standing)).expect("plain values");
        let write = || -> io::Result<()> {
            self.write(&fresh, text.as_bytes(), 0o600)?;
            self.step()?;
            fs::rename(&fresh, &path)?;
            self.step()?;
            sync_folder(&self.folder)
        };
        write().map_err(failed("write", &path))
    }

    /// Whether a checked program of this release is here.
    pub(crate) fn has(&self, version: &str) -> bool {
        self.program(version).is_file()
    }

    /// Where it is.
    pub(crate) fn program(&self, version: &str) -> PathBuf {
        self.folder.join(version).join("validator")
    }

    /// Keeps a checked program, and lets `try_out` have a look before it counts as here.
    pub(crate) fn install(
        &self,
        version: &str,
        program: &[u8],
        try_out: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<(), ReleaseDiskError> {
        let (at, fresh) = (self.folder.join(version), self.folder.join("fresh"));
        let write = || -> io::Result<()> {
            if fresh.exists() {
                fs::remove_dir_all(&fresh)?;
            }
            fs::create_dir(&fresh)?;
            let file = fresh.join("validator");
            self.write(&file, program, 0o700)?;
            self.step()?;
            sync_folder(&fresh)?;
            try_out(&file)?;
            self.step()?;
            fs::rename(&fresh, &at)?;
            self.step()?;
            sync_folder(&self.folder)
        };
        write().map_err(failed("keep", &at))
    }

    /// Removes releases that nothing may come of any more.
    pub(crate) fn tidy(&self, needed: &[&str]) -> Result<(), ReleaseDiskError> {
        let failed = |e| failed("tidy", &self.folder)(e);
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && !needed.contains(&name.as_str()) {
                fs::remove_dir_all(&path).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn write(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
        let open = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path);
        let mut file = open?;
        self.step()?;
        file.write_all(bytes)?;
        self.step()?;
        file.sync_all()
    }

    /// Before each write; in tests the power goes at one of them.
    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "tests count"))]
    #[cfg_attr(not(test), expect(clippy::unnecessary_wraps, reason = "tests cut"))]
    fn step(&self) -> io::Result<()> {
        #[cfg(test)]
        if let Some(left) = self.left.get() {
            if left == 0 {
                return Err(io::Error::other("the power is gone"));
            }
            self.left.set(Some(left - 1));
        }
        Ok(())
    }
}

impl StandingFile {
    fn of(standing: &Standing) -> Self {
        let trial = |trial: &Trial| TrialFile {
            plan: trial.plan,
            before: trial.before.clone(),
            starts: trial.starts,
            confirm_s: trial.confirm_s,
            served: trial.served,
        };
        let outcome = |outcome: &Outcome| OutcomeFile {
            plan: outcome.plan,
            version: outcome.version.clone(),
            stage: outcome.stage.word().to_owned(),
            why: outcome.why.clone(),
        };
        Self {
            running: standing.running.clone(),
            trial: standing.trial.as_ref().map(trial),
            outcomes: standing.outcomes.iter().map(outcome).collect(),
        }
    }

    fn read(self) -> Option<Standing> {
        let trial = |trial: TrialFile| {
            let TrialFile { plan, before, starts, confirm_s, served } = trial;
            Trial { plan, before, starts, confirm_s, served }
        };
        let outcome = |outcome: OutcomeFile| {
            let OutcomeFile { plan, version, stage, why } = outcome;
            let stage = ReleaseStage::ALL.into_iter().find(|known| known.word() == stage)?;
            Some(Outcome { plan, version, stage, why })
        };
        Some(Standing {
            running: self.running,
            trial: self.trial.map(trial),
            outcomes: self.outcomes.into_iter().map(outcome).collect::<Option<_>>()?,
        })
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ReleaseDiskError + use<> {
    let path = path.to_path_buf();
    move |source| ReleaseDiskError { what, path, source }
}

#[cfg(test)]
mod tests {
    use wire::ReleasePlan;

    use super::*;

    fn plan() -> ReleasePlan {
        ReleasePlan {
            number: 4,
            version: "1.1.0".to_owned(),
            images: Vec::new(),
            canaries: std::collections::BTreeSet::new(),
            percent: 100,
            halted: false,
            downgrade: false,
            confirm_s: 60,
        }
    }

    /// A switch as the validator makes it.
    fn switch(disk: &ReleaseDisk) -> Result<(), ReleaseDiskError> {
        let mut standing = disk.standing()?;
        if !disk.has("1.1.0") {
            disk.install("1.1.0", b"the program", |_| Ok(()))?;
        }
        standing.begin(&plan(), true);
        disk.keep(&standing)?;
        standing.start();
        disk.keep(&standing)?;
        standing.confirm();
        disk.keep(&standing)
    }

    #[test]
    fn whenever_the_power_goes_in_a_switch_what_runs_is_whole_and_the_switch_can_go_on() {
        let mut cuts = 0;
        for cut in 0.. {
            let state = tempfile::tempdir().unwrap();
            let disk = ReleaseDisk::open(state.path()).unwrap();
            disk.left.set(Some(cut));
            let done = switch(&disk).is_ok();
            let disk = ReleaseDisk::open(state.path()).unwrap();
            let standing = disk.standing().unwrap();
            if let Some(running) = &standing.running {
                assert_eq!(fs::read(disk.program(running)).unwrap(), b"the program", "cut {cut}");
                let known = standing.trial.is_some() || standing.outcome(4).is_some();
                assert!(known, "cut {cut}: {standing:?}");
            }
            if done {
                break;
            }
            cuts += 1;
            // Everything again, from what is there.
            if standing.running.is_none() {
                switch(&disk).unwrap();
                assert_eq!(disk.standing().unwrap().running.as_deref(), Some("1.1.0"));
            }
        }
        assert!(cuts >= 15, "{cuts}");
    }

    #[test]
    fn a_standing_that_does_not_read_is_put_aside_and_what_is_not_needed_goes() {
        let state = tempfile::tempdir().unwrap();
        let disk = ReleaseDisk::open(state.path()).unwrap();
        switch(&disk).unwrap();
        disk.install("1.2.0", b"other", |_| Ok(())).unwrap();
        disk.tidy(&["1.1.0"]).unwrap();
        assert!(disk.has("1.1.0") && !disk.has("1.2.0"));
        let refused = disk.install("1.3.0", b"bad", |_| Err(io::Error::other("it does not run")));
        assert!(crate::chain(&refused.unwrap_err()).contains("it does not run"));
        assert!(!disk.has("1.3.0"));
        fs::write(state.path().join("releases/standing"), "{\"running\":").unwrap();
        assert_eq!(disk.standing().unwrap(), Standing::default());
        assert!(state.path().join("releases/standing.damaged").exists());
    }
}
