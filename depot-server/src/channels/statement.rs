//! A statement's file: CSV with a line of column names, which are the channel's own.
//!
//! A file is taken whole or not at all: what does not read is said by its line, and nothing of the
//! file changes the books.

use std::collections::BTreeMap;

use csv::StringRecord;
use jiff::{civil::DateTime, tz::TimeZone};
use model::{CardId, Currency, Money, Timestamp};

use crate::config::StatementFormat;

/// Findings that are told of one file.
const FINDINGS_MAX: usize = 20;
/// Characters of a reference.
const REFERENCE_MAX: usize = 100;

/// A line as its channel wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLine {
    /// Where in the file, from 1 on; the column names are the first.
    pub row: u32,
    /// The channel's own number of the payment.
    pub reference: String,
    /// Below zero: taken back.
    pub amount: Money,
    /// For which card.
    pub card: Option<CardId>,
    /// What was bought, when it was no value: a product's number. Of files of orders.
    pub product: Option<u16>,
    /// When.
    pub paid_at: Option<Timestamp>,
    /// How many lines like this one stand before it.
    pub copy: u32,
}

/// Why a file is no statement.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// Not text that we read.
    #[error("the file is {0}: save it as CSV in UTF-8")]
    Encoding(&'static str),
    /// Nothing in it.
    #[error("the file is empty: a statement begins with a line of column names")]
    Empty,
    /// A column that must be there.
    #[error(
        "there is no column {wanted:?}, only {found}: correct the file, or say under \
         `[[channel]] statement.{key}` what this channel calls it"
    )]
    Column {
        /// Which key of the configuration says so.
        key: &'static str,
        /// What was looked for.
        wanted: String,
        /// What is there.
        found: String,
    },
    /// Lines that do not read; nothing of the file is taken.
    #[error("nothing of the file is taken, because lines do not read:\n{0}")]
    Lines(String),
}

/// A line that does not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineProblem {
    /// Where in the file.
    pub row: u32,
    /// What is wrong.
    pub problem: String,
}

/// Reads a file whole.
pub fn read(
    bytes: &[u8],
    format: &StatementFormat,
    currency: Currency,
) -> Result<Vec<FileLine>, StatementError> {
    let (mut lines, mut wrong) = (Vec::new(), Vec::new());
    for line in read_lines(bytes, format, currency)? {
        match line {
            Ok(line) => lines.push(line),
            Err(LineProblem { row, problem }) => wrong.push(format!("line {row}: {problem}")),
        }
    }
    if wrong.is_empty() {
        return Ok(lines);
    }
    let more = wrong.len().saturating_sub(FINDINGS_MAX);
    wrong.truncate(FINDINGS_MAX);
    if more > 0 {
        wrong.push(format!("and {more} more"));
    }
    Err(StatementError::Lines(wrong.join("\n")))
}

/// Reads a file line by line: each reads or does not by itself.
pub fn read_lines(
    bytes: &[u8],
    format: &StatementFormat,
    currency: Currency,
) -> Result<Vec<Result<FileLine, LineProblem>>, StatementError> {
    let text = text(bytes)?;
    let mut csv = csv::ReaderBuilder::new()
        .delimiter(format.delimiter_byte().unwrap_or(b','))
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let names = csv.headers().map_err(|error| StatementError::Lines(error.to_string()))?.clone();
    if names.is_empty() {
        return Err(StatementError::Empty);
    }
    let columns = Columns::find(&names, format)?;
    let fields = Fields { format, columns, currency, zone: zone(format) };
    let mut lines = Vec::new();
    let mut like: BTreeMap<_, u32> = BTreeMap::new();
    let mut rows = Rows { text, at: 0, row: 1 };
    for record in csv.records() {
        let position = match &record {
            Ok(record) => record.position(),
            Err(error) => error.position(),
        };
        let row = position.map_or(0, |position| rows.row_of(position.byte()));
        lines.push(match record {
            Ok(record) => fields.line(row, &record).map(|mut line| {
                let FileLine { reference, amount, card, paid_at, .. } = &line;
                let said = (reference.clone(), amount.currency(), amount.minor(), *card, *paid_at);
                let before = like.entry(said).or_default();
                line.copy = *before;
                *before += 1;
                line
            }),
            Err(error) => Err(LineProblem { row, problem: csv_problem(&error) }),
        });
    }
    Ok(lines)
}

/// Counts lines of the text. The csv crate counts from the end of the record before, which is one
/// too few where lines end in CRLF or are empty.
struct Rows<'a> {
    text: &'a str,
    at: usize,
    row: u32,
}

