//! The books of one card's chain: a record that becomes known, is met again, is known better, or
//! meets another record under its counter.
//!
//! Whatever arrives when, the card's account holds the balance of the newest known record, each
//! kept record's amount stands on its counter account, and each link's net on the link's account.
//! Every step moves only what changes between two such pictures.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use model::{
    CardId, CardRecord, CardTransaction, Ctr, OperatorId, ProductUse, RouteIx, TapEvent, TapRecord,
};

use crate::{
    CardState, ClearError,
    account::{Account, CauseCode},
    exception::{CardItems, Evidence, ExceptionChange, ExceptionId, ExceptionKind},
    known::{Known, KnownRecord, Source, TapRef},
    postings::{Event, Postings, record_event},
    reprice::{Priced, Rules},
    state::{Doubt, Fork, Insertion, Position},
};

/// One clearing step on one card.
pub(crate) struct Step<'a, K> {
    pub(crate) card: CardId,
    pub(crate) state: CardState,
    /// The newest known record before this step.
    pub(crate) former: Option<KnownRecord>,
    pub(crate) rules: &'a Rules,
    pub(crate) known: &'a K,
    pub(crate) items: CardItems,
    pub(crate) postings: Postings,
    pub(crate) records: Vec<KnownRecord>,
    /// Changes of items that belong to single records, not to the state.
    pub(crate) changes: Vec<ExceptionChange>,
    pub(crate) reasons: Vec<(ExceptionId, &'static str)>,
    /// Records that became known from evidence alone.
    pub(crate) recovered: u32,
    /// In-doubt taps that turned out to have happened in this step.
    pub(crate) happened: Vec<TapRef>,
}

/// A proven record, with as much as its source tells about it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim {
    pub(crate) record: CardRecord,
    pub(crate) source: Source,
    pub(crate) operator: Option<OperatorId>,
    /// What to price it with: its transaction, and the route.
    pub(crate) priced_from: Option<(CardTransaction, Option<RouteIx>)>,
}

/// What a claim did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Learned {
    /// The newest record of the card.
    Newest,
    /// A record between or before known ones.
    Late,
    /// Known before, and better now.
    Better,
    /// Known before.
    Replay,
    /// Another record holds the counter.
    Forked,
}

impl Claim {
    fn strengthened_by(&mut self, doubt: &Doubt) {
        if (self.source, self.operator) < (Source::Tap, doubt.operator) {
            self.source = Source::Tap;
            self.operator = doubt.operator;
            self.priced_from = Some((doubt.transaction(), doubt.route));
        }
    }

    const fn known(&self, mispriced: bool) -> KnownRecord {
        let counters = match self.priced_from {
            Some((transaction, _)) => transaction.counters,
            None => None,
        };
        let Self { record, source, operator, .. } = *self;
        KnownRecord { record, source, operator, mispriced, counters }
    }
}

