//! A depot in memory and a card's honest history, for the tables and the properties.

mod bytes;
mod clocks;
mod companions;
mod correct;
mod counted;
mod credit;
mod due;
mod issuers;
mod orders;
mod products;
mod properties;
mod purses;
mod tables;
mod tickets;

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{convert::Infallible, fmt::Write as _};

use fare::rules::ZoneOffsets;
use ledger::{AccountId, Books as _, Kind, Touched, apply, trial_balance};
use model::{
    CardId, CardLayout, CardProof, CardRecord, CardTransaction, ClockQuality, Companions, Ctr,
    Currency, Epoch, IssuerId, LoadSeq, Money, PlaceIx, RecordKind, Refusal, RiderClass, RouteIx,
    Served, TapEvent, TapRecord, TapRole, TapSeq, TariffVersion, Timestamp, ValidUntil,
    ValidatorId,
};

use properties::kroner;

use crate::{
    Account, CardState, ClearError, Cleared, Exception, ExceptionChange, ExceptionId,
    ExceptionKind, Issue, Known, KnownRecord, Priced, Rules, TapRef, clear, expire, register_issue,
    transaction,
};

pub(super) const CARD: CardId = CardId([4, 1, 2, 3, 4, 0xca, 0xfe]);
const START_S: u32 = 1_800_000_000;

/// Two operators: `b` runs buses, `m` the metro and a ferry.
pub(super) const CITY: &str = r#"
format = 1
version = 1
network = "Test"
timezone = "Europe/Berlin"
currency = "EUR"
groups = ["bus", "metro", "ferry"]
operator = [{ id = "b", name = "Buses" }, { id = "m", name = "Metro" }]
product = [
  { id = "bus", price = "1.50" },
  { id = "ferry", price = "4.00" },
  { id = "near", price = "2.00" },
  { id = "far", price = "3.00" },
]
place = [
  { id = "A", name = "Alpha", lat = 1, lon = 2, kind = "station" },
  { id = "B", name = "Beta", lat = 1, lon = 2, kind = "station" },
  { id = "C", name = "Gamma", lat = 1, lon = 2, kind = "station" },
  { id = "s", name = "Stop", lat = 0, lon = 0, kind = "stop" },
]
route = [
  { id = "7", name = "Bus 7", mode = "bus", operator = "b", group = "bus", product = "bus" },
  { id = "F", name = "Ferry", mode = "ferry", operator = "m", group = "ferry", product = "ferry" },
  { id = "M", name = "Metro", mode = "subway", operator = "m", group = "metro" },
]

[[transfer]]
id = "change"
from = ["bus", "metro"]
to = ["bus", "metro"]
limit_s = 3600
legs_max = 3
price = "free"

[gate]
group = "metro"
journey_limit_s = 7200

[[exchange]]
currency = "CHF"
rates = [{ from = 2020-01-01, rate = "0.9432" }]
rounding = "half-up"
unit = "0.05"

[matrix]
to = ["A", "B", "C"]
[matrix.from]
A = ["near", "near", "far"]
B = ["near", "near", "near"]
C = ["far", "near", "near"]
"#;

pub(super) fn rules() -> Rules {
    let tariff = fare::Tariff::parse_in(CITY, None, &|_| Some(ZoneOffsets::fixed(0)));
    Rules::new(fare::TariffSet::new(tariff.unwrap_or_else(|found| panic!("{found:#?}"))))
}

/// What happens to a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ride {
    Board(RouteIx),
    Entry(PlaceIx),
    Exit(PlaceIx),
    Load(u32),
}

/// A card's transactions, as the card itself would have written them, by counter from 1.
#[derive(Debug, Clone)]
pub(super) struct History {
    pub(super) records: Vec<CardRecord>,
    waited_s: u32,
    routes: Vec<Option<RouteIx>>,
}

impl History {
    pub(super) fn issued(balance: i32) -> Self {
        let issue = CardRecord {
            kind: RecordKind::Issue,
            ctr: Ctr(1),
            balance,
            amount: balance.unsigned_abs(),
            at_s: START_S,
            validator: ValidatorId::DEPOT,
            place: PlaceIx::NONE,
            load_seq: LoadSeq(0),
            tariff: TariffVersion(1),
            valid_until: ValidUntil::Always,
            class: RiderClass(0),
            run: None,
            products: None,
            layout: CardLayout::Plain,
        };
        Self { records: alloc::vec![issue], waited_s: 0, routes: alloc::vec![None] }
    }

