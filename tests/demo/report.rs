//! What the demo says: text for people, or one JSON object a line.

use std::io::{IsTerminal as _, Write as _};

use serde_json::json;

use super::{audit::Audit, day::Tally, showcase::Shown};

/// How the demo speaks.
#[derive(Debug, Clone, Copy)]
pub struct Voice {
    /// JSON instead of text.
    pub json: bool,
}

/// What is said once everything is up.
#[derive(Debug, Clone, Default)]
pub struct Up {
    /// Name of the network.
    pub network: String,
    /// Validators.
    pub validators: usize,
    /// Cards.
    pub cards: usize,
    /// City seconds in one second.
    pub speed: u32,
    /// Time of day there.
    pub time: String,
    /// One-time login.
    pub login: String,
    /// Milliseconds from the start.
    pub up_ms: u64,
    /// Where everything is kept.
    pub state: String,
    /// What the importer said.
    pub warnings: Vec<String>,
    /// What can be looked at.
    pub shown: Shown,
}

/// How it went.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Milliseconds that riders tapped.
    pub live_ms: u64,
    /// Taps.
    pub tally: Tally,
    /// Entries in the books.
    pub booked: u64,
    /// Entries never acknowledged.
    pub unacked: u64,
    /// Kinds of exceptions and how many were opened.
    pub exceptions: Vec<(&'static str, u64)>,
    /// Whether the books were recomputed, and the first difference.
    pub verified: Option<Result<u64, String>>,
    /// The fare check, when it was asked for.
    pub fares: Option<Audit>,
}

impl Outcome {
    /// Whether nothing differs.
    pub fn is_good(&self) -> bool {
        self.unacked == 0
            && !matches!(self.verified, Some(Err(_)))
            && self.fares.as_ref().is_none_or(|fares| fares.mismatched == 0)
    }
}

impl Voice {
    /// Everything is up.
    pub fn up(self, up: &Up) {
        let Shown { exception, story, charge, explained } = &up.shown;
        if self.json {
            return line(&json!({
                "event": "up", "up_ms": up.up_ms, "login": up.login, "exception": exception,
                "charge": charge, "validators": up.validators, "cards": up.cards,
                "state": up.state, "story": story, "explained": explained,
            }));
        }
        for warning in &up.warnings {
            say(&format!("  {warning}"));
        }
        say(&format!(
            "\n{}: {} validators, {} cards, {} city seconds a second; it is {} there (up in {} ms)",
            up.network, up.validators, up.cards, up.speed, up.time, up.up_ms
        ));
        say(&format!("\n  dashboard  {}\n             (this link logs in once)", bold(&up.login)));
        let nothing = "not yet: see the dashboard";
        say(&format!("  exception  {}", exception.as_deref().unwrap_or(nothing)));
        say(&format!("             {story}"));
        say(&format!("  a charge   {}", charge.as_deref().unwrap_or(nothing)));
        say(&format!("             {explained}"));
        say(&format!("\n  state in {}; Ctrl-C stops\n", up.state));
    }

    /// Every now and then.
    pub fn progress(self, time: &str, tally: Tally, a_second: u64, open: u64) {
        if !self.json {
            let Tally { taps, refused, unanswered, .. } = tally;
            say(&format!(
                "{time}  {taps} taps, {a_second} a second, {refused} refused, {unanswered} \
                 unanswered; {open} exceptions open"
            ));
        }
    }

    /// The end.
    pub fn outcome(self, outcome: &Outcome) {
        let Tally { taps, granted, refused, unanswered, low_value, charged } = outcome.tally;
        let difference = match &outcome.verified {
            Some(Err(difference)) => Some(difference.as_str()),
            Some(Ok(_)) | None => None,
        };
        if self.json {
            let fares = outcome.fares.as_ref().map(|fares| {
                json!({
                    "compared": fares.compared, "mismatched": fares.mismatched,
                    "adjusted": fares.adjusted, "capped": fares.capped,
                    "skipped": fares.skipped, "differences": fares.differences,
                })
            });
            let exceptions: serde_json::Map<_, _> =
                outcome.exceptions.iter().map(|(kind, n)| ((*kind).into(), (*n).into())).collect();
            return line(&json!({
                "event": "summary", "good": outcome.is_good(), "live_ms": outcome.live_ms,
                "taps": taps, "granted": granted, "refused": refused, "unanswered": unanswered,
                "low_value": low_value, "charged": charged, "booked": outcome.booked,
                "unacked": outcome.unacked, "exceptions": exceptions, "fares": fares,
                "verified": outcome.verified.is_some() && difference.is_none(),
                "difference": difference,
            }));
        }
        say(&format!(
            "\n{taps} taps: {granted} granted, {refused} refused, {unanswered} unanswered; {} \
             entries booked, {} not acknowledged",
            outcome.booked, outcome.unacked
        ));
        for (kind, count) in &outcome.exceptions {
            say(&format!("  {count} × {kind}"));
        }
        if let Some(fares) = &outcome.fares {
            let Audit { compared, adjusted, capped, mismatched, skipped, differences, .. } = fares;
            say(&format!(
                "fares: {compared} compared with the feed's table and the tariff text, of which \
                 {adjusted} with a discount and {capped} capped; {mismatched} differ, {skipped} \
                 not comparable"
            ));
            for difference in differences {
                say(&format!("  {difference}"));
            }
        }
        match &outcome.verified {
            Some(Ok(entries)) => {
                say(&format!("books: {entries} entries booked again, no difference"));
            }
            Some(Err(difference)) => say(&format!("books: {difference}")),
            None => {}
        }
    }

    /// Why it cannot start.
    pub fn error(error: &dyn std::error::Error) {
        let _ = writeln!(std::io::stderr(), "error: {}", validator::chain(error));
    }
}

fn bold(text: &str) -> String {
    if std::io::stdout().is_terminal() { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
}

/// A reader that has gone away is not our failure.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn line(value: &serde_json::Value) {
    say(&value.to_string());
    let _ = std::io::stdout().flush();
}
