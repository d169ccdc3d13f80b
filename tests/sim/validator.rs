//! A simulated validator: the production cores over a simulated disk, without threads.

use std::time::Duration;

use card::{ExchangeError, VersionedKey, VirtualCard};
use fleet_sync::{Lane, Link, Output as Send, SigningKey, Uplink, UplinkConfig, VerifyingKey};
use model::{CardId, Companions, Epoch, Refusal, TapSeq, Timestamp, ValidatorId};
use tap_log::{InDoubtTap, TapLog, Tree, entry_key, entry_range};
use validation::{Doubt, Hotlist, Output, Passage, Presented, TapMachine, ValidatorContext};

use super::{blocking::Edition, dice::Dice, disk::Disk, scenario::PlantedBug};

/// What goes wrong in one presentation.
#[derive(Debug, Clone, Copy, Default)]
pub struct TapPlan {
    /// The card leaves.
    pub tear: Option<Tear>,
    /// The power goes at this step of the tap.
    pub power_cut: Option<u32>,
    /// The power goes together with the card, before anything more is written; the disk keeps
    /// what was synced and, of the rest, everything or nothing.
    pub dark_with_tear: Option<Unsynced>,
    /// The disk answers only when nothing else is left to do, as a slow one does.
    pub slow_disk: bool,
}

/// Where a card leaves the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tear {
    /// At which exchange of the presentation, counted from 0.
    pub at: u32,
    /// How far that exchange gets.
    pub reach: Reach,
}

/// How far a torn exchange gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The command does not reach the card.
    Unheard,
    /// The card acts, and nothing of its answer arrives.
    Unanswered,
    /// The card acts, and only so many bytes of its answer arrive.
    Bytes(usize),
}

/// What becomes of writes that no sync has covered when the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsynced {
    /// They happened to reach the disk.
    Kept,
    /// They are gone.
    Lost,
}

/// What a reader finds in its field. Most are virtual cards; attackers bring their own.
pub trait Medium {
    /// The number it shows.
    fn uid(&self) -> CardId;
    /// Its answer; `None` when none ever comes.
    fn answer(&mut self, apdu: &[u8]) -> Option<Vec<u8>>;
    /// The field is gone.
    fn power_off(&mut self);
}

impl Medium for VirtualCard {
    fn uid(&self) -> CardId {
        self.uid()
    }

    fn answer(&mut self, apdu: &[u8]) -> Option<Vec<u8>> {
        Some(self.handle_apdu(apdu))
    }

    fn power_off(&mut self) {
        self.power_off();
    }
}

/// One exchange, as the card saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange {
    /// The card's command code.
    pub command: u8,
    /// Bytes of its whole answer; 0 when it did not hear the command.
    pub answer: usize,
}

/// How one presentation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TapEnd {
    /// The rider was told.
    Shown(Box<Passage>),
    /// The power went; the rider saw nothing, or what was shown before it went.
    Dark(Option<Box<Passage>>),
}

/// One validator.
#[derive(Debug)]
pub struct SimValidator {
    /// Who.
    pub id: ValidatorId,
    /// Whether its link to the broker is up.
    pub linked: bool,
    /// Green lights whose entry a power cut would have lost: must stay empty.
    pub unsafe_greens: Vec<TapSeq>,
    /// The exchanges of the last presentation.
    pub exchanges: Vec<Exchange>,
    /// The hotlist by which it refuses cards, on its disk; 0 before the first.
    pub hotlist: u64,
    context: ValidatorContext,
    signing: SigningKey,
    depot_key: VerifyingKey,
    disk: Disk,
    running: Option<Running>,
    bug: Option<PlantedBug>,
}

#[derive(Debug)]
struct Running {
    machine: TapMachine,
    log: TapLog,
    uplink: Uplink,
}

impl SimValidator {
    /// Off.
    pub fn new(
        context: ValidatorContext,
        signing: SigningKey,
        depot_key: VerifyingKey,
        bug: Option<PlantedBug>,
    ) -> Self {
        let (linked, unsafe_greens, exchanges) = (true, vec![], vec![]);
        let (disk, running) = (Disk::default(), None);
        Self {
            id: context.id,
            linked,
            unsafe_greens,
            exchanges,
            hotlist: 0,
            context,
            signing,
            depot_key,
            disk,
            running,
            bug,
        }
    }

    /// The key that verifies its batches.
    pub fn public_key(&self) -> VerifyingKey {
        self.signing.verifying_key()
    }

