//! What holds for any sequence of taps and any text.

use alloc::{format, string::String};

use model::{Companions, PlaceIx, RiderClass, TapRole, TariffVersion, Timestamp, ValidatorId};
use proptest::prelude::*;

use super::{CITY, city};
use crate::{FareTap, Journey, Tariff, TariffSet, price};

fn any_tap() -> impl Strategy<Value = (u64, TapRole, u16, Option<u16>, u32)> {
    let role = prop_oneof![Just(TapRole::Board), Just(TapRole::Entry), Just(TapRole::Exit)];
    (0_u64..9000, role, 0_u16..6, proptest::option::of(0_u16..4), 0_u32..3)
}

proptest! {
    #[test]
    fn steps_sum_to_a_charge_that_is_never_negative_nor_above_what_the_rules_allow(
        taps in proptest::collection::vec(any_tap(), 1..40),
        held in super::products::any_held(),
    ) {
        let set = TariffSet::new(city());
        let mut journey = Journey::default().holding(held);
        let mut at_s = 1_800_000_000;
        for (wait_s, role, place, route, validator) in taps {
            at_s += wait_s;
            let tap = FareTap {
                at: Timestamp::from_secs(at_s),
                role,
                place: PlaceIx(place),
                route: route.map(model::RouteIx),
                class: RiderClass(0),
                companions: Companions::NONE,
                purse: None,
                validator: ValidatorId::new(validator).unwrap(),
                tariff: TariffVersion(1),
            };
            let open = journey.open().is_some();
            let Ok(quote) = price(&set, &journey, &tap) else { continue };
            let sum: i64 = quote.steps.iter().map(|step| step.amount.minor()).sum();
            prop_assert_eq!(sum, quote.charge.minor());
            let penalty = if open && role != TapRole::Exit { 300 } else { 0 };
            let dearest = match role {
                TapRole::Board => 400,
                TapRole::Entry => 0,
                TapRole::Exit => 300,
            };
            prop_assert!((0..=dearest + penalty).contains(&quote.charge.minor()), "{quote:?}");
            prop_assert!(quote.min_balance.minor() >= quote.charge.minor());
            let rides = |held: Option<model::ProductsFound>| held.and_then(|held| held.rides);
            let left = rides(journey.held).unwrap_or(0).checked_sub(quote.used.rides.into());
            prop_assert_eq!(left, Some(rides(quote.journey_after.held).unwrap_or(0)));
            prop_assert!(quote.used.rides <= 2, "a missing tap-out and this ride");
            if let Some(run) = quote.run_after {
                prop_assert!((1..=15).contains(&run.legs));
            }
            journey = quote.journey_after;
        }
    }

    #[test]
    fn rec_10_no_card_is_further_below_zero_than_one_dip_whatever_it_taps(
        taps in proptest::collection::vec(any_tap(), 1..40),
        opening in 0_i64..2000,
        dip in 0_i64..500,
    ) {
        let text = format!("dip = \"{}.{:02}\"\n{CITY}", dip / 100, dip % 100);
        let set = TariffSet::new(Tariff::parse(&text).unwrap());
        let (mut journey, mut balance, mut at_s) = (Journey::default(), opening, 1_800_000_000);
        for (wait_s, role, place, route, validator) in taps {
            at_s += wait_s;
            let tap = FareTap {
                at: Timestamp::from_secs(at_s),
                role,
                place: PlaceIx(place),
                route: route.map(model::RouteIx),
                class: RiderClass(0),
                companions: Companions::NONE,
                purse: None,
                validator: ValidatorId::new(validator).unwrap(),
                tariff: TariffVersion(1),
            };
            let Ok(quote) = price(&set, &journey, &tap) else { continue };
            if balance < quote.min_balance.minor() {
                continue;
            }
            prop_assert!(balance >= 0 || quote.debit.minor() == 0, "a second dip: {quote:?}");
            balance -= quote.debit.minor();
            prop_assert!(balance >= -dip, "{balance} after {quote:?}");
            journey = quote.journey_after;
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        let _ = Tariff::parse(&text);
    }

    #[test]
    fn a_damaged_tariff_is_read_or_refused(
        at in 0..CITY.len(),
        insert in "[ -~\\n]{0,6}",
        cut in 0_usize..30,
    ) {
        let mut bytes = CITY.as_bytes().to_vec();
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, insert.bytes());
        let text = String::from_utf8(bytes).unwrap();
        match Tariff::parse(&text) {
            Ok(tariff) => prop_assert_eq!(Tariff::parse(&tariff.to_toml()).unwrap(), tariff),
            Err(found) => prop_assert!(!found.is_empty()),
        }
    }
}
