//! Whether a card may pass, and the record it gets: one `if` per refusal, in the order of
//! `model::Refusal`.

use card::CardFound;
use fare::{FareTap, Journey, Quote, price};
use model::{
    CardCounters, CardId, CardRecord, ClockQuality, Companions, Ctr, Money, RecordKind, Refusal,
    RiderClass, TapRole, Timestamp,
};

use crate::ValidatorContext;

/// A tap that may be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What it costs and why.
    pub quote: Quote,
    /// The record to append.
    pub after: CardRecord,
    /// The counters to write, when they differ from those found.
    pub counters: Option<CardCounters>,
    /// Who rides on the card besides its holder.
    pub companions: Companions,
}

/// A tap that may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denied {
    /// Why not.
    pub reason: Refusal,
    /// How much more stored value would do.
    pub missing: Option<Money>,
}

impl<R: Into<Refusal>> From<R> for Denied {
    fn from(reason: R) -> Self {
        Self { reason: reason.into(), missing: None }
    }
}

/// From the card's newest record, its products and its counters. What could be found out without
/// reading it (several cards, a foreign card) was refused before.
pub fn decide(
    context: &ValidatorContext,
    card: CardId,
    found: &CardFound,
    companions: Companions,
    now: Timestamp,
) -> Result<Decision, Denied> {
    let before = &found.record;
    if context.hotlist.contains(card) {
        return Err(Refusal::Hotlisted.into());
    }
    if !context.is_valid(before, fare_time(context.clock, before, now)) {
        return Err(Refusal::CardExpired.into());
    }
    if before.ctr.0 >= before.ctr_max() {
        return Err(Refusal::CardDataInvalid.into());
    }
    // Not valid here, double entry, no entry, currency not taken: `fare` keeps the same order among
    // them.
    let journey = Journey::from_record(before).holding(found.products).counting(found.counters);
    let tap = FareTap { companions, purse: found.purse, ..tap(context, before, now) };
    let quote = price(&context.tariffs, &journey, &tap)?;
    let has = Money::new(i64::from(before.balance), quote.debit.currency());
    if has.minor() < quote.min_balance.minor() {
        // With companions too: nobody is asked at the reader which of them stays behind.
        let missing = quote.min_balance.checked_sub(has).ok();
        return Err(Denied { reason: Refusal::InsufficientValue, missing });
    }
    let after = successor(context, before, now, &quote).ok_or(Refusal::CardDataInvalid)?;
    let changed = quote.counters_after != found.counters;
    let counters = quote.counters_after.filter(|_| changed);
    Ok(Decision { quote, after, counters, companions })
}

/// The tap as pricing sees it. Whole seconds, because that is what the card's record keeps and
/// the depot prices again from it.
pub(crate) fn tap(context: &ValidatorContext, before: &CardRecord, now: Timestamp) -> FareTap {
    FareTap {
        at: fare_time(context.clock, before, now),
        role: context.role,
        place: context.place,
        route: context.route,
        class: before.class,
        companions: Companions::NONE,
        purse: None,
        validator: context.id,
        tariff: context.tariff,
    }
}

/// The next card's tap, as far as its companions' prices need it.
pub(crate) fn chosen_at(
    context: &ValidatorContext,
    companions: Companions,
    now: Timestamp,
) -> FareTap {
    FareTap {
        at: Timestamp::from_secs(now.secs()),
        role: context.role,
        place: context.place,
        route: context.route,
        class: RiderClass(0),
        companions,
        purse: None,
        validator: context.id,
        tariff: context.tariff,
    }
}

/// A clock that nobody set must not expire a transfer or a journey: it is then at least as late
/// as the card's own last tap.
fn fare_time(clock: ClockQuality, before: &CardRecord, now: Timestamp) -> Timestamp {
    let now = Timestamp::from_secs(now.secs());
    match clock {
        ClockQuality::Unknown | ClockQuality::Saved => now.max(before.at()),
        ClockQuality::Rtc | ClockQuality::Ntp | ClockQuality::Gnss => now,
    }
}

/// `None` when a number leaves its place in the record.
fn successor(
    context: &ValidatorContext,
    before: &CardRecord,
    now: Timestamp,
    quote: &Quote,
) -> Option<CardRecord> {
    let amount = u32::try_from(quote.debit.minor()).ok()?;
    let balance = i64::from(before.balance) - i64::from(amount);
    let after = CardRecord {
        kind: match context.role {
            TapRole::Board => RecordKind::Board,
            TapRole::Entry => RecordKind::Entry,
            TapRole::Exit => RecordKind::Exit,
        },
        ctr: Ctr(before.ctr.0 + 1),
        balance: i32::try_from(balance).ok()?,
        amount,
        at_s: u32::try_from(fare_time(context.clock, before, now).secs()).ok()?,
        validator: context.id,
        place: context.place,
        tariff: context.tariff,
        run: quote.run_after,
        products: before.products.map(|_| quote.used),
        ..*before
    };
    after.to_bytes().ok().map(|_| after)
}
