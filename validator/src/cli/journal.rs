//! `validator journal …`

use std::{
    fs::OpenOptions,
    io::{self, Write, stdout},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;
use clap::{Args, Subcommand};
use model::{Epoch, TapSeq};

use super::{DEFAULT_CONFIG, say};
use crate::{
    config::Config,
    journal::{Journal, Wanted, report},
    keys,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print the entries, oldest first.
    List {
        #[command(flatten)]
        place: Place,
        /// Only of this life of the log.
        #[arg(long)]
        epoch: Option<u32>,
        /// From this number on.
        #[arg(long)]
        from: Option<u64>,
        /// The last so many.
        #[arg(long)]
        last: Option<usize>,
        /// One JSON object a line; amounts are minor units of the card's currency.
        #[arg(long)]
        json: bool,
        /// Show whole card numbers; without it only the last two bytes are shown.
        #[arg(long)]
        number: bool,
    },
    /// Check every entry: checksum, number, chain, registers. Exit code 1 when one is not whole.
    Verify {
        #[command(flatten)]
        place: Place,
    },
    /// Write the entries, signed, into a file for `depot-server validator drain`.
    Export {
        #[command(flatten)]
        place: Place,
        /// The new file.
        #[arg(long)]
        out: PathBuf,
    },
}

/// Which log.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// The configuration file, which names the log, the validator and its signing key.
    #[arg(long, default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// Another log than the configuration's: a state folder, or one in quarantine.
    #[arg(long)]
    store: Option<PathBuf>,
    /// Read what is left of a store that does not open.
    #[arg(long)]
    carve: bool,
}

impl Place {
    fn open(&self) -> anyhow::Result<Journal> {
        // A store says whose it is, so the configuration is asked only where it is needed.
        let path = match &self.store {
            Some(path) => path.clone(),
            None => Config::load(&self.config)?.state.folder,
        };
        let journal = if self.carve {
            Journal::carve(&path, Config::load(&self.config)?.validator.id)
        } else {
            Journal::open(&path)
        };
        journal.with_context(|| format!("cannot read the tap log in {}", path.display()))
    }
}

pub(super) fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List { place, epoch, from, last, json, number } => {
            let wanted = Wanted {
                epoch: epoch.map(Epoch),
                from: from.map(TapSeq),
                last,
                whole_number: number,
            };
            let mut out = io::BufWriter::new(stdout().lock());
            let written = place.open()?.each(&wanted, |line| {
                if json {
                    serde_json::to_writer(&mut out, line)?;
                    writeln!(out)
                } else {
                    writeln!(out, "{line}")
                }
            })?;
            // Whoever reads may have seen enough, such as `head`.
            match written.and_then(|()| out.flush()) {
                Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(e.into()),
                Ok(()) | Err(_) => Ok(ExitCode::SUCCESS),
            }
        }
        Command::Verify { place } => {
            let (text, whole) = report(&place.open()?.audit()?);
            say(text.trim_end())?;
            Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Export { place, out } => export(&place, &out),
    }
}

fn export(place: &Place, out: &PathBuf) -> anyhow::Result<ExitCode> {
    let journal = place.open()?;
    let config = Config::load(&place.config)?;
    anyhow::ensure!(
        config.validator.id == journal.validator(),
        "the log is that of {}, and {} configures {}: its signing key is needed",
        journal.validator(),
        place.config.display(),
        config.validator.id
    );
    let key = keys::load_signing(&config.keys.signing)?;
    let (bytes, entries) = journal.export(&key)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(out)
        .with_context(|| format!("cannot make {}: choose a new file", out.display()))?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    say(&format!(
        "{entries} entries of {} are in {}: depot-server validator drain {0}",
        journal.validator(),
        out.display()
    ))
}
