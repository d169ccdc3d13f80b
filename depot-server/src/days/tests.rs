//! Closed days over a real database: late taps, crashes, altered rows.

use std::sync::Arc;

use fleet_sync::{DepotName, SigningKey};
use model::{ServiceDate, Timestamp};

use super::*;
use crate::{
    clock::Clock,
    events::Events,
    intake::{Checker, Pipeline, register_cards},
    metrics::Metrics,
    store::Store,
    verify::{roots, verify},
    workload::{Bus, Cards, card_keys, rules},
};

/// A Friday noon, UTC: the service day 2027-01-15.
const NOON: u32 = 1_800_014_400;
const DAY_S: u32 = 86_400;
const FRIDAY: ServiceDate = ServiceDate(NOON / DAY_S);
const SATURDAY: ServiceDate = ServiceDate(NOON / DAY_S + 1);

pub(crate) struct Rig {
    _folder: tempfile::TempDir,
    pub(crate) place: Workplace,
    pipeline: Pipeline,
    cards: Cards,
    buses: Vec<Bus>,
}

fn depot() -> DepotName {
    "north".parse().unwrap()
}

pub(crate) fn signing() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

impl Rig {
    pub(crate) fn new() -> Self {
        let (folder, store) = Store::for_test();
        let place = Workplace {
            depot: depot(),
            store: Arc::new(store),
            rules: rules().into(),
            events: Events::default(),
            metrics: Metrics::default(),
            clock: Clock::manual(Timestamp::from_secs(u64::from(NOON))),
        };
        let cards = Cards::new(5, NOON - 1000);
        register_cards(&place, &cards.issues()).unwrap();
        let buses: Vec<_> = (1..=2).map(|number| Bus::new(number, &depot())).collect();
        for bus in &buses {
            let key = bus.signing.verifying_key();
            place.store.enrol(bus.id, &key, "bus", false, Timestamp(0)).unwrap();
        }
        let checker = Checker::new(depot(), card_keys());
        let pipeline = Pipeline::new(place.clone(), checker, signing(), 1);
        Self { _folder: folder, place, pipeline, cards, buses }
    }

    pub(crate) fn at(&self, after_noon_s: u32) {
        self.place.clock.set(Timestamp::from_secs(u64::from(NOON + after_noon_s)));
    }

    pub(crate) fn board(&mut self, bus: usize, card: u32, after_noon_s: u32) {
        self.buses[bus].board(&mut self.cards, card, NOON + after_noon_s);
    }

    pub(crate) fn deliver(&mut self, bus: usize) {
        let batch = self.buses[bus].batch();
        self.pipeline.submit(vec![batch]).unwrap();
    }

    pub(crate) fn close(&self, day: ServiceDate) -> Result<Vec<ServiceDate>, CloseError> {
        close_through(&self.place, &signing(), day)
    }

    fn document(&self, day: ServiceDate) -> DayDocument {
        let closed = closed_again(&self.place, day).unwrap();
        SignedDay::parse(&closed.document).unwrap().document
    }

    pub(crate) fn differences(&self) -> [Option<String>; 2] {
        self.differences_of(self.place.store.path())
    }

    /// Of books in another file: a copy.
    pub(crate) fn differences_of(&self, path: &std::path::Path) -> [Option<String>; 2] {
        let checker = Checker::new(depot(), card_keys());
        let (store, rules) = (&Store::open_existing(path).unwrap(), &self.place.rules);
        let quick = roots(store, &checker, rules).unwrap();
        let full = verify(store, &checker, rules).unwrap();
        [quick.first_difference, full.first_difference]
    }
}

/// Two taps on Friday, one on Saturday, and one of Friday that arrives when Friday is closed.
fn weekend() -> Rig {
    let mut rig = Rig::new();
    rig.board(0, 0, 0);
    rig.board(0, 1, 60);
    rig.board(1, 2, 120);
    rig.deliver(0);
    rig.at(DAY_S);
    rig.board(0, 0, DAY_S);
    rig.deliver(0);
    assert_eq!(rig.close(FRIDAY).unwrap(), [FRIDAY]);
    rig.deliver(1);
    rig
}

#[test]
fn rec_11_a_late_tap_goes_to_the_open_day_and_the_closed_day_never_changes() {
    let rig = weekend();
    let friday = rig.place.store.closed_day(FRIDAY).unwrap().unwrap();
    assert_eq!(closed_again(&rig.place, FRIDAY).unwrap(), friday);
    let document = rig.document(FRIDAY);
    // Five issues and two taps; what Saturday had booked before Friday was closed is not in it.
    assert_eq!((document.transfers, document.taps), ((7, 0), 2));
    rig.at(3 * DAY_S);
    rig.close(SATURDAY).unwrap();
    let document = rig.document(SATURDAY);
    assert_eq!((document.transfers, document.taps), ((2, 1), 2), "one of them came late");
    assert_eq!(document.head.previous, friday.root);
    assert_eq!(closed_again(&rig.place, FRIDAY).unwrap(), friday, "to the byte");
    assert_eq!(rig.differences(), [None, None]);
}

