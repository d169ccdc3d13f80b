//! A gate behind frames with STX and XOR.

use std::{collections::VecDeque, io, time::Duration};

use line::SerialLine;
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    GateConfig, GateError, Signal, Way,
    frames::{Frames, Word, frame},
};

/// How long the gate may take to say that it does what it was told.
const ANSWER_MAX: Duration = Duration::from_millis(400);
/// So often it is told.
const TRIES: u32 = 3;
/// A frame has at most six bytes: half a millisecond. Longer silence ends it.
const IDLE: Duration = Duration::from_millis(50);

/// Releases this way, for one passage.
const fn letter(way: Way) -> u8 {
    match way {
        Way::A => b'H',
        Way::B => b'A',
    }
}

pub(crate) struct FrameGate {
    place: String,
    line: SerialLine,
    frames: Frames,
    pub(super) signals: VecDeque<Signal>,
    /// This way stays free.
    free: Option<Way>,
}

impl FrameGate {
    pub(super) fn new(config: &GateConfig) -> Self {
        let port = config.port.clone().unwrap_or_default();
        let other = match config.way {
            Way::A => Way::B,
            Way::B => Way::A,
        };
        Self {
            place: port.display().to_string(),
            line: SerialLine::new(port, config.baud),
            frames: Frames::default(),
            signals: VecDeque::new(),
            free: config.other_way_free.then_some(other),
        }
    }

    pub(super) async fn ready(&mut self) -> Result<(), GateError> {
        self.line.ready().await?;
        self.frames.idle();
        self.shut().await?;
        // What it said before is of a time that nobody saw.
        self.signals.clear();
        self.line.works();
        Ok(())
    }

    pub(super) async fn open(&mut self, way: Way) -> Result<(), GateError> {
        self.tell(&[letter(way)], "open").await
    }

    pub(super) async fn shut(&mut self) -> Result<(), GateError> {
        self.tell(b"C", "shut").await?;
        match self.free {
            Some(way) => self.tell(&[b'L', letter(way)], "stay free the other way").await,
            None => Ok(()),
        }
    }

    pub(super) async fn wait(&mut self) -> Result<(), GateError> {
        for word in self.hear().await? {
            // Nothing was asked, so no answer means anything.
            self.note(word);
        }
        Ok(())
    }

    pub(super) fn lose(&mut self) {
        self.line.lost(io::ErrorKind::TimedOut.into());
        self.signals.clear();
    }

    /// Says it until the gate says that it does it. A word that came twice opens no second time:
    /// what was released is released.
    async fn tell(&mut self, command: &[u8], what: &str) -> Result<(), GateError> {
        // An answer to something older is none to this.
        while let Ok(words) = timeout(Duration::ZERO, self.hear()).await {
            words?.into_iter().for_each(|word| self.note(word));
        }
        for _ in 0..TRIES {
            self.line.write(&frame(command)).await?;
            let until = Instant::now() + ANSWER_MAX;
            while let Ok(words) = timeout_at(until, self.hear()).await {
                let mut answer = None;
                for word in words? {
                    match word {
                        Word::Ack | Word::Nak => answer = answer.or(Some(word)),
                        Word::CompletedH | Word::CompletedA => self.note(word),
                    }
                }
                match answer {
                    Some(Word::Nak) => {
                        let (place, what) = (self.place.clone(), what.to_string());
                        return Err(GateError::Refused { place, what });
                    }
                    Some(_) => return Ok(()),
                    None => {}
                }
            }
        }
        Err(GateError::Silent { place: self.place.clone() })
    }

    /// The next words, perhaps none. May be dropped at any await.
    async fn hear(&mut self) -> Result<Vec<Word>, GateError> {
        let mut bytes = [0; 64];
        let read = self.line.read(&mut bytes);
        let read = if self.frames.is_mid_frame() {
            let Ok(read) = timeout(IDLE, read).await else {
                self.frames.idle();
                return Ok(Vec::new());
            };
            read
        } else {
            read.await
        };
        let commands = self.frames.push(&bytes[..read?]);
        Ok(commands.iter().filter_map(|command| Word::of(command)).collect())
    }

    fn note(&mut self, word: Word) {
        match word {
            Word::CompletedH => self.signals.push_back(Signal::Completed(Way::A)),
            Word::CompletedA => self.signals.push_back(Signal::Completed(Way::B)),
            Word::Ack | Word::Nak => {}
        }
    }
}
