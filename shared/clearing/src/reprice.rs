//! The depot's own price of a tap, and whose revenue it is, by the tariff that the record names.

use alloc::{boxed::Box, collections::BTreeMap};

use fare::{FareRefusal, FareTap, Journey, Quote, Tariff, TariffSet, price, rules::ZoneOffsets};
use model::{
    CardRecord, CardTransaction, Currency, OperatorId, RecordKind, RouteIx, ServiceDate, TapRecord,
    TapRole, TariffVersion, Timestamp,
};

use crate::period::{Calendars, Period};

/// The tariffs by which taps are priced again, and what follows from them.
#[derive(Debug, Clone)]
pub struct Rules {
    tariffs: TariffSet,
    operators: BTreeMap<TariffVersion, Operators>,
    calendars: Calendars,
}

/// The depot's price of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Priced {
    /// A price with its explanation.
    Quote(Box<Quote>),
    /// The tariff gives none, although the validator found one, or the tariff is not known here.
    Refused(FareRefusal),
    /// Issues and loads have no fare.
    NotAFare,
}

/// Who earns, where the route of a ride is not known: worked out once per tariff.
#[derive(Debug, Clone, Default)]
struct Operators {
    /// The only operator of the gates' routes.
    gates: Option<OperatorId>,
    /// The only operator of each transfer group's routes.
    groups: BTreeMap<u8, OperatorId>,
    /// The only operator of all routes.
    all: Option<OperatorId>,
}

impl Rules {
    /// Rules from the tariffs in force and in memory.
    pub fn new(tariffs: TariffSet) -> Self {
        let operators =
            tariffs.iter().map(|tariff| (tariff.version(), Operators::of(tariff))).collect();
        let calendars = Calendars::of(&tariffs);
        Self { tariffs, operators, calendars }
    }

    /// Days begin by this tariff from `since` on, in this zone.
    pub fn set_clock(&mut self, version: TariffVersion, since: Timestamp, zone: &ZoneOffsets) {
        self.calendars.set(version, since, zone);
    }

    /// The days that are open for a booking at `now`; `open` is the oldest, `None` in empty books.
    pub fn period(&self, open: Option<ServiceDate>, now: Timestamp) -> Period {
        self.calendars.period(open, now)
    }

    /// The service day of a moment, as it was reckoned at `now`.
    pub fn service_day(&self, of: Timestamp, now: Timestamp) -> ServiceDate {
        self.calendars.service_day(of, now)
    }

    /// When a service day is over, as it is reckoned at `now`.
    pub fn end_of(&self, day: ServiceDate, now: Timestamp) -> Timestamp {
        self.calendars.end_of(day, now)
    }

    /// The currency of the tariff, and of every purse whose profile names no other.
    pub fn currency(&self) -> Currency {
        self.tariffs.newest().currency()
    }

    /// The tariffs.
    pub const fn tariffs(&self) -> &TariffSet {
        &self.tariffs
    }

    /// What a transaction should have cost, and used of the products that it found.
    pub fn price(&self, transaction: &CardTransaction, route: Option<RouteIx>) -> Priced {
        let CardTransaction { before, after, products, counters, companions, purse, .. } =
            transaction;
        let role = match after.kind {
            RecordKind::Issue
            | RecordKind::Load
            | RecordKind::LoadInJourney
            | RecordKind::Retire => return Priced::NotAFare,
            RecordKind::Board => TapRole::Board,
            RecordKind::Entry => TapRole::Entry,
            RecordKind::Exit => TapRole::Exit,
        };
        let tap = FareTap {
            at: after.at(),
            role,
            place: after.place,
            route,
            class: after.class,
            companions: *companions,
            purse: *purse,
            validator: after.validator,
            tariff: after.tariff,
        };
        let found = counters.map(|used| used.found);
        let journey = Journey::from_record(before).holding(*products).counting(found);
        match price(&self.tariffs, &journey, &tap) {
            Ok(quote) => Priced::Quote(Box::new(quote)),
            Err(refusal) => Priced::Refused(refusal),
        }
    }

    /// Whose revenue the use of a ticket is, by the same rule as a record's.
    pub fn ticket_operator(&self, tap: &TapRecord) -> Option<OperatorId> {
        let tariff = self.tariffs.get(tap.tariff)?;
        if let Some(route) = tap.route.and_then(|ix| tariff.route(ix)) {
            return Some(route.operator);
        }
        let operators = self.operators.get(&tap.tariff)?;
        match tap.role {
            TapRole::Entry | TapRole::Exit => operators.gates.or(operators.all),
            TapRole::Board => operators.all,
        }
    }

    /// Whose revenue a record is: its route's operator or, where that is not known, the only one
    /// that it can be.
    pub fn operator(&self, record: &CardRecord, route: Option<RouteIx>) -> Option<OperatorId> {
        let tariff = self.tariffs.get(record.tariff)?;
        if let Some(route) = route.and_then(|ix| tariff.route(ix)) {
            return Some(route.operator);
        }
        let operators = self.operators.get(&record.tariff)?;
        let group = || operators.groups.get(&record.run?.group).copied();
        match record.kind {
            RecordKind::Issue
            | RecordKind::Load
            | RecordKind::LoadInJourney
            | RecordKind::Retire => None,
            RecordKind::Entry | RecordKind::Exit => operators.gates.or(operators.all),
            RecordKind::Board => group().or(operators.all),
        }
    }
}

impl Operators {
    fn of(tariff: &Tariff) -> Self {
        let only = |mut found: alloc::vec::Vec<OperatorId>| {
            found.sort_unstable();
            found.dedup();
            if let [operator] = found[..] { Some(operator) } else { None }
        };
        let of_group = |group: u8| {
            let routes = tariff.routes().iter().filter(|route| route.group.0 == group);
            only(routes.map(|route| route.operator).collect())
        };
        Self {
            gates: tariff.gate().and_then(|gate| of_group(gate.group.0)),
            groups: (0..=u8::MAX).filter_map(|group| Some((group, of_group(group)?))).collect(),
            all: only(tariff.routes().iter().map(|route| route.operator).collect()),
        }
    }
}
