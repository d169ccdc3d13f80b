//! A passive buzzer on a PWM channel of the kernel, through the files of sysfs: the period is the
//! pitch, the share of it that the line is high is the volume.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    panel::{DriverError, Sounder},
    sound::Tone,
};

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct PwmBuzzer {
    folder: PathBuf,
}

impl PwmBuzzer {
    /// A channel of a chip such as `/sys/class/pwm/pwmchip0`; silent at first.
    pub(crate) fn open(chip: &Path, channel: u32) -> Result<Self, DriverError> {
        let folder = chip.join(format!("pwm{channel}"));
        if !folder.exists() {
            write(&chip.join("export"), &channel.to_string())?;
        }
        let this = Self { folder };
        this.silence()?;
        Ok(this)
    }

    fn silence(&self) -> Result<(), DriverError> {
        // Before the first period was set, there is nothing to disable.
        let enabled = fs::read_to_string(self.folder.join("enable"));
        if enabled.is_ok_and(|text| text.trim() == "0") {
            return Ok(());
        }
        write(&self.folder.join("enable"), "0")
    }
}

impl Sounder for PwmBuzzer {
    fn sound(&mut self, tone: Option<Tone>) -> Result<(), DriverError> {
        let Some(tone) = tone else { return self.silence() };
        let period = 1_000_000_000 / u64::from(tone.hertz.max(1));
        // Half of the period is loudest.
        let high = period / 2 * u64::from(tone.percent.min(100)) / 100;
        let put = |name: &str, value: u64| write(&self.folder.join(name), &value.to_string());
        // The kernel refuses a share longer than the period, at every moment.
        put("duty_cycle", 0)?;
        put("period", period)?;
        put("duty_cycle", high)?;
        put("enable", 1)
    }
}

fn write(path: &Path, text: &str) -> Result<(), DriverError> {
    fs::write(path, text).map_err(|e| DriverError::new(path.display(), e))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of the shape that sysfs has once a channel is exported.
    fn chip() -> tempfile::TempDir {
        let chip = tempfile::tempdir().unwrap();
        let channel = chip.path().join("pwm1");
        fs::create_dir(&channel).unwrap();
        for name in ["period", "duty_cycle", "enable"] {
            fs::write(channel.join(name), "0\n").unwrap();
        }
        chip
    }

    fn state(chip: &Path) -> [String; 3] {
        ["period", "duty_cycle", "enable"]
            .map(|name| fs::read_to_string(chip.join("pwm1").join(name)).unwrap().trim().into())
    }

    #[test]
    fn a_tone_is_a_period_and_its_volume_a_share_of_it() {
        let chip = chip();
        let mut buzzer = PwmBuzzer::open(chip.path(), 1).unwrap();
        buzzer.sound(Some(Tone { hertz: 500, percent: 100 })).unwrap();
        assert_eq!(state(chip.path()), ["2000000", "1000000", "1"]);
        buzzer.sound(Some(Tone { hertz: 1_000, percent: 40 })).unwrap();
        assert_eq!(state(chip.path()), ["1000000", "200000", "1"]);
        buzzer.sound(None).unwrap();
        assert_eq!(state(chip.path())[2], "0");
    }

    #[test]
    fn a_channel_is_exported_once_and_a_chip_that_is_not_there_is_named() {
        let chip = tempfile::tempdir().unwrap();
        // The kernel would make the channel's folder here; without it the next step fails.
        fs::write(chip.path().join("export"), "").unwrap();
        let error = PwmBuzzer::open(chip.path(), 3).unwrap_err().to_string();
        assert!(error.contains("pwm3/enable"), "{error}");
        assert_eq!(fs::read_to_string(chip.path().join("export")).unwrap(), "3");
        let error = PwmBuzzer::open(Path::new("/nowhere/pwmchip0"), 0).unwrap_err().to_string();
        assert!(error.starts_with("/nowhere/pwmchip0/export: "), "{error}");
    }
}
