//! The scanner's own task: tells the tap loop of each code.

use reader::{Scanner, ScannerConfig};
use tokio::sync::mpsc::UnboundedSender;

use crate::{metrics::Metrics, tap_loop::Event};

/// Runs until the tap loop is gone; ends at once where there is no scanner.
pub(crate) async fn run(
    config: Option<ScannerConfig>,
    tell: UnboundedSender<Event>,
    metrics: Metrics,
) {
    let Some(config) = config else { return };
    let mut scanner = Scanner::new(config);
    loop {
        let read = tokio::select! {
            read = scanner.next() => read,
            () = tell.closed() => return,
        };
        metrics.scanner_dropped.set(i64::try_from(scanner.dropped()).unwrap_or(i64::MAX));
        if tell.send(Event::Scanned(read)).is_err() {
            return;
        }
    }
}
