//! What a card's holder is owed, by hand and over random rides in random order.

use alloc::{format, string::ToString, vec::Vec};

use fare::{FareTap, Journey, Tariff, TariffSet, price, rules::ZoneOffsets};
use model::{
    CardCounters, CardLayout, CardRecord, CardTransaction, Companions, CounterUse, Ctr, Currency,
    GateWord, PlaceIx, RecordKind, RouteIx, ServiceDate, TapEvent, TapRecord, TapRole, ValidatorId,
};
use proptest::{collection::vec, prelude::*, sample::Index};

use super::{CITY, History, committed, confirmed, entry_of, forked, francs, in_doubt};
use crate::{CardHistory, Due, RepairRule, may_owe};

/// Monday, 23 November 2026.
const MONDAY: u32 = 20_780;

/// A tariff with a day cap of 4.00 and, for these tests, no transfers.
fn tariffs() -> TariffSet {
    let utc = |_: &str| Some(ZoneOffsets::fixed(0));
    let overlay = r#"
        day_starts = "04:00"
        transfer = []
        companions = { riders_max = 4 }
        cap = [{ number = 1, id = "day", name = "Day cap", period = "day",
                 levels = [{ price = "4.00" }] }]"#;
    let city = CITY.replace("[gate]\n", "[gate]\nnot_passed = \"give-back\"\n");
    let tariff = Tariff::parse_in(&city, Some(overlay), &utc);
    TariffSet::new(tariff.unwrap_or_else(|found| panic!("{found:#?}")))
}

/// One tap: day, minute, role, place and route.
type Tap = (u32, u32, TapRole, u16, Option<u16>);

/// A card that an honest validator charges; of layout 2 with counters, of 3 in francs.
struct Card {
    set: TariffSet,
    has_counters: bool,
    purse: Option<Currency>,
    newest: CardRecord,
    counters: CardCounters,
    taps: Vec<TapRecord>,
    /// Who rides along on buses.
    others: Companions,
}

impl Card {
    fn new(has_counters: bool) -> Self {
        let issue = *History::issued(100_000).newest();
        let layout = if has_counters { CardLayout::Counters } else { CardLayout::Plain };
        let newest = CardRecord { layout, at_s: (MONDAY - 1) * 86_400, ..issue };
        let (counters, taps) = (CardCounters::EMPTY, Vec::new());
        let others = Companions::NONE;
        Self { set: tariffs(), has_counters, purse: None, newest, counters, taps, others }
    }

    fn in_francs() -> Self {
        let card = Self::new(true);
        let newest = CardRecord { layout: CardLayout::OtherCurrency, ..card.newest };
        Self { purse: Some(francs()), newest, ..card }
    }

    /// One tap; an exit without a tap-in is refused and leaves nothing.
    fn tap(&mut self, (day, minute, role, place, route): Tap) -> Option<u32> {
        let route = route.map(RouteIx);
        let companions = if role == TapRole::Board { self.others } else { Companions::NONE };
        let before = self.newest;
        let found = self.has_counters.then_some(self.counters);
        let tap = FareTap {
            at: model::Timestamp::from_secs(u64::from((MONDAY + day) * 86_400 + minute * 60)),
            role,
            place: PlaceIx(place),
            route,
            class: before.class,
            companions,
            purse: self.purse,
            validator: ValidatorId::new(before.ctr.0 + 10).unwrap(),
            tariff: before.tariff,
        };
        let journey = Journey::from_record(&before).counting(found);
        let quote = price(&self.set, &journey, &tap).ok()?;
        let amount = u32::try_from(quote.debit.minor()).unwrap();
        let after = CardRecord {
            kind: match role {
                TapRole::Board => RecordKind::Board,
                TapRole::Entry => RecordKind::Entry,
                TapRole::Exit => RecordKind::Exit,
            },
            ctr: Ctr(before.ctr.0 + 1),
            balance: before.balance - i32::try_from(amount).unwrap(),
            amount,
            at_s: u32::try_from(tap.at.secs()).unwrap(),
            validator: tap.validator,
            place: tap.place,
            run: quote.run_after,
            ..before
        };
        let counters = found.map(|found| CounterUse {
            found,
            written: quote.counters_after.filter(|after| *after != found),
        });
        self.counters = quote.counters_after.unwrap_or(self.counters);
        self.newest = after;
        let (products, purse) = (None, self.purse);
        let transaction =
            CardTransaction { before, after, products, loaded: None, counters, companions, purse };
        self.taps.push(entry_of(&transaction, route, 1, committed(transaction)));
        Some(amount)
    }

