//! Exports: the ledger as a plain-text journal that hledger and beancount read, and closed days'
//! taps and transfers as CSV. No card number leaves by any of them (PRV-5, PRV-6).

use std::fmt::Write as _;

use clearing::{Account, CauseCode};
use ledger::{AccountId, Kind, Transfer};
use model::{IssuerId, Money, OperatorId, ServiceDate, StationId, TapRole, Timestamp};
use settlement::TapFacts;

use crate::{
    days::CloseError,
    intake::Workplace,
    store::{Store, StoreError},
};

const EMPTY: [u8; AccountId::OPAQUE_MAX] = [0; AccountId::OPAQUE_MAX];
/// Times of exported taps are rounded down to this: two known taps must not find a rider (PRV-5).
const COARSE_MS: u64 = 15 * 60 * 1000;

/// Accounts by names that both programs take: five roots, then words that begin with a capital.
#[derive(Debug)]
pub struct AccountNames<'a>(&'a Store);

impl<'a> AccountNames<'a> {
    /// Names of these books: accounts of cards have names that only these books can lead back.
    pub const fn new(store: &'a Store) -> Self {
        Self(store)
    }

    /// The name of an account.
    pub fn name(&self, account: &AccountId) -> String {
        let word = Account::word(account.code()).map_or_else(
            || format!("Code{}", account.code().0),
            |word| word.split('-').map(capital).collect(),
        );
        let root = match account.code().0 {
            1 | 18 | 20 => "Liabilities",
            2 | 22 | 27 => "Income",
            6 | 7 | 9 | 11 | 16 | 17 | 19 | 23 | 33 => "Assets",
            _ => "Equity",
        };
        let (issuer, plain) =
            Account::parse(account).map_or((None, None), |of| (of.pooled().0, Some(of.pooled().1)));
        let root = match issuer {
            Some(issuer) => format!("{root}:Issuer{issuer}"),
            None => root.to_owned(),
        };
        match plain {
            Some(Account::FareRevenue(Some(OperatorId(number)))) => {
                format!("{root}:{word}:Operator{number}")
            }
            Some(Account::DeskCash(StationId(number))) => format!("{root}:{word}:Station{number}"),
            Some(Account::OperatorPayable(issuer, operator)) => {
                let operator = operator
                    .map_or("Unattributed".to_owned(), |operator| format!("Operator{operator}"));
                format!("{root}:{word}{}:{operator}", issuer_part(issuer))
            }
            Some(
                Account::OperatorSharing(issuer)
                | Account::ClearingFee(issuer)
                | Account::OperatorBank(issuer)
                | Account::Unclaimed(issuer)
                | Account::ProductUnused(issuer),
            ) => format!("{root}:{word}{}", issuer_part(issuer)),
            Some(Account::WrittenOff(number)) => format!("{root}:{word}:Number{number}"),
            Some(plain) if plain.id(account.currency()).opaque() == EMPTY => {
                format!("{root}:{word}")
            }
            Some(_) | None if account.opaque() == EMPTY => {
                format!("{root}:{word}")
            }
            Some(_) | None => format!("{root}:{word}:X{}", self.0.account_handle(account)),
        }
    }
}

