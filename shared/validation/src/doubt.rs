//! Taps of this validator whose commit got no answer, or whose rider may have got none, until
//! their card is seen again (ADR-0003).

use alloc::collections::BTreeMap;
use core::time::Duration;

use fare::{FareTap, Journey, NotPassed, TariffSet, price};
use model::{
    CardId, CardRecord, CardTransaction, ClockQuality, OrderId, RecordKind, TapDraft, TapRecord,
    TapRole, TapSeq, Timestamp,
};

use crate::{ValidatorContext, passage::Explained};

/// More cards in doubt at once than one validator can meet; the oldest go first. Whatever is
/// forgotten here, the depot still decides from the card's next record.
const DOUBTS_MAX: usize = 4096;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doubt {
    /// Its number in the tap log.
    pub seq: TapSeq,
    /// When it was tapped.
    pub tapped_at: Timestamp,
    /// How far that can be believed.
    pub clock: ClockQuality,
    /// What was read, and what may have been written.
    pub transaction: CardTransaction,
    /// The load order that it carried out, when it was no tap.
    pub order: Option<OrderId>,
    /// The log holds its outcome; only whether the rider saw it, or passed, is unknown.
    pub settled: bool,
    /// Its gate says that the rider did not pass, and the tariff lets the card pass again for so
    /// long after the tap. `None` = for the retry window.
    pub again_within: Option<Duration>,
}

/// What the newest record of a card says about a tap in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// The card committed it: its newest record is the one written then.
    Happened,
    /// The card did not: the record before is still the newest, or another took its counter.
    NeverHappened,
    /// The card has moved on since; its later record tells the depot.
    Overtaken,
    /// The card is older than what was read then: a copy, and no proof of anything.
    Contradicted,
}

impl Doubt {
    /// Of a transaction whose outcome the log does not know.
    pub const fn new(seq: TapSeq, draft: &TapDraft, transaction: CardTransaction) -> Self {
        let TapDraft { tapped_at, clock, order, .. } = *draft;
        Self { seq, tapped_at, clock, transaction, order, settled: false, again_within: None }
    }

    /// Of a tap that the card committed and whose rider was let in.
    pub(crate) const fn settled(
        seq: TapSeq,
        draft: &TapDraft,
        transaction: CardTransaction,
    ) -> Self {
        Self { settled: true, ..Self::new(seq, draft, transaction) }
    }

    /// The same, where its gate says that nobody passed; `None` where the tariff does not let the
    /// card in again.
    pub fn turned_back(self, tariffs: &TariffSet) -> Option<Self> {
        let gate = tariffs.get(self.transaction.after.tariff)?.gate()?;
        match gate.not_passed {
            NotPassed::LetInAgain { within_s } => {
                let again_within = Some(Duration::from_secs(within_s.into()));
                Some(Self { again_within, ..self })
            }
            NotPassed::Charge | NotPassed::GiveBack => None,
        }
    }

    /// From the log's newest entry after a power loss: when it settled a tap, the power may have
    /// gone between the sync and the green light, and the rider stands there, charged.
    pub fn unshown(newest: &TapRecord) -> Option<(CardId, Self)> {
        let (transaction, _) = newest.settled()?;
        if newest.order.is_some() {
            // No passage hangs on a load: the tap that was to follow is made as any other.
            return None;
        }
        let (seq, tapped_at, clock) = (newest.seq, newest.tapped_at, newest.clock);
        let transaction = *transaction;
        Some((
            newest.card?,
            Self {
                seq,
                tapped_at,
                clock,
                transaction,
                order: None,
                settled: true,
                again_within: None,
            },
        ))
    }

    /// Whether a tap that happened is over without its passage. A rider whose tap failed may have
    /// ridden a bus all the same, so a boarding ends with the retry window. A gate stayed shut, and
    /// the passage that was paid for is owed for as long as the card's newest record is this tap.
    /// Between a clock that nobody had set and the right time no window can be measured, and the
    /// rider is not made to pay for that.
    pub(crate) fn is_over(&self, now: &TapDraft, retry_window: Duration) -> bool {
        if self.order.is_some() {
            // A load let nobody through; the tap that it was for is still to be made.
            return true;
        }
        if !self.clock.is_set() || !now.clock.is_set() {
            return false;
        }
        match self.transaction.after.kind {
            RecordKind::Entry | RecordKind::Exit => false,
            RecordKind::Board
            | RecordKind::Issue
            | RecordKind::Load
            | RecordKind::LoadInJourney
            | RecordKind::Retire => now.tapped_at.since(self.tapped_at) > retry_window,
        }
    }

    pub(crate) fn judged_by(&self, newest: &CardRecord) -> Proof {
        let CardTransaction { before, after, .. } = &self.transaction;
        if newest == after {
            return Proof::Happened;
        }
        if newest == before || newest.ctr == after.ctr {
            return Proof::NeverHappened;
        }
        if newest.ctr > after.ctr { Proof::Overtaken } else { Proof::Contradicted }
    }

    /// The explanation of the tap, priced again in its purse's currency; empty when its tariff is
    /// gone.
    pub(crate) fn explained(&self, context: &ValidatorContext) -> Explained {
        let CardTransaction { before, after, products, counters, companions, purse, .. } =
            &self.transaction;
        let nothing = || Explained::nothing(context, context.purse(*purse));
        let role = match after.kind {
            RecordKind::Board => TapRole::Board,
            RecordKind::Entry => TapRole::Entry,
            RecordKind::Exit => TapRole::Exit,
            RecordKind::Issue
            | RecordKind::Load
            | RecordKind::LoadInJourney
            | RecordKind::Retire => return nothing(),
        };
        let tap = FareTap {
            at: after.at(),
            role,
            place: after.place,
            route: context.route,
            class: after.class,
            companions: *companions,
            purse: *purse,
            validator: after.validator,
            tariff: after.tariff,
        };
        let found = counters.map(|used| used.found);
        let journey = Journey::from_record(before).holding(*products).counting(found);
        price(&context.tariffs, &journey, &tap)
            .map_or_else(|_| nothing(), |quote| Explained::of(context, quote, after.class))
    }
}

/// At most one per card: whatever was in doubt before it, its own reading has decided.
#[derive(Debug, Clone, Default)]
pub(crate) struct Doubts {
    by_card: BTreeMap<CardId, Doubt>,
}

impl Doubts {
    pub(crate) fn insert(&mut self, card: CardId, doubt: Doubt) {
        let newest = self.by_card.get(&card).is_none_or(|known| known.seq <= doubt.seq);
        if newest {
            self.by_card.insert(card, doubt);
        }
        while self.by_card.len() > DOUBTS_MAX {
            let oldest = self.by_card.iter().min_by_key(|(_, d)| d.seq).map(|(card, _)| *card);
            oldest.and_then(|card| self.by_card.remove(&card));
        }
    }

    pub(crate) fn find(&self, card: CardId) -> Option<Doubt> {
        self.by_card.get(&card).copied()
    }

    pub(crate) fn forget(&mut self, card: CardId) {
        self.by_card.remove(&card);
    }

    pub(crate) fn len(&self) -> usize {
        self.by_card.len()
    }
}
