//! Displays, lamps and sounders, each on a thread of its own (ADR-0026).
//!
//! The tap loop leaves the newest state on the stage and goes on; every driver looks at the stage
//! when it is ready, and draws what holds then. A driver that fails is said once, opened again and
//! again, and shown in its health; nobody waits for it.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use fare::{Step, rules::LocalTime};
use model::Timestamp;
use texts::Language;
use validation::Passage;

use crate::{
    feedback::{Choice, Feedback, Manner},
    lamps::Lamps,
    line::{Adjusted, RiderScreen},
    sound::{Tone, Volume},
    stage::{Here, Idle, Scene, Stage},
};

/// A driver that failed is opened again after this, then after twice that, up to [`AGAIN_MAX`].
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(30);
/// How long the end waits for drivers to leave displays and lamps dark.
const END_MAX: Duration = Duration::from_millis(300);
/// A driver looks at the stage at least this often, whatever it waits for.
const LOOK_MAX: Duration = Duration::from_secs(10);

/// Why a driver does not do what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DriverError(pub String);

impl DriverError {
    /// Of a device, by what was tried with it.
    pub fn new(what: impl std::fmt::Display, error: impl std::fmt::Display) -> Self {
        Self(format!("{what}: {error}"))
    }
}

/// Shows scenes.
pub trait Display {
    /// Draws a scene; `clock` is the time of day as riders read it.
    fn show(&mut self, scene: &Scene, clock: &str) -> Result<(), DriverError>;
}

/// Lights lamps.
pub trait Leds {
    /// These and no others.
    fn light(&mut self, lamps: Lamps) -> Result<(), DriverError>;
}

/// Makes sounds.
pub trait Sounder {
    /// This tone, until the next call; `None` = silence.
    fn sound(&mut self, tone: Option<Tone>) -> Result<(), DriverError>;
}

impl Display for Box<dyn Display> {
    fn show(&mut self, scene: &Scene, clock: &str) -> Result<(), DriverError> {
        (**self).show(scene, clock)
    }
}

impl Leds for Box<dyn Leds> {
    fn light(&mut self, lamps: Lamps) -> Result<(), DriverError> {
        (**self).light(lamps)
    }
}

impl Sounder for Box<dyn Sounder> {
    fn sound(&mut self, tone: Option<Tone>) -> Result<(), DriverError> {
        (**self).sound(tone)
    }
}

/// Time, as the rider's side needs it.
pub trait Time: Send + Sync {
    /// Since some moment, never stepping back.
    fn elapsed(&self) -> Duration;

    /// Wall time; the place has its own clocks by it.
    fn now(&self) -> Timestamp;
}

/// What opens a device, again and again.
pub type Opener<D> = Box<dyn FnMut() -> Result<D, DriverError> + Send>;

/// What is shared between the tap loop and the drivers.
struct Shared {
    stage: Mutex<State>,
    changed: Condvar,
}

struct State {
    stage: Stage,
    manner: Manner,
    here: Here,
    /// Grows with every change, so that none is missed between a look and the wait after it.
    version: u64,
    /// Drivers that have not ended.
    running: usize,
    ending: bool,
}

impl State {
    /// A moment on the clocks of the place.
    fn local(&self, time: &dyn Time) -> LocalTime {
        self.here.zone.local(time.now())
    }

    /// After another place or language.
    fn place(&mut self) {
        let language = self.manner.language;
        self.manner.role = self.here.role;
        self.stage.handle_place(Idle::of(language, &self.here), language);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The stage is plain values: a thread that died left none of them half written.
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        state.version += 1;
        drop(state);
        self.changed.notify_all();
    }
}

/// How a driver fares.
#[derive(Debug)]
pub struct DriverHealth {
    /// What it drives, as the configuration calls it.
    pub name: String,
    state: AtomicU8,
    failures: AtomicU64,
    why: Mutex<Option<DriverError>>,
}

impl DriverHealth {
    const DOWN: u8 = 1;
    const UP: u8 = 2;

