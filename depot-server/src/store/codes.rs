//! How nouns are written as SQL values, and read back.

use ledger::Balance;
use model::{
    CardId, ClockQuality, Currency, Epoch, GateWord, TapRole, TapSeq, Timestamp, ValidatorId,
};
use rusqlite::Row;

use super::StoreError;
use crate::http::views::Outcome;

/// A time as the database holds it. Past the year 292 million it stops at the largest number.
pub(super) fn sql_time(at: Timestamp) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

/// A time read back; what is below 1970 was never written by us.
pub(super) fn time(sql: i64) -> Timestamp {
    Timestamp(unsigned(sql))
}

/// A count read back.
pub(super) fn unsigned(sql: i64) -> u64 {
    u64::try_from(sql).unwrap_or(0)
}

pub(super) fn sql_seq(seq: TapSeq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}

pub(super) fn seq(sql: i64) -> TapSeq {
    TapSeq(unsigned(sql))
}

pub(super) fn epoch(sql: u32) -> Epoch {
    Epoch(sql)
}

/// The UID's 7 bytes as one big-endian number: 56 bits, so never negative.
pub(super) fn sql_card(card: CardId) -> i64 {
    card.0.iter().fold(0, |number, byte| number << 8 | i64::from(*byte))
}

pub(super) fn card_of(sql: i64) -> CardId {
    let bytes = sql.to_be_bytes();
    CardId(*bytes.last_chunk().expect("8 bytes hold 7"))
}

pub(super) fn validator(number: u32) -> Result<ValidatorId, StoreError> {
    ValidatorId::new(number).ok_or_else(|| StoreError::damaged(format!("validator {number}")))
}

pub(super) const fn outcome_code(outcome: Outcome) -> i64 {
    match outcome {
        Outcome::Committed => 0,
        Outcome::InDoubt => 1,
        Outcome::Refused => 2,
        Outcome::Confirmed => 3,
        Outcome::Voided => 4,
        Outcome::Ticket => 5,
        Outcome::Gate => 6,
    }
}

pub(super) fn outcome_of(code: i64) -> Result<Outcome, StoreError> {
    use Outcome::{Committed, Confirmed, Gate, InDoubt, Refused, Ticket, Voided};
    [Committed, InDoubt, Refused, Confirmed, Voided, Ticket, Gate]
        .into_iter()
        .find(|outcome| outcome_code(*outcome) == code)
        .ok_or_else(|| StoreError::damaged(format!("outcome {code}")))
}

/// As the wire writes it (docs/wire.md §3).
pub(super) const fn gate_code(said: GateWord) -> u8 {
    match said {
        GateWord::Passed => 0,
        GateWord::TimedOut => 1,
        GateWord::Unseen => 2,
        GateWord::Tailgate => 3,
        GateWord::Forced => 4,
        GateWord::Blocked => 5,
        GateWord::Fault => 6,
        GateWord::Emergency => 7,
        GateWord::EmergencyOver => 8,
    }
}

pub(super) fn gate_of(code: Option<i64>) -> Result<GateWord, StoreError> {
    GateWord::ALL
        .into_iter()
        .find(|said| Some(i64::from(gate_code(*said))) == code)
        .ok_or_else(|| StoreError::damaged(format!("word {code:?} of a gate")))
}

pub(super) const fn role_code(role: TapRole) -> i64 {
    match role {
        TapRole::Board => 0,
        TapRole::Entry => 1,
        TapRole::Exit => 2,
    }
}

pub(super) fn role_of(code: i64) -> Result<TapRole, StoreError> {
    [TapRole::Board, TapRole::Entry, TapRole::Exit]
        .into_iter()
        .find(|role| role_code(*role) == code)
        .ok_or_else(|| StoreError::damaged(format!("role {code}")))
}

pub(super) const fn clock_code(quality: ClockQuality) -> i64 {
    match quality {
        ClockQuality::Unknown => 0,
        ClockQuality::Saved => 1,
        ClockQuality::Rtc => 2,
        ClockQuality::Ntp => 3,
        ClockQuality::Gnss => 4,
    }
}

pub(super) fn clock_of(code: i64) -> Result<ClockQuality, StoreError> {
    use ClockQuality::{Gnss, Ntp, Rtc, Saved, Unknown};
    [Unknown, Saved, Rtc, Ntp, Gnss]
        .into_iter()
        .find(|quality| clock_code(*quality) == code)
        .ok_or_else(|| StoreError::damaged(format!("clock quality {code}")))
}

/// As the columns `purse` hold it: empty for the tariff's currency.
pub(super) fn sql_purse(purse: Option<Currency>) -> Option<u16> {
    purse.map(Currency::numeric)
}

/// A currency read back.
pub(super) fn purse_of(number: Option<u16>) -> Result<Option<Currency>, StoreError> {
    let known = number.map(Currency::from_numeric).transpose();
    known.map_err(|error| StoreError::damaged(error.to_string()))
}

/// Four columns from `at` on.
pub(super) fn balance_at(row: &Row<'_>, at: usize) -> rusqlite::Result<Balance> {
    Ok(Balance {
        debits_posted: row.get(at)?,
        credits_posted: row.get(at + 1)?,
        debits_pending: row.get(at + 2)?,
        credits_pending: row.get(at + 3)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_and_codes_read_back() {
        for card in [CardId([0; 7]), CardId([4, 0xa1, 2, 3, 4, 5, 6]), CardId([0xff; 7])] {
            assert_eq!(card_of(sql_card(card)), card);
            assert!(sql_card(card) >= 0);
        }
        for code in 0..7 {
            assert_eq!(outcome_code(outcome_of(code).unwrap()), code);
        }
        for code in 0..5 {
            assert_eq!(clock_code(clock_of(code).unwrap()), code);
        }
        assert!(outcome_of(7).is_err() && clock_of(5).is_err() && role_of(3).is_err());
    }
}
