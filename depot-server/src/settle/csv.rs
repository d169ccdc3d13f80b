//! Statements as CSV (RFC 4180, LF): amounts with a decimal point, each with its currency; totals
//! of each currency by themselves.

use std::fmt::Write as _;

use model::{Money, ServiceDate};
use settlement::{Line, OperatorRow, Statement};

use super::operator_name;
use crate::{
    export::quoted,
    intake::Workplace,
    store::{Suspense, issuer_word},
};

/// One row an operator, and the sum; one currency after the other.
pub fn statement_csv(place: &Workplace, statements: &[Statement]) -> String {
    let mut text = "day,operator,currency,rides,gross,shared,share,fee,payable,late,late amount,\
                    disputed,disputed amount,issuer\n"
        .to_owned();
    for statement in statements {
        let mut sum = OperatorRow::default();
        for (operator, row) in &statement.rows {
            line(&mut text, statement, &operator_name(place, *operator), row);
            sum = sum.plus(row);
        }
        line(&mut text, statement, "total", &sum);
    }
    text
}

fn line(text: &mut String, statement: &Statement, name: &str, row: &OperatorRow) {
    let currency = statement.currency;
    let money = |minor: i64| Money::new(minor, currency).decimal();
    let _ = writeln!(
        text,
        "{},{},{},{},{},{},{},{},{},{},{},{},{},{}",
        statement.day,
        quoted(name),
        currency.letters(),
        row.rides,
        money(row.gross),
        money(row.shared),
        money(row.gross + row.shared),
        money(row.fee),
        money(row.payable()),
        row.late.0,
        money(row.late.1),
        row.disputed.0,
        money(row.disputed.1),
        issuer_word(statement.issuer),
    );
}

/// Every line, of one operator or of all: a tap and what it is worth to the operator.
pub fn lines_csv(place: &Workplace, statements: &[Statement], only: Option<&str>) -> String {
    let mut text =
        "day,operator,why,validator,epoch,entry,service day,currency,amount,issuer\n".to_owned();
    let lines = statements.iter().flat_map(|s| s.lines.iter().map(move |line| (s, line)));
    for (statement, Line { operator, why, tap, happened, amount }) in lines {
        let currency = statement.currency;
        let name = operator_name(place, *operator);
        if only.is_some_and(|only| only != name) {
            continue;
        }
        let tap = tap
            .map_or(",,".to_owned(), |tap| format!("{},{},{}", tap.validator, tap.epoch, tap.seq));
        let _ = writeln!(
            text,
            "{},{},{},{tap},{happened},{},{},{}",
            statement.day,
            quoted(&name),
            why.word(),
            currency.letters(),
            Money::new(*amount, currency).decimal(),
            issuer_word(statement.issuer),
        );
    }
    text
}

/// What stood in suspense at the end of the day, by how many days it had stood there.
pub fn suspense_csv(day: ServiceDate, suspense: &[Suspense]) -> String {
    let mut text = "day,account,since,days,currency,amount\n".to_owned();
    for Suspense { account, since, amount } in suspense {
        let _ = writeln!(
            text,
            "{day},{},{since},{},{},{}",
            quoted(account),
            day.0.saturating_sub(since.0),
            amount.currency().letters(),
            amount.decimal(),
        );
    }
    text
}
