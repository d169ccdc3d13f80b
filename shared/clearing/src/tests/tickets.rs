//! Tickets in the books: sales and uses in any order, once or often, give the same books.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec::Vec,
};
use core::{convert::Infallible, fmt::Write as _};

use expect_test::expect;
use ledger::{AccountId, Touched, apply, trial_balance};
use model::{
    CardId, ClockQuality, Ctr, Currency, Epoch, Money, PlaceIx, RiderClass, RouteIx, TapDraft,
    TapEvent, TapRecord, TapRole, TapSeq, TariffVersion, Ticket, TicketId, TicketKeyId,
    TicketScope, TicketToken, Timestamp, ValidatorId,
};
use proptest::{collection::vec, prelude::*, sample::Index};

use super::{now, rules};
use crate::{
    Account, ClearedTicket, Exception, ExceptionChange, ExceptionId, Known, KnownRecord, Rules,
    TapRef, TicketState, clear_sale, clear_use,
};

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

fn ticket(serial: u8) -> Ticket {
    Ticket {
        id: TicketId { key: TicketKeyId([1, 2, 3, 4]), serial: [serial; 8] },
        price: Money::new(250, Currency::parse("EUR").unwrap()),
        valid_from: START,
        minutes: 90,
        scope: TicketScope::Network,
        tariff: TariffVersion(1),
        class: RiderClass(0),
    }
}

/// What the depot hears of a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Sold,
    /// Used at this validator, this many minutes after the beginning.
    Used {
        validator: u32,
        minute: u64,
        role: TapRole,
    },
}

fn tap(ticket: &Ticket, word: Word) -> Option<TapRecord> {
    let Word::Used { validator, minute, role } = word else { return None };
    let draft = TapDraft {
        card: None,
        tapped_at: Timestamp(START.0 + minute * 60_000),
        clock: ClockQuality::Ntp,
        role,
        place: PlaceIx(0),
        // Odd validators are buses, even ones metro gates.
        route: (validator % 2 == 1).then_some(RouteIx(0)),
        tariff: TariffVersion(1),
        order: None,
        place_age_s: None,
        hotlist_version: None,
    };
    let id = (ValidatorId::new(validator).unwrap(), Epoch(1), TapSeq(minute + 1));
    let token = TicketToken::new(&ticket.to_bytes().unwrap(), &[0; 64]);
    Some(TapRecord::new(id, draft, 90, TapEvent::Ticket { token }))
}

#[derive(Debug, Clone, Default)]
struct Depot {
    states: BTreeMap<[u8; 32], TicketState>,
    taps: BTreeSet<TapRef>,
    books: Touched,
    open: BTreeMap<ExceptionId, Exception>,
    opened: usize,
    resolved: usize,
}

impl Known for Depot {
    type Error = Infallible;
    fn record(&self, _: CardId, _: Ctr) -> Result<Option<KnownRecord>, Infallible> {
        Ok(None)
    }
    fn cleared(&self, tap: TapRef) -> Result<bool, Infallible> {
        Ok(self.taps.contains(&tap))
    }
    fn transactions(&self, _: CardId, _: Ctr) -> Result<Vec<TapRecord>, Infallible> {
        Ok(Vec::new())
    }
}

impl Depot {
    fn hear(&mut self, rules: &Rules, ticket: &Ticket, word: Word) -> ClearedTicket {
        let key = ticket.to_bytes().unwrap();
        let state = self.states.get(&key).cloned().unwrap_or_default();
        let cleared = match tap(ticket, word) {
            None => clear_sale(&state, ticket, START, now()),
            Some(tap) => {
                let Ok(cleared) = clear_use(&state, ticket, &tap, now(), rules, self);
                self.taps.insert(TapRef::of(&tap));
                cleared
            }
        };
        for transfer in &cleared.transfers {
            assert_eq!(apply(&mut self.books, transfer), Ok(ledger::Outcome::Applied));
        }
        for change in &cleared.exceptions {
            match change {
                ExceptionChange::Opened(item) => {
                    self.opened += 1;
                    assert!(self.open.insert(item.id, item.clone()).is_none());
                }
                ExceptionChange::Changed(item) => {
                    assert!(self.open.insert(item.id, item.clone()).is_some());
                }
                ExceptionChange::Resolved { id, .. } => {
                    self.resolved += 1;
                    assert!(self.open.remove(id).is_some());
                }
            }
        }
        assert_eq!(self.opened, self.resolved + self.open.len(), "REC-14");
        trial_balance(self.books.balances()).unwrap();
        let bytes = cleared.state.to_bytes();
        assert_eq!(TicketState::from_bytes(&bytes), Some(cleared.state.clone()));
        self.states.insert(key, cleared.state.clone());
        cleared
    }

    fn standing(&self) -> Vec<(AccountId, i64)> {
        let moved = self.books.balances().filter(|(_, balance)| !balance.is_zero());
        moved.map(|(id, balance)| (*id, balance.posted())).collect()
    }
}

