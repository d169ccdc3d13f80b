//! The accounts that clearing opens, and the causes of its transfers.

use alloc::vec::Vec;
use core::fmt;

use ledger::{AccountCode, AccountId};
use model::{CardId, ChannelId, Ctr, Currency, IssuerId, OperatorId, StationId, TicketKeyId};

use crate::{
    CreditId,
    issuer::{IssuerAccount, issuer_of, write_issuer},
};

/// What an account is for. Amounts are read as credits minus debits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Account {
    /// What the issuer owes the holder of a card: its stored value, by its newest known record.
    Card(CardId),
    /// What an operator earned; `None` until it is known whose ride it was.
    FareRevenue(Option<OperatorId>),
    /// The net amount of a card's lost records, from this counter on (I4).
    GapSuspense(CardId, Ctr),
    /// What a record claims to begin with beyond what the one before it ended with (I3).
    Difference(CardId, Ctr),
    /// Value that a card brought along without an issue on our books.
    UnknownOrigin(CardId),
    /// Cash taken for the opening balances of issued cards.
    IssuerCash,
    /// Loads that cards show, to be met by those who took the money.
    LoadClearing,
    /// Values taken off retired cards, to be paid to their holders or put on new cards.
    RefundClearing,
    /// Cash that a desk took for values that it put on cards.
    DeskCash(StationId),
    /// What was put on a new card in place of this one: what is still on this one belongs to the
    /// issuer now.
    Replaced(CardId),
    /// Cash taken for tickets.
    TicketCash,
    /// Rides owed to holders of tickets of this key that end on this day (since 1970, UTC).
    TicketLiability(TicketKeyId, u32),
    /// Rides given on tickets of this key whose sale is not known.
    TicketUnissued(TicketKeyId),
    /// What the holder of a card is owed above what is on it, because its taps were charged too
    /// much (ADR-0014). Never below zero.
    RiderDue(CardId),
    /// Minus what fares were lowered by afterwards.
    FareReduction,
    /// Minus what was put on a credit account's cards on credit and is still on them, or on its
    /// way to them (ADR-0022).
    CreditLine(CreditId),
    /// Minus what was ridden on a credit account and is owed.
    AccountDebt(CreditId),
    /// What was paid to a credit account above what it owes: its holder's.
    AccountPrepaid(CreditId),
    /// Minus what came in through this channel for credit accounts: cash at the bank.
    AccountBank(ChannelId),
    /// Paid for and not on the card yet.
    LoadOrders,
    /// What this channel took for load orders and has to hand in.
    LoadChannel(ChannelId),
    /// What was paid for products of this number that are on their cards: to be shared between the
    /// operators whose rides they pay (ADR-0024).
    ProductSold(u16),
    /// A load order was given back and is on the card all the same, or nobody ordered what a credit
    /// account's card shows: its holder owes it.
    OrderOwed(CardId),
    /// Minus what this channel's statements say that it handed in: cash at the bank.
    ChannelBank(ChannelId),
    /// Handed in by this channel and met by no order.
    ChannelUnmatched(ChannelId),
    /// The same account of another issuer than the one that the books began with (ADR-0023).
    OfIssuer(IssuerId, IssuerAccount),
    /// What this issuer owes this operator of settled days, less what it paid; `None` is the issuer
    /// that the books began with, and revenue of which nobody knows yet whose it is.
    OperatorPayable(Option<IssuerId>, Option<OperatorId>),
    /// Through here goes what operators share of one another's rides: zero after each settling.
    OperatorSharing(Option<IssuerId>),
    /// What the clearing house keeps of this issuer's settled days.
    ClearingFee(Option<IssuerId>),
    /// What this issuer paid to operators.
    OperatorBank(Option<IssuerId>),
    /// Given up by people, under a number whose meaning is theirs.
    WrittenOff(u16),
    /// Value of this issuer's cards that ended and was not claimed in time.
    Unclaimed(Option<IssuerId>),
    /// Paid for products of this issuer's cards and used by nobody in time: its own (ADR-0025).
    ProductUnused(Option<IssuerId>),
}

