//! The sequence guard: a small file beside the store that survives the loss of the store.
//!
//! It holds the log's life, the highest number leased for use, and a floor: the head that the log
//! had when the lease was taken. A log found with a head below the floor has lost entries.
//!
//! The file has two slots, 4096 bytes apart, written in turn, so that a torn write leaves the
//! other one. A slot, integers MSB first: `TLG1`, generation (8), epoch (4), floor (8), leased
//! upper bound (8), CRC-32C (4). The shell writes a slot and syncs the file *before* it tells
//! [`crate::TapLog::handle_leased`].

use alloc::vec::Vec;

use model::{Epoch, TapSeq};

use crate::crc::crc32c;

const MAGIC: &[u8; 4] = b"TLG1";
const SLOT_LEN: usize = 36;
const SLOT_SPACING: usize = 4096;

/// Bytes of the guard file.
pub const GUARD_FILE_LEN: usize = SLOT_SPACING + SLOT_LEN;

/// What the guard file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuardState {
    /// Counts the writes of the file; the newer slot wins.
    pub generation: u64,
    /// The life of the log.
    pub epoch: Epoch,
    /// Every number up to here was in the log when this was written.
    pub floor: TapSeq,
    /// No number above has been given out.
    pub leased_upper: TapSeq,
}

impl GuardState {
    /// Where in the file this state goes, and its bytes.
    pub fn slot(&self) -> (u64, Vec<u8>) {
        let mut bytes = Vec::with_capacity(SLOT_LEN);
        bytes.extend(MAGIC);
        bytes.extend(self.generation.to_be_bytes());
        bytes.extend(self.epoch.0.to_be_bytes());
        bytes.extend(self.floor.0.to_be_bytes());
        bytes.extend(self.leased_upper.0.to_be_bytes());
        bytes.extend(crc32c(&[&bytes]).to_be_bytes());
        (self.generation % 2 * SLOT_SPACING as u64, bytes)
    }

    /// Reads the whole file; `None` when neither slot is good.
    pub fn read(file: &[u8]) -> Option<Self> {
        let slot = |at: usize| file.get(at..at + SLOT_LEN).and_then(Self::read_slot);
        [slot(0), slot(SLOT_SPACING)].into_iter().flatten().max_by_key(|state| state.generation)
    }

    fn read_slot(slot: &[u8]) -> Option<Self> {
        let (body, crc) = slot.split_at_checked(SLOT_LEN - 4)?;
        if body.get(..4)? != MAGIC || crc != crc32c(&[body]).to_be_bytes() {
            return None;
        }
        let u64_at = |i: usize| Some(u64::from_be_bytes(body.get(i..i + 8)?.try_into().ok()?));
        Some(Self {
            generation: u64_at(4)?,
            epoch: Epoch(u32::from_be_bytes(body.get(12..16)?.try_into().ok()?)),
            floor: TapSeq(u64_at(16)?),
            leased_upper: TapSeq(u64_at(24)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(file: &mut [u8], state: &GuardState) {
        let (at, bytes) = state.slot();
        let at = usize::try_from(at).unwrap();
        file[at..at + bytes.len()].copy_from_slice(&bytes);
    }

    fn state(generation: u64, upper: u64) -> GuardState {
        let (floor, leased_upper) = (TapSeq(upper - 1000), TapSeq(upper));
        GuardState { generation, epoch: Epoch(7), floor, leased_upper }
    }

    #[test]
    fn the_newer_slot_wins_and_a_torn_write_leaves_the_older_one() {
        let mut file = [0; GUARD_FILE_LEN];
        assert_eq!(GuardState::read(&file), None);
        assert_eq!(GuardState::read(&[]), None);
        write(&mut file, &state(1, 1000));
        write(&mut file, &state(2, 2000));
        assert_eq!(GuardState::read(&file), Some(state(2, 2000)));
        write(&mut file, &state(3, 3000));
        assert_eq!(GuardState::read(&file), Some(state(3, 3000)));
        for at in 0..SLOT_LEN {
            let mut torn = file;
            torn[SLOT_SPACING + at] ^= 0x10;
            assert_eq!(GuardState::read(&torn), Some(state(2, 2000)), "byte {at}");
        }
    }
}
