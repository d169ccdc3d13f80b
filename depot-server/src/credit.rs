//! Credit accounts: opened, given cards, refilled, billed, paid, dunned (ADR-0022).
//!
//! Invariants: whatever is decided is decided under the books' lock and is a row of the order
//! journal, so that the journal alone makes the same books again; a payment of a channel is taken
//! once, however often it is told (LED-3); no refill takes an account above its limit.

use clearing::{
    Account, Bill, CreditAccount, CreditId, CreditKind, CreditTerms, Dunning, PastDue, RefillSeen,
    TermsError,
};
use model::{CardId, ChannelId, Currency, IssuerId, Money, ServiceDate, Timestamp};

use crate::{
    channels::{ChannelError, book_under},
    desk::{DeskError, gate::may_pay},
    intake::{
        Workplace,
        credit_event::CreditEvent,
        step::uncharged,
        stored::{OrderEvent, Stored as _},
    },
    orders::{OrderError, usable},
    store::{Group, StoreError},
};

/// What references of refills begin with.
const PREFIX: &str = "credit-";
/// What references of bills begin with.
const BILL: &str = "account-";

/// Why something is not done with a credit account.
#[derive(Debug, thiserror::Error)]
pub enum CreditError {
    /// No such account.
    #[error("there is no account {0}: see `depot-server account list`")]
    Unknown(CreditId),
    /// The terms.
    #[error(transparent)]
    Terms(#[from] TermsError),
    /// Who the holder is.
    #[error("say whose the account is by your customers' file's number, 1 to 64 characters")]
    Holder,
    /// The card cannot be an account's.
    #[error(transparent)]
    Card(#[from] OrderError),
    /// The card is in another currency.
    #[error("card {card} is in {purse} and account {account} in {currency}: they cannot meet")]
    Currency {
        /// Which card.
        card: CardId,
        /// What it holds.
        purse: Currency,
        /// Which account.
        account: CreditId,
        /// What it is in.
        currency: Currency,
    },
    /// The card is an account's.
    #[error("card {0} belongs to account {1}: unlink it there first")]
    Linked(CardId, CreditId),
    /// It is not this account's.
    #[error("card {0} does not belong to account {1}")]
    NotLinked(CardId, CreditId),
    /// It is another issuer's (ADR-0023).
    #[error("card {0} is of issuer {1}: accounts are the issuer's that the books began with")]
    Issuer(CardId, IssuerId),
    /// What is on it is not sure (REC-9).
    #[error("what is on the card would count as paid, and it is not sure")]
    NotSure(#[source] Box<DeskError>),
    /// It is topped up in another way.
    #[error("card {0} is topped up by itself: `depot-server order auto stop` first")]
    AutoTopUp(CardId),
    /// The account has to pay first.
    #[error("account {0} has not paid in time: a card is linked once it has")]
    PastDue(CreditId),
    /// Nothing was paid.
    #[error("a payment is over an amount other than zero")]
    Nothing,
    /// No reference.
    #[error("say under which reference the channel has the payment, 1 to 120 characters")]
    Reference,
    /// The channel used this number for another payment.
    #[error(
        "channel {channel} has used the reference {reference:?} for another payment, of account \
         {account}: each payment needs its own"
    )]
    OtherContent {
        /// Which channel.
        channel: ChannelId,
        /// Which reference.
        reference: String,
        /// For whom it was.
        account: CreditId,
    },
    /// No such bill.
    #[error("account {0} has no bill {1}")]
    NoBill(CreditId, u32),
    /// The books failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The booking failed.
    #[error(transparent)]
    Booking(#[from] ChannelError),
}

/// What an account is opened with.
#[derive(Debug, Clone)]
pub struct Opening {
    /// How it is paid.
    pub kind: CreditKind,
    /// The customers' file's word for the holder.
    pub holder: String,
    /// Who collects, or takes payments.
    pub channel: ChannelId,
    /// The currency, when it is not the tariff's.
    pub purse: Option<Currency>,
    /// What is agreed.
    pub terms: CreditTerms,
}

/// How an account stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreditState {
    /// The account.
    pub account: CreditAccount,
    /// The customers' file's word for the holder.
    pub holder: String,
    /// Its cards.
    pub cards: Vec<CardId>,
    /// On its cards and on their way, and not known to be spent.
    pub line: Money,
    /// The most that it can come to owe without another refill.
    pub exposure: Money,
    /// What is past due.
    pub past_due: Option<PastDue>,
}

impl CreditState {
    /// An amount of the account's.
    pub fn money(&self, minor: i64) -> Money {
        Money::new(minor, self.line.currency())
    }
}

/// Opens an account.
pub fn open(place: &Workplace, of: &Opening) -> Result<CreditId, CreditError> {
    of.terms.check()?;
    let holder = of.holder.trim();
    if holder.is_empty() || holder.chars().count() > 64 {
        return Err(CreditError::Holder);
    }
    let group = place.store.begin()?;
    let id = group.next_credit()?;
    let opened = CreditEvent::Opened {
        account: id.0,
        kind: of.kind.word().to_owned(),
        holder: holder.to_owned(),
        channel: of.channel.0,
        purse: of.purse.map(Currency::numeric),
        on: today(place).0,
        terms: of.terms.into(),
    };
    book(place, group, opened)?;
    Ok(id)
}

/// Agrees on other terms. A limit below the exposure only means that nothing is refilled.
pub fn agree(place: &Workplace, id: CreditId, terms: CreditTerms) -> Result<(), CreditError> {
    terms.check()?;
    let group = place.store.begin()?;
    known(&group, id)?;
    book(place, group, CreditEvent::Agreed { account: id.0, terms: terms.into() })
}

/// Gives an account a card. What is on it has been paid for: it counts as paid to the account, and
/// so it is spent first.
pub fn link(place: &Workplace, id: CreditId, card: CardId) -> Result<(), CreditError> {
    let group = place.store.begin()?;
    let account = known(&group, id)?;
    let state = usable(&place.store, card)?;
    if let Some(of) = group.credit_of(card)? {
        return if of == id { Ok(()) } else { Err(CreditError::Linked(card, of)) };
    }
    if state.purse() != account.purse {
        let tariffs = place.rules.currency();
        let (purse, currency) = (state.currency(tariffs), account.currency(tariffs));
        return Err(CreditError::Currency { card, purse, account: id, currency });
    }
    if let Some(issuer) = state.issuer() {
        return Err(CreditError::Issuer(card, issuer));
    }
    // What is on it counts as paid, so it must be as sure as what a desk would pay out.
    may_pay(&place.store, place.rules.currency(), card, &state)
        .map_err(|why| CreditError::NotSure(Box::new(why)))?;
    if group.auto(card)?.is_some_and(|auto| auto.stopped.is_none()) {
        return Err(CreditError::AutoTopUp(card));
    }
    if account.dunning != Dunning::Good {
        return Err(CreditError::PastDue(id));
    }
    book(place, group, CreditEvent::Linked { account: id.0, card: card.0 })?;
    charge(place, id)?;
    Ok(())
}

/// Takes a card from its account. What is left on it becomes its holder's, and the account's debt.
pub fn unlink(place: &Workplace, id: CreditId, card: CardId) -> Result<i64, CreditError> {
    // What was spent until now is told apart from what is left.
    charge(place, id)?;
    let group = place.store.begin()?;
    known(&group, id)?;
    if group.credit_of(card)? != Some(id) {
        return Err(CreditError::NotLinked(card, id));
    }
    book(place, group, CreditEvent::Unlinked { account: id.0, card: card.0 })?;
    charge(place, id)
}

/// What its cards spent since the last time becomes debt; answers how much.
pub fn charge(place: &Workplace, id: CreditId) -> Result<i64, CreditError> {
    let group = place.store.begin()?;
    let account = known(&group, id)?;
    let amount = uncharged(&group, place.rules.currency(), &account)?;
    if amount != 0 {
        let (on, dues) = (today(place).0, group.due_rows_booked()?);
        book(place, group, CreditEvent::Charged { account: id.0, amount, on, dues })?;
    }
    Ok(amount)
}

/// Ends a period now; answers the bill, if there is something to bill.
pub fn bill(place: &Workplace, id: CreditId) -> Result<Option<Bill>, CreditError> {
    charge(place, id)?;
    let group = place.store.begin()?;
    let account = known(&group, id)?;
    let on = today(place);
    let bill = account.next_bill(on);
    if bill.is_some() {
        book(place, group, CreditEvent::Billed { account: id.0, on: on.0 })?;
    } else {
        drop(group);
    }
    look(place, id)?;
    Ok(bill)
}

/// Takes a payment. The same payment again changes nothing.
pub fn paid(
    place: &Workplace,
    id: CreditId,
    (channel, reference): (ChannelId, &str),
    amount: i64,
    paid_at: Timestamp,
) -> Result<(), CreditError> {
    if amount == 0 {
        return Err(CreditError::Nothing);
    }
    if reference.trim().is_empty() || reference.chars().count() > 120 {
        return Err(CreditError::Reference);
    }
    let group = place.store.begin()?;
    known(&group, id)?;
    match group.credit_payment(channel, reference)? {
        Some(of) if of == (id, amount) => return Ok(()),
        Some((account, _)) => {
            let reference = reference.to_owned();
            return Err(CreditError::OtherContent { channel, reference, account });
        }
        None => {}
    }
    let paid = CreditEvent::Paid {
        account: id.0,
        channel: channel.0,
        reference: reference.to_owned(),
        amount,
        paid_at: paid_at.0,
    };
    book(place, group, paid)?;
    look(place, id)
}

/// A channel could not collect a bill. Told again, nothing changes.
pub fn failed(place: &Workplace, id: CreditId, number: u32, why: &str) -> Result<(), CreditError> {
    let group = place.store.begin()?;
    let account = known(&group, id)?;
    let bill = account.bills.iter().find(|bill| bill.number == number);
    let bill = bill.ok_or(CreditError::NoBill(id, number))?;
    if bill.failed_on.is_none() {
        let why = why.trim().chars().take(120).collect();
        let on = today(place).0;
        book(place, group, CreditEvent::Failed { account: id.0, bill: number, on, why })?;
    } else {
        drop(group);
    }
    look(place, id)
}

/// How every account stands.
pub fn states(place: &Workplace) -> Result<Vec<CreditState>, CreditError> {
    let accounts = place.store.credits()?.into_iter();
    accounts.map(|account| Ok(state_of(place, account)?)).collect()
}

/// How an account stands.
pub fn state(place: &Workplace, id: CreditId) -> Result<CreditState, CreditError> {
    let account = place.store.credit(id)?.ok_or(CreditError::Unknown(id))?;
    Ok(state_of(place, account)?)
}

fn state_of(place: &Workplace, account: CreditAccount) -> Result<CreditState, StoreError> {
    let currency = account.currency(place.rules.currency());
    let line = place.store.account(&Account::CreditLine(account.id).id(currency))?.posted();
    Ok(CreditState {
        holder: place.store.credit_holder(account.id)?,
        cards: place.store.credit_cards(account.id)?,
        line: Money::new(-line, currency),
        exposure: Money::new(account.exposure(line), currency),
        past_due: account.past_due(today(place)),
        account,
    })
}

/// Under which reference a channel tells of a bill.
pub fn bill_reference(id: CreditId, number: u32) -> String {
    format!("{BILL}{id}-{number}")
}

/// The bill that a reference names.
pub fn bill_of(reference: &str) -> Option<(CreditId, u32)> {
    let (id, number) = reference.strip_prefix(BILL)?.split_once('-')?;
    Some((CreditId(id.parse().ok()?), number.parse().ok()?))
}

/// What goes on by itself: days end, periods end, debts come further or are paid, cards are
/// refilled. Answers how many refills were ordered.
pub fn tick(place: &Workplace) -> Result<u64, CreditError> {
    for id in place.store.credits_to_look(today(place))? {
        look(place, id)?;
    }
    refill(place)
}

/// Does for an account what its day asks for.
fn look(place: &Workplace, id: CreditId) -> Result<(), CreditError> {
    let today = today(place);
    let account = place.store.credit(id)?.ok_or(CreditError::Unknown(id))?;
    if account.charged_on < today {
        charge(place, id)?;
    }
    loop {
        let group = place.store.begin()?;
        let account = known(&group, id)?;
        if account.is_bill_due(today)
            // A period without anything to bill has ended all the same; a day says nothing.
            && (account.terms.period_days > 1 || account.next_bill(today).is_some())
        {
            book(place, group, CreditEvent::Billed { account: id.0, on: today.0 })?;
            continue;
        }
        let level = account.dunning_on(today);
        if level == account.dunning {
            drop(group);
            place.store.credit_looked(&account, today)?;
            return Ok(());
        }
        let word = level.word();
        tracing::warn!(account = id.0, level = word, "an account's debt has come further, or went");
        let dunned = CreditEvent::Dunned { account: id.0, level: word.to_owned(), on: today.0 };
        book(place, group, dunned)?;
    }
}

/// Orders for every card of an account that fell below its threshold, one order of a card at a
/// time, never above the limit.
fn refill(place: &Workplace) -> Result<u64, CreditError> {
    if place.store.credit_below()?.is_empty() {
        return Ok(0);
    }
    let group = place.store.begin()?;
    // Asked again: what was booked meanwhile may have been the order, or the load.
    let below = place.store.credit_below()?;
    let (first, now) = (group.next_order()?.0, place.clock.now());
    let tariffs = place.rules.currency();
    let mut events: Vec<OrderEvent> = Vec::new();
    let mut current: Option<(CreditAccount, i64)> = None;
    for (id, card, seen) in below {
        if current.as_ref().is_none_or(|(account, _)| account.id != id) {
            let account = known(&group, id)?;
            let line = Account::CreditLine(id).id(account.currency(tariffs));
            let line = group.balance(&line)?.posted();
            current = Some((account, line));
        }
        let Some((account, line)) = &mut current else { continue };
        let Some(amount) = account.refill(RefillSeen { line: *line, ..seen }) else { continue };
        let Ok(state) = usable(&place.store, card) else { continue };
        if state.purse() != account.purse {
            continue;
        }
        let amount = amount.min(state.amount_max());
        *line -= i64::from(amount);
        let order = first + events.len() as u64;
        events.push(OrderEvent::Paid {
            order,
            card: card.0,
            amount,
            channel: ChannelId::ADJUSTMENT.0,
            reference: format!("{PREFIX}{order}"),
            paid_at: now.0,
            purse: account.purse.map(Currency::numeric),
            product: None,
            account: Some(id.0),
        });
    }
    let ordered = events.len() as u64;
    if ordered > 0 {
        book_under(place, group, &events)?;
    }
    Ok(ordered)
}

/// The service day of now.
pub fn today(place: &Workplace) -> ServiceDate {
    let now = place.clock.now();
    place.rules.service_day(now, now)
}

fn known(group: &Group<'_>, id: CreditId) -> Result<CreditAccount, CreditError> {
    group.credit(id)?.ok_or(CreditError::Unknown(id))
}

fn book(place: &Workplace, group: Group<'_>, did: CreditEvent) -> Result<(), CreditError> {
    book_under(place, group, &[OrderEvent::Credit { did }])?;
    Ok(())
}
