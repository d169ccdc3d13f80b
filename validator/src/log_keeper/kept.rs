//! What is read of the rows that are kept, and which of them go.

use model::{Epoch, TapSeq, Timestamp};
use tap_log::{LifeSpan, Row, Tree};
use wire::Batch;

use super::{BATCH_ROWS, Group, KeeperError, PRUNE_ROWS, Worker, gauge};

impl Worker {
    pub(super) fn prune(&mut self, keep_since: Timestamp, group: &mut Group) {
        self.metrics.store_bytes.set(gauge(self.store.size()));
        let lives: Vec<LifeSpan> = self.log.lives().collect();
        for life in lives.into_iter().filter(|life| life.pruned_through < life.acked) {
            let rows = self.rows(life.epoch, life.pruned_through.next(), PRUNE_ROWS);
            match rows.and_then(|rows| Ok(self.log.prune(life.epoch, keep_since, rows)?)) {
                Ok(ops) => group.ops.extend(ops),
                Err(e) => tracing::warn!(epoch = %life.epoch, error = %e, "not pruned"),
            }
        }
    }

    pub(super) fn batch(
        &self,
        epoch: Epoch,
        from: TapSeq,
        limit: u16,
    ) -> Result<Batch, KeeperError> {
        let rows = self.rows(epoch, from, usize::from(limit).min(BATCH_ROWS))?;
        Ok(self.log.batch(epoch, limit, rows)?)
    }

    fn rows(&self, epoch: Epoch, from: TapSeq, limit: usize) -> Result<Vec<Row>, KeeperError> {
        let (start, end) = tap_log::entry_range(epoch, from);
        let mut rows = self
            .store
            .scan(Tree::Entries, &start, limit)
            .map_err(|e| KeeperError::Broken(e.to_string()))?;
        rows.retain(|row| row.key < end);
        Ok(rows)
    }
}
