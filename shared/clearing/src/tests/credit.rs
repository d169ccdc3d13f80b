//! Credit accounts: what is open, what is past due, how far a debt comes, what a refill may be.

use alloc::{vec, vec::Vec};

use ledger::{AccountId, Touched};
use model::{
    CardId, CardLayout, CardRecord, ChannelId, Ctr, Currency, LoadSeq, OrderId, PlaceIx,
    RecordKind, RiderClass, ServiceDate, TariffVersion, Timestamp, ValidUntil, ValidatorId,
};
use proptest::{collection::vec as vecs, prelude::*};

use crate::{
    Account, BookedOrder, CreditAccount, CreditId, CreditKind, CreditTerms, Dunning, MovedCredit,
    OrderPhase, RefillSeen, TermsError,
};

const TERMS: CreditTerms = CreditTerms {
    limit: 5_000,
    allowance: 2_000,
    below: 500,
    period_days: 30,
    due_days: 14,
    stop_days: 7,
    grey_days: 14,
    black_days: 90,
};
const NOW: Timestamp = Timestamp(1_795_000_000_000);

fn eur() -> Currency {
    Currency::parse("EUR").unwrap()
}

fn day(n: u32) -> ServiceDate {
    ServiceDate(20_000 + n)
}

fn fresh() -> CreditAccount {
    let of = (CreditId(3), CreditKind::PostPaid);
    CreditAccount::opened(of, (ChannelId(9), None), TERMS, day(0))
}

fn charged(account: &CreditAccount, amount: i64, on: u32) -> CreditAccount {
    account.charged(amount, day(on), NOW, eur()).account
}

fn billed(account: &CreditAccount, on: u32) -> CreditAccount {
    account.billed(account.next_bill(day(on)), day(on))
}

fn paid(account: &CreditAccount, amount: i64) -> CreditAccount {
    account.paid(amount, (ChannelId(9), "p"), (NOW, NOW), eur()).account
}

fn open(account: &CreditAccount) -> Vec<(u32, i64)> {
    account.open_bills().iter().map(|(bill, open)| (bill.number, *open)).collect()
}

#[test]
fn terms_that_cannot_be_are_refused() {
    assert_eq!(TERMS.check(), Ok(()));
    for (terms, why) in [
        (CreditTerms { below: 0, ..TERMS }, TermsError::Amounts),
        (CreditTerms { below: 2_001, ..TERMS }, TermsError::Amounts),
        (CreditTerms { allowance: 5_001, ..TERMS }, TermsError::Amounts),
        (CreditTerms { limit: u32::MAX, ..TERMS }, TermsError::Amounts),
        (CreditTerms { period_days: 0, ..TERMS }, TermsError::Period),
        (CreditTerms { period_days: 367, ..TERMS }, TermsError::Period),
        (CreditTerms { stop_days: 15, ..TERMS }, TermsError::Days),
        (CreditTerms { black_days: 14, ..TERMS }, TermsError::Days),
    ] {
        assert_eq!(terms.check(), Err(why), "{terms:?}");
    }
}

#[test]
fn payments_pay_the_oldest_bill_first_and_what_is_not_billed_is_not_open() {
    let account = billed(&charged(&fresh(), 1_000, 1), 30);
    let account = charged(&account, 700, 40);
    assert_eq!(open(&account), [(1, 1_000)]);
    let account = billed(&account, 60);
    assert_eq!(open(&account), [(1, 1_000), (2, 700)]);
    let account = charged(&paid(&account, 1_200), 500, 61);
    assert_eq!((open(&account), account.debt()), (vec![(2, 500)], 1_000));
    let account = paid(&account, 600);
    assert_eq!((open(&account), account.debt()), (vec![], 400), "the rest is on no bill");
    // What was paid ahead is on no bill.
    let account = paid(&account, 250);
    assert_eq!(account.next_bill(day(90)).unwrap().amount, 150);
    assert_eq!(paid(&account, 250).next_bill(day(90)), None);
    let account = billed(&account, 90);
    // A payment that is taken back opens what it had paid.
    let account = paid(&account, -1_200);
    assert_eq!(open(&account), [(1, 150), (2, 700), (3, 500)]);
    // A fare that is corrected lessens the newest bill.
    assert_eq!(open(&charged(&account, -550, 91)), [(1, 150), (2, 650)]);
}

