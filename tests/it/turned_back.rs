//! A gate that lets nobody through, over a pseudo-terminal, with the real validator and depot: what
//! the tariff gives back is in the books once, whatever is killed and when.

use std::{fs, time::Duration};

use gate::{Turnstile, Way};
use tokio::{task::block_in_place, time::sleep};

use crate::{
    broker::now,
    processes::{CITY, PATIENCE, POSTS, Reader, SharedCard, Yard},
};

/// Gates at Alpha and Beta; the one out of Beta has a turnstile.
fn yard() -> Yard {
    let city = CITY.replace("[gate]\n", "[gate]\nnot_passed = \"give-back\"\n");
    let yard = Yard::install_under(&city, &POSTS[1..], 3, &[]);
    let config = yard.folder().join(format!("{}.toml", POSTS[2].id));
    let text = fs::read_to_string(&config).unwrap();
    let port = yard.folder().join("gate").display().to_string();
    let gate = format!("[gate]\nkind = \"frames\"\nport = \"{port}\"\ntimeout_s = 4\n");
    fs::write(&config, text + &gate).unwrap();
    yard
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = now() + PATIENCE;
    while !holds() {
        assert!(now() < deadline, "{what}");
        sleep(Duration::from_millis(10)).await;
    }
}

async fn tap(reader: &mut Reader, card: &SharedCard, charge: &str) {
    let answer = reader.tap(card.clone()).await;
    assert!(answer.contains(&format!("accepted, charge {charge}")), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_gate_did_not_let_through_is_owed_once_in_the_books_though_power_goes_between() {
    let mut yard = block_in_place(yard);
    let turnstile = Turnstile::plug(&yard.folder().join("gate")).unwrap();
    block_in_place(|| yard.start());
    let [mut entry, mut exit] = [0, 1].map(|n| yard.gates[n].take_reader());
    let [walks, turns_back, unseen] = [0, 1, 2].map(|n| yard.cards[n].clone());

    for card in [&walks, &turns_back, &unseen] {
        tap(&mut entry, card, "0.00").await;
    }
    tap(&mut exit, &walks, "3.00").await;
    until("the gate opens", || turnstile.is_open().is_some()).await;
    assert!(turnstile.walk(Way::A));
    yard.drained().await;

    // The power goes when only the log knows that the gate stayed empty.
    block_in_place(|| yard.depot.kill());
    tap(&mut exit, &turns_back, "3.00").await;
    let timed_out = "tapline_gate_words_total{said=\"timed-out\"} 1";
    until("it times out", || {
        block_in_place(|| yard.gates[1].page("/metrics")).is_some_and(|p| p.contains(timed_out))
    })
    .await;
    assert_eq!(turnstile.is_open(), None);
    block_in_place(|| {
        yard.gates[1].process.kill();
        yard.depot.start();
        yard.gates[1].process.start();
    });
    yard.drained().await;

    // The power goes while the gate is open: nobody saw whether the rider passed.
    tap(&mut exit, &unseen, "3.00").await;
    until("the gate opens", || turnstile.is_open().is_some()).await;
    block_in_place(|| {
        yard.gates[1].process.kill();
        yard.gates[1].process.start();
    });
    until("it is shut again", || turnstile.is_open().is_none()).await;
    yard.drained().await;

    block_in_place(|| yard.close());
    let books = rusqlite::Connection::open(yard.database()).unwrap();
    let mut owed = books.prepare("SELECT card, amount, revision FROM due_journal").unwrap();
    let owed = owed.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    let owed: Vec<(i64, i64, Option<i64>)> = owed.collect::<Result<_, _>>().unwrap();
    let [(_, 300, Some(_))] = owed[..] else { panic!("the one fare, once: {owed:?}") };
    assert_eq!(yard.items(), 0, "nobody has to decide that");
}
