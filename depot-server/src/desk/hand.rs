//! The hand that holds a card to a reader: waiting for it, and running the card's machines on it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use card::{
    CardFailure, CardKeys, CardOutput, CardReport, CardStep, Duty, InspectTransaction,
    IssueTransaction, Settlement, ValueTransaction,
};
use model::CardId;
use reader::{CardTransport, FileCard, Presence, Reader};
use tokio::time::timeout;

use super::{DeskError, ReaderName};

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
        loop {
            match machine.poll() {
                Some(CardOutput::Transmit(apdu)) => {
                    let response = self.reader.exchange(&apdu).await;
                    machine.handle_response(response.as_deref().map_err(Clone::clone));
                }
                Some(CardOutput::NeedKey { role, version }) => {
                    let key = keys.card_key(role, version, &machine.uid()).ok();
                    machine.handle_key(key, random()?);
                }
                Some(
                    output @ (CardOutput::Found(_)
                    | CardOutput::ReadyToCommit
                    | CardOutput::Settled(_)),
                ) => return Ok(output),
                None => return Ok(CardOutput::Settled(out_of_turn())),
            }
        }
    }

    /// Issues.
    pub(super) async fn issue(&mut self, machine: &mut IssueTransaction) -> Settlement {
        loop {
            match machine.poll() {
                Some(CardOutput::Transmit(apdu)) => {
                    let response = self.reader.exchange(&apdu).await;
                    machine.handle_response(response.as_deref().map_err(Clone::clone));
                }
                Some(CardOutput::Settled(settlement)) => return settlement,
                Some(
                    CardOutput::NeedKey { .. } | CardOutput::Found(_) | CardOutput::ReadyToCommit,
                )
                | None => return out_of_turn(),
            }
        }
    }

    /// Reads everything that the debit key opens. Changes nothing.
    pub async fn inspect(
        &mut self,
        card: CardId,
        keys: &dyn CardKeys,
    ) -> Result<CardReport, DeskError> {
        let mut machine = InspectTransaction::new(card, keys.debit_key(&card)?, random()?);
        loop {
            match machine.poll() {
                Some(CardOutput::Transmit(apdu)) => {
                    let response = self.reader.exchange(&apdu).await;
                    machine.handle_response(response.as_deref().map_err(Clone::clone));
                }
                Some(CardOutput::NeedKey { role, version }) => {
                    machine.handle_key(keys.card_key(role, version, &card).ok(), random()?);
                }
                Some(CardOutput::Settled(Settlement::Refused(failure))) => {
                    return Err(DeskError::Card(failure));
                }
                Some(CardOutput::Settled(_) | CardOutput::Found(_) | CardOutput::ReadyToCommit)
                | None => return Ok(machine.into_report()),
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
