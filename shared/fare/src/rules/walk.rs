//! From leg to leg: the cheapest choice over a whole journey.
//!
//! The walk keeps, for every way to have paid so far that may matter later, the least total.
//! A transfer rule that matches is applied, also where it makes the journey dearer: a card
//! cannot ask. Fewest unknown legs first, then the least total.

use alloc::{borrow::Cow, sync::Arc, vec::Vec};

use model::Money;

use crate::{Step, StepKind, journey::seconds};

use super::{Candidate, DurationSpan, FareLeg, RuleSet, TransferKind, TransferRule, Who};

/// What a journey costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JourneyPrice {
    /// Of all that is known.
    pub total: Money,
    /// Rides without a known fare, by their index in the journey.
    pub unknown: Vec<usize>,
    /// Ids of the products or fares that are paid, in order.
    pub products: Vec<Arc<str>>,
    /// Why; the amounts sum to `total`.
    pub steps: Vec<Step>,
}

/// Where the walk gets its rules from: one by one, or by look-up.
pub(super) trait Source {
    fn set(&self) -> &RuleSet;
    fn offers(&self, leg: &FareLeg, who: Who) -> Cow<'_, [Candidate]>;
    /// The living transfer rules between two leg groups, by their index.
    fn transfers(&self, from: u16, to: u16) -> Cow<'_, [u32]>;
    fn amount(&self, product: u16, who: Who) -> Option<i64>;
}

/// Legs tied together by transfers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    /// Its first leg: transfer times are measured from there.
    first: usize,
    group: Option<u16>,
    product: u16,
    /// Transfers within `group` in a row.
    same: u32,
    /// What the first leg cost, while it is the only one.
    alone: Option<i64>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    unknown: usize,
    total: i64,
    run: Option<Run>,
    /// The last entry of its trail.
    trail: Option<usize>,
}

/// How one leg was paid.
#[derive(Debug, Clone, Copy)]
enum Paid {
    Unknown,
    Fresh {
        offer: Candidate,
        missed: Option<Missed>,
    },
    /// `alone` as in the run before it.
    Moved {
        offer: Candidate,
        rule: u32,
        ab: i64,
        alone: Option<i64>,
    },
}

/// A transfer that came too late: the alternative considered.
#[derive(Debug, Clone, Copy)]
struct Missed {
    rule: u32,
    after_s: u64,
    limit_s: u32,
}

struct Mark {
    before: Option<usize>,
    paid: Paid,
}

struct Walk<'a, S> {
    source: &'a S,
    legs: &'a [FareLeg],
    who: Who,
    marks: Vec<Mark>,
}

pub(super) fn walk<S: Source>(source: &S, legs: &[FareLeg], who: Who) -> JourneyPrice {
    let mut walk = Walk { source, legs, who, marks: Vec::new() };
    let mut states = alloc::vec![State { unknown: 0, total: 0, run: None, trail: None }];
    for ix in 0..legs.len() {
        states = walk.step(ix, &states);
    }
    let best = states.iter().min_by_key(|state| (state.unknown, state.total));
    walk.explain(best.copied().expect("every leg leaves at least one state"))
}

/// A way from one leg to the next: the rule, what its product costs, the transfers in a row.
#[derive(Debug, Clone, Copy)]
struct Move {
    rule: u32,
    ab: i64,
    same: u32,
}

