//! The dashboard as an operator sees it: a real Chromium on the demo's city, page by page, in
//! light and dark. Pictures are left in `target/pages` for people to look at.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use axum::http::Method;
use fantoccini::{Client, ClientBuilder, Locator, key::Key, wd::WebDriverCompatibleCommand};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use url::{ParseError, Url};

use crate::broker::{free_port, now, pause};

/// A child that does not outlive its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the demo and returns it with the login address that it prints.
fn demo() -> (Process, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    command.args(["--seed", "5", "--speed", "240", "--cards", "400", "--for", "240", "--faults"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("runs");
    let out = child.stdout.take().expect("is piped");
    let (tell, heard) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if let Some(at) = line.find("http://") {
                let url: String = line[at..].chars().take_while(|c| !c.is_whitespace()).collect();
                if url.contains("/login") {
                    let _ = tell.send(url);
                }
            }
        }
    });
    let process = Process(child);
    let url = heard.recv_timeout(Duration::from_secs(60)).expect("the demo prints its login");
    (process, url)
}

/// A browser, driven through Debian's chromedriver.
async fn browser() -> (Process, Client) {
    let port = free_port();
    let driver = Command::new("/usr/bin/chromedriver")
        .arg(format!("--port={port}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("chromedriver is installed: tests/run installs it");
    let driver = Process(driver);
    let options = json!({
        "binary": "/usr/bin/chromium",
        "args": ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--disable-dev-shm-usage", "--window-size=1440,900"],
    });
    let mut capabilities = serde_json::Map::new();
    capabilities.insert("goog:chromeOptions".into(), options);
    capabilities.insert("goog:loggingPrefs".into(), json!({ "browser": "ALL" }));
    let deadline = now() + Duration::from_secs(60);
    loop {
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities.clone());
        match builder.connect(&format!("http://127.0.0.1:{port}")).await {
            Ok(client) => return (driver, client),
            Err(error) => assert!(now() < deadline, "no browser: {error}"),
        }
        pause(Duration::from_millis(200));
    }
}

fn pages() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/pages");
    std::fs::create_dir_all(&folder).expect("target is ours");
    folder
}

/// Sets the theme as the button does and saves a picture of the page.
async fn picture(client: &Client, name: &str, theme: &str) {
    let script = "document.documentElement.dataset.theme = arguments[0]";
    client.execute(script, vec![json!(theme)]).await.expect("scripts run");
    let png = client.screenshot().await.expect("pictures are taken");
    std::fs::write(pages().join(format!("{name}-{theme}.png")), png).expect("is written");
}

/// Chromium's log of a page: violated content policies, scripts that failed, missing files.
#[derive(Debug)]
struct BrowserLog;

impl WebDriverCompatibleCommand for BrowserLog {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(json!({ "type": "browser" }).to_string()))
    }
}

async fn complaints(client: &Client) -> Vec<String> {
    let log = client.issue_cmd(BrowserLog).await.expect("the browser keeps a log");
    let lines = log.as_array().cloned().unwrap_or_default();
    let bad = |line: &&Value| matches!(line["level"].as_str(), Some("SEVERE" | "WARNING"));
    lines.iter().filter(bad).map(|line| line["message"].to_string()).collect()
}

async fn text_of(client: &Client, css: &str) -> String {
    let element = client.find(Locator::Css(css)).await.expect(css);
    element.text().await.expect("elements have text")
}

async fn wait_for(client: &Client, css: &str) {
    let waiting = client.wait().at_most(Duration::from_secs(30));
    let found = waiting.for_element(Locator::Css(css)).await;
    assert!(found.is_ok(), "{css} never came: {found:?}");
}

async fn count(client: &Client, css: &str) -> u64 {
    let script = "return document.querySelectorAll(arguments[0]).length";
    let found = client.execute(script, vec![json!(css)]).await.expect("scripts run");
    found.as_u64().expect("a number")
}

