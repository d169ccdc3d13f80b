//! The file of the sequence guard. Its rules and its bytes are tap-log's; here it is written so
//! that it survives the loss of the store beside it and of power.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

use tap_log::{GUARD_FILE_LEN, GuardState};

/// The open file.
#[derive(Debug)]
pub(crate) struct GuardFile(File);

impl GuardFile {
    /// Opens or creates it in `state`, and tells what it says; `None` when it was never written or
    /// says nothing that can be relied on.
    pub(crate) fn open(state: &Path) -> io::Result<(Self, Option<GuardState>)> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(state.join("guard"))?;
        let mut bytes = Vec::with_capacity(GUARD_FILE_LEN);
        (&mut file).take(GUARD_FILE_LEN as u64).read_to_end(&mut bytes)?;
        // The name must be durable before anything relies on the contents.
        file.sync_all()?;
        File::open(state)?.sync_all()?;
        Ok((Self(file), GuardState::read(&bytes)))
    }

    /// Durable when it returns.
    pub(crate) fn write(&self, guard: &GuardState) -> io::Result<()> {
        let (at, bytes) = guard.slot();
        self.0.write_all_at(&bytes, at)?;
        self.0.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Epoch, TapSeq};

    #[test]
    fn a_torn_write_leaves_the_state_before_it() {
        let state = tempfile::tempdir().unwrap();
        let (file, none) = GuardFile::open(state.path()).unwrap();
        assert_eq!(none, None);
        let first = GuardState {
            generation: 1,
            epoch: Epoch(7),
            floor: TapSeq(0),
            leased_upper: TapSeq(1000),
        };
        let second = GuardState { generation: 2, leased_upper: TapSeq(2000), ..first };
        file.write(&first).unwrap();
        file.write(&second).unwrap();
        assert_eq!(GuardFile::open(state.path()).unwrap().1, Some(second));
        file.0.write_all_at(b"torn", second.slot().0 + 20).unwrap();
        assert_eq!(GuardFile::open(state.path()).unwrap().1, Some(first));
    }
}
