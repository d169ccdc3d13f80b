//! The promises of reconciliation, over random histories and random delivery.

use alloc::{string::String, vec::Vec};

use model::{
    CardLayout, CardRecord, CardTransaction, Companions, Currency, IssuerId, PlaceIx, RecordKind,
    RouteIx, TapRecord,
};
use proptest::{collection::vec, prelude::*, sample::Index};

use super::{
    Depot, History, Ride, committed, confirmed, confirmed_by_an_older, entry_of, forked, in_doubt,
    rules, unserved, voided,
};
use crate::{Account, ExceptionKind, Rules};

/// How a transaction that happened is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Committed,
    /// In doubt, then confirmed by the same validator.
    Confirmed,
    /// The same, and it says that nobody was let through.
    Unserved,
    /// In doubt; only the card's next tap proves it.
    Doubted,
    /// In doubt, then denied by a validator that is wrong.
    Denied,
}

/// What else claims the same counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nothing,
    /// An attempt that did not happen.
    Attempt,
    /// The same, and its validator found out.
    VoidedAttempt,
    /// A copy of the card did this, and the depot hears of it late or early.
    Clone {
        later_s: u32,
    },
    /// The copy's tap was in doubt, and then confirmed.
    DoubtedClone,
    /// The copy's tap was in doubt, and its next ride proves it.
    RidingClone,
    /// The same transaction in doubt, and in kroner.
    InKroner,
    /// An attempt in the tariff's currency, or in kroner where that is the card's, and its
    /// validator found out.
    VoidedInAnother,
    /// A transaction that cannot say what its purse is.
    NoPurse,
}

#[derive(Debug, Clone, Copy)]
struct Turn {
    ride: Ride,
    told: Told,
    beside: Beside,
    /// Of 100; below the run's threshold, the entries of this turn are lost.
    luck: u32,
}

fn ride() -> impl Strategy<Value = Ride> {
    prop_oneof![
        4 => (0..2_u16).prop_map(|route| Ride::Board(RouteIx(route))),
        2 => (0..3_u16).prop_map(|place| Ride::Entry(PlaceIx(place))),
        2 => (0..3_u16).prop_map(|place| Ride::Exit(PlaceIx(place))),
        1 => (1..5000_u32).prop_map(Ride::Load),
    ]
}

fn honest() -> impl Strategy<Value = Turn> {
    let told = prop_oneof![
        6 => Just(Told::Committed),
        1 => Just(Told::Confirmed),
        1 => Just(Told::Unserved),
        1 => Just(Told::Doubted),
    ];
    let beside = prop_oneof![
        6 => Just(Beside::Nothing),
        1 => Just(Beside::Attempt),
        1 => Just(Beside::VoidedAttempt),
    ];
    (ride(), told, beside, 0..100_u32).prop_map(|(ride, told, beside, luck)| Turn {
        ride,
        told,
        beside,
        luck,
    })
}

fn hostile() -> impl Strategy<Value = Turn> {
    let told = prop_oneof![
        3 => Just(Told::Committed),
        2 => Just(Told::Confirmed),
        1 => Just(Told::Unserved),
        2 => Just(Told::Doubted),
        1 => Just(Told::Denied),
    ];
    let beside = prop_oneof![
        4 => Just(Beside::Nothing),
        1 => Just(Beside::Attempt),
        1 => Just(Beside::VoidedAttempt),
        1 => (0..3_u32).prop_map(|later_s| Beside::Clone { later_s }),
        1 => Just(Beside::DoubtedClone),
        1 => Just(Beside::RidingClone),
        1 => Just(Beside::InKroner),
        1 => Just(Beside::VoidedInAnother),
        1 => Just(Beside::NoPurse),
    ];
    (ride(), told, beside, 0..100_u32).prop_map(|(ride, told, beside, luck)| Turn {
        ride,
        told,
        beside,
        luck,
    })
}

/// A new card with 1000.00, in the tariff's currency or in francs.
fn issued(in_francs: bool) -> History {
    if in_francs { History::in_francs(100_000) } else { History::issued(100_000) }
}

