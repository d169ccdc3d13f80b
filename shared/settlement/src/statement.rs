//! The statement of a closed day: what each operator earned, gets of shared runs, pays as a fee.
//!
//! What operators earned is what the ledger moved on their revenue accounts in the day, so the
//! statement ties to the books by construction; sharing only moves between operators, so all that
//! is paid out and kept as fees is what was earned: the statement nets to zero (REC-13, I9). What
//! was earned from purses in other currencies stands in statements of its own, because no two
//! currencies are added up (ADR-0019); so does what was earned with each issuer's cards, because
//! each issuer pays for its own (ADR-0023).

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use clearing::{Account, CauseCode, TapRef};
use ledger::{Kind, Transfer};
use model::{CardId, Currency, IssuerId, OperatorId, ServiceDate};

use crate::{
    runs::{Run, by_digest},
    share::{NoFee, ShareRules},
};

/// Why a line stands in a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// A ride that was paid.
    Ride,
    /// A record without its own tap in this day: known from a later tap, or its tap is late.
    Recovered,
    /// Better knowledge of an earlier booking: another operator's ride, a fork, a refund.
    Correction,
    /// The operator's part of a run of rides, beyond what was paid at its own taps.
    Shared,
}

impl Why {
    /// The word in statements.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ride => "ride",
            Self::Recovered => "recovered",
            Self::Correction => "correction",
            Self::Shared => "shared",
        }
    }
}

/// One line: an amount of one operator, with the tap that it opens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line {
    /// Whose; `None` while nobody knows.
    pub operator: Option<OperatorId>,
    /// Why.
    pub why: Why,
    /// The tap; `None` for what no tap of the day stands for.
    pub tap: Option<TapRef>,
    /// The service day on which it happened.
    pub happened: ServiceDate,
    /// Minor units; what is taken away is negative.
    pub amount: i64,
}

/// One operator's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OperatorRow {
    /// Rides of the day.
    pub rides: u64,
    /// Earned, by the ledger.
    pub gross: i64,
    /// Gained or given by sharing runs.
    pub shared: i64,
    /// Kept by the clearing house.
    pub fee: i64,
    /// Lines of events of earlier days, and their sum; part of `gross`.
    pub late: (u64, i64),
    /// Rides of cards on which something was found in the day, and what they paid; part of `gross`.
    pub disputed: (u64, i64),
}

impl OperatorRow {
    /// What the issuer owes the operator for the day.
    pub const fn payable(&self) -> i64 {
        self.gross + self.shared - self.fee
    }

    /// Both together, for totals.
    #[must_use]
    pub const fn plus(&self, other: &Self) -> Self {
        Self {
            rides: self.rides + other.rides,
            gross: self.gross + other.gross,
            shared: self.shared + other.shared,
            fee: self.fee + other.fee,
            late: (self.late.0 + other.late.0, self.late.1 + other.late.1),
            disputed: (self.disputed.0 + other.disputed.0, self.disputed.1 + other.disputed.1),
        }
    }
}

/// A closed day, settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Which day.
    pub day: ServiceDate,
    /// Of every amount.
    pub currency: Currency,
    /// Who owes it: of whose cards every line is; `None` is the issuer that the books began with.
    pub issuer: Option<IssuerId>,
    /// One row an operator; `None` is revenue whose operator is not known yet.
    pub rows: BTreeMap<Option<OperatorId>, OperatorRow>,
    /// Every line, in their order.
    pub lines: Vec<Line>,
}

/// Whose statement, and in which currency.
type Of = (Currency, Option<IssuerId>);

/// What the ledger moved on revenue accounts in the day, by issuer and currency.
#[derive(Debug, Clone, Default)]
pub struct Revenue(BTreeMap<Of, Vec<Earned>>);

/// One side of a transfer that stands on a revenue account.
#[derive(Debug, Clone, Copy)]
struct Earned {
    operator: Option<OperatorId>,
    amount: i64,
    /// What the transfer's cause refers to, and whether that is a record.
    reference: ([u8; 32], bool),
    happened: ServiceDate,
}

impl Revenue {
    /// Takes a transfer that was booked into the day; its event was on the service day `happened`.
    pub fn take(&mut self, transfer: &Transfer, happened: ServiceDate) {
        if !matches!(transfer.kind, Kind::Direct | Kind::Post(_)) {
            return;
        }
        // Settling an earlier day takes from these accounts what that day earned.
        if transfer.cause.code == CauseCode::Settlement.number() {
            return;
        }
        let record = transfer.cause.code == CauseCode::Record.number();
        for (account, amount) in
            [(&transfer.credit, transfer.amount), (&transfer.debit, -transfer.amount)]
        {
            let (issuer, account) = Account::parse(account).map_or((None, None), |account| {
                let (issuer, account) = account.pooled();
                (issuer, Some(account))
            });
            if let Some(Account::FareRevenue(operator)) = account {
                let reference = (transfer.cause.reference, record);
                let earned = Earned { operator, amount, reference, happened };
                self.0.entry((transfer.currency, issuer)).or_default().push(earned);
            }
        }
    }
}

