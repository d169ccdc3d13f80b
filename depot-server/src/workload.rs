//! An honest fleet without cards and radios, for tests and benchmarks: signed batches of valid
//! taps, priced and proved exactly as real ones, as fast as this machine makes them.
//!
//! Its keys are the well-known keys of test runs. Nothing of the server uses it.

use std::collections::BTreeMap;

use card::{
    CardKeys, Key, KeySet, Tmi,
    apdu::{cmd, span},
    layout::{
        COUNTERS_LEN, FILE_COUNTERS, FILE_LOG, FILE_PRODUCTS, FILE_PROFILE, FILE_RIDES,
        PRODUCTS_LEN, RECORD_LEN, value_file,
    },
    transaction_proof,
};
use clearing::{Issue, Priced, Rules};
use fare::{Tariff, TariffSet};
use fleet_sync::{Codec, DepotName, SigningKey, Topic, sign_batch, write_batch};
use model::{
    CardId, CardLayout, CardProof, CardRecord, CardTransaction, ClockQuality, Companions, Ctr,
    Currency, Epoch, IssuerId, LoadSeq, PlaceIx, RecordKind, Registers, RiderClass, RouteIx,
    TapEvent, TapRecord, TapRole, TapSeq, TariffVersion, Timestamp, ValidUntil, ValidatorId,
};
use wire::{Batch, BatchHead, ChainHash, encode_entry};

use crate::intake::Message;

/// A city of one bus route with a flat fare.
pub const CITY: &str = r#"
format = 1
version = 1
network = "Workload"
timezone = "Etc/UTC"
currency = "EUR"
groups = ["bus"]
operator = [{ id = "op", name = "Buses" }]
product = [{ id = "single", name = "Single", price = "1.50" }]
place = [{ id = "a", name = "Stop A", lat = 0, lon = 0, kind = "stop" }]
route = [
  { id = "7", name = "Bus 7", mode = "bus", operator = "op", group = "bus", product = "single" },
]
"#;

/// What every card is issued with, minor units.
pub const OPENING: i32 = 1_000_000;

/// The pricing rules of [`CITY`].
pub fn rules() -> Rules {
    let tariff = Tariff::parse(CITY).expect("the text above is a tariff");
    Rules::new(TariffSet::new(tariff))
}

/// The cards' master keys.
pub fn card_keys() -> KeySet {
    KeySet::from_root(&Key([0x5a; 16]))
}

/// Cards by number, each with its newest record.
#[derive(Debug, Clone)]
pub struct Cards {
    keys: KeySet,
    rules: Rules,
    newest: Vec<CardRecord>,
    /// What their profiles name.
    purses: Vec<Option<Currency>>,
    /// Of whom they are, where that is not the first issuer.
    issuers: BTreeMap<u32, IssuerId>,
    /// What they are issued with.
    opening: i32,
    issued_at_s: u32,
}

/// One validator with its log.
#[derive(Debug, Clone)]
pub struct Bus {
    /// Who.
    pub id: ValidatorId,
    /// Its key.
    pub signing: SigningKey,
    /// Which life of its log.
    pub epoch: Epoch,
    /// The hotlist that it says it goes by.
    pub hotlist_version: Option<u64>,
    depot: DepotName,
    sent: (TapSeq, ChainHash),
    registers: Registers,
    head: TapSeq,
    rows: Vec<(Vec<u8>, Registers)>,
}

impl Cards {
    /// `count` issued cards.
    pub fn new(count: u32, issued_at_s: u32) -> Self {
        Self::in_city(rules(), count, issued_at_s)
    }

