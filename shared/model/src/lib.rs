//! The nouns of Tapline: money, identities, time, the card's record and the tap.
//!
//! Invariants: amounts are integers in minor units with their currency; every arithmetic step is
//! checked; nothing here reads a clock, a file or a socket. The byte layouts of the card record and
//! of the ticket are the encodings kept here, because card, code and wire carry the same bytes.
#![no_std]
extern crate alloc;

mod card_record;
mod companions;
mod counters;
mod ids;
mod money;
mod note;
mod order;
mod product;
mod refusal;
mod tap;
mod ticket;
mod time;
mod validity;

pub use card_record::{CardLayout, CardRecord, RecordError, RecordKind, TransferRun};
pub use companions::{Companions, CompanionsError};
pub use counters::{CardCounters, Counter, CounterError, CounterUse};
pub use ids::{
    CardId, ChannelId, Ctr, Epoch, IdError, IssuerId, LoadSeq, OperatorId, PlaceIx, RiderClass,
    RouteIx, StationId, TapSeq, TariffVersion, ValidatorId,
};
pub use money::{Currency, Money, MoneyError};
pub use note::Note;
pub use order::{LoadOrder, OrderId, OrderMisfit};
pub use product::{
    CardProduct, CardProducts, ProductError, ProductKind, ProductLoad, ProductSale, ProductScope,
    ProductSlot, ProductUse, ProductValidity, ProductsFound, SaleMisfit,
};
pub use refusal::Refusal;
pub use tap::{
    CardProof, CardTransaction, GateWord, Registers, Served, TapDraft, TapEvent, TapRecord,
    TapRole, UnknownTapRole,
};
pub use ticket::{Ticket, TicketError, TicketId, TicketKeyId, TicketScope, TicketToken};
pub use time::{ClockQuality, Rfc3339, ServiceDate, Timestamp, Utc};
pub use validity::{NoEnd, ValidUntil};
