//! The first stage: bytes to believed messages. No state but the validators' public keys, so it
//! runs on all processors at once.
//!
//! Every message gets an answer. What cannot be read or believed becomes a [`Checked::SetAside`]
//! with its reason; nothing is dropped and nothing here can fail.

use std::collections::BTreeMap;

use card::{KeySet, proof_holds, proving_version};
use fleet_sync::{DepotName, SignatureError, Topic, VerifyingKey, verify_batch, verify_state};
use model::{TapEvent, ValidatorId};
use ticket::TicketKeys;
use wire::{Batch, ValidatorState, WireError, decode_entry, limits};

use super::{Reason, stored::SetAside};

/// A message as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its topic.
    pub topic: String,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// A message after the first stage.
#[derive(Debug)]
pub enum Checked {
    /// A batch that its validator signed.
    Batch(CheckedBatch),
    /// A state that its validator signed.
    State {
        /// What it says.
        state: ValidatorState,
        /// As received.
        payload: Vec<u8>,
    },
    /// Cannot be believed.
    SetAside(SetAside),
    /// Not for us to take: our own presence and acks, echoed by a wide subscription.
    Ours,
}

/// A batch that its validator signed, with the verdict on each card proof in it.
#[derive(Debug)]
pub struct CheckedBatch {
    /// The batch.
    pub batch: Batch,
    /// Whether the proof holds, for each entry: the card's, or a ticket's signature; `true` where
    /// none is needed.
    pub proofs: Vec<bool>,
    /// As received.
    pub topic: String,
    /// As received.
    pub payload: Vec<u8>,
}

/// Validators' public keys, newest last; intake believes the newest only, `verify` each of them.
pub type PublicKeys = BTreeMap<ValidatorId, Vec<VerifyingKey>>;

/// What the first stage needs to know.
#[derive(Debug, Clone)]
pub struct Checker {
    depot: DepotName,
    card_keys: KeySet,
    ticket_keys: TicketKeys,
}

impl Checker {
    /// For `depot`, with the keys that verify the cards' proofs.
    pub fn new(depot: DepotName, card_keys: KeySet) -> Self {
        Self { depot, card_keys, ticket_keys: TicketKeys::default() }
    }

    /// The keys that sign tickets, from here on. They are made by a command beside the running
    /// server, so the shell reads them again for each group.
    pub fn set_ticket_keys(&mut self, keys: TicketKeys) {
        self.ticket_keys = keys;
    }

    /// The depot whose messages it checks.
    pub const fn depot(&self) -> &DepotName {
        &self.depot
    }

    /// Whose key this message needs, if its topic names a validator.
    pub fn sender(&self, message: &Message) -> Option<ValidatorId> {
        match Topic::parse(&self.depot, &message.topic) {
            Ok(Topic::Taps(validator) | Topic::State(validator)) => Some(validator),
            Ok(Topic::Ack(_) | Topic::Host | Topic::Manifest | Topic::Chunk(_)) | Err(_) => None,
        }
    }

    /// Where a validator of this depot sends its batches.
    pub fn taps_topic(&self, validator: ValidatorId) -> String {
        Topic::Taps(validator).name(&self.depot)
    }

    /// Checks messages on up to `threads` processors; the answers stand in the same order.
    pub fn check_all(
        &self,
        keys: &PublicKeys,
        messages: Vec<Message>,
        threads: usize,
    ) -> Vec<Checked> {
        let share = messages.len().div_ceil(threads.max(1)).max(1);
        if threads <= 1 || messages.len() < 2 {
            return messages.into_iter().map(|message| self.check(keys, message)).collect();
        }
        let mut rest = messages.into_iter();
        let shares: Vec<Vec<Message>> = std::iter::from_fn(|| {
            let share: Vec<_> = rest.by_ref().take(share).collect();
            (!share.is_empty()).then_some(share)
        })
        .collect();
        std::thread::scope(|scope| {
            let workers: Vec<_> = shares
                .into_iter()
                .map(|share| {
                    scope.spawn(|| {
                        share.into_iter().map(|m| self.check(keys, m)).collect::<Vec<_>>()
                    })
                })
                .collect();
            workers
                .into_iter()
                .flat_map(|w| w.join().expect("checking a message never panics"))
                .collect()
        })
    }

