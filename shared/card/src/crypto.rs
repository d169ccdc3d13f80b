//! The card's primitives: AES-CMAC, AES-CBC, key diversification (AN10922) and JAMCRC.
//!
//! All on AES-128. Nothing here pads except where its name says so.

use aes::{
    Aes128Dec, Aes128Enc, Block,
    cipher::{Array, BlockCipherEncrypt, InnerIvInit, KeyInit},
};
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use cmac::{Cmac, Mac, digest::common::InnerInit};

use crate::keys::Key;

/// A key expanded for enciphering. Expanding costs more than a short MAC, so whoever uses a key
/// more than once keeps this. Wiped when dropped.
#[derive(Clone)]
pub struct Cipher(Aes128Enc);

impl Cipher {
    /// Expands `key`.
    pub fn new(key: &Key) -> Self {
        Self(Aes128Enc::new(&key.0.into()))
    }

    /// AES-CMAC over the concatenation of `parts`.
    pub fn cmac(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mut mac = Cmac::inner_init(&self.0);
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// The truncated MAC of the card interface: bytes 1, 3, 5 … 15 of the CMAC.
    pub fn mac_t(&self, parts: &[&[u8]]) -> [u8; 8] {
        let full = self.cmac(parts);
        core::array::from_fn(|i| full[2 * i + 1])
    }

    /// One block, enciphered.
    pub fn ecb(&self, block: [u8; 16]) -> [u8; 16] {
        let mut block = Block::from(block);
        self.0.encrypt_block(&mut block);
        block.into()
    }

    /// Enciphers whole blocks in place.
    ///
    /// # Panics
    /// When `buffer` is no whole number of blocks.
    pub fn cbc_encrypt(&self, iv: [u8; 16], buffer: &mut [u8]) {
        let (blocks, rest) = Array::slice_as_chunks_mut(buffer);
        assert!(rest.is_empty(), "CBC works on whole blocks");
        cbc::Encryptor::inner_iv_init(&self.0, &iv.into()).encrypt_blocks(blocks);
    }
}

impl core::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Cipher(…)")
    }
}

/// AES-CMAC over the concatenation of `parts`.
pub fn cmac(key: &Key, parts: &[&[u8]]) -> [u8; 16] {
    Cipher::new(key).cmac(parts)
}

/// Whether two MACs are equal, in a time that does not depend on where they differ.
pub fn same_mac(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |diff, (x, y)| diff | (x ^ y)) == 0
}

/// Deciphers whole blocks in place.
///
/// # Panics
/// When `buffer` is no whole number of blocks: callers check what they received first.
pub fn cbc_decrypt(key: &Key, iv: [u8; 16], buffer: &mut [u8]) {
    let (blocks, rest) = Array::slice_as_chunks_mut(buffer);
    assert!(rest.is_empty(), "CBC works on whole blocks");
    cbc::Decryptor::<Aes128Dec>::new(&key.0.into(), &iv.into()).decrypt_blocks(blocks);
}

/// A card's own key by AN10922, AES-128: a CMAC that always works on 32 bytes.
///
/// # Panics
/// When `input` is empty or longer than 31 bytes.
pub fn diversify(master: &Key, input: &[u8]) -> Key {
    assert!((1..=31).contains(&input.len()), "AN10922 diversifies by 1 to 31 bytes");
    let cipher = Cipher::new(master);
    let (k1, k2) = subkeys(&cipher);
    let mut message = [0; 32];
    message[0] = 0x01;
    message[1..=input.len()].copy_from_slice(input);
    let mask = if input.len() == 31 {
        k1
    } else {
        message[input.len() + 1] = 0x80;
        k2
    };
    for (byte, m) in message[16..].iter_mut().zip(mask) {
        *byte ^= m;
    }
    cipher.cbc_encrypt([0; 16], &mut message);
    let mut derived = Key([0; 16]);
    derived.0.copy_from_slice(&message[16..]);
    derived
}

/// The CMAC subkeys K1 and K2 of NIST SP 800-38B.
pub(crate) fn subkeys(cipher: &Cipher) -> ([u8; 16], [u8; 16]) {
    let double = |block: [u8; 16]| {
        let shifted = u128::from_be_bytes(block) << 1;
        let carry = if block[0] & 0x80 == 0 { 0 } else { 0x87 };
        (shifted ^ carry).to_be_bytes()
    };
    let k1 = double(cipher.ecb([0; 16]));
    (k1, double(k1))
}

/// CRC-32 as `ChangeKey` wants it: IEEE, reflected, initial FFFFFFFF, no final inversion.
pub fn jamcrc(data: &[u8]) -> u32 {
    data.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 0 { crc >> 1 } else { (crc >> 1) ^ 0xEDB8_8320 }
        })
    })
}
