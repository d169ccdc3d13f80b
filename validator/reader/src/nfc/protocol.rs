//! What a program and its helper `tapline-nfc` say to each other over two pipes (ADR-0006).
//!
//! ```text
//! frame    length (2, LE: of what follows)  number (4, LE)  kind (1)  body
//! hello    from the helper, unasked, number 0: "TNFC" version libnfc's own version as text
//! ```
//!
//! A reply carries the number of its request, so that the reply to a request whose asker went away
//! is told from the one that is awaited. A frame is shorter than a pipe's atomic write, so none is
//! ever half written. Neither end trusts the other: whatever does not parse ends the conversation.

use card::ExchangeError;

#[cfg(any(test, feature = "libnfc"))]
use crate::config::CONNSTRING_LEN_MAX;
use crate::medium::Activation;

/// Raised when a frame changes its meaning.
pub(crate) const VERSION: u8 = 1;
const MAGIC: &[u8; 4] = b"TNFC";
/// Below the 4,096 bytes that Linux writes to a pipe all at once.
const LEN_MAX: usize = 4_000;
const HEAD_LEN: usize = 5;
/// libnfc does not check this bound: more overflows a buffer on its stack.
pub(crate) const APDU_LEN_MAX: usize = 262;
/// More than any card of ours answers.
pub(crate) const ANSWER_LEN_MAX: usize = 512;
const TEXT_LEN_MAX: usize = 500;
/// One and another: more are never told apart.
const MEDIA_MAX: usize = 2;
const UID_LEN_MAX: usize = 10;
const ATS_LEN_MAX: usize = 254;

/// What the helper is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// Open this reader.
    Open(String),
    /// What is in the field?
    Look,
    /// One APDU to the card found last.
    Exchange(Vec<u8>),
    /// Let go of it.
    Release,
}

/// What it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// It is the helper, of a version that is understood, with this libnfc.
    Hello(String),
    /// The reader is open, and calls itself so.
    Opened(String),
    /// These media are in the field.
    Seen(Vec<Activation>),
    /// The card answered.
    Answered(Vec<u8>),
    /// It did not.
    Unanswered(ExchangeError),
    /// Let go of.
    Released,
    /// The reader failed; libnfc's words.
    Failed(String),
}

/// Something that is no frame of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Strange;

impl Request {
    pub(crate) fn encode(&self, number: u32) -> Vec<u8> {
        match self {
            Self::Open(connstring) => frame(number, 1, connstring.as_bytes()),
            Self::Look => frame(number, 2, &[]),
            Self::Exchange(apdu) => frame(number, 3, apdu),
            Self::Release => frame(number, 4, &[]),
        }
    }

    #[cfg(any(test, feature = "libnfc"))]
    fn decode(kind: u8, body: &[u8]) -> Result<Self, Strange> {
        match (kind, body) {
            (1, name) => Ok(Self::Open(text(name, CONNSTRING_LEN_MAX)?)),
            (2, []) => Ok(Self::Look),
            (3, apdu) if apdu.len() <= APDU_LEN_MAX => Ok(Self::Exchange(apdu.to_vec())),
            (4, []) => Ok(Self::Release),
            _ => Err(Strange),
        }
    }
}

impl Reply {
    #[cfg(any(test, feature = "libnfc"))]
    pub(crate) fn encode(&self, number: u32) -> Vec<u8> {
        match self {
            Self::Hello(libnfc) => {
                let body = [MAGIC.as_slice(), &[VERSION], cut(libnfc).as_bytes()].concat();
                frame(0, 128, &body)
            }
            Self::Opened(name) => frame(number, 129, cut(name).as_bytes()),
            Self::Seen(media) => frame(number, 130, &encode_media(media)),
            Self::Answered(answer) => frame(number, 131, answer),
            Self::Unanswered(ExchangeError::Absent) => frame(number, 132, &[0]),
            Self::Unanswered(ExchangeError::Rf) => frame(number, 132, &[1]),
            // Only the validation core calls an answer late.
            Self::Unanswered(ExchangeError::Timeout | ExchangeError::Late) => {
                frame(number, 132, &[2])
            }
            Self::Unanswered(ExchangeError::Device(why)) => {
                frame(number, 132, &[&[3], cut(why).as_bytes()].concat())
            }
            Self::Released => frame(number, 133, &[]),
            Self::Failed(why) => frame(number, 134, cut(why).as_bytes()),
        }
    }

