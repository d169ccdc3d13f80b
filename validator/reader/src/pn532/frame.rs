//! Frames between host and PN532, as bytes and back (`parser in, frames out`, no I/O).
//!
//! ```text
//! normal    00 00 FF LEN LCS        TFI PD… DCS 00     LEN = 1 + |PD| ≤ 255
//! extended  00 00 FF FF FF LM LL LCS TFI PD… DCS 00    LM LL = 1 + |PD|
//! ACK       00 00 FF 00 FF 00       NACK  00 00 FF FF 00 00
//! error     00 00 FF 01 FF 7F 81 00
//! ```
//!
//! LEN + LCS and TFI + ΣPD + DCS are 0 mod 256; TFI is D4 towards the chip and D5 from it.
//! A line carries noise, and noise may look like a frame's head: whatever fails its checks costs
//! its two start bytes only, so a good frame behind it is still found.

/// Bytes after the TFI that a PN532 can take or give in one frame.
pub const PD_LEN_MAX: usize = 264;
/// An acknowledgement, or from the host in mid-command: abort.
pub const ACK: [u8; 6] = [0, 0, 0xff, 0, 0xff, 0];
/// From the host: say the last answer again.
pub const NACK: [u8; 6] = [0, 0, 0xff, 0xff, 0, 0];
/// From the chip: the command was not understood.
pub const ERROR: [u8; 8] = [0, 0, 0xff, 1, 0xff, 0x7f, 0x81, 0];

/// Which way a data frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// D4.
    ToChip,
    /// D5.
    FromChip,
}

impl Direction {
    const fn tfi(self) -> u8 {
        match self {
            Self::ToChip => 0xd4,
            Self::FromChip => 0xd5,
        }
    }
}

/// What was found on the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Received and understood.
    Ack,
    /// Say it again.
    Nack,
    /// Syntax error.
    Error,
    /// A command (PD0 even) or answer (PD0 odd) with its parameters.
    Data(Direction, Vec<u8>),
    /// Something began like a frame and failed its checks.
    Corrupt,
}

/// A data frame on its way.
///
/// # Panics
/// When `pd` is empty or longer than [`PD_LEN_MAX`]: callers cut their payloads before.
pub fn encode(direction: Direction, pd: &[u8]) -> Vec<u8> {
    assert!((1..=PD_LEN_MAX).contains(&pd.len()), "a PN532 frame carries 1 to 264 bytes");
    let mut out = Vec::with_capacity(pd.len() + 11);
    out.extend([0, 0, 0xff]);
    let len = pd.len() + 1;
    if let Ok(short) = u8::try_from(len) {
        out.extend([short, short.wrapping_neg()]);
    } else {
        let [high, low] = u16::try_from(len).expect("at most 265").to_be_bytes();
        out.extend([0xff, 0xff, high, low, high.wrapping_add(low).wrapping_neg()]);
    }
    let tfi = direction.tfi();
    out.push(tfi);
    out.extend(pd);
    let sum = pd.iter().fold(tfi, |sum, byte| sum.wrapping_add(*byte));
    out.extend([sum.wrapping_neg(), 0]);
    out
}

/// Finds frames in whatever arrives.
#[derive(Debug, Default)]
pub struct Parser {
    bytes: Vec<u8>,
}

/// What the first start code in the buffer leads to.
enum Look {
    /// More bytes are needed.
    Wait,
    /// A frame that ends after so many bytes.
    Found(Frame, usize),
}

impl Parser {
    /// Takes bytes from the line. Take the frames out before feeding more: the buffer holds one
    /// frame and what came behind it.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Forgets what was received.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Whether a frame has begun and not ended.
    pub fn is_mid_frame(&self) -> bool {
        self.bytes.windows(2).any(|pair| pair == [0, 0xff])
    }

    /// The line fell silent in mid-frame: what looked like its head was none.
    pub fn give_up(&mut self) -> Frame {
        self.bytes.drain(..self.bytes.len().min(2));
        Frame::Corrupt
    }

    /// The next frame in what has arrived.
    pub fn next_frame(&mut self) -> Option<Frame> {
        let Some(start) = self.bytes.windows(2).position(|pair| pair == [0, 0xff]) else {
            // The last byte may be the first of a start code.
            let keep = usize::from(self.bytes.last() == Some(&0));
            self.bytes.drain(..self.bytes.len() - keep);
            return None;
        };
        self.bytes.drain(..start);
        match Self::look(&self.bytes) {
            Look::Wait => None,
            Look::Found(frame, len) => {
                self.bytes.drain(..len);
                Some(frame)
            }
        }
    }

    /// `bytes` begins with a start code.
    fn look(bytes: &[u8]) -> Look {
        let corrupt = Look::Found(Frame::Corrupt, 2);
        let (len, head) = match bytes[2..] {
            [0, 0xff, ..] => return Look::Found(Frame::Ack, 4),
            [0xff, 0, ..] => return Look::Found(Frame::Nack, 4),
            [] | [_] | [0xff, 0xff] | [0xff, 0xff, _] | [0xff, 0xff, _, _] => return Look::Wait,
            [0xff, 0xff, high, low, check, ..] => {
                if high.wrapping_add(low).wrapping_add(check) != 0 {
                    return corrupt;
                }
                (usize::from(high) << 8 | usize::from(low), 7)
            }
            [len, check, ..] => {
                if len.wrapping_add(check) != 0 {
                    return corrupt;
                }
                (usize::from(len), 4)
            }
        };
        if len == 0 || len > PD_LEN_MAX + 1 {
            return corrupt;
        }
        let Some(body) = bytes.get(head..=head + len) else { return Look::Wait };
        if body.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) != 0 {
            return corrupt;
        }
        let end = head + len + 1;
        match body {
            [0x7f, _] => Look::Found(Frame::Error, end),
            [0xd4, pd @ .., _] if !pd.is_empty() => {
                Look::Found(Frame::Data(Direction::ToChip, pd.to_vec()), end)
            }
            [0xd5, pd @ .., _] if !pd.is_empty() => {
                Look::Found(Frame::Data(Direction::FromChip, pd.to_vec()), end)
            }
            _ => corrupt,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
            .collect()
    }

