//! Fare caps the whole way: the real validator counts on cards, Mosquitto carries its taps, the
//! real depot books and explains them; and then other fares are tried over its books.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    sync::Arc,
    time::Duration,
};

use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value, json};
use tokio::{task::block_in_place, time::sleep};

use crate::{
    demo::log_in,
    processes::{CITY, DEPOT, POSTS, Yard, get, said},
};

/// A card that comes back sooner never left, for its reader.
const AWAY: Duration = Duration::from_millis(350);
/// Cards that ride twice, and one more that rides until it is free.
const TWICE: u8 = 5;

/// The city with a cap of 4.00 a day and no transfers, as validators take it. The service day
/// begins twelve hours from now, so that no run of this test meets its edge.
fn capped_city() -> String {
    let zone = TimeZone::get("Europe/Berlin").expect("a zone of the database");
    let hour = Timestamp::now().to_zoned(zone).hour();
    let day_starts = format!("day_starts = \"{:02}:00\"", (hour + 12) % 24);
    let cap = r#"
[[cap]]
number = 1
id = "day"
name = "Day cap"
period = "day"
levels = [{ price = "4.00" }]
"#;
    let folder = tempfile::tempdir().unwrap();
    let text =
        without_transfers(CITY).replacen("format = 1", &format!("format = 1\n{day_starts}"), 1);
    std::fs::write(folder.path().join("city.toml"), format!("{text}{cap}")).unwrap();
    let mut program = Command::new(DEPOT);
    program.args(["fares", "compile", "--tariff"]).arg(folder.path().join("city.toml"));
    said(&program.output().unwrap())
}

/// Every ride for itself.
fn without_transfers(city: &str) -> String {
    let from = city.find("[[transfer]]").expect("the city has a transfer");
    let to = city.find("[gate]").expect("the city has gates");
    format!("{}{}", &city[..from], &city[to..])
}

