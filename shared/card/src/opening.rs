//! What a new card starts with, and the record and the profile that say so.

use model::{
    CardId, CardLayout, CardProof, CardRecord, Ctr, LoadSeq, PlaceIx, ProductLoad, ProductUse,
    RecordError, RecordKind, RiderClass, TariffVersion, ValidUntil, ValidatorId,
};

use crate::failure::CardFailure;
use crate::keys::KeyError;
use crate::layout;

/// What a new card starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// Who issues it.
    pub issuer: u16,
    /// ISO 4217 code of its stored value.
    pub currency: [u8; 3],
    /// Rider category, 0..=15.
    pub class: RiderClass,
    /// End of validity.
    pub valid_until: ValidUntil,
    /// Opening value, minor units, below 2^24.
    pub balance: u32,
    /// How far the value may fall below zero, minor units, below 2^24.
    pub negative_limit: u32,
    /// Deposit paid for the card, minor units.
    pub deposit: u32,
    /// When, seconds since 1970.
    pub at_s: u32,
    /// The tariff in force.
    pub tariff: TariffVersion,
    /// The products that it is sold with. Without any a tap does not read the products file.
    pub products: Option<ProductLoad>,
    /// Whether it gets the counters file, with nothing counted, and whether readers are to look
    /// into the profile for the currency, because it is not the tariff's.
    pub layout: CardLayout,
}

impl Default for Opening {
    fn default() -> Self {
        Self {
            issuer: 1,
            currency: *b"EUR",
            class: RiderClass(0),
            valid_until: ValidUntil::Always,
            balance: 0,
            negative_limit: 0,
            deposit: 0,
            at_s: 0,
            tariff: TariffVersion(0),
            products: None,
            layout: CardLayout::Plain,
        }
    }
}

/// A card that was issued: what the depot must book and remember.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Issued {
    /// The card.
    pub card: CardId,
    /// Its opening record.
    pub record: CardRecord,
    /// The card's proof of it; see `issue_proof_holds`.
    pub proof: CardProof,
}

/// Why no card can be issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// The keystore has not all keys of a card.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The opening cannot be written as a record.
    #[error(transparent)]
    Opening(#[from] RecordError),
    /// Every reader would refuse it.
    #[error("a purse cannot be in {}: use an ISO 4217 code such as EUR", .0.escape_ascii())]
    Purse([u8; 3]),
    /// The card did not do it.
    #[error(transparent)]
    Card(#[from] CardFailure),
}

impl Opening {
    /// The card's first record: what a desk keeps as its intent before the card is touched.
    pub fn record(&self) -> CardRecord {
        CardRecord {
            kind: RecordKind::Issue,
            ctr: Ctr(1),
            balance: i32::try_from(self.balance).unwrap_or(i32::MAX),
            amount: self.balance,
            at_s: self.at_s,
            validator: ValidatorId::DEPOT,
            place: PlaceIx::NONE,
            load_seq: LoadSeq(0),
            tariff: self.tariff,
            valid_until: self.valid_until,
            class: self.class,
            run: None,
            products: self.products.map(|_| ProductUse::default()),
            layout: self.layout,
        }
    }

    /// What file 1 says.
    pub const fn profile(&self) -> layout::Profile {
        layout::Profile {
            issuer: self.issuer,
            class: self.class,
            currency: self.currency,
            valid_until: self.valid_until,
            issued_at_s: self.at_s,
            deposit: self.deposit,
            negative_limit: self.negative_limit,
        }
    }
}
