//! Days, trees and receipts: what must hold for any of them.

use alloc::{string::ToString, vec::Vec};

use clearing::TapRef;
use ledger::{AccountCode, AccountId, Balance, Books as _, Cause, Kind, Touched, Transfer, apply};
use model::{
    CardId, Currency, Epoch, Money, PlaceIx, RouteIx, ServiceDate, TapRole, TapSeq, TariffVersion,
    Timestamp, ValidatorId,
};
use proptest::{collection::vec, prelude::*};

use crate::{
    AccountsHash, DayDocument, DayHead, DayLedger, MerkleTree, Receipt, Salt, TapFacts,
    root_from_path,
};

fn eur() -> Currency {
    Currency::parse("EUR").unwrap()
}

fn account(number: u8) -> AccountId {
    AccountId::new(AccountCode(1), eur(), &[number])
}

fn transfer(number: u32, debit: u8, credit: u8, amount: i64, kind: Kind) -> Transfer {
    let cause = Cause::new(1, &[&number.to_be_bytes()]);
    Transfer {
        id: cause.transfer_id(0),
        debit: account(debit),
        credit: account(credit),
        amount,
        currency: eur(),
        kind,
        event_at: Timestamp(1),
        booked_at: Timestamp(2),
        cause,
    }
}

fn head() -> DayHead {
    DayHead {
        depot: "north".into(),
        day: ServiceDate(20_000),
        previous: [1; 32],
        journal: (17, [2; 32]),
        closed_at: Timestamp(1_728_000_000_000),
        signer: [3; 32],
    }
}

fn facts(seq: u64) -> TapFacts {
    TapFacts {
        tap: TapRef { validator: ValidatorId::new(42).unwrap(), epoch: Epoch(1), seq: TapSeq(seq) },
        tapped_at: Timestamp(1_728_000_000_000),
        role: TapRole::Board,
        place: PlaceIx(3),
        route: Some(RouteIx(7)),
        tariff: TariffVersion(2),
        paid: Money::new(150, eur()),
        balance: Some(1850),
        card: Some(CardId([4, 1, 2, 3, 4, 5, 6])),
    }
}

fn document(ledger: DayLedger, books: &Touched) -> DayDocument {
    let mut accounts = AccountsHash::default();
    for (account, balance) in books.balances() {
        accounts.take(account, &ledger.closing(account, *balance));
    }
    ledger.document(head(), accounts.finish(), (0, MerkleTree::default().root()))
}

#[test]
fn led_4_a_hold_crosses_the_end_of_a_day_and_each_day_shows_its_half() {
    let held = transfer(1, 1, 2, 150, Kind::Pending);
    let posted = transfer(2, 1, 2, 150, Kind::Post(held.id));
    let mut books = Touched::default();
    let (mut first, mut second) =
        (DayLedger::new(ServiceDate(10)), DayLedger::new(ServiceDate(11)));
    for (transfer, day) in [(held, 10), (posted, 11)] {
        apply(&mut books, &transfer).unwrap();
        for ledger in [&mut first, &mut second] {
            ledger.take(&transfer, ServiceDate(day), ServiceDate(10));
        }
    }
    let now = |account: &AccountId| books.balance(account);
    let lines: Vec<_> = first.moved(now).chain(second.moved(now)).collect();
    let held = Balance { debits_pending: 150, ..Balance::default() };
    assert_eq!((lines[0].opening, lines[0].closing), (Balance::default(), held));
    let posted = Balance { debits_posted: 150, ..Balance::default() };
    assert_eq!((lines[2].opening, lines[2].closing), (held, posted));
    let (first, second) = (document(first, &books), document(second, &books));
    assert_eq!((first.totals.len(), second.totals[0].moved), (0, 150), "held is not moved");
    assert_eq!((first.transfers, second.transfers), ((1, 0), (1, 1)), "the second came late");
}

#[test]
fn a_document_reads_back_and_any_changed_character_is_another_root_or_no_document() {
    let mut ledger = DayLedger::new(ServiceDate(20_000));
    let one = transfer(1, 1, 2, 150, Kind::Direct);
    ledger.take(&one, ServiceDate(20_000), ServiceDate(19_999));
    let mut books = Touched::default();
    apply(&mut books, &one).unwrap();
    let document = document(ledger, &books);
    let text = document.to_text();
    assert_eq!(DayDocument::parse(&text).as_ref(), Ok(&document), "{text}");
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
        let Ok(changed) = alloc::string::String::from_utf8(bytes) else { continue };
        let read = DayDocument::parse(&changed);
        assert!(read.is_err() || read.unwrap().root() != document.root(), "byte {at}");
    }
}

