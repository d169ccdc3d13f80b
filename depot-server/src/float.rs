//! The float: what is held for holders of cards, where it stands, and how long nobody has moved it
//! (REC-15).

use std::fmt::Write as _;

use clearing::Account;
use ledger::AccountCode;
use model::{Currency, Money, Timestamp};
use settlement::{Dormancy, DormancyPolicy, Held};

use crate::{
    config::Float,
    export::quoted,
    intake::Workplace,
    store::{Store, StoreError},
};

/// Accounts other than cards' that hold what belongs to holders, or wait for what may.
const WAITING: [AccountCode; 8] = [
    AccountCode(3),  // gap-suspense
    AccountCode(4),  // difference
    AccountCode(5),  // unknown-origin
    AccountCode(8),  // refund-clearing
    AccountCode(10), // replaced
    AccountCode(14), // rider-due
    AccountCode(30), // load-orders
    AccountCode(32), // order-owed
];

/// The float at one moment.
#[derive(Debug, Clone)]
pub struct FloatReport {
    /// When.
    pub at: Timestamp,
    /// Of every amount.
    pub currency: Currency,
    /// What stands on cards, by inactivity.
    pub dormancy: Dormancy,
    /// Days at which the buckets begin.
    pub begins: Vec<u32>,
    /// What taps in doubt hold of the cards' value.
    pub pending: i64,
    /// What stands on other accounts that belong to holders or wait: word, accounts, amount.
    pub waiting: Vec<(&'static str, u64, i64)>,
    /// Cards whose value is unclaimed: handle, last use, amount. No names, no numbers.
    pub unclaimed: Vec<(String, Timestamp, i64)>,
}

impl FloatReport {
    /// Counts every card by the policy in force.
    pub fn new(
        store: &Store,
        policy: &Float,
        currency: Currency,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let small = Money::parse(&policy.small, currency).map_or(0, Money::minor);
        let unclaimed_after = (policy.unclaimed_days > 0).then_some(policy.unclaimed_days);
        let buckets = policy.bucket_days.clone();
        let policy = DormancyPolicy { buckets: buckets.clone(), unclaimed_after, small };
        let mut dormancy = Dormancy::new(policy, now);
        let (mut pending, mut unclaimed) = (0, Vec::new());
        store.each_card(|held| {
            pending += held.pending;
            if dormancy.take(held.used_at, held.value) {
                unclaimed.push((
                    store.card_handle(held.card).to_string(),
                    held.used_at,
                    held.value,
                ));
            }
        })?;
        unclaimed.sort_by_key(|(handle, used_at, _)| (*used_at, handle.clone()));
        let groups = store.account_groups()?;
        let waiting = WAITING.iter().filter_map(|code| {
            let (accounts, balance) = groups.get(&(code.0, currency.numeric()))?;
            Some((Account::word(*code)?, *accounts, balance.posted()))
        });
        let waiting = waiting.collect();
        Ok(Self { at: now, currency, dormancy, begins: buckets, pending, waiting, unclaimed })
    }

    /// All that is held: cards and what waits.
    pub fn total(&self) -> i64 {
        self.dormancy.total().value + self.waiting.iter().map(|(.., amount)| amount).sum::<i64>()
    }

    /// Rows for people and files: what, how many, how much.
    pub fn rows(&self) -> Vec<(String, u64, i64)> {
        let mut rows = Vec::new();
        for (at, Held { cards, value, .. }) in self.dormancy.buckets.iter().enumerate() {
            rows.push((bucket(&self.begins, at), *cards, *value));
        }
        rows.extend(self.waiting.iter().map(|(word, n, amount)| ((*word).to_owned(), *n, *amount)));
        rows.push(("held in all".to_owned(), self.dormancy.total().cards, self.total()));
        let of_that = |what: &str, held: Held| (format!("of that {what}"), held.cards, held.value);
        rows.push(of_that("unclaimed", self.dormancy.unclaimed));
        rows.push(("of that held by taps in doubt".to_owned(), 0, self.pending));
        rows.push(("of that owed by cards below zero".to_owned(), 0, self.dormancy.total().owed));
        rows
    }

    /// The report as CSV.
    pub fn to_csv(&self) -> String {
        let mut text = "what,count,currency,amount\n".to_owned();
        for (what, count, amount) in self.rows() {
            let (letters, amount) = (self.currency.letters(), Money::new(amount, self.currency));
            let _ = writeln!(text, "{},{count},{letters},{}", quoted(&what), amount.decimal());
        }
        text
    }

    /// The cards whose holders are to be told, as CSV.
    pub fn unclaimed_csv(&self) -> String {
        let mut text = "card,last used,currency,amount\n".to_owned();
        for (handle, used_at, amount) in &self.unclaimed {
            let day = model::ServiceDate(u32::try_from(used_at.secs() / 86_400).unwrap_or(0));
            let amount = Money::new(*amount, self.currency).decimal();
            let _ = writeln!(text, "{handle},{day},{},{amount}", self.currency.letters());
        }
        text
    }
}

fn bucket(begins: &[u32], at: usize) -> String {
    let days = |at: usize| begins.get(at).map(u32::to_string);
    match (at.checked_sub(1).and_then(days), days(at)) {
        (None, None) => "cards".to_owned(),
        (None, Some(end)) => format!("cards used within {end} days"),
        (Some(begin), Some(end)) => format!("cards not used for {begin} to {end} days"),
        (Some(begin), None) => format!("cards not used for {begin} days"),
    }
}

/// The float as it stands now.
pub fn float(place: &Workplace, policy: &Float) -> Result<FloatReport, StoreError> {
    FloatReport::new(&place.store, policy, place.rules.currency(), place.clock.now())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::days::tests::Rig;

    #[test]
    fn rec_15_the_float_is_what_the_ledger_holds_and_dormant_cards_are_listed_without_names() {
        let mut rig = Rig::new();
        for (card, after_noon_s) in [(0, 0), (1, 60), (2, 120)] {
            rig.board(0, card, after_noon_s);
        }
        rig.deliver(0);
        rig.at(3 * 366 * 86_400);
        rig.board(0, 0, 3 * 366 * 86_400);
        rig.deliver(0);
        let policy = Float { unclaimed_days: 1000, ..Float::default() };
        let report = float(&rig.place, &policy).unwrap();
        let cards = 5 * i64::from(crate::workload::OPENING) - 4 * 150;
        assert_eq!((report.total(), report.dormancy.total().cards), (cards, 5));
        let counts: Vec<_> = report.dormancy.buckets.iter().map(|held| held.cards).collect();
        assert_eq!(counts, [1, 0, 4, 0]);
        assert_eq!(report.unclaimed.len(), 4);
        let csv = report.to_csv();
        assert!(csv.contains("cards not used for 730 to 1825 days,4,EUR,"), "{csv}");
        let list = report.unclaimed_csv();
        assert!(list.contains(",2027-01-15,EUR,9998.50\n"), "{list}");
        let number = crate::workload::Cards::id(1).to_hex();
        assert!(!list.to_lowercase().contains(&number.to_lowercase()));
    }
}
