//! Reading TOML tables with findings instead of failures: each value that is missing, of the
//! wrong kind or misspelt is noted with its line, and reading goes on.

use alloc::{borrow::ToOwned, collections::BTreeMap, format, string::String, vec::Vec};

use model::{Currency, Money};
use toml::de::{DeTable, DeValue};

use crate::{Diagnostic, Layer, Severity, diagnostic::nearest};

/// A tariff text longer than this is refused before it is parsed.
const TEXT_MAX_BYTES: usize = 16 << 20;

/// One text: its layer and where its lines begin.
pub(crate) struct Source<'a> {
    layer: Layer,
    text: &'a str,
    line_starts: Vec<usize>,
}

/// Findings so far, and the lines where keys stand.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) list: Vec<Diagnostic>,
    lines: BTreeMap<(&'static str, usize, String), (Layer, u32)>,
}

/// One table of a document: a section, or entry `index` of a list of sections.
pub(crate) struct Section<'a> {
    source: &'a Source<'a>,
    name: &'static str,
    index: usize,
    line: u32,
    table: &'a DeTable<'a>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(layer: Layer, text: &'a str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i + 1);
        let line_starts = core::iter::once(0).chain(breaks).collect();
        Self { layer, text, line_starts }
    }

    /// The document, or where it stops being TOML.
    pub(crate) fn parse(&self) -> Result<DeTable<'a>, Diagnostic> {
        let refuse = |line, message: String, advice: &str| Diagnostic {
            severity: Severity::Error,
            layer: self.layer,
            line: Some(line),
            key: "TOML".into(),
            message,
            advice: advice.into(),
        };
        if self.text.len() > TEXT_MAX_BYTES {
            let message = format!("the text has {} bytes", self.text.len());
            return Err(refuse(1, message, "keep a tariff below 16 MiB"));
        }
        DeTable::parse(self.text).map(toml::Spanned::into_inner).map_err(|e| {
            let line = e.span().map_or(1, |span| self.line_of(span.start));
            let message = e.message().lines().collect::<Vec<_>>().join(", ");
            refuse(line, message, "correct the line; see https://toml.io")
        })
    }

    fn line_of(&self, offset: usize) -> u32 {
        let line = self.line_starts.partition_point(|start| *start <= offset);
        u32::try_from(line).unwrap_or(u32::MAX)
    }

    pub(crate) fn root(&'a self, table: &'a DeTable<'a>) -> Section<'a> {
        Section { source: self, name: "", index: 0, line: 1, table }
    }
}

impl Findings {
    /// The line of a key, or of the section when the key is not written.
    pub(crate) fn line_of(
        &self,
        section: &'static str,
        index: usize,
        key: &str,
    ) -> Option<(Layer, u32)> {
        let find = |key: &str| self.lines.get(&(section, index, key.to_owned())).copied();
        find(key).or_else(|| find(""))
    }
}

