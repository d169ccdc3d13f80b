//! What can be looked at from the first moment: a card that was copied, and a charge with its
//! explanation. The demo taps these cards itself; no rider has them.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use card::VirtualCard;
use fare::Tariff;
use model::{CardId, PlaceIx, TapRole};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use validation::Passage;

use super::{
    day::{Purpose, doing},
    depot::Office,
    lines::{Lines, Post},
    post::{Done, Job, Tap},
    riders::SharedCard,
};

/// Between tap-in and tap-out.
const RIDE: Duration = Duration::from_millis(700);
/// How long the books may take to notice.
const NOTICE: Duration = Duration::from_millis(100);
const NOTICES: usize = 40;
const ANSWER: Duration = Duration::from_secs(10);

/// Where to look.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// The exception's page.
    pub exception: Option<String>,
    /// How it came about.
    pub story: String,
    /// The card's page with the explained charge.
    pub charge: Option<String>,
    /// What was charged, and why.
    pub explained: String,
}

/// Cards that no rider has: the showcase's two, and one for the faults.
pub const CARDS: usize = 3;

/// See the module's documentation.
pub struct Showcase<'a> {
    /// The network.
    pub lines: &'a Lines,
    /// Names.
    pub tariff: &'a Tariff,
    /// The validators.
    pub posts: &'a [mpsc::UnboundedSender<Job<Purpose>>],
    /// Their answers; nobody else taps yet.
    pub answers: &'a mut mpsc::UnboundedReceiver<Done<Purpose>>,
}

impl Showcase<'_> {
    /// Taps the cards and finds the pages.
    pub async fn show(mut self, cards: &[SharedCard], office: &Office) -> Shown {
        let mut shown = Shown::default();
        let [first, second, ..] = cards else { return shown };
        shown.story = self.copy(first).await;
        shown.explained = self.ride(second).await;
        for _ in 0..NOTICES {
            shown.exception = office.newest_exception().await;
            if shown.exception.is_some() {
                break;
            }
            sleep(NOTICE).await;
        }
        shown.charge = office.card_page(uid(second)).await;
        shown
    }

    /// Copies a card, and taps the original here and the copy there.
    async fn copy(&mut self, card: &SharedCard) -> String {
        let image = card.lock().unwrap_or_else(PoisonError::into_inner).to_bytes();
        let copy = VirtualCard::from_bytes(&image).expect("a card reads back its own image");
        let copy = SharedCard::new(Mutex::new(copy));
        // On buses, where there are any: a boarding is charged at once.
        let of = |role| {
            let stands = move |(_, post): &(usize, &Post)| post.role == role;
            self.lines.posts.iter().enumerate().filter(stands).map(|(index, _)| index).rev()
        };
        let two: Vec<usize> = of(TapRole::Board).chain(of(TapRole::Entry)).take(2).collect();
        let [here, there] = two[..] else { return "there is only one validator".into() };
        self.tap(card, here).await;
        self.tap(&copy, there).await;
        let did = doing(self.lines.posts[here].role);
        format!(
            "card {} was copied: the original {did} at {}, the copy at {}",
            uid(card),
            self.name(self.lines.posts[here].place),
            self.name(self.lines.posts[there].place)
        )
    }

    /// Rides: by bus first when there is one, then through gates, where a transfer counts.
    async fn ride(&mut self, card: &SharedCard) -> String {
        let mut last = None;
        if let Some(bus) = self.lines.buses.first() {
            last = self.tap(card, bus.post).await;
        }
        let longest = self.lines.rides_s.iter().max_by_key(|(_, takes)| **takes);
        if let Some(((from, to), _)) = longest {
            self.tap(card, self.lines.gates[from][0]).await;
            sleep(RIDE).await;
            last = self.tap(card, self.lines.gates[to][1]).await;
        }
        let Some(passage) = last else { return "no ride was answered".into() };
        let text = |step| texts::step_text(texts::Language::English, step);
        let parts = passage.steps.iter().map(|step| format!("{} {}", text(step), step.amount));
        format!("charged {}: {}", passage.charge, parts.collect::<Vec<_>>().join("; "))
    }

    async fn tap(&mut self, card: &SharedCard, post: usize) -> Option<Passage> {
        let tap = Tap { post, card: card.clone(), cut: None, purpose: Purpose::Shown };
        self.posts[post].send(Job::Tap(tap)).ok()?;
        timeout(ANSWER, self.answers.recv()).await.ok()??.passage
    }

    fn name(&self, place: PlaceIx) -> String {
        self.tariff.place(place).map_or_else(String::new, |place| place.name.to_string())
    }
}

fn uid(card: &SharedCard) -> CardId {
    card.lock().unwrap_or_else(PoisonError::into_inner).uid()
}