    fn bus(&mut self, day: u32, minute: u32) -> Option<u32> {
        self.tap((day, minute, TapRole::Board, 3, Some(0)))
    }

    /// In at a station; out at another, when one is given, a quarter of an hour later.
    fn metro(&mut self, day: u32, from: u16, to: Option<u16>) {
        self.tap((day, 600, TapRole::Entry, from, None)).unwrap();
        if let Some(to) = to {
            self.tap((day, 615, TapRole::Exit, to, None)).unwrap();
        }
    }

    fn history(&self) -> CardHistory {
        let mut history = CardHistory::of_purse(self.purse);
        self.taps.iter().for_each(|tap| history.add_tap(tap));
        history
    }

    fn due(&self) -> Due {
        self.history().due(&self.set, &RepairRule::default())
    }
}

fn day(day: u32) -> ServiceDate {
    ServiceDate(MONDAY + day)
}

#[test]
fn a_card_without_counters_is_owed_what_it_paid_above_the_cap() {
    let mut card = Card::new(false);
    let paid: Vec<_> = (0..4).map(|n| card.bus(0, 600 + 10 * n).unwrap()).collect();
    assert_eq!(paid, [150; 4], "no validator knows what this card paid before");
    // After midnight and before four: still Monday's service day.
    card.bus(1, 60);
    card.bus(1, 600);
    let due = card.due();
    let amounts: Vec<_> = due.days.iter().map(|(day, due)| (*day, due.amount())).collect();
    assert_eq!(amounts, [(day(0), 750 - 400), (day(1), 0)]);
    let why: Vec<_> = due.days[&day(0)].why.iter().map(|w| (w.ctr.0, w.charged, w.fare)).collect();
    assert_eq!(why, [(4, 150, 100), (5, 150, 0), (6, 150, 0)]);
    for repriced in due.days.values().flat_map(|day| &day.why) {
        let sum: i64 = repriced.steps.iter().map(|step| step.amount.minor()).sum();
        assert_eq!(sum, repriced.fare, "the steps sum to the fare");
    }
}

#[test]
fn what_companions_paid_is_neither_counted_nor_given_back() {
    for has_counters in [false, true] {
        let mut alone = Card::new(has_counters);
        let mut group = Card::new(has_counters);
        group.others = Companions::new([(model::RiderClass(0), 2)]).unwrap();
        for n in 0..4 {
            let own = alone.bus(0, 600 + 10 * n).unwrap();
            assert_eq!(group.bus(0, 600 + 10 * n), Some(own + 2 * 150));
        }
        let (alone, group) = (alone.due(), group.due());
        assert_eq!(group.amount(), alone.amount());
        let [a, g] = [&alone, &group].map(|due| &due.days[&day(0)]);
        assert_eq!((g.charged - a.charged, g.fare - a.fare), (4 * 300, 4 * 300));
    }
}

#[test]
fn a_card_whose_validators_counted_is_owed_nothing() {
    let mut card = Card::new(true);
    let paid: Vec<_> = (0..4).map(|n| card.bus(0, 600 + 10 * n).unwrap()).collect();
    assert_eq!(paid, [150, 150, 100, 0]);
    let due = card.due();
    assert_eq!((due.amount(), due.days[&day(0)].why.len()), (0, 0));
}

#[test]
fn a_missed_tap_out_is_repaired_where_the_rider_usually_taps_out() {
    let mut card = Card::new(true);
    for day in 0..3 {
        card.metro(day, 0, Some(1));
    }
    card.metro(3, 0, Some(2));
    card.metro(4, 0, None);
    assert_eq!(card.due().amount(), 0, "nothing was charged for the missing tap-out yet");
    assert_eq!(card.bus(5, 600), Some(300 + 150));
    let due = card.due();
    assert_eq!(due.amount(), 100, "2.00 to Beta in place of the maximum fare of 3.00");
    let why = &due.days[&day(5)].why;
    let repaired = why[0].repaired.as_ref().unwrap();
    assert_eq!(
        repaired.to_string(),
        "no tap-out after the tap-in 10 at Alpha: 3 of 4 journeys of this card from there in 30 \
         days ended at Beta, so this one is priced as if it had too"
    );
    let steps: Vec<_> = why[0].steps.iter().map(|step| step.amount.minor()).collect();
    assert_eq!((steps.iter().sum::<i64>(), why[0].fare), (350, 350), "{steps:?}");
}

