//! Reads the key files. Refuses files that others can read, so that a slip is seen at start.

use std::{
    fs,
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use ed25519_dalek::SigningKey;
use zeroize::Zeroizing;

use super::KeyFiles;

/// The depot's secrets.
pub struct Keys {
    /// Signs acknowledgements.
    pub signing: SigningKey,
    /// Master of the cards' Transaction MAC keys.
    pub tmac: Zeroizing<[u8; 16]>,
}

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read.
    #[error("cannot read the key file {path}: `depot-server init` makes missing keys")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It cannot be written.
    #[error("cannot write the key file {path}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Other users may read it.
    #[error("the key file {path} can be read by others: chmod 600 {path}")]
    Open {
        /// Which file.
        path: PathBuf,
    },
    /// Not the right number of hexadecimal digits.
    #[error("the key file {path} must hold {digits} hexadecimal digits on one line")]
    Format {
        /// Which file.
        path: PathBuf,
        /// How many.
        digits: usize,
    },
    /// The operating system gave no random bytes.
    #[error("the operating system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

impl Keys {
    /// Reads both files.
    pub fn load(files: &KeyFiles) -> Result<Self, KeyError> {
        let seed = Zeroizing::new(read_hex::<32>(&files.signing)?);
        Ok(Self {
            signing: SigningKey::from_bytes(&seed),
            tmac: Zeroizing::new(read_hex::<16>(&files.tmac)?),
        })
    }

    /// Makes whichever file is missing, with mode 0600, and returns what was made.
    pub fn create_missing(files: &KeyFiles) -> Result<Vec<PathBuf>, KeyError> {
        let mut made = Vec::new();
        for (path, bytes) in [(&files.signing, 32), (&files.tmac, 16)] {
            if path.exists() {
                continue;
            }
            let mut secret = Zeroizing::new(vec![0_u8; bytes]);
            getrandom::fill(&mut secret).map_err(KeyError::Random)?;
            write_hex(path, &secret)?;
            made.push(path.clone());
        }
        Ok(made)
    }
}

/// Exactly `N` bytes written as hexadecimal digits.
pub fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.trim().as_bytes();
    if digits.len() != 2 * N || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let nibble = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = (nibble(pair[0])? << 4) | nibble(pair[1])?;
    }
    Some(bytes)
}

/// Lower-case hexadecimal digits.
pub fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn read_hex<const N: usize>(path: &Path) -> Result<[u8; N], KeyError> {
    let read = |source| KeyError::Read { path: path.to_owned(), source };
    let mode = fs::metadata(path).map_err(read)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(KeyError::Open { path: path.to_owned() });
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(read)?);
    parse_hex(&text).ok_or_else(|| KeyError::Format { path: path.to_owned(), digits: 2 * N })
}

fn write_hex(path: &Path, secret: &[u8]) -> Result<(), KeyError> {
    let write = |source| KeyError::Write { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(write)?;
    }
    let text = Zeroizing::new(to_hex(secret));
    let options = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).clone();
    let mut file = options.open(path).map_err(write)?;
    file.write_all(text.as_bytes()).and_then(|()| file.write_all(b"\n")).map_err(write)?;
    file.sync_all().map_err(write)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path) -> KeyFiles {
        KeyFiles { signing: folder.join("k/sign.hex"), tmac: folder.join("k/tmac.hex") }
    }

    #[test]
    fn made_keys_can_be_read_and_are_never_made_twice() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        assert_eq!(Keys::create_missing(&files).unwrap().len(), 2);
        let first = Keys::load(&files).unwrap();
        assert!(Keys::create_missing(&files).unwrap().is_empty());
        assert_eq!(Keys::load(&files).unwrap().tmac, first.tmac);
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_cut_short_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        Keys::create_missing(&files).unwrap();
        fs::set_permissions(&files.tmac, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(Keys::load(&files), Err(KeyError::Open { .. })));
        fs::set_permissions(&files.tmac, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&files.tmac, "00ff\n").unwrap();
        assert!(matches!(Keys::load(&files), Err(KeyError::Format { digits: 32, .. })));
        fs::remove_file(&files.tmac).unwrap();
        assert!(matches!(Keys::load(&files), Err(KeyError::Read { .. })));
    }
}
