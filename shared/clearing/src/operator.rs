//! What issuers owe operators of settled days, and what they paid of it (ADR-0023).
//!
//! Invariants: a settled row is posted once, by a cause that names its day, issuer, operator and
//! currency; what a day's rows share comes to zero, so after each settling nothing stands on
//! `operator-sharing`; what stands on `operator-payable` is what was settled less what was paid.

use alloc::vec::Vec;

use ledger::Transfer;
use model::{CardId, Currency, IssuerId, OperatorId, OrderId, ServiceDate, Timestamp};

use crate::{
    account::{Account, CauseCode},
    postings::{Event, Postings},
};

/// One operator's row of a settled day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperatorShare {
    /// Which day.
    pub day: ServiceDate,
    /// Who owes it; `None` is the issuer that the books began with.
    pub issuer: Option<IssuerId>,
    /// Whom; `None` is revenue of which nobody knows yet whose it is.
    pub operator: Option<OperatorId>,
    /// Of every amount.
    pub currency: Currency,
    /// Earned, by the ledger; minor units, as all of these.
    pub gross: i64,
    /// Gained or given by sharing.
    pub shared: i64,
    /// Kept by the clearing house.
    pub fee: i64,
}

/// What an issuer paid an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorPayment<'a> {
    /// Who paid.
    pub issuer: Option<IssuerId>,
    /// Whom.
    pub operator: OperatorId,
    /// Of the amount.
    pub currency: Currency,
    /// Minor units, above zero.
    pub amount: i64,
    /// The issuer's own number of the payment.
    pub reference: &'a str,
}

/// What was paid for a product on one card, shared between those whose rides it paid (ADR-0025).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProductShare {
    /// The order that brought it.
    pub order: OrderId,
    /// Which product.
    pub product: u16,
    /// Whose card, and so who owes it; `None` is the issuer that the books began with.
    pub issuer: Option<IssuerId>,
    /// Of every amount.
    pub currency: Currency,
    /// Whom, how much, and what the clearing house keeps of that.
    pub shares: Vec<(OperatorId, i64, i64)>,
    /// What nobody's ride used and stays with the issuer.
    pub unused: i64,
}

impl ProductShare {
    /// From what was sold to what is owed, the fees, and what nobody used. Together they are what
    /// was paid; an order is shared once.
    pub fn transfers(&self, at: Timestamp) -> Vec<Transfer> {
        let Self { order, product, issuer, currency, .. } = *self;
        let mut event = Event::new(CauseCode::ProductShared, &[&order.0.to_be_bytes()], at);
        let mut postings = of_nobody(currency, at);
        let sold = Account::ProductSold(product);
        for (operator, amount, fee) in &self.shares {
            let payable = Account::OperatorPayable(issuer, Some(*operator));
            postings.shift(&mut event, payable, sold, *amount);
            postings.shift(&mut event, Account::ClearingFee(issuer), payable, *fee);
        }
        postings.shift(&mut event, Account::ProductUnused(issuer), sold, self.unused);
        postings.transfers
    }
}

impl OperatorShare {
    /// What is owed.
    pub const fn payable(&self) -> i64 {
        self.gross + self.shared - self.fee
    }

    /// From revenue to what is owed, what was shared, and the fee.
    pub fn transfers(&self, at: Timestamp) -> Vec<Transfer> {
        let Self { day, issuer, operator, currency, gross, shared, fee } = *self;
        let day = day.0.to_be_bytes();
        let parts: [&[u8]; 4] =
            [&day, &issuer_part(issuer), &operator_part(operator), currency.letters().as_bytes()];
        let mut event = Event::new(CauseCode::Settlement, &parts, at);
        let mut postings = of_nobody(currency, at);
        let payable = Account::OperatorPayable(issuer, operator);
        let revenue = Account::FareRevenue(operator).of(issuer);
        postings.shift(&mut event, payable, revenue, gross);
        postings.shift(&mut event, payable, Account::OperatorSharing(issuer), shared);
        postings.shift(&mut event, Account::ClearingFee(issuer), payable, fee);
        postings.transfers
    }
}

impl OperatorPayment<'_> {
    /// From what is owed to the issuer's bank.
    pub fn transfers(&self, at: Timestamp) -> Vec<Transfer> {
        let Self { issuer, operator, currency, amount, reference } = *self;
        let operator = Some(operator);
        let parts: [&[u8]; 2] = [&issuer_part(issuer), reference.as_bytes()];
        let mut event = Event::new(CauseCode::OperatorPaid, &parts, at);
        let mut postings = of_nobody(currency, at);
        let payable = Account::OperatorPayable(issuer, operator);
        postings.shift(&mut event, Account::OperatorBank(issuer), payable, amount);
        postings.transfers
    }
}

