//! How far a card has come towards the fare caps, in the words of its tariff (USR-1).

use alloc::{sync::Arc, vec::Vec};

use model::{Money, RiderClass};

use crate::{CapPeriod, Quote, TariffSet};

/// What a card has counted towards one cap in the period of a ride.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapProgress {
    /// The cap's name, for people.
    pub name: Arc<str>,
    /// How long it counts.
    pub period: CapPeriod,
    /// Counted after the ride.
    pub counted: Money,
    /// The most that is charged in the period, as wide as it has become.
    pub limit: Money,
}

impl Quote {
    /// Towards each cap for this rider category, after this tap; in the order of the tariff. A cap
    /// towards which nothing counts yet in its period is left out.
    pub fn cap_progress(&self, set: &TariffSet, class: RiderClass) -> Vec<CapProgress> {
        let (Some(counters), Some(tariff)) = (self.counters_after, set.get(self.priced_under))
        else {
            return Vec::new();
        };
        let terms = tariff.terms();
        let day = terms.calendar.service_day(self.began);
        let money = |minor| Money::new(minor, tariff.currency());
        let caps =
            terms.caps.iter().filter(|cap| cap.classes.is_empty() || cap.classes.contains(&class));
        caps.filter_map(|cap| {
            let counter = counters.0.iter().flatten().find(|counter| counter.cap == cap.number)?;
            let runs = counter.counted > 0 && cap.period.runs(counter.start(), day);
            runs.then(|| CapProgress {
                name: Arc::clone(&cap.name),
                period: cap.period,
                counted: money(i64::from(counter.counted)),
                limit: money(cap.price_at(counter.level)),
            })
        })
        .collect()
    }
}
