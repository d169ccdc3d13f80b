//! What can be done at a desk. Each operation: settle what is open on the card, check it against
//! the books, keep the intent, let the card commit, book the outcome.

use std::{sync::Arc, time::Duration};

use card::{
    CardFailure, CardFound, CardKeys, CardOutput, CardStep, ExchangeError, IssueTransaction,
    LoadTransaction, Opening, RetireTransaction, Settlement, ValueTransaction, load_record,
    retire_record,
};
use clearing::{CardState, DeskDeed, DeskEntry, Rules, Taken};
use model::{
    CardId, CardLayout, CardRecord, Currency, IssuerId, Money, RecordKind, RiderClass, StationId,
    ValidUntil,
};

use super::{Cash, DeskError, Hand, gate::may_take, hand::random};
use crate::{
    claims::is_over,
    clock::Clock,
    store::{Begun, Store},
};

pub(super) const HOLD: &str = "hold the card to the reader, and keep it there";
pub(super) const AGAIN: &str = "the card left too early: hold the same card to the reader again";

/// A desk with everything it works with.
pub struct Station {
    /// Its number.
    pub id: StationId,
    /// The books.
    pub store: Arc<Store>,
    /// Tariffs: currency and version.
    pub rules: Arc<Rules>,
    /// All four kinds of card keys.
    pub keys: Arc<dyn CardKeys + Send + Sync>,
    /// The time.
    pub clock: Clock,
    /// What the profile names as issuer.
    pub issuer: u16,
    /// Who that is in the books: `None` for the issuer that they began with (ADR-0023).
    pub issuer_id: Option<IssuerId>,
    /// What a card may hold at most, in the tariff's currency.
    pub balance_max: Option<Money>,
    /// How long the value of a lost card waits (REC-9).
    pub hold: Duration,
}

/// How a card is to be issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WantedIssue {
    /// Opening value paid in cash, minor units.
    pub balance: u32,
    /// Rider category.
    pub class: RiderClass,
    /// End of validity.
    pub valid_until: ValidUntil,
    /// How far it may go below zero, minor units.
    pub negative_limit: u32,
    /// Deposit, minor units.
    pub deposit: u32,
    /// Whether it can count towards fare caps.
    pub counters: bool,
    /// The currency of all these amounts and of the card's value for its life, when it is not the
    /// tariff's: see [`Station::purse_for`].
    pub purse: Option<Currency>,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoneKind {
    /// Issued.
    Issued,
    /// Issued in place of another card.
    IssuedInPlace,
    /// Loaded.
    Loaded,
    /// Retired; where the value went.
    Retired(Taken),
}

/// A finished operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// Its number.
    pub op: u64,
    /// On which card.
    pub card: CardId,
    /// What.
    pub kind: DoneKind,
    /// The amount moved.
    pub amount: Money,
    /// So much of a load was owed to the holder; the rest is cash.
    pub adjusted: Money,
    /// What the card holds now.
    pub balance: Money,
    /// It was begun by an earlier command and found to have happened.
    pub begun_before: bool,
}

impl Station {
    /// Issues the card on the reader; with `in_place_of`, with the value due for that card.
    pub async fn issue(
        &self,
        hand: &mut Hand,
        wanted: &WantedIssue,
        in_place_of: Option<CardId>,
    ) -> Result<Done, DeskError> {
        let card = hand.card(HOLD, None).await?;
        let same = |entry: &DeskEntry| {
            matches!(entry.deed, DeskDeed::Issued { record, in_place_of: other, .. }
                if other == in_place_of && (other.is_some() || record.amount == wanted.balance))
        };
        if let Some(done) = self.settle_first(hand, card, same).await? {
            return Ok(done);
        }
        // Of a card that validators only ever refused, the books know no value and no record.
        let known = self.store.card_state(card)?.map(|(state, _)| state);
        if let Some(state) = known.filter(|s| s.is_registered() || s.newest().is_some()) {
            return Err(self.known_already(hand, card, &state).await?);
        }
        let balance = match in_place_of {
            None => wanted.balance,
            Some(old) => {
                self.of_same_issuer(old)?;
                self.due_in_place_of(old, wanted.purse)?
            }
        };
        let layout = match (wanted.purse, wanted.counters) {
            (Some(_), true) => CardLayout::OtherCurrency,
            (Some(_), false) => return Err(DeskError::NoCounters),
            (None, true) => CardLayout::Counters,
            (None, false) => CardLayout::Plain,
        };
        self.check_max(wanted.purse, i64::from(balance))?;
        let opening = Opening {
            issuer: self.issuer,
            currency: letters(self.currency(wanted.purse)),
            class: wanted.class,
            valid_until: wanted.valid_until,
            balance,
            negative_limit: wanted.negative_limit,
            deposit: wanted.deposit,
            at_s: self.now_s(),
            tariff: self.rules.tariffs().newest().version(),
            products: None,
            layout,
        };
        let rnd_a = [random()?, random()?, random()?];
        let mut machine =
            IssueTransaction::new(card, &*self.keys, &opening, rnd_a).map_err(DeskError::Issue)?;
        let record = opening.record();
        let entry = self.begin(
            card,
            wanted.purse,
            DeskDeed::Issued { record, in_place_of, issuer: self.issuer_id },
        )?;
        let settlement = hand.issue(&mut machine, card, &*self.keys).await?;
        if settlement == Settlement::Refused(CardFailure::AlreadyIssued) {
            self.store.void_op(entry.op, "the card was issued before", self.clock.now())?;
            return Err(DeskError::IssuedElsewhere(card));
        }
        self.settle(hand, &entry, None, settlement).await
    }

