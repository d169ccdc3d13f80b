//! The gate's own task: opens it when the tap loop asks, and tells the tap loop of all it says.

use gate::{Gate, GateConfig};
use tokio::{
    sync::mpsc::{UnboundedSender, unbounded_channel},
    task::JoinHandle,
};

use crate::tap_loop::{AtGate, Event};

/// Runs until the tap loop is gone; ends at once where there is no gate.
pub(crate) fn start(
    config: Option<&GateConfig>,
    tell: &UnboundedSender<Event>,
) -> (JoinHandle<()>, AtGate) {
    let (ask, asked) = unbounded_channel();
    let (gate, tell) = (config.map(Gate::new), tell.clone());
    let task = tokio::spawn(async move {
        if let Some(gate) = gate {
            gate.run(asked, |told| tell.send(Event::Gate(told)).is_ok()).await;
        }
    });
    (task, AtGate::new(config, ask))
}