/// Codes of [`Account`], as ledger accounts begin with.
const CODES: [(u16, &str); 32] = [
    (1, "card"),
    (2, "fare-revenue"),
    (3, "gap-suspense"),
    (4, "difference"),
    (5, "unknown-origin"),
    (6, "issuer-cash"),
    (7, "load-clearing"),
    (8, "refund-clearing"),
    (9, "desk-cash"),
    (10, "replaced"),
    (11, "ticket-cash"),
    (12, "ticket-liability"),
    (13, "ticket-unissued"),
    (14, "rider-due"),
    (15, "fare-reduction"),
    (16, "credit-line"),
    (17, "account-debt"),
    (18, "account-prepaid"),
    (19, "account-bank"),
    (20, "operator-payable"),
    (21, "operator-sharing"),
    (22, "clearing-fee"),
    (23, "operator-bank"),
    (24, "written-off"),
    (25, "unclaimed"),
    (26, "product-sold"),
    (27, "product-unused"),
    (30, "load-orders"),
    (31, "load-channel"),
    (32, "order-owed"),
    (33, "channel-bank"),
    (34, "channel-unmatched"),
];

impl Account {
    /// The ledger account in `currency`.
    pub fn id(self, currency: Currency) -> AccountId {
        let mut opaque = Vec::with_capacity(AccountId::OPAQUE_MAX);
        match self {
            Self::Card(card)
            | Self::UnknownOrigin(card)
            | Self::Replaced(card)
            | Self::OrderOwed(card)
            | Self::RiderDue(card) => {
                opaque.extend(card.0);
            }
            Self::DeskCash(StationId(number))
            | Self::LoadChannel(ChannelId(number))
            | Self::ChannelBank(ChannelId(number))
            | Self::ChannelUnmatched(ChannelId(number))
            | Self::AccountBank(ChannelId(number))
            | Self::WrittenOff(number)
            | Self::ProductSold(number) => {
                opaque.extend(number.to_be_bytes());
            }
            Self::GapSuspense(card, ctr) | Self::Difference(card, ctr) => {
                opaque.extend(card.0);
                opaque.extend(ctr.0.to_be_bytes());
            }
            Self::FareRevenue(Some(OperatorId(number))) => {
                opaque.push(1);
                opaque.extend(number.to_be_bytes());
            }
            Self::TicketLiability(key, day) => {
                opaque.extend(key.0);
                opaque.extend(day.to_be_bytes());
            }
            Self::TicketUnissued(key) => opaque.extend(key.0),
            Self::CreditLine(CreditId(number))
            | Self::AccountDebt(CreditId(number))
            | Self::AccountPrepaid(CreditId(number)) => opaque.extend(number.to_be_bytes()),
            Self::OfIssuer(issuer, of) => opaque.extend(write_issuer(issuer, of.account())),
            Self::OperatorPayable(issuer, operator) => {
                opaque.extend(issuer.unwrap_or_default().0.to_be_bytes());
                if let Some(OperatorId(number)) = operator {
                    opaque.push(1);
                    opaque.extend(number.to_be_bytes());
                }
            }
            Self::OperatorSharing(issuer)
            | Self::ClearingFee(issuer)
            | Self::OperatorBank(issuer)
            | Self::Unclaimed(issuer)
            | Self::ProductUnused(issuer) => {
                opaque.extend(issuer.unwrap_or_default().0.to_be_bytes());
            }
            Self::FareRevenue(None)
            | Self::IssuerCash
            | Self::LoadClearing
            | Self::RefundClearing
            | Self::LoadOrders
            | Self::TicketCash
            | Self::FareReduction => {}
        }
        AccountId::new(AccountCode(self.code()), currency, &opaque)
    }

