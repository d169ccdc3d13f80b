//! Lines of a receiver into fixes. RMC says time, date and place; GGA how good the place is.
//!
//! A line counts only with its checksum, and a place only from a fix that the receiver itself calls
//! valid. A date alone says nothing: see `time`.

use model::Timestamp;
use nmea::{
    ParseResult,
    sentences::{FixType, rmc::RmcStatusOfFix},
};

/// The longest line of the standard has 82 characters; some receivers write more.
const LINE_MAX: usize = 120;
/// Dilution beyond this puts a vehicle on the next street.
const HDOP_MAX: f32 = 8.0;

/// A point on the ground, millionths of a degree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// North of the equator.
    pub lat_e6: i32,
    /// East of Greenwich.
    pub lon_e6: i32,
}

/// What one RMC line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fix {
    /// By the satellites; not yet believed.
    pub at: Option<Timestamp>,
    /// Where, when the fix is good enough.
    pub position: Option<Position>,
}

/// Cuts a stream of bytes into lines and lines into fixes.
#[derive(Debug, Clone, Default)]
pub struct Sentences {
    line: Vec<u8>,
    /// Too long to be a line.
    spoilt: bool,
    /// What the newest GGA line says of the place.
    poor: bool,
    /// Lines that were damaged, so far.
    dropped: u64,
}

impl Sentences {
    /// Takes bytes and returns the fixes that they end.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Fix> {
        let mut fixes = Vec::new();
        for byte in bytes {
            match byte {
                b'\r' | b'\n' => fixes.extend(self.end()),
                // A new line begins, whatever became of the one before.
                b'$' => {
                    self.dropped += u64::from(!self.line.is_empty() || self.spoilt);
                    self.line = vec![b'$'];
                    self.spoilt = false;
                }
                _ if self.line.len() < LINE_MAX => self.line.push(*byte),
                _ => self.spoilt = true,
            }
        }
        fixes
    }

    /// Lines that were damaged, so far.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    fn end(&mut self) -> Option<Fix> {
        let line = std::mem::take(&mut self.line);
        let spoilt = std::mem::take(&mut self.spoilt);
        if line.is_empty() {
            return None;
        }
        let parsed = std::str::from_utf8(&line).ok().filter(|_| !spoilt).map(nmea::parse_str);
        match parsed {
            Some(Ok(ParseResult::RMC(rmc))) => {
                let valid = rmc.status_of_fix != RmcStatusOfFix::Invalid;
                let at = rmc.fix_date.zip(rmc.fix_time).filter(|_| valid);
                let at = at.and_then(|(date, time)| {
                    let ms = date.and_time(time).and_utc().timestamp_millis();
                    u64::try_from(ms).ok().map(Timestamp)
                });
                let place = rmc.lat.zip(rmc.lon).filter(|_| valid && !self.poor);
                Some(Fix { at, position: place.and_then(|(lat, lon)| position(lat, lon)) })
            }
            Some(Ok(ParseResult::GGA(gga))) => {
                let fixed = !matches!(gga.fix_type, None | Some(FixType::Invalid));
                self.poor = !fixed || gga.hdop.is_some_and(|hdop| hdop > HDOP_MAX);
                None
            }
            // Other sentences say nothing that is needed.
            Some(Ok(_) | Err(nmea::Error::DisabledSentence | nmea::Error::Unsupported(_))) => None,
            Some(Err(_)) | None => {
                self.dropped += 1;
                None
            }
        }
    }
}

