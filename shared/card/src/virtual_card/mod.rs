//! A DESFire EV3 card in memory, for demo, simulator and tests: real commands, real cryptography.
//!
//! `memory` is what survives without power, everything else is `Volatile` and dies with the field:
//! a torn card is one whose volatile half was dropped. Files with backup, values and records
//! change only in `transaction::commit`, all at once. Randomness is a seeded AES stream, so a run
//! repeats exactly.
//!
//! Modelled: wrapped framing, `AuthenticateEV2First`/`NonFirst`, all file kinds, Transaction MAC.
//! Not modelled: DES and EV1 authentication, key sets, delegated applications, proximity check.

mod admin;
mod channel;
mod data;
mod files;
mod image;
mod memory;
mod transaction;

use alloc::vec::Vec;
use core::mem;

use model::{CardId, CardProducts, CardRecord, Ctr, ProductsFound};

use crate::apdu::{Command, StatusWord, answer, cmd, parse_command};
use crate::crypto::{Cipher, cmac};
use crate::failure::{CardFailure, CardStep};
use crate::keys::{CardKeys, Key};
use crate::layout;
use crate::opening::{IssueError, Issued, Opening};
use crate::personalise::IssueTransaction;
use crate::session::{CardAuthentication, Session};
use crate::transaction::{CardOutput, Settlement};

pub use image::ImageError;
use memory::{App, Body, Memory};
use transaction::Pending;

/// A card.
#[derive(Debug, Clone)]
pub struct VirtualCard {
    memory: Memory,
    volatile: Volatile,
}

/// What is lost with the field.
#[derive(Debug, Clone, Default)]
struct Volatile {
    /// Index of the selected application; `None` is the card level.
    app: Option<usize>,
    login: Option<Login>,
    chain: Chain,
    pending: Pending,
}

#[derive(Debug, Clone)]
struct Login {
    key_no: u8,
    session: Session,
}

/// A command or an answer that spans several frames.
#[derive(Debug, Clone, Default)]
enum Chain {
    #[default]
    Idle,
    Authenticating {
        key_no: u8,
        half: CardAuthentication,
        /// The session that `NonFirst` continues.
        running: Option<Session>,
    },
    Receiving {
        cmd: u8,
        payload: Vec<u8>,
    },
    /// Frames of `chunk` bytes while more than `tail` remain, then the rest.
    Sending {
        rest: Vec<u8>,
        chunk: usize,
        tail: usize,
    },
}

type Outcome = Result<Vec<u8>, StatusWord>;

/// What an inspector sees who opens the card: for checkers, which must not disturb it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardContents {
    /// Transactions committed so far (TMC).
    pub ctr: Ctr,
    /// The value file.
    pub balance: i32,
    /// The log, oldest first.
    pub records: Vec<CardRecord>,
    /// Products and rides; `None` on a card issued without files for them.
    pub products: Option<ProductsFound>,
}

/// Data bytes that a native-chained answer frame carries.
const FRAME: usize = 59;
const PICC_NAME: [u8; 7] = [0xD2, 0x76, 0x00, 0x00, 0x85, 0x01, 0x00];

impl VirtualCard {
    /// A blank card from the factory. `seed` and number determine all its randomness.
    pub fn blank(uid: CardId, seed: [u8; 16]) -> Self {
        let random_key = Key(cmac(&Key(seed), &[&uid.0]));
        Self { memory: Memory::factory(uid, random_key), volatile: Volatile::default() }
    }

    /// A card issued through its own commands.
    pub fn issue(
        uid: CardId,
        seed: [u8; 16],
        keys: &dyn CardKeys,
        opening: &Opening,
    ) -> Result<(Self, Issued), IssueError> {
        let mut card = Self::blank(uid, seed);
        let issued = card.personalise(keys, opening)?;
        Ok((card, issued))
    }

