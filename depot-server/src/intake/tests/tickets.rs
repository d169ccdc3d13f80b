//! Tickets through the pipeline: sold and used, used unsold, forged, and altered afterwards.

use model::{
    Currency, Money, RiderClass, TapEvent, TariffVersion, Ticket, TicketId, TicketScope,
    TicketToken, Timestamp,
};
use ticket::{SigningKey, issue, key_id};

use super::{NOON, Rig, depot};
use crate::{
    http::views::{Books, Outcome, TapFilter},
    intake::{Checker, sell_tickets},
    workload::card_keys,
};

fn key() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

fn token(serial: u8, currency: &str) -> TicketToken {
    let ticket = Ticket {
        id: TicketId { key: key_id(&key().verifying_key()), serial: [serial; 8] },
        price: Money::new(250, Currency::parse(currency).unwrap()),
        valid_from: Timestamp::from_secs(u64::from(NOON)),
        minutes: 90,
        scope: TicketScope::Network,
        tariff: TariffVersion(1),
        class: RiderClass(0),
    };
    issue(&ticket, &key()).unwrap()
}

fn rig() -> Rig {
    let rig = Rig::new();
    rig.place.store.add_ticket_key(&key().verifying_key(), Timestamp(0)).unwrap();
    rig
}

/// What stands on the accounts of a kind; credits are negative.
fn standing(rig: &Rig, word: &str) -> i64 {
    let rows = rig.books().trial_balance().unwrap();
    rows.iter().filter(|row| row.name.contains(word)).map(|row| row.balance.minor()).sum()
}

fn used(rig: &mut Rig, bus: usize, token: TicketToken, at: u32) {
    rig.buses[bus].log(None, NOON + at, TapEvent::Ticket { token });
    let batch = rig.buses[bus].batch();
    rig.submit(&[batch]);
}

#[test]
fn sales_and_uses_are_booked_in_whatever_order_and_verify_keeps_the_order() {
    let mut rig = rig();
    let [first, second] = [token(1, "EUR"), token(2, "EUR")];
    sell_tickets(&rig.place, &[first]).unwrap();
    used(&mut rig, 0, first, 10);
    used(&mut rig, 1, second, 20);
    assert_eq!(rig.open_kinds(), ["ticket-not-issued"]);
    rig.assert_sound();
    sell_tickets(&rig.place, &[second, first]).unwrap();
    assert_eq!(rig.open_kinds(), [""; 0]);
    assert_eq!((standing(&rig, "ticket-cash"), standing(&rig, "fare-revenue")), (500, -500));
    assert_eq!((standing(&rig, "ticket-liab"), standing(&rig, "ticket-uniss")), (0, 0));
    // Again, elsewhere and earlier: one ride is paid.
    rig.restart();
    used(&mut rig, 1, first, 5);
    assert_eq!(rig.open_kinds(), ["ticket-used-twice"]);
    assert_eq!(standing(&rig, "fare-revenue"), -500);
    let sums = rig.books().tap_sums(&TapFilter::default()).unwrap();
    assert_eq!((sums.of(Outcome::Ticket), sums.charged[0].minor()), (3, 0));
    rig.assert_sound();
}

#[test]
fn a_use_whose_signature_does_not_hold_is_kept_and_moves_nothing() {
    let mut rig = rig();
    let mut altered = token(1, "EUR");
    altered.0[16] ^= 1;
    used(&mut rig, 0, altered, 10);
    assert_eq!(rig.open_kinds(), ["proof-invalid"]);
    // Signed well, and still none of our tickets.
    used(&mut rig, 0, token(2, "JPY"), 20);
    assert_eq!(rig.open_kinds(), ["proof-invalid", "quarantined"]);
    assert_eq!(rig.sums(), (2, 0));
    assert_eq!(standing(&rig, "fare-revenue"), 0);
    rig.assert_sound();
}

#[test]
fn two_tickets_under_one_number_are_two_tickets() {
    let mut rig = rig();
    let sold = token(1, "EUR");
    let mut dearer = sold.ticket().unwrap();
    dearer.price = Money::new(9_000, dearer.price.currency());
    let dearer = issue(&dearer, &key()).unwrap();
    sell_tickets(&rig.place, &[sold]).unwrap();
    used(&mut rig, 0, dearer, 10);
    used(&mut rig, 1, sold, 20);
    assert_eq!(rig.open_kinds(), ["ticket-not-issued"]);
    assert_eq!((standing(&rig, "ticket-uniss"), standing(&rig, "ticket-liab")), (9_000, 0));
    let known = rig.place.store.tickets(sold.id()).unwrap();
    let sold_at: Vec<_> =
        known.iter().map(|(ticket, _, at)| (ticket.price, at.is_some())).collect();
    let eur = |minor| Money::new(minor, Currency::parse("EUR").unwrap());
    assert_eq!(sold_at, [(eur(250), true), (eur(9_000), false)]);
    rig.assert_sound();
}

#[test]
fn verify_finds_a_sale_that_was_taken_out_and_a_ticket_that_was_altered() {
    for (sql, finding) in [
        ("DELETE FROM ticket_sales", "transfers"),
        ("UPDATE tickets SET state = x'01000000000000000000'", "ticket"),
        ("DELETE FROM tickets", "tickets"),
    ] {
        let mut rig = rig();
        sell_tickets(&rig.place, &[token(1, "EUR")]).unwrap();
        used(&mut rig, 0, token(1, "EUR"), 10);
        rig.assert_sound();
        rig.place.store.alter(sql);
        let checker = Checker::new(depot(), card_keys());
        let report = crate::verify::verify(&rig.place.store, &checker, &rig.place.rules).unwrap();
        let difference = report.first_difference.unwrap_or_default();
        assert!(difference.contains(finding), "{sql}: {difference:?}");
    }
}
