//! Why a desk's command did not do what it was asked. Every message says what to do.

use std::path::PathBuf;

use card::{CardFailure, IssueError, KeyError, RecordImpossible};
use clearing::{CreditId, Discontinuity};
use model::{CardId, Currency, Money, MoneyError, StationId, TariffVersion, Timestamp};
use reader::ReaderError;

use crate::{intake::IntakeError, store::StoreError};

/// See the module's documentation. Nothing was given out and nothing is half done unless the
/// message says so.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// The reader.
    #[error(transparent)]
    Reader(#[from] ReaderError),
    /// A file that should hold a virtual card.
    #[error(
        "cannot use the virtual card {path}: `depot-server card blank {path}` makes a blank one",
        path = .path.display()
    )]
    CardFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Nobody held a card to it.
    #[error("no card within {0} seconds: hold it to the reader and run the command again")]
    NoCard(u64),
    /// More than one.
    #[error("two or more cards are on the reader: leave one, and run the command again")]
    Several,
    /// Something that cannot be a card of ours.
    #[error(
        "this is no card for value: it has a random number or is no DESFire; take a MIFARE \
         DESFire EV2 or EV3 with a fixed 7-byte number"
    )]
    Foreign,
    /// Another card than before.
    #[error("this is card {found}, but {expected} was expected: hold that one to the reader")]
    OtherCard {
        /// Who was there before.
        expected: CardId,
        /// Who is there now.
        found: CardId,
    },
    /// The card.
    #[error("{0}; {advice}", advice = advice(.0))]
    Card(CardFailure),
    /// A key is missing.
    #[error("a card key is missing: see `keys.card` in the configuration")]
    Keys(#[from] KeyError),
    /// What is on it is no money of its holder's.
    #[error(
        "card {card} belongs to account {account}: what is on it is not paid out; retire it with \
         --value keep, and it goes back to the account"
    )]
    OfAccount {
        /// Which card.
        card: CardId,
        /// Whose.
        account: CreditId,
    },
    /// The card cannot be issued so.
    #[error("the card cannot be issued so")]
    Issue(#[source] IssueError),
    /// No such record can be written.
    #[error(transparent)]
    Record(#[from] RecordImpossible),
    /// The quota.
    #[error(
        "the quota of station {station} is used up: {wanted} was asked for, {left} is left; have \
         it renewed with `depot-server card quota grant`, with --currency if it is not the tariff's"
    )]
    OverQuota {
        /// Which station.
        station: StationId,
        /// What was to be put on the card.
        wanted: Money,
        /// What may still be.
        left: Money,
    },
    /// No amount in the card's currency.
    #[error("{text:?} is no amount in {currency}, the currency of the card: write it as it has it")]
    Amount {
        /// As written.
        text: String,
        /// Of the card.
        currency: Currency,
        /// Why.
        #[source]
        source: MoneyError,
    },
    /// More than a record can hold, or less than nothing.
    #[error("{text}: use 0 to {most}, what one record on a card can hold")]
    AmountRange {
        /// As written.
        text: String,
        /// At most.
        most: Money,
    },
    /// Nobody could ride with it.
    #[error(
        "the tariff (version {tariff}) has no rate for {purse} today, so no validator takes it: \
         add one under [[exchange]] and publish it, or take a currency that it has",
        tariff = .tariff.0
    )]
    NoRate {
        /// Asked for.
        purse: Currency,
        /// The newest.
        tariff: TariffVersion,
    },
    /// Readers find the counters file on every such card.
    #[error(
        "a card in another currency than the tariff's always has counters: leave --no-counters"
    )]
    NoCounters,
    /// What is on it is owed by somebody else.
    #[error("card {card} is of {whose}: no card of {ours} stands in place of it")]
    OtherIssuer {
        /// Which.
        card: CardId,
        /// Who issued it.
        whose: String,
        /// Who issues here.
        ours: String,
    },
    /// The clerk has taken other money than the card holds.
    #[error("the purse of card {card} is in {purse}: {wanted} cannot be put on it; take {purse}")]
    OtherCurrency {
        /// Which.
        card: CardId,
        /// Of the card.
        purse: Currency,
        /// Of the cash.
        wanted: Currency,
    },
    /// Card and books contradict each other.
    #[error(
        "card {card} says that its purse is in {said}, and the books know it in {known}: keep the \
         card and report it"
    )]
    Purse {
        /// Which.
        card: CardId,
        /// By the card.
        said: Currency,
        /// By the books.
        known: Currency,
    },
    /// Somebody was first, or late taps changed it.
    #[error("what card {0} is owed has just changed: nothing was done; run the command again")]
    OwedChanged(CardId),
    /// There is no cash and nothing to give back.
    #[error(
        "nothing of what card {card} is owed ({owed}) can go onto it now: nothing is owed, the \
         card is full, or it was copied and a person has to look at it first"
    )]
    NothingOwed {
        /// Which.
        card: CardId,
        /// By the books.
        owed: Money,
    },
    /// More than a card may hold.
    #[error("the card would hold {0}, but desk.balance_max allows {1}: load less")]
    AboveMax(Money, Money),
    /// The books do not know the card.
    #[error("card {0} is not in the books: it was not issued here, or not registered")]
    Unknown(CardId),
    /// A blank card whose number the books know.
    #[error(
        "the books know card {card} with {balance}, but the card is blank or not whole: its \
         contents are lost; give the holder another card with `depot-server card replace`"
    )]
    LostContents {
        /// Which.
        card: CardId,
        /// What the books show.
        balance: Money,
    },
    /// In our books, and whole.
    #[error("card {card} is issued already, with {balance} by the books: load it, or retire it")]
    Issued {
        /// Which.
        card: CardId,
        /// What the books show.
        balance: Money,
    },
    /// Issued, but not in our books.
    #[error(
        "card {0} is issued already, but not by these books: register it where it was issued, or \
         take a blank card"
    )]
    IssuedElsewhere(CardId),
    /// The books are ahead of the card.
    #[error(
        "the books know a newer transaction of card {0} than the card itself: it was copied or \
         rolled back; keep the card and report it"
    )]
    Behind(CardId),
    /// Nothing more can be done with it.
    #[error("card {0} is retired: it carries no value and takes none")]
    Retired(CardId),
    /// Another card was issued for it.
    #[error("another card was issued in place of {0}: only `card retire` is possible with it")]
    Replaced(CardId),
    /// REC-9.
    #[error(
        "the value of card {card} is not given out yet; wait until its taps have arrived \
         (`depot-server serve` takes them in) and run the command again"
    )]
    Continuity {
        /// Which card.
        card: CardId,
        /// Why.
        #[source]
        why: Discontinuity,
    },
    /// REC-9: value that nobody paid for.
    #[error(
        "card {card} shows loads over {amount} that no desk made and no channel was paid for: its \
         value is not given out; keep the card and find out who loaded it"
    )]
    UnmetLoads {
        /// Which card.
        card: CardId,
        /// How much.
        amount: Money,
    },
    /// Its holder owes the issuer.
    #[error(
        "the holder of card {card} owes {amount} for a top-up that was given back: retire it with \
         `--value another-card`, then `card replace` gives the rest"
    )]
    Owes {
        /// Which card.
        card: CardId,
        /// How much.
        amount: Money,
    },
    /// The card holds transactions that the books do not.
    #[error(
        "the newest transaction of card {0} is not in the books yet: wait until its taps have \
         arrived and run the command again"
    )]
    Ahead(CardId),
    /// A lost card's value waits.
    #[error(
        "card {card} is reported as lost; its value can be given out from {at} on, when every \
         tap of it has had time to arrive; it is proposed for the hotlist: block it with \
         `depot-server hotlist approve --card NUMBER --cause lost --by NAME`",
        at = .until.utc()
    )]
    OnHold {
        /// Which card.
        card: CardId,
        /// When.
        until: Timestamp,
    },
    /// Nobody said that it is lost, and it is not retired.
    #[error(
        "card {0} is still in use: hold it to the reader with `depot-server card retire --value \
         another-card`, or add --lost when it is gone"
    )]
    InUse(CardId),
    /// No value is due.
    #[error("nothing is due for card {0}: its value was given out, or it had none")]
    NothingDue(CardId),
    /// A journey is open.
    #[error(
        "a journey is open on card {0}: have it tapped out first, or add --despite-journey to \
         retire it without charging for that journey"
    )]
    JourneyOpen(CardId),
    /// The card's proof.
    #[error(
        "the card's proof of operation {0} does not hold: it is no card of ours, or its proof \
         key is missing here; nothing was booked, keep the card and report it"
    )]
    Proof(u64),
    /// The card was gone when it mattered.
    #[error(
        "operation {op} on card {card} is in doubt: it happened or it did not, and only the card \
         knows; hold it to the reader again and run the command again"
    )]
    InDoubt {
        /// Which operation.
        op: u64,
        /// On which card.
        card: CardId,
    },
    /// Some keys of the card have their new version, others may not.
    #[error(
        "not all keys of card {card} are changed: {failure}; the card goes on working, each key in \
         its old or its new version; {advice}",
        advice = rekey_advice(.failure)
    )]
    HalfRekeyed {
        /// Which card.
        card: CardId,
        /// Why it stopped.
        failure: CardFailure,
    },
    /// An earlier operation of another kind was found finished.
    #[error("{0}; that is booked now, and nothing else was done: run the command again if needed")]
    Settled(String),
    /// The books.
    #[error("the books cannot be used")]
    Store(#[from] StoreError),
    /// Booking.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// The system.
    #[error("the operating system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

impl DeskError {
    /// Whether running the command again with the card on the reader is what helps.
    pub const fn try_again(&self) -> bool {
        let half = matches!(self, Self::HalfRekeyed { failure, .. } if was_torn(failure));
        half || matches!(self, Self::InDoubt { .. })
    }
}

const fn advice(failure: &CardFailure) -> &'static str {
    match failure {
        CardFailure::Link { .. } | CardFailure::Malformed(_) => {
            "nothing was changed for good: hold the card still and run the command again"
        }
        CardFailure::NoApplication(_) => "it is blank or of another system",
        CardFailure::NoRecord => "its issue was not finished: run `card issue` with it",
        CardFailure::NotAuthentic | CardFailure::KeyVersionNotHeld(_) => {
            "it is of another system, its issue was not finished, or a key is missing here"
        }
        CardFailure::ForeignApplication(_) => "it was left as it is: take another card",
        CardFailure::CardLevelLocked => "take a card as it comes from the factory",
        CardFailure::CardFull => "take an empty card, or one with more memory",
        CardFailure::ValueLimit => "the card holds less than its record says: keep and report it",
        CardFailure::ValueCeiling => "the card holds more than its record says: keep and report it",
        CardFailure::AnswerNotAuthentic(_)
        | CardFailure::Refused { .. }
        | CardFailure::Record(_)
        | CardFailure::Purse(_)
        | CardFailure::Counters(_)
        | CardFailure::AlreadyIssued => "`depot-server card inspect` shows what is on it",
    }
}

const fn rekey_advice(failure: &CardFailure) -> &'static str {
    if was_torn(failure) {
        "hold it to the reader again and run the command again"
    } else {
        advice(failure)
    }
}

const fn was_torn(failure: &CardFailure) -> bool {
    matches!(failure, CardFailure::Link { .. } | CardFailure::Malformed(_))
}
