//! What lists are good for here: tariffs, load orders, cards to refuse, what validators are to be.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use card::{SealedOrder, read_orders};
use fare::Tariff;
use fleet_sync::{open_tariff, with_any};
use model::{CardId, TariffVersion, Timestamp};
use validation::Hotlist;
use wire::{Desired, DesiredStates, HeldList, ListKind, ReleasePlans};

use super::{Settings, config::ConfigList, tariffs::Tariffs};

/// Load orders by card, as a list of one version has them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Orders {
    pub(crate) version: u64,
    pub(crate) by_card: Arc<BTreeMap<CardId, SealedOrder>>,
}

/// Cards to refuse, as a list of one version has them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Blocked {
    pub(crate) version: u64,
    pub(crate) cards: Hotlist,
}

/// What validators are to be, as a list of one version has it.
#[derive(Debug, Clone, Default)]
pub(super) struct DesiredList {
    pub(super) version: u64,
    states: DesiredStates,
}

impl DesiredList {
    /// What this validator is to be now.
    pub(super) fn of(&self, settings: &Settings) -> Option<&Desired> {
        steering::desired(&self.states, settings.validator, settings.clock.now())
    }

    /// When that ends.
    pub(super) fn next_end(&self, settings: &Settings) -> Option<Timestamp> {
        steering::next_end(&self.states, settings.validator, settings.clock.now())
    }
}

impl Blocked {
    /// Its version, as entries name it: none before the first list.
    pub(crate) fn named(&self) -> Option<u64> {
        (self.version > 0).then_some(self.version)
    }
}

/// The versions that taps are made under: whoever makes them says so here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Applied {
    orders: Arc<AtomicU64>,
    hotlist: Arc<AtomicU64>,
    config: Arc<AtomicU64>,
}

impl Applied {
    /// What is here at the start counts at once.
    pub(super) fn new(orders: u64, hotlist: u64, config: u64) -> Self {
        let [orders, hotlist, config] = [orders, hotlist, config].map(|at| Arc::new(at.into()));
        Self { orders, hotlist, config }
    }

    /// Taps are made under these orders from now on.
    pub(crate) fn orders(&self, version: u64) {
        self.orders.store(version, Ordering::Release);
    }

    /// Cards are refused by this list from now on.
    pub(crate) fn hotlist(&self, version: u64) {
        self.hotlist.store(version, Ordering::Release);
    }

    /// Taps are made under these settings from now on.
    pub(crate) fn config(&self, version: u64) {
        self.config.store(version, Ordering::Release);
    }

    /// Whether a list that is here counts already.
    pub(super) fn has(&self, list: &HeldList) -> bool {
        match list.kind {
            ListKind::ACTIONS => list.version <= self.orders.load(Ordering::Acquire),
            ListKind::HOTLIST => list.version <= self.hotlist.load(Ordering::Acquire),
            ListKind::CONFIG => list.version <= self.config.load(Ordering::Acquire),
            _ => true,
        }
    }
}

/// What a list is good for here.
pub(super) enum Usable {
    /// The tariffs, with this list among them.
    Tariffs(Tariffs),
    /// The orders.
    Orders(Orders),
    /// The cards to refuse.
    Hotlist(Blocked),
    /// What validators are to be.
    Desired(DesiredList),
    /// What is set here.
    Config(ConfigList),
    /// Which releases go where.
    Plans(ReleasePlans),
    /// A release, whose program is kept elsewhere.
    Image,
}

impl Settings {
    pub(super) fn take_plans(&self, plans: ReleasePlans) {
        if let Some(releases) = &self.releases {
            releases.take_plans(plans);
        }
    }
}

/// What the list is good for, or why it is of no use here.
pub(super) fn usable(
    settings: &Settings,
    tariffs: &Tariffs,
    list: HeldList,
    content: &[u8],
) -> Result<Usable, String> {
    if list.kind == ListKind::ACTIONS {
        let by_card = read_orders(content).map_err(|e| crate::chain(&e))?;
        return Ok(Usable::Orders(Orders { version: list.version, by_card: by_card.into() }));
    }
    if list.kind == ListKind::HOTLIST {
        let cards = Hotlist::parse(content.to_vec()).map_err(|e| e.to_string())?;
        return Ok(Usable::Hotlist(Blocked { version: list.version, cards }));
    }
    if list.kind == ListKind::DESIRED {
        let states = DesiredStates::decode(content).map_err(|e| crate::chain(&e))?;
        return Ok(Usable::Desired(DesiredList { version: list.version, states }));
    }
    if list.kind == ListKind::CONFIG {
        return ConfigList::read(&settings.own, list.version, content).map(Usable::Config);
    }
    if list.kind == ListKind::PLAN {
        return ReleasePlans::decode(content).map(Usable::Plans).map_err(|e| crate::chain(&e));
    }
    if list.kind == ListKind::IMAGE
        && let Some(releases) = &settings.releases
    {
        return releases.take_image(list, content).map(|()| Usable::Image);
    }
    let Some(version) = tariff_version(list) else {
        return Err("this version of the validator does not know its kind".to_owned());
    };
    let (published, _) = with_any(&settings.depot_keys, |key| open_tariff(content, key))
        .map_err(|e| crate::chain(&e))?;
    let tariff = Tariff::parse(&published.text).map_err(|found| {
        found.first().map_or_else(|| "it does not read".to_owned(), ToString::to_string)
    })?;
    if published.version != version || tariff.version() != version {
        return Err("it is of another version than the manifest says".to_owned());
    }
    if tariff.place_ix(&settings.place).is_none() {
        return Err(format!("it has no place {:?}, where this validator stands", settings.place));
    }
    if let Some(route) = settings.route.as_ref().filter(|id| tariff.route_ix(id).is_none()) {
        return Err(format!("it has no route {route:?}, which this validator serves"));
    }
    let mut tariffs = tariffs.clone();
    tariffs.publish(published.starts_at, tariff).map_err(|e| e.to_string())?;
    Ok(Usable::Tariffs(tariffs))
}

pub(super) fn tariff_version(list: HeldList) -> Option<TariffVersion> {
    let version = u16::try_from(list.version).ok()?;
    (list.kind == ListKind::TARIFF).then_some(TariffVersion(version))
}

pub(super) fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn secs(at: Option<Timestamp>) -> i64 {
    at.map_or(0, |at| i64::try_from(at.secs()).unwrap_or(i64::MAX))
}
