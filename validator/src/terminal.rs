//! The terminal: raw while the simulator runs, and as it was before once it ends, however it ends.

use std::{
    io::{self, Read, Write, stdin, stdout},
    os::fd::AsFd,
};

use anyhow::Context;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// The other screen, without a cursor; what was on the terminal comes back at the end.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
const LEAVE: &str = "\x1b[0m\x1b[?25h\x1b[?1049l";
/// A terminal that does not say its size.
const SIZE: (usize, usize) = (80, 24);
/// The end of text and of transmission, as raw terminals send them for Ctrl-C and Ctrl-D.
const ENDS: [u8; 2] = [3, 4];

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// Of an ASCII character.
    Character(char),
    /// Ctrl-C, Ctrl-D, or the terminal is gone.
    End,
}

/// See the module's documentation.
pub(super) struct Terminal {
    before: Termios,
    keys: UnboundedReceiver<u8>,
    drawn: Vec<String>,
    size: (usize, usize),
}

impl Terminal {
    pub(super) fn open() -> anyhow::Result<Self> {
        let before = tcgetattr(stdin()).context("the terminal does not say how it is set")?;
        let (tell, keys) = unbounded_channel();
        // It waits for a key for ever, and ends with the process.
        std::thread::Builder::new().name("keys".into()).spawn(move || {
            let mut byte = [0];
            while stdin().lock().read_exact(&mut byte).is_ok() && tell.send(byte[0]).is_ok() {}
        })?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw).context("the terminal cannot be set")?;
        let this = Self { before, keys, drawn: Vec::new(), size: (0, 0) };
        write(ENTER)?;
        Ok(this)
    }

    /// Columns and rows.
    pub(super) fn size() -> (usize, usize) {
        match tcgetwinsize(stdout().as_fd()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
                (size.ws_col.into(), size.ws_row.into())
            }
            Ok(_) | Err(_) => SIZE,
        }
    }

    pub(super) async fn key(&mut self) -> Key {
        match self.keys.recv().await {
            Some(byte) if ENDS.contains(&byte) => Key::End,
            Some(byte) => Key::Character(char::from(byte)),
            None => Key::End,
        }
    }

    /// Draws the lines that have changed.
    pub(super) fn draw(&mut self, frame: Vec<String>) -> io::Result<()> {
        use std::fmt::Write;
        let mut out = String::new();
        let size = Self::size();
        if size != self.size || frame.len() != self.drawn.len() {
            out.push_str("\x1b[2J");
            self.drawn.clear();
            self.size = size;
        }
        for (row, line) in frame.iter().enumerate() {
            if self.drawn.get(row) != Some(line) {
                let _ = write!(out, "\x1b[{};1H\x1b[0m{line}\x1b[0m\x1b[K", row + 1);
            }
        }
        self.drawn = frame;
        if out.is_empty() { Ok(()) } else { write(&out) }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing put back.
        let _ = write(LEAVE);
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
