//! What the hotlist's journal says, and what each event makes of the cases that it names.

use blocking::{Case, CaseId, Cause, Decided, Refused};
use lists::Grade;
use model::{CardId, Timestamp, ValidatorId};
use serde::{Deserialize, Serialize};

/// Cases by their numbers: ranges, both ends included.
pub type Ranges = Vec<(u64, u64)>;

/// One row of the journal. Times are milliseconds since 1970, cards their 14 digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case", deny_unknown_fields)]
pub enum HotlistEvent {
    /// Cards may have to be refused; their cases are numbered from `first` on.
    Proposed {
        /// The first case.
        first: u64,
        /// Which cards.
        cards: Vec<String>,
        /// Grey or black.
        grade: String,
        /// Why, by its word.
        cause: String,
        /// Whose records say so.
        validator: Option<u32>,
        /// A rule or a person.
        proposer: String,
        /// In words.
        reason: String,
        /// Numbers of exceptions.
        evidence: Vec<u64>,
        /// The first moment at which it counts no more.
        expires: Option<u64>,
    },
    /// A person agreed.
    Approved {
        /// Which.
        cases: Ranges,
        /// Who.
        by: String,
    },
    /// A second person agreed while the breaker was open.
    Confirmed {
        /// Which.
        cases: Ranges,
        /// Who.
        by: String,
    },
    /// A person said no.
    Rejected {
        /// Which.
        cases: Ranges,
        /// Who.
        by: String,
        /// Why.
        why: String,
    },
    /// Its rule took it back.
    Withdrawn {
        /// Which.
        cases: Ranges,
        /// Which rule.
        by: String,
        /// Why.
        why: String,
    },
    /// Their time is over.
    Expired {
        /// Which.
        cases: Ranges,
    },
    /// A person took them off the list, or a rule whose finding is paid.
    Unblocked {
        /// Which.
        cases: Ranges,
        /// Who.
        by: String,
        /// Why.
        why: String,
    },
    /// The circuit breaker opened.
    Tripped {
        /// Cards that waited.
        waiting: u64,
        /// Cards added within the window.
        recent: u64,
        /// How many may be.
        bound: u64,
    },
    /// The circuit breaker closed.
    Closed {},
    /// A list was made: these are in it from now on, what ended is not any more.
    Listed {
        /// Its version.
        version: u64,
        /// What came into force.
        cases: Ranges,
        /// Cards in it.
        cards: u64,
        /// SHA-256 of its content, hexadecimal.
        hash: String,
    },
}

impl HotlistEvent {
    /// The cases that it moves.
    pub fn cases(&self) -> &[(u64, u64)] {
        match self {
            Self::Approved { cases, .. }
            | Self::Confirmed { cases, .. }
            | Self::Rejected { cases, .. }
            | Self::Withdrawn { cases, .. }
            | Self::Expired { cases }
            | Self::Unblocked { cases, .. }
            | Self::Listed { cases, .. } => cases,
            Self::Proposed { .. } | Self::Tripped { .. } | Self::Closed {} => &[],
        }
    }

    /// Moves one of its cases.
    pub fn apply(&self, case: &mut Case, at: Timestamp) -> Result<(), Refused> {
        let decided = |by: &String| Decided { by: by.clone(), at };
        match self {
            Self::Approved { by, .. } => case.approve(decided(by)),
            Self::Confirmed { by, .. } => case.confirm(decided(by)),
            Self::Rejected { by, why, .. } => case.reject(decided(by), why),
            Self::Withdrawn { by, why, .. } => case.withdraw(decided(by), why),
            Self::Expired { .. } => case.expire(at),
            Self::Unblocked { by, why, .. } => case.unblock(decided(by), why),
            Self::Listed { version, .. } => case.enforce(*version, at),
            Self::Proposed { .. } | Self::Tripped { .. } | Self::Closed {} => Ok(()),
        }
    }

    /// The cases that a proposal begins; `None` when it does not read.
    pub fn begun(&self, at: Timestamp) -> Option<Vec<Case>> {
        let Self::Proposed {
            first,
            cards,
            grade,
            cause,
            validator,
            proposer,
            reason,
            evidence,
            expires,
        } = self
        else {
            return Some(Vec::new());
        };
        let (grade, cause) = (grade_of(grade)?, Cause::from_word(cause)?);
        let validator = validator.map(|id| ValidatorId::new(id).ok_or(())).transpose().ok()?;
        let begin = |(id, card): (u64, &String)| -> Option<Case> {
            Some(Case {
                id: CaseId(id),
                card: card.parse::<CardId>().ok()?,
                grade,
                cause,
                validator,
                proposer: proposer.clone(),
                proposed_at: at,
                reason: reason.clone(),
                evidence: evidence.clone(),
                expires: expires.map(Timestamp),
                standing: blocking::Standing::Proposed,
                approved: None,
                confirmed: None,
                in_force: None,
                ended: None,
            })
        };
        (*first..).zip(cards).map(begin).collect()
    }
}

/// The word of a grade.
pub const fn grade_word(grade: Grade) -> &'static str {
    match grade {
        Grade::Grey => "grey",
        Grade::Black => "black",
    }
}

/// From its word.
pub fn grade_of(word: &str) -> Option<Grade> {
    [Grade::Grey, Grade::Black].into_iter().find(|grade| grade_word(*grade) == word)
}

/// Ascending numbers as ranges.
pub fn ranges(ids: impl IntoIterator<Item = CaseId>) -> Ranges {
    let mut ranges: Ranges = Vec::new();
    for CaseId(id) in ids {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == id => *last = id,
            _ => ranges.push((id, id)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_ranges_and_a_proposal_begins_one_case_for_each_card() {
        assert_eq!(ranges([1, 2, 3, 7, 9, 10].map(CaseId)), [(1, 3), (7, 7), (9, 10)]);
        assert_eq!(ranges([]), []);
        let text = r#"{"event":"proposed","first":5,"cards":["04010203040506","04010203040507"],
            "grade":"black","cause":"lost","validator":null,"proposer":"ana","reason":"lost",
            "evidence":[3],"expires":null}"#;
        let event: HotlistEvent = serde_json::from_str(text).unwrap();
        let cases = event.begun(Timestamp(9)).unwrap();
        assert_eq!(cases.iter().map(|case| case.id.0).collect::<Vec<_>>(), [5, 6]);
        assert_eq!(cases[1].card, CardId([4, 1, 2, 3, 4, 5, 7]));
        let other = text.replace("lost\",\"validator", "nonsense\",\"validator");
        let event: HotlistEvent = serde_json::from_str(&other).unwrap();
        assert!(event.begun(Timestamp(9)).is_none());
    }
}
