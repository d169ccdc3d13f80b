//! What gates tell, over a real database: stored, counted, shown, and given back where the tariff
//! says so, in whatever order it comes.

use clearing::{Account, Rules};
use fare::{Tariff, TariffSet, rules::ZoneOffsets};
use model::{GateWord, TapSeq};

use super::{
    due::{Rider, TOWN},
    *,
};
use crate::http::views::{Outcome, Page, TapFilter};

fn town(not_passed: &str) -> Rules {
    let utc = |_: &str| Some(ZoneOffsets::fixed(0));
    let text = TOWN.replace("[gate]\n", &format!("[gate]\nnot_passed = {not_passed:?}\n"));
    let tariff = Tariff::parse_in(&text, None, &utc).unwrap_or_else(|f| panic!("{f:#?}"));
    Rules::new(TariffSet::new(tariff))
}

/// In at Alpha and out at Beta for 2.00, and the exit gate lets nobody out.
fn turned_back(rig: &mut Rig) -> [Message; 2] {
    let mut rider = Rider::new(rig, 1);
    rider.metro(rig, 0, 0, Some(1));
    let tap = rig.buses[0].batch();
    let exit = TapSeq(2);
    rider.at_gate(rig, 0, GateWord::Passed, TapSeq(1));
    rider.at_gate(rig, 0, GateWord::TimedOut, exit);
    rig.buses[0].log(None, NOON + 2_000, TapEvent::Gate { said: GateWord::Tailgate, of: None });
    [tap, rig.buses[0].batch()]
}

#[test]
fn what_a_gate_did_not_let_through_is_owed_to_the_rider_where_the_tariff_gives_back() {
    let mut rig = Rig::with(town("give-back"), |card| card % 2 == 1);
    let [tap, told] = turned_back(&mut rig);
    rig.submit(std::slice::from_ref(&tap));
    assert_eq!(rig.open(1), 0);
    rig.submit(std::slice::from_ref(&told));
    assert_eq!((rig.open(1), rig.open_kinds()), (200, vec![]), "nobody has to decide that");
    let due = Account::RiderDue(Cards::id(1));
    assert_eq!((rig.on(due), rig.on(Account::FareReduction)), (200, -200));
    rig.assert_sound();
    rig.submit(&[told.clone(), tap.clone()]);
    assert_eq!(rig.open(1), 200, "said again, it is owed once");
    rig.assert_sound();
    // Both at once.
    let mut other = Rig::with(town("give-back"), |card| card % 2 == 1);
    let _ = turned_back(&mut other);
    other.submit(&[tap, told]);
    assert_eq!((other.owed(1), other.open(1)), (rig.owed(1), 200));
    other.assert_sound();
}

#[test]
fn where_the_tariff_charges_or_lets_in_again_a_time_out_moves_no_money() {
    for rule in ["charge", "let-in-again"] {
        let mut rig = Rig::with(town(rule), |card| card % 2 == 1);
        let batches = turned_back(&mut rig);
        rig.submit(&batches);
        assert_eq!((rig.open(1), rig.open_kinds()), (0, vec![]), "{rule}");
        rig.assert_sound();
    }
}

#[test]
fn what_gates_told_is_counted_and_listed_by_validator() {
    let mut rig = Rig::with(town("charge"), |card| card % 2 == 1);
    let batches = turned_back(&mut rig);
    rig.submit(&batches);
    let books = rig.books();
    let of_gate = TapFilter {
        validator: Some(rig.buses[0].id),
        outcome: Some(Outcome::Gate),
        ..TapFilter::default()
    };
    let sums = books.tap_sums(&of_gate).unwrap();
    let counts = [(GateWord::Passed, 1), (GateWord::TimedOut, 1), (GateWord::Tailgate, 1)];
    assert_eq!(sums.gate, counts.into_iter().collect());
    assert_eq!((sums.total(), sums.charged[0].minor()), (3, 0));
    let rows = books.taps(&of_gate, Page::first(9)).unwrap();
    let words: Vec<_> = rows.iter().filter_map(|row| row.gate).collect();
    assert_eq!(words, [GateWord::Tailgate, GateWord::TimedOut, GateWord::Passed]);
    let all = books.tap_sums(&TapFilter::default()).unwrap();
    assert_eq!(all.total(), 5);
    assert_eq!(all.duration_p95_ms, Some(180), "a gate's words take no time of a tap");
}
