//! One tap-log entry: a version byte, then one packed CBOR map.
//!
//! What the batch header or the entry's own `after` record already says is left out: validator,
//! epoch and number always; time, place and tariff when they equal those of `after`. That is what
//! brings a tap below 120 bytes on the wire.

use alloc::vec::Vec;

use model::{
    CardCounters, CardId, CardProducts, CardProof, CardRecord, CardTransaction, ClockQuality,
    Companions, CounterUse, Currency, Epoch, GateWord, OrderId, PlaceIx, ProductLoad,
    ProductsFound, Refusal, RouteIx, Served, TapEvent, TapRecord, TapRole, TapSeq, TariffVersion,
    TicketToken, Timestamp, ValidatorId,
};
use serde::{Deserialize, Serialize};

use crate::{VERSION, WireError, cbor, limits};

const WHAT: &str = "tap entry";

/// The fields, by CBOR index. Never reorder, never remove: append.
#[derive(Serialize, Deserialize)]
struct EntryV1 {
    /// 0: what became of the tap.
    event: u8,
    /// 1: the card's UID.
    #[serde(default, with = "serde_bytes", skip_serializing_if = "Option::is_none")]
    card: Option<[u8; 7]>,
    /// 2: milliseconds within the second of the tap.
    ms: u16,
    /// 3: the second of the tap since 1970; absent when it is that of `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at_s: Option<u64>,
    /// 4: clock quality.
    clock: u8,
    /// 5: role.
    role: u8,
    /// 6: place; absent when it is that of `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<u16>,
    /// 7: route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    route: Option<u16>,
    /// 8: tariff version; absent when it is that of `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tariff: Option<u16>,
    /// 9: from card detected to feedback shown.
    duration_ms: u16,
    /// 10: the newest record found on the card.
    #[serde(default, with = "serde_bytes", skip_serializing_if = "Option::is_none")]
    before: Option<[u8; CardRecord::LEN]>,
    /// 11: the record that the transaction appends.
    #[serde(default, with = "serde_bytes", skip_serializing_if = "Option::is_none")]
    after: Option<[u8; CardRecord::LEN]>,
    /// 12: the card's Transaction MAC.
    #[serde(default, with = "serde_bytes", skip_serializing_if = "Option::is_none")]
    proof: Option<[u8; 8]>,
    /// 13: the number of the in-doubt tap that this entry decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    of: Option<u64>,
    /// 14: assist code of the refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refusal: Option<u8>,
    /// 15: the products file found on a card that carries products.
    #[serde(default, with = "serde_bytes", skip_serializing_if = "Option::is_none")]
    products: Option<[u8; CardProducts::LEN]>,
    /// 16: the rides found, when one of those products has rides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rides: Option<u32>,
    /// 17: a ticket's signed bytes.
    #[serde(default, with = "serde_bytes", skip_serializing_if = "Option::is_none")]
    ticket: Option<[u8; TicketToken::LEN]>,
    /// 18: whether the presentation that confirmed an in-doubt tap ended in passage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    served: Option<bool>,
    /// 19: the counters found, when they were read.
    #[serde(default, with = "serde_bytes", skip_serializing_if = "Option::is_none")]
    counters: Option<[u8; CardCounters::LEN]>,
    /// 20: the counters written, when they were changed.
    #[serde(default, with = "serde_bytes", skip_serializing_if = "Option::is_none")]
    counters_written: Option<[u8; CardCounters::LEN]>,
    /// 21: the riders whose rides the transaction pays besides the holder's: four bits a category,
    /// the first in the lowest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    companions: Option<u64>,
    /// 22: ISO 4217 number of the currency that the card's profile names, when it was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    purse: Option<u16>,
    /// 23: the load order that the transaction carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    order: Option<u64>,
    /// 24: the products file that the transaction wrote, when it put a product on the card.
    #[serde(default, with = "serde_bytes", skip_serializing_if = "Option::is_none")]
    products_written: Option<[u8; CardProducts::LEN]>,
    /// 25: the rides that it added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rides_added: Option<u32>,
    /// 28: what the gate told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gate: Option<u8>,
    /// 29: the number of the entry whose rider that is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rider: Option<u64>,
    /// 30: seconds since satellites told the place, when it is no longer fresh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place_age_s: Option<u16>,
    /// 31: the version of the hotlist that a transaction was decided by, when it is another than
    /// that of the entry before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hotlist_version: Option<u64>,
}

