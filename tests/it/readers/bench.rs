//! What the transports are tried on: a reader of each kind, a hand that puts cards on it, and one
//! debit driven through it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a bench that cannot be set up is a failed test"
)]

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use card::{
    CardFound, CardKeys, CardOutput, DebitTransaction, Key, KeySet, Opening, Settlement,
    VirtualCard,
};
use model::{CardId, CardRecord, Ctr, PlaceIx, RecordKind, ValidatorId};
use reader::{
    Activation, CardTransport, Cut, ExchangeError, Picc, Presence, Reader, ReaderConfig,
    ReaderError, ReaderKind, VirtualField,
};
use tapline_tests::pn532::{Emulator, Fault};
use tempfile::TempDir;
use tokio::time::timeout;

pub(crate) const UID: CardId = CardId([4, 0xa1, 0xb2, 0xc3, 0xd4, 0xe5, 0xf6]);
const ROOT: Key = Key([7; 16]);
/// Longer than anything here takes, so that a hang is a failure and not a stuck run.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough for several looks at the field.
pub(crate) const A_WHILE: Duration = Duration::from_millis(250);
/// Exchanges of a debit, the commit being the last.
pub(crate) const EXCHANGES: u32 = 7;

/// The kinds of reader that go over a line, with the program that drives libnfc where it is built.
pub(crate) fn wired_kinds() -> Vec<(ReaderKind, Option<PathBuf>)> {
    let helper = option_env!("CARGO_BIN_EXE_nfc-helper-under-test").map(PathBuf::from);
    let libnfc = helper.map(|program| (ReaderKind::Libnfc, Some(program)));
    [(ReaderKind::Pn532, None)].into_iter().chain(libnfc).collect()
}

pub(crate) type SharedCard = Arc<Mutex<VirtualCard>>;

fn keys() -> KeySet {
    KeySet::from_root(&ROOT)
}

pub(crate) fn issued(uid: CardId) -> SharedCard {
    let opening = Opening { balance: 2_000, ..Opening::default() };
    let (card, _) = VirtualCard::issue(uid, [9; 16], &keys(), &opening).unwrap();
    Arc::new(Mutex::new(card))
}

/// A card without ISO 14443-4.
pub(crate) struct Classic;

impl Picc for Classic {
    fn activation(&self) -> Activation {
        Activation { atqa: [0, 4], sak: 8, uid: vec![1, 2, 3, 4], ats: vec![] }
    }

    fn transceive(&mut self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn field_off(&mut self) {}
}

/// A card that repeats what it hears.
pub(crate) struct Echo;

impl Picc for Echo {
    fn activation(&self) -> Activation {
        Activation::desfire(UID)
    }

    fn transceive(&mut self, apdu: &[u8]) -> Option<Vec<u8>> {
        Some(apdu.to_vec())
    }

    fn field_off(&mut self) {}
}

/// What a transport is tried on.
pub(crate) enum Hand {
    Chip(Emulator, TempDir),
    Memory(VirtualField),
}

pub(crate) struct Bench {
    pub(crate) name: &'static str,
    /// Dropped before the line it speaks over.
    pub(crate) reader: Reader,
    pub(crate) hand: Hand,
}

impl Bench {
    pub(crate) async fn chip(kind: ReaderKind, helper: Option<PathBuf>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let emulator = Emulator::start(&dir.path().join("reader")).unwrap();
        let config = ReaderConfig { kind, helper, ..ReaderConfig::pn532(emulator.path()) };
        let reader = Reader::open(&config).await.unwrap();
        let name = if kind == ReaderKind::Pn532 { "pn532" } else { "libnfc" };
        Self { name, reader, hand: Hand::Chip(emulator, dir) }
    }

    pub(crate) async fn native() -> Self {
        Self::chip(ReaderKind::Pn532, None).await
    }

    /// The transports that go over a line.
    pub(crate) async fn wired() -> Vec<Self> {
        let mut all = Vec::new();
        for (kind, helper) in wired_kinds() {
            all.push(Self::chip(kind, helper).await);
        }
        all
    }

