//! How long an honest card may take to answer (SEC-5).
//!
//! Somebody who relays a card over a distance adds time to every exchange: a phone at either end
//! and a network between them, some 20 to 200 ms. An exchange that takes longer than a card, its
//! radio link and its line can explain is therefore no answer; nor are several that together take
//! longer. Once the commit was sent the money may have moved, so a late answer to it counts, and
//! is only told of. A relay in hardware that adds less than the slack is not noticed by this.

use core::time::Duration;

use card::{CardStep, ExchangeError};

/// Bytes beside command and answer: frames and acknowledgement of a PN532 (26), and prologue and
/// check sum of two radio blocks (6).
const OVERHEAD_LEN: u32 = 32;
/// One byte on air at 106 kbit/s, the slowest: nine bits.
const AIR_BYTE: Duration = Duration::from_micros(85);
/// Delays of an idle host beyond those of one exchange add up to no more than this many slacks.
const SLACKS_MAX: u32 = 2;

/// The time budget of a card's exchanges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayGuard {
    /// One byte on the line between host and reader.
    pub line_byte: Duration,
    /// What host, driver and reader may add to one exchange, and twice this to all of a tap.
    pub slack: Duration,
}

/// An exchange that took longer than an honest card's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LateAnswer {
    /// Which.
    pub step: CardStep,
    /// How long it took.
    pub took: Duration,
    /// How long it may take, of what its tap had left.
    pub allowed: Duration,
}

impl RelayGuard {
    /// The default slack: a Linux host that writes to its disk wakes a waiting task within some
    /// 10 ms; six times that.
    pub const SLACK: Duration = Duration::from_millis(60);

    /// For this line speed in bit/s, ten bits a byte.
    pub const fn at_baud(baud: u32, slack: Duration) -> Self {
        let baud = if baud == 0 { 1 } else { baud };
        Self { line_byte: Duration::from_nanos(10_000_000_000 / baud as u64), slack }
    }

    /// How long a DESFire EV2 or EV3 and the bytes may take, without the slack. The card's own
    /// times are three times what public measurements give (2 to 5 ms, 5 to 10 ms where it
    /// writes its memory), for cards that are cold, old or at the edge of the field.
    pub fn honest(&self, step: CardStep, bytes: u32) -> Duration {
        let card_ms = match step {
            CardStep::Select
            | CardStep::Authenticate
            | CardStep::Read
            | CardStep::ReadProducts
            | CardStep::ReadPurse
            | CardStep::ReadCounters
            | CardStep::ReadProof => 15,
            CardStep::Rides
            | CardStep::Products
            | CardStep::Value
            | CardStep::Counters
            | CardStep::Write
            | CardStep::Personalise => 20,
            CardStep::Commit => 30,
        };
        let each = self.line_byte.saturating_add(AIR_BYTE);
        let bytes = bytes.saturating_add(OVERHEAD_LEN);
        Duration::from_millis(card_ms).saturating_add(each.saturating_mul(bytes))
    }
}

/// The time of one presentation.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    guard: Option<RelayGuard>,
    sent: u32,
    /// What all exchanges took beyond an honest card's time; less than that gives nothing back.
    lost: Duration,
}

impl Pace {
    pub(crate) const fn new(guard: Option<RelayGuard>) -> Self {
        Self { guard, sent: 0, lost: Duration::ZERO }
    }

    pub(crate) fn transmitted(&mut self, apdu: &[u8]) {
        self.sent = u32::try_from(apdu.len()).unwrap_or(u32::MAX);
    }

    /// Whether an answer of this length came too late.
    pub(crate) fn judge(
        &mut self,
        step: CardStep,
        answer: Result<&[u8], &ExchangeError>,
        took: Duration,
    ) -> Option<LateAnswer> {
        let (guard, answer) = (self.guard?, answer.ok()?);
        let heard = u32::try_from(answer.len()).unwrap_or(u32::MAX);
        let honest = guard.honest(step, self.sent.saturating_add(heard));
        let left = guard.slack.saturating_mul(SLACKS_MAX).saturating_sub(self.lost);
        let allowed = honest.saturating_add(left.min(guard.slack));
        self.lost = self.lost.saturating_add(took.saturating_sub(honest));
        (took > allowed).then_some(LateAnswer { step, took, allowed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: Result<&[u8], &ExchangeError> = Ok(&[0x91, 0]);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_budget_follows_card_bytes_and_line() {
        let budget = |baud, step, bytes| {
            RelayGuard::at_baud(baud, RelayGuard::SLACK).honest(step, bytes).as_millis()
        };
        assert_eq!(budget(115_200, CardStep::Select, 11), 22, "15 of the card, 7 of 43 bytes");
        assert_eq!(budget(115_200, CardStep::Authenticate, 72), 32);
        assert_eq!(budget(9_600, CardStep::Authenticate, 72), 132, "a slow line takes its time");
        assert_eq!(budget(921_600, CardStep::Commit, 37), 36);
    }

    #[test]
    fn one_exchange_may_be_late_by_the_slack_and_all_of_a_tap_by_twice_that() {
        let guard = RelayGuard::at_baud(115_200, ms(60));
        let honest = guard.honest(CardStep::Read, 2);
        let mut pace = Pace::new(Some(guard));
        assert_eq!(pace.judge(CardStep::Read, ANSWER, honest + ms(60)), None);
        let late = pace.judge(CardStep::Read, ANSWER, honest + ms(61)).expect("too late");
        assert_eq!((late.step, late.allowed), (CardStep::Read, honest + ms(60)));

        let mut pace = Pace::new(Some(guard));
        let exchanges = (0..6).map(|_| pace.judge(CardStep::Read, ANSWER, honest + ms(30)));
        let late: alloc::vec::Vec<bool> = exchanges.map(|late| late.is_some()).collect();
        assert_eq!(late, [false, false, false, false, true, true], "30 ms each adds up");
    }

    #[test]
    fn a_guard_that_is_off_and_an_answer_that_never_came_judge_nothing() {
        let mut off = Pace::new(None);
        assert_eq!(off.judge(CardStep::Read, ANSWER, ms(60_000)), None);
        let mut on = Pace::new(Some(RelayGuard::at_baud(115_200, ms(60))));
        let silent = on.judge(CardStep::Read, Err(&ExchangeError::Timeout), ms(60_000));
        assert_eq!(silent, None, "a timeout says enough");
        let absurd = RelayGuard::at_baud(0, Duration::MAX);
        assert!(absurd.honest(CardStep::Read, u32::MAX) > ms(0), "no overflow");
    }
}
