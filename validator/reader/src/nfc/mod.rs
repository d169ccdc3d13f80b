//! Any reader that libnfc drives, by way of the program `tapline-nfc` (ADR-0006).
//!
//! The C library calls `abort()` on a status byte it does not know, and may hang in a driver. It
//! therefore lives in a process of its own: here are its supervisor, which links no C code, and
//! behind the feature `libnfc` the helper's own code. A helper that dies or hangs costs the
//! exchange under way, which fails as if the card had left, and is started anew.

#[cfg(feature = "libnfc")]
mod driver;
#[cfg(feature = "libnfc")]
pub(crate) mod helper;
mod process;
mod protocol;

use std::{io, path::PathBuf, time::Duration};

use self::{
    process::{Over, Process},
    protocol::{APDU_LEN_MAX, Reply, Request},
};
use super::{
    CardTransport, ExchangeError, Presence, ReaderError,
    kept::Kept,
    medium::presence,
    watch::{Looking, Watch},
};

const LOOK_PERIOD: Duration = Duration::from_millis(50);
const GONE_PERIOD: Duration = Duration::from_millis(100);
/// libnfc itself gives up a port where nobody answers after 1.4 s.
const OPEN_LIMIT: Duration = Duration::from_secs(6);
const LOOK_LIMIT: Duration = Duration::from_secs(4);
/// libnfc gives a card 0.6 s, and asks once more whether it is there.
const EXCHANGE_LIMIT: Duration = Duration::from_secs(2);
const RELEASE_LIMIT: Duration = Duration::from_secs(2);

/// A reader driven by the helper.
pub struct Libnfc {
    helper: Option<PathBuf>,
    connstring: String,
    process: Kept<Box<Process>>,
    /// What the reader calls itself.
    name: String,
    watch: Watch,
}

impl Libnfc {
    /// Starts the helper and opens the reader.
    pub async fn open(connstring: String, helper: Option<PathBuf>) -> Result<Self, ReaderError> {
        let mut reader = Self::closed(connstring, helper);
        reader.start().await?;
        Ok(reader)
    }

    /// A reader that the next look opens; told until then why it is not.
    pub(super) async fn open_or_wait(connstring: String, helper: Option<PathBuf>) -> Self {
        let mut reader = Self::closed(connstring, helper);
        if let Err(error) = reader.start().await {
            reader.process = Kept::missing(error);
        }
        reader
    }

    fn closed(connstring: String, helper: Option<PathBuf>) -> Self {
        let missing = ReaderError::Libnfc { connstring: connstring.clone(), said: String::new() };
        Self {
            helper,
            connstring,
            process: Kept::missing(missing),
            name: String::new(),
            watch: Watch::new(LOOK_PERIOD, GONE_PERIOD),
        }
    }

    /// Returns once the reader is closed and free for others.
    pub async fn close(self) {
        if let Some(process) = self.process.into_inner() {
            process.close().await;
        }
    }

    /// What it is, for people.
    pub fn describe(&self) -> String {
        let place = &self.connstring;
        match self.process.get() {
            Some(process) => format!("{} by libnfc {} at {place}", self.name, process.libnfc),
            None => format!("libnfc reader {place}, not answering"),
        }
    }

    /// The helper's process, for tests that end it.
    pub fn helper_id(&self) -> Option<u32> {
        self.process.get().and_then(|process| process.id())
    }

    async fn start(&mut self) -> Result<(), ReaderError> {
        let mut process = Process::start(self.helper.as_deref()).await?;
        match process.ask(&Request::Open(self.connstring.clone()), OPEN_LIMIT).await {
            Ok(Reply::Opened(name)) => {
                self.name = name;
                self.process.put(Box::new(process));
                Ok(())
            }
            Ok(Reply::Failed(said)) => {
                process.close().await;
                Err(ReaderError::Libnfc { connstring: self.connstring.clone(), said })
            }
            Ok(_) => Err(self.over(&process, &Over::Strange)),
            Err(over) => Err(self.over(&process, &over)),
        }
    }

    /// Makes sure that the reader answers; opens it again where it was lost.
    pub(super) async fn ready(&mut self) -> Result<(), ReaderError> {
        if self.process.is_due().await?
            && let Err(error) = self.start().await
        {
            self.process.lose();
            return Err(error);
        }
        Ok(())
    }

    fn over_now(&self, over: &Over) -> ReaderError {
        match self.process.get() {
            Some(process) => self.over(process, over),
            None => ReaderError::Silent { place: self.connstring.clone() },
        }
    }

    fn over(&self, process: &Process, over: &Over) -> ReaderError {
        let (program, place) = (process.program.clone(), self.connstring.clone());
        match over {
            Over::Ended(how) => ReaderError::HelperEnded { place, how: how.clone() },
            Over::Hung => ReaderError::HelperHung { place },
            Over::Strange => {
                ReaderError::HelperStrange { program, how: "it says something else".into() }
            }
        }
    }
}

impl Looking for Libnfc {
    fn watch(&mut self) -> &mut Watch {
        &mut self.watch
    }

    async fn look(&mut self) -> Result<Option<Presence>, ReaderError> {
        self.ready().await?;
        let Some(process) = self.process.get_mut() else { return Ok(None) };
        let error = match process.ask(&Request::Look, LOOK_LIMIT).await {
            Ok(Reply::Seen(media)) => {
                self.process.works();
                return Ok(presence(&media));
            }
            Ok(Reply::Failed(said)) => {
                let (place, source) = (self.connstring.clone(), io::Error::other(said));
                ReaderError::Lost { place, source }
            }
            Ok(_) => self.over_now(&Over::Strange),
            Err(over) => self.over_now(&over),
        };
        // Dropped with what it holds: a helper that failed once begins anew as a whole.
        self.process.lose();
        Err(error)
    }
}

impl CardTransport for Libnfc {
    async fn wait_card(&mut self) -> Result<Presence, ReaderError> {
        self.until_found().await
    }

    async fn exchange(&mut self, apdu: &[u8]) -> Result<Vec<u8>, ExchangeError> {
        let (Some(process), Some(Presence::Card(_))) = (self.process.get_mut(), self.watch.found())
        else {
            return Err(ExchangeError::Absent);
        };
        if apdu.len() > APDU_LEN_MAX {
            return Err(ExchangeError::Device("libnfc takes at most 262 bytes".into()));
        }
        let over = match process.ask(&Request::Exchange(apdu.to_vec()), EXCHANGE_LIMIT).await {
            Ok(Reply::Answered(answer)) => return Ok(answer),
            Ok(Reply::Unanswered(why)) => return Err(why),
            Ok(_) => Over::Strange,
            Err(over) => over,
        };
        let error = self.over_now(&over);
        let told = ExchangeError::Device(error.to_string());
        self.process.lose_untold(error);
        Err(told)
    }

    async fn wait_gone(&mut self) -> Result<(), ReaderError> {
        self.until_gone().await
    }

    async fn release(&mut self) {
        let Some(process) = self.process.get_mut() else { return };
        match process.ask(&Request::Release, RELEASE_LIMIT).await {
            Ok(Reply::Released) => {}
            Ok(_) => {
                let error = self.over_now(&Over::Strange);
                self.process.lose_untold(error);
            }
            Err(over) => {
                let error = self.over_now(&over);
                self.process.lose_untold(error);
            }
        }
    }
}