#[test]
fn a_repair_of_a_purse_in_francs_converts_each_of_its_two_taps_by_itself() {
    let mut card = Card::in_francs();
    for day in 0..3 {
        card.metro(day, 0, Some(1));
    }
    card.metro(4, 0, None);
    // 4.50 at 0.9432 are 4.2444; 2.00 and 1.50 by themselves are 1.8864 and 1.4148.
    assert_eq!(card.bus(5, 600), Some(425));
    let due = card.due();
    assert_eq!(due.amount(), 425 - (190 + 140));
    let why = &due.days[&day(5)].why[0];
    let steps: i64 = why.steps.iter().map(|step| step.amount.minor()).sum();
    assert_eq!((why.charged, why.fare, steps), (425, 330, 350), "the steps are in the tariff's");
    let debits: Vec<_> = why.exchanged.iter().map(|done| done.debit.to_string()).collect();
    assert_eq!(debits, ["1.90 CHF", "1.40 CHF"]);
}

#[test]
fn an_entry_that_speaks_of_another_purse_is_none_of_the_cards_rides() {
    let mut card = Card::in_francs();
    for minute in 0..4 {
        card.bus(0, 600 + 10 * minute);
    }
    let known = card.due();
    let mut history = card.history();
    for (seq, purse) in [(7, None), (8, super::kroner())] {
        let entry = card.taps[1];
        let (transaction, _) = entry.settled().unwrap();
        let other = super::properties::in_purse(purse, *transaction);
        let mut dearer = other;
        dearer.after.at_s -= 1;
        dearer.after.amount += 1_000;
        history.add_tap(&entry_of(&dearer, entry.route, seq, committed(dearer)));
        history.add_tap(&entry_of(&other, entry.route, seq, in_doubt(other)));
    }
    assert_eq!(history.due(&card.set, &RepairRule::default()), known);
}

#[test]
fn a_missed_tap_out_without_a_clear_pattern_stays_at_the_maximum_fare() {
    let ends: [&[u16]; 4] = [&[], &[1, 1], &[1, 1, 1, 2, 2, 2], &[1, 1, 1, 2, 2, 2, 1]];
    for ends in ends {
        let mut card = Card::new(true);
        for (day, to) in (0..).zip(ends) {
            card.metro(day, 0, Some(*to));
        }
        card.metro(20, 0, None);
        card.bus(21, 600);
        assert_eq!(card.due().amount(), 0, "{ends:?}");
    }
    // Just outside of the days looked at, and just within.
    for (missed, owed) in [(32, 100), (33, 0)] {
        let mut card = Card::new(true);
        for day in 2..5 {
            card.metro(day, 0, Some(1));
        }
        card.metro(missed, 0, None);
        card.bus(missed + 1, 600);
        assert_eq!(card.due().amount(), owed, "missed on day {missed}");
    }
}

#[test]
fn a_repair_is_never_dearer_than_the_maximum_fare() {
    let mut card = Card::new(true);
    for day in 0..3 {
        card.metro(day, 0, Some(2));
    }
    card.metro(4, 0, None);
    card.bus(5, 600);
    let due = card.due();
    assert!(due.days.values().all(|day| day.fare <= day.charged), "{due:?}");
}

#[test]
fn a_month_has_three_repairs_and_later_taps_change_none_of_them() {
    let mut card = Card::new(true);
    // 1 December 2026 is day 8.
    for day in 8..11 {
        card.metro(day, 0, Some(1));
    }
    let mut before = Vec::new();
    for missed in 0..5 {
        card.metro(12 + 2 * missed, 0, None);
        card.bus(13 + 2 * missed, 600);
        before.push(card.due());
    }
    let owed: Vec<_> = before.iter().map(Due::amount).collect();
    assert_eq!(owed, [100, 200, 300, 300, 300]);
    // A new habit, and a new month.
    for day in 24..38 {
        card.metro(day, 0, Some(2));
    }
    let due = card.due();
    assert_eq!(due.amount(), 300);
    for early in before {
        assert!(early.days.iter().all(|(day, early)| due.days[day] == *early));
    }
}

