//! Rules as a feed states them, with every reference resolved to an index.
//!
//! A row that refers to something that does not exist stays in its table as `dead`: it never
//! matches, but what it names still counts as named where an empty field means "all the others".

use alloc::{format, string::String, sync::Arc, vec::Vec};

use model::{Currency, Money, RouteIx, Timestamp};

use super::{Service, ZoneOffsets};

/// A stop or station, by its index in the rule set's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StopIx(pub u32);

/// A network of routes, by its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkIx(pub u16);

/// An area of stops, by its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AreaIx(pub u16);

/// One ride of a journey, from boarding to alighting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ride {
    /// The route ridden.
    pub route: RouteIx,
    /// Boarded here.
    pub from: StopIx,
    /// Alighted here.
    pub to: StopIx,
    /// Boarded then: the tap where there is one, else the schedule.
    pub departs: Timestamp,
    /// Alighted then.
    pub arrives: Timestamp,
}

/// For whom and with what a journey is priced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Who {
    /// The rider category; `None` = the default one.
    pub rider: Option<u16>,
    /// The fare medium; `None` = any.
    pub medium: Option<u16>,
}

/// A rider category.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleRider {
    /// As in the feed.
    pub id: Arc<str>,
    /// For people.
    pub name: Arc<str>,
    /// Whether a rider who states nothing is of this category.
    pub is_default: bool,
}

/// A fare medium.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleMedium {
    /// As in the feed.
    pub id: Arc<str>,
    /// For people.
    pub name: Arc<str>,
}

/// A fare product with its prices by rider and medium.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleProduct {
    /// As in the feed.
    pub id: Arc<str>,
    /// For people.
    pub name: Arc<str>,
    /// Its rows.
    pub variants: Vec<Variant>,
}

/// One price of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant {
    /// `None` = any rider.
    pub rider: Option<u16>,
    /// `None` = the medium is not stated; usable with any.
    pub medium: Option<u16>,
    /// May be negative (a discount) or zero.
    pub amount: Money,
}

/// A stop as fares see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleStop {
    /// As in the feed.
    pub id: Arc<str>,
    /// For people.
    pub name: Arc<str>,
    /// Its station, or the stop itself.
    pub station: StopIx,
    /// Its areas: its own rows, or those of its station when it has none. A station without rows
    /// has those of its platforms.
    pub areas: Vec<AreaIx>,
    /// Index of its time zone in [`RuleSet::zones`].
    pub zone: u16,
}

/// A route as fares see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleRoute {
    /// As in the feed.
    pub id: Arc<str>,
    /// For people.
    pub name: Arc<str>,
    /// The network it is in, if any.
    pub network: Option<NetworkIx>,
}

/// A named union of times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeframe {
    /// As in the feed.
    pub id: Arc<str>,
    /// Any of them.
    pub rows: Vec<TimeRow>,
}

/// Times of the day on the dates of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRow {
    /// Seconds since local midnight, inclusive.
    pub start_s: u32,
    /// Exclusive; 86 400 = the end of the day.
    pub end_s: u32,
    /// Index in [`RuleSet::services`]; `None` = a service that does not exist: never.
    pub service: Option<u16>,
}

/// One row of `fare_leg_rules.txt`. `None` is the empty field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LegRule {
    /// Index in [`RuleSet::leg_groups`].
    pub group: Option<u16>,
    /// The network of the leg.
    pub network: Option<NetworkIx>,
    /// Area of its start.
    pub from: Option<AreaIx>,
    /// Area of its end.
    pub to: Option<AreaIx>,
    /// Index in [`RuleSet::timeframes`], tested at the start.
    pub from_time: Option<u16>,
    /// Index in [`RuleSet::timeframes`], tested at the end.
    pub to_time: Option<u16>,
    /// Index in [`RuleSet::products`].
    pub product: u16,
    /// Higher wins, when [`RuleSet::has_priority`].
    pub priority: u32,
    /// Only after a transfer onto this leg (a column of the MBTA).
    pub transfer_only: bool,
    /// It refers to something that does not exist, and never matches.
    pub dead: bool,
    /// Where it stands in the file, from 1.
    pub row: u32,
}

/// One row of `fare_leg_join_rules.txt`. An empty network is any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinRule {
    /// Of the leg before the change.
    pub from: Option<NetworkIx>,
    /// Of the leg after it.
    pub to: Option<NetworkIx>,
    /// Where the first leg ends and the second begins; `None` = at the same station.
    pub stops: Option<(StopIx, StopIx)>,
}

/// Between which taps of a transfer run its time is measured: from the run's first leg to the
/// leg that is transferred to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DurationSpan {
    /// 0
    DepartureToArrival,
    /// 1
    DepartureToDeparture,
    /// 2
    ArrivalToDeparture,
    /// 3
    ArrivalToArrival,
}

/// What a transfer costs: A is the leg before, B the leg after, AB the transfer's product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferKind {
    /// 0: A + AB
    InsteadOfNext,
    /// 1: A + AB + B
    BesidesNext,
    /// 2: AB
    InsteadOfBoth,
}

