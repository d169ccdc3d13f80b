//! `depot-server correct …`: what people decide about money that nothing else decides.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use model::{CardId, Ctr};

use super::{ConfigPath, commands::workplace, say};
use crate::{
    config::Config,
    corrections::{Decision, attribute, decide},
    intake::office::Who,
};

#[derive(Debug, Subcommand)]
pub(super) enum Correct {
    /// Pay back what an item says was charged too much: it is owed to the card's holder, and
    /// reaches the card with its next load.
    Repay {
        #[command(flatten)]
        item: Item,
        /// The item's amount, such as 1.50.
        #[arg(long)]
        amount: String,
    },
    /// Give up what an item has in suspense, under a number that the books keep.
    WriteOff {
        #[command(flatten)]
        item: Item,
        /// What stands there, such as 4.50.
        #[arg(long)]
        amount: String,
        /// Under which number, such as one for lost records and one for unknown cards.
        #[arg(long)]
        to: u16,
        /// Take back what was given up: the records came after all.
        #[arg(long)]
        take_back: bool,
    },
    /// Say whose revenue the record of a card is that nobody could attribute.
    Attribute {
        #[command(flatten)]
        office: Office,
        /// The card: the UID's 7 bytes as 14 hexadecimal digits.
        #[arg(long)]
        card: CardId,
        /// The record, by the card's counter.
        #[arg(long)]
        ctr: u32,
        /// Whose it is, by the operator's id in the tariff.
        #[arg(long)]
        operator: String,
    },
    /// Close an item about which no money is to be moved.
    Close {
        #[command(flatten)]
        item: Item,
    },
    /// Say who looks after an item.
    Assign {
        #[command(flatten)]
        item: Item,
        /// Who.
        #[arg(long)]
        to: String,
    },
}

/// Which item, and what every decision says.
#[derive(Debug, Args)]
pub(super) struct Item {
    #[command(flatten)]
    office: Office,
    /// The item's number, as the page of exceptions shows it.
    item: u64,
}

/// What every decision says.
#[derive(Debug, Args)]
pub(super) struct Office {
    #[command(flatten)]
    config: ConfigPath,
    /// Who decides.
    #[arg(long)]
    by: String,
    /// Who agrees: somebody else. Needed above `reconcile.second_person_above`.
    #[arg(long)]
    agreed_by: Option<String>,
    /// Why.
    #[arg(long)]
    reason: String,
}

impl Office {
    fn who(&self) -> Who {
        Who {
            by: self.by.trim().to_owned(),
            agreed_by: self.agreed_by.as_ref().map(|who| who.trim().to_owned()),
            reason: self.reason.trim().to_owned(),
        }
    }
}

pub(super) fn run(command: Correct) -> anyhow::Result<ExitCode> {
    let (item, decision) = match command {
        Correct::Repay { item, amount } => (item, Decision::Repay(amount)),
        Correct::WriteOff { item, amount, to, take_back: false } => {
            (item, Decision::WriteOff(amount, to))
        }
        Correct::WriteOff { item, amount, to, take_back: true } => {
            (item, Decision::TakeBack(amount, to))
        }
        Correct::Close { item } => (item, Decision::Close),
        Correct::Assign { item, to } => (item, Decision::Assign(to)),
        Correct::Attribute { office, card, ctr, operator } => {
            let config = Config::load(&office.config.config)?;
            let place = workplace(&config)?;
            let above = &config.reconcile.second_person_above;
            let of = (card, Ctr(ctr));
            let amount = attribute(&place, above, of, &operator, office.who())?;
            say(&format!("{amount} of card {card}, record {ctr}, are revenue of {operator}"));
            return Ok(ExitCode::SUCCESS);
        }
    };
    let config = Config::load(&item.office.config.config)?;
    let place = workplace(&config)?;
    let above = &config.reconcile.second_person_above;
    say(&decide(&place, above, item.item, &decision, item.office.who())?);
    Ok(ExitCode::SUCCESS)
}
