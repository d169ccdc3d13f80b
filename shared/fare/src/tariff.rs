//! A tariff: the tables as written (`TariffParts`) and what is compiled from them.
//!
//! Invariant: a `Tariff` only exists when every reference inside it resolves, every amount fits
//! the card's record, and its own golden examples price as they say.

use alloc::{string::String, sync::Arc, vec::Vec};

use model::{
    Companions, Currency, Money, OperatorId, PlaceIx, ProductScope, RiderClass, RouteIx, TapRole,
    TariffVersion, Timestamp,
};

use crate::{
    NotPassed, UnknownFare,
    compile::CompiledRules,
    rules::{RuleSet, StopIx},
    terms::{Terms, TimeIx},
};

/// A product, by its index in the tariff's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProductIx(pub u16);

/// A transfer group, by its index in the tariff's list; the card's record holds this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupIx(pub u8);

/// How a route runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// On the road.
    Bus,
    /// On water.
    Ferry,
    /// Anything else: cable cars, funiculars.
    Other,
    /// Railway between cities and suburbs.
    Rail,
    /// Urban railway apart from the street.
    Subway,
    /// Urban railway in the street.
    Tram,
}

/// All modes with their words in tariff files.
pub const MODES: [(Mode, &str); 6] = [
    (Mode::Bus, "bus"),
    (Mode::Ferry, "ferry"),
    (Mode::Other, "other"),
    (Mode::Rail, "rail"),
    (Mode::Subway, "subway"),
    (Mode::Tram, "tram"),
];

impl Mode {
    /// The word in tariff files, the API and on screens.
    pub fn word(self) -> &'static str {
        MODES.iter().find(|(mode, _)| *mode == self).expect("MODES lists every mode").1
    }
}

/// Who runs a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// Unique in the tariff.
    pub id: String,
    /// For people.
    pub name: String,
}

/// A rider category. Its index in the table is the card's `RiderClass`; the first is the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// Unique in the tariff.
    pub id: String,
    /// For people.
    pub name: String,
}

/// What can be bought: a price with an id. Charges name it as their rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// Unique in the tariff.
    pub id: Arc<str>,
    /// For people.
    pub name: Arc<str>,
    /// Never negative.
    pub price: Money,
    /// What these rider categories pay instead, ascending.
    pub prices: Vec<(RiderClass, Money)>,
}

impl Product {
    /// What a rider of this category pays.
    pub fn price_for(&self, class: RiderClass) -> Money {
        let own = self.prices.iter().find(|(of, _)| *of == class);
        own.map_or(self.price, |(_, price)| *price)
    }
}

/// Whether a place is a station or a stop at the roadside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PlaceKind {
    /// A station with platforms.
    Station,
    /// A single stop.
    Stop,
}

/// Where one can tap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Unique in the tariff.
    pub id: Arc<str>,
    /// For people.
    pub name: Arc<str>,
    /// Latitude in millionths of a degree.
    pub lat_e6: i32,
    /// Longitude in millionths of a degree.
    pub lon_e6: i32,
    /// Station or stop.
    pub kind: PlaceKind,
}

/// A line of service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Unique in the tariff.
    pub id: Arc<str>,
    /// For people.
    pub name: Arc<str>,
    /// How it runs.
    pub mode: Mode,
    /// Who runs it.
    pub operator: OperatorId,
    /// Transfers are granted between groups.
    pub group: GroupIx,
    /// What one boarding costs; `None` when it is paid by tap-in and tap-out at gates.
    pub product: Option<ProductIx>,
}

/// An exit where the journey began, soon after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SameStation {
    /// Seconds from tap-in, inclusive; later the next band or the table's own fare holds.
    pub within_s: u32,
    /// What it costs; `None` = the maximum fare.
    pub price: Option<Money>,
    /// Whether it counts towards caps.
    pub counts_to_caps: bool,
}

