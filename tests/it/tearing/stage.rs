//! The stage of one torn tap: a card with a past, the validators it meets, the depot that hears of
//! it. All cores are the production ones; the card, the disks and the network are the simulator's.

use std::{collections::BTreeMap, time::Duration};

use card::{CardContents, CardKeys, Key, KeySet, Opening, VersionedKey, VirtualCard};
use clearing::{Account, CardState, Exception, Rules};
use fare::{Tariff, TariffSet};
use fleet_sync::SigningKey;
use model::{
    CardId, CardProduct, CardProducts, ClockQuality, ProductKind, ProductLoad, ProductScope,
    RecordKind, RouteIx, TapRole, Timestamp, ValidatorId,
};
use tapline_tests::sim::{
    depot::SimDepot,
    dice::Dice,
    validator::{Exchange, SimValidator, TapEnd, TapPlan, Tear, Unsynced},
};
use validation::{Hotlist, Passage, ValidatorContext};

/// 2026-11-02T08:00:00Z.
pub(super) const NINE: Timestamp = Timestamp::from_secs(1_793_606_400);
pub(super) const OPENING: i32 = 5_000;
/// Rides on a card that is sold with rides: more than any case takes.
const RIDES: u32 = 10;
const UID: CardId = CardId([4, 0xa1, 2, 3, 4, 5, 6]);

/// Every rule that moves money at a tap, with a pass-back window of a minute.
pub(super) const TARIFF: &str = r#"
format = 1
version = 1
network = "Torn city"
timezone = "Europe/Berlin"
currency = "EUR"
pass_back_s = 60
groups = ["bus", "metro"]
operator = [{ id = "bus", name = "Bus" }, { id = "metro", name = "Metro" }]
product = [
  { id = "bus", name = "Bus single", price = "1.50" },
  { id = "near", name = "Near", price = "2.00" },
  { id = "far", name = "Far", price = "3.00" },
]
place = [
  { id = "A", name = "Alpha", lat = 1.5, lon = 2, kind = "station" },
  { id = "B", name = "Beta", lat = 1.6, lon = 2, kind = "station" },
  { id = "s1", name = "Stop 1", lat = 0, lon = 0, kind = "stop" },
]
route = [
  { id = "7", name = "Bus 7", mode = "bus", operator = "bus", group = "bus", product = "bus" },
  { id = "M", name = "Metro", mode = "subway", operator = "metro", group = "metro" },
]

[gate]
group = "metro"
journey_limit_s = 7200

[matrix]
to = ["A", "B"]
[matrix.from]
A = ["near", "far"]
B = ["far", "near"]
"#;

/// What is torn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    /// A bus: 1.50.
    Board,
    /// A bus, with a journey that was never tapped out: 4.50.
    BoardAfterOpenJourney,
    /// A bus, paid by a pass: nothing is debited.
    BoardWithPass,
    /// A bus, paid by one of the rides on the card: nothing is debited from the purse.
    BoardWithRide,
    /// A gate inwards: nothing is debited.
    Entry,
    /// A gate inwards, with a journey that was never tapped out: 3.00.
    EntryAfterOpenJourney,
    /// A gate outwards: 3.00.
    Exit,
    /// A gate outwards after the journey's limit: the maximum fare.
    ExitOverTime,
}

