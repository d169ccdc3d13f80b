//! The journal of steering, and the lists that follow from it (ADR-0028).
//!
//! Invariant: the journal is only added to, each row's hash covers the row before, and the lists
//! change in the transaction of the row that changes them.

use std::{collections::BTreeMap, sync::MutexGuard};

use model::{Timestamp, ValidatorId};
use rusqlite::{Connection, OptionalExtension, params};
use wire::{ListKind, ValidatorState};

use super::{
    Store, StoreError,
    codes::{unsigned, validator},
    decision_journal::DecisionJournal,
    group::read_state,
};
use crate::steering::{MadeList, ReleaseStates, SteeringEvent};

const NAME: &str = "the journal of steering";
const JOURNAL: DecisionJournal = DecisionJournal { table: "steering_journal", name: NAME };

/// An open transaction on what is wanted of validators. Rolled back unless committed.
pub struct SteeringBook<'a> {
    writer: MutexGuard<'a, Connection>,
    at: Timestamp,
    done: bool,
}

impl Store {
    /// Begins a decision.
    pub fn begin_steering(&self, at: Timestamp) -> Result<SteeringBook<'_>, StoreError> {
        let writer = self.writer();
        writer.execute_batch("BEGIN IMMEDIATE").map_err(StoreError::write(NAME))?;
        Ok(SteeringBook { writer, at, done: false })
    }

    /// The journal from its first row. A row that is not what was written is named.
    pub fn steering_journal(&self) -> Result<Vec<(Timestamp, SteeringEvent)>, StoreError> {
        JOURNAL.read(&*self.reader()?)
    }

    /// How many rows the journal has: whether something was decided anew.
    pub fn steering_rows(&self) -> Result<u64, StoreError> {
        self.reader()?
            .prepare_cached("SELECT coalesce(max(id), 0) FROM steering_journal")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .map(unsigned)
            .map_err(StoreError::read(NAME))
    }

    /// The lists as validators are given them.
    pub fn steering_lists(&self) -> Result<BTreeMap<ListKind, MadeList>, StoreError> {
        let failed = || StoreError::read("the lists of steering");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached("SELECT kind, version, content FROM steering_lists")
            .map_err(failed())?;
        let rows = statement
            .query_map([], |row| {
                let list = MadeList { version: unsigned(row.get(1)?), content: row.get(2)? };
                Ok((ListKind(row.get(0)?), list))
            })
            .map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }

    /// A release as the agency signed it.
    pub fn release_image(&self, number: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.reader()?
            .prepare_cached("SELECT content FROM release_images WHERE number = ?1")
            .and_then(|mut statement| {
                let number = i64::try_from(number).unwrap_or(i64::MAX);
                statement.query_row([number], |row| row.get(0)).optional()
            })
            .map_err(StoreError::read("a release"))
    }

    /// What every enrolled validator last said.
    pub fn validator_states(
        &self,
    ) -> Result<Vec<(ValidatorId, Option<ValidatorState>)>, StoreError> {
        let failed = || StoreError::read("the states of the fleet");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached("SELECT id, state FROM validators ORDER BY id")
            .map_err(failed())?;
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, row.get::<_, Option<Vec<u8>>>(1)?)))
            .map_err(failed())?;
        rows.map(|row| {
            let (id, payload) = row.map_err(failed())?;
            Ok((validator(id)?, payload.as_deref().and_then(read_state)))
        })
        .collect()
    }

    /// What every enrolled validator last said of its software.
    pub fn release_states(&self) -> Result<ReleaseStates, StoreError> {
        let states = self.validator_states()?.into_iter();
        let release = |state: ValidatorState| state.steered.release;
        Ok(states.map(|(id, state)| (id, state.and_then(release))).collect())
    }

    /// Kind and version of each of those lists.
    pub(super) fn steering_versions(&self) -> Result<Vec<(ListKind, u64)>, StoreError> {
        let failed = || StoreError::read("the lists of steering");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached("SELECT kind, version FROM steering_lists ORDER BY kind")
            .map_err(failed())?;
        let rows = statement
            .query_map([], |row| Ok((ListKind(row.get(0)?), unsigned(row.get(1)?))))
            .map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }
}

