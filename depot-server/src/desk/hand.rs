//! The hand that holds a card to a reader: waiting for it, and running the card's machines on it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use card::{
    CardFailure, CardKeys, CardOutput, CardReport, CardStep, Duty, InspectTransaction,
    IssueTransaction, KeyError, RekeyOutput, RekeyTransaction, Settlement, ValueTransaction,
};
use model::CardId;
use reader::{CardTransport, FileCard, Presence, Reader};
use tokio::time::timeout;

use super::{
    DeskError, ReaderName,
    machine::{Machine, Wants},
};

/// A reader and how long to wait at it.
pub struct Hand {
    reader: Reader,
    patience: Duration,
    prompt: Box<dyn Fn(&str) + Send>,
}

impl Hand {
    /// Opens the reader. `prompt` tells the person at it what to do.
    pub async fn open(
        name: &ReaderName,
        patience: Duration,
        prompt: impl Fn(&str) + Send + 'static,
    ) -> Result<Self, DeskError> {
        let reader = match name {
            ReaderName::Real(config) => Reader::open(config).await?,
            ReaderName::File(path) => {
                let card = FileCard::open(path)
                    .map_err(|source| DeskError::CardFile { path: path.clone(), source })?;
                let (reader, field) = Reader::virtual_cards();
                field.place(Arc::new(Mutex::new(card)));
                reader
            }
        };
        Ok(Self::over(reader, patience, prompt))
    }

    /// A reader that is open already.
    pub fn over(
        reader: Reader,
        patience: Duration,
        prompt: impl Fn(&str) + Send + 'static,
    ) -> Self {
        Self { reader, patience, prompt: Box::new(prompt) }
    }

    /// Leaves the reader as the next program expects it.
    pub async fn close(mut self) {
        self.reader.release().await;
        self.reader.close().await;
    }

    /// Waits for one card; with `expected`, for that one.
    pub async fn card(
        &mut self,
        what: &str,
        expected: Option<CardId>,
    ) -> Result<CardId, DeskError> {
        self.reader.release().await;
        (self.prompt)(what);
        let waited = timeout(self.patience, self.reader.wait_card()).await;
        let presence = waited.map_err(|_| DeskError::NoCard(self.patience.as_secs()))?;
        match (presence?, expected) {
            (Presence::Several, _) => Err(DeskError::Several),
            (Presence::Foreign, _) => Err(DeskError::Foreign),
            (Presence::Card(found), Some(expected)) if found != expected => {
                Err(DeskError::OtherCard { expected, found })
            }
            (Presence::Card(card), _) => Ok(card),
        }
    }

    /// Runs a value transaction until it wants a decision or is over.
    pub(super) async fn run<D: Duty>(
        &mut self,
        machine: &mut ValueTransaction<D>,
        keys: &dyn CardKeys,
    ) -> Result<CardOutput, DeskError> {
        let card = machine.uid();
        let end = self.talk(machine, card, keys).await?;
        Ok(end.unwrap_or_else(|| CardOutput::Settled(out_of_turn())))
    }

    /// Issues.
    pub(super) async fn issue(
        &mut self,
        machine: &mut IssueTransaction,
        card: CardId,
        keys: &dyn CardKeys,
    ) -> Result<Settlement, DeskError> {
        match self.talk(machine, card, keys).await? {
            Some(CardOutput::Settled(settlement)) => Ok(settlement),
            Some(_) | None => Ok(out_of_turn()),
        }
    }

    /// Gives the card the current versions of its keys.
    pub(super) async fn rekey(
        &mut self,
        machine: &mut RekeyTransaction,
        keys: &dyn CardKeys,
    ) -> Result<RekeyOutput, DeskError> {
        let card = machine.uid();
        let end = self.talk(machine, card, keys).await?;
        Ok(end.unwrap_or(RekeyOutput::Stopped(CardFailure::Malformed(CardStep::Personalise))))
    }

    /// Reads everything that the debit key opens. Changes nothing.
    pub async fn inspect(
        &mut self,
        card: CardId,
        keys: &dyn CardKeys,
    ) -> Result<CardReport, DeskError> {
        let mut machine = InspectTransaction::new(card, keys.debit_key(&card)?, random()?);
        match self.talk(&mut machine, card, keys).await? {
            Some(CardOutput::Settled(Settlement::Refused(failure))) => {
                Err(DeskError::Card(failure))
            }
            Some(_) | None => Ok(machine.into_report()),
        }
    }

    /// Sends what a machine wants sent and looks up the keys that it wants, until it ends.
    async fn talk<M: Machine>(
        &mut self,
        machine: &mut M,
        card: CardId,
        keys: &dyn CardKeys,
    ) -> Result<Option<M::End>, DeskError> {
        loop {
            match machine.wants() {
                Some(Wants::Transmit(apdu)) => {
                    let response = self.reader.exchange(&apdu).await;
                    machine.answered(response.as_deref().map_err(Clone::clone));
                }
                Some(Wants::Key { role, version }) => {
                    let key = match keys.card_key(role, version, &card) {
                        // It may well be held: nobody can say.
                        Err(error @ KeyError::Module(_)) => return Err(error.into()),
                        key => key.ok(),
                    };
                    machine.key(key, random()?);
                }
                Some(Wants::End(end)) => return Ok(Some(end)),
                None => return Ok(None),
            }
        }
    }
}

fn out_of_turn() -> Settlement {
    Settlement::Refused(CardFailure::Malformed(CardStep::Personalise))
}

/// 16 random bytes.
pub(super) fn random() -> Result<[u8; 16], DeskError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(DeskError::Random)?;
    Ok(bytes)
}
