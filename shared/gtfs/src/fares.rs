//! All fares of a feed, as it states them.
//!
//! Invariant: whatever can be read is read. A wrong row is a finding and never matches; only a
//! required file or column that is missing leaves a feed without fares.

use std::collections::BTreeMap;

use fare::rules::{RuleSet, StopIx, TicketSet};
use model::RouteIx;

use crate::{
    Diagnostic, Feed, Severity,
    base::read_base,
    columns::check_columns,
    csv_table::has_rows,
    diagnostic::{At, Findings},
    fares_v1::ATTRIBUTES,
    tickets::read_tickets,
    v2,
};

/// The fares of a feed, of one of the two families of GTFS.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "a feed has one; nobody keeps many")]
pub enum FeedFares {
    /// Fares v2.
    Rules(RuleSet),
    /// Fares v1.
    Tickets(TicketSet),
}

/// What became of the fares of a feed.
#[derive(Debug, Clone)]
pub struct FaresRead {
    /// The fares, unless a required file or column is missing or cannot be read.
    pub fares: Option<FeedFares>,
    /// Everything found.
    pub diagnostics: Vec<Diagnostic>,
    /// Stops, platforms and stations by their id in the feed.
    pub stop_of: BTreeMap<String, StopIx>,
    /// Routes by their id in the feed.
    pub route_of: BTreeMap<String, RouteIx>,
    /// Rider categories by their id; Fares v1 has none.
    pub rider_of: BTreeMap<String, u16>,
    /// Fare media by their id; Fares v1 has none.
    pub medium_of: BTreeMap<String, u16>,
}

impl FaresRead {
    /// Whether anything found is an error.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|d| d.severity == Severity::Error)
    }
}

/// Reads the fares of a feed and checks them. Fares v2 takes precedence over Fares v1.
pub fn read_feed_fares(feed: &Feed) -> FaresRead {
    let mut found = Findings::default();
    let base = read_base(feed, &mut found);
    let rules = is_v2(feed, &mut found);
    check_columns(feed, rules, &mut found);
    let fares = base.as_ref().and_then(|base| {
        if rules {
            v2::read_rules(feed, base, &mut found).map(FeedFares::Rules)
        } else {
            read_tickets(feed, base, &mut found).map(FeedFares::Tickets)
        }
    });
    let ixs = |ids: Vec<&str>| (0_u16..).zip(ids).map(|(ix, id)| (id.to_owned(), ix)).collect();
    let (riders, media) = match &fares {
        Some(FeedFares::Rules(rules)) => (
            rules.riders.iter().map(|rider| &*rider.id).collect(),
            rules.media.iter().map(|medium| &*medium.id).collect(),
        ),
        Some(FeedFares::Tickets(_)) | None => (Vec::new(), Vec::new()),
    };
    let (stop_of, route_of) = base.map(|base| (base.stop_of, base.route_of)).unwrap_or_default();
    FaresRead {
        rider_of: ixs(riders),
        medium_of: ixs(media),
        fares,
        diagnostics: found.into_list(),
        stop_of,
        route_of,
    }
}

/// Whether the fares are those of Fares v2. A feed that only begins with it keeps its v1 fares.
fn is_v2(feed: &Feed, found: &mut Findings) -> bool {
    let any = [v2::PRODUCTS, v2::LEGS].into_iter().find(|file| feed.has(file));
    let Some(any) = any else { return false };
    let v1 = feed.has(ATTRIBUTES);
    let both = has_rows(feed, v2::PRODUCTS) && has_rows(feed, v2::LEGS);
    if v1 && both {
        let message = "stands beside Fares v2, which takes precedence: it is not read";
        found.warning("two_fare_models", At::file(ATTRIBUTES), message);
    } else if v1 {
        let message = "Fares v2 needs rows in fare_products.txt and fare_leg_rules.txt: Fares v1 \
                       is used";
        found.warning("two_fare_models", At::file(any), message);
    }
    both || !v1
}
