//! Lists for all validators: from the books to retained messages, while the server runs (ADR-0016).
//!
//! What another process writes into the books (`fares publish`) is noticed within a second. A new
//! tariff joins the server's own rules first, so that no tap can be priced by a tariff that the
//! depot does not know. Then the blocks go out, then the manifest, then what nobody needs is
//! cleared. Everything is published again at every connection and every renewal: a broker that
//! lost its store is whole again without anybody noticing it.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ::steering::FailureBound;
use custody::SharedKeys;
use fare::Tariff;
use fleet_sync::{
    DepotName, ListSource, Shelf, ShelfError, SigningKey, Topic, VerifyingKey, open_tariff,
    with_any,
};
use link::Publisher;
use lists::Hotlist;
use model::{ServiceDate, Timestamp};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use wire::{ListKey, ListKind};

use crate::{
    clock::Clock,
    hotlist::{self, HotlistError, HotlistRules},
    intake::{
        Workplace,
        run::{chain, told_to},
    },
    list_keys::{Beginning, Given, Letters, ListKeysError},
    metrics::Metrics,
    orders::{self, OrderError, OrderRules, SealingError},
    rules::LiveRules,
    steering::{self, MadeList, SteeringError},
    store::{Published, Store, StoreError},
};

/// How often the books are asked for something new.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Roll-outs are judged this often: the last words of all validators are read for it.
const JUDGE_EVERY: Duration = Duration::from_secs(10);
/// A manifest is signed anew this often, so that validators can tell silence from calm.
const RENEW_EVERY: Duration = Duration::from_secs(60 * 60);
/// A validator that hears nothing for this long says that its manifest has expired.
const VALID_FOR: Duration = Duration::from_secs(2 * 24 * 60 * 60);
/// A tariff goes on being given out this long after its successor began: journeys that began under
/// it end under it.
const SUCCEEDED_FOR: Duration = Duration::from_secs(8 * 24 * 60 * 60);
/// Retired blocks are cleared again and again this long, because a clearing may be lost.
const CLEARED_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Lists that name cards: these are sealed.
const NAMING_CARDS: [ListKind; 2] = [ListKind::HOTLIST, ListKind::ACTIONS];

