//! What the books keep of sealed lists: the keys, from whom they are withheld, who has them
//! (ADR-0032).

use std::collections::BTreeSet;

use fleet_sync::VerifyingKey;
use model::{Timestamp, ValidatorId};
use rusqlite::{Row, params};
use wire::{ListKey, limits};

use super::{
    Store, StoreError,
    codes::{sql_time, time, unsigned, validator},
    group::read_state,
};

const NAME: &str = "the list keys";

/// A list key, and why there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptListKey {
    /// The key.
    pub key: ListKey,
    /// When it was made.
    pub made_at: Timestamp,
    /// By whom.
    pub by: String,
    /// Why.
    pub why: String,
}

/// A validator from which list keys are withheld.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withheld {
    /// Which.
    pub validator: ValidatorId,
    /// Since when.
    pub since: Timestamp,
    /// Who said so.
    pub by: String,
    /// Why.
    pub why: String,
}

/// To whom list keys go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipient {
    /// Who.
    pub validator: ValidatorId,
    /// For which key they are sealed.
    pub key: VerifyingKey,
    /// Whether that key is lost: it gets none, and what it was given is taken off the broker.
    pub withheld: bool,
}

/// How far the fleet is with sealed lists, by what validators last said; without those from which
/// keys are withheld, and without those that were never heard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SealSurvey {
    /// How many were heard.
    pub heard: u64,
    /// Cannot read sealed lists: their software is older.
    pub cannot: Vec<ValidatorId>,
    /// Can, and have not said that they have the newest key.
    pub lacking: Vec<ValidatorId>,
}