    /// The same with a purse that only the card's profile knows: in francs.
    pub(super) fn in_francs(balance: i32) -> Self {
        let mut history = Self::issued(balance);
        history.records[0].layout = CardLayout::OtherCurrency;
        history
    }

    pub(super) fn newest(&self) -> &CardRecord {
        self.records.last().unwrap()
    }

    /// One honest transaction, 10 minutes after the one before, at validator `10 × ctr`.
    pub(super) fn ride(&mut self, rules: &Rules, ride: Ride) {
        let before = *self.newest();
        let ctr = before.ctr.0 + 1;
        let (kind, place, route) = match ride {
            Ride::Board(route) => (RecordKind::Board, PlaceIx(3), Some(route)),
            Ride::Entry(place) => (RecordKind::Entry, place, None),
            Ride::Exit(place) => (RecordKind::Exit, place, None),
            Ride::Load(_) => (RecordKind::Load, PlaceIx::NONE, None),
        };
        let blank = CardRecord {
            kind,
            ctr: Ctr(ctr),
            at_s: before.at_s + 600 + self.waited_s,
            validator: ValidatorId::new(10 * ctr).unwrap(),
            place,
            amount: 0,
            ..before
        };
        let (amount, run) = match (
            ride,
            rules.price(
                &CardTransaction {
                    before,
                    after: blank,
                    products: None,
                    loaded: None,
                    counters: None,
                    companions: Companions::NONE,
                    purse: purse_of(&before),
                },
                route,
            ),
        ) {
            (Ride::Load(amount), _) => (amount, before.run),
            (_, Priced::Quote(quote)) => {
                (u32::try_from(quote.debit.minor()).unwrap(), quote.run_after)
            }
            // Not possible here (an exit without entry): the rider does not ride.
            (_, Priced::Refused(_) | Priced::NotAFare) => return,
        };
        let after = CardRecord { amount, run, ..blank };
        let balance = before.balance + i32::try_from(after.delta()).unwrap();
        self.records.push(CardRecord { balance, ..after });
        self.routes.push(route);
    }

    /// The rides from here on are later by as much.
    pub(super) const fn wait(&mut self, s: u32) {
        self.waited_s = s;
    }

    pub(super) fn transaction(&self, ctr: u32) -> CardTransaction {
        let at = ctr as usize - 1;
        CardTransaction {
            before: self.records[at - 1],
            after: self.records[at],
            products: None,
            loaded: None,
            counters: None,
            companions: Companions::NONE,
            purse: purse_of(&self.records[at]),
        }
    }

    /// The log entry of a transaction, with `event` made of it.
    pub(super) fn entry(
        &self,
        ctr: u32,
        seq: u64,
        event: impl Fn(CardTransaction) -> TapEvent,
    ) -> TapRecord {
        let transaction = self.transaction(ctr);
        entry_of(&transaction, self.routes[ctr as usize - 1], seq, event(transaction))
    }

    pub(super) fn committed(&self, ctr: u32) -> TapRecord {
        self.entry(ctr, 1, committed)
    }
}

/// What the profiles of these tests' cards name.
pub(super) fn purse_of(record: &CardRecord) -> Option<Currency> {
    record.layout.profile_names_currency().then(francs)
}

pub(super) fn francs() -> Currency {
    Currency::parse("CHF").unwrap()
}

pub(super) fn committed(transaction: CardTransaction) -> TapEvent {
    TapEvent::Committed { transaction, proof: CardProof([1; 8]) }
}

pub(super) fn confirmed(transaction: CardTransaction) -> TapEvent {
    confirmed_as(Served::Yes, transaction)
}

pub(super) fn unserved(transaction: CardTransaction) -> TapEvent {
    confirmed_as(Served::No, transaction)
}

pub(super) fn confirmed_by_an_older(transaction: CardTransaction) -> TapEvent {
    confirmed_as(Served::Unsaid, transaction)
}

fn confirmed_as(served: Served, transaction: CardTransaction) -> TapEvent {
    TapEvent::Confirmed { of: TapSeq(1), transaction, proof: CardProof([1; 8]), served }
}

pub(super) fn in_doubt(transaction: CardTransaction) -> TapEvent {
    TapEvent::InDoubt { transaction }
}

