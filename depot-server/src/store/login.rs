//! Users, login links and sessions. Only hashes of secrets come here.

use model::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    Store, StoreError,
    codes::{sql_time, time},
};
use crate::auth::Session;

impl Store {
    /// Lets `user` log in once with the secret behind `hash`; adds the user when unknown.
    pub fn add_login(
        &self,
        user: &str,
        hash: &[u8; 32],
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        let write = || -> Result<(), rusqlite::Error> {
            let mut writer = self.writer();
            let transaction = writer.transaction()?;
            transaction.execute(
                "INSERT INTO users (name, created_at) VALUES (?1, ?2)
                 ON CONFLICT (name) DO NOTHING",
                params![user, sql_time(now)],
            )?;
            transaction.execute("DELETE FROM logins WHERE expires_at <= ?1", [sql_time(now)])?;
            transaction.execute(
                "INSERT INTO logins (hash, user, expires_at)
                 SELECT ?1, id, ?2 FROM users WHERE name = ?3",
                params![hash, sql_time(expires_at), user],
            )?;
            transaction.commit()
        };
        write().map_err(StoreError::write("a login link"))
    }

    /// Spends a login link and opens a session; `None` when the link is unknown, spent or too old.
    pub(crate) fn redeem_login(
        &self,
        link: &[u8; 32],
        session: &[u8; 32],
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Option<String>, StoreError> {
        let write = || -> Result<Option<String>, rusqlite::Error> {
            let mut writer = self.writer();
            let transaction = writer.transaction()?;
            let user: Option<i64> = transaction
                .query_row(
                    "DELETE FROM logins WHERE hash = ?1 AND expires_at > ?2 RETURNING user",
                    params![link, sql_time(now)],
                    |row| row.get(0),
                )
                .optional()?;
            let Some(user) = user else { return Ok(None) };
            transaction.execute("DELETE FROM sessions WHERE expires_at <= ?1", [sql_time(now)])?;
            transaction.execute(
                "INSERT INTO sessions (hash, user, created_at, expires_at) VALUES (?1, ?2, ?3, ?4)",
                params![session, user, sql_time(now), sql_time(expires_at)],
            )?;
            let name = user_name(&transaction, user)?;
            transaction.commit()?;
            Ok(Some(name))
        };
        write().map_err(StoreError::write("a session"))
    }

    /// The session behind a cookie, unless it is over.
    pub(crate) fn find_session(
        &self,
        hash: &[u8; 32],
        now: Timestamp,
    ) -> Result<Option<Session>, StoreError> {
        self.reader()?
            .prepare_cached(
                "SELECT users.name, sessions.expires_at FROM sessions
                 JOIN users ON users.id = sessions.user
                 WHERE sessions.hash = ?1 AND sessions.expires_at > ?2",
            )
            .and_then(|mut statement| {
                statement
                    .query_row(params![hash, sql_time(now)], |row| {
                        Ok(Session { user: row.get(0)?, expires_at: time(row.get(1)?) })
                    })
                    .optional()
            })
            .map_err(StoreError::read("a session"))
    }

    /// Moves the end of a session.
    pub(crate) fn prolong_session(
        &self,
        hash: &[u8; 32],
        expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        self.writer()
            .execute(
                "UPDATE sessions SET expires_at = ?2 WHERE hash = ?1",
                params![hash, sql_time(expires_at)],
            )
            .map(|_| ())
            .map_err(StoreError::write("a session"))
    }

    /// Ends a session.
    pub(crate) fn remove_session(&self, hash: &[u8; 32]) -> Result<(), StoreError> {
        self.writer()
            .execute("DELETE FROM sessions WHERE hash = ?1", [hash])
            .map(|_| ())
            .map_err(StoreError::write("the end of a session"))
    }
}

fn user_name(connection: &Connection, user: i64) -> Result<String, rusqlite::Error> {
    connection.query_row("SELECT name FROM users WHERE id = ?1", [user], |row| row.get(0))
}
