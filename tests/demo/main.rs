//! `cargo demo`: see `tests/demo/mod.rs`.

use std::process::ExitCode;

use clap::Parser;
use tapline_tests::demo::{Options, report::Voice, run};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    // Both `cargo demo --speed 300` and `cargo demo -- --speed 300` are natural to write; the
    // alias ends with `--` already.
    let written = std::env::args_os().enumerate().filter(|(i, word)| *i != 1 || word != "--");
    let options = Options::parse_from(written.map(|(_, word)| word));
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error,rumqttd=off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Runtime::new().expect("the system starts two threads");
    let done = runtime.block_on(run(&options, asked_to_stop()));
    // What still runs has nothing to lose: every promise is on disk.
    runtime.shutdown_background();
    match done {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(outcome)) if outcome.is_good() => ExitCode::SUCCESS,
        Ok(Some(_)) => ExitCode::from(1),
        Err(error) => {
            Voice::error(&error);
            ExitCode::from(2)
        }
    }
}

/// Ctrl-C, or a polite kill.
async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).expect("signals can be heard");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
