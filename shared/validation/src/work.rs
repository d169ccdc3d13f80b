//! The card transaction under way: the tap's own, or a load order's before it.

use card::{CardOutput, CardStep, DebitTransaction, ExchangeError, Key, LoadTransaction};
use model::LoadOrder;

#[derive(Debug)]
pub(crate) enum Work {
    Tap(DebitTransaction),
    Order(LoadOrder, LoadTransaction),
}

impl Work {
    pub(crate) fn poll(&mut self) -> Option<CardOutput> {
        match self {
            Self::Tap(card) => card.poll(),
            Self::Order(_, card) => card.poll(),
        }
    }

    pub(crate) fn step(&self) -> CardStep {
        match self {
            Self::Tap(card) => card.step(),
            Self::Order(_, card) => card.step(),
        }
    }

    pub(crate) fn handle_response(&mut self, response: Result<&[u8], ExchangeError>) {
        match self {
            Self::Tap(card) => card.handle_response(response),
            Self::Order(_, card) => card.handle_response(response),
        }
    }

    pub(crate) fn handle_key(&mut self, key: Option<Key>, rnd_a: [u8; 16]) {
        match self {
            Self::Tap(card) => card.handle_key(key, rnd_a),
            Self::Order(_, card) => card.handle_key(key, rnd_a),
        }
    }

    pub(crate) fn commit(&mut self) {
        match self {
            Self::Tap(card) => card.commit(),
            Self::Order(_, card) => card.commit(),
        }
    }
}
