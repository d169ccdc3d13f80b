//! The books against the truth: items found = items expected and no other, money where it belongs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use anyhow::ensure;
use model::{CardId, OperatorId};

use super::{
    city::BEGINS,
    oracle::{Item, Oracle, Told},
    world::World,
};

/// Differences that are named.
const NAMED: usize = 12;

/// What the books were found to say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judged {
    /// Open items by kind.
    pub open: BTreeMap<String, u64>,
    /// Cards whose account holds what is on the card.
    pub exact: u64,
    /// Cards of which the newest record is not known.
    pub behind: u64,
    /// What stands in gap suspense.
    pub gaps: i64,
    /// Money on cards.
    pub cards: i64,
    /// Earned, by operator; `None` where nobody knows yet.
    pub earned: BTreeMap<Option<OperatorId>, i64>,
}

impl World {
    /// Compares everything; the error names what differs first.
    pub fn judge(&self) -> anyhow::Result<Judged> {
        let oracle = Oracle { fleet: &self.fleet, tariffs: &self.tariffs };
        let told: Vec<Told> = self.cards.iter().map(|card| oracle.tell(card)).collect();
        let clocks = oracle.clocks(&self.cards)?;
        let open = self.items(&told, clocks)?;
        let tally = self.depot.tally()?;
        for (kind, [opened, resolved, open]) in &tally.by_kind {
            ensure!(*opened == resolved + open, "{kind}: {opened} opened, {resolved} + {open}");
        }
        let mut judged = self.money(&told)?;
        self.proposals(&told)?;
        for item in open {
            *judged.open.entry(item.kind).or_default() += 1;
        }
        Ok(judged)
    }

    /// Items found against items expected.
    fn items(&self, told: &[Told], clocks: Vec<Item>) -> anyhow::Result<Vec<Item>> {
        let mut expected: Vec<Item> = told.iter().flat_map(|told| told.items.clone()).collect();
        let arrived = self
            .marks
            .iter()
            .filter(|(on, life, seq, _)| self.fleet[*on].arrived(*life, *seq).is_some());
        expected.extend(arrived.map(|(.., item)| item.clone()));
        expected.extend(self.broken.iter().cloned());
        expected.extend(clocks);
        expected.sort();
        let found = self.depot.open_items()?;
        let differ = |these: &[Item], those: &[Item]| {
            let mut left: BTreeMap<&Item, i64> = BTreeMap::new();
            for (items, one) in [(these, 1), (those, -1)] {
                for item in items {
                    *left.entry(item).or_default() += one;
                }
            }
            let more = left.into_iter().filter(|(_, n)| *n > 0);
            more.map(|(item, _)| item.clone()).collect::<Vec<_>>()
        };
        let (missing, extra) = (differ(&expected, &found), differ(&found, &expected));
        let mut text = String::new();
        for (word, items) in [("not found", &missing), ("not expected", &extra)] {
            for item in items.iter().take(NAMED) {
                write!(text, "\n  {word}: {item:?}")?;
            }
        }
        let (expected, count) = (expected.len(), found.len());
        ensure!(
            missing.is_empty() && extra.is_empty(),
            "{expected} work items expected, {count} open, {} not found, {} not expected:{text}",
            missing.len(),
            extra.len()
        );
        Ok(found)
    }

    /// Each card's account, the suspense, what was earned, and the sum of everything.
    fn money(&self, told: &[Told]) -> anyhow::Result<Judged> {
        let mut judged = Judged::default();
        let shadows = self.depot.shadows()?;
        let mut nets = [0; 3];
        for (card, told) in self.cards.iter().zip(told) {
            let shadow = shadows.get(&card.id).copied();
            let expected = told.shadow;
            ensure!(
                shadow == expected,
                "card {}: the books hold {shadow:?}, its newest known record {expected:?}",
                card.id
            );
            let held = i64::from(card.nodes[card.head].record.balance);
            ensure!(!told.is_newest || shadow == Some(held), "card {} holds {held}", card.id);
            judged.exact += u64::from(told.is_newest);
            judged.behind += u64::from(told.shadow.is_some() && !told.is_newest);
            judged.cards += shadow.unwrap_or(0);
            nets.iter_mut().zip(told.nets).for_each(|(sum, net)| *sum += net);
            for (operator, earned) in &told.earned {
                *judged.earned.entry(*operator).or_default() += earned;
            }
        }
        let accounts = self.depot.accounts()?;
        let on = |code: u16| accounts.get(&code).copied().unwrap_or(0);
        ensure!(accounts.values().sum::<i64>() == 0, "the accounts do not sum to zero");
        let expected = [judged.cards, judged.earned.values().sum(), -nets[0], -nets[1], -nets[2]];
        // What is settled is owed to operators and kept as fees; sharing ends at zero.
        let earned = on(2) + on(20) + on(22);
        let found = [on(1), earned, on(3), on(4), on(5)];
        ensure!(on(21) == 0, "sharing leaves {}", on(21));
        ensure!(
            found == expected,
            "cards, revenue, gaps, differences, unknown origin: {found:?}, expected {expected:?}"
        );
        let float = self.depot.float()?;
        let held = judged.cards - nets.iter().sum::<i64>() + on(14);
        ensure!(float.total() == held, "the float is {}, expected {held}", float.total());
        judged.gaps = on(3);
        Ok(judged)
    }

    /// The hotlist's rules propose the forked cards and those with value that nobody put there, at
    /// once, and no other.
    fn proposals(&self, told: &[Told]) -> anyhow::Result<()> {
        let with = |kind: &str| -> BTreeSet<CardId> {
            let has = |told: &Told| told.items.iter().any(|item| item.kind == kind);
            let cards = self.cards.iter().zip(told).filter(|(_, told)| has(told));
            cards.map(|(card, _)| card.id).collect()
        };
        let proposed = self.depot.proposed()?;
        let forked = with("fork");
        for (cause, kind) in [("fork", "fork"), ("value", "balance-mismatch")] {
            let found = proposed.get(cause).cloned().unwrap_or_default();
            let stand = found.iter().filter(|(_, case)| case.stands).map(|(card, _)| *card);
            let (stand, expected): (BTreeSet<_>, _) = (stand.collect(), with(kind));
            ensure!(stand == expected, "proposed for {cause}: {stand:?}, expected {expected:?}");
            // A copy may be met by its counters before by its records.
            let false_hit = found.keys().find(|c| !expected.contains(*c) && !forked.contains(*c));
            ensure!(false_hit.is_none(), "proposed for {cause}, and honest: {false_hit:?}");
        }
        let others: Vec<_> = proposed.keys().filter(|c| !["fork", "value"].contains(*c)).collect();
        ensure!(others.is_empty(), "proposals for other causes: {others:?}");
        for (card, told) in self.cards.iter().zip(told) {
            let Some(known) = told.forked_at else { continue };
            let at = proposed["fork"][&card.id].at.secs();
            let expected = u64::from(BEGINS + known);
            ensure!(at == expected, "card {} was proposed at {at}, not {expected}", card.id);
        }
        Ok(())
    }
}
