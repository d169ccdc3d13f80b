//! Statements of channels against load orders, both ways, over a real database (REC-16, ADR-0021).

use clearing::{Account, OrderPhase, Verdict};
use model::{ChannelId, OrderId};

use super::*;
use crate::{
    channels::{Matched, hand_in, note_overdue, open_payments, states},
    config::Channel,
    intake::{book_order_events, stored::OrderEvent},
    orders::{OrderRules, Payment, give_back, pay},
};

const KIOSKS: u16 = 7;
const RULES: OrderRules =
    OrderRules { offered_s: 86_400, clock_bound_s: 300, adjusts: true, overdue_s: None };

fn kiosks() -> Channel {
    Channel { statement_within_hours: Some(24), ..Channel::unnamed(KIOSKS) }
}

fn order(rig: &Rig, card: u32, amount: u32, reference: &str) -> OrderId {
    let paid_at = rig.place.clock.now();
    let payment = Payment {
        channel: ChannelId(KIOSKS),
        reference: reference.to_owned(),
        card: Cards::id(card),
        amount,
        purse: None,
        product: None,
        paid_at,
    };
    pay(&rig.place, &payment).unwrap().id
}

fn state(rig: &Rig, lines: &str) -> Matched {
    let text = format!("reference,amount,card\n{lines}");
    hand_in(&rig.place, &kiosks(), text.as_bytes()).unwrap()
}

fn stands(rig: &Rig, account: fn(ChannelId) -> Account) -> i64 {
    let id = account(ChannelId(KIOSKS)).id(rig.place.rules.currency());
    rig.place.store.account(&id).unwrap().posted()
}

/// (to be handed in, at the bank, met by no order).
fn accounts(rig: &Rig) -> (i64, i64, i64) {
    (
        -stands(rig, Account::LoadChannel),
        -stands(rig, Account::ChannelBank),
        stands(rig, Account::ChannelUnmatched),
    )
}

fn later(rig: &Rig, hours: u64) {
    let now = rig.place.clock.now();
    rig.place.clock.set(Timestamp(now.0 + hours * 3_600_000));
}

#[test]
fn rec_16_the_octopus_2007_pattern_is_found_on_the_first_day_both_ways_to_the_unit() {
    let rig = Rig::new();
    // 2,000 top-ups of one day. Of 3 the kiosk took the money and the order was lost; of 2 the
    // order was made and the money never came.
    let payments: Vec<_> = (0..2_000_u32).map(|n| (n, 500 + n % 7 * 250)).collect();
    let lost_orders = |n: u32| [17, 1_003, 1_999].contains(&n);
    let lost_money = |n: u32| [400, 1_500].contains(&n);
    let paid_at = rig.place.clock.now().0;
    book_order_events(&rig.place, |next, _| {
        let orders = (next.0..).zip(payments.iter().filter(|(n, _)| !lost_orders(*n)));
        let paid = |(order, (n, amount)): (u64, &(u32, u32))| OrderEvent::Paid {
            order,
            card: Cards::id(n % 3).0,
            amount: *amount,
            channel: KIOSKS,
            reference: format!("K{n}"),
            paid_at,
            purse: None,
            product: None,
            account: None,
        };
        orders.map(paid).collect()
    })
    .unwrap();
    later(&rig, 24);
    let lines = payments.iter().filter(|(n, _)| !lost_money(*n)).map(|(n, amount)| {
        let card = Cards::id(n % 3).to_hex();
        format!("K{n},{}.{:02},{card}\n", amount / 100, amount % 100)
    });
    let day_one = state(&rig, &lines.collect::<String>());
    assert_eq!(day_one.lines.len(), 1_998);
    let found = |matched: &Matched| -> Vec<(String, Verdict)> {
        matched.open().map(|line| (line.line.reference.clone(), line.verdict)).collect()
    };
    let amount = |n: u32| model::Money::new((500 + n % 7 * 250).into(), rig.place.rules.currency());
    let no_order = |n: u32| (format!("K{n}"), Verdict::NoOrder(amount(n)));
    assert_eq!(found(&day_one), [17, 1_003, 1_999].map(no_order));
    later(&rig, 1);
    assert_eq!(note_overdue(&rig.place, &[kiosks()]).unwrap(), 2);

    let lost: i64 = [17, 1_003, 1_999].map(|n| amount(n).minor()).iter().sum();
    let missing: i64 = [400, 1_500].map(|n| amount(n).minor()).iter().sum();
    let all: i64 = payments.iter().map(|(_, amount)| i64::from(*amount)).sum();
    assert_eq!(accounts(&rig), (missing, all - missing, lost));
    let open = open_payments(&rig.place, ChannelId(KIOSKS)).unwrap();
    assert_eq!(open.len(), 5, "and nothing else of 2,000");
    let kinds = rig.open_kinds();
    assert_eq!(kinds.iter().filter(|kind| **kind == "payment-without-order").count(), 3);
    assert_eq!(kinds.iter().filter(|kind| **kind == "order-without-payment").count(), 2);
    rig.assert_sound();

    // The missing sides arrive: what was open closes by itself.
    for n in [17, 1_003, 1_999] {
        order(&rig, n % 3, 500 + n % 7 * 250, &format!("K{n}"));
    }
    let late = [400, 1_500].map(|n| format!("K{n},{},\n", amount(n).decimal()));
    state(&rig, &late.concat());
    assert_eq!(accounts(&rig), (0, all, 0));
    assert_eq!(rig.open_kinds(), [""; 0]);
    rig.assert_sound();
}

