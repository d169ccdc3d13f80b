//! Who is connected: births paired with wills.
//!
//! A broker may deliver the will of a broken connection long after the validator is back. So a
//! will counts only against the very connection that set it. Link state is one fact; whether all
//! taps have arrived ("drained") is another, and neither is concluded from the other.

use model::TapSeq;
use wire::{HostState, StateWord, ValidatorState, Versions};

/// What the depot knows of one validator's connection.
#[derive(Debug, Clone, Default)]
pub struct Presence {
    newest: Option<ValidatorState>,
}

/// What a validator knows of the depot's connection. Until told otherwise the depot is there.
#[derive(Debug, Clone, Default)]
pub struct HostPresence {
    newest: Option<HostState>,
}

impl Presence {
    /// A state message has arrived. `false` when it is of an older connection and was ignored.
    pub fn handle_state(&mut self, state: ValidatorState) -> bool {
        if let Some(newest) = &self.newest {
            let same_life = state.epoch == newest.epoch;
            let late = match state.word {
                StateWord::Lost => !same_life || state.connection != newest.connection,
                StateWord::Starting
                | StateWord::Ready
                | StateWord::OutOfService
                | StateWord::Asleep => same_life && state.connection < newest.connection,
            };
            if late {
                return false;
            }
        }
        self.newest = Some(state);
        true
    }

    /// The newest state that counts.
    pub const fn state(&self) -> Option<&ValidatorState> {
        self.newest.as_ref()
    }

    /// Whether a connection stands.
    pub fn is_linked(&self) -> bool {
        self.newest.as_ref().is_some_and(|state| match state.word {
            StateWord::Starting | StateWord::Ready | StateWord::OutOfService => true,
            StateWord::Asleep | StateWord::Lost => false,
        })
    }

    /// Whether the books hold everything that the validator reported to have: `committed` is the
    /// mark of the life that its state names. `None` before it reported.
    pub fn is_drained(&self, committed: TapSeq) -> Option<bool> {
        let state = self.newest.as_ref()?;
        Some(state.undrained_before == 0 && committed >= state.head)
    }
}

impl HostPresence {
    /// A presence message has arrived. `false` when it is of an older connection and was ignored.
    pub fn handle_host(&mut self, state: HostState) -> bool {
        if self.newest.is_some_and(|newest| state.connection < newest.connection) {
            return false;
        }
        self.newest = Some(state);
        true
    }

    /// The versions of messages that the depot reads; `None` before it was heard.
    pub fn versions(&self) -> Option<Versions> {
        self.newest.map(|state| state.versions)
    }

    /// Whether batches are being taken.
    pub fn is_online(&self) -> bool {
        self.newest.is_none_or(|state| state.online)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use model::{ClockQuality, Epoch, Timestamp, ValidatorId};

    use super::*;

    fn state(word: StateWord, epoch: u32, connection: u64) -> ValidatorState {
        ValidatorState {
            validator: ValidatorId::new(42).unwrap(),
            word,
            connection,
            epoch: Epoch(epoch),
            software: "0.1.0".to_string(),
            tariff: None,
            head: TapSeq(10),
            acked: TapSeq(4),
            in_doubt: 0,
            clock: ClockQuality::Ntp,
            at: Timestamp(0),
            undrained_before: 0,
            lists: None,
            reason: alloc::string::String::new(),
            health: None,
            steered: wire::Steered::default(),
            speech: None,
        }
    }

    #[test]
    fn the_will_of_an_old_connection_is_ignored() {
        let mut presence = Presence::default();
        assert!(!presence.is_linked());
        assert!(presence.handle_state(state(StateWord::Ready, 7, 1)));
        assert!(presence.handle_state(state(StateWord::Starting, 7, 2)));
        assert!(!presence.handle_state(state(StateWord::Lost, 7, 1)));
        assert!(!presence.handle_state(state(StateWord::Ready, 7, 1)));
        assert!(presence.is_linked());
        assert!(presence.handle_state(state(StateWord::Lost, 7, 2)));
        assert!(!presence.is_linked());
    }

    #[test]
    fn a_re_imaged_validator_is_seen_although_it_counts_from_one_again() {
        let mut presence = Presence::default();
        presence.handle_state(state(StateWord::Ready, 7, 900));
        assert!(presence.handle_state(state(StateWord::Ready, 3, 1)));
        assert!(!presence.handle_state(state(StateWord::Lost, 7, 900)));
        assert!(presence.is_linked());
    }

    #[test]
    fn linked_and_drained_are_two_facts() {
        let mut presence = Presence::default();
        assert_eq!(presence.is_drained(TapSeq(10)), None);
        presence.handle_state(state(StateWord::Asleep, 7, 1));
        assert!(!presence.is_linked());
        assert_eq!(presence.is_drained(TapSeq(9)), Some(false));
        assert_eq!(presence.is_drained(TapSeq(10)), Some(true));
        let more = ValidatorState { undrained_before: 1, ..state(StateWord::Ready, 7, 2) };
        presence.handle_state(more);
        assert_eq!(presence.is_drained(TapSeq(10)), Some(false));
    }

    #[test]
    fn the_depot_is_there_until_its_own_will_says_otherwise() {
        let host = |online, connection| HostState {
            online,
            connection,
            at: Timestamp(0),
            versions: Versions::FIRST,
        };
        let mut presence = HostPresence::default();
        assert!(presence.is_online());
        assert!(presence.handle_host(host(true, 5)));
        assert!(!presence.handle_host(host(false, 4)));
        assert!(presence.is_online());
        assert!(presence.handle_host(host(false, 5)));
        assert!(!presence.is_online());
    }
}
