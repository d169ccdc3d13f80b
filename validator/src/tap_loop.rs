//! The tap loop: one closed set of events, one loop, no business rules.
//!
//! What is to be durable is asked of the log keeper first; the reader goes on meanwhile; the rider
//! is told last. The rules are `validation`'s.

mod at_gate;
mod keys;
mod service;
mod tuned;
mod whereabouts;

use std::time::Duration;

use card::{CardStep, ExchangeError};
use custody::SharedKeys;
use fare::TariffSet;
use gate::Told;
use model::{CardId, Refusal, TapEvent, TapSeq, TariffVersion};
use texts::Language;
use tokio::sync::{
    mpsc::{UnboundedReceiver, UnboundedSender},
    oneshot, watch,
};
use validation::{LateAnswer, Output, Passage, Presented, TapMachine, ValidatorContext, Verdict};
use wire::Desired;

use crate::{
    attendant::Attended,
    clock::Clock,
    console::Asked,
    lists::{Applied, Blocked, Orders},
    log_keeper::{KeeperError, LogKeeper, Reply, Request},
    metrics::Metrics,
    reader_task::Ask,
    screen::TapTiming,
};
use reader::{Presence, ReaderError};

pub(crate) use at_gate::AtGate;
pub(crate) use service::ordered_out;
pub(crate) use tuned::Tuned;
pub(crate) use whereabouts::Whereabouts;

/// A card that cannot be read is tried again while it lies there, this many times.
const TRIES_MAX: u8 = 3;
/// A code that was read during another tap waits for its end this long.
const WAITS_MAX: Duration = Duration::from_secs(2);

/// Lost keys are looked for this often.
const KEYS_AGAIN: Duration = Duration::from_secs(2);

/// Everything that can happen.
pub(crate) enum Event {
    /// Something is in the field, or the reader failed.
    Found(Result<Presence, ReaderError>),
    /// The reader answers, or does not and why.
    Ready(Result<(), ReaderError>),
    /// The card answered, or did not.
    Answered {
        /// The answer, or why there is none.
        answer: Result<Vec<u8>, ExchangeError>,
        /// How long the card and the reader took.
        took: Duration,
    },
    /// The intent has its number, or cannot be written.
    Intent(Result<TapSeq, KeeperError>),
    /// The outcome is durable, or cannot be written.
    Outcome(Result<TapSeq, KeeperError>),
    /// The decision of an earlier tap is durable, or cannot be written.
    Resolution(Result<TapSeq, KeeperError>),
    /// Time to look whether lost keys are back.
    KeysAgain,
    /// The scanner read a code, or failed.
    Scanned(Result<String, ReaderError>),
    /// The satellite receiver tells something.
    Gnss(gnss::Told),
    /// The gate tells something.
    Gate(Told),
    /// A console chooses or asks for companions.
    Console(Asked),
    /// Time to look whether chosen companions are over.
    ChoiceOver,
    /// New tariffs, lists or place.
    Context(Box<ValidatorContext>),
    /// New tariffs, or another of them in force; place and route stay.
    Tariffs(TariffSet, TariffVersion),
    /// Other load orders.
    Orders(Orders),
    /// Other cards to refuse.
    Hotlist(Blocked),
    /// Other settings.
    Tuned(Box<Tuned>),
    /// The lists are too old to serve by, or are not any more.
    ListsAge(Option<String>),
    /// What the depot wants this validator to be, or wants no more.
    Desired(Option<Desired>),
    /// There is too little room for more taps, or there is enough again.
    Room(Option<String>),
    /// To be answered, by the log.
    Pulse(oneshot::Sender<()>),
    /// Somebody wants to make a tap of nobody's card under what taps are made under.
    SelfTest(oneshot::Sender<ValidatorContext>),
    /// The log began a new life.
    NewLife,
    /// Stop after the tap under way.
    Shutdown,
}

/// Whether taps are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Service {
    /// Yes.
    In,
    /// No, and why.
    Out(String),
}

