//! The commands of a PN532 that a validator needs, over one [`Link`].

use std::{io, path::Path, time::Duration};

use tokio::time::sleep;

use super::{
    super::medium::Activation,
    link::{Link, LinkError},
};
use crate::config::{BAUDS, RESET_BAUD};

/// The chip answers plain commands within a few milliseconds.
const COMMAND_LIMIT: Duration = Duration::from_millis(100);
/// Two activations with one attempt each, at the slowest line speed.
const LIST_LIMIT: Duration = Duration::from_millis(300);
/// A DESFire may take 77 ms per block (FWI 8) and ask for more; the chip repeats lost blocks.
const EXCHANGE_LIMIT: Duration = Duration::from_millis(600);
/// A card needs 5 ms of field before it answers, and 5 ms without to forget its state.
const FIELD_SETTLE: Duration = Duration::from_millis(6);
/// Payload of one `InDataExchange`; longer ones are chained.
const EXCHANGE_LEN_MAX: usize = 262;
/// No card of ours answers with more: a bound on what a broken reader makes us store.
const ANSWER_LEN_MAX: usize = 4_096;
/// Two, to tell one medium from more than one.
const TARGETS_MAX: u8 = 2;
const IC_PN532: u8 = 0x32;

/// A chip that has been woken and set up.
pub(super) struct Chip {
    link: Link,
    /// Firmware, as version and revision.
    pub(super) firmware: (u8, u8),
    /// Line speed in use.
    pub(super) baud: u32,
    field_on: bool,
}

/// Why no chip could be set up.
#[derive(Debug)]
pub(super) enum ConnectError {
    Open(io::Error),
    Other(u8),
    Link(LinkError),
}

impl From<LinkError> for ConnectError {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

/// What the chip said about an exchange with the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RfStatus {
    /// The card stays silent or was released.
    Absent,
    /// Bits were lost on air.
    Garbled,
    /// More than any card answers.
    Oversized,
    /// Anything else, by its number.
    Other(u8),
}

impl RfStatus {
    /// `None` is success. Only the low six bits are the status.
    fn parse(byte: u8) -> Option<Self> {
        match byte & 0x3f {
            0 => None,
            0x01 | 0x29 | 0x2b => Some(Self::Absent),
            0x02..=0x06 | 0x0a | 0x0b | 0x13 | 0x23 | 0x2a => Some(Self::Garbled),
            other => Some(Self::Other(other)),
        }
    }
}

/// A medium that the chip has activated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) number: u8,
    pub(super) activation: Activation,
}

impl Chip {
    /// Wakes the chip at whatever speed it listens, sets it up, and changes to `baud`.
    pub(super) async fn connect(port: &Path, baud: u32) -> Result<Self, ConnectError> {
        let mut link = Link::open(port, RESET_BAUD).map_err(ConnectError::Open)?;
        let found = Self::wake(&mut link, baud).await?;
        let firmware = link.ask(&[0x02], COMMAND_LIMIT).await?;
        let [ic, version, revision, ..] = firmware[..] else {
            return Err(LinkError::Refused.into());
        };
        if ic != IC_PN532 {
            return Err(ConnectError::Other(ic));
        }
        let mut chip = Self { link, firmware: (version, revision), baud: found, field_on: false };
        chip.switch_baud(baud).await?;
        // Select and RATS by the chip itself.
        chip.plain(&[0x12, 0x14]).await?;
        // One attempt per activation: an empty field answers at once.
        chip.plain(&[0x32, 0x05, 0x00, 0x01, 0x00]).await?;
        chip.field(false).await?;
        Ok(chip)
    }

    /// The speeds a chip may have been left at, likeliest first.
    pub(super) fn speeds(baud: u32) -> Vec<u32> {
        let mut speeds = vec![RESET_BAUD, baud];
        speeds.extend(BAUDS.into_iter().rev());
        let mut seen = Vec::new();
        speeds.retain(|speed| {
            !seen.contains(speed) && {
                seen.push(*speed);
                true
            }
        });
        speeds
    }

