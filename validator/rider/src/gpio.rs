//! Lamps and active buzzers on GPIO lines, through the character device of the kernel.

use std::path::Path;

use gpiocdev::{Request, line::Value};

use crate::{
    lamps::Lamps,
    panel::{DriverError, Leds, Sounder},
    settings::{BuzzerSettings, LedSettings},
    sound::Tone,
};

/// Lines that can be driven. Tests have lines of their own: no machine of theirs has a chip.
pub(crate) trait Lines {
    /// These and no others, in the order in which the lines were named.
    fn set(&mut self, lit: &[bool]) -> Result<(), DriverError>;
}

/// Lines of a GPIO chip, held while this lives. The kernel leaves them as they are at the end.
pub(crate) struct ChipLines {
    request: Request,
    offsets: Vec<u32>,
}

impl ChipLines {
    /// Takes lines of a chip, all off.
    pub(crate) fn open(
        chip: &Path,
        offsets: Vec<u32>,
        active_low: bool,
    ) -> Result<Self, DriverError> {
        let what = || format!("lines {offsets:?} of {}", chip.display());
        let mut request = Request::builder();
        request.on_chip(chip).with_consumer("tapline").with_lines(&offsets);
        request.as_output(Value::Inactive);
        if active_low {
            request.as_active_low();
        }
        let request = request.request().map_err(|e| DriverError::new(what(), e))?;
        Ok(Self { request, offsets })
    }
}

impl Lines for ChipLines {
    fn set(&mut self, lit: &[bool]) -> Result<(), DriverError> {
        for (offset, lit) in self.offsets.iter().zip(lit) {
            let value = if *lit { Value::Active } else { Value::Inactive };
            self.request
                .set_value(*offset, value)
                .map_err(|e| DriverError::new(format!("line {offset}"), e))?;
        }
        Ok(())
    }
}

/// One line as displays on SPI want it.
pub(crate) struct OutputLine(ChipLines);

impl OutputLine {
    /// Takes a line of a chip, low.
    pub(crate) fn open(chip: &Path, offset: u32) -> Result<Self, DriverError> {
        Ok(Self(ChipLines::open(chip, vec![offset], false)?))
    }
}

impl embedded_hal::digital::Error for DriverError {
    fn kind(&self) -> embedded_hal::digital::ErrorKind {
        embedded_hal::digital::ErrorKind::Other
    }
}

impl embedded_hal::digital::ErrorType for OutputLine {
    type Error = DriverError;
}

impl embedded_hal::digital::OutputPin for OutputLine {
    fn set_low(&mut self) -> Result<(), DriverError> {
        self.0.set(&[false])
    }

    fn set_high(&mut self) -> Result<(), DriverError> {
        self.0.set(&[true])
    }
}

/// One lamp of the four.
type Lamp = fn(Lamps) -> bool;

/// Lamps on lines.
pub(crate) struct LineLeds<L> {
    lines: L,
    which: Vec<Lamp>,
}

impl LineLeds<ChipLines> {
    /// The lamps of a configuration.
    pub(crate) fn open(settings: &LedSettings) -> Result<Self, DriverError> {
        let (offsets, which) = wiring(settings);
        let lines = ChipLines::open(&settings.chip, offsets, settings.active_low)?;
        Ok(Self { lines, which })
    }
}

/// The lines that have lamps, and which lamp each has.
fn wiring(settings: &LedSettings) -> (Vec<u32>, Vec<Lamp>) {
    let all: [(Option<u32>, Lamp); 4] = [
        (settings.green, |lamps| lamps.green),
        (settings.amber, |lamps| lamps.amber),
        (settings.red, |lamps| lamps.red),
        (settings.white, |lamps| lamps.white),
    ];
    all.into_iter().filter_map(|(line, lamp)| Some((line?, lamp))).unzip()
}

impl<L: Lines> Leds for LineLeds<L> {
    fn light(&mut self, lamps: Lamps) -> Result<(), DriverError> {
        let lit: Vec<bool> = self.which.iter().map(|lamp| lamp(lamps)).collect();
        self.lines.set(&lit)
    }
}

/// An active buzzer: it has a pitch of its own, so only the rhythm is left.
pub(crate) struct LineBuzzer<L> {
    lines: L,
}

impl LineBuzzer<ChipLines> {
    /// The buzzer of a configuration.
    pub(crate) fn open(settings: &BuzzerSettings) -> Result<Self, DriverError> {
        let lines = ChipLines::open(&settings.chip, vec![settings.line], settings.active_low)?;
        Ok(Self { lines })
    }
}

impl<L: Lines> Sounder for LineBuzzer<L> {
    fn sound(&mut self, tone: Option<Tone>) -> Result<(), DriverError> {
        self.lines.set(&[tone.is_some()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Recorded(Vec<Vec<bool>>);

    impl Lines for Recorded {
        fn set(&mut self, lit: &[bool]) -> Result<(), DriverError> {
            self.0.push(lit.to_vec());
            Ok(())
        }
    }

    #[test]
    fn each_lamp_is_on_the_line_that_the_configuration_names() {
        let settings = LedSettings {
            chip: "/dev/gpiochip0".into(),
            green: Some(17),
            amber: None,
            red: Some(22),
            white: Some(5),
            active_low: false,
        };
        let (offsets, which) = wiring(&settings);
        assert_eq!(offsets, [17, 22, 5]);
        let mut leds = LineLeds { lines: Recorded::default(), which };
        let off = Lamps::OFF;
        for lamps in [Lamps { green: true, amber: true, ..off }, Lamps { red: true, ..off }, off] {
            leds.light(lamps).unwrap();
        }
        leds.light(Lamps { white: true, ..off }).unwrap();
        let expected =
            [[true, false, false], [false, true, false], [false; 3], [false, false, true]];
        assert_eq!(leds.lines.0, expected);
    }

    #[test]
    fn an_active_buzzer_keeps_the_rhythm() {
        let mut buzzer = LineBuzzer { lines: Recorded::default() };
        for tone in [Some(Tone { hertz: 500, percent: 10 }), None] {
            buzzer.sound(tone).unwrap();
        }
        assert_eq!(buzzer.lines.0, [[true], [false]]);
    }

    #[test]
    fn a_chip_that_is_not_there_is_named() {
        let settings = BuzzerSettings {
            kind: crate::settings::BuzzerKind::Gpio,
            chip: "/nowhere/gpiochip9".into(),
            line: 4,
            active_low: true,
        };
        let error = LineBuzzer::open(&settings).err().unwrap().to_string();
        assert!(error.starts_with("lines [4] of /nowhere/gpiochip9: "), "{error}");
    }
}
