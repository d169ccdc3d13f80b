//! A validator on a bench: the real machine, virtual cards that really refuse and forget, a log
//! that gives numbers, and a hand that pulls cards away.

mod at_gate;
mod companions;
mod counters;
mod decisions;
mod orders;
mod products;
mod purse;
mod relay;
mod tearing;
mod tickets;

use alloc::{collections::BTreeMap, vec, vec::Vec};
use core::time::Duration;

use card::{CardKeys, ExchangeError, Key, KeyRole, KeySet, Opening, SealedOrder, VirtualCard};
use fare::{Tariff, TariffSet};
use model::{
    CardId, CardLayout, CardTransaction, ClockQuality, ProductLoad, RiderClass, TapDraft, TapEvent,
    TapRole, TapSeq, TariffVersion, Timestamp, ValidUntil, ValidatorId,
};

use crate::{
    Doubt, Hotlist, LateAnswer, OpenedOrder, Output, Passage, Presented, Rules, TapMachine,
    ValidatorContext,
};

/// 2027-01-15T08:00:00Z.
pub(crate) const START: Timestamp = Timestamp::from_secs(1_800_000_000);

const CITY: &str = r#"
format = 1
version = 1
network = "Test"
timezone = "Europe/Berlin"
currency = "EUR"
pass_back_s = 60
groups = ["bus", "metro"]
operator = [{ id = "op", name = "Operator" }]
product = [
  { id = "bus", name = "Bus single", price = "1.50" },
  { id = "near", price = "2.00" },
  { id = "far", price = "3.00" },
]
place = [
  { id = "A", name = "Alpha", lat = 1.5, lon = 2, kind = "station" },
  { id = "B", name = "Beta", lat = 1.6, lon = 2, kind = "station" },
  { id = "s1", name = "Stop 1", lat = 0, lon = 0, kind = "stop" },
]
route = [
  { id = "7", name = "Bus 7", mode = "bus", operator = "op", group = "bus", product = "bus" },
  { id = "M", name = "Metro", mode = "subway", operator = "op", group = "metro" },
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

pub(crate) fn tariffs() -> TariffSet {
    TariffSet::new(Tariff::parse(CITY).unwrap_or_else(|found| panic!("{found:#?}")))
}

pub(crate) fn context(role: TapRole, place: &str) -> ValidatorContext {
    let tariffs = tariffs();
    let tariff = tariffs.newest();
    ValidatorContext {
        id: ValidatorId::new(42).unwrap(),
        role,
        place: tariff.place_ix(place).unwrap(),
        route: (role == TapRole::Board).then(|| tariff.route_ix("7").unwrap()),
        tariff: tariff.version(),
        tariffs: tariffs.clone(),
        hotlist: Hotlist::default(),
        place_age_s: None,
        hotlist_version: None,
        clock: ClockQuality::Ntp,
        rules: Rules::default(),
    }
}

pub(crate) fn keys() -> KeySet {
    KeySet::from_root(&Key([7; 16]))
}

pub(crate) fn card(n: u8, balance: u32) -> VirtualCard {
    card_with(n, balance, None)
}

pub(crate) fn card_with(n: u8, balance: u32, products: Option<ProductLoad>) -> VirtualCard {
    let uid = CardId([4, 1, 2, 3, 4, 5, n]);
    let opening = Opening {
        issuer: 1,
        currency: *b"EUR",
        class: RiderClass(0),
        valid_until: ValidUntil::Always,
        balance,
        negative_limit: 0,
        deposit: 0,
        at_s: 1_700_000_000,
        tariff: TariffVersion(1),
        products,
        layout: CardLayout::Counters,
    };
    VirtualCard::issue(uid, [n; 16], &keys(), &opening).unwrap().0
}

/// The card is pulled away at this exchange of a presentation, counted from 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    pub(crate) at: usize,
    /// The card still hears the command; its answer is lost either way.
    pub(crate) heard: bool,
}

pub(crate) const NEVER: Cut = Cut { at: usize::MAX, heard: false };

/// When the log answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogPace {
    /// Before the next exchange with the card.
    Fast,
    /// Only when nothing else is left to do.
    Slow,
}

/// What the log holds of one tap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Logged {
    pub(crate) seq: TapSeq,
    pub(crate) draft: TapDraft,
    /// `None` while only the intent is there.
    pub(crate) event: Option<TapEvent>,
    pub(crate) intent: Option<CardTransaction>,
}

