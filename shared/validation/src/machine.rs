//! The tap machine: drives one card transaction at a time, between reader, tap log and screen.
//!
//! `Finding → Writing → Committing → Closing`; a card whose tap is in doubt goes
//! `Finding → Proving → Closing` instead (`proving`), and a load order runs
//! `Finding → Writing → Committing → ClosingOrder` before the tap is made (`order_load`). The
//! intent is made durable while the card takes the debit and the record; the commit waits for both.

mod at_gate;
mod companions;
mod order_load;
mod proving;
mod refusing;
mod ticket_tap;

use alloc::{boxed::Box, collections::VecDeque};
use core::{mem, time::Duration};

use card::{CardFound, CardOutput, CardStep, DebitTransaction, ExchangeError, Key, Settlement};
use model::{CardId, ClockQuality, PlaceIx, Refusal, TapDraft, TapEvent, TapSeq, Timestamp};

use self::at_gate::AtGate;
use crate::{
    Doubt, Loaded, Output, Passage, Presented, Tickets, ValidatorContext,
    companions::Arming,
    decide::decide,
    doubt::{Doubts, Proof},
    orders::Tried,
    relay::Pace,
    state::{Decided, Seen, State, Tap, Writes, Writing},
    work::Work,
};

/// See the module's documentation.
#[derive(Debug)]
pub struct TapMachine {
    context: ValidatorContext,
    doubts: Doubts,
    tickets: Tickets,
    arming: Arming,
    tried: Tried,
    /// Loaded onto the card whose tap is still to be made.
    loaded: Option<(CardId, Loaded)>,
    at_gate: AtGate,
    in_service: bool,
    state: State,
    /// Of the card presented last.
    pace: Pace,
    outbox: VecDeque<Output>,
}

impl TapMachine {
    /// In service, with the taps that the log says are in doubt.
    pub fn new(
        context: ValidatorContext,
        in_doubt: impl IntoIterator<Item = (CardId, Doubt)>,
    ) -> Self {
        let mut doubts = Doubts::default();
        for (card, doubt) in in_doubt {
            doubts.insert(card, doubt);
        }
        Self {
            context,
            doubts,
            tickets: Tickets::default(),
            arming: Arming::default(),
            tried: Tried::default(),
            loaded: None,
            at_gate: AtGate::default(),
            in_service: true,
            state: State::Idle,
            pace: Pace::default(),
            outbox: VecDeque::new(),
        }
    }

    /// What to do next; `None` while something is awaited.
    pub fn poll(&mut self) -> Option<Output> {
        let output = self.outbox.pop_front();
        if let Some(Output::Transmit(apdu)) = &output {
            self.pace.transmitted(apdu);
        }
        output
    }

    /// Whether a card may be presented.
    pub const fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Whether taps are taken.
    pub const fn in_service(&self) -> bool {
        self.in_service
    }

    /// Taps whose commit is still unknown.
    pub fn in_doubt(&self) -> usize {
        self.doubts.len()
    }

    /// What is known besides the card.
    pub const fn context(&self) -> &ValidatorContext {
        &self.context
    }

    /// New tariffs, lists, place or clock quality.
    ///
    /// # Panics
    /// In the middle of a tap, which must not see two contexts.
    pub fn replace_context(&mut self, context: ValidatorContext) {
        assert!(self.is_idle(), "a tap sees one context");
        self.disarm_for(&context);
        self.context = context;
    }

    /// How far the clock can be believed from here on.
    ///
    /// # Panics
    /// In the middle of a tap.
    pub fn set_clock_quality(&mut self, clock: ClockQuality) {
        assert!(self.is_idle(), "a tap sees one context");
        self.context.clock = clock;
    }

    /// Where it stands from here on, and how old that is.
    ///
    /// # Panics
    /// In the middle of a tap.
    pub fn set_place(&mut self, place: PlaceIx, age_s: Option<u16>) {
        assert!(self.is_idle(), "a tap sees one context");
        self.context.place = place;
        self.context.place_age_s = age_s;
    }

    /// A new life of the log began: nothing in it can decide taps of the old one.
    pub fn forget_doubts(&mut self) {
        self.doubts = Doubts::default();
    }

    /// Takes taps, or refuses them all with `OutOfService`.
    pub const fn set_in_service(&mut self, in_service: bool) {
        self.in_service = in_service;
    }

