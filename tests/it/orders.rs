//! Load orders through the real parts: a payment told to the depot's program, Broker, a
//! validator as a process, a card at its chip. One tap tops the card up and pays the ride from it.

use std::time::Duration;

use tokio::{task::block_in_place, time::sleep};

use crate::{
    broker::now,
    processes::{CITY, PATIENCE, POSTS, Yard, said},
};

/// A bus, and a depot that seals orders.
fn yard(cards: u8) -> Yard {
    let mut yard = Yard::open_under(CITY, &POSTS[..1], cards, &[]);
    yard.open_desk("[orders]\nenabled = true\n");
    yard
}

fn pay(yard: &Yard, card: &str, amount: &str, reference: &str) -> String {
    let more = ["--card", card, "--amount", amount, "--channel", "7", "--reference", reference];
    said(&yard.depot_server(&["order", "pay"], &more))
}

/// The version of the orders that the bus works by.
fn orders_at_the_bus(yard: &Yard) -> u64 {
    let page = yard.gates[0].page("/metrics").unwrap_or_default();
    let name = "tapline_list_version{kind=\"actions\"} ";
    let version = page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    version.unwrap_or(0)
}

async fn bus_has_orders(yard: &mut Yard, version: u64) {
    let deadline = now() + PATIENCE;
    while orders_at_the_bus(yard) < version {
        yard.gates[0].process.assert_running();
        assert!(now() < deadline, "no orders: {}", yard.gates[0].process.logged());
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usr_2_a_payment_is_on_the_card_at_its_next_tap_and_pays_the_ride() {
    let mut yard = block_in_place(|| yard(2));
    let card = yard.cards[0].clone();
    let number = card.lock().unwrap().uid().to_hex();
    let before = card.lock().unwrap().contents().unwrap().balance;
    let told = block_in_place(|| pay(&yard, &number, "20.00", "R-1"));
    assert!(told.contains("order 1 over 20.00 EUR"), "{told}");
    let again = block_in_place(|| pay(&yard, &number, "20.00", "R-1"));
    assert!(again.contains("order 1 over 20.00 EUR"), "{again}");
    bus_has_orders(&mut yard, 1).await;

    let mut bus = yard.gates[0].take_reader();
    let answer = bus.tap(card.clone()).await;
    assert!(answer.contains("accepted, charge 1.50 EUR"), "{answer}");
    assert!(answer.contains("topped up 20.00 EUR"), "{answer}");
    assert_eq!(card.lock().unwrap().contents().unwrap().balance, before + 2_000 - 150);

    yard.drained().await;
    // The list without it comes by itself, and so does the card's next order.
    bus_has_orders(&mut yard, 2).await;
    let other = yard.cards[1].clone();
    let number = other.lock().unwrap().uid().to_hex();
    block_in_place(|| pay(&yard, &number, "5.00", "R-2"));
    bus_has_orders(&mut yard, 3).await;
    // Killed with the orders on its disk, the validator goes on with them.
    block_in_place(|| yard.gates[0].process.kill());
    block_in_place(|| yard.gates[0].process.start());
    let answer = bus.tap(other.clone()).await;
    assert!(answer.contains("topped up 5.00 EUR"), "{answer}");
    assert_eq!(other.lock().unwrap().contents().unwrap().balance, before + 500 - 150);

    yard.drained().await;
    block_in_place(|| yard.close());
    let list = said(&yard.depot_server(&["order", "list"], &["--all"]));
    let loaded = list.lines().filter(|line| line.contains(" loaded ")).count();
    assert_eq!(loaded, 2, "{list}");
    assert_eq!(yard.items(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allowance_of_rides_is_on_the_card_at_its_next_tap_and_pays_it() {
    let mut yard = block_in_place(|| Yard::open_under(CITY, &POSTS[..1], 2, &[]));
    block_in_place(|| {
        yard.open_desk(
            "[orders]\nenabled = true\n\n[[product]]\nnumber = 20\nprice = \"0.00\"\nrides = 2\n",
        );
    });
    let card = yard.cards[0].clone();
    let numbers: Vec<_> = yard.cards.iter().map(|c| c.lock().unwrap().uid().to_hex()).collect();
    let before = card.lock().unwrap().contents().unwrap().balance;
    let file = yard.folder().join("allowances.csv");
    let [first, second] = &numbers[..] else { panic!("two cards") };
    let lines = format!("{first},0.00,a,20\n{second},0.00,b,20\n");
    std::fs::write(&file, format!("card,amount,reference,product\n{lines}")).unwrap();
    let report = block_in_place(|| {
        let file = file.to_str().unwrap();
        said(&yard.depot_server(&["order", "bulk", file], &["--channel", "12"]))
    });
    assert_eq!(report.matches(",ordered,").count(), 2, "{report}");
    let list = said(&yard.depot_server(&["order", "list"], &[]));
    assert_eq!(list.matches("2 rides of product 20").count(), 2, "{list}");
    bus_has_orders(&mut yard, 1).await;

    let mut bus = yard.gates[0].take_reader();
    let answer = bus.tap(card.clone()).await;
    assert!(answer.contains("2 rides are on the card (product 20)"), "{answer}");
    assert!(answer.contains("accepted, charge 0.00 EUR"), "{answer}");
    let contents = card.lock().unwrap().contents().unwrap();
    assert_eq!((contents.balance, contents.products.unwrap().rides), (before, Some(1)));

    yard.drained().await;
    block_in_place(|| yard.close());
    assert_eq!(yard.items(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rec_16_a_statement_is_matched_and_a_card_below_its_threshold_is_topped_up_by_itself() {
    let mut yard = block_in_place(|| yard(1));
    let card = yard.cards[0].clone();
    let number = card.lock().unwrap().uid().to_hex();
    let before = card.lock().unwrap().contents().unwrap().balance;
    block_in_place(|| pay(&yard, &number, "5.00", "R-1"));
    bus_has_orders(&mut yard, 1).await;
    let file = yard.folder().join("kiosks.csv");
    std::fs::write(&file, "reference,amount\nR-1,5.00\nR-9,7.50\n").unwrap();
    let matched = block_in_place(|| {
        yard.depot_server(&["channel", "match", file.to_str().unwrap()], &["--channel", "7"])
    });
    let told = String::from_utf8_lossy(&matched.stdout).into_owned();
    assert_eq!(matched.status.code(), Some(1), "{told}");
    assert!(told.contains("2 lines") && told.contains("1 to look at"), "{told}");
    assert!(told.contains("R-9: no-order: 7.50 EUR were handed in"), "{told}");
    let channels = said(&yard.depot_server(&["channel", "list"], &[]));
    assert!(channels.contains("7,,1,EUR,12.50,5.00,0.00,7.50,0,"), "{channels}");

    let mut bus = yard.gates[0].take_reader();
    let answer = bus.tap(card.clone()).await;
    assert!(answer.contains("topped up 5.00 EUR"), "{answer}");
    let below = ["--card", &number, "--below", "1000.00", "--amount", "7.00", "--channel", "9"];
    said(&yard.depot_server(&["order", "auto", "set"], &below));
    // The order of the kiosk is on the card, and this one is in the third list.
    bus_has_orders(&mut yard, 3).await;
    let answer = bus.tap(card.clone()).await;
    assert!(answer.contains("topped up 7.00 EUR"), "{answer}");
    let rides = if answer.contains("charge 1.50 EUR") { 2 } else { 1 };
    let balance = card.lock().unwrap().contents().unwrap().balance;
    assert_eq!(balance, before + 500 + 700 - rides * 150);
    let due = said(&yard.depot_server(&["order", "auto", "collect"], &["--channel", "9"]));
    assert!(due.contains(&format!(",{number},EUR,7.00,")), "{due}");
    yard.drained().await;
    block_in_place(|| yard.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_cannot_be_is_refused_by_what_is_wrong() {
    let yard = block_in_place(|| yard(1));
    let card = yard.cards[0].lock().unwrap().uid().to_hex();
    pay(&yard, &card, "20.00", "R-1");
    let refused = |arguments: [&str; 4], problem: &str| {
        let [card, amount, channel, reference] = arguments;
        let more =
            ["--card", card, "--amount", amount, "--channel", channel, "--reference", reference];
        let output = yard.depot_server(&["order", "pay"], &more);
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && complaint.contains(problem), "{complaint}");
    };
    refused(
        [&card, "21.00", "7", "R-1"],
        "used the reference \"R-1\" for another payment, order 1",
    );
    refused(["04aaaaaaaaaaaa", "20.00", "7", "R-2"], "was not issued on these books");
    refused([&card, "0.00", "7", "R-3"], "1 to 16777215 minor units");
    refused([&card, "20.001", "7", "R-4"], "20.001");
    refused([&card, "20.00", "0", "R-5"], "0 is not in 1..");
    refused(["xyz", "20.00", "7", "R-6"], "xyz");
}
