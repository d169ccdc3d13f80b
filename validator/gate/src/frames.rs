//! The frames of gates that speak as Digicon's published manuals say: STX, length, command bytes,
//! and the XOR of all of that. Without I/O and without a clock.
//!
//! The length counts the command bytes and the check. A frame is believed only whole: its bytes
//! stand in the stream one after the other, whatever noise stands before and behind.

/// Begins a frame.
const STX: u8 = 0x02;
/// Commands of both directions have one or two bytes.
const COMMAND_MAX: usize = 2;
/// STX and length.
const BEFORE: usize = 3;

/// What the gate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// It does what it was told.
    Ack,
    /// It does not.
    Nak,
    /// A passage was completed, in the first of the manual's directions.
    CompletedH,
    /// A passage was completed, in the other direction.
    CompletedA,
}

impl Word {
    /// What a gate means by these command bytes.
    pub(crate) const fn of(command: &[u8]) -> Option<Self> {
        match command {
            [0x06] => Some(Self::Ack),
            [0x15] => Some(Self::Nak),
            [0x1A] => Some(Self::CompletedH),
            [0x1B] => Some(Self::CompletedA),
            _ => None,
        }
    }
}

/// A frame around one or two command bytes.
pub(crate) fn frame(command: &[u8]) -> Vec<u8> {
    debug_assert!((1..=COMMAND_MAX).contains(&command.len()));
    let length = u16::try_from(command.len() + 1).expect("a command has one or two bytes");
    let [low, high] = length.to_le_bytes();
    let mut bytes = vec![STX, low, high];
    bytes.extend_from_slice(command);
    bytes.push(xor(&bytes));
    bytes
}

fn xor(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum ^ byte)
}

/// Cuts a stream of bytes into frames.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    bytes: Vec<u8>,
}

impl Frames {
    /// Takes bytes and returns the command bytes of the frames that they end.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut commands = Vec::new();
        for byte in bytes {
            self.bytes.push(*byte);
            commands.extend(self.cut());
        }
        commands
    }

    /// The line was silent: what was begun does not go on.
    pub(crate) fn idle(&mut self) {
        self.bytes.clear();
    }

    /// Whether silence would end something.
    pub(crate) const fn is_mid_frame(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// The command of the oldest bytes, or nothing while they may still become a frame. What cannot
    /// become one loses its first byte only: the frame may begin with the next.
    fn cut(&mut self) -> Option<Vec<u8>> {
        loop {
            let whole = match self.bytes.as_slice() {
                [] | [STX] => return None,
                [STX, length] if is_length(*length) => return None,
                [STX, length, 0, rest @ ..] if is_length(*length) => {
                    if rest.len() < usize::from(*length) {
                        return None;
                    }
                    xor(&self.bytes) == 0
                }
                _ => false,
            };
            if whole {
                let command = self.bytes[BEFORE..self.bytes.len() - 1].to_vec();
                self.bytes.clear();
                return Some(command);
            }
            self.bytes.remove(0);
        }
    }
}

/// Of a frame with one or two command bytes and its check.
const fn is_length(length: u8) -> bool {
    matches!(length, 2 | 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn heard(frames: &mut Frames, bytes: &[u8]) -> Vec<Word> {
        frames.push(bytes).iter().filter_map(|command| Word::of(command)).collect()
    }

    #[test]
    fn frames_are_those_of_the_manual() {
        assert_eq!(frame(b"H"), [0x02, 0x02, 0x00, 0x48, 0x48]);
        assert_eq!(frame(b"LH"), [0x02, 0x03, 0x00, 0x4C, 0x48, 0x05]);
        assert_eq!(frame(&[0x06]), [0x02, 0x02, 0x00, 0x06, 0x06]);
        let mut frames = Frames::default();
        assert_eq!(heard(&mut frames, &frame(&[0x06])), [Word::Ack]);
        assert_eq!(heard(&mut frames, &frame(&[0x15])), [Word::Nak]);
        assert_eq!(heard(&mut frames, &frame(&[0x1A])), [Word::CompletedH]);
        assert_eq!(heard(&mut frames, &frame(&[0x1B])), [Word::CompletedA]);
    }

    #[test]
    fn a_frame_is_found_behind_noise_that_looks_like_one() {
        let mut frames = Frames::default();
        let noise = [0x02, 0x02, 0x02, 0x02, 0x00, 0x1A];
        assert_eq!(heard(&mut frames, &noise), []);
        assert_eq!(heard(&mut frames, &[0x1A]), [Word::CompletedH]);
    }

    #[test]
    fn a_frame_that_stopped_in_the_middle_does_not_go_on_after_silence() {
        let mut frames = Frames::default();
        let whole = frame(&[0x1A]);
        assert_eq!(heard(&mut frames, &whole[..3]), []);
        frames.idle();
        assert_eq!(heard(&mut frames, &whole[3..]), []);
        assert_eq!(heard(&mut frames, &whole), [Word::CompletedH]);
    }

    fn word() -> impl Strategy<Value = u8> {
        prop_oneof![Just(0x06u8), Just(0x15), Just(0x1A), Just(0x1B)]
    }

    /// Bytes without an STX, which alone can begin a frame.
    fn noise() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>().prop_filter("no STX", |b| *b != STX), 0..12)
    }

    proptest! {
        #[test]
        fn frames_are_found_in_noise_however_the_line_splits_them(
            parts in proptest::collection::vec((noise(), word()), 0..12),
            cuts in proptest::collection::vec(1..7usize, 1..12),
        ) {
            let mut stream = Vec::new();
            let mut said = Vec::new();
            for (noise, command) in &parts {
                stream.extend_from_slice(noise);
                stream.extend(frame(&[*command]));
                said.extend(Word::of(&[*command]));
            }
            let (mut frames, mut heard_all) = (Frames::default(), Vec::new());
            let mut rest = &stream[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (now, later) = rest.split_at(rest.len().min(*cut));
                heard_all.extend(heard(&mut frames, now));
                rest = later;
            }
            prop_assert_eq!(heard_all, said);
        }

        #[test]
        fn a_passage_with_one_byte_lost_or_changed_is_never_a_passage(
            before in noise(), after in noise(), at in 0..5usize, change in 1..=255u8, lose: bool,
        ) {
            let mut bytes = frame(&[0x1A]);
            if lose { bytes.remove(at); } else { bytes[at] ^= change; }
            let mut frames = Frames::default();
            let stream = [before, bytes, after].concat();
            let heard = heard(&mut frames, &stream);
            prop_assert!(!heard.contains(&Word::CompletedH), "{heard:?}");
        }

        #[test]
        fn nothing_is_heard_that_does_not_stand_in_the_stream(
            stream in proptest::collection::vec(
                prop_oneof![Just(0u8), Just(2), Just(3), Just(0x1A), any::<u8>()], 0..80),
        ) {
            let mut frames = Frames::default();
            let words = heard(&mut frames, &stream);
            let completed = words.iter().filter(|w| **w == Word::CompletedH).count();
            let stands = stream.windows(5).filter(|w| *w == frame(&[0x1A])).count();
            prop_assert!(completed <= stands);
        }
    }
}
