//! A turnstile behind a pseudo-terminal that speaks frames, with people who pass it or do not, and
//! a line that loses, adds and splits bytes.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use line::Terminal;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinHandle,
    time::sleep,
};

use crate::{
    Way,
    frames::{Frames, frame},
};

/// What is wrong with the line or the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Trouble {
    /// So many of the gate's next frames lose a byte.
    pub lose: u32,
    /// Bytes that mean nothing stand before and behind every frame.
    pub noise: bool,
    /// Every byte comes alone.
    pub split: bool,
    /// It hears and does nothing.
    pub deaf: bool,
}

#[derive(Debug, Default)]
struct State {
    open: Option<Way>,
    trouble: Trouble,
    /// Command letters that it obeyed.
    obeyed: Vec<u8>,
}

/// See the module's documentation.
pub struct Turnstile {
    path: PathBuf,
    state: Arc<Mutex<State>>,
    say: UnboundedSender<u8>,
    line: JoinHandle<io::Result<()>>,
}

impl Turnstile {
    /// Plugs it in under this path. Call within a tokio runtime.
    pub fn plug(path: &Path) -> io::Result<Self> {
        let state = Arc::<Mutex<State>>::default();
        let (say, line) = Self::line(path, &state)?;
        Ok(Self { path: path.to_path_buf(), state, say, line })
    }

    /// Pulls the plug. The gate keeps what it was told.
    pub async fn unplug(&mut self) {
        self.line.abort();
        // Only its end matters: the terminal is gone then.
        let _ = (&mut self.line).await;
    }

    /// Plugs it in again.
    pub fn plug_again(&mut self) -> io::Result<()> {
        (self.say, self.line) = Self::line(&self.path, &self.state)?;
        Ok(())
    }

    /// From here on.
    pub fn trouble(&self, trouble: Trouble) {
        self.state().trouble = trouble;
    }

    /// The way that is open for one.
    pub fn is_open(&self) -> Option<Way> {
        self.state().open
    }

    /// How often it was opened.
    pub fn times_opened(&self) -> usize {
        self.state().obeyed.iter().filter(|letter| matches!(letter, b'H' | b'A')).count()
    }

    /// Somebody walks up to it; whether the gate lets them pass.
    pub fn walk(&self, way: Way) -> bool {
        let passes = {
            let mut state = self.state();
            let passes = state.open == Some(way);
            if passes {
                state.open = None;
            }
            passes
        };
        if passes {
            self.push_through(way);
        }
        passes
    }

    /// Somebody passes, whatever the gate says.
    pub fn push_through(&self, way: Way) {
        let word = match way {
            Way::A => 0x1A,
            Way::B => 0x1B,
        };
        // Nobody hears a gate that is unplugged.
        let _ = self.say.send(word);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(path: &Path, state: &Arc<Mutex<State>>) -> io::Result<Line> {
        let terminal = Terminal::plug(path)?;
        let (say, said) = unbounded_channel();
        Ok((say, tokio::spawn(serve(terminal, Arc::clone(state), said))))
    }
}

type Line = (UnboundedSender<u8>, JoinHandle<io::Result<()>>);

impl Drop for Turnstile {
    fn drop(&mut self) {
        self.line.abort();
    }
}

async fn serve(
    mut terminal: Terminal,
    state: Arc<Mutex<State>>,
    mut said: UnboundedReceiver<u8>,
) -> io::Result<()> {
    let mut frames = Frames::default();
    loop {
        let mut words = Vec::new();
        tokio::select! {
            heard = terminal.hear() => {
                for command in frames.push(&heard?) {
                    words.extend(obey(&state, &command));
                }
            }
            word = said.recv() => match word {
                Some(word) => words.push(word),
                None => return Ok(()),
            },
        }
        for word in words {
            say(&mut terminal, &state, word).await?;
        }
    }
}

/// Its answer.
fn obey(state: &Mutex<State>, command: &[u8]) -> Option<u8> {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    if state.trouble.deaf {
        return None;
    }
    match command {
        [b'H'] => state.open = Some(Way::A),
        [b'A'] => state.open = Some(Way::B),
        [b'C'] => state.open = None,
        [b'L' | b'S', b'H' | b'A'] => {}
        _ => return Some(0x15),
    }
    state.obeyed.extend(command.first());
    Some(0x06)
}

async fn say(terminal: &mut Terminal, state: &Mutex<State>, word: u8) -> io::Result<()> {
    let mut bytes = frame(&[word]);
    let (noise, split) = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(left) = state.trouble.lose.checked_sub(1) {
            state.trouble.lose = left;
            bytes.remove(2);
        }
        (state.trouble.noise, state.trouble.split)
    };
    if noise {
        bytes.splice(0..0, [0xFF, 0x1A, 0x02, 0x1B]);
        bytes.extend([0x02, 0x02]);
    }
    if split {
        for byte in bytes {
            terminal.say(&[byte]).await?;
            sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    } else {
        terminal.say(&bytes).await
    }
}
