//! The demo as anybody starts it: up soon, every fare as in the feed's table, pages that open,
//! every tap home, and books that verify.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
};

use depot_server::{clock::Clock, config::Config, server::Depot, verify::verify};
use serde_json::Value;

/// Promised on a machine with nothing else to do.
const UP_MS_MAX: u64 = 10_000;

struct Demo {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Demo {
    fn start(state: &Path, more: &[&str]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_demo"))
            .args(["--for", "15", "--speed", "300", "--json", "--check-fares", "--seed", "1"])
            .args(["--port", &super::broker::free_port().to_string()])
            .arg("--state")
            .arg(state)
            .args(more)
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.expect("the demo was built with these tests");
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, out }
    }

    /// The next line, which must be this event.
    fn event(&mut self, name: &str) -> Value {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("the demo speaks UTF-8");
        let value: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line:?}: {e}"));
        assert_eq!(value["event"], name, "{value}");
        value
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // One that has ended by itself cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How many times as long as on a free machine anything may take here: other tests run beside.
fn load() -> u64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let running: u64 = text.split('.').next().and_then(|n| n.parse().ok()).unwrap_or(0);
    let processors = thread::available_parallelism().map_or(1, usize::from) as u64;
    (running / processors).max(1)
}

/// A page over one connection of its own: status line, headers and body.
pub(crate) fn get(url: &str, cookie: &str) -> String {
    let address = url.strip_prefix("http://").expect("the demo speaks plain HTTP");
    let (host, path) = address.split_once('/').expect("a page has a path");
    let mut stream = TcpStream::connect(host).expect("the dashboard listens");
    let request = format!(
        "GET /{path} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("the dashboard reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the dashboard answers");
    String::from_utf8_lossy(&answer).into_owned()
}

pub(crate) fn log_in(url: &str) -> String {
    let answer = get(url, "");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: "));
    let cookie = cookie.unwrap_or_else(|| panic!("{answer}"));
    cookie.split(';').next().expect("a cookie has a value").to_owned()
}

fn live_through(state: &Path, more: &[&str]) -> Value {
    let patience = load();
    let mut demo = Demo::start(state, more);
    let up = demo.event("up");
    let up_ms = up["up_ms"].as_u64().expect("a number");
    assert!(up_ms <= UP_MS_MAX * patience, "up after {up_ms} ms");
    let page = |name: &str| up[name].as_str().unwrap_or_else(|| panic!("{up}")).to_owned();
    let cookie = log_in(&page("login"));
    let exception = get(&page("exception"), &cookie);
    assert!(exception.starts_with("HTTP/1.1 200"), "{exception}");
    assert!(exception.contains("Card with two histories"), "{exception}");
    let charge = get(&page("charge"), &cookie);
    assert!(charge.starts_with("HTTP/1.1 200"), "{charge}");
    let explained = page("explained");
    let first = explained.split(": ").nth(1).expect("a charge has steps");
    let words = first.split(" to ").next().expect("a step has words");
    assert!(charge.contains(words), "{words} is not explained: {charge}");
    assert!(get(&page("charge"), "").starts_with("HTTP/1.1 303"), "a page without a login");

    let summary = demo.event("summary");
    assert!(demo.child.wait().expect("it ends").success(), "{summary}");
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{summary}"));
    assert_eq!(number(&summary["fares"]["mismatched"]), 0, "{summary}");
    assert!(number(&summary["fares"]["compared"]) > 50, "{summary}");
    assert!(number(&summary["taps"]) > 200, "{summary}");
    assert_eq!(number(&summary["unacked"]), 0, "{summary}");
    assert!(number(&summary["exceptions"]["fork"]) >= 1, "{summary}");

    let config = Config::load(&state.join("depot.toml")).expect("the demo wrote it");
    let depot = Depot::open(config, Clock::system()).expect("the books open again");
    let place = depot.workplace();
    let report = verify(&place.store, depot.checker(), &place.rules).expect("the books are read");
    assert_eq!(report.first_difference, None);
    assert!(report.taps >= number(&summary["granted"]), "{report:?} {summary}");
    summary
}

#[test]
fn the_invented_city_lives_and_every_charge_is_the_tables_and_the_tariff_texts() {
    let state = tempfile::tempdir().unwrap();
    let summary = live_through(state.path(), &[]);
    assert!(summary["fares"]["adjusted"].as_u64() > Some(20), "{summary}");
}

#[test]
fn a_real_feed_lives_too_where_it_is_at_hand() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/gtfs");
    let feeds = std::env::var_os("TAPLINE_FEEDS").map_or(beside, PathBuf::from);
    let feed = feeds.join("hmrl-hyderabad");
    let state = tempfile::tempdir().unwrap();
    let feed = if feed.is_dir() { feed } else { tapline_tests::demo::feed::shipped() };
    let mut options = vec!["--gtfs", feed.to_str().expect("feeds have plain names")];
    if feed.ends_with("hmrl-hyderabad") {
        options.extend(["--zone-alias", "JBS=PRG", "--cards", "800"]);
    }
    let summary = live_through(state.path(), &options);
    assert!(summary["good"].as_bool().unwrap_or_default(), "{summary}");
}

#[test]
fn a_feed_that_is_none_is_named_with_what_to_do() {
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("stops.txt"), "stop_id,stop_lat,stop_lon\n").unwrap();
    let missing = scratch.path().join("nothing-here");
    for (path, named) in [(scratch.path(), "routes.txt is missing"), (&missing, "nothing-here")] {
        let output = Command::new(env!("CARGO_BIN_EXE_demo")).arg("--gtfs").arg(path).output();
        let output = output.expect("the demo was built with these tests");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(named), "{said}");
    }
}
