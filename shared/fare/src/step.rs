//! The explained charge: each step names its rule, its amount and the facts it rests on.
//!
//! `Step::text` is English. `Step::key` and `Step::params` are the same message as data, so that
//! other languages are a table of texts and nothing else.

use alloc::{format, string::String, sync::Arc, vec::Vec};

use model::Money;

use crate::ProductStep;

/// What a step is and the facts it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepKind {
    /// An earlier journey was never tapped out.
    MissingTapOut {
        /// Where it began.
        from: Arc<str>,
    },
    /// A journey opens; it is paid at its tap-out.
    JourneyOpened {
        /// Where.
        from: Arc<str>,
        /// The most it can cost.
        maximum: Money,
    },
    /// One boarding of a flat route.
    Flat {
        /// The route.
        route: Arc<str>,
        /// The product that pays it.
        product: Arc<str>,
    },
    /// From station to station.
    OriginDestination {
        /// Tap-in.
        from: Arc<str>,
        /// Tap-out.
        to: Arc<str>,
    },
    /// Out again where the journey began, soon after.
    SameStation {
        /// Where.
        place: Arc<str>,
        /// Seconds inside.
        after_s: u64,
    },
    /// Too long inside: the maximum fare.
    OverTime {
        /// Where it began.
        from: Arc<str>,
        /// Seconds inside.
        after_s: u64,
        /// Seconds allowed.
        limit_s: u64,
    },
    /// The table holds no fare for this pair and the tariff says: maximum fare.
    UnknownFare {
        /// Tap-in.
        from: Arc<str>,
        /// Tap-out.
        to: Arc<str>,
    },
    /// A transfer right makes this ride cheaper.
    Transfer {
        /// Seconds from the run's first boarding.
        after_s: u64,
        /// Seconds allowed.
        limit_s: u64,
    },
    /// The alternative considered: a transfer that came too late.
    TransferTooLate {
        /// Seconds from the run's first boarding.
        after_s: u64,
        /// Seconds allowed.
        limit_s: u64,
    },
    /// The alternative considered: a transfer after too many rides.
    TransferRidesUsed {
        /// Rides allowed in one run.
        legs_max: u8,
    },
    /// A product on the card paid, or did not.
    Product(ProductStep),
    /// A discount or surcharge.
    Adjusted {
        /// Its name.
        name: Arc<str>,
    },
    /// Riders of one category on the holder's card.
    Companions {
        /// The category, for people.
        class: Arc<str>,
        /// How many.
        riders: u8,
        /// What each of them pays.
        each: Money,
    },
    /// A cap is reached.
    Capped {
        /// Its name.
        name: Arc<str>,
        /// The most that is charged in its period.
        limit: Money,
    },
    /// The journey goes on after a change outside the gates.
    Interchange {
        /// Where it began.
        from: Arc<str>,
    },
    /// What the journey has cost before the change outside the gates.
    PaidBefore,
    /// One leg of a journey by itself.
    Leg {
        /// Where it begins.
        from: Arc<str>,
        /// Where it ends.
        to: Arc<str>,
        /// The product that pays it.
        product: Arc<str>,
    },
    /// What a transfer rule makes of the legs before and after it.
    LegTransfer,
    /// A ride would give money back, which no validator does: the depot does.
    NoRefund,
    /// No fare is known for a leg; it is not free.
    NoFareKnown {
        /// Where it begins.
        from: Arc<str>,
        /// Where it ends.
        to: Arc<str>,
    },
}

/// One step of a quote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it is.
    pub kind: StepKind,
    /// The rule in the tariff: a product's or transfer's id, or a key such as
    /// `gate.maximum_fare`.
    pub rule: Arc<str>,
    /// What it adds to the charge; discounts are negative.
    pub amount: Money,
}

/// A fact inside a step's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Param {
    /// A name.
    Text(Arc<str>),
    /// An amount.
    Amount(Money),
    /// A duration.
    Seconds(u64),
    /// A number of things.
    Count(u64),
}