/// A card's life, and the log entries of each of its transactions.
fn live(rules: &Rules, in_francs: bool, turns: &[Turn]) -> (History, Vec<(Vec<TapRecord>, u32)>) {
    let mut history = issued(in_francs);
    let mut told = Vec::new();
    for turn in turns {
        let before = history.records.len();
        history.ride(rules, turn.ride);
        if history.records.len() > before {
            told.push((entries(&history, turn), turn.luck));
        }
    }
    (history, told)
}

fn entries(history: &History, turn: &Turn) -> Vec<TapRecord> {
    let ctr = history.newest().ctr.0;
    let mut entries = match turn.told {
        Told::Committed => alloc::vec![history.committed(ctr)],
        Told::Confirmed => {
            alloc::vec![history.entry(ctr, 1, in_doubt), history.entry(ctr, 2, confirmed)]
        }
        Told::Unserved => {
            alloc::vec![history.entry(ctr, 1, in_doubt), history.entry(ctr, 2, unserved)]
        }
        Told::Doubted => alloc::vec![history.entry(ctr, 1, in_doubt)],
        Told::Denied => {
            alloc::vec![history.entry(ctr, 1, in_doubt), history.entry(ctr, 2, voided)]
        }
    };
    let other = |later_s| forked(history.transaction(ctr), later_s);
    let route = history.committed(ctr).route;
    let mut add = |seq, t: CardTransaction, event: fn(CardTransaction) -> _| {
        entries.push(entry_of(&t, route, seq, event(t)));
    };
    match turn.beside {
        Beside::Nothing => {}
        Beside::Attempt => add(1, other(500), in_doubt),
        Beside::VoidedAttempt => {
            add(1, other(500), in_doubt);
            add(2, other(500), voided);
        }
        // Earlier, at the same time and later than the honest one.
        Beside::Clone { later_s } => {
            let mut t = other(later_s);
            t.after.at_s -= 1;
            add(1, t, committed);
        }
        Beside::DoubtedClone => {
            add(1, other(700), in_doubt);
            add(2, other(700), confirmed);
        }
        Beside::RidingClone => {
            let first = other(800);
            let mut next = CardTransaction {
                before: first.after,
                after: first.after,
                products: None,
                loaded: None,
                counters: None,
                companions: Companions::NONE,
                purse: first.purse,
            };
            next.after.ctr.0 += 1;
            next = forked(next, 900);
            add(1, first, in_doubt);
            add(1, next, committed);
        }
        Beside::InKroner => add(7, in_purse(kroner(), history.transaction(ctr)), in_doubt),
        Beside::VoidedInAnother => {
            let attempt = other(600);
            let purse = if attempt.purse.is_some() { None } else { kroner() };
            add(1, in_purse(purse, attempt), in_doubt);
            add(2, in_purse(purse, attempt), voided);
        }
        Beside::NoPurse => {
            let t = history.transaction(ctr);
            let purse = match t.purse {
                Some(_) => None,
                None => Some(super::francs()),
            };
            add(8, CardTransaction { purse, ..t }, committed);
        }
    }
    entries
}

/// The same, as a card with this purse would have done it.
pub(super) fn in_purse(purse: Option<Currency>, t: CardTransaction) -> CardTransaction {
    let layout = if purse.is_some() { CardLayout::OtherCurrency } else { CardLayout::Plain };
    let [before, after] = [t.before, t.after].map(|record| CardRecord { layout, ..record });
    CardTransaction { before, after, purse, ..t }
}

pub(super) fn kroner() -> Option<Currency> {
    Currency::parse("DKK").ok()
}

/// One delivery: an entry, or the issue.
type Delivery = Option<TapRecord>;

/// Shuffles by drawing one after another, and repeats some.
fn shuffled(deliveries: &[Delivery], draws: &[Index]) -> Vec<Delivery> {
    let mut rest = deliveries.to_vec();
    let mut draws = draws.iter().cycle();
    let mut out: Vec<Delivery> = Vec::new();
    while !rest.is_empty() {
        let draw = draws.next().unwrap();
        out.push(rest.swap_remove(draw.index(rest.len())));
        let again = draws.next().unwrap().index(4 * out.len());
        if let Some(again) = out.get(again).copied() {
            out.push(again);
        }
    }
    out
}

