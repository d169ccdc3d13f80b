//! Share rules as data: a TOML file, checked against the operators of the tariff.

use std::collections::BTreeMap;

use clearing::Rules;
use model::{Currency, Money, OperatorId, ServiceDate};
use serde::Deserialize;
use settlement::{ProductRules, ProductSplit, ShareRules, Split, WHOLE};

/// The rules of every period, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareBook(Vec<ShareRules>);

/// Everything that is wrong with a rules file, one line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the share rules cannot be used:\n{}", .0.join("\n"))]
pub struct ShareRulesError(pub Vec<String>);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rules: Vec<Period>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Period {
    valid_from: String,
    transfer: String,
    unknown_distance_m: Option<u32>,
    fixed: Option<BTreeMap<String, u32>>,
    #[serde(default)]
    fee_per_mille: u32,
    fee_per_ride: Option<String>,
    #[serde(default)]
    fees_in: BTreeMap<String, String>,
    #[serde(default)]
    leg: Vec<LegShares>,
    products: Option<Products>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Products {
    by: String,
    unknown_distance_m: Option<u32>,
    fixed: Option<BTreeMap<String, u32>>,
    unused: Option<String>,
    #[serde(default = "wait_days")]
    wait_days: u32,
}

const fn wait_days() -> u32 {
    7
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LegShares {
    operator: String,
    shares: BTreeMap<String, u32>,
}

/// What is named in a file, with what was found wrong so far.
struct Reader<'a> {
    rules: &'a Rules,
    at: String,
    wrong: Vec<String>,
}

impl ShareBook {
    /// The rules of a depot that names none: each operator keeps what its rides earned.
    pub fn plain() -> Self {
        Self(vec![ShareRules {
            valid_from: ServiceDate(0),
            transfer: Split::Own,
            legs: BTreeMap::new(),
            fee_per_mille: 0,
            fee_per_ride: 0,
            fees_in: BTreeMap::new(),
            products: None,
        }])
    }

    /// Reads a file.
    pub fn parse(text: &str, rules: &Rules) -> Result<Self, ShareRulesError> {
        let file: File =
            toml::from_str(text).map_err(|error| ShareRulesError(vec![error.to_string()]))?;
        let mut reader = Reader { rules, at: String::new(), wrong: Vec::new() };
        let mut book: Vec<ShareRules> = Vec::new();
        for (number, period) in (1..).zip(&file.rules) {
            reader.at = format!("rules[{number}]");
            let read = reader.period(period);
            if book.last().is_some_and(|last| last.valid_from >= read.valid_from) {
                reader.note("valid_from", "is not later than the one before: put them in order");
            }
            book.push(read);
        }
        if book.is_empty() {
            reader.note("", "there is no [[rules]]");
        }
        if reader.wrong.is_empty() { Ok(Self(book)) } else { Err(ShareRulesError(reader.wrong)) }
    }

    /// The rules of a day; `None` before the first.
    pub fn on(&self, day: ServiceDate) -> Option<&ShareRules> {
        self.0.iter().rev().find(|rules| rules.valid_from <= day)
    }
}

impl Reader<'_> {
    fn note(&mut self, key: &str, what: &str) {
        self.wrong.push(format!("{}.{key}: {what}", self.at));
    }

    fn period(&mut self, period: &Period) -> ShareRules {
        let valid_from = ServiceDate::parse(&period.valid_from).unwrap_or_else(|| {
            self.note("valid_from", "write a date such as \"2026-01-01\"");
            ServiceDate(0)
        });
        let transfer = self.transfer(period);
        if period.fee_per_mille > WHOLE {
            self.note("fee_per_mille", "use 0 to 1000: thousandths of an operator's share");
        }
        let (currency, fee) = (self.rules.currency(), period.fee_per_ride.as_deref());
        let fee_per_ride = fee.map_or(0, |text| self.fee("fee_per_ride", text, currency));
        let fees_in = self.fees_in(&period.fees_in);
        let mut legs = BTreeMap::new();
        for leg in &period.leg {
            let shares = self.operators("leg.shares", &leg.shares);
            if leg.shares.values().sum::<u32>() != WHOLE {
                let what = format!("the shares of {:?} do not add up to {WHOLE}", leg.operator);
                self.note("leg.shares", &what);
            }
            if let Some(operator) = self.operator("leg.operator", &leg.operator)
                && legs.insert(operator, shares.into_iter().collect()).is_some()
            {
                self.note("leg.operator", &format!("{:?} stands twice", leg.operator));
            }
        }
        let fee_per_mille = period.fee_per_mille;
        let products = period.products.as_ref().map(|products| self.products(products));
        ShareRules { valid_from, transfer, legs, fee_per_mille, fee_per_ride, fees_in, products }
    }