impl Operation {
    pub(super) const ALL: [Self; 8] = [
        Self::Board,
        Self::BoardAfterOpenJourney,
        Self::BoardWithPass,
        Self::BoardWithRide,
        Self::Entry,
        Self::EntryAfterOpenJourney,
        Self::Exit,
        Self::ExitOverTime,
    ];

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Board => "board",
            Self::BoardAfterOpenJourney => "board + missing tap-out",
            Self::BoardWithPass => "board with a pass",
            Self::BoardWithRide => "board with a ride",
            Self::Entry => "entry",
            Self::EntryAfterOpenJourney => "entry + missing tap-out",
            Self::Exit => "exit",
            Self::ExitOverTime => "exit over time",
        }
    }

    /// What it debits from the purse.
    pub(super) const fn fare(self) -> i64 {
        match self {
            Self::Board => 150,
            Self::BoardAfterOpenJourney => 450,
            Self::BoardWithPass | Self::BoardWithRide | Self::Entry => 0,
            Self::EntryAfterOpenJourney | Self::Exit | Self::ExitOverTime => 300,
        }
    }

    /// How many of the card's rides it takes.
    pub(super) const fn rides(self) -> u32 {
        matches!(self, Self::BoardWithRide) as u32
    }

    /// Whether it is one tap on a bus.
    pub(super) const fn is_boarding(self) -> bool {
        matches!(self.role(), TapRole::Board)
    }

    /// What the card was sold with.
    fn products(self) -> Option<ProductLoad> {
        let (kind, rides) = match self {
            Self::BoardWithPass => (ProductKind::Pass, 0),
            Self::BoardWithRide => (ProductKind::Rides, RIDES),
            Self::Board
            | Self::BoardAfterOpenJourney
            | Self::Entry
            | Self::EntryAfterOpenJourney
            | Self::Exit
            | Self::ExitOverTime => return None,
        };
        let scope = ProductScope::of_group("bus");
        let product = CardProduct { id: 31, kind, scope, serial: 1, from_s: 0, until_s: 0 };
        let file = CardProducts::new([Some(product), None]).unwrap();
        Some(ProductLoad::new(file, rides).unwrap())
    }

    const fn role(self) -> TapRole {
        match self {
            Self::Board
            | Self::BoardAfterOpenJourney
            | Self::BoardWithPass
            | Self::BoardWithRide => TapRole::Board,
            Self::Entry | Self::EntryAfterOpenJourney => TapRole::Entry,
            Self::Exit | Self::ExitOverTime => TapRole::Exit,
        }
    }

    /// How long before it the card tapped in and never out.
    const fn tapped_in_before(self) -> Option<Duration> {
        match self {
            Self::Board | Self::BoardWithPass | Self::BoardWithRide | Self::Entry => None,
            Self::Exit => Some(Duration::from_secs(20 * 60)),
            Self::BoardAfterOpenJourney | Self::EntryAfterOpenJourney | Self::ExitOverTime => {
                Some(Duration::from_secs(3 * 3600))
            }
        }
    }
}

/// A reader of the stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    /// Where the card is torn away.
    First,
    /// The reader beside it: the next gate of the line, another bus of the route.
    Beside,
    /// Where the rider goes afterwards.
    Later,
    /// Where the card tapped in long before.
    Past,
}

/// What the rider was told, in words.
pub(super) fn told(end: &TapEnd) -> String {
    let of = |passage: &Passage| match passage.refusal() {
        None => "let through".to_owned(),
        Some(why) => {
            let text = texts::refusal_text(texts::Language::English, why);
            format!("{text} ({:02})", why.assist_code())
        }
    };
    match end {
        TapEnd::Shown(passage) | TapEnd::Dark(Some(passage)) => of(passage),
        TapEnd::Dark(None) => "nothing: the reader went dark".to_owned(),
    }
}

pub(super) fn is_granted(end: &TapEnd) -> bool {
    match end {
        TapEnd::Shown(passage) => passage.is_granted(),
        TapEnd::Dark(shown) => shown.as_ref().is_some_and(|passage| passage.is_granted()),
    }
}

/// A card as every case of an operation finds it, with what the depot was told about its past.
pub(super) struct Past {
    operation: Operation,
    tariffs: TariffSet,
    keys: KeySet,
    issued: card::Issued,
    card: VirtualCard,
    batches: Vec<Vec<u8>>,
}

/// See the module's documentation.
pub(super) struct Stage {
    pub(super) card: VirtualCard,
    pub(super) depot: SimDepot,
    pub(super) now: Timestamp,
    key: VersionedKey,
    validators: BTreeMap<Who, SimValidator>,
    dice: Dice,
}

pub(super) fn signing(who: Who) -> SigningKey {
    SigningKey::from_bytes(&[10 + who as u8; 32])
}

pub(super) fn depot_key() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

