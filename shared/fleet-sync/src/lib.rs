//! The sync protocol: the validator's end, the depot's end, and what passes between them: taps
//! upwards, lists downwards.
//!
//! MQTT delivery is a hint; the promise is the depot's cumulative ack, given after its durable
//! commit. Invariants over both ends, whatever the network drops, repeats, delays or reorders and
//! whoever crashes:
//! - an entry is offered again until it is acked, and removed only after that ([`Uplink`]);
//! - an entry enters the books once, in the order of its numbers, with the bytes that the
//!   validator chained and signed ([`Intake`]);
//! - a mark is acked only after the shell said that it is committed;
//! - what contradicts the books is an [`Incident`] with its bytes, never a silent drop.
//!
//! Nothing here reads a clock, draws a random number, or names MQTT.
#![no_std]
extern crate alloc;

mod image;
mod intake;
mod lists;
mod presence;
mod sealing;
mod signed;
mod topic;
mod uplink;

pub use image::{open_image, sign_image};
pub use intake::{Accepted, EpochMark, Incident, Intake, NewEntry, RegistersCheck, Verdict};
pub use lists::{
    BLOCK_BYTES, BlockId, KeyReader, KeyRing, KeysRefused, ListFetcher, ListOutput, ListSource,
    ListTrouble, Shelf, ShelfError, content_pin, open_list, seal_list,
};
pub use presence::{HostPresence, Presence};
pub use sealing::key_id;
pub use signed::{
    Codec, Letter, Receiver, SignatureError, open_message, open_tariff, read_ack, read_batch,
    read_keys, read_state, sign_ack, sign_batch, sign_host, sign_manifest, sign_state, sign_tariff,
    verify_ack, verify_batch, verify_host, verify_manifest, verify_state, with_any, write_ack,
    write_batch, write_keys, write_state,
};
pub use topic::{DepotName, DepotNameError, PARTITIONS, Topic, TopicError, partition};
pub use uplink::{Lane, Link, Output, ProtocolError, Uplink, UplinkConfig};

pub use ed25519_dalek::{SigningKey, VerifyingKey};

#[cfg(test)]
extern crate std;
#[cfg(test)]
mod tests;