    /// Issues this blank card.
    pub fn personalise(
        &mut self,
        keys: &dyn CardKeys,
        opening: &Opening,
    ) -> Result<Issued, IssueError> {
        let rnd_a = [self.random(), self.random(), self.random()];
        let mut issue = IssueTransaction::new(self.uid(), keys, opening, rnd_a)?;
        loop {
            match issue.poll() {
                Some(CardOutput::Transmit(apdu)) => {
                    let response = self.handle_apdu(&apdu);
                    issue.handle_response(Ok(&response));
                }
                Some(CardOutput::Settled(Settlement::Committed { proof, .. })) => {
                    self.power_off();
                    return Ok(issue.issued(proof));
                }
                Some(CardOutput::Settled(Settlement::Refused(failure))) => {
                    return Err(failure.into());
                }
                None
                | Some(
                    CardOutput::NeedKey { .. }
                    | CardOutput::Found(_)
                    | CardOutput::ReadyToCommit
                    | CardOutput::Settled(_),
                ) => {
                    return Err(CardFailure::Malformed(CardStep::Personalise).into());
                }
            }
        }
    }

    /// Its number.
    pub const fn uid(&self) -> CardId {
        self.memory.uid
    }

    /// Its answer to select, as a reader sees it.
    pub const fn ats(&self) -> [u8; 6] {
        [0x06, 0x75, 0x77, 0x81, 0x02, 0x80]
    }

    /// The field is gone: session, selection and open transaction end.
    pub fn power_off(&mut self) {
        self.volatile = Volatile::default();
    }

    /// Whether both cards hold the same: files, keys, counters; not their randomness.
    pub fn same_contents(&self, other: &Self) -> bool {
        self.memory.same_contents(&other.memory)
    }

    /// Everything that survives without power.
    pub fn to_bytes(&self) -> Vec<u8> {
        image::write(&self.memory)
    }

