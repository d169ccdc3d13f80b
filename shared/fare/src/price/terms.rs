//! Discounts, surcharges, caps and interchanges.

use alloc::sync::Arc;

use model::{CardCounters, Counter, PlaceIx, RecordKind};

use crate::{
    Cap, Change, FareTap, Journey, Scope, StepKind, Tariff,
    journey::seconds,
    terms::{INTERCHANGE_COUNTER, percent_of},
};

use super::{
    bill::{Bill, RideFacts},
    name,
};

impl Bill {
    /// What is left to pay of a ride: adjusted, then capped.
    pub(super) fn settle(&mut self, ride: &RideFacts<'_>, left: i64) {
        let counting = self.adjust(ride, left);
        self.cap(ride, counting);
    }

    /// Applies discounts and surcharges in their order. Returns what counts towards caps.
    fn adjust(&mut self, ride: &RideFacts<'_>, left: i64) -> i64 {
        let (mut fare, mut counting) = (left, left);
        for adjustment in &ride.tariff.terms().adjustments {
            if !ride.is_in(&adjustment.scope) {
                continue;
            }
            let change = match adjustment.change {
                Change::Percent { percent, rounding, unit } if fare > 0 => {
                    percent_of(fare, percent, rounding, unit).max(0) - fare
                }
                Change::Percent { .. } => 0,
                Change::Amount(amount) => amount.minor().max(-fare),
            };
            if change == 0 {
                continue;
            }
            fare += change;
            if change < 0 || adjustment.counts_to_caps {
                counting = (counting + change).max(0);
            }
            let kind = StepKind::Adjusted { name: Arc::clone(&adjustment.name) };
            let amount = self.money(change);
            self.add(kind, &adjustment.id, amount);
        }
        counting.min(fare)
    }

    /// Counts an amount towards every cap that holds, and takes off what is above one.
    pub(super) fn cap(&mut self, ride: &RideFacts<'_>, counting: i64) {
        let Some(mut counters) = self.counters else { return };
        let terms = ride.tariff.terms();
        let day = terms.calendar.service_day(ride.began);
        let mut paid = counting;
        let mut touched = [false; CardCounters::SLOTS];
        for cap in terms.caps.iter().filter(|cap| in_list(&cap.classes, &ride.class)) {
            let Some(level) = cap.level_of(ride) else { continue };
            let Some(ix) = slot_of(&counters.0, cap.number, ride.tariff) else { continue };
            let running = counters.0[ix].filter(|counter| {
                counter.cap == cap.number && cap.period.runs(counter.start(), day)
            });
            let counter = running.map_or_else(
                || Counter::new(cap.number, level, cap.period.start(day)),
                |counter| Counter { level: counter.level.max(level), ..counter },
            );
            let limit = cap.price_at(counter.level);
            let room = (limit - i64::from(counter.counted)).max(0);
            if paid > room {
                let (name, limit) = (Arc::clone(&cap.name), self.money(limit));
                let off = self.money(room - paid);
                self.add(StepKind::Capped { name, limit }, &cap.id, off);
                paid = room;
            }
            counters.0[ix] = Some(counter);
            touched[ix] = true;
        }
        let paid = u32::try_from(paid).unwrap_or(0);
        let slots = counters.0.iter_mut().zip(touched).filter(|(_, touched)| *touched);
        for counter in slots.filter_map(|(slot, _)| slot.as_mut()) {
            counter.counted = counter.counted.saturating_add(paid);
        }
        self.counters = Some(counters);
    }

    /// At a tap-in: whether the journey that was just left goes on here.
    pub(super) fn enter(&mut self, tariff: &Tariff, journey: &Journey, tap: &FareTap) -> bool {
        let Some(kept) = self.interchange() else { return false };
        let rule = journey.last.as_ref().and_then(|last| {
            let held = last.kind == RecordKind::Exit && last.tariff == tap.tariff;
            let after_s = seconds(last.at, tap.at);
            tariff.terms().interchanges.iter().filter(|_| held).find(|rule| {
                rule.from.contains(&last.place)
                    && rule.to.contains(&tap.place)
                    && after_s <= u64::from(rule.within_s)
            })
        });
        let Some(rule) = rule else {
            self.forget_interchange();
            return false;
        };
        self.keep(Some(Counter { level: 1, ..kept }), tariff);
        let kind = StepKind::Interchange { from: name(tariff, PlaceIx(kept.start)) };
        let zero = self.money(0);
        self.add(kind, &rule.id, zero);
        true
    }

