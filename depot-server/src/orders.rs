//! Load orders: taken from channels, offered to validators, taken back, given back (ADR-0015).
//!
//! Invariants: a payment is one order however often it is told, and another content under its
//! reference is refused (LED-3); one order of a card is out at a time; nothing is given back or
//! offered anew before no reader can carry out the offer before it (REC-5).

use std::collections::{BTreeMap, BTreeSet};

use card::{CardKeys, KeyError, KeyRole, SealError, SealedOrder};
use clearing::{
    BookedOrder, CardSeen, CardState, CreditId, ListTold, ListVersion, OrderPhase, OrderRefused,
};
use model::{
    CardId, CardRecord, ChannelId, Currency, LoadOrder, LoadSeq, OrderId, ProductSale, RecordKind,
    Timestamp,
};

use crate::{
    intake::{
        IntakeError, Workplace, book_order_events,
        stored::{BoughtProduct, OrderEvent},
    },
    store::{Store, StoreError},
};

/// Rules of orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderRules {
    /// How long readers may carry an order out before it is offered anew, seconds.
    pub offered_s: u32,
    /// How far clocks that somebody set may be off, seconds.
    pub clock_bound_s: u32,
    /// Whether what riders are owed is put on their cards at their next tap (USR-5).
    pub adjusts: bool,
    /// How long after its payment an order that is not on its card becomes a work item, seconds;
    /// `None` = never.
    pub overdue_s: Option<u64>,
}

impl OrderRules {
    /// That an order has waited too long for its card, once. What riders are owed, and what is on
    /// an account's credit, waits for them however long: nobody paid it.
    fn overdue(&self, order: &BookedOrder, now: Timestamp) -> Option<OrderEvent> {
        let late = now.secs() >= order.paid_at.secs().saturating_add(self.overdue_s?);
        let event = OrderEvent::Overdue { order: order.id.0 };
        let paid = order.channel != ChannelId::ADJUSTMENT;
        (late && paid && !order.overdue).then_some(event)
    }
}

impl From<&crate::config::Orders> for OrderRules {
    fn from(set: &crate::config::Orders) -> Self {
        Self {
            offered_s: u32::from(set.offered_days) * 86_400,
            clock_bound_s: set.clock_bound_s,
            adjusts: set.adjust,
            overdue_s: (set.overdue_days > 0).then(|| u64::from(set.overdue_days) * 86_400),
        }
    }
}

/// A payment that a channel took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// Who took it.
    pub channel: ChannelId,
    /// The channel's own number of it.
    pub reference: String,
    /// For which card.
    pub card: CardId,
    /// How much, minor units.
    pub amount: u32,
    /// Of which currency, when it is not the tariff's; it must be the purse's of the card.
    pub purse: Option<Currency>,
    /// What was bought, when it was no value; then `amount` is its price, which may be 0.
    pub product: Option<ProductSale>,
    /// When, by the channel's clock.
    pub paid_at: Timestamp,
}

