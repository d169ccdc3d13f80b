//! The validator's durable store: sled behind one door. No other file names sled.
//!
//! Invariants: operations given together land together or not at all; after [`Store::sync`]
//! returned, a power cut loses none of them. sled's own `flush()` is not durable on Linux (it never
//! calls fsync: measured, `sled` issue 1452), so a sync is `flush()` and then `fdatasync` on our
//! own handle of sled's file. Opening is guarded: it may fail, panic or hang on a damaged folder,
//! and none of these may stop the validator for good. Checksums of values are tap-log's.
//!
//! tap-log's trees are one sled tree whose keys begin with a byte each: one batch is then atomic
//! over all of them, and a third cheaper than a transaction over several trees.

use std::{
    fs::{self, File, OpenOptions},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use rustix::fs::{FlockOperation, fdatasync, flock, fsync};
use tap_log::{Row, StoreOp, Tree};

/// How often a lock is tried, and how long between.
const LOCK_TRIES: u32 = 25;
const LOCK_AGAIN: Duration = Duration::from_millis(20);
/// The shell's own values stand behind tap-log's trees.
const OWN: u8 = 4;

/// Whether a sync waits for the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// `flush()` and `fdatasync`: the only choice that the program offers.
    #[default]
    Synced,
    /// Neither. For simulations of many validators in one process, which never lose power.
    VolatileForTests,
    /// `flush()` alone, which promises more than it does: what the power-cut tests must notice.
    FlushedForTests,
    /// Synced this many times, then failing, as a worn-out device does.
    BreaksForTests {
        /// Syncs that still succeed.
        after: u32,
    },
}

/// How to open.
#[derive(Debug, Clone, Copy)]
pub struct StoreOptions {
    /// Cache, bytes.
    pub cache_bytes: u64,
    /// Bytes of the device that are kept back: with less, no taps are taken.
    pub reserve_bytes: u64,
    /// Opening longer than this counts as hanging.
    pub open_deadline: Duration,
    /// See there.
    pub durability: Durability,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 8 << 20,
            reserve_bytes: 16 << 20,
            open_deadline: Duration::from_secs(30),
            durability: Durability::Synced,
        }
    }
}

/// What opening had to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OpenReport {
    /// sled's snapshot files were put aside, and the log was read in full instead.
    pub snapshots_set_aside: usize,
    /// The damaged folder, where it is now; the store began empty.
    pub quarantined: Option<PathBuf>,
}

