//! Tearing, exhaustively: the card leaves before, inside and after every exchange of every kind of
//! tap, and then one of several things happens. Every case is played with the production cores to
//! its end in the books, and the table of outcomes in `docs/GUARANTEES.md` is what came out.
//!
//! *Charge*: a record that the card committed for the wish to pass. *Passage*: a green light. A
//! passage without a charge is a free ride. Two charges for one passage are left in two cases, both
//! on vehicles, where no reader can know it better: there the depot opens a work item over what was
//! paid too much, and nowhere else.

mod desk;
mod stage;
mod table;

use std::{fmt, panic::AssertUnwindSafe, thread, time::Duration};

use clearing::ExceptionKind;
use tapline_tests::sim::validator::{Exchange, Reach, TapPlan, Tear, Unsynced};

use self::{
    stage::{Operation, Past, Stage, Who, is_granted, told},
    table::{Repay, Row, Table, compare_with_the_document},
};

/// What comes after the torn tap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    /// The same reader, two seconds later.
    Same,
    /// The same reader, after the retry window.
    SameLate,
    /// The reader beside it; where that one refuses, the rider goes back to the first.
    Beside,
    /// The same reader, whose power went after the tap was over.
    Restarted,
    /// The same reader, whose power went with the card; its disk kept the writes.
    DarkKept,
    /// The same, and what was not synced is gone.
    DarkLost,
    /// The card is never seen again.
    Never,
}

impl Next {
    const ALL: [Self; 7] = [
        Self::Same,
        Self::SameLate,
        Self::Beside,
        Self::Restarted,
        Self::DarkKept,
        Self::DarkLost,
        Self::Never,
    ];

    const fn words(self) -> &'static str {
        match self {
            Self::Same => "same reader, at once",
            Self::SameLate => "same reader, after the retry window",
            Self::Beside => "the reader beside it",
            Self::Restarted => "same reader, restarted",
            Self::DarkKept => "same reader, its power went with the card",
            Self::DarkLost => "same reader, its power and unsynced writes went with the card",
            Self::Never => "never",
        }
    }
}

/// One case.
#[derive(Clone, Copy)]
struct Case<'a> {
    operation: Operation,
    exchanges: &'a [Exchange],
    tear: Tear,
    next: Next,
    backwards: bool,
}

impl fmt::Debug for Case<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operation, tear, next, backwards, .. } = self;
        let step = self.step();
        write!(f, "{operation:?} torn at {step} {tear:?}, then {next:?}, backwards {backwards}")
    }
}

/// The name of an exchange, by its command.
const fn step_name(command: u8) -> &'static str {
    match command {
        0x5a => "select",
        0x71 | 0xaf => "authenticate",
        0xbb => "read",
        0xbd | 0x6c => "read products",
        0xdc => "debit",
        0x3b => "write",
        0xc7 => "commit",
        _ => "?",
    }
}

