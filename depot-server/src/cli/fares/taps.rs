//! The taps of one card in, charge and balance after each out, as validators would take them.
//!
//! Invariant: a tap that is refused changes nothing; what a tap needs, it needs before it, as at
//! a validator.

use std::collections::BTreeMap;

use fare::{FareTap, Journey, Tariff, TariffSet, price};
use gtfs::Network;
use jiff::{
    civil::DateTime,
    tz::{TimeZone, TimeZoneDatabase},
};
use model::{
    CardCounters, CardProduct, CardProducts, Companions, Currency, Money, PlaceIx, ProductKind,
    ProductScope, ProductsFound, Refusal, RiderClass, RouteIx, TapRole, Timestamp, ValidatorId,
};
use serde::Serialize;
use texts::Language;

use super::{
    journeys::StepLine,
    line::Object,
    purse::{ExchangeLine, currency_of},
};

/// A tariff with the ids that input may use.
pub(super) struct TapPricer {
    set: TariffSet,
    zone: TimeZone,
    place_of: BTreeMap<String, PlaceIx>,
    language: Language,
}

/// What became of the taps of one line.
#[derive(Debug, Serialize)]
pub(super) struct Tapped {
    /// Of the charges and their steps.
    currency: &'static str,
    /// Of debits and balances, when it is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    purse: Option<&'static str>,
    taps: Vec<TapLine>,
    /// After the last of them.
    balance: String,
}

impl Tapped {
    /// The tariff's.
    pub(super) const fn currency(&self) -> &'static str {
        self.currency
    }

    /// What all taps cost, in the purse's currency; `None` when one was refused.
    pub(super) fn charged(&self) -> Option<Money> {
        let currency = Currency::parse(self.purse.unwrap_or(self.currency)).ok()?;
        self.taps.iter().try_fold(Money::zero(currency), |sum, tap| {
            let debit = Money::parse(tap.debit.as_ref().unwrap_or(&tap.charge), currency).ok();
            sum.checked_add(debit.filter(|_| tap.refused.is_none())?).ok()
        })
    }
}

/// What became of one tap.
#[derive(Debug, Serialize)]
struct TapLine {
    charge: String,
    /// What is taken off a purse in another currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    debit: Option<String>,
    balance: String,
    steps: Vec<StepLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exchange: Option<ExchangeLine>,
    #[serde(flatten)]
    refused: Option<Refused>,
}

#[derive(Debug, Serialize)]
struct Refused {
    #[serde(rename = "refused")]
    reason: &'static str,
    /// The assist code on the validator's screen.
    code: u8,
    message: String,
}

/// One element of `taps`.
#[derive(Clone, Copy)]
enum Action {
    Tap(FareTap),
    TopUp(Money),
}

/// A card as it stands between two taps.
struct CardState {
    /// In the purse's currency.
    balance: Money,
    journey: Journey,
}

impl TapPricer {
    /// For a tariff; of an import, also by the ids of the stops that its places stand for.
    pub(super) fn new(
        tariff: Tariff,
        network: Option<&Network>,
        language: Language,
    ) -> Result<Self, String> {
        let name = tariff.timezone();
        let zone = TimeZoneDatabase::bundled()
            .get(name)
            .map_err(|_| format!("time zone {name:?} is not known: correct the tariff"))?;
        let mut place_of = BTreeMap::new();
        let ix = |i: usize| PlaceIx(u16::try_from(i).unwrap_or(u16::MAX));
        for (i, stops) in network.iter().flat_map(|network| network.stop_ids.iter().enumerate()) {
            place_of.extend(stops.iter().map(|id| (id.clone(), ix(i))));
        }
        let places = tariff.places().iter().enumerate();
        place_of.extend(places.map(|(i, place)| (place.id.to_string(), ix(i))));
        Ok(Self { set: TariffSet::new(tariff), zone, place_of, language })
    }

    /// Prices a line with `taps`.
    pub(super) fn answer(&self, line: &Object<'_>) -> Result<Tapped, String> {
        let class = self.class(line)?;
        let tariffs = self.tariff().currency();
        let purse = currency_of(line, tariffs)?;
        let mut card = self.card(line, purse)?;
        let actions: Result<Vec<Action>, String> = line
            .list("taps")?
            .iter()
            .enumerate()
            .map(|(i, tap)| {
                self.action(tap, class, purse).map_err(|why| format!("taps[{i}]: {why}"))
            })
            .collect();
        let taps = actions?.into_iter().map(|action| self.act(&mut card, action)).collect();
        Ok(Tapped {
            currency: tariffs.letters(),
            purse: (purse != tariffs).then(|| purse.letters()),
            taps,
            balance: card.balance.decimal(),
        })
    }

    pub(super) fn tariff(&self) -> &Tariff {
        self.set.newest()
    }

    pub(super) const fn set(&self) -> &TariffSet {
        &self.set
    }

    /// In which steps are explained.
    pub(super) const fn language(&self) -> Language {
        self.language
    }