pub(super) fn context(operation: Operation, who: Who, tariffs: &TariffSet) -> ValidatorContext {
    let role = match (who, operation.role()) {
        (Who::First | Who::Beside, role) => role,
        (Who::Past, _) => TapRole::Entry,
        (Who::Later, TapRole::Entry) => TapRole::Exit,
        (Who::Later, TapRole::Board | TapRole::Exit) => TapRole::Board,
    };
    let place = match (who, role) {
        (_, TapRole::Board) => "s1",
        (Who::Later, _) | (_, TapRole::Exit) => "B",
        (_, TapRole::Entry) => "A",
    };
    let tariff = tariffs.newest();
    ValidatorContext {
        id: ValidatorId::new(who as u32 + 1).unwrap(),
        role,
        place: tariff.place_ix(place).unwrap(),
        route: (role == TapRole::Board).then_some(RouteIx(0)),
        tariff: tariff.version(),
        tariffs: tariffs.clone(),
        hotlist: Hotlist::default(),
        place_age_s: None,
        hotlist_version: None,
        clock: ClockQuality::Ntp,
        rules: validation::Rules::default(),
    }
}

impl Past {
    pub(super) fn of(operation: Operation) -> Self {
        let tariffs = TariffSet::new(Tariff::parse(TARIFF).unwrap());
        let keys = KeySet::from_root(&Key([7; 16]));
        let opening = Opening {
            balance: OPENING.unsigned_abs(),
            at_s: u32::try_from(NINE.secs()).unwrap() - 86_400,
            tariff: tariffs.newest().version(),
            products: operation.products(),
            ..Opening::default()
        };
        let (card, issued) = VirtualCard::issue(UID, [3; 16], &keys, &opening).unwrap();
        let mut past = Self { operation, tariffs, keys, issued, card, batches: vec![] };
        if let Some(before) = operation.tapped_in_before() {
            let mut stage = past.stage(0);
            let at = Timestamp(NINE.0 - u64::try_from(before.as_millis()).unwrap());
            stage.now = at;
            assert!(is_granted(&stage.tap(Who::Past, TapPlan::default())));
            let gate = stage.validators.get_mut(&Who::Past).unwrap();
            past.batches = gate.drain(at);
            past.card = stage.card;
        }
        past
    }

    /// Everything as it was before the tap that is torn.
    pub(super) fn stage(&self, seed: u64) -> Stage {
        let all = [Who::First, Who::Beside, Who::Later, Who::Past];
        let public = all.map(|who| {
            let id = context(self.operation, who, &self.tariffs).id;
            (id, signing(who).verifying_key())
        });
        let rules = Rules::new(self.tariffs.clone());
        let keys = self.keys.clone();
        let mut depot = SimDepot::new(depot_key(), public.into(), keys, rules, None);
        depot.register(&self.issued, NINE);
        for batch in &self.batches {
            let id = context(self.operation, Who::Past, &self.tariffs).id;
            depot.handle_taps(NINE, id, batch, None);
        }
        let validators = all.map(|who| {
            let context = context(self.operation, who, &self.tariffs);
            let depot_key = depot_key().verifying_key();
            let mut validator = SimValidator::new(context, signing(who), depot_key, None);
            validator.boot(NINE);
            (who, validator)
        });
        Stage {
            card: self.card.clone(),
            depot,
            now: NINE,
            key: self.keys.debit_key(&UID).unwrap(),
            validators: validators.into(),
            dice: Dice::new(seed),
        }
    }
}

impl Stage {
    pub(super) fn tap(&mut self, who: Who, plan: TapPlan) -> TapEnd {
        let validator = self.validators.get_mut(&who).unwrap();
        if !validator.is_on() {
            validator.boot(self.now);
        }
        validator.tap(self.now, &mut self.card, &self.key, plan, &mut self.dice)
    }

    /// The torn tap. With `dark`, the validator's power goes at the same moment.
    pub(super) fn torn(&mut self, tear: Tear, dark: Option<Unsynced>) -> TapEnd {
        let slow_disk = dark == Some(Unsynced::Lost);
        let plan =
            TapPlan { tear: Some(tear), dark_with_tear: dark, slow_disk, ..TapPlan::default() };
        self.tap(Who::First, plan)
    }

