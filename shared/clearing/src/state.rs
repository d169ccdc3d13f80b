//! One card's state: small, bounded by what is unusual about the card, a function of the records
//! cleared so far.
//!
//! The known records form a chain by counter. The state keeps its two ends and what is not plain
//! about it: gaps, differences, forks, in-doubt taps. Every counter between the ends that lies in
//! no gap is known, and its record is in the store.

use alloc::vec::Vec;

use model::{
    CardRecord, CardTransaction, Companions, CounterUse, Ctr, Currency, IssuerId, OperatorId,
    ProductsFound, RouteIx, Timestamp,
};

use crate::known::{KnownRecord, Source, TapRef};

/// What the books know of one card, without its older records.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CardState {
    /// Whether we issued it, by our own records.
    pub(crate) registered: bool,
    /// The currency of its purse, where its profile names it; else it is the tariff's. Known, and
    /// the same for ever, once there is a chain.
    pub(crate) purse: Option<Currency>,
    /// Who issued it, where that is another than the issuer that the books began with (ADR-0023).
    pub(crate) issuer: Option<IssuerId>,
    /// What the card's account was credited from its unknown-origin account.
    pub(crate) origin: i64,
    pub(crate) chain: Option<Chain>,
    /// In-doubt taps whose counter is not known yet, in order of the entry.
    pub(crate) doubts: Vec<Doubt>,
    /// In-doubt taps that a Voided entry named before they arrived.
    pub(crate) voided: Vec<TapRef>,
    /// Charges whose reader let nobody through, in order of the entry.
    pub(crate) unserved: Vec<Unserved>,
    /// Whether any known record read the card's counters.
    pub(crate) counts: bool,
    /// Records that found other counters than the one before them left, in order.
    pub(crate) miscounts: Vec<Ctr>,
}

/// The known records, by their ends and what lies between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) first: Ctr,
    /// What the first record began with.
    pub(crate) first_before: i64,
    pub(crate) newest: KnownRecord,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) differences: Vec<Difference>,
    pub(crate) forks: Vec<Fork>,
}

/// Lost records between two known ones (I4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// First missing counter.
    pub first: Ctr,
    /// Last missing counter.
    pub last: Ctr,
    /// Balance after the record before the gap.
    pub balance_before: i64,
    /// What the record after the gap began with.
    pub balance_after: i64,
}

/// Two neighbouring records that do not fit together (I3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    /// The later record.
    pub ctr: Ctr,
    /// What it begins with, less what the earlier one ended with. Never zero.
    pub net: i64,
}

/// Two or more records under one counter (I2): a clone or a rollback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fork {
    /// The one that the books follow.
    pub kept: KnownRecord,
    /// The others, in order of rank. They are evidence and are not booked.
    pub others: Vec<KnownRecord>,
}

/// A tap of which nobody knows yet whether the card committed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doubt {
    /// The log entry.
    pub tap: TapRef,
    /// What it read.
    pub before: CardRecord,
    /// What it may have written.
    pub after: CardRecord,
    /// The products that it found.
    pub products: Option<ProductsFound>,
    /// The counters that it found and may have written.
    pub counters: Option<CounterUse>,
    /// Who rode on the card besides its holder.
    pub companions: Companions,
    /// The currency that the card's profile names, when it was read.
    pub purse: Option<Currency>,
    /// The route it was on.
    pub route: Option<RouteIx>,
    /// Whose revenue it would be.
    pub operator: Option<OperatorId>,
    /// By the validator's clock.
    pub tapped_at: Timestamp,
    /// The same validator saw the card again, unchanged. It stays here until the counter is known,
    /// because a record of the card outweighs a validator's word.
    pub voided: bool,
}

impl Gap {
    /// Net amount of the lost records: negative when they took value.
    pub const fn net(&self) -> i64 {
        self.balance_after - self.balance_before
    }

    /// How many records are lost.
    pub const fn missing(&self) -> u32 {
        self.last.0 - self.first.0 + 1
    }
}

impl Doubt {
    /// The card transaction that may have happened.
    pub const fn transaction(&self) -> CardTransaction {
        CardTransaction {
            before: self.before,
            after: self.after,
            products: self.products,
            // What a load put on the card costs nothing by a tariff, and no fare asks for it.
            loaded: None,
            counters: self.counters,
            companions: self.companions,
            purse: self.purse,
        }
    }
}

impl Unserved {
    /// Whether there is anything to repay.
    pub const fn is_due(&self) -> bool {
        self.amount > 0 || self.rides > 0
    }
}

impl Fork {
    /// The counter.
    pub const fn ctr(&self) -> Ctr {
        self.kept.record.ctr
    }
}

