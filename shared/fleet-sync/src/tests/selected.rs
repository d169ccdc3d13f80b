//! Lists of a kind that is not wanted, fetched one by one: after everything else, and never in the
//! way of it.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec,
    vec::Vec,
};

use ed25519_dalek::SigningKey;
use model::Timestamp;
use wire::{HeldList, ListKind};

use crate::{BlockId, ListFetcher, ListOutput, ListSource, Shelf};

const NOW: Timestamp = Timestamp(1);
const IMAGE: HeldList = HeldList { kind: ListKind::IMAGE, version: 5 };

/// A validator that wants tariffs, and what it has got.
struct Device {
    fetcher: ListFetcher,
    broker: BTreeMap<BlockId, Vec<u8>>,
    asked: Vec<BlockId>,
    kept: Vec<BlockId>,
    complete: Vec<HeldList>,
    withdrawn: Vec<HeldList>,
}

impl Device {
    fn new() -> Self {
        let key = key().verifying_key();
        let mut fetcher =
            ListFetcher::resume(&[key], &[ListKind::TARIFF], None, [], BTreeSet::new(), []);
        fetcher.handle_link(NOW, true);
        let (broker, asked) = (BTreeMap::new(), Vec::new());
        let (kept, complete, withdrawn) = (Vec::new(), Vec::new(), Vec::new());
        Self { fetcher, broker, asked, kept, complete, withdrawn }
    }

    /// A tariff, and the image of always.
    fn publish(&mut self, version: u64) {
        let image = (0..300_000).flat_map(u32::to_le_bytes).collect();
        let tariff = vec![u8::try_from(version).unwrap(); 20_000];
        let source = |list: HeldList, content| ListSource {
            kind: list.kind,
            version: list.version,
            content,
            deltas: vec![],
            key: None,
        };
        let list = HeldList { kind: ListKind::TARIFF, version };
        let given = Shelf::new(&[source(list, tariff), source(IMAGE, image)]).unwrap();
        self.broker.extend(given.blocks().map(|(id, block)| (id, block.to_vec())));
        let manifest = given.sign(version, NOW, Timestamp(u64::MAX), &key()).unwrap();
        self.fetcher.handle_manifest(NOW, &manifest);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.fetcher.poll() {
            match output {
                ListOutput::Subscribe(id) => self.asked.push(id),
                ListOutput::Unsubscribe(id) => self.asked.retain(|asked| *asked != id),
                ListOutput::KeepBlock { id, .. } => self.kept.push(id),
                ListOutput::Complete { list, .. } => {
                    self.complete.push(list);
                    self.fetcher.handle_held(NOW, list);
                }
                ListOutput::Withdrawn(list) => self.withdrawn.push(list),
                ListOutput::KeepManifest(_) | ListOutput::ForgetBlocks => {}
                ListOutput::Report(trouble) => panic!("{trouble}"),
                ListOutput::Reseal { .. } => panic!("nothing is sealed here"),
            }
        }
    }

    /// The broker answers so many questions, the first one first.
    fn serve(&mut self, count: usize) {
        for _ in 0..count {
            let Some(id) = self.asked.first().copied() else { return };
            self.fetcher.handle_block(NOW, id, self.broker[&id].clone());
            self.drain();
        }
    }

    fn select(&mut self, lists: &[HeldList]) {
        self.fetcher.handle_selected(NOW, lists.iter().copied().collect());
        self.drain();
    }
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[2; 32])
}

#[test]
fn a_list_that_is_wanted_interrupts_a_selected_one_which_then_goes_on() {
    let mut device = Device::new();
    device.publish(1);
    device.serve(usize::MAX);
    assert_eq!(device.complete.len(), 1, "nobody selected the image");
    device.select(&[IMAGE]);
    assert!(device.fetcher.is_complete(), "what is wanted is here");
    device.serve(20);
    let so_far = device.kept.len();
    device.publish(2);
    device.serve(4);
    let newer = HeldList { kind: ListKind::TARIFF, version: 2 };
    assert_eq!(device.complete.last(), Some(&newer), "goes first");
    device.serve(usize::MAX);
    assert_eq!(device.complete.last(), Some(&IMAGE));
    assert!(so_far > 15, "{so_far}");
    let different: BTreeSet<_> = device.kept.iter().collect();
    assert_eq!(different.len(), device.kept.len(), "no block came twice");
}

#[test]
fn a_list_that_is_not_selected_any_more_is_given_up_or_withdrawn() {
    let mut device = Device::new();
    device.publish(1);
    device.serve(usize::MAX);
    device.select(&[IMAGE]);
    device.serve(20);
    device.select(&[]);
    assert!(device.asked.is_empty());
    device.serve(usize::MAX);
    assert!(!device.complete.contains(&IMAGE));
    device.select(&[IMAGE]);
    device.serve(usize::MAX);
    assert_eq!(device.complete.last(), Some(&IMAGE));
    device.select(&[]);
    assert_eq!(device.withdrawn, [IMAGE]);
}
