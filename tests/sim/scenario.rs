//! What a run is made of: how big the city is, what goes wrong, and which bug is planted.

/// Chances of faults, per mille of the occasions named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Faults {
    /// A message is lost (per message).
    pub drop: u32,
    /// A message comes twice (per message).
    pub duplicate: u32,
    /// A message is late by minutes, behind later ones (per message).
    pub delay: u32,
    /// A validator's link goes down for up to an hour (per ride).
    pub outage: u32,
    /// The card leaves the field at some exchange (per presentation).
    pub tear: u32,
    /// A validator's power goes at some step (per presentation).
    pub power_cut: u32,
    /// The depot server dies, before or after a commit (per batch).
    pub depot_crash: u32,
    /// Somebody decides about blocking a card (per ride).
    pub decision: u32,
}

impl Faults {
    /// Nothing goes wrong.
    pub const NONE: Self = Self {
        drop: 0,
        duplicate: 0,
        delay: 0,
        outage: 0,
        tear: 0,
        power_cut: 0,
        depot_crash: 0,
        decision: 0,
    };

    /// Everything goes wrong, often.
    pub const ALL: Self = Self {
        drop: 100,
        duplicate: 100,
        delay: 100,
        outage: 20,
        tear: 150,
        power_cut: 60,
        depot_crash: 60,
        decision: 60,
    };
}

/// A bug that the simulator must find; each is switched on in a test only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlantedBug {
    /// The depot acknowledges a batch before it has committed it.
    AckBeforeCommit,
    /// The validator shows green before the outcome is on its disk.
    ShowBeforeSync,
    /// The validator commits on the card before the intent is on its disk.
    CommitBeforeIntent,
    /// The validator takes whatever list arrives last for the newest.
    ListPlayedBack,
}

/// One run, but for its seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scenario {
    /// Validators: half of them on buses, the rest at gates.
    pub validators: u32,
    /// Cards.
    pub cards: u32,
    /// Rides that each card makes.
    pub rides: u32,
    /// What goes wrong.
    pub faults: Faults,
    /// Which bug is in.
    pub bug: Option<PlantedBug>,
}

impl Scenario {
    /// Small enough for a thousand seeds in a test run, with every fault.
    pub const SMALL: Self =
        Self { validators: 6, cards: 8, rides: 5, faults: Faults::ALL, bug: None };

    /// A day of a small city.
    pub const CITY: Self =
        Self { validators: 50, cards: 1000, rides: 6, faults: Faults::ALL, bug: None };
}
