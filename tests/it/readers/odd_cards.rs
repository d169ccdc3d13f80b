//! Media that are no card of ours, or a broken one: named, never charged, and no card after them
//! has to wait for long. Through our own driver, and through libnfc where it is built.

use card::{CardFailure, Settlement};
use model::Refusal;
use reader::{Activation, CardTransport, ExchangeError, Picc, Presence, Reader};
use tokio::time::timeout;
use validation::Verdict;

use super::bench::{Bench, PATIENCE, UID, issued};
use crate::validator::rig::Rig;

/// What it says when woken, and what it answers to everything.
struct Odd(Activation, Option<Vec<u8>>);

impl Odd {
    fn new(activation: Activation) -> Self {
        Self(activation, Some(vec![0x91, 0x00]))
    }

    fn answering(answer: Option<Vec<u8>>) -> Self {
        Self(Activation::desfire(UID), answer)
    }
}

impl Picc for Odd {
    fn activation(&self) -> Activation {
        self.0.clone()
    }

    fn transceive(&mut self, _: &[u8]) -> Option<Vec<u8>> {
        self.1.clone()
    }

    fn field_off(&mut self) {}
}

/// A card of ours is served next, whatever lay there before.
async fn assert_serves(bench: &mut Bench, at: &str) {
    bench.clear();
    bench.place(issued(UID));
    let serves = async {
        loop {
            if let Ok(Presence::Card(UID)) = bench.reader.wait_card().await {
                break;
            }
            bench.reader.release().await;
        }
    };
    timeout(PATIENCE, serves).await.unwrap_or_else(|_| panic!("{at}: no card is served"));
    bench.reader.release().await;
    let debit = bench.debit().await;
    assert!(matches!(debit.settlement, Settlement::Committed { .. }), "{at}: {debit:?}");
}

#[tokio::test]
async fn numbers_that_are_not_fixed_and_seven_bytes_long_are_foreign() {
    for mut bench in Bench::wired().await {
        let ours = Activation::desfire(UID);
        for (what, uid) in [
            ("single size", vec![0x11, 0x22, 0x33, 0x44]),
            ("random", vec![0x08, 0x22, 0x33, 0x44]),
            ("triple size", vec![4, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ] {
            let at = format!("{} {what}", bench.name);
            bench.place(Odd::new(Activation { uid, ..ours.clone() }));
            assert_eq!(bench.presence().await.unwrap(), Presence::Foreign, "{at}");
            let spoken = bench.reader.exchange(&[0x90, 0x60, 0, 0, 0]).await;
            assert_eq!(spoken, Err(ExchangeError::Absent), "{at}");
            bench.reader.release().await;
            bench.clear();
        }
        assert_serves(&mut bench, "after them").await;
    }
}

#[tokio::test]
async fn an_answer_to_select_that_contradicts_itself_is_foreign_and_breaks_nothing() {
    // No length at all, a length beyond the end, and bytes beyond the length.
    for ats in [vec![0], vec![20, 0x75, 0x77], vec![2, 0x75, 0x77, 0x81]] {
        let mut bench = Bench::native().await;
        let at = format!("{} {ats:?}", bench.name);
        bench.place(Odd::new(Activation { ats: ats.clone(), ..Activation::desfire(UID) }));
        assert_eq!(bench.presence().await.unwrap(), Presence::Foreign, "{at}");
        bench.reader.release().await;
        assert_serves(&mut bench, &at).await;
    }
    // libnfc believes the length, and may die of it: then its helper is started anew.
    for ats in [vec![0], vec![20, 0x75, 0x77], vec![2, 0x75, 0x77, 0x81]] {
        for mut bench in Bench::wired().await.into_iter().filter(|bench| bench.name == "libnfc") {
            let at = format!("{} {ats:?}", bench.name);
            bench.place(Odd::new(Activation { ats: ats.clone(), ..Activation::desfire(UID) }));
            if let Err(error) = bench.presence().await {
                assert!(error.to_string().contains("helper"), "{at}: {error}");
            }
            assert_serves(&mut bench, &at).await;
        }
    }
}

#[tokio::test]
async fn a_card_that_never_answers_or_answers_too_much_is_refused() {
    let too_much = |len| Some(vec![0x55; len]);
    for (what, answer) in [
        ("nothing", None),
        ("an empty answer", Some(vec![])),
        ("one byte", Some(vec![0x91])),
        ("263 bytes", too_much(263)),
        ("600 bytes", too_much(600)),
        ("more information for ever", too_much(1 << 20)),
    ] {
        for mut bench in Bench::wired().await {
            let at = format!("{} {what}", bench.name);
            bench.place(Odd::answering(answer.clone()));
            let debit = bench.debit().await;
            let Settlement::Refused(failure) = &debit.settlement else {
                panic!("{at}: {:?}", debit.settlement)
            };
            assert_eq!(debit.said.len(), 1, "{at}: given up at once");
            let refusal = failure.refusal();
            assert!(
                matches!(refusal, Refusal::Unreadable | Refusal::ForeignCard),
                "{at}: {failure:?}"
            );
            if let CardFailure::Link { error: ExchangeError::Device(why), .. } = failure {
                assert!(!why.contains("refused the command"), "{at}: {why}");
            }
            assert_serves(&mut bench, &at).await;
        }
    }
}

#[tokio::test]
async fn the_rider_with_a_random_number_is_told_that_the_card_is_not_accepted() {
    let Bench { hand: super::bench::Hand::Chip(emulator, _folder), reader, .. } =
        Bench::native().await
    else {
        panic!("this bench has a chip")
    };
    drop(reader);
    let mut rig = Rig::new();
    rig.config.reader = reader::ReaderConfig::pn532(emulator.path());
    let reader = Reader::open_or_wait(&rig.config.reader).await.unwrap();
    let daemon = rig.start_with(reader).await.unwrap();
    let random = Activation { uid: vec![8, 1, 2, 3], ..Activation::desfire(UID) };
    emulator.place(Odd::new(random));
    let told = rig.told().await;
    assert_eq!(told.verdict, Verdict::Refused(Refusal::ForeignCard));
    assert_eq!(told.assist_code(), Some(10));
    let advice = validator::screen::advice(texts::Language::English, &told);
    assert_eq!(advice.as_deref(), Some("Not accepted here: see staff"));
    daemon.stop().await;
}
