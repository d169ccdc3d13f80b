//! Timed transfer rights, as the card carries them.

use model::{CardRecord, Money, TransferRun};

use crate::{
    FareTap, GroupIx, Journey, Tariff, TariffSet, Transfer, journey::seconds, tariff_set::group_in,
};

/// A transfer right as the card carries it, at the moment of the next ride's first tap.
#[derive(Clone, Copy)]
pub(super) struct Carried {
    pub(super) legs: u8,
    pub(super) paid: u32,
    pub(super) after_s: u64,
    pub(super) group: GroupIx,
}

impl Carried {
    pub(super) const fn new(run: TransferRun, group: GroupIx, since_s: u64) -> Self {
        let after_s = (run.age_s as u64).saturating_add(since_s);
        Self { legs: run.legs, paid: run.paid, after_s, group }
    }

    pub(super) fn of(
        set: &TariffSet,
        journey: &Journey,
        tariff: &Tariff,
        tap: &FareTap,
    ) -> Option<Self> {
        let last = journey.last.as_ref()?;
        let run = last.run?;
        let group = group_in(set.get(last.tariff)?, GroupIx(run.group), tariff)?;
        Some(Self::new(run, group, seconds(last.at, tap.at)))
    }

    pub(super) fn aged(self, more_s: u64) -> TransferRun {
        TransferRun {
            legs: self.legs,
            paid: self.paid,
            age_s: u16::try_from(self.after_s.saturating_add(more_s)).unwrap_or(u16::MAX),
            group: self.group.0,
        }
    }
}

/// The transfer right of a ride, or why there is none.
pub(super) enum Right<'t> {
    None,
    Granted { rule: &'t Transfer, run: Carried },
    TooLate { rule: &'t Transfer, after_s: u64 },
    RidesUsed { rule: &'t Transfer, legs_max: u8 },
}

pub(super) fn right(tariff: &Tariff, carried: Option<Carried>, to: GroupIx) -> Right<'_> {
    let Some(run) = carried else { return Right::None };
    let Some(rule) = tariff.transfer(run.group, to) else { return Right::None };
    if run.after_s > u64::from(rule.limit_s) {
        return Right::TooLate { rule, after_s: run.after_s };
    }
    match rule.legs_max {
        Some(legs_max) if run.legs >= legs_max => Right::RidesUsed { rule, legs_max },
        Some(_) | None => Right::Granted { rule, run },
    }
}

/// The run after a ride: one leg longer, or a new one when this ride begins a right.
pub(super) fn run_after(
    tariff: &Tariff,
    right: &Right<'_>,
    group: GroupIx,
    paid: Money,
    ride_s: u64,
) -> Option<TransferRun> {
    let paid = u32::try_from(paid.minor()).unwrap_or(u32::MAX);
    if let Right::Granted { run, .. } = right {
        let longer = Carried {
            legs: run.legs.saturating_add(1).min(15),
            paid: run.paid.saturating_add(paid).min(CardRecord::AMOUNT_MAX),
            group,
            ..*run
        };
        return Some(longer.aged(ride_s));
    }
    let fresh = Carried { legs: 1, paid, after_s: ride_s, group };
    tariff.grants_transfer(group).then(|| fresh.aged(0))
}

/// A run numbered by one version, numbered by another; lost when the group is gone there.
pub(super) fn renumbered(
    run: Option<TransferRun>,
    from: &Tariff,
    to: &Tariff,
) -> Option<TransferRun> {
    let run = run?;
    let group = group_in(from, GroupIx(run.group), to)?;
    Some(TransferRun { group: group.0, ..run })
}
