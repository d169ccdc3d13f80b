//! Where keys live between two starts of a program: encrypted keystores, PKCS#11 tokens, and plain
//! files for first trials (ADR-0007). Used by both shells; `docs/keys.md` is its manual.
//!
//! Invariants: a key is read only from a file that nobody else can read; no file is overwritten
//! unless its keystore is replaced as a whole; secrets in memory are wiped when dropped and have no
//! text form; a master key in a token never leaves it. Knows nothing of taps, books or networks.

mod check_value;
mod file;
mod keystore;
mod parts;
mod plain;
mod source;
#[cfg(test)]
mod tests;
mod token;

use std::{path::PathBuf, sync::Arc};

use card::{CardKeys, KeyError, KeyRole, KeySet, KeyVersion};

pub use check_value::{CheckValue, check_value};
pub use file::{FileError, parse_hex, read_hex, read_private, to_hex, write_hex, write_private};
pub use keystore::{
    Cost, KeystoreError, UnlockError, load, replace, save_new, seal, unlock, unseal,
};
pub use parts::{combine, random_key};
pub use source::{Source, StoreSource, TokenSource};
pub use token::TokenKeys;

/// Why a place of keys cannot be used. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum CustodyError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The secret that opens the keystore.
    #[error(transparent)]
    Unlock(#[from] UnlockError),
    /// A keystore.
    #[error("the keystore {path} cannot be used")]
    Keystore {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: KeystoreError,
    },
    /// The token, or a key that is not there.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// It holds a key that its user must not have (SEC-7).
    #[error(
        "{place} holds {} keys, which do not belong here: make it with \
         `depot-server keys export-validator`", .role.word()
    )]
    TooMuch {
        /// Where.
        place: String,
        /// Which.
        role: KeyRole,
    },
    /// It does not hold a key that its user needs.
    #[error("{place} holds no {} key: `depot-server keys list` shows what is where", .role.word())]
    Missing {
        /// Where.
        place: String,
        /// Which.
        role: KeyRole,
    },
}

/// Who derives cards' keys, shared by the tasks of a program.
pub type SharedKeys = Arc<dyn CardKeys + Send + Sync>;

/// Opened keys.
#[derive(Clone)]
pub enum Custody {
    /// Master keys in memory.
    Software(KeySet),
    /// Master keys in a token.
    Token(Arc<TokenKeys>),
}

impl Custody {
    /// Opens what `source` names. A token must be there; it may be gone later.
    pub fn open(source: &Source) -> Result<Self, CustodyError> {
        Ok(match source {
            Source::Plain(path) => Self::Software(plain::load(path)?),
            Source::Store(store) => Self::Software(load(&store.store, &unlock(&store.unlock)?)?),
            Source::Token(token) => Self::Token(Arc::new(TokenKeys::open(token)?)),
        })
    }

    /// Opens what a validator may have: debit keys, and nothing else (SEC-7).
    pub fn open_for_validator(source: &Source) -> Result<Self, CustodyError> {
        let custody = Self::open(source)?;
        for role in KeyRole::ALL {
            let held = !custody.keys().versions(role).is_empty();
            match (role, held) {
                (KeyRole::Debit, false) => {
                    return Err(CustodyError::Missing { place: source.to_string(), role });
                }
                (KeyRole::Debit, true) | (_, false) => {}
                (KeyRole::Issuer | KeyRole::Load | KeyRole::Tmac, true) => {
                    return Err(CustodyError::TooMuch { place: source.to_string(), role });
                }
            }
        }
        Ok(custody)
    }

    /// For whoever derives cards' keys.
    pub fn keys(&self) -> &(dyn CardKeys + Send + Sync) {
        match self {
            Self::Software(keys) => keys,
            Self::Token(keys) => keys.as_ref(),
        }
    }

    /// The same, shared.
    pub fn into_shared(self) -> SharedKeys {
        match self {
            Self::Software(keys) => Arc::new(keys),
            Self::Token(keys) => keys,
        }
    }

    /// Master keys in memory; `None` when they are in a token.
    pub const fn software(&self) -> Option<&KeySet> {
        match self {
            Self::Software(keys) => Some(keys),
            Self::Token(_) => None,
        }
    }

    /// What is held, by role, newest version first.
    pub fn list(&self) -> Result<Vec<Held>, KeyError> {
        let mut held = Vec::new();
        for role in KeyRole::ALL {
            for version in self.keys().versions(role) {
                let check = match self {
                    Self::Software(keys) => {
                        let missing = || KeyError::VersionNotHeld { role, version };
                        check_value(keys.master(role, version).ok_or_else(missing)?)
                    }
                    Self::Token(keys) => keys.check_value(role, version)?,
                };
                let current = self.keys().current(role)? == version;
                held.push(Held { role, version, current, check });
            }
        }
        Ok(held)
    }
}

/// One master key, as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What it is for.
    pub role: KeyRole,
    /// Which of the role's keys.
    pub version: KeyVersion,
    /// What new cards get and readers try first.
    pub current: bool,
    /// To compare it by, without showing it.
    pub check: CheckValue,
}
