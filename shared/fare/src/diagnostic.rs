//! What is wrong with a tariff: where, what, and what to do about it.

use alloc::string::String;
use core::fmt;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The tariff is used; look at it.
    Warning,
    /// The tariff is not used.
    Error,
}

/// Which text it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// The tariff itself.
    Tariff,
    /// The text laid over it.
    Overlay,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Which text.
    pub layer: Layer,
    /// Line in that text, from 1; `None` when the tariff was not read from text.
    pub line: Option<u32>,
    /// The key, such as `product[2].price`; entries of a list count from 1.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub advice: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        let layer = match self.layer {
            Layer::Tariff => "",
            Layer::Overlay => "overlay ",
        };
        write!(f, "{severity}: {layer}")?;
        if let Some(line) = self.line {
            write!(f, "line {line}, ")?;
        }
        write!(f, "{}: {}; {}", self.key, self.message, self.advice)
    }
}

/// The candidate that `word` was probably meant to be.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let close = |candidate: &'a str| (distance(word, candidate), candidate);
    let (changes, best) = candidates.into_iter().map(close).min()?;
    (changes <= 2 && changes < word.chars().count()).then_some(best)
}

/// Letters to insert, delete or replace (Levenshtein), for short words.
fn distance(a: &str, b: &str) -> usize {
    if a.len().abs_diff(b.len()) > 8 || a.len() > 64 {
        return usize::MAX;
    }
    let mut row: alloc::vec::Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.chars().enumerate() {
            let replace = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.chars().count()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested_and_far_ones_are_not() {
        assert_eq!(nearest("limt_s", ["limit_s", "price"]), Some("limit_s"));
        assert_eq!(nearest("curency", ["currency", "classes"]), Some("currency"));
        assert_eq!(nearest("colour", ["id", "name"]), None);
        assert_eq!(nearest("x", ["id"]), None);
    }
}
