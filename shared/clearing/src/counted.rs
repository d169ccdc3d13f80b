//! Whether a card's counters go on where they were left (ADR-0013).
//!
//! Every tap that reads the counters file tells what it found and what it wrote; both are in the
//! card's proof. Between one such tap and the next nothing may change them. A record that did not
//! touch the file is passed over; behind one that is known from evidence alone nobody can say what
//! was counted, and nothing is said. So the outcome depends on what is known of the chain, and not
//! on the order in which it became known (REC-1).
//!
//! A card whose counters nobody reads costs nothing, and the newest record of any other no question
//! to the store, unless a load stands before it.

use model::{CardCounters, Ctr, RecordKind};

use crate::{
    ClearError,
    chain::Step,
    known::{Known, KnownRecord, Source},
    state::Position,
};

/// So many records that did not touch the counters are passed over.
const PASSED_MAX: usize = 16;

/// What a known record says about the counters behind it.
enum Left {
    /// These.
    Counters(CardCounters),
    /// As they were before it.
    Untouched,
    /// Nothing.
    Unknown,
}

impl<K: Known> Step<'_, K> {
    /// Compares what the record under `ctr` found with what was left before it, and what the next
    /// one found with what is left by it. To be called whenever that record became known, better
    /// known, or another one.
    pub(crate) fn compare_counters(&mut self, ctr: Ctr) -> Result<(), ClearError<K::Error>> {
        let Some(known) = self.kept(ctr)? else { return Ok(()) };
        self.state.counts |= known.counters.is_some();
        if !self.state.counts {
            return Ok(());
        }
        self.compare(ctr, &known)?;
        for next in (ctr.0 + 1..).take(PASSED_MAX).map(Ctr) {
            let Some(later) = self.kept(next)? else { break };
            if later.counters.is_some() {
                return self.compare(next, &later);
            }
            if !matches!(left(&later), Left::Untouched) {
                break;
            }
        }
        Ok(())
    }

    fn compare(&mut self, ctr: Ctr, known: &KnownRecord) -> Result<(), ClearError<K::Error>> {
        let wrong = match known.counters {
            None => false,
            Some(used) => self.left_before(ctr)?.is_some_and(|left| left != used.found),
        };
        self.state.set_miscount(ctr, wrong);
        Ok(())
    }

    /// What the card's counters are before a record, as far as that is known.
    fn left_before(&self, ctr: Ctr) -> Result<Option<CardCounters>, ClearError<K::Error>> {
        for earlier in (0..ctr.0).rev().take(PASSED_MAX).map(Ctr) {
            let Some(known) = self.kept(earlier)? else { return Ok(None) };
            match left(&known) {
                Left::Counters(counters) => return Ok(Some(counters)),
                Left::Untouched => {}
                Left::Unknown => return Ok(None),
            }
        }
        Ok(None)
    }

    fn kept(&self, ctr: Ctr) -> Result<Option<KnownRecord>, ClearError<K::Error>> {
        match self.state.position(ctr) {
            Position::Known => Ok(Some(self.contents(ctr)?.0)),
            Position::Alone | Position::Older | Position::Newer | Position::InGap(_) => Ok(None),
        }
    }
}

fn left(known: &KnownRecord) -> Left {
    match (known.counters, known.source, known.record.kind) {
        (Some(used), _, _) => Left::Counters(used.left()),
        (None, Source::Evidence, _) => Left::Unknown,
        (None, Source::Issued, RecordKind::Issue) => Left::Counters(CardCounters::EMPTY),
        (None, Source::Confirmation | Source::Tap | Source::Issued, _) => Left::Untouched,
    }
}
