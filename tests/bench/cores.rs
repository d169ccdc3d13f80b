//! The cores alone, in memory, on one thread: pricing, clearing, ledger, simulator. Figures are
//! processor time, so that other work on the machine does not count.

use std::{collections::BTreeMap, convert::Infallible, hint::black_box, time::Duration};

use clearing::{CardState, Known, KnownRecord, TapRef, clear, register_issue};
use depot_server::workload::{Cards, rules};
use fare::{FareTap, Journey, LastTap, TariffSet, price};
use ledger::{AccountCode, AccountId, Balance, BatchRoot, Cause, Kind, Touched, Transfer, apply};
use model::{
    CardCounters, CardId, CardProof, ClockQuality, Companions, Ctr, Currency, Epoch, PlaceIx,
    RiderClass, RouteIx, TapEvent, TapRecord, TapRole, TapSeq, TariffVersion, Timestamp,
    ValidatorId,
};
use tapline_tests::sim::{self, Faults, Scenario};

use crate::{
    depot::NOON,
    measure::{each, grouped, headline, line, middle_of_five, rate, say, short, thread_cpu},
};

/// Prints it.
pub(crate) fn run(quick: bool) {
    headline("cores: one thread, in memory, processor time");
    pricing(if quick { 1_000 } else { 200_000 });
    reconciling(if quick { 200 } else { 50_000 });
    for batch in [8_189, 500, 1] {
        booking(batch, if quick { 10_000 } else { 500_000 });
    }
}

fn pricing(count: u32) {
    let set = sim::city::tariffs();
    let tap = |role, place: &str, route, at| FareTap {
        at: Timestamp::from_secs(at),
        role,
        place: set.newest().place_ix(place).expect("the city has this place"),
        route,
        class: RiderClass(0),
        companions: Companions::NONE,
        purse: None,
        validator: ValidatorId::new(1).expect("24 bits"),
        tariff: TariffVersion(1),
    };
    let start = u64::from(NOON);
    let board = tap(TapRole::Board, "s1", Some(RouteIx(0)), start);
    let entry = tap(TapRole::Entry, "A", None, start + 900);
    let exit = tap(TapRole::Exit, "C", None, start + 1_800);
    let after =
        |journey: &Journey, tap| price(&set, journey, tap).expect("has a fare").journey_after;
    let fresh = Journey::default();
    let boarded = after(&fresh, &board);
    let entered = after(&boarded, &entry);
    let cases: [(&str, &Journey, &FareTap); 3] = [
        ("price(): flat boarding", &fresh, &board),
        ("price(): entry with a transfer running", &boarded, &entry),
        ("price(): exit, matrix and transfer", &entered, &exit),
    ];
    let mut plain = Duration::ZERO;
    for (name, journey, tap) in cases {
        plain = price_often(&set, journey, tap, count);
        line(name, &format!("{} each", short(plain)));
    }
    // A senior off-peak whose card counts: time band, discount, day's and week's cap.
    let counts = entered.counting(Some(CardCounters::EMPTY));
    let senior = FareTap { class: RiderClass(2), ..tap(TapRole::Exit, "B", None, start + 1_800) };
    let counts = Journey { last: counts.last.map(|last| LastTap { run: None, ..last }), ..counts };
    let every = price_often(&set, &counts, &senior, count);
    let percent = every.as_nanos() * 100 / plain.as_nanos().max(1);
    let told = format!("{} each, {percent} % of the exit above", short(every));
    line("price(): exit, matrix, discount by time, two caps", &told);
}

fn price_often(set: &TariffSet, journey: &Journey, tap: &FareTap, count: u32) -> Duration {
    let round = || {
        let work = || {
            for _ in 0..count {
                black_box(price(set, black_box(journey), black_box(tap)).is_ok());
            }
        };
        thread_cpu(work).1
    };
    each(middle_of_five(round), u64::from(count))
}

/// Nothing was cleared before; a plain tap asks for nothing more.
struct Nothing;

impl Known for Nothing {
    type Error = Infallible;

    fn record(&self, _: CardId, _: Ctr) -> Result<Option<KnownRecord>, Infallible> {
        Ok(None)
    }

    fn cleared(&self, _: TapRef) -> Result<bool, Infallible> {
        Ok(false)
    }

    fn transactions(&self, _: CardId, _: Ctr) -> Result<Vec<TapRecord>, Infallible> {
        Ok(vec![])
    }
}

