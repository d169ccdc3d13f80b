//! Several versions of a tariff side by side: a journey ends under the table of its tap-in.

use alloc::{sync::Arc, vec::Vec};

use model::{Currency, PlaceIx, RouteIx, ServiceDate, TariffVersion, Timestamp};

use crate::{GroupIx, Tariff};

/// Tariff versions in ascending order, all in one currency. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TariffSet {
    versions: Vec<Arc<Tariff>>,
}

/// Why a tariff cannot join the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TariffSetError {
    /// One version has one content for ever.
    #[error("tariff version {0} is already known with other contents: use a new version number")]
    VersionTaken(TariffVersion),
    /// A penalty under one version and a fare under another must add up.
    #[error("tariff is in {new}, the versions before it are in {known}: currencies cannot mix")]
    OtherCurrency {
        /// Of the new tariff.
        new: Currency,
        /// Of the set.
        known: Currency,
    },
}

impl TariffSet {
    /// A set of one.
    pub fn new(tariff: Tariff) -> Self {
        Self { versions: alloc::vec![Arc::new(tariff)] }
    }

    /// Adds a version; the same version with the same contents changes nothing.
    pub fn insert(&mut self, tariff: Tariff) -> Result<(), TariffSetError> {
        let known = self.newest().currency();
        if tariff.currency() != known {
            return Err(TariffSetError::OtherCurrency { new: tariff.currency(), known });
        }
        match self.find(tariff.version()) {
            Ok(i) if *self.versions[i] == tariff => Ok(()),
            Ok(_) => Err(TariffSetError::VersionTaken(tariff.version())),
            Err(i) => {
                self.versions.insert(i, Arc::new(tariff));
                Ok(())
            }
        }
    }

    /// One version.
    pub fn get(&self, version: TariffVersion) -> Option<&Tariff> {
        self.find(version).ok().map(|i| &*self.versions[i])
    }

    /// Whether a tap under this version has to read the card's counters.
    pub fn needs_counters(&self, version: TariffVersion) -> bool {
        self.get(version).is_some_and(Tariff::needs_counters)
    }

    /// The day by which a card's validity is judged, by the newest version.
    pub fn card_day(&self, at: Timestamp) -> ServiceDate {
        self.newest().terms().calendar.card_day(at)
    }

    /// The highest version.
    pub fn newest(&self) -> &Tariff {
        self.versions.last().expect("a set is never empty")
    }

    /// All versions, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Tariff> {
        self.versions.iter().map(|tariff| &**tariff)
    }

    fn find(&self, version: TariffVersion) -> Result<usize, usize> {
        self.versions.binary_search_by_key(&version, |tariff| tariff.version())
    }
}

/// The same place in another version, by its id.
pub(crate) fn place_in(from: &Tariff, place: PlaceIx, to: &Tariff) -> Option<PlaceIx> {
    if from.version() == to.version() {
        return to.place(place).map(|_| place);
    }
    to.place_ix(&from.place(place)?.id)
}

/// The same route in another version, by its id.
pub(crate) fn route_in(from: &Tariff, route: RouteIx, to: &Tariff) -> Option<RouteIx> {
    if from.version() == to.version() {
        return to.route(route).map(|_| route);
    }
    to.route_ix(&from.route(route)?.id)
}

/// The same group in another version, by its name; where rules price, the same state of a run.
pub(crate) fn group_in(from: &Tariff, group: GroupIx, to: &Tariff) -> Option<GroupIx> {
    if from.version() == to.version() {
        return Some(group);
    }
    let (name, product) = from.run_state(group)?;
    let all = (0..=u8::MAX).map(GroupIx);
    all.take(to.run_states()).find(|ix| to.run_state(*ix) == Some((name, product)))
}
