//! Credit accounts through the real parts: the depot's program, Broker, a validator as a
//! process, a card at its chip. A card rides on its account's credit, the account is billed, does
//! not pay, is blocked, pays, and rides on.

use std::time::Duration;

use model::{Currency, Money};
use tokio::{task::block_in_place, time::sleep};

use crate::{
    broker::now,
    processes::{CITY, PATIENCE, POSTS, Yard, said},
};

/// What the yard's cards are issued with, and what the account fills them up to.
const OPENING: i32 = 50_000;

fn yard() -> Yard {
    let mut yard = Yard::open_under(CITY, &POSTS[..1], 2, &[]);
    yard.open_desk("[orders]\nenabled = true\n[hotlist]\nrules = [\"debt\", \"unpaid\"]\n");
    yard
}

fn account(yard: &Yard, command: &str, more: &[&str]) -> String {
    block_in_place(|| said(&yard.depot_server(&["account", command], more)))
}

fn shown(yard: &Yard) -> serde_json::Value {
    serde_json::from_str(&account(yard, "show", &["1", "--json"])).unwrap()
}

fn refused(yard: &Yard, command: &str, more: &[&str], why: &str) {
    let output = block_in_place(|| yard.depot_server(&["account", command], more));
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && complaint.contains(why), "{command}: {complaint}");
}

/// A number on the validator's metrics page.
fn metric(yard: &Yard, name: &str) -> i64 {
    let page = yard.gates[0].page("/metrics").unwrap_or_default();
    page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(-1)
}

/// Waits until the bus says so.
async fn bus_has(yard: &mut Yard, name: &str, wanted: impl Fn(i64) -> bool) -> i64 {
    let deadline = now() + PATIENCE;
    loop {
        let found = metric(yard, name);
        if wanted(found) {
            return found;
        }
        yard.gates[0].process.assert_running();
        assert!(now() < deadline, "{name}{found}: {}", yard.gates[0].process.logged());
        sleep(Duration::from_millis(100)).await;
    }
}

async fn level(yard: &Yard, wanted: &str) {
    let deadline = now() + PATIENCE;
    while shown(yard)["level"] != wanted {
        assert!(now() < deadline, "{}", shown(yard));
        sleep(Duration::from_millis(200)).await;
    }
}

const ORDERS: &str = "tapline_list_version{kind=\"actions\"} ";
const BLOCKED: &str = "tapline_hotlist_cards ";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usr_4_an_account_rides_is_billed_does_not_pay_is_blocked_pays_and_rides_on() {
    let mut yard = block_in_place(yard);
    let (card, mut bus) = (yard.cards[0].clone(), yard.gates[0].take_reader());
    let number = card.lock().unwrap().uid().to_hex();
    let open = "--kind linked --holder C-4711 --channel 9 --limit 700.00 --allowance 505.00 \
                --below 499.00 --due-days 0 --stop-days 0 --grey-days 0 --black-days 30";
    let told = account(&yard, "open", &open.split_whitespace().collect::<Vec<_>>());
    assert_eq!(told, "account 1\n");
    account(&yard, "link", &["1", &number]);
    refused(&yard, "link", &["1", "04aaaaaaaaaaaa"], "was not issued on these books");

    // The first ride is from what was on the card; then the books see it below the threshold.
    let answer = bus.tap(card.clone()).await;
    assert!(answer.contains("accepted, charge 1.50 EUR"), "{answer}");
    bus_has(&mut yard, ORDERS, |version| version >= 1).await;
    let answer = bus.tap(card.clone()).await;
    assert!(answer.contains("topped up 6.50 EUR"), "{answer}");
    let balance = card.lock().unwrap().contents().unwrap().balance;
    let owed = Money::new((OPENING + 650 - balance).into(), Currency::parse("EUR").unwrap());
    assert!(owed.minor() >= 150, "one ride, and perhaps a free change");
    let owed = owed.decimal();
    yard.drained().await;

    // The holder takes the money out that the card had: what was ridden is owed by now.
    let taken = ["1", "--amount", "-500.00", "--channel", "7", "--reference", "out"];
    let told = account(&yard, "paid", &taken);
    assert!(told.contains("account 1 owes"), "{told}");
    let bill = account(&yard, "bill", &["1"]);
    assert!(bill.starts_with(&format!("bill 1 over {owed} EUR")), "{bill}");
    let collect = account(&yard, "collect", &["--channel", "9"]);
    assert!(collect.contains(&format!("account-1-1,1,C-4711,EUR,{owed},")), "{collect}");
    account(&yard, "failed", &["account-1-1", "--why", "no cover"]);
    level(&yard, "grey").await;
    let dunning = account(&yard, "dunning", &[]);
    assert!(dunning.contains(&format!("1,C-4711,EUR,{owed},")), "{dunning}");

    // A person agrees; the bus refuses the card, and nobody else's.
    let deadline = now() + PATIENCE;
    let hotlist = |more: &[&str]| {
        block_in_place(|| said(&yard.depot_server(&["hotlist", more[0]], &more[1..])))
    };
    while !hotlist(&["list"]).contains("debt") {
        assert!(now() < deadline, "{}", hotlist(&["list"]));
        sleep(Duration::from_millis(200)).await;
    }
    hotlist(&["approve", "1", "--by", "ana"]);
    bus_has(&mut yard, BLOCKED, |cards| cards == 1).await;
    let answer = bus.tap(card.clone()).await;
    assert!(!answer.contains("accepted") && answer.contains("code 63"), "{answer}");
    let other = yard.cards[1].clone();
    let answer = bus.tap(other).await;
    assert!(answer.contains("accepted"), "{answer}");

    // Paid: nobody has to tell the list.
    let paid = ["1", "--amount", &owed, "--channel", "9", "--reference", "account-1-1"];
    let told = account(&yard, "paid", &paid);
    assert_eq!(told, "account 1 owes 0.00 EUR, 0.00 EUR of it past due: good\n");
    assert_eq!(account(&yard, "paid", &paid), told, "told again, it is the same payment");
    bus_has(&mut yard, BLOCKED, |cards| cards == 0).await;
    let answer = bus.tap(card.clone()).await;
    assert!(answer.contains("accepted"), "{answer}");
    yard.drained().await;

    block_in_place(|| yard.close());
    let shown = shown(&yard);
    assert_eq!(shown["bills"][0]["open"], "0.00", "{shown}");
}
