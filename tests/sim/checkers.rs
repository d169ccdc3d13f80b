//! What must hold, compared with what the cards themselves committed.

use std::{collections::BTreeMap, fmt, time::Duration};

use card::{VersionedKey, VirtualCard};
use fare::{Step, StepKind};
use model::{CardId, CardRecord, Ctr, RecordKind};

use validation::Passage;

use super::{city, depot::SimDepot, dice::Dice, scenario::Scenario, world::newest_record};

/// What a run found, and how to see it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The run.
    pub seed: u64,
    /// Its scenario.
    pub scenario: Scenario,
    /// Virtual time since the start.
    pub at: Duration,
    /// What does not hold.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, scenario, at, what } = self;
        writeln!(f, "seed {seed}, after {at:?}: {what}")?;
        write!(
            f,
            "run it again: cargo run -p tapline-tests --bin sim -- --seed {seed} \
             --validators {} --cards {} --rides {}",
            scenario.validators, scenario.cards, scenario.rides
        )
    }
}

/// The reference: every record that a card committed, read from the card itself.
#[derive(Debug, Default)]
pub struct Truth {
    cards: BTreeMap<CardId, BTreeMap<Ctr, CardRecord>>,
    /// Rides that were sold with each card.
    sold: BTreeMap<CardId, u32>,
    /// What was charged for companions.
    others: BTreeMap<(CardId, Ctr), i64>,
}

impl Truth {
    /// A new card with its opening record.
    pub fn begin(&mut self, card: CardId, issue: CardRecord, rides: u32) {
        self.sold.insert(card, rides);
        self.cards.entry(card).or_default().insert(issue.ctr, issue);
    }

    /// The card's newest transaction let these riders pass: what the companions paid.
    pub fn let_through(&mut self, card: CardId, passage: &Passage) {
        let with = |step: &&Step| matches!(step.kind, StepKind::Companions { .. });
        let paid: i64 = passage.steps.iter().filter(with).map(|step| step.amount.minor()).sum();
        let newest = self.cards.get(&card).and_then(|known| known.last_key_value());
        if let (Some((ctr, _)), true) = (newest, paid > 0) {
            self.others.insert((card, *ctr), paid);
        }
    }

    /// Taps of several riders.
    pub fn groups(&self) -> u64 {
        self.others.len() as u64
    }

    /// Looks at a card after a presentation.
    pub fn look(
        &mut self,
        card: &mut VirtualCard,
        key: &VersionedKey,
        dice: &mut Dice,
    ) -> Result<(), String> {
        let record = newest_record(card, key, dice);
        let known = self.cards.get_mut(&card.uid()).expect("every card began");
        let (last, _) = known.last_key_value().expect("every card has its issue");
        if record.ctr.0 > last.0 + 1 {
            return Err(format!(
                "one presentation moved the counter from {last} to {}",
                record.ctr
            ));
        }
        known.insert(record.ctr, record);
        // Each ride that is gone from the card stands in a record, and the reverse.
        let used = |record: &CardRecord| record.products.map_or(0, |used| u32::from(used.rides));
        let taken: u32 = known.values().map(used).sum();
        let sold = self.sold.get(&card.uid()).copied().unwrap_or_default();
        let left = card.contents().and_then(|contents| contents.products?.rides);
        if left.and_then(|left| left.checked_add(taken)) != Some(sold) {
            return Err(format!("{sold} rides sold, {taken} taken in records, {left:?} left"));
        }
        Ok(())
    }

    /// Records that the card has committed.
    pub fn count(&self, card: CardId) -> usize {
        self.cards.get(&card).map_or(0, BTreeMap::len)
    }
}

