//! The validator's end: which manifest is trusted, what is still to be fetched, what is complete.
//!
//! The shell subscribes and unsubscribes as it is told, keeps what it is given, and says what
//! became of complete content. It does so in the order of the outputs, each done before the next:
//! a manifest is on the disk before anything that follows from it. Blocks on the disk are a help
//! after a cut and nothing more: whatever is given back at the start is checked like a stranger's.

use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    vec::Vec,
};
use core::time::Duration;

use ed25519_dalek::VerifyingKey;
use model::Timestamp;
use wire::{ContentPin, DeltaPin, HeldList, ListKind, ListPin, Manifest};

use super::{
    BlockId, ListOutput, ListTrouble, content_pin,
    tree::{Assembly, BLOCK_BYTES},
    trust::may_follow,
};
use crate::{verify_manifest, with_any};

/// Blocks asked for at once: retained messages come as fast as the line is.
const WINDOW: usize = 16;
/// A block that did not come, or came damaged, is asked for anew after this, doubling.
const AGAIN_FIRST: Duration = Duration::from_secs(10);
const AGAIN_LAST: Duration = Duration::from_secs(320);

/// See the module's documentation.
#[derive(Debug)]
pub struct ListFetcher {
    keys: Vec<VerifyingKey>,
    wanted: Vec<ListKind>,
    /// Single lists of other kinds, which come after everything wanted.
    selected: BTreeSet<HeldList>,
    trusted: Option<Manifest>,
    /// What is complete, and the pin that its content is known by: a manifest may pin the same
    /// content sealed with another key.
    held: BTreeMap<HeldList, ContentPin>,
    /// The numbers of the list keys that are here.
    keys_here: BTreeSet<u64>,
    /// Asked to be sealed, by the pin that is to come out.
    resealing: BTreeMap<HeldList, ContentPin>,
    /// Sealed here, and not what is pinned.
    not_resealed: BTreeSet<ContentPin>,
    /// Complete, and of no use here: not fetched again.
    unusable: BTreeMap<HeldList, ContentPin>,
    /// Deltas that led nowhere.
    bad_deltas: BTreeSet<ContentPin>,
    job: Option<Job>,
    /// A selected list that made way for a wanted one.
    parked: Option<Job>,
    asked: BTreeSet<BlockId>,
    linked: bool,
    expiry_said: bool,
    again_at: Option<Timestamp>,
    again_after: Duration,
    outbox: VecDeque<ListOutput>,
}

/// What is being fetched.
#[derive(Debug)]
struct Job {
    list: HeldList,
    target: ContentPin,
    from: Option<u64>,
    key: Option<u64>,
    pin: ContentPin,
    assembly: Assembly,
    /// Handed to the shell, which has not answered.
    complete: bool,
}

impl ListFetcher {
    /// Rebuilt from what the shell kept, for a depot that signs with any of `keys`: the trusted
    /// manifest's bytes, complete lists with their contents' pins, list keys and blocks. A manifest
    /// that does not read counts as none, and is reported.
    pub fn resume(
        keys: &[VerifyingKey],
        wanted: &[ListKind],
        manifest: Option<&[u8]>,
        held: impl IntoIterator<Item = (HeldList, ContentPin)>,
        keys_here: BTreeSet<u64>,
        blocks: impl IntoIterator<Item = (BlockId, Vec<u8>)>,
    ) -> Self {
        let mut fetcher = Self {
            keys: keys.to_vec(),
            wanted: wanted.to_vec(),
            selected: BTreeSet::new(),
            trusted: None,
            held: BTreeMap::new(),
            keys_here,
            resealing: BTreeMap::new(),
            not_resealed: BTreeSet::new(),
            unusable: BTreeMap::new(),
            bad_deltas: BTreeSet::new(),
            job: None,
            parked: None,
            asked: BTreeSet::new(),
            linked: false,
            expiry_said: false,
            again_at: None,
            again_after: AGAIN_FIRST,
            outbox: VecDeque::new(),
        };
        match manifest.map(|payload| with_any(keys, |key| verify_manifest(payload, key))) {
            None => {}
            Some(Ok((manifest, _))) => fetcher.trusted = Some(manifest),
            Some(Err(_)) => fetcher.report(ListTrouble::NotAuthentic),
        }
        for (list, pin) in held {
            // One that is pinned no more may be what is in use until its successor is here; one
            // that is pinned sealed is known again once it was sealed here.
            let is_good = |pinned: &ListPin| pinned.content == pin || pinned.key.is_some();
            if fetcher.pinned(list).is_none_or(is_good) {
                fetcher.held.insert(list, pin);
            } else {
                fetcher.outbox.push_back(ListOutput::Withdrawn(list));
            }
        }
        fetcher.withdraw();
        fetcher.begin_next();
        if let Some(job) = &mut fetcher.job {
            for (id, block) in blocks {
                if BlockId::of(&block) == id {
                    job.assembly.insert(id, block);
                }
            }
        }
        fetcher
    }

