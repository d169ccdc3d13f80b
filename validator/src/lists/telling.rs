//! What the tap loop and the depot are told of the lists, and when.

use model::{TariffVersion, Timestamp};
use tokio::sync::{mpsc::UnboundedSender, watch};
use wire::{Desired, DesiredState, HeldList, ListKind, ListsState, limits};

use super::{
    ConfigList, Lists, ListsStatus,
    contents::{count, secs},
};
use crate::{
    health::shortened,
    metrics::Metrics,
    tap_loop::{Event, Tuned},
};

/// Where what changes is told.
pub(super) struct Told {
    pub(super) tell: UnboundedSender<Event>,
    pub(super) status: watch::Sender<ListsStatus>,
    pub(super) metrics: Metrics,
    pub(super) in_force: TariffVersion,
    pub(super) changes: u64,
    pub(super) orders_said: u64,
    pub(super) hotlist_said: u64,
    pub(super) config_said: u64,
    pub(super) desired: Option<Desired>,
    pub(super) too_old: bool,
}

impl Lists {
    /// Tells the tap loop and the depot what changed.
    pub(super) fn tell(&mut self, told: &mut Told) {
        let now = self.settings.clock.now();
        let in_force = self.tariffs.in_force(now);
        if in_force != told.in_force || self.tariffs.changes() != told.changes {
            (told.in_force, told.changes) = (in_force, self.tariffs.changes());
            // A loop that has ended needs no tariffs.
            let _ = told.tell.send(Event::Tariffs(self.tariffs.set().clone(), in_force));
        }
        if self.orders.version != told.orders_said {
            told.orders_said = self.orders.version;
            let _ = told.tell.send(Event::Orders(self.orders.clone()));
        }
        if self.hotlist.version != told.hotlist_said {
            told.hotlist_said = self.hotlist.version;
            told.metrics.hotlist_cards.set(count(self.hotlist.cards.len()));
            let _ = told.tell.send(Event::Hotlist(self.hotlist.clone()));
        }
        if self.config.version != told.config_said {
            told.config_said = self.config.version;
            let _ = told.tell.send(Event::Tuned(Box::new(Tuned::of(&self.config))));
        }
        self.settle();
        let too_old = self.too_old(now);
        if too_old.is_some() != told.too_old {
            told.too_old = too_old.is_some();
            let _ = told.tell.send(Event::ListsAge(too_old));
        }
        let desired = self.desired.of(&self.settings);
        if desired != told.desired.as_ref() {
            told.desired = desired.cloned();
            let _ = told.tell.send(Event::Desired(told.desired.clone()));
        }
        let status = self.status(in_force);
        told.metrics.lists_complete.set(secs(self.complete));
        told.metrics.lists_manifest.set(secs(Some(status.state.issued)));
        for held in &status.state.held {
            let word = held.kind.word().unwrap_or("other");
            let version = i64::try_from(held.version).unwrap_or(i64::MAX);
            told.metrics.list_versions.with_label_values(&[word]).set(version);
        }
        told.status.send_if_modified(|known| {
            let changed = *known != status;
            *known = status;
            changed
        });
    }

    /// Settings count once the tap loop has taken them up and none of them waits for a start.
    fn settle(&mut self) {
        let ConfigList { version, number, config } = &self.config;
        let list = HeldList { kind: ListKind::CONFIG, version: *version };
        if self.settled != *number
            && self.applied.has(&list)
            && self.settings.started.waits_for(config).is_empty()
        {
            self.settled = *number;
        }
    }

    /// Why this validator may not serve any more, if its lists are too old.
    fn too_old(&self, now: Timestamp) -> Option<String> {
        let (since, age_max) = (self.complete?, self.config.config.lists.age_max()?);
        let hours = now.since(since).as_secs() / 3600;
        let said = format!("the lists are {hours} hours old: no word from the depot");
        (now.since(since) > age_max).then_some(said)
    }

    pub(super) fn status(&self, tariff: TariffVersion) -> ListsStatus {
        let manifest = self.fetcher.manifest();
        // The depot gives an order back on the word that no tap is made under an older list, and
        // holds every later tap of a blocked card against this validator: that is so once the tap
        // loop has taken the newer one up, between two taps (REC-5, REC-7).
        let worked_by = |list: &HeldList| self.applied.has(list);
        let waiting = self.waiting();
        let unusable = self.unusable.values().next_back();
        let trouble = self.broken.as_ref().or(unusable).or(waiting.as_ref());
        let state = ListsState {
            manifest: manifest.map_or(0, |manifest| manifest.version),
            issued: manifest.map_or(Timestamp(0), |manifest| manifest.issued),
            held: self.fetcher.held().filter(worked_by).take(limits::LISTS).collect(),
            trouble: shortened(trouble.unwrap_or(&self.trouble).clone()),
            key: Some(self.keys.ring.newest()),
        };
        let desired = self.desired.of(&self.settings);
        let desired = desired.map(|said| DesiredState { word: said.word, until: said.until });
        ListsStatus { tariff, state, desired, settings: self.settled, heard: self.heard }
    }
}
