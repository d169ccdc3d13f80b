//! `depot-server card rekey`: the current versions of its keys for a card that has older ones.

use std::{process::ExitCode, time::Duration};

use card::{KeyRole, KeyVersion};
use serde_json::{Map, Value, json};

use super::{
    card::{Desk, Exit, number, runtime, station},
    say, warn,
};
use crate::desk::{Hand, Rekeyed};

pub(super) const EXAMPLE: &str = "\
Example, after `depot-server keys rotate debit`, keystores for all validators and \
`depot-server keys use debit 2`:
  depot-server card rekey --reader pn532:/dev/ttyUSB0

`depot-server keys list` shows which versions are current. A card that was pulled away goes on \
working: hold it to the reader again and run the command again.";

/// Gives the card on the reader the current versions of its keys.
pub(super) fn rekey(desk: &Desk) -> Exit {
    let station = station(&desk.config.config)?;
    let done = runtime()?.block_on(async {
        let patience = Duration::from_secs(desk.wait);
        let mut hand = Hand::open(&desk.reader, patience, warn).await?;
        let done = station.rekey(&mut hand).await;
        hand.close().await;
        done
    })?;
    let card = number(done.card, desk.number);
    say(&if desk.json { as_json(&done, &card).to_string() } else { sentence(&done, &card) });
    Ok(ExitCode::SUCCESS)
}

fn sentence(done: &Rekeyed, card: &str) -> String {
    let list = |words: Vec<String>| words.join(", ");
    if done.changed.is_empty() {
        let current =
            |(role, version): &(KeyRole, KeyVersion)| format!("{} {version}", role.word());
        let current = list(done.current.iter().map(current).collect());
        return format!(
            "card {card} is current: none of its keys is older than {current}; nothing was changed"
        );
    }
    let changed = done.changed.iter();
    let changed = changed.map(|c| format!("{} from version {} to {}", c.role.word(), c.from, c.to));
    format!("card {card} has new keys: {}", list(changed.collect()))
}

fn as_json(done: &Rekeyed, card: &str) -> Value {
    let changed = done.changed.iter();
    let changed = changed.map(|c| json!({ "key": c.role.word(), "from": c.from.0, "to": c.to.0 }));
    let current = done.current.iter();
    let current = current.map(|(role, version)| (role.word().to_owned(), json!(version.0)));
    json!({
        "card": card,
        "changed": changed.collect::<Vec<_>>(),
        "current": current.collect::<Map<_, _>>(),
    })
}
