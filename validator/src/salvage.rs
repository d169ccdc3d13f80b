//! What a store that was put aside still holds goes to the depot all the same.
//!
//! Its bytes are carved ([`tap_log::Carver`]) and taken into the log as an earlier life, which the
//! uplink sends like any other. The folder stays as it was found; a file `salvaged` in it says what
//! was taken, and that nothing is left to do.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use model::{TicketToken, ValidatorId};
use tap_log::{Carved, Carver, TapLog};

use crate::store::{Store, StoreError};

/// In the folder once everything that can be read of it is in the log.
const DONE: &str = "salvaged";
/// Bytes read at a time: a store may be larger than what is free.
const PIECE: usize = 1 << 20;

/// What was taken in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Salvage {
    /// Entries that the depot may lack.
    pub entries: u64,
    /// Entries that were found behind a hole: they stay in the folder.
    pub unreachable: u64,
    /// Tickets that were used.
    pub tickets: Vec<TicketToken>,
    /// Folders that could not be read to the end, and why.
    pub unread: Vec<(PathBuf, String)>,
}

/// Reads everything that a store's folder holds.
pub fn carve(folder: &Path, validator: ValidatorId) -> io::Result<Vec<Carved>> {
    let mut carver = Carver::new(validator);
    let mut files = vec![folder.join("db")];
    if let Ok(blobs) = fs::read_dir(folder.join("blobs")) {
        files.extend(blobs.filter_map(|entry| Some(entry.ok()?.path())));
    }
    let mut piece = vec![0; PIECE];
    for path in files {
        let mut file = File::open(path)?;
        loop {
            match file.read(&mut piece)? {
                0 => break,
                read => carver.feed(&piece[..read]),
            }
        }
        carver.end_file();
    }
    Ok(carver.finish())
}

/// Takes into `log` and `store` what the folders in quarantine hold and no start before took.
pub(crate) fn take_in(
    state: &Path,
    log: &mut TapLog,
    store: &Store,
) -> Result<Salvage, StoreError> {
    let mut salvage = Salvage::default();
    for folder in put_aside(state) {
        let carved = match carve(&folder, log.validator()) {
            Ok(carved) => carved,
            Err(e) => {
                salvage.unread.push((folder, e.to_string()));
                continue;
            }
        };
        let mut report = String::new();
        for life in &carved {
            // A life that began with the store's own end is longer here, and known.
            let Some(ops) = log.adopt(life) else { continue };
            store.apply(&ops)?;
            store.sync()?;
            let new = life.acked.next().max(life.first);
            salvage.entries += (life.last.0 + 1).saturating_sub(new.0);
            salvage.unreachable += life.unreachable;
            salvage.tickets.extend(&life.tickets);
            let Carved { epoch, first, last, unreachable, .. } = life;
            let _ = writeln!(
                report,
                "epoch {epoch}: entries {first} to {last} go to the depot; {unreachable} more were \
                 found behind a hole"
            );
        }
        // Without it the next start does the same again, and the depot knows the entries then.
        if let Err(e) = fs::write(folder.join(DONE), report) {
            tracing::warn!(folder = %folder.display(), error = %e, "not marked as salvaged");
        }
    }
    Ok(salvage)
}

