//! `depot-server account list | dunning | collect | show`: how credit accounts stand.

use std::process::ExitCode;

use clearing::{Bill, CreditId, CreditTerms, Dunning};
use model::{ChannelId, ServiceDate};
use serde_json::{Value, json};

use super::{ConfigPath, account::Listed, channels::time, commands::workplace, say};
use crate::{
    config::Config,
    credit::{self, CreditState, bill_reference},
    export::quoted,
    intake::Workplace,
    store::CreditCharge,
};

pub(super) fn list(listed: &Listed) -> anyhow::Result<ExitCode> {
    let place = workplace(&Config::load(&listed.config.config)?)?;
    let states = credit::states(&place)?;
    if listed.json {
        let accounts: Vec<_> = states.iter().map(state_json).collect();
        say(&serde_json::to_string_pretty(&accounts)?);
        return Ok(ExitCode::SUCCESS);
    }
    say(
        "account,kind,holder,cards,currency,limit,exposure,on cards,owed,paid ahead,past due,level",
    );
    for state in &states {
        let account = &state.account;
        let money = |minor: i64| state.money(minor).decimal();
        say(&format!(
            "{},{},{},{},{},{},{},{},{},{},{},{}",
            account.id,
            account.kind.word(),
            quoted(&state.holder),
            state.cards.len(),
            state.line.currency(),
            money(account.terms.limit.into()),
            state.exposure.decimal(),
            state.line.decimal(),
            money(account.debt()),
            money(account.prepaid()),
            money(state.past_due.map_or(0, |past| past.amount)),
            account.dunning.word(),
        ));
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn dunning(listed: &Listed) -> anyhow::Result<ExitCode> {
    let place = workplace(&Config::load(&listed.config.config)?)?;
    let states = credit::states(&place)?;
    let late: Vec<_> = states.iter().filter_map(|state| Some((state, state.past_due?))).collect();
    if listed.json {
        let late: Vec<_> = late.iter().map(|(state, _)| state_json(state)).collect();
        say(&serde_json::to_string_pretty(&late)?);
        return Ok(ExitCode::SUCCESS);
    }
    say("account,holder,currency,past due,since,level,warned on,next level,from");
    for (state, past) in late {
        let (next, from) = next_of(state).unzip();
        say(&format!(
            "{},{},{},{},{},{},{},{},{}",
            state.account.id,
            quoted(&state.holder),
            state.line.currency(),
            state.money(past.amount).decimal(),
            past.since,
            state.account.dunning.word(),
            text(state.account.warned_on),
            next.map(Dunning::word).unwrap_or_default(),
            text(from),
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// What comes of a debt next, and when.
fn next_of(state: &CreditState) -> Option<(Dunning, ServiceDate)> {
    let account = &state.account;
    let warned_on = account.warned_on?;
    let CreditTerms { stop_days, grey_days, black_days, .. } = account.terms;
    let (next, days) = match account.dunning {
        Dunning::Good | Dunning::Black => return None,
        Dunning::Warned => (Dunning::Stopped, stop_days),
        Dunning::Stopped => (Dunning::Grey, grey_days),
        Dunning::Grey => (Dunning::Black, black_days),
    };
    Some((next, ServiceDate(warned_on.0.saturating_add(days.into()))))
}

pub(super) fn collect(
    config: &ConfigPath,
    channel: ChannelId,
    failed: bool,
) -> anyhow::Result<ExitCode> {
    let place = workplace(&Config::load(&config.config)?)?;
    say("reference,account,holder,currency,amount,billed on,due on,failed on");
    for state in credit::states(&place)?.iter().filter(|state| state.account.channel == channel) {
        for (bill, open) in state.account.open_bills() {
            if bill.failed_on.is_some() != failed {
                continue;
            }
            say(&format!(
                "{},{},{},{},{},{},{},{}",
                bill_reference(state.account.id, bill.number),
                state.account.id,
                quoted(&state.holder),
                state.line.currency(),
                state.money(open).decimal(),
                bill.billed_on,
                bill.due_on,
                text(bill.failed_on),
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn show(config: &ConfigPath, id: CreditId, as_json: bool) -> anyhow::Result<ExitCode> {
    let place = workplace(&Config::load(&config.config)?)?;
    let state = credit::state(&place, id)?;
    let charges = place.store.credit_charges(id)?;
    if as_json {
        let mut value = state_json(&state);
        value["charges"] = charges.iter().map(|charge| charge_json(&state, charge)).collect();
        value["payments"] = payments_json(&place, &state)?;
        say(&serde_json::to_string_pretty(&value)?);
        return Ok(ExitCode::SUCCESS);
    }
    show_state(&place, &state)?;
    show_charges(&state, &charges)?;
    Ok(ExitCode::SUCCESS)
}

fn show_state(place: &Workplace, state: &CreditState) -> anyhow::Result<()> {
    let account = &state.account;
    let money = |minor: i64| state.money(minor).to_string();
    say(&format!(
        "account {}, {}, of {}: {}",
        account.id,
        account.kind.word(),
        state.holder,
        account.dunning.word()
    ));
    say(&format!(
        "  owes {}, {} past due; paid ahead {}",
        money(account.debt()),
        money(state.past_due.map_or(0, |past| past.amount)),
        money(account.prepaid())
    ));
    say(&format!(
        "  on its cards and on their way {}; can cost {} of {} at most",
        state.line,
        state.exposure,
        money(account.terms.limit.into())
    ));
    for card in &state.cards {
        say(&format!("  card {}", card.to_hex()));
    }
    let open = account.open_bills();
    for bill in &account.bills {
        let rest =
            open.iter().find(|(of, _)| of.number == bill.number).map_or(0, |(_, rest)| *rest);
        say(&format!(
            "  bill {} of {}: {}, due {}, open {}{}",
            bill.number,
            bill.billed_on,
            money(bill.amount),
            bill.due_on,
            money(rest),
            failed_text(bill)
        ));
    }
    for payment in place.store.credit_payments(account.id)? {
        say(&format!(
            "  payment {} through channel {} at {}: {}",
            payment.reference,
            payment.channel,
            time(payment.paid_at)?,
            money(payment.amount)
        ));
    }
    Ok(())
}

fn show_charges(state: &CreditState, charges: &[CreditCharge]) -> anyhow::Result<()> {
    let money = |minor: i64| state.money(minor).to_string();
    for charge in charges {
        say(&format!("  {} charged {}", charge.day, money(charge.amount)));
        for tap in &charge.taps {
            say(&format!(
                "    {} card {} validator {} epoch {} entry {}: {}",
                time(tap.tapped_at)?,
                tap.card.to_hex(),
                tap.validator,
                tap.entry.0,
                tap.entry.1,
                money(tap.amount)
            ));
        }
        let other = other_than_taps(charge);
        if other != 0 {
            say(&format!("    {}: {}", other_word(other), money(other)));
        }
    }
    Ok(())
}

/// What of a charge is no tap in it: cards that came or went, corrections, payments onto a card,
/// taps that were known to be lost before they arrived.
fn other_than_taps(charge: &CreditCharge) -> i64 {
    charge.amount - charge.taps.iter().map(|tap| tap.amount).sum::<i64>()
}

const fn other_word(other: i64) -> &'static str {
    if other < 0 {
        "taken off: value that cards brought, loads by others, corrected fares, late records"
    } else {
        "besides: value left on cards that went, records that are still missing"
    }
}

fn failed_text(bill: &Bill) -> String {
    bill.failed_on.map_or_else(String::new, |on| format!(", not collected on {on}"))
}

fn text(day: Option<ServiceDate>) -> String {
    day.map(|day| day.to_string()).unwrap_or_default()
}

fn state_json(state: &CreditState) -> Value {
    let account = &state.account;
    let money = |minor: i64| state.money(minor).decimal();
    let open = account.open_bills();
    let terms = &account.terms;
    json!({
        "account": account.id.0,
        "kind": account.kind.word(),
        "holder": state.holder,
        "channel": account.channel.0,
        "currency": state.line.currency().to_string(),
        "level": account.dunning.word(),
        "warned_on": account.warned_on.map(|day| day.to_string()),
        "next": next_of(state).map(|(level, from)| {
            json!({ "level": level.word(), "from": from.to_string() })
        }),
        "owed": money(account.debt()),
        "paid_ahead": money(account.prepaid()),
        "past_due": state.past_due.map(|past| {
            json!({ "amount": money(past.amount), "since": past.since.to_string() })
        }),
        "on_cards": state.line.decimal(),
        "exposure": state.exposure.decimal(),
        "terms": {
            "limit": money(terms.limit.into()),
            "allowance": money(terms.allowance.into()),
            "below": money(terms.below.into()),
            "period_days": terms.period_days,
            "due_days": terms.due_days,
            "stop_days": terms.stop_days,
            "grey_days": terms.grey_days,
            "black_days": terms.black_days,
        },
        "cards": state.cards.iter().map(|card| card.to_hex()).collect::<Vec<_>>(),
        "bills": account.bills.iter().map(|bill| {
            let rest = open.iter().find(|(of, _)| of.number == bill.number);
            json!({
                "bill": bill.number,
                "reference": bill_reference(account.id, bill.number),
                "amount": money(bill.amount),
                "open": money(rest.map_or(0, |(_, rest)| *rest)),
                "billed_on": bill.billed_on.to_string(),
                "due_on": bill.due_on.to_string(),
                "failed_on": bill.failed_on.map(|day| day.to_string()),
            })
        }).collect::<Vec<_>>(),
    })
}

fn charge_json(state: &CreditState, charge: &CreditCharge) -> Value {
    let money = |minor: i64| state.money(minor).decimal();
    json!({
        "day": charge.day.to_string(),
        "amount": money(charge.amount),
        "other": money(other_than_taps(charge)),
        "taps": charge.taps.iter().map(|tap| json!({
            "card": tap.card.to_hex(),
            "at": time(tap.tapped_at).unwrap_or_default(),
            "validator": tap.validator,
            "epoch": tap.entry.0,
            "entry": tap.entry.1,
            "amount": money(tap.amount),
        })).collect::<Vec<_>>(),
    })
}

fn payments_json(place: &Workplace, state: &CreditState) -> anyhow::Result<Value> {
    let payments = place.store.credit_payments(state.account.id)?;
    let payments = payments.iter().map(|payment| {
        Ok(json!({
            "channel": payment.channel.0,
            "reference": payment.reference,
            "amount": state.money(payment.amount).decimal(),
            "paid_at": time(payment.paid_at)?,
        }))
    });
    payments.collect::<anyhow::Result<Vec<_>>>().map(Value::from)
}
