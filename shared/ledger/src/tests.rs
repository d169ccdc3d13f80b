//! Refusals row by row, and what must hold for any transfers.
#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes its snapshots so")]

use alloc::{collections::BTreeMap, format, string::String, vec::Vec};
use core::fmt::Write as _;

use expect_test::expect;
use model::{Currency, Timestamp};
use proptest::{collection::vec, prelude::*};

use crate::{
    AccountCode, AccountId, BatchRoot, Books, Cause, Changes, Kind, LedgerRefusal, Outcome,
    PendingState, Recorded, Touched, Transfer, TransferId, apply, apply_batch, trial_balance,
};

fn currency(letters: &str) -> Currency {
    Currency::parse(letters).unwrap()
}

/// `A` is an account in EUR; `A:KRW` one in won.
fn account(text: &str) -> AccountId {
    let (name, letters) = text.split_once(':').unwrap_or((text, "EUR"));
    AccountId::new(AccountCode(1), currency(letters), name.as_bytes())
}

fn id(name: &str) -> TransferId {
    Cause::new(1, &[name.as_bytes()]).transfer_id(0)
}

/// `name debit credit amount [pending | post NAME | void NAME]`.
fn transfer(line: &str) -> Transfer {
    let words: Vec<&str> = line.split_whitespace().collect();
    let kind = match words[4..] {
        [] => Kind::Direct,
        ["pending"] => Kind::Pending,
        ["post", of] => Kind::Post(id(of)),
        ["void", of] => Kind::Void(id(of)),
        ref other => panic!("no such kind: {other:?}"),
    };
    let amount = match words[3] {
        "max" => i64::MAX,
        text => text.parse().unwrap(),
    };
    Transfer {
        id: id(words[0]),
        debit: account(words[1]),
        credit: account(words[2]),
        amount,
        currency: currency("EUR"),
        kind,
        event_at: Timestamp(1),
        booked_at: Timestamp(2),
        cause: Cause::new(1, &[words[0].as_bytes()]),
    }
}

/// Applies line by line; a refused one must leave everything as it was.
fn run(lines: &str) -> String {
    let mut books = Touched::default();
    let mut out = String::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let before = format!("{books:?}");
        let result = apply(&mut books, &transfer(line));
        match result {
            Ok(outcome) => writeln!(out, "{line} => {outcome:?}").unwrap(),
            Err(refusal) => writeln!(out, "{line} => {refusal}").unwrap(),
        }
        if result != Ok(Outcome::Applied) {
            assert_eq!(before, format!("{books:?}"), "{line}");
        }
        trial_balance(books.balances()).unwrap();
    }
    for (account, b) in books.balances() {
        let name = account.opaque()[0] as char;
        write!(out, "{name} -{} +{}", b.debits_posted, b.credits_posted).unwrap();
        if (b.debits_pending, b.credits_pending) != (0, 0) {
            write!(out, " held -{} +{}", b.debits_pending, b.credits_pending).unwrap();
        }
        out.push('\n');
    }
    out
}

