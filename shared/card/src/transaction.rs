//! One value transaction of a card, from selecting it to knowing what became of it (ADR-0002):
//! a debit, a load or the retirement (`duty`).
//!
//! Sans-IO: `poll` says what to do next, `handle_response` takes the card's answer. Seven
//! exchanges: Select, Authenticate 1 + 2, `ReadRecords`, [Debit or Credit], `WriteRecord`, Commit.
//! A card whose newest record says that its purse is in another currency is asked in which:
//! [`ReadData`] of three letters of the profile after `ReadRecords` (ADR-0019).
//! A card whose newest record says that it carries products is asked for them, too: [`ReadData`,
//! [`GetValue`]] next, and [Debit of rides] before `WriteRecord` (ADR-0009).
//! An order for a product writes the products file, and credits its rides, before `WriteRecord`
//! (ADR-0024).
//! A card that has counters is asked for them when its caller wants them: [`ReadData`] last of the
//! reads, and [`WriteData`] before `WriteRecord` when they change (ADR-0013).
//! A card whose key has another version than the current one costs three more (`login`).
//!
//! Invariants: nothing is committed before `commit`; the outcome is `InDoubt` exactly when the
//! commit was sent and no authentic answer came back (ADR-0012); an answer without its right MAC is
//! never used.

mod reading;
mod selling;

use alloc::vec::Vec;
use core::{marker::PhantomData, mem};

use model::{
    CardCounters, CardId, CardProof, CardRecord, Ctr, Currency, ProductLoad, ProductsFound,
};

use crate::answers::{
    acknowledged, counter_and_proof, newest_record, opened, plain, selected, settled_commit,
};
use crate::apdu::{cmd, span, wrap};
use crate::duty::{Debit, Duty, Load, Retire, WriteError, checked_successor};
use crate::failure::{CardFailure, CardStep, ExchangeError};
use crate::keys::{Key, KeyRole, KeyVersion, VersionedKey};
use crate::layout::{
    self, COUNTERS_LEN, FILE_COUNTERS, FILE_LOG, FILE_MODE, FILE_RIDES, FILE_TMAC, RECORD_LEN,
};
use crate::login::{KeyWanted, Login, LoginStep};
use crate::session::{CommMode, Session};
use reading::More;

/// What the transaction wants done, or has found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CardOutput {
    /// Send this APDU and hand the answer to `handle_response`.
    Transmit(Vec<u8>),
    /// The card holds another version of this key than was tried: hand that version's key of this
    /// card, if it is held, to `handle_key`.
    NeedKey {
        /// Which key.
        role: KeyRole,
        /// The version that the card says it holds.
        version: KeyVersion,
    },
    /// The card proved its key and this is on it: `write`, `read_proof` or `release`.
    Found(CardFound),
    /// Value and record are on the card, uncommitted: make the intent durable, then `commit`.
    ReadyToCommit,
    /// It is over.
    Settled(Settlement),
}

/// What is on a card that proved its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CardFound {
    /// Its newest record.
    pub record: CardRecord,
    /// The currency of its purse, when the record says that the profile names it.
    pub purse: Option<Currency>,
    /// Its products, when the record says that it carries some.
    pub products: Option<ProductsFound>,
    /// Its counters, when it has some and they were wanted.
    pub counters: Option<CardCounters>,
}

/// How a transaction ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// The card committed. `ctr` is the card's own counter; the record's must be equal.
    Committed {
        /// The transaction counter after the commit.
        ctr: Ctr,
        /// The card's Transaction MAC.
        proof: CardProof,
    },
    /// Nothing changed on the card.
    Refused(CardFailure),
    /// The commit was sent; whether it happened, only the card knows.
    InDoubt,
    /// The proof of the card's last committed transaction, read back. Nothing changed.
    ProofRead {
        /// The counter that the proof belongs to.
        ctr: Ctr,
        /// The card's Transaction MAC.
        proof: CardProof,
    },
    /// Let go at the caller's wish. Nothing changed on the card.
    Released,
}

/// The machine. See the module's documentation.
#[derive(Debug)]
pub struct ValueTransaction<D> {
    uid: CardId,
    wants_counters: bool,
    state: State,
    output: Option<CardOutput>,
    duty: PhantomData<D>,
}

/// A tap.
pub type DebitTransaction = ValueTransaction<Debit>;
/// A top-up. Its proof can be read back with the debit key only: see [`DebitTransaction`].
pub type LoadTransaction = ValueTransaction<Load>;
/// The end of a card.
pub type RetireTransaction = ValueTransaction<Retire>;