impl Step {
    /// The key of this step's message; stable, because translations hang on it.
    pub const fn key(&self) -> &'static str {
        match self.kind {
            StepKind::MissingTapOut { .. } => "missing-tap-out",
            StepKind::JourneyOpened { .. } => "journey-opened",
            StepKind::Flat { .. } => "flat",
            StepKind::OriginDestination { .. } => "origin-destination",
            StepKind::SameStation { .. } => "same-station",
            StepKind::OverTime { .. } => "over-time",
            StepKind::UnknownFare { .. } => "unknown-fare",
            StepKind::Transfer { .. } => "transfer",
            StepKind::TransferTooLate { .. } => "transfer-too-late",
            StepKind::TransferRidesUsed { .. } => "transfer-rides-used",
            StepKind::Product(step) => step.key(),
            StepKind::Adjusted { .. } => "adjusted",
            StepKind::Companions { .. } => "companions",
            StepKind::Capped { .. } => "capped",
            StepKind::Interchange { .. } => "interchange",
            StepKind::PaidBefore => "paid-before",
            StepKind::Leg { .. } => "leg",
            StepKind::LegTransfer => "leg-transfer",
            StepKind::NoRefund => "no-refund",
            StepKind::NoFareKnown { .. } => "no-fare-known",
        }
    }

    /// The facts of this step's message, by name.
    pub fn params(&self) -> Vec<(&'static str, Param)> {
        let text = |name: &Arc<str>| Param::Text(Arc::clone(name));
        let times = |after_s: u64, limit_s: u64| {
            alloc::vec![("after", Param::Seconds(after_s)), ("limit", Param::Seconds(limit_s))]
        };
        match &self.kind {
            StepKind::MissingTapOut { from } | StepKind::Interchange { from } => {
                alloc::vec![("from", text(from))]
            }
            StepKind::JourneyOpened { from, maximum } => {
                alloc::vec![("from", text(from)), ("maximum", Param::Amount(*maximum))]
            }
            StepKind::Flat { route, product } => {
                alloc::vec![("route", text(route)), ("product", text(product))]
            }
            StepKind::OriginDestination { from, to }
            | StepKind::UnknownFare { from, to }
            | StepKind::NoFareKnown { from, to } => {
                alloc::vec![("from", text(from)), ("to", text(to))]
            }
            StepKind::SameStation { place, after_s } => {
                alloc::vec![("place", text(place)), ("after", Param::Seconds(*after_s))]
            }
            StepKind::OverTime { from, after_s, limit_s } => {
                let mut params = alloc::vec![("from", text(from))];
                params.extend(times(*after_s, *limit_s));
                params
            }
            StepKind::Transfer { after_s, limit_s }
            | StepKind::TransferTooLate { after_s, limit_s } => times(*after_s, *limit_s),
            StepKind::TransferRidesUsed { legs_max } => {
                alloc::vec![("legs", Param::Count(u64::from(*legs_max)))]
            }
            StepKind::Product(step) => step.params(),
            StepKind::Leg { from, to, product } => {
                alloc::vec![("from", text(from)), ("to", text(to)), ("product", text(product)),]
            }
            StepKind::Adjusted { name } => alloc::vec![("name", text(name))],
            StepKind::Companions { class, riders, each } => alloc::vec![
                ("class", text(class)),
                ("riders", Param::Count(u64::from(*riders))),
                ("each", Param::Amount(*each)),
            ],
            StepKind::Capped { name, limit } => {
                alloc::vec![("name", text(name)), ("limit", Param::Amount(*limit))]
            }
            StepKind::LegTransfer | StepKind::NoRefund | StepKind::PaidBefore => Vec::new(),
        }
    }

    /// One line of English for riders and staff.
    pub fn text(&self) -> String {
        match &self.kind {
            StepKind::MissingTapOut { from } => {
                format!("No tap-out after the tap-in at {from}: maximum fare")
            }
            StepKind::JourneyOpened { from, maximum } => {
                format!("Tapped in at {from}: paid at tap-out, at most {maximum}")
            }
            StepKind::Flat { route, product } => format!("{route}: {product}"),
            StepKind::OriginDestination { from, to } => format!("{from} to {to}"),
            StepKind::SameStation { place, after_s } => {
                format!("Out again at {place} after {}", duration(*after_s))
            }
            StepKind::OverTime { from, after_s, limit_s } => format!(
                "{} since the tap-in at {from}, {} allowed: maximum fare",
                duration(*after_s),
                duration(*limit_s)
            ),
            StepKind::UnknownFare { from, to } => {
                format!("No fare is known from {from} to {to}: maximum fare")
            }
            StepKind::Transfer { after_s, limit_s } => {
                format!("Transfer after {} of {}", duration(*after_s), duration(*limit_s))
            }
            StepKind::TransferTooLate { after_s, limit_s } => {
                format!("No transfer: {} after, {} allowed", duration(*after_s), duration(*limit_s))
            }
            StepKind::TransferRidesUsed { legs_max } => {
                format!("No transfer: all {legs_max} rides are used")
            }
            StepKind::Product(step) => step.text(),
            StepKind::Leg { from, to, product } => format!("{from} to {to}: {product}"),
            StepKind::Adjusted { name } => String::from(&**name),
            StepKind::Companions { class, riders, each } => {
                format!("{riders} × {class}, {each} each")
            }
            StepKind::Capped { name, limit } => format!("{name} of {limit} is reached"),
            StepKind::Interchange { from } => format!("The journey from {from} goes on"),
            StepKind::PaidBefore => "Paid before the change".into(),
            StepKind::LegTransfer => "Transfer".into(),
            StepKind::NoRefund => "Given back by the depot".into(),
            StepKind::NoFareKnown { from, to } => format!("No fare is known from {from} to {to}"),
        }
    }
}

/// Seconds below two minutes, then minutes rounded down, with the odd seconds when they decide.
fn duration(secs: u64) -> String {
    match (secs / 60, secs % 60) {
        (0 | 1, _) => format!("{secs} s"),
        (minutes, 0) => format!("{minutes} min"),
        (minutes, rest) => format!("{minutes} min {rest} s"),
    }
}