pub(super) fn voided(transaction: CardTransaction) -> TapEvent {
    TapEvent::Voided { of: TapSeq(1), seen: transaction.before }
}

pub(super) fn entry_of(
    transaction: &CardTransaction,
    route: Option<RouteIx>,
    seq: u64,
    event: TapEvent,
) -> TapRecord {
    let after = &transaction.after;
    let role = match after.kind {
        RecordKind::Entry => TapRole::Entry,
        RecordKind::Exit => TapRole::Exit,
        RecordKind::Issue
        | RecordKind::Board
        | RecordKind::Load
        | RecordKind::LoadInJourney
        | RecordKind::Retire => TapRole::Board,
    };
    TapRecord {
        validator: after.validator,
        epoch: Epoch(1),
        seq: TapSeq(seq),
        card: Some(CARD),
        tapped_at: after.at(),
        clock: ClockQuality::Ntp,
        role,
        place: after.place,
        route,
        tariff: after.tariff,
        order: None,
        place_age_s: None,
        hotlist_version: None,
        duration_ms: 200,
        event,
    }
}

/// The same counter with other contents: a copy of the card, ridden elsewhere.
pub(super) fn forked(transaction: CardTransaction, later_s: u32) -> CardTransaction {
    let after = CardRecord {
        at_s: transaction.after.at_s + later_s,
        validator: ValidatorId::new(100_000 + 1000 * transaction.after.ctr.0 + later_s).unwrap(),
        amount: transaction.after.amount + 100,
        balance: transaction.after.balance - 100,
        ..transaction.after
    };
    CardTransaction { after, ..transaction }
}

/// Everything a store would hold, in memory. Applies each step at once and checks what must
/// always hold.
#[derive(Debug, Clone, Default)]
pub(super) struct Depot {
    pub(super) state: CardState,
    /// Who issues cards here.
    pub(super) issuer: Option<IssuerId>,
    pub(super) books: Touched,
    records: BTreeMap<Ctr, KnownRecord>,
    taps: BTreeMap<TapRef, TapRecord>,
    pub(super) open: BTreeMap<ExceptionId, Exception>,
    pub(super) opened: BTreeSet<ExceptionId>,
    pub(super) resolved: BTreeSet<ExceptionId>,
    pub(super) replayed: u32,
}

impl Known for Depot {
    type Error = Infallible;

    fn record(&self, _: CardId, ctr: Ctr) -> Result<Option<KnownRecord>, Infallible> {
        Ok(self.records.get(&ctr).copied())
    }

    fn cleared(&self, tap: TapRef) -> Result<bool, Infallible> {
        Ok(self.taps.contains_key(&tap))
    }

    fn transactions(&self, _: CardId, ctr: Ctr) -> Result<Vec<TapRecord>, Infallible> {
        let of_ctr = |tap: &&TapRecord| transaction(tap).is_some_and(|t| t.after.ctr == ctr);
        Ok(self.taps.values().filter(of_ctr).copied().collect())
    }
}

impl Depot {
    pub(super) fn clear(&mut self, rules: &Rules, tap: &TapRecord) -> Cleared {
        let cleared = clear(&self.state, tap, now(), rules, self).unwrap();
        self.take(&cleared);
        self.taps.insert(TapRef::of(tap), *tap);
        cleared
    }

    pub(super) fn issue(&mut self, rules: &Rules, issue: &CardRecord) -> Cleared {
        let issue =
            Issue { card: CARD, record: *issue, purse: purse_of(issue), issuer: self.issuer };
        let cleared = register_issue(&self.state, &issue, now(), rules, self).unwrap();
        self.take(&cleared);
        cleared
    }

    /// Ends every hold that is open.
    pub(super) fn expire(&mut self, rules: &Rules) {
        let open: Vec<_> = self.state.doubts().map(|doubt| doubt.tap).collect();
        for tap in open {
            let cleared = expire(&self.state, CARD, tap, now(), rules, self).unwrap();
            self.take(&cleared.unwrap());
            assert_eq!(expire(&self.state, CARD, tap, now(), rules, self), Ok(None), "once");
        }
    }

