//! Money: closed days, what each operator gets of them, and the float.

use askama::Template;
use axum::response::Html;
use model::{Currency, Money};
use settlement::OperatorRow;

use super::{
    Problem, assets,
    frame::{Frame, Viewer, html, tally},
    parts::{Age, Cash, count},
    views::{DayFacts, MoneyFacts},
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

/// One closed day.
struct Day {
    date: String,
    closed: Age,
    root: String,
    rows: Vec<Row>,
    total: Row,
    /// Earned = paid out + fees?
    holds: bool,
}

#[derive(Template)]
#[template(path = "money.html")]
struct MoneyPage {
    frame: Frame,
    held: Vec<(String, String, Cash)>,
    held_at: Age,
    open: Option<String>,
    days: Vec<Day>,
    as_of: Age,
}

/// `GET /money`.
pub(super) async fn page(viewer: Viewer) -> Result<Html<String>, Problem> {
    let (site, times) = (&viewer.site, &viewer.times);
    let (facts, tally) = site.ask(|books| Ok((books.money(DAYS)?, tally(books)?))).await?;
    let MoneyFacts { held, held_at, open, days } = facts;
    let currency = held.first().map(|(.., amount)| amount.currency());
    let day = |facts: &DayFacts| {
        let rows = facts.rows.iter();
        let currency = currency?;
        let sum = facts.rows.iter().fold(OperatorRow::default(), |sum, (_, row)| sum.plus(row));
        Some(Day {
            date: facts.day.to_string(),
            closed: times.age(facts.closed_at),
            root: to_hex(&facts.root)[..16].to_owned(),
            rows: rows.map(|(operator, figures)| row(operator, figures, currency)).collect(),
            total: row("All", &sum, currency),
            holds: sum.gross == sum.payable() + sum.fee,
        })
    };
    html(&MoneyPage {
        frame: Frame::new(&viewer, "money", "Money", &tally),
        held: held.into_iter().map(|(what, n, sum)| (what, count(n), Cash(sum))).collect(),
        held_at: times.age(held_at),
        open: open.map(|day| day.to_string()),
        days: days.iter().filter_map(day).collect(),
        as_of: times.age(times.now()),
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
