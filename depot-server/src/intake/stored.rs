//! What the step may ask of the store, and what it gives back to be written.
//!
//! Two things stand behind [`Stored`]: the database within one open transaction, and memory (for
//! `verify` and the simulator). The step itself cannot tell which.

use std::collections::{BTreeMap, BTreeSet};

use clearing::{
    AutoTopUp, BookedOrder, CardHistory, CardState, ClockGap, ClockPair, CreditAccount, CreditId,
    DayBooked, DeskEntry, DueOrder, DueRow, ExceptionChange, ExceptionId, Issue, Known,
    KnownRecord, ListTold, Period, Stated, TicketState,
};
use fleet_sync::EpochMark;
use ledger::{AccountId, Balance, Changes, Recorded, TransferId};
use model::{
    CardId, CardProduct, CardProof, ChannelId, Epoch, OperatorId, OrderId, ProductKind,
    ProductSale, ProductScope, ServiceDate, TapRecord, TapSeq, Ticket, TicketToken, Timestamp,
    ValidatorId,
};
use serde::{Deserialize, Serialize};
use wire::{Batch, ChainHash, Envelope, Message, ValidatorState};

use super::{Reason, credit_event::CreditEvent, office::OfficeEvent};

/// What the books hold, as far as a group of messages touches it.
pub trait Stored: Known {
    /// The oldest service day that is open; `None` in books without any.
    fn open_day(&self) -> Option<ServiceDate>;
    /// How far each life of a validator's log is booked.
    fn marks(&self, validator: ValidatorId) -> Result<Vec<EpochMark>, Self::Error>;
    /// What a validator last reported about itself.
    fn state(&self, validator: ValidatorId) -> Result<Option<ValidatorState>, Self::Error>;
    /// The chain's value after a booked entry.
    fn chain_hash(
        &self,
        validator: ValidatorId,
        epoch: Epoch,
        seq: TapSeq,
    ) -> Result<Option<ChainHash>, Self::Error>;
    /// Reconciliation's state of a card; `None` for a card never seen.
    fn card(&self, card: CardId) -> Result<Option<CardState>, Self::Error>;
    /// What stands on an account; zero when nothing ever did.
    fn balance(&self, account: &AccountId) -> Result<Balance, Self::Error>;
    /// What is known of a ticket, by its signed form; `None` when it was never heard of.
    fn ticket(&self, signed: &[u8; Ticket::LEN]) -> Result<Option<TicketState>, Self::Error>;
    /// A transfer that was booked as pending, whatever became of it.
    fn pending(&self, id: &TransferId) -> Result<Option<Recorded>, Self::Error>;
    /// Operations of desks on this card whose outcome nobody knows yet.
    fn open_ops(&self, card: CardId) -> Result<Vec<DeskEntry>, Self::Error>;
    /// Everything known of a card's transactions, for pricing all of them again.
    fn history(&self, card: CardId) -> Result<CardHistory, Self::Error>;
    /// What the due journal says of a card, by service day.
    fn due_days(&self, card: CardId) -> Result<BTreeMap<ServiceDate, DayBooked>, Self::Error>;
    /// What people decided that a card's holder is owed, by service day.
    fn granted(&self, card: CardId) -> Result<BTreeMap<ServiceDate, i64>, Self::Error>;
    /// A load order by its number.
    fn order(&self, id: OrderId) -> Result<Option<BookedOrder>, Self::Error>;
    /// Every load order of a card, oldest first.
    fn orders_of(&self, card: CardId) -> Result<Vec<BookedOrder>, Self::Error>;
    /// What a validator has told of its list of orders.
    fn orders_told(&self, validator: ValidatorId) -> Result<ListTold, Self::Error>;
    /// What is known of a payment of a channel beside its order; `None` when nothing is.
    fn stated(&self, channel: ChannelId, reference: &str) -> Result<Option<Stated>, Self::Error>;
    /// Under which reference its channel took the payment of an order.
    fn reference_of(&self, id: OrderId) -> Result<Option<String>, Self::Error>;
    /// The standing instruction of a card.
    fn auto(&self, card: CardId) -> Result<Option<AutoTopUp>, Self::Error>;
    /// A credit account.
    fn credit(&self, id: CreditId) -> Result<Option<CreditAccount>, Self::Error>;
    /// Whose a card is.
    fn credit_of(&self, card: CardId) -> Result<Option<CreditId>, Self::Error>;
    /// A credit account's cards.
    fn credit_cards(&self, id: CreditId) -> Result<Vec<CardId>, Self::Error>;
    /// What of a credit account's orders is neither on its card nor given back, minor units.
    fn credit_under_way(&self, id: CreditId) -> Result<i64, Self::Error>;
    /// Which credit account a channel's payment was for, and how much it was.
    fn credit_payment(
        &self,
        channel: ChannelId,
        reference: &str,
    ) -> Result<Option<(CreditId, i64)>, Self::Error>;
    /// Whether that version of the hotlist, if it was made by then, refuses the card.
    fn blocked(&self, card: CardId, version: u64, by: Timestamp) -> Result<bool, Self::Error>;
    /// What taps of a day show of clocks that disagree (REC-17).
    fn clock_gaps(&self, day: ServiceDate) -> Result<Vec<ClockGap>, Self::Error>;
    /// What of a card's due is set apart for this order, by service day.
    fn due_held(&self, order: DueOrder) -> Result<Vec<(ServiceDate, i64)>, Self::Error>;
}

