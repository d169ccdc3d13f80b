//! What a stolen or edited validator can put into its log, signed with its own good key (SEC-8).
//!
//! Bus 0 is the forger. Each forgery is compared with the same day without the forged entries: not
//! a coin may stand elsewhere, the honest entries of the same batch are booked, and once the cards
//! have travelled on, the books hold what the cards hold.

use std::collections::BTreeMap;

use card::{Tmi, transaction_proof};
use model::{
    CardTransaction, ClockQuality, Companions, Ctr, Epoch, PlaceIx, Served, TapRecord, TapRole,
    ValidatorId,
};

use super::*;

/// When the forger's bus runs, seconds after noon.
const FORGED_AT: u32 = 600;

/// What really happened on the forger's bus: two cards boarded and paid.
struct Truth {
    taps: [(u32, CardTransaction, CardProof); 2],
    /// What card 0 did before, on the other bus.
    before: (CardTransaction, CardProof),
}

struct Case {
    name: &'static str,
    /// Writes the forger's log, all but the honest last entry.
    forge: fn(&mut Rig, &Truth),
    /// What honest entries of the two taps the log still brings, by card.
    honest: &'static [u32],
    /// (kind, amount) of what opens at once.
    opens: &'static [(&'static str, Option<i64>)],
    /// The same when the cards have travelled on.
    stays: &'static [(&'static str, Option<i64>)],
    /// Minor units of revenue that nobody's entry vouches for: known from the next taps' evidence.
    recovered: &'static str,
}

fn ride(rig: &mut Rig, bus: usize, card: u32, at: u32) -> (CardTransaction, CardProof) {
    let transaction = rig.cards.boarding(card, NOON + at, rig.buses[bus].id);
    (transaction, rig.cards.commit(card, &transaction))
}

fn log(rig: &mut Rig, card: u32, transaction: CardTransaction, proof: CardProof) {
    let at = transaction.after.at_s;
    let event = TapEvent::Committed { transaction, proof };
    rig.buses[0].log(Some(Cards::id(card)), at, event);
}

fn edited(truth: &Truth, edit: fn(&mut CardTransaction)) -> (CardTransaction, CardProof) {
    let (_, mut transaction, proof) = truth.taps[0];
    edit(&mut transaction);
    (transaction, proof)
}

fn forge_first(rig: &mut Rig, truth: &Truth, edit: fn(&mut CardTransaction)) {
    let (transaction, proof) = edited(truth, edit);
    log(rig, 0, transaction, proof);
    honest(rig, truth, 1);
}

fn honest(rig: &mut Rig, truth: &Truth, index: usize) {
    let (card, transaction, proof) = truth.taps[index];
    log(rig, card, transaction, proof);
}

/// The tap that nobody made: the forger knows the debit keys and no other.
fn invented(rig: &Rig) -> (CardTransaction, CardProof) {
    let transaction = rig.cards.boarding(2, NOON + FORGED_AT, rig.buses[0].id);
    let uid = Cards::id(2);
    let debit = card::CardKeys::debit_key(&card_keys(), &uid).unwrap();
    let mut tmi = Tmi::new();
    tmi.step(0x3b, &[], &transaction.after.to_bytes().unwrap());
    (transaction, transaction_proof(&debit.key, &uid, transaction.after.ctr.0, &tmi))
}

const PROOF: &[(&str, Option<i64>)] = &[("proof-invalid", Some(150))];
const CONTRADICTS: &[(&str, Option<i64>)] = &[("contradiction", Some(150))];

