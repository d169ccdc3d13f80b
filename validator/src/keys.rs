//! Key files: who may read them, what is in them, and how new ones are made.
//!
//! A key never stands in the configuration, in the environment or in a log. A key file that others
//! may read is refused, because then it is no secret any more.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use card::{CardKeys, Key, KeySet};
use ed25519_dalek::{SigningKey, VerifyingKey};
use model::CardId;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::config::Keys;

/// All keys of a validator.
#[derive(Clone)]
pub struct DeviceKeys {
    /// Signs its batches and states.
    pub signing: SigningKey,
    /// Opens cards for debiting.
    pub card: KeySet,
    /// Checks what the depot says.
    pub depot: VerifyingKey,
}

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It could not be read or written.
    #[error("cannot use the key file {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Others may read it.
    #[error("the key file {path} may be read by others (mode {mode:o}): chmod 600 it")]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It holds something else.
    #[error("the key file {path} is not understood: {expected}")]
    Contents {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
}

/// The file of the card keys. A validator holds the debit key only (SEC-7).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CardKeyFile {
    debit: String,
}

const SIGNING: &str = "64 hexadecimal digits, as `validator keygen` writes them";
const CARD: &str = "a line such as debit = \"…\" with 32 hexadecimal digits, and no other key";
const DEPOT: &str = "the 64 hexadecimal digits of the depot's public key";

impl DeviceKeys {
    /// Reads all key files.
    pub fn load(files: &Keys) -> Result<Self, KeyFileError> {
        Ok(Self {
            signing: load_signing(&files.signing)?,
            card: load_card(&files.card)?,
            depot: load_depot(&files.depot)?,
        })
    }
}

/// The validator's own signing key.
pub fn load_signing(path: &Path) -> Result<SigningKey, KeyFileError> {
    let text = read_secret(path)?;
    let seed = Zeroizing::new(hex32(text.trim()).ok_or_else(|| contents(path, SIGNING))?);
    Ok(SigningKey::from_bytes(&seed))
}

/// The card keys.
pub fn load_card(path: &Path) -> Result<KeySet, KeyFileError> {
    let text = read_secret(path)?;
    let file: CardKeyFile = toml::from_str(&text).map_err(|_| contents(path, CARD))?;
    let hex = Zeroizing::new(file.debit);
    let debit = Key::from_hex(&hex).ok_or_else(|| contents(path, CARD))?;
    let keys = KeySet::validator(debit);
    keys.debit_key(&CardId([0; 7])).map_err(|_| contents(path, CARD))?;
    Ok(keys)
}

/// The depot's public key.
pub fn load_depot(path: &Path) -> Result<VerifyingKey, KeyFileError> {
    let text = fs::read_to_string(path).map_err(|source| file(path, source))?;
    hex32(text.trim())
        .and_then(|bytes| VerifyingKey::from_bytes(&bytes).ok())
        .ok_or_else(|| contents(path, DEPOT))
}

/// Makes a signing key in a new file and returns the public key's 64 digits, which the depot is
/// told when the validator is provisioned. An existing file is never overwritten.
pub fn generate_signing(path: &Path) -> Result<String, KeyFileError> {
    let mut seed = Zeroizing::new([0_u8; 32]);
    getrandom::fill(seed.as_mut()).map_err(|e| file(path, io::Error::other(e.to_string())))?;
    let key = SigningKey::from_bytes(&seed);
    write_secret(path, &Zeroizing::new(format!("{}\n", to_hex(seed.as_ref()))))?;
    Ok(to_hex(key.verifying_key().as_bytes()))
}

/// Makes a random debit key in a new file, for tests and first trials: a real fleet's comes from
/// the depot.
pub fn generate_card(path: &Path) -> Result<(), KeyFileError> {
    let mut key = Zeroizing::new([0_u8; 16]);
    getrandom::fill(key.as_mut()).map_err(|e| file(path, io::Error::other(e.to_string())))?;
    write_secret(path, &Zeroizing::new(format!("debit = \"{}\"\n", to_hex(key.as_ref()))))
}

fn read_secret(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let mode = fs::metadata(path).map_err(|source| file(path, source))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Exposed { path: path.to_path_buf(), mode: mode & 0o777 });
    }
    fs::read_to_string(path).map(Zeroizing::new).map_err(|source| file(path, source))
}

fn write_secret(path: &Path, text: &str) -> Result<(), KeyFileError> {
    let write = || {
        let mut options = OpenOptions::new();
        let mut out = options.write(true).create_new(true).mode(0o600).open(path)?;
        out.write_all(text.as_bytes())?;
        out.sync_all()
    };
    write().map_err(|source| file(path, source))
}

fn file(path: &Path, source: io::Error) -> KeyFileError {
    KeyFileError::File { path: path.to_path_buf(), source }
}

fn contents(path: &Path, expected: &'static str) -> KeyFileError {
    KeyFileError::Contents { path: path.to_path_buf(), expected }
}

fn hex32(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(bytes)
}

fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut s, b| {
        let _ = write!(s, "{b:02x}");
        s
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_private_reads_back_and_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signing.key");
        let public = generate_signing(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let key = load_signing(&path).unwrap();
        assert_eq!(to_hex(key.verifying_key().as_bytes()), public);
        assert!(matches!(generate_signing(&path), Err(KeyFileError::File { .. })));
        assert_eq!(load_signing(&path).unwrap(), key);
    }

    #[test]
    fn a_key_that_others_may_read_or_that_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("card.key");
        generate_card(&path).unwrap();
        assert!(load_card(&path).is_ok());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(load_card(&path), Err(KeyFileError::Exposed { mode: 0o640, .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "debit = \"00\"\n").unwrap();
        assert!(matches!(load_card(&path), Err(KeyFileError::Contents { .. })));
        fs::write(&path, "tmac = \"00\"\n").unwrap();
        assert!(matches!(load_card(&path), Err(KeyFileError::Contents { .. })));
    }
}
