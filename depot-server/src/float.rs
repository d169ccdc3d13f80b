//! The float: what is held for holders of cards, where it stands, and how long nobody has moved it
//! (REC-15). One report an issuer and currency: what is held in one is never added to another, and
//! what one issuer owes no other does (ADR-0023). What is paid for and not on its card yet, and
//! what channels handed in too much, is the first issuer's.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
};

use clearing::Account;
use ledger::AccountCode;
use model::{CardId, Currency, IssuerId, Money, Timestamp};
use settlement::{Dormancy, DormancyPolicy, Held};

use crate::{
    config::Float,
    export::quoted,
    intake::Workplace,
    store::{HeldCard, Store, StoreError, issuer_word},
};

/// Accounts other than cards' that hold what belongs to holders, or wait for what may.
const WAITING: [AccountCode; 11] = [
    AccountCode(3),  // gap-suspense
    AccountCode(4),  // difference
    AccountCode(5),  // unknown-origin
    AccountCode(8),  // refund-clearing
    AccountCode(10), // replaced
    AccountCode(14), // rider-due
    AccountCode(16), // credit-line: on cards, and not their holders'
    AccountCode(18), // account-prepaid
    AccountCode(30), // load-orders
    AccountCode(32), // order-owed
    AccountCode(34), // channel-unmatched
];

/// The float at one moment.
#[derive(Debug, Clone)]
pub struct FloatReport {
    /// When.
    pub at: Timestamp,
    /// Of every amount.
    pub currency: Currency,
    /// Whose cards; `None` is the issuer that the books began with.
    pub issuer: Option<IssuerId>,
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
    /// Counts every card by the policy in force: the tariff's currency first, then every other in
    /// which something is held.
    pub fn of_all(
        store: &Store,
        policy: &Float,
        tariffs: Currency,
        now: Timestamp,
    ) -> Result<Vec<Self>, StoreError> {
        let empty = |(issuer, currency)| move || Self::empty(policy, issuer, currency, now);
        let mut reports = BTreeMap::from([((None, tariffs), empty((None, tariffs))())]);
        let mut issuers = HashMap::new();
        store.each_card(|held| {
            let of = (held.issuer, held.ledger.unwrap_or(tariffs));
            reports.entry(of).or_insert_with(empty(of)).take(store, &held);
            issuers.extend(held.issuer.map(|issuer| (held.card, issuer)));
        })?;
        for ((issuer, code, currency), (accounts, amount)) in waiting(store, &issuers)? {
            if let Some(word) = Account::word(code) {
                let of = (issuer, currency);
                let report = reports.entry(of).or_insert_with(empty(of));
                report.waiting.push((word, accounts, amount));
            }
        }
        let mut reports: Vec<_> = reports.into_values().collect();
        for report in &mut reports {
            report.unclaimed.sort_by_key(|(handle, used_at, _)| (*used_at, handle.clone()));
        }
        reports.sort_by_key(|of| (of.issuer, of.currency != tariffs, of.currency));
        Ok(reports)
    }

    fn empty(policy: &Float, issuer: Option<IssuerId>, currency: Currency, now: Timestamp) -> Self {
        // As many decimals as a currency has: where the policy has more, nothing is small.
        let small = Money::parse(&policy.small, currency).map_or(0, Money::minor);
        let unclaimed_after = (policy.unclaimed_days > 0).then_some(policy.unclaimed_days);
        let begins = policy.bucket_days.clone();
        let policy = DormancyPolicy { buckets: begins.clone(), unclaimed_after, small };
        let dormancy = Dormancy::new(policy, now);
        let (waiting, unclaimed) = (Vec::new(), Vec::new());
        Self { at: now, currency, issuer, dormancy, begins, pending: 0, waiting, unclaimed }
    }

    fn take(&mut self, store: &Store, held: &HeldCard) {
        self.pending += held.pending;
        if self.dormancy.take(held.used_at, held.value) {
            let handle = store.card_handle(held.card).to_string();
            self.unclaimed.push((handle, held.used_at, held.value));
        }
    }

