//! The validator's program on its own: from its start to its readiness, the memory that it holds
//! with a million cards refused, and the processor that it uses when nobody taps.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Context;
use depot_server::clock::{Clock, Stopwatch};
use fleet_sync::{BlockId, SigningKey, content_pin, sign_manifest};
use model::Timestamp;
use tapline_tests::pn532::Emulator;
use wire::{ListKind, ListPin, Manifest};

use crate::measure::{Samples, grouped, headline, line, ratio, short};

const PROGRAM: &str = env!("CARGO_BIN_EXE_validator-under-test");
/// Longer than any start.
const PATIENCE: Duration = Duration::from_secs(60);
const READY_MAX: Duration = Duration::from_secs(2);
const RESIDENT_KIB_MAX: u64 = 32 * 1024;
/// What `/proc` counts in: `getconf CLK_TCK` is 100 on every Linux that Rust supports.
const TICK: Duration = Duration::from_millis(10);

/// A running validator.
struct Program {
    child: Child,
    metrics: u16,
}

/// Prints it.
pub(crate) fn run(scratch: &Path, quick: bool) -> anyhow::Result<()> {
    let (cards, starts, idle) = if quick {
        (10_000, 1, Duration::from_millis(300))
    } else {
        (1_000_000, 10, Duration::from_secs(20))
    };
    let folder = tempfile::tempdir_in(scratch)?;
    // The chip of the reader lives on it.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let _guard = runtime.enter();
    let reader = Emulator::start(&folder.path().join("reader.tty"))?;
    let metrics = free_port()?;
    let config = prepare(folder.path(), reader.path(), metrics)?;
    refuse(folder.path(), cards)?;
    let mut ready = Samples::default();
    for _ in 1..starts {
        let (program, took) = Program::start(&config, metrics)?;
        ready.push(took);
        drop(program);
    }
    let (program, took) = Program::start(&config, metrics)?;
    ready.push(took);
    let refused = program.metric("tapline_hotlist_cards ")?;
    anyhow::ensure!(refused == cards, "{refused} cards are refused, not {cards}");
    pause(Duration::from_secs(1).min(idle));
    let before = program.processor()?;
    pause(idle);
    let used = program.processor()?.saturating_sub(before);
    let (resident, own) = (program.memory("VmRSS:")?, program.memory("RssAnon:")?);

    headline(&format!("validator: its program, {} cards refused", grouped(cards)));
    line("start to ready", &ready.to_string());
    line("start to ready : 2 s, p99", &ratio(ready.p99().as_nanos(), READY_MAX.as_nanos()));
    let own = format!("{} KiB, {} of them its own", grouped(resident), grouped(own));
    line("resident", &own);
    line("resident : 32 MiB", &ratio(u128::from(resident), u128::from(RESIDENT_KIB_MAX)));
    line("processor, nobody taps", &format!("{} in {}", short(used), short(idle)));
    line("processor : 1 % of one", &ratio(used.as_nanos() * 100, idle.as_nanos()));
    Ok(())
}

/// Keys, tariff and configuration of a validator whose broker is out of reach.
fn prepare(folder: &Path, reader: &Path, metrics: u16) -> anyhow::Result<PathBuf> {
    let file = |name: &str| folder.join(name);
    fs::write(file("city.toml"), depot_server::workload::CITY)?;
    let keygen = ["keygen", "--signing"];
    let made = Command::new(PROGRAM)
        .args(keygen)
        .arg(file("signing.key"))
        .arg("--trial-card-key")
        .arg(file("card.key"))
        .output()?;
    anyhow::ensure!(made.status.success(), "keygen: {}", String::from_utf8_lossy(&made.stderr));
    let public = depot_server::config::to_hex(depot_key().verifying_key().as_bytes());
    fs::write(file("depot.pub"), public)?;
    let at = folder.display();
    let text = format!(
        r#"[validator]
id = "v000042"
role = "board"
place = "a"
route = "7"
clock_kept_by = "ntp"
depot = "north"
[state]
folder = "{at}/state"
[tariff]
files = ["{at}/city.toml"]
[keys]
signing = "{at}/signing.key"
card = "{at}/card.key"
depot = "{at}/depot.pub"
[reader]
kind = "pn532"
port = "{}"
[broker]
host = "127.0.0.1"
port = 9
[metrics]
listen = "127.0.0.1:{metrics}"
"#,
        reader.display()
    );
    fs::write(file("validator.toml"), text)?;
    Ok(file("validator.toml"))
}

fn depot_key() -> SigningKey {
    SigningKey::from_bytes(&[2; 32])
}

/// Puts a hotlist on the validator's disk as it keeps one that came from the depot.
fn refuse(folder: &Path, cards: u64) -> anyhow::Result<()> {
    let content = crate::lists::of(cards);
    let (pin, version) = (content_pin(&content), 1);
    let now = Clock::system().now();
    let lists = folder.join("state/lists");
    fs::create_dir_all(&lists)?;
    let name = format!("list-{}-{version}-{}", ListKind::HOTLIST.0, BlockId(pin.root));
    fs::write(lists.join(name), &content)?;
    let (kind, deltas) = (ListKind::HOTLIST, Vec::new());
    let hotlist = ListPin { kind, version, content: pin, deltas, key: None };
    let manifest = Manifest {
        version: now.secs(),
        issued: now,
        expires: Timestamp(now.0 + 86_400_000),
        lists: vec![hotlist],
    };
    fs::write(lists.join("manifest"), sign_manifest(&manifest, &depot_key())?)?;
    fs::write(lists.join("complete"), now.0.to_le_bytes())?;
    Ok(())
}

impl Program {
    /// Starts it; how long until it takes taps.
    fn start(config: &Path, metrics: u16) -> anyhow::Result<(Self, Duration)> {
        let mut command = Command::new(PROGRAM);
        command.arg("run").arg("--config").arg(config).env("MALLOC_ARENA_MAX", "2");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let watch = Stopwatch::start();
        let mut program = Self { child: command.spawn()?, metrics };
        while !program.page("/health").is_ok_and(|page| page.starts_with("HTTP/1.1 200")) {
            let ended = program.child.try_wait()?;
            anyhow::ensure!(ended.is_none(), "the validator ended: {ended:?}");
            anyhow::ensure!(watch.elapsed() < PATIENCE, "the validator is not ready in time");
            pause(Duration::from_millis(2));
        }
        Ok((program, watch.elapsed()))
    }

    fn page(&self, path: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.metrics))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        Ok(page)
    }

    fn metric(&self, name: &str) -> anyhow::Result<u64> {
        let page = self.page("/metrics")?;
        let value = page.lines().find_map(|line| line.strip_prefix(name));
        Ok(value.with_context(|| name.to_owned())?.trim().parse()?)
    }

    fn memory(&self, name: &str) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let value = status.lines().find_map(|line| line.strip_prefix(name));
        let value = value.with_context(|| name.to_owned())?.trim().trim_end_matches(" kB");
        Ok(value.parse()?)
    }

    /// User and system time so far.
    fn processor(&self) -> anyhow::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name in parentheses may hold anything; fields 14 and 15 are counted behind it.
        let (_, fields) = stat.rsplit_once(") ").context("a name")?;
        let ticks = fields.split(' ').skip(11).take(2).map(str::parse::<u32>);
        let ticks = ticks.sum::<Result<u32, _>>()?;
        Ok(TICK * ticks)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // One that has ended needs no killing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

#[expect(clippy::disallowed_methods, reason = "a real program is watched in real time")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
