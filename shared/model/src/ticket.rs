//! A ticket that is shown as a code: what it grants, and its 32 bytes.
//!
//! The bytes stand here, as those of the card's record do, because the code on the rider's screen,
//! the tap log and the depot's books carry the same ones. Who signed them is `ticket`'s to say
//! (ADR-0010); `docs/tickets.md` describes every byte.

use core::{fmt, time::Duration};

use crate::{Currency, Money, PlaceIx, RiderClass, RouteIx, TariffVersion, Timestamp};

/// Which key signed a ticket: the first four bytes of the SHA-256 of the public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TicketKeyId(pub [u8; 4]);

/// A ticket, by its key and the number that this key gave it. No two tickets share one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TicketId {
    /// Who signed it.
    pub key: TicketKeyId,
    /// Its number under that key.
    pub serial: [u8; 8],
}

/// Where a ticket holds, in the numbering of its tariff.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TicketScope {
    /// Everywhere.
    Network,
    /// Rides that begin at this place.
    Place(PlaceIx),
    /// Rides on this route.
    Route(RouteIx),
    /// Rides on the routes of this transfer group, by its index.
    Group(u8),
}

/// What a ticket grants: one ride, paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// Which ticket.
    pub id: TicketId,
    /// What was paid, at most 32 bits of minor units.
    pub price: Money,
    /// Begins then: whole seconds.
    pub valid_from: Timestamp,
    /// Lasts this many minutes, at most [`Ticket::MINUTES_MAX`].
    pub minutes: u16,
    /// Where it holds.
    pub scope: TicketScope,
    /// Whose numbering `scope` uses.
    pub tariff: TariffVersion,
    /// Whom it was sold to.
    pub class: RiderClass,
}

/// The signed bytes of a ticket, as they were issued: the ticket's 32, then the 64 of an Ed25519
/// signature. Whoever holds them may ride, so `Debug` shows the ticket's id only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TicketToken(pub [u8; Self::LEN]);

/// Why bytes are no ticket, or a ticket has no bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// Written by newer software.
    #[error("ticket version {0} is not known here: update this software")]
    UnknownVersion(u8),
    /// The currency number is not in the ISO 4217 table.
    #[error("ticket names currency number {0}, which is not in ISO 4217")]
    UnknownCurrency(u16),
    /// The kind of scope is unassigned.
    #[error("ticket scope {0} is not known here")]
    UnknownScope(u8),
    /// A value is outside the range of its field.
    #[error("{0} of the ticket is out of range")]
    OutOfRange(&'static str),
}

const VERSION: u8 = 1;
const NETWORK: u8 = 0;
const PLACE: u8 = 1;
const ROUTE: u8 = 2;
const GROUP: u8 = 3;
const CLASS_MAX: u8 = 15;

impl Ticket {
    /// Bytes of the form that is signed.
    pub const LEN: usize = 32;
    /// Three days. A validator remembers used tickets until they end, so the longest life bounds
    /// its memory, and how long a copied ticket can be tried elsewhere.
    pub const MINUTES_MAX: u16 = 3 * 24 * 60;

    /// It does not hold from here on.
    pub fn valid_until(&self) -> Timestamp {
        self.valid_from.plus(Duration::from_secs(60 * u64::from(self.minutes)))
    }

    /// Integers MSB first: version 1, key 4, serial 8, price 4, currency 2, second of the
    /// beginning 4, minutes 2, scope 1, its index 2, tariff 2, rides 1, class 1.
    pub fn to_bytes(&self) -> Result<[u8; Self::LEN], TicketError> {
        let range = TicketError::OutOfRange;
        let price = u32::try_from(self.price.minor()).map_err(|_| range("price"))?;
        let from = u32::try_from(self.valid_from.secs()).map_err(|_| range("beginning"))?;
        if !(1..=Self::MINUTES_MAX).contains(&self.minutes) {
            return Err(range("minutes"));
        }
        if self.class.0 > CLASS_MAX {
            return Err(range("class"));
        }
        let (scope, ix) = match self.scope {
            TicketScope::Network => (NETWORK, 0),
            TicketScope::Place(ix) => (PLACE, ix.0),
            TicketScope::Route(ix) => (ROUTE, ix.0),
            TicketScope::Group(ix) => (GROUP, u16::from(ix)),
        };
        let mut out = [0; Self::LEN];
        let mut at = 0;
        for part in [
            &[VERSION][..],
            &self.id.key.0,
            &self.id.serial,
            &price.to_be_bytes(),
            &self.price.currency().numeric().to_be_bytes(),
            &from.to_be_bytes(),
            &self.minutes.to_be_bytes(),
            &[scope],
            &ix.to_be_bytes(),
            &self.tariff.0.to_be_bytes(),
            &[1, self.class.0],
        ] {
            out[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        Ok(out)
    }

    /// Reads the form that is signed. One ticket has one form: whatever differs is refused.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Result<Self, TicketError> {
        let mut rest = bytes.as_slice();
        let [version] = take(&mut rest);
        if version != VERSION {
            return Err(TicketError::UnknownVersion(version));
        }
        let id = TicketId { key: TicketKeyId(take(&mut rest)), serial: take(&mut rest) };
        let price = u32::from_be_bytes(take(&mut rest));
        let number = u16::from_be_bytes(take(&mut rest));
        let currency =
            Currency::from_numeric(number).map_err(|_| TicketError::UnknownCurrency(number))?;
        let valid_from = Timestamp::from_secs(u64::from(u32::from_be_bytes(take(&mut rest))));
        let minutes = u16::from_be_bytes(take(&mut rest));
        let [kind] = take(&mut rest);
        let ix = u16::from_be_bytes(take(&mut rest));
        let tariff = TariffVersion(u16::from_be_bytes(take(&mut rest)));
        let [rides, class] = take(&mut rest);
        let range = TicketError::OutOfRange;
        let scope = match kind {
            NETWORK if ix == 0 => TicketScope::Network,
            NETWORK => return Err(range("scope")),
            PLACE => TicketScope::Place(PlaceIx(ix)),
            ROUTE => TicketScope::Route(RouteIx(ix)),
            GROUP => TicketScope::Group(u8::try_from(ix).map_err(|_| range("scope"))?),
            other => return Err(TicketError::UnknownScope(other)),
        };
        if rides != 1 {
            return Err(range("rides"));
        }
        let price = Money::new(i64::from(price), currency);
        let class = RiderClass(class);
        let ticket = Self { id, price, valid_from, minutes, scope, tariff, class };
        // The ranges that writing checks hold for reading, too.
        ticket.to_bytes().map(|_| ticket)
    }
}

impl TicketToken {
    /// Bytes.
    pub const LEN: usize = Ticket::LEN + 64;

