//! A case: one cause for which one card may be refused, from its proposal to its end.

use alloc::{string::String, vec::Vec};
use core::fmt;

use lists::Grade;
use model::{CardId, Timestamp, ValidatorId};

/// A case's number, in the order of proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CaseId(pub u64);

impl fmt::Display for CaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a card may have to be refused; at the same time which rule says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Two histories of one card: a clone or a rollback (I2).
    Fork,
    /// A value or a counter that no transaction of the card explains (I3).
    Value,
    /// Its holder says that it is lost or stolen.
    Lost,
    /// It was taken out of use, and another may stand in its place.
    Replaced,
    /// It carries value that was given back as well, or its account has not paid in time.
    Debt,
    /// Its account has not paid for so long that it is refused for good.
    Unpaid,
    /// A person says so.
    Person,
    /// It came from another system's list.
    Import,
}

impl Cause {
    /// All of them, gravest first.
    pub const ALL: [Self; 8] = [
        Self::Fork,
        Self::Value,
        Self::Lost,
        Self::Replaced,
        Self::Unpaid,
        Self::Debt,
        Self::Person,
        Self::Import,
    ];

    /// The word in commands, metrics and the store.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::Value => "value",
            Self::Lost => "lost",
            Self::Replaced => "replaced",
            Self::Debt => "debt",
            Self::Unpaid => "unpaid",
            Self::Person => "person",
            Self::Import => "import",
        }
    }

    /// From its word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.word() == word)
    }

    /// For the time being, or for good: what can be paid or explained is grey.
    pub const fn grade(self) -> Grade {
        match self {
            Self::Value | Self::Debt => Grade::Grey,
            Self::Fork
            | Self::Lost
            | Self::Replaced
            | Self::Unpaid
            | Self::Person
            | Self::Import => Grade::Black,
        }
    }
}

/// How far a case has come. Its number in the store is its place in [`Standing::ALL`], from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// Nobody has decided: blocks nobody.
    Proposed,
    /// A person agreed; waits to go into force.
    Approved,
    /// A second person agreed while the breaker was open; waits to go into force.
    Confirmed,
    /// In the list since a version of it.
    InForce,
    /// A person said no.
    Rejected,
    /// What its rule had found was explained before anybody decided.
    Withdrawn,
    /// Its time is over.
    Expired,
    /// A person took it off the list.
    Unblocked,
}

impl Standing {
    /// All of them, in the order of a case's life.
    pub const ALL: [Self; 8] = [
        Self::Proposed,
        Self::Approved,
        Self::Confirmed,
        Self::InForce,
        Self::Rejected,
        Self::Withdrawn,
        Self::Expired,
        Self::Unblocked,
    ];

    /// The word in commands and on pages.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Approved => "approved",
            Self::Confirmed => "confirmed",
            Self::InForce => "in-force",
            Self::Rejected => "rejected",
            Self::Withdrawn => "withdrawn",
            Self::Expired => "expired",
            Self::Unblocked => "unblocked",
        }
    }

    /// From its word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|standing| standing.word() == word)
    }

    /// Whether anything may still come of it.
    pub const fn is_open(self) -> bool {
        match self {
            Self::Proposed | Self::Approved | Self::Confirmed | Self::InForce => true,
            Self::Rejected | Self::Withdrawn | Self::Expired | Self::Unblocked => false,
        }
    }
}

/// One cause for which one card may be refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Which.
    pub id: CaseId,
    /// Which card.
    pub card: CardId,
    /// For the time being, or for good.
    pub grade: Grade,
    /// Why.
    pub cause: Cause,
    /// The validator whose records say so, when it is one: what one broken device finds is one
    /// group.
    pub validator: Option<ValidatorId>,
    /// The rule's or the person's name.
    pub proposer: String,
    /// When.
    pub proposed_at: Timestamp,
    /// In words, for whoever is asked by the card's holder.
    pub reason: String,
    /// The numbers of the exceptions that say so.
    pub evidence: Vec<u64>,
    /// The first moment at which it counts no more; `None` = until it is ended.
    pub expires: Option<Timestamp>,
    /// How far it has come.
    pub standing: Standing,
    /// Who approved it.
    pub approved: Option<Decided>,
    /// Who confirmed it while the breaker was open.
    pub confirmed: Option<Decided>,
    /// The first version of the list that has it, and since when.
    pub in_force: Option<(u64, Timestamp)>,
    /// Who ended it, and why; `by` is a rule's name when no person did.
    pub ended: Option<(Decided, String)>,
}