/// The rules of tap-in and tap-out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// The transfer group of every gate journey.
    pub group: GroupIx,
    /// Seconds inside, inclusive; a later exit pays the maximum fare. `None` = no limit.
    pub journey_limit_s: Option<u32>,
    /// Fare of a missing tap-out; `None` = the highest in the table from that entry.
    pub maximum_fare: Option<Money>,
    /// Stored value needed to enter; `None` = the maximum fare from there.
    pub minimum_balance: Option<Money>,
    /// What an exit without a fare does.
    pub unknown: UnknownFare,
    /// What it does to the fare when the rider did not pass.
    pub not_passed: NotPassed,
    /// Exit at the station of entry, by bands of time, shortest first.
    pub same_station: Vec<SameStation>,
    /// The places with gates, in the order of the table's rows and columns.
    pub places: Vec<PlaceIx>,
    /// Row by row (from × to). `None` = unknown, which is not free.
    pub cells: Vec<Option<ProductIx>>,
}

/// What the next ride of a run costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferPrice {
    /// Nothing.
    Free,
    /// What its own fare exceeds the amount already paid in the run.
    Difference,
    /// This amount, or its own fare when that is lower.
    Fixed(Money),
}

/// One timed transfer right. The clock starts at the first boarding or tap-in of the run and is
/// read at the boarding or tap-in of the next ride.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Unique in the tariff.
    pub id: Arc<str>,
    /// Groups of the ride before.
    pub from: Vec<GroupIx>,
    /// Groups of the ride that is made cheaper.
    pub to: Vec<GroupIx>,
    /// Seconds, inclusive.
    pub limit_s: u32,
    /// Rides in one run, the first included; `None` = no limit.
    pub legs_max: Option<u8>,
    /// What the ride then costs.
    pub price: TransferPrice,
}

/// What a golden example rides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExampleRide {
    /// Tap-in and tap-out.
    Gate {
        /// Tap-in.
        from: PlaceIx,
        /// Tap-out.
        to: PlaceIx,
    },
    /// One boarding.
    Flat(RouteIx),
}

/// A golden example: a tariff whose example does not hold is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// The ride that is priced.
    pub ride: ExampleRide,
    /// A flat route boarded before, and the seconds from that boarding to this ride's first tap.
    pub after: Option<(RouteIx, u32)>,
    /// Who rides on the same card besides the holder; only on a flat route.
    pub companions: Companions,
    /// What this ride must cost, companions included.
    pub price: Money,
    /// What it must take off a purse in another currency.
    pub purse: Option<crate::ExamplePurse>,
}

/// All tables of one tariff, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TariffParts {
    /// Higher is newer.
    pub version: TariffVersion,
    /// Name of the network, for people.
    pub network: String,
    /// IANA time zone of the agency.
    pub timezone: String,
    /// Currency of every amount.
    pub currency: Currency,
    /// Seconds in which the same card is not taken again by the same gate place or validator.
    pub pass_back_s: u32,
    /// Names of the transfer groups.
    pub groups: Vec<String>,
    /// Who runs services.
    pub operators: Vec<Operator>,
    /// Rider categories; at most 16.
    pub classes: Vec<Class>,
    /// Prices.
    pub products: Vec<Product>,
    /// Where one can tap.
    pub places: Vec<Place>,
    /// Lines of service.
    pub routes: Vec<Route>,
    /// Tap-in and tap-out, when the network has gates.
    pub gate: Option<Gate>,
    /// Transfer rights; no pair of groups is in two of them.
    pub transfers: Vec<Transfer>,
    /// Golden examples.
    pub examples: Vec<Example>,
    /// What GTFS cannot say.
    pub terms: Terms,
    /// Leg and transfer rules, for the rides that neither a route's product nor the table of
    /// gates prices. Stops are places, riders are categories, leg groups are the first groups.
    pub rules: Option<TariffRules>,
}

/// Rules of legs and transfers, and the fare medium that the card is among theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TariffRules {
    /// The rules.
    pub set: Arc<RuleSet>,
    /// The card's fare medium; `None` = any.
    pub medium: Option<u16>,
}

