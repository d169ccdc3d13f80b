//! The depot's keys: its own signing key, and where the cards' master keys are (ADR-0007).

use std::{path::PathBuf, sync::Arc};

use card::{CardKeys, Key, KeyError as CardKeyError, KeyRole, KeySet, KeyVersion};
use custody::{Custody, CustodyError, SharedKeys, Source, read_hex, write_hex};
use ed25519_dalek::SigningKey;
use zeroize::Zeroizing;

use super::KeyFiles;

pub use custody::{parse_hex, to_hex};

/// The depot's secrets.
pub struct Keys {
    /// Signs acknowledgements.
    pub signing: SigningKey,
    /// Signed them before.
    pub signing_before: Option<SigningKey>,
    /// Masters of the cards' Transaction MAC keys, all versions.
    pub tmac: KeySet,
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Where it should be.
    #[error("{0}: `depot-server init` makes missing key files, `keys init` a keystore")]
    Missing(String),
    /// What is there.
    #[error(transparent)]
    Custody(#[from] CustodyError),
    /// The depot needs them for every tap, and a token that is gone must not look like a lie.
    #[error("keys.tmac: Transaction MAC keys are kept in a keystore, not in a token")]
    TmacInToken,
    /// Nothing says where the keys are that change cards.
    #[error(
        "keys.card is not set: to issue, load or re-key cards name the keystore or token that \
         holds the issuer, debit and load keys"
    )]
    NoCardKeys,
}

impl From<custody::FileError> for KeyError {
    fn from(error: custody::FileError) -> Self {
        Self::Custody(error.into())
    }
}

impl Keys {
    /// Reads what `serve` needs.
    pub fn load(files: &KeyFiles) -> Result<Self, KeyError> {
        let (signing, signing_before) = Self::signing(files)?;
        Ok(Self { signing, signing_before, tmac: load_tmac(files)? })
    }

    /// The key that signs, and the one before while validators change.
    pub fn signing(files: &KeyFiles) -> Result<(SigningKey, Option<SigningKey>), KeyError> {
        let read = |path: &PathBuf| -> Result<SigningKey, KeyError> {
            if !path.exists() {
                return Err(KeyError::Missing(no_file(path)));
            }
            Ok(SigningKey::from_bytes(&*read_hex(path)?))
        };
        Ok((read(&files.signing)?, files.signing_before.as_ref().map(read).transpose()?))
    }

    /// All that messages may be for.
    pub fn receiving(&self) -> Vec<SigningKey> {
        [&self.signing].into_iter().chain(&self.signing_before).cloned().collect()
    }

    /// Makes whichever file is missing, with mode 0600, and returns what was made. Keystores are
    /// made by `keys init`.
    pub fn create_missing(files: &KeyFiles) -> Result<Vec<PathBuf>, KeyError> {
        let mut wanted = vec![(&files.signing, 32), (&files.tickets, 32)];
        let tmac = files.tmac_source();
        if let Source::Plain(path) = &tmac {
            wanted.push((path, 16));
        }
        let mut made = Vec::new();
        for (path, bytes) in wanted {
            if path.exists() {
                continue;
            }
            let mut secret = Zeroizing::new(vec![0_u8; bytes]);
            for block in secret.chunks_mut(16) {
                block.copy_from_slice(&custody::random_key().map_err(CustodyError::from)?.0);
            }
            write_hex(path, &secret)?;
            made.push(path.clone());
        }
        Ok(made)
    }
}

/// The Transaction MAC keys: of a keystore, or version 1 in a plain file of 32 digits.
fn load_tmac(files: &KeyFiles) -> Result<KeySet, KeyError> {
    match &files.tmac_source() {
        Source::Plain(path) if !path.exists() => Err(KeyError::Missing(no_file(path))),
        Source::Plain(path) => {
            let master = Key(*read_hex(path)?);
            Ok(KeySet::default().with(KeyRole::Tmac, KeyVersion::FIRST, master))
        }
        source @ Source::Store(store) => {
            if !store.store.exists() {
                return Err(KeyError::Missing(no_file(&store.store)));
            }
            let custody = Custody::open(source)?;
            let keys = custody.software().ok_or(KeyError::TmacInToken)?.only(&[KeyRole::Tmac]);
            if keys.versions(KeyRole::Tmac).is_empty() {
                let (place, role) = (source.to_string(), KeyRole::Tmac);
                return Err(CustodyError::Missing { place, role }.into());
            }
            Ok(keys)
        }
        Source::Token(_) => Err(KeyError::TmacInToken),
    }
}