    /// The trusted manifest.
    pub const fn manifest(&self) -> Option<&Manifest> {
        self.trusted.as_ref()
    }

    /// The lists that are complete.
    pub fn held(&self) -> impl Iterator<Item = HeldList> {
        self.held.keys().copied()
    }

    /// Whether everything of the wanted kinds is here that the trusted manifest pins.
    pub fn is_complete(&self) -> bool {
        let nothing_under_way = self.job.as_ref().is_none_or(|job| self.is_selected(job));
        nothing_under_way && self.resealing.is_empty() && self.waiting().is_none()
    }

    /// The first list that is wanted and not here, because nobody gave the key of that number.
    pub fn waiting(&self) -> Option<(HeldList, u64)> {
        let pins = self.trusted.iter().flat_map(|manifest| &manifest.lists);
        let mut wanted = pins.filter(|pin| self.wanted.contains(&pin.kind) && self.lacks(pin));
        wanted.find_map(|pin| Some((of(pin), pin.key.filter(|key| !self.has(*key))?)))
    }

    /// These list keys are here, and no others.
    pub fn handle_keys(&mut self, now: Timestamp, numbers: BTreeSet<u64>) {
        self.keys_here = numbers;
        self.begin_next();
        self.ask(now);
    }

    /// A list's content was sealed with the key that the manifest names. Where another pin came of
    /// it, or `None`, it is fetched.
    pub fn handle_resealed(&mut self, now: Timestamp, list: HeldList, pin: Option<ContentPin>) {
        let Some(wanted) = self.resealing.remove(&list) else { return };
        if pin == Some(wanted) && self.held.contains_key(&list) {
            self.held.insert(list, wanted);
        } else {
            self.not_resealed.insert(wanted);
        }
        self.begin_next();
        self.ask(now);
    }

    /// Single lists of kinds that are not wanted, to be fetched after everything wanted. Those that
    /// were selected before and are no more are withdrawn.
    pub fn handle_selected(&mut self, now: Timestamp, lists: BTreeSet<HeldList>) {
        if self.selected == lists {
            return;
        }
        self.selected = lists;
        let (wanted, selected) = (&self.wanted, &self.selected);
        let is_over = |list: &HeldList| !wanted.contains(&list.kind) && !selected.contains(list);
        self.parked.take_if(|job| is_over(&job.list));
        let over = self.job.as_ref().is_some_and(|job| !job.complete && is_over(&job.list));
        let gone: Vec<HeldList> = self.held.keys().copied().filter(|list| is_over(list)).collect();
        if over {
            self.drop_job();
        }
        for list in gone {
            self.held.remove(&list);
            self.outbox.push_back(ListOutput::Withdrawn(list));
        }
        self.begin_next();
        self.ask(now);
    }

    /// The connection came or went. Subscriptions end with a connection.
    pub fn handle_link(&mut self, now: Timestamp, linked: bool) {
        self.linked = linked;
        self.asked.clear();
        self.again_at = None;
        self.again_after = AGAIN_FIRST;
        self.ask(now);
    }

    /// A message of `all/manifest` has arrived.
    pub fn handle_manifest(&mut self, now: Timestamp, payload: &[u8]) {
        let Ok((new, _)) = with_any(&self.keys, |key| verify_manifest(payload, key)) else {
            return self.report(ListTrouble::NotAuthentic);
        };
        match may_follow(self.trusted.as_ref(), &new) {
            Ok(true) => {}
            Ok(false) => return,
            Err(trouble) => return self.report(trouble),
        }
        self.outbox.push_back(ListOutput::KeepManifest(payload.to_vec()));
        self.trusted = Some(new);
        self.expiry_said = false;
        self.withdraw();
        let stale = self.job.as_ref().is_some_and(|job| {
            // What the shell is looking at is looked at to its end.
            !job.complete && self.pinned(job.list).is_none_or(|pin| pin.content != job.target)
        });
        if stale {
            self.drop_job();
        }
        self.make_way();
        self.begin_next();
        self.ask(now);
    }

    /// A message of `all/chunk/{id}` has arrived. An empty one says that the block is withdrawn.
    pub fn handle_block(&mut self, now: Timestamp, id: BlockId, block: Vec<u8>) {
        let is_asked = self.asked.contains(&id);
        let Some(job) = self.job.as_mut().filter(|job| is_asked && !job.complete) else { return };
        if block.len() > BLOCK_BYTES || BlockId::of(&block) != id {
            if !block.is_empty() {
                self.report(ListTrouble::Corrupt);
            }
            return self.try_again(now);
        }
        if !job.assembly.has(&id) {
            self.outbox.push_back(ListOutput::KeepBlock { id, block: block.clone() });
            job.assembly.insert(id, block);
        }
        self.asked.remove(&id);
        self.outbox.push_back(ListOutput::Unsubscribe(id));
        self.again_after = AGAIN_FIRST;
        self.again_at = None;
        self.ask(now);
    }

