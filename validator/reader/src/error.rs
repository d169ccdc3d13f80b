//! What can go wrong with a reader, in words a depot fitter can act on.

use std::{io, path::PathBuf};

use super::config::ReaderConfigError;

/// A reader that cannot be used. A card that cannot is a [`super::ExchangeError`].
#[derive(Debug, thiserror::Error)]
pub enum ReaderError {
    /// The configuration names no reader that could exist.
    #[error(transparent)]
    Config(#[from] ReaderConfigError),
    /// The serial device did not open.
    #[error("cannot open {port}: {advice}", port = .port.display(), advice = open_advice(.source))]
    Open {
        /// The device.
        port: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The device opened, but nothing there speaks as a PN532 does.
    #[error("no PN532 answers at {port} (tried {tried}): check power, that the board's switches \
             select HSU, that TX and RX are crossed, and that no console uses the port",
            port = .port.display())]
    NoAnswer {
        /// The device.
        port: PathBuf,
        /// The speeds tried.
        tried: String,
    },
    /// Another chip answered.
    #[error("the chip at {port} says it is a PN5{chip:02x}, not a PN532: use kind = \"libnfc\"",
            port = .port.display())]
    OtherChip {
        /// The device.
        port: PathBuf,
        /// Its own name.
        chip: u8,
    },
    /// The line went away: unplugged, or its driver failed.
    #[error("lost the reader at {place}: check its cable; it is used again once it is back")]
    Lost {
        /// The device.
        place: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The reader stopped answering.
    #[error(
        "the reader at {place} stopped answering: it is started anew; if this repeats, check \
             its power supply and the length of its cable"
    )]
    Silent {
        /// The device.
        place: String,
    },
    /// The scanner's serial device did not open.
    #[error("cannot open the scanner at {port}: {advice}",
            port = .port.display(), advice = scanner_advice(.source))]
    ScannerOpen {
        /// The device.
        port: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The scanner went away: unplugged, or its driver failed.
    #[error("lost the scanner at {place}: check its cable; it is used again once it is back")]
    ScannerLost {
        /// The device.
        place: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// libnfc found no reader under this name.
    #[error(
        "libnfc cannot open {connstring} ({said}): check that the reader is plugged in, that this \
             user may use it, and the name (nfc-scan-device -v lists them)"
    )]
    Libnfc {
        /// What it was asked to open.
        connstring: String,
        /// libnfc's own words.
        said: String,
    },
    /// The program that drives libnfc is not installed.
    #[error(
        "no program tapline-nfc, which drives the readers of libnfc: build it with cargo build \
             --release -p tapline-reader --features libnfc (needs libnfc-dev), then put it beside \
             this program or into PATH, or name it in [reader] helper (looked for {})",
            places(.looked)
    )]
    HelperMissing {
        /// Where it was looked for.
        looked: Vec<PathBuf>,
    },
    /// The program that drives libnfc does not start.
    #[error("cannot start {program}: check [reader] helper and the file's permissions",
            program = .program.display())]
    HelperStart {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The program is not the helper, or one of another version.
    #[error("{program} does not speak as the tapline-nfc of this version does ({how}): install \
             the one that was built with this program, or correct [reader] helper",
            program = .program.display())]
    HelperStrange {
        /// The program.
        program: PathBuf,
        /// What it did instead.
        how: String,
    },
    /// The helper died.
    #[error(
        "lost the reader at {place}: its helper tapline-nfc {how}; it is started anew, and if this \
             repeats, check the reader's cable and power, or use kind = \"pn532\""
    )]
    HelperEnded {
        /// The reader.
        place: String,
        /// Signal or exit code.
        how: String,
    },
    /// The helper hung.
    #[error(
        "the reader at {place} hung in libnfc: its helper is started anew; if this repeats, check \
             the reader's cable and power, or use kind = \"pn532\""
    )]
    HelperHung {
        /// The reader.
        place: String,
    },
}

/// The first few places.
fn places(places: &[PathBuf]) -> String {
    let shown: Vec<_> = places.iter().take(3).map(|place| place.display().to_string()).collect();
    let more = if places.len() > shown.len() { ", \u{2026}" } else { "" };
    format!("{}{more}", shown.join(", "))
}

fn scanner_advice(error: &io::Error) -> &'static str {
    use io::ErrorKind::{NotFound, PermissionDenied, ResourceBusy, WouldBlock};
    let kind = error.kind();
    if kind == NotFound {
        "there is no such device; plug the scanner in (it is used once it is there), or correct \
         [scanner] port"
    } else if kind == PermissionDenied {
        "this user may not; add it to the group dialout"
    } else if kind == ResourceBusy || kind == WouldBlock {
        "another program uses it; stop that program (a modem manager, perhaps)"
    } else {
        "it is not a usable serial device; correct [scanner] port"
    }
}

fn open_advice(error: &io::Error) -> &'static str {
    use io::ErrorKind::{NotFound, PermissionDenied, ResourceBusy, WouldBlock};
    let kind = error.kind();
    if kind == NotFound {
        "there is no such device; plug the reader in, or correct [reader] port"
    } else if kind == PermissionDenied {
        "this user may not; add it to the group dialout"
    } else if kind == ResourceBusy || kind == WouldBlock {
        "another program uses it; stop that program (a console or libnfc, perhaps)"
    } else {
        "it is not a usable serial device; correct [reader] port"
    }
}
