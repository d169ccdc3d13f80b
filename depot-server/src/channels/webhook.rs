//! What a payment provider tells: signed events, each taken once (ADR-0021).
//!
//! Invariants: nothing of a body is looked at before its signature holds; an event that comes again
//! gets the answer that it got, and one that says something else under its number is refused; a
//! payment is one order whatever the provider repeats; what is answered with success is durable.

use clearing::{AutoStop, CreditId, OrderRefused};
use hmac::{Hmac, KeyInit, Mac};
use model::{CardId, ChannelId, Currency, Money, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{ChannelError, auto, bills, payment, statement::reference, tell};
use crate::{
    config::{parse_hex, to_hex},
    credit::{self, CreditError, bill_of},
    intake::{Workplace, stored::OrderEvent},
    orders::{OrderError, OrderRules, Payment, give_back, pay},
    store::StoreError,
};

/// Characters of an event's id.
const ID_MAX: usize = 100;

/// Secrets that a channel signs with: the one in use, and while it changes the next or the last.
#[derive(Clone)]
pub struct Secrets(Vec<Zeroizing<Vec<u8>>>);

impl Secrets {
    /// Shortest secret, bytes.
    pub const BYTES_MIN: usize = 16;

    /// One a line; `None` when there is none, or one that is too short.
    pub fn parse(file: &[u8]) -> Option<Self> {
        let lines = file.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let secrets: Vec<_> = lines
            .filter(|line| !line.is_empty())
            .map(|line| Zeroizing::new(line.to_vec()))
            .collect();
        let long = secrets.iter().all(|secret| secret.len() >= Self::BYTES_MIN);
        (long && !secrets.is_empty()).then_some(Self(secrets))
    }

    /// The header of a body that is signed with the first secret at `at_s`.
    pub fn sign(&self, at_s: u64, body: &[u8]) -> String {
        let sum = self.0.first().map(|secret| mac(secret, at_s, body).finalize().into_bytes());
        format!("t={at_s},v1={}", to_hex(&sum.unwrap_or_default()))
    }

    /// Whether the header signs the body with one of the secrets, not longer ago than `tolerance_s`
    /// and not further ahead.
    pub fn verify(
        &self,
        header: &str,
        body: &[u8],
        now: Timestamp,
        tolerance_s: u32,
    ) -> Result<(), HookError> {
        let parts = || header.split(',').filter_map(|part| part.trim().split_once('='));
        let value = |name: &'static str| {
            parts().filter(move |(key, _)| *key == name).map(|(_, value)| value)
        };
        let at_s = value("t").next().and_then(|at| at.parse::<u64>().ok());
        let at_s = at_s.ok_or(HookError::Unsigned)?;
        let holds = |sum: [u8; 32]| {
            // The comparison takes the same time wherever the first difference is.
            let by =
                |secret: &Zeroizing<Vec<u8>>| mac(secret, at_s, body).verify_slice(&sum).is_ok();
            self.0.iter().map(by).fold(false, |any, one| any | one)
        };
        if !value("v1").filter_map(parse_hex::<32>).any(holds) {
            return Err(HookError::Forged);
        }
        // Asked after the signature, so that whoever has no secret learns nothing of the clock.
        if now.secs().abs_diff(at_s) > u64::from(tolerance_s) {
            return Err(HookError::Stale { tolerance_s });
        }
        Ok(())
    }
}

fn mac(secret: &[u8], at_s: u64, body: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(at_s.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    mac
}

/// Why an event is not taken.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// No signature.
    #[error("the header Tapline-Signature: t=SECONDS,v1=HEX is missing or does not read")]
    Unsigned,
    /// Signed by nobody who may.
    #[error("the signature does not hold for this body")]
    Forged,
    /// Signed too long ago, or in the future.
    #[error(
        "the signature's time is more than {tolerance_s} seconds off: sign each attempt anew, and \
         set the clock"
    )]
    Stale {
        /// What is allowed.
        tolerance_s: u32,
    },
    /// Not an event.
    #[error("the body is no event: {0}")]
    Malformed(String),
    /// The number was used.
    #[error("the event {0:?} came before with another content")]
    OtherEvent(String),
    /// The payment cannot be ordered.
    #[error(transparent)]
    Order(OrderError),
    /// What it says of a bill cannot be.
    #[error(transparent)]
    Bill(CreditError),
    /// The books failed.
    #[error("the books do not answer: try again")]
    Books(#[source] Box<ChannelError>),
}

