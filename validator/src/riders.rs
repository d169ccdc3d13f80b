//! What tells riders, from the configuration: lines on the console, and the devices (ADR-0026).

use std::{
    io::{self, stdout},
    sync::Arc,
    time::Duration,
};

use fare::{
    Tariff,
    rules::{LocalTime, ZoneOffsets},
};
use rider::{DetachedLines, Idle, Manner, Panel, RiderScreen, Time};
use texts::Language;

use crate::{clock::Clock, config::Config};

/// The clock of a validator, in the time zone of its tariff; UTC where the tariff names no offsets,
/// as none of its fares depends on them.
pub(crate) struct PlaceTime {
    clock: Clock,
    zone: ZoneOffsets,
}

impl PlaceTime {
    pub(crate) fn new(clock: Clock, tariff: &Tariff) -> Self {
        let zone = tariff.parts().terms.calendar.clock.clone();
        Self { clock, zone: zone.unwrap_or_else(|| ZoneOffsets::fixed(0)) }
    }
}

impl Time for PlaceTime {
    fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    fn local(&self) -> LocalTime {
        self.zone.local(self.clock.now())
    }
}

/// What is shown while nobody taps: names as the tariff has them, ids where it has none.
pub(crate) fn idle(config: &Config, tariff: &Tariff, language: Language) -> Idle {
    let here = &config.validator;
    let place = tariff.place_ix(&here.place).and_then(|ix| tariff.place(ix));
    let place = place.map_or_else(|| here.place.clone(), |place| place.name.to_string());
    let route = here.route.as_ref().map(|id| {
        let route = tariff.route_ix(id).and_then(|ix| tariff.route(ix));
        route.map_or_else(|| id.clone(), |route| route.name.to_string())
    });
    Idle::new(language, here.role, place, route)
}

/// A panel without devices.
pub(crate) fn panel(config: &Config, tariff: &Tariff, clock: Clock) -> Panel {
    let language = config.validator.language;
    let manner = Manner { language, role: config.validator.role, private: config.rider.private };
    let time = Arc::new(PlaceTime::new(clock, tariff));
    Panel::new(manner, idle(config, tariff, language), time)
}

/// Everything that tells riders of a validator that runs.
pub fn screens(
    config: &Config,
    tariff: &Tariff,
    clock: Clock,
) -> io::Result<Vec<Box<dyn RiderScreen>>> {
    let lines = DetachedLines::start(stdout(), config.validator.language)?;
    let mut panel = panel(config, tariff, clock);
    panel.attach(&config.rider)?;
    Ok(vec![Box::new(lines), Box::new(panel)])
}