#[derive(Debug)]
enum State {
    Selecting(Login, Vec<u8>),
    LoggingIn(Login),
    NeedingKey(KeyWanted),
    Reading(Session),
    /// Found so far; what is being read is still `None` in it.
    ReadingMore {
        session: Session,
        found: CardFound,
        what: More,
    },
    Found {
        session: Session,
        found: CardFound,
    },
    ReadingProof(Session),
    Moving {
        session: Session,
        next: Writes,
    },
    Selling {
        session: Session,
        next: Writes,
    },
    ChangingRides {
        session: Session,
        next: Writes,
    },
    Counting {
        session: Session,
        after: [u8; CardRecord::LEN],
    },
    Writing(Session),
    Ready(Session),
    Committing(Session),
    Settled,
}

/// What is written behind the value.
#[derive(Debug)]
struct Writes {
    load: Option<ProductLoad>,
    rides: u8,
    counters: Option<CardCounters>,
    after: [u8; CardRecord::LEN],
}

impl<D: Duty> ValueTransaction<D> {
    /// With the card that was presented, its current key for the duty (the debit key; for a load
    /// the load key) and 16 random bytes from the shell.
    pub fn new(uid: CardId, key: VersionedKey, rnd_a: [u8; 16]) -> Self {
        let select = wrap(cmd::SELECT_APPLICATION, &layout::AID);
        let (login, authenticate) = Login::begin(D::ROLE, key, rnd_a);
        Self {
            uid,
            wants_counters: false,
            state: State::Selecting(login, authenticate),
            output: Some(CardOutput::Transmit(select)),
            duty: PhantomData,
        }
    }

    /// Whether to read the counters, too, of a card that has some: only a tariff that caps fares
    /// needs them, and they cost an exchange.
    #[must_use]
    pub fn wanting_counters(self, wants_counters: bool) -> Self {
        Self { wants_counters, ..self }
    }

    /// The card it works on.
    pub const fn uid(&self) -> CardId {
        self.uid
    }

    /// The exchange whose answer is awaited, or the one that came last.
    pub const fn step(&self) -> CardStep {
        match self.state {
            State::Selecting(..) => CardStep::Select,
            State::LoggingIn(_) | State::NeedingKey(_) => CardStep::Authenticate,
            State::Reading(_) | State::Found { .. } => CardStep::Read,
            State::ReadingMore { ref what, .. } => match what {
                More::Purse => CardStep::ReadPurse,
                More::Products | More::Rides(_) => CardStep::Read,
                More::Counters => CardStep::ReadCounters,
            },
            State::ReadingProof(_) => CardStep::ReadProof,
            State::Moving { .. } => CardStep::Value,
            State::Selling { .. } => CardStep::Products,
            State::ChangingRides { .. } => CardStep::Rides,
            State::Counting { .. } => CardStep::Counters,
            State::Writing(_) | State::Ready(_) => CardStep::Write,
            State::Committing(_) | State::Settled => CardStep::Commit,
        }
    }

    /// The next thing to do; `None` while an answer or a decision is awaited.
    pub const fn poll(&mut self) -> Option<CardOutput> {
        self.output.take()
    }

    /// The card's answer to the APDU sent last, or why none came. Answers that nobody asked for
    /// are dropped.
    pub fn handle_response(&mut self, response: Result<&[u8], ExchangeError>) {
        match self.advance(response) {
            Ok(next) => self.output = next,
            Err(failure) => self.settle(Settlement::Refused(failure)),
        }
    }

    /// The key that was asked for by `NeedKey`, or `None` when it is not held, and 16 fresh random
    /// bytes. A key that nobody asked for is dropped.
    pub fn handle_key(&mut self, key: Option<Key>, rnd_a: [u8; 16]) {
        let State::NeedingKey(wanted) = self.state else { return };
        match wanted.provide(key, rnd_a) {
            Ok((login, apdu)) => {
                self.state = State::LoggingIn(login);
                self.output = Some(CardOutput::Transmit(apdu));
            }
            Err(failure) => self.settle(Settlement::Refused(failure)),
        }
    }

    /// Writes `after` behind the newest record, moving its amount and taking the rides that it says
    /// were used. On an error nothing was sent and the card is still found.
    ///
    /// # Panics
    /// When no card is found: a mistake of the caller.
    pub fn write(&mut self, after: &CardRecord) -> Result<(), WriteError> {
        self.write_with(after, None, None)
    }

