//! A code scanner on a serial line: bytes to lines, and the line opened again when it comes back.
//!
//! Scanners differ in how they end a code (CR, LF, CRLF, or nothing but silence), send banners and
//! half lines when they start, and symbology prefixes when told to. [`Lines`] takes all of that
//! and gives whole printable lines; what a line means is not known here.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    io::AsyncReadExt,
    time::{sleep, timeout},
};
use tokio_serial::{SerialPortBuilderExt, SerialStream};

use crate::{ReaderError, config::list};

/// The longest line that is given on; a ticket has 163 characters.
const LINE_MAX: usize = 512;
/// Speeds that scanners are set to.
const SCANNER_BAUDS: [u32; 6] = [9_600, 19_200, 38_400, 57_600, 115_200, 230_400];
/// Silence that ends a code, unless configured: 20 characters at 9,600 baud.
const IDLE_MS: u32 = 50;
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(250);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(4);

/// The table `[scanner]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScannerConfig {
    /// The serial device, such as `/dev/ttyACM0`.
    pub port: PathBuf,
    /// Line speed; a scanner that is a USB device ignores it.
    #[serde(default = "default_baud")]
    pub baud: u32,
    /// Silence of this many milliseconds ends a code that no CR or LF ends.
    #[serde(default = "default_idle_ms")]
    pub idle_ms: u32,
}

/// What is wrong with `[scanner]`, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScannerConfigError {
    /// No device.
    #[error("[scanner] port is empty: name the serial device, such as \"/dev/ttyACM0\"")]
    NoPort,
    /// An unusual speed is a mistake.
    #[error(
        "[scanner] baud = {0} is not a scanner's speed: choose one of {list}",
        list = list(&SCANNER_BAUDS)
    )]
    Baud(u32),
    /// Too short cuts codes apart, too long makes riders wait.
    #[error("[scanner] idle_ms = {0} must lie between 10 and 1000")]
    Idle(u32),
}

const fn default_baud() -> u32 {
    9_600
}
const fn default_idle_ms() -> u32 {
    IDLE_MS
}

impl ScannerConfig {
    /// A scanner at this device, defaults for the rest.
    pub fn at(port: impl Into<PathBuf>) -> Self {
        Self { port: port.into(), baud: default_baud(), idle_ms: default_idle_ms() }
    }

    /// Everything that can be said without opening a device.
    pub fn check(&self) -> Result<(), ScannerConfigError> {
        if self.port.as_os_str().is_empty() {
            return Err(ScannerConfigError::NoPort);
        }
        if !SCANNER_BAUDS.contains(&self.baud) {
            return Err(ScannerConfigError::Baud(self.baud));
        }
        if !(10..=1000).contains(&self.idle_ms) {
            return Err(ScannerConfigError::Idle(self.idle_ms));
        }
        Ok(())
    }
}

/// Cuts a stream of bytes into lines. Without I/O and without a clock: the caller says when the
/// line was silent.
#[derive(Debug, Clone, Default)]
pub struct Lines {
    line: Vec<u8>,
    /// The line holds something that no code has, or too much: it is dropped at its end.
    spoilt: bool,
    /// Lines dropped so far.
    dropped: u64,
}

impl Lines {
    /// Takes bytes and returns the lines that they end.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for byte in bytes {
            match byte {
                b'\r' | b'\n' => lines.extend(self.end()),
                // Filler and flow control of some scanners, and STX/ETX frames around a code.
                0 | 2 | 3 | 0x11 | 0x13 => {}
                b' '..=b'~' | b'\t' if self.line.len() < LINE_MAX => self.line.push(*byte),
                _ => self.spoilt = true,
            }
        }
        lines
    }

    /// The line was silent long enough to end a code.
    pub fn idle(&mut self) -> Option<String> {
        self.end()
    }

    /// Whether silence would end something.
    pub fn is_mid_line(&self) -> bool {
        self.spoilt || !self.line.is_empty()
    }

    /// Lines that were no text, so far.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    fn end(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.spoilt) {
            self.dropped += 1;
            return None;
        }
        let text = String::from_utf8(line).expect("only ASCII was kept");
        let text = without_symbology(text.trim());
        (!text.is_empty()).then(|| text.to_owned())
    }
}

/// Without the AIM identifier (`]`, a letter, a modifier) that scanners put before a code when
/// told to: `]Q1` and `]Q3` mean QR.
fn without_symbology(text: &str) -> &str {
    match text.as_bytes() {
        [b']', letter, modifier, ..]
            if letter.is_ascii_alphabetic() && modifier.is_ascii_alphanumeric() =>
        {
            text[3..].trim_start()
        }
        _ => text,
    }
}

/// The scanner. Every method may be dropped at any await.
pub struct Scanner {
    config: ScannerConfig,
    port: Option<SerialStream>,
    pause: Duration,
    lines: Lines,
    /// Lines cut and not yet taken.
    ready: std::collections::VecDeque<String>,
}

impl Scanner {
    /// Not opened yet: a scanner that is not there must not keep cards from being read.
    pub fn new(config: ScannerConfig) -> Self {
        let (lines, ready) = (Lines::default(), std::collections::VecDeque::new());
        Self { config, port: None, pause: Duration::ZERO, lines, ready }
    }