impl HookError {
    /// HTTP status and a stable word.
    pub const fn status(&self) -> (u16, &'static str) {
        match self {
            Self::Unsigned => (401, "unsigned"),
            Self::Forged => (401, "forged"),
            Self::Stale { .. } => (401, "stale"),
            Self::Malformed(_) => (400, "malformed"),
            Self::OtherEvent(_) => (409, "other-event"),
            Self::Bill(error) => match error {
                CreditError::OtherContent { .. } => (409, "other-content"),
                CreditError::Store(_) | CreditError::Booking(_) => (503, "try-again"),
                CreditError::Unknown(_)
                | CreditError::Terms(_)
                | CreditError::Holder
                | CreditError::Card(_)
                | CreditError::Currency { .. }
                | CreditError::Linked(..)
                | CreditError::NotLinked(..)
                | CreditError::Issuer(..)
                | CreditError::NotSure(_)
                | CreditError::AutoTopUp(_)
                | CreditError::PastDue(_)
                | CreditError::Nothing
                | CreditError::Reference
                | CreditError::NoBill(..) => (422, "unprocessable"),
            },
            Self::Order(error) => match error {
                OrderError::OtherContent { .. } => (409, "other-content"),
                OrderError::UnknownCard(_) => (422, "unknown-card"),
                OrderError::Retired(_) => (422, "retired"),
                OrderError::Lost(_) | OrderError::Forked(_) => (422, "hotlisted"),
                OrderError::Amount | OrderError::AmountForCard { .. } | OrderError::Instruction => {
                    (422, "amount")
                }
                OrderError::Currency { .. } | OrderError::NoProducts(_) => (422, "currency"),
                OrderError::OfAccount(..) | OrderError::Unknown(_) | OrderError::Refused(..) => {
                    (422, "unprocessable")
                }
                OrderError::Store(_) | OrderError::Intake(_) | OrderError::Channel(_) => {
                    (503, "try-again")
                }
            },
            Self::Books(_) => (503, "try-again"),
        }
    }
}

impl From<ChannelError> for HookError {
    fn from(error: ChannelError) -> Self {
        Self::Books(Box::new(error))
    }
}

impl From<StoreError> for HookError {
    fn from(error: StoreError) -> Self {
        ChannelError::from(error).into()
    }
}

/// What the provider is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// `ordered`, `given-back`, `giving-back`, `on-card`, `noted` or `ignored`; of a credit
    /// account's bill `paid`, `past-due` or `taken-back`.
    pub result: String,
    /// Which order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<u64>,
}

impl Answer {
    fn new(result: &str, order: Option<u64>) -> Self {
        Self { result: result.to_owned(), order }
    }
}

/// An event as providers send it; what else is in it is passed over.
#[derive(Deserialize)]
struct Event {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    payment: Option<Fields>,
}

#[derive(Deserialize)]
struct Fields {
    reference: String,
    card: Option<String>,
    amount: Option<String>,
    currency: Option<String>,
    paid_at: Option<String>,
}

/// Takes an event whose signature holds.
pub fn take(
    place: &Workplace,
    rules: OrderRules,
    channel: ChannelId,
    body: &[u8],
) -> Result<Answer, HookError> {
    let malformed = |problem: String| HookError::Malformed(problem);
    let event: Event =
        serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?;
    if event.id.is_empty() || event.id.len() > ID_MAX {
        return Err(malformed(format!("id: use 1 to {ID_MAX} characters")));
    }
    let sha256 = to_hex(&Sha256::digest(body));
    if let Some((known, answer)) = place.store.provider_event(channel, &event.id)? {
        return if known == sha256 { Ok(answer) } else { Err(HookError::OtherEvent(event.id)) };
    }
    let fields = || event.payment.as_ref().ok_or_else(|| malformed("payment is missing".into()));
    let named = |fields: &Fields| {
        reference(&fields.reference).map_err(|problem| malformed(format!("payment: {problem}")))
    };
    let bill = event.payment.as_ref().and_then(|fields| bill_of(&fields.reference));
    let answer = match (event.kind.as_str(), bill) {
        (kind, Some(bill)) => told_of_bill(place, channel, kind, bill, fields()?)?,
        ("payment.succeeded", None) => {
            succeeded(place, rules, channel, fields()?, named(fields()?)?)?
        }
        ("payment.refunded", None) => refunded(place, rules, channel, &named(fields()?)?)?,
        ("payment.failed", None) => failed(place, rules, channel, &named(fields()?)?)?,
        _ => Answer::new("ignored", None),
    };
    place.store.keep_provider_event(channel, &event.id, &sha256, &answer, place.clock.now())?;
    Ok(answer)
}

