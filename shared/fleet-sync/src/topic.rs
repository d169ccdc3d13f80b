//! Topic names: built and read in one place.
//!
//! `tapline/1/{depot}/{partition}/{validator}/up/taps`, `…/up/state`, `…/down/ack`, `…/down/keys`
//! and `tapline/1/{depot}/all/host`, `…/all/manifest` and `…/all/chunk/{block}`. The validator's
//! level is its certificate's common name, so that a broker's ACL needs one pattern. No level holds
//! `.`, `$`, `*`, `>`, `+` or `#`.

use alloc::{
    format,
    string::{String, ToString},
};
use core::{fmt, str::FromStr};

use model::ValidatorId;

use crate::BlockId;

/// Partitions of the fleet: how depots share the load.
pub const PARTITIONS: u8 = 64;

/// The partition of a validator: FNV-1a (32 bits) of its written id, modulo 64.
pub fn partition(validator: ValidatorId) -> u8 {
    let hash = validator
        .to_string()
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    u8::try_from(hash % u32::from(PARTITIONS)).expect("a remainder of 64 fits a byte")
}

/// A depot's level in the topics: 1 to 32 of `a`–`z`, `0`–`9` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DepotName(String);

/// The text is no depot name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a depot name: use 1 to 32 lower-case letters, digits and hyphens")]
pub struct DepotNameError(String);

/// The topics of version 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// Batches of a validator.
    Taps(ValidatorId),
    /// A validator's retained state, and its will.
    State(ValidatorId),
    /// The depot's retained ack to a validator.
    Ack(ValidatorId),
    /// The depot's retained list keys for a validator.
    Keys(ValidatorId),
    /// The depot's retained presence, and its will.
    Host,
    /// The depot's retained manifest of lists.
    Manifest,
    /// A retained block of a list.
    Chunk(BlockId),
}

/// The topic is none of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// Another root, version, depot or shape.
    #[error("topic is not of this depot or not known here")]
    Unknown,
    /// The validator's level does not read, or stands in another's partition.
    #[error("topic does not name a validator in its partition")]
    Validator,
    /// The block's level is no SHA-256.
    #[error("topic does not name a block of a list")]
    Chunk,
}

impl FromStr for DepotName {
    type Err = DepotNameError;
    fn from_str(text: &str) -> Result<Self, DepotNameError> {
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if (1..=32).contains(&text.len()) && text.bytes().all(good) {
            Ok(Self(text.to_string()))
        } else {
            Err(DepotNameError(text.to_string()))
        }
    }
}

impl fmt::Display for DepotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl DepotName {
    /// What a depot subscribes to: all batches and all states.
    pub fn uplink_filters(&self) -> [String; 2] {
        ["taps", "state"].map(|leaf| format!("tapline/1/{self}/+/+/up/{leaf}"))
    }

    /// The same for one partition.
    pub fn partition_filters(&self, partition: u8) -> [String; 2] {
        ["taps", "state"].map(|leaf| format!("tapline/1/{self}/{partition:02}/+/up/{leaf}"))
    }
}

impl Topic {
    /// The topic's name at `depot`.
    pub fn name(self, depot: &DepotName) -> String {
        let of = |validator, leaf| {
            format!("tapline/1/{depot}/{:02}/{validator}/{leaf}", partition(validator))
        };
        match self {
            Self::Taps(validator) => of(validator, "up/taps"),
            Self::State(validator) => of(validator, "up/state"),
            Self::Ack(validator) => of(validator, "down/ack"),
            Self::Keys(validator) => of(validator, "down/keys"),
            Self::Host => format!("tapline/1/{depot}/all/host"),
            Self::Manifest => format!("tapline/1/{depot}/all/manifest"),
            Self::Chunk(block) => format!("tapline/1/{depot}/all/chunk/{block}"),
        }
    }

