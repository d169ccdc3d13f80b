//! The medium: MIFARE DESFire EV2/EV3 with EV2 secure messaging, as a reader and as a card.
//!
//! Invariants: nothing here does I/O, asks a clock or makes randomness; a debit is sent to be
//! committed only after `DebitTransaction::commit`; whatever a card answers is parsed and never
//! asserted; key material is wiped when dropped and never formatted.
//!
//! `docs/card-layout.md` describes what is on the card. This crate knows nothing of fares, logs
//! or networks.
#![no_std]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod answers;
pub mod apdu;
pub mod crypto;
mod duty;
mod failure;
mod inspect;
mod issue_plan;
mod keys;
pub mod layout;
pub mod legacy;
mod login;
mod opening;
mod order;
mod personalise;
mod proof;
mod records;
mod rekey;
mod report;
pub mod session;
#[cfg(test)]
mod tests;
mod transaction;
mod virtual_card;

pub use duty::{Debit, Duty, Load, Retire, WriteError};
pub use failure::{CardFailure, CardStep, ExchangeError};
pub use inspect::InspectTransaction;
pub use keys::{CardKeys, Key, KeyError, KeyRole, KeySet, KeyVersion, VersionedKey};
pub use opening::{IssueError, Issued, Opening};
pub use order::{SealError, SealedOrder, read_orders, write_orders};
pub use personalise::IssueTransaction;
pub use proof::{Tmi, issue_proof_holds, proof_holds, proving_version, transaction_proof};
pub use records::{RecordImpossible, load_record, retire_record, sale_record};
pub use rekey::{RekeyOutput, RekeyTransaction};
pub use report::{Application, CardReport, Contents, Contradiction};
pub use transaction::{
    CardFound, CardOutput, DebitTransaction, LoadTransaction, RetireTransaction, Settlement,
    ValueTransaction,
};
pub use virtual_card::{CardContents, ImageError, VirtualCard};
