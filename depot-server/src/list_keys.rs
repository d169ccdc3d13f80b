//! Keys that seal lists for the fleet: when there is one, and who is given it (ADR-0032).
//!
//! Invariants: lists are not sealed before every validator that was heard reads sealed ones, and
//! from then on they are, whoever is enrolled later; a key goes to one validator at a time, sealed
//! for it, and to none whose device is lost; keys are on the broker before the lists that need
//! them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use fleet_sync::{DepotName, SigningKey, Topic, VerifyingKey, write_keys};
use link::Publisher;
use model::{Timestamp, ValidatorId};
use wire::{ListKey, ListKeys};

use crate::store::{Recipient, SealSurvey, Store, StoreError};

/// Who makes the first key.
const DEPOT: &str = "depot";
/// How often the fleet is asked whether all of it reads sealed lists, before the first key.
const SURVEY_EVERY: Duration = Duration::from_secs(10);
/// The newest key, and the one before for whoever is between two manifests.
const GIVEN: usize = 2;
/// Validators that a message names.
const NAMED: usize = 5;

/// Why keys do not go out.
#[derive(Debug, thiserror::Error)]
pub enum ListKeysError {
    /// The books.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system gives no random bytes.
    #[error("no list key is made: the system gives no random")]
    Random(#[from] getrandom::Error),
    /// Somebody would be left with the lists of today.
    #[error("no first list key is made: {0}")]
    TooEarly(String),
}

/// When sealing begins.
#[derive(Debug, Default)]
pub(crate) struct Beginning {
    surveyed: AtomicU64,
}

/// What every validator is given, sealed for it; empty for one that is given nothing any more.
#[derive(Debug, Clone, Default)]
pub(crate) struct Letters {
    revision: Option<[u64; 3]>,
    version: u64,
    numbers: Vec<u64>,
    by: BTreeMap<ValidatorId, Letter>,
}

#[derive(Debug, Clone)]
struct Letter {
    to: VerifyingKey,
    withheld: bool,
    payload: Arc<[u8]>,
}

/// What the connection that stands was given.
pub(crate) type Given = BTreeMap<ValidatorId, Arc<[u8]>>;

impl Beginning {
    /// The key that seals lists now; `None` while they are readable. Makes the first one once the
    /// whole fleet can read what it seals.
    pub(crate) fn key(
        &self,
        store: &Store,
        now: Timestamp,
    ) -> Result<Option<ListKey>, ListKeysError> {
        if let Some(newest) = store.list_keys()?.pop() {
            return Ok(Some(newest.key));
        }
        let before = Timestamp(self.surveyed.load(Ordering::Relaxed));
        if before.0 > 0 && now.since(before) < SURVEY_EVERY {
            return Ok(None);
        }
        self.surveyed.store(now.0, Ordering::Relaxed);
        let survey = store.seal_survey()?;
        if let Some(why) = held_up(&survey) {
            tracing::warn!("{why}");
            return Ok(None);
        }
        let why = "every validator that was heard reads sealed lists";
        make(store, &[], (DEPOT, why), now)?;
        Ok(store.list_keys()?.pop().map(|newest| newest.key))
    }
}

/// Why lists are not sealed yet, and what to do.
pub fn held_up(survey: &SealSurvey) -> Option<String> {
    let names: Vec<String> = survey.cannot.iter().take(NAMED).map(ToString::to_string).collect();
    let more = if survey.cannot.len() > NAMED { ", …" } else { "" };
    (!survey.cannot.is_empty()).then(|| {
        format!(
            "lists stay readable for whoever listens at the broker: {} of {} validators cannot \
             read sealed ones ({}{more}); update them, or withhold the key from those that are \
             gone: `depot-server list-keys rotate --lost`",
            survey.cannot.len(),
            survey.heard,
            names.join(", "),
        )
    })
}

/// What a person asks for: a new key. The first one is not made while validators that are not lost
/// could not read what it seals: they would be left with the lists of today.
pub fn rotate(
    store: &Store,
    lost: &[ValidatorId],
    words: (&str, &str),
    now: Timestamp,
) -> Result<u64, ListKeysError> {
    if store.list_keys()?.is_empty() {
        let mut survey = store.seal_survey()?;
        survey.cannot.retain(|id| !lost.contains(id));
        if let Some(why) = held_up(&survey) {
            return Err(ListKeysError::TooEarly(why));
        }
    }
    make(store, lost, words, now)
}

/// Makes a key that seals from now on, and withholds it from lost devices. Returns its number.
fn make(
    store: &Store,
    lost: &[ValidatorId],
    words: (&str, &str),
    now: Timestamp,
) -> Result<u64, ListKeysError> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)?;
    let number = store.add_list_key(secret, lost, words, now)?;
    tracing::info!(number, by = words.0, why = words.1, "a new list key seals from now on");
    Ok(number)
}

