//! What the books keep of lists: published tariffs, the manifest's counter, blocks on the broker.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use fleet_sync::BlockId;
use model::{TariffVersion, Timestamp};
use rusqlite::{OptionalExtension, params};
use wire::{HeldList, ListKind, ListsState};

use super::{
    Store, StoreError,
    codes::{sql_time, time, unsigned},
    group::read_state,
};

/// A tariff that was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Which version.
    pub version: TariffVersion,
    /// From when on it holds.
    pub starts_at: Timestamp,
    /// The list's content.
    pub content: Vec<u8>,
}

/// Whether a validator that says this of its lists lacks one of `newest`, or is in trouble.
pub(super) fn is_behind(lists: Option<&ListsState>, newest: &[HeldList]) -> bool {
    lists.map_or(!newest.is_empty(), |lists| {
        !lists.trouble.is_empty() || newest.iter().any(|list| !lists.held.contains(list))
    })
}

impl Store {
    /// Keeps a tariff with what validators are given of it. `false` when the version is there.
    pub fn publish_tariff(
        &self,
        tariff: &Published,
        text: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let Published { version, starts_at, content } = tariff;
        self.writer()
            .execute(
                "INSERT INTO tariffs (version, text, loaded_at, content, starts_at)
                 VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (version) DO NOTHING",
                params![version.0, text, sql_time(now), content, sql_time(*starts_at)],
            )
            .map(|rows| rows == 1)
            .map_err(StoreError::write("a tariff"))
    }

    /// Every published tariff, oldest version first.
    pub fn published_tariffs(&self) -> Result<Vec<Published>, StoreError> {
        let failed = || StoreError::read("published tariffs");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached(
                "SELECT version, starts_at, content FROM tariffs
                 WHERE content IS NOT NULL ORDER BY version",
            )
            .map_err(failed())?;
        let rows = statement
            .query_map([], |row| {
                Ok(Published {
                    version: TariffVersion(row.get(0)?),
                    starts_at: time(row.get(1)?),
                    content: row.get(2)?,
                })
            })
            .map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }

    /// Every published tariff and when it begins to hold.
    pub fn tariff_begins(&self) -> Result<Vec<(TariffVersion, Timestamp)>, StoreError> {
        let failed = || StoreError::read("published tariffs");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached("SELECT version, starts_at FROM tariffs WHERE content IS NOT NULL")
            .map_err(failed())?;
        let rows = statement
            .query_map([], |row| Ok((TariffVersion(row.get(0)?), time(row.get(1)?))))
            .map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }

    /// The newest version of each kind of list that was published.
    pub fn newest_lists(&self) -> Result<Vec<HeldList>, StoreError> {
        let [tariff, hotlist, orders, _] = self.lists_revision()?;
        let kinds =
            [(ListKind::TARIFF, tariff), (ListKind::HOTLIST, hotlist), (ListKind::ACTIONS, orders)];
        let steering = self.steering_versions()?;
        let published = kinds.into_iter().filter(|(_, version)| *version > 0).chain(steering);
        Ok(published.map(|(kind, version)| HeldList { kind, version }).collect())
    }

