//! Private files: who may read them, and how they are written so that no crash loses a key.
//!
//! What a file holds is checked on the open file, so that it cannot be changed in between. Key
//! files are small: more than 64 KiB is not read.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

const BYTES_MAX: u64 = 64 * 1024;

/// Why a private file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read the key file {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write the key file {path}")]
    Write {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Others may read it, so it is no secret any more.
    #[error("the key file {path} may be read by others (mode {mode:o}): chmod 600 {path}")]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Another user can read and replace it.
    #[error("the key file {path} belongs to user {owner}: chown it to the user that runs this")]
    Foreign {
        /// Which.
        path: PathBuf,
        /// The user's number.
        owner: u32,
    },
    /// No key file is that long.
    #[error("{path} is no key file: it has {bytes} bytes")]
    Large {
        /// Which.
        path: PathBuf,
        /// How many.
        bytes: u64,
    },
    /// Nothing is overwritten.
    #[error("the key file {path} is there already and is not overwritten: move it away first")]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// It holds something else.
    #[error("the key file {path} is not understood: it must hold {expected}")]
    Contents {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        expected: String,
    },
}

/// The bytes of a file that only its owner can read: this user or root.
pub fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let failed = |source| FileError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    let mode = about.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(FileError::Exposed { path: path.to_owned(), mode });
    }
    let (owner, user) = (about.uid(), rustix::process::geteuid());
    if owner != 0 && owner != user.as_raw() && !user.is_root() {
        return Err(FileError::Foreign { path: path.to_owned(), owner });
    }
    read_open(path, file)
}

/// The bytes of an open file, if there are not too many.
pub(crate) fn read_open(path: &Path, file: File) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let failed = |source| FileError::Read { path: path.to_owned(), source };
    let bytes = file.metadata().map_err(failed)?.len();
    if bytes > BYTES_MAX {
        return Err(FileError::Large { path: path.to_owned(), bytes });
    }
    let room = usize::try_from(bytes).unwrap_or(0);
    // As long as the file, so that no shorter copy is left behind by growing.
    let mut contents = Zeroizing::new(Vec::with_capacity(room + 1));
    file.take(BYTES_MAX).read_to_end(&mut contents).map_err(failed)?;
    Ok(contents)
}

/// Writes a new private file; an existing one is left alone.
pub fn write_private(path: &Path, contents: &[u8]) -> Result<(), FileError> {
    let new = write_beside(path, contents)?;
    // A link, unlike a rename, fails when the name is taken.
    let linked = fs::hard_link(&new, path);
    let _ = fs::remove_file(&new);
    match linked {
        Ok(()) => sync_folder(path),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            Err(FileError::Exists { path: path.to_owned() })
        }
        Err(source) => Err(FileError::Write { path: path.to_owned(), source }),
    }
}

/// Replaces a private file: after a crash either the old one or the new one is there, whole.
pub(crate) fn replace_private(path: &Path, contents: &[u8]) -> Result<(), FileError> {
    let new = write_beside(path, contents)?;
    let failed = |source| FileError::Write { path: path.to_owned(), source };
    fs::rename(&new, path).map_err(failed)?;
    sync_folder(path)
}

fn write_beside(path: &Path, contents: &[u8]) -> Result<PathBuf, FileError> {
    let failed = |source| FileError::Write { path: path.to_owned(), source };
    let folder = folder(path);
    fs::create_dir_all(folder).map_err(failed)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let new = folder.join(name);
    // Left by a crash of a process that had this number.
    let _ = fs::remove_file(&new);
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&new).map_err(failed)?;
    let written = file.write_all(contents).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written.map_err(failed)?;
    Ok(new)
}

fn sync_folder(path: &Path) -> Result<(), FileError> {
    let synced = File::open(folder(path)).and_then(|folder| folder.sync_all());
    synced.map_err(|source| FileError::Write { path: path.to_owned(), source })
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// `N` bytes from a private file of hexadecimal digits.
pub fn read_hex<const N: usize>(path: &Path) -> Result<Zeroizing<[u8; N]>, FileError> {
    let bytes = read_private(path)?;
    let text = std::str::from_utf8(&bytes).ok();
    text.and_then(parse_hex).map(Zeroizing::new).ok_or_else(|| FileError::Contents {
        path: path.to_owned(),
        expected: format!("{} hexadecimal digits on one line", 2 * N),
    })
}

/// Writes bytes as hexadecimal digits to a new private file.
pub fn write_hex(path: &Path, secret: &[u8]) -> Result<(), FileError> {
    let mut text = Zeroizing::new(String::with_capacity(2 * secret.len() + 1));
    push_hex(&mut text, secret);
    text.push('\n');
    write_private(path, text.as_bytes())
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
    let mut text = String::with_capacity(2 * bytes.len());
    push_hex(&mut text, bytes);
    text
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    use std::fmt::Write as _;
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn a_private_file_is_written_once_reads_back_and_leaves_nothing_beside_it() {
        let folder = folder();
        let path = folder.path().join("keys/a.key");
        write_private(&path, b"secret").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(write_private(&path, b"other"), Err(FileError::Exists { .. })));
        assert_eq!(*read_private(&path).unwrap(), b"secret");
        replace_private(&path, b"newer").unwrap();
        assert_eq!(*read_private(&path).unwrap(), b"newer");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_with_the_command_that_helps() {
        let folder = folder();
        let path = folder.path().join("a.key");
        write_private(&path, b"secret").unwrap();
        for mode in [0o640, 0o604, 0o610, 0o666] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = read_private(&path).unwrap_err();
            assert!(matches!(error, FileError::Exposed { .. }));
            let wanted = format!("(mode {mode:o}): chmod 600 {}", path.display());
            assert!(error.to_string().ends_with(&wanted), "{error}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        assert!(read_private(&path).is_ok());
    }

    #[test]
    fn what_is_no_key_file_is_refused() {
        let folder = folder();
        let path = folder.path().join("a.key");
        assert!(matches!(read_private(&path), Err(FileError::Read { .. })));
        write_private(&path, &vec![b'0'; 70_000]).unwrap();
        assert!(matches!(read_private(&path), Err(FileError::Large { bytes: 70_000, .. })));
        replace_private(&path, b"00ff").unwrap();
        assert!(matches!(read_hex::<16>(&path), Err(FileError::Contents { .. })));
        assert_eq!(*read_hex::<2>(&path).unwrap(), [0, 0xFF]);
        replace_private(&path, b"\xFF\xFE").unwrap();
        assert!(matches!(read_hex::<1>(&path), Err(FileError::Contents { .. })));
    }
}
