//! Giving a card the current versions of its keys, under the issuer key (ADR-0007).
//!
//! Sans-IO. Select, log in as issuer, ask for the versions of debit and load key within the
//! session, change whichever is older, then the issuer key itself, which ends the session, and
//! prove that last one: at most thirteen exchanges, five when nothing is to be done.
//!
//! Invariants: each key changes at once with its version, so a card torn away at any exchange has
//! each key in one of two versions that the office holds, and the next presentation goes on where
//! this one ended; a key never goes back to an older version; what was read outside the session
//! decides nothing but which key is tried. The TMAC key is never changed: see `docs/keys.md`.

use alloc::vec::Vec;
use core::mem;

use model::CardId;

use crate::answers::{opened, plain, selected};
use crate::apdu::{cmd, wrap};
use crate::failure::{CardFailure, CardStep, ExchangeError};
use crate::keys::{CardKeys, Key, KeyError, KeyRole, KeyVersion, VersionedKey};
use crate::layout;
use crate::login::{KeyWanted, Login, LoginStep};
use crate::session::{CommMode, Session, change_key_data};

/// What the transaction wants done, or how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RekeyOutput {
    /// Send this APDU and hand the answer to `handle_response`.
    Transmit(Vec<u8>),
    /// Hand this version's key of this card, if it is held, to `handle_key`.
    NeedKey {
        /// Which key.
        role: KeyRole,
        /// The version that the card says it holds.
        version: KeyVersion,
    },
    /// No key of the card is older than the current version. These were, in the order of change,
    /// and had this version before.
    Done(Vec<(KeyRole, KeyVersion)>),
    /// Not finished. Keys changed so far stay changed; present the card again.
    Stopped(CardFailure),
}

/// The versions that the card is to have, with its keys.
#[derive(Debug, Clone)]
struct Targets {
    issuer: VersionedKey,
    debit: VersionedKey,
    load: VersionedKey,
}

/// The machine. See the module's documentation.
#[derive(Debug)]
pub struct RekeyTransaction {
    card: CardId,
    targets: Targets,
    /// For the proof of the new issuer key.
    rnd_a: [u8; 16],
    /// Changes that were sent: all of them happened, the last one perhaps.
    sent: Vec<(KeyRole, KeyVersion)>,
    state: State,
    output: Option<RekeyOutput>,
}

/// A session under the issuer key of this version.
#[derive(Debug)]
struct Office {
    session: Session,
    issuer: KeyVersion,
}

#[derive(Debug)]
enum State {
    Selecting(Login, Vec<u8>),
    LoggingIn(Login),
    NeedingKey(KeyWanted),
    Asking(Office, KeyRole),
    /// The key to be replaced: `ChangeKey` wants to know it.
    NeedingOld(Office, KeyRole, KeyVersion),
    Changing(Office, KeyRole),
    ChangingOwn,
    Proving(Login),
    Settled,
}

impl RekeyTransaction {
    /// For `card`, to the current versions of `keys`, with two times 16 random bytes.
    pub fn new(card: CardId, keys: &dyn CardKeys, rnd_a: [[u8; 16]; 2]) -> Result<Self, KeyError> {
        let current = |role| keys.current_key(role, &card);
        let targets = Targets {
            issuer: current(KeyRole::Issuer)?,
            debit: current(KeyRole::Debit)?,
            load: current(KeyRole::Load)?,
        };
        let (login, apdu) = Login::begin(KeyRole::Issuer, targets.issuer.clone(), rnd_a[0]);
        Ok(Self {
            card,
            targets,
            rnd_a: rnd_a[1],
            sent: Vec::new(),
            state: State::Selecting(login, apdu),
            output: Some(transmit(cmd::SELECT_APPLICATION, &layout::AID)),
        })
    }

    /// The card it works on.
    pub const fn uid(&self) -> CardId {
        self.card
    }

    /// The keys whose change was sent to the card, with the version before, in the order of change.
    /// Where it stopped, the last one has changed or not: only the card knows.
    pub fn sent(&self) -> &[(KeyRole, KeyVersion)] {
        &self.sent
    }

    /// The next thing to do; `None` while an answer is awaited.
    pub const fn poll(&mut self) -> Option<RekeyOutput> {
        self.output.take()
    }

    /// The card's answer to the APDU sent last, or why none came.
    pub fn handle_response(&mut self, response: Result<&[u8], ExchangeError>) {
        let next = self.advance(response);
        self.then(next);
    }

    /// The key that was asked for, or `None` when it is not held, and 16 fresh random bytes. A key
    /// that nobody asked for is dropped.
    pub fn handle_key(&mut self, key: Option<Key>, rnd_a: [u8; 16]) {
        let next = match mem::replace(&mut self.state, State::Settled) {
            State::NeedingKey(wanted) => wanted.provide(key, rnd_a).map(|(login, apdu)| {
                self.state = State::LoggingIn(login);
                Some(RekeyOutput::Transmit(apdu))
            }),
            State::NeedingOld(office, role, from) => match key {
                Some(old) => Ok(Some(self.change(office, role, from, &old))),
                None => Err(CardFailure::KeyVersionNotHeld(from)),
            },
            other @ (State::Selecting(..)
            | State::LoggingIn(_)
            | State::Asking(..)
            | State::Changing(..)
            | State::ChangingOwn
            | State::Proving(_)
            | State::Settled) => {
                self.state = other;
                return;
            }
        };
        self.then(next);
    }

