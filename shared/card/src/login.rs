//! Logging in to a card that may hold an older or a newer version of the key (ADR-0007).
//!
//! Sans-IO, a part of the transactions. The caller's current version is tried first, so that a
//! card that holds it costs nothing more. A card that does not know that key is asked, in the
//! clear, which version it holds, and that one is tried: once. What the card says decides only
//! which key is tried; who it is, only the proof of a key decides. A card that accepts our proof
//! and then gives none of its own is no older card, but none of ours: it is not asked.

use alloc::vec::Vec;

use crate::answers::{authenticated, challenged, plain};
use crate::apdu::{StatusWord, cmd, parse_answer, wrap};
use crate::failure::{CardFailure, CardStep, ExchangeError};
use crate::keys::{Key, KeyRole, KeyVersion, VersionedKey};
use crate::session::{Authentication, Session};

/// A login under way; an answer is awaited.
#[derive(Debug)]
pub(crate) struct Login {
    role: KeyRole,
    tried: KeyVersion,
    phase: Phase,
    /// The card was already asked for its version.
    asked: bool,
}

#[derive(Debug)]
enum Phase {
    Challenging(Authentication),
    Answering(Authentication),
    Asking,
}

/// The card holds this version of the key: see [`KeyWanted::provide`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyWanted {
    pub(crate) role: KeyRole,
    pub(crate) version: KeyVersion,
}

/// How a login goes on.
#[derive(Debug)]
pub(crate) enum LoginStep {
    /// Send this, then `handle_response`.
    Transmit(Login, Vec<u8>),
    /// Ask the caller for this version's key, then `provide`.
    NeedKey(KeyWanted),
    /// Both have proved the key of this version.
    Done(Session, KeyVersion),
}

impl Login {
    /// With the key to try first and 16 random bytes; answers the first command to send.
    pub(crate) fn begin(role: KeyRole, key: VersionedKey, rnd_a: [u8; 16]) -> (Self, Vec<u8>) {
        Self::attempt(role, key, rnd_a, false)
    }

    /// The same, but no other version will do.
    pub(crate) fn with_no_other(
        role: KeyRole,
        key: VersionedKey,
        rnd_a: [u8; 16],
    ) -> (Self, Vec<u8>) {
        Self::attempt(role, key, rnd_a, true)
    }

    fn attempt(role: KeyRole, key: VersionedKey, rnd_a: [u8; 16], asked: bool) -> (Self, Vec<u8>) {
        let phase = Phase::Challenging(Authentication::new(key.key, rnd_a));
        let apdu = wrap(cmd::AUTHENTICATE_EV2_FIRST, &[key_no(role), 0x00]);
        (Self { role, tried: key.version, phase, asked }, apdu)
    }

    /// The card's answer to the command sent last.
    pub(crate) fn handle_response(
        self,
        response: Result<&[u8], ExchangeError>,
    ) -> Result<LoginStep, CardFailure> {
        let Self { role, tried, phase, asked } = self;
        match phase {
            Phase::Challenging(mut authentication) => {
                let part2 = challenged(&mut authentication, response)?;
                let phase = Phase::Answering(authentication);
                let apdu = wrap(cmd::ADDITIONAL_FRAME, &part2);
                Ok(LoginStep::Transmit(Self { role, tried, phase, asked }, apdu))
            }
            Phase::Answering(_) if !asked && says_wrong_key(&response) => {
                let apdu = wrap(cmd::GET_KEY_VERSION, &[key_no(role)]);
                let login = Self { role, tried, phase: Phase::Asking, asked: true };
                Ok(LoginStep::Transmit(login, apdu))
            }
            Phase::Answering(authentication) => {
                let session = authenticated(authentication, response)?;
                Ok(LoginStep::Done(session, tried))
            }
            Phase::Asking => {
                let version = match plain(CardStep::Authenticate, response) {
                    Ok([version]) => KeyVersion(*version),
                    Ok(_) => return Err(CardFailure::Malformed(CardStep::Authenticate)),
                    Err(CardFailure::Refused { .. }) => return Err(CardFailure::NotAuthentic),
                    Err(failure) => return Err(failure),
                };
                if version == tried {
                    // It names the key that it just failed to prove.
                    return Err(CardFailure::NotAuthentic);
                }
                Ok(LoginStep::NeedKey(KeyWanted { role, version }))
            }
        }
    }
}

impl KeyWanted {
    /// With the key of the wanted version, if it is held, and 16 fresh random bytes.
    pub(crate) fn provide(
        self,
        key: Option<Key>,
        rnd_a: [u8; 16],
    ) -> Result<(Login, Vec<u8>), CardFailure> {
        let Self { role, version } = self;
        let key = key.ok_or(CardFailure::KeyVersionNotHeld(version))?;
        Ok(Login::attempt(role, VersionedKey { version, key }, rnd_a, true))
    }
}

fn says_wrong_key(response: &Result<&[u8], ExchangeError>) -> bool {
    let answer = response.as_ref().ok().and_then(|bytes| parse_answer(bytes));
    answer.is_some_and(|answer| answer.status == StatusWord::AUTHENTICATION)
}

fn key_no(role: KeyRole) -> u8 {
    role.number().expect("nobody logs in with a Transaction MAC key")
}
