//! Golden bytes, totality and round trips of every message.

mod lists;
mod sealed;
mod settings;
mod steered;
mod versions;

use alloc::{borrow::ToOwned, string::String, vec, vec::Vec};
use core::fmt::Write;

use expect_test::{ExpectFile, expect_file};
use model::{
    CardCounters, CardId, CardLayout, CardProduct, CardProducts, CardProof, CardRecord,
    CardTransaction, ClockQuality, Companions, Counter, CounterError, CounterUse, Ctr, Currency,
    Epoch, GateWord, LoadSeq, OrderId, PlaceIx, ProductKind, ProductLoad, ProductScope,
    ProductSlot, ProductUse, ProductsFound, RecordKind, Refusal, Registers, RiderClass, RouteIx,
    Served, TapDraft, TapEvent, TapRecord, TapRole, TapSeq, TariffVersion, TicketToken, Timestamp,
    TransferRun, ValidUntil, ValidatorId,
};
use proptest::{collection::vec as vec_of, option, prelude::*};

use crate::*;

/// 32 bytes a line, so that a difference can be seen.
fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(32) {
        for b in line {
            write!(text, "{b:02x}").unwrap();
        }
        text.push('\n');
    }
    text
}

fn validator() -> ValidatorId {
    ValidatorId::new(42).unwrap()
}

fn before() -> CardRecord {
    CardRecord {
        kind: RecordKind::Load,
        ctr: Ctr(6),
        balance: 2350,
        amount: 2000,
        at_s: 1_794_990_000,
        validator: ValidatorId::new(7).unwrap(),
        place: PlaceIx(12),
        load_seq: LoadSeq(2),
        tariff: TariffVersion(8),
        valid_until: ValidUntil::Month(60),
        class: RiderClass(1),
        run: None,
        products: None,
        layout: CardLayout::Plain,
    }
}

fn after() -> CardRecord {
    CardRecord {
        kind: RecordKind::Board,
        ctr: Ctr(7),
        balance: 2075,
        amount: 275,
        at_s: 1_795_000_000,
        validator: validator(),
        place: PlaceIx(300),
        tariff: TariffVersion(9),
        run: Some(TransferRun { legs: 1, paid: 275, age_s: 0, group: 4 }),
        ..before()
    }
}

fn draft() -> TapDraft {
    TapDraft {
        card: Some(CardId([4, 0xa1, 0xb2, 0xc3, 0xd4, 0xe5, 0xf6])),
        tapped_at: Timestamp(1_795_000_000_417),
        clock: ClockQuality::Ntp,
        role: TapRole::Board,
        place: PlaceIx(300),
        route: Some(RouteIx(17)),
        tariff: TariffVersion(9),
        order: None,
        place_age_s: None,
        hotlist_version: None,
    }
}

fn record(seq: u64, event: TapEvent) -> TapRecord {
    TapRecord::new((validator(), Epoch(1_795_000_000), TapSeq(seq)), draft(), 187, event)
}

/// The wire carries a ticket's bytes; it does not read them.
fn token() -> TicketToken {
    TicketToken(core::array::from_fn(|i| u8::try_from(i).expect("96 fit a byte")))
}

