//! Purses in other currencies: conversions by hand, the same against big numbers, and taps.

use alloc::{format, string::String, vec, vec::Vec};

use expect_test::expect;
use model::{
    CardRecord, Currency, Money, PlaceIx, Refusal, RiderClass, ServiceDate, TapRole, TariffVersion,
    Timestamp, ValidatorId,
};
use num_bigint::BigInt;
use proptest::prelude::*;

use super::{CITY, wrapped};
use crate::{
    DatedRate, Diagnostic, Exchange, FareRefusal, FareTap, Journey, Quote, ROUNDINGS, Rate,
    Rounding, Tariff, TariffSet, price, rules::ZoneOffsets,
};

fn currency(letters: &str) -> Currency {
    Currency::parse(letters).unwrap()
}

/// One rate for ever.
fn table(purse: &str, rate: &str, rounding: Rounding, unit: i64) -> (Exchange, Rate) {
    let rate = Rate::parse(rate).unwrap();
    let rates = vec![DatedRate { from: ServiceDate(0), rate }];
    (Exchange::new(currency(purse), rates, rounding, unit).unwrap(), rate)
}

#[test]
fn amounts_are_converted_exactly_and_rounded_once_by_the_stated_rule() {
    // Unit, then what each rule makes of it: down, up, half-up, half-even.
    type Row = (&'static str, &'static str, &'static str, &'static str, [&'static str; 4]);
    let rows: [(&str, Row); 22] = [
        ("1.20", ("EUR", "CHF", "0.9432", "0.01", ["1.13", "1.14", "1.13", "1.13"])),
        ("1.20", ("EUR", "CHF", "0.9432", "0.05", ["1.10", "1.15", "1.15", "1.15"])),
        // 1.425 lies in the middle of 1.40 and 1.45; 28 times the unit is even.
        ("1.50", ("EUR", "CHF", "0.95", "0.05", ["1.40", "1.45", "1.45", "1.40"])),
        ("1.50", ("EUR", "CHF", "0.95", "1.00", ["1.00", "2.00", "1.00", "1.00"])),
        // 244.875 yen, 326.5 yen, 979.5 yen.
        ("1.50", ("EUR", "JPY", "163.25", "1", ["244", "245", "245", "245"])),
        ("2.00", ("EUR", "JPY", "163.25", "1", ["326", "327", "327", "326"])),
        ("6.00", ("EUR", "JPY", "163.25", "1", ["979", "980", "980", "980"])),
        ("6.00", ("EUR", "JPY", "163.25", "10", ["970", "980", "980", "980"])),
        ("4.00", ("EUR", "JPY", "163.25", "1", ["653", "653", "653", "653"])),
        ("0.01", ("EUR", "JPY", "49.9", "1", ["0", "1", "0", "0"])),
        // 91.5, 30.5 and 0.61 cents.
        ("150", ("JPY", "EUR", "0.0061", "0.01", ["0.91", "0.92", "0.92", "0.92"])),
        ("50", ("JPY", "EUR", "0.0061", "0.01", ["0.30", "0.31", "0.31", "0.30"])),
        ("1", ("JPY", "EUR", "0.0061", "0.01", ["0.00", "0.01", "0.01", "0.01"])),
        // 500.25, 333.5 and 1000.5 fils.
        ("1.50", ("EUR", "KWD", "0.3335", "0.001", ["0.500", "0.501", "0.500", "0.500"])),
        ("1.00", ("EUR", "KWD", "0.3335", "0.001", ["0.333", "0.334", "0.334", "0.334"])),
        ("3.00", ("EUR", "KWD", "0.3335", "0.001", ["1.000", "1.001", "1.001", "1.000"])),
        ("0.125", ("KWD", "EUR", "3.01", "0.01", ["0.37", "0.38", "0.38", "0.38"])),
        ("1.2345", ("CLF", "JPY", "6", "1", ["7", "8", "7", "7"])),
        ("3", ("JPY", "CLF", "0.16666666", "0.0001", ["0.4999", "0.5000", "0.5000", "0.5000"])),
        // Below nothing, "down" is still the lower one.
        ("-1.50", ("EUR", "JPY", "163.25", "1", ["-245", "-244", "-245", "-245"])),
        ("-2.00", ("EUR", "JPY", "163.25", "1", ["-327", "-326", "-326", "-326"])),
        ("0.00", ("EUR", "JPY", "163.25", "1", ["0", "0", "0", "0"])),
    ];
    for (amount, (tariff, purse, rate, unit, wanted)) in rows {
        let amount = Money::parse(amount, currency(tariff)).unwrap();
        let unit = Money::parse(unit, currency(purse)).unwrap().minor();
        let order = [Rounding::Down, Rounding::Up, Rounding::HalfUp, Rounding::HalfEven];
        for (rounding, wanted) in order.into_iter().zip(wanted) {
            let (exchange, rate) = table(purse, rate, rounding, unit);
            let debit = exchange.convert(rate, amount).unwrap();
            assert_eq!(debit.decimal(), wanted, "{amount} at {rate} {purse}, {rounding:?} {unit}");
        }
    }
}

#[test]
fn a_rate_keeps_every_digit_and_what_is_none_is_refused() {
    for (text, shown) in [
        ("0.9432", "0.9432"),
        ("1", "1"),
        ("1.10", "1.1"),
        ("007.50", "7.5"),
        ("163.000", "163"),
        ("0.000000220731", "0.000000220731"),
        ("999999999999999999", "999999999999999999"),
        ("123456.789012345678", "123456.789012345678"),
        ("1.0000000000000000000000000", "1"),
    ] {
        let rate = Rate::parse(text).unwrap();
        assert_eq!(format!("{rate}"), shown);
        assert_eq!(Rate::parse(shown), Ok(rate));
    }
    for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", "0.9432 CHF", "١", "1_000", "0x1"]
    {
        assert!(
            matches!(Rate::parse(text), Err(crate::RateError::NotADecimal(_))),
            "{text:?} is no decimal"
        );
    }
    for text in ["0", "0.000", "00.00"] {
        assert_eq!(Rate::parse(text), Err(crate::RateError::Zero));
    }
    for text in ["1000000000000000000", "0.0000000000001", "1234567.890123456789"] {
        assert_eq!(Rate::parse(text), Err(crate::RateError::TooLong), "{text}");
    }
}

#[test]
fn a_table_without_rates_or_out_of_order_is_none() {
    let rate = |day, text| DatedRate { from: ServiceDate(day), rate: Rate::parse(text).unwrap() };
    let of = |rates, unit| Exchange::new(currency("CHF"), rates, Rounding::Down, unit);
    assert_eq!(of(vec![], 1), Err(crate::ExchangeError::NoRates));
    assert_eq!(of(vec![rate(5, "1")], 0), Err(crate::ExchangeError::NoUnit));
    for second in [4, 5] {
        let refused = crate::ExchangeError::NotAscending(ServiceDate(second));
        assert_eq!(of(vec![rate(5, "1"), rate(second, "2")], 1), Err(refused));
    }
    let table = of(vec![rate(5, "1"), rate(9, "2")], 1).unwrap();
    let on = |day| table.rate_on(ServiceDate(day)).map(|rate| rate.from.0);
    assert_eq!([4, 5, 8, 9, u32::MAX].map(on), [None, Some(5), Some(5), Some(9), Some(9)]);
}

/// The end of winter time and of summer time of 2026 in Berlin, from UTC.
fn berlin() -> ZoneOffsets {
    ZoneOffsets { first_s: 3_600, changes: vec![(1_774_746_000, 7_200), (1_792_890_000, 3_600)] }
}

fn in_berlin(overlay: &str) -> Result<Tariff, Vec<Diagnostic>> {
    Tariff::parse_in(CITY, Some(overlay), &|_| Some(berlin()))
}

const RATES: &str = r#"
day_starts = "04:00"
pass_back_s = 0

[[exchange]]
currency = "CHF"
rates = [
  { from = 2026-01-01, rate = "0.9432" },
  { from = 2026-03-28, rate = 0.95 },
  { from = "2026-03-29", rate = "0.96" },
  { from = 2026-10-24, rate = "0.97" },
  { from = 2026-10-25, rate = "0.98" },
]
rounding = "down"

[[exchange]]
currency = "JPY"
rates = [{ from = 2026-01-01, rate = "163.25" }]
rounding = "half-even"
unit = "10"
"#;

fn city(more: &str) -> Tariff {
    let overlay = format!("{RATES}{more}");
    in_berlin(&overlay).unwrap_or_else(|found| panic!("{found:#?}"))
}

/// One card with a purse, whose quotes are kept.
struct Card {
    set: TariffSet,
    purse: Currency,
    journey: Journey,
}

impl Card {
    fn new(set: TariffSet, purse: &str) -> Self {
        Self { set, purse: currency(purse), journey: Journey::default() }
    }

    /// A tap at a moment on Berlin's clock, as (seconds of UTC): role, place, route, version.
    fn tap(&mut self, utc_s: u64, line: &str) -> Result<Quote, FareRefusal> {
        let words: Vec<&str> = line.split(' ').collect();
        let version = words.iter().find_map(|word| word.strip_prefix('v'));
        let version = TariffVersion(version.map_or(1, |v| v.parse().unwrap()));
        let tariff = self.set.get(version).unwrap();
        let tap = FareTap {
            at: Timestamp::from_secs(utc_s),
            role: words[0].parse().unwrap(),
            place: tariff.place_ix(words[1]).unwrap(),
            route: words.get(2).and_then(|id| tariff.route_ix(id)),
            class: RiderClass(0),
            companions: model::Companions::NONE,
            purse: Some(self.purse),
            validator: ValidatorId::new(9).unwrap(),
            tariff: version,
        };
        let quote = price(&self.set, &self.journey, &tap)?;
        let sum: i64 = quote.steps.iter().map(|step| step.amount.minor()).sum();
        assert_eq!(sum, quote.charge.minor(), "the steps sum to the charge");
        assert_eq!(quote.charge.currency(), self.set.newest().currency());
        assert_eq!(quote.debit.currency(), self.purse);
        assert_eq!(quote.min_balance.currency(), self.purse);
        assert!(quote.min_balance.minor() >= quote.debit.minor());
        self.journey = quote.journey_after;
        Ok(quote)
    }
}

fn since(quote: &Quote) -> String {
    format!("{}", quote.exchanged.unwrap().since)
}

/// 1 March 2026, 00:00 in Berlin, and hours from it.
const MARCH: u64 = 1_772_319_600;
const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

#[test]
fn a_tap_is_debited_in_the_currency_of_the_purse_and_says_by_which_rate() {
    let mut card = Card::new(TariffSet::new(city("")), "CHF");
    let quote = card.tap(MARCH + 8 * HOUR, "board s1 7").unwrap();
    assert_eq!((quote.charge.minor(), quote.debit.minor()), (150, 141), "1.4148");
    assert_eq!(quote.min_balance, quote.debit);
    expect!["1.50 EUR at 0.9432 CHF for 1 EUR (rate of 1 January 2026), rounded down: 1.41 CHF"]
        .assert_eq(&quote.exchanged.unwrap().text());
    let quote = card.tap(MARCH + 8 * HOUR + 600, "board s2 F").unwrap();
    assert_eq!((quote.charge.minor(), quote.debit.minor()), (250, 235), "the difference, 2.358");
    let quote = card.tap(MARCH + 8 * HOUR + 900, "board s1 7").unwrap();
    assert_eq!((quote.charge.minor(), quote.debit.minor()), (50, 47));
    // Each tap is rounded by itself: 141 + 235 + 47 is less than 4.50 EUR, 4.2444.
    let mut card = Card::new(TariffSet::new(city("")), "JPY");
    let quote = card.tap(MARCH, "board s1 7").unwrap();
    assert_eq!(quote.debit.minor(), 240);
    expect![["1.50 EUR at 163.25 JPY for 1 EUR (rate of 1 January 2026), rounded to the nearest \
         10 JPY, a half to even: 240 JPY"]]
    .assert_eq(&quote.exchanged.unwrap().text());
}

#[test]
fn a_purse_in_the_tariffs_own_currency_is_never_converted() {
    let mut card = Card::new(TariffSet::new(city("")), "EUR");
    let quote = card.tap(MARCH, "board s1 7").unwrap();
    assert_eq!((quote.debit, quote.exchanged), (quote.charge, None));
}

#[test]
fn a_tap_in_needs_what_the_tap_out_can_take_by_the_same_rate() {
    let mut card = Card::new(TariffSet::new(city("")), "CHF");
    let opened = card.tap(MARCH, "entry A").unwrap();
    assert_eq!((opened.charge.minor(), opened.debit.minor()), (0, 0));
    assert_eq!(opened.min_balance.minor(), 282, "3.00 EUR, 2.8296");
    let quote = card.tap(MARCH + HOUR, "exit C").unwrap();
    assert_eq!(quote.debit, opened.min_balance);
    // No tap-out: the maximum fare comes with the next ride, and by its rate.
    card.tap(MARCH + 2 * HOUR, "entry A").unwrap();
    let quote = card.tap(MARCH + 27 * DAY + 8 * HOUR, "board s1 7").unwrap();
    assert_eq!((quote.charge.minor(), quote.debit.minor()), (450, 427));
    assert_eq!(since(&quote), "2026-03-28");
}

/// The service day begins at four by the wall clock, also where the night is 23 or 25 hours long.
#[test]
fn the_rate_is_that_of_the_service_day_on_which_the_ride_began() {
    let (spring, autumn) = (MARCH + 28 * DAY, MARCH + 238 * DAY - HOUR);
    let rows = [
        // 28 March: 03:59:59 still belongs to the day before.
        (MARCH + 27 * DAY + 4 * HOUR - 1, "2026-01-01", 141),
        (MARCH + 27 * DAY + 4 * HOUR, "2026-03-28", 142),
        // 29 March, the clock jumps from two to three: four o'clock is three hours after midnight.
        (spring, "2026-03-28", 142),
        (spring + 3 * HOUR - 1, "2026-03-28", 142),
        (spring + 3 * HOUR, "2026-03-29", 144),
        // 25 October, three becomes two again: four o'clock is five hours after midnight.
        (autumn, "2026-10-24", 145),
        (autumn + 4 * HOUR, "2026-10-24", 145),
        (autumn + 5 * HOUR - 1, "2026-10-24", 145),
        (autumn + 5 * HOUR, "2026-10-25", 147),
    ];
    for (at, day, cents) in rows {
        let quote = Card::new(TariffSet::new(city("")), "CHF").tap(at, "board s1 7").unwrap();
        assert_eq!((since(&quote).as_str(), quote.debit.minor()), (day, cents), "{at}");
    }
    // In before a change of the rate, out after it: the rate of the tap-in, at both ends.
    for (into, out) in [
        (MARCH + 27 * DAY + 4 * HOUR - 60, MARCH + 27 * DAY + 5 * HOUR),
        (spring + 3 * HOUR - 60, spring + 4 * HOUR),
        (autumn + 5 * HOUR - 60, autumn + 6 * HOUR),
    ] {
        let mut card = Card::new(TariffSet::new(city("")), "CHF");
        let opened = card.tap(into, "entry A").unwrap();
        let closed = card.tap(out, "exit C").unwrap();
        assert_eq!(since(&closed), since(&opened), "{into}");
        assert_eq!(closed.debit, opened.min_balance);
    }
}

#[test]
fn a_journey_ends_under_the_rates_of_the_version_of_its_tap_in() {
    let mut set = TariffSet::new(city(""));
    let newer = city("").to_toml().replace("version = 1", "version = 2");
    set.insert(Tariff::parse(&newer.replace("0.9432", "2")).unwrap()).unwrap();
    let mut card = Card::new(set.clone(), "CHF");
    card.tap(MARCH, "entry A v1").unwrap();
    let quote = card.tap(MARCH + HOUR, "exit C v2").unwrap();
    assert_eq!((quote.debit.minor(), quote.priced_under), (282, TariffVersion(1)));
    card.tap(MARCH + 3 * HOUR, "entry A v2").unwrap();
    assert_eq!(card.tap(MARCH + 4 * HOUR, "exit C v2").unwrap().debit.minor(), 600);
    // A currency that the next version no longer takes: whoever is inside gets out.
    let (rates, rest) = newer.split_once("[[exchange]]\ncurrency = \"JPY\"").unwrap();
    let rest = rest.find("\n[[example]]").map(|at| &rest[at..]).unwrap();
    let third = format!("{rates}{rest}").replace("version = 2", "version = 3");
    set.insert(Tariff::parse(&third).unwrap()).unwrap();
    let mut card = Card::new(set, "JPY");
    card.tap(MARCH, "entry A v1").unwrap();
    assert_eq!(card.tap(MARCH + HOUR, "exit C v3").unwrap().debit.minor(), 490);
    let refused = card.tap(MARCH + 2 * HOUR, "entry A v3").unwrap_err();
    assert_eq!(refused, FareRefusal::NoRate(currency("JPY")));
}

#[test]
fn a_purse_without_a_rate_is_refused_after_every_other_reason() {
    let set = TariffSet::new(city(""));
    let kwd = FareRefusal::NoRate(currency("KWD"));
    assert_eq!(Card::new(set.clone(), "KWD").tap(MARCH, "board s1 7"), Err(kwd));
    assert_eq!(kwd.refusal(), Refusal::CurrencyNotTaken);
    assert_eq!(format!("{kwd}"), "KWD is not taken here on this day");
    let chf = FareRefusal::NoRate(currency("CHF"));
    let new_year = MARCH - 59 * DAY + 4 * HOUR;
    assert_eq!(Card::new(set.clone(), "CHF").tap(new_year - 1, "board s1 7"), Err(chf));
    assert!(Card::new(set.clone(), "CHF").tap(new_year, "board s1 7").is_ok());
    let mut card = Card::new(set, "KWD");
    assert_eq!(card.tap(MARCH, "exit A"), Err(FareRefusal::NoEntry));
    assert_eq!(card.tap(MARCH, "board s1 M"), Err(FareRefusal::UnknownRoute));
}

#[test]
fn what_no_record_of_a_card_can_hold_is_refused_and_never_wraps() {
    // 400 EUR times 20 000 is 8 000 000 VND; a surcharge takes it above 2^24.
    let more = r#"
[[exchange]]
currency = "VND"
rates = [{ from = 2026-01-01, rate = "20000" }]
rounding = "down"
[[adjust]]
id = "more"
percent = 500
"#;
    let overlay = format!(
        "product = [{{ id = \"bus\", price = \"400\" }}, {{ id = \"ferry\", \
        price = \"1\" }}, {{ id = \"near\", price = \"2\" }}, {{ id = \"far\", price = \"3\" }}]\n\
        example = []\n{more}"
    );
    let tariff = in_berlin(&overlay).unwrap();
    let mut card = Card::new(TariffSet::new(tariff), "VND");
    let refused = card.tap(MARCH, "board s1 7").unwrap_err();
    assert_eq!(refused, FareRefusal::TooMuch(currency("VND")));
    assert_eq!(refused.refusal(), Refusal::CurrencyNotTaken);
    assert_eq!(card.tap(MARCH, "board s1 F").unwrap().debit.minor(), 120_000);
}

fn findings(overlay: &str) -> String {
    let list = in_berlin(overlay).unwrap_err();
    wrapped(&list.iter().fold(String::new(), |text, found| text + &format!("{found}\n")))
}

/// One entry; `ok` is a good rate.
fn entry(text: &str) -> String {
    findings(&format!("[[exchange]]\n{text}").replace("ok", "rate = \"0.9432\""))
}

#[test]
fn each_finding_about_an_entry_names_its_line_and_its_key() {
    let rates = "rates = [{ from = 2026-01-01, ok }]";
    let text = [
        entry(&format!("currency = \"CHR\"\nrounding = \"down\"\n{rates}")),
        entry(&format!("currency = \"EUR\"\nrounding = \"down\"\n{rates}")),
        entry(&format!(
            "currency = \"CHF\"\nrounding = \"down\"\n{rates}\n\
             [[exchange]]\ncurrency = \"CHF\"\nrounding = \"up\"\n{rates}"
        )),
        entry("currency = \"CHF\"\nrounding = \"nearest\"\nrates = []"),
        entry(&format!("currency = \"CHF\"\nrounding = \"up\"\nunit = \"0\"\n{rates}")),
        entry(&format!("currency = \"JPY\"\nrounding = \"up\"\nunit = \"0.5\"\n{rates}")),
        findings("exchange = 3"),
        findings("[exchange]\ncurrency = \"CHF\""),
        wrapped(&format!("{}\n", Tariff::parse_with_overlay(CITY, RATES).unwrap_err()[0])),
    ]
    .join("\n");
    expect![[r#"
        error: overlay line 2, exchange[1].currency: unknown currency "CHR": use an ISO
            4217 code such as EUR, KRW or KWD; correct the code

        error: overlay line 2, exchange[1].currency: is the tariff's own currency; leave
            the entry out: a purse in it needs no rate

        error: overlay line 6, exchange[2].currency: CHF stands here a second time; put
            all rates of a currency into one entry

        error: overlay line 3, exchange[1].rounding: unknown rounding "nearest"; use up,
            down, half-up, half-even
        error: overlay line 4, exchange[1].rates: no rate; add `rates = [{ from =
            2026-01-01, rate = "0.9432" }]`

        error: overlay line 4, exchange[1].unit: 0.00 CHF is no unit; write an amount
            from 0.01 CHF

        error: overlay line 4, exchange[1].unit: "0.5" has more decimals than JPY allows
            (0); write an amount such as "2.40"

        error: overlay line 1, exchange: is not a list of tables; write [[exchange]] and
            the keys of one entry below

        error: overlay line 1, exchange: is not a list of tables; write [[exchange]] and
            the keys of one entry below

        error: overlay line 6, exchange[1].currency: the tariff asks for the time and
            has no clock; name a time zone that is known, or write [clock];
            `depot-server fares compile` writes it
    "#]]
    .assert_eq(&text);
}

#[test]
fn each_finding_about_a_rate_names_its_line_and_its_key() {
    let of = |currency: &str, rate: &str| {
        let rates = format!("rates = [{{ from = 2026-01-01, rate = {rate} }}]");
        entry(&format!("currency = \"{currency}\"\nrounding = \"down\"\n{rates}"))
    };
    let text = [
        entry(
            "currency = \"CHF\"\nround = \"up\"\nrates = [\n  { from = 2026-01-01, ok },\n  \
             { from = 2026-01-01, ok },\n  { from = 2025-12-31, ok },\n  \
             { from = \"1.1.2026\", rate = \"0\" },\n  \
             { from = \"2026-02-30\", rate = \"1e3\" },\n  \
             { form = 2026-03-01, rate = \"0.12345678901234567890\" },\n  \
             { from = 2026-03-01T12:00:00, rate = true },\n  \
             { from = 7, rate = -0.5 },\n  \"0.9\"\n]",
        ),
        of("IDR", "30000"),
        of("CHF", "999999999999999999"),
        of("CHF", "0.0001"),
    ]
    .join("\n");
    expect![[r#"
        error: overlay line 1, exchange[1].rounding: missing; add `rounding = …`
        error: overlay line 3, exchange[1].round: unknown key; use one of: currency,
            rates, rounding, unit
        error: overlay line 6, rates[2].from: 2026-01-01 stands here a second time; list
            each day once, oldest first
        error: overlay line 7, rates[3].from: 2025-12-31 stands after 2026-01-01; list
            each day once, oldest first
        error: overlay line 8, rates[4].from: "1.1.2026" is no date; write YYYY-MM-DD
        error: overlay line 8, rates[4].rate: a rate is above zero; write how much of
            that currency one unit of the tariff's is
        error: overlay line 9, rates[5].from: "2026-02-30" is no date; write YYYY-MM-DD
        error: overlay line 9, rates[5].rate: "1e3" is not a rate: use digits with at
            most one decimal point, such as 0.9432; write how much of that currency one
            unit of the tariff's is
        error: overlay line 10, rates[6].form: unknown key; did you mean "from"?
        error: overlay line 10, rates[6].from: missing; add `from = …`
        error: overlay line 10, rates[6].rate: a rate has at most 18 digits, 12 of them
            after the point; write how much of that currency one unit of the tariff's is
        error: overlay line 11, rates[7].from: "2026-03-01T12:00:00" is no date; write
            YYYY-MM-DD
        error: overlay line 11, rates[7].rate: "a boolean" is not a rate: use digits
            with at most one decimal point, such as 0.9432; write how much of that
            currency one unit of the tariff's is
        error: overlay line 12, rates[8].from: is no date; write YYYY-MM-DD
        error: overlay line 12, rates[8].rate: "-0.5" is not a rate: use digits with at
            most one decimal point, such as 0.9432; write how much of that currency one
            unit of the tariff's is
        error: overlay line 13, exchange[1].rates: entry 9 is no table; write { id = …,
            … }

        error: overlay line 4, exchange[1].rates: 4.00 EUR is 120000.00 IDR at the rate
            of 2026-01-01; correct the rate: a card's record holds up to 83886.07 IDR of
            a ride

        error: overlay line 4, exchange[1].rates: 4.00 EUR is beyond counting at the
            rate of 2026-01-01; correct the rate: a card's record holds up to 83886.07
            CHF of a ride

        error: overlay line 4, exchange[1].rates: 4.00 EUR is 0.00 CHF at the rate of
            2026-01-01; correct the rate or the unit: nobody would pay anything
    "#]]
    .assert_eq(&text);
}

#[test]
fn an_example_may_state_what_a_purse_in_another_currency_pays() {
    let example = |on: &str, price: &str, purse: &str| {
        format!(
            "[[example]]\nroute = \"7\"\nprice = \"{price}\"\npurse = {{ currency = \"CHF\", \
             on = {on}, debit = \"{purse}\" }}"
        )
    };
    for (on, debit) in [("2026-01-01", "1.41"), ("2026-03-28", "1.42"), ("\"2026-03-29\"", "1.44")]
    {
        let tariff = city(&example(on, "1.50", debit));
        let again = Tariff::parse(&tariff.to_toml()).unwrap();
        assert_eq!(again, tariff);
    }
    let wrong = |text: &str| findings(&format!("{RATES}{text}"));
    let text = [
        wrong(&example("2026-01-01", "1.60", "1.40")),
        wrong(&example("2025-12-31", "1.50", "1.41")),
        wrong(&example("2026-01-01", "1.50", "1.411")),
        wrong(&example("2026-01-01", "1.50", "1.41").replace("CHF", "EUR")),
        wrong(&example("2026-01-01", "1.50", "1.41").replace("on =", "at =")),
    ]
    .join("\n");
    expect![[r#"
        error: overlay line 23, example[1].price: the rules give 1.50 EUR, the example
            says 1.60 EUR; correct the rules or the example
        error: overlay line 24, example[1].purse: the rules give 1.41 CHF, the example
            says 1.40 CHF; correct the rules or the example

        error: overlay line 24, example[1].purse: the rules give no price: CHF is not
            taken here on this day; correct the rules or the example

        error: overlay line 24, purse.debit: "1.411" has more decimals than CHF allows
            (2); write an amount such as "2.40"

        error: overlay line 24, example[1].purse: is in the tariff's own currency; leave
            it out, or name another currency

        error: overlay line 24, purse.at: unknown key; use one of: currency, on, debit
        error: overlay line 24, purse.on: missing; add `on = …`
    "#]]
    .assert_eq(&text);
}

#[test]
fn the_canonical_text_keeps_rates_and_needs_no_time_zone_database() {
    let tariff = city("");
    let text = tariff.to_toml();
    let at = text.find("[[exchange]]").unwrap();
    expect![[r#"
        [[exchange]]
        currency = "CHF"
        rounding = "down"
        unit = "0.01"
        [[exchange.rates]]
        from = "2026-01-01"
        rate = "0.9432"
        [[exchange.rates]]
        from = "2026-03-28"
        rate = "0.95"
        [[exchange.rates]]
        from = "2026-03-29"
        rate = "0.96"
        [[exchange.rates]]
        from = "2026-10-24"
        rate = "0.97"
        [[exchange.rates]]
        from = "2026-10-25"
        rate = "0.98"

        [[exchange]]
        currency = "JPY"
        rounding = "half-even"
        unit = "10"
        [[exchange.rates]]
        from = "2026-01-01"
        rate = "163.25""#]]
    .assert_eq(text[at..].split("\n\n[[example]]").next().unwrap());
    let again = Tariff::parse(&text).unwrap_or_else(|found| panic!("{found:#?}\n{text}"));
    assert_eq!(again, tariff);
    assert_eq!(again.to_toml(), text);
}

const CURRENCIES: [&str; 6] = ["EUR", "JPY", "KWD", "CLF", "IDR", "CHF"];

fn any_rate() -> impl Strategy<Value = (u64, u32)> {
    (1_u64..1_000_000_000_000_000_000, 0_u32..=12)
}

fn decimal((digits, places): (u64, u32)) -> String {
    let scale = 10_u64.pow(places);
    match places {
        0 => format!("{digits}"),
        _ => format!("{}.{:0width$}", digits / scale, digits % scale, width = places as usize),
    }
}

/// The amount by the definition of each rule: of all multiples of the unit, the one that it names.
fn by_definition(
    amount: i64,
    (digits, places): (u64, u32),
    exponents: (u8, u8),
    rounding: Rounding,
    unit: i64,
) -> BigInt {
    // Everything over one denominator: amount × digits × 10^to against 10^(places + from) × unit.
    let ten = |power: u32| BigInt::from(10).pow(power);
    let over = BigInt::from(amount) * BigInt::from(digits) * ten(exponents.1.into());
    let under = ten(places + u32::from(exponents.0)) * BigInt::from(unit);
    let mut low: BigInt = &over / &under;
    if &low * &under > over {
        low -= 1; // division of big numbers goes towards zero
    }
    let high = if &low * &under == over { low.clone() } else { &low + 1 };
    let (below, above) = (&over - &low * &under, &high * &under - &over);
    let nearer_high = match rounding {
        Rounding::Down => false,
        Rounding::Up => true,
        Rounding::HalfUp => above <= below,
        Rounding::HalfEven => above < below || above == below && low.bit(0),
    };
    (if nearer_high { high } else { low }) * BigInt::from(unit)
}

proptest! {
    #[test]
    fn every_conversion_is_the_one_that_big_numbers_give(
        amount: i64,
        rate in any_rate(),
        (from, to) in (0..CURRENCIES.len(), 0..CURRENCIES.len()),
        rounding in 0..ROUNDINGS.len(),
        unit in prop_oneof![Just(1_i64), 1_i64..10_000, 1_i64..=i64::MAX],
    ) {
        let rounding = ROUNDINGS[rounding].0;
        let (exchange, parsed) = table(CURRENCIES[to], &decimal(rate), rounding, unit);
        let (from, to) = (currency(CURRENCIES[from]), currency(CURRENCIES[to]));
        let exponents = (from.exponent(), to.exponent());
        let wanted = by_definition(amount, rate, exponents, rounding, unit);
        let debit = exchange.convert(parsed, Money::new(amount, from));
        let fits = i64::try_from(&wanted).ok();
        prop_assert_eq!(debit.map(Money::minor), fits);
    }

    #[test]
    fn who_is_charged_more_pays_no_less_and_nothing_stays_nothing(
        (one, other) in (0..1_i64 << 24, 0..1_i64 << 24),
        rate in (1_u64..1_000_000_000, 0_u32..=9),
        to in 0..CURRENCIES.len(),
        rounding in 0..ROUNDINGS.len(),
        unit in 1_i64..1_000,
    ) {
        let (exchange, rate) = table(CURRENCIES[to], &decimal(rate), ROUNDINGS[rounding].0, unit);
        let euro = |minor| Money::new(minor, currency("EUR"));
        let of = |minor| exchange.convert(rate, euro(minor)).unwrap().minor();
        prop_assert_eq!(of(0), 0);
        prop_assert!(of(one.min(other)) <= of(one.max(other)));
        prop_assert_eq!(of(one) % unit, 0);
    }

    /// Less than one unit of the purse's currency is won or lost at a tap.
    #[test]
    fn the_rounding_never_moves_a_whole_unit(
        minor in 0..1_i64 << 24,
        rate in (1_u64..1_000_000_000, 0_u32..=9),
        rounding in 0..ROUNDINGS.len(),
        unit in 1_i64..1_000,
    ) {
        let (exchange, parsed) = table("CHF", &decimal(rate), ROUNDINGS[rounding].0, unit);
        let debit = exchange.convert(parsed, Money::new(minor, currency("EUR"))).unwrap().minor();
        let scale = 10_i128.pow(rate.1);
        let error = i128::from(debit) * scale - i128::from(minor) * i128::from(rate.0);
        prop_assert!(error.abs() < scale * i128::from(unit));
    }

    #[test]
    fn any_table_of_rates_is_written_and_read_back(
        entries in proptest::collection::btree_map(
            1..CURRENCIES.len(),
            (
                proptest::collection::btree_map(0_u32..40_000, (1_u64..100_000, 0_u32..=4), 1..6),
                0..ROUNDINGS.len(),
                1_i64..200,
            ),
            0..5,
        ),
    ) {
        let mut parts = city("").parts().clone();
        parts.terms.exchanges = entries.into_iter().map(|(to, (rates, rounding, unit))| {
            let rates = rates.into_iter().map(|(day, rate)| {
                DatedRate { from: ServiceDate(day), rate: Rate::parse(&decimal(rate)).unwrap() }
            });
            let rounding = ROUNDINGS[rounding].0;
            Exchange::new(currency(CURRENCIES[to]), rates.collect(), rounding, unit).unwrap()
        }).collect();
        // Some rates make the dearest fare nothing, or more than a record holds.
        if let Ok(tariff) = Tariff::compile(parts) {
            prop_assert_eq!(Tariff::parse(&tariff.to_toml()).unwrap(), tariff);
        }
    }

    /// Whatever a rate, a purse and a ride: a quote whose debit a record holds, or a refusal.
    #[test]
    fn every_tap_has_a_quote_that_a_record_holds_or_a_refusal(
        taps in proptest::collection::vec((0_u64..2 * DAY, 0_usize..3, 0_u16..6, 0_u16..4), 1..20),
        purse in 0..CURRENCIES.len(),
        rate in (1_u64..1_000_000_000, 0_u32..=6),
    ) {
        let rates = format!(
            "day_starts = \"04:00\"\n[[exchange]]\ncurrency = \"{}\"\nrounding = \"up\"\n\
             rates = [{{ from = 2026-03-02, rate = \"{}\" }}]",
            CURRENCIES[purse], decimal(rate),
        );
        let Ok(tariff) = in_berlin(&rates) else { return Ok(()) };
        let set = TariffSet::new(tariff);
        let mut journey = Journey::default();
        let mut at = MARCH;
        for (wait_s, role, place, route) in taps {
            at += wait_s;
            let role = [TapRole::Board, TapRole::Entry, TapRole::Exit][role];
            let tap = FareTap {
                at: Timestamp::from_secs(at),
                role,
                place: PlaceIx(place),
                route: Some(model::RouteIx(route)),
                class: RiderClass(0),
                companions: model::Companions::NONE,
                purse: None,
                validator: ValidatorId::DEPOT,
                tariff: TariffVersion(1),
            };
            let own = price(&set, &journey, &tap);
            let purse = currency(CURRENCIES[purse]);
            let other = price(&set, &journey, &FareTap { purse: Some(purse), ..tap });
            match (&own, &other) {
                (Ok(own), Ok(other)) => {
                    // Only what is taken off the card differs: steps, runs, counters do not.
                    let Quote { debit, exchanged, min_balance, .. } = own.clone();
                    let most = CardRecord::AMOUNT_MAX.into();
                    prop_assert!((0..=most).contains(&other.debit.minor()));
                    prop_assert!(other.min_balance.minor() >= other.debit.minor());
                    let same = Quote { debit, exchanged, min_balance, ..other.clone() };
                    prop_assert_eq!(&same, own);
                }
                (Ok(own), Err(FareRefusal::NoRate(_))) => {
                    prop_assert!(own.began.secs() < MARCH + DAY + 4 * HOUR);
                }
                (Ok(_), Err(FareRefusal::TooMuch(_))) => {
                    prop_assert!(false, "the check lets none pass");
                }
                (own, other) => prop_assert_eq!(own, other),
            }
            if let Ok(own) = own {
                journey = own.journey_after;
            }
        }
    }
}
