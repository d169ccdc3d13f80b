//! A journey of legs under a tariff: the taps that a card would make on it, whatever its purse
//! holds.
//!
//! A leg on a flat route is one boarding. Legs on gate routes are a tap-in and a tap-out; legs
//! that meet at one place stay behind the gates and are one. What validators would refuse is a
//! leg without a known fare, never a free one.

use fare::{FareRefusal, FareTap, Journey, price};
use jiff::civil::Date;
use model::{
    CardCounters, Currency, Money, PlaceIx, RiderClass, RouteIx, ServiceDate, TapRole, Timestamp,
};

use super::{
    journeys::{Priced, StepLine},
    line::{Object, parse_clock, parse_date},
    purse::{PurseTotal, currency_of},
    taps::{TapPricer, depot_tap},
};

/// One leg, or several that are one behind the gates.
struct Ride {
    legs: std::ops::Range<usize>,
    /// A flat route; `None` = by gates.
    flat: Option<RouteIx>,
    from: PlaceIx,
    to: PlaceIx,
    departs: Timestamp,
    arrives: Timestamp,
}

impl TapPricer {
    /// Prices a line with `legs`.
    pub(super) fn journey(&self, line: &Object<'_>) -> Result<Priced, String> {
        let class = self.class(line)?;
        let date = parse_date(&line.required("date", "the service day, such as 20261126")?)?;
        let mut rides: Vec<Ride> = Vec::new();
        for (ix, leg) in line.list("legs")?.iter().enumerate() {
            let ride = self.ride(leg, ix, date).map_err(|why| format!("legs[{ix}]: {why}"))?;
            match rides.last_mut() {
                Some(last) if ride.departs < last.departs => {
                    let why = "departs before the leg ahead of it: order the legs";
                    return Err(format!("legs[{ix}] {why}"));
                }
                Some(last) if last.flat.or(ride.flat).is_none() && last.to == ride.from => {
                    last.legs.end = ix + 1;
                    (last.to, last.arrives) = (ride.to, ride.arrives);
                }
                Some(_) | None => rides.push(ride),
            }
        }
        if rides.is_empty() {
            return Err("legs is empty: a journey has at least one leg".to_owned());
        }
        self.walk(&rides, class, currency_of(line, self.tariff().currency())?)
    }

    fn walk(&self, rides: &[Ride], class: RiderClass, purse: Currency) -> Result<Priced, String> {
        let currency = self.tariff().currency();
        let mut journey = Journey::default().counting(Some(CardCounters::EMPTY));
        let (mut total, mut debits) = (Money::zero(currency), Money::zero(purse));
        let mut quotes = Vec::new();
        let mut priced = Priced {
            total: String::new(),
            currency: currency.letters(),
            unknown_legs: Vec::new(),
            products: Vec::new(),
            steps: Vec::new(),
            purse: None,
        };
        for ride in rides {
            let before = journey;
            for tap in self.taps_of(ride, class) {
                let tap = FareTap { purse: Some(purse), ..tap };
                let quote = price(self.set(), &journey, &tap);
                if let Err(why @ (FareRefusal::NoRate(_) | FareRefusal::TooMuch(_))) = &quote {
                    return Err(format!("card.currency: {why}"));
                }
                let Some((quote, sums)) = quote.ok().and_then(|quote| {
                    let sum = total.checked_add(quote.charge).ok()?;
                    let debits = debits.checked_add(quote.debit).ok()?;
                    Some((quote, (sum, debits)))
                }) else {
                    // As if it had not been ridden: what it would cost is not known.
                    journey = before;
                    priced.unknown_legs.extend(ride.legs.clone());
                    break;
                };
                journey = quote.journey_after;
                (total, debits) = sums;
                let fares = quote.steps.iter().filter(|step| is_fare(step.key()));
                priced.products.extend(fares.map(|step| step.rule.to_string()));
                let line = |step| StepLine::new(self.language(), step);
                priced.steps.extend(quote.steps.iter().map(line));
                quotes.push(quote);
            }
        }
        priced.total = total.decimal();
        priced.purse = PurseTotal::of(self.language(), debits, &quotes, currency);
        Ok(priced)
    }

    fn taps_of(&self, ride: &Ride, class: RiderClass) -> Vec<FareTap> {
        let tap = |role, place, at| FareTap {
            route: ride.flat,
            ..depot_tap(self.tariff(), role, place, at, class)
        };
        match ride.flat {
            Some(_) => vec![tap(TapRole::Board, ride.from, ride.departs)],
            None => vec![
                tap(TapRole::Entry, ride.from, ride.departs),
                tap(TapRole::Exit, ride.to, ride.arrives),
            ],
        }
    }

    fn ride(&self, leg: &Object<'_>, ix: usize, date: ServiceDate) -> Result<Ride, String> {
        let route = self.route(&leg.required("route", "a route id of the tariff")?)?;
        let place = |key| self.place(key, &leg.required(key, "a place id of the tariff")?);
        let time = |key| parse_clock(key, &leg.required(key, "a time such as 07:05:00")?);
        let (departs, arrives) = (time("dep")?, time("arr")?);
        if arrives < departs {
            let why = "arr lies before dep: times past midnight count on, as 25:05:00";
            return Err(why.to_owned());
        }
        Ok(Ride {
            legs: ix..ix + 1,
            flat: self.tariff().flat_product(route).map(|_| route),
            from: place("from")?,
            to: place("to")?,
            departs: self.clock(date, departs)?,
            arrives: self.clock(date, arrives)?,
        })
    }

    /// The moment of a clock time of a service day: counted from noon minus twelve hours, as GTFS
    /// does.
    fn clock(&self, date: ServiceDate, secs: u32) -> Result<Timestamp, String> {
        let (year, month, day) = date.civil();
        let part = |n: u32| i8::try_from(n).unwrap_or(1);
        let noon = Date::new(i16::try_from(year).unwrap_or(1970), part(month), part(day))
            .and_then(|date| date.at(12, 0, 0, 0).to_zoned(self.zone().clone()));
        let noon = noon.map_err(|why| format!("date {date}: {why}"))?;
        let start_s = noon.timestamp().as_second() - 12 * 3600;
        let at_s = u64::try_from(start_s).unwrap_or(0) + u64::from(secs);
        Ok(Timestamp::from_secs(at_s))
    }
}

fn is_fare(key: &str) -> bool {
    ["flat", "origin-destination"].contains(&key)
}
