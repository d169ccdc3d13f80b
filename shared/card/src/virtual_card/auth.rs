//! Logging in: the five authentications, by the key that the selected level has.

use crate::apdu::{StatusWord, cmd};
use crate::legacy::{self, Scheme};
use crate::session::{CardAuthentication, Session};

use super::memory::StoredKey;
use super::transaction::Pending;
use super::{Chain, Channel, Framed, Login, VirtualCard};

/// An authentication whose second part is awaited.
#[derive(Debug, Clone)]
pub(super) enum Half {
    Ev2 {
        half: CardAuthentication,
        /// The session that `NonFirst` continues.
        running: Option<Session>,
    },
    Old(Scheme, legacy::CardAuthentication),
}

impl VirtualCard {
    pub(super) fn authenticate(&mut self, command: u8, payload: &[u8]) -> Framed {
        let key_no = match payload {
            [key_no, length, rest @ ..]
                if command == cmd::AUTHENTICATE_EV2_FIRST && rest.len() == usize::from(*length) =>
            {
                *key_no
            }
            [key_no] if command != cmd::AUTHENTICATE_EV2_FIRST => *key_no,
            _ => return Err(StatusWord::LENGTH),
        };
        let login = self.volatile.login.take();
        let running = if command == cmd::AUTHENTICATE_EV2_NON_FIRST {
            match login {
                Some(Login { channel: Channel::Ev2(session), .. }) => Some(session),
                Some(Login { channel: Channel::Old(..), .. }) | None => {
                    return Err(StatusWord::AUTHENTICATION);
                }
            }
        } else {
            self.volatile.pending = Pending::default();
            None
        };
        let key = self.key(key_no)?.key.clone();
        let (challenge, half) = match scheme(command) {
            Some(scheme) if scheme.takes(key.kind()) => {
                let half = legacy::CardAuthentication::new(scheme, key, self.random());
                (half.challenge(), Half::Old(scheme, half))
            }
            Some(_) => return Err(StatusWord::AUTHENTICATION),
            None => {
                let key = key.aes().ok_or(StatusWord::AUTHENTICATION)?;
                let half = CardAuthentication::new(key, self.random());
                (half.challenge().to_vec(), Half::Ev2 { half, running })
            }
        };
        self.volatile.chain = Chain::Authenticating(key_no, half);
        Ok((challenge, StatusWord::ADDITIONAL_FRAME))
    }

    pub(super) fn authenticate_part2(&mut self, key_no: u8, half: &Half, part2: &[u8]) -> Framed {
        let (reply, channel) = match half {
            Half::Ev2 { half, running } => {
                let part2: &[u8; 32] = part2.try_into().map_err(|_| StatusWord::LENGTH)?;
                let ti = if running.is_none() { self.random() } else { [0; 16] };
                let (reply, session) = half
                    .finish(part2, [ti[0], ti[1], ti[2], ti[3]], running.as_ref())
                    .ok_or(StatusWord::AUTHENTICATION)?;
                (reply, Channel::Ev2(session))
            }
            Half::Old(scheme, half) => {
                let (reply, session) = half.finish(part2).ok_or(StatusWord::AUTHENTICATION)?;
                (reply, Channel::Old(*scheme, session))
            }
        };
        self.volatile.login = Some(Login { key_no, channel });
        Ok((reply, StatusWord::OK))
    }

    /// A key of the selected level.
    pub(super) fn key(&self, key_no: u8) -> Result<&StoredKey, StatusWord> {
        match self.volatile.app {
            None if key_no == 0 => Ok(&self.memory.master),
            None => Err(StatusWord::NO_SUCH_KEY),
            Some(_) => self.app()?.keys.get(usize::from(key_no)).ok_or(StatusWord::NO_SUCH_KEY),
        }
    }
}

const fn scheme(command: u8) -> Option<Scheme> {
    match command {
        cmd::AUTHENTICATE_LEGACY => Some(Scheme::D40),
        cmd::AUTHENTICATE_ISO => Some(Scheme::Iso),
        cmd::AUTHENTICATE_AES => Some(Scheme::Aes),
        _ => None,
    }
}
