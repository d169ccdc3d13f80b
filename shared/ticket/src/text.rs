//! The text inside the code: a prefix and base32, all of the QR alphanumeric set.

use alloc::string::String;

use data_encoding::BASE32_NOPAD;
use model::TicketToken;

/// What every ticket's text begins with; the digit is the format's version.
pub const PREFIX: &str = "TAPLINE1:";
/// The same without the digit.
const FAMILY: &str = "TAPLINE";
/// 96 bytes in base32.
const ENCODED_LEN: usize = 154;
/// Characters of a ticket's text.
pub const TEXT_LEN: usize = PREFIX.len() + ENCODED_LEN;

/// Why a text is no ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// A code of somebody else.
    #[error("not a ticket: it does not begin with TAPLINE1:")]
    NotATicket,
    /// A ticket of newer software.
    #[error("a ticket of a newer format: update this software")]
    NewerFormat,
    /// A ticket, read wrongly or cut short.
    #[error("a ticket that was read wrongly: hold the code again")]
    Garbled,
}

/// The text of a ticket, in upper case, so that a QR code needs its alphanumeric mode only.
pub fn to_text(token: &TicketToken) -> String {
    let mut text = String::with_capacity(TEXT_LEN);
    text.push_str(PREFIX);
    BASE32_NOPAD.encode_append(&token.0, &mut text);
    text
}

/// Reads a text; letter case, white space around it, and whatever stands before the last prefix
/// do not matter: scanners glue a banner or half a code to the next one. No prefix can stand
/// inside a ticket, whose alphabet has neither the digit nor the colon.
pub fn from_text(text: &str) -> Result<TicketToken, TextError> {
    let text = text.trim();
    let upper = text.to_ascii_uppercase();
    let text = upper.rfind(PREFIX).map_or(text, |at| &text[at..]);
    let family = text.get(..FAMILY.len()).unwrap_or_default();
    if !family.eq_ignore_ascii_case(FAMILY) {
        return Err(TextError::NotATicket);
    }
    let (version, encoded) = text[FAMILY.len()..].split_once(':').ok_or(TextError::Garbled)?;
    if version != "1" {
        let number = !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit());
        return Err(if number { TextError::NewerFormat } else { TextError::Garbled });
    }
    if encoded.len() != ENCODED_LEN {
        return Err(TextError::Garbled);
    }
    let mut bytes = [0; TicketToken::LEN];
    let upper = encoded.to_ascii_uppercase();
    // Refuses other characters, and bits behind the last byte that are not zero.
    let decoded = BASE32_NOPAD.decode_mut(upper.as_bytes(), &mut bytes);
    if decoded.is_ok() { Ok(TicketToken(bytes)) } else { Err(TextError::Garbled) }
}
