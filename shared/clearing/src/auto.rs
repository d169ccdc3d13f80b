//! Standing instructions: a card is topped up whenever the books see it below a threshold.
//!
//! Invariants: a card has one instruction at most, and while any order of the card is on its way
//! none is added, so one fall is one order; what is ordered within a day is bounded; an instruction
//! whose payment failed, or whose order was given back, orders nothing until somebody sets it
//! again.

use alloc::{format, string::String, vec::Vec};

use model::{CardId, ChannelId, Currency, Money, Timestamp};

use crate::{Exception, ExceptionChange, ExceptionId, ExceptionKind, exception::difference};

/// A card's standing instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AutoTopUp {
    /// For which card.
    pub card: CardId,
    /// Below this, minor units.
    pub below: u32,
    /// So much is ordered, minor units.
    pub amount: u32,
    /// Who collects the money.
    pub channel: ChannelId,
    /// At most so much in 24 hours, minor units.
    pub per_day_max: u32,
    /// Why it orders nothing; `None` while it does.
    pub stopped: Option<AutoStop>,
}

/// Why an instruction orders nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AutoStop {
    /// Its holder, or somebody for them, said so.
    Asked,
    /// The channel could not collect the money.
    Failed,
    /// The order that it made was given back.
    GivenBack,
}

impl AutoStop {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Asked, Self::Failed, Self::GivenBack];

    /// The word in the store, the journal and on screens.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Failed => "failed",
            Self::GivenBack => "given-back",
        }
    }

    /// From its word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stop| stop.word() == word)
    }
}

/// What the books know of a card, as far as its instruction asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AutoSeen {
    /// On its newest known record, minor units.
    pub balance: i64,
    /// An order of the card is on its way, whoever paid it.
    pub is_awaited: bool,
    /// What instructions ordered for it within the last 24 hours, minor units.
    pub ordered_in_a_day: i64,
}

impl AutoTopUp {
    /// Whether an order is made now.
    pub fn orders(&self, seen: AutoSeen) -> bool {
        let within = seen.ordered_in_a_day.saturating_add(self.amount.into());
        self.stopped.is_none()
            && !seen.is_awaited
            && seen.balance < i64::from(self.below)
            && within <= i64::from(self.per_day_max)
    }

    /// The work item of an instruction that stopped by itself.
    fn item(&self, currency: Currency, now: Timestamp) -> Option<Exception> {
        let why = match self.stopped? {
            AutoStop::Asked => return None,
            AutoStop::Failed => "the channel could not collect the money",
            AutoStop::GivenBack => "its order was given back",
        };
        let kind = ExceptionKind::TopUpStopped;
        let amount = Money::new(self.amount.into(), currency);
        Some(Exception {
            id: ExceptionId::new(kind, &self.card.0, &[]),
            kind,
            card: Some(self.card),
            validator: None,
            amount: Some(amount),
            opened_at: now,
            finding: sentence(amount, why),
            evidence: Vec::new(),
        })
    }

    /// What opens and resolves when this takes the place of `before`.
    pub fn items_since(
        &self,
        before: Option<&Self>,
        currency: Currency,
        now: Timestamp,
    ) -> Vec<ExceptionChange> {
        let of = |auto: &Self| auto.item(currency, now).into_iter().collect::<Vec<_>>();
        let old = before.map(of).unwrap_or_default();
        difference(&old, of(self), now, |_| "the instruction was set again, or ended")
    }
}

fn sentence(amount: Money, why: &str) -> String {
    format!(
        "the card is no longer topped up with {amount} by itself: {why}; tell the holder, and set \
         it again once the means of payment is good, or stop it"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_orders_below_its_threshold_once_and_within_its_bound() {
        let auto = AutoTopUp {
            card: CardId([4; 7]),
            below: 500,
            amount: 2_000,
            channel: ChannelId(9),
            per_day_max: 4_000,
            stopped: None,
        };
        let seen = |balance, is_awaited, ordered_in_a_day| AutoSeen {
            balance,
            is_awaited,
            ordered_in_a_day,
        };
        for (balance, is_awaited, ordered, orders) in [
            (500, false, 0, false),
            (499, false, 0, true),
            (-100, false, 0, true),
            (499, true, 0, false),
            (499, false, 2_000, true),
            (499, false, 2_001, false),
        ] {
            assert_eq!(auto.orders(seen(balance, is_awaited, ordered)), orders, "{balance}");
        }
        for stopped in AutoStop::ALL {
            let auto = AutoTopUp { stopped: Some(stopped), ..auto };
            assert!(!auto.orders(seen(0, false, 0)));
            assert_eq!(AutoStop::from_word(stopped.word()), Some(stopped));
        }
    }
}
