//! What the books already know: records by card and counter, and log entries by their number.
//!
//! A card's state stays small because old records live in the store. Only late, repeated and
//! forked records need to ask for them, through [`Known`].

use alloc::{collections::BTreeMap, vec::Vec};

use model::{
    CardCounters, CardId, CardRecord, CardTransaction, CounterUse, Ctr, Epoch, OperatorId,
    RecordError, TapEvent, TapRecord, TapSeq, ValidatorId,
};

const MISPRICED: u8 = 0x80;
const COUNTERS: u8 = 0x10;
const COUNTERS_WRITTEN: u8 = 0x20;

/// One entry of a validator's log, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TapRef {
    /// Who recorded it.
    pub validator: ValidatorId,
    /// In which life of its log.
    pub epoch: Epoch,
    /// As which entry.
    pub seq: TapSeq,
}

impl TapRef {
    /// Bytes of the fixed form.
    pub const LEN: usize = 16;

    /// The number of an entry.
    pub const fn of(tap: &TapRecord) -> Self {
        Self { validator: tap.validator, epoch: tap.epoch, seq: tap.seq }
    }

    /// The fixed form that ids are made from: validator 4, epoch 4, seq 8, MSB first.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut b = [0; Self::LEN];
        b[..4].copy_from_slice(&self.validator.number().to_be_bytes());
        b[4..8].copy_from_slice(&self.epoch.0.to_be_bytes());
        b[8..].copy_from_slice(&self.seq.0.to_be_bytes());
        b
    }

    /// Reads the fixed form; `None` when it names no validator.
    pub fn from_bytes(b: &[u8; Self::LEN]) -> Option<Self> {
        Some(Self {
            validator: ValidatorId::new(u32::from_be_bytes(*b[..4].first_chunk()?))?,
            epoch: Epoch(u32::from_be_bytes(*b[4..8].first_chunk()?)),
            seq: TapSeq(u64::from_be_bytes(*b[8..].first_chunk()?)),
        })
    }
}

/// By what a record is known, the weakest first. The card's Transaction MAC covers what a
/// transaction wrote and the record it found, so each of them is proven by the card; for the record
/// found by an in-doubt tap that happened, the validator's signature stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Only as the newest record that a later tap found: recovered. Its own entry may be late, or
    /// lost with a dead validator.
    Evidence,
    /// By a Confirmed entry; the in-doubt entry it settles has not arrived.
    Confirmation,
    /// By its own entry, committed or in doubt.
    Tap,
    /// By a desk of ours: an issue, a load, a retirement.
    Issued,
}

impl Source {
    const ALL: [Self; 4] = [Self::Evidence, Self::Confirmation, Self::Tap, Self::Issued];

    /// Its number in stores: 0 evidence … 3 issued.
    pub fn number(self) -> u8 {
        Self::ALL.iter().position(|s| *s == self).map_or(0, |i| i.to_le_bytes()[0])
    }

    /// From its number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// A record in the books, with what the books made of it. The store keeps one per card and
/// counter; [`crate::Cleared::records`] says which to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownRecord {
    /// What the card says.
    pub record: CardRecord,
    /// By what it is known.
    pub source: Source,
    /// Whose revenue it was booked as.
    pub operator: Option<OperatorId>,
    /// Whether a fare mismatch is open for it.
    pub mispriced: bool,
    /// The counters that its transaction found and wrote; `None` when it read none, or when the
    /// record is known from evidence alone.
    pub counters: Option<CounterUse>,
}

impl KnownRecord {
    /// The stored form: card record 32, source in the low nibble and flags in the high one,
    /// operator 2 LSB first (FFFF = none). Flags: bit 7 mispriced, bit 4 the counters found follow
    /// (32), bit 5 the counters written follow (32).
    pub fn to_bytes(&self) -> Result<Vec<u8>, RecordError> {
        let written = self.counters.and_then(|used| used.written);
        let flags = [(self.mispriced, MISPRICED), (self.counters.is_some(), COUNTERS)]
            .into_iter()
            .chain([(written.is_some(), COUNTERS_WRITTEN)])
            .fold(0, |flags, (set, flag)| if set { flags | flag } else { flags });
        let operator = self.operator.map_or(u16::MAX, |operator| operator.0);
        let mut b = Vec::with_capacity(40);
        b.extend(self.record.to_bytes()?);
        b.push(self.source.number() | flags);
        b.extend(operator.to_le_bytes());
        b.extend(self.counters.iter().flat_map(|used| used.found.to_bytes()));
        b.extend(written.iter().flat_map(CardCounters::to_bytes));
        Ok(b)
    }

