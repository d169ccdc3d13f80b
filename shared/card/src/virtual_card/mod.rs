//! A DESFire EV3 card in memory, for demo, simulator and tests: real commands, real cryptography.
//!
//! `memory` is what survives without power, everything else is `Volatile` and dies with the field:
//! a torn card is one whose volatile half was dropped. Files with backup, values and records
//! change only in `transaction::commit`, all at once. Randomness is a seeded AES stream, so a run
//! repeats exactly.
//!
//! `docs/card-layout.md` says what is modelled and what is not.

mod admin;
mod auth;
mod channel;
mod configuration;
mod data;
mod files;
mod image;
mod iso;
mod key_changes;
mod memory;
mod records;
mod transaction;

use alloc::{collections::VecDeque, vec::Vec};
use core::mem;

use model::{CardCounters, CardId, CardProducts, CardRecord, Ctr, ProductsFound};

use crate::apdu::{Command, StatusWord, answer, cmd, parse_command};
use crate::crypto::{Cipher, cmac};
use crate::failure::{CardFailure, CardStep};
use crate::keys::{CardKeys, Key};
use crate::opening::{IssueError, Issued, Opening};
use crate::personalise::IssueTransaction;
use crate::transaction::{CardOutput, Settlement};
use crate::{layout, legacy, session};

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
    /// That of the first command after activation.
    framing: Option<Framing>,
    /// What is shown instead of the UID in random mode; kept until the field is gone.
    shown: [u8; 4],
    /// Index of the selected application; `None` is the card level.
    app: Option<usize>,
    /// The file that ISO commands work on.
    iso_file: Option<u8>,
    login: Option<Login>,
    chain: Chain,
    pending: Pending,
}

/// How commands arrive and answers leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// `Cmd ‖ data`, answered by `Status ‖ data`.
    Native,
    /// In ISO 7816-4 APDUs, among which ISO commands may stand.
    Wrapped,
}

#[derive(Debug, Clone)]
struct Login {
    key_no: u8,
    channel: Channel,
}

/// The secure messaging of a session.
#[derive(Debug, Clone)]
enum Channel {
    Ev2(session::Session),
    Old(legacy::Scheme, legacy::Session),
}

/// A command or an answer that spans several frames.
#[derive(Debug, Clone, Default)]
enum Chain {
    #[default]
    Idle,
    Authenticating(u8, auth::Half),
    Receiving {
        cmd: u8,
        payload: Vec<u8>,
    },
    /// Frames that were not fetched yet.
    Sending(VecDeque<Vec<u8>>),
}

/// The data of an answer, or why there is none.
type Outcome = Result<Vec<u8>, StatusWord>;

