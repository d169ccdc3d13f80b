//! Findings about a feed or a tariff, and how they are shown.

use std::{collections::BTreeMap, fmt};

use gtfs::{Diagnostic, Severity};
use serde::Serialize;

use crate::cli::warn;

/// One finding, as `fares check --json` writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) severity: &'static str,
    /// A stable word for programs.
    pub(super) code: &'static str,
    pub(super) file: String,
    /// The line in the file, from 1.
    pub(super) row: Option<u64>,
    /// A column of a feed, or a key of a tariff.
    pub(super) field: Option<String>,
    pub(super) message: String,
    /// The whole of it for people.
    #[serde(skip)]
    text: String,
}

const ERROR: &str = "error";
const WARNING: &str = "warning";
/// The feed has a column or a file that changes a price and is in no specification.
const CHANGES_PRICE: [&str; 2] = ["column_changes_price", "file_changes_price"];

impl Finding {
    pub(super) fn of_tariff(file: &str, found: &fare::Diagnostic) -> Self {
        Self {
            severity: match found.severity {
                fare::Severity::Warning => WARNING,
                fare::Severity::Error => ERROR,
            },
            code: "tariff",
            file: file.to_owned(),
            row: found.line.map(u64::from),
            field: Some(found.key.clone()).filter(|key| !key.is_empty()),
            message: format!("{}; {}", found.message, found.advice),
            text: found.to_string(),
        }
    }

    pub(super) fn is_error(&self) -> bool {
        self.severity == ERROR
    }

    /// Whether prices from this feed may not be what its agency means.
    pub(super) fn puts_prices_in_doubt(&self) -> bool {
        self.is_error() || CHANGES_PRICE.contains(&self.code)
    }
}

impl From<&Diagnostic> for Finding {
    fn from(found: &Diagnostic) -> Self {
        Self {
            severity: match found.severity {
                Severity::Warning => WARNING,
                Severity::Error => ERROR,
            },
            code: found.code,
            file: found.file.clone(),
            row: found.row,
            field: found.field.clone(),
            message: found.message.clone(),
            text: found.to_string(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Errors and warnings, counted.
pub(super) fn count(findings: &[Finding]) -> String {
    let errors = findings.iter().filter(|finding| finding.is_error()).count();
    let warnings = findings.len() - errors;
    let s = |n: usize| if n == 1 { "" } else { "s" };
    format!("{errors} error{}, {warnings} warning{}", s(errors), s(warnings))
}

/// Findings in short: per kind the first and how many there are besides; errors first.
pub(super) fn warn_in_short(findings: &[Finding]) {
    let mut kinds: BTreeMap<(bool, &str), (usize, &Finding)> = BTreeMap::new();
    for finding in findings {
        kinds.entry((!finding.is_error(), finding.code)).or_insert((0, finding)).0 += 1;
    }
    for (count, first) in kinds.into_values() {
        let more = if count > 1 { format!(" (and {} more)", count - 1) } else { String::new() };
        warn(&format!("{first}{more}"));
    }
}
