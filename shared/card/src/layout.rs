//! What is on the card: application, files, keys, access rights. See `docs/card-layout.md`.
//!
//! Layout 1, layout 2 for cards that have the counters file, too, and layout 3 for those of them
//! whose purse is in another currency than the tariff's.

use model::{
    CardCounters, CardId, CardLayout, CardProducts, CardRecord, Currency, ProductLoad, RiderClass,
    ValidUntil,
};

use crate::apdu::span;
use crate::keys::KeyRole;
use crate::session::CommMode;

/// The application 54F501, as sent (LSB first).
pub const AID: [u8; 3] = [0x01, 0xF5, 0x54];
/// Part of every diversification input.
pub const SYSTEM_ID: [u8; 6] = *b"TAPLN1";

/// Profile: standard file, 32 bytes; of a card whose records are of layout 3 a tap reads the
/// currency, of any other nothing (ADR-0019).
pub const FILE_PROFILE: u8 = 1;
/// Stored value: value file.
pub const FILE_VALUE: u8 = 2;
/// Products: backup file of two slots; read only from a card whose record says that it carries
/// products (ADR-0009).
pub const FILE_PRODUCTS: u8 = 3;
/// Rides left of the product with rides: value file (ADR-0009).
pub const FILE_RIDES: u8 = 4;
/// Log: cyclic file of 32-byte records; the newest is the card's state (ADR-0002).
pub const FILE_LOG: u8 = 5;
/// Counters of fare caps: backup file, on a card whose records are of layout 2 (ADR-0013).
pub const FILE_COUNTERS: u8 = 6;
/// Stored value in another currency than the tariff's: value file, in the place of file 2, on a
/// card whose records are of layout 3. What a debit key can change, the record, can thus not turn
/// an amount of one currency into the same amount of another (ADR-0019).
pub const FILE_VALUE_OTHER: u8 = 7;
/// Transaction MAC file.
pub const FILE_TMAC: u8 = 15;

/// Key numbers of the application.
pub const KEY_ISSUER: u8 = 0;
/// See [`KeyRole::Debit`].
pub const KEY_DEBIT: u8 = 1;
/// See [`KeyRole::Load`].
pub const KEY_LOAD: u8 = 2;
/// How many keys the application has.
pub const KEY_COUNT: u8 = 3;

/// Application key settings: master key changeable, free directory, files only by the master key,
/// settings changeable, keys changed by the master key.
pub const KEY_SETTINGS: u8 = 0x0B;
/// AES, three keys.
pub const KEY_SETTINGS_2: u8 = 0x80 | KEY_COUNT;

/// Every file speaks in MAC mode: tampering is excluded, and one APDU stays one radio block.
pub const FILE_MODE: CommMode = CommMode::Mac;
/// Records that the log holds once full. The card keeps one more for the open transaction.
pub const LOG_RECORDS: u32 = 12;
/// Bytes of the profile.
pub const PROFILE_LEN: usize = 32;

/// Free access.
const FREE_NEVER: u8 = 0xF;

const fn rights(read: u8, write: u8, both: u8, change: u8) -> [u8; 2] {
    [both << 4 | change, read << 4 | write]
}

/// Profile: read by the debit key, written by the issuer.
pub const RIGHTS_PROFILE: [u8; 2] = rights(KEY_DEBIT, KEY_ISSUER, KEY_ISSUER, KEY_ISSUER);
/// Profile of a card whose purse is in another currency: the load key reads it too, so that a load
/// knows what it puts on. A file that two keys read, one of them may write: the one that can put
/// value on the card anyway.
pub const RIGHTS_PROFILE_OTHER: [u8; 2] = rights(KEY_DEBIT, KEY_ISSUER, KEY_LOAD, KEY_ISSUER);
/// Value: debited by the debit key, credited by the load key only, limited credit by nobody:
/// a validator cannot make money (ADR-0001).
pub const RIGHTS_VALUE: [u8; 2] = rights(KEY_DEBIT, FREE_NEVER, KEY_LOAD, KEY_ISSUER);
/// Products: read by the debit key, written by the load key only: a validator can make neither a
/// product nor a day of one.
pub const RIGHTS_PRODUCTS: [u8; 2] = rights(KEY_DEBIT, FREE_NEVER, KEY_LOAD, KEY_ISSUER);
/// Rides: taken away by the debit key, added by the load key only, as stored value is.
pub const RIGHTS_RIDES: [u8; 2] = RIGHTS_VALUE;
/// Log: read and appended by the debit key and by the load key.
pub const RIGHTS_LOG: [u8; 2] = rights(KEY_DEBIT, KEY_DEBIT, KEY_LOAD, KEY_ISSUER);
/// Counters: read and written by the debit key, as the journey's state is.
pub const RIGHTS_COUNTERS: [u8; 2] = RIGHTS_LOG;
/// TMAC: read by the debit key; no reader ids are committed.
pub const RIGHTS_TMAC: [u8; 2] = rights(KEY_DEBIT, FREE_NEVER, FREE_NEVER, KEY_ISSUER);

