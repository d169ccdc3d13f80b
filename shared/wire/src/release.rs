//! The contents of lists of the kinds [`ListKind::PLAN`](crate::ListKind::PLAN) and
//! [`ListKind::IMAGE`](crate::ListKind::IMAGE): which releases go where, and a release itself
//! (ADR-0028).
//!
//! The image's signature is over its label's bytes as they were received, never over a re-encoding,
//! and `fleet-sync` checks it.

use alloc::{collections::BTreeSet, string::String, vec::Vec};

use model::ValidatorId;
use serde::{Deserialize, Serialize};

use crate::{WireError, cbor, limits};

const PLANS: &str = "plan of releases";
const IMAGE: &str = "image";

/// How far a release goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleasePlan {
    /// Above every plan before it: a version that failed is tried again under a new one.
    pub number: u64,
    /// The release, such as `1.4.0`.
    pub version: String,
    /// One image for each kind of machine, ascending by that.
    pub images: Vec<PlannedImage>,
    /// Validators that get it first.
    pub canaries: BTreeSet<ValidatorId>,
    /// Of the others, in percent.
    pub percent: u8,
    /// Nobody begins, and nobody switches.
    pub halted: bool,
    /// Whether it may replace a newer one.
    pub downgrade: bool,
    /// How long a validator may take to confirm it, seconds.
    pub confirm_s: u32,
}

/// An image that a plan names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlannedImage {
    /// For which machines, as Rust names them: `aarch64-unknown-linux-gnu`.
    pub target: String,
    /// The version of its list, of the kind image.
    pub list: u64,
}

/// Every plan that is not over, ascending by number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReleasePlans(pub Vec<ReleasePlan>);

/// What is signed of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageLabel {
    /// Its release.
    pub version: String,
    /// For which machines.
    pub target: String,
    /// Bytes of the program.
    pub length: u32,
    /// SHA-256 of the program.
    pub hash: [u8; 32],
}

/// A release for one kind of machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The label's bytes: what is signed.
    pub label: Vec<u8>,
    /// The agency's signature.
    pub signature: [u8; 64],
    /// The program, packed by gzip.
    pub packed: Vec<u8>,
}

/// The fields, by CBOR index.
#[derive(Serialize, Deserialize)]
struct PlansV1 {
    plans: Vec<PlanV1>,
}

/// The fields, by CBOR index.
#[derive(Serialize, Deserialize)]
struct PlanV1 {
    number: u64,
    version: String,
    images: Vec<(String, u64)>,
    canaries: Vec<u32>,
    percent: u8,
    halted: bool,
    downgrade: bool,
    confirm_s: u32,
}

/// The fields, by CBOR index.
#[derive(Serialize, Deserialize)]
struct LabelV1 {
    version: String,
    target: String,
    length: u32,
    #[serde(with = "serde_bytes")]
    hash: [u8; 32],
}

/// The fields, by CBOR index.
#[derive(Serialize, Deserialize)]
struct ImageV1 {
    #[serde(with = "serde_bytes")]
    label: Vec<u8>,
    #[serde(with = "serde_bytes")]
    signature: [u8; 64],
    #[serde(with = "serde_bytes")]
    packed: Vec<u8>,
}

impl ReleasePlans {
    /// The list's content.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        self.check()?;
        let plan = |plan: &ReleasePlan| PlanV1 {
            number: plan.number,
            version: plan.version.clone(),
            images: plan.images.iter().map(|image| (image.target.clone(), image.list)).collect(),
            canaries: plan.canaries.iter().map(|id| id.number()).collect(),
            percent: plan.percent,
            halted: plan.halted,
            downgrade: plan.downgrade,
            confirm_s: plan.confirm_s,
        };
        Ok(cbor::to_vec(&PlansV1 { plans: self.0.iter().map(plan).collect() }))
    }

    /// Reads a list's content.
    pub fn decode(content: &[u8]) -> Result<Self, WireError> {
        cbor::bounded(PLANS, content, limits::CONTENT)?;
        let read: PlansV1 = cbor::from_slice(PLANS, content)?;
        let plan = |plan: PlanV1| -> Result<ReleasePlan, WireError> {
            if !plan.canaries.is_sorted_by(|a, b| a < b) {
                return Err(WireError::OutOfRange("order of canaries"));
            }
            let canary = |number: &u32| {
                ValidatorId::new(*number).ok_or(WireError::OutOfRange("validator number"))
            };
            let image = |(target, list)| PlannedImage { target, list };
            Ok(ReleasePlan {
                number: plan.number,
                version: plan.version,
                images: plan.images.into_iter().map(image).collect(),
                canaries: plan.canaries.iter().map(canary).collect::<Result<_, _>>()?,
                percent: plan.percent,
                halted: plan.halted,
                downgrade: plan.downgrade,
                confirm_s: plan.confirm_s,
            })
        };
        let plans = Self(read.plans.into_iter().map(plan).collect::<Result<_, _>>()?);
        plans.check()?;
        Ok(plans)
    }

    fn check(&self) -> Result<(), WireError> {
        if self.0.len() > limits::PLANS {
            return Err(WireError::TooLarge { what: "number of plans", limit: limits::PLANS });
        }
        if !self.0.is_sorted_by(|a, b| a.number < b.number) || self.0.iter().any(|p| p.number == 0)
        {
            return Err(WireError::OutOfRange("order of plans"));
        }
        for plan in &self.0 {
            short("version of a release", &plan.version)?;
            if plan.percent > 100 {
                return Err(WireError::OutOfRange("percent of a plan"));
            }
            if !plan.images.is_sorted_by(|a, b| a.target < b.target) {
                return Err(WireError::OutOfRange("order of images"));
            }
            for image in &plan.images {
                short("machine of an image", &image.target)?;
            }
        }
        Ok(())
    }
}

impl ImageLabel {
    /// The bytes to be signed.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        short("version of a release", &self.version)?;
        short("machine of an image", &self.target)?;
        let Self { version, target, length, hash } = self.clone();
        Ok(cbor::to_vec(&LabelV1 { version, target, length, hash }))
    }

    /// Reads bytes whose signature was checked.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        cbor::bounded("label of an image", bytes, limits::SMALL)?;
        let LabelV1 { version, target, length, hash } =
            cbor::from_slice("label of an image", bytes)?;
        short("version of a release", &version)?;
        short("machine of an image", &target)?;
        if length as usize > limits::PROGRAM {
            return Err(WireError::TooLarge { what: "program", limit: limits::PROGRAM });
        }
        Ok(Self { version, target, length, hash })
    }
}

impl Image {
    /// The list's content, and the file that an agency signs.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        let Self { label, signature, packed } = self.clone();
        let content = cbor::to_vec(&ImageV1 { label, signature, packed });
        cbor::bounded(IMAGE, &content, limits::CONTENT)?;
        Ok(content)
    }

    /// Reads a list's content. Nothing in it is to be believed before the signature was checked.
    pub fn decode(content: &[u8]) -> Result<Self, WireError> {
        cbor::bounded(IMAGE, content, limits::CONTENT)?;
        let ImageV1 { label, signature, packed } = cbor::from_slice(IMAGE, content)?;
        Ok(Self { label, signature, packed })
    }
}

fn short(what: &'static str, text: &str) -> Result<(), WireError> {
    if text.is_empty() {
        return Err(WireError::Missing(what));
    }
    if text.len() > limits::SOFTWARE {
        return Err(WireError::TooLarge { what, limit: limits::SOFTWARE });
    }
    Ok(())
}
