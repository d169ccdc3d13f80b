//! Ids of a feed as indexes.

use std::{collections::BTreeMap, sync::Arc};

use crate::diagnostic::{At, Findings};

/// Ids of one kind, numbered in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    list: Vec<Arc<str>>,
    of: BTreeMap<Arc<str>, u16>,
}

impl Ids {
    pub(crate) fn get(&self, id: &str) -> Option<u16> {
        self.of.get(id).copied()
    }

    pub(crate) fn list(&self) -> &[Arc<str>] {
        &self.list
    }

    pub(crate) fn into_list(self) -> Vec<Arc<str>> {
        self.list
    }

    /// The index of an id, which is new when it has not been seen.
    pub(crate) fn add(&mut self, id: &str, at: At<'_>, found: &mut Findings) -> Option<u16> {
        if let Some(ix) = self.get(id) {
            return Some(ix);
        }
        let Ok(ix) = u16::try_from(self.list.len()) else {
            found.error("too_many", at, "more than 65 536 different ids are not held");
            return None;
        };
        let id: Arc<str> = id.into();
        self.list.push(id.clone());
        self.of.insert(id, ix);
        Some(ix)
    }

    /// The index of an id that must be new and not empty; otherwise that is noted.
    pub(crate) fn define(&mut self, id: &str, at: At<'_>, found: &mut Findings) -> Option<u16> {
        if id.is_empty() {
            found.error("missing_required_field", at, "is empty: give it an id");
            return None;
        }
        if self.get(id).is_some() {
            found.error("duplicate_key", at, format!("{id:?} stands twice"));
            return None;
        }
        self.add(id, at, found)
    }

    /// What a field refers to: `None` when it is empty. A reference to nothing is noted, and
    /// makes the row `dead`.
    pub(crate) fn refer(
        &self,
        id: &str,
        at: At<'_>,
        kind: &str,
        dead: &mut bool,
        found: &mut Findings,
    ) -> Option<u16> {
        let ix = self.get(id);
        if ix.is_none() && !id.is_empty() {
            *dead = true;
            found.error("foreign_key_violation", at, format!("there is no {kind} {id:?}"));
        }
        ix
    }
}
