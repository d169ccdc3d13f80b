//! Credit accounts over a real database: what rides first is paid for afterwards, once, and never
//! more than was agreed (ADR-0022).

use card::load_record;
use clearing::{
    Account, CreditId, CreditKind, CreditTerms, DeskDeed, DeskEntry, Dunning, OrderPhase, Taken,
};
use model::{
    CardRecord, CardTransaction, ChannelId, ClockQuality, Companions, Epoch, PlaceIx, RecordKind,
    StationId, TapRecord, TapRole, TariffVersion,
};
use proptest::{collection::vec, prelude::*, sample::Index};

use super::{
    orders::{RULES, load, on_the_list},
    *,
};
use crate::{
    channels::{self, webhook},
    credit::{self, CreditError, Opening, bill, charge, failed, link, paid, state, unlink},
    desk::{DeskError, gate::may_take},
    hotlist::{self, HotlistRules},
    intake::{
        book_order_events,
        stored::{BookedDesk, OrderEvent},
    },
    orders,
    store::{Begun, CaseFilter},
    workload::card_proof,
};

const BANK: ChannelId = ChannelId(9);
const TERMS: CreditTerms = CreditTerms {
    limit: 3_000,
    allowance: 1_000,
    below: 300,
    period_days: 1,
    due_days: 3,
    stop_days: 2,
    grey_days: 4,
    black_days: 30,
};
const DAY_S: u64 = 86_400;

/// Three cards that were issued with this, of which as many belong to account 1.
fn rig(opening: i32, linked: u32, terms: CreditTerms) -> Rig {
    let cards = Cards::new(3, NOON - 1000).with_opening(opening);
    let rig = Rig::of(rules(), cards, |_| false);
    let kind = if terms.period_days == 1 { CreditKind::Linked } else { CreditKind::PostPaid };
    let opening = Opening { kind, holder: "C-1".into(), channel: BANK, purse: None, terms };
    assert_eq!(credit::open(&rig.place, &opening).unwrap(), ONE);
    for card in 0..linked {
        link(&rig.place, ONE, Cards::id(card)).unwrap();
    }
    rig
}

const ONE: CreditId = CreditId(1);

impl Rig {
    /// Refills are ordered, and validators have them.
    fn refill(&self) -> u64 {
        let ordered = credit::tick(&self.place).unwrap();
        orders::tick(&self.place, RULES).unwrap();
        ordered
    }

    /// A bus puts what its list holds onto the card.
    fn load_at(&mut self, bus: usize, card: u32, at_s: u32) {
        let newest = *self.cards.newest(card);
        let entry = load(self, bus, card, &newest, at_s);
        let TapEvent::Committed { transaction, .. } = &entry.event else { panic!("a load") };
        self.cards.commit(card, transaction);
        self.buses[bus].log_entry(entry);
    }

    fn deliver(&mut self, bus: usize) {
        let batch = self.buses[bus].batch();
        self.submit(&[batch]);
    }

    fn day(&self, day: u64) {
        let noon = u64::from(NOON) + 60;
        self.place.clock.set(Timestamp::from_secs(noon + day * DAY_S));
    }

    fn credit(&self, account: Account) -> i64 {
        self.place.store.account(&account.id(self.place.rules.currency())).unwrap().posted()
    }

    /// What was put on cards on credit is on them, on its way, or debt; and not more than agreed.
    fn assert_kept(&self, limit: i64) {
        charge(&self.place, ONE).unwrap();
        let mut sum = self.credit(Account::CreditLine(ONE));
        for card in self.place.store.credit_cards(ONE).unwrap() {
            for account in [
                Account::Card(card),
                Account::RiderDue(card),
                Account::Replaced(card),
                Account::OrderOwed(card),
            ] {
                sum += self.credit(account);
            }
            for order in self.place.store.orders_of(card).unwrap() {
                sum += if order.is_under_way() { i64::from(order.amount) } else { 0 };
            }
        }
        // Cards whose records are all there: nothing else stands beside them.
        assert_eq!(sum, 0, "line + cards + under way");
        let state = state(&self.place, ONE).unwrap();
        assert!(state.exposure.minor() <= limit, "{}", state.exposure);
    }
}

fn money(minor: i64) -> model::Money {
    model::Money::new(minor, model::Currency::parse("EUR").unwrap())
}

