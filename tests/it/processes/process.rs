//! One program of a yard as a process.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a program that cannot be run is a failed test"
)]

use std::{
    fs::{self, OpenOptions},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc;

use super::PATIENCE;
use crate::broker::{now, pause};

/// One program, started again after it was killed.
pub(crate) struct Process {
    pub(crate) name: String,
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, PathBuf)>,
    log: PathBuf,
    lines: Option<mpsc::UnboundedSender<String>>,
    child: Option<Child>,
}

impl Process {
    pub(super) fn new(
        name: &str,
        program: &str,
        arguments: &[&str],
        at: &Path,
        lines: Option<mpsc::UnboundedSender<String>>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            program: program.into(),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            environment: Vec::new(),
            log: at.join(format!("{name}.log")),
            lines,
            child: None,
        }
    }

    /// Sets a variable for it, from its next start on.
    pub(crate) fn set_variable(&mut self, name: &str, value: &Path) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Begins with another word of its command line, from its next start on.
    pub(crate) fn begin_with(&mut self, word: &str) {
        word.clone_into(&mut self.arguments[0]);
    }

    /// What it has logged.
    pub(crate) fn logged(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub(crate) fn start(&mut self) {
        let log = OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let mut command = Command::new(&self.program);
        command.envs(self.environment.iter().cloned());
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let lines = self.lines.clone();
        // Ends with the process.
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                // A test that has ended reads no more.
                let _ = lines.as_ref().map(|lines| lines.send(line));
            }
        });
        self.child = Some(child);
    }

    pub(crate) const fn is_started(&self) -> bool {
        self.child.is_some()
    }

    /// Stops it where it is, with all its threads.
    pub(crate) fn freeze(&mut self) {
        self.assert_running();
        let child = self.child.as_ref().unwrap();
        kill_process(Pid::from_child(child), Signal::STOP).unwrap();
        let stat = format!("/proc/{}/stat", child.id());
        let is_stopped = || fs::read_to_string(&stat).unwrap().contains(") T ");
        let deadline = now() + PATIENCE;
        while !is_stopped() {
            assert!(now() < deadline, "{} does not stop", self.name);
            pause(Duration::from_micros(100));
        }
    }

    /// SIGKILL. A process that had ended before by itself is a failure.
    pub(crate) fn kill(&mut self) {
        self.assert_running();
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub(crate) fn assert_running(&mut self) {
        let child = self.child.as_mut().unwrap_or_else(|| panic!("{} is started", self.name));
        if let Some(status) = child.try_wait().unwrap() {
            panic!("{} ended by itself: {status}\n{}", self.name, tail(&self.log));
        }
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some())
    }

    /// The most memory that it ever had resident, KiB.
    pub(crate) fn resident_max_kib(&self) -> u64 {
        let status = format!("/proc/{}/status", self.child.as_ref().unwrap().id());
        let text = fs::read_to_string(status).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// SIGTERM, and how it ended.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.assert_running();
        let mut child = self.child.take().unwrap();
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        let deadline = now() + PATIENCE;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status;
            }
            assert!(now() < deadline, "{} does not stop:\n{}", self.name, tail(&self.log));
            pause(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.get(text.len().saturating_sub(2_000)..).unwrap_or(&text).to_owned()
}
