//! The table of outcomes at the desk: cases that end alike are one line.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use tapline_tests::sim::validator::Reach;

use super::{Case, Then, Work};
use crate::tearing::table::span;

const ORDER: [&str; 9] = [
    "personalise",
    "select",
    "authenticate",
    "read",
    "read products",
    "credit",
    "debit",
    "write",
    "commit",
];

/// How a case ended, in words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    pub(super) then: Then,
    pub(super) first: &'static str,
    pub(super) card: &'static str,
    pub(super) again: String,
    pub(super) times: usize,
    pub(super) decided: String,
}

/// What ended alike.
#[derive(Default)]
struct Line {
    works: BTreeSet<Work>,
    steps: BTreeSet<(usize, String)>,
    cases: u64,
}

#[derive(Default)]
pub(super) struct Table(BTreeMap<Row, Line>);

impl Table {
    pub(super) fn count(&mut self, case: &Case, row: Row) {
        let line = self.0.entry(row).or_default();
        line.works.insert(case.work);
        let words = match (case.step, case.tear.reach) {
            ("commit", Reach::Unheard) => "commit, not heard".to_owned(),
            ("commit", Reach::Unanswered | Reach::Bytes(_)) => "commit, heard".to_owned(),
            (step, _) => step.to_owned(),
        };
        let place = ORDER.iter().position(|name| *name == case.step).expect("a step of the desk");
        line.steps.insert((place, words));
        line.cases += 1;
    }

    pub(super) fn and(mut self, other: Self) -> Self {
        for (row, line) in other.0 {
            let mine = self.0.entry(row).or_default();
            mine.works.extend(line.works);
            mine.steps.extend(line.steps);
            mine.cases += line.cases;
        }
        self
    }

    fn cases_where(&self, wanted: impl Fn(&Row) -> bool) -> u64 {
        self.0.iter().filter(|(row, _)| wanted(row)).map(|(_, line)| line.cases).sum()
    }

    pub(super) fn to_markdown(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "{} cases. Done twice: {}. Not done though held to a desk again: {}. Left in doubt: \
             {}, all of cards that are never seen again.\n",
            self.cases_where(|_| true),
            self.cases_where(|row| row.times > 1),
            self.cases_where(|row| row.then != Then::Never && row.times == 0),
            self.cases_where(|row| row.decided.starts_with("nobody")),
        );
        out.push_str(
            "| Then the card is held to | Torn at | Of | First the desk says | On the card | \
             Then it is told | In the end done | Decided by | Cases |\n\
             |---|---|---|---|---|---|---|---|---|\n",
        );
        for (row, line) in &self.0 {
            let works: Vec<&str> = line.works.iter().map(|work| work.word()).collect();
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                row.then.words(),
                span(&line.steps),
                works.join(", "),
                row.first,
                row.card,
                if row.again.is_empty() { "–" } else { &row.again },
                row.times,
                row.decided,
                line.cases
            );
        }
        out
    }
}
