//! One exchange through our driver and through libnfc, each against the emulated chip on its
//! pseudo-terminal. The chip has a thread of its own, whose processor time is taken off, so that
//! what remains is the driver and the kernel's work for it.

use std::{io, path::Path, sync::mpsc, thread, time::Duration};

use anyhow::Context;
use model::CardId;
use reader::{Activation, CardTransport, Picc, Presence, Reader, ReaderConfig, ReaderKind};
use tapline_tests::pn532::Emulator;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::micros;
use crate::{
    debit::UID,
    measure::{Samples, each, headline, line, ratio, thread_cpu_so_far},
};

/// As long as the longest command of a debit, about.
const COMMAND: [u8; 50] = [0x90; 50];
const WARM_UP: u64 = 50;

/// A card that repeats what it hears, at no cost of its own.
struct Echo(CardId);

impl Picc for Echo {
    fn activation(&self) -> Activation {
        Activation::desfire(self.0)
    }

    fn transceive(&mut self, apdu: &[u8]) -> Option<Vec<u8>> {
        Some(apdu.to_vec())
    }

    fn field_off(&mut self) {}
}

/// The chip on its own thread, which says how much processor time it has taken.
struct Elsewhere {
    asks: UnboundedSender<mpsc::Sender<Duration>>,
}

impl Elsewhere {
    fn start(path: &Path) -> anyhow::Result<Self> {
        let (asks, mut asked) = unbounded_channel::<mpsc::Sender<Duration>>();
        let (tell, ready) = mpsc::channel();
        let path = path.to_path_buf();
        thread::spawn(move || -> io::Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let emulator = Emulator::start(&path)?;
                emulator.place(Echo(UID));
                // Whoever no longer listens is done measuring.
                let _ = tell.send(());
                while let Some(reply) = asked.recv().await {
                    let _ = reply.send(thread_cpu_so_far());
                }
                Ok(())
            })
        });
        ready.recv().context("the emulated chip starts")?;
        Ok(Self { asks })
    }

    fn cpu(&self) -> anyhow::Result<Duration> {
        let (reply, told) = mpsc::channel();
        self.asks.send(reply).ok().context("the emulated chip runs")?;
        told.recv().context("the emulated chip runs")
    }
}

/// What one exchange takes.
struct Driver {
    wall: Samples,
    /// Processor time of this program but for the chip.
    here: Duration,
    /// Processor time of the helper, where there is one.
    helper: Duration,
    chip: Duration,
}

impl Driver {
    fn cpu(&self) -> Duration {
        self.here + self.helper
    }

    /// Time that passes beside the chip's own.
    fn alone(&self) -> Duration {
        self.wall.p50().saturating_sub(self.chip)
    }
}

fn measure(kind: ReaderKind, rounds: u64) -> anyhow::Result<Driver> {
    let folder = tempfile::tempdir()?;
    let chip = Elsewhere::start(&folder.path().join("reader"))?;
    let helper = match (kind, option_env!("CARGO_BIN_EXE_nfc-helper-under-test")) {
        (ReaderKind::Libnfc, Some(program)) => Some(program.into()),
        _ => None,
    };
    let path = folder.path().join("reader");
    let config = ReaderConfig { kind, helper, ..ReaderConfig::pn532(path) };
    // One thread: all it takes is the driver's.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut reader = Reader::open(&config).await?;
        let found = reader.wait_card().await?;
        anyhow::ensure!(found == Presence::Card(UID), "the card is found: {found:?}");
        exchanges(&mut reader, WARM_UP).await?;
        let program = match &reader {
            Reader::Libnfc(libnfc) => libnfc.helper_id(),
            Reader::Pn532(_) | Reader::Virtual(_) => None,
        };
        let (here, there, others) = (thread_cpu_so_far(), helper_cpu(program)?, chip.cpu()?);
        let wall = exchanges(&mut reader, rounds).await?;
        let here = each(thread_cpu_so_far().saturating_sub(here), rounds);
        let helper = each(helper_cpu(program)?.saturating_sub(there), rounds);
        let chip = each(chip.cpu()?.saturating_sub(others), rounds);
        reader.close().await;
        Ok(Driver { wall, here, helper, chip })
    })
}

async fn exchanges(reader: &mut Reader, rounds: u64) -> anyhow::Result<Samples> {
    let mut wall = Samples::default();
    for _ in 0..rounds {
        let watch = depot_server::clock::Stopwatch::start();
        let answer = reader.exchange(&COMMAND).await;
        wall.push(watch.elapsed());
        let answer = answer.ok().context("the card answers")?;
        anyhow::ensure!(answer == COMMAND, "the card repeats what it hears");
    }
    Ok(wall)
}

/// Processor time of all threads of a process so far.
fn helper_cpu(process: Option<u32>) -> anyhow::Result<Duration> {
    let Some(process) = process else { return Ok(Duration::ZERO) };
    let mut nanos = 0;
    for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        let spent = text.split_whitespace().next().context("schedstat holds three numbers")?;
        nanos += spent.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// Processor time of our driver for one exchange, the kernel's part included.
pub(super) fn ours(rounds: u64) -> anyhow::Result<Duration> {
    Ok(measure(ReaderKind::Pn532, rounds)?.cpu())
}

/// Prints both.
pub(super) fn compare(rounds: u64) -> anyhow::Result<()> {
    headline("drivers: one exchange of 50 B over the emulated PN532, the chip's part taken off");
    let native = measure(ReaderKind::Pn532, rounds)?;
    describe("our driver", &native);
    if option_env!("CARGO_BIN_EXE_nfc-helper-under-test").is_none() {
        line("libnfc", "not built: add --features libnfc");
        return Ok(());
    }
    let libnfc = measure(ReaderKind::Libnfc, rounds)?;
    describe("libnfc", &libnfc);
    line("libnfc: its helper alone, processor", &micros(libnfc.helper));
    let of = |of: Duration, to: Duration| ratio(of.as_nanos(), to.as_nanos());
    line("ours : libnfc, processor time", &of(native.cpu(), libnfc.cpu()));
    line("ours : libnfc, helper alone, processor time", &of(native.cpu(), libnfc.helper));
    line("ours : libnfc, time at p50 less the chip's", &of(native.alone(), libnfc.alone()));
    Ok(())
}

fn describe(name: &str, driver: &Driver) {
    line(
        name,
        &format!(
            "processor {}, time {} (p50 {} less {} of the chip), p99 {}",
            micros(driver.cpu()),
            micros(driver.alone()),
            micros(driver.wall.p50()),
            micros(driver.chip),
            micros(driver.wall.p99()),
        ),
    );
}