    fn all(parser: &mut Parser) -> Vec<Frame> {
        std::iter::from_fn(|| parser.next_frame()).collect()
    }

    /// All frames, when the line then stays silent for ever.
    fn drained(parser: &mut Parser) -> Vec<Frame> {
        let mut frames = all(parser);
        while parser.is_mid_frame() {
            frames.push(parser.give_up());
            frames.extend(all(parser));
        }
        frames
    }

    #[test]
    fn frames_seen_between_libnfc_and_a_chip_read_and_write_the_same() {
        for (direction, pd, wire) in [
            (Direction::ToChip, "1401", "0000ff03fdd414011700"),
            (Direction::FromChip, "0332010607", "0000ff06fad50332010607e800"),
            (Direction::ToChip, "4a0100", "0000ff04fcd44a0100e100"),
            (
                Direction::FromChip,
                "4b01010344200704a1b2c3d4e5f606757781028 0",
                "0000ff15ebd54b01010344200704a1b2c3d4e5f6067577810280b200",
            ),
        ] {
            let (pd, wire) = (hex(&pd.replace(' ', "")), hex(wire));
            assert_eq!(encode(direction, &pd), wire);
            let mut parser = Parser::default();
            parser.push(&wire);
            assert_eq!(all(&mut parser), [Frame::Data(direction, pd)]);
        }
    }

    #[test]
    fn short_frames_and_wake_up_bytes_in_front_of_them() {
        let mut parser = Parser::default();
        parser.push(&hex("55550000000000000000000000000000"));
        assert!(!parser.is_mid_frame());
        parser.push(&[ACK.as_slice(), &NACK, &ERROR].concat());
        assert_eq!(all(&mut parser), [Frame::Ack, Frame::Nack, Frame::Error]);
        assert!(!parser.is_mid_frame());
    }

    #[test]
    fn the_longest_frame_is_extended_and_a_longer_head_is_refused() {
        let pd = [0x41; PD_LEN_MAX];
        let wire = encode(Direction::FromChip, &pd);
        assert_eq!(wire[..8], [0, 0, 0xff, 0xff, 0xff, 1, 9, 0xf6]);
        let mut parser = Parser::default();
        parser.push(&wire);
        assert_eq!(all(&mut parser), [Frame::Data(Direction::FromChip, pd.to_vec())]);
        parser.push(&[0, 0, 0xff, 0xff, 0xff, 1, 0x0a, 0xf5, 0xd5]);
        assert_eq!(all(&mut parser), [Frame::Corrupt]);
    }

    #[test]
    fn a_false_head_costs_silence_but_not_the_frame_inside_it() {
        let mut parser = Parser::default();
        parser.push(&[0, 0xff, 0x40, 0xc0]);
        parser.push(&encode(Direction::FromChip, &[0x15]));
        assert_eq!(parser.next_frame(), None);
        assert!(parser.is_mid_frame());
        assert_eq!(
            drained(&mut parser),
            [Frame::Corrupt, Frame::Data(Direction::FromChip, vec![0x15])]
        );
    }

    #[test]
    fn one_wrong_bit_anywhere_never_yields_another_payload() {
        let pd = [0x41, 0, 0x91, 0];
        let wire = encode(Direction::FromChip, &pd);
        for bit in 0..wire.len() * 8 {
            let mut bytes = wire.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let mut parser = Parser::default();
            parser.push(&bytes);
            for frame in drained(&mut parser) {
                let whole = frame == Frame::Data(Direction::FromChip, pd.to_vec());
                assert!(whole || !matches!(frame, Frame::Data(..)), "bit {bit}: {frame:?}");
            }
        }
    }

    fn pieces(bytes: &[u8], cuts: &[usize]) -> Vec<Frame> {
        let mut parser = Parser::default();
        let mut frames = Vec::new();
        let mut rest = bytes;
        for cut in cuts {
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            parser.push(now);
            frames.extend(all(&mut parser));
            rest = later;
        }
        parser.push(rest);
        frames.extend(drained(&mut parser));
        assert!(!parser.is_mid_frame());
        frames
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_give_the_same_frames(
            bytes in prop::collection::vec(
                prop_oneof![Just(0u8), Just(0xff), Just(0xd5), any::<u8>()], 0..600),
            cuts in prop::collection::vec(0usize..40, 0..40),
        ) {
            prop_assert_eq!(pieces(&bytes, &cuts), pieces(&bytes, &[]));
        }

        #[test]
        fn a_frame_behind_noise_is_found(
            noise in prop::collection::vec(any::<u8>(), 0..100),
            pd in prop::collection::vec(any::<u8>(), 1..=PD_LEN_MAX),
            cuts in prop::collection::vec(0usize..40, 0..20),
        ) {
            let wire = [noise, encode(Direction::FromChip, &pd)].concat();
            let expected = Frame::Data(Direction::FromChip, pd);
            prop_assert!(pieces(&wire, &cuts).contains(&expected));
        }
    }
}