#[test]
fn a_linked_card_rides_first_and_each_day_is_one_charge_that_opens_to_its_taps() {
    let mut rig = rig(0, 1, TERMS);
    assert_eq!(rig.refill(), 1);
    assert_eq!(rig.refill(), 0, "one is on its way");
    assert_eq!(rig.credit(Account::CreditLine(ONE)), -1_000);
    rig.load_at(0, 0, 10);
    for tap in 0..5 {
        rig.board(0, 0, 20 + tap * 600);
    }
    rig.deliver(0);
    assert_eq!(rig.refill(), 1, "2.50 are left, below 3.00");
    assert_eq!(rig.credit(Account::AccountDebt(ONE)), 0, "the day is not over");
    rig.assert_sound();

    rig.day(1);
    credit::tick(&rig.place).unwrap();
    let now = state(&rig.place, ONE).unwrap();
    assert_eq!((now.account.debt(), now.line, now.exposure), (750, money(1_000), money(1_750)));
    let charges = rig.place.store.credit_charges(ONE).unwrap();
    assert_eq!(charges.len(), 1);
    assert_eq!((charges[0].amount, charges[0].taps.len()), (750, 5));
    assert!(charges[0].taps.iter().all(|tap| tap.amount == 150 && tap.card == Cards::id(0)));
    let due = now.account.open_bills();
    assert_eq!((due.len(), due[0].0.number, due[0].1), (1, 1, 750), "billed as the day ended");
    credit::tick(&rig.place).unwrap();
    assert_eq!(rig.place.store.credit_charges(ONE).unwrap().len(), 1, "a day is charged once");
    rig.assert_kept(3_000);
    rig.assert_sound();

    let bank = (BANK, "account-1-1");
    let at = rig.place.clock.now();
    paid(&rig.place, ONE, bank, 750, at).unwrap();
    paid(&rig.place, ONE, bank, 750, at).unwrap();
    let other = paid(&rig.place, ONE, bank, 751, at).unwrap_err();
    assert!(matches!(other, CreditError::OtherContent { .. }), "{other}");
    assert_eq!(state(&rig.place, ONE).unwrap().account.debt(), 0);
    assert_eq!(rig.credit(Account::AccountBank(BANK)), -750);
    rig.assert_sound();
}

#[test]
fn what_was_on_a_card_is_spent_first_and_what_is_left_when_it_goes_is_owed() {
    let mut rig = rig(400, 2, TERMS);
    let now = state(&rig.place, ONE).unwrap();
    assert_eq!((now.account.prepaid(), now.exposure), (800, money(0)), "its holder's own money");
    assert_eq!(rig.refill(), 0);
    rig.board(0, 0, 10);
    rig.board(0, 0, 20);
    rig.deliver(0);
    rig.assert_kept(3_000);
    assert_eq!(state(&rig.place, ONE).unwrap().account.prepaid(), 500);
    assert_eq!(rig.refill(), 1);
    rig.load_at(1, 0, 30);
    rig.board(1, 0, 40);
    rig.deliver(1);
    // 1.00 and 9.00 came onto it, 4.50 were ridden.
    assert_eq!(unlink(&rig.place, ONE, Cards::id(0)).unwrap(), 850);
    let now = state(&rig.place, ONE).unwrap();
    assert_eq!((now.account.debt(), now.line), (500, money(400)));
    assert!(matches!(unlink(&rig.place, ONE, Cards::id(0)), Err(CreditError::NotLinked(..))));
    rig.board(1, 0, 50);
    rig.deliver(1);
    rig.assert_kept(3_000);
    assert_eq!(state(&rig.place, ONE).unwrap().account.debt(), 500, "it rides its holder's own");
    rig.assert_sound();
}

#[test]
fn cash_and_other_channels_loads_onto_an_accounts_card_pay_its_debt() {
    let mut rig = rig(0, 1, TERMS);
    rig.refill();
    rig.load_at(0, 0, 10);
    rig.board(0, 0, 20);
    rig.deliver(0);
    let order = orders::Payment { card: Cards::id(0), ..super::orders::payment(0, 500, "k-1") };
    orders::pay(&rig.place, &order).unwrap();
    orders::tick(&rig.place, RULES).unwrap();
    charge(&rig.place, ONE).unwrap();
    assert_eq!(state(&rig.place, ONE).unwrap().account.debt(), 150, "not on the card yet");
    rig.load_at(0, 0, 30);
    rig.deliver(0);
    charge(&rig.place, ONE).unwrap();
    let now = state(&rig.place, ONE).unwrap();
    assert_eq!((now.account.debt(), now.account.prepaid()), (0, 350));
    assert_eq!(now.exposure, money(1_000), "13.50 are on the card, 3.50 of it paid");
    rig.assert_sound();
}

