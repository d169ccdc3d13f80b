//! The section `[rider]` of a validator's configuration: what tells riders, and on which devices.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::sound::Volume;

/// `[rider]`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// No balance on the display, and one sound for all rider categories.
    pub private: bool,
    /// The display, on validators that have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display: Option<DisplaySettings>,
    /// The lamps, on validators that have them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leds: Option<LedSettings>,
    /// The buzzer, on validators that have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buzzer: Option<BuzzerSettings>,
    /// How loud the buzzer is, at which hour.
    pub sound: Volume,
}

/// `[rider.display]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisplaySettings {
    /// What it is.
    pub kind: DisplayKind,
    /// The device, such as `/dev/fb0`.
    pub device: PathBuf,
    /// Pixels in a row; a framebuffer says itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Rows; a framebuffer says itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
}

/// What shows pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DisplayKind {
    /// HDMI, DSI, and small displays that the kernel drives.
    Framebuffer,
}

/// `[rider.leds]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedSettings {
    /// The GPIO chip.
    #[serde(default = "first_chip")]
    pub chip: PathBuf,
    /// Its line of the green lamp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub green: Option<u32>,
    /// Its line of the amber lamp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amber: Option<u32>,
    /// Its line of the red lamp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub red: Option<u32>,
    /// Its line of the white lamp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub white: Option<u32>,
    /// A lamp is lit while its line is low.
    #[serde(default)]
    pub active_low: bool,
}

/// `[rider.buzzer]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuzzerSettings {
    /// What it is.
    pub kind: BuzzerKind,
    /// `/sys/class/pwm/pwmchip0`, or the GPIO chip.
    pub chip: PathBuf,
    /// The channel of the PWM chip, or the line of the GPIO chip.
    pub line: u32,
    /// It sounds while its line is low; with GPIO.
    #[serde(default)]
    pub active_low: bool,
}

/// What makes sounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BuzzerKind {
    /// A passive buzzer on a PWM channel of the kernel: pitch and volume.
    Pwm,
    /// An active buzzer on a GPIO line: rhythm only.
    Gpio,
}

fn first_chip() -> PathBuf {
    "/dev/gpiochip0".into()
}

/// The sizes that can be drawn.
const SIDES: std::ops::RangeInclusive<u32> = 32..=1_920;

impl Settings {
    /// The key that cannot be right, and what to write.
    pub fn problem(&self) -> Option<(&'static str, String)> {
        let wrong = |key, problem: &str| Some((key, problem.to_owned()));
        let Volume { volume, night_volume, night_from_h, night_until_h } = self.sound;
        if volume > 100 || night_volume > 100 {
            return wrong("rider.sound", "has a volume above 100: it is in per cent");
        }
        if night_from_h > 23 || night_until_h > 23 {
            return wrong("rider.sound", "has a night that begins or ends after hour 23");
        }
        if let Some(leds) = &self.leds {
            let lines = [leds.green, leds.amber, leds.red, leds.white];
            let lines: Vec<u32> = lines.into_iter().flatten().collect();
            if lines.is_empty() {
                return wrong("rider.leds", "names no lamp: add green, amber, red or white");
            }
            if (1..lines.len()).any(|i| lines[..i].contains(&lines[i])) {
                return wrong("rider.leds", "gives two lamps the same line");
            }
        }
        self.display.as_ref().and_then(DisplaySettings::problem)
    }
}

impl DisplaySettings {
    fn problem(&self) -> Option<(&'static str, String)> {
        let wrong = |problem: String| Some(("rider.display", problem));
        let sides = [self.width, self.height];
        if sides.into_iter().flatten().any(|side| !SIDES.contains(&side)) {
            return wrong("has a width or height outside 32 to 1920 pixels".into());
        }
        None
    }
}
