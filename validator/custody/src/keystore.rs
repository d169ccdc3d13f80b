//! The software keystore: all master keys of one place in one sealed file, version 1.
//!
//! ```text
//!  0..8   "TAPLKEYS"                         45..47  length n of what is sealed, LSB first
//!  8      format: 1                          47..55  check of the unlock secret
//!  9..13  Argon2id memory, KiB, LSB first    55..    n bytes sealed by ChaCha20-Poly1305
//! 13..17  passes, LSB first                  …+16    its tag
//! 17..33  salt                               …+4     CRC-32C of all before it, LSB first
//! 33..45  nonce
//! ```
//!
//! Argon2id 1.3, one lane, makes 40 bytes of the unlock secret and the salt: the key (32) and the
//! check (8). Bytes 0..55 are authenticated with what is sealed: a master key each, in the order
//! of role label and version: label, version, 1 when current else 0, key (16).
//!
//! Salt and nonce are new whenever the file is written. The check tells a wrong secret from a
//! changed file and costs an attacker nothing that the tag would not give him.

use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use card::{CardKeys, Key, KeyRole, KeySet, KeyVersion};
use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit,
    aead::{Aead, Payload},
};
use zeroize::Zeroizing;

use crate::{
    CustodyError,
    file::{read_open, read_private, replace_private, write_private},
};

const MAGIC: &[u8; 8] = b"TAPLKEYS";
const FORMAT: u8 = 1;
const HEAD: usize = 55;
const TAG: usize = 16;
const CRC: usize = 4;
const ENTRY: usize = 19;
/// More would make a file from somebody else a way to stop this machine.
const MEMORY_KIB_MAX: u32 = 1024 * 1024;
const PASSES_MAX: u32 = 64;
/// A shorter secret is guessed sooner than it is typed.
const UNLOCK_MIN: usize = 16;

/// What guessing one unlock secret costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Memory, KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
}

impl Cost {
    /// 19 MiB and two passes: what a small validator can spare at start.
    pub const USUAL: Self = Self { memory_kib: 19 * 1024, passes: 2 };
}

/// Why the bytes are no keystore that can be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeystoreError {
    /// Something else.
    #[error("it is no keystore")]
    NotAKeystore,
    /// Made by a newer program.
    #[error("its format {0} is unknown here: a newer version of this program made it")]
    UnknownFormat(u8),
    /// It ends too early, or too late.
    #[error("it has {found} bytes where {expected} belong: restore it from a backup")]
    Truncated {
        /// How many bytes there should be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// Its checksum is wrong.
    #[error("it is damaged: restore it from a backup")]
    Damaged,
    /// The costs of its key are absurd.
    #[error("its costs are out of bounds: it was made to stop this machine")]
    Costs,
    /// The secret is not the one that it was sealed with.
    #[error("the unlock secret is another one than it was sealed with")]
    WrongSecret,
    /// The checksum is right, the seal is not.
    #[error("somebody changed it: do not use it, and find out who")]
    Changed,
    /// Sealed by us, and yet no list of keys.
    #[error("what is sealed in it is no list of keys")]
    Contents,
}

/// Why there is no unlock secret.
#[derive(Debug, thiserror::Error)]
pub enum UnlockError {
    /// A name without a slash is a credential of the service manager.
    #[error(
        "the unlock secret {0} is a credential, and no service manager gave any: write \
         LoadCredential={0}:/path into the unit, or name a file by its whole path"
    )]
    NoCredentials(String),
    /// Too easy to guess.
    #[error(
        "the unlock secret {0} is shorter than {UNLOCK_MIN} characters: make one with \
         `openssl rand -hex 32`"
    )]
    Short(String),
}

/// The secret that opens keystores or tokens: a file's first line. A name without a slash is looked
/// for in `$CREDENTIALS_DIRECTORY`, where the service manager guards it.
pub fn unlock(path: &Path) -> Result<Zeroizing<Vec<u8>>, CustodyError> {
    let secret = read_secret(path)?;
    if secret.len() < UNLOCK_MIN {
        return Err(UnlockError::Short(path.display().to_string()).into());
    }
    Ok(secret)
}

