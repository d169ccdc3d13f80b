//! Riders on the holder's card: priced again with the tap, from its entry or from the doubt.

use fare::{Tariff, TariffSet, rules::ZoneOffsets};
use model::{CardRecord, CardTransaction, Companions, RiderClass, RouteIx};

use super::{CITY, Depot, History, Ride, committed, confirmed, entry_of, in_doubt};
use crate::{CardState, ExceptionChange, ExceptionKind, Outcome, Priced, Rules};

const BUS: Option<RouteIx> = Some(RouteIx(0));

fn family() -> Rules {
    let utc = |_: &str| Some(ZoneOffsets::fixed(0));
    let tariff = Tariff::parse_in(CITY, Some("companions = { riders_max = 3 }"), &utc);
    Rules::new(TariffSet::new(tariff.unwrap_or_else(|found| panic!("{found:#?}"))))
}

fn adults(n: u8) -> Companions {
    Companions::new([(RiderClass(0), n)]).unwrap()
}

/// The first tap of a card with 20.00 and so many companions, as an honest validator makes it.
fn honest(rules: &Rules, companions: Companions) -> CardTransaction {
    let mut history = History::issued(2000);
    history.ride(rules, Ride::Board(RouteIx(0)));
    let CardTransaction { before, after, .. } = history.transaction(2);
    let tap = CardTransaction { companions, ..history.transaction(2) };
    let Priced::Quote(quote) = rules.price(&tap, BUS) else { panic!("the bus has a fare") };
    charged(
        CardTransaction { before, after: CardRecord { run: quote.run_after, ..after }, ..tap },
        u32::try_from(quote.charge.minor()).unwrap(),
    )
}

fn charged(tap: CardTransaction, amount: u32) -> CardTransaction {
    let balance = tap.before.balance - i32::try_from(amount).unwrap();
    CardTransaction { after: CardRecord { amount, balance, ..tap.after }, ..tap }
}

/// What the depot finds wrong with the price of a tap.
fn mismatch(tap: CardTransaction) -> Option<alloc::string::String> {
    let rules = family();
    let mut depot = Depot::default();
    depot.issue(&rules, &tap.before);
    let cleared = depot.clear(&rules, &entry_of(&tap, BUS, 1, committed(tap)));
    cleared.exceptions.into_iter().find_map(|change| match change {
        ExceptionChange::Opened(item) => {
            assert_eq!(item.kind, ExceptionKind::FareMismatch);
            Some(item.finding)
        }
        ExceptionChange::Changed(_) | ExceptionChange::Resolved { .. } => None,
    })
}

#[test]
fn a_group_is_priced_again_with_its_companions() {
    let rules = family();
    assert_eq!(honest(&rules, adults(3)).after.amount, 600);
    for n in 0..=3 {
        assert_eq!(mismatch(honest(&rules, adults(n))), None, "{n}");
    }
    let group = honest(&rules, adults(2));
    for (tap, finding) in [
        (
            CardTransaction { companions: adults(0), ..group },
            "charged 4.50 EUR; tariff 1 says: 1.50",
        ),
        (
            CardTransaction { companions: adults(1), ..group },
            "charged 4.50 EUR; tariff 1 says: 3.00",
        ),
        (charged(group, 150), "charged 1.50 EUR; tariff 1 says: 4.50"),
        (CardTransaction { companions: adults(4), ..group }, "not so many companions"),
    ] {
        let told = mismatch(tap).unwrap_or_default();
        assert!(told.contains(finding), "{told:?} does not say {finding:?}");
    }
}

#[test]
fn a_group_in_doubt_keeps_its_companions_until_it_is_decided() {
    let rules = family();
    let tap = honest(&rules, adults(2));
    let mut depot = Depot::default();
    depot.issue(&rules, &tap.before);
    let held = depot.clear(&rules, &entry_of(&tap, BUS, 1, in_doubt(tap)));
    assert_eq!(held.outcome, Outcome::Held);
    let bytes = held.state.to_bytes().unwrap();
    assert_eq!(CardState::from_bytes(&bytes), Ok(held.state), "kept with its companions");
    for cut in 0..bytes.len() {
        assert!(CardState::from_bytes(&bytes[..cut]).is_err(), "{cut}");
    }
    // Seen again on another route: priced by its own.
    let seen = depot.clear(&rules, &entry_of(&tap, Some(RouteIx(1)), 2, confirmed(tap)));
    assert_eq!(seen.outcome, Outcome::Booked);
    let mispriced = depot.open.values().any(|item| item.kind == ExceptionKind::FareMismatch);
    assert!(!mispriced, "{:?}", depot.open);
}
