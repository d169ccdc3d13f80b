//! The program `validator`, built with the tests so that they run what is in the tree.

use validator::store::Durability;

/// Set to anything, its log is written without `fdatasync`.
const UNSYNCED: &str = "TAPLINE_TEST_UNSYNCED";

fn main() -> std::process::ExitCode {
    let unsynced = std::env::var_os(UNSYNCED).is_some();
    validator::cli::main_with(if unsynced {
        Durability::FlushedForTests
    } else {
        Durability::Synced
    })
}
