//! What the rules of the hotlist find in the books: work items, lost and retired cards, debts.
//!
//! Each is told once: a cursor says how far a rule has looked, and a cause that was decided about
//! is not proposed again for what was known then.

use blocking::{CaseId, Cause};
use model::{ServiceDate, Timestamp, ValidatorId};
use rusqlite::{Connection, OptionalExtension, Row};

use super::{
    Store, StoreError,
    codes::{card_of, sql_time, unsigned},
    evidence,
    hotlist::HotlistBook,
};
use crate::hotlist::{HotlistRules, Proposal};

/// Findings that one tick takes.
const AT_ONCE: u32 = 5_000;
/// What closed within this time may still stand proposed.
const CLOSED_MS: u64 = 86_400_000;

/// What the rules found.
#[derive(Debug, Default)]
pub struct Findings {
    /// To be proposed.
    pub proposals: Vec<Proposal>,
    /// How far they have looked.
    pub cursors: Vec<(String, i64)>,
    /// Proposals whose finding was explained.
    pub explained: Vec<CaseId>,
    /// Cases of accounts that have paid.
    pub paid: Vec<CaseId>,
}

impl Findings {
    /// Whether there is nothing to write.
    pub fn is_nothing(&self) -> bool {
        self.proposals.is_empty() && self.explained.is_empty() && self.paid.is_empty()
    }
}

impl Store {
    /// What the rules find that are on.
    pub fn hotlist_findings(
        &self,
        rules: &HotlistRules,
        now: Timestamp,
    ) -> Result<Findings, StoreError> {
        let reader = self.reader()?;
        let mut found = Findings::default();
        for cause in &rules.on {
            match cause {
                Cause::Fork => by_exceptions(&reader, *cause, &["fork"], now, &mut found)?,
                Cause::Value => {
                    let kinds = ["balance-mismatch", "counters-mismatch"];
                    by_exceptions(&reader, *cause, &kinds, now, &mut found)?;
                }
                Cause::Lost => by_time(
                    &reader,
                    *cause,
                    "SELECT card, at FROM lost_cards AS told WHERE at >= ?1",
                    "reported lost at a desk",
                    &mut found,
                )?,
                Cause::Replaced => by_time(
                    &reader,
                    *cause,
                    "SELECT card, closed_at FROM card_ops AS told
                     WHERE kind = 3 AND outcome = 1 AND closed_at >= ?1",
                    "retired at a desk",
                    &mut found,
                )?,
                Cause::Debt => {
                    debts(&reader, &mut found)?;
                    unpaid(&reader, *cause, &["grey", "black"], &mut found)?;
                }
                Cause::Unpaid => unpaid(&reader, *cause, &["black"], &mut found)?,
                // People's causes: there is nothing to look through.
                Cause::Person | Cause::Import => {}
            }
        }
        let until = rules.expires_after.map(|time| now.plus(time));
        for proposal in &mut found.proposals {
            proposal.expires = until;
        }
        found.paid = paid(&reader)?;
        Ok(found)
    }

    /// Whether a case waits for what time brings. Cheap: asked every second.
    pub fn hotlist_has_work(&self, now: Timestamp) -> Result<bool, StoreError> {
        self.reader()?
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM hotlist_cases WHERE standing IN (2, 3))
                     OR EXISTS (SELECT 1 FROM hotlist_cases WHERE expires <= ?1 AND standing <= 4)
                     OR EXISTS (SELECT 1 FROM hotlist_cases
                                WHERE version IS NOT NULL AND standing >= 7 AND gone IS NULL)
                     OR EXISTS (SELECT 1 FROM hotlist_breaker)",
            )
            .and_then(|mut statement| statement.query_row([sql_time(now)], |row| row.get(0)))
            .map_err(StoreError::read("the hotlist"))
    }
}

impl HotlistBook<'_> {
    /// How far a rule has looked.
    pub fn remember(&self, name: &str, value: i64) -> Result<(), StoreError> {
        self.connection()
            .execute(
                "INSERT INTO counters (name, value) VALUES (?1, ?2)
                 ON CONFLICT (name) DO UPDATE SET value = max(value, ?2)",
                (name, value),
            )
            .map(|_| ())
            .map_err(StoreError::write("how far a rule of the hotlist has looked"))
    }

    /// Those of these cases that nobody has decided about meanwhile.
    pub fn still_proposed(&self, cases: &[CaseId]) -> Result<Vec<CaseId>, StoreError> {
        let mut still = Vec::new();
        for case in cases {
            let sql = "SELECT id FROM hotlist_cases WHERE id = ?1 AND standing = 1";
            still.extend(self.ids(sql, [i64::try_from(case.0).unwrap_or(i64::MAX)])?);
        }
        still.sort_unstable();
        still.dedup();
        Ok(still)
    }
}

