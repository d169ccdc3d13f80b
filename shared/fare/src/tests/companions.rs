//! Riders on the holder's card.

use alloc::{format, string::ToString, vec::Vec};

use model::{
    CardCounters, CardProduct, CardProducts, Companions, Money, ProductKind, ProductScope,
    ProductsFound, RiderClass, TariffVersion, Timestamp, ValidatorId,
};

use super::CITY;
use crate::{
    FareRefusal, FareTap, Journey, Quote, StepKind, Tariff, TariffSet, companions, price,
    rules::ZoneOffsets,
};

const FAMILY: &str = r#"
day_starts = "04:00"
class = [{ id = "adult", name = "Adult" }, { id = "child", name = "Child" }, { id = "dog" }]
product = [
  { id = "bus", name = "Bus single", price = "1.50", prices = { child = "0.85", dog = "0.40" } },
  { id = "ferry", price = "4.00" },
  { id = "near", price = "2.00" },
  { id = "far", price = "3.00" },
]

[[adjust]]
id = "third-off"
classes = ["child"]
percent = -33
rounding = "half-up"
unit = "0.05"

[[cap]]
number = 1
id = "day"
name = "Day cap"
period = "day"
levels = [{ price = "2.00" }]

[companions]
riders_max = 4
classes = ["adult", "child"]

[[example]]
route = "7"
companions = { child = 2, adult = 1 }
price = "4.10"
"#;

fn city(overlay: &str) -> Result<TariffSet, Vec<alloc::string::String>> {
    let utc = |_: &str| Some(ZoneOffsets::fixed(0));
    let tariff = Tariff::parse_in(CITY, Some(overlay), &utc);
    tariff.map(TariffSet::new).map_err(|found| found.iter().map(ToString::to_string).collect())
}

fn riders(of: &[(u8, u8)]) -> Companions {
    Companions::new(of.iter().map(|(class, count)| (RiderClass(*class), *count))).unwrap()
}

fn tap(set: &TariffSet, role: &str, place: &str, companions: Companions) -> FareTap {
    let tariff = set.newest();
    FareTap {
        at: Timestamp::from_secs(1_800_000_000),
        role: role.parse().unwrap(),
        place: tariff.place_ix(place).unwrap(),
        route: tariff.route_ix("7"),
        class: RiderClass(0),
        companions,
        purse: None,
        validator: ValidatorId::new(3).unwrap(),
        tariff: TariffVersion(1),
    }
}

fn card() -> Journey {
    Journey::default().counting(Some(CardCounters::EMPTY))
}

fn board(set: &TariffSet, journey: &Journey, of: &[(u8, u8)]) -> Result<Quote, FareRefusal> {
    price(set, journey, &tap(set, "board", "s1", riders(of)))
}

#[test]
fn each_companion_pays_the_own_category_and_the_steps_sum_to_the_charge() {
    let set = city(FAMILY).unwrap();
    let quote = board(&set, &card(), &[(1, 2), (0, 1)]).unwrap();
    let steps: Vec<_> = quote
        .steps
        .iter()
        .map(|step| format!("{} {} {}", step.amount.decimal(), step.rule, step.text()))
        .collect();
    // 0.85 less a third is 0.5695, to the nearest 0.05.
    assert_eq!(
        steps,
        [
            "1.50 bus Bus 7: Bus single",
            "1.50 bus 1 × Adult, 1.50 EUR each",
            "1.10 bus 2 × Child, 0.55 EUR each"
        ]
    );
    assert_eq!(
        (quote.charge.decimal(), quote.min_balance.decimal()),
        ("4.10".into(), "4.10".into())
    );
    let shown = companions(&set, &tap(&set, "board", "s1", riders(&[(1, 2), (0, 1)]))).unwrap();
    assert_eq!(shown, quote.steps[1..], "what is shown before the tap is what it costs");
}

#[test]
fn the_holder_pays_and_counts_as_if_alone() {
    let set = city(FAMILY).unwrap();
    let pass = CardProduct {
        id: 9,
        kind: ProductKind::Rides,
        scope: ProductScope::EVERYTHING,
        serial: 1,
        from_s: 0,
        until_s: 0,
    };
    let file = CardProducts::new([Some(pass), None]).unwrap();
    let held = Some(ProductsFound { file, rides: Some(1) });
    for journey in [card(), card().holding(held), Journey::default()] {
        let (mut with, mut alone) = (journey, journey);
        for minutes in 0..4 {
            let later = |of: &[(u8, u8)]| FareTap {
                at: Timestamp::from_secs(1_800_000_000 + minutes * 600),
                ..tap(&set, "board", "s1", riders(of))
            };
            let quote = price(&set, &with, &later(&[(1, 1), (0, 2)])).unwrap();
            let own = price(&set, &alone, &later(&[])).unwrap();
            assert_eq!(quote.charge.minor(), own.charge.minor() + 55 + 2 * 150, "{minutes}");
            assert_eq!(quote.steps[..own.steps.len()], own.steps[..]);
            assert_eq!((quote.used, quote.run_after), (own.used, own.run_after));
            assert_eq!(quote.journey_after, own.journey_after, "no cap, no transfer of others");
            (with, alone) = (quote.journey_after, own.journey_after);
        }
    }
}

