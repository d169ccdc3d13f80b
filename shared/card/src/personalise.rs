//! Issuing: from a blank card to one with keys, files, opening value and Issue record.
//!
//! Sans-IO like the debit, and on the same real commands, so that it runs against a card in a
//! reader as well as against the virtual card. The TMAC file is created after the profile is
//! written and the opening value is credited under the final load key, so that the very first
//! record already has a proof.

use alloc::{collections::VecDeque, vec, vec::Vec};
use core::mem;

use model::{
    CardId, CardProof, CardRecord, Ctr, LoadSeq, PlaceIx, RecordError, RecordKind, RiderClass,
    TariffVersion, ValidUntil, ValidatorId,
};

use crate::apdu::{cmd, span, wrap};
use crate::failure::{CardFailure, CardStep, ExchangeError};
use crate::keys::{CardKeys, Key, KeyError, KeyRole, VersionedKey};
use crate::layout::{self, FILE_LOG, FILE_MODE, FILE_PROFILE, FILE_TMAC, FILE_VALUE, RECORD_LEN};
use crate::session::{Authentication, CommMode, Session, change_key_data};
use crate::transaction::{
    CardOutput, Settlement, authenticated, challenged, counter_and_proof, opened, selected,
};

/// What a new card starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// Who issues it.
    pub issuer: u16,
    /// ISO 4217 code of its stored value.
    pub currency: [u8; 3],
    /// Rider category, 0..=15.
    pub class: RiderClass,
    /// End of validity.
    pub valid_until: ValidUntil,
    /// Opening value, minor units, below 2^24.
    pub balance: u32,
    /// How far the value may fall below zero, minor units, below 2^24.
    pub negative_limit: u32,
    /// Deposit paid for the card, minor units.
    pub deposit: u32,
    /// When, seconds since 1970.
    pub at_s: u32,
    /// The tariff in force.
    pub tariff: TariffVersion,
}

impl Default for Opening {
    fn default() -> Self {
        Self {
            issuer: 1,
            currency: *b"EUR",
            class: RiderClass(0),
            valid_until: ValidUntil::Always,
            balance: 0,
            negative_limit: 0,
            deposit: 0,
            at_s: 0,
            tariff: TariffVersion(0),
        }
    }
}

/// A card that was issued: what the depot must book and remember.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Issued {
    /// The card.
    pub card: CardId,
    /// Its opening record.
    pub record: CardRecord,
    /// The card's proof of it; see `issue_proof_holds`.
    pub proof: CardProof,
}