    pub(super) fn take(&mut self, cleared: &Cleared) {
        for transfer in &cleared.transfers {
            let outcome = apply(&mut self.books, transfer);
            assert_eq!(outcome, Ok(ledger::Outcome::Applied), "{transfer:?}");
        }
        for known in &cleared.records {
            self.records.insert(known.record.ctr, *known);
        }
        for change in &cleared.exceptions {
            match change {
                ExceptionChange::Opened(item) => {
                    let is_new = self.opened.insert(item.id);
                    assert!(is_new || self.may_open_again(cleared, item), "opened twice: {item:?}");
                    self.resolved.remove(&item.id);
                    self.open.insert(item.id, item.clone());
                }
                ExceptionChange::Changed(item) => {
                    assert!(self.open.insert(item.id, item.clone()).is_some(), "{item:?}");
                }
                ExceptionChange::Resolved { id, .. } => {
                    assert!(self.open.remove(id).is_some(), "resolved what is not open");
                    assert!(self.resolved.insert(*id));
                }
            }
        }
        assert_eq!(self.opened.len(), self.resolved.len() + self.open.len(), "REC-14");
        self.replayed += u32::from(cleared.outcome == crate::Outcome::Replayed);
        self.state = cleared.state.clone();
        let bytes = self.state.to_bytes().unwrap();
        assert_eq!(CardState::from_bytes(&bytes), Ok(self.state.clone()));
        trial_balance(self.books.balances()).unwrap();
        if let Some(shadow) = self.state.shadow() {
            assert_eq!(self.balance(Account::Card(CARD)), shadow, "the account is the shadow");
        }
    }

    /// What a charge without passage cost is weighed against the next tap, and of a copied card
    /// another tap can turn out to be the next one.
    fn may_open_again(&self, cleared: &Cleared, item: &Exception) -> bool {
        let is_copied = !cleared.state.forks().is_empty();
        let was_resolved = self.resolved.contains(&item.id);
        item.kind == ExceptionKind::ChargedWithoutPassage && is_copied && was_resolved
    }

    pub(super) fn balance(&self, account: Account) -> i64 {
        self.books.balance(&account.id(self.state.currency(rules_currency()))).posted()
    }

    /// Every account with something on it, posted and held, which is what REC-1 compares.
    pub(super) fn standing(&self) -> Vec<(AccountId, i64, i64, i64)> {
        let accounts = self.books.balances().filter(|(_, balance)| !balance.is_zero());
        accounts.map(|(id, b)| (*id, b.posted(), b.debits_pending, b.credits_pending)).collect()
    }
}

fn rules_currency() -> Currency {
    Currency::parse("EUR").unwrap()
}

pub(super) fn now() -> Timestamp {
    Timestamp::from_secs(1_900_000_000)
}

/// A history such as `20.00, bus 7, in A, out C, load 5.00`, issued with the first amount: in
/// francs, where it begins `CHF 20.00`.
pub(super) fn history(rules: &Rules, text: &str) -> History {
    let tariff = rules.tariffs().newest();
    let amount =
        |text: &str| i32::try_from(Money::parse(text, rules.currency()).unwrap().minor()).unwrap();
    let mut words = text.split(", ");
    let opening = words.next().unwrap();
    let mut history = match opening.strip_prefix("CHF ") {
        Some(opening) => History::in_francs(amount(opening)),
        None => History::issued(amount(opening)),
    };
    for word in words {
        let ride = match word.split_once(' ').unwrap() {
            ("bus" | "ferry", route) => Ride::Board(tariff.route_ix(route).unwrap()),
            ("in", place) => Ride::Entry(tariff.place_ix(place).unwrap()),
            ("out", place) => Ride::Exit(tariff.place_ix(place).unwrap()),
            ("load", text) => Ride::Load(amount(text).unsigned_abs()),
            (other, _) => panic!("no such ride: {other}"),
        };
        let known = history.records.len();
        history.ride(rules, ride);
        assert_eq!(history.records.len(), known + 1, "refused: {word}");
    }
    history
}