pub(crate) struct Bench {
    /// What the validator holds.
    pub(crate) keys: KeySet,
    pub(crate) machine: TapMachine,
    pub(crate) now: Timestamp,
    pub(crate) pace: LogPace,
    pub(crate) log: Vec<Logged>,
    /// Stop dead, as by power loss, before this many outputs have been served.
    pub(crate) dies_after: usize,
    served: usize,
    random: u8,
    /// How long the card takes at the exchanges of a tap, in turn; then no time at all.
    pub(crate) took: Vec<Duration>,
    pub(crate) late: Vec<LateAnswer>,
    /// How many kinds of companions the screen showed, each time it was told.
    pub(crate) chosen: Vec<usize>,
    /// The list of load orders that the validator holds.
    pub(crate) orders: BTreeMap<CardId, SealedOrder>,
    /// Exchanges of the last tap, over all its presentations.
    pub(crate) exchanges: usize,
    /// What the next card answers to this exchange of a tap, and does not do.
    pub(crate) answers: Option<(usize, Vec<u8>)>,
}

impl Bench {
    pub(crate) fn new(context: ValidatorContext) -> Self {
        Self {
            keys: keys().for_validator(),
            machine: TapMachine::new(context, []),
            now: START,
            pace: LogPace::Fast,
            log: vec![],
            dies_after: usize::MAX,
            served: 0,
            random: 0,
            took: vec![],
            late: vec![],
            chosen: vec![],
            orders: BTreeMap::new(),
            exchanges: 0,
            answers: None,
        }
    }

    pub(crate) fn boarding() -> Self {
        Self::new(context(TapRole::Board, "s1"))
    }

    /// Power comes back: the machine knows what the log says, and nothing else.
    pub(crate) fn restart(&mut self) {
        for tap in &mut self.log {
            let open = tap.intent.filter(|_| tap.event.is_none());
            tap.event = tap.event.or(open.map(|transaction| TapEvent::InDoubt { transaction }));
        }
        let decided = |seq: TapSeq| {
            self.log.iter().any(|tap| {
                let of = match tap.event {
                    Some(TapEvent::Confirmed { of, .. } | TapEvent::Voided { of, .. }) => Some(of),
                    _ => None,
                };
                of == Some(seq)
            })
        };
        let doubts: Vec<(CardId, Doubt)> = self
            .log
            .iter()
            .filter(|tap| !decided(tap.seq))
            .filter_map(|tap| match tap.event {
                Some(TapEvent::InDoubt { transaction }) => {
                    Some((tap.draft.card?, Doubt::new(tap.seq, &tap.draft, transaction)))
                }
                _ => None,
            })
            .collect();
        self.machine = TapMachine::new(self.machine.context().clone(), doubts);
        self.dies_after = usize::MAX;
    }

    fn present(&mut self, card: &VirtualCard) {
        self.random += 1;
        let key = self.keys.debit_key(&card.uid()).unwrap();
        let rnd_a = [self.random; 16];
        let card = card.uid();
        let order = self.orders.get(&card).map(|sealed| OpenedOrder {
            order: sealed.order,
            key: sealed.open(card, &key.key).expect("sealed for this card"),
        });
        self.machine.handle_presented(self.now, Presented::Card { card, key, rnd_a, order });
    }

    /// One exchange with a card that may be gone.
    fn exchange(
        &mut self,
        card: &mut VirtualCard,
        apdu: &[u8],
        (at, cut): (usize, Cut),
        took: Duration,
    ) {
        let here = at < cut.at;
        if here || (at == cut.at && cut.heard) {
            let said = self.answers.take_if(|(exchange, _)| *exchange == at);
            let answer = said.map_or_else(|| card.handle_apdu(apdu), |(_, said)| said);
            let heard = here.then_some(answer.as_slice()).ok_or(ExchangeError::Absent);
            self.machine.handle_response(heard, took);
        } else {
            self.machine.handle_response(Err(ExchangeError::Absent), took);
        }
    }

