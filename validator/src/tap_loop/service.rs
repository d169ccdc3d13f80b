//! Whether taps are taken: reader, log, keys and lists each may stand in the way.
//!
//! The log goes first, because only a restart heals it, then the reader, then keys, then room on
//! the disk, then the gate, then lists, then the depot's own word: no fault is to hide behind it.
//! Each reason is said once.

use card::KeyError;
use fare::TariffSet;
use model::{CardId, TariffVersion};
use reader::ReaderError;
use wire::{Desired, DesiredWord};

use super::{Event, KEYS_AGAIN, Outage, Service, TapLoop};
use crate::log_keeper::KeeperError;

/// Why the depot wants no taps to be taken here, if it wants none.
pub(crate) fn ordered_out(desired: &Desired) -> Option<String> {
    (desired.word == DesiredWord::OutOfService).then(|| desired.reason.clone())
}

impl TapLoop {
    pub(super) fn lose_keys(&mut self, error: &KeyError) {
        self.machine.set_in_service(false);
        let lost_before = self.keys_lost.is_some();
        self.miss_keys(error);
        if !lost_before {
            self.ask_for_keys_later();
        }
    }

    /// Says why, once per reason: a token that is back and does not open is no missing one.
    pub(super) fn miss_keys(&mut self, error: &KeyError) {
        let reason = error.to_string();
        if self.keys_lost.as_ref() == Some(&reason) {
            return;
        }
        self.keys_lost = Some(reason.clone());
        // A reader or a log that fails has been named, and keys would not help.
        if matches!(self.outage, Outage::None) {
            self.out_of_service(reason);
        }
    }

    /// A token that was put back, or a module that works again, brings the validator back.
    pub(super) fn look_for_keys(&mut self) {
        // Keys that come back do not heal a log.
        if matches!(self.outage, Outage::Log) {
            return;
        }
        // Any card's key will do to see whether there are keys.
        match self.first_key(CardId([0; 7])) {
            Ok(_) => {
                tracing::info!("the card keys are back");
                self.keys_lost = None;
                self.resume_service();
            }
            Err(e) => {
                self.miss_keys(&e);
                self.ask_for_keys_later();
            }
        }
    }

    /// OPS-6: rather no service than cards and fares of another week.
    pub(super) fn judge_lists(&mut self, too_old: Option<String>) {
        if too_old.is_none() {
            tracing::info!("the lists are new enough again");
        }
        self.lists_old = too_old;
        // Nothing but a restart heals a log.
        if !matches!(self.outage, Outage::Log) {
            self.resume_service();
        }
    }

    /// The depot's word on whether this validator is to take taps. A tap under way is finished.
    pub(super) fn obey(&mut self, desired: Option<&Desired>) {
        match desired {
            None => tracing::info!("the depot wants nothing of this validator any more"),
            Some(Desired { word, reason, until }) => {
                let until = until.secs();
                tracing::info!(word = word.word(), reason, until, "the depot's word");
            }
        }
        self.ordered_out = desired.and_then(ordered_out);
        // Nothing but a restart heals a log.
        if !matches!(self.outage, Outage::Log) {
            self.resume_service();
        }
    }

    /// A tap under way is still written: that is what the reserve is for.
    pub(super) fn judge_room(&mut self, too_little: Option<String>) {
        let (was, is) = (self.cramped.is_some(), too_little.is_some());
        self.cramped = too_little;
        // How much exactly is left is no news.
        if was != is && !matches!(self.outage, Outage::Log) {
            self.resume_service();
        }
    }

    /// From the next tap on. Place and route are the same by their ids, in whatever order the new
    /// tariff numbers them.
    pub(super) fn take_tariffs(&mut self, set: TariffSet, version: TariffVersion) {
        let waiting = self.tap.context.take().map(|context| *context);
        let mut context = waiting.unwrap_or_else(|| self.machine.context().clone());
        self.whereabouts.go_home(&mut context);
        match context.go_by(set, version) {
            Ok(()) => tracing::info!(%version, "tariff in force"),
            Err(problem) => tracing::error!(%version, %problem, "the tariff stays as it is"),
        }
        self.tap.context = Some(Box::new(context));
        self.move_stops();
    }

    pub(super) fn ask_for_keys_later(&self) {
        let tell = self.tell.clone();
        tokio::spawn(async move {
            tokio::time::sleep(KEYS_AGAIN).await;
            // A loop that has ended needs no keys.
            drop(tell.send(Event::KeysAgain));
        });
    }

    pub(super) fn reader_answers(&mut self) {
        self.metrics.reader_up.set(1);
        match std::mem::replace(&mut self.outage, Outage::Log) {
            Outage::Log => return,
            Outage::Reader(_) => tracing::info!("the reader answers"),
            Outage::None => {}
        }
        self.outage = Outage::None;
        self.resume_service();
    }

    /// Serves, unless something else is still in the way; that is said then.
    pub(super) fn resume_service(&mut self) {
        let faults = [&self.keys_lost, &self.cramped, &self.gate.out, &self.lists_old];
        let in_the_way = faults.into_iter().chain([&self.ordered_out]);
        let in_the_way = in_the_way.flatten().next().cloned();
        self.machine.set_in_service(in_the_way.is_none());
        // A reader or a log that fails has been named, and goes first.
        if matches!(self.outage, Outage::None) {
            match in_the_way {
                None => self.in_service(),
                Some(reason) => self.out_of_service(reason),
            }
        }
    }

    pub(super) fn in_service(&mut self) {
        self.metrics.in_service.set(1);
        self.screen.in_service();
        self.service.send_replace(Service::In);
    }

    pub(super) fn reader_failed(&mut self, error: &ReaderError) {
        self.metrics.reader_errors.inc();
        self.metrics.reader_up.set(0);
        let reason = crate::chain(error);
        match &self.outage {
            Outage::Log => return,
            // Said already; it is tried every few seconds, perhaps for days.
            Outage::Reader(known) if *known == reason => return,
            Outage::Reader(_) | Outage::None => {}
        }
        self.outage = Outage::Reader(reason.clone());
        self.out_of_service(reason);
    }

    pub(super) fn leave_service(&mut self, error: &KeeperError) {
        self.outage = Outage::Log;
        self.out_of_service(crate::chain(error));
        self.machine.handle_log_failed();
    }

    pub(super) fn out_of_service(&mut self, reason: String) {
        tracing::error!(%reason, "out of service");
        self.metrics.in_service.set(0);
        self.screen.out_of_service(&reason);
        self.service.send_replace(Service::Out(reason));
    }
}
