//! Products that are put on cards in use: whole or not at all, proven, and by the load key alone.

use model::{
    CardProduct, CardProducts, CardRecord, CardTransaction, Companions, ProductKind, ProductLoad,
    ProductSale, ProductScope, ProductUse, ProductsFound, RecordKind, Timestamp,
};

use super::{Link, UID, issued_card, keys, newest, run, start, start_load};
use crate::{
    CardFound, CardKeys, CardOutput, ExchangeError, LoadTransaction, Settlement, VirtualCard,
    WriteError, load_record, proof_holds, sale_record,
};

const LATER: u32 = 1_795_000_600;

fn sale(serial: u16) -> ProductSale {
    let product = CardProduct {
        id: 20,
        kind: ProductKind::Rides,
        scope: ProductScope::of_group("bus"),
        serial,
        from_s: 0,
        until_s: 0,
    };
    ProductSale::new(product, 10).unwrap()
}

/// Puts ten rides on a card; what the depot gets of it.
fn sell(
    machine: &mut LoadTransaction,
    serial: u16,
    link: Link<'_>,
) -> (Settlement, Option<CardTransaction>) {
    let mut done = None;
    loop {
        match run(machine, link) {
            CardOutput::Found(CardFound { record, products, .. }) => {
                let after = sale_record(&record, LATER).unwrap();
                let load = sale(serial).onto(products.as_ref(), Timestamp::from_secs(LATER.into()));
                let load = load.unwrap();
                machine.write_selling(&after, load).unwrap();
                done = Some(CardTransaction {
                    before: record,
                    after,
                    products,
                    loaded: Some(load),
                    counters: None,
                    companions: Companions::NONE,
                    purse: None,
                });
            }
            CardOutput::ReadyToCommit => machine.commit(),
            CardOutput::Settled(settlement) => return (settlement, done),
            CardOutput::NeedKey { .. } | CardOutput::Transmit(_) => unreachable!("run() does it"),
        }
    }
}

fn sold(card: &mut VirtualCard, serial: u16) -> (CardTransaction, model::CardProof) {
    card.power_off();
    match sell(&mut start_load(card), serial, &mut |apdu| Ok(card.handle_apdu(apdu))) {
        (Settlement::Committed { proof, .. }, Some(transaction)) => (transaction, proof),
        other => panic!("{other:?}"),
    }
}

#[test]
fn rides_are_put_on_a_card_in_use_and_the_depot_can_verify_it() {
    let mut card = issued_card();
    let mut exchanges = 0;
    let (first, _) = sell(&mut start_load(&card), 1, &mut |apdu| {
        exchanges += 1;
        let response = card.handle_apdu(apdu);
        assert!(apdu.len() <= 61 && response.len() <= 61, "one radio block each");
        Ok(response)
    });
    assert!(matches!(first, Settlement::Committed { .. }));
    assert_eq!(exchanges, 8, "a load's, with the products and their rides for the value");
    let record = newest(&mut card);
    assert_eq!((record.kind, record.amount, record.load_seq.0), (RecordKind::Load, 0, 1));
    assert_eq!(record.products, Some(ProductUse::default()), "from here on a tap looks for them");

    let (again, proof) = sold(&mut card, 2);
    let found = again.products.unwrap();
    assert_eq!((found.file.with_rides(), found.rides), (Some(sale(1).product), Some(10)));
    let contents = card.contents().unwrap();
    assert_eq!((contents.balance, contents.products.unwrap().rides), (1_000, Some(20)));
    assert_eq!(contents.products.unwrap().file.with_rides(), Some(sale(2).product), "renewed");

    let tmac = keys().tmac_key(&UID).unwrap();
    assert!(proof_holds(&tmac, &UID, &again, proof));
    let file = CardProducts::new([Some(sale(3).product), None]).unwrap();
    for loaded in [None, ProductLoad::new(found.file, 10).ok(), ProductLoad::new(file, 10).ok()] {
        assert!(!proof_holds(&tmac, &UID, &CardTransaction { loaded, ..again }, proof));
    }
    let more = ProductLoad::new(again.loaded.unwrap().file(), 11).ok();
    assert!(!proof_holds(&tmac, &UID, &CardTransaction { loaded: more, ..again }, proof));
}