    /// Whether it has power.
    pub const fn is_on(&self) -> bool {
        self.running.is_some()
    }

    /// Starts from what the disk holds.
    pub fn boot(&mut self, now: Timestamp) {
        let fresh = Epoch(u32::try_from(now.secs()).expect("the simulation ends before 2106"));
        let scan = self.disk.scan();
        let (mut log, report) = TapLog::recover(self.id, self.disk.guard(), fresh, scan)
            .expect("the simulated disk holds this validator's log");
        assert!(report.damaged.is_empty(), "the simulated disk damages nothing: {report:?}");
        self.disk.write_guard(report.guard);
        self.disk.apply(report.ops);
        self.disk.sync();
        if let Some(guard) = log.lease_due() {
            self.disk.write_guard(guard);
            log.handle_leased(guard);
        }
        let doubts = log.in_doubt().iter().filter_map(|tap| {
            let InDoubtTap { card, seq, tapped_at, clock, transaction, order } = *tap;
            Some((
                card?,
                Doubt {
                    seq,
                    tapped_at,
                    clock,
                    transaction,
                    order,
                    settled: false,
                    again_within: None,
                },
            ))
        });
        let unshown = report.unshown.as_ref().and_then(Doubt::unshown);
        let doubts = doubts.chain(unshown);
        let machine = TapMachine::new(self.context.clone(), doubts.collect::<Vec<_>>());
        let lanes = log.lives().map(|life| Lane {
            epoch: life.epoch,
            pruned_through: life.pruned_through,
            acked: life.acked,
            acked_at: life.acked_at,
            head: life.head,
        });
        let mut uplink = Uplink::resume(UplinkConfig::default(), lanes);
        if self.linked {
            uplink.handle_link(now, Link::Up { session_present: false });
        }
        self.running = Some(Running { machine, log, uplink });
    }

    /// The power goes.
    pub fn power_cut(&mut self, dice: &mut Dice) {
        self.running = None;
        self.disk.power_cut(dice);
    }

    /// The power goes, and what was not synced is kept or lost whole.
    pub fn power_cut_with(&mut self, unsynced: Unsynced) {
        self.running = None;
        self.disk.power_cut_with(unsynced == Unsynced::Kept);
    }

    /// The link comes or goes.
    pub fn set_link(&mut self, now: Timestamp, up: bool, session_present: bool) {
        self.linked = up;
        if let Some(running) = &mut self.running {
            let link = if up { Link::Up { session_present } } else { Link::Down };
            running.uplink.handle_link(now, link);
        }
    }

    /// A hotlist has arrived, between two taps: by a delta when there is one from what is held.
    pub fn handle_hotlist(&mut self, edition: &Edition) -> Result<(), String> {
        let is_newer = edition.version > self.hotlist;
        if !is_newer && self.bug != Some(PlantedBug::ListPlayedBack) {
            return Ok(());
        }
        let delta = edition.deltas.iter().find(|(from, _)| *from == self.hotlist);
        let whole = || Hotlist::parse(edition.content.clone());
        let list = match delta {
            Some((_, delta)) => self.context.hotlist.apply(delta),
            None => whole(),
        };
        let list = list.map_err(|error| format!("hotlist {}: {error}", edition.version))?;
        if list.content() != edition.content {
            return Err(format!("a delta to hotlist {} leads elsewhere", edition.version));
        }
        (self.hotlist, self.context.hotlist) = (edition.version, list);
        self.context.hotlist_version = Some(edition.version);
        if let Some(running) = &mut self.running {
            running.machine.replace_context(self.context.clone());
        }
        Ok(())
    }

    /// These riders are to ride on the next card, where the validator has power.
    pub fn choose(&mut self, now: Timestamp, riders: Companions) {
        if let Some(running) = &mut self.running {
            running.machine.arm(now, riders).expect("a bus of the city takes them");
        }
    }