#[test]
fn only_the_holders_own_ride_may_dip() {
    let dipping = format!("dip = \"1.00\"\n{FAMILY}");
    let set = city(&dipping).unwrap();
    let needs = |of: &[(u8, u8)]| board(&set, &card(), of).unwrap().min_balance.minor();
    assert_eq!(needs(&[]), 50);
    assert_eq!(needs(&[(0, 1)]), 50 + 150);
    let cheap = FareTap { class: RiderClass(2), ..tap(&set, "board", "s1", riders(&[(0, 1)])) };
    let quote = price(&set, &card(), &cheap).unwrap();
    assert_eq!(quote.min_balance.minor(), 150, "a fare below the dip lends the rest to nobody");
}

#[test]
fn companions_are_refused_where_the_tariff_does_not_take_them() {
    let set = city(FAMILY).unwrap();
    let refused = Err(FareRefusal::Companions);
    let charged = |set: &TariffSet, of: &[(u8, u8)]| board(set, &card(), of).map(|q| q.charge);
    assert!(charged(&set, &[(1, 4)]).is_ok());
    assert_eq!(charged(&set, &[(1, 5)]), refused, "more than four");
    assert_eq!(charged(&set, &[(2, 1)]), refused, "no dogs");
    assert_eq!(charged(&set, &[(7, 1)]), refused, "no such category");
    for (role, place) in [("entry", "A"), ("exit", "A")] {
        let tap = tap(&set, role, place, riders(&[(1, 1)]));
        assert_eq!(price(&set, &card(), &tap).map(|q| q.charge), refused, "{role}");
    }
    let none = FAMILY.split("[companions]").next().unwrap();
    let none = city(none).unwrap();
    assert_eq!(charged(&none, &[(1, 1)]), refused);
    assert!(charged(&none, &[]).is_ok());
    // Not valid here comes before the pass-back window.
    let journey = board(&set, &card(), &[]).unwrap().journey_after;
    assert_eq!(board(&set, &journey, &[(2, 1)]).map(|q| q.charge), refused);
    assert_eq!(board(&set, &journey, &[(1, 1)]).map(|q| q.charge), Err(FareRefusal::PassBack));
}

#[test]
fn a_sum_that_no_record_can_hold_is_refused() {
    let dear = FAMILY.replace("price = \"1.50\"", "price = \"80000.00\"");
    let dear = dear.split("[[example]]").next().unwrap().replace("example", "");
    let set = city(&format!("example = []\n{dear}")).unwrap();
    assert_eq!(board(&set, &card(), &[(0, 1)]).unwrap().charge.minor(), 8_000_000 + 200);
    assert_eq!(board(&set, &card(), &[(0, 2)]).unwrap().charge.minor(), 16_000_200);
    assert_eq!(board(&set, &card(), &[(0, 3)]).map(|q| q.charge), Err(FareRefusal::Companions));
}

#[test]
fn the_section_and_its_examples_read_back_and_what_is_wrong_is_named() {
    let set = city(FAMILY).unwrap();
    let text = set.newest().to_toml();
    assert!(
        text.contains("[companions]\nriders_max = 4\nclasses = [\"adult\", \"child\"]"),
        "{text}"
    );
    assert!(
        text.contains("companions = { \"adult\" = 1, \"child\" = 2 }\nprice = \"4.10\""),
        "{text}"
    );
    let again = Tariff::parse(&text).unwrap_or_else(|found| panic!("{found:#?}"));
    assert_eq!((again.to_toml(), &again), (text.clone(), set.newest()));
    for (from, to, finding) in [
        ("riders_max = 4", "riders_max = 0", "companions.riders_max: nobody may come along"),
        ("riders_max = 4", "riders_max = 16", "companions.riders_max: 16 is out of range"),
        ("riders_max = 4", "rides_max = 4", "companions.rides_max: unknown key"),
        ("[\"adult\", \"child\"]", "[\"cat\"]", "companions.classes: there is no class \"cat\""),
        ("child = 2, adult = 1", "child = 3, adult = 2", "the rules give no price"),
        ("child = 2, adult = 1", "child = 2", "the rules give 2.60 EUR, the example says 4.10 EUR"),
        ("child = 2, adult = 1", "child = 9, adult = 9", "more than 15 companions"),
        ("child = 2, adult = 1", "cat = 2", "there is no class \"cat\""),
        ("route = \"7\"\n", "from = \"A\"\nto = \"C\"\n", "the example rides through gates"),
    ] {
        let wrong = FAMILY.replace(from, to);
        assert_ne!(wrong, FAMILY);
        let found = city(&wrong).unwrap_err().join("\n");
        assert!(found.contains(finding), "{to}: {found}");
    }
}

#[test]
fn one_step_names_each_category_once() {
    let set = city(FAMILY).unwrap();
    let quote = board(&set, &card(), &[(1, 1), (1, 2)]).unwrap();
    let eur = set.newest().currency();
    let each = Money::new(55, eur);
    let kind = StepKind::Companions { class: "Child".into(), riders: 3, each };
    assert_eq!(quote.steps.last().unwrap().kind, kind);
    assert_eq!(quote.steps.last().unwrap().amount.minor(), 165);
}
