//! Spans of time as people write them.

use std::time::Duration;

/// A span that does not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write a number and one of s, m, h, d, such as 45s, 90m, 2h or 1d")]
pub struct SpanError;

/// A number with its unit: 45s, 90m, 2h, 1d.
pub fn span(text: &str) -> Result<Duration, SpanError> {
    let split = text.len().saturating_sub(1);
    let (number, unit) = text.split_at_checked(split).ok_or(SpanError)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(SpanError),
    };
    let number: u32 = number.parse().map_err(|_| SpanError)?;
    Ok(Duration::from_secs(u64::from(number) * unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_with_its_unit() {
        for (text, secs) in [("45s", 45), ("90m", 5_400), ("2h", 7_200), ("1d", 86_400)] {
            assert_eq!(span(text), Ok(Duration::from_secs(secs)));
        }
        for text in ["", "h", "2", "2w", "-2h", "2.5h", "2é"] {
            assert!(span(text).is_err(), "{text}");
        }
    }
}