/// Looks a card up by its number, as staff does, and reads its page.
fn card_page(yard: &Yard, number: &str) -> String {
    let link = said(&yard.depot_server(&["user", "add"], &["ana"]));
    let token = link.trim().split_once("/login").expect("a login link").1;
    let site = format!("http://127.0.0.1:{}", yard.pages);
    let cookie = log_in(&format!("{site}/login{token}"));
    let body = format!("number={number}");
    let request = format!(
        "POST /cards HTTP/1.1\r\nHost: 127.0.0.1:{0}\r\nOrigin: http://127.0.0.1:{0}\r\n\
         Cookie: {cookie}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {1}\r\nConnection: close\r\n\r\n{body}",
        yard.pages,
        body.len()
    );
    let mut stream = TcpStream::connect(("127.0.0.1", yard.pages)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let page = answer.lines().find_map(|line| line.strip_prefix("location: "));
    let page = page.unwrap_or_else(|| panic!("the card is not found: {answer}"));
    crate::demo::get(&format!("{site}{page}"), &cookie)
}

/// What `fares diff` over the books says of this tariff.
fn diff(yard: &Yard, to: &str) -> Value {
    let (from, changed) = (yard.folder().join("city.toml"), yard.folder().join("changed.toml"));
    std::fs::write(&changed, to).unwrap();
    let mut program = Command::new(DEPOT);
    program.args(["fares", "diff", "--json", "--config"]).arg(yard.folder().join("depot.toml"));
    let output = program.arg("--from").arg(from).arg("--to").arg(changed).output().unwrap();
    let printed = said(&output);
    for n in 1..=yard.cards.len() {
        let number = format!("04515253545{}", 500 + n);
        assert!(!printed.contains(&number) && !printed.contains(&number[10..]), "{printed}");
    }
    serde_json::from_str(&printed).unwrap()
}

fn other_fares_over_the_books(yard: &Yard) {
    let plain = without_transfers(CITY);
    // Five cards rode twice for 1.50 each; one rode for 1.50, 1.50, 1.00 and nothing.
    let dearer = diff(yard, &plain.replace("\"1.50\"", "\"2.00\""));
    assert_eq!(
        dearer,
        json!({
            "compared": 6, "not_priced": 0, "currency": "EUR",
            "from_total": "19.00", "to_total": "28.00",
            "pay_more": 6, "pay_less": 0, "pay_the_same": 0,
            // That one card would pay 4.00 more is in the sums; a list of one would name it.
            "by_difference": [{ "difference": "1.00", "count": 5 }],
        })
    );
    let cheaper = diff(yard, &plain.replace("\"1.50\"", "\"1.20\""));
    assert_eq!(
        (&cheaper["pay_more"], &cheaper["pay_less"], &cheaper["to_total"]),
        (&json!(1), &json!(5), &json!("16.80")),
        "without the cap the one who rides much pays 4.80"
    );
    assert_eq!(cheaper["by_difference"], json!([{ "difference": "-0.60", "count": 5 }]));
    let without_the_bus = plain.replace("\"s1\"", "\"s2\"");
    let none = diff(yard, &without_the_bus);
    assert_eq!((&none["not_priced"], &none["from_total"]), (&json!(6), &json!("0.00")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn riders_pay_up_to_the_cap_the_books_know_why_and_other_fares_are_tried_over_them() {
    let city = block_in_place(capped_city);
    let mut yard = block_in_place(|| Yard::open_under(&city, &POSTS[..1], TWICE + 1, &[]));
    let mut bus = yard.gates[0].take_reader();
    let (much, twice) = yard.cards.split_last().expect("six cards");
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(bus.tap(Arc::clone(much)).await);
        sleep(AWAY).await;
    }
    let of = |charge: &str, cap: &str| {
        format!("accepted, charge {charge} EUR|Day cap: {cap} EUR of 4.00 EUR today")
    };
    let expected = [("1.50", "1.50"), ("1.50", "3.00"), ("1.00", "4.00"), ("0.00", "4.00")];
    for (answer, (charge, cap)) in answers.iter().zip(expected) {
        let expected = of(charge, cap);
        assert!(expected.split('|').all(|part| answer.contains(part)), "{expected}: {answer}");
    }
    assert!(answers[2].contains("Day cap of 4.00 EUR is reached -0.50 EUR"), "{}", answers[2]);
    assert!(answers[3].contains("Day cap of 4.00 EUR is reached -1.50 EUR"), "{}", answers[3]);
    for card in twice {
        for _ in 0..2 {
            let answer = bus.tap(Arc::clone(card)).await;
            assert!(answer.contains("accepted, charge 1.50 EUR"), "{answer}");
            sleep(AWAY).await;
        }
    }
    yard.drained().await;
    let held = |card: &crate::processes::SharedCard| card.lock().unwrap().contents().unwrap();
    assert_eq!(held(yard.cards.last().unwrap()).balance, 50_000 - 400, "the card is the truth");

    block_in_place(|| {
        let verdict = said(&yard.depot_server(&["verify"], &["--from-journal"]));
        assert!(verdict.contains("the books are what the journal says"), "{verdict}");
        let metrics = get(yard.pages, "/metrics").unwrap();
        let opened = metrics
            .lines()
            .filter(|line| line.starts_with("tapline_reconciliation_exceptions_opened"));
        assert!(
            opened.clone().all(|line| line.ends_with(" 0")),
            "{:?}",
            opened.collect::<Vec<_>>()
        );
        let page = card_page(&yard, "04515253545506");
        assert_eq!(page.matches("steps sum to the charge").count(), 4, "{page}");
        assert_eq!(page.matches("Day cap of 4.00 EUR is reached").count(), 2, "{page}");
        assert_eq!(page.matches("Day cap: 4.00 EUR of 4.00 EUR that day").count(), 2, "{page}");
        assert!(page.contains("Card and ledger agree."), "{page}");
        other_fares_over_the_books(&yard);
    });
}
