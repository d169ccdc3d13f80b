//! The validator's price is the depot's price: random cities with every rule at once, random
//! journeys, each tap decided from the card's bytes and priced again from the tap's wire entry.
//!
//! `TAPLINE_JOURNEYS` sets how many, `TAPLINE_JOURNEY_SEED` where they begin; `tests/run journeys`
//! rides a million. A failure names the seed of its city.

mod bounds;
mod city;
mod purse;
mod ride;

use std::time::Instant;

use tapline_tests::sim::dice::Dice;

use city::City;
use ride::{Rider, Seen};

/// Journeys of a test run: a few seconds.
const JOURNEYS: u64 = 50_000;
/// Journeys in one city before another is built.
const IN_ONE_CITY: u64 = 50;

fn setting(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text:?}")),
        Err(_) => otherwise,
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a long run says how long it took")]
fn validator_and_depot_price_every_tap_alike_and_nobody_pays_more_than_a_cap() {
    let (journeys, first) =
        (setting("TAPLINE_JOURNEYS", JOURNEYS), setting("TAPLINE_JOURNEY_SEED", 1));
    let (mut seen, started) = (Seen::default(), Instant::now());
    for seed in first..first + journeys.div_ceil(IN_ONE_CITY) {
        let mut dice = Dice::new(seed);
        let city = City::new(&mut dice);
        for journey in 0..IN_ONE_CITY {
            let ridden = Rider::new(&city, &mut dice).ride(&mut dice, &mut seen);
            if let Err(difference) = ridden {
                panic!(
                    "TAPLINE_JOURNEY_SEED={seed} TAPLINE_JOURNEYS=1, journey {journey}: \
                     {difference}\n{}",
                    city.texts.join("\n# The next version\n")
                );
            }
        }
    }
    println!("{journeys} journeys in {:.1?}: {seen:?}", started.elapsed());
    if journeys >= JOURNEYS {
        seen.assert_everything_happened();
    }
}
