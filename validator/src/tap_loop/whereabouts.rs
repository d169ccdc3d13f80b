//! Where the next tap is made, and that the rider is shown it. On a vehicle satellites tell it:
//! taps are made at the last stop that it stood at, and a clock that no network keeps is corrected.

use std::{sync::Arc, time::Duration};

use fare::Tariff;
use gnss::{Fix, GnssConfig, Position, Stop, Stops, TimeKeeper, Told};
use model::PlaceIx;
use rider::Here;
use validation::ValidatorContext;

use super::TapLoop;
use crate::{config::Config, riders};

/// What satellites have told so far, and what riders were.
#[derive(Debug, Default)]
pub(crate) struct Whereabouts {
    stops: Option<Stops>,
    /// The place of the configuration, which every tariff that is gone by has.
    home: Option<Arc<str>>,
    /// The stops of the route by their ids; empty = all places of the tariff.
    route: Vec<String>,
    /// Whether they correct the clock.
    time: Option<TimeKeeper>,
    /// What the screens show.
    shown: Option<Here>,
}

impl Whereabouts {
    /// With the stops of the configuration, or all places of the tariff. Stops that the tariff does
    /// not know were refused before.
    pub(crate) fn of(config: &Config, context: &ValidatorContext) -> Self {
        let tariff = context.tariffs.get(context.tariff);
        let (Some(config), Some(tariff)) = (&config.gnss, tariff) else { return Self::default() };
        Self::at(config, tariff, context.place)
    }

    fn at(config: &GnssConfig, tariff: &Tariff, home: PlaceIx) -> Self {
        let route = config.stops.clone();
        let stops = stops(tariff, &route);
        let stops = Stops::new(stops, !route.is_empty(), config.near_m, config.leave_m);
        let time = config.clock.then(TimeKeeper::default);
        let home = tariff.place(home).map(|place| place.id.clone());
        Self { stops: Some(stops), home, route, time, shown: None }
    }

    /// Where riders are shown that the next tap will be made.
    pub(crate) const fn shown(&self) -> Option<&Here> {
        self.shown.as_ref()
    }

    /// Before another tariff, which need not have the stop that the vehicle stands at.
    pub(super) fn go_home(&self, context: &mut ValidatorContext) {
        let tariff = context.tariffs.get(context.tariff);
        let home = self.home.as_ref().and_then(|id| tariff?.place_ix(id));
        context.place = home.unwrap_or(context.place);
    }

    /// The stops are those of another tariff.
    fn move_to(&mut self, tariff: &Tariff) {
        if let Some(known) = &mut self.stops {
            known.replace(stops(tariff, &self.route));
        }
    }

    /// The stop in this tariff, and how old that is, where satellites tell it.
    fn matched(&self, uptime: Duration, tariff: &Tariff) -> Option<(PlaceIx, Option<Duration>)> {
        let matched = self.stops.as_ref()?.matched(uptime)?;
        Some((tariff.place_ix(matched.id)?, matched.age))
    }
}

fn stops(tariff: &Tariff, route: &[String]) -> Vec<Stop> {
    let stop = |place: &fare::Place| Stop {
        id: place.id.to_string(),
        position: Position { lat_e6: place.lat_e6, lon_e6: place.lon_e6 },
    };
    if route.is_empty() {
        return tariff.places().iter().map(stop).collect();
    }
    route.iter().filter_map(|id| tariff.place(tariff.place_ix(id)?)).map(stop).collect()
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
            self.show_place();
        }
    }

    /// The places of another tariff, that the next tap is priced by.
    pub(super) fn move_stops(&mut self) {
        let context = self.tap.context.as_deref().unwrap_or(self.machine.context());
        if let Some(tariff) = context.tariffs.get(context.tariff) {
            self.whereabouts.move_to(tariff);
        }
        self.show_place();
    }

    /// Riders are shown where the next tap will be made, in the words of what prices it.
    pub(super) fn show_place(&mut self) {
        let context = self.tap.context.as_deref().unwrap_or(self.machine.context());
        let Some(tariff) = context.tariffs.get(context.tariff) else { return };
        let matched = self.whereabouts.matched(self.clock.elapsed(), tariff);
        let place = matched.map_or(context.place, |(place, _)| place);
        let here = riders::here(tariff, context.role, place, context.route);
        if self.whereabouts.shown.as_ref() != Some(&here) {
            self.screen.here(&here);
            self.whereabouts.shown = Some(here);
        }
    }

    /// Before a tap: where it is made.
    pub(super) fn take_place(&mut self) {
        if self.whereabouts.stops.is_none() {
            return;
        }
        let context = self.machine.context();
        let tariff = context.tariffs.get(context.tariff);
        let matched =
            tariff.and_then(|tariff| self.whereabouts.matched(self.clock.elapsed(), tariff));
        // Without any fix yet, and where the tariff lacks the stop: the place of the configuration,
        // of which nobody knows the age.
        let (place, age) = matched.unwrap_or((context.place, Some(Duration::MAX)));
        let age_s = age.map(|age| u16::try_from(age.as_secs()).unwrap_or(u16::MAX));
        self.machine.set_place(place, age_s);
    }
}

