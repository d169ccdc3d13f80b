//! What must be open: worked out from what the cards wrote and what reached the depot, by the rules
//! of docs/reconciliation.md and by nothing of the code that clears.
//!
//! A record is known when a proven entry wrote it or found it. What is known and does not fit is an
//! item; what is not known between two known records is a gap over the difference of their
//! balances. Fares come from the tariff in force, whatever the validator went by.

use std::collections::BTreeMap;

use fare::{FareTap, Journey, TariffSet, price};
use model::{
    CardCounters, CardId, CardRecord, Companions, OperatorId, PlaceIx, RecordKind, TapRole,
    ValidatorId,
};

use super::{
    cards::{DayCard, Said, What},
    fleet::Device,
};

/// A work item as far as it can be foretold: all but its words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    /// The kind's word.
    pub kind: String,
    /// Whose card.
    pub card: Option<CardId>,
    /// Which validator.
    pub validator: Option<u32>,
    /// Minor units.
    pub amount: Option<i64>,
}

/// What the books must say of one card.
#[derive(Debug, Default)]
pub struct Told {
    /// Its work items.
    pub items: Vec<Item>,
    /// What its account holds; `None` when nothing of it is known.
    pub shadow: Option<i64>,
    /// Whether that is what is on the card.
    pub is_newest: bool,
    /// Net of its gaps, of its differences, and what it brought along.
    pub nets: [i64; 3],
    /// What was earned with it, by operator, from the records that are booked.
    pub earned: BTreeMap<Option<OperatorId>, i64>,
    /// When the depot could first know that it is two cards, seconds since the day began.
    pub forked_at: Option<u32>,
}

/// Everything that decides what must be open.
pub struct Oracle<'a> {
    /// The validators and what of their logs arrived.
    pub fleet: &'a [Device],
    /// The tariff in force.
    pub tariffs: &'a TariffSet,
}

/// What is known of a card.
struct Known<'a> {
    card: &'a DayCard,
    /// When each record became known; `None` = it is not.
    at: Vec<Option<u32>>,
    /// Entries that arrived, with their times.
    said: Vec<(&'a Said, u32)>,
}

impl Known<'_> {
    /// Whether an entry that arrived tells of this record, which is known.
    fn has_entry(&self, node: usize) -> bool {
        let tells = |said: &Said| said.node == node && !matches!(said.what, What::Voided(_));
        self.said.iter().any(|(said, _)| tells(said))
    }
}

