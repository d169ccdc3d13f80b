//! Money: integer minor units with their ISO 4217 currency. No floats, no silent overflow.

use alloc::string::{String, ToString};
use core::fmt;

/// A currency of ISO 4217, by its numeric code; the exponent says how many decimals it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency(u16);

/// ISO 4217: (numeric code, letters, exponent), by number. Every active currency; metals,
/// units of account and test codes are none.
const CURRENCIES: &[(u16, &str, u8)] = &[
    (8, "ALL", 2),
    (12, "DZD", 2),
    (32, "ARS", 2),
    (36, "AUD", 2),
    (44, "BSD", 2),
    (48, "BHD", 3),
    (50, "BDT", 2),
    (51, "AMD", 2),
    (52, "BBD", 2),
    (60, "BMD", 2),
    (64, "BTN", 2),
    (68, "BOB", 2),
    (72, "BWP", 2),
    (84, "BZD", 2),
    (90, "SBD", 2),
    (96, "BND", 2),
    (104, "MMK", 2),
    (108, "BIF", 0),
    (116, "KHR", 2),
    (124, "CAD", 2),
    (132, "CVE", 2),
    (136, "KYD", 2),
    (144, "LKR", 2),
    (152, "CLP", 0),
    (156, "CNY", 2),
    (170, "COP", 2),
    (174, "KMF", 0),
    (188, "CRC", 2),
    (192, "CUP", 2),
    (203, "CZK", 2),
    (208, "DKK", 2),
    (214, "DOP", 2),
    (222, "SVC", 2),
    (230, "ETB", 2),
    (232, "ERN", 2),
    (238, "FKP", 2),
    (242, "FJD", 2),
    (262, "DJF", 0),
    (270, "GMD", 2),
    (292, "GIP", 2),
    (320, "GTQ", 2),
    (324, "GNF", 0),
    (328, "GYD", 2),
    (332, "HTG", 2),
    (340, "HNL", 2),
    (344, "HKD", 2),
    (348, "HUF", 2),
    (352, "ISK", 0),
    (356, "INR", 2),
    (360, "IDR", 2),
    (364, "IRR", 2),
    (368, "IQD", 3),
    (376, "ILS", 2),
    (388, "JMD", 2),
    (392, "JPY", 0),
    (396, "XAD", 2),
    (398, "KZT", 2),
    (400, "JOD", 3),
    (404, "KES", 2),
    (408, "KPW", 2),
    (410, "KRW", 0),
    (414, "KWD", 3),
    (417, "KGS", 2),
    (418, "LAK", 2),
    (422, "LBP", 2),
    (426, "LSL", 2),
    (430, "LRD", 2),
    (434, "LYD", 3),
    (446, "MOP", 2),
    (454, "MWK", 2),
    (458, "MYR", 2),
    (462, "MVR", 2),
    (480, "MUR", 2),
    (484, "MXN", 2),
    (496, "MNT", 2),
    (498, "MDL", 2),
    (504, "MAD", 2),
    (512, "OMR", 3),
    (516, "NAD", 2),
    (524, "NPR", 2),
    (532, "XCG", 2),
    (533, "AWG", 2),
    (548, "VUV", 0),
    (554, "NZD", 2),
    (558, "NIO", 2),
    (566, "NGN", 2),
    (578, "NOK", 2),
    (586, "PKR", 2),
    (590, "PAB", 2),
    (598, "PGK", 2),
    (600, "PYG", 0),
    (604, "PEN", 2),
    (608, "PHP", 2),
    (634, "QAR", 2),
    (643, "RUB", 2),
    (646, "RWF", 0),
    (654, "SHP", 2),
    (682, "SAR", 2),
    (690, "SCR", 2),
    (702, "SGD", 2),
    (704, "VND", 0),
    (706, "SOS", 2),
    (710, "ZAR", 2),
    (728, "SSP", 2),
    (748, "SZL", 2),
    (752, "SEK", 2),
    (756, "CHF", 2),
    (760, "SYP", 2),
    (764, "THB", 2),
    (776, "TOP", 2),
    (780, "TTD", 2),
    (784, "AED", 2),
    (788, "TND", 3),
    (800, "UGX", 0),
    (807, "MKD", 2),
    (818, "EGP", 2),
    (826, "GBP", 2),
    (834, "TZS", 2),
    (840, "USD", 2),
    (858, "UYU", 2),
    (860, "UZS", 2),
    (882, "WST", 2),
    (886, "YER", 2),
    (901, "TWD", 2),
    (924, "ZWG", 2),
    (925, "SLE", 2),
    (926, "VED", 2),
    (927, "UYW", 4),
    (928, "VES", 2),
    (929, "MRU", 2),
    (930, "STN", 2),
    (933, "BYN", 2),
    (934, "TMT", 2),
    (936, "GHS", 2),
    (938, "SDG", 2),
    (940, "UYI", 0),
    (941, "RSD", 2),
    (943, "MZN", 2),
    (944, "AZN", 2),
    (946, "RON", 2),
    (947, "CHE", 2),
    (948, "CHW", 2),
    (949, "TRY", 2),
    (950, "XAF", 0),
    (951, "XCD", 2),
    (952, "XOF", 0),
    (953, "XPF", 0),
    (967, "ZMW", 2),
    (968, "SRD", 2),
    (969, "MGA", 2),
    (970, "COU", 2),
    (971, "AFN", 2),
    (972, "TJS", 2),
    (973, "AOA", 2),
    (975, "BGN", 2), // withdrawn in 2026; the feeds of before are still read
    (976, "CDF", 2),
    (977, "BAM", 2),
    (978, "EUR", 2),
    (979, "MXV", 2),
    (980, "UAH", 2),
    (981, "GEL", 2),
    (984, "BOV", 2),
    (985, "PLN", 2),
    (986, "BRL", 2),
    (990, "CLF", 4),
    (997, "USN", 2),
];