/// The level that names an issuer.
fn issuer_part(issuer: Option<IssuerId>) -> String {
    issuer.map_or_else(String::new, |issuer| format!(":Issuer{issuer}"))
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Writes every transfer that moved something for good, through a day or all of them.
///
/// Both programs read the same text: `open` lines are directives to beancount and transactions
/// without postings to hledger. A debit is positive.
pub fn journal(
    store: &Store,
    through: Option<ServiceDate>,
    mut write: impl FnMut(&str) -> Result<(), std::io::Error>,
) -> Result<u64, ExportError> {
    let names = AccountNames::new(store);
    let (mut opened, mut count) = (std::collections::BTreeSet::new(), 0);
    let mut failed = None;
    write("; Tapline ledger. A debit is positive. Held amounts are not in it.\n")?;
    store.each_transfer_day(0, |row, day, transfer| {
        let posted = matches!(transfer.kind, Kind::Direct | Kind::Post(_));
        if failed.is_some() || !posted || through.is_some_and(|through| day > through) {
            return Ok(());
        }
        let mut text = String::new();
        for account in [&transfer.debit, &transfer.credit] {
            if opened.insert(*account) {
                let currency = account.currency().letters();
                let _ = writeln!(text, "1970-01-01 open {} {currency}", names.name(account));
            }
        }
        entry(&mut text, &names, row, day, &transfer);
        count += 1;
        failed = write(&text).err();
        Ok(())
    })?;
    failed.map_or(Ok(count), |error| Err(error.into()))
}

fn entry(text: &mut String, names: &AccountNames<'_>, row: i64, day: ServiceDate, of: &Transfer) {
    let day = if day.0 == 0 { ServiceDate(utc_day(of.booked_at)) } else { day };
    let cause = CauseCode::from_number(of.cause.code);
    let cause = cause.map_or_else(|| format!("cause {}", of.cause.code), |c| c.word().to_owned());
    let amount = Money::new(of.amount, of.currency).decimal();
    let currency = of.currency.letters();
    let _ = writeln!(
        text,
        "\n{day} * \"{cause}\"\n  ; transfer {row}, event {}, booked {}",
        instant(of.event_at),
        instant(of.booked_at)
    );
    let _ = writeln!(text, "  {}  {amount} {currency}", names.name(&of.debit));
    let _ = writeln!(text, "  {}  -{amount} {currency}", names.name(&of.credit));
}

fn utc_day(at: Timestamp) -> u32 {
    u32::try_from(at.secs() / 86_400).unwrap_or(u32::MAX)
}

fn instant(at: Timestamp) -> String {
    let at = i64::try_from(at.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    at.map_or_else(|| "out of range".to_owned(), |at| at.to_string())
}

/// The taps of a closed day as CSV: no card, and times rounded down to a quarter of an hour.
pub fn taps_csv(place: &Workplace, day: ServiceDate) -> Result<String, ExportError> {
    let closed = place.store.closed_day(day)?;
    closed.ok_or(CloseError::Open(day))?;
    let mut text =
        "day,validator,epoch,entry,tapped at,role,place,route,tariff,currency,paid\n".to_owned();
    for tap in place.store.day_taps(day, place.rules.currency())? {
        let tariff = place.rules.tariffs().get(tap.tariff);
        let place_id = tariff.and_then(|tariff| tariff.place(tap.place));
        let place_id = place_id.map_or_else(String::new, |place| place.id.to_string());
        let route = tap.route.and_then(|ix| tariff?.route(ix).map(|route| route.id.to_string()));
        let TapFacts { tap: number, tapped_at, role, paid, .. } = tap;
        let role = match role {
            TapRole::Board => "board",
            TapRole::Entry => "entry",
            TapRole::Exit => "exit",
        };
        let _ = writeln!(
            text,
            "{day},{},{},{},{},{role},{},{},{},{},{}",
            number.validator,
            number.epoch,
            number.seq,
            instant(Timestamp(tapped_at.0 / COARSE_MS * COARSE_MS)),
            quoted(&place_id),
            quoted(&route.unwrap_or_default()),
            tap.tariff,
            paid.currency().letters(),
            paid.decimal(),
        );
    }
    Ok(text)
}

/// The transfers of a closed day as CSV, with the names of the plain-text journal.
pub fn transfers_csv(place: &Workplace, day: ServiceDate) -> Result<String, ExportError> {
    let closed = place.store.closed_day(day)?.ok_or(CloseError::Open(day))?;
    let names = AccountNames::new(&place.store);
    let mut text =
        "day,transfer,kind,cause,service day,booked at,debit,credit,currency,amount\n".to_owned();
    place.store.closed_transfers(&closed, |of| {
        let kind = match of.kind {
            Kind::Direct => "direct",
            Kind::Pending => "pending",
            Kind::Post(_) => "post",
            Kind::Void(_) => "void",
        };
        let cause = CauseCode::from_number(of.cause.code);
        let _ = writeln!(
            text,
            "{day},{},{kind},{},{},{},{},{},{},{}",
            of.id,
            cause.map_or("unknown", CauseCode::word),
            place.rules.service_day(of.event_at, of.booked_at),
            instant(of.booked_at),
            names.name(&of.debit),
            names.name(&of.credit),
            of.currency.letters(),
            Money::new(of.amount, of.currency).decimal(),
        );
    })?;
    Ok(text)
}

/// A field, quoted where CSV needs it.
pub fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

/// Why an export ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The day is not closed.
    #[error(transparent)]
    Day(#[from] CloseError),
    /// The books.
    #[error("the books could not be read")]
    Store(#[from] StoreError),
    /// Whoever reads it went away, or the disk is full.
    #[error("the export could not be written")]
    Write(#[from] std::io::Error),
}
