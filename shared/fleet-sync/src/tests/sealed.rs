//! Lists sealed for the fleet: golden bytes, who opens them, and what a validator fetches.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::fmt::Write;

use expect_test::expect_file;
use model::{Timestamp, ValidatorId};
use proptest::{collection::vec as vec_of, prelude::*};
use wire::{HeldList, ListKey, ListKeys, ListKind, Message};

use crate::*;

const NOW: Timestamp = Timestamp(1);
const HOTLIST: HeldList = HeldList { kind: ListKind::HOTLIST, version: 1_795_003_600 };

fn key(number: u64) -> ListKey {
    ListKey { number, secret: [u8::try_from(number % 251).unwrap(); 32] }
}

fn depot() -> SigningKey {
    SigningKey::from_bytes(&[2; 32])
}

fn reader() -> KeyReader {
    let own = SigningKey::from_bytes(&[1; 32]);
    let depot = vec![depot().verifying_key()];
    KeyReader { validator: ValidatorId::new(42).unwrap(), own, depot }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for line in bytes.chunks(32) {
        for byte in line {
            write!(text, "{byte:02x}").unwrap();
        }
        text.push('\n');
    }
    text
}

#[test]
fn a_golden_list_is_sealed_and_opened_for_ever() {
    let key = ListKey { number: 1_795_003_600, secret: [5; 32] };
    let plain: Vec<u8> = (0..100).collect();
    let whole = seal_list(&key, HOTLIST, None, &plain);
    expect_file!["../../../../tests/vectors/wire/v3/list-sealed.hex"].assert_eq(&hex(&whole));
    let from = Some(1_795_000_000);
    let delta = seal_list(&key, HOTLIST, from, &plain);
    expect_file!["../../../../tests/vectors/wire/v3/delta-sealed.hex"].assert_eq(&hex(&delta));
    assert_eq!(open_list(&key, HOTLIST, None, whole.clone()), Some(plain.clone()));
    assert_eq!(open_list(&key, HOTLIST, from, delta), Some(plain));
    assert_eq!(open_list(&key, HOTLIST, from, whole.clone()), None, "a delta is no list");
    let next = HeldList { version: HOTLIST.version + 1, ..HOTLIST };
    assert_eq!(open_list(&key, next, None, whole.clone()), None, "of another day");
    let orders = HeldList { kind: ListKind::ACTIONS, ..HOTLIST };
    assert_eq!(open_list(&key, orders, None, whole.clone()), None, "of another kind");
    let other = ListKey { secret: [6; 32], ..key };
    assert_eq!(open_list(&other, HOTLIST, None, whole), None, "another key");
}

