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
    /// The device: `/dev/fb0`, `/dev/i2c-1`, `/dev/spidev0.0`.
    pub device: PathBuf,
    /// Pixels in a row; a framebuffer says itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Rows; a framebuffer says itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// The chip of the GPIO lines of a display on SPI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chip: Option<PathBuf>,
    /// Its line that tells data from commands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dc: Option<u32>,
    /// Its line that starts it anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset: Option<u32>,
}

/// What shows pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DisplayKind {
    /// HDMI, DSI, and small displays that the kernel drives.
    Framebuffer,
    /// An OLED of 128 by 64 pixels on I2C, address 3C.
    Ssd1306,
    /// A colour display on SPI, of at most 240 by 320 pixels.
    St7789,
    /// The same by another maker.
    Ili9341,
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
        let lines = [self.dc, self.reset];
        match self.kind {
            DisplayKind::Framebuffer | DisplayKind::Ssd1306
                if lines != [None; 2] || self.chip.is_some() =>
            {
                wrong("takes chip, dc and reset only for displays on SPI".into())
            }
            DisplayKind::Framebuffer => None,
            DisplayKind::Ssd1306 => {
                let is_its = [None, Some([128, 64])].contains(&pair(sides));
                let text = "of kind ssd1306 is 128 by 64: leave width and height out";
                if is_its { None } else { wrong(text.into()) }
            }
            DisplayKind::St7789 | DisplayKind::Ili9341 => {
                if lines.contains(&None) || self.chip.is_none() {
                    return wrong("on SPI needs chip, dc and reset: a GPIO chip, two lines".into());
                }
                let fits = |sides: [u32; 2]| {
                    sides.iter().max() <= Some(&320) && sides.iter().min() <= Some(&240)
                };
                let text = "on SPI has at most 320 by 240 pixels: give both width and height";
                let is_whole = sides == [None; 2] || pair(sides).is_some_and(fits);
                if is_whole { None } else { wrong(text.into()) }
            }
        }
    }
}

const fn pair([width, height]: [Option<u32>; 2]) -> Option<[u32; 2]> {
    match (width, height) {
        (Some(width), Some(height)) => Some([width, height]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(kind: DisplayKind) -> DisplaySettings {
        let device = "/dev/x".into();
        let (width, height, chip, dc, reset) = (None, None, None, None, None);
        DisplaySettings { kind, device, width, height, chip, dc, reset }
    }

    #[test]
    fn a_section_that_cannot_be_right_says_what_to_write() {
        let on_spi = DisplaySettings {
            chip: Some("/dev/gpiochip0".into()),
            dc: Some(25),
            reset: Some(24),
            ..settings(DisplayKind::St7789)
        };
        let oled = settings(DisplayKind::Ssd1306);
        let framebuffer = settings(DisplayKind::Framebuffer);
        for (display, wanted) in [
            (on_spi.clone(), None),
            (oled.clone(), None),
            (framebuffer.clone(), None),
            (settings(DisplayKind::Ili9341), Some("needs chip, dc and reset")),
            (DisplaySettings { width: Some(320), ..on_spi.clone() }, Some("give both")),
            (DisplaySettings { width: Some(480), height: Some(320), ..on_spi }, Some("at most")),
            (DisplaySettings { width: Some(64), height: Some(32), ..oled }, Some("is 128 by 64")),
            (DisplaySettings { dc: Some(1), ..framebuffer.clone() }, Some("only for displays on")),
            (DisplaySettings { width: Some(4_000), ..framebuffer }, Some("outside 32 to 1920")),
        ] {
            let said = Settings { display: Some(display.clone()), ..Settings::default() }.problem();
            let said = said.map(|(key, problem)| format!("{key} {problem}"));
            match wanted {
                None => assert_eq!(said, None, "{display:?}"),
                Some(wanted) => assert!(said.as_ref().unwrap().contains(wanted), "{said:?}"),
            }
        }
        let same = LedSettings {
            chip: first_chip(),
            green: Some(4),
            amber: None,
            red: Some(4),
            white: None,
            active_low: false,
        };
        let said = Settings { leds: Some(same), ..Settings::default() }.problem().unwrap();
        assert_eq!(said, ("rider.leds", "gives two lamps the same line".to_owned()));
        let loud = Volume { volume: 101, ..Volume::default() };
        let said = Settings { sound: loud, ..Settings::default() }.problem().unwrap();
        assert!(said.1.contains("per cent"), "{said:?}");
    }
}