    /// Whether it did the last thing that was asked of it; `None` = nothing was asked yet.
    pub fn is_up(&self) -> Option<bool> {
        match self.state.load(Ordering::Relaxed) {
            Self::DOWN => Some(false),
            Self::UP => Some(true),
            _ => None,
        }
    }

    /// How often it failed.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Why it failed last, if it ever did.
    pub fn why(&self) -> Option<DriverError> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// See the module's documentation. Ends its drivers when it is dropped.
pub struct Panel {
    shared: Arc<Shared>,
    time: Arc<dyn Time>,
    health: Vec<Arc<DriverHealth>>,
}

impl Panel {
    /// Without any driver yet.
    pub fn new(manner: Manner, here: Here, time: Arc<dyn Time>) -> Self {
        let idle = Idle::of(manner.language, &here);
        let stage = Stage::new(idle, manner.language, time.elapsed());
        let begin = State { stage, manner, here, version: 0, running: 0, ending: false };
        let shared = Shared { stage: Mutex::new(begin), changed: Condvar::new() };
        Self { shared: Arc::new(shared), time, health: Vec::new() }
    }

    /// For whoever changes the language while it runs.
    pub fn remote(&self) -> Remote {
        Remote { shared: Arc::clone(&self.shared) }
    }

    /// A display on a thread of its own.
    pub fn add_display<D: Display + 'static>(
        &mut self,
        name: &str,
        open: Opener<D>,
    ) -> std::io::Result<()> {
        let time = Arc::clone(&self.time);
        let look = move |state: &State, now| {
            let (scene, lasts) = state.stage.scene(now);
            let local = state.local(&*time);
            let next_minute = Duration::from_secs(u64::from(60 - local.secs % 60));
            let clock = format!("{:02}:{:02}", local.secs / 3_600, local.secs / 60 % 60);
            let lasts = lasts.map_or(next_minute, |lasts| lasts.min(next_minute));
            ((scene, clock), Some(lasts))
        };
        let show = |display: &mut D, (scene, clock): &(Scene, String)| display.show(scene, clock);
        self.add(name, open, look, show)
    }

    /// Lamps on a thread of their own.
    pub fn add_leds<D: Leds + 'static>(
        &mut self,
        name: &str,
        open: Opener<D>,
    ) -> std::io::Result<()> {
        let look = |state: &State, now| state.stage.lamps(now);
        self.add(name, open, look, |leds: &mut D, lamps| leds.light(*lamps))
    }

    /// A sounder on a thread of its own.
    pub fn add_sounder<D: Sounder + 'static>(
        &mut self,
        name: &str,
        volume: Volume,
        open: Opener<D>,
    ) -> std::io::Result<()> {
        let time = Arc::clone(&self.time);
        let look = move |state: &State, now| {
            let (tone, lasts) = state.stage.tone(now);
            let volume = state.stage.volume().unwrap_or(volume);
            (tone.and_then(|tone| volume.of(tone, state.local(&*time).secs)), lasts)
        };
        self.add(name, open, look, |sounder: &mut D, tone| sounder.sound(*tone))
    }

    fn add<D: 'static, F: PartialEq + 'static>(
        &mut self,
        name: &str,
        open: Opener<D>,
        look: impl Fn(&State, Duration) -> (F, Option<Duration>) + Send + 'static,
        apply: impl Fn(&mut D, &F) -> Result<(), DriverError> + Send + 'static,
    ) -> std::io::Result<()> {
        let health = DriverHealth {
            name: name.to_owned(),
            state: AtomicU8::new(0),
            failures: AtomicU64::new(0),
            why: Mutex::new(None),
        };
        let health = Arc::new(health);
        self.shared.lock().running += 1;
        let (shared, time) = (Arc::clone(&self.shared), Arc::clone(&self.time));
        let driver = Driver { shared: Arc::clone(&shared), time, health: Arc::clone(&health) };
        let thread = std::thread::Builder::new().name(format!("rider-{name}"));
        let started = thread.spawn(move || driver.run(open, look, apply));
        if let Err(e) = started {
            shared.lock().running -= 1;
            return Err(e);
        }
        self.health.push(health);
        Ok(())
    }
}

