//! Whether there is room to go on writing taps.
//!
//! A device that fills up fails in the middle of a write, and what that leaves is nobody's promise.
//! So some of it is kept back: service ends while there is still room for what is under way.

use std::path::Path;

use rustix::fs::statvfs;

/// Bytes free to us on the file system of `folder`; `None` when it does not say.
pub(crate) fn free_bytes(folder: &Path) -> Option<u64> {
    let said = statvfs(folder).ok()?;
    said.f_bavail.checked_mul(said.f_frsize)
}

/// Why there is too little room; `None` when there is enough.
pub(crate) fn too_little(folder: &Path, reserve_bytes: u64) -> Option<String> {
    let free = free_bytes(folder).filter(|free| *free < reserve_bytes)?;
    Some(format!(
        "{} of {} MiB that must be free are left where taps are kept, {}: make room there",
        free >> 20,
        reserve_bytes >> 20,
        folder.display(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_larger_than_any_device_is_too_little_and_none_is_enough() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(too_little(folder.path(), 0), None);
        let said = too_little(folder.path(), u64::MAX).expect("no device is so large");
        assert!(said.contains("make room there"), "{said}");
    }
}
