//! A card pulled away at every exchange of an issue, a load and a retirement, then shown again: the
//! books hold what the card holds, each value moved once, the quota is used once.

use std::sync::{Arc, Mutex};

use card::VirtualCard;
use clearing::Taken;
use depot_server::{
    clock::Clock,
    desk::{DeskError, Done, Station},
};
use model::CardId;
use reader::{Activation, Picc};
use tempfile::TempDir;

use super::{CARDS, DESK_CASH, ISSUER_CASH, LOAD_CLEARING, REFUNDS, adult, card, equip, hand, on};
use super::{grant, station, verified};
use crate::processes::{CITY, SharedCard, said};

/// A folder with a depot that nobody serves.
pub(super) fn depot() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("city.toml"), CITY).unwrap();
    std::fs::write(at.join("depot.toml"), "depot = \"north\"\ntariffs = [\"city.toml\"]\n")
        .unwrap();
    let init = std::process::Command::new(crate::processes::DEPOT)
        .arg("init")
        .arg("--config")
        .arg(at.join("depot.toml"))
        .output();
    said(&init.unwrap());
    equip(at);
    folder
}

/// Pulled away once, at an exchange; the card may have heard the command.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    pub(super) at: u32,
    pub(super) heard: bool,
}

pub(super) struct Cutting {
    pub(super) card: SharedCard,
    pub(super) cut: Option<Cut>,
    pub(super) exchanges: u32,
}

impl Picc for Cutting {
    fn activation(&self) -> Activation {
        self.card.activation()
    }

    fn transceive(&mut self, apdu: &[u8]) -> Option<Vec<u8>> {
        let this = self.exchanges;
        self.exchanges += 1;
        match self.cut {
            Some(cut) if cut.at == this => {
                self.cut = None;
                if cut.heard {
                    self.card.transceive(apdu);
                }
                self.card.field_off();
                None
            }
            Some(_) | None => self.card.transceive(apdu),
        }
    }

    fn field_off(&mut self) {
        self.card.field_off();
    }
}

#[derive(Debug, Clone, Copy)]
enum Work {
    Issue,
    Load,
    Retire,
}

async fn work(desk: &Station, what: Work, medium: impl Picc + 'static) -> Result<Done, DeskError> {
    let mut hand = hand(medium);
    match what {
        Work::Issue => desk.issue(&mut hand, &adult(1_000), None).await,
        Work::Load => desk.load(&mut hand, 500).await,
        Work::Retire => desk.retire(&mut hand, Taken::PaidOut, false).await,
    }
}

/// Does the work with a cut, then again until it is done; answers how often it was asked for.
async fn torn(desk: &Station, what: Work, card: &SharedCard, cut: Cut) -> u32 {
    let cutting = Cutting { card: Arc::clone(card), cut: Some(cut), exchanges: 0 };
    let mut asked = 1;
    let mut done = work(desk, what, cutting).await;
    while let Err(error) = done {
        let expected = matches!(error, DeskError::Card(_) | DeskError::InDoubt { .. });
        assert!(expected && asked < 4, "{what:?} {cut:?}: {error}");
        asked += 1;
        done = work(desk, what, Arc::clone(card)).await;
    }
    asked
}

fn exchanges(what: Work) -> u32 {
    match what {
        Work::Issue => 20,
        Work::Load | Work::Retire => 7,
    }
}

#[tokio::test]
async fn a_card_torn_at_any_exchange_of_any_desk_work_is_done_once_and_booked_once() {
    let folder = depot();
    let at = folder.path();
    grant(at, "100000.00");
    let desk = station(at, Clock::system());
    let (mut n, mut held, mut cash, mut torn_in_doubt) = (0_u16, 0_i64, 0_i64, 0);
    for what in [Work::Issue, Work::Load, Work::Retire] {
        for cut_at in 0..exchanges(what) {
            for heard in [false, true] {
                n += 1;
                let [high, low] = n.to_be_bytes();
                let uid = CardId([4, 0x71, 0x72, 0x73, 0x74, high, low]);
                let card = Arc::new(Mutex::new(VirtualCard::blank(uid, [low; 16])));
                if !matches!(what, Work::Issue) {
                    work(&desk, Work::Issue, Arc::clone(&card)).await.unwrap();
                }
                let asked = torn(&desk, what, &card, Cut { at: cut_at, heard }).await;
                torn_in_doubt += u32::from(asked == 1 && heard);
                let contents = card.lock().unwrap().contents().unwrap();
                let (expected, took) = match what {
                    Work::Issue => (1_000, 1_000),
                    Work::Load => (1_500, 1_500),
                    Work::Retire => (0, 0),
                };
                let records = if matches!(what, Work::Issue) { 1 } else { 2 };
                let cut = format!("{what:?} at {cut_at}, heard {heard}");
                assert_eq!(i64::from(contents.balance), expected, "{cut}");
                assert_eq!(contents.records.len(), records, "{cut}");
                assert_eq!(contents.records.last(), desk.store.shadow(uid).unwrap().as_ref());
                held += expected;
                cash += took;
                assert_eq!((on(at, CARDS), on(at, DESK_CASH)), (held, -cash), "{cut}");
            }
        }
    }
    assert!(torn_in_doubt >= 2, "a lost answer to a commit is settled by the same command");
    assert_eq!((on(at, ISSUER_CASH), on(at, LOAD_CLEARING), on(at, REFUNDS)), (0, 0, 0));
    assert_eq!(said(&card(at, &["in-doubt"])), "", "0 unresolved");
    // Issued: 40 + 28 times 10.00; loaded: 14 times 5.00. Nothing counts twice.
    let quota = said(&card(at, &["quota", "show"]));
    assert!(quota.contains("750.00 EUR used, 0.00 EUR in doubt"), "{quota}");
    assert_eq!(n, 68);
    verified(at);
}
