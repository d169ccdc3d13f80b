//! Corrections by people: what nothing else decides about money (ADR-0023).
//!
//! Invariants: an item that is closed is not decided again, and an amount that is not the item's is
//! refused; above a limit two people decide (OPS-2); what is decided is a row of a hash-chained
//! journal with who and why, in the commit that books it; nothing that was booked is changed.

use clearing::{Account, ExceptionKind, Priced};
use model::{CardId, Ctr, Currency, Money, OperatorId, TapEvent};

use crate::{
    config::to_hex,
    intake::{
        IntakeError, Workplace,
        office::{OfficeEvent, Who},
        settle_due,
        step::book_office,
        stored::Stored as _,
    },
    store::{Group, StoreError, WorkItem},
};

/// What a person wants done about a work item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Pay back what was charged: it is owed, and reaches the card with its next load.
    Repay(String),
    /// Give up what stands in suspense, under this number.
    WriteOff(String, u16),
    /// Take back what was given up.
    TakeBack(String, u16),
    /// Nothing is to be done about money.
    Close,
    /// Somebody looks after it.
    Assign(String),
}

/// Why a correction is not booked. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum CorrectionError {
    /// No such item.
    #[error("there is no work item {0}: its number stands on the page of exceptions")]
    Unknown(u64),
    /// It has ended.
    #[error("work item {item} is closed: {reason}")]
    Closed {
        /// Which.
        item: u64,
        /// By what.
        reason: String,
    },
    /// Another amount than the item's.
    #[error("work item {item} is about {amount}, and not about {said}")]
    OtherAmount {
        /// Which.
        item: u64,
        /// What it is about.
        amount: Money,
        /// What was said.
        said: String,
    },
    /// Not of a kind that money can be paid back for.
    #[error("work item {item} ({kind}) names no money that was charged too much: close it instead")]
    NothingToRepay {
        /// Which.
        item: u64,
        /// Its kind.
        kind: &'static str,
    },
    /// Not of a kind with an amount in suspense.
    #[error("work item {item} ({kind}) has no amount in suspense: close it instead")]
    NothingInSuspense {
        /// Which.
        item: u64,
        /// Its kind.
        kind: &'static str,
    },
    /// Only one person.
    #[error("{amount} need a second person: say --agreed-by, who is not {by}")]
    SecondPerson {
        /// How much.
        amount: Money,
        /// Who decides.
        by: String,
    },
    /// Nobody, or no reason.
    #[error("--by and --reason must say something")]
    Nobody,
    /// No such operator.
    #[error("{0:?} is no operator of the newest tariff")]
    Operator(String),
    /// The record is somebody's, is no ride, or is not known.
    #[error("record {ctr} of card {card} is no ride that nobody could attribute")]
    NotUnattributed {
        /// Whose.
        card: CardId,
        /// Which.
        ctr: Ctr,
    },
    /// The books.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The booking.
    #[error(transparent)]
    Intake(#[from] IntakeError),
}

/// Decides about a work item. `above` is the amount above which two people do.
pub fn decide(
    place: &Workplace,
    above: &str,
    number: u64,
    decision: &Decision,
    who: Who,
) -> Result<String, CorrectionError> {
    named(&who)?;
    let group = place.store.begin()?;
    let item = group.work_item(number)?.ok_or(CorrectionError::Unknown(number))?;
    let takes_back = matches!(decision, Decision::TakeBack(..) | Decision::Assign(_));
    if let Some(reason) = item.closed.clone().filter(|_| !takes_back) {
        return Err(CorrectionError::Closed { item: number, reason });
    }
    let desk = Desk { place, group: &group, above, number, item: &item };
    let (event, said) = desk.event(decision, who)?;
    commit(place, group, &event)?;
    Ok(said)
}