    /// The same, with what the counters file is to hold from then on; `None` leaves it.
    ///
    /// # Panics
    /// When no card is found: a mistake of the caller.
    pub fn write_counting(
        &mut self,
        after: &CardRecord,
        counters: Option<CardCounters>,
    ) -> Result<(), WriteError> {
        self.write_with(after, counters, None)
    }

    fn write_with(
        &mut self,
        after: &CardRecord,
        counters: Option<CardCounters>,
        load: Option<ProductLoad>,
    ) -> Result<(), WriteError> {
        let State::Found { session, found } = mem::replace(&mut self.state, State::Settled) else {
            panic_out_of_turn("write", "Found");
        };
        let bytes = match checked_successor::<D>(&found, after, counters.as_ref(), load.as_ref()) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.state = State::Found { session, found };
                return Err(error);
            }
        };
        let rides = after.products.map_or(0, |used| used.rides);
        let next = Writes { load, rides, counters, after: bytes };
        if after.amount == 0 {
            self.sell(session, next);
        } else {
            let file = layout::value_file(after.layout);
            self.change_value(&session, D::MOVE, file, after.amount);
            self.state = State::Moving { session, next };
        }
        Ok(())
    }

    /// Commits. Call only after the intent is durable: from here on the rider may be charged.
    ///
    /// # Panics
    /// When the card is not ready: a mistake of the caller.
    pub fn commit(&mut self) {
        let State::Ready(session) = mem::replace(&mut self.state, State::Settled) else {
            panic_out_of_turn("commit", "ReadyToCommit");
        };
        let data = session.seal_command(CommMode::Mac, cmd::COMMIT_TRANSACTION, &[0x01], &[]);
        self.output = Some(CardOutput::Transmit(wrap(cmd::COMMIT_TRANSACTION, &data)));
        self.state = State::Committing(session);
    }

    /// Lets go of a found or ready card; what was written is never committed.
    ///
    /// # Panics
    /// When no card is found or ready: a mistake of the caller.
    pub fn release(&mut self) {
        if !matches!(self.state, State::Found { .. } | State::Ready(_)) {
            panic_out_of_turn("release", "Found or ReadyToCommit");
        }
        self.settle(Settlement::Released);
    }

    fn settle(&mut self, settlement: Settlement) {
        self.state = State::Settled;
        self.output = Some(CardOutput::Settled(settlement));
    }

    fn change_value(&mut self, session: &Session, cmd: u8, file: u8, amount: u32) {
        let data = session.seal_command(FILE_MODE, cmd, &[file], &amount.to_le_bytes());
        self.output = Some(CardOutput::Transmit(wrap(cmd, &data)));
    }

    /// Adds the rides of a product that is sold, or takes those that a ride uses: a record never
    /// says both.
    fn change_rides(&mut self, session: Session, next: Writes) {
        let (cmd, rides) = match next.load {
            Some(load) => (cmd::CREDIT, load.rides()),
            None => (cmd::DEBIT, next.rides.into()),
        };
        if rides == 0 {
            self.count(session, &next);
        } else {
            self.change_value(&session, cmd, FILE_RIDES, rides);
            self.state = State::ChangingRides { session, next };
        }
    }

    fn count(&mut self, session: Session, next: &Writes) {
        let Some(counters) = next.counters else { return self.append(session, &next.after) };
        let header = span(FILE_COUNTERS, 0, COUNTERS_LEN);
        self.write_data(&session, &header, &counters.to_bytes());
        self.state = State::Counting { session, after: next.after };
    }

    fn write_data(&mut self, session: &Session, header: &[u8], bytes: &[u8]) {
        let data = session.seal_command(FILE_MODE, cmd::WRITE_DATA, header, bytes);
        self.output = Some(CardOutput::Transmit(wrap(cmd::WRITE_DATA, &data)));
    }

    fn append(&mut self, session: Session, record: &[u8; CardRecord::LEN]) {
        let header = span(FILE_LOG, 0, RECORD_LEN);
        let data = session.seal_command(FILE_MODE, cmd::WRITE_RECORD, &header, record);
        self.output = Some(CardOutput::Transmit(wrap(cmd::WRITE_RECORD, &data)));
        self.state = State::Writing(session);
    }

    /// One step. The state is `Settled` while it runs, so every early return ends the machine.
    fn advance(
        &mut self,
        response: Result<&[u8], ExchangeError>,
    ) -> Result<Option<CardOutput>, CardFailure> {
        match mem::replace(&mut self.state, State::Settled) {
            State::Selecting(login, authenticate) => {
                selected(response)?;
                self.state = State::LoggingIn(login);
                Ok(Some(CardOutput::Transmit(authenticate)))
            }
            State::LoggingIn(login) => Ok(Some(self.log_in(login.handle_response(response)?))),
            State::Reading(mut session) => {
                let record = newest_record(&mut session, response)?;
                let found = CardFound { record, purse: None, products: None, counters: None };
                Ok(Some(self.read_purse(session, found)))
            }
            State::ReadingMore { session, found, what } => {
                self.has_read(session, found, what, response).map(Some)
            }
            State::ReadingProof(mut session) => {
                let data = opened(&mut session, FILE_MODE, CardStep::ReadProof, response)?;
                let (ctr, proof) =
                    counter_and_proof(&data).ok_or(CardFailure::Malformed(CardStep::ReadProof))?;
                Ok(Some(CardOutput::Settled(Settlement::ProofRead { ctr, proof })))
            }
            State::Moving { mut session, next } => {
                acknowledged(&mut session, CardStep::Value, response).map_err(value_limit::<D>)?;
                self.sell(session, next);
                Ok(self.output.take())
            }
            State::Selling { mut session, next } => {
                acknowledged(&mut session, CardStep::Products, response)?;
                self.change_rides(session, next);
                Ok(self.output.take())
            }
            State::ChangingRides { mut session, next } => {
                acknowledged(&mut session, CardStep::Rides, response)?;
                self.count(session, &next);
                Ok(self.output.take())
            }
            State::Counting { mut session, after } => {
                acknowledged(&mut session, CardStep::Counters, response)?;
                self.append(session, &after);
                Ok(self.output.take())
            }
            State::Writing(mut session) => {
                acknowledged(&mut session, CardStep::Write, response)?;
                self.state = State::Ready(session);
                Ok(Some(CardOutput::ReadyToCommit))
            }
            State::Committing(mut session) => {
                let settlement = settled_commit(&mut session, response);
                Ok(Some(CardOutput::Settled(settlement)))
            }
            State::NeedingKey(_) if response.is_err() => {
                plain(CardStep::Authenticate, response).map(|_| None)
            }
            idle @ (State::NeedingKey(_)
            | State::Found { .. }
            | State::Ready(_)
            | State::Settled) => {
                self.state = idle;
                Ok(self.output.take())
            }
        }
    }

    fn log_in(&mut self, step: LoginStep) -> CardOutput {
        match step {
            LoginStep::Transmit(login, apdu) => {
                self.state = State::LoggingIn(login);
                CardOutput::Transmit(apdu)
            }
            LoginStep::NeedKey(wanted) => {
                self.state = State::NeedingKey(wanted);
                CardOutput::NeedKey { role: wanted.role, version: wanted.version }
            }
            LoginStep::Done(session, _) => {
                let header = span(FILE_LOG, 0, 1);
                let data = session.seal_command(FILE_MODE, cmd::READ_RECORDS, &header, &[]);
                self.state = State::Reading(session);
                transmit(cmd::READ_RECORDS, &data)
            }
        }
    }
}

