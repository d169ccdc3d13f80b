//! A payment provider against the real HTTP server and real books: what it repeats, reorders,
//! replays, forges, delays or takes back never makes a second order.

use std::time::Duration;

use clearing::{Account, OrderPhase};
use model::{ChannelId, OrderId};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{
    channels::webhook::Secrets,
    config::Channel,
    http::payments::{Hooks, serve},
    orders::{OrderRules, tick},
};

const RULES: OrderRules =
    OrderRules { offered_s: 86_400, clock_bound_s: 300, adjusts: true, overdue_s: None };
const SECRET: &[u8] = b"whsec-0123456789abcdef";

/// The provider, and the depot's server that it talks to.
struct Provider {
    rig: Rig,
    address: std::net::SocketAddr,
    secrets: Secrets,
}

impl Provider {
    async fn open() -> Self {
        let rig = Rig::new();
        let secrets = Secrets::parse(SECRET).unwrap();
        let channels = vec![(Channel::unnamed(9), secrets.clone())];
        let hooks = Hooks::new(rig.place.clone(), RULES, channels);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { serve(listener, hooks).await });
        Self { rig, address, secrets }
    }

    fn now_s(&self) -> u64 {
        self.rig.place.clock.now().secs()
    }

    /// (status, what the answer says first).
    async fn post(&self, path: &str, signature: &str, body: &[u8]) -> (u16, String) {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: depot\r\nConnection: close\r\nTapline-Signature: \
             {signature}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        // A server that refuses early may close before the whole body is sent.
        let _ = stream.write_all(body).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let body = answer.split("\r\n\r\n").nth(1).unwrap();
        let json: serde_json::Value = serde_json::from_str(body).unwrap();
        let word = json.get("result").or(json.get("error")).unwrap();
        (status, word.as_str().unwrap().to_owned())
    }

    async fn tell(&self, body: &str) -> (u16, String) {
        let signature = self.secrets.sign(self.now_s(), body.as_bytes());
        self.post("/channel/9/payments", &signature, body.as_bytes()).await
    }

    fn orders(&self) -> usize {
        self.rig.place.store.newest_orders(100).unwrap().len()
    }

    fn stands(&self) -> i64 {
        let account = Account::LoadChannel(ChannelId(9)).id(self.rig.place.rules.currency());
        -self.rig.place.store.account(&account).unwrap().posted()
    }
}

fn succeeded(event: &str, reference: &str, amount: &str) -> String {
    let card = Cards::id(0).to_hex();
    format!(
        r#"{{"id":"{event}","type":"payment.succeeded","livemode":true,
        "payment":{{"reference":"{reference}","card":"{card}","amount":"{amount}",
        "currency":"EUR","paid_at":"2027-01-15T08:00:00Z"}}}}"#
    )
}

fn refunded(event: &str, reference: &str) -> String {
    format!(
        r#"{{"id":"{event}","type":"payment.refunded","payment":{{"reference":"{reference}"}}}}"#
    )
}

