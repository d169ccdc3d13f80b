//! Manifests and what hangs on them: golden bytes, bounds, and nothing that panics.

use alloc::{string::ToString, vec, vec::Vec};

use expect_test::expect_file;
use model::{ServiceDate, TariffVersion, Timestamp};
use proptest::{collection::vec as vec_of, prelude::*};

use super::{hex, state};
use crate::{
    ContentPin, DeltaPin, HeldList, ListKind, ListPin, ListsState, Manifest, PublishedTariff,
    StateWord, ValidatorState, WireError, limits,
};

fn pin(kind: ListKind, version: u64, root: u8) -> ListPin {
    let content = ContentPin { length: 70_000, root: [root; 32] };
    ListPin { kind, version, content, deltas: Vec::new(), key: None }
}

fn manifest() -> Manifest {
    let delta = ContentPin { length: 8_000, root: [0xdd; 32] };
    let hotlist = ListPin {
        deltas: vec![DeltaPin { from: 1_795_000_000, content: delta }],
        ..pin(ListKind::HOTLIST, 1_795_003_600, 0xbb)
    };
    Manifest {
        version: 1_795_003_600,
        issued: Timestamp(1_795_003_600_000),
        expires: Timestamp(1_795_176_400_000),
        lists: vec![pin(ListKind::TARIFF, 8, 0x08), pin(ListKind::TARIFF, 9, 0x09), hotlist],
    }
}

fn tariff() -> PublishedTariff {
    PublishedTariff {
        version: TariffVersion(9),
        valid_from: ServiceDate(20_783),
        starts_at: Timestamp(1_795_662_000_000),
        signature: [0x5a; 64],
        text: "format = 1\n".to_string(),
    }
}

fn with_lists() -> ValidatorState {
    let held = |kind, version| HeldList { kind, version };
    let lists = ListsState {
        manifest: 1_795_003_600,
        issued: Timestamp(1_795_003_600_000),
        held: vec![held(ListKind::TARIFF, 8), held(ListKind::HOTLIST, 1_795_000_000)],
        trouble: "tariff 9 cannot be used: it has no place \"A\"".to_string(),
        key: None,
    };
    ValidatorState { lists: Some(lists), ..state(StateWord::Ready) }
}

#[test]
fn golden_lists_are_written_and_read_for_ever() {
    let manifest_file = expect_file!["../../../../tests/vectors/wire/v1/manifest.body.hex"];
    let body = manifest().encode().unwrap();
    manifest_file.assert_eq(&hex(&body));
    assert_eq!(Manifest::decode(&body), Ok(manifest()));
    let tariff_file = expect_file!["../../../../tests/vectors/wire/v1/tariff-list.hex"];
    tariff_file.assert_eq(&hex(&tariff().encode()));
    assert_eq!(PublishedTariff::decode(&tariff().encode()), Ok(tariff()));
    let state_file = expect_file!["../../../../tests/vectors/wire/v1/state-lists.body.hex"];
    let said = with_lists().encode().unwrap();
    state_file.assert_eq(&hex(&said));
    assert_eq!(ValidatorState::decode(&said), Ok(with_lists()));
}

#[test]
fn a_state_without_lists_or_with_empty_ones_reads_back() {
    for lists in [None, Some(ListsState::default())] {
        let said = ValidatorState { lists, ..state(StateWord::Lost) };
        assert_eq!(ValidatorState::decode(&said.encode().unwrap()), Ok(said));
    }
    let trouble = "x".repeat(limits::TROUBLE + 1);
    let lists = Some(ListsState { trouble, ..ListsState::default() });
    let said = ValidatorState { lists, ..state(StateWord::Lost) };
    assert!(matches!(said.encode(), Err(WireError::TooLarge { .. })));
}

#[test]
fn a_manifest_out_of_order_or_out_of_bounds_is_refused() {
    let with = |lists: Vec<ListPin>| Manifest { lists, ..manifest() }.encode();
    let twice = vec![pin(ListKind::TARIFF, 8, 1), pin(ListKind::TARIFF, 8, 2)];
    assert_eq!(with(twice), Err(WireError::OutOfRange("order of lists")));
    let falling = vec![pin(ListKind::HOTLIST, 1, 1), pin(ListKind::TARIFF, 8, 2)];
    assert_eq!(with(falling), Err(WireError::OutOfRange("order of lists")));
    let many = (0..=limits::LISTS as u64).map(|n| pin(ListKind::TARIFF, n, 1)).collect();
    assert!(matches!(with(many), Err(WireError::TooLarge { what: "number of lists", .. })));
    let content = ContentPin { length: u32::MAX, root: [0; 32] };
    let large = ListPin { content, ..pin(ListKind::TARIFF, 1, 1) };
    assert!(matches!(with(vec![large]), Err(WireError::TooLarge { what: "list", .. })));
    let delta = DeltaPin { from: 1, content: ContentPin { length: 1, root: [0; 32] } };
    let deltas = vec![delta; limits::DELTAS + 1];
    let winding = ListPin { deltas, ..pin(ListKind::TARIFF, 1, 1) };
    assert!(matches!(
        with(vec![winding]),
        Err(WireError::TooLarge { what: "number of deltas", .. })
    ));
}

#[test]
fn the_largest_manifest_of_one_tariff_a_week_fits_and_words_are_known() {
    let lists = (1..=limits::LISTS as u64).map(|n| pin(ListKind::TARIFF, n, 1)).collect();
    let body = Manifest { lists, ..manifest() }.encode().unwrap();
    assert!(body.len() + 80 < limits::MANIFEST, "{} bytes", body.len());
    assert_eq!(ListKind::TARIFF.word(), Some("tariff"));
    assert_eq!(ListKind(99).word(), None);
}

proptest! {
    #[test]
    fn no_bytes_make_a_lists_decoder_panic(
        bytes in vec_of(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
        with in any::<u8>(),
    ) {
        let _ = Manifest::decode(&bytes);
        let _ = PublishedTariff::decode(&bytes);
        for mut body in [manifest().encode().unwrap(), with_lists().encode().unwrap()] {
            let at = at.index(body.len());
            body[at] = with;
            let _ = Manifest::decode(&body);
            let _ = ValidatorState::decode(&body);
        }
    }
}