/// The charges of the open card page sum up; they are read in Korean and in English again.
async fn charges_explain_themselves(client: &Client) {
    let open = "for (const d of document.querySelectorAll('ol.journeys details')) d.open = true";
    client.execute(open, vec![]).await.expect("scripts run");
    let body = text_of(client, "main").await;
    assert!(body.contains("steps sum to the charge"), "no explained charge: {body}");
    assert!(!body.contains("do not sum"), "{body}");
    let hangul = |text: &str| text.chars().any(|c| ('\u{ac00}'..='\u{d7a3}').contains(&c));
    for (tag, korean) in [("ko", true), ("en", false)] {
        let button = format!(".languages button[value='{tag}']");
        let button = client.find(Locator::Css(&button)).await.expect("the card page has languages");
        button.click().await.expect("buttons can be pressed");
        wait_for(client, &format!(".languages button[value='{tag}'][aria-pressed='true']")).await;
        client.execute(open, vec![]).await.expect("scripts run");
        let step = text_of(client, &format!("table.waterfall tbody th[lang='{tag}']")).await;
        assert_eq!(hangul(&step), korean, "explained in {tag}: {step}");
    }
}

/// The page of a card that has ridden so much that a cap made a charge less. The first of them is
/// there after some two hours of the city's day.
async fn capped_card(client: &Client, base: &str) -> String {
    let linked = "return [...new Set([...document.querySelectorAll(\"#taps a[href^='/cards/']\")]\
        .map(a => a.getAttribute('href')))]";
    let read = "const done = arguments[1]; fetch(arguments[0]).then(r => r.text())\
        .then(t => done(t.includes(' is reached')))";
    let deadline = now() + Duration::from_secs(120);
    loop {
        client.goto(&format!("{base}/taps")).await.expect("pages open");
        wait_for(client, "#taps tbody tr[data-no]").await;
        let links = client.execute(linked, vec![]).await.expect("scripts run");
        for link in links.as_array().expect("a list").clone() {
            let capped = client.execute_async(read, vec![link.clone()]).await.expect("is read");
            if capped == json!(true) {
                return link.as_str().expect("an address").to_owned();
            }
        }
        assert!(now() < deadline, "no card has reached a cap");
        pause(Duration::from_secs(1));
    }
}

/// A cap that made a charge less is a step of it, and how far the caps have come is said.
async fn caps_are_told(client: &Client, base: &str) {
    let card = capped_card(client, base).await;
    client.goto(&format!("{base}{card}")).await.expect("pages open");
    wait_for(client, "ol.journeys li details").await;
    charges_explain_themselves(client).await;
    let body = text_of(client, "main").await;
    assert!(body.contains("Day cap of ") && body.contains(" that day"), "{body}");
    for theme in ["light", "dark"] {
        picture(client, "capped", theme).await;
    }
}

/// The validators that a filter of the fleet shows are taken out of service from the page.
async fn many_are_taken_out(client: &Client, base: &str) {
    client.goto(&format!("{base}/fleet?q=v00000")).await.expect("pages open");
    wait_for(client, "#grid [role=row]").await;
    let button = client.find(Locator::Css("#service")).await.expect("there is one");
    button.click().await.expect("buttons can be pressed");
    wait_for(client, "form.decide").await;
    let reason = client.find(Locator::Css("form.decide input[name=reason]")).await.expect("one");
    reason.send_keys("Line closed").await.expect("keys are typed");
    for theme in ["light", "dark"] {
        picture(client, "service", theme).await;
    }
    let decide = client.find(Locator::Css("form.decide button[type=submit]")).await;
    decide.expect("there is one").click().await.expect("buttons can be pressed");
    wait_for(client, "#decisions tbody tr").await;
    let decided = text_of(client, "#decisions").await;
    assert!(decided.contains("9 validators out of service"), "{decided}");
    for theme in ["light", "dark"] {
        picture(client, "decided", theme).await;
    }
    assert_eq!(complaints(client).await, Vec::<String>::new(), "/rollouts");
}

