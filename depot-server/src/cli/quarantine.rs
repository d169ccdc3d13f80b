//! `depot-server quarantine …`: messages that could not be believed, and what is in a sealed one.
//!
//! Looking changes nothing: what is printed was not believed, and stays where it is.

use std::{fmt::Write as _, path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use custody::read_hex;
use fleet_sync::{DepotName, SigningKey, Topic, key_id, open_message};
use wire::{Batch, Envelope, Message, MessageVersion, Sealed};

use super::{ConfigPath, desired::moment, say};
use crate::{
    config::{Config, Keys, to_hex},
    store::{Quarantined, Store},
};

#[derive(Debug, Subcommand)]
pub(super) enum Quarantine {
    /// Print the messages that were set aside, the newest first.
    List {
        #[command(flatten)]
        config: ConfigPath,
        /// How many.
        #[arg(long, default_value_t = 20)]
        count: u32,
    },
    /// Print what one of them says, opened with the depot's keys where it is sealed.
    Open(Open),
}

#[derive(Debug, Args)]
pub(super) struct Open {
    #[command(flatten)]
    config: ConfigPath,
    /// Its number, as `quarantine list` prints it.
    id: u64,
    /// A signing key that this depot had before, as a file; may be given again.
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
}

pub(super) fn run(command: Quarantine) -> anyhow::Result<ExitCode> {
    match command {
        Quarantine::List { config, count } => {
            let store = Store::open_existing(&Config::load(&config.config)?.database)?;
            for Quarantined { id, received_at, topic, reason, detail, payload } in
                store.quarantined(count)?
            {
                let (at, bytes) = (moment(received_at), payload.len());
                say(&format!("{id} {at} {reason} {topic} {bytes} bytes: {detail}"));
            }
        }
        Quarantine::Open(Open { config, id, key }) => {
            let config = Config::load(&config.config)?;
            let store = Store::open_existing(&config.database)?;
            let message = store.quarantined_message(id)?;
            let message = message.with_context(|| format!("no message {id}: quarantine list"))?;
            let (signing, before) = Keys::signing(&config.keys)?;
            let mut keys: Vec<SigningKey> = [signing].into_iter().chain(before).collect();
            for path in &key {
                keys.push(SigningKey::from_bytes(&*read_hex(path)?));
            }
            say(look(&message, &config.depot.parse()?, &keys)?.trim_end());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What a message says, line by line.
fn look(set_aside: &Quarantined, depot: &DepotName, keys: &[SigningKey]) -> anyhow::Result<String> {
    let Quarantined { id, received_at, topic, reason, detail, payload } = set_aside;
    let message = match Topic::parse(depot, topic) {
        Ok(Topic::Taps(_)) => Message::Taps,
        Ok(Topic::State(_)) => Message::State,
        Ok(_) | Err(_) => bail!("message {id} came on {topic}, where no validator writes"),
    };
    let mut text = format!("message {id} of {}, on {topic}\n", moment(*received_at));
    let _ = writeln!(text, "set aside: {reason}: {detail}");
    let opened = if MessageVersion::of(message, payload)? == MessageVersion::V3 {
        let to = Sealed::decode(message, payload)?.to;
        let own: Vec<String> =
            keys.iter().map(|key| key_id(&key.verifying_key()).to_string()).collect();
        let opened = open_message(message, payload, keys).with_context(|| {
            format!(
                "it is sealed for key {to}, tried were {}: give another by --key",
                own.join(", ")
            )
        })?;
        let _ = writeln!(text, "sealed for key {to}, opened");
        opened
    } else {
        payload.clone()
    };
    let envelope = Envelope::decode(message, &opened)?;
    if let Some(address) = envelope.address {
        let _ = writeln!(text, "says that key {} signed it for key {}", address.from, address.to);
    }
    if message == Message::Taps {
        let Batch { head, entries, .. } = Batch::decode(envelope.body)?;
        let (validator, epoch) = (head.validator, head.epoch);
        let _ = writeln!(text, "{validator} epoch {epoch}, {} entries, not booked", entries.len());
        let mut seq = head.first;
        for entry in &entries {
            let _ = writeln!(text, "entry {seq}: {}", to_hex(entry));
            seq = seq.next();
        }
    } else {
        let _ = writeln!(text, "state: {}", to_hex(envelope.body));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use model::Timestamp;

    use super::*;

    const SEALED: &str = include_str!("../../../tests/vectors/wire/v3/batch.hex");

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
        digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
    }

    fn set_aside(topic: &str, payload: Vec<u8>) -> Quarantined {
        let (topic, reason) = (topic.to_owned(), "unreadable".to_owned());
        let detail = "message is for another key".to_owned();
        Quarantined { id: 7, received_at: Timestamp(0), topic, reason, detail, payload }
    }

    #[test]
    fn a_sealed_message_that_was_set_aside_is_opened_by_the_key_that_it_is_for_and_no_other() {
        let depot: DepotName = "north".parse().unwrap();
        let key = |seed| SigningKey::from_bytes(&[seed; 32]);
        let batch = set_aside("tapline/1/north/31/v000042/up/taps", bytes(SEALED));
        let text = look(&batch, &depot, &[key(9), key(2)]).unwrap();
        assert!(text.contains("set aside: unreadable: message is for another key"), "{text}");
        assert!(text.contains("opened") && text.contains("v000042 epoch 1795000000"), "{text}");
        assert!(text.contains("\nentry 1001: 01aa"), "{text}");
        let refused = look(&batch, &depot, &[key(9)]).unwrap_err().to_string();
        let (to, tried) = (key_id(&key(2).verifying_key()), key_id(&key(9).verifying_key()));
        assert_eq!(
            refused,
            format!("it is sealed for key {to}, tried were {tried}: give another by --key")
        );
        let mut damaged = bytes(SEALED);
        *damaged.last_mut().unwrap() ^= 1;
        let damaged = set_aside("tapline/1/north/31/v000042/up/taps", damaged);
        assert!(look(&damaged, &depot, &[key(2)]).is_err());
        let elsewhere = set_aside("tapline/1/north/31/v000042/up/tap", bytes(SEALED));
        let refused = look(&elsewhere, &depot, &[key(2)]).unwrap_err().to_string();
        assert!(refused.contains("where no validator writes"), "{refused}");
    }
}
