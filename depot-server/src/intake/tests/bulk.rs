//! Files of many load orders: good lines are ordered once, the others are told why not.

use clearing::Account;
use model::ChannelId;

use super::*;
use crate::{
    channels::bulk::{BulkReport, Judged, batches, order},
    config::Channel,
    orders::{OrderRules, Payment, give_back, pay},
};

fn employer() -> Channel {
    Channel::unnamed(12)
}

fn run(rig: &Rig, batch: Option<&str>, text: &str, dry_run: bool) -> BulkReport {
    let batch = batch.map(|name| name.parse().unwrap());
    order(&rig.place, (&employer(), &[]), batch.as_ref(), text.as_bytes(), dry_run).unwrap()
}

fn words(report: &BulkReport) -> Vec<(u32, &'static str)> {
    let word = |judged: &Judged| match judged {
        Judged::Good => "good",
        Judged::Ordered(_) => "ordered",
        Judged::Refused(word, _) => word,
    };
    report.lines.iter().map(|line| (line.row, word(&line.judged))).collect()
}

fn owed(rig: &Rig) -> i64 {
    let account = Account::LoadChannel(ChannelId(12)).id(rig.place.rules.currency());
    -rig.place.store.account(&account).unwrap().posted()
}

fn wages() -> String {
    let [a, b, c] = [0, 1, 2].map(|card| Cards::id(card).to_hex());
    format!(
        "card,amount,reference,currency\n\
         {a},20.00,e1,\n\
         {b},20.00,e2,EUR\n\
         04aaaaaaaaaaaa,20.00,e3,\n\
         {c},0.00,e4,\n\
         {c},-5.00,e5,\n\
         {c},20.00,e1,\n\
         {c},20,e6,USD\n\
         ,20.00,e7,\n\
         {c},999999.00,e8,\n\
         nonsense,1.00,e9,\n\
         {a},5.00,old,\n"
    )
}

#[test]
fn the_good_lines_of_a_file_are_ordered_once_and_the_others_told_with_their_reasons() {
    let rig = Rig::new();
    let earlier = Payment {
        channel: ChannelId(12),
        reference: "old".into(),
        card: Cards::id(1),
        amount: 500,
        purse: None,
        product: None,
        paid_at: rig.place.clock.now(),
    };
    pay(&rig.place, &earlier).unwrap();
    let expected = |good| {
        [
            (2, good),
            (3, good),
            (4, "unknown-card"),
            (5, "unreadable"),
            (6, "amount"),
            (7, "duplicate"),
            (8, "currency"),
            (9, "no-card"),
            (10, "amount"),
            (11, "unreadable"),
            (12, "other-content"),
        ]
    };
    let dry = run(&rig, None, &wages(), true);
    assert_eq!((words(&dry), dry.new_amount, dry.new.len()), (expected("good").into(), 4_000, 0));
    assert_eq!(owed(&rig), 500, "a dry run orders nothing");

    let first = run(&rig, None, &wages(), false);
    assert_eq!((words(&first), first.new.len()), (expected("ordered").into(), 2));
    assert_eq!(owed(&rig), 4_500);
    let again = run(&rig, None, &wages(), false);
    assert_eq!((again.lines, again.new.len()), (first.lines, 0), "the same report, and no order");
    assert_eq!(owed(&rig), 4_500);
    rig.assert_sound();
}

#[test]
fn a_corrected_file_orders_what_was_refused_and_batches_keep_references_apart() {
    let rig = Rig::new();
    let [a, b] = [0, 1].map(|card| Cards::id(card).to_hex());
    let file = format!("card,amount,reference\n{a},20.00,e1\n{b},x,e2\n");
    assert_eq!(run(&rig, Some("2026-11"), &file, false).new.len(), 1);
    let corrected = run(&rig, Some("2026-11"), &file.replace(",x,", ",7.00,"), false);
    assert_eq!((corrected.new.len(), corrected.refused()), (1, 0));
    let next = run(&rig, Some("2026-12"), &file.replace(",x,", ",7.00,"), false);
    assert_eq!(next.new.len(), 2, "the next month's e1 is another payment");
    assert_eq!(next.lines[0].reference, "2026-12/e1");

    let rules =
        OrderRules { offered_s: 86_400, clock_bound_s: 300, adjusts: true, overdue_s: None };
    give_back(&rig.place, rules, next.new[1]).unwrap();
    let totals = batches(&rig.place.store).unwrap();
    let shown: Vec<_> =
        totals.iter().map(|t| (t.batch.as_str(), t.orders, t.loaded, t.given_back)).collect();
    let november = ("2026-11", (2, 2_700), (0, 0), (0, 0));
    assert_eq!(shown, [november, ("2026-12", (2, 2_700), (0, 0), (1, 700))]);
    rig.assert_sound();
}

#[test]
fn a_card_that_is_lost_or_retired_gets_no_order() {
    let rig = Rig::new();
    let lost = Cards::id(2);
    rig.place.store.report_lost(lost, rig.place.clock.now()).unwrap();
    let report =
        run(&rig, None, &format!("card,amount,reference\n{},1.00,a\n", lost.to_hex()), false);
    assert_eq!(words(&report), [(2, "hotlisted")]);
    assert_eq!(owed(&rig), 0);
}
