//! Messages within a session of the old schemes.
//!
//! D40 protects data only: a four-byte MAC, or enciphering with a CRC-16; everything else goes in
//! the clear. EV1 runs every command and every answer through one CMAC chain, and all its
//! successful answers end with that MAC, whatever the file's mode. Enciphered messages carry no
//! length, so whoever opens one says how long its data is.

use alloc::vec::Vec;

use zeroize::Zeroizing;

use super::{AnyKey, Chain, Cipher, KeyKind, Scheme, crc_a};
use crate::crypto::{jamcrc, same_mac};
use crate::session::CommMode;

/// Why a message was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Shorter than its MAC or its data, or no whole number of blocks.
    #[error("the message has a wrong length")]
    Length,
    /// MAC, CRC or padding do not hold.
    #[error("the message is not intact")]
    Integrity,
}

/// A running session. Both ends hold the same values.
#[derive(Debug, Clone)]
pub struct Session {
    scheme: Scheme,
    cipher: Cipher,
    /// What the next message starts from; always zero in D40.
    chain: Chain,
}

impl Session {
    pub(crate) fn new(scheme: Scheme, key: &AnyKey) -> Self {
        Self { scheme, cipher: key.cipher(), chain: [0; 16] }
    }

    const fn is_d40(&self) -> bool {
        matches!(self.scheme, Scheme::D40)
    }

    const fn crc_len(&self) -> usize {
        if self.is_d40() { 2 } else { 4 }
    }

    /// Bytes that `data` plain bytes become in this mode, behind the header of a command.
    pub fn sealed_len(&self, mode: CommMode, data: usize) -> usize {
        match mode {
            CommMode::Plain => data,
            CommMode::Mac => data + if self.is_d40() { 4 } else { 8 },
            CommMode::Full => (data + self.crc_len()).next_multiple_of(self.cipher.block_len()),
        }
    }

    /// Reader: what follows `cmd` in the frame. `tail` follows the CRC of enciphered data:
    /// `ChangeKey` puts a second CRC there.
    pub fn seal_command(
        &mut self,
        mode: CommMode,
        cmd: u8,
        header: &[u8],
        data: &[u8],
        tail: &[u8],
    ) -> Vec<u8> {
        let mut out = [header, data].concat();
        match mode {
            CommMode::Full => {
                out.extend(self.crc(&[&[cmd], header], data, &[]));
                out.extend_from_slice(tail);
                let len = (out.len() - header.len()).next_multiple_of(self.cipher.block_len());
                out.resize(header.len() + len, 0);
                let body = &mut out[header.len()..];
                if self.is_d40() {
                    self.cipher.seal_backwards(&mut [0; 16], body);
                } else {
                    self.cipher.seal(&mut self.chain, body);
                }
            }
            CommMode::Mac if self.is_d40() => out.extend(self.d40_mac(data)),
            CommMode::Plain if self.is_d40() => {}
            CommMode::Mac | CommMode::Plain => {
                let mac = self.cipher.cmac(&mut self.chain, &[&[cmd], &out]);
                if mode == CommMode::Mac {
                    out.extend(mac);
                }
            }
        }
        out
    }

    /// Card: header and data of a command. `lens` tells how long data and tail are, from the first
    /// plain bytes behind the header.
    pub fn open_command(
        &mut self,
        mode: CommMode,
        cmd: u8,
        header: usize,
        payload: &[u8],
        lens: impl FnOnce(&[u8]) -> Option<(usize, usize)>,
    ) -> Result<Vec<u8>, MessageError> {
        match mode {
            CommMode::Full => {
                let (head, body) = payload.split_at_checked(header).ok_or(MessageError::Length)?;
                let mut body = Zeroizing::new(body.to_vec());
                self.whole_blocks(&body)?;
                if self.is_d40() {
                    self.cipher.open_backwards(&mut [0; 16], &mut body);
                } else {
                    self.cipher.open(&mut self.chain, &mut body);
                }
                let (data, tail) = lens(&body).ok_or(MessageError::Length)?;
                let opened = self.checked(&[&[cmd], head], &body, data, tail, &[])?;
                Ok([head, &opened].concat())
            }
            CommMode::Plain | CommMode::Mac => {
                let mac_len = self.sealed_len(mode, 0);
                let signed = payload.len().checked_sub(mac_len).ok_or(MessageError::Length)?;
                let (signed, mac) = payload.split_at(signed);
                let expected = if self.is_d40() {
                    let data = signed.get(header..).ok_or(MessageError::Length)?;
                    self.d40_mac(data).to_vec()
                } else {
                    self.cipher.cmac(&mut self.chain, &[&[cmd], signed]).to_vec()
                };
                if mac_len > 0 && !same_mac(mac, &expected) {
                    return Err(MessageError::Integrity);
                }
                Ok(signed.to_vec())
            }
        }
    }