const COMMITTED: u8 = 0;
const IN_DOUBT: u8 = 1;
const REFUSED: u8 = 2;
const CONFIRMED: u8 = 3;
const VOIDED: u8 = 4;
const TICKET: u8 = 5;
const GATE: u8 = 6;

/// The entry's bytes: written once, then kept verbatim.
pub fn encode_entry(record: &TapRecord) -> Result<Vec<u8>, WireError> {
    let (event, before, transaction, proof, of, refusal) = match &record.event {
        TapEvent::Committed { transaction, proof } => {
            (COMMITTED, None, Some(transaction), Some(proof), None, None)
        }
        TapEvent::InDoubt { transaction } => (IN_DOUBT, None, Some(transaction), None, None, None),
        TapEvent::Refused { reason, seen } => {
            (REFUSED, seen.as_ref(), None, None, None, Some(reason.assist_code()))
        }
        TapEvent::Confirmed { of, transaction, proof, .. } => {
            (CONFIRMED, None, Some(transaction), Some(proof), Some(of.0), None)
        }
        TapEvent::Voided { of, seen } => (VOIDED, Some(seen), None, None, Some(of.0), None),
        TapEvent::Ticket { .. } => (TICKET, None, None, None, None, None),
        TapEvent::Gate { .. } => (GATE, None, None, None, None, None),
    };
    let (gate, rider) = gate_codes(&record.event);
    let ticket = match &record.event {
        TapEvent::Ticket { token } => Some(token.0),
        TapEvent::Committed { .. }
        | TapEvent::InDoubt { .. }
        | TapEvent::Refused { .. }
        | TapEvent::Confirmed { .. }
        | TapEvent::Voided { .. }
        | TapEvent::Gate { .. } => None,
    };
    let before = transaction.map(|t| &t.before).or(before);
    let after = transaction.map(|t| &t.after);
    let products = transaction.and_then(|t| t.products);
    let counters = transaction.and_then(|t| t.counters);
    let loaded = transaction.and_then(|t| t.loaded);
    let companions = transaction.map(|t| t.companions).filter(|c| !c.is_empty());
    let as_after =
        |same: fn(&CardRecord, &TapRecord) -> bool| after.is_some_and(|a| same(a, record));
    let at_s = record.tapped_at.secs();
    let entry = EntryV1 {
        event,
        card: record.card.map(|card| card.0),
        ms: u16::try_from(record.tapped_at.0 % 1000).expect("a remainder of 1000 fits 16 bits"),
        at_s: (!as_after(|a, r| a.at().secs() == r.tapped_at.secs())).then_some(at_s),
        clock: clock_code(record.clock),
        role: role_code(record.role),
        place: (!as_after(|a, r| a.place == r.place)).then_some(record.place.0),
        route: record.route.map(|route| route.0),
        tariff: (!as_after(|a, r| a.tariff == r.tariff)).then_some(record.tariff.0),
        duration_ms: record.duration_ms,
        before: before.map(CardRecord::to_bytes).transpose()?,
        after: after.map(CardRecord::to_bytes).transpose()?,
        proof: proof.map(|p| p.0),
        of,
        refusal,
        products: products.map(|found| found.file.to_bytes()),
        rides: products.and_then(|found| found.rides),
        ticket,
        served: served_code(&record.event),
        counters: counters.map(|used| used.found.to_bytes()),
        counters_written: counters.and_then(|used| used.written).map(|left| left.to_bytes()),
        companions: companions.map(Companions::number),
        purse: transaction.and_then(|t| t.purse).map(Currency::numeric),
        order: record.order.map(|order| order.0),
        products_written: loaded.map(|load| load.file().to_bytes()),
        rides_added: loaded.map(|load| load.rides()).filter(|rides| *rides > 0),
        gate,
        rider,
        place_age_s: record.place_age_s,
        hotlist_version: record.hotlist_version,
    };
    let mut bytes = Vec::with_capacity(128);
    bytes.push(VERSION);
    bytes.extend(cbor::to_vec(&entry));
    Ok(bytes)
}

/// How many bytes the entry has that `bytes` begin with; `None` when they begin with none. What
/// stands behind it is not looked at: so entries are found in what is left of a damaged store.
pub fn entry_len(bytes: &[u8]) -> Option<usize> {
    let body = bytes.strip_prefix(&[VERSION])?;
    let body = &body[..body.len().min(limits::ENTRY - 1)];
    cbor::len_of_first::<EntryV1>(body).map(|len| len + 1)
}

