//! Loads that cards show and nobody ordered, sold or took money for (I7).
//!
//! Only the intake can tell: whether a desk or an order accounts for a load stands beside the
//! card's chain. The item is that of the record, so whoever finds it again finds the same.

use alloc::{format, vec};

use model::{CardId, CardRecord, Timestamp};

use crate::{
    Evidence, Exception, ExceptionChange, ExceptionKind, Rules, exception::CardItems,
    state::CardState,
};

/// The work items about one load of a card.
#[derive(Debug, Clone, Copy)]
pub struct LoadItem<'a> {
    items: CardItems,
    record: &'a CardRecord,
}

impl<'a> LoadItem<'a> {
    /// Of a record that is a load of a card in this state.
    pub fn new(
        (card, state): (CardId, &CardState),
        record: &'a CardRecord,
        now: Timestamp,
        rules: &Rules,
    ) -> Self {
        let tariff = rules.currency();
        let items = CardItems { card, currency: state.currency(tariff), tariff, now };
        Self { items, record }
    }

    /// No desk and no order of these books accounts for it.
    pub fn unexplained(&self) -> ExceptionChange {
        let amount = i64::from(self.record.amount);
        let finding = format!(
            "record {} loaded {}, and no desk and no order of these books did that",
            self.record.ctr,
            self.items.money(amount)
        );
        let evidence =
            vec![Evidence { title: "record of the load", tap: None, record: Some(*self.record) }];
        let kind = ExceptionKind::UnexplainedLoad;
        let item = self.items.item(kind, &self.key(), amount, finding, evidence);
        ExceptionChange::Opened(Exception { validator: Some(self.record.validator), ..item })
    }

    /// The desk that did it is known, or another record holds its counter.
    pub fn explained(&self, reason: &'static str) -> ExceptionChange {
        let kind = ExceptionKind::UnexplainedLoad;
        let id = self.items.id(kind, &self.key());
        ExceptionChange::Resolved { id, kind, at: self.items.now, reason }
    }

    fn key(&self) -> [u8; CardRecord::LEN] {
        self.record.to_bytes().expect("a learned record has been encoded before")
    }
}