#[test]
fn rec_16_the_same_statement_and_one_that_overlaps_it_change_nothing_that_was_stated() {
    let rig = Rig::new();
    for reference in ["a", "b", "c"] {
        order(&rig, 0, 1_000, reference);
    }
    let first = state(&rig, "a,10.00,\nb,10.00,\n");
    assert_eq!((first.again, first.statement.known), (false, 0));
    let before = accounts(&rig);
    let rows = rig.place.store.order_journal().unwrap().len();
    let again = state(&rig, "a,10.00,\nb,10.00,\n");
    assert!(again.again && again.statement == first.statement);
    assert_eq!(again.lines, first.lines);
    assert_eq!((accounts(&rig), rig.place.store.order_journal().unwrap().len()), (before, rows));

    // The next file begins with what the last one ended with.
    let next = state(&rig, "b,10.00,\nc,10.00,\n");
    assert_eq!((next.again, next.statement.known, next.statement.id), (false, 1, 2));
    assert_eq!(accounts(&rig), (0, 3_000, 0));
    assert_eq!(rig.open_kinds(), [""; 0]);
    // Another channel's references are its own.
    let other = Channel::unnamed(8);
    let other = hand_in(&rig.place, &other, b"reference,amount\na,10.00\n").unwrap();
    assert!(matches!(other.lines[0].verdict, Verdict::NoOrder(_)));
    rig.assert_sound();
}

#[test]
fn rec_16_whatever_does_not_agree_is_a_work_item_that_the_channels_next_word_closes() {
    let card = Cards::id(0).to_hex();
    let other_card = Cards::id(1).to_hex();
    for (lines, kind, amount, cure) in [
        // What the first statement says, what it opens, over how much, and what closes it.
        ("a,12.00,\n".to_owned(), "payment-differs", 200, "a,-2.00,\n"),
        ("a,8.00,\n".to_owned(), "payment-differs", 200, "a,2.00,\n"),
        ("a,10.00,\na,10.00,\n".to_owned(), "payment-differs", 1_000, "a,-10.00,\n"),
        (
            "a,10.00,\na,-10.00,\n".to_owned(),
            "order-without-payment",
            1_000,
            "a,10,04a1b2c3d4e5f6\n",
        ),
        (format!("a,10.00,{other_card}\n"), "payment-differs", 1_000, ""),
        ("x,3.00,\n".to_owned(), "payment-without-order", 300, "x,-3.00,\n"),
        (format!("a,10.00,{card}\n"), "", 0, ""),
    ] {
        let rig = Rig::new();
        order(&rig, 0, 1_000, "a");
        state(&rig, &lines);
        let open = open_payments(&rig.place, ChannelId(KIOSKS)).unwrap();
        let found: Vec<_> = open.iter().filter_map(|payment| payment.verdict.item()).collect();
        let expected = if kind.is_empty() { vec![] } else { vec![(kind, amount)] };
        let said: Vec<_> = found.iter().map(|(kind, sum)| (kind.word(), sum.minor())).collect();
        assert_eq!(said, expected, "{lines}");
        assert_eq!(rig.open_kinds(), expected.iter().map(|(kind, _)| *kind).collect::<Vec<_>>());
        rig.assert_sound();
        if cure.starts_with("a,10,04") {
            // Paid once more, and the channel names a card: that it is another one shows.
            state(&rig, cure);
            assert_eq!(rig.open_kinds(), ["payment-differs"], "{lines}");
        } else if !cure.is_empty() {
            state(&rig, cure);
            assert_eq!(rig.open_kinds(), [""; 0], "{lines}");
        }
        rig.assert_sound();
    }
}