/// One compiled version of all fare rules.
#[derive(Debug, Clone)]
pub struct Tariff {
    pub(crate) parts: TariffParts,
    /// Per place: its row and column in the gate table.
    pub(crate) gate_row: Vec<Option<u16>>,
    /// Per gate row and class: the maximum fare from there, `None` when no fare is known.
    pub(crate) maximum: Vec<Option<Money>>,
    /// Groups × groups: the transfer right from a group to a group.
    pub(crate) transfer_of: Vec<Option<u16>>,
    /// Place indexes in the order of their ids.
    pub(crate) places_by_id: Vec<PlaceIx>,
    /// Route indexes in the order of their ids.
    pub(crate) routes_by_id: Vec<RouteIx>,
    /// The rules, compiled.
    pub(crate) table: Option<CompiledRules>,
}

/// Two tariffs are equal when they were written the same; the rest follows from that.
impl PartialEq for Tariff {
    fn eq(&self, other: &Self) -> bool {
        self.parts == other.parts
    }
}
impl Eq for Tariff {}

impl Tariff {
    /// The tables as written.
    pub const fn parts(&self) -> &TariffParts {
        &self.parts
    }

    /// Higher is newer.
    pub const fn version(&self) -> TariffVersion {
        self.parts.version
    }

    /// Currency of every amount.
    pub const fn currency(&self) -> Currency {
        self.parts.currency
    }

    /// Name of the network, for people.
    pub fn network(&self) -> &str {
        &self.parts.network
    }

    /// IANA time zone of the agency.
    pub fn timezone(&self) -> &str {
        &self.parts.timezone
    }

    /// All places; `PlaceIx` is the index.
    pub fn places(&self) -> &[Place] {
        &self.parts.places
    }

    /// One place.
    pub fn place(&self, ix: PlaceIx) -> Option<&Place> {
        self.parts.places.get(usize::from(ix.0))
    }

    /// The place with this id.
    pub fn place_ix(&self, id: &str) -> Option<PlaceIx> {
        let id_of = |ix: &PlaceIx| &*self.parts.places[usize::from(ix.0)].id;
        let i = self.places_by_id.binary_search_by(|ix| id_of(ix).cmp(id)).ok()?;
        Some(self.places_by_id[i])
    }

    /// All routes; `RouteIx` is the index.
    pub fn routes(&self) -> &[Route] {
        &self.parts.routes
    }

    /// One route.
    pub fn route(&self, ix: RouteIx) -> Option<&Route> {
        self.parts.routes.get(usize::from(ix.0))
    }

    /// The route with this id.
    pub fn route_ix(&self, id: &str) -> Option<RouteIx> {
        let id_of = |ix: &RouteIx| &*self.parts.routes[usize::from(ix.0)].id;
        let i = self.routes_by_id.binary_search_by(|ix| id_of(ix).cmp(id)).ok()?;
        Some(self.routes_by_id[i])
    }

    /// All operators; `OperatorId` is the index.
    pub fn operators(&self) -> &[Operator] {
        &self.parts.operators
    }

    /// All rider categories; `RiderClass` is the index.
    pub fn classes(&self) -> &[Class] {
        &self.parts.classes
    }

    /// The rider category with this id.
    pub fn class(&self, id: &str) -> Option<RiderClass> {
        let i = self.parts.classes.iter().position(|class| class.id == id)?;
        u8::try_from(i).ok().map(RiderClass)
    }

    /// The scope of a product that is valid for the rides of this fare group.
    pub fn scope_of(&self, group: &str) -> Option<ProductScope> {
        let known = self.parts.groups.iter().any(|name| name == group);
        known.then(|| ProductScope::of_group(group))
    }

    pub(crate) fn group_name(&self, group: GroupIx) -> &str {
        self.parts.groups.get(usize::from(group.0)).map_or("", String::as_str)
    }

    /// Whether a tap of this kind here has no price without a route: a boarding never has one, and
    /// a tap-out not where leg rules price the ride and no table of station pairs does.
    pub fn prices_by_route(&self, role: TapRole, place: PlaceIx) -> bool {
        match role {
            TapRole::Board => true,
            TapRole::Entry => false,
            TapRole::Exit => self.table.is_some() && self.row(place).is_none(),
        }
    }