#[test]
fn usr_4_a_debt_goes_from_a_warning_over_no_refills_to_grey_and_black_by_days_since_the_warning() {
    let account = billed(&charged(&fresh(), 1_000, 1), 30);
    assert_eq!(account.past_due(day(44)), None, "the last day of its time");
    let past = account.past_due(day(45)).unwrap();
    assert_eq!((past.amount, past.since), (1_000, day(45)));
    // A depot that was off for a year still warns first.
    assert_eq!(account.dunning_on(day(400)), Dunning::Warned);
    let warned = account.dunned(Dunning::Warned, day(50));
    for (on, level) in [
        (50, Dunning::Warned),
        (56, Dunning::Warned),
        (57, Dunning::Stopped),
        (63, Dunning::Stopped),
        (64, Dunning::Grey),
        (139, Dunning::Grey),
        (140, Dunning::Black),
    ] {
        assert_eq!(warned.dunning_on(day(on)), level, "day {on}");
    }
    let grey = warned.dunned(Dunning::Grey, day(64));
    assert_eq!(grey.warned_on, Some(day(50)));
    assert_eq!(grey.dunning_on(day(51)), Dunning::Grey, "a clock that is set back lets nobody off");
    assert_eq!(paid(&grey, 999).dunning_on(day(65)), Dunning::Grey);
    let good = paid(&grey, 1_000);
    assert_eq!(good.dunning_on(day(65)), Dunning::Good);
    assert_eq!(good.dunned(Dunning::Good, day(65)).warned_on, None);
    let words = Dunning::ALL.map(Dunning::word);
    assert_eq!(words.map(Dunning::from_word), Dunning::ALL.map(Some));
}

#[test]
fn a_bill_that_cannot_be_collected_is_past_due_at_once_and_paid_it_is_not() {
    let account = billed(&charged(&fresh(), 1_000, 1), 30);
    assert_eq!(account.failed(2, day(31)), None);
    let failed = account.failed(1, day(31)).unwrap();
    let past = failed.past_due(day(31)).unwrap();
    assert_eq!((past.amount, past.since), (1_000, day(31)));
    assert_eq!(failed.failed(1, day(40)), Some(failed.clone()), "told again, nothing changes");
    assert_eq!(paid(&failed, 1_000).past_due(day(99)), None);
}

#[test]
fn a_refill_fills_up_to_the_allowance_and_never_above_the_limit() {
    let account = charged(&fresh(), 1_500, 1);
    let seen = |line, balance| RefillSeen { line, balance, is_awaited: false };
    // 1,500 are owed; what stands on the credit line is on cards.
    for (line, balance, amount) in [
        (0, 0, Some(2_000)),
        (-500, 499, Some(1_501)),
        (-500, 500, None),
        (-1_499, 0, Some(2_000)),
        (-2_500, 0, Some(1_000)),
        (-3_499, 0, Some(1)),
        (-3_500, 0, None),
        (-9_000, 0, None),
    ] {
        assert_eq!(account.refill(seen(line, balance)), amount, "{line} {balance}");
        let after = account.exposure(line) + i64::from(amount.unwrap_or(0));
        assert!(amount.is_none() || after <= i64::from(TERMS.limit));
    }
    assert_eq!(account.refill(RefillSeen { is_awaited: true, ..seen(0, 0) }), None);
    let warned = account.dunned(Dunning::Warned, day(2));
    assert_eq!(warned.refill(seen(0, 0)), Some(2_000), "a warning stops nobody");
    for level in [Dunning::Stopped, Dunning::Grey, Dunning::Black] {
        assert_eq!(account.dunned(level, day(2)).refill(seen(0, 0)), None);
    }
}

