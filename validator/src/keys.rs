//! The keys of a validator: its own, the card keys it may use, and the depot's public key.
//!
//! A key never stands in the configuration, in the environment or in a log. Where card keys live
//! is `custody`'s business (ADR-0007).

use std::{fs, path::Path};

use card::{Key, KeyError};
use custody::{
    Custody, CustodyError, FileError, SharedKeys, Source, parse_hex, read_hex, to_hex, write_hex,
    write_private,
};
use ed25519_dalek::{SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::config::Keys;

/// All keys of a validator.
#[derive(Clone)]
pub struct DeviceKeys {
    /// Signs its batches and states.
    pub signing: SigningKey,
    /// Opens cards for debiting.
    pub card: SharedKeys,
    /// Check what the depot says: its key, or two while it changes from one to the other.
    pub depot: Vec<VerifyingKey>,
}

impl DeviceKeys {
    /// Reads all keys.
    pub fn load(keys: &Keys) -> Result<Self, CustodyError> {
        Ok(Self {
            signing: load_signing(&keys.signing)?,
            card: load_card(&keys.card)?.into_shared(),
            depot: load_depot(&keys.depot)?,
        })
    }
}

/// The validator's own signing key.
pub fn load_signing(path: &Path) -> Result<SigningKey, CustodyError> {
    Ok(SigningKey::from_bytes(&*read_hex(path)?))
}

/// The card keys; a validator holds debit keys only (SEC-7).
pub fn load_card(source: &Source) -> Result<Custody, CustodyError> {
    Custody::open_for_validator(source)
}

/// Keys of a depot that are trusted at once.
const DEPOT_KEYS_MAX: usize = 2;

/// The depot's public keys, a line each.
pub fn load_depot(path: &Path) -> Result<Vec<VerifyingKey>, CustodyError> {
    let text = fs::read_to_string(path)
        .map_err(|source| FileError::Read { path: path.to_owned(), source })?;
    let keys: Option<Vec<_>> = text.split_whitespace().map(parse_public).collect();
    let keys = keys.filter(|keys| (1..=DEPOT_KEYS_MAX).contains(&keys.len()));
    Ok(keys.ok_or_else(|| FileError::Contents {
        path: path.to_owned(),
        expected: "the 64 hexadecimal digits of the depot's public key, or while it gets another \
                   key those of both, a line each"
            .into(),
    })?)
}

/// Makes a signing key in a new file and returns the public key's 64 digits, which the depot is
/// told when the validator is provisioned. An existing file is never overwritten.
pub fn generate_signing(path: &Path) -> Result<String, CustodyError> {
    let mut seed = Zeroizing::new([0_u8; 32]);
    getrandom::fill(seed.as_mut())
        .map_err(|e| KeyError::Module(format!("the operating system gives no random: {e}")))?;
    let key = SigningKey::from_bytes(&seed);
    write_hex(path, seed.as_ref())?;
    Ok(to_hex(key.verifying_key().as_bytes()))
}

/// A public key, written as 64 hexadecimal digits.
pub fn parse_public(text: &str) -> Option<VerifyingKey> {
    VerifyingKey::from_bytes(&parse_hex(text.trim())?).ok()
}

/// Makes a random debit key in a new plain file, for tests and first trials: a real fleet's comes
/// from the depot.
pub fn generate_card(path: &Path) -> Result<(), CustodyError> {
    let Key(bytes) = &custody::random_key()?;
    let hex = Zeroizing::new(to_hex(bytes));
    let text = Zeroizing::new(format!("debit = \"{}\"\n", *hex));
    Ok(write_private(path, text.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_new_key_is_private_reads_back_and_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signing.key");
        let public = generate_signing(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let key = load_signing(&path).unwrap();
        assert_eq!(to_hex(key.verifying_key().as_bytes()), public);
        let again = generate_signing(&path);
        assert!(matches!(again, Err(CustodyError::File(FileError::Exists { .. }))));
        assert_eq!(load_signing(&path).unwrap(), key);
    }

    #[test]
    fn the_depots_file_names_one_key_or_two() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("depot.pub");
        let line = |seed| {
            let key = SigningKey::from_bytes(&[seed; 32]).verifying_key();
            format!("{}\n", to_hex(key.as_bytes()))
        };
        for (text, keys) in [
            (line(1), Some(1)),
            (line(1) + &line(2), Some(2)),
            (line(1) + &line(2) + &line(3), None),
            ("\n".to_owned(), None),
            (line(1) + "ab\n", None),
        ] {
            fs::write(&path, &text).unwrap();
            assert_eq!(load_depot(&path).ok().map(|keys| keys.len()), keys, "{text}");
        }
    }

    #[test]
    fn a_key_that_others_may_read_or_that_is_none_or_too_much_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("card.key");
        let load = || load_card(&Source::Plain(path.clone())).map(drop);
        generate_card(&path).unwrap();
        assert!(load().is_ok());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let exposed = load();
        assert!(matches!(exposed, Err(CustodyError::File(FileError::Exposed { .. }))));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "debit = \"00\"\n").unwrap();
        assert!(matches!(load(), Err(CustodyError::File(FileError::Contents { .. }))));
        fs::write(&path, format!("tmac = \"{}\"\n", "00".repeat(16))).unwrap();
        assert!(matches!(load(), Err(CustodyError::Missing { .. } | CustodyError::TooMuch { .. })));
        let both = format!("debit = \"{0}\"\nload = \"{0}\"\n", "00".repeat(16));
        fs::write(&path, both).unwrap();
        let error = load().unwrap_err();
        assert!(matches!(error, CustodyError::TooMuch { role: card::KeyRole::Load, .. }));
        assert!(error.to_string().contains("keys export-validator"), "{error}");
    }
}
