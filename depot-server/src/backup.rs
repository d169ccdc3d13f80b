//! Copies of the books: made beside a running server, brought back, and proven equal by a hash.
//!
//! A copy is written under another name, checked, made durable and only then given its name; a
//! restore does the same, and keeps what it replaces. So whatever is cut off half way, no file
//! under a right name is half a file.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::fsync;

use crate::store::{Store, StoreError, leave_alone, state_hash};

/// Why books were not copied.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Something is there already.
    #[error("{0} exists: give the copy another name")]
    Exists(PathBuf),
    /// The books are in use or would be lost.
    #[error(
        "{0} holds books: stop the server and add --replace, they are kept beside the new ones"
    )]
    Occupied(PathBuf),
    /// A server or a command works with them.
    #[error("{0} is in use: stop the server first")]
    InUse(PathBuf),
    /// The copy is not what was copied.
    #[error("the copy in {0} is not what was read: the disk or its memory is not to be trusted")]
    Differs(PathBuf),
    /// A file.
    #[error("cannot {what} {path}")]
    File {
        /// What was to be done.
        what: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The books, or what should be books.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::File { what, path, source }
}

/// Copies the books as they stand at one moment; returns the hash of the copy.
pub fn backup(store: &Store, to: &Path) -> Result<[u8; 32], BackupError> {
    if to.exists() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    let part = beside(to, "part");
    remove(&part)?;
    store.copy_into(&part)?;
    fs::set_permissions(&part, Permissions::from_mode(0o600)).map_err(file("protect", &part))?;
    let hash = state_hash(&part)?;
    settle(&part, to)?;
    Ok(hash)
}

/// Puts a copy in the place of the books; returns its hash, and where replaced books are kept.
pub fn restore(
    from: &Path,
    database: &Path,
    replace: bool,
) -> Result<([u8; 32], Option<PathBuf>), BackupError> {
    let hash = state_hash(from)?;
    let occupied = database.exists();
    if occupied && !replace {
        return Err(BackupError::Occupied(database.to_owned()));
    }
    let part = beside(database, "part");
    remove(&part)?;
    fs::copy(from, &part).map_err(file("copy", from))?;
    fs::set_permissions(&part, Permissions::from_mode(0o600)).map_err(file("protect", &part))?;
    if state_hash(&part)? != hash {
        return Err(BackupError::Differs(part));
    }
    let kept = if occupied { Some(set_aside(database)?) } else { None };
    settle(&part, database)?;
    Ok((hash, kept))
}

/// Moves books away whole: their log of writes belongs to them.
fn set_aside(database: &Path) -> Result<PathBuf, BackupError> {
    // Alone with them, the log of writes is emptied into the file and goes away.
    if !leave_alone(database)? {
        return Err(BackupError::InUse(database.to_owned()));
    }
    let mut number = 1_u32;
    let kept = loop {
        let kept = beside(database, &format!("replaced-{number}"));
        if !kept.exists() {
            break kept;
        }
        number += 1;
    };
    fs::rename(database, &kept).map_err(file("keep", database))?;
    // Only books that are damaged still have these; they may hold what is left to save.
    for ending in ["-wal", "-shm"] {
        let log = named(database, ending);
        if log.exists() {
            fs::rename(&log, named(&kept, ending)).map_err(file("keep", &log))?;
        }
    }
    Ok(kept)
}

/// Durable under its right name.
fn settle(part: &Path, to: &Path) -> Result<(), BackupError> {
    let written = File::open(part).map_err(file("open", part))?;
    fsync(&written).map_err(|e| file("sync", part)(e.into()))?;
    fs::rename(part, to).map_err(file("rename", part))?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let opened = File::open(folder).map_err(file("open", folder))?;
    fsync(&opened).map_err(|e| file("sync", folder)(e.into()))
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    named(path, &format!(".{ending}"))
}

fn named(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn remove(path: &Path) -> Result<(), BackupError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file("remove", path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::days::tests::Rig;

    #[test]
    fn a_backup_beside_a_busy_server_verifies_and_a_restored_one_is_the_same_by_its_hash() {
        let mut rig = Rig::new();
        let folder = tempfile::tempdir().unwrap();
        let stop = AtomicBool::new(false);
        let store = std::sync::Arc::clone(&rig.place.store);
        let copies: Vec<PathBuf> =
            (0..3).map(|n| folder.path().join(format!("{n}.copy"))).collect();
        std::thread::scope(|scope| {
            let booking = scope.spawn(|| {
                let mut booked = 0;
                while !stop.load(Ordering::Relaxed) || booked < 20 {
                    rig.board(0, booked % 5, 10 * booked);
                    rig.deliver(0);
                    booked += 1;
                }
                booked
            });
            for copy in &copies {
                backup(&store, copy).unwrap();
            }
            stop.store(true, Ordering::Relaxed);
            assert!(booking.join().unwrap() >= 20);
        });
        for copy in &copies {
            let [quick, full] = rig.differences_of(copy);
            assert_eq!((quick, full), (None, None));
        }
        let last = folder.path().join("last.copy");
        let hash = backup(&store, &last).unwrap();
        assert_eq!(fs::metadata(&last).unwrap().permissions().mode() & 0o777, 0o600);
        let place = folder.path().join("depot.sqlite");
        assert_eq!(restore(&last, &place, false).unwrap(), (hash, None));
        assert_eq!(state_hash(&place).unwrap(), hash);
        assert_eq!(rig.differences_of(&place), [None, None]);
    }

    #[test]
    fn nothing_is_overwritten_unasked_and_no_books_are_lost() {
        let rig = Rig::new();
        let folder = tempfile::tempdir().unwrap();
        let (copy, place) = (folder.path().join("copy"), folder.path().join("depot.sqlite"));
        let hash = backup(&rig.place.store, &copy).unwrap();
        let again = backup(&rig.place.store, &copy);
        assert!(matches!(again, Err(BackupError::Exists(_))));
        restore(&copy, &place, false).unwrap();
        assert!(matches!(restore(&copy, &place, false), Err(BackupError::Occupied(_))));
        {
            let server = Store::open(&place).unwrap();
            let group = server.begin().unwrap();
            let busy = restore(&copy, &place, true);
            assert!(matches!(busy, Err(BackupError::InUse(_))), "{busy:?}");
            drop(group);
        }
        let (restored, kept) = restore(&copy, &place, true).unwrap();
        assert_eq!((restored, state_hash(&place).unwrap()), (hash, hash));
        assert_eq!(state_hash(&kept.unwrap()).unwrap(), hash);
        fs::write(&place, "books that a disk has eaten, which is why one restores").unwrap();
        let (restored, kept) = restore(&copy, &place, true).unwrap();
        assert_eq!(restored, hash);
        assert!(fs::read(kept.unwrap()).unwrap().starts_with(b"books that"));
    }

    #[test]
    fn a_copy_that_was_cut_short_or_is_no_database_is_refused() {
        let rig = Rig::new();
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("copy");
        backup(&rig.place.store, &copy).unwrap();
        let bytes = fs::read(&copy).unwrap();
        fs::write(&copy, &bytes[..bytes.len() / 2]).unwrap();
        let place = folder.path().join("depot.sqlite");
        assert!(matches!(restore(&copy, &place, false), Err(BackupError::Store(_))));
        fs::write(&copy, "no database, but long enough to be looked at as one").unwrap();
        assert!(matches!(restore(&copy, &place, false), Err(BackupError::Store(_))));
        assert!(!place.exists());
    }
}