    /// Reads a topic's name as `depot` understands it.
    pub fn parse(depot: &DepotName, name: &str) -> Result<Self, TopicError> {
        let rest = name
            .strip_prefix("tapline/1/")
            .and_then(|rest| rest.strip_prefix(depot.0.as_str()))
            .and_then(|rest| rest.strip_prefix('/'))
            .ok_or(TopicError::Unknown)?;
        match rest.strip_prefix("all/") {
            Some("host") => return Ok(Self::Host),
            Some("manifest") => return Ok(Self::Manifest),
            Some(list) if list.starts_with("chunk/") => {
                let block = list.strip_prefix("chunk/").and_then(BlockId::parse);
                return block.map(Self::Chunk).ok_or(TopicError::Chunk);
            }
            Some(_) | None => {}
        }
        let mut levels = rest.splitn(3, '/');
        let (_, id, leaf) = (levels.next(), levels.next(), levels.next());
        let topic = match leaf {
            Some("up/taps") => Self::Taps,
            Some("up/state") => Self::State,
            Some("down/ack") => Self::Ack,
            Some("down/keys") => Self::Keys,
            Some(_) | None => return Err(TopicError::Unknown),
        };
        let validator = id.and_then(|id| id.parse().ok()).ok_or(TopicError::Validator)?;
        // Written back, so that a validator has exactly one name and one partition.
        let topic = topic(validator);
        if topic.name(depot) == name { Ok(topic) } else { Err(TopicError::Validator) }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn depot() -> DepotName {
        "north-2".parse().unwrap()
    }

    #[test]
    fn names_are_stable_and_read_back() {
        let v = ValidatorId::new(42).unwrap();
        let block = Topic::Chunk(BlockId([0xab; 32]));
        let own = [Topic::Taps(v), Topic::State(v), Topic::Ack(v), Topic::Keys(v)];
        let all = own.into_iter().chain([Topic::Host, Topic::Manifest, block]);
        let names: Vec<_> = all
            .map(|topic| {
                let name = topic.name(&depot());
                assert_eq!(Topic::parse(&depot(), &name), Ok(topic));
                name
            })
            .collect();
        expect_test::expect![[r#"
            [
                "tapline/1/north-2/31/v000042/up/taps",
                "tapline/1/north-2/31/v000042/up/state",
                "tapline/1/north-2/31/v000042/down/ack",
                "tapline/1/north-2/31/v000042/down/keys",
                "tapline/1/north-2/all/host",
                "tapline/1/north-2/all/manifest",
            ]
        "#]]
        .assert_debug_eq(&&names[..6]);
        assert_eq!(names[6], format!("tapline/1/north-2/all/chunk/{}", "ab".repeat(32)));
    }

    #[test]
    fn other_topics_are_refused() {
        for (name, error) in [
            ("", TopicError::Unknown),
            ("tapline/2/north-2/31/v000042/up/taps", TopicError::Unknown),
            ("tapline/1/north/31/v000042/up/taps", TopicError::Unknown),
            ("tapline/1/north-2/31/v000042/up/tap", TopicError::Unknown),
            ("tapline/1/north-2/31/v000042/up/taps/x", TopicError::Unknown),
            ("tapline/1/north-2/32/v000042/up/taps", TopicError::Validator),
            ("tapline/1/north-2/31/v42/up/taps", TopicError::Validator),
            ("tapline/1/north-2/31/x/up/taps", TopicError::Validator),
            ("tapline/1/north-2/all/chunk/abab", TopicError::Chunk),
            ("tapline/1/north-2/all/tariff", TopicError::Unknown),
        ] {
            assert_eq!(Topic::parse(&depot(), name), Err(error), "{name}");
        }
        for bad in ["", "a/b", "A", "a.b", "+", "münchen"] {
            assert!(bad.parse::<DepotName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_fleet_spreads_over_all_partitions() {
        for step in [1, 10, 64, 1000] {
            let mut sizes = [0_u32; PARTITIONS as usize];
            for i in 0..6400 {
                sizes[usize::from(partition(ValidatorId::new(i * step).unwrap()))] += 1;
            }
            assert!(sizes.iter().all(|n| (50..200).contains(n)), "step {step}: {sizes:?}");
        }
    }
}