/// Who decided, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// Their name, as they gave it.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// Why a case does not move as it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not from here.
    #[error("case {id} is {}: it cannot be {wanted} any more", standing.word())]
    Standing {
        /// Which.
        id: CaseId,
        /// Where it stands.
        standing: Standing,
        /// What was wanted.
        wanted: &'static str,
    },
    /// One person alone.
    #[error("{by} approved case {id}: a second person has to confirm it")]
    SamePerson {
        /// Which.
        id: CaseId,
        /// Who.
        by: String,
    },
    /// Its time is over before it began.
    #[error("case {id} would end before it begins")]
    Over {
        /// Which.
        id: CaseId,
    },
}

impl Case {
    fn refuse(&self, wanted: &'static str) -> Result<(), Refused> {
        Err(Refused::Standing { id: self.id, standing: self.standing, wanted })
    }

    /// A person agrees. It is not in force before the list has it.
    pub fn approve(&mut self, decided: Decided) -> Result<(), Refused> {
        if self.standing != Standing::Proposed {
            return self.refuse("approved");
        }
        if self.is_over(decided.at) {
            return Err(Refused::Over { id: self.id });
        }
        (self.standing, self.approved) = (Standing::Approved, Some(decided));
        Ok(())
    }

    /// A second person agrees.
    pub fn confirm(&mut self, decided: Decided) -> Result<(), Refused> {
        if self.standing != Standing::Approved {
            return self.refuse("confirmed");
        }
        if self.approved.as_ref().is_some_and(|first| is_same(&first.by, &decided.by)) {
            return Err(Refused::SamePerson { id: self.id, by: decided.by });
        }
        (self.standing, self.confirmed) = (Standing::Confirmed, Some(decided));
        Ok(())
    }

    /// The list has it from this version on.
    pub fn enforce(&mut self, version: u64, at: Timestamp) -> Result<(), Refused> {
        if !matches!(self.standing, Standing::Approved | Standing::Confirmed) {
            return self.refuse("in force");
        }
        (self.standing, self.in_force) = (Standing::InForce, Some((version, at)));
        Ok(())
    }

    /// A person says no, before it is in force.
    pub fn reject(&mut self, decided: Decided, why: &str) -> Result<(), Refused> {
        if !self.is_undecided() {
            return self.refuse("rejected");
        }
        self.end(Standing::Rejected, decided, why);
        Ok(())
    }

    /// Its rule takes it back, before anybody decided.
    pub fn withdraw(&mut self, decided: Decided, why: &str) -> Result<(), Refused> {
        if self.standing != Standing::Proposed {
            return self.refuse("withdrawn");
        }
        self.end(Standing::Withdrawn, decided, why);
        Ok(())
    }

    /// A person takes it off the list, or its rule does once what it had found is paid. One person
    /// is enough: a card that is served again can be refused again, a rider who was turned away
    /// was.
    pub fn unblock(&mut self, decided: Decided, why: &str) -> Result<(), Refused> {
        if self.standing != Standing::InForce {
            return self.refuse("unblocked");
        }
        self.end(Standing::Unblocked, decided, why);
        Ok(())
    }

    /// Its time is over, wherever it stands.
    pub fn expire(&mut self, at: Timestamp) -> Result<(), Refused> {
        if !self.standing.is_open() || !self.is_over(at) {
            return self.refuse("expired");
        }
        let by = String::from("time");
        self.end(Standing::Expired, Decided { by, at }, "its time is over");
        Ok(())
    }

    /// Whether its time is over at `now`.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }

    const fn is_undecided(&self) -> bool {
        match self.standing {
            Standing::Proposed | Standing::Approved | Standing::Confirmed => true,
            Standing::InForce
            | Standing::Rejected
            | Standing::Withdrawn
            | Standing::Expired
            | Standing::Unblocked => false,
        }
    }

    fn end(&mut self, standing: Standing, decided: Decided, why: &str) {
        (self.standing, self.ended) = (standing, Some((decided, String::from(why))));
    }
}