/// The same for a PIN, which tokens guard against guessing by themselves.
pub(crate) fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, CustodyError> {
    let name = path.display().to_string();
    let mut secret = if name.contains('/') {
        read_private(path)?
    } else {
        let folder = std::env::var_os("CREDENTIALS_DIRECTORY")
            .ok_or_else(|| UnlockError::NoCredentials(name.clone()))?;
        // Its rights are access lists, which the mode bits do not show.
        let path = Path::new(&folder).join(&name);
        let failed = |source| crate::FileError::Read { path: path.clone(), source };
        let file = std::fs::File::open(&path).map_err(failed)?;
        read_open(&path, file)?
    };
    let line = secret.iter().position(|b| matches!(b, b'\r' | b'\n')).unwrap_or(secret.len());
    secret.truncate(line);
    Ok(secret)
}

/// Opens the keystore at `path`.
pub fn load(path: &Path, secret: &[u8]) -> Result<KeySet, CustodyError> {
    let bytes = read_private(path)?;
    unseal(&bytes, secret)
        .map_err(|source| CustodyError::Keystore { path: path.to_owned(), source })
}

/// Seals `keys` into a new file.
pub fn save_new(path: &Path, keys: &KeySet, secret: &[u8]) -> Result<(), CustodyError> {
    Ok(write_private(path, &sealed_now(keys, secret)?)?)
}

/// Seals `keys` into the place of the keystore at `path`. A crash leaves one of the two, whole.
pub fn replace(path: &Path, keys: &KeySet, secret: &[u8]) -> Result<(), CustodyError> {
    Ok(replace_private(path, &sealed_now(keys, secret)?)?)
}

fn sealed_now(keys: &KeySet, secret: &[u8]) -> Result<Vec<u8>, CustodyError> {
    let (mut salt, mut nonce) = ([0; 16], [0; 12]);
    for bytes in [&mut salt[..], &mut nonce] {
        crate::parts::fill(bytes)?;
    }
    Ok(seal(keys, secret, Cost::USUAL, salt, nonce))
}

/// The bytes of a keystore. Salt and nonce must be fresh and random.
pub fn seal(keys: &KeySet, secret: &[u8], cost: Cost, salt: [u8; 16], nonce: [u8; 12]) -> Vec<u8> {
    let plain = entries(keys);
    let length = u16::try_from(plain.len()).expect("four roles of 255 versions are 19,380 bytes");
    let derived = derive(secret, cost, &salt).expect("our own costs are within bounds");
    let mut out = Vec::with_capacity(HEAD + plain.len() + TAG + CRC);
    out.extend_from_slice(MAGIC);
    out.push(FORMAT);
    out.extend_from_slice(&cost.memory_kib.to_le_bytes());
    out.extend_from_slice(&cost.passes.to_le_bytes());
    out.extend_from_slice(&salt);
    out.extend_from_slice(&nonce);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&derived[32..]);
    let payload = Payload { msg: &plain, aad: &out };
    let sealed = cipher(&derived).encrypt(&nonce.into(), payload);
    out.extend(sealed.expect("a few bytes can always be sealed"));
    out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
    out
}

/// The keys in the bytes of a keystore.
pub fn unseal(bytes: &[u8], secret: &[u8]) -> Result<KeySet, KeystoreError> {
    if !bytes.starts_with(MAGIC) {
        return Err(KeystoreError::NotAKeystore);
    }
    match bytes.get(8) {
        Some(&FORMAT) | None => {}
        Some(&other) => return Err(KeystoreError::UnknownFormat(other)),
    }
    let least = HEAD + TAG + CRC;
    let head: &[u8; HEAD] = bytes
        .first_chunk()
        .ok_or(KeystoreError::Truncated { expected: least, found: bytes.len() })?;
    let length = usize::from(u16::from_le_bytes([head[45], head[46]]));
    if bytes.len() != least + length {
        return Err(KeystoreError::Truncated { expected: least + length, found: bytes.len() });
    }
    let (signed, crc) = bytes.split_last_chunk::<CRC>().ok_or(KeystoreError::Damaged)?;
    if crc32c::crc32c(signed).to_le_bytes() != *crc {
        return Err(KeystoreError::Damaged);
    }
    let number =
        |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let cost = Cost { memory_kib: number(9), passes: number(13) };
    let salt: [u8; 16] = core::array::from_fn(|i| head[17 + i]);
    let nonce: [u8; 12] = core::array::from_fn(|i| head[33 + i]);
    let derived = derive(secret, cost, &salt).ok_or(KeystoreError::Costs)?;
    if !card::crypto::same_mac(&derived[32..], &head[47..]) {
        return Err(KeystoreError::WrongSecret);
    }
    let payload = Payload { msg: &signed[HEAD..], aad: head };
    let plain = cipher(&derived).decrypt(&nonce.into(), payload);
    let plain = Zeroizing::new(plain.map_err(|_| KeystoreError::Changed)?);
    parse_entries(&plain).ok_or(KeystoreError::Contents)
}

