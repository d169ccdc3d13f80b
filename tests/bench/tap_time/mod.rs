//! A tap's timeline, and what our driver costs beside libnfc.
//!
//! The exchange list is the production one: the debit machine against the virtual card, through
//! the emulated chip. Line, air, chip and card are modelled (`model`); our own part is measured.

mod drivers;
mod model;
mod reads;

use std::time::Duration;

use card::{
    CardFound, CardKeys, CardOutput, CardStep, DebitTransaction, Key, KeySet, Opening, Settlement,
    VirtualCard,
};
use tapline_tests::pn532::Chip;

use self::model::{AIR, BAUDS, Beginning, Exchange, Times};
use crate::{
    debit::{UID, next_record},
    measure::{each, headline, line, middle_of_five, say, thread_cpu},
};

/// Prints it.
pub(crate) fn run(quick: bool) -> anyhow::Result<()> {
    let (beginning, debit) = replay()?;
    anyhow::ensure!(debit.len() <= 7, "{} exchanges", debit.len());
    let driver = drivers::ours(if quick { 20 } else { 5_000 })?;
    let core = each(core_cpu(if quick { 20 } else { 2_000 })?, debit.len() as u64);
    let ours = core + driver;
    whole_taps(beginning, &debit, ours);
    for (baud, kbps) in [(115_200, 106), (921_600, 424)] {
        timeline(beginning, &debit, ours, baud, kbps);
    }
    line("of ours in each exchange: session, MACs, rules", &micros(core));
    line("of ours in each exchange: the driver", &micros(driver));
    reads::compare(&debit)?;
    drivers::compare(if quick { 20 } else { 5_000 })
}

/// A debit as the tap loop drives it, every byte through the emulated chip.
fn replay() -> anyhow::Result<(Beginning, Vec<Exchange>)> {
    let (mut chip, keys) = chip_with_card()?;
    let beginning = Beginning::of(&mut chip)?;
    let mut machine = DebitTransaction::new(UID, keys.debit_key(&UID)?, [5; 16]);
    let mut exchanges = Vec::new();
    loop {
        match machine.poll() {
            Some(CardOutput::Transmit(apdu)) => {
                let step = machine.step();
                let name = name(step, &exchanges);
                let exchange = Exchange::over(&mut chip, name, step, &apdu)?;
                machine.handle_response(Ok(&exchange.answer));
                exchanges.push(exchange);
            }
            Some(CardOutput::Found(CardFound { record, .. })) => {
                machine.write(&next_record(&record))?;
            }
            Some(CardOutput::ReadyToCommit) => machine.commit(),
            Some(CardOutput::Settled(Settlement::Committed { .. })) => {
                return Ok((beginning, exchanges));
            }
            other => anyhow::bail!("the debit ends with {other:?}"),
        }
    }
}

/// A chip with one issued card in its field.
pub(super) fn chip_with_card() -> anyhow::Result<(Chip, KeySet)> {
    let keys = KeySet::from_root(&Key([7; 16]));
    let opening = Opening { balance: 2_000, ..Opening::default() };
    let (card, _) = VirtualCard::issue(UID, [9; 16], &keys, &opening)?;
    let mut chip = Chip::default();
    chip.place(card);
    Ok((chip, keys))
}

fn name(step: CardStep, before: &[Exchange]) -> &'static str {
    match step {
        CardStep::Select => "select the application",
        CardStep::Authenticate if before.len() == 1 => "authenticate, challenge",
        CardStep::Authenticate => "authenticate, answer",
        CardStep::Read => "read the newest record",
        CardStep::ReadProducts => "read the products",
        CardStep::ReadPurse => "read the currency",
        CardStep::ReadCounters => "read the counters",
        CardStep::ReadProof => "read the proof",
        CardStep::Value => "debit",
        CardStep::Products => "write the products",
        CardStep::Rides => "take rides",
        CardStep::Counters => "write the counters",
        CardStep::Write => "write the record",
        CardStep::Commit => "commit",
        CardStep::Personalise => "personalise",
    }
}