/// An in-doubt tap that the card committed, and of which its reader never said that it let the
/// rider through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unserved {
    /// The tap.
    pub doubt: Doubt,
    /// The record of the card's next tap, when its own entry is known.
    pub next: Option<CardRecord>,
    /// What it and the next tap cost more than the next alone would have, minor units. Without a
    /// next tap: what it charged.
    pub amount: i64,
    /// The same in rides.
    pub rides: u8,
}

/// Where a counter lies in the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    /// No record is known at all.
    Alone,
    /// Before the first known record.
    Older,
    /// After the newest known record.
    Newer,
    /// In this gap, by index.
    InGap(usize),
    /// Known.
    Known,
}

/// What joins two neighbours of the chain: which account holds what lies between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// What the first known record began with.
    Origin { net: i64 },
    /// Lost records.
    Gap(Gap),
    /// Next to each other; `net` is zero on an honest card.
    Adjacent { ctr: Ctr, net: i64 },
}

impl Link {
    pub(crate) const fn net(&self) -> i64 {
        match self {
            Self::Origin { net } | Self::Adjacent { net, .. } => *net,
            Self::Gap(gap) => gap.net(),
        }
    }

    /// Between a record that ended with `balance` and one that began with `begins`.
    fn between(earlier: Ctr, balance: i64, later: Ctr, begins: i64) -> Self {
        if earlier.0 + 1 == later.0 {
            return Self::Adjacent { ctr: later, net: begins - balance };
        }
        let (first, last) = (Ctr(earlier.0 + 1), Ctr(later.0 - 1));
        Self::Gap(Gap { first, last, balance_before: balance, balance_after: begins })
    }
}

/// The links around a record that was put into the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Insertion {
    /// The link that the record broke up; `None` when it became the newest.
    pub(crate) broken: Option<Link>,
    pub(crate) left: Link,
    /// `None` when it became the newest.
    pub(crate) right: Option<Link>,
}

impl CardState {
    /// The newest known record: the card's state as the depot knows it.
    pub fn newest(&self) -> Option<&KnownRecord> {
        self.chain.as_ref().map(|chain| &chain.newest)
    }

    /// The largest amount that a record of the card can hold, minor units.
    pub fn amount_max(&self) -> u32 {
        self.newest().map_or(CardRecord::AMOUNT_MAX, |newest| newest.record.amount_max())
    }

    /// The depot's balance for the card, minor units: what the newest known record shows.
    pub fn shadow(&self) -> Option<i64> {
        self.newest().map(|known| i64::from(known.record.balance))
    }

    /// Lost records, in order of the counter.
    pub fn gaps(&self) -> &[Gap] {
        self.chain.as_ref().map_or(&[], |chain| &chain.gaps)
    }

    /// Neighbouring records that do not fit together, in order of the counter.
    pub fn differences(&self) -> &[Difference] {
        self.chain.as_ref().map_or(&[], |chain| &chain.differences)
    }

    /// Counters with more than one record, in order.
    pub fn forks(&self) -> &[Fork] {
        self.chain.as_ref().map_or(&[], |chain| &chain.forks)
    }

    /// Records that found other counters on the card than the one before them that read them left,
    /// in order.
    pub fn miscounts(&self) -> &[Ctr] {
        &self.miscounts
    }

    pub(crate) fn set_miscount(&mut self, ctr: Ctr, wrong: bool) {
        match (self.miscounts.binary_search(&ctr), wrong) {
            (Err(at), true) => self.miscounts.insert(at, ctr),
            (Ok(at), false) => drop(self.miscounts.remove(at)),
            (Ok(_), true) | (Err(_), false) => {}
        }
    }

    /// In-doubt taps that nothing has decided.
    pub fn doubts(&self) -> impl Iterator<Item = &Doubt> {
        self.doubts.iter().filter(|doubt| !doubt.voided)
    }

    /// Charges whose rider was not let through, as far as is known, and what is to be repaid.
    pub fn unserved(&self) -> &[Unserved] {
        &self.unserved
    }

    /// Whether we issued the card.
    pub const fn is_registered(&self) -> bool {
        self.registered
    }

    pub(crate) fn position(&self, ctr: Ctr) -> Position {
        let Some(chain) = &self.chain else { return Position::Alone };
        if ctr > chain.newest.record.ctr {
            return Position::Newer;
        }
        if ctr < chain.first {
            return Position::Older;
        }
        let after = chain.gaps.partition_point(|gap| gap.last < ctr);
        match chain.gaps.get(after) {
            Some(gap) if gap.first <= ctr => Position::InGap(after),
            Some(_) | None => Position::Known,
        }
    }

