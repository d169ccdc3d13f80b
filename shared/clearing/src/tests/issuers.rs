//! Accounts of several issuers, and a card whose issuer becomes known after its taps (ADR-0023).

use alloc::string::ToString;

use ledger::AccountId;
use model::{CardId, Ctr, Currency, IssuerId, OperatorId, RouteIx, StationId, TicketKeyId};
use proptest::prelude::*;

use super::{CARD, Depot, History, Ride, in_doubt, now, rules};
use crate::{
    Account, ClearError, DeskDeed, DeskEntry, Issue, IssuerMisfit, clear_desk, register_issue,
};

fn eur() -> Currency {
    Currency::parse("EUR").unwrap()
}

fn any_account() -> impl Strategy<Value = Account> {
    let issuer = proptest::option::of((1..=u16::MAX).prop_map(IssuerId));
    let operator = proptest::option::of(any::<u16>().prop_map(OperatorId));
    let card = any::<[u8; 7]>().prop_map(CardId);
    let ctr = any::<u32>().prop_map(Ctr);
    (issuer, operator, card, ctr, any::<u16>(), 0..16_u8).prop_map(
        |(issuer, operator, card, ctr, number, which)| match which {
            0 => Account::FareRevenue(operator).of(issuer),
            1 => Account::IssuerCash.of(issuer),
            2 => Account::RefundClearing.of(issuer),
            3 => Account::DeskCash(StationId(number)).of(issuer),
            4 => Account::OperatorPayable(issuer, operator),
            5 => Account::OperatorSharing(issuer),
            6 => Account::ClearingFee(issuer),
            7 => Account::OperatorBank(issuer),
            8 => Account::WrittenOff(number),
            9 => Account::Unclaimed(issuer),
            10 => Account::GapSuspense(card, ctr),
            11 => Account::Difference(card, ctr),
            12 => Account::TicketLiability(TicketKeyId([1, 2, 3, 4]), ctr.0),
            13 => Account::Card(card),
            14 => Account::LoadClearing,
            _ => Account::RiderDue(card),
        },
    )
}

proptest! {
    #[test]
    fn led_1_every_account_reads_back_and_no_two_are_one(
        one in any_account(),
        two in any_account(),
    ) {
        prop_assert_eq!(Account::parse(&one.id(eur())), Some(one));
        prop_assert_eq!(one.id(eur()) == two.id(eur()), one == two);
        let (issuer, plain) = one.pooled();
        prop_assert_eq!(plain.of(issuer), one);
    }
}

#[test]
fn the_accounts_of_the_first_issuer_are_those_that_old_books_hold() {
    let bytes = |account: Account| account.id(eur()).to_bytes();
    let mut revenue = [0; 16];
    revenue[..7].copy_from_slice(&[0, 2, 3, 210, 1, 0, 5]);
    assert_eq!(bytes(Account::FareRevenue(Some(OperatorId(5))).of(None)), revenue);
    revenue[14..].copy_from_slice(&[0, 9]);
    assert_eq!(bytes(Account::FareRevenue(Some(OperatorId(5))).of(Some(IssuerId(9)))), revenue);
    assert_eq!(bytes(Account::LoadClearing.of(Some(IssuerId(9)))), bytes(Account::LoadClearing));
    let named = Account::FareRevenue(Some(OperatorId(5))).of(Some(IssuerId(9))).to_string();
    assert_eq!(named, "fare-revenue(5) of issuer 9");
    // Bytes that no account of ours has.
    let mut unknown = Account::LoadClearing.id(eur()).to_bytes();
    unknown[15] = 9;
    assert_eq!(Account::parse(&AccountId::from_bytes(unknown).unwrap()), None);
}

/// A card of issuer 7: a bus ride, a ferry, a bus ride in doubt.
fn ridden() -> (crate::Rules, History) {
    let rules = rules();
    let mut history = History::issued(2_000);
    for route in [0, 1, 0] {
        history.ride(&rules, Ride::Board(RouteIx(route)));
        history.wait(7_200);
    }
    (rules, history)
}