#[test]
fn rec_11_accounts_of_a_day_add_up_and_go_on_where_the_day_before_ended() {
    let rig = weekend();
    rig.at(3 * DAY_S);
    rig.close(SATURDAY).unwrap();
    let [friday, saturday] =
        [FRIDAY, SATURDAY].map(|day| rig.place.store.day_accounts(day).unwrap());
    for day in [&friday, &saturday] {
        let sum = |of: fn(&DayAccount) -> i64| day.iter().map(of).sum::<i64>();
        let moved = |row: &DayAccount| row.sums.closing.posted() - row.sums.opening.posted();
        assert_eq!(sum(moved), 0);
    }
    let revenue = |day: &[DayAccount]| {
        let of = day.iter().find(|row| row.account.code().0 == 2).unwrap();
        (of.sums.opening.posted(), of.sums.closing.posted())
    };
    assert_eq!((revenue(&friday), revenue(&saturday)), ((0, 300), (300, 600)));
}

#[test]
fn a_day_is_closed_once_it_is_over_and_in_order() {
    let mut rig = Rig::new();
    rig.board(0, 0, 0);
    rig.deliver(0);
    let refused = rig.close(FRIDAY).unwrap_err().to_string();
    assert!(refused.contains("not over before 2027-01-16T00:00:00Z"), "{refused}");
    assert!(matches!(closed_again(&rig.place, FRIDAY), Err(CloseError::Open(_))));
    rig.at(2 * DAY_S);
    let due = |hours: u64| {
        close_due(&rig.place, &signing(), std::time::Duration::from_secs(hours * 3600))
    };
    assert_eq!(due(37).unwrap(), None, "not long enough ago");
    assert_eq!(due(36).unwrap(), Some(FRIDAY));
    rig.at(5 * DAY_S);
    let days = [1, 2, 3].map(|n| ServiceDate(FRIDAY.0 + n));
    assert_eq!(rig.close(days[2]).unwrap(), days, "days without a tap are closed as well");
    assert_eq!(rig.close(days[1]).unwrap(), [], "closed before");
    let before = rig.close(ServiceDate(FRIDAY.0 - 1)).unwrap_err();
    assert!(matches!(before, CloseError::Nothing(_)));
    assert_eq!(rig.differences(), [None, None]);
}

#[test]
fn led_6_verify_names_what_was_altered_in_a_closed_day() {
    for (what, sql, quick, full) in [
        ("nothing", "UPDATE days SET closed_at = closed_at", None, None),
        (
            "a transfer moved to another day",
            "UPDATE transfers SET day = day + 1 WHERE id = 3",
            Some("the bookings kept of 2027-01-15"),
            Some("transfer 3"),
        ),
        (
            "a tap taken out of its day",
            "UPDATE taps SET day = day + 1 WHERE id = 1",
            Some("the bookings kept of 2027-01-15"),
            None,
        ),
        (
            "an amount of a closed day",
            "UPDATE taps SET amount = 1 WHERE id = 1",
            Some("the bookings kept of 2027-01-15"),
            Some("tap 1"),
        ),
        (
            "a total",
            "UPDATE day_accounts SET credits = credits + 1",
            Some("accounts kept of 2027-01-15"),
            Some("accounts kept of 2027-01-15"),
        ),
        (
            "a character of the document",
            "UPDATE batches SET payload = CAST(replace(CAST(payload AS TEXT), 'taps: 2', 'taps: 3')
             AS BLOB) WHERE validator = 0",
            Some("journal row"),
            Some("journal row"),
        ),
        (
            "the kept root",
            "UPDATE days SET root = zeroblob(32)",
            Some("journal row"),
            Some("journal row"),
        ),
        ("a closed day is gone", "DELETE FROM days", Some("journal row"), Some("journal row")),
        (
            "a balance",
            "UPDATE accounts SET credits_posted = credits_posted + 1",
            Some("account"),
            Some("account"),
        ),
    ] {
        let rig = weekend();
        rig.place.store.alter(sql);
        let found = rig.differences();
        for (found, expected) in found.iter().zip([quick, full]) {
            match (found, expected) {
                (None, None) => {}
                (Some(found), Some(expected)) => {
                    assert!(found.contains(expected), "{what}: {found}");
                }
                other => panic!("{what}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_document_signed_by_another_key_or_changed_is_not_believed() {
    let rig = weekend();
    let text = rig.place.store.closed_day(FRIDAY).unwrap().unwrap().document;
    let signed = SignedDay::parse(&text).unwrap();
    assert_eq!(signed.to_text(), text);
    let other = to_hex(SigningKey::from_bytes(&[8; 32]).verifying_key().as_bytes());
    let ours = to_hex(signing().verifying_key().as_bytes());
    for (changed, why) in [
        (text.replace("taps: 2", "taps: 3"), "signature does not hold"),
        (text.replace(&ours, &other), "signature does not hold"),
        (text.replace("signature", "signed"), "no signature"),
        (text[..text.len() - 2].to_owned(), "no signature"),
    ] {
        assert!(SignedDay::parse(&changed).unwrap_err().to_string().contains(why), "{why}");
    }
}

#[test]
fn a_closing_that_did_not_commit_leaves_the_day_open() {
    let mut rig = Rig::new();
    rig.board(0, 0, 0);
    rig.deliver(0);
    rig.at(2 * DAY_S);
    let group = rig.place.store.begin().unwrap();
    let head = DayHead {
        depot: "north".to_owned(),
        day: FRIDAY,
        previous: [0; 32],
        journal: group.journal_head().unwrap(),
        closed_at: rig.place.clock.now(),
        signer: signing().verifying_key().to_bytes(),
    };
    compose(&group, &rig.place.rules, head, &Salt([0; 32])).unwrap();
    drop(group);
    assert_eq!(rig.place.store.open_day().unwrap(), Some(FRIDAY));
    rig.close(FRIDAY).unwrap();
    assert_eq!(rig.place.store.open_day().unwrap(), Some(SATURDAY));
}