    /// Which account a ledger account is; `None` when clearing did not open it.
    pub fn parse(id: &AccountId) -> Option<Self> {
        if let Some((issuer, plain)) = issuer_of(id) {
            return IssuerAccount::of(Self::parse(&plain)?).map(|of| Self::OfIssuer(issuer, of));
        }
        let b = id.opaque();
        let number = || u16::from_be_bytes([b[0], b[1]]);
        let issuer = || Some(IssuerId(number())).filter(|issuer| issuer.0 > 0);
        let channel = || ChannelId(u16::from_be_bytes([b[0], b[1]]));
        let card = || CardId([b[0], b[1], b[2], b[3], b[4], b[5], b[6]]);
        let key = || TicketKeyId([b[0], b[1], b[2], b[3]]);
        let credit = || CreditId(u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
        let ctr = || Ctr(u32::from_be_bytes([b[7], b[8], b[9], b[10]]));
        let account = match id.code().0 {
            1 => Self::Card(card()),
            2 if b[0] == 0 => Self::FareRevenue(None),
            2 => Self::FareRevenue(Some(OperatorId(u16::from_be_bytes([b[1], b[2]])))),
            3 => Self::GapSuspense(card(), ctr()),
            4 => Self::Difference(card(), ctr()),
            5 => Self::UnknownOrigin(card()),
            6 => Self::IssuerCash,
            7 => Self::LoadClearing,
            8 => Self::RefundClearing,
            9 => Self::DeskCash(StationId(u16::from_be_bytes([b[0], b[1]]))),
            10 => Self::Replaced(card()),
            11 => Self::TicketCash,
            12 => Self::TicketLiability(key(), u32::from_be_bytes([b[4], b[5], b[6], b[7]])),
            13 => Self::TicketUnissued(key()),
            14 => Self::RiderDue(card()),
            15 => Self::FareReduction,
            16 => Self::CreditLine(credit()),
            17 => Self::AccountDebt(credit()),
            18 => Self::AccountPrepaid(credit()),
            19 => Self::AccountBank(channel()),
            20 if b[2] == 0 => Self::OperatorPayable(issuer(), None),
            20 => {
                let operator = OperatorId(u16::from_be_bytes([b[3], b[4]]));
                Self::OperatorPayable(issuer(), Some(operator))
            }
            21 => Self::OperatorSharing(issuer()),
            22 => Self::ClearingFee(issuer()),
            23 => Self::OperatorBank(issuer()),
            24 => Self::WrittenOff(number()),
            25 => Self::Unclaimed(issuer()),
            27 => Self::ProductUnused(issuer()),
            26 => Self::ProductSold(u16::from_be_bytes([b[0], b[1]])),
            30 => Self::LoadOrders,
            31 => Self::LoadChannel(channel()),
            32 => Self::OrderOwed(card()),
            33 => Self::ChannelBank(channel()),
            34 => Self::ChannelUnmatched(channel()),
            _ => return None,
        };
        (account.id(id.currency()) == *id).then_some(account)
    }

    /// The word for a ledger account's code, as screens and exports group accounts.
    pub fn word(code: AccountCode) -> Option<&'static str> {
        CODES.iter().find(|(number, _)| *number == code.0).map(|(_, word)| *word)
    }

