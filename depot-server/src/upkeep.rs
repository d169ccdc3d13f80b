//! Looks every minute which validators see too few taps. That nothing comes is no event, so nobody
//! else would tell the screens and the metrics of it.

use std::{collections::BTreeSet, time::Duration};

use model::ValidatorId;
use tokio::sync::watch;

use crate::{
    app::AppState,
    http::views::{Books, BooksError, FleetWork, Live, ServiceState},
    intake::run::{chain, told_to},
};

const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Looks until the server stops.
pub(crate) async fn run(app: AppState, mut stop: watch::Receiver<bool>) {
    let mut every = tokio::time::interval(LOOK_EVERY);
    let mut known = BTreeSet::new();
    loop {
        tokio::select! {
            () = told_to(&mut stop) => return,
            _ = every.tick() => {}
        }
        match app.ask(look).await {
            Ok((named, work)) => tell(&app, &mut known, named, work),
            Err(error) => tracing::warn!(error = %chain(&error), "the fleet's work is not judged"),
        }
    }
}

/// Who sees too few taps, and what all do.
fn look(books: &dyn Books) -> Result<(BTreeSet<ValidatorId>, FleetWork), BooksError> {
    let few = books.fleet()?.into_iter().filter(|row| row.service == ServiceState::TooFew);
    Ok((few.map(|row| row.id).collect(), books.fleet_work()?))
}

fn tell(
    app: &AppState,
    known: &mut BTreeSet<ValidatorId>,
    named: BTreeSet<ValidatorId>,
    work: FleetWork,
) {
    for id in named.difference(known) {
        tracing::warn!(validator = %id, "in service by its own word, but sees too few taps");
    }
    for id in named.symmetric_difference(known) {
        app.events.send(Live::Validator(*id));
    }
    app.metrics.too_few.set(i64::try_from(named.len()).unwrap_or(i64::MAX));
    for (of, hours) in [("expected", work.expected_hours), ("worked", work.worked_hours)] {
        let hours = i64::try_from(hours).unwrap_or(i64::MAX);
        app.metrics.work_hours.with_label_values(&[of]).set(hours);
    }
    *known = named;
}