fn says(word: &str) -> (u16, String) {
    (200, word.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_provider_that_repeats_and_races_makes_one_order() {
    let provider = Provider::open().await;
    let body = succeeded("e1", "p1", "20.00");
    let many = (0..12).map(|_| provider.tell(&body));
    for answer in futures_util::future::join_all(many).await {
        // Two that race may be told to try again; none is refused, none orders twice.
        assert!(answer == says("ordered") || answer.0 == 503, "{answer:?}");
    }
    assert_eq!(provider.tell(&body).await, says("ordered"));
    // The same payment under another event is the same order.
    assert_eq!(provider.tell(&succeeded("e2", "p1", "20.00")).await, says("ordered"));
    assert_eq!((provider.orders(), provider.stands()), (1, 2_000));
    let conflict = |word: &str| (409, word.to_owned());
    let other = provider.tell(&succeeded("e3", "p1", "21.00")).await;
    assert_eq!(other, conflict("other-content"));
    let other = provider.tell(&succeeded("e1", "p9", "20.00")).await;
    assert_eq!(other, conflict("other-event"));
    assert_eq!((provider.orders(), provider.stands()), (1, 2_000));
    provider.rig.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_stale_foreign_large_and_wrong_events_are_refused_with_the_reason() {
    let provider = Provider::open().await;
    let body = succeeded("e1", "p1", "20.00");
    let path = "/channel/9/payments";
    let at = provider.now_s();
    let good = provider.secrets.sign(at, body.as_bytes());
    let thief = Secrets::parse(b"another secret of theirs").unwrap().sign(at, body.as_bytes());
    let stale = provider.secrets.sign(at - 301, body.as_bytes());
    let altered = body.replace("20.00", "90.00");
    for (path, signature, body, status, word) in [
        (path, "", body.as_str(), 401, "unsigned"),
        (path, "t=1,v1=zz", &body, 401, "forged"),
        (path, &thief, &body, 401, "forged"),
        (path, &good, &altered, 401, "forged"),
        (path, &stale, &body, 401, "stale"),
        ("/channel/8/payments", &good, &body, 404, "unknown-channel"),
        ("/channel/x/payments", &good, &body, 404, "unknown-channel"),
    ] {
        let answer = provider.post(path, signature, body.as_bytes()).await;
        assert_eq!(answer, (status, word.to_owned()));
    }
    let large = "x".repeat(17_000);
    assert_eq!(provider.tell(&large).await, (413, "too-large".to_owned()));
    let with = |from: &str, to: &str| body.replace(from, to);
    for (body, status, word) in [
        ("not json".to_owned(), 400, "malformed"),
        (r#"{"id":"","type":"payment.succeeded"}"#.to_owned(), 400, "malformed"),
        (r#"{"id":"e","type":"payment.succeeded"}"#.to_owned(), 400, "malformed"),
        (with(r#""reference":"p1""#, r#""reference":"""#), 400, "malformed"),
        (with("EUR", "EURO"), 400, "malformed"),
        (with("EUR", "USD"), 422, "currency"),
        (with("20.00", "20.001"), 400, "malformed"),
        (with("20.00", "0.00"), 422, "amount"),
        (with("20.00", "-20.00"), 422, "amount"),
        (with(&Cards::id(0).to_hex(), "04aaaaaaaaaaaa"), 422, "unknown-card"),
        (with("2027-01-15T08:00:00Z", "today"), 400, "malformed"),
    ] {
        assert_eq!(provider.tell(&body).await, (status, word.to_owned()), "{body}");
    }
    assert_eq!(provider.tell(r#"{"id":"e8","type":"customer.created"}"#).await, says("ignored"));
    assert_eq!((provider.orders(), provider.stands()), (0, 0));
    // What was refused is taken once it is right: the event was not used up.
    assert_eq!(provider.tell(&body).await, says("ordered"));
    // Replayed from the wire: within the tolerance it gets its answer again, later it is stale.
    assert_eq!(provider.post(path, &good, body.as_bytes()).await, says("ordered"));
    let clock = &provider.rig.place.clock;
    clock.set(Timestamp(clock.now().0 + 301_000));
    let stale = provider.post(path, &good, body.as_bytes()).await;
    assert_eq!(stale, (401, "stale".to_owned()));
    // The provider itself comes late, and signs anew.
    clock.set(Timestamp(clock.now().0 + 3 * 86_400_000));
    assert_eq!(provider.tell(&body).await, says("ordered"));
    assert_eq!(provider.orders(), 1);
    provider.rig.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_gives_the_order_back_whenever_it_comes() {
    let provider = Provider::open().await;
    let rig = &provider.rig;
    let phase = |id: u64| rig.place.store.order(OrderId(id)).unwrap().unwrap().phase;
    // In time: nobody has it yet.
    provider.tell(&succeeded("e1", "p1", "20.00")).await;
    assert_eq!(provider.tell(&refunded("e2", "p1")).await, says("given-back"));
    assert_eq!(provider.tell(&refunded("e2", "p1")).await, says("given-back"));
    assert_eq!(phase(1), OrderPhase::Refunded(None));
    // Before its payment: the payment is taken and given back at once, and never offered.
    assert_eq!(provider.tell(&refunded("e3", "p2")).await, says("noted"));
    assert_eq!(provider.tell(&succeeded("e4", "p2", "7.00")).await, says("given-back"));
    assert_eq!(phase(2), OrderPhase::Refunded(None));
    assert_eq!((provider.stands(), rig.open_kinds()), (0, vec![]));
    // When validators have it: it is taken from them, and given back once none can have it.
    provider.tell(&succeeded("e5", "p3", "5.00")).await;
    tick(&rig.place, RULES).unwrap();
    assert!(matches!(phase(3), OrderPhase::Out(_)));
    assert_eq!(provider.tell(&refunded("e6", "p3")).await, says("giving-back"));
    assert!(matches!(phase(3), OrderPhase::Withdrawn(..)));
    assert_eq!(rig.open_kinds(), ["order-without-payment"]);
    rig.assert_sound();
    tick(&rig.place, RULES).unwrap();
    assert!(matches!(phase(3), OrderPhase::Withdrawn(..)), "it is not offered anew");
    assert_eq!(provider.stands(), 500);
    rig.assert_sound();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_sends_slowly_is_let_go_and_holds_up_nobody() {
    let provider = Provider::open().await;
    let mut slow = TcpStream::connect(provider.address).await.unwrap();
    let head = "POST /channel/9/payments HTTP/1.1\r\nHost: depot\r\nContent-Length: 100\r\n\r\n{";
    slow.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(provider.tell(&succeeded("e1", "p1", "20.00")).await, says("ordered"));
    let mut answer = [0_u8; 12];
    let read = slow.read_exact(&mut answer);
    tokio::time::timeout(Duration::from_secs(20), read).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
}
