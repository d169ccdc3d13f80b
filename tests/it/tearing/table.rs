//! The table of outcomes: cases that end alike are one line, and the document holds these lines.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
    sync::{Mutex, PoisonError},
};

use tapline_tests::sim::validator::Reach;

use super::{Case, Next, stage::Operation};

/// What the depot says is to be given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Repay {
    pub(super) amount: i64,
    pub(super) rides: u32,
}

impl Row {
    fn to_be_repaid(&self) -> String {
        match self.repay {
            Repay { amount: 0, rides: 0 } if self.charges <= self.passages => "–".to_owned(),
            Repay { amount: 0, rides: 0 } if self.passages == 0 => "not known yet".to_owned(),
            Repay { amount: 0, rides: 0 } => "nothing: a pass paid".to_owned(),
            Repay { amount: 0, rides } => format!("{rides} ride"),
            Repay { amount, .. } => format!("{}.{:02}", amount / 100, amount % 100),
        }
    }
}

/// How a case ended, in words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    pub(super) next: Next,
    pub(super) first: String,
    pub(super) card: &'static str,
    pub(super) then: String,
    pub(super) charges: u32,
    pub(super) passages: u32,
    pub(super) decided: String,
    pub(super) repay: Repay,
}

/// What ended alike.
#[derive(Debug, Default)]
struct Line {
    operations: BTreeSet<Operation>,
    steps: BTreeSet<(usize, String)>,
    cases: u64,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Table(BTreeMap<Row, Line>);

impl Table {
    pub(super) fn count(&mut self, case: &Case<'_>, row: Row) {
        let line = self.0.entry(row).or_default();
        line.operations.insert(case.operation);
        let step = case.step();
        let heard = case.tear.reach != Reach::Unheard;
        let words = match (step, heard) {
            ("commit", true) => "commit, heard".to_owned(),
            ("commit", false) => "commit, not heard".to_owned(),
            _ => step.to_owned(),
        };
        let order = ["select", "authenticate", "read", "read products", "debit", "write", "commit"];
        let place = order.iter().position(|name| *name == step).expect("a step of a tap");
        line.steps.insert((place, words));
        line.cases += 1;
    }

    pub(super) fn and(mut self, other: Self) -> Self {
        for (row, line) in other.0 {
            let mine = self.0.entry(row).or_default();
            mine.operations.extend(line.operations);
            mine.steps.extend(line.steps);
            mine.cases += line.cases;
        }
        self
    }

    pub(super) fn cases(&self) -> u64 {
        self.0.values().map(|line| line.cases).sum()
    }

    pub(super) fn to_markdown(&self) -> String {
        let mut out = String::new();
        let unserved: u64 = self.lines_where(|row| row.charges > row.passages);
        let _ = writeln!(
            out,
            "{} cases. Free rides: {}. Charged more often than let through: {unserved}, all in the \
             lines that say so; a work item says what is to be repaid in {}.\n",
            self.cases(),
            self.lines_where(|row| row.passages > row.charges),
            self.lines_where(|row| row.repay != Repay::default())
        );
        out.push_str(
            "| Then the card is held to | Torn at | Of | First the rider is told | The card | \
             Then the rider is told | Charges, passages | Decided by | To be repaid | Cases |\n\
             |---|---|---|---|---|---|---|---|---|---|\n",
        );
        for (row, line) in &self.0 {
            let steps = span(&line.steps);
            let _ = writeln!(
                out,
                "| {} | {steps} | {} | {} | {} | {} | {}, {} | {} | {} | {} |",
                row.next.words(),
                operations(line),
                row.first,
                row.card,
                if row.then.is_empty() { "–" } else { &row.then },
                row.charges,
                row.passages,
                row.decided,
                row.to_be_repaid(),
                line.cases
            );
        }
        out
    }

    fn lines_where(&self, wanted: impl Fn(&Row) -> bool) -> u64 {
        self.0.iter().filter(|(row, _)| wanted(row)).map(|(_, line)| line.cases).sum()
    }
}

/// The block of this name in the document is this table. `UPDATE_EXPECT=1` writes it.
pub(super) fn compare_with_the_document(name: &str, table: &str) {
    /// Two tests write blocks of one file.
    static WRITING: Mutex<()> = Mutex::new(());
    let _alone = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/GUARANTEES.md");
    let document = fs::read_to_string(&path).unwrap();
    let [begin, end] = ["begin", "end"].map(|edge| format!("<!-- {name}: {edge} -->\n"));
    let (head, rest) = document.split_once(&begin).expect("the block begins");
    let (block, tail) = rest.split_once(&end).expect("the block ends");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, format!("{head}{begin}{table}{end}{tail}")).unwrap();
        return;
    }
    assert!(
        block == table,
        "docs/GUARANTEES.md says otherwise about {name}; look at the difference, and if it is \
         meant, run this test with UPDATE_EXPECT=1. The test found:\n{table}"
    );
}

/// The steps of a line, from the first to the last.
pub(super) fn span(steps: &BTreeSet<(usize, String)>) -> String {
    let steps: Vec<&str> = steps.iter().map(|(_, words)| words.as_str()).collect();
    match steps[..] {
        [one] => one.to_owned(),
        [first, .., last] => format!("{first} … {last}"),
        [] => String::new(),
    }
}

/// All operations, or which.
fn operations(line: &Line) -> String {
    if line.operations.len() == Operation::ALL.len() {
        return "every tap".to_owned();
    }
    let words: Vec<&str> = line.operations.iter().map(|operation| operation.word()).collect();
    words.join(", ")
}