    /// The same in another city.
    pub fn in_city(rules: Rules, count: u32, issued_at_s: u32) -> Self {
        let opening = CardRecord {
            kind: RecordKind::Issue,
            ctr: Ctr(1),
            balance: OPENING,
            amount: OPENING.unsigned_abs(),
            at_s: issued_at_s,
            validator: ValidatorId::DEPOT,
            place: PlaceIx::NONE,
            load_seq: LoadSeq(0),
            tariff: TariffVersion(1),
            valid_until: ValidUntil::Always,
            class: RiderClass(0),
            run: None,
            products: None,
            layout: CardLayout::Plain,
        };
        let (newest, purses) = (vec![opening; count as usize], vec![None; count as usize]);
        let (issuers, opening) = (BTreeMap::new(), OPENING);
        Self { keys: card_keys(), rules, newest, purses, issuers, opening, issued_at_s }
    }

    /// The same, issued with another value.
    #[must_use]
    pub fn with_opening(mut self, opening: i32) -> Self {
        self.opening = opening;
        for newest in &mut self.newest {
            (newest.balance, newest.amount) = (opening, opening.unsigned_abs());
        }
        self
    }

    /// A card's profile names this currency. To be said before the card is issued.
    pub fn set_purse(&mut self, card: u32, purse: Currency) {
        self.newest[card as usize].layout = CardLayout::OtherCurrency;
        self.purses[card as usize] = Some(purse);
    }

    /// A card is of another issuer. To be said before it is issued.
    pub fn set_issuer(&mut self, card: u32, issuer: IssuerId) {
        self.issuers.insert(card, issuer);
    }

    /// What a card's profile names.
    pub fn purse(&self, card: u32) -> Option<Currency> {
        self.purses[card as usize]
    }

    /// The number of a card.
    pub fn id(card: u32) -> CardId {
        // Spread over the number space, as real UIDs are.
        let mixed = u64::from(card).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        CardId([4, mixed[0], mixed[1], mixed[2], mixed[3], mixed[4], mixed[5]])
    }

    /// What is to be registered for these cards.
    pub fn issues(&self) -> Vec<Issue> {
        let count = u32::try_from(self.newest.len()).unwrap_or(u32::MAX);
        let opening = |newest: &CardRecord| CardRecord {
            kind: RecordKind::Issue,
            ctr: Ctr(1),
            balance: self.opening,
            amount: self.opening.unsigned_abs(),
            at_s: self.issued_at_s,
            validator: ValidatorId::DEPOT,
            place: PlaceIx::NONE,
            run: None,
            ..*newest
        };
        let cards = (0..count).zip(self.newest.iter().zip(&self.purses));
        cards
            .map(|(card, (newest, purse))| {
                let record = opening(newest);
                let issuer = self.issuers.get(&card).copied();
                Issue { card: Self::id(card), record, purse: *purse, issuer }
            })
            .collect()
    }

    /// A card's newest record.
    pub fn newest(&self, card: u32) -> &CardRecord {
        &self.newest[card as usize]
    }

    /// The card boards a bus; nothing is changed yet.
    pub fn boarding(&self, card: u32, at_s: u32, validator: ValidatorId) -> CardTransaction {
        self.boarding_on(RouteIx(0), card, at_s, validator)
    }

    /// The same on another route of flat fare.
    pub fn boarding_on(
        &self,
        route: RouteIx,
        card: u32,
        at_s: u32,
        validator: ValidatorId,
    ) -> CardTransaction {
        let (before, purse) = (self.newest[card as usize], self.purses[card as usize]);
        let unpriced = CardRecord {
            kind: RecordKind::Board,
            ctr: Ctr(before.ctr.0 + 1),
            amount: 0,
            at_s,
            validator,
            place: PlaceIx(0),
            run: None,
            ..before
        };
        let unpriced_tap = CardTransaction {
            before,
            after: unpriced,
            products: None,
            loaded: None,
            counters: None,
            companions: Companions::NONE,
            purse,
        };
        let Priced::Quote(quote) = self.rules.price(&unpriced_tap, Some(route)) else {
            unreachable!("the city's only route has a fare")
        };
        let amount = u32::try_from(quote.debit.minor()).expect("a fare fits the record");
        let balance = before.balance - i32::try_from(amount).expect("a fare fits the record");
        CardTransaction {
            before,
            after: CardRecord { amount, balance, run: quote.run_after, ..unpriced },
            products: None,
            loaded: None,
            counters: None,
            companions: Companions::NONE,
            purse,
        }
    }

