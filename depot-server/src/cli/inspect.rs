//! `depot-server card inspect`: what is on a card, beside what the books say of it.

use std::{process::ExitCode, time::Duration};

use card::{CardReport, Contents};
use model::{CardId, CardRecord, Counter, Currency, IssuerId, Money, RecordKind};
use serde_json::{Value, json};

use super::{
    card::{Desk, Exit, number, runtime, station},
    say, warn,
};
use crate::desk::{Hand, Station};

/// Prints what is on the card on the reader.
pub(super) fn inspect(desk: &Desk) -> Exit {
    let station = station(&desk.config.config)?;
    let (card, report) = runtime()?.block_on(async {
        let patience = Duration::from_secs(desk.wait);
        let mut hand = Hand::open(&desk.reader, patience, warn).await?;
        let card = hand.card("hold the card to the reader, and keep it there", None).await?;
        let report = hand.inspect(card, &*station.keys).await?;
        hand.close().await;
        anyhow::Ok((card, report))
    })?;
    let findings = findings(&station, card, &report)?;
    if desk.json {
        say(&report_json(&station, &number(card, desk.number), &report, &findings).to_string());
    } else {
        say(&format!("card {}", number(card, desk.number)));
        for line in report_lines(&station, &report) {
            say(&line);
        }
    }
    for finding in &findings {
        warn(&format!("look at this: {finding}"));
    }
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether the card names another issuer than the books do, or one that nobody named.
fn issuer_finding(station: &Station, card: CardId, by_card: u16) -> anyhow::Result<Option<String>> {
    let issuers = station.store.issuers()?;
    let Some((first, _)) = &issuers.first else { return Ok(None) };
    let by_books = station.issuer_of(card)?;
    let number = by_books.map_or(*first, |issuer| issuer.0);
    Ok((by_card != number).then(|| {
        let named = if by_card == *first { None } else { Some(IssuerId(by_card)) };
        let (named, known) = (issuers.name(named), issuers.name(by_books));
        format!("it names {named} as its issuer, and the books know it as of {known}")
    }))
}

/// What does not fit together on the card, and between card and books.
fn findings(station: &Station, card: CardId, report: &CardReport) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    let books = station.store.shadow(card)?;
    let contents = report.application.as_ref().and_then(|app| app.contents.as_ref());
    match contents {
        None if books.is_some() => {
            found.push("the books know this card, but it is blank: its contents are lost".into());
        }
        None => {}
        Some(Err(failure)) => found.push(format!("our debit key does not open it: {failure}")),
        Some(Ok(contents)) => {
            found.extend(contents.contradictions().iter().map(ToString::to_string));
            let by_card = currency(station, contents);
            let by_books = station.currency(station.purse_of(card)?);
            if books.is_some() && by_card != by_books {
                found.push(format!("its purse is in {by_card}, and in the books in {by_books}"));
            }
            if let Some(profile) = &contents.profile {
                found.extend(issuer_finding(station, card, profile.issuer)?);
            }
            match (&books, contents.newest()) {
                (None, Some(_)) => found.push("the books do not know this card".into()),
                (Some(books), Some(newest)) if books.ctr > newest.ctr => {
                    found.push("the books know a newer transaction than the card".into());
                }
                (Some(books), Some(newest)) if books.ctr == newest.ctr && books != newest => {
                    found.push("the newest transaction is another one in the books".into());
                }
                (Some(_) | None, _) => {}
            }
        }
    }
    for op in station.store.open_ops(card)? {
        found.push(format!("operation {} on it is in doubt", op.entry.op));
    }
    Ok(found)
}

