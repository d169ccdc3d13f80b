//! Enrolled validators: their public keys and the state of their links.

use model::{Timestamp, ValidatorId};
use rusqlite::{OptionalExtension, params};

use super::{Store, StoreError, sql_time};

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

/// News of a validator's link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkChange {
    /// Whose.
    pub validator: ValidatorId,
    /// Connected or not.
    pub up: bool,
    /// The validator's counter of its connections, so that the late will of an old one is ignored.
    pub connection: u64,
}

impl Store {
    /// Registers a validator's public key.
    pub fn enrol(
        &self,
        validator: ValidatorId,
        public_key: &[u8; 32],
        name: &str,
        replace: bool,
        now: Timestamp,
    ) -> Result<Enrolment, StoreError> {
        let write = || -> Result<Enrolment, rusqlite::Error> {
            let mut writer = self.writer();
            let transaction = writer.transaction()?;
            let id = validator.number();
            let known: Option<Vec<u8>> = transaction
                .query_row("SELECT public_key FROM validators WHERE id = ?1", [id], |r| r.get(0))
                .optional()?;
            let enrolment = match known {
                None => {
                    transaction.execute(
                        "INSERT INTO validators (id, name, public_key, enrolled_at)
                         VALUES (?1, ?2, ?3, ?4)",
                        params![id, name, public_key, sql_time(now)],
                    )?;
                    Enrolment::Added
                }
                Some(key) if key == public_key => Enrolment::Unchanged,
                Some(_) if !replace => Enrolment::OtherKey,
                Some(_) => {
                    transaction.execute(
                        "UPDATE validators SET public_key = ?2 WHERE id = ?1",
                        params![id, public_key],
                    )?;
                    Enrolment::Replaced
                }
            };
            transaction.commit()?;
            Ok(enrolment)
        };
        write().map_err(StoreError::write("an enrolment"))
    }
}