    /// The card commits: its newest record is the one written. Returns its proof.
    pub fn commit(&mut self, card: u32, transaction: &CardTransaction) -> CardProof {
        self.newest[card as usize] = transaction.after;
        card_proof(&self.keys, Self::id(card), transaction)
    }
}

/// What a card answers to the commit of a tap or a load.
pub fn card_proof(keys: &KeySet, uid: CardId, transaction: &CardTransaction) -> CardProof {
    let CardTransaction { before, after, products, loaded, counters, purse, .. } = transaction;
    let record = |record: &CardRecord| record.to_bytes().expect("an honest record has bytes");
    let mut tmi = Tmi::new();
    tmi.step(cmd::READ_RECORDS, &span(FILE_LOG, 0, 1), &record(before));
    if let Some(purse) = purse {
        // The currency's letters stand in the profile from byte 4 on.
        tmi.step(cmd::READ_DATA, &span(FILE_PROFILE, 4, 3), purse.letters().as_bytes());
    }
    let header = span(FILE_PRODUCTS, 0, PRODUCTS_LEN);
    let rides = |tmi: &mut Tmi, cmd: u8, rides: u32| {
        let [a, b, c, d] = rides.to_le_bytes();
        tmi.step(cmd, &[FILE_RIDES, a, b, c, d], &[]);
    };
    if let Some(found) = products {
        tmi.step(cmd::READ_DATA, &header, &found.file.to_bytes());
        found.rides.into_iter().for_each(|left| rides(&mut tmi, cmd::GET_VALUE, left));
    }
    let counted = span(FILE_COUNTERS, 0, COUNTERS_LEN);
    if let Some(used) = counters {
        tmi.step(cmd::READ_DATA, &counted, &used.found.to_bytes());
    }
    if after.amount > 0 {
        let moved = if after.kind.is_load() { cmd::CREDIT } else { cmd::DEBIT };
        let [a, b, c, d] = after.amount.to_le_bytes();
        tmi.step(moved, &[value_file(after.layout), a, b, c, d], &[]);
    }
    if let Some(load) = loaded {
        tmi.step(cmd::WRITE_DATA, &header, &load.file().to_bytes());
        Some(load.rides())
            .filter(|n| *n > 0)
            .into_iter()
            .for_each(|n| rides(&mut tmi, cmd::CREDIT, n));
    }
    let used = after.products.map_or(0, |used| used.rides);
    Some(used).filter(|n| *n > 0).into_iter().for_each(|n| rides(&mut tmi, cmd::DEBIT, n.into()));
    if let Some(written) = counters.and_then(|used| used.written) {
        tmi.step(cmd::WRITE_DATA, &counted, &written.to_bytes());
    }
    tmi.step(cmd::WRITE_RECORD, &span(FILE_LOG, 0, RECORD_LEN), &record(after));
    let key = keys.tmac_key(&uid).expect("the set holds every key");
    transaction_proof(&key, &uid, after.ctr.0, &tmi)
}

impl Bus {
    /// A new validator of `depot`.
    pub fn new(number: u32, depot: &DepotName) -> Self {
        let id = ValidatorId::new(number).expect("24 bits");
        let mut seed = [7; 32];
        seed[..4].copy_from_slice(&number.to_be_bytes());
        let epoch = Epoch(1);
        Self {
            id,
            signing: SigningKey::from_bytes(&seed),
            epoch,
            hotlist_version: None,
            depot: depot.clone(),
            sent: (TapSeq(0), ChainHash::start(id, epoch)),
            registers: Registers::default(),
            head: TapSeq(0),
            rows: Vec::new(),
        }
    }

