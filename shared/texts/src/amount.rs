//! Amounts as riders read them.

use model::Money;

use crate::Language;

/// Won as Koreans and their visitors write it: `₩1,250` in English, `1,250원` in Korean. Every other
/// currency keeps the style of the rest of Tapline, digits and then ISO 4217 letters (`2.40 USD`),
/// because a sign such as `$` does not say which dollar. Thousands are parted by commas.
pub fn amount_text(language: Language, amount: Money) -> String {
    let digits = grouped(&amount.decimal());
    match (amount.currency().letters(), language) {
        ("KRW", Language::Korean) => format!("{digits}원"),
        ("KRW", Language::English) => match digits.strip_prefix('-') {
            Some(digits) => format!("-₩{digits}"),
            None => format!("₩{digits}"),
        },
        (letters, Language::English | Language::Korean) => format!("{digits} {letters}"),
    }
}

/// Commas between groups of three digits before the point.
fn grouped(decimal: &str) -> String {
    let (sign, digits) = decimal.strip_prefix('-').map_or(("", decimal), |digits| ("-", digits));
    let (whole, fraction) = match digits.find('.') {
        Some(point) => digits.split_at(point),
        None => (digits, ""),
    };
    let mut text = String::from(sign);
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + fraction
}
