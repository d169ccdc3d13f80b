//! Who may pass, one at a time, and what became of it.
//!
//! `Shut → Opening → Open → Closing → Shut`. Invariants: every token gets exactly one answer;
//! *passed* is said only of a passage that the gate itself completed while this token's right was
//! open; *timed out* is said only once the gate has confirmed that it is shut again, or was never
//! asked to open: money hangs on both. Whatever nobody can know is *unseen*.

use std::{collections::VecDeque, time::Duration};

use crate::{Authorize, GateEvent, Signal, Token, Way};

/// So many riders may have been let in and not have passed yet.
const WAITING_MAX: usize = 8;
/// A passage without a right this soon after one with it followed its rider.
const TAILGATE: Duration = Duration::from_secs(3);

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output {
    /// Open for one passage, then call `handle_opened` or `handle_lost`.
    Open(Way),
    /// Shut, then call `handle_shut` or `handle_lost`.
    Shut,
    /// Tell the validator.
    Tell(GateEvent),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Shut,
    Opening(Authorize),
    Open {
        right: Authorize,
        until: Duration,
    },
    /// The right is gone from here when its rider passed meanwhile.
    Closing(Option<Authorize>),
}

/// See the module's documentation. Times are since any fixed moment.
#[derive(Debug)]
pub(crate) struct Passages {
    /// The way of this validator's riders.
    way: Way,
    /// Whether passages the other way are nobody's business here.
    other_way_free: bool,
    state: State,
    waiting: VecDeque<Authorize>,
    passed_at: Option<Duration>,
    emergency: bool,
    outbox: VecDeque<Output>,
}

impl Passages {
    pub(crate) const fn new(way: Way, other_way_free: bool) -> Self {
        Self {
            way,
            other_way_free,
            state: State::Shut,
            waiting: VecDeque::new(),
            passed_at: None,
            emergency: false,
            outbox: VecDeque::new(),
        }
    }

    /// Whether nobody holds a right.
    pub(crate) const fn is_idle(&self) -> bool {
        matches!(self.state, State::Shut) && !self.emergency
    }

    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// When `handle_timeout` is due.
    pub(crate) const fn wake_at(&self) -> Option<Duration> {
        match self.state {
            State::Open { until, .. } => Some(until),
            State::Shut | State::Opening(_) | State::Closing(_) => None,
        }
    }

    /// The validator lets a rider in.
    pub(crate) fn handle_authorize(&mut self, right: Authorize) {
        if self.emergency {
            // It stands open: nobody sees who passes.
            return self.tell(GateEvent::Unseen(right.token));
        }
        if self.waiting.len() >= WAITING_MAX {
            // Never opened for, so certainly nobody passed by it.
            return self.tell(GateEvent::TimedOut(right.token));
        }
        self.waiting.push_back(right);
        self.open_next();
    }

    /// The gate has confirmed that it is open for one.
    pub(crate) fn handle_opened(&mut self, now: Duration) {
        if let State::Opening(right) = self.state {
            self.state = State::Open { right, until: now + right.timeout };
        }
    }

    /// The time of an open right may be over.
    pub(crate) fn handle_timeout(&mut self, now: Duration) {
        if let State::Open { right, until } = self.state
            && now >= until
        {
            self.state = State::Closing(Some(right));
            self.outbox.push_back(Output::Shut);
        }
    }

    /// The gate has confirmed that it is shut, and has told of every passage before.
    pub(crate) fn handle_shut(&mut self) {
        if let State::Closing(right) = self.state {
            self.state = State::Shut;
            if let Some(right) = right {
                self.tell(GateEvent::TimedOut(right.token));
            }
            self.open_next();
        }
    }

    /// The gate says something of its own.
    pub(crate) fn handle_signal(&mut self, now: Duration, signal: Signal) {
        match signal {
            Signal::Completed(way) if way == self.way => self.completed(now),
            Signal::Completed(_) if self.other_way_free || self.emergency => {}
            Signal::Completed(_) | Signal::Forced => self.tell(GateEvent::Forced),
            Signal::Tailgate => self.tell(GateEvent::Tailgate),
            Signal::Blocked => self.tell(GateEvent::Blocked),
            Signal::Fault(code) => self.tell(GateEvent::Fault(code)),
            Signal::Emergency(on) if on == self.emergency => {}
            Signal::Emergency(on) => {
                self.emergency = on;
                if on {
                    self.let_go();
                } else {
                    self.state = State::Closing(None);
                    self.outbox.push_back(Output::Shut);
                }
                self.tell(GateEvent::Emergency(on));
            }
        }
    }

