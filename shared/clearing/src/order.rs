//! Load orders in the books: paid, offered, on the card, or given back (REC-5, ADR-0015).
//!
//! Invariants: an order's money stands on `load-orders` until the card shows it or it is given
//! back, never both; it is given back only when no reader can apply it any more; should a reader
//! apply it all the same, the holder owes it and no second credit is made (REC-5 (d)).
//!
//! One order of a card is out at a time, because an order fits one load number.

use alloc::{format, vec::Vec};

use ledger::Transfer;
use model::{
    CardId, CardProduct, CardRecord, ChannelId, Currency, LoadOrder, LoadSeq, Money, OrderId,
    ProductSale, Timestamp,
};

use crate::{
    Account, CreditId, Exception, ExceptionChange, ExceptionId, ExceptionKind,
    account::CauseCode,
    exception::difference,
    postings::{Event, Postings},
};

/// The number of a list of orders, as it was signed; counts up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ListVersion(pub u64);

/// One paid order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BookedOrder {
    /// Which.
    pub id: OrderId,
    /// For which card.
    pub card: CardId,
    /// How much was paid, minor units: what goes onto the card, or what its product costs.
    pub amount: u32,
    /// The product that goes onto the card instead of value (ADR-0024). Its serial is the load
    /// number that it was offered for.
    pub product: Option<ProductSale>,
    /// Of which currency, when it is not the tariff's: the purse's of its card (ADR-0019).
    pub purse: Option<Currency>,
    /// Who took the money.
    pub channel: ChannelId,
    /// On whose credit it is, when nobody paid (ADR-0022).
    pub account: Option<CreditId>,
    /// When, by the clock of whoever did.
    pub paid_at: Timestamp,
    /// Where it stands.
    pub phase: OrderPhase,
    /// It was paid long ago: while it is on its way, it is a work item (REC-14).
    pub overdue: bool,
}

/// What readers were told of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Offer {
    /// The load number that it fits.
    pub load_seq: LoadSeq,
    /// Its end, seconds since 1970.
    pub not_after_s: u32,
}

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OrderPhase {
    /// Paid, and no reader has it.
    Waiting,
    /// On the list.
    Out(Offer),
    /// Off the list; this is the first list without it. A reader that is behind may still have it.
    Withdrawn(Offer, ListVersion),
    /// On the card.
    Loaded,
    /// Given back to who paid; what readers had been told last, if anything.
    Refunded(Option<Offer>),
    /// Given back, and on the card all the same: the holder owes it.
    Owed,
}

impl OrderPhase {
    /// The word in lists, metrics and the store.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Out(_) => "out",
            Self::Withdrawn(..) => "withdrawn",
            Self::Loaded => "loaded",
            Self::Refunded(_) => "refunded",
            Self::Owed => "owed",
        }
    }

    /// What readers were told last and may still act on.
    pub const fn offer(self) -> Option<Offer> {
        match self {
            Self::Out(offer) | Self::Withdrawn(offer, _) | Self::Refunded(Some(offer)) => {
                Some(offer)
            }
            Self::Waiting | Self::Loaded | Self::Refunded(None) | Self::Owed => None,
        }
    }
}

/// Why an order is not offered, withdrawn or given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OrderRefused {
    /// It is on the list, or the books do not know it as waiting.
    #[error("the order is not waiting")]
    NotWaiting,
    /// Only an order that readers have can be taken from them.
    #[error("the order is not out")]
    NotOut,
    /// All 65,535 loads of the card are used.
    #[error("the card can be loaded no more: replace it")]
    CardUsedUp,
    /// It is on the card.
    #[error("the order is on the card")]
    OnCard,
    /// It was given back before.
    #[error("the order was given back already")]
    GivenBack,
    /// Readers still have it.
    #[error("the order is out: withdraw it first")]
    StillOut,
    /// A reader may still apply it, until then.
    #[error("a validator may still carry it out, until {0} seconds since 1970")]
    NotOver(u64),
    /// The card was loaded as the order says, and by whom is not known yet.
    #[error("the card shows a load under its number whose record is missing")]
    LoadUnknown,
    /// Its amount is in another currency than the card's purse.
    #[error("the order is in another currency than the card's purse")]
    OtherCurrency,
    /// A validator that may have applied it has not told its log.
    #[error("not every validator has told what it did before it heard that the order is over")]
    NotHeard,
}

/// What the books know of the order's card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CardSeen {
    /// Its newest known record; `None` when no record of it is known.
    pub newest: Option<CardRecord>,
    /// The load record under the order's number is known, and is another load's.
    pub other_load: bool,
    /// A validator wrote a load of it and heard no answer, and no record has decided it yet.
    pub load_in_doubt: bool,
}