    const fn code(self) -> u16 {
        match self {
            Self::Card(_) => 1,
            Self::FareRevenue(_) => 2,
            Self::GapSuspense(..) => 3,
            Self::Difference(..) => 4,
            Self::UnknownOrigin(_) => 5,
            Self::IssuerCash => 6,
            Self::LoadClearing => 7,
            Self::RefundClearing => 8,
            Self::DeskCash(_) => 9,
            Self::Replaced(_) => 10,
            Self::TicketCash => 11,
            Self::TicketLiability(..) => 12,
            Self::TicketUnissued(_) => 13,
            Self::RiderDue(_) => 14,
            Self::FareReduction => 15,
            Self::CreditLine(_) => 16,
            Self::AccountDebt(_) => 17,
            Self::AccountPrepaid(_) => 18,
            Self::AccountBank(_) => 19,
            Self::OfIssuer(_, of) => of.account().code(),
            Self::OperatorPayable(..) => 20,
            Self::OperatorSharing(_) => 21,
            Self::ClearingFee(_) => 22,
            Self::OperatorBank(_) => 23,
            Self::WrittenOff(_) => 24,
            Self::Unclaimed(_) => 25,
            Self::ProductSold(_) => 26,
            Self::ProductUnused(_) => 27,
            Self::LoadOrders => 30,
            Self::LoadChannel(_) => 31,
            Self::OrderOwed(_) => 32,
            Self::ChannelBank(_) => 33,
            Self::ChannelUnmatched(_) => 34,
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Self::word(AccountCode(self.code())).unwrap_or_default();
        match self {
            Self::Card(card)
            | Self::UnknownOrigin(card)
            | Self::Replaced(card)
            | Self::OrderOwed(card)
            | Self::RiderDue(card) => {
                write!(f, "{word}({card})")
            }
            Self::DeskCash(station) => write!(f, "{word}({station})"),
            Self::LoadChannel(channel)
            | Self::ChannelBank(channel)
            | Self::AccountBank(channel)
            | Self::ChannelUnmatched(channel) => write!(f, "{word}({channel})"),
            Self::CreditLine(credit) | Self::AccountDebt(credit) | Self::AccountPrepaid(credit) => {
                write!(f, "{word}({credit})")
            }
            Self::GapSuspense(card, ctr) | Self::Difference(card, ctr) => {
                write!(f, "{word}({card}, {ctr})")
            }
            Self::FareRevenue(Some(operator)) | Self::OperatorPayable(_, Some(operator)) => {
                write!(f, "{word}({operator})")
            }
            Self::FareRevenue(None) | Self::OperatorPayable(_, None) => {
                write!(f, "{word}(unattributed)")
            }
            Self::TicketLiability(key, day) => {
                write!(f, "{word}({key}, {})", model::ServiceDate(*day))
            }
            Self::TicketUnissued(key) => write!(f, "{word}({key})"),
            Self::OfIssuer(issuer, of) => write!(f, "{} of issuer {issuer}", of.account()),
            Self::WrittenOff(number) | Self::ProductSold(number) => {
                write!(f, "{word}({number})")
            }
            Self::IssuerCash
            | Self::LoadClearing
            | Self::RefundClearing
            | Self::LoadOrders
            | Self::TicketCash
            | Self::FareReduction
            | Self::OperatorSharing(_)
            | Self::ClearingFee(_)
            | Self::OperatorBank(_)
            | Self::Unclaimed(_)
            | Self::ProductUnused(_) => f.write_str(word),
        }?;
        if let Self::OperatorPayable(Some(issuer), _)
        | Self::OperatorSharing(Some(issuer))
        | Self::ClearingFee(Some(issuer))
        | Self::OperatorBank(Some(issuer))
        | Self::Unclaimed(Some(issuer))
        | Self::ProductUnused(Some(issuer)) = self
        {
            write!(f, " of issuer {issuer}")?;
        }
        Ok(())
    }
}

/// Why clearing made a transfer; the `code` of [`ledger::Cause`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CauseCode {
    /// A card record became known. The reference is the card and the counter, so a second booking
    /// of one counter is the ledger's alarm (LED-3).
    Record,
    /// Better knowledge says whose revenue or cash a record's amount is.
    Attribution,
    /// Two records claim one counter, and the one to keep turned out to be another (I2).
    Fork,
    /// An in-doubt tap holds its amount.
    Hold,
    /// An in-doubt tap turned out not to have happened.
    Void,
    /// A desk took cash for a value, or made good a new card's opening value.
    Desk,
    /// The depot sold a ticket. The reference is the ticket.
    TicketSale,
    /// A ticket was used for the first time. The reference is the ticket.
    TicketUse,
    /// What is owed for a card's service day changed. The reference is card, day and revision.
    Due,
    /// More was paid for a service day than is owed for it by now: the rider keeps it.
    Forgiven,
    /// What a credit account's cards spent since the last time became its debt. The reference is
    /// the account and how often that was.
    AccountCharge,
    /// A credit account was paid, or a payment was taken back. The reference is channel and
    /// payment.
    AccountPayment,
    /// A card of a credit account shows a load that nobody ordered. The reference is the card and
    /// the counter.
    UnmetLoad,
    /// What was left on a retired card of a credit account. The reference is the desk's operation.
    AccountReturn,
    /// A load order was paid, is on its card, or was given back. The reference is the order and
    /// which of the three.
    Order,
    /// What a channel states of a payment, or its order, changed. The reference is channel,
    /// payment, revision and currency.
    Statement,
    /// A closed day was settled. The reference is day, issuer, operator and currency.
    Settlement,
    /// An issuer paid an operator. The reference is issuer, operator and the payment's own.
    OperatorPaid,
    /// A person decided. The reference is the decision's number.
    Correction,
    /// An in-doubt tap was held for so long that nobody waits any more.
    Expiry,
    /// A card's value was not claimed in time after its end.
    Breakage,
    /// What was paid for a product was shared between operators. The reference is the order.
    ProductShared,
}

