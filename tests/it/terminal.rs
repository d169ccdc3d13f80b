//! A program of the validator in a terminal of its own, and what is drawn on it.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};

use crate::processes::{PATIENCE, VALIDATOR};

/// See the module's documentation.
pub(crate) struct Screen {
    child: Child,
    keys: File,
    /// The terminal's other end, so that its settings can be looked at.
    pub(crate) terminal: OwnedFd,
    output: Receiver<Vec<u8>>,
    pub(crate) seen: String,
}

impl Screen {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_on((160, 50), arguments)
    }

    /// On a terminal of so many columns and rows.
    pub(crate) fn start_on((columns, rows): (u16, u16), arguments: &[&str]) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let terminal = rustix::fs::open(name.as_c_str(), flags, Mode::empty()).unwrap();
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&terminal, size).unwrap();
        let end = || Stdio::from(terminal.try_clone().unwrap());
        let child = Command::new(VALIDATOR)
            .args(arguments)
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let keys = File::from(master);
        let (tell, output) = channel();
        let mut from = keys.try_clone().unwrap();
        thread::spawn(move || {
            let mut bytes = vec![0; 65_536];
            // It ends with the terminal.
            while let Ok(read @ 1..) = from.read(&mut bytes) {
                if tell.send(bytes[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, keys, terminal, output, seen: String::new() }
    }

    pub(crate) fn press(&mut self, key: char) {
        self.seen.clear();
        self.keys.write_all(key.to_string().as_bytes()).unwrap();
    }

    /// Waits until all of these have been drawn since the last key.
    pub(crate) fn shows(&mut self, wanted: &[&str]) {
        while !self.has(wanted) {
            let Ok(bytes) = self.output.recv_timeout(PATIENCE) else {
                panic!("{wanted:?} not seen in\n{}", read(&self.seen));
            };
            self.seen += &String::from_utf8_lossy(&bytes);
        }
    }

    /// As the terminal is told, or as a reader reads: lines may break anywhere.
    fn has(&self, wanted: &[&str]) -> bool {
        let text = read(&self.seen);
        wanted.iter().all(|wanted| self.seen.contains(wanted) || text.contains(wanted))
    }

    /// How the program ended by itself.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    pub(crate) fn quit(mut self) {
        self.press('q');
        // The screen that was there before comes back, with a cursor.
        self.shows(&["\x1b[?25h", "\x1b[?1049l"]);
        let status = self.ended();
        assert!(status.success(), "{status}");
        let modes = tcgetattr(&self.terminal).unwrap().local_modes;
        assert!(modes.contains(LocalModes::ICANON | LocalModes::ECHO), "cooked again: {modes:?}");
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Only where a test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Without the sequences that move and colour, without the picture, and with single spaces.
pub(crate) fn read(seen: &str) -> String {
    let mut text = String::new();
    for (i, part) in seen.split('\x1b').enumerate() {
        let is_letter = |c: char| c.is_ascii_alphabetic();
        let rest = if i == 0 { part } else { part.split_once(is_letter).map_or("", |(_, t)| t) };
        text.push(' ');
        text.extend(rest.chars().filter(|c| *c != '▀'));
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
