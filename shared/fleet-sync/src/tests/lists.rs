//! Lists under a hostile network: whatever it does, only what the depot published is ever used, and
//! once it stops, everything that the depot published is there.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::time::Duration;

use ed25519_dalek::SigningKey;
use model::{ServiceDate, TariffVersion, Timestamp};
use proptest::{collection::vec as vec_of, prelude::*, sample::Index};
use wire::{HeldList, ListKind, Manifest, PublishedTariff};

use crate::{
    BLOCK_BYTES, BlockId, ListFetcher, ListOutput, ListSource, ListTrouble, Shelf, ShelfError,
    SignatureError, content_pin, open_tariff, sign_tariff, verify_manifest,
};

const WANTED: [ListKind; 2] = [ListKind::TARIFF, ListKind::HOTLIST];
const FAR: Timestamp = Timestamp(u64::MAX);

fn depot_key() -> SigningKey {
    SigningKey::from_bytes(&[2; 32])
}

/// Bytes that differ for every seed, without two equal blocks.
fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

const fn tariff(version: u64) -> HeldList {
    HeldList { kind: ListKind::TARIFF, version }
}

const fn hotlist(version: u64) -> HeldList {
    HeldList { kind: ListKind::HOTLIST, version }
}

/// The depot: all that it ever published. A delta here says what to append.
#[derive(Default)]
struct Depot {
    contents: BTreeMap<HeldList, Vec<u8>>,
    manifests: Vec<Vec<u8>>,
    shelf: Shelf,
    day: u64,
}

impl Depot {
    /// Another day: a tariff more and a hotlist more; the two newest tariffs are pinned, and the
    /// newest hotlist with a delta from the one before.
    fn publish(&mut self, seed: u64, size: usize) {
        self.day += 1;
        let day = self.day;
        self.contents.insert(tariff(day), bytes(seed ^ day, size));
        let base = self.contents.get(&hotlist(day - 1)).cloned();
        let added = bytes(seed ^ (day << 32), size / 3 + 1);
        let whole = [base.clone().unwrap_or_default(), added.clone()].concat();
        self.contents.insert(hotlist(day), whole);
        let source = |list: HeldList, deltas| ListSource {
            kind: list.kind,
            version: list.version,
            content: self.contents[&list].clone(),
            deltas,
            key: None,
        };
        let deltas = base.map(|_| vec![(day - 1, added)]).unwrap_or_default();
        let mut sources = vec![source(tariff(day), vec![]), source(hotlist(day), deltas)];
        // A kind that no validator of this version knows must not get in the way.
        sources.push(ListSource {
            kind: ListKind(200),
            version: 1,
            content: vec![1],
            deltas: vec![],
            key: None,
        });
        if day > 1 {
            sources.push(source(tariff(day - 1), vec![]));
        }
        self.shelf = Shelf::new(&sources).unwrap();
        let manifest = self.shelf.sign(day, Timestamp(day), FAR, &depot_key());
        self.manifests.push(manifest.unwrap());
    }
}

/// What a validator has on its disk.
#[derive(Default)]
struct Disk {
    manifest: Option<Vec<u8>>,
    lists: BTreeMap<HeldList, Vec<u8>>,
    blocks: BTreeMap<BlockId, Vec<u8>>,
}

/// A validator, its disk, and what is on the way to it.
struct Device {
    disk: Disk,
    fetcher: ListFetcher,
    subscribed: Vec<BlockId>,
    way: Vec<(Option<BlockId>, Vec<u8>)>,
    reports: Vec<ListTrouble>,
    fetched: usize,
    now: Timestamp,
}

impl Device {
    fn start(disk: Disk, now: Timestamp) -> Self {
        let held = disk.lists.iter().map(|(list, content)| (*list, content_pin(content)));
        let fetcher = ListFetcher::resume(
            &[depot_key().verifying_key()],
            &WANTED,
            disk.manifest.as_deref(),
            held,
            BTreeSet::new(),
            disk.blocks.clone(),
        );
        let (subscribed, way, reports) = (vec![], vec![], vec![]);
        Self { disk, fetcher, subscribed, way, reports, fetched: 0, now }
    }