/// What changes; the shell writes both in one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClearedOrder {
    /// The order from here on.
    pub order: BookedOrder,
    /// To apply to the ledger in this order. None may be refused.
    pub transfers: Vec<Transfer>,
}

/// Steps of an order that move money: part of the transfers' ids.
#[derive(Debug, Clone, Copy)]
enum Step {
    Paid = 1,
    Loaded = 2,
    Refunded = 3,
}

impl BookedOrder {
    /// As readers get it; `None` when it is not out.
    pub const fn to_readers(&self) -> Option<LoadOrder> {
        match self.phase {
            OrderPhase::Out(Offer { load_seq, not_after_s }) => {
                let (id, amount) = (self.id, self.value());
                let product = self.sold_as(load_seq);
                Some(LoadOrder { id, load_seq, amount, product, purse: self.purse, not_after_s })
            }
            OrderPhase::Waiting
            | OrderPhase::Withdrawn(..)
            | OrderPhase::Loaded
            | OrderPhase::Refunded(_)
            | OrderPhase::Owed => None,
        }
    }

    /// Whether it puts on the card what its holder is owed: nobody paid, the money stands on
    /// `rider-due` until the card shows it, and there is nobody to give it back to.
    pub const fn is_adjustment(&self) -> bool {
        self.channel.0 == ChannelId::ADJUSTMENT.0 && self.account.is_none()
    }

    /// Whether it is neither on its card nor given back.
    pub const fn is_under_way(&self) -> bool {
        match self.phase {
            OrderPhase::Waiting | OrderPhase::Out(_) | OrderPhase::Withdrawn(..) => true,
            OrderPhase::Loaded | OrderPhase::Refunded(_) | OrderPhase::Owed => false,
        }
    }

    /// Where its money came from, and goes to when it is given back.
    fn payer(&self) -> Account {
        self.account.map_or(Account::LoadChannel(self.channel), Account::CreditLine)
    }

    /// What it adds to the card's value: a product adds none, whatever it costs.
    const fn value(&self) -> u32 {
        if self.product.is_some() { 0 } else { self.amount }
    }

    /// Its product as it stands on a card that it was put on as this load. The serial ties what a
    /// card carries to the order that paid for it.
    pub const fn sold_as(&self, LoadSeq(serial): LoadSeq) -> Option<ProductSale> {
        match self.product {
            Some(ProductSale { product, rides }) => {
                Some(ProductSale { product: CardProduct { serial, ..product }, rides })
            }
            None => None,
        }
    }

    /// The currency of its amount, where the tariff's is `tariff`.
    pub fn currency(&self, tariff: Currency) -> Currency {
        self.purse.unwrap_or(tariff)
    }

    /// Books the payment. The tariff's currency is `tariff`, here and below.
    pub fn paid(
        id: OrderId,
        (card, amount, purse): (CardId, u32, Option<Currency>),
        product: Option<ProductSale>,
        channel: ChannelId,
        (paid_at, now): (Timestamp, Timestamp),
        tariff: Currency,
    ) -> ClearedOrder {
        let phase = OrderPhase::Waiting;
        let (account, overdue) = (None, false);
        let order =
            Self { id, card, amount, product, purse, channel, account, paid_at, phase, overdue };
        if order.is_adjustment() {
            return ClearedOrder { order, transfers: Vec::new() };
        }
        let (to, from) = (Account::LoadOrders, order.payer());
        order.moved(Step::Paid, to, from, (paid_at, now), tariff)
    }

    /// Books an order on the credit of an account: nobody has paid.
    pub fn on_credit(
        id: OrderId,
        (card, amount, purse): (CardId, u32, Option<Currency>),
        account: CreditId,
        (paid_at, now): (Timestamp, Timestamp),
        tariff: Currency,
    ) -> ClearedOrder {
        let (channel, account, overdue) = (ChannelId::ADJUSTMENT, Some(account), false);
        let phase = OrderPhase::Waiting;
        let product = None;
        let order =
            Self { id, card, amount, product, purse, channel, account, paid_at, phase, overdue };
        let (to, from) = (Account::LoadOrders, order.payer());
        order.moved(Step::Paid, to, from, (paid_at, now), tariff)
    }

    /// Puts a waiting order on the list, for the load after the card's newest known one.
    pub fn offered(self, newest_load: LoadSeq, not_after_s: u32) -> Result<Self, OrderRefused> {
        if self.phase != OrderPhase::Waiting {
            return Err(OrderRefused::NotWaiting);
        }
        let next = newest_load.0.checked_add(1).ok_or(OrderRefused::CardUsedUp)?;
        let offer = Offer { load_seq: LoadSeq(next), not_after_s };
        Ok(Self { phase: OrderPhase::Out(offer), ..self })
    }