    /// Whether these are exactly the bytes that the manifest pins for `list`: to be asked after a
    /// delta was applied, before the result is kept.
    pub fn is_content_of(&self, list: HeldList, content: &[u8]) -> bool {
        self.pinned(list).is_some_and(|pin| pin.content == content_pin(content))
    }

    /// The shell has kept a complete list durably, and uses it.
    pub fn handle_held(&mut self, now: Timestamp, list: HeldList) {
        if let Some(job) = self.job.take_if(|job| job.list == list && job.complete) {
            if self.pinned(list).is_none_or(|pin| pin.content == job.target) {
                self.held.insert(list, job.target);
            } else {
                self.outbox.push_back(ListOutput::Withdrawn(list));
            }
            self.outbox.push_back(ListOutput::ForgetBlocks);
            self.withdraw();
            self.begin_next();
            self.ask(now);
        }
    }

    /// A complete list is of no use. A delta that led to other bytes gives way to the list itself.
    pub fn handle_unusable(&mut self, now: Timestamp, list: HeldList) {
        if let Some(job) = self.job.take_if(|job| job.list == list && job.complete) {
            self.outbox.push_back(ListOutput::ForgetBlocks);
            if job.from.is_some() {
                self.bad_deltas.insert(job.pin);
            } else {
                self.unusable.insert(list, job.target);
                self.report(ListTrouble::Unusable { kind: list.kind, version: list.version });
            }
            self.begin_next();
            self.ask(now);
        }
    }

    /// Time has passed, `wall` by the wall clock: blocks that did not come are asked for anew, and
    /// an expired manifest is said once.
    pub fn handle_timeout(&mut self, now: Timestamp, wall: Timestamp) {
        if self.again_at.is_some_and(|at| at <= now) {
            self.again_after = (self.again_after * 2).min(AGAIN_LAST);
            self.again_at = None;
            // A retained message comes again with a new subscription.
            self.asked.clear();
            self.ask(now);
        }
        if let Some(manifest) = &self.trusted
            && manifest.expires < wall
            && !self.expiry_said
        {
            self.expiry_said = true;
            self.report(ListTrouble::Expired);
        }
    }