pub(crate) struct TapLoop {
    pub(crate) machine: TapMachine,
    pub(crate) keeper: LogKeeper,
    pub(crate) keys: SharedKeys,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    pub(crate) screen: Attended,
    pub(crate) language: Language,
    pub(crate) reader: UnboundedSender<Ask>,
    pub(crate) tell: UnboundedSender<Event>,
    pub(crate) service: watch::Sender<Service>,
    /// Why the card keys do not come; taps are refused until they do.
    pub(crate) keys_lost: Option<String>,
    /// Why the lists are too old to serve by; taps are refused until newer ones are here.
    pub(crate) lists_old: Option<String>,
    /// Why there is too little room for more taps.
    pub(crate) cramped: Option<String>,
    /// Why the depot wants no taps to be taken here.
    pub(crate) ordered_out: Option<String>,
    /// Load orders that taps are made under.
    pub(crate) orders: Orders,
    /// Cards that are refused.
    pub(crate) hotlist: Blocked,
    /// Where it is told which versions those are.
    pub(crate) applied: Applied,
    /// By satellites.
    pub(crate) whereabouts: Whereabouts,
    /// The gate behind the reader.
    pub(crate) gate: AtGate,
    pub(crate) tap: Underway,
    /// What keeps taps from being taken.
    pub(crate) outage: Outage,
}

/// Why no taps are taken.
#[derive(Debug, Default)]
pub(crate) enum Outage {
    /// Nothing is wrong, or nothing was looked at yet.
    #[default]
    None,
    /// The reader does not answer; it is asked again and again.
    Reader(String),
    /// The log takes no writes; only a restart helps.
    Log,
}

/// The tap under way, as far as the shell must know it.
#[derive(Debug, Default)]
pub(crate) struct Underway {
    card: Option<CardId>,
    /// The number that its outcome got.
    entry: Option<TapSeq>,
    /// It is a ticket's: the reader still waits for a card.
    scanned: bool,
    /// Came while another tap was under way, and is served after it.
    waiting: Waiting,
    began: Duration,
    waited: Duration,
    tries: u8,
    /// Applied between taps.
    context: Option<Box<ValidatorContext>>,
    /// Applied between taps.
    orders: Option<Orders>,
    /// Applied between taps.
    hotlist: Option<Blocked>,
    /// Applied between taps.
    tuned: Option<Box<Tuned>>,
}

/// One of each at most: a reader tells of one card at a time, and of two codes the later counts.
#[derive(Debug, Default)]
struct Waiting {
    card: Option<Presence>,
    code: Option<(String, Duration)>,
    /// Whoever wants to test, once nobody taps.
    test: Option<oneshot::Sender<ValidatorContext>>,
}

