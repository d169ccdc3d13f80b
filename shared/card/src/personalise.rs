//! Issuing: from a blank card, or one whose issue was torn, to a card with keys, files, opening
//! value and Issue record (ADR-0008).
//!
//! Sans-IO like the debit, and on the same real commands, so that it runs against a card in a
//! reader as well as against the virtual card. The opening value is credited under the final load
//! key, so that the very first record has a proof.
//!
//! Invariants: until its one and last commit the card's log is empty, and a card with an empty log
//! is refused by every validator; a card with a record in its log is never touched; an application
//! of somebody else's under our number is never touched.

use alloc::{collections::VecDeque, vec::Vec};
use core::mem;

use model::{CardId, CardProof};

use crate::answers::{authenticated, challenged, opened, plain, selected, settled_commit};
use crate::apdu::{StatusWord, cmd, wrap};
use crate::failure::{CardFailure, CardStep, ExchangeError};
use crate::issue_plan::{IssuerKey, Look, Plan, Seen, Step, records_in};
use crate::keys::{CardKeys, Key, KeyVersion};
use crate::layout::{self, FILE_LOG, FILE_PROFILE};
use crate::opening::{IssueError, Issued, Opening};
use crate::session::{Authentication, CommMode, Session};
use crate::transaction::{CardOutput, Settlement};

/// The machine: `poll` yields `Transmit` and in the end `Settled`: `Committed` when issued.
#[derive(Debug)]
pub struct IssueTransaction {
    card: CardId,
    opening: Opening,
    plan: Plan,
    script: VecDeque<Step>,
    seen: Seen,
    state: State,
    output: Option<CardOutput>,
}

#[derive(Debug)]
enum State {
    Idle(Option<Session>),
    Selecting,
    Claiming,
    Looking(Look),
    /// Logging in with a key of which there is only one.
    Challenging(Authentication),
    Answering(Authentication),
    /// Logging in with key 0, of which there may be several: (version tried, those to try next).
    ChallengingIssuer(Authentication, Option<KeyVersion>, Vec<IssuerKey>),
    AnsweringIssuer(Authentication, Option<KeyVersion>, Vec<IssuerKey>),
    Commanding {
        session: Session,
        mode: CommMode,
        cmd: u8,
    },
    ClosingSession,
    Committing(Session),
    Settled,
}

impl IssueTransaction {
    /// With the card's keys, its opening and three times 16 random bytes from the shell.
    pub fn new(
        card: CardId,
        keys: &dyn CardKeys,
        opening: &Opening,
        rnd_a: [[u8; 16]; 3],
    ) -> Result<Self, IssueError> {
        let mut this = Self {
            card,
            opening: *opening,
            plan: Plan::new(card, keys, *opening, rnd_a)?,
            script: Plan::begin().into(),
            seen: Seen::default(),
            state: State::Idle(None),
            output: None,
        };
        this.next_step();
        Ok(this)
    }

    /// The next thing to do; `None` while an answer is awaited.
    pub const fn poll(&mut self) -> Option<CardOutput> {
        self.output.take()
    }

    /// The card's answer to the APDU sent last, or why none came.
    pub fn handle_response(&mut self, response: Result<&[u8], ExchangeError>) {
        match self.advance(response) {
            Ok(()) => self.next_step(),
            Err(failure) => self.settle(Settlement::Refused(failure)),
        }
    }

    /// The issued card, once settled as `Committed` with `proof`.
    pub fn issued(&self, proof: CardProof) -> Issued {
        Issued { card: self.card, record: self.opening.record(), proof }
    }

    fn settle(&mut self, settlement: Settlement) {
        self.state = State::Settled;
        self.output = Some(CardOutput::Settled(settlement));
    }