    /// Writes an event into its log; returns the entry's number.
    pub fn log(&mut self, card: Option<CardId>, at_s: u32, event: TapEvent) -> TapSeq {
        let entry = self.entry(card, Timestamp::from_secs(u64::from(at_s)), event);
        self.log_entry(entry)
    }

    fn entry(&self, card: Option<CardId>, tapped_at: Timestamp, event: TapEvent) -> TapRecord {
        TapRecord {
            validator: self.id,
            epoch: self.epoch,
            seq: self.head.next(),
            card,
            tapped_at,
            clock: ClockQuality::Ntp,
            role: TapRole::Board,
            place: PlaceIx(0),
            route: Some(RouteIx(0)),
            tariff: TariffVersion(1),
            order: None,
            place_age_s: None,
            hotlist_version: self.hotlist_version,
            duration_ms: 180,
            event,
        }
    }

    /// Writes an entry into its log, whatever it says, under the next number.
    pub fn log_entry(&mut self, record: TapRecord) -> TapSeq {
        self.head = self.head.next();
        let record = TapRecord { seq: self.head, ..record };
        self.registers = self.registers.after(&record);
        let bytes = encode_entry(&record).expect("an entry has bytes");
        self.rows.push((bytes, self.registers));
        self.head
    }

    /// Begins another life of its log.
    pub fn new_life(&mut self, epoch: Epoch) {
        self.epoch = epoch;
        self.sent = (TapSeq(0), ChainHash::start(self.id, epoch));
        self.registers = Registers::default();
        self.head = TapSeq(0);
        self.rows.clear();
    }

    /// A card boards and pays.
    pub fn board(&mut self, cards: &mut Cards, card: u32, at_s: u32) -> TapSeq {
        let transaction = cards.boarding(card, at_s, self.id);
        let proof = cards.commit(card, &transaction);
        self.log(Some(Cards::id(card)), at_s, TapEvent::Committed { transaction, proof })
    }

    /// The same on another route.
    pub fn board_on(&mut self, cards: &mut Cards, route: RouteIx, card: u32, at_s: u32) -> TapSeq {
        let transaction = cards.boarding_on(route, card, at_s, self.id);
        let proof = cards.commit(card, &transaction);
        let event = TapEvent::Committed { transaction, proof };
        let (tapped_at, card) = (Timestamp::from_secs(u64::from(at_s)), Some(Cards::id(card)));
        let entry = self.entry(card, tapped_at, event);
        self.log_entry(TapRecord { route: Some(route), ..entry })
    }

    /// Everything logged since the last call, as one signed batch.
    pub fn batch(&mut self) -> Message {
        let batch = self.assemble();
        self.sent = (batch.last(), batch.last_hash);
        self.rows.clear();
        self.seal(&batch)
    }

    /// What [`Bus::batch`] would send, unsigned, for tests that spoil it first.
    pub fn assemble(&self) -> Batch {
        let (through, prev_hash) = self.sent;
        let (validator, epoch) = (self.id, self.epoch);
        let head = BatchHead { validator, epoch, first: through.next(), prev_hash };
        let rows = self.rows.iter().map(|(bytes, registers)| (bytes.as_slice(), *registers));
        let batch = Batch::assemble(head, 1000, rows).expect("something was logged");
        assert_eq!(batch.entries.len(), self.rows.len(), "the batch holds all that was logged");
        batch
    }

    /// What [`Bus::batch`] would send, in another version.
    pub fn batch_as(&mut self, codec: Codec<'_>) -> Message {
        let batch = self.assemble();
        let payload = write_batch(&batch, &self.signing, codec).expect("a key to seal for");
        Message { payload, ..self.batch() }
    }

    /// Signs a batch, whatever it says.
    pub fn seal(&self, batch: &Batch) -> Message {
        let topic = Topic::Taps(self.id).name(&self.depot);
        Message { topic, payload: sign_batch(batch, &self.signing) }
    }
}