#[test]
fn refusals_in_order_of_precedence() {
    // Each row breaks the rule it names and every later one that it can.
    expect![[r#"
        one  A     B     100 => Applied
        one  A     B     100 => Exists
        one  A:KRW A:KRW 0 => the books hold this transfer id with another content
        two  A:KRW A:KRW 0 => the amount is not above zero
        two  A     A     -5 => the amount is not above zero
        two  A:KRW A:KRW 5   post none => debit and credit are the same account
        two  A:KRW B:KRW 5   post none => the debited account is of another currency
        two  A     B:KRW 5   post none => the credited account is of another currency
        two  A     B     5   post none => the pending transfer is not in the books
        two  C     D     5   post one => the transfer to settle is not a pending one
        held A     B     50  pending => Applied
        gone A     B     50  pending => Applied
        g    A     B     50  void gone => Applied
        two  C     D     5   post gone => the pending transfer is already voided
        kept A     B     50  pending => Applied
        k    A     B     50  post kept => Applied
        two  C     D     5   post kept => the pending transfer is already posted
        two  C     D     5   post held => the pending transfer has other accounts
        two  A     B     49  post held => the pending transfer has another amount
        two  A     B     50  post held => Applied
        big  C     D     max => Applied
        two2 C     D     1 => the debited account would overflow
        two2 E     D     1 => the credited account would overflow
        two2 C     E     1 => the debited account would overflow
        A -200 +0
        B -0 +200
        C -9223372036854775807 +0
        D -0 +9223372036854775807
    "#]]
    .assert_eq(&run("
        one  A     B     100
        one  A     B     100
        one  A:KRW A:KRW 0
        two  A:KRW A:KRW 0
        two  A     A     -5
        two  A:KRW A:KRW 5   post none
        two  A:KRW B:KRW 5   post none
        two  A     B:KRW 5   post none
        two  A     B     5   post none
        two  C     D     5   post one
        held A     B     50  pending
        gone A     B     50  pending
        g    A     B     50  void gone
        two  C     D     5   post gone
        kept A     B     50  pending
        k    A     B     50  post kept
        two  C     D     5   post kept
        two  C     D     5   post held
        two  A     B     49  post held
        two  A     B     50  post held
        big  C     D     max
        two2 C     D     1
        two2 E     D     1
        two2 C     E     1
    "));
}

#[test]
fn led_4_what_is_held_can_always_be_posted() {
    expect![[r#"
        held A B 9223372036854775800 pending => Applied
        more A B 8 => the debited account would overflow
        less A B 7 => Applied
        post A B 9223372036854775800 post held => Applied
        full A B 1 => the debited account would overflow
        A -9223372036854775807 +0
        B -0 +9223372036854775807
    "#]]
    .assert_eq(&run("
        held A B 9223372036854775800 pending
        more A B 8
        less A B 7
        post A B 9223372036854775800 post held
        full A B 1
    "));
}

#[test]
fn led_3_a_transfer_met_again_is_the_same_but_for_the_time_of_booking() {
    let mut books = Touched::default();
    let first = transfer("one A B 1");
    let later = Transfer { booked_at: Timestamp(99), ..first };
    let other = Transfer { event_at: Timestamp(99), ..first };
    let results = apply_batch(&mut books, &[first, later, other]);
    assert_eq!(
        results,
        [Ok(Outcome::Applied), Ok(Outcome::Exists), Err(LedgerRefusal::ExistsWithOtherContent)]
    );
}

#[test]
fn a_store_writes_back_what_changed_and_nothing_else() {
    let mut books = Touched::default();
    let held = transfer("held A B 5 pending");
    apply(&mut books, &held).unwrap();
    apply(&mut books, &transfer("old C D 7")).unwrap();
    let stored = books.take_changes();
    assert_eq!((stored.balances.len(), stored.inserted.len()), (4, 2));
    assert_eq!(books.take_changes(), Changes::default());

    // The next batch, with only what it touches brought in.
    let mut books = Touched::default();
    for (account, balance) in stored.balances {
        books.preload_balance(account, balance);
    }
    books.preload_transfer(stored.inserted[0]);
    apply(&mut books, &transfer("post A B 5 post held")).unwrap();
    apply(&mut books, &transfer("hold E F 3 pending")).unwrap();
    apply(&mut books, &transfer("void E F 3 void hold")).unwrap();
    let changes = books.take_changes();
    let touched: Vec<_> = changes.balances.iter().map(|(account, _)| *account).collect();
    assert_eq!(touched, ["A", "B", "E", "F"].map(account));
    assert_eq!(changes.settled, [(id("held"), PendingState::Posted)]);
    let states: Vec<_> = changes.inserted.iter().map(|r| r.pending).collect();
    assert_eq!(states, [None, Some(PendingState::Voided), None]);
}

#[test]
fn led_6_journal_bytes_and_batch_roots_never_change() {
    let one = transfer("one A B 100");
    let two = transfer("two A B 100 pending");
    let bytes = one.to_bytes();
    let rows: Vec<String> =
        bytes.chunks(32).map(|row| format!("{row:02x?}").replace(", ", "")).collect();
    expect![[r#"
        [4fe1c7081a8b5f3ee4e3f427b050ddfcf6a19e183aa3058c0bc089969f2bc94a]
        [000103d2410000000000000000000000000103d2420000000000000000000000]
        [000000000000006403d200000000000000000000000000000000000000000000]
        [0000000000000000000000000000000000000100000000000000020001615f69]
        [ed4e249a34955fc08be20fc324c06462f6ae8b817d22280505adca9209]"#]]
    .assert_eq(&rows.join("\n"));
    let first = BatchRoot::genesis().after([&one].into_iter());
    let second = first.after([&two].into_iter());
    expect![[r#"
        9a392db9a3056b3046b9b0b12f123e189934cd0c354379d95c509f228e0aa054
        9c91941eeec54993b869453ff7e43320ca486940c8b3c5ee911bdf9e7a177a5f
        6899727aec91457529130f2e80d6f3e822be56ba408d8992180a3d4a8bbc32ca"#]]
    .assert_eq(&format!("{}\n{first}\n{second}", BatchRoot::genesis()));
    // Where one batch ends is part of the chain.
    assert_ne!(second, BatchRoot::genesis().after([&one, &two].into_iter()));
}

#[test]
fn led_4_an_expiry_is_a_void_with_a_cause_of_its_own_and_settles_once() {
    let mut books = Touched::default();
    let held = transfer("held A B 50 pending");
    let expiry = transfer("expiry A B 50 void held");
    assert_eq!(apply(&mut books, &held), Ok(Outcome::Applied));
    assert_eq!(apply(&mut books, &expiry), Ok(Outcome::Applied));
    assert_eq!(apply(&mut books, &expiry), Ok(Outcome::Exists), "told twice");
    assert_ne!(expiry.cause, held.cause);
    let late = apply(&mut books, &transfer("late A B 50 post held"));
    assert_eq!(late, Err(LedgerRefusal::AlreadyVoided));
    assert!(books.balances().all(|(_, balance)| balance.is_zero()));
}

#[test]
fn led_5_a_transfer_keeps_when_it_happened_and_when_it_was_booked() {
    let happened = Timestamp(1_800_000_000_000);
    let booked = Timestamp(1_800_600_000_000);
    let late = Transfer { event_at: happened, booked_at: booked, ..transfer("late A B 150") };
    let mut books = Touched::default();
    apply(&mut books, &late).unwrap();
    let kept = books.take_changes().inserted[0].transfer;
    let read = Transfer::from_bytes(&kept.to_bytes()).unwrap();
    assert_eq!((read.event_at, read.booked_at), (happened, booked));
}

#[test]
fn books_that_do_not_balance_are_told_by_currency() {
    let mut books = Touched::default();
    apply(&mut books, &transfer("one A B 100")).unwrap();
    let mut balance = books.balance(&account("A"));
    balance.debits_posted -= 1;
    books.set_balance(account("A"), balance);
    let posted = trial_balance(books.balances()).unwrap_err();
    balance.debits_posted += 1;
    balance.debits_pending += 2;
    books.set_balance(account("A"), balance);
    let pending = trial_balance(books.balances()).unwrap_err();
    expect![[r#"
        EUR: debits 99 but credits 100
        EUR: held debits 2 but held credits 0"#]]
    .assert_eq(&format!("{posted}\n{pending}"));
}

fn any_transfer() -> impl Strategy<Value = Transfer> {
    let names = ["A", "B", "C", "A:KRW", "B:KRW"];
    let kind = prop_oneof![
        Just(Kind::Direct),
        Just(Kind::Pending),
        (0..12_u8).prop_map(|of| Kind::Post(Cause::new(1, &[&[of]]).transfer_id(0))),
        (0..12_u8).prop_map(|of| Kind::Void(Cause::new(1, &[&[of]]).transfer_id(0))),
    ];
    let amount = prop_oneof![6 => 1..4_i64, 1 => -1..=0_i64, 1 => i64::MAX - 2..=i64::MAX];
    (0..12_u8, 0..5_usize, 0..5_usize, amount, kind).prop_map(
        move |(name, debit, credit, amount, kind)| {
            let cause = Cause::new(1, &[&[name]]);
            Transfer {
                id: cause.transfer_id(0),
                debit: account(names[debit]),
                credit: account(names[credit]),
                currency: account(names[debit]).currency(),
                amount,
                kind,
                event_at: Timestamp(1),
                booked_at: Timestamp(2),
                cause,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn i8_all_accounts_sum_to_zero_and_a_replay_changes_nothing(
        transfers in vec(any_transfer(), 0..60),
    ) {
        let mut books = Touched::default();
        let first = apply_batch(&mut books, &transfers);
        trial_balance(books.balances()).unwrap();
        for (_, b) in books.balances() {
            let sides = [b.debits_posted, b.credits_posted, b.debits_pending, b.credits_pending];
            prop_assert!(sides.iter().all(|side| *side >= 0), "{b:?}");
        }
        // What was accepted is met again; the balances are what the journal says.
        let accepted: Vec<&Transfer> = transfers
            .iter()
            .zip(&first)
            .filter(|(_, result)| **result == Ok(Outcome::Applied))
            .map(|(transfer, _)| transfer)
            .collect();
        let before = format!("{books:?}");
        for transfer in &accepted {
            prop_assert_eq!(apply(&mut books, transfer), Ok(Outcome::Exists));
        }
        prop_assert_eq!(before, format!("{books:?}"));
        let mut posted = BTreeMap::<AccountId, i128>::new();
        for t in &accepted {
            if matches!(t.kind, Kind::Direct | Kind::Post(_)) {
                *posted.entry(t.debit).or_default() -= i128::from(t.amount);
                *posted.entry(t.credit).or_default() += i128::from(t.amount);
            }
        }
        for (account, balance) in books.balances() {
            let expected = posted.get(account).copied().unwrap_or(0);
            prop_assert_eq!(i128::from(balance.posted()), expected);
        }
        // A pending transfer is settled at most once.
        for Recorded { transfer, pending } in books.transfers() {
            let settlers = accepted.iter().filter(|t| {
                t.kind == Kind::Post(transfer.id) || t.kind == Kind::Void(transfer.id)
            });
            let expected = usize::from(!matches!(pending, None | Some(PendingState::Held)));
            prop_assert_eq!(settlers.count(), expected);
        }
    }

    /// The step is a function of books and batch: done again, on other books that were brought to
    /// the same state in one go, it gives the same books and the same answers (LED-1).
    #[test]
    fn led_1_the_step_is_a_pure_function_of_books_and_batch(
        before in vec(any_transfer(), 0..20),
        batch in vec(any_transfer(), 0..20),
    ) {
        let mut one = Touched::default();
        for transfer in &before {
            let _ = apply(&mut one, transfer);
        }
        let mut two = Touched::default();
        apply_batch(&mut two, &before);
        let answers = [apply_batch(&mut one, &batch), apply_batch(&mut two, &batch)];
        prop_assert_eq!(&answers[0], &answers[1]);
        let changes = [one.take_changes(), two.take_changes()];
        prop_assert_eq!(&changes[0], &changes[1]);
    }

    /// Nothing that was accepted is ever changed or gone: only what became of a held transfer moves
    /// on, once (LED-2).
    #[test]
    fn led_2_books_are_only_added_to(
        before in vec(any_transfer(), 0..20),
        batch in vec(any_transfer(), 0..20),
    ) {
        let mut books = Touched::default();
        apply_batch(&mut books, &before);
        let kept: Vec<Recorded> = books.transfers().copied().collect();
        apply_batch(&mut books, &batch);
        for (old, new) in kept.iter().zip(books.transfers()) {
            prop_assert_eq!(old.transfer, new.transfer);
            let settled = old.pending == Some(PendingState::Held);
            prop_assert!(settled || old.pending == new.pending);
        }
        prop_assert!(trial_balance(books.balances()).is_ok());
    }

    #[test]
    fn the_journal_form_reads_back(transfer in any_transfer()) {
        prop_assert_eq!(Transfer::from_bytes(&transfer.to_bytes()), Ok(transfer));
    }

    #[test]
    fn any_bytes_are_a_transfer_or_are_refused(bytes in vec(any::<u8>(), Transfer::LEN)) {
        if let Ok(transfer) = Transfer::from_bytes(bytes.first_chunk().unwrap()) {
            let again = Transfer::from_bytes(&transfer.to_bytes());
            prop_assert_eq!(again, Ok(transfer));
        }
    }
}
