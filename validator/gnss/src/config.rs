//! The table `[gnss]`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

const BAUDS: [u32; 6] = [4_800, 9_600, 19_200, 38_400, 57_600, 115_200];

/// The table `[gnss]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GnssConfig {
    /// The serial device of the receiver.
    pub port: PathBuf,
    /// Line speed.
    #[serde(default = "default_baud")]
    pub baud: u32,
    /// The stops of the route by their ids in the tariff, in the order in which they are served,
    /// out and back; none = all places of the tariff, whatever their order.
    #[serde(default)]
    pub stops: Vec<String>,
    /// A vehicle this near to a stop, in metres, is at it.
    #[serde(default = "default_near_m")]
    pub near_m: u32,
    /// It has left once it is so much farther away.
    #[serde(default = "default_leave_m")]
    pub leave_m: u32,
    /// Whether the receiver corrects the clock where no network time does.
    #[serde(default = "default_clock")]
    pub clock: bool,
}

/// What is wrong with `[gnss]`, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GnssConfigError {
    /// No device.
    #[error("[gnss] port is empty: name the serial device, such as \"/dev/ttyACM1\"")]
    NoPort,
    /// An unusual speed is a mistake.
    #[error("[gnss] baud = {0} is not a receiver's speed: choose 4800 to 115200")]
    Baud(u32),
    /// Nearer than a fix is good, or farther than stops are apart.
    #[error("[gnss] near_m = {0} must lie between 10 and 500")]
    Near(u32),
    /// Less than a fix moves by itself.
    #[error("[gnss] leave_m = {0} must lie between 5 and 500")]
    Leave(u32),
}

const fn default_baud() -> u32 {
    9_600
}
const fn default_near_m() -> u32 {
    40
}
const fn default_leave_m() -> u32 {
    30
}
const fn default_clock() -> bool {
    true
}

impl GnssConfig {
    /// A receiver at this device, defaults for the rest.
    pub fn at(port: impl Into<PathBuf>) -> Self {
        Self {
            port: port.into(),
            baud: default_baud(),
            stops: Vec::new(),
            near_m: default_near_m(),
            leave_m: default_leave_m(),
            clock: default_clock(),
        }
    }

    /// Everything that can be said without opening a device.
    pub fn check(&self) -> Result<(), GnssConfigError> {
        if self.port.as_os_str().is_empty() {
            return Err(GnssConfigError::NoPort);
        }
        if !BAUDS.contains(&self.baud) {
            return Err(GnssConfigError::Baud(self.baud));
        }
        if !(10..=500).contains(&self.near_m) {
            return Err(GnssConfigError::Near(self.near_m));
        }
        if !(5..=500).contains(&self.leave_m) {
            return Err(GnssConfigError::Leave(self.leave_m));
        }
        Ok(())
    }
}