#[test]
fn rec_16_money_for_an_order_that_was_given_back_is_owed_to_the_channel_until_it_takes_it() {
    let rig = Rig::new();
    let id = order(&rig, 0, 1_000, "a");
    give_back(&rig.place, RULES, id).unwrap();
    assert_eq!(accounts(&rig), (0, 0, 0));
    state(&rig, "a,10.00,\n");
    assert_eq!(accounts(&rig), (0, 1_000, 1_000));
    assert_eq!(rig.open_kinds(), ["payment-differs"]);
    state(&rig, "a,-10.00,\n");
    assert_eq!((accounts(&rig), rig.open_kinds()), ((0, 0, 0), vec![]));

    // The other way round: handed in first, then given back.
    let id = order(&rig, 1, 700, "b");
    state(&rig, "b,7.00,\n");
    assert_eq!(accounts(&rig), (0, 700, 0));
    give_back(&rig.place, RULES, id).unwrap();
    assert!(matches!(rig.place.store.order(id).unwrap().unwrap().phase, OrderPhase::Refunded(_)));
    assert_eq!(accounts(&rig), (0, 700, 700), "the channel is owed what it gave back");
    assert_eq!(rig.open_kinds(), ["payment-differs"]);
    state(&rig, "b,-7.00,\n");
    assert_eq!((accounts(&rig), rig.open_kinds()), ((0, 0, 0), vec![]));
    rig.assert_sound();
}

#[test]
fn rec_16_in_whatever_order_payment_lines_and_delay_come_the_books_end_alike() {
    type Step = (&'static str, fn(&Rig));
    let steps: [Step; 4] = [
        ("order", |rig| {
            order(rig, 0, 1_000, "a");
        }),
        ("line", |rig| {
            state(rig, "a,10.00,\n");
        }),
        ("part", |rig| {
            state(rig, "a,2.50,\n");
        }),
        ("late", |rig| {
            later(rig, 30);
            note_overdue(&rig.place, &[kiosks()]).unwrap();
        }),
    ];
    for first in 0..4 {
        for second in (0..4).filter(|n| *n != first) {
            for third in (0..4).filter(|n| *n != first && *n != second) {
                let fourth = 6 - first - second - third;
                let rig = Rig::new();
                let order = [first, second, third, fourth];
                for step in order {
                    steps[step].1(&rig);
                }
                let named = order.map(|step| steps[step].0);
                assert_eq!(accounts(&rig), (0, 1_250, 250), "{named:?}");
                assert_eq!(rig.open_kinds(), ["payment-differs"], "{named:?}");
                rig.assert_sound();
            }
        }
    }
}

#[test]
fn the_account_of_a_channel_adds_up() {
    let rig = Rig::new();
    order(&rig, 0, 1_000, "a");
    order(&rig, 1, 2_000, "b");
    state(&rig, "a,10.00,\nx,1.00,\n");
    let [kiosks] = &states(&rig.place).unwrap()[..] else { panic!("one channel") };
    assert_eq!((kiosks.orders, kiosks.awaited), (2, 1));
    let minor = [kiosks.handed_in, kiosks.matched, kiosks.to_hand_in, kiosks.unmatched];
    assert_eq!(minor.map(model::Money::minor), [1_100, 1_000, 2_000, 100]);
    assert_eq!(kiosks.oldest, Some(rig.place.clock.now()));
}

#[test]
fn a_statement_that_does_not_read_leaves_the_books_as_they_were() {
    let rig = Rig::new();
    order(&rig, 0, 1_000, "a");
    let rows = rig.place.store.order_journal().unwrap().len();
    let error = hand_in(&rig.place, &kiosks(), b"reference,amount\na,10.00\nb,zehn\n").unwrap_err();
    assert!(error.to_string().contains("line 3"), "{error}");
    assert_eq!(rig.place.store.order_journal().unwrap().len(), rows);
    assert_eq!(accounts(&rig), (1_000, 0, 0));
}