    /// The power goes between two taps.
    pub(super) fn power_cut(&mut self, who: Who) {
        self.validators.get_mut(&who).unwrap().power_cut_with(Unsynced::Lost);
    }

    pub(super) fn wait(&mut self, time: Duration) {
        self.now = self.now.plus(time);
    }

    /// The exchanges of this operation when nothing is torn.
    pub(super) fn exchanges(&mut self) -> Vec<Exchange> {
        assert!(is_granted(&self.tap(Who::First, TapPlan::default())));
        self.validators[&Who::First].exchanges.clone()
    }

    pub(super) fn contents(&self) -> CardContents {
        self.card.contents().expect("an issued card")
    }

    /// Everything that is logged reaches the depot, the validators in this order.
    pub(super) fn deliver(&mut self, backwards: bool) {
        let mut order = vec![Who::First, Who::Beside, Who::Later];
        if backwards {
            order.reverse();
        }
        for who in order {
            let validator = self.validators.get_mut(&who).unwrap();
            if !validator.is_on() {
                validator.boot(self.now);
            }
            for _ in 0..10 {
                for payload in validator.drain(self.now) {
                    let ack = self.depot.handle_taps(self.now, validator.id, &payload, None);
                    validator
                        .handle_ack(self.now, &ack.expect("the depot lives"))
                        .expect("a clean ack");
                }
            }
            assert_eq!(validator.backlog(), 0, "{who:?} delivers");
        }
        assert_eq!(self.depot.findings, [""; 0]);
    }

    /// What the books hold of the card.
    pub(super) fn books(&self) -> &CardState {
        &self.depot.books.cards[&UID]
    }

    pub(super) fn open(&self) -> Vec<&Exception> {
        self.depot.books.open.values().collect()
    }

    /// Rides left on the card; 0 on a card without any.
    pub(super) fn rides(&self) -> u32 {
        self.contents().products.and_then(|found| found.rides).unwrap_or(0)
    }

    /// The value file, the log and the counter tell one story, and no record was lost.
    pub(super) fn assert_card_is_whole(&self) {
        let CardContents { ctr, balance, records, .. } = self.contents();
        let newest = records.last().expect("every card has its issue");
        assert_eq!((newest.ctr, newest.balance), (ctr, balance), "files moved apart");
        for pair in records.windows(2) {
            assert_eq!(pair[0].ctr.0 + 1, pair[1].ctr.0);
            assert_eq!(i64::from(pair[0].balance), pair[1].balance_before());
        }
        assert_eq!(records[0].kind, RecordKind::Issue, "the log still holds everything");
    }

    /// The books equal the card: every record, the balance, nothing held, nothing in suspense.
    pub(super) fn assert_books_equal_the_card(&self) {
        let contents = self.contents();
        let books = &self.depot.books;
        for record in &contents.records {
            let known = books.records.get(&(UID, record.ctr)).map(|known| known.record);
            assert_eq!(known, Some(*record));
        }
        assert_eq!(books.records.len(), contents.records.len(), "the books know no more");
        assert_eq!(self.books().shadow(), Some(i64::from(contents.balance)));
        assert_eq!(self.books().doubts().count(), 0, "nothing is in doubt");
        assert_eq!((self.books().gaps(), self.books().differences()), (&[][..], &[][..]));
        self.assert_sound();
        for (account, balance) in books.ledger.balances() {
            let account_is = Account::parse(account).expect("clearing's own account");
            assert_eq!(balance.debits_pending + balance.credits_pending, 0, "{account_is}: held");
            let stays_empty = matches!(
                account_is,
                Account::GapSuspense(..) | Account::Difference(..) | Account::UnknownOrigin(_)
            );
            assert!(!stays_empty || balance.is_zero(), "{account_is}: {balance:?}");
            if matches!(account_is, Account::Card(_)) {
                assert_eq!(balance.posted(), i64::from(contents.balance));
            }
        }
    }

    pub(super) fn assert_sound(&self) {
        let books = &self.depot.books;
        ledger::trial_balance(books.ledger.balances()).expect("the trial balance is zero");
        assert_eq!(books.opened, books.resolved + books.open.len() as u64);
    }
}
