//! The books on disk. The only folder that names the database (SQLite).
//!
//! Invariants: one writer at a time; everything that one commit tells is durable when `commit`
//! returns (WAL, synchronous = FULL); the journal is only appended to. Nothing here decides about
//! money: it loads states, hands them to the cores and keeps what they return.
//!
//! Signatures hold plain model types, so that another database can stand behind the same names.

mod auto;
mod blocked;
mod cases;
mod channels;
mod charges;
mod clocks;
mod codes;
mod credit;
mod days;
mod decision_journal;
mod desk;
mod due;
mod error;
mod event_journal;
mod evidence;
mod findings;
mod fleet;
mod group;
mod handles;
mod holding;
mod hotlist;
mod issuers;
mod journal;
mod list_keys;
mod lists;
mod login;
mod office;
mod orders;
mod products;
mod quarantine;
mod queries;
mod quota;
mod replay;
mod schema;
mod settle;
mod shown;
mod steering;
mod sums;
mod tariffs;
mod tickets;
mod walk;
mod work;
mod write;

use std::{
    ops::Deref,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags};

pub use auto::ToCollect;
pub use cases::{CaseFilter, CaseGroup};
pub use channels::{ChannelTally, StatementRow};
pub use charges::{CreditCharge, CreditTap};
pub use credit::CreditPayment;
pub use days::{ClosedDay, DayAccount};
pub use desk::{Begun, CardOp};
pub use due::OwedDay;
pub use error::StoreError;
pub(crate) use event_journal::EventRow;
pub use findings::Findings;
pub use fleet::Enrolment;
pub use group::Group;
pub(crate) use holding::{HeldCard, state_hash};
pub use hotlist::{HotlistBook, ListMade, OpenBreaker};
pub(crate) use issuers::issuer_word;
pub use issuers::{Issuers, IssuersError};
pub use journal::JournalRow;
pub(crate) use journal::Registered;
pub use list_keys::{KeptListKey, Recipient, SealSurvey, Withheld};
pub use lists::Published;
pub use office::OpenDoubt;
pub(crate) use office::WorkItem;
pub use quarantine::Quarantined;
pub use queries::ReadModel;
pub use quota::Quota;
pub use replay::CardHistory;
pub use settle::{SettledRow, Suspense};
pub(crate) use shown::facts;
pub use steering::SteeringBook;
pub use tickets::KnownTicket;

/// Readers kept open.
const READERS_MAX: usize = 8;
/// Kibibytes, negative by SQLite's convention: the rows of a million cards stay in memory. A group
/// touches a page per card, so a checkpoint after every group would write each page twice; the log
/// may therefore grow to 256 MiB first.
const WRITER_CACHE: i64 = -256 * 1024;
/// How long a command waits for the server's writer, and the other way round.
const BUSY: Duration = Duration::from_secs(10);

/// The books. Shared by reference; reads run beside the writer.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
    handles: handles::Handles,
}

impl Store {
    /// Opens the books, makes them when missing, and brings their schema up to date.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::with(path, connect(path, OpenFlags::SQLITE_OPEN_CREATE)?)
    }

    /// Opens books that must exist.
    pub fn open_existing(path: &Path) -> Result<Self, StoreError> {
        Self::with(path, connect(path, OpenFlags::empty())?)
    }

    fn with(path: &Path, mut writer: Connection) -> Result<Self, StoreError> {
        writer.pragma_update(None, "cache_size", WRITER_CACHE).map_err(|source| {
            StoreError::Open { path: path.to_owned(), source: Box::new(source) }
        })?;
        schema::migrate(&mut writer)?;
        let handles = handles::Handles::open(&writer)?;
        let (path, readers) = (path.to_owned(), Mutex::default());
        Ok(Self { path, writer: Mutex::new(writer), readers, handles })
    }

    /// Where they are kept.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A transaction that was open when its thread panicked was rolled back, so a poisoned lock
    /// hides no half-written state.
    fn writer(&self) -> MutexGuard<'_, Connection> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reader(&self) -> Result<Reader<'_>, StoreError> {
        let kept = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match kept {
            Some(connection) => connection,
            None => connect(&self.path, OpenFlags::empty())?,
        };
        Ok(Reader { store: self, connection: Some(connection) })
    }

    /// Empty books in a folder that vanishes with the first value.
    #[cfg(test)]
    pub(crate) fn for_test() -> (tempfile::TempDir, Self) {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let store = Self::open(&folder.path().join("depot.sqlite")).expect("empty books");
        (folder, store)
    }
}

/// A connection that only reads; goes back to the pool when dropped.
struct Reader<'a> {
    store: &'a Store,
    connection: Option<Connection>,
}

impl Deref for Reader<'_> {
    type Target = Connection;
    fn deref(&self) -> &Connection {
        self.connection.as_ref().expect("taken only when dropped")
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let mut pool = self.store.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = self.connection.take()
            && pool.len() < READERS_MAX
        {
            pool.push(connection);
        }
    }
}

/// Empties the log of writes of books that nobody uses into their file; `false` when somebody does.
/// What is no longer a database is nobody's.
pub(crate) fn leave_alone(path: &Path) -> Result<bool, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let alone = Connection::open_with_flags(path, flags).and_then(|books| {
        books.busy_timeout(Duration::ZERO)?;
        books.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get::<_, String>(0))
    });
    match alone {
        Ok(mode) => Ok(mode == "delete"),
        Err(error) if is_busy(&error) => Ok(false),
        Err(error) if is_damaged(&error) => Ok(true),
        Err(error) => Err(StoreError::write("the end of the log of writes")(error)),
    }
}

fn is_damaged(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt))
}

fn is_busy(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    matches!(code, Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

fn connect(path: &Path, create: OpenFlags) -> Result<Connection, StoreError> {
    let failed = |source| StoreError::Open { path: path.to_owned(), source: Box::new(source) };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | create;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA foreign_keys = ON;
             PRAGMA cache_size = -16384;
             PRAGMA temp_store = MEMORY;
             PRAGMA wal_autocheckpoint = 65536;",
        )
        .map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn books_open_again_and_missing_ones_are_refused_by_name() {
        let (folder, store) = Store::for_test();
        let path = store.path().to_owned();
        drop(store);
        Store::open_existing(&path).unwrap();
        let missing = folder.path().join("none.sqlite");
        let error = Store::open_existing(&missing).unwrap_err();
        assert!(error.to_string().contains("none.sqlite"), "{error}");
        std::fs::write(&missing, b"this is no database, it only has its name").unwrap();
        assert!(matches!(Store::open_existing(&missing), Err(StoreError::Open { .. })));
    }

    #[test]
    fn every_commit_waits_for_the_disk() {
        let (_folder, store) = Store::for_test();
        let ask = |pragma: &str| -> String {
            let sql = format!("SELECT CAST({pragma} AS TEXT) FROM pragma_{pragma}");
            store.writer().query_row(&sql, [], |row| row.get(0)).unwrap()
        };
        assert_eq!(ask("journal_mode"), "wal");
        assert_eq!(ask("synchronous"), "2");
    }
}
