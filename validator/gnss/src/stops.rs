//! Which stop taps are made at: the last one that the vehicle stood at.
//!
//! A stop is entered within `near_m` of it, by two fixes in a row, and kept until another is
//! entered: whoever taps between two stops boarded at the one behind. Another is entered only once
//! the vehicle has left, or is nearer to the other by the margin, so that a fix that wanders
//! between two stops close together changes nothing. On a route whose order is known the next stops
//! are looked for first, so that the stop across the street, of the way back, is not taken for it.
//! A fix farther from the one before than any vehicle drives is a reflection and is not believed
//! until three agree.

use std::time::Duration;

use crate::Position;

/// Fixes in a row at another stop before it is the stop.
const ENTER: u8 = 2;
/// The same where the order of the route says that it cannot be: a detour, or a late start.
const ENTER_ELSEWHERE: u8 = 6;
/// Stops ahead that are looked for first.
const AHEAD: usize = 3;
/// Metres a second: 198 km/h.
const SPEED_MAX: u64 = 55;
/// Fixes that agree on a place nobody could have reached.
const JUMP_AGREE: u8 = 3;
/// A place is fresh for this long without a fix.
const FRESH: Duration = Duration::from_secs(30);

/// A stop of the route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// As the tariff names it.
    pub id: String,
    /// Where it is.
    pub position: Position,
}

/// Where taps are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matched<'a> {
    /// The stop.
    pub id: &'a str,
    /// How long no fix has said so, once that is no longer fresh.
    pub age: Option<Duration>,
}

/// See the module's documentation. Times are since any fixed moment.
#[derive(Debug, Clone)]
pub struct Stops {
    all: Vec<Stop>,
    /// Whether their order is that of the route.
    in_order: bool,
    near_m: u64,
    leave_m: u64,
    at: Option<usize>,
    /// Another stop, and by how many fixes in a row.
    entering: Option<(usize, u8)>,
    last: Option<(Position, Duration)>,
    /// A place that cannot be reached, and how many fixes say it.
    jump: Option<(Position, u8)>,
}

impl Stops {
    /// No stop yet.
    pub const fn new(all: Vec<Stop>, in_order: bool, near_m: u32, leave_m: u32) -> Self {
        Self {
            all,
            in_order,
            near_m: near_m as u64,
            leave_m: leave_m as u64,
            at: None,
            entering: None,
            last: None,
            jump: None,
        }
    }

    /// Other stops, such as a new tariff's. The vehicle stays where it is, if that is still one.
    pub fn replace(&mut self, all: Vec<Stop>) {
        let here = self.at.map(|at| &self.all[at].id);
        self.at = here.and_then(|id| all.iter().position(|stop| stop.id == *id));
        self.all = all;
        self.entering = None;
    }

    /// The stop, and how old that is.
    pub fn matched(&self, now: Duration) -> Option<Matched<'_>> {
        let (_, seen) = self.last?;
        let age = now.saturating_sub(seen);
        let stop = &self.all[self.at?];
        Some(Matched { id: &stop.id, age: (age > FRESH).then_some(age) })
    }

    /// A good fix. Tells whether the stop is another from here on.
    pub fn handle_fix(&mut self, now: Duration, position: Position) -> bool {
        if !self.is_reachable(now, position) {
            return false;
        }
        self.last = Some((position, now));
        let Some((stop, needs)) = self.candidate(position) else {
            self.entering = None;
            return false;
        };
        let fixes = match self.entering {
            Some((same, fixes)) if same == stop => fixes + 1,
            Some(_) | None => 1,
        };
        if fixes < needs {
            self.entering = Some((stop, fixes));
            return false;
        }
        self.entering = None;
        self.at = Some(stop);
        true
    }

    /// Another stop that the vehicle may stand at, and how many fixes must say so.
    fn candidate(&self, position: Position) -> Option<(usize, u8)> {
        let far = |stop: usize| metres(self.all[stop].position, position);
        let near = (0..self.all.len()).filter(|stop| far(*stop) <= self.near_m);
        let Some(at) = self.at else {
            return near.min_by_key(|stop| far(*stop)).map(|stop| (stop, ENTER));
        };
        // Two entries of one place are one place: a terminal, or out and back at one pole.
        let others = near.filter(|stop| *stop != at);
        let (stop, needs) = if self.in_order {
            let ahead = |stop: usize| (stop + self.all.len() - at) % self.all.len();
            let stop =
                others.min_by_key(|stop| (ahead(*stop) > AHEAD, ahead(*stop), far(*stop)))?;
            (stop, if ahead(stop) <= AHEAD { ENTER } else { ENTER_ELSEWHERE })
        } else {
            (others.min_by_key(|stop| far(*stop))?, ENTER)
        };
        let (here, there) = (far(at), far(stop));
        let has_left = here > self.near_m + self.leave_m;
        (has_left || there + self.leave_m < here).then_some((stop, needs))
    }

    fn is_reachable(&mut self, now: Duration, position: Position) -> bool {
        let Some((before, at)) = self.last else { return true };
        // A fix is rounded to a second at either end, and wanders by itself.
        let secs = now.saturating_sub(at).as_secs() + 2;
        if metres(before, position) <= secs * SPEED_MAX {
            self.jump = None;
            return true;
        }
        let agreed = match self.jump {
            Some((there, n)) if metres(there, position) <= 2 * SPEED_MAX => n + 1,
            Some(_) | None => 1,
        };
        self.jump = Some((position, agreed));
        if agreed >= JUMP_AGREE {
            self.jump = None;
            return true;
        }
        false
    }
}