impl CauseCode {
    /// All, in order of their numbers.
    pub const ALL: [Self; 22] = [
        Self::Record,
        Self::Attribution,
        Self::Fork,
        Self::Hold,
        Self::Void,
        Self::Desk,
        Self::TicketSale,
        Self::TicketUse,
        Self::Due,
        Self::Forgiven,
        Self::AccountCharge,
        Self::AccountPayment,
        Self::AccountReturn,
        Self::UnmetLoad,
        Self::Order,
        Self::Statement,
        Self::Settlement,
        Self::OperatorPaid,
        Self::Correction,
        Self::Expiry,
        Self::Breakage,
        Self::ProductShared,
    ];

    /// Its number in the ledger.
    pub const fn number(self) -> u16 {
        match self {
            Self::Record => 1,
            Self::Attribution => 2,
            Self::Fork => 3,
            Self::Hold => 4,
            Self::Void => 5,
            Self::Desk => 6,
            Self::TicketSale => 11,
            Self::TicketUse => 12,
            Self::Due => 14,
            Self::Forgiven => 15,
            Self::AccountCharge => 16,
            Self::AccountPayment => 17,
            Self::AccountReturn => 18,
            Self::UnmetLoad => 19,
            Self::Order => 30,
            Self::Statement => 33,
            Self::Settlement => 20,
            Self::OperatorPaid => 21,
            Self::Correction => 22,
            Self::Expiry => 23,
            Self::Breakage => 24,
            Self::ProductShared => 25,
        }
    }

    /// The word on screens and in exports.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Attribution => "attribution",
            Self::Fork => "fork",
            Self::Hold => "hold",
            Self::Void => "void",
            Self::Desk => "desk",
            Self::TicketSale => "ticket-sale",
            Self::TicketUse => "ticket-use",
            Self::Due => "due",
            Self::Forgiven => "forgiven",
            Self::AccountCharge => "account-charge",
            Self::AccountPayment => "account-payment",
            Self::AccountReturn => "account-return",
            Self::UnmetLoad => "unmet-load",
            Self::Order => "order",
            Self::Statement => "statement",
            Self::Settlement => "settlement",
            Self::OperatorPaid => "operator-paid",
            Self::Correction => "correction",
            Self::Expiry => "expiry",
            Self::Breakage => "breakage",
            Self::ProductShared => "product-shared",
        }
    }

    /// From its number.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.number() == number)
    }
}
