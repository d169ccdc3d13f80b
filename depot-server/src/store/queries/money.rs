//! The page of money: the float, counted now and then, and the newest closed days.

use std::{collections::BTreeMap, sync::PoisonError, time::Duration};

use clearing::Account;
use model::{Currency, Money, Timestamp};

use super::ReadModel;
use crate::{
    float::FloatReport,
    http::views::{DayFacts, MoneyFacts, OwedFact},
    settle::{operator_of, owed_at},
    store::StoreError,
};

/// How old the float may be: counting looks at every card.
const FLOAT_KEPT: Duration = Duration::from_secs(600);

/// The float as it was counted last.
pub(super) type KeptFloat = (Timestamp, Vec<(String, u64, Money)>);

impl ReadModel {
    pub(super) fn money_facts(&self, days: u32) -> Result<MoneyFacts, StoreError> {
        let (held_at, held) = self.kept_float()?;
        let closed = self.store.closed_days(days)?;
        let (tariffs, issuers) = (self.currency(), self.store.issuers()?);
        let days = closed.into_iter().map(|closed| {
            let settled = self.store.settlement(closed.day)?;
            let rows = settled.map(|(_, rows)| rows).unwrap_or_default();
            let rows = rows.into_iter();
            let rows = rows.map(|row| {
                let issuer = row.issuer.map(|issuer| issuers.name(Some(issuer)));
                ((issuer, row.purse.unwrap_or(tariffs)), row.operator, row.row)
            });
            let rows = rows.collect();
            let (day, closed_at, root) = (closed.day, closed.closed_at, closed.root);
            Ok(DayFacts { day, closed_at, root, rows })
        });
        let days = days.collect::<Result<_, StoreError>>()?;
        let owed = owed_at(&self.store, &self.rules, self.clock.now())?.into_iter();
        let owed = owed.filter(|owed| owed.amount.minor() != 0).map(|owed| OwedFact {
            issuer: owed.issuer.map(|issuer| issuers.name(Some(issuer))),
            operator: operator_of(&self.rules, owed.operator),
            amount: owed.amount,
            oldest: owed.oldest,
        });
        let (credit, open) = (self.credit_lines()?, self.store.open_day()?);
        Ok(MoneyFacts { held, credit, held_at, owed: owed.collect(), open, days })
    }

    /// What credit accounts have on cards, owe, and have not paid in time, in each currency.
    fn credit_lines(&self) -> Result<Vec<(String, u64, Money)>, StoreError> {
        let now = self.clock.now();
        let today = self.rules.service_day(now, now);
        let mut sums: BTreeMap<Currency, [(u64, i64); 4]> = BTreeMap::new();
        for account in self.store.credits()? {
            let currency = account.currency(self.currency());
            let line = self.store.account(&Account::CreditLine(account.id).id(currency))?.posted();
            let past_due = account.past_due(today).map_or(0, |past| past.amount);
            let amounts = [-line, account.debt(), past_due, account.prepaid()];
            for (sum, amount) in sums.entry(currency).or_default().iter_mut().zip(amounts) {
                *sum = (sum.0 + u64::from(amount != 0), sum.1 + amount);
            }
        }
        let words = ["on cards and on their way", "owed", "of that past due", "paid ahead"];
        let rows = sums.into_iter().flat_map(|(currency, sums)| {
            let named = words.into_iter().zip(sums);
            named.map(move |(word, (n, sum))| (word.to_owned(), n, Money::new(sum, currency)))
        });
        Ok(rows.collect())
    }

    fn kept_float(&self) -> Result<KeptFloat, StoreError> {
        let now = self.clock.now();
        let mut kept = self.kept_float.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, held)) = &*kept
            && now.since(*at) < FLOAT_KEPT
        {
            return Ok((*at, held.clone()));
        }
        let reports = FloatReport::of_all(&self.store, &self.float, self.currency(), now)?;
        let issuers = self.store.issuers()?;
        let several = reports.iter().any(|report| report.issuer.is_some());
        let rows = |report: &FloatReport| {
            let whose = several.then(|| issuers.name(report.issuer));
            let of = move |what: String| match &whose {
                Some(whose) => format!("{whose}: {what}"),
                None => what,
            };
            let rows = report.rows().into_iter();
            rows.map(|(what, n, amount)| (of(what), n, amount)).collect::<Vec<_>>()
        };
        let held: Vec<_> = reports.iter().flat_map(rows).collect();
        *kept = Some((now, held.clone()));
        Ok((now, held))
    }
}
