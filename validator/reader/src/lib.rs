//! Readers: what lies between the tap loop and a card.
//!
//! Three transports stand behind one trait: our own PN532 driver on a serial line, libnfc in a
//! process of its own for every other reader (ADR-0006), and cards in memory. They carry bytes and
//! say what is known when the bytes stop; what an answer means, and what a lost answer costs, is
//! decided in `shared/card`.
//!
//! Beside them stands the scanner of codes: whole lines of text, and nothing about tickets.
//!
//! A crate of its own so that the depot's card tool uses the same readers (ADR-0004).
//!
//! Two media in the field are never told apart here: the answer is [`Presence::Several`], and
//! neither is charged.

mod config;
mod error;
mod file_card;
mod kept;
mod medium;
mod nfc;
mod pn532;
mod scanner;
mod virt;
mod watch;

use std::future::Future;

pub use card::ExchangeError;
use model::CardId;

#[cfg(feature = "libnfc")]
pub use self::nfc::helper::main as tapline_nfc;
pub use self::{
    config::{BAUDS, RESET_BAUD, RF_KBPS, ReaderConfig, ReaderConfigError, ReaderKind},
    error::ReaderError,
    file_card::FileCard,
    medium::{Activation, Picc},
    nfc::Libnfc,
    pn532::{Pn532, frame},
    scanner::{Lines, Scanner, ScannerConfig, ScannerConfigError},
    virt::{Cut, VirtualField, VirtualReader},
};

/// What is in the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// One card that can be spoken with. Whether it is ours, its application says.
    Card(CardId),
    /// One medium that cannot be a card of ours: no ISO 14443-4, or no fixed 7-byte UID.
    Foreign,
    /// Two or more media: charge neither, ask for one.
    Several,
}

/// One reader. Every method may be dropped at any await: nothing is lost but the answer, and the
/// next call first puts reader and driver back in step.
pub trait CardTransport: Send {
    /// Waits until something is in the field. An error means that the reader failed; the next call
    /// tries to get it back, pausing before each attempt, so that a plain loop does not spin.
    fn wait_card(&mut self) -> impl Future<Output = Result<Presence, ReaderError>> + Send;

    /// One APDU to the card found last, and its answer.
    fn exchange(
        &mut self,
        apdu: &[u8],
    ) -> impl Future<Output = Result<Vec<u8>, ExchangeError>> + Send;

    /// Waits until what was found last has left the field, so that a card left lying on the reader
    /// is not tapped again. Returns also when something else has taken its place.
    fn wait_gone(&mut self) -> impl Future<Output = Result<(), ReaderError>> + Send;

    /// Lets go of the card: its session and any transaction not committed end.
    fn release(&mut self) -> impl Future<Output = ()> + Send;
}

/// The configured reader.
pub enum Reader {
    /// A PN532 on a serial line.
    Pn532(Pn532),
    /// Whatever libnfc drives.
    Libnfc(Libnfc),
    /// Cards in memory.
    Virtual(VirtualReader),
}

impl Reader {
    /// Checks the configuration, then opens the reader and makes sure that it answers.
    pub async fn open(config: &ReaderConfig) -> Result<Self, ReaderError> {
        config.check()?;
        match config.kind {
            ReaderKind::Pn532 => {
                let (port, baud) = (config.serial_port()?, config.line_speed());
                Ok(Self::Pn532(Pn532::open(port, baud, config.air_speed()).await?))
            }
            ReaderKind::Libnfc => {
                let (name, helper) = (config.libnfc_connstring()?, config.helper.clone());
                Ok(Self::Libnfc(Libnfc::open(name, helper).await?))
            }
            ReaderKind::Virtual => Ok(Self::virtual_cards().0),
        }
    }

    /// As `open`, but a reader that is not there yet is no error: `ready` and `wait_card` say why
    /// until it is, so that a validator that starts before its reader serves once it appears.
    pub async fn open_or_wait(config: &ReaderConfig) -> Result<Self, ReaderConfigError> {
        config.check()?;
        Ok(match config.kind {
            ReaderKind::Pn532 => {
                let (port, baud) = (config.serial_port()?, config.line_speed());
                Self::Pn532(Pn532::open_or_wait(port, baud, config.air_speed()).await)
            }
            ReaderKind::Libnfc => {
                let (name, helper) = (config.libnfc_connstring()?, config.helper.clone());
                Self::Libnfc(Libnfc::open_or_wait(name, helper).await)
            }
            ReaderKind::Virtual => Self::virtual_cards().0,
        })
    }

    /// Makes sure that the reader answers; opens it again where it was lost, pausing before each
    /// attempt. An error says why it does not answer; call again.
    pub async fn ready(&mut self) -> Result<(), ReaderError> {
        match self {
            Self::Pn532(reader) => reader.ready().await,
            Self::Libnfc(reader) => reader.ready().await,
            Self::Virtual(_) => Ok(()),
        }
    }

    /// A reader of cards in memory, and the field to put them in.
    pub fn virtual_cards() -> (Self, VirtualField) {
        let field = VirtualField::default();
        (Self::Virtual(VirtualReader::new(field.clone())), field)
    }

    /// What the reader says of itself, for logs and `doctor`.
    pub fn describe(&self) -> String {
        match self {
            Self::Pn532(reader) => reader.describe(),
            Self::Libnfc(reader) => reader.describe(),
            Self::Virtual(_) => "virtual cards in memory".into(),
        }
    }

    /// Leaves the reader as a fresh start expects it. Dropping does no harm, but the next start
    /// may then need a moment longer to find the line speed.
    pub async fn close(self) {
        match self {
            Self::Pn532(reader) => reader.close().await,
            Self::Libnfc(reader) => reader.close().await,
            Self::Virtual(_) => {}
        }
    }
}

impl CardTransport for Reader {
    async fn wait_card(&mut self) -> Result<Presence, ReaderError> {
        match self {
            Self::Pn532(reader) => reader.wait_card().await,
            Self::Libnfc(reader) => reader.wait_card().await,
            Self::Virtual(reader) => reader.wait_card().await,
        }
    }

    async fn exchange(&mut self, apdu: &[u8]) -> Result<Vec<u8>, ExchangeError> {
        match self {
            Self::Pn532(reader) => reader.exchange(apdu).await,
            Self::Libnfc(reader) => reader.exchange(apdu).await,
            Self::Virtual(reader) => reader.exchange(apdu).await,
        }
    }

    async fn wait_gone(&mut self) -> Result<(), ReaderError> {
        match self {
            Self::Pn532(reader) => reader.wait_gone().await,
            Self::Libnfc(reader) => reader.wait_gone().await,
            Self::Virtual(reader) => reader.wait_gone().await,
        }
    }

    async fn release(&mut self) {
        match self {
            Self::Pn532(reader) => reader.release().await,
            Self::Libnfc(reader) => reader.release().await,
            Self::Virtual(reader) => reader.release().await,
        }
    }
}
