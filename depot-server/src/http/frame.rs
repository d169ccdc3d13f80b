//! The frame around every page: navigation, clock, who is signed in.

use askama::Template;
use axum::{extract::FromRequestParts, http::request::Parts, response::Html};
use texts::Language;

use super::{
    Problem, Shared, assets, language, live,
    parts::{Times, count},
    views::{Books, BooksError, KindTally},
};
use crate::auth::Session;

/// Who looks at a page, and as of when.
pub(super) struct Viewer {
    pub(super) site: Shared,
    pub(super) who: Session,
    pub(super) times: Times,
    /// In which charges are explained.
    pub(super) language: Language,
    /// Taken before the books are asked: what changes meanwhile is sent again, never missed.
    pub(super) seq: u64,
}

impl FromRequestParts<Shared> for Viewer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, site: &Shared) -> Result<Self, Problem> {
        // The middleware lets nobody through without a session.
        let who = parts.extensions.get::<Session>().cloned().ok_or(Problem::Broken)?;
        let (times, seq) = (site.times(), site.hub.seq());
        let language = language::of(&parts.headers);
        Ok(Self { site: Shared::clone(site), who, times, language, seq })
    }
}

/// What the frame shows.
pub(super) struct Frame {
    /// The page's title.
    pub(super) title: String,
    /// The page's place in the navigation.
    pub(super) here: &'static str,
    /// The depot's name.
    pub(super) depot: String,
    /// Who is signed in.
    pub(super) who: String,
    /// Open exceptions; empty when there are none.
    pub(super) open: String,
    /// The zone's name.
    pub(super) zone: String,
    /// The page's time.
    pub(super) now_ms: u64,
    /// The same, as text.
    pub(super) clock: String,
    /// Events up to this number are already in the page.
    pub(super) seq: u64,
}

impl Frame {
    /// For a page; the tally gives the number beside "Exceptions".
    pub(super) fn new(
        viewer: &Viewer,
        here: &'static str,
        title: impl Into<String>,
        tally: &[KindTally],
    ) -> Self {
        let Viewer { site, who, times, seq, .. } = viewer;
        let open: u64 = tally.iter().map(|kind| kind.open).sum();
        Self {
            title: title.into(),
            here,
            depot: site.app.config.depot.clone(),
            who: who.user.clone(),
            open: if open == 0 { String::new() } else { count(open) },
            zone: times.zone_name(),
            now_ms: times.now().0,
            clock: times.at(times.now()).text,
            seq: *seq,
        }
    }

    /// How long a page may hear nothing before it says so.
    #[expect(clippy::unused_self, reason = "templates read it from the frame")]
    pub(super) fn quiet_ms(&self) -> u64 {
        live::QUIET_MS
    }
}

/// The tally for a page that shows nothing else of it.
pub(super) fn tally(books: &dyn Books) -> Result<Vec<KindTally>, BooksError> {
    books.exception_tally()
}

#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemPage<'a> {
    title: &'a str,
    text: &'a str,
}

/// A page that says what is wrong, in the frame's dress but with nothing of the depot in it.
pub(super) fn problem(title: &str, text: &str) -> Html<String> {
    // A template without loops or lookups renders; if it did not, the text alone is still true.
    Html(ProblemPage { title, text }.render().unwrap_or_else(|_| title.to_owned()))
}

/// A rendered page.
pub(super) fn html(page: &impl Template) -> Result<Html<String>, Problem> {
    Ok(Html(page.render()?))
}