/// An account that owes 7.50 on bill 1.
fn billed() -> Rig {
    let mut rig = rig(0, 1, TERMS);
    rig.refill();
    rig.load_at(0, 0, 10);
    for tap in 0..5 {
        rig.board(0, 0, 20 + tap);
    }
    rig.deliver(0);
    bill(&rig.place, ONE).unwrap().unwrap();
    rig
}

fn owes(rig: &Rig) -> (i64, Option<i64>) {
    let now = state(&rig.place, ONE).unwrap();
    (now.account.debt(), now.past_due.map(|past| past.amount))
}

fn told(rig: &Rig, id: &str, kind: &str, amount: &str) -> Result<String, String> {
    let body = format!(
        r#"{{"id":"{id}","type":"payment.{kind}","payment":{{"reference":"account-1-1",
        "amount":"{amount}","currency":"EUR"}}}}"#
    );
    let answer = webhook::take(&rig.place, RULES, BANK, body.as_bytes());
    answer.map(|answer| answer.result).map_err(|error| error.to_string())
}

#[test]
fn a_provider_tells_what_became_of_a_bill_and_each_word_counts_once() {
    let rig = billed();
    assert_eq!(told(&rig, "e1", "failed", "7.50").unwrap(), "past-due");
    assert_eq!(owes(&rig), (750, Some(750)));
    for _ in 0..2 {
        assert_eq!(told(&rig, "e2", "succeeded", "7.50").unwrap(), "paid");
    }
    assert_eq!(told(&rig, "e3", "succeeded", "7.50").unwrap(), "paid");
    assert_eq!(owes(&rig), (0, None));
    let other = told(&rig, "e4", "succeeded", "7.49").unwrap_err();
    assert!(other.contains("for another payment, of account 1"), "{other}");
    assert_eq!(told(&rig, "e5", "refunded", "7.50").unwrap(), "taken-back");
    assert_eq!(told(&rig, "e6", "refunded", "7.50").unwrap(), "taken-back");
    assert_eq!(owes(&rig), (750, Some(750)), "it could not be collected before");
    rig.assert_sound();
}

#[test]
fn a_statement_pays_bills_whatever_else_is_in_it_and_once_with_what_a_provider_told() {
    let mut rig = billed();
    let bank = crate::config::Channel::unnamed(BANK.0);
    let hand_in = |rig: &Rig, text: &str| {
        let matched = channels::hand_in(&rig.place, &bank, text.as_bytes()).unwrap();
        let words: Vec<_> = matched.lines.iter().map(|line| line.verdict.word()).collect();
        (matched.statement.known, words)
    };
    let first = hand_in(&rig, "reference,amount\naccount-1-1,5.00\nK-1,3.00\naccount-1-9,1.00\n");
    assert_eq!(first, (0, vec!["matched", "no-order", "no-order"]), "there is no bill 9");
    assert_eq!(owes(&rig).0, 250);
    let again = hand_in(&rig, "reference,amount\naccount-1-1,5.00\naccount-1-1,2.50\n");
    assert_eq!(again, (1, vec!["matched"; 2]), "a part after a part");
    assert_eq!(owes(&rig), (0, None));
    let reversed = "reference,amount\naccount-1-1,5.00\naccount-1-1,2.50\naccount-1-1,-2.50\n";
    assert_eq!(hand_in(&rig, reversed).0, 2);
    assert_eq!(hand_in(&rig, &format!("{reversed}K-2,1.00\n")).0, 3);
    assert_eq!(owes(&rig).0, 250);
    assert_eq!(rig.credit(Account::AccountBank(BANK)), -500);
    assert_eq!(rig.credit(Account::ChannelUnmatched(BANK)), 300 + 100 + 100);
    rig.board(0, 0, 60);
    rig.deliver(0);
    rig.assert_kept(3_000);
    rig.assert_sound();
}