/// Open work items of these kinds that were not proposed, and proposals whose items have closed.
fn by_exceptions(
    reader: &Connection,
    cause: Cause,
    kinds: &[&str],
    now: Timestamp,
    found: &mut Findings,
) -> Result<(), StoreError> {
    let failed = || StoreError::read("the work items that block cards");
    for kind in kinds {
        // Of each kind: a flood of one must not carry the cursor over what is left of another.
        let name = format!("hotlist_{kind}");
        let from = cursor(reader, &name)?;
        let mut furthest = from;
        let mut statement = reader
            .prepare_cached(
                "SELECT id, card, validator, finding, evidence FROM exceptions
                 WHERE id > ?1 AND closed_at IS NULL AND kind = ?2 AND card IS NOT NULL
                 ORDER BY id LIMIT ?3",
            )
            .map_err(failed())?;
        let rows = statement
            .query_map((from, kind, AT_ONCE), |row| Ok(item(row, cause)))
            .map_err(failed())?;
        for row in rows {
            let (id, proposal) = row.map_err(failed())??;
            furthest = furthest.max(id);
            found.proposals.push(proposal);
        }
        let since = Timestamp(now.0.saturating_sub(CLOSED_MS));
        let mut statement = reader
            .prepare_cached(
                "SELECT cases.id FROM exceptions AS item
                 JOIN hotlist_cases AS cases ON cases.card = item.card
                 WHERE item.kind = ?1 AND item.closed_at >= ?2
                   AND cases.cause = ?3 AND cases.standing = 1 AND cases.proposer = ?3
                   AND NOT EXISTS (SELECT 1 FROM exceptions AS other
                                   WHERE other.card = item.card AND other.kind = item.kind
                                     AND other.closed_at IS NULL)",
            )
            .map_err(failed())?;
        let rows = statement
            .query_map((kind, sql_time(since), cause.word()), |row| {
                row.get(0).map(|id| CaseId(unsigned(id)))
            })
            .map_err(failed())?;
        for row in rows {
            found.explained.push(row.map_err(failed())?);
        }
        if furthest > from {
            found.cursors.push((name, furthest));
        }
    }
    Ok(())
}

fn item(row: &Row<'_>, cause: Cause) -> Result<(i64, Proposal), StoreError> {
    let failed = || StoreError::read("the work items that block cards");
    let id: i64 = row.get(0).map_err(failed())?;
    let named: Option<u32> = row.get(2).map_err(failed())?;
    let named = named.map(super::codes::validator).transpose()?;
    let text: String = row.get(4).map_err(failed())?;
    // The last piece is what contradicts: whoever wrote it may be what is broken.
    let wrote = |text: &str| -> Result<Option<ValidatorId>, StoreError> {
        let pieces = evidence::from_json(text)?;
        Ok(pieces.last().and_then(|piece| Some(piece.record?.validator)))
    };
    let validator = match named {
        Some(validator) => Some(validator),
        None => wrote(&text)?,
    };
    let finding: String = row.get(3).map_err(failed())?;
    let proposal = Proposal {
        cards: vec![card_of(row.get(1).map_err(failed())?)],
        cause,
        grade: None,
        validator,
        proposer: cause.word().to_owned(),
        reason: finding,
        evidence: vec![unsigned(id)],
        expires: None,
    };
    Ok((id, proposal))
}

/// Cards that a desk told of since the rule last looked; `what` selects card and time as `told`.
fn by_time(
    reader: &Connection,
    cause: Cause,
    what: &str,
    reason: &str,
    found: &mut Findings,
) -> Result<(), StoreError> {
    let failed = || StoreError::read("the cards that desks told of");
    let name = format!("hotlist_{}", cause.word());
    let from = cursor(reader, &name)?;
    let sql = format!(
        "{what} AND NOT EXISTS (SELECT 1 FROM hotlist_cases
                                WHERE hotlist_cases.card = told.card AND cause = ?2)
         ORDER BY 2 LIMIT ?3"
    );
    let mut statement = reader.prepare_cached(&sql).map_err(failed())?;
    let rows = statement
        .query_map((from, cause.word(), AT_ONCE), |row| {
            Ok((card_of(row.get(0)?), row.get::<_, i64>(1)?))
        })
        .map_err(failed())?;
    let mut furthest = from;
    for row in rows {
        let (card, at) = row.map_err(failed())?;
        furthest = furthest.max(at);
        found.proposals.push(of_desk(card, cause, reason.to_owned()));
    }
    if furthest > from {
        found.cursors.push((name, furthest));
    }
    Ok(())
}