/// Why an order is not taken, or not given back.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// The books do not know the card.
    #[error("card {0} was not issued on these books: look at the number")]
    UnknownCard(CardId),
    /// It is out of use.
    #[error("card {0} is retired: nothing can be loaded onto it")]
    Retired(CardId),
    /// In another currency than the card's: nobody exchanges anything here.
    #[error("the purse of card {card} is in {purse}, and {paid} were paid: pay in {purse}")]
    Currency {
        /// Which card.
        card: CardId,
        /// What was paid.
        paid: Currency,
        /// What the card holds.
        purse: Currency,
    },
    /// Products cost in the tariff's currency, and a card has one ledger.
    #[error("the purse of card {0} is in another currency than the tariff's: it takes no products")]
    NoProducts(CardId),
    /// It was reported as lost.
    #[error("card {0} is reported as lost: replace it, and order for the new one")]
    Lost(CardId),
    /// It has two histories.
    #[error("card {0} was copied or rolled back: nothing is loaded onto it")]
    Forked(CardId),
    /// It is filled up by its account.
    #[error("card {0} belongs to account {1}, which tops it up")]
    OfAccount(CardId, CreditId),
    /// A standing instruction that can never be right.
    #[error(
        "threshold and amount are 1 to {max} minor units each, and a day's bound is not below the \
         amount",
        max = CardRecord::AMOUNT_MAX
    )]
    Instruction,
    /// A channel's part of the books.
    #[error(transparent)]
    Channel(Box<crate::channels::ChannelError>),
    /// Nothing, or more than a record holds.
    #[error("an order is over 1 to {max} minor units", max = CardRecord::AMOUNT_MAX)]
    Amount,
    /// More than a record of this card holds, which ends with a day (ADR-0031).
    #[error("an order for this card is over at most {most} minor units: it ends with a day")]
    AmountForCard {
        /// That card's largest amount.
        most: u32,
    },
    /// The channel used this number for another payment.
    #[error(
        "channel {channel} has used the reference {reference:?} for another payment, order \
         {order}: each payment needs its own"
    )]
    OtherContent {
        /// Which channel.
        channel: ChannelId,
        /// Which reference.
        reference: String,
        /// What it became.
        order: OrderId,
    },
    /// No such order.
    #[error("there is no load order {0}")]
    Unknown(OrderId),
    /// Not now.
    #[error("order {0} cannot be given back now")]
    Refused(OrderId, #[source] OrderRefused),
    /// The books failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The booking failed.
    #[error(transparent)]
    Intake(#[from] IntakeError),
}

/// Takes a payment. The same payment again is the same order.
pub fn pay(place: &Workplace, payment: &Payment) -> Result<BookedOrder, OrderError> {
    let Payment { channel, reference, card, amount, purse, product, paid_at } = payment;
    let least = u32::from(product.is_none());
    if !(least..=CardRecord::AMOUNT_MAX).contains(amount) {
        return Err(OrderError::Amount);
    }
    if let Some(order) = paid_before(place, payment)? {
        return Ok(order);
    }
    let state = usable(&place.store, *card)?;
    if product.is_none() && *amount > state.amount_max() {
        return Err(OrderError::AmountForCard { most: state.amount_max() });
    }
    if product.is_some() && state.purse().is_some() {
        return Err(OrderError::NoProducts(*card));
    }
    if state.purse() != *purse {
        let tariffs = place.rules.currency();
        let (paid, purse) = (purse.unwrap_or(tariffs), state.currency(tariffs));
        return Err(OrderError::Currency { card: *card, paid, purse });
    }
    let booked = book_order_events(place, |next, _| {
        vec![OrderEvent::Paid {
            order: next.0,
            card: card.0,
            amount: *amount,
            channel: channel.0,
            reference: reference.clone(),
            paid_at: paid_at.0,
            purse: purse.map(Currency::numeric),
            product: product.as_ref().map(BoughtProduct::of),
            account: None,
        }]
    });
    let id = match booked {
        Ok(id) => id,
        // Told twice at once: the other one was first, and the books take one reference once.
        Err(error) => return paid_before(place, payment)?.ok_or_else(|| error.into()),
    };
    place.store.order(id)?.ok_or(OrderError::Unknown(id))
}

/// The order that this payment has become; an error when its reference was used for another.
fn paid_before(place: &Workplace, payment: &Payment) -> Result<Option<BookedOrder>, OrderError> {
    let Payment { channel, reference, card, amount, purse, product, .. } = payment;
    let Some(order) = place.store.order_of_payment(*channel, reference)? else { return Ok(None) };
    let same = |known: ProductSale, told: ProductSale| {
        (known.product.id, known.rides) == (told.product.id, told.rides)
    };
    let bought = match (order.product, *product) {
        (Some(known), Some(told)) => same(known, told),
        (known, told) => known == told,
    };
    if bought && (order.card, order.amount, order.purse) == (*card, *amount, *purse) {
        return Ok(Some(order));
    }
    Err(OrderError::OtherContent {
        channel: *channel,
        reference: reference.clone(),
        order: order.id,
    })
}

/// Whether value may be ordered for this card.
pub fn usable(store: &Store, card: CardId) -> Result<CardState, OrderError> {
    let (state, _) = store.card_state(card)?.ok_or(OrderError::UnknownCard(card))?;
    if !state.is_registered() {
        return Err(OrderError::UnknownCard(card));
    }
    if state.newest().is_some_and(|newest| newest.record.kind == RecordKind::Retire) {
        return Err(OrderError::Retired(card));
    }
    if store.is_lost(card)? {
        return Err(OrderError::Lost(card));
    }
    if state.forks().is_empty() { Ok(state) } else { Err(OrderError::Forked(card)) }
}

/// Gives an order back to who paid it. One that is out is taken off the list first, and has to be
/// asked for again once no reader can carry it out.
pub fn give_back(place: &Workplace, rules: OrderRules, id: OrderId) -> Result<(), OrderError> {
    let order = place.store.order(id)?.ok_or(OrderError::Unknown(id))?;
    if let OrderPhase::Out(_) = order.phase {
        book_order_events(place, |_, next| {
            vec![OrderEvent::Withdrawn { order: id.0, without: next.0 }]
        })?;
        return Err(OrderError::Refused(id, OrderRefused::NotHeard));
    }
    let now = place.clock.now();
    order
        .over(now, rules.clock_bound_s, fleet(&place.store)?, seen(&place.store, &order)?)
        .map_err(|refused| OrderError::Refused(id, refused))?;
    book_order_events(place, |_, _| vec![OrderEvent::GivenBack { order: id.0 }])?;
    Ok(())
}

/// What happens by itself as time goes on: what riders are owed is ordered, offers end, orders are
/// offered, or offered anew.
pub fn tick(place: &Workplace, rules: OrderRules) -> Result<(), OrderError> {
    let now = place.clock.now();
    let unfinished = place.store.unfinished_orders()?;
    let is_off = |order: &BookedOrder| matches!(order.phase, OrderPhase::Withdrawn(..));
    // All validators are asked for only while it matters: this runs every second.
    let fleet =
        if unfinished.iter().any(is_off) { fleet(&place.store)? } else { ListVersion::default() };
    let asked = place.store.refunds_asked()?;
    let back = |order: &BookedOrder| asked.contains(&order.id);
    let mut busy = BTreeSet::new();
    let mut waiting: BTreeMap<CardId, BookedOrder> = BTreeMap::new();
    let mut ended = Vec::new();
    let mut events = Vec::new();
    for order in unfinished {
        events.extend(rules.overdue(&order, now));
        match order.phase {
            OrderPhase::Out(offer) => {
                busy.insert(order.card);
                let ends = back(&order) || now.secs() >= u64::from(offer.not_after_s);
                ended.extend(ends.then_some(order.id));
            }
            OrderPhase::Withdrawn(..) => {
                busy.insert(order.card);
                let seen = seen(&place.store, &order)?;
                if order.over(now, rules.clock_bound_s, fleet, seen).is_ok() {
                    let order = order.id.0;
                    events.push(if asked.contains(&OrderId(order)) {
                        OrderEvent::GivenBack { order }
                    } else {
                        OrderEvent::Renewed { order }
                    });
                }
            }
            OrderPhase::Waiting if back(&order) => {
                events.push(OrderEvent::GivenBack { order: order.id.0 });
            }
            OrderPhase::Waiting => {
                waiting.entry(order.card).or_insert(order);
            }
            OrderPhase::Loaded | OrderPhase::Refunded(_) | OrderPhase::Owed => {}
        }
    }
    for (card, order) in waiting.into_iter().filter(|(card, _)| !busy.contains(card)) {
        let Some((state, _)) = place.store.card_state(card)? else { continue };
        let LoadSeq(after) = state.newest().map_or(LoadSeq(0), |newest| newest.record.load_seq);
        let end = now.secs() + u64::from(rules.offered_s);
        let not_after_s = u32::try_from(end).unwrap_or(u32::MAX);
        events.push(OrderEvent::Offered { order: order.id.0, after, not_after_s });
    }
    let owed = owed(place, &busy, rules)?;
    if !(events.is_empty() && ended.is_empty()) {
        book_order_events(place, |_, next| {
            let off = |id: OrderId| OrderEvent::Withdrawn { order: id.0, without: next.0 };
            events.extend(ended.into_iter().map(off));
            events
        })?;
    }
    order_owed(place, owed)
}

/// Orders what riders are owed.
fn order_owed(
    place: &Workplace,
    owed: Vec<(CardId, u32, Option<Currency>)>,
) -> Result<(), OrderError> {
    let now = place.clock.now();
    for (card, amount, purse) in owed {
        book_order_events(place, |next, _| {
            vec![OrderEvent::Paid {
                order: next.0,
                card: card.0,
                amount,
                channel: ChannelId::ADJUSTMENT.0,
                reference: next.to_string(),
                paid_at: now.0,
                purse: purse.map(Currency::numeric),
                product: None,
                account: None,
            }]
        })?;
    }
    Ok(())
}

/// What is owed to holders of cards that no order is out for, and can be put on them.
fn owed(
    place: &Workplace,
    busy: &BTreeSet<CardId>,
    rules: OrderRules,
) -> Result<Vec<(CardId, u32, Option<Currency>)>, StoreError> {
    let mut owed = Vec::new();
    if !rules.adjusts {
        return Ok(owed);
    }
    for card in place.store.owed_cards()? {
        if busy.contains(&card) {
            continue;
        }
        let open: i64 = place.store.owed(card)?.iter().map(crate::store::OwedDay::open).sum();
        let Some((state, _)) = place.store.card_state(card)? else { continue };
        let amount = u32::try_from(open).unwrap_or(0).min(state.amount_max());
        let retired = |kind| kind == RecordKind::Retire;
        let usable = state.is_registered()
            && state.forks().is_empty()
            && state.newest().is_some_and(|newest| !retired(newest.record.kind));
        if amount > 0 && usable {
            owed.push((card, amount, state.purse()));
        }
    }
    Ok(owed)
}

/// The oldest list among the validators of which everything before it is booked.
fn fleet(store: &Store) -> Result<ListVersion, StoreError> {
    let told = store.lists_told()?;
    Ok(told.iter().map(|(_, told)| ListTold::settled(told)).min().unwrap_or_default())
}

/// What the books know of the order's card.
fn seen(store: &Store, order: &BookedOrder) -> Result<CardSeen, StoreError> {
    let Some((state, _)) = store.card_state(order.card)? else {
        return Ok(CardSeen { newest: None, other_load: false, load_in_doubt: false });
    };
    let load_in_doubt = state.doubts().any(|doubt| doubt.after.kind.is_load());
    let newest = state.newest().map(|known| known.record);
    // A known load under the order's number has moved the order on when it was booked.
    Ok(CardSeen { newest, other_load: false, load_in_doubt })
}

/// Why the list of orders cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SealingError {
    /// The keys.
    #[error(
        "the keys that seal load orders cannot be used: put the card keystore into `keys.card`"
    )]
    Keys(#[from] KeyError),
    /// An order.
    #[error("a load order cannot be sealed")]
    Seal(#[from] SealError),
    /// The books.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes the list of orders anew if what is out has changed: the orders, each sealed for its card.
/// Answers its version; 0 while there never was an order.
pub fn make_list(store: &Store, keys: &dyn CardKeys) -> Result<u64, SealingError> {
    // Sealing may ask a token for keys, and making the list keeps everybody else from writing.
    if let Some((version, content)) = store.orders_list()?
        && is_of(&content, &store.unfinished_orders()?, keys)?
    {
        return Ok(version);
    }
    store.make_orders_list(|out| {
        let mut entries = Vec::new();
        for order in out {
            let Some(to_readers) = order.to_readers() else { continue };
            let debit = keys.debit_key(&order.card)?;
            let load = keys.current_key(KeyRole::Load, &order.card)?;
            let sealed = SealedOrder::seal(to_readers, order.card, &debit, &load)?;
            entries.push((order.card, sealed));
        }
        Ok(card::write_orders(&entries))
    })
}

/// Whether a list holds just those of these orders that are out, sealed with the keys of now.
fn is_of(content: &[u8], orders: &[BookedOrder], keys: &dyn CardKeys) -> Result<bool, KeyError> {
    let Ok(given) = card::read_orders(content) else { return Ok(false) };
    let out = orders.iter().filter_map(|order| Some((order.card, order.to_readers()?)));
    let out: BTreeMap<CardId, LoadOrder> = out.collect();
    if given.len() != out.len() {
        return Ok(false);
    }
    if out.is_empty() {
        return Ok(true);
    }
    let versions = (keys.current(KeyRole::Debit)?, keys.current(KeyRole::Load)?);
    Ok(given.iter().all(|(card, sealed)| {
        out.get(card) == Some(&sealed.order) && (sealed.opened_by, sealed.brings) == versions
    }))
}