impl RiderScreen for Panel {
    fn show(&mut self, passage: &Passage) {
        let manner = self.shared.lock().manner.clone();
        // Not under the lock: texts take longer than anything that drivers wait for.
        let feedback = Feedback::of(passage, &manner);
        let now = self.time.elapsed();
        self.shared.tell(|state| state.stage.handle_answer(now, feedback));
    }

    fn companions(&mut self, steps: &[Step]) {
        self.shared.tell(|state| {
            state.stage.handle_choice(Choice::of(steps, state.manner.language));
        });
    }

    fn here(&mut self, here: &Here) {
        self.shared.tell(|state| {
            state.here.clone_from(here);
            state.place();
        });
    }

    fn out_of_service(&mut self, _reason: &str) {
        let now = self.time.elapsed();
        self.shared.tell(|state| state.stage.handle_service(now, false));
    }

    fn in_service(&mut self) {
        let now = self.time.elapsed();
        self.shared.tell(|state| state.stage.handle_service(now, true));
    }

    fn adjust(&mut self, adjusted: &Adjusted) {
        let Adjusted { language, private, volume } = *adjusted;
        self.shared.tell(|state| {
            (state.manner.language, state.manner.private) = (language, private);
            state.place();
            state.stage.handle_volume(volume);
        });
    }

    fn drivers(&self) -> Vec<Arc<DriverHealth>> {
        self.health.clone()
    }
}

/// See [`Panel::remote`].
#[derive(Clone)]
pub struct Remote {
    shared: Arc<Shared>,
}

impl Remote {
    /// From the next answer on; at once where nobody taps.
    pub fn speak(&self, language: Language) {
        self.shared.tell(|state| {
            state.manner.language = language;
            state.place();
        });
    }
}

impl Drop for Panel {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.ending = true;
        self.shared.changed.notify_all();
        // A display that hangs is left behind: the process ends with it.
        let waited =
            self.shared.changed.wait_timeout_while(state, END_MAX, |state| state.running > 0);
        drop(waited);
    }
}

struct Driver {
    shared: Arc<Shared>,
    time: Arc<dyn Time>,
    health: Arc<DriverHealth>,
}

impl Driver {
    fn run<D, F: PartialEq>(
        self,
        mut open: Opener<D>,
        look: impl Fn(&State, Duration) -> (F, Option<Duration>),
        apply: impl Fn(&mut D, &F) -> Result<(), DriverError>,
    ) {
        let mut device: Option<D> = None;
        let mut shown: Option<F> = None;
        let mut again = AGAIN;
        let mut try_at = Duration::ZERO;
        while let Some((version, wanted, lasts)) = self.look(&look, shown.as_ref(), try_at) {
            let now = self.time.elapsed();
            if shown.as_ref() == Some(&wanted) || now < try_at {
                let until_try = try_at.checked_sub(now);
                let lasts = [lasts, until_try].into_iter().flatten().min();
                self.wait(version, lasts);
                continue;
            }
            let done = match &mut device {
                Some(device) => apply(device, &wanted),
                None => open().and_then(|opened| apply(device.insert(opened), &wanted)),
            };
            match done {
                Ok(()) => {
                    self.is_up();
                    (shown, again, try_at) = (Some(wanted), AGAIN, Duration::ZERO);
                }
                Err(e) => {
                    self.is_down(&e);
                    (device, shown) = (None, None);
                    try_at = self.time.elapsed() + again;
                    again = (again * 2).min(AGAIN_MAX);
                }
            }
        }
        self.shared.lock().running -= 1;
        self.shared.changed.notify_all();
    }