#[test]
fn rec_1_what_taps_earned_before_the_issue_was_known_moves_to_the_cards_issuer() {
    let (rules, history) = ridden();
    let mut depot = Depot { issuer: Some(IssuerId(7)), ..Depot::default() };
    let revenue = |of: u16, issuer| Account::FareRevenue(Some(OperatorId(of))).of(issuer);
    let issuer = Some(IssuerId(7));
    depot.clear(&rules, &history.committed(3));
    depot.clear(&rules, &history.committed(2));
    depot.clear(&rules, &history.entry(4, 1, in_doubt));
    let stands = |depot: &Depot| {
        let accounts = [revenue(0, None), revenue(1, None), revenue(0, issuer), revenue(1, issuer)];
        accounts.map(|account| depot.balance(account))
    };
    assert_eq!(stands(&depot), [150, 400, 0, 0]);
    depot.issue(&rules, &history.records[0]);
    assert_eq!(stands(&depot), [0, 0, 150, 400]);
    assert_eq!(depot.balance(Account::IssuerCash.of(issuer)), -2_000);
    assert_eq!(depot.balance(Account::IssuerCash), 0);
    // The hold is whoever's; what it becomes is the issuer's.
    let mut history = history;
    history.ride(&rules, Ride::Load(100));
    depot.clear(&rules, &history.committed(5));
    assert_eq!(stands(&depot), [0, 0, 300, 400]);
    assert!(depot.standing().iter().all(|(.., debits, credits)| (*debits, *credits) == (0, 0)));
}

#[test]
fn a_card_has_one_issuer_and_another_one_is_refused_by_name() {
    let (rules, history) = ridden();
    let mut depot = Depot { issuer: Some(IssuerId(7)), ..Depot::default() };
    depot.issue(&rules, &history.records[0]);
    let (card, record) = (CARD, history.records[0]);
    for said in [None, Some(IssuerId(8))] {
        let misfit = IssuerMisfit { said, known: Some(IssuerId(7)) };
        let issue = Issue { card, record, purse: None, issuer: said };
        let refused = register_issue(&depot.state, &issue, now(), &rules, &depot);
        assert_eq!(refused.unwrap_err(), ClearError::Issuer(misfit));
        let deed = DeskDeed::Issued { record, in_place_of: None, issuer: said };
        let entry = DeskEntry { op: 1, station: StationId(1), card, purse: None, deed };
        let refused = clear_desk(&depot.state, &entry, now(), &rules, &depot);
        assert_eq!(refused.unwrap_err(), ClearError::Issuer(misfit));
    }
    let text = IssuerMisfit { said: None, known: Some(IssuerId(7)) }.to_string();
    assert_eq!(
        text,
        "the books know it as issued by issuer 7, and not by the issuer that the books began with"
    );
}

#[test]
fn what_a_desk_takes_for_a_card_is_owed_to_the_cards_issuer() {
    let (rules, history) = ridden();
    let (card, record) = (CARD, history.records[0]);
    let issuer = Some(IssuerId(7));
    let deed = DeskDeed::Issued { record, in_place_of: None, issuer };
    let entry = DeskEntry { op: 1, station: StationId(3), card, purse: None, deed };
    let depot = Depot::default();
    let cleared = clear_desk(&depot.state, &entry, now(), &rules, &depot).unwrap();
    let moved: alloc::vec::Vec<_> = cleared
        .transfers
        .iter()
        .map(|t| (Account::parse(&t.debit).unwrap(), Account::parse(&t.credit).unwrap(), t.amount))
        .collect();
    let cash = Account::IssuerCash.of(issuer);
    let desk = Account::DeskCash(StationId(3)).of(issuer);
    assert_eq!(moved, [(cash, Account::Card(card), 2_000), (desk, cash, 2_000)]);
    assert_eq!(cleared.state.issuer(), issuer);
}
