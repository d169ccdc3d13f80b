//! The demo: a city in one process. Everything but the riders, their cards and the broker is the
//! production code: the validators' daemon on sled, the depot server on SQLite, MQTT between them.
//!
//! `feed` reads the city, `lines` says who stands where, `post` runs a validator, `depot` the
//! server, `riders` and `day` the people, `audit` compares what they pay with the feed's table.

pub mod audit;
pub mod broker;
pub mod city_time;
pub mod day;
pub mod depot;
pub mod fare_table;
pub mod fare_terms;
pub mod faults;
pub mod feed;
pub mod lines;
pub mod options;
pub mod post;
pub mod report;
pub mod riders;
pub mod run;
pub mod showcase;

use std::{io, path::PathBuf};

pub use options::Options;
pub use run::run;

/// Why the demo cannot start.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The feed.
    #[error("the feed {path} cannot be used:\n  {problem}")]
    Feed {
        /// Which.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The fare check reads the tariff text by itself.
    #[error("the fare check cannot follow the tariff text: {0}")]
    Terms(String),
    /// Nothing to ride.
    #[error(
        "no ride can be paid with these fares and {0} validators: raise --validators, \
         or name a feed with fare_rules.txt"
    )]
    NothingServed(usize),
    /// The state folder.
    #[error("cannot use the state folder {path}: give a new or empty folder with --state")]
    State {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The dashboard's port.
    #[error("cannot listen on 127.0.0.1:{port}: choose another port with --port")]
    Port {
        /// Which.
        port: u16,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Any part that does not start.
    #[error("a part of the demo does not start")]
    Start(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl DemoError {
    fn start(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Start(error.into())
    }
}