impl<K: Known> Step<'_, K> {
    /// Takes a proven record into the books.
    pub(crate) fn learn(&mut self, claim: Claim) -> Result<Learned, ClearError<K::Error>> {
        claim.record.to_bytes().map_err(ClearError::Record)?;
        match self.state.position(claim.record.ctr) {
            Position::Known => self.meet(claim),
            Position::Alone | Position::Older | Position::Newer | Position::InGap(_) => {
                self.add(claim)
            }
        }
    }

    /// A record whose counter was not known. It decides every in-doubt tap of that counter.
    fn add(&mut self, mut claim: Claim) -> Result<Learned, ClearError<K::Error>> {
        let (decided, open) =
            self.state.doubts.iter().partition(|doubt| doubt.after.ctr == claim.record.ctr);
        self.state.doubts = open;
        let decided: Vec<Doubt> = decided;
        let record = claim.record;
        let happened = match claim.source {
            Source::Confirmation => "happened: its validator saw the card again",
            Source::Evidence | Source::Tap | Source::Issued => {
                "happened: a later record of the card proves it; its reader had said no"
            }
        };
        for doubt in decided.iter().filter(|doubt| doubt.after == record) {
            claim.strengthened_by(doubt);
            self.learn_found_by(doubt)?;
            self.charged(doubt);
        }
        if claim.source == Source::Evidence {
            self.recovered += 1;
        }
        let mispriced = self.reprice(&claim, false);
        let known = claim.known(mispriced);
        let insertion = self.state.insert(known);
        self.book(&known, &insertion, &decided, happened);
        self.records.push(known);
        self.compare_counters(record.ctr)?;
        Ok(if insertion.right.is_none() { Learned::Newest } else { Learned::Late })
    }

    /// An in-doubt tap that happened is evidence, too, of the record that it found.
    pub(crate) fn learn_found_by(&mut self, doubt: &Doubt) -> Result<(), ClearError<K::Error>> {
        if doubt.before.ctr < doubt.after.ctr {
            self.learn_evidence(&doubt.before)?;
        }
        Ok(())
    }

    /// A record that a later tap found on the card.
    pub(crate) fn learn_evidence(
        &mut self,
        record: &CardRecord,
    ) -> Result<Learned, ClearError<K::Error>> {
        self.learn(Claim {
            record: *record,
            source: Source::Evidence,
            operator: self.rules.operator(record, None),
            priced_from: None,
        })
    }

    /// Books a record that was put into the chain. The value comes from whoever accounted for it
    /// so far: the link it broke up or, when it is the newest, the card.
    fn book(
        &mut self,
        known: &KnownRecord,
        insertion: &Insertion,
        decided: &[Doubt],
        proven_by: &'static str,
    ) {
        let holder = match &insertion.broken {
            Some(link) => self.postings.link_account(link),
            None => Account::Card(self.card),
        };
        let counter = self.postings.counter_account(known);
        let mut event = record_event(self.card, &known.record);
        let mut posted = false;
        for doubt in decided {
            let happened = doubt.after == known.record;
            let reason = if happened {
                proven_by
            } else {
                "did not happen: another record holds its counter"
            };
            let id = self.items.id(ExceptionKind::InDoubt, &doubt.tap.to_bytes());
            self.reasons.push((id, reason));
            let fits = self.postings.doubt_accounts(doubt) == (holder, counter);
            match (doubt.voided, happened && fits && !posted) {
                (true, _) => {}
                (false, true) => {
                    self.postings.post(&mut event, doubt);
                    posted = true;
                }
                (false, false) => self.postings.void(doubt),
            }
        }
        if !posted {
            self.postings.shift(&mut event, holder, counter, known.record.delta());
        }
        for link in [Some(insertion.left), insertion.right].into_iter().flatten() {
            let account = self.postings.link_account(&link);
            self.postings.shift(&mut event, holder, account, link.net());
        }
    }

    /// A record whose counter is known: a replay, better knowledge of it, or a fork.
    fn meet(&mut self, mut claim: Claim) -> Result<Learned, ClearError<K::Error>> {
        let (kept, others) = self.contents(claim.record.ctr)?;
        let mut all = others;
        all.insert(0, kept);
        let learned = if let Some(same) = all.iter_mut().find(|k| k.record == claim.record) {
            if !same.is_outranked_by(claim.source, claim.operator) {
                return Ok(Learned::Replay);
            }
            *same = claim.known(self.reprice(&claim, same.mispriced));
            Learned::Better
        } else {
            for entry in self.entries(claim.record.ctr)? {
                if let Some(doubt) = self.doubt(&entry).filter(|d| d.after == claim.record) {
                    claim.strengthened_by(&doubt);
                    self.learn_found_by(&doubt)?;
                    self.charged(&doubt);
                }
            }
            all.push(claim.known(self.reprice(&claim, false)));
            Learned::Forked
        };
        all.sort_by_key(KnownRecord::rank);
        let others = all.split_off(1);
        let new = all[0];
        if new.record == kept.record {
            self.attribute(&kept, &new);
        } else {
            self.keep_instead(&kept, &new);
        }
        self.settle_in(new, others);
        self.compare_counters(new.record.ctr)?;
        Ok(learned)
    }

    /// What is known under a counter: the record kept, and the others of a fork.
    pub(crate) fn contents(
        &self,
        ctr: Ctr,
    ) -> Result<(KnownRecord, Vec<KnownRecord>), ClearError<K::Error>> {
        let chain = self.state.chain.as_ref().expect("a known counter is in a chain");
        if let Some(fork) = chain.fork(ctr) {
            return Ok((fork.kept, fork.others.clone()));
        }
        if chain.newest.record.ctr == ctr {
            return Ok((chain.newest, Vec::new()));
        }
        // The store does not hold yet what this very step learned.
        if let Some(here) = self.records.iter().rfind(|known| known.record.ctr == ctr) {
            return Ok((*here, Vec::new()));
        }
        // What was the newest before this step needs no question to the store.
        if let Some(former) = self.former.filter(|known| known.record.ctr == ctr) {
            return Ok((former, Vec::new()));
        }
        let found = self.known.record(self.card, ctr).map_err(ClearError::Known)?;
        Ok((found.ok_or(ClearError::RecordMissing { ctr })?, Vec::new()))
    }

    /// The same record, better known: its amount may belong elsewhere.
    pub(crate) fn attribute(&mut self, old: &KnownRecord, new: &KnownRecord) {
        let bytes = new.to_bytes().expect("a learned record has been encoded before");
        let mut event =
            Event::new(CauseCode::Attribution, &[&self.card.0, &bytes], new.record.at());
        let (from, to) = (self.postings.counter_account(old), self.postings.counter_account(new));
        // The old account gets back what it gave, the new one gives it.
        self.postings.shift(&mut event, from, to, new.record.delta());
    }

    /// Another record of a fork is the one to keep: the old one's booking is reversed (LED-2).
    fn keep_instead(&mut self, old: &KnownRecord, new: &KnownRecord) {
        let bytes = new.to_bytes().expect("a learned record has been encoded before");
        let mut event = Event::new(CauseCode::Fork, &[&self.card.0, &bytes], new.record.at());
        let card = Account::Card(self.card);
        let (from, to) = (self.postings.counter_account(old), self.postings.counter_account(new));
        self.postings.shift(&mut event, from, card, old.record.delta());
        self.postings.shift(&mut event, card, to, new.record.delta());
        for (before, after) in self.state.replace(&old.record, new) {
            let account = self.postings.link_account(&after);
            self.postings.shift(&mut event, card, account, after.net() - before.net());
        }
    }

    /// Writes what is known under a counter into the state and for the store.
    pub(crate) fn settle_in(&mut self, kept: KnownRecord, others: Vec<KnownRecord>) {
        let chain = self.state.chain.as_mut().expect("a known counter is in a chain");
        if chain.newest.record.ctr == kept.record.ctr {
            chain.newest = kept;
        }
        if !others.is_empty() {
            chain.set_fork(Fork { kept, others });
        }
        self.records.push(kept);
    }

    /// An in-doubt entry as the state keeps it; `None` when it is none.
    pub(crate) fn doubt(&self, tap: &TapRecord) -> Option<Doubt> {
        let TapEvent::InDoubt { transaction } = &tap.event else { return None };
        Some(Doubt {
            tap: TapRef::of(tap),
            before: transaction.before,
            after: transaction.after,
            products: transaction.products,
            counters: transaction.counters,
            companions: transaction.companions,
            purse: transaction.purse,
            route: tap.route,
            operator: self.rules.operator(&transaction.after, tap.route),
            tapped_at: tap.tapped_at,
            voided: false,
        })
    }

    /// Prices a record again, and opens or resolves its work item. Returns whether one is open.
    fn reprice(&mut self, claim: &Claim, was_open: bool) -> bool {
        let Some((transaction, route)) = &claim.priced_from else { return was_open };
        let record = &claim.record;
        let charged = self.items.money(i64::from(record.amount));
        let (expected, at_stake) = self.expected(transaction, *route);
        let bytes = record.to_bytes().expect("a learned record has been encoded before");
        let kind = ExceptionKind::FareMismatch;
        match (&expected, was_open) {
            (None, false) => {}
            (None, true) => self.changes.push(ExceptionChange::Resolved {
                id: self.items.id(kind, &bytes),
                kind,
                at: self.items.now,
                reason: "the tap's own entry explains the charge",
            }),
            (Some(expected), _) => {
                let finding = format!(
                    "record {} charged {charged}; tariff {} says: {expected}",
                    record.ctr, record.tariff
                );
                let evidence = alloc::vec![
                    Evidence { title: "record found", tap: None, record: Some(transaction.before) },
                    Evidence { title: "record charged", tap: None, record: Some(*record) },
                ];
                let item = self.items.item(kind, &bytes, at_stake, finding, evidence);
                let item = crate::Exception { validator: Some(record.validator), ..item };
                let change =
                    if was_open { ExceptionChange::Changed } else { ExceptionChange::Opened };
                self.changes.push(change(item));
            }
        }
        expected.is_some()
    }

    /// What a transaction should have charged or used, when that differs, and the money at stake.
    fn expected(
        &self,
        transaction: &CardTransaction,
        route: Option<RouteIx>,
    ) -> (Option<String>, i64) {
        let CardTransaction { before, after, counters, .. } = transaction;
        let charged = self.items.money(i64::from(after.amount));
        let quote = match self.rules.price(transaction, route) {
            Priced::NotAFare => return (None, 0),
            Priced::Refused(refusal) => {
                return (Some(format!("no price: {refusal}")), charged.minor());
            }
            Priced::Quote(quote) => quote,
        };
        let at_stake = charged.minor() - quote.debit.minor();
        if let Some(why) = self.misread(transaction) {
            return (Some(why.to_string()), charged.minor());
        }
        if quote.debit != charged {
            return (Some(quote.debit.to_string()), at_stake);
        }
        let used = before.products.map(|_| quote.used);
        if used != after.products {
            let told = |used: Option<ProductUse>| match used {
                None => "carries no products".to_string(),
                Some(used) => used.to_string(),
            };
            let why = format!("{}, not: {}", told(used), told(after.products));
            return (Some(why), 0);
        }
        if quote.counters_after != counters.map(|used| used.left()) {
            return (Some("other counters than were written".to_string()), 0);
        }
        if before.layout != after.layout {
            let why = "the record's layout is not that of the record before it";
            return (Some(why.to_string()), 0);
        }
        (None, 0)
    }

    /// What the tap should have read of the card and did not, or the reverse.
    fn misread(&self, transaction: &CardTransaction) -> Option<&'static str> {
        let CardTransaction { before, after, products, counters, .. } = transaction;
        if before.products.is_some() != products.is_some() {
            return Some("the card carries products, and they were not read");
        }
        let needed =
            before.layout.has_counters() && self.rules.tariffs().needs_counters(after.tariff);
        match (needed, counters) {
            (true, None) => Some("the card's counters are needed, and they were not read"),
            (false, Some(_)) => Some("the card's counters are not needed, and they were read"),
            (true, Some(_)) | (false, None) => None,
        }
    }
}