impl Statement {
    /// Settles a day: its revenue by the ledger, the runs among its rides, and the cards on which
    /// something was found in it. One statement an issuer and currency: the first issuer's in the
    /// tariff's, which is always there, then the others in which something was earned or ridden.
    pub fn of_day(
        day: ServiceDate,
        tariffs: Currency,
        revenue: &Revenue,
        runs: &[Run],
        found: &BTreeSet<CardId>,
        rules: &ShareRules,
    ) -> Result<Vec<Self>, NoFee> {
        let of_run = |run: &Run| -> Of {
            let (purse, issuer) =
                run.first().map_or((None, None), |(ride, _)| (ride.transaction.purse, ride.issuer));
            (purse.unwrap_or(tariffs), issuer)
        };
        let mut of_each: BTreeMap<Of, Vec<Run>> = BTreeMap::from([((tariffs, None), Vec::new())]);
        for run in runs {
            of_each.entry(of_run(run)).or_default().push(run.clone());
        }
        for of in revenue.0.keys() {
            of_each.entry(*of).or_default();
        }
        let mut statements = Vec::with_capacity(of_each.len());
        for (of, runs) in of_each {
            let rules = rules.within(of.0, tariffs)?;
            let earned = revenue.0.get(&of).map_or(&[][..], Vec::as_slice);
            statements.push(Self::new((day, of), earned, &runs, found, &rules));
        }
        statements.sort_by_key(|s| (s.issuer, s.currency != tariffs, s.currency));
        Ok(statements)
    }

    fn new(
        (day, (currency, issuer)): (ServiceDate, Of),
        earned: &[Earned],
        runs: &[Run],
        found: &BTreeSet<CardId>,
        rules: &ShareRules,
    ) -> Self {
        let (rows, lines) = (BTreeMap::new(), Vec::new());
        let mut statement = Self { day, currency, issuer, rows, lines };
        let taps = by_digest(runs);
        for Earned { operator, amount, reference: (reference, record), happened } in earned {
            let ride = taps.get(reference);
            let (why, tap) = match (record, ride) {
                (false, _) => (Why::Correction, ride.map(|(tap, _)| *tap)),
                (true, Some((tap, paid))) if paid == amount => (Why::Ride, Some(*tap)),
                // Of a copied card: the record of another tap took this counter, and this booking
                // was reversed.
                (true, Some(_)) => (Why::Correction, None),
                (true, None) => (Why::Recovered, None),
            };
            let line = Line { operator: *operator, why, tap, happened: *happened, amount: *amount };
            statement.add(line);
        }
        for run in runs {
            statement.share(run, found, rules);
        }
        for row in statement.rows.values_mut() {
            row.fee = rules.fee(row.gross + row.shared, row.rides);
        }
        statement.lines.sort_unstable();
        statement
    }

    fn add(&mut self, line: Line) {
        let row = self.rows.entry(line.operator).or_default();
        if line.why == Why::Shared {
            row.shared += line.amount;
        } else {
            row.gross += line.amount;
            if line.happened < self.day {
                row.late.0 += 1;
                row.late.1 += line.amount;
            }
        }
        self.lines.push(line);
    }

    fn share(&mut self, run: &Run, found: &BTreeSet<CardId>, rules: &ShareRules) {
        let legs: Vec<_> = run.iter().map(|(_, leg)| *leg).collect();
        for ((ride, leg), share) in run.iter().zip(rules.of_legs(&legs)) {
            let row = self.rows.entry(leg.operator).or_default();
            row.rides += 1;
            if found.contains(&ride.card) {
                row.disputed.0 += 1;
                row.disputed.1 += leg.paid;
            }
            let mut moved = BTreeMap::from([(leg.operator, -leg.paid)]);
            for (operator, part) in rules.of_operators(leg.operator, share) {
                *moved.entry(operator).or_default() += part;
            }
            for (operator, amount) in moved.into_iter().filter(|(_, amount)| *amount != 0) {
                let tap = Some(ride.tap);
                self.add(Line { operator, why: Why::Shared, tap, happened: self.day, amount });
            }
        }
    }

    /// What was earned, what is paid out, what is kept as fees. The first is the sum of the others.
    pub fn totals(&self) -> (i64, i64, i64) {
        let sum = |of: fn(&OperatorRow) -> i64| self.rows.values().map(of).sum();
        (sum(|row| row.gross), sum(OperatorRow::payable), sum(|row| row.fee))
    }
}
