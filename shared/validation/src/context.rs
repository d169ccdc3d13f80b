//! What a validator knows besides the card: who it is, where it stands, what it prices with.

use core::time::Duration;

use fare::TariffSet;
use model::{
    CardId, CardRecord, ClockQuality, Currency, PlaceIx, RouteIx, TapDraft, TapRole, TariffVersion,
    Timestamp, ValidatorId,
};

use crate::{Hotlist, RelayGuard};

/// Replaced whole between taps; a tap never sees two of them.
#[derive(Debug, Clone)]
pub struct ValidatorContext {
    /// Who.
    pub id: ValidatorId,
    /// What it does.
    pub role: TapRole,
    /// Where it stands, in the numbering of `tariff`.
    pub place: PlaceIx,
    /// How old that is, where satellites tell it and it is no longer fresh.
    pub place_age_s: Option<u16>,
    /// The route it serves, in the numbering of `tariff`.
    pub route: Option<RouteIx>,
    /// The version in force.
    pub tariff: TariffVersion,
    /// That version, and the older ones under which journeys may still be open.
    pub tariffs: TariffSet,
    /// Cards to refuse.
    pub hotlist: Hotlist,
    /// The version of that list; `None` before the first.
    pub hotlist_version: Option<u64>,
    /// How far the clock can be believed.
    pub clock: ClockQuality,
    /// Windows and thresholds.
    pub rules: Rules,
}

impl ValidatorContext {
    /// The tariff's currency.
    pub(crate) fn currency(&self) -> Currency {
        self.tariffs.newest().currency()
    }

    /// The currency of a purse that a card says to be in `purse`.
    pub(crate) fn purse(&self, purse: Option<Currency>) -> Currency {
        purse.unwrap_or_else(|| self.currency())
    }

    /// Whether a tap reads the counters of a card that has some.
    pub(crate) fn needs_counters(&self) -> bool {
        self.tariffs.needs_counters(self.tariff)
    }

    /// Whether the card may be used at `at`: on its last service day, and for the way out of a
    /// journey that began while it might, so that nobody is shut in by midnight.
    pub(crate) fn is_valid(&self, before: &CardRecord, at: Timestamp) -> bool {
        let leaves = self.role == TapRole::Exit && before.kind.is_in_journey();
        let at = if leaves { before.at() } else { at };
        let tariff = self.tariffs.get(self.tariff).unwrap_or(self.tariffs.newest());
        before.valid_until.allows(tariff.terms().calendar.card_day(at))
    }

    /// Goes by `version` of `tariffs` from here on. Place and route keep their ids; when the new
    /// tariff lacks one of them nothing changes but the set, for the journeys that are open.
    pub fn go_by(
        &mut self,
        tariffs: TariffSet,
        version: TariffVersion,
    ) -> Result<(), ContextError> {
        let known = self.tariffs.get(self.tariff);
        let place = known.and_then(|tariff| tariff.place(self.place)).map(|place| &place.id);
        let route = self.route.and_then(|ix| known?.route(ix)).map(|route| &route.id);
        let found = tariffs.get(version).ok_or(ContextError::Version).and_then(|tariff| {
            let place = place.and_then(|id| tariff.place_ix(id)).ok_or(ContextError::Place)?;
            let there = route.and_then(|id| tariff.route_ix(id));
            if self.route.is_some() && there.is_none() {
                return Err(ContextError::Route);
            }
            Ok((place, there))
        });
        if let Ok((place, route)) = found {
            (self.tariff, self.place, self.route) = (version, place, route);
        } else if tariffs.get(self.tariff).is_none() {
            // What is priced by must stay in the set.
            return found.map(|_| ());
        }
        self.tariffs = tariffs;
        found.map(|_| ())
    }

    /// What a tap's record says before its outcome.
    pub(crate) const fn draft(&self, card: Option<CardId>, now: Timestamp) -> TapDraft {
        TapDraft {
            card,
            tapped_at: now,
            clock: self.clock,
            role: self.role,
            place: self.place,
            route: self.route,
            tariff: self.tariff,
            order: None,
            place_age_s: self.place_age_s,
            hotlist_version: self.hotlist_version,
        }
    }
}

/// Why a tariff cannot be gone by here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ContextError {
    /// It is not among the tariffs.
    #[error("the tariff is not there")]
    Version,
    /// The validator's place is not in it.
    #[error("the place of this validator is not in the tariff")]
    Place,
    /// The validator's route is not in it.
    #[error("the route of this validator is not in the tariff")]
    Route,
}

/// What the operator may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// A card whose boarding was in doubt and that comes back within this time gets its passage
    /// without a second charge. At gates there is no such limit.
    pub retry_window: Duration,
    /// A balance below this, in minor units of the tariff's currency, is pointed out.
    pub low_balance: i64,
    /// How long a card may take to answer; `None` where no card is far from its reader.
    pub relay: Option<RelayGuard>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            retry_window: Duration::from_secs(120),
            low_balance: 0,
            relay: Some(RelayGuard::at_baud(115_200, RelayGuard::SLACK)),
        }
    }
}