impl Rows<'_> {
    /// The line of the record that begins at this byte, or after the ends of lines there. Bytes
    /// come in ascending order.
    fn row_of(&mut self, byte: u64) -> u32 {
        let bytes = self.text.as_bytes();
        let mut to = usize::try_from(byte).unwrap_or(usize::MAX).min(bytes.len());
        while matches!(bytes.get(to), Some(b'\r' | b'\n')) {
            to += 1;
        }
        let passed = bytes.get(self.at..to).unwrap_or_default();
        let ends = passed.split(|byte| *byte == b'\n').count() - 1;
        self.row = self.row.saturating_add(u32::try_from(ends).unwrap_or(u32::MAX));
        self.at = to.max(self.at);
        self.row
    }
}

/// The file's text without a byte order mark.
pub fn text(bytes: &[u8]) -> Result<&str, StatementError> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(StatementError::Encoding("UTF-16"));
    }
    if bytes.contains(&0) {
        return Err(StatementError::Encoding("no text"));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|_| StatementError::Encoding("not UTF-8"))?;
    if text.trim().is_empty() { Err(StatementError::Empty) } else { Ok(text) }
}

/// A reference that can be one.
pub fn reference(text: &str) -> Result<String, String> {
    if text.is_empty() {
        Err("no reference".into())
    } else if text.chars().count() > REFERENCE_MAX {
        Err(format!("a reference has up to {REFERENCE_MAX} characters"))
    } else if text.chars().any(char::is_control) {
        Err("the reference holds a control character".into())
    } else {
        Ok(text.to_owned())
    }
}

fn zone(format: &StatementFormat) -> TimeZone {
    // The configuration was checked; UTC is what it says by default.
    TimeZone::get(&format.zone).unwrap_or(TimeZone::UTC)
}

fn csv_problem(error: &csv::Error) -> String {
    if let csv::ErrorKind::UnequalLengths { expected_len, len, .. } = error.kind() {
        format!("{len} columns instead of {expected_len}")
    } else {
        error.to_string()
    }
}

/// Where the columns are.
struct Columns {
    reference: usize,
    amount: usize,
    card: Option<usize>,
    paid_at: Option<usize>,
    currency: Option<usize>,
    product: Option<usize>,
}

impl Columns {
    fn find(names: &StringRecord, format: &StatementFormat) -> Result<Self, StatementError> {
        let place = |name: &str| names.iter().position(|column| column == name);
        let must = |key, name: &str| {
            place(name).ok_or_else(|| StatementError::Column {
                key,
                wanted: name.to_owned(),
                found: names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", "),
            })
        };
        let may = |key, name: &Option<String>, usual: &str| match name {
            Some(name) => must(key, name).map(Some),
            None => Ok(place(usual)),
        };
        Ok(Self {
            reference: must("reference", &format.reference)?,
            amount: must("amount", &format.amount)?,
            card: may("card", &format.card, "card")?,
            paid_at: may("paid_at", &format.paid_at, "paid_at")?,
            currency: may("currency_column", &format.currency_column, "currency")?,
            product: place("product"),
        })
    }
}

struct Fields<'a> {
    format: &'a StatementFormat,
    columns: Columns,
    currency: Currency,
    zone: TimeZone,
}

