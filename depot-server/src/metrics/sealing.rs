//! How far the fleet is with sealed lists (ADR-0032).

use super::{Entry, Kind, Metrics};

pub(super) const LIST_KEYS: Entry = Entry {
    name: "tapline_fleet_list_keys",
    kind: Kind::Gauge,
    label: Some(("of", &["cannot", "lacking"])),
    help: "Validators that cannot read sealed lists, and those that have not said that they have \
           the newest list key.",
    good: "cannot 0: before that lists are not sealed, after it those keep their old ones; lacking \
           falls to the parked ones: `depot-server list-keys show`.",
};

impl Metrics {
    /// What a survey of the fleet found.
    pub fn sealing(&self, cannot: usize, lacking: usize) {
        for (of, count) in [("cannot", cannot), ("lacking", lacking)] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.list_keys.with_label_values(&[of]).set(count);
        }
    }
}