impl TransferKind {
    /// What the leg after adds to what was paid before. `ab` is the price of the transfer's
    /// product, `b` that of the leg; `a` what the run cost while it is one leg only: a first leg is
    /// replaced, a run is not, because A of the specification holds all that came before.
    pub(crate) fn cost(self, a: Option<i64>, ab: i64, b: i64) -> i64 {
        match self {
            Self::InsteadOfNext => ab,
            Self::BesidesNext => ab + b,
            Self::InsteadOfBoth => ab - a.unwrap_or(0),
        }
    }
}

/// One row of `fare_transfer_rules.txt`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransferRule {
    /// Index in [`RuleSet::leg_groups`]; `None` = all that this column does not name.
    pub from: Option<u16>,
    /// The same for the leg after.
    pub to: Option<u16>,
    /// How many consecutive transfers within one group; `None` = no limit.
    pub count: Option<u32>,
    /// Seconds, inclusive, and how they are measured.
    pub limit: Option<(u32, DurationSpan)>,
    /// How the cost is made up.
    pub kind: TransferKind,
    /// Index in [`RuleSet::products`]; `None` = nothing.
    pub product: Option<u16>,
    /// Only when the leg before was paid with this product (a column of the MBTA).
    pub holding: Option<u16>,
    /// It refers to something that does not exist, and never matches.
    pub dead: bool,
    /// Where it stands in the file, from 1.
    pub row: u32,
}

impl TransferRule {
    /// How it is called in an explanation: it has no id of its own.
    pub fn id(&self) -> String {
        format!("fare_transfer_rules.txt:{}", self.row)
    }
}

/// All of Fares v2 of one feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSet {
    /// Of every amount.
    pub currency: Currency,
    /// Time zones; the first is the agency's.
    pub zones: Vec<ZoneOffsets>,
    /// Rider categories.
    pub riders: Vec<RuleRider>,
    /// Fare media.
    pub media: Vec<RuleMedium>,
    /// Fare products.
    pub products: Vec<RuleProduct>,
    /// Ids of the networks.
    pub networks: Vec<Arc<str>>,
    /// Ids of the areas.
    pub areas: Vec<Arc<str>>,
    /// Stops, platforms and stations.
    pub stops: Vec<RuleStop>,
    /// Routes, in the order of `RouteIx`.
    pub routes: Vec<RuleRoute>,
    /// Timeframe groups.
    pub timeframes: Vec<Timeframe>,
    /// Dates of the services that timeframes name.
    pub services: Vec<Service>,
    /// Ids of the leg groups.
    pub leg_groups: Vec<Arc<str>>,
    /// Whether the file has the column `rule_priority`, filled or not: an empty field then
    /// matches everything instead of everything that is not named.
    pub has_priority: bool,
    /// The leg rules.
    pub leg_rules: Vec<LegRule>,
    /// The join rules.
    pub join_rules: Vec<JoinRule>,
    /// The transfer rules.
    pub transfer_rules: Vec<TransferRule>,
}

/// One fare of `fare_attributes.txt` with its rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// `fare_id`.
    pub id: Arc<str>,
    /// Never negative.
    pub price: Money,
    /// Changes of vehicle that it allows; `None` = any number.
    pub transfers: Option<u8>,
    /// Seconds from the first boarding to the last, inclusive.
    pub duration_s: Option<u32>,
    /// Index of the agency whose routes alone it is for.
    pub agency: Option<u16>,
    /// Its rules; `None` = it has none and holds everywhere.
    pub rows: Option<Vec<TicketRow>>,
}

/// The rows of one fare that agree in route, origin and destination.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TicketRow {
    /// `None` = any route.
    pub route: Option<RouteIx>,
    /// Index of a zone; `None` = any.
    pub origin: Option<u16>,
    /// Index of a zone; `None` = any.
    pub destination: Option<u16>,
    /// Zones that must all be visited.
    pub contains: Vec<u16>,
}

/// A stop as tickets see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketStop {
    /// As in the feed.
    pub id: Arc<str>,
    /// For people.
    pub name: Arc<str>,
    /// Its zone; a station has the zones of its platforms.
    pub zones: Vec<u16>,
}

/// A route as tickets see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketRoute {
    /// As in the feed.
    pub id: Arc<str>,
    /// For people.
    pub name: Arc<str>,
    /// Index of its agency.
    pub agency: u16,
    /// Its orders of stops, for the zones that a ride passes through.
    pub patterns: Vec<Vec<StopIx>>,
}

/// All of Fares v1 of one feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketSet {
    /// Of every amount.
    pub currency: Currency,
    /// The agency's time zone.
    pub zone: ZoneOffsets,
    /// Ids of the zones.
    pub zones: Vec<Arc<str>>,
    /// Stops, platforms and stations.
    pub stops: Vec<TicketStop>,
    /// Routes, in the order of `RouteIx`.
    pub routes: Vec<TicketRoute>,
    /// The fares.
    pub tickets: Vec<Ticket>,
}
