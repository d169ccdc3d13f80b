//! What is to be seen and heard at a moment: the answer for its time, then what lies behind it.
//!
//! Pure: time comes in, states go out. Every driver looks here for the newest state, so a display
//! that was slow skips what is over (ADR-0026).

use std::{sync::Arc, time::Duration};

use fare::rules::ZoneOffsets;
use model::TapRole;
use texts::{Language, RiderWord, rider_word};

use crate::{
    feedback::{Choice, Feedback},
    lamps::Lamps,
    sound::{Tone, Volume},
    timeline::Now,
};

/// Where a validator stands, as the tariff that the next tap is priced by says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Here {
    /// What a tap does here.
    pub role: TapRole,
    /// The name of the stop or station.
    pub place: String,
    /// The name of the route, on a vehicle.
    pub route: Option<String>,
    /// The clocks of the place.
    pub zone: ZoneOffsets,
}

/// What a validator shows while nobody taps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idle {
    /// What a tap does here.
    pub role: TapRole,
    /// The same in words.
    pub direction: String,
    /// Where: the name of the stop or station.
    pub place: String,
    /// The route, on a vehicle.
    pub route: Option<String>,
    /// What to do.
    pub hint: String,
}

impl Idle {
    /// In a language.
    pub fn of(language: Language, here: &Here) -> Self {
        Self::new(language, here.role, here.place.clone(), here.route.clone())
    }

    /// At a place.
    pub fn new(language: Language, role: TapRole, place: String, route: Option<String>) -> Self {
        let direction = match role {
            TapRole::Board => RiderWord::Board,
            TapRole::Entry => RiderWord::Entry,
            TapRole::Exit => RiderWord::Exit,
        };
        let direction = rider_word(language, direction);
        let hint = rider_word(language, RiderWord::HoldCard);
        Self { role, direction, place, route, hint }
    }
}

/// What is on the display.
#[derive(Debug, Clone)]
pub enum Scene {
    /// Nobody taps.
    Idle(Arc<Idle>),
    /// The next card pays for others too.
    Choice(Arc<Choice>),
    /// The answer to a tap.
    Answer(Arc<Feedback>),
    /// No taps are taken.
    Closed(Arc<Feedback>),
}

impl PartialEq for Scene {
    /// Two answers are two, though they say the same: the second is drawn anew.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Idle(a), Self::Idle(b)) => Arc::ptr_eq(a, b),
            (Self::Choice(a), Self::Choice(b)) => Arc::ptr_eq(a, b),
            (Self::Answer(a), Self::Answer(b)) | (Self::Closed(a), Self::Closed(b)) => {
                Arc::ptr_eq(a, b)
            }
            (Self::Idle(_) | Self::Choice(_) | Self::Answer(_) | Self::Closed(_), _) => false,
        }
    }
}

/// See the module's documentation. Times are those of one clock that never steps back.
#[derive(Debug, Clone)]
pub struct Stage {
    idle: Arc<Idle>,
    closed: Arc<Feedback>,
    choice: Option<Arc<Choice>>,
    /// Since when no taps are taken.
    closed_since: Option<Duration>,
    /// The answer and its moment.
    answer: Option<(Arc<Feedback>, Duration)>,
    volume: Option<Volume>,
    has_ended: bool,
}

impl Stage {
    /// A validator takes no taps before its reader has answered.
    pub fn new(idle: Idle, language: Language, now: Duration) -> Self {
        Self {
            idle: Arc::new(idle),
            closed: Arc::new(Feedback::closed(language)),
            choice: None,
            closed_since: Some(now),
            answer: None,
            volume: None,
            has_ended: false,
        }
    }

    /// An answer begins, whatever was shown.
    pub fn handle_answer(&mut self, now: Duration, feedback: Feedback) {
        self.answer = Some((Arc::new(feedback), now));
    }

    /// Who rides on the next card.
    pub fn handle_choice(&mut self, choice: Option<Choice>) {
        self.choice = choice.map(Arc::new);
    }

    /// Taps are taken, or not.
    pub fn handle_service(&mut self, now: Duration, is_in_service: bool) {
        self.closed_since = match self.closed_since {
            _ if is_in_service => None,
            Some(since) => Some(since),
            None => Some(now),
        };
    }

    /// Another stop, route or language.
    pub fn handle_place(&mut self, idle: Idle, language: Language) {
        self.idle = Arc::new(idle);
        self.closed = Arc::new(Feedback::closed(language));
    }

    /// How loud sounds are from now on.
    pub const fn handle_volume(&mut self, volume: Volume) {
        self.volume = Some(volume);
    }

    /// How loud, where somebody has said so since the start.
    pub const fn volume(&self) -> Option<Volume> {
        self.volume
    }

    /// The program ends: a dark reader shows that it is closed, and nothing is lit or heard.
    pub fn handle_end(&mut self, now: Duration) {
        self.answer = None;
        self.has_ended = true;
        self.handle_service(now, false);
    }

    fn current(&self, now: Duration) -> Option<(&Arc<Feedback>, Duration, Duration)> {
        let (feedback, at) = self.answer.as_ref()?;
        let since = now.saturating_sub(*at);
        let left = feedback.hold.checked_sub(since).filter(|left| !left.is_zero())?;
        Some((feedback, since, left))
    }

    /// What is on the display, and for how long at most.
    pub fn scene(&self, now: Duration) -> (Scene, Option<Duration>) {
        if let Some((feedback, _, left)) = self.current(now) {
            return (Scene::Answer(Arc::clone(feedback)), Some(left));
        }
        let scene = match (self.closed_since, &self.choice) {
            (Some(_), _) => Scene::Closed(Arc::clone(&self.closed)),
            (None, Some(choice)) => Scene::Choice(Arc::clone(choice)),
            (None, None) => Scene::Idle(Arc::clone(&self.idle)),
        };
        (scene, None)
    }

    /// The lamps, and for how long at most.
    pub fn lamps(&self, now: Duration) -> Now<Lamps> {
        if let Some((feedback, since, left)) = self.current(now) {
            let (lamps, change) = feedback.lamps.at(since);
            return (lamps, Some(change.map_or(left, |change| change.min(left))));
        }
        match self.closed_since {
            Some(since) if !self.has_ended => self.closed.lamps.at(now.saturating_sub(since)),
            Some(_) | None => (Lamps::OFF, None),
        }
    }

    /// The tone, and for how long at most. A sound plays to its end, though the display goes on.
    pub fn tone(&self, now: Duration) -> Now<Option<Tone>> {
        let Some((feedback, at)) = &self.answer else { return (None, None) };
        feedback.sound.at(now.saturating_sub(*at))
    }
}
