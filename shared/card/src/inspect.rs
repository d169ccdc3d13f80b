//! Inspecting: everything that can be read from a card with its debit key, in one report that also
//! names what does not fit together. Nothing on the card changes.
//!
//! Sans-IO: `poll` yields `Transmit`, perhaps `NeedKey`, and in the end `Settled`: `Released` once
//! the report is whole. A blank card and one whose application is not ours have a report, too.

use alloc::{collections::VecDeque, vec, vec::Vec};
use core::mem;

use model::{CardCounters, CardId, CardRecord};

use crate::answers::{counter_and_proof, opened, plain, selected};
use crate::apdu::{StatusWord, cmd, parse_answer, span, wrap};
use crate::failure::{CardFailure, CardStep, ExchangeError};
use crate::issue_plan::records_in;
use crate::keys::{Key, KeyRole, VersionedKey};
use crate::layout::{
    self, COUNTERS_LEN, FILE_COUNTERS, FILE_LOG, FILE_MODE, FILE_PROFILE, FILE_TMAC, FILE_VALUE,
    FILE_VALUE_OTHER, Profile,
};
use crate::login::{KeyWanted, Login, LoginStep};
use crate::report::{Application, CardReport, Contents};
use crate::session::Session;
use crate::transaction::{CardOutput, Settlement};

/// The machine. See the module's documentation.
#[derive(Debug)]
pub struct InspectTransaction {
    debit: Option<(VersionedKey, [u8; 16])>,
    asks: VecDeque<Ask>,
    state: State,
    /// Frames of an answer that has more of them.
    frames: Vec<u8>,
    log_count: Option<u32>,
    report: CardReport,
    output: Option<CardOutput>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    SelectCard,
    Version,
    FreeMemory,
    Applications,
    SelectApplication,
    KeySettings,
    KeyVersion(u8),
    Files,
    LogSettings,
    LogIn,
    Profile,
    /// Of this file.
    Value(u8),
    Proof,
    Counters,
    /// Counted back from the newest.
    Record(u32),
}

#[derive(Debug)]
enum State {
    Plain(Ask),
    LoggingIn(Login),
    NeedingKey(KeyWanted),
    Open(Session, Ask),
    Settled,
}

impl InspectTransaction {
    /// With the card that was presented, its current debit key and 16 random bytes.
    pub fn new(_: CardId, debit: VersionedKey, rnd_a: [u8; 16]) -> Self {
        let asks = [
            Ask::SelectCard,
            Ask::Version,
            Ask::FreeMemory,
            Ask::Applications,
            Ask::SelectApplication,
            Ask::KeySettings,
            Ask::KeyVersion(0),
            Ask::KeyVersion(1),
            Ask::KeyVersion(2),
            Ask::Files,
            Ask::LogIn,
        ];
        let mut this = Self {
            debit: Some((debit, rnd_a)),
            asks: asks.into(),
            state: State::Settled,
            frames: Vec::new(),
            log_count: None,
            report: CardReport::default(),
            output: None,
        };
        this.next(None);
        this
    }

    /// The next thing to do; `None` while an answer is awaited.
    pub const fn poll(&mut self) -> Option<CardOutput> {
        self.output.take()
    }

    /// The report, once settled.
    pub fn into_report(self) -> CardReport {
        self.report
    }

    /// The key that was asked for by `NeedKey`, if it is held, and 16 fresh random bytes.
    pub fn handle_key(&mut self, key: Option<Key>, rnd_a: [u8; 16]) {
        let State::NeedingKey(wanted) = self.state else { return };
        match wanted.provide(key, rnd_a) {
            Ok((login, apdu)) => {
                self.state = State::LoggingIn(login);
                self.output = Some(CardOutput::Transmit(apdu));
            }
            Err(failure) => self.closed(failure),
        }
    }

    /// The card's answer to the APDU sent last, or why none came.
    pub fn handle_response(&mut self, response: Result<&[u8], ExchangeError>) {
        if let Err(failure) = self.advance(response) {
            self.settle(Settlement::Refused(failure));
        }
    }

    fn settle(&mut self, settlement: Settlement) {
        self.state = State::Settled;
        self.output = Some(CardOutput::Settled(settlement));
    }

    /// Our debit key does not open it: that is a finding, not a failure.
    fn closed(&mut self, failure: CardFailure) {
        self.app().contents = Some(Err(failure));
        self.settle(Settlement::Released);
    }

    fn app(&mut self) -> &mut Application {
        self.report.application.get_or_insert_default()
    }