/// Five rides of every card, cleared in turn, with the states read from and written to bytes as
/// the store keeps them; then the same transfers through the ledger.
fn reconciling(count: u32) {
    let (rules, now) = (rules(), Timestamp::from_secs(u64::from(NOON) + 86_400));
    let mut cards = Cards::new(count, NOON - 1_000);
    let mut states = BTreeMap::<CardId, Vec<u8>>::new();
    let mut books = Touched::default();
    for issue in cards.issues() {
        let issued = register_issue(&CardState::default(), &issue, now, &rules, &Nothing)
            .expect("an issue is cleared");
        for transfer in &issued.transfers {
            apply(&mut books, transfer).expect("is booked");
        }
        states.insert(issue.card, issued.state.to_bytes().expect("has bytes"));
    }
    let taps: Vec<TapRecord> = (0..5)
        .flat_map(|ride| (0..count).map(move |card| (ride, card)))
        .zip(1..)
        .map(|((ride, card), seq)| plain_tap(&mut cards, card, NOON + ride * 3_600, seq))
        .collect();
    let mut transfers = Vec::with_capacity(taps.len());
    let work = || {
        for tap in &taps {
            let state = states.get_mut(&tap.card.expect("has a card")).expect("is issued");
            let before = CardState::from_bytes(state).expect("reads back");
            let cleared = clear(&before, tap, now, &rules, &Nothing).expect("is cleared");
            assert!(cleared.exceptions.is_empty(), "honest taps leave no work");
            *state = cleared.state.to_bytes().expect("has bytes");
            transfers.extend(cleared.transfers);
        }
    };
    let ((), took) = thread_cpu(work);
    let count = taps.len() as u64;
    line(
        "clear(), card states from and to bytes",
        &format!("{} taps/s ({} each)", grouped(rate(count, took)), short(each(took, count))),
    );
    let work = || transfers.iter().all(|transfer| apply(&mut books, transfer).is_ok());
    let (booked, took) = thread_cpu(work);
    assert!(booked, "the ledger refuses nothing of clearing");
    let transfers = transfers.len() as u64;
    line("their transfers, one growing book", &format!("{}/s", grouped(rate(transfers, took))));
}

fn plain_tap(cards: &mut Cards, card: u32, at_s: u32, seq: u64) -> TapRecord {
    let validator = ValidatorId::new(1 + card % 200).expect("24 bits");
    let transaction = cards.boarding(card, at_s, validator);
    cards.commit(card, &transaction);
    TapRecord {
        validator,
        epoch: Epoch(1),
        seq: TapSeq(seq),
        card: Some(Cards::id(card)),
        tapped_at: Timestamp::from_secs(u64::from(at_s)),
        clock: ClockQuality::Ntp,
        role: TapRole::Board,
        place: PlaceIx(0),
        route: Some(RouteIx(0)),
        tariff: TariffVersion(1),
        order: None,
        place_age_s: None,
        hotlist_version: None,
        duration_ms: 180,
        // The depot's first stage verifies proofs; clearing sees verified taps only.
        event: TapEvent::Committed { transaction, proof: CardProof([0; 8]) },
    }
}

/// Transfers between 10,000 accounts, in batches as a store would preload them.
fn booking(batch: usize, count: u64) {
    let currency = Currency::parse("EUR").expect("a currency");
    let accounts: Vec<AccountId> = (0..10_000_u32)
        .map(|n| AccountId::new(AccountCode(1), currency, &n.to_be_bytes()))
        .collect();
    let mixed =
        |n: u64| usize::try_from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40).expect("24 bits");
    let transfers: Vec<Transfer> = (0..count)
        .map(|n| {
            let debit = mixed(n) % accounts.len();
            let credit = (debit + 1 + mixed(n + count) % (accounts.len() - 1)) % accounts.len();
            let cause = Cause::new(1, &[&n.to_be_bytes()]);
            Transfer {
                id: cause.transfer_id(0),
                debit: accounts[debit],
                credit: accounts[credit],
                amount: 1,
                currency,
                kind: Kind::Direct,
                event_at: Timestamp(1),
                booked_at: Timestamp(1),
                cause,
            }
        })
        .collect();
    let mut all = BTreeMap::<AccountId, Balance>::new();
    let mut root = BatchRoot::genesis();
    let work = || {
        for batch in transfers.chunks(batch) {
            crate::ledger::book(&mut all, batch);
            root = root.after(batch.iter());
        }
    };
    let ((), took) = thread_cpu(work);
    black_box(root);
    line(
        &format!("ledger, batches of {batch}, hash chain included"),
        &format!("{} transfers/s", grouped(rate(count, took))),
    );
}

/// Whole days of a small city, with and without faults.
pub(crate) fn simulator(quick: bool) {
    headline("simulator: production cores, one thread, processor time");
    let base = if quick { Scenario::SMALL } else { Scenario::CITY };
    for (name, faults) in [("calm", Faults::NONE), ("every fault", Faults::ALL)] {
        let scenario = Scenario { faults, ..base };
        let (report, took) = thread_cpu(|| sim::run_seeds(&scenario, 0..2));
        match report {
            Ok(report) => {
                let taps = report.presentations;
                let each = short(each(took, taps));
                line(name, &format!("{} taps/s ({each} each)", grouped(rate(taps, took))));
            }
            Err(violation) => say(&format!("  {violation}")),
        }
    }
}
