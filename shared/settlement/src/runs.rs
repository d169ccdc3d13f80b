//! From a day's rides to the runs that transfers tie together, leg by leg.

use alloc::{collections::BTreeMap, vec::Vec};

use clearing::{Rules, TapRef};
use fare::{FareTap, Journey, LastTap, Tariff, price};
use model::{
    CardId, CardTransaction, Companions, IssuerId, OperatorId, PlaceIx, RecordKind, RouteIx,
    TapRole,
};

use crate::share::Leg;

/// One tap of a day that paid for a ride, or for which a transfer paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ride {
    /// Which entry of whose log.
    pub tap: TapRef,
    /// Whose ride; it leaves this crate only as a digest.
    pub card: CardId,
    /// Who issued the card, as far as that was known when the day was closed.
    pub issuer: Option<IssuerId>,
    /// What the card found and wrote.
    pub transaction: CardTransaction,
    /// The route, when the entry names one.
    pub route: Option<RouteIx>,
}

/// Legs that transfers tie together, in the order of the card's counter.
pub type Run = Vec<(Ride, Leg)>;

/// The runs among a day's rides. A leg whose earlier legs were booked into another day begins a run
/// of its own: what was settled with a closed day is not shared again.
pub fn runs(mut rides: Vec<Ride>, rules: &Rules) -> Vec<Run> {
    rides.retain(|ride| {
        matches!(ride.transaction.after.kind, RecordKind::Board | RecordKind::Exit)
            || ride.transaction.after.amount > 0
    });
    rides.sort_unstable_by_key(|ride| (ride.card, ride.transaction.after.ctr, ride.tap));
    rides.dedup_by_key(|ride| (ride.card, ride.transaction.after.ctr));
    let mut runs: Vec<Run> = Vec::new();
    for ride in rides {
        let leg = leg(&ride, rules);
        match runs.last_mut() {
            Some(run) if run.last().is_some_and(|(before, _)| goes_on(before, &ride)) => {
                if let Some((before, known)) = run.last_mut() {
                    // A boarding has no tap-out: it ends where the next ride begins.
                    known.distance_m = known.distance_m.or_else(|| between(before, &ride, rules));
                }
                run.push((ride, leg));
            }
            Some(_) | None => runs.push(alloc::vec![(ride, leg)]),
        }
    }
    runs
}

/// Whether `next` is the ride after `before` in one transfer right.
fn goes_on(before: &Ride, next: &Ride) -> bool {
    let (first, second) = (&before.transaction.after, &next.transaction.after);
    let legs = |record: &model::CardRecord| record.run.map_or(0, |run| run.legs);
    before.card == next.card && legs(first) > 0 && legs(first) + 1 == legs(second)
}

/// The place where a ride began.
fn began(ride: &Ride) -> PlaceIx {
    let CardTransaction { before, after, .. } = &ride.transaction;
    match after.kind {
        RecordKind::Exit => before.place,
        RecordKind::Board
        | RecordKind::Entry
        | RecordKind::Issue
        | RecordKind::Load
        | RecordKind::LoadInJourney
        | RecordKind::Retire => after.place,
    }
}

pub(crate) fn leg(ride: &Ride, rules: &Rules) -> Leg {
    let CardTransaction { before, after, .. } = &ride.transaction;
    let tariff = rules.tariffs().get(after.tariff);
    let distance_m = match after.kind {
        RecordKind::Exit => tariff.and_then(|tariff| distance_m(tariff, before.place, after.place)),
        RecordKind::Board
        | RecordKind::Entry
        | RecordKind::Issue
        | RecordKind::Load
        | RecordKind::LoadInJourney
        | RecordKind::Retire => None,
    };
    let paid = i64::from(after.amount);
    let operator: Option<OperatorId> = rules.operator(after, ride.route);
    let holder = alone(ride, Companions::NONE, rules);
    let group = alone(ride, ride.transaction.companions, rules);
    let companions = holder.zip(group).map_or(0, |(holder, group)| (group - holder).min(paid));
    Leg { operator, paid, companions, alone: holder.unwrap_or(paid), distance_m }
}

