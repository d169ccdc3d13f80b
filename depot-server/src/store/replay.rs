//! What cards paid, read again from the journal, for asking what they would pay otherwise.

use std::collections::BTreeMap;

use model::{CardId, CardTransaction, Ctr, RouteIx, TapSeq};

use super::{Store, StoreError, group::journal_batch};

/// What a card did, by its own counter: each transaction once, with the route it was on.
pub type CardHistory = BTreeMap<Ctr, (CardTransaction, Option<RouteIx>)>;

impl Store {
    /// The settled transactions of every card. Reads the whole journal; keeps what it returns in
    /// memory.
    pub fn card_histories(&self) -> Result<BTreeMap<CardId, CardHistory>, StoreError> {
        let mut histories: BTreeMap<CardId, CardHistory> = BTreeMap::new();
        let mut after = 0;
        while let Some(row) = self.journal_after(after)? {
            after = row.id;
            let batch = journal_batch(&row.payload)?;
            for (ix, bytes) in (0..).zip(&batch.entries) {
                let seq = TapSeq(batch.head.first.0 + ix);
                let number = (row.validator, batch.head.epoch, seq);
                let record = wire::decode_entry(bytes, number)
                    .map_err(|_| StoreError::damaged(format!("journal row {}", row.id)))?;
                if let (Some(card), Some((transaction, _))) = (record.card, record.settled()) {
                    let known = histories.entry(card).or_default();
                    known.insert(transaction.after.ctr, (*transaction, record.route));
                }
            }
        }
        Ok(histories)
    }
}