    /// The rules of tap-in and tap-out, when the network has gates.
    pub const fn gate(&self) -> Option<&Gate> {
        self.parts.gate.as_ref()
    }

    /// The price of one boarding, when the route is flat.
    pub fn flat_product(&self, route: RouteIx) -> Option<&Product> {
        self.route(route)?.product.map(|ix| self.product(ix))
    }

    /// The product of a pair of gate places; `None` = unknown, which is not free.
    pub fn gate_product(&self, from: PlaceIx, to: PlaceIx) -> Option<&Product> {
        let gate = self.parts.gate.as_ref()?;
        let (from, to) = (self.row(from)?, self.row(to)?);
        gate.cells[from * gate.places.len() + to].map(|ix| self.product(ix))
    }

    /// What a missing tap-out costs a rider of this category after a tap-in here; `None` when no
    /// fare is known from here.
    pub fn maximum_fare(&self, from: PlaceIx, class: RiderClass) -> Option<Money> {
        let classes = self.parts.classes.len();
        // A category that the tariff does not have pays the default price.
        let class = if usize::from(class.0) < classes { usize::from(class.0) } else { 0 };
        self.maximum[self.row(from)? * classes + class]
    }

    /// The same at a moment, also where rules price the rides.
    pub(crate) fn maximum_at(
        &self,
        from: PlaceIx,
        class: RiderClass,
        at: Timestamp,
    ) -> Option<Money> {
        self.maximum_fare(from, class).or_else(|| {
            let rules = self.table.as_ref()?;
            let who = rules.who(class);
            let dearest = rules.table.dearest_anywhere(StopIx(from.0.into()), at, who)?;
            let set = self.parts.gate.as_ref().and_then(|gate| gate.maximum_fare);
            Some(set.unwrap_or(Money::new(dearest, self.parts.currency)))
        })
    }

    /// Stored value needed to tap in here.
    pub fn minimum_balance(&self, from: PlaceIx, class: RiderClass) -> Option<Money> {
        let maximum = self.maximum_fare(from, class)?;
        Some(self.parts.gate.as_ref()?.minimum_balance.unwrap_or(maximum))
    }

    pub(crate) fn transfer(&self, from: GroupIx, to: GroupIx) -> Option<&Transfer> {
        let groups = self.parts.groups.len();
        let cell = usize::from(from.0) * groups + usize::from(to.0);
        let ix = (*self.transfer_of.get(cell)?)?;
        Some(&self.parts.transfers[usize::from(ix)])
    }

    /// Whether a price depends on what a card has counted, so that a tap has to read its counters.
    pub fn needs_counters(&self) -> bool {
        !(self.parts.terms.caps.is_empty() && self.parts.terms.interchanges.is_empty())
    }

    /// What GTFS cannot say.
    pub const fn terms(&self) -> &Terms {
        &self.parts.terms
    }

    /// Whether a moment lies in a time band.
    pub(crate) fn in_time(&self, band: TimeIx, at: Timestamp) -> bool {
        let terms = &self.parts.terms;
        terms.calendar.holds(&terms.times[usize::from(band.0)], at)
    }

    /// The stored value that a charge needs: it may take the card below zero by the dip.
    pub(crate) fn after_dip(&self, charge: Money) -> Money {
        let dip = self.parts.terms.dip.map_or(0, Money::minor);
        Money::new((charge.minor() - dip).max(0), charge.currency())
    }

    /// Whether any transfer right begins with a ride of this group.
    pub(crate) fn grants_transfer(&self, from: GroupIx) -> bool {
        let groups = self.parts.groups.len();
        let row = usize::from(from.0) * groups;
        self.transfer_of[row..row + groups].iter().any(Option::is_some)
    }

    pub(crate) fn product(&self, ix: ProductIx) -> &Product {
        &self.parts.products[usize::from(ix.0)]
    }

    pub(crate) fn row(&self, place: PlaceIx) -> Option<usize> {
        self.gate_row.get(usize::from(place.0)).copied().flatten().map(usize::from)
    }
}
