//! From the configuration to drivers on the panel.

use std::path::{Path, PathBuf};

use crate::{
    framebuffer::Framebuffer,
    gpio::{LineBuzzer, LineLeds},
    oled::Oled,
    panel::{Display, DriverError, Leds, Opener, Panel, Sounder},
    pwm::PwmBuzzer,
    settings::{BuzzerKind, BuzzerSettings, DisplayKind, DisplaySettings, Settings},
    tft,
};

impl Panel {
    /// Starts a driver for each device that is configured, there or not.
    pub fn attach(&mut self, settings: &Settings) -> std::io::Result<()> {
        if let Some(display) = settings.display.clone() {
            let open: Opener<Box<dyn Display>> = Box::new(move || open_display(&display));
            self.add_display("display", open)?;
        }
        if let Some(leds) = settings.leds.clone() {
            let open: Opener<Box<dyn Leds>> =
                Box::new(move || Ok(Box::new(LineLeds::open(&leds)?) as Box<dyn Leds>));
            self.add_leds("leds", open)?;
        }
        if let Some(buzzer) = settings.buzzer.clone() {
            let open: Opener<Box<dyn Sounder>> = Box::new(move || open_buzzer(&buzzer));
            self.add_sounder("buzzer", settings.sound, open)?;
        }
        Ok(())
    }
}

pub(crate) fn open_display(settings: &DisplaySettings) -> Result<Box<dyn Display>, DriverError> {
    match settings.kind {
        DisplayKind::Framebuffer => {
            let size = (settings.width, settings.height);
            let folder = sysfs_of(&settings.device);
            Ok(Box::new(Framebuffer::open(&settings.device, &folder, size)?))
        }
        DisplayKind::Ssd1306 => Ok(Box::new(Oled::open(&settings.device)?)),
        DisplayKind::St7789 | DisplayKind::Ili9341 => tft::open(settings),
    }
}

/// `/dev/fb0` is described in `/sys/class/graphics/fb0`.
fn sysfs_of(device: &Path) -> PathBuf {
    let name = device.file_name().unwrap_or(device.as_os_str());
    Path::new("/sys/class/graphics").join(name)
}

pub(crate) fn open_buzzer(settings: &BuzzerSettings) -> Result<Box<dyn Sounder>, DriverError> {
    Ok(match settings.kind {
        BuzzerKind::Pwm => Box::new(PwmBuzzer::open(&settings.chip, settings.line)?),
        BuzzerKind::Gpio => Box::new(LineBuzzer::open(settings)?),
    })
}