/// A load with the card's genuine proof that nobody ordered.
fn forged(rig: &mut Rig, card: u32, amount: u32, at_s: u32) {
    let before = *rig.cards.newest(card);
    let after = load_record(&before, amount, NOON + at_s).unwrap();
    let after = CardRecord { validator: rig.buses[0].id, ..after };
    let (products, counters, purse) = (None, None, None);
    let companions = Companions::NONE;
    let loaded = None;
    let transaction =
        CardTransaction { before, after, products, counters, companions, purse, loaded };
    let proof = card_proof(&card_keys(), Cards::id(card), &transaction);
    rig.cards.commit(card, &transaction);
    let validator = rig.buses[0].id;
    rig.buses[0].log_entry(TapRecord {
        validator,
        epoch: Epoch(1),
        seq: TapSeq(0),
        card: Some(Cards::id(card)),
        tapped_at: Timestamp::from_secs(u64::from(NOON + at_s)),
        clock: ClockQuality::Ntp,
        role: TapRole::Board,
        place: PlaceIx(0),
        route: None,
        tariff: TariffVersion(1),
        order: Some(model::OrderId(1)),
        place_age_s: None,
        hotlist_version: None,
        duration_ms: 180,
        event: TapEvent::Committed { transaction, proof },
    });
}

#[test]
fn rec_9_value_that_nobody_ordered_pays_no_debt_and_no_card_that_has_it_is_linked() {
    let mut rig = rig(0, 1, TERMS);
    rig.refill();
    rig.load_at(0, 0, 10);
    rig.board(0, 0, 20);
    rig.deliver(0);
    charge(&rig.place, ONE).unwrap();
    // Forty times somebody raises the card.
    for n in 0..40 {
        forged(&mut rig, 0, 1_000, 30 + n);
        forged(&mut rig, 1, 1_000, 30 + n);
        rig.deliver(0);
        charge(&rig.place, ONE).unwrap();
        let now = state(&rig.place, ONE).unwrap().account;
        assert_eq!((now.debt(), now.prepaid()), (150, 0), "after {n}");
    }
    assert_eq!(rig.credit(Account::OrderOwed(Cards::id(0))), -40_000);
    let refused = link(&rig.place, ONE, Cards::id(1)).unwrap_err();
    assert!(matches!(refused, CreditError::NotSure(_)), "{refused}");
    // What it rides of that, its account owes as any ride.
    rig.board(0, 0, 200);
    rig.deliver(0);
    rig.assert_kept(3_000);
    assert_eq!(state(&rig.place, ONE).unwrap().account.debt(), 300);
    rig.assert_sound();
}

/// A desk retires a card, with its value going so.
fn retire(rig: &mut Rig, card: u32, value: Taken) {
    let before = *rig.cards.newest(card);
    let after = CardRecord {
        kind: RecordKind::Retire,
        ctr: model::Ctr(before.ctr.0 + 1),
        amount: before.balance.unsigned_abs(),
        balance: 0,
        at_s: before.at_s + 60,
        validator: model::ValidatorId::DEPOT,
        place: PlaceIx::NONE,
        run: None,
        ..before
    };
    let deed = DeskDeed::Retired { before, after, value };
    desk(rig, card, deed);
}

fn desk(rig: &mut Rig, card: u32, deed: DeskDeed) {
    let entry =
        DeskEntry { op: 0, station: StationId(1), card: Cards::id(card), purse: None, deed };
    let now = rig.place.clock.now();
    let Begun::Yes(op) = rig.place.store.begin_op(&entry, now).unwrap() else { panic!("begun") };
    let booked =
        BookedDesk { entry: DeskEntry { op, ..entry }, how: "the card answered", proof: None };
    let group = rig.place.store.begin().unwrap();
    let booking = step::book_desk(&group, &rig.place.rules, &[booked], now).unwrap();
    group.commit(&booking).unwrap();
}

#[test]
fn rec_9_a_card_of_an_account_pays_no_cash_and_what_was_on_it_goes_back_to_the_account() {
    let mut rig = rig(0, 1, TERMS);
    rig.refill();
    rig.load_at(0, 0, 10);
    rig.board(0, 0, 20);
    rig.deliver(0);
    let (state_of, _) = rig.place.store.card_state(Cards::id(0)).unwrap().unwrap();
    let currency = rig.place.rules.currency();
    let take = |value| may_take(&rig.place.store, currency, Cards::id(0), &state_of, value);
    let refused = take(Taken::PaidOut).unwrap_err();
    assert!(matches!(refused, DeskError::OfAccount { .. }), "{refused}");
    take(Taken::ForAnotherCard).unwrap();

    retire(&mut rig, 0, Taken::Held);
    assert_eq!(rig.credit(Account::CreditLine(ONE)), -150, "8.50 came back");
    assert_eq!(rig.credit(Account::RefundClearing), 0);
    assert_eq!(rig.credit(Account::DeskCash(StationId(1))), 0);
    rig.assert_kept(3_000);
    let now = state(&rig.place, ONE).unwrap();
    assert_eq!((now.account.debt(), now.line, now.exposure), (150, money(0), money(150)));
    assert_eq!(rig.refill(), 0, "a retired card is not refilled");
    rig.assert_sound();
}

