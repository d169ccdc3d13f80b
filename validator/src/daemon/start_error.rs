//! Why a validator does not start.

use std::{net::SocketAddr, path::PathBuf};

use model::TapRole;

use crate::{lists::DiskError, log_keeper::OpenError, releases::ReleaseDiskError};

/// Why a validator does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The tap log.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// A tariff file.
    #[error("cannot read the tariff file {path}")]
    TariffFile {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A tariff.
    #[error("the tariff {path} cannot be used:\n{problems}")]
    Tariff {
        /// Which file.
        path: PathBuf,
        /// Line by line.
        problems: String,
    },
    /// The place or route is not in the tariff in force.
    #[error("{key} {name:?} is not in tariff version {version}: it has {known}")]
    Unknown {
        /// The configuration key.
        key: &'static str,
        /// What it says.
        name: String,
        /// The tariff's version.
        version: String,
        /// Some that it has.
        known: String,
    },
    /// A tap here is priced by the route, and none is configured.
    #[error(
        "validator.route is missing: a validator with role \"{role}\" at {place:?} prices by the \
         route under tariff version {version}; set it to one of {known}"
    )]
    RouteMissing {
        /// What it does.
        role: TapRole,
        /// Where it stands.
        place: String,
        /// The tariff's version.
        version: String,
        /// Some routes of the tariff.
        known: String,
    },
    /// The console's socket.
    #[error("cannot make the socket {path}: choose another console.socket")]
    Console {
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The lists on the disk.
    #[error(transparent)]
    Lists(#[from] DiskError),
    /// Releases on the disk.
    #[error(transparent)]
    Releases(#[from] ReleaseDiskError),
    /// The metrics page.
    #[error("cannot serve metrics at {address}: choose another metrics.listen")]
    Metrics {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}
