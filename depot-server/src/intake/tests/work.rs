//! Validators that see too few taps (OPS-1), over a real database and weeks of taps.

use fleet_sync::{Topic, sign_state};
use model::{
    ClockQuality, Epoch, GateWord, PlaceIx, RouteIx, TapRecord, TapRole, TariffVersion, ValidatorId,
};
use wire::{Health, StateWord, ValidatorState};

use super::*;
use crate::{
    http::views::{FleetRow, LinkState, ServiceState},
    verify,
};

const HOUR_S: u32 = 3_600;
const DAY_S: u32 = 24 * HOUR_S;
/// A midnight (UTC): of the day on which one of them freezes.
const DAY: u32 = 1_800_000_000 / DAY_S * DAY_S;
/// Taps of each bus in each hour from 6 to 10.
const AN_HOUR: u32 = 30;

fn at(day: u32, hour: u32, minute: u32) -> u32 {
    day + hour * HOUR_S + minute * 60
}

impl Rig {
    /// What a bus says of itself at a time: ready since six, everything handed in unless `unsent`.
    fn say(&mut self, bus: usize, at_s: u32, unsent: u64, word: StateWord) {
        let id = self.buses[bus].id;
        let marks = self.place.store.marks_of(id).unwrap();
        let acked = marks.first().map_or(TapSeq(0), |mark| mark.through);
        let at = Timestamp::from_secs(u64::from(at_s));
        let state = ValidatorState {
            validator: id,
            word,
            connection: 1,
            epoch: Epoch(1),
            software: "0.1.0".to_owned(),
            tariff: Some(TariffVersion(1)),
            head: TapSeq(acked.0 + unsent),
            acked,
            in_doubt: 0,
            clock: ClockQuality::Ntp,
            at,
            undrained_before: 0,
            lists: None,
            reason: String::new(),
            steered: wire::Steered::default(),
            speech: None,
            health: Some(Health {
                started: Timestamp::from_secs(u64::from(at_s / DAY_S * DAY_S + 6 * HOUR_S)),
                ..Health::default()
            }),
        };
        let payload = sign_state(&state, &self.buses[bus].signing).unwrap();
        self.submit(&[Message { topic: Topic::State(id).name(&depot()), payload }]);
    }

    /// Every bus rides an hour on a day, but for those that are frozen from a minute on.
    fn hour(&mut self, day: u32, hour: u32, frozen: &[(usize, u32)]) {
        for bus in 0..self.buses.len() {
            let until = frozen.iter().find(|(of, _)| *of == bus).map_or(60, |(_, from)| *from);
            let minutes = (0..AN_HOUR).map(|n| n * 60 / AN_HOUR).take_while(|m| *m < until);
            let mut any = false;
            for minute in minutes {
                let card = (hour * 60 + minute) % 3;
                let at = at(day, hour, minute) + self.buses[bus].id.number() - 1;
                self.buses[bus].board(&mut self.cards, card, at);
                any = true;
            }
            if any {
                let batch = self.buses[bus].batch();
                self.submit(&[batch]);
            }
        }
    }

    fn now(&mut self, at_s: u32) {
        self.place.clock.set(Timestamp::from_secs(u64::from(at_s)));
    }

    /// Three weeks of the same weekday, and the day until seven.
    fn weeks(&mut self) {
        for back in [21, 14, 7] {
            for hour in 6..10 {
                self.now(at(DAY - back * DAY_S, hour + 1, 0));
                self.hour(DAY - back * DAY_S, hour, &[]);
            }
        }
        self.now(at(DAY, 7, 0));
        self.hour(DAY, 6, &[]);
    }

    fn named(&self) -> Vec<(ValidatorId, u64, u64, u64)> {
        let few = self.books().fleet().unwrap();
        let few = few.into_iter().filter(|row| row.service == ServiceState::TooFew);
        few.map(|row| {
            let found = row.too_few.unwrap();
            (row.id, found.expected, found.seen, found.since.secs() - u64::from(DAY))
        })
        .collect()
    }

