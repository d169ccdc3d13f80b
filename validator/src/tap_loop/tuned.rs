//! What each tap is made under as a whole: settings (ADR-0033), cards to refuse.

use rider::Adjusted;
use validation::Rules;

use super::TapLoop;
use crate::{daemon::rules, lists::ConfigList};

/// What the tap loop and the rider's screen go by of a configuration.
#[derive(Debug, Clone)]
pub(crate) struct Tuned {
    /// Of the list.
    version: u64,
    rules: Rules,
    pub(crate) manner: Adjusted,
}

impl Tuned {
    pub(crate) fn of(list: &ConfigList) -> Self {
        let config = &list.config;
        let (language, private) = (config.validator.language, config.rider.private);
        let manner = Adjusted { language, private, volume: config.rider.sound };
        Self { version: list.version, rules: rules(config), manner }
    }
}

impl TapLoop {
    /// Each tap is made under one set of settings; the depot is told once none is made under older
    /// ones any more.
    pub(super) fn take_settings(&mut self) {
        if self.machine.is_idle()
            && let Some(tuned) = self.tap.tuned.take()
        {
            let Tuned { version, rules, manner } = *tuned;
            let mut context = self.machine.context().clone();
            context.rules = rules;
            self.machine.replace_context(context);
            self.language = manner.language;
            self.screen.adjust(&manner);
            self.applied.config(version);
            tracing::info!(list = version, "settings in force");
        }
    }

    /// Each tap is decided by one list of cards to refuse; the depot is told once none is decided
    /// by an older one any more.
    pub(super) fn take_hotlist(&mut self) {
        if self.machine.is_idle()
            && let Some(hotlist) = self.tap.hotlist.take()
        {
            let (version, cards) = (hotlist.version, hotlist.cards.len());
            let mut context = self.machine.context().clone();
            context.hotlist = hotlist.cards.clone();
            context.hotlist_version = hotlist.named();
            self.machine.replace_context(context);
            self.hotlist = hotlist;
            self.applied.hotlist(version);
            tracing::info!(version, cards, "hotlist in force");
        }
    }
}
