//! The validator daemon on a vehicle: a satellite receiver on a pseudo-terminal tells where it
//! stands and what time it is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gnss::GnssConfig;
use jiff::Timestamp as Moment;
use line::Terminal;
use model::{ClockQuality, PlaceIx};
use tokio::time::{sleep, timeout};
use validator::clock::Clock;

use crate::validator::rig::{Depot, Rig, TARIFF, issued};

const PATIENCE: Duration = Duration::from_secs(30);
const YEAR_MS: i64 = 31_556_952_000;

/// What a receiver says at this moment, at a longitude in hundredths of a degree.
fn rmc(at: u64, east: u32) -> String {
    let moment = Moment::from_millisecond(i64::try_from(at).unwrap()).unwrap();
    let (time, date) = (moment.strftime("%H%M%S"), moment.strftime("%d%m%y"));
    let minutes = east * 60 / 100;
    let body = format!("GPRMC,{time}.00,A,0000.00000,N,000{minutes:02}.00000,E,0.0,0.0,{date},,,A");
    let sum = body.bytes().fold(0, |sum, byte| sum ^ byte);
    format!("${body}*{sum:02X}\r\n")
}

#[expect(clippy::disallowed_methods, reason = "a receiver knows the right time")]
fn right_now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

#[tokio::test]
async fn satellites_tell_the_stop_of_a_tap_and_put_a_clock_right_that_is_a_year_off() {
    for by_ms in [-YEAR_MS, YEAR_MS] {
        let mut rig = Rig::new();
        // The second stop lies half a degree east of the first.
        let second = "name = \"Stop 2\", lat = 0, lon = 0";
        assert!(TARIFF.contains(second));
        rig.tariff = TARIFF.replace(second, "name = \"Stop 2\", lat = 0, lon = 0.5");
        rig.clock = Clock::wrong(by_ms);
        let port = rig.path("gnss");
        let stops = vec!["s1".into(), "s2".into()];
        rig.config.gnss = Some(GnssConfig { stops, ..GnssConfig::at(&port) });
        let mut depot = Depot::start(&mut rig).await;
        // Without a receiver taps are taken, and say that nobody knows how old their place is.
        let daemon = rig.start().await.unwrap();
        assert!(rig.tap(&issued(1, 900)).await.is_granted());
        let mut receiver = Terminal::plug(&port).unwrap();
        receiver.say(b"\xFF\x00$GPRMC,half a line\r\n").await.unwrap();
        let corrected = async {
            while daemon.metrics().clock_offset.get() == 0 || daemon.metrics().gnss_up.get() == 0 {
                let line = rmc(right_now() / 1000 * 1000, 50);
                let (head, tail) = line.split_at(20);
                receiver.say(head.as_bytes()).await.unwrap();
                sleep(Duration::from_millis(20)).await;
                receiver.say(tail.as_bytes()).await.unwrap();
                sleep(Duration::from_millis(80)).await;
            }
        };
        timeout(PATIENCE, corrected).await.expect("three fixes agree");
        let shown = rig.stops.lock().unwrap().clone();
        assert_eq!(shown, ["Stop 1", "Stop 2"], "the display is there before the tap");
        assert!(rig.tap(&issued(2, 900)).await.is_granted());
        // Pulled out: taps go on at the same stop, by a clock that still holds.
        drop(receiver);
        let lost = async {
            while daemon.metrics().gnss_up.get() == 1 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, lost).await.expect("it is noticed");
        assert!(rig.tap(&issued(3, 900)).await.is_granted());
        depot.until(3).await;
        let [before, after, without] = &depot.taps[..] else { panic!("three taps") };
        let off = |at: model::Timestamp| at.0.abs_diff(right_now());
        assert_eq!((before.place, before.place_age_s), (PlaceIx(0), Some(u16::MAX)));
        assert_eq!(before.clock, ClockQuality::Unknown);
        assert!(off(before.tapped_at) > 30_000_000_000);
        for tap in [after, without] {
            assert_eq!((tap.place, tap.place_age_s), (PlaceIx(1), None));
            assert_eq!(tap.clock, ClockQuality::Gnss);
            assert!(off(tap.tapped_at) < 30_000, "{}", off(tap.tapped_at));
        }
        assert!(before.seq < after.seq && after.seq < without.seq, "numbers order, not times");
        daemon.stop().await;
    }
}