    fn row(&self, bus: usize) -> FleetRow {
        self.books().fleet_some(&[self.buses[bus].id]).unwrap().remove(0)
    }
}

#[test]
fn a_validator_that_freezes_among_others_is_named_and_no_other_is() {
    let mut rig = Rig::new();
    rig.weeks();
    let all = |rig: &mut Rig, at_s| {
        rig.now(at_s);
        (0..4).for_each(|bus| rig.say(bus, at_s, 0, StateWord::Ready));
    };
    rig.now(at(DAY, 8, 0));
    rig.hour(DAY, 7, &[(1, 10)]);
    all(&mut rig, at(DAY, 8, 0));
    assert_eq!(rig.named(), [], "less than an hour of silence says nothing yet");
    // The hour goes on for the others; half of it makes 15 taps of silence.
    rig.now(at(DAY, 8, 30));
    rig.hour(DAY, 8, &[(0, 30), (1, 0), (2, 30), (3, 30)]);
    all(&mut rig, at(DAY, 8, 25));
    assert_eq!(rig.named(), [], "twelve taps are few");
    all(&mut rig, at(DAY, 8, 30));
    let frozen = rig.buses[1].id;
    let ten_past_seven = u64::from(7 * HOUR_S + 8 * 60 + 1);
    assert_eq!(rig.named(), [(frozen, 15, 0, ten_past_seven)]);
    // One of them asked alone says the same, and so does its page.
    assert_eq!(rig.row(1).service, ServiceState::TooFew);
    assert_eq!(rig.row(2).service, ServiceState::InService);
    let facts = rig.books().validator(frozen).unwrap().unwrap();
    assert_eq!((facts.row.service, facts.row.too_few), (ServiceState::TooFew, rig.row(1).too_few));
    assert_eq!((facts.work.expected_hours, facts.work.worked_hours), (2, 2));
    rig.assert_sound();

    rig.now(at(DAY, 10, 0));
    rig.hour(DAY, 9, &[(1, 0)]);
    all(&mut rig, at(DAY, 10, 0));
    assert_eq!(rig.named(), [(frozen, 45, 0, ten_past_seven)]);
    let facts = rig.books().validator(frozen).unwrap().unwrap();
    assert_eq!((facts.work.expected_hours, facts.work.worked_hours), (4, 2));
    let work = rig.books().fleet_work().unwrap();
    assert_eq!((work.expected_hours, work.worked_hours, work.too_few), (16, 14, None));
}

#[test]
fn who_does_not_say_that_it_serves_or_whose_taps_are_not_here_is_not_named() {
    let mut rig = Rig::new();
    rig.weeks();
    let silent = [(0, 0), (1, 0), (2, 0)];
    rig.now(at(DAY, 9, 0));
    rig.hour(DAY, 7, &silent);
    rig.hour(DAY, 8, &silent);
    let now = at(DAY, 9, 0);
    rig.now(now);
    rig.say(0, now, 3, StateWord::Ready);
    rig.say(1, now, 0, StateWord::OutOfService);
    rig.say(2, now, 0, StateWord::Lost);
    rig.say(3, now, 0, StateWord::Ready);
    assert_eq!(rig.named(), []);
    assert_eq!(rig.row(1).service, ServiceState::Out);
    assert_eq!(rig.row(2).link, LinkState::Lost);
    // Those taps arrive, and it was silent all the same; the other one says that it serves.
    rig.say(0, now, 0, StateWord::Ready);
    rig.say(1, now, 0, StateWord::Ready);
    let named: Vec<_> = rig.named().into_iter().map(|(id, ..)| id).collect();
    assert_eq!(named, [rig.buses[0].id, rig.buses[1].id]);
}

#[test]
fn a_day_on_which_nobody_comes_names_nobody_and_is_told_as_that() {
    let mut rig = Rig::new();
    rig.weeks();
    let now = at(DAY, 10, 0);
    rig.now(now);
    (0..4).for_each(|bus| rig.say(bus, now, 0, StateWord::Ready));
    assert_eq!(rig.named(), []);
    let few = rig.books().fleet_work().unwrap().too_few.unwrap();
    assert_eq!((few.expected, few.seen), (360, 0));
}

