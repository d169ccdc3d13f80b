//! Software of this validator: releases that the depot plans and the agency signs (ADR-0028).
//!
//! Invariants: a program runs only after its signature, machine, length and hash were checked and
//! it answered once; a switch happens between taps, by ending the program, and `validator start`
//! begins the next one; a release that does not confirm itself gives way to what ran before.

mod disk;
mod watcher;

use std::{
    collections::BTreeSet,
    io::{self, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError, mpsc::channel},
    thread,
    time::Duration,
};

use fleet_sync::{VerifyingKey, open_image};
use model::ValidatorId;
use rustix::process::{Pid, Signal, kill_process};
use sha2::{Digest, Sha256};
use steering::{Next, Standing, plan_of};
use wire::{HeldList, ListKind, ReleasePlan, ReleasePlans, ReleaseStage, ReleaseState, limits};

use disk::ReleaseDisk;
pub use disk::ReleaseDiskError;
pub(crate) use watcher::{Watched, Watcher};

use crate::health::shortened;

/// The variable that names the release to the program that was started as it; empty for the
/// package's own.
pub(crate) const VARIABLE: &str = "TAPLINE_RELEASE";
/// The version of this program.
const PACKAGE: &str = env!("CARGO_PKG_VERSION");
/// How long a program may take to say its version.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// A program that was just written may be busy for a moment.
const BUSY_TRIES: u32 = 40;
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// The kind of this machine, as Rust names it.
pub fn target() -> String {
    let (arch, system) = (std::env::consts::ARCH, std::env::consts::OS);
    let libc = if cfg!(target_env = "musl") { "musl" } else { "gnu" };
    let abi = if cfg!(target_abi = "eabihf") { "eabihf" } else { "" };
    format!("{arch}-unknown-{system}-{libc}{abi}")
}

/// What `validator start` is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Start {
    /// This program itself.
    Package,
    /// A release.
    Release {
        /// Its version.
        version: String,
        /// Where it is.
        program: PathBuf,
    },
}

/// Counts a start of a release on trial, or goes back, and says what to run.
pub(crate) fn start(state: &Path) -> Result<Start, ReleaseDiskError> {
    let disk = ReleaseDisk::open(state)?;
    let mut standing = disk.standing()?;
    let before = standing.clone();
    if let Some(why) = standing.start() {
        tracing::error!(why, "a release is given up: what ran before runs again");
    }
    if let Some(version) = standing.running.clone().filter(|version| !disk.has(version)) {
        tracing::error!(version, "a release is not on the disk: the package's program runs");
        standing.go_back("its program is not on the disk");
        standing.running.take_if(|running| *running == version);
    }
    if standing != before {
        disk.keep(&standing)?;
    }
    Ok(match standing.running {
        None => Start::Package,
        Some(version) => Start::Release { program: disk.program(&version), version },
    })
}

/// What is known of releases here.
pub(crate) fn standing(state: &Path) -> Result<Standing, ReleaseDiskError> {
    ReleaseDisk::open(state)?.standing()
}

/// A release could not be run at all: goes back at once.
pub(crate) fn give_up(state: &Path, why: &str) -> Result<(), ReleaseDiskError> {
    let disk = ReleaseDisk::open(state)?;
    let mut standing = disk.standing()?;
    standing.go_back(why);
    standing.running = None;
    disk.keep(&standing)
}

/// What the validator knows when it asks whether to switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "four facts, each true or not by itself")]
pub(crate) struct Look {
    /// Nobody has tapped for a moment.
    pub(crate) quiet: bool,
    /// Taps are taken, or the depot wants none.
    pub(crate) serves: bool,
    /// A self-test has passed since the start.
    pub(crate) tested: bool,
    /// The depot was heard since the start.
    pub(crate) heard: bool,
    /// Since the start.
    pub(crate) running: Duration,
}

/// The releases of a running validator.
pub(crate) struct Releases {
    key: VerifyingKey,
    validator: ValidatorId,
    target: String,
    book: Mutex<Book>,
}

struct Book {
    disk: ReleaseDisk,
    standing: Standing,
    plans: ReleasePlans,
    /// The disk does not take it; nothing more is done.
    broken: Option<String>,
}