    /// The two parts.
    pub fn new(ticket: &[u8; Ticket::LEN], signature: &[u8; 64]) -> Self {
        let mut bytes = [0; Self::LEN];
        bytes[..Ticket::LEN].copy_from_slice(ticket);
        bytes[Ticket::LEN..].copy_from_slice(signature);
        Self(bytes)
    }

    /// What was signed.
    pub fn signed(&self) -> &[u8; Ticket::LEN] {
        self.0.first_chunk().expect("a token begins with a ticket")
    }

    /// The signature.
    pub fn signature(&self) -> &[u8; 64] {
        self.0.last_chunk().expect("a token ends with a signature")
    }

    /// Which ticket it says it is.
    pub fn id(&self) -> TicketId {
        let mut rest = &self.0[1..];
        TicketId { key: TicketKeyId(take(&mut rest)), serial: take(&mut rest) }
    }

    /// What it says; believe it only after its signature was checked.
    pub fn ticket(&self) -> Result<Ticket, TicketError> {
        Ticket::from_bytes(self.signed())
    }
}

impl TicketId {
    /// Bytes of the fixed form.
    pub const LEN: usize = 12;

    /// Key, then serial.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..4].copy_from_slice(&self.key.0);
        bytes[4..].copy_from_slice(&self.serial);
        bytes
    }

    /// From the fixed form.
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let mut rest = bytes.as_slice();
        Self { key: TicketKeyId(take(&mut rest)), serial: take(&mut rest) }
    }
}

impl fmt::Display for TicketKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for TicketKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketKeyId({self})")
    }
}

impl fmt::Display for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-", self.key)?;
        self.serial.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketId({self})")
    }
}

impl fmt::Debug for TicketToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketToken({})", self.id())
    }
}

/// The next `N` bytes; the caller's array is long enough by its type.
fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (head, tail) = rest.split_first_chunk().expect("a ticket has its length by type");
    *rest = tail;
    *head
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    fn ticket() -> Ticket {
        Ticket {
            id: TicketId { key: TicketKeyId([1, 2, 3, 4]), serial: [9; 8] },
            price: Money::new(240, Currency::parse("EUR").unwrap()),
            valid_from: Timestamp::from_secs(1_700_000_000),
            minutes: 90,
            scope: TicketScope::Route(RouteIx(7)),
            tariff: TariffVersion(3),
            class: RiderClass(2),
        }
    }

    #[test]
    fn a_ticket_reads_back_and_each_wrong_field_is_refused_by_name() {
        let good = ticket().to_bytes().unwrap();
        assert_eq!(Ticket::from_bytes(&good), Ok(ticket()));
        assert_eq!(ticket().valid_until(), Timestamp::from_secs(1_700_005_400));
        for (at, byte, error) in [
            (0, 2, TicketError::UnknownVersion(2)),
            (17, 0, TicketError::UnknownCurrency(0xd2)),
            (23, 0xff, TicketError::OutOfRange("minutes")),
            (25, 4, TicketError::UnknownScope(4)),
            (25, 0, TicketError::OutOfRange("scope")),
            (30, 2, TicketError::OutOfRange("rides")),
            (31, 16, TicketError::OutOfRange("class")),
        ] {
            let mut bytes = good;
            bytes[at] = byte;
            assert_eq!(Ticket::from_bytes(&bytes), Err(error), "byte {at}");
        }
        let minutes = Ticket::MINUTES_MAX + 1;
        let long = Ticket { minutes, ..ticket() }.to_bytes();
        assert_eq!(long, Err(TicketError::OutOfRange("minutes")));
    }

    #[test]
    fn a_token_that_is_formatted_does_not_give_the_ride_away() {
        let token = TicketToken::new(&ticket().to_bytes().unwrap(), &[0xab; 64]);
        assert_eq!(format!("{token:?}"), "TicketToken(01020304-0909090909090909)");
        assert_eq!(token.id(), ticket().id);
        assert_eq!(TicketId::from_bytes(token.id().to_bytes()), token.id());
    }
}