/// Why the store cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process, or another validator in this one, has the folder.
    #[error("the state folder {0} is in use by another validator: stop that one first")]
    InUse(PathBuf),
    /// A file or folder around the store.
    #[error("cannot prepare {path}")]
    Prepare {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Opening did not end in time. The folder was put aside; the thread that hangs can only be
    /// ended with the process.
    #[error("opening the store hangs: its folder is now {0}; start again to go on with a new one")]
    Hangs(PathBuf),
    /// Even a fresh folder does not open.
    #[error("a new store cannot be opened in {path}: {detail}")]
    Fresh {
        /// Where.
        path: PathBuf,
        /// What was said.
        detail: String,
    },
    /// A write was not taken. Nothing may be promised after this.
    #[error("the store does not take writes: {0}")]
    Write(String),
    /// A write was taken and may not survive a power cut. Nothing may be promised after this.
    #[error("the store cannot make its writes durable")]
    Sync(#[source] io::Error),
    /// A read failed.
    #[error("the store does not answer: {0}")]
    Read(String),
}

/// The open store. One owner; the folder is locked while it lives.
#[derive(Debug)]
pub struct Store {
    db: sled::Db,
    synced: File,
    folder: PathBuf,
    durability: Durability,
    syncs: AtomicU32,
    _lock: File,
}

/// Opened within the guard: the database and a full reading of it, so that whatever is damaged
/// shows itself there and not in the middle of a tap.
type Opened = Result<sled::Db, OpenFailure>;

enum OpenFailure {
    Corruption(String),
    Damaged(String),
    /// Somebody has the file open: nothing is wrong with it.
    Busy,
}

impl Store {
    /// Opens or creates the store in `state/store`, going around damage as far as it can.
    pub fn open(state: &Path, options: StoreOptions) -> Result<(Self, OpenReport), StoreError> {
        fs::create_dir_all(state).map_err(prepare(state))?;
        let lock = lock(state)?;
        let folder = state.join("store");
        let mut report = OpenReport::default();
        let db = match open_guarded(&folder, options) {
            Some(Ok(db)) => db,
            Some(Err(OpenFailure::Busy)) => return Err(StoreError::InUse(folder)),
            Some(Err(OpenFailure::Corruption(first))) => {
                tracing::warn!(error = %first, "snapshots of the store are put aside");
                report.snapshots_set_aside = set_snapshots_aside(state, &folder)?;
                match open_guarded(&folder, options) {
                    Some(Ok(db)) => db,
                    other => start_anew(state, &folder, options, other, &mut report)?,
                }
            }
            other => start_anew(state, &folder, options, other, &mut report)?,
        };
        let file = folder.join("db");
        let synced =
            OpenOptions::new().read(true).write(true).open(&file).map_err(prepare(&file))?;
        if options.durability != Durability::VolatileForTests {
            // The file's name must be durable too, or the file is lost with everything in it.
            synced.sync_all().map_err(prepare(&file))?;
            sync_folder(&folder)?;
            sync_folder(state)?;
        }
        let durability = options.durability;
        let syncs = AtomicU32::new(0);
        Ok((Self { db, synced, folder, durability, syncs, _lock: lock }, report))
    }

    /// Applies all of `ops` or none. Not durable before [`Self::sync`].
    pub fn apply(&self, ops: &[StoreOp]) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for op in ops {
            match op {
                StoreOp::Put { tree, key, value } => {
                    batch.insert(full_key(prefix(*tree), key), value.as_slice());
                }
                StoreOp::Remove { tree, key } => batch.remove(full_key(prefix(*tree), key)),
            }
        }
        self.db.apply_batch(batch).map_err(|e| StoreError::Write(e.to_string()))
    }

    /// Makes everything applied so far durable.
    pub fn sync(&self) -> Result<(), StoreError> {
        match self.durability {
            Durability::Synced => {}
            Durability::VolatileForTests => return Ok(()),
            Durability::FlushedForTests => {
                return self.db.flush().map(drop).map_err(|e| StoreError::Write(e.to_string()));
            }
            Durability::BreaksForTests { after } => {
                if self.syncs.fetch_add(1, Ordering::Relaxed) >= after {
                    return Err(StoreError::Sync(io::ErrorKind::StorageFull.into()));
                }
            }
        }
        self.db.flush().map_err(|e| StoreError::Write(e.to_string()))?;
        fdatasync(&self.synced).map_err(|e| StoreError::Sync(e.into()))
    }

    /// Rows of a tree in the order of keys, from `from` on, at most `limit`.
    pub fn scan(&self, tree: Tree, from: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        let prefix = prefix(tree);
        self.db
            .range(full_key(prefix, from)..vec![prefix + 1])
            .take(limit)
            .map(|entry| {
                let (key, value) = entry.map_err(|e| read_error(&e))?;
                Ok(Row { key: key[1..].to_vec(), value: value.to_vec() })
            })
            .collect()
    }

    /// All rows of a tree in the order of keys, read as they are asked for: a log of many days is
    /// larger than what is free. A read that fails ends them, and stays in `failed`.
    pub fn rows<'a>(
        &'a self,
        tree: Tree,
        failed: &'a mut Option<StoreError>,
    ) -> impl Iterator<Item = Row> + 'a {
        let prefix = prefix(tree);
        self.db.range(vec![prefix]..vec![prefix + 1]).map_while(move |entry| match entry {
            Ok((key, value)) => Some(Row { key: key[1..].to_vec(), value: value.to_vec() }),
            Err(e) => {
                *failed = Some(read_error(&e));
                None
            }
        })
    }

    /// A number of the shell's own; 0 when it was never set or does not read.
    pub fn own_number(&self, name: &str) -> Result<u64, StoreError> {
        let found = self.db.get(full_key(OWN, name.as_bytes())).map_err(|e| read_error(&e))?;
        Ok(found.and_then(|v| v.as_ref().try_into().ok()).map_or(0, u64::from_be_bytes))
    }

    /// Sets it; not durable before [`Self::sync`].
    pub fn set_own_number(&self, name: &str, number: u64) -> Result<(), StoreError> {
        self.db
            .insert(full_key(OWN, name.as_bytes()), &number.to_be_bytes())
            .map(drop)
            .map_err(|e| StoreError::Write(e.to_string()))
    }

    /// Bytes on disk.
    pub fn size(&self) -> u64 {
        self.db.size_on_disk().unwrap_or(0)
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

fn prepare(path: &Path) -> impl Fn(io::Error) -> StoreError + use<> {
    let path = path.to_path_buf();
    move |source| StoreError::Prepare { path: path.clone(), source }
}

fn lock(state: &Path) -> Result<File, StoreError> {
    let path = state.join("lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(prepare(&path))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| StoreError::InUse(state.to_path_buf()))?;
    Ok(file)
}

fn open_guarded(folder: &Path, options: StoreOptions) -> Option<Opened> {
    let folder = folder.to_path_buf();
    guarded(options.open_deadline, move || open_and_read(&folder, options))
}

/// Runs `work` on its own thread. `None` when it does not end in time; a panic becomes damage.
fn guarded<T: Send + 'static>(
    deadline: Duration,
    work: impl FnOnce() -> Result<T, OpenFailure> + Send + 'static,
) -> Option<Result<T, OpenFailure>> {
    let (tell, told) = mpsc::channel();
    let spawned = thread::Builder::new().name("store-open".into()).spawn(move || {
        let result = catch_unwind(AssertUnwindSafe(work))
            .unwrap_or_else(|_| Err(OpenFailure::Damaged("opening panicked".into())));
        // Nobody listens after the deadline.
        let _ = tell.send(result);
    });
    match spawned {
        Ok(_) => told.recv_timeout(deadline).ok(),
        Err(e) => Some(Err(OpenFailure::Damaged(e.to_string()))),
    }
}

fn open_and_read(folder: &Path, options: StoreOptions) -> Opened {
    let config = sled::Config::new()
        .path(folder)
        .cache_capacity(options.cache_bytes)
        .segment_size(512 * 1024)
        // Only the tick of segment cleaning; durability is `sync`'s.
        .flush_every_ms(Some(5_000))
        .mode(sled::Mode::LowSpace);
    let db = opened(&config).map_err(|e| match e {
        sled::Error::Io(e) if is_lock(&e) => OpenFailure::Busy,
        sled::Error::Corruption { .. } => OpenFailure::Corruption(e.to_string()),
        sled::Error::CollectionNotFound(_)
        | sled::Error::Unsupported(_)
        | sled::Error::ReportableBug(_)
        | sled::Error::Io(_) => OpenFailure::Damaged(e.to_string()),
    })?;
    for entry in db.iter() {
        entry.map_err(|e| OpenFailure::Damaged(e.to_string()))?;
    }
    Ok(db)
}

/// Waits for a lock a while: an owner that has just closed ends its threads a moment later.
fn opened(config: &sled::Config) -> Result<sled::Db, sled::Error> {
    for _ in 0..LOCK_TRIES {
        match config.open() {
            Err(sled::Error::Io(e)) if is_lock(&e) => thread::park_timeout(LOCK_AGAIN),
            opened => return opened,
        }
    }
    config.open()
}

/// The engine says it only in words.
fn is_lock(error: &io::Error) -> bool {
    error.to_string().contains("could not acquire lock")
}

/// The last resort: the folder goes to quarantine, whole, and an empty one takes its place. The
/// sequence guard lies outside, so tap-log notices and begins a new epoch.
fn start_anew(
    state: &Path,
    folder: &Path,
    options: StoreOptions,
    failed: Option<Opened>,
    report: &mut OpenReport,
) -> Result<sled::Db, StoreError> {
    let detail = match failed {
        None => return Err(StoreError::Hangs(quarantine(state, folder)?)),
        Some(Ok(_)) => "opened after all".to_string(),
        Some(Err(OpenFailure::Corruption(e) | OpenFailure::Damaged(e))) => e,
        Some(Err(OpenFailure::Busy)) => return Err(StoreError::InUse(folder.to_path_buf())),
    };
    let aside = quarantine(state, folder)?;
    tracing::error!(folder = %aside.display(), error = %detail, "damaged store put aside");
    report.quarantined = Some(aside);
    match open_guarded(folder, options) {
        Some(Ok(db)) => Ok(db),
        Some(Err(OpenFailure::Corruption(detail) | OpenFailure::Damaged(detail))) => {
            Err(StoreError::Fresh { path: folder.to_path_buf(), detail })
        }
        Some(Err(OpenFailure::Busy)) => Err(StoreError::InUse(folder.to_path_buf())),
        None => Err(StoreError::Fresh { path: folder.to_path_buf(), detail: "it hangs".into() }),
    }
}

fn quarantine(state: &Path, folder: &Path) -> Result<PathBuf, StoreError> {
    let aside = free_name(&state.join("quarantine"), "store")?;
    fs::rename(folder, &aside).map_err(prepare(&aside))?;
    sync_folder(state)?;
    Ok(aside)
}

/// sled writes a new snapshot at every open, so a damaged one is worth nothing.
fn set_snapshots_aside(state: &Path, folder: &Path) -> Result<usize, StoreError> {
    let failed = prepare(folder);
    let aside = free_name(&state.join("quarantine"), "snapshots")?;
    fs::create_dir_all(&aside).map_err(&failed)?;
    let mut moved = 0;
    for entry in fs::read_dir(folder).map_err(&failed)? {
        let entry = entry.map_err(&failed)?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with("snap.") {
            fs::rename(entry.path(), aside.join(name)).map_err(&failed)?;
            moved += 1;
        }
    }
    Ok(moved)
}

fn free_name(folder: &Path, stem: &str) -> Result<PathBuf, StoreError> {
    fs::create_dir_all(folder).map_err(prepare(folder))?;
    (1..=u32::MAX)
        .map(|n| folder.join(format!("{stem}-{n}")))
        .find(|path| !path.exists())
        .ok_or_else(|| StoreError::Prepare {
            path: folder.to_path_buf(),
            source: io::ErrorKind::AlreadyExists.into(),
        })
}

fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    let handle = File::open(folder).map_err(prepare(folder))?;
    fsync(&handle).map_err(|e| prepare(folder)(e.into()))
}

