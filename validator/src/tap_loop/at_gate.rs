//! The gate behind the reader: opened for whoever was let in, and what it says is recorded
//! (ADR-0027).

use std::time::Duration;

use gate::{Authorize, GateConfig, GateError, GateEvent, Token, Told};
use model::{GateWord, TapSeq};
use tokio::sync::mpsc::UnboundedSender;

use super::{Outage, TapLoop};

/// What the tap loop knows of its gate.
pub(crate) struct AtGate {
    /// Where to ask; `None` without a gate.
    ask: Option<UnboundedSender<Authorize>>,
    timeout: Duration,
    required: bool,
    /// Why no taps are taken because of it.
    pub(super) out: Option<String>,
}

impl AtGate {
    /// A gate that was not heard of yet, or none.
    pub(crate) fn new(config: Option<&GateConfig>, ask: UnboundedSender<Authorize>) -> Self {
        let required = config.is_some_and(|gate| gate.required);
        Self {
            ask: config.map(|_| ask),
            timeout: config.map_or(Duration::ZERO, GateConfig::timeout),
            required,
            out: required.then(|| "the gate has not answered yet".to_owned()),
        }
    }
}

impl TapLoop {
    /// For the rider whose passage is shown.
    pub(super) fn open_gate(&self) {
        let entry = self.machine.let_in().or(self.tap.entry);
        if let (Some(ask), Some(seq)) = (&self.gate.ask, entry) {
            // A task that has ended opens no gate; it has said why.
            let _ = ask.send(Authorize { token: Token(seq.0), timeout: self.gate.timeout });
        }
    }

    pub(super) fn gate_told(&mut self, told: Told) {
        match told {
            Told::Ready => {
                self.metrics.gate_up.set(1);
                tracing::info!("the gate answers");
                self.judge_gate(None);
            }
            Told::Lost(error) => self.gate_lost(&error),
            Told::Event(event) => self.gate_said(event),
        }
    }

    fn gate_lost(&mut self, error: &GateError) {
        let reason = crate::chain(error);
        self.metrics.gate_up.set(0);
        tracing::error!(%reason, "the gate is lost");
        if self.gate.required {
            self.judge_gate(Some(reason));
        }
    }

    fn gate_said(&mut self, event: GateEvent) {
        let said = match event {
            GateEvent::Passed(_) => GateWord::Passed,
            GateEvent::TimedOut(_) => GateWord::TimedOut,
            GateEvent::Unseen(_) => GateWord::Unseen,
            GateEvent::Tailgate => GateWord::Tailgate,
            GateEvent::Forced => GateWord::Forced,
            GateEvent::Blocked => GateWord::Blocked,
            GateEvent::Fault(code) => {
                tracing::error!(code, "the gate is out of order");
                GateWord::Fault
            }
            GateEvent::Emergency(true) => GateWord::Emergency,
            GateEvent::Emergency(false) => GateWord::EmergencyOver,
        };
        let of = event.token().map(|token| TapSeq(token.0));
        self.machine.handle_gate(self.clock.now(), said, of);
        match said {
            // Everybody leaves; nobody pays for that.
            GateWord::Emergency => self.judge_gate(Some("the gate stands open: emergency".into())),
            GateWord::EmergencyOver => self.judge_gate(None),
            GateWord::Passed
            | GateWord::TimedOut
            | GateWord::Unseen
            | GateWord::Tailgate
            | GateWord::Forced
            | GateWord::Blocked
            | GateWord::Fault => {}
        }
    }

    fn judge_gate(&mut self, out: Option<String>) {
        self.gate.out = out;
        // Nothing but a restart heals a log.
        if !matches!(self.outage, Outage::Log) {
            self.resume_service();
        }
    }
}
