//! One card at one validator: the tap, the torn tap, and what somebody with bad intentions does.

use depot_server::workload::card_proof;
use model::{
    CardRecord, Companions, Ctr, LoadSeq, RecordKind, Served, TapEvent, TapRecord, TapSeq,
    Timestamp, ValidatorId,
};
use validation::{Decision, decide};

use super::{
    cards::{Said, What},
    city::{BEGINS, Kind},
    fleet::{Crime, Device},
    oracle::Item,
    world::World,
};

/// How often a crook does what he does, of a thousand taps.
const CRIMES: u32 = 40;

impl World {
    /// Somebody holds a card to a validator of this kind. Answers whether it opened.
    pub(super) fn tap(&mut self, card: usize, kind: Kind, at: u32) -> anyhow::Result<bool> {
        let all = &self.by_kind[&kind];
        let mut on = 0;
        for _ in 0..50 {
            on = all[self.dice.index(all.len())];
            if self.fleet[on].is_on {
                break;
            }
        }
        anyhow::ensure!(self.fleet[on].is_on, "no validator of {kind:?} is left");
        let may_tear = self.dice.chance(self.faults.torn);
        self.present(card, on, at, may_tear)
    }

    fn present(&mut self, card: usize, on: usize, at: u32, tears: bool) -> anyhow::Result<bool> {
        let device = &self.fleet[on];
        let now = device.now(at);
        let holder = &self.cards[card];
        let decided = decide(&device.context, holder.id, &holder.found(), Companions::NONE, now);
        match decided {
            Err(denied) => {
                let seen = Some(holder.nodes[holder.head].record);
                self.log(card, on, at, TapEvent::Refused { reason: denied.reason, seen });
                self.count("taps refused");
                Ok(false)
            }
            Ok(decision) if tears => self.tear(card, on, at, &decision),
            Ok(decision) => {
                let decision = self.given(card, decision);
                let node = self.cards[card].write(&decision, true);
                self.commit(card, on, at, node);
                Ok(true)
            }
        }
    }

    /// The entry of a tap that the card committed, as an honest validator writes it or a crook.
    fn commit(&mut self, card: usize, on: usize, at: u32, node: usize) {
        let transaction = self.cards[card].transaction(node);
        let proof = card_proof(&self.keys, self.cards[card].id, &transaction);
        let event = TapEvent::Committed { transaction, proof };
        let amount = i64::from(transaction.after.amount);
        let crime = self.fleet[on].crime.filter(|_| self.dice.chance(CRIMES));
        match crime {
            Some(Crime::Alters) => {
                let mut altered = transaction;
                altered.after.amount += 50;
                altered.after.balance -= 50;
                let event = TapEvent::Committed { transaction: altered, proof };
                let (life, seq) = self.log(card, on, at, event);
                self.must_open("proof-invalid", (card, on), (life, seq), amount + 50);
            }
            Some(Crime::Repeats) => {
                let (life, seq) = self.log(card, on, at, event);
                self.say(card, on, (life, seq), What::Committed, node);
                let (life, seq) = self.log(card, on, at, event);
                self.must_open("contradiction", (card, on), (life, seq), amount);
            }
            Some(Crime::Deletes) => {
                self.log(card, on, at, event);
                self.fleet[on].log().delete_newest(amount);
                self.count("entries deleted");
            }
            None => {
                let (life, seq) = self.log(card, on, at, event);
                self.say(card, on, (life, seq), What::Committed, node);
            }
        }
    }

    /// The card leaves the field when the commit was sent: it happened or it did not, and its
    /// holder tries again, comes back later, or goes away.
    fn tear(
        &mut self,
        card: usize,
        on: usize,
        at: u32,
        decision: &Decision,
    ) -> anyhow::Result<bool> {
        let happened = self.dice.chance(500);
        let node = self.cards[card].write(decision, happened);
        let transaction = self.cards[card].transaction(node);
        let (life, of) = self.log(card, on, at, TapEvent::InDoubt { transaction });
        self.say(card, on, (life, of), What::InDoubt, node);
        self.count(if happened { "torn taps that happened" } else { "torn taps that did not" });
        let (again, later) = (self.dice.chance(500), self.dice.chance(300));
        if !again && !later {
            return Ok(false);
        }
        let at = at + if again { 3 } else { 200 };
        if !happened {
            let seen = transaction.before;
            let (life, seq) = self.log(card, on, at, TapEvent::Voided { of, seen });
            self.say(card, on, (life, seq), What::Voided(of), node);
            return self.present(card, on, at, false);
        }
        let proof = card_proof(&self.keys, self.cards[card].id, &transaction);
        let served = if again { Served::Yes } else { Served::No };
        let event = TapEvent::Confirmed { of, transaction, proof, served };
        let (life, seq) = self.log(card, on, at, event);
        self.say(card, on, (life, seq), What::Confirmed(of, again), node);
        if again { Ok(true) } else { self.present(card, on, at, false) }
    }

