//! Lists on the validator's disk: the trusted manifest, list keys, complete lists, blocks of one
//! under way.
//!
//! Invariants: a manifest or a list is there whole or not at all, whenever the power goes, and is
//! durable when the call returns; a list's name holds the root of its content, and a file that does
//! not hash to its name is not given out. Blocks are not made durable: each is checked by its hash
//! when it is read, and one that is lost is fetched again.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use fleet_sync::{BlockId, content_pin};
use model::Timestamp;
use wire::{ContentPin, HeldList, ListKind};

/// A file of the lists that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("lists: cannot {what} {path}")]
pub struct DiskError {
    what: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// The folder of the lists.
#[derive(Debug)]
pub(crate) struct ListDisk {
    folder: PathBuf,
    blocks: PathBuf,
}

/// What was there at the start.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The trusted manifest, as it was received.
    pub(crate) manifest: Option<Vec<u8>>,
    /// The newest message that gave list keys, as it was received.
    pub(crate) keys: Option<Vec<u8>>,
    /// See [`ListDisk::keep_complete`].
    pub(crate) complete: Option<Timestamp>,
    /// Complete lists whose bytes are what their names say.
    pub(crate) lists: Vec<(HeldList, ContentPin)>,
    /// Blocks of the list that was under way.
    pub(crate) blocks: Vec<(BlockId, Vec<u8>)>,
}

impl ListDisk {
    /// Opens or makes `state/lists`, and reads what is there. Files that are damaged are removed.
    pub(crate) fn open(state: &Path) -> Result<(Self, Found), DiskError> {
        let folder = state.join("lists");
        let blocks = folder.join("blocks");
        fs::create_dir_all(&blocks).map_err(failed("make", &blocks))?;
        sync_folder(&folder)?;
        sync_folder(state)?;
        let disk = Self { folder, blocks };
        let complete = read(&disk.folder.join("complete"))?;
        let complete = complete.and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
        let mut found = Found {
            manifest: read(&disk.folder.join("manifest"))?,
            keys: read(&disk.folder.join("keys"))?,
            complete: complete.map(|bytes| Timestamp(u64::from_le_bytes(bytes))),
            ..Found::default()
        };
        for path in files(&disk.folder)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Some((list, root)) = parse(&name) else { continue };
            let content = fs::read(&path).map_err(failed("read", &path))?;
            let pin = content_pin(&content);
            if pin.root == root {
                found.lists.push((list, pin));
            } else {
                tracing::warn!(name, "a list is damaged on the disk: it is fetched again");
                fs::remove_file(&path).map_err(failed("remove", &path))?;
            }
        }
        for path in files(&disk.blocks)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let block = fs::read(&path).map_err(failed("read", &path))?;
            match BlockId::parse(&name).filter(|id| BlockId::of(&block) == *id) {
                Some(id) => found.blocks.push((id, block)),
                None => fs::remove_file(&path).map_err(failed("remove", &path))?,
            }
        }
        Ok((disk, found))
    }

    /// Replaces the trusted manifest.
    pub(crate) fn keep_manifest(&self, payload: &[u8]) -> Result<(), DiskError> {
        self.replace(&self.folder.join("manifest"), payload)
    }

    /// Replaces the message that gave list keys.
    pub(crate) fn keep_keys(&self, payload: &[u8]) -> Result<(), DiskError> {
        self.replace(&self.folder.join("keys"), payload)
    }

    /// Keeps when the newest manifest was signed whose lists were all here.
    pub(crate) fn keep_complete(&self, issued: Timestamp) -> Result<(), DiskError> {
        self.replace(&self.folder.join("complete"), &issued.0.to_le_bytes())
    }

    /// Keeps a complete list beside the others.
    pub(crate) fn keep_list(&self, list: HeldList, content: &[u8]) -> Result<(), DiskError> {
        self.replace(&self.folder.join(name(list, content_pin(content))), content)
    }

    /// A complete list's bytes.
    pub(crate) fn read_list(&self, list: HeldList) -> Result<Option<Vec<u8>>, DiskError> {
        let Some(path) = self.find(list)? else { return Ok(None) };
        fs::read(&path).map(Some).map_err(failed("read", &path))
    }

    /// Removes a list, if it is there.
    pub(crate) fn remove_list(&self, list: HeldList) -> Result<(), DiskError> {
        match self.find(list)? {
            None => Ok(()),
            Some(path) => fs::remove_file(&path).map_err(failed("remove", &path)),
        }
    }

    /// Keeps a block for the case of a cut.
    pub(crate) fn keep_block(&self, id: BlockId, block: &[u8]) -> Result<(), DiskError> {
        let path = self.blocks.join(id.to_string());
        fs::write(&path, block).map_err(failed("write", &path))
    }

    /// Removes all blocks.
    pub(crate) fn forget_blocks(&self) -> Result<(), DiskError> {
        for path in files(&self.blocks)? {
            fs::remove_file(&path).map_err(failed("remove", &path))?;
        }
        Ok(())
    }

    fn find(&self, list: HeldList) -> Result<Option<PathBuf>, DiskError> {
        let is_it = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            parse(&name).is_some_and(|(found, _)| found == list)
        };
        Ok(files(&self.folder)?.into_iter().find(is_it))
    }

    /// Whole or not at all, and durable: the bytes first, then the name.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
        let fresh = self.folder.join("fresh");
        let write = || -> io::Result<()> {
            let mut file: File = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&fresh)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&fresh, path)
        };
        write().map_err(failed("write", path))?;
        sync_folder(&self.folder)
    }
}