/// Everything that one group changes: written in one commit, or not at all.
#[derive(Debug, Default)]
pub struct Booking {
    /// The depot's clock.
    pub at: Timestamp,
    /// Into which service day each transfer and tap is booked.
    pub period: Period,
    /// New journal rows, in order.
    pub batches: Vec<BookedBatch>,
    /// Cards that we issued.
    pub issues: Vec<Issue>,
    /// Operations of desks that happened, in order.
    pub desk: Vec<BookedDesk>,
    /// Operations of desks that turned out not to have happened, and how.
    pub void_ops: Vec<(u64, &'static str)>,
    /// Tickets that we sold.
    pub sales: Vec<Sale>,
    /// States of tickets that were touched, by their signed form.
    pub tickets: BTreeMap<[u8; Ticket::LEN], TicketState>,
    /// States of cards that were touched.
    pub cards: BTreeMap<CardId, CardState>,
    /// Known records that no tap of this booking stands for (see [`BookedTap::operator`]).
    pub records: Vec<(CardId, KnownRecord)>,
    /// New transfers and the accounts that they moved.
    pub ledger: Changes,
    /// Work items that open, change and resolve, in order.
    pub exceptions: Vec<ExceptionChange>,
    /// How far each touched life is booked.
    pub progress: BTreeMap<(ValidatorId, Epoch), Progress>,
    /// Newest states that validators reported.
    pub states: BTreeMap<ValidatorId, StateReport>,
    /// Messages that cannot be believed.
    pub quarantine: Vec<SetAside>,
    /// What was done with load orders, in order.
    pub order_events: Vec<OrderEvent>,
    /// What people and rules decided about money, in order.
    pub office: Vec<OfficeEvent>,
    /// What people decided about work items, in order.
    pub decided: Vec<Decided>,
    /// What people decided that holders are owed beside what their taps make, with its service day.
    pub grants: Vec<(CardId, ServiceDate, i64)>,
    /// Load orders that were touched.
    pub orders: BTreeMap<OrderId, BookedOrder>,
    /// Payments of channels that were touched.
    pub stated: BTreeMap<(ChannelId, String), Stated>,
    /// Standing instructions that were set or stopped.
    pub autos: BTreeMap<CardId, AutoTopUp>,
    /// Credit accounts that were touched.
    pub credits: BTreeMap<CreditId, CreditAccount>,
    /// Cards that became a credit account's, or are no longer.
    pub members: BTreeMap<CardId, Option<CreditId>>,
    /// What validators have told of their lists of orders.
    pub orders_told: BTreeMap<ValidatorId, ListTold>,
    /// Clocks that disagree, each pair by what shows it best.
    pub clock_gaps: BTreeMap<ClockPair, ClockGap>,
    /// New rows of the due journal, in order.
    pub due: Vec<DueRow>,
    /// Cards of which something came to be known that validators cannot have priced (ADR-0014).
    pub unusual: BTreeSet<CardId>,
    /// Cards whose due was worked out from all that is known.
    pub due_done: Vec<CardId>,
}

/// A product that was bought, as the journal has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoughtProduct {
    /// Which product, as the seller knows it.
    pub id: u16,
    /// The tag of the fare group that it is good for; 65535 for every ride.
    pub scope: u16,
    /// First second of its validity, since 1970; 0 = no bound.
    pub from_s: u32,
    /// Last second of its validity; 0 = no bound.
    pub until_s: u32,
    /// The rides that it brings; of a pass absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rides: Option<u16>,
}

