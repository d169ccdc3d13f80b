//! The first stage: bytes to believed messages. No state but the validators' public keys, so it
//! runs on all processors at once.
//!
//! Every message gets an answer. What cannot be read or believed becomes a [`Checked::SetAside`]
//! with its reason; nothing is dropped and nothing here can fail.

use std::{collections::BTreeMap, fmt};

use card::{KeySet, proof_holds, proving_version};
use fleet_sync::{
    DepotName, Letter, Receiver, SignatureError, SigningKey, Topic, VerifyingKey, read_batch,
    read_state,
};
use model::{TapEvent, ValidatorId};
use ticket::TicketKeys;
use wire::{Batch, MessageVersion, ValidatorState, WireError, decode_entry, limits};

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
        /// As received, or what was sealed.
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
    /// As received, or what was sealed: a message that its validator signed (ADR-0029).
    pub payload: Vec<u8>,
    /// The version that it came in.
    pub version: MessageVersion,
    /// The key that it is signed with.
    pub from: VerifyingKey,
}

/// Validators' public keys, newest last; intake believes the newest only, `verify` each of them.
pub type PublicKeys = BTreeMap<ValidatorId, Vec<VerifyingKey>>;

/// What the first stage needs to know.
#[derive(Debug, Clone)]
pub struct Checker {
    depot: DepotName,
    card_keys: KeySet,
    ticket_keys: TicketKeys,
    own: Own,
}

/// Whose messages these are.
#[derive(Clone)]
enum Own {
    /// Of whoever has these keys.
    Keys(Vec<SigningKey>),
    /// Of whoever the depot was when it took them.
    Before,
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keys(keys) => write!(f, "Keys({})", keys.len()),
            Self::Before => f.write_str("Before"),
        }
    }
}

impl Checker {
    /// For `depot`, with the keys that verify the cards' proofs. It takes messages of version 1
    /// until it is told whose the others are.
    pub fn new(depot: DepotName, card_keys: KeySet) -> Self {
        Self { depot, card_keys, ticket_keys: TicketKeys::default(), own: Own::Keys(Vec::new()) }
    }

    /// The same for a depot that has these keys: messages for any of them are taken, and opened.
    #[must_use]
    pub fn receiving(self, keys: Vec<SigningKey>) -> Self {
        Self { own: Own::Keys(keys), ..self }
    }

    /// The same for a journal: what it holds was taken by whichever key the depot had then.
    #[must_use]
    pub fn rereading(self) -> Self {
        Self { own: Own::Before, ..self }
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
            Ok(
                Topic::Ack(_) | Topic::Keys(_) | Topic::Host | Topic::Manifest | Topic::Chunk(_),
            )
            | Err(_) => None,
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
            Ok(
                Topic::Ack(_) | Topic::Keys(_) | Topic::Host | Topic::Manifest | Topic::Chunk(_),
            ) => {
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
        let Some(keys) = keys.get(&validator).filter(|keys| !keys.is_empty()) else {
            let detail = format!("{validator} is not enrolled: `depot-server validator enrol`");
            return set_aside(message, Reason::UnknownValidator, detail);
        };
        let receiver = match &self.own {
            Own::Keys(own) => Receiver::Keys(own),
            Own::Before => Receiver::Anyone,
        };
        if message.topic.ends_with("/state") {
            return match read_state(&message.payload, validator, keys, receiver) {
                Ok(Letter { says: state, opened, .. }) => {
                    Checked::State { state, payload: opened.unwrap_or(message.payload) }
                }
                Err(error) => refuse(message, &error),
            };
        }
        match read_batch(&message.payload, validator, keys, receiver) {
            Ok(Letter { says: batch, version, from, opened }) => {
                let proofs = self.proofs(&batch);
                let Message { topic, payload } = message;
                let payload = opened.unwrap_or(payload);
                Checked::Batch(CheckedBatch { batch, proofs, topic, payload, version, from })
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

fn refuse(message: Message, error: &SignatureError) -> Checked {
    let (reason, detail) = match error {
        SignatureError::Wire(error @ WireError::UnknownVersion(_)) => {
            (Reason::UnknownVersion, error.to_string())
        }
        SignatureError::Wire(error) => {
            (Reason::Unreadable, format!("{error}: look at the software of whoever sends this"))
        }
        SignatureError::NotForUs(_) => {
            let advice = "the validator has another depot's public key in keys.depot, or one that \
                          keys.signing_before should still name";
            (Reason::Unreadable, format!("{error}: {advice}"))
        }
        SignatureError::NotOpened | SignatureError::NotSealed => {
            let advice = "it was damaged on the way, or sealed by other software";
            (Reason::Unreadable, format!("{error}: {advice}"))
        }
        SignatureError::NotAuthentic | SignatureError::UnknownKey(_) => {
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
