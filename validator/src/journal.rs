//! `validator journal …`: what the tap log says, read from a copy, so that looking changes nothing.
//!
//! The store's engine writes at every opening, and a log that is looked at may be evidence. So the
//! store is copied first, also beside a running validator; the copy is what a power cut at that
//! moment would have left. A store that does not open is carved ([`crate::salvage`]).

use std::{
    fmt::{self, Write as _},
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use data_encoding::HEXLOWER;
use fleet_sync::{SigningKey, sign_batch};
use model::{Epoch, TapEvent, TapRecord, TapSeq, ValidatorId};
use serde::Serialize;
use tap_log::{
    Audit, AuditError, LogError, RecoveryError, Scan, StoreOp, StoredEntry, TapLog, Tree, audit,
    entry_range, owner, read_key,
};
use tempfile::TempDir;
use wire::journal;

use crate::{
    salvage,
    store::{Store, StoreError, StoreOptions},
};

/// A copy is opened anew so often when the original changed while it was made.
const COPIES_MAX: u32 = 5;
/// Rows read at a time.
const ROWS: usize = 500;

/// Why a journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// No store there.
    #[error("{0} holds no store: name a state folder, or a folder with a file `db`")]
    NoStore(PathBuf),
    /// A copy could not be made.
    #[error("cannot copy the store to {path}: set TMPDIR to a folder with room")]
    Copy {
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The store does not open.
    #[error("the store does not open: --carve reads what is left of it")]
    Damaged(#[source] Option<StoreError>),
    /// Carving needs to know for whom.
    #[error("nothing in {0} hangs together as a tap log of {1}")]
    NothingCarved(PathBuf, ValidatorId),
    /// It holds no tap log.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// It holds one that is not for this software.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// A read of the copy failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An entry does not read back.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// A journal to look at: a copy of a store.
pub struct Journal {
    validator: ValidatorId,
    store: Store,
    _copy: TempDir,
}

impl Journal {
    /// Copies and opens the store at `path`: a state folder, or the store's own.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let folder = store_folder(path)?;
        let mut last = None;
        for _ in 0..COPIES_MAX {
            let copy = scratch()?;
            copy_store(&folder, &copy.path().join("store"))?;
            match Store::open(copy.path(), options()) {
                Ok((store, report)) if report.quarantined.is_none() => {
                    let meta = store.scan(Tree::Meta, &[], usize::MAX)?;
                    let validator = owner(&meta).ok_or(AuditError::NoOwner)?;
                    return Ok(Self { validator, store, _copy: copy });
                }
                Ok(_) => {}
                Err(e) => last = Some(e),
            }
        }
        Err(JournalError::Damaged(last))
    }

    /// Carves the store at `path`, as that of `validator`.
    pub fn carve(path: &Path, validator: ValidatorId) -> Result<Self, JournalError> {
        let (folder, copy) = (store_folder(path)?, scratch()?);
        let carved = salvage::carve(&folder, validator)
            .map_err(|source| JournalError::Copy { path: folder.clone(), source })?;
        let (store, _) = Store::open(copy.path(), options())?;
        let nothing = Scan { meta: vec![], intents: vec![], entries: vec![] };
        // A life above all others that stays empty, so that every carved one is an earlier one.
        let (mut log, report) = TapLog::recover(validator, None, Epoch(u32::MAX), nothing)?;
        store.apply(&report.ops)?;
        let mut found = false;
        for life in &carved {
            let ops: Vec<StoreOp> = log.adopt(life).unwrap_or_default();
            found |= !ops.is_empty();
            store.apply(&ops)?;
        }
        if found {
            Ok(Self { validator, store, _copy: copy })
        } else {
            Err(JournalError::NothingCarved(folder, validator))
        }
    }

    /// Whose it is.
    pub const fn validator(&self) -> ValidatorId {
        self.validator
    }

    /// Checks all of it: checksums, numbers, chain, registers.
    pub fn audit(&self) -> Result<Audit, JournalError> {
        let mut audit = audit(self.scan()?)?;
        audit.lives.retain(|life| life.span.head > life.span.pruned_through);
        Ok(audit)
    }

    /// Every entry that reads, in the order of their numbers; `wanted` says which.
    pub fn each(
        &self,
        wanted: &Wanted,
        mut take: impl FnMut(&Line) -> io::Result<()>,
    ) -> Result<io::Result<()>, JournalError> {
        let scan = self.scan()?;
        let mut lines: Vec<Line> = scan
            .entries
            .iter()
            .filter_map(|row| {
                let (epoch, seq) = read_key(&row.key)?;
                let entry = StoredEntry::read(row).ok()?;
                let record = wire::decode_entry(entry.bytes, (self.validator, epoch, seq)).ok()?;
                wanted.holds(&record).then(|| Line::new(&record, wanted.whole_number))
            })
            .collect();
        let skip = wanted.last.map_or(0, |last| lines.len().saturating_sub(last));
        Ok(lines.drain(skip..).try_for_each(|line| take(&line)))
    }

    /// All entries in batches that this validator signs, for `depot-server validator drain`.
    /// Returns them, and how many entries they hold.
    pub fn export(&self, key: &SigningKey) -> Result<(Vec<u8>, u64), JournalError> {
        let (log, _) = TapLog::recover(self.validator, None, Epoch(u32::MAX), self.scan()?)?;
        let (mut out, mut entries) = (journal::BEGIN.to_vec(), 0);
        for life in log.lives().filter(|life| life.epoch != log.epoch()) {
            let mut from = life.pruned_through.next();
            while from <= life.head {
                let (start, end) = entry_range(life.epoch, from);
                let mut rows = self.store.scan(Tree::Entries, &start, ROWS)?;
                rows.retain(|row| row.key < end);
                let batch = log.batch(life.epoch, u16::try_from(ROWS).unwrap_or(1), rows)?;
                from = batch.last().next();
                entries += batch.entries.len() as u64;
                journal::append(&mut out, &sign_batch(&batch, key));
            }
        }
        Ok((out, entries))
    }

    fn scan(&self) -> Result<Scan<Vec<tap_log::Row>>, StoreError> {
        let all = |tree| self.store.scan(tree, &[], usize::MAX);
        Ok(Scan {
            meta: all(Tree::Meta)?,
            intents: all(Tree::Intents)?,
            entries: all(Tree::Entries)?,
        })
    }
}

/// Which entries are wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Of this life alone.
    pub epoch: Option<Epoch>,
    /// From this number on.
    pub from: Option<TapSeq>,
    /// So many at the end.
    pub last: Option<usize>,
    /// Card numbers whole; otherwise their last two bytes.
    pub whole_number: bool,
}

impl Wanted {
    fn holds(&self, record: &TapRecord) -> bool {
        self.epoch.is_none_or(|epoch| record.epoch == epoch)
            && self.from.is_none_or(|from| record.seq >= from)
    }
}

/// One entry as people and other programs read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The life of the log.
    pub epoch: u32,
    /// The entry's number.
    pub seq: u64,
    /// By the validator's clock, RFC 3339 in UTC.
    pub at: String,
    /// How far that clock can be believed.
    pub clock: &'static str,
    /// `committed`, `in-doubt`, `refused`, `confirmed`, `voided`, `ticket` or `gate`.
    pub event: &'static str,
    /// The card: its last two bytes, or the whole number where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
    /// The card's counter after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ctr: Option<u32>,
    /// What the card changed by, minor units of its currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<i64>,
    /// The card's balance after it, minor units of its currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balance: Option<i64>,
    /// The reason of a refusal, or what the gate said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// The entry that this one decides, or whose rider the gate speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    /// Card detected to feedback, milliseconds.
    pub ms: u16,
}