impl Case<'_> {
    fn step(&self) -> &'static str {
        step_name(self.exchanges[self.tear.at as usize].command)
    }

    fn play(&self, past: &Past, seed: u64) -> Row {
        let mut stage = past.stage(seed);
        let (before, rides) = (stage.contents(), stage.rides());
        let untouched = stage.card.clone();
        let dark = match self.next {
            Next::DarkKept => Some(Unsynced::Kept),
            Next::DarkLost => Some(Unsynced::Lost),
            Next::Same | Next::SameLate | Next::Beside | Next::Restarted | Next::Never => None,
        };
        let first = stage.torn(self.tear, dark);
        stage.assert_card_is_whole();
        let committed = stage.contents().ctr.0 - before.ctr.0;
        let heard = self.tear.reach != Reach::Unheard;
        assert_eq!(committed == 1, self.step() == "commit" && heard, "files move at the commit");
        if committed == 0 {
            assert!(stage.card.same_contents(&untouched), "before the commit nothing moves");
        }
        let mut passages = u32::from(is_granted(&first));
        let mut then = vec![];
        for (who, after) in self.visits() {
            stage.wait(after);
            if self.next == Next::Restarted && then.is_empty() {
                stage.power_cut(Who::First);
            }
            let end = stage.tap(who, TapPlan::default());
            passages += u32::from(is_granted(&end));
            then.push(told(&end));
            if is_granted(&end) {
                break;
            }
        }
        let charges = stage.contents().ctr.0 - before.ctr.0;
        let paid = i64::from(before.balance) - i64::from(stage.contents().balance);
        match charges {
            0 => assert_eq!(paid, 0, "not a cent"),
            1 => assert_eq!(paid, self.operation.fare(), "the fare, once"),
            _ => {
                assert_eq!(
                    paid > self.operation.fare(),
                    self.operation.fare() > 0,
                    "a second fare"
                );
            }
        }
        assert_eq!(rides - stage.rides(), charges * self.operation.rides(), "a ride a charge");
        self.travel_on(&mut stage);
        stage.deliver(self.backwards);
        stage.assert_card_is_whole();
        let repay = if self.next == Next::Never || charges <= passages {
            Repay::default()
        } else {
            let rides = (charges - passages) * self.operation.rides();
            Repay { amount: paid - self.operation.fare(), rides }
        };
        let decided = self.judge(&stage, committed == 1, repay);
        Row {
            next: self.next,
            first: told(&first),
            card: if committed == 1 { "committed" } else { "unchanged" },
            then: then.join(", then: "),
            charges,
            passages,
            decided,
            repay,
        }
    }

    /// Whom the rider holds the card to next, how long after, until somebody lets him through.
    fn visits(&self) -> Vec<(Who, Duration)> {
        let soon = Duration::from_secs(2);
        match self.next {
            Next::Same => vec![(Who::First, soon)],
            Next::SameLate => vec![(Who::First, Duration::from_secs(121))],
            Next::Beside => vec![(Who::Beside, soon), (Who::First, soon)],
            Next::Restarted | Next::DarkKept | Next::DarkLost => {
                vec![(Who::First, Duration::from_secs(20))]
            }
            Next::Never => vec![],
        }
    }

    /// Charges that may stand without a passage: of a card that is never seen again, and of a
    /// boarding whose rider goes to another reader, or comes back when the retry window is over.
    fn may_charge_without_passage(&self) -> u32 {
        let elsewhere =
            self.operation.is_boarding() && matches!(self.next, Next::Beside | Next::SameLate);
        let heard = self.step() == "commit" && self.tear.reach != Reach::Unheard;
        u32::from(heard && (elsewhere || self.next == Next::Never))
    }

    /// The card's next ordinary tap: out of the gates again, or the next bus.
    fn travel_on(&self, stage: &mut Stage) {
        if self.next != Next::Never {
            stage.wait(Duration::from_secs(1500));
            let end = stage.tap(Who::Later, TapPlan::default());
            assert!(is_granted(&end), "the journey goes on: {}", told(&end));
        }
    }

    /// Holds the books against the card; says what decided the torn tap.
    fn judge(&self, stage: &Stage, committed: bool, repay: Repay) -> String {
        let at_commit = self.step() == "commit";
        if self.next == Next::Never {
            stage.assert_sound();
            return self.judge_never_seen_again(stage, at_commit);
        }
        stage.assert_books_equal_the_card();
        judge_to_be_repaid(stage, repay);
        // Backwards a gap opens and closes on the way, and a charge is doubtful until its own
        // reader is heard.
        let closed = stage.depot.closed.iter().map(|(_, reason)| *reason);
        let on_the_way = |how: &&str| how.contains("missing records") || how.contains("with this");
        let closed: Vec<&str> = closed.filter(|how| !on_the_way(how)).collect();
        match (at_commit, committed, &closed[..]) {
            (false, _, []) => "nothing to decide".to_owned(),
            // The later record came first, so no item ever opened.
            (true, _, []) if self.backwards => decided_by_the_card(committed),
            (true, true, [how]) if how.starts_with("happened") => decided_by_the_card(true),
            // Dark with a durable intent the tap is in doubt, too, whatever the exchange.
            (_, false, [how]) if how.starts_with("did not") => decided_by_the_card(false),
            other => panic!("{other:?}"),
        }
    }

    fn judge_never_seen_again(&self, stage: &Stage, at_commit: bool) -> String {
        let open = stage.open();
        if !at_commit {
            assert_eq!(open, [] as [&clearing::Exception; 0]);
            return "nothing to decide".to_owned();
        }
        let [item] = open[..] else { panic!("one work item: {open:?}") };
        assert_eq!(item.kind, ExceptionKind::InDoubt);
        assert_eq!(item.amount.unwrap().minor(), self.operation.fare());
        assert!(item.opened_at >= stage.now, "it ages from here");
        "nobody yet: the amount is held, and an in-doubt item ages".to_owned()
    }
}

