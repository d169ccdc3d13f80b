//! Fares: what it takes to compile a feed's rules, how large the table is, and one price by
//! table beside the same price by the interpreter.

use std::{
    fs,
    hint::black_box,
    path::{Path, PathBuf},
};

use fare::rules::{Interpreter, Ride, RuleTable, StopIx, TicketTable, Who};
use gtfs::{Feed, FeedFares, read_feed_fares};
use model::{RouteIx, Timestamp};

use crate::measure::{
    each, grouped, headline, line, middle_of_five, ratio, say, short, thread_cpu,
};

/// Feeds beside the repository, or where `TAPLINE_FEEDS` names them; the demo's city always.
fn feeds() -> Vec<PathBuf> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let beside = tests.join("../../shared/data/gtfs");
    let folder = std::env::var_os("TAPLINE_FEEDS").map_or(beside, PathBuf::from);
    let mut feeds = vec![tests.join("demo/city")];
    for folder in [folder.clone(), folder.join("../gtfs-more")] {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        found.sort();
        feeds.extend(found.into_iter().filter(|path| path.join("routes.txt").is_file()));
    }
    feeds
}

/// Reads, compiles and prices every feed at hand.
pub(crate) fn run(quick: bool) -> anyhow::Result<()> {
    headline("fares: compile a feed, and one price by table and by interpreter");
    let feeds = feeds();
    if feeds.len() == 1 {
        say("  only the invented city is here: TAPLINE_FEEDS names a folder of real feeds");
    }
    for path in feeds {
        let feed = Feed::open(&path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (read, reading) = thread_cpu(|| read_feed_fares(&feed));
        match read.fares {
            None => line(&name, "has no fares that can be read"),
            Some(FeedFares::Rules(set)) => {
                let compile = || thread_cpu(|| black_box(RuleTable::compile(set.clone()))).1;
                let took = if quick { compile() } else { middle_of_five(compile) };
                let table = RuleTable::compile(set.clone());
                line(&name, &sizes(reading, took, table.cells(), table.bytes()));
                let rides = rides(set.stops.len(), set.routes.len(), quick);
                let interpreter = Interpreter::new(&set);
                let who = Who::default();
                let by_table = price_all(&rides, |ride| table.price(ride, who).total.minor());
                let by_rules = price_all(&rides, |ride| interpreter.price(ride, who).total.minor());
                let offers = price_all(&rides, |ride| {
                    table.ride_offers(&ride[0], who).first().map_or(-1, |offer| offer.amount)
                });
                prices(by_table, by_rules);
                line("    look-up of one ride alone", &short(offers.1));
            }
            Some(FeedFares::Tickets(set)) => {
                let compile = || thread_cpu(|| black_box(TicketTable::compile(set.clone()))).1;
                let took = if quick { compile() } else { middle_of_five(compile) };
                let table = TicketTable::compile(set.clone());
                line(&name, &sizes(reading, took, table.cells(), table.bytes()));
                let rides = rides(set.stops.len(), set.routes.len(), quick);
                let by_table = price_all(&rides, |ride| table.price(ride).total.minor());
                let by_rules = price_all(&rides, |ride| set.price(ride).total.minor());
                prices(by_table, by_rules);
            }
        }
    }
    Ok(())
}

fn sizes(
    reading: std::time::Duration,
    compile: std::time::Duration,
    cells: usize,
    bytes: usize,
) -> String {
    let number = |n: usize| grouped(u64::try_from(n).unwrap_or(u64::MAX));
    format!(
        "read {}, compile {}, {} cells, {} bytes",
        short(reading),
        short(compile),
        number(cells),
        number(bytes)
    )
}

/// The sum of all prices, which both must agree on, and the time of one.
type Priced = (i64, std::time::Duration);

fn prices(by_table: Priced, by_rules: Priced) {
    assert_eq!(by_table.0, by_rules.0, "table and interpreter price the same");
    let times = ratio(by_rules.1.as_nanos(), by_table.1.as_nanos());
    let value = format!(
        "{} by table, {} by interpreter: {times} times",
        short(by_table.1),
        short(by_rules.1)
    );
    line("    one price with its steps", &value);
}

fn price_all(rides: &[[Ride; 1]], price: impl Fn(&[Ride; 1]) -> i64) -> Priced {
    let (sum, took) = thread_cpu(|| rides.iter().map(|ride| price(black_box(ride))).sum());
    (sum, each(took, rides.len() as u64))
}

/// Single rides between stops far apart in the feed's list, on every route in turn.
fn rides(stops: usize, routes: usize, quick: bool) -> Vec<[Ride; 1]> {
    let count = if quick { 100 } else { 20_000 };
    let stop = |i: usize| StopIx(u32::try_from(i % stops).unwrap_or(0));
    let ride = |i: usize| {
        let departs = Timestamp::from_secs(1_728_560_000 + 60 * (i as u64 % 1440));
        let arrives = Timestamp::from_secs(departs.secs() + 900);
        let route = RouteIx(u16::try_from(i % routes).unwrap_or(0));
        [Ride { route, from: stop(i * 7919), to: stop(i * 104_729 + 1), departs, arrives }]
    };
    (0..count).map(ride).collect()
}
