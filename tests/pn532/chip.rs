//! The chip's side of the protocol, and the media in its field. Bytes in, frames out.

use std::{collections::BTreeMap, time::Duration};

use reader::{
    Activation, Picc, RESET_BAUD,
    frame::{ACK, Direction, ERROR, Frame, Parser, encode},
};

use super::Fault;

/// Payload of one answer to `InDataExchange`.
const EXCHANGE_LEN_MAX: usize = 262;
/// The speeds `SetSerialBaudRate` counts from zero.
const BAUDS: [u32; 9] =
    [9_600, 19_200, 38_400, 57_600, 115_200, 230_400, 460_800, 921_600, 1_288_000];

/// Every activation is at this speed, kbit/s.
const AIR: u32 = 106;

/// Where a medium stands in ISO 14443-3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Answers to everybody.
    Idle,
    /// Spoken with, as this target.
    Active(u8),
    /// Answers only to its own number.
    Halted,
}

/// What came of some bytes from the host.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reaction {
    /// To be sent, one after the other.
    pub frames: Vec<Vec<u8>>,
    /// How late the frames behind the acknowledgement are.
    pub delay: Duration,
    /// The line goes away.
    pub unplug: bool,
}

/// The chip.
pub struct Chip {
    media: Vec<(Box<dyn Picc>, Phase)>,
    field_on: bool,
    /// Speed on air with the media that are active, kbit/s.
    air: u32,
    awake: bool,
    muted: bool,
    baud: u32,
    /// Taken once the host has acknowledged.
    next_baud: Option<u32>,
    parser: Parser,
    registers: BTreeMap<u16, u8>,
    last_answer: Vec<u8>,
    /// A chained command so far.
    command: Vec<u8>,
    /// What of a long answer was not fetched yet.
    rest: Vec<u8>,
    faults: Vec<Fault>,
    exchanges: u32,
    empty_looks: u32,
}

impl Default for Chip {
    fn default() -> Self {
        Self {
            media: Vec::new(),
            field_on: false,
            air: AIR,
            awake: false,
            muted: false,
            baud: RESET_BAUD,
            next_baud: None,
            parser: Parser::default(),
            registers: BTreeMap::new(),
            last_answer: Vec::new(),
            command: Vec::new(),
            rest: Vec::new(),
            faults: Vec::new(),
            exchanges: 0,
            empty_looks: 0,
        }
    }
}

impl Chip {
    /// Puts a medium into the field.
    pub fn place(&mut self, medium: impl Picc + 'static) {
        self.media.push((Box::new(medium), Phase::Idle));
    }

    /// Takes all media out of the field.
    pub fn clear(&mut self) {
        for (mut medium, _) in self.media.drain(..) {
            medium.field_off();
        }
        self.empty_looks = 0;
    }

    /// Makes something go wrong.
    pub fn fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// Nothing goes wrong any more.
    pub fn heal(&mut self) {
        self.faults.clear();
        self.muted = false;
    }

    /// Power was lost: as out of the box, but for the media in the field.
    pub fn power_cycle(&mut self) {
        self.set_field(false);
        let media = std::mem::take(&mut self.media);
        let faults = std::mem::take(&mut self.faults);
        let (exchanges, empty_looks) = (self.exchanges, self.empty_looks);
        *self = Self { media, faults, exchanges, empty_looks, ..Self::default() };
    }

    /// How many commands went to a card.
    pub const fn exchanges(&self) -> u32 {
        self.exchanges
    }

    /// How often the host has looked and found nothing, since the last medium was taken away.
    pub const fn empty_looks(&self) -> u32 {
        self.empty_looks
    }

    /// The speed on air, kbit/s.
    pub const fn air(&self) -> u32 {
        self.air
    }

    /// The line speed it listens at.
    pub const fn baud(&self) -> u32 {
        self.baud
    }

    /// Bytes from a host that talks at this speed.
    pub fn handle(&mut self, bytes: &[u8], host_baud: u32) -> Reaction {
        if bytes.contains(&0x55) && host_baud == self.baud {
            (self.awake, self.muted) = (true, false);
        }
        let mut reaction = Reaction::default();
        if !self.awake || host_baud != self.baud {
            return reaction;
        }
        self.parser.push(bytes);
        while let Some(frame) = self.parser.next_frame() {
            reaction.frames.clear();
            match frame {
                Frame::Ack => self.baud = self.next_baud.take().unwrap_or(self.baud),
                Frame::Nack => reaction.frames.push(self.last_answer.clone()),
                Frame::Data(Direction::ToChip, pd) if !self.muted => {
                    self.command(&pd, &mut reaction);
                }
                Frame::Error | Frame::Corrupt | Frame::Data(..) => {}
            }
        }
        if self.muted {
            reaction.frames.clear();
        }
        for frame in &mut reaction.frames {
            if self.faults.contains(&Fault::Noise) {
                frame.splice(..0, [0x3c, 0, 0, 0xff, 0x21, 0x00, 0xd5]);
            }
        }
        reaction
    }