    /// Checks one message.
    pub fn check(&self, keys: &PublicKeys, message: Message) -> Checked {
        let validator = match Topic::parse(&self.depot, &message.topic) {
            Ok(Topic::Taps(validator) | Topic::State(validator)) => validator,
            Ok(Topic::Ack(_) | Topic::Host | Topic::Manifest | Topic::Chunk(_)) => {
                return Checked::Ours;
            }
            Err(error) => {
                let detail =
                    format!("{error}: look at who writes there, and at the broker's rules");
                return set_aside(message, Reason::UnknownTopic, detail);
            }
        };
        if message.payload.len() > limits::BATCH + 1024 {
            let detail = format!("{} bytes", message.payload.len());
            return set_aside(message, Reason::Oversize, detail);
        }
        let Some(key) = keys.get(&validator).filter(|keys| !keys.is_empty()) else {
            let detail = format!("{validator} is not enrolled: `depot-server validator enrol`");
            return set_aside(message, Reason::UnknownValidator, detail);
        };
        if message.topic.ends_with("/state") {
            return match any(key, |key| verify_state(&message.payload, validator, key)) {
                Ok(state) => Checked::State { state, payload: message.payload },
                Err(error) => refuse(message, &error),
            };
        }
        match any(key, |key| verify_batch(&message.payload, validator, key)) {
            Ok(batch) => {
                let proofs = self.proofs(&batch);
                let Message { topic, payload } = message;
                Checked::Batch(CheckedBatch { batch, proofs, topic, payload })
            }
            Err(error) => refuse(message, &error),
        }
    }

    fn proofs(&self, batch: &Batch) -> Vec<bool> {
        let head = &batch.head;
        let mut seq = head.first;
        let mut proofs = Vec::with_capacity(batch.entries.len());
        for bytes in &batch.entries {
            let record = decode_entry(bytes, (head.validator, head.epoch, seq));
            // An entry that does not read is the next stage's to report; it is not cleared.
            proofs.push(record.is_ok_and(|record| match (record.card, record.settled()) {
                (_, None) => match &record.event {
                    TapEvent::Ticket { token } => self.ticket_keys.believe(token).is_ok(),
                    TapEvent::Committed { .. }
                    | TapEvent::InDoubt { .. }
                    | TapEvent::Refused { .. }
                    | TapEvent::Confirmed { .. }
                    | TapEvent::Voided { .. }
                    | TapEvent::Gate { .. } => true,
                },
                (None, Some(_)) => false,
                (Some(card), Some((transaction, proof))) => {
                    let holds = |key: &_| proof_holds(key, &card, transaction, proof);
                    matches!(proving_version(&self.card_keys, &card, holds), Ok(Some(_)))
                }
            }));
            seq = seq.next();
        }
        proofs
    }
}

/// The first key that the message holds with, or the newest key's error.
fn any<T>(
    keys: &[VerifyingKey],
    check: impl Fn(&VerifyingKey) -> Result<T, SignatureError>,
) -> Result<T, SignatureError> {
    let mut newest_error = SignatureError::NotAuthentic;
    for (i, key) in keys.iter().rev().enumerate() {
        match check(key) {
            Ok(message) => return Ok(message),
            Err(error) if i == 0 => newest_error = error,
            Err(_) => {}
        }
    }
    Err(newest_error)
}

fn refuse(message: Message, error: &SignatureError) -> Checked {
    let (reason, detail) = match error {
        SignatureError::Wire(error @ WireError::UnknownVersion(_)) => {
            (Reason::UnknownVersion, error.to_string())
        }
        SignatureError::Wire(error) => {
            (Reason::Unreadable, format!("{error}: look at the software of whoever sends this"))
        }
        SignatureError::NotAuthentic => {
            let advice = "if the validator has a new key, enrol it with --replace; if not, \
                          somebody else speaks in its name";
            (Reason::BadSignature, format!("{error}: {advice}"))
        }
        SignatureError::OtherValidator { .. } => {
            (Reason::WrongValidator, format!("{error}: look at the keys of both"))
        }
    };
    set_aside(message, reason, detail)
}

fn set_aside(message: Message, reason: Reason, detail: String) -> Checked {
    let Message { topic, payload } = message;
    Checked::SetAside(SetAside { topic, payload, reason, detail })
}