    /// What is to be seen at this moment; `None` once the panel has ended and that is shown.
    fn look<F: PartialEq>(
        &self,
        look: &impl Fn(&State, Duration) -> (F, Option<Duration>),
        shown: Option<&F>,
        try_at: Duration,
    ) -> Option<(u64, F, Option<Duration>)> {
        let mut state = self.shared.lock();
        let now = self.time.elapsed();
        if !state.ending {
            let (wanted, lasts) = look(&state, now);
            return Some((state.version, wanted, lasts));
        }
        // The last thing that is shown is that nobody is served.
        state.stage.handle_end(now);
        let (last, lasts) = look(&state, now);
        (now >= try_at && shown != Some(&last)).then_some((state.version, last, lasts))
    }

    /// Until the stage changes, or what holds has lasted.
    fn wait(&self, version: u64, lasts: Option<Duration>) {
        let state = self.shared.lock();
        if state.ending || state.version != version {
            return;
        }
        let lasts = lasts.unwrap_or(LOOK_MAX).min(LOOK_MAX);
        drop(self.shared.changed.wait_timeout(state, lasts));
    }

    fn is_up(&self) {
        if self.health.state.swap(DriverHealth::UP, Ordering::Relaxed) != DriverHealth::UP {
            tracing::info!(driver = self.health.name, "works");
        }
    }