impl TapLoop {
    pub(crate) async fn run(mut self, mut events: UnboundedReceiver<Event>) {
        self.show_place();
        self.ask(Ask::Ready);
        let mut stopping = false;
        while !(stopping && self.machine.is_idle()) {
            let Some(event) = events.recv().await else { break };
            stopping |= matches!(event, Event::Shutdown);
            self.handle(event);
            self.drain();
        }
        self.metrics.in_service.set(0);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Found(Ok(presence)) if self.machine.is_idle() => self.found(presence),
            Event::Found(Ok(presence)) => self.tap.waiting.card = Some(presence),
            Event::Scanned(Ok(code)) if self.machine.is_idle() => self.scanned(&code),
            Event::Scanned(Ok(code)) => {
                self.tap.waiting.code = Some((code, self.clock.elapsed()));
            }
            Event::Scanned(Err(e)) => {
                self.metrics.scanner_errors.inc();
                tracing::warn!(error = %crate::chain(&e), "scanner");
            }
            Event::Ready(Ok(())) => {
                self.reader_answers();
                self.ask(Ask::Card);
            }
            Event::Found(Err(e)) | Event::Ready(Err(e)) => {
                self.reader_failed(&e);
                self.ask(Ask::Ready);
            }
            Event::Answered { answer, took } => {
                self.tap.waited += took;
                self.machine.handle_response(answer.as_deref().map_err(Clone::clone), took);
            }
            Event::Intent(Ok(seq)) => self.machine.handle_intent_durable(seq),
            Event::Outcome(Ok(seq)) => {
                self.tap.entry = Some(seq);
                self.machine.handle_outcome_durable();
            }
            Event::Gate(told) => self.gate_told(told),
            Event::Gnss(told) => self.gnss_told(told),
            Event::Resolution(Ok(_)) | Event::Shutdown => {}
            Event::Resolution(Err(KeeperError::Refused(e))) => {
                tracing::warn!(error = %e, "an earlier tap is left to the depot");
            }
            Event::Intent(Err(e))
            | Event::Outcome(Err(e))
            | Event::Resolution(Err(e @ KeeperError::Broken(_))) => self.leave_service(&e),
            Event::Console(asked) => self.console(asked),
            Event::ChoiceOver => self.machine.handle_timeout(self.clock.now()),
            Event::Context(context) => {
                self.tap.context = Some(context);
                self.move_stops();
            }
            Event::Tariffs(set, version) => self.take_tariffs(set, version),
            Event::Orders(orders) => {
                self.tap.orders = Some(orders);
                self.take_orders();
            }
            Event::Hotlist(hotlist) => {
                self.tap.hotlist = Some(hotlist);
                self.take_hotlist();
            }
            Event::Tuned(tuned) => {
                self.tap.tuned = Some(tuned);
                self.take_settings();
            }
            Event::ListsAge(too_old) => self.judge_lists(too_old),
            Event::Desired(desired) => self.obey(desired.as_ref()),
            Event::Room(too_little) => self.judge_room(too_little),
            Event::Pulse(answer) => self.keeper.ask(Request::Pulse(answer)),
            Event::SelfTest(answer) if self.machine.is_idle() => self.lend_context(answer),
            // A rider goes before it. Of two that ask, the first has given up.
            Event::SelfTest(answer) => self.tap.waiting.test = Some(answer),
            Event::NewLife => self.machine.forget_doubts(),
            Event::KeysAgain => self.look_for_keys(),
        }
    }

    fn lend_context(&self, answer: oneshot::Sender<ValidatorContext>) {
        // Whoever asked may have given up.
        let _ = answer.send(self.machine.context().clone());
    }

    fn scanned(&mut self, code: &str) {
        self.begin();
        self.tap.scanned = true;
        self.machine.handle_scanned(self.clock.now(), code);
        let remembered = self.machine.tickets().remembered();
        self.metrics.tickets_remembered.set(i64::try_from(remembered).unwrap_or(i64::MAX));
    }

    /// A tap sees one context and one clock quality.
    fn begin(&mut self) {
        self.take_orders();
        self.take_hotlist();
        self.take_settings();
        if let Some(mut context) = self.tap.context.take() {
            // Whoever made the context knows place and tariff, not what the depot has sent.
            context.hotlist = self.hotlist.cards.clone();
            context.hotlist_version = self.hotlist.named();
            context.rules = self.machine.context().rules;
            self.machine.replace_context(*context);
        }
        self.machine.set_clock_quality(self.clock.quality());
        self.take_place();
        self.tap.began = self.clock.elapsed();
        self.tap.waited = Duration::ZERO;
        self.tap.card = None;
        self.tap.entry = None;
        self.tap.scanned = false;
    }

    fn found(&mut self, presence: Presence) {
        self.begin();
        match presence {
            Presence::Card(card) => {
                let now = i64::try_from(self.clock.now().secs()).unwrap_or_default();
                self.metrics.reader_last_card.set(now);
                self.present(card);
            }
            Presence::Foreign => {
                self.machine.handle_presented(self.clock.now(), Presented::Foreign);
            }
            Presence::Several => {
                self.machine.handle_presented(self.clock.now(), Presented::Several);
            }
        }
    }

    fn present(&mut self, card: CardId) {
        self.tap.card = Some(card);
        let presented = match self.first_key(card) {
            Ok((key, rnd_a)) => {
                let order = self.order_of(card, &key);
                Presented::Card { card, key, rnd_a, order }
            }
            Err(e) => {
                self.lose_keys(&e);
                // Out of service, whatever it is.
                Presented::Foreign
            }
        };
        self.machine.handle_presented(self.clock.now(), presented);
    }

    /// Taps are made under one list of orders each.
    fn take_orders(&mut self) {
        if self.machine.is_idle()
            && let Some(orders) = self.tap.orders.take()
        {
            self.applied.orders(orders.version);
            self.orders = orders;
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Transmit(apdu) => self.ask(Ask::Exchange(apdu)),
                Output::NeedKey { card, version } => self.provide_key(card, version),
                Output::LogIntent { draft, transaction } => {
                    let reply = self.reply(Event::Intent);
                    self.keeper.ask(Request::Intent { draft, transaction, reply });
                }
                Output::LogOutcome { seq, draft, event } => {
                    self.count(&event);
                    let duration_ms = self.duration_ms();
                    let reply = self.reply(Event::Outcome);
                    self.keeper.ask(match seq {
                        Some(seq) => Request::Outcome { seq, duration_ms, event, reply },
                        None => Request::Record { draft, duration_ms, event, reply },
                    });
                }
                Output::LogResolution { draft, event } => {
                    self.count(&event);
                    let of_gate = matches!(event, TapEvent::Gate { .. });
                    let duration_ms = if of_gate { 0 } else { self.duration_ms() };
                    let reply = self.reply(Event::Resolution);
                    self.keeper.ask(Request::Record { draft, duration_ms, event, reply });
                }
                Output::Late(late) => self.late(late),
                Output::Companions(steps) => self.companions(&steps),
                Output::Show(passage) => self.show(&passage),
                Output::PresentAgain => {
                    if let Some(card) = self.tap.card {
                        self.present(card);
                    }
                }
                Output::Done => {
                    self.machine.handle_timeout(self.clock.now());
                    self.next_tap();
                }
            }
        }
    }

    fn show(&mut self, passage: &Passage) {
        let timing = self.timing();
        if passage.is_granted() {
            self.open_gate();
        }
        self.screen.show(passage);
        self.screen.timing(timing);
        let role = self.machine.context().role;
        self.screen.attendant.shown(passage, role, self.language, self.clock);
        self.metrics.tap_seconds.observe(timing.total.as_secs_f64());
        self.metrics.own_seconds.observe(timing.own.as_secs_f64());
        if self.tap.scanned {
            return;
        }
        // A late answer may have been a hiccup of this machine: the card deserves another try.
        let unread =
            matches!(passage.verdict, Verdict::TryAgain(Refusal::Unreadable | Refusal::TooSlow));
        self.tap.tries = if unread { self.tap.tries + 1 } else { 0 };
    }

    fn late(&self, LateAnswer { step, took, allowed }: LateAnswer) {
        // At the commit the money has moved: the rider passes, and somebody should know.
        let at = if step == CardStep::Commit { "commit" } else { "before" };
        self.metrics.late_answers.with_label_values(&[at]).inc();
        tracing::warn!(?step, ?took, ?allowed, "a card answered later than an honest one");
    }

    /// After a ticket the reader is still waiting; after a card it is asked anew. Then whoever came
    /// meanwhile is served, the card first.
    fn next_tap(&mut self) {
        if !self.tap.scanned {
            self.next_card();
        }
        if let Some(presence) = self.tap.waiting.card.take() {
            self.found(presence);
        } else if let Some((code, at)) = self.tap.waiting.code.take() {
            // A rider who has waited longer was told to try again, or has gone.
            if self.clock.elapsed().saturating_sub(at) <= WAITS_MAX {
                self.scanned(&code);
            }
        }
        if self.machine.is_idle()
            && let Some(answer) = self.tap.waiting.test.take()
        {
            self.lend_context(answer);
        }
    }

    /// A card that could not be read may still lie there: then it is tried again at once.
    fn next_card(&mut self) {
        if (1..TRIES_MAX).contains(&self.tap.tries) {
            self.ask(Ask::Again);
        } else {
            self.tap.tries = 0;
            self.ask(Ask::Gone);
        }
    }

    fn count(&self, event: &TapEvent) {
        // No tap: what became of one.
        if let TapEvent::Gate { said, .. } = event {
            self.metrics.gate_words.with_label_values(&[said.word()]).inc();
            return;
        }
        if let TapEvent::Refused { reason, .. } = event {
            self.metrics.refusals.with_label_values(&[reason.word()]).inc();
        }
        self.metrics.taps.with_label_values(&[event.word()]).inc();
    }

    fn timing(&self) -> TapTiming {
        let total = self.clock.elapsed().saturating_sub(self.tap.began);
        TapTiming { total, own: total.saturating_sub(self.tap.waited) }
    }

    fn duration_ms(&self) -> u16 {
        u16::try_from(self.timing().total.as_millis()).unwrap_or(u16::MAX)
    }

    fn reply(&self, event: fn(Result<TapSeq, KeeperError>) -> Event) -> Reply<TapSeq> {
        let tell = self.tell.clone();
        // A loop that has ended needs no answer.
        Reply::new(move |result| drop(tell.send(event(result))))
    }

    fn ask(&self, ask: Ask) {
        // The reader's task ends only after this loop.
        let _ = self.reader.send(ask);
    }
}
