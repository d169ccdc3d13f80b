//! The envelope of every message, in three versions that live side by side (ADR-0029).
//!
//! Version 1 is a CBOR array of three: version, body, Ed25519 signature. Version 2 names two keys
//! besides: to whom the message is and who signed it. Version 3 is version 2 with everything behind
//! the receiver sealed: [`Sealed::opened`] makes a version 2 message of what was inside, and that
//! is what is kept. A signature covers [`Envelope::signing_input`], so that a body signed as one
//! kind of message, in one version or for one receiver can never pass as another.
//!
//! Nothing here seals or opens: `fleet-sync` does.

use alloc::{format, string::ToString, vec::Vec};
use core::fmt;

use serde_bytes::Bytes;

use crate::{MessageVersion, WireError, cbor, limits};

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
    /// `down/keys`: what opens sealed lists, signed by the depot and sealed for one validator.
    Keys,
}

/// Which key: the first 8 bytes of the SHA-256 of its 32 public bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(pub [u8; 8]);

/// Between whom a message of version 2 is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The receiver's key.
    pub to: KeyId,
    /// The signer's key.
    pub from: KeyId,
}

/// A readable message taken apart, its signature not yet checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// `None` in version 1.
    pub address: Option<Address>,
    /// The signed bytes, verbatim.
    pub body: &'a [u8],
    /// The Ed25519 signature.
    pub signature: [u8; 64],
}

/// A message of version 3 taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed<'a> {
    /// The key that opens it.
    pub to: KeyId,
    /// What only that key opens.
    pub sealed: &'a [u8],
}

/// Bytes of a version 2 message that stay outside when it is sealed: array, version, receiver.
const OUTSIDE: usize = 2 + 1 + 8;

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
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
            Self::Keys => "keys",
        }
    }

    /// Bytes that a message of this kind may have at most.
    pub const fn limit(self) -> usize {
        match self {
            Self::Taps => limits::BATCH,
            Self::State | Self::Ack | Self::Host | Self::Keys => limits::SMALL,
            Self::Manifest => limits::MANIFEST,
        }
    }
}

impl<'a> Envelope<'a> {
    /// Which version it is of.
    pub const fn version(&self) -> MessageVersion {
        match self.address {
            None => MessageVersion::V1,
            Some(_) => MessageVersion::V2,
        }
    }

    /// What the signature covers: `tapline/1/` ‖ word ‖ NUL ‖ body, or in version 2 `tapline/2/` ‖
    /// word ‖ NUL ‖ to ‖ from ‖ body.
    pub fn signing_input(message: Message, address: Option<Address>, body: &[u8]) -> Vec<u8> {
        let word = message.word().as_bytes();
        match address {
            None => [b"tapline/1/", word, &[0], body].concat(),
            Some(Address { to, from }) => {
                [b"tapline/2/", word, &[0], &to.0, &from.0, body].concat()
            }
        }
    }

    /// The message's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let (body, signature) = (Bytes::new(self.body), Bytes::new(&self.signature));
        let version = self.version().number();
        match &self.address {
            None => cbor::to_vec(&(version, body, signature)),
            Some(Address { to, from }) => {
                cbor::to_vec(&(version, Bytes::new(&to.0), Bytes::new(&from.0), body, signature))
            }
        }
    }

    /// Takes a readable message apart; a sealed one is [`WireError::Sealed`].
    pub fn decode(message: Message, payload: &'a [u8]) -> Result<Self, WireError> {
        let what = message.word();
        let (address, body, signature) = match MessageVersion::of(message, payload)? {
            MessageVersion::V1 => {
                let (_, body, signature): (u8, &'a Bytes, &'a Bytes) =
                    cbor::from_slice(what, payload)?;
                (None, body, signature)
            }
            MessageVersion::V2 => {
                let (_, to, from, body, signature): Parts<'a> = cbor::from_slice(what, payload)?;
                let address =
                    Address { to: KeyId::read(what, to)?, from: KeyId::read(what, from)? };
                (Some(address), body, signature)
            }
            MessageVersion::V3 => return Err(WireError::Sealed),
        };
        let signature = <[u8; 64]>::try_from(signature.as_ref()).map_err(|_| {
            let detail = "the signature does not have 64 bytes".to_string();
            WireError::Malformed { what, detail }
        })?;
        Ok(Self { address, body, signature })
    }

    /// What is sealed of a version 2 message: everything behind the receiver.
    pub fn inside(&self) -> Vec<u8> {
        self.encode().split_off(OUTSIDE)
    }
}

/// Version, to, from, body, signature.
type Parts<'a> = (u8, &'a Bytes, &'a Bytes, &'a Bytes, &'a Bytes);

impl<'a> Sealed<'a> {
    /// The message's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let version = MessageVersion::V3.number();
        cbor::to_vec(&(version, Bytes::new(&self.to.0), Bytes::new(self.sealed)))
    }

    /// Takes a sealed message apart.
    pub fn decode(message: Message, payload: &'a [u8]) -> Result<Self, WireError> {
        let what = message.word();
        if MessageVersion::of(message, payload)? != MessageVersion::V3 {
            let detail = "it is not sealed".to_string();
            return Err(WireError::Malformed { what, detail });
        }
        let (_, to, sealed): (u8, &'a Bytes, &'a Bytes) = cbor::from_slice(what, payload)?;
        Ok(Self { to: KeyId::read(what, to)?, sealed })
    }

    /// The version 2 message of which `inside` was sealed. Its signature is not checked.
    pub fn opened(&self, inside: &[u8]) -> Vec<u8> {
        // An array of five that begins with 2 and a byte string of 8.
        [&[0x85, MessageVersion::V2.number(), 0x48], &self.to.0[..], inside].concat()
    }
}

impl KeyId {
    fn read(what: &'static str, bytes: &[u8]) -> Result<Self, WireError> {
        bytes.try_into().map(Self).map_err(|_| {
            let detail = "the name of a key does not have 8 bytes".to_string();
            WireError::Malformed { what, detail }
        })
    }
}

impl MessageVersion {
    /// Which version a message is of. Read before the rest: a newer one may have another shape.
    pub fn of(message: Message, payload: &[u8]) -> Result<Self, WireError> {
        let what = message.word();
        cbor::bounded(what, payload, message.limit())?;
        let ([items @ 0x80..=0x97, number @ 0..=0x17, ..]
        | [items @ 0x80..=0x97, 0x18, number, ..]) = *payload
        else {
            let detail = "no envelope: a CBOR array that begins with a version".to_string();
            return Err(WireError::Malformed { what, detail });
        };
        let version = Self::from_number(number).ok_or(WireError::UnknownVersion(number))?;
        let wanted = match version {
            Self::V1 | Self::V3 => 0x83,
            Self::V2 => 0x85,
        };
        if items == wanted && payload[1] == number {
            return Ok(version);
        }
        let detail = format!("no envelope of version {number}");
        Err(WireError::Malformed { what, detail })
    }
}