    /// Loads the card on the reader with cash, or with none, and with what its holder is owed
    /// (ADR-0014).
    pub async fn load(
        &self,
        hand: &mut Hand,
        cash: impl Into<Cash<'_>>,
    ) -> Result<Done, DeskError> {
        let cash = cash.into();
        let card = hand.card(HOLD, None).await?;
        let same = |entry: &DeskEntry| match &entry.deed {
            DeskDeed::Loaded { after, adjusted, .. } => {
                let wanted = cash.in_purse(card, self.currency(entry.purse));
                wanted.is_ok_and(|cash| after.amount - adjusted == cash)
            }
            DeskDeed::Issued { .. } | DeskDeed::Retired { .. } => false,
        };
        if let Some(done) = self.settle_first(hand, card, same).await? {
            return Ok(done);
        }
        let key = self.keys.current_key(card::KeyRole::Load, &card)?;
        let mut machine = LoadTransaction::new(card, key, random()?);
        let found = self.find(hand, &mut machine).await?;
        let before = found.record;
        let checked = self.loadable(card, &found).and_then(|state| {
            let cash = cash.in_purse(card, self.currency(found.purse))?;
            let adjusted = self.adjustment(&state, &found, cash, card)?;
            let after = load_record(&before, cash + adjusted, self.now_s())?;
            self.check_max(found.purse, i64::from(after.balance))?;
            Ok((after, adjusted))
        });
        let (after, adjusted) = match checked {
            Ok(checked) => checked,
            Err(error) => {
                machine.release();
                return Err(error);
            }
        };
        let deed = DeskDeed::Loaded { before, after, adjusted };
        self.commit(hand, machine, found, after, deed).await
    }

    /// Takes the card on the reader out of use, with the value that is left on it.
    pub async fn retire(
        &self,
        hand: &mut Hand,
        value: Taken,
        despite_journey: bool,
    ) -> Result<Done, DeskError> {
        let card = hand.card(HOLD, None).await?;
        let same = |entry: &DeskEntry| matches!(entry.deed, DeskDeed::Retired { .. });
        if let Some(done) = self.settle_first(hand, card, same).await? {
            return Ok(done);
        }
        // What is left on a card that another stands in place of belongs to the issuer.
        // So does what was not claimed in time after its end.
        let replaced = self.store.op_in_place_of(card)?.is_some()
            || is_over(&self.store, self.rules.currency(), card)?;
        let value = if replaced { Taken::ForAnotherCard } else { value };
        let mut machine = RetireTransaction::new(card, self.keys.debit_key(&card)?, random()?);
        let found = self.find(hand, &mut machine).await?;
        let before = found.record;
        let checked = self.retirable(card, &found, value, replaced, despite_journey);
        let after = match checked.and_then(|()| Ok(retire_record(&before, self.now_s())?)) {
            Ok(after) => after,
            Err(error) => {
                machine.release();
                return Err(error);
            }
        };
        self.commit(hand, machine, found, after, DeskDeed::Retired { before, after, value }).await
    }