    /// At a tap-out of a journey that went on: the fare from where it began, less what was paid.
    pub(super) fn leave_interchange(&mut self, ride: &RideFacts<'_>, to: PlaceIx) -> bool {
        let Some(kept) = self.interchange().filter(|kept| kept.level == 1) else { return false };
        let origin = PlaceIx(kept.start);
        let Some(product) = ride.tariff.gate_product(origin, to) else { return false };
        let fare = product.price_for(ride.class).minor();
        let paid = i64::from(kept.counted).min(fare);
        let (from, to) = (name(ride.tariff, origin), name(ride.tariff, to));
        let full = self.money(fare);
        self.add(StepKind::OriginDestination { from, to }, &product.id, full);
        let off = self.money(-paid);
        self.add_key(StepKind::PaidBefore, "interchange", off);
        let left = self.cover(ride, fare - paid);
        self.settle(ride, left);
        let ride = RideFacts { places: [Some(origin), ride.places[1]], ..*ride };
        self.remember_interchange(&ride, fare.max(i64::from(kept.counted)));
        true
    }

    /// After a tap-out where an interchange begins: what was paid, and from where.
    pub(super) fn remember_interchange(&mut self, ride: &RideFacts<'_>, paid: i64) {
        let [Some(origin), Some(to)] = ride.places else { return };
        let begins = ride.tariff.terms().interchanges.iter().any(|rule| rule.from.contains(&to));
        let counted = u32::try_from(paid).unwrap_or(0);
        let kept = Counter { cap: INTERCHANGE_COUNTER, level: 0, start: origin.0, counted };
        self.keep(begins.then_some(kept), ride.tariff);
    }

    /// The journey does not go on.
    pub(super) fn forget_interchange(&mut self) {
        let is = |counter: &Counter| counter.cap == INTERCHANGE_COUNTER;
        for slot in self.counters.iter_mut().flat_map(|counters| &mut counters.0) {
            *slot = slot.filter(|counter| !is(counter));
        }
    }

    fn interchange(&self) -> Option<Counter> {
        let mut slots = self.counters.iter().flat_map(|counters| counters.0).flatten();
        slots.find(|counter| counter.cap == INTERCHANGE_COUNTER)
    }

    fn keep(&mut self, kept: Option<Counter>, tariff: &Tariff) {
        self.forget_interchange();
        let Some(counters) = &mut self.counters else { return };
        if let (Some(kept), Some(ix)) = (kept, slot_of(&counters.0, INTERCHANGE_COUNTER, tariff)) {
            counters.0[ix] = Some(kept);
        }
    }
}

impl RideFacts<'_> {
    /// Whether a rule with this scope is for this ride.
    pub(crate) fn is_in(&self, scope: &Scope) -> bool {
        let at = |place: &Option<PlaceIx>| place.is_some_and(|p| scope.places.contains(&p));
        in_list(&scope.classes, &self.class)
            && in_list(&scope.groups, &self.group)
            && (scope.routes.is_empty() || self.route.is_some_and(|r| scope.routes.contains(&r)))
            && (scope.places.is_empty() || self.places.iter().any(at))
            && scope.time.is_none_or(|band| self.tariff.in_time(band, self.began))
    }
}

impl Cap {
    /// The level of a ride; `None` = it does not count.
    fn level_of(&self, ride: &RideFacts<'_>) -> Option<u8> {
        let holds = |level: &crate::CapLevel| {
            let stays = |place: &PlaceIx| level.places.contains(place);
            in_list(&level.groups, &ride.group)
                && (level.places.is_empty() || ride.places.iter().flatten().all(stays))
        };
        let level = self.levels.iter().position(holds)?;
        u8::try_from(level).ok()
    }

    pub(crate) fn price_at(&self, level: u8) -> i64 {
        // A level beyond the last was written by a tariff with more of them.
        let level = self.levels.get(usize::from(level)).or(self.levels.last());
        level.map_or(i64::MAX, |level| level.price.minor())
    }
}

/// The slot that a number has, a free one, or one whose number the tariff no longer has.
fn slot_of(slots: &[Option<Counter>], number: u8, tariff: &Tariff) -> Option<usize> {
    let has = |ix: &usize| slots[*ix].is_some_and(|counter| counter.cap == number);
    let gone = |ix: &usize| {
        slots[*ix].is_none_or(|counter| {
            let known = tariff.terms().caps.iter().any(|cap| cap.number == counter.cap);
            !known && counter.cap != INTERCHANGE_COUNTER
        })
    };
    (0..slots.len()).find(has).or_else(|| (0..slots.len()).find(gone))
}

/// An empty list holds everything.
fn in_list<T: PartialEq>(list: &[T], item: &T) -> bool {
    list.is_empty() || list.contains(item)
}
