//! Money: closed days, what each operator gets of them, and the float.

use askama::Template;
use axum::response::Html;
use model::{Currency, Money};
use settlement::OperatorRow;

use super::{
    Problem, assets,
    frame::{Frame, Viewer, html, tally},
    parts::{Age, Cash, count},
    views::{DayFacts, FactRow, MoneyFacts, OwedFact},
};
use crate::config::to_hex;

/// Closed days on the page.
const DAYS: u32 = 14;

/// One operator of a day, or the sum of all.
struct Row {
    operator: String,
    rides: String,
    gross: Cash,
    shared: Cash,
    fee: Cash,
    payable: Cash,
    late: String,
    disputed: String,
}

/// What one issuer owes one operator.
struct Debt {
    issuer: Option<String>,
    operator: String,
    amount: Cash,
    oldest: String,
}

/// One closed day.
struct Day {
    date: String,
    closed: Age,
    root: String,
    sheets: Vec<Sheet>,
    /// Earned = paid out + fees, in every currency?
    holds: bool,
}

/// A closed day of one issuer in one currency.
struct Sheet {
    issuer: Option<String>,
    currency: String,
    rows: Vec<Row>,
    total: Row,
    holds: bool,
}

#[derive(Template)]
#[template(path = "money.html")]
struct MoneyPage {
    frame: Frame,
    held: Vec<(String, String, Cash)>,
    credit: Vec<(String, String, Cash)>,
    held_at: Age,
    owed: Vec<Debt>,
    open: Option<String>,
    days: Vec<Day>,
    as_of: Age,
}

/// `GET /money`.
pub(super) async fn page(viewer: Viewer) -> Result<Html<String>, Problem> {
    let (site, times) = (&viewer.site, &viewer.times);
    let (facts, tally) = site.ask(|books| Ok((books.money(DAYS)?, tally(books)?))).await?;
    let MoneyFacts { held, credit, held_at, owed, open, days } = facts;
    let lines = |rows: Vec<(String, u64, Money)>| {
        rows.into_iter().map(|(what, n, sum)| (what, count(n), Cash(sum))).collect()
    };
    let debt = |owed: OwedFact| Debt {
        issuer: owed.issuer,
        operator: owed.operator,
        amount: Cash(owed.amount),
        oldest: owed.oldest.map_or_else(String::new, |day| day.to_string()),
    };
    let day = |facts: &DayFacts| {
        let of_one = facts.rows.chunk_by(|(one, ..), (other, ..)| one == other);
        let sheets: Vec<_> = of_one.filter_map(sheet).collect();
        Day {
            date: facts.day.to_string(),
            closed: times.age(facts.closed_at),
            root: to_hex(&facts.root)[..16].to_owned(),
            holds: sheets.iter().all(|sheet| sheet.holds),
            sheets,
        }
    };
    html(&MoneyPage {
        frame: Frame::new(&viewer, "money", "Money", &tally),
        held: lines(held),
        credit: lines(credit),
        held_at: times.age(held_at),
        owed: owed.into_iter().map(debt).collect(),
        open: open.map(|day| day.to_string()),
        days: days.iter().map(day).collect(),
        as_of: times.age(times.now()),
    })
}

/// Rows of one issuer and currency, and their sum.
fn sheet(rows: &[FactRow]) -> Option<Sheet> {
    let ((issuer, currency), ..) = rows.first()?.clone();
    let sum = rows.iter().fold(OperatorRow::default(), |sum, (.., row)| sum.plus(row));
    Some(Sheet {
        issuer,
        currency: currency.letters().to_owned(),
        rows: rows.iter().map(|(_, operator, figures)| row(operator, figures, currency)).collect(),
        total: row("All", &sum, currency),
        holds: sum.gross == sum.payable() + sum.fee,
    })
}

fn row(operator: &str, row: &OperatorRow, currency: Currency) -> Row {
    let cash = |minor| Cash(Money::new(minor, currency));
    Row {
        operator: operator.to_owned(),
        rides: count(row.rides),
        gross: cash(row.gross),
        shared: cash(row.shared),
        fee: cash(row.fee),
        payable: cash(row.payable()),
        late: count(row.late.0),
        disputed: count(row.disputed.0),
    }
}
