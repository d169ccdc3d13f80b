//! The cards of the day and the truth about them: every record that a card ever held, what it was
//! written after, and what log entries say about it.
//!
//! A card here is what a validator sees of one: its newest record and its counters. The validator's
//! decision and the card's proof are the production code's. A clone is a second image of the same
//! card, a rollback an older image put back, so a card's records are a tree.

use card::CardFound;
use depot_server::workload::Cards;
use model::{
    CardCounters, CardId, CardLayout, CardRecord, CardTransaction, Companions, CounterUse, Ctr,
    LoadSeq, PlaceIx, RecordKind, RiderClass, RouteIx, TapRole, TapSeq, TariffVersion, ValidUntil,
    ValidatorId,
};
use validation::Decision;

use super::city;

/// Some riders are visitors: their cards end with a day, long after this one.
const VISITORS_END: ValidUntil = ValidUntil::Day { month: 59, day: 30 };

/// A record that a card holds or held, or would hold if an in-doubt tap had happened.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its bytes.
    pub record: CardRecord,
    /// The record that it was written after; its own index for the first.
    pub before: usize,
    /// What it left in the counters file.
    pub counters: Option<CardCounters>,
    /// Whether the card committed it.
    pub committed: bool,
}

/// What an entry says about a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It was committed, with the card's proof.
    Committed,
    /// It is in doubt.
    InDoubt,
    /// The entry of this number was committed after all, and its rider was let through or not.
    Confirmed(TapSeq, bool),
    /// The entry of this number was not.
    Voided(TapSeq),
}

/// One entry of a validator's log about one record of a card.
#[derive(Debug, Clone, Copy)]
pub struct Said {
    /// Which validator, by its place in the fleet.
    pub by: usize,
    /// Which life of its log.
    pub life: usize,
    /// Which entry.
    pub seq: TapSeq,
    /// What.
    pub what: What,
    /// About which record.
    pub node: usize,
    /// What the validator was doing, for pricing the tap again.
    pub role: TapRole,
    /// Its route.
    pub route: Option<RouteIx>,
}

/// A card and its whole history.
#[derive(Debug)]
pub struct DayCard {
    /// Its number.
    pub id: CardId,
    /// Whether the depot knows that it was issued.
    pub issued: bool,
    /// Every record.
    pub nodes: Vec<Node>,
    /// Every entry about them.
    pub said: Vec<Said>,
    /// The newest record of the image in the rider's hand.
    pub head: usize,
    /// The same of a second image.
    pub twin: Option<usize>,
}

impl DayCard {
    /// A new card with an opening value.
    pub fn new(number: u32, opening: u32, issued: bool) -> Self {
        // Every ninth card has no counters file: the depot counts its caps.
        let layout = if number % 9 == 8 { CardLayout::Plain } else { CardLayout::Counters };
        let record = CardRecord {
            kind: RecordKind::Issue,
            ctr: Ctr(1),
            balance: i32::try_from(opening).expect("a small value"),
            amount: opening,
            at_s: city::BEGINS,
            validator: ValidatorId::DEPOT,
            place: PlaceIx::NONE,
            load_seq: LoadSeq(0),
            tariff: TariffVersion(1),
            valid_until: if number % 11 == 7 { VISITORS_END } else { ValidUntil::Always },
            class: RiderClass(0),
            run: None,
            products: None,
            layout,
        };
        let counters = layout.has_counters().then_some(CardCounters::EMPTY);
        let first = Node { record, before: 0, counters, committed: true };
        let (nodes, said) = (vec![first], Vec::new());
        Self { id: Cards::id(number), issued, nodes, said, head: 0, twin: None }
    }

    /// What a validator reads.
    pub fn found(&self) -> CardFound {
        let Node { record, counters, .. } = self.nodes[self.head];
        CardFound { record, purse: None, products: None, counters }
    }

    /// A record that the card writes, or perhaps wrote.
    pub fn write(&mut self, decision: &Decision, committed: bool) -> usize {
        let counters = decision.counters.or(self.nodes[self.head].counters);
        self.push(decision.after, counters, committed)
    }

    /// The same, of a record that somebody made up.
    pub fn push(
        &mut self,
        record: CardRecord,
        counters: Option<CardCounters>,
        committed: bool,
    ) -> usize {
        self.nodes.push(Node { record, before: self.head, counters, committed });
        let node = self.nodes.len() - 1;
        if committed {
            self.head = node;
        }
        node
    }

    /// What a transaction that wrote this record read and wrote.
    pub fn transaction(&self, node: usize) -> CardTransaction {
        let after = &self.nodes[node];
        let before = &self.nodes[after.before];
        let counters = before.counters.map(|found| CounterUse {
            found,
            written: after.counters.filter(|written| *written != found),
        });
        CardTransaction {
            before: before.record,
            after: after.record,
            products: None,
            counters,
            companions: Companions::NONE,
            purse: None,
            loaded: None,
        }
    }

    /// The two images change places.
    pub fn swap(&mut self) {
        if let Some(twin) = &mut self.twin {
            std::mem::swap(twin, &mut self.head);
        }
    }
}
