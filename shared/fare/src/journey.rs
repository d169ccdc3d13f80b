//! What pricing needs to know about a card, and about the tap.

use model::{
    CardRecord, PlaceIx, RecordKind, RiderClass, RouteIx, TapRole, TariffVersion, Timestamp,
    TransferRun, ValidatorId,
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
                kind: record.kind,
                place: record.place,
                validator: record.validator,
                at: record.at(),
                tariff: record.tariff,
                run: record.run,
            }),
        }
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
