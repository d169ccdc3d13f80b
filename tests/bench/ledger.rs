//! The ledger alone, in the shape of `TigerBeetle`'s own benchmark (LED-8): 10,000 accounts, one
//! million transfers in batches of 8,189, 100 and 1, spread and with one hot account. First the
//! pure step in memory, then the depot's store with every commit synced; beside that the same bytes
//! appended to a plain file with fdatasync, the limit that nothing durable beats.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::Write as _,
    path::Path,
    time::Duration,
};

use clearing::Account;
use depot_server::{
    clock::Stopwatch,
    intake::stored::{Booking, Stored as _},
    store::Store,
    workload::rules,
};
use ledger::{AccountId, Balance, Cause, Kind, Touched, Transfer, apply};
use model::{Currency, StationId, Timestamp};
use rustix::fs::fdatasync;

use crate::{
    depot::NOON,
    measure::{Samples, grouped, headline, line, rate, ratio, thread_cpu},
};

const ACCOUNTS: u16 = 10_000;

/// One way of arriving: transfers of a batch, and of the whole run in memory and on disk.
const SHAPES: [(usize, u64, u64); 3] =
    [(8_189, 1_000_000, 500_000), (100, 1_000_000, 100_000), (1, 1_000_000, 2_000)];

/// Prints it.
pub(crate) fn run(scratch: &Path, quick: bool) -> anyhow::Result<()> {
    headline("ledger alone: 10 000 accounts; one transfer is two postings");
    for hot in [false, true] {
        let whose = if hot { "one hot account" } else { "spread" };
        for (batch, in_memory, durable) in SHAPES {
            let shorter = |count: u64| if quick { count / 200 } else { count };
            memory(&format!("{whose}, batches of {batch}"), batch, shorter(in_memory).max(1), hot);
            let count = shorter(durable).max(2 * batch as u64);
            on_disk(scratch, batch, count, hot)?;
        }
    }
    Ok(())
}

fn transfers(count: u64, hot: bool) -> Vec<Transfer> {
    let currency = rules().currency();
    let mixed = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let number = |n: u64| u16::try_from(n % u64::from(ACCOUNTS)).expect("few accounts");
    let account = |number: u16| Account::DeskCash(StationId(number)).id(currency);
    (0..count)
        .map(|n| {
            let debit = number(1 + mixed(n) % u64::from(ACCOUNTS - 1));
            let other = number(u64::from(debit) + 1 + mixed(n + count) % u64::from(ACCOUNTS - 1));
            let credit = if hot { 0 } else { other };
            one(n, account(debit), account(credit), currency)
        })
        .collect()
}

fn one(n: u64, debit: AccountId, credit: AccountId, currency: Currency) -> Transfer {
    let cause = Cause::new(1, &[&n.to_be_bytes()]);
    Transfer {
        id: cause.transfer_id(0),
        debit,
        credit,
        amount: 1,
        currency,
        kind: Kind::Direct,
        event_at: Timestamp::from_secs(u64::from(NOON)),
        booked_at: Timestamp::from_secs(u64::from(NOON)),
        cause,
    }
}

/// One batch into books that are one map.
pub(crate) fn book(all: &mut BTreeMap<AccountId, Balance>, batch: &[Transfer]) {
    let mut touched = Touched::default();
    for transfer in batch {
        for account in [transfer.debit, transfer.credit] {
            if !touched.has_balance(&account) {
                let balance = all.get(&account).copied().unwrap_or_default();
                touched.preload_balance(account, balance);
            }
        }
        apply(&mut touched, transfer).expect("is booked");
    }
    all.extend(touched.take_changes().balances);
}

/// The pure step: (books, batch) to changes, with the books in one map.
fn memory(name: &str, batch: usize, count: u64, hot: bool) {
    let transfers = transfers(count, hot);
    let mut all = BTreeMap::<AccountId, Balance>::new();
    let mut batches = Samples::default();
    let work = || {
        for batch in transfers.chunks(batch) {
            batches.time(|| {
                book(&mut all, batch);
            });
        }
    };
    let ((), took) = thread_cpu(work);
    let sum: i64 = all.values().map(Balance::posted).sum();
    let moved: i64 = all.values().map(|balance| balance.credits_posted).sum();
    assert_eq!((sum, moved.unsigned_abs()), (0, count), "every transfer is booked");
    line(name, &format!("{} postings/s of one core", grouped(2 * rate(count, took))));
    line("  in memory, a batch", &batches.to_string());
}

/// The depot's store: read the touched accounts, apply, write, sync.
fn on_disk(scratch: &Path, batch: usize, count: u64, hot: bool) -> anyhow::Result<()> {
    let folder = tempfile::tempdir_in(scratch)?;
    let store = Store::open(&folder.path().join("ledger.sqlite"))?;
    let (rules, transfers) = (rules(), transfers(count, hot));
    let now = Timestamp::from_secs(u64::from(NOON));
    let mut commits = Samples::default();
    let watch = Stopwatch::start();
    for batch in transfers.chunks(batch) {
        commits.time(|| {
            let group = store.begin()?;
            let mut touched = Touched::default();
            for transfer in batch {
                for account in [transfer.debit, transfer.credit] {
                    if !touched.has_balance(&account) {
                        touched.preload_balance(account, group.balance(&account)?);
                    }
                }
                apply(&mut touched, transfer)?;
            }
            let period = rules.period(group.open_day(), now);
            let ledger = touched.take_changes();
            group.commit(&Booking { at: now, period, ledger, ..Booking::default() })?;
            anyhow::Ok(())
        })?;
    }
    let took = watch.elapsed();
    let plain = plain(folder.path(), &transfers, batch)?;
    line(
        "  durable, a commit a batch",
        &format!(
            "{} postings/s, {} of a plain append's {}",
            grouped(2 * rate(count, took)),
            ratio(plain.sum().as_nanos(), took.as_nanos()),
            grouped(2 * rate(count, plain.sum().max(Duration::from_nanos(1)))),
        ),
    );
    line("  durable, a batch", &commits.to_string());
    line("  the same bytes appended and synced", &plain.to_string());
    Ok(())
}

fn plain(folder: &Path, transfers: &[Transfer], batch: usize) -> anyhow::Result<Samples> {
    let mut file: File =
        OpenOptions::new().create(true).append(true).open(folder.join("plain.log"))?;
    let mut samples = Samples::default();
    for batch in transfers.chunks(batch) {
        let bytes: Vec<u8> = batch.iter().flat_map(Transfer::to_bytes).collect();
        samples.time(|| -> anyhow::Result<()> {
            file.write_all(&bytes)?;
            Ok(fdatasync(&file)?)
        })?;
    }
    Ok(samples)
}