    /// Takes it off the list; `without` is the first list that does not have it.
    pub fn withdrawn(self, without: ListVersion) -> Result<Self, OrderRefused> {
        match self.phase {
            OrderPhase::Out(offer) => {
                Ok(Self { phase: OrderPhase::Withdrawn(offer, without), ..self })
            }
            OrderPhase::Waiting
            | OrderPhase::Withdrawn(..)
            | OrderPhase::Loaded
            | OrderPhase::Refunded(_)
            | OrderPhase::Owed => Err(OrderRefused::NotOut),
        }
    }

    /// Another load took the number that it was offered for: no reader can apply that offer any
    /// more, so it waits for another. `None` when nothing changes.
    pub fn passed_over(self, load: &CardRecord) -> Option<Self> {
        let (OrderPhase::Out(offer) | OrderPhase::Withdrawn(offer, _)) = self.phase else {
            return None;
        };
        let waits = Self { phase: OrderPhase::Waiting, ..self };
        (load.kind.is_load() && load.load_seq >= offer.load_seq).then_some(waits)
    }

    /// Which of a card's orders this record of it carries out. Orders of one load number and amount
    /// are alike: the one that readers have or had goes before one that was given back, whatever
    /// the reader's entry says, so that no holder owes one order while another waits.
    pub fn carried_out_by(orders: &[Self], record: &CardRecord) -> Option<usize> {
        let fits = |order: &Self| {
            let offer = order.phase.offer()?;
            let same = record.load_seq == offer.load_seq && record.amount == order.value();
            same.then_some(matches!(order.phase, OrderPhase::Refunded(_)))
        };
        let places = orders.iter().enumerate();
        let fitting = places.filter_map(|(at, order)| fits(order).map(|back| (back, at)));
        fitting.min().filter(|_| record.kind.is_load()).map(|(_, at)| at)
    }

    /// The card shows it: from the orders to what the record took it from. One that was given back
    /// is owed by the holder.
    pub fn carried_out(
        self,
        record: &CardRecord,
        now: Timestamp,
        tariff: Currency,
    ) -> Option<ClearedOrder> {
        let (phase, payer) = match self.phase {
            OrderPhase::Out(_) | OrderPhase::Withdrawn(..) if self.is_adjustment() => {
                (OrderPhase::Loaded, Account::RiderDue(self.card))
            }
            OrderPhase::Out(_) | OrderPhase::Withdrawn(..) => {
                (OrderPhase::Loaded, Account::LoadOrders)
            }
            // Of a credit account's: it is on its credit after all, and no debt of the card's.
            OrderPhase::Refunded(Some(_)) if self.account.is_some() => {
                (OrderPhase::Loaded, self.payer())
            }
            OrderPhase::Refunded(Some(_)) => (OrderPhase::Owed, Account::OrderOwed(self.card)),
            OrderPhase::Waiting
            | OrderPhase::Loaded
            | OrderPhase::Refunded(None)
            | OrderPhase::Owed => return None,
        };
        let order = Self { phase, ..self };
        let times = (record.at(), now);
        let to = match self.product {
            Some(sale) => Account::ProductSold(sale.product.id),
            None => Account::LoadClearing,
        };
        Some(order.moved(Step::Loaded, to, payer, times, tariff))
    }

    /// Whether it is neither on its card nor given back.
    pub const fn is_on_its_way(&self) -> bool {
        match self.phase {
            OrderPhase::Waiting | OrderPhase::Out(_) | OrderPhase::Withdrawn(..) => true,
            OrderPhase::Loaded | OrderPhase::Refunded(_) | OrderPhase::Owed => false,
        }
    }

    /// The work item of an order that waits too long for its card.
    fn item(&self, tariff: Currency, now: Timestamp) -> Option<Exception> {
        if !(self.overdue && self.is_on_its_way()) {
            return None;
        }
        let kind = ExceptionKind::OrderOverdue;
        let amount = Money::new(self.amount.into(), self.currency(tariff));
        Some(Exception {
            id: ExceptionId::new(kind, &self.card.0, &self.id.0.to_be_bytes()),
            kind,
            card: Some(self.card),
            validator: None,
            amount: Some(amount),
            opened_at: now,
            finding: format!(
                "order {} over {amount} was paid and its card has not come for it: tell the \
                 holder, or give it back",
                self.id
            ),
            evidence: Vec::new(),
        })
    }

