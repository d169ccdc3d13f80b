//! A gate behind Modbus RTU: a coil opens it, a register counts its passages, bits tell the rest.

use std::{collections::VecDeque, io, time::Duration};

use line::SerialLine;
use tokio::time::{sleep, timeout};
use tokio_modbus::client::{Context, Reader, Writer, rtu};
use tokio_modbus::slave::Slave;

use crate::{GateConfig, GateError, Registers, Signal, Way};

const ANSWER_MAX: Duration = Duration::from_millis(300);
const TRIES: u32 = 3;
const LOOK: Duration = Duration::from_millis(50);
/// More passages than that between two looks are no passages: the gate was switched off and on.
const PASSED_MAX: u16 = 8;

pub(crate) struct ModbusGate {
    place: String,
    line: SerialLine,
    bus: Option<Context>,
    registers: Registers,
    way: Way,
    seen: Option<Seen>,
    pub(super) signals: VecDeque<Signal>,
}

/// What the last look showed.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    passed: u16,
    other_way: u16,
    /// Tailgate, forced, blocked, fault, emergency.
    bits: [bool; 5],
}

/// One question or order.
#[derive(Clone, Copy)]
enum Ask {
    Input(u16),
    Bit(u16),
    SetCoil(u16, bool),
}

impl ModbusGate {
    pub(super) fn new(config: &GateConfig) -> Self {
        let port = config.port.clone().unwrap_or_default();
        Self {
            place: port.display().to_string(),
            line: SerialLine::new(port, config.baud),
            bus: None,
            registers: config.registers.expect("a checked configuration has the map"),
            way: config.way,
            seen: None,
            signals: VecDeque::new(),
        }
    }

    pub(super) async fn ready(&mut self) -> Result<(), GateError> {
        self.line.ready().await?;
        if let Some(port) = self.line.take() {
            self.bus = Some(rtu::attach_slave(port, Slave(self.registers.unit)));
        }
        self.ask(Ask::SetCoil(self.registers.open_coil, false)).await?;
        // What it counted before is of a time that nobody saw.
        self.seen = None;
        self.look().await?;
        self.line.works();
        Ok(())
    }

    pub(super) async fn open(&mut self, _way: Way) -> Result<(), GateError> {
        self.ask(Ask::SetCoil(self.registers.open_coil, true)).await.map(drop)
    }

    pub(super) async fn shut(&mut self) -> Result<(), GateError> {
        self.ask(Ask::SetCoil(self.registers.open_coil, false)).await?;
        self.look().await
    }

    pub(super) async fn wait(&mut self) -> Result<(), GateError> {
        sleep(LOOK).await;
        Ok(())
    }

    pub(super) async fn look(&mut self) -> Result<(), GateError> {
        let r = self.registers;
        let passed = self.ask(Ask::Input(r.passed_input)).await?;
        let other_way = match r.other_way_input {
            Some(input) => self.ask(Ask::Input(input)).await?,
            None => 0,
        };
        let mut bits = [false; 5];
        let of = [r.tailgate_bit, r.forced_bit, r.blocked_bit, r.fault_bit, r.emergency_bit];
        for (bit, number) in bits.iter_mut().zip(of) {
            if let Some(number) = number {
                *bit = self.ask(Ask::Bit(number)).await? != 0;
            }
        }
        self.compare(Seen { passed, other_way, bits });
        Ok(())
    }

    pub(super) fn lose(&mut self, source: io::Error) {
        self.bus = None;
        self.seen = None;
        self.signals.clear();
        self.line.lost(source);
    }

    fn compare(&mut self, now: Seen) {
        // An emergency that began before anybody looked is one all the same.
        let before = self.seen.replace(now).unwrap_or(Seen { bits: [false; 5], ..now });
        let other = match self.way {
            Way::A => Way::B,
            Way::B => Way::A,
        };
        for (way, old, new) in
            [(self.way, before.passed, now.passed), (other, before.other_way, now.other_way)]
        {
            let count = new.wrapping_sub(old);
            if count <= PASSED_MAX {
                self.signals.extend((0..count).map(|_| Signal::Completed(way)));
            }
        }
        let rising = [Signal::Tailgate, Signal::Forced, Signal::Blocked, Signal::Fault(0)];
        for (signal, (old, new)) in rising.into_iter().zip(before.bits.into_iter().zip(now.bits)) {
            if new && !old {
                self.signals.push_back(signal);
            }
        }
        if before.bits[4] != now.bits[4] {
            self.signals.push_back(Signal::Emergency(now.bits[4]));
        }
    }

    async fn ask(&mut self, ask: Ask) -> Result<u16, GateError> {
        for _ in 0..TRIES {
            let Some(bus) = &mut self.bus else {
                return Err(self.line.lost(io::ErrorKind::NotConnected.into()).into());
            };
            let answer = async {
                match ask {
                    Ask::Input(at) => bus
                        .read_input_registers(at, 1)
                        .await
                        .map(|read| read.map(|words| words.first().copied().unwrap_or_default())),
                    Ask::Bit(at) => bus.read_discrete_inputs(at, 1).await.map(|read| {
                        read.map(|bits| u16::from(bits.first().copied().unwrap_or_default()))
                    }),
                    Ask::SetCoil(at, on) => {
                        bus.write_single_coil(at, on).await.map(|done| done.map(|()| 0))
                    }
                }
            };
            match timeout(ANSWER_MAX, answer).await {
                Ok(Ok(Ok(value))) => return Ok(value),
                Ok(Ok(Err(exception))) => {
                    let (place, what) =
                        (self.place.clone(), format!("do what it was told: {exception}"));
                    return Err(GateError::Refused { place, what });
                }
                Ok(Err(tokio_modbus::Error::Transport(source))) if is_gone(&source) => {
                    return Err(self.line.lost(source).into());
                }
                // Noise, or nobody: asked again.
                Ok(Err(_)) | Err(_) => {}
            }
        }
        Err(GateError::Silent { place: self.place.clone() })
    }
}

/// Whether the line itself is gone.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof)
        || error.raw_os_error() == Some(5)
}