    /// A card, or something else, came into the field.
    ///
    /// # Panics
    /// In the middle of a tap: one reader serves one card.
    pub fn handle_presented(&mut self, now: Timestamp, presented: Presented) {
        assert!(self.is_idle(), "one card at a time");
        self.arming.release();
        self.at_gate.begin();
        let draft = |card| self.context.draft(card, now);
        let refused = match presented {
            Presented::Several => (draft(None), Refusal::SeveralCards),
            // Nothing about the card is looked at, so no reason above this one can be known.
            Presented::Card { .. } | Presented::Foreign if !self.in_service => {
                return self.show_out_of_service();
            }
            Presented::Foreign => (draft(None), Refusal::ForeignCard),
            Presented::Card { card, key, rnd_a, order } => {
                self.pace = Pace::new(self.context.rules.relay);
                let draft = draft(Some(card));
                let companions = self.companions_of(card, now);
                self.state = match order.filter(|order| self.is_to_try(card, order)) {
                    // What is in doubt of this card is decided first, with the debit key.
                    Some(order) if self.doubts.find(card).is_none() => {
                        self.begin_order((card, companions), draft, order, rnd_a)
                    }
                    waits => {
                        let tap = Tap { card, draft, companions, order_waits: waits.is_some() };
                        let transaction = DebitTransaction::new(card, key, rnd_a)
                            .wanting_counters(self.context.needs_counters());
                        self.find(tap, Box::new(Work::Tap(transaction)))
                    }
                };
                return;
            }
        };
        self.state = self.refuse(refused.0, None, refused.1, None);
    }

    /// The card's answer to the last `Transmit`, or why there is none, and how long that took.
    pub fn handle_response(&mut self, response: Result<&[u8], ExchangeError>, took: Duration) {
        let response = self.in_time(response, took);
        self.state = match mem::replace(&mut self.state, State::Idle) {
            State::Finding { tap, mut card } => {
                card.handle_response(response);
                self.find(tap, card)
            }
            State::Proving { tap, mut card, doubt } => {
                card.handle_response(response);
                self.prove(tap, card, doubt)
            }
            State::Writing(mut writing) => {
                writing.card.handle_response(response);
                self.write(writing)
            }
            State::Committing { tap, mut card, decision, seq } => {
                card.handle_response(response);
                self.commit(tap, card, decision, seq)
            }
            // Nobody waits for an answer; a late one changes nothing.
            State::Idle => State::Idle,
            State::Abandoned { tap, seen, reason } => State::Abandoned { tap, seen, reason },
            State::Closing(passage) => State::Closing(passage),
            State::ClosingOrder => State::ClosingOrder,
        };
    }