impl Oracle<'_> {
    /// What the books must say of this card.
    pub fn tell(&self, card: &DayCard) -> Told {
        let known = self.known(card);
        let mut told = Told::default();
        let mut by_ctr: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (node, _) in known.at.iter().enumerate().filter(|(_, at)| at.is_some()) {
            by_ctr.entry(card.nodes[node].record.ctr.0).or_default().push(node);
        }
        for nodes in by_ctr.values_mut() {
            nodes.sort_by_key(|node| rank(card, *node));
        }
        let forks = by_ctr.iter().filter(|(_, nodes)| nodes.len() > 1);
        let forked_from = forks.clone().map(|(ctr, _)| *ctr).next();
        if forked_from.is_some() {
            let others = forks.clone().flat_map(|(_, nodes)| &nodes[1..]);
            let unbooked: i64 = others.map(|node| card.nodes[*node].record.delta()).sum();
            told.items.push(item_of(card, "fork", unbooked));
            told.forked_at = forks.filter_map(|(_, nodes)| second(&known, nodes)).min();
        }
        let chain: Vec<usize> = by_ctr.values().map(|nodes| nodes[0]).collect();
        links(card, &chain, forked_from, &mut told);
        self.doubts(&known, &by_ctr, &mut told);
        self.fares(&known, &mut told);
        for node in &chain {
            let record = &card.nodes[*node].record;
            if record.kind.is_load() {
                let validator = Some(record.validator.number());
                let item = item_of(card, "unexplained-load", record.delta());
                told.items.push(Item { validator, ..item });
            } else if is_ride(record) {
                let operator = earner(record, known.has_entry(*node));
                *told.earned.entry(operator).or_default() -= record.delta();
            }
        }
        told
    }

    /// What of the card is known, and since when.
    fn known<'c>(&self, card: &'c DayCard) -> Known<'c> {
        let arrived =
            |said: &'c Said| Some((said, self.fleet[said.by].arrived(said.life, said.seq)?));
        let said: Vec<_> = card.said.iter().filter_map(arrived).collect();
        let mut at: Vec<Option<u32>> = vec![None; card.nodes.len()];
        if card.issued {
            at[0] = Some(0);
        }
        loop {
            let before = at.clone();
            for (said, when) in &said {
                let since = match said.what {
                    What::Committed | What::Confirmed(..) => Some(*when),
                    // Its own word proves nothing; once the record is known, what it found is.
                    What::InDoubt => at[said.node].map(|known| known.max(*when)),
                    What::Voided(_) => None,
                };
                let found = card.nodes[said.node].before;
                for node in [said.node, found] {
                    at[node] = [at[node], since].into_iter().flatten().min();
                }
            }
            if at == before {
                return Known { card, at, said };
            }
        }
    }

    /// Taps in doubt, and charges without passage.
    fn doubts(&self, known: &Known<'_>, by_ctr: &BTreeMap<u32, Vec<usize>>, told: &mut Told) {
        let Known { card, at, said } = known;
        for (doubt, _) in said.iter().filter(|(said, _)| said.what == What::InDoubt) {
            let record = &card.nodes[doubt.node].record;
            let same_log = |other: &Said| (other.by, other.life) == (doubt.by, doubt.life);
            let mut others = said.iter().map(|(said, _)| *said).filter(|said| same_log(said));
            let item = |kind: &str, amount: i64| Item {
                kind: kind.to_owned(),
                card: Some(card.id),
                validator: Some(self.fleet[doubt.by].id.number()),
                amount: Some(amount),
            };
            if at[doubt.node].is_some() {
                if !others.any(|said| said.what == What::Confirmed(doubt.seq, true)) {
                    let due = self.due(known, doubt);
                    if due > 0 {
                        told.items.push(item("charged-without-passage", due));
                    }
                }
            } else if !by_ctr.contains_key(&record.ctr.0)
                && !others.any(|said| said.what == What::Voided(doubt.seq))
            {
                told.items.push(item("in-doubt", record.delta().abs()));
            }
        }
    }

    /// What a rider paid twice who was charged and not let through.
    fn due(&self, known: &Known<'_>, doubt: &Said) -> i64 {
        let Known { card, said, .. } = known;
        let record = &card.nodes[doubt.node].record;
        let charged = i64::from(record.amount);
        let alone = if doubt.role == TapRole::Board { charged } else { 0 };
        let next = said.iter().map(|(said, _)| *said).find(|said| {
            let tells = matches!(said.what, What::Committed | What::InDoubt);
            // Only what did happen followed it.
            tells && card.nodes[said.node].before == doubt.node && known.at[said.node].is_some()
        });
        let Some(next) = next else { return alone };
        let with = self.fare(card, next, doubt.node);
        let without = self.fare(card, next, card.nodes[doubt.node].before);
        match (with, without) {
            (Some((with, _)), Some((without, _))) => (charged + with - without).max(0),
            _ if next.role == TapRole::Exit => 0,
            _ => alone,
        }
    }

    /// Taps that were charged otherwise than the tariff says.
    fn fares(&self, known: &Known<'_>, told: &mut Told) {
        let card = known.card;
        let mut priced = std::collections::BTreeSet::new();
        for (said, _) in &known.said {
            let is_known = known.at[said.node].is_some() && !matches!(said.what, What::Voided(_));
            if !is_known || !priced.insert(said.node) {
                continue;
            }
            let node = &card.nodes[said.node];
            let right = self.fare(card, said, node.before);
            let charged = i64::from(node.record.amount);
            let differs = match right {
                Some((fare, counters)) => {
                    (fare != charged || counters != node.counters).then_some(charged - fare)
                }
                None => Some(charged),
            };
            if let Some(differs) = differs {
                told.items.push(Item {
                    kind: "fare-mismatch".to_owned(),
                    card: Some(card.id),
                    validator: Some(node.record.validator.number()),
                    amount: Some(differs.abs()),
                });
            }
        }
    }

    /// The fare of the tap that an entry tells of, had it found this record on the card.
    fn fare(
        &self,
        card: &DayCard,
        said: &Said,
        found: usize,
    ) -> Option<(i64, Option<CardCounters>)> {
        let (record, found) = (&card.nodes[said.node].record, &card.nodes[found]);
        let tap = FareTap {
            at: record.at(),
            role: said.role,
            place: record.place,
            route: said.route,
            class: record.class,
            companions: Companions::NONE,
            purse: None,
            validator: record.validator,
            tariff: record.tariff,
        };
        let journey = Journey::from_record(&found.record).counting(found.counters);
        let quote = price(self.tariffs, &journey, &tap).ok()?;
        Some((quote.debit.minor(), quote.counters_after))
    }
}