    /// Takes an answer. The state is `Settled` while it runs, so every early return ends it.
    fn advance(&mut self, response: Result<&[u8], ExchangeError>) -> Result<(), CardFailure> {
        let session = match mem::replace(&mut self.state, State::Settled) {
            State::Selecting => {
                selected(response)?;
                None
            }
            State::Claiming => {
                self.claimed(response)?;
                None
            }
            State::Looking(look) => {
                self.looked(look, plain(CardStep::Personalise, response)?)?;
                None
            }
            State::Challenging(mut authentication) => {
                let part2 = challenged(&mut authentication, response)?;
                self.state = State::Answering(authentication);
                self.transmit(cmd::ADDITIONAL_FRAME, &part2);
                return Ok(());
            }
            State::Answering(authentication) => Some(authenticated(authentication, response)?),
            State::ChallengingIssuer(mut authentication, version, rest) => {
                let part2 = challenged(&mut authentication, response)?;
                self.state = State::AnsweringIssuer(authentication, version, rest);
                self.transmit(cmd::ADDITIONAL_FRAME, &part2);
                return Ok(());
            }
            State::AnsweringIssuer(authentication, version, rest) => {
                self.issuer_answered(authenticated(authentication, response), version, rest)?
            }
            State::Commanding { mut session, mode, cmd } => {
                let step = CardStep::Personalise;
                opened(&mut session, mode, step, response)
                    .map_err(|failure| refused_command(cmd, failure))?;
                Some(session)
            }
            State::ClosingSession => {
                plain(CardStep::Personalise, response)?;
                None
            }
            State::Committing(mut session) => {
                let settlement = settled_commit(&mut session, response);
                self.settle(settlement);
                return Ok(());
            }
            idle @ (State::Idle(_) | State::Settled) => {
                self.state = idle;
                return Ok(());
            }
        };
        self.state = State::Idle(session);
        Ok(())
    }

    /// The application was created now, or was there.
    fn claimed(&mut self, response: Result<&[u8], ExchangeError>) -> Result<(), CardFailure> {
        self.script = match plain(CardStep::Personalise, response) {
            Ok([]) => self.plan.fresh().map_err(CardFailure::Record)?.into(),
            Ok(_) => return Err(CardFailure::Malformed(CardStep::Personalise)),
            Err(CardFailure::Refused { status: StatusWord::DUPLICATE, .. }) => Plan::look().into(),
            Err(CardFailure::Refused {
                status: StatusWord::AUTHENTICATION | StatusWord::PERMISSION_DENIED,
                ..
            }) => return Err(CardFailure::CardLevelLocked),
            Err(failure) => return Err(refused_command(cmd::CREATE_APPLICATION, failure)),
        };
        Ok(())
    }

    fn looked(&mut self, look: Look, data: &[u8]) -> Result<(), CardFailure> {
        let seen = &mut self.seen;
        match look {
            Look::KeySettings => seen.key_settings = data.to_vec(),
            Look::KeyVersion(no) => {
                let &[version] = data else {
                    return Err(CardFailure::Malformed(CardStep::Personalise));
                };
                seen.versions[usize::from(no)] = version;
            }
            Look::FileIds => {
                seen.files = data.to_vec();
                for no in [FILE_LOG, FILE_PROFILE] {
                    if data.contains(&no) {
                        self.script.push_front(Step::Look(Look::FileSettings(no)));
                    }
                }
            }
            Look::FileSettings(FILE_LOG) => seen.log = Some(data.to_vec()),
            Look::FileSettings(_) => seen.profile = Some(data.to_vec()),
        }
        Ok(())
    }

    /// Everything was looked at: whose application is it, and how far did its issue come?
    fn decide(&mut self) -> Result<(), CardFailure> {
        let ours = [layout::KEY_SETTINGS, layout::KEY_SETTINGS_2];
        if !self.seen.key_settings.starts_with(&ours) {
            return Err(CardFailure::ForeignApplication("its key settings are not ours"));
        }
        let keys = self.plan.issuer_keys(self.seen.versions[0]);
        self.script.push_back(Step::LogInAsIssuer(keys));
        Ok(())
    }

    fn issuer_answered(
        &mut self,
        answered: Result<Session, CardFailure>,
        version: Option<KeyVersion>,
        rest: Vec<IssuerKey>,
    ) -> Result<Option<Session>, CardFailure> {
        let session = match answered {
            Ok(session) => session,
            Err(CardFailure::NotAuthentic) if !rest.is_empty() => {
                self.script.push_front(Step::LogInAsIssuer(rest));
                return Ok(None);
            }
            Err(CardFailure::NotAuthentic) => {
                return Err(CardFailure::ForeignApplication("its issuer key is not ours"));
            }
            Err(failure) => return Err(failure),
        };
        let records = self.seen.log.as_deref().map_or(Some(0), records_in);
        match (records, version) {
            (Some(0) | None, _) => {}
            (Some(_), Some(_)) => {
                self.script.push_back(Step::AlreadyIssued);
                return Ok(Some(session));
            }
            (Some(_), None) => {
                let why = "it has records under the key of a new application";
                return Err(CardFailure::ForeignApplication(why));
            }
        }
        let steps = self.plan.resume(&self.seen, version).map_err(CardFailure::Record)?;
        let why = "one of its keys has a version that is not held here";
        self.script.extend(steps.ok_or(CardFailure::ForeignApplication(why))?);
        Ok(Some(session))
    }