impl Releases {
    /// Opens what is on the disk. Call only in a program that `validator start` runs: nothing else
    /// would begin the next one.
    pub(crate) fn open(
        state: &Path,
        key: VerifyingKey,
        validator: ValidatorId,
    ) -> Result<Self, ReleaseDiskError> {
        let disk = ReleaseDisk::open(state)?;
        let standing = disk.standing()?;
        let book = Book { disk, standing, plans: ReleasePlans::default(), broken: None };
        Ok(Self { key, validator, target: target(), book: Mutex::new(book) })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Whoever panicked holding it has changed the file and the standing together or not at all.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// New plans; answers which images are to be fetched.
    pub(crate) fn take_plans(&self, plans: ReleasePlans) -> BTreeSet<HeldList> {
        let mut book = self.book();
        book.plans = plans;
        drop(book);
        self.wanted()
    }

    /// Which images are to be fetched.
    pub(crate) fn wanted(&self) -> BTreeSet<HeldList> {
        let book = self.book();
        let wanted = self.plan(&book).filter(|plan| book.next(plan) == Next::Fetch);
        wanted.and_then(|plan| self.image(plan)).into_iter().collect()
    }

    fn plan<'a>(&self, book: &'a Book) -> Option<&'a ReleasePlan> {
        plan_of(&book.plans, self.validator, &self.target)
    }

    fn image(&self, plan: &ReleasePlan) -> Option<HeldList> {
        let image = plan.images.iter().find(|image| image.target == self.target)?;
        Some(HeldList { kind: ListKind::IMAGE, version: image.list })
    }

    /// An image is complete: checked, tried out, kept; or refused, with why.
    pub(crate) fn take_image(&self, list: HeldList, content: &[u8]) -> Result<(), String> {
        let mut book = self.book();
        let plan = self.plan(&book).filter(|plan| self.image(plan) == Some(list)).cloned();
        let Some(plan) = plan else { return Err("no plan asks for it".to_owned()) };
        let checked = self.check(&plan, content).and_then(|program| {
            // Something of an earlier standing may lie there under this name.
            let needed: Vec<String> = book.standing.needed().map(ToOwned::to_owned).collect();
            let needed: Vec<&str> = needed.iter().map(String::as_str).collect();
            book.disk.tidy(&needed).map_err(|e| crate::chain(&e))?;
            let installed = book.disk.install(&plan.version, &program, try_out);
            installed.map_err(|e| crate::chain(&e))
        });
        if let Err(why) = &checked {
            let why = shortened(why.clone());
            tracing::error!(version = plan.version, why, "a release is refused");
            book.standing.conclude(plan.number, plan.version, ReleaseStage::Refused, &why);
            book.keep();
        } else {
            tracing::info!(version = plan.version, "a release is here and checked");
        }
        checked
    }

    fn check(&self, plan: &ReleasePlan, content: &[u8]) -> Result<Vec<u8>, String> {
        let (label, packed) = open_image(content, &self.key).map_err(|e| {
            format!("{}: only the agency's release key counts here", crate::chain(&e))
        })?;
        if label.version != plan.version {
            return Err(format!("it is release {}, not {}", label.version, plan.version));
        }
        if label.target != self.target {
            return Err(format!("it is for {}, not for {}", label.target, self.target));
        }
        let mut program = Vec::new();
        // One byte more shows that it is longer than it says.
        let limit = u64::from(label.length) + 1;
        let unpacked = flate2::read::GzDecoder::new(&packed[..]).take(limit);
        let read = { unpacked }.read_to_end(&mut program);
        read.map_err(|e| format!("its program does not unpack: {e}"))?;
        if program.len() != label.length as usize || program.len() > limits::PROGRAM {
            return Err("its program has another length than its label says".to_owned());
        }
        if <[u8; 32]>::from(Sha256::digest(&program)) != label.hash {
            return Err("its program is not the one that was signed".to_owned());
        }
        Ok(program)
    }

    /// What the depot is told.
    pub(crate) fn state(&self, running: &str) -> ReleaseState {
        let book = self.book();
        let running = running.to_owned();
        if let Some(why) = &book.broken {
            let why = shortened(why.clone());
            return ReleaseState { running, plan: 0, stage: ReleaseStage::Refused, why };
        }
        let trial = book.standing.trial.as_ref().map(|trial| trial.plan);
        let Some(plan) = trial.or_else(|| self.plan(&book).map(|plan| plan.number)) else {
            return ReleaseState {
                running,
                plan: 0,
                stage: ReleaseStage::Idle,
                why: String::new(),
            };
        };
        let outcome = book.standing.outcome(plan);
        let stage = match (trial, outcome, self.plan(&book)) {
            (Some(_), ..) => ReleaseStage::Trying,
            (None, Some(outcome), _) => outcome.stage,
            (None, None, Some(plan)) if book.disk.has(&plan.version) => ReleaseStage::Ready,
            (None, None, _) => ReleaseStage::Pending,
        };
        let why = outcome.map_or_else(String::new, |outcome| shortened(outcome.why.clone()));
        ReleaseState { running, plan, stage, why }
    }

    /// Goes on with what there is to do; answers whether this program is to end itself.
    pub(crate) fn look(&self, look: Look) -> bool {
        let mut book = self.book();
        if book.broken.is_some() {
            return false;
        }
        if let Some(trial) = book.standing.trial.clone() {
            let serves = look.serves || !trial.served;
            if look.tested && look.heard && serves {
                book.standing.confirm();
                tracing::info!(plan = trial.plan, "the release has confirmed itself");
                book.keep();
                return false;
            }
            if look.running < Duration::from_secs(u64::from(trial.confirm_s)) || !look.quiet {
                return false;
            }
            let lacks = [
                (look.tested, "no self-test passed"),
                (look.heard, "the depot was not heard"),
                (serves, "no taps are taken"),
            ];
            let lacks: Vec<&str> = lacks.iter().filter(|(ok, _)| !ok).map(|(_, w)| *w).collect();
            let why = format!("within {} s {}", trial.confirm_s, lacks.join(", "));
            tracing::error!(why, "the release is given up");
            book.standing.go_back(&why);
            return book.keep();
        }
        let Some(plan) = self.plan(&book).cloned() else { return false };
        match book.next(&plan) {
            Next::Stay(_) | Next::Fetch => false,
            Next::Applied => {
                book.standing.conclude(plan.number, plan.version, ReleaseStage::Applied, "");
                book.keep();
                false
            }
            Next::Refuse(why) => {
                tracing::error!(version = plan.version, why, "a release is refused");
                book.standing.conclude(plan.number, plan.version, ReleaseStage::Refused, &why);
                book.keep();
                false
            }
            Next::Switch if !look.quiet => false,
            Next::Switch => {
                tracing::info!(version = plan.version, "this program ends for another release");
                book.standing.begin(&plan, look.serves);
                book.keep()
            }
        }
    }
}

