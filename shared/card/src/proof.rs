//! The card's Transaction MAC: rebuilding what it was computed over, and verifying it.
//!
//! Only the depot holds the TMAC keys, so no validator can invent or alter a transaction (SEC-8).
//! The input (TMI) of one tap is `ReadRecords(before) ‖ [ReadData(currency)] ‖
//! [ReadData(products) ‖ [GetValue(rides)]] ‖ [ReadData(counters)] ‖ [Debit or Credit] ‖
//! [WriteData(products) ‖ [Credit(rides)]] ‖ [Debit(rides)] ‖ [WriteData(counters)] ‖
//! WriteRecord(after)`: reads count, and the tap carries what was read and written (ADR-0002,
//! ADR-0005, ADR-0009, ADR-0013, ADR-0019, ADR-0024).

use alloc::vec::Vec;

use model::{
    CardCounters, CardId, CardProof, CardRecord, CardTransaction, ProductLoad, ProductsFound,
    RecordError, RecordKind,
};

use crate::apdu::{cmd, span};
use crate::crypto::{Cipher, cmac, same_mac};
use crate::keys::{CardKeys, Key, KeyError, KeyRole, KeyVersion};
use crate::layout::{
    self, COUNTERS_LEN, FILE_COUNTERS, FILE_LOG, FILE_PRODUCTS, FILE_RIDES, PRODUCTS_LEN,
    RECORD_LEN,
};

/// Transaction MAC input, built step by step in the order of the commands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tmi(Vec<u8>);

impl Tmi {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// One command: its code and parameters padded with zeros to a block, then its plain data
    /// padded likewise.
    pub fn step(&mut self, cmd: u8, parameters: &[u8], data: &[u8]) {
        self.0.push(cmd);
        self.0.extend_from_slice(parameters);
        self.pad();
        self.0.extend_from_slice(data);
        self.pad();
    }

    /// The bytes so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether no command counted yet.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets all steps.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(16), 0);
    }
}

/// The Transaction MAC of `tmi` for the transaction that brings the counter to `ctr`.
pub fn transaction_proof(tmac_key: &Key, uid: &CardId, ctr: u32, tmi: &Tmi) -> CardProof {
    CardProof(Cipher::new(&session_mac_key(tmac_key, *uid, ctr)).mac_t(&[tmi.as_bytes()]))
}

/// Whether the card itself committed `transaction`: the depot's check of every tap.
pub fn proof_holds(
    tmac_key: &Key,
    uid: &CardId,
    transaction: &CardTransaction,
    proof: CardProof,
) -> bool {
    let CardTransaction { before, after, products, loaded, counters, purse, .. } = transaction;
    // A reader that left out what the record asks it to read has a proof of nothing that counts.
    if purse.is_some() != before.layout.profile_names_currency() {
        return false;
    }
    let Ok(before) = before.to_bytes() else { return false };
    let mut tmi = Tmi::new();
    tmi.step(cmd::READ_RECORDS, &span(FILE_LOG, 0, 1), &before);
    if let Some(purse) = purse {
        tmi.step(cmd::READ_DATA, &layout::purse_span(), &layout::letters(*purse));
    }
    if let Some(found) = products {
        append_products(&mut tmi, found);
    }
    if let Some(used) = counters {
        append_counters(&mut tmi, cmd::READ_DATA, &used.found);
    }
    let written = counters.and_then(|used| used.written);
    write_holds(
        tmi,
        tmac_key,
        *uid,
        &Written { after, load: loaded.as_ref(), counters: written },
        proof,
    )
}

/// Whether the card itself committed its opening record, before which there was none, and the
/// products that it was issued with.
pub fn issue_proof_holds(
    tmac_key: &Key,
    uid: &CardId,
    opening: &CardRecord,
    load: Option<&ProductLoad>,
    proof: CardProof,
) -> bool {
    opening.kind == RecordKind::Issue
        && write_holds(
            Tmi::new(),
            tmac_key,
            *uid,
            &Written { after: opening, load, counters: None },
            proof,
        )
}