#[test]
fn rec_9_a_card_in_place_of_an_accounts_card_is_the_accounts_and_late_rides_of_the_lost_one_too() {
    let mut rig = rig(0, 1, TERMS);
    rig.refill();
    rig.load_at(0, 0, 10);
    rig.board(0, 0, 20);
    rig.deliver(0);
    // Lost, and ridden by the finder on a bus that comes home late.
    rig.board(1, 0, 600);
    let record = CardRecord { balance: 850, amount: 850, ..rig.cards.issues()[1].record };
    let new = 7;
    let deed = DeskDeed::Issued { record, in_place_of: Some(Cards::id(0)), issuer: None };
    desk(&mut rig, new, deed);
    assert_eq!(rig.place.store.credit_of(Cards::id(new)).unwrap(), Some(ONE));
    rig.assert_kept(3_000);
    assert_eq!(state(&rig.place, ONE).unwrap().account.debt(), 150);
    rig.deliver(1);
    rig.assert_kept(3_000);
    let now = state(&rig.place, ONE).unwrap();
    assert_eq!((now.account.debt(), now.line), (300, money(700)), "the account's risk, known late");
    rig.assert_sound();
}

#[test]
fn an_order_that_is_given_back_and_loaded_all_the_same_is_its_accounts_and_no_second_credit() {
    let mut rig = rig(0, 1, TERMS);
    rig.refill();
    let [order] = rig.place.store.orders_of(Cards::id(0)).unwrap()[..] else { panic!("one") };
    assert!(on_the_list(&rig, 0).is_some());
    rig.load_at(1, 0, 10);
    // Somebody struck a validator off that had it: nobody waits for its log.
    let id = order.id.0;
    book_order_events(&rig.place, |_, next| {
        let withdrawn = OrderEvent::Withdrawn { order: id, without: next.0 };
        vec![withdrawn, OrderEvent::GivenBack { order: id }]
    })
    .unwrap();
    rig.assert_kept(3_000);
    assert_eq!(rig.credit(Account::CreditLine(ONE)), 0);
    rig.board(0, 0, 60);
    rig.deliver(0);
    let order = rig.place.store.order(order.id).unwrap().unwrap();
    assert_eq!(order.phase, OrderPhase::Loaded);
    rig.assert_kept(3_000);
    let now = state(&rig.place, ONE).unwrap();
    assert_eq!((now.account.debt(), now.line), (150, money(850)));
    rig.assert_sound();
}

#[test]
fn a_card_that_cannot_be_an_accounts_is_refused_by_what_is_wrong() {
    let rig = rig(400, 1, TERMS);
    let say = |error: CreditError| error.to_string();
    let unknown = link(&rig.place, CreditId(9), Cards::id(1)).unwrap_err();
    assert!(say(unknown).contains("there is no account 9"));
    let stranger = link(&rig.place, ONE, CardId([9; 7])).unwrap_err();
    assert!(say(stranger).contains("was not issued on these books"));
    let second = Opening {
        kind: CreditKind::PostPaid,
        holder: "C-2".into(),
        channel: BANK,
        purse: Some(model::Currency::parse("CHF").unwrap()),
        terms: TERMS,
    };
    let two = credit::open(&rig.place, &second).unwrap();
    let taken = link(&rig.place, two, Cards::id(0)).unwrap_err();
    assert!(say(taken).contains("belongs to account 1"));
    let currency = say(link(&rig.place, two, Cards::id(1)).unwrap_err());
    assert!(currency.contains("EUR") && currency.contains("CHF"), "{currency}");
    rig.place.store.report_lost(Cards::id(2), rig.place.clock.now()).unwrap();
    let lost = link(&rig.place, ONE, Cards::id(2)).unwrap_err();
    assert!(say(lost).contains("reported as lost"));
    let nameless = Opening { holder: " ".into(), ..second.clone() };
    assert!(matches!(credit::open(&rig.place, &nameless), Err(CreditError::Holder)));
    let terms = CreditTerms { limit: 1, ..TERMS };
    let poor = Opening { terms, ..second };
    assert!(matches!(credit::open(&rig.place, &poor), Err(CreditError::Terms(_))));
    let at = rig.place.clock.now();
    assert!(matches!(paid(&rig.place, ONE, (BANK, "x"), 0, at), Err(CreditError::Nothing)));
    assert!(matches!(paid(&rig.place, ONE, (BANK, " "), 1, at), Err(CreditError::Reference)));
    assert!(matches!(failed(&rig.place, ONE, 1, ""), Err(CreditError::NoBill(_, 1))));
    rig.assert_sound();
}

