//! What all the card's machines want of the hand that holds the card to the reader.
//!
//! The machines of `shared/card` differ in how they end. Up to there each wants commands sent and
//! keys looked up, and [`super::Hand`] does that in one place.

use card::{
    CardOutput, Duty, ExchangeError, InspectTransaction, IssueTransaction, Key, KeyRole,
    KeyVersion, RekeyOutput, RekeyTransaction, ValueTransaction,
};

/// What a machine wants next.
pub(super) enum Wants<End> {
    /// Send this and hand on the answer.
    Transmit(Vec<u8>),
    /// This version's key of the card, if it is held.
    Key { role: KeyRole, version: KeyVersion },
    /// A decision, or nothing any more.
    End(End),
}

/// A machine that a hand can run.
pub(super) trait Machine {
    /// How it ends.
    type End;

    /// What is next; `None` when it was run out of turn.
    fn wants(&mut self) -> Option<Wants<Self::End>>;

    /// The card's answer.
    fn answered(&mut self, response: Result<&[u8], ExchangeError>);

    /// The key that was asked for, and 16 random bytes.
    fn key(&mut self, key: Option<Key>, rnd_a: [u8; 16]);
}

impl From<CardOutput> for Wants<CardOutput> {
    fn from(output: CardOutput) -> Self {
        match output {
            CardOutput::Transmit(apdu) => Self::Transmit(apdu),
            CardOutput::NeedKey { role, version } => Self::Key { role, version },
            end @ (CardOutput::Found(_) | CardOutput::ReadyToCommit | CardOutput::Settled(_)) => {
                Self::End(end)
            }
        }
    }
}

impl<D: Duty> Machine for ValueTransaction<D> {
    type End = CardOutput;

    fn wants(&mut self) -> Option<Wants<CardOutput>> {
        self.poll().map(Into::into)
    }

    fn answered(&mut self, response: Result<&[u8], ExchangeError>) {
        self.handle_response(response);
    }

    fn key(&mut self, key: Option<Key>, rnd_a: [u8; 16]) {
        self.handle_key(key, rnd_a);
    }
}

impl Machine for InspectTransaction {
    type End = CardOutput;

    fn wants(&mut self) -> Option<Wants<CardOutput>> {
        self.poll().map(Into::into)
    }

    fn answered(&mut self, response: Result<&[u8], ExchangeError>) {
        self.handle_response(response);
    }

    fn key(&mut self, key: Option<Key>, rnd_a: [u8; 16]) {
        self.handle_key(key, rnd_a);
    }
}

impl Machine for IssueTransaction {
    type End = CardOutput;

    fn wants(&mut self) -> Option<Wants<CardOutput>> {
        self.poll().map(Into::into)
    }

    fn answered(&mut self, response: Result<&[u8], ExchangeError>) {
        self.handle_response(response);
    }

    /// It has all its keys from the beginning.
    fn key(&mut self, _: Option<Key>, _: [u8; 16]) {}
}

impl Machine for RekeyTransaction {
    type End = RekeyOutput;

    fn wants(&mut self) -> Option<Wants<RekeyOutput>> {
        self.poll().map(|output| match output {
            RekeyOutput::Transmit(apdu) => Wants::Transmit(apdu),
            RekeyOutput::NeedKey { role, version } => Wants::Key { role, version },
            end @ (RekeyOutput::Done(_) | RekeyOutput::Stopped(_)) => Wants::End(end),
        })
    }

    fn answered(&mut self, response: Result<&[u8], ExchangeError>) {
        self.handle_response(response);
    }

    fn key(&mut self, key: Option<Key>, rnd_a: [u8; 16]) {
        self.handle_key(key, rnd_a);
    }
}
