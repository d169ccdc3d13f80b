//! The query string as the state of a page: read leniently, written canonically.
//!
//! A word that is not known is reported, never silently dropped: a filter that does not filter
//! would show a wrong figure.

use std::{collections::BTreeMap, fmt, str::FromStr};

use super::{Problem, words::Shown};
use crate::config::to_hex;

/// The parameters of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(transparent)]
pub(super) struct Params(BTreeMap<String, String>);

impl Params {
    /// A parameter, unless it is absent or empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// A parameter that is parsed by its type.
    pub(super) fn parsed<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, Problem>
    where
        T::Err: fmt::Display,
    {
        self.text(name).map(|value| value.parse().map_err(|why| bad(name, value, &why))).transpose()
    }

    /// A parameter that is the word of a state.
    pub(super) fn state<S: Shown>(&self, name: &'static str) -> Result<Option<S>, Problem> {
        self.text(name)
            .map(|value| {
                S::from_word(value).ok_or_else(|| {
                    let words: Vec<_> = S::ALL.iter().map(|s| s.sign().word).collect();
                    bad(name, value, &format_args!("use one of {}", words.join(", ")))
                })
            })
            .transpose()
    }
}

fn bad(name: &str, value: &str, why: &dyn fmt::Display) -> Problem {
    Problem::BadRequest(format!("The address says {name}={value}: {why}."))
}

/// A query string being written, parameters in the order of writing, empty ones left out.
#[derive(Debug, Clone, Default)]
pub(super) struct Query(String);

impl Query {
    /// With one more parameter, unless there is no value.
    #[must_use]
    pub(super) fn with(mut self, name: &str, value: Option<impl fmt::Display>) -> Self {
        let Some(value) = value.map(|v| v.to_string()).filter(|v| !v.is_empty()) else {
            return self;
        };
        self.0.push(if self.0.is_empty() { '?' } else { '&' });
        self.0.push_str(name);
        self.0.push('=');
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                    self.0.push(char::from(byte));
                }
                other => {
                    self.0.push('%');
                    self.0.push_str(&to_hex(&[other]).to_uppercase());
                }
            }
        }
        self
    }

    /// With the word of a state.
    #[must_use]
    pub(super) fn state(self, name: &str, state: Option<impl Shown>) -> Self {
        self.with(name, state.map(|s| s.sign().word))
    }

    /// Behind a path.
    pub(super) fn on(&self, path: &str) -> String {
        format!("{path}{}", self.0)
    }
}

/// One choice of a `<select>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) value: String,
    pub(super) label: String,
    pub(super) selected: bool,
}

/// One `<select>` of a filter; its empty choice is "any".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Select {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) choices: Vec<Choice>,
}

/// All words of a state as choices.
pub(super) fn choices<S: Shown>(current: Option<S>) -> Vec<Choice> {
    S::ALL
        .iter()
        .map(|state| Choice {
            value: state.sign().word.to_owned(),
            label: state.sign().label.to_owned(),
            selected: current == Some(*state),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::views::LinkState;
    use super::*;

    #[test]
    fn a_query_is_written_in_order_and_escaped() {
        let query = Query::default()
            .with("q", Some("Gate 4 & é"))
            .with("page", None::<u32>)
            .state("link", Some(LinkState::NeverSeen));
        assert_eq!(query.on("/fleet"), "/fleet?q=Gate%204%20%26%20%C3%A9&link=never-seen");
        assert_eq!(Query::default().on("/fleet"), "/fleet");
    }

    #[test]
    fn an_unknown_word_is_reported_with_the_words_there_are() {
        let params = Params(BTreeMap::from([("link".to_owned(), "gone".to_owned())]));
        let Err(Problem::BadRequest(text)) = params.state::<LinkState>("link") else {
            panic!("the word must be refused");
        };
        assert_eq!(
            text,
            "The address says link=gone: use one of lost, late, never-seen, connected."
        );
    }
}
