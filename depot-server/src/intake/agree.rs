//! What an entry says beside the card's record must agree with it.
//!
//! The card's proof covers its records, not the entry around them. A stolen validator could take a
//! record that another one wrote, with its proof from the card's own file, and log it as its own:
//! the money would be the card's, and the revenue the thief's.

use model::{CardTransaction, ClockQuality, TapEvent, TapRecord};

/// How the entry and the record it brings contradict each other; `None` when they agree.
pub(super) fn disagreement(tap: &TapRecord) -> Option<String> {
    let CardTransaction { after, .. } = match &tap.event {
        TapEvent::Committed { transaction, .. } | TapEvent::InDoubt { transaction } => transaction,
        // It was tapped at another time than the one it settles, with whatever was in force then.
        TapEvent::Confirmed { transaction, .. } => {
            let writer = transaction.after.validator;
            return (writer != tap.validator).then(|| written_by(writer));
        }
        TapEvent::Refused { .. } | TapEvent::Voided { .. } | TapEvent::Ticket { .. } => {
            return None;
        }
    };
    // A clock that nobody set is led by the card's last record.
    let has_time = match tap.clock {
        ClockQuality::Unknown | ClockQuality::Saved => false,
        ClockQuality::Rtc | ClockQuality::Ntp | ClockQuality::Gnss => true,
    };
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

fn written_by(writer: model::ValidatorId) -> String {
    format!("the card's record was written by {writer}")
}
