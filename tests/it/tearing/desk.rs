//! The desk's operations, torn like every tap: issuing, loading and retiring a card that leaves
//! before, inside and after every exchange, and then one of several things happens. Each case is
//! played with the production desk, card machines and intake, over real books, to its end.
//!
//! Whatever happens: the value on the card and what is in doubt are what the books say, nothing is
//! done twice, nothing is lost, and a quota of exactly what is needed is enough and never exceeded.

mod depot;
mod table;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::Duration,
};

use card::{CardContents, CardFailure};
use depot_server::desk::{DeskError, Done};
use model::{CardRecord, RecordKind};
use tapline_tests::sim::validator::{Exchange, Reach, Tear};

use self::{
    depot::{Depot, Hands, Tally},
    table::{Row, Table},
};
use super::{
    stage::{Operation, is_granted, told},
    table::compare_with_the_document,
    tears,
};
use crate::processes::SharedCard;

/// What a card is issued with.
const OPENED: u32 = 1_000;
/// What is loaded.
const LOADED: u32 = 500;

/// What the desk does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    Issue,
    Load,
    /// A load of a card whose holder is owed something: that goes onto it, too.
    Adjusted,
    Retire,
}

impl Work {
    const ALL: [Self; 4] = [Self::Issue, Self::Load, Self::Adjusted, Self::Retire];

    const fn word(self) -> &'static str {
        match self {
            Self::Issue => "issue",
            Self::Load => "load",
            Self::Adjusted => "load with what is owed",
            Self::Retire => "retire",
        }
    }

    /// New value, against cash, that it puts on the card.
    fn puts(self) -> i64 {
        match self {
            Self::Issue => i64::from(OPENED),
            Self::Load | Self::Adjusted => i64::from(LOADED),
            Self::Retire => 0,
        }
    }

    /// How often the card shows it.
    fn times(self, held: &Held) -> usize {
        let kind = match self {
            Self::Issue => RecordKind::Issue,
            Self::Load | Self::Adjusted => RecordKind::Load,
            Self::Retire => RecordKind::Retire,
        };
        held.of_kind(kind).count()
    }

    /// The name of an exchange, by its command.
    const fn step(self, command: u8) -> &'static str {
        match (self, command) {
            (_, 0xc7) => "commit",
            (_, 0x3b) => "write",
            (Self::Issue, _) => "personalise",
            (_, 0x5a) => "select",
            (_, 0x71 | 0xaf) => "authenticate",
            (_, 0xbb) => "read",
            (_, 0xbd | 0x6c) => "read products",
            (Self::Load | Self::Adjusted, 0x0c) => "credit",
            (Self::Retire, 0xdc) => "debit",
            _ => "?",
        }
    }
}

/// What comes after the tear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Then {
    /// Held to the same reader when the command asks for it, else at its next run.
    Back,
    /// Gone until the same desk's next run.
    Same,
    /// Gone until another desk's run.
    Other,
    /// The command is killed with the tear; gone until its next run.
    Killed,
    /// On a bus first, whose tap arrives; then at the same desk.
    Bus,
    /// On a bus first, then at the same desk, and the tap arrives after that.
    BusLate,
    /// The command is killed with the tear; on a bus first, whose tap arrives.
    KilledBus,
    /// Never seen again.
    Never,
}

impl Then {
    const ALL: [Self; 8] = [
        Self::Back,
        Self::Same,
        Self::Other,
        Self::Killed,
        Self::Bus,
        Self::BusLate,
        Self::KilledBus,
        Self::Never,
    ];

