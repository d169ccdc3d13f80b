//! One debit on the card, and what a reader's driver adds to each exchange.

use std::time::Duration;

use anyhow::Context;
use card::{
    CardFound, CardKeys, CardOutput, DebitTransaction, Key, KeySet, Opening, Settlement,
    VersionedKey, VirtualCard,
};
use model::{CardId, CardRecord, Ctr, PlaceIx, RecordKind, ValidatorId};
use reader::{Activation, CardTransport, Picc, Presence, Reader, ReaderConfig, ReaderKind};
use tapline_tests::pn532::Emulator;

use crate::{
    depot::NOON,
    measure::{Samples, each, headline, line, middle_of_five, process_cpu, short, thread_cpu},
};

const UID: CardId = CardId([4, 0xa1, 0xb2, 0xc3, 0xd4, 0xe5, 0xf6]);
/// As long as the longest command of a debit, about.
const COMMAND: [u8; 50] = [0x90; 50];

/// What one debit says to the card and hears from it.
#[derive(Debug, Clone, Copy, Default)]
struct Said {
    exchanges: u64,
    sent: usize,
    heard: usize,
    /// Processor time of the card.
    card: Duration,
}

/// Prints it.
pub(crate) fn run(quick: bool) -> anyhow::Result<()> {
    headline("card: one debit, in memory, processor time");
    let rounds = if quick { 20 } else { 2_000 };
    let keys = KeySet::from_root(&Key([7; 16]));
    let opening = Opening { balance: 1_000_000, ..Opening::default() };
    let (mut card, _) = VirtualCard::issue(UID, [9; 16], &keys, &opening)?;
    let key = keys.debit_key(&UID)?;
    let mut said = Said::default();
    let mut cards_part = Duration::ZERO;
    let took = middle_of_five(|| {
        let work = || {
            for _ in 0..rounds {
                said = debit(&mut card, key.clone());
                cards_part += said.card;
            }
        };
        thread_cpu(work).1
    });
    let both = each(took, rounds);
    let card = each(cards_part, rounds * 5);
    let Said { exchanges, sent, heard, .. } = said;
    line("exchanges of a debit", &format!("{exchanges} ({sent} B sent, {heard} B heard)"));
    line("validator's part: session, MACs, records", &short(both.saturating_sub(card)));
    line("card's part, by the virtual card", &short(card));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(readers(if quick { 20 } else { 2_000 }))
}

fn debit(card: &mut VirtualCard, key: VersionedKey) -> Said {
    card.power_off();
    let mut machine = DebitTransaction::new(UID, key, [5; 16]);
    let mut said = Said::default();
    loop {
        match machine.poll().expect("a debit always says what comes next") {
            CardOutput::Transmit(apdu) => {
                let (answer, took) = thread_cpu(|| card.handle_apdu(&apdu));
                said.exchanges += 1;
                said.sent += apdu.len();
                said.heard += answer.len();
                said.card += took;
                machine.handle_response(Ok(&answer));
            }
            // The card was issued under the one version there is.
            CardOutput::NeedKey { .. } => machine.handle_key(None, [6; 16]),
            CardOutput::Found(CardFound { record, .. }) => {
                machine.write(&next_record(&record)).expect("a good record");
            }
            CardOutput::ReadyToCommit => machine.commit(),
            CardOutput::Settled(settlement) => {
                assert!(matches!(settlement, Settlement::Committed { .. }), "{settlement:?}");
                return said;
            }
        }
    }
}

fn next_record(before: &CardRecord) -> CardRecord {
    CardRecord {
        kind: RecordKind::Board,
        ctr: Ctr(before.ctr.0 + 1),
        balance: before.balance - 10,
        amount: 10,
        at_s: NOON,
        validator: ValidatorId::new(42).expect("24 bits"),
        place: PlaceIx(3),
        ..*before
    }
}

/// A card that repeats what it hears, at no cost of its own.
struct Echo;

impl Picc for Echo {
    fn activation(&self) -> Activation {
        Activation::desfire(UID)
    }

    fn transceive(&mut self, apdu: &[u8]) -> Option<Vec<u8>> {
        Some(apdu.to_vec())
    }

    fn field_off(&mut self) {}
}

async fn readers(rounds: u64) -> anyhow::Result<()> {
    headline("readers: one exchange of 50 B over the emulated PN532, the emulator's part included");
    let native = exchanges(ReaderKind::Pn532, rounds).await?;
    line("our driver", &native.to_string());
    #[cfg(feature = "libnfc")]
    {
        let libnfc = exchanges(ReaderKind::Libnfc, rounds).await?;
        line("libnfc", &libnfc.to_string());
        let of = |of: Duration, to: Duration| crate::measure::ratio(of.as_nanos(), to.as_nanos());
        line("ours : libnfc, time at p50", &of(native.wall.p50(), libnfc.wall.p50()));
        line("ours : libnfc, processor time", &of(native.cpu, libnfc.cpu));
    }
    #[cfg(not(feature = "libnfc"))]
    line("libnfc", "not built: add --features libnfc");
    Ok(())
}

struct Exchanges {
    wall: Samples,
    cpu: Duration,
}

impl std::fmt::Display for Exchanges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, processor {}", self.wall, short(self.cpu))
    }
}

async fn exchanges(kind: ReaderKind, rounds: u64) -> anyhow::Result<Exchanges> {
    let folder = tempfile::tempdir()?;
    let emulator = Emulator::start(&folder.path().join("reader"))?;
    let helper = match (kind, option_env!("CARGO_BIN_EXE_nfc-helper-under-test")) {
        (ReaderKind::Libnfc, Some(program)) => Some(program.into()),
        _ => None,
    };
    let config = ReaderConfig { kind, helper, ..ReaderConfig::pn532(emulator.path()) };
    let mut reader = Reader::open(&config).await?;
    emulator.place(Echo);
    let found = reader.wait_card().await?;
    anyhow::ensure!(found == Presence::Card(UID), "the card is found: {found:?}");
    let (mut wall, before) = (Samples::default(), process_cpu());
    for _ in 0..rounds {
        let watch = depot_server::clock::Stopwatch::start();
        let answer = reader.exchange(&COMMAND).await;
        wall.push(watch.elapsed());
        let answer = answer.ok().context("the card answers")?;
        anyhow::ensure!(answer == COMMAND, "the card repeats what it hears");
    }
    let cpu = each(process_cpu().saturating_sub(before), rounds);
    reader.close().await;
    Ok(Exchanges { wall, cpu })
}
