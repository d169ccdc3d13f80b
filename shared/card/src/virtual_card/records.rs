//! Record files: reading, appending, correcting and clearing.
//!
//! Records are counted back from the newest committed one. A transaction appends at most one, and
//! a file that it clears takes none before the commit.

use alloc::{vec, vec::Vec};

use crate::apdu::{StatusWord, cmd};

use super::channel::le24;
use super::data::{Span, parse_span, patch};
use super::memory::Body;
use super::transaction::Change;
use super::{Outcome, VirtualCard};

/// What a transaction has done to a record file so far.
#[derive(Debug, Clone, Default)]
pub(super) struct RecordChange {
    /// The records as corrected or cleared.
    pub(super) records: Option<Vec<u8>>,
    pub(super) new: Option<Vec<u8>>,
}

/// A record file as committed.
struct Records {
    size: usize,
    full: bool,
    data: Vec<u8>,
}

impl VirtualCard {
    fn records(&self, file: u8) -> Result<Records, StatusWord> {
        let Body::Records { cyclic, size, max, data } = &self.file(file)?.body else {
            return Err(StatusWord::PERMISSION_DENIED);
        };
        let full = !cyclic && data.len() / size >= *max;
        Ok(Records { size: *size, full, data: data.clone() })
    }

    fn record_change(&mut self, file: u8) -> Result<&mut RecordChange, StatusWord> {
        let fresh = || Change::Records(RecordChange::default());
        match self.volatile.pending.change(file, fresh) {
            Change::Records(change) => Ok(change),
            Change::Data(_) | Change::Value { .. } => Err(StatusWord::FILE_INTEGRITY),
        }
    }

    pub(super) fn read_records(&mut self, command: u8, data: &[u8]) -> Outcome {
        let (Span { file, from, count }, []) = parse_span(data)? else {
            return Err(StatusWord::LENGTH);
        };
        let Records { size, data, .. } = self.records(file)?;
        // Counted back from the newest, answered oldest first.
        let end = (data.len() / size).checked_sub(from).ok_or(StatusWord::BOUNDARY)?;
        let count = if count == 0 { end } else { count };
        let start = end.checked_sub(count).ok_or(StatusWord::BOUNDARY)?;
        if count == 0 {
            return Err(StatusWord::BOUNDARY);
        }
        let read = data[start * size..end * size].to_vec();
        self.count_span(command, file, from, count, &read);
        Ok(read)
    }

    pub(super) fn write_record(&mut self, command: u8, data: &[u8]) -> Outcome {
        let (Span { file, from, count }, written) = parse_span(data)?;
        if count == 0 || written.len() != count {
            return Err(StatusWord::LENGTH);
        }
        let Records { size, full, .. } = self.records(file)?;
        if full || from + count > size {
            return Err(StatusWord::BOUNDARY);
        }
        let change = self.record_change(file)?;
        if change.records.as_ref().is_some_and(Vec::is_empty) {
            return Err(StatusWord::PERMISSION_DENIED);
        }
        patch(change.new.get_or_insert_with(|| vec![0; size]), from, written)?;
        self.count_span(command, file, from, count, written);
        Ok(Vec::new())
    }

    pub(super) fn update_record(&mut self, command: u8, data: &[u8]) -> Outcome {
        let header: &[u8; 10] = data.first_chunk().ok_or(StatusWord::LENGTH)?;
        let &[file, r0, r1, r2, o0, o1, o2, l0, l1, l2] = header;
        let [record, from, count] = [[r0, r1, r2], [o0, o1, o2], [l0, l1, l2]].map(le24);
        let written = &data[10..];
        if count == 0 || written.len() != count {
            return Err(StatusWord::LENGTH);
        }
        let Records { size, data: committed, .. } = self.records(file)?;
        let index = (committed.len() / size).checked_sub(record + 1);
        let index = index.ok_or(StatusWord::BOUNDARY)?;
        if from + count > size {
            return Err(StatusWord::BOUNDARY);
        }
        let records = self.record_change(file)?.records.get_or_insert(committed);
        patch(records, index * size + from, written)?;
        self.count(command, header, written);
        Ok(Vec::new())
    }

    pub(super) fn clear_record_file(&mut self, data: &[u8]) -> Outcome {
        let &[file] = data else { return Err(StatusWord::LENGTH) };
        self.file_access(cmd::CLEAR_RECORD_FILE, data)?;
        self.records(file)?;
        *self.record_change(file)? = RecordChange { records: Some(Vec::new()), new: None };
        self.count(cmd::CLEAR_RECORD_FILE, &[file], &[]);
        Ok(Vec::new())
    }
}
