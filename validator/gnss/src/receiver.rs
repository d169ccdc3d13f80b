//! The receiver on its serial line.

use std::collections::VecDeque;

use line::{LineError, SerialLine};

use crate::{Fix, GnssConfig, Sentences};

/// What the receiver tells.
#[derive(Debug)]
pub enum Told {
    /// A line of it.
    Fix(Fix),
    /// It is gone, and why; told once for each time that it was lost.
    Lost(LineError),
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

    /// Looks whether the device is there and can be opened.
    pub fn probe(config: &GnssConfig) -> Result<(), LineError> {
        SerialLine::probe(&config.port, config.baud)
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
    use std::time::Duration;

    use line::Terminal;
    use tokio::time::timeout;

    use super::*;
    use crate::{Position, sentences::tests::rmc};

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
}