/// Why lists cannot go out.
#[derive(Debug, thiserror::Error)]
pub enum ListsError {
    /// The books.
    #[error("the lists cannot be read from the books")]
    Store(#[from] StoreError),
    /// Load orders do not go on.
    #[error("load orders do not go on")]
    Orders(#[from] OrderError),
    /// Decisions about cards to refuse do not go on.
    #[error("the hotlist does not go on")]
    Hotlist(#[from] HotlistError),
    /// What is wanted of validators does not go on.
    #[error("the steering of validators does not go on")]
    Steering(#[from] SteeringError),
    /// What seals them.
    #[error(transparent)]
    Keys(#[from] ListKeysError),
    /// The list of load orders.
    #[error("the list of load orders cannot be made")]
    Sealing(#[from] SealingError),
    /// Too much, or contradicting itself.
    #[error("the lists cannot be published")]
    Shelf(#[from] ShelfError),
    /// A manifest cannot be signed.
    #[error("the manifest cannot be written")]
    Wire(#[from] wire::WireError),
    /// A tariff in the books is none, or was not signed by this depot.
    #[error("published tariff {version} is not given out: {problem}")]
    Tariff {
        /// Which.
        version: model::TariffVersion,
        /// What is wrong.
        problem: String,
    },
}

/// What load orders need besides the books.
pub(crate) struct OrderDesk {
    pub(crate) place: Workplace,
    pub(crate) keys: SharedKeys,
    pub(crate) rules: OrderRules,
}

/// What the task needs.
pub(crate) struct ListDesk {
    /// `None` where validators are given no orders.
    pub(crate) orders: Option<OrderDesk>,
    pub(crate) hotlist: HotlistRules,
    /// From which failure on a roll-out halts.
    pub(crate) failures: FailureBound,
    /// The second in which roll-outs were judged last.
    pub(crate) judged: AtomicU64,
    pub(crate) depot: DepotName,
    pub(crate) store: Arc<Store>,
    pub(crate) rules: LiveRules,
    pub(crate) signing: SigningKey,
    /// The keys that tariffs may be signed with.
    pub(crate) known_as: Vec<VerifyingKey>,
    pub(crate) metrics: Metrics,
    pub(crate) clock: Clock,
    /// Whether lists that name cards are to be sealed, and since when that is looked at.
    pub(crate) sealing: Option<Beginning>,
}

/// The lists as they were last read, and the manifest over them.
#[derive(Debug, Clone, Default)]
struct Edition {
    revision: Option<([u64; 4], u64)>,
    shelf: Arc<Shelf>,
    manifest: Vec<u8>,
    issued: Timestamp,
    retired: Vec<fleet_sync::BlockId>,
    letters: Arc<Letters>,
}

/// Keeps the broker's lists what the books say until `stop` is set. `link` holds the sending side
/// of the connection that stands.
pub(crate) async fn run(
    desk: ListDesk,
    mut link: watch::Receiver<Option<Publisher>>,
    mut stop: watch::Receiver<bool>,
) {
    let desk = Arc::new(desk);
    let (mut edition, mut sent, mut said) = (Edition::default(), false, String::new());
    let mut given = Given::new();
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = told_to(&mut stop) => return,
            changed = link.changed() => match changed {
                Ok(()) => (sent, given) = (false, Given::new()),
                Err(_) => return,
            },
            _ = looks.tick() => {}
        }
        let (asked, before) = (Arc::clone(&desk), edition.clone());
        let read = tokio::task::spawn_blocking(move || asked.look(&before)).await;
        match read {
            Ok(Ok(Some(fresh))) => {
                sent &= fresh.manifest == edition.manifest;
                (edition, said) = (fresh, String::new());
            }
            Ok(Ok(None)) => {}
            Ok(Err(error)) => {
                // Once per reason: it is tried again every second.
                let error = chain(&error);
                if error != said {
                    tracing::error!(%error, "lists stay as they are");
                    said = error;
                }
            }
            // It panicked and has said so, or the runtime is going down.
            Err(_) => return,
        }
        let Some(publisher) = link.borrow().clone() else { continue };
        // Before the lists that need them.
        let all_given = edition.letters.give(&mut given, &desk.depot, &publisher).await;
        if all_given && !sent && !edition.manifest.is_empty() {
            sent = desk.publish(&edition, &publisher).await;
        }
    }
}

impl ListDesk {
    /// A new edition, when the books changed or the manifest is due.
    fn look(&self, before: &Edition) -> Result<Option<Edition>, ListsError> {
        let now = self.clock.now();
        self.look_after_orders()?;
        hotlist::tick(&self.store, &self.hotlist, now)?;
        self.judge_rollouts(now)?;
        let key = self.sealing.as_ref().map(|begins| begins.key(&self.store, now));
        let key = key.transpose()?.flatten();
        let letters = before.letters.look(&self.store, &self.signing, now)?.map(Arc::new);
        let number = key.as_ref().map_or(0, |key| key.number);
        let revision = (self.store.lists_revision()?, number);
        let due = now.since(before.issued) >= RENEW_EVERY || before.manifest.is_empty();
        if before.revision == Some(revision) && !due {
            return Ok(letters.map(|letters| Edition { letters, ..before.clone() }));
        }
        let lists = Arc::new(Shelf::new(&self.sources(now, key.as_ref())?)?);
        // What had no price before may have one now, and with it something due.
        self.store.note_due_tariffs(self.rules.tariffs().iter().map(Tariff::version))?;
        let blocks: BTreeSet<_> = lists.blocks().map(|(id, _)| id).collect();
        // Before the first of them can be on the broker: what is forgotten is never cleared.
        self.store.keep_blocks(&blocks, now)?;
        let version = self.store.next_manifest(now)?;
        let manifest = lists.sign(version, now, now.plus(VALID_FOR), &self.signing)?;
        let forget = Timestamp(now.0.saturating_sub(millis(CLEARED_FOR)));
        let retired = self.store.retired_blocks(forget)?;
        self.metrics.list_manifest.set(i64::try_from(version).unwrap_or(i64::MAX));
        for pin in lists.lists() {
            let word = pin.kind.word().unwrap_or("other");
            let version = i64::try_from(pin.version).unwrap_or(i64::MAX);
            self.metrics.list_versions.with_label_values(&[word]).set(version);
        }
        tracing::info!(manifest = version, lists = lists.lists().len(), "lists are signed");
        let revision = Some(revision);
        let letters = letters.unwrap_or_else(|| Arc::clone(&before.letters));
        Ok(Some(Edition { revision, shelf: lists, manifest, issued: now, retired, letters }))
    }

    fn judge_rollouts(&self, now: Timestamp) -> Result<(), ListsError> {
        let last = self.judged.load(Ordering::Relaxed);
        if now.secs().abs_diff(last) >= JUDGE_EVERY.as_secs() {
            self.judged.store(now.secs(), Ordering::Relaxed);
            steering::releases::tick(&self.store, self.failures, now)?;
        }
        Ok(())
    }

    /// Orders go on by themselves, and into a list of their own.
    fn look_after_orders(&self) -> Result<(), ListsError> {
        let Some(OrderDesk { place, keys, rules }) = &self.orders else { return Ok(()) };
        orders::tick(place, *rules)?;
        orders::make_list(&self.store, keys.as_ref())?;
        Ok(())
    }

    /// All lists of now, sealed where they are to be. Tariffs join the rules here.
    fn sources(
        &self,
        now: Timestamp,
        key: Option<&ListKey>,
    ) -> Result<Vec<ListSource>, ListsError> {
        let all = self.store.published_tariffs()?;
        let mut sources = Vec::new();
        for published in needed(&all, now) {
            self.learn(published)?;
            sources.push(ListSource {
                kind: ListKind::TARIFF,
                version: u64::from(published.version.0),
                content: published.content.clone(),
                deltas: Vec::new(),
                key: None,
            });
        }
        sources.extend(self.hotlist()?);
        if self.orders.is_some()
            && let Some((version, content)) = self.store.orders_list()?
        {
            sources.push(ListSource {
                kind: ListKind::ACTIONS,
                version,
                content,
                deltas: Vec::new(),
                key: None,
            });
        }
        for (kind, MadeList { version, content }) in self.store.steering_lists()? {
            sources.push(ListSource { kind, version, content, deltas: Vec::new(), key: None });
        }
        for version in steering::current(&self.store)?.images_out() {
            if let Some(content) = self.store.release_image(version)? {
                let kind = ListKind::IMAGE;
                sources.push(ListSource { kind, version, content, deltas: Vec::new(), key: None });
            }
        }
        let seal = |source: ListSource| match key {
            Some(key) if NAMING_CARDS.contains(&source.kind) => source.sealed(key),
            Some(_) | None => source,
        };
        Ok(sources.into_iter().map(seal).collect())
    }

    /// The cards to refuse, with the shorter ways to them from the versions before.
    fn hotlist(&self) -> Result<Option<ListSource>, ListsError> {
        let mut kept = self.store.kept_hotlists()?.into_iter();
        let Some((version, content)) = kept.next() else { return Ok(None) };
        let mut deltas = Vec::new();
        if let Ok(newest) = Hotlist::parse(content.clone()) {
            // One that does not read is no base: who holds it fetches the list whole.
            let bases =
                kept.filter_map(|(from, content)| Some((from, Hotlist::parse(content).ok()?)));
            deltas.extend(bases.map(|(from, base)| (from, base.delta(&newest))));
            deltas.retain(|(_, delta)| delta.len() < content.len());
        }
        Ok(Some(ListSource { kind: ListKind::HOTLIST, version, content, deltas, key: None }))
    }

    /// The server prices with whatever it gives out.
    fn learn(&self, published: &Published) -> Result<(), ListsError> {
        let Published { version, content, .. } = published;
        let refused = |problem: String| ListsError::Tariff { version: *version, problem };
        let (opened, _) = with_any(&self.known_as, |key| open_tariff(content, key))
            .map_err(|error| refused(chain(&error)))?;
        let tariff = Tariff::parse(&opened.text).map_err(|found| {
            refused(found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        })?;
        self.rules.add(tariff).map_err(|error| refused(error.to_string()))
    }

    /// `false` when the connection ended on the way; the next one gets all of it.
    async fn publish(&self, edition: &Edition, publisher: &Publisher) -> bool {
        let name = |topic: Topic| topic.name(&self.depot);
        for (id, block) in edition.shelf.blocks() {
            if !publisher.publish(&name(Topic::Chunk(id)), block.to_vec(), true).await {
                return false;
            }
        }
        let manifest = edition.manifest.clone();
        if !publisher.publish(&name(Topic::Manifest), manifest, true).await {
            return false;
        }
        for id in &edition.retired {
            if !publisher.publish(&name(Topic::Chunk(*id)), Vec::new(), true).await {
                return false;
            }
        }
        tracing::debug!(blocks = edition.shelf.blocks().count(), "lists are on the broker");
        true
    }
}

/// The tariffs to give out at `now`: the one in force, those that come, and those that journeys
/// may have begun under. In force is the highest version that has begun.
fn needed(all: &[Published], now: Timestamp) -> Vec<&Published> {
    let mut needed: Vec<&Published> = Vec::new();
    // From the newest on; `successor` is the lowest later version that has begun.
    let mut successor: Option<&Published> = None;
    for published in all.iter().rev() {
        if published.starts_at > now {
            // One that would begin under a higher version that holds already never holds.
            if successor.is_none() {
                needed.push(published);
            }
            continue;
        }
        let is_recent = |after: &Published| now.since(after.starts_at) < SUCCEEDED_FOR;
        if successor.is_none_or(is_recent) {
            needed.push(published);
        }
        successor = Some(published);
    }
    needed.reverse();
    needed
}

/// When a service day of a tariff begins: by its time zone and its start of day.
pub(crate) fn begins(tariff: &Tariff, day: ServiceDate) -> Result<Timestamp, String> {
    let zone = tariff.timezone();
    let fault = |error: jiff::Error| format!("{day} has no beginning in {zone}: {error}");
    let time_zone = jiff::tz::TimeZone::get(zone).map_err(fault)?;
    let starts_s = i64::from(tariff.parts().terms.calendar.day_starts_s);
    let midnight = jiff::civil::Date::constant(1970, 1, 1)
        .checked_add(jiff::Span::new().days(i64::from(day.0)))
        .map_err(fault)?
        .to_datetime(jiff::civil::Time::midnight());
    let local = midnight.checked_add(jiff::Span::new().seconds(starts_s)).map_err(fault)?;
    let moment = time_zone.to_ambiguous_zoned(local).compatible().map_err(fault)?;
    let ms = u64::try_from(moment.timestamp().as_millisecond()).map_err(|e| e.to_string())?;
    Ok(Timestamp(ms))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use model::TariffVersion;

    use super::*;

    const DAY: u64 = 86_400_000;

    fn published(version: u16, day: u64) -> Published {
        let starts_at = Timestamp(day * DAY);
        Published { version: TariffVersion(version), starts_at, content: vec![] }
    }

    #[test]
    fn given_out_are_the_tariff_in_force_what_comes_and_what_journeys_may_have_begun_under() {
        let all = [
            published(1, 0),
            published(2, 100),
            published(3, 200),
            published(4, 150),
            published(5, 300),
        ];
        for (day, expected) in [
            (0, &[1, 2, 3, 4, 5][..]),
            (99, &[1, 2, 3, 4, 5]),
            (100, &[1, 2, 3, 4, 5]),
            (107, &[1, 2, 3, 4, 5]),
            (108, &[2, 3, 4, 5]),
            // Version 4 holds from day 150 on: 3, which would begin later, never does.
            (150, &[2, 4, 5]),
            (158, &[4, 5]),
            (250, &[4, 5]),
            (400, &[5]),
        ] {
            let now = Timestamp(day * DAY + 5);
            let found: Vec<u16> = needed(&all, now).iter().map(|p| p.version.0).collect();
            assert_eq!(found, expected, "day {day}");
        }
        assert!(needed(&[], Timestamp(5)).is_empty());
    }

    #[test]
    fn a_service_day_begins_by_the_tariffs_own_zone_and_hour() {
        let text = crate::workload::rules().tariffs().newest().to_toml();
        let zone = |zone: &str, starts: &str| {
            let text = text
                .lines()
                .map(|line| match line.strip_prefix("timezone") {
                    Some(_) => format!("timezone = \"{zone}\""),
                    None => line.to_owned(),
                })
                .collect::<Vec<_>>()
                .join("\n");
            let text = format!("day_starts = \"{starts}\"\n{text}");
            Tariff::parse(&text).unwrap()
        };
        let day = ServiceDate::parse("2026-11-26").unwrap();
        for (name, starts, expected) in [
            ("UTC", "00:00:00", "2026-11-26T00:00:00Z"),
            ("Europe/Berlin", "03:00:00", "2026-11-26T02:00:00Z"),
            ("Asia/Seoul", "04:00:00", "2026-11-25T19:00:00Z"),
        ] {
            let expected: jiff::Timestamp = expected.parse().unwrap();
            let expected = u64::try_from(expected.as_millisecond()).unwrap();
            assert_eq!(begins(&zone(name, starts), day), Ok(Timestamp(expected)), "{name}");
        }
        // In the night of a clock change the hour that comes twice begins the day the first time.
        let night = ServiceDate::parse("2026-10-25").unwrap();
        let first: jiff::Timestamp = "2026-10-25T00:30:00Z".parse().unwrap();
        let first = u64::try_from(first.as_millisecond()).unwrap();
        assert_eq!(begins(&zone("Europe/Berlin", "02:30:00"), night), Ok(Timestamp(first)));
        assert!(begins(&zone("Mars/Olympus", "00:00:00"), day).is_err());
    }
}
