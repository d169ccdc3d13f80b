//! A PN532 on a pseudo-terminal, with a card whose state is kept in a file.
//!
//! For hand tests of the validator, of libnfc's tools (`LIBNFC_DEFAULT_DEVICE=pn532_uart:PATH
//! nfc-list`) and of anything else that speaks to a PN532 on a serial line.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use card::{Key, KeySet, Opening, VirtualCard};
use clap::Parser;
use model::CardId;
use tapline_tests::pn532::{Emulator, Fault, FiledCard};
use tokio::sync::mpsc;

const EXPLAINED: &str = "\
A reader for programs that expect one on a serial line, and a DESFire EV3 card in its field.
It serves until its input ends; the card's file survives a kill at any moment.

Try it with programs that are not ours:
  pn532 --link /tmp/reader --card /tmp/card --blank 04a1b2c3d4e5f6
  LIBNFC_DEFAULT_DEVICE=pn532_uart:/tmp/reader nfc-list -v
  LIBNFC_DEFAULT_DEVICE=pn532_uart:/tmp/reader mifare-desfire-info";

const MORE: &str = "\
Faults (--fault, or typed as `fault FAULT`); N exchanges with the card go well before:
  pull:N        the card leaves before it hears the next command
  pull-heard:N  the card obeys the next command and leaves; its answer is lost
  mute:N        the next command reaches the card, and the chip falls silent until it is woken
  unplug:N      the next command reaches the card, and the line goes away
  garble:N      one bit of the next answer flips on the line
  deaf:N        the chip does not hear the next command
  status:N      the next answer carries a status that no PN532 gives unasked
  air           media do not follow to a faster speed on air, and are lost when asked to
  noise         stray bytes before every frame
  split         every byte for itself
  relay:MS      the card is somewhere else: whatever it answers is late by so many milliseconds
  slow:MS       each answer is late by so many milliseconds

Typed while it runs:
  remove, place   take the card out of the field, put it (from its file) back in
  unplug, plug    take the line away with the chip's power, bring it back
  fault FAULT     make something go wrong
  heal            nothing goes wrong any more";

#[derive(Parser)]
#[command(name = "pn532", about = "A PN532 made of software, on a pseudo-terminal")]
#[command(long_about = EXPLAINED, after_long_help = MORE)]
struct Args {
    /// Where the terminal is published, as a symbolic link; nothing may be there
    #[arg(long, value_name = "PATH")]
    link: PathBuf,
    /// The card that lies on the reader; written back, durably, before each answer that changes it
    #[arg(long, value_name = "FILE")]
    card: Option<PathBuf>,
    /// Makes the card file first: a card from the factory with this number (14 digits)
    #[arg(long, value_name = "UID", requires = "card", conflicts_with = "issue")]
    blank: Option<CardId>,
    /// Makes the card file first: a card with this number (14 digits), issued under --root
    #[arg(long, value_name = "UID", requires = "card")]
    issue: Option<CardId>,
    /// The root that all keys of an issued card come from, 32 hexadecimal digits
    #[arg(long, value_name = "HEX", default_value = "00112233445566778899aabbccddeeff")]
    root: String,
    /// Stored value of an issued card, in minor units
    #[arg(long, default_value_t = 2_000)]
    balance: u32,
    /// The new card shows another random number, 08 and three bytes, each time the field comes on
    #[arg(long)]
    random_uid: bool,
    /// Something that goes wrong: pull:N, pull-heard:N, mute:N, unplug:N, garble:N, deaf:N,
    /// status:N, air, noise, split, relay:MS, slow:MS; N exchanges go well before
    #[arg(long = "fault", value_name = "FAULT")]
    faults: Vec<Fault>,
}

/// The card that a new file holds, if one is asked for.
fn new_card(args: &Args) -> anyhow::Result<Option<VirtualCard>> {
    let root = Key::from_hex(&args.root).context("--root wants 32 hexadecimal digits")?;
    let mut card = match (args.blank, args.issue) {
        (Some(uid), _) => VirtualCard::blank(uid, root.0),
        (None, Some(uid)) => {
            let opening = Opening { balance: args.balance, ..Opening::default() };
            VirtualCard::issue(uid, root.0, &KeySet::from_root(&root), &opening)?.0
        }
        (None, None) if args.random_uid => bail!("--random-uid is for --blank or --issue"),
        (None, None) => return Ok(None),
    };
    if args.random_uid {
        card.randomize_uid();
    }
    Ok(Some(card))
}

fn publish(link: &Path) -> anyhow::Result<Emulator> {
    Emulator::start(link).map_err(|error| {
        let advice = if error.kind() == io::ErrorKind::AlreadyExists {
            ": something is there; remove it or choose another path"
        } else if error.kind() == io::ErrorKind::NotFound {
            ": the folder is not there"
        } else {
            ""
        };
        let failed = format!("cannot publish a terminal at {}{advice}", link.display());
        anyhow::Error::new(error).context(failed)
    })
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

/// Does what was typed, and says how it went.
async fn obey(line: &str, emulator: &mut Emulator, args: &Args) -> String {
    let done = match line.split_whitespace().collect::<Vec<_>>()[..] {
        [] => return String::new(),
        ["remove"] => {
            emulator.chip().clear();
            Ok(())
        }
        ["place"] => place(emulator, args.card.as_ref()),
        ["unplug"] => {
            emulator.unplug().await;
            Ok(())
        }
        ["plug"] if emulator.is_plugged() => return "it is plugged in".into(),
        ["plug"] => emulator.plug().context("cannot make another terminal"),
        ["heal"] => {
            emulator.chip().heal();
            Ok(())
        }
        ["fault", fault] => match fault.parse() {
            Ok(fault) => {
                emulator.fault(fault);
                Ok(())
            }
            Err(advice) => return advice,
        },
        _ => {
            return format!(
                "{line:?} is no command: type remove, place, unplug, plug, heal or fault FAULT"
            );
        }
    };
    done.map_or_else(|error| format!("{error:#}"), |()| "ok".into())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut out = io::stdout();
    if let (Some(card), Some(file)) = (new_card(&args)?, &args.card) {
        FiledCard::create(card, file)?;
        let kind = if args.blank.is_some() { "a blank card" } else { "an issued card" };
        writeln!(io::stderr(), "made {kind} in {}", file.display())?;
    }
    let mut emulator = publish(&args.link)?;
    place(&emulator, args.card.as_ref())?;
    for fault in &args.faults {
        emulator.fault(*fault);
    }
    writeln!(out, "PN532 at {}", args.link.display())?;
    writeln!(out, "commands: remove, place, unplug, plug, heal, fault FAULT; end of input leaves")?;

    let mut lines = typed_lines();
    while let Some(line) = lines.recv().await {
        writeln!(out, "{}", obey(&line, &mut emulator, &args).await)?;
    }
    Ok(())
}
