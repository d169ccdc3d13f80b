//! The receiver on its serial line.

use std::{collections::VecDeque, time::Duration};

use line::{LineError, SerialLine};
use tokio::time::{Instant, timeout_at};

use crate::{Fix, GnssConfig, Position, Sentences};

/// What the receiver tells.
#[derive(Debug)]
pub enum Told {
    /// A line of it.
    Fix(Fix),
    /// It is gone, and why; told once for each time that it was lost.
    Lost(LineError),
}

/// What a receiver said in a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Nothing at all.
    Nothing,
    /// Nothing that is a sentence.
    Noise,
    /// Sentences without a place.
    NoPlace,
    /// A place.
    Place(Position),
}

/// A receiver that comes and goes.
#[derive(Debug)]
pub struct Receiver {
    line: SerialLine,
    sentences: Sentences,
    ready: VecDeque<Fix>,
}

impl Receiver {
    /// Not opened yet.
    pub fn new(config: &GnssConfig) -> Self {
        Self {
            line: SerialLine::new(&config.port, config.baud),
            sentences: Sentences::default(),
            ready: VecDeque::new(),
        }
    }

    /// Listens for a while, until it tells a place.
    pub async fn probe(config: &GnssConfig, patience: Duration) -> Result<Heard, LineError> {
        SerialLine::probe(&config.port, config.baud)?;
        let mut this = Self::new(config);
        let mut heard = Heard::Nothing;
        let until = Instant::now() + patience;
        while let Ok(told) = timeout_at(until, this.next()).await {
            match told {
                Told::Fix(Fix { position: Some(position), .. }) => {
                    return Ok(Heard::Place(position));
                }
                Told::Fix(Fix { position: None, .. }) => heard = Heard::NoPlace,
                Told::Lost(error) => return Err(error),
            }
        }
        let is_noise = heard == Heard::Nothing && this.dropped() > 0;
        Ok(if is_noise { Heard::Noise } else { heard })
    }

    /// Lines that were damaged, so far.
    pub const fn dropped(&self) -> u64 {
        self.sentences.dropped()
    }

    /// The next thing it tells. May be dropped at any await.
    pub async fn next(&mut self) -> Told {
        loop {
            if let Some(fix) = self.ready.pop_front() {
                return Told::Fix(fix);
            }
            let mut bytes = [0; 256];
            let read = match self.line.ready().await {
                Ok(()) => self.line.read(&mut bytes).await,
                Err(error) => Err(error),
            };
            match read {
                Ok(count) => self.ready.extend(self.sentences.push(&bytes[..count])),
                Err(error) => return Told::Lost(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use line::Terminal;
    use tokio::time::timeout;

    use super::*;
    use crate::sentences::tests::rmc;

    const PATIENCE: Duration = Duration::from_secs(20);
    const THERE: Position = Position { lat_e6: 1_000_000, lon_e6: 2_000_000 };

    async fn position(receiver: &mut Receiver) -> Option<Position> {
        match timeout(PATIENCE, receiver.next()).await.expect("it tells in time") {
            Told::Fix(fix) => fix.position,
            Told::Lost(error) => panic!("{error}"),
        }
    }

    #[tokio::test]
    async fn a_receiver_over_a_terminal_that_splits_damages_and_unplugs() {
        let folder = tempfile::tempdir().unwrap();
        let port = folder.path().join("gnss");
        let mut receiver = Receiver::new(&GnssConfig::at(&port));
        let Told::Lost(error) = receiver.next().await else { panic!("there is none yet") };
        assert!(error.to_string().contains("gnss"), "{error}");
        let mut terminal = Terminal::plug(&port).unwrap();
        let line = rmc("083559.00", "261126", Some(THERE));
        let (head, tail) = line.split_at(21);
        terminal.say(b"\xFF\xFEgarbage\r\n").await.unwrap();
        terminal.say(head.as_bytes()).await.unwrap();
        let read = tokio::spawn(async move {
            let first = position(&mut receiver).await;
            (receiver, first)
        });
        tokio::time::sleep(Duration::from_millis(30)).await;
        terminal.say(tail.as_bytes()).await.unwrap();
        let (mut receiver, first) = read.await.unwrap();
        assert_eq!((first, receiver.dropped()), (Some(THERE), 1));
        // Pulled out in the middle of a line.
        terminal.say(head.as_bytes()).await.unwrap();
        drop(terminal);
        let Told::Lost(_) = timeout(PATIENCE, receiver.next()).await.unwrap() else {
            panic!("it is gone")
        };
        let mut terminal = Terminal::plug(&port).unwrap();
        terminal.say(line.as_bytes()).await.unwrap();
        assert_eq!(position(&mut receiver).await, Some(THERE));
    }

    #[tokio::test]
    async fn a_probe_tells_silence_noise_a_receiver_without_sky_and_a_place_apart() {
        let folder = tempfile::tempdir().unwrap();
        let port = folder.path().join("gnss");
        let config = GnssConfig::at(&port);
        let while_said = async |line: &str, patience: u64| {
            let mut terminal = Terminal::plug(&port).unwrap();
            let probe = Receiver::probe(&config, Duration::from_millis(patience));
            let say = async {
                // Opening the line empties it.
                loop {
                    terminal.say(line.as_bytes()).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            tokio::select! {
                heard = probe => heard.unwrap(),
                () = say => unreachable!("it never ends"),
            }
        };
        assert!(Receiver::probe(&config, PATIENCE).await.is_err(), "nothing is plugged in");
        assert_eq!(while_said("", 200).await, Heard::Nothing);
        assert_eq!(while_said("\u{7}#~wrong speed\r\n", 500).await, Heard::Noise);
        let dark = rmc("083559.00", "261126", None);
        assert_eq!(while_said(&dark, 500).await, Heard::NoPlace);
        let line = rmc("083559.00", "261126", Some(THERE));
        assert_eq!(while_said(&line, 20_000).await, Heard::Place(THERE), "as soon as it is told");
    }
}