    fn is_down(&self, error: &DriverError) {
        self.health.failures.fetch_add(1, Ordering::Relaxed);
        *self.health.why.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
        if self.health.state.swap(DriverHealth::DOWN, Ordering::Relaxed) != DriverHealth::DOWN {
            tracing::warn!(driver = self.health.name, %error, "fails, and is tried again");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use fare::rules::ZoneOffsets;
    use model::{Currency, Money, Refusal, TapRole};
    use validation::Verdict;

    use super::*;

    /// Real time: the threads of the panel wait by it.
    struct Running(std::time::Instant);

    impl Running {
        #[expect(clippy::disallowed_methods, reason = "what is tested waits in real time")]
        fn start() -> Arc<Self> {
            Arc::new(Self(std::time::Instant::now()))
        }
    }

    impl Time for Running {
        fn elapsed(&self) -> Duration {
            self.0.elapsed()
        }
        fn now(&self) -> Timestamp {
            Timestamp::from_secs(20_000 * 86_400 + 8 * 3_600)
        }
    }

    fn panel(time: &Arc<Running>) -> Panel {
        let language = Language::English;
        let manner = Manner { language, role: TapRole::Entry, private: false };
        Panel::new(manner, at("Port", 0), Arc::clone(time) as Arc<dyn Time>)
    }

    /// A place so many hours east of Greenwich.
    fn at(place: &str, hours: i32) -> Here {
        let zone = ZoneOffsets::fixed(hours * 3_600);
        Here { role: TapRole::Entry, place: place.to_owned(), route: None, zone }
    }

    fn refused(reason: Refusal) -> Passage {
        let zero = Money::zero(Currency::parse("EUR").unwrap());
        Passage {
            verdict: Verdict::Refused(reason),
            charge: zero,
            balance: None,
            steps: Vec::new(),
            exchanged: None,
            caps: Vec::new(),
            notes: Vec::new(),
            loaded: None,
            missing: None,
            class: None,
        }
    }

    /// Tells what it is asked to show, and goes on when it is let.
    struct Slow(mpsc::Sender<(String, Duration)>, mpsc::Receiver<()>, Arc<Running>);

    impl Display for Slow {
        fn show(&mut self, scene: &Scene, _: &str) -> Result<(), DriverError> {
            let what = match scene {
                Scene::Answer(feedback) => feedback.headline.clone(),
                Scene::Closed(_) => "closed".to_owned(),
                Scene::Idle(_) => "idle".to_owned(),
                Scene::Choice(_) => "choice".to_owned(),
            };
            let _ = self.0.send((what, self.2.elapsed()));
            let _ = self.1.recv();
            Ok(())
        }
    }

    const SOON: Duration = Duration::from_secs(20);

    struct Hint(mpsc::Sender<String>);

    impl Display for Hint {
        fn show(&mut self, scene: &Scene, _: &str) -> Result<(), DriverError> {
            if let Scene::Idle(idle) = scene {
                let _ = self.0.send(format!("{}: {}", idle.place, idle.hint));
            }
            Ok(())
        }
    }

    struct Loud(mpsc::Sender<u8>);

    impl Sounder for Loud {
        fn sound(&mut self, tone: Option<Tone>) -> Result<(), DriverError> {
            if let Some(tone) = tone {
                let _ = self.0.send(tone.percent);
            }
            Ok(())
        }
    }

    #[test]
    fn another_language_is_seen_at_once_and_another_volume_is_heard_with_the_next_answer() {
        let time = Running::start();
        let mut panel = panel(&time);
        let (tell, hints) = mpsc::channel();
        let (say, heard) = mpsc::channel();
        panel.add_display("display", Box::new(move || Ok(Hint(tell.clone())))).unwrap();
        let open: Opener<Loud> = Box::new(move || Ok(Loud(say.clone())));
        panel.add_sounder("buzzer", Volume::default(), open).unwrap();
        panel.in_service();
        let hint = |language| texts::rider_word(language, texts::RiderWord::HoldCard);
        let seen = |language| {
            let wanted = format!("Port: {}", hint(language));
            while hints.recv_timeout(SOON).unwrap() != wanted {}
        };
        seen(Language::English);
        panel.show(&refused(Refusal::Hotlisted));
        assert_eq!(heard.recv_timeout(SOON).unwrap(), 100);
        let quiet = Volume { volume: 30, ..Volume::default() };
        panel.adjust(&Adjusted { language: Language::Korean, private: true, volume: quiet });
        assert!(panel.shared.lock().manner.private);
        panel.show(&refused(Refusal::Hotlisted));
        while heard.recv_timeout(SOON).unwrap() != 30 {}
        seen(Language::Korean);
    }

    #[test]
    fn no_tap_waits_for_a_display_that_hangs_and_the_latest_answer_is_what_it_shows_next() {
        let time = Running::start();
        let mut panel = panel(&time);
        let (tell, shown) = mpsc::channel();
        let (release, wait) = mpsc::channel();
        let mut slow = Some(Slow(tell, wait, Arc::clone(&time)));
        let open: Opener<Slow> =
            Box::new(move || slow.take().ok_or_else(|| DriverError("no second one".into())));
        panel.add_display("slow", open).unwrap();
        let next = || shown.recv_timeout(SOON).unwrap().0;
        assert_eq!(next(), "closed");
        // It hangs; a hundred taps are answered meanwhile.
        let before = time.elapsed();
        for _ in 0..100 {
            panel.show(&refused(Refusal::Hotlisted));
        }
        panel.show(&refused(Refusal::DoubleEntry));
        let took = time.elapsed().saturating_sub(before);
        assert!(took < Duration::from_millis(500), "101 answers took {took:?}");
        release.send(()).unwrap();
        assert_eq!(next(), "Already tapped in here");
        // The program ends though the display hangs again.
        let before = time.elapsed();
        drop(panel);
        assert!(time.elapsed().saturating_sub(before) < Duration::from_secs(5));
    }

    /// Tells the place, the direction and the time that it is asked to show.
    struct Sign(mpsc::Sender<[String; 3]>);

    impl Display for Sign {
        fn show(&mut self, scene: &Scene, clock: &str) -> Result<(), DriverError> {
            if let Scene::Idle(idle) = scene {
                let [place, direction] = [&idle.place, &idle.direction].map(Clone::clone);
                let _ = self.0.send([place, direction, clock.to_owned()]);
            }
            Ok(())
        }
    }

    #[test]
    fn another_stop_or_language_is_shown_while_nobody_taps_by_the_clocks_of_the_place() {
        let mut panel = panel(&Running::start());
        let (tell, shown) = mpsc::channel();
        panel.in_service();
        panel.add_display("sign", Box::new(move || Ok(Sign(tell.clone())))).unwrap();
        let next = || shown.recv_timeout(SOON).unwrap();
        assert_eq!(next(), ["Port", "Tap in", "08:00"]);
        panel.here(&at("새벽항", 9));
        assert_eq!(next(), ["새벽항", "Tap in", "17:00"]);
        panel.remote().speak(Language::Korean);
        assert_eq!(next(), ["새벽항", "승차", "17:00"], "the place stays");
        panel.here(&Here { role: TapRole::Exit, ..at("Mill", 1) });
        assert_eq!(next(), ["Mill", "하차", "09:00"], "the language stays");
    }

    /// A moment of each: (lamps lit, when).
    struct Recorder(mpsc::Sender<(Lamps, Duration)>, Arc<Running>);

    impl Leds for Recorder {
        fn light(&mut self, lamps: Lamps) -> Result<(), DriverError> {
            let _ = self.0.send((lamps, self.1.elapsed()));
            Ok(())
        }
    }

    #[test]
    fn lamps_follow_an_answer_at_once_blink_by_themselves_and_end_dark() {
        let time = Running::start();
        let mut panel = panel(&time);
        panel.in_service();
        let (tell, lit) = mpsc::channel();
        let mut leds = Some(Recorder(tell, Arc::clone(&time)));
        let open: Opener<Recorder> =
            Box::new(move || leds.take().ok_or_else(|| DriverError("no second one".into())));
        panel.add_leds("lamps", open).unwrap();
        let next = || lit.recv_timeout(SOON).unwrap();
        assert_eq!(next().0, Lamps::OFF);
        let mut decided = Vec::new();
        for _ in 0..3 {
            let at = time.elapsed();
            panel.show(&refused(Refusal::Hotlisted));
            let (lamps, lit_at) = next();
            assert_eq!(lamps, Lamps { red: true, ..Lamps::OFF });
            decided.push(lit_at.saturating_sub(at));
            let mut again = refused(Refusal::Unreadable);
            again.verdict = Verdict::TryAgain(Refusal::Unreadable);
            panel.show(&again);
            let amber = Lamps { amber: true, ..Lamps::OFF };
            assert_eq!([next().0, next().0, next().0], [amber, Lamps::OFF, amber], "it blinks");
            panel.show(&refused(Refusal::Hotlisted));
            assert_eq!(next().0, Lamps { red: true, ..Lamps::OFF });
            panel.out_of_service("for the test");
            panel.in_service();
            // An accepted state between, so that the next red is a change.
            assert_eq!(next().0, Lamps::OFF, "after its 2.5 s");
        }
        decided.sort_unstable();
        // The promise is 50 ms; of three the middle one, since this machine does other things too.
        assert!(decided[1] < Duration::from_millis(50), "{decided:?}");
        panel.out_of_service("for the test");
        assert_eq!(next().0, Lamps { white: true, ..Lamps::OFF });
        drop(panel);
        assert_eq!(lit.iter().last().unwrap().0, Lamps::OFF);
    }

    struct Silent(mpsc::Sender<()>);

    impl Sounder for Silent {
        fn sound(&mut self, _: Option<Tone>) -> Result<(), DriverError> {
            let _ = self.0.send(());
            Ok(())
        }
    }

    #[test]
    fn a_device_that_is_not_there_is_looked_for_again_and_its_health_says_so() {
        let time = Running::start();
        let mut panel = panel(&time);
        let (tell, sounded) = mpsc::channel();
        let mut tries = 0;
        let open: Opener<Silent> = Box::new(move || {
            tries += 1;
            if tries == 1 {
                return Err(DriverError::new("/dev/nothing", "no such device"));
            }
            Ok(Silent(tell.clone()))
        });
        panel.add_sounder("buzzer", Volume::default(), open).unwrap();
        sounded.recv_timeout(SOON).unwrap();
        let health = Arc::clone(&panel.drivers()[0]);
        assert_eq!(health.failures(), 1);
        // It is up once the call that was just seen has returned.
        while health.is_up() != Some(true) {
            std::thread::yield_now();
        }
    }
}
