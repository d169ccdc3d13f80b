//! A gate behind a relay and inputs of this machine.
//!
//! The relay keeps the gate open while it is on. The kernel keeps each rise of the passage input
//! until it is read, so a short one is not missed between two looks.

use std::{collections::VecDeque, io, path::Path, time::Duration};

use gpiocdev::{
    Request,
    line::{EdgeDetection, EdgeKind, Value},
};
use tokio::time::sleep;

use crate::{GateConfig, GateError, PinNumbers, Signal, Way};

const LOOK: Duration = Duration::from_millis(10);
const AGAIN: Duration = Duration::from_secs(4);
/// Contacts bounce; a rider takes longer.
const DEBOUNCE: Duration = Duration::from_millis(5);

/// What is needed of pins.
pub(crate) trait Pins: Send {
    fn set(&mut self, line: u32, on: bool) -> io::Result<()>;
    fn is_high(&mut self, line: u32) -> io::Result<bool>;
    /// Rises of this line since the last time.
    fn rises(&mut self, line: u32) -> io::Result<usize>;
}

type Opener = Box<dyn FnMut(&PinNumbers) -> io::Result<Box<dyn Pins>> + Send>;

pub(crate) struct PinGate {
    numbers: PinNumbers,
    way: Way,
    opener: Opener,
    pins: Option<Box<dyn Pins>>,
    failed: bool,
    again: Duration,
    emergency: bool,
    pub(super) signals: VecDeque<Signal>,
}

impl PinGate {
    pub(super) fn new(config: &GateConfig) -> Self {
        Self::with(config, Box::new(|numbers| KernelPins::open(numbers).map(|p| Box::new(p) as _)))
    }

    fn with(config: &GateConfig, opener: Opener) -> Self {
        Self {
            numbers: config.pins.clone().expect("a checked configuration has the pins"),
            way: config.way,
            opener,
            pins: None,
            failed: false,
            again: AGAIN,
            emergency: false,
            signals: VecDeque::new(),
        }
    }

    pub(super) async fn ready(&mut self) -> Result<(), GateError> {
        if self.failed {
            sleep(self.again).await;
        }
        self.failed = true;
        let opened = (self.opener)(&self.numbers);
        self.pins = Some(opened.map_err(|source| self.error(source))?);
        self.emergency = false;
        self.shut().await?;
        self.signals.retain(|signal| matches!(signal, Signal::Emergency(_)));
        self.failed = false;
        Ok(())
    }

    #[expect(clippy::unused_async, reason = "other gates wait here")]
    pub(super) async fn open(&mut self, _way: Way) -> Result<(), GateError> {
        let line = self.numbers.open;
        self.with_pins(|pins| pins.set(line, true))
    }

    #[expect(clippy::unused_async, reason = "other gates wait here")]
    pub(super) async fn shut(&mut self) -> Result<(), GateError> {
        let line = self.numbers.open;
        self.with_pins(|pins| pins.set(line, false))?;
        self.look()
    }

    pub(super) async fn wait(&mut self) -> Result<(), GateError> {
        sleep(LOOK).await;
        Ok(())
    }

    pub(super) fn look(&mut self) -> Result<(), GateError> {
        let PinNumbers { passed, emergency, .. } = self.numbers;
        let rises = self.with_pins(|pins| pins.rises(passed))?;
        self.signals.extend((0..rises).map(|_| Signal::Completed(self.way)));
        if let Some(line) = emergency {
            let on = self.with_pins(|pins| pins.is_high(line))?;
            if on != self.emergency {
                self.emergency = on;
                self.signals.push_back(Signal::Emergency(on));
            }
        }
        Ok(())
    }

    pub(super) fn lose(&mut self) {
        self.pins = None;
        self.signals.clear();
    }

    fn with_pins<T>(
        &mut self,
        act: impl FnOnce(&mut dyn Pins) -> io::Result<T>,
    ) -> Result<T, GateError> {
        let done = match &mut self.pins {
            Some(pins) => act(pins.as_mut()),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        done.map_err(|source| self.error(source))
    }

    fn error(&self, source: io::Error) -> GateError {
        GateError::Pins { chip: self.numbers.chip.display().to_string(), source }
    }
}

/// The kernel's character device.
struct KernelPins(Request);

impl KernelPins {
    fn open(numbers: &PinNumbers) -> io::Result<Self> {
        let mut builder = Request::builder();
        builder
            .on_chip(chip(&numbers.chip))
            .with_consumer("tapline")
            .with_line(numbers.open)
            .as_output(Value::Inactive)
            .with_line(numbers.passed)
            .as_input()
            .with_edge_detection(EdgeDetection::RisingEdge)
            .with_debounce_period(DEBOUNCE);
        if let Some(line) = numbers.emergency {
            builder.with_line(line).as_input();
        }
        builder.request().map(Self).map_err(io::Error::other)
    }
}

fn chip(path: &Path) -> &Path {
    path
}

impl Pins for KernelPins {
    fn set(&mut self, line: u32, on: bool) -> io::Result<()> {
        let value = if on { Value::Active } else { Value::Inactive };
        self.0.set_value(line, value).map(drop).map_err(io::Error::other)
    }

