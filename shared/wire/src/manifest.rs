//! The manifest of the depot's lists, and what a published tariff looks like as a list (ADR-0016).

use alloc::{string::String, vec::Vec};

use model::{ServiceDate, TariffVersion, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{WireError, cbor, limits};

const WHAT: &str = "manifest";

/// What a list is for. A manifest may hold kinds that this version does not know; they are kept
/// as they are and nothing is fetched for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListKind(pub u8);

/// Every kind that is known here, with its word in metrics, screens and file names. A new kind is
/// a line here.
pub const LIST_KINDS: [(ListKind, &str); 7] = [
    (ListKind::TARIFF, "tariff"),
    (ListKind::HOTLIST, "hotlist"),
    (ListKind::ACTIONS, "actions"),
    (ListKind::CONFIG, "config"),
    (ListKind::PLAN, "plan"),
    (ListKind::DESIRED, "desired"),
    (ListKind::IMAGE, "image"),
];

impl ListKind {
    /// Tariffs: several versions side by side.
    pub const TARIFF: Self = Self(1);
    /// Cards to refuse.
    pub const HOTLIST: Self = Self(2);
    /// Operations that wait for a card.
    pub const ACTIONS: Self = Self(3);
    /// Settings of validators.
    pub const CONFIG: Self = Self(4);
    /// Which releases of the software go where, and how far.
    pub const PLAN: Self = Self(5);
    /// Which validators are to take taps.
    pub const DESIRED: Self = Self(6);
    /// A release itself, for one kind of machine; several side by side, fetched by whom a plan
    /// chooses.
    pub const IMAGE: Self = Self(7);

    /// Its word; `None` for a kind that is not known here.
    pub fn word(self) -> Option<&'static str> {
        LIST_KINDS.iter().find(|(kind, _)| *kind == self).map(|(_, word)| *word)
    }
}

/// Which bytes: how many, and the root of their hash tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContentPin {
    /// Bytes.
    pub length: u32,
    /// SHA-256 of the content's root block; of the content itself when that is one block.
    pub root: [u8; 32],
}

/// A shorter way from one version to the pinned one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeltaPin {
    /// The version that it changes.
    pub from: u64,
    /// The delta's own bytes.
    pub content: ContentPin,
}

/// One list in one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPin {
    /// What it is for.
    pub kind: ListKind,
    /// Higher is newer.
    pub version: u64,
    /// Its content.
    pub content: ContentPin,
    /// Shorter ways to it, if any.
    pub deltas: Vec<DeltaPin>,
    /// The number of the list key with which the content and its deltas are sealed (ADR-0032);
    /// `None` when everybody can read them.
    pub key: Option<u64>,
}

/// What the depot says is in force and what comes next: one word for all lists together, so that
/// none can be taken from another day than the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Higher is newer; never the same number for other lists.
    pub version: u64,
    /// When the depot signed it.
    pub issued: Timestamp,
    /// A validator that has no newer one by then is cut off from its depot.
    pub expires: Timestamp,
    /// Ascending by kind and version, each once.
    pub lists: Vec<ListPin>,
}

/// The content of a list of kind [`ListKind::TARIFF`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedTariff {
    /// Its version, which its text says again.
    pub version: TariffVersion,
    /// The service date from which it holds.
    pub valid_from: ServiceDate,
    /// When that service day begins, by the tariff's own time zone and start of day.
    pub starts_at: Timestamp,
    /// The depot's signature of `docs/fares.md`, over version, service date and text.
    pub signature: [u8; 64],
    /// The tariff as TOML.
    pub text: String,
}

/// The fields, by CBOR index.
#[derive(Serialize, Deserialize)]
struct ManifestV1 {
    version: u64,
    issued: u64,
    expires: u64,
    lists: Vec<PinV1>,
}

/// The fields, by CBOR index.
#[derive(Serialize, Deserialize)]
struct PinV1 {
    kind: u8,
    version: u64,
    length: u32,
    #[serde(with = "serde_bytes")]
    root: [u8; 32],
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    deltas: Vec<DeltaV1>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<u64>,
}