#[expect(
    clippy::float_arithmetic,
    reason = "receivers speak decimal degrees; no money hangs on it"
)]
#[expect(clippy::cast_possible_truncation, reason = "180 million fits 32 bits, as is checked")]
fn position(lat: f64, lon: f64) -> Option<Position> {
    let on_earth = lat.abs() <= 90.0 && lon.abs() <= 180.0;
    let millionths = |degrees: f64| (degrees * 1e6).round() as i32;
    on_earth.then(|| Position { lat_e6: millionths(lat), lon_e6: millionths(lon) })
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// With its checksum and end.
    pub(crate) fn sentence(body: &str) -> String {
        let sum = body.bytes().fold(0, |sum, byte| sum ^ byte);
        format!("${body}*{sum:02X}\r\n")
    }

    /// Degrees and minutes, as receivers write them.
    fn angle(e6: i32, digits: usize) -> String {
        let e6 = i64::from(e6.abs());
        let (degrees, rest) = (e6 / 1_000_000, e6 % 1_000_000);
        let minutes_e5 = rest * 6;
        format!("{degrees:0digits$}{:02}.{:05}", minutes_e5 / 100_000, minutes_e5 % 100_000)
    }

    /// What a receiver says of this moment and place; without a place in a tunnel.
    pub(crate) fn rmc(time: &str, date: &str, position: Option<Position>) -> String {
        let body = match position {
            Some(Position { lat_e6, lon_e6 }) => {
                let (ns, ew) =
                    (if lat_e6 < 0 { 'S' } else { 'N' }, if lon_e6 < 0 { 'W' } else { 'E' });
                let (lat, lon) = (angle(lat_e6, 2), angle(lon_e6, 3));
                format!("GPRMC,{time},A,{lat},{ns},{lon},{ew},12.0,90.0,{date},,,A")
            }
            None => format!("GPRMC,{time},V,,,,,,,{date},,,N"),
        };
        sentence(&body)
    }

    const SEOUL: Position = Position { lat_e6: 37_566_500, lon_e6: 126_978_000 };

    #[test]
    fn a_line_says_when_and_where_and_only_with_its_checksum() {
        let line = rmc("083559.25", "261126", Some(SEOUL));
        let fixes = Sentences::default().push(line.as_bytes());
        assert_eq!(fixes, [Fix { at: Some(Timestamp(1_795_682_159_250)), position: Some(SEOUL) }]);
        let mut sentences = Sentences::default();
        assert_eq!(sentences.push(line.replace("083559", "083558").as_bytes()), []);
        assert_eq!(sentences.dropped(), 1);
        let tunnel = rmc("083600.00", "261126", None);
        assert_eq!(sentences.push(tunnel.as_bytes()), [Fix { at: None, position: None }]);
    }

    #[test]
    fn a_poor_fix_tells_the_time_and_no_place() {
        let mut sentences = Sentences::default();
        let gga = |quality: u8, hdop: &str| {
            sentence(&format!(
                "GPGGA,083559.00,3733.99,N,12658.68,E,{quality},08,{hdop},30.0,M,18.0,M,,"
            ))
        };
        for (line, has_place) in [
            (gga(1, "0.9"), true),
            (gga(1, "20.0"), false),
            (gga(1, "1.2"), true),
            (gga(0, ""), false),
        ] {
            assert_eq!(sentences.push(line.as_bytes()), []);
            let fix = sentences.push(rmc("083559.00", "261126", Some(SEOUL)).as_bytes())[0];
            assert_eq!(fix.position.is_some(), has_place, "{line}");
            assert!(fix.at.is_some());
        }
        // What nobody needs here is no damage.
        sentences.push(sentence("GPVTG,,T,,M,,N,,K,N").as_bytes());
        assert_eq!(sentences.dropped(), 0);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_stumble_and_a_whole_line_behind_them_is_read(
            noise in proptest::collection::vec(any::<u8>(), 0..300),
            cut in 1..20usize,
        ) {
            let mut sentences = Sentences::default();
            sentences.push(&noise);
            let line = rmc("083559.00", "261126", Some(SEOUL));
            let fixes: Vec<_> =
                line.as_bytes().chunks(cut).flat_map(|part| sentences.push(part)).collect();
            prop_assert_eq!(fixes.last().and_then(|fix| fix.position), Some(SEOUL));
        }

        #[test]
        fn a_line_with_one_byte_lost_or_changed_tells_no_other_place(
            at in 1..60usize, change in 1..=255u8, lose: bool,
        ) {
            let mut line = rmc("083559.00", "261126", Some(SEOUL)).into_bytes();
            if lose { line.remove(at); } else { line[at] ^= change; }
            for fix in Sentences::default().push(&line) {
                prop_assert!(fix.position.is_none_or(|there| there == SEOUL), "{fix:?}");
            }
        }
    }
}