impl BoughtProduct {
    /// What the journal keeps of a sale.
    pub fn of(sale: &ProductSale) -> Self {
        let CardProduct { id, kind, scope, from_s, until_s, .. } = sale.product;
        let rides = (kind == ProductKind::Rides).then_some(sale.rides);
        Self { id, scope: scope.number(), from_s, until_s, rides }
    }

    /// The sale; its serial is that of the load that brings it. `None` when it is none.
    pub fn sale(&self) -> Option<ProductSale> {
        let kind = if self.rides.is_some() { ProductKind::Rides } else { ProductKind::Pass };
        let product = CardProduct {
            id: self.id,
            kind,
            scope: ProductScope::from_number(self.scope),
            serial: 0,
            from_s: self.from_s,
            until_s: self.until_s,
        };
        ProductSale::new(product, self.rides.unwrap_or(0)).ok()
    }
}

/// What people and lists do with load orders; the journal's part for them. Numbers as the books
/// keep them, times in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case", deny_unknown_fields)]
pub enum OrderEvent {
    /// A channel took the money.
    Paid {
        /// The order's number.
        order: u64,
        /// For which card.
        card: [u8; 7],
        /// Minor units.
        amount: u32,
        /// Which channel.
        channel: u16,
        /// The channel's own number of the payment.
        reference: String,
        /// By the channel's clock.
        paid_at: u64,
        /// ISO 4217 number of the amount's currency, when it is not the tariff's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        purse: Option<u16>,
        /// What was bought, when it was no value.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        product: Option<BoughtProduct>,
        /// On whose credit it is, when no channel took money.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account: Option<u32>,
    },
    /// Readers may carry it out.
    Offered {
        /// Which.
        order: u64,
        /// The card's newest known load number.
        after: u16,
        /// Until then, seconds since 1970.
        not_after_s: u32,
    },
    /// It is taken off the list.
    Withdrawn {
        /// Which.
        order: u64,
        /// The first list that does not have it.
        without: u64,
    },
    /// No reader can carry it out any more: it waits for another offer.
    Renewed {
        /// Which.
        order: u64,
    },
    /// The money was given back.
    GivenBack {
        /// Which.
        order: u64,
    },
    /// A channel handed in a statement; what is new in it follows.
    Statement {
        /// Its number in the books.
        statement: u32,
        /// Whose.
        channel: u16,
        /// SHA-256 of the file, hexadecimal.
        sha256: String,
        /// Lines in it.
        lines: u32,
        /// Of them, stated before.
        known: u32,
    },
    /// A channel handed in, or took back, money for one payment.
    Stated {
        /// Which channel.
        channel: u16,
        /// The channel's own number of the payment.
        reference: String,
        /// Minor units; below zero: taken back.
        amount: i64,
        /// ISO 4217 number.
        currency: u16,
        /// For which card, when the channel says so.
        card: Option<[u8; 7]>,
        /// When, when the channel says so.
        paid_at: Option<u64>,
        /// How many lines like this one stand before it in its statement.
        copy: u32,
        /// In which statement.
        statement: u32,
        /// Where in it.
        row: u32,
    },
    /// A file of many orders; they follow, numbered from `first` on.
    Batch {
        /// Who pays.
        channel: u16,
        /// Its name; may be empty.
        batch: String,
        /// SHA-256 of the file, hexadecimal.
        sha256: String,
        /// The first order of it.
        first: u64,
        /// How many.
        orders: u32,
    },
    /// A channel took the money of a payment back: its order is to be given back.
    RefundAsked {
        /// Which channel.
        channel: u16,
        /// The channel's own number of the payment.
        reference: String,
    },
    /// A card is topped up by itself from here on.
    AutoSet {
        /// Which card.
        card: [u8; 7],
        /// Below this, minor units.
        below: u32,
        /// By so much, minor units.
        amount: u32,
        /// Who collects the money.
        channel: u16,
        /// At most so much in 24 hours, minor units.
        per_day_max: u32,
    },
    /// It is no longer.
    AutoStopped {
        /// Which card.
        card: [u8; 7],
        /// Why: `asked`, `failed` or `given-back`.
        why: String,
    },
    /// Something was done with a credit account.
    Credit {
        /// What.
        did: CreditEvent,
    },
    /// It was paid long ago, and its card has not come for it.
    Overdue {
        /// Which.
        order: u64,
    },
    /// A channel's delay is over, and no statement of it has this payment of an order.
    Unstated {
        /// Which channel.
        channel: u16,
        /// The channel's own number of the payment.
        reference: String,
    },
}