    fn decode(kind: u8, body: &[u8]) -> Result<Self, Strange> {
        match (kind, body) {
            (128, hello) => {
                let rest = hello.strip_prefix(MAGIC).ok_or(Strange)?;
                let rest = rest.strip_prefix(&[VERSION]).ok_or(Strange)?;
                Ok(Self::Hello(text(rest, TEXT_LEN_MAX)?))
            }
            (129, name) => Ok(Self::Opened(text(name, TEXT_LEN_MAX)?)),
            (130, media) => Ok(Self::Seen(decode_media(media)?)),
            (131, answer) if answer.len() <= ANSWER_LEN_MAX => Ok(Self::Answered(answer.to_vec())),
            (132, [0]) => Ok(Self::Unanswered(ExchangeError::Absent)),
            (132, [1]) => Ok(Self::Unanswered(ExchangeError::Rf)),
            (132, [2]) => Ok(Self::Unanswered(ExchangeError::Timeout)),
            (132, [3, why @ ..]) => {
                Ok(Self::Unanswered(ExchangeError::Device(text(why, TEXT_LEN_MAX)?)))
            }
            (133, []) => Ok(Self::Released),
            (134, why) => Ok(Self::Failed(text(why, TEXT_LEN_MAX)?)),
            _ => Err(Strange),
        }
    }
}

/// Takes one request off the front of what was received; `None` until it is whole.
#[cfg(any(test, feature = "libnfc"))]
pub(crate) fn next_request(received: &mut Vec<u8>) -> Result<Option<(u32, Request)>, Strange> {
    next(received, Request::decode)
}

/// Takes one reply off the front of what was received; `None` until it is whole.
pub(crate) fn next_reply(received: &mut Vec<u8>) -> Result<Option<(u32, Reply)>, Strange> {
    next(received, Reply::decode)
}

fn next<T>(
    received: &mut Vec<u8>,
    decode: impl Fn(u8, &[u8]) -> Result<T, Strange>,
) -> Result<Option<(u32, T)>, Strange> {
    let Some((length, rest)) = received.split_first_chunk::<2>() else { return Ok(None) };
    let length = usize::from(u16::from_le_bytes(*length));
    if !(HEAD_LEN..=LEN_MAX).contains(&length) {
        return Err(Strange);
    }
    let Some(frame) = rest.get(..length) else { return Ok(None) };
    let ([n0, n1, n2, n3, kind], body) = frame.split_first_chunk().ok_or(Strange)?;
    let parsed = (u32::from_le_bytes([*n0, *n1, *n2, *n3]), decode(*kind, body)?);
    received.drain(..2 + length);
    Ok(Some(parsed))
}

fn frame(number: u32, kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(HEAD_LEN + body.len()).expect("every body is bounded by its sender");
    let mut frame = length.to_le_bytes().to_vec();
    frame.extend(number.to_le_bytes());
    frame.push(kind);
    frame.extend(body);
    frame
}

fn text(bytes: &[u8], len_max: usize) -> Result<String, Strange> {
    let text = str::from_utf8(bytes).map_err(|_| Strange)?;
    let fits = text.len() <= len_max && !text.chars().any(char::is_control);
    if fits { Ok(text.to_string()) } else { Err(Strange) }
}

/// What fits, and nothing that could end a line of a log.
#[cfg(any(test, feature = "libnfc"))]
fn cut(words: &str) -> String {
    words.chars().filter(|c| !c.is_control()).take(TEXT_LEN_MAX / 4).collect()
}

#[cfg(any(test, feature = "libnfc"))]
fn encode_media(media: &[Activation]) -> Vec<u8> {
    let mut body = Vec::new();
    for Activation { atqa, sak, uid, ats } in media.iter().take(MEDIA_MAX) {
        let (uid, ats) = (&uid[..uid.len().min(UID_LEN_MAX)], &ats[..ats.len().min(ATS_LEN_MAX)]);
        body.extend([atqa[0], atqa[1], *sak]);
        for part in [uid, ats] {
            body.push(u8::try_from(part.len()).expect("cut to a byte's length"));
            body.extend(part);
        }
    }
    body
}