/// The fields, by CBOR index.
#[derive(Serialize, Deserialize)]
struct DeltaV1 {
    from: u64,
    length: u32,
    #[serde(with = "serde_bytes")]
    root: [u8; 32],
}

/// The fields, by CBOR index.
#[derive(Serialize, Deserialize)]
struct TariffV1 {
    version: u16,
    valid_from: u32,
    starts_at: u64,
    #[serde(with = "serde_bytes")]
    signature: [u8; 64],
    text: String,
}

impl Manifest {
    /// The body's bytes.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        self.check()?;
        let pin = |pin: &ListPin| PinV1 {
            kind: pin.kind.0,
            version: pin.version,
            length: pin.content.length,
            root: pin.content.root,
            deltas: pin
                .deltas
                .iter()
                .map(|delta| DeltaV1 {
                    from: delta.from,
                    length: delta.content.length,
                    root: delta.content.root,
                })
                .collect(),
            key: pin.key,
        };
        Ok(cbor::to_vec(&ManifestV1 {
            version: self.version,
            issued: self.issued.0,
            expires: self.expires.0,
            lists: self.lists.iter().map(pin).collect(),
        }))
    }

    /// Reads a body.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        cbor::bounded(WHAT, body, limits::MANIFEST)?;
        let m: ManifestV1 = cbor::from_slice(WHAT, body)?;
        let pin = |pin: PinV1| ListPin {
            kind: ListKind(pin.kind),
            version: pin.version,
            content: ContentPin { length: pin.length, root: pin.root },
            deltas: pin
                .deltas
                .into_iter()
                .map(|delta| DeltaPin {
                    from: delta.from,
                    content: ContentPin { length: delta.length, root: delta.root },
                })
                .collect(),
            key: pin.key,
        };
        let manifest = Self {
            version: m.version,
            issued: Timestamp(m.issued),
            expires: Timestamp(m.expires),
            lists: m.lists.into_iter().map(pin).collect(),
        };
        manifest.check()?;
        Ok(manifest)
    }

    /// The pin of one list in one version.
    pub fn find(&self, kind: ListKind, version: u64) -> Option<&ListPin> {
        self.lists.iter().find(|pin| (pin.kind, pin.version) == (kind, version))
    }

    /// The highest version of a kind.
    pub fn newest(&self, kind: ListKind) -> Option<&ListPin> {
        self.lists.iter().rev().find(|pin| pin.kind == kind)
    }

    fn check(&self) -> Result<(), WireError> {
        if self.lists.len() > limits::LISTS {
            return Err(WireError::TooLarge { what: "number of lists", limit: limits::LISTS });
        }
        let order = |pin: &ListPin| (pin.kind, pin.version);
        if !self.lists.is_sorted_by(|a, b| order(a) < order(b)) {
            return Err(WireError::OutOfRange("order of lists"));
        }
        for pin in &self.lists {
            if pin.deltas.len() > limits::DELTAS {
                return Err(WireError::TooLarge {
                    what: "number of deltas",
                    limit: limits::DELTAS,
                });
            }
            let deltas = pin.deltas.iter().map(|delta| delta.content.length);
            for length in deltas.chain([pin.content.length]) {
                if length as usize > limits::CONTENT {
                    return Err(WireError::TooLarge { what: "list", limit: limits::CONTENT });
                }
            }
        }
        Ok(())
    }
}

impl PublishedTariff {
    /// The list's content.
    pub fn encode(&self) -> Vec<u8> {
        cbor::to_vec(&TariffV1 {
            version: self.version.0,
            valid_from: self.valid_from.0,
            starts_at: self.starts_at.0,
            signature: self.signature,
            text: self.text.clone(),
        })
    }

    /// Reads a list's content.
    pub fn decode(content: &[u8]) -> Result<Self, WireError> {
        cbor::bounded("tariff", content, limits::CONTENT)?;
        let t: TariffV1 = cbor::from_slice("tariff", content)?;
        Ok(Self {
            version: TariffVersion(t.version),
            valid_from: ServiceDate(t.valid_from),
            starts_at: Timestamp(t.starts_at),
            signature: t.signature,
            text: t.text,
        })
    }
}