    fn is_high(&mut self, line: u32) -> io::Result<bool> {
        self.0.value(line).map(|value| value == Value::Active).map_err(io::Error::other)
    }

    fn rises(&mut self, line: u32) -> io::Result<usize> {
        let mut count = 0;
        while self.0.has_edge_event().map_err(io::Error::other)? {
            let event = self.0.read_edge_event().map_err(io::Error::other)?;
            count += usize::from(event.offset == line && event.kind == EdgeKind::Rising);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::GateKind;

    /// Pins in memory. There is no hardware here, and this kernel simulates none.
    #[derive(Default)]
    struct Board {
        relay: bool,
        passed: usize,
        emergency: bool,
        broken: bool,
    }

    struct BoardPins(Arc<Mutex<Board>>);

    impl Pins for BoardPins {
        fn set(&mut self, line: u32, on: bool) -> io::Result<()> {
            assert_eq!(line, 17);
            let mut board = self.0.lock().unwrap();
            board.relay = on;
            if board.broken { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
        }
        fn is_high(&mut self, _: u32) -> io::Result<bool> {
            Ok(self.0.lock().unwrap().emergency)
        }
        fn rises(&mut self, line: u32) -> io::Result<usize> {
            assert_eq!(line, 27);
            Ok(std::mem::take(&mut self.0.lock().unwrap().passed))
        }
    }

    fn gate() -> (PinGate, Arc<Mutex<Board>>) {
        let board = Arc::<Mutex<Board>>::default();
        let pins =
            PinNumbers { chip: "/dev/gpiochip0".into(), open: 17, passed: 27, emergency: Some(22) };
        let config = GateConfig { pins: Some(pins), ..GateConfig::of(GateKind::Pins) };
        let same = Arc::clone(&board);
        let opener = move |_: &PinNumbers| Ok(Box::new(BoardPins(Arc::clone(&same))) as _);
        (PinGate::with(&config, Box::new(opener)), board)
    }

    #[tokio::test]
    async fn the_relay_is_on_while_a_right_is_open_and_a_pulse_is_a_passage() {
        let (mut gate, board) = gate();
        board.lock().unwrap().passed = 3;
        gate.ready().await.unwrap();
        assert!(gate.signals.is_empty(), "what rose before anybody looked is nobody's passage");
        gate.open(Way::A).await.unwrap();
        assert!(board.lock().unwrap().relay);
        board.lock().unwrap().passed = 1;
        gate.look().unwrap();
        assert_eq!(gate.signals.pop_front(), Some(Signal::Completed(Way::A)));
        gate.shut().await.unwrap();
        assert!(!board.lock().unwrap().relay);
        board.lock().unwrap().emergency = true;
        gate.look().unwrap();
        gate.look().unwrap();
        assert_eq!(gate.signals, [Signal::Emergency(true)]);
    }

    #[tokio::test]
    async fn a_chip_that_fails_and_comes_back_leaves_the_relay_off_and_claims_nothing() {
        let (mut gate, board) = gate();
        gate.again = Duration::from_millis(20);
        gate.ready().await.unwrap();
        gate.open(Way::A).await.unwrap();
        // Somebody passes while nobody can look, and the chip comes back.
        board.lock().unwrap().broken = true;
        assert!(gate.shut().await.is_err());
        gate.lose();
        assert!(gate.look().is_err(), "what is gone is not asked");
        assert!(gate.ready().await.is_err());
        board.lock().unwrap().broken = false;
        board.lock().unwrap().passed = 1;
        let before = tokio::time::Instant::now();
        gate.ready().await.unwrap();
        assert!(before.elapsed() >= gate.again, "it is not asked all the time");
        assert!(!board.lock().unwrap().relay);
        assert!(gate.signals.is_empty(), "nobody saw whose passage that was");
        board.lock().unwrap().emergency = true;
        gate.lose();
        gate.ready().await.unwrap();
        assert_eq!(gate.signals, [Signal::Emergency(true)], "one that began meanwhile is told");
    }

    #[tokio::test]
    async fn a_chip_that_fails_is_named() {
        let (mut gate, board) = gate();
        gate.ready().await.unwrap();
        board.lock().unwrap().broken = true;
        let error = gate.open(Way::A).await.unwrap_err();
        assert!(error.to_string().contains("/dev/gpiochip0"), "{error}");
    }
}
