//! The hotlist's journal booked again: every case stands where it brings it, and the list holds
//! what is in force.

use std::collections::BTreeMap;

use blocking::{Case, Standing, grade_of};
use lists::Hotlist;
use model::{CardId, Timestamp};

use super::{HotlistError, HotlistEvent, hash_of};
use crate::store::{CaseFilter, Store, StoreError};

/// Books the journal again and says the first difference. Answers how many cases there are.
pub fn verify(store: &Store) -> Result<u64, HotlistError> {
    let mut cases: BTreeMap<u64, Case> = BTreeMap::new();
    let mut newest: Option<(u64, String)> = None;
    for (at, event) in store.hotlist_journal()? {
        replay(&mut cases, at, &event)?;
        if let HotlistEvent::Listed { version, hash, cards, .. } = &event {
            let list = list_of(cases.values());
            if hash_of(&list) != *hash || list.len() as u64 != *cards {
                return Err(differs(&format!("hotlist {version} is not what is in force")).into());
            }
            newest = Some((*version, hash.clone()));
        }
    }
    let stored = store.hotlist_cases(&CaseFilter::default(), u32::MAX)?;
    if stored.len() != cases.len() {
        let (found, made) = (stored.len(), cases.len());
        return Err(differs(&format!("{found} cases of blocking, the journal has {made}")).into());
    }
    for case in &stored {
        if cases.get(&case.id.0) != Some(case) {
            return Err(differs(&format!("case {} is not where its journal is", case.id)).into());
        }
    }
    let given = store.kept_hotlists()?.into_iter().next();
    let given = given.map(|(version, content)| (version, Hotlist::parse(content)));
    match (given, newest) {
        (None, None) => Ok(cases.len() as u64),
        (Some((version, Ok(list))), Some(said)) if (version, hash_of(&list)) == said => {
            Ok(cases.len() as u64)
        }
        _ => Err(differs("the newest hotlist is not the journal's").into()),
    }
}

fn replay(
    cases: &mut BTreeMap<u64, Case>,
    at: Timestamp,
    event: &HotlistEvent,
) -> Result<(), HotlistError> {
    let begun = event.begun(at);
    for case in begun.ok_or_else(|| differs("a proposal does not read"))? {
        cases.insert(case.id.0, case);
    }
    for (first, last) in event.cases() {
        for (_, case) in cases.range_mut(first..=last) {
            event.apply(case, at)?;
        }
    }
    Ok(())
}

fn list_of<'a>(cases: impl Iterator<Item = &'a Case>) -> Hotlist {
    let mut by_card: BTreeMap<CardId, Vec<&Case>> = BTreeMap::new();
    for case in cases.filter(|case| case.standing == Standing::InForce) {
        by_card.entry(case.card).or_default().push(case);
    }
    let graded = by_card.into_iter().filter_map(|(card, cases)| Some((card, grade_of(cases)?)));
    Hotlist::build(graded)
}

fn differs(what: &str) -> StoreError {
    StoreError::damaged(format!("the hotlist: {what}"))
}