/// Says whose revenue the record of a card is.
pub fn attribute(
    place: &Workplace,
    above: &str,
    (card, ctr): (CardId, Ctr),
    operator: &str,
    who: Who,
) -> Result<Money, CorrectionError> {
    named(&who)?;
    let operators = place.rules.tariffs().newest().operators();
    let at = operators.iter().position(|known| known.id.as_str() == operator);
    let at = at.and_then(|at| u16::try_from(at).ok());
    let at = at.ok_or_else(|| CorrectionError::Operator(operator.to_owned()))?;
    let not = CorrectionError::NotUnattributed { card, ctr };
    let group = place.store.begin()?;
    let known = clearing::Known::record(&group, card, ctr)?;
    let Some(known) = known.filter(|known| known.operator.is_none()) else { return Err(not) };
    let state = group.card(card)?.unwrap_or_default();
    let currency = state.currency(place.rules.currency());
    let amount = Money::new(i64::from(known.record.amount), currency);
    two_people(above, amount, &who)?;
    let number = group.next_decision()?;
    let event = OfficeEvent::Attributed { number, card: card.0, ctr: ctr.0, operator: at, who };
    let operator = OperatorId(at);
    if !commit(place, group, &event)? {
        return Err(not);
    }
    tracing::info!(%card, %ctr, %operator, %amount, "revenue is attributed by a person");
    Ok(amount)
}

/// Books a decision; answers whether it changed anything.
fn commit(
    place: &Workplace,
    group: Group<'_>,
    event: &OfficeEvent,
) -> Result<bool, CorrectionError> {
    let events = std::slice::from_ref(event);
    let booking = book_office(&group, &place.rules, events, place.clock.now());
    let booking = booking.map_err(IntakeError::from)?;
    let changes = !booking.office.is_empty();
    group.commit(&booking)?;
    // What is owed is worked out in a commit of its own (ADR-0014).
    while !booking.grants.is_empty() && settle_due(place)? {}
    Ok(changes)
}

fn named(who: &Who) -> Result<(), CorrectionError> {
    let says = |text: &str| !text.trim().is_empty();
    let all = says(&who.by) && says(&who.reason) && who.agreed_by.as_deref().is_none_or(says);
    if all { Ok(()) } else { Err(CorrectionError::Nobody) }
}

/// Above the limit two people decide about money (OPS-2); in a currency in which the limit cannot
/// be written, always.
fn two_people(above: &str, amount: Money, who: &Who) -> Result<(), CorrectionError> {
    let limit = Money::parse(above, amount.currency()).map_or(0, Money::minor);
    let by = who.by.trim().to_lowercase();
    let agreed = who.agreed_by.as_ref().map(|agreed| agreed.trim().to_lowercase());
    let needs = amount.minor().abs() > limit;
    match agreed {
        Some(agreed) if agreed == by => {}
        None if needs => {}
        Some(_) | None => return Ok(()),
    }
    Err(CorrectionError::SecondPerson { amount, by: who.by.clone() })
}

/// One decision about one item.
struct Desk<'a> {
    place: &'a Workplace,
    group: &'a Group<'a>,
    above: &'a str,
    number: u64,
    item: &'a WorkItem,
}

