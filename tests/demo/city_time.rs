//! When the city's day begins: half past six in the morning, today, where the agency is.

use jiff::tz::TimeZone;
use model::Timestamp;

/// Hour and minute at which the demo begins.
const BEGINS: (i8, i8) = (6, 30);

/// The city's calendar.
#[derive(Debug, Clone)]
pub struct CityTime {
    zone: TimeZone,
    /// Midnight of the day.
    pub midnight: Timestamp,
    /// Half past six.
    pub begins: Timestamp,
}

impl CityTime {
    /// The day that `now` lies in there. A zone that is not known is UTC.
    pub fn new(zone: &str, now: Timestamp) -> Self {
        let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
        let date = moment(now).to_zoned(zone.clone()).date();
        let at = |hour, minute| {
            let zoned = date.at(hour, minute, 0, 0).to_zoned(zone.clone());
            let ms = zoned.map_or(now.0, |zoned| {
                u64::try_from(zoned.timestamp().as_millisecond()).unwrap_or(now.0)
            });
            Timestamp(ms)
        };
        Self { midnight: at(0, 0), begins: at(BEGINS.0, BEGINS.1), zone }
    }

    /// The time of day, as `07:15`.
    pub fn clock(&self, at: Timestamp) -> String {
        moment(at).to_zoned(self.zone.clone()).strftime("%H:%M").to_string()
    }
}

fn moment(at: Timestamp) -> jiff::Timestamp {
    let ms = i64::try_from(at.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_begins_at_half_past_six_where_the_agency_is() {
        // 2026-11-22T23:00Z is the next day in Seoul.
        let now = Timestamp::from_secs(1_795_388_400);
        let city = CityTime::new("Asia/Seoul", now);
        assert_eq!(city.clock(city.begins), "06:30");
        assert_eq!(city.clock(city.midnight), "00:00");
        assert_eq!(city.begins.since(city.midnight).as_secs(), 23_400);
        assert!(now.since(city.midnight).as_secs() < 86_400);
        assert_eq!(CityTime::new("Nowhere/At_all", now).clock(now), "23:00");
    }
}
