//! What the driver or the attendant sees: whether taps are taken and where, the last result, how
//! many were let through. Never a card's number, and never a balance.

use std::{
    io::{IsTerminal, Write, stdout},
    path::Path,
    time::Duration,
};

use model::TapRole;
use rider::{Feedback, Here, Manner, RiderScreen};
use serde::{Deserialize, Serialize};
use texts::{Language, Phrase, RiderWord, rider_word};
use tokio::signal::unix::{SignalKind, signal};
use validation::Passage;

use crate::{
    clock::Clock,
    console::{self, Answer, Line},
    tap_loop::Service,
    terminal::{Key, Terminal, wrapped},
};

/// The view is read anew this often.
const LOOK: Duration = Duration::from_millis(400);
const STRONG: &str = "\x1b[1m";
const FAINT: &str = "\x1b[2m";

/// What a console may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wish {
    /// The view.
    Show,
    /// The view, with passengers counted from here, as at the begin of a run.
    Reset,
}

/// The view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Whether taps are taken.
    pub in_service: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The stop or station of the next tap, as riders are shown it.
    #[serde(default)]
    pub place: String,
    /// The route, on a vehicle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Let through since the start, or since the last reset; companions count.
    pub passengers: u64,
    /// The last result, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Last>,
}

/// A result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// A to E.
    pub class: String,
    /// In the riders' language.
    pub text: String,
    /// Two digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// So long ago.
    pub seconds_ago: u64,
}

/// The riders' screen, and beside it what the attendant sees.
pub(crate) struct Attended {
    screen: Box<dyn RiderScreen>,
    pub(crate) attendant: Attendant,
}

impl Attended {
    pub(crate) fn new(screen: Box<dyn RiderScreen>) -> Self {
        Self { screen, attendant: Attendant::default() }
    }
}

impl std::ops::Deref for Attended {
    type Target = dyn RiderScreen;

    fn deref(&self) -> &Self::Target {
        &*self.screen
    }
}

impl std::ops::DerefMut for Attended {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut *self.screen
    }
}

/// Kept by the tap loop.
#[derive(Debug, Default)]
pub(crate) struct Attendant {
    passengers: u64,
    last: Option<(Last, Duration)>,
}

impl Attendant {
    /// A passage was shown.
    pub(crate) fn shown(
        &mut self,
        passage: &Passage,
        role: TapRole,
        language: Language,
        now: Clock,
    ) {
        if passage.is_granted() {
            self.passengers += u64::from(passage.riders());
        }
        // Without balances, and with the reduced fare named, whatever riders are shown.
        let passage = Passage { balance: None, missing: None, ..passage.clone() };
        let feedback = Feedback::of(&passage, &Manner { language, role, private: false });
        let figures = feedback.figures.iter().map(|f| format!("{} {}", f.label, f.value));
        let text: Vec<String> = [feedback.headline]
            .into_iter()
            .chain(feedback.action)
            .chain(figures.map(|figure| figure.trim().to_owned()))
            .chain(feedback.note)
            .collect();
        let last = Last {
            class: feedback.class.word().to_owned(),
            text: text.join(" · "),
            code: feedback.code.map(|(_, code)| code),
            seconds_ago: 0,
        };
        self.last = Some((last, now.elapsed()));
    }

    /// Does what a console wishes.
    pub(crate) fn answer(
        &mut self,
        wish: Wish,
        (service, here): (&Service, Option<&Here>),
        now: Clock,
    ) -> View {
        if wish == Wish::Reset {
            self.passengers = 0;
        }
        let last = self.last.as_ref().map(|(last, at)| {
            let seconds_ago = now.elapsed().saturating_sub(*at).as_secs();
            Last { seconds_ago, ..last.clone() }
        });
        let reason = match service {
            Service::In => None,
            Service::Out(reason) => Some(reason.clone()),
        };
        let place = here.map(|here| here.place.clone()).unwrap_or_default();
        let route = here.and_then(|here| here.route.clone());
        let passengers = self.passengers;
        View { in_service: reason.is_none(), reason, place, route, passengers, last }
    }
}

/// The view on a terminal of so many columns.
fn frame(view: &Result<View, String>, language: Language, columns: usize) -> Vec<String> {
    let word = |word| rider_word(language, word);
    let mut frame = Vec::new();
    let mut say = |text: &str, style: &str| {
        frame.extend(wrapped(text, columns).iter().map(|line| format!("{style}{line}")));
    };
    match view {
        Err(error) => say(error, STRONG),
        Ok(view) => {
            let service = match &view.reason {
                None => word(RiderWord::AttendantInService),
                Some(reason) => texts::phrase_text(language, &Phrase::OutOfService(reason)),
            };
            say(&service, if view.in_service { "" } else { STRONG });
            let place: Vec<_> = view.route.as_deref().into_iter().chain([&*view.place]).collect();
            say(&place.join(" · "), "");
            say(&format!("{} {}", word(RiderWord::AttendantPassengers), view.passengers), "");
            say("", "");
            match &view.last {
                None => say(&word(RiderWord::AttendantNone), ""),
                Some(Last { class, text, code, seconds_ago }) => {
                    let last = word(RiderWord::AttendantLast);
                    say(&format!("{last} ({seconds_ago} s)"), "");
                    let code = code.as_ref().map(|code| format!(" {code}")).unwrap_or_default();
                    say(&format!("{class}{code} {text}"), STRONG);
                }
            }
        }
    }
    say("", "");
    say(&word(RiderWord::AttendantKeys), FAINT);
    frame
}

/// The command: once as JSON, or live until it is interrupted.
pub(crate) fn run(
    socket: &Path,
    (once, reset): (bool, bool),
    language: Language,
) -> anyhow::Result<()> {
    let ask = |wish| -> Result<View, String> {
        let line = Line { companions: None, attendant: Some(wish) };
        match console::request(socket, &line) {
            Ok(Answer::Attendant(view)) => Ok(view),
            Ok(Answer::Error { error }) => Err(error),
            Ok(Answer::Chosen(_)) => Err("the validator is of an older release".to_owned()),
            Err(e) => {
                Err(format!("no validator answers at {}: is it running? {e}", socket.display()))
            }
        }
    };
    let first = ask(if reset { Wish::Reset } else { Wish::Show }).map_err(anyhow::Error::msg)?;
    if once || !stdout().is_terminal() {
        writeln!(stdout(), "{}", serde_json::to_string(&first)?)?;
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(watch(ask, language))
}

/// Until the key q, the end of the terminal, or a signal.
async fn watch(
    ask: impl Fn(Wish) -> Result<View, String>,
    language: Language,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminal = Terminal::open()?;
    let mut wish = Wish::Show;
    loop {
        // A validator that is started anew is found again.
        let view = ask(std::mem::replace(&mut wish, Wish::Show));
        let (columns, rows) = Terminal::size();
        let mut frame = frame(&view, language, columns);
        frame.truncate(rows.max(1));
        terminal.draw(frame)?;
        tokio::select! {
            key = terminal.key() => match key {
                Key::Character('q' | 'Q') | Key::End => return Ok(()),
                Key::Character('r' | 'R') => wish = Wish::Reset,
                Key::Character(_) => {}
            },
            () = tokio::time::sleep(LOOK) => {}
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        }
    }
}
