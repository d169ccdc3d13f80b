//! A serial line that comes and goes: opened again after it was lost, with a pause that grows
//! while that fails, and told of once for each time that it was lost.
//!
//! What is said on the line is not known here. Every method may be dropped at any await.

#[cfg(feature = "terminal")]
mod terminal;

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::sleep,
};
use tokio_serial::SerialPortBuilderExt;

#[cfg(feature = "terminal")]
pub use terminal::Terminal;
pub use tokio_serial::SerialStream;

const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(4);

/// Why a line does not serve.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// It does not open.
    #[error("cannot open the serial port {port}: is it plugged in, and may this user open it?")]
    Open {
        /// Which.
        port: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It was open, and is gone.
    #[error("the serial port {port} was lost: is it unplugged?")]
    Lost {
        /// Which.
        port: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// See the module's documentation.
#[derive(Debug)]
pub struct SerialLine {
    port: PathBuf,
    baud: u32,
    open: Option<SerialStream>,
    /// Before the next attempt; none before the first.
    pause: Duration,
}

impl SerialLine {
    /// Not opened yet: what is not there must not keep cards from being read.
    pub fn new(port: impl Into<PathBuf>, baud: u32) -> Self {
        Self { port: port.into(), baud, open: None, pause: Duration::ZERO }
    }

    /// Looks whether the device is there and can be opened.
    pub fn probe(port: &Path, baud: u32) -> Result<(), LineError> {
        open(port, baud).map(drop)
    }

    /// Whether it is open.
    pub const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Opens the line if it is not open, pausing before each attempt but the very first, whose
    /// failure is told; later ones are not news.
    pub async fn ready(&mut self) -> Result<(), LineError> {
        while self.open.is_none() {
            sleep(self.pause).await;
            let first = self.pause.is_zero();
            self.pause = (self.pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
            match open(&self.port, self.baud) {
                Ok(port) => self.open = Some(port),
                Err(error) if first => return Err(error),
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// The next bytes, at least one. Nothing is read of a line that is not open.
    pub async fn read(&mut self, bytes: &mut [u8]) -> Result<usize, LineError> {
        let Some(port) = &mut self.open else {
            return Err(self.lost(io::ErrorKind::NotConnected.into()));
        };
        match port.read(bytes).await {
            Ok(0) => Err(self.lost(io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => {
                self.pause = PAUSE_MIN;
                Ok(count)
            }
            Err(source) => Err(self.lost(source)),
        }
    }

    /// Writes all of it.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), LineError> {
        let Some(port) = &mut self.open else {
            return Err(self.lost(io::ErrorKind::NotConnected.into()));
        };
        port.write_all(bytes).await.map_err(|source| self.lost(source))
    }

    /// Hands the open line to somebody who keeps it until [`Self::lost`] is said.
    pub fn take(&mut self) -> Option<SerialStream> {
        self.open.take()
    }

    /// It is gone, and is opened again by the next [`Self::ready`].
    pub fn lost(&mut self, source: io::Error) -> LineError {
        self.open = None;
        self.pause = self.pause.max(PAUSE_MIN);
        LineError::Lost { port: self.port.clone(), source }
    }

    /// It does its work: the next loss is a new one.
    pub const fn works(&mut self) {
        self.pause = PAUSE_MIN;
    }
}

fn open(path: &Path, baud: u32) -> Result<SerialStream, LineError> {
    tokio_serial::new(path.to_string_lossy(), baud).open_native_async().map_err(|error| {
        let source = io::Error::from(error);
        // The serial library says "not found" of a port that another program holds.
        let held = source.kind() == io::ErrorKind::NotFound && path.exists();
        let source = if held { io::ErrorKind::ResourceBusy.into() } else { source };
        LineError::Open { port: path.to_path_buf(), source }
    })
}