    /// Writes an entry down. Answers where it stands.
    fn log(&mut self, card: usize, on: usize, at: u32, event: TapEvent) -> (usize, TapSeq) {
        let device = &mut self.fleet[on];
        let context = &device.context;
        let record = TapRecord {
            validator: device.id,
            epoch: device.lives[0].epoch(),
            seq: TapSeq(0),
            card: Some(self.cards[card].id),
            tapped_at: device.now(at),
            clock: context.clock,
            role: context.role,
            place: context.place,
            route: context.route,
            tariff: context.tariff,
            order: None,
            place_age_s: None,
            hotlist_version: None,
            duration_ms: 180,
            event,
        };
        let life = device.life();
        (life, device.log().append(record))
    }

    fn say(
        &mut self,
        card: usize,
        on: usize,
        (life, seq): (usize, TapSeq),
        what: What,
        node: usize,
    ) {
        let (role, route) = (self.fleet[on].context.role, self.fleet[on].context.route);
        self.cards[card].said.push(Said { by: on, life, seq, what, node, role, route });
    }

    fn must_open(
        &mut self,
        kind: &'static str,
        (card, on): (usize, usize),
        (life, seq): (usize, TapSeq),
        amount: i64,
    ) {
        let item = Item {
            kind: kind.to_owned(),
            card: Some(self.cards[card].id),
            validator: Some(self.fleet[on].id.number()),
            amount: Some(amount),
        };
        self.marks.push((on, life, seq, item));
        self.count(kind);
    }

    pub(super) fn copy(&mut self, card: usize) {
        let card = &mut self.cards[card];
        card.twin = Some(card.head);
        self.count("cards copied");
    }

    /// Two records back, where there are two.
    pub(super) fn roll_back(&mut self, card: usize) {
        let card = &mut self.cards[card];
        for _ in 0..2 {
            card.head = card.nodes[card.head].before;
        }
        self.count("cards rolled back");
    }

    pub(super) fn give(&mut self, card: usize) {
        let value = u32::try_from(self.dice.between(300, 5000)).expect("small");
        self.gifts.insert(card, value);
    }

    /// The balance that the record writes is more than the one it found, less the fare.
    fn given(&mut self, card: usize, mut decision: Decision) -> Decision {
        if let Some(value) = self.gifts.remove(&card) {
            decision.after.balance += i32::try_from(value).expect("small");
            self.count("cards given value");
        }
        decision
    }

    /// A load with a stolen key, by nobody that the depot knows.
    pub(super) fn load(&mut self, card: usize) {
        let amount = u32::try_from(self.dice.between(500, 3000)).expect("small");
        let card = &mut self.cards[card];
        let found = card.nodes[card.head].clone();
        let in_journey = found.record.kind == RecordKind::Entry;
        let before = found.record;
        let own = CardRecord {
            kind: RecordKind::Load,
            at_s: before.at_s + 60,
            validator: ValidatorId::new(0x00ff_fff0).expect("24 bits"),
            ..before
        };
        let base =
            if in_journey { CardRecord { kind: RecordKind::LoadInJourney, ..before } } else { own };
        let record = CardRecord {
            ctr: Ctr(before.ctr.0 + 1),
            balance: before.balance + i32::try_from(amount).expect("small"),
            amount,
            load_seq: LoadSeq(before.load_seq.0 + 1),
            ..base
        };
        card.push(record, found.counters, true);
        self.count("cards loaded with a stolen key");
    }
}

impl Device {
    /// What its clock says.
    fn now(&self, at: u32) -> Timestamp {
        let secs = i64::from(BEGINS + at) + self.offset_s;
        Timestamp::from_secs(u64::try_from(secs).expect("after 1970"))
    }
}
