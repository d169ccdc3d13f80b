//! The merged configuration as TOML: what the file did not say is marked as default.

pub(super) fn annotate(
    out: &mut String,
    path: &mut Vec<String>,
    merged: &toml::Table,
    said: Option<&toml::Table>,
) {
    use std::fmt::Write;
    let tables = |t: &toml::Value| matches!(t, toml::Value::Table(_));
    if !path.is_empty() {
        let _ = writeln!(out, "{}[{}]", if out.is_empty() { "" } else { "\n" }, path.join("."));
    }
    for (key, value) in merged.iter().filter(|(_, v)| !tables(v)) {
        let origin = if said.is_some_and(|s| s.contains_key(key)) { "" } else { "  # default" };
        let _ = writeln!(out, "{key} = {value}{origin}");
    }
    for (key, value) in merged {
        if let toml::Value::Table(inner) = value {
            path.push(key.clone());
            let below = said.and_then(|s| s.get(key)).and_then(toml::Value::as_table);
            annotate(out, path, inner, below);
            path.pop();
        }
    }
}
