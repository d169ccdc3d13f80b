//! What validators have told of the lists of orders that they work by (REC-5 (c)).

use model::{Epoch, TapSeq};

use crate::ListVersion;

/// What one validator has told of the list that it works by.
///
/// That it has a list says nothing of what it did before: only once everything that its log held
/// then is booked, the list is settled there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ListTold {
    /// Of this list, everything before it is known.
    settled: ListVersion,
    /// Told, and not yet booked up to the log's head then.
    told: Option<(ListVersion, Epoch, TapSeq)>,
}

impl ListTold {
    /// The validator says that it works by `list` and that its log ends with `head`. Earlier lives
    /// of its log must be drained, or it is not heard.
    pub fn tells(&mut self, list: ListVersion, epoch: Epoch, head: TapSeq, drained_before: bool) {
        // Of one list the earliest head counts: later taps were made under it.
        let known = self.told.is_some_and(|(told, of, _)| told >= list && of == epoch);
        if drained_before && list > self.settled && !known {
            self.told = Some((list, epoch, head));
        }
    }

    /// Everything of that life of its log up to there is booked.
    pub fn booked(&mut self, epoch: Epoch, through: TapSeq) {
        if let Some((list, of, head)) = self.told
            && of == epoch
            && head <= through
        {
            self.settled = self.settled.max(list);
            self.told = None;
        }
    }

    /// As a store kept it.
    pub const fn restored(
        settled: ListVersion,
        pending: Option<(ListVersion, Epoch, TapSeq)>,
    ) -> Self {
        Self { settled, told: pending }
    }

    /// The list that was told and is not settled, with the log's life and head then.
    pub const fn pending(&self) -> Option<(ListVersion, Epoch, TapSeq)> {
        self.told
    }

    /// The newest list before which nothing of this validator is unknown.
    pub const fn settled(&self) -> ListVersion {
        self.settled
    }
}
