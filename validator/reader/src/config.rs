//! `[reader]` of the configuration file: which reader, where, how fast.
//!
//! `check` says everything that can be known without touching a device, so that `check-config`
//! and the daemon's start refuse the same files with the same words.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// Speed of a PN532 after reset, and therefore of the first word spoken with it.
pub const RESET_BAUD: u32 = 115_200;
/// Speeds a PN532 can be switched to.
pub const BAUDS: [u32; 8] = [9_600, 19_200, 38_400, 57_600, RESET_BAUD, 230_400, 460_800, 921_600];
/// Speeds on air that a PN532 has.
pub const RF_KBPS: [u32; 3] = [106, 212, 424];
/// libnfc leaves a port without a speed above this one.
const LIBNFC_BAUD_MAX: u32 = 460_800;
/// libnfc copies connection strings into a buffer of 1,024 bytes.
pub(crate) const CONNSTRING_LEN_MAX: usize = 1_023;

/// Which driver speaks with the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReaderKind {
    /// A PN532 on a serial line, by this program's own driver.
    Pn532,
    /// Any reader that libnfc drives, by way of the program `tapline-nfc`.
    Libnfc,
    /// Cards in memory, for demo and tests.
    Virtual,
}

impl fmt::Display for ReaderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pn532 => "pn532",
            Self::Libnfc => "libnfc",
            Self::Virtual => "virtual",
        })
    }
}

/// The table `[reader]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReaderConfig {
    /// Which driver.
    pub kind: ReaderKind,
    /// The serial device, such as `/dev/ttyAMA0`.
    pub port: Option<PathBuf>,
    /// Line speed once the reader is awake; 115200 when absent.
    pub baud: Option<u32>,
    /// Speed on air with cards that can follow, kbit/s: 106, 212 or 424; 106 when absent.
    pub rf_kbps: Option<u32>,
    /// libnfc's own words for a reader, such as `pn532_uart:/dev/ttyAMA0:115200`.
    pub connstring: Option<String>,
    /// The program `tapline-nfc`; absent, it is looked for beside this program and in PATH.
    pub helper: Option<PathBuf>,
}

/// What is wrong with `[reader]`, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReaderConfigError {
    /// A serial reader without a serial device.
    #[error("[reader] kind = \"{0}\" needs port: add, for example, port = \"/dev/ttyAMA0\"")]
    NoPort(ReaderKind),
    /// A speed the chip does not have.
    #[error(
        "[reader] baud = {0} is not a speed of the PN532: choose one of {list}",
        list = list(&BAUDS)
    )]
    Baud(u32),
    /// A speed on air the chip does not have.
    #[error("[reader] rf_kbps = {0} is not a speed of the PN532 on air: use 106, 212 or 424")]
    Rf(u32),
    /// A speed libnfc silently fails at.
    #[error("[reader] baud = {0} is too fast for libnfc: at most 460800, or kind = \"pn532\"")]
    LibnfcBaud(u32),
    /// A key that this kind does not read: a mistake, never ignored.
    #[error("[reader] {key} means nothing with kind = \"{kind}\": remove it")]
    UselessKey {
        /// The key.
        key: &'static str,
        /// The kind it was written beside.
        kind: ReaderKind,
    },
    /// Both ways of naming a libnfc reader at once.
    #[error("[reader] has both connstring and port: keep the one that names the reader")]
    TwoNames,
    /// A connection string that libnfc would misread.
    #[error(
        "[reader] connstring {0:?} is not understood: write driver:device[:speed], \
         such as pn532_uart:/dev/ttyAMA0:115200, at most 1023 bytes"
    )]
    Connstring(String),
    /// libnfc cuts connection strings at colons.
    #[error(
        "[reader] port {0:?} holds a colon or is not text, which libnfc cannot take: \
         use a link with a plain name"
    )]
    LibnfcPort(PathBuf),
    /// A helper that depends on where the program was started.
    #[error("[reader] helper {0:?} must be an absolute path, such as /usr/bin/tapline-nfc")]
    Helper(PathBuf),
}