    async fn find<D: card::Duty>(
        &self,
        hand: &mut Hand,
        machine: &mut ValueTransaction<D>,
    ) -> Result<CardFound, DeskError> {
        match hand.run(machine, &*self.keys).await? {
            CardOutput::Found(found) => Ok(found),
            CardOutput::Settled(Settlement::Refused(failure)) => Err(DeskError::Card(failure)),
            CardOutput::Transmit(_)
            | CardOutput::NeedKey { .. }
            | CardOutput::ReadyToCommit
            | CardOutput::Settled(_) => {
                Err(DeskError::Card(CardFailure::Malformed(CardStep::Read)))
            }
        }
    }

    /// Writes, keeps the intent, commits, books.
    async fn commit<D: card::Duty>(
        &self,
        hand: &mut Hand,
        mut machine: ValueTransaction<D>,
        found: CardFound,
        after: CardRecord,
        deed: DeskDeed,
    ) -> Result<Done, DeskError> {
        let card = machine.uid();
        if machine.write(&after).is_err() {
            machine.release();
            return Err(DeskError::Card(CardFailure::Malformed(CardStep::Write)));
        }
        match hand.run(&mut machine, &*self.keys).await? {
            CardOutput::ReadyToCommit => {}
            CardOutput::Settled(Settlement::Refused(failure)) => {
                return Err(DeskError::Card(failure));
            }
            CardOutput::Transmit(_)
            | CardOutput::NeedKey { .. }
            | CardOutput::Found(_)
            | CardOutput::Settled(_) => {
                return Err(DeskError::Card(CardFailure::Malformed(CardStep::Write)));
            }
        }
        let entry = match self.begin(card, found.purse, deed) {
            Ok(entry) => entry,
            Err(error) => {
                machine.release();
                return Err(error);
            }
        };
        machine.commit();
        let settlement = match hand.run(&mut machine, &*self.keys).await? {
            CardOutput::Settled(settlement) => settlement,
            CardOutput::Transmit(_)
            | CardOutput::NeedKey { .. }
            | CardOutput::Found(_)
            | CardOutput::ReadyToCommit => Settlement::InDoubt,
        };
        self.settle(hand, &entry, found.products, settlement).await
    }

    /// Makes the intent durable, within the quota.
    fn begin(
        &self,
        card: CardId,
        purse: Option<Currency>,
        deed: DeskDeed,
    ) -> Result<DeskEntry, DeskError> {
        let entry = DeskEntry { op: 0, station: self.id, card, purse, deed };
        match self.store.begin_op(&entry, self.clock.now())? {
            Begun::Yes(op) => Ok(DeskEntry { op, ..entry }),
            Begun::NotOwed => Err(DeskError::OwedChanged(card)),
            Begun::OverQuota(quota) => Err(DeskError::OverQuota {
                station: self.id,
                wanted: self.money_in(purse, i64::from(entry.written().amount)),
                left: self.money_in(purse, quota.left()),
            }),
        }
    }

    /// Writes down what became of it. In doubt, the card is asked for once more.
    async fn settle(
        &self,
        hand: &mut Hand,
        entry: &DeskEntry,
        products: Option<model::ProductsFound>,
        settlement: Settlement,
    ) -> Result<Done, DeskError> {
        let card = entry.card;
        match settlement {
            Settlement::Committed { ctr, proof } => {
                if ctr != entry.written().ctr {
                    return Err(DeskError::Proof(entry.op));
                }
                self.check_proof(entry, products, proof)?;
                self.book(entry, "the card answered", Some(proof))?;
                self.tell(entry, false)
            }
            Settlement::Refused(failure) => {
                self.store.void_op(entry.op, "the card did not do it", self.clock.now())?;
                Err(DeskError::Card(failure))
            }
            Settlement::InDoubt | Settlement::ProofRead { .. } | Settlement::Released => {
                let in_doubt = DeskError::InDoubt { op: entry.op, card };
                if hand.card(AGAIN, Some(card)).await.is_err() {
                    return Err(in_doubt);
                }
                let decided = match self.resolve(hand, card).await {
                    Ok(decided) => decided,
                    Err(DeskError::Card(CardFailure::Link { .. })) => return Err(in_doubt),
                    Err(error) => return Err(error),
                };
                let here = decided.iter().find(|(other, _)| other.op == entry.op);
                let happened = match here {
                    Some((_, happened)) => Some(*happened),
                    // The intake was first: it had a tap of the card.
                    None => self.store.op(entry.op)?.and_then(|op| op.happened),
                };
                match happened {
                    Some(true) => self.tell(entry, false),
                    Some(false) => Err(DeskError::Card(CardFailure::Link {
                        step: CardStep::Commit,
                        error: ExchangeError::Absent,
                    })),
                    None => Err(in_doubt),
                }
            }
        }
    }

