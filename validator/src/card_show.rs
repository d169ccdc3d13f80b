//! `validator card show`: what the rider's own card says, at any validator's reader.
//!
//! Read with the validator's debit key; nothing on the card changes. Whoever holds the card may see
//! it (PRV-4): possession is the proof, so nothing is looked up and nothing is kept.

use std::{fmt::Write as _, time::Duration};

use anyhow::{Context, bail};
use card::{CardKeys, CardOutput, CardReport, Contents, InspectTransaction, Settlement};
use model::{CardId, CardRecord, Currency, Money, RecordKind};
use reader::{CardTransport, Presence, Reader};
use tokio::time::timeout;

/// Waits for one card and reads it.
pub async fn read(
    reader: &mut Reader,
    keys: &dyn CardKeys,
    patience: Duration,
) -> anyhow::Result<(CardId, CardReport)> {
    let waited = timeout(patience, reader.wait_card()).await;
    let presence = waited.with_context(|| {
        format!("no card within {} seconds: hold it to the reader", patience.as_secs())
    })?;
    let card = match presence? {
        Presence::Card(card) => card,
        Presence::Foreign => bail!("this is no card of ours: no DESFire with a fixed number"),
        Presence::Several => bail!("two or more cards are on the reader: leave one"),
    };
    let mut machine = InspectTransaction::new(card, keys.debit_key(&card)?, random()?);
    loop {
        match machine.poll() {
            Some(CardOutput::Transmit(apdu)) => {
                let response = reader.exchange(&apdu).await;
                machine.handle_response(response.as_deref().map_err(Clone::clone));
            }
            Some(CardOutput::NeedKey { role, version }) => {
                machine.handle_key(keys.card_key(role, version, &card).ok(), random()?);
            }
            Some(CardOutput::Settled(Settlement::Refused(failure))) => {
                return Err(failure).context("hold the card still, and run the command again");
            }
            Some(CardOutput::Settled(_) | CardOutput::Found(_) | CardOutput::ReadyToCommit)
            | None => return Ok((card, machine.into_report())),
        }
    }
}

/// The statement that a rider gets. The card number ends it only when asked for.
pub fn statement(card: CardId, report: &CardReport, whole: bool) -> anyhow::Result<String> {
    let Some(application) = &report.application else { bail!("the card is blank") };
    let contents = match &application.contents {
        Some(Ok(contents)) => contents,
        Some(Err(failure)) => bail!("this is no card of ours: {failure}"),
        None => bail!("the card could not be read"),
    };
    let Some(newest) = contents.newest() else {
        bail!("the card was never issued to the end: take it to a desk")
    };
    // Of a card of layout 1 or 2 the issuer wrote the tariff's there, and no tariff is needed here.
    let currency =
        contents.currency().context("the card does not say its currency: take it to a desk")?;
    Ok(text(card, contents, newest, currency, whole))
}

fn text(
    card: CardId,
    contents: &Contents,
    newest: &CardRecord,
    currency: Currency,
    whole: bool,
) -> String {
    let number = if whole { card.to_hex() } else { card.to_string() };
    let mut out = format!("card         {number}\n");
    let money = |minor| Money::new(minor, currency);
    let _ = writeln!(out, "balance      {}", money(i64::from(contents.value)));
    let until = if newest.kind == RecordKind::Retire {
        "retired".to_owned()
    } else {
        newest.valid_until.to_string()
    };
    let _ = writeln!(out, "valid until  {until}");
    if newest.kind.is_in_journey() {
        let _ = writeln!(out, "journey      open: tap out");
    }
    for record in contents.records.iter().rev().flatten() {
        let _ = writeln!(
            out,
            "{}  {:<8}  {:>8}  {:>8}",
            record.at().utc(),
            word(record.kind),
            money(record.delta()).decimal(),
            money(i64::from(record.balance)).decimal()
        );
    }
    for contradiction in contents.contradictions() {
        let _ = writeln!(out, "take the card to a desk: {contradiction}");
    }
    out
}

const fn word(kind: RecordKind) -> &'static str {
    match kind {
        RecordKind::Issue => "issued",
        RecordKind::Board => "ride",
        RecordKind::Entry => "tap in",
        RecordKind::Exit => "tap out",
        RecordKind::Load | RecordKind::LoadInJourney => "top-up",
        RecordKind::Retire => "retired",
    }
}

fn random() -> anyhow::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).context("the operating system gives no random bytes")?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use card::{Key, KeySet, Opening, VirtualCard};
    use model::CardLayout;

    use super::*;

    const UID: CardId = CardId([4, 1, 2, 3, 4, 0xbe, 0xef]);

    async fn shown(card: VirtualCard, keys: &KeySet) -> anyhow::Result<String> {
        let (mut reader, field) = Reader::virtual_cards();
        field.place(card);
        let (card, report) = read(&mut reader, keys, Duration::from_secs(5)).await?;
        statement(card, &report, false)
    }

    #[tokio::test]
    async fn a_rider_sees_balance_taps_and_validity_and_no_whole_number() {
        let keys = KeySet::from_root(&Key([7; 16]));
        let opening = Opening { balance: 1_250, at_s: 1_795_000_000, ..Opening::default() };
        let card = VirtualCard::issue(UID, [1; 16], &keys, &opening).unwrap().0;
        let text = shown(card, &keys.for_validator()).await.unwrap();
        for words in ["…beef", "12.50 EUR", "no end", "2026-11-18 11:06 UTC  issued"] {
            assert!(text.contains(words), "{text}\nlacks {words}");
        }
        assert!(!text.contains("04010203"), "{text}");
    }

    #[tokio::test]
    async fn a_purse_in_another_currency_is_shown_in_it_with_the_decimals_that_it_has() {
        let keys = KeySet::from_root(&Key([7; 16]));
        for (letters, balance, until) in [
            (*b"CHF", "12.50 CHF", "12.50"),
            (*b"KRW", "1250 KRW", "1250"),
            (*b"KWD", "1.250 KWD", "1.250"),
        ] {
            let opening = Opening {
                balance: 1_250,
                currency: letters,
                layout: CardLayout::OtherCurrency,
                at_s: 1_795_000_000,
                ..Opening::default()
            };
            let card = VirtualCard::issue(UID, [1; 16], &keys, &opening).unwrap().0;
            let text = shown(card, &keys.for_validator()).await.unwrap();
            let issued = text.lines().last().unwrap();
            assert!(text.contains(balance) && issued.ends_with(until), "{text}");
            assert!(!text.contains("take the card to a desk"), "{text}");
        }
    }

    #[tokio::test]
    async fn cards_that_are_not_ours_are_named() {
        let keys = KeySet::from_root(&Key([7; 16]));
        let others = KeySet::from_root(&Key([9; 16]));
        let blank = shown(VirtualCard::blank(UID, [1; 16]), &keys).await.unwrap_err();
        assert_eq!(blank.to_string(), "the card is blank");
        let card = VirtualCard::issue(UID, [1; 16], &others, &Opening::default()).unwrap().0;
        let foreign = shown(card, &keys).await.unwrap_err().to_string();
        assert!(foreign.starts_with("this is no card of ours"), "{foreign}");
    }
}
