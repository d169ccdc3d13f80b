//! Whether a manifest may follow the trusted one.

use core::fmt;

use wire::{ListKind, Manifest};

/// What is wrong with a manifest or a list. The trusted lists stay as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListTrouble {
    /// A manifest is not the depot's, or does not read.
    NotAuthentic,
    /// An older manifest than the trusted one: somebody plays back an old day.
    Older {
        /// Its version.
        offered: u64,
        /// The trusted one's.
        trusted: u64,
    },
    /// Another manifest under the trusted one's version.
    Conflicting {
        /// That version.
        version: u64,
    },
    /// A newer manifest that takes a kind of lists back to an older version, or drops it.
    RolledBack {
        /// Which kind.
        kind: ListKind,
        /// Its newest version in the trusted manifest.
        trusted: u64,
    },
    /// Other bytes under a version that is known.
    OtherContent {
        /// Which kind.
        kind: ListKind,
        /// Which version.
        version: u64,
    },
    /// A block came with other bytes than its name says, or its list does not add up.
    Corrupt,
    /// The trusted manifest is older than it may be: no word from the depot.
    Expired,
    /// A list is whole and cannot be used.
    Unusable {
        /// Which kind.
        kind: ListKind,
        /// Which version.
        version: u64,
    },
}

impl fmt::Display for ListTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |kind: ListKind| kind.word().unwrap_or("unknown");
        match self {
            Self::NotAuthentic => write!(f, "a manifest that is not the depot's was refused"),
            Self::Older { offered, trusted } => {
                write!(f, "manifest {offered} was refused: {trusted} is trusted already")
            }
            Self::Conflicting { version } => {
                write!(f, "another manifest {version} than the trusted one was refused")
            }
            Self::RolledBack { kind, trusted } => {
                write!(f, "a manifest was refused that takes {} back from {trusted}", word(*kind))
            }
            Self::OtherContent { kind, version } => {
                write!(f, "a manifest was refused with other contents of {} {version}", word(*kind))
            }
            Self::Corrupt => write!(f, "a block of a list came with other bytes than it has"),
            Self::Expired => write!(f, "the manifest has expired: no word from the depot"),
            Self::Unusable { kind, version } => {
                write!(f, "{} {version} cannot be used", word(*kind))
            }
        }
    }
}

/// `Ok(false)` when it is the trusted one again.
pub(super) fn may_follow(trusted: Option<&Manifest>, new: &Manifest) -> Result<bool, ListTrouble> {
    let Some(trusted) = trusted else { return Ok(true) };
    if new.version < trusted.version {
        let (offered, trusted) = (new.version, trusted.version);
        return Err(ListTrouble::Older { offered, trusted });
    }
    if new.version == trusted.version {
        let version = new.version;
        return if new == trusted { Ok(false) } else { Err(ListTrouble::Conflicting { version }) };
    }
    for known in &trusted.lists {
        let (kind, version) = (known.kind, known.version);
        if let Some(offered) = new.find(kind, version)
            && offered.content != known.content
            // Sealed anew, the same bytes look otherwise: with which key is part of the pin.
            && offered.key == known.key
        {
            return Err(ListTrouble::OtherContent { kind, version });
        }
    }
    for known in trusted.lists.iter().rev() {
        let (kind, version) = (known.kind, known.version);
        if new.newest(kind).is_none_or(|newest| newest.version < version) {
            return Err(ListTrouble::RolledBack { kind, trusted: version });
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec::Vec};

    use model::Timestamp;
    use wire::{ContentPin, ListPin};

    use super::*;

    fn manifest(version: u64, lists: &[(ListKind, u64, u8)]) -> Manifest {
        let pin = |(kind, version, root): &(ListKind, u64, u8)| ListPin {
            kind: *kind,
            version: *version,
            content: ContentPin { length: 5, root: [*root; 32] },
            deltas: Vec::new(),
            key: None,
        };
        let lists = lists.iter().map(pin).collect();
        Manifest { version, issued: Timestamp(version), expires: Timestamp(u64::MAX), lists }
    }

    #[test]
    fn what_follows_is_newer_in_all_and_contradicts_nothing() {
        const T: ListKind = ListKind::TARIFF;
        const H: ListKind = ListKind::HOTLIST;
        let trusted = manifest(7, &[(T, 1, 1), (T, 2, 2), (H, 5, 5)]);
        let rows: [(&str, Manifest, Result<bool, &str>); 9] = [
            ("again", trusted.clone(), Ok(false)),
            ("older", manifest(6, &[(T, 2, 2), (H, 5, 5)]), Err("manifest 6 was refused: 7 is")),
            ("other", manifest(7, &[(T, 2, 2)]), Err("another manifest 7 than")),
            ("newer", manifest(8, &[(T, 2, 2), (T, 3, 3), (H, 5, 5)]), Ok(true)),
            ("newer hotlist", manifest(9, &[(T, 2, 2), (H, 6, 6)]), Ok(true)),
            ("hotlist gone", manifest(9, &[(T, 2, 2)]), Err("that takes hotlist back from 5")),
            ("tariff back", manifest(9, &[(T, 1, 1), (H, 5, 5)]), Err("takes tariff back from 2")),
            (
                "other bytes",
                manifest(9, &[(T, 2, 9), (H, 5, 5)]),
                Err("other contents of tariff 2"),
            ),
            (
                "same content, new kind",
                manifest(9, &[(T, 2, 2), (H, 5, 5), (ListKind(77), 1, 1)]),
                Ok(true),
            ),
        ];
        for (name, new, expected) in rows {
            match (may_follow(Some(&trusted), &new), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{name}"),
                (Err(trouble), Err(words)) => {
                    assert!(trouble.to_string().contains(words), "{name}: {trouble}");
                }
                (found, expected) => panic!("{name}: {found:?} instead of {expected:?}"),
            }
        }
        assert_eq!(may_follow(None, &trusted), Ok(true));
    }
}
