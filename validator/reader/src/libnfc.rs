//! Any reader that libnfc drives, on a thread of its own because the C library blocks.
//!
//! What this file knows of libnfc, so that nobody has to find it out again: an empty field is
//! `Ok` with a target of zeros; without `InfiniteSelect` off the chip would go on searching after
//! the call has returned; a command above 262 bytes overflows a buffer on its C stack; `Io` means
//! that only opening again helps; and an unasked-for bit in a status byte makes it call `abort()`,
//! which ends this process. The intent of a tap is durable before its commit is sent, so a restart
//! by the service manager finds that tap in doubt and loses nothing.

use std::{io, sync::mpsc, thread, time::Duration};

use nfc1::{
    BaudRate, Context, Device, Error, Modulation, ModulationType, Property, Target, Timeout,
    target_info::TargetInfo,
};
use tokio::{
    sync::oneshot,
    time::{Interval, MissedTickBehavior, interval, sleep},
};

use super::{CardTransport, ExchangeError, Presence, ReaderError};
use crate::medium::{Activation, presence};

const LOOK_PERIOD: Duration = Duration::from_millis(50);
const GONE_PERIOD: Duration = Duration::from_millis(100);
const GONE_LOOKS: u32 = 2;
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// As the native driver's: a card may ask for more time more than once.
const EXCHANGE_LIMIT: Duration = Duration::from_millis(600);
const FIELD_SETTLE: Duration = Duration::from_millis(6);
/// libnfc does not check this bound.
const APDU_LEN_MAX: usize = 262;
const ANSWER_LEN_MAX: usize = 512;
const ISO14443A: Modulation =
    Modulation { modulation_type: ModulationType::Iso14443a, baud_rate: BaudRate::Baud106 };

enum Request {
    Open(oneshot::Sender<Result<String, ReaderError>>),
    Look(oneshot::Sender<Result<Option<Presence>, ReaderError>>),
    Exchange(Vec<u8>, oneshot::Sender<Result<Vec<u8>, ExchangeError>>),
    Release(oneshot::Sender<()>),
}

/// The async end. Dropping it ends the thread, which closes the reader.
pub struct Libnfc {
    thread: thread::JoinHandle<()>,
    requests: mpsc::Sender<Request>,
    connstring: String,
    name: String,
    looks: Interval,
    gone_looks: Interval,
    found: Option<Presence>,
    /// The last look failed: pause before the next.
    failed: bool,
}

impl Libnfc {
    /// Starts the thread and opens the reader.
    pub async fn open(connstring: String) -> Result<Self, ReaderError> {
        let (requests, inbox) = mpsc::channel();
        let worker = Worker {
            connstring: connstring.clone(),
            device: None,
            selected: false,
            field_on: false,
        };
        let thread = thread::Builder::new()
            .name("libnfc".into())
            .spawn(move || worker.run(&inbox))
            .map_err(|source| ReaderError::Lost { place: connstring.clone(), source })?;
        let period = |period| {
            let mut looks = interval(period);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            looks
        };
        let mut reader = Self {
            thread,
            requests,
            connstring,
            name: String::new(),
            looks: period(LOOK_PERIOD),
            gone_looks: period(GONE_PERIOD),
            found: None,
            failed: false,
        };
        reader.name = reader.ask(Request::Open).await.unwrap_or_else(|| Err(reader.ended()))?;
        Ok(reader)
    }

    /// Returns once the reader is closed and free for others.
    pub async fn close(self) {
        drop(self.requests);
        // A thread that panicked has closed it too.
        let _ = tokio::task::spawn_blocking(|| self.thread.join()).await;
    }

    /// What it is, for people.
    pub fn describe(&self) -> String {
        format!("{} by libnfc {} at {}", self.name, nfc1::version(), self.connstring)
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).ok()?;
        answer.await.ok()
    }

    /// The thread never ends before this value does, unless it panicked.
    fn ended(&self) -> ReaderError {
        let source = io::Error::other("its thread ended");
        ReaderError::Lost { place: self.connstring.clone(), source }
    }

    async fn look(&mut self) -> Result<Option<Presence>, ReaderError> {
        if self.failed {
            sleep(RETRY_PAUSE).await;
        }
        let seen = self.ask(Request::Look).await.unwrap_or_else(|| Err(self.ended()));
        self.failed = seen.is_err();
        seen
    }
}

impl CardTransport for Libnfc {
    async fn wait_card(&mut self) -> Result<Presence, ReaderError> {
        loop {
            self.looks.tick().await;
            if let Some(found) = self.look().await? {
                self.found = Some(found);
                return Ok(found);
            }
        }
    }

    async fn exchange(&mut self, apdu: &[u8]) -> Result<Vec<u8>, ExchangeError> {
        let Some(Presence::Card(_)) = self.found else { return Err(ExchangeError::Absent) };
        if apdu.len() > APDU_LEN_MAX {
            return Err(ExchangeError::Device("libnfc takes at most 262 bytes".into()));
        }
        self.ask(|reply| Request::Exchange(apdu.to_vec(), reply))
            .await
            .unwrap_or_else(|| Err(ExchangeError::Device("the libnfc thread ended".into())))
    }

    async fn wait_gone(&mut self) -> Result<(), ReaderError> {
        let mut absences = 0;
        while absences < GONE_LOOKS && self.found.is_some() {
            self.gone_looks.tick().await;
            match self.look().await? {
                None => absences += 1,
                present if present == self.found => absences = 0,
                Some(_) => break,
            }
        }
        self.found = None;
        Ok(())
    }

    async fn release(&mut self) {
        self.ask(Request::Release).await;
    }
}