impl Letters {
    /// Those of now, when they are other than before: letters that stay as they are stay the same
    /// bytes, so that nobody is written to because somebody else was enrolled.
    pub(crate) fn look(
        &self,
        store: &Store,
        signing: &SigningKey,
        now: Timestamp,
    ) -> Result<Option<Self>, ListKeysError> {
        let revision = store.list_keys_revision()?;
        if self.revision == Some(revision) {
            return Ok(None);
        }
        let mut keys: Vec<ListKey> = store.list_keys()?.into_iter().map(|kept| kept.key).collect();
        keys.drain(..keys.len().saturating_sub(GIVEN));
        let numbers: Vec<u64> = keys.iter().map(|key| key.number).collect();
        let mut next = Self { revision: Some(revision), numbers, ..self.clone() };
        if keys.is_empty() {
            return Ok(Some(next));
        }
        if next.numbers != self.numbers {
            next.version = store.next_list_keys(now)?;
            next.by.clear();
        }
        let mut by = BTreeMap::new();
        for to in store.list_key_recipients()? {
            let is_same = |known: &Letter| (known.to, known.withheld) == (to.key, to.withheld);
            let known = next.by.remove(&to.validator).filter(is_same);
            let letter = match known {
                Some(letter) => Ok(letter),
                None => Letter::write(to, next.version, &keys, signing),
            }?;
            by.insert(to.validator, letter);
        }
        next.by = by;
        Ok(Some(next))
    }

    /// Puts on the broker what is not there by this connection. `false` when it ended on the way.
    pub(crate) async fn give(
        &self,
        given: &mut Given,
        depot: &DepotName,
        publisher: &Publisher,
    ) -> bool {
        for (validator, letter) in &self.by {
            if given.get(validator).is_some_and(|sent| Arc::ptr_eq(sent, &letter.payload)) {
                continue;
            }
            let topic = Topic::Keys(*validator).name(depot);
            if !publisher.publish(&topic, letter.payload.to_vec(), true).await {
                return false;
            }
            given.insert(*validator, Arc::clone(&letter.payload));
        }
        true
    }
}

impl Letter {
    fn write(
        to: Recipient,
        version: u64,
        keys: &[ListKey],
        signing: &SigningKey,
    ) -> Result<Self, ListKeysError> {
        let Recipient { validator, key, withheld } = to;
        let mut random = [0; 32];
        getrandom::fill(&mut random)?;
        let says = ListKeys { validator, version, keys: keys.to_vec() };
        let payload = if withheld { None } else { write_keys(&says, signing, &key, random) };
        // A key of small order is none to seal for: whoever enrolled it hears nothing.
        Ok(Self { to: key, withheld, payload: payload.unwrap_or_default().into() })
    }
}

