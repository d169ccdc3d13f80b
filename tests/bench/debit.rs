//! One debit on the card: its exchanges, and the processor time of both ends.

use std::time::Duration;

use card::{
    CardFound, CardKeys, CardOutput, DebitTransaction, Key, KeySet, Opening, Settlement,
    VersionedKey, VirtualCard,
};
use model::{CardId, CardRecord, Ctr, PlaceIx, RecordKind, ValidatorId};

use crate::{
    depot::NOON,
    measure::{each, headline, line, middle_of_five, short, thread_cpu},
};

pub(crate) const UID: CardId = CardId([4, 0xa1, 0xb2, 0xc3, 0xd4, 0xe5, 0xf6]);

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
    Ok(())
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

pub(crate) fn next_record(before: &CardRecord) -> CardRecord {
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