fn samples() -> [(&'static str, TapRecord, ExpectFile); 6] {
    let transaction = CardTransaction {
        before: before(),
        after: after(),
        products: None,
        loaded: None,
        counters: None,
        companions: Companions::NONE,
        purse: None,
    };
    let proof = CardProof([1, 2, 3, 4, 5, 6, 7, 8]);
    let of = TapSeq(1002);
    // As validators wrote it before they said so.
    let served = Served::Unsaid;
    let reason = Refusal::InsufficientValue;
    macro_rules! sample {
        ($name:literal, $seq:literal, $event:expr) => {
            (
                $name,
                record($seq, $event),
                expect_file![concat!("../../../tests/vectors/wire/v1/entry-", $name, ".hex")],
            )
        };
    }
    [
        sample!("committed", 1001, TapEvent::Committed { transaction, proof }),
        sample!("in-doubt", 1002, TapEvent::InDoubt { transaction }),
        sample!("refused", 1003, TapEvent::Refused { reason, seen: Some(before()) }),
        sample!("confirmed", 1004, TapEvent::Confirmed { of, transaction, proof, served }),
        sample!("voided", 1005, TapEvent::Voided { of, seen: before() }),
        (
            "ticket",
            TapRecord { card: None, ..record(1006, TapEvent::Ticket { token: token() }) },
            expect_file!["../../../tests/vectors/wire/v1/entry-ticket.hex"],
        ),
    ]
}

/// Taps paid by products, and an order that brings one: the fields 15, 16, 24 and 25. Not in the
/// golden batch, which is older.
fn product_samples() -> [(&'static str, TapRecord, ExpectFile); 3] {
    let pass = CardProduct {
        id: 301,
        kind: ProductKind::Pass,
        scope: ProductScope::EVERYTHING,
        serial: 1,
        from_s: 1_795_000_000,
        until_s: 1_797_591_999,
    };
    let rides = CardProduct { id: 20, kind: ProductKind::Rides, serial: 2, ..pass };
    let used = |before: CardRecord, used| CardRecord { products: Some(used), ..before };
    let transaction = |slots, rides, by| CardTransaction {
        before: used(before(), ProductUse::default()),
        after: used(CardRecord { amount: 0, balance: 2350, ..after() }, by),
        products: Some(ProductsFound { file: CardProducts::new(slots).unwrap(), rides }),
        loaded: None,
        counters: None,
        companions: Companions::NONE,
        purse: None,
    };
    let by_pass = ProductUse { pass: Some(ProductSlot::First), rides: 0 };
    let by_ride = ProductUse { pass: None, rides: 1 };
    let committed = |transaction| TapEvent::Committed { transaction, proof: CardProof([9; 8]) };
    let pass_used = transaction([Some(pass), None], None, by_pass);
    let ride_used = transaction([Some(pass), Some(rides)], Some(10), by_ride);
    let load = ProductLoad::new(CardProducts::new([Some(pass), Some(rides)]).unwrap(), 10);
    let brought = CardTransaction {
        loaded: load.ok(),
        ..transaction([Some(pass), None], None, ProductUse::default())
    };
    let [pass_file, ride_file, sale_file] = [
        expect_file!["../../../tests/vectors/wire/v1/entry-pass.hex"],
        expect_file!["../../../tests/vectors/wire/v1/entry-ride.hex"],
        expect_file!["../../../tests/vectors/wire/v1/entry-sale.hex"],
    ];
    [
        ("pass", record(1006, committed(pass_used)), pass_file),
        ("ride", record(1007, committed(ride_used)), ride_file),
        ("sale", record(1008, committed(brought)), sale_file),
    ]
}

/// Taps whose tariff counts: the fields 19 and 20.
fn counter_samples() -> [(&'static str, TapRecord, ExpectFile); 2] {
    let layout_2 = |record: CardRecord| CardRecord { layout: CardLayout::Counters, ..record };
    let day = |counted| Counter { cap: 1, level: 2, start: 2519, counted };
    let week = Counter { cap: 9, level: 0, start: 2513, counted: 1250 };
    let counters = |counted| CardCounters([Some(day(counted)), Some(week), None, None]);
    let found = counters(275);
    let tap = |written| {
        let used = CounterUse { found, written };
        let (before, after) = (layout_2(before()), layout_2(after()));
        let transaction = CardTransaction {
            before,
            after,
            products: None,
            loaded: None,
            counters: Some(used),
            companions: Companions::NONE,
            purse: None,
        };
        record(1008, TapEvent::Committed { transaction, proof: CardProof([9; 8]) })
    };
    let [counting, capped] = [
        expect_file!["../../../tests/vectors/wire/v1/entry-counting.hex"],
        expect_file!["../../../tests/vectors/wire/v1/entry-capped.hex"],
    ];
    [("counting", tap(Some(counters(550))), counting), ("capped", tap(None), capped)]
}

/// Confirmed taps that say whether the rider was let through: the field 18. Younger than the batch.
fn served_samples() -> [(&'static str, TapRecord, ExpectFile); 2] {
    let transaction = CardTransaction {
        before: before(),
        after: after(),
        products: None,
        loaded: None,
        counters: None,
        companions: Companions::NONE,
        purse: None,
    };
    let (of, proof) = (TapSeq(1002), CardProof([1, 2, 3, 4, 5, 6, 7, 8]));
    let confirmed = |served| TapEvent::Confirmed { of, transaction, proof, served };
    let [yes, no] = [
        expect_file!["../../../tests/vectors/wire/v1/entry-confirmed-served.hex"],
        expect_file!["../../../tests/vectors/wire/v1/entry-confirmed-unserved.hex"],
    ];
    [
        ("served", record(1004, confirmed(Served::Yes)), yes),
        ("unserved", record(1004, confirmed(Served::No)), no),
    ]
}

/// Two children and an adult ride on the card: the field 21.
fn group_samples() -> [(&'static str, TapRecord, ExpectFile); 1] {
    let riders = [(RiderClass(1), 2), (RiderClass(0), 1)];
    let transaction = CardTransaction {
        before: before(),
        after: after(),
        products: None,
        loaded: None,
        counters: None,
        companions: Companions::new(riders).unwrap(),
        purse: None,
    };
    let event = TapEvent::Committed { transaction, proof: CardProof([9; 8]) };
    let file = expect_file!["../../../tests/vectors/wire/v1/entry-group.hex"];
    [("group", record(1010, event), file)]
}

/// A tap of a card whose purse is in francs: the field 22.
fn purse_samples() -> [(&'static str, TapRecord, ExpectFile); 1] {
    let layout = CardLayout::OtherCurrency;
    let transaction = CardTransaction {
        before: CardRecord { layout, ..before() },
        after: CardRecord { layout, ..after() },
        products: None,
        loaded: None,
        counters: None,
        companions: Companions::NONE,
        purse: Currency::parse("CHF").ok(),
    };
    let event = TapEvent::Committed { transaction, proof: CardProof([9; 8]) };
    let file = expect_file!["../../../tests/vectors/wire/v1/entry-purse.hex"];
    [("purse", record(1011, event), file)]
}

/// What gates told: the fields 28 and 29, and a vehicle's place that is not fresh: the field 30;
/// the hotlist that decided: the field 31.
fn gate_samples() -> [(&'static str, TapRecord, ExpectFile); 5] {
    let of = Some(TapSeq(1001));
    let at_gate =
        |record| TapRecord { role: TapRole::Entry, route: None, duration_ms: 0, ..record };
    let said = |seq, said, of| at_gate(record(seq, TapEvent::Gate { said, of }));
    let tailgate = TapRecord { card: None, ..said(1014, GateWord::Tailgate, None) };
    let reason = Refusal::InsufficientValue;
    let stale = record(1015, TapEvent::Refused { reason, seen: Some(before()) });
    let by = record(1016, TapEvent::Refused { reason: Refusal::Hotlisted, seen: Some(before()) });
    let [passed, timed_out, followed, stale_place, by_hotlist] = [
        expect_file!["../../../tests/vectors/wire/v1/entry-gate-passed.hex"],
        expect_file!["../../../tests/vectors/wire/v1/entry-gate-timed-out.hex"],
        expect_file!["../../../tests/vectors/wire/v1/entry-gate-tailgate.hex"],
        expect_file!["../../../tests/vectors/wire/v1/entry-stale-place.hex"],
        expect_file!["../../../tests/vectors/wire/v1/entry-hotlist.hex"],
    ];
    [
        ("gate passed", said(1012, GateWord::Passed, of), passed),
        ("gate timed out", said(1013, GateWord::TimedOut, of), timed_out),
        ("gate tailgate", tailgate, followed),
        ("stale place", TapRecord { place_age_s: Some(95), ..stale }, stale_place),
        ("hotlist", TapRecord { hotlist_version: Some(1_795_000_000), ..by }, by_hotlist),
    ]
}

#[test]
fn a_gates_word_about_a_rider_names_the_entry() {
    let [(_, record, _), ..] = gate_samples();
    let said = GateWord::Passed;
    let nobody = TapRecord { event: TapEvent::Gate { said, of: None }, ..record };
    let bytes = encode_entry(&nobody).unwrap();
    let id = (record.validator, record.epoch, record.seq);
    assert_eq!(decode_entry(&bytes, id), Err(WireError::Missing("number of the rider's entry")));
}

/// A load order, put on its card: the field 23.
fn order_samples() -> [(&'static str, TapRecord, ExpectFile); 1] {
    let after = CardRecord {
        kind: RecordKind::Load,
        load_seq: LoadSeq(before().load_seq.0 + 1),
        amount: 2_000,
        balance: before().balance + 2_000,
        place: PlaceIx::NONE,
        tariff: before().tariff,
        ..after()
    };
    let transaction = CardTransaction {
        before: before(),
        after,
        products: None,
        loaded: None,
        counters: None,
        companions: Companions::NONE,
        purse: None,
    };
    let event = TapEvent::Committed { transaction, proof: CardProof([9; 8]) };
    let order = Some(OrderId(77));
    let file = expect_file!["../../../tests/vectors/wire/v1/entry-order.hex"];
    [("order", TapRecord { order, ..record(1009, event) }, file)]
}

fn batch() -> Batch {
    let epoch = Epoch(1_795_000_000);
    let prev_hash = ChainHash::start(validator(), epoch);
    let head = BatchHead { validator: validator(), epoch, first: TapSeq(1001), prev_hash };
    let registers = Registers { count: 1000, debit_sum: 250_000, load_sum: 0 };
    // The golden batch is older than the entries behind these five.
    let rows: Vec<_> = samples()[..5]
        .iter()
        .scan(registers, |registers, (_, record, _)| {
            *registers = registers.after(record);
            Some((encode_entry(record).unwrap(), *registers))
        })
        .collect();
    Batch::assemble(head, 1000, rows.iter().map(|(bytes, after)| (bytes.as_slice(), *after)))
        .unwrap()
}

fn ack() -> Ack {
    Ack {
        validator: validator(),
        epoch: Epoch(1_795_000_000),
        acked_through: TapSeq(1000),
        missing: vec![(TapSeq(1001), TapSeq(1005))],
        depot_time: Timestamp(1_795_000_001_250),
    }
}

fn state(word: StateWord) -> ValidatorState {
    ValidatorState {
        validator: validator(),
        word,
        connection: 12,
        epoch: Epoch(1_795_000_000),
        software: "0.1.0".to_owned(),
        tariff: Some(TariffVersion(9)),
        head: TapSeq(1005),
        acked: TapSeq(1000),
        in_doubt: 1,
        clock: ClockQuality::Ntp,
        at: Timestamp(1_795_000_002_000),
        undrained_before: 0,
        lists: None,
        reason: String::new(),
        health: None,
        steered: Steered::default(),
        speech: None,
    }
}

fn host() -> HostState {
    let versions = Versions::FIRST;
    HostState { online: true, connection: 3, at: Timestamp(1_795_000_000_000), versions }
}

#[test]
fn golden_entries_are_written_and_read_for_ever() {
    let all = samples().into_iter().chain(product_samples());
    for (name, record, file) in all
        .chain(served_samples())
        .chain(counter_samples())
        .chain(order_samples())
        .chain(group_samples())
        .chain(purse_samples())
        .chain(gate_samples())
    {
        let bytes = encode_entry(&record).unwrap();
        file.assert_eq(&hex(&bytes));
        let id = (record.validator, record.epoch, record.seq);
        assert_eq!(decode_entry(&bytes, id), Ok(record), "{name}");
    }
}

#[test]
fn golden_bodies_are_written_and_read_for_ever() {
    let batch_file = expect_file!["../../../tests/vectors/wire/v1/batch.body.hex"];
    batch_file.assert_eq(&hex(&batch().encode()));
    assert_eq!(Batch::decode(&batch().encode()), Ok(batch()));
    let ack_file = expect_file!["../../../tests/vectors/wire/v1/ack.body.hex"];
    ack_file.assert_eq(&hex(&ack().encode()));
    assert_eq!(Ack::decode(&ack().encode()), Ok(ack()));
    let birth = state(StateWord::Ready);
    let state_file = expect_file!["../../../tests/vectors/wire/v1/state.body.hex"];
    state_file.assert_eq(&hex(&birth.encode().unwrap()));
    assert_eq!(ValidatorState::decode(&birth.encode().unwrap()), Ok(birth));
    let host_file = expect_file!["../../../tests/vectors/wire/v1/host.body.hex"];
    host_file.assert_eq(&hex(&host().encode()));
    assert_eq!(HostState::decode(&host().encode()), Ok(host()));
}

#[test]
fn a_validator_says_why_it_does_not_serve_and_how_its_device_is() {
    let health = Health {
        started: Timestamp(1_795_000_000_000),
        fault: "its supply is too weak".to_owned(),
        self_tested: Some(Timestamp(1_795_000_900_000)),
        self_test_ms: 7,
        last_read: Some(Timestamp(1_795_000_950_000)),
        free_mib: Some(1_204),
        store_mib: Some(3),
        set_aside: 1,
        temperature: Some(-12),
        undervoltage: Some(true),
        wear: Some(40),
        looked: None,
    };
    let (reason, health) = ("no room".to_owned(), Some(health));
    let said = ValidatorState { reason, health, ..state(StateWord::OutOfService) };
    let file = expect_file!["../../../tests/vectors/wire/v1/state-health.body.hex"];
    file.assert_eq(&hex(&said.encode().unwrap()));
    assert_eq!(ValidatorState::decode(&said.encode().unwrap()), Ok(said.clone()));
    // The bytes above are those of programs that did not say when they looked.
    let looked =
        Health { looked: Some(Timestamp(1_795_000_940_000)), ..said.health.clone().unwrap() };
    let said = ValidatorState { health: Some(looked), ..said };
    let file = expect_file!["../../../tests/vectors/wire/v1/state-looked.body.hex"];
    file.assert_eq(&hex(&said.encode().unwrap()));
    assert_eq!(ValidatorState::decode(&said.encode().unwrap()), Ok(said));
    let nothing = Some(Health::default());
    let said = ValidatorState { health: nothing, ..state(StateWord::Ready) };
    assert_eq!(ValidatorState::decode(&said.encode().unwrap()), Ok(said.clone()));
    let long = ValidatorState { reason: "x".repeat(201), ..said };
    assert!(matches!(long.encode(), Err(WireError::TooLarge { what: "reason", .. })));
}

#[test]
fn every_code_of_every_table_reads_back() {
    for reason in Refusal::ALL {
        let r = record(1, TapEvent::Refused { reason, seen: None });
        let bytes = encode_entry(&r).unwrap();
        assert_eq!(decode_entry(&bytes, (r.validator, r.epoch, r.seq)), Ok(r));
    }
    for word in [
        StateWord::Starting,
        StateWord::Ready,
        StateWord::OutOfService,
        StateWord::Asleep,
        StateWord::Lost,
    ] {
        assert_eq!(ValidatorState::decode(&state(word).encode().unwrap()), Ok(state(word)));
    }
}

#[test]
fn a_newer_version_is_told_from_garbage() {
    let body = ack().encode();
    let mut payload = Envelope { address: None, body: &body, signature: [0; 64] }.encode();
    assert!(Envelope::decode(Message::Ack, &payload).is_ok());
    payload[1] = 4;
    assert_eq!(Envelope::decode(Message::Ack, &payload), Err(WireError::UnknownVersion(4)));
    let longer = [&[0x84, 0x18, 0x20], &payload[2..]].concat();
    assert_eq!(Envelope::decode(Message::Ack, &longer), Err(WireError::UnknownVersion(0x20)));
    for garbage in [&b""[..], b"\x83", b"hello", &[0x83, 0x61, 0x31]] {
        let error = Envelope::decode(Message::Ack, garbage);
        assert!(matches!(error, Err(WireError::Malformed { .. })), "{garbage:?} {error:?}");
    }
    let mut entry = encode_entry(&samples()[0].1).unwrap();
    entry[0] = 9;
    let id = (validator(), Epoch(1), TapSeq(1));
    assert_eq!(decode_entry(&entry, id), Err(WireError::UnknownVersion(9)));
}

#[test]
fn bounds_hold_before_anything_is_decoded() {
    let id = (validator(), Epoch(1), TapSeq(1));
    let too_large = |what, limit| Err(WireError::TooLarge { what, limit });
    assert_eq!(decode_entry(&[1; 513], id).map(|_| ()), too_large("tap entry", 512));
    let big = vec![0x83; limits::BATCH + 1];
    let decoded = Envelope::decode(Message::Taps, &big).map(|_| ());
    assert_eq!(decoded, too_large("taps", limits::BATCH));
    let decoded = Envelope::decode(Message::State, &big[..5000]).map(|_| ());
    assert_eq!(decoded, too_large("state", limits::SMALL));

    let many = Batch { entries: vec![vec![1]; 1001], ..batch() };
    assert!(matches!(Batch::decode(&many.encode()), Err(WireError::Malformed { .. })));
    let long = Batch { entries: vec![vec![1; 513]], ..batch() };
    assert!(matches!(Batch::decode(&long.encode()), Err(WireError::Malformed { .. })));
    let none = Batch { entries: vec![], ..batch() };
    assert_eq!(Batch::decode(&none.encode()), Err(WireError::OutOfRange("numbers of a batch")));
    // 2^32 - 1 byte strings are claimed and none follows.
    let mut liar = batch().encode();
    let entries = liar.windows(2).position(|w| w == [7, 0x85]).unwrap();
    liar.truncate(entries + 1);
    liar.extend([0x9a, 0xff, 0xff, 0xff, 0xff]);
    assert!(matches!(Batch::decode(&liar), Err(WireError::Malformed { .. })));
}

#[test]
fn trailing_bytes_and_named_fields_are_refused() {
    let mut body = host().encode();
    assert!(HostState::decode(&body).is_ok());
    body.push(0);
    assert!(HostState::decode(&body).is_err());
    // {"online": true, "connection": 3, "at": 0}
    let named = b"\xa3\x66online\xf5\x6aconnection\x03\x62at\x00";
    assert!(HostState::decode(named).is_err());
    let packed = b"\xa3\x00\xf5\x01\x03\x02\x00";
    assert!(HostState::decode(packed).is_ok());
    let with_a_field_of_a_newer_minor = b"\xa4\x00\xf5\x01\x03\x02\x00\x0a\x61x";
    assert!(HostState::decode(with_a_field_of_a_newer_minor).is_ok());
}

#[test]
fn rides_without_the_file_that_they_belong_to_are_refused() {
    let (_, record, _) = &product_samples()[1];
    let bytes = encode_entry(record).unwrap();
    let file = bytes.windows(3).position(|w| w == [15, 0x58, 32]).unwrap();
    let mut without = [&bytes[..file], &bytes[file + 35..]].concat();
    without[1] -= 1;
    let id = (record.validator, record.epoch, record.seq);
    assert_eq!(decode_entry(&without, id), Err(WireError::Missing("products file")));
}

#[test]
fn a_tap_without_products_is_as_long_as_ever_and_one_with_a_pass_35_bytes_longer() {
    let plain = encode_entry(&samples()[0].1).unwrap().len();
    let [pass, ride, _] = product_samples().map(|(_, r, _)| encode_entry(&r).unwrap().len());
    assert_eq!((pass, ride), (plain + 35, plain + 37));
}

#[test]
fn counters_written_without_those_found_and_counters_that_are_none_are_refused() {
    let (_, record, _) = &counter_samples()[0];
    let id = (record.validator, record.epoch, record.seq);
    let bytes = encode_entry(record).unwrap();
    let at = |index: u8| bytes.windows(3).position(|w| w == [index, 0x58, 32]).unwrap();
    let (found, written) = (at(19), at(20));
    let mut without = [&bytes[..found], &bytes[written..]].concat();
    without[1] -= 1;
    assert_eq!(decode_entry(&without, id), Err(WireError::Missing("counters found")));
    let mut capless = bytes;
    capless[found + 3] = 0;
    let error = WireError::Counters(CounterError::WithoutCap(1));
    assert_eq!(decode_entry(&capless, id), Err(error));
}

#[test]
fn counters_read_cost_35_bytes_and_counters_written_35_more() {
    let plain = encode_entry(&samples()[0].1).unwrap().len();
    let [counting, capped] = counter_samples().map(|(_, r, _)| encode_entry(&r).unwrap().len());
    assert_eq!((counting, capped), (plain + 70, plain + 35));
}

#[test]
fn the_purse_costs_four_bytes_and_a_number_that_is_no_currency_is_refused() {
    let [(_, record, _)] = purse_samples();
    let id = (record.validator, record.epoch, record.seq);
    let bytes = encode_entry(&record).unwrap();
    assert_eq!(bytes.len(), encode_entry(&samples()[0].1).unwrap().len() + 4);
    let francs = [22, 0x19, 0x02, 0xF4];
    let at = bytes.windows(4).position(|w| w == francs).unwrap();
    let mut nobodys = bytes.clone();
    nobodys[at + 3] = 0xF5;
    assert_eq!(decode_entry(&nobodys, id), Err(WireError::OutOfRange("purse")));
    let mut without = [&bytes[..at], &bytes[at + 4..]].concat();
    without[1] -= 1;
    let decoded = decode_entry(&without, id).unwrap();
    let (transaction, _) = decoded.settled().unwrap();
    assert_eq!(transaction.purse, None, "it decodes; no proof of such a card holds without it");
}

#[test]
fn an_entry_leaves_out_only_what_its_own_record_says() {
    let transaction = CardTransaction {
        before: before(),
        after: after(),
        products: None,
        loaded: None,
        counters: None,
        companions: Companions::NONE,
        purse: None,
    };
    let same = record(1, TapEvent::InDoubt { transaction });
    let length = encode_entry(&same).unwrap().len();
    for (differs, longer) in [
        (TapRecord { tapped_at: Timestamp(1_795_000_001_417), ..same }, 6),
        (TapRecord { place: PlaceIx(3), ..same }, 2),
        (TapRecord { tariff: TariffVersion(8), ..same }, 2),
    ] {
        let bytes = encode_entry(&differs).unwrap();
        assert_eq!(bytes.len(), length + longer);
        let id = (differs.validator, differs.epoch, differs.seq);
        assert_eq!(decode_entry(&bytes, id), Ok(differs));
    }
}

#[test]
fn a_full_batch_stays_within_the_size_limit() {
    let entry = [1; 512];
    let rows = core::iter::repeat_n((&entry[..], Registers::default()), 2000);
    let full = Batch::assemble(batch().head, 1000, rows).unwrap();
    let worst = BatchHead {
        validator: ValidatorId::new((1 << 24) - 1).unwrap(),
        epoch: Epoch(u32::MAX),
        first: TapSeq(u64::MAX / 2),
        ..full.head
    };
    let registers = Registers { count: u64::MAX, debit_sum: i64::MIN, load_sum: i64::MIN };
    let body = Batch { head: worst, registers, ..full.clone() }.encode();
    let payload = Envelope { address: None, body: &body, signature: [0; 64] }.encode();
    assert!(payload.len() <= limits::BATCH, "{}", payload.len());
    assert!(payload.len() > limits::BATCH - 1024, "{}", payload.len());
    assert_eq!(full.last(), TapSeq(1000 + full.entries.len() as u64));
    assert_eq!(Batch::assemble(full.head, 10, core::iter::empty()), None);
}

/// First bytes of records: every kind, without and with products, of both layouts.
const KINDS: &[u8] =
    &[0x10, 0x11, 0x12, 0x13, 0x14, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x20, 0x21, 0x22, 0x2b, 0x2c];

fn products_found() -> impl Strategy<Value = Option<ProductsFound>> {
    option::of(
        (any::<[u8; 32]>(), option::of(any::<u32>())).prop_map(|(bytes, rides)| ProductsFound {
            file: CardProducts::from_bytes(bytes),
            rides,
        }),
    )
}

fn counters_used() -> impl Strategy<Value = Option<CounterUse>> {
    let slot = (any::<[u8; 2]>(), any::<u16>(), any::<u32>()).prop_map(
        |([cap, level], start, counted)| {
            (cap > 0).then_some(Counter { cap, level, start, counted })
        },
    );
    let file = proptest::array::uniform4(slot).prop_map(CardCounters);
    option::of(
        (file.clone(), option::of(file)).prop_map(|(found, written)| CounterUse { found, written }),
    )
}

fn card_record() -> impl Strategy<Value = CardRecord> {
    (proptest::array::uniform32(any::<u8>()), prop::sample::select(KINDS)).prop_filter_map(
        "a run without legs, or a slot that is none",
        |(mut bytes, first)| {
            bytes[0] = first;
            CardRecord::from_bytes(&bytes).ok()
        },
    )
}

fn event() -> impl Strategy<Value = TapEvent> {
    let reason = (0..Refusal::ALL.len()).prop_map(|i| Refusal::ALL[i]);
    let served = prop::sample::select(&[Served::Yes, Served::No, Served::Unsaid][..]);
    let rest = (any::<u64>(), any::<[u8; 8]>(), option::of(card_record()), reason, served);
    let riders = prop::collection::vec((0..16_u8).prop_map(RiderClass), 0..16)
        .prop_map(|classes| Companions::new(classes.into_iter().map(|class| (class, 1))).unwrap());
    let currency = |letters| Currency::parse(letters).unwrap();
    let purses = ["CHF", "JPY", "KWD"].map(currency);
    let purse = option::of(prop::sample::select(purses.to_vec()));
    let found = (products_found(), counters_used(), riders, purse);
    (0..7, card_record(), card_record(), found, rest).prop_map(
        |(
            kind,
            before,
            after,
            (products, counters, companions, purse),
            (of, proof, seen, reason, served),
        )| {
            let transaction = CardTransaction {
                before,
                after,
                products,
                loaded: None,
                counters,
                companions,
                purse,
            };
            let (of, proof) = (TapSeq(of), CardProof(proof));
            match kind {
                0 => TapEvent::Committed { transaction, proof },
                1 => TapEvent::InDoubt { transaction },
                2 => TapEvent::Refused { reason, seen },
                3 => TapEvent::Confirmed { of, transaction, proof, served },
                4 => TapEvent::Voided { of, seen: before },
                5 => TapEvent::Ticket { token: token() },
                _ => TapEvent::Gate {
                    said: GateWord::ALL[usize::try_from(of.0 % 9).unwrap()],
                    of: Some(of),
                },
            }
        },
    )
}

prop_compose! {
    fn tap_record()(
        event in event(),
        card in option::of(any::<[u8; 7]>()),
        at in any::<u64>(),
        as_after in any::<bool>(),
        clock in 0..5_usize,
        role in 0..3_usize,
        place in any::<u16>(),
        route in option::of(any::<u16>()),
        tariff in any::<u16>(),
        duration_ms in any::<u16>(),
        order in option::of(any::<u64>()),
    ) -> TapRecord {
        use ClockQuality::{Gnss, Ntp, Rtc, Saved, Unknown};
        let mut draft = TapDraft {
            card: card.map(CardId),
            tapped_at: Timestamp(at),
            clock: [Unknown, Saved, Rtc, Ntp, Gnss][clock],
            role: [TapRole::Board, TapRole::Entry, TapRole::Exit][role],
            place: PlaceIx(place),
            route: route.map(RouteIx),
            tariff: TariffVersion(tariff),
            order: order.map(OrderId),
            place_age_s: order.map(|n| u16::try_from(n % 65_536).unwrap()),
            hotlist_version: order,
        };
        if let (true, TapEvent::InDoubt { transaction }) = (as_after, &event) {
            draft.place = transaction.after.place;
            draft.tapped_at = transaction.after.at();
        }
        TapRecord::new((validator(), Epoch(3), TapSeq(9)), draft, duration_ms, event)
    }
}

fn decode_all(bytes: &[u8]) {
    let _ = decode_entry(bytes, (validator(), Epoch(3), TapSeq(9)));
    let _ = Batch::decode(bytes);
    let _ = Ack::decode(bytes);
    let _ = ValidatorState::decode(bytes);
    let _ = HostState::decode(bytes);
    for message in [Message::Taps, Message::State, Message::Ack, Message::Host] {
        let _ = Envelope::decode(message, bytes);
        let _ = Sealed::decode(message, bytes);
    }
}

proptest! {
    #[test]
    fn an_entry_reads_back_as_written(record in tap_record()) {
        let bytes = encode_entry(&record).unwrap();
        prop_assert!(bytes.len() <= limits::ENTRY);
        let id = (record.validator, record.epoch, record.seq);
        prop_assert_eq!(decode_entry(&bytes, id), Ok(record));
        prop_assert!(decode_entry(&[&bytes[..], &[0]].concat(), id).is_err());
        prop_assert!(decode_entry(&bytes[..bytes.len() - 1], id).is_err());
    }

    #[test]
    fn messages_read_back_as_written(
        numbers in any::<(u32, u64, u64, u64, u64)>(),
        entries in vec_of(vec_of(any::<u8>(), 1..40), 1..20),
        hashes in any::<([u8; 32], [u8; 32])>(),
        sums in any::<(i64, i64)>(),
        signature in vec_of(any::<u8>(), 64),
    ) {
        let (epoch, first, count, time, connection) = numbers;
        let first = TapSeq(first.clamp(1, u64::MAX / 2));
        let prev_hash = ChainHash(hashes.0);
        let head = BatchHead { validator: validator(), epoch: Epoch(epoch), first, prev_hash };
        let registers = Registers { count, debit_sum: sums.0, load_sum: sums.1 };
        let last_hash = ChainHash(hashes.1);
        let batch = Batch { head, last_hash, registers, entries };
        prop_assert_eq!(Batch::decode(&batch.encode()), Ok(batch.clone()));

        let range = |from: u64, through: u64| (TapSeq(first.0 + from), TapSeq(first.0 + through));
        let missing = vec![range(1, 5), range(9, 9)];
        let (depot_time, epoch) = (Timestamp(time), Epoch(epoch));
        let ack = Ack { epoch, acked_through: first, missing, depot_time, ..ack() };
        prop_assert_eq!(Ack::decode(&ack.encode()), Ok(ack));

        let lost = state(StateWord::Lost);
        let state = ValidatorState { connection, epoch, undrained_before: count, ..lost };
        prop_assert_eq!(ValidatorState::decode(&state.encode().unwrap()), Ok(state));

        let body = batch.encode();
        let signature = signature.try_into().unwrap();
        let envelope = Envelope { address: None, body: &body, signature };
        let payload = envelope.encode();
        prop_assert_eq!(Envelope::decode(Message::Taps, &payload), Ok(envelope));
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in vec_of(any::<u8>(), 0..300)) {
        decode_all(&bytes);
        decode_all(&[&[1, 0xa5], &bytes[..]].concat());
    }

    #[test]
    fn no_damage_makes_a_decoder_panic(
        which in 0..9_usize,
        at in any::<prop::sample::Index>(),
        with in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = match which {
            0..5 => encode_entry(&samples()[which].1).unwrap(),
            5 => batch().encode(),
            6 => ack().encode(),
            7 => state(StateWord::Ready).encode().unwrap(),
            _ => Envelope { address: None, body: &batch().encode(), signature: [7; 64] }.encode(),
        };
        let at = at.index(bytes.len());
        bytes[at] = with;
        decode_all(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        decode_all(&bytes);
    }
}
