//! A terminal that a program draws on: raw while it does, and as it was before once it ends,
//! however it ends. Names of stops come from outside, so no text may move or colour what is drawn.

use std::{
    io::{self, IsTerminal, Read, Write, stdin, stdout},
    os::fd::AsFd,
};

use anyhow::Context;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// The other screen, without a cursor; what was on the terminal comes back at the end.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
const LEAVE: &str = "\x1b[0m\x1b[?25h\x1b[?1049l";
/// A terminal that does not say its size.
const SIZE: (usize, usize) = (80, 24);
/// The end of text and of transmission, as raw terminals send them for Ctrl-C and Ctrl-D.
const ENDS: [u8; 2] = [3, 4];

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// Of an ASCII character.
    Character(char),
    /// Ctrl-C, Ctrl-D, or the terminal is gone.
    End,
}

/// See the module's documentation.
pub(crate) struct Terminal {
    /// How it was, where keys come from it.
    before: Option<Termios>,
    keys: UnboundedReceiver<u8>,
    /// Without keys the channel stays open, so that nobody takes its end for theirs.
    _no_keys: Option<UnboundedSender<u8>>,
    drawn: Vec<String>,
    size: (usize, usize),
}

impl Terminal {
    /// Keys come only where standard input is a terminal too.
    pub(crate) fn open() -> anyhow::Result<Self> {
        let (tell, keys) = unbounded_channel();
        let (before, no_keys) = if stdin().is_terminal() {
            let before = tcgetattr(stdin()).context("the terminal does not say how it is set")?;
            // It waits for a key for ever, and ends with the process.
            std::thread::Builder::new().name("keys".into()).spawn(move || {
                let mut byte = [0];
                while stdin().lock().read_exact(&mut byte).is_ok() && tell.send(byte[0]).is_ok() {}
            })?;
            let mut raw = before.clone();
            raw.make_raw();
            tcsetattr(stdin(), OptionalActions::Now, &raw).context("the terminal cannot be set")?;
            (Some(before), None)
        } else {
            (None, Some(tell))
        };
        let this = Self { before, keys, _no_keys: no_keys, drawn: Vec::new(), size: (0, 0) };
        write(ENTER)?;
        Ok(this)
    }

    /// Columns and rows.
    pub(crate) fn size() -> (usize, usize) {
        match tcgetwinsize(stdout().as_fd()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
                (size.ws_col.into(), size.ws_row.into())
            }
            Ok(_) | Err(_) => SIZE,
        }
    }

    pub(crate) async fn key(&mut self) -> Key {
        match self.keys.recv().await {
            Some(byte) if ENDS.contains(&byte) => Key::End,
            Some(byte) => Key::Character(char::from(byte)),
            None => Key::End,
        }
    }

    /// Draws the lines that have changed.
    pub(crate) fn draw(&mut self, frame: Vec<String>) -> io::Result<()> {
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
        if let Some(before) = &self.before {
            let _ = tcsetattr(stdin(), OptionalActions::Now, before);
        }
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Columns that a character takes: Hangul takes two.
fn cells(letter: char) -> usize {
    match letter {
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}' => 2,
        letter if letter.is_control() => 0,
        _ => 1,
    }
}

/// What fits. Control characters, which a name of a stop could hold, are left out.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    let mut used = 0;
    let fits = |letter: &char| {
        used += cells(*letter);
        used <= columns
    };
    text.chars().filter(|letter| !letter.is_control()).take_while(fits).collect()
}

pub(crate) fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let (mut line, mut used) = (String::new(), 0);
    for word in text.split_inclusive(' ') {
        let long: usize = word.chars().map(cells).sum();
        if used > 0 && used + long > columns {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        line += &cut(word, columns);
        used += long;
    }
    lines.push(line);
    lines
}
