//! What the simulated devices were told: a display, lamps and a sounder that only remember.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use fare::Step;
use rider::{Display, DriverError, Lamps, Leds, Panel, RiderScreen, Scene, Sounder, Tone, Volume};
use texts::Language;
use tokio::sync::Notify;
use validation::Passage;

/// Lines of the log that are kept.
const LINES_MAX: usize = 8;

/// What there is to see at this moment.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// On the display, with the time of day.
    pub(super) scene: Option<(Scene, String)>,
    pub(super) lamps: Lamps,
    pub(super) tone: Option<Tone>,
    /// What a validator without a display says, the newest last.
    pub(super) lines: VecDeque<String>,
    pub(super) language: Language,
}

/// Shared with the drivers' threads and the tap loop.
#[derive(Clone)]
pub(super) struct Watched {
    seen: Arc<Mutex<Seen>>,
    changed: Arc<Notify>,
}

impl Watched {
    pub(super) fn new(language: Language) -> Self {
        let seen =
            Seen { scene: None, lamps: Lamps::OFF, tone: None, lines: VecDeque::new(), language };
        Self { seen: Arc::new(Mutex::new(seen)), changed: Arc::new(Notify::new()) }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn seen(&self) -> Seen {
        self.lock().clone()
    }

    /// Returns at the next change, or at once after one that nobody has waited for.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(super) fn speak(&self, language: Language) {
        self.tell(|seen| seen.language = language);
    }

    fn tell(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.lock());
        self.changed.notify_one();
    }

    fn line(&self, line: impl FnOnce(Language) -> String) {
        self.tell(|seen| {
            if seen.lines.len() == LINES_MAX {
                seen.lines.pop_front();
            }
            let line = line(seen.language);
            seen.lines.push_back(line);
        });
    }

    /// The simulated devices, driven as real ones are.
    pub(super) fn attach(&self, panel: &mut Panel) -> io::Result<()> {
        let (display, leds, sounder) = (self.clone(), self.clone(), self.clone());
        panel.add_display("display", Box::new(move || Ok(display.clone())))?;
        panel.add_leds("leds", Box::new(move || Ok(leds.clone())))?;
        panel.add_sounder("buzzer", Volume::default(), Box::new(move || Ok(sounder.clone())))
    }

    /// The panel and the lines.
    pub(super) fn screens(&self, panel: Panel) -> Vec<Box<dyn RiderScreen>> {
        vec![Box::new(panel), Box::new(self.clone())]
    }
}

impl Display for Watched {
    fn show(&mut self, scene: &Scene, clock: &str) -> Result<(), DriverError> {
        self.tell(|seen| seen.scene = Some((scene.clone(), clock.to_owned())));
        Ok(())
    }
}

impl Leds for Watched {
    fn light(&mut self, lamps: Lamps) -> Result<(), DriverError> {
        self.tell(|seen| seen.lamps = lamps);
        Ok(())
    }
}

impl Sounder for Watched {
    fn sound(&mut self, tone: Option<Tone>) -> Result<(), DriverError> {
        self.tell(|seen| seen.tone = tone);
        Ok(())
    }
}

impl RiderScreen for Watched {
    fn show(&mut self, passage: &Passage) {
        self.line(|language| rider::line(language, passage));
    }

    fn companions(&mut self, steps: &[Step]) {
        self.line(|language| rider::chosen_line(language, steps));
    }

    fn out_of_service(&mut self, reason: &str) {
        self.line(|_| format!("E out of service: {reason}"));
    }
}