/// Orders that were given back and are on their cards all the same.
fn debts(reader: &Connection, found: &mut Findings) -> Result<(), StoreError> {
    let failed = || StoreError::read("the load orders that are owed");
    let mut statement = reader
        .prepare_cached(
            "SELECT id, card FROM orders WHERE phase = 6 AND NOT EXISTS (
                 SELECT 1 FROM hotlist_cases WHERE hotlist_cases.card = orders.card
                     AND cause = 'debt' AND reason LIKE 'load order ' || orders.id || ' %')
             ORDER BY id LIMIT ?1",
        )
        .map_err(failed())?;
    let rows = statement
        .query_map([AT_ONCE], |row| Ok((unsigned(row.get(0)?), card_of(row.get(1)?))))
        .map_err(failed())?;
    for row in rows {
        let (order, card) = row.map_err(failed())?;
        let reason = format!("load order {order} was given back and is on the card all the same");
        found.proposals.push(of_desk(card, Cause::Debt, reason));
    }
    Ok(())
}

/// What proposers of cases are called that an account's debt has.
const ACCOUNT: &str = "account ";

/// Cards of credit accounts whose debt has come so far. What was decided about since the holder was
/// warned is not proposed again.
fn unpaid(
    reader: &Connection,
    cause: Cause,
    levels: &[&str],
    found: &mut Findings,
) -> Result<(), StoreError> {
    let failed = || StoreError::read("the cards of accounts that have not paid");
    let levels: Vec<String> = levels.iter().map(|level| format!("'{level}'")).collect();
    let sql = format!(
        "SELECT m.card, a.id, a.warned_on FROM credit_accounts a
         JOIN credit_cards m ON m.account = a.id AND m.until IS NULL
         WHERE a.dunning <> 'good' AND a.dunning IN ({}) AND NOT EXISTS (
             SELECT 1 FROM hotlist_cases h WHERE h.card = m.card AND h.cause = ?1
                 AND (h.standing <= 4 OR h.reason LIKE '%(day ' || a.warned_on || ')'))
         ORDER BY m.card LIMIT ?2",
        levels.join(", ")
    );
    let mut statement = reader.prepare_cached(&sql).map_err(failed())?;
    let rows = statement
        .query_map((cause.word(), AT_ONCE), |row| {
            Ok((card_of(row.get(0)?), row.get(1)?, row.get(2)?))
        })
        .map_err(failed())?;
    for row in rows {
        let (card, account, warned_on): (_, u32, u32) = row.map_err(failed())?;
        // The day is part of what is looked for: a later debt is another reason.
        let reason = format!(
            "account {account} has not paid since it was warned on {} (day {warned_on})",
            ServiceDate(warned_on)
        );
        let proposer = format!("{ACCOUNT}{account}");
        found.proposals.push(Proposal { proposer, ..of_desk(card, cause, reason) });
    }
    Ok(())
}

/// Open cases that an account's debt has, of accounts that have paid.
fn paid(reader: &Connection) -> Result<Vec<CaseId>, StoreError> {
    let failed = || StoreError::read("cases of accounts that have paid");
    let mut statement = reader
        .prepare_cached(&format!(
            "SELECT h.id FROM hotlist_cases h JOIN credit_accounts a
                 ON a.id = CAST(substr(h.proposer, {}) AS INTEGER)
             WHERE h.proposer LIKE '{ACCOUNT}%' AND h.standing IN (1, 2, 3, 4)
                 AND h.cause IN ('debt', 'unpaid')
                 AND a.dunning = 'good' ORDER BY h.id LIMIT ?1",
            ACCOUNT.len() + 1
        ))
        .map_err(failed())?;
    let rows = statement
        .query_map([AT_ONCE], |row| row.get(0).map(|id| CaseId(unsigned(id))))
        .map_err(failed())?;
    rows.collect::<Result<_, _>>().map_err(failed())
}

fn of_desk(card: model::CardId, cause: Cause, reason: String) -> Proposal {
    Proposal {
        cards: vec![card],
        cause,
        grade: None,
        validator: None,
        proposer: cause.word().to_owned(),
        reason,
        evidence: Vec::new(),
        expires: None,
    }
}

