//! Blocking cards, as their page shows them.

use blocking::{Case, Standing};

use super::ReadModel;
use crate::{
    hotlist::why_open,
    http::views::{HotlistCase, HotlistFacts, HotlistGroup},
    store::{CaseFilter, CaseGroup, StoreError},
};

impl ReadModel {
    pub(super) fn show_hotlist(&self, limit: u32) -> Result<HotlistFacts, StoreError> {
        let store = &self.store;
        let cases = |standings: &[Standing]| -> Result<Vec<HotlistCase>, StoreError> {
            let of = CaseFilter { standings: standings.to_vec(), ..CaseFilter::default() };
            let cases = store.hotlist_cases(&of, limit)?;
            Ok(cases.into_iter().map(|case| self.case(case)).collect())
        };
        let group = |group: CaseGroup| HotlistGroup {
            standing: group.standing,
            cause: group.cause,
            validator: group.validator,
            cases: group.cases,
            since: group.since,
        };
        Ok(HotlistFacts {
            breaker: store.hotlist_breaker()?.map(|open| (open.since, why_open(&open))),
            list: store.newest_hotlist()?.map(|made| (made.version, made.made_at, made.cards)),
            groups: store.hotlist_groups()?.into_iter().map(group).collect(),
            waiting: cases(&[Standing::Proposed, Standing::Approved, Standing::Confirmed])?,
            in_force: cases(&[Standing::InForce])?,
        })
    }

    fn case(&self, case: Case) -> HotlistCase {
        HotlistCase {
            id: case.id.0,
            card: self.store.handles.card_ref(case.card),
            standing: case.standing,
            cause: case.cause,
            grade: case.grade,
            reason: case.reason,
            evidence: case.evidence,
            validator: case.validator,
            proposer: case.proposer,
            approved_by: case.approved.map(|decided| decided.by),
            proposed_at: case.proposed_at,
            expires: case.expires,
        }
    }
}