/// The blocking end.
struct Worker {
    connstring: String,
    device: Option<Open>,
    selected: bool,
    field_on: bool,
}

/// Fields drop in order: the device before the context it lives in.
struct Open {
    device: Device,
    _context: Context,
}

impl Worker {
    fn run(mut self, inbox: &mpsc::Receiver<Request>) {
        // An answer that nobody waits for any more was dropped by its caller: nothing to do.
        for request in inbox {
            match request {
                Request::Open(reply) => {
                    let _ = reply.send(self.open());
                }
                Request::Look(reply) => {
                    let _ = reply.send(self.look());
                }
                Request::Exchange(apdu, reply) => {
                    let _ = reply.send(self.exchange(&apdu));
                }
                Request::Release(reply) => {
                    self.release();
                    let _ = reply.send(());
                }
            }
        }
    }

    fn open(&mut self) -> Result<String, ReaderError> {
        let unopened = |_| ReaderError::Libnfc { connstring: self.connstring.clone() };
        let mut context = Context::new().map_err(unopened)?;
        let mut device = context.open_with_connstring(&self.connstring).map_err(unopened)?;
        device.initiator_init().map_err(unopened)?;
        device.set_property_bool(Property::InfiniteSelect, false).map_err(unopened)?;
        device.set_property_bool(Property::ActivateField, false).map_err(unopened)?;
        let name = device.name().to_string();
        self.device = Some(Open { device, _context: context });
        (self.selected, self.field_on) = (false, false);
        Ok(name)
    }

    fn look(&mut self) -> Result<Option<Presence>, ReaderError> {
        if self.device.is_none() {
            self.open()?;
        }
        let Some(open) = &mut self.device else { return Ok(None) };
        let restart = self.selected || !self.field_on;
        let started = if restart { restart_field(&mut open.device) } else { Ok(()) };
        match started.and_then(|()| list(&mut open.device)) {
            Ok(seen) => {
                (self.selected, self.field_on) = (!seen.is_empty(), true);
                Ok(presence(&seen))
            }
            Err(error) => {
                self.device = None;
                let (place, source) = (self.connstring.clone(), io::Error::from(error));
                Err(ReaderError::Lost { place, source })
            }
        }
    }

    fn exchange(&mut self, apdu: &[u8]) -> Result<Vec<u8>, ExchangeError> {
        let Some(open) = &mut self.device else { return Err(ExchangeError::Absent) };
        let limit = Timeout::Duration(EXCHANGE_LIMIT);
        match open.device.initiator_transceive_bytes(apdu, ANSWER_LEN_MAX, limit) {
            Ok(answer) => Ok(answer),
            Err(Error::TargetReleased) => Err(ExchangeError::Absent),
            Err(Error::Timeout) => Err(ExchangeError::Timeout),
            // libnfc calls a silent card and a garbled answer by the same name.
            Err(Error::RfTransmissionError) => {
                match open.device.initiator_target_is_present_any() {
                    Ok(()) => Err(ExchangeError::Rf),
                    Err(_) => Err(ExchangeError::Absent),
                }
            }
            Err(error) => {
                if error == Error::Io {
                    self.device = None;
                }
                Err(ExchangeError::Device(error.to_string()))
            }
        }
    }

    fn release(&mut self) {
        (self.selected, self.field_on) = (false, false);
        if let Some(open) = &mut self.device {
            let let_go = open
                .device
                .initiator_deselect_target()
                .and_then(|()| open.device.set_property_bool(Property::ActivateField, false));
            if let_go == Err(Error::Io) {
                self.device = None;
            }
        }
    }
}

/// Cards forget their state without the field, and need some field before they answer.
#[expect(clippy::disallowed_methods, reason = "this thread is there to block")]
fn restart_field(device: &mut Device) -> Result<(), Error> {
    for on in [false, true] {
        device.set_property_bool(Property::ActivateField, on)?;
        thread::sleep(FIELD_SETTLE);
    }
    Ok(())
}

/// The media in the field, at most two. libnfc selects one at a time: a first one put to sleep
/// leaves the field to a second, and is then called again by its number.
fn list(device: &mut Device) -> Result<Vec<Activation>, Error> {
    let Some(first) = select(device, &[])? else { return Ok(vec![]) };
    device.initiator_deselect_target()?;
    if let Some(second) = select(device, &[])?
        && second.uid != first.uid
    {
        return Ok(vec![first, second]);
    }
    if select(device, &first.uid)?.is_none() {
        restart_field(device)?;
        if select(device, &[])?.is_none_or(|found| found.uid != first.uid) {
            return Ok(vec![]);
        }
    }
    Ok(vec![first])
}

fn select(device: &mut Device, uid: &[u8]) -> Result<Option<Activation>, Error> {
    let target = if uid.is_empty() {
        device.initiator_select_passive_target(&ISO14443A)
    } else {
        device.initiator_select_passive_target_with_init_data(&ISO14443A, uid)
    };
    match target {
        Ok(target) => Ok(activation(&target)),
        // A card in the border of the field, or none: the next look tells.
        Err(Error::Timeout | Error::RfTransmissionError | Error::TargetReleased) => Ok(None),
        Err(error) => Err(error),
    }
}

fn activation(target: &Target) -> Option<Activation> {
    let TargetInfo::Iso14443a(info) = target.target_info else { return None };
    // An empty field is a target of zeros.
    if info.uid_len == 0 {
        return None;
    }
    Some(Activation {
        atqa: info.atqa,
        sak: info.sak,
        uid: info.uid.get(..info.uid_len)?.to_vec(),
        ats: info.ats.get(..info.ats_len)?.to_vec(),
    })
}
