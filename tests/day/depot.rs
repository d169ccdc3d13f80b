//! The depot of the day: the production intake over SQLite on a disk, the hotlist's rules, the
//! closing and the settlement, with a clock that is set by hand.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use blocking::{Cause, Standing};
use clearing::{Issue, Rules};
use depot_server::{
    clock::{Clock, Stopwatch},
    config,
    events::Events,
    float::FloatReport,
    hotlist::{self, HotlistRules},
    intake::{Checker, Message, Pipeline, Workplace, register_cards},
    metrics::Metrics,
    store::{CaseFilter, Store},
    verify::{Report, roots, verify},
    workload::card_keys,
};
use fleet_sync::{DepotName, SigningKey, Topic, verify_ack};
use model::{CardId, Currency, Epoch, TapSeq, Timestamp, ValidatorId};
use rusqlite::{Connection, OpenFlags};

use super::oracle::Item;

/// Cards registered by one commit.
const REGISTERED_AT_ONCE: usize = 5_000;
/// Proposals that are read.
const CASES_MAX: u32 = 1_000_000;

/// The level of the topics.
pub fn depot_name() -> DepotName {
    "day".parse().expect("one topic level")
}

/// The server's key.
pub fn depot_key() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

/// The depot server without its network.
pub struct Depot {
    /// What its parts share.
    pub place: Workplace,
    pipeline: Pipeline,
    hotlist: HotlistRules,
    reader: Connection,
    /// Entries booked.
    pub taps: u64,
    /// Real time spent in booking.
    pub booking: Duration,
}

/// What a rule proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proposed {
    /// When.
    pub at: Timestamp,
    /// Whether nothing has explained it since.
    pub stands: bool,
}

/// What the work items come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Ever opened, resolved and open, by kind.
    pub by_kind: BTreeMap<String, [u64; 3]>,
}