/// The newest whole list of a kind below the state folder, read without changing anything: a
/// daemon may be at work there.
pub(super) fn newest(state: &Path, kind: ListKind) -> Result<Option<(u64, Vec<u8>)>, DiskError> {
    let folder = state.join("lists");
    if !folder.exists() {
        return Ok(None);
    }
    let mut newest: Option<(u64, Vec<u8>)> = None;
    for path in files(&folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some((list, root)) = parse(&name).filter(|(list, _)| list.kind == kind) else {
            continue;
        };
        let is_newer = newest.as_ref().is_none_or(|(known, _)| *known < list.version);
        // One that is removed meanwhile gives way to a newer one.
        if let Some(content) = read(&path)?.filter(|content| content_pin(content).root == root)
            && is_newer
        {
            newest = Some((list.version, content));
        }
    }
    Ok(newest)
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, DiskError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed("read", path)(e)),
    }
}

/// `list-{kind}-{version}-{root}`.
fn name(list: HeldList, pin: ContentPin) -> String {
    format!("list-{}-{}-{}", list.kind.0, list.version, BlockId(pin.root))
}

fn parse(name: &str) -> Option<(HeldList, [u8; 32])> {
    let mut parts = name.strip_prefix("list-")?.splitn(3, '-');
    let kind = ListKind(parts.next()?.parse().ok()?);
    let version = parts.next()?.parse().ok()?;
    Some((HeldList { kind, version }, BlockId::parse(parts.next()?)?.0))
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, DiskError> {
    let entries = fs::read_dir(folder).map_err(failed("read", folder))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed("read", folder))?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn sync_folder(folder: &Path) -> Result<(), DiskError> {
    File::open(folder).and_then(|handle| handle.sync_all()).map_err(failed("sync", folder))
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DiskError + use<> {
    let path = path.to_path_buf();
    move |source| DiskError { what, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARIFF: HeldList = HeldList { kind: ListKind::TARIFF, version: 7 };

    #[test]
    fn lists_and_blocks_come_back_and_damaged_ones_do_not() {
        let state = tempfile::tempdir().unwrap();
        let (disk, found) = ListDisk::open(state.path()).unwrap();
        assert!(found.manifest.is_none() && found.lists.is_empty() && found.blocks.is_empty());
        disk.keep_manifest(b"first").unwrap();
        disk.keep_manifest(b"second").unwrap();
        disk.keep_complete(Timestamp(77)).unwrap();
        disk.keep_keys(b"keys").unwrap();
        disk.keep_list(TARIFF, b"tariff").unwrap();
        let other = HeldList { version: 8, ..TARIFF };
        disk.keep_list(other, b"damaged").unwrap();
        let damaged = disk.find(other).unwrap().unwrap();
        fs::write(damaged, b"demaged").unwrap();
        let whole = BlockId::of(b"whole");
        disk.keep_block(whole, b"whole").unwrap();
        disk.keep_block(BlockId::of(b"torn"), b"to").unwrap();
        fs::write(state.path().join("lists/fresh"), b"half a wri").unwrap();

        let (disk, found) = ListDisk::open(state.path()).unwrap();
        assert_eq!(found.manifest.as_deref(), Some(&b"second"[..]));
        assert_eq!(found.complete, Some(Timestamp(77)));
        assert_eq!(found.keys.as_deref(), Some(&b"keys"[..]));
        assert_eq!(found.lists, [(TARIFF, content_pin(b"tariff"))]);
        assert_eq!(found.blocks, [(whole, b"whole".to_vec())]);
        assert_eq!(disk.read_list(TARIFF).unwrap().as_deref(), Some(&b"tariff"[..]));
        assert_eq!(newest(state.path(), ListKind::TARIFF).unwrap(), Some((7, b"tariff".to_vec())));
        assert_eq!(newest(state.path(), ListKind::CONFIG).unwrap(), None);
        assert_eq!(newest(&state.path().join("none"), ListKind::TARIFF).unwrap(), None);
        disk.forget_blocks().unwrap();
        disk.remove_list(TARIFF).unwrap();
        disk.remove_list(TARIFF).unwrap();
        let (_, found) = ListDisk::open(state.path()).unwrap();
        assert!(found.lists.is_empty() && found.blocks.is_empty());
    }
}