    fn fee(&mut self, key: &str, text: &str, currency: Currency) -> i64 {
        match Money::parse(text, currency) {
            Ok(fee) if fee.minor() >= 0 => fee.minor(),
            Ok(_) | Err(_) => {
                let example = Money::new(1, currency).decimal();
                self.note(key, &format!("write an amount such as \"{example}\""));
                0
            }
        }
    }

    fn fees_in(&mut self, of: &BTreeMap<String, String>) -> BTreeMap<Currency, i64> {
        let mut fees = BTreeMap::new();
        for (letters, text) in of {
            match Currency::parse(letters) {
                Ok(currency) if currency == self.rules.currency() => {
                    self.note("fees_in", "the tariff's own currency goes into fee_per_ride");
                }
                Ok(currency) => {
                    fees.insert(currency, self.fee("fees_in", text, currency));
                }
                Err(error) => self.note("fees_in", &error.to_string()),
            }
        }
        fees
    }

    fn transfer(&mut self, period: &Period) -> Split {
        let (fixed, distance) = (period.fixed.as_ref(), period.unknown_distance_m);
        if fixed.is_some() && period.transfer != "fixed" {
            self.note("fixed", "goes with transfer = \"fixed\" only");
        }
        if distance.is_some() && period.transfer != "distance" {
            self.note("unknown_distance_m", "goes with transfer = \"distance\" only");
        }
        match (period.transfer.as_str(), fixed, distance) {
            ("own", ..) => Split::Own,
            ("fare", ..) => Split::Fare,
            ("boarding", ..) => Split::Boarding,
            ("distance", _, Some(unknown_m)) => Split::Distance { unknown_m },
            ("distance", _, None) => {
                let what = "missing: metres of a boarding after which no ride tells where it ended";
                self.note("unknown_distance_m", what);
                Split::Own
            }
            ("fixed", Some(weights), _) => {
                let fixed = self.operators("fixed", weights);
                if weights.values().sum::<u32>() != WHOLE {
                    self.note("fixed", &format!("the shares do not add up to {WHOLE}"));
                }
                Split::Fixed(fixed)
            }
            ("fixed", None, _) => {
                self.note("fixed", "missing: the share of each operator, in thousandths");
                Split::Own
            }
            _ => {
                self.note(
                    "transfer",
                    "use \"own\", \"fare\", \"distance\", \"boarding\" or \"fixed\"",
                );
                Split::Own
            }
        }
    }

    fn products(&mut self, of: &Products) -> ProductRules {
        if of.wait_days > 366 {
            self.note("products.wait_days", "use 0 to 366 days");
        }
        let unused = of.unused.as_deref().filter(|name| *name != "issuer");
        let unused = unused.and_then(|name| self.operator("products.unused", name));
        let by = match (of.by.as_str(), of.unknown_distance_m, &of.fixed) {
            ("boarding", None, None) => ProductSplit::Boarding,
            ("distance", Some(unknown_m), None) => ProductSplit::Distance { unknown_m },
            ("fixed", None, Some(weights)) => {
                let fixed = self.operators("products.fixed", weights);
                if weights.values().sum::<u32>() != WHOLE {
                    self.note("products.fixed", &format!("the shares do not add up to {WHOLE}"));
                }
                ProductSplit::Fixed(fixed)
            }
            _ => {
                let what = "use by = \"boarding\", \"distance\" with unknown_distance_m, or \
                            \"fixed\" with fixed, and nothing else of these";
                self.note("products.by", what);
                ProductSplit::Boarding
            }
        };
        ProductRules { by, unused, wait_days: of.wait_days }
    }

