//! Golden texts, and properties over whatever a scanner may read.

use alloc::{format, string::String};

use ed25519_dalek::SigningKey;
use expect_test::{ExpectFile, expect_file};
use model::{
    Currency, Money, PlaceIx, RiderClass, RouteIx, TariffVersion, Ticket, TicketId, TicketScope,
    Timestamp,
};
use proptest::prelude::*;

use crate::{Disbelief, TEXT_LEN, TextError, TicketKeys, from_text, issue, key_id, to_text};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn ticket(scope: TicketScope) -> Ticket {
    Ticket {
        id: TicketId { key: key_id(&key(7).verifying_key()), serial: [0, 1, 2, 3, 4, 5, 6, 7] },
        price: Money::new(240, Currency::parse("EUR").unwrap()),
        valid_from: Timestamp::from_secs(1_795_000_000),
        minutes: 90,
        scope,
        tariff: TariffVersion(9),
        class: RiderClass(1),
    }
}

fn text() -> String {
    to_text(&issue(&ticket(TicketScope::Network), &key(7)).unwrap())
}

fn keys() -> TicketKeys {
    TicketKeys::new([key(7).verifying_key()])
}

fn golden() -> [(TicketScope, ExpectFile); 4] {
    macro_rules! text_file {
        ($name:literal) => {
            expect_file![concat!("../../../tests/vectors/ticket/", $name, ".txt")]
        };
    }
    [
        (TicketScope::Network, text_file!("network")),
        (TicketScope::Place(PlaceIx(300)), text_file!("place")),
        (TicketScope::Route(RouteIx(17)), text_file!("route")),
        (TicketScope::Group(2), text_file!("group")),
    ]
}

#[test]
fn golden_tickets_are_written_and_believed_for_ever() {
    let public = data_encoding::HEXLOWER.encode(key(7).verifying_key().as_bytes());
    expect_file!["../../../tests/vectors/ticket/key.hex"].assert_eq(&format!("{public}\n"));
    for (scope, file) in golden() {
        let token = issue(&ticket(scope), &key(7)).unwrap();
        let text = to_text(&token);
        assert_eq!(text.len(), TEXT_LEN);
        file.assert_eq(&format!("{text}\n"));
        assert_eq!(from_text(file.data().trim()), Ok(token));
        assert_eq!(keys().believe(&token), Ok(ticket(scope)));
    }
}

#[test]
fn letter_case_and_blanks_around_the_text_do_not_matter() {
    let token = from_text(&text()).unwrap();
    assert_eq!(from_text(&text().to_lowercase()), Ok(token));
    assert_eq!(from_text(&format!(" \t{} \0", text()).replace('\0', "")), Ok(token));
}

#[test]
fn a_ticket_glued_to_what_came_before_is_read() {
    let (good, token) = (text(), from_text(&text()).unwrap());
    for glued in ["READY V1.2 ", "TAPLINE1:AH7ICL", "TAPLINE2:", &good, "é"] {
        assert_eq!(from_text(&format!("{glued}{good}")), Ok(token), "{glued}");
    }
}

#[test]
fn what_is_no_ticket_is_refused_by_name() {
    let good = text();
    for (text, error) in [
        ("", TextError::NotATicket),
        ("https://example.org/menu", TextError::NotATicket),
        ("TAPLIN", TextError::NotATicket),
        ("TAPLINE", TextError::Garbled),
        ("TAPLINE:", TextError::Garbled),
        ("TAPLINEX:AAAA", TextError::Garbled),
        ("TAPLINE2:AAAA", TextError::NewerFormat),
        ("TAPLINE1:AAAA", TextError::Garbled),
        (&good[..good.len() - 1], TextError::Garbled),
        (&format!("{good}A"), TextError::Garbled),
        (&format!("{good}]Q3"), TextError::Garbled),
        (&format!("TAPLINE1:{}", "1".repeat(154)), TextError::Garbled),
        ("TAPLINÉ1:AAAA", TextError::NotATicket),
    ] {
        assert_eq!(from_text(text), Err(error), "{text:?}");
    }
}

#[test]
fn a_ticket_of_another_key_is_refused_and_two_keys_are_believed_while_one_follows_the_other() {
    let old = issue(&ticket(TicketScope::Network), &key(7)).unwrap();
    let id = TicketId { key: key_id(&key(8).verifying_key()), serial: [1; 8] };
    let new = issue(&Ticket { id, ..ticket(TicketScope::Network) }, &key(8)).unwrap();
    assert!(keys().believe(&old).is_ok());
    assert_eq!(keys().believe(&new), Err(Disbelief::UnknownKey(id.key)));
    let both = TicketKeys::new([key(7).verifying_key(), key(8).verifying_key()]);
    assert!(both.believe(&old).is_ok() && both.believe(&new).is_ok());
    assert_eq!(both.len(), 2);
    assert!(TicketKeys::default().is_empty());
}

#[test]
fn a_key_that_would_let_one_signature_hold_for_several_tickets_is_not_taken() {
    let mut identity = [0; 32];
    identity[0] = 1;
    let weak = ed25519_dalek::VerifyingKey::from_bytes(&identity).unwrap();
    assert!(TicketKeys::new([weak]).is_empty());
}

proptest! {
    #[test]
    fn any_text_is_a_ticket_or_refused_by_name(text in ".{0,200}") {
        let _ = from_text(&text);
        let _ = from_text(&format!("TAPLINE1:{text}"));
    }

    #[test]
    fn a_changed_character_is_never_believed(at in 0..TEXT_LEN, other in "[ -~]") {
        let good = text();
        prop_assume!(!good[at..=at].eq_ignore_ascii_case(&other));
        let changed = format!("{}{other}{}", &good[..at], &good[at + 1..]);
        let believed = from_text(&changed).ok().and_then(|token| keys().believe(&token).ok());
        prop_assert_eq!(believed, None, "{}", changed);
    }

    #[test]
    fn a_ticket_reads_back_as_issued(
        serial in any::<[u8; 8]>(),
        price in any::<u32>(),
        from in any::<u32>(),
        minutes in 1..=Ticket::MINUTES_MAX,
        scope in (0..4, any::<u16>()),
        tariff in any::<u16>(),
        class in 0..16_u8,
    ) {
        let ticket = Ticket {
            id: TicketId { key: key_id(&key(7).verifying_key()), serial },
            price: Money::new(i64::from(price), Currency::parse("KWD").unwrap()),
            valid_from: Timestamp::from_secs(u64::from(from)),
            minutes,
            scope: match scope {
                (0, _) => TicketScope::Network,
                (1, ix) => TicketScope::Place(PlaceIx(ix)),
                (2, ix) => TicketScope::Route(RouteIx(ix)),
                (_, ix) => TicketScope::Group(ix.to_le_bytes()[0]),
            },
            tariff: TariffVersion(tariff),
            class: RiderClass(class),
        };
        let token = issue(&ticket, &key(7)).unwrap();
        prop_assert_eq!(from_text(&to_text(&token)), Ok(token));
        prop_assert_eq!(keys().believe(&token), Ok(ticket));
    }
}
