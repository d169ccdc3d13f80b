//! The validator daemon as it runs: real sled, cards in memory, a broker in this process, and a
//! depot of a few lines.

mod console;
pub(crate) mod rig;
mod versions;

use std::fs::File;

use model::TapEvent;
use reader::Cut;
use tap_log::Decision;
use validation::{PassageClass, Verdict};
use validator::{Service, StartError, store::Durability};

use self::rig::{Depot, Rig, charge, issued};

/// The commit is the last of seven exchanges.
const COMMIT: u32 = 6;

#[tokio::test]
async fn taps_are_taken_offline_and_the_numbers_go_on_after_a_kill() {
    let mut rig = Rig::new();
    let card = issued(1, 900);
    let daemon = rig.start().await.unwrap();
    assert_eq!(daemon.recovery().decision, Decision::FirstStart);
    let passage = rig.tap(&card).await;
    assert_eq!((passage.class(), charge(&passage)), (PassageClass::A, 150));
    let epoch = daemon.log().borrow().live().epoch;
    daemon.kill().await;

    let daemon = rig.start().await.unwrap();
    assert_eq!(daemon.recovery().decision, Decision::Continue);
    let live = daemon.log().borrow().live();
    assert_eq!((live.epoch, live.head.0), (epoch, 1), "nothing that was shown is lost");
    assert_eq!(daemon.metrics().log_head.get(), 1, "known before the first tap");
    // Nobody can tell whether the power went before the green light or after it.
    assert!(rig.tap(&card).await.is_granted());
    // Another card between, so that the reader surely sees the first one leave.
    assert!(rig.tap(&issued(2, 900)).await.is_granted());
    assert_eq!(rig.tap(&card).await.assist_code(), Some(21), "a moment ago");
    assert_eq!(card.lock().unwrap().contents().unwrap().balance, 750, "charged once");
    assert_eq!(daemon.log().borrow().live().head.0, 3);
    daemon.stop().await;
}

#[tokio::test]
async fn a_tap_in_doubt_is_finished_after_a_kill_without_a_second_charge() {
    let mut rig = Rig::new();
    let card = issued(1, 900);
    let daemon = rig.start().await.unwrap();
    rig.field.cut(Cut { after: COMMIT, heard: true });
    assert_eq!(rig.tap(&card).await.class(), PassageClass::C);
    daemon.kill().await;

    let daemon = rig.start().await.unwrap();
    assert_eq!(daemon.log().borrow().in_doubt, 1);
    let passage = rig.tap(&card).await;
    assert_eq!((passage.verdict, charge(&passage)), (Verdict::Granted, 150));
    assert_eq!(card.lock().unwrap().contents().unwrap().balance, 750);
    assert_eq!(daemon.log().borrow().in_doubt, 0);
    daemon.stop().await;
}

#[tokio::test]
async fn a_disk_that_fails_ends_service_says_why_and_charges_nobody() {
    let mut rig = Rig::new();
    // The start itself syncs once.
    rig.durability = Durability::BreaksForTests { after: 1 };
    let card = issued(1, 900);
    let daemon = rig.start().await.unwrap();
    assert_eq!(rig.tap(&card).await.verdict, Verdict::OutOfService);
    assert_eq!(card.lock().unwrap().contents().unwrap().balance, 900);
    let Service::Out(why) = daemon.service().borrow().clone() else { panic!("in service") };
    assert!(why.contains("cannot make its writes durable"), "{why}");
    assert_eq!(daemon.metrics().in_service.get(), 0);
    daemon.stop().await;
}

#[tokio::test]
async fn a_store_that_was_cut_short_begins_a_new_epoch_and_is_kept() {
    let mut rig = Rig::new();
    let card = issued(1, 900);
    let daemon = rig.start().await.unwrap();
    assert!(rig.tap(&card).await.is_granted());
    let epoch = daemon.log().borrow().live().epoch;
    daemon.stop().await;
    let db = rig.state().join("store/db");
    File::options().write(true).open(db).unwrap().set_len(10).unwrap();

    let daemon = rig.start().await.unwrap();
    let live = daemon.log().borrow().live();
    assert!(live.epoch > epoch, "a number once used is never used again");
    assert!(matches!(daemon.recovery().decision, Decision::EntriesLost { .. }));
    let other = issued(2, 900);
    assert!(rig.tap(&other).await.is_granted(), "service goes on");
    daemon.stop().await;
}

#[tokio::test]
async fn a_place_that_the_tariff_does_not_have_is_named_with_those_it_has() {
    let mut rig = Rig::new();
    rig.config.validator.place = "s9".into();
    let Err(e @ StartError::Unknown { .. }) = rig.start().await else { panic!("it started") };
    assert_eq!(e.to_string(), "validator.place \"s9\" is not in tariff version 1: it has s1, s2");
}

#[tokio::test]
async fn taps_reach_the_depot_in_order_and_are_acknowledged() {
    let mut rig = Rig::new();
    let mut depot = Depot::start(&mut rig).await;
    let daemon = rig.start().await.unwrap();
    for n in 1..=5 {
        assert!(rig.tap(&issued(n, 900)).await.is_granted());
    }
    depot.until(5).await;
    let taps = &depot.taps;
    assert!(taps.iter().map(|tap| tap.seq.0).eq(1..=5), "{taps:?}");
    assert!(taps.iter().all(|tap| matches!(tap.event, TapEvent::Committed { .. })));
    let mut log = daemon.log();
    let acked = async { drop(log.wait_for(|status| status.live().acked.0 == 5).await.unwrap()) };
    depot.serve_until(acked).await;
    daemon.stop().await;
    depot.until_asleep().await;
}

#[tokio::test]
async fn what_was_tapped_without_a_broker_arrives_when_there_is_one() {
    let mut rig = Rig::new();
    let daemon = rig.start().await.unwrap();
    for n in 1..=3 {
        assert!(rig.tap(&issued(n, 900)).await.is_granted());
    }
    daemon.kill().await;
    let mut depot = Depot::start(&mut rig).await;
    let daemon = rig.start().await.unwrap();
    depot.until(3).await;
    daemon.stop().await;
}
