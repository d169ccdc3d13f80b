//! What can be asked of the demo.

use std::path::PathBuf;

use clap::Parser;

const AFTER: &str = "\
Examples:
  cargo demo                                  the invented city that the project ships
  cargo demo -- --speed 300 --faults          five city minutes a second, with things going wrong
  cargo demo -- --gtfs feeds/hyderabad --zone-alias JBS=PRG
  cargo demo -- --for 60 --check-fares        a minute, then a summary; exit code 1 when a fare
                                              differs from the feed's table

Exit codes: 0 done · 1 something differs, is not acked, or does not verify · 2 cannot start";

/// A city in one process: broker, depot server, validators and riders with cards.
///
/// Everything but the riders and their cards is the production code. Nothing has to be installed.
#[derive(Debug, Clone, Parser)]
#[command(name = "demo", bin_name = "cargo demo --", after_help = AFTER)]
pub struct Options {
    /// Another GTFS feed with Fares v1: a folder or a zip.
    #[arg(long, value_name = "DIR|ZIP")]
    pub gtfs: Option<PathBuf>,
    /// What GTFS cannot say, as a tariff text; without it, `tariff.toml` in the feed's folder.
    #[arg(long, value_name = "FILE")]
    pub overlay: Option<PathBuf>,
    /// A zone without fare rules takes the fares of another one. Can be repeated.
    #[arg(long, value_name = "ZONE=LIKE", value_parser = alias)]
    pub zone_alias: Vec<(String, String)>,
    /// City seconds in one second.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub speed: u32,
    /// Riders with a card each.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(10..=99_999))]
    pub cards: u32,
    /// Validators; without it, two per station and 22 on buses, at most 120.
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..=1000))]
    pub validators: Option<u32>,
    /// The riders' dice: the same seed plans the same day.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where the dashboard listens on this machine; without it, 8080 or the next free port.
    #[arg(long)]
    pub port: Option<u16>,
    /// Keep everything in this new or empty folder; without it, nothing is kept.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Let things go wrong: links, validators, a log, cards pulled away.
    #[arg(long)]
    pub faults: bool,
    /// Compare every fare charged with the feed's table, read independently of the importer.
    #[arg(long)]
    pub check_fares: bool,
    /// Stop by itself, bring every tap home, verify the books, and print a summary.
    #[arg(long = "for", value_name = "SECONDS")]
    pub seconds: Option<u32>,
    /// Print one JSON object a line instead of text: `up` at the start, `summary` at the end.
    #[arg(long)]
    pub json: bool,
}

fn alias(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((zone, like)) if !zone.is_empty() && !like.is_empty() => {
            Ok((zone.to_owned(), like.to_owned()))
        }
        _ => Err("write the zone without fares, =, and the zone it is like: JBS=PRG".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_names_two_zones() {
        assert_eq!(alias("JBS=PRG"), Ok(("JBS".into(), "PRG".into())));
        for wrong in ["JBS", "=PRG", "JBS="] {
            assert!(alias(wrong).is_err(), "{wrong}");
        }
    }
}
