//! Rides → legs as the rules see them, and what the rules offer for one leg.

use alloc::vec::Vec;
use core::ops::Range;

use model::{Money, Timestamp};

use super::{AreaIx, JoinRule, LegRule, NetworkIx, Ride, RuleSet, StopIx, Who};

/// One ride, or several that a join rule makes one: an effective leg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FareLeg {
    /// Which rides of the journey.
    pub rides: Range<usize>,
    /// The network of all of them.
    pub network: LegNetwork,
    /// Where the first begins.
    pub from: StopIx,
    /// Where the last ends.
    pub to: StopIx,
    /// When the first begins.
    pub departs: Timestamp,
    /// When the last ends.
    pub arrives: Timestamp,
}

/// The network of a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LegNetwork {
    /// Its route is in no network.
    None,
    /// All its rides are in this one.
    One(NetworkIx),
    /// Its rides are in several: only an empty field can match.
    Mixed {
        /// Whether a leg rule names one of them.
        named: bool,
    },
}

/// What the columns of the leg rules name. Without `rule_priority`, an empty field stands for
/// everything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    networks: Vec<bool>,
    from: Vec<bool>,
    to: Vec<bool>,
}

/// One way to pay for a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    /// What it costs, minor units; may be negative.
    pub amount: i64,
    /// Its leg group, which decides the transfers.
    pub group: Option<u16>,
    /// The product.
    pub product: u16,
    /// Only as the second leg of a transfer.
    pub transfer_only: bool,
    /// The leg rule that offers it, by its index.
    pub rule: u32,
}

impl Named {
    pub(super) fn of(set: &RuleSet) -> Self {
        let mut named = Self {
            networks: alloc::vec![false; set.networks.len()],
            from: alloc::vec![false; set.areas.len()],
            to: alloc::vec![false; set.areas.len()],
        };
        // Rows that never match count as well: what they name is named.
        for rule in &set.leg_rules {
            if let Some(NetworkIx(ix)) = rule.network {
                named.networks[usize::from(ix)] = true;
            }
            if let Some(AreaIx(ix)) = rule.from {
                named.from[usize::from(ix)] = true;
            }
            if let Some(AreaIx(ix)) = rule.to {
                named.to[usize::from(ix)] = true;
            }
        }
        named
    }

    fn network(&self, network: Option<NetworkIx>) -> bool {
        network.is_some_and(|NetworkIx(ix)| self.networks[usize::from(ix)])
    }

    /// Whether the network field of a rule matches.
    pub(super) fn network_matches(
        &self,
        set: &RuleSet,
        rule: &LegRule,
        network: LegNetwork,
    ) -> bool {
        match (rule.network, network) {
            (Some(wanted), LegNetwork::One(is)) => wanted == is,
            (Some(_), LegNetwork::None | LegNetwork::Mixed { .. }) => false,
            (None, _) if set.has_priority => true,
            (None, LegNetwork::None) => true,
            (None, LegNetwork::One(is)) => !self.network(Some(is)),
            (None, LegNetwork::Mixed { named }) => !named,
        }
    }

    /// Whether the area field of a rule's start matches a stop with these areas. A stop that is
    /// in any area that the column names is not "all the others".
    pub(super) fn start_matches(&self, set: &RuleSet, rule: &LegRule, areas: &[AreaIx]) -> bool {
        area_matches(set.has_priority, &self.from, rule.from, areas)
    }

    /// The same for its end.
    pub(super) fn end_matches(&self, set: &RuleSet, rule: &LegRule, areas: &[AreaIx]) -> bool {
        area_matches(set.has_priority, &self.to, rule.to, areas)
    }
}

fn area_matches(
    has_priority: bool,
    named: &[bool],
    wanted: Option<AreaIx>,
    areas: &[AreaIx],
) -> bool {
    match wanted {
        Some(area) => areas.contains(&area),
        None => has_priority || !areas.iter().any(|AreaIx(ix)| named[usize::from(*ix)]),
    }
}

impl RuleSet {
    /// The rides of a journey as legs: consecutive joins make one.
    pub(super) fn legs(&self, named: &Named, rides: &[Ride]) -> Vec<FareLeg> {
        let mut legs: Vec<FareLeg> = Vec::with_capacity(rides.len());
        for (i, ride) in rides.iter().enumerate() {
            let network = self.network_of(ride);
            let joins = i.checked_sub(1).is_some_and(|before| self.joins(&rides[before], ride));
            match legs.last_mut().filter(|_| joins) {
                Some(leg) => {
                    leg.rides.end = i + 1;
                    leg.to = ride.to;
                    leg.arrives = ride.arrives;
                    leg.network = both(named, leg.network, network);
                }
                None => legs.push(FareLeg {
                    rides: i..i + 1,
                    network: network.map_or(LegNetwork::None, LegNetwork::One),
                    from: ride.from,
                    to: ride.to,
                    departs: ride.departs,
                    arrives: ride.arrives,
                }),
            }
        }
        legs
    }