#[test]
fn an_unserved_charge_is_left_to_its_own_work_item() {
    let mut card = Card::new(false);
    (0..4).for_each(|n| assert_eq!(card.bus(0, 600 + 10 * n), Some(150)));
    assert_eq!(card.due().amount(), 200);
    let mut history = card.history();
    history.add_unserved(Ctr(3), 150);
    let due = history.due(&card.set, &RepairRule::default());
    assert_eq!(due.amount(), 50, "1.50 by the item and 0.50 here: three rides under the cap");
}

#[test]
fn a_tap_in_that_let_nobody_through_is_repaid_once_although_its_tap_out_could_be_repaired() {
    let mut card = Card::new(true);
    for day in 0..3 {
        card.metro(day, 0, Some(1));
    }
    card.metro(4, 0, None);
    assert_eq!(card.bus(5, 600), Some(300 + 150));
    assert_eq!(card.due().amount(), 100);
    let mut history = card.history();
    history.add_unserved(Ctr(8), 300);
    let due = history.due(&card.set, &RepairRule::default());
    assert_eq!(due.amount(), 0, "the item repays the whole maximum fare: {due:?}");
}

#[test]
fn only_caps_gates_and_interchanges_can_make_a_difference() {
    assert!(may_owe(&tariffs()));
    let flat = CITY.split("[gate]").next().unwrap();
    let flat: Vec<_> = flat.lines().filter(|line| !line.contains("\"M\"")).collect();
    let tariff = Tariff::parse(&flat.join("\n")).unwrap_or_else(|found| panic!("{found:#?}"));
    assert!(!may_owe(&TariffSet::new(tariff)));
}

/// How an entry reaches the depot.
#[derive(Debug, Clone, Copy)]
enum Told {
    Committed,
    Confirmed,
    Doubted,
    /// Its gate let nobody through.
    TurnedBack,
    /// Its gate says both.
    Contradicted,
    /// A copy of the card claims the same counter.
    Copied,
    /// Its log is lost: known from what the next tap found.
    Lost,
}

fn tap() -> impl Strategy<Value = (u32, TapRole, u16, Option<u16>)> {
    prop_oneof![
        2 => Just((TapRole::Board, 3, Some(0))),
        1 => Just((TapRole::Board, 3, Some(1))),
        3 => (0..3_u16).prop_map(|place| (TapRole::Entry, place, None)),
        3 => (0..3_u16).prop_map(|place| (TapRole::Exit, place, None)),
    ]
    .prop_flat_map(|(role, place, route)| {
        (1..400_u32).prop_map(move |wait| (wait, role, place, route))
    })
}

fn told() -> impl Strategy<Value = Told> {
    prop_oneof![
        5 => Just(Told::Committed),
        2 => Just(Told::Confirmed),
        2 => Just(Told::Doubted),
        1 => Just(Told::TurnedBack),
        1 => Just(Told::Contradicted),
        1 => Just(Told::Copied),
        1 => Just(Told::Lost),
    ]
}

/// The entries by which a tap becomes known.
/// What the gate told of a tap's rider.
fn at_gate(tap: &TapRecord, said: GateWord) -> TapRecord {
    let seq = model::TapSeq(3 + u64::from(said == GateWord::Passed));
    TapRecord { seq, event: TapEvent::Gate { said, of: Some(tap.seq) }, ..*tap }
}

#[test]
fn a_ride_that_the_gate_did_not_let_through_is_given_back_with_what_followed_from_it() {
    // In at Alpha, where the gate shut; then in again and out at Beta.
    let mut card = Card::new(true);
    card.metro(0, 0, None);
    card.metro(1, 0, Some(1));
    let charged: i64 = card
        .taps
        .iter()
        .map(|tap| {
            let (done, _) = tap.settled().unwrap();
            i64::from(done.after.amount)
        })
        .sum();
    let (mut history, first) = (card.history(), card.taps[0]);
    assert_eq!(history.due(&card.set, &RepairRule::default()).amount(), 0);
    history.add_tap(&at_gate(&first, GateWord::TimedOut));
    let due = history.due(&card.set, &RepairRule::default());
    let mut alone = Card::new(true);
    alone.metro(1, 0, Some(1));
    let fare: i64 =
        alone.taps.iter().map(|tap| i64::from(tap.settled().unwrap().0.after.amount)).sum();
    assert_eq!(due.amount(), charged - fare, "the maximum fare of a journey that never began");
    assert!(due.amount() > 0);
    // An exit that charged and let nobody out.
    let mut card = Card::new(true);
    card.metro(0, 0, Some(1));
    let exit = card.taps[1];
    let mut history = card.history();
    history.add_tap(&at_gate(&exit, GateWord::TimedOut));
    let due = history.due(&card.set, &RepairRule::default());
    assert_eq!(due.amount(), i64::from(exit.settled().unwrap().0.after.amount));
    let [why] = &due.days[&day(0)].why[..] else { panic!("{due:?}") };
    assert!(why.not_passed && why.fare == 0);
    // Nobody takes it back but the gate's own word that the rider passed after all.
    history.add_tap(&at_gate(&exit, GateWord::Unseen));
    assert_eq!(history.due(&card.set, &RepairRule::default()), due);
    history.add_tap(&at_gate(&exit, GateWord::Passed));
    assert_eq!(history.due(&card.set, &RepairRule::default()).amount(), 0);
}