#[cfg(test)]
mod tests {
    use fare::TariffSet;
    use model::{ClockQuality, TapRole, ValidatorId};
    use validation::{Hotlist, Rules};

    use super::*;

    /// Stops, each a degree east of the one before.
    fn tariff(version: u16, stops: &[&str]) -> Tariff {
        let place = |(n, id): (usize, &&str)| {
            format!("{{ id = {id:?}, name = {id:?}, lat = 0, lon = {n}, kind = \"stop\" }}")
        };
        let places: Vec<String> = stops.iter().enumerate().map(place).collect();
        let places = places.join(",");
        let text = format!(
            r#"
format = 1
version = {version}
network = "Test"
timezone = "UTC"
currency = "EUR"
groups = ["bus"]
operator = [{{ id = "bus", name = "Bus" }}]
product = [{{ id = "p", name = "P", price = "1.00" }}]
place = [{places}]
route = [
  {{ id = "7", name = "7", mode = "bus", operator = "bus", group = "bus", product = "p" }},
]
"#
        );
        Tariff::parse(&text).unwrap()
    }

    #[test]
    fn a_tariff_without_the_stop_that_the_bus_stands_at_is_gone_by_and_its_own_stops_are_found() {
        let old = tariff(1, &["depot", "mill"]);
        let mut context = ValidatorContext {
            id: ValidatorId::new(1).unwrap(),
            role: TapRole::Board,
            place: PlaceIx(0),
            place_age_s: None,
            route: None,
            tariff: old.version(),
            tariffs: TariffSet::new(old.clone()),
            hotlist: Hotlist::default(),
            hotlist_version: None,
            clock: ClockQuality::Unknown,
            rules: Rules::default(),
        };
        let gnss = GnssConfig::at("/dev/null");
        let mut whereabouts = Whereabouts::at(&gnss, &old, context.place);
        let at = |lon_e6| Position { lat_e6: 0, lon_e6 };
        let mut uptime = Duration::ZERO;
        let mut drive = |whereabouts: &mut Whereabouts, to: Position| {
            for _ in 0..5 {
                uptime += Duration::from_secs(10_000);
                whereabouts.stops.as_mut().unwrap().handle_fix(uptime, to);
            }
            uptime
        };
        let now = drive(&mut whereabouts, at(1_000_000));
        let (mill, age) = whereabouts.matched(now, &old).unwrap();
        assert_eq!((mill, age), (PlaceIx(1), None));
        // As every tap leaves it.
        context.place = mill;

        let new = tariff(2, &["depot", "dam", "lock"]);
        let mut both = TariffSet::new(old);
        both.insert(new.clone()).unwrap();
        whereabouts.go_home(&mut context);
        context.go_by(both, new.version()).unwrap();
        whereabouts.move_to(&new);
        assert_eq!(context.place, new.place_ix("depot").unwrap());
        assert_eq!(whereabouts.matched(now, &new), None, "the mill is no stop any more");
        let now = drive(&mut whereabouts, at(2_000_000));
        assert_eq!(whereabouts.matched(now, &new), Some((new.place_ix("lock").unwrap(), None)));
    }
}
