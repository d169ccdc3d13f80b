//! Live events for the screens. Lossy on purpose: who falls behind is told so and reads the store.
//!
//! Sent only after the commit that they tell of, so a screen never shows what a crash could undo.

use tokio::sync::broadcast;

use crate::http::views::Live;

/// Events kept for a screen that is slow to read.
const BACKLOG: usize = 1024;

/// Where events are sent to and listened for.
#[derive(Debug, Clone)]
pub struct Events(broadcast::Sender<Live>);

impl Default for Events {
    fn default() -> Self {
        Self(broadcast::channel(BACKLOG).0)
    }
}

impl Events {
    /// Tells everybody who listens.
    pub fn send(&self, event: Live) {
        // An error means that nobody listens, which is fine.
        let _ = self.0.send(event);
    }

    /// Whether anybody listens: saves building events for nobody.
    pub fn is_heard(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// From here on.
    pub fn listen(&self) -> broadcast::Receiver<Live> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listener_hears_what_is_sent_after_it_began_to_listen() {
        let events = Events::default();
        assert!(!events.is_heard());
        events.send(Live::Exceptions);
        let (mut a, mut b) = (events.listen(), events.listen());
        assert!(events.is_heard());
        assert!(a.try_recv().is_err());
        events.send(Live::Exceptions);
        assert!(matches!(a.try_recv(), Ok(Live::Exceptions)));
        assert!(matches!(b.try_recv(), Ok(Live::Exceptions)));
    }
}
