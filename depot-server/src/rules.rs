//! The rules of the running server: a tariff that is published while it runs joins them.
//!
//! Every part holds one handle and reads through it. Whoever needs the same rules for a whole step
//! borrows once, and keeps what it borrowed to its end.

use std::{
    ops::Deref,
    sync::{Arc, PoisonError, RwLock},
};

use clearing::Rules;
use fare::{Tariff, TariffSetError};

/// A handle on the rules. Cheap to clone; clones agree.
#[derive(Debug, Clone)]
pub struct LiveRules(Arc<RwLock<&'static Rules>>);

impl From<Rules> for LiveRules {
    fn from(rules: Rules) -> Self {
        Self(Arc::new(RwLock::new(kept(rules))))
    }
}

impl LiveRules {
    /// Adds a published tariff; one that is known changes nothing.
    pub fn add(&self, tariff: Tariff) -> Result<(), TariffSetError> {
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if held.tariffs().get(tariff.version()) == Some(&tariff) {
            return Ok(());
        }
        let mut tariffs = held.tariffs().clone();
        tariffs.insert(tariff)?;
        *held = kept(Rules::new(tariffs));
        Ok(())
    }
}

impl Deref for LiveRules {
    type Target = Rules;
    fn deref(&self) -> &Rules {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rules that were in force once stay for the life of the process, because they are lent out: some
/// hundred bytes for each publication, as the tariffs in them are shared.
fn kept(rules: Rules) -> &'static Rules {
    Box::leak(Box::new(rules))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tariff_joins_all_handles_and_what_was_borrowed_stays() {
        let live = LiveRules::from(crate::workload::rules());
        let (other, before) = (live.clone(), &*live);
        let text = before.tariffs().newest().to_toml();
        let next = Tariff::parse(&text.replacen("version = 1", "version = 2", 1)).unwrap();
        live.add(next.clone()).unwrap();
        live.add(next.clone()).unwrap();
        assert_eq!(other.tariffs().newest(), &next);
        assert_eq!(before.tariffs().iter().count(), 1);
        let clash = Tariff::parse(&next.to_toml().replace("1.00", "1.10"));
        if let Ok(clash) = clash
            && clash != next
        {
            assert!(live.add(clash).is_err(), "a version has one content");
        }
    }
}
