//! Wrong clocks over a real database (REC-17): found by the cards' counters, and no money moves.

use clearing::{ClockGap, ExceptionKind};
use model::{ClockQuality, Epoch, RouteIx, TapRecord, TapRole, ValidatorId};

use super::*;

const YEAR_S: u32 = 365 * 86_400;

/// What the test looks at: kind, validator and finding of each open item.
fn open(rig: &Rig) -> Vec<(ExceptionKind, Option<ValidatorId>, String)> {
    let books = rig.books();
    let filter = ExceptionFilter { open: Some(true), ..ExceptionFilter::default() };
    let rows = books.exceptions(&filter, Page::first(100)).unwrap();
    let item = |id| books.exception(id).unwrap().unwrap();
    let mut open: Vec<_> =
        rows.iter().map(|row| (row.kind, row.validator, item(row.id).finding)).collect();
    open.sort();
    open
}

/// Three cards ride on three buses, in turn; the first bus is `off` seconds ahead or behind.
fn ride(rig: &mut Rig, off: i64) -> Vec<Message> {
    for (n, (card, bus)) in
        [(0, 0), (0, 1), (1, 1), (1, 0), (2, 2), (2, 0), (0, 2), (1, 2), (2, 1)].iter().enumerate()
    {
        let at = NOON + 60 * u32::try_from(n).unwrap();
        let off = if *bus == 0 { off } else { 0 };
        let at = u32::try_from(i64::from(at) + off).unwrap();
        rig.buses[*bus].board(&mut rig.cards, *card, at);
    }
    rig.buses.iter_mut().take(3).map(Bus::batch).collect()
}

fn money(rig: &Rig) -> Vec<i64> {
    let currency = rig.place.rules.currency();
    let cards = (0..3).map(|card| clearing::Account::Card(Cards::id(card)));
    let earned = clearing::Account::FareRevenue(Some(model::OperatorId(0)));
    cards
        .chain([earned])
        .map(|account| rig.place.store.account(&account.id(currency)).unwrap().posted())
        .collect()
}

#[test]
fn rec_17_a_clock_a_year_off_is_one_item_in_whatever_order_its_taps_come_and_moves_no_money() {
    let mut sound = Rig::new();
    let messages = ride(&mut sound, 0);
    sound.submit(&messages);
    assert_eq!(open(&sound), []);
    for (off, said) in [
        (i64::from(YEAR_S), "its clock is 364 days ahead of that of 2 other validators: "),
        (-i64::from(YEAR_S), "its clock is 364 days behind that of 2 other validators: "),
    ] {
        let mut found = Vec::new();
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1]] {
            for at_once in [true, false] {
                let mut rig = Rig::new();
                let messages = ride(&mut rig, off);
                let messages: Vec<_> =
                    order.into_iter().chain([0]).map(|at| messages[at].clone()).collect();
                let groups = if at_once { messages.len() } else { 1 };
                for group in messages.chunks(groups) {
                    rig.submit(group);
                }
                assert_eq!(money(&rig), money(&sound), "same ledger");
                rig.assert_sound();
                found.push(open(&rig));
            }
        }
        found.dedup();
        let [found] = &found[..] else { panic!("several results: {found:#?}") };
        let [(ExceptionKind::ClockWrong, Some(named), finding)] = &found[..] else {
            panic!("not one item about a clock: {found:#?}")
        };
        assert_eq!(named.number(), 1);
        assert!(finding.starts_with(said), "{finding}");
    }
}

#[test]
fn rec_17_the_page_of_a_validator_shows_both_taps_and_a_person_closes_the_item() {
    let mut rig = Rig::new();
    let messages = ride(&mut rig, i64::from(YEAR_S));
    rig.submit(&messages);
    let books = rig.books();
    for bus in [1, 2, 3] {
        let facts = books.validator(ValidatorId::new(bus).unwrap()).unwrap().unwrap();
        let of: Vec<_> = facts
            .clock_gaps
            .iter()
            .map(|gap: &ClockGap| (gap.pair().ahead.number(), gap.pair().behind.number()))
            .collect();
        assert_eq!(of, if bus == 1 { vec![(1, 2), (1, 3)] } else { vec![(1, bus)] });
    }
    let counted = rig.place.metrics.ingest_ahead.get();
    assert_eq!(counted, 3, "the taps of the bus that is ahead");
    let filter = ExceptionFilter { open: Some(true), ..ExceptionFilter::default() };
    let number = books.exceptions(&filter, Page::first(9)).unwrap()[0].id;
    let who = crate::intake::office::Who {
        by: "ana".into(),
        agreed_by: None,
        reason: "its clock is set again".into(),
    };
    let decision = crate::corrections::Decision::Close;
    crate::corrections::decide(&rig.place, "20.00", number, &decision, who).unwrap();
    assert_eq!(open(&rig), []);
    rig.assert_sound();
}

#[test]
fn rec_17_a_clock_that_nobody_set_is_known_as_such_and_no_item() {
    for (clock, items) in
        [(ClockQuality::Rtc, 1), (ClockQuality::Saved, 0), (ClockQuality::Unknown, 0)]
    {
        let mut rig = Rig::new();
        rig.board(0, 0, 0);
        let id = rig.buses[1].id;
        let transaction = rig.cards.boarding(0, NOON - YEAR_S, id);
        let proof = rig.cards.commit(0, &transaction);
        let record = TapRecord {
            validator: id,
            epoch: Epoch(1),
            seq: TapSeq(1),
            card: Some(Cards::id(0)),
            tapped_at: transaction.after.at(),
            clock,
            role: TapRole::Board,
            place: transaction.after.place,
            route: Some(RouteIx(0)),
            tariff: transaction.after.tariff,
            order: None,
            place_age_s: None,
            hotlist_version: None,
            duration_ms: 180,
            event: TapEvent::Committed { transaction, proof },
        };
        rig.buses[1].log_entry(record);
        let messages: Vec<_> = rig.buses.iter_mut().take(2).map(Bus::batch).collect();
        rig.submit(&messages);
        assert_eq!(open(&rig).len(), items, "{clock:?}");
        rig.assert_sound();
    }
}