impl Fields<'_> {
    fn line(&self, row: u32, record: &StringRecord) -> Result<FileLine, LineProblem> {
        self.fields(row, record).map_err(|problem| LineProblem { row, problem })
    }

    fn fields(&self, row: u32, record: &StringRecord) -> Result<FileLine, String> {
        let field = |column: Option<usize>| {
            column.and_then(|column| record.get(column)).filter(|text| !text.is_empty())
        };
        let Columns { reference: named, amount, card, paid_at, currency, product } = self.columns;
        let currency = field(currency).map_or(Ok(self.currency), Currency::parse);
        let currency = currency.map_err(|error| error.to_string())?;
        let card = field(card).map(str::parse::<CardId>).transpose();
        let product = field(product).map(|text| {
            text.parse::<u16>().map_err(|_| format!("{text:?} is no number of a product"))
        });
        let product = product.transpose()?;
        Ok(FileLine {
            row,
            reference: reference(field(Some(named)).unwrap_or_default())?,
            amount: self.amount(field(Some(amount)).unwrap_or_default(), currency, product)?,
            product,
            card: card.map_err(|error| error.to_string())?,
            paid_at: field(paid_at).map(|text| self.time(text)).transpose()?,
            copy: 0,
        })
    }

    fn amount(
        &self,
        text: &str,
        currency: Currency,
        product: Option<u16>,
    ) -> Result<Money, String> {
        let plain = text.strip_prefix('+').unwrap_or(text);
        let plain = if self.format.decimal_comma {
            plain.replace('.', "").replace(',', ".")
        } else {
            plain.to_owned()
        };
        match Money::parse(&plain, currency) {
            Ok(amount) if amount.minor() == 0 && product.is_none() => {
                Err(format!("the amount is {text:?}: nothing"))
            }
            Ok(amount) => Ok(amount),
            Err(error) if self.format.decimal_comma || !text.contains(',') => {
                Err(error.to_string())
            }
            Err(error) => Err(format!(
                "{error}; if this channel writes 1.234,50 set statement.decimal_comma = true"
            )),
        }
    }

    fn time(&self, text: &str) -> Result<Timestamp, String> {
        let zoned = || text.parse::<DateTime>().and_then(|at| at.to_zoned(self.zone.clone()));
        let at = text.parse::<jiff::Timestamp>().or_else(|_| zoned().map(|at| at.timestamp()));
        let at =
            at.map_err(|_| format!("{text:?} is no time such as 2026-11-26 04:40:11 or RFC 3339"))?;
        u64::try_from(at.as_millisecond())
            .map(Timestamp)
            .map_err(|_| format!("{text:?} is before 1970"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eur() -> Currency {
        Currency::parse("EUR").unwrap()
    }

    fn plain(text: &str) -> Result<Vec<FileLine>, String> {
        let format = StatementFormat::default();
        read(text.as_bytes(), &format, eur()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_statement_reads_with_mark_crlf_quotes_and_columns_in_any_order() {
        let text = "\u{feff}amount,note,reference,paid_at,card\r\n\
                    20.00,\"a, b\"\"c\",R-1,2026-11-26T04:40:11Z,04a1b2c3d4e5f6\r\n\
                    \r\n-5,,\"R,2\",2026-11-26 04:40:11,\r\n";
        let lines = plain(text).unwrap();
        assert_eq!(lines.len(), 2);
        let first = &lines[0];
        assert_eq!((first.row, first.reference.as_str(), first.amount.minor()), (2, "R-1", 2_000));
        assert_eq!(first.card.unwrap().to_hex(), "04a1b2c3d4e5f6");
        assert_eq!(first.paid_at, lines[1].paid_at);
        assert_eq!((lines[1].reference.as_str(), lines[1].amount.minor()), ("R,2", -500));
        assert_eq!((lines[1].card, lines[1].row), (None, 4), "an empty line counts");
    }

    #[test]
    fn a_channel_names_its_columns_delimiter_zone_and_decimal_comma() {
        let format = StatementFormat {
            delimiter: ";".into(),
            decimal_comma: true,
            zone: "Europe/Vienna".into(),
            reference: "Beleg".into(),
            amount: "Betrag".into(),
            paid_at: Some("Zeit".into()),
            ..StatementFormat::default()
        };
        let text = "Beleg;Betrag;Zeit\nA;1.234,50;2026-07-01 02:00:00\n";
        let lines = read(text.as_bytes(), &format, eur()).unwrap();
        assert_eq!(lines[0].amount.minor(), 123_450);
        let midnight: jiff::Timestamp = "2026-07-01T00:00:00Z".parse().unwrap();
        let midnight = u64::try_from(midnight.as_millisecond()).unwrap();
        assert_eq!(lines[0].paid_at, Some(Timestamp(midnight)));
    }

    #[test]
    fn like_lines_of_one_file_are_told_apart_by_their_place_among_them() {
        let lines = plain("reference,amount\nR,1\nR,1.00\nR,2\nR,1\n").unwrap();
        assert_eq!(lines.iter().map(|line| line.copy).collect::<Vec<_>>(), [0, 1, 0, 2]);
    }

    #[test]
    fn what_does_not_read_is_said_by_its_line_and_the_file_is_refused() {
        for (text, problem) in [
            ("", "empty"),
            (" \n", "empty"),
            ("ref,amount\nA,1\n", "no column \"reference\", only \"ref\", \"amount\""),
            ("reference,sum\nA,1\n", "statement.amount"),
            ("reference,amount\nA,1\n,2\nB,x\n", "line 3: no reference\nline 4"),
            ("reference,amount\nA,\"1,50\"\n", "decimal_comma = true"),
            ("reference,amount\nA,0.00\n", "line 2: the amount is \"0.00\": nothing"),
            ("reference,amount\nA,1,2\n", "line 2: 3 columns instead of 2"),
            ("reference,amount,card\nA,1,04zz\n", "line 2:"),
            ("reference,amount,paid_at\nA,1,yesterday\n", "is no time such as"),
            ("reference,amount,currency\nA,1,eur\n", "line 2:"),
        ] {
            let error = plain(text).unwrap_err();
            assert!(error.contains(problem), "{text:?}: {error}");
        }
        let format = StatementFormat::default();
        for bytes in [&[0xff, 0xfe, b'a', 0][..], &[b'a', 0], &[b'a', 0xff]] {
            assert!(matches!(read(bytes, &format, eur()), Err(StatementError::Encoding(_))));
        }
        let many = "reference,amount\n".to_owned() + &"A,x\n".repeat(30);
        assert!(plain(&many).unwrap_err().ends_with("and 10 more"));
    }
}
