//! What people and rules decide about money, as the journal's part for it has it: settled days,
//! payments to operators, holds that nobody waits for any more, corrections (ADR-0023).
//!
//! A row says everything that its booking needs, so that it books the same again. Who writes one
//! has looked first whether it may be.

use clearing::{
    Account, ExceptionId, OperatorPayment, OperatorShare, ProductShare, TapRef, WriteOff,
};
use ledger::AccountId;
use model::{
    CardId, Currency, Epoch, IssuerId, Money, OperatorId, OrderId, ServiceDate, TapSeq, ValidatorId,
};
use serde::{Deserialize, Serialize};

use crate::config::parse_hex;

/// One row. Numbers as the books keep them: currencies by ISO 4217, minor units, days since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case", deny_unknown_fields)]
pub enum OfficeEvent {
    /// One operator's row of a settled day.
    Settled {
        /// Which day.
        day: u32,
        /// Who owes it; the issuer that the books began with without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        issuer: Option<u16>,
        /// Whom; without: nobody knows yet.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        operator: Option<u16>,
        /// Of every amount.
        currency: u16,
        /// Earned.
        gross: i64,
        /// Gained or given by sharing.
        shared: i64,
        /// Kept.
        fee: i64,
    },
    /// An issuer paid an operator.
    OperatorPaid {
        /// Who paid; the issuer that the books began with without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        issuer: Option<u16>,
        /// Whom.
        operator: u16,
        /// Of the amount.
        currency: u16,
        /// How much.
        amount: i64,
        /// The issuer's own number of the payment.
        reference: String,
        /// Who says so.
        by: String,
    },
    /// What was paid for a product on one card is shared between those whose rides it paid.
    ProductShared {
        /// With which closed day.
        day: u32,
        /// The order that brought it.
        order: u64,
        /// Which product.
        product: u16,
        /// Whose card; the issuer that the books began with without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        issuer: Option<u16>,
        /// Of every amount.
        currency: u16,
        /// Operator, amount, fee of that.
        shares: Vec<(u16, i64, i64)>,
        /// What nobody used and stays with the issuer.
        unused: i64,
    },
    /// A tap in doubt has been held for so long that nobody waits any more.
    Expired {
        /// Whose.
        card: [u8; 7],
        /// Which entry: validator, life of its log, number.
        tap: (u32, u32, u64),
        /// After so many days.
        days: u32,
    },
    /// A card's value was not claimed in time after its end.
    Unclaimed {
        /// Whose.
        card: [u8; 7],
        /// Whose it is now; the issuer that the books began with without.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        issuer: Option<u16>,
        /// Of the amount.
        currency: u16,
        /// How much.
        amount: i64,
        /// On which service day.
        day: u32,
        /// After so many days.
        days: u32,
    },
    /// What an item says was charged too much is owed to the card's holder.
    Repaid {
        /// The decision's number.
        number: u64,
        /// Which item.
        item: String,
        /// Whose.
        card: [u8; 7],
        /// With which service day it is owed.
        day: u32,
        /// Of the card's purse.
        amount: i64,
        /// Who.
        who: Who,
    },
    /// An amount in suspense is given up; below zero: one that was given up is taken back.
    WrittenOff {
        /// The decision's number.
        number: u64,
        /// Which item.
        item: String,
        /// The ledger account on which it stands, 16 bytes.
        account: String,
        /// What is taken off it.
        amount: i64,
        /// Under which number it is given up.
        to: u16,
        /// Who.
        who: Who,
    },
    /// Revenue of which nobody could tell whose it is.
    Attributed {
        /// The decision's number.
        number: u64,
        /// The card that paid it.
        card: [u8; 7],
        /// By which record.
        ctr: u32,
        /// Whose it is.
        operator: u16,
        /// Who.
        who: Who,
    },
    /// An item is closed without money.
    Closed {
        /// The decision's number.
        number: u64,
        /// Which item.
        item: String,
        /// Who.
        who: Who,
    },
    /// An item has an owner.
    Assigned {
        /// The decision's number.
        number: u64,
        /// Which item.
        item: String,
        /// Who looks after it.
        owner: String,
        /// Who.
        who: Who,
    },
}

/// Who decided, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Who {
    /// Who.
    pub by: String,
    /// Who agreed: somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreed_by: Option<String>,
    /// Why.
    pub reason: String,
}

impl Who {
    /// The words that a closed item keeps.
    pub fn said(&self, what: &str) -> String {
        let Self { by, agreed_by, reason } = self;
        let agreed =
            agreed_by.as_ref().map_or_else(String::new, |who| format!(", agreed by {who}"));
        format!("{what} by {by}{agreed}: {reason}")
    }
}

