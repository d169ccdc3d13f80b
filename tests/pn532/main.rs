//! A PN532 on a pseudo-terminal, with a card whose state is kept in a file.
//!
//! For hand tests of the validator, of libnfc's tools (`LIBNFC_DEFAULT_DEVICE=pn532_uart:PATH
//! nfc-list`) and of anything else that speaks to a PN532 on a serial line.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use card::{Key, KeySet, Opening, VirtualCard};
use clap::Parser;
use model::CardId;
use reader::{Activation, Picc};
use tapline_tests::pn532::{Emulator, Fault};
use tokio::sync::mpsc;

#[derive(Parser)]
#[command(name = "pn532", about = "A PN532 made of software, on a pseudo-terminal")]
struct Args {
    /// Where the terminal is published, as a symbolic link
    #[arg(long, value_name = "PATH")]
    link: PathBuf,
    /// Image of the card that lies on the reader; written back whenever the card changes
    #[arg(long, value_name = "FILE")]
    card: Option<PathBuf>,
    /// Makes the card file first: a card with this number, issued under --root
    #[arg(long, value_name = "UID", requires = "card")]
    issue: Option<CardId>,
    /// The root that all keys of an issued card come from, 32 hexadecimal digits
    #[arg(long, value_name = "HEX", default_value = "00112233445566778899aabbccddeeff")]
    root: String,
    /// Stored value of an issued card, in minor units
    #[arg(long, default_value_t = 2_000)]
    balance: u32,
    /// Something that goes wrong: pull:N, pull-heard:N, mute:N, unplug:N, garble:N, deaf:N,
    /// status:N, air, noise, split, relay:MS, slow:MS; N exchanges go well before
    #[arg(long = "fault", value_name = "FAULT")]
    faults: Vec<Fault>,
}

/// A card that writes itself to a file before it answers, as the real one does to its memory.
#[derive(Clone)]
struct FiledCard {
    card: VirtualCard,
    file: PathBuf,
    written: Vec<u8>,
}

impl FiledCard {
    fn load(file: &Path) -> anyhow::Result<Self> {
        let bytes = fs::read(file).with_context(|| {
            format!("no card in {}: make one with --issue 04a1b2c3d4e5f6", file.display())
        })?;
        let card = VirtualCard::from_bytes(&bytes)
            .with_context(|| format!("{} is not a card image", file.display()))?;
        Ok(Self { card, file: file.to_path_buf(), written: bytes })
    }

    fn save(&mut self) -> io::Result<()> {
        let bytes = self.card.to_bytes();
        if bytes != self.written {
            let fresh = self.file.with_extension("new");
            fs::write(&fresh, &bytes)?;
            fs::rename(&fresh, &self.file)?;
            self.written = bytes;
        }
        Ok(())
    }
}

impl Picc for FiledCard {
    fn activation(&self) -> Activation {
        self.card.activation()
    }

    fn transceive(&mut self, apdu: &[u8]) -> Option<Vec<u8>> {
        let answer = self.card.transceive(apdu);
        // A card whose memory fails falls silent.
        self.save().ok().and(answer)
    }

    fn field_off(&mut self) {
        self.card.field_off();
    }

    fn deselected(&mut self) {
        self.card.deselected();
    }
}

fn issue(args: &Args, uid: CardId, file: &Path) -> anyhow::Result<()> {
    if file.exists() {
        bail!("{} is there already: remove it, or leave --issue out", file.display());
    }
    let root = Key::from_hex(&args.root).context("--root wants 32 hexadecimal digits")?;
    let opening = Opening { balance: args.balance, ..Opening::default() };
    let (card, _) = VirtualCard::issue(uid, root.0, &KeySet::from_root(&root), &opening)?;
    fs::write(file, card.to_bytes()).with_context(|| format!("cannot write {}", file.display()))
}

fn place(emulator: &Emulator, file: Option<&PathBuf>) -> anyhow::Result<()> {
    if let Some(file) = file {
        emulator.chip().clear();
        emulator.place(FiledCard::load(file)?);
    }
    Ok(())
}

/// The terminal blocks, so it is read beside the runtime.
fn typed_lines() -> mpsc::UnboundedReceiver<String> {
    let (typed, lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        io::stdin().lines().map_while(Result::ok).try_for_each(|line| typed.send(line))
    });
    lines
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let (Some(uid), Some(file)) = (args.issue, &args.card) {
        issue(&args, uid, file)?;
    }
    let mut emulator = Emulator::start(&args.link)
        .with_context(|| format!("cannot publish a terminal at {}", args.link.display()))?;
    place(&emulator, args.card.as_ref())?;
    for fault in &args.faults {
        emulator.fault(*fault);
    }
    let mut out = io::stdout();
    writeln!(out, "PN532 at {}", args.link.display())?;
    writeln!(out, "commands: remove, place, unplug, plug, heal, fault FAULT; end of input leaves")?;

    let mut lines = typed_lines();
    while let Some(line) = lines.recv().await {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            [] => {}
            ["remove"] => emulator.chip().clear(),
            ["place"] => place(&emulator, args.card.as_ref())?,
            ["unplug"] => emulator.unplug().await,
            ["plug"] if emulator.is_plugged() => writeln!(out, "it is plugged in")?,
            ["plug"] => emulator.plug()?,
            ["heal"] => emulator.chip().heal(),
            ["fault", fault] => match fault.parse() {
                Ok(fault) => emulator.fault(fault),
                Err(advice) => writeln!(out, "{advice}")?,
            },
            _ => writeln!(out, "{line:?} is no command")?,
        }
        writeln!(out, "ok")?;
    }
    Ok(())
}