/// Along the ground, on the small scale of a route.
#[expect(clippy::float_arithmetic, reason = "geometry; no money hangs on a metre")]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a distance on earth")]
fn metres(a: Position, b: Position) -> u64 {
    const METRES_PER_E6: f64 = 0.111_32;
    let north = f64::from(b.lat_e6) - f64::from(a.lat_e6);
    let mut east = (f64::from(b.lon_e6) - f64::from(a.lon_e6)).abs();
    if east > 180e6 {
        east = 360e6 - east;
    }
    let east = east * (f64::from(a.lat_e6) / 1e6).to_radians().cos();
    (north.hypot(east) * METRES_PER_E6) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Sentences, sentences::tests::rmc};

    /// Ten metres.
    const M10: i32 = 90;

    fn at(north_m: i32, east_m: i32) -> Position {
        // On the equator a millionth of a degree is the same both ways.
        Position { lat_e6: north_m * M10 / 10, lon_e6: east_m * M10 / 10 }
    }

    fn stop(id: &str, east_m: i32, north_m: i32) -> Stop {
        Stop { id: id.into(), position: at(north_m, east_m) }
    }

    /// Out along a street and back on its other side: stops every 300 m, 20 m apart across.
    fn street() -> Stops {
        let out = (0..5).map(|n| stop(&format!("out{n}"), 300 * n, 0));
        let back = (0..5).rev().map(|n| stop(&format!("back{n}"), 300 * n, 20));
        Stops::new(out.chain(back).collect(), true, 40, 30)
    }

    struct Bus {
        stops: Stops,
        second: u64,
        seen: Vec<String>,
    }

    impl Bus {
        fn new(stops: Stops) -> Self {
            Self { stops, second: 0, seen: Vec::new() }
        }

        fn fix(&mut self, position: Position) {
            self.second += 1;
            let now = Duration::from_secs(self.second);
            if self.stops.handle_fix(now, position) {
                self.seen.push(self.matched().0);
            }
        }

        fn matched(&self) -> (String, Option<Duration>) {
            let matched = self.stops.matched(Duration::from_secs(self.second)).unwrap();
            (matched.id.to_owned(), matched.age)
        }

        /// At 10 m/s, with fixes that wander by some metres.
        fn drive(&mut self, from_m: i32, to_m: i32, north_m: i32) {
            let steps = (to_m - from_m).abs() / 10;
            for n in 0..=steps {
                let east = from_m + (to_m - from_m).signum() * 10 * n;
                let wander = [0, 6, -4, 9, -8, 3][usize::try_from(n % 6).unwrap()];
                self.fix(at(north_m + wander, east - wander / 2));
            }
        }
    }

    #[test]
    fn a_bus_is_at_each_stop_once_out_and_back_though_the_way_back_is_across_the_street() {
        let mut bus = Bus::new(street());
        bus.drive(0, 1_200, 0);
        assert_eq!(bus.seen, ["out0", "out1", "out2", "out3", "out4"]);
        // It stands at the terminal, turns, and goes back on the other side.
        for _ in 0..30 {
            bus.fix(at(10, 1_215));
        }
        bus.drive(1_240, 0, 20);
        let back = &bus.seen[5..];
        assert!(
            back.ends_with(&["back3", "back2", "back1", "back0"].map(String::from)),
            "{:?}",
            bus.seen
        );
        assert!(!bus.seen[5..].iter().any(|id| id.starts_with("out")), "{:?}", bus.seen);
    }

    #[test]
    fn between_two_stops_the_one_behind_holds() {
        let mut bus = Bus::new(street());
        bus.drive(0, 240, 0);
        assert_eq!(bus.matched(), ("out0".into(), None));
    }

    #[test]
    fn a_fix_that_wanders_between_two_near_stops_changes_nothing() {
        let stops = vec![stop("one", 0, 0), stop("two", 50, 0)];
        let mut bus = Bus::new(Stops::new(stops, false, 40, 30));
        for n in 0..200 {
            bus.fix(at(0, 20 + (n % 3) * 5));
        }
        assert_eq!(bus.seen, ["one"]);
        bus.drive(20, 50, 0);
        bus.fix(at(0, 50));
        assert_eq!(bus.seen, ["one", "two"]);
    }

    #[test]
    fn new_stops_are_entered_and_one_that_stays_under_its_id_holds() {
        let mut bus = Bus::new(street());
        bus.drive(0, 310, 0);
        let more = vec![stop("new", 450, 0), stop("out1", 300, 0)];
        bus.stops.replace(more.clone());
        assert_eq!(bus.matched(), ("out1".into(), None));
        bus.drive(320, 460, 0);
        assert_eq!(bus.matched(), ("new".into(), None));
        bus.stops.replace(more[1..].to_vec());
        assert_eq!(bus.stops.matched(Duration::from_secs(bus.second)), None, "it is no stop now");
    }

    #[test]
    fn a_tunnel_keeps_the_stop_and_says_how_old_it_is() {
        let mut bus = Bus::new(street());
        bus.drive(0, 310, 0);
        bus.second += 95;
        assert_eq!(bus.matched(), ("out1".into(), Some(Duration::from_secs(95))));
        // It comes out at a later stop.
        bus.drive(900, 920, 0);
        assert_eq!(bus.matched(), ("out3".into(), None));
    }

    #[test]
    fn a_reflection_far_away_is_not_believed() {
        let mut bus = Bus::new(street());
        bus.drive(0, 20, 0);
        for _ in 0..2 {
            bus.fix(at(0, 1_200));
        }
        bus.fix(at(0, 30));
        assert_eq!(bus.seen, ["out0"]);
        // A vehicle that was carried there with its receiver off says so three times.
        for _ in 0..9 {
            bus.fix(at(0, 1_200));
        }
        assert_eq!(bus.seen, ["out0", "out4"]);
    }

    #[test]
    fn distances_are_those_of_the_earth() {
        let seoul = Position { lat_e6: 37_566_500, lon_e6: 126_978_000 };
        let east = Position { lon_e6: 126_988_000, ..seoul };
        assert_eq!(metres(seoul, east), 882);
        let date_line = |lon_e6| Position { lat_e6: 0, lon_e6 };
        assert_eq!(metres(date_line(179_999_900), date_line(-179_999_900)), 22);
    }

    /// A whole drive as a receiver writes it: damaged lines, a tunnel, a reflection.
    #[test]
    fn a_recorded_drive_with_loss_noise_tunnel_and_jumps_gives_the_stops_in_order() {
        let mut recorded = Vec::new();
        for second in 0..=120_u32 {
            let east = i32::try_from(second * 10).unwrap();
            let position = match second {
                // From before the second stop until behind it.
                25..=40 => None,
                77 => Some(at(400, 9_000)),
                _ => Some(at([3, -5, 7, 0][usize::try_from(second % 4).unwrap()], east)),
            };
            let time = format!("08{:02}{:02}.00", 30 + second / 60, second % 60);
            let mut line = rmc(&time, "261126", position).into_bytes();
            match second % 11 {
                3 => drop(line.remove(20)),
                5 => line[30] ^= 0x55,
                7 => line.splice(0..0, *b"\xFF\x00$GPGSV,3,1,1").for_each(drop),
                _ => {}
            }
            recorded.push(line);
        }
        let mut sentences = Sentences::default();
        let mut bus = Bus::new(street());
        for (second, line) in recorded.iter().enumerate() {
            // Split wherever the line splits it.
            for fix in line.chunks(13).flat_map(|part| sentences.push(part)) {
                if let Some(position) = fix.position {
                    bus.second = second as u64;
                    bus.fix(position);
                }
            }
        }
        assert_eq!(bus.seen, ["out0", "out2", "out3", "out4"], "the tunnel hid one");
        assert!(sentences.dropped() > 15, "{}", sentences.dropped());
    }
}
