//! What a clerk is told of an operation that is done.

use clearing::Taken;
use serde_json::json;

use super::say;
use crate::desk::{Done, DoneKind};

/// Says it as a sentence, or as JSON.
pub(super) fn tell(done: &Done, card: &str, json: bool) {
    if json {
        say(&json!({
            "operation": done.op,
            "card": card,
            "what": kind_word(done.kind),
            "amount": done.amount.decimal(),
            "adjusted": done.adjusted.decimal(),
            "balance": done.balance.decimal(),
            "currency": done.amount.currency().letters(),
            "begun_before": done.begun_before,
        })
        .to_string());
    } else {
        say(&sentence(done, card));
    }
}

const fn kind_word(kind: DoneKind) -> &'static str {
    match kind {
        DoneKind::Issued => "issued",
        DoneKind::IssuedInPlace => "replaced",
        DoneKind::Loaded => "loaded",
        DoneKind::Retired(_) => "retired",
    }
}

fn sentence(done: &Done, card: &str) -> String {
    let Done { op, amount, balance, .. } = done;
    match done.kind {
        DoneKind::Issued => format!("operation {op}: card {card} is issued with {balance}"),
        DoneKind::IssuedInPlace => {
            format!("operation {op}: card {card} is issued in place of the old one, with {balance}")
        }
        DoneKind::Loaded if done.adjusted.minor() > 0 => format!(
            "operation {op}: {amount} loaded onto card {card}, of which {} was owed to its holder; \
             it holds {balance} now",
            done.adjusted
        ),
        DoneKind::Loaded => {
            format!("operation {op}: {amount} loaded onto card {card}, which holds {balance} now")
        }
        DoneKind::Retired(Taken::PaidOut) => {
            format!("operation {op}: card {card} is retired; pay out {amount}")
        }
        DoneKind::Retired(Taken::ForAnotherCard) => format!(
            "operation {op}: card {card} is retired; {amount} goes onto the card issued with \
             `card replace`"
        ),
        DoneKind::Retired(Taken::Held) => {
            format!("operation {op}: card {card} is retired; {amount} is kept until claimed")
        }
    }
}