/// A credit account's bill was paid, could not be collected, or its payment was taken back.
fn told_of_bill(
    place: &Workplace,
    channel: ChannelId,
    kind: &str,
    (id, number): (CreditId, u32),
    fields: &Fields,
) -> Result<Answer, HookError> {
    let reference = reference(&fields.reference)
        .map_err(|problem| HookError::Malformed(format!("payment: {problem}")))?;
    let answer = |result| Answer::new(result, None);
    Ok(match kind {
        "payment.succeeded" => {
            let amount = amount_of(fields)?;
            let paid_at = paid_at_of(place, fields)?;
            if bills::account_of(place, &reference, amount)? != Some(id) {
                return Err(HookError::Bill(CreditError::NoBill(id, number)));
            }
            bills::succeeded(place, (id, channel), &reference, amount.minor(), paid_at)
                .map_err(HookError::Bill)?;
            answer("paid")
        }
        "payment.failed" => {
            credit::failed(place, id, number, "told by the channel").map_err(HookError::Bill)?;
            answer("past-due")
        }
        "payment.refunded" => {
            let told = bills::refunded(place, id, channel, &reference).map_err(HookError::Bill)?;
            answer(if told { "taken-back" } else { "ignored" })
        }
        _ => answer("ignored"),
    })
}

fn amount_of(fields: &Fields) -> Result<Money, HookError> {
    let missing = |name: &str| HookError::Malformed(format!("payment.{name} is missing"));
    let malformed =
        |name: &str, problem: String| HookError::Malformed(format!("payment.{name}: {problem}"));
    let letters = fields.currency.as_deref().ok_or_else(|| missing("currency"))?;
    let currency =
        Currency::parse(letters).map_err(|error| malformed("currency", error.to_string()))?;
    let amount = fields.amount.as_deref().ok_or_else(|| missing("amount"))?;
    Money::parse(amount, currency).map_err(|error| malformed("amount", error.to_string()))
}

fn paid_at_of(place: &Workplace, fields: &Fields) -> Result<Timestamp, HookError> {
    let malformed = || HookError::Malformed("payment.paid_at: use RFC 3339".to_owned());
    match fields.paid_at.as_deref() {
        None => Ok(place.clock.now()),
        Some(text) => time(text).ok_or_else(malformed),
    }
}

fn succeeded(
    place: &Workplace,
    rules: OrderRules,
    channel: ChannelId,
    fields: &Fields,
    reference: String,
) -> Result<Answer, HookError> {
    let missing = |name: &str| HookError::Malformed(format!("payment.{name} is missing"));
    let malformed =
        |name: &str, problem: String| HookError::Malformed(format!("payment.{name}: {problem}"));
    let card: CardId = (fields.card.as_deref().ok_or_else(|| missing("card"))?)
        .parse()
        .map_err(|error: model::IdError| malformed("card", error.to_string()))?;
    let (amount, paid_at) = (amount_of(fields)?, paid_at_of(place, fields)?);
    let currency = amount.currency();
    let amount = u32::try_from(amount.minor()).unwrap_or(0);
    let purse = (currency != place.rules.currency()).then_some(currency);
    let told = Payment { channel, reference, card, amount, purse, product: None, paid_at };
    let order = pay(place, &told).map_err(HookError::Order)?;
    let (stated, _) = payment(place, channel, &told.reference)?;
    if stated.refund {
        // The refund overtook the payment.
        return refunded(place, rules, channel, &told.reference);
    }
    Ok(Answer::new("ordered", Some(order.id.0)))
}

