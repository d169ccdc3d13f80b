//! What issuers owe operators: settled and not paid, by age, and payments of it (ADR-0023).
//!
//! A payment pays the oldest settled days first, and so does a day that a correction made negative.

use std::{collections::BTreeMap, fmt::Write as _};

use clearing::{Account, Rules};
use model::{Currency, IssuerId, Money, OperatorId, ServiceDate, Timestamp};

use super::operator_name;
use crate::{
    export::quoted,
    intake::{IntakeError, Workplace, office::OfficeEvent, step::book_office, stored::Stored as _},
    store::{Store, StoreError, issuer_word},
};

/// Days at which the columns of ages begin.
const AGES: [u32; 3] = [30, 60, 90];

/// What one issuer owes one operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// Who.
    pub issuer: Option<IssuerId>,
    /// Whom; `None` while nobody knows.
    pub operator: Option<OperatorId>,
    /// In all; below zero: the operator was paid more than was settled.
    pub amount: Money,
    /// Of that settled within 30 days, 60, 90, and before. They add up to what is owed.
    pub ages: [i64; AGES.len() + 1],
    /// The oldest settled day that is not paid in full.
    pub oldest: Option<ServiceDate>,
}

/// Why a payment is not booked.
#[derive(Debug, thiserror::Error)]
pub enum PayError {
    /// No such operator.
    #[error("{0:?} is no operator of the newest tariff: see `depot-server settle owed`")]
    Operator(String),
    /// Nothing, or more than is owed.
    #[error("{owed} are owed to {operator}: pay more than 0.00 and no more than that")]
    Amount {
        /// Whom.
        operator: String,
        /// How much.
        owed: Money,
    },
    /// The reference was used for another payment.
    #[error(
        "the reference {reference:?} was used for {amount} to operator {operator}: each payment \
         needs its own"
    )]
    OtherContent {
        /// Which.
        reference: String,
        /// What it was.
        amount: Money,
        /// To whom.
        operator: OperatorId,
    },
    /// The books.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The booking.
    #[error(transparent)]
    Intake(#[from] IntakeError),
}

type Key = (Option<IssuerId>, Option<OperatorId>, Currency);

/// Everything that is owed or was overpaid, by issuer, operator and currency, with its age.
pub fn owed(place: &Workplace) -> Result<Vec<Owed>, StoreError> {
    owed_at(&place.store, &place.rules, place.clock.now())
}

/// The same at a moment, for who has no more than the books.
pub(crate) fn owed_at(
    store: &Store,
    rules: &Rules,
    now: Timestamp,
) -> Result<Vec<Owed>, StoreError> {
    let mut days: BTreeMap<Key, BTreeMap<ServiceDate, i64>> = BTreeMap::new();
    let mut paid: BTreeMap<Key, i64> = BTreeMap::new();
    for row in store.office_journal()? {
        if let Some(share) = row.event.share() {
            let key = (share.issuer, share.operator, share.currency);
            *days.entry(key).or_default().entry(share.day).or_default() += share.payable();
        } else if let Some((day, share)) = row.event.product() {
            for (operator, amount, fee) in &share.shares {
                let key = (share.issuer, Some(*operator), share.currency);
                *days.entry(key).or_default().entry(day).or_default() += amount - fee;
            }
        } else if let Some(payment) = row.event.payment() {
            let key = (payment.issuer, Some(payment.operator), payment.currency);
            *paid.entry(key).or_default() += payment.amount;
        }
    }
    let today = rules.service_day(now, now);
    let all = days.into_iter().map(|(key, days)| {
        let paid = paid.get(&key).copied().unwrap_or_default();
        aged(key, &days, paid, today)
    });
    Ok(all.collect())
}

fn aged(
    (issuer, operator, currency): Key,
    days: &BTreeMap<ServiceDate, i64>,
    paid: i64,
    today: ServiceDate,
) -> Owed {
    let amount = days.values().sum::<i64>() - paid;
    let taken = |sum: i64, payable: &i64| sum - (*payable).min(0);
    let mut credit = days.values().fold(paid, taken);
    let mut ages = [0; AGES.len() + 1];
    let mut oldest = None;
    for (day, payable) in days {
        let open = (*payable).max(0);
        let met = open.min(credit);
        credit -= met;
        if open > met {
            oldest = oldest.or(Some(*day));
            let age = today.0.saturating_sub(day.0);
            ages[AGES.partition_point(|begins| *begins <= age)] += open - met;
        }
    }
    // Beyond every day: it lessens the days to come.
    ages[0] -= credit;
    Owed { issuer, operator, amount: Money::new(amount, currency), ages, oldest }
}

