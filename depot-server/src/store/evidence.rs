//! Evidence of a work item as JSON text: titles, log entries, card records.

use clearing::TapRef;
use model::{CardRecord, Epoch, TapSeq, ValidatorId};
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::config::{parse_hex, to_hex};

/// One piece of evidence, read back.
pub(super) struct Kept {
    pub(super) title: String,
    pub(super) tap: Option<TapRef>,
    pub(super) record: Option<CardRecord>,
}

#[derive(Serialize, Deserialize)]
struct Piece {
    title: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tap: Option<(u32, u32, u64)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    record: Option<String>,
}

pub(super) fn to_json(evidence: &[clearing::Evidence]) -> String {
    let pieces: Vec<Piece> = evidence
        .iter()
        .map(|piece| Piece {
            title: piece.title.to_owned(),
            tap: piece.tap.map(|tap| (tap.validator.number(), tap.epoch.0, tap.seq.0)),
            // A record that no card could hold has no bytes; its finding says so in words.
            record: piece.record.and_then(|record| Some(to_hex(&record.to_bytes().ok()?))),
        })
        .collect();
    serde_json::to_string(&pieces).expect("plain values become JSON")
}

pub(super) fn from_json(text: &str) -> Result<Vec<Kept>, StoreError> {
    let damaged = |what: String| StoreError::damaged(format!("evidence of an exception: {what}"));
    let pieces: Vec<Piece> = serde_json::from_str(text).map_err(|e| damaged(e.to_string()))?;
    pieces
        .into_iter()
        .map(|piece| {
            let tap = match piece.tap {
                None => None,
                Some((validator, epoch, seq)) => Some(TapRef {
                    validator: ValidatorId::new(validator)
                        .ok_or_else(|| damaged(format!("validator {validator}")))?,
                    epoch: Epoch(epoch),
                    seq: TapSeq(seq),
                }),
            };
            let record = match piece.record {
                None => None,
                Some(hex) => {
                    let bytes = parse_hex(&hex).ok_or_else(|| damaged(hex.clone()))?;
                    Some(CardRecord::from_bytes(&bytes).map_err(|e| damaged(e.to_string()))?)
                }
            };
            Ok(Kept { title: piece.title, tap, record })
        })
        .collect()
}