/// Reads an entry; its identity is where it was found.
pub fn decode_entry(
    bytes: &[u8],
    (validator, epoch, seq): (ValidatorId, Epoch, TapSeq),
) -> Result<TapRecord, WireError> {
    cbor::bounded(WHAT, bytes, limits::ENTRY)?;
    let body = match bytes {
        [VERSION, body @ ..] => body,
        [version, ..] => return Err(WireError::UnknownVersion(*version)),
        [] => return Err(WireError::Missing("format version")),
    };
    let e: EntryV1 = cbor::from_slice(WHAT, body)?;
    let before = e.before.as_ref().map(CardRecord::from_bytes).transpose()?;
    let after = e.after.as_ref().map(CardRecord::from_bytes).transpose()?;
    let event = event(&e, before, after)?;
    // Only a transaction's entry may lean on `after`; another that carries one is contradictory.
    let at_s = e.at_s.or(after.map(|a| a.at().secs())).ok_or(WireError::Missing("time"))?;
    let place = e.place.or(after.map(|a| a.place.0)).ok_or(WireError::Missing("place"))?;
    let tariff = e.tariff.or(after.map(|a| a.tariff.0)).ok_or(WireError::Missing("tariff"))?;
    if e.ms > 999 {
        return Err(WireError::OutOfRange("milliseconds"));
    }
    let ms = at_s.checked_mul(1000).and_then(|ms| ms.checked_add(u64::from(e.ms)));
    Ok(TapRecord {
        validator,
        epoch,
        seq,
        card: e.card.map(CardId),
        tapped_at: Timestamp(ms.ok_or(WireError::OutOfRange("time"))?),
        clock: clock(e.clock)?,
        role: role(e.role)?,
        place: PlaceIx(place),
        route: e.route.map(RouteIx),
        tariff: TariffVersion(tariff),
        order: e.order.map(OrderId),
        place_age_s: e.place_age_s,
        hotlist_version: e.hotlist_version,
        duration_ms: e.duration_ms,
        event,
    })
}

fn event(
    e: &EntryV1,
    before: Option<CardRecord>,
    after: Option<CardRecord>,
) -> Result<TapEvent, WireError> {
    let transaction = || -> Result<CardTransaction, WireError> {
        Ok(CardTransaction {
            before: before.ok_or(WireError::Missing("record before"))?,
            after: after.ok_or(WireError::Missing("record after"))?,
            products: products(e)?,
            loaded: loaded(e)?,
            counters: counters(e)?,
            companions: companions(e)?,
            purse: purse(e)?,
        })
    };
    let proof = || e.proof.map(CardProof).ok_or(WireError::Missing("card proof"));
    let of = || e.of.map(TapSeq).ok_or(WireError::Missing("number of the decided tap"));
    let event = match e.event {
        COMMITTED => TapEvent::Committed { transaction: transaction()?, proof: proof()? },
        IN_DOUBT => TapEvent::InDoubt { transaction: transaction()? },
        REFUSED => {
            let code = e.refusal.ok_or(WireError::Missing("refusal"))?;
            let reason = Refusal::from_assist_code(code)
                .ok_or(WireError::UnknownCode { what: "refusal", code })?;
            TapEvent::Refused { reason, seen: before }
        }
        CONFIRMED => TapEvent::Confirmed {
            of: of()?,
            transaction: transaction()?,
            proof: proof()?,
            served: served(e.served),
        },
        VOIDED => {
            TapEvent::Voided { of: of()?, seen: before.ok_or(WireError::Missing("record before"))? }
        }
        TICKET => {
            TapEvent::Ticket { token: TicketToken(e.ticket.ok_or(WireError::Missing("ticket"))?) }
        }
        GATE => {
            let said = gate_word(e.gate.ok_or(WireError::Missing("word of the gate"))?)?;
            let of = e.rider.map(TapSeq);
            if said.is_of_a_rider() && of.is_none() {
                return Err(WireError::Missing("number of the rider's entry"));
            }
            TapEvent::Gate { said, of }
        }
        code => return Err(WireError::UnknownCode { what: "event", code }),
    };
    Ok(event)
}

fn products(e: &EntryV1) -> Result<Option<ProductsFound>, WireError> {
    match (e.products, e.rides) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(WireError::Missing("products file")),
        (Some(bytes), rides) => {
            Ok(Some(ProductsFound { file: CardProducts::from_bytes(bytes), rides }))
        }
    }
}