    /// Does what the fetcher says; the broker answers subscriptions with what it retains.
    fn drain(&mut self, depot: &Depot, broker: &BTreeMap<BlockId, Vec<u8>>) {
        while let Some(output) = self.fetcher.poll() {
            match output {
                ListOutput::KeepManifest(payload) => {
                    let version = |payload: &[u8]| {
                        verify_manifest(payload, &depot_key().verifying_key()).unwrap().version
                    };
                    let before = self.disk.manifest.as_deref().map_or(0, version);
                    assert!(version(&payload) > before, "the trusted manifest only rises");
                    self.disk.manifest = Some(payload);
                }
                ListOutput::Subscribe(id) => {
                    self.subscribed.push(id);
                    let retained = broker.get(&id).map(|block| (Some(id), block.clone()));
                    self.way.extend(retained);
                }
                ListOutput::Unsubscribe(id) => self.subscribed.retain(|known| *known != id),
                ListOutput::KeepBlock { id, block } => {
                    self.fetched += block.len();
                    self.disk.blocks.insert(id, block);
                }
                ListOutput::ForgetBlocks => self.disk.blocks.clear(),
                ListOutput::Complete { list, from, content, .. } => {
                    let whole = match from {
                        None => content,
                        Some(from) => {
                            let base = HeldList { version: from, ..list };
                            [self.disk.lists[&base].clone(), content].concat()
                        }
                    };
                    if self.fetcher.is_content_of(list, &whole) {
                        assert_eq!(whole, depot.contents[&list], "only what was published is used");
                        self.disk.lists.insert(list, whole);
                        self.fetcher.handle_held(self.now, list);
                    } else {
                        self.fetcher.handle_unusable(self.now, list);
                    }
                }
                ListOutput::Reseal { .. } => panic!("nothing is sealed here"),
                ListOutput::Withdrawn(list) => drop(self.disk.lists.remove(&list)),
                ListOutput::Report(trouble) => self.reports.push(trouble),
            }
        }
    }

    fn deliver(&mut self, id: Option<BlockId>, payload: Vec<u8>) {
        match id {
            None => self.fetcher.handle_manifest(self.now, &payload),
            Some(id) => self.fetcher.handle_block(self.now, id, payload),
        }
    }
}

#[derive(Debug, Clone)]
enum Act {
    Publish { seed: u64, size: usize },
    Connect,
    Disconnect,
    Deliver { which: Index },
    Repeat { which: Index },
    Drop { which: Index },
    Damage { which: Index, at: Index, cut: bool },
    Misplace { which: Index, under: Index },
    PlayBack { which: Index },
    Forge { which: Index },
    WipeBroker,
    Crash { torn: Index },
    Wait { secs: u64 },
}

fn act() -> impl Strategy<Value = Act> {
    let size = prop_oneof![
        1 => 0..20_usize,
        3 => 1..5 * BLOCK_BYTES,
        1 => 256 * BLOCK_BYTES..257 * BLOCK_BYTES,
    ];
    let which = any::<Index>;
    prop_oneof![
        2 => (any::<u64>(), size).prop_map(|(seed, size)| Act::Publish { seed, size }),
        4 => Just(Act::Connect),
        1 => Just(Act::Disconnect),
        20 => which().prop_map(|which| Act::Deliver { which }),
        2 => which().prop_map(|which| Act::Repeat { which }),
        2 => which().prop_map(|which| Act::Drop { which }),
        3 => (which(), which(), any::<bool>())
            .prop_map(|(which, at, cut)| Act::Damage { which, at, cut }),
        2 => (which(), which()).prop_map(|(which, under)| Act::Misplace { which, under }),
        2 => which().prop_map(|which| Act::PlayBack { which }),
        1 => which().prop_map(|which| Act::Forge { which }),
        1 => Just(Act::WipeBroker),
        2 => which().prop_map(|torn| Act::Crash { torn }),
        2 => (0..1000_u64).prop_map(|secs| Act::Wait { secs }),
    ]
}

/// The broker, the depot and one validator.
struct World {
    depot: Depot,
    broker: BTreeMap<BlockId, Vec<u8>>,
    device: Device,
}

impl World {
    fn new() -> Self {
        let device = Device::start(Disk::default(), Timestamp(0));
        Self { depot: Depot::default(), broker: BTreeMap::new(), device }
    }