    /// Looks whether the device is there and can be opened.
    pub fn probe(config: &ScannerConfig) -> Result<(), ReaderError> {
        open(&config.port, config.baud).map(drop)
    }

    /// Waits for the next code. An error means that the scanner failed, once for each time that it
    /// was lost; the next call tries to get it back, pausing before each attempt.
    pub async fn next(&mut self) -> Result<String, ReaderError> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Ok(line);
            }
            self.reopen().await?;
            let Some(port) = &mut self.port else { continue };
            let mut bytes = [0; 256];
            let read = port.read(&mut bytes);
            let idle = Duration::from_millis(u64::from(self.config.idle_ms));
            let read =
                if self.lines.is_mid_line() { timeout(idle, read).await } else { Ok(read.await) };
            match read {
                Err(_) => self.ready.extend(self.lines.idle()),
                Ok(Ok(0)) => return Err(self.lost(io::ErrorKind::UnexpectedEof.into())),
                Ok(Ok(count)) => self.ready.extend(self.lines.push(&bytes[..count])),
                Ok(Err(source)) => return Err(self.lost(source)),
            }
        }
    }

    /// Lines that were no text, so far.
    pub const fn dropped(&self) -> u64 {
        self.lines.dropped()
    }

    /// Opens the port if it is not open; the first failure after it worked is told at once.
    async fn reopen(&mut self) -> Result<(), ReaderError> {
        if self.port.is_some() {
            return Ok(());
        }
        sleep(self.pause).await;
        let first = self.pause.is_zero();
        self.pause = (self.pause * 2).clamp(RETRY_PAUSE_MIN, RETRY_PAUSE_MAX);
        match open(&self.config.port, self.config.baud) {
            Ok(port) => {
                self.port = Some(port);
                self.pause = RETRY_PAUSE_MIN;
                // What was cut in half does not go on.
                self.lines = Lines { dropped: self.lines.dropped, ..Lines::default() };
                Ok(())
            }
            Err(error) if first => Err(error),
            Err(_) => Ok(()),
        }
    }

    fn lost(&mut self, source: io::Error) -> ReaderError {
        self.port = None;
        self.pause = RETRY_PAUSE_MIN;
        ReaderError::ScannerLost { place: self.config.port.display().to_string(), source }
    }
}

fn open(path: &Path, baud: u32) -> Result<SerialStream, ReaderError> {
    tokio_serial::new(path.to_string_lossy(), baud).open_native_async().map_err(|error| {
        let source = io::Error::from(error);
        // The serial library says "not found" of a port that another program holds.
        let held = source.kind() == io::ErrorKind::NotFound && path.exists();
        let source = if held { io::ErrorKind::ResourceBusy.into() } else { source };
        ReaderError::ScannerOpen { port: path.to_path_buf(), source }
    })
}

#[cfg(test)]
mod tests {
    use line::Terminal;
    use proptest::prelude::*;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    async fn next(scanner: &mut Scanner) -> Result<String, ReaderError> {
        timeout(PATIENCE, scanner.next()).await.expect("it tells in time")
    }

    /// What is said before the port is open is thrown away with the rest of its past.
    async fn opened(scanner: &mut Scanner) {
        let opened = async {
            while scanner.port.is_none() {
                // Longer than the pause before the next attempt.
                let _ = timeout(RETRY_PAUSE_MIN * 3, scanner.next()).await;
            }
        };
        timeout(PATIENCE, opened).await.expect("it opens in time");
    }

    #[tokio::test]
    async fn a_scanner_over_a_terminal_that_splits_adds_loses_and_unplugs() {
        let folder = tempfile::tempdir().unwrap();
        let port = folder.path().join("scanner");
        let mut scanner = Scanner::new(ScannerConfig::at(&port));
        let missing = next(&mut scanner).await.unwrap_err().to_string();
        assert!(missing.contains("scanner"), "{missing}");
        let mut terminal = Terminal::plug(&port).unwrap();
        opened(&mut scanner).await;
        // Two riders' codes in one read, each with another end.
        terminal.say(b"FIRST\r\nSECOND\r").await.unwrap();
        assert_eq!(next(&mut scanner).await.unwrap(), "FIRST");
        assert_eq!(next(&mut scanner).await.unwrap(), "SECOND");
        // In parts that come faster than silence ends a code, and one that silence ends.
        let (said, read) = tokio::join!(
            async {
                for part in [&b"TAPL"[..], b"INE1", b":ABC\n", b"SILENT"] {
                    terminal.say(part).await?;
                    sleep(Duration::from_millis(5)).await;
                }
                Ok::<_, io::Error>(())
            },
            async { [next(&mut scanner).await.unwrap(), next(&mut scanner).await.unwrap()] },
        );
        said.unwrap();
        assert_eq!(read, ["TAPLINE1:ABC", "SILENT"]);
        // Noise, a line without end, and a code that lost its middle: the first two are no text.
        terminal.say(b"\xff\xfe\x80GARBAGE\rGOOD\r").await.unwrap();
        assert_eq!(next(&mut scanner).await.unwrap(), "GOOD");
        terminal.say(&[b'A'; 4 * LINE_MAX]).await.unwrap();
        terminal.say(b"\rTAPLI:ABC\r").await.unwrap();
        assert_eq!(next(&mut scanner).await.unwrap(), "TAPLI:ABC");
        assert_eq!(scanner.dropped(), 2);
        // Pulled out in the middle of a code, which does not go on when it is back.
        terminal.say(b"HAL").await.unwrap();
        let mut cut = timeout(Duration::from_millis(10), scanner.next()).await;
        drop(terminal);
        while let Err(_) | Ok(Ok(_)) = cut {
            cut = Ok(next(&mut scanner).await);
        }
        let lost = cut.unwrap().unwrap_err().to_string();
        assert!(lost.contains("scanner"), "{lost}");
        let mut terminal = Terminal::plug(&port).unwrap();
        opened(&mut scanner).await;
        terminal.say(b"FED\r").await.unwrap();
        assert_eq!(next(&mut scanner).await.unwrap(), "FED");
    }