/// Why an amount or a currency was not understood, or could not be computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The letters or the number are not in the ISO 4217 table.
    #[error("unknown currency {0:?}: use an ISO 4217 code such as EUR, KRW or KWD")]
    UnknownCurrency(String),
    /// The text is not a decimal number.
    #[error("{0:?} is not an amount: use digits with at most one decimal point, such as 2.40")]
    NotAnAmount(String),
    /// More decimals than the currency has.
    #[error("{text:?} has more decimals than {currency} allows ({exponent})")]
    TooManyDecimals {
        /// The amount as written.
        text: String,
        /// Its currency.
        currency: Currency,
        /// Decimals that the currency has.
        exponent: u8,
    },
    /// The result does not fit.
    #[error("the amount does not fit into 64 bits of minor units")]
    Overflow,
    /// Two currencies met in one sum.
    #[error("cannot combine {0} with {1}")]
    CurrencyMismatch(Currency, Currency),
}

impl Currency {
    /// From the ISO 4217 letters, e.g. `"EUR"`.
    pub fn parse(letters: &str) -> Result<Self, MoneyError> {
        CURRENCIES
            .iter()
            .find(|(_, l, _)| *l == letters)
            .map(|(n, _, _)| Self(*n))
            .ok_or_else(|| MoneyError::UnknownCurrency(letters.to_string()))
    }

    /// From the ISO 4217 number, e.g. 978.
    pub fn from_numeric(number: u16) -> Result<Self, MoneyError> {
        CURRENCIES
            .binary_search_by_key(&number, |(n, _, _)| *n)
            .map(|_| Self(number))
            .map_err(|_| MoneyError::UnknownCurrency(number.to_string()))
    }

    /// ISO 4217 number.
    pub const fn numeric(self) -> u16 {
        self.0
    }

    /// ISO 4217 letters.
    pub fn letters(self) -> &'static str {
        self.row().1
    }

    /// Decimals of the currency: KRW 0, EUR 2, KWD 3.
    pub fn exponent(self) -> u8 {
        self.row().2
    }

    fn row(self) -> &'static (u16, &'static str, u8) {
        let at = CURRENCIES.binary_search_by_key(&self.0, |(n, _, _)| *n);
        &CURRENCIES[at.expect("a Currency is only built from the table")]
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.letters())
    }
}

/// An amount in minor units of one currency. May be negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    minor: i64,
    currency: Currency,
}

impl Money {
    /// `minor` units (cents, won, fils) of `currency`.
    pub const fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Nothing, in `currency`.
    pub const fn zero(currency: Currency) -> Self {
        Self { minor: 0, currency }
    }