/// The version of the card's TMAC key under which `holds`, newest first. A card keeps its TMAC key
/// for life, so only a card older than the newest version costs a second try.
pub fn proving_version(
    keys: &dyn CardKeys,
    uid: &CardId,
    holds: impl Fn(&Key) -> bool,
) -> Result<Option<KeyVersion>, KeyError> {
    for version in keys.versions(KeyRole::Tmac) {
        if holds(&keys.card_key(KeyRole::Tmac, version, uid)?) {
            return Ok(Some(version));
        }
    }
    Ok(None)
}

/// What a transaction writes.
struct Written<'a> {
    after: &'a CardRecord,
    load: Option<&'a ProductLoad>,
    counters: Option<CardCounters>,
}

fn write_holds(
    mut tmi: Tmi,
    tmac_key: &Key,
    uid: CardId,
    written: &Written<'_>,
    proof: CardProof,
) -> bool {
    if append_write(&mut tmi, written).is_err() {
        return false;
    }
    let expected = transaction_proof(tmac_key, &uid, written.after.ctr.0, &tmi);
    same_mac(&expected.0, &proof.0)
}

/// What the machine reads of a card that carries products.
fn append_products(tmi: &mut Tmi, found: &ProductsFound) {
    tmi.step(cmd::READ_DATA, &span(FILE_PRODUCTS, 0, PRODUCTS_LEN), &found.file.to_bytes());
    if let Some(rides) = found.rides {
        append_value(tmi, cmd::GET_VALUE, FILE_RIDES, rides);
    }
}

fn append_write(tmi: &mut Tmi, written: &Written<'_>) -> Result<(), RecordError> {
    let Written { after, load, counters } = written;
    if after.amount > 0 {
        let moved = match after.kind {
            RecordKind::Issue | RecordKind::Load | RecordKind::LoadInJourney => cmd::CREDIT,
            RecordKind::Board | RecordKind::Entry | RecordKind::Exit | RecordKind::Retire => {
                cmd::DEBIT
            }
        };
        append_value(tmi, moved, layout::value_file(after.layout), after.amount);
    }
    if let Some(load) = load {
        let header = span(FILE_PRODUCTS, 0, PRODUCTS_LEN);
        tmi.step(cmd::WRITE_DATA, &header, &load.file().to_bytes());
        if load.rides() > 0 {
            append_value(tmi, cmd::CREDIT, FILE_RIDES, load.rides());
        }
    }
    let taken = after.products.map_or(0, |used| used.rides);
    if taken > 0 {
        append_value(tmi, cmd::DEBIT, FILE_RIDES, taken.into());
    }
    if let Some(counters) = counters {
        append_counters(tmi, cmd::WRITE_DATA, counters);
    }
    tmi.step(cmd::WRITE_RECORD, &span(FILE_LOG, 0, RECORD_LEN), &after.to_bytes()?);
    Ok(())
}

fn append_counters(tmi: &mut Tmi, cmd: u8, counters: &CardCounters) {
    tmi.step(cmd, &span(FILE_COUNTERS, 0, COUNTERS_LEN), &counters.to_bytes());
}

fn append_value(tmi: &mut Tmi, cmd: u8, file: u8, value: u32) {
    let [a, b, c, d] = value.to_le_bytes();
    tmi.step(cmd, &[file, a, b, c, d], &[]);
}

/// `SesTMMACKey`. `ctr` is the already incremented counter.
pub(crate) fn session_mac_key(tmac_key: &Key, uid: CardId, ctr: u32) -> Key {
    session_key(0x5A, tmac_key, uid, ctr)
}

/// `SesTMENCKey`. `ctr` is the already incremented counter.
pub(crate) fn session_enc_key(tmac_key: &Key, uid: CardId, ctr: u32) -> Key {
    session_key(0xA5, tmac_key, uid, ctr)
}

fn session_key(label: u8, tmac_key: &Key, uid: CardId, ctr: u32) -> Key {
    Key(cmac(tmac_key, &[&[label, 0, 1, 0, 0x80], &ctr.to_le_bytes(), &uid.0]))
}

/// `EncTMRI`: the reader id of the previous transaction, enciphered for the backend.
pub(crate) fn encrypted_reader_id(
    tmac_key: &Key,
    uid: CardId,
    ctr: u32,
    previous: [u8; 16],
) -> [u8; 16] {
    let mut block = previous;
    Cipher::new(&session_enc_key(tmac_key, uid, ctr)).cbc_encrypt([0; 16], &mut block);
    block
}