impl Depot {
    /// With empty books under `folder`.
    pub fn new(folder: &Path, rules: Rules, now: Timestamp) -> anyhow::Result<Self> {
        let place = Workplace {
            depot: depot_name(),
            store: Arc::new(Store::open(&folder.join("depot.sqlite"))?),
            rules: rules.into(),
            events: Events::default(),
            metrics: Metrics::default(),
            clock: Clock::manual(now),
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let checker = Checker::new(depot_name(), card_keys());
        let pipeline = Pipeline::new(place.clone(), checker, depot_key(), threads);
        let hotlist = HotlistRules::from(&config::Hotlist::default());
        let reader =
            Connection::open_with_flags(place.store.path(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        Ok(Self { place, pipeline, hotlist, reader, taps: 0, booking: Duration::ZERO })
    }

    /// Registers cards.
    pub fn register(&self, issues: &[Issue]) -> anyhow::Result<()> {
        for some in issues.chunks(REGISTERED_AT_ONCE) {
            register_cards(&self.place, some)?;
        }
        Ok(())
    }

    /// Books a group of messages. Answers what is acked, by validator and life.
    pub fn submit(
        &mut self,
        messages: Vec<Message>,
    ) -> anyhow::Result<Vec<(ValidatorId, Epoch, TapSeq)>> {
        let watch = Stopwatch::start();
        let output = self.pipeline.submit(messages)?;
        self.booking += watch.elapsed();
        self.taps += output.new_taps;
        let key = depot_key().verifying_key();
        let read = |(topic, payload): &(String, Vec<u8>)| {
            let Topic::Ack(to) = Topic::parse(&depot_name(), topic)? else {
                anyhow::bail!("{topic} is no topic of acks")
            };
            let ack = verify_ack(payload, to, &key)?;
            Ok((ack.validator, ack.epoch, ack.acked_through))
        };
        output.acks.iter().map(read).collect()
    }

    /// What the hotlist's rules do by themselves.
    pub fn tick(&self) -> anyhow::Result<()> {
        hotlist::tick(&self.place.store, &self.hotlist, self.place.clock.now())?;
        Ok(())
    }

    /// Everything that waits to be worked out is.
    pub fn settle_dues(&mut self) {
        while self.pipeline.back.settle_due() {}
    }

    /// Cards that the rules ever proposed, by cause.
    pub fn proposed(&self) -> anyhow::Result<BTreeMap<&'static str, BTreeMap<CardId, Proposed>>> {
        let mut found: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for case in self.place.store.hotlist_cases(&CaseFilter::default(), CASES_MAX)? {
            let of = found.entry(Cause::word(case.cause)).or_default();
            let (at, stands) = (case.proposed_at, case.standing == Standing::Proposed);
            let before = of.insert(case.card, Proposed { at, stands });
            anyhow::ensure!(before.is_none(), "{} is proposed twice", case.card);
        }
        Ok(found)
    }

    /// How many cards were ever proposed.
    pub fn cases(&self) -> anyhow::Result<u64> {
        let sql = "SELECT count(*) FROM hotlist_cases";
        let count: i64 = self.reader.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }

    /// The work items that are open.
    pub fn open_items(&self) -> anyhow::Result<Vec<Item>> {
        let mut rows = self.reader.prepare(
            "SELECT kind, card, validator, amount FROM exceptions WHERE closed_at IS NULL",
        )?;
        let items = rows.query_map([], |row| {
            Ok(Item {
                kind: row.get(0)?,
                card: row.get::<_, Option<i64>>(1)?.map(card_of),
                validator: row.get(2)?,
                amount: row.get(3)?,
            })
        })?;
        let mut items: Vec<Item> = items.collect::<Result<_, _>>()?;
        items.sort();
        Ok(items)
    }

    /// How many were opened, by the server's own counters, and what became of them, by its rows.
    pub fn tally(&self) -> anyhow::Result<Tally> {
        let mut tally = Tally::default();
        let mut rows = self
            .reader
            .prepare("SELECT kind, closed_at IS NULL, count(*) FROM exceptions GROUP BY 1, 2")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let (kind, is_open, count): (String, bool, i64) =
                (row.get(0)?, row.get(1)?, row.get(2)?);
            let opened = self.place.metrics.exceptions_opened.with_label_values(&[&kind]).get();
            let of = tally.by_kind.entry(kind).or_insert([opened, 0, 0]);
            of[if is_open { 2 } else { 1 }] += count.unsigned_abs();
        }
        Ok(tally)
    }

    /// What stands on accounts, by code: credits less debits. In one currency.
    pub fn accounts(&self) -> anyhow::Result<BTreeMap<u16, i64>> {
        let mut rows = self
            .reader
            .prepare("SELECT code, credits_posted - debits_posted FROM account_groups")?;
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// What stands on each card's account.
    pub fn shadows(&self) -> anyhow::Result<BTreeMap<CardId, i64>> {
        let mut rows =
            self.reader.prepare("SELECT card, credits_posted - debits_posted FROM cards")?;
        let rows = rows.query_map([], |row| Ok((card_of(row.get(0)?), row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The float of the tariff's currency; there must be no other.
    pub fn float(&self) -> anyhow::Result<FloatReport> {
        let Workplace { store, rules, clock, .. } = &self.place;
        let policy = config::Float::default();
        let mut reports = FloatReport::of_all(store, &policy, rules.currency(), clock.now())?;
        anyhow::ensure!(reports.len() == 1, "money in another currency");
        Ok(reports.remove(0))
    }

    /// What `depot-server verify` and `verify --from-journal` find.
    pub fn verified(&self) -> anyhow::Result<[Report; 2]> {
        let checker = Checker::new(depot_name(), card_keys());
        let (store, rules) = (&self.place.store, &self.place.rules);
        Ok([roots(store, &checker, rules)?, verify(store, &checker, rules)?])
    }

    /// The city's currency.
    pub fn currency(&self) -> Currency {
        self.place.rules.currency()
    }
}

fn card_of(sql: i64) -> CardId {
    CardId(*sql.to_be_bytes().last_chunk().expect("8 bytes hold 7"))
}