#[expect(clippy::too_many_lines, reason = "a table: one row for each forgery")]
fn cases() -> Vec<Case> {
    let altered = |name, forge, opens| Case {
        name,
        forge,
        honest: &[1],
        opens,
        stays: opens,
        recovered: "card 0",
    };
    vec![
        altered(
            "altered amount",
            |rig, truth| {
                forge_first(rig, truth, |t| {
                    t.after.amount = 50;
                    t.after.balance += 100;
                });
            },
            &[("proof-invalid", Some(50))],
        ),
        altered("altered balance", |r, t| forge_first(r, t, |t| t.after.balance += 100), PROOF),
        altered(
            "altered validator in the record",
            |rig, truth| forge_first(rig, truth, |t| t.after.validator = ValidatorId::DEPOT),
            PROOF,
        ),
        altered(
            "altered place in the record",
            |rig, truth| forge_first(rig, truth, |t| t.after.place = PlaceIx(7)),
            PROOF,
        ),
        altered(
            "altered time in the record",
            |rig, truth| forge_first(rig, truth, |t| t.after.at_s += 60),
            PROOF,
        ),
        altered(
            "altered counter",
            |rig, truth| forge_first(rig, truth, |t| t.after.ctr = Ctr(t.after.ctr.0 + 1)),
            PROOF,
        ),
        altered(
            "altered evidence",
            |rig, truth| forge_first(rig, truth, |t| t.before.balance += 100),
            PROOF,
        ),
        altered(
            "proof of another transaction",
            |rig, truth| {
                let (_, transaction, _) = truth.taps[0];
                log(rig, 0, transaction, truth.before.1);
                honest(rig, truth, 1);
            },
            PROOF,
        ),
        altered(
            "tap of another card",
            |rig, truth| {
                let (_, transaction, proof) = truth.taps[0];
                log(rig, 2, transaction, proof);
                honest(rig, truth, 1);
            },
            PROOF,
        ),
        altered(
            "another place in the entry than in the record",
            |rig, truth| {
                let (card, transaction, proof) = truth.taps[0];
                let tap = entry(rig, card, transaction, proof);
                rig.buses[0].log_entry(TapRecord { place: PlaceIx(7), ..tap });
                honest(rig, truth, 1);
            },
            CONTRADICTS,
        ),
        altered(
            "another time in the entry than in the record",
            |rig, truth| {
                let (card, transaction, proof) = truth.taps[0];
                let tap = entry(rig, card, transaction, proof);
                let tapped_at = tap.tapped_at.plus(std::time::Duration::from_secs(3600));
                rig.buses[0].log_entry(TapRecord { tapped_at, ..tap });
                honest(rig, truth, 1);
            },
            CONTRADICTS,
        ),
        Case {
            name: "invented tap",
            forge: |rig, truth| {
                let (transaction, proof) = invented(rig);
                log(rig, 2, transaction, proof);
                honest(rig, truth, 0);
                honest(rig, truth, 1);
            },
            honest: &[0, 1],
            opens: PROOF,
            stays: PROOF,
            recovered: "none",
        },
        Case {
            name: "invented tap in doubt",
            forge: |rig, truth| {
                let (transaction, _) = invented(rig);
                let event = TapEvent::InDoubt { transaction };
                rig.buses[0].log(Some(Cards::id(2)), NOON + FORGED_AT, event);
                honest(rig, truth, 0);
                honest(rig, truth, 1);
            },
            honest: &[0, 1],
            opens: &[("in-doubt", Some(150))],
            stays: &[],
            recovered: "none",
        },
        Case {
            name: "invented confirmation",
            forge: |rig, truth| {
                let (transaction, proof) = invented(rig);
                let served = Served::Yes;
                let event = TapEvent::Confirmed { of: TapSeq(1), transaction, proof, served };
                honest(rig, truth, 0);
                honest(rig, truth, 1);
                rig.buses[0].log(Some(Cards::id(2)), NOON + FORGED_AT, event);
            },
            honest: &[0, 1],
            opens: PROOF,
            stays: PROOF,
            recovered: "none",
        },
        Case {
            name: "replayed under a new number",
            forge: |rig, truth| {
                honest(rig, truth, 0);
                honest(rig, truth, 1);
                honest(rig, truth, 0);
            },
            honest: &[0, 1],
            opens: CONTRADICTS,
            stays: CONTRADICTS,
            recovered: "none",
        },
        Case {
            name: "another validator's tap, replayed",
            forge: |rig, truth| {
                let (transaction, proof) = truth.before;
                log(rig, 0, transaction, proof);
                honest(rig, truth, 0);
                honest(rig, truth, 1);
            },
            honest: &[0, 1],
            opens: CONTRADICTS,
            stays: CONTRADICTS,
            recovered: "none",
        },
        Case {
            name: "taps in another order",
            forge: |rig, truth| {
                honest(rig, truth, 1);
                honest(rig, truth, 0);
            },
            honest: &[0, 1],
            opens: &[],
            stays: &[],
            recovered: "none",
        },
        Case {
            name: "dropped tap",
            forge: |rig, truth| honest(rig, truth, 1),
            honest: &[1],
            opens: &[],
            stays: &[],
            recovered: "card 0",
        },
        Case {
            name: "tap logged as a refusal",
            forge: |rig, truth| {
                let (card, transaction, _) = truth.taps[0];
                let (reason, seen) = (Refusal::InsufficientValue, Some(transaction.before));
                let event = TapEvent::Refused { reason, seen };
                rig.buses[0].log(Some(Cards::id(card)), transaction.after.at_s, event);
                honest(rig, truth, 1);
            },
            honest: &[1],
            opens: &[],
            stays: &[],
            recovered: "card 0",
        },
        Case {
            name: "tap logged as in doubt and voided",
            forge: |rig, truth| {
                let (card, transaction, _) = truth.taps[0];
                let at = transaction.after.at_s;
                let id = Some(Cards::id(card));
                let of = rig.buses[0].log(id, at, TapEvent::InDoubt { transaction });
                rig.buses[0].log(id, at, TapEvent::Voided { of, seen: transaction.before });
                honest(rig, truth, 1);
            },
            honest: &[1],
            opens: &[],
            // The card says that it was charged, and no entry that anybody was let through.
            stays: &[("charged-without-passage", Some(150))],
            recovered: "card 0",
        },
    ]
}