fn check(words: &[Word]) -> String {
    let (rules, mut depot, mut out) = (rules(), Depot::default(), String::new());
    for word in words {
        writeln!(out, "{word:?}").unwrap();
        let cleared = depot.hear(&rules, &ticket(7), *word);
        for t in &cleared.transfers {
            let (debit, credit) = (Account::parse(&t.debit), Account::parse(&t.credit));
            writeln!(out, "    {} {} -> {}", t.amount, debit.unwrap(), credit.unwrap()).unwrap();
        }
        for change in &cleared.exceptions {
            let text = match change {
                ExceptionChange::Opened(item) => {
                    format!("+ {}: {}", item.kind.word(), item.finding)
                }
                ExceptionChange::Changed(item) => {
                    format!("~ {}: {}", item.kind.word(), item.finding)
                }
                ExceptionChange::Resolved { kind, reason, .. } => {
                    format!("- {}: {reason}", kind.word())
                }
            };
            writeln!(out, "    {}", text.replace("01020304-0707070707070707", "T")).unwrap();
        }
    }
    out
}

const BOARD: TapRole = TapRole::Board;

#[test]
fn a_sale_is_owed_until_the_ride_and_a_second_ride_moves_nothing() {
    let used = |validator, minute, role| Word::Used { validator, minute, role };
    expect![[r"
        Sold
            250 ticket-cash -> ticket-liability(01020304, 2027-01-15)
        Sold
        Used { validator: 2, minute: 5, role: Entry }
            250 ticket-liability(01020304, 2027-01-15) -> fare-revenue(1)
        Used { validator: 2, minute: 5, role: Entry }
        Used { validator: 4, minute: 25, role: Exit }
        Used { validator: 1, minute: 30, role: Board }
            + ticket-used-twice: ticket T over 2.50 EUR: 2 rides and 1 exits, one ride is paid
        Used { validator: 1, minute: 1, role: Board }
            250 fare-revenue(1) -> fare-revenue(0)
            ~ ticket-used-twice: ticket T over 2.50 EUR: 3 rides and 1 exits, one ride is paid
    "]]
    .assert_eq(&check(&[
        Word::Sold,
        Word::Sold,
        used(2, 5, TapRole::Entry),
        used(2, 5, TapRole::Entry),
        used(4, 25, TapRole::Exit),
        used(1, 30, BOARD),
        // The earlier ride pays, whoever is heard first.
        used(1, 1, BOARD),
    ]));
}

#[test]
fn a_ride_before_its_sale_is_explained_by_the_sale() {
    let used = Word::Used { validator: 1, minute: 5, role: BOARD };
    expect![[r"
        Used { validator: 1, minute: 5, role: Board }
            250 ticket-unissued(01020304) -> fare-revenue(0)
            + ticket-not-issued: ticket T over 2.50 EUR has our signature and no known sale
        Sold
            250 ticket-cash -> ticket-liability(01020304, 2027-01-15)
            250 ticket-liability(01020304, 2027-01-15) -> ticket-unissued(01020304)
            - ticket-not-issued: the sale is known
    "]]
    .assert_eq(&check(&[used, Word::Sold]));
}

fn word() -> impl Strategy<Value = Word> {
    let role = prop_oneof![Just(BOARD), Just(TapRole::Entry), Just(TapRole::Exit)];
    prop_oneof![
        1 => Just(Word::Sold),
        4 => (1..5_u32, 0..4_u64, role)
            .prop_map(|(validator, minute, role)| Word::Used { validator, minute, role }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn rec_1_holds_for_tickets_in_any_order_and_however_often_heard(
        heard in vec((0..3_u8, word()), 1..40),
        draws in vec(any::<Index>(), 80),
    ) {
        let rules = rules();
        // One number names one entry of a validator's log.
        let mut numbers = BTreeSet::new();
        let heard: Vec<(u8, Word)> = heard
            .into_iter()
            .filter(|(_, word)| match word {
                Word::Sold => true,
                Word::Used { validator, minute, .. } => numbers.insert((*validator, *minute)),
            })
            .collect();
        let mut in_order = Depot::default();
        for (serial, word) in &heard {
            in_order.hear(&rules, &ticket(*serial), *word);
        }
        let mut other = Depot::default();
        let mut rest = heard.clone();
        for draw in &draws {
            let (serial, word) = if rest.is_empty() {
                heard[draw.index(heard.len())]
            } else {
                rest.swap_remove(draw.index(rest.len()))
            };
            other.hear(&rules, &ticket(serial), word);
        }
        prop_assert_eq!(in_order.standing(), other.standing());
        prop_assert_eq!(&in_order.states, &other.states);
        prop_assert_eq!(&in_order.open, &other.open);
        // One price a ticket, wherever it stands.
        let used = in_order.states.values().filter(|state| !state.uses().is_empty()).count();
        let rides: i64 = in_order
            .standing()
            .iter()
            .filter(|(id, _)| matches!(Account::parse(id), Some(Account::FareRevenue(_))))
            .map(|(_, balance)| balance)
            .sum();
        prop_assert_eq!(rides, 250 * i64::try_from(used).unwrap());
    }

    #[test]
    fn no_bytes_make_reading_a_ticket_state_panic(bytes in vec(any::<u8>(), 0..200)) {
        if let Some(state) = TicketState::from_bytes(&bytes) {
            prop_assert_eq!(TicketState::from_bytes(&state.to_bytes()), Some(state));
        }
    }
}
