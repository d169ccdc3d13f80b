//! The card itself: version, number, free memory, configuration, formatting.

use alloc::vec::Vec;

use crate::apdu::StatusWord;

use super::admin::empty;
use super::{Outcome, VirtualCard};

/// An answer to select is at most this long.
const ATS_LEN_MAX: usize = 20;

impl VirtualCard {
    pub(super) fn version(&self, data: &[u8]) -> Outcome {
        empty(data)?;
        let mut version = Vec::with_capacity(28);
        version.extend_from_slice(&[0x04, 0x01, 0x01, 0x33, 0x00, 0x1A, 0x05]);
        version.extend_from_slice(&[0x04, 0x01, 0x01, 0x03, 0x00, 0x1A, 0x05]);
        // Who hides the number at activation must not tell it to everybody here.
        let hidden = self.memory.configuration.random_uid;
        version.extend_from_slice(if hidden { &[0; 7] } else { &self.memory.uid.0 });
        version.extend_from_slice(&[0xCF, 0x12, 0x34, 0x56, 0x78, 0x30, 0x21]);
        Ok(version)
    }

    pub(super) fn card_uid(&self, data: &[u8]) -> Outcome {
        empty(data)?;
        self.logged_in()?;
        Ok(self.memory.uid.0.to_vec())
    }

    pub(super) fn free_mem(&self, data: &[u8]) -> Outcome {
        empty(data)?;
        Ok(self.memory.free().to_le_bytes()[..3].to_vec())
    }

    /// Removes all applications; keys and configuration of the card level stay.
    pub(super) fn format(&mut self, data: &[u8]) -> Outcome {
        empty(data)?;
        self.card_level()?;
        self.master()?;
        if self.memory.configuration.unformattable {
            return Err(StatusWord::PERMISSION_DENIED);
        }
        self.memory.apps.clear();
        self.volatile.login = None;
        Ok(Vec::new())
    }

    pub(super) fn set_configuration(&mut self, data: &[u8]) -> Outcome {
        self.card_level()?;
        self.master()?;
        let (&option, data) = data.split_first().ok_or(StatusWord::LENGTH)?;
        match (option, data) {
            // Both switches can only be switched on.
            (0, &[flags @ 0..=3]) => {
                self.memory.configuration.unformattable |= flags & 1 != 0;
                if flags & 2 != 0 && !self.memory.configuration.random_uid {
                    self.randomize_uid();
                }
            }
            (1, data) => {
                let (key, &[version]) = data.split_first_chunk().ok_or(StatusWord::LENGTH)? else {
                    return Err(StatusWord::LENGTH);
                };
                self.memory.configuration.default_key = (*key, version);
            }
            (2, &[length, ..])
                if usize::from(length) == data.len() && (2..=ATS_LEN_MAX).contains(&data.len()) =>
            {
                self.memory.configuration.ats = data.to_vec();
            }
            (0, [_]) => return Err(StatusWord::PARAMETER),
            (0 | 2, _) => return Err(StatusWord::LENGTH),
            _ => return Err(StatusWord::PARAMETER),
        }
        Ok(Vec::new())
    }
}