    /// What opens and resolves when this takes the place of `before`.
    pub fn items_since(
        &self,
        before: Option<&Self>,
        tariff: Currency,
        now: Timestamp,
    ) -> Vec<ExceptionChange> {
        let of = |order: &Self| order.item(tariff, now).into_iter().collect::<Vec<_>>();
        let old = before.map(of).unwrap_or_default();
        difference(&old, of(self), now, |_| "it is on its card, or was given back")
    }

    /// Whether no reader can carry it out any more (REC-5 (c)): it may be given back, or offered
    /// anew.
    ///
    /// `bound_s` is how far clocks that somebody set may be off; `fleet` is the oldest list among
    /// all validators of which everything logged before it is booked
    /// ([`crate::ListTold::settled`]).
    pub fn over(
        &self,
        now: Timestamp,
        bound_s: u32,
        fleet: ListVersion,
        card: CardSeen,
    ) -> Result<(), OrderRefused> {
        match self.phase {
            OrderPhase::Waiting => Ok(()),
            OrderPhase::Withdrawn(offer, without) => {
                is_over(offer, without, (now, bound_s), fleet, card)
            }
            OrderPhase::Out(_) => Err(OrderRefused::StillOut),
            OrderPhase::Loaded | OrderPhase::Owed => Err(OrderRefused::OnCard),
            OrderPhase::Refunded(_) => Err(OrderRefused::GivenBack),
        }
    }

    /// Gives it back to who paid. Only after [`Self::over`].
    pub fn given_back(
        self,
        now: Timestamp,
        tariff: Currency,
    ) -> Result<ClearedOrder, OrderRefused> {
        let offer = match self.phase {
            OrderPhase::Waiting => None,
            OrderPhase::Withdrawn(offer, _) => Some(offer),
            OrderPhase::Out(_) => return Err(OrderRefused::StillOut),
            OrderPhase::Loaded | OrderPhase::Owed => return Err(OrderRefused::OnCard),
            OrderPhase::Refunded(_) => return Err(OrderRefused::GivenBack),
        };
        let order = Self { phase: OrderPhase::Refunded(offer), ..self };
        if order.is_adjustment() {
            return Ok(ClearedOrder { order, transfers: Vec::new() });
        }
        let (to, from) = (self.payer(), Account::LoadOrders);
        Ok(order.moved(Step::Refunded, to, from, (now, now), tariff))
    }

    /// Waits for another offer. Only after [`Self::over`].
    pub fn renewed(self) -> Result<Self, OrderRefused> {
        match self.phase {
            OrderPhase::Withdrawn(..) => Ok(Self { phase: OrderPhase::Waiting, ..self }),
            OrderPhase::Waiting
            | OrderPhase::Out(_)
            | OrderPhase::Loaded
            | OrderPhase::Refunded(_)
            | OrderPhase::Owed => Err(OrderRefused::NotOut),
        }
    }

    fn moved(
        self,
        step: Step,
        to: Account,
        from: Account,
        (event_at, booked_at): (Timestamp, Timestamp),
        tariff: Currency,
    ) -> ClearedOrder {
        let parts: [&[u8]; 2] = [&self.id.0.to_be_bytes(), &[step as u8]];
        let mut event = Event::new(CauseCode::Order, &parts, event_at);
        let mut postings = Postings::new(self.card, self.currency(tariff), booked_at);
        postings.shift(&mut event, to, from, self.amount.into());
        ClearedOrder { order: self, transfers: postings.transfers }
    }
}

/// Whether no reader can carry out the offer any more.
fn is_over(
    offer: Offer,
    without: ListVersion,
    (now, bound_s): (Timestamp, u32),
    fleet: ListVersion,
    card: CardSeen,
) -> Result<(), OrderRefused> {
    if card.load_in_doubt {
        return Err(OrderRefused::LoadUnknown);
    }
    if card.newest.is_some_and(|newest| newest.load_seq >= offer.load_seq) {
        // The number is used: by another load, or by one that nobody has told of yet.
        return if card.other_load { Ok(()) } else { Err(OrderRefused::LoadUnknown) };
    }
    let over_s = u64::from(offer.not_after_s) + u64::from(bound_s);
    if now.secs() < over_s {
        return Err(OrderRefused::NotOver(over_s));
    }
    // The card has seen the end: a reader that follows either knows it too, or its clock is
    // behind the card's and it applies nothing ([`LoadOrder::fits`]).
    let over = |newest: CardRecord| newest.at_s >= offer.not_after_s;
    let seen_unloaded = card.newest.is_some_and(over);
    if fleet >= without || seen_unloaded { Ok(()) } else { Err(OrderRefused::NotHeard) }
}
