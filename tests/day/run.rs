//! The day from its morning to its last late batch, judged three times.

use std::{collections::BTreeMap, fmt, path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use depot_server::{
    clock::Stopwatch,
    days::{close_through, closed_again},
    settle::{Settled, settle},
};
use model::{OperatorId, ServiceDate};
use settlement::{Line, Why};

use super::{Plan, city, depot::depot_key, fleet::Fate, judge::Judged, world::World};

/// What a day came to.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Entries booked.
    pub taps: u64,
    /// Validators and cards.
    pub sizes: [usize; 2],
    /// What was injected.
    pub injected: Vec<(&'static str, u64)>,
    /// The books at the close of the day, with what was late, and with what was lost.
    pub judged: [Judged; 3],
    /// From the last needed record to the proposal, each.
    pub proposals: Vec<Duration>,
    /// Real time spent in booking, in verifying and in all.
    pub took: [Duration; 3],
}

/// Lives one day in `folder`.
pub fn run(plan: Plan, folder: &Path) -> anyhow::Result<Report> {
    live(plan, folder).with_context(|| {
        let Plan { seed, taps } = plan;
        format!("run it again: tests/run day {taps} {seed}")
    })
}

fn live(plan: Plan, folder: &Path) -> anyhow::Result<Report> {
    let watch = Stopwatch::start();
    let mut report = Report::default();
    let mut world = World::new(plan, folder)?;
    world.live()?;
    world.set_clock(city::DAY_S + 2 * 3600);
    world.close(city::DAY)?;
    report.judged[0] = world.judge().context("at the close of the day")?;
    world.settle(city::DAY, &report.judged[0].earned)?;

    let next = ServiceDate(city::DAY.0 + 1);
    world.bring_in(city::DAY_S + 3 * 3600, |fate| *fate == Fate::Late)?;
    report.judged[1] = world.judge().context("with what was late")?;
    world.bring_in(city::DAY_S + 4 * 3600, |fate| {
        matches!(fate, Fate::Destroyed(_) | Fate::Reimaged(_))
    })?;
    report.judged[2] = world.judge().context("with what was lost")?;
    world.set_clock(2 * city::DAY_S + 2 * 3600);
    world.close(next)?;
    let [closed, _, last] = &report.judged;
    let mut since = last.earned.clone();
    for (operator, earned) in &closed.earned {
        *since.entry(*operator).or_default() -= earned;
    }
    world.settle(next, &since)?;

    let verifying = Stopwatch::start();
    for verified in world.depot.verified()? {
        let found = verified.first_difference;
        ensure!(found.is_none(), "verify finds: {found:?}");
    }
    report.took[1] = verifying.elapsed();
    report.taps = world.depot.taps;
    ensure!(report.taps >= u64::from(plan.taps), "only {} taps", report.taps);
    report.sizes = [world.fleet.len(), world.cards.len()];
    report.injected = world.injected.into_iter().collect();
    report.proposals = world.proposals;
    report.proposals.sort_unstable();
    report.took[0] = world.depot.booking;
    report.took[2] = watch.elapsed();
    Ok(report)
}

impl World {
    /// Closes a day, twice: the second time to the byte.
    fn close(&mut self, day: ServiceDate) -> anyhow::Result<()> {
        self.depot.settle_dues();
        let place = &self.depot.place;
        ensure!(close_through(place, &depot_key(), day)? == [day], "{day} was not open");
        let closed = closed_again(place, day)?;
        ensure!(closed_again(place, day)? == closed, "{day} made again is another day");
        Ok(())
    }

    /// Settles a closed day, twice: what is earned is what the truth says, every line opens to its
    /// tap, and all is paid out.
    fn settle(
        &self,
        day: ServiceDate,
        earned: &BTreeMap<Option<OperatorId>, i64>,
    ) -> anyhow::Result<()> {
        let place = &self.depot.place;
        let Settled { statements, .. } = settle(place, Some(city::SHARES), day)?;
        let [statement] = &statements[..] else { anyhow::bail!("one currency, one statement") };
        for (operator, earned) in earned {
            let row = statement.rows.get(operator).copied().unwrap_or_default();
            ensure!(row.gross == *earned, "{operator:?} earned {earned}: {row:?}");
        }
        let (gross, payable, fees) = statement.totals();
        ensure!(gross == earned.values().sum::<i64>(), "{gross} earned by nobody who is known");
        ensure!(gross == payable + fees, "{gross} earned, {payable} paid out, {fees} kept");
        let shared: i64 = statement.rows.values().map(|row| row.shared).sum();
        ensure!(shared == 0, "sharing makes {shared}");
        let lines: i64 = statement.lines.iter().map(|line| line.amount).sum();
        ensure!(lines == gross, "the lines come to {lines}, not {gross}");
        self.lines_open(&statement.lines)?;
        let again = settle(place, None, day)?;
        ensure!(again.statements == statements, "{day} settled again is another statement");
        Ok(())
    }

    /// Each ride's line names an entry that was written about a record of that amount.
    fn lines_open(&self, lines: &[Line]) -> anyhow::Result<()> {
        let mut written = BTreeMap::new();
        for card in &self.cards {
            for said in &card.said {
                let key = (self.fleet[said.by].id, said.life, said.seq);
                written.insert(key, i64::from(card.nodes[said.node].record.amount));
            }
        }
        for line in lines.iter().filter(|line| matches!(line.why, Why::Ride | Why::Shared)) {
            let tap = line.tap.with_context(|| format!("{line:?} opens to no tap"))?;
            let amount = written.get(&(tap.validator, tap.epoch.0 as usize - 1, tap.seq));
            let fits = line.why == Why::Shared || amount == Some(&line.amount);
            ensure!(amount.is_some() && fits, "{line:?} opens to a tap over {amount:?}");
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [validators, cards] = self.sizes;
        writeln!(f, "{} taps of {cards} cards at {validators} validators", self.taps)?;
        for (what, count) in &self.injected {
            writeln!(f, "  injected: {count} {what}")?;
        }
        let when = ["at the close of the day", "with what was late", "with what was lost"];
        for (when, judged) in when.iter().zip(&self.judged) {
            let open: Vec<_> =
                judged.open.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
            writeln!(f, "{when}: found what was injected and nothing else: {}", open.join(", "))?;
            writeln!(
                f,
                "  {} cards hold what their accounts say, {} are ahead of the books, gap \
                 suspense {}",
                judged.exact, judged.behind, judged.gaps
            )?;
        }
        let [booking, verifying, all] = self.took;
        let at = |part: usize| {
            self.proposals.get((self.proposals.len().max(1) - 1) * part / 100).copied()
        };
        writeln!(
            f,
            "from the last needed record to the proposal: p50 {:?}, p100 {:?}, {} proposals",
            at(50).unwrap_or_default(),
            at(100).unwrap_or_default(),
            self.proposals.len()
        )?;
        let rate = u128::from(self.taps) * 1000 / booking.as_millis().max(1);
        write!(
            f,
            "{rate} taps/s; {booking:.1?} booking, {verifying:.1?} verifying, {all:.1?} in all"
        )
    }
}
