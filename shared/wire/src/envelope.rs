//! The envelope of every message: format version, body, signature.
//!
//! A CBOR array of three: version (unsigned), body (byte string), Ed25519 signature (byte string
//! of 64). The signature covers [`Message::signing_input`], so that a body signed as one kind of
//! message can never pass as another.

use alloc::{format, string::ToString, vec::Vec};

use serde_bytes::Bytes;

use crate::{VERSION, WireError, cbor, limits};

/// The kinds of signed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Message {
    /// `up/taps`: a batch of tap entries, signed by the validator.
    Taps,
    /// `up/state`: birth, will and state of a validator, signed by it.
    State,
    /// `down/ack`: what the depot has committed, signed by the depot.
    Ack,
    /// `all/host`: whether the depot is there, signed by it.
    Host,
    /// `all/manifest`: which lists are in force, signed by the depot.
    Manifest,
}

/// A message taken apart, its signature not yet checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The signed bytes, verbatim.
    pub body: &'a [u8],
    /// The Ed25519 signature.
    pub signature: [u8; 64],
}

impl Message {
    /// The word in topics and in what is signed.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Taps => "taps",
            Self::State => "state",
            Self::Ack => "ack",
            Self::Host => "host",
            Self::Manifest => "manifest",
        }
    }

    /// Bytes that a message of this kind may have at most.
    pub const fn limit(self) -> usize {
        match self {
            Self::Taps => limits::BATCH,
            Self::State | Self::Ack | Self::Host => limits::SMALL,
            Self::Manifest => limits::MANIFEST,
        }
    }

    /// What the signature covers: `tapline/1/` ‖ word ‖ NUL ‖ body.
    pub fn signing_input(self, body: &[u8]) -> Vec<u8> {
        [b"tapline/1/", self.word().as_bytes(), &[0], body].concat()
    }
}

impl<'a> Envelope<'a> {
    /// The message's bytes.
    pub fn encode(&self) -> Vec<u8> {
        cbor::to_vec(&(VERSION, Bytes::new(self.body), Bytes::new(&self.signature)))
    }

    /// Takes a received message apart.
    pub fn decode(message: Message, payload: &'a [u8]) -> Result<Self, WireError> {
        let what = message.word();
        cbor::bounded(what, payload, message.limit())?;
        // The version is read before the rest is decoded: a newer one may have another shape.
        match *payload {
            [0x83, VERSION, ..] => {}
            [0x80..=0x97, version @ 0..=0x17, ..] | [0x80..=0x97, 0x18, version, ..]
                if version != VERSION =>
            {
                return Err(WireError::UnknownVersion(version));
            }
            _ => {
                let detail = format!("no envelope: a CBOR array that begins with {VERSION}");
                return Err(WireError::Malformed { what, detail });
            }
        }
        let (_, body, signature): (u8, &'a Bytes, &'a Bytes) = cbor::from_slice(what, payload)?;
        let signature = <[u8; 64]>::try_from(signature.as_ref()).map_err(|_| {
            let detail = "the signature does not have 64 bytes".to_string();
            WireError::Malformed { what, detail }
        })?;
        Ok(Self { body, signature })
    }
}
