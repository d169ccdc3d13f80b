//! One command at a time over the serial line: frames out, acknowledgement and answer in.
//!
//! What keeps an answer from being taken for another's: unread bytes are thrown away before each
//! command; a command that was dropped or timed out is aborted before the next one, and the next
//! answer then counts only behind its own acknowledgement; and an answer is asked for again only
//! when its command is known to have arrived.

use std::{io, path::Path, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{sleep, timeout},
};
use tokio_serial::{ClearBuffer, SerialPort, SerialStream};

use super::frame::{ACK, Direction, Frame, NACK, Parser, encode};

/// A frame's bytes follow each other; a longer pause in mid-frame means that bytes were lost.
/// Above the 16 ms that USB adapters collect bytes for.
const QUIET: Duration = Duration::from_millis(40);
/// A garbled answer is asked for again once the chip surely has nothing more to say: asked in the
/// middle of a command, it would repeat an older answer. Above a card's 77 ms for a block.
const GARBLED_QUIET: Duration = Duration::from_millis(150);
/// How often a garbled answer is asked for again.
const REPEATS_MAX: u32 = 3;
/// Wakes the chip from low power and is ignored when it is awake.
const WAKE_UP: [u8; 16] = [0x55, 0x55, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// Ten times what six bytes need at 115200 baud; also the chip's time to switch over.
const SWITCH_PAUSE: Duration = Duration::from_millis(5);

/// Why a command has no answer.
#[derive(Debug)]
pub(super) enum LinkError {
    /// The port failed.
    Io(io::Error),
    /// Nothing, or nothing readable, came in time.
    Silent,
    /// The chip does not know the command, or answered what its manual does not describe.
    Refused,
}

impl From<io::Error> for LinkError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The line to one chip.
pub(super) struct Link {
    port: SerialStream,
    parser: Parser,
    /// A command went out whose answer was not taken: it may still come.
    unfinished: bool,
}

impl Link {
    /// Opens the port for this process alone (TIOCEXCL and flock).
    pub(super) fn open(path: &Path, baud: u32) -> io::Result<Self> {
        let port = SerialStream::open(&tokio_serial::new(path.to_string_lossy(), baud))?;
        Ok(Self { port, parser: Parser::default(), unfinished: false })
    }

    /// Changes this end's speed.
    pub(super) fn set_baud(&mut self, baud: u32) -> io::Result<()> {
        Ok(self.port.set_baud_rate(baud)?)
    }

    /// The first command after power-up, which must follow the wake-up bytes at once.
    pub(super) async fn wake(&mut self, pd: &[u8], limit: Duration) -> Result<Vec<u8>, LinkError> {
        self.unfinished = true;
        self.discard()?;
        self.port.write_all(&WAKE_UP).await?;
        self.run(pd, limit, true).await
    }

    /// A command that may be sent twice: retried when the line was silent.
    pub(super) async fn ask(&mut self, pd: &[u8], limit: Duration) -> Result<Vec<u8>, LinkError> {
        for _ in 1..REPEATS_MAX {
            match self.ask_once(pd, limit).await {
                Err(LinkError::Silent) => {}
                settled => return settled,
            }
        }
        self.ask_once(pd, limit).await
    }

    /// A command and its answer's parameters (what follows the answer's code).
    pub(super) async fn ask_once(
        &mut self,
        pd: &[u8],
        limit: Duration,
    ) -> Result<Vec<u8>, LinkError> {
        let stale_possible = std::mem::replace(&mut self.unfinished, true);
        if stale_possible {
            self.port.write_all(&ACK).await?;
            sleep(SWITCH_PAUSE).await;
        }
        self.discard()?;
        self.run(pd, limit, stale_possible).await
    }

    /// The host's acknowledgement of an answer, which `SetSerialBaudRate` alone waits for; then
    /// both ends change over.
    pub(super) async fn change_over(&mut self, baud: u32) -> io::Result<()> {
        self.port.write_all(&ACK).await?;
        sleep(SWITCH_PAUSE).await;
        self.set_baud(baud)?;
        sleep(SWITCH_PAUSE).await;
        Ok(())
    }

    fn discard(&mut self) -> io::Result<()> {
        self.parser.clear();
        Ok(self.port.clear(ClearBuffer::Input)?)
    }

    async fn run(
        &mut self,
        pd: &[u8],
        limit: Duration,
        stale_possible: bool,
    ) -> Result<Vec<u8>, LinkError> {
        let code = pd[0].wrapping_add(1);
        let answer = async {
            self.port.write_all(&encode(Direction::ToChip, pd)).await?;
            self.answer(code, limit, stale_possible).await
        };
        let answer = timeout(limit, answer).await.unwrap_or(Err(LinkError::Silent));
        self.unfinished = matches!(answer, Err(LinkError::Silent | LinkError::Io(_)));
        answer
    }

    /// Reads until the answer with this code has come.
    async fn answer(
        &mut self,
        code: u8,
        limit: Duration,
        stale_possible: bool,
    ) -> Result<Vec<u8>, LinkError> {
        let (mut acked, mut garbled, mut repeats) = (false, false, 0);
        loop {
            while let Some(frame) = self.parser.next_frame() {
                let ours = acked || !stale_possible;
                match frame {
                    Frame::Ack => (acked, garbled) = (true, false),
                    Frame::Corrupt => garbled = true,
                    Frame::Error if ours => return Err(LinkError::Refused),
                    Frame::Data(Direction::FromChip, mut answer) if ours && answer[0] == code => {
                        answer.remove(0);
                        return Ok(answer);
                    }
                    Frame::Error | Frame::Data(..) | Frame::Nack => {}
                }
            }
            let wait = match (self.parser.is_mid_frame(), garbled) {
                (true, _) => QUIET,
                (false, true) => GARBLED_QUIET,
                (false, false) => limit,
            };
            match timeout(wait, self.fill()).await {
                Ok(filled) => filled?,
                Err(_) if self.parser.is_mid_frame() => {
                    self.parser.give_up();
                    garbled = true;
                }
                // Only behind an acknowledgement: else the chip would repeat an older answer.
                Err(_) if garbled && acked && repeats < REPEATS_MAX => {
                    garbled = false;
                    repeats += 1;
                    self.port.write_all(&NACK).await?;
                }
                Err(_) if garbled => garbled = false,
                Err(_) => return Err(LinkError::Silent),
            }
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        let mut bytes = [0; 300];
        match self.port.read(&mut bytes).await? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the line hung up")),
            read => {
                self.parser.push(&bytes[..read]);
                Ok(())
            }
        }
    }
}
