//! What a card is owed, with the reasons, which are worked out again and not stored.

use clearing::{RepairRule, Repriced};
use model::Money;

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
        let state = self.store.card_state(card)?.map(|(state, _)| state);
        let tariffs = self.currency();
        let currency = state.map_or(tariffs, |state| state.currency(tariffs));
        let money = |minor| Money::new(minor, currency);
        let mut worked_out = history.due(self.rules.tariffs(), &RepairRule::default());
        let days = days.iter().rev().map(|of_day| {
            let why = worked_out.days.remove(&of_day.day).unwrap_or_default().why;
            Adjustment {
                day: of_day.day,
                owed: money(of_day.booked.owed),
                open: money(of_day.open()),
                held: money(of_day.held),
                paid: money(of_day.booked.paid),
                forgiven: money(of_day.booked.forgiven()),
                why: why.into_iter().map(|tap| adjusted(tap, money)).collect(),
            }
        });
        Ok(days.collect())
    }
}

fn adjusted(tap: Repriced, money: impl Fn(i64) -> Money) -> AdjustedTap {
    let Repriced { charged, fare, steps, exchanged, repaired, not_passed, .. } = tap;
    let (charged, fare) = (money(charged), money(fare));
    AdjustedTap { charged, fare, steps, exchanged, repaired, not_passed }
}
