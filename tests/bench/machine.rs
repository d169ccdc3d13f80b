//! The machine: what it is, and what its disk takes to make a few bytes durable.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::Path,
    process::Command,
};

use anyhow::Context;
use rustix::fs::fdatasync;

use crate::measure::{Samples, headline, line};

/// About what one tap writes.
const BYTES: [u8; 300] = [0x5a; 300];

/// A file that grows by [`BYTES`] and is synced each time: the limit that nothing durable beats.
pub(crate) struct PlainLog(File);

impl PlainLog {
    pub(crate) fn new(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("plain.log");
        let file = OpenOptions::new().create(true).append(true).open(&path);
        Ok(Self(file.with_context(|| format!("cannot write {}", path.display()))?))
    }

    /// Returns when the bytes are durable.
    pub(crate) fn append(&mut self) -> anyhow::Result<()> {
        self.0.write_all(&BYTES)?;
        Ok(fdatasync(&self.0)?)
    }
}

/// Prints it.
pub(crate) fn describe(scratch: &Path, quick: bool) -> anyhow::Result<()> {
    headline("machine");
    line("processor", &field("/proc/cpuinfo", "model name"));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    line("cores", &cores.to_string());
    let memory = field("/proc/meminfo", "MemTotal");
    let kib: u64 = memory.trim_end_matches(" kB").parse().unwrap_or_default();
    line("memory", &format!("{} MiB", kib / 1024));
    line("kernel", &text("/proc/sys/kernel/osrelease"));
    line("load average at the start", &text("/proc/loadavg"));
    line("disk of the scratch folder", &disk(scratch));
    let build = if cfg!(debug_assertions) { "with debug assertions" } else { "optimised" };
    line("build", build);
    let folder = tempfile::tempdir_in(scratch)?;
    let mut log = PlainLog::new(folder.path())?;
    let mut samples = Samples::default();
    for _ in 0..if quick { 20 } else { 500 } {
        samples.time(|| log.append())?;
    }
    line("plain append of 300 B and fdatasync", &samples.to_string());
    Ok(())
}

fn text(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "unknown".into(), |text| text.trim().to_owned())
}

fn field(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
    found.map_or_else(|| "unknown".into(), |(_, value)| value.trim().to_owned())
}

/// File system and device, as `df` tells them.
fn disk(folder: &Path) -> String {
    let output = Command::new("df").arg("--output=source,fstype").arg(folder).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let words = text.unwrap_or_default();
    let last = words.lines().last().unwrap_or("unknown");
    last.split_whitespace().collect::<Vec<_>>().join(" ")
}
