//! libnfc itself, blocking: runs in the helper only, which is there to die of it.
//!
//! What this file knows of libnfc, so that nobody has to find it out again: an empty field is
//! `Ok` with a target of zeros; without `InfiniteSelect` off the chip would go on searching after
//! the call has returned; a command above 262 bytes overflows a buffer on its C stack; `Io` means
//! that only opening again helps; and an unasked-for bit in a status byte makes it call `abort()`.

use std::{thread, time::Duration};

use card::ExchangeError;
use nfc1::{
    BaudRate, Context, Device, Error, Modulation, ModulationType, Property, Target, Timeout,
    target_info::TargetInfo,
};

use super::protocol::{ANSWER_LEN_MAX, Reply, Request};
use crate::medium::Activation;

/// As the native driver's: a card may ask for more time more than once.
const EXCHANGE_LIMIT: Duration = Duration::from_millis(600);
const FIELD_SETTLE: Duration = Duration::from_millis(6);
const ISO14443A: Modulation =
    Modulation { modulation_type: ModulationType::Iso14443a, baud_rate: BaudRate::Baud106 };

/// The version of the C library.
pub(super) fn version() -> String {
    nfc1::version().to_string()
}

/// One reader.
#[derive(Default)]
pub(super) struct Driver {
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

impl Driver {
    /// Does what is asked.
    pub(super) fn handle(&mut self, request: Request) -> Reply {
        match request {
            Request::Open(connstring) => {
                self.connstring = connstring;
                match self.open() {
                    Ok(name) => Reply::Opened(name),
                    Err(error) => Reply::Failed(error.to_string()),
                }
            }
            Request::Look => match self.look() {
                Ok(media) => Reply::Seen(media),
                Err(error) => Reply::Failed(error.to_string()),
            },
            Request::Exchange(apdu) => match self.exchange(&apdu) {
                Ok(answer) => Reply::Answered(answer),
                Err(why) => Reply::Unanswered(why),
            },
            Request::Release => {
                self.release();
                Reply::Released
            }
        }
    }

    fn open(&mut self) -> Result<String, Error> {
        // A reader is taken by one at a time, itself included.
        self.device = None;
        let mut context = Context::new()?;
        let mut device = context.open_with_connstring(&self.connstring)?;
        device.initiator_init()?;
        device.set_property_bool(Property::InfiniteSelect, false)?;
        device.set_property_bool(Property::ActivateField, false)?;
        let name = device.name().to_string();
        self.device = Some(Open { device, _context: context });
        (self.selected, self.field_on) = (false, false);
        Ok(name)
    }

    fn look(&mut self) -> Result<Vec<Activation>, Error> {
        let Some(open) = &mut self.device else { return Err(Error::NoSuchDeviceFound) };
        let restart = self.selected || !self.field_on;
        let started = if restart { restart_field(&mut open.device) } else { Ok(()) };
        let seen = started.and_then(|()| list(&mut open.device));
        match &seen {
            Ok(media) => (self.selected, self.field_on) = (!media.is_empty(), true),
            Err(_) => self.device = None,
        }
        seen
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
#[expect(clippy::disallowed_methods, reason = "this program is there to block")]
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