#[test]
fn a_sale_writes_a_load_of_no_value_and_nothing_else() {
    let load = sale(1).onto(None, Timestamp(0)).unwrap();
    let check = |after: &dyn Fn(&CardRecord) -> CardRecord, expected| {
        let mut card = issued_card();
        let mut machine = start_load(&card);
        let output = run(&mut machine, &mut |apdu| Ok(card.handle_apdu(apdu)));
        let CardOutput::Found(found) = output else { panic!("{output:?}") };
        assert_eq!(machine.write_selling(&after(&found.record), load), Err(expected));
        assert_eq!(machine.poll(), None, "nothing is sent");
    };
    let right = |before: &CardRecord| sale_record(before, LATER).unwrap();
    check(&|before| CardRecord { products: None, ..right(before) }, WriteError::ProductsMismatch);
    let using = Some(ProductUse { pass: None, rides: 1 });
    check(&|before| CardRecord { products: using, ..right(before) }, WriteError::ProductsMismatch);
    check(&|before| CardRecord { kind: RecordKind::Board, ..right(before) }, WriteError::NotALoad);
    let mut card = issued_card();
    let mut machine = start_load(&card);
    run(&mut machine, &mut |apdu| Ok(card.handle_apdu(apdu)));
    let nothing = CardRecord { products: None, ..right(&newest(&mut issued_card())) };
    assert_eq!(machine.write(&nothing), Err(WriteError::NothingToLoad), "and no product comes");
}

#[test]
fn a_card_pulled_away_anywhere_in_a_sale_has_it_whole_or_not_at_all() {
    let mut lengths = [0; 8];
    let mut card = issued_card();
    let mut at = 0;
    sell(&mut start_load(&card), 1, &mut |apdu| {
        let response = card.handle_apdu(apdu);
        lengths[at] = response.len();
        at += 1;
        Ok(response)
    });
    let mut cases = 0;
    for (n, length) in lengths.into_iter().enumerate() {
        // `None`: the command never arrives.
        for bytes in core::iter::once(None).chain((0..length).map(Some)) {
            let mut card = issued_card();
            let mut at = 0;
            let (settlement, _) = sell(&mut start_load(&card), 1, &mut |apdu| {
                at += 1;
                if at <= n {
                    return Ok(card.handle_apdu(apdu));
                }
                let Some(bytes) = bytes else { return Err(ExchangeError::Absent) };
                let response = card.handle_apdu(apdu);
                if bytes == 0 { Err(ExchangeError::Absent) } else { Ok(response[..bytes].into()) }
            });
            card.power_off();
            let contents = card.contents().unwrap();
            let rides = contents.products.and_then(|found: ProductsFound| found.rides);
            let case = (n, bytes, &settlement);
            match rides.unwrap_or(0) {
                0 => assert_eq!(contents.records.len(), 1, "{case:?}"),
                10 => {
                    assert_eq!(n, 7, "{case:?}");
                    assert_eq!(settlement, Settlement::InDoubt, "{case:?}");
                    assert_eq!(contents.records.len(), 2, "{case:?}");
                }
                other => panic!("{other} rides: {case:?}"),
            }
            if !matches!(settlement, Settlement::InDoubt) {
                assert_eq!(contents.records.len(), 1, "{case:?}");
            }
            cases += 1;
        }
    }
    assert!(cases > 150, "{cases}");
}

#[test]
fn a_ride_and_value_follow_a_sale_on_the_same_card() {
    let mut card = issued_card();
    sold(&mut card, 1);
    let before = newest(&mut card);
    let after = load_record(&before, 500, LATER + 1).unwrap();
    assert_eq!(after.products, Some(ProductUse::default()));
    card.power_off();
    let mut machine = start(&card);
    let ride = CardRecord {
        products: Some(ProductUse { pass: None, rides: 1 }),
        ..super::charge(&before, 0)
    };
    let output = run(&mut machine, &mut |apdu| Ok(card.handle_apdu(apdu)));
    assert!(matches!(output, CardOutput::Found(_)), "{output:?}");
    machine.write(&ride).unwrap();
    let output = run(&mut machine, &mut |apdu| Ok(card.handle_apdu(apdu)));
    assert_eq!(output, CardOutput::ReadyToCommit);
    machine.commit();
    let output = run(&mut machine, &mut |apdu| Ok(card.handle_apdu(apdu)));
    assert!(matches!(output, CardOutput::Settled(Settlement::Committed { .. })), "{output:?}");
    assert_eq!(card.contents().unwrap().products.unwrap().rides, Some(9));
}