    /// The depot makes the broker hold its lists, in the order that it keeps to.
    fn fill_broker(&mut self) {
        let published = self.broker.keys().copied().collect();
        let blocks = self.depot.shelf.blocks().map(|(id, block)| (id, block.to_vec()));
        self.broker.extend(blocks);
        for id in self.depot.shelf.retired(&published) {
            self.broker.remove(&id);
        }
        for id in &self.device.subscribed {
            let retained = self.broker.get(id).map(|block| (Some(*id), block.clone()));
            self.device.way.extend(retained);
        }
        let newest = self.depot.manifests.last().cloned();
        self.device.way.extend(newest.map(|manifest| (None, manifest)));
    }

    fn connect(&mut self) {
        self.device.subscribed.clear();
        self.device.fetcher.handle_link(self.device.now, true);
        let newest = self.depot.manifests.last().cloned();
        self.device.way.extend(newest.map(|manifest| (None, manifest)));
    }

    fn pick(&mut self, which: Index) -> Option<(Option<BlockId>, Vec<u8>)> {
        let way = &mut self.device.way;
        (!way.is_empty()).then(|| way.swap_remove(which.index(way.len())))
    }

    #[expect(clippy::too_many_lines, reason = "one match over everything that can happen")]
    fn act(&mut self, act: &Act) {
        match *act {
            Act::Publish { seed, size } => {
                self.depot.publish(seed, size);
                self.fill_broker();
            }
            Act::Connect => self.connect(),
            Act::Disconnect => {
                self.device.way.clear();
                self.device.fetcher.handle_link(self.device.now, false);
            }
            Act::Deliver { which } => {
                if let Some((id, payload)) = self.pick(which) {
                    self.device.deliver(id, payload);
                }
            }
            Act::Repeat { which } => {
                if let Some((id, payload)) = self.pick(which) {
                    self.device.way.push((id, payload.clone()));
                    self.device.deliver(id, payload);
                }
            }
            Act::Drop { which } => drop(self.pick(which)),
            Act::Damage { which, at, cut } => {
                if let Some((id, mut payload)) = self.pick(which)
                    && !payload.is_empty()
                {
                    let at = at.index(payload.len());
                    payload[at] ^= 0x40;
                    if cut {
                        payload.truncate(at);
                    }
                    self.device.deliver(id, payload);
                }
            }
            Act::Misplace { which, under } => {
                let asked = self.device.subscribed.clone();
                if let Some((Some(_), payload)) = self.pick(which)
                    && !asked.is_empty()
                {
                    self.device.deliver(Some(asked[under.index(asked.len())]), payload);
                }
            }
            Act::PlayBack { which } => {
                let old = &self.depot.manifests;
                if !old.is_empty() {
                    let old = old[which.index(old.len())].clone();
                    self.device.deliver(None, old);
                }
            }
            Act::Forge { which } => {
                let thief = SigningKey::from_bytes(&[9; 32]);
                let forged = self.depot.shelf.sign(1 << 40, Timestamp(1), FAR, &thief).unwrap();
                self.device.deliver(None, forged);
                let _ = which;
            }
            Act::WipeBroker => self.broker.clear(),
            Act::Crash { torn } => {
                let mut disk = core::mem::take(&mut self.device.disk);
                let count = disk.blocks.len();
                if count > 0 {
                    let victim = torn.index(count);
                    let block = disk.blocks.values_mut().nth(victim).unwrap();
                    block.truncate(block.len() / 2);
                }
                self.device = Device::start(disk, self.device.now);
            }
            Act::Wait { secs } => {
                self.device.now = self.device.now.plus(Duration::from_secs(secs));
                self.device.fetcher.handle_timeout(self.device.now, Timestamp(0));
            }
        }
        self.device.drain(&self.depot, &self.broker);
    }

    fn check(&self) {
        for (list, content) in &self.device.disk.lists {
            assert_eq!(content, &self.depot.contents[list]);
        }
    }