    const fn words(self) -> &'static str {
        match self {
            Self::Back => "the same desk, at once",
            Self::Same => "the same desk, with a new command",
            Self::Other => "another desk",
            Self::Killed => "the same desk, whose command was killed with the tear",
            Self::Bus => "a bus, and then the same desk",
            Self::BusLate => "a bus, and then the same desk, which hears of the tap later",
            Self::KilledBus => "a bus, and then the desk whose command was killed with the tear",
            Self::Never => "nobody, ever",
        }
    }

    const fn hands(self) -> Hands {
        match self {
            Self::Back => Hands::PutBack,
            Self::Killed | Self::KilledBus => Hands::Killed,
            Self::Same | Self::Other | Self::Bus | Self::BusLate | Self::Never => Hands::Gone,
        }
    }

    const fn rides(self) -> bool {
        matches!(self, Self::Bus | Self::BusLate | Self::KilledBus)
    }
}

/// One case.
#[derive(Clone, Copy)]
struct Case {
    work: Work,
    step: &'static str,
    tear: Tear,
    then: Then,
}

/// What the desk says, in a few words.
fn says(end: &Result<Done, DeskError>) -> &'static str {
    match end {
        Ok(Done { begun_before: true, .. }) => "done, by an earlier command",
        Ok(Done { begun_before: false, .. }) => "done",
        Err(DeskError::InDoubt { .. }) => "in doubt, hold it there again",
        // A piece of random numbers can look like a status of the card: `91 xx`.
        Err(DeskError::Card(
            CardFailure::Link { .. }
            | CardFailure::Malformed(_)
            | CardFailure::Refused { .. }
            | CardFailure::NotAuthentic
            | CardFailure::AnswerNotAuthentic(_),
        )) => "not done, hold it there again",
        Err(DeskError::Ahead(_)) => "its tap has not arrived yet",
        Err(other) => panic!("{other}"),
    }
}

/// What a card holds: nothing, as long as its issue is not finished.
#[derive(Default)]
struct Held {
    balance: i64,
    records: Vec<CardRecord>,
}

impl Held {
    fn by(card: &SharedCard) -> Self {
        let contents = card.lock().unwrap().contents();
        contents.map_or_else(Self::default, |CardContents { balance, records, .. }| Self {
            balance: i64::from(balance),
            records,
        })
    }

    fn of_kind(&self, kind: RecordKind) -> impl Iterator<Item = &CardRecord> {
        self.records.iter().filter(move |record| record.kind == kind)
    }
}

impl Case {
    fn play(&self, depot: &mut Depot) -> Row {
        let card = self.prepare(depot);
        let uid = card.lock().unwrap().uid();
        let (before, mark) = (depot.tally(uid), depot.newest_op());
        let first = depot.torn(self.work, &card, self.tear, self.then.hands());
        let op = Some(depot.newest_op()).filter(|op| *op > mark);
        let happened = self.work.times(&Held::by(&card)) == 1;
        let heard = self.tear.reach != Reach::Unheard;
        let done = matches!(first, Some(Ok(_)));
        if !done {
            assert_eq!(happened, self.step == "commit" && heard, "the card moves at the commit");
            let open = op.is_some_and(|op| depot.decided(op).is_none());
            self.assert_suspense(&before, &depot.tally(uid), open, &card);
        }
        let mut again = vec![];
        let mut rides = 0;
        if !done && self.then != Then::Never {
            rides = self.ride(depot, &card, &mut again);
            self.finish(depot, &card, &mut again);
        }
        depot.deliver();
        self.judge(depot, &card, &before, rides);
        Row {
            then: self.then,
            first: first.as_ref().map_or("nothing: it was killed", says),
            card: if happened { "done" } else { "not done" },
            again: again.join("; "),
            times: self.work.times(&Held::by(&card)),
            decided: op.map_or_else(not_begun, |op| decided(depot.decided(op), happened || done)),
        }
    }

    /// The card as the work finds it, and a quota for exactly that work.
    fn prepare(&self, depot: &mut Depot) -> SharedCard {
        if self.work != Work::Issue {
            depot.allow(i64::from(OPENED));
        }
        let card = match self.work {
            Work::Issue => depot.blank(),
            Work::Adjusted => depot.overcharged(),
            Work::Load | Work::Retire => {
                let card = depot.blank();
                depot.command(0, Work::Issue, &card).unwrap();
                card
            }
        };
        depot.allow(self.work.puts());
        card
    }

