//! Cards in memory: the reader of the demo, of tests, and of a machine without hardware.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::{
    CardTransport, ExchangeError, Presence, ReaderError,
    medium::{Activation, Picc, presence},
};

/// A card pulled away in mid-transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// How many more exchanges go well.
    pub after: u32,
    /// Whether the card still hears the next command. Its answer is lost either way.
    pub heard: bool,
}

#[derive(Default)]
struct Field {
    media: Vec<Box<dyn Picc>>,
    cut: Option<Cut>,
}

#[derive(Default)]
struct Shared {
    field: Mutex<Field>,
    changed: Notify,
}

/// The hand that puts media on a virtual reader and takes them away.
#[derive(Clone, Default)]
pub struct VirtualField(Arc<Shared>);

impl VirtualField {
    /// Puts a medium into the field. Keep a clone of an `Arc<Mutex<_>>` to get at it again.
    pub fn place(&self, medium: impl Picc + 'static) {
        self.lock().media.push(Box::new(medium));
        self.0.changed.notify_waiters();
    }

    /// Takes everything out of the field.
    pub fn clear(&self) {
        self.lock().empty();
        self.0.changed.notify_waiters();
    }

    /// Pulls the card away at an exchange to come.
    pub fn cut(&self, cut: Cut) {
        self.lock().cut = Some(cut);
    }

    fn lock(&self) -> MutexGuard<'_, Field> {
        self.0.field.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn presence(&self) -> Option<Presence> {
        let seen: Vec<Activation> = self.lock().media.iter().map(|m| m.activation()).collect();
        presence(&seen)
    }

    /// Waits until `wanted` makes something of what is in the field.
    async fn until<T>(&self, wanted: impl Fn(Option<Presence>) -> Option<T>) -> T {
        loop {
            // Made before the look, so that a change between look and wait is not missed.
            let changed = self.0.changed.notified();
            if let Some(found) = wanted(self.presence()) {
                return found;
            }
            changed.await;
        }
    }
}

impl Field {
    fn empty(&mut self) {
        for mut medium in self.media.drain(..) {
            medium.field_off();
        }
        self.cut = None;
    }

    fn exchange(&mut self, apdu: &[u8]) -> Result<Vec<u8>, ExchangeError> {
        let [medium] = self.media.as_mut_slice() else { return Err(ExchangeError::Absent) };
        match &mut self.cut {
            Some(Cut { after: 0, heard }) => {
                if *heard {
                    let _lost = medium.transceive(apdu);
                }
                self.empty();
                Err(ExchangeError::Absent)
            }
            cut => {
                if let Some(cut) = cut {
                    cut.after -= 1;
                }
                medium.transceive(apdu).ok_or(ExchangeError::Absent)
            }
        }
    }
}

/// A reader over a [`VirtualField`].
pub struct VirtualReader {
    field: VirtualField,
    found: Option<Presence>,
}

impl VirtualReader {
    /// A reader over this field. One reader per field.
    pub fn new(field: VirtualField) -> Self {
        Self { field, found: None }
    }
}

impl CardTransport for VirtualReader {
    async fn wait_card(&mut self) -> Result<Presence, ReaderError> {
        let found = self.field.until(|presence| presence).await;
        self.found = Some(found);
        Ok(found)
    }

    async fn exchange(&mut self, apdu: &[u8]) -> Result<Vec<u8>, ExchangeError> {
        match self.found {
            Some(Presence::Card(_)) => {
                let answer = self.field.lock().exchange(apdu);
                if answer.is_err() {
                    self.field.0.changed.notify_waiters();
                }
                answer
            }
            Some(Presence::Foreign | Presence::Several) | None => Err(ExchangeError::Absent),
        }
    }

    async fn wait_gone(&mut self) -> Result<(), ReaderError> {
        self.release().await;
        let found = self.found;
        self.field.until(|presence| (presence.is_none() || presence != found).then_some(())).await;
        self.found = None;
        Ok(())
    }

    async fn release(&mut self) {
        for medium in &mut self.field.lock().media {
            medium.field_off();
        }
    }
}
