//! Enrolled validators and their public keys.

use fleet_sync::VerifyingKey;
use model::{Timestamp, ValidatorId};
use rusqlite::params;

use super::{Store, StoreError, codes::sql_time};

/// What enrolling a validator changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enrolment {
    /// It is new.
    Added,
    /// It was enrolled with the same key.
    Unchanged,
    /// It was enrolled with another key, which is kept: replacing a key must be asked for.
    OtherKey,
    /// Its key was replaced, as asked for.
    Replaced,
}

impl Store {
    /// Registers a validator's public key.
    pub fn enrol(
        &self,
        validator: ValidatorId,
        public_key: &VerifyingKey,
        name: &str,
        replace: bool,
        now: Timestamp,
    ) -> Result<Enrolment, StoreError> {
        let known = self.public_keys(validator)?;
        let enrolment = match known.last() {
            None => Enrolment::Added,
            Some(newest) if newest == public_key => return Ok(Enrolment::Unchanged),
            Some(_) if !replace => return Ok(Enrolment::OtherKey),
            Some(_) => Enrolment::Replaced,
        };
        let write = || -> Result<(), rusqlite::Error> {
            let mut writer = self.writer();
            let transaction = writer.transaction()?;
            let id = validator.number();
            transaction.execute(
                "INSERT INTO validators (id, name, enrolled_at) VALUES (?1, ?2, ?3)
                 ON CONFLICT (id) DO UPDATE SET name = excluded.name",
                params![id, name, sql_time(now)],
            )?;
            // Two keys within one millisecond must not be one row.
            transaction.execute(
                "INSERT INTO validator_keys (validator, since, public_key)
                 SELECT ?1, max(?2, coalesce(max(since) + 1, 0)), ?3
                 FROM validator_keys WHERE validator = ?1",
                params![id, sql_time(now), public_key.as_bytes()],
            )?;
            transaction.commit()
        };
        write().map_err(StoreError::write("an enrolment"))?;
        Ok(enrolment)
    }

    /// A validator's public keys, newest last; empty when it is not enrolled.
    pub fn public_keys(&self, validator: ValidatorId) -> Result<Vec<VerifyingKey>, StoreError> {
        let failed = || StoreError::read("a validator's keys");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached(
                "SELECT public_key FROM validator_keys WHERE validator = ?1 ORDER BY since",
            )
            .map_err(failed())?;
        let rows = statement
            .query_map([validator.number()], |row| row.get::<_, [u8; 32]>(0))
            .map_err(failed())?;
        rows.map(|bytes| {
            VerifyingKey::from_bytes(&bytes.map_err(failed())?)
                .map_err(|_| StoreError::damaged(format!("the public key of {validator}")))
        })
        .collect()
    }

    /// The first of a block of numbers for the depot's own connections. Later starts get higher
    /// ones, so that the will of an old connection is known as old.
    pub fn reserve_connections(&self) -> Result<u64, StoreError> {
        let first: i64 = self
            .writer()
            .query_row(
                "INSERT INTO counters (name, value) VALUES ('connections', ?1)
                 ON CONFLICT (name) DO UPDATE SET value = value + ?1
                 RETURNING value - ?1 + 1",
                [1 << 20],
                |row| row.get(0),
            )
            .map_err(StoreError::write("the number of a connection"))?;
        Ok(super::codes::unsigned(first))
    }

    /// Every enrolled validator.
    pub fn validators(&self) -> Result<Vec<ValidatorId>, StoreError> {
        let failed = || StoreError::read("the fleet");
        let reader = self.reader()?;
        let mut statement =
            reader.prepare_cached("SELECT id FROM validators ORDER BY id").map_err(failed())?;
        let rows = statement.query_map([], |row| row.get(0)).map_err(failed())?;
        rows.map(|number| super::codes::validator(number.map_err(failed())?)).collect()
    }

    /// Validators by the state of their link: never seen, down, up.
    pub fn count_links(&self) -> Result<[i64; 3], StoreError> {
        let failed = || StoreError::read("the links of the fleet");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached("SELECT link, count(*) FROM validators GROUP BY link")
            .map_err(failed())?;
        let rows = statement
            .query_map([], |row| Ok((row.get::<_, u32>(0)?, row.get::<_, i64>(1)?)))
            .map_err(failed())?;
        let mut counts = [0; 3];
        for row in rows {
            let (link, count) = row.map_err(failed())?;
            if let Some(slot) = counts.get_mut(link as usize) {
                *slot = count;
            }
        }
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use fleet_sync::SigningKey;

    use super::*;

    #[test]
    fn a_key_is_replaced_only_when_asked_for_and_old_ones_are_kept() {
        let (_folder, store) = Store::for_test();
        let v = ValidatorId::new(42).unwrap();
        let [first, second] = [1, 2].map(|n| SigningKey::from_bytes(&[n; 32]).verifying_key());
        let enrol = |key, replace| store.enrol(v, key, "gate 1", replace, Timestamp(5)).unwrap();
        assert_eq!(enrol(&first, false), Enrolment::Added);
        assert_eq!(enrol(&first, false), Enrolment::Unchanged);
        assert_eq!(enrol(&second, false), Enrolment::OtherKey);
        assert_eq!(store.public_keys(v).unwrap(), [first]);
        assert_eq!(enrol(&second, true), Enrolment::Replaced);
        assert_eq!(store.public_keys(v).unwrap(), [first, second]);
        assert_eq!(store.validators().unwrap(), [v]);
        assert_eq!(store.count_links().unwrap(), [1, 0, 0]);
        assert!(store.reserve_connections().unwrap() < store.reserve_connections().unwrap());
    }
}
