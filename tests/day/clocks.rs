//! Which clocks must be named: worked out from what the cards wrote and what reached the depot, and
//! held against the validators whose clocks were set wrong.
//!
//! Of each day, by the earlier of the two times: who is ahead of more validators than the other one
//! is behind, is named as ahead; who is behind more, as behind; else the pair is.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    cards::{DayCard, What},
    oracle::{Item, Oracle, is_ride},
};

/// Two clocks that somebody set agree within this, seconds.
const APART_S: u32 = 600;

/// Who is named: a validator and whether as ahead, or the validator behind of a pair and the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Named {
    One(u32, bool),
    Pair(u32, u32),
}

impl Oracle<'_> {
    /// The work items about clocks. An error names a validator whose clock is right.
    pub fn clocks(&self, cards: &[DayCard]) -> anyhow::Result<Vec<Item>> {
        let mut days: BTreeMap<u32, BTreeSet<(u32, u32)>> = BTreeMap::new();
        for card in cards {
            let arrived = card.said.iter().filter(|said| {
                let came = self.fleet[said.by].arrived(said.life, said.seq);
                said.what == What::Committed && came.is_some()
            });
            for said in arrived {
                let node = &card.nodes[said.node];
                let (found, wrote) = (&card.nodes[node.before].record, &node.record);
                let apart = found.at_s.saturating_sub(wrote.at_s) > APART_S;
                let by_two = found.validator != wrote.validator;
                if apart && by_two && is_ride(found) && is_ride(wrote) {
                    let pair = (found.validator.number(), wrote.validator.number());
                    days.entry(wrote.at_s / 86_400).or_default().insert(pair);
                }
            }
        }
        let items: Vec<Item> = days.values().flat_map(named).map(item).collect();
        for item in &items {
            let named = self.fleet.iter().find(|of| Some(of.id.number()) == item.validator);
            let is_off = named.is_some_and(|device| device.offset_s != 0);
            // One against one: either may be wrong.
            let alone = days.values().flatten().filter(|(ahead, behind)| {
                Some(*behind) == item.validator
                    && self.fleet.iter().any(|of| of.id.number() == *ahead && of.offset_s != 0)
            });
            anyhow::ensure!(is_off || alone.count() > 0, "a sound clock is named: {item:?}");
        }
        Ok(items)
    }
}

fn named(pairs: &BTreeSet<(u32, u32)>) -> BTreeSet<Named> {
    let ahead_of = |id| pairs.iter().filter(|(ahead, _)| *ahead == id).count();
    let behind = |id| pairs.iter().filter(|(_, behind)| *behind == id).count();
    let mut named = BTreeSet::new();
    let mut ties = Vec::new();
    for (ahead, late) in pairs {
        match ahead_of(*ahead).cmp(&behind(*late)) {
            std::cmp::Ordering::Greater => drop(named.insert(Named::One(*ahead, true))),
            std::cmp::Ordering::Less => drop(named.insert(Named::One(*late, false))),
            std::cmp::Ordering::Equal => ties.push((*ahead, *late)),
        }
    }
    for (ahead, late) in ties {
        let explains = [Named::One(ahead, true), Named::One(late, false)];
        if explains.iter().all(|one| !named.contains(one)) {
            named.insert(Named::Pair(late, ahead));
        }
    }
    named
}

fn item(named: Named) -> Item {
    let (Named::One(validator, _) | Named::Pair(validator, _)) = named;
    Item { kind: "clock-wrong".to_owned(), card: None, validator: Some(validator), amount: None }
}