    /// How many connected validators do not hold what was published, or have trouble with it.
    pub fn count_lists_behind(&self) -> Result<i64, StoreError> {
        let failed = || StoreError::read("the lists of the fleet");
        let newest = self.newest_lists()?;
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached("SELECT state FROM validators WHERE link = 2 AND state IS NOT NULL")
            .map_err(failed())?;
        let states = statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).map_err(failed())?;
        let mut behind = 0;
        for state in states {
            let state = read_state(&state.map_err(failed())?);
            behind += i64::from(state.is_some_and(|s| is_behind(s.lists.as_ref(), &newest)));
        }
        Ok(behind)
    }

    /// For how long the connected and the enrolled validator furthest behind have lacked a newer
    /// hotlist, seconds.
    pub fn hotlist_lag(&self, now: Timestamp) -> Result<[u64; 2], StoreError> {
        let failed = || StoreError::read("the hotlists of the fleet");
        let mut lag = [0; 2];
        // By version: thousands of validators hold one of a few.
        let mut since: BTreeMap<u64, Option<Timestamp>> = BTreeMap::new();
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached("SELECT link, state FROM validators WHERE state IS NOT NULL")
            .map_err(failed())?;
        let states = statement
            .query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)))
            .map_err(failed())?;
        for state in states {
            let (link, state) = state.map_err(failed())?;
            let Some(state) = read_state(&state) else { continue };
            let held = state.lists.iter().flat_map(|lists| &lists.held);
            let held = held.filter(|list| list.kind == ListKind::HOTLIST).map(|list| list.version);
            let version = held.max().unwrap_or(0);
            let lacks = match since.entry(version) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => *new.insert(self.hotlist_after(version)?),
            };
            let seconds = lacks.map_or(0, |at| now.since(at).as_secs());
            lag[1] = lag[1].max(seconds);
            if link == 2 {
                lag[0] = lag[0].max(seconds);
            }
        }
        Ok(lag)
    }

    /// Changes whenever a list does: the newest tariff, hotlist, list of load orders and decision
    /// about validators. Cheap: asked every second.
    pub fn lists_revision(&self) -> Result<[u64; 4], StoreError> {
        let newest = |sql: &str| -> Result<u64, StoreError> {
            let newest: Option<i64> = self
                .reader()?
                .prepare_cached(sql)
                .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
                .map_err(StoreError::read("the newest lists"))?;
            Ok(unsigned(newest.unwrap_or(0)))
        };
        Ok([
            newest("SELECT max(version) FROM tariffs WHERE content IS NOT NULL")?,
            newest("SELECT max(version) FROM hotlists")?,
            newest("SELECT max(version) FROM order_list")?,
            self.steering_rows()?,
        ])
    }

    /// A number for a manifest, above every one before it and never below the seconds of `now`:
    /// books that were restored from a backup so go on above what they forgot.
    pub fn next_manifest(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.next_number("manifest", now)
    }

    /// The same for a message that gives validators their list keys.
    pub fn next_list_keys(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.next_number("list-keys", now)
    }

    fn next_number(&self, name: &str, now: Timestamp) -> Result<u64, StoreError> {
        let floor = i64::try_from(now.secs()).unwrap_or(i64::MAX);
        self.writer()
            .query_row(
                "INSERT INTO counters (name, value) VALUES (?1, ?2)
                 ON CONFLICT (name) DO UPDATE SET value = max(value + 1, ?2) RETURNING value",
                params![name, floor],
                |row| row.get(0),
            )
            .map(unsigned)
            .map_err(StoreError::write("the number of a manifest or of list keys"))
    }

    /// The number of the newest manifest; 0 before the first.
    pub fn newest_manifest(&self) -> Result<u64, StoreError> {
        let found: Option<i64> = self
            .reader()?
            .query_row("SELECT value FROM counters WHERE name = 'manifest'", [], |row| row.get(0))
            .optional()
            .map_err(StoreError::read("the number of the manifest"))?;
        Ok(unsigned(found.unwrap_or(0)))
    }

    /// Keeps which blocks are about to be on the broker, before the first of them is; what is
    /// there beside them is retired from `now` on.
    pub fn keep_blocks(
        &self,
        blocks: &BTreeSet<BlockId>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let write = || -> Result<(), rusqlite::Error> {
            let mut writer = self.writer();
            let transaction = writer.transaction()?;
            transaction.execute(
                "UPDATE list_blocks SET retired_at = ?1 WHERE retired_at IS NULL",
                [sql_time(now)],
            )?;
            for id in blocks {
                transaction
                    .prepare_cached(
                        "INSERT INTO list_blocks (id) VALUES (?1)
                         ON CONFLICT (id) DO UPDATE SET retired_at = NULL",
                    )?
                    .execute([id.0])?;
            }
            transaction.commit()
        };
        write().map_err(StoreError::write("the blocks of lists"))
    }

    /// Blocks that the broker may still hold and no list needs. Those retired before `forget` are
    /// forgotten first.
    pub fn retired_blocks(&self, forget: Timestamp) -> Result<Vec<BlockId>, StoreError> {
        self.writer()
            .execute("DELETE FROM list_blocks WHERE retired_at < ?1", [sql_time(forget)])
            .map_err(StoreError::write("the blocks of lists"))?;
        let failed = || StoreError::read("the blocks of lists");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached("SELECT id FROM list_blocks WHERE retired_at IS NOT NULL")
            .map_err(failed())?;
        let rows = statement.query_map([], |row| row.get(0).map(BlockId)).map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_rise_also_over_a_restored_backup_and_blocks_retire_once() {
        let (_folder, store) = Store::for_test();
        assert_eq!(store.newest_manifest().unwrap(), 0);
        let at = |secs| Timestamp::from_secs(secs);
        assert_eq!(store.next_manifest(at(1_000)).unwrap(), 1_000);
        assert_eq!(store.next_manifest(at(1_000)).unwrap(), 1_001);
        assert_eq!(store.next_manifest(at(900)).unwrap(), 1_002);
        assert_eq!(store.next_manifest(at(5_000)).unwrap(), 5_000);
        assert_eq!(store.newest_manifest().unwrap(), 5_000);

        let [a, b, c] = [1, 2, 3].map(|n| BlockId([n; 32]));
        store.keep_blocks(&BTreeSet::from([a, b]), at(10)).unwrap();
        store.keep_blocks(&BTreeSet::from([b, c]), at(20)).unwrap();
        store.keep_blocks(&BTreeSet::from([b, c]), at(30)).unwrap();
        assert_eq!(store.retired_blocks(at(20)).unwrap(), [a]);
        store.keep_blocks(&BTreeSet::from([a]), at(40)).unwrap();
        assert_eq!(store.retired_blocks(at(20)).unwrap(), [b, c], "one that is needed again stays");
        assert_eq!(store.retired_blocks(at(41)).unwrap(), []);
    }

    #[test]
    fn a_published_tariff_keeps_its_first_content() {
        let (_folder, store) = Store::for_test();
        assert_eq!(store.lists_revision().unwrap(), [0, 0, 0, 0]);
        let version = TariffVersion(3);
        let first = Published { version, starts_at: Timestamp(5), content: vec![1, 2] };
        assert!(store.publish_tariff(&first, "text", Timestamp(1)).unwrap());
        let other = Published { content: vec![9], ..first.clone() };
        assert!(!store.publish_tariff(&other, "text", Timestamp(2)).unwrap());
        assert_eq!(store.published_tariffs().unwrap(), [first]);
        assert_eq!(store.lists_revision().unwrap(), [3, 0, 0, 0]);
        assert_eq!(store.tariffs().unwrap(), [(version, "text".to_owned())]);
    }
}
