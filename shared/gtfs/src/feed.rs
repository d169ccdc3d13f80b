//! Where the files of a feed come from: a folder, a zip, or bytes in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    io::Read as _,
    path::{Path, PathBuf},
};

/// The files that are read; others are only known by name.
const READ: [&str; 21] = [
    "agency.txt",
    "areas.txt",
    "calendar.txt",
    "calendar_dates.txt",
    "fare_attributes.txt",
    "fare_leg_join_rules.txt",
    "fare_leg_rules.txt",
    "fare_media.txt",
    "fare_products.txt",
    "fare_rules.txt",
    "fare_transfer_rules.txt",
    "frequencies.txt",
    "networks.txt",
    "rider_categories.txt",
    "route_networks.txt",
    "routes.txt",
    "stop_areas.txt",
    "stop_times.txt",
    "stops.txt",
    "timeframes.txt",
    "trips.txt",
];

/// A file larger than this is refused: a zip of a few kilobytes can hold more than memory does.
const FILE_MAX_BYTES: u64 = 1 << 30;

/// The files of one feed.
#[derive(Debug, Clone, Default)]
pub struct Feed {
    names: BTreeSet<String>,
    files: BTreeMap<String, Vec<u8>>,
}

/// Why a feed could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// A file or folder could not be read.
    #[error("cannot read {}: check that it exists and may be read", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Not a zip file.
    #[error("not a readable zip file: give a GTFS zip or the folder of its files")]
    Zip(#[source] zip::result::ZipError),
    /// A file is too large.
    #[error("{name} has {bytes} bytes: more than 1 GiB is not read")]
    TooLarge {
        /// Which file.
        name: String,
        /// Its size.
        bytes: u64,
    },
}

impl Feed {
    /// From a folder of text files or a zip file.
    pub fn open(path: &Path) -> Result<Self, FeedError> {
        let read_error = |source| FeedError::Read { path: path.to_owned(), source };
        if fs::metadata(path).map_err(read_error)?.is_dir() {
            return Self::from_dir(path);
        }
        Self::from_zip(&fs::read(path).map_err(read_error)?)
    }

    /// From the bytes of a zip file. A single folder around the files is tolerated.
    pub fn from_zip(bytes: &[u8]) -> Result<Self, FeedError> {
        let mut archive = zip::ZipArchive::new(io::Cursor::new(bytes)).map_err(FeedError::Zip)?;
        let mut feed = Self::default();
        for i in 0..archive.len() {
            let entry = archive.by_index(i).map_err(FeedError::Zip)?;
            let path = entry.name().map_err(FeedError::Zip)?.into_owned();
            if entry.is_dir() || path.starts_with("__MACOSX") {
                continue;
            }
            let name = path.rsplit('/').next().unwrap_or_default().to_owned();
            feed.names.insert(name.clone());
            if !READ.contains(&name.as_str()) {
                continue;
            }
            let mut contents = Vec::new();
            let read_error = |source| FeedError::Read { path: PathBuf::from(&name), source };
            entry.take(FILE_MAX_BYTES + 1).read_to_end(&mut contents).map_err(read_error)?;
            feed.insert(name, contents)?;
        }
        Ok(feed)
    }

    /// From files in memory, by name.
    pub fn from_files<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut feed = Self::default();
        for (name, bytes) in files {
            feed.names.insert(name.to_owned());
            feed.files.insert(name.to_owned(), bytes.to_vec());
        }
        feed
    }

    /// Whether the feed has this file, read or not.
    pub fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Names of all files, read or not.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    pub(crate) fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(Vec::as_slice)
    }

    fn from_dir(dir: &Path) -> Result<Self, FeedError> {
        let read_error = |path: &Path| {
            let path = path.to_owned();
            move |source| FeedError::Read { path, source }
        };
        let mut feed = Self::default();
        for entry in fs::read_dir(dir).map_err(read_error(dir))? {
            let entry = entry.map_err(read_error(dir))?;
            feed.names.insert(entry.file_name().to_string_lossy().into_owned());
        }
        for name in READ {
            if feed.names.contains(name) {
                let path = dir.join(name);
                let file = fs::File::open(&path).map_err(read_error(&path))?;
                let mut contents = Vec::new();
                file.take(FILE_MAX_BYTES + 1)
                    .read_to_end(&mut contents)
                    .map_err(read_error(&path))?;
                feed.insert(name.to_owned(), contents)?;
            }
        }
        Ok(feed)
    }

    fn insert(&mut self, name: String, contents: Vec<u8>) -> Result<(), FeedError> {
        let bytes = contents.len() as u64;
        if bytes > FILE_MAX_BYTES {
            return Err(FeedError::TooLarge { name, bytes });
        }
        self.files.insert(name, contents);
        Ok(())
    }
}
