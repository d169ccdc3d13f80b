//! Cases of blocking as rows: which are wanted, how they are written as values and read back.

use blocking::{Case, CaseId, Cause, Decided, Standing};
use lists::Grade;
use model::{CardId, Timestamp, ValidatorId};
use rusqlite::{Connection, Row, ToSql, params_from_iter};

use super::{
    StoreError,
    codes::{card_of, sql_card, time, unsigned},
};

/// Columns of a case, in the order of `case_of`.
pub(super) const CASE: &str =
    "id, card, grade, cause, validator, proposer, proposed_at, reason, evidence,
    expires, standing, approved_by, approved_at, confirmed_by, confirmed_at, version, in_force_at,
    ended_by, ended_at, ended_why";
/// Which cases.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CaseFilter {
    /// These numbers; all when empty.
    pub ids: Vec<u64>,
    /// Of this card.
    pub card: Option<CardId>,
    /// Standing so; all when empty.
    pub standings: Vec<Standing>,
    /// For this cause.
    pub cause: Option<Cause>,
    /// By the records of this validator.
    pub validator: Option<ValidatorId>,
}

/// Cases of one cause from one validator that stand alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseGroup {
    /// Where they stand.
    pub standing: Standing,
    /// Why.
    pub cause: Cause,
    /// Whose records say so.
    pub validator: Option<ValidatorId>,
    /// How many.
    pub cases: u64,
    /// The oldest proposal.
    pub since: Timestamp,
}

pub(super) const fn grade_code(grade: Grade) -> i64 {
    match grade {
        Grade::Grey => 1,
        Grade::Black => 2,
    }
}

/// Its place in the order of a case's life, from 1.
pub(super) fn standing_code(standing: Standing) -> i64 {
    (1..).zip(Standing::ALL).find(|(_, s)| *s == standing).map_or(0, |(code, _)| code)
}

fn standing_of(code: i64) -> Result<Standing, StoreError> {
    let found = usize::try_from(code - 1).ok().and_then(|at| Standing::ALL.get(at).copied());
    found.ok_or_else(|| StoreError::damaged(format!("standing {code} of a case")))
}

fn cause_of(word: &str) -> Result<Cause, StoreError> {
    Cause::from_word(word).ok_or_else(|| StoreError::damaged(format!("cause {word} of a case")))
}

pub(super) fn cases(
    connection: &Connection,
    of: &CaseFilter,
    limit: u32,
) -> Result<Vec<Case>, StoreError> {
    let mut wanted = vec!["TRUE".to_owned()];
    let mut values: Vec<i64> = Vec::new();
    if !of.ids.is_empty() {
        let ids: Vec<String> = of.ids.iter().map(u64::to_string).collect();
        wanted.push(format!("id IN ({})", ids.join(", ")));
    }
    if !of.standings.is_empty() {
        let codes: Vec<String> =
            of.standings.iter().map(|s| standing_code(*s).to_string()).collect();
        wanted.push(format!("standing IN ({})", codes.join(", ")));
    }
    if let Some(card) = of.card {
        values.push(sql_card(card));
        wanted.push(format!("card = ?{}", values.len()));
    }
    if let Some(validator) = of.validator {
        values.push(validator.number().into());
        wanted.push(format!("validator = ?{}", values.len()));
    }
    if let Some(cause) = of.cause {
        // Our own word.
        wanted.push(format!("cause = '{}'", cause.word()));
    }
    let wanted = wanted.join(" AND ");
    let sql = format!("SELECT {CASE} FROM hotlist_cases WHERE {wanted} ORDER BY id LIMIT {limit}");
    read_cases(connection, &sql, &values)
}

pub(super) fn read_cases(
    connection: &Connection,
    sql: &str,
    values: &[i64],
) -> Result<Vec<Case>, StoreError> {
    let failed = || StoreError::read("the hotlist");
    let mut statement = connection.prepare_cached(sql).map_err(failed())?;
    let values = params_from_iter(values.iter().map(|value| value as &dyn ToSql));
    let rows = statement.query_map(values, |row| Ok(case_of(row))).map_err(failed())?;
    rows.map(|row| row.map_err(failed())?).collect()
}

pub(super) fn group_of(row: &Row<'_>) -> Result<CaseGroup, StoreError> {
    let failed = || StoreError::read("the hotlist");
    Ok(CaseGroup {
        standing: standing_of(row.get(0).map_err(failed())?)?,
        cause: cause_of(&row.get::<_, String>(1).map_err(failed())?)?,
        validator: validator_at(row, 2)?,
        cases: unsigned(row.get(3).map_err(failed())?),
        since: time(row.get(4).map_err(failed())?),
    })
}

fn validator_at(row: &Row<'_>, at: usize) -> Result<Option<ValidatorId>, StoreError> {
    let number: Option<u32> = row.get(at).map_err(StoreError::read("the hotlist"))?;
    number.map(super::codes::validator).transpose()
}

fn case_of(row: &Row<'_>) -> Result<Case, StoreError> {
    let failed = || StoreError::read("the hotlist");
    let decided = |at: usize| -> Result<Option<Decided>, StoreError> {
        let by: Option<String> = row.get(at).map_err(failed())?;
        let when: Option<i64> = row.get(at + 1).map_err(failed())?;
        Ok(by.map(|by| Decided { by, at: time(when.unwrap_or(0)) }))
    };
    let evidence: String = row.get(8).map_err(failed())?;
    let grade: i64 = row.get(2).map_err(failed())?;
    let version: Option<i64> = row.get(15).map_err(failed())?;
    let in_force_at: Option<i64> = row.get(16).map_err(failed())?;
    let why: Option<String> = row.get(19).map_err(failed())?;
    Ok(Case {
        id: CaseId(unsigned(row.get(0).map_err(failed())?)),
        card: card_of(row.get(1).map_err(failed())?),
        grade: if grade == 1 { Grade::Grey } else { Grade::Black },
        cause: cause_of(&row.get::<_, String>(3).map_err(failed())?)?,
        validator: validator_at(row, 4)?,
        proposer: row.get(5).map_err(failed())?,
        proposed_at: time(row.get(6).map_err(failed())?),
        reason: row.get(7).map_err(failed())?,
        evidence: serde_json::from_str(&evidence)
            .map_err(|error| StoreError::damaged(format!("evidence of a case: {error}")))?,
        expires: row.get::<_, Option<i64>>(9).map_err(failed())?.map(time),
        standing: standing_of(row.get(10).map_err(failed())?)?,
        approved: decided(11)?,
        confirmed: decided(13)?,
        in_force: version.map(|v| (unsigned(v), time(in_force_at.unwrap_or(0)))),
        ended: decided(17)?.map(|decided| (decided, why.unwrap_or_default())),
    })
}