/// One frame: its data, and whether it was the last.
type Framed = Result<(Vec<u8>, StatusWord), StatusWord>;

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
    /// Counters; `None` on a card issued without a file for them, or when they cannot be read.
    pub counters: Option<CardCounters>,
}

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
    pub fn ats(&self) -> &[u8] {
        &self.memory.configuration.ats
    }

    /// The number it shows when a reader looks for cards: its own, or four random bytes.
    pub fn shown_uid(&self) -> Vec<u8> {
        if self.memory.configuration.random_uid {
            self.volatile.shown.to_vec()
        } else {
            self.memory.uid.0.to_vec()
        }
    }

    /// Shows four random bytes instead of its number from now on, as `SetConfiguration` does.
    pub fn randomize_uid(&mut self) {
        self.memory.configuration.random_uid = true;
        self.show();
    }

    /// The field is gone: session, selection and open transaction end.
    pub fn power_off(&mut self) {
        self.volatile = Volatile::default();
        self.show();
    }

    /// A reader has put it to sleep: as without power, but it will show the same number.
    pub fn deselect(&mut self) {
        self.volatile = Volatile { shown: self.volatile.shown, ..Volatile::default() };
    }

    /// Draws the number that the next activations show.
    fn show(&mut self) {
        if self.memory.configuration.random_uid {
            let [a, b, c, ..] = self.random();
            self.volatile.shown = [0x08, a, b, c];
        }
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
        let mut card = Self { memory: image::read(bytes)?, volatile: Volatile::default() };
        card.show();
        Ok(card)
    }

    /// What the fare application holds; `None` when the card was never issued.
    pub fn contents(&self) -> Option<CardContents> {
        let app = self.memory.apps.iter().find(|app| app.aid == layout::AID)?;
        let value = app.file(layout::FILE_VALUE).or_else(|| app.file(layout::FILE_VALUE_OTHER));
        let Body::Value { value, .. } = &value?.body else { return None };
        let Body::Records { data, .. } = &app.file(layout::FILE_LOG)?.body else { return None };
        let Body::Tmac { ctr, .. } = &app.file(layout::FILE_TMAC)?.body else { return None };
        let (records, _) = data.as_chunks::<{ CardRecord::LEN }>();
        let records = records.iter().map(CardRecord::from_bytes).collect::<Result<_, _>>().ok()?;
        let products = products_of(app);
        let counters = counters_of(app);
        Some(CardContents { ctr: Ctr(*ctr), balance: *value, records, products, counters })
    }

    /// Makes the next random blocks the given ones: for published and golden vectors.
    pub fn dictate_random(&mut self, blocks: &[[u8; 16]]) {
        self.memory.dictated.extend(blocks);
    }

    /// Answers one command. Never panics, whatever arrives.
    pub fn handle_apdu(&mut self, apdu: &[u8]) -> Vec<u8> {
        let native = apdu.first().is_some_and(|first| channel::is_known(*first));
        let first = if native { Framing::Native } else { Framing::Wrapped };
        let framing = *self.volatile.framing.get_or_insert(first);
        let command = match (framing, apdu.split_first()) {
            (Framing::Native, Some((&cmd, data))) => Ok(Command::Wrapped { cmd, data }),
            (Framing::Native, None) => Err(StatusWord::LENGTH),
            (Framing::Wrapped, _) => parse_command(apdu),
        };
        let framed = match command {
            Ok(Command::Wrapped { cmd, data }) => self.frame(cmd, data),
            Ok(command) => self.iso(command),
            Err(status) => Err(status),
        };
        let (data, status) = framed.unwrap_or_else(|status| {
            // Any error ends session and transaction; the application stays selected.
            self.end_session();
            (Vec::new(), status)
        });
        match framing {
            Framing::Native => {
                let [_, status] = status.0.to_be_bytes();
                [&[status], data.as_slice()].concat()
            }
            Framing::Wrapped => answer(&data, status),
        }
    }

    fn frame(&mut self, cmd: u8, data: &[u8]) -> Framed {
        let more = cmd == cmd::ADDITIONAL_FRAME;
        match mem::take(&mut self.volatile.chain) {
            Chain::Idle if more => Err(StatusWord::ILLEGAL_COMMAND),
            Chain::Idle => self.command(cmd, data),
            Chain::Authenticating(key_no, half) if more => {
                self.authenticate_part2(key_no, &half, data)
            }
            Chain::Receiving { cmd, mut payload } if more && !data.is_empty() => {
                payload.extend_from_slice(data);
                self.command(cmd, &payload)
            }
            Chain::Sending(frames) if more && data.is_empty() => Ok(self.send(frames)),
            Chain::Authenticating(..) | Chain::Receiving { .. } | Chain::Sending(_) => {
                Err(StatusWord::COMMAND_ABORTED)
            }
        }
    }

    /// One whole command, or as much of it as has arrived.
    fn command(&mut self, cmd: u8, payload: &[u8]) -> Framed {
        match cmd {
            cmd::SELECT_APPLICATION => {
                let app = self.find_application(payload)?;
                self.enter(app);
                Ok((Vec::new(), StatusWord::OK))
            }
            cmd::AUTHENTICATE_LEGACY
            | cmd::AUTHENTICATE_ISO
            | cmd::AUTHENTICATE_AES
            | cmd::AUTHENTICATE_EV2_FIRST
            | cmd::AUTHENTICATE_EV2_NON_FIRST => self.authenticate(cmd, payload),
            _ => self.secured(cmd, payload),
        }
    }

    fn find_application(&self, payload: &[u8]) -> Result<Option<usize>, StatusWord> {
        let aid: [u8; 3] = payload.try_into().map_err(|_| StatusWord::LENGTH)?;
        if aid == [0; 3] {
            return Ok(None);
        }
        let found = self.memory.apps.iter().position(|app| app.aid == aid);
        found.map(Some).ok_or(StatusWord::NO_SUCH_APPLICATION)
    }

    /// Selects an application, or the card level.
    fn enter(&mut self, app: Option<usize>) {
        self.end_session();
        (self.volatile.app, self.volatile.iso_file) = (app, None);
    }

    fn end_session(&mut self) {
        self.volatile.login = None;
        self.volatile.chain = Chain::Idle;
        self.volatile.pending.clear();
    }

    /// The next frame of an answer.
    fn send(&mut self, mut frames: VecDeque<Vec<u8>>) -> (Vec<u8>, StatusWord) {
        let frame = frames.pop_front().unwrap_or_default();
        if frames.is_empty() {
            return (frame, StatusWord::OK);
        }
        self.volatile.chain = Chain::Sending(frames);
        (frame, StatusWord::ADDITIONAL_FRAME)
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

fn counters_of(app: &App) -> Option<CardCounters> {
    let Body::Backup(bytes) = &app.file(layout::FILE_COUNTERS)?.body else { return None };
    CardCounters::from_bytes(bytes.as_slice().try_into().ok()?).ok()
}

fn products_of(app: &App) -> Option<ProductsFound> {
    let Body::Backup(bytes) = &app.file(layout::FILE_PRODUCTS)?.body else { return None };
    let Body::Value { value, .. } = app.file(layout::FILE_RIDES)?.body else { return None };
    let file = CardProducts::from_bytes(bytes.as_slice().try_into().ok()?);
    Some(ProductsFound { file, rides: u32::try_from(value).ok() })
}
