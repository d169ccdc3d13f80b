//! In which language charges are explained: what the reader chose, else what the browser asks for.
//!
//! The frame around them is for staff and English; a charge is often read out to a rider, or shown.

use axum::{
    Form,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Redirect, Response},
};
use texts::Language;

use super::{Problem, query::Params};

/// No secret, so scripts and plain HTTP may see it; a year, because readers rarely change.
const NAME: &str = "language";
const KEEP: &str = "Path=/; SameSite=Strict; Max-Age=31536000";

/// The languages of one page.
pub(super) struct Languages {
    /// Where the reader goes on after a choice.
    pub(super) back: String,
    pub(super) now: Language,
    pub(super) choices: [Language; 2],
}

impl Languages {
    pub(super) fn new(now: Language, back: &str) -> Self {
        Self { back: back.to_owned(), now, choices: Language::ALL }
    }
}

/// The reader's language. A choice that is no language here counts as none.
pub(super) fn of(headers: &HeaderMap) -> Language {
    let lines = |name| headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines(header::COOKIE)
        .flat_map(|line| line.split("; "))
        .filter_map(|pair| pair.split_once('='))
        .filter(|(name, _)| *name == NAME)
        .find_map(|(_, tag)| tag.parse().ok())
        .unwrap_or_else(|| {
            // Several lines of a header mean the same as one with commas (RFC 9110).
            Language::accepted(&lines(header::ACCEPT_LANGUAGE).collect::<Vec<_>>().join(","))
        })
}

/// `POST /language`: remembers the choice and leads back.
pub(super) async fn choose(Form(form): Form<Params>) -> Result<Response, Problem> {
    let said = form.text("language").unwrap_or_default();
    let language: Language = said
        .parse()
        .map_err(|why| Problem::BadRequest(format!("The form says language={said}: {why}.")))?;
    let mut response = Redirect::to(inside(form.text("back").unwrap_or_default())).into_response();
    let cookie = HeaderValue::try_from(format!("{NAME}={language}; {KEEP}"));
    response.headers_mut().append(header::SET_COOKIE, cookie.map_err(|_| Problem::Broken)?);
    Ok(response)
}

/// The address if it is a path of this site: a form must not lead anywhere else.
fn inside(back: &str) -> &str {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/?=&-_.%".contains(&b);
    let path = back.starts_with('/') && !back.starts_with("//") && back.bytes().all(plain);
    if path { back } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_comes_before_the_browsers_wish_and_english_last() {
        for (cookie, accept, wanted) in [
            (None, None, Language::English),
            (None, Some("ko-KR,ko;q=0.9"), Language::Korean),
            (Some("language=en"), Some("ko"), Language::English),
            (Some("tapline=abc; language=ko"), Some("en"), Language::Korean),
            (Some("language=xx"), Some("ko"), Language::Korean),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [(header::COOKIE, cookie), (header::ACCEPT_LANGUAGE, accept)] {
                if let Some(value) = value {
                    headers.append(name, HeaderValue::from_static(value));
                }
            }
            assert_eq!(of(&headers), wanted, "{cookie:?} {accept:?}");
        }
    }

    #[test]
    fn a_choice_leads_nowhere_but_into_this_site() {
        assert_eq!(inside("/cards/00ff?before=7"), "/cards/00ff?before=7");
        for other in ["//evil", "https://evil", "/\\evil", "", "cards", "/a\r\nb: c"] {
            assert_eq!(inside(other), "/", "{other:?}");
        }
    }
}
