//! Books made up for the tests of the pages and for the gallery: a small city on one afternoon.
//!
//! Everything follows from the numbers given to [`Fixture::new`]; nothing is random. Figures are
//! counted from the same lists that the pages show, as every store must do it.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use model::{
    CardId, CardRecord, ClockQuality, Ctr, Currency, Epoch, LoadSeq, Money, PlaceIx, RecordKind,
    Refusal, RiderClass, RouteIx, TapRole, TapSeq, TariffVersion, Timestamp, ValidUntil,
    ValidatorId,
};

use super::views::{
    AccountRow, Books, BooksError, CardAccess, CardEntry, CardFacts, CardHandle, CardRef,
    CardStanding, ChargeStep, Closed, DrainState, EpochFacts, Evidence, ExceptionFacts,
    ExceptionFilter, ExceptionKind, ExceptionRow, FleetRow, Gap, KindTally, LinkState, Minute,
    Outcome, Page, ServiceState, TapFilter, TapRow, TapSums, ValidatorFacts,
};

/// Names of the places, in the order of their indexes.
pub(crate) const PLACES: [&str; 16] = [
    "Harbour", "Fish Market", "Old Town", "Museum", "Central Station", "University", "Observatory",
    "North Gate", "Mill Lane", "Hospital", "Stadium", "Airport", "Linden Square", "Opera",
    "Tram Depot", "시청 City Hall",
];
/// Names of the routes.
pub(crate) const ROUTES: [&str; 4] = ["M1", "M2", "Bus 12", "Bus 40"];
/// Names of the rider classes.
pub(crate) const CLASSES: [&str; 3] = ["Adult", "Child", "Senior"];
/// A card with everything that can happen to one.
pub(crate) const CARD: CardId = CardId([0x04, 0xa1, 0xb2, 0xc3, 0xd4, 0x7e, 0x19]);
/// Its handle.
pub(crate) const HANDLE: CardHandle = CardHandle(0x9f3c_51d2_0b7e_4418);

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

/// The made-up books.
pub(crate) struct Fixture {
    now: Timestamp,
    fleet: Vec<FleetRow>,
    taps: Mutex<Vec<TapRow>>,
    exceptions: Vec<ExceptionFacts>,
    /// Who looked at which card.
    pub(crate) accesses: Mutex<Vec<CardAccess>>,
}