    pub(super) const fn zone(&self) -> &TimeZone {
        &self.zone
    }

    pub(super) fn place(&self, key: &str, id: &str) -> Result<PlaceIx, String> {
        self.place_of.get(id).copied().ok_or_else(|| {
            format!("{key} {id:?} is no place of the tariff: write an id of its places")
        })
    }

    pub(super) fn route(&self, id: &str) -> Result<RouteIx, String> {
        self.tariff().route_ix(id).ok_or_else(|| {
            format!("route {id:?} is no route of the tariff: write an id of its routes")
        })
    }

    pub(super) fn class(&self, line: &Object<'_>) -> Result<RiderClass, String> {
        let Some(id) = line.text("rider")? else { return Ok(RiderClass(0)) };
        self.tariff()
            .class(&id)
            .ok_or_else(|| format!("rider {}; null is the first", self.unknown_class(&id)))
    }

    fn unknown_class(&self, id: &str) -> String {
        let known: Vec<&str> = self.tariff().classes().iter().map(|class| &*class.id).collect();
        format!("{id:?}: the tariff has {}", known.join(", "))
    }

    fn card(&self, line: &Object<'_>, purse: Currency) -> Result<CardState, String> {
        let zero = Money::zero(purse);
        let mut card = CardState {
            balance: zero,
            journey: Journey::default().counting(Some(CardCounters::EMPTY)),
        };
        let Some(given) = line.object("card")? else { return Ok(card) };
        card.balance =
            money(&given, "balance", purse).map_err(|why| format!("card.{why}"))?.unwrap_or(zero);
        let held = self.products(&given).map_err(|why| format!("card.{why}"))?;
        card.journey = card.journey.holding(held);
        Ok(card)
    }

    fn products(&self, card: &Object<'_>) -> Result<Option<ProductsFound>, String> {
        let mut slots = [None, None];
        let mut rides = None;
        let list = card.list("products")?;
        if list.len() > slots.len() {
            return Err("products: a card holds at most two".to_owned());
        }
        for (i, given) in list.iter().enumerate() {
            let (product, own) =
                self.product(given).map_err(|why| format!("products[{i}]: {why}"))?;
            slots[i] = Some(product);
            rides = rides.or(own);
        }
        if list.is_empty() {
            return Ok(None);
        }
        let file = CardProducts::new(slots).map_err(|why| format!("products: {why}"))?;
        Ok(Some(ProductsFound { file, rides }))
    }

    fn product(&self, given: &Object<'_>) -> Result<(CardProduct, Option<u32>), String> {
        let kind = match &*given.required("kind", "pass or rides")? {
            "pass" => ProductKind::Pass,
            "rides" => ProductKind::Rides,
            other => return Err(format!("kind {other:?}: write pass or rides")),
        };
        let scope = match given.text("scope")? {
            None => ProductScope::EVERYTHING,
            Some(group) => self.tariff().scope_of(&group).ok_or_else(|| {
                let known = self.tariff().parts().groups.join(", ");
                format!("scope {group:?}: the tariff has the groups {known}; null is everything")
            })?,
        };
        let bound = |key| -> Result<u32, String> {
            let Some(text) = given.text(key)? else { return Ok(0) };
            let at = self.moment(&text).map_err(|why| format!("{key} {why}"))?;
            u32::try_from(at.secs()).map_err(|_| format!("{key} {text:?} is too far ahead"))
        };
        let rides = given.number("rides")?;
        match (kind, rides) {
            (ProductKind::Rides, None) => return Err("rides is missing: write a number".to_owned()),
            (ProductKind::Pass, Some(_)) => return Err("a pass has no rides".to_owned()),
            (ProductKind::Rides, Some(_)) | (ProductKind::Pass, None) => {}
        }
        let product = CardProduct {
            id: given.number("id")?.and_then(|id| u16::try_from(id).ok()).unwrap_or(1),
            kind,
            scope,
            serial: 1,
            from_s: bound("from")?,
            until_s: bound("until")?,
        };
        Ok((product, rides))
    }

    fn action(
        &self,
        tap: &Object<'_>,
        class: RiderClass,
        purse: Currency,
    ) -> Result<Action, String> {
        let kinds = "in, out, board or top_up";
        let role = match &*tap.required("kind", kinds)? {
            "in" => TapRole::Entry,
            "out" => TapRole::Exit,
            "board" => TapRole::Board,
            "top_up" => {
                let amount = money(tap, "amount", purse)?.filter(|amount| amount.minor() > 0);
                let advice = "amount is missing or not above 0: write what is loaded";
                return amount.map(Action::TopUp).ok_or_else(|| advice.to_owned());
            }
            other => return Err(format!("kind {other:?}: write {kinds}")),
        };
        let place = self.place("place", &tap.required("place", "the place of the tap")?)?;
        let route = match tap.text("route")? {
            None if role == TapRole::Board => {
                return Err("route is missing: a boarding is on a route".to_owned());
            }
            None => None,
            Some(id) => Some(self.route(&id)?),
        };
        let at = tap.required("at", "a moment such as 2026-11-26T07:05:00")?;
        let at = self.moment(&at).map_err(|why| format!("at {why}"))?;
        let companions = self.companions(tap)?;
        Ok(Action::Tap(FareTap {
            route,
            companions,
            purse: Some(purse),
            ..depot_tap(self.tariff(), role, place, at, class)
        }))
    }

