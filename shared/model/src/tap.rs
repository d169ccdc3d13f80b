//! One tap, as a validator records it and the depot books it.

use core::{fmt, str::FromStr};

use crate::{
    CardId, CardRecord, ClockQuality, Companions, CounterUse, Currency, Epoch, OrderId, PlaceIx,
    ProductLoad, ProductsFound, Refusal, RouteIx, TapSeq, TariffVersion, TicketToken, Timestamp,
    ValidatorId,
};

/// What a validator is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TapRole {
    /// One tap pays the ride (bus).
    Board,
    /// Opens a journey (gate, inwards).
    Entry,
    /// Ends a journey (gate, outwards).
    Exit,
}

/// The word is none of `board`, `entry`, `exit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown role: use board, entry or exit")]
pub struct UnknownTapRole;

impl TapRole {
    /// The word used in configuration, logs and the API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Board => "board",
            Self::Entry => "entry",
            Self::Exit => "exit",
        }
    }
}

impl FromStr for TapRole {
    type Err = UnknownTapRole;
    fn from_str(text: &str) -> Result<Self, UnknownTapRole> {
        [Self::Board, Self::Entry, Self::Exit]
            .into_iter()
            .find(|role| role.word() == text)
            .ok_or(UnknownTapRole)
    }
}

impl fmt::Display for TapRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The card's own proof of a transaction: its Transaction MAC value, which no validator can
/// compute (SEC-8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CardProof(pub [u8; 8]);

/// What one card transaction read and wrote. `before` is the newest record found on the card
/// (evidence of the tap before this one, anywhere); `after` is the record appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CardTransaction {
    /// The newest record found on the card.
    pub before: CardRecord,
    /// The record that this transaction appends.
    pub after: CardRecord,
    /// The products found, on a card that carries some.
    pub products: Option<ProductsFound>,
    /// What the load key put on the card besides: its products file from here on, and the rides
    /// that were added.
    pub loaded: Option<ProductLoad>,
    /// The counters found and written, when they were read.
    pub counters: Option<CounterUse>,
    /// The riders besides the holder whose rides it pays.
    pub companions: Companions,
    /// What the card's profile says its purse is in, on a card whose records are of that layout:
    /// the currency of the balances and amounts of `before` and `after`. `None` = the tariff's.
    pub purse: Option<Currency>,
}

/// Whether the presentation that confirmed an in-doubt tap ended in passage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Served {
    /// The rider was let through under that very charge.
    Yes,
    /// The doubt was decided and nobody let through under that charge: what followed was a tap of
    /// its own, charged anew or refused.
    No,
    /// The validator is older than this word.
    Unsaid,
}

/// What a gate tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GateWord {
    /// The rider has passed.
    Passed,
    /// The rider has not passed, and the gate is shut.
    TimedOut,
    /// Whether the rider has passed nobody knows.
    Unseen,
    /// Somebody passed right behind a rider.
    Tailgate,
    /// Somebody passed without a right.
    Forced,
    /// Something stands in the gate.
    Blocked,
    /// The gate is out of order.
    Fault,
    /// The gate stands open because of an emergency.
    Emergency,
    /// The emergency is over.
    EmergencyOver,
}

impl GateWord {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Passed,
        Self::TimedOut,
        Self::Unseen,
        Self::Tailgate,
        Self::Forced,
        Self::Blocked,
        Self::Fault,
        Self::Emergency,
        Self::EmergencyOver,
    ];

    /// The word in metrics, logs and the API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::TimedOut => "timed-out",
            Self::Unseen => "unseen",
            Self::Tailgate => "tailgate",
            Self::Forced => "forced",
            Self::Blocked => "blocked",
            Self::Fault => "fault",
            Self::Emergency => "emergency",
            Self::EmergencyOver => "emergency-over",
        }
    }

    /// Whether it is about the rider of an entry.
    pub const fn is_of_a_rider(self) -> bool {
        matches!(self, Self::Passed | Self::TimedOut | Self::Unseen)
    }
}

/// What became of a tap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TapEvent {
    /// The card committed and answered with its proof.
    Committed {
        /// What was read and written.
        transaction: CardTransaction,
        /// The card's Transaction MAC.
        proof: CardProof,
    },
    /// The commit was sent and no answer came: it happened or it did not (REC, unconfirmed tap).
    InDoubt {
        /// What was read, and what may have been written.
        transaction: CardTransaction,
    },
    /// No money moved; the rider was told why.
    Refused {
        /// The reason.
        reason: Refusal,
        /// The newest record found on the card, when one was read.
        seen: Option<CardRecord>,
    },
    /// An earlier in-doubt tap of this validator was seen again: the card had committed it.
    Confirmed {
        /// The number of that tap, in the same epoch.
        of: TapSeq,
        /// What it read and wrote.
        transaction: CardTransaction,
        /// The card's Transaction MAC, read back from the card.
        proof: CardProof,
        /// Whether the rider was let through with it.
        served: Served,
    },
    /// An earlier in-doubt tap of this validator was seen again: the card had not committed it.
    Voided {
        /// The number of that tap, in the same epoch.
        of: TapSeq,
        /// The newest record found on the card, which proves it.
        seen: CardRecord,
    },
    /// What the gate told after a rider was let in, or of nobody's passage (ADR-0027).
    Gate {
        /// What it told.
        said: GateWord,
        /// The entry whose rider it is about, in the same epoch.
        of: Option<TapSeq>,
    },
    /// A ticket shown as a code let its holder pass. It was paid for when it was issued, so no
    /// money moves here.
    Ticket {
        /// Its signed bytes, as they were read.
        token: TicketToken,
    },
}