/// A number that looks random and depends on `n` alone (splitmix64).
fn mix(n: u64) -> u64 {
    let z = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn small(n: u64, below: u64) -> u16 {
    u16::try_from(mix(n) % below).unwrap_or(0)
}

fn eur(minor: i64) -> Money {
    Money::new(minor, Currency::parse("EUR").expect("the euro is in the table"))
}

fn validator(n: u64) -> ValidatorId {
    u32::try_from(n).ok().and_then(ValidatorId::new).unwrap_or(ValidatorId::DEPOT)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn card_ref(n: u64) -> CardRef {
    if n == 0 {
        return CardRef { handle: HANDLE, masked: CARD.to_string() };
    }
    CardRef { handle: CardHandle(mix(n)), masked: format!("…{:04x}", mix(n + 7) & 0xffff) }
}

impl Fixture {
    /// So many validators, and so many taps in the two hours before `now`.
    pub(crate) fn new(now: Timestamp, validators: u64, taps: u64) -> Self {
        let fleet: Vec<_> = (1..=validators).map(|n| fleet_row(n, now)).collect();
        let ago = |i: u64| Timestamp(now.0 - (taps - i) * 2 * HOUR / taps.max(1));
        let taps = (0..taps).map(|i| tap_row(i + 1, 1 + mix(i) % validators, ago(i))).collect();
        Self {
            now,
            fleet,
            taps: Mutex::new(taps),
            exceptions: exceptions(now),
            accesses: Mutex::default(),
        }
    }

    /// Books one more tap, as the gallery's city goes on.
    #[cfg_attr(test, expect(dead_code, reason = "only the gallery goes on"))]
    pub(crate) fn go_on(&self, at: Timestamp) -> TapRow {
        let mut taps = lock(&self.taps);
        let no = taps.last().map_or(1, |tap| tap.no + 1);
        let row = tap_row(no, 1 + mix(no) % (self.fleet.len() as u64), at);
        taps.push(row.clone());
        row
    }
}

fn fleet_row(n: u64, now: Timestamp) -> FleetRow {
    let ago = |ms: u64| Timestamp(now.0.saturating_sub(ms));
    let (link, since) = match n % 211 {
        17 => (LinkState::Lost, 47 * MINUTE + n * 1000),
        61 if n % 2 == 0 => (LinkState::Late, 95_000),
        99 if n > 5000 => (LinkState::NeverSeen, 30 * 24 * HOUR),
        _ => (LinkState::Connected, 6 * HOUR + mix(n) % HOUR),
    };
    let (drain, unsent) = match (link, n % 97) {
        (LinkState::Lost, _) if n % 2 == 1 => (DrainState::Stuck, 40 + mix(n) % 400),
        (LinkState::NeverSeen, _) => (DrainState::Unknown, 0),
        (_, 5) => (DrainState::Draining, 1 + mix(n) % 30),
        _ => (DrainState::Empty, 0),
    };
    let (service, reason) = match n % 499 {
        33 => (ServiceState::Out, "tariff older than 14 days"),
        81 => (ServiceState::Degraded, "reader answers slowly"),
        _ if link == LinkState::NeverSeen => (ServiceState::Unknown, ""),
        _ => (ServiceState::InService, ""),
    };
    let bus = n % 3 == 0;
    let known = link != LinkState::NeverSeen;
    FleetRow {
        id: validator(n),
        role: known.then_some(match n % 3 {
            0 => TapRole::Board,
            1 => TapRole::Entry,
            _ => TapRole::Exit,
        }),
        place: known.then(|| PlaceIx(small(n, PLACES.len() as u64))),
        route: bus.then(|| RouteIx(2 + small(n, 2))),
        link,
        link_since: ago(since),
        drain,
        unsent,
        oldest_unsent: (unsent > 0).then(|| ago(since.min(50 * MINUTE))),
        service,
        service_reason: reason.to_owned(),
        last_tap: known.then(|| ago(1_000 + mix(n) % (4 * MINUTE))),
        last_heard: known.then(|| ago(mix(n) % 20_000)),
        tap_p95_ms: known.then(|| 140 + u32::from(small(n, 120)) + u32::from(n % 499 == 81) * 500),
        tariff: known.then_some(TariffVersion(if n % 499 == 33 { 6 } else { 7 })),
        clock_offset_ms: known
            .then(|| if n % 350 == 12 { -65_000 } else { i64::from(small(n, 40)) - 20 }),
        software: if n % 7 == 0 { "0.1.0-rc2" } else { "0.1.0" }.to_owned(),
    }
}

fn tap_row(no: u64, by: u64, at: Timestamp) -> TapRow {
    let (outcome, reason) = match mix(no) % 100 {
        0..=93 => (Outcome::Committed, None),
        94 => (Outcome::Refused, Some(Refusal::Unreadable)),
        95 | 96 => (Outcome::Refused, Some(Refusal::InsufficientValue)),
        97 => (Outcome::Refused, Some(Refusal::ALL[usize::from(small(no + 3, 11))])),
        98 => (Outcome::InDoubt, None),
        _ => (Outcome::Confirmed, None),
    };
    let charged = match (outcome, by % 3) {
        (Outcome::Refused, _) | (_, 1) => 0,
        _ => 240 + i64::from(small(no, 5)) * 40,
    };
    let known = reason.is_none_or(|r| r > Refusal::ForeignCard);
    TapRow {
        no,
        validator: validator(by),
        epoch: Epoch(1 + u32::try_from(by % 2).unwrap_or(0)),
        seq: TapSeq(2_000 + no),
        tapped_at: Timestamp(at.0 - 300 - u64::from(no % 50 == 9) * 14 * MINUTE),
        clock: ClockQuality::Ntp,
        received_at: at,
        card: known.then(|| card_ref(1 + mix(no) % 400)),
        role: match by % 3 {
            0 => TapRole::Board,
            1 => TapRole::Entry,
            _ => TapRole::Exit,
        },
        place: PlaceIx(small(by, PLACES.len() as u64)),
        route: (by % 3 == 0).then(|| RouteIx(2 + small(by, 2))),
        outcome,
        reason,
        charged: eur(charged),
        balance: (outcome != Outcome::Refused).then(|| eur(300 + i64::from(small(no, 4000)))),
        duration_ms: 120 + small(no, 110),
        tariff: TariffVersion(7),
    }
}

fn record(kind: RecordKind, ctr: u32, balance: i32, amount: u32, at: Timestamp) -> CardRecord {
    CardRecord {
        kind,
        ctr: Ctr(ctr),
        balance,
        amount,
        at_s: u32::try_from(at.secs()).unwrap_or(0),
        validator: validator(u64::from(ctr)),
        place: PlaceIx(4),
        load_seq: LoadSeq(3),
        tariff: TariffVersion(7),
        valid_until: ValidUntil::Month(35),
        class: RiderClass(0),
        run: None,
    }
}

fn step(label: &str, detail: &str, rule: &str, minor: i64) -> ChargeStep {
    ChargeStep {
        label: label.to_owned(),
        detail: detail.to_owned(),
        rule: rule.to_owned(),
        amount: eur(minor),
    }
}

/// The history of the card with everything, highest counter first.
fn history(now: Timestamp) -> Vec<CardEntry> {
    use RecordKind::{Board, Entry, Exit, Issue, Load};
    let ago = |minutes: u64| Timestamp(now.0.saturating_sub(minutes * MINUTE));
    let entry = |kind, ctr: u32, balance: i32, amount: u32, minutes, place, steps| {
        let at = ago(minutes);
        let role = match kind {
            Entry => TapRole::Entry,
            Exit => TapRole::Exit,
            Board | Load | Issue => TapRole::Board,
        };
        let mut tap = tap_row(u64::from(ctr) * 3, u64::from(ctr), at);
        tap.card = Some(card_ref(0));
        tap.role = role;
        tap.place = PlaceIx(place);
        tap.route = (kind == Board).then_some(RouteIx(2));
        tap.outcome = Outcome::Committed;
        tap.reason = None;
        tap.tapped_at = at;
        tap.charged = eur(i64::from(amount));
        tap.balance = Some(eur(i64::from(balance)));
        let after = record(kind, ctr, balance, amount, at);
        CardEntry { tap, before: None, after: Some(after), steps, gap: None }
    };

    let opened = || vec![step("Journey opened", "at most 5.20 EUR", "gate.maximum_fare", 0)];
    let mut entries = vec![
        entry(Entry, 61, 1240, 0, 6, 0, opened()),
        entry(
            Board,
            60,
            1240,
            120,
            34,
            4,
            vec![
                step("Base fare", "Bus 12, one boarding", "bus-single", 240),
                step("Transfer", "42 min after the first ride, 60 allowed", "transfer-60", -120),
            ],
        ),
        entry(
            Exit,
            59,
            1360,
            360,
            76,
            4,
            vec![step("Harbour to Central Station", "tap-in to tap-out", "rail-zone-2", 360)],
        ),
        entry(Entry, 58, 1720, 0, 91, 0, opened()),
        entry(
            Entry,
            54,
            2440,
            520,
            26 * 60,
            7,
            vec![
                step("Missing tap-out", "from Observatory, 20 Nov", "gate.maximum_fare", 520),
                step("Journey opened", "at most 5.20 EUR", "gate.maximum_fare", 0),
            ],
        ),
        entry(
            Board,
            53,
            2960,
            0,
            27 * 60,
            9,
            vec![
                step("Base fare", "Bus 40, one boarding", "bus-single", 240),
                step("Transfer", "11 min after the first ride, 60 allowed", "transfer-60", -240),
            ],
        ),
    ];
    entries[3].gap = Some(Gap { from: Ctr(55), through: Ctr(57), net: eur(720) });
    entries
}

fn exceptions(now: Timestamp) -> Vec<ExceptionFacts> {
    let open: [(ExceptionKind, u64, Option<i64>); 9] = [
        (ExceptionKind::CardGap, 95, Some(720)),
        (ExceptionKind::InDoubt, 4, Some(240)),
        (ExceptionKind::InDoubt, 9, Some(360)),
        (ExceptionKind::InDoubt, 51, Some(120)),
        (ExceptionKind::SequenceGap, 47, None),
        (ExceptionKind::SequenceGap, 140, None),
        (ExceptionKind::FareMismatch, 210, Some(40)),
        (ExceptionKind::Fork, 380, Some(1_960)),
        (ExceptionKind::Quarantined, 1_600, None),
    ];
    let mut all: Vec<ExceptionFacts> = (1..=231)
        .map(|id| {
            let kind = [ExceptionKind::InDoubt, ExceptionKind::CardGap, ExceptionKind::SequenceGap]
                [usize::from(small(id, 3))];
            let opened_at = Timestamp(now.0.saturating_sub((300 - id) * 30 * MINUTE));
            let reason = match kind {
                ExceptionKind::InDoubt => "decided by the card's next tap",
                _ => "the late records arrived",
            };
            let at = Timestamp(opened_at.0 + 20 * MINUTE);
            let closed = Some(Closed { at, reason: reason.to_owned() });
            exception(id, kind, opened_at, Some(240), closed)
        })
        .collect();
    for (id, (kind, minutes, amount)) in (232..).zip(open) {
        let opened_at = Timestamp(now.0.saturating_sub(minutes * MINUTE));
        all.push(exception(id, kind, opened_at, amount, None));
    }
    all
}

fn exception(
    id: u64,
    kind: ExceptionKind,
    opened_at: Timestamp,
    amount: Option<i64>,
    closed: Option<Closed>,
) -> ExceptionFacts {
    let of_card = !matches!(kind, ExceptionKind::SequenceGap | ExceptionKind::Quarantined);
    let card = of_card.then(|| card_ref(if kind == ExceptionKind::CardGap { 0 } else { id }));
    let piece = |title: &str, place: u16, by: u64, balance: i32, amount: u32| {
        let mut tap = tap_row(id * 2 + by, by, opened_at);
        tap.card.clone_from(&card);
        let mut record = record(RecordKind::Board, 17, balance, amount, opened_at);
        record.place = PlaceIx(place);
        record.validator = tap.validator;
        Evidence {
            title: title.to_owned(),
            tap: Some(tap),
            record: Some(record),
            notes: vec![("Card proof".to_owned(), "holds".to_owned())],
        }
    };
    let (finding, evidence) = match kind {
        ExceptionKind::Fork => (
            "Counter 17 of this card was used twice: at Museum for 2.40 EUR and at Stadium for \
             3.60 EUR.",
            vec![piece("First record", 3, 12, 760, 240), piece("Second record", 10, 305, 640, 360)],
        ),
        ExceptionKind::CardGap => (
            "Records 55 to 57 of this card are missing; together they paid 7.20 EUR.",
            vec![piece("Before the gap", 7, 54, 2440, 520), piece("After the gap", 0, 58, 1720, 0)],
        ),
        _ => ("An item of this kind was found.", vec![piece("Record", 3, 12, 760, 240)]),
    };
    ExceptionFacts {
        row: ExceptionRow {
            id,
            kind,
            amount: amount.map(eur),
            opened_at,
            closed,
            card,
            validator: (!of_card || id.is_multiple_of(2)).then(|| validator(1 + id % 40)),
        },
        finding: finding.to_owned(),
        evidence,
    }
}

fn paged<T: Clone>(rows: &[T], page: Page, number: impl Fn(&T) -> u64) -> Vec<T> {
    let below = rows.iter().rev().filter(|row| page.before.is_none_or(|b| number(row) < b));
    below.take(page.limit as usize).cloned().collect()
}

impl Books for Fixture {
    fn fleet(&self) -> Result<Vec<FleetRow>, BooksError> {
        Ok(self.fleet.clone())
    }

    fn fleet_some(&self, ids: &[ValidatorId]) -> Result<Vec<FleetRow>, BooksError> {
        let taps = lock(&self.taps);
        let rows = self.fleet.iter().filter(|row| ids.contains(&row.id)).cloned();
        Ok(rows
            .map(|row| {
                let newest = taps.iter().rev().take(500).find(|tap| tap.validator == row.id);
                let last_tap = newest.map_or(row.last_tap, |tap| Some(tap.tapped_at));
                FleetRow { last_tap, ..row }
            })
            .collect())
    }

    fn validator(&self, id: ValidatorId) -> Result<Option<ValidatorFacts>, BooksError> {
        let row = self.fleet.iter().find(|row| row.id == id).cloned();
        Ok(row.map(|row| {
            let recorded = 2_000 + mix(u64::from(id.number())) % 3_000;
            let gap = row.drain == DrainState::Stuck;
            let booked = recorded - row.unsent;
            let missing = if gap { vec![(TapSeq(1_201), TapSeq(1_244))] } else { Vec::new() };
            let acked = if gap { 1_200 } else { booked };
            let epochs = vec![EpochFacts {
                epoch: Epoch(2),
                acked_through: TapSeq(acked),
                booked_through: TapSeq(booked),
                recorded_through: TapSeq(recorded),
                missing,
                duplicates: 12,
            }];
            ValidatorFacts { row, clock: ClockQuality::Ntp, epochs }
        }))
    }

    fn taps(&self, filter: &TapFilter, page: Page) -> Result<Vec<TapRow>, BooksError> {
        let rows: Vec<_> = lock(&self.taps).iter().filter(|r| filter.holds(r)).cloned().collect();
        Ok(paged(&rows, page, |row| row.no))
    }

    fn tap_sums(&self, filter: &TapFilter) -> Result<TapSums, BooksError> {
        let mut sums = TapSums { charged: vec![eur(0)], ..TapSums::default() };
        let mut durations = Vec::new();
        for row in lock(&self.taps).iter().filter(|row| filter.holds(row)) {
            *sums.outcomes.entry(row.outcome).or_default() += 1;
            if let Some(reason) = row.reason {
                *sums.reasons.entry(reason).or_default() += 1;
            }
            sums.charged[0] = sums.charged[0].checked_add(row.charged).unwrap_or(sums.charged[0]);
            durations.push(row.duration_ms);
        }
        durations.sort_unstable();
        let at = durations.len() * 95 / 100;
        sums.duration_p95_ms = durations.get(at).copied().map(u32::from);
        Ok(sums)
    }

    fn find_card(&self, number: CardId) -> Result<Option<CardHandle>, BooksError> {
        Ok((number == CARD).then_some(HANDLE))
    }

    fn card(&self, handle: CardHandle) -> Result<Option<CardFacts>, BooksError> {
        let known = lock(&self.taps)
            .iter()
            .filter_map(|tap| tap.card.clone())
            .find(|card| card.handle == handle);
        let card = if handle == HANDLE { Some(card_ref(0)) } else { known };
        Ok(card.map(|card| {
            let exceptions = self.exceptions.iter().rev().map(|e| e.row.clone());
            let exceptions = exceptions.filter(|e| e.card.as_ref() == Some(&card)).take(4);
            CardFacts {
                standing: CardStanding::Good,
                class: RiderClass(0),
                valid_until: ValidUntil::Month(35),
                ctr: Ctr(61),
                seen_at: Timestamp(self.now.0 - 6 * MINUTE),
                on_card: eur(1240),
                in_ledger: eur(1240),
                suspense: eur(720),
                in_doubt: eur(0),
                entries: 58,
                exceptions: exceptions.collect(),
                card,
            }
        }))
    }

    fn card_history(&self, handle: CardHandle, page: Page) -> Result<Vec<CardEntry>, BooksError> {
        let mut entries = if handle == HANDLE { history(self.now) } else { Vec::new() };
        entries.reverse();
        Ok(paged(&entries, page, |entry| entry.after.map_or(0, |r| u64::from(r.ctr.0))))
    }

    fn record_access(&self, access: &CardAccess) -> Result<(), BooksError> {
        lock(&self.accesses).push(access.clone());
        Ok(())
    }

    fn exceptions(
        &self,
        filter: &ExceptionFilter,
        page: Page,
    ) -> Result<Vec<ExceptionRow>, BooksError> {
        let rows = self.exceptions.iter().map(|e| e.row.clone()).filter(|row| {
            filter.kind.is_none_or(|kind| kind == row.kind)
                && filter.open.is_none_or(|open| open == row.closed.is_none())
                && (filter.validator.is_none() || filter.validator == row.validator)
        });
        Ok(paged(&rows.collect::<Vec<_>>(), page, |row| row.id))
    }

    fn exception_tally(&self) -> Result<Vec<KindTally>, BooksError> {
        let tally = ExceptionKind::ALL.into_iter().map(|kind| {
            let of_kind = || self.exceptions.iter().map(|e| &e.row).filter(|r| r.kind == kind);
            let open = || of_kind().filter(|row| row.closed.is_none());
            let amount: i64 = open().filter_map(|row| row.amount).map(Money::minor).sum();
            KindTally {
                kind,
                opened: of_kind().count() as u64,
                resolved: of_kind().filter(|row| row.closed.is_some()).count() as u64,
                open: open().count() as u64,
                open_amount: vec![eur(amount)],
                oldest_open: open().map(|row| row.opened_at).min(),
            }
        });
        Ok(tally.collect())
    }

    fn exception(&self, id: u64) -> Result<Option<ExceptionFacts>, BooksError> {
        Ok(self.exceptions.iter().find(|e| e.row.id == id).cloned())
    }

    fn trial_balance(&self) -> Result<Vec<AccountRow>, BooksError> {
        let rows = [
            ("Cards", 4_212, -8_412_240),
            ("Gap suspense", 1, -720),
            ("Fares earned, Metro", 1, -1_204_160),
            ("Fares earned, Bus", 1, -611_080),
            ("Cash and banks", 3, 10_228_200),
        ];
        let row = |(name, accounts, minor): (&str, u64, i64)| AccountRow {
            name: name.to_owned(),
            accounts,
            balance: eur(minor),
        };
        Ok(rows.map(row).to_vec())
    }

    fn taps_by_minute(&self, from: Timestamp, minutes: u32) -> Result<Vec<Minute>, BooksError> {
        let mut by_minute: BTreeMap<u64, Minute> = BTreeMap::new();
        for row in lock(&self.taps).iter().filter(|row| row.received_at >= from) {
            let minute = by_minute.entry((row.received_at.0 - from.0) / MINUTE).or_default();
            match row.outcome {
                Outcome::Committed | Outcome::InDoubt => minute.accepted += 1,
                Outcome::Refused => minute.refused += 1,
                Outcome::Confirmed | Outcome::Voided => {}
            }
        }
        Ok((0..u64::from(minutes)).map(|m| by_minute.get(&m).copied().unwrap_or_default()).collect())
    }
}