impl Store {
    /// The newest list keys, as many as a validator may be given, ascending.
    pub fn list_keys(&self) -> Result<Vec<KeptListKey>, StoreError> {
        let failed = || StoreError::read(NAME);
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached(
                "SELECT number, secret, made_at, made_by, why FROM list_keys
                 ORDER BY number DESC LIMIT ?1",
            )
            .map_err(failed())?;
        let kept = |row: &Row<'_>| {
            let key = ListKey { number: unsigned(row.get(0)?), secret: row.get(1)? };
            let (by, why) = (row.get(3)?, row.get(4)?);
            Ok(KeptListKey { key, made_at: time(row.get(2)?), by, why })
        };
        let limit = i64::try_from(limits::LIST_KEYS).unwrap_or(1);
        let rows = statement.query_map([limit], kept).map_err(failed())?;
        let mut keys: Vec<KeptListKey> = rows.collect::<Result<_, _>>().map_err(failed())?;
        keys.reverse();
        Ok(keys)
    }

    /// Keeps a new key, which seals from now on, and withholds it from the newest public keys of
    /// `lost`, in one. Its number is above every one before it and never below the second of `now`:
    /// books that were restored from a backup give no number a second secret.
    pub fn add_list_key(
        &self,
        secret: [u8; 32],
        lost: &[ValidatorId],
        (by, why): (&str, &str),
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let write = || -> Result<i64, rusqlite::Error> {
            let mut writer = self.writer();
            let transaction = writer.transaction()?;
            for validator in lost {
                transaction.execute(
                    "INSERT INTO list_keys_withheld (public_key, validator, since, said_by, why)
                     SELECT public_key, validator, ?2, ?3, ?4 FROM validator_keys
                     WHERE validator = ?1
                     ON CONFLICT (public_key) DO NOTHING",
                    params![validator.number(), sql_time(now), by, why],
                )?;
            }
            let floor = i64::try_from(now.secs()).unwrap_or(i64::MAX);
            let number = transaction.query_row(
                "INSERT INTO list_keys (number, secret, made_at, made_by, why)
                 SELECT max(?1, coalesce(max(number) + 1, 1)), ?2, ?3, ?4, ?5 FROM list_keys
                 RETURNING number",
                params![floor, secret, sql_time(now), by, why],
                |row| row.get(0),
            )?;
            transaction.commit()?;
            Ok(number)
        };
        write().map(unsigned).map_err(StoreError::write(NAME))
    }

    /// Gives a validator list keys again. `false` when none were withheld from it.
    pub fn give_list_keys_again(&self, validator: ValidatorId) -> Result<bool, StoreError> {
        self.writer()
            .execute("DELETE FROM list_keys_withheld WHERE validator = ?1", [validator.number()])
            .map(|rows| rows > 0)
            .map_err(StoreError::write(NAME))
    }

    /// From whom they are withheld: from the newest key of each of these.
    pub fn list_keys_withheld(&self) -> Result<Vec<Withheld>, StoreError> {
        let failed = || StoreError::read(NAME);
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached(
                "SELECT validator, since, said_by, why FROM list_keys_withheld
                 WHERE public_key IN (
                     SELECT public_key FROM validator_keys v
                     WHERE since = (SELECT max(since) FROM validator_keys n
                                    WHERE n.validator = v.validator))
                 ORDER BY validator",
            )
            .map_err(failed())?;
        let row = |row: &Row<'_>| {
            Ok((row.get::<_, u32>(0)?, time(row.get(1)?), row.get(2)?, row.get(3)?))
        };
        let rows = statement.query_map([], row).map_err(failed())?;
        rows.map(|row| {
            let (number, since, by, why) = row.map_err(failed())?;
            Ok(Withheld { validator: validator(number)?, since, by, why })
        })
        .collect()
    }

    /// Every enrolled validator with its newest public key.
    pub fn list_key_recipients(&self) -> Result<Vec<Recipient>, StoreError> {
        let failed = || StoreError::read(NAME);
        let reader = self.reader()?;
        // SQLite takes a bare column from the row that has the maximum.
        let mut statement = reader
            .prepare_cached(
                "SELECT validator, public_key, max(since),
                        public_key IN (SELECT public_key FROM list_keys_withheld)
                 FROM validator_keys GROUP BY validator ORDER BY validator",
            )
            .map_err(failed())?;
        let row = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, [u8; 32]>(1)?, row.get(3)?));
        let rows = statement.query_map([], row).map_err(failed())?;
        rows.map(|row| {
            let (number, key, withheld) = row.map_err(failed())?;
            let validator = validator(number)?;
            let key = VerifyingKey::from_bytes(&key)
                .map_err(|_| StoreError::damaged(format!("the public key of {validator}")))?;
            Ok(Recipient { validator, key, withheld })
        })
        .collect()
    }

    /// Changes whenever other keys are to go to anybody. Cheap: asked every second.
    pub fn list_keys_revision(&self) -> Result<[u64; 3], StoreError> {
        self.reader()?
            .prepare_cached(
                "SELECT (SELECT coalesce(max(number), 0) FROM list_keys),
                        (SELECT coalesce(sum(validator), 0) FROM list_keys_withheld),
                        (SELECT count(*) FROM validator_keys)",
            )
            .and_then(|mut statement| {
                statement.query_row([], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?]))
            })
            .map(|counts| counts.map(unsigned))
            .map_err(StoreError::read(NAME))
    }

    /// How far the fleet is with sealed lists.
    pub fn seal_survey(&self) -> Result<SealSurvey, StoreError> {
        let failed = || StoreError::read("the lists of the fleet");
        let newest = self.list_keys_revision()?[0];
        let mut survey = SealSurvey::default();
        let withheld: BTreeSet<ValidatorId> =
            self.list_keys_withheld()?.iter().map(|row| row.validator).collect();
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached("SELECT id, state FROM validators WHERE state IS NOT NULL ORDER BY id")
            .map_err(failed())?;
        let row = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?));
        for row in statement.query_map([], row).map_err(failed())? {
            let (number, state) = row.map_err(failed())?;
            let id = validator(number)?;
            let Some(state) = read_state(&state).filter(|_| !withheld.contains(&id)) else {
                continue;
            };
            survey.heard += 1;
            match state.lists.and_then(|lists| lists.key) {
                None => survey.cannot.push(id),
                Some(key) if key != newest => survey.lacking.push(id),
                Some(_) => {}
            }
        }
        Ok(survey)
    }
}

#[cfg(test)]
impl Store {
    /// A validator has said which list key it has; `None`: its software knows no sealed lists.
    pub(crate) fn hear(&self, validator: ValidatorId, key: Option<u64>) {
        let state = wire::ValidatorState {
            validator,
            word: wire::StateWord::Ready,
            connection: 1,
            epoch: model::Epoch(1),
            software: "0".to_owned(),
            tariff: None,
            head: model::TapSeq(0),
            acked: model::TapSeq(0),
            in_doubt: 0,
            clock: model::ClockQuality::Ntp,
            at: Timestamp(1),
            undrained_before: 0,
            lists: Some(wire::ListsState { key, ..wire::ListsState::default() }),
            reason: String::new(),
            health: None,
            steered: wire::Steered::default(),
            speech: None,
        };
        let own = fleet_sync::SigningKey::from_bytes(&[1; 32]);
        let payload = fleet_sync::sign_state(&state, &own).unwrap();
        let said = params![validator.number(), payload];
        self.writer().execute("UPDATE validators SET state = ?2 WHERE id = ?1", said).unwrap();
    }
}

