//! Who may look: one-time login links, made on the command line, become sessions.
//!
//! Both secrets are 256 random bits and only their SHA-256 is stored, so the database gives nobody
//! a way in. A link works once and for a short time.

use std::{fmt, time::Duration};

use model::Timestamp;
use sha2::{Digest, Sha256};

use crate::{
    config::to_hex,
    store::{Store, StoreError},
};

/// How long a login link can be used.
pub const LINK_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// 256 random bits as 64 hexadecimal digits. Never printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    fn random() -> Result<Self, LoginError> {
        let mut bytes = [0_u8; 32];
        getrandom::fill(&mut bytes).map_err(LoginError::Random)?;
        Ok(Self(to_hex(&bytes)))
    }

    /// The digits, for a link or a cookie.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Somebody who is logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The user's name.
    pub user: String,
    /// Until when.
    pub expires_at: Timestamp,
}

/// Why a login failed.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Wrong, used before, or too old: on purpose not told apart.
    #[error("this login link is not valid any more: make a new one with `depot-server user add`")]
    NotValid,
    /// The books could not be read or written.
    #[error("the login could not be checked")]
    Store(#[from] StoreError),
    /// The operating system gave no random bytes.
    #[error("the operating system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

/// Makes a one-time secret for `user`, who is added when unknown.
pub fn invite(store: &Store, user: &str, now: Timestamp) -> Result<Secret, LoginError> {
    let secret = Secret::random()?;
    store.add_login(user, &hash(&secret.0), now, now.plus(LINK_LIFETIME))?;
    Ok(secret)
}

/// Turns the secret of a link into a session, once.
pub(crate) fn redeem(
    store: &Store,
    token: &str,
    now: Timestamp,
    hours: u32,
) -> Result<(Secret, Session), LoginError> {
    let cookie = Secret::random()?;
    let expires_at = now.plus(Duration::from_secs(u64::from(hours) * 3600));
    let user = store
        .redeem_login(&hash(token), &hash(&cookie.0), now, expires_at)?
        .ok_or(LoginError::NotValid)?;
    Ok((cookie, Session { user, expires_at }))
}

pub(crate) fn session(
    store: &Store,
    cookie: &str,
    now: Timestamp,
    hours: u32,
) -> Result<Option<Session>, StoreError> {
    let hash = hash(cookie);
    let Some(session) = store.find_session(&hash, now)? else { return Ok(None) };
    // Written once in half a life, not with every request.
    let life = Duration::from_secs(u64::from(hours) * 3600);
    if session.expires_at.since(now) >= life / 2 {
        return Ok(Some(session));
    }
    let expires_at = now.plus(life);
    store.prolong_session(&hash, expires_at)?;
    Ok(Some(Session { expires_at, ..session }))
}

pub(crate) fn end_session(store: &Store, cookie: &str) -> Result<(), StoreError> {
    store.remove_session(&hash(cookie))
}

/// The secret has 256 bits of entropy, so a plain hash cannot be searched.
fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

    #[test]
    fn a_link_works_once_and_not_for_long() {
        let (_folder, store) = Store::for_test();
        let link = invite(&store, "ana", NOW).unwrap();
        let late = NOW.plus(LINK_LIFETIME).plus(Duration::from_millis(1));
        assert!(matches!(redeem(&store, link.reveal(), late, 1), Err(LoginError::NotValid)));
        assert!(matches!(redeem(&store, "0", NOW, 1), Err(LoginError::NotValid)));
        let (cookie, session) = redeem(&store, link.reveal(), NOW, 1).unwrap();
        assert_eq!(session.user, "ana");
        assert!(matches!(redeem(&store, link.reveal(), NOW, 1), Err(LoginError::NotValid)));
        assert_eq!(super::session(&store, cookie.reveal(), NOW, 1).unwrap(), Some(session.clone()));
        assert_eq!(super::session(&store, cookie.reveal(), session.expires_at, 1).unwrap(), None);
        end_session(&store, cookie.reveal()).unwrap();
        assert_eq!(super::session(&store, cookie.reveal(), NOW, 1).unwrap(), None);
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let secret = Secret::random().unwrap();
        assert!(!format!("{secret:?}").contains(&secret.0[..8]));
        assert_eq!(secret.reveal().len(), 64);
    }
}