/// Names are compared as people read them.
fn is_same(a: &str, b: &str) -> bool {
    let plain = |name: &str| name.trim().to_lowercase();
    plain(a) == plain(b)
}

/// How a card with these cases stands in the list: the darkest of those in force.
pub fn grade_of<'a>(cases: impl IntoIterator<Item = &'a Case>) -> Option<Grade> {
    let in_force = cases.into_iter().filter(|case| case.standing == Standing::InForce);
    in_force.map(|case| case.grade).max()
}

#[cfg(test)]
mod tests {
    use alloc::{
        string::{String, ToString},
        vec,
    };
    use core::fmt::Write as _;

    use super::*;

    fn by(name: &str) -> Decided {
        Decided { by: name.to_string(), at: Timestamp(50) }
    }

    fn fresh() -> Case {
        Case {
            id: CaseId(7),
            card: CardId([4; 7]),
            grade: Grade::Black,
            cause: Cause::Lost,
            validator: None,
            proposer: "ana".to_string(),
            proposed_at: Timestamp(1),
            reason: "lost".to_string(),
            evidence: vec![],
            expires: Some(Timestamp(100)),
            standing: Standing::Proposed,
            approved: None,
            confirmed: None,
            in_force: None,
            ended: None,
        }
    }

    /// Every step from every standing: what is not in the table is refused.
    #[test]
    fn a_case_moves_forward_only_and_every_other_step_is_refused() {
        type Step = fn(&mut Case) -> Result<(), Refused>;
        let steps: [(&str, Step); 8] = [
            ("approve", |case| case.approve(by("ana"))),
            ("confirm", |case| case.confirm(by("ben"))),
            ("enforce", |case| case.enforce(9, Timestamp(60))),
            ("reject", |case| case.reject(by("ana"), "wrong")),
            ("withdraw", |case| case.withdraw(by("fork"), "explained")),
            ("unblock", |case| case.unblock(by("ana"), "found")),
            ("expire", |case| case.expire(Timestamp(100))),
            ("expire early", |case| case.expire(Timestamp(99))),
        ];
        let mut table = String::new();
        for standing in Standing::ALL {
            for (name, step) in steps {
                let mut case = fresh();
                case.standing = standing;
                if step(&mut case).is_ok() {
                    assert!(case.standing > standing, "forward");
                    let (from, to) = (standing.word(), case.standing.word());
                    writeln!(table, "{from} {name} {to}").unwrap();
                } else {
                    assert_eq!(case.standing, standing);
                }
            }
        }
        let expected = "\
proposed approve approved
proposed reject rejected
proposed withdraw withdrawn
proposed expire expired
approved confirm confirmed
approved enforce in-force
approved reject rejected
approved expire expired
confirmed enforce in-force
confirmed reject rejected
confirmed expire expired
in-force unblock unblocked
in-force expire expired
";
        assert_eq!(table, expected);
    }

    #[test]
    fn a_second_person_is_another_one() {
        let mut case = fresh();
        case.approve(by("Ana ")).unwrap();
        assert!(matches!(case.confirm(by("ana")), Err(Refused::SamePerson { .. })));
        case.confirm(by("ben")).unwrap();
        let mut late = fresh();
        let over = late.approve(Decided { by: "ana".to_string(), at: Timestamp(100) });
        assert_eq!(over, Err(Refused::Over { id: CaseId(7) }));
    }

    #[test]
    fn the_darkest_case_in_force_counts_and_no_other_does() {
        let with = |standing, grade| Case { grade, standing, ..fresh() };
        let cases = [
            with(Standing::InForce, Grade::Grey),
            with(Standing::Approved, Grade::Black),
            with(Standing::Unblocked, Grade::Black),
        ];
        assert_eq!(grade_of(&cases), Some(Grade::Grey));
        assert_eq!(grade_of(&cases[1..]), None);
        let both = [cases[0].clone(), with(Standing::InForce, Grade::Black)];
        assert_eq!(grade_of(&both), Some(Grade::Black));
        for word in Cause::ALL.map(Cause::word) {
            assert_eq!(Cause::from_word(word).map(Cause::word), Some(word));
        }
        for word in Standing::ALL.map(Standing::word) {
            assert_eq!(Standing::from_word(word).map(Standing::word), Some(word));
        }
    }
}