    fn operators(&mut self, key: &str, of: &BTreeMap<String, u32>) -> BTreeMap<OperatorId, u32> {
        let found = of.iter().map(|(name, part)| (self.operator(key, name), *part));
        let found: Vec<_> = found.collect();
        found.into_iter().filter_map(|(operator, part)| Some((operator?, part))).collect()
    }

    fn operator(&mut self, key: &str, name: &str) -> Option<OperatorId> {
        let operators = self.rules.tariffs().newest().operators();
        let place = operators.iter().position(|operator| operator.id == name);
        if place.is_none() {
            let known: Vec<_> = operators.iter().map(|operator| operator.id.as_str()).collect();
            let known = known.join(", ");
            self.note(key, &format!("the tariff has no operator {name:?}; it has {known}"));
        }
        Some(OperatorId(u16::try_from(place?).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ShareBook, String> {
        ShareBook::parse(text, &crate::workload::rules()).map_err(|error| error.to_string())
    }

    #[test]
    fn rules_are_those_of_the_period_that_a_day_is_in() {
        let text = "
            [[rules]]
            valid_from = \"2026-01-01\"
            transfer = \"own\"
            [[rules]]
            valid_from = \"2027-01-01\"
            transfer = \"distance\"
            unknown_distance_m = 3000
            fee_per_mille = 15
            fee_per_ride = \"0.01\"
            leg = [{ operator = \"op\", shares = { op = 1000 } }]";
        let book = parse(text).unwrap();
        let on = |day| book.on(ServiceDate::parse(day).unwrap());
        assert_eq!(on("2025-12-31"), None);
        assert_eq!(on("2026-12-31").unwrap().transfer, Split::Own);
        let second = on("2027-01-01").unwrap();
        assert_eq!(second.transfer, Split::Distance { unknown_m: 3000 });
        assert_eq!((second.fee_per_mille, second.fee_per_ride), (15, 1));
    }

    #[test]
    fn what_is_wrong_with_share_rules_is_named_with_what_to_do() {
        let with = |rest: &str| format!("[[rules]]\nvalid_from = \"2026-01-01\"\n{rest}");
        for (text, said) in [
            ("", "missing field `rules`"),
            ("rules = []", "there is no [[rules]]"),
            (&with("transfer = \"fair\""), "rules[1].transfer: use \"own\", \"fare\""),
            (&with("transfer = \"own\"\nfee_permille = 1"), "unknown field `fee_permille`"),
            (&with("transfer = \"own\"\nfee_per_mille = 1001"), "use 0 to 1000"),
            (&with("transfer = \"own\"\nfee_per_ride = \"a lot\""), "such as \"0.01\""),
            (&with("transfer = \"distance\""), "rules[1].unknown_distance_m: missing"),
            (&with("transfer = \"fixed\""), "rules[1].fixed: missing"),
            (&with("transfer = \"fixed\"\nfixed = { op = 999 }"), "do not add up to 1000"),
            (&with("transfer = \"fare\"\nfixed = { op = 1000 }"), "goes with transfer = \"fixed\""),
            (&with("transfer = \"fixed\"\nfixed = { po = 1000 }"), "no operator \"po\"; it has op"),
            (
                &with("transfer = \"own\"\nleg = [{ operator = \"op\", shares = { op = 1 } }]"),
                "the shares of \"op\" do not add up",
            ),
            (
                &with(
                    "transfer = \"own\"\n[[rules]]\nvalid_from = \"2025-01-01\"\n\
                     transfer = \"own\"",
                ),
                "rules[2].valid_from: is not later",
            ),
            (&with("transfer = \"own\"\nproducts = { by = \"use\" }"), "use by = \"boarding"),
            (
                &with("transfer = \"own\"\nproducts = { by = \"boarding\", unused = \"po\" }"),
                "the tariff has no operator \"po\"",
            ),
            (
                &with("transfer = \"own\"\nproducts = { by = \"fixed\", fixed = { op = 1 } }"),
                "products.fixed: the shares do not add up",
            ),
            ("[[rules]]\nvalid_from = \"soon\"\ntransfer = \"own\"", "a date such as"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