#[cfg(test)]
mod tests {
    use fleet_sync::SigningKey;

    use super::*;

    fn v(number: u32) -> ValidatorId {
        ValidatorId::new(number).unwrap()
    }

    fn public(seed: u8) -> VerifyingKey {
        SigningKey::from_bytes(&[seed; 32]).verifying_key()
    }

    #[test]
    fn numbers_of_list_keys_rise_also_over_a_restored_backup() {
        let (_folder, store) = Store::for_test();
        assert_eq!(store.list_keys().unwrap(), []);
        let add = |seed, secs| {
            let now = Timestamp::from_secs(secs);
            store.add_list_key([seed; 32], &[], ("ana", "monthly"), now).unwrap()
        };
        assert_eq!(
            [add(1, 1_000), add(2, 1_000), add(3, 900), add(4, 5_000)],
            [1_000, 1_001, 1_002, 5_000]
        );
        let keys = store.list_keys().unwrap();
        let found: Vec<_> = keys.iter().map(|kept| (kept.key.number, kept.key.secret[0])).collect();
        assert_eq!(found, [(1_000, 1), (1_001, 2), (1_002, 3), (5_000, 4)]);
        assert_eq!((keys[3].by.as_str(), keys[3].why.as_str()), ("ana", "monthly"));
        assert!((0..9).all(|n| add(n, 6_000) > 5_000));
        assert_eq!(store.list_keys().unwrap().len(), limits::LIST_KEYS, "the newest ones");
    }

    #[test]
    fn keys_are_withheld_from_a_lost_device_and_not_from_the_one_in_its_place() {
        let (_folder, store) = Store::for_test();
        for (number, seed) in [(1, 11), (2, 12)] {
            store.enrol(v(number), &public(seed), "", false, Timestamp(1)).unwrap();
        }
        let before = store.list_keys_revision().unwrap();
        let words = ("ana", "stolen from the yard");
        store.add_list_key([1; 32], &[v(2)], words, Timestamp::from_secs(7)).unwrap();
        assert_ne!(store.list_keys_revision().unwrap(), before);
        let recipients = || {
            let all = store.list_key_recipients().unwrap();
            all.iter().map(|to| (to.validator.number(), to.key, to.withheld)).collect::<Vec<_>>()
        };
        assert_eq!(recipients(), [(1, public(11), false), (2, public(12), true)]);
        let withheld = store.list_keys_withheld().unwrap();
        assert_eq!((withheld[0].validator, withheld[0].by.as_str()), (v(2), "ana"));
        store.enrol(v(2), &public(13), "", true, Timestamp(2)).unwrap();
        assert_eq!(recipients(), [(1, public(11), false), (2, public(13), false)]);
        assert_eq!(store.list_keys_withheld().unwrap(), []);
        store.add_list_key([2; 32], &[v(1)], words, Timestamp::from_secs(8)).unwrap();
        assert_eq!(recipients()[0], (1, public(11), true));
        assert!(store.give_list_keys_again(v(1)).unwrap());
        assert!(!store.give_list_keys_again(v(1)).unwrap());
        assert_eq!(recipients()[0], (1, public(11), false));
    }

    #[test]
    fn a_survey_tells_who_cannot_read_sealed_lists_and_who_lacks_the_newest_key() {
        let (_folder, store) = Store::for_test();
        for number in 1..=5 {
            let seed = u8::try_from(number).unwrap();
            store.enrol(v(number), &public(seed), "", false, Timestamp(1)).unwrap();
        }
        assert_eq!(store.seal_survey().unwrap(), SealSurvey::default(), "nobody was heard");
        for (number, key) in [(1, None), (2, Some(0)), (3, Some(7)), (4, None)] {
            store.hear(v(number), key);
        }
        let survey = store.seal_survey().unwrap();
        assert_eq!((survey.heard, survey.cannot), (4, vec![v(1), v(4)]));
        let words = ("ana", "it was stolen");
        store.add_list_key([1; 32], &[v(4)], words, Timestamp::from_secs(7)).unwrap();
        let survey = store.seal_survey().unwrap();
        let found = (survey.heard, survey.cannot, survey.lacking);
        assert_eq!(found, (3, vec![v(1)], vec![v(2)]), "3 has key 7; 4 is not asked any more");
    }
}