    /// Torn at the commit, and torn again while the card is asked what became of it.
    fn play_twice(&self, depot: &mut Depot, second: Tear) {
        let card = self.prepare(depot);
        let uid = card.lock().unwrap().uid();
        let before = depot.tally(uid);
        let first = depot.torn(self.work, &card, self.tear, Hands::Gone);
        assert!(matches!(first, Some(Err(DeskError::InDoubt { .. }))));
        let (op, happened) = (depot.newest_op(), self.work.times(&Held::by(&card)) == 1);
        let again = depot.torn(self.work, &card, second, Hands::Gone).unwrap();
        if again.is_err() {
            self.finish(depot, &card, &mut vec![]);
        }
        decided(depot.decided(op), happened);
        self.judge(depot, &card, &before, 0);
    }

    /// The bus that the rider takes in between; answers how often it let the card through.
    fn ride(&self, depot: &mut Depot, card: &SharedCard, said: &mut Vec<String>) -> i64 {
        if !self.then.rides() {
            return 0;
        }
        depot.wait(Duration::from_secs(30));
        let end = depot.tap(card);
        said.push(format!("the bus: {}", told(&end)));
        if self.then != Then::BusLate {
            depot.deliver();
        }
        i64::from(is_granted(&end))
    }

    /// The clerk runs the command again until it is done.
    fn finish(&self, depot: &mut Depot, card: &SharedCard, said: &mut Vec<String>) {
        let desk = usize::from(self.then == Then::Other);
        for _ in 0..3 {
            depot.wait(Duration::from_secs(30));
            let end = depot.command(desk, self.work, card);
            said.push(format!("the desk: {}", says(&end)));
            if end.is_ok() {
                return;
            }
            depot.deliver();
        }
        panic!("it is done at last: {said:?}");
    }

    /// Right after the tear: the card holds what the books say, or the difference is in doubt.
    fn assert_suspense(&self, before: &Tally, now: &Tally, open: bool, card: &SharedCard) {
        let on_card = Held::by(card).balance;
        let doubted = now.quota_in_doubt - before.quota_in_doubt;
        assert_eq!(now.on_card, before.on_card, "nothing is booked before it is known");
        assert_eq!((now.cash, now.quota_used), (before.cash, before.quota_used));
        assert_eq!(doubted, if open { self.work.puts() } else { 0 }, "it counts as used");
        match self.work {
            Work::Issue | Work::Load | Work::Adjusted => {
                let (beyond, wanted) = (on_card - now.on_card, doubted + before.due);
                assert!(beyond == 0 || beyond == wanted, "{beyond} of {wanted}");
            }
            Work::Retire => assert!(on_card == now.on_card || open && on_card == 0),
        }
    }

    /// When all is over: what is on the card, in the drawers, earned and used up.
    fn judge(&self, depot: &Depot, card: &SharedCard, before: &Tally, rides: i64) {
        let uid = card.lock().unwrap().uid();
        let (now, held) = (depot.tally(uid), Held::by(card));
        let times = self.work.times(&held);
        let open = depot.place.store.open_ops(uid).unwrap();
        if self.then == Then::Never && !open.is_empty() {
            assert_eq!(open.len(), 1);
            assert_eq!(now.quota_in_doubt - before.quota_in_doubt, self.work.puts());
            return;
        }
        if self.then != Then::Never {
            assert_eq!(times, 1, "once");
        }
        let put = i64::try_from(times).unwrap() * self.work.puts();
        let given: i64 = match self.work {
            Work::Adjusted => {
                held.of_kind(RecordKind::Load).map(|load| i64::from(load.amount)).sum::<i64>() - put
            }
            Work::Issue | Work::Load | Work::Retire => 0,
        };
        // What the rider was owed went onto the card once, or is owed still.
        assert_eq!(now.due + given, before.due + now.reduced - before.reduced);
        assert_eq!(before.due, if self.work == Work::Adjusted { 50 } else { 0 });
        assert!(times == 0 || given >= before.due, "{given}");
        let taken = held.of_kind(RecordKind::Retire).map(|record| i64::from(record.amount));
        let taken: i64 = taken.sum();
        let fares = rides * Operation::Board.fare();
        assert_eq!(now.on_card, held.balance, "the books hold what it holds");
        assert_eq!(now.on_card, before.on_card + put + given - taken - fares);
        assert_eq!(now.cash, before.cash + put - taken, "in the drawers");
        assert_eq!(now.earned, before.earned + fares);
        assert_eq!(now.between, before.between, "met to the unit");
        assert_eq!(now.quota_used, before.quota_used + put);
        assert_eq!(now.quota_in_doubt, before.quota_in_doubt);
        if !held.records.is_empty() {
            depot.assert_knows(uid, held.records.last());
        }
    }
}