/// Delivers `N [what]` line by line and writes down all that each line changed.
pub(super) fn deliver(text: &str, lines: &str) -> String {
    let rules = rules();
    let history = history(&rules, text);
    let mut depot = Depot::default();
    let mut out = String::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (ctr, what) = line.split_once(' ').unwrap_or((line, ""));
        let cleared = if ctr == "issue" {
            depot.issue(&rules, &history.records[0])
        } else {
            let ctr = ctr.parse().unwrap();
            let tap = match what {
                "" => history.committed(ctr),
                "doubt" => history.entry(ctr, 1, in_doubt),
                "doubtful issue" => history.entry(ctr, 1, |mut t| {
                    t.after.kind = RecordKind::Issue;
                    in_doubt(t)
                }),
                "doubt in kroner" => {
                    history.entry(ctr, 1, |t| in_doubt(properties::in_purse(kroner(), t)))
                }
                "purse not read" => {
                    history.entry(ctr, 5, |t| committed(CardTransaction { purse: None, ..t }))
                }
                "in kroner" => {
                    history.entry(ctr, 6, |t| committed(properties::in_purse(kroner(), t)))
                }
                "confirmed" => history.entry(ctr, 2, confirmed),
                "unserved" => history.entry(ctr, 2, unserved),
                "confirmed by an older" => history.entry(ctr, 2, confirmed_by_an_older),
                "voided" => history.entry(ctr, 2, voided),
                "refused" => history.entry(ctr, 1, |t| TapEvent::Refused {
                    reason: Refusal::InsufficientValue,
                    seen: Some(t.before),
                }),
                "clone" => cloned(&history, ctr, 60),
                "older clone" => cloned(&history, ctr, 0),
                "overcharged" => history.entry(ctr, 1, |t| committed(forked(t, 0))),
                "forged" => history.entry(ctr, 1, |mut t| {
                    t.after.balance += 100;
                    committed(t)
                }),
                "backwards" => history.entry(ctr, 1, |t| {
                    committed(CardTransaction {
                        before: t.after,
                        after: t.before,
                        products: None,
                        loaded: None,
                        counters: None,
                        companions: Companions::NONE,
                        purse: t.purse,
                    })
                }),
                other => panic!("no such delivery: {other}"),
            };
            depot.clear(&rules, &tap)
        };
        write_step(&mut out, line, &cleared);
    }
    out.push_str("books:\n");
    for (id, posted, debits, credits) in depot.standing() {
        let account = Account::parse(&id).unwrap();
        let money = |minor| Money::new(minor, rules_currency()).decimal();
        write!(out, "  {account} {}", money(posted)).unwrap();
        if (debits, credits) != (0, 0) {
            write!(out, " held -{} +{}", money(debits), money(credits)).unwrap();
        }
        out.push('\n');
    }
    out
}

fn cloned(history: &History, ctr: u32, later_s: u32) -> TapRecord {
    let mut transaction = forked(history.transaction(ctr), later_s);
    if later_s == 0 {
        transaction.after.at_s -= 60;
    }
    let entry = history.committed(ctr);
    entry_of(&transaction, entry.route, 1, committed(transaction))
}

fn write_step(out: &mut String, line: &str, cleared: &Cleared) {
    write!(out, "{line} => {}", cleared.outcome.word()).unwrap();
    if cleared.recovered > 0 {
        write!(out, ", {} recovered", cleared.recovered).unwrap();
    }
    out.push('\n');
    for t in &cleared.transfers {
        let (debit, credit) =
            (Account::parse(&t.debit).unwrap(), Account::parse(&t.credit).unwrap());
        let kind = match t.kind {
            Kind::Direct => "",
            Kind::Pending => " held",
            Kind::Post(_) => " posted",
            Kind::Void(_) => " voided",
        };
        let amount = Money::new(t.amount, t.currency).decimal();
        writeln!(out, "    {amount} {debit} -> {credit}{kind}").unwrap();
    }
    for change in &cleared.exceptions {
        match change {
            ExceptionChange::Opened(item) => {
                writeln!(out, "    + {} {}: {}", item.kind.word(), stake(item), finding(item))
            }
            ExceptionChange::Changed(item) => {
                writeln!(out, "    ~ {} {}: {}", item.kind.word(), stake(item), finding(item))
            }
            ExceptionChange::Resolved { kind, reason, .. } => {
                writeln!(out, "    - {}: {reason}", kind.word())
            }
        }
        .unwrap();
    }
}

/// A long one in two lines.
fn finding(item: &Exception) -> String {
    if item.kind == ExceptionKind::ChargedWithoutPassage {
        return item.finding.replace("; ", ";\n          ");
    }
    item.finding.clone()
}

fn stake(item: &Exception) -> String {
    item.amount.map_or_else(String::new, Money::decimal)
}

/// What an error is, for tables.
pub(super) fn error(result: Result<Cleared, ClearError<Infallible>>) -> String {
    result.map_or_else(|e| e.to_string(), |cleared| format!("{:?}", cleared.outcome))
}
