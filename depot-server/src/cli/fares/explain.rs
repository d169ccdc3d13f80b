//! One journey, given as flags, with its charge explained and what it would cost otherwise.

use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Value, json};

use super::{journeys::Priced, keys::Spelling, line::Object, source::FareSource};
use crate::cli::say;

#[derive(Debug, Args)]
pub(in crate::cli) struct OneJourney {
    #[command(flatten)]
    pub(super) source: FareSource,
    /// The service day, such as 20261126.
    #[arg(long)]
    date: String,
    /// A rider category or class; the default one without it.
    #[arg(long)]
    rider: Option<String>,
    /// A fare medium; any without it.
    #[arg(long)]
    medium: Option<String>,
    /// The currency of the card's purse, when the tariff has rates for it.
    #[arg(long, value_name = "CURRENCY")]
    purse: Option<String>,
    /// ROUTE,FROM,TO,DEPARTURE,ARRIVAL: one for each leg, in order.
    #[arg(long, required = true)]
    leg: Vec<String>,
}

impl OneJourney {
    /// The journey as a line of input, for another rider or medium or for its own.
    fn line(&self, rider: Option<&str>, medium: Option<&str>) -> anyhow::Result<String> {
        let leg = |text: &String| {
            let parts: Vec<&str> = text.split(',').map(str::trim).collect();
            let [route, from, to, dep, arr] = parts.as_slice() else {
                bail!("--leg {text}: write ROUTE,FROM,TO,DEPARTURE,ARRIVAL");
            };
            Ok(json!({"route": route, "from": from, "to": to, "dep": dep, "arr": arr}))
        };
        let legs: Vec<Value> = self.leg.iter().map(leg).collect::<anyhow::Result<_>>()?;
        let card = self.purse.as_ref().map(|currency| json!({"currency": currency}));
        let date = &self.date;
        let line =
            json!({"date": date, "rider": rider, "medium": medium, "card": card, "legs": legs});
        Ok(line.to_string())
    }

    /// Prints the explained charge; `price` answers a line.
    pub(super) fn explain(
        &self,
        media: &[String],
        riders: &[String],
        mut price: impl FnMut(&Object<'_>) -> Result<Priced, String>,
    ) -> anyhow::Result<()> {
        let mut ask = |rider: Option<&str>, medium: Option<&str>| {
            let line = self.line(rider, medium)?;
            let spelling = Spelling::default();
            let object = Object::parse(&line, &spelling).map_err(anyhow::Error::msg)?;
            price(&object).map_err(anyhow::Error::msg)
        };
        let (rider, medium) = (self.rider.as_deref(), self.medium.as_deref());
        let priced = ask(rider, medium).context("the journey cannot be priced")?;
        for step in &priced.steps {
            say(&format!("{:>10}  {}  ({})", step.amount, step.text, step.rule));
        }
        say(&format!("{:>10}  {}{}", priced.total, priced.currency, unknown(&priced)));
        if let Some(purse) = &priced.purse {
            for exchange in &purse.exchange {
                say(&format!("{:>10}  {}", "", exchange.text));
            }
            say(&format!("{:>10}  {}", purse.total, purse.currency));
        }
        let media = media.iter().map(|id| (rider, Some(id.as_str()), format!("medium {id}")));
        let riders = riders.iter().map(|id| (Some(id.as_str()), medium, format!("rider {id}")));
        let mut others = Vec::new();
        for (rider, medium, name) in media.chain(riders) {
            let other = ask(rider, medium)?;
            if (other.total.as_str(), &other.unknown_legs) != (&priced.total, &priced.unknown_legs)
            {
                others.push(format!("{:>10}  {name}{}", other.total, unknown(&other)));
            }
        }
        if !others.is_empty() {
            say("otherwise:");
            for line in &others {
                say(line);
            }
        }
        Ok(())
    }
}

fn unknown(priced: &Priced) -> String {
    if priced.unknown_legs.is_empty() {
        return String::new();
    }
    let legs: Vec<String> = priced.unknown_legs.iter().map(ToString::to_string).collect();
    format!(", no fare is known for leg {} (from 0)", legs.join(", "))
}
