//! Taps that come as a file: a tap log that was exported, from a validator that no link reaches.
//!
//! `depot-server validator drain` puts the file into a folder beside the books; the server takes it
//! through the very intake that the broker feeds, so signature, chain and numbers are checked as
//! always and what is known already adds nothing. A file that was taken is renamed; one that is no
//! journal is set aside with the reason. A crash in between costs nothing but doing it again.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use fleet_sync::{DepotName, Topic};
use link::{Incoming, Receipt};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{MissedTickBehavior, interval},
};
use wire::{Batch, Envelope, Message, WireError, journal};

use crate::intake::run::told_to;

/// How often the folder is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Batches on their way at once: the broker's have their turn as well.
const WINDOW: usize = 32;

const WAITING: &str = "taps";
const TAKEN: &str = "taken";
const REFUSED: &str = "refused";

/// Why a file cannot be handed in.
#[derive(Debug, thiserror::Error)]
pub enum InboxError {
    /// It cannot be read, or its copy not written.
    #[error("cannot use {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is no journal.
    #[error(transparent)]
    Journal(#[from] journal::JournalError),
    /// A batch in it does not read.
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// The folder beside the books.
pub fn folder(database: &Path) -> PathBuf {
    database.with_extension("inbox")
}

/// The batches of a file, in its order.
pub fn read(file: &[u8]) -> Result<Vec<(Batch, Vec<u8>)>, InboxError> {
    let payloads = journal::split(file)?;
    let read = payloads.into_iter().map(|payload| {
        let envelope = Envelope::decode(Message::Taps, payload)?;
        Ok((Batch::decode(envelope.body)?, payload.to_vec()))
    });
    read.collect()
}

/// Hands a file in, under a name of its own; returns the two names of which one appears when the
/// server is done with it: taken, and refused.
pub fn put(database: &Path, file: &[u8], name: &str) -> Result<(PathBuf, PathBuf), InboxError> {
    let folder = folder(database);
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source| InboxError::File { path, source }
    };
    fs::create_dir_all(&folder).map_err(failed(&folder))?;
    let path = folder.join(name);
    // Under another name until it is whole and durable: the server looks at any moment.
    let half = path.with_extension("half");
    let mut copy = File::create(&half).map_err(failed(&half))?;
    copy.write_all(file).and_then(|()| copy.sync_all()).map_err(failed(&half))?;
    let waiting = path.with_extension(WAITING);
    fs::rename(&half, &waiting).map_err(failed(&waiting))?;
    File::open(&folder).and_then(|f| f.sync_all()).map_err(failed(&folder))?;
    Ok((path.with_extension(TAKEN), path.with_extension(REFUSED)))
}

/// Feeds the intake with the files in `folder` until `stop` says so.
pub async fn run(
    folder: PathBuf,
    depot: DepotName,
    intake: mpsc::Sender<Incoming>,
    mut stop: watch::Receiver<bool>,
) {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            () = told_to(&mut stop) => return,
        }
        for path in waiting(&folder) {
            let taken = tokio::select! {
                taken = take(&path, &depot, &intake) => taken,
                () = told_to(&mut stop) => return,
            };
            let ended = match taken {
                Ok(Some(batches)) => {
                    let file = path.display();
                    tracing::info!(%file, batches, "a handed-in tap log is booked");
                    fs::rename(&path, path.with_extension(TAKEN))
                }
                // Not booked, for reasons that the intake has said: again at the next look.
                Ok(None) => Ok(()),
                Err(error) => {
                    let why = crate::intake::run::chain(&error);
                    tracing::error!(file = %path.display(), error = why, "this is no tap log");
                    fs::write(path.with_extension("why"), why)
                        .and_then(|()| fs::rename(&path, path.with_extension(REFUSED)))
                }
            };
            if let Err(error) = ended {
                tracing::error!(file = %path.display(), %error, "cannot rename it: it stays");
            }
        }
    }
}

/// Gives every batch of the file to the intake, and waits until all are booked: how many, or `None`
/// when one was not.
async fn take(
    path: &Path,
    depot: &DepotName,
    intake: &mpsc::Sender<Incoming>,
) -> Result<Option<usize>, InboxError> {
    let failed = |source| InboxError::File { path: path.to_path_buf(), source };
    let batches = read(&fs::read(path).map_err(failed)?)?;
    for window in batches.chunks(WINDOW) {
        let mut booked = Vec::new();
        for (batch, payload) in window {
            let (tell, told) = oneshot::channel();
            let topic = Topic::Taps(batch.head.validator).name(depot);
            let receipt = Receipt::here(tell);
            let message = Incoming { topic, payload: payload.clone(), receipt };
            if intake.send(message).await.is_err() {
                return Ok(None);
            }
            booked.push(told);
        }
        for told in booked {
            if told.await.is_err() {
                return Ok(None);
            }
        }
    }
    Ok(Some(batches.len()))
}

fn waiting(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == WAITING))
        .collect();
    files.sort();
    files
}
