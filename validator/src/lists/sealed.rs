//! Sealed lists here: the keys that open them, and what came or is pinned under one (ADR-0032).
//!
//! Lists are kept readable beside the debit keys, so that nothing that is in use is lost with a
//! list key. The message that gave the keys is kept as it came, sealed for this validator.

use fleet_sync::{KeyReader, KeyRing, content_pin, open_list, seal_list};
use validation::Hotlist;
use wire::{HeldList, ListKind};

use super::{DiskError, Lists, Settings, Told};

/// The list keys that this validator was given.
pub(super) struct Keys {
    reader: KeyReader,
    pub(super) ring: KeyRing,
}

impl Keys {
    /// With what was kept, unless it does not open any more.
    pub(super) fn open(settings: &Settings, kept: Option<&[u8]>) -> Self {
        let Settings { validator, signing, depot_keys, .. } = settings;
        let (own, depot) = (signing.clone(), depot_keys.clone());
        let reader = KeyReader { validator: *validator, own, depot };
        let mut ring = KeyRing::default();
        if let Some(Err(error)) = kept.map(|payload| ring.handle_keys(payload, &reader)) {
            // Another key of this validator or of the depot: the broker has what is for it.
            let error = crate::chain(&error);
            tracing::warn!(error, "the kept list keys are not used");
        }
        Self { reader, ring }
    }
}

impl Lists {
    /// A message about list keys: kept before it counts.
    pub(super) fn take_keys(&mut self, payload: &[u8], told: &Told) {
        if payload.is_empty() {
            tracing::info!("the broker holds no list keys for this validator");
            return;
        }
        let mut ring = self.keys.ring.clone();
        match ring.handle_keys(payload, &self.keys.reader) {
            Ok(false) => {}
            Ok(true) => match self.disk.keep_keys(payload) {
                Ok(()) => {
                    tracing::info!(newest = ring.newest(), "list keys were given");
                    self.keys.ring = ring;
                    let now = self.settings.clock.uptime();
                    self.fetcher.handle_keys(now, self.keys.ring.numbers());
                }
                Err(error) => self.broken = Some(crate::chain(&error)),
            },
            Err(error) => {
                told.metrics.list_troubles.inc();
                self.trouble = crate::chain(&error);
                tracing::error!(error = self.trouble, "list keys");
            }
        }
    }

    /// For which key a list waits, in words.
    pub(super) fn waiting(&self) -> Option<String> {
        let (HeldList { kind, version }, key) = self.fetcher.waiting()?;
        let word = kind.word().unwrap_or("list");
        Some(format!("{word} {version} waits for list key {key}: the depot has not given it here"))
    }

    /// The list that came, readable, once it is what the manifest pins; or why there is none.
    pub(super) fn content_of(
        &self,
        list: HeldList,
        from: Option<u64>,
        key: Option<u64>,
        came: Vec<u8>,
    ) -> Result<Result<Vec<u8>, String>, DiskError> {
        let other = || "it is not what the manifest says".to_owned();
        if from.is_none() && !self.fetcher.is_content_of(list, &came) {
            return Ok(Err(other()));
        }
        let opened = match key {
            None => Ok(came),
            Some(number) => self.opened(list, from, number, came),
        };
        let (from, delta) = match (from, opened) {
            (Some(from), Ok(delta)) => (from, delta),
            (None, whole) => return Ok(whole),
            (Some(_), Err(problem)) => return Ok(Err(problem)),
        };
        let changed = self.changed(list, from, &delta)?;
        Ok(changed.and_then(|plain| {
            let sealed = key.map(|number| self.sealed(list, number, &plain));
            let sealed = sealed.map_or(Some(None), |sealed| sealed.map(Some)).ok_or_else(other)?;
            let pinned = sealed.as_deref().unwrap_or(&plain);
            if self.fetcher.is_content_of(list, pinned) { Ok(plain) } else { Err(other()) }
        }))
    }

    /// What is here is pinned sealed with another key: whether it is that is said by sealing it.
    pub(super) fn reseal(&mut self, list: HeldList, key: u64) -> Result<(), DiskError> {
        let plain = self.disk.read_list(list)?;
        let sealed = plain.and_then(|plain| self.sealed(list, key, &plain));
        let now = self.settings.clock.uptime();
        tracing::info!(kind = list.kind.0, version = list.version, key, "a list is sealed anew");
        self.fetcher.handle_resealed(now, list, sealed.as_deref().map(content_pin));
        Ok(())
    }

    fn sealed(&self, list: HeldList, number: u64, plain: &[u8]) -> Option<Vec<u8>> {
        let key = self.keys.ring.find(number)?;
        Some(seal_list(key, list, None, plain))
    }

    fn opened(
        &self,
        list: HeldList,
        from: Option<u64>,
        number: u64,
        came: Vec<u8>,
    ) -> Result<Vec<u8>, String> {
        let key = self.keys.ring.find(number);
        let key = key.ok_or_else(|| format!("list key {number} is not here any more"))?;
        open_list(key, list, from, came)
            .ok_or_else(|| format!("list key {number} does not open it"))
    }

    /// The list that a delta leads to from the version that is held, or why there is none.
    fn changed(
        &self,
        list: HeldList,
        from: u64,
        delta: &[u8],
    ) -> Result<Result<Vec<u8>, String>, DiskError> {
        if list.kind != ListKind::HOTLIST {
            return Ok(Err("lists of its kind come whole".to_owned()));
        }
        let apply = |base: &Hotlist| base.apply(delta).map(|newer| newer.content().to_vec());
        let applied = if self.hotlist.version == from {
            apply(&self.hotlist.cards)
        } else {
            let base = self.disk.read_list(HeldList { version: from, ..list })?;
            Hotlist::parse(base.unwrap_or_default()).and_then(|base| apply(&base))
        };
        let version = list.version;
        tracing::info!(from, version, bytes = delta.len(), "a list is changed by a delta");
        Ok(applied.map_err(|error| error.to_string()))
    }
}
