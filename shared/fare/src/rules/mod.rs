//! Fares of whole journeys: rules as a feed states them, what they cost, and the table that is
//! compiled from them.
//!
//! Two families, as in GTFS. [`RuleSet`] (Fares v2) prices legs and the transfers between them;
//! [`TicketSet`] (Fares v1) covers the rides of a journey by tickets. Both say which legs have no
//! known fare: unknown is not free. Each has an interpreter that reads the rules one by one, and
//! a compiled table that answers the same by look-up; a property test holds the two together.
//!
//! The order of work for Fares v2: join legs, match leg rules, keep the highest priority, keep
//! what this rider and medium can use, then the cheapest choice over the whole journey
//! (`walk.rs`). Where the specification is silent, the policy stands in `docs/fares.md`.

mod clock;
mod interpret;
mod legs;
mod model;
mod table;
mod tickets;
mod times;
mod walk;

pub use clock::{LocalTime, Service, ZoneOffsets};
pub use interpret::Interpreter;
pub use legs::{Candidate, FareLeg, LegNetwork};
pub use model::{
    AreaIx, DurationSpan, JoinRule, LegRule, NetworkIx, Ride, RuleMedium, RuleProduct, RuleRider,
    RuleRoute, RuleSet, RuleStop, StopIx, Ticket, TicketRoute, TicketRow, TicketSet, TicketStop,
    TimeRow, Timeframe, TransferKind, TransferRule, Variant, Who,
};
pub use table::RuleTable;
pub use tickets::TicketTable;
pub use walk::JourneyPrice;