/// The report as CSV.
pub fn owed_csv(place: &Workplace, all: &[Owed]) -> String {
    let mut text =
        "issuer,operator,currency,owed,to 30 days,to 60 days,to 90 days,older,oldest\n".to_owned();
    for Owed { issuer, operator, amount, ages, oldest } in all {
        let currency = amount.currency();
        let ages = ages.map(|minor| Money::new(minor, currency).decimal()).join(",");
        let oldest = oldest.map(|day| day.to_string()).unwrap_or_default();
        let _ = writeln!(
            text,
            "{},{},{},{},{ages},{oldest}",
            issuer_word(*issuer),
            quoted(&operator_name(place, *operator)),
            currency.letters(),
            amount.decimal(),
        );
    }
    text
}

/// Books that an issuer paid an operator. The same payment again changes nothing; answers what is
/// owed after it.
///
/// What was paid and what is owed is read in the group that books: between looking and booking, no
/// other clerk can pay.
pub fn pay(
    place: &Workplace,
    issuer: Option<IssuerId>,
    (operator, amount): (&str, Money),
    (reference, by): (&str, &str),
) -> Result<Money, PayError> {
    let operators = place.rules.tariffs().newest().operators();
    let number = operators.iter().position(|known| known.id.as_str() == operator);
    let number = number.and_then(|at| u16::try_from(at).ok());
    let number = number.ok_or_else(|| PayError::Operator(operator.to_owned()))?;
    let currency = amount.currency();
    let account = Account::OperatorPayable(issuer, Some(OperatorId(number))).id(currency);
    let event = OfficeEvent::OperatorPaid {
        issuer: issuer.map(|issuer| issuer.0),
        operator: number,
        currency: currency.numeric(),
        amount: amount.minor(),
        reference: reference.to_owned(),
        by: by.to_owned(),
    };
    let group = place.store.begin()?;
    let before = place.store.office_journal()?;
    let same = before
        .iter()
        .filter_map(|row| row.event.payment())
        .find(|payment| payment.issuer == issuer && payment.reference == reference);
    let due = Money::new(group.balance(&account)?.posted(), currency);
    if let Some(known) = same {
        let known_amount = Money::new(known.amount, known.currency);
        if (known.operator.0, known_amount) == (number, amount) {
            return Ok(due);
        }
        return Err(PayError::OtherContent {
            reference: reference.to_owned(),
            amount: known_amount,
            operator: known.operator,
        });
    }
    if amount.minor() <= 0 || amount.minor() > due.minor() {
        return Err(PayError::Amount { operator: operator.to_owned(), owed: due });
    }
    let booking = book_office(&group, &place.rules, &[event], place.clock.now());
    group.commit(&booking.map_err(IntakeError::from)?)?;
    Ok(Money::new(place.store.account(&account)?.posted(), currency))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rec_15_payments_and_negative_days_pay_the_oldest_days_first() {
        let currency = Currency::parse("EUR").unwrap();
        let days = [(10, 500), (45, 300), (80, -200), (99, 100)];
        let days: BTreeMap<_, _> = days.map(|(day, minor)| (ServiceDate(day), minor)).into();
        let key = (None, Some(OperatorId(1)), currency);
        let at = |paid| {
            let owed = aged(key, &days, paid, ServiceDate(100));
            assert_eq!(owed.ages.iter().sum::<i64>(), owed.amount.minor());
            (owed.ages, owed.oldest.map(|day| day.0))
        };
        assert_eq!(at(0), ([100, 300, 0, 300], Some(10)));
        assert_eq!(at(300), ([100, 300, 0, 0], Some(45)));
        assert_eq!(at(650), ([50, 0, 0, 0], Some(99)));
        assert_eq!(at(800), ([-100, 0, 0, 0], None));
    }
}