    fn then(&mut self, next: Result<Option<RekeyOutput>, CardFailure>) {
        match next {
            Ok(None) => {}
            Ok(output) => self.output = output,
            Err(failure) => {
                self.state = State::Settled;
                self.output = Some(RekeyOutput::Stopped(failure));
            }
        }
    }

    /// One step. The state is `Settled` while it runs, so every early return ends the machine.
    fn advance(
        &mut self,
        response: Result<&[u8], ExchangeError>,
    ) -> Result<Option<RekeyOutput>, CardFailure> {
        const STEP: CardStep = CardStep::Personalise;
        let output = match mem::replace(&mut self.state, State::Settled) {
            State::Selecting(login, authenticate) => {
                selected(response)?;
                self.state = State::LoggingIn(login);
                RekeyOutput::Transmit(authenticate)
            }
            State::LoggingIn(login) => match login.handle_response(response)? {
                LoginStep::Transmit(login, apdu) => {
                    self.state = State::LoggingIn(login);
                    RekeyOutput::Transmit(apdu)
                }
                LoginStep::NeedKey(wanted) => {
                    self.state = State::NeedingKey(wanted);
                    RekeyOutput::NeedKey { role: wanted.role, version: wanted.version }
                }
                LoginStep::Done(session, issuer) => {
                    self.ask(Office { session, issuer }, KeyRole::Debit)
                }
            },
            State::Asking(mut office, role) => {
                let answer = opened(&mut office.session, CommMode::Mac, STEP, response)?;
                let &[version] = answer.as_slice() else {
                    return Err(CardFailure::Malformed(STEP));
                };
                self.found(office, role, KeyVersion(version))
            }
            State::Changing(mut office, role) => {
                let answer = opened(&mut office.session, CommMode::Full, STEP, response)?;
                if !answer.is_empty() {
                    return Err(CardFailure::Malformed(STEP));
                }
                self.after(office, role)
            }
            State::ChangingOwn => {
                // The session has ended, so this answer carries no MAC: the new key is proved.
                plain(STEP, response)?;
                let (login, apdu) =
                    Login::with_no_other(KeyRole::Issuer, self.targets.issuer.clone(), self.rnd_a);
                self.state = State::Proving(login);
                RekeyOutput::Transmit(apdu)
            }
            State::Proving(login) => match login.handle_response(response)? {
                LoginStep::Transmit(login, apdu) => {
                    self.state = State::Proving(login);
                    RekeyOutput::Transmit(apdu)
                }
                LoginStep::NeedKey(_) => return Err(CardFailure::NotAuthentic),
                LoginStep::Done(..) => RekeyOutput::Done(self.sent.clone()),
            },
            idle @ (State::NeedingKey(_) | State::NeedingOld(..) | State::Settled) => {
                self.state = idle;
                return Ok(None);
            }
        };
        Ok(Some(output))
    }

    fn ask(&mut self, office: Office, role: KeyRole) -> RekeyOutput {
        let sealed =
            office.session.seal_command(CommMode::Mac, cmd::GET_KEY_VERSION, &[number(role)], &[]);
        self.state = State::Asking(office, role);
        transmit(cmd::GET_KEY_VERSION, &sealed)
    }

    fn found(&mut self, office: Office, role: KeyRole, version: KeyVersion) -> RekeyOutput {
        if version >= self.target(role).version {
            return self.after(office, role);
        }
        self.state = State::NeedingOld(office, role, version);
        RekeyOutput::NeedKey { role, version }
    }

    fn change(
        &mut self,
        office: Office,
        role: KeyRole,
        from: KeyVersion,
        old: &Key,
    ) -> RekeyOutput {
        let target = self.target(role);
        let data = change_key_data(&target.key, target.version.0, Some(old));
        let sealed = seal_change(&office.session, role, &data);
        self.sent.push((role, from));
        self.state = State::Changing(office, role);
        transmit(cmd::CHANGE_KEY, &sealed)
    }

    /// What follows once `role`'s key is as it should be.
    fn after(&mut self, office: Office, role: KeyRole) -> RekeyOutput {
        if role == KeyRole::Debit {
            return self.ask(office, KeyRole::Load);
        }
        let target = &self.targets.issuer;
        if office.issuer >= target.version {
            return RekeyOutput::Done(self.sent.clone());
        }
        let data = change_key_data(&target.key, target.version.0, None);
        let sealed = seal_change(&office.session, KeyRole::Issuer, &data);
        self.sent.push((KeyRole::Issuer, office.issuer));
        self.state = State::ChangingOwn;
        transmit(cmd::CHANGE_KEY, &sealed)
    }

    const fn target(&self, role: KeyRole) -> &VersionedKey {
        match role {
            KeyRole::Debit => &self.targets.debit,
            KeyRole::Load => &self.targets.load,
            KeyRole::Issuer | KeyRole::Tmac => &self.targets.issuer,
        }
    }
}

fn seal_change(session: &Session, role: KeyRole, data: &[u8]) -> Vec<u8> {
    session.seal_command(CommMode::Full, cmd::CHANGE_KEY, &[number(role)], data)
}

fn number(role: KeyRole) -> u8 {
    role.number().expect("the Transaction MAC key is never changed")
}

fn transmit(cmd: u8, data: &[u8]) -> RekeyOutput {
    RekeyOutput::Transmit(wrap(cmd, data))
}