    /// The gate does not answer any more. What it did since its last word nobody knows.
    pub(crate) fn handle_lost(&mut self) {
        let unseen = match self.state {
            State::Shut | State::Closing(None) => None,
            State::Opening(right) | State::Open { right, .. } | State::Closing(Some(right)) => {
                Some(right.token)
            }
        };
        self.state = State::Shut;
        self.outbox.clear();
        if let Some(token) = unseen {
            self.tell(GateEvent::Unseen(token));
        }
        // For these it was never asked to open.
        for token in self.take_waiting() {
            self.tell(GateEvent::TimedOut(token));
        }
    }

    fn completed(&mut self, now: Duration) {
        let right = match self.state {
            State::Opening(right) | State::Open { right, .. } => {
                // A gate may stay open for as long as it is told to.
                self.outbox.push_back(Output::Shut);
                Some(right)
            }
            State::Closing(right) => right,
            State::Shut => None,
        };
        if let Some(right) = right {
            self.state = State::Closing(None);
            self.passed_at = Some(now);
            self.tell(GateEvent::Passed(right.token));
        } else if !self.emergency {
            let followed = self.passed_at.is_some_and(|at| now.saturating_sub(at) <= TAILGATE);
            self.tell(if followed { GateEvent::Tailgate } else { GateEvent::Forced });
        }
    }

    fn open_next(&mut self) {
        if self.state == State::Shut
            && let Some(right) = self.waiting.pop_front()
        {
            self.state = State::Opening(right);
            self.outbox.push_back(Output::Open(self.way));
        }
    }

    /// Everybody walks: whoever holds a right cannot be told from whoever does not.
    fn let_go(&mut self) {
        let open = match self.state {
            State::Shut | State::Closing(None) => None,
            State::Opening(right) | State::Open { right, .. } | State::Closing(Some(right)) => {
                Some(right.token)
            }
        };
        self.state = State::Shut;
        self.outbox.retain(|output| matches!(output, Output::Tell(_)));
        for token in open.into_iter().chain(self.take_waiting()) {
            self.tell(GateEvent::Unseen(token));
        }
    }

    fn take_waiting(&mut self) -> Vec<Token> {
        self.waiting.drain(..).map(|right| right.token).collect()
    }

