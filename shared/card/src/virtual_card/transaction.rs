//! The open transaction and its commit: the one place where backed-up files change.

use alloc::vec::Vec;
use core::mem;

use crate::apdu::{StatusWord, cmd};
use crate::proof::{Tmi, encrypted_reader_id, transaction_proof};

use super::admin::empty;
use super::memory::{App, Body, File};
use super::records::RecordChange;
use super::{Outcome, VirtualCard};

const FREE: u8 = 0xE;
const NEVER: u8 = 0xF;

/// What a commit would do. Dropped whole on any error, abort or loss of power.
#[derive(Debug, Clone, Default)]
pub(super) struct Pending {
    pub(super) tmi: Tmi,
    changes: Vec<(u8, Change)>,
    reader_id: Option<[u8; 16]>,
}

#[derive(Debug, Clone)]
pub(super) enum Change {
    /// New content of a backup file.
    Data(Vec<u8>),
    /// New value; sum of the debits; what limited credit leaves, once used.
    Value {
        value: i32,
        debited: i32,
        limited: Option<i32>,
    },
    Records(RecordChange),
}

impl Pending {
    /// The change of this file so far, begun by `fresh` if there is none.
    pub(super) fn change(&mut self, file: u8, fresh: impl FnOnce() -> Change) -> &mut Change {
        let found = self.changes.iter().position(|(no, _)| *no == file);
        let index = found.unwrap_or_else(|| {
            self.changes.push((file, fresh()));
            self.changes.len() - 1
        });
        &mut self.changes[index].1
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    const fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.tmi.is_empty()
    }
}

impl VirtualCard {
    pub(super) fn commit_transaction(&mut self, data: &[u8]) -> Outcome {
        let wants_proof = match data {
            [] | [0x00] => false,
            [0x01] => true,
            _ => return Err(StatusWord::PARAMETER),
        };
        let uid = self.memory.uid;
        let pending = mem::take(&mut self.volatile.pending);
        let app = self.app_mut()?;
        if wants_proof && app.tmac().is_none() {
            return Err(StatusWord::PERMISSION_DENIED);
        }
        if pending.is_empty() {
            return Err(StatusWord::NO_CHANGES);
        }
        // Everything that can refuse has refused; from here on everything moves together.
        let mut reply = Vec::new();
        if let Some(file) = app.files.iter_mut().find(|f| matches!(f.body, Body::Tmac { .. })) {
            let identified = file.read_write_key() == NEVER || pending.reader_id.is_some();
            let Body::Tmac { key, ctr, proof, reader_id, .. } = &mut file.body else {
                return Err(StatusWord::FILE_INTEGRITY);
            };
            let next = ctr.checked_add(1).filter(|_| identified);
            *ctr = next.ok_or(StatusWord::PERMISSION_DENIED)?;
            *proof = transaction_proof(key, &uid, *ctr, &pending.tmi).0;
            *reader_id = pending.reader_id.unwrap_or(*reader_id);
            if wants_proof {
                reply = [&ctr.to_le_bytes()[..], proof].concat();
            }
        }
        for (no, change) in pending.changes {
            apply(app, no, change);
        }
        Ok(reply)
    }

    pub(super) fn abort_transaction(&mut self, data: &[u8]) -> Outcome {
        empty(data)?;
        self.app()?;
        if self.volatile.pending.is_empty() {
            return Err(StatusWord::NO_CHANGES);
        }
        self.volatile.pending.clear();
        Ok(Vec::new())
    }

    /// Binds the reader to the transaction; answers the previous reader, enciphered.
    pub(super) fn commit_reader_id(&mut self, data: &[u8]) -> Outcome {
        let id: [u8; 16] = data.try_into().map_err(|_| StatusWord::LENGTH)?;
        let logged_in = self.logged_in().ok();
        let uid = self.memory.uid;
        let file = self.app()?.tmac().ok_or(StatusWord::PERMISSION_DENIED)?;
        let File { body: Body::Tmac { key, ctr, reader_id, .. }, .. } = file else {
            return Err(StatusWord::FILE_INTEGRITY);
        };
        match file.read_write_key() {
            NEVER => return Err(StatusWord::PERMISSION_DENIED),
            FREE => {}
            needed if logged_in == Some(needed) => {}
            _ => return Err(StatusWord::AUTHENTICATION),
        }
        if self.volatile.pending.reader_id.is_some() {
            return Err(StatusWord::PERMISSION_DENIED);
        }
        let next = ctr.checked_add(1).ok_or(StatusWord::PERMISSION_DENIED)?;
        let previous = encrypted_reader_id(key, uid, next, *reader_id);
        let pending = &mut self.volatile.pending;
        pending.reader_id = Some(id);
        if logged_in.is_some() {
            pending.tmi.step(cmd::COMMIT_READER_ID, &[&id[..], &previous].concat(), &[]);
            Ok(previous.to_vec())
        } else {
            pending.tmi.step(cmd::COMMIT_READER_ID, &id, &[]);
            Ok(Vec::new())
        }
    }
}

fn apply(app: &mut App, no: u8, change: Change) {
    let Some(file) = app.file_mut(no) else { return };
    match (&mut file.body, change) {
        (Body::Backup(content), Change::Data(new)) => *content = new,
        (Body::Value { value, limited, .. }, Change::Value { value: new, debited, limited: l }) => {
            *value = new;
            *limited = if debited > 0 { debited } else { l.unwrap_or(*limited) };
        }
        (Body::Records { cyclic, size, max, data }, Change::Records(change)) => {
            if let Some(records) = change.records {
                *data = records;
            }
            let kept = if *cyclic { *max - 1 } else { *max };
            if change.new.is_some() && data.len() / *size >= kept {
                data.drain(..*size);
            }
            data.extend(change.new.unwrap_or_default());
        }
        // A change is begun by its file's own commands and ends when the file is deleted.
        (
            Body::Standard(_)
            | Body::Backup(_)
            | Body::Value { .. }
            | Body::Records { .. }
            | Body::Tmac { .. },
            _,
        ) => {}
    }
}
