//! Reading and writing: data and value files.
//!
//! Standard files change at once; all others put what they are told into `Pending` and go on
//! showing what was committed. Every command that counts is added to the Transaction MAC input,
//! with the length or count that it really had.

use alloc::vec::Vec;

use crate::apdu::{StatusWord, cmd, span};

use super::channel::le24;
use super::memory::Body;
use super::transaction::Change;
use super::{Outcome, VirtualCard};

const LIMITED_CREDIT_ENABLED: u8 = 0x01;

/// `FileNo Offset(3) Length(3)`, or record number and count.
pub(super) struct Span {
    pub(super) file: u8,
    pub(super) from: usize,
    pub(super) count: usize,
}

pub(super) fn parse_span(data: &[u8]) -> Result<(Span, &[u8]), StatusWord> {
    let (&file, data) = data.split_first().ok_or(StatusWord::LENGTH)?;
    let (from, data) = data.split_first_chunk().ok_or(StatusWord::LENGTH)?;
    let (count, rest) = data.split_first_chunk().ok_or(StatusWord::LENGTH)?;
    Ok((Span { file, from: le24(*from), count: le24(*count) }, rest))
}

impl VirtualCard {
    pub(super) fn read_data(&mut self, command: u8, data: &[u8]) -> Outcome {
        let (Span { file, from, count }, []) = parse_span(data)? else {
            return Err(StatusWord::LENGTH);
        };
        let tmac;
        let (content, counts) = match &self.file(file)?.body {
            Body::Standard(content) | Body::Backup(content) => (content.as_slice(), true),
            Body::Tmac { ctr, proof, .. } => {
                tmac = [&ctr.to_le_bytes()[..], proof].concat();
                (tmac.as_slice(), false)
            }
            Body::Value { .. } | Body::Records { .. } => return Err(StatusWord::PERMISSION_DENIED),
        };
        let rest = content.get(from..).ok_or(StatusWord::BOUNDARY)?;
        let count = if count == 0 { rest.len() } else { count };
        let read = match rest.get(..count) {
            Some(read) if count > 0 => read.to_vec(),
            _ => return Err(StatusWord::BOUNDARY),
        };
        if counts {
            self.count_span(command, file, from, count, &read);
        }
        Ok(read)
    }

    pub(super) fn write_data(&mut self, command: u8, data: &[u8]) -> Outcome {
        let (Span { file, from, count }, written) = parse_span(data)?;
        if count == 0 || written.len() != count {
            return Err(StatusWord::LENGTH);
        }
        let target = self.app_mut()?.file_mut(file).ok_or(StatusWord::NO_SUCH_FILE)?;
        let backup = match &mut target.body {
            Body::Standard(content) => {
                patch(content, from, written)?;
                None
            }
            Body::Backup(content) => Some(content.clone()),
            Body::Value { .. } | Body::Records { .. } | Body::Tmac { .. } => {
                return Err(StatusWord::PERMISSION_DENIED);
            }
        };
        if let Some(content) = backup {
            let change = self.volatile.pending.change(file, || Change::Data(content));
            if let Change::Data(content) = change {
                patch(content, from, written)?;
            }
        }
        self.count_span(command, file, from, count, written);
        Ok(Vec::new())
    }

    pub(super) fn value(&mut self, data: &[u8]) -> Outcome {
        let &[file] = data else { return Err(StatusWord::LENGTH) };
        let Body::Value { value, .. } = self.file(file)?.body else {
            return Err(StatusWord::PERMISSION_DENIED);
        };
        let value = value.to_le_bytes();
        self.count_value(cmd::GET_VALUE, file, value);
        Ok(value.to_vec())
    }

    pub(super) fn change_value(&mut self, command: u8, data: &[u8]) -> Outcome {
        let &[file, a, b, c, d] = data else { return Err(StatusWord::LENGTH) };
        let amount = i32::from_le_bytes([a, b, c, d]);
        if amount < 0 {
            return Err(StatusWord::PARAMETER);
        }
        let Body::Value { lower, upper, value, limited, options } = self.file(file)?.body else {
            return Err(StatusWord::PERMISSION_DENIED);
        };
        let fresh = || Change::Value { value, debited: 0, limited: None };
        let Change::Value { value, debited, limited: left } =
            self.volatile.pending.change(file, fresh)
        else {
            return Err(StatusWord::FILE_INTEGRITY);
        };
        let moved = match command {
            cmd::DEBIT => {
                *debited = debited.saturating_add(amount);
                value.checked_sub(amount)
            }
            cmd::CREDIT => value.checked_add(amount),
            _ if options & LIMITED_CREDIT_ENABLED == 0 => {
                return Err(StatusWord::PERMISSION_DENIED);
            }
            _ => {
                if left.is_some() || amount > limited {
                    return Err(StatusWord::BOUNDARY);
                }
                *left = Some(0);
                value.checked_add(amount)
            }
        };
        *value = moved.filter(|v| (lower..=upper).contains(v)).ok_or(StatusWord::BOUNDARY)?;
        self.count_value(command, file, [a, b, c, d]);
        Ok(Vec::new())
    }

    pub(super) fn count_span(
        &mut self,
        command: u8,
        file: u8,
        from: usize,
        count: usize,
        data: &[u8],
    ) {
        let fits = "offsets and lengths inside a file fit into 24 bits";
        let [from, count] = [from, count].map(|n| u32::try_from(n).expect(fits));
        self.count(command, &span(file, from, count), data);
    }

    fn count_value(&mut self, command: u8, file: u8, [a, b, c, d]: [u8; 4]) {
        self.count(command, &[file, a, b, c, d], &[]);
    }

    /// Adds a command to the Transaction MAC input, if the application has one.
    pub(super) fn count(&mut self, command: u8, parameters: &[u8], data: &[u8]) {
        if self.app().is_ok_and(|app| app.tmac().is_some()) {
            self.volatile.pending.tmi.step(command, parameters, data);
        }
    }
}

pub(super) fn patch(content: &mut [u8], from: usize, written: &[u8]) -> Result<(), StatusWord> {
    content
        .get_mut(from..)
        .and_then(|rest| rest.get_mut(..written.len()))
        .ok_or(StatusWord::BOUNDARY)?
        .copy_from_slice(written);
    Ok(())
}
