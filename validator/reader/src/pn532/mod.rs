//! A PN532 on a serial line (HSU), driven without any C code.
//!
//! The field is off between taps: a card put on the reader always begins from power-up, and a
//! card let go of has forgotten its session. A reader that fails is opened anew by the next
//! `wait_card`, after a pause that grows to some seconds.

mod chip;
pub mod frame;
mod link;

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use self::{
    chip::{Chip, ConnectError, RfStatus, Target},
    link::LinkError,
};
use super::{
    CardTransport, ExchangeError, Presence, ReaderError,
    kept::Kept,
    medium::{Activation, presence},
    watch::{Looking, Watch},
};

/// Between two looks at an empty field.
const LOOK_PERIOD: Duration = Duration::from_millis(25);
/// Between two looks at a card left lying.
const GONE_PERIOD: Duration = Duration::from_millis(80);

/// The reader and what is known of it.
pub struct Pn532 {
    port: PathBuf,
    baud: u32,
    /// On air, with cards that can follow.
    rf_kbps: u32,
    chip: Kept<Box<Chip>>,
    watch: Watch,
    /// The card that can be spoken with.
    target: Option<Target>,
    /// Media may have been activated since the field was last off, and answer no more calls.
    stirred: bool,
}

impl Pn532 {
    /// Opens the port and sets the chip up.
    pub async fn open(port: &Path, baud: u32, rf_kbps: u32) -> Result<Self, ReaderError> {
        Ok(Self::over(port, baud, rf_kbps, Kept::new(connect(port, baud).await?)))
    }

    /// As `open`; a chip that does not answer is looked for until it does.
    pub(super) async fn open_or_wait(port: &Path, baud: u32, rf_kbps: u32) -> Self {
        let chip = connect(port, baud).await.map_or_else(Kept::missing, Kept::new);
        Self::over(port, baud, rf_kbps, chip)
    }

    fn over(port: &Path, baud: u32, rf_kbps: u32, chip: Kept<Box<Chip>>) -> Self {
        Self {
            port: port.to_path_buf(),
            baud,
            rf_kbps,
            chip,
            watch: Watch::new(LOOK_PERIOD, GONE_PERIOD),
            target: None,
            stirred: false,
        }
    }

    /// What it is, for people.
    pub fn describe(&self) -> String {
        let port = self.port.display();
        match self.chip.get() {
            Some(chip) => {
                let (version, revision) = chip.firmware;
                format!("PN532 firmware {version}.{revision} at {port}, {} baud", chip.baud)
            }
            None => format!("PN532 at {port}, not answering"),
        }
    }

    /// Field off, speed as after reset.
    pub async fn close(self) {
        if let Some(mut chip) = self.chip.into_inner() {
            // Best effort: the next start finds the chip at any speed.
            let _ = chip.release().await;
            let _ = chip.switch_baud(super::RESET_BAUD).await;
        }
    }