/// The books of a healed fleet are the cards' own history: nothing lost, nothing invented,
/// nothing booked twice, and no coin without an account.
pub fn books(depot: &SimDepot, truth: &Truth) -> Result<(), String> {
    let books = &depot.books;
    for (card, records) in &truth.cards {
        for (ctr, record) in records {
            let known = books.records.get(&(*card, *ctr));
            if known.map(|known| &known.record) != Some(record) {
                return Err(format!("card {card} committed {record:?}, the books say {known:?}"));
            }
        }
        let (_, newest) = records.last_key_value().expect("every card has its issue");
        let shadow = books.cards.get(card).and_then(clearing::CardState::shadow);
        if shadow != Some(i64::from(newest.balance)) {
            return Err(format!("card {card} holds {}, its shadow is {shadow:?}", newest.balance));
        }
    }
    let committed: usize = truth.cards.values().map(BTreeMap::len).sum();
    if books.records.len() != committed {
        return Err(format!("{} records in the books, {committed} on cards", books.records.len()));
    }
    if let Err(error) = ledger::trial_balance(books.ledger.balances()) {
        return Err(format!("trial balance: {error}"));
    }
    if books.opened != books.resolved + books.open.len() as u64 {
        return Err(format!(
            "{} opened, {} resolved, {} open",
            books.opened,
            books.resolved,
            books.open.len()
        ));
    }
    if let Some(item) = books.open.values().next() {
        return Err(format!(
            "{:?} is open and nothing of the kind was injected: {}",
            item.kind, item.finding
        ));
    }
    Ok(())
}

/// No day and no week of a card that counts costs more than its cap, besides maximum fares and the
/// fee for a short stay. Read from the records alone. Returns how many reached their cap.
pub fn caps(truth: &Truth) -> Result<u64, String> {
    let mut reached = 0;
    for (card, records) in &truth.cards {
        let (mut days, mut weeks) = (BTreeMap::new(), BTreeMap::new());
        let pairs = records.values().zip(records.values().skip(1));
        for (before, record) in pairs.filter(|(_, record)| record.layout.has_counters()) {
            let others = truth.others.get(&(*card, record.ctr)).copied().unwrap_or(0);
            let Some((began_s, paid)) = counted(before, record, others) else { continue };
            let day = (u64::from(began_s) - city::DAY_STARTS_S) / 86_400;
            // 1 January 1970 was a Thursday, weeks begin on Monday.
            let week: &mut i64 = weeks.entry((day + 3) / 7).or_default();
            let (sum, wide): &mut (i64, bool) = days.entry(day).or_default();
            *sum += paid;
            *week += paid;
            *wide |= record.kind == RecordKind::Exit;
            let limit = city::CAPS[usize::from(*wide)];
            if *sum > limit || *week > city::CAPS[2] {
                return Err(format!(
                    "card {card} paid {sum} on day {day} and {week} in its week, with {record:?}"
                ));
            }
        }
        let full = |(sum, wide): &(i64, bool)| *sum == city::CAPS[usize::from(*wide)];
        reached += days.values().filter(|day| full(day)).count() as u64;
        reached += weeks.values().filter(|week| **week == city::CAPS[2]).count() as u64;
    }
    Ok(reached)
}

/// When a record's ride began and what of its amount counts; `None` when it ends no ride.
fn counted(before: &CardRecord, record: &CardRecord, others: i64) -> Option<(u32, i64)> {
    // What companions paid is in no cap of the holder.
    let paid = i64::from(record.amount) - others;
    match record.kind {
        RecordKind::Board if before.kind == RecordKind::Entry => {
            let maximum = city::MAXIMUM[usize::from(before.place.0)];
            // Less than the maximum fare: a product paid that one.
            Some((record.at_s, if paid < maximum { paid } else { paid - maximum }))
        }
        RecordKind::Board => Some((record.at_s, paid)),
        RecordKind::Exit => {
            let inside_s = u64::from(record.at_s - before.at_s);
            let stay = record.place == before.place && inside_s <= city::STAY_S;
            (!stay && inside_s <= city::JOURNEY_LIMIT_S).then_some((before.at_s, paid))
        }
        RecordKind::Entry
        | RecordKind::Issue
        | RecordKind::Load
        | RecordKind::LoadInJourney
        | RecordKind::Retire => None,
    }
}
