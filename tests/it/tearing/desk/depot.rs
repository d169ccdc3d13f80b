//! The depot behind the desk's torn operations: its real books and intake, two desks, and one bus.
//! The cards are virtual, and so is the reader, so that a card leaves exactly where the case says.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use card::{CardKeys, Key, KeySet, VirtualCard};
use clearing::{Account, Rules, Taken};
use depot_server::{
    clock::Clock,
    desk::{DeskError, Done, Hand, Station, WantedIssue},
    events::Events,
    intake::{Checker, Message, Pipeline, Workplace},
    metrics::Metrics,
    store::Store,
    verify::verify,
};
use fare::{Tariff, TariffSet, rules::ZoneOffsets};
use model::{CardId, CardRecord, RiderClass, StationId, Timestamp, ValidUntil};
use reader::{Activation, Picc, Reader, VirtualField};
use rusqlite::Connection;
use tapline_tests::sim::{
    dice::Dice,
    validator::{Exchange, Reach, SimValidator, TapEnd, TapPlan, Tear},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::super::stage::{NINE, Operation, TARIFF, Who, context, depot_key, is_granted, signing};
use super::{LOADED, OPENED, Work};
use crate::processes::SharedCard;

/// What becomes of a card that was torn away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hands {
    /// It is put back when the command asks for it.
    PutBack,
    /// It is gone.
    Gone,
    /// It is gone, and the command is killed at the same moment.
    Killed,
}

/// How a killed command ends: what a dead process would not do is not done.
struct Killed;

/// What lies on the reader: a card that leaves once.
struct Medium {
    card: SharedCard,
    tear: Option<Tear>,
    hands: Hands,
    reader: Arc<Mutex<OnReader>>,
}

/// What happened on the reader so far.
#[derive(Debug, Default)]
struct OnReader {
    exchanges: Vec<Exchange>,
    gone: bool,
}

impl Picc for Medium {
    fn activation(&self) -> Activation {
        self.card.activation()
    }

    fn transceive(&mut self, apdu: &[u8]) -> Option<Vec<u8>> {
        let mut reader = self.reader.lock().unwrap();
        if reader.gone {
            return None;
        }
        let here = u32::try_from(reader.exchanges.len()).unwrap();
        let torn = self.tear.take_if(|tear| tear.at == here).map(|tear| tear.reach);
        let heard = torn != Some(Reach::Unheard);
        let answer = if heard { self.card.transceive(apdu) } else { None };
        let length = answer.as_ref().map_or(0, Vec::len);
        reader.exchanges.push(Exchange { command: apdu[1], answer: length });
        let Some(reach) = torn else { return answer };
        self.card.field_off();
        reader.gone = true;
        drop(reader);
        if self.hands == Hands::Killed {
            resume_unwind(Box::new(Killed));
        }
        match reach {
            Reach::Unheard | Reach::Unanswered => None,
            Reach::Bytes(arrived) => answer.map(|answer| answer[..arrived].to_vec()),
        }
    }

    fn field_off(&mut self) {
        self.card.field_off();
    }
}

/// The command speaks before it waits for a card: the moment to put the torn one back, or to see
/// that it is gone.
fn prompt(
    field: VirtualField,
    reader: Arc<Mutex<OnReader>>,
    hands: Hands,
) -> impl Fn(&str) + Send + 'static {
    move |_| {
        let mut reader = reader.lock().unwrap();
        if hands == Hands::PutBack {
            reader.gone = false;
        } else if reader.gone {
            field.clear();
        }
    }
}

/// What the books hold of everything that the desk's operations move, minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    /// On the one card that was asked for.
    pub(super) on_card: i64,
    /// Fares.
    pub(super) earned: i64,
    /// In the drawers of both desks.
    pub(super) cash: i64,
    /// Issuer's cash, load clearing, refund clearing.
    pub(super) between: [i64; 3],
    pub(super) quota_used: i64,
    pub(super) quota_in_doubt: i64,
    /// Owed to the holder of that card beside it, and by how much fares were lowered for that.
    pub(super) due: i64,
    pub(super) reduced: i64,
}

/// Riders of class 1 pay no more than 1.00 a day; a card without counters pays it first.
const CAP: &str = r#"
class = [{ id = "adult", name = "Adult" }, { id = "capped", name = "Capped" }]
cap = [{ number = 1, id = "day", name = "Day cap", period = "day", classes = ["capped"],
         levels = [{ price = "1.00" }] }]
"#;

/// See the module's documentation.
pub(super) struct Depot {
    pub(super) place: Workplace,
    pipeline: Pipeline,
    checker: Checker,
    desks: [Station; 2],
    bus: SimValidator,
    keys: KeySet,
    runtime: Runtime,
    now: Timestamp,
    dice: Dice,
    cards: u16,
    wanted: Cell<WantedIssue>,
    look: Connection,
    _folder: TempDir,
}