    fn companions(&self, tap: &Object<'_>) -> Result<Companions, String> {
        let Some(given) = tap.object("companions")? else { return Ok(Companions::NONE) };
        let riders = given.keys().map(|id| {
            let class = self
                .tariff()
                .class(id)
                .ok_or_else(|| format!("companions: {}", self.unknown_class(id)))?;
            let count = given.number(id).map_err(|why| format!("companions.{why}"))?;
            let count = count.and_then(|count| u8::try_from(count).ok());
            Ok((class, count.ok_or_else(|| format!("companions.{id}: write a number of riders"))?))
        });
        let riders: Result<Vec<_>, String> = riders.collect();
        Companions::new(riders?).map_err(|why| format!("companions: {why}"))
    }

    /// RFC 3339, or the wall clock of the tariff's time zone. A wall clock time that occurs twice
    /// is the first; one that is skipped is as much later as the clock jumps.
    fn moment(&self, text: &str) -> Result<Timestamp, String> {
        let at = text.parse::<jiff::Timestamp>().or_else(|_| {
            let local = text.parse::<DateTime>()?;
            Ok::<_, jiff::Error>(local.to_zoned(self.zone.clone())?.timestamp())
        });
        let secs = at.ok().and_then(|at| u64::try_from(at.as_second()).ok());
        secs.map(Timestamp::from_secs).ok_or_else(|| {
            format!("{text:?}: write 2026-11-26T07:05:00 or 2026-11-26T07:05:00+09:00")
        })
    }

    fn act(&self, card: &mut CardState, action: Action) -> TapLine {
        let tap = match action {
            Action::Tap(tap) => tap,
            Action::TopUp(amount) => {
                let Ok(balance) = card.balance.checked_add(amount) else {
                    let message = "the balance leaves the range of amounts".to_owned();
                    return self.refused(card, Refusal::CardDataInvalid, message);
                };
                card.balance = balance;
                return TapLine::new(card, self.zero(), Vec::new());
            }
        };
        let quote = match price(&self.set, &card.journey, &tap) {
            Ok(quote) => quote,
            Err(why) => return self.refused(card, why.refusal(), why.to_string()),
        };
        let (needed, has) = (quote.min_balance, card.balance);
        let after = card.balance.checked_sub(quote.debit);
        let (Some(balance), true) = (after.ok(), has.minor() >= needed.minor()) else {
            let short = needed.checked_sub(has).unwrap_or(needed);
            let message = format!("needs {needed}, the card has {has}: {short} are missing");
            return self.refused(card, Refusal::InsufficientValue, message);
        };
        card.balance = balance;
        card.journey = quote.journey_after;
        let line = |step| StepLine::new(self.language, step);
        let steps = quote.steps.iter().map(line).collect();
        let exchanged = quote.exchanged.as_ref();
        TapLine {
            debit: exchanged.map(|exchanged| exchanged.debit.decimal()),
            exchange: exchanged.map(|exchanged| ExchangeLine::new(self.language, exchanged)),
            ..TapLine::new(card, quote.charge, steps)
        }
    }

    fn zero(&self) -> Money {
        Money::zero(self.tariff().currency())
    }

    fn refused(&self, card: &CardState, why: Refusal, message: String) -> TapLine {
        let refused = Refused { reason: why.word(), code: why.assist_code(), message };
        TapLine { refused: Some(refused), ..TapLine::new(card, self.zero(), Vec::new()) }
    }
}

fn money(of: &Object<'_>, key: &str, currency: Currency) -> Result<Option<Money>, String> {
    let Some(text) = of.decimal(key)? else { return Ok(None) };
    let money = Money::parse(&text, currency);
    money.map(Some).map_err(|why| format!("{key}: {why}"))
}

/// A tap that no validator takes, outside any route.
pub(super) fn depot_tap(
    tariff: &Tariff,
    role: TapRole,
    place: PlaceIx,
    at: Timestamp,
    class: RiderClass,
) -> FareTap {
    let (validator, tariff) = (ValidatorId::DEPOT, tariff.version());
    let companions = Companions::NONE;
    FareTap { at, role, place, route: None, class, companions, purse: None, validator, tariff }
}

impl TapLine {
    fn new(card: &CardState, charge: Money, steps: Vec<StepLine>) -> Self {
        let (charge, balance) = (charge.decimal(), card.balance.decimal());
        Self { charge, debit: None, balance, steps, exchange: None, refused: None }
    }
}