fn cipher(derived: &[u8; 40]) -> ChaCha20Poly1305 {
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(&derived[..32]);
    ChaCha20Poly1305::new((&*key).into())
}

/// `None` when the costs are absurd.
fn derive(secret: &[u8], cost: Cost, salt: &[u8]) -> Option<Zeroizing<[u8; 40]>> {
    if cost.memory_kib > MEMORY_KIB_MAX || cost.passes > PASSES_MAX {
        return None;
    }
    let params = Params::new(cost.memory_kib, cost.passes, 1, Some(40)).ok()?;
    let mut derived = Zeroizing::new([0; 40]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(secret, salt, &mut derived[..])
        .ok()?;
    Some(derived)
}

fn entries(keys: &KeySet) -> Zeroizing<Vec<u8>> {
    let held: Vec<_> = KeyRole::ALL
        .into_iter()
        .flat_map(|role| keys.versions(role).into_iter().rev().map(move |version| (role, version)))
        .collect();
    let mut plain = Zeroizing::new(Vec::with_capacity(held.len() * ENTRY));
    for (role, version) in held {
        let master = keys.master(role, version).expect("a listed version is held");
        let current = keys.current(role) == Ok(version);
        plain.extend_from_slice(&[role.label(), version.0, u8::from(current)]);
        plain.extend_from_slice(&master.0);
    }
    plain
}

/// `None` unless it is exactly what `entries` writes.
fn parse_entries(plain: &[u8]) -> Option<KeySet> {
    let (entries, []) = plain.as_chunks::<ENTRY>() else { return None };
    let mut keys = KeySet::default();
    let mut currents = Vec::new();
    for [label, version, current, master @ ..] in entries {
        let role = KeyRole::ALL.into_iter().find(|role| role.label() == *label)?;
        let version = KeyVersion(*version);
        keys = keys.with(role, version, Key(*master));
        if *current == 1 {
            currents.push((role, version));
        }
    }
    for (role, version) in currents {
        keys.set_current(role, version).ok()?;
    }
    // Order, flags and repetitions: what is not canonical was not written by us.
    (*self::entries(&keys) == plain).then_some(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"correct horse battery staple";
    const CHEAP: Cost = Cost { memory_kib: 8, passes: 1 };

    /// Of every role; debit in versions 1 and 2, of which 1 is current.
    fn keys() -> KeySet {
        let mut keys = KeySet::default();
        for (i, role) in (1..).zip(KeyRole::ALL) {
            keys = keys.with(role, KeyVersion::FIRST, Key([i; 16]));
        }
        keys = keys.with(KeyRole::Debit, KeyVersion(2), Key([0x22; 16]));
        keys.set_current(KeyRole::Debit, KeyVersion::FIRST).unwrap();
        keys
    }

    fn sealed() -> Vec<u8> {
        seal(&keys(), SECRET, CHEAP, [0x51; 16], [0x4E; 12])
    }

    /// With the checksum that somebody who changes it would put there.
    fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
        bytes.truncate(bytes.len() - CRC);
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn same(a: &KeySet, b: &KeySet) -> bool {
        *entries(a) == *entries(b)
    }

    #[test]
    fn what_was_sealed_is_unsealed_with_its_versions_and_its_currents() {
        for keys in [keys(), keys().for_validator(), KeySet::default()] {
            let bytes = seal(&keys, SECRET, CHEAP, [1; 16], [2; 12]);
            assert!(same(&unseal(&bytes, SECRET).unwrap(), &keys));
        }
    }

    #[test]
    fn the_keystore_of_format_1_stays_readable_for_ever() {
        let path = "../../tests/vectors/keys/keystore1.bin";
        let golden = include_bytes!("../../../tests/vectors/keys/keystore1.bin");
        assert_eq!(golden.as_slice(), sealed(), "{path} is added to, never edited");
        let keys = unseal(golden, SECRET).unwrap();
        assert_eq!(keys.versions(KeyRole::Debit), [KeyVersion(2), KeyVersion(1)]);
        assert_eq!(keys.current(KeyRole::Debit), Ok(KeyVersion(1)));
        assert_eq!(keys.master(KeyRole::Tmac, KeyVersion(1)), Some(&Key([4; 16])));
    }

    #[test]
    fn every_flipped_bit_is_seen_even_by_somebody_who_corrects_the_checksum() {
        let bytes = sealed();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x01;
            let seen = unseal(&flipped, SECRET).unwrap_err();
            let expected = match at {
                0..8 => KeystoreError::NotAKeystore,
                8 => KeystoreError::UnknownFormat(0),
                45..47 => {
                    assert!(matches!(seen, KeystoreError::Truncated { .. }), "{at}: {seen}");
                    continue;
                }
                _ => KeystoreError::Damaged,
            };
            assert_eq!(seen, expected, "byte {at}");
            if at < bytes.len() - CRC && at > 8 {
                let seen = unseal(&with_checksum(flipped), SECRET).unwrap_err();
                let expected = match at {
                    // Below eight KiB Argon2 cannot work; other costs and salts derive another key.
                    9..33 => matches!(seen, KeystoreError::WrongSecret | KeystoreError::Costs),
                    47..55 => seen == KeystoreError::WrongSecret,
                    _ => seen == KeystoreError::Changed,
                };
                assert!(expected, "byte {at}: {seen}");
            }
        }
    }

    #[test]
    fn a_wrong_secret_a_short_file_a_long_one_and_absurd_costs_have_their_own_names() {
        let bytes = sealed();
        assert_eq!(unseal(&bytes, b"another secret").unwrap_err(), KeystoreError::WrongSecret);
        for length in 0..bytes.len() {
            let seen = unseal(&bytes[..length], SECRET).unwrap_err();
            let expected = if length < 8 {
                seen == KeystoreError::NotAKeystore
            } else {
                matches!(seen, KeystoreError::Truncated { found, .. } if found == length)
            };
            assert!(expected, "{length} bytes: {seen}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(matches!(unseal(&longer, SECRET), Err(KeystoreError::Truncated { .. })));
        let mut newer = bytes.clone();
        newer[8] = 2;
        assert_eq!(unseal(&newer, SECRET).unwrap_err(), KeystoreError::UnknownFormat(2));
        let mut greedy = bytes;
        greedy[12] = 0xFF;
        assert_eq!(unseal(&with_checksum(greedy), SECRET).unwrap_err(), KeystoreError::Costs);
    }

    #[test]
    fn no_key_stands_in_the_file_and_no_two_files_are_alike() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cards.keys");
        save_new(&path, &keys(), SECRET).unwrap();
        let first = std::fs::read(&path).unwrap();
        for byte in [1, 2, 3, 4, 0x22] {
            assert!(!first.windows(4).any(|window| window == [byte; 4]));
        }
        let error = save_new(&path, &keys(), SECRET).unwrap_err();
        assert!(matches!(error, CustodyError::File(crate::FileError::Exists { .. })));
        replace(&path, &keys(), SECRET).unwrap();
        assert_ne!(std::fs::read(&path).unwrap()[17..], first[17..], "salt and nonce are fresh");
        assert!(same(&load(&path, SECRET).unwrap(), &keys()));
    }

    #[test]
    fn what_is_sealed_and_is_no_list_of_keys_is_refused() {
        let good = entries(&keys());
        for (name, plain) in [
            ("short", good[1..].to_vec()),
            ("unknown role", [&[9], &good[1..]].concat()),
            ("flag", [&good[..2], &[7], &good[3..]].concat()),
            ("twice", [&good[..ENTRY], &good[..]].concat()),
            ("order", [&good[ENTRY..], &good[..ENTRY]].concat()),
            ("no current", [&good[..2], &[0], &good[3..]].concat()),
        ] {
            // A version that is alone is current whatever its flag says.
            assert!(parse_entries(&plain).is_none(), "{name}");
        }
    }

    #[test]
    fn an_unlock_secret_is_the_first_line_of_a_private_file_and_long_enough() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("unlock");
        write_private(&path, b"0123456789abcdef\r\nrest\n").unwrap();
        assert_eq!(*unlock(&path).unwrap(), b"0123456789abcdef");
        replace_private(&path, b"0123456789abcde\n").unwrap();
        assert!(matches!(unlock(&path), Err(CustodyError::Unlock(UnlockError::Short(_)))));
        let error = unlock(Path::new("tapline-unlock")).unwrap_err().to_string();
        assert!(error.contains("LoadCredential=tapline-unlock:"), "{error}");
    }
}