impl Depot {
    pub(super) fn open() -> Self {
        // What a torn card does to the books depends on no disk, and memory has no syncs to wait
        // for. That the books survive a crash is shown by `kill` and `issuing`.
        let memory = Path::new("/dev/shm");
        let under = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let folder = tempfile::tempdir_in(under).unwrap();
        let path = folder.path().join("depot.sqlite");
        let berlin = |_: &str| Some(ZoneOffsets::fixed(3600));
        let tariff = Tariff::parse_in(TARIFF, Some(CAP), &berlin);
        let tariffs = TariffSet::new(tariff.unwrap_or_else(|found| panic!("{found:#?}")));
        let context = context(Operation::Board, Who::First, &tariffs);
        let place = Workplace {
            depot: "north".parse().unwrap(),
            store: Arc::new(Store::open(&path).unwrap()),
            rules: Rules::new(tariffs).into(),
            events: Events::default(),
            metrics: Metrics::default(),
            clock: Clock::manual(NINE),
        };
        let depot_public = depot_key().verifying_key();
        let mut bus = SimValidator::new(context, signing(Who::First), depot_public, None);
        bus.boot(NINE);
        place.store.enrol(bus.id, &bus.public_key(), "bus", false, NINE).unwrap();
        let keys = KeySet::from_root(&Key([7; 16]));
        let checker = Checker::new(place.depot.clone(), keys.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        Self {
            pipeline: Pipeline::new(place.clone(), checker.clone(), depot_key(), 1),
            desks: [1, 2].map(|number| station(number, &place, &keys)),
            place,
            checker,
            bus,
            keys,
            runtime: runtime.unwrap(),
            now: NINE,
            dice: Dice::new(0),
            cards: 0,
            wanted: Cell::new(wanted()),
            look: Connection::open(&path).unwrap(),
            _folder: folder,
        }
    }

    /// A card from the factory.
    pub(super) fn blank(&mut self) -> SharedCard {
        self.cards += 1;
        let [high, low] = self.cards.to_be_bytes();
        let uid = CardId([4, 0x71, 0x72, 0x73, 0x74, high, low]);
        Arc::new(Mutex::new(VirtualCard::blank(uid, [low; 16])))
    }

    /// An issued card that has paid 1.50 for a bus where 1.00 was due.
    pub(super) fn overcharged(&mut self) -> SharedCard {
        let card = self.blank();
        self.wanted.set(WantedIssue { class: RiderClass(1), counters: false, ..wanted() });
        self.command(0, Work::Issue, &card).unwrap();
        self.wanted.set(wanted());
        assert!(is_granted(&self.tap(&card)));
        self.deliver();
        // No tap is taken for the same passage again.
        self.wait(Duration::from_secs(120));
        card
    }

    pub(super) fn wait(&mut self, time: Duration) {
        self.now = self.now.plus(time);
        self.place.clock.set(self.now);
    }

    /// Each desk may put exactly so much more on cards.
    pub(super) fn allow(&self, amount: i64) {
        for desk in &self.desks {
            let left = self.place.store.quota(desk.id).unwrap().left();
            let who = ["ana", "ben", "the next case"];
            self.place.store.grant(desk.id, amount - left, who, self.now).unwrap();
        }
    }

    /// One run of a desk's command, undisturbed.
    pub(super) fn command(
        &self,
        desk: usize,
        work: Work,
        card: &SharedCard,
    ) -> Result<Done, DeskError> {
        self.run(desk, work, card, None, Hands::Gone).0.expect("nobody kills it")
    }

    /// One run at the first desk, torn; `None` when it was killed.
    pub(super) fn torn(
        &self,
        work: Work,
        card: &SharedCard,
        tear: Tear,
        hands: Hands,
    ) -> Option<Result<Done, DeskError>> {
        self.run(0, work, card, Some(tear), hands).0
    }

    /// The exchanges of an undisturbed run.
    pub(super) fn exchanges(&self, work: Work, card: &SharedCard) -> Vec<Exchange> {
        let (done, exchanges) = self.run(0, work, card, None, Hands::Gone);
        done.expect("nobody kills it").unwrap();
        exchanges
    }

    fn run(
        &self,
        desk: usize,
        work: Work,
        card: &SharedCard,
        tear: Option<Tear>,
        hands: Hands,
    ) -> (Option<Result<Done, DeskError>>, Vec<Exchange>) {
        let on_reader = Arc::new(Mutex::new(OnReader::default()));
        let (reader, field) = Reader::virtual_cards();
        let (card, medium) = (Arc::clone(card), Arc::clone(card));
        field.place(Medium { card: medium, tear, hands, reader: Arc::clone(&on_reader) });
        let prompt = prompt(field, Arc::clone(&on_reader), hands);
        // A card that lies there is found at once; for one that does not, nobody waits.
        let mut hand = Hand::over(reader, Duration::ZERO, prompt);
        let desk = &self.desks[desk];
        let command = async {
            match work {
                Work::Issue => desk.issue(&mut hand, &self.wanted.get(), None).await,
                Work::Load | Work::Adjusted => desk.load(&mut hand, LOADED).await,
                Work::Retire => desk.retire(&mut hand, Taken::PaidOut, false).await,
            }
        };
        let end = catch_unwind(AssertUnwindSafe(|| self.runtime.block_on(command)));
        card.lock().unwrap().power_off();
        let done = match end {
            Ok(done) => Some(done),
            Err(killed) if killed.is::<Killed>() => None,
            Err(fault) => resume_unwind(fault),
        };
        let exchanges = std::mem::take(&mut on_reader.lock().unwrap().exchanges);
        (done, exchanges)
    }

    /// The card boards the bus.
    pub(super) fn tap(&mut self, card: &SharedCard) -> TapEnd {
        let mut card = card.lock().unwrap();
        let key = self.keys.debit_key(&card.uid()).unwrap();
        self.bus.tap(self.now, &mut *card, &key, TapPlan::default(), &mut self.dice)
    }

    /// Everything that the bus has logged reaches the books.
    pub(super) fn deliver(&mut self) {
        for _ in 0..10 {
            for payload in self.bus.drain(self.now) {
                let topic = self.checker.taps_topic(self.bus.id);
                let output = self.pipeline.submit(vec![Message { topic, payload }]).unwrap();
                for (_, ack) in output.acks {
                    self.bus.handle_ack(self.now, &ack).expect("a clean ack");
                }
            }
        }
        assert_eq!(self.bus.backlog(), 0, "the bus delivers");
    }

    /// What the books hold now.
    pub(super) fn tally(&self, card: CardId) -> Tally {
        let currency = self.place.rules.currency();
        let on = |account: Account| {
            let balance = self.place.store.account(&account.id(currency)).unwrap();
            assert_eq!(balance.debits_pending + balance.credits_pending, 0, "{account}: held");
            balance.posted()
        };
        let mut tally = Tally {
            on_card: on(Account::Card(card)),
            earned: self.sum("code = 2"),
            cash: 0,
            between: [Account::IssuerCash, Account::LoadClearing, Account::RefundClearing].map(on),
            quota_used: 0,
            quota_in_doubt: 0,
            due: on(Account::RiderDue(card)),
            reduced: -self.sum("code = 15"),
        };
        for desk in &self.desks {
            let quota = self.place.store.quota(desk.id).unwrap();
            assert!(quota.left() >= 0, "the quota is exceeded: {quota:?}");
            tally.quota_used += quota.used;
            tally.quota_in_doubt += quota.in_doubt;
            tally.cash -= on(Account::DeskCash(desk.id));
        }
        tally
    }

    /// The number of the newest operation.
    pub(super) fn newest_op(&self) -> i64 {
        let sql = "SELECT coalesce(max(id), 0) FROM card_ops";
        self.look.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// Whether an operation happened, and by what that is known; `None` while nobody knows.
    pub(super) fn decided(&self, op: i64) -> Option<(bool, String)> {
        let sql = "SELECT outcome, how FROM card_ops WHERE id = ?1";
        let decided = |row: &rusqlite::Row<'_>| {
            let outcome: Option<i64> = row.get(0)?;
            outcome.map(|outcome| Ok((outcome == 1, row.get(1)?))).transpose()
        };
        self.look.query_row(sql, [op], decided).unwrap()
    }

    /// The books know every record of the card, and nothing is open on it.
    pub(super) fn assert_knows(&self, card: CardId, newest: Option<&CardRecord>) {
        let (state, _) = self.place.store.card_state(card).unwrap().expect("a known card");
        assert_eq!(state.newest().map(|known| known.record).as_ref(), newest);
        assert_eq!(state.continuity(), Ok(()));
        assert_eq!(self.place.store.open_ops(card).unwrap(), [], "every operation is closed");
    }

    /// The books are what their journal says, they balance, and nobody has to look at anything.
    pub(super) fn assert_sound(&self) {
        let report = verify(&self.place.store, &self.checker, &self.place.rules).unwrap();
        assert_eq!(report.first_difference, None);
        assert_eq!(self.sum("1"), 0, "the trial balance");
        let sql = "SELECT count(*) FROM exceptions WHERE closed_at IS NULL";
        let open: i64 = self.look.query_row(sql, [], |row| row.get(0)).unwrap();
        assert_eq!(open, 0, "work items");
    }

    fn sum(&self, which: &str) -> i64 {
        let sql = format!(
            "SELECT coalesce(sum(credits_posted - debits_posted), 0) FROM account_groups
             WHERE {which}"
        );
        self.look.query_row(&sql, [], |row| row.get(0)).unwrap()
    }
}

fn wanted() -> WantedIssue {
    WantedIssue {
        balance: OPENED,
        class: RiderClass(0),
        valid_until: ValidUntil::Always,
        negative_limit: 0,
        deposit: 0,
        counters: true,
        purse: None,
    }
}

fn station(number: u16, place: &Workplace, keys: &KeySet) -> Station {
    Station {
        id: StationId(number),
        store: Arc::clone(&place.store),
        rules: Arc::new(Rules::clone(&place.rules)),
        keys: Arc::new(keys.clone()),
        clock: place.clock.clone(),
        issuer: 1,
        issuer_id: None,
        balance_max: None,
        hold: Duration::from_secs(72 * 3600),
    }
}