fn cursor(reader: &Connection, name: &str) -> Result<i64, StoreError> {
    let found: Option<i64> = reader
        .query_row("SELECT value FROM counters WHERE name = ?1", [name], |row| row.get(0))
        .optional()
        .map_err(StoreError::read("how far a rule of the hotlist has looked"))?;
    Ok(found.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use blocking::{Limits, Standing};
    use model::CardId;

    use super::*;
    use crate::{hotlist::tick, store::CaseFilter, store::codes::sql_card};

    const NOW: u64 = 1_795_000_000_000;

    fn rules(on: &[Cause]) -> HotlistRules {
        let window = Duration::from_secs(86_400);
        HotlistRules {
            limits: Limits { window, additions_max: 500, share_permille: 2 },
            on: on.iter().copied().collect::<BTreeSet<_>>(),
            expires_after: Some(window),
        }
    }

    fn card(n: u8) -> CardId {
        CardId([4, 0, 0, 0, 0, 0, n])
    }

    /// A work item about a card, and what desks and orders left behind.
    fn store() -> (tempfile::TempDir, Store) {
        let (folder, store) = Store::for_test();
        store.report_lost(card(3), Timestamp(NOW)).unwrap();
        let sql = format!(
            "INSERT INTO exceptions (ref, kind, card, validator, opened_at, finding, evidence)
             VALUES (x'01', 'fork', {}, 42, {NOW}, 'two histories', '[]'),
                    (x'02', 'counters-mismatch', {}, NULL, {NOW}, 'other counters', '[]'),
                    (x'03', 'in-doubt', {}, NULL, {NOW}, 'nobody knows', '[]');
             INSERT INTO card_ops (station, kind, card, after, begun_at, outcome, closed_at)
             VALUES (1, 3, {}, x'00', {NOW}, 1, {NOW}), (1, 3, {}, x'00', {NOW}, 2, {NOW});
             INSERT INTO orders (id, card, amount, channel, reference, paid_at, phase)
             VALUES (17, {}, 500, 1, 'a', {NOW}, 6), (18, {}, 500, 1, 'b', {NOW}, 4);",
            sql_card(card(1)),
            sql_card(card(2)),
            sql_card(card(9)),
            sql_card(card(4)),
            sql_card(card(9)),
            sql_card(card(5)),
            sql_card(card(9)),
        );
        store.writer().execute_batch(&sql).unwrap();
        (folder, store)
    }

    fn cases(store: &Store) -> Vec<(u8, &'static str, &'static str)> {
        let cases = store.hotlist_cases(&CaseFilter::default(), 99).unwrap();
        cases.iter().map(|c| (c.card.0[6], c.cause.word(), c.standing.word())).collect()
    }

    #[test]
    fn each_rule_proposes_what_it_finds_once_and_only_while_it_is_on() {
        let (_folder, store) = store();
        tick(&store, &rules(&[]), Timestamp(NOW + 1)).unwrap();
        assert_eq!(cases(&store), []);
        let all = rules(&[Cause::Fork, Cause::Value, Cause::Lost, Cause::Replaced, Cause::Debt]);
        for later in 2..5 {
            tick(&store, &all, Timestamp(NOW + later)).unwrap();
            let expected = [
                (1, "fork", "proposed"),
                (2, "value", "proposed"),
                (3, "lost", "proposed"),
                (4, "replaced", "proposed"),
                (5, "debt", "proposed"),
            ];
            assert_eq!(cases(&store), expected);
        }
        let fork = store.hotlist_cases(&CaseFilter::default(), 1).unwrap().remove(0);
        assert_eq!((fork.evidence, fork.validator), (vec![1], ValidatorId::new(42)));
        assert!(store.newest_hotlist().unwrap().is_none(), "no rule blocks a card");
    }

    #[test]
    fn what_is_explained_before_anybody_decided_is_withdrawn() {
        let (_folder, store) = store();
        let rules = rules(&[Cause::Fork, Cause::Value]);
        tick(&store, &rules, Timestamp(NOW + 1)).unwrap();
        let close = format!("UPDATE exceptions SET closed_at = {}, close_reason = 'x'", NOW + 2);
        store.writer().execute_batch(&format!("{close} WHERE kind = 'fork'")).unwrap();
        for later in 3..5 {
            tick(&store, &rules, Timestamp(NOW + later)).unwrap();
            let expected = [(1, "fork", "withdrawn"), (2, "value", "proposed")];
            assert_eq!(cases(&store), expected);
        }
        let standings = vec![Standing::Withdrawn];
        let of = CaseFilter { standings, ..CaseFilter::default() };
        assert_eq!(store.hotlist_cases(&of, 9).unwrap().len(), 1);
        crate::hotlist::verify(&store).unwrap();
    }
}