/// One entry of a validator's tap log. Refusals and resolutions are numbered like taps, so that
/// nothing can be left out unseen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TapRecord {
    /// Who recorded it.
    pub validator: ValidatorId,
    /// Which life of its log.
    pub epoch: Epoch,
    /// Which entry of that life.
    pub seq: TapSeq,
    /// The card; `None` when none could be identified.
    pub card: Option<CardId>,
    /// By the validator's clock.
    pub tapped_at: Timestamp,
    /// How far that clock can be believed.
    pub clock: ClockQuality,
    /// What the validator was doing.
    pub role: TapRole,
    /// Where it stood.
    pub place: PlaceIx,
    /// The route it served, on a vehicle.
    pub route: Option<RouteIx>,
    /// The tariff it priced with.
    pub tariff: TariffVersion,
    /// The load order that the transaction carried out, when it is no tap of its own.
    pub order: Option<OrderId>,
    /// On a vehicle whose place satellites tell: how many seconds ago they told it last, when that
    /// is no longer fresh.
    pub place_age_s: Option<u16>,
    /// The hotlist that it was decided by; `None` before the first, and from older validators. In
    /// an entry's bytes it is left out when the entry before it says the same.
    pub hotlist_version: Option<u64>,
    /// From card detected to feedback shown, milliseconds, saturating.
    pub duration_ms: u16,
    /// What became of it.
    pub event: TapEvent,
}

/// A tap as it is known before its number and its outcome: everything else a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TapDraft {
    /// The card; `None` when none could be identified.
    pub card: Option<CardId>,
    /// By the validator's clock.
    pub tapped_at: Timestamp,
    /// How far that clock can be believed.
    pub clock: ClockQuality,
    /// What the validator was doing.
    pub role: TapRole,
    /// Where it stood.
    pub place: PlaceIx,
    /// The route it served, on a vehicle.
    pub route: Option<RouteIx>,
    /// The tariff it priced with.
    pub tariff: TariffVersion,
    /// The load order that is carried out, when it is no tap of its own.
    pub order: Option<OrderId>,
    /// How old the place is, when satellites tell it and it is no longer fresh.
    pub place_age_s: Option<u16>,
    /// The hotlist that it is decided by; `None` before the first.
    pub hotlist_version: Option<u64>,
}

/// A validator's non-resettable sums over everything it ever recorded in one epoch (REC-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Registers {
    /// Entries recorded.
    pub count: u64,
    /// Minor units debited by committed or confirmed taps.
    pub debit_sum: i64,
    /// Minor units loaded.
    pub load_sum: i64,
}

impl TapRecord {
    /// The entry that `draft` becomes.
    pub const fn new(
        (validator, epoch, seq): (ValidatorId, Epoch, TapSeq),
        draft: TapDraft,
        duration_ms: u16,
        event: TapEvent,
    ) -> Self {
        let TapDraft {
            card,
            tapped_at,
            clock,
            role,
            place,
            route,
            tariff,
            order,
            place_age_s,
            hotlist_version,
        } = draft;
        Self {
            validator,
            epoch,
            seq,
            card,
            tapped_at,
            clock,
            role,
            place,
            route,
            tariff,
            order,
            place_age_s,
            hotlist_version,
            duration_ms,
            event,
        }
    }

    /// The card transaction that certainly happened by this entry, if one did.
    pub const fn settled(&self) -> Option<(&CardTransaction, CardProof)> {
        match &self.event {
            TapEvent::Committed { transaction, proof }
            | TapEvent::Confirmed { transaction, proof, .. } => Some((transaction, *proof)),
            TapEvent::InDoubt { .. }
            | TapEvent::Refused { .. }
            | TapEvent::Voided { .. }
            | TapEvent::Gate { .. }
            | TapEvent::Ticket { .. } => None,
        }
    }

    /// The newest record that this entry saw on the card before it wrote anything.
    pub const fn evidence(&self) -> Option<&CardRecord> {
        match &self.event {
            TapEvent::Committed { transaction, .. }
            | TapEvent::InDoubt { transaction }
            | TapEvent::Confirmed { transaction, .. } => Some(&transaction.before),
            TapEvent::Refused { seen, .. } => seen.as_ref(),
            TapEvent::Voided { seen, .. } => Some(seen),
            TapEvent::Gate { .. } | TapEvent::Ticket { .. } => None,
        }
    }
}

impl TapEvent {
    /// The word used in metrics, logs and the API.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Committed { .. } => "committed",
            Self::InDoubt { .. } => "in-doubt",
            Self::Refused { .. } => "refused",
            Self::Confirmed { .. } => "confirmed",
            Self::Voided { .. } => "voided",
            Self::Gate { .. } => "gate",
            Self::Ticket { .. } => "ticket",
        }
    }
}

impl Registers {
    /// The registers after one more entry.
    ///
    /// # Panics
    /// When a sum leaves 64 bits: no fleet can reach that honestly.
    #[must_use]
    pub fn after(self, record: &TapRecord) -> Self {
        self.checked_after(record).expect("registers fit 64 bits")
    }

    /// The same over registers that a peer claims; `None` when a sum leaves 64 bits.
    pub fn checked_after(self, record: &TapRecord) -> Option<Self> {
        let delta = record.settled().map_or(0, |(t, _)| t.after.delta());
        Some(Self {
            count: self.count.checked_add(1)?,
            debit_sum: self.debit_sum.checked_add((-delta).max(0))?,
            load_sum: self.load_sum.checked_add(delta.max(0))?,
        })
    }
}