/// The keys that change cards, with the Transaction MAC keys: to issue, load and re-key.
pub fn open_card_keys(files: &KeyFiles) -> Result<SharedKeys, KeyError> {
    let source = files.card.as_ref().ok_or(KeyError::NoCardKeys)?;
    let cards = Custody::open(source)?.into_shared();
    Ok(Arc::new(CardOffice { cards, tmac: load_tmac(files)? }))
}

/// Each role's keys from where they are kept.
struct CardOffice {
    cards: SharedKeys,
    tmac: KeySet,
}

impl CardOffice {
    fn of(&self, role: KeyRole) -> &dyn CardKeys {
        match role {
            KeyRole::Issuer | KeyRole::Debit | KeyRole::Load => self.cards.as_ref(),
            KeyRole::Tmac => &self.tmac,
        }
    }
}

impl CardKeys for CardOffice {
    fn current(&self, role: KeyRole) -> Result<KeyVersion, CardKeyError> {
        self.of(role).current(role)
    }

    fn versions(&self, role: KeyRole) -> Vec<KeyVersion> {
        self.of(role).versions(role)
    }

    fn card_key(
        &self,
        role: KeyRole,
        version: KeyVersion,
        uid: &model::CardId,
    ) -> Result<Key, CardKeyError> {
        self.of(role).card_key(role, version, uid)
    }
}

fn no_file(path: &std::path::Path) -> String {
    format!("there is no key file {}", path.display())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, path::Path};

    use custody::{FileError, StoreSource};

    use super::*;

    fn files(folder: &Path) -> KeyFiles {
        KeyFiles {
            signing: folder.join("k/sign.hex"),
            signing_before: None,
            tickets: folder.join("k/tickets.hex"),
            tmac: Some(folder.join("k/tmac.hex").into()),
            card: None,
        }
    }

    fn master(keys: &Keys) -> Option<&Key> {
        keys.tmac.master(KeyRole::Tmac, KeyVersion::FIRST)
    }

    #[test]
    fn made_keys_can_be_read_and_are_never_made_twice() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        assert_eq!(Keys::create_missing(&files).unwrap().len(), 3);
        let first = Keys::load(&files).unwrap();
        assert!(Keys::create_missing(&files).unwrap().is_empty());
        assert_eq!(master(&Keys::load(&files).unwrap()), master(&first));
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_cut_short_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        let tmac = folder.path().join("k/tmac.hex");
        Keys::create_missing(&files).unwrap();
        let refused = || match Keys::load(&files) {
            Err(KeyError::Custody(CustodyError::File(error))) => error,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("refused"),
        };
        fs::set_permissions(&tmac, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(refused(), FileError::Exposed { .. }));
        fs::set_permissions(&tmac, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&tmac, "00ff\n").unwrap();
        assert!(matches!(refused(), FileError::Contents { .. }));
        fs::remove_file(&tmac).unwrap();
        assert!(matches!(Keys::load(&files), Err(KeyError::Missing(_))));
    }

    #[test]
    fn one_keystore_serves_the_intake_and_the_card_office_and_the_intake_takes_tmac_only() {
        let folder = tempfile::tempdir().unwrap();
        let unlock = folder.path().join("unlock");
        custody::write_private(&unlock, b"a secret of sixteen\n").unwrap();
        let store = folder.path().join("cards.keys");
        let keys = KeySet::from_root(&Key([7; 16]));
        custody::save_new(&store, &keys, b"a secret of sixteen").unwrap();
        let source = Source::Store(StoreSource { store, unlock });
        let files = KeyFiles { tmac: None, card: Some(source), ..files(folder.path()) };
        Keys::create_missing(&files).unwrap();
        let tmac = Keys::load(&files).unwrap().tmac;
        let card = model::CardId([4; 7]);
        assert_eq!(tmac.tmac_key(&card), keys.tmac_key(&card));
        assert!(tmac.debit_key(&card).is_err());
        let office = open_card_keys(&files).unwrap();
        for role in KeyRole::ALL {
            assert_eq!(office.current_key(role, &card), keys.current_key(role, &card));
        }
        let none = KeyFiles { card: None, ..files };
        assert!(matches!(open_card_keys(&none), Err(KeyError::NoCardKeys)));
    }
}
