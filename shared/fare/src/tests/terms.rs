//! What GTFS cannot say: each rule by hand, then all of them at random.

use alloc::{format, string::String, vec::Vec};

use model::{
    CardCounters, CardProduct, CardProducts, Companions, ProductKind, ProductScope, ProductsFound,
    RiderClass, TariffVersion, Timestamp, ValidatorId,
};
use proptest::prelude::*;

use super::CITY;
use crate::{FareRefusal, FareTap, Journey, Quote, Tariff, TariffSet, price, rules::ZoneOffsets};

/// Monday, 23 November 2026.
const MONDAY: u64 = 20_780;

const TERMS: &str = r#"
example = []
day_starts = "04:00"
holidays = ["2026-12-25"]
class = [{ id = "adult" }, { id = "child" }, { id = "senior" }]
time = [
  { id = "peak", days = ["mon", "tue", "wed", "thu", "fri"], from = "07:00", to = "09:00" },
  { id = "school", days = ["mon", "tue", "wed", "thu", "fri"], from = "06:30", to = "16:00" },
]
"#;

fn city(more: &str) -> Tariff {
    let utc = |_: &str| Some(ZoneOffsets::fixed(0));
    let overlay = format!("{TERMS}{more}");
    Tariff::parse_in(CITY, Some(&overlay), &utc).unwrap_or_else(|found| panic!("{found:#?}"))
}

/// One card that rides by lines of `day HH:MM role place [route]`; its charges in cents.
struct Card {
    set: TariffSet,
    class: RiderClass,
    journey: Journey,
}

impl Card {
    fn new(more: &str, class: u8) -> Self {
        let journey = Journey::default().counting(Some(CardCounters::EMPTY));
        Self { set: TariffSet::new(city(more)), class: RiderClass(class), journey }
    }

    fn tap(&mut self, line: &str) -> Result<Quote, FareRefusal> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let day: u64 = words[0].parse().unwrap();
        let (h, m) = words[1].split_once(':').unwrap();
        let minutes: u64 = h.parse::<u64>().unwrap() * 60 + m.parse::<u64>().unwrap();
        let tariff = self.set.newest();
        let tap = FareTap {
            at: Timestamp::from_secs((MONDAY + day) * 86_400 + minutes * 60),
            role: words[2].parse().unwrap(),
            place: tariff.place_ix(words[3]).unwrap(),
            route: words.get(4).and_then(|id| tariff.route_ix(id)),
            class: self.class,
            companions: Companions::NONE,
            purse: None,
            // Another reader each time, so that no pass-back stands in the way.
            validator: ValidatorId::new(u32::try_from(minutes).unwrap()).unwrap(),
            tariff: tariff.version(),
        };
        let quote = price(&self.set, &self.journey, &tap)?;
        let sum: i64 = quote.steps.iter().map(|step| step.amount.minor()).sum();
        assert_eq!(sum, quote.charge.minor(), "the steps sum to the charge");
        self.journey = quote.journey_after;
        Ok(quote)
    }

    fn charges(&mut self, lines: &[&str]) -> Vec<i64> {
        lines.iter().map(|line| self.tap(line).unwrap().charge.minor()).collect()
    }
}

#[test]
fn a_category_pays_its_own_price_and_the_others_the_default() {
    let own = r#"product = [
        { id = "bus", price = "1.50", prices = { child = "0.70" } },
        { id = "ferry", price = "4.00" },
        { id = "near", price = "2.00", prices = { child = "1.00" } },
        { id = "far", price = "3.00" },
    ]"#;
    for (class, bus, gate, maximum) in [(0, 150, 200, 300), (1, 70, 100, 300), (2, 150, 200, 300)] {
        assert_eq!(Card::new(own, class).charges(&["0 10:00 board s1 7"]), [bus]);
        let mut card = Card::new(own, class);
        assert_eq!(card.charges(&["0 10:00 entry A", "0 10:20 exit B"]), [0, gate]);
        assert_eq!(
            Card::new(own, class).charges(&["0 10:00 entry A", "1 10:00 exit C"])[1],
            maximum
        );
    }
}

