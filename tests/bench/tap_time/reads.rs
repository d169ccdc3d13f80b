//! ADR-0005: what it costs that reads stay in the Transaction MAC input, and what it would cost to
//! take them out by `AbortTransaction`. The second way exists only here.

use card::{
    CardKeys, CardStep,
    apdu::{cmd, parse_answer, span, wrap},
    layout::{AID, FILE_LOG, FILE_MODE, FILE_VALUE, KEY_DEBIT, RECORD_LEN},
    session::{Authentication, Session},
};
use depot_server::workload::{Bus, Cards};
use model::CardRecord;
use tapline_tests::pn532::Chip;

use super::{
    chip_with_card,
    model::{Beginning, Exchange, Times},
    ms,
};
use crate::{
    debit::{UID, next_record},
    depot::{NOON, depot_name},
    measure::{headline, ratio, say},
};

/// Prints both.
pub(super) fn compare(kept: &[Exchange]) -> anyhow::Result<()> {
    headline("ADR-0005: reads kept in the MAC input, or dropped by AbortTransaction");
    say(&format!(
        "  {:<38}{:>10}{:>8}{:>8}{:>14}{:>14}{:>12}",
        "", "exchanges", "air B", "line B", "115200/106 ms", "921600/424 ms", "wire B/tap"
    ));
    let aborted = aborted()?;
    let (with, without) = wire_len()?;
    row("kept, the tap carries what was read", kept, &with);
    row("dropped, the tap carries it (evidence)", &aborted, &with);
    row("dropped, the tap does not carry it", &aborted, &without);
    Ok(())
}

fn row(name: &str, exchanges: &[Exchange], wire: &str) {
    let sum = |baud, kbps| {
        let times = exchanges.iter().map(|exchange| exchange.times(baud, kbps));
        ms(times.fold(Times::default(), Times::plus).sum())
    };
    let air: usize = exchanges.iter().map(Exchange::air_len).sum();
    let line: usize = exchanges.iter().map(|exchange| exchange.line).sum();
    say(&format!(
        "  {name:<38}{:>10}{air:>8}{line:>8}{:>14}{:>14}{wire:>12}",
        exchanges.len(),
        sum(115_200, 106),
        sum(921_600, 424),
    ));
}

/// A tap in a batch of 50, all overhead included, with and without the record that was read.
fn wire_len() -> anyhow::Result<(String, String)> {
    const BATCH: u32 = 50;
    let mut cards = Cards::new(BATCH, NOON - 1_000);
    let mut bus = Bus::new(4711, &depot_name());
    for card in 0..BATCH {
        bus.board(&mut cards, card, NOON + 7 * card);
    }
    let batch = bus.assemble();
    // Key 10 and the head of a byte string, then the record.
    let field = [0x0a, 0x58, u8::try_from(CardRecord::LEN)?];
    let mut saved = 0;
    for entry in &batch.entries {
        anyhow::ensure!(entry.windows(3).any(|bytes| bytes == field), "an entry has `before`");
        saved += field.len() + CardRecord::LEN;
    }
    let all = crate::bytes::publish_len(&bus.seal(&batch));
    let each = |bytes: usize| ratio(bytes as u128, u128::from(BATCH));
    Ok((each(all), each(all - saved)))
}

/// The debit with its read taken out of the MAC input: eight exchanges.
fn aborted() -> anyhow::Result<Vec<Exchange>> {
    let (mut chip, keys) = chip_with_card()?;
    Beginning::of(&mut chip)?;
    let mut said = Vec::new();
    let mut session = log_in(&mut chip, &keys, &mut said)?;
    let mut secured = |name, step, code, header: &[u8], data: &[u8]| -> anyhow::Result<Vec<u8>> {
        let command = wrap(code, &session.seal_command(FILE_MODE, code, header, data));
        let answer = told(&mut chip, &mut said, name, step, &command)?;
        Ok(session.open_answer(FILE_MODE, &answer)?)
    };
    let read = span(FILE_LOG, 0, 1);
    let newest = secured("read", CardStep::Read, cmd::READ_RECORDS, &read, &[])?;
    let newest = <[u8; CardRecord::LEN]>::try_from(&newest[..])?;
    let after = next_record(&CardRecord::from_bytes(&newest)?);
    secured("abort", CardStep::Read, cmd::ABORT_TRANSACTION, &[], &[])?;
    let amount = after.amount.to_le_bytes();
    secured("debit", CardStep::Value, cmd::DEBIT, &[FILE_VALUE], &amount)?;
    let record = after.to_bytes()?;
    let to = span(FILE_LOG, 0, RECORD_LEN);
    secured("write", CardStep::Write, cmd::WRITE_RECORD, &to, &record)?;
    secured("commit", CardStep::Commit, cmd::COMMIT_TRANSACTION, &[1], &[])?;
    Ok(said)
}

fn log_in(
    chip: &mut Chip,
    keys: &impl CardKeys,
    said: &mut Vec<Exchange>,
) -> anyhow::Result<Session> {
    let key = keys.debit_key(&UID)?;
    told(chip, said, "select", CardStep::Select, &wrap(cmd::SELECT_APPLICATION, &AID))?;
    let first = wrap(cmd::AUTHENTICATE_EV2_FIRST, &[KEY_DEBIT, 0]);
    let challenge = told(chip, said, "challenge", CardStep::Authenticate, &first)?;
    let mut authentication = Authentication::new(key.key, [5; 16]);
    let proof = authentication.answer_challenge(&<[u8; 16]>::try_from(&challenge[..])?);
    let second = wrap(cmd::ADDITIONAL_FRAME, &proof);
    let answer = told(chip, said, "answer", CardStep::Authenticate, &second)?;
    let session = authentication.finish_first(&<[u8; 32]>::try_from(&answer[..])?);
    session.ok_or_else(|| anyhow::anyhow!("the card knows the key"))
}

/// One exchange; the answer's data without its status.
fn told(
    chip: &mut Chip,
    said: &mut Vec<Exchange>,
    name: &'static str,
    step: CardStep,
    command: &[u8],
) -> anyhow::Result<Vec<u8>> {
    let exchange = Exchange::over(chip, name, step, command)?;
    let answer = parse_answer(&exchange.answer)
        .ok_or_else(|| anyhow::anyhow!("{name}: no answer of a card"))?;
    anyhow::ensure!(matches!(answer.status.0, 0x9100 | 0x91af), "{name}: {}", answer.status);
    let data = answer.data.to_vec();
    said.push(exchange);
    Ok(data)
}