/// Folders in quarantine that nobody has read, oldest first.
fn put_aside(state: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(state.join("quarantine")) else { return Vec::new() };
    let mut folders: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("db").is_file() && !path.join(DONE).exists())
        .collect();
    folders.sort();
    folders
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, os::unix::fs::FileExt};

    use model::{
        ClockQuality, Epoch, PlaceIx, Refusal, TapDraft, TapEvent, TapRole, TapSeq, TariffVersion,
        Timestamp,
    };
    use tokio::sync::oneshot;

    use super::*;
    use crate::{
        clock::Clock,
        log_keeper::{LogKeeper, Opened, Reply, Request},
        metrics::Metrics,
        store::StoreOptions,
    };

    const TAPS: u64 = 3_000;

    fn open(state: &Path) -> Opened {
        let id = ValidatorId::new(42).unwrap();
        LogKeeper::open(state, StoreOptions::default(), id, Clock::system(), Metrics::new())
            .unwrap()
    }

    async fn close(opened: Opened) {
        let mut status = opened.keeper.status();
        drop(opened);
        while status.changed().await.is_ok() {}
    }

    async fn refuse(keeper: &LogKeeper, at_s: u64) {
        let draft = TapDraft {
            card: None,
            tapped_at: Timestamp::from_secs(1_795_000_000 + at_s),
            clock: ClockQuality::Ntp,
            role: TapRole::Board,
            place: PlaceIx(3),
            route: None,
            tariff: TariffVersion(9),
            order: None,
            place_age_s: None,
            hotlist_version: None,
        };
        let event = TapEvent::Refused { reason: Refusal::Unreadable, seen: None };
        let (tell, told) = oneshot::channel();
        let reply = Reply::new(move |done| {
            let _ = tell.send(done);
        });
        keeper.ask(Request::Record { draft, duration_ms: 90, event, reply });
        told.await.unwrap().unwrap();
    }

    /// Every entry that can be sent, by life and number.
    async fn entries(keeper: &LogKeeper) -> BTreeMap<(Epoch, TapSeq), Vec<u8>> {
        let lives = keeper.status().borrow().lives.clone();
        let mut all = BTreeMap::new();
        for life in lives {
            let mut from = life.pruned_through.next();
            while from <= life.head {
                let batch = keeper.batch(life.epoch, from, 500).await.unwrap();
                for entry in batch.entries {
                    all.insert((life.epoch, from), entry);
                    from = from.next();
                }
            }
        }
        all
    }

    /// A closed store with `TAPS` entries in some order on the disk, and what is in it.
    async fn filled(state: &Path) -> BTreeMap<(Epoch, TapSeq), Vec<u8>> {
        let opened = open(state);
        let taps = (0..TAPS).map(|at_s| refuse(&opened.keeper, at_s));
        futures_util::future::join_all(taps).await;
        let all = entries(&opened.keeper).await;
        assert_eq!(all.len() as u64, TAPS);
        close(opened).await;
        // Opening writes a snapshot and moves pages.
        close(open(state)).await;
        all
    }

    fn db(state: &Path) -> File {
        File::options().read(true).write(true).open(state.join("store/db")).unwrap()
    }

    #[tokio::test]
    async fn a_store_that_does_not_open_loses_no_entry() {
        let state = tempfile::tempdir().unwrap();
        let before = filled(state.path()).await;
        fs::write(state.path().join("store/conf"), "not sled's").unwrap();
        let opened = open(state.path());
        let aside = opened.store.quarantined.clone().expect("it was damaged");
        assert_eq!((opened.salvage.entries, opened.salvage.unreachable), (TAPS, 0));
        assert_eq!(entries(&opened.keeper).await, before, "byte for byte, under their numbers");
        refuse(&opened.keeper, 9).await;
        let report = fs::read_to_string(aside.join(DONE)).unwrap();
        assert!(report.contains("entries 1 to 3000 go to the depot"), "{report}");
        close(opened).await;
        let again = open(state.path());
        assert_eq!(again.salvage, Salvage::default(), "once");
        assert_eq!(entries(&again.keeper).await.len() as u64, TAPS + 1);
    }

    #[tokio::test]
    async fn of_a_store_that_was_cut_short_everything_before_the_cut_comes_back() {
        let state = tempfile::tempdir().unwrap();
        let before = filled(state.path()).await;
        let len = db(state.path()).metadata().unwrap().len();
        db(state.path()).set_len(len - 100_000).unwrap();
        let opened = open(state.path());
        let back = entries(&opened.keeper).await;
        assert!(back.iter().all(|(key, entry)| before.get(key) == Some(entry)), "only true ones");
        let lost = before.len() - back.len();
        let reached = opened.salvage.unreachable;
        assert!(back.len() > 1_000, "{lost} lost, {reached} behind a hole");
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_read_is_named_and_stops_nobody() {
        let state = tempfile::tempdir().unwrap();
        let aside = state.path().join("quarantine/store-1");
        fs::create_dir_all(&aside).unwrap();
        fs::write(aside.join("db"), "nothing of a store").unwrap();
        fs::create_dir_all(aside.join("blobs/7")).unwrap();
        let opened = open(state.path());
        let [(folder, why)] = opened.salvage.unread.as_slice() else { panic!("it was read") };
        assert_eq!(folder, &aside);
        assert!(why.contains("directory"), "{why}");
        refuse(&opened.keeper, 1).await;
    }

    #[tokio::test]
    async fn bytes_that_flipped_cost_their_entry_and_no_other_is_invented() {
        let state = tempfile::tempdir().unwrap();
        let before = filled(state.path()).await;
        let (file, len) = (db(state.path()), db(state.path()).metadata().unwrap().len());
        for at in [len / 2, len / 2 + 1, len / 2 + 2, len / 2 + 3] {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[!byte[0]], at).unwrap();
        }
        fs::remove_dir_all(state.path().join("quarantine")).ok();
        let opened = open(state.path());
        let back = entries(&opened.keeper).await;
        assert!(back.iter().all(|(key, entry)| before.get(key) == Some(entry)), "only true ones");
        // The engine may see nothing, or the log a damaged row, or the carver a hole.
        let found = back.len() as u64 + opened.salvage.unreachable + opened.recovery.stranded;
        assert!(found + 64 >= TAPS, "{found}: {:?}", opened.store);
    }
}