/// Processor time of the debit machine alone, for a whole debit.
fn core_cpu(rounds: u64) -> anyhow::Result<Duration> {
    let keys = KeySet::from_root(&Key([7; 16]));
    let opening = Opening { balance: 1_000_000, ..Opening::default() };
    let (mut card, _) = VirtualCard::issue(UID, [9; 16], &keys, &opening)?;
    let key = keys.debit_key(&UID)?;
    let took = middle_of_five(|| {
        let mut ours = Duration::ZERO;
        for _ in 0..rounds {
            card.power_off();
            let (mut machine, took) =
                thread_cpu(|| DebitTransaction::new(UID, key.clone(), [5; 16]));
            ours += took;
            loop {
                let (output, took) = thread_cpu(|| machine.poll());
                ours += took;
                match output {
                    Some(CardOutput::Transmit(apdu)) => {
                        let answer = card.handle_apdu(&apdu);
                        ours += thread_cpu(|| machine.handle_response(Ok(&answer))).1;
                    }
                    Some(CardOutput::Found(CardFound { record, .. })) => {
                        let write = || machine.write(&next_record(&record)).expect("a good record");
                        ours += thread_cpu(write).1;
                    }
                    Some(CardOutput::ReadyToCommit) => {
                        ours += thread_cpu(|| machine.commit()).1;
                    }
                    Some(CardOutput::NeedKey { .. } | CardOutput::Settled(_)) | None => break,
                }
            }
        }
        ours
    });
    Ok(each(took, rounds))
}

fn whole(beginning: Beginning, debit: &[Exchange], baud: u32, kbps: u32) -> Times {
    debit
        .iter()
        .fold(beginning.times(baud, kbps), |sum, exchange| sum.plus(exchange.times(baud, kbps)))
}

fn whole_taps(beginning: Beginning, debit: &[Exchange], ours: Duration) {
    headline("tap time: a whole debit in ms, modelled line, air, chip and card; our part measured");
    let columns = AIR.map(|kbps| format!("{kbps:>8} kbit/s")).concat();
    say(&format!("  {:<24}{columns}", "line, bit/s"));
    let ours = ours * u32::try_from(debit.len()).unwrap_or(u32::MAX);
    for baud in BAUDS {
        let cells =
            AIR.map(|kbps| format!("{:>15}", ms(whole(beginning, debit, baud, kbps).sum() + ours)));
        say(&format!("  {baud:<24}{}", cells.concat()));
    }
}

fn timeline(beginning: Beginning, debit: &[Exchange], ours: Duration, baud: u32, kbps: u32) {
    headline(&format!("one tap at {baud} bit/s and {kbps} kbit/s, in ms"));
    say(&format!(
        "  {:<26}{:>5}{:>5}{:>7}{:>8}{:>8}{:>11}{:>7}{:>9}",
        "", "C B", "R B", "line B", "line", "air", "card, chip", "ours", "done at"
    ));
    let mut clock = Duration::ZERO;
    let mut row = |name: &str, bytes: [usize; 3], times: Times, ours: Duration| {
        clock += times.sum() + ours;
        let [sent, heard, line] = bytes.map(|n| if n == 0 { String::new() } else { n.to_string() });
        say(&format!(
            "  {name:<26}{sent:>5}{heard:>5}{line:>7}{:>8}{:>8}{:>11}{:>7}{:>9}",
            ms(times.line),
            ms(times.air),
            ms(times.chips),
            ms(ours),
            ms(clock)
        ));
    };
    row("activation", [0; 3], beginning.times(baud, kbps), Duration::ZERO);
    for exchange in debit {
        let bytes = [exchange.command.len(), exchange.answer.len(), exchange.line];
        row(exchange.name, bytes, exchange.times(baud, kbps), ours);
    }
}

/// Milliseconds with two decimals.
pub(super) fn ms(took: Duration) -> String {
    let hundredths = took.as_micros() / 10;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// Microseconds with one decimal.
pub(super) fn micros(took: Duration) -> String {
    let tenths = took.as_nanos() / 100;
    format!("{}.{} \u{b5}s", tenths / 10, tenths % 10)
}
