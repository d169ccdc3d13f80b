//! What can go wrong with the books, by the operation that failed. No type of the database leaks.

use std::path::PathBuf;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// The books could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened as a database.
    #[error("cannot open the books {path}: check the path, its owner and the free space")]
    Open {
        /// Which file.
        path: PathBuf,
        /// What the database said.
        #[source]
        source: Source,
    },
    /// Written by a newer version of this program.
    #[error("the books have schema {found}, this program knows {known}: run the newer version")]
    Newer {
        /// In the file.
        found: u32,
        /// In this program.
        known: u32,
    },
    /// The schema could not be brought up to date.
    #[error("cannot bring the books to schema {to}")]
    Migrate {
        /// The step that failed.
        to: u32,
        /// What the database said.
        #[source]
        source: Source,
    },
    /// Something could not be read.
    #[error("cannot read {what} from the books")]
    Read {
        /// What was asked for.
        what: &'static str,
        /// What the database said.
        #[source]
        source: Source,
    },
    /// Something could not be written; nothing of it was.
    #[error("cannot write {what} to the books")]
    Write {
        /// What was to be written.
        what: &'static str,
        /// What the database said.
        #[source]
        source: Source,
    },
    /// A stored value has no meaning.
    #[error("the books contradict themselves: {what}; run `depot-server verify`")]
    Damaged {
        /// Which value.
        what: String,
    },
}

impl StoreError {
    pub(super) fn read(what: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| Self::Read { what, source: Box::new(source) }
    }

    pub(super) fn write(what: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| Self::Write { what, source: Box::new(source) }
    }

    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into() }
    }
}