    /// Puts a record where none is known.
    ///
    /// # Panics
    /// When the counter is known: the caller has asked for the position.
    pub(crate) fn insert(&mut self, known: KnownRecord) -> Insertion {
        let record = &known.record;
        let (ctr, begins, balance) =
            (record.ctr, record.balance_before(), i64::from(record.balance));
        let position = self.position(ctr);
        let Some(chain) = &mut self.chain else {
            self.chain = Some(Chain {
                first: ctr,
                first_before: begins,
                newest: known,
                gaps: Vec::new(),
                differences: Vec::new(),
                forks: Vec::new(),
            });
            return Insertion { broken: None, left: Link::Origin { net: begins }, right: None };
        };
        let insertion = match position {
            Position::Newer => {
                let newest = &chain.newest.record;
                let left = Link::between(newest.ctr, i64::from(newest.balance), ctr, begins);
                chain.newest = known;
                Insertion { broken: None, left, right: None }
            }
            Position::Older => {
                let broken = Some(Link::Origin { net: chain.first_before });
                let right = Link::between(ctr, balance, chain.first, chain.first_before);
                (chain.first, chain.first_before) = (ctr, begins);
                Insertion { broken, left: Link::Origin { net: begins }, right: Some(right) }
            }
            Position::InGap(index) => {
                let gap = chain.gaps.remove(index);
                let (earlier, later) = (Ctr(gap.first.0 - 1), Ctr(gap.last.0 + 1));
                let left = Link::between(earlier, gap.balance_before, ctr, begins);
                let right = Link::between(ctr, balance, later, gap.balance_after);
                Insertion { broken: Some(Link::Gap(gap)), left, right: Some(right) }
            }
            Position::Alone | Position::Known => unreachable!("the counter {ctr} is known"),
        };
        for link in [Some(insertion.left), insertion.right].into_iter().flatten() {
            chain.add(link);
        }
        insertion
    }

    /// Replaces the record kept for a known counter by another, and returns the links at its two
    /// sides as (before, after) the change.
    pub(crate) fn replace(&mut self, old: &CardRecord, new: &KnownRecord) -> Vec<(Link, Link)> {
        let chain = self.chain.as_mut().expect("a known counter is in a chain");
        let ctr = old.ctr;
        let begins = new.record.balance_before() - old.balance_before();
        let ends = i64::from(new.record.balance) - i64::from(old.balance);
        let mut changed = Vec::new();
        if chain.first == ctr {
            let net = chain.first_before;
            chain.first_before = net + begins;
            changed.push((Link::Origin { net }, Link::Origin { net: net + begins }));
        } else if let Some(gap) = chain.gaps.iter_mut().find(|gap| gap.last.0 + 1 == ctr.0) {
            let before = *gap;
            gap.balance_after += begins;
            changed.push((Link::Gap(before), Link::Gap(*gap)));
        } else {
            changed.push(chain.shift_difference(ctr, begins));
        }
        if chain.newest.record.ctr == ctr {
            chain.newest = *new;
        } else if let Some(gap) = chain.gaps.iter_mut().find(|gap| gap.first.0 == ctr.0 + 1) {
            let before = *gap;
            gap.balance_before += ends;
            changed.push((Link::Gap(before), Link::Gap(*gap)));
        } else {
            changed.push(chain.shift_difference(Ctr(ctr.0 + 1), -ends));
        }
        changed
    }
}

impl Chain {
    fn add(&mut self, link: Link) {
        match link {
            Link::Origin { .. } | Link::Adjacent { net: 0, .. } => {}
            Link::Gap(gap) => {
                let at = self.gaps.partition_point(|other| other.first < gap.first);
                self.gaps.insert(at, gap);
            }
            Link::Adjacent { ctr, net } => self.set_difference(ctr, net),
        }
    }

    fn shift_difference(&mut self, ctr: Ctr, by: i64) -> (Link, Link) {
        let net = self.differences.iter().find(|d| d.ctr == ctr).map_or(0, |d| d.net);
        self.set_difference(ctr, net + by);
        (Link::Adjacent { ctr, net }, Link::Adjacent { ctr, net: net + by })
    }

    fn set_difference(&mut self, ctr: Ctr, net: i64) {
        self.differences.retain(|d| d.ctr != ctr);
        if net != 0 {
            let at = self.differences.partition_point(|d| d.ctr < ctr);
            self.differences.insert(at, Difference { ctr, net });
        }
    }

    pub(crate) fn fork(&self, ctr: Ctr) -> Option<&Fork> {
        self.forks.iter().find(|fork| fork.ctr() == ctr)
    }

    /// Sets what stands under a forked counter.
    pub(crate) fn set_fork(&mut self, fork: Fork) {
        self.forks.retain(|other| other.ctr() != fork.ctr());
        let at = self.forks.partition_point(|other| other.ctr() < fork.ctr());
        self.forks.insert(at, fork);
    }
}

impl KnownRecord {
    /// Whether `other` knows the same record better: a stronger source, or the same source with an
    /// operator where none (or a lower one) was known.
    pub(crate) fn is_outranked_by(&self, source: Source, operator: Option<OperatorId>) -> bool {
        (self.source, self.operator) < (source, operator)
    }
}
