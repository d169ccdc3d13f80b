//! The lamps of each class of feedback.

use std::time::Duration;

use validation::PassageClass;

use crate::timeline::Timeline;

/// Which lamps are lit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each lamp is lit or not, by itself")]
pub struct Lamps {
    /// Go.
    pub green: bool,
    /// Something to know, or again.
    pub amber: bool,
    /// No.
    pub red: bool,
    /// Out of service, where there is such a lamp.
    pub white: bool,
}

/// Half of a blink of class C: two blinks a second, below the three that may set off a seizure.
const BLINK: Duration = Duration::from_millis(250);
/// Half of a blink of class E, once in two seconds.
const SLOW: Duration = Duration::from_secs(1);

impl Lamps {
    /// None.
    pub const OFF: Self = Self { green: false, amber: false, red: false, white: false };

    /// The words of the lit ones, for tests and terminals.
    pub fn words(self) -> Vec<&'static str> {
        let Self { green, amber, red, white } = self;
        [(green, "green"), (amber, "amber"), (red, "red"), (white, "white")]
            .into_iter()
            .filter_map(|(lit, word)| lit.then_some(word))
            .collect()
    }
}

/// What the lamps do from the moment of the answer, for as long as it is shown.
pub(crate) fn of(class: PassageClass) -> Timeline<Lamps> {
    let off = Lamps::OFF;
    let blink = |lit, half| {
        Timeline::repeating(vec![(half, lit), (half, off)]).unwrap_or(Timeline::steady(lit))
    };
    match class {
        PassageClass::A => Timeline::steady(Lamps { green: true, ..off }),
        PassageClass::B => Timeline::steady(Lamps { green: true, amber: true, ..off }),
        PassageClass::C => blink(Lamps { amber: true, ..off }, BLINK),
        PassageClass::D => Timeline::steady(Lamps { red: true, ..off }),
        PassageClass::E => blink(Lamps { white: true, ..off }, SLOW),
    }
}
