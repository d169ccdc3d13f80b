//! A simulated depot server: the production intake and clearing over books in memory.
//!
//! `Books` is what is committed. Everything else is lost when the process dies.

use std::{collections::BTreeMap, convert::Infallible};

use card::{CardKeys, Issued, KeySet};
use clearing::{
    CardState, Cleared, ClockDay, ClockGap, Exception, ExceptionChange, ExceptionId, Known,
    KnownRecord, Overlay, Rules, TapRef, transaction,
};
use fleet_sync::{EpochMark, Intake, SigningKey, Verdict, VerifyingKey};
use ledger::{Outcome, Touched, Transfer};
use model::{CardId, Ctr, Epoch, ServiceDate, TapRecord, TapSeq, Timestamp, ValidatorId};
use wire::{Ack, ChainHash};

use super::scenario::PlantedBug;

/// When the process dies, in handling one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// After the batch is worked out and before it is committed.
    BeforeCommit,
    /// After the commit and before the ack has left.
    BeforeAck,
}

/// What is committed.
#[derive(Debug, Default)]
pub struct Books {
    /// Clearing's state of each card.
    pub cards: BTreeMap<CardId, CardState>,
    /// Every record the books know.
    pub records: BTreeMap<(CardId, Ctr), KnownRecord>,
    /// Every entry booked, with the chain's value after it.
    pub taps: BTreeMap<TapRef, (TapRecord, ChainHash)>,
    /// Balances and transfers.
    pub ledger: Touched,
    /// Work items that are open.
    pub open: BTreeMap<ExceptionId, Exception>,
    /// How many were ever opened.
    pub opened: u64,
    /// How many were resolved.
    pub resolved: u64,
    clocks: BTreeMap<ServiceDate, ClockDay>,
    marks: BTreeMap<(ValidatorId, Epoch), EpochMark>,
}

/// The depot server.
#[derive(Debug)]
pub struct SimDepot {
    /// What is committed.
    pub books: Books,
    /// What went wrong that never may: transfers refused, proofs that do not hold, incidents.
    pub findings: Vec<String>,
    /// Work items that resolved, by what.
    pub closed: Vec<(ExceptionId, &'static str)>,
    signing: SigningKey,
    validators: BTreeMap<ValidatorId, VerifyingKey>,
    keys: KeySet,
    rules: Rules,
    intakes: BTreeMap<ValidatorId, Intake>,
    bug: Option<PlantedBug>,
}

/// A batch worked out and not yet committed.
#[derive(Default)]
struct Staged {
    states: BTreeMap<CardId, CardState>,
    records: Vec<(CardId, KnownRecord)>,
    taps: Vec<(TapRecord, ChainHash)>,
    transfers: Vec<Transfer>,
    changes: Vec<ExceptionChange>,
    clocks: Vec<ClockGap>,
}

impl Known for Books {
    type Error = Infallible;

    fn record(&self, card: CardId, ctr: Ctr) -> Result<Option<KnownRecord>, Infallible> {
        Ok(self.records.get(&(card, ctr)).copied())
    }

    fn cleared(&self, tap: TapRef) -> Result<bool, Infallible> {
        Ok(self.taps.contains_key(&tap))
    }

    fn transactions(&self, card: CardId, ctr: Ctr) -> Result<Vec<TapRecord>, Infallible> {
        let of_card = self.taps.values().map(|(tap, _)| tap).filter(|tap| tap.card == Some(card));
        let of_ctr = |tap: &&TapRecord| transaction(tap).is_some_and(|t| t.after.ctr == ctr);
        Ok(of_card.filter(of_ctr).copied().collect())
    }
}

impl SimDepot {
    /// With empty books.
    pub fn new(
        signing: SigningKey,
        validators: BTreeMap<ValidatorId, VerifyingKey>,
        keys: KeySet,
        rules: Rules,
        bug: Option<PlantedBug>,
    ) -> Self {
        let (books, findings, closed) = (Books::default(), vec![], vec![]);
        let intakes = BTreeMap::new();
        Self { books, findings, closed, signing, validators, keys, rules, intakes, bug }
    }

    /// A card of ours was issued.
    pub fn register(&mut self, issued: &Issued, now: Timestamp) {
        let state = CardState::default();
        let Issued { card, record, .. } = *issued;
        let issue = clearing::Issue { card, record, purse: None, issuer: None };
        let cleared = clearing::register_issue(&state, &issue, now, &self.rules, &self.books);
        let mut staged = Staged::default();
        staged.absorb(issued.card, cleared.expect("an issue opens empty books"));
        self.commit(staged);
    }

    /// A validator has a new key: only that one is believed from here on.
    pub fn enrol(&mut self, validator: ValidatorId, key: VerifyingKey) {
        self.validators.insert(validator, key);
    }

