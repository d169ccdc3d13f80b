//! What pricing needs to know about a card, and about the tap.

use model::{
    CardCounters, CardRecord, Companions, Currency, PlaceIx, ProductsFound, RecordKind, RiderClass,
    RouteIx, TapRole, TariffVersion, Timestamp, TransferRun, ValidatorId,
};

/// The card's newest transaction, as far as pricing needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastTap {
    /// What it was; `Entry` means that a journey is open.
    pub kind: RecordKind,
    /// Where, in the numbering of `tariff`.
    pub place: PlaceIx,
    /// Who wrote it.
    pub validator: ValidatorId,
    /// When.
    pub at: Timestamp,
    /// The version in force there; place and group are numbered by it.
    pub tariff: TariffVersion,
    /// The transfer right as it stood then.
    pub run: Option<TransferRun>,
}

/// The journey so far. The default is a card that never rode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Journey {
    /// The newest transaction.
    pub last: Option<LastTap>,
    /// The products on the card.
    pub held: Option<ProductsFound>,
    /// The counters on the card; `None` when it has none or they were not read.
    pub counters: Option<CardCounters>,
}

/// One tap, as pricing sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FareTap {
    /// By the validator's clock.
    pub at: Timestamp,
    /// What the validator does.
    pub role: TapRole,
    /// Where it stands, in the numbering of `tariff`.
    pub place: PlaceIx,
    /// The route it serves, in the numbering of `tariff`; a boarding needs one.
    pub route: Option<RouteIx>,
    /// The rider's category; every category pays the default price.
    pub class: RiderClass,
    /// Who rides on the same card besides the holder, by the categories of `tariff`.
    pub companions: Companions,
    /// The currency of the card's purse; `None` = the tariff's.
    pub purse: Option<Currency>,
    /// Who takes the tap.
    pub validator: ValidatorId,
    /// The version in force at the validator; the card's new record names it.
    pub tariff: TariffVersion,
}

impl Journey {
    /// From the newest record on the card.
    pub const fn from_record(record: &CardRecord) -> Self {
        Self {
            last: Some(LastTap {
                // A top-up during a journey carries the entry on.
                kind: if matches!(record.kind, RecordKind::LoadInJourney) {
                    RecordKind::Entry
                } else {
                    record.kind
                },
                place: record.place,
                validator: record.validator,
                at: record.at(),
                tariff: record.tariff,
                run: record.run,
            }),
            held: None,
            counters: None,
        }
    }

    /// With the products found on the card.
    #[must_use]
    pub const fn holding(self, held: Option<ProductsFound>) -> Self {
        Self { held, ..self }
    }

    /// With the counters found on the card.
    #[must_use]
    pub const fn counting(self, counters: Option<CardCounters>) -> Self {
        Self { counters, ..self }
    }

    /// The tap-in that no tap-out has ended.
    pub fn open(&self) -> Option<&LastTap> {
        self.last.as_ref().filter(|last| last.kind == RecordKind::Entry)
    }
}

/// Whole seconds between two taps. A clock that runs behind gives zero: never dearer.
pub(crate) fn seconds(from: Timestamp, to: Timestamp) -> u64 {
    to.secs().saturating_sub(from.secs())
}

#[cfg(test)]
mod tests {
    use model::{Ctr, LoadSeq, ValidUntil};

    use super::*;

    #[test]
    fn a_top_up_during_a_journey_leaves_it_open_and_any_other_has_none() {
        let entry = CardRecord {
            kind: RecordKind::Entry,
            ctr: Ctr(2),
            balance: 500,
            amount: 0,
            at_s: 1_795_000_000,
            validator: ValidatorId::DEPOT,
            place: PlaceIx(3),
            load_seq: LoadSeq(0),
            tariff: TariffVersion(1),
            valid_until: ValidUntil::Always,
            class: RiderClass(0),
            run: None,
            products: None,
            layout: model::CardLayout::Plain,
        };
        let of = |kind| Journey::from_record(&CardRecord { kind, ..entry });
        assert_eq!(of(RecordKind::LoadInJourney), of(RecordKind::Entry));
        assert!(of(RecordKind::LoadInJourney).open().is_some());
        assert!(of(RecordKind::Load).open().is_none());
        assert!(of(RecordKind::Retire).open().is_none());
    }
}