    /// Reads the stored form; `None` when these are not such bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::split_first(bytes).filter(|(_, rest)| rest.is_empty()).map(|(known, _)| known)
    }

    /// Reads one stored form from the front; answers what is behind it.
    pub(crate) fn split_first(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (record, rest) = bytes.split_first_chunk()?;
        let ([flags, operator @ ..], mut rest) = rest.split_first_chunk::<3>()?;
        let mut counters = || {
            let (counters, behind) = rest.split_first_chunk()?;
            rest = behind;
            CardCounters::from_bytes(counters).ok()
        };
        let used = match (flags & COUNTERS != 0, flags & COUNTERS_WRITTEN != 0) {
            (false, false) => None,
            (false, true) => return None,
            (true, false) => Some(CounterUse { found: counters()?, written: None }),
            (true, true) => Some(CounterUse { found: counters()?, written: Some(counters()?) }),
        };
        let known = Self {
            record: CardRecord::from_bytes(record).ok()?,
            source: Source::from_number(flags & 0x4f)?,
            operator: match u16::from_le_bytes(*operator) {
                u16::MAX => None,
                number => Some(OperatorId(number)),
            },
            mispriced: flags & MISPRICED != 0,
            counters: used,
        };
        Some((known, rest))
    }

    /// What decides which of two records under one counter is kept: an issue of ours, then the
    /// earlier by the validators' clocks, then the bytes. Nothing here depends on arrival.
    pub(crate) fn rank(&self) -> (bool, u32, [u8; 32]) {
        let bytes = self.record.to_bytes().expect("a learned record has been encoded before");
        (self.source != Source::Issued, self.record.at_s, bytes)
    }
}

/// What the store answers about records and entries that were cleared before. It must see what
/// earlier calls of the same batch changed; [`Overlay`] does that for stores that write at the end.
pub trait Known {
    /// Why the store could not answer.
    type Error;
    /// The record kept for this counter of this card.
    fn record(&self, card: CardId, ctr: Ctr) -> Result<Option<KnownRecord>, Self::Error>;
    /// Whether this entry was cleared before.
    fn cleared(&self, tap: TapRef) -> Result<bool, Self::Error>;
    /// The committed, in-doubt and confirmed entries cleared before whose transaction has, or would
    /// have had, this counter of this card. Asked only when two records claim one counter, and
    /// about a charge whose rider was perhaps not let through.
    fn transactions(&self, card: CardId, ctr: Ctr) -> Result<Vec<TapRecord>, Self::Error>;
}

/// What this batch changed, over what the store holds.
#[derive(Debug)]
pub struct Overlay<'a, K> {
    store: &'a K,
    records: BTreeMap<(CardId, Ctr), KnownRecord>,
    taps: BTreeMap<TapRef, Option<TapRecord>>,
}

impl<'a, K: Known> Overlay<'a, K> {
    /// Nothing changed yet.
    pub const fn new(store: &'a K) -> Self {
        Self { store, records: BTreeMap::new(), taps: BTreeMap::new() }
    }

    /// Adds what clearing `tap` of `card` made known.
    pub fn absorb(&mut self, card: CardId, tap: Option<&TapRecord>, records: &[KnownRecord]) {
        for known in records {
            self.records.insert((card, known.record.ctr), *known);
        }
        if let Some(tap) = tap {
            self.absorb_tap(tap);
        }
    }

    /// Adds an entry that was cleared and made no record known.
    pub fn absorb_tap(&mut self, tap: &TapRecord) {
        let with_transaction = transaction(tap).is_some().then_some(*tap);
        self.taps.insert(TapRef::of(tap), with_transaction);
    }
}

impl<K: Known> Known for Overlay<'_, K> {
    type Error = K::Error;

    fn record(&self, card: CardId, ctr: Ctr) -> Result<Option<KnownRecord>, K::Error> {
        match self.records.get(&(card, ctr)) {
            Some(known) => Ok(Some(*known)),
            None => self.store.record(card, ctr),
        }
    }

    fn cleared(&self, tap: TapRef) -> Result<bool, K::Error> {
        if self.taps.contains_key(&tap) { Ok(true) } else { self.store.cleared(tap) }
    }

    fn transactions(&self, card: CardId, ctr: Ctr) -> Result<Vec<TapRecord>, K::Error> {
        let mut found = self.store.transactions(card, ctr)?;
        let here = self.taps.values().flatten().filter(|tap| tap.card == Some(card));
        let of_ctr = |tap: &&TapRecord| transaction(tap).is_some_and(|t| t.after.ctr == ctr);
        found.extend(here.filter(of_ctr));
        Ok(found)
    }
}

/// The card transaction of an entry, whether it is certain or in doubt.
pub const fn transaction(tap: &TapRecord) -> Option<&CardTransaction> {
    match &tap.event {
        TapEvent::Committed { transaction, .. }
        | TapEvent::InDoubt { transaction }
        | TapEvent::Confirmed { transaction, .. } => Some(transaction),
        TapEvent::Refused { .. }
        | TapEvent::Voided { .. }
        | TapEvent::Gate { .. }
        | TapEvent::Ticket { .. } => None,
    }
}