#[cfg(test)]
mod tests {
    use fleet_sync::{KeyReader, KeyRing};

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_795_000_000);

    fn v(number: u32) -> ValidatorId {
        ValidatorId::new(number).unwrap()
    }

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn enrol(store: &Store, number: u32, seed: u8) {
        let public = key(seed).verifying_key();
        store.enrol(v(number), &public, "", true, Timestamp(1)).unwrap();
    }

    #[test]
    fn lists_are_sealed_once_every_validator_that_was_heard_reads_that_and_for_ever_then() {
        let (_folder, store) = Store::for_test();
        enrol(&store, 1, 1);
        enrol(&store, 2, 2);
        store.hear(v(1), None);
        let beginning = Beginning::default();
        let sealing = |secs| {
            let key = beginning.key(&store, NOW.plus(Duration::from_secs(secs))).unwrap();
            key.map(|key| key.number)
        };
        assert_eq!(sealing(0), None);
        let why = held_up(&store.seal_survey().unwrap()).unwrap();
        assert!(why.contains("1 of 1 validators") && why.contains("(v000001)"), "{why}");
        store.hear(v(1), Some(0));
        assert_eq!(sealing(5), None, "the fleet is not asked every second");
        assert_eq!(sealing(10), Some(1_795_000_010), "v000002 was never heard");
        assert_eq!(held_up(&store.seal_survey().unwrap()), None);
        store.hear(v(2), None);
        assert_eq!(sealing(20), Some(1_795_000_010), "nobody talks a depot out of it");
    }

    #[test]
    fn no_person_begins_sealing_while_validators_would_be_left_with_the_lists_of_today() {
        let (_folder, store) = Store::for_test();
        for number in 1..=3 {
            enrol(&store, number, u8::try_from(number).unwrap());
            store.hear(v(number), (number == 1).then_some(0));
        }
        let words = ("ana", "v000002 was stolen");
        let refused = rotate(&store, &[v(2)], words, NOW).unwrap_err().to_string();
        assert!(refused.contains("(v000003)"), "{refused}");
        assert_eq!(
            (store.list_keys().unwrap(), store.list_keys_withheld().unwrap()),
            (vec![], vec![])
        );
        rotate(&store, &[v(2), v(3)], words, NOW).unwrap();
        // Sealed once, the theft of a device waits for nobody's update.
        enrol(&store, 4, 4);
        store.hear(v(4), None);
        rotate(&store, &[v(1)], words, NOW).unwrap();
    }

    /// What a validator makes of the letter to it.
    fn opened(letters: &Letters, number: u32, seed: u8) -> Option<Vec<u64>> {
        let letter = &letters.by[&v(number)];
        let reader =
            KeyReader { validator: v(number), own: key(seed), depot: vec![key(9).verifying_key()] };
        let mut ring = KeyRing::default();
        ring.handle_keys(&letter.payload, &reader).ok()?;
        Some(ring.numbers().into_iter().collect())
    }

    #[test]
    fn everybody_gets_the_two_newest_keys_but_a_lost_device_and_only_when_something_changed() {
        let (_folder, store) = Store::for_test();
        enrol(&store, 1, 1);
        enrol(&store, 2, 2);
        let look = |before: &Letters| before.look(&store, &key(9), NOW).unwrap();
        let none = look(&Letters::default()).unwrap();
        assert!(none.by.is_empty(), "there is no key yet");
        assert!(look(&none).is_none());
        let words = ("ana", "monthly");
        let numbers: Vec<u64> = (0..3).map(|_| make(&store, &[], words, NOW).unwrap()).collect();
        let first = look(&none).unwrap();
        assert_eq!(opened(&first, 1, 1), Some(numbers[1..].to_vec()));
        assert_eq!(opened(&first, 2, 1), None, "not for it");
        assert!(look(&first).is_none());
        enrol(&store, 3, 3);
        let more = look(&first).unwrap();
        assert_eq!(opened(&more, 3, 3), Some(numbers[1..].to_vec()));
        let same = |a: &Letters, b: &Letters, of| {
            Arc::ptr_eq(&a.by[&v(of)].payload, &b.by[&v(of)].payload)
        };
        assert!(same(&first, &more, 1) && same(&first, &more, 2));
        let newest = make(&store, &[v(2)], ("ana", "stolen"), NOW).unwrap();
        let after = look(&more).unwrap();
        assert!(after.version > more.version, "an older letter does not count any more");
        assert_eq!(opened(&after, 1, 1), Some(vec![numbers[2], newest]));
        assert!(after.by[&v(2)].payload.is_empty(), "it is taken off the broker");
        enrol(&store, 2, 4);
        let replaced = look(&after).unwrap();
        assert_eq!(opened(&replaced, 2, 4), Some(vec![numbers[2], newest]));
    }
}