    pub(crate) async fn all() -> Vec<Self> {
        let mut all = Self::wired().await;
        all.push(Self::memory());
        all
    }

    pub(crate) fn memory() -> Self {
        let (reader, field) = Reader::virtual_cards();
        Self { name: "virtual", reader, hand: Hand::Memory(field) }
    }

    pub(crate) fn place(&self, medium: impl Picc + 'static) {
        match &self.hand {
            Hand::Chip(emulator, _) => emulator.place(medium),
            Hand::Memory(field) => field.place(medium),
        }
    }

    pub(crate) fn clear(&self) {
        match &self.hand {
            Hand::Chip(emulator, _) => emulator.chip().clear(),
            Hand::Memory(field) => field.clear(),
        }
    }

    pub(crate) fn pull(&self, after: u32, heard: bool) {
        match &self.hand {
            Hand::Chip(emulator, _) if heard => emulator.fault(Fault::PullHeard(after)),
            Hand::Chip(emulator, _) => emulator.fault(Fault::Pull(after)),
            Hand::Memory(field) => field.cut(Cut { after, heard }),
        }
    }

    pub(crate) fn emulator(&mut self) -> &mut Emulator {
        match &mut self.hand {
            Hand::Chip(emulator, _) => emulator,
            Hand::Memory(_) => panic!("this bench has no chip"),
        }
    }

    pub(crate) async fn presence(&mut self) -> Result<Presence, ReaderError> {
        timeout(PATIENCE, self.reader.wait_card()).await.expect("the reader answers in time")
    }

    /// Waits for the card and debits it once.
    pub(crate) async fn debit(&mut self) -> Debit {
        assert_eq!(self.presence().await.unwrap(), Presence::Card(UID), "{}", self.name);
        let debit = timeout(PATIENCE, debit(&mut self.reader, UID)).await.expect(self.name);
        self.reader.release().await;
        debit
    }
}

/// A command and what came back.
type Exchange = (Vec<u8>, Result<Vec<u8>, ExchangeError>);

/// All that was said, and what came of it.
#[derive(Debug, PartialEq)]
pub(crate) struct Debit {
    pub(crate) said: Vec<Exchange>,
    pub(crate) found: Option<CardRecord>,
    pub(crate) settlement: Settlement,
}

fn next_record(before: &CardRecord) -> CardRecord {
    CardRecord {
        kind: RecordKind::Board,
        ctr: Ctr(before.ctr.0 + 1),
        balance: before.balance - 250,
        amount: 250,
        at_s: 1_800_000_000,
        validator: ValidatorId::new(42).unwrap(),
        place: PlaceIx(3),
        ..*before
    }
}

pub(crate) async fn debit(reader: &mut Reader, uid: CardId) -> Debit {
    let mut debit = DebitTransaction::new(uid, keys().debit_key(&uid).unwrap(), [5; 16]);
    let (mut said, mut before) = (Vec::new(), None);
    loop {
        match debit.poll().expect("a debit always says what comes next") {
            CardOutput::Transmit(apdu) => {
                let answer = reader.exchange(&apdu).await;
                debit.handle_response(answer.as_deref().map_err(Clone::clone));
                said.push((apdu, answer));
            }
            // A garbled answer can look like another version; no other is held.
            CardOutput::NeedKey { .. } => debit.handle_key(None, [6; 16]),
            CardOutput::Found(CardFound { record, .. }) => {
                before = Some(record);
                debit.write(&next_record(&record)).unwrap();
            }
            CardOutput::ReadyToCommit => debit.commit(),
            CardOutput::Settled(settlement) => return Debit { said, found: before, settlement },
        }
    }
}

pub(crate) fn newest(card: &SharedCard) -> (Ctr, i32) {
    let contents = card.lock().unwrap().contents().unwrap();
    (contents.ctr, contents.balance)
}