/// Append only: these bytes are on devices.
const fn prefix(tree: Tree) -> u8 {
    match tree {
        Tree::Entries => 1,
        Tree::Intents => 2,
        Tree::Meta => 3,
    }
}

fn full_key(prefix: u8, key: &[u8]) -> Vec<u8> {
    let mut full = Vec::with_capacity(1 + key.len());
    full.push(prefix);
    full.extend_from_slice(key);
    full
}

fn read_error(error: &sled::Error) -> StoreError {
    StoreError::Read(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(n: u64) -> StoreOp {
        let value = vec![u8::try_from(n % 251).unwrap(); 200];
        StoreOp::Put { tree: Tree::Entries, key: n.to_be_bytes().to_vec(), value }
    }

    fn count(store: &Store) -> usize {
        store.scan(Tree::Entries, &[], usize::MAX).unwrap().len()
    }

    /// A store with `n` entries, closed in order, so that a snapshot exists.
    fn filled(state: &Path, n: u64) {
        let (store, _) = Store::open(state, StoreOptions::default()).unwrap();
        for chunk in (1..=n).collect::<Vec<_>>().chunks(500) {
            store.apply(&chunk.iter().map(|n| put(*n)).collect::<Vec<_>>()).unwrap();
        }
        store.sync().unwrap();
        drop(store);
        // Opening writes the snapshot.
        drop(Store::open(state, StoreOptions::default()).unwrap());
    }

    fn snapshot(state: &Path) -> PathBuf {
        fs::read_dir(state.join("store"))
            .unwrap()
            .map(|e| e.unwrap().path())
            .find(|p| p.file_name().unwrap().to_string_lossy().starts_with("snap."))
            .expect("sled wrote a snapshot")
    }

    #[test]
    fn what_was_synced_is_there_after_reopening_and_scans_in_order() {
        let state = tempfile::tempdir().unwrap();
        filled(state.path(), 1200);
        let (store, report) = Store::open(state.path(), StoreOptions::default()).unwrap();
        assert_eq!(report, OpenReport::default());
        assert_eq!(count(&store), 1200);
        let two = store.scan(Tree::Entries, &7_u64.to_be_bytes(), 2).unwrap();
        assert_eq!(two.iter().map(|row| row.key[7]).collect::<Vec<_>>(), [7, 8]);
        let key = 7_u64.to_be_bytes().to_vec();
        store
            .apply(&[
                StoreOp::Remove { tree: Tree::Entries, key },
                StoreOp::Put { tree: Tree::Intents, key: vec![], value: vec![] },
            ])
            .unwrap();
        store.set_own_number("connection", 9).unwrap();
        assert_eq!(count(&store), 1199, "trees do not see each other");
        assert_eq!(store.scan(Tree::Intents, &[], 9).unwrap().len(), 1);
        assert_eq!(store.scan(Tree::Meta, &[], 9).unwrap().len(), 0);
        assert_eq!(store.own_number("connection").unwrap(), 9);
        assert_eq!(store.own_number("other").unwrap(), 0);
    }

    #[test]
    fn two_owners_of_one_folder_are_refused() {
        let state = tempfile::tempdir().unwrap();
        let first = Store::open(state.path(), StoreOptions::default()).unwrap();
        let second = Store::open(state.path(), StoreOptions::default());
        assert!(matches!(second, Err(StoreError::InUse(_))));
        drop(first);
        assert!(Store::open(state.path(), StoreOptions::default()).is_ok());
    }

    #[test]
    fn a_store_that_another_program_reads_is_no_damaged_one() {
        let state = tempfile::tempdir().unwrap();
        filled(state.path(), 100);
        let reader = opened(&sled::Config::new().path(state.path().join("store"))).unwrap();
        let refused = Store::open(state.path(), StoreOptions::default());
        assert!(matches!(refused, Err(StoreError::InUse(_))), "{refused:?}");
        assert!(!state.path().join("quarantine").exists(), "nothing is put aside");
        drop(reader);
        let (store, report) = Store::open(state.path(), StoreOptions::default()).unwrap();
        assert_eq!((report, count(&store)), (OpenReport::default(), 100));
    }

    #[test]
    fn a_store_that_is_opened_at_once_after_it_was_closed_is_no_damaged_one() {
        let state = tempfile::tempdir().unwrap();
        filled(state.path(), 100);
        for round in 0..100 {
            let (store, report) = Store::open(state.path(), StoreOptions::default()).unwrap();
            assert_eq!((report, count(&store)), (OpenReport::default(), 100), "{round}");
        }
    }

    #[test]
    fn a_damaged_snapshot_is_put_aside_and_nothing_is_lost() {
        let state = tempfile::tempdir().unwrap();
        filled(state.path(), 3000);
        let snap = snapshot(state.path());
        let half = fs::metadata(&snap).unwrap().len() / 2;
        File::options().write(true).open(&snap).unwrap().set_len(half).unwrap();
        let (store, report) = Store::open(state.path(), StoreOptions::default()).unwrap();
        assert!(report.snapshots_set_aside > 0, "{report:?}");
        assert_eq!(report.quarantined, None);
        assert_eq!(count(&store), 3000);
    }

    #[test]
    fn a_store_that_does_not_open_goes_to_quarantine_whole_and_service_goes_on() {
        let state = tempfile::tempdir().unwrap();
        filled(state.path(), 3000);
        fs::write(state.path().join("store/conf"), "not sled's").unwrap();
        let (store, report) = Store::open(state.path(), StoreOptions::default()).unwrap();
        let aside = report.quarantined.expect("the folder was damaged");
        assert!(aside.join("db").exists(), "kept for the depot");
        assert_eq!(count(&store), 0);
        store.apply(&[put(1)]).unwrap();
        store.sync().unwrap();
    }

    #[test]
    fn a_shortened_log_never_stops_the_validator() {
        let state = tempfile::tempdir().unwrap();
        filled(state.path(), 6000);
        let db = state.path().join("store/db");
        let len = fs::metadata(&db).unwrap().len();
        File::options().write(true).open(&db).unwrap().set_len(len - 700_000).unwrap();
        let (store, report) = Store::open(state.path(), StoreOptions::default()).unwrap();
        // sled panics, or opens with fewer rows, which tap-log's guard then notices.
        assert!(report.quarantined.is_none() || count(&store) == 0, "{report:?}");
        assert!(count(&store) < 6000, "rows were lost");
        store.apply(&[put(1)]).unwrap();
        store.sync().unwrap();
        assert!(count(&store) > 0);
    }

    #[test]
    fn an_opening_that_hangs_is_given_up_and_one_that_panics_is_damage() {
        let (_keep, never) = mpsc::channel::<()>();
        let hangs = guarded(Duration::from_millis(20), move || {
            let _ = never.recv();
            Ok(())
        });
        assert!(hangs.is_none());
        let panics = guarded::<()>(Duration::from_secs(10), || panic!("as sled does"));
        assert!(matches!(panics, Some(Err(OpenFailure::Damaged(_)))));
    }
}
