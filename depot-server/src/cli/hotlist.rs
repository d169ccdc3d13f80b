//! `depot-server hotlist …`: cards to refuse, from their proposal to their end.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};
use blocking::{Case, Cause, Standing};
use clap::{Args, Subcommand};
use lists::Grade;
use model::{CardId, ServiceDate, Timestamp, ValidatorId};
use serde_json::{Value, json};

use super::{ConfigPath, say, warn};
use crate::{
    clock::Clock,
    config::Config,
    hotlist::{
        self, Decision, Proposal,
        event::{grade_of, grade_word},
    },
    store::{CaseFilter, CaseGroup, OpenBreaker, Store},
};

#[derive(Debug, Subcommand)]
pub(super) enum Hotlist {
    /// Print the breaker, what waits for somebody, and cases.
    List(List),
    /// Say that cards may have to be refused. Blocks nobody before somebody approves it.
    Propose(Propose),
    /// Agree: the cards are refused everywhere with the next list.
    Approve(Decide),
    /// Agree as a second person, while the breaker is open.
    Confirm(Decide),
    /// Disagree, before they are refused.
    Reject(DecideWhy),
    /// Serve cards again.
    Unblock(DecideWhy),
    /// Propose the cards of a file: one of 14 hexadecimal digits a line, `#` begins a remark.
    Import(Import),
    /// Print the cards that are refused now, as `import` reads them.
    Export {
        #[command(flatten)]
        config: ConfigPath,
    },
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    config: ConfigPath,
    /// Only cases that stand so: proposed, approved, confirmed, in-force, rejected, withdrawn,
    /// expired, unblocked.
    #[arg(long, value_parser = standing)]
    standing: Option<Standing>,
    #[command(flatten)]
    which: Which,
    /// At most so many cases.
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Which cases.
#[derive(Debug, Args)]
struct Which {
    /// Of this card.
    #[arg(long)]
    card: Option<CardId>,
    /// For this cause: fork, value, lost, replaced, debt, person, import.
    #[arg(long, value_parser = cause)]
    cause: Option<Cause>,
    /// By the records of this validator.
    #[arg(long)]
    validator: Option<ValidatorId>,
}

#[derive(Debug, Args)]
pub(super) struct Decide {
    #[command(flatten)]
    config: ConfigPath,
    /// Numbers of cases.
    cases: Vec<u64>,
    #[command(flatten)]
    which: Which,
    /// Who decides.
    #[arg(long)]
    by: String,
}

#[derive(Debug, Args)]
pub(super) struct DecideWhy {
    #[command(flatten)]
    decide: Decide,
    /// Why, for whoever is asked.
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Args)]
pub(super) struct Propose {
    #[command(flatten)]
    config: ConfigPath,
    /// The cards' numbers, 14 hexadecimal digits each.
    #[arg(required = true)]
    cards: Vec<CardId>,
    /// Who says so.
    #[arg(long)]
    by: String,
    /// Why, for whoever is asked by a card's holder.
    #[arg(long)]
    reason: String,
    /// For this cause: lost, debt or person.
    #[arg(long, value_parser = cause, default_value = "person")]
    cause: Cause,
    /// Grey (for the time being) or black (for good); the cause's own without it.
    #[arg(long, value_parser = grade)]
    grade: Option<Grade>,
    /// The numbers of exceptions that say so.
    #[arg(long)]
    evidence: Vec<u64>,
    /// The first day (UTC) on which the cards are served again, such as 20271224.
    #[arg(long)]
    expires: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Import {
    #[command(flatten)]
    config: ConfigPath,
    /// The file.
    file: PathBuf,
    /// Who says so.
    #[arg(long)]
    by: String,
    /// Why, for whoever is asked by a card's holder.
    #[arg(long)]
    reason: String,
    /// The first day (UTC) on which the cards are served again, such as 20271224.
    #[arg(long)]
    expires: Option<String>,
}

pub(super) fn run(command: Hotlist) -> anyhow::Result<ExitCode> {
    match command {
        Hotlist::List(list) => print(&list)?,
        Hotlist::Propose(propose) => take(&propose)?,
        Hotlist::Approve(decide) => {
            let many = settle(&decide, &Decision::Approve, "approved")?;
            warn(&format!("{many}: refused with the next list, unless the breaker opens"));
        }
        Hotlist::Confirm(decide) => {
            let many = settle(&decide, &Decision::Confirm, "confirmed")?;
            warn(&format!("{many}: refused with the next list"));
        }
        Hotlist::Reject(DecideWhy { decide, reason }) => {
            warn(&settle(&decide, &Decision::Reject(reason), "rejected")?);
        }
        Hotlist::Unblock(DecideWhy { decide, reason }) => {
            let many = settle(&decide, &Decision::Unblock(reason), "unblocked")?;
            warn(&format!("{many}: served again with the next list"));
        }
        Hotlist::Import(import) => read(&import)?,
        Hotlist::Export { config } => {
            let of = CaseFilter { standings: vec![Standing::InForce], ..CaseFilter::default() };
            for case in books(&config)?.hotlist_cases(&of, u32::MAX)? {
                let (card, grade, cause) = (case.card.to_hex(), grade_word(case.grade), case.cause);
                say(&format!("{card} # {grade} {}: {}", cause.word(), case.reason));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn books(path: &ConfigPath) -> anyhow::Result<Store> {
    Ok(Store::open_existing(&Config::load(&path.config)?.database)?)
}

impl Which {
    fn filter(&self, ids: &[u64]) -> CaseFilter {
        let Self { card, cause, validator } = *self;
        CaseFilter { ids: ids.to_vec(), card, cause, validator, standings: Vec::new() }
    }
}

/// What a person decides; answers how many cases in words.
fn settle(decide: &Decide, decision: &Decision, done: &str) -> anyhow::Result<String> {
    let of = decide.which.filter(&decide.cases);
    if of == CaseFilter::default() {
        bail!("name numbers of cases, or --card, --cause or --validator: see `hotlist list`");
    }
    let store = books(&decide.config)?;
    let cases = hotlist::decide(&store, &of, &decide.by, decision, Clock::system().now())?;
    let many = if cases == 1 { "1 case".to_owned() } else { format!("{cases} cases") };
    Ok(format!("{many} {done} by {}", decide.by.trim()))
}

fn take(propose: &Propose) -> anyhow::Result<()> {
    if !matches!(propose.cause, Cause::Lost | Cause::Debt | Cause::Person) {
        bail!("--cause {}: people propose lost, debt or person", propose.cause.word());
    }
    let proposal = Proposal {
        cards: propose.cards.clone(),
        cause: propose.cause,
        grade: propose.grade,
        validator: None,
        proposer: propose.by.clone(),
        reason: propose.reason.clone(),
        evidence: propose.evidence.clone(),
        expires: propose.expires.as_deref().map(midnight).transpose()?,
    };
    tell(&propose.config, &proposal)
}

fn read(import: &Import) -> anyhow::Result<()> {
    let path = import.file.display();
    let text = fs::read_to_string(&import.file).with_context(|| format!("cannot read {path}"))?;
    let mut cards = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let card = line.split('#').next().unwrap_or_default().trim();
        if !card.is_empty() {
            cards.push(card.parse().with_context(|| format!("{path}, line {number}"))?);
        }
    }
    if cards.is_empty() {
        bail!("{path} names no card: write one of 14 hexadecimal digits a line");
    }
    let proposal = Proposal {
        cards,
        cause: Cause::Import,
        grade: None,
        validator: None,
        proposer: import.by.clone(),
        reason: import.reason.clone(),
        evidence: Vec::new(),
        expires: import.expires.as_deref().map(midnight).transpose()?,
    };
    tell(&import.config, &proposal)
}

fn tell(config: &ConfigPath, proposal: &Proposal) -> anyhow::Result<()> {
    let proposed = hotlist::propose(&books(config)?, proposal, Clock::system().now())?;
    let cause = proposal.cause.word();
    match &proposed.cases[..] {
        [] => warn("nothing new is proposed"),
        [one] => {
            say(&format!("case {one}"));
            warn(&format!("blocks nobody yet: `hotlist approve {one} --by NAME`"));
        }
        [first, .., last] => {
            say(&format!("cases {first} to {last}"));
            warn(&format!("blocks nobody yet: `hotlist approve --cause {cause} --by NAME`"));
        }
    }
    if proposed.known > 0 {
        warn(&format!("{} known already: a case of this cause is open", proposed.known));
    }
    Ok(())
}

fn print(list: &List) -> anyhow::Result<()> {
    let store = books(&list.config)?;
    let of =
        CaseFilter { standings: list.standing.into_iter().collect(), ..list.which.filter(&[]) };
    let (breaker, groups) = (store.hotlist_breaker()?, store.hotlist_groups()?);
    let cases = store.hotlist_cases(&of, list.limit)?;
    if list.json {
        let value = json!({
            "breaker": breaker.map(breaker_json),
            "groups": groups.iter().map(group_json).collect::<Vec<_>>(),
            "cases": cases.iter().map(case_json).collect::<Vec<_>>(),
        });
        say(&serde_json::to_string_pretty(&value)?);
        return Ok(());
    }
    match breaker {
        None => say("breaker  closed"),
        Some(open) => say(&format!("breaker  OPEN: {}", hotlist::why_open(&open))),
    }
    if let Some(made) = store.newest_hotlist()? {
        say(&format!("list     version {}, {} cards", made.version, made.cards));
    }
    for group in &groups {
        let validator = group.validator.map(|v| format!(" by {v}")).unwrap_or_default();
        let (standing, cause) = (group.standing.word(), group.cause.word());
        say(&format!("{standing:<10} {:>7} {cause}{validator}", group.cases));
    }
    for case in &cases {
        let by = case.approved.as_ref().map(|d| format!(", approved by {}", d.by));
        let until = case.expires.map(|at| format!(", until {}", day(at)));
        say(&format!(
            "case {} {} {} {} {}: {}{}{}",
            case.id,
            case.card.to_hex(),
            case.standing.word(),
            grade_word(case.grade),
            case.cause.word(),
            case.reason,
            by.unwrap_or_default(),
            until.unwrap_or_default(),
        ));
    }
    if cases.len() == list.limit as usize {
        warn(&format!("the first {} cases; more with --limit", list.limit));
    }
    Ok(())
}

fn breaker_json(open: OpenBreaker) -> Value {
    json!({
        "since_ms": open.since.0,
        "waiting": open.trip.waiting,
        "recent": open.trip.recent,
        "bound": open.trip.bound.0,
    })
}

fn group_json(group: &CaseGroup) -> Value {
    json!({
        "standing": group.standing.word(),
        "cause": group.cause.word(),
        "validator": group.validator.map(|v| v.to_string()),
        "cases": group.cases,
        "since_ms": group.since.0,
    })
}

fn case_json(case: &Case) -> Value {
    let decided = |decided: &blocking::Decided| json!({ "by": decided.by, "at_ms": decided.at.0 });
    json!({
        "case": case.id.0,
        "card": case.card.to_hex(),
        "grade": grade_word(case.grade),
        "cause": case.cause.word(),
        "standing": case.standing.word(),
        "validator": case.validator.map(|v| v.to_string()),
        "proposer": case.proposer,
        "proposed_ms": case.proposed_at.0,
        "reason": case.reason,
        "evidence": case.evidence,
        "expires_ms": case.expires.map(|at| at.0),
        "approved": case.approved.as_ref().map(decided),
        "confirmed": case.confirmed.as_ref().map(decided),
        "version": case.in_force.map(|(version, _)| version),
        "ended": case.ended.as_ref().map(|(who, why)| {
            json!({ "by": who.by, "at_ms": who.at.0, "why": why })
        }),
    })
}

fn standing(word: &str) -> Result<Standing, String> {
    let all = Standing::ALL.map(Standing::word).join(", ");
    Standing::from_word(word).ok_or_else(|| format!("use one of {all}"))
}

fn cause(word: &str) -> Result<Cause, String> {
    let all = Cause::ALL.map(Cause::word).join(", ");
    Cause::from_word(word).ok_or_else(|| format!("use one of {all}"))
}

fn grade(word: &str) -> Result<Grade, String> {
    grade_of(word).ok_or_else(|| "use grey or black".to_owned())
}

fn midnight(text: &str) -> anyhow::Result<Timestamp> {
    let date = ServiceDate::parse(text).context("--expires: write a date such as 20271224")?;
    Ok(Timestamp::from_secs(u64::from(date.0) * 86_400))
}

fn day(at: Timestamp) -> ServiceDate {
    ServiceDate(u32::try_from(at.secs() / 86_400).unwrap_or(u32::MAX))
}