    /// All that is held: cards and what waits.
    pub fn total(&self) -> i64 {
        self.dormancy.total().value + self.waiting.iter().map(|(.., amount)| amount).sum::<i64>()
    }

    /// Rows for people and files: what, how many, how much.
    pub fn rows(&self) -> Vec<(String, u64, Money)> {
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
        let money = |(what, n, minor)| (what, n, Money::new(minor, self.currency));
        rows.into_iter().map(money).collect()
    }
}

/// What waits on other accounts, and on how many of them.
type Waiting = BTreeMap<(Option<IssuerId>, AccountCode, Currency), (u64, i64)>;

/// By issuer, where there are others than the first: their cards are named.
fn waiting(store: &Store, issuers: &HashMap<CardId, IssuerId>) -> Result<Waiting, StoreError> {
    let mut waiting = Waiting::new();
    if issuers.is_empty() {
        for ((code, currency), (accounts, balance)) in store.account_groups()? {
            let code = AccountCode(code);
            if let (true, Ok(currency)) =
                (WAITING.contains(&code), Currency::from_numeric(currency))
            {
                waiting.insert((None, code, currency), (accounts, balance.posted()));
            }
        }
        return Ok(waiting);
    }
    store.each_account(|id, balance| {
        if WAITING.contains(&id.code()) {
            let account = Account::parse(id);
            let of_card = account.and_then(Account::card);
            let issuer = match of_card {
                Some(card) => issuers.get(&card).copied(),
                None => account.and_then(Account::issuer),
            };
            let entry = waiting.entry((issuer, id.code(), id.currency())).or_default();
            *entry = (entry.0 + 1, entry.1 + balance.posted());
        }
    })?;
    Ok(waiting)
}

/// The reports as CSV.
pub fn to_csv(reports: &[FloatReport]) -> String {
    let mut text = "what,count,currency,amount,issuer\n".to_owned();
    for report in reports {
        let issuer = issuer_word(report.issuer);
        for (what, count, amount) in report.rows() {
            let (letters, decimal) = (amount.currency().letters(), amount.decimal());
            let _ = writeln!(text, "{},{count},{letters},{decimal},{issuer}", quoted(&what));
        }
    }
    text
}

/// The cards whose holders are to be told, as CSV.
pub fn unclaimed_csv(reports: &[FloatReport]) -> String {
    let mut text = "card,last used,currency,amount\n".to_owned();
    for report in reports {
        for (handle, used_at, amount) in &report.unclaimed {
            let day = model::ServiceDate(u32::try_from(used_at.secs() / 86_400).unwrap_or(0));
            let amount = Money::new(*amount, report.currency).decimal();
            let _ = writeln!(text, "{handle},{day},{},{amount}", report.currency.letters());
        }
    }
    text
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
pub fn float(place: &Workplace, policy: &Float) -> Result<Vec<FloatReport>, StoreError> {
    FloatReport::of_all(&place.store, policy, place.rules.currency(), place.clock.now())
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
        let reports = float(&rig.place, &policy).unwrap();
        let [report] = &reports[..] else { panic!("one currency, one report: {reports:?}") };
        let cards = 5 * i64::from(crate::workload::OPENING) - 4 * 150;
        assert_eq!((report.total(), report.dormancy.total().cards), (cards, 5));
        let counts: Vec<_> = report.dormancy.buckets.iter().map(|held| held.cards).collect();
        assert_eq!(counts, [1, 0, 4, 0]);
        assert_eq!(report.unclaimed.len(), 4);
        let csv = to_csv(&reports);
        assert!(csv.contains("cards not used for 730 to 1825 days,4,EUR,"), "{csv}");
        let list = unclaimed_csv(&reports);
        assert!(list.contains(",2027-01-15,EUR,9998.50\n"), "{list}");
        let number = crate::workload::Cards::id(1).to_hex();
        assert!(!list.to_lowercase().contains(&number.to_lowercase()));
    }
}
