//! `depot-server order …`: top-ups that were paid elsewhere, on their way to cards.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use clearing::{BookedOrder, OrderPhase};
use model::{CardId, ChannelId, Currency, Money, OrderId, ProductKind, ProductSale, Timestamp};

use super::{ConfigPath, auto, bulk, commands::workplace, say, warn};
use crate::{
    clock::Clock,
    config::Config,
    orders::{self, OrderRules, Payment},
    products,
};

#[derive(Debug, Subcommand)]
pub(super) enum Orders {
    /// Take a payment: any validator puts it on the card at its next tap. Told again, it is the
    /// same order.
    Pay(Pay),
    /// Order for many cards by a file, such as wages or allowances.
    #[command(after_help = bulk::AFTER)]
    Bulk(bulk::Bulk),
    /// List the batches that files brought, with what became of their orders.
    Batches(ConfigPath),
    /// Top cards up by themselves when they fall below a threshold.
    #[command(subcommand)]
    Auto(auto::Auto),
    /// List orders: the unfinished ones, or the newest of all.
    List {
        #[command(flatten)]
        config: ConfigPath,
        /// The newest of all, finished or not.
        #[arg(long)]
        all: bool,
        /// How many of all.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Give an order back to who paid it, once no validator can carry it out any more. One that
    /// validators have is taken from them first: ask again later.
    GiveBack {
        #[command(flatten)]
        config: ConfigPath,
        /// Its number.
        order: u64,
    },
}

#[derive(Debug, Args)]
pub(super) struct Pay {
    #[command(flatten)]
    config: ConfigPath,
    /// The card's number, 14 hexadecimal digits.
    #[arg(long)]
    card: CardId,
    /// How much, such as 20.00; of a product its price, which need not be said.
    #[arg(long, required_unless_present = "product")]
    amount: Option<String>,
    /// A product of `[[product]]` instead of value: its number.
    #[arg(long, conflicts_with = "currency")]
    product: Option<u16>,
    /// What was paid in, such as CHF: refused unless the card's purse is in it. The tariff's
    /// without it.
    #[arg(long)]
    currency: Option<String>,
    /// Who took the money: 1 to 65535, your own numbering of agents, kiosks and providers.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    channel: u16,
    /// The channel's own number of the payment. One payment is one order.
    #[arg(long)]
    reference: String,
    /// When it was paid, RFC 3339; now without it.
    #[arg(long)]
    paid_at: Option<jiff::Timestamp>,
}

pub(super) fn run(command: Orders) -> anyhow::Result<ExitCode> {
    match command {
        Orders::Pay(pay) => take(&pay),
        Orders::Auto(command) => auto::run(command),
        Orders::Bulk(command) => bulk::order(&command),
        Orders::Batches(config) => bulk::batches(&config),
        Orders::List { config, all, limit } => {
            let config = Config::load(&config.config)?;
            let place = workplace(&config)?;
            let orders = if all {
                place.store.newest_orders(limit)?
            } else {
                place.store.unfinished_orders()?
            };
            let tariffs = place.rules.currency();
            say(&format!(
                "{:<6} {:<10} {:<13} {:<15} {:<8} {:<21} product",
                "order", "state", "amount", "card", "channel", "paid at"
            ));
            for order in &orders {
                let amount = Money::new(order.amount.into(), order.currency(tariffs)).to_string();
                let paid_at = i64::try_from(order.paid_at.0).unwrap_or(i64::MAX);
                let paid_at = jiff::Timestamp::from_millisecond(paid_at)?;
                say(&format!(
                    "{:<6} {:<10} {amount:<13} {:<15} {:<8} {:<21} {}",
                    order.id.0,
                    order.phase.word(),
                    order.card.to_hex(),
                    channel(order),
                    format!("{paid_at:.0}"),
                    order.product.map(|sale| sold(&sale)).unwrap_or_default(),
                ));
            }
            if !config.orders.enabled {
                warn("[orders] enabled = false: validators are given no orders");
            }
            Ok(ExitCode::SUCCESS)
        }
        Orders::GiveBack { config, order } => {
            let config = Config::load(&config.config)?;
            let place = workplace(&config)?;
            orders::give_back(&place, OrderRules::from(&config.orders), OrderId(order))?;
            say(&format!("order {order} is given back: pay it out through its channel"));
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A product in words.
fn sold(sale: &ProductSale) -> String {
    match sale.product.kind {
        ProductKind::Pass => format!("pass {}", sale.product.id),
        ProductKind::Rides => format!("{} rides of product {}", sale.rides, sale.product.id),
    }
}

fn channel(order: &BookedOrder) -> String {
    match order.account {
        Some(account) => format!("account {account}"),
        None if order.is_adjustment() => "owed".to_owned(),
        None => order.channel.to_string(),
    }
}

fn take(pay: &Pay) -> anyhow::Result<ExitCode> {
    let config = Config::load(&pay.config.config)?;
    let place = workplace(&config)?;
    let tariffs = place.rules.currency();
    let currency = pay.currency.as_deref().map_or(Ok(tariffs), Currency::parse)?;
    let amount = pay.amount.as_deref().map(|text| Money::parse(text, currency)).transpose()?;
    let known = place.store.card_state(pay.card)?.and_then(|(state, _)| state.purse());
    // Of a card whose profile names the tariff's own currency, the order has to name it too.
    let purse = known.filter(|purse| *purse == currency);
    let purse = purse.or((currency != tariffs).then_some(currency));
    let now = Clock::system().now();
    let paid_at = match pay.paid_at {
        Some(at) => Timestamp(u64::try_from(at.as_millisecond())?),
        None => now,
    };
    let bought = pay
        .product
        .map(|number| products::offered(&config.products, number, &place.rules, (paid_at, now)));
    let bought = bought.transpose()?;
    let price = bought.map(|bought| bought.price);
    if let (Some(price), Some(amount)) = (price, amount)
        && price != amount
    {
        anyhow::bail!("the product costs {price}, not {amount}: leave --amount out");
    }
    let Some(amount) = price.or(amount) else { anyhow::bail!("say --amount or --product") };
    let order = orders::pay(
        &place,
        &Payment {
            channel: ChannelId(pay.channel),
            reference: pay.reference.clone(),
            card: pay.card,
            amount: u32::try_from(amount.minor()).unwrap_or(0),
            purse,
            product: bought.map(|bought| bought.sale),
            paid_at,
        },
    )?;
    let id = order.id;
    let what = order.product.map_or_else(String::new, |sale| format!("{}, ", sold(&sale)));
    match order.phase {
        OrderPhase::Waiting if config.orders.enabled => {
            say(&format!("order {id} over {what}{amount}: validators have it within seconds"));
        }
        OrderPhase::Waiting => {
            say(&format!("order {id} over {what}{amount}"));
            warn("[orders] enabled = false: validators are given no orders");
        }
        OrderPhase::Out(_)
        | OrderPhase::Withdrawn(..)
        | OrderPhase::Loaded
        | OrderPhase::Refunded(_)
        | OrderPhase::Owed => {
            let state = order.phase.word();
            say(&format!("order {id} over {what}{amount} was taken before: {state}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
