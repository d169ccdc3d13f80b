//! The sounds of each class of feedback, and how loud they are at which hour.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::timeline::Timeline;

/// A tone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tone {
    /// Its pitch; between [`HERTZ_MIN`] and [`HERTZ_MAX`].
    pub hertz: u32,
    /// Of the loudest, before the hour of the day has its say.
    pub percent: u8,
}

/// Below it a small buzzer is not heard over an engine.
pub const HERTZ_MIN: u32 = 500;
/// Above it many older riders hear nothing.
pub const HERTZ_MAX: u32 = 3_000;

/// High: it went well.
const HIGH: Tone = Tone { hertz: 2_200, percent: 100 };
/// Middle: it went well, and there is something to know.
const MIDDLE: Tone = Tone { hertz: 1_400, percent: 100 };
/// Quiet, because it may come again and again.
const QUIET: Tone = Tone { hertz: 1_000, percent: 40 };
/// The two tones of a refusal, falling.
const LOW: [Tone; 2] = [Tone { hertz: 700, percent: 100 }, Tone { hertz: 500, percent: 100 }];

const SHORT: Duration = Duration::from_millis(120);
const GAP: Duration = Duration::from_millis(80);
const RAPID: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_millis(400);

/// Rhythms, each told from the others without its pitch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sound {
    /// One short: accepted.
    Once,
    /// Two short: a transfer or a concession.
    Twice,
    /// Three short: look at your balance or your pass.
    Thrice,
    /// Five rapid ones: once more.
    Again,
    /// One long of two tones: refused.
    Refused,
    /// Nothing.
    Silence,
}

/// The timeline of a rhythm.
pub(crate) fn of(sound: Sound) -> Timeline<Option<Tone>> {
    let beeps = |tone, times: usize, beep, gap| {
        let both = [(beep, Some(tone)), (gap, None)];
        let all = both.into_iter().cycle().take(times * 2 - 1);
        Timeline::once(all.collect(), None)
    };
    match sound {
        Sound::Once => beeps(HIGH, 1, SHORT, GAP),
        Sound::Twice => beeps(HIGH, 2, SHORT, GAP),
        Sound::Thrice => beeps(MIDDLE, 3, SHORT, GAP),
        Sound::Again => beeps(QUIET, 5, RAPID, RAPID),
        Sound::Refused => {
            Timeline::once(LOW.into_iter().map(|tone| (LONG, Some(tone))).collect(), None)
        }
        Sound::Silence => Timeline::steady(None),
    }
}

/// How loud at which hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Volume {
    /// By day, per cent.
    pub volume: u8,
    /// By night, per cent.
    pub night_volume: u8,
    /// The hour at which the night begins, local time.
    pub night_from_h: u8,
    /// The hour at which it ends; the same as its begin: there is no night.
    pub night_until_h: u8,
}

impl Default for Volume {
    fn default() -> Self {
        Self { volume: 100, night_volume: 50, night_from_h: 22, night_until_h: 6 }
    }
}

impl Volume {
    /// Per cent at a second of the local day.
    pub fn at(self, secs_of_day: u32) -> u8 {
        let hour = secs_of_day / 3_600;
        let (from, until) = (u32::from(self.night_from_h), u32::from(self.night_until_h));
        let night = if from <= until {
            (from..until).contains(&hour)
        } else {
            hour >= from || hour < until
        };
        if night { self.night_volume } else { self.volume }
    }

    /// A tone at that hour; silence when nothing is left of it.
    pub fn of(self, tone: Tone, secs_of_day: u32) -> Option<Tone> {
        let percent = u32::from(tone.percent) * u32::from(self.at(secs_of_day)) / 100;
        let percent = u8::try_from(percent.min(100)).unwrap_or(100);
        (percent > 0).then_some(Tone { percent, ..tone })
    }
}
