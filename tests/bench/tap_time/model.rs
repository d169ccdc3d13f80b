//! What a tap takes where no hardware is at hand: bytes counted on the real frames of the emulated
//! chip, and times for each byte, for the chip and for the card. Virtual time, so always the same.
//!
//! Counted: the bytes of every command and answer, on the line and on air. Published: the time of
//! a byte. Assumed, within the bounds that are published for DESFire and PN532 and not measured on
//! a card: what the card and the chip need for themselves.

use std::time::Duration;

use card::CardStep;
use reader::frame::{ACK, Direction, encode};
use tapline_tests::pn532::Chip;

/// Speeds of the line, bit/s.
pub(super) const BAUDS: [u32; 4] = [115_200, 230_400, 460_800, 921_600];
/// Speeds on air, kbit/s.
pub(super) const AIR: [u32; 3] = [106, 212, 424];
/// One byte on air at 106 kbit/s: eight bits and parity at 13.56 MHz / 128.
const AIR_BYTE_NS: u64 = 84_956;
/// A block carries this many bytes to and from a card with FSC 64: the rest is PCB and CRC.
const BLOCK_LEN: usize = 61;
const BLOCK_OVERHEAD: usize = 3;
/// A card answers a block no sooner (1172 periods of the carrier, and a little).
const FRAME_DELAY: Duration = Duration::from_micros(100);
/// The chip itself, for one command to a card. Assumed.
const CHIP: Duration = Duration::from_millis(1);
/// The chip looks for a second medium and hears nothing. Assumed.
const SECOND_LOOK: Duration = Duration::from_millis(5);
/// `REQA`, two anticollisions, two selects, `RATS` and what is answered: bytes and turns.
const ACTIVATION_AIR: (usize, u32) = (54, 6);
/// Protocol and parameter selection, and its answer.
const PPS_AIR: (usize, u32) = (8, 1);

/// One exchange with the card.
#[derive(Debug, Clone)]
pub(super) struct Exchange {
    pub(super) name: &'static str,
    pub(super) command: Vec<u8>,
    pub(super) answer: Vec<u8>,
    /// Bytes on the line, both ways, with all frames.
    pub(super) line: usize,
    card: Duration,
}

/// Where the time of something goes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Times {
    pub(super) line: Duration,
    pub(super) air: Duration,
    /// Card and chip.
    pub(super) chips: Duration,
}

impl Times {
    pub(super) fn sum(self) -> Duration {
        self.line + self.air + self.chips
    }

    pub(super) fn plus(self, more: Self) -> Self {
        Self {
            line: self.line + more.line,
            air: self.air + more.air,
            chips: self.chips + more.chips,
        }
    }
}

/// What a DESFire needs for itself. Assumed: 2 to 5 ms are published for a command, 5 to 10 ms
/// where the memory is written.
pub(super) const fn card_time(step: CardStep) -> Duration {
    Duration::from_millis(match step {
        CardStep::Select => 2,
        CardStep::Authenticate
        | CardStep::Read
        | CardStep::ReadProducts
        | CardStep::ReadPurse
        | CardStep::ReadCounters
        | CardStep::ReadProof => 3,
        CardStep::Rides
        | CardStep::Products
        | CardStep::Value
        | CardStep::Counters
        | CardStep::Write
        | CardStep::Personalise => 4,
        CardStep::Commit => 8,
    })
}

/// One byte on the line: ten bits.
pub(super) fn line_time(bytes: usize, baud: u32) -> Duration {
    Duration::from_nanos(bytes as u64 * 10_000_000_000 / u64::from(baud))
}

fn air_time(bytes: usize, kbps: u32) -> Duration {
    Duration::from_nanos(bytes as u64 * AIR_BYTE_NS * u64::from(AIR[0]) / u64::from(kbps))
}

impl Exchange {
    /// Through the emulated chip, counting every byte that crosses its line.
    pub(super) fn over(
        chip: &mut Chip,
        name: &'static str,
        step: CardStep,
        command: &[u8],
    ) -> anyhow::Result<Self> {
        let (pd, line) = asked(chip, &[&[0x40, 1], command].concat())?;
        let [0x41, 0, answer @ ..] = &pd[..] else { anyhow::bail!("{name}: {pd:02x?}") };
        let (command, answer) = (command.to_vec(), answer.to_vec());
        Ok(Self { name, command, answer, line, card: card_time(step) })
    }

    /// Bytes on air, with the frames of their blocks.
    pub(super) fn air_len(&self) -> usize {
        let framed = |len: usize| len + len.div_ceil(BLOCK_LEN) * BLOCK_OVERHEAD;
        framed(self.command.len()) + framed(self.answer.len())
    }

    pub(super) fn times(&self, baud: u32, kbps: u32) -> Times {
        Times {
            line: line_time(self.line, baud),
            air: air_time(self.air_len(), kbps) + FRAME_DELAY,
            chips: self.card + CHIP,
        }
    }
}

/// What comes before the exchanges.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beginning {
    activation: usize,
    selection: usize,
}

impl Beginning {
    /// Wakes the chip and lets it find the card.
    pub(super) fn of(chip: &mut Chip) -> anyhow::Result<Self> {
        chip.handle(&[0x55; 16], reader::RESET_BAUD);
        let (found, activation) = asked(chip, &[0x4a, 2, 0])?;
        anyhow::ensure!(found.get(..2) == Some(&[0x4b, 1]), "one card: {found:02x?}");
        let (_, selection) = asked(chip, &[0x4e, 1, 0, 0])?;
        Ok(Self { activation, selection })
    }

    /// Activation at 106, and the change to another speed where one is wanted.
    pub(super) fn times(self, baud: u32, kbps: u32) -> Times {
        let (bytes, turns) = ACTIVATION_AIR;
        let activation = Times {
            line: line_time(self.activation, baud),
            air: air_time(bytes, AIR[0]) + FRAME_DELAY * turns,
            chips: CHIP + SECOND_LOOK,
        };
        if kbps == AIR[0] {
            return activation;
        }
        let (bytes, turns) = PPS_AIR;
        activation.plus(Times {
            line: line_time(self.selection, baud),
            air: air_time(bytes, AIR[0]) + FRAME_DELAY * turns,
            chips: CHIP,
        })
    }
}

/// The chip's answer, and all bytes that crossed the line for it.
fn asked(chip: &mut Chip, pd: &[u8]) -> anyhow::Result<(Vec<u8>, usize)> {
    let frame = encode(Direction::ToChip, pd);
    let frames = chip.handle(&frame, reader::RESET_BAUD).frames;
    let [ack, answer] = &frames[..] else { anyhow::bail!("the chip said {frames:02x?}") };
    anyhow::ensure!(ack[..] == ACK, "first the acknowledgement");
    let mut parser = reader::frame::Parser::default();
    parser.push(answer);
    let Some(reader::frame::Frame::Data(Direction::FromChip, said)) = parser.next_frame() else {
        anyhow::bail!("no answer in {answer:02x?}")
    };
    Ok((said, frame.len() + ack.len() + answer.len()))
}
