//! Which issuer a card belongs to, and the accounts that each issuer has of its own (ADR-0023).
//!
//! One issuer is the one that the books began with: its accounts are those that were there before
//! there were others, and a card of which nobody said anything is its. Every other issuer has the
//! same accounts once more, told apart by its number in the last two opaque bytes.
//!
//! Who issued a card is known from its issue. When that arrives after taps of the card, what they
//! earned moves to its issuer's accounts, so the books stay a function of the set (REC-1).

use core::fmt;

use ledger::AccountId;
use model::{CardId, IssuerId, OperatorId, StationId};

use crate::{
    ClearError, Known,
    account::{Account, CauseCode},
    chain::Step,
    postings::Event,
};

/// Where an account names its issuer.
const AT: usize = AccountId::OPAQUE_MAX - 2;

/// An account that each issuer has of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum IssuerAccount {
    /// What an operator earned with its cards.
    FareRevenue(Option<OperatorId>),
    /// Cash taken for the opening balances of its cards.
    IssuerCash,
    /// Values taken off its retired cards.
    RefundClearing,
    /// Cash that a desk took for values on its cards.
    DeskCash(StationId),
}

impl IssuerAccount {
    pub(crate) const fn of(account: Account) -> Option<Self> {
        if let Account::FareRevenue(operator) = account {
            Some(Self::FareRevenue(operator))
        } else if let Account::DeskCash(station) = account {
            Some(Self::DeskCash(station))
        } else if matches!(account, Account::IssuerCash) {
            Some(Self::IssuerCash)
        } else if matches!(account, Account::RefundClearing) {
            Some(Self::RefundClearing)
        } else {
            None
        }
    }

    /// The same account of the issuer that the books began with.
    pub const fn account(self) -> Account {
        match self {
            Self::FareRevenue(operator) => Account::FareRevenue(operator),
            Self::IssuerCash => Account::IssuerCash,
            Self::RefundClearing => Account::RefundClearing,
            Self::DeskCash(station) => Account::DeskCash(station),
        }
    }
}

impl Account {
    /// The account of this issuer that stands for the same, where issuers have one each.
    #[must_use]
    pub const fn of(self, issuer: Option<IssuerId>) -> Self {
        match (issuer, IssuerAccount::of(self)) {
            (Some(issuer), Some(of)) => Self::OfIssuer(issuer, of),
            (None, _) | (_, None) => self,
        }
    }

    /// The issuer that it names, whatever it stands for.
    pub const fn issuer(self) -> Option<IssuerId> {
        if let Self::OfIssuer(issuer, _) = self {
            Some(issuer)
        } else if let Self::OperatorPayable(issuer, _)
        | Self::OperatorSharing(issuer)
        | Self::ClearingFee(issuer)
        | Self::OperatorBank(issuer)
        | Self::Unclaimed(issuer)
        | Self::ProductUnused(issuer) = self
        {
            issuer
        } else {
            None
        }
    }

    /// The card that it is of.
    pub const fn card(self) -> Option<CardId> {
        if let Self::Card(card)
        | Self::GapSuspense(card, _)
        | Self::Difference(card, _)
        | Self::UnknownOrigin(card)
        | Self::Replaced(card)
        | Self::RiderDue(card)
        | Self::OrderOwed(card) = self
        {
            Some(card)
        } else {
            None
        }
    }

    /// Whose it is, where it is another issuer's than the one that the books began with; and what
    /// it stands for, whosever it is.
    pub const fn pooled(self) -> (Option<IssuerId>, Self) {
        if let Self::OfIssuer(issuer, of) = self {
            (Some(issuer), of.account())
        } else {
            (None, self)
        }
    }
}

/// The opaque bytes of an issuer's account.
pub(crate) fn write_issuer(issuer: IssuerId, plain: Account) -> [u8; AccountId::OPAQUE_MAX] {
    // Of any currency: it is not among the opaque bytes.
    let currency = model::Currency::parse("EUR").expect("ISO 4217 has it");
    let mut opaque = plain.id(currency).opaque();
    opaque[AT..].copy_from_slice(&issuer.0.to_be_bytes());
    opaque
}

/// The issuer that an account names, and the account without it.
pub(crate) fn issuer_of(id: &AccountId) -> Option<(IssuerId, AccountId)> {
    let mut opaque = id.opaque();
    let number = u16::from_be_bytes([opaque[AT], opaque[AT + 1]]);
    // Other accounts may use these bytes for something else.
    if number == 0 || !matches!(id.code().0, 2 | 6 | 8 | 9) {
        return None;
    }
    opaque[AT..].fill(0);
    Some((IssuerId(number), AccountId::new(id.code(), id.currency(), &opaque)))
}

/// Why a card is not taken as an issuer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IssuerMisfit {
    /// By the issue.
    pub said: Option<IssuerId>,
    /// By the books.
    pub known: Option<IssuerId>,
}

impl core::error::Error for IssuerMisfit {}

impl fmt::Display for IssuerMisfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |f: &mut fmt::Formatter<'_>, issuer: Option<IssuerId>| match issuer {
            Some(issuer) => write!(f, "issuer {issuer}"),
            None => f.write_str("the issuer that the books began with"),
        };
        f.write_str("the books know it as issued by ")?;
        name(f, self.known)?;
        f.write_str(", and not by ")?;
        name(f, self.said)
    }
}

impl crate::CardState {
    /// Who issued the card, where that is another than the issuer that the books began with.
    pub const fn issuer(&self) -> Option<IssuerId> {
        self.issuer
    }
}

impl<K: Known> Step<'_, K> {
    /// The card's own issue says who issued it. What its records moved so far, as if it were the
    /// first issuer's, becomes this issuer's.
    pub(crate) fn belongs_to(
        &mut self,
        issuer: Option<IssuerId>,
    ) -> Result<(), ClearError<K::Error>> {
        let known = self.state.issuer;
        if known == issuer {
            return Ok(());
        }
        if self.state.registered {
            return Err(ClearError::Issuer(IssuerMisfit { said: issuer, known }));
        }
        let Some(chain) = &self.state.chain else {
            self.become_of(issuer);
            return Ok(());
        };
        let (first, last) = (chain.first.0, chain.newest.record.ctr.0);
        let gaps = chain.gaps.clone();
        let mut kept = alloc::vec::Vec::new();
        for ctr in (first..=last).map(model::Ctr) {
            if !gaps.iter().any(|gap| gap.first <= ctr && ctr <= gap.last) {
                kept.push(self.contents(ctr)?.0);
            }
        }
        let old: alloc::vec::Vec<_> =
            kept.iter().map(|known| self.postings.counter_account(known)).collect();
        self.become_of(issuer);
        for (known, old) in kept.iter().zip(old) {
            let ctr = known.record.ctr.0.to_be_bytes();
            let parts = [b"issuer".as_slice(), &self.card.0, &ctr];
            let mut event = Event::new(CauseCode::Attribution, &parts, known.record.at());
            let new = self.postings.counter_account(known);
            // The old account gets back what it gave, the new one gives it.
            self.postings.shift(&mut event, old, new, known.record.delta());
        }
        Ok(())
    }

    const fn become_of(&mut self, issuer: Option<IssuerId>) {
        self.state.issuer = issuer;
        self.postings.issuer = issuer;
    }
}
