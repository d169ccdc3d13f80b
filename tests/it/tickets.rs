//! Tickets from the sale to the books: a scanner on a pseudo-terminal, the validator's daemon, a
//! broker, the depot's pipeline on SQLite.

mod rig;

use std::{fs, process::Command, time::Duration};

use depot_server::intake::sell_tickets;
use ed25519_dalek::SigningKey;
use model::{
    Currency, Money, PlaceIx, Refusal, RiderClass, RouteIx, TariffVersion, Ticket, TicketId,
    TicketScope, TicketToken, Timestamp,
};
use ticket::{issue, key_id, to_text};
use tokio::time::sleep;
use validation::{Note, Verdict};

use self::rig::{MORNING, Office, Post};

/// A ticket that the test signs by itself, as a thief of the key would.
fn signed(key: &SigningKey, serial: u8, scope: TicketScope, from: Timestamp) -> TicketToken {
    let ticket = Ticket {
        id: TicketId { key: key_id(&key.verifying_key()), serial: [serial; 8] },
        price: Money::new(240, Currency::parse("EUR").unwrap()),
        valid_from: from,
        minutes: 90,
        scope,
        tariff: TariffVersion(1),
        class: RiderClass(0),
    };
    issue(&ticket, key).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tickets_go_from_the_sale_through_any_scanner_into_the_books() {
    let office = Office::start().await;
    let mut bus = Post::start(&office, 1).await;
    let sold = office.sell(8);
    let text: Vec<String> = sold.iter().map(to_text).collect();
    assert_eq!(
        (office.standing("ticket-cash"), office.standing("ticket-liability")),
        (1920, -1920)
    );

    // However a scanner ends a code, and whatever it puts before one.
    for bytes in [
        format!("{}\r", text[0]),
        format!("{}\n", text[1]),
        format!("{}\r\n", text[2]),
        text[3].clone(),
        format!("]Q3{}\r", text[4].to_lowercase()),
        format!("Scanner ready\u{1b}[0m\r\0\0{}\r", text[5]),
    ] {
        let passage = bus.told(bytes.as_bytes()).await;
        assert_eq!(passage.verdict, Verdict::Granted, "{bytes:?}");
        assert_eq!((passage.charge.minor(), passage.balance), (0, None));
    }
    // Garbage on the line costs nobody anything; half a code is tried again; bytes come one by one.
    bus.line.send(b"\xff\xfe\x00\x80\x12\r\x07\x07\n");
    bus.silent().await;
    assert_eq!(bus.told(&text[6].as_bytes()[..80]).await.assist_code(), Some(7));
    for byte in text[6].as_bytes() {
        bus.line.send(&[*byte]);
        sleep(Duration::from_millis(1)).await;
    }
    assert!(bus.answer().await.is_granted());
    // The scanner repeats itself while the phone is held, and the rider who just passed is not
    // told that the ticket was used.
    for _ in 0..4 {
        sleep(Duration::from_millis(300)).await;
        bus.line.send(format!("{}\r", text[6]).as_bytes());
    }
    bus.silent().await;
    sleep(Duration::from_millis(700)).await;
    assert_eq!(bus.scan(&sold[6]).await.assist_code(), Some(46));

    // Seven rides, one garbled code, one refusal.
    office.booked(9).await;
    assert_eq!(office.standing("fare-revenue"), -7 * 240);
    assert_eq!(office.standing("ticket-liability"), -240, "one is still owed");
    assert_eq!(office.sums().total(), 9);
    assert_eq!(office.sums().reasons[&Refusal::TicketUsed], 1);
    assert!(office.open().is_empty());
    office.assert_sound();
    bus.stop().await;
    office.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_used_ticket_stays_used_over_a_power_cut_and_elsewhere_is_found_by_the_depot() {
    let office = Office::start().await;
    let mut here = Post::start(&office, 1).await;
    let sold = office.sell(2);
    assert!(here.scan(&sold[0]).await.is_granted());
    assert!(here.scan(&sold[1]).await.is_granted());
    assert_eq!(here.scan(&sold[0]).await.assist_code(), Some(46));
    here.power_cut().await;
    here.power_on().await;
    assert_eq!(here.daemon.as_ref().unwrap().recovery().tickets.len(), 2);
    assert_eq!(here.scan(&sold[0]).await.assist_code(), Some(46), "the log is the memory");
    // The newest one may not have been shown: its rider passes, once, and nothing is recorded.
    let passage = here.scan(&sold[1]).await;
    assert_eq!(
        (passage.verdict, passage.notes),
        (Verdict::Granted, vec![Note::EarlierTapFinished])
    );
    assert_eq!(here.scan(&sold[0]).await.assist_code(), Some(46));
    assert_eq!(here.scan(&sold[1]).await.assist_code(), Some(46));

    // Another validator cannot know, and the depot does.
    let mut there = Post::start(&office, 2).await;
    assert!(there.scan(&sold[0]).await.is_granted());
    // Two rides and four refusals here, one ride there.
    office.booked(7).await;
    let [item] = &office.open()[..] else { panic!("{:#?}", office.open()) };
    assert_eq!(item.row.kind.word(), "ticket-used-twice");
    assert_eq!(item.row.amount.map(Money::minor), Some(240));
    let validators: Vec<_> = item
        .evidence
        .iter()
        .map(|piece| piece.tap.as_ref().expect("both taps are shown").validator.number())
        .collect();
    assert_eq!(validators, [1, 2]);
    assert_eq!(office.standing("fare-revenue"), -2 * 240, "the second ride is not paid");
    assert_eq!(office.standing("ticket-liability"), 0);
    office.assert_sound();
    here.stop().await;
    there.stop().await;
    office.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_hold_here_and_now_is_refused_by_its_code_and_moves_nothing() {
    use TicketScope::{Group, Network, Place, Route};
    let office = Office::start().await;
    let mut bus = Post::start(&office, 1).await;
    let (ours, theirs) = (office.ticket_key.clone(), SigningKey::from_bytes(&[77; 32]));
    let hours = |hours: i64| Timestamp(MORNING.0.checked_add_signed(hours * 3_600_000).unwrap());
    let mut altered = signed(&ours, 1, Network, MORNING);
    altered.0[16] ^= 1;
    for (token, code) in [
        (signed(&ours, 2, Network, hours(-2)), Some(47)),
        (signed(&ours, 3, Network, hours(1)), Some(47)),
        (signed(&ours, 4, Place(PlaceIx(1)), MORNING), Some(47)),
        (signed(&ours, 5, Route(RouteIx(1)), MORNING), Some(47)),
        (signed(&theirs, 6, Network, MORNING), Some(10)),
        (altered, Some(10)),
        (signed(&ours, 7, Place(PlaceIx(0)), MORNING), None),
        (signed(&ours, 8, Route(RouteIx(0)), MORNING), None),
        (signed(&ours, 9, Group(0), MORNING), None),
    ] {
        sell_tickets(&office.place, &[token]).unwrap();
        let passage = bus.scan(&token).await;
        assert_eq!(passage.assist_code(), code, "{:?}", token.ticket());
    }
    assert_eq!(bus.told(b"https://example.org/menu\r").await.assist_code(), Some(10));
    office.booked(10).await;
    assert_eq!(office.standing("fare-revenue"), -3 * 240);
    assert!(office.open().is_empty());
    office.assert_sound();
    bus.stop().await;
    office.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_that_nobody_sold_is_a_work_item_until_its_sale_is_known() {
    let office = Office::start().await;
    let mut bus = Post::start(&office, 1).await;
    let stolen = signed(&office.ticket_key, 1, TicketScope::Network, MORNING);
    assert!(bus.scan(&stolen).await.is_granted(), "its signature holds");
    office.booked(1).await;
    let [item] = &office.open()[..] else { panic!("{:#?}", office.open()) };
    assert_eq!(item.row.kind.word(), "ticket-not-issued");
    assert_eq!((office.standing("ticket-unissued"), office.standing("fare-revenue")), (240, -240));
    office.assert_sound();
    sell_tickets(&office.place, &[stolen, stolen]).unwrap();
    assert!(office.open().is_empty());
    assert_eq!((office.standing("ticket-unissued"), office.standing("ticket-cash")), (0, 240));
    office.assert_sound();
    bus.stop().await;
    office.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scanner_that_is_pulled_out_comes_back_by_itself_and_cards_go_on_meanwhile() {
    let office = Office::start().await;
    let mut bus = Post::start(&office, 1).await;
    let sold = office.sell(2);
    // Half a code is lost with the cable.
    bus.line.send(&to_text(&sold[0]).as_bytes()[..30]);
    bus.line.unplug();
    let card = bus.card(1);
    bus.field.place(card);
    assert!(bus.answer().await.is_granted() || bus.answer().await.is_granted());
    bus.field.clear();
    bus.line.plug();
    // The validator looks for its scanner again within some hundred milliseconds.
    let lost = || bus.daemon.as_ref().unwrap().metrics().scanner_errors.get();
    assert!(lost() >= 1);
    let mut passage = None;
    for _ in 0..40 {
        bus.line.send(format!("{}\r", to_text(&sold[0])).as_bytes());
        sleep(Duration::from_millis(250)).await;
        if let Some(shown) = bus.try_answer() {
            passage = Some(shown);
            break;
        }
    }
    assert!(passage.expect("the scanner is back").is_granted());
    bus.stop().await;
    office.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_read_during_a_card_tap_waits_for_its_end() {
    let office = Office::start().await;
    let mut bus = Post::start(&office, 1).await;
    let sold = office.sell(3);
    let card = bus.card(1);
    bus.field.place(card);
    bus.line.send(format!("{}\r", to_text(&sold[0])).as_bytes());
    let (first, second) = (bus.answer().await, bus.answer().await);
    assert!(first.is_granted() && second.is_granted());
    let paid = [first.charge.minor(), second.charge.minor()];
    assert!(paid == [150, 0] || paid == [0, 150], "one paid with the card: {paid:?}");
    bus.field.clear();
    // The reader still works after tickets, and the other way round.
    assert!(bus.scan(&sold[1]).await.is_granted());
    let card = bus.card(2);
    bus.field.place(card);
    assert_eq!(bus.answer().await.charge.minor(), 150);
    assert!(bus.scan(&sold[2]).await.is_granted());
    bus.stop().await;
    office.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ticket_desk_sells_on_the_command_line_beside_the_server() {
    let office = Office::start().await;
    let folder = office.folder.path();
    let run = |words: &[&str]| {
        let config = folder.join("depot.toml");
        let output = Command::new(env!("CARGO_BIN_EXE_depot-server-under-test"))
            .args(words)
            .arg("--config")
            .arg(config)
            .current_dir(folder)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, key, _) = run(&["ticket", "key"]);
    let public = office.ticket_key.verifying_key();
    assert_eq!((code, key.trim()), (Some(0), &*depot_server::config::to_hex(public.as_bytes())));
    let sell =
        ["ticket", "issue", "--price", "2.40", "--count", "2", "--qr", "t.svg", "--route", "7"];
    let (code, texts, said) = run(&sell);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("sold 2 at 2.40 EUR each, valid until "), "{said}");
    let tokens: Vec<TicketToken> =
        texts.lines().map(|line| ticket::from_text(line).unwrap()).collect();
    assert_eq!(tokens.len(), 2);
    for no in 1..=2 {
        assert!(fs::read_to_string(folder.join(format!("t.{no}.svg"))).unwrap().contains("<svg"));
    }
    assert_eq!(office.standing("ticket-liability"), -480);
    for (words, problem) in [
        (&["--place", "nowhere"][..], "--place nowhere: no place of tariff version 1"),
        (&["--group", "tram"], "the tariff has bus"),
        (&["--network", "--class", "king"], "--class king: the tariff has"),
        (&["--network", "--qr", "t.png"], "a file that ends in .svg"),
        (&["--network", "--valid-minutes", "5000"], "minutes of the ticket is out of range"),
        (&["--network", "--count", "0"], "an order is for 1 to 10000 tickets"),
    ] {
        let words = [&["ticket", "issue", "--price", "1.00"][..], words].concat();
        let (code, _, said) = run(&words);
        assert_eq!(code, Some(1), "{words:?}: {said}");
        assert!(said.contains(problem), "{words:?}: {said}");
    }
    assert_eq!(office.standing("ticket-liability"), -480, "nothing was sold by mistake");
    office.close().await;
}