    fn contents(&mut self) -> &mut Contents {
        let contents = self.app().contents.get_or_insert(Ok(Contents::EMPTY));
        contents.as_mut().expect("contents are read only once logged in")
    }

    fn advance(&mut self, response: Result<&[u8], ExchangeError>) -> Result<(), CardFailure> {
        match mem::replace(&mut self.state, State::Settled) {
            State::Plain(ask) => self.plain_answer(ask, response),
            State::LoggingIn(login) => match login.handle_response(response) {
                Ok(step) => {
                    self.log_in(step);
                    Ok(())
                }
                Err(failure @ CardFailure::Link { .. }) => Err(failure),
                Err(failure) => {
                    self.closed(failure);
                    Ok(())
                }
            },
            State::Open(mut session, ask) => {
                let data = opened(&mut session, FILE_MODE, CardStep::Read, response)?;
                self.read(ask, &data)?;
                self.next(Some(session));
                Ok(())
            }
            idle @ (State::NeedingKey(_) | State::Settled) => {
                self.state = idle;
                Ok(())
            }
        }
    }

    fn log_in(&mut self, step: LoginStep) {
        match step {
            LoginStep::Transmit(login, apdu) => {
                self.state = State::LoggingIn(login);
                self.output = Some(CardOutput::Transmit(apdu));
            }
            LoginStep::NeedKey(wanted) => {
                self.state = State::NeedingKey(wanted);
                let KeyWanted { role, version } = wanted;
                self.output = Some(CardOutput::NeedKey { role, version });
            }
            LoginStep::Done(session, _) => {
                let other = self.app().files.contains(&FILE_VALUE_OTHER);
                let value = if other { FILE_VALUE_OTHER } else { FILE_VALUE };
                self.asks.extend([Ask::Profile, Ask::Value(value), Ask::Proof]);
                if self.app().files.contains(&FILE_COUNTERS) {
                    self.asks.push_back(Ask::Counters);
                }
                let count = self.log_count.unwrap_or(0);
                self.asks.extend((0..count).rev().map(Ask::Record));
                self.next(Some(session));
            }
        }
    }

    fn plain_answer(
        &mut self,
        ask: Ask,
        response: Result<&[u8], ExchangeError>,
    ) -> Result<(), CardFailure> {
        let step = CardStep::Select;
        let more =
            response.as_ref().ok().and_then(|bytes| parse_answer(bytes)).filter(|answer| {
                answer.status == StatusWord::ADDITIONAL_FRAME && ask == Ask::Version
            });
        if let Some(answer) = more {
            self.frames.extend_from_slice(answer.data);
            self.state = State::Plain(ask);
            self.output = Some(CardOutput::Transmit(wrap(cmd::ADDITIONAL_FRAME, &[])));
            return Ok(());
        }
        match ask {
            Ask::SelectCard => selected(response)?,
            Ask::SelectApplication => match selected(response) {
                Err(CardFailure::NoApplication(StatusWord::NO_SUCH_APPLICATION)) => {
                    self.settle(Settlement::Released);
                    return Ok(());
                }
                other => {
                    other?;
                    self.app();
                }
            },
            // What a card does not tell without its master key is left out.
            Ask::Version
            | Ask::FreeMemory
            | Ask::Applications
            | Ask::KeySettings
            | Ask::KeyVersion(_)
            | Ask::Files
            | Ask::LogSettings => match plain(step, response) {
                Ok(data) => self.looked(ask, data),
                Err(CardFailure::Refused { .. }) => {}
                Err(failure) => return Err(failure),
            },
            Ask::LogIn
            | Ask::Profile
            | Ask::Value(_)
            | Ask::Proof
            | Ask::Counters
            | Ask::Record(_) => {}
        }
        self.next(None);
        Ok(())
    }

    fn looked(&mut self, ask: Ask, data: &[u8]) {
        match ask {
            Ask::Version => {
                let mut version = mem::take(&mut self.frames);
                version.extend_from_slice(data);
                self.report.version = version;
            }
            Ask::FreeMemory => {
                let bytes: Option<[u8; 3]> = data.try_into().ok();
                self.report.free = bytes.map(|[a, b, c]| u32::from_le_bytes([a, b, c, 0]));
            }
            Ask::Applications => {
                self.report.applications = Some(data.as_chunks::<3>().0.to_vec());
            }
            Ask::KeySettings => self.app().key_settings = data.to_vec(),
            Ask::KeyVersion(_) => self.app().key_versions.extend_from_slice(data),
            Ask::Files => {
                self.app().files = data.to_vec();
                if data.contains(&FILE_LOG) {
                    self.asks.push_front(Ask::LogSettings);
                }
            }
            Ask::LogSettings => self.log_count = records_in(data).map(|n| n.min(LOG_MAX)),
            Ask::SelectCard
            | Ask::SelectApplication
            | Ask::LogIn
            | Ask::Profile
            | Ask::Value(_)
            | Ask::Proof
            | Ask::Counters
            | Ask::Record(_) => {}
        }
    }