#[test]
fn a_discount_is_rounded_as_it_says_and_a_surcharge_comes_after_it() {
    let rule = |rounding, unit| {
        format!(
            "[[adjust]]\nid = \"senior\"\nclasses = [\"senior\"]\npercent = -33\n\
             rounding = \"{rounding}\"\nunit = \"{unit}\"\n[[adjust]]\nid = \"peak\"\n\
             groups = [\"bus\"]\ntime = \"peak\"\namount = \"0.30\""
        )
    };
    // 1.50 less 33 % is 1.005.
    for (rounding, unit, cents) in [
        ("half-up", "0.01", 101),
        ("half-even", "0.01", 100),
        ("down", "0.01", 100),
        ("up", "0.01", 101),
        ("up", "0.05", 105),
        ("down", "0.50", 100),
    ] {
        let off_peak = Card::new(&rule(rounding, unit), 2).charges(&["0 10:00 board s1 7"]);
        assert_eq!(off_peak, [cents], "{rounding} {unit}");
        let peak = Card::new(&rule(rounding, unit), 2).charges(&["0 07:00 board s1 7"]);
        assert_eq!(peak, [cents + 30]);
    }
    let adult = |at: &str| Card::new(&rule("up", "0.01"), 0).charges(&[at])[0];
    assert_eq!([adult("0 08:59 board s1 7"), adult("0 09:00 board s1 7")], [180, 150]);
    assert_eq!(adult("5 08:00 board s1 7"), 150, "Saturday");
    assert_eq!(adult("32 08:00 board s1 7"), 150, "25 December is a Friday and a holiday");
}

const DAY_CAP: &str = r#"
transfer = []
[[cap]]
number = 1
id = "day"
name = "Day cap"
period = "day"
levels = [{ groups = ["bus"], price = "4.00" }, { price = "7.00" }]
"#;

#[test]
fn a_day_is_capped_and_begins_anew_at_its_hour() {
    let mut card = Card::new(DAY_CAP, 0);
    let day =
        ["0 08:00 board s1 7", "0 12:00 board s1 7", "0 18:00 board s1 7", "0 23:00 board s1 7"];
    assert_eq!(card.charges(&day), [150, 150, 100, 0]);
    assert_eq!(card.charges(&["1 03:59 board s1 7"]), [0], "the service day is not over");
    assert_eq!(card.charges(&["1 04:00 board s1 7"]), [150]);
}

#[test]
fn a_day_begins_at_its_hour_in_the_nights_of_a_clock_change_too() {
    let clock = "[clock]\nfirst_s = 7200\nchanges = [[1792890000, 3600], [1806195600, 7200]]";
    let tariff = Tariff::parse(&format!("day_starts = \"04:00\"\n{CITY}\n{clock}")).unwrap();
    let day = |at_s| tariff.terms().calendar.service_day(Timestamp::from_secs(at_s)).0;
    // 2026-10-25, when 04:00 is 03:00Z, and 2027-03-28, when it is 02:00Z.
    for (night, hour) in [(20_751, 3), (20_905, 2)] {
        let four = u64::from(night) * 86_400 + hour * 3_600;
        assert_eq!([day(four - 1), day(four)], [night - 1, night]);
    }
}

#[test]
fn a_wider_ride_lifts_the_cap_for_the_rest_of_the_day_and_refunds_nothing() {
    let mut card = Card::new(DAY_CAP, 0);
    let bus = ["0 08:00 board s1 7", "0 09:00 board s1 7", "0 10:00 board s1 7"];
    assert_eq!(card.charges(&bus), [150, 150, 100]);
    assert_eq!(card.charges(&["0 11:00 entry A", "0 11:20 exit C"]), [0, 300], "up to 7.00");
    assert_eq!(card.charges(&["0 12:00 board s1 7"]), [0], "the wide cap is reached, too");
    let text: Vec<String> =
        card.tap("0 12:10 board s1 7").unwrap().steps.iter().map(crate::Step::text).collect();
    assert_eq!(text[1], "Day cap of 7.00 EUR is reached");
}

