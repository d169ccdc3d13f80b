//! The stored forms.
#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes its snapshots so")]

use proptest::prelude::*;

use super::{Depot, history, in_doubt, rules};
use crate::{CardState, KnownRecord, StateError};

#[test]
fn the_state_of_a_plain_card_is_small_and_its_bytes_never_change() {
    let rules = rules();
    let history = history(&rules, "20.00, ferry F");
    let mut depot = Depot::default();
    depot.issue(&rules, &history.records[0]);
    depot.clear(&rules, &history.committed(2));
    let bytes = depot.state.to_bytes().unwrap();
    assert!(bytes.len() <= 80, "{}", bytes.len());
    let rows = bytes.chunks(32).map(|row| alloc::format!("{row:02x?}").replace(", ", ""));
    expect_test::expect![[r#"
        [0103000000000000000001000000000000000000000011020000400600009001]
        [0058d4496b140000030000000100ff0000000000000002010000000000000000]
        [000000]"#]]
    .assert_eq(&rows.collect::<alloc::vec::Vec<_>>().join("\n"));

    let mut newer = bytes.clone();
    newer[0] = 2;
    assert_eq!(CardState::from_bytes(&newer), Err(StateError::UnknownVersion(2)));
    for cut in 0..bytes.len() {
        assert_eq!(CardState::from_bytes(&bytes[..cut]), Err(StateError::Damaged), "{cut}");
    }
}

#[test]
fn the_state_of_a_card_in_francs_says_so_and_its_bytes_never_change() {
    let rules = rules();
    let history = history(&rules, "CHF 20.00, ferry F");
    let mut depot = Depot::default();
    depot.issue(&rules, &history.records[0]);
    depot.clear(&rules, &history.entry(2, 1, in_doubt));
    let bytes = depot.state.to_bytes().unwrap();
    let rows = bytes.chunks(32).map(|row| alloc::format!("{row:02x?}").replace(", ", ""));
    expect_test::expect![[r#"
        [01230000000000000000f40201000000000000000000000030010000d0070000]
        [d0070000d2496b000000ffff00000100ff0000000000000003ffff0000000000]
        [0001001400000001000000010000000000000030010000d0070000d0070000d2]
        [496b000000ffff00000100ff00000000000000310200005906000077010058d4]
        [496b140000030000000100ff0000000000000001000100c0776518a301000040]
        [f4020000]"#]]
    .assert_eq(&rows.collect::<alloc::vec::Vec<_>>().join("\n"));
    for cut in 0..bytes.len() {
        assert_eq!(CardState::from_bytes(&bytes[..cut]), Err(StateError::Damaged), "{cut}");
    }
    let mut unknown = bytes;
    unknown[10..12].copy_from_slice(&[0xff, 0xff]);
    assert_eq!(CardState::from_bytes(&unknown), Err(StateError::Damaged), "no such currency");
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Some(first) = bytes.first_mut() {
            *first = 1;
        }
        if let Ok(state) = CardState::from_bytes(&bytes) {
            prop_assert_eq!(CardState::from_bytes(&state.to_bytes().unwrap()), Ok(state));
        }
        if let Some(known) = KnownRecord::from_bytes(&bytes) {
            prop_assert_eq!(KnownRecord::from_bytes(&known.to_bytes().unwrap()), Some(known));
        }
    }
}
