//! The tariffs that a validator knows, and which of them is in force when.
//!
//! In force is the highest version that has begun. Tariffs of the configuration's files have always
//! begun; published ones begin at the moment that the depot signed for their service date.

use std::collections::BTreeMap;

use fare::{Tariff, TariffSet, TariffSetError};
use model::{TariffVersion, Timestamp};

/// Never empty: the files of the configuration are its ground.
#[derive(Debug, Clone)]
pub(crate) struct Tariffs {
    files: TariffSet,
    /// When the published ones begin.
    begins: BTreeMap<TariffVersion, Timestamp>,
    set: TariffSet,
    changes: u64,
}

impl Tariffs {
    /// The files' tariffs alone.
    pub(crate) fn new(files: TariffSet) -> Self {
        Self { set: files.clone(), files, begins: BTreeMap::new(), changes: 0 }
    }

    /// Adds a published one. Where a file has the same version, what was published counts.
    pub(crate) fn publish(
        &mut self,
        starts_at: Timestamp,
        tariff: Tariff,
    ) -> Result<(), TariffSetError> {
        let version = tariff.version();
        match self.set.insert(tariff.clone()) {
            Ok(()) => {}
            Err(TariffSetError::VersionTaken(_)) if !self.begins.contains_key(&version) => {
                tracing::warn!(%version, "the published tariff counts, not the file");
                let others = self.set.iter().filter(|known| known.version() != version);
                let mut set = TariffSet::new(tariff);
                for other in others {
                    set.insert(other.clone())?;
                }
                self.set = set;
            }
            Err(error) => return Err(error),
        }
        self.begins.insert(version, starts_at);
        self.changes += 1;
        Ok(())
    }

    /// Forgets a published one.
    pub(crate) fn withdraw(&mut self, version: TariffVersion) {
        if self.begins.remove(&version).is_none() {
            return;
        }
        // What is published first: where a file has the same version, the file gives way.
        let published = self.set.iter().filter(|known| self.begins.contains_key(&known.version()));
        let files = self.files.iter().filter(|file| !self.begins.contains_key(&file.version()));
        let mut all = published.chain(files).cloned();
        let mut set = all.next().map_or_else(|| self.files.clone(), TariffSet::new);
        for tariff in all {
            let version = tariff.version();
            if let Err(error) = set.insert(tariff) {
                tracing::error!(%version, %error, "a tariff does not go with the others");
            }
        }
        self.set = set;
        self.changes += 1;
    }

    /// All of them.
    pub(crate) const fn set(&self) -> &TariffSet {
        &self.set
    }

    /// Counts the changes of [`Self::set`].
    pub(crate) const fn changes(&self) -> u64 {
        self.changes
    }

    /// The version in force at `now`; before the first has begun, the lowest.
    pub(crate) fn in_force(&self, now: Timestamp) -> TariffVersion {
        let begun = |tariff: &&Tariff| self.starts_at(tariff.version()) <= now;
        let first = || self.set.iter().next();
        let tariff = self.set.iter().filter(begun).last().or_else(first);
        tariff.expect("a set is never empty").version()
    }

    /// When another version comes into force after `now`.
    pub(crate) fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let current = self.in_force(now);
        let later = self.begins.iter().filter(|(version, _)| **version > current);
        later.map(|(_, starts_at)| *starts_at).filter(|at| *at > now).min()
    }

    fn starts_at(&self, version: TariffVersion) -> Timestamp {
        self.begins.get(&version).copied().unwrap_or(Timestamp(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tariff(version: u16, price: &str, currency: &str) -> Tariff {
        let text = format!(
            r#"
format = 1
version = {version}
network = "Test"
timezone = "UTC"
currency = "{currency}"
groups = ["bus"]
operator = [{{ id = "bus", name = "Bus" }}]
product = [{{ id = "p", name = "P", price = "{price}" }}]
place = [{{ id = "s", name = "S", lat = 0, lon = 0, kind = "stop" }}]
route = [
  {{ id = "7", name = "7", mode = "bus", operator = "bus", group = "bus", product = "p" }},
]
"#
        );
        Tariff::parse(&text).unwrap()
    }

    #[test]
    fn in_force_is_the_highest_version_that_has_begun() {
        let mut tariffs = Tariffs::new(TariffSet::new(tariff(1, "1.00", "EUR")));
        assert_eq!(tariffs.in_force(Timestamp(5)), TariffVersion(1));
        assert_eq!(tariffs.next_change(Timestamp(5)), None);
        for (version, starts) in [(2, 100), (3, 300), (4, 200)] {
            tariffs.publish(Timestamp(starts), tariff(version, "1.00", "EUR")).unwrap();
        }
        let at = |now| {
            let now = Timestamp(now);
            (tariffs.in_force(now).0, tariffs.next_change(now).map(|at| at.0))
        };
        assert_eq!(at(99), (1, Some(100)));
        assert_eq!(at(100), (2, Some(200)));
        assert_eq!(at(200), (4, None), "3 begins later under a higher version");
        assert_eq!(at(300), (4, None));
        assert_eq!(tariffs.set().iter().count(), 4, "open journeys end under their own");
        tariffs.withdraw(TariffVersion(4));
        assert_eq!(tariffs.in_force(Timestamp(250)), TariffVersion(2));
    }

    #[test]
    fn what_was_published_counts_over_a_file_of_the_same_version() {
        let mut tariffs = Tariffs::new(TariffSet::new(tariff(1, "1.00", "EUR")));
        let published = tariff(1, "2.00", "EUR");
        tariffs.publish(Timestamp(0), published.clone()).unwrap();
        assert_eq!(tariffs.set().newest(), &published);
        let foreign = tariff(2, "1.00", "USD");
        assert!(tariffs.publish(Timestamp(0), foreign).is_err());
        assert_eq!(tariffs.set().iter().count(), 1);
        tariffs.withdraw(TariffVersion(1));
        assert_eq!(tariffs.set().newest(), &tariff(1, "1.00", "EUR"));
    }
}