fn loaded(e: &EntryV1) -> Result<Option<ProductLoad>, WireError> {
    match (e.products_written, e.rides_added) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(WireError::Missing("products file written")),
        (Some(bytes), rides) => {
            let load = ProductLoad::new(CardProducts::from_bytes(bytes), rides.unwrap_or(0));
            load.map(Some).map_err(|_| WireError::OutOfRange("rides added"))
        }
    }
}

fn companions(e: &EntryV1) -> Result<Companions, WireError> {
    let Some(number) = e.companions else { return Ok(Companions::NONE) };
    Companions::from_number(number).map_err(|_| WireError::OutOfRange("number of companions"))
}

fn purse(e: &EntryV1) -> Result<Option<Currency>, WireError> {
    let known = |number| Currency::from_numeric(number).map_err(|_| WireError::OutOfRange("purse"));
    e.purse.map(known).transpose()
}

fn counters(e: &EntryV1) -> Result<Option<CounterUse>, WireError> {
    match (&e.counters, &e.counters_written) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(WireError::Missing("counters found")),
        (Some(found), written) => {
            let found = CardCounters::from_bytes(found)?;
            let written = written.as_ref().map(CardCounters::from_bytes).transpose()?;
            Ok(Some(CounterUse { found, written }))
        }
    }
}

const fn served_code(event: &TapEvent) -> Option<bool> {
    match event {
        TapEvent::Confirmed { served: Served::Yes, .. } => Some(true),
        TapEvent::Confirmed { served: Served::No, .. } => Some(false),
        TapEvent::Confirmed { served: Served::Unsaid, .. }
        | TapEvent::Committed { .. }
        | TapEvent::InDoubt { .. }
        | TapEvent::Refused { .. }
        | TapEvent::Voided { .. }
        | TapEvent::Gate { .. }
        | TapEvent::Ticket { .. } => None,
    }
}

fn gate_codes(event: &TapEvent) -> (Option<u8>, Option<u64>) {
    let TapEvent::Gate { said, of } = event else { return (None, None) };
    let code = match said {
        GateWord::Passed => 0,
        GateWord::TimedOut => 1,
        GateWord::Unseen => 2,
        GateWord::Tailgate => 3,
        GateWord::Forced => 4,
        GateWord::Blocked => 5,
        GateWord::Fault => 6,
        GateWord::Emergency => 7,
        GateWord::EmergencyOver => 8,
    };
    (Some(code), of.map(|of| of.0))
}

const fn gate_word(code: u8) -> Result<GateWord, WireError> {
    Ok(match code {
        0 => GateWord::Passed,
        1 => GateWord::TimedOut,
        2 => GateWord::Unseen,
        3 => GateWord::Tailgate,
        4 => GateWord::Forced,
        5 => GateWord::Blocked,
        6 => GateWord::Fault,
        7 => GateWord::Emergency,
        8 => GateWord::EmergencyOver,
        code => return Err(WireError::UnknownCode { what: "word of the gate", code }),
    })
}

const fn served(said: Option<bool>) -> Served {
    match said {
        Some(true) => Served::Yes,
        Some(false) => Served::No,
        None => Served::Unsaid,
    }
}

pub(crate) const fn clock_code(clock: ClockQuality) -> u8 {
    match clock {
        ClockQuality::Unknown => 0,
        ClockQuality::Saved => 1,
        ClockQuality::Rtc => 2,
        ClockQuality::Ntp => 3,
        ClockQuality::Gnss => 4,
    }
}

pub(crate) const fn clock(code: u8) -> Result<ClockQuality, WireError> {
    Ok(match code {
        0 => ClockQuality::Unknown,
        1 => ClockQuality::Saved,
        2 => ClockQuality::Rtc,
        3 => ClockQuality::Ntp,
        4 => ClockQuality::Gnss,
        code => return Err(WireError::UnknownCode { what: "clock quality", code }),
    })
}

const fn role_code(role: TapRole) -> u8 {
    match role {
        TapRole::Board => 0,
        TapRole::Entry => 1,
        TapRole::Exit => 2,
    }
}

const fn role(code: u8) -> Result<TapRole, WireError> {
    Ok(match code {
        0 => TapRole::Board,
        1 => TapRole::Entry,
        2 => TapRole::Exit,
        code => return Err(WireError::UnknownCode { what: "role", code }),
    })
}
