//! The table `[gate]`.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::Way;

/// Speeds that gates are set to.
const BAUDS: [u32; 6] = [9_600, 19_200, 38_400, 57_600, 115_200, 230_400];

/// How a gate is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateKind {
    /// Frames with STX and XOR on a serial line.
    Frames,
    /// Modbus RTU on a serial line.
    Modbus,
    /// A relay and inputs on pins of this machine.
    Pins,
    /// None: riders walk through by themselves, for demos.
    Simulated,
}

/// The table `[gate]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateConfig {
    /// `frames`, `modbus`, `pins` or `simulated`.
    pub kind: GateKind,
    /// The serial device of `frames` and `modbus`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PathBuf>,
    /// Line speed.
    #[serde(default = "default_baud")]
    pub baud: u32,
    /// Which of the gate's two directions the riders of this validator take.
    #[serde(default = "default_way")]
    pub way: Way,
    /// Whether anybody may pass the other way.
    #[serde(default)]
    pub other_way_free: bool,
    /// How long a rider has for passing.
    #[serde(default = "default_timeout_s")]
    pub timeout_s: u64,
    /// Whether a validator without its gate is out of service.
    #[serde(default = "default_required")]
    pub required: bool,
    /// The register map of `modbus`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registers: Option<Registers>,
    /// The pins of `pins`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pins: Option<PinNumbers>,
}

/// `[gate.registers]`: where a Modbus gate keeps what is needed of it, by its manual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registers {
    /// Its address on the bus.
    pub unit: u8,
    /// The coil that opens it for this validator's riders while it is set.
    pub open_coil: u16,
    /// The input register that counts their passages, modulo 65,536.
    pub passed_input: u16,
    /// The input register that counts passages the other way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_way_input: Option<u16>,
    /// The discrete input that tells of somebody right behind a rider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tailgate_bit: Option<u16>,
    /// That tells of a wing that was forced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forced_bit: Option<u16>,
    /// That tells of something standing in the gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_bit: Option<u16>,
    /// That tells of a fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault_bit: Option<u16>,
    /// That tells of an emergency, for as long as it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emergency_bit: Option<u16>,
}

/// `[gate.pins]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinNumbers {
    /// The chip, such as `/dev/gpiochip0`.
    pub chip: PathBuf,
    /// The line of the relay that keeps the gate open while it is on.
    pub open: u32,
    /// The line that goes high when a rider has passed.
    pub passed: u32,
    /// The line that is high during an emergency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emergency: Option<u32>,
}

/// What is wrong with `[gate]`, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GateConfigError {
    /// A line needs a device.
    #[error(
        "[gate] kind = \"{kind}\" needs port: name the serial device, such as \"/dev/ttyUSB1\""
    )]
    NoPort {
        /// Which.
        kind: &'static str,
    },
    /// An unusual speed is a mistake.
    #[error(
        "[gate] baud = {0} is not a gate's speed: choose one from 9600 to 230400, by its manual"
    )]
    Baud(u32),
    /// Too short cuts riders off, too long lets others in.
    #[error("[gate] timeout_s = {0} must lie between 2 and 60")]
    Timeout(u64),
    /// Modbus means nothing without a map.
    #[error("[gate] kind = \"modbus\" needs the table [gate.registers]: see the gate's manual")]
    NoRegisters,
    /// A unit number.
    #[error("[gate.registers] unit = {0} must lie between 1 and 247")]
    Unit(u8),
    /// Pins mean nothing without numbers.
    #[error("[gate] kind = \"pins\" needs the table [gate.pins] with chip, open and passed")]
    NoPins,
    /// A line does one thing.
    #[error("[gate.pins] names line {0} twice: each of open, passed and emergency is its own line")]
    SamePin(u32),
}

const fn default_baud() -> u32 {
    115_200
}
const fn default_way() -> Way {
    Way::A
}
const fn default_timeout_s() -> u64 {
    8
}
const fn default_required() -> bool {
    true
}

impl GateConfig {
    /// A gate of this kind, defaults for the rest.
    pub const fn of(kind: GateKind) -> Self {
        Self {
            kind,
            port: None,
            baud: default_baud(),
            way: default_way(),
            other_way_free: false,
            timeout_s: default_timeout_s(),
            required: true,
            registers: None,
            pins: None,
        }
    }

    /// How long a rider has for passing.
    pub const fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_s)
    }

    /// Everything that can be said without opening a device.
    pub fn check(&self) -> Result<(), GateConfigError> {
        let port = self.port.as_ref().filter(|port| !port.as_os_str().is_empty());
        match self.kind {
            GateKind::Frames if port.is_none() => {
                return Err(GateConfigError::NoPort { kind: "frames" });
            }
            GateKind::Modbus if port.is_none() => {
                return Err(GateConfigError::NoPort { kind: "modbus" });
            }
            GateKind::Modbus => {
                let registers = self.registers.ok_or(GateConfigError::NoRegisters)?;
                if !(1..=247).contains(&registers.unit) {
                    return Err(GateConfigError::Unit(registers.unit));
                }
            }
            GateKind::Pins => {
                let pins = self.pins.as_ref().ok_or(GateConfigError::NoPins)?;
                if pins.open == pins.passed || pins.emergency == Some(pins.open) {
                    return Err(GateConfigError::SamePin(pins.open));
                }
                if pins.emergency == Some(pins.passed) {
                    return Err(GateConfigError::SamePin(pins.passed));
                }
            }
            GateKind::Frames | GateKind::Simulated => {}
        }
        if !BAUDS.contains(&self.baud) {
            return Err(GateConfigError::Baud(self.baud));
        }
        if !(2..=60).contains(&self.timeout_s) {
            return Err(GateConfigError::Timeout(self.timeout_s));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named_with_what_to_write() {
        for (text, says) in [
            ("kind = \"frames\"", "needs port"),
            ("kind = \"modbus\"\nport = \"/dev/x\"", "[gate.registers]"),
            (
                "kind = \"modbus\"\nport = \"/dev/x\"\n\
                 registers = { unit = 0, open_coil = 0, passed_input = 0 }",
                "unit = 0",
            ),
            ("kind = \"pins\"", "[gate.pins]"),
            (
                "kind = \"pins\"\npins = { chip = \"/dev/gpiochip0\", open = 5, passed = 5 }",
                "line 5 twice",
            ),
            ("kind = \"frames\"\nport = \"/dev/x\"\nbaud = 300", "baud = 300"),
            ("kind = \"simulated\"\ntimeout_s = 1", "timeout_s = 1"),
        ] {
            let config: GateConfig = toml::from_str(text).unwrap();
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        let good: GateConfig = toml::from_str("kind = \"frames\"\nport = \"/dev/x\"").unwrap();
        assert_eq!(good.check(), Ok(()));
        assert!(good.required && good.way == Way::A);
    }
}