    /// Sends what comes next, deciding on the way.
    fn next_step(&mut self) {
        while let State::Idle(_) = self.state {
            let State::Idle(session) = mem::replace(&mut self.state, State::Settled) else {
                return;
            };
            let step = self.script.pop_front().expect("the script ends with its commit");
            if let Err(failure) = self.take(step, session) {
                self.settle(Settlement::Refused(failure));
            }
        }
    }

    fn take(&mut self, step: Step, session: Option<Session>) -> Result<(), CardFailure> {
        match (step, session) {
            (Step::Select(aid), _) => {
                self.state = State::Selecting;
                self.transmit(cmd::SELECT_APPLICATION, &aid);
            }
            (Step::Claim, _) => {
                let create = [layout::KEY_SETTINGS, layout::KEY_SETTINGS_2];
                self.state = State::Claiming;
                self.transmit(cmd::CREATE_APPLICATION, &[&layout::AID[..], &create].concat());
            }
            (Step::Look(look), _) => {
                self.state = State::Looking(look);
                match look {
                    Look::KeySettings => self.transmit(cmd::GET_KEY_SETTINGS, &[]),
                    Look::KeyVersion(no) => self.transmit(cmd::GET_KEY_VERSION, &[no]),
                    Look::FileIds => self.transmit(cmd::GET_FILE_IDS, &[]),
                    Look::FileSettings(no) => self.transmit(cmd::GET_FILE_SETTINGS, &[no]),
                }
            }
            (Step::Decide, session) => {
                self.decide()?;
                self.state = State::Idle(session);
            }
            (Step::LogInAsIssuer(mut keys), _) => {
                let IssuerKey { version, key, rnd_a } = keys.remove(0);
                let authentication = Authentication::new(key, rnd_a);
                self.state = State::ChallengingIssuer(authentication, version, keys);
                self.transmit(cmd::AUTHENTICATE_EV2_FIRST, &[layout::KEY_ISSUER, 0]);
            }
            (Step::LogIn { key_no, key, rnd_a }, _) => self.log_in(key_no, key, rnd_a),
            (Step::AlreadyIssued, _) => return Err(CardFailure::AlreadyIssued),
            (Step::Command { .. } | Step::Commit, None) => {
                return Err(CardFailure::Malformed(CardStep::Personalise));
            }
            (Step::Command { mode, cmd, header, data, last }, Some(session)) => {
                let sealed = session.seal_command(mode, cmd, &header, &data);
                self.state = if last {
                    State::ClosingSession
                } else {
                    State::Commanding { session, mode, cmd }
                };
                self.transmit(cmd, &sealed);
            }
            (Step::Commit, Some(session)) => {
                let mode = CommMode::Mac;
                let sealed = session.seal_command(mode, cmd::COMMIT_TRANSACTION, &[0x01], &[]);
                self.state = State::Committing(session);
                self.transmit(cmd::COMMIT_TRANSACTION, &sealed);
            }
        }
        Ok(())
    }

    fn log_in(&mut self, key_no: u8, key: Key, rnd_a: [u8; 16]) {
        self.state = State::Challenging(Authentication::new(key, rnd_a));
        self.transmit(cmd::AUTHENTICATE_EV2_FIRST, &[key_no, 0]);
    }

    fn transmit(&mut self, cmd: u8, data: &[u8]) {
        self.output = Some(CardOutput::Transmit(wrap(cmd, data)));
    }
}

/// A refusal that has a name of its own.
fn refused_command(cmd: u8, failure: CardFailure) -> CardFailure {
    match failure {
        CardFailure::Refused { status: StatusWord::OUT_OF_EEPROM, .. } => CardFailure::CardFull,
        CardFailure::Refused { status: StatusWord::INTEGRITY, .. } if cmd == cmd::CHANGE_KEY => {
            CardFailure::ForeignApplication("its debit or load key is not ours")
        }
        CardFailure::Link { .. }
        | CardFailure::NoApplication(_)
        | CardFailure::NotAuthentic
        | CardFailure::KeyVersionNotHeld(_)
        | CardFailure::AnswerNotAuthentic(_)
        | CardFailure::Malformed(_)
        | CardFailure::Refused { .. }
        | CardFailure::ValueLimit
        | CardFailure::ValueCeiling
        | CardFailure::NoRecord
        | CardFailure::Record(_)
        | CardFailure::Purse(_)
        | CardFailure::Counters(_)
        | CardFailure::AlreadyIssued
        | CardFailure::ForeignApplication(_)
        | CardFailure::CardLevelLocked
        | CardFailure::CardFull => failure,
    }
}