/// Why no card can be issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// The keystore has not all keys of a card.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The opening cannot be written as a record.
    #[error(transparent)]
    Opening(#[from] RecordError),
    /// The card did not do it.
    #[error(transparent)]
    Card(#[from] CardFailure),
}

/// The machine: `poll` yields `Transmit` and in the end `Settled`: `Committed` when issued.
#[derive(Debug)]
pub struct IssueTransaction {
    card: CardId,
    record: CardRecord,
    script: VecDeque<Step>,
    state: State,
    output: Option<CardOutput>,
}

#[derive(Debug)]
enum Step {
    Select([u8; 3]),
    Authenticate {
        key_no: u8,
        key: Key,
        rnd_a: [u8; 16],
    },
    /// A command of which nothing but success is expected. The master key's own change ends the
    /// session without a MAC: `last`.
    Command {
        mode: CommMode,
        cmd: u8,
        header: Vec<u8>,
        data: Vec<u8>,
        last: bool,
    },
    Commit,
}

#[derive(Debug)]
enum State {
    Idle(Option<Session>),
    Selecting,
    Challenging(Authentication),
    Answering(Authentication),
    Commanding { session: Option<Session>, mode: CommMode },
    ClosingSession,
    Committing(Session),
    Settled,
}

impl IssueTransaction {
    /// With the card's keys, its opening and two times 16 random bytes from the shell.
    pub fn new(
        card: CardId,
        keys: &dyn CardKeys,
        opening: &Opening,
        rnd_a: [[u8; 16]; 2],
    ) -> Result<Self, IssueError> {
        let mut this = Self {
            card,
            record: opening_record(opening),
            script: script(card, keys, opening, rnd_a)?.into(),
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
        if let Err(failure) = self.advance(response) {
            self.settle(Settlement::Refused(failure));
        }
    }

    /// The issued card, once settled as `Committed` with `proof`.
    pub const fn issued(&self, proof: CardProof) -> Issued {
        Issued { card: self.card, record: self.record, proof }
    }

    fn settle(&mut self, settlement: Settlement) {
        self.state = State::Settled;
        self.output = Some(CardOutput::Settled(settlement));
    }

    fn advance(&mut self, response: Result<&[u8], ExchangeError>) -> Result<(), CardFailure> {
        match mem::replace(&mut self.state, State::Settled) {
            State::Selecting => {
                selected(response)?;
                self.state = State::Idle(None);
            }
            State::Challenging(mut authentication) => {
                let part2 = challenged(&mut authentication, response)?;
                self.state = State::Answering(authentication);
                self.transmit(cmd::ADDITIONAL_FRAME, &part2);
                return Ok(());
            }
            State::Answering(authentication) => {
                self.state = State::Idle(Some(authenticated(authentication, response)?));
            }
            State::Commanding { session: Some(mut session), mode } => {
                opened(&mut session, mode, CardStep::Personalise, response)?;
                self.state = State::Idle(Some(session));
            }
            State::Commanding { session: None, .. } | State::ClosingSession => {
                // Outside a session an answer is only a status, which `opened` checks.
                let mut none = Session::from_parts(Key::ZERO, Key::ZERO, [0; 4], 0);
                opened(&mut none, CommMode::Plain, CardStep::Personalise, response)?;
                self.state = State::Idle(None);
            }
            State::Committing(mut session) => {
                let step = CardStep::Commit;
                let settlement = match opened(&mut session, CommMode::Mac, step, response) {
                    Ok(data) => {
                        counter_and_proof(&data).map_or(Settlement::InDoubt, |(ctr, proof)| {
                            Settlement::Committed { ctr, proof }
                        })
                    }
                    Err(CardFailure::Refused { status, .. }) if status.is_card_error() => {
                        Settlement::Refused(CardFailure::Refused { step, status })
                    }
                    Err(_) => Settlement::InDoubt,
                };
                self.settle(settlement);
                return Ok(());
            }
            idle @ (State::Idle(_) | State::Settled) => {
                self.state = idle;
                return Ok(());
            }
        }
        self.next_step();
        Ok(())
    }

    fn next_step(&mut self) {
        let State::Idle(session) = mem::replace(&mut self.state, State::Settled) else { return };
        let step = self.script.pop_front().expect("the script ends with its commit");
        match (step, session) {
            (Step::Select(aid), _) => {
                self.state = State::Selecting;
                self.transmit(cmd::SELECT_APPLICATION, &aid);
            }
            (Step::Authenticate { key_no, key, rnd_a }, _) => {
                self.state = State::Challenging(Authentication::new(key, rnd_a));
                self.transmit(cmd::AUTHENTICATE_EV2_FIRST, &[key_no, 0]);
            }
            (Step::Command { cmd, header, data, .. }, None) => {
                self.state = State::Commanding { session: None, mode: CommMode::Plain };
                self.transmit(cmd, &[header, data].concat());
            }
            (Step::Command { mode, cmd, header, data, last }, Some(session)) => {
                let sealed = session.seal_command(mode, cmd, &header, &data);
                self.state = if last {
                    State::ClosingSession
                } else {
                    State::Commanding { session: Some(session), mode }
                };
                self.transmit(cmd, &sealed);
            }
            (Step::Commit, session) => {
                let session = session.expect("the script authenticates before it commits");
                let mode = CommMode::Mac;
                let sealed = session.seal_command(mode, cmd::COMMIT_TRANSACTION, &[0x01], &[]);
                self.state = State::Committing(session);
                self.transmit(cmd::COMMIT_TRANSACTION, &sealed);
            }
        }
    }

    fn transmit(&mut self, cmd: u8, data: &[u8]) {
        self.output = Some(CardOutput::Transmit(wrap(cmd, data)));
    }
}

fn opening_record(opening: &Opening) -> CardRecord {
    CardRecord {
        kind: RecordKind::Issue,
        ctr: Ctr(1),
        balance: i32::try_from(opening.balance).unwrap_or(i32::MAX),
        amount: opening.balance,
        at_s: opening.at_s,
        validator: ValidatorId::DEPOT,
        place: PlaceIx::NONE,
        load_seq: LoadSeq(0),
        tariff: opening.tariff,
        valid_until: opening.valid_until,
        class: opening.class,
        run: None,
    }
}

fn profile(opening: &Opening) -> layout::Profile {
    layout::Profile {
        issuer: opening.issuer,
        class: opening.class,
        currency: opening.currency,
        valid_until: opening.valid_until,
        issued_at_s: opening.at_s,
        deposit: opening.deposit,
        negative_limit: opening.negative_limit,
    }
}

fn script(
    card: CardId,
    keys: &dyn CardKeys,
    opening: &Opening,
    rnd_a: [[u8; 16]; 2],
) -> Result<Vec<Step>, IssueError> {
    let current = |role| keys.current_key(role, &card);
    let (issuer, load) = (current(KeyRole::Issuer)?, current(KeyRole::Load)?);
    let create = [layout::KEY_SETTINGS, layout::KEY_SETTINGS_2];
    let mut steps = vec![
        Step::Select([0; 3]),
        command(CommMode::Plain, cmd::CREATE_APPLICATION, &[&layout::AID, &create], &[]),
        Step::Select(layout::AID),
        Step::Authenticate { key_no: layout::KEY_ISSUER, key: Key::ZERO, rnd_a: rnd_a[0] },
    ];
    steps.extend(create_files(opening, &current(KeyRole::Tmac)?));
    let debit = current(KeyRole::Debit)?;
    for (key_no, new) in [(layout::KEY_DEBIT, &debit), (layout::KEY_LOAD, &load)] {
        let data = change_key_data(&new.key, new.version.0, Some(&Key::ZERO));
        steps.push(command(CommMode::Full, cmd::CHANGE_KEY, &[&[key_no]], &data));
    }
    steps.push(Step::Command {
        mode: CommMode::Full,
        cmd: cmd::CHANGE_KEY,
        header: vec![layout::KEY_ISSUER],
        data: change_key_data(&issuer.key, issuer.version.0, None).to_vec(),
        last: true,
    });
    steps.push(Step::Authenticate { key_no: layout::KEY_LOAD, key: load.key, rnd_a: rnd_a[1] });
    if opening.balance > 0 {
        let amount = opening.balance.to_le_bytes();
        steps.push(command(FILE_MODE, cmd::CREDIT, &[&[FILE_VALUE]], &amount));
    }
    let record = opening_record(opening).to_bytes()?;
    let header = span(FILE_LOG, 0, RECORD_LEN);
    steps.push(command(FILE_MODE, cmd::WRITE_RECORD, &[&header], &record));
    steps.push(Step::Commit);
    Ok(steps)
}

fn create_files(opening: &Opening, tmac: &VersionedKey) -> Vec<Step> {
    const MAC: u8 = 0x01;
    let lower = -i64::from(opening.negative_limit);
    let lower = i32::try_from(lower).unwrap_or(i32::MIN).to_le_bytes();
    let profile_len = span(0, 0, RECORD_LEN);
    let record_sizes = span(0, RECORD_LEN, layout::LOG_RECORDS + 1);
    let create = |cmd, parts: &[&[u8]]| command(CommMode::Mac, cmd, parts, &[]);
    vec![
        create(
            cmd::CREATE_STD_DATA_FILE,
            &[&[FILE_PROFILE, MAC], &layout::RIGHTS_PROFILE, &profile_len[4..]],
        ),
        command(
            FILE_MODE,
            cmd::WRITE_DATA,
            &[&span(FILE_PROFILE, 0, RECORD_LEN)],
            &profile(opening).to_bytes(),
        ),
        create(
            cmd::CREATE_VALUE_FILE,
            &[
                &[FILE_VALUE, MAC],
                &layout::RIGHTS_VALUE,
                &lower,
                &i32::MAX.to_le_bytes(),
                &[0; 4],
                &[0],
            ],
        ),
        create(
            cmd::CREATE_CYCLIC_RECORD_FILE,
            &[&[FILE_LOG, MAC], &layout::RIGHTS_LOG, &record_sizes[1..]],
        ),
        command(
            CommMode::Full,
            cmd::CREATE_TRANSACTION_MAC_FILE,
            &[&[FILE_TMAC, MAC], &layout::RIGHTS_TMAC, &[0x02]],
            &[&tmac.key.0[..], &[tmac.version.0]].concat(),
        ),
    ]
}

fn command(mode: CommMode, cmd: u8, header: &[&[u8]], data: &[u8]) -> Step {
    Step::Command { mode, cmd, header: header.concat(), data: data.to_vec(), last: false }
}