    async fn wake(link: &mut Link, baud: u32) -> Result<u32, LinkError> {
        let speeds = Self::speeds(baud);
        // The likeliest twice: a chip in the middle of something, or a busy host, misses one call.
        for speed in speeds.iter().chain(&speeds[..2]).copied() {
            link.set_baud(speed)?;
            // Normal mode, no security module.
            match link.wake(&[0x14, 0x01], COMMAND_LIMIT).await {
                Ok(_) => return Ok(speed),
                Err(LinkError::Io(error)) => return Err(error.into()),
                Err(LinkError::Silent | LinkError::Refused) => {}
            }
        }
        Err(LinkError::Silent)
    }

    pub(super) async fn switch_baud(&mut self, baud: u32) -> Result<(), LinkError> {
        if baud == self.baud {
            return Ok(());
        }
        let code = BAUDS.iter().position(|known| *known == baud).ok_or(LinkError::Refused)?;
        let code = u8::try_from(code).map_err(|_| LinkError::Refused)?;
        self.link.ask_once(&[0x10, code], COMMAND_LIMIT).await?;
        self.link.change_over(baud).await?;
        self.baud = baud;
        // A line that cannot carry this speed shows it here, not in the middle of a tap.
        self.link.ask(&[0x02], COMMAND_LIMIT).await.map(|_| ())
    }

    async fn plain(&mut self, pd: &[u8]) -> Result<(), LinkError> {
        self.link.ask(pd, COMMAND_LIMIT).await.map(|_| ())
    }

    /// Field on or off, waiting until cards have noticed.
    pub(super) async fn field(&mut self, on: bool) -> Result<(), LinkError> {
        self.plain(&[0x32, 0x01, u8::from(on)]).await?;
        sleep(FIELD_SETTLE).await;
        self.field_on = on;
        Ok(())
    }

    /// The media in the field, at most two; `None` when they cannot be told from what the chip
    /// says of them. Turns the field on.
    pub(super) async fn list(&mut self) -> Result<Option<Vec<Target>>, LinkError> {
        if !self.field_on {
            self.field(true).await?;
        }
        let answer = self.link.ask(&[0x4a, TARGETS_MAX, 0x00], LIST_LIMIT).await?;
        if answer.is_empty() { Err(LinkError::Refused) } else { Ok(parse_targets(&answer)) }
    }

    /// Both directions on air at 212 or 424 kbit/s; `false` when the card does not follow.
    pub(super) async fn speed_up(&mut self, target: u8, kbps: u32) -> Result<bool, LinkError> {
        let code = if kbps == 424 { 2 } else { 1 };
        let answer = self.link.ask_once(&[0x4e, target, code, code], LIST_LIMIT).await?;
        Ok(answer.first().is_some_and(|status| RfStatus::parse(*status).is_none()))
    }

    /// An APDU to an activated card, chained in both directions where it is long.
    pub(super) async fn exchange(
        &mut self,
        target: u8,
        apdu: &[u8],
    ) -> Result<Result<Vec<u8>, RfStatus>, LinkError> {
        let mut answer = Vec::new();
        let mut pieces = apdu.chunks(EXCHANGE_LEN_MAX).peekable();
        let mut piece = pieces.next().unwrap_or_default();
        loop {
            let more_to_send = pieces.peek().is_some();
            let mut pd = Vec::with_capacity(piece.len() + 2);
            pd.extend([0x40, target | if more_to_send { 0x40 } else { 0 }]);
            pd.extend(piece);
            let got = self.link.ask_once(&pd, EXCHANGE_LIMIT).await?;
            let Some((status, data)) = got.split_first() else { return Err(LinkError::Refused) };
            if let Some(status) = RfStatus::parse(*status) {
                return Ok(Err(status));
            }
            // Bit 7 announces a node address, which this driver never negotiates.
            if status & 0x80 != 0 {
                return Err(LinkError::Refused);
            }
            if answer.len() + data.len() > ANSWER_LEN_MAX {
                return Ok(Err(RfStatus::Oversized));
            }
            answer.extend(data);
            let more_to_fetch = status & 0x40 != 0;
            match pieces.next() {
                Some(next) => piece = next,
                None if more_to_fetch => piece = &[],
                None => return Ok(Ok(answer)),
            }
        }
    }