    fn tell(&mut self, event: GateEvent) {
        self.outbox.push_back(Output::Tell(event));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn s(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn right(token: u64) -> Authorize {
        Authorize { token: Token(token), timeout: s(8) }
    }

    fn told(passages: &mut Passages) -> Vec<GateEvent> {
        let outputs = std::iter::from_fn(|| passages.poll());
        outputs
            .filter_map(|output| match output {
                Output::Tell(event) => Some(event),
                Output::Open(_) | Output::Shut => None,
            })
            .collect()
    }

    fn opened(token: u64) -> Passages {
        let mut passages = Passages::new(Way::A, false);
        passages.handle_authorize(right(token));
        assert_eq!(passages.poll(), Some(Output::Open(Way::A)));
        passages.handle_opened(s(0));
        passages
    }

    #[test]
    fn one_right_is_one_passage_and_whoever_follows_is_told_of() {
        let mut passages = opened(7);
        passages.handle_signal(s(2), Signal::Completed(Way::A));
        assert_eq!(told(&mut passages), [GateEvent::Passed(Token(7))]);
        passages.handle_shut();
        passages.handle_signal(s(4), Signal::Completed(Way::A));
        assert_eq!(told(&mut passages), [GateEvent::Tailgate]);
        passages.handle_signal(s(9), Signal::Completed(Way::A));
        passages.handle_signal(s(9), Signal::Completed(Way::B));
        assert_eq!(told(&mut passages), [GateEvent::Forced, GateEvent::Forced]);
    }

    #[test]
    fn a_right_times_out_only_once_the_gate_says_that_it_is_shut() {
        let mut passages = opened(7);
        assert_eq!(passages.wake_at(), Some(s(8)));
        passages.handle_timeout(s(7));
        assert_eq!(passages.poll(), None);
        passages.handle_timeout(s(8));
        assert_eq!(passages.poll(), Some(Output::Shut));
        assert_eq!(told(&mut passages), []);
        passages.handle_shut();
        assert_eq!(told(&mut passages), [GateEvent::TimedOut(Token(7))]);
    }

    #[test]
    fn who_passes_while_the_gate_shuts_has_passed() {
        let mut passages = opened(7);
        passages.handle_timeout(s(8));
        passages.handle_signal(s(8), Signal::Completed(Way::A));
        passages.handle_shut();
        assert_eq!(told(&mut passages), [GateEvent::Passed(Token(7))]);
    }

    #[test]
    fn what_a_lost_line_hides_is_neither_passed_nor_timed_out() {
        let mut passages = opened(7);
        passages.handle_authorize(right(8));
        passages.handle_lost();
        let (open, waiting) = (GateEvent::Unseen(Token(7)), GateEvent::TimedOut(Token(8)));
        assert_eq!(told(&mut passages), [open, waiting], "it never opened for the second");
        let mut closing = opened(9);
        closing.handle_timeout(s(8));
        closing.handle_lost();
        assert_eq!(told(&mut closing), [GateEvent::Unseen(Token(9))]);
    }

    #[test]
    fn riders_wait_for_each_other_and_only_so_many() {
        let mut passages = opened(0);
        for token in 1..=9 {
            passages.handle_authorize(right(token));
        }
        assert_eq!(told(&mut passages), [GateEvent::TimedOut(Token(9))]);
        passages.handle_signal(s(1), Signal::Completed(Way::A));
        assert_eq!(passages.poll(), Some(Output::Shut));
        assert_eq!(passages.poll(), Some(Output::Tell(GateEvent::Passed(Token(0)))));
        assert_eq!(passages.poll(), None);
        passages.handle_shut();
        assert_eq!(passages.poll(), Some(Output::Open(Way::A)));
    }

    #[test]
    fn in_an_emergency_nobody_is_counted_and_nobody_is_accused() {
        let mut passages = opened(7);
        passages.handle_signal(s(1), Signal::Emergency(true));
        passages.handle_signal(s(1), Signal::Emergency(true));
        passages.handle_signal(s(2), Signal::Completed(Way::A));
        passages.handle_authorize(right(8));
        passages.handle_signal(s(60), Signal::Emergency(false));
        assert_eq!(
            told(&mut passages),
            [
                GateEvent::Unseen(Token(7)),
                GateEvent::Emergency(true),
                GateEvent::Unseen(Token(8)),
                GateEvent::Emergency(false),
            ]
        );
        passages.handle_shut();
        passages.handle_authorize(right(9));
        assert_eq!(passages.poll(), Some(Output::Open(Way::A)), "and it serves again");
    }

    #[derive(Debug, Clone)]
    enum Step {
        Authorize,
        Completed(bool),
        Wait(u64),
        Lost,
        Emergency(bool),
        /// The gate does what it was asked last.
        Obey,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => Just(Step::Authorize),
            3 => any::<bool>().prop_map(Step::Completed),
            3 => (0..12u64).prop_map(Step::Wait),
            1 => Just(Step::Lost),
            1 => any::<bool>().prop_map(Step::Emergency),
            4 => Just(Step::Obey),
        ];
        proptest::collection::vec(step, 0..80)
    }

    proptest! {
        #[test]
        fn every_right_gets_one_answer_and_no_more_pass_than_the_gate_completed(steps in steps()) {
            let mut passages = Passages::new(Way::A, true);
            let (mut now, mut given, mut completed) = (s(0), 0, 0);
            let (mut asked, mut answers) = (VecDeque::new(), Vec::new());
            let lost = std::iter::once(Step::Lost);
            for step in steps.into_iter().chain(lost) {
                match step {
                    Step::Authorize => {
                        passages.handle_authorize(right(given));
                        given += 1;
                    }
                    Step::Completed(ours) => {
                        completed += usize::from(ours);
                        let way = if ours { Way::A } else { Way::B };
                        passages.handle_signal(now, Signal::Completed(way));
                    }
                    Step::Wait(secs) => {
                        now += s(secs);
                        passages.handle_timeout(now);
                    }
                    Step::Lost => {
                        asked.clear();
                        passages.handle_lost();
                    }
                    Step::Emergency(on) => passages.handle_signal(now, Signal::Emergency(on)),
                    Step::Obey => match asked.pop_front() {
                        Some(Output::Open(_)) => passages.handle_opened(now),
                        Some(Output::Shut) => passages.handle_shut(),
                        Some(Output::Tell(_)) | None => {}
                    },
                }
                while let Some(output) = passages.poll() {
                    match output {
                        Output::Tell(event) => answers.push(event),
                        command @ (Output::Open(_) | Output::Shut) => asked.push_back(command),
                    }
                }
            }
            let tokens = answers.iter().filter_map(GateEvent::token);
            let mut tokens: Vec<u64> = tokens.map(|t| t.0).collect();
            tokens.sort_unstable();
            prop_assert_eq!(tokens, (0..given).collect::<Vec<_>>());
            let passed = answers.iter().filter(|e| matches!(e, GateEvent::Passed(_))).count();
            prop_assert!(passed <= completed);
        }
    }
}
