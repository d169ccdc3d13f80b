//! Explains what is wrong with a configuration, and what it comes to when nothing is.

use std::{fmt, path::Path};

use super::{Config, ConfigError};

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The configuration file.
    File,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::File => "file",
        })
    }
}

/// One key with its value as TOML and its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Dotted key.
    pub key: String,
    /// Value as TOML text.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

/// Every setting in force, in the order of the keys.
pub fn settings(path: &Path) -> Result<Vec<Setting>, ConfigError> {
    let config = Config::load(path)?;
    let read = |source| ConfigError::Read { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(read)?;
    let parse = |message| ConfigError::Parse { path: path.to_owned(), message };
    let given: toml::Table = toml::from_str(&text).map_err(|e| parse(explain(&e)))?;
    let merged = toml::Table::try_from(&config).map_err(|e| parse(e.to_string()))?;
    let mut all = Vec::new();
    walk("", &merged, Some(&given), &mut all);
    Ok(all)
}

fn walk(prefix: &str, merged: &toml::Table, given: Option<&toml::Table>, out: &mut Vec<Setting>) {
    for (name, value) in merged {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        let set = given.and_then(|table| table.get(name));
        if let Some(table) = value.as_table() {
            walk(&key, table, set.and_then(toml::Value::as_table), out);
        } else {
            let origin = if set.is_some() { Origin::File } else { Origin::Default };
            out.push(Setting { key, value: value.to_string(), origin });
        }
    }
}

/// The parser's message, with the key that was probably meant.
pub(super) fn explain(error: &toml::de::Error) -> String {
    let text = error.to_string().trim_end().to_owned();
    let mut quoted = error.message().split('`').skip(1).step_by(2);
    let suggestion = error
        .message()
        .starts_with("unknown field")
        .then(|| {
            let unknown = quoted.next()?;
            quoted.map(|known| (distance(unknown, known), known)).min()
        })
        .flatten();
    match suggestion {
        Some((far, known)) if far <= 3 => format!("{text}\ndid you mean `{known}`?"),
        Some(_) | None => text,
    }
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        for (a, b, edits) in [("", "", 0), ("host", "hots", 2), ("port", "prt", 1), ("a", "", 1)] {
            assert_eq!(distance(a, b), edits, "{a} {b}");
        }
    }

    #[test]
    fn every_setting_says_where_it_comes_from() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("depot.toml");
        std::fs::write(&path, "depot = \"north\"\n[mqtt]\nport = 8883\n").unwrap();
        let all = settings(&path).unwrap();
        let of = |key: &str| all.iter().find(|s| s.key == key).map(|s| s.origin);
        assert_eq!(of("mqtt.port"), Some(Origin::File));
        assert_eq!(of("mqtt.host"), Some(Origin::Default));
    }
}