impl DebitTransaction {
    /// Reads back the proof of the card's last transaction instead of writing.
    ///
    /// # Panics
    /// When no card is found: a mistake of the caller.
    pub fn read_proof(&mut self) {
        let State::Found { session, .. } = mem::replace(&mut self.state, State::Settled) else {
            panic_out_of_turn("read_proof", "Found");
        };
        let data = session.seal_command(FILE_MODE, cmd::READ_DATA, &span(FILE_TMAC, 0, 12), &[]);
        self.output = Some(CardOutput::Transmit(wrap(cmd::READ_DATA, &data)));
        self.state = State::ReadingProof(session);
    }
}

/// `commit` before `ReadyToCommit` and the like would break a promise about money: stop.
#[expect(clippy::panic, reason = "a broken invariant of our own stops the process (style 7.1)")]
fn panic_out_of_turn(call: &str, state: &str) -> ! {
    panic!("{call} is allowed only in state {state}");
}

fn transmit(cmd: u8, data: &[u8]) -> CardOutput {
    CardOutput::Transmit(wrap(cmd, data))
}

/// Which limit of the value file it was that the card refused by.
fn value_limit<D: Duty>(failure: CardFailure) -> CardFailure {
    if failure == CardFailure::ValueLimit && D::MOVE == cmd::CREDIT {
        CardFailure::ValueCeiling
    } else {
        failure
    }
}