impl Line {
    fn new(record: &TapRecord, whole_number: bool) -> Self {
        let card =
            record.card.map(|card| if whole_number { card.to_hex() } else { card.to_string() });
        let (written, reason, of) = match &record.event {
            TapEvent::Committed { transaction, .. } | TapEvent::InDoubt { transaction } => {
                (Some(transaction), None, None)
            }
            TapEvent::Confirmed { transaction, of, .. } => (Some(transaction), None, Some(of.0)),
            TapEvent::Voided { of, .. } => (None, None, Some(of.0)),
            TapEvent::Refused { reason, .. } => (None, Some(reason.word()), None),
            TapEvent::Gate { said, of } => (None, Some(said.word()), of.map(|of| of.0)),
            TapEvent::Ticket { .. } => (None, None, None),
        };
        Self {
            epoch: record.epoch.0,
            seq: record.seq.0,
            at: record.tapped_at.rfc3339().to_string(),
            clock: record.clock.word(),
            event: record.event.word(),
            card,
            ctr: written.map(|t| t.after.ctr.0),
            change: written.map(|t| t.after.delta()),
            balance: written.map(|t| i64::from(t.after.balance)),
            reason,
            of,
            ms: record.duration_ms,
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:<6} {}  {:<9}", self.epoch, self.seq, self.at, self.event)?;
        write!(f, "  {:<6}", self.card.as_deref().unwrap_or("-"))?;
        if let (Some(ctr), Some(change), Some(balance)) = (self.ctr, self.change, self.balance) {
            write!(f, "  ctr {ctr}, {change:+} to {balance}")?;
        }
        if let Some(reason) = self.reason {
            write!(f, "  {reason}")?;
        }
        if let Some(of) = self.of {
            write!(f, "  of {of}")?;
        }
        write!(f, "  {} ms, clock {}", self.ms, self.clock)
    }
}

