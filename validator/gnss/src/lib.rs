//! Satellites on a vehicle: where it stands, and what time it is.
//!
//! `sentences` turns lines into fixes, `stops` fixes into the stop that taps are made at, `time`
//! fixes into a correction of the clock; all three are without I/O and without a clock. `receiver`
//! is the serial line.

mod config;
mod receiver;
mod sentences;
mod stops;
mod time;

pub use config::{GnssConfig, GnssConfigError};
pub use receiver::{Heard, Receiver, Told};
pub use sentences::{Fix, Position, Sentences};
pub use stops::{Matched, Stop, Stops};
pub use time::{Correction, TimeKeeper};
