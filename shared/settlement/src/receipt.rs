//! A rider's receipt for one tap: what was taken where and when, and the path that proves the tap
//! to be in its day's signed root. It names no card: who has the card can show that it is meant.

use alloc::{format, string::String, vec::Vec};
use core::fmt::Write as _;

use clearing::TapRef;
use model::{CardId, Money, PlaceIx, RouteIx, ServiceDate, TapRole, TariffVersion, Timestamp};
use sha2::{Digest, Sha256};

use crate::{
    hex::{hex, unhex},
    merkle::{Hash, leaf, root_from_path},
};

const FIRST_LINE: &str = "tapline receipt 1";

/// The depot's secret from which each tap's own salt is made. Without the salt nobody can try out
/// card numbers against the hashes of a published path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salt(pub [u8; 32]);

impl core::fmt::Debug for Salt {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Salt(…)")
    }
}

impl Salt {
    fn of(&self, tap: TapRef) -> [u8; 16] {
        let hash: Hash = Sha256::new()
            .chain_update(b"tapline-receipt-salt")
            .chain_update(self.0)
            .chain_update(tap.to_bytes())
            .finalize()
            .into();
        let mut salt = [0; 16];
        salt.copy_from_slice(&hash[..16]);
        salt
    }
}

/// What a receipt says of its tap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TapFacts {
    /// Which entry of whose log.
    pub tap: TapRef,
    /// By the validator's clock.
    pub tapped_at: Timestamp,
    /// What the validator was doing.
    pub role: TapRole,
    /// Where, by the tariff's number.
    pub place: PlaceIx,
    /// On which route, by the tariff's number.
    pub route: Option<RouteIx>,
    /// The tariff that priced it.
    pub tariff: TariffVersion,
    /// What the card paid by it.
    pub paid: Money,
    /// What was left on it, minor units.
    pub balance: Option<i64>,
    /// The card, when there was one.
    pub card: Option<CardId>,
}

impl TapFacts {
    /// The text that is hashed: one fact a line.
    pub fn text(&self, depot: &str, day: ServiceDate, salt: &Salt) -> String {
        let TapRef { validator, epoch, seq } = self.tap;
        let salt = salt.of(self.tap);
        let mut text = format!("{FIRST_LINE}\ndepot: {depot}\nday: {day}\n");
        let role = match self.role {
            TapRole::Board => "board",
            TapRole::Entry => "entry",
            TapRole::Exit => "exit",
        };
        let place = if self.place == PlaceIx::NONE { -1 } else { i64::from(self.place.0) };
        let route = self.route.map_or(-1, |route| i64::from(route.0));
        let currency = self.paid.currency();
        let _ = writeln!(text, "tap: {validator} {epoch} {seq}");
        let _ = writeln!(text, "time: {}", self.tapped_at.0);
        let _ = writeln!(text, "role: {role}\nplace: {place}\nroute: {route}");
        let _ = writeln!(text, "tariff: {}", self.tariff);
        let _ = writeln!(text, "paid: {} {}", self.paid.decimal(), currency.letters());
        if let Some(balance) = self.balance {
            let _ = writeln!(text, "balance: {}", Money::new(balance, currency).decimal());
        }
        if let Some(card) = self.card {
            let hash: Hash =
                Sha256::new().chain_update(salt).chain_update(card.0).finalize().into();
            let _ = writeln!(text, "card: {}", hex(&hash));
        }
        let _ = writeln!(text, "salt: {}", hex(&salt));
        text
    }

    /// The leaf of the day's tree.
    pub fn leaf(&self, depot: &str, day: ServiceDate, salt: &Salt) -> Hash {
        leaf(self.text(depot, day, salt).as_bytes())
    }
}

/// A tap's text with its place in the day's tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// What [`TapFacts::text`] said.
    pub text: String,
    /// Which leaf, of how many.
    pub place: (u64, u64),
    /// From the leaf to the root.
    pub path: Vec<Hash>,
}

/// Why a text is no receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// It begins with something else.
    #[error("this is no receipt: it does not begin with {FIRST_LINE:?}")]
    NoReceipt,
    /// A line of the path.
    #[error("the receipt's line {0:?} is missing or malformed")]
    Line(&'static str),
    /// A path that does not go with its place.
    #[error("the receipt's path does not go with its place in the day")]
    Path,
}

impl Receipt {
    /// The whole receipt as text.
    pub fn to_text(&self) -> String {
        let (index, count) = self.place;
        let mut text = format!("{}leaf: {index} of {count}\n", self.text);
        for hash in &self.path {
            let _ = writeln!(text, "path: {}", hex(hash));
        }
        text
    }

    /// Reads a whole receipt.
    pub fn parse(text: &str) -> Result<Self, ReceiptError> {
        if text.lines().next() != Some(FIRST_LINE) {
            return Err(ReceiptError::NoReceipt);
        }
        let at = text.find("\nleaf: ").ok_or(ReceiptError::Line("leaf"))? + 1;
        let (facts, rest) = text.split_at(at);
        let mut lines = rest.lines();
        let place = lines.next().and_then(|line| line.strip_prefix("leaf: "));
        let (index, count) =
            place.and_then(|p| p.split_once(" of ")).ok_or(ReceiptError::Line("leaf"))?;
        let number = |text: &str| text.parse().map_err(|_| ReceiptError::Line("leaf"));
        let place = (number(index)?, number(count)?);
        let path = lines
            .map(|line| line.strip_prefix("path: ").and_then(unhex))
            .collect::<Option<Vec<Hash>>>()
            .ok_or(ReceiptError::Line("path"))?;
        Ok(Self { text: facts.into(), place, path })
    }

    /// The value of a line of the tap's text.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
    }

    /// The root that the day must have for this tap to be in it.
    pub fn root(&self) -> Result<Hash, ReceiptError> {
        let (index, count) = self.place;
        root_from_path(leaf(self.text.as_bytes()), index, count, &self.path)
            .ok_or(ReceiptError::Path)
    }

    /// Whether this card made the tap.
    pub fn is_of(&self, card: CardId) -> bool {
        let (Some(salt), Some(of)) = (self.value("salt"), self.value("card")) else { return false };
        let (Some(salt), Some(of)) = (unhex::<16>(salt), unhex::<32>(of)) else { return false };
        let hash: Hash = Sha256::new().chain_update(salt).chain_update(card.0).finalize().into();
        hash == of
    }
}
