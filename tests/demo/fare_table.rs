//! The feed's fare tables, read straight from its texts and independently of the importer: what a
//! ride must cost before any rule that GTFS cannot say.

use std::collections::{BTreeMap, BTreeSet};

/// Prices in minor units, by the feed's own ids.
#[derive(Debug, Default)]
pub struct FareTable {
    /// Station or stop → zones of its platforms.
    zones: BTreeMap<String, BTreeSet<String>>,
    /// From zone, to zone → price.
    pairs: BTreeMap<(String, String), i64>,
    /// Route → price of one boarding.
    routes: BTreeMap<String, i64>,
}

impl FareTable {
    /// Reads the texts of a feed; `exponent` is the currency's.
    pub fn read(
        texts: &BTreeMap<String, String>,
        exponent: u8,
        aliases: &[(String, String)],
    ) -> Self {
        let table = |name: &str| texts.get(name).map(|text| rows(text)).unwrap_or_default();
        let mut this = Self::default();
        for row in table("stops.txt") {
            let kind = row.get("location_type").copied().unwrap_or_default();
            let zone = row.get("zone_id").copied().unwrap_or_default();
            if !["", "0"].contains(&kind) || zone.is_empty() {
                continue;
            }
            let station = row.get("parent_station").copied().filter(|id| !id.is_empty());
            let alias = aliases.iter().find(|(without, _)| without == zone);
            let zone = alias.map_or(zone, |(_, like)| like);
            let zones = this.zones.entry(station.unwrap_or(row["stop_id"]).to_owned());
            zones.or_default().insert(zone.to_owned());
        }
        let fares: BTreeMap<&str, i64> = table("fare_attributes.txt")
            .iter()
            .map(|row| (row["fare_id"], minor(row["price"], exponent)))
            .collect();
        for row in table("fare_rules.txt") {
            let price = fares.get(row["fare_id"]).copied().unwrap_or_default();
            let field = |name: &str| row.get(name).copied().unwrap_or_default();
            if !field("origin_id").is_empty() && !field("destination_id").is_empty() {
                let pair = (field("origin_id").to_owned(), field("destination_id").to_owned());
                this.pairs.insert(pair, price);
            } else if !field("route_id").is_empty() {
                let held = this.routes.entry(field("route_id").to_owned()).or_insert(price);
                *held = price.min(*held);
            }
        }
        this.everywhere(&fares, &table("fare_rules.txt"), &table("routes.txt"));
        this
    }

    /// A fare that no rule names holds on every route.
    fn everywhere(
        &mut self,
        fares: &BTreeMap<&str, i64>,
        rules: &[BTreeMap<&str, &str>],
        routes: &[BTreeMap<&str, &str>],
    ) {
        let named: BTreeSet<&str> = rules.iter().map(|row| row["fare_id"]).collect();
        let free = fares.iter().filter(|(id, _)| !named.contains(**id)).map(|(_, price)| *price);
        if let Some(price) = free.min() {
            for row in routes {
                let held = self.routes.entry(row["route_id"].to_owned()).or_insert(price);
                *held = price.min(*held);
            }
        }
    }

    /// From station to station; `None` when the table holds none, or more than one.
    pub fn pair(&self, from: &str, to: &str) -> Option<i64> {
        let mut prices = BTreeSet::new();
        for a in self.zones.get(from)? {
            for b in self.zones.get(to)? {
                prices.extend(self.pairs.get(&(a.clone(), b.clone())).copied());
            }
        }
        (prices.len() == 1).then(|| prices.first().copied())?
    }

    /// The highest from a station: what a missing tap-out costs when nothing else is said.
    pub fn maximum(&self, from: &str) -> Option<i64> {
        self.zones.keys().filter_map(|to| self.pair(from, to)).max()
    }

    /// One boarding.
    pub fn route(&self, route: &str) -> Option<i64> {
        self.routes.get(route).copied()
    }
}

/// Rows of a text table by column name.
fn rows(text: &str) -> Vec<BTreeMap<&str, &str>> {
    let mut lines = text.trim_start_matches('\u{feff}').lines();
    let Some(header) = lines.next() else { return Vec::new() };
    let header = fields(header);
    let row = |line| header.iter().copied().zip(fields(line)).collect();
    lines.filter(|line| !line.trim().is_empty()).map(row).collect()
}

/// Splits at the commas outside quotes.
fn fields(line: &str) -> Vec<&str> {
    let mut quoted = false;
    let comma = |c: char| {
        quoted ^= c == '"';
        c == ',' && !quoted
    };
    line.split(comma).map(|field| field.trim().trim_matches('"')).collect()
}

/// `12`, `2.5` or `2.5000` in minor units.
pub(super) fn minor(text: &str, exponent: u8) -> i64 {
    let digits = usize::from(exponent);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{fraction:0<digits$.digits$}").parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn pairs_and_routes_are_read_with_quotes_aliases_and_decimals() {
        let stops = "stop_id,stop_name,zone_id,location_type,parent_station\n\
                     A,\"A, the first\",ignored,1,\nA1,A,za,0,A\nB,B,zb,0,\nC,C,zc,,\n";
        let table = FareTable::read(
            &texts(&[
                ("stops.txt", stops),
                ("fare_attributes.txt", "fare_id,price\nnear,2.5\nfar,12\nbus,1.20\nall,3\n"),
                (
                    "fare_rules.txt",
                    "fare_id,route_id,origin_id,destination_id\n\
                     near,,za,zb\nfar,,zb,za\nbus,7,,\n",
                ),
                ("routes.txt", "route_id\n7\n8\n"),
            ]),
            2,
            &[("zc".to_owned(), "zb".to_owned())],
        );
        assert_eq!(table.pair("A", "B"), Some(250));
        assert_eq!(table.pair("A", "C"), Some(250), "C is like B");
        assert_eq!(table.pair("B", "A"), Some(1200));
        assert_eq!(table.pair("A", "A"), None);
        assert_eq!((table.maximum("A"), table.maximum("B")), (Some(250), Some(1200)));
        assert_eq!((table.route("7"), table.route("8")), (Some(120), Some(300)));
    }

    #[test]
    fn decimals_become_minor_units_of_the_currency() {
        for (text, exponent, expected) in
            [("12", 2, 1200), ("2.5", 2, 250), ("2.5000", 2, 250), ("1400", 0, 1400)]
        {
            assert_eq!(minor(text, exponent), expected, "{text}");
        }
    }
}