    /// Card: the data of a successful answer. `marked` puts 80 before the zeros of the padding, as
    /// a read of unknown length has it.
    pub fn seal_answer(&mut self, mode: CommMode, data: &[u8], marked: bool) -> Vec<u8> {
        let mut out = data.to_vec();
        match mode {
            CommMode::Full if !data.is_empty() => {
                out.extend(self.crc(&[], data, &[0]));
                if marked {
                    out.push(0x80);
                }
                out.resize(out.len().next_multiple_of(self.cipher.block_len()), 0);
                if self.is_d40() {
                    self.chain = [0; 16];
                }
                self.cipher.seal(&mut self.chain, &mut out);
            }
            CommMode::Mac if self.is_d40() && !data.is_empty() => out.extend(self.d40_mac(data)),
            _ if self.is_d40() => {}
            CommMode::Plain | CommMode::Mac | CommMode::Full => {
                let mac = self.cipher.cmac(&mut self.chain, &[data, &[0]]);
                out.extend(mac);
            }
        }
        out
    }

    /// Reader: the data of a successful answer, `len` bytes when it is enciphered.
    pub fn open_answer(
        &mut self,
        mode: CommMode,
        payload: &[u8],
        len: usize,
    ) -> Result<Vec<u8>, MessageError> {
        if mode == CommMode::Full && len > 0 {
            let mut body = payload.to_vec();
            self.whole_blocks(&body)?;
            if self.is_d40() {
                self.chain = [0; 16];
            }
            self.cipher.open(&mut self.chain, &mut body);
            return self.checked(&[], &body, len, 0, &[0]);
        }
        let mac_len = match (self.is_d40(), mode) {
            (true, CommMode::Mac) if !payload.is_empty() => 4,
            (true, _) => 0,
            (false, _) => 8,
        };
        let data = payload.len().checked_sub(mac_len).ok_or(MessageError::Length)?;
        let (data, mac) = payload.split_at(data);
        let expected = if self.is_d40() {
            self.d40_mac(data).to_vec()
        } else {
            self.cipher.cmac(&mut self.chain, &[data, &[0]]).to_vec()
        };
        if mac_len > 0 && !same_mac(mac, &expected) {
            return Err(MessageError::Integrity);
        }
        Ok(data.to_vec())
    }

    fn whole_blocks(&self, body: &[u8]) -> Result<(), MessageError> {
        let whole = !body.is_empty() && body.len().is_multiple_of(self.cipher.block_len());
        if whole { Ok(()) } else { Err(MessageError::Length) }
    }

    /// Data and tail of deciphered bytes, once the CRC between them and the padding hold.
    fn checked(
        &self,
        before: &[&[u8]],
        body: &[u8],
        data: usize,
        tail: usize,
        after: &[u8],
    ) -> Result<Vec<u8>, MessageError> {
        let (data, rest) = body.split_at_checked(data).ok_or(MessageError::Length)?;
        let (crc, rest) = rest.split_at_checked(self.crc_len()).ok_or(MessageError::Length)?;
        let (tail, padding) = rest.split_at_checked(tail).ok_or(MessageError::Length)?;
        let zeros = padding.strip_prefix(&[0x80]).unwrap_or(padding).iter().all(|b| *b == 0);
        let short = padding.len() <= self.cipher.block_len();
        if crc != self.crc(before, data, after) || !zeros || !short {
            return Err(MessageError::Integrity);
        }
        Ok([data, tail].concat())
    }

    /// D40 sums the data alone; EV1 also what stands before and after it.
    fn crc(&self, before: &[&[u8]], data: &[u8], after: &[u8]) -> Vec<u8> {
        if self.is_d40() {
            return crc_a(data).to_le_bytes().to_vec();
        }
        jamcrc(&[&before.concat(), data, after].concat()).to_le_bytes().to_vec()
    }

    /// The first half of the last block of a CBC over the data, padded with zeros.
    fn d40_mac(&self, data: &[u8]) -> [u8; 4] {
        let mut padded = data.to_vec();
        padded.resize(data.len().next_multiple_of(8), 0);
        let mut chain = [0; 16];
        self.cipher.seal(&mut chain, &mut padded);
        let (mac, _) = chain.split_first_chunk().expect("a chain holds four bytes");
        *mac
    }
}

/// Data and tail of `ChangeKey` for `seal_command`. `old` is the key being replaced, or `None`
/// when it is the very key of the session; `version` travels with AES keys only.
pub fn change_key_data(
    scheme: Scheme,
    new: &AnyKey,
    version: u8,
    old: Option<&AnyKey>,
) -> (Zeroizing<Vec<u8>>, Vec<u8>) {
    let mut data = Zeroizing::new(new.bytes().to_vec());
    if let Some(old) = old {
        super::add(&mut data, old.bytes());
    }
    if new.kind() == KeyKind::Aes {
        data.push(version);
    }
    let tail = match (old, scheme) {
        (None, _) => Vec::new(),
        (Some(_), Scheme::D40) => crc_a(new.bytes()).to_le_bytes().to_vec(),
        (Some(_), Scheme::Iso | Scheme::Aes) => jamcrc(new.bytes()).to_le_bytes().to_vec(),
    };
    (data, tail)
}