    fn loadable(&self, card: CardId, found: &CardFound) -> Result<CardState, DeskError> {
        if found.record.kind == RecordKind::Retire {
            return Err(DeskError::Retired(card));
        }
        let state = self.known(card, found)?;
        if self.store.op_in_place_of(card)?.is_some() {
            return Err(DeskError::Replaced(card));
        }
        Ok(state)
    }

    fn retirable(
        &self,
        card: CardId,
        found: &CardFound,
        value: Taken,
        replaced: bool,
        despite_journey: bool,
    ) -> Result<(), DeskError> {
        let before = &found.record;
        if before.kind == RecordKind::Retire {
            return Err(DeskError::Retired(card));
        }
        let open = before.kind.is_in_journey();
        if open && !despite_journey {
            return Err(DeskError::JourneyOpen(card));
        }
        let state = self.known(card, found)?;
        if value == Taken::Held || replaced {
            return Ok(());
        }
        if state.newest().is_none_or(|newest| newest.record.ctr < before.ctr) {
            return Err(DeskError::Ahead(card));
        }
        may_take(&self.store, self.rules.currency(), card, &state, value)
    }

    /// The books know the card, and are not ahead of it.
    fn known(&self, card: CardId, found: &CardFound) -> Result<CardState, DeskError> {
        let before = &found.record;
        let state = self.store.card_state(card)?.map(|(state, _)| state);
        let state = state.filter(CardState::is_registered).ok_or(DeskError::Unknown(card))?;
        let newest = state.newest().map(|known| known.record);
        if newest.is_some_and(|n| n.ctr > before.ctr || n.ctr == before.ctr && n != *before) {
            return Err(DeskError::Behind(card));
        }
        self.check_purse(card, &state, found)?;
        Ok(state)
    }

    /// A card to be issued is in the books: is it whole, or are its contents gone?
    async fn known_already(
        &self,
        hand: &mut Hand,
        card: CardId,
        state: &CardState,
    ) -> Result<DeskError, DeskError> {
        let balance = self.money_in(state.purse(), state.shadow().unwrap_or_default());
        let report = hand.inspect(card, &*self.keys).await?;
        let whole = report
            .application
            .and_then(|app| app.contents)
            .is_some_and(|contents| contents.is_ok_and(|contents| contents.newest().is_some()));
        Ok(if whole {
            DeskError::Issued { card, balance }
        } else {
            DeskError::LostContents { card, balance }
        })
    }

    pub(super) fn done(&self, entry: &DeskEntry, begun_before: bool) -> Done {
        let written = entry.written();
        let kind = match entry.deed {
            DeskDeed::Issued { in_place_of: None, .. } => DoneKind::Issued,
            DeskDeed::Issued { in_place_of: Some(_), .. } => DoneKind::IssuedInPlace,
            DeskDeed::Loaded { .. } => DoneKind::Loaded,
            DeskDeed::Retired { value, .. } => DoneKind::Retired(value),
        };
        let adjusted = match entry.deed {
            DeskDeed::Loaded { adjusted, .. } => i64::from(adjusted),
            DeskDeed::Issued { .. } | DeskDeed::Retired { .. } => 0,
        };
        Done {
            op: entry.op,
            card: entry.card,
            kind,
            amount: self.money_in(entry.purse, i64::from(written.amount)),
            adjusted: self.money_in(entry.purse, adjusted),
            balance: self.money_in(entry.purse, i64::from(written.balance)),
            begun_before,
        }
    }

    /// An amount in the tariff's currency.
    pub fn money(&self, minor: i64) -> Money {
        Money::new(minor, self.rules.currency())
    }

    fn now_s(&self) -> u32 {
        u32::try_from(self.clock.now().secs()).unwrap_or(u32::MAX)
    }
}

fn letters(currency: Currency) -> [u8; 3] {
    currency.letters().as_bytes().try_into().expect("ISO 4217 codes have three letters")
}

pub(super) fn word(deed: &DeskDeed) -> &'static str {
    match deed {
        DeskDeed::Issued { .. } => "an issue",
        DeskDeed::Loaded { .. } => "a load",
        DeskDeed::Retired { .. } => "a retirement",
    }
}