    /// Decimal text to minor units, exactly: `"2.4"` EUR is 240, `"12"` INR is 1200.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        let not_an_amount = || MoneyError::NotAnAmount(text.to_string());
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let ascii = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !ascii(whole) || !ascii(fraction) || digits.ends_with('.') {
            return Err(not_an_amount());
        }
        let exponent = usize::from(currency.exponent());
        let significant = fraction.trim_end_matches('0');
        if significant.len() > exponent {
            return Err(MoneyError::TooManyDecimals {
                text: text.to_string(),
                currency,
                exponent: currency.exponent(),
            });
        }
        let mut minor: i64 = 0;
        let padding = core::iter::repeat_n(b'0', exponent - significant.len());
        for digit in whole.bytes().chain(significant.bytes()).chain(padding) {
            minor = minor
                .checked_mul(10)
                .and_then(|m| m.checked_add(i64::from(digit - b'0')))
                .ok_or(MoneyError::Overflow)?;
        }
        Ok(Self { minor: if negative { -minor } else { minor }, currency })
    }

    /// Minor units.
    pub const fn minor(self) -> i64 {
        self.minor
    }

    /// Its currency.
    pub const fn currency(self) -> Currency {
        self.currency
    }

    /// Sum; refuses another currency and overflow.
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        self.same(other)?;
        let minor = self.minor.checked_add(other.minor).ok_or(MoneyError::Overflow)?;
        Ok(Self { minor, ..self })
    }

    /// Difference; refuses another currency and overflow.
    pub fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        self.same(other)?;
        let minor = self.minor.checked_sub(other.minor).ok_or(MoneyError::Overflow)?;
        Ok(Self { minor, ..self })
    }

    /// Decimal text without the currency: 240 EUR-cents is `2.40`, 1400 won is `1400`.
    pub fn decimal(self) -> String {
        let exponent = usize::from(self.currency.exponent());
        let sign = if self.minor < 0 { "-" } else { "" };
        let digits = self.minor.unsigned_abs();
        if exponent == 0 {
            return alloc::format!("{sign}{digits}");
        }
        let scale = 10_u64.pow(u32::from(self.currency.exponent()));
        alloc::format!("{sign}{}.{:0exponent$}", digits / scale, digits % scale)
    }

    fn same(self, other: Self) -> Result<(), MoneyError> {
        if self.currency == other.currency {
            Ok(())
        } else {
            Err(MoneyError::CurrencyMismatch(self.currency, other.currency))
        }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.decimal(), self.currency)
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use super::*;

    fn eur() -> Currency {
        Currency::parse("EUR").unwrap()
    }

    #[test]
    fn decimal_text_becomes_minor_units_exactly() {
        for (text, currency, minor) in [
            ("2.40", "EUR", 240),
            ("2.4", "EUR", 240),
            ("12", "INR", 1200),
            ("1400", "KRW", 1400),
            ("0.125", "KWD", 125),
            ("-0.50", "USD", -50),
            ("2.400", "EUR", 240),
        ] {
            let currency = Currency::parse(currency).unwrap();
            let money = Money::parse(text, currency).unwrap();
            assert_eq!(money.minor(), minor, "{text}");
            assert_eq!(Money::parse(&money.decimal(), currency).unwrap(), money);
        }
    }

    #[test]
    fn what_is_not_an_amount_is_refused_by_name() {
        for text in ["", ".", "1.", ".5", "1,20", "1e3", "- 1", "१२"] {
            assert!(matches!(Money::parse(text, eur()), Err(MoneyError::NotAnAmount(_))), "{text}");
        }
        assert!(matches!(
            Money::parse("1.005", eur()),
            Err(MoneyError::TooManyDecimals { exponent: 2, .. })
        ));
        assert_eq!(Money::parse("99999999999999999999", eur()), Err(MoneyError::Overflow));
    }

    #[test]
    fn the_table_of_currencies_is_sorted_and_names_each_once() {
        assert!(CURRENCIES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        let letters: BTreeSet<&str> = CURRENCIES.iter().map(|(_, letters, _)| *letters).collect();
        assert_eq!(letters.len(), CURRENCIES.len());
        for (number, letters, exponent) in CURRENCIES {
            let currency = Currency::parse(letters).unwrap();
            assert_eq!(Currency::from_numeric(*number).unwrap(), currency);
            assert_eq!((currency.letters(), currency.exponent()), (*letters, *exponent));
        }
        let unlike = |digits: u8| {
            let own = CURRENCIES.iter().filter(move |(.., exponent)| *exponent == digits);
            own.map(|(_, letters, _)| *letters).collect::<BTreeSet<_>>()
        };
        let none = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF";
        assert_eq!(unlike(0), none.split(' ').collect());
        assert_eq!(unlike(3), "BHD IQD JOD KWD LYD OMR TND".split(' ').collect());
        assert_eq!(unlike(4), ["CLF", "UYW"].into());
        assert_eq!(Currency::parse("XAU"), Err(MoneyError::UnknownCurrency("XAU".into())));
    }

    #[test]
    fn currencies_never_mix() {
        let won = Money::new(1, Currency::parse("KRW").unwrap());
        assert!(matches!(
            Money::new(1, eur()).checked_add(won),
            Err(MoneyError::CurrencyMismatch(..))
        ));
    }
}