#[test]
fn a_quote_says_how_far_each_cap_of_the_rider_has_come_in_the_period_of_the_ride() {
    let caps = r#"
        transfer = []
        cap = [
          { number = 1, id = "day", period = "day",
            levels = [{ groups = ["bus"], price = "4.00" }, { price = "7.00" }] },
          { number = 2, id = "week", period = "week", levels = [{ price = "20.00" }] },
          { number = 3, id = "young", period = "month", classes = ["child"],
            levels = [{ price = "9.00" }] },
        ]
    "#;
    let mut card = Card::new(caps, 0);
    let mut come = |line: &str| -> Vec<String> {
        let quote = card.tap(line).unwrap();
        let caps = quote.cap_progress(&card.set, card.class);
        let said = |cap: &crate::CapProgress| {
            format!("{} {} of {}", cap.name, cap.counted.decimal(), cap.limit.decimal())
        };
        caps.iter().map(said).collect()
    };
    assert_eq!(come("0 06:00 entry A"), [""; 0], "nothing counts before it is charged");
    assert_eq!(come("0 06:20 exit B"), ["day 2.00 of 7.00", "week 2.00 of 20.00"]);
    assert_eq!(come("1 07:00 board s1 7"), ["day 1.50 of 4.00", "week 3.50 of 20.00"]);
    assert_eq!(come("1 08:00 entry A"), ["day 1.50 of 4.00", "week 3.50 of 20.00"]);
    assert_eq!(come("1 08:20 exit C"), ["day 4.50 of 7.00", "week 6.50 of 20.00"], "wider");
    // Tapped in before the day began anew: the ride counts where it began, and is shown there.
    assert_eq!(come("2 03:50 entry A"), ["day 4.50 of 7.00", "week 6.50 of 20.00"]);
    assert_eq!(come("2 04:10 exit B"), ["day 6.50 of 7.00", "week 8.50 of 20.00"]);
    assert_eq!(come("2 05:00 entry A"), ["week 8.50 of 20.00"], "another day");
    let mut plain = Card::new(caps, 0);
    plain.journey.counters = None;
    let quote = plain.tap("0 07:00 board s1 7").unwrap();
    assert_eq!(quote.cap_progress(&plain.set, plain.class), [], "a card that cannot count");
}

#[test]
fn a_maximum_fare_counts_to_no_cap_and_no_cap_lowers_it() {
    let mut card = Card::new(DAY_CAP, 0);
    assert_eq!(card.charges(&["0 08:00 entry A", "0 09:00 board s1 7"]), [0, 300 + 150]);
    assert_eq!(card.charges(&["0 10:00 board s1 7", "0 11:00 board s1 7"]), [150, 100]);
    assert_eq!(card.charges(&["0 12:00 entry A", "0 13:00 board s1 7"]), [0, 300]);
}