/// Postings that are no card's.
fn of_nobody(currency: Currency, at: Timestamp) -> Postings {
    Postings::new(CardId([0; 7]), currency, at)
}

fn issuer_part(issuer: Option<IssuerId>) -> [u8; 2] {
    issuer.unwrap_or_default().0.to_be_bytes()
}

/// Three bytes, so that nobody's revenue is no operator's.
fn operator_part(operator: Option<OperatorId>) -> [u8; 3] {
    let [a, b] = operator.unwrap_or_default().0.to_be_bytes();
    [u8::from(operator.is_some()), a, b]
}

#[cfg(test)]
mod tests {
    use ledger::{Books as _, Outcome, Touched, apply, trial_balance};
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn eur() -> Currency {
        Currency::parse("EUR").unwrap()
    }

    proptest! {
        /// Whatever a day's rows are, posting them leaves revenue and sharing at zero, what is owed
        /// and kept is what was earned (I9), and posting them again changes nothing (LED-3).
        #[test]
        fn i9_what_a_settled_day_posts_is_what_was_earned_and_it_posts_it_once(
            rows in vec((-5_000_i64..50_000, -900_i64..900, 0_i64..100), 1..6),
            issuer in proptest::option::of((1_u16..9).prop_map(IssuerId)),
        ) {
            let at = Timestamp(1_000);
            let mut books = Touched::default();
            let count = i64::try_from(rows.len()).unwrap();
            let given: i64 = rows.iter().map(|(_, shared, _)| shared).sum();
            let shares: Vec<_> = (0_u16..)
                .zip(&rows)
                .map(|(number, (gross, shared, fee))| OperatorShare {
                    day: ServiceDate(9),
                    issuer,
                    operator: (number > 0).then_some(OperatorId(number)),
                    currency: eur(),
                    gross: *gross,
                    // The first row takes what makes all of them zero.
                    shared: if number == 0 { *shared - given } else { *shared },
                    fee: *fee,
                })
                .collect();
            for share in &shares {
                // Earned before: from anywhere.
                let of = operator_part(share.operator);
                let mut earned = Event::new(CauseCode::Record, &[&of], at);
                let mut postings = of_nobody(eur(), at);
                let revenue = Account::FareRevenue(share.operator).of(issuer);
                postings.shift(&mut earned, revenue, Account::LoadClearing, share.gross);
                for transfer in postings.transfers.iter().chain(&share.transfers(at)) {
                    prop_assert_eq!(apply(&mut books, transfer), Ok(Outcome::Applied));
                }
            }
            for transfer in shares.iter().flat_map(|share| share.transfers(Timestamp(1_000))) {
                prop_assert_eq!(apply(&mut books, &transfer), Ok(Outcome::Exists));
            }
            let stands = |account: Account| books.balance(&account.id(eur())).posted();
            let mut owed = 0;
            for share in &shares {
                prop_assert_eq!(stands(Account::FareRevenue(share.operator).of(issuer)), 0);
                let payable = stands(Account::OperatorPayable(issuer, share.operator));
                prop_assert_eq!(payable, share.payable());
                owed += payable;
            }
            prop_assert_eq!(stands(Account::OperatorSharing(issuer)), 0, "{} rows", count);
            let gross: i64 = shares.iter().map(|share| share.gross).sum();
            prop_assert_eq!(owed + stands(Account::ClearingFee(issuer)), gross);
            trial_balance(books.balances()).unwrap();
        }
    }

    #[test]
    fn a_payment_is_known_by_its_reference_and_lessens_what_is_owed() {
        let payment = OperatorPayment {
            issuer: None,
            operator: OperatorId(3),
            currency: eur(),
            amount: 500,
            reference: "2027-01-4711",
        };
        let [transfer] = payment.transfers(Timestamp(1))[..] else { panic!("one transfer") };
        assert_eq!(transfer.debit, Account::OperatorPayable(None, Some(OperatorId(3))).id(eur()));
        assert_eq!(transfer.credit, Account::OperatorBank(None).id(eur()));
        let again = OperatorPayment { amount: 600, ..payment }.transfers(Timestamp(1));
        assert_eq!(again[0].id, transfer.id, "the ledger's alarm (LED-3)");
    }
}