/// A work item about a card.
fn item_of(card: &DayCard, kind: &str, amount: i64) -> Item {
    let (kind, card, amount) = (kind.to_owned(), Some(card.id), Some(amount.abs()));
    Item { kind, card, validator: None, amount }
}

/// Gaps, differences and the origin of the records that are booked, and what they leave.
fn links(card: &DayCard, chain: &[usize], forked_from: Option<u32>, told: &mut Told) {
    for pair in chain.windows(2) {
        let (a, b) = (&card.nodes[pair[0]].record, &card.nodes[pair[1]].record);
        let net = i64::from(b.balance) - b.delta() - i64::from(a.balance);
        if b.ctr.0 - a.ctr.0 > 1 {
            told.items.push(item_of(card, "card-gap", net));
            told.nets[0] += net;
        } else if net != 0 {
            told.nets[1] += net;
            // Behind a fork two histories are mixed, and differences say nothing.
            if forked_from.is_none_or(|forked| b.ctr.0 < forked) {
                told.items.push(item_of(card, "balance-mismatch", net));
            }
        }
    }
    let Some((first, newest)) = chain.first().zip(chain.last()) else { return };
    let record = &card.nodes[*first].record;
    if !card.issued {
        let issue = record.kind == RecordKind::Issue;
        told.nets[2] = i64::from(record.balance) - if issue { 0 } else { record.delta() };
        told.items.push(item_of(card, "unknown-card", told.nets[2]));
    }
    told.shadow = Some(i64::from(card.nodes[*newest].record.balance));
    told.is_newest = card.twin.is_none() && *newest == card.head;
}

/// The record that the books keep stands first: our own issue, then the earlier, then the bytes.
fn rank(card: &DayCard, node: usize) -> (bool, u32, [u8; 32]) {
    let record = &card.nodes[node].record;
    let ours = card.issued && record.validator == ValidatorId::DEPOT;
    (!ours, record.at_s, record.to_bytes().expect("it was on a card"))
}

/// When the second of these records became known.
fn second(known: &Known<'_>, nodes: &[usize]) -> Option<u32> {
    let mut times: Vec<u32> = nodes.iter().filter_map(|node| known.at[*node]).collect();
    times.sort_unstable();
    times.get(1).copied()
}

/// Whose revenue a ride is: its route's operator where its own entry is known, else that of the
/// group which the record names, if it names one.
fn earner(record: &CardRecord, has_entry: bool) -> Option<OperatorId> {
    match (record.kind, has_entry) {
        (RecordKind::Board, true) if record.place == PlaceIx(4) => Some(OperatorId(1)),
        (RecordKind::Board, true) => Some(OperatorId(0)),
        // Groups and their operators stand in one order in the tariff.
        (RecordKind::Board, false) => record.run.map(|run| OperatorId(u16::from(run.group))),
        (RecordKind::Entry | RecordKind::Exit, _) => Some(OperatorId(2)),
        (
            RecordKind::Issue | RecordKind::Load | RecordKind::LoadInJourney | RecordKind::Retire,
            _,
        ) => None,
    }
}

/// Whether a record is a ride's.
pub(super) const fn is_ride(record: &CardRecord) -> bool {
    matches!(record.kind, RecordKind::Board | RecordKind::Entry | RecordKind::Exit)
}
