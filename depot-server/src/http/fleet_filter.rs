//! Which validators a list shows, and in which order. One filter serves the page, the figures of
//! the overview and their links, so they cannot differ.

use std::cmp::Ordering;

use model::{RouteIx, TapRole, TariffVersion};

use super::{
    Names, Problem,
    query::{Params, Query},
    views::{DrainState, FleetRow, LinkState, ServiceState},
    words::{Shown, Tone},
};

/// A clock that is off by more than this is listed.
pub(super) const CLOCK_OFF_MS: i64 = 30_000;

/// What else may be wrong with a validator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// Prices with an older tariff than the newest in the fleet.
    OldTariff,
    /// A published list is not there, or something is wrong with its lists.
    Lists,
    /// Its clock is off.
    Clock,
}

impl Flaw {
    pub(super) const ALL: [Self; 3] = [Self::OldTariff, Self::Lists, Self::Clock];

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::OldTariff => "old-tariff",
            Self::Lists => "lists",
            Self::Clock => "clock",
        }
    }

    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::OldTariff => "Old tariff",
            Self::Lists => "Lists behind",
            Self::Clock => "Clock off",
        }
    }
}

/// By what the list is sorted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Order {
    /// The worst first, then by id.
    #[default]
    Worst,
    /// By id.
    Id,
    /// By place.
    Place,
    /// By what is not here yet.
    Unsent,
    /// By the newest tap.
    LastTap,
    /// By tap time.
    P95,
}

impl Order {
    pub(super) const ALL: [Self; 6] =
        [Self::Worst, Self::Id, Self::Place, Self::Unsent, Self::LastTap, Self::P95];

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Worst => "worst",
            Self::Id => "id",
            Self::Place => "place",
            Self::Unsent => "unsent",
            Self::LastTap => "last-tap",
            Self::P95 => "p95",
        }
    }

    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Worst => "Worst first",
            Self::Id => "Validator",
            Self::Place => "Place",
            Self::Unsent => "Unsent",
            Self::LastTap => "Last tap",
            Self::P95 => "Slowest",
        }
    }
}

/// Which validators, in which order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FleetFilter {
    /// Words that all occur in id, place, route, software or reason.
    pub(super) q: String,
    pub(super) link: Option<LinkState>,
    pub(super) drain: Option<DrainState>,
    pub(super) service: Option<ServiceState>,
    pub(super) role: Option<TapRole>,
    pub(super) route: Option<RouteIx>,
    pub(super) flaw: Option<Flaw>,
    pub(super) order: Order,
}

/// The newest tariff that any validator has.
pub(super) fn newest_tariff(fleet: &[FleetRow]) -> Option<TariffVersion> {
    fleet.iter().filter_map(|row| row.tariff).max()
}

/// How bad a validator's state is: the worst of the three facts.
pub(super) fn worst(row: &FleetRow) -> Tone {
    row.link.sign().tone.min(row.drain.sign().tone).min(row.service.sign().tone)
}

impl FleetFilter {
    pub(super) fn parse(params: &Params) -> Result<Self, Problem> {
        let word_of = |name: &'static str, words: &[&str]| match params.text(name) {
            None => Ok(None),
            Some(word) => words.iter().position(|w| *w == word).map(Some).ok_or_else(|| {
                let known = words.join(", ");
                Problem::BadRequest(format!("The address says {name}={word}: use one of {known}."))
            }),
        };
        Ok(Self {
            q: params.text("q").unwrap_or_default().to_owned(),
            link: params.state("link")?,
            drain: params.state("drain")?,
            service: params.state("service")?,
            role: params.state("role")?,
            route: params.parsed::<u16>("route")?.map(RouteIx),
            flaw: word_of("flaw", &Flaw::ALL.map(Flaw::word))?.map(|i| Flaw::ALL[i]),
            order: word_of("order", &Order::ALL.map(Order::word))?
                .map_or(Order::default(), |i| Order::ALL[i]),
        })
    }

    pub(super) fn query(&self) -> Query {
        Query::default()
            .with("q", Some(&self.q))
            .state("link", self.link)
            .state("drain", self.drain)
            .state("service", self.service)
            .state("role", self.role)
            .with("route", self.route)
            .with("flaw", self.flaw.map(Flaw::word))
            .with("order", (self.order != Order::default()).then_some(self.order.word()))
    }

    /// The address of this list.
    pub(super) fn address(&self) -> String {
        self.query().on("/fleet")
    }

    /// Whether the list holds `row`; `newest` is the newest tariff of the whole fleet.
    pub(super) fn holds(
        &self,
        row: &FleetRow,
        newest: Option<TariffVersion>,
        names: &Names,
    ) -> bool {
        fn same<T: PartialEq + Copy>(wanted: Option<T>, found: Option<T>) -> bool {
            wanted.is_none() || wanted == found
        }
        same(self.link, Some(row.link))
            && same(self.drain, Some(row.drain))
            && same(self.service, Some(row.service))
            && same(self.role, row.role)
            && same(self.route, row.route)
            && self.flaw.is_none_or(|flaw| has(row, flaw, newest))
            && (self.q.is_empty() || {
                let text = searched(row, names);
                self.q.to_lowercase().split_whitespace().all(|word| text.contains(word))
            })
    }

    /// The validators of the list, in its order.
    pub(super) fn of<'a>(&self, fleet: &'a [FleetRow], names: &Names) -> Vec<&'a FleetRow> {
        let newest = newest_tariff(fleet);
        let mut rows: Vec<_> = fleet.iter().filter(|row| self.holds(row, newest, names)).collect();
        rows.sort_by(|a, b| self.compare(a, b, names).then_with(|| a.id.cmp(&b.id)));
        rows
    }

    fn compare(&self, a: &FleetRow, b: &FleetRow, names: &Names) -> Ordering {
        let place = |row: &FleetRow| row.place.map(|p| names.place(p));
        match self.order {
            Order::Worst => worst(a).cmp(&worst(b)),
            Order::Id => Ordering::Equal,
            Order::Place => place(a).cmp(&place(b)),
            Order::Unsent => b.unsent.cmp(&a.unsent),
            Order::LastTap => a.last_tap.cmp(&b.last_tap),
            Order::P95 => b.tap_p95_ms.cmp(&a.tap_p95_ms),
        }
    }
}

fn has(row: &FleetRow, flaw: Flaw, newest: Option<TariffVersion>) -> bool {
    match flaw {
        Flaw::OldTariff => row.tariff.is_some() && row.tariff < newest,
        Flaw::Lists => row.lists_behind,
        Flaw::Clock => row.clock_offset_ms.is_some_and(|off| off.abs() > CLOCK_OFF_MS),
    }
}

/// Everything about a row that the search looks at, in lower case.
fn searched(row: &FleetRow, names: &Names) -> String {
    let place = row.place.map(|p| names.place(p)).unwrap_or_default();
    let route = row.route.map(|r| names.route(r)).unwrap_or_default();
    format!("{} {place} {route} {} {}", row.id, row.software, row.service_reason).to_lowercase()
}