    /// When [`Self::handle_timeout`] has something to do for a block.
    pub const fn wake_at(&self) -> Option<Timestamp> {
        self.again_at
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> Option<ListOutput> {
        self.outbox.pop_front()
    }

    fn report(&mut self, trouble: ListTrouble) {
        self.outbox.push_back(ListOutput::Report(trouble));
    }

    fn pinned(&self, list: HeldList) -> Option<&ListPin> {
        self.trusted.as_ref()?.find(list.kind, list.version)
    }

    /// Lists that are pinned no more go once the newest of their kind is here: until then they are
    /// what is in use, and what a delta changes.
    fn withdraw(&mut self) {
        let Some(manifest) = &self.trusted else { return };
        let is_succeeded = |kind: ListKind| {
            manifest.newest(kind).is_some_and(|newest| {
                self.held.contains_key(&HeldList { kind, version: newest.version })
            })
        };
        let gone = self.held.keys().copied().filter(|list| {
            manifest.find(list.kind, list.version).is_none() && is_succeeded(list.kind)
        });
        for list in gone.collect::<Vec<_>>() {
            self.held.remove(&list);
            self.outbox.push_back(ListOutput::Withdrawn(list));
        }
    }

    fn drop_job(&mut self) {
        for id in core::mem::take(&mut self.asked) {
            self.outbox.push_back(ListOutput::Unsubscribe(id));
        }
        if self.job.take().is_some() {
            self.outbox.push_back(ListOutput::ForgetBlocks);
        }
    }

    fn is_selected(&self, job: &Job) -> bool {
        !self.wanted.contains(&job.list.kind)
    }

    /// A selected list may be large and its line slow: whatever is wanted meanwhile goes first.
    fn make_way(&mut self) {
        let small = self.trusted.as_ref().is_some_and(|manifest| {
            manifest.lists.iter().any(|pin| self.wanted.contains(&pin.kind) && self.lacks(pin))
        });
        let job = self.job.as_ref();
        if small && job.is_some_and(|job| self.is_selected(job) && !job.complete) {
            for id in core::mem::take(&mut self.asked) {
                self.outbox.push_back(ListOutput::Unsubscribe(id));
            }
            self.parked = self.job.take();
        }
    }

    fn lacks(&self, pin: &ListPin) -> bool {
        let list = of(pin);
        let is = Some(&pin.content);
        // A readable list is never pinned otherwise than it is held: what is here is it.
        let is_here = match pin.key {
            None => self.held.contains_key(&list),
            Some(_) => self.held.get(&list) == is,
        };
        !is_here && self.unusable.get(&list) != is
    }

    fn has(&self, key: u64) -> bool {
        self.keys_here.contains(&key)
    }

    /// Whether what is here becomes what is pinned by sealing it.
    fn may_reseal(&self, pin: &ListPin) -> bool {
        self.held.contains_key(&of(pin)) && !self.not_resealed.contains(&pin.content)
    }

    /// Asks for everything to be sealed that is here and pinned otherwise.
    fn reseal(&mut self) {
        let Some(manifest) = &self.trusted else { return };
        for pin in &manifest.lists {
            let (list, key) = (of(pin), pin.key.filter(|key| self.has(*key)));
            if let Some(key) = key
                && self.lacks(pin)
                && self.may_reseal(pin)
                && self.resealing.get(&list) != Some(&pin.content)
            {
                self.resealing.insert(list, pin.content);
                self.outbox.push_back(ListOutput::Reseal { list, key });
            }
        }
    }

    /// Takes up the next list that is wanted and not here, the manifest's order being the urgency;
    /// then those that are selected.
    fn begin_next(&mut self) {
        self.reseal();
        if self.job.is_some() {
            return;
        }
        let Some(manifest) = &self.trusted else { return };
        let opens =
            |pin: &ListPin| pin.key.is_none_or(|key| self.has(key) && !self.may_reseal(pin));
        let lacking = || manifest.lists.iter().filter(|pin| self.lacks(pin) && opens(pin));
        let wanted = lacking().find(|pin| self.wanted.contains(&pin.kind));
        let next = wanted.or_else(|| lacking().find(|pin| self.selected.contains(&of(pin))));
        let Some(pin) = next else { return };
        let list = of(pin);
        let is_it = |job: &mut Job| job.list == list && job.target == pin.content;
        if let Some(job) = self.parked.take_if(is_it) {
            self.job = Some(job);
            return;
        }
        let leads = |delta: &&DeltaPin| {
            let base = HeldList { kind: pin.kind, version: delta.from };
            self.held.contains_key(&base) && !self.bad_deltas.contains(&delta.content)
        };
        // Whichever is less on the line: a delta that is no shorter than the list is none.
        let shorter = |delta: &&DeltaPin| delta.content.length < pin.content.length;
        let shortest = pin.deltas.iter().filter(leads).filter(shorter);
        let delta = shortest.min_by_key(|delta| delta.content.length);
        let (from, way) = delta.map_or((None, pin.content), |d| (Some(d.from), d.content));
        let assembly = Assembly::new(way);
        let (target, key) = (pin.content, pin.key);
        self.job = Some(Job { list, target, from, key, pin: way, assembly, complete: false });
    }

    /// Keeps the window of questions full, or hands out what is complete.
    fn ask(&mut self, now: Timestamp) {
        let Some(job) = self.job.as_mut().filter(|job| !job.complete) else { return };
        // A level that does not add up is found by either; then nothing more is missing.
        let missing = job.assembly.missing(WINDOW).unwrap_or_default();
        if missing.is_empty() {
            return self.complete(now);
        }
        if !self.linked {
            return;
        }
        for id in missing {
            if self.asked.len() >= WINDOW {
                break;
            }
            if self.asked.insert(id) {
                self.outbox.push_back(ListOutput::Subscribe(id));
            }
        }
        if self.again_at.is_none() {
            self.again_at = Some(now.plus(self.again_after));
        }
    }

    /// Hands out what has no hole left.
    fn complete(&mut self, now: Timestamp) {
        let Some(job) = self.job.as_mut() else { return };
        job.complete = true;
        let (list, from, key) = (job.list, job.from, job.key);
        let assembly = core::mem::replace(&mut job.assembly, Assembly::new(job.pin));
        if let Ok(Some(content)) = assembly.content() {
            self.outbox.push_back(ListOutput::Complete { list, from, key, content });
        } else {
            // The signer itself pinned nonsense: as good as content that cannot be used.
            self.report(ListTrouble::Corrupt);
            self.handle_unusable(now, list);
        }
    }

    fn try_again(&mut self, now: Timestamp) {
        if self.again_at.is_none() {
            self.again_at = Some(now.plus(self.again_after));
        }
    }
}

const fn of(pin: &ListPin) -> HeldList {
    HeldList { kind: pin.kind, version: pin.version }
}
