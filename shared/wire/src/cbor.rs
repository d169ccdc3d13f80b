//! The one file that names the CBOR library.
//!
//! Only the packed format is read: struct fields by index, codes as integers. Names and enum
//! notations, which the library would also accept, are refused.

use alloc::{string::ToString, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::WireError;

/// Encodes; the types of this crate always can be.
pub(crate) fn to_vec<T: Serialize>(value: &T) -> Vec<u8> {
    serde_cbor::ser::to_vec_packed(value).expect("integers, byte strings and text always encode")
}

/// Decodes all of `bytes`; anything left over is malformed.
pub(crate) fn from_slice<'a, T: Deserialize<'a>>(
    what: &'static str,
    bytes: &'a [u8],
) -> Result<T, WireError> {
    let mut decoder = serde_cbor::Deserializer::from_slice(bytes)
        .disable_named_format()
        .disable_standard_enums()
        .disable_legacy_enums();
    T::deserialize(&mut decoder)
        .and_then(|value| decoder.end().map(|()| value))
        .map_err(|e| WireError::Malformed { what, detail: e.to_string() })
}

/// How many bytes the value takes with which `bytes` begins; `None` when none does.
pub(crate) fn len_of_first<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<usize> {
    let mut decoder = serde_cbor::Deserializer::from_slice(bytes)
        .disable_named_format()
        .disable_standard_enums()
        .disable_legacy_enums();
    T::deserialize(&mut decoder).ok().map(|_| decoder.byte_offset())
}

/// Refuses `bytes` longer than `limit` before a decoder sees them.
pub(crate) fn bounded(what: &'static str, bytes: &[u8], limit: usize) -> Result<(), WireError> {
    if bytes.len() > limit { Err(WireError::TooLarge { what, limit }) } else { Ok(()) }
}