#[test]
fn a_time_out_costs_the_operator_nothing_where_the_tariff_charges() {
    let mut card = Card::new(true);
    card.set = {
        let utc = |_: &str| Some(ZoneOffsets::fixed(0));
        TariffSet::new(Tariff::parse_in(CITY, None, &utc).unwrap())
    };
    card.metro(0, 0, Some(1));
    let mut history = card.history();
    history.add_tap(&at_gate(&card.taps[1], GateWord::TimedOut));
    assert_eq!(history.due(&card.set, &RepairRule::default()).amount(), 0);
}

fn entries(tap: &TapRecord, told: Told) -> Vec<TapRecord> {
    let (transaction, _) = tap.settled().unwrap();
    let doubt = TapRecord { event: in_doubt(*transaction), ..*tap };
    let seq = model::TapSeq(2);
    match told {
        Told::Committed => alloc::vec![*tap],
        Told::Confirmed => {
            alloc::vec![doubt, TapRecord { seq, event: confirmed(*transaction), ..*tap }]
        }
        Told::Copied => {
            let copy = forked(*transaction, 60);
            let copied = entry_of(&copy, tap.route, 1, committed(copy));
            alloc::vec![*tap, copied]
        }
        Told::TurnedBack => alloc::vec![*tap, at_gate(tap, GateWord::TimedOut)],
        Told::Contradicted => {
            let said = [GateWord::TimedOut, GateWord::Passed];
            [*tap].into_iter().chain(said.map(|said| at_gate(tap, said))).collect()
        }
        Told::Doubted => alloc::vec![doubt],
        Told::Lost => Vec::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn what_is_owed_does_not_depend_on_the_order_or_number_of_arrivals(
        has_counters: bool,
        in_francs: bool,
        others in 0..3_u8,
        turns in vec((tap(), told()), 1..40),
        order in vec(any::<Index>(), 0..120),
    ) {
        let mut card = if in_francs { Card::in_francs() } else { Card::new(has_counters) };
        card.others = Companions::new([(model::RiderClass(0), others)]).unwrap();
        let mut minute = 0;
        let mut sent = Vec::new();
        for ((wait, role, place, route), told) in turns {
            minute += wait;
            if card.tap((minute / 1440, minute % 1440, role, place, route)).is_some() {
                sent.extend(entries(card.taps.last().unwrap(), told));
            }
        }
        let of = |taps: &[TapRecord]| {
            let mut history = CardHistory::of_purse(card.purse);
            for tap in taps {
                history.add_tap(tap);
            }
            history.due(&card.set, &RepairRule::default())
        };
        let due = of(&sent);
        let mut shuffled = sent.clone();
        for (at, to) in order.iter().enumerate() {
            if !shuffled.is_empty() {
                let (a, b) = (at % shuffled.len(), to.index(shuffled.len()));
                shuffled.swap(a, b);
            }
        }
        prop_assert_eq!(&of(&shuffled), &due);
        let again = order.iter().filter(|_| !sent.is_empty());
        let again = again.map(|at| sent[at.index(sent.len())]);
        shuffled.extend(again.collect::<Vec<_>>());
        prop_assert_eq!(&of(&shuffled), &due);

        // All taps known: an honest validator never charged too little, and a day's fares stay
        // under its cap but for maximum fares.
        let all = card.due();
        for (day, of_day) in &all.days {
            prop_assert!(of_day.fare <= of_day.charged, "{day:?}: {of_day:?}");
            let sum: i64 = of_day.why.iter().map(|why| why.charged - why.fare).sum();
            prop_assert_eq!(sum, of_day.amount(), "{}", format!("{day:?}: {of_day:?}"));
        }
    }
}
