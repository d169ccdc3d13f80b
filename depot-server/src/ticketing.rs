//! Issuing tickets: from an order to signed tickets whose sale is booked, and to pictures of them.
//!
//! Invariants: the key is believed and the sale is durable before anybody gets a ticket, so that a
//! use never comes before its sale; a number is drawn at random and is never given twice.

use std::path::Path;

use fleet_sync::SigningKey;
use model::{
    Money, RiderClass, Ticket, TicketError, TicketId, TicketScope, TicketToken, Timestamp,
};
use qrcode::{
    EcLevel, QrCode,
    render::{svg, unicode},
};

use crate::{
    config::KeyError,
    intake::{IntakeError, Workplace, sell_tickets},
    store::StoreError,
};

/// Tickets of one order at most.
pub const COUNT_MAX: u32 = 10_000;
/// Edge of one dot in a picture, pixels.
const DOT: u32 = 8;

/// Tickets to be issued, alike but for their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TicketOrder {
    /// Where they hold, in the numbering of the newest tariff.
    pub scope: TicketScope,
    /// What each costs.
    pub price: Money,
    /// They begin then.
    pub valid_from: Timestamp,
    /// And last so long.
    pub minutes: u16,
    /// For whom.
    pub class: RiderClass,
    /// How many.
    pub count: u32,
}

/// Why no tickets were issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// None, or more than one order may hold.
    #[error("an order is for 1 to {COUNT_MAX} tickets")]
    Count,
    /// The price is in another currency than the tariff.
    #[error("the price is in {0}, the tariff in {1}: use the tariff's currency")]
    Currency(model::Currency, model::Currency),
    /// A value that no ticket can hold.
    #[error("such a ticket cannot be written")]
    Ticket(#[from] TicketError),
    /// The operating system gave no random bytes.
    #[error("the operating system gives no random bytes: {0}")]
    Random(getrandom::Error),
    /// The key could not be kept.
    #[error("the books cannot keep the ticket key")]
    Store(#[from] StoreError),
    /// The sale could not be booked.
    #[error("the sale cannot be booked; no ticket was issued")]
    Sale(#[from] IntakeError),
}

/// Issues an order: books the sale, then returns the tickets.
pub fn issue(
    place: &Workplace,
    key: &SigningKey,
    order: &TicketOrder,
) -> Result<Vec<TicketToken>, IssueError> {
    if !(1..=COUNT_MAX).contains(&order.count) {
        return Err(IssueError::Count);
    }
    let (paid, ours) = (order.price.currency(), place.rules.currency());
    if paid != ours {
        return Err(IssueError::Currency(paid, ours));
    }
    let key_id = ticket::key_id(&key.verifying_key());
    let mut tokens = Vec::new();
    for _ in 0..order.count {
        // 64 random bits: no two of a billion tickets of one key are likely to meet.
        let mut serial = [0; 8];
        getrandom::fill(&mut serial).map_err(IssueError::Random)?;
        let ticket = Ticket {
            id: TicketId { key: key_id, serial },
            price: order.price,
            valid_from: Timestamp::from_secs(order.valid_from.secs()),
            minutes: order.minutes,
            scope: order.scope,
            tariff: place.rules.tariffs().newest().version(),
            class: order.class,
        };
        tokens.push(ticket::issue(&ticket, key)?);
    }
    place.store.add_ticket_key(&key.verifying_key(), place.clock.now())?;
    sell_tickets(place, &tokens)?;
    Ok(tokens)
}

/// The key that signs tickets, from its file.
pub fn load_key(path: &Path) -> Result<SigningKey, KeyError> {
    let seed = custody::read_hex::<32>(path)?;
    Ok(SigningKey::from_bytes(&seed))
}

fn code(token: &TicketToken) -> QrCode {
    QrCode::with_error_correction_level(ticket::to_text(token), EcLevel::M)
        .expect("163 alphanumeric characters fit a QR code")
}

/// The code as a picture.
pub fn svg(token: &TicketToken) -> String {
    code(token).render::<svg::Color<'_>>().module_dimensions(DOT, DOT).build()
}

/// The code as text for a terminal, two rows of dots a line.
pub fn terminal(token: &TicketToken) -> String {
    code(token)
        .render::<unicode::Dense1x2>()
        .dark_color(unicode::Dense1x2::Light)
        .light_color(unicode::Dense1x2::Dark)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text that a QR code of version 7 at level M holds is 178 characters, of version 6 154:
    /// base32 needs 163, so 45 × 45 dots.
    #[test]
    fn a_ticket_is_a_code_of_45_by_45_dots() {
        let code = code(&TicketToken([0xa5; TicketToken::LEN]));
        assert_eq!((code.width(), code.version()), (45, qrcode::Version::Normal(7)));
        assert!(svg(&TicketToken([0; TicketToken::LEN])).starts_with("<?xml"));
        let rows = terminal(&TicketToken([0; TicketToken::LEN]));
        assert_eq!(rows.lines().count(), (45_usize + 8).div_ceil(2));
    }
}