/// What a person decided about a work item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// Which.
    pub item: ExceptionId,
    /// Who looks after it from here on.
    pub owner: Option<String>,
    /// It is closed: who, and why.
    pub closed: Option<String>,
}

/// A ticket that we sold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sale {
    /// Its signed bytes.
    pub token: TicketToken,
    /// When, by the depot's clock.
    pub sold_at: Timestamp,
}

/// An operation of a desk that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BookedDesk {
    /// What it was.
    pub entry: DeskEntry,
    /// By what it is known.
    pub how: &'static str,
    /// The card's proof, when the desk read it.
    pub proof: Option<CardProof>,
}

/// One envelope that brought at least one new entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookedBatch {
    /// Whose.
    pub validator: ValidatorId,
    /// Of which life.
    pub epoch: Epoch,
    /// Its first entry, which may have been known.
    pub first: TapSeq,
    /// Its last entry.
    pub last: TapSeq,
    /// The chain's value after the last entry.
    pub last_hash: ChainHash,
    /// As received.
    pub payload: Vec<u8>,
    /// Its new entries that read.
    pub taps: Vec<BookedTap>,
}

impl BookedBatch {
    /// The chain's value after an entry of this life; `None` when it did not come with this batch.
    pub(crate) fn hash_through(
        &self,
        validator: ValidatorId,
        epoch: Epoch,
        seq: TapSeq,
    ) -> Option<ChainHash> {
        if (self.validator, self.epoch) != (validator, epoch) {
            return None;
        }
        if !(self.first..=self.last).contains(&seq) {
            return None;
        }
        // It read when it was checked.
        let envelope = Envelope::decode(Message::Taps, &self.payload).ok()?;
        Batch::decode(envelope.body).ok()?.hash_through(seq)
    }
}

/// One new entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BookedTap {
    /// What it says.
    pub record: TapRecord,
    /// Whether it was cleared. One whose proof does not hold is kept and shown, but moves nothing.
    pub cleared: bool,
    /// `Some` when this entry itself is the books' record of its card and counter; inside: whose
    /// revenue it is.
    pub operator: Option<Attribution>,
}

/// Whose revenue a record is; `None` while nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribution(pub Option<OperatorId>);

/// How far one life of a validator's log is booked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The mark.
    pub mark: EpochMark,
    /// Entries of this group that the books held already.
    pub duplicates: u64,
}

/// A validator's word about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateReport {
    /// What it says.
    pub state: ValidatorState,
    /// As received.
    pub payload: Vec<u8>,
    /// Whether its connection stands.
    pub linked: bool,
}

/// A message that cannot be believed, kept as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Where it came from.
    pub topic: String,
    /// Its bytes.
    pub payload: Vec<u8>,
    /// Why, as a stable word.
    pub reason: Reason,
    /// Why, in a sentence.
    pub detail: String,
}
