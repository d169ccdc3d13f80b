//! What an entry says beside the card's record must agree with it.
//!
//! The card's proof covers its records, not the entry around them. A stolen validator could take a
//! record that another one wrote, with its proof from the card's own file, and log it as its own:
//! the money would be the card's, and the revenue the thief's.

use model::{CardRecord, CardTransaction, ClockQuality, OrderId, RecordKind, TapEvent, TapRecord};

/// How the entry and the record it brings contradict each other; `None` when they agree.
pub(super) fn disagreement(tap: &TapRecord) -> Option<String> {
    let CardTransaction { after, .. } = match &tap.event {
        TapEvent::Committed { transaction, .. } | TapEvent::InDoubt { transaction } => transaction,
        // It was tapped at another time than the one it settles, with whatever was in force then.
        TapEvent::Confirmed { transaction, .. } => {
            let CardRecord { validator: writer, kind, .. } = transaction.after;
            let is_entrys = tap.order.is_some() && kind == RecordKind::LoadInJourney;
            return (writer != tap.validator && !is_entrys).then(|| written_by(writer));
        }
        TapEvent::Refused { .. }
        | TapEvent::Voided { .. }
        | TapEvent::Gate { .. }
        | TapEvent::Ticket { .. } => return None,
    };
    // A clock that nobody set is led by the card's last record.
    let has_time = match tap.clock {
        ClockQuality::Unknown | ClockQuality::Saved => false,
        ClockQuality::Rtc | ClockQuality::Ntp | ClockQuality::Gnss => true,
    };
    if let Some(order) = tap.order {
        return disagreement_of_load(tap, after, order);
    }
    if after.validator != tap.validator {
        return Some(written_by(after.validator));
    }
    if after.place != tap.place || after.tariff != tap.tariff {
        return Some("the card's record names another place or tariff".to_owned());
    }
    if has_time && after.at().secs() != tap.tapped_at.secs() {
        return Some("the card's record names another time".to_owned());
    }
    None
}

/// A load in an open journey leaves the record the entry's; any other names who wrote it, and when.
fn disagreement_of_load(tap: &TapRecord, after: &CardRecord, order: OrderId) -> Option<String> {
    match after.kind {
        RecordKind::Load if after.validator != tap.validator => Some(written_by(after.validator)),
        RecordKind::Load if after.at().secs() != tap.tapped_at.secs() => {
            Some("the card's record names another time".to_owned())
        }
        RecordKind::Load | RecordKind::LoadInJourney => None,
        RecordKind::Issue
        | RecordKind::Board
        | RecordKind::Entry
        | RecordKind::Exit
        | RecordKind::Retire => Some(format!("it names load order {order} and is no load")),
    }
}

fn written_by(writer: model::ValidatorId) -> String {
    format!("the card's record was written by {writer}")
}