/// The payment was taken back: its order is given back as soon as no reader can have it.
fn refunded(
    place: &Workplace,
    rules: OrderRules,
    channel: ChannelId,
    reference: &str,
) -> Result<Answer, HookError> {
    let (stated, _) = payment(place, channel, reference)?;
    if !stated.refund {
        let reference = reference.to_owned();
        tell(place, &[OrderEvent::RefundAsked { channel: channel.0, reference }])?;
    }
    let Some(order) = stated.order else { return Ok(Answer::new("noted", None)) };
    let result = match give_back(place, rules, order) {
        Ok(()) | Err(OrderError::Refused(_, OrderRefused::GivenBack)) => "given-back",
        Err(OrderError::Refused(_, OrderRefused::OnCard)) => "on-card",
        Err(OrderError::Refused(..)) => "giving-back",
        Err(error) => return Err(HookError::Order(error)),
    };
    Ok(Answer::new(result, Some(order.0)))
}

/// The money could not be collected: as a refund, and the instruction that ordered it stops.
fn failed(
    place: &Workplace,
    rules: OrderRules,
    channel: ChannelId,
    reference: &str,
) -> Result<Answer, HookError> {
    let (_, order) = payment(place, channel, reference)?;
    if let Some(order) = order.filter(|_| reference.starts_with(auto::PREFIX)) {
        auto::stop(place, order.card, AutoStop::Failed)?;
    }
    refunded(place, rules, channel, reference)
}

fn time(text: &str) -> Option<Timestamp> {
    let at: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(at.as_millisecond()).ok().map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_body_its_time_and_its_secret_only() {
        let old = b"0123456789abcdef\n";
        let both = Secrets::parse(b"fedcba9876543210\n0123456789abcdef\n").unwrap();
        let (signer, now) = (Secrets::parse(old).unwrap(), Timestamp::from_secs(1_000));
        let header = signer.sign(1_000, b"body");
        let at = |secrets: &Secrets, header: &str, body: &[u8], now_s| {
            secrets.verify(header, body, Timestamp::from_secs(now_s), 300)
        };
        assert!(at(&signer, &header, b"body", 1_300).is_ok());
        assert!(at(&both, &header, b"body", 700).is_ok(), "while the secret changes, both hold");
        let forged = |result| matches!(result, Err(HookError::Forged));
        assert!(forged(at(&signer, &header, b"bodY", 1_000)));
        assert!(forged(at(&signer, &header.replace("t=1000", "t=1001"), b"body", 1_000)));
        let other = Secrets::parse(b"another secret of some length").unwrap();
        assert!(forged(other.verify(&header, b"body", now, 300)));
        assert!(forged(signer.verify("t=1000,v1=00", b"body", now, 300)));
        assert!(forged(signer.verify("t=1000", b"body", now, 300)));
        for unsigned in ["", "v1=00", "t=,v1=00", "rubbish"] {
            let result = signer.verify(unsigned, b"body", now, 300);
            assert!(matches!(result, Err(HookError::Unsigned)), "{unsigned}");
        }
        for off in [699, 1_301] {
            assert!(matches!(at(&signer, &header, b"body", off), Err(HookError::Stale { .. })));
        }
        // Several signatures of one body, as while a provider changes its secret.
        let two = format!("{header},v1={}", "0".repeat(64));
        assert!(at(&signer, &two, b"body", 1_000).is_ok());
    }

    #[test]
    fn a_signature_is_what_other_programs_compute() {
        // printf '1700000000.{"id":"e"}' | openssl dgst -sha256 -hmac 0123456789abcdef
        let secrets = Secrets::parse(b"0123456789abcdef").unwrap();
        let header = secrets.sign(1_700_000_000, br#"{"id":"e"}"#);
        assert_eq!(
            header,
            "t=1700000000,v1=1c4d69a9c5ea46a76313cc6d82d4b03ba60cab2466ff926335c4ac4f06493396"
        );
    }

    #[test]
    fn a_short_secret_or_none_is_no_secret() {
        for file in [&b""[..], b"\n\n", b"short", b"0123456789abcdef\nshort\n"] {
            assert!(Secrets::parse(file).is_none());
        }
    }
}