#[test]
fn a_receipt_proves_its_tap_and_nothing_else_and_tells_no_card() {
    let (salt, day) = (Salt([9; 32]), ServiceDate(20_000));
    let leaves: Vec<_> = (0..5).map(|seq| facts(seq).leaf("north", day, &salt)).collect();
    let tree = MerkleTree::new(leaves);
    let text = facts(3).text("north", day, &salt);
    let receipt = Receipt { text, place: (3, 5), path: tree.path(3).unwrap() };
    let read = Receipt::parse(&receipt.to_text()).unwrap();
    assert_eq!(read, receipt);
    assert_eq!(read.root(), Ok(tree.root()));
    assert!(!receipt.to_text().contains("04010203040506"));
    assert!(read.is_of(CardId([4, 1, 2, 3, 4, 5, 6])));
    assert!(!read.is_of(CardId([4, 1, 2, 3, 4, 5, 7])));
    let cheaper = Receipt::parse(&receipt.to_text().replace("paid: 1.50", "paid: 0.50")).unwrap();
    assert_ne!(cheaper.root(), Ok(tree.root()));
    let elsewhere = Receipt { place: (2, 5), ..receipt.clone() };
    assert_ne!(elsewhere.root(), Ok(tree.root()));
    assert_eq!(Receipt::parse("hello").unwrap_err().to_string().split(':').count(), 2);
    let other_salt = facts(3).leaf("north", day, &Salt([8; 32]));
    assert_ne!(other_salt, facts(3).leaf("north", day, &salt), "nobody can try out card numbers");
}

proptest! {
    #[test]
    fn every_leaf_is_proven_by_its_path_and_no_other(count in 1_usize..70, at in any::<usize>()) {
        let leaves: Vec<[u8; 32]> = (0..count).map(|n| [u8::try_from(n).unwrap(); 32]).collect();
        let tree = MerkleTree::new(leaves.clone());
        let (at, all) = (at % count, count as u64);
        let path = tree.path(at).unwrap();
        prop_assert_eq!(root_from_path(leaves[at], at as u64, all, &path), Some(tree.root()));
        prop_assert_ne!(root_from_path([0xff; 32], at as u64, all, &path), Some(tree.root()));
        let mut longer = path.clone();
        longer.push([0; 32]);
        prop_assert_eq!(root_from_path(leaves[at], at as u64, all, &longer), None);
        prop_assert_eq!(tree.path(count), None);
    }

    /// Days booked in any order, with later days mixed in, are the same document (REC-11).
    #[test]
    fn rec_11_a_closed_day_is_the_same_in_whatever_order_it_was_booked(
        moves in vec((0_u8..4, 0_u8..4, 1_i64..1000, 0_u32..3), 0..30),
        seed in any::<u64>(),
    ) {
        let all: Vec<_> = (0..)
            .zip(&moves)
            .filter(|(_, (debit, credit, ..))| debit != credit)
            .map(|(n, (debit, credit, amount, day))| {
                (transfer(n, *debit, *credit, *amount, Kind::Direct), *day)
            })
            .collect();
        let mut shuffled = all.clone();
        shuffled.sort_by_key(|(transfer, _)| {
            u64::from(transfer.id.0[0]).wrapping_mul(seed | 1)
        });
        let close = |order: &[(Transfer, u32)], known: u32| {
            let mut books = Touched::default();
            let mut ledger = DayLedger::new(ServiceDate(1));
            for (transfer, day) in order.iter().filter(|(_, day)| *day <= known) {
                apply(&mut books, transfer).unwrap();
                ledger.take(transfer, ServiceDate(*day), ServiceDate(*day));
            }
            document(ledger, &books).to_text()
        };
        prop_assert_eq!(close(&all, 2), close(&shuffled, 2));
        prop_assert_eq!(close(&all, 1), close(&all, 2), "what comes later does not show");
    }
}