impl OfficeEvent {
    /// The row of a settled day.
    pub fn settled(share: &OperatorShare) -> Self {
        Self::Settled {
            day: share.day.0,
            issuer: share.issuer.map(|issuer| issuer.0),
            operator: share.operator.map(|operator| operator.0),
            currency: share.currency.numeric(),
            gross: share.gross,
            shared: share.shared,
            fee: share.fee,
        }
    }

    /// A hold that ends.
    pub fn expired(card: CardId, tap: TapRef, days: u32) -> Self {
        let tap = (tap.validator.number(), tap.epoch.0, tap.seq.0);
        Self::Expired { card: card.0, tap, days }
    }

    /// Value that nobody claimed for so many days, on this one.
    pub fn unclaimed(
        (card, issuer): (CardId, Option<IssuerId>),
        value: Money,
        (day, days): (ServiceDate, u32),
    ) -> Self {
        let issuer = issuer.map(|issuer| issuer.0);
        let (currency, amount) = (value.currency().numeric(), value.minor());
        Self::Unclaimed { card: card.0, issuer, currency, amount, day: day.0, days }
    }

    /// What it says as a row of a settled day; `None` when it is none.
    pub fn share(&self) -> Option<OperatorShare> {
        let Self::Settled { day, issuer, operator, currency, gross, shared, fee } = self else {
            return None;
        };
        Some(OperatorShare {
            day: ServiceDate(*day),
            issuer: issuer.map(IssuerId),
            operator: operator.map(OperatorId),
            currency: Currency::from_numeric(*currency).ok()?,
            gross: *gross,
            shared: *shared,
            fee: *fee,
        })
    }

    /// The row of a product that is shared with a closed day.
    pub fn shared(day: ServiceDate, share: &ProductShare) -> Self {
        let shares = share.shares.iter();
        Self::ProductShared {
            day: day.0,
            order: share.order.0,
            product: share.product,
            issuer: share.issuer.map(|issuer| issuer.0),
            currency: share.currency.numeric(),
            shares: shares.map(|(operator, amount, fee)| (operator.0, *amount, *fee)).collect(),
            unused: share.unused,
        }
    }

    /// What it says as a shared product, and with which day; `None` when it is none.
    pub fn product(&self) -> Option<(ServiceDate, ProductShare)> {
        let Self::ProductShared { day, order, product, issuer, currency, shares, unused } = self
        else {
            return None;
        };
        let shares = shares.iter().map(|(of, amount, fee)| (OperatorId(*of), *amount, *fee));
        let share = ProductShare {
            order: OrderId(*order),
            product: *product,
            issuer: issuer.map(IssuerId),
            currency: Currency::from_numeric(*currency).ok()?,
            shares: shares.collect(),
            unused: *unused,
        };
        Some((ServiceDate(*day), share))
    }

    /// What it says as a payment; `None` when it is none.
    pub fn payment(&self) -> Option<OperatorPayment<'_>> {
        let Self::OperatorPaid { issuer, operator, currency, amount, reference, .. } = self else {
            return None;
        };
        Some(OperatorPayment {
            issuer: issuer.map(IssuerId),
            operator: OperatorId(*operator),
            currency: Currency::from_numeric(*currency).ok()?,
            amount: *amount,
            reference,
        })
    }

    /// The item that it is about; `None` when it is about none.
    pub fn item(&self) -> Option<ExceptionId> {
        let (Self::Repaid { item, .. }
        | Self::WrittenOff { item, .. }
        | Self::Closed { item, .. }
        | Self::Assigned { item, .. }) = self
        else {
            return None;
        };
        parse_hex(item).map(ExceptionId)
    }

    /// What it says as an amount that is given up; `None` when it is none.
    pub fn write_off(&self) -> Option<WriteOff> {
        let Self::WrittenOff { number, account, amount, to, .. } = self else { return None };
        let id = AccountId::from_bytes(parse_hex(account)?).ok()?;
        let (account, currency) = (Account::parse(&id)?, id.currency());
        Some(WriteOff { number: *number, account, currency, amount: *amount, to: *to })
    }

    /// The hold that it ends; `None` when it ends none.
    pub fn hold(&self) -> Option<(CardId, TapRef)> {
        let Self::Expired { card, tap: (validator, epoch, seq), .. } = self else { return None };
        let validator = ValidatorId::new(*validator)?;
        let tap = TapRef { validator, epoch: Epoch(*epoch), seq: TapSeq(*seq) };
        Some((CardId(*card), tap))
    }
}
