//! Where fares come from on the command line: a feed or a tariff.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::Args;
use fare::{
    Tariff,
    rules::{JourneyPrice, Ride, RuleTable, StopIx, TicketTable, Who, ZoneOffsets},
};
use gtfs::{FaresRead, FeedFares, Network};
use model::{RouteIx, TariffVersion};
use texts::Language;

use super::findings::Finding;

#[derive(Debug, Args)]
pub(in crate::cli) struct FareSource {
    /// A GTFS feed: a folder or a zip.
    #[arg(long, required_unless_present = "tariff", conflicts_with = "tariff")]
    pub(super) gtfs: Option<PathBuf>,
    /// A tariff text.
    #[arg(long)]
    pub(super) tariff: Option<PathBuf>,
    /// A tariff text laid over the feed, for what GTFS cannot say.
    #[arg(long, requires = "gtfs")]
    pub(super) overlay: Option<PathBuf>,
    /// Version of the tariff that a feed makes.
    #[arg(long, default_value_t = 1)]
    pub(super) tariff_version: u16,
    /// The fare medium of the feed that the cards are; any without it.
    #[arg(long, value_name = "MEDIUM", requires = "gtfs")]
    pub(super) card_medium: Option<String>,
    /// Make a tariff although the feed has errors of this code; repeatable.
    #[arg(long, value_name = "CODE", requires = "gtfs")]
    pub(super) accept: Vec<String>,
    /// In which steps are explained: en or ko.
    #[arg(long, value_name = "TAG", default_value = "en")]
    pub(super) language: Language,
}

/// A tariff, if one could be made, and what was found on the way.
pub(super) struct TariffRead {
    pub(super) tariff: Option<Tariff>,
    /// Of a feed.
    pub(super) network: Option<Network>,
    pub(super) findings: Vec<Finding>,
}

impl FareSource {
    /// The tariff that validators would load.
    pub(super) fn read_tariff(&self) -> anyhow::Result<TariffRead> {
        self.read_tariff_for(self.card_medium.clone(), self.accept.clone())
    }

    /// The same for cards that are another medium of the feed, with these errors accepted.
    pub(super) fn read_tariff_for(
        &self,
        card_medium: Option<String>,
        accept: Vec<String>,
    ) -> anyhow::Result<TariffRead> {
        let Some(feed) = &self.gtfs else {
            let Some(path) = &self.tariff else { bail!("give --gtfs or --tariff") };
            return read_tariff_text(path);
        };
        let overlay = self.overlay.as_deref().map(read_text).transpose()?;
        let version = TariffVersion(self.tariff_version);
        let options =
            gtfs::ImportOptions { version, overlay, card_medium, accept, ..Default::default() };
        let imported = gtfs::import(&open_feed(feed)?, &options);
        let findings = imported.diagnostics.iter().map(Finding::from).collect();
        Ok(TariffRead { tariff: imported.tariff, network: imported.network, findings })
    }
}

fn read_tariff_text(path: &Path) -> anyhow::Result<TariffRead> {
    let (tariff, found) = match Tariff::parse_in(&read_text(path)?, None, &gtfs::zone_offsets) {
        Ok(tariff) => (Some(tariff), Vec::new()),
        Err(found) => (None, found),
    };
    let file = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let findings = found.iter().map(|found| Finding::of_tariff(&file, found)).collect();
    Ok(TariffRead { tariff, network: None, findings })
}

fn read_text(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

pub(super) fn open_feed(path: &Path) -> anyhow::Result<gtfs::Feed> {
    gtfs::Feed::open(path).with_context(|| format!("the feed {} cannot be used", path.display()))
}

/// The compiled fares of a feed with the ids that the feed gives to things.
pub(super) struct FeedTable {
    table: Table,
    stop_of: BTreeMap<String, StopIx>,
    route_of: BTreeMap<String, RouteIx>,
    rider_of: BTreeMap<String, u16>,
    medium_of: BTreeMap<String, u16>,
}

enum Table {
    Rules(RuleTable),
    Tickets(TicketTable),
}

impl FeedTable {
    /// Compiles; `None` when the feed has no fares that can be read.
    pub(super) fn compile(read: FaresRead) -> Option<Self> {
        let table = match read.fares? {
            FeedFares::Rules(rules) => Table::Rules(RuleTable::compile(rules)),
            FeedFares::Tickets(tickets) => Table::Tickets(TicketTable::compile(tickets)),
        };
        Some(Self {
            table,
            stop_of: read.stop_of,
            route_of: read.route_of,
            rider_of: read.rider_of,
            medium_of: read.medium_of,
        })
    }

    pub(super) fn price(&self, rides: &[Ride], who: Who) -> JourneyPrice {
        match &self.table {
            Table::Rules(rules) => rules.price(rides, who),
            Table::Tickets(tickets) => tickets.price(rides),
        }
    }

    /// The agency's, in which a feed writes its clock times.
    pub(super) fn zone(&self) -> &ZoneOffsets {
        match &self.table {
            Table::Rules(rules) => &rules.rules().zones[0],
            Table::Tickets(tickets) => &tickets.tickets().zone,
        }
    }

    /// Ids of the fare media.
    pub(super) fn media(&self) -> impl Iterator<Item = &str> {
        self.medium_of.keys().map(String::as_str)
    }

    /// Ids of the rider categories.
    pub(super) fn riders(&self) -> impl Iterator<Item = &str> {
        self.rider_of.keys().map(String::as_str)
    }

    pub(super) fn stop(&self, id: &str) -> Result<StopIx, String> {
        self.stop_of.get(id).copied().ok_or_else(|| {
            format!("{id:?} is no stop or station of the feed: write its stop_id as in stops.txt")
        })
    }

    pub(super) fn route(&self, id: &str) -> Result<RouteIx, String> {
        self.route_of.get(id).copied().ok_or_else(|| {
            format!("{id:?} is no route of the feed: write its route_id as in routes.txt")
        })
    }

    pub(super) fn rider(&self, id: &str) -> Result<u16, String> {
        named(&self.rider_of, id, "rider category", "the default one")
    }

    pub(super) fn medium(&self, id: &str) -> Result<u16, String> {
        named(&self.medium_of, id, "fare medium", "any")
    }
}

fn named(
    known: &BTreeMap<String, u16>,
    id: &str,
    what: &str,
    null_is: &str,
) -> Result<u16, String> {
    known.get(id).copied().ok_or_else(|| {
        if known.is_empty() {
            return format!("{id:?}: the feed has no {what}; write null");
        }
        let list: Vec<&str> = known.keys().take(12).map(String::as_str).collect();
        let more = if known.len() > list.len() { ", …" } else { "" };
        let list = list.join(", ");
        format!("{id:?} is no {what} of the feed: it has {list}{more}; null is {null_is}")
    })
}