    /// An answer that came too late is none, but for the commit's: the money has moved then.
    fn in_time<'a>(
        &mut self,
        response: Result<&'a [u8], ExchangeError>,
        took: Duration,
    ) -> Result<&'a [u8], ExchangeError> {
        let Some(step) = self.state.awaited() else { return response };
        let Some(late) = self.pace.judge(step, response.as_ref().copied(), took) else {
            return response;
        };
        self.outbox.push_back(Output::Late(late));
        if step == CardStep::Commit { response } else { Err(ExchangeError::Late) }
    }

    /// The debit key that `NeedKey` asked for, or `None` when it is not held, and 16 fresh random
    /// bytes.
    pub fn handle_key(&mut self, key: Option<Key>, rnd_a: [u8; 16]) {
        self.state = match mem::replace(&mut self.state, State::Idle) {
            State::Finding { tap, mut card } => {
                card.handle_key(key, rnd_a);
                self.find(tap, card)
            }
            // A tap that has ended meanwhile needs no key.
            other @ (State::Idle
            | State::Proving { .. }
            | State::Writing(_)
            | State::Abandoned { .. }
            | State::Committing { .. }
            | State::Closing(_)
            | State::ClosingOrder) => other,
        };
    }

    /// The key that `NeedKey` asked for cannot be looked up: whoever keeps the keys failed. That
    /// is nothing that the rider or the card could mend by trying again.
    pub fn handle_keys_lost(&mut self) {
        self.in_service = false;
        if let State::Finding { .. } = self.state {
            self.state = State::Idle;
            self.show_out_of_service();
        }
    }

    /// The intent is durable under this number.
    pub fn handle_intent_durable(&mut self, seq: TapSeq) {
        self.state = match mem::replace(&mut self.state, State::Idle) {
            State::Writing(mut writing) => {
                writing.intent = Some(seq);
                self.commit_when_both(writing)
            }
            State::Abandoned { tap, seen, reason } => {
                self.refuse_written(tap.draft, seq, reason, seen)
            }
            other @ (State::Idle
            | State::Finding { .. }
            | State::Proving { .. }
            | State::Committing { .. }
            | State::Closing(_)
            | State::ClosingOrder) => other,
        };
    }

    /// The outcome is durable: now, and not before, the rider is told.
    pub fn handle_outcome_durable(&mut self) {
        match mem::replace(&mut self.state, State::Idle) {
            State::Closing(passage) => self.show(*passage),
            State::ClosingOrder => self.outbox.push_back(Output::PresentAgain),
            State::Idle
            | State::Finding { .. }
            | State::Proving { .. }
            | State::Writing(_)
            | State::Abandoned { .. }
            | State::Committing { .. } => {}
        }
    }

    /// The log took no write: nothing may be promised any more. A card that was committed and
    /// whose outcome is lost becomes an in-doubt tap when the log is recovered.
    pub fn handle_log_failed(&mut self) {
        self.in_service = false;
        let idle = matches!(mem::replace(&mut self.state, State::Idle), State::Idle);
        self.outbox.clear();
        if !idle {
            self.show_out_of_service();
        }
    }

    fn show_out_of_service(&mut self) {
        self.show(Passage::refused(Refusal::OutOfService, self.money(0), None));
    }

    /// The end of a tap. What was loaded before it is told with it, whatever became of it.
    fn show(&mut self, passage: Passage) {
        let loaded = self.loaded.take().map(|(_, amount)| amount);
        self.arming.answered(passage.verdict);
        self.outbox.push_back(Output::Show(Passage { loaded, ..passage }));
        self.outbox.push_back(Output::Done);
        self.tell_what_the_gate_said();
    }

    fn find(&mut self, tap: Tap, mut card: Box<Work>) -> State {
        match card.poll() {
            Some(CardOutput::Transmit(apdu)) => {
                self.outbox.push_back(Output::Transmit(apdu));
                State::Finding { tap, card }
            }
            Some(CardOutput::NeedKey { version, .. }) => {
                self.outbox.push_back(Output::NeedKey { card: tap.card, version });
                State::Finding { tap, card }
            }
            Some(CardOutput::Found(found)) => self.found(tap, card, found),
            Some(CardOutput::Settled(Settlement::Refused(failure))) => {
                if let Work::Order(order, _) = *card
                    && failure.refusal() > Refusal::TooSlow
                {
                    return self.pass_over(order);
                }
                self.refuse(tap.draft, None, self.unread(tap.card, failure.refusal()), None)
            }
            Some(CardOutput::ReadyToCommit | CardOutput::Settled(_)) | None => {
                self.refuse(tap.draft, None, Refusal::Unreadable, None)
            }
        }
    }

    /// A card that proved its key and cannot be read further may also be hotlisted, which ranks
    /// above what is wrong with its contents.
    fn unread(&self, card: CardId, reason: Refusal) -> Refusal {
        if reason > Refusal::Hotlisted && self.context.hotlist.contains(card) {
            return Refusal::Hotlisted;
        }
        reason
    }

    fn found(&mut self, tap: Tap, card: Box<Work>, found: CardFound) -> State {
        let mut card = match *card {
            Work::Order(order, card) => return self.found_for_order(tap, order, card, &found),
            Work::Tap(card) => card,
        };
        let before = found.record;
        if let Some(doubt) = self.doubts.find(tap.card) {
            let window = doubt.again_within.unwrap_or(self.context.rules.retry_window);
            let late = tap.draft.tapped_at.since(doubt.tapped_at) > window;
            match doubt.judged_by(&before) {
                Proof::Happened if doubt.settled && !late => {
                    card.release();
                    self.doubts.forget(tap.card);
                    self.at_gate.let_in(tap.card, doubt);
                    self.show(self.finished(&doubt));
                    return State::Idle;
                }
                // The log has nothing to learn.
                _ if doubt.settled => self.doubts.forget(tap.card),
                Proof::Happened => {
                    card.read_proof();
                    return self.prove(tap, Box::new(Work::Tap(card)), Box::new(doubt));
                }
                Proof::NeverHappened => {
                    self.doubts.forget(tap.card);
                    let event = TapEvent::Voided { of: doubt.seq, seen: before };
                    let draft = TapDraft { order: doubt.order, ..tap.draft };
                    self.outbox.push_back(Output::LogResolution { draft, event });
                }
                // The evidence in the records of this card decides at the depot.
                Proof::Overtaken | Proof::Contradicted => self.doubts.forget(tap.card),
            }
        }
        if tap.order_waits {
            // Nothing of this card is in doubt any more: first its order.
            card.release();
            self.outbox.push_back(Output::PresentAgain);
            return State::Idle;
        }
        let (now, companions) = (tap.draft.tapped_at, tap.companions);
        let decision = match decide(&self.context, tap.card, &found, companions, now) {
            Ok(decision) => decision,
            Err(denied) => {
                card.release();
                return self.deny(tap.draft, None, denied, Some(Seen::on(&found)));
            }
        };
        if card.write_counting(&decision.after, decision.counters).is_err() {
            card.release();
            let seen = Some(Seen::on(&found));
            return self.refuse(tap.draft, None, Refusal::CardDataInvalid, seen);
        }
        let decided = Decided { found, writes: Writes::Tap(Box::new(decision)) };
        self.intend(tap, Work::Tap(card), decided)
    }

    fn intend(&mut self, tap: Tap, card: Work, decision: Decided) -> State {
        let transaction = decision.transaction();
        // Before the card is written to, so that both go on at the same time.
        self.outbox.push_back(Output::LogIntent { draft: tap.draft, transaction });
        self.write(Box::new(Writing { tap, card, decision, intent: None, card_is_ready: false }))
    }

    fn write(&mut self, mut writing: Box<Writing>) -> State {
        match writing.card.poll() {
            Some(CardOutput::Transmit(apdu)) => {
                self.outbox.push_back(Output::Transmit(apdu));
                State::Writing(writing)
            }
            Some(CardOutput::ReadyToCommit) => {
                writing.card_is_ready = true;
                self.commit_when_both(writing)
            }
            Some(CardOutput::Settled(Settlement::Refused(failure))) => {
                let Writing { tap, decision, intent, .. } = *writing;
                let (seen, reason) = (Seen::on(&decision.found), failure.refusal());
                self.card_refused_order(&writing.card, &failure);
                match intent {
                    Some(seq) => self.refuse_written(tap.draft, seq, reason, seen),
                    None => State::Abandoned { tap, seen, reason },
                }
            }
            Some(CardOutput::NeedKey { .. } | CardOutput::Found(_) | CardOutput::Settled(_))
            | None => State::Writing(writing),
        }
    }

    fn commit_when_both(&mut self, mut writing: Box<Writing>) -> State {
        let (Some(seq), true) = (writing.intent, writing.card_is_ready) else {
            return State::Writing(writing);
        };
        writing.card.commit();
        let Writing { tap, card, decision, .. } = *writing;
        self.commit(tap, Box::new(card), Box::new(decision), seq)
    }

    fn commit(
        &mut self,
        tap: Tap,
        mut card: Box<Work>,
        decision: Box<Decided>,
        seq: TapSeq,
    ) -> State {
        let transaction = decision.transaction();
        let draft = tap.draft;
        let (event, passage) = match card.poll() {
            Some(CardOutput::Transmit(apdu)) => {
                self.outbox.push_back(Output::Transmit(apdu));
                return State::Committing { tap, card, decision, seq };
            }
            Some(CardOutput::Settled(Settlement::Committed { ctr, proof })) => {
                let event = TapEvent::Committed { transaction, proof };
                let passage = match decision.writes {
                    Writes::Tap(decision) => {
                        let passage = Passage::committed(&self.context, *decision, ctr);
                        if passage.is_granted() {
                            let doubt = Doubt::settled(seq, &draft, transaction);
                            self.at_gate.let_in(tap.card, doubt);
                        }
                        passage
                    }
                    Writes::Order(after, _) if after.ctr == ctr => {
                        return self.order_loaded(tap, seq, event, &card);
                    }
                    Writes::Order(..) => {
                        Passage::refused(Refusal::CardDataInvalid, self.money(0), None)
                    }
                };
                (event, passage)
            }
            Some(
                CardOutput::NeedKey { .. }
                | CardOutput::Found(_)
                | CardOutput::ReadyToCommit
                | CardOutput::Settled(_),
            )
            | None => {
                self.doubts.insert(tap.card, Doubt::new(seq, &draft, transaction));
                let passage = Passage::refused(Refusal::Unreadable, self.money(0), None);
                (TapEvent::InDoubt { transaction }, passage)
            }
        };
        self.outbox.push_back(Output::LogOutcome { seq: Some(seq), draft, event });
        State::Closing(Box::new(passage))
    }
}