#[test]
fn weeks_months_and_rolling_days_begin_where_they_say() {
    let cap = |period: &str| {
        format!(
            "transfer = []\n[[cap]]\nnumber = 7\nid = \"c\"\n{period}\n\
             levels = [{{ price = \"2.00\" }}]"
        )
    };
    let rides = |period: &str, days: &[u64]| {
        let mut card = Card::new(&cap(period), 0);
        let lines: Vec<String> = days.iter().map(|day| format!("{day} 10:00 board s1 7")).collect();
        card.charges(&lines.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert_eq!(rides("period = \"week\"", &[0, 6, 7]), [150, 50, 150], "Monday to Sunday");
    let from_wednesday = "period = \"week\"\nweek_starts = \"wed\"";
    assert_eq!(rides(from_wednesday, &[0, 1, 2, 8, 9]), [150, 50, 150, 50, 150]);
    assert_eq!(rides("period = \"month\"", &[0, 7, 8]), [150, 50, 150], "1 December is day 8");
    assert_eq!(rides("period = \"rolling\"\ndays = 3", &[0, 2, 3, 5, 6]), [150, 50, 150, 50, 150]);
}

#[test]
fn a_discount_is_taken_before_the_day_and_the_day_before_the_week() {
    let rules = r#"
        transfer = []
        adjust = [{ id = "half", percent = -50 }]
        cap = [
          { number = 1, id = "day", period = "day", levels = [{ price = "2.00" }] },
          { number = 2, id = "week", period = "week", levels = [{ price = "3.00" }] },
        ]"#;
    let mut card = Card::new(rules, 0);
    let rides = [
        "0 08:00 board s1 7",
        "0 09:00 board s1 7",
        "0 10:00 board s1 7",
        "1 08:00 board s1 7",
        "1 09:00 board s1 7",
    ];
    assert_eq!(card.charges(&rides), [75, 75, 50, 75, 25]);
}

#[test]
fn a_card_without_a_counters_file_is_charged_in_full() {
    let mut card = Card::new(DAY_CAP, 0);
    card.journey.counters = None;
    assert_eq!(
        card.charges(&["0 08:00 board s1 7", "0 09:00 board s1 7", "0 10:00 board s1 7"]),
        [150; 3]
    );
    assert!(card.set.needs_counters(TariffVersion(1)));
    assert!(!city("").needs_counters());
}

#[test]
fn out_again_at_the_same_station_is_priced_by_bands() {
    let gate = r#"[gate]
        group = "metro"
        journey_limit_s = 7200
        same_station = [
          { within_s = 120, price = "maximum", counts_to_caps = false },
          { within_s = 1800, price = "2.00" },
        ]"#;
    let stay = |until: &str| Card::new(gate, 0).charges(&["0 10:00 entry A", until])[1];
    assert_eq!(stay("0 10:02 exit A"), 300);
    assert_eq!(stay("0 10:03 exit A"), 200);
    assert_eq!(stay("0 10:31 exit A"), 200, "the table's own fare from A to A");
    assert_eq!(stay("0 12:01 exit A"), 300, "too long inside");
}

#[test]
fn a_change_outside_the_gates_goes_on_with_the_same_journey() {
    let rule = r#"
        transfer = []
        interchange = [{ id = "walk", from = ["B"], to = ["A"], within_s = 900 }]"#;
    let mut card = Card::new(rule, 0);
    assert_eq!(card.charges(&["0 10:00 entry A", "0 10:20 exit B"]), [0, 200]);
    // A to C costs 3.00, of which 2.00 are paid.
    assert_eq!(card.charges(&["0 10:35 entry A", "0 10:50 exit C"]), [0, 100]);
    let mut late = Card::new(rule, 0);
    late.charges(&["0 10:00 entry A", "0 10:20 exit B"]);
    assert_eq!(late.charges(&["0 10:36 entry A", "0 10:50 exit C"]), [0, 300], "a minute too late");
    let mut other = Card::new(rule, 0);
    other.charges(&["0 10:00 entry A", "0 10:20 exit B", "0 10:22 board s1 7"]);
    assert_eq!(other.charges(&["0 10:30 entry A", "0 10:50 exit C"]), [0, 300], "a bus between");
}

#[test]
fn one_charge_may_dip_below_zero_and_the_next_needs_a_top_up() {
    let mut card = Card::new("dip = \"1.00\"", 0);
    let board = card.tap("0 10:00 board s1 7").unwrap();
    assert_eq!((board.charge.minor(), board.min_balance.minor()), (150, 50));
    // What is below zero does not suffice for any charge.
    let mut card = Card::new("dip = \"9.00\"", 0);
    assert_eq!(card.tap("0 10:00 board s1 7").unwrap().min_balance.minor(), 0);
}

#[test]
fn a_school_pass_pays_on_its_route_and_in_its_hours() {
    let terms = r#"
        transfer = []
        pass = [{ number = 12, name = "School pass", routes = ["7"], time = "school" }]"#;
    let pass = CardProduct {
        id: 12,
        kind: ProductKind::Pass,
        scope: ProductScope::EVERYTHING,
        serial: 1,
        from_s: 0,
        until_s: 0,
    };
    let file = CardProducts::new([Some(pass), None]).unwrap();
    let mut card = Card::new(terms, 1);
    card.journey.held = Some(ProductsFound { file, rides: None });
    assert_eq!(card.charges(&["0 07:00 board s1 7"]), [0]);
    assert_eq!(card.charges(&["0 07:10 board s1 F"]), [400], "another route");
    assert_eq!(card.charges(&["0 16:00 board s1 7"]), [150], "after school");
    assert_eq!(card.charges(&["5 08:00 board s1 7"]), [150], "Saturday");
    assert_eq!(card.charges(&["0 08:00 entry A", "0 08:20 exit B"]), [0, 200], "no route at gates");
}

#[test]
fn what_is_written_is_read_again() {
    let all = r#"
        dip = "2.00"
        adjust = [{ id = "off", classes = ["child"], places = ["A"], percent = -50,
                    rounding = "down", unit = "0.10", time = "peak" },
                  { id = "air", routes = ["7"], amount = "1.25", counts_to_caps = true }]
        cap = [{ number = 3, id = "m", period = "month", classes = ["adult"],
                 levels = [{ places = ["A", "B"], price = "20" }, { price = "30" }] },
               { number = 4, id = "w", period = "week", week_starts = "sun",
                 levels = [{ price = "30" }] },
               { number = 5, id = "r", period = "rolling", days = 30, levels = [{ price = "30" }] }]
        interchange = [{ id = "walk", from = ["B"], to = ["A"], within_s = 900 }]
        pass = [{ number = 12, name = "School pass", routes = ["7"], time = "school" }]"#;
    let tariff = city(all);
    assert_eq!(Tariff::parse(&tariff.to_toml()).unwrap(), tariff, "{}", tariff.to_toml());
}

#[test]
fn wrong_terms_are_found() {
    let found = |more: &str| -> Vec<String> {
        let overlay = format!("{TERMS}{more}");
        let wrong = Tariff::parse_in(CITY, Some(&overlay), &|_| Some(ZoneOffsets::fixed(0)));
        wrong.unwrap_err().iter().map(|d| format!("{}: {}", d.key, d.message)).collect()
    };
    let cap = |keys: &str| format!("cap = [{{ number = 1, id = \"a\", {keys} }}]");
    for (more, expected) in [
        (
            cap("period = \"year\", levels = [{ price = 1 }]"),
            "cap[1].period: unknown period \"year\"",
        ),
        (cap("period = \"day\", levels = []"), "cap[1].levels: no level"),
        (
            cap("period = \"day\", levels = [{ price = 2 }, { price = 1 }]"),
            "cap[1].levels: prices fall",
        ),
        (cap("period = \"rolling\", levels = [{ price = 2 }]"), "cap[1].days: missing"),
        (
            "adjust = [{ id = \"x\" }]".into(),
            "adjust[1].percent: the adjustment changes nothing or twice",
        ),
        ("adjust = [{ id = \"x\", percent = -101 }]".into(), "adjust[1].percent: is out of range"),
        (
            "adjust = [{ id = \"x\", percent = 1, time = \"peek\" }]".into(),
            "adjust[1].time: there is no time \"peek\"",
        ),
        ("dip = \"-1\"".into(), "dip: is below nothing"),
    ] {
        assert_eq!(found(&more), [expected], "{more}");
    }
    let without_clock = Tariff::parse_with_overlay(CITY, TERMS).unwrap_err();
    assert_eq!(without_clock[0].message, "the tariff asks for the time and has no clock");
}

fn any_line() -> impl Strategy<Value = String> {
    let role = prop_oneof![
        Just("board s1 7"),
        Just("board s2 F"),
        Just("entry A"),
        Just("exit B"),
        Just("entry B"),
        Just("exit C"),
        Just("exit A")
    ];
    (0_u64..12, 0_u64..24, 0_u64..60, role)
        .prop_map(|(day, h, m, role)| format!("{day} {h}:{m:02} {role}"))
}

proptest! {
    #[test]
    fn no_period_costs_more_than_its_cap_besides_maximum_fares(
        mut lines in prop::collection::vec(any_line(), 1..60),
    ) {
        lines.sort_by_key(|line| {
            let (day, rest) = line.split_once(' ').unwrap();
            let (h, rest) = rest.split_once(':').unwrap();
            let number = |text: &str| text.parse::<u64>().unwrap();
            (number(day), number(h), number(&rest[..2]))
        });
        let rules = r#"
            cap = [{ number = 1, id = "d", period = "day", levels = [{ price = "5.00" }] },
                   { number = 2, id = "w", period = "week", levels = [{ price = "9.00" }] }]"#;
        let mut card = Card::new(rules, 0);
        let (mut per_day, mut per_week) = ([0_i64; 16], [0_i64; 4]);
        for line in &lines {
            let open = card.journey.open().map(|open| open.at);
            let Ok(quote) = card.tap(line) else { continue };
            let penalty = quote.steps.iter().filter(|step| {
                use crate::StepKind::{MissingTapOut, OverTime};
                matches!(step.kind, MissingTapOut { .. } | OverTime { .. })
            });
            let penalty: i64 = penalty.map(|step| step.amount.minor()).sum();
            let last = quote.journey_after.last.unwrap();
            let began = if last.kind == model::RecordKind::Exit { open.unwrap() } else { last.at };
            let day = card.set.newest().terms().calendar.service_day(began).0;
            // Entry 0 is the Sunday before, a week of its own.
            let day = usize::try_from(u64::from(day) + 1 - MONDAY).unwrap();
            per_day[day] += quote.charge.minor() - penalty;
            per_week[day.div_ceil(7)] += quote.charge.minor() - penalty;
        }
        prop_assert!(per_day.iter().all(|cents| *cents <= 500), "{per_day:?}");
        prop_assert!(per_week.iter().all(|cents| *cents <= 900), "{per_week:?}");
    }
}
