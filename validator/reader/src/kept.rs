//! Something that is opened again after it was lost, with a pause that grows while that fails.

use std::{pin::Pin, time::Duration};

use tokio::time::{Sleep, sleep};

use super::ReaderError;

const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(4);

/// A `T` that comes and goes.
pub(crate) struct Kept<T> {
    state: State<T>,
    /// Before the next attempt.
    pause: Duration,
}

enum State<T> {
    Ready(T),
    /// Lost where the caller could not be told the whole of it.
    Untold(ReaderError),
    Pausing(Pin<Box<Sleep>>),
}

impl<T> Kept<T> {
    pub(crate) fn new(thing: T) -> Self {
        Self { state: State::Ready(thing), pause: PAUSE_MIN }
    }

    /// Not there yet, for a reason that is still to be told.
    pub(crate) fn missing(error: ReaderError) -> Self {
        Self { state: State::Untold(error), pause: PAUSE_MIN }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        match &self.state {
            State::Ready(thing) => Some(thing),
            State::Untold(_) | State::Pausing(_) => None,
        }
    }

    pub(crate) fn get_mut(&mut self) -> Option<&mut T> {
        match &mut self.state {
            State::Ready(thing) => Some(thing),
            State::Untold(_) | State::Pausing(_) => None,
        }
    }

    pub(crate) fn into_inner(self) -> Option<T> {
        match self.state {
            State::Ready(thing) => Some(thing),
            State::Untold(_) | State::Pausing(_) => None,
        }
    }

    /// Tells what is untold; else waits until it is time to open anew. `true` says that it is.
    pub(crate) async fn is_due(&mut self) -> Result<bool, ReaderError> {
        match &mut self.state {
            State::Ready(_) => return Ok(false),
            State::Pausing(pause) => pause.as_mut().await,
            State::Untold(_) => {
                let told = std::mem::replace(&mut self.state, pausing(self.pause));
                if let State::Untold(error) = told {
                    return Err(error);
                }
            }
        }
        Ok(true)
    }

    pub(crate) fn put(&mut self, thing: T) {
        self.state = State::Ready(thing);
    }

    /// Whatever was there is gone, or did not come; the caller tells why.
    pub(crate) fn lose(&mut self) {
        self.state = pausing(self.pause);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }

    /// It is gone, and `is_due` tells why.
    pub(crate) fn lose_untold(&mut self, error: ReaderError) {
        self.state = State::Untold(error);
    }

    /// It does its work: the next loss is a new one.
    pub(crate) fn works(&mut self) {
        self.pause = PAUSE_MIN;
    }
}

fn pausing<T>(pause: Duration) -> State<T> {
    State::Pausing(Box::pin(sleep(pause)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_pause_grows_while_it_fails_and_is_short_again_once_it_has_worked() {
        let mut kept = Kept::new(());
        assert!(!kept.is_due().await.unwrap());
        let mut pauses = Vec::new();
        for _ in 0..6 {
            pauses.push(kept.pause.as_millis());
            kept.lose();
        }
        assert_eq!(pauses, [250, 500, 1_000, 2_000, 4_000, 4_000]);
        kept.put(());
        kept.works();
        kept.lose_untold(ReaderError::Silent { place: "here".into() });
        assert!(kept.get().is_none());
        assert!(kept.is_due().await.unwrap_err().to_string().contains("here"), "told once");
        assert!(kept.is_due().await.unwrap(), "and due after a pause");
    }
}