impl Desk<'_> {
    fn event(
        &self,
        decision: &Decision,
        who: Who,
    ) -> Result<(OfficeEvent, String), CorrectionError> {
        let number = self.group.next_decision()?;
        let item = to_hex(&self.item.id.0);
        let id = self.number;
        Ok(match decision {
            Decision::Repay(said) => {
                let (card, amount) = self.to_repay()?;
                self.same(amount, said)?;
                two_people(self.above, amount, &who)?;
                let at = self.item.opened_at;
                let day = self.place.rules.service_day(at, at).0;
                let amount_minor = amount.minor();
                let event = OfficeEvent::Repaid {
                    number,
                    item,
                    card: card.0,
                    day,
                    amount: amount_minor,
                    who,
                };
                (
                    event,
                    format!("{amount} are owed to card {card}: they reach it with its next load"),
                )
            }
            Decision::WriteOff(said, to) | Decision::TakeBack(said, to) => {
                let (account, stands) = self.in_suspense()?;
                let takes_back = matches!(decision, Decision::TakeBack(..));
                // What is taken back stood there before, and need not be what stands there now.
                let amount = if takes_back { self.given_up(*to)? } else { stands };
                let shown = Money::new(amount.minor().abs(), amount.currency());
                self.same(shown, said)?;
                two_people(self.above, shown, &who)?;
                let minor = if takes_back { -amount.minor() } else { amount.minor() };
                let account = to_hex(&account.id(amount.currency()).to_bytes());
                let event =
                    OfficeEvent::WrittenOff { number, item, account, amount: minor, to: *to, who };
                let done = if takes_back { "taken back from" } else { "written off under" };
                (event, format!("{shown} of work item {id} {done} {to}"))
            }
            Decision::Close => {
                let event = OfficeEvent::Closed { number, item, who };
                (event, format!("work item {id} is closed"))
            }
            Decision::Assign(owner) => {
                let said = format!("work item {id} is {owner}'s");
                (OfficeEvent::Assigned { number, item, owner: owner.clone(), who }, said)
            }
        })
    }

    fn same(&self, amount: Money, said: &str) -> Result<(), CorrectionError> {
        if Money::parse(said, amount.currency()).is_ok_and(|said| said == amount) {
            return Ok(());
        }
        let said = said.to_owned();
        Err(CorrectionError::OtherAmount { item: self.number, amount, said })
    }

    fn currency(&self) -> Currency {
        self.item.currency.unwrap_or_else(|| self.place.rules.currency())
    }

    /// Whom to repay, and how much: what the item says, where it says that too much was charged.
    fn to_repay(&self) -> Result<(CardId, Money), CorrectionError> {
        let kind = self.item.kind;
        let nothing = || CorrectionError::NothingToRepay { item: self.number, kind: kind.word() };
        let (Some(card), Some(amount)) = (self.item.card, self.item.amount) else {
            return Err(nothing());
        };
        let too_much = match (kind, self.item.ctr) {
            (ExceptionKind::ChargedWithoutPassage, _) => true,
            (ExceptionKind::FareMismatch, Some(ctr)) => self.charged_too_much(card, ctr)?,
            _ => false,
        };
        if amount == 0 || !too_much {
            return Err(nothing());
        }
        Ok((card, Money::new(amount, self.currency())))
    }

    /// A fare mismatch says how far apart charge and fare are, and not which is above.
    fn charged_too_much(&self, card: CardId, ctr: Ctr) -> Result<bool, CorrectionError> {
        let taps = clearing::Known::transactions(self.group, card, ctr)?;
        Ok(taps.iter().any(|tap| {
            let TapEvent::Committed { transaction, .. } = &tap.event else { return false };
            match self.place.rules.price(transaction, tap.route) {
                Priced::Quote(quote) => i64::from(transaction.after.amount) > quote.debit.minor(),
                Priced::Refused(_) => true,
                Priced::NotAFare => false,
            }
        }))
    }

    /// The account behind the item, and what stands on it.
    fn in_suspense(&self) -> Result<(Account, Money), CorrectionError> {
        let (item, kind) = (self.number, self.item.kind.word());
        let nothing = || CorrectionError::NothingInSuspense { item, kind };
        let card = self.item.card.ok_or_else(nothing)?;
        let state = self.group.card(card)?.unwrap_or_default();
        let currency = state.currency(self.place.rules.currency());
        let known = state.suspense_of(card, self.item.id);
        let account = known.or(self.written_off()?).ok_or_else(nothing)?;
        let stands = self.group.balance(&account.id(currency))?.posted();
        Ok((account, Money::new(stands, currency)))
    }

    /// The account that an earlier decision about the item took something off.
    fn written_off(&self) -> Result<Option<Account>, CorrectionError> {
        let journal = self.place.store.office_journal()?;
        let of_item = journal.iter().filter(|row| row.event.item() == Some(self.item.id));
        Ok(of_item.filter_map(|row| row.event.write_off()).map(|off| off.account).next_back())
    }

    /// What was given up of the item under a number, and not taken back.
    fn given_up(&self, to: u16) -> Result<Money, CorrectionError> {
        let journal = self.place.store.office_journal()?;
        let of_item = journal.iter().filter(|row| row.event.item() == Some(self.item.id));
        let offs = of_item.filter_map(|row| row.event.write_off()).filter(|off| off.to == to);
        let mut sum = Money::new(0, self.currency());
        for off in offs {
            sum = Money::new(sum.minor() + off.amount, off.currency);
        }
        if sum.minor() == 0 {
            let (item, kind) = (self.number, self.item.kind.word());
            return Err(CorrectionError::NothingInSuspense { item, kind });
        }
        Ok(sum)
    }
}