proptest! {
    #[test]
    fn a_content_has_one_sealed_form_and_every_other_one_is_refused(
        plain in vec_of(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u32,
        cut in 0..60_usize,
    ) {
        let sealed = seal_list(&key(7), HOTLIST, None, &plain);
        prop_assert_eq!(&sealed, &seal_list(&key(7), HOTLIST, None, &plain));
        prop_assert_eq!(open_list(&key(7), HOTLIST, None, sealed.clone()), Some(plain.clone()));
        let mut damaged = sealed.clone();
        damaged[at.index(sealed.len())] ^= 1 << bit;
        prop_assert_eq!(open_list(&key(7), HOTLIST, None, damaged), None);
        let short = sealed[..sealed.len().saturating_sub(cut + 1)].to_vec();
        prop_assert_eq!(open_list(&key(7), HOTLIST, None, short), None);
        prop_assert_ne!(sealed, seal_list(&key(8), HOTLIST, None, &plain));
    }
}

fn keys(version: u64, numbers: &[u64]) -> ListKeys {
    let keys = numbers.iter().map(|number| key(*number)).collect();
    ListKeys { validator: reader().validator, version, keys }
}

fn written(keys: &ListKeys) -> Vec<u8> {
    write_keys(keys, &depot(), &reader().own.verifying_key(), [3; 32]).unwrap()
}

#[test]
fn golden_list_keys_are_sealed_for_their_validator_and_opened_for_ever() {
    let given = ListKeys {
        keys: vec![
            ListKey { number: 1_795_000_000, secret: [4; 32] },
            ListKey { number: 1_795_003_600, secret: [5; 32] },
        ],
        ..keys(1_795_003_601, &[])
    };
    let payload = written(&given);
    expect_file!["../../../../tests/vectors/wire/v3/list-keys.hex"].assert_eq(&hex(&payload));
    let KeyReader { validator, own, depot } = reader();
    assert_eq!(read_keys(&payload, validator, &depot, &own), Ok(given));
    assert!(!payload.windows(8).any(|bytes| bytes == [5; 8]), "no secret is readable");
}

#[test]
fn only_the_newest_word_of_the_depot_to_this_validator_gives_it_keys() {
    let (mut ring, reader) = (KeyRing::default(), reader());
    assert_eq!((ring.newest(), ring.numbers().len()), (0, 0));
    let first = written(&keys(10, &[3, 5]));
    assert_eq!(ring.handle_keys(&first, &reader), Ok(true));
    let refused = |ring: &mut KeyRing, payload: &[u8]| {
        let why = ring.handle_keys(payload, &reader).unwrap_err();
        assert_eq!(ring.newest(), 5, "{why}: what was there stays");
        why
    };
    assert_eq!(ring.handle_keys(&first, &reader), Ok(false), "again");
    let older = written(&keys(9, &[1, 9]));
    assert_eq!(refused(&mut ring, &older), KeysRefused::Older { offered: 9, known: 10 });
    let other = written(&keys(10, &[3, 6]));
    assert_eq!(refused(&mut ring, &other), KeysRefused::Conflicting(10));
    let mut damaged = written(&keys(11, &[5, 7]));
    *damaged.last_mut().unwrap() ^= 1;
    let not_opened = KeysRefused::NotBelieved(SignatureError::NotOpened);
    assert_eq!(refused(&mut ring, &damaged), not_opened);
    let stranger = SigningKey::from_bytes(&[9; 32]);
    let me = reader.own.verifying_key();
    let forged = write_keys(&keys(11, &[5, 7]), &stranger, &me, [3; 32]).unwrap();
    let unknown = SignatureError::UnknownKey(key_id(&stranger.verifying_key()));
    assert_eq!(refused(&mut ring, &forged), KeysRefused::NotBelieved(unknown));
    let foreign = write_keys(&keys(11, &[5, 7]), &depot(), &stranger.verifying_key(), [3; 32]);
    let not_for_us = SignatureError::NotForUs(key_id(&stranger.verifying_key()));
    assert_eq!(refused(&mut ring, &foreign.unwrap()), KeysRefused::NotBelieved(not_for_us));
    let of_another = ListKeys { validator: ValidatorId::new(43).unwrap(), ..keys(11, &[5, 7]) };
    let why = refused(&mut ring, &written(&of_another)).to_string();
    assert_eq!(why, "list keys were refused");
    for nothing in [&b""[..], &[0x83], &[0xa0]] {
        refused(&mut ring, nothing);
    }
    // A newer word may also name lower keys: books that were restored from a backup have those.
    assert_eq!(ring.handle_keys(&written(&keys(12, &[3])), &reader), Ok(true));
    assert_eq!((ring.newest(), ring.find(5)), (3, None));
    assert_eq!(ring.find(3), Some(&key(3)));
}

#[test]
fn list_keys_that_are_not_sealed_are_refused() {
    let (me, depot) = (reader().own, depot());
    let body = keys(11, &[5]).encode().unwrap();
    let to = key_id(&me.verifying_key());
    let address = wire::Address { to, from: key_id(&depot.verifying_key()) };
    for address in [None, Some(address)] {
        let input = wire::Envelope::signing_input(Message::Keys, address, &body);
        let signature = ed25519_dalek::Signer::sign(&depot, &input).to_bytes();
        let open = wire::Envelope { address, body: &body, signature }.encode();
        let found = KeyRing::default().handle_keys(&open, &reader());
        assert_eq!(found, Err(KeysRefused::NotBelieved(SignatureError::NotSealed)));
    }
}

/// A validator: its disk, its keys, and a broker that answers every question at once.
struct Device {
    fetcher: ListFetcher,
    manifest: Option<Vec<u8>>,
    disk: BTreeMap<HeldList, Vec<u8>>,
    keys: BTreeSet<u64>,
    broker: BTreeMap<BlockId, Vec<u8>>,
    fetched: usize,
    whole: usize,
}

const WANTED: [ListKind; 1] = [ListKind::HOTLIST];

fn hotlist(version: u64) -> HeldList {
    HeldList { kind: ListKind::HOTLIST, version }
}

/// Bytes of a hotlist; a delta says what to append.
fn content(version: u64) -> Vec<u8> {
    (0..20_000 + version).map(|n| (n * n % 251) as u8).collect()
}

impl Device {
    fn new() -> Self {
        let mut device = Self {
            fetcher: ListFetcher::resume(&[], &WANTED, None, [], BTreeSet::new(), []),
            manifest: None,
            disk: BTreeMap::new(),
            keys: BTreeSet::new(),
            broker: BTreeMap::new(),
            fetched: 0,
            whole: 0,
        };
        device.restart();
        device
    }

    fn restart(&mut self) {
        let held = self.disk.iter().map(|(list, content)| (*list, content_pin(content)));
        let (keys, manifest) = (self.keys.clone(), self.manifest.as_deref());
        let depot = [depot().verifying_key()];
        self.fetcher = ListFetcher::resume(&depot, &WANTED, manifest, held, keys, []);
        self.fetcher.handle_link(NOW, true);
        self.drain();
    }

    fn give(&mut self, number: u64) {
        self.keys.insert(number);
        self.fetcher.handle_keys(NOW, self.keys.clone());
        self.drain();
    }

    /// The depot gives out a hotlist and the delta from the version before.
    fn publish(&mut self, manifest: u64, version: u64, number: Option<u64>) {
        let list = hotlist(version);
        let sealed = |from, plain: Vec<u8>| match number {
            None => plain,
            Some(number) => seal_list(&key(number), list, from, &plain),
        };
        let added = content(version)[content(version - 1).len()..].to_vec();
        let source = ListSource {
            kind: list.kind,
            version,
            content: sealed(None, content(version)),
            deltas: vec![(version - 1, sealed(Some(version - 1), added))],
            key: number,
        };
        let given = Shelf::new(&[source]).unwrap();
        self.broker.extend(given.blocks().map(|(id, block)| (id, block.to_vec())));
        let signed = given.sign(manifest, NOW, Timestamp(u64::MAX), &depot()).unwrap();
        self.fetcher.handle_manifest(NOW, &signed);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.fetcher.poll() {
            match output {
                ListOutput::KeepManifest(payload) => self.manifest = Some(payload),
                ListOutput::Subscribe(id) => {
                    let block = self.broker[&id].clone();
                    self.fetched += block.len();
                    self.fetcher.handle_block(NOW, id, block);
                }
                ListOutput::Complete { list, from, key: number, content } => {
                    self.whole += usize::from(from.is_none());
                    let opened = match number {
                        None => content,
                        Some(number) => open_list(&key(number), list, from, content).unwrap(),
                    };
                    let base = from.map(|from| self.disk[&hotlist(from)].clone());
                    let plain = [base.unwrap_or_default(), opened].concat();
                    self.disk.insert(list, plain);
                    self.fetcher.handle_held(NOW, list);
                }
                ListOutput::Reseal { list, key: number } => {
                    let sealed = seal_list(&key(number), list, None, &self.disk[&list]);
                    self.fetcher.handle_resealed(NOW, list, Some(content_pin(&sealed)));
                }
                ListOutput::Withdrawn(list) => drop(self.disk.remove(&list)),
                ListOutput::Report(trouble) => panic!("{trouble}"),
                ListOutput::Unsubscribe(_)
                | ListOutput::KeepBlock { .. }
                | ListOutput::ForgetBlocks => {}
            }
        }
    }

    /// What it holds, whether that is all, and for which key it waits.
    fn stands(&self) -> (Vec<u64>, bool, Option<u64>) {
        let held = self.fetcher.held().map(|list| list.version).collect();
        (held, self.fetcher.is_complete(), self.fetcher.waiting().map(|(_, key)| key))
    }
}

#[test]
fn a_sealed_list_is_fetched_once_the_key_is_here_and_the_old_one_stays_until_then() {
    let mut bus = Device::new();
    bus.publish(1, 7, None);
    assert_eq!(bus.stands(), (vec![7], true, None));
    bus.fetched = 0;
    bus.publish(2, 8, Some(100));
    assert_eq!(bus.stands(), (vec![7], false, Some(100)));
    bus.restart();
    assert_eq!(bus.stands(), (vec![7], false, Some(100)), "a restart between changes nothing");
    bus.give(99);
    assert_eq!((bus.stands(), bus.fetched), ((vec![7], false, Some(100)), 0));
    bus.give(100);
    assert_eq!(bus.stands(), (vec![8], true, None));
    assert!(bus.fetched < 100, "{} bytes: the delta, once", bus.fetched);
    assert_eq!(bus.disk[&hotlist(8)], content(8));
    // The key first, and a validator that has nothing.
    let mut fresh = Device::new();
    fresh.give(100);
    fresh.publish(2, 8, Some(100));
    assert_eq!((fresh.stands(), fresh.whole), ((vec![8], true, None), 1));
}

#[test]
fn what_is_here_is_never_fetched_again_because_it_is_sealed_anew() {
    let mut bus = Device::new();
    bus.publish(1, 7, None);
    bus.give(100);
    bus.fetched = 0;
    bus.publish(2, 7, Some(100));
    assert_eq!(bus.stands(), (vec![7], true, None), "sealed, that was readable");
    bus.restart();
    assert_eq!(bus.stands(), (vec![7], true, None), "after a restart, from readable bytes");
    bus.publish(3, 7, Some(200));
    assert_eq!(bus.stands(), (vec![7], false, Some(200)), "a new key, on its way");
    bus.give(200);
    assert_eq!(bus.stands(), (vec![7], true, None));
    bus.publish(4, 7, None);
    assert_eq!((bus.stands(), bus.fetched), ((vec![7], true, None), 0), "readable again");
    // A delta sealed with the new key changes what came under the old one.
    bus.publish(5, 8, Some(200));
    assert_eq!((bus.stands(), bus.whole), ((vec![8], true, None), 1));
    assert!(bus.fetched < 100, "{} bytes", bus.fetched);
}

#[test]
fn what_is_here_and_is_not_what_the_depot_sealed_is_fetched_whole() {
    let mut bus = Device::new();
    bus.publish(1, 7, None);
    bus.give(100);
    bus.disk.insert(hotlist(7), b"something else".to_vec());
    bus.publish(2, 7, Some(100));
    assert_eq!(bus.stands(), (vec![7], true, None));
    assert_eq!((bus.whole, &bus.disk[&hotlist(7)]), (2, &content(7)));
}

#[test]
fn other_contents_of_one_version_are_refused_unless_another_key_sealed_them() {
    let mut bus = Device::new();
    bus.give(100);
    bus.publish(1, 7, Some(100));
    let forged = ListSource {
        kind: ListKind::HOTLIST,
        version: 7,
        content: seal_list(&key(100), hotlist(7), None, b"others"),
        deltas: vec![],
        key: Some(100),
    };
    let signed = Shelf::new(&[forged]).unwrap().sign(2, NOW, NOW, &depot()).unwrap();
    bus.fetcher.handle_manifest(NOW, &signed);
    let (kind, version) = (ListKind::HOTLIST, 7);
    let refused = ListOutput::Report(ListTrouble::OtherContent { kind, version });
    assert_eq!(bus.fetcher.poll(), Some(refused));
    assert_eq!(bus.stands(), (vec![7], true, None));
}
