//! What clearing moves, applied to the ledger.

use clearing::ExceptionKind;
use ledger::{Kind, LedgerRefusal, Transfer};
use model::{CardId, TapRecord};

use super::{Desk, StepError, Stored};

impl<S: Stored> Desk<'_, S> {
    /// Applies transfers of clearing to the ledger.
    pub(super) fn post(
        &mut self,
        card: Option<CardId>,
        tap: Option<&TapRecord>,
        transfers: &[Transfer],
    ) -> Result<(), StepError<S::Error>> {
        for transfer in transfers {
            for account in [transfer.debit, transfer.credit] {
                if !self.touched.has_balance(&account) {
                    let balance = self.stored.balance(&account).map_err(StepError::Stored)?;
                    self.touched.preload_balance(account, balance);
                }
            }
            if let Kind::Post(id) | Kind::Void(id) = transfer.kind {
                self.preload_pending(&id)?;
            }
            if let Err(refusal) = ledger::apply(&mut self.touched, transfer) {
                self.ledger_refused(card, tap, refusal);
            }
        }
        Ok(())
    }

    fn preload_pending(&mut self, id: &ledger::TransferId) -> Result<(), StepError<S::Error>> {
        if ledger::Books::transfer(&self.touched, id).is_none()
            && let Some(recorded) = self.stored.pending(id).map_err(StepError::Stored)?
        {
            self.touched.preload_transfer(recorded);
        }
        Ok(())
    }

    /// Clearing never makes a transfer that the ledger refuses; should it, the books still balance
    /// and a person is told.
    fn ledger_refused(
        &mut self,
        card: Option<CardId>,
        tap: Option<&TapRecord>,
        refusal: LedgerRefusal,
    ) {
        tracing::error!(?card, error = %refusal, "the ledger refused a transfer of clearing");
        if let Some(tap) = tap {
            let finding = format!("the ledger refused a transfer: {refusal}");
            self.not_cleared(tap, ExceptionKind::Contradiction, &finding);
        }
    }
}