fn hotlist_rules() -> HotlistRules {
    let of = crate::config::Hotlist {
        rules: ["debt", "unpaid"].map(str::to_owned).to_vec(),
        ..crate::config::Hotlist::default()
    };
    HotlistRules::from(&of)
}

fn cases(rig: &Rig) -> Vec<(String, String, String)> {
    let cases = rig.place.store.hotlist_cases(&CaseFilter::default(), 99).unwrap();
    let word = |case: &blocking::Case| {
        let grade = hotlist::event::grade_word(case.grade).to_owned();
        (case.cause.word().to_owned(), grade, case.standing.word().to_owned())
    };
    cases.iter().map(word).collect()
}

fn case(cause: &str, grade: &str, standing: &str) -> (String, String, String) {
    (cause.to_owned(), grade.to_owned(), standing.to_owned())
}

#[test]
fn usr_4_an_account_that_does_not_pay_is_warned_then_grey_and_its_cards_are_served_once_it_paid() {
    let mut rig = rig(0, 1, TERMS);
    rig.refill();
    rig.load_at(0, 0, 10);
    (0..5).for_each(|n| {
        rig.board(0, 0, 20 + n);
    });
    rig.deliver(0);
    let look = |rig: &Rig, day| {
        rig.day(day);
        let ordered = credit::tick(&rig.place).unwrap();
        hotlist::tick(&rig.place.store, &hotlist_rules(), rig.place.clock.now()).unwrap();
        (state(&rig.place, ONE).unwrap().account.dunning, ordered)
    };
    assert_eq!(look(&rig, 1), (Dunning::Good, 1), "billed, due on day 4; 2.50 were left");
    failed(&rig.place, ONE, 1, "no cover").unwrap();
    failed(&rig.place, ONE, 1, "no cover").unwrap();
    assert_eq!(look(&rig, 1).0, Dunning::Warned, "told at once, and stopped from nothing");
    assert_eq!(rig.open_kinds(), ["account-past-due"]);
    assert_eq!(look(&rig, 3).0, Dunning::Stopped);
    assert_eq!(cases(&rig), [], "nobody is blocked who can still pay");
    // The running server was off on the day that it would have turned grey.
    assert_eq!(look(&rig, 6).0, Dunning::Grey);
    assert_eq!(cases(&rig), [case("debt", "grey", "proposed")]);
    let of = CaseFilter { ids: vec![1], ..CaseFilter::default() };
    let decide = |decision, day| {
        rig.day(day);
        let now = rig.place.clock.now();
        hotlist::decide(&rig.place.store, &of, "ana", decision, now).unwrap();
    };
    decide(&hotlist::Decision::Approve, 6);
    look(&rig, 6);
    assert_eq!(cases(&rig), [case("debt", "grey", "in-force")]);
    let refused = link(&rig.place, ONE, Cards::id(1)).unwrap_err();
    assert!(matches!(refused, CreditError::PastDue(_)), "{refused}");
    assert_eq!(look(&rig, 31).0, Dunning::Black);
    let both = [case("unpaid", "black", "proposed"), case("debt", "grey", "in-force")];
    let mut found = cases(&rig);
    found.sort();
    assert_eq!(found, {
        let mut both = both;
        both.sort();
        both
    });

    // A part is not enough; all of it ends what the debt had, by itself.
    let at = rig.place.clock.now();
    paid(&rig.place, ONE, (BANK, "a"), 700, at).unwrap();
    assert_eq!(look(&rig, 31).0, Dunning::Black);
    paid(&rig.place, ONE, (BANK, "b"), 50, at).unwrap();
    assert_eq!(look(&rig, 31).0, Dunning::Good);
    let mut found = cases(&rig);
    found.sort();
    assert_eq!(found, [case("debt", "grey", "unblocked"), case("unpaid", "black", "withdrawn")]);
    assert!(!rig.open_kinds().contains(&"account-past-due"));
    let list = rig.place.store.kept_hotlists().unwrap().remove(0).1;
    assert_eq!(lists::Hotlist::parse(list).unwrap().len(), 0);
    rig.assert_sound();
}