    fn read(&mut self, ask: Ask, data: &[u8]) -> Result<(), CardFailure> {
        let malformed = || CardFailure::Malformed(CardStep::Read);
        match ask {
            Ask::Profile => {
                let bytes = data.try_into().map_err(|_| malformed())?;
                self.contents().profile = Profile::from_bytes(bytes);
            }
            Ask::Value(file) => {
                let bytes = data.try_into().map_err(|_| malformed())?;
                self.contents().other_value = file == FILE_VALUE_OTHER;
                self.contents().value = i32::from_le_bytes(bytes);
            }
            Ask::Proof => {
                let (ctr, proof) = counter_and_proof(data).ok_or_else(malformed)?;
                self.contents().ctr = ctr;
                self.contents().proof = proof;
            }
            Ask::Counters => {
                let bytes = data.try_into().map_err(|_| malformed())?;
                self.contents().counters = Some(CardCounters::from_bytes(bytes));
            }
            Ask::Record(_) => {
                let bytes = data.try_into().map_err(|_| malformed())?;
                self.contents().records.push(CardRecord::from_bytes(bytes));
            }
            Ask::SelectCard
            | Ask::Version
            | Ask::FreeMemory
            | Ask::Applications
            | Ask::SelectApplication
            | Ask::KeySettings
            | Ask::KeyVersion(_)
            | Ask::Files
            | Ask::LogSettings
            | Ask::LogIn => {}
        }
        Ok(())
    }

    /// Asks the next thing.
    fn next(&mut self, session: Option<Session>) {
        let Some(ask) = self.asks.pop_front() else { return self.settle(Settlement::Released) };
        if ask == Ask::LogIn {
            if let Some((debit, rnd_a)) = self.debit.take() {
                let (login, apdu) = Login::begin(KeyRole::Debit, debit, rnd_a);
                self.state = State::LoggingIn(login);
                self.output = Some(CardOutput::Transmit(apdu));
            }
            return;
        }
        let (cmd, data) = command(ask);
        let data = match &session {
            None => data,
            Some(session) => session.seal_command(FILE_MODE, cmd, &data, &[]),
        };
        self.output = Some(CardOutput::Transmit(wrap(cmd, &data)));
        self.state = match session {
            None => State::Plain(ask),
            Some(session) => State::Open(session, ask),
        };
    }
}

/// Records read at most, whatever a card says that it holds.
const LOG_MAX: u32 = 64;

fn command(ask: Ask) -> (u8, Vec<u8>) {
    match ask {
        Ask::SelectCard => (cmd::SELECT_APPLICATION, vec![0; 3]),
        Ask::Version => (cmd::GET_VERSION, vec![]),
        Ask::FreeMemory => (cmd::FREE_MEM, vec![]),
        Ask::Applications => (cmd::GET_APPLICATION_IDS, vec![]),
        Ask::SelectApplication | Ask::LogIn => (cmd::SELECT_APPLICATION, layout::AID.to_vec()),
        Ask::KeySettings => (cmd::GET_KEY_SETTINGS, vec![]),
        Ask::KeyVersion(no) => (cmd::GET_KEY_VERSION, vec![no]),
        Ask::Files => (cmd::GET_FILE_IDS, vec![]),
        Ask::LogSettings => (cmd::GET_FILE_SETTINGS, vec![FILE_LOG]),
        Ask::Profile => (cmd::READ_DATA, span(FILE_PROFILE, 0, 32).to_vec()),
        Ask::Value(file) => (cmd::GET_VALUE, vec![file]),
        Ask::Proof => (cmd::READ_DATA, span(FILE_TMAC, 0, 12).to_vec()),
        Ask::Counters => (cmd::READ_DATA, span(FILE_COUNTERS, 0, COUNTERS_LEN).to_vec()),
        Ask::Record(back) => (cmd::READ_RECORDS, span(FILE_LOG, back, 1).to_vec()),
    }
}
