//! Both ends together, and the samples that their tests share.

mod intake;
mod lists;
mod network;
mod sealed;
mod selected;
mod signed;
mod uplink;

use alloc::vec::Vec;

use model::{
    CardId, CardProof, CardRecord, CardTransaction, ClockQuality, Companions, Ctr, Epoch, LoadSeq,
    PlaceIx, RecordKind, Registers, RiderClass, RouteIx, TapDraft, TapEvent, TapRecord, TapRole,
    TapSeq, TariffVersion, Timestamp, TransferRun, ValidUntil, ValidatorId,
};
use wire::{Batch, BatchHead, ChainHash};

fn validator() -> ValidatorId {
    ValidatorId::new(4711).unwrap()
}

/// The record that a validator's `seq`th tap leaves on a card, with numbers as large as in service.
fn card_record(seq: u64, ctr: u32) -> CardRecord {
    CardRecord {
        kind: RecordKind::Board,
        ctr: Ctr(ctr),
        balance: 2075,
        amount: 275,
        at_s: 1_795_000_000 + u32::try_from(seq).unwrap(),
        validator: validator(),
        place: PlaceIx(1300),
        load_seq: LoadSeq(2),
        tariff: TariffVersion(9),
        valid_until: ValidUntil::Month(60),
        class: RiderClass(1),
        run: Some(TransferRun { legs: 2, paid: 275, age_s: 1800, group: 4 }),
        products: None,
        layout: model::CardLayout::Plain,
    }
}

/// A typical committed tap; `salt` makes another one of the same number.
fn committed(epoch: Epoch, seq: u64, salt: u8) -> TapRecord {
    let (before, after) = (card_record(0, 86), card_record(seq, 87));
    let transaction = CardTransaction {
        before,
        after,
        products: None,
        loaded: None,
        counters: None,
        companions: Companions::NONE,
        purse: None,
    };
    let uid = seq.to_be_bytes();
    let draft = TapDraft {
        card: Some(CardId([4, salt, uid[3], uid[4], uid[5], uid[6], uid[7]])),
        tapped_at: Timestamp(transaction.after.at().0 + 417),
        clock: ClockQuality::Ntp,
        role: TapRole::Board,
        place: PlaceIx(1300),
        route: Some(RouteIx(317)),
        tariff: TariffVersion(9),
        order: None,
        place_age_s: None,
        hotlist_version: None,
    };
    let proof = CardProof([salt; 8]);
    let event = TapEvent::Committed { transaction, proof };
    TapRecord::new((validator(), epoch, TapSeq(seq)), draft, 187, event)
}

/// A life of a log, whole, as a validator would hold it.
#[derive(Debug, Clone)]
struct ModelLog {
    epoch: Epoch,
    entries: Vec<(Vec<u8>, ChainHash, Registers)>,
}

impl ModelLog {
    fn new(epoch: u32) -> Self {
        Self { epoch: Epoch(epoch), entries: Vec::new() }
    }

    fn with(epoch: u32, count: u64) -> Self {
        let mut log = Self::new(epoch);
        for _ in 0..count {
            log.append(0);
        }
        log
    }

    fn append(&mut self, salt: u8) -> TapSeq {
        self.append_by(salt, None)
    }

    /// One that names the hotlist that it was decided by.
    fn append_by(&mut self, salt: u8, hotlist_version: Option<u64>) -> TapSeq {
        let seq = self.entries.len() as u64 + 1;
        let record = TapRecord { hotlist_version, ..committed(self.epoch, seq, salt) };
        let bytes = wire::encode_entry(&record).unwrap();
        let registers = self.entries.last().map_or(Registers::default(), |e| e.2).after(&record);
        let hash = self.hash(TapSeq(seq - 1)).then(&bytes);
        self.entries.push((bytes, hash, registers));
        TapSeq(seq)
    }

    /// The chain's value after `seq`.
    fn hash(&self, seq: TapSeq) -> ChainHash {
        match usize::try_from(seq.0).unwrap() {
            0 => ChainHash::start(validator(), self.epoch),
            n => self.entries[n - 1].1,
        }
    }

    fn batch(&self, first: u64, limit: u16) -> Batch {
        let prev_hash = self.hash(TapSeq(first - 1));
        let head = BatchHead {
            validator: validator(),
            epoch: self.epoch,
            first: TapSeq(first),
            prev_hash,
        };
        let rows = self.entries[usize::try_from(first - 1).unwrap()..].iter();
        Batch::assemble(head, limit, rows.map(|(bytes, _, after)| (bytes.as_slice(), *after)))
            .unwrap()
    }
}