    /// One presentation of a card, with whatever goes wrong in it.
    pub fn tap(
        &mut self,
        now: Timestamp,
        card: &mut dyn Medium,
        key: &VersionedKey,
        plan: TapPlan,
        dice: &mut Dice,
    ) -> TapEnd {
        let mut field = Field { card, tear: plan.tear, exchanges: vec![], gone: false };
        let mut shown = None;
        let mut step = 0;
        let mut unsynced_intent = None;
        let present = |field: &Field<'_>, dice: &mut Dice| Presented::Card {
            card: field.uid(),
            key: key.clone(),
            rnd_a: dice.bytes16(),
            order: None,
        };
        let first = present(&field, dice);
        self.on().machine.handle_presented(now, first);
        loop {
            let Some(output) = self.on().machine.poll() else {
                let Some(seq) = unsynced_intent.take() else { break };
                self.disk.sync();
                self.on().machine.handle_intent_durable(seq);
                continue;
            };
            step += 1;
            if plan.power_cut == Some(step) {
                field.card.power_off();
                self.exchanges = field.exchanges;
                self.power_cut(dice);
                return TapEnd::Dark(shown);
            }
            match output {
                Output::Show(passage) => {
                    self.check_green(&passage);
                    shown = Some(Box::new(passage));
                }
                Output::PresentAgain => {
                    let again = present(&field, dice);
                    field.card.power_off();
                    self.on().machine.handle_presented(now, again);
                }
                Output::Done => break,
                Output::Companions(_) => {}
                Output::LogIntent { draft, transaction } if plan.slow_disk => {
                    let log = &mut self.on().log;
                    let (seq, ops) = log.intent(draft, transaction).expect("one tap at a time");
                    self.disk.apply(ops);
                    unsynced_intent = Some(seq);
                }
                other @ (Output::Transmit(_)
                | Output::NeedKey { .. }
                | Output::LogIntent { .. }
                | Output::LogOutcome { .. }
                | Output::LogResolution { .. }
                | Output::Late(_)) => self.act(other, &mut field),
            }
            if let Some(unsynced) = plan.dark_with_tear.filter(|_| field.gone) {
                self.exchanges = field.exchanges;
                self.power_cut_with(unsynced);
                return TapEnd::Dark(shown);
            }
        }
        field.card.power_off();
        self.exchanges = field.exchanges;
        TapEnd::Shown(shown.expect("every tap ends with something shown"))
    }

    fn act(&mut self, output: Output, field: &mut Field<'_>) {
        let bug = self.bug;
        let running = self.running.as_mut().expect("a tap needs power");
        let disk = &mut self.disk;
        match output {
            Output::Transmit(apdu) => {
                let answer = field.exchange(&apdu);
                // Cards of this world are where their riders are.
                let took = Duration::ZERO;
                running.machine.handle_response(answer.as_deref().map_err(Clone::clone), took);
            }
            // Every card of this world has its keys from one version.
            Output::NeedKey { .. } => running.machine.handle_key(None, [0; 16]),
            Output::Late(late) => unreachable!("no card is slow: {late:?}"),
            Output::LogIntent { draft, transaction } => {
                let (seq, ops) = running.log.intent(draft, transaction).expect("one tap at a time");
                disk.apply(ops);
                if bug != Some(PlantedBug::CommitBeforeIntent) {
                    disk.sync();
                }
                running.machine.handle_intent_durable(seq);
            }
            Output::LogOutcome { seq, draft, event } => {
                let (seq, ops) = match seq {
                    Some(seq) => (seq, running.log.outcome(seq, 250, event).expect("it is open")),
                    None => running.log.record(draft, 250, event).expect("it needs no intent"),
                };
                disk.apply(ops);
                if bug != Some(PlantedBug::ShowBeforeSync) {
                    disk.sync();
                }
                running.uplink.handle_appended(running.log.epoch(), seq);
                running.machine.handle_outcome_durable();
            }
            Output::LogResolution { draft, event } => {
                let (seq, ops) = running.log.record(draft, 0, event).expect("it needs no intent");
                disk.apply(ops);
                running.uplink.handle_appended(running.log.epoch(), seq);
            }
            Output::Companions(_) | Output::Show(_) | Output::PresentAgain | Output::Done => {}
        }
        if let Some(guard) = running.log.lease_due() {
            disk.write_guard(guard);
            running.log.handle_leased(guard);
        }
    }

    /// A green light is a promise: its entry must survive the power going right now.
    fn check_green(&mut self, passage: &Passage) {
        let (epoch, head) = (self.on().log.epoch(), self.on().log.head());
        if passage.is_granted() && !self.disk.is_durable(Tree::Entries, &entry_key(epoch, head)) {
            self.unsafe_greens.push(head);
        }
    }

    /// The batches that are to be sent.
    pub fn drain(&mut self, now: Timestamp) -> Vec<Vec<u8>> {
        let Some(running) = &mut self.running else { return vec![] };
        let mut payloads = vec![];
        while let Some(output) = running.uplink.poll() {
            match output {
                Send::SendBatch { epoch, from, limit } => {
                    let (first, last) = entry_range(epoch, from);
                    // What leaves must be on disk: a resolution waits for no sync of its own.
                    self.disk.sync();
                    let rows = self.disk.range(Tree::Entries, &first, &last, usize::from(limit));
                    let batch = running.log.batch(epoch, limit, rows).expect("entries read back");
                    running.uplink.handle_sent(now, epoch, batch.last());
                    payloads.push(fleet_sync::sign_batch(&batch, &self.signing));
                }
                Send::Acked { epoch, through, depot_time } => {
                    let ops = running.log.handle_acked(epoch, through, depot_time);
                    self.disk.apply(ops.expect("within the log"));
                    let span = running.log.lives().find(|life| life.epoch == epoch);
                    let Some(span) = span else { continue };
                    let (first, last) = entry_range(epoch, span.pruned_through.next());
                    let rows = self.disk.range(Tree::Entries, &first, &last, 1000);
                    // No retention floor: what the depot holds goes at once, so that an ack that
                    // promised too much costs an entry, and is found.
                    let ops = running.log.prune(epoch, Timestamp(u64::MAX), rows);
                    self.disk.apply(ops.expect("rows read back"));
                }
            }
        }
        payloads
    }

    /// An ack from the depot. What does not verify is ignored.
    pub fn handle_ack(&mut self, now: Timestamp, payload: &[u8]) -> Result<(), String> {
        let Some(running) = &mut self.running else { return Ok(()) };
        let Ok(ack) = fleet_sync::verify_ack(payload, self.id, &self.depot_key) else {
            return Ok(());
        };
        let taken = running.uplink.handle_ack(now, &ack);
        taken.map_err(|error| format!("an ack takes back what was committed: {error}"))
    }

    /// The uplink's deadline has passed.
    pub fn handle_timeout(&mut self, now: Timestamp, jitter: Duration) {
        if let Some(running) = &mut self.running {
            running.uplink.handle_timeout(now, jitter);
        }
    }

    /// When the uplink wants to be woken.
    pub fn wake_at(&self) -> Option<Timestamp> {
        self.running.as_ref()?.uplink.wake_at()
    }

    /// Entries that the depot has not acknowledged.
    pub fn backlog(&self) -> u64 {
        self.running.as_ref().map_or(0, |running| running.uplink.backlog())
    }

    fn on(&mut self) -> &mut Running {
        self.running.as_mut().expect("a tap needs power")
    }
}