    fn command(&mut self, pd: &[u8], reaction: &mut Reaction) {
        let due = if pd[0] == 0x40 { self.due() } else { None };
        if due.is_some_and(|due| matches!(due, Fault::Deaf(_))) {
            return;
        }
        reaction.frames.push(ACK.to_vec());
        reaction.delay = self.lateness(pd[0]);
        let answer = self.obey(pd, due).map_or_else(
            || ERROR.to_vec(),
            |answer| encode(Direction::FromChip, &[&[pd[0] + 1], answer.as_slice()].concat()),
        );
        self.last_answer.clone_from(&answer);
        reaction.frames.push(answer);
        if let Some(Fault::Garble(_)) = due {
            let byte = reaction.frames.last_mut().and_then(|frame| frame.iter_mut().nth_back(3));
            *byte.expect("the shortest answer has six bytes") ^= 0x10;
        }
        self.muted |= matches!(due, Some(Fault::Mute(_)));
        reaction.unplug = matches!(due, Some(Fault::Unplug(_)));
    }

    /// Counts an exchange, and returns the fault whose turn has come.
    fn due(&mut self) -> Option<Fault> {
        self.exchanges += 1;
        let mut due = None;
        self.faults.retain_mut(|fault| match fault.countdown() {
            Some(0) if due.is_none() => {
                due = Some(*fault);
                false
            }
            Some(n) => {
                *n = n.saturating_sub(1);
                true
            }
            None => true,
        });
        due
    }

    fn lateness(&self, command: u8) -> Duration {
        let late = self.faults.iter().filter_map(|fault| match fault {
            Fault::Slow(late) => Some(*late),
            Fault::Relay(late) => (command == 0x40).then_some(*late),
            Fault::Pull(_)
            | Fault::PullHeard(_)
            | Fault::Mute(_)
            | Fault::Unplug(_)
            | Fault::Garble(_)
            | Fault::Deaf(_)
            | Fault::Status(_)
            | Fault::Air
            | Fault::Noise
            | Fault::Split => None,
        });
        late.sum()
    }

    /// The answer's parameters; `None` is a syntax error.
    fn obey(&mut self, pd: &[u8], due: Option<Fault>) -> Option<Vec<u8>> {
        match pd {
            // Diagnose: echo.
            [0x00, 0x00, ..] => Some(pd[1..].to_vec()),
            // GetFirmwareVersion: PN532 v1.6.
            [0x02] => Some(vec![0x32, 1, 6, 7]),
            [0x06, addresses @ ..] => Some(self.read_registers(addresses)),
            [0x08, writes @ ..] => {
                for write in writes.chunks_exact(3) {
                    self.registers.insert(u16::from_be_bytes([write[0], write[1]]), write[2]);
                }
                Some(vec![])
            }
            [0x10, code] => {
                self.next_baud = Some(*BAUDS.get(usize::from(*code))?);
                Some(vec![])
            }
            [0x16, _, ..] => {
                self.set_field(false);
                self.awake = false;
                Some(vec![0])
            }
            [0x32, 0x01, state] => {
                self.set_field(state & 1 == 1);
                Some(vec![])
            }
            // SetParameters, SAMConfiguration, and the timings and retries of RFConfiguration.
            [0x12, _] | [0x14 | 0x32, _, ..] => Some(vec![]),
            [0x40, target, data @ ..] => Some(self.exchange(*target, data, due)),
            // InCommunicateThru: R(NAK), by which libnfc asks whether a card is still there.
            [0x42, ..] => Some(if self.active(1).is_some() { vec![0, 0xa3] } else { vec![1] }),
            [0x44 | 0x52, _] => {
                self.halt();
                Some(vec![0])
            }
            [0x4a, max, 0, uid @ ..] => Some(self.list(*max, uid)),
            // InPSL.
            [0x4e, _, to_card, from_card] => Some(self.change_air(*to_card, *from_card)),
            // Diagnose: card presence; InSelect; a search for media of other types, none of
            // which is ever there.
            [0x00, 0x06] | [0x54, _] | [0x4a, _, 1..=4, ..] => Some(vec![0]),
            // InAutoPoll for type A, as nfc-poll does it.
            [0x60, ..] => {
                let [count, target @ ..] = &self.list(1, &[])[..] else { return None };
                let len = u8::try_from(target.len()).ok()?;
                Some(if *count == 0 { vec![0] } else { [&[1, 0x20, len], target].concat() })
            }
            _ => None,
        }
    }