    /// A batch from the broker. Returns the ack that leaves, if the process lives to send it.
    pub fn handle_taps(
        &mut self,
        now: Timestamp,
        from: ValidatorId,
        payload: &[u8],
        crash: Option<Crash>,
    ) -> Option<Vec<u8>> {
        let key = self.validators[&from];
        let batch = match fleet_sync::verify_batch(payload, from, &key) {
            Ok(batch) => batch,
            Err(error) => {
                self.findings.push(format!("batch of {from} refused: {error}"));
                return None;
            }
        };
        let epoch = batch.head.epoch;
        let books = &self.books;
        let intake = self.intakes.entry(from).or_insert_with(|| books.intake(from));
        let mut verdict = intake.handle_batch(&batch, None);
        if let Verdict::NeedsStoredHash { epoch, seq } = verdict {
            let at = TapRef { validator: from, epoch, seq };
            verdict = intake.handle_batch(&batch, books.taps.get(&at).map(|(_, hash)| *hash));
        }
        match verdict {
            Verdict::Accepted(accepted) => {
                let mut ack_before_commit = None;
                if self.bug == Some(PlantedBug::AckBeforeCommit) {
                    ack_before_commit = Some(self.promise(from, epoch, accepted.mark.through, now));
                }
                let entries = accepted.entries.into_iter().map(|entry| {
                    (entry.record.expect("simulated validators write what reads"), entry.hash)
                });
                let (staged, findings) = self.work_out(entries.collect(), now);
                self.findings.extend(findings);
                if crash == Some(Crash::BeforeCommit) {
                    self.die();
                    return ack_before_commit;
                }
                self.commit(staged);
                self.books.marks.insert((from, epoch), accepted.mark);
                let intake = self.intakes.get_mut(&from).expect("it judged the batch");
                intake.handle_committed();
            }
            Verdict::Known { .. } | Verdict::Gap { .. } => {}
            Verdict::NeedsStoredHash { .. } => {
                self.findings.push(format!("books of {from} lack an entry below its mark"));
            }
            Verdict::Incident(incident) => self.findings.push(format!("{from}: {incident}")),
        }
        if crash == Some(Crash::BeforeAck) {
            self.die();
            return None;
        }
        let intake = self.intakes.get_mut(&from).expect("it judged the batch");
        Some(fleet_sync::sign_ack(&intake.ack(epoch, now), &self.signing))
    }

    fn promise(&self, to: ValidatorId, epoch: Epoch, through: TapSeq, now: Timestamp) -> Vec<u8> {
        let missing = vec![];
        let ack = Ack { validator: to, epoch, acked_through: through, missing, depot_time: now };
        fleet_sync::sign_ack(&ack, &self.signing)
    }

    /// Clears the entries in order; changes nothing.
    fn work_out(
        &self,
        entries: Vec<(TapRecord, ChainHash)>,
        now: Timestamp,
    ) -> (Staged, Vec<String>) {
        let (mut staged, mut findings) = (Staged::default(), vec![]);
        let mut overlay = Overlay::new(&self.books);
        for (tap, hash) in entries {
            let at = format!("{} {}", tap.validator, tap.seq);
            staged.taps.push((tap, hash));
            let Some(card) = tap.card else { continue };
            if let Some((transaction, proof)) = tap.settled() {
                let key = self.keys.tmac_key(&card).expect("the depot holds the TMAC master");
                if !card::proof_holds(&key, &card, transaction, proof) {
                    findings.push(format!("{at}: the proof does not hold"));
                    continue;
                }
            }
            staged.clocks.extend(ClockGap::of(&tap));
            let state = staged.states.get(&card).or_else(|| self.books.cards.get(&card));
            let state = state.cloned().unwrap_or_default();
            match clearing::clear(&state, &tap, now, &self.rules, &overlay) {
                Ok(cleared) => {
                    overlay.absorb(card, Some(&tap), &cleared.records);
                    staged.absorb(card, cleared);
                }
                Err(error) => findings.push(format!("{at}: {error}")),
            }
        }
        (staged, findings)
    }

    fn commit(&mut self, staged: Staged) {
        for transfer in &staged.transfers {
            match ledger::apply(&mut self.books.ledger, transfer) {
                Ok(Outcome::Applied) => {}
                other => self.findings.push(format!("transfer {:?}: {other:?}", transfer.cause)),
            }
        }
        let books = &mut self.books;
        let mut changes = staged.changes;
        for gap in staged.clocks {
            let day = books.clocks.entry(gap.pair().day).or_default();
            let before = day.clone();
            day.learn(gap);
            changes.extend(before.changes(day, gap.wrote.at()));
        }
        books.cards.extend(staged.states);
        books.records.extend(staged.records.into_iter().map(|(c, k)| ((c, k.record.ctr), k)));
        books.taps.extend(staged.taps.into_iter().map(|(t, hash)| (TapRef::of(&t), (t, hash))));
        for change in changes {
            match change {
                ExceptionChange::Opened(item) => {
                    books.opened += 1;
                    books.open.insert(item.id, item);
                }
                ExceptionChange::Changed(item) => {
                    books.open.insert(item.id, item);
                }
                ExceptionChange::Resolved { id, reason, .. } => {
                    self.closed.push((id, reason));
                    books.resolved += u64::from(books.open.remove(&id).is_some());
                }
            }
        }
    }

    fn die(&mut self) {
        self.intakes.clear();
    }
}

impl Staged {
    fn absorb(&mut self, card: CardId, cleared: Cleared) {
        self.states.insert(card, cleared.state);
        self.records.extend(cleared.records.into_iter().map(|known| (card, known)));
        self.transfers.extend(cleared.transfers);
        self.changes.extend(cleared.exceptions);
    }
}

impl Books {
    fn intake(&self, validator: ValidatorId) -> Intake {
        let of = |((v, _), mark): (&(ValidatorId, Epoch), &EpochMark)| {
            (*v == validator).then_some(*mark)
        };
        Intake::resume(validator, self.marks.iter().filter_map(of))
    }
}