#[test]
fn an_order_on_credit_is_paid_by_its_account_also_when_it_is_given_back_and_loaded_all_the_same() {
    let card = CardId([4; 7]);
    // It was decided a moment before it is booked, and the books are made again from what was told.
    let told = Timestamp(NOW.0 - 5);
    let cleared =
        BookedOrder::on_credit(OrderId(1), (card, 900, None), CreditId(3), (told, NOW), eur());
    assert_eq!(cleared.order.paid_at, told);
    let line = Account::CreditLine(CreditId(3)).id(eur());
    let stands = |transfers: &[ledger::Transfer]| {
        let mut books = Touched::default();
        for transfer in transfers {
            ledger::apply(&mut books, transfer).unwrap();
        }
        ledger::Books::balance(&books, &line).posted()
    };
    let mut transfers = cleared.transfers;
    assert_eq!(stands(&transfers), -900);
    assert!(!cleared.order.is_adjustment() && cleared.order.is_under_way());
    let out = cleared.order.offered(LoadSeq(0), 1_000).unwrap();
    let off = out.withdrawn(crate::ListVersion(2)).unwrap();
    let back = off.given_back(NOW, eur()).unwrap();
    transfers.extend(back.transfers);
    assert_eq!(stands(&transfers), 0);
    let record = CardRecord {
        kind: RecordKind::Load,
        ctr: Ctr(2),
        balance: 900,
        amount: 900,
        at_s: 1_795_000_000,
        validator: ValidatorId::new(1).unwrap(),
        place: PlaceIx::NONE,
        load_seq: LoadSeq(1),
        tariff: TariffVersion(1),
        valid_until: ValidUntil::Always,
        class: RiderClass(0),
        run: None,
        products: None,
        layout: CardLayout::Plain,
    };
    let late = back.order.carried_out(&record, NOW, eur()).unwrap();
    assert_eq!(late.order.phase, OrderPhase::Loaded, "nothing that the card's holder owes");
    transfers.extend(late.transfers);
    assert_eq!(stands(&transfers), -900);
}

/// What happens to an account.
#[derive(Debug, Clone, Copy)]
enum Happens {
    Charged(i64),
    Billed,
    Paid(i64),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        3 => (-300..2_000_i64).prop_map(Happens::Charged),
        1 => Just(Happens::Billed),
        2 => (-1_000..2_000_i64).prop_map(Happens::Paid),
    ]
}

fn run(of: &[Happens]) -> (CreditAccount, Touched) {
    let (mut account, mut books) = (fresh(), Touched::default());
    for (n, step) in (0_u32..).zip(of) {
        let moved = match step {
            Happens::Charged(amount) => account.charged(*amount, day(n), NOW, eur()),
            Happens::Billed => MovedCredit { account: billed(&account, n), transfers: Vec::new() },
            Happens::Paid(amount) => {
                let reference = alloc::format!("p{n}");
                account.paid(*amount, (ChannelId(9), &reference), (NOW, NOW), eur())
            }
        };
        for transfer in &moved.transfers {
            assert!(ledger::apply(&mut books, transfer).is_ok(), "{transfer:?}");
        }
        account = moved.account;
    }
    (account, books)
}

proptest! {
    /// The ledger says what the account says, nothing is open that is not owed, and debt and
    /// money paid ahead never stand side by side.
    #[test]
    fn the_books_of_an_account_are_what_it_spent_less_what_was_paid(of in vecs(happens(), 0..40)) {
        let (account, books) = run(&of);
        let stands = |of: Account| {
            let id: AccountId = of.id(eur());
            ledger::Books::balance(&books, &id).posted()
        };
        prop_assert_eq!(stands(Account::AccountDebt(account.id)), -account.debt());
        prop_assert_eq!(stands(Account::AccountPrepaid(account.id)), account.prepaid());
        prop_assert!(account.debt() == 0 || account.prepaid() == 0);
        prop_assert_eq!(stands(Account::CreditLine(account.id)), account.spent);
        prop_assert_eq!(stands(Account::AccountBank(ChannelId(9))), -account.paid);
        let open: i64 = account.open_bills().iter().map(|(_, open)| open).sum();
        prop_assert!(open <= account.debt());
        let past = account.past_due(day(9_000));
        prop_assert_eq!(past.map_or(0, |past| past.amount), open);
    }

    /// Payments may come in any order, before or after what they pay: the account stands alike.
    #[test]
    fn in_whatever_order_payments_come_an_account_stands_alike(
        of in vecs(happens(), 1..30),
        rotate in 0..30_usize,
    ) {
        let is_payment = |step: &Happens| matches!(step, Happens::Paid(_));
        let others: Vec<_> = of.iter().copied().filter(|step| !is_payment(step)).collect();
        let mut payments: Vec<_> = of.iter().copied().filter(is_payment).collect();
        let many = payments.len().max(1);
        payments.rotate_left(rotate % many);
        let (first, _) = run(&others.iter().chain(&payments).copied().collect::<Vec<_>>());
        let (last, _) = run(&payments.iter().chain(&others).copied().collect::<Vec<_>>());
        prop_assert_eq!((first.spent, first.paid), (last.spent, last.paid));
        let unpaid = |of: &CreditAccount| open(of).iter().map(|(_, open)| open).sum::<i64>();
        for account in [first, last] {
            // A bill asks for what was taken back since as well.
            let account = billed(&account, 99);
            prop_assert_eq!(unpaid(&account), account.debt());
        }
    }
}
