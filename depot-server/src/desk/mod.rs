//! The desk: issuing, loading, inspecting, re-keying, retiring and replacing cards by hand, at any
//! reader.
//!
//! Invariants: an intent is durable before the card may commit it, and its outcome is booked after;
//! nothing is put on a card beyond the station's quota (SEC-7); no value is given out for a card
//! whose transactions the books do not know to the last one (REC-9). What a torn card means is
//! decided in `shared/card`, what an operation posts in `shared/clearing`. `docs/card-desk.md` is
//! the manual.

mod due;
mod error;
pub(crate) mod gate;
mod hand;
mod issuer;
mod machine;
mod owed;
mod purse;
mod rekey;
mod resolve;
mod station;

use std::{path::PathBuf, str::FromStr};

use reader::{ReaderConfig, ReaderKind};

pub use error::DeskError;
pub use hand::Hand;
pub use purse::{Cash, written};
pub use rekey::{KeyChange, Rekeyed};
pub use station::{Done, DoneKind, Station, WantedIssue};

/// Which reader, as the command line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReaderName {
    /// A reader.
    Real(ReaderConfig),
    /// A virtual card in a file.
    File(PathBuf),
}

impl FromStr for ReaderName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let how = "write pn532:/dev/ttyUSB0, pn532:/dev/ttyUSB0:460800, libnfc:CONNSTRING or \
                   virtual:FILE";
        let (kind, rest) =
            text.split_once(':').ok_or_else(|| format!("{text:?} names no reader: {how}"))?;
        if rest.is_empty() {
            return Err(format!("{text:?} does not say where the reader is: {how}"));
        }
        let config = match kind {
            "pn532" => {
                let (port, baud) = match rest.rsplit_once(':') {
                    None => (rest, None),
                    Some((port, baud)) => {
                        let speed = baud
                            .parse()
                            .map_err(|_| format!("{baud:?} is no line speed: {how}"))?;
                        (port, Some(speed))
                    }
                };
                ReaderConfig { baud, ..ReaderConfig::pn532(port) }
            }
            "libnfc" => ReaderConfig {
                kind: ReaderKind::Libnfc,
                connstring: Some(rest.to_owned()),
                ..ReaderConfig::virtual_cards()
            },
            "virtual" => return Ok(Self::File(rest.into())),
            other => return Err(format!("there is no kind of reader called {other:?}: {how}")),
        };
        config.check().map_err(|error| error.to_string())?;
        Ok(Self::Real(config))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_are_named_in_one_word_and_wrong_names_say_what_to_write() {
        let named = |text: &str| text.parse::<ReaderName>();
        assert_eq!(
            named("pn532:/dev/ttyUSB0"),
            Ok(ReaderName::Real(ReaderConfig::pn532("/dev/ttyUSB0")))
        );
        let fast = ReaderConfig { baud: Some(460_800), ..ReaderConfig::pn532("/dev/ttyAMA0") };
        assert_eq!(named("pn532:/dev/ttyAMA0:460800"), Ok(ReaderName::Real(fast)));
        assert_eq!(named("virtual:card"), Ok(ReaderName::File("card".into())));
        for (text, words) in [
            ("/dev/ttyUSB0", "names no reader"),
            ("pn532:", "does not say where"),
            ("pn532:/dev/ttyUSB0:fast", "is no line speed"),
            ("pn532:/dev/ttyUSB0:100000", "choose one of 9600"),
            ("acr122:usb", "no kind of reader called"),
        ] {
            let error = named(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