    /// Makes sure that the chip answers; opens it again where it was lost.
    pub(super) async fn ready(&mut self) -> Result<(), ReaderError> {
        if self.chip.is_due().await? {
            match connect(&self.port, self.baud).await {
                Ok(chip) => {
                    self.chip.put(chip);
                    // Whatever lay in the field was woken by another.
                    (self.target, self.stirred) = (None, false);
                }
                Err(error) => {
                    self.chip.lose();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn failed(&mut self, error: LinkError) -> ReaderError {
        self.target = None;
        self.chip.lose();
        link_error(&self.port, error)
    }

    /// Goes over to the speed on air that is wanted, when one card is there that says it can. A
    /// card that cannot after all (some phones) has lost its way: the field restarts, at 106.
    async fn speed_up(&mut self) -> Result<(), ReaderError> {
        let (Some(chip), Some(target)) = (self.chip.get_mut(), &self.target) else { return Ok(()) };
        let Some(kbps) = target.activation.kbps(self.rf_kbps) else { return Ok(()) };
        match chip.speed_up(target.number, kbps).await {
            Ok(true) => return Ok(()),
            Ok(false) | Err(LinkError::Silent | LinkError::Refused) => {}
            Err(error @ LinkError::Io(_)) => return Err(self.failed(error)),
        }
        let found = self.look().await?;
        if found != self.watch.found() {
            self.target = None;
        }
        Ok(())
    }

    fn exchange_failed(&mut self, error: LinkError) -> ExchangeError {
        match error {
            LinkError::Silent => ExchangeError::Timeout,
            LinkError::Refused => ExchangeError::Device("the PN532 refused the command".into()),
            LinkError::Io(error) => {
                let told = ExchangeError::Device(format!("lost the PN532: {error}"));
                self.target = None;
                self.chip.lose_untold(link_error(&self.port, LinkError::Io(error)));
                told
            }
        }
    }
}

impl Looking for Pn532 {
    fn watch(&mut self) -> &mut Watch {
        &mut self.watch
    }

    /// One look at the field, after what was activated before has been let go of.
    async fn look(&mut self) -> Result<Option<Presence>, ReaderError> {
        self.target = None;
        self.ready().await?;
        let Some(chip) = self.chip.get_mut() else { return Ok(None) };
        let restart = std::mem::replace(&mut self.stirred, true);
        let listed = async {
            if restart {
                chip.field(false).await?;
            }
            chip.list().await
        };
        let targets: Option<Vec<Target>> = listed.await.map_err(|error| self.failed(error))?;
        self.chip.works();
        // A medium that contradicts itself is there, and is none of ours.
        let Some(targets) = targets else { return Ok(Some(Presence::Foreign)) };
        let seen: Vec<Activation> = targets.iter().map(|t| t.activation.clone()).collect();
        let found = presence(&seen);
        self.stirred = found.is_some();
        self.target = targets.into_iter().next();
        Ok(found)
    }
}

impl CardTransport for Pn532 {
    async fn wait_card(&mut self) -> Result<Presence, ReaderError> {
        let found = self.until_found().await?;
        self.speed_up().await?;
        Ok(found)
    }

    async fn exchange(&mut self, apdu: &[u8]) -> Result<Vec<u8>, ExchangeError> {
        let (Some(chip), Some(target), Some(Presence::Card(_))) =
            (self.chip.get_mut(), &self.target, self.watch.found())
        else {
            return Err(ExchangeError::Absent);
        };
        match chip.exchange(target.number, apdu).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(RfStatus::Absent)) => Err(ExchangeError::Absent),
            Ok(Err(RfStatus::Garbled)) => Err(ExchangeError::Rf),
            Ok(Err(RfStatus::Oversized)) => {
                Err(ExchangeError::Device("the card answers without end".into()))
            }
            Ok(Err(RfStatus::Other(status))) => {
                Err(ExchangeError::Device(format!("the PN532 reports error {status:#04x}")))
            }
            Err(error) => Err(self.exchange_failed(error)),
        }
    }

    async fn wait_gone(&mut self) -> Result<(), ReaderError> {
        self.until_gone().await
    }

    async fn release(&mut self) {
        self.target = None;
        if let Some(chip) = self.chip.get_mut() {
            match chip.release().await {
                Ok(()) => self.stirred = false,
                Err(LinkError::Io(error)) => {
                    self.chip.lose_untold(link_error(&self.port, LinkError::Io(error)));
                }
                // The next look begins with the field off, or finds the chip dead.
                Err(LinkError::Silent | LinkError::Refused) => self.stirred = true,
            }
        }
    }
}

async fn connect(port: &Path, baud: u32) -> Result<Box<Chip>, ReaderError> {
    let chip = Chip::connect(port, baud).await.map_err(|e| connect_error(port, baud, e))?;
    Ok(Box::new(chip))
}

fn link_error(port: &Path, error: LinkError) -> ReaderError {
    let place = port.display().to_string();
    match error {
        LinkError::Io(source) => ReaderError::Lost { place, source },
        LinkError::Silent | LinkError::Refused => ReaderError::Silent { place },
    }
}

fn connect_error(port: &Path, baud: u32, error: ConnectError) -> ReaderError {
    let port = port.to_path_buf();
    match error {
        ConnectError::Open(source) => {
            // The serial library says "not found" of a port that another program holds.
            let held = source.kind() == io::ErrorKind::NotFound && port.exists();
            let source = if held { io::ErrorKind::ResourceBusy.into() } else { source };
            ReaderError::Open { port, source }
        }
        ConnectError::Other(chip) => ReaderError::OtherChip { port, chip },
        ConnectError::Link(LinkError::Silent | LinkError::Refused) => {
            let tried: Vec<_> = Chip::speeds(baud).iter().map(ToString::to_string).collect();
            ReaderError::NoAnswer { port, tried: tried.join(", ") }
        }
        ConnectError::Link(LinkError::Io(source)) => {
            ReaderError::Lost { place: port.display().to_string(), source }
        }
    }
}
