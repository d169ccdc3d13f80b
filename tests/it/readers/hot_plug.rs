//! Readers that come late, go and come back: as the driver sees it, and as the whole daemon does.

use std::{fs, sync::Arc};

use card::Settlement;
use reader::{CardTransport, Presence, Reader, ReaderConfig};
use tapline_tests::pn532::Emulator;
use tokio::time::timeout;
use validator::Service;
use wire::StateWord;

use super::bench::{A_WHILE, Bench, PATIENCE, UID, issued, newest, wired_kinds};
use crate::validator::rig::{self, Depot, Rig};

#[tokio::test]
async fn a_reader_unplugged_while_it_waits_is_used_again_also_as_another_device() {
    for mut bench in Bench::wired().await {
        let name = bench.name;
        let card = issued(UID);
        let path = bench.emulator().path().to_path_buf();
        let node = fs::read_link(&path).unwrap();
        assert!(timeout(A_WHILE, bench.reader.wait_card()).await.is_err(), "{name}: empty");
        bench.emulator().unplug().await;
        let lost = bench.presence().await.unwrap_err().to_string();
        assert!(lost.contains("reader"), "{name}: {lost}");
        // Others take the number that the device had, until it comes back under another.
        let mut others = Vec::new();
        loop {
            others.push(tokio_serial::SerialStream::pair().unwrap());
            bench.emulator().plug().unwrap();
            if fs::read_link(&path).unwrap() != node {
                break;
            }
            assert!(others.len() < 100, "{name}: it comes back as {}", node.display());
            bench.emulator().unplug().await;
        }
        bench.place(Arc::clone(&card));
        while bench.presence().await.is_err() {}
        bench.reader.release().await;
        let debit = bench.debit().await;
        assert!(matches!(debit.settlement, Settlement::Committed { .. }), "{name}: {debit:?}");
        drop(others);

        // And while a card left lying is watched.
        bench.emulator().unplug().await;
        let watched = timeout(PATIENCE, bench.reader.wait_gone()).await.expect("in time");
        assert!(watched.is_err(), "{name}: nobody can tell whether it is gone");
        bench.emulator().plug().unwrap();
        timeout(PATIENCE, async { while bench.reader.ready().await.is_err() {} })
            .await
            .expect("it answers again");
        assert_eq!(bench.presence().await.unwrap(), Presence::Card(UID), "{name}");
        assert_eq!(newest(&card).1, 1_750, "{name}");
    }
}

#[tokio::test]
async fn a_validator_that_starts_before_its_reader_says_so_and_serves_once_it_is_there() {
    for (kind, helper) in wired_kinds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reader");
        let mut rig = Rig::new();
        rig.config.rules.relay_slack_ms = 2_000;
        rig.config.reader = ReaderConfig { kind, helper, ..ReaderConfig::pn532(&path) };
        let mut depot = Depot::start(&mut rig).await;
        let reader = Reader::open_or_wait(&rig.config.reader).await.unwrap();
        let daemon = rig.start_with(reader).await.unwrap();
        let mut service = daemon.service();
        let out = service.wait_for(|service| *service != Service::In);
        let Service::Out(why) = timeout(PATIENCE, out).await.unwrap().unwrap().clone() else {
            panic!("{kind}: in service without a reader")
        };
        assert!(why.contains("plug") && why.contains(path.to_str().unwrap()), "{kind}: {why}");
        assert_eq!(rig.sign.lock().unwrap().as_deref(), Some(&*why), "{kind}: the screen says why");
        let (in_service, up) =
            (daemon.metrics().in_service.get(), daemon.metrics().reader_up.get());
        assert_eq!((in_service, up), (0, 0), "{kind}");
        depot.until_state(StateWord::OutOfService).await;

        let emulator = Emulator::start(&path).unwrap();
        depot.until_state(StateWord::Ready).await;
        assert_eq!(daemon.metrics().in_service.get(), 1, "{kind}");
        assert_eq!(*rig.sign.lock().unwrap(), None, "{kind}");
        emulator.place(rig::issued(1, 900));
        assert!(rig.told().await.is_granted(), "{kind}");
        depot.until(1).await;
        daemon.stop().await;
    }
}

#[tokio::test]
async fn a_reader_lost_in_service_ends_service_until_it_is_back_and_no_tap_is_lost() {
    for (kind, helper) in wired_kinds() {
        let folder = tempfile::tempdir().unwrap();
        let mut emulator = Emulator::start(&folder.path().join("reader")).unwrap();
        let mut rig = Rig::new();
        rig.config.rules.relay_slack_ms = 2_000;
        rig.config.reader = ReaderConfig { kind, helper, ..ReaderConfig::pn532(emulator.path()) };
        let reader = Reader::open_or_wait(&rig.config.reader).await.unwrap();
        let daemon = rig.start_with(reader).await.unwrap();
        let cards: Vec<_> = (1..=3).map(|n| rig::issued(n, 900)).collect();
        for (seq, card) in (1..).zip(&cards) {
            emulator.place(Arc::clone(card));
            assert!(rig.told().await.is_granted(), "{kind}");
            let mut service = daemon.service();
            emulator.unplug().await;
            emulator.chip().clear();
            let out = service.wait_for(|service| matches!(service, Service::Out(_)));
            timeout(PATIENCE, out).await.expect("it notices").unwrap();
            emulator.plug().unwrap();
            let back = service.wait_for(|service| *service == Service::In);
            timeout(PATIENCE, back).await.expect("it serves again").unwrap();
            assert_eq!(daemon.log().borrow().live().head.0, seq, "{kind}");
            assert_eq!(card.lock().unwrap().contents().unwrap().balance, 750, "{kind}");
        }
        daemon.stop().await;
    }
}
