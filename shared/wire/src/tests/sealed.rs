//! Sealed lists and what opens them: golden bytes, bounds, and nothing that panics.

use alloc::{vec, vec::Vec};

use expect_test::expect_file;
use model::{Timestamp, ValidatorId};
use proptest::{collection::vec as vec_of, prelude::*};

use super::{hex, state};
use crate::{
    ContentPin, DeltaPin, HeldList, ListKey, ListKeys, ListKind, ListPin, ListsState, Manifest,
    StateWord, ValidatorState, WireError, limits,
};

fn keys() -> ListKeys {
    let key = |number, secret| ListKey { number, secret: [secret; 32] };
    let keys = vec![key(1_795_000_000, 4), key(1_795_003_600, 5)];
    ListKeys { validator: ValidatorId::new(42).unwrap(), version: 1_795_003_601, keys }
}

fn manifest() -> Manifest {
    let pin = |kind, version, root, key| ListPin {
        kind,
        version,
        content: ContentPin { length: 70_000, root: [root; 32] },
        deltas: Vec::new(),
        key,
    };
    let content = ContentPin { length: 8_000, root: [0xdd; 32] };
    let hotlist = ListPin {
        deltas: vec![DeltaPin { from: 1_795_000_000, content }],
        ..pin(ListKind::HOTLIST, 1_795_003_600, 0xbb, Some(1_795_003_600))
    };
    let orders = pin(ListKind::ACTIONS, 1_795_003_500, 0xaa, Some(1_795_003_600));
    Manifest {
        version: 1_795_003_600,
        issued: Timestamp(1_795_003_600_000),
        expires: Timestamp(1_795_176_400_000),
        lists: vec![pin(ListKind::TARIFF, 9, 0x09, None), hotlist, orders],
    }
}

fn having(key: u64) -> ValidatorState {
    let held = vec![HeldList { kind: ListKind::HOTLIST, version: 1_795_000_000 }];
    let (manifest, issued) = (1_795_003_600, Timestamp(1_795_003_600_000));
    let lists = ListsState { manifest, issued, held, key: Some(key), ..ListsState::default() };
    ValidatorState { lists: Some(lists), ..state(StateWord::Ready) }
}

#[test]
fn golden_keys_and_what_they_seal_are_written_and_read_for_ever() {
    let body = keys().encode().unwrap();
    expect_file!["../../../../tests/vectors/wire/v3/list-keys.body.hex"].assert_eq(&hex(&body));
    assert_eq!(ListKeys::decode(&body), Ok(keys()));
    let body = manifest().encode().unwrap();
    let file = expect_file!["../../../../tests/vectors/wire/v3/manifest-sealed.body.hex"];
    file.assert_eq(&hex(&body));
    assert_eq!(Manifest::decode(&body), Ok(manifest()));
    let body = having(1_795_003_600).encode().unwrap();
    let file = expect_file!["../../../../tests/vectors/wire/v3/state-list-key.body.hex"];
    file.assert_eq(&hex(&body));
    assert_eq!(ValidatorState::decode(&body), Ok(having(1_795_003_600)));
    let none_yet = having(0).encode().unwrap();
    assert_eq!(ValidatorState::decode(&none_yet), Ok(having(0)), "none yet is not: cannot read");
}

#[test]
fn keys_out_of_order_or_out_of_bounds_are_refused() {
    let with = |numbers: &[u64]| {
        let key = |number: &u64| ListKey { number: *number, secret: [7; 32] };
        ListKeys { keys: numbers.iter().map(key).collect(), ..keys() }.encode()
    };
    let order = Err(WireError::OutOfRange("numbers of list keys"));
    for numbers in [&[][..], &[0], &[0, 1], &[2, 1], &[3, 3]] {
        assert_eq!(with(numbers), order, "{numbers:?}");
    }
    let many: Vec<u64> = (1..=limits::LIST_KEYS as u64 + 1).collect();
    assert!(matches!(with(&many), Err(WireError::TooLarge { .. })));
    let largest: Vec<u64> = (0..limits::LIST_KEYS as u64).map(|n| u64::MAX - 8 + n).collect();
    assert!(with(&largest).unwrap().len() + 200 < limits::SMALL);
    let said = alloc::format!("{:?}", keys());
    assert!(said.contains("ListKey(1795003600)") && !said.contains("[4, 4"), "{said}");
}

#[test]
fn the_largest_manifest_fits_when_every_list_is_sealed() {
    let pin = |version| ListPin {
        kind: ListKind::TARIFF,
        version,
        content: ContentPin { length: 70_000, root: [1; 32] },
        deltas: Vec::new(),
        key: Some(u64::MAX),
    };
    let lists = (1..=limits::LISTS as u64).map(pin).collect();
    let body = Manifest { lists, ..manifest() }.encode().unwrap();
    assert!(body.len() + 80 < limits::MANIFEST, "{} bytes", body.len());
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_of_keys_panic(
        bytes in vec_of(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
        with in any::<u8>(),
    ) {
        let _ = ListKeys::decode(&bytes);
        let mut body = keys().encode().unwrap();
        let at = at.index(body.len());
        body[at] = with;
        let _ = ListKeys::decode(&body);
    }
}