impl<S: Source> Walk<'_, S> {
    fn step(&mut self, ix: usize, states: &[State]) -> Vec<State> {
        let source = self.source;
        let offers = source.offers(&self.legs[ix], self.who);
        let mut next = Vec::new();
        for state in states {
            let mut paid = false;
            for offer in offers.iter() {
                let (moves, missed) = self.moves(state.run.as_ref(), offer, ix);
                for way in &moves {
                    paid = true;
                    let (after, mark) = self.transferred(state, *offer, *way);
                    self.arrive(&mut next, after, mark);
                }
                if moves.is_empty() && !offer.transfer_only {
                    paid = true;
                    let run = Run {
                        first: ix,
                        group: offer.group,
                        product: offer.product,
                        same: 0,
                        alone: Some(offer.amount),
                    };
                    let total = state.total + offer.amount;
                    let after = State { total, run: Some(run), ..*state };
                    self.arrive(&mut next, after, Paid::Fresh { offer: *offer, missed });
                }
            }
            if !paid {
                let unknown = state.unknown + self.legs[ix].rides.len();
                let after = State { unknown, run: None, ..*state };
                self.arrive(&mut next, after, Paid::Unknown);
            }
        }
        next
    }

    /// Keeps a state unless one that is as good for all that may follow costs no more.
    fn arrive(&mut self, states: &mut Vec<State>, mut state: State, paid: Paid) {
        let cost = |state: &State| (state.unknown, state.total);
        let twin = states.iter_mut().find(|other| other.run == state.run);
        if twin.as_ref().is_some_and(|twin| cost(twin) <= cost(&state)) {
            return;
        }
        self.marks.push(Mark { before: state.trail, paid });
        state.trail = Some(self.marks.len() - 1);
        match twin {
            Some(twin) => *twin = state,
            None => states.push(state),
        }
    }

    /// The transfers from a run onto this offer; and the one that was missed, if time was all
    /// that was missing.
    fn moves(
        &self,
        run: Option<&Run>,
        offer: &Candidate,
        ix: usize,
    ) -> (Vec<Move>, Option<Missed>) {
        let Some((run, from, to)) = run.and_then(|run| Some((run, run.group?, offer.group?)))
        else {
            return (Vec::new(), None);
        };
        let same = if from == to { run.same + 1 } else { 0 };
        let mut missed = None;
        let mut moves: Vec<(u32, Move)> = Vec::new();
        for rule_ix in self.source.transfers(from, to).iter().copied() {
            let rule = &self.source.set().transfer_rules[rule_ix as usize];
            let ab = rule.product.map_or(Some(0), |product| self.source.amount(product, self.who));
            let count = rule.count.unwrap_or(u32::MAX);
            let held = rule.holding.is_none_or(|product| product == run.product);
            let Some(ab) = ab.filter(|_| held && count >= same) else { continue };
            match self.too_late(rule, run, ix) {
                None => moves.push((count, Move { rule: rule_ix, ab, same })),
                Some((after_s, limit_s)) => {
                    missed = missed.or(Some(Missed { rule: rule_ix, after_s, limit_s }));
                }
            }
        }
        let least = moves.iter().map(|(count, _)| *count).min();
        moves.retain(|(count, _)| Some(*count) == least);
        (moves.into_iter().map(|(_, way)| way).collect(), missed)
    }

    /// The seconds that passed and the limit, when the limit is exceeded; it is inclusive.
    fn too_late(&self, rule: &TransferRule, run: &Run, ix: usize) -> Option<(u64, u32)> {
        let (limit_s, span) = rule.limit?;
        let (first, last) = (&self.legs[run.first], &self.legs[ix]);
        let (from, to) = match span {
            DurationSpan::DepartureToArrival => (first.departs, last.arrives),
            DurationSpan::DepartureToDeparture => (first.departs, last.departs),
            DurationSpan::ArrivalToDeparture => (first.arrives, last.departs),
            DurationSpan::ArrivalToArrival => (first.arrives, last.arrives),
        };
        let after_s = seconds(from, to);
        (after_s > u64::from(limit_s)).then_some((after_s, limit_s))
    }

    fn transferred(&self, state: &State, offer: Candidate, way: Move) -> (State, Paid) {
        let run = state.run.expect("a transfer starts from a run");
        let kind = self.source.set().transfer_rules[way.rule as usize].kind;
        let alone = run.alone;
        let run =
            Run { group: offer.group, product: offer.product, same: way.same, alone: None, ..run };
        let total = state.total + kind.cost(alone, way.ab, offer.amount);
        let after = State { total, run: Some(run), ..*state };
        (after, Paid::Moved { offer, rule: way.rule, ab: way.ab, alone })
    }

    fn explain(&self, end: State) -> JourneyPrice {
        let mut trail = Vec::with_capacity(self.legs.len());
        let mut at = end.trail;
        while let Some(ix) = at {
            trail.push(self.marks[ix].paid);
            at = self.marks[ix].before;
        }
        trail.reverse();
        let set = self.source.set();
        let mut price = JourneyPrice {
            total: set.money(end.total),
            unknown: Vec::new(),
            products: Vec::new(),
            steps: Vec::new(),
        };
        for (leg, paid) in self.legs.iter().zip(trail) {
            price.add(set, leg, paid);
        }
        price
    }
}

impl JourneyPrice {
    fn add(&mut self, set: &RuleSet, leg: &FareLeg, paid: Paid) {
        let (from, to) = (set.stop_name(leg.from), set.stop_name(leg.to));
        match paid {
            Paid::Unknown => {
                self.unknown.extend(leg.rides.clone());
                let kind = StepKind::NoFareKnown { from, to };
                self.push(kind, "fare_leg_rules", set.money(0));
            }
            Paid::Fresh { offer, missed } => {
                let product = &set.products[usize::from(offer.product)];
                self.products.push(Arc::clone(&product.id));
                let kind = StepKind::Leg { from, to, product: Arc::clone(&product.name) };
                self.push(kind, &product.id, set.money(offer.amount));
                if let Some(missed) = missed {
                    let limit_s = u64::from(missed.limit_s);
                    let kind = StepKind::TransferTooLate { after_s: missed.after_s, limit_s };
                    self.push(kind, &set.transfer_rules[missed.rule as usize].id(), set.money(0));
                }
            }
            Paid::Moved { offer, rule, ab, alone } => {
                let product = &set.products[usize::from(offer.product)];
                let kind = StepKind::Leg { from, to, product: Arc::clone(&product.name) };
                self.push(kind, &product.id, set.money(offer.amount));
                let moved = &set.transfer_rules[rule as usize];
                match moved.kind {
                    TransferKind::BesidesNext => self.products.push(Arc::clone(&product.id)),
                    TransferKind::InsteadOfBoth if alone.is_some_and(|paid| paid != 0) => {
                        self.products.pop();
                    }
                    TransferKind::InsteadOfNext | TransferKind::InsteadOfBoth => {}
                }
                if let Some(ab) = moved.product {
                    self.products.push(Arc::clone(&set.products[usize::from(ab)].id));
                }
                let amount = moved.kind.cost(alone, ab, offer.amount) - offer.amount;
                self.push(StepKind::LegTransfer, &moved.id(), set.money(amount));
            }
        }
    }

    fn push(&mut self, kind: StepKind, rule: &str, amount: Money) {
        self.steps.push(Step { kind, rule: rule.into(), amount });
    }
}

impl RuleSet {
    fn stop_name(&self, stop: super::StopIx) -> Arc<str> {
        Arc::clone(&self.stops[stop.0 as usize].name)
    }
}