fn cleared(rules: &Rules, history: &History, deliveries: &[Delivery]) -> Depot {
    cleared_by(None, rules, history, deliveries)
}

/// The same of a card of this issuer.
fn cleared_by(
    issuer: Option<IssuerId>,
    rules: &Rules,
    history: &History,
    deliveries: &[Delivery],
) -> Depot {
    let mut depot = Depot { issuer, ..Depot::default() };
    deliver(&mut depot, rules, history, deliveries);
    depot
}

fn deliver(depot: &mut Depot, rules: &Rules, history: &History, deliveries: &[Delivery]) {
    for delivery in deliveries {
        match delivery {
            Some(tap) => depot.clear(rules, tap),
            None => depot.issue(rules, &history.records[0]),
        };
    }
}

fn open(depot: &Depot) -> Vec<String> {
    depot.open.values().map(|item| alloc::format!("{item:?}")).collect()
}

fn open_but_unserved(depot: &Depot) -> Vec<String> {
    let others = |item: &&crate::Exception| item.kind != ExceptionKind::ChargedWithoutPassage;
    depot.open.values().filter(others).map(|item| alloc::format!("{item:?}")).collect()
}

/// What the card paid since its issue, loads aside.
fn paid(history: &History) -> i64 {
    let is_ride = |r: &&CardRecord| !matches!(r.kind, RecordKind::Issue | RecordKind::Load);
    history.records.iter().filter(is_ride).map(|record| i64::from(record.amount)).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn rec_1_the_books_are_a_function_of_the_set_of_records(
        turns in vec(hostile(), 1..14),
        in_francs in any::<bool>(),
        lost_pct in 0..40_u32,
        issued in any::<bool>(),
        other_issuer in any::<bool>(),
        one in vec(any::<Index>(), 8..40),
        two in vec(any::<Index>(), 8..40),
    ) {
        let rules = rules();
        let (history, told) = live(&rules, in_francs, &turns);
        let arrived = told.iter().filter(|(_, luck)| *luck >= lost_pct);
        let mut deliveries: Vec<Delivery> =
            arrived.flat_map(|(entries, _)| entries).copied().map(Some).collect();
        if issued {
            deliveries.push(None);
        }
        let issuer = other_issuer.then_some(IssuerId(7));
        let in_order = cleared_by(issuer, &rules, &history, &deliveries);
        let ledger = in_order.state.currency(rules.currency());
        for (account, posted, ..) in in_order.standing() {
            prop_assert_eq!(account.currency(), ledger, "one card, one ledger: {:?}", account);
            // What each issuer has of its own is only its own, whatever came first.
            let account = Account::parse(&account).unwrap();
            let whose = if issued { issuer } else { None };
            // What is held is held whoever issued the card.
            let own = if posted == 0 { account } else { account.pooled().1.of(whose) };
            prop_assert_eq!(own, account);
        }
        for draws in [one, two] {
            let other = cleared_by(issuer, &rules, &history, &shuffled(&deliveries, &draws));
            prop_assert_eq!(in_order.standing(), other.standing());
            prop_assert_eq!(open(&in_order), open(&other));
            prop_assert_eq!(in_order.state.to_bytes(), other.state.to_bytes());
            prop_assert_eq!(&in_order.records, &other.records);
        }
    }

    /// Wherever holds expire, what the card proves is booked as if they had not, and nothing that
    /// nobody decided is held any more.
    #[test]
    fn rec_1_an_expired_hold_changes_nothing_of_what_cards_prove(
        turns in vec(hostile(), 1..14),
        in_francs in any::<bool>(),
        other_issuer in any::<bool>(),
        at in any::<Index>(),
        draws in vec(any::<Index>(), 8..40),
    ) {
        let rules = rules();
        let (history, told) = live(&rules, in_francs, &turns);
        let mut deliveries: Vec<Delivery> =
            told.iter().flat_map(|(entries, _)| entries).copied().map(Some).collect();
        deliveries.push(None);
        let deliveries = shuffled(&deliveries, &draws);
        let issuer = other_issuer.then_some(IssuerId(7));
        let held = cleared_by(issuer, &rules, &history, &deliveries);
        let mut expired = Depot { issuer, ..Depot::default() };
        let (first, rest) = deliveries.split_at(at.index(deliveries.len() + 1));
        deliver(&mut expired, &rules, &history, first);
        expired.expire(&rules);
        prop_assert!(expired.standing().iter().all(|(_, _, d, c)| (*d, *c) == (0, 0)));
        deliver(&mut expired, &rules, &history, rest);
        let posted = |depot: &Depot| -> Vec<_> {
            let all = depot.standing().into_iter().map(|(id, posted, ..)| (id, posted));
            all.filter(|(_, posted)| *posted != 0).collect()
        };
        prop_assert_eq!(posted(&held), posted(&expired));
        prop_assert_eq!(&held.records, &expired.records);
        expired.expire(&rules);
        let in_doubt = |item: &&crate::Exception| item.kind == ExceptionKind::InDoubt;
        prop_assert_eq!(expired.open.values().filter(in_doubt).count(), 0);
    }

    #[test]
    fn rec_2_the_shadow_is_exact_with_records_lost_and_suspense_ends_when_they_arrive(
        turns in vec(honest(), 1..30),
        in_francs in any::<bool>(),
        lost_pct in 0..=20_u32,
        draws in vec(any::<Index>(), 8..40),
    ) {
        let rules = rules();
        let (mut history, mut told) = live(&rules, in_francs, &turns);
        // The card taps once more, and that tap arrives.
        history.ride(&rules, Ride::Board(RouteIx(0)));
        let last = history.newest().ctr.0;
        told.push((alloc::vec![history.committed(last)], 100));

        let (arrived, lost): (Vec<_>, Vec<_>) =
            told.into_iter().partition(|(_, luck)| *luck >= lost_pct);
        let taps = |told: Vec<(Vec<TapRecord>, u32)>| -> Vec<Delivery> {
            told.into_iter().flat_map(|(entries, _)| entries).map(Some).collect()
        };
        let mut first = taps(arrived);
        first.push(None);
        let mut depot = cleared(&rules, &history, &shuffled(&first, &draws));
        let card = i64::from(history.newest().balance);
        prop_assert_eq!(depot.balance(Account::Card(super::CARD)), card);
        // Suspense is what the records in the gaps took, to the unit.
        for gap in depot.state.gaps() {
            let missing = gap.first.0 as usize - 1..gap.last.0 as usize;
            let net: i64 = history.records[missing].iter().map(CardRecord::delta).sum();
            let account = Account::GapSuspense(super::CARD, gap.first);
            prop_assert_eq!((gap.net(), depot.balance(account)), (net, -net));
        }

        deliver(&mut depot, &rules, &history, &shuffled(&taps(lost), &draws));
        prop_assert_eq!(depot.balance(Account::Card(super::CARD)), card);
        prop_assert_eq!(depot.state.gaps(), &[]);
        prop_assert_eq!(open_but_unserved(&depot), Vec::<String>::new());
        let codes = depot.standing();
        for (id, ..) in &codes {
            let account = Account::parse(id);
            let plain = matches!(
                account,
                Some(
                    Account::Card(_)
                        | Account::FareRevenue(Some(_))
                        | Account::IssuerCash
                        | Account::LoadClearing
                )
            );
            prop_assert!(plain, "{:?}", account);
        }
        // Every fare earned by an operator, every load to be met, every opening paid in.
        let sum = |kind| -> i64 {
            let of_kind = history.records.iter().filter(|r| r.kind == kind);
            of_kind.map(CardRecord::delta).sum()
        };
        let earned: i64 = [0, 1]
            .map(|n| depot.balance(Account::FareRevenue(Some(model::OperatorId(n)))))
            .iter()
            .sum();
        let fares = sum(RecordKind::Board) + sum(RecordKind::Entry) + sum(RecordKind::Exit);
        prop_assert_eq!(earned, -fares);
        prop_assert_eq!(depot.balance(Account::LoadClearing), -sum(RecordKind::Load));
        prop_assert_eq!(depot.balance(Account::IssuerCash), -sum(RecordKind::Issue));
    }

    #[test]
    fn what_is_to_be_repaid_is_what_the_card_paid_more_than_without_the_charge(
        past in vec(ride(), 0..8),
        in_francs in any::<bool>(),
        torn in ride(),
        next in ride(),
        told in prop_oneof![Just(Told::Unserved), Just(Told::Doubted)],
        draws in vec(any::<Index>(), 8..40),
    ) {
        let rules = rules();
        let mut without = issued(in_francs);
        for ride in past {
            without.ride(&rules, ride);
        }
        let mut with = without.clone();
        let before = with.records.len();
        with.ride(&rules, torn);
        let turn = Turn { ride: torn, told, beside: Beside::Nothing, luck: 0 };
        prop_assume!(with.records.len() > before);
        let of_past = (2..=without.newest().ctr.0).map(|ctr| without.committed(ctr));
        let mut deliveries: Vec<Delivery> =
            of_past.chain(entries(&with, &turn)).map(Some).collect();
        with.ride(&rules, next);
        prop_assume!(with.records.len() > before + 1);
        without.wait(600);
        without.ride(&rules, next);
        let could_ride_without = without.records.len() > before;
        deliveries.push(Some(with.committed(with.newest().ctr.0)));
        deliveries.push(None);
        let depot = cleared(&rules, &with, &shuffled(&deliveries, &draws));
        let of_kind = |item: &&crate::Exception| item.kind == ExceptionKind::ChargedWithoutPassage;
        let due: Vec<i64> =
            depot.open.values().filter(of_kind).map(|i| i.amount.unwrap().minor()).collect();
        let is_fare = |ride| !matches!(ride, Ride::Load(_));
        let expected = match (is_fare(torn), is_fare(next)) {
            (true, true) if could_ride_without => (paid(&with) - paid(&without)).max(0),
            (true, false) if matches!(torn, Ride::Board(_)) => {
                i64::from(with.records[before].amount)
            }
            // No fare was torn; or an exit shows that the entry before it let its rider through,
            // or a gate owes the passage still.
            _ => 0,
        };
        prop_assert_eq!(due, if expected > 0 { alloc::vec![expected] } else { alloc::vec![] });
        prop_assert_eq!(open_but_unserved(&depot), Vec::<String>::new());
    }

    #[test]
    fn a_charge_that_its_own_reader_served_is_nothing_to_repay_whenever_it_says_so(
        past in vec(ride(), 0..5),
        in_francs in any::<bool>(),
        torn in ride(),
        next in ride(),
        old in any::<bool>(),
        draws in vec(any::<Index>(), 8..40),
    ) {
        let rules = rules();
        let mut history = issued(in_francs);
        for ride in past.into_iter().chain([torn]) {
            history.ride(&rules, ride);
        }
        let ctr = history.newest().ctr.0;
        prop_assume!(ctr > 1);
        let event = if old { confirmed_by_an_older } else { confirmed };
        let (doubt, decided) = (history.entry(ctr, 1, in_doubt), history.entry(ctr, 2, event));
        let mut deliveries = alloc::vec![None, Some(doubt), Some(decided)];
        history.ride(&rules, next);
        if history.newest().ctr.0 > ctr {
            deliveries.push(Some(history.committed(ctr + 1)));
        }
        let depot = cleared(&rules, &history, &shuffled(&deliveries, &draws));
        let items = depot.open.values().filter(|i| i.kind == ExceptionKind::ChargedWithoutPassage);
        prop_assert_eq!(items.count(), 0);
        prop_assert_eq!(depot.state.unserved(), &[]);
    }
}