pub(super) fn list(bauds: &[u32]) -> String {
    bauds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl ReaderConfig {
    /// A PN532 at its own speed.
    pub fn pn532(port: impl Into<PathBuf>) -> Self {
        Self { kind: ReaderKind::Pn532, port: Some(port.into()), ..Self::virtual_cards() }
    }

    /// No hardware.
    pub fn virtual_cards() -> Self {
        let kind = ReaderKind::Virtual;
        Self { kind, port: None, baud: None, rf_kbps: None, connstring: None, helper: None }
    }

    /// Everything that can be said without opening a device.
    pub fn check(&self) -> Result<(), ReaderConfigError> {
        let kind = self.kind;
        if let Some(baud) = self.baud.filter(|b| !BAUDS.contains(b)) {
            return Err(ReaderConfigError::Baud(baud));
        }
        if let Some(kbps) = self.rf_kbps.filter(|kbps| !RF_KBPS.contains(kbps)) {
            return Err(ReaderConfigError::Rf(kbps));
        }
        for (key, said, of) in [
            ("connstring", self.connstring.is_some(), ReaderKind::Libnfc),
            ("helper", self.helper.is_some(), ReaderKind::Libnfc),
            ("rf_kbps", self.rf_kbps.is_some(), ReaderKind::Pn532),
        ] {
            if said && kind != of {
                return Err(ReaderConfigError::UselessKey { key, kind });
            }
        }
        if let Some(helper) = self.helper.as_ref().filter(|helper| !helper.is_absolute()) {
            return Err(ReaderConfigError::Helper(helper.clone()));
        }
        match kind {
            ReaderKind::Pn532 => self.serial_port().map(|_| ()),
            ReaderKind::Virtual if self.port.is_some() => {
                Err(ReaderConfigError::UselessKey { key: "port", kind })
            }
            ReaderKind::Virtual if self.baud.is_some() => {
                Err(ReaderConfigError::UselessKey { key: "baud", kind })
            }
            ReaderKind::Virtual => Ok(()),
            ReaderKind::Libnfc => self.libnfc_connstring().map(|_| ()),
        }
    }

    /// The speed on air asked for.
    pub fn air_speed(&self) -> u32 {
        self.rf_kbps.unwrap_or(RF_KBPS[0])
    }

    /// The speed asked for.
    pub fn line_speed(&self) -> u32 {
        self.baud.unwrap_or(RESET_BAUD)
    }

    /// The serial device of a `pn532`.
    pub(super) fn serial_port(&self) -> Result<&Path, ReaderConfigError> {
        self.port.as_deref().ok_or(ReaderConfigError::NoPort(self.kind))
    }

    /// What libnfc is to open: its own words, or those made of port and baud.
    pub(super) fn libnfc_connstring(&self) -> Result<String, ReaderConfigError> {
        if let Some(text) = &self.connstring {
            if self.port.is_some() {
                return Err(ReaderConfigError::TwoNames);
            }
            if self.baud.is_some() {
                let key = "baud";
                return Err(ReaderConfigError::UselessKey { key, kind: self.kind });
            }
            let plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
            if !plain || text.len() > CONNSTRING_LEN_MAX {
                return Err(ReaderConfigError::Connstring(text.clone()));
            }
            return Ok(text.clone());
        }
        let port = self.serial_port()?;
        let text = port
            .to_str()
            .filter(|text| !text.contains(':') && text.len() < CONNSTRING_LEN_MAX - 30)
            .ok_or_else(|| ReaderConfigError::LibnfcPort(port.to_path_buf()))?;
        let baud = self.line_speed();
        if baud > LIBNFC_BAUD_MAX {
            return Err(ReaderConfigError::LibnfcBaud(baud));
        }
        Ok(format!("pn532_uart:{text}:{baud}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let outcome = match toml::from_str::<ReaderConfig>(text) {
            Ok(config) => config.check().map_or_else(|e| e.to_string(), |()| "ok".into()),
            Err(error) => error.message().to_string(),
        };
        assert!(outcome.contains(expected), "{text}\n{outcome}\nwants {expected}");
    }

    #[test]
    fn each_wrong_table_says_what_to_write_instead() {
        check("kind = 'pn532'\nport = '/dev/ttyAMA0'", "ok");
        check("kind = 'pn532'\nport = '/dev/ttyAMA0'\nbaud = 921600", "ok");
        check("kind = 'virtual'", "ok");
        check("kind = 'pn532'", "needs port: add, for example");
        check("kind = 'pn532'\nport = 'x'\nbaud = 100000", "choose one of 9600, 19200");
        check("kind = 'pn532'\nport = 'x'\nconnstring = 'y'", "connstring means nothing with");
        check("kind = 'pn532'\nport = 'x'\nrf_kbps = 424", "ok");
        check("kind = 'pn532'\nport = 'x'\nrf_kbps = 848", "use 106, 212 or 424");
        check("kind = 'libnfc'\nport = 'x'\nrf_kbps = 424", "rf_kbps means nothing with");
        check("kind = 'virtual'\nport = 'x'", "port means nothing with");
        check("kind = 'virtual'\nbaud = 9600", "baud means nothing with");
        check("kind = 'pn532'\nport = 'x'\nspeed = 9600", "unknown field `speed`");
        check("kind = 'pn533'\nport = 'x'", "expected one of `pn532`, `libnfc`, `virtual`");
        check("port = 'x'", "missing field `kind`");
    }

    #[test]
    fn libnfc_is_given_only_what_it_understands() {
        check("kind = 'libnfc'\nport = 'x'", "ok");
        check("kind = 'libnfc'\nconnstring = 'pn532_uart:/dev/ttyUSB0'", "ok");
        check("kind = 'libnfc'", "needs port");
        check("kind = 'libnfc'\nport = 'a:b'", "holds a colon");
        check("kind = 'libnfc'\nport = 'x'\nbaud = 921600", "too fast for libnfc");
        check("kind = 'libnfc'\nport = 'x'\nconnstring = 'y'", "both connstring and port");
        check("kind = 'libnfc'\nbaud = 9600\nconnstring = 'y'", "baud means nothing");
        check("kind = 'libnfc'\nconnstring = ''", "is not understood");
        check("kind = 'libnfc'\nport = 'x'\nhelper = '/usr/bin/tapline-nfc'", "ok");
        check("kind = 'libnfc'\nport = 'x'\nhelper = 'tapline-nfc'", "must be an absolute path");
        check("kind = 'pn532'\nport = 'x'\nhelper = '/x'", "helper means nothing with");
    }
}