impl SteeringBook<'_> {
    /// The journal as it stands while the writer is ours.
    pub fn journal(&self) -> Result<Vec<(Timestamp, SteeringEvent)>, StoreError> {
        JOURNAL.read(&self.writer)
    }

    /// Adds an event, and the lists that follow from all of them.
    pub fn add(
        &self,
        event: &SteeringEvent,
        lists: &BTreeMap<ListKind, MadeList>,
    ) -> Result<(), StoreError> {
        JOURNAL.add(&self.writer, self.at, event)?;
        for (kind, list) in lists {
            let version = i64::try_from(list.version).unwrap_or(i64::MAX);
            self.writer
                .execute(
                    "INSERT INTO steering_lists (kind, version, content) VALUES (?1, ?2, ?3)
                     ON CONFLICT (kind) DO UPDATE SET version = ?2, content = ?3
                     WHERE version < ?2",
                    params![kind.0, version, list.content],
                )
                .map_err(StoreError::write(NAME))?;
        }
        Ok(())
    }

    /// Keeps a release as the agency signed it.
    pub fn keep_image(&self, number: u64, content: &[u8]) -> Result<(), StoreError> {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        self.writer
            .execute(
                "INSERT INTO release_images (number, content) VALUES (?1, ?2)",
                params![number, content],
            )
            .map(|_| ())
            .map_err(StoreError::write("a release"))
    }

    /// Makes it all durable.
    pub fn commit(mut self) -> Result<(), StoreError> {
        self.writer.execute_batch("COMMIT").map_err(StoreError::write(NAME))?;
        self.done = true;
        Ok(())
    }
}

impl Drop for SteeringBook<'_> {
    fn drop(&mut self) {
        // A transaction that the database has ended by itself needs no end.
        if !self.done && !self.writer.is_autocommit() {
            let _ = self.writer.execute_batch("ROLLBACK");
        }
    }
}

#[cfg(test)]
mod tests {
    use ::steering::FailureBound;
    use ed25519_dalek::SigningKey;
    use fleet_sync::{Codec, write_state};
    use model::{ClockQuality, Epoch, TapSeq};
    use wire::{ReleaseStage, ReleaseState, StateWord, Steered};

    use super::*;
    use crate::steering::{self, SteeringError, releases};

    fn last_word(validator: ValidatorId, reached: ReleaseStage, why: &str) -> Vec<u8> {
        let (running, why) = (String::new(), why.to_owned());
        let release = ReleaseState { running, plan: 1, stage: reached, why };
        let said = ValidatorState {
            validator,
            word: StateWord::Ready,
            connection: 1,
            epoch: Epoch(1),
            software: "1.0.0".to_owned(),
            tariff: None,
            head: TapSeq(0),
            acked: TapSeq(0),
            in_doubt: 0,
            clock: ClockQuality::Ntp,
            at: Timestamp(0),
            undrained_before: 0,
            lists: None,
            reason: String::new(),
            health: None,
            steered: Steered { release: Some(release), ..Steered::default() },
            speech: None,
        };
        let key = SigningKey::from_bytes(&[7; 32]);
        write_state(&said, &key, Codec::V1).unwrap().unwrap()
    }

    #[test]
    fn a_rollout_is_halted_from_the_last_words_that_the_books_keep() {
        let (_folder, store) = Store::for_test();
        let now = Timestamp::from_secs(1_000);
        let say = |n: u32, stage, why: &str| {
            let id = ValidatorId::new(n).unwrap();
            let key = SigningKey::from_bytes(&[7; 32]).verifying_key();
            store.enrol(id, &key, "bus", false, now).unwrap();
            let change = "UPDATE validators SET state = ?2 WHERE id = ?1";
            store.writer().execute(change, params![n, last_word(id, stage, why)]).unwrap();
        };
        for n in 1..=200 {
            say(n, ReleaseStage::Applied, "");
        }
        say(201, ReleaseStage::Failed, "no link within 900 s");
        say(202, ReleaseStage::Refused, "forged");
        let label = wire::ImageLabel {
            version: "1.1.0".to_owned(),
            target: "pi".to_owned(),
            length: 3,
            hash: [7; 32],
        };
        releases::add_image(&store, &label, b"signed", "ana", now).unwrap();
        let planned = SteeringEvent::Planned {
            number: 1,
            version: "1.1.0".to_owned(),
            canaries: vec![],
            percent: 100,
            downgrade: false,
            confirm_s: 900,
            reason: "monthly".to_owned(),
            by: "ana".to_owned(),
        };
        steering::decide(&store, &planned, now).unwrap();
        let tick = |share_permille| -> Result<Vec<u64>, SteeringError> {
            releases::tick(&store, FailureBound { count: 0, share_permille }, now)
        };
        assert_eq!(tick(10).unwrap(), [0; 0], "2 of 202 are within a hundredth");
        assert_eq!(tick(5).unwrap(), [1]);
        assert_eq!(tick(5).unwrap(), [0; 0], "it is halted already");
        let halted = steering::current(&store).unwrap().plans[&1].halted.clone().unwrap();
        let why = "2 of 202 validators did not take it; v000201: no link within 900 s";
        assert_eq!((&*halted.0, &*halted.1), ("rule", why));
    }
}
