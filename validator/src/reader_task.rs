//! The reader's own task: does one thing at a time for the tap loop and tells it what came of it.

use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::{clock::Clock, tap_loop::Event};
use reader::{CardTransport, Reader};

/// What the tap loop wants from the reader. It asks for the next thing only after it was told what
/// came of the one before, so the queue holds one at most.
#[derive(Debug)]
pub(crate) enum Ask {
    /// See to it that the reader answers, and say whether it does.
    Ready,
    /// Wait for something in the field.
    Card,
    /// One APDU and its answer.
    Exchange(Vec<u8>),
    /// Let go, and wait until the field has changed.
    Gone,
    /// Let go, and wait for something in the field at once: it may still be the same card.
    Again,
}

/// Runs until the tap loop is gone.
pub(crate) async fn run(
    mut reader: Reader,
    mut asks: UnboundedReceiver<Ask>,
    tell: UnboundedSender<Event>,
    clock: Clock,
) {
    while let Some(ask) = asks.recv().await {
        let event = tokio::select! {
            event = serve(&mut reader, ask, clock) => event,
            // Dropping what is under way is safe: every method of a reader may be dropped.
            () = tell.closed() => break,
        };
        if tell.send(event).is_err() {
            break;
        }
    }
    reader.close().await;
}

async fn serve(reader: &mut Reader, ask: Ask, clock: Clock) -> Event {
    match ask {
        Ask::Ready => Event::Ready(reader.ready().await),
        Ask::Card => Event::Found(reader.wait_card().await),
        Ask::Exchange(apdu) => {
            let before = clock.elapsed();
            let answer = reader.exchange(&apdu).await;
            let took: Duration = clock.elapsed().saturating_sub(before);
            Event::Answered { answer, took }
        }
        Ask::Gone => match reader.wait_gone().await {
            Ok(()) => Event::Found(reader.wait_card().await),
            Err(e) => Event::Found(Err(e)),
        },
        Ask::Again => {
            reader.release().await;
            Event::Found(reader.wait_card().await)
        }
    }
}