#[test]
fn what_a_person_rejected_is_not_proposed_again_before_the_next_debt() {
    let mut rig = rig(0, 1, TERMS);
    rig.refill();
    rig.load_at(0, 0, 10);
    rig.board(0, 0, 20);
    rig.deliver(0);
    let look = |rig: &Rig, day| {
        rig.day(day);
        credit::tick(&rig.place).unwrap();
        hotlist::tick(&rig.place.store, &hotlist_rules(), rig.place.clock.now()).unwrap();
    };
    (1..12).for_each(|day| look(&rig, day));
    assert_eq!(cases(&rig), [case("debt", "grey", "proposed")]);
    let of = CaseFilter { ids: vec![1], ..CaseFilter::default() };
    let no = hotlist::Decision::Reject("pays tomorrow".to_owned());
    hotlist::decide(&rig.place.store, &of, "ana", &no, rig.place.clock.now()).unwrap();
    (12..15).for_each(|day| look(&rig, day));
    assert_eq!(cases(&rig), [case("debt", "grey", "rejected")]);
    paid(&rig.place, ONE, (BANK, "a"), 150, rig.place.clock.now()).unwrap();
    rig.board(0, 0, 20 * 86_400);
    rig.deliver(0);
    (15..40).for_each(|day| look(&rig, day));
    assert_eq!(cases(&rig).len(), 2, "another debt is another case");
    rig.assert_sound();
}

#[test]
fn verify_names_an_account_that_was_altered() {
    let mut rig = rig(0, 2, CreditTerms { period_days: 30, ..TERMS });
    rig.refill();
    rig.load_at(0, 0, 10);
    rig.board(0, 0, 20);
    rig.deliver(0);
    assert_eq!(bill(&rig.place, ONE).unwrap().unwrap().amount, 150);
    rig.assert_sound();
    let difference = |sql: &str, undo: &str| {
        rig.place.store.alter(sql);
        let checker = Checker::new(depot(), card_keys());
        let report = crate::verify::verify(&rig.place.store, &checker, &rig.place.rules).unwrap();
        rig.place.store.alter(undo);
        report.first_difference.unwrap()
    };
    let paid =
        difference("UPDATE credit_accounts SET paid = 150", "UPDATE credit_accounts SET paid = 0");
    assert!(paid.contains("account 1 stands otherwise"), "{paid}");
    let bill = difference(
        "UPDATE credit_bills SET due_on = due_on + 1",
        "UPDATE credit_bills SET due_on = due_on - 1",
    );
    assert!(bill.contains("account 1 stands otherwise"), "{bill}");
    let card = difference(
        "UPDATE credit_cards SET until = 0 WHERE since = 0 AND card = (SELECT min(card) FROM \
         credit_cards)",
        "UPDATE credit_cards SET until = NULL",
    );
    assert!(card.contains("should be of account 1"), "{card}");
    rig.assert_sound();
}

/// What riders, validators, the depot and the bank do, in any order.
#[derive(Debug, Clone, Copy)]
enum Does {
    /// Card, bus.
    Rides(u32, usize),
    /// Card, bus: the order is on its list.
    Loads(u32, usize),
    Delivers(usize),
    Refills,
    Charges,
    Bills,
    Pays(i64),
    NextDay,
}

fn does() -> impl Strategy<Value = Does> {
    prop_oneof![
        8 => (0..2_u32, 0..3_usize).prop_map(|(card, bus)| Does::Rides(card, bus)),
        4 => (0..2_u32, 0..3_usize).prop_map(|(card, bus)| Does::Loads(card, bus)),
        3 => (0..3_usize).prop_map(Does::Delivers),
        3 => Just(Does::Refills),
        1 => Just(Does::Charges),
        1 => Just(Does::Bills),
        2 => (1..900_i64).prop_map(Does::Pays),
        1 => Just(Does::NextDay),
    ]
}

/// The truth beside the books.
#[derive(Default)]
struct World {
    at_s: u32,
    day: u64,
    ridden: i64,
    paid: i64,
    logged: [bool; 3],
}

