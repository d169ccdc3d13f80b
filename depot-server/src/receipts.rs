//! Riders' receipts: the text of one tap, its path in the day's tree, and the depot's signature.

use clearing::TapRef;
use ed25519_dalek::{Signature, Signer as _, VerifyingKey};
use fleet_sync::SigningKey;
use settlement::{Receipt, ReceiptError, TapFacts};

use crate::{
    config::{parse_hex, to_hex},
    days::{CloseError, SignedDay, tree},
    intake::Workplace,
    store::StoreError,
};

const SIGNATURE: &str = "signature: ";

/// Why there is no receipt.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptRefused {
    /// No such entry.
    #[error("the books hold no tap {0}")]
    NoTap(String),
    /// It let nobody ride for certain.
    #[error("tap {0} was refused, is in doubt or was not believed: there is nothing to receipt")]
    Nothing(String),
    /// Its day is open.
    #[error(transparent)]
    Day(#[from] CloseError),
    /// The books.
    #[error("the books could not be read")]
    Store(#[from] StoreError),
}

/// Why a receipt is not believed.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptUnproven {
    /// Not a receipt.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// Not the document of a day.
    #[error("the day: {0}")]
    Day(#[from] crate::days::SignedDayError),
    /// Signed by somebody else.
    #[error("the day is signed by another key than the depot's")]
    OtherKey,
    /// The receipt's own signature.
    #[error("the receipt's signature does not hold")]
    Forged,
    /// The receipt is of another day or depot.
    #[error("the receipt is of another {0} than the day")]
    Elsewhere(&'static str),
    /// The path leads to another root.
    #[error("the tap is not among the day's {0} taps")]
    NotAmong(u64),
}

/// The receipt of a tap whose day is closed, signed.
pub fn receipt(
    place: &Workplace,
    signing: &SigningKey,
    tap: TapRef,
) -> Result<String, ReceiptRefused> {
    let name = format!("{}/{}/{}", tap.validator, tap.epoch, tap.seq);
    let day = place.store.tap_day(tap)?.ok_or_else(|| ReceiptRefused::NoTap(name.clone()))?;
    if place.store.closed_day(day)?.is_none() {
        return Err(CloseError::Open(day).into());
    }
    let taps: Vec<TapFacts> = place.store.day_taps(day, place.rules.currency())?;
    let found = taps.iter().position(|facts| facts.tap == tap);
    let index = found.ok_or(ReceiptRefused::Nothing(name))?;
    let (depot, salt) = (place.depot.to_string(), place.store.receipt_salt()?);
    let path = tree(&taps, &depot, day, &salt).path(index).unwrap_or_default();
    let text = taps[index].text(&depot, day, &salt);
    let receipt = Receipt { text, place: (index as u64, taps.len() as u64), path };
    let text = receipt.to_text();
    let signature = to_hex(&signing.sign(text.as_bytes()).to_bytes());
    Ok(format!("{text}{SIGNATURE}{signature}\n"))
}

/// Checks a receipt against a day's signed document and the depot's public key, and nothing else.
pub fn prove(receipt: &str, day: &str, key: &[u8; 32]) -> Result<Receipt, ReceiptUnproven> {
    let signed = SignedDay::parse(day)?;
    if signed.document.head.signer != *key {
        return Err(ReceiptUnproven::OtherKey);
    }
    let at = receipt.rfind(SIGNATURE).ok_or(ReceiptUnproven::Forged)?;
    let (text, signature) = receipt.split_at(at);
    let digits = signature[SIGNATURE.len()..].trim_end();
    let holds = parse_hex::<64>(digits).zip(VerifyingKey::from_bytes(key).ok());
    let holds = holds.is_some_and(|(signature, key)| {
        key.verify_strict(text.as_bytes(), &Signature::from_bytes(&signature)).is_ok()
    });
    if !holds {
        return Err(ReceiptUnproven::Forged);
    }
    let receipt = Receipt::parse(text)?;
    let head = &signed.document.head;
    if receipt.value("depot") != Some(head.depot.as_str()) {
        return Err(ReceiptUnproven::Elsewhere("depot"));
    }
    if receipt.value("day") != Some(head.day.to_string().as_str()) {
        return Err(ReceiptUnproven::Elsewhere("day"));
    }
    let (taps, root) = (signed.document.taps, signed.document.taps_root);
    if receipt.place.1 != taps || receipt.root()? != root {
        return Err(ReceiptUnproven::NotAmong(taps));
    }
    Ok(receipt)
}

#[cfg(test)]
mod tests {
    use model::{Epoch, ServiceDate, TapSeq, ValidatorId};

    use super::*;
    use crate::{
        days::tests::{Rig, signing},
        workload::Cards,
    };

    const FRIDAY: ServiceDate = ServiceDate(20_833);

    fn tap(seq: u64) -> TapRef {
        TapRef { validator: ValidatorId::new(1).unwrap(), epoch: Epoch(1), seq: TapSeq(seq) }
    }

    #[test]
    fn a_rider_proves_a_tap_with_the_receipt_the_days_root_and_the_public_key_alone() {
        let mut rig = Rig::new();
        for card in 0..5 {
            rig.board(0, card, 60 * card);
        }
        rig.deliver(0);
        let early = receipt(&rig.place, &signing(), tap(3)).unwrap_err().to_string();
        assert!(early.contains("is not closed"), "{early}");
        rig.at(2 * 86_400);
        rig.close(FRIDAY).unwrap();
        let text = receipt(&rig.place, &signing(), tap(3)).unwrap();
        let day = rig.place.store.closed_day(FRIDAY).unwrap().unwrap().document;
        let key = signing().verifying_key().to_bytes();
        let proven = prove(&text, &day, &key).unwrap();
        assert_eq!(proven.value("paid"), Some("1.50 EUR"));
        assert!(proven.is_of(Cards::id(2)) && !proven.is_of(Cards::id(1)));
        let number = Cards::id(2).to_hex().to_lowercase();
        assert!(!text.to_lowercase().contains(&number), "PRV-6");
        for (changed, day, key, why) in [
            (text.replace("1.50", "0.50"), day.clone(), key, "signature does not hold"),
            (text.clone(), day.replace("taps: 5", "taps: 4"), key, "signature"),
            (text.clone(), day.clone(), [7; 32], "another key"),
            ("a note".to_owned(), day.clone(), key, "signature does not hold"),
        ] {
            let error = prove(&changed, &day, &key).unwrap_err().to_string();
            assert!(error.contains(why), "{why}: {error}");
        }
        let none = receipt(&rig.place, &signing(), tap(77)).unwrap_err().to_string();
        assert!(none.contains("no tap v000001/1/77"), "{none}");
    }

    #[test]
    fn a_receipt_that_the_depot_signed_for_a_tap_outside_the_day_is_not_among_its_taps() {
        let mut rig = Rig::new();
        rig.board(0, 0, 0);
        rig.board(0, 1, 60);
        rig.deliver(0);
        rig.at(2 * 86_400);
        rig.close(FRIDAY).unwrap();
        let text = receipt(&rig.place, &signing(), tap(1)).unwrap();
        let unsigned = text[..text.rfind(SIGNATURE).unwrap()].replace("entry: ", "entry: 9");
        let forged = unsigned.replace("paid: 1.50", "paid: 0.10");
        let signature = to_hex(&signing().sign(forged.as_bytes()).to_bytes());
        let day = rig.place.store.closed_day(FRIDAY).unwrap().unwrap().document;
        let key = signing().verifying_key().to_bytes();
        let error = prove(&format!("{forged}{SIGNATURE}{signature}\n"), &day, &key).unwrap_err();
        assert!(matches!(error, ReceiptUnproven::NotAmong(2)), "{error}");
    }
}
