//! What tells riders, from the configuration: lines on the console, and the devices (ADR-0026).

use std::{
    io::{self, stdout},
    sync::Arc,
    time::Duration,
};

use fare::{Tariff, rules::ZoneOffsets};
use model::{PlaceIx, RouteIx, TapRole, Timestamp};
use rider::{DetachedLines, Here, Manner, Panel, RiderScreen, Time};

use crate::{clock::Clock, config::Config};

/// The clock of a validator, as the devices need it.
struct PanelTime(Clock);

impl Time for PanelTime {
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

/// A place of a tariff, in its words. Where the tariff names no offsets its clocks are those of
/// UTC, as none of its fares depends on them.
pub(crate) fn here(tariff: &Tariff, role: TapRole, place: PlaceIx, route: Option<RouteIx>) -> Here {
    let place = tariff.place(place).map(|place| place.name.to_string()).unwrap_or_default();
    let route = route.and_then(|ix| tariff.route(ix)).map(|route| route.name.to_string());
    let zone = tariff.parts().terms.calendar.clock.clone();
    Here { role, place, route, zone: zone.unwrap_or_else(|| ZoneOffsets::fixed(0)) }
}

/// The place of a configuration before a tap loop tells it: ids where the tariff has no names.
fn configured(config: &Config, tariff: &Tariff) -> Here {
    let validator = &config.validator;
    let route = validator.route.as_ref().and_then(|id| tariff.route_ix(id));
    match tariff.place_ix(&validator.place) {
        Some(place) => here(tariff, validator.role, place, route),
        None => Here {
            role: validator.role,
            place: validator.place.clone(),
            route: validator.route.clone(),
            zone: ZoneOffsets::fixed(0),
        },
    }
}

/// A panel without devices.
pub(crate) fn panel(config: &Config, tariff: &Tariff, clock: Clock) -> Panel {
    let (language, role) = (config.validator.language, config.validator.role);
    let manner = Manner { language, role, private: config.rider.private };
    Panel::new(manner, configured(config, tariff), Arc::new(PanelTime(clock)))
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
