//! A tap log as a file: signed batches one behind the other, for a depot that no link reaches.
//!
//! [`BEGIN`], then for each batch its length (4 bytes, MSB first) and its payload, which is that of
//! `up/taps`. The file needs no signature of its own: every batch has one.

use alloc::vec::Vec;

use crate::{Envelope, Message, WireError, limits};

/// The first bytes.
pub const BEGIN: &[u8] = b"tapline journal 1\n";

/// Why a file is no journal, or where it stops being one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// It does not begin as one.
    #[error("this is no journal: it does not begin with \"tapline journal 1\"")]
    NoJournal,
    /// A batch is cut short or too long to be one.
    #[error("the journal is damaged behind {0} batches: export it again")]
    Damaged(usize),
    /// A payload is no batch.
    #[error("batch {n} of the journal does not read")]
    Batch {
        /// Which, from 1.
        n: usize,
        /// Why.
        source: WireError,
    },
}

/// Puts a batch behind those that `journal` has.
///
/// # Panics
/// When `payload` is longer than any batch can be.
pub fn append(journal: &mut Vec<u8>, payload: &[u8]) {
    let len = u32::try_from(payload.len()).expect("a batch has at most 64 KiB");
    journal.extend(len.to_be_bytes());
    journal.extend_from_slice(payload);
}

/// Takes a file apart into the payloads of its batches. Signatures are not checked here.
pub fn split(file: &[u8]) -> Result<Vec<&[u8]>, JournalError> {
    let mut rest = file.strip_prefix(BEGIN).ok_or(JournalError::NoJournal)?;
    let mut payloads = Vec::new();
    while !rest.is_empty() {
        let damaged = || JournalError::Damaged(payloads.len());
        let (len, behind) = rest.split_first_chunk().ok_or_else(damaged)?;
        let len =
            usize::try_from(u32::from_be_bytes(*len)).ok().filter(|len| *len <= limits::BATCH);
        let (payload, behind) =
            behind.split_at_checked(len.ok_or_else(damaged)?).ok_or_else(damaged)?;
        let n = payloads.len() + 1;
        Envelope::decode(Message::Taps, payload)
            .map_err(|source| JournalError::Batch { n, source })?;
        payloads.push(payload);
        rest = behind;
    }
    Ok(payloads)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(body: &[u8]) -> Vec<u8> {
        Envelope { address: None, body, signature: [7; 64] }.encode()
    }

    #[test]
    fn what_was_put_together_is_taken_apart_and_every_damage_is_named() {
        let payloads = [payload(b"one"), payload(&[2; 300])];
        let mut file = BEGIN.to_vec();
        for payload in &payloads {
            append(&mut file, payload);
        }
        assert_eq!(split(&file).unwrap(), payloads);
        assert_eq!(split(BEGIN).unwrap(), Vec::<&[u8]>::new(), "an empty log");
        assert_eq!(split(b"date,amount\n"), Err(JournalError::NoJournal));
        for cut in BEGIN.len() + 1..file.len() {
            match split(&file[..cut]) {
                Ok(read) => assert_eq!((read.len(), cut), (1, BEGIN.len() + 4 + payloads[0].len())),
                Err(e) => assert!(matches!(e, JournalError::Damaged(0 | 1)), "{cut}: {e}"),
            }
        }
        file[BEGIN.len() + 4] = 0x84;
        assert!(matches!(split(&file), Err(JournalError::Batch { n: 1, .. })));
    }
}
