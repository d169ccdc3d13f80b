//! Where a vehicle stands and what time it is, by satellites: taps are made at the last stop that
//! it stood at, and a clock that no network keeps is corrected.

use std::time::Duration;

use gnss::{Fix, Position, Stop, Stops, TimeKeeper, Told};
use model::PlaceIx;

use validation::ValidatorContext;

use super::TapLoop;
use crate::config::Config;

/// What satellites have told so far.
#[derive(Debug, Default)]
pub(crate) struct Whereabouts {
    stops: Option<Stops>,
    /// Whether they correct the clock.
    time: Option<TimeKeeper>,
}

impl Whereabouts {
    /// With the stops of the configuration, or all places of the tariff. Stops that the tariff does
    /// not know were refused before.
    pub(crate) fn of(config: &Config, context: &ValidatorContext) -> Self {
        let tariff = context.tariffs.get(context.tariff);
        let (Some(config), Some(tariff)) = (&config.gnss, tariff) else { return Self::default() };
        let stop = |place: &fare::Place| Stop {
            id: place.id.to_string(),
            position: Position { lat_e6: place.lat_e6, lon_e6: place.lon_e6 },
        };
        let in_order = !config.stops.is_empty();
        let stops = if in_order {
            let places = config.stops.iter().filter_map(|id| tariff.place(tariff.place_ix(id)?));
            places.map(stop).collect()
        } else {
            tariff.places().iter().map(stop).collect()
        };
        let stops = Stops::new(stops, in_order, config.near_m, config.leave_m);
        Self { stops: Some(stops), time: config.clock.then(TimeKeeper::default) }
    }
}

impl TapLoop {
    pub(super) fn gnss_told(&mut self, told: Told) {
        match told {
            Told::Fix(fix) => self.fix(fix),
            Told::Lost(error) => {
                self.metrics.gnss_up.set(0);
                tracing::warn!(error = %crate::chain(&error), "satellite receiver");
            }
        }
    }

    fn fix(&mut self, Fix { at, position }: Fix) {
        let uptime = self.clock.elapsed();
        let machine = self.clock.uncorrected();
        if let (Some(keeper), Some(at)) = (&mut self.whereabouts.time, at)
            && let Some(correction) = keeper.handle_fix(uptime, machine, at)
        {
            self.metrics.clock_offset.set(correction.offset_ms);
            self.clock.correct(correction.offset_ms);
        }
        self.metrics.gnss_up.set(i64::from(position.is_some()));
        let (Some(stops), Some(position)) = (&mut self.whereabouts.stops, position) else { return };
        self.metrics.gnss_fix.set(i64::try_from(self.clock.now().secs()).unwrap_or(i64::MAX));
        if stops.handle_fix(uptime, position)
            && let Some(matched) = stops.matched(uptime)
        {
            tracing::info!(stop = matched.id, "taps are made here");
        }
    }

    /// Before a tap: where it is made.
    pub(super) fn take_place(&mut self) {
        let Some(stops) = &self.whereabouts.stops else { return };
        let matched = stops.matched(self.clock.elapsed());
        let context = self.machine.context();
        let tariff = context.tariffs.get(context.tariff);
        let place = matched.and_then(|matched| tariff?.place_ix(matched.id));
        // Without any fix yet: the place of the configuration, of which nobody knows the age.
        let age = match matched {
            Some(matched) => matched.age,
            None => Some(Duration::MAX),
        };
        let age_s = age.map(|age| u16::try_from(age.as_secs()).unwrap_or(u16::MAX));
        let place: PlaceIx = place.unwrap_or(context.place);
        self.machine.set_place(place, age_s);
    }
}
