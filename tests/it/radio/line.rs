//! A line between a program and its broker that can be made as bad as a radio link: slow, silent in
//! the middle of everything, or cut.

#![expect(clippy::unwrap_used, reason = "a line that cannot be laid is a failed test")]

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use crate::broker::pause;

/// How the line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Passes everything at once.
    Open,
    /// Passes nothing, and neither end is told: what a partition looks like.
    Silent,
    /// Ends every connection, also a new one.
    Cut,
    /// Passes so many bytes a second in each direction, and each burst only after a delay.
    Slow {
        /// Bytes a second.
        rate: u64,
        /// Before the first byte of a burst.
        delay: Duration,
    },
}

/// GPRS with two time slots up, on the edge of a cell.
pub(crate) const RADIO_2G: Mode = Mode::Slow { rate: 2_500, delay: Duration::from_millis(350) };

/// See the module's documentation. Its threads end with their connections, and with the process.
pub(crate) struct Line {
    /// Where the program connects to.
    pub(crate) port: u16,
    mode: Arc<Mutex<Mode>>,
    passed: Arc<Mutex<u64>>,
}

impl Line {
    /// To a broker on this machine.
    pub(crate) fn to(broker: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mode, passed) = (Arc::new(Mutex::new(Mode::Open)), Arc::new(Mutex::new(0)));
        let (kept, counted) = (Arc::clone(&mode), Arc::clone(&passed));
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(("127.0.0.1", broker)) else { continue };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let (mode, passed) = (Arc::clone(&kept), Arc::clone(&counted));
                    thread::spawn(move || pump(from, to, &mode, &passed));
                }
            }
        });
        Self { port, mode, passed }
    }

    pub(crate) fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    /// Bytes passed so far, both ways.
    pub(crate) fn passed(&self) -> u64 {
        *self.passed.lock().unwrap()
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, mode: &Mutex<Mode>, passed: &Mutex<u64>) {
    const TURN: Duration = Duration::from_millis(10);
    from.set_read_timeout(Some(TURN)).unwrap();
    let mut bytes = [0; 512];
    let mut idle = true;
    loop {
        let now = *mode.lock().unwrap();
        match now {
            Mode::Silent => {
                pause(TURN);
                continue;
            }
            Mode::Cut => break,
            Mode::Open | Mode::Slow { .. } => {}
        }
        match from.read(&mut bytes) {
            Ok(0) => break,
            Ok(read) => {
                if let Mode::Slow { rate, delay } = now {
                    pause(if idle { delay } else { Duration::ZERO });
                    pause(Duration::from_millis(read as u64 * 1_000 / rate));
                }
                idle = false;
                // What was read when the line fell silent is on its way: it comes when it speaks.
                while *mode.lock().unwrap() == Mode::Silent {
                    pause(TURN);
                }
                if to.write_all(&bytes[..read]).is_err() {
                    break;
                }
                *passed.lock().unwrap() += read as u64;
            }
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock) => idle = true,
            Err(_) => break,
        }
    }
    // The other direction may have ended both already.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
