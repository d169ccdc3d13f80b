//! Tolerant CSV: byte-order mark, CRLF, quotes, spaces, any column order, a missing last newline.

use std::{borrow::Cow, collections::BTreeSet};

use crate::{
    Feed,
    diagnostic::{At, Findings},
};

/// A column of a table: its name, and whether the file is useless without it.
pub(crate) type Column = (&'static str, bool);

/// One row of a table.
pub(crate) struct Row<'r> {
    pub(crate) file: &'static str,
    /// The line in the file, from 1.
    pub(crate) line: u64,
    columns: &'r [Column],
    positions: &'r [Option<usize>],
    record: &'r csv::StringRecord,
}

impl<'r> Row<'r> {
    /// The field of column `i` of the columns asked for; empty when it is not there.
    pub(crate) fn text(&self, i: usize) -> &'r str {
        self.positions[i].and_then(|at| self.record.get(at)).unwrap_or_default()
    }

    /// The first `N` of the columns asked for.
    pub(crate) fn fields<const N: usize>(&self) -> [&'r str; N] {
        std::array::from_fn(|i| self.text(i))
    }

    /// Where the field of this name is.
    pub(crate) const fn of(&self, field: &'static str) -> At<'static> {
        At::field(self.file, self.line, field)
    }

    /// Where column `i` of this row is.
    pub(crate) fn at(&self, i: usize) -> At<'static> {
        At::field(self.file, self.line, self.columns[i].0)
    }
}

/// Reads each row of a file. Returns whether the file is there and has the required columns;
/// otherwise that is noted.
pub(crate) fn read(
    feed: &Feed,
    file: &'static str,
    columns: &[Column],
    found: &mut Findings,
    mut each: impl FnMut(&Row<'_>, &mut Findings),
) -> bool {
    let Some(bytes) = feed.bytes(file) else {
        found.error(
            "missing_required_file",
            At::file(file),
            format!("{file} is missing from the feed"),
        );
        return false;
    };
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let text = String::from_utf8_lossy(bytes);
    if matches!(text, Cow::Owned(_)) {
        let message = "the file is not UTF-8: save it as UTF-8; odd letters are replaced";
        found.warning("not_utf8", At::file(file), message);
    }
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let mut record = csv::StringRecord::new();
    if !matches!(reader.read_record(&mut record), Ok(true)) {
        found.error("empty_file", At::file(file), "the file has no header line");
        return false;
    }
    let header = record.clone();
    for (i, name) in header.iter().enumerate() {
        if !name.is_empty() && header.iter().take(i).any(|other| other == name) {
            let message = "the column stands twice: the first is read";
            found.error("duplicated_column", At::field(file, 1, name), message);
        }
    }
    let position = |name: &str| header.iter().position(|column| column == name);
    let positions: Vec<_> = columns.iter().map(|(name, _)| position(name)).collect();
    let mut complete = true;
    for ((name, required), position) in columns.iter().zip(&positions) {
        if *required && position.is_none() {
            let message = format!("the column {name} is missing");
            found.error("missing_required_column", At::field(file, 1, name), message);
            complete = false;
        }
    }
    if !complete {
        return false;
    }
    let mut lines = Lines { text: text.as_bytes(), at: 0, line: 1 };
    loop {
        match reader.read_record(&mut record) {
            Ok(true) => {}
            Ok(false) => return true,
            Err(why) => {
                found.error("unreadable_row", At::file(file), format!("cannot be read: {why}"));
                return false;
            }
        }
        if record.len() == 1 && record.get(0) == Some("") {
            continue; // an empty line
        }
        let start = record.position().map_or(0, csv::Position::byte);
        let line = lines.line_of(usize::try_from(start).unwrap_or(usize::MAX));
        if record.iter().skip(header.len()).any(|field| !field.is_empty()) {
            let at = At { file, row: Some(line), field: None };
            let message = "has more fields than the header: put fields with commas in quotes";
            found.warning("invalid_row_length", at, message);
        }
        each(&Row { file, line, columns, positions: &positions, record: &record }, found);
    }
}

/// Counts lines as an editor does. The parser's own count stands still at empty lines, and lags
/// by one where lines end in CRLF.
struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of the record that starts at this byte, or after the line ends that stand there.
    fn line_of(&mut self, start: usize) -> u64 {
        while let Some(byte) = self.text.get(self.at) {
            let end = [b'\r', b'\n'].contains(byte);
            if self.at >= start && !end {
                break;
            }
            let crlf = *byte == b'\r' && self.text.get(self.at + 1) == Some(&b'\n');
            self.line += u64::from(end && !crlf);
            self.at += 1;
        }
        self.line
    }
}

/// Reads a file that a feed may leave out.
pub(crate) fn read_optional(
    feed: &Feed,
    file: &'static str,
    columns: &[Column],
    found: &mut Findings,
    each: impl FnMut(&Row<'_>, &mut Findings),
) {
    if feed.has(file) {
        read(feed, file, columns, found, each);
    }
}

/// The columns of a file that are none of `known`.
pub(crate) fn unknown_columns(feed: &Feed, file: &str, known: &[Column]) -> Vec<String> {
    let mut names = header(feed, file);
    names.retain(|name| !name.is_empty() && known.iter().all(|(k, _)| k != name));
    names
}

/// The names of a file's columns; none when there is no such file.
pub(crate) fn header(feed: &Feed, file: &str) -> Vec<String> {
    let bytes = feed.bytes(file).unwrap_or_default();
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).trim(csv::Trim::All).from_reader(bytes);
    let mut names = csv::ByteRecord::new();
    if !reader.read_byte_record(&mut names).unwrap_or(false) {
        return Vec::new();
    }
    names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
}

/// The columns of a file that have a value in some row.
pub(crate) fn filled_columns(feed: &Feed, file: &str) -> BTreeSet<String> {
    let names = header(feed, file);
    let bytes = feed.bytes(file).unwrap_or_default();
    let mut reader =
        csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(bytes);
    let mut filled = BTreeSet::new();
    let mut record = csv::ByteRecord::new();
    while reader.read_byte_record(&mut record).unwrap_or(false) {
        let pairs = names.iter().zip(&record);
        filled.extend(pairs.filter(|(_, value)| !value.is_empty()).map(|(name, _)| name.clone()));
    }
    filled
}

/// Whether a file has more than its header.
pub(crate) fn has_rows(feed: &Feed, file: &str) -> bool {
    let bytes = feed.bytes(file).unwrap_or_default();
    let mut reader =
        csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(bytes);
    let mut record = csv::ByteRecord::new();
    reader.read_byte_record(&mut record).unwrap_or(false)
}
