//! Credit accounts as the journal makes them, and whose cards are.

use super::Stop;
use crate::{intake::memory::MemoryBooks, store::Store};

/// Every account stands where the journal brings it, and has the cards that it gave it.
pub(super) fn compare(store: &Store, books: &MemoryBooks) -> Result<(), Stop> {
    super::count(store, "credit_accounts", books.credits.len() as u64)?;
    super::count(store, "credit_payments", books.credit_payments.len() as u64)?;
    for account in store.credits()? {
        let id = account.id;
        if books.credits.get(&id) != Some(&account) {
            let what = format!("account {id} stands otherwise in the journal");
            return Err(Stop::Differs(what));
        }
    }
    for (card, account) in &books.members {
        if store.credit_of(*card)? != Some(*account) {
            return Err(Stop::Differs(format!("card {card} should be of account {account}")));
        }
    }
    let members = store.count_credit_cards()?;
    if members != books.members.len() as u64 {
        return Err(Stop::Differs(format!(
            "{members} cards are of accounts, the journal has others"
        )));
    }
    Ok(())
}