    fn network_of(&self, ride: &Ride) -> Option<NetworkIx> {
        self.routes[usize::from(ride.route.0)].network
    }

    fn joins(&self, a: &Ride, b: &Ride) -> bool {
        let (Some(before), Some(after)) = (self.network_of(a), self.network_of(b)) else {
            return false;
        };
        let matches = |rule: &JoinRule| {
            rule.from.is_none_or(|network| network == before)
                && rule.to.is_none_or(|network| network == after)
                && match rule.stops {
                    None => self.station(a.to) == self.station(b.from),
                    Some((from, to)) => self.is_at(a.to, from) && self.is_at(b.from, to),
                }
        };
        self.join_rules.iter().any(matches)
    }

    fn station(&self, stop: StopIx) -> StopIx {
        self.stops[stop.0 as usize].station
    }

    /// Whether a stop is the one meant, or one of its platforms.
    fn is_at(&self, stop: StopIx, meant: StopIx) -> bool {
        stop == meant || self.station(stop) == meant
    }

    /// Whether the time of an event at a stop lies in a timeframe; an empty field is any time.
    pub(super) fn time_matches(&self, group: Option<u16>, stop: StopIx, at: Timestamp) -> bool {
        let Some(group) = group else { return true };
        let zone = &self.zones[usize::from(self.stops[stop.0 as usize].zone)];
        let local = zone.local(at);
        self.timeframes[usize::from(group)].rows.iter().any(|row| {
            let runs = |service: u16| self.services[usize::from(service)].runs_on(local.date);
            (row.start_s..row.end_s).contains(&local.secs) && row.service.is_some_and(runs)
        })
    }

    /// What a product costs this rider with this medium; `None` = it cannot be used.
    pub(super) fn amount(&self, product: u16, who: Who) -> Option<i64> {
        let variants = &self.products[usize::from(product)].variants;
        let mine = variants.iter().filter(|variant| {
            let rider = variant.rider.is_none_or(|rider| match who.rider {
                Some(is) => rider == is,
                None => self.riders[usize::from(rider)].is_default,
            });
            let medium = variant.medium.is_none_or(|medium| who.medium.is_none_or(|m| m == medium));
            rider && medium
        });
        mine.map(|variant| variant.amount.minor()).min()
    }

    /// The leg rules that match, by their index: only those of the highest priority.
    pub(super) fn best<'a>(
        &'a self,
        matching: impl Iterator<Item = usize> + Clone + 'a,
    ) -> impl Iterator<Item = usize> + 'a {
        let highest = if self.has_priority {
            matching.clone().map(|ix| self.leg_rules[ix].priority).max()
        } else {
            None
        };
        matching.filter(move |ix| highest.is_none_or(|most| self.leg_rules[*ix].priority == most))
    }

    /// What these rules offer to this rider with this medium: of what is alike for all that may
    /// follow, only the cheapest.
    pub(super) fn offers(&self, rules: impl Iterator<Item = usize>, who: Who) -> Vec<Candidate> {
        let mut offers: Vec<Candidate> = Vec::new();
        for ix in rules {
            let rule = &self.leg_rules[ix];
            let Some(amount) = self.amount(rule.product, who) else { continue };
            let new = Candidate {
                amount,
                group: rule.group,
                product: rule.product,
                transfer_only: rule.transfer_only,
                rule: u32::try_from(ix).unwrap_or(u32::MAX),
            };
            let held = |product| self.transfer_rules.iter().any(|t| t.holding == Some(product));
            let alike = |other: &Candidate| {
                (other.group, other.transfer_only) == (new.group, new.transfer_only)
                    && (other.product == new.product || !(held(other.product) || held(new.product)))
            };
            match offers.iter_mut().find(|other| alike(other)) {
                Some(other) => *other = (*other).min(new),
                None => offers.push(new),
            }
        }
        offers.sort_unstable();
        offers
    }

    /// An amount of minor units in the currency of this feed.
    pub(super) const fn money(&self, minor: i64) -> Money {
        Money::new(minor, self.currency)
    }
}

fn both(named: &Named, leg: LegNetwork, more: Option<NetworkIx>) -> LegNetwork {
    match leg {
        LegNetwork::One(is) if more == Some(is) => leg,
        LegNetwork::One(is) => {
            LegNetwork::Mixed { named: named.network(Some(is)) || named.network(more) }
        }
        // A join needs a network on both sides.
        LegNetwork::None => LegNetwork::Mixed { named: named.network(more) },
        LegNetwork::Mixed { named: so_far } => {
            LegNetwork::Mixed { named: so_far || named.network(more) }
        }
    }
}