/// What the ride would have cost with these companions and without the rides before it.
fn alone(ride: &Ride, companions: Companions, rules: &Rules) -> Option<i64> {
    let CardTransaction { before, after, .. } = &ride.transaction;
    let role = match after.kind {
        RecordKind::Board => TapRole::Board,
        RecordKind::Exit => TapRole::Exit,
        RecordKind::Entry
        | RecordKind::Issue
        | RecordKind::Load
        | RecordKind::LoadInJourney
        | RecordKind::Retire => return None,
    };
    let tap = FareTap {
        at: after.at(),
        role,
        place: after.place,
        route: ride.route,
        class: after.class,
        companions,
        purse: ride.transaction.purse,
        validator: after.validator,
        tariff: after.tariff,
    };
    let journey = Journey::from_record(before);
    let open = journey.last.filter(|last| last.kind == RecordKind::Entry);
    let last = open.map(|last| LastTap { run: None, ..last });
    let journey = Journey { last, ..Journey::default() };
    price(rules.tariffs(), &journey, &tap).ok().map(|quote| quote.debit.minor())
}

pub(crate) fn between(before: &Ride, next: &Ride, rules: &Rules) -> Option<u32> {
    let tariff = rules.tariffs().get(before.transaction.after.tariff)?;
    let next_tariff = rules.tariffs().get(next.transaction.after.tariff)?;
    let to = tariff.place_ix(&next_tariff.place(began(next))?.id)?;
    distance_m(tariff, began(before), to)
}

/// Metres as the crow flies between two places, by whole numbers: good to some permille.
pub(crate) fn distance_m(tariff: &Tariff, from: PlaceIx, to: PlaceIx) -> Option<u32> {
    let (from, to) = (tariff.place(from)?, tariff.place(to)?);
    let lat = i64::from(to.lat_e6) - i64::from(from.lat_e6);
    let lon = (i64::from(to.lon_e6) - i64::from(from.lon_e6)).abs();
    let lon = lon.min(360_000_000 - lon);
    let middle = i64::midpoint(to.lat_e6.into(), from.lat_e6.into());
    let lon = lon * cos_e6(middle) / 1_000_000;
    // A degree of a great circle is 111 195 m on a sphere of 6 371 km.
    let degrees_e6 = (lat * lat + lon * lon).unsigned_abs().isqrt();
    u32::try_from(degrees_e6 * 111_195 / 1_000_000).ok()
}

/// Cosine, in millionths, of an angle in millionths of a degree within ±90°.
fn cos_e6(angle_e6: i64) -> i64 {
    // Radians in millionths, then the first terms of the series.
    let x = angle_e6 * 17_453 / 1_000_000;
    let square = x * x / 1_000_000;
    let fourth = square * square / 1_000_000;
    let sixth = fourth * square / 1_000_000;
    let eighth = fourth * fourth / 1_000_000;
    1_000_000 - square / 2 + fourth / 24 - sixth / 720 + eighth / 40_320
}

/// Rides by card and counter, as the digests of the ledger's causes name them, and what each paid.
pub(crate) fn by_digest(runs: &[Run]) -> BTreeMap<[u8; 32], (TapRef, i64)> {
    let rides = runs.iter().flatten().map(|(ride, _)| ride);
    rides
        .map(|ride| {
            let after = &ride.transaction.after;
            (clearing::record_digest(ride.card, after.ctr), (ride.tap, -after.delta()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cosine_of_whole_numbers_is_good_to_a_permille() {
        for (degrees, cosine) in
            [(0, 1_000_000), (30, 866_025), (45, 707_107), (60, 500_000), (80, 173_648)]
        {
            for sign in [-1, 1] {
                let found = cos_e6(sign * degrees * 1_000_000);
                assert!((found - cosine).abs() < 1000, "cos {degrees}: {found}");
            }
        }
    }
}