/// The reader's field with one card in it.
struct Field<'a> {
    card: &'a mut dyn Medium,
    tear: Option<Tear>,
    exchanges: Vec<Exchange>,
    gone: bool,
}

impl Field<'_> {
    fn uid(&self) -> CardId {
        self.card.uid()
    }

    fn exchange(&mut self, apdu: &[u8]) -> Result<Vec<u8>, ExchangeError> {
        if self.gone {
            return Err(ExchangeError::Absent);
        }
        let here = u32::try_from(self.exchanges.len()).expect("a tap has few exchanges");
        let torn = self.tear.filter(|tear| tear.at == here).map(|tear| tear.reach);
        let unheard = torn == Some(Reach::Unheard);
        let answer = if unheard { Some(vec![]) } else { self.card.answer(apdu) };
        let command = apdu.get(1).copied().unwrap_or_default();
        let length = answer.as_ref().map_or(0, Vec::len);
        self.exchanges.push(Exchange { command, answer: length });
        let mut answer = answer.ok_or(ExchangeError::Timeout)?;
        let Some(reach) = torn else { return Ok(answer) };
        self.card.power_off();
        self.gone = true;
        match reach {
            Reach::Unheard | Reach::Unanswered => Err(ExchangeError::Absent),
            Reach::Bytes(arrived) => {
                answer.truncate(arrived);
                Ok(answer)
            }
        }
    }
}

/// What the rider does next.
pub fn wants_another_try(end: &TapEnd) -> bool {
    match end {
        TapEnd::Shown(passage) => {
            matches!(passage.refusal(), Some(Refusal::Unreadable | Refusal::SeveralCards))
        }
        TapEnd::Dark(shown) => !shown.as_ref().is_some_and(|passage| passage.is_granted()),
    }
}
