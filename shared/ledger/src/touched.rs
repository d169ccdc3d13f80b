//! Books in memory: the part that one batch touches, with a list of what changed.

use alloc::{collections::BTreeMap, vec::Vec};

use crate::{AccountId, Balance, Books, PendingState, Recorded, TransferId};

/// Balances and transfers in memory. A shell preloads what a batch needs, applies the batch and
/// writes [`Touched::take_changes`] back; tests and the simulator keep whole books in one.
#[derive(Debug, Clone, Default)]
pub struct Touched {
    /// With whether it changed since the last `take_changes`; the same for transfers.
    balances: BTreeMap<AccountId, (Balance, bool)>,
    /// Places in `journal`. Wide records would make the tree slow to grow.
    places: BTreeMap<TransferId, usize>,
    /// In order of arrival.
    journal: Vec<(Recorded, bool)>,
    inserted: Vec<usize>,
    settled: Vec<(TransferId, PendingState)>,
}

/// What a batch changed, in the order in which a store writes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Accounts with their balance after the batch, in order of the id.
    pub balances: Vec<(AccountId, Balance)>,
    /// New transfers, in booking order.
    pub inserted: Vec<Recorded>,
    /// Transfers of earlier batches that were posted or voided.
    pub settled: Vec<(TransferId, PendingState)>,
}

impl Touched {
    /// Brings in what a store holds on an account.
    pub fn preload_balance(&mut self, account: AccountId, balance: Balance) {
        self.balances.insert(account, (balance, false));
    }

    /// Brings in a transfer that a store holds: replays and pending ones to be settled.
    pub fn preload_transfer(&mut self, recorded: Recorded) {
        if !self.places.contains_key(&recorded.transfer.id) {
            self.push(recorded, false);
        }
    }

    /// Whether the account's balance is here.
    pub fn has_balance(&self, account: &AccountId) -> bool {
        self.balances.contains_key(account)
    }

    /// Every account here with its balance, in order of the id.
    pub fn balances(&self) -> impl Iterator<Item = (&AccountId, &Balance)> {
        self.balances.iter().map(|(account, (balance, _))| (account, balance))
    }

    /// Every transfer here, in order of arrival.
    pub fn transfers(&self) -> impl Iterator<Item = &Recorded> {
        self.journal.iter().map(|(recorded, _)| recorded)
    }

    /// What changed since the last call.
    pub fn take_changes(&mut self) -> Changes {
        let changed = self.balances.iter_mut().filter(|(_, (_, dirty))| *dirty);
        let balances = changed
            .map(|(account, (balance, dirty))| {
                *dirty = false;
                (*account, *balance)
            })
            .collect();
        let mut inserted = Vec::with_capacity(self.inserted.len());
        for place in self.inserted.drain(..) {
            let (recorded, fresh) = &mut self.journal[place];
            *fresh = false;
            inserted.push(*recorded);
        }
        Changes { balances, inserted, settled: core::mem::take(&mut self.settled) }
    }

    fn push(&mut self, recorded: Recorded, fresh: bool) -> usize {
        let place = self.journal.len();
        self.places.insert(recorded.transfer.id, place);
        self.journal.push((recorded, fresh));
        place
    }
}

impl Books for Touched {
    fn transfer(&self, id: &TransferId) -> Option<Recorded> {
        self.places.get(id).map(|place| self.journal[*place].0)
    }

    fn balance(&self, account: &AccountId) -> Balance {
        self.balances.get(account).map_or_else(Balance::default, |(balance, _)| *balance)
    }

    fn set_balance(&mut self, account: AccountId, balance: Balance) {
        self.balances.insert(account, (balance, true));
    }

    fn insert(&mut self, recorded: Recorded) {
        let place = self.push(recorded, true);
        self.inserted.push(place);
    }

    fn settle(&mut self, id: &TransferId, state: PendingState) {
        let Some(place) = self.places.get(id) else { return };
        let (recorded, fresh) = &mut self.journal[*place];
        recorded.pending = Some(state);
        // One held and settled within a batch is written once, in its final state.
        if !*fresh {
            self.settled.push((*id, state));
        }
    }
}
