//! The merged configuration as TOML, each value with its origin: what the depot set, the line of
//! the file that says it, or that nobody did. No key is read from the environment.

use std::{collections::BTreeMap, fmt::Write};

use toml::de::DeTable;

/// Who said a value, in words, by its key with dots. What is not in here is a default.
pub(super) type Origins = BTreeMap<String, String>;

/// What a file says, and in which line.
pub(super) fn of_file(text: &str) -> Origins {
    let mut origins = Origins::new();
    // A text that is none has been refused before it got here.
    if let Ok(table) = DeTable::parse(text) {
        lines(text, "", table.get_ref(), &mut origins);
    }
    origins
}

fn lines(text: &str, prefix: &str, table: &DeTable<'_>, origins: &mut Origins) {
    for (key, value) in table {
        let path = format!("{prefix}{}", key.get_ref());
        if let Some(inner) = value.get_ref().as_table() {
            lines(text, &format!("{path}."), inner, origins);
        } else {
            let before = text.get(..key.span().start).unwrap_or(text);
            let line = before.matches('\n').count() + 1;
            origins.insert(path, format!("line {line}"));
        }
    }
}

pub(super) fn annotate(
    out: &mut String,
    path: &mut Vec<String>,
    merged: &toml::Table,
    origins: &Origins,
) {
    let tables = |t: &toml::Value| matches!(t, toml::Value::Table(_));
    if !path.is_empty() {
        let _ = writeln!(out, "{}[{}]", if out.is_empty() { "" } else { "\n" }, path.join("."));
    }
    for (key, value) in merged.iter().filter(|(_, v)| !tables(v)) {
        let dotted = path.iter().chain([key]).map(String::as_str).collect::<Vec<_>>().join(".");
        let origin = origins.get(&dotted).map_or("default", String::as_str);
        let _ = writeln!(out, "{key} = {value}  # {origin}");
    }
    for (key, value) in merged {
        if let toml::Value::Table(inner) = value {
            path.push(key.clone());
            annotate(out, path, inner, origins);
            path.pop();
        }
    }
}
