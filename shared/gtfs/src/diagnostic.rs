//! What was found in a feed, and where.

use std::{collections::BTreeMap, fmt};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The feed is used; look at it.
    Warning,
    /// No tariff is made from this feed.
    Error,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// A stable word for programs.
    pub code: &'static str,
    /// The file of the feed, or `tariff.toml` for the overlay.
    pub file: String,
    /// The line in that file, from 1; `None` when the whole file is meant.
    pub row: Option<u64>,
    /// The column, when one is meant.
    pub field: Option<String>,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{severity}[{}]: {}", self.code, self.file)?;
        if let Some(row) = self.row {
            write!(f, ":{row}")?;
        }
        if let Some(field) = &self.field {
            write!(f, " {field}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Findings so far. A fault that repeats on every row of a
/// large file is listed up to a limit.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    list: Vec<Diagnostic>,
    errors: usize,
    /// How many there were of each code in each field of each file.
    seen: BTreeMap<(&'static str, String, Option<String>), usize>,
    /// Codes that are understood: their errors are warnings.
    accepted: Vec<String>,
}

/// Findings of one code in one field beyond this many are not listed: a broken feed must not
/// fill memory.
const PER_FIELD_MAX: usize = 1000;

/// Where a finding is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'a> {
    pub(crate) file: &'a str,
    pub(crate) row: Option<u64>,
    pub(crate) field: Option<&'a str>,
}

impl<'a> At<'a> {
    pub(crate) const fn file(file: &'a str) -> Self {
        Self { file, row: None, field: None }
    }

    pub(crate) const fn field(file: &'a str, row: u64, field: &'a str) -> Self {
        Self { file, row: Some(row), field: Some(field) }
    }
}

impl Findings {
    /// From now on, errors of these codes do not stand in the way.
    pub(crate) fn accept(&mut self, codes: &[String]) {
        self.accepted = codes.to_vec();
    }

    /// Takes over what another reading of the same feed found, once.
    pub(crate) fn add(&mut self, list: Vec<Diagnostic>) {
        for mut diagnostic in list {
            if self.is_accepted(diagnostic.code) {
                diagnostic.severity = Severity::Warning;
            }
            if !self.list.contains(&diagnostic) {
                self.errors += usize::from(diagnostic.severity == Severity::Error);
                self.list.push(diagnostic);
            }
        }
    }

    fn is_accepted(&self, code: &str) -> bool {
        self.accepted.iter().any(|accepted| accepted == code)
    }

    pub(crate) fn error(&mut self, code: &'static str, at: At<'_>, message: impl Into<String>) {
        if self.is_accepted(code) {
            return self.push(Severity::Warning, code, at, message.into());
        }
        self.errors += 1;
        self.push(Severity::Error, code, at, message.into());
    }

    pub(crate) fn warning(&mut self, code: &'static str, at: At<'_>, message: impl Into<String>) {
        self.push(Severity::Warning, code, at, message.into());
    }

    pub(crate) const fn has_errors(&self) -> bool {
        self.errors > 0
    }

    pub(crate) fn into_list(self) -> Vec<Diagnostic> {
        self.list
    }

    fn push(&mut self, severity: Severity, code: &'static str, at: At<'_>, mut message: String) {
        let field = (code, at.file.to_owned(), at.field.map(str::to_owned));
        let seen = self.seen.entry(field).or_default();
        *seen += 1;
        if *seen > PER_FIELD_MAX {
            return;
        }
        if *seen == PER_FIELD_MAX {
            message.push_str(" (more findings of this kind are not listed)");
        }
        self.list.push(Diagnostic {
            severity,
            code,
            file: at.file.to_owned(),
            row: at.row,
            field: at.field.map(str::to_owned),
            message,
        });
    }
}