fn decode_media(mut body: &[u8]) -> Result<Vec<Activation>, Strange> {
    let mut media = Vec::new();
    while let Some(([high, low, sak], rest)) = body.split_first_chunk() {
        let (uid, rest) = counted(rest, UID_LEN_MAX).ok_or(Strange)?;
        let (ats, rest) = counted(rest, ATS_LEN_MAX).ok_or(Strange)?;
        media.push(Activation { atqa: [*high, *low], sak: *sak, uid, ats });
        body = rest;
    }
    if body.is_empty() && media.len() <= MEDIA_MAX { Ok(media) } else { Err(Strange) }
}

fn counted(bytes: &[u8], len_max: usize) -> Option<(Vec<u8>, &[u8])> {
    let (len, rest) = bytes.split_first()?;
    let len = usize::from(*len);
    let (part, rest) = rest.split_at_checked(len)?;
    (len <= len_max).then(|| (part.to_vec(), rest))
}

#[cfg(test)]
mod tests {
    use model::CardId;
    use proptest::prelude::*;

    use super::*;

    fn replies() -> Vec<Reply> {
        let ours = Activation::desfire(CardId([4, 1, 2, 3, 4, 5, 6]));
        let classic = Activation { atqa: [0, 4], sak: 8, uid: vec![1, 2, 3, 4], ats: vec![] };
        vec![
            Reply::Hello("1.8.0".into()),
            Reply::Opened("pn532_uart:/dev/ttyAMA0".into()),
            Reply::Seen(vec![]),
            Reply::Seen(vec![ours, classic]),
            Reply::Answered(vec![0x91; ANSWER_LEN_MAX]),
            Reply::Unanswered(ExchangeError::Absent),
            Reply::Unanswered(ExchangeError::Rf),
            Reply::Unanswered(ExchangeError::Timeout),
            Reply::Unanswered(ExchangeError::Device("input / output error".into())),
            Reply::Released,
            Reply::Failed("no such device".into()),
        ]
    }

    #[test]
    fn both_ends_read_what_the_other_writes_however_it_is_cut() {
        let mut sent = Vec::new();
        for (number, reply) in (0..).zip(replies()) {
            sent.extend(reply.encode(number));
        }
        let (mut received, mut read) = (Vec::new(), Vec::new());
        for byte in sent {
            received.push(byte);
            while let Some((number, reply)) = next_reply(&mut received).unwrap() {
                assert_eq!(number as usize, read.len());
                read.push(reply);
            }
        }
        assert_eq!(read, replies());
        let asked = [
            Request::Open("pn532_uart:/dev/ttyAMA0:115200".into()),
            Request::Look,
            Request::Exchange(vec![0x90; APDU_LEN_MAX]),
            Request::Release,
        ];
        for request in asked {
            let mut received = request.encode(70_000);
            assert_eq!(next_request(&mut received), Ok(Some((70_000, request))));
            assert_eq!(next_request(&mut received), Ok(None));
        }
    }

    #[test]
    fn what_is_not_of_this_version_is_strange() {
        let strange = |mut bytes: Vec<u8>| assert_eq!(next_reply(&mut bytes), Err(Strange));
        strange(b"rubbish, and more of it".to_vec());
        strange(vec![0, 0]);
        strange(vec![4, 0, 0, 0, 0, 0]);
        let mut later = Reply::Hello("9".into()).encode(0);
        later[2 + HEAD_LEN + MAGIC.len()] = VERSION + 1;
        strange(later);
        strange(frame(1, 131, &[0; ANSWER_LEN_MAX + 1]));
        strange(frame(1, 133, &[0]));
        strange(frame(1, 134, b"two\nlines"));
        strange(frame(1, 130, &[0, 4, 8, 4, 1, 2, 3]));
        strange(frame(1, 130, &[0, 4, 8, 11, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0]));
        let three = [0, 4, 8, 1, 1, 0].repeat(3);
        strange(frame(1, 130, &three));
        let mut long = frame(1, 3, &[0; APDU_LEN_MAX + 1]);
        assert_eq!(next_request(&mut long), Err(Strange), "libnfc would write over its stack");
        assert!(cut(&"ä\n".repeat(9_999)).len() <= TEXT_LEN_MAX);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = next_reply(&mut bytes.clone());
            let mut framed = frame(7, bytes.first().copied().unwrap_or(0), &bytes);
            let _ = next_reply(&mut framed.clone());
            let _ = next_request(&mut framed);
        }
    }
}
