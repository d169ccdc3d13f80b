//! What a card is owed, with the reasons, which are worked out again and not stored.

use clearing::{RepairRule, Repriced};

use super::ReadModel;
use crate::{
    http::views::{AdjustedTap, Adjustment, CardHandle},
    store::{StoreError, due},
};

impl ReadModel {
    pub(super) fn list_adjustments(
        &self,
        handle: CardHandle,
    ) -> Result<Vec<Adjustment>, StoreError> {
        let Some(card) = self.card_of(handle)? else { return Ok(Vec::new()) };
        let days = self.store.owed(card)?;
        if days.is_empty() {
            return Ok(Vec::new());
        }
        let history = due::history(&*self.store.reader()?, card)?;
        let mut worked_out = history.due(self.rules.tariffs(), &RepairRule::default());
        let days = days.iter().rev().map(|of_day| {
            let why = worked_out.days.remove(&of_day.day).unwrap_or_default().why;
            Adjustment {
                day: of_day.day,
                owed: self.money(of_day.booked.owed),
                open: self.money(of_day.open()),
                held: self.money(of_day.held),
                paid: self.money(of_day.booked.paid),
                forgiven: self.money(of_day.booked.forgiven()),
                why: why.into_iter().map(|tap| self.adjusted(tap)).collect(),
            }
        });
        Ok(days.collect())
    }

    fn adjusted(&self, tap: Repriced) -> AdjustedTap {
        let Repriced { charged, fare, steps, repaired, .. } = tap;
        AdjustedTap { charged: self.money(charged), fare: self.money(fare), steps, repaired }
    }
}