    fn read_registers(&self, addresses: &[u8]) -> Vec<u8> {
        let address = |pair: &[u8]| u16::from_be_bytes([pair[0], pair[1]]);
        let value = |pair| self.registers.get(&address(pair)).copied().unwrap_or(0);
        addresses.chunks_exact(2).map(value).collect()
    }

    /// Both ways at 106 (0), 212 (1) or 424 kbit/s (2).
    fn change_air(&mut self, to_card: u8, from_card: u8) -> Vec<u8> {
        if to_card != from_card || to_card > 2 {
            return vec![0x10];
        }
        if self.active(1).is_none() {
            return vec![0x27];
        }
        if to_card > 0 && self.faults.contains(&Fault::Air) {
            self.halt();
            return vec![0x01];
        }
        self.air = AIR << to_card;
        vec![0]
    }

    fn set_field(&mut self, on: bool) {
        if !on {
            self.air = AIR;
            for (medium, phase) in &mut self.media {
                medium.field_off();
                *phase = Phase::Idle;
            }
            (self.command, self.rest) = (Vec::new(), Vec::new());
        }
        self.field_on = on;
    }

    /// Puts the active media to sleep; they forget their sessions.
    fn halt(&mut self) {
        for (medium, phase) in &mut self.media {
            if matches!(phase, Phase::Active(_)) {
                medium.deselected();
                *phase = Phase::Halted;
            }
        }
    }

    fn active(&mut self, number: u8) -> Option<usize> {
        self.media.iter().position(|(_, phase)| *phase == Phase::Active(number))
    }

    /// Activates at most `max` media, or the one whose number (with cascade tags) is given.
    fn list(&mut self, max: u8, uid: &[u8]) -> Vec<u8> {
        let mut answer = vec![0];
        self.field_on = true;
        for (medium, phase) in &mut self.media {
            let seen = medium.activation();
            let called = match uid {
                [] => *phase == Phase::Idle,
                [0x88, called @ ..] | called => called == seen.uid,
            };
            if answer[0] < max && called {
                answer[0] += 1;
                *phase = Phase::Active(answer[0]);
                let Activation { atqa, sak, uid, ats } = seen;
                let uid_len = u8::try_from(uid.len()).expect("a UID has at most ten bytes");
                answer.extend([answer[0], atqa[0], atqa[1], sak, uid_len]);
                answer.extend(uid);
                answer.extend(ats);
            }
        }
        self.empty_looks += u32::from(answer[0] == 0);
        answer
    }

    fn exchange(&mut self, target: u8, data: &[u8], due: Option<Fault>) -> Vec<u8> {
        let Some(index) = self.active(target & 0x3f) else { return vec![0x27] };
        self.command.extend(data);
        if target & 0x40 != 0 {
            return vec![0];
        }
        let command = std::mem::take(&mut self.command);
        if let Some(Fault::Pull(_) | Fault::PullHeard(_)) = due {
            if let Some(Fault::PullHeard(_)) = due {
                let _lost = self.media[index].0.transceive(&command);
            }
            self.clear();
            return vec![0x01];
        }
        if !command.is_empty() || self.rest.is_empty() {
            match self.media[index].0.transceive(&command) {
                Some(answer) => self.rest = answer,
                None => return vec![0x01],
            }
        }
        let later = self.rest.split_off(self.rest.len().min(EXCHANGE_LEN_MAX));
        let now = std::mem::replace(&mut self.rest, later);
        let more = if self.rest.is_empty() { 0 } else { 0x40 };
        let odd = if matches!(due, Some(Fault::Status(_))) { 0x80 } else { 0 };
        [&[more | odd], now.as_slice()].concat()
    }

    /// Whether bytes go out one by one.
    pub(super) fn is_split(&self) -> bool {
        self.faults.contains(&Fault::Split)
    }
}