    /// Everything that is lost comes again in time; the broker is whole.
    fn heal(&mut self) {
        self.fill_broker();
        self.connect();
        for _ in 0..10_000 {
            self.device.drain(&self.depot, &self.broker);
            if let Some((id, payload)) = self.device.way.pop() {
                self.device.deliver(id, payload);
            } else if self.device.fetcher.is_complete() {
                break;
            } else {
                self.device.now = self.device.now.plus(Duration::from_secs(400));
                self.device.fetcher.handle_timeout(self.device.now, Timestamp(0));
            }
        }
        self.device.drain(&self.depot, &self.broker);
    }
}

fn newest(depot: &Depot) -> Manifest {
    verify_manifest(depot.manifests.last().unwrap(), &depot_key().verifying_key()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn whatever_the_network_does_only_published_lists_are_used_and_all_arrive_once_it_heals(
        acts in vec_of(act(), 1..120),
    ) {
        let mut world = World::new();
        for act in acts {
            world.act(&act);
            world.check();
        }
        if world.depot.manifests.is_empty() {
            world.depot.publish(1, 100);
        }
        world.heal();
        world.check();
        let wanted: Vec<HeldList> = newest(&world.depot)
            .lists
            .iter()
            .filter(|pin| WANTED.contains(&pin.kind))
            .map(|pin| HeldList { kind: pin.kind, version: pin.version })
            .collect();
        let held: Vec<HeldList> = world.device.disk.lists.keys().copied().collect();
        prop_assert_eq!(&held, &wanted);
        prop_assert_eq!(world.device.fetcher.held().collect::<Vec<_>>(), wanted);
        prop_assert!(world.device.subscribed.is_empty(), "no subscription is left over");
    }
}

/// A world whose validator has everything of `days`.
fn settled(days: u64, size: usize) -> World {
    let mut world = World::new();
    for day in 0..days {
        world.depot.publish(day, size);
    }
    world.heal();
    world
}

#[test]
fn a_delta_is_taken_instead_of_the_list_where_its_base_is_held() {
    let mut world = settled(1, 300 * 1024);
    world.depot.publish(7, 30);
    world.device.fetched = 0;
    world.heal();
    assert_eq!(world.device.disk.lists[&hotlist(2)], world.depot.contents[&hotlist(2)]);
    assert!(world.device.fetched < 100, "{} bytes for a delta", world.device.fetched);
}

#[test]
fn a_validator_cut_off_in_mid_transfer_goes_on_where_it_was() {
    let mut world = World::new();
    world.depot.publish(3, 100 * BLOCK_BYTES);
    world.fill_broker();
    world.act(&Act::Connect);
    while world.device.disk.blocks.len() < 60 {
        world.act(&Act::Deliver { which: any_index() });
    }
    let before = world.device.fetched;
    let disk = core::mem::take(&mut world.device.disk);
    world.device = Device::start(disk, Timestamp(0));
    world.heal();
    let all = world.depot.shelf.blocks().map(|(_, block)| block.len()).sum::<usize>();
    assert!(before + world.device.fetched <= all, "{before} + {}: {all}", world.device.fetched);
    assert_eq!(world.device.disk.lists[&tariff(1)], world.depot.contents[&tariff(1)]);
}

fn any_index() -> Index {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    any::<Index>().new_tree(&mut TestRunner::deterministic()).unwrap().current()
}

#[test]
fn an_older_manifest_and_a_forged_one_are_refused_and_said() {
    let mut world = settled(3, 100);
    world.device.deliver(None, world.depot.manifests[1].clone());
    world.device.deliver(None, vec![1, 2, 3]);
    let conflicting = Shelf::new(&[]).unwrap().sign(3, Timestamp(9), FAR, &depot_key()).unwrap();
    world.device.deliver(None, conflicting);
    // The highest kind is looked at first.
    let rolled = Shelf::new(&[]).unwrap().sign(9, Timestamp(9), FAR, &depot_key()).unwrap();
    world.device.deliver(None, rolled);
    world.device.drain(&world.depot, &world.broker);
    assert_eq!(
        world.device.reports,
        [
            ListTrouble::Older { offered: 2, trusted: 3 },
            ListTrouble::NotAuthentic,
            ListTrouble::Conflicting { version: 3 },
            ListTrouble::RolledBack { kind: ListKind(200), trusted: 1 },
        ]
    );
    assert_eq!(world.device.fetcher.manifest().unwrap().version, 3);
}

#[test]
fn an_expired_manifest_is_said_once_and_its_lists_go_on() {
    let mut world = World::new();
    world.depot.publish(1, 10);
    let manifest = world.depot.shelf.sign(5, Timestamp(1), Timestamp(100), &depot_key()).unwrap();
    world.depot.manifests.push(manifest);
    world.heal();
    for wall in [99, 101, 102] {
        world.device.fetcher.handle_timeout(Timestamp(1), Timestamp(wall));
    }
    world.device.drain(&world.depot, &world.broker);
    assert_eq!(world.device.reports, [ListTrouble::Expired]);
    assert!(world.device.fetcher.held().any(|list| list == tariff(1)));
}

#[test]
fn a_list_that_cannot_be_used_is_said_once_and_the_others_are_fetched() {
    let mut world = World::new();
    world.depot.publish(1, 100);
    world.fill_broker();
    world.act(&Act::Connect);
    let mut refused = 0;
    for _ in 0..20 {
        let Some((id, payload)) = world.device.way.pop() else { break };
        world.device.deliver(id, payload);
        // The shell of this test cannot use tariffs.
        while let Some(output) = world.device.fetcher.poll() {
            match output {
                ListOutput::Complete { list, .. } if list.kind == ListKind::TARIFF => {
                    refused += 1;
                    world.device.fetcher.handle_unusable(Timestamp(0), list);
                }
                ListOutput::Complete { list, .. } => {
                    world.device.fetcher.handle_held(Timestamp(0), list);
                }
                ListOutput::Subscribe(id) => {
                    world.device.way.push((Some(id), world.broker[&id].clone()));
                }
                ListOutput::Report(trouble) => world.device.reports.push(trouble),
                ListOutput::KeepManifest(_)
                | ListOutput::Unsubscribe(_)
                | ListOutput::KeepBlock { .. }
                | ListOutput::ForgetBlocks
                | ListOutput::Reseal { .. }
                | ListOutput::Withdrawn(_) => {}
            }
        }
    }
    assert_eq!(refused, 1);
    let unusable = ListTrouble::Unusable { kind: ListKind::TARIFF, version: 1 };
    assert_eq!(world.device.reports, [unusable]);
    assert_eq!(world.device.fetcher.held().collect::<Vec<_>>(), [hotlist(1)]);
    assert!(world.device.fetcher.is_complete());
}

#[test]
fn blocks_that_no_list_needs_are_retired_and_no_others() {
    let mut world = settled(1, 5 * BLOCK_BYTES);
    let published = world.broker.keys().copied().collect();
    world.depot.publish(2, 10);
    let retired = world.depot.shelf.retired(&published);
    assert!(!retired.is_empty());
    for (id, _) in world.depot.shelf.blocks() {
        assert!(!retired.contains(&id));
    }
    let (kind, content) = (ListKind::TARIFF, vec![1]);
    let twice = ListSource { kind, version: 1, content, deltas: vec![], key: None };
    let both = [twice.clone(), ListSource { content: vec![2], ..twice }];
    assert_eq!(Shelf::new(&both), Err(ShelfError::Twice { kind: 1, version: 1 }));
}

#[test]
fn a_tariff_is_believed_for_the_day_and_text_that_were_signed_and_for_no_other() {
    let (version, valid_from) = (TariffVersion(7), ServiceDate(20_000));
    let text: String = "format = 1".to_string();
    let signature = sign_tariff(version, valid_from, &text, &depot_key());
    let starts_at = Timestamp(5);
    let tariff = PublishedTariff { version, valid_from, starts_at, signature, text };
    let key = depot_key().verifying_key();
    assert_eq!(open_tariff(&tariff.encode(), &key), Ok(tariff.clone()));
    for other in [
        PublishedTariff { version: TariffVersion(8), ..tariff.clone() },
        PublishedTariff { valid_from: ServiceDate(20_001), ..tariff.clone() },
        PublishedTariff { text: "format = 2".to_string(), ..tariff.clone() },
    ] {
        assert_eq!(open_tariff(&other.encode(), &key), Err(SignatureError::NotAuthentic));
    }
    assert!(matches!(open_tariff(&[1, 2], &key), Err(SignatureError::Wire(_))));
}
