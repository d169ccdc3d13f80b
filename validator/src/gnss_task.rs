//! The satellite receiver's own task: tells the tap loop of each fix.

use gnss::{GnssConfig, Receiver};
use tokio::{sync::mpsc::UnboundedSender, task::JoinHandle};

use crate::tap_loop::Event;

/// Runs until the tap loop is gone; ends at once where there is no receiver.
pub(crate) fn start(config: Option<&GnssConfig>, tell: &UnboundedSender<Event>) -> JoinHandle<()> {
    let (receiver, tell) = (config.map(Receiver::new), tell.clone());
    tokio::spawn(async move {
        let Some(mut receiver) = receiver else { return };
        loop {
            let told = tokio::select! {
                told = receiver.next() => told,
                () = tell.closed() => return,
            };
            if tell.send(Event::Gnss(told)).is_err() {
                return;
            }
        }
    })
}
