//! The gate's own task: opens it when the tap loop asks, and tells the tap loop of all it says.

use gate::{Authorize, Gate, GateConfig};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::tap_loop::Event;

/// Runs until the tap loop is gone; ends at once where there is no gate.
pub(crate) async fn run(
    config: Option<GateConfig>,
    asked: UnboundedReceiver<Authorize>,
    tell: UnboundedSender<Event>,
) {
    let Some(config) = config else { return };
    Gate::new(&config).run(asked, |told| tell.send(Event::Gate(told)).is_ok()).await;
}