impl Book {
    fn next(&self, plan: &ReleasePlan) -> Next {
        self.standing.next(plan, PACKAGE, self.disk.has(&plan.version))
    }

    /// Whether the standing is on the disk.
    fn keep(&mut self) -> bool {
        let kept = self.disk.keep(&self.standing);
        if let Err(error) = &kept {
            let error = crate::chain(error);
            tracing::error!(error, "releases are left as they are");
            self.broken = Some(error);
        }
        kept.is_ok()
    }
}

/// A program that does not run on this machine says so before anything depends on it.
fn try_out(program: &Path) -> io::Result<()> {
    let failed = |what: &str| io::Error::other(format!("its program {what}"));
    let mut child = spawn(program).map_err(|e| failed(&format!("does not start here: {e}")))?;
    let process = Pid::from_child(&child);
    let (tell, told) = channel();
    // Ends with the program.
    let waits = thread::Builder::new().name("try-out".into()).spawn(move || {
        // Whoever asked may have given up.
        let _ = tell.send(child.wait());
    })?;
    let Ok(status) = told.recv_timeout(ANSWER_MAX) else {
        kill_process(process, Signal::KILL)?;
        return Err(failed("does not answer"));
    };
    drop(waits);
    let status = status?;
    if status.success() { Ok(()) } else { Err(failed(&format!("does not run here: {status}"))) }
}

fn spawn(program: &Path) -> io::Result<Child> {
    let mut command = Command::new(program);
    command.arg("version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    for _ in 0..BUSY_TRIES {
        match command.spawn() {
            // Another thread that begins a program holds the file open for a moment.
            Err(e) if e.kind() == io::ErrorKind::ExecutableFileBusy => {
                thread::park_timeout(BUSY_PAUSE);
            }
            spawned => return spawned,
        }
    }
    command.spawn()
}

#[cfg(test)]
mod tests;
