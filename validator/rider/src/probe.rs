//! Whether the devices that are configured are there, for whoever sets a validator up.

use crate::{
    devices::{open_buzzer, open_display},
    gpio::LineLeds,
    panel::DriverError,
    settings::{BuzzerKind, DisplayKind, Settings},
};

const FRAMEBUFFER: &str = "is a display connected that the kernel drives, and may this user write \
                           to it (group video)?";
const I2C: &str = "is it wired at address 3C, is I2C switched on, and may this user use it (group \
                   i2c)?";
const SPI: &str = "is spidev switched on and no driver of the kernel in its place, are dc and \
                   reset free, and may this user use both (groups spi and gpio)?";
const GPIO: &str = "are the lines free (a validator that runs holds them), and may this user use \
                    the chip (group gpio)?";
const PWM: &str = "is the PWM overlay loaded, and may this user write to the chip's folder?";

/// A device of `[rider]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// As the configuration calls it: `display`, `leds` or `buzzer`.
    pub name: &'static str,
    /// Where it is.
    pub place: String,
    /// What to look at when it fails.
    pub advice: &'static str,
}

/// The devices of a configuration.
pub fn devices(settings: &Settings) -> Vec<Device> {
    let display = settings.display.as_ref().map(|display| Device {
        name: "display",
        place: display.device.display().to_string(),
        advice: match display.kind {
            DisplayKind::Framebuffer => FRAMEBUFFER,
            DisplayKind::Ssd1306 => I2C,
            DisplayKind::St7789 | DisplayKind::Ili9341 => SPI,
        },
    });
    let leds = settings.leds.as_ref().map(|leds| Device {
        name: "leds",
        place: leds.chip.display().to_string(),
        advice: GPIO,
    });
    let buzzer = settings.buzzer.as_ref().map(|buzzer| Device {
        name: "buzzer",
        place: format!("{} of {}", buzzer.line, buzzer.chip.display()),
        advice: match buzzer.kind {
            BuzzerKind::Pwm => PWM,
            BuzzerKind::Gpio => GPIO,
        },
    });
    [display, leds, buzzer].into_iter().flatten().collect()
}

/// Opens a device of the configuration and lets it go.
pub fn probe(settings: &Settings, device: &Device) -> Result<(), DriverError> {
    match device.name {
        "display" => settings.display.as_ref().map_or(Ok(()), |of| open_display(of).map(drop)),
        "leds" => settings.leds.as_ref().map_or(Ok(()), |of| LineLeds::open(of).map(drop)),
        _ => settings.buzzer.as_ref().map_or(Ok(()), |of| open_buzzer(of).map(drop)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::settings::{BuzzerSettings, DisplaySettings, LedSettings};

    #[test]
    fn each_device_that_is_not_there_is_named_with_what_to_look_at() {
        let nowhere = Path::new("/nowhere");
        let mut settings = Settings::default();
        assert_eq!(devices(&settings), []);
        let line = Some(4);
        settings.leds = Some(LedSettings {
            chip: nowhere.join("gpiochip0"),
            green: line,
            amber: None,
            red: None,
            white: None,
            active_low: false,
        });
        for (display, buzzer, words) in [
            (DisplayKind::Framebuffer, BuzzerKind::Pwm, ["video", "gpio", "PWM overlay"]),
            (DisplayKind::Ssd1306, BuzzerKind::Gpio, ["i2c", "gpio", "gpio"]),
            (DisplayKind::St7789, BuzzerKind::Pwm, ["spidev", "gpio", "PWM overlay"]),
            (DisplayKind::Ili9341, BuzzerKind::Gpio, ["spidev", "gpio", "gpio"]),
        ] {
            settings.display = Some(DisplaySettings {
                kind: display,
                device: nowhere.join("display"),
                width: Some(240),
                height: Some(320),
                chip: Some(nowhere.join("gpiochip0")),
                dc: line,
                reset: Some(5),
            });
            let chip = nowhere.join("chip");
            let buzzer = BuzzerSettings { kind: buzzer, chip, line: 0, active_low: false };
            settings.buzzer = Some(buzzer);
            let devices = devices(&settings);
            assert_eq!(devices.len(), 3);
            for (device, word) in devices.iter().zip(words) {
                assert!(device.place.contains("/nowhere/"), "{device:?}");
                assert!(device.advice.contains(word), "{device:?}");
                assert!(probe(&settings, device).is_err(), "{device:?}");
            }
        }
    }
}
