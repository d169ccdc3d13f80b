//! What the rider sees and hears, and what opens the gate.

use std::{io::Write, time::Duration};

use validation::Passage;

/// Whatever shows the rider the answer. It must not wait: the next card may be there.
pub trait RiderScreen: Send {
    /// The answer to one presentation. Called only after everything about it is durable.
    fn show(&mut self, passage: &Passage);

    /// How long the answer shown last took.
    fn timing(&mut self, _timing: TapTiming) {}

    /// The validator takes no taps, and why. Staff reads this, not riders.
    fn out_of_service(&mut self, reason: &str);

    /// The validator takes taps again.
    fn in_service(&mut self) {}
}

/// How long a tap took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TapTiming {
    /// Card detected to answer shown.
    pub total: Duration,
    /// The validator's own part: everything but the card and the radio link.
    pub own: Duration,
}

/// One line per answer on a stream, such as the console of a machine without a display.
#[derive(Debug)]
pub struct LineScreen<W>(pub W);

impl<W: Write + Send> RiderScreen for LineScreen<W> {
    fn show(&mut self, passage: &Passage) {
        // A console that is gone must not stop the validator.
        let _ = writeln!(self.0, "{}", line(passage));
    }

    fn out_of_service(&mut self, reason: &str) {
        let _ = writeln!(self.0, "E out of service: {reason}");
    }

    fn in_service(&mut self) {
        let _ = writeln!(self.0, "- in service: hold your card here");
    }
}

/// Class, amount, balance, then why and what to do; never a card number.
pub fn line(passage: &Passage) -> String {
    use std::fmt::Write;
    let mut line = passage.class().word().to_string();
    if passage.is_granted() {
        let _ = write!(line, " accepted, charge {}", passage.charge);
    }
    if let Some(code) = passage.assist_code() {
        let _ = write!(line, " code {code:02}");
    }
    if let Some(balance) = passage.balance {
        let _ = write!(line, ", balance {balance}");
    }
    for step in &passage.steps {
        let _ = write!(line, "; {} {}", step.text(), step.amount);
    }
    if !passage.advice().is_empty() {
        let _ = write!(line, "; {}", passage.advice());
    }
    line
}
