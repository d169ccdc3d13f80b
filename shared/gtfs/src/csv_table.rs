//! Tolerant CSV: byte-order mark, CRLF, quotes, spaces, any column order, a missing last newline.

use std::borrow::Cow;

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
        found.error("missing_file", At::file(file), format!("{file} is missing from the feed"));
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
    let position = |name: &str| header.iter().position(|column| column == name);
    let positions: Vec<_> = columns.iter().map(|(name, _)| position(name)).collect();
    let mut complete = true;
    for ((name, required), position) in columns.iter().zip(&positions) {
        if *required && position.is_none() {
            let message = format!("the column {name} is missing");
            found.error("missing_column", At::field(file, 1, name), message);
            complete = false;
        }
    }
    if !complete {
        return false;
    }
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
        let line = record.position().map_or(0, csv::Position::line);
        each(&Row { file, line, columns, positions: &positions, record: &record }, found);
    }
}

/// The columns of a file that are none of `known`.
pub(crate) fn unknown_columns(feed: &Feed, file: &str, known: &[Column]) -> Vec<String> {
    let bytes = feed.bytes(file).unwrap_or_default();
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).trim(csv::Trim::All).from_reader(bytes);
    let mut header = csv::ByteRecord::new();
    if !reader.read_byte_record(&mut header).unwrap_or(false) {
        return Vec::new();
    }
    let names = header.iter().map(|name| String::from_utf8_lossy(name).into_owned());
    names.filter(|name| !name.is_empty() && known.iter().all(|(k, _)| k != name)).collect()
}