fn not_begun() -> String {
    "nothing was begun".to_owned()
}

fn decided(decided: Option<(bool, String)>, happened: bool) -> String {
    let Some((so, how)) = decided else {
        return "nobody yet: it stays in doubt".to_owned();
    };
    assert_eq!(so, happened, "decided as it was: {how}");
    how
}

/// Plays every case of one kind of work and one aftermath, over books of their own.
fn play_all(work: Work, then: Then, exchanges: &[Exchange]) -> Table {
    let mut depot = Depot::open();
    let mut table = Table::default();
    for tear in tears(exchanges) {
        let step = work.step(exchanges[tear.at as usize].command);
        let case = Case { work, step, tear, then };
        let played = catch_unwind(AssertUnwindSafe(|| case.play(&mut depot)));
        let row = played.unwrap_or_else(|_| panic!("{work:?} torn at {step} {tear:?}, {then:?}"));
        table.count(&case, row);
    }
    depot.assert_sound();
    table
}

/// The exchanges of each kind of work when nothing is torn.
fn undisturbed() -> [(Work, Vec<Exchange>); 4] {
    let mut depot = Depot::open();
    let card = depot.blank();
    depot.allow(i64::from(OPENED + 2 * LOADED));
    Work::ALL.map(|work| (work, depot.exchanges(work, &card)))
}

#[test]
fn every_torn_issue_load_and_retirement_is_done_once_and_the_books_hold_what_the_card_holds() {
    let undisturbed = undisturbed();
    let play = |half: usize| {
        let mut table = Table::default();
        for then in Then::ALL.into_iter().filter(|then| *then as usize % 2 == half) {
            for (work, exchanges) in &undisturbed {
                table = table.and(play_all(*work, then, exchanges));
            }
        }
        table
    };
    let table = thread::scope(|scope| {
        let workers = [0, 1].map(|half| scope.spawn(move || play(half)));
        let halves = workers.map(|worker| worker.join().expect("every case holds"));
        halves.into_iter().fold(Table::default(), Table::and)
    });
    println!("{}", table.to_markdown());
    compare_with_the_document("torn at the desk", &table.to_markdown());
}

#[test]
fn an_operation_in_doubt_whose_card_is_torn_away_again_while_it_is_asked_is_decided_as_it_was() {
    let mut depot = Depot::open();
    let mut cases = 0;
    for (work, exchanges) in undisturbed() {
        let commit = exchanges.iter().position(|exchange| exchange.command == 0xc7).unwrap();
        let at = u32::try_from(commit).unwrap();
        for reach in [Reach::Unheard, Reach::Unanswered] {
            let case = Case { work, step: "commit", tear: Tear { at, reach }, then: Then::Same };
            let card = case.prepare(&mut depot);
            depot.torn(work, &card, case.tear, Hands::Gone);
            for second in tears(&depot.exchanges(work, &card)) {
                let played = catch_unwind(AssertUnwindSafe(|| case.play_twice(&mut depot, second)));
                played.unwrap_or_else(|_| panic!("{work:?} in doubt, {reach:?}, then {second:?}"));
                cases += 1;
            }
        }
    }
    assert!(cases > 1_000, "{cases}");
    depot.assert_sound();
}
