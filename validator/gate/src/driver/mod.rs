//! What gates have in common: they are made ready, told to open and to shut, and looked at.

mod framed;
mod modbus;
mod pins;
mod simulated;

use std::io;

use crate::{GateConfig, GateError, GateKind, Signal, Way};

/// One gate. `wait` may be dropped at any await; nothing else is.
pub(crate) enum Driver {
    Frames(framed::FrameGate),
    Modbus(modbus::ModbusGate),
    Pins(pins::PinGate),
    Simulated(simulated::SimulatedGate),
}

/// Calls the same method of whatever gate it is.
macro_rules! each {
    ($driver:expr, $gate:ident => $call:expr) => {
        match $driver {
            Driver::Frames($gate) => $call,
            Driver::Modbus($gate) => $call,
            Driver::Pins($gate) => $call,
            Driver::Simulated($gate) => $call,
        }
    };
}

impl Driver {
    pub(crate) fn new(config: &GateConfig) -> Self {
        match config.kind {
            GateKind::Frames => Self::Frames(framed::FrameGate::new(config)),
            GateKind::Modbus => Self::Modbus(modbus::ModbusGate::new(config)),
            GateKind::Pins => Self::Pins(pins::PinGate::new(config)),
            GateKind::Simulated => Self::Simulated(simulated::SimulatedGate::new(config.way)),
        }
    }

    /// Opens the line and shuts the gate, which proves that it is there. Pauses before it tries
    /// again what has failed.
    pub(crate) async fn ready(&mut self) -> Result<(), GateError> {
        each!(self, gate => gate.ready().await)
    }

    /// Opens for this way; returns once the gate has confirmed it.
    pub(crate) async fn open(&mut self, way: Way) -> Result<(), GateError> {
        each!(self, gate => gate.open(way).await)
    }

    /// Shuts; returns once the gate has confirmed it and every passage before is among the signals.
    pub(crate) async fn shut(&mut self) -> Result<(), GateError> {
        each!(self, gate => gate.shut().await)
    }

    /// Until there may be something to see.
    pub(crate) async fn wait(&mut self) -> Result<(), GateError> {
        each!(self, gate => gate.wait().await)
    }

    /// Looks at the gate, where waiting alone shows nothing.
    pub(crate) async fn look(&mut self) -> Result<(), GateError> {
        match self {
            Self::Modbus(gate) => gate.look().await,
            Self::Pins(gate) => gate.look(),
            Self::Frames(_) | Self::Simulated(_) => Ok(()),
        }
    }

    /// What it has said by itself.
    pub(crate) fn signal(&mut self) -> Option<Signal> {
        each!(self, gate => gate.signals.pop_front())
    }

    /// It failed: what is known of it is over.
    pub(crate) fn lose(&mut self) {
        match self {
            Self::Frames(gate) => gate.lose(),
            Self::Modbus(gate) => gate.lose(io::ErrorKind::TimedOut.into()),
            Self::Pins(gate) => gate.lose(),
            Self::Simulated(_) => {}
        }
    }
}