    /// A card from its image, powered off.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ImageError> {
        Ok(Self { memory: image::read(bytes)?, volatile: Volatile::default() })
    }

    /// What the fare application holds; `None` when the card was never issued.
    pub fn contents(&self) -> Option<CardContents> {
        let app = self.memory.apps.iter().find(|app| app.aid == layout::AID)?;
        let Body::Value { value, .. } = &app.file(layout::FILE_VALUE)?.body else { return None };
        let Body::Records { data, .. } = &app.file(layout::FILE_LOG)?.body else { return None };
        let Body::Tmac { ctr, .. } = &app.file(layout::FILE_TMAC)?.body else { return None };
        let (records, _) = data.as_chunks::<{ CardRecord::LEN }>();
        let records = records.iter().map(CardRecord::from_bytes).collect::<Result<_, _>>().ok()?;
        let products = products_of(app);
        Some(CardContents { ctr: Ctr(*ctr), balance: *value, records, products })
    }

    /// Makes the next random blocks the given ones: for published and golden vectors.
    pub fn dictate_random(&mut self, blocks: &[[u8; 16]]) {
        self.memory.dictated.extend(blocks);
    }

    /// Answers one command. Never panics, whatever arrives.
    pub fn handle_apdu(&mut self, apdu: &[u8]) -> Vec<u8> {
        let outcome = match parse_command(apdu) {
            Ok(Command::Wrapped { cmd, data }) => self.wrapped(cmd, data),
            Ok(Command::IsoSelect { name }) => {
                self.power_off();
                let known = name == PICC_NAME;
                let status = if known { StatusWord::ISO_OK } else { StatusWord::ISO_NOT_FOUND };
                return answer(&[], status);
            }
            Err(status) => Err(status),
        };
        outcome.unwrap_or_else(|status| {
            // Any error ends session and transaction; the application stays selected.
            self.volatile = Volatile { app: self.volatile.app, ..Volatile::default() };
            answer(&[], status)
        })
    }

    fn wrapped(&mut self, cmd: u8, data: &[u8]) -> Outcome {
        let more = cmd == cmd::ADDITIONAL_FRAME;
        match mem::take(&mut self.volatile.chain) {
            Chain::Idle if more => Err(StatusWord::ILLEGAL_COMMAND),
            Chain::Idle => self.command(cmd, data),
            Chain::Authenticating { key_no, half, running } if more => {
                self.authenticate_part2(key_no, &half, running.as_ref(), data)
            }
            Chain::Receiving { cmd, mut payload } if more && !data.is_empty() => {
                payload.extend_from_slice(data);
                self.command(cmd, &payload)
            }
            Chain::Sending { rest, chunk, tail } if more && data.is_empty() => {
                Ok(self.send(&rest, chunk, tail))
            }
            Chain::Authenticating { .. } | Chain::Receiving { .. } | Chain::Sending { .. } => {
                Err(StatusWord::COMMAND_ABORTED)
            }
        }
    }

    /// One whole command, or as much of it as has arrived.
    fn command(&mut self, cmd: u8, payload: &[u8]) -> Outcome {
        match cmd {
            cmd::SELECT_APPLICATION => self.select(payload),
            cmd::AUTHENTICATE_EV2_FIRST => self.authenticate(payload, true),
            cmd::AUTHENTICATE_EV2_NON_FIRST => self.authenticate(payload, false),
            _ => self.secured(cmd, payload),
        }
    }

    fn select(&mut self, payload: &[u8]) -> Outcome {
        let aid: [u8; 3] = payload.try_into().map_err(|_| StatusWord::LENGTH)?;
        let app = if aid == [0; 3] {
            None
        } else {
            let found = self.memory.apps.iter().position(|app| app.aid == aid);
            Some(found.ok_or(StatusWord::NO_SUCH_APPLICATION)?)
        };
        self.volatile = Volatile { app, ..Volatile::default() };
        Ok(answer(&[], StatusWord::OK))
    }

    fn authenticate(&mut self, payload: &[u8], first: bool) -> Outcome {
        let key_no = match payload {
            [key_no, length, rest @ ..] if first && rest.len() == usize::from(*length) => *key_no,
            [key_no] if !first => *key_no,
            _ => return Err(StatusWord::LENGTH),
        };
        let login = self.volatile.login.take();
        let running = if first {
            self.volatile.pending = Pending::default();
            None
        } else {
            Some(login.ok_or(StatusWord::AUTHENTICATION)?.session)
        };
        // The card level keeps its DES key from the factory: no AES authentication there.
        let app = self.app()?;
        let key = app.keys.get(usize::from(key_no)).ok_or(StatusWord::NO_SUCH_KEY)?.key.clone();
        let half = CardAuthentication::new(key, self.random());
        let challenge = half.challenge();
        self.volatile.chain = Chain::Authenticating { key_no, half, running };
        Ok(answer(&challenge, StatusWord::ADDITIONAL_FRAME))
    }

    fn authenticate_part2(
        &mut self,
        key_no: u8,
        half: &CardAuthentication,
        running: Option<&Session>,
        part2: &[u8],
    ) -> Outcome {
        let part2: &[u8; 32] = part2.try_into().map_err(|_| StatusWord::LENGTH)?;
        let ti = if running.is_none() { self.random() } else { [0; 16] };
        let (reply, session) = half
            .finish(part2, [ti[0], ti[1], ti[2], ti[3]], running)
            .ok_or(StatusWord::AUTHENTICATION)?;
        self.volatile.login = Some(Login { key_no, session });
        Ok(answer(&reply, StatusWord::OK))
    }

    /// The next frame of an answer.
    fn send(&mut self, payload: &[u8], chunk: usize, tail: usize) -> Vec<u8> {
        if payload.len() <= tail {
            return answer(payload, StatusWord::OK);
        }
        let (frame, rest) = payload.split_at(chunk);
        self.volatile.chain = Chain::Sending { rest: rest.to_vec(), chunk, tail };
        answer(frame, StatusWord::ADDITIONAL_FRAME)
    }

    fn app(&self) -> Result<&App, StatusWord> {
        let index = self.volatile.app.ok_or(StatusWord::PERMISSION_DENIED)?;
        self.memory.apps.get(index).ok_or(StatusWord::NO_SUCH_APPLICATION)
    }

    fn app_mut(&mut self) -> Result<&mut App, StatusWord> {
        let index = self.volatile.app.ok_or(StatusWord::PERMISSION_DENIED)?;
        self.memory.apps.get_mut(index).ok_or(StatusWord::NO_SUCH_APPLICATION)
    }

    fn random(&mut self) -> [u8; 16] {
        if let Some(block) = self.memory.dictated.pop_front() {
            return block;
        }
        let block =
            Cipher::new(&self.memory.random_key).ecb(u128::from(self.memory.drawn).to_be_bytes());
        self.memory.drawn = self.memory.drawn.wrapping_add(1);
        block
    }
}

fn products_of(app: &App) -> Option<ProductsFound> {
    let Body::Backup(bytes) = &app.file(layout::FILE_PRODUCTS)?.body else { return None };
    let Body::Value { value, .. } = app.file(layout::FILE_RIDES)?.body else { return None };
    let file = CardProducts::from_bytes(bytes.as_slice().try_into().ok()?);
    Some(ProductsFound { file, rides: u32::try_from(value).ok() })
}