/// In both themes, and nothing complains.
async fn every_page_opens(client: &Client, base: &str) {
    for (page, path, wants) in [
        ("overview", "/", "#needs-title"),
        ("fleet", "/fleet", "#grid [role=row]"),
        ("taps", "/taps", "#taps tbody tr"),
        ("exceptions", "/exceptions", "table.exlist tbody tr"),
        ("cards", "/cards", "#search"),
        ("rollouts", "/rollouts", "#behind-title"),
        ("hotlist", "/hotlist", "#list-title"),
        ("money", "/money", "#held tbody tr"),
    ] {
        client.goto(&format!("{base}{path}")).await.expect("pages open");
        wait_for(client, wants).await;
        wait_for(client, "#pulse").await;
        for theme in ["light", "dark"] {
            picture(client, page, theme).await;
        }
        assert_eq!(complaints(client).await, Vec::<String>::new(), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_taps_move_the_fleet_a_card_and_an_exception() {
    let (_demo, login) = demo();
    let (_driver, client) = browser().await;
    client.goto(&login).await.expect("the login opens");
    if let Ok(button) = client.find(Locator::Css("form button[type=submit].primary")).await {
        let _ = button.click().await;
    }
    let base = login.split("/login").next().expect("an address").to_owned();
    client.goto(&base).await.expect("the overview opens");
    wait_for(&client, "nav.tabs a[aria-current=page]").await;
    assert_eq!(text_of(&client, "nav.tabs a[aria-current=page]").await, "Overview");
    assert_eq!(client.title().await.expect("has one").split(' ').next(), Some("Overview"));

    every_page_opens(&client, &base).await;

    // The tail of taps moves by itself.
    client.goto(&format!("{base}/taps")).await.expect("pages open");
    wait_for(&client, "#taps tbody tr[data-no]").await;
    let newest = "return Math.max(...[...document.querySelectorAll('#taps tbody tr')]\
        .map(r => Number(r.dataset.no || 0)))";
    let before = client.execute(newest, vec![]).await.expect("scripts run").as_f64();
    let deadline = now() + Duration::from_secs(30);
    while client.execute(newest, vec![]).await.expect("scripts run").as_f64() <= before {
        assert!(now() < deadline, "no tap came in thirty seconds");
        pause(Duration::from_millis(250));
    }

    // A tap leads to its card, and the card's charges explain themselves.
    // By a script, because the rows move.
    let click = "document.querySelector(\"#taps a[href^='/cards/']\").click()";
    client.execute(click, vec![]).await.expect("a card's link opens");
    wait_for(&client, "ol.journeys li details").await;
    charges_explain_themselves(&client).await;
    for theme in ["light", "dark"] {
        picture(&client, "card", theme).await;
    }

    caps_are_told(&client, &base).await;

    // An exception opens with its evidence.
    client.goto(&format!("{base}/exceptions")).await.expect("pages open");
    wait_for(&client, "table.exlist tbody a[href^='/exceptions/']").await;
    let item = client.find(Locator::Css("table.exlist tbody a[href^='/exceptions/']")).await;
    item.expect("items link").click().await.expect("links open");
    wait_for(&client, "#evidence-title").await;
    for theme in ["light", "dark"] {
        picture(&client, "exception", theme).await;
    }

    // Keys lead everywhere, and the live table keeps its number of rows.
    client.goto(&format!("{base}/")).await.expect("pages open");
    wait_for(&client, "#needs-title").await;
    let page = client.find(Locator::Css("body")).await.expect("there is one");
    page.send_keys("gf").await.expect("keys are typed");
    wait_for(&client, "#grid [role=row]").await;
    assert!(count(&client, "#grid [role=row]").await <= 81, "rows are a fixed pool");
    let search = client.find(Locator::Css("#search")).await.expect("there is one");
    search.send_keys("v000001").await.expect("keys are typed");
    let deadline = now() + Duration::from_secs(10);
    while text_of(&client, "#shown").await != "1" {
        assert!(now() < deadline, "the filter shows {}", text_of(&client, "#shown").await);
        pause(Duration::from_millis(50));
    }
    search.send_keys(&String::from(char::from(Key::Escape))).await.expect("keys are typed");
    many_are_taken_out(&client, &base).await;
    client.close().await.expect("the browser closes");
}