fn entry(rig: &Rig, card: u32, transaction: CardTransaction, proof: CardProof) -> TapRecord {
    TapRecord {
        validator: rig.buses[0].id,
        epoch: Epoch(1),
        seq: TapSeq(0),
        card: Some(Cards::id(card)),
        tapped_at: Timestamp::from_secs(u64::from(transaction.after.at_s)),
        clock: ClockQuality::Ntp,
        role: TapRole::Board,
        place: transaction.after.place,
        route: Some(model::RouteIx(0)),
        tariff: transaction.after.tariff,
        order: None,
        place_age_s: None,
        hotlist_version: None,
        duration_ms: 180,
        event: TapEvent::Committed { transaction, proof },
    }
}

/// The morning before the forgery, with the two taps that really happen on the forger's bus.
fn morning(rig: &mut Rig) -> Truth {
    let mut before = None;
    for card in 0..3 {
        let (transaction, proof) = ride(rig, 1, card, card);
        let event = TapEvent::Committed { transaction, proof };
        rig.buses[1].log(Some(Cards::id(card)), transaction.after.at_s, event);
        before = before.or(Some((transaction, proof)));
    }
    let batch = rig.buses[1].batch();
    rig.submit(&[batch]);
    let taps = [0, 1].map(|card| {
        let (transaction, proof) = ride(rig, 0, card, FORGED_AT + card);
        (card, transaction, proof)
    });
    Truth { taps, before: before.expect("card 0 rode") }
}

/// What every account group holds.
fn balances(rig: &Rig) -> BTreeMap<String, i64> {
    let rows = rig.books().trial_balance().unwrap();
    rows.iter()
        .map(|row| (row.name.clone(), row.balance.minor()))
        .filter(|(_, n)| *n != 0)
        .collect()
}

/// What all operators together earned.
fn revenue(rig: &Rig) -> i64 {
    let of = balances(rig).into_iter().filter(|(name, _)| name.starts_with("fare-revenue"));
    of.map(|(_, balance)| balance.abs()).sum()
}

fn open(rig: &Rig) -> Vec<(&'static str, Option<i64>)> {
    let filter = ExceptionFilter { open: Some(true), ..ExceptionFilter::default() };
    let rows = rig.books().exceptions(&filter, Page::first(100)).unwrap();
    let kinds = rows.iter().rev();
    kinds.map(|row| (row.kind.word(), row.amount.map(model::Money::minor))).collect()
}

/// The same day with nothing but the honest entries.
fn honest_day(cards: &[u32]) -> BTreeMap<String, i64> {
    let mut rig = Rig::new();
    let truth = morning(&mut rig);
    for card in cards {
        honest(&mut rig, &truth, *card as usize);
    }
    let batch = rig.buses[0].batch();
    rig.submit(&[batch]);
    balances(&rig)
}

/// Every card boards the other bus an hour later.
fn travel_on(rig: &mut Rig) {
    for card in 0..3 {
        rig.board(1, card, 3600 + card);
    }
    let batch = rig.buses[1].batch();
    rig.submit(&[batch]);
}