impl World {
    fn act(&mut self, rig: &mut Rig, does: Does) {
        self.at_s += 60;
        match does {
            Does::Rides(card, bus) => {
                if rig.cards.newest(card).balance >= 150 {
                    rig.board(bus, card, self.at_s);
                    self.ridden += 150;
                    self.logged[bus] = true;
                }
            }
            Does::Loads(card, bus) => {
                let newest = *rig.cards.newest(card);
                let sealed = on_the_list(rig, card);
                if sealed.is_some_and(|sealed| sealed.order.load_seq.0 == newest.load_seq.0 + 1) {
                    rig.load_at(bus, card, self.at_s);
                    self.logged[bus] = true;
                }
            }
            Does::Delivers(bus) => {
                if std::mem::take(&mut self.logged[bus]) {
                    rig.deliver(bus);
                }
            }
            Does::Refills => {
                rig.refill();
            }
            Does::Charges => {
                charge(&rig.place, ONE).unwrap();
            }
            Does::Bills => {
                bill(&rig.place, ONE).unwrap();
            }
            Does::Pays(amount) => {
                let reference = format!("p-{}", self.at_s);
                let at = rig.place.clock.now();
                paid(&rig.place, ONE, (BANK, &reference), amount, at).unwrap();
                self.paid += amount;
            }
            Does::NextDay => {
                self.day += 1;
                rig.day(self.day);
                credit::tick(&rig.place).unwrap();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// REC-10, SEC-6: whatever is ridden, wherever it is still unheard of, and however refills and
    /// payments fall between: the rides that are not paid never cost more than was agreed, and once
    /// everything is heard the account owes just them.
    #[test]
    fn rec_10_no_interleaving_of_rides_refills_and_payments_costs_more_than_the_limit(
        of in vec(does(), 10..60),
    ) {
        let mut rig = rig(0, 2, CreditTerms { black_days: 3_000, grey_days: 2_000,
            stop_days: 2_000, ..TERMS });
        rig.refill();
        let mut world = World::default();
        for does in of {
            world.act(&mut rig, does);
            let unpaid = world.ridden - world.paid;
            prop_assert!(unpaid <= i64::from(TERMS.limit), "{does:?}: {unpaid} are unpaid");
            let known = state(&rig.place, ONE).unwrap().exposure.minor();
            prop_assert!(known <= i64::from(TERMS.limit) && unpaid <= known.max(unpaid));
        }
        for bus in 0..3 {
            world.act(&mut rig, Does::Delivers(bus));
        }
        rig.assert_kept(TERMS.limit.into());
        let now = state(&rig.place, ONE).unwrap().account;
        prop_assert_eq!(now.debt() - now.prepaid(), world.ridden - world.paid);
        rig.assert_sound();
    }

    /// REC-1: in whatever order validators are heard, however often, however their batches fall
    /// into groups, and wherever between them charges are made: the account stands alike.
    #[test]
    fn rec_1_in_whatever_order_taps_come_and_wherever_they_are_charged_an_account_stands_alike(
        of in vec(does(), 10..40),
        picks in vec((any::<Index>(), any::<bool>(), any::<bool>()), 1..40),
    ) {
        let mut one = rig(0, 2, TERMS);
        one.refill();
        let mut two = rig(0, 2, TERMS);
        two.refill();
        let mut world = World::default();
        let mut batches: [std::collections::VecDeque<Message>; 3] = Default::default();
        for does in of {
            match does {
                Does::Rides(..) | Does::Loads(..) => world.act(&mut one, does),
                Does::Delivers(bus) if std::mem::take(&mut world.logged[bus]) => {
                    let batch = one.buses[bus].batch();
                    one.submit(std::slice::from_ref(&batch));
                    batches[bus].push_back(batch);
                }
                Does::Delivers(_) | Does::Refills | Does::Charges | Does::Bills | Does::Pays(_)
                | Does::NextDay => {}
            }
        }
        charge(&one.place, ONE).unwrap();
        let mut picks = picks.iter().cycle();
        while batches.iter().any(|of| !of.is_empty()) {
            let (pick, twice, then_charge) = picks.next().unwrap();
            let bus = (0..3).map(|n| (pick.index(3) + n) % 3).find(|bus| !batches[*bus].is_empty());
            let batch = batches[bus.unwrap()].pop_front().unwrap();
            let group = if *twice { vec![batch.clone(), batch] } else { vec![batch] };
            two.submit(&group);
            if *then_charge {
                charge(&two.place, ONE).unwrap();
            }
        }
        charge(&two.place, ONE).unwrap();
        let stands = |rig: &Rig| {
            let accounts = [Account::CreditLine(ONE), Account::AccountDebt(ONE),
                Account::AccountPrepaid(ONE), Account::LoadOrders, Account::LoadClearing];
            accounts.map(|account| rig.credit(account))
        };
        prop_assert_eq!(stands(&one), stands(&two));
        one.assert_sound();
        two.assert_sound();
    }
}
