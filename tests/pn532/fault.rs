//! What can be made to go wrong on the reader's side, and how it is written on a command line.

use std::{str::FromStr, time::Duration};

/// One thing going wrong. Those with a count happen once, after so many more exchanges with the
/// card have gone well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `pull:N`: the card leaves before it hears the next command.
    Pull(u32),
    /// `pull-heard:N`: the card obeys the next command and leaves; its answer is lost.
    PullHeard(u32),
    /// `mute:N`: the next command reaches the card, and the chip falls silent until it is woken.
    Mute(u32),
    /// `unplug:N`: the next command reaches the card, and the line goes away.
    Unplug(u32),
    /// `garble:N`: one bit of the next answer flips on the line.
    Garble(u32),
    /// `deaf:N`: the chip does not hear the next command.
    Deaf(u32),
    /// `status:N`: the next answer's status byte carries bit 7, which no PN532 sets unasked.
    Status(u32),
    /// `noise`: stray bytes before every frame.
    Noise,
    /// `air`: media do not follow to a faster speed on air, and are lost when asked to.
    Air,
    /// `split`: every byte for itself.
    Split,
    /// `relay:MS`: the card is somewhere else; whatever it answers is late by so many milliseconds.
    Relay(Duration),
    /// `slow:MS`: each answer is late by so many milliseconds.
    Slow(Duration),
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, count) = match text.split_once(':') {
            Some((name, count)) => {
                let count = count.parse::<u32>();
                (
                    name,
                    Some(count.map_err(|_| format!("{text:?}: write a number after the colon"))?),
                )
            }
            None => (text, None),
        };
        Ok(match (name, count) {
            ("pull", Some(n)) => Self::Pull(n),
            ("pull-heard", Some(n)) => Self::PullHeard(n),
            ("mute", Some(n)) => Self::Mute(n),
            ("unplug", Some(n)) => Self::Unplug(n),
            ("garble", Some(n)) => Self::Garble(n),
            ("deaf", Some(n)) => Self::Deaf(n),
            ("status", Some(n)) => Self::Status(n),
            ("noise", None) => Self::Noise,
            ("air", None) => Self::Air,
            ("split", None) => Self::Split,
            ("relay", Some(ms)) => Self::Relay(Duration::from_millis(ms.into())),
            ("slow", Some(ms)) => Self::Slow(Duration::from_millis(ms.into())),
            _ => {
                return Err(format!(
                    "{text:?} is no fault: write pull:N, pull-heard:N, mute:N, unplug:N, \
                     garble:N, deaf:N, status:N, air, noise, split, relay:MS or slow:MS"
                ));
            }
        })
    }
}

impl Fault {
    /// The exchanges still to go well, where the fault counts them.
    pub(super) fn countdown(&mut self) -> Option<&mut u32> {
        match self {
            Self::Pull(n)
            | Self::PullHeard(n)
            | Self::Mute(n)
            | Self::Unplug(n)
            | Self::Garble(n)
            | Self::Deaf(n)
            | Self::Status(n) => Some(n),
            Self::Air | Self::Noise | Self::Split | Self::Relay(_) | Self::Slow(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_as_written_and_the_rest_is_explained() {
        assert_eq!("pull:3".parse(), Ok(Fault::Pull(3)));
        assert_eq!("slow:20".parse(), Ok(Fault::Slow(Duration::from_millis(20))));
        assert_eq!("noise".parse(), Ok(Fault::Noise));
        for wrong in ["", "pull", "pull:x", "noise:1", "melt:1"] {
            assert!(wrong.parse::<Fault>().unwrap_err().contains("write"), "{wrong}");
        }
    }
}