/// `UID(7) ‖ AID(3) ‖ "TAPLN1" ‖ label`: 17 bytes, so that every CMAC library derives the same.
pub fn diversification_input(uid: &CardId, role: KeyRole) -> [u8; 17] {
    let mut input = [0; 17];
    input[..7].copy_from_slice(&uid.0);
    input[7..10].copy_from_slice(&AID);
    input[10..16].copy_from_slice(&SYSTEM_ID);
    input[16] = role.label();
    input
}

/// The value file of a card with such records.
pub const fn value_file(layout: CardLayout) -> u8 {
    match layout {
        CardLayout::Plain | CardLayout::Counters => FILE_VALUE,
        CardLayout::OtherCurrency => FILE_VALUE_OTHER,
    }
}

/// The rights of file 1 of a card with such records.
pub const fn rights_profile(layout: CardLayout) -> [u8; 2] {
    match layout {
        CardLayout::Plain | CardLayout::Counters => RIGHTS_PROFILE,
        CardLayout::OtherCurrency => RIGHTS_PROFILE_OTHER,
    }
}

/// Where in the profile the currency stands.
pub(crate) fn purse_span() -> [u8; 7] {
    span(FILE_PROFILE, 4, 3)
}

/// The currency of these letters; `None` when ISO 4217 knows none.
pub fn currency(letters: [u8; 3]) -> Option<Currency> {
    Currency::parse(core::str::from_utf8(&letters).ok()?).ok()
}

/// The three letters of a currency.
pub(crate) fn letters(currency: Currency) -> [u8; 3] {
    currency.letters().as_bytes().try_into().expect("ISO 4217 codes have three letters")
}

/// What the card says about itself, written once by the issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// Who issued it.
    pub issuer: u16,
    /// Rider category at issue.
    pub class: RiderClass,
    /// ISO 4217 code of the stored value.
    pub currency: [u8; 3],
    /// End of validity at issue.
    pub valid_until: ValidUntil,
    /// When it was issued, seconds since 1970.
    pub issued_at_s: u32,
    /// Deposit paid for the card, minor units.
    pub deposit: u32,
    /// How far the stored value may fall below zero, minor units.
    pub negative_limit: u32,
}

impl Profile {
    /// The file's 32 bytes, integers LSB first: layout(1) issuer(2) class(1) currency(3)
    /// valid until(1) issued at(4) deposit(4) negative limit(4) day of the month with which the
    /// card ends, 0 = with its month (1) zeros(11).
    pub fn to_bytes(&self) -> [u8; PROFILE_LEN] {
        let mut b = [0; PROFILE_LEN];
        b[0] = 1;
        b[1..3].copy_from_slice(&self.issuer.to_le_bytes());
        b[3] = self.class.0;
        b[4..7].copy_from_slice(&self.currency);
        let (month, day) = self.valid_until.to_parts().unwrap_or((u8::MAX, None));
        (b[7], b[20]) = (month, day.unwrap_or(0));
        b[8..12].copy_from_slice(&self.issued_at_s.to_le_bytes());
        b[12..16].copy_from_slice(&self.deposit.to_le_bytes());
        b[16..20].copy_from_slice(&self.negative_limit.to_le_bytes());
        b
    }

    /// Reads the file's bytes; `None` when the layout or the day of the end is not known here.
    pub fn from_bytes(b: &[u8; PROFILE_LEN]) -> Option<Self> {
        let u32 = |i: usize| u32::from_le_bytes([b[i], b[i + 1], b[i + 2], b[i + 3]]);
        let day = (b[20] != 0).then_some(b[20]);
        let valid_until = ValidUntil::from_parts(b[7], day).filter(|_| b[0] == 1)?;
        Some(Self {
            issuer: u16::from_le_bytes([b[1], b[2]]),
            class: RiderClass(b[3]),
            currency: [b[4], b[5], b[6]],
            valid_until,
            issued_at_s: u32(8),
            deposit: u32(12),
            negative_limit: u32(16),
        })
    }
}

/// Bytes of a log record, as the card's 24-bit field wants it.
#[expect(clippy::cast_possible_truncation, reason = "a record has 32 bytes")]
pub const RECORD_LEN: u32 = CardRecord::LEN as u32;

/// Bytes of the products file, as the card's 24-bit field wants it.
#[expect(clippy::cast_possible_truncation, reason = "the products file has 32 bytes")]
pub const PRODUCTS_LEN: u32 = CardProducts::LEN as u32;
/// Bytes of the counters file, as the card's 24-bit field wants it.
#[expect(clippy::cast_possible_truncation, reason = "the counters file has 32 bytes")]
pub const COUNTERS_LEN: u32 = CardCounters::LEN as u32;
/// The upper limit of the rides file.
#[expect(clippy::cast_possible_wrap, reason = "the bound is far below 2^31")]
pub const RIDES_MAX: i32 = ProductLoad::RIDES_MAX as i32;