    /// Lets go of all targets and takes their power away.
    pub(super) async fn release(&mut self) -> Result<(), LinkError> {
        self.plain(&[0x52, 0x00]).await?;
        self.field(false).await
    }
}

/// The answer to `InListPassiveTarget` at 106 kbit/s type A; `None` when it contradicts itself.
fn parse_targets(answer: &[u8]) -> Option<Vec<Target>> {
    let (count, mut rest) = answer.split_first()?;
    let mut targets = Vec::new();
    for _ in 0..*count {
        let ([number, high, low, sak, uid_len], tail) = rest.split_first_chunk()?;
        let (uid, tail) = tail.split_at_checked(usize::from(*uid_len))?;
        let ats_len = if sak & 0x20 == 0 { 0 } else { usize::from(*tail.first()?) };
        let (ats, tail) = tail.split_at_checked(ats_len)?;
        let activation =
            Activation { atqa: [*high, *low], sak: *sak, uid: uid.to_vec(), ats: ats.to_vec() };
        targets.push(Target { number: *number, activation });
        rest = tail;
    }
    rest.is_empty().then_some(targets)
}

#[cfg(test)]
mod tests {
    use model::CardId;
    use proptest::prelude::*;

    use super::*;

    const ONE: &[u8] = &[
        1, 1, 3, 0x44, 0x20, 7, 4, 0xa1, 0xb2, 0xc3, 0xd4, 0xe5, 0xf6, 6, 0x75, 0x77, 0x81, 2, 0x80,
    ];

    #[test]
    fn targets_are_read_as_the_manual_writes_them() {
        let card = CardId([4, 0xa1, 0xb2, 0xc3, 0xd4, 0xe5, 0xf6]);
        let target = Target { number: 1, activation: Activation::desfire(card) };
        assert_eq!(parse_targets(&[0]), Some(vec![]));
        assert_eq!(parse_targets(ONE), Some(vec![target.clone()]));
        let classic = [2, 0, 4, 8, 4, 1, 2, 3, 4];
        let two = [&[2], &ONE[1..], &classic].concat();
        let second = Activation { atqa: [0, 4], sak: 8, uid: vec![1, 2, 3, 4], ats: vec![] };
        let second = Target { number: 2, activation: second };
        assert_eq!(parse_targets(&two), Some(vec![target, second]));
        for cut in 0..two.len() {
            assert_eq!(parse_targets(&two[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn the_speed_after_reset_is_tried_first_and_none_twice() {
        let speeds = Chip::speeds(921_600);
        assert_eq!(speeds[..2], [115_200, 921_600]);
        assert_eq!(speeds.len(), BAUDS.len());
        assert_eq!(Chip::speeds(115_200)[..2], [115_200, 921_600]);
    }

    #[test]
    fn what_the_chip_says_of_an_exchange_is_told_by_what_is_known() {
        let said = |byte| RfStatus::parse(byte);
        assert_eq!(said(0x00), None);
        assert_eq!(said(0x40), None, "more to fetch");
        assert_eq!(said(0x80), None, "a node address, which the exchange refuses");
        for silent in [0x01, 0x29, 0x2b, 0x41] {
            assert_eq!(said(silent), Some(RfStatus::Absent), "{silent:#x}");
        }
        for garbled in [0x02, 0x03, 0x06, 0x0b, 0x13] {
            assert_eq!(said(garbled), Some(RfStatus::Garbled), "{garbled:#x}");
        }
        assert_eq!(said(0x27), Some(RfStatus::Other(0x27)));
    }

    proptest! {
        #[test]
        fn any_answer_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse_targets(&bytes);
        }
    }
}