#[test]
fn no_forgery_of_a_stolen_validator_moves_a_coin_and_the_card_tells_the_truth() {
    for case in cases() {
        let Case { name, forge, honest, opens, stays, recovered } = case;
        let mut rig = Rig::new();
        let truth = morning(&mut rig);
        forge(&mut rig, &truth);
        let batch = rig.buses[0].batch();
        let output = rig.submit(&[batch]);
        assert_eq!(output.acks.len(), 1, "{name}: kept, so it is acked");
        assert_eq!(open(&rig), opens, "{name}");
        assert_eq!(balances(&rig), honest_day(honest), "{name}: a coin has moved");
        rig.assert_sound();

        travel_on(&mut rig);
        assert_eq!(open(&rig), stays, "{name}: when the cards have travelled on");
        let books = rig.books();
        for card in 0..3 {
            let handle = books.find_card(Cards::id(card)).unwrap().unwrap();
            let facts = books.card(handle).unwrap().unwrap();
            let holds = i64::from(rig.cards.newest(card).balance);
            assert_eq!(facts.in_ledger.minor(), holds, "{name}: card {card}");
            assert_eq!(facts.suspense.minor(), 0, "{name}: card {card}");
        }
        let charged = 8 * 150 - if recovered == "none" { 0 } else { 150 };
        assert_eq!(rig.sums().1, charged, "{name}: {recovered} is known from evidence alone");
        assert_eq!(revenue(&rig), 8 * 150, "{name}: all revenue is there");
        rig.assert_sound();
    }
}

#[test]
fn another_validators_tap_that_arrives_before_its_own_entry_is_not_the_forgers() {
    let mut rig = Rig::new();
    let (transaction, proof) = ride(&mut rig, 1, 0, 0);
    let event = TapEvent::Committed { transaction, proof };
    rig.buses[1].log(Some(Cards::id(0)), NOON, event);
    log(&mut rig, 0, transaction, proof);
    let (stolen, own) = (rig.buses[0].batch(), rig.buses[1].batch());
    rig.submit(&[stolen]);
    assert_eq!(open(&rig), CONTRADICTS);
    assert_eq!(rig.sums().1, 0);
    rig.submit(&[own]);
    assert_eq!((open(&rig), rig.sums().1), (CONTRADICTS.to_vec(), 150));
    rig.assert_sound();
}

#[test]
fn a_tap_replayed_in_another_life_of_the_log_is_found() {
    let mut rig = Rig::new();
    rig.board(0, 0, 0);
    let first = rig.buses[0].batch();
    rig.submit(&[first]);
    let transaction = CardTransaction {
        before: rig.cards.issues()[0].record,
        after: *rig.cards.newest(0),
        products: None,
        loaded: None,
        counters: None,
        companions: Companions::NONE,
        purse: None,
    };
    let proof = rig.cards.commit(0, &transaction);
    rig.buses[0].new_life(Epoch(2));
    log(&mut rig, 0, transaction, proof);
    let again = rig.buses[0].batch();
    rig.submit(&[again]);
    assert_eq!((open(&rig), rig.sums().1), (CONTRADICTS.to_vec(), 150));
    rig.assert_sound();
}

#[test]
fn a_dropped_tap_is_missed_by_honest_registers_with_its_amount() {
    let mut rig = Rig::new();
    let truth = morning(&mut rig);
    honest(&mut rig, &truth, 1);
    let mut batch = rig.buses[0].assemble();
    // The register is not resettable: it counted the tap that the forger took out of the log.
    batch.registers.count += 1;
    batch.registers.debit_sum += 150;
    let message = rig.buses[0].seal(&batch);
    rig.submit(&[message]);
    assert_eq!(open(&rig), [("register-mismatch", Some(150))]);
    travel_on(&mut rig);
    assert_eq!(revenue(&rig), 8 * 150, "and the card's next tap brings the tap itself");
}

#[test]
fn a_run_of_dropped_taps_stands_in_suspense_to_the_unit() {
    let mut rig = Rig::new();
    morning(&mut rig);
    // Three more rides of card 0 on the forger's bus, none of them logged.
    for at in [700, 800, 900] {
        ride(&mut rig, 0, 0, at);
    }
    rig.buses[0].log(
        None,
        NOON + 900,
        TapEvent::Refused { reason: Refusal::Unreadable, seen: None },
    );
    let batch = rig.buses[0].batch();
    rig.submit(&[batch]);
    assert_eq!(open(&rig), []);
    travel_on(&mut rig);
    // Four rides of card 0 are lost; the newest came as evidence.
    assert_eq!(open(&rig), [("card-gap", Some(450))]);
    let books = rig.books();
    let handle = books.find_card(Cards::id(0)).unwrap().unwrap();
    let facts = books.card(handle).unwrap().unwrap();
    assert_eq!((facts.in_ledger, facts.suspense.minor()), (facts.on_card, 450));
    rig.assert_sound();
}
