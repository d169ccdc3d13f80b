//! The sequence guard's file: which numbers may already have been seen outside.
//!
//! Two slots of one sector each, written in turn and synced, each with its checksum: a torn write
//! leaves the other slot. It lives beside the store's folder, not in it, so that it survives the
//! loss of the store. The rules (leases, epochs) are tap-log's.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

const SLOT: usize = 512;
const LEN: usize = 32;
const MAGIC: &[u8; 8] = b"TAPGUARD";

/// What was last written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The epoch in use.
    pub epoch: u32,
    /// No number above this one was handed out.
    pub through: u64,
}

/// The open file.
#[derive(Debug)]
pub struct GuardFile {
    file: File,
    turn: u64,
}

impl GuardFile {
    /// Opens or creates it, and tells what it says; `None` when it was never written.
    pub fn open(path: &Path) -> io::Result<(Self, Option<Lease>)> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        let empty = file.metadata()?.len() == 0;
        let slots = [read_slot(&file, 0)?, read_slot(&file, 1)?];
        let newest = slots.into_iter().flatten().max_by_key(|(turn, _)| *turn);
        match newest {
            None if !empty => Err(io::Error::new(
                ErrorKind::InvalidData,
                "both slots of the sequence guard are damaged; remove the file only after the \
                 depot has named the last number it has seen",
            )),
            None => Ok((Self { file, turn: 0 }, None)),
            Some((turn, lease)) => Ok((Self { file, turn }, Some(lease))),
        }
    }

    /// Durable when it returns.
    pub fn write(&mut self, lease: Lease) -> io::Result<()> {
        let turn = self.turn + 1;
        let mut slot = [0; SLOT];
        slot[..8].copy_from_slice(MAGIC);
        slot[8..16].copy_from_slice(&turn.to_le_bytes());
        slot[16..20].copy_from_slice(&lease.epoch.to_le_bytes());
        slot[20..28].copy_from_slice(&lease.through.to_le_bytes());
        let crc = crc32c::crc32c(&slot[..28]);
        slot[28..LEN].copy_from_slice(&crc.to_le_bytes());
        self.file.write_all_at(&slot, (turn % 2) * SLOT as u64)?;
        self.file.sync_data()?;
        self.turn = turn;
        Ok(())
    }
}

fn read_slot(file: &File, index: u64) -> io::Result<Option<(u64, Lease)>> {
    let mut slot = [0; LEN];
    match file.read_exact_at(&mut slot, index * SLOT as u64) {
        Ok(()) => {}
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        Err(e) => return Err(e),
    }
    let u64_at = |i: usize| u64::from_le_bytes(slot[i..i + 8].try_into().expect("eight bytes"));
    let u32_at = |i: usize| u32::from_le_bytes(slot[i..i + 4].try_into().expect("four bytes"));
    let whole = slot[..8] == *MAGIC && crc32c::crc32c(&slot[..28]) == u32_at(28);
    Ok(whole.then(|| (u64_at(8), Lease { epoch: u32_at(16), through: u64_at(20) })))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Lease = Lease { epoch: 7, through: 1000 };
    const B: Lease = Lease { epoch: 7, through: 2000 };

    #[test]
    fn the_newest_whole_slot_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("guard");
        let (mut guard, none) = GuardFile::open(&path).unwrap();
        assert_eq!(none, None);
        guard.write(A).unwrap();
        guard.write(B).unwrap();
        drop(guard);
        assert_eq!(GuardFile::open(&path).unwrap().1, Some(B));
    }

    #[test]
    fn a_torn_write_leaves_the_slot_before_it_and_two_torn_slots_are_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("guard");
        let (mut guard, _) = GuardFile::open(&path).unwrap();
        guard.write(A).unwrap();
        guard.write(B).unwrap();
        guard.file.write_all_at(b"torn", 20).unwrap();
        assert_eq!(GuardFile::open(&path).unwrap().1, Some(A));
        guard.file.write_all_at(b"torn", SLOT as u64 + 20).unwrap();
        assert_eq!(GuardFile::open(&path).unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