#[test]
fn a_new_validator_and_one_that_was_parked_until_now_are_not_named() {
    let mut rig = Rig::new();
    rig.weeks();
    rig.now(at(DAY, 10, 0));
    for hour in 7..10 {
        rig.hour(DAY, hour, &[(1, 0)]);
    }
    let now = at(DAY, 10, 0);
    rig.now(now);
    (0..4).for_each(|bus| rig.say(bus, now, 0, StateWord::Ready));
    assert_eq!(rig.named().len(), 1);
    // The same on the day after: this weekday is new to all of them.
    let tomorrow = now + DAY_S;
    rig.now(tomorrow);
    (0..4).for_each(|bus| rig.say(bus, tomorrow, 0, StateWord::Ready));
    assert_eq!(rig.named(), []);
    assert_eq!(rig.row(1).service, ServiceState::InService);
}

#[test]
fn entries_count_once_in_the_hour_of_a_clock_that_is_set_or_else_of_their_arrival() {
    let mut rig = Rig::new();
    rig.now(at(DAY, 8, 30));
    let nothing = TapEvent::Refused { reason: Refusal::Unreadable, seen: None };
    let gate = TapEvent::Gate { of: None, said: GateWord::Forced };
    for (at_s, clock, event) in [
        (at(DAY, 7, 10), ClockQuality::Ntp, &nothing),
        (at(DAY, 5, 10), ClockQuality::Unknown, &nothing),
        // Ahead of its own arrival by more than ten minutes.
        (at(DAY, 9, 0), ClockQuality::Gnss, &nothing),
        (at(DAY - DAY_S, 23, 59), ClockQuality::Rtc, &nothing),
        // What a gate tells is nobody who came.
        (at(DAY, 7, 11), ClockQuality::Ntp, &gate),
    ] {
        let validator = rig.buses[0].id;
        rig.buses[0].log_entry(TapRecord {
            validator,
            epoch: Epoch(1),
            seq: TapSeq(0),
            card: None,
            tapped_at: Timestamp::from_secs(u64::from(at_s)),
            clock,
            role: TapRole::Board,
            place: PlaceIx(0),
            route: Some(RouteIx(0)),
            tariff: TariffVersion(1),
            order: None,
            place_age_s: None,
            hotlist_version: None,
            duration_ms: 180,
            event: *event,
        });
    }
    let batch = rig.buses[0].batch();
    rig.submit(std::slice::from_ref(&batch));
    rig.submit(&[batch]);
    let done = |day: u32| {
        let day = u64::from(day / DAY_S);
        let taps = rig.place.store.work_of(rig.buses[0].id, day).unwrap().unwrap_or_default();
        taps.into_iter().enumerate().filter(|(_, taps)| *taps > 0).collect::<Vec<_>>()
    };
    assert_eq!((done(DAY), done(DAY - DAY_S)), (vec![(7, 1), (8, 2)], vec![(23, 1)]));
    rig.assert_sound();
}

#[test]
fn counts_that_are_not_what_the_taps_make_are_named_and_the_migration_makes_them_anew() {
    let mut rig = Rig::new();
    rig.weeks();
    rig.place.store.alter("UPDATE work SET h7 = h7 - 1 WHERE validator = 2");
    let checker = Checker::new(depot(), card_keys());
    let report = || verify::verify(&rig.place.store, &checker, &rig.place.rules).unwrap();
    let found = report().first_difference.unwrap();
    let day = (DAY - 21 * DAY_S) / DAY_S;
    assert!(found.contains(&format!("the hours of validator v000002 on day {day}")), "{found}");
    let step = include_str!("../../store/migrations/0022_work.sql");
    rig.place.store.alter("DELETE FROM work");
    rig.place.store.alter(&step[step.find("INSERT").unwrap()..]);
    assert_eq!(report().first_difference, None);
}