    /// What a stream gives when the line falls silent at its end.
    fn lines(bytes: &[u8]) -> Vec<String> {
        let mut lines = Lines::default();
        let mut all = lines.push(bytes);
        all.extend(lines.idle());
        all
    }

    #[test]
    fn every_way_to_end_a_code_gives_the_same_lines() {
        for (bytes, expected) in [
            (&b"ABC\r"[..], &["ABC"][..]),
            (b"ABC\n", &["ABC"]),
            (b"ABC\r\n", &["ABC"]),
            (b"ABC", &["ABC"]),
            (b"ABC\r\nDEF\nGHI\rJ", &["ABC", "DEF", "GHI", "J"]),
            (b"\r\n\r\n\n\n", &[]),
            (b"  ABC \t\r", &["ABC"]),
            (b"]Q3ABC\r", &["ABC"]),
            (b"]Q1 ABC\r", &["ABC"]),
            (b"]Q\r", &["]Q"]),
            (b"\0\0ABC\0\r", &["ABC"]),
            (b"\x02ABC\x03", &["ABC"]),
        ] {
            assert_eq!(lines(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn garbage_costs_its_own_line_only() {
        assert_eq!(lines(b"\xff\xfe\x80AB\rGOOD\r"), ["GOOD"]);
        assert_eq!(lines(b"\x1b[2JScanner V1.2\r\nGOOD\r"), ["GOOD"]);
        let long = [vec![b'A'; LINE_MAX + 1], b"\rGOOD\r".to_vec()].concat();
        assert_eq!(lines(&long), ["GOOD"]);
        assert_eq!(lines(&[vec![b'A'; LINE_MAX], b"\r".to_vec()].concat())[0].len(), LINE_MAX);
        let mut cut = Lines::default();
        assert!(cut.push(b"HALF\xff").is_empty() && cut.is_mid_line());
        assert_eq!((cut.idle(), cut.dropped()), (None, 1));
        assert_eq!(cut.push(b"NEXT\n"), ["NEXT"]);
    }

    #[test]
    fn each_wrong_table_says_what_to_write_instead() {
        let check = |text: &str| match toml::from_str::<ScannerConfig>(text) {
            Ok(config) => config.check().map_or_else(|e| e.to_string(), |()| "ok".into()),
            Err(error) => error.message().to_string(),
        };
        assert_eq!(check("port = '/dev/ttyACM0'"), "ok");
        for (text, expected) in [
            ("port = ''", "port is empty: name the serial device"),
            ("port = 'x'\nbaud = 1", "choose one of 9600, 19200"),
            ("port = 'x'\nidle_ms = 5", "between 10 and 1000"),
            ("port = 'x'\nspeed = 9600", "unknown field `speed`"),
            ("baud = 9600", "missing field `port`"),
        ] {
            assert!(check(text).contains(expected), "{text}: {}", check(text));
        }
    }

    proptest! {
        #[test]
        fn however_the_bytes_are_split_the_lines_are_the_same(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            cuts in proptest::collection::vec(0..200_usize, 0..10),
        ) {
            let mut split = Lines::default();
            let mut all = Vec::new();
            let mut at = 0;
            let mut cuts = cuts;
            cuts.sort_unstable();
            for cut in cuts.into_iter().chain([bytes.len()]) {
                let to = cut.clamp(at, bytes.len());
                all.extend(split.push(&bytes[at..to]));
                at = to;
            }
            all.extend(split.idle());
            let printable = |line: &String| line.bytes().all(|b| b >= b' ' || b == b'\t');
            prop_assert!(all.iter().all(|line| line.len() <= LINE_MAX && printable(line)));
            prop_assert_eq!(all, lines(&bytes));
        }

        #[test]
        fn a_code_after_any_garbage_and_an_end_is_read(
            garbage in proptest::collection::vec(any::<u8>(), 0..600),
        ) {
            let stream = [&garbage[..], b"\rTAPLINE1:ABC\r"].concat();
            prop_assert_eq!(lines(&stream).pop(), Some("TAPLINE1:ABC".into()));
        }
    }
}
