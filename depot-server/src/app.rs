//! What every part of the server shares: the books, the events, the metrics, the time.

use std::sync::Arc;

use crate::{
    auth::{LoginError, Secret, Session},
    clock::Clock,
    config::Config,
    events::Events,
    http::views::{Books, BooksError},
    metrics::Metrics,
    store::{Store, StoreError},
};

/// A handle on everything shared. Cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<App>);

/// Everything shared.
pub struct App {
    /// The configuration in force.
    pub config: Config,
    /// What the pages ask of the books. The store, or a fixture in the tests of the pages.
    pub books: Arc<dyn Books>,
    /// Logins.
    pub store: Arc<Store>,
    /// Live events.
    pub events: Events,
    /// Counters.
    pub metrics: Metrics,
    /// The time.
    pub clock: Clock,
}

impl std::ops::Deref for AppState {
    type Target = App;
    fn deref(&self) -> &App {
        &self.0
    }
}

impl AppState {
    /// Shares `app`.
    pub fn new(app: App) -> Self {
        Self(Arc::new(app))
    }

    /// Asks the books, off the async threads.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Books) -> Result<T, BooksError> + Send + 'static,
    ) -> Result<T, BooksError> {
        let books = Arc::clone(&self.books);
        self.run_blocking(move || question(books.as_ref())).await
    }

    /// Makes a session out of the secret of a login link, once.
    pub async fn redeem_login(&self, token: String) -> Result<(Secret, Session), LoginError> {
        let app = self.clone();
        self.run_blocking(move || {
            let hours = app.config.http.session_hours;
            let redeemed = crate::auth::redeem(&app.store, &token, app.clock.now(), hours);
            if redeemed.is_err() {
                app.metrics.login_failed();
            }
            redeemed
        })
        .await
    }

    /// Whose session a cookie stands for; `None` when it is unknown or over.
    pub async fn session(&self, cookie: String) -> Result<Option<Session>, StoreError> {
        let app = self.clone();
        self.run_blocking(move || {
            let hours = app.config.http.session_hours;
            crate::auth::session(&app.store, &cookie, app.clock.now(), hours)
        })
        .await
    }

    /// Ends a session at once.
    pub async fn end_session(&self, cookie: String) -> Result<(), StoreError> {
        let app = self.clone();
        self.run_blocking(move || crate::auth::end_session(&app.store, &cookie)).await
    }

    async fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => done,
            // The work panicked (a broken invariant, which must stop the process) or the runtime
            // is going down.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}