impl<'a> Section<'a> {
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Notes every key that is not known, with the one that was probably meant.
    pub(crate) fn check_keys(&self, known: &[&str], found: &mut Findings) {
        found.lines.insert((self.name, self.index, String::new()), (self.source.layer, self.line));
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            let line = self.source.line_of(key.span().start);
            if known.contains(&name) {
                let at = (self.name, self.index, name.to_owned());
                found.lines.insert(at, (self.source.layer, line));
                continue;
            }
            let advice = nearest(name, known.iter().copied()).map_or_else(
                || format!("use one of: {}", known.join(", ")),
                |meant| format!("did you mean {meant:?}?"),
            );
            self.push(found, line, name, "unknown key".into(), advice);
        }
    }

    /// Notes a finding at `key`, or at the section when the key is not written.
    pub(crate) fn note(
        &self,
        found: &mut Findings,
        key: &str,
        message: impl Into<String>,
        advice: impl Into<String>,
    ) {
        let line = self.table.iter().find(|(k, _)| &**k.get_ref() == key);
        let line = line.map_or(self.line, |(k, _)| self.source.line_of(k.span().start));
        self.push(found, line, key, message.into(), advice.into());
    }

    fn push(&self, found: &mut Findings, line: u32, key: &str, message: String, advice: String) {
        let key = match self.name {
            "" => key.to_owned(),
            section @ ("companions" | "gate" | "gate.same_station" | "matrix" | "matrix.from"
            | "purse") => {
                format!("{section}.{key}")
            }
            section => format!("{section}[{}].{key}", self.index + 1),
        };
        found.list.push(Diagnostic {
            severity: Severity::Error,
            layer: self.source.layer,
            line: Some(line),
            key,
            message,
            advice,
        });
    }

    fn value(&self, key: &str) -> Option<&'a DeValue<'a>> {
        self.table.get(key).map(toml::Spanned::get_ref)
    }

    fn required<T>(&self, found: &mut Findings, key: &str, value: Option<T>) -> Option<T> {
        if value.is_none() && !self.has(key) {
            self.note(found, key, "missing", format!("add `{key} = …`"));
        }
        value
    }

    pub(crate) fn opt_text(&self, found: &mut Findings, key: &str) -> Option<&'a str> {
        let value = self.value(key)?;
        let text = value.as_str();
        if text.is_none() {
            let message = format!("is {}", article(value.type_str()));
            self.note(found, key, message, "write text in quotes");
        }
        text
    }

    pub(crate) fn text(&self, found: &mut Findings, key: &str) -> Option<&'a str> {
        let value = self.opt_text(found, key);
        self.required(found, key, value)
    }

    pub(crate) fn opt_uint(&self, found: &mut Findings, key: &str, most: u32) -> Option<u32> {
        let value = self.value(key)?;
        let number = value
            .as_integer()
            .filter(|n| n.radix() == 10)
            .and_then(|n| n.as_str().parse::<u32>().ok())
            .filter(|n| *n <= most);
        if number.is_none() {
            let advice = format!("write a whole number from 0 to {most}");
            self.note(found, key, format!("{} is out of range", raw(value)), advice);
        }
        number
    }

    pub(crate) fn uint(&self, found: &mut Findings, key: &str, most: u32) -> Option<u32> {
        let value = self.opt_uint(found, key, most);
        self.required(found, key, value)
    }

    pub(crate) fn opt_texts(&self, found: &mut Findings, key: &str) -> Option<Vec<&'a str>> {
        let value = self.value(key)?;
        let texts = value.as_array().and_then(|array| {
            array.iter().map(|item| item.get_ref().as_str()).collect::<Option<Vec<_>>>()
        });
        if texts.is_none() {
            let advice = "write a list of texts such as [\"a\", \"b\"]";
            self.note(found, key, "is not a list of texts", advice);
        }
        texts
    }

    pub(crate) fn texts(&self, found: &mut Findings, key: &str) -> Option<Vec<&'a str>> {
        let value = self.opt_texts(found, key);
        self.required(found, key, value)
    }

    /// An amount as text, integer or decimal; its digits are taken as written.
    pub(crate) fn opt_money(
        &self,
        found: &mut Findings,
        key: &str,
        currency: Currency,
    ) -> Option<Money> {
        let value = self.value(key)?;
        match Money::parse(&raw(value), currency) {
            Ok(money) => Some(money),
            Err(why) => {
                self.note(found, key, format!("{why}"), "write an amount such as \"2.40\"");
                None
            }
        }
    }

    pub(crate) fn money(
        &self,
        found: &mut Findings,
        key: &str,
        currency: Currency,
    ) -> Option<Money> {
        let value = self.opt_money(found, key, currency);
        self.required(found, key, value)
    }

    /// A date, quoted or as TOML writes one; its characters are taken as written.
    pub(crate) fn date_text(&self, found: &mut Findings, key: &str) -> Option<String> {
        let text = self.value(key).and_then(|value| {
            let date = value.as_datetime().map(|date| format!("{date}"));
            date.or_else(|| value.as_str().map(ToOwned::to_owned))
        });
        if text.is_none() && self.has(key) {
            self.note(found, key, "is no date", "write YYYY-MM-DD");
        }
        self.required(found, key, text)
    }

    /// A text or a number; its digits are taken as written.
    pub(crate) fn scalar(&self, found: &mut Findings, key: &str) -> Option<String> {
        let text = self.value(key).map(raw);
        self.required(found, key, text)
    }

    /// A decimal number of degrees, in millionths; more than six decimals are cut off.
    pub(crate) fn degrees(&self, found: &mut Findings, key: &str, most: i32) -> Option<i32> {
        let degrees = self
            .value(key)
            .and_then(|value| micro(&raw(value)).filter(|micro| micro.abs() <= most * 1_000_000));
        if degrees.is_none() && self.has(key) {
            let advice = format!("write decimal degrees from -{most} to {most}");
            self.note(found, key, "is no position", advice);
        }
        self.required(found, key, degrees)
    }

    /// A table inside this one.
    pub(crate) fn sub(
        &self,
        found: &mut Findings,
        key: &str,
        name: &'static str,
    ) -> Option<Section<'a>> {
        let table = self.value(key)?.as_table();
        if table.is_none() {
            self.note(found, key, "is not a table", format!("write [{name}] and its keys below"));
        }
        let line = self.key_line(key);
        Some(Section { source: self.source, name, index: 0, line, table: table? })
    }

    /// A list of tables inside this one.
    pub(crate) fn list(&self, found: &mut Findings, name: &'static str) -> Vec<Section<'a>> {
        let Some(value) = self.value(name) else { return Vec::new() };
        let Some(array) = value.as_array() else {
            let advice = format!("write [[{name}]] and the keys of one entry below");
            self.note(found, name, "is not a list of tables", advice);
            return Vec::new();
        };
        let mut sections = Vec::with_capacity(array.len());
        for (index, item) in array.iter().enumerate() {
            let line = self.source.line_of(item.span().start);
            let Some(table) = item.get_ref().as_table() else {
                let advice = "write { id = …, … }";
                self.push(
                    found,
                    line,
                    name,
                    format!("entry {} is no table", index + 1),
                    advice.into(),
                );
                continue;
            };
            sections.push(Section { source: self.source, name, index, line, table });
        }
        sections
    }

    fn key_line(&self, key: &str) -> u32 {
        let at = self.table.keys().find(|k| &**k.get_ref() == key);
        at.map_or(self.line, |k| self.source.line_of(k.span().start))
    }

    /// The keys of this table.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.table.keys().map(|key| &**key.get_ref())
    }

    /// Whether a key holds a list.
    pub(crate) fn is_list(&self, key: &str) -> bool {
        self.value(key).is_some_and(|value| value.as_array().is_some())
    }

    /// A whole number that may be negative.
    pub(crate) fn signed(&self, found: &mut Findings, key: &str) -> Option<i64> {
        let number = self.value(key).and_then(integer);
        if number.is_none() && self.has(key) {
            self.note(found, key, "is no whole number", "write a whole number");
        }
        self.required(found, key, number)
    }

    /// A list of pairs of whole numbers.
    pub(crate) fn pairs(&self, found: &mut Findings, key: &str) -> Option<Vec<(i64, i64)>> {
        let pair = |value: &DeValue<'_>| {
            let mut items = value.as_array()?.iter().map(|item| integer(item.get_ref()));
            let pair = (items.next()??, items.next()??);
            items.next().is_none().then_some(pair)
        };
        let list = self.value(key).and_then(|value| value.as_array());
        let pairs: Option<Vec<_>> =
            list.and_then(|list| list.iter().map(|item| pair(item.get_ref())).collect());
        if pairs.is_none() && self.has(key) {
            self.note(found, key, "is no list of pairs", "write [[1, 2], [3, 4]]");
        }
        self.required(found, key, pairs)
    }

    /// `true` or `false`.
    pub(crate) fn flag(&self, found: &mut Findings, key: &str, missing: bool) -> Option<bool> {
        let Some(value) = self.value(key) else { return Some(missing) };
        let flag = value.as_bool();
        if flag.is_none() {
            self.note(found, key, "is neither true nor false", "write true or false");
        }
        flag
    }

    /// The text of a key when it is text; nothing is noted.
    pub(crate) fn peek_text(&self, key: &str) -> Option<&'a str> {
        self.value(key)?.as_str()
    }
}

fn integer(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer().filter(|number| number.radix() == 10)?;
    number.as_str().parse().ok()
}

/// A scalar as it was written.
fn raw(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => text.clone().into_owned(),
        DeValue::Integer(n) => n.as_str().to_owned(),
        DeValue::Float(n) => n.as_str().to_owned(),
        DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
            article(value.type_str())
        }
    }
}

fn article(kind: &str) -> String {
    match kind.as_bytes().first() {
        Some(b'a' | b'i') => format!("an {kind}"),
        Some(_) | None => format!("a {kind}"),
    }
}

/// Decimal text in millionths, without floats: `"17.4965452"` is 17 496 545.
pub fn micro(text: &str) -> Option<i32> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let ascii = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || whole.len() > 3 || !ascii(whole) || !ascii(fraction) {
        return None;
    }
    let padded = fraction.bytes().chain(core::iter::repeat(b'0')).take(6);
    let micro = whole.bytes().chain(padded).fold(0_i32, |n, b| n * 10 + i32::from(b - b'0'));
    Some(if negative { -micro } else { micro })
}
