//! The rider's side of a validator: what is seen, lit and heard, and the drivers that do it.
//!
//! `feedback` decides what a passage looks and sounds like, `stage` what holds at a moment, `draw`
//! how that looks on a display of any size: all pure. `panel` gives every device a thread of its
//! own, so that no tap ever waits for one (ADR-0026).
//!
//! Invariants: nothing here is told a card's number; nothing here decides about money or passage.
//! The font that is compiled in has a licence of its own, `fonts/OFL.txt`.

mod canvas;
mod devices;
mod draw;
mod feedback;
mod font;
mod framebuffer;
mod gpio;
mod icons;
mod lamps;
mod line;
mod oled;
mod panel;
mod probe;
mod pwm;
mod settings;
mod sound;
mod stage;
mod tft;
mod timeline;

#[cfg(test)]
mod tests;

pub use canvas::Canvas;
pub use draw::{Painter, SIZES};
pub use feedback::{CapBar, Choice, Feedback, Figure, Manner, Shape};
pub use font::Pen;
pub use lamps::Lamps;
pub use line::{
    Adjusted, DetachedLines, LineScreen, RiderScreen, TapTiming, advice, chosen_line, line,
};
pub use panel::{Display, DriverError, DriverHealth, Leds, Opener, Panel, Remote, Sounder, Time};
pub use probe::{Device, devices, probe};
pub use settings::{
    BuzzerKind, BuzzerSettings, DisplayKind, DisplaySettings, LedSettings, Settings,
};
pub use sound::{HERTZ_MAX, HERTZ_MIN, Sound, Tone, Volume};
pub use stage::{Here, Idle, Scene, Stage};
pub use timeline::{Now, Timeline};