fn report_lines(station: &Station, report: &CardReport) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(free) = report.free {
        lines.push(format!("free memory     {free} bytes"));
    }
    let Some(app) = &report.application else {
        let others = report.applications.as_ref().map_or(0, Vec::len);
        lines.push(format!("blank: no application of ours; {others} of others"));
        return lines;
    };
    lines.push(format!("key versions    {:?} (issuer, debit, load)", app.key_versions));
    let Some(Ok(contents)) = &app.contents else {
        lines.push("an application stands under our number that our keys do not open".into());
        return lines;
    };
    if let Some(profile) = &contents.profile {
        let letters = profile.currency.escape_ascii();
        lines.push(format!("issuer          {}", profile.issuer));
        lines.push(format!("rider category  {}", profile.class.0));
        lines.push(format!("currency        {letters}"));
        lines.push(format!("valid until     {}", profile.valid_until));
    }
    let value = Money::new(i64::from(contents.value), currency(station, contents));
    lines.push(format!("stored value    {value}"));
    lines.push(format!("transactions    {}", contents.ctr.0));
    lines.push(format!("counters        {}", counters(station, contents)));
    for record in contents.records.iter().rev() {
        lines.push(match record {
            Ok(record) => record_line(currency(station, contents), record),
            Err(error) => format!("  unreadable: {error}"),
        });
    }
    lines
}

/// The currency of the card's value and records. A purse whose profile names none, which is a
/// finding of its own, is shown in the tariff's.
fn currency(station: &Station, contents: &Contents) -> Currency {
    contents.purse(station.currency(None)).unwrap_or(station.currency(None))
}

/// What it has counted towards fare caps, in the tariff's currency. A cap has a name in its tariff
/// only.
fn counters(station: &Station, contents: &Contents) -> String {
    let counters = match &contents.counters {
        None => return "none on this card".to_owned(),
        Some(Err(error)) => return format!("unreadable: {error}"),
        Some(Ok(counters)) => counters,
    };
    let said: Vec<_> = counters
        .0
        .iter()
        .flatten()
        .map(|counter| {
            let counted = station.money(i64::from(counter.counted));
            let Counter { cap, level, .. } = counter;
            format!("cap {cap} level {level}: {counted} since {}", counter.start())
        })
        .collect();
    if said.is_empty() { "nothing counted".to_owned() } else { said.join("; ") }
}

fn record_line(currency: Currency, record: &CardRecord) -> String {
    let at = jiff::Timestamp::from_second(i64::from(record.at_s)).unwrap_or_default();
    format!(
        "  {:>6}  {}  {:<9}  {:>9}  leaves {}",
        record.ctr.0,
        at.strftime("%Y-%m-%d %H:%M:%S UTC"),
        record_word(record.kind),
        Money::new(record.delta(), currency).decimal(),
        Money::new(i64::from(record.balance), currency).decimal()
    )
}

pub(super) const fn record_word(kind: RecordKind) -> &'static str {
    match kind {
        RecordKind::Issue => "issue",
        RecordKind::Board => "board",
        RecordKind::Entry => "entry",
        RecordKind::Exit => "exit",
        RecordKind::Load | RecordKind::LoadInJourney => "load",
        RecordKind::Retire => "retire",
    }
}

fn report_json(station: &Station, card: &str, report: &CardReport, findings: &[String]) -> Value {
    let contents = report.application.as_ref().and_then(|app| app.contents.as_ref());
    let contents: Option<&Contents> = contents.and_then(|contents| contents.as_ref().ok());
    let money = |contents: &Contents, minor| Money::new(minor, currency(station, contents));
    let record = |contents: &Contents, record: &CardRecord| {
        json!({
            "ctr": record.ctr.0,
            "what": record_word(record.kind),
            "at_s": record.at_s,
            "amount": money(contents, record.delta()).decimal(),
            "balance": money(contents, i64::from(record.balance)).decimal(),
        })
    };
    let records =
        |c: &Contents| c.records.iter().flatten().map(|r| record(c, r)).collect::<Vec<_>>();
    json!({
        "card": card,
        "free_memory": report.free,
        "blank": report.application.is_none(),
        "key_versions": report.application.as_ref().map(|app| &app.key_versions),
        "value": contents.map(|c| money(c, i64::from(c.value)).decimal()),
        "currency": contents.map(|c| currency(station, c).letters()),
        "ctr": contents.map(|c| c.ctr.0),
        "counters": contents.map(|c| counters(station, c)),
        "records": contents.map(records),
        "findings": findings,
    })
}