    /// One presentation; `None` when the validator died in the middle.
    pub(crate) fn tap(&mut self, card: &mut VirtualCard, cut: Cut) -> Option<Passage> {
        card.power_off();
        self.present(card);
        let mut shown = None;
        let mut exchanges = 0;
        let mut waiting: Option<TapSeq> = None;
        (self.served, self.exchanges) = (0, 0);
        loop {
            if self.pace == LogPace::Fast
                && let Some(seq) = waiting.take()
            {
                self.machine.handle_intent_durable(seq);
            }
            let Some(output) = self.machine.poll() else {
                let seq = waiting.take().expect("the machine waits for the log, or is done");
                self.machine.handle_intent_durable(seq);
                continue;
            };
            if self.served == self.dies_after {
                card.power_off();
                return None;
            }
            self.served += 1;
            match output {
                Output::Late(late) => self.late.push(late),
                Output::Companions(steps) => self.chosen.push(steps.len()),
                Output::Transmit(apdu) => {
                    let took = self.took.get(exchanges).copied().unwrap_or_default();
                    // With an order a tap is more than one presentation of a card that lies there.
                    let at = if self.orders.is_empty() { exchanges } else { self.exchanges };
                    self.exchange(card, &apdu, (at, cut), took);
                    exchanges += 1;
                    self.exchanges += 1;
                }
                Output::NeedKey { card, version } => {
                    self.random += 1;
                    let key = self.keys.card_key(KeyRole::Debit, version, &card).ok();
                    self.machine.handle_key(key, [self.random; 16]);
                }
                Output::LogIntent { draft, transaction } => {
                    waiting = Some(self.append(draft, None, Some(transaction)));
                }
                Output::LogOutcome { seq: Some(seq), event, .. } => {
                    let index = usize::try_from(seq.0 - 1).unwrap();
                    assert_eq!(self.log[index].event.replace(event), None, "one outcome each");
                    self.machine.handle_outcome_durable();
                }
                Output::LogOutcome { seq: None, draft, event } => {
                    self.append(draft, Some(event), None);
                    self.machine.handle_outcome_durable();
                }
                Output::LogResolution { draft, event } => {
                    self.append(draft, Some(event), None);
                }
                Output::Show(passage) => shown = Some(passage),
                Output::PresentAgain => {
                    exchanges = 0;
                    self.present(card);
                }
                Output::Done => {
                    card.power_off();
                    return shown;
                }
            }
        }
    }

    /// One code read by the scanner; `None` when nobody is told anything.
    pub(crate) fn scan(&mut self, text: &str) -> Option<Passage> {
        self.machine.handle_scanned(self.now, text);
        let mut shown = None;
        self.served = 0;
        loop {
            let output = self.machine.poll().expect("a scan ends by itself");
            if self.served == self.dies_after {
                return None;
            }
            self.served += 1;
            match output {
                Output::LogOutcome { seq: None, draft, event } => {
                    self.append(draft, Some(event), None);
                    self.machine.handle_outcome_durable();
                }
                Output::Show(passage) => shown = Some(passage),
                Output::Done => return shown,
                other @ (Output::Transmit(_)
                | Output::LogIntent { .. }
                | Output::LogOutcome { .. }
                | Output::LogResolution { .. }
                | Output::NeedKey { .. }
                | Output::Late(_)
                | Output::Companions(_)
                | Output::PresentAgain) => panic!("a ticket needs no {other:?}"),
            }
        }
    }

    fn append(
        &mut self,
        draft: TapDraft,
        event: Option<TapEvent>,
        intent: Option<CardTransaction>,
    ) -> TapSeq {
        let seq = TapSeq(self.log.len() as u64 + 1);
        self.log.push(Logged { seq, draft, event, intent });
        seq
    }

    /// What the log says was certainly debited.
    pub(crate) fn debited(&self) -> i64 {
        self.log
            .iter()
            .filter_map(|tap| match tap.event {
                Some(
                    TapEvent::Committed { transaction, .. }
                    | TapEvent::Confirmed { transaction, .. },
                ) => Some(i64::from(transaction.after.amount)),
                _ => None,
            })
            .sum()
    }

    /// Outcomes as words, in the order of numbers.
    pub(crate) fn outcomes(&self) -> Vec<&'static str> {
        self.log
            .iter()
            .map(|tap| match &tap.event {
                None => "intent",
                Some(TapEvent::Refused { reason, .. }) => reason.word(),
                Some(TapEvent::Gate { said, .. }) => said.word(),
                Some(event) => event.word(),
            })
            .collect()
    }
}