/// Whose surplus charges nobody let through has exactly one item open, over exactly that; nobody
/// else has any.
fn judge_to_be_repaid(stage: &Stage, repay: Repay) {
    if repay == Repay::default() {
        assert_eq!(stage.open(), [] as [&clearing::Exception; 0], "everything is resolved");
        return;
    }
    let [item] = stage.open()[..] else { panic!("one work item: {:?}", stage.open()) };
    assert_eq!(item.kind, ExceptionKind::ChargedWithoutPassage);
    let [charge] = stage.books().unserved() else { panic!("one charge without passage") };
    let stated = Repay { amount: charge.amount, rides: charge.rides.into() };
    assert_eq!((stated, item.amount.unwrap().minor()), (repay, repay.amount), "{}", item.finding);
}

fn decided_by_the_card(happened: bool) -> String {
    let words = if happened {
        "its record on the card: it happened"
    } else {
        "the record before it on the card: it did not happen"
    };
    words.to_owned()
}

/// Every tear of an operation: before each exchange, after it, and at every byte of its answer.
fn tears(exchanges: &[Exchange]) -> Vec<Tear> {
    let mut tears = vec![];
    for (at, exchange) in (0..).zip(exchanges) {
        tears.push(Tear { at, reach: Reach::Unheard });
        tears.push(Tear { at, reach: Reach::Unanswered });
        tears.extend((0..exchange.answer).map(|n| Tear { at, reach: Reach::Bytes(n) }));
    }
    tears
}

/// Plays every case of one operation into a table.
fn play_all(operation: Operation) -> Table {
    let past = Past::of(operation);
    let exchanges = past.stage(0).exchanges();
    let mut table = Table::default();
    for (seed, tear) in (0..).zip(tears(&exchanges)) {
        for next in Next::ALL {
            let exchanges = &exchanges[..];
            let case = Case { operation, exchanges, tear, next, backwards: seed % 2 == 1 };
            let played = std::panic::catch_unwind(AssertUnwindSafe(|| case.play(&past, seed)));
            let row = played.unwrap_or_else(|_| panic!("{case:?}"));
            assert!(row.passages <= row.charges, "a free ride: {case:?} {row:?}");
            let allowed = case.may_charge_without_passage();
            assert!(row.charges <= row.passages + allowed, "a double charge: {case:?} {row:?}");
            table.count(&case, row);
        }
    }
    table
}

#[test]
fn every_torn_tap_is_charged_once_let_through_once_and_resolved() {
    let halves: Vec<Table> = thread::scope(|scope| {
        let play = |half: Vec<Operation>| {
            scope.spawn(move || half.into_iter().map(play_all).fold(Table::default(), Table::and))
        };
        let (odd, even): (Vec<_>, Vec<_>) =
            Operation::ALL.into_iter().partition(|operation| *operation as u8 % 2 == 1);
        let workers = [play(odd), play(even)];
        workers.into_iter().map(|worker| worker.join().expect("every case holds")).collect()
    });
    let table = halves.into_iter().fold(Table::default(), Table::and);
    println!("{}", table.to_markdown());
    compare_with_the_document("torn taps", &table.to_markdown());
}