/// What was checked and found, for people; and whether all is whole.
pub fn report(audit: &Audit) -> (String, bool) {
    let mut out = format!("validator    {}\n", audit.validator);
    for life in &audit.lives {
        let (span, registers) = (&life.span, &life.registers);
        let first = span.pruned_through.next();
        let _ = writeln!(
            out,
            "epoch        {}: entries {first} to {}, depot has them through {}",
            span.epoch, span.head, span.acked
        );
        let _ = writeln!(out, "  chain      {}", HEXLOWER.encode(&life.hash.0));
        let _ = writeln!(
            out,
            "  registers  {} entries, {} charged, {} loaded",
            registers.count, registers.debit_sum, registers.load_sum
        );
        if let Some(at) = life.broken_at {
            let _ = writeln!(out, "  BAD        entry {at} is missing or altered");
        }
    }
    for tap in &audit.intents {
        let _ = writeln!(out, "no outcome   {}:{}: becomes in doubt at start", tap.epoch, tap.seq);
    }
    if audit.stranded > 0 {
        let _ = writeln!(out, "BAD          {} entries behind a hole", audit.stranded);
    }
    for (tree, key) in &audit.damaged {
        let _ = writeln!(
            out,
            "BAD          a row of {} does not read: {}",
            tree.name(),
            HEXLOWER.encode(key)
        );
    }
    let broken = audit.lives.iter().any(|life| life.broken_at.is_some());
    let whole = !broken && audit.damaged.is_empty() && audit.stranded == 0;
    out.push_str(if whole { "every entry is whole and in its place\n" } else { "" });
    (out, whole)
}

fn options() -> StoreOptions {
    StoreOptions { open_deadline: Duration::from_secs(20), ..StoreOptions::default() }
}

fn scratch() -> Result<TempDir, JournalError> {
    let failed = |source| JournalError::Copy { path: std::env::temp_dir(), source };
    tempfile::Builder::new().prefix("tapline-journal-").tempdir().map_err(failed)
}

fn store_folder(path: &Path) -> Result<PathBuf, JournalError> {
    [path.join("store"), path.to_path_buf()]
        .into_iter()
        .find(|folder| folder.join("db").is_file())
        .ok_or_else(|| JournalError::NoStore(path.to_path_buf()))
}

/// Without the snapshots, which belong to one moment of the log and are made anew from it.
fn copy_store(from: &Path, to: &Path) -> Result<(), JournalError> {
    let failed = |source| JournalError::Copy { path: to.to_path_buf(), source };
    fs::create_dir_all(to).map_err(failed)?;
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (name, kind) = (entry.file_name(), entry.file_type().map_err(failed)?);
        if kind.is_dir() {
            copy_store(&entry.path(), &to.join(name))?;
        } else if !name.to_string_lossy().starts_with("snap.") {
            match fs::copy(entry.path(), to.join(name)) {
                // The engine removes files of its own while it runs.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                done => drop(done.map_err(failed)?),
            }
        }
    }
    Ok(())
}
